"""Large values: arrays of 50 MB that go from task to task."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dagy import Flow, Static, Task, flow, task
from dagy.engine import run

from . import flows
from .alone import alone
from .measuring import Effort, Row, Times, in_turns, memory, peak_memory, row_of_ratio

TASKS = 100
NUMBERS = 6_250_000  # of 8 bytes each: 50 MB

Array = NDArray[np.float64]


@task
def hand_on(data):
    """The same array."""
    return data


@task
def add_one(data):
    """A new array."""
    return data + 1


@task(isolation="process")
def hand_on_checked(data: Array) -> Array:
    """The same array, checked to be one."""
    return data


hand_on_elsewhere = task(name="hand_on_elsewhere", isolation="process")(hand_on.function)
add_one_elsewhere = task(name="add_one_elsewhere", isolation="process")(add_one.function)


@task
def make(numbers: int) -> Array:
    """The first array."""
    return np.zeros(numbers)


def passing(step: Task[[Any], Any]) -> Flow[..., None]:
    """An array is made and goes through tasks, one after the other."""

    @flow
    def arrays(tasks: Static[int], numbers: int) -> None:
        data = make(numbers)
        for _ in range(tasks):
            data = step(data)

    return arrays


def plainly(function: Callable[[Array], Array], tasks: int, numbers: int) -> None:
    """The same in plain Python, which lets go of each array when there is the next."""
    data = np.zeros(numbers)
    for _ in range(tasks):
        data = function(data)


def _copies(data: Array, count: int) -> None:
    """The plainest hop: each copy is let go of before the next is made."""
    for _ in range(count):
        data.copy()


def in_threads(effort: Effort) -> Iterator[Row]:
    """Through tasks in threads: nothing may be copied."""
    tasks, numbers = effort.size(TASKS), effort.size(NUMBERS)
    small, _ = flows.chain.prepare(size=tasks + 1)
    same, given = passing(hand_on).prepare(tasks=tasks, numbers=numbers)
    data = np.ones(numbers)
    little, passed, copied = in_turns(
        effort,
        lambda: run(small, {"size": tasks + 1}),
        lambda: run(same, given),
        lambda: _copies(data, tasks),
    )
    little, passed, copied = (each.scaled(1 / tasks) for each in (little, passed, copied))
    what = f"{numbers * 8 / 1e6:.0f} MB through {tasks} tasks, threads"
    yield row_of_ratio(f"{what}: handed on", passed, little, called="a task that passes a number", target=1.5)
    yield row_of_ratio(f"{what}: handed on, beside a copy", passed, copied, called="a copy")
    found, plain = in_turns(
        effort.slow(),
        lambda: passing(add_one).run_local(tasks=tasks, numbers=numbers),
        lambda: plainly(add_one.function, tasks, numbers),
    )
    found, plain = found.scaled(1 / tasks), plain.scaled(1 / tasks)
    yield row_of_ratio(f"{what}: a new array each", found, plain, called="plain calls", target=1.5)


def between_processes(effort: Effort) -> Iterator[Row]:
    """Through tasks in worker processes: each hop is there and back."""
    tasks, numbers = effort.size(TASKS), effort.size(NUMBERS)
    same, given = passing(hand_on_elsewhere).prepare(tasks=tasks, numbers=numbers)
    checked, _ = passing(hand_on_checked).prepare(tasks=tasks, numbers=numbers)
    new, _ = passing(add_one_elsewhere).prepare(tasks=tasks, numbers=numbers)
    data = np.ones(numbers)
    copied, passed, looked_at, plain, made = in_turns(
        effort.slow().slow(),
        lambda: _copies(data, tasks),
        lambda: run(same, given),
        lambda: run(checked, given),
        lambda: plainly(add_one.function, tasks, numbers),
        lambda: run(new, given),
    )
    hop = Times(
        tuple(max(a - b, 0.0) for a, b in zip(made.wall, plain.wall, strict=True)),
        tuple(max(a - b, 0.0) for a, b in zip(made.cpu, plain.cpu, strict=True)),
    )
    copied, passed, looked_at, hop = (each.scaled(1 / tasks) for each in (copied, passed, looked_at, hop))
    what = f"{numbers * 8 / 1e6:.0f} MB through {tasks} tasks, processes"
    for how, found in (
        ("handed on", passed),
        ("handed on, annotated", looked_at),
        ("a new array each, less making it", hop),
    ):
        yield row_of_ratio(f"{what}: {how}", found, copied, called="a copy", target=3.0, shows_cpu=False)


def peaks(effort: Effort) -> Iterator[Row]:
    """The most memory a chain takes whose tasks make a new array each, beside plain Python."""
    tasks, numbers = effort.size(TASKS), effort.size(NUMBERS)
    rounds = effort.slow().rounds
    plain = statistics.median(alone(peak, "plain", tasks, numbers) for _ in range(rounds))
    for way, called in (("thread", "threads"), ("process", "processes (this process alone)")):
        found = statistics.median(alone(peak, way, tasks, numbers) for _ in range(rounds))
        yield Row(
            f"peak memory, {tasks} tasks that make {numbers * 8 / 1e6:.0f} MB each, {called}",
            f"+{found / 1e6:.0f} MB", f"+{plain / 1e6:.0f} MB in plain Python", f"{found / plain:.2f}x",
        )  # fmt: skip


def peak(way: str, tasks: int, numbers: int) -> int:
    """How much the peak of memory grows, in bytes."""
    passing(add_one).run_local(tasks=2, numbers=2)
    before = memory()
    if way == "plain":
        plainly(add_one.function, tasks, numbers)
    else:
        passing(add_one if way == "thread" else add_one_elsewhere).run_local(tasks=tasks, numbers=numbers)
    return peak_memory() - before
