"""What a task costs, beside the same graph in plain Python."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagy import Flow, Task, flow, task
from dagy.engine import run

from . import flows, shapes
from .measuring import Effort, Row, Times, in_turns, in_unit, row_of_extra, row_of_ratio, row_of_time
from .shapes import WORKERS, Shape, run_in_order, run_in_threads

SIZES = (1_000, 10_000)
SLEEPERS, SLEEP = 64, 0.05


def chains(effort: Effort) -> Iterator[Row]:
    """A chain on all defaults, beside graphlib alone; the run alone, and the drawing of the graph with it."""
    for full in SIZES:
        size = effort.size(full)
        yield from _beside(effort, f"chain of {size:,}", flows.chain, shapes.chain(size), run_in_order, "graphlib", 2.5)


def fan_outs(effort: Effort) -> Iterator[Row]:
    """Tasks that need nothing on 16 threads, beside graphlib and a pool of as many."""
    for full in SIZES:
        size = effort.size(full)
        what = f"fan-out of {size:,}, {WORKERS} threads"
        yield from _beside(effort, what, flows.fan_out, shapes.fan_out(size), run_in_threads, "graphlib + pool", 1.0)


def layered(effort: Effort) -> Iterator[Row]:
    """Layers of 20 tasks on 16 threads, beside graphlib and a pool of as many."""
    size = effort.size(1_000)
    what = f"layers of 20, {size:,} tasks, {WORKERS} threads"
    yield from _beside(effort, what, flows.layers, shapes.layers(size), run_in_threads, "graphlib + pool", 1.0)


def _beside(
    effort: Effort,
    what: str,
    graph: Flow[..., None],
    shape: Shape,
    plain: Callable[[Shape, Callable[[object], object]], object],
    called: str,
    target: float,
) -> Iterator[Row]:
    size = len(shape.needs)
    program, values = graph.prepare(size=size)
    limit, run_alone, both = in_turns(
        effort,
        lambda: plain(shape, flows.step.function),
        lambda: run(program, values),
        lambda: graph.run_local(size=size),
    )
    limit, run_alone, both = (each.scaled(1 / size) for each in (limit, run_alone, both))
    yield row_of_ratio(f"{what}: run alone", run_alone, limit, called=called, target=target)
    yield row_of_ratio(f"{what}: drawing and run", both, limit, called=called, target=target)


def sleepers(effort: Effort) -> Iterator[Row]:
    """Tasks that only wait, 16 at once."""

    @task
    def nap(seconds: float) -> None:
        time.sleep(seconds)

    @flow
    def naps() -> None:
        for _ in range(effort.size(SLEEPERS)):
            nap(SLEEP)

    sleepers = effort.size(SLEEPERS)
    ideal = math.ceil(sleepers / WORKERS) * SLEEP
    shape = shapes.fan_out(sleepers)
    found, pool = in_turns(effort, naps.run_local, lambda: run_in_threads(shape, lambda _given: time.sleep(SLEEP)))
    exact = Times((ideal,) * effort.rounds, (ideal,) * effort.rounds)
    what = f"{sleepers} tasks that sleep {in_unit(SLEEP)}, {WORKERS} at once"
    yield row_of_ratio(what, found, exact, called="ideal", target=1.06, shows_cpu=False)
    yield row_of_ratio(f"{what}: beside a pool", found, pool, called="graphlib + pool", shows_cpu=False)


def recorded(effort: Effort) -> Iterator[Row]:
    """What it adds to keep the run in the history."""
    for name, graph in (("chain", flows.chain), ("fan-out", flows.fan_out)):
        for full in SIZES:
            size = effort.size(full)
            with _own_history():
                without, found = in_turns(
                    effort,
                    lambda graph=graph, size=size: graph.run_local(size=size),
                    lambda graph=graph, size=size: graph.run_local(size=size, record=True),
                )
            yield row_of_extra(
                f"{name} of {size:,}, recorded",
                found.scaled(1 / size), without.scaled(1 / size), called="not recorded", target=20e-6,
            )  # fmt: skip


@contextmanager
def _own_history() -> Iterator[None]:
    before = os.environ.get("DAGY_LOCAL_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DAGY_LOCAL_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["DAGY_LOCAL_DIR"]
            else:
                os.environ["DAGY_LOCAL_DIR"] = before


def armed(effort: Effort) -> Iterator[Row]:
    """What an option adds to a task that does not need it; by the processor's time, for it is little."""
    size = effort.size(1_000)
    options: list[tuple[str, Task[..., object], float | None]] = [
        ("retries armed", flows.step_with_retries, 0.5e-6),
        ("soft timeout armed", flows.step_with_timeout, 3e-6),
        ("a hook on completion", flows.step_with_hook, None),
        ("an input annotated int", flows.step_of_int, None),
        ("an input annotated object", flows.step_of_object, None),
    ]
    programs = [flows.chain_of(each).prepare(size=size) for _, each, _ in (("", flows.step, 0.0), *options)]
    plain, *found = in_turns(effort.fine(), *(lambda each=each: run(*each) for each in programs))
    for (what, _, target), times in zip(options, found, strict=True):
        yield row_of_extra(
            f"chain of {size:,}: {what}",
            times.scaled(1 / size), plain.scaled(1 / size), called="plain tasks", target=target,
            is_judged_by_cpu=True,
        )  # fmt: skip


def drawings(effort: Effort) -> Iterator[Row]:
    """How long it takes to draw a graph and make its spec, and whether that grows in step with the graph."""
    for name, graph in (("chain", flows.chain), ("fan-out", flows.fan_out), ("layers", flows.layers)):
        small, large = (effort.size(full) for full in SIZES)
        found = in_turns(
            effort,
            lambda graph=graph, size=small: graph.prepare(size=size),
            lambda graph=graph, size=large: graph.prepare(size=size),
        )
        for size, times, target in zip((small, large), found, (8e-3, 80e-3), strict=True):
            each = f"{times.median / size * 1e6:.1f} us a task"
            yield row_of_time(
                f"trace and spec, {name} of {size:,}", times,
                target=target * effort.share, limit=each, is_judged_by_cpu=True,
            )  # fmt: skip
        yield row_of_ratio(
            f"trace and spec, {name}: a task at {large:,}",
            found[1].scaled(1 / large), found[0].scaled(1 / small), called=f"at {small:,}", target=1.3,
            is_judged_by_cpu=True,
        )  # fmt: skip
