"""Luigi with its local scheduler: a task's result is a file."""

from __future__ import annotations

import logging
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import luigi

from ..shapes import WORKERS, Shape

logging.disable(logging.CRITICAL)
luigi.configuration.get_config().set("worker", "no_install_shutdown_handler", "true")  # it may be no main thread

_now: tuple[Shape, Callable[[object], object], Path]


class Step(luigi.Task):  # type: ignore[misc]  # it has no types
    """One task of the graph that runs now."""

    folder = luigi.Parameter()
    step = luigi.Parameter()

    def requires(self) -> list[Step]:
        """The tasks it needs."""
        return [Step(self.folder, each) for each in _now[0].needs[self.step]]

    def output(self) -> luigi.LocalTarget:
        """The file that holds what it returned."""
        return luigi.LocalTarget(str(Path(self.folder) / self.step), format=luigi.format.Nop)

    def run(self) -> None:
        """Read what it needs, call the function, write what it returns."""
        shape, function, _ = _now
        results = {}
        for each in shape.needs[self.step]:
            results[each] = pickle.loads((Path(self.folder) / each).read_bytes())
        with self.output().open("w") as file:
            file.write(pickle.dumps(function(shape.given(self.step, results)), protocol=5))


def run(shape: Shape, function: Callable[[object], object], workers: int = 1) -> object:
    """One task after the other."""
    global _now
    with tempfile.TemporaryDirectory() as folder:
        _now = (shape, function, Path(folder))
        needed = {each for needs in shape.needs.values() for each in needs}
        ends = [Step(folder, name) for name in shape.needs if name not in needed]
        if not luigi.build(ends, local_scheduler=True, workers=workers, log_level="CRITICAL"):
            raise RuntimeError("luigi did not succeed")
        return pickle.loads((Path(folder) / ends[-1].step).read_bytes())


def run_side_by_side(shape: Shape, function: Callable[[object], object]) -> object:
    """In 16 processes that it forks."""
    return run(shape, function, WORKERS)
