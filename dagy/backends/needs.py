"""What a flow needs, as far as it can be known before it runs: time, memory, and how many items.

A bound is what is not exceeded: a time limit, or what was measured and some more. Where there is neither, something is
taken for granted and it is said so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagy.backends.routes import Measured
from dagy.graph import ordered
from dagy.retry import longest_wait
from dagy.spec import Constant, FlowSpec, ListOf, TaskSpec

ASSUMED_SECONDS = 60.0  # that an attempt takes which has no time limit and was never measured
ASSUMED_ITEMS = 100  # of a mapped task, when nothing says how many
MARGIN = 2.0  # what was measured here may take this many times as long there
AT_ONCE = 16  # tasks that run side by side in one process, as the engine has it unless told otherwise


@dataclass(frozen=True, slots=True)
class TaskNeed:
    """What one task needs."""

    task: TaskSpec
    attempt_bound: float  # seconds that one attempt takes at most; of a mapped task: of one item
    is_assumed: bool  # whether nothing but the assumption says so
    likely: float  # seconds that one attempt is thought to take, for an estimate
    memory_mb: int | None  # said, or measured and some more; None: not known
    items: int | None  # of a mapped task; None: not known, and 1 for any other

    @property
    def is_bounded(self) -> bool:
        """Whether it has a time limit of its own."""
        return self.task.options.timeout_seconds is not None

    @property
    def bound(self) -> float:
        """Seconds that all attempts take at most, with the waits between them; of a mapped task: of one item."""
        options = self.task.options
        waits = longest_wait(options.retries, options.retry_delays, options.retry_jitter_factor)
        return self.attempt_bound * (options.retries + 1) + waits

    @property
    def side_by_side(self) -> int:
        """How many of its items run at once in one process."""
        return min(AT_ONCE, self.task.options.concurrency_limit or AT_ONCE, self.items_or_assumed)

    @property
    def items_or_assumed(self) -> int:
        """How many items it has, 1 at least."""
        return max(1, ASSUMED_ITEMS if self.items is None else self.items)

    @property
    def rounds(self) -> int:
        """How many times after one another its items run in one process."""
        return math.ceil(self.items_or_assumed / self.side_by_side)


@dataclass(frozen=True, slots=True)
class FlowNeed:
    """What a flow needs as a whole, in one process."""

    spec: FlowSpec
    tasks: Mapping[str, TaskNeed]
    bound: float  # seconds that the longest path takes at most; all tries of the flow, and no more than its time limit
    path: tuple[str, ...]  # that path's tasks
    likely: float  # seconds that it is thought to take, for an estimate
    memory_mb: int | None  # what the flow says, or the tasks that run side by side; None: not known

    @property
    def is_bounded(self) -> bool:
        """Whether time limits alone bound it."""
        return self.spec.options.timeout_seconds is not None or all(each.is_bounded for each in self.tasks.values())


def needs_of(spec: FlowSpec, measured: Measured | None) -> FlowNeed:
    """What the flow needs, from what it says and from what was `measured`."""
    tasks = {task.id: _task_need(task, measured or Measured(0)) for task in spec.tasks}
    order = tuple(ordered(spec.needs, flow=spec.name))
    bound, path = _longest(spec, order, lambda task: tasks[task].bound * tasks[task].rounds)
    likely, _ = _longest(spec, order, lambda task: tasks[task].likely * tasks[task].rounds)
    options = spec.options
    bound = bound * (options.retries + 1) + longest_wait(options.retries, options.retry_delays)
    if options.timeout_seconds is not None:
        bound, likely = min(bound, options.timeout_seconds), min(likely, options.timeout_seconds)
    memory = _side_by_side(spec, order, tasks)
    if options.memory_mb is not None:
        memory = max([options.memory_mb, *(each.memory_mb or 0 for each in tasks.values())])
    return FlowNeed(spec, tasks, bound, path, likely, memory)


def _task_need(task: TaskSpec, measured: Measured) -> TaskNeed:
    limit, took = task.options.timeout_seconds, measured.seconds.get(task.id)
    bound = limit or (ASSUMED_SECONDS if took is None else max(1.0, MARGIN * took))
    memory = task.options.memory_mb
    if memory is None and task.id in measured.memory_mb:
        memory = math.ceil(MARGIN * measured.memory_mb[task.id])
    return TaskNeed(
        task,
        attempt_bound=bound,
        is_assumed=limit is None and took is None,
        likely=min(bound, ASSUMED_SECONDS if took is None else took),
        memory_mb=memory,
        items=_items(task, measured) if task.mapped else 1,
    )


def _items(task: TaskSpec, measured: Measured) -> int | None:
    for name in task.mapped:
        match task.inputs.get(name):
            case Constant(value=list() as value):
                return len(value)
            case ListOf(items=items):
                return len(items)
            case _:
                pass
    return measured.items.get(task.id)


def _longest(spec: FlowSpec, order: tuple[str, ...], seconds: Callable[[str], float]) -> tuple[float, tuple[str, ...]]:
    """The longest path: how long, and its tasks."""
    needs = spec.needs
    ends: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for each in order:
        before[each] = max(needs[each], key=ends.__getitem__, default=None)
        last = before[each]
        ends[each] = seconds(each) + (0.0 if last is None else ends[last])
    task = max(ends, key=ends.__getitem__, default=None)
    longest = 0.0 if task is None else ends[task]
    path: list[str] = []
    while task is not None:
        path.append(task)
        task = before[task]
    return longest, tuple(reversed(path))


def _side_by_side(spec: FlowSpec, order: tuple[str, ...], tasks: Mapping[str, TaskNeed]) -> int | None:
    """The most memory that the tasks of one level of the graph need together; None when none says."""
    needs = spec.needs
    levels: dict[str, int] = {}
    together: dict[int, int] = {}
    for each in order:
        level = levels[each] = 1 + max((levels[one] for one in needs[each]), default=-1)
        need = tasks[each]
        if need.memory_mb is not None:
            together[level] = together.get(level, 0) + need.memory_mb * need.side_by_side
    return max(together.values(), default=None)
