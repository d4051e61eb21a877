"""Worker processes: a round trip, and work that keeps the processor busy."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from dagy import Static, flow, task
from dagy.engine import run
from dagy.engine.processes import ProcessCall, pack_function, shared_pool

from . import flows
from .alone import alone
from .measuring import Effort, Row, Times, in_turns, row_of_ratio

CORES = 2
BUSY = 8
LOOPS = 4_000_000  # about a quarter of a second


def round_trips(effort: Effort) -> Iterator[Row]:
    """A no-op in a warm worker process, beside a warm pool of the standard library."""
    size = effort.size(300)
    function = flows.nothing
    program, values = flows.chain_of(flows.step_in_process).prepare(size=size)
    packed, workers = pack_function(function), shared_pool()

    def trips_of_pool(pool: ProcessPoolExecutor) -> None:
        for _ in range(size):
            pool.submit(function, 0).result()

    def trips_of_calls() -> None:
        for _ in range(size):
            ProcessCall(workers, packed, (), {"given": 0}).run()

    with _pool(1) as pool:
        limit, tasks, calls = in_turns(
            effort, lambda: trips_of_pool(pool), lambda: run(program, values), trips_of_calls
        )
    limit, tasks, calls = (each.scaled(1 / size) for each in (limit, tasks, calls))
    name = "ProcessPoolExecutor"
    yield row_of_ratio(f"warm process worker, a no-op task (chain of {size})", tasks, limit, called=name, target=1.2)
    yield row_of_ratio("warm process worker: the call alone", calls, limit, called=name)


def square_sum(loops: int) -> int:
    """Keep the processor busy."""
    total = 0
    for number in range(loops):
        total += number * number
    return total


crunch = task(isolation="process")(square_sum)


@flow
def crunches(loops: Static[int]) -> None:
    """Eight tasks that keep the processor busy."""
    for _ in range(BUSY):
        crunch(loops)


def busy(effort: Effort) -> Iterator[Row]:
    """Work that keeps the processor busy, on two cores in warm processes."""
    loops = effort.size(LOOPS)

    def pooled(pool: ProcessPoolExecutor) -> None:
        list(pool.map(square_sum, [loops] * BUSY))

    with _pool(CORES) as pool:
        single, limit, two, many = in_turns(
            effort.slow(),
            lambda: [square_sum(loops) for _ in range(BUSY)],
            lambda: pooled(pool),
            lambda: crunches.run_local(loops=loops, max_workers=CORES),
            lambda: crunches.run_local(loops=loops),
        )
    ideal = single.scaled(1 / CORES)
    what = f"{BUSY} busy tasks on {CORES} cores, processes"
    for how, found, target in ((f"{CORES} at once", two, 1.15), ("16 at once (default)", many, 1.15)):
        yield row_of_ratio(f"{what}, {how}", found, ideal, called="ideal", target=target, shows_cpu=False)
    yield row_of_ratio(f"{what}: ProcessPoolExecutor", limit, ideal, called="ideal", shows_cpu=False)
    yield row_of_ratio(f"{what}, {CORES} at once, beside it", two, limit, called="ProcessPoolExecutor", shows_cpu=False)


def starts(effort: Effort) -> Iterator[Row]:
    """What it takes to start worker processes, in a new process each time."""
    firsts = [alone(first_times, CORES) for _ in range(effort.slow().rounds)]
    dagy, plain = (Times(tuple(each), tuple(each)) for each in zip(*firsts, strict=True))
    called = "ProcessPoolExecutor (forkserver)"
    yield row_of_ratio(f"starting {CORES} worker processes", dagy, plain, called=called, shows_cpu=False)


def first_times(workers: int) -> tuple[float, float]:
    """Seconds that the first no-op tasks take longer than the next, in Dagy and in the standard library."""

    def once() -> float:
        begun = time.perf_counter()
        crunches.run_local(loops=2, max_workers=workers)
        return time.perf_counter() - begun

    def once_in(pool: ProcessPoolExecutor) -> float:
        begun = time.perf_counter()
        list(pool.map(square_sum, [2] * BUSY))
        return time.perf_counter() - begun

    first, *others = (once() for _ in range(4))
    with _pool(workers) as pool:
        first_plain, *others_plain = (once_in(pool) for _ in range(4))
    return first - statistics.median(others), first_plain - statistics.median(others_plain)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("forkserver"))
