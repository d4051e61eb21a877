"""A flow as a state machine of AWS Step Functions: `FlowSpec` in, Amazon States Language (JSONata) out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dagy.spec import FlowSpec, Json


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
    """What a state machine calls: each must exist when it runs."""

    function_arn: str  # of a published version
    bucket: str
    prefix: str  # of the keys of runs' values in the bucket: "runs"
    owner: str  # the account that owns the bucket
    ecs: EcsTarget | None = None
    function_timeout_seconds: int = 900
    partition: str = "aws"


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A definition that Step Functions takes, and what is worth knowing of it."""

    definition: Mapping[str, Json]
    text: str  # the definition as JSON
    size: int  # of the text, in bytes
    events: int  # in the longest history of one execution, at worst, with every item that runs inside it
    notes: tuple[str, ...]  # a sentence for each thing that is not quite as in a local run


def compile_flow(
    spec: FlowSpec,
    where: MachineResources,
    *,
    on_ecs: Collection[str] = (),
    container_sizes: Mapping[str, ContainerSize] | None = None,
) -> StateMachine:
    """The state machine that runs `spec`, the tasks `on_ecs` in containers; `BackendError` when there is none."""
    raise NotImplementedError


def problems(spec: FlowSpec, *, on_ecs: Collection[str] = ()) -> tuple[str, ...]:
    """A sentence for each reason why no state machine can run `spec`; none when one can."""
    raise NotImplementedError
