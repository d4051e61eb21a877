"""One piece of work in one engine, in a process of its own; knows neither Dagy nor numpy until they are asked for.

The engine and plain Python take turns. What is printed last is JSON: the seconds that each took, a round each.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..shapes import WORKERS, Shape, chain, fan_out, layers, run_in_order, run_in_threads

ENOUGH = 20.0  # seconds of measuring, after which no round begins
NAP = 0.05
NUMBERS = 6_250_000  # of 8 bytes each: 50 MB


class Engine(Protocol):
    """What the module of an engine defines. All calls draw the graph anew, run it and return the last task's result.

    The function that each task calls is given what `Shape.given` says.
    """

    def run(self, shape: Shape, function: Callable[[object], object]) -> object:
        """Run it in the way that the engine runs small tasks best."""

    def run_side_by_side(self, shape: Shape, function: Callable[[object], object]) -> object:
        """Run up to 16 tasks at once, which wait."""


def same(given: object) -> object:
    """Do nothing."""
    return given


def nap(_given: object) -> int:
    """Wait."""
    time.sleep(NAP)
    return 0


def array_once(given: object) -> object:
    """An array of 50 MB where none is given, else the same one."""
    return _array() if isinstance(given, int) else given


@functools.cache
def _array() -> object:
    import numpy as np

    return np.ones(NUMBERS)


def works(engine: Engine) -> dict[str, tuple[Callable[[], object], Callable[[], object], int]]:
    """By name: what the engine does, what plain Python does, and the number of tasks."""

    def small(shape: Shape) -> tuple[Callable[[], object], Callable[[], object], int]:
        return (lambda: engine.run(shape, same)), (lambda: run_in_order(shape, same)), len(shape.needs)

    shapes = {f"{each.__name__} of {size:,}": each(size) for each in (chain, fan_out, layers) for size in (100, 1_000)}
    naps, passing = fan_out(64), chain(100)
    return {
        **{name: small(shape) for name, shape in shapes.items()},
        "64 sleep 50 ms": (
            lambda: engine.run_side_by_side(naps, nap),
            lambda: run_in_threads(naps, nap, WORKERS),
            64,
        ),
        "50 MB through 100": (
            lambda: engine.run(passing, array_once),
            lambda: run_in_order(passing, array_once),
            100,
        ),
    }  # fmt: skip


NAMES = tuple(works(None))  # type: ignore[arg-type]  # names alone


def measure(engine: Engine, name: str, rounds: int) -> dict[str, object]:
    """Seconds a task, a round each, of the engine and of plain Python."""
    for function in (same, array_once):  # to warm up
        engine.run(chain(3), function)
    act, plainly, size = works(engine)[name]
    found: list[float] = []
    limit: list[float] = []
    until = time.perf_counter() + ENOUGH
    for _ in range(rounds):
        for action, times in ((plainly, limit), (act, found)):
            begun = time.perf_counter()
            action()
            times.append((time.perf_counter() - begun) / size)
        if time.perf_counter() > until:
            break
    return {"found": found, "limit": limit}


def main(argv: Sequence[str]) -> None:
    """Measure, in a thread with room for engines that recurse over the graph."""
    peer, name, rounds = argv
    engine: Engine = importlib.import_module(f".with_{peer}", __package__)  # type: ignore[assignment]
    sys.setrecursionlimit(1_000_000)
    threading.stack_size(512 * 1024 * 1024)
    thread = threading.Thread(target=lambda: print("\n" + json.dumps(measure(engine, name, int(rounds))), flush=True))
    thread.start()
    threading.stack_size(0)
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
