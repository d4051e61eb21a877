"""What a run costs, as an estimate: what is counted, times AWS's list prices.

The prices are written down here, with their date; AWS may have changed them since, other regions differ, and free
tiers, discounts, logs, traffic and what lies in S3 from day to day are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dagy.backends.needs import ASSUMED_ITEMS, ASSUMED_SECONDS, FlowNeed, TaskNeed
from dagy.backends.routes import Cost, CostItem, Measured, TaskRoute
from dagy.backends.wording import lasting
from dagy.drawing import counted
from dagy.executors import ECS, LAMBDA

REGION, AS_OF = "us-east-1", "January 2025"


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs, in US dollars."""

    service: str
    what: str
    unit: str
    dollars: float


# fmt: off
PRICES: Mapping[str, Price] = MappingProxyType({
    "lambda.request":      Price("Lambda",         "requests",    "",         0.20 / 1_000_000),
    "lambda.x86_64":       Price("Lambda",         "memory-time", "GB-s",     0.000_016_666_7),
    "lambda.arm64":        Price("Lambda",         "memory-time", "GB-s",     0.000_013_333_4),
    "machine.transition":  Price("Step Functions", "transitions", "",         0.025 / 1_000),
    "fargate.vcpu":        Price("Fargate",        "vCPU-time",   "vCPU-h",   0.040_48),
    "fargate.memory":      Price("Fargate",        "memory-time", "GB-h",     0.004_445),
    "s3.write":            Price("S3",             "writes",      "",         0.005 / 1_000),
    "s3.read":             Price("S3",             "reads",       "",         0.000_4 / 1_000),
})
# fmt: on

FUNCTION_START, CONTAINER_START = 1.0, 40.0  # seconds that are paid for before the work begins: both are rough
LEAST_CONTAINER = 60.0  # seconds that Fargate bills at least
_AROUND = 5  # states of a machine around its tasks; two of them call the function
_PER_RUN = 6  # writes of a run as a whole: that it began, its parameters, events, its answer
_PER_TASK = 2  # writes of a task: its value, and how it ended


def cost_of(
    need: FlowNeed, backend: str, routes: Mapping[str, TaskRoute], whole: TaskRoute, *, architecture: str,
    measured: Measured | None,
) -> Cost:  # fmt: skip
    """The estimate for one run of the flow on `backend`; `whole` is the function, or the container, of all of it."""
    quantities: dict[str, float] = {}
    for name, quantity in _counted(need, backend, routes, whole, architecture):
        quantities[name] = quantities.get(name, 0.0) + quantity
    items = tuple(
        CostItem(price.service, price.what, quantities[name], price.unit, price.dollars)
        for name, price in PRICES.items()
        if name in quantities
    )
    is_guess = any(each.is_assumed or _is_guessed(each) for each in need.tasks.values())
    return Cost(items, tuple(_assumptions(need, backend, routes, measured)), REGION, AS_OF, is_guess)


def _counted(
    need: FlowNeed, backend: str, routes: Mapping[str, TaskRoute], whole: TaskRoute, architecture: str
) -> Iterator[tuple[str, float]]:
    """What is counted, piece by piece: the name of its price, and how much."""
    calls = {each: task.items_or_assumed for each, task in need.tasks.items()}
    yield "s3.write", _PER_RUN + _PER_TASK * sum(calls.values())
    yield "s3.read", _PER_RUN + sum(len(each.task.needs) * calls[each.task.id] for each in need.tasks.values())
    if backend == LAMBDA:
        yield from _invocations(1, need.likely, whole.memory_mb, architecture)
    elif backend == ECS:
        yield from _containers(1, need.likely, whole)
    else:
        asked = [each for each, route in routes.items() if route.backend == ECS or need.tasks[each].task.mapped]
        items = sum(calls[each] for each in asked if need.tasks[each].task.mapped)
        forks = sum(1 for each in need.tasks.values() if len(each.task.needs) > 1)
        # A container and a map are asked for, and chosen, by a state each before they are entered.
        yield "machine.transition", _AROUND + len(routes) + forks + 2 * len(asked) + items
        yield from _invocations(2 + len(asked), 0.5, whole.memory_mb, architecture)
        for task_id, route in routes.items():
            seconds = need.tasks[task_id].likely
            if route.backend == ECS:
                yield from _containers(calls[task_id], seconds, route)
            else:
                yield from _invocations(calls[task_id], seconds, route.memory_mb, architecture)


def _invocations(count: float, seconds: float, memory_mb: int, architecture: str) -> Iterator[tuple[str, float]]:
    yield "lambda.request", count
    yield f"lambda.{architecture}", count * (FUNCTION_START + seconds) * memory_mb / 1024


def _containers(count: float, seconds: float, size: TaskRoute) -> Iterator[tuple[str, float]]:
    hours = count * max(LEAST_CONTAINER, CONTAINER_START + seconds) / 3600
    yield "fargate.vcpu", hours * (size.vcpu or 0.0)
    yield "fargate.memory", hours * size.memory_mb / 1024


def _assumptions(
    need: FlowNeed, backend: str, routes: Mapping[str, TaskRoute], measured: Measured | None
) -> Iterator[str]:
    known = [each for each in need.tasks if measured is not None and each in measured.seconds]
    unknown = [each for each in need.tasks.values() if each.task.id not in known]
    if known and measured is not None:
        yield f"{counted(len(known), 'task')} as long as in {counted(measured.runs, 'recorded run')} on this machine"
    if unknown:
        yield (
            f"{counted(len(unknown), 'task')} never measured: {lasting(ASSUMED_SECONDS)} each, "
            "or the time limit if that is less; a run here tells better: run_local(record=True)"
        )
    if any(_is_guessed(each) for each in need.tasks.values()):
        yield f"{ASSUMED_ITEMS} items where a map's list is not known"
    starts = []
    if backend != ECS:
        starts.append(f"{lasting(FUNCTION_START)} to start a function")
    if backend == ECS or any(each.backend == ECS for each in routes.values()):
        starts.append(f"{lasting(CONTAINER_START)} to start a container")
    yield f"{', '.join(starts)}; one attempt each; values of tasks in S3, one object each"
    yield "without logs, traffic, storage, free tiers and discounts"


def _is_guessed(task: TaskNeed) -> bool:
    return bool(task.task.mapped) and task.items is None
