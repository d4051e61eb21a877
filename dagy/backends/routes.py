"""What the router found: where a flow runs on AWS, with how much, why, how near to which limits, and at what cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dagy.backends.limits import LimitUse, lasting
from dagy.drawing import counted
from dagy.drawing.reports import Section, report_html, report_text


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

    def _cells(self, *, is_apart: bool) -> tuple[str, ...]:
        vcpu = "" if self.vcpu is None else f"{self.vcpu:g}"
        size = (self.backend, self.tier, f"{self.memory_mb:,} MB", vcpu) if is_apart else ("", "", "", "")
        return (self.task, *size, "" if self.bound_seconds is None else lasting(self.bound_seconds), self.reason)


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

    def _cells(self) -> tuple[str, ...]:
        quantity = f"{self.quantity:,.0f}" if self.quantity >= 100 else f"{self.quantity:.3g}"
        return (self.service, self.what, f"{quantity} {self.unit}".strip(), dollars(1000 * self.amount))


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate of what a run costs, in US dollars at the list prices of one region and one date."""

    items: tuple[CostItem, ...]
    assumptions: tuple[str, ...]  # what was taken for granted
    region: str
    as_of: str  # the date of the prices

    @property
    def per_run(self) -> float:
        """What one run costs."""
        return sum(each.amount for each in self.items)

    @property
    def per_thousand(self) -> float:
        """What 1,000 runs cost."""
        return 1000 * self.per_run


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
        """In a few words: `step-functions (micro), functions of 1,769 MB`."""
        size = f"{self.memory_mb:,} MB" if self.vcpu is None else f"{self.vcpu:g} vCPU and {self.memory_mb:,} MB"
        thing = {"lambda": "one invocation", "ecs": "one container"}.get(self.backend, "functions")
        return f"{self.backend} ({self.tier}), {thing} with {size}, {self.architecture}"

    @property
    def on_ecs(self) -> frozenset[str]:
        """The ids of the tasks that run in containers of their own, out of a state machine."""
        if self.backend != "step-functions":
            return frozenset()
        return frozenset(each.task for each in self.tasks.values() if each.backend == "ecs")

    def __str__(self) -> str:
        return report_text(f"{self.flow} on AWS: {self.place}", self._sections())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        html = report_html(f"{self.flow} on AWS", self.place, self._sections())
        return {"text/html": html, "text/plain": str(self)}

    def _sections(self) -> tuple[Section, ...]:
        shown = list(self.tasks.values())[:_MOST_ROWS]
        left = Counter((each.backend, each.tier) for each in list(self.tasks.values())[_MOST_ROWS:])
        more = tuple(f"{counted(count, 'more task')} on {backend} ({tier})" for (backend, tier), count in left.items())
        is_apart = self.backend == "step-functions"  # else all run in the one place that the title names
        cost = self.cost
        price = f"an estimate at the list prices of {cost.region}, {cost.as_of}"
        return (
            Section("Why", self.reasons),
            Section("Tasks", more, _TASK_HEADS, tuple(each._cells(is_apart=is_apart) for each in shown)),
            Section("Near a limit", tuple(map(str, self.near))),
            Section("Note", self.problems),
            Section(
                "Cost",
                (f"about {dollars(cost.per_run)} a run, {dollars(cost.per_thousand)} for 1,000: {price}",),
                ("service", "what", "a run", "of 1,000 runs"),
                tuple(each._cells() for each in cost.items),
            ),
            Section("Assumed", cost.assumptions),
        )


_MOST_ROWS = 20  # of tasks: above that they are counted
_TASK_HEADS = ("task", "on", "tier", "memory", "vCPU", "an attempt at most", "because")


def dollars(amount: float) -> str:
    """An amount for people, to two figures that matter: `$0.00021`, `$0.45`, `$1,234`.

    >>> dollars(0.000213), dollars(0.45), dollars(1234.4)
    ('$0.00021', '$0.45', '$1,234')
    """
    if amount >= 100:
        return f"${amount:,.0f}"
    if amount >= 0.1 or amount == 0:
        return f"${amount:,.2f}"
    return f"${amount:.{1 - math.floor(math.log10(amount))}f}"
