"""The graphs that are measured, as plain data, and the plain Python that runs them: what an engine is compared with.

It does what any engine must: find out what is ready, give a function the results of what it needs, keep its result.
"""

from __future__ import annotations

import functools
import graphlib
import queue
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

WORKERS = 16
WIDTH = 20  # of a layer

Given = Callable[[str, Mapping[str, object]], object]


@dataclass(frozen=True)
class Shape:
    """A graph: for each task what it needs, and what its function is given, by name and the results so far."""

    needs: Mapping[str, tuple[str, ...]]
    given: Given


def chain(size: int) -> Shape:
    """A task after a task, each given the result of the one before."""
    needs: dict[str, tuple[str, ...]] = {f"step-{n}": (f"step-{n - 1}",) if n else () for n in range(size)}
    return Shape(needs, lambda name, results: results[needs[name][0]] if needs[name] else 0)


def fan_out(size: int) -> Shape:
    """Tasks that need nothing, each given the same literal."""
    return Shape({f"step-{n}": () for n in range(size)}, lambda _name, _results: 0)


def layers(size: int) -> Shape:
    """Layers of 20 tasks, each given a list of the results of 3 to 5 tasks of the layer above."""
    needs = {f"step-{n}": tuple(f"step-{each}" for each in above) for n, above in enumerate(layered_needs(size))}
    return Shape(needs, lambda name, results: [results[each] for each in needs[name]])


@functools.cache
def layered_needs(size: int) -> list[list[int]]:
    """For each task of `layers` the numbers of those it needs."""
    chance = random.Random(size)
    found: list[list[int]] = []
    for number in range(size):
        above = range(max(0, number // WIDTH - 1) * WIDTH, number // WIDTH * WIDTH)
        found.append(sorted(chance.sample(above, chance.randint(3, 5))) if above else [])
    return found


def run_in_order(shape: Shape, function: Callable[[object], object]) -> dict[str, object]:
    """The results of all tasks, one after the other, with graphlib and nothing else."""
    needs, given = shape.needs, shape.given
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    results: dict[str, object] = {}
    while sorter.is_active():
        for name in sorter.get_ready():
            results[name] = function(given(name, results))
            sorter.done(name)
    return results


def run_in_threads(shape: Shape, function: Callable[[object], object], workers: int = WORKERS) -> dict[str, object]:
    """The same, with graphlib and a pool of threads that say through a queue what is done."""
    given = shape.given
    sorter = graphlib.TopologicalSorter(shape.needs)
    sorter.prepare()
    results: dict[str, object] = {}
    done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def work(name: str) -> None:
        try:
            results[name] = function(given(name, results))
        finally:
            done.put(name)

    with ThreadPoolExecutor(workers) as executor:
        while sorter.is_active():
            for name in sorter.get_ready():
                executor.submit(work, name)
            sorter.done(done.get())
    return results
