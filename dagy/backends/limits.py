"""What AWS takes at most, as data: each limit with its number, its unit and where AWS says so.

Whoever is about to send something asks `LIMITS["lambda.timeout"].check(...)` first, so that what is too large is
refused before the first call, with the number, the limit and a way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dagy.backends.wording import Unit, amount, told_apart
from dagy.errors import LimitError

NEAR = 0.7  # the share of a limit above which it is said that it is near

_LAMBDA = "docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"
_MACHINES = "docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"
_CONTAINERS = "docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html"
_FARGATE = "docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"
_SCHEDULER = "docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html"


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a limit is used, by what."""

    name: str  # of the limit: "lambda.timeout"
    used: float
    limit: float
    unit: Unit
    where: str  # "task 'train'", "code and packages"

    @property
    def share(self) -> float:
        """Used of the limit: 1.0 is all of it."""
        return self.used / self.limit

    def __str__(self) -> str:
        share = f"{100 * self.share:.0f} % of the {amount(self.limit, self.unit)}"
        return f"{self.where}: {amount(self.used, self.unit)} is {share} that {LIMITS[self.name].what}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. `what` ends the sentence "more than the 900 s that ..."."""

    name: str  # "lambda.timeout"
    value: float
    unit: Unit
    what: str
    source: str  # the page of AWS's documentation that says so
    least: float = 0  # what is there at least, however little is asked for

    def check(self, used: float, where: str, remedy: str = "") -> LimitUse:
        """How much of it `where` uses; `LimitError` with both numbers and the remedy when that is more than all."""
        if used > self.value:
            much, most = told_apart(used, self.value, self.unit)
            raise LimitError(f"{where}: {much} is more than the {most} that {self.what}{remedy and f'; {remedy}'}")
        return LimitUse(self.name, used, self.value, self.unit, where)


# fmt: off
LIMITS: Mapping[str, Limit] = MappingProxyType({each.name: each for each in (
    Limit("lambda.timeout", 900, "s", "one invocation of a Lambda function may take", _LAMBDA),
    Limit("lambda.memory", 10_240, "MB", "a Lambda function may have", _LAMBDA, least=128),
    Limit("lambda.ephemeral", 10_240, "MB", "a Lambda function's /tmp may hold", _LAMBDA, least=512),
    Limit("lambda.unzipped", 250 << 20, "bytes", "a Lambda function and its layers may unpack to", _LAMBDA),
    Limit("lambda.environment", 4_096, "bytes", "a Lambda function's environment may take", _LAMBDA),
    Limit("lambda.payload", 6_291_456, "bytes", "a Lambda function may be given, and may answer", _LAMBDA),
    Limit("lambda.async_payload", 1 << 20, "bytes", "a Lambda function may be given by an event", _LAMBDA),
    Limit("lambda.name", 64, "characters", "a Lambda function's name may have", _LAMBDA),
    Limit("machine.definition", 1 << 20, "bytes", "the definition of a state machine may have", _MACHINES),
    Limit("machine.payload", 256 << 10, "bytes", "may go from state to state", _MACHINES),
    Limit("machine.events", 25_000, "number", "one execution's history may have as events", _MACHINES),
    Limit("machine.timeout", 99_999_999, "s", "may be given to a state machine or a state", _MACHINES),
    Limit("machine.name", 80, "characters", "the name of a state machine or an execution may have", _MACHINES),
    Limit("machine.state_name", 80, "characters", "the name of a state may have", _MACHINES),
    Limit("machine.inline_map", 40, "number", "an inline Map may have running at once", _MACHINES),
    Limit("machine.distributed_map", 10_000, "number", "a distributed Map may have running at once", _MACHINES),
    Limit("ecs.overrides", 8_192, "characters", "the overrides of a container may take as JSON", _CONTAINERS),
    Limit("ecs.client_token", 64, "characters", "the client token of a task may have", _CONTAINERS),
    Limit("ecs.ephemeral", 200 << 10, "MB", "a container's disk on Fargate may have", _CONTAINERS, least=21 << 10),
    Limit("fargate.vcpu", 16, "number", "a container on Fargate may have as vCPUs", _FARGATE),
    Limit("fargate.memory", 120 << 10, "MB", "a container on Fargate may have", _FARGATE),
    Limit("scheduler.expression", 256, "characters", "the expression of a schedule may have", _SCHEDULER),
)})


# The memory, in MB, that Fargate has for each number of vCPUs.
FARGATE_MEMORY: Mapping[float, tuple[int, ...]] = MappingProxyType({
    0.25: (512, 1_024, 2_048),
    0.5:  tuple(range(1_024, 4_096 + 1, 1_024)),
    1:    tuple(range(2_048, 8_192 + 1, 1_024)),
    2:    tuple(range(4_096, 16_384 + 1, 1_024)),
    4:    tuple(range(8_192, 30_720 + 1, 1_024)),
    8:    tuple(range(16_384, 61_440 + 1, 4_096)),
    16:   tuple(range(32_768, 122_880 + 1, 8_192)),
})
# fmt: on


def container_memory(memory_mb: int, vcpu: float, where: str) -> int:
    """The least memory that Fargate has with `vcpu` vCPUs and that is `memory_mb` or more; `LimitError` if none is."""
    LIMITS["fargate.memory"].check(memory_mb, where)
    LIMITS["fargate.vcpu"].check(vcpu, where)
    if vcpu not in FARGATE_MEMORY:
        raise LimitError(f"{where}: Fargate has no {vcpu:g} vCPU; it has {', '.join(f'{n:g}' for n in FARGATE_MEMORY)}")
    sizes = FARGATE_MEMORY[vcpu]
    if memory_mb > sizes[-1]:
        enough = min(n for n, others in FARGATE_MEMORY.items() if others[-1] >= memory_mb)
        raise LimitError(
            f"{where}: {amount(memory_mb, 'MB')} is more than the {amount(sizes[-1], 'MB')} that a container on "
            f"Fargate with {vcpu:g} vCPU may have; ask for more: "
            f"Executor('ecs', vcpu={enough:g}, memory_mb={memory_mb})"
        )
    return next(each for each in sizes if each >= memory_mb)
