"""A hundred thousand tasks: whether they finish, what one costs then, and the memory they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from . import flows, shapes
from .alone import alone
from .measuring import Effort, Row, Times, memory, peak_memory, row_of_ratio
from .shapes import run_in_order

MANY, FEW = 100_000, 1_000


def hundred_thousand(effort: Effort) -> Iterator[Row]:
    """Side by side and one after the other, each in a process of its own."""
    many, few = effort.size(MANY), effort.size(FEW)
    for name, what in (("fan_out", f"{many:,} tasks side by side"), ("chain", f"a chain {many:,} deep")):
        figures = [alone(measure, name, many, few) for _ in range(effort.slow().rounds)]
        found, limit, plain = (
            Times(tuple(each[key] for each in figures), tuple(each[f"{key} cpu"] for each in figures))
            for key in ("many", "few", "plain")
        )
        yield row_of_ratio(f"{what}: a task", found, limit, called=f"a task at {few:,}", target=1.5)
        yield row_of_ratio(f"{what}: beside graphlib", found, plain, called="graphlib")
        grown = statistics.median(each["grown"] for each in figures)
        yield Row(f"{what}: memory", f"+{grown / 1e6:.0f} MB", target="+300 MB", is_met=grown <= 300e6)


def measure(name: str, many: int, few: int) -> dict[str, float]:
    """Seconds a task at both sizes, drawing included, and in plain Python; bytes by which the peak of memory grew."""
    graph = getattr(flows, name)
    at_few = []
    for _ in range(10):
        begun, cpu_begun = time.perf_counter(), time.process_time()
        graph.run_local(size=few)
        at_few.append(((time.perf_counter() - begun) / few, (time.process_time() - cpu_begun) / few))
    before = memory()
    begun, cpu_begun = time.perf_counter(), time.process_time()
    result = graph.run_local(size=many)
    at_many = (time.perf_counter() - begun) / many, (time.process_time() - cpu_begun) / many
    grown = peak_memory() - before
    if len(result.task_runs) != many:
        raise RuntimeError(f"{len(result.task_runs)} of {many} tasks were run")
    del result
    shape = getattr(shapes, name)(many)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    run_in_order(shape, flows.step.function)
    plain = (time.perf_counter() - begun) / many, (time.process_time() - cpu_begun) / many
    return {
        "many": at_many[0], "many cpu": at_many[1],
        "few": statistics.median(each for each, _ in at_few), "few cpu": statistics.median(each for _, each in at_few),
        "plain": plain[0], "plain cpu": plain[1], "grown": grown,
    }  # fmt: skip
