"""What a state machine calls, and what a flow's spec leaves open about its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagy.backends.limits import LIMITS


@dataclass(frozen=True, slots=True)
class ContainerSize:
    """What a container has."""

    vcpu: float
    memory_mb: int


@dataclass(frozen=True, slots=True)
class EcsTarget:
    """Where containers run, and as what."""

    cluster: str  # its ARN
    task_definition: str  # the ARN of a revision
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    container: str  # its name in the task definition
    assign_public_ip: bool = False


@dataclass(frozen=True, slots=True)
class MachineResources:
    """What a state machine calls: each must be there when it runs."""

    function_arn: str  # of a published version
    bucket: str  # where the runs' stores are
    ecs: EcsTarget | None = None
    function_timeout_seconds: int = int(LIMITS["lambda.timeout"].value)
    partition: str = "aws"


@dataclass(frozen=True, slots=True)
class Placement:
    """What the flow's spec leaves open."""

    on_ecs: frozenset[str] = frozenset()
    container_sizes: Mapping[str, ContainerSize] = field(default_factory=dict)
    inline: int = 1  # the most items of a map in the execution's own history
