"""A notebook's tasks and flows, for tests: without a kernel, and without running the rest of the notebook.

    from dagy.testing import load_notebook

    nb = load_notebook("scraper.ipynb")

    def test_rows_without_a_price_are_dropped():
        assert nb["clean"]([{"price": None}, {"price": 3}]) == [{"price": 3}]

    def test_the_flow_gives_a_report(tmp_path):
        assert nb.flow.run_local(pages=1).value["rows"] == 20

Outside a flow a task is its plain function, so it is called with plain values. What it calls is replaced in the
notebook's module: `monkeypatch.setattr(nb.module, "fetch", fake_fetch)`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from dagy.artifact import SeveralFlowsError, Source, load_module, read_source
from dagy.errors import DagyError, ExportError, SourceError, UnknownTaskError
from dagy.flows import Flow
from dagy.tasks import Task

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class LoadedNotebook:
    """What a notebook defines: its tasks and its flows by name, and in `module` all that these need.

    `notebook["clean"]` is the task of that name, else the flow, else whatever has that name in the module: a helper, a
    constant, what a cell marked `#| dagy_export` defines.
    """

    path: Path
    module: ModuleType
    tasks: Mapping[str, Task[..., Any]]
    flows: Mapping[str, Flow[..., Any]]
    trouble: DagyError | None = None  # why its flows could not be loaded, when its tasks could

    @property
    def flow(self) -> Flow[..., Any]:
        """The only flow. `SeveralFlowsError` names them when there are more; `SourceError` when there is none."""
        if self.trouble is not None:
            raise self.trouble
        if len(self.flows) > 1:
            raise SeveralFlowsError(self.path, tuple(sorted(self.flows)))
        if not self.flows:
            raise SourceError(
                f"{self.path} defines no flow; its tasks are {', '.join(map(repr, self.tasks)) or 'none'}"
            )
        return next(iter(self.flows.values()))

    def __getitem__(self, name: str) -> Any:
        for found in (self.tasks, self.flows, vars(self.module)):
            if name in found:
                return found[name]
        own = [each for each in vars(self.module) if not each.startswith("__")]
        raise UnknownTaskError(name, [*self.tasks, *self.flows, *own], where=self.path.name)

    def __repr__(self) -> str:
        return f"<LoadedNotebook {self.path.name!r}, tasks: {', '.join(self.tasks)}; flows: {', '.join(self.flows)}>"


def load_notebook(path: str | Path) -> LoadedNotebook:
    """The tasks and flows of the notebook at `path`, which is relative to the working directory.

    Only what they need is run: imports, constants, helpers, and cells marked `#| dagy_export`; no other statement, no
    magic, no plot. Each load has a module of its own, so two don't interfere. Its functions' tracebacks name the cell.

    Raises `NotebookError` for a file that is no notebook, `ExportError` for one whose tasks need what only a kernel
    has, with the cell and the way out, and `CodeFailedError` when what they need raises. A flow that can't be exported
    leaves the tasks as they are: asking for `notebook.flow` says what is wrong.
    """
    trouble: DagyError | None = None
    try:
        source = read_source(Path(path), roots="all")
    except ExportError as error:
        source, trouble = _tasks_alone(Path(path), error), error
    module = load_module(source, called=f"{source.module}_{next(_NUMBERS)}")
    own = [value for value in vars(module).values() if _is_own(value, module)]
    tasks = {each.name: each for each in own if isinstance(each, Task)}
    flows = {each.name: each for each in own if isinstance(each, Flow)}
    return LoadedNotebook(source.path, module, MappingProxyType(tasks), MappingProxyType(flows), trouble)


def _tasks_alone(path: Path, trouble: ExportError) -> Source:
    try:
        return read_source(path, roots="tasks")
    except ExportError:
        raise trouble from None


def _is_own(value: object, module: ModuleType) -> bool:
    return isinstance(value, Task | Flow) and value.function.__module__ == module.__name__
