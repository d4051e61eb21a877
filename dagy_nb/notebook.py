"""The kept cells of a notebook, and the flows they make. The owner of all notebook state.

A cell is kept when it has run without an error, under the id the notebook gives it: run again it replaces itself.
A flow is made anew from the kept cells each time it is asked for, so it is never older than they are.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from dagy import Flow, Task
from dagy.errors import DefinitionError, UnknownFlowError
from dagy_nb.cells import Cell, FlowCell, ReadCell, TaskCell, flow_cell, read_cell, task_cell
from dagy_nb.directives import FlowDirective, TaskDirective
from dagy_nb.generated import flow_function_ast, flow_source, task_function_ast
from dagy_nb.joining import JoinedTask, join, wire
from dagy_nb.names import identifier, unused

Defined: TypeAlias = TaskCell | FlowCell


@dataclass(frozen=True, slots=True)
class KeptCell:
    """A cell that has run: its text taken apart, and where its code says it comes from."""

    read: ReadCell
    filename: str
    defined: Defined | None = None
    function: Callable[..., Any] | None = None  # of a task cell that holds a function


class Notebook:
    """The cells that ran in one kernel, whose names live in `namespace`; `path` is the notebook's file."""

    def __init__(self, namespace: MutableMapping[str, Any], *, path: Path = Path("notebook.ipynb")) -> None:
        self.namespace = namespace
        self.path = path
        self.name = identifier(path.stem, default="notebook")
        self._kept: dict[str, KeptCell] = {}

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The kept cells, in the order in which they first ran."""
        return tuple(each.read.cell for each in self._kept.values())

    def check(self, cell: Cell) -> Defined | None:
        """What the cell defines when it runs: a task, a flow, or neither. `DefinitionError` when it can't."""
        return _defined(read_cell(cell))

    def waits_for(self, defined: Defined | None) -> tuple[str, ...]:
        """The names without which the cell can't run on its own, because only a run of the flow makes them.

        A cell of plain statements runs like any other cell as long as what it takes is there: made by cells that have
        run. What a task function makes is not. The statements of a flow draw a graph, and never run on their own.
        """
        if isinstance(defined, FlowCell) and defined.form == "statements":
            return (defined.name or self.name,)
        if not isinstance(defined, TaskCell) or defined.form == "function":
            return ()
        made = {name for each in self._task_cells() for name in (*each.bound, each.name)}
        return tuple(
            name
            for name in defined.inputs
            if name in made
            and (name not in self.namespace or isinstance(self.namespace[name], Task))
            and not defined.reads[name]
        )

    def keep(self, cell: Cell, filename: str) -> Defined | None:
        """Keep a cell that has just run; what it defines. Its code's file is called `filename`.

        A function in a task or flow cell is replaced, under its name, by the task or the flow that it has become.
        """
        read = read_cell(cell)
        defined = _defined(read)
        function = None
        if isinstance(defined, TaskCell) and defined.form == "function":
            function = self.namespace[defined.bound[0]]
            function = function.function if isinstance(function, Task) else function
        if isinstance(defined, TaskCell) and function is not None:
            # Under its name the function is a task from now on, which outside a flow is the function again.
            self.namespace[defined.bound[0]] = _task(function, _options(defined, defined.bound[0]))
        self._forget_older(defined)
        key = cell.id or _digest(cell.source)
        if cell.id:  # it may be known without its id, from before the extension was loaded
            nameless = _digest(cell.source)
            self._kept = {key if each == nameless else each: kept for each, kept in self._kept.items()}
        replaced = self._kept.get(key)
        if replaced is not None and replaced.function is not None and isinstance(replaced.defined, TaskCell):
            old = replaced.defined.bound[0]
            if (defined is None or old not in defined.bound) and isinstance(self.namespace.get(old), Task):
                del self.namespace[old]  # the task was renamed: nothing is to be taken from its old name
        self._kept[key] = KeptCell(read, filename, defined, function)
        return defined

    def tasks(self) -> tuple[JoinedTask, ...]:
        """The task cells, wired by names, in the order in which they first ran."""
        return wire(self._task_cells(), defined=self._defined_elsewhere())

    def flow(self, name: str | None = None) -> Flow[..., Any]:
        """The flow called `name`, or the only one there is.

        A `%%dagy_flow` cell, or a `@flow` of the notebook; where there is neither, the task cells joined by names.
        Raises `UnknownFlowError`, and `DefinitionError` when there is a choice to make or the cells don't fit.
        """
        written = self._written_flows()
        decorated = {key: value for key, value in self.namespace.items() if isinstance(value, Flow) and key[0] != "_"}
        choices = list(dict.fromkeys([*written, *self._own(decorated)]))
        if name is None:
            if not choices:
                return self._joined_flow()
            if len(choices) > 1:
                raise DefinitionError(f"the notebook has {len(choices)} flows; name one of them: {', '.join(choices)}")
            name = choices[0]
        if name in written:
            return self._written_flow(name, written[name])
        for key, value in decorated.items():
            if name in (key, value.name):
                return value
        if name == self.name and self._task_cells():
            return self._joined_flow()
        raise UnknownFlowError(name, [*choices, *([self.name] if not choices and self._task_cells() else [])])

    def forget(self) -> None:
        """Forget the task cells and flow cells; the names in the namespace stay."""
        self._kept = {key: each for key, each in self._kept.items() if each.defined is None}

    def label_of(self, filename: str) -> str | None:
        """What messages call the cell whose code's file is `filename`."""
        for each in list(self._kept.values()):  # a cell may run meanwhile, in another thread
            if each.filename == filename:
                return each.read.cell.label
        return None

    def with_labels(self, message: str) -> str:
        """`message` in which a line of a file that is a cell is called as the notebook calls it."""

        def renamed(match: re.Match[str]) -> str:
            for each in list(self._kept.values()):
                if each.filename and match["file"] in (each.filename, PurePath(each.filename).name):
                    return f"{each.read.cell.label}, line {match['line']}"
            return match[0]

        return re.sub(r"line (?P<line>\d+) of (?P<file>[^\s:),]+)", renamed, message)

    def _task_cells(self) -> list[TaskCell]:
        return [each.defined for each in self._kept.values() if isinstance(each.defined, TaskCell)]

    def _defined_elsewhere(self) -> set[str]:
        """The names that ordinary cells bind."""
        return {
            name
            for each in self._kept.values()
            if each.defined is None
            for statement in each.read.statements
            for name in statement.names.binds
        }

    def _own(self, decorated: Mapping[str, Flow[..., Any]]) -> list[str]:
        """The names of the flows that this notebook defines, each once: no imported one, none that it was given."""
        found: dict[int, str] = {}
        for key, value in decorated.items():
            if getattr(inspect.unwrap(value.function), "__globals__", None) is self.namespace:
                found.setdefault(id(value), key)
        return list(found.values())

    def _written_flows(self) -> dict[str, KeptCell]:
        return {
            each.defined.name or self.name: each for each in self._kept.values() if isinstance(each.defined, FlowCell)
        }

    def _joined_flow(self) -> Flow[..., Any]:
        cells = self._task_cells()
        if not cells:
            raise DefinitionError(
                "the notebook has no flow yet; begin a cell with %%dagy_task to make it a task, and run it"
            )
        joined = join(cells, flow=self.name, defined=self._defined_elsewhere())
        functions = self._functions(joined)
        name = unused(self.name, functions, suffix="_flow")
        namespace = {**self.namespace, **functions}
        _execute(compile(flow_source(joined, name), f"<flow {name}>", "exec"), namespace, namespace)
        return Flow(namespace[name], name=self.name)

    def _written_flow(self, name: str, kept: KeptCell) -> Flow[..., Any]:
        cell = kept.defined
        assert isinstance(cell, FlowCell)
        functions = self._functions(self.tasks())
        namespace = {**self.namespace, **functions}
        function_name = (
            cell.bound[-1]
            if cell.form == "function"
            else unused(identifier(name, default="flow"), functions, suffix="_flow")
        )
        _execute(compile(flow_function_ast(cell, function_name), kept.filename, "exec"), namespace, namespace)
        options: dict[str, Any] = {"name": name, **cell.directive.options}
        return Flow(namespace[function_name], **options)

    def _functions(self, joined: Iterable[JoinedTask]) -> dict[str, Task[..., Any]]:
        """The tasks, by the Python names of their functions."""
        kept = {id(each.defined): each for each in self._kept.values() if each.defined is not None}
        found = {}
        for each in joined:
            own = kept[id(each.cell)]
            function = own.function
            if function is None:
                scratch: dict[str, Any] = {}
                _execute(compile(task_function_ast(each), own.filename, "exec"), self.namespace, scratch)
                function = scratch[each.function]
            found[each.function] = _task(function, each.options)
        return found

    def _forget_older(self, defined: Defined | None) -> None:
        """Without cell ids a cell that is edited and run again is known by the task or flow it defines."""
        if defined is None or defined.cell.id:
            return
        for key, each in list(self._kept.items()):
            if type(each.defined) is type(defined) and not each.read.cell.id and each.defined.name == defined.name:
                del self._kept[key]


def _defined(read: ReadCell) -> Defined | None:
    if isinstance(read.directive, TaskDirective):
        return None if read.directive.help_wanted else task_cell(read)
    if isinstance(read.directive, FlowDirective):
        return None if read.directive.help_wanted else flow_cell(read)
    return None


def _options(cell: TaskCell, function: str) -> dict[str, object]:
    return {**({"name": cell.name} if cell.name != function else {}), **cell.directive.options}


def _task(function: Callable[..., Any], options: dict[str, Any]) -> Task[..., Any]:
    return Task(function, **options)


def _execute(code: Any, namespace: MutableMapping[str, Any], local: MutableMapping[str, Any]) -> None:
    """Run code that only defines a function: the user's own text, made one by Dagy."""
    exec(code, namespace, local)  # type: ignore[arg-type]  # the kernel's namespace is a dict


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
