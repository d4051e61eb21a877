"""The sizes that a flow or a task can run in, from nano to xlarge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dagy.backends.limits import FARGATE_MEMORY, LIMITS, container_memory
from dagy.executors import ECS, LAMBDA, STEP_FUNCTIONS


@dataclass(frozen=True, slots=True)
class Tier:
    """A backend and a size. `memory_mb` is what it has unless more is asked for."""

    name: str
    backend: str
    vcpu: float | None  # None: a Lambda function's follows from its memory
    memory_mb: int


# fmt: off
SIZES: Mapping[str, Tier] = MappingProxyType({each.name: each for each in (
    Tier("nano",   LAMBDA,         None,  1_769),  # the whole flow in one invocation; 1,769 MB: one whole vCPU
    Tier("micro",  STEP_FUNCTIONS, None,  1_769),  # each task in an invocation of its own
    Tier("small",  ECS,            0.5,   1_024),
    Tier("medium", ECS,            1,     2_048),  # for most things
    Tier("large",  ECS,            2,     4_096),  # for what is long or large
    Tier("xlarge", ECS,            4,    12_288),  # for high compute and large data
)})
# fmt: on

USUAL_CONTAINER = SIZES["medium"]
_CONTAINERS = tuple(each for each in SIZES.values() if each.backend == ECS)


def container_tier(memory_mb: int | None, where: str) -> Tier:
    """The smallest tier of containers with that much memory, above xlarge with more of both; medium for None.

    `LimitError`, which names `where`, when Fargate has no container as large.

    >>> container_tier(3_000, "task 'train'").name
    'large'
    """
    if memory_mb is None:
        return USUAL_CONTAINER
    LIMITS["fargate.memory"].check(memory_mb, where)
    for each in _CONTAINERS:
        if each.memory_mb >= memory_mb:
            return each
    largest = _CONTAINERS[-1]
    vcpu = min(n for n, sizes in FARGATE_MEMORY.items() if n >= (largest.vcpu or 0) and sizes[-1] >= memory_mb)
    return Tier(largest.name, ECS, vcpu, container_memory(memory_mb, vcpu, where))


def sized_container(tier: str | None, memory_mb: int | None, vcpu: float | None, where: str) -> Tier:
    """The container that was asked for by a tier's name, by memory and by vCPUs, each where it was said.

    `LimitError` when Fargate has no such container.
    """
    if tier is None and vcpu is None:
        return container_tier(memory_mb, where)
    if tier is not None:
        asked = SIZES[tier]
        if memory_mb is None or memory_mb <= asked.memory_mb:
            return asked
        vcpu = asked.vcpu
    vcpu = vcpu or 0.0
    memory = container_memory(memory_mb or int(2_048 * vcpu), vcpu, where)
    name = tier or next((each.name for each in _CONTAINERS if (each.vcpu or 0) >= vcpu), _CONTAINERS[-1].name)
    return Tier(name, ECS, vcpu, memory)
