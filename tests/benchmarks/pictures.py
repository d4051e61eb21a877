"""How long a picture takes, layout included."""

from __future__ import annotations

import random
from collections.abc import Iterator

from dagy import FlowSpec
from dagy.drawing import svg
from dagy.spec import FromTask, TaskSpec

from .measuring import Effort, Row, in_turns, row_of_time


def pictures(effort: Effort) -> Iterator[Row]:
    """Of random graphs in layers of about ten."""
    for full, target in ((100, 0.02), (1_000, 0.4), (5_000, 0.8)):
        spec = _layered(effort.size(full))
        (found,) = in_turns(effort, lambda spec=spec: svg(spec, {}))
        yield row_of_time(
            f"picture of {len(spec.tasks):,} tasks",
            found,
            target=target,
            limit=f"{len(spec.edges):,} lines",
            is_judged_by_cpu=True,
        )


def _layered(size: int) -> FlowSpec:
    """A random graph in layers of about ten, with 1.3 edges a task."""
    chance = random.Random(size)
    tasks: list[TaskSpec] = []
    for number in range(size):
        above = range(max(0, number // 10 * 10 - 10), number // 10 * 10)
        needs = chance.sample(above, min(len(above), 1 if chance.random() < 0.7 else 2))
        inputs = {f"x{each}": FromTask(f"task-{each}") for each in needs}
        tasks.append(TaskSpec(f"task-{number}", f"task-{number}", "benchmark:task", inputs))
    return FlowSpec("benchmark", tasks=tuple(tasks))
