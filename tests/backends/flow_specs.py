"""Flows as data for the tests of what AWS makes of them, by hand and at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from dagy.backends.state_machine import EcsTarget, MachineResources
from dagy.spec import FlowOptions, FlowSpec, FromTask, TaskOptions, TaskSpec

ECS = EcsTarget(
    cluster="arn:aws:ecs:eu-central-1:123456789012:cluster/dagy",
    task_definition="arn:aws:ecs:eu-central-1:123456789012:task-definition/dagy-etl:3",
    subnets=("subnet-0a",),
    security_groups=("sg-0a",),
    container="flow",
)
WHERE = MachineResources(
    function_arn="arn:aws:lambda:eu-central-1:123456789012:function:dagy-etl:7", bucket="dagy-123456789012", ecs=ECS
)


def task(name: str, *needs: str, mapped: bool = False, **options: Any) -> TaskSpec:
    """A task that takes a value from each of `needs`; `mapped` over the first of them, or over a list of its own."""
    inputs = {f"x{number}": FromTask(each) for number, each in enumerate(needs)}
    return TaskSpec(name, name, f"flows:{name}", inputs, options=TaskOptions(**options), mapped=("x0",) * mapped)


def flow(*tasks: TaskSpec, **options: Any) -> FlowSpec:
    """A flow of those tasks."""
    return FlowSpec("etl", tasks=tasks, options=FlowOptions(**options))


def task_chain(length: int) -> FlowSpec:
    """Tasks that each need the one before."""
    return flow(*(task(f"task-{each}", *([f"task-{each - 1}"] if each else [])) for each in range(length)))


def fan(width: int) -> FlowSpec:
    """A task that `width` others need, which one more needs."""
    middle = [f"task-{each}" for each in range(width)]
    return flow(task("first"), *(task(each, "first") for each in middle), task("last", *middle))


def layers(width: int, depth: int) -> FlowSpec:
    """Each task needs three of the layer before."""
    return flow(
        *(
            task(
                f"task-{level}-{each}",
                *(f"task-{level - 1}-{(each + step) % width}" for step in (0, 1, 3) if level and step < width),
            )
            for level in range(depth)
            for each in range(width)
        )
    )


@st.composite
def graphs(draw: st.DrawFn, most: int = 9) -> dict[str, tuple[str, ...]]:
    """`{name: the names it needs}`, in an order in which they may be defined."""
    names = [f"t{each}" for each in range(draw(st.integers(1, most)))]
    return {
        name: tuple(draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3))) if place else ()
        for place, name in enumerate(names)
    }


def flow_of(needs: dict[str, tuple[str, ...]], mapped: Sequence[str] = (), **options: Any) -> FlowSpec:
    """A flow with that graph."""
    return flow(*(task(name, *given, mapped=name in mapped, **options) for name, given in needs.items()))
