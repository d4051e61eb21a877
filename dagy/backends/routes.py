"""What the router found: where a flow runs on AWS, with how much, why, how near to which limits, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagy.backends.limits import LimitUse
from dagy.backends.route_views import card_of, text_of
from dagy.backends.wording import dollars
from dagy.executors import ECS, LAMBDA, STEP_FUNCTIONS


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a flow's code is, with its packages. In bytes; None: not known."""

    zipped: int | None = None
    unzipped: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What earlier runs on this machine took: by task id, of those that completed."""

    runs: int  # how many were looked at
    seconds: Mapping[str, float] = field(default_factory=dict)  # the longest attempt; of a mapped task: of one item
    items: Mapping[str, int] = field(default_factory=dict)  # of mapped tasks: the most there were
    memory_mb: Mapping[str, int] = field(default_factory=dict)  # the peak, where it was recorded


@dataclass(frozen=True, slots=True)
class TaskRoute:
    """Where one task runs."""

    task: str  # its id
    backend: str  # "lambda" or "ecs"
    tier: str
    memory_mb: int
    vcpu: float | None  # None: a Lambda function's follows from its memory
    bound_seconds: float | None  # the longest that one attempt may take; None: nothing bounds it
    reason: str


@dataclass(frozen=True, slots=True)
class CostItem:
    """One line of an estimate: so much of what a service counts, at so much each. In US dollars, for one run."""

    service: str
    what: str
    quantity: float
    unit: str
    price: float  # of one unit

    @property
    def amount(self) -> float:
        """What it costs."""
        return self.quantity * self.price


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate of what a run costs, in US dollars at the list prices of one region and one date."""

    items: tuple[CostItem, ...]
    assumptions: tuple[str, ...]  # what was taken for granted
    region: str
    as_of: str  # the date of the prices
    is_guess: bool = False  # whether how long some task takes, or how many items it has, is not known at all

    @property
    def per_run(self) -> float:
        """What one run costs."""
        return sum(each.amount for each in self.items)

    @property
    def per_thousand(self) -> float:
        """What 1,000 runs cost."""
        return 1000 * self.per_run

    def __str__(self) -> str:
        guess = ", a guess as long as nothing is measured" if self.is_guess else ""
        return f"about {dollars(self.per_run)} a run, {dollars(self.per_thousand)} for 1,000{guess}"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a flow runs, and why."""

    flow: str
    backend: str  # "lambda", "step-functions" or "ecs"
    tier: str
    memory_mb: int  # of the function; with the backend "ecs" of the container
    vcpu: float | None  # of the container; None: a Lambda function's follows from its memory
    timeout_seconds: int | None  # of one invocation; with the backend "ecs" of the container, None: none
    ephemeral_mb: int | None  # of the disk for passing things; None: what comes with it
    architecture: str  # "x86_64" or "arm64"
    image: str | None
    reasons: tuple[str, ...]
    tasks: Mapping[str, TaskRoute]
    near: tuple[LimitUse, ...]  # limits of which more than 70 % is used
    cost: Cost
    problems: tuple[str, ...] = ()  # what to know before it is deployed; none of it stops a deploy

    @property
    def place(self) -> str:
        """In a line: `step-functions (micro), functions with 1,769 MB, x86_64`."""
        return f"{self.backend} ({self.tier}), {self.size}"

    @property
    def size(self) -> str:
        """What it runs in: `one container with 1 vCPU and 2,048 MB, x86_64`."""
        size = f"{self.memory_mb:,} MB" if self.vcpu is None else f"{self.vcpu:g} vCPU and {self.memory_mb:,} MB"
        thing = {LAMBDA: "one invocation", ECS: "one container"}.get(self.backend, "functions")
        return f"{thing} with {size}, {self.architecture}"

    @property
    def is_apart(self) -> bool:
        """Whether each task runs in a place of its own."""
        return self.backend == STEP_FUNCTIONS

    @property
    def on_ecs(self) -> frozenset[str]:
        """The ids of the tasks that run in containers of their own, out of a state machine."""
        return frozenset(each.task for each in self.tasks.values() if self.is_apart and each.backend == ECS)

    def __str__(self) -> str:
        return text_of(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": card_of(self), "text/plain": str(self)}
