"""Where a deployed flow, or one of its tasks, is to run: a backend, or a tier, which is a backend and a size.

backend          runs there                                     tiers
local            on a machine of yours, by `dagy worker`
lambda           the whole flow in one invocation               nano
step-functions   each task in an invocation of its own          micro
ecs              in a container, for what is long or large      small, medium, large, xlarge
auto             wherever the `BackendRouter` finds it fits
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from dagy.errors import DefinitionError, did_you_mean, shown

AUTO, LOCAL, LAMBDA, STEP_FUNCTIONS, ECS = "auto", "local", "lambda", "step-functions", "ecs"

# The backend of each tier, the smallest first.
TIERS: Mapping[str, str] = MappingProxyType(
    {"nano": LAMBDA, "micro": STEP_FUNCTIONS, "small": ECS, "medium": ECS, "large": ECS, "xlarge": ECS}
)

EXECUTORS = (
    LAMBDA,
    STEP_FUNCTIONS,
    ECS,
    *TIERS,
)  # what a task or a flow may ask for; a deploy may ask for "local" and "auto" too


@dataclass(frozen=True, slots=True)
class Executor:
    """Where to run, and with how much: `Executor("ecs", memory_mb=8192)`, `Executor("large")`.

    What is None is chosen by the `BackendRouter`. Raises `DefinitionError` for what has no meaning.

    >>> Executor("large").backend
    'ecs'
    """

    name: str  # one of EXECUTORS, "local" or "auto"
    memory_mb: int | None = None
    vcpu: float | None = None  # of a container; a Lambda function's follows from its memory
    timeout_seconds: float | None = None  # of one invocation, or of the container
    ephemeral_mb: int | None = None  # of the disk for passing things
    architecture: str | None = None  # "x86_64" or "arm64"
    image: str | None = None  # a container image of your own

    def __post_init__(self) -> None:
        known = (*EXECUTORS, LOCAL, AUTO)
        if self.name not in known:
            hint = did_you_mean(str(self.name), known) or f"; one of {', '.join(map(repr, known))}"
            raise DefinitionError(f"there is no executor {shown(self.name)}{hint}")
        for name in ("memory_mb", "ephemeral_mb"):
            check_megabytes(f"executor {self.name!r}", name, getattr(self, name))
        for name in ("vcpu", "timeout_seconds"):
            value = getattr(self, name)
            if value is not None and not _is_positive(value):
                raise DefinitionError(f"executor {self.name!r}: {name} must be more than 0, not {value!r}")
        if self.architecture not in (None, "x86_64", "arm64"):
            raise DefinitionError(
                f"executor {self.name!r}: architecture must be 'x86_64' or 'arm64', not {self.architecture!r}"
            )
        if self.vcpu is not None and (self.backend != ECS or self.tier):
            why = "is a size of its own" if self.tier in TIERS and self.backend == ECS else "has no vcpu of its own"
            raise DefinitionError(f"executor {self.name!r} {why}; write Executor('ecs', vcpu={self.vcpu!r})")
        if self.image is not None and (
            not isinstance(self.image, str) or not self.image or len(self.image.split()) != 1
        ):
            raise DefinitionError(f"executor {self.name!r}: {self.image!r} is no name of an image, such as 'me/flow:1'")
        if self.image is not None and self.backend not in (ECS, AUTO):
            raise DefinitionError(
                f"executor {self.name!r} takes no image; an image runs in a container: "
                f"Executor('ecs', image={self.image!r})"
            )

    @property
    def backend(self) -> str:
        """The backend that it names, or that its tier belongs to; "local" or "auto" as they are."""
        return TIERS.get(self.name, self.name)

    @property
    def tier(self) -> str | None:
        """The tier that it names; None when it names a backend."""
        return self.name if self.name in TIERS else None

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than its name."""
        return all(getattr(self, each.name) is None for each in fields(self) if each.name != "name")

    @classmethod
    def of(cls, given: str | Executor | None) -> Executor | None:
        """The executor that `given` names or is; None for None."""
        return cls(given) if isinstance(given, str) else given

    def __str__(self) -> str:
        said = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self)[1:] if getattr(self, each.name)]
        return f"{self.name} ({', '.join(said)})" if said else self.name


def wished(of: str, executor: str | Executor | None, memory_mb: int | None) -> tuple[str | None, int | None]:
    """The executor's name and the megabytes that a task or a flow wishes for; `DefinitionError` for what it can't.

    `of` names it in the message.
    """
    check_megabytes(of, "memory_mb", memory_mb)
    if executor is None:
        return None, memory_mb
    if isinstance(executor, Executor):
        said = [each.name for each in fields(executor)[2:] if getattr(executor, each.name) is not None]
        if said:
            raise DefinitionError(
                f"{of}: {said[0]} is said of the whole deployment: flow.deploy(executor=Executor(..., {said[0]}=...))"
            )
        if executor.memory_mb is not None and memory_mb not in (None, executor.memory_mb):
            raise DefinitionError(
                f"{of}: memory_mb is {memory_mb}, and {executor.memory_mb} in its executor; say it once"
            )
        memory_mb = executor.memory_mb or memory_mb
        executor = executor.name
    if executor not in EXECUTORS:
        hint = did_you_mean(executor, EXECUTORS) if isinstance(executor, str) else ""
        raise DefinitionError(
            f"{of}: executor must be one of {', '.join(map(repr, EXECUTORS))}, not {shown(executor)}{hint}"
        )
    return executor, memory_mb


def check_megabytes(of: str, name: str, value: object) -> None:
    """Raise `DefinitionError` unless `value` is None or a whole number of megabytes."""
    if value is not None and (type(value) is not int or value < 1):
        raise DefinitionError(f"{of}: {name} must be a whole number of megabytes, 1 or more, not {value!r}")


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
