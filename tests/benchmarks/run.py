"""The figures, in one table: `python dev.py bench`.

Each is measured in this run beside what it is compared with, the two in turns, and the median of the repeats is shown:
on a busy machine a ratio within one run says more than a time does.
"""

from __future__ import annotations

import graphlib
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from dagy import Flow, FlowSpec, flow, task
from dagy.drawing import svg
from dagy.spec import FromTask, TaskSpec

WORKERS = 16
REPEATS = 9
TASKS = 1_000


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    value: str
    compared: str = ""


def main() -> None:
    """Measure everything and print the table."""
    rows = [*imports(), *runs(), *drawings()]
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"{row.what:<{width}}  {row.value:>12}  {row.compared}")


# ---- start-up


def imports() -> list[Row]:
    """What loading costs above a bare interpreter and a bare IPython."""
    python = [sys.executable, "-c"]
    ipython = [sys.executable, "-m", "IPython", "--no-banner", "--quick", "-c"]
    return [
        _start_up("import dagy, with flow and task", python, "pass", "from dagy import flow, task", "python"),
        _start_up("%load_ext dagy_nb", ipython, "pass", "%load_ext dagy_nb", "IPython"),
    ]


def _start_up(what: str, command: Sequence[str], bare: str, loading: str, name: str) -> Row:
    without, with_it = _in_turns(lambda: _process([*command, bare]), lambda: _process([*command, loading]))
    extra = (with_it - without) * 1000
    return Row(what, f"{extra:.0f} ms", f"above a bare {name}, which takes {without * 1000:.0f} ms")


def _process(command: Sequence[str]) -> None:
    # Byte code is written and reused, as on a user's machine.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, env=environment, capture_output=True)


# ---- running


@task
def nothing(_given: object = None) -> None:
    """Do nothing."""


@flow
def chain() -> None:
    """A task after a task."""
    given = None
    for _ in range(TASKS):
        given = nothing(given)


@flow
def fan_out() -> None:
    """Many tasks that need nothing."""
    for number in range(TASKS):
        nothing(number)


def runs() -> list[Row]:
    """What a task costs, beside the same graph on graphlib and a pool of threads."""
    needs_of: dict[str, tuple[Flow[[], None], Mapping[int, set[int]]]] = {
        f"chain of {TASKS:,}": (chain, {number: {number - 1} if number else set() for number in range(TASKS)}),
        f"fan-out of {TASKS:,}": (fan_out, {number: set() for number in range(TASKS)}),
    }
    rows = []
    for what, (graph, needs) in needs_of.items():
        run, pool, loop, trace = _in_turns(
            lambda graph=graph: graph.run_local(max_workers=WORKERS),
            lambda needs=needs: _pool(needs),
            lambda needs=needs: _loop(needs),
            lambda graph=graph: graph.prepare(),
        )
        rows.append(
            Row(
                f"{what} tasks, run_local",
                f"{run / TASKS * 1e6:.1f} us/task",
                f"{run / pool:.2f}x graphlib + {WORKERS} threads ({pool / TASKS * 1e6:.1f} us), "
                f"{run / loop:.1f}x graphlib alone ({loop / TASKS * 1e6:.1f} us); "
                f"of it, drawing the graph {trace / TASKS * 1e6:.1f} us",
            )
        )
    return rows


def _pool(needs: Mapping[int, set[int]]) -> None:
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    with ThreadPoolExecutor(WORKERS) as executor:
        running: dict[Future[None], int] = {}
        while sorter.is_active():
            for number in sorter.get_ready():
                running[executor.submit(nothing.function)] = number
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                sorter.done(running.pop(done))


def _loop(needs: Mapping[int, set[int]]) -> None:
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    while sorter.is_active():
        for number in sorter.get_ready():
            nothing.function()
            sorter.done(number)


# ---- drawing


def drawings() -> list[Row]:
    """How long a picture takes, layout included."""
    rows = []
    for size in (100, 1_000, 5_000):
        spec = _layered(size)
        (seconds,) = _in_turns(lambda spec=spec: svg(spec, {}))
        rows.append(Row(f"picture of {size:,} tasks", f"{seconds * 1000:.0f} ms", f"{len(spec.edges):,} lines"))
    return rows


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


# ---- measuring


def _in_turns(*actions: Callable[[], object]) -> tuple[float, ...]:
    """Seconds that each action takes: medians of rounds in which each has its turn, after one to warm up."""
    times: list[list[float]] = [[] for _ in actions]
    for repeat in range(REPEATS + 1):
        for action, found in zip(actions, times, strict=True):
            begun = time.perf_counter()
            action()
            if repeat:
                found.append(time.perf_counter() - begun)
    return tuple(statistics.median(found) for found in times)


if __name__ == "__main__":
    main()
