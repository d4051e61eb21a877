"""The kept cells of a notebook, and the flows they make. The owner of all notebook state.

A cell is kept when it has run without an error, under the id the notebook gives it: run again it replaces itself.
A flow is made anew from the kept cells each time it is asked for, so it is never older than they are.

The order of the cells is the notebook's, as its file was saved last: an inserted cell counts at its place. A cell that
the file does not hold (it is new, or deleted) stays behind the one that first ran before it; without a file, all do.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import hashlib
import inspect
import re
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, TypeAlias, TypeGuard

from dagy import Flow, Task
from dagy.errors import DagyError, DefinitionError, UnknownFlowError, UnknownNodeError, UnknownTaskError, sentence
from dagy.nodes import FlowNode, definition_of, node_registry
from dagy_nb.cells import (
    Cell,
    FlowCell,
    NodeCell,
    ReadCell,
    Statement,
    TaskCell,
    flow_cell,
    node_cell,
    read_cell,
    task_cell,
)
from dagy_nb.changers import Changers
from dagy_nb.directives import (
    DirectiveKind,
    FlowDirective,
    NodeDirective,
    TaskDirective,
    cell_lines,
    written_directive,
)
from dagy_nb.generated import flow_function_ast, flow_source, node_function_ast, task_function_ast
from dagy_nb.joining import JoinedTask, flow_parameters, join, wire
from dagy_nb.names import Function, identifier, unused
from dagy_nb.node_cells import NodePlan, made_node, plan_node, tools_of
from dagy_nb.notebook_file import SavedNotebook, same_text

Defined: TypeAlias = TaskCell | FlowCell | NodeCell


@dataclass(frozen=True, slots=True)
class KeptCell:
    """A cell that has run: its text taken apart, and where its code says it comes from."""

    read: ReadCell
    filename: str
    defined: Defined | None = None
    function: Callable[..., Any] | None = None  # of a task cell that holds a function
    has_run: bool = True  # else it is only kept, because a run of the flow makes what it takes
    turn: int = 0  # counts the cells that ran: a later one has a higher number
    changed_turn: int = 0  # the turn in which its text became what it is
    ran_at: float = 0.0  # in seconds since the epoch, as all times here
    changed_at: float = 0.0  # when its text became what it is
    gave_up: tuple[str, ...] = ()  # names that it made under an older text
    failed_edit: str | None = None  # a newer text of it, whose run failed
    failed_at: float = 0.0
    deleted_at: float | None = None  # when the page said that it was deleted
    plain_tasks: Mapping[str, str] = field(default_factory=dict)  # of an ordinary cell: {function: its @task's name}
    plain_flows: Mapping[str, str] = field(default_factory=dict)  # the same for @flow
    nodes: tuple[type[FlowNode], ...] = ()  # the node classes that it defines, however they are written
    plan: NodePlan | None = None  # of a node cell

    @property
    def cell(self) -> Cell:
        """The cell as it ran."""
        return self.read.cell

    @property
    def name(self) -> str | None:
        """The name of the task or the flow that the cell defines; None for another cell, and for a flow without one."""
        return None if self.defined is None else self.defined.name

    @property
    def makes(self) -> frozenset[str]:
        """The names that the cell makes: variables, functions, a task."""
        if self.plan is not None:
            return frozenset({self.plan.function})
        names = frozenset(name for each in self.read.statements for name in each.names.binds)
        return names | {self.defined.name} if isinstance(self.defined, TaskCell) else names


@dataclass(frozen=True, slots=True)
class FailedCell:
    """A cell that was to be a task, a flow or a node, and failed when it ran: nothing of it is kept."""

    cell: Cell
    kind: DirectiveKind
    name: str | None = None  # as far as its text tells
    failed_at: float = 0.0  # in seconds since the epoch


class Notebook:
    """The cells that ran in one kernel, whose names live in `namespace`; `path` is the notebook's file."""

    def __init__(
        self,
        namespace: MutableMapping[str, Any],
        *,
        path: Path = Path("notebook.ipynb"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.namespace = namespace
        self.path = path
        self._clock = clock
        self._kept: dict[str, KeptCell] = {}  # in the order of first running
        self._failed: dict[str, FailedCell] = {}  # those of which nothing is kept
        self._changers = Changers([])  # of the kept cells
        self._saved: SavedNotebook | None = None
        self._turn = 0
        self._told_deleted: frozenset[str] = frozenset()  # what the page said last
        self._before: dict[str, object] = {}  # what names were before a task cell bound them anew

    @property
    def name(self) -> str:
        """The notebook's name, which the flow of the joined task cells has: its file's, as a Python name."""
        return identifier(self.path.stem, default="notebook")

    @property
    def kept(self) -> tuple[KeptCell, ...]:
        """The kept cells, in notebook order."""
        return tuple(self._in_order())

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The texts of the kept cells, in notebook order."""
        return tuple(each.cell for each in self._in_order())

    @property
    def not_kept(self) -> tuple[FailedCell, ...]:
        """The cells that were to be a task or a flow and have failed, the newest last. No flow has them."""
        return tuple(self._failed.values())

    @property
    def saved(self) -> SavedNotebook | None:
        """The notebook as its file was last seen; None when no file is known that holds one of the kept cells."""
        return self._saved

    def arrange(self, saved: SavedNotebook | None) -> None:
        """Take the order of the cells from the notebook's file, when it is this notebook's."""
        is_ours = saved is not None and any(saved.place_of(each.cell) is not None for each in self._kept.values())
        self._saved = saved if is_ours else None

    def check(self, cell: Cell) -> Defined | None:
        """What the cell defines when it runs: a task, a flow, or neither. `DefinitionError` when it can't."""
        return _defined(self._read(cell))

    def about_to_replace(self, cell_id: str) -> None:
        """Let the node types of a cell that runs again be taken by its newer self, whatever its classes are called."""
        if cell_id in self._kept:
            _unregister(self._kept[cell_id])

    def about_to_run(self, defined: Defined | None) -> None:
        """Remember what a task cell takes from ordinary cells under a name that it binds anew: it runs from there."""
        if isinstance(defined, TaskCell):
            for name in defined.rebinds & self._defined_elsewhere():
                if name in self.namespace:
                    self._before.setdefault(name, self.namespace[name])

    def waits_for(self, defined: Defined | None) -> tuple[str, ...]:
        """The names without which the cell can't run on its own, because only a run of the flow makes them.

        A cell of plain statements runs like any other cell as long as what it takes is there: made by cells that have
        run. What a task function makes is not. The statements of a flow draw a graph, and never run on their own.
        """
        if isinstance(defined, FlowCell) and defined.form == "statements":
            return (defined.name or self.name,)
        if isinstance(defined, NodeCell) and defined.form == "statements":
            return (defined.name,)
        if not isinstance(defined, TaskCell) or defined.form == "function":
            return ()
        if defined.returns:  # outside a function there is nothing to return from
            return (defined.name,)
        made = {name for each in self._task_cells() for name in (*each.bound, each.name)}
        return tuple(
            name
            for name in defined.inputs
            if name in made
            and (name not in self.namespace or isinstance(self.namespace[name], Task))
            and not defined.reads[name]
        )

    def keep(self, cell: Cell, filename: str, *, has_run: bool = True) -> Defined | None:
        """Keep a cell that has just run; what it defines. Its code's file is called `filename`.

        `has_run` is off for a cell that can't run on its own and was only looked at (see `waits_for`). A function in a
        task or flow cell is replaced, under its name, by the task or the flow that it has become.
        """
        read = self._read(cell)
        defined = _defined(read)
        if defined is None:
            for name in (name for each in read.statements for name in each.names.binds):
                self._before.pop(name, None)
        elif not has_run:  # what it imports is there for the other cells all the same
            self._import(read)
        function = None
        if isinstance(defined, TaskCell) and defined.form == "function":
            function = self.namespace[defined.bound[0]]
            function = function.function if isinstance(function, Task) else function
        if isinstance(defined, TaskCell) and function is not None:
            # Under its name the function is a task from now on, which outside a flow is the function again.
            self.namespace[defined.bound[0]] = _task(function, _options(defined, defined.bound[0]))
        self._ran_well(cell, defined)
        key = cell.id or _digest(cell.source)
        # It may be known without its id, from before the extension was loaded; or it never gets one.
        older = _digest(cell.source) if cell.id else self._older(defined)
        if older in self._kept and key not in self._kept:
            self._kept = {key if each == older else each: kept for each, kept in self._kept.items()}
        replaced = self._kept.get(key)
        plan, nodes = self._nodes(read, defined, filename, replaced)
        if replaced is not None and replaced.function is not None and isinstance(replaced.defined, TaskCell):
            old = replaced.defined.bound[0]
            if (defined is None or old not in defined.bound) and isinstance(self.namespace.get(old), Task):
                del self.namespace[old]  # the task was renamed: nothing is to be taken from its old name
        made = KeptCell(
            read,
            filename,
            defined,
            function,
            has_run,
            plain_tasks=self._decorated(read, defined, Task),
            plain_flows=self._decorated(read, defined, Flow),
            nodes=nodes,
            plan=plan,
        )
        self._kept[key] = self._dated(made, replaced)
        if read.has_definitions or (replaced is not None and replaced.read.has_definitions):
            self._tell_changes()
        return self._kept[key].defined

    def failed(self, cell: Cell) -> KeptCell | FailedCell | None:
        """A cell has run and failed: what is kept of it stays, and is known to be older than its text.

        What is kept of it, when that is older; the cell, when it was to be a task or a flow and nothing of it is kept.
        """
        wanted = self._wanted(cell)
        by_name = f"{wanted.kind} {wanted.name}" if wanted else _digest(cell.source)
        key = cell.id or self._older(wanted) or by_name
        kept = self._kept.get(key)
        _register(kept)
        if kept is None and wanted is not None:
            self._failed.pop(key, None)
            if cell.id or wanted.name:  # else nothing would tell that it has run well since
                self._failed[key] = wanted
            return wanted
        if kept is None or same_text(kept.cell.source, cell.source):
            return None
        self._kept[key] = replace(kept, failed_edit=cell.source, failed_at=self._clock())
        return self._kept[key]

    def deleted(self, ids: Iterable[str]) -> None:
        """The page says that it deleted these cells: what is kept of them stays, and is marked.

        A page that runs many cells says it with each of them; one that has run since is there again.
        """
        told = frozenset(ids)
        for each in told - self._told_deleted:
            if each in self._kept:
                self._kept[each] = replace(self._kept[each], deleted_at=self._clock())
            self._failed.pop(each, None)
        self._told_deleted = told

    def tasks(self) -> tuple[JoinedTask, ...]:
        """The task cells, wired by names, in notebook order."""
        return self._wired(self._in_order())

    @property
    def has_own_flow(self) -> bool:
        """Is there a flow that the user wrote, so that the task cells are not joined by their names?"""
        return bool(self._written_flows() or self._own(self._decorated_flows()))

    @property
    def has_nodes(self) -> bool:
        """Does a cell define a node class?"""
        return any(each.nodes for each in list(self._kept.values()))

    def flow_names(self) -> tuple[str, ...]:
        """What a flow may be called by here. Nothing is drawn."""
        choices = tuple(dict.fromkeys([*self._written_flows(), *self._own(self._decorated_flows())]))
        return choices or ((self.name,) if self._task_cells() else ())

    def parameter_names(self, name: str | None = None) -> tuple[str, ...]:
        """The parameters of the flow called `name`, or of the only one; none where that can't be told without a run."""
        names = self.flow_names()
        name = name or (names[0] if len(names) == 1 else None)
        written, decorated = self._written_flows(), self._decorated_flows()
        if name in written:
            cell = written[name].defined
            is_function = isinstance(cell, FlowCell) and cell.form == "function"
            node = cell.function.node if is_function and isinstance(cell, FlowCell) else None
            return (
                tuple(each.arg for each in node.args.args + node.args.kwonlyargs) if isinstance(node, Function) else ()
            )
        for key, value in decorated.items():
            if name in (key, value.name):
                return tuple(value.parameters)
        return tuple(each.name for each in flow_parameters(self.tasks())) if name == self.name else ()

    def flow(self, name: str | None = None) -> Flow[..., Any]:
        """The flow called `name`, or the only one there is.

        A `%%dagy_flow` cell, or a `@flow` of the notebook; where there is neither, the task cells joined by names.
        Raises `UnknownFlowError`, and `DefinitionError` when there is a choice to make or the cells don't fit.
        """
        written, decorated = self._written_flows(), self._decorated_flows()
        choices = list(dict.fromkeys([*written, *self._own(decorated)]))
        is_hidden = bool(choices) and self.name not in choices and self._has_loose_tasks()
        if name is None:
            if not choices:
                return self._joined_flow()
            if len(choices) > 1:
                joined = [f"{self.name} (the task cells, joined by their names)"] if is_hidden else []
                raise DefinitionError(
                    f"the notebook has {len(choices) + len(joined)} flows; "
                    f"name one of them: {', '.join([*choices, *joined])}"
                )
            name = choices[0]
        if name in written:
            return self._written_flow(name, written[name])
        for key, value in decorated.items():
            if name in (key, value.name):
                self._put_tasks_back()
                return value
        if name == self.name and self._task_cells():
            return self._joined_flow()
        is_known = is_hidden or (not choices and bool(self._task_cells()))
        raise UnknownFlowError(name, [*choices, *([self.name] if is_known else [])])

    def forget(self, reference: str | None = None) -> tuple[Cell, ...]:
        """Forget the task cells and flow cells, or one cell; which ones. The names in the namespace stay.

        `reference` is a task's name, a cell's number or id, or the start of an id. Raises `UnknownTaskError`, and
        `DefinitionError` when it means several cells.
        """
        if reference is None:
            gone = [*(key for key, each in self._kept.items() if each.defined is not None), *self._failed]
        else:
            gone = self._keys_of(reference)
        failed = [self._failed.pop(key) for key in gone if key in self._failed]
        forgotten = [self._kept.pop(key) for key in gone if key in self._kept]
        for each in forgotten:
            _unregister(each)
        if any(each.read.has_definitions for each in forgotten):
            self._tell_changes()
        return (*(each.cell for each in forgotten), *(each.cell for each in failed))

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

    def changes_in_place(self) -> dict[str, dict[str, frozenset[str]]]:
        """What tasks change in place of what they are given: by the file of their code, and by their function's name.

        The one function of a cell of statements has the name "".
        """
        found: dict[str, dict[str, frozenset[str]]] = {}
        for each in self.kept:
            if isinstance(each.defined, TaskCell) and each.defined.form == "statements":
                cell = each.defined
                found[each.filename] = {"": cell.mutates | cell.may_mutate | cell.may_augment}
            else:
                found[each.filename] = {
                    name: changed | statement.names.may_spoil.get(name, frozenset())
                    for statement in each.read.statements
                    for name, changed in statement.names.spoils.items()
                }
        return found

    def _read(self, cell: Cell) -> ReadCell:
        """The cell taken apart, with what the other cells tell about the functions and methods that it calls."""
        read = read_cell(cell)
        if not read.has_definitions:
            return self._changers.told(read)
        others = [each.read for key, each in list(self._kept.items()) if key != cell.id]
        return Changers([*others, read]).told(read)

    def _tell_changes(self) -> None:
        """Let each kept cell know what the functions and methods of the others change, as they are now."""
        self._changers = Changers(each.read for each in list(self._kept.values()))
        for key, each in list(self._kept.items()):
            read = self._changers.told(each.read)
            if read is not each.read:
                self._kept[key] = replace(each, read=read, defined=_defined(read, each.defined))

    def _nodes(
        self, read: ReadCell, defined: Defined | None, filename: str, replaced: KeptCell | None
    ) -> tuple[NodePlan | None, tuple[type[FlowNode], ...]]:
        """The node classes of a cell that has run; that of a node cell is made, and bound to its name."""
        if isinstance(defined, NodeCell):
            plan = plan_node(defined, tools_of(each.read for each in self._kept.values() if each is not replaced))
            if replaced is not None:
                _unregister(replaced)
            try:
                made = made_node(plan, self._node_function(plan, filename))
            except DagyError:
                _register(replaced)
                raise
            self.namespace[plan.function] = made
            return plan, (made,)
        names = [each.node.name for each in read.statements if isinstance(each.node, Function | ast.ClassDef)]
        found = {name: self.namespace.get(name) for name in names if defined is None}
        nodes = {name: each for name, each in found.items() if _is_node(each)}
        for name in read.written_nodes if isinstance(read.directive, NodeDirective) else ():
            if name not in nodes:
                raise DefinitionError(
                    f"{read.cell.label}: {name!r} is no node; write class {name}(FlowNode), with `metadata`, "
                    "`connectors` and `execute`"
                )
        return None, tuple(nodes.values())

    def _node_function(self, plan: NodePlan, filename: str) -> Callable[..., Any]:
        """The function that a node cell's class is made of."""
        if plan.cell.form == "function":
            made: Callable[..., Any] = self.namespace[plan.function]
            return made
        scratch: dict[str, Any] = {}
        tree = node_function_ast(plan)
        _execute(compile(tree, filename, "exec", flags=self._compiler_flags()), self.namespace, scratch)
        function: Callable[..., Any] = scratch[plan.function]
        return function

    def _in_order(self) -> list[KeptCell]:
        """The kept cells in notebook order, as far as the file tells it."""
        kept, saved = list(self._kept.values()), self._saved  # a cell may run meanwhile, in another thread
        if saved is None:
            return kept
        keys: list[tuple[int, bool]] = []
        anchor = -1
        for each in kept:
            place = saved.place_of(each.cell)
            anchor = anchor if place is None else place
            keys.append((anchor, place is None))
        return [kept[index] for index in sorted(range(len(kept)), key=keys.__getitem__)]

    def _decorated(self, read: ReadCell, defined: Defined | None, kind: type[Any]) -> dict[str, str]:
        """The functions of an ordinary cell that `@task` or `@flow` has made one: `{function: its name}`."""
        if defined is not None:
            return {}
        functions = [each.node.name for each in read.statements if isinstance(each.node, Function)]
        made = {name: self.namespace.get(name) for name in functions}
        return {name: str(value.name) for name, value in made.items() if isinstance(value, kind)}

    def _dated(self, made: KeptCell, replaced: KeptCell | None) -> KeptCell:
        """`made`, with when it ran, and what it gave up by replacing an older self."""
        self._turn += 1
        now = self._clock()
        is_new = replaced is None or not same_text(replaced.cell.source, made.cell.source)
        given_up = () if replaced is None else (*replaced.gave_up, *sorted(replaced.makes))
        return replace(
            made,
            turn=self._turn,
            ran_at=now,
            changed_turn=self._turn if is_new or replaced is None else replaced.changed_turn,
            changed_at=now if is_new or replaced is None else replaced.changed_at,
            gave_up=tuple(dict.fromkeys(name for name in given_up if name not in made.makes)),
        )

    def _keys_of(self, reference: str) -> list[str]:
        """The key of the one cell that `reference` means."""
        number = reference.removeprefix("cell").strip().strip("[]")
        known: dict[str, KeptCell | FailedCell] = {**self._failed, **self._kept}
        wants: list[Callable[[str], bool]] = [
            lambda key: known[key].name == reference,
            lambda key: key == reference,
            lambda key: known[key].cell.label in (f"cell [{number}]", f"cell {number}"),
            lambda key: len(reference) > 3 and bool(known[key].cell.id) and key.startswith(reference),
        ]
        for is_wanted in wants:
            found = [key for key in known if is_wanted(key)]
            if len(found) == 1:
                return found
            if found:
                labels = " and ".join(known[key].cell.label for key in found)
                raise DefinitionError(f"{reference!r} is in {labels}; give the number of one of the cells")
        raise UnknownTaskError(reference, [each.name for each in known.values() if each.name])

    def _task_cells(self) -> list[TaskCell]:
        return _task_cells_of(self._in_order())

    def _wired(self, kept: Sequence[KeptCell]) -> tuple[JoinedTask, ...]:
        _refuse_copies(kept)
        return wire(
            _task_cells_of(kept),
            defined=self._defined_elsewhere(),
            imported=self._imported(),
            ordinary=_ordinary_statements(kept),
            arrays=self._arrays(),
        )

    def _arrays(self) -> set[str]:
        """The names of ordinary cells whose values `+=` or `|=` changes in place, as numbers and texts are not."""
        values = {name: self._before.get(name, self.namespace.get(name)) for name in self._defined_elsewhere()}
        return {
            name
            for name, value in values.items()
            if hasattr(type(value), "__iadd__") or hasattr(type(value), "__ior__")
        }

    def _defined_elsewhere(self) -> set[str]:
        """The names that ordinary cells bind."""
        return {
            name
            for each in list(self._kept.values())
            if each.defined is None
            for statement in each.read.statements
            for name in statement.names.binds
        } | {each.plan.function for each in list(self._kept.values()) if each.plan is not None}

    def _imported(self) -> set[str]:
        """The names that imports of ordinary cells bind."""
        return {
            name
            for each in list(self._kept.values())
            if each.defined is None
            for statement in each.read.statements
            if statement.is_import
            for name in statement.names.binds
        }

    def _import(self, read: ReadCell) -> None:
        """Run the imports of a cell that does not run on its own."""
        for each in read.statements:
            if each.is_import:
                try:
                    _execute(compile(each.source, f"<{read.cell.label}>", "exec"), self.namespace, self.namespace)
                except Exception as error:
                    raise DefinitionError(f"{read.cell.label}, line {each.line}: {sentence(error)}") from error

    def _compiler_flags(self) -> int:
        """What the notebook's cells have switched on for those that follow, as IPython does."""
        switched = {
            alias.name
            for each in list(self._kept.values())
            for statement in each.read.statements
            if isinstance(statement.node, ast.ImportFrom) and statement.node.module == "__future__"
            for alias in statement.node.names
        }
        return __future__.annotations.compiler_flag if "annotations" in switched else 0

    def _decorated_flows(self) -> dict[str, Flow[..., Any]]:
        return {key: value for key, value in list(self.namespace.items()) if isinstance(value, Flow) and key[0] != "_"}

    def _own(self, decorated: Mapping[str, Flow[..., Any]]) -> list[str]:
        """The names of the flows that this notebook defines, each once: no imported one, none that it was given."""
        found: dict[int, str] = {}
        for key, value in decorated.items():
            if getattr(inspect.unwrap(value.function), "__globals__", None) is self.namespace:
                found.setdefault(id(value.function), key)
        return list(found.values())

    def _written_flows(self) -> dict[str, KeptCell]:
        return {each.defined.name or self.name: each for each in self._in_order() if isinstance(each.defined, FlowCell)}

    def _put_tasks_back(self) -> None:
        """Where a cell that tried a task by hand has put its plain function under the name, put the task back."""
        elsewhere = self._defined_elsewhere()
        for each in list(self._kept.values()):
            if isinstance(each.defined, TaskCell) and each.function is not None:
                name = each.defined.bound[0]
                if name not in elsewhere and not isinstance(self.namespace.get(name), Task):
                    self.namespace[name] = _task(each.function, _options(each.defined, name))

    def _has_loose_tasks(self) -> bool:
        """Is there a task cell that no flow of the notebook's own calls, as far as the texts tell?"""
        called = {
            name
            for each in list(self._kept.values())
            if not isinstance(each.defined, TaskCell)
            for statement in each.read.statements
            if each.defined is not None or isinstance(statement.node, Function)
            for name in statement.names.reads | statement.names.perhaps
        }
        tasks = [{identifier(each.name, default=each.name), *each.bound} for each in self._task_cells()]
        return any(called.isdisjoint(each) for each in tasks)

    def _joined_flow(self) -> Flow[..., Any]:
        kept = self._in_order()
        _refuse_copies(kept)
        cells = _task_cells_of(kept)
        if not cells:
            raise DefinitionError(
                "the notebook has no flow yet; begin a cell with %%dagy_task to make it a task, and run it"
            )
        joined = join(
            cells,
            flow=self.name,
            defined=self._defined_elsewhere(),
            imported=self._imported(),
            ordinary=_ordinary_statements(kept),
        )
        functions = self._functions(joined, kept)
        name = unused(self.name, functions, suffix="_flow")
        namespace = {**self.namespace, **functions}
        _execute(compile(flow_source(joined, name), f"<flow {name}>", "exec"), namespace, namespace)
        return Flow(namespace[name], name=self.name)

    def _written_flow(self, name: str, kept: KeptCell) -> Flow[..., Any]:
        cell = kept.defined
        assert isinstance(cell, FlowCell)
        cells = self._in_order()
        functions = self._functions(self._wired(cells), cells)
        namespace = {**self.namespace, **functions}
        function_name = (
            cell.bound[-1]
            if cell.form == "function"
            else unused(identifier(name, default="flow"), functions, suffix="_flow")
        )
        _execute(compile(flow_function_ast(cell, function_name), kept.filename, "exec"), namespace, namespace)
        options: dict[str, Any] = {"name": name, **cell.directive.options}
        return Flow(namespace[function_name], **options)

    def _functions(self, joined: Iterable[JoinedTask], kept: Iterable[KeptCell]) -> dict[str, Task[..., Any]]:
        """The tasks, by the Python names of their functions. They were joined from the cells `kept`."""
        cells = {id(each.defined): each for each in kept}
        flags = self._compiler_flags()
        found = {}
        for each in joined:
            own = cells[id(each.cell)]
            function = own.function
            if function is None:
                given = {name: self._before[name] for name in each.captured if name in self._before}
                scratch: dict[str, Any] = dict(given)
                tree = task_function_ast(each, given=given)
                _execute(compile(tree, own.filename, "exec", flags=flags), self.namespace, scratch)
                function = scratch[each.function]
            found[each.function] = _task(function, each.options)
        return found

    def _wanted(self, cell: Cell) -> FailedCell | None:
        """What a cell that has failed was to be, when that is a task or a flow."""
        written = written_directive(cell.source.lstrip())
        if written is None:
            return None
        try:
            read = self._read(cell)
            defined = _defined(read)
        except DagyError:  # its directive or its text is wrong
            return FailedCell(cell, written[0], None, self._clock())
        if isinstance(read.directive, NodeDirective) and read.written_nodes:
            return FailedCell(cell, "node", read.written_nodes[0], self._clock())
        return None if defined is None else FailedCell(cell, written[0], defined.name, self._clock())

    def _ran_well(self, cell: Cell, defined: Defined | None) -> None:
        """Forget that the cell has failed. One without an id is known by its text, and by the task that it defines."""
        for key, each in list(self._failed.items()):
            is_named = defined is not None and defined.name is not None and each.name == defined.name
            if each.cell.id == cell.id and (cell.id or is_named or same_text(each.cell.source, cell.source)):
                del self._failed[key]

    def _older(self, wanted: Defined | FailedCell | None) -> str | None:
        """The key of a cell without an id that this one is the newer text of: the task or flow it defines tells."""
        if wanted is None or wanted.cell.id:
            return None
        kind = wanted.kind if isinstance(wanted, FailedCell) else kind_of(wanted)
        for key, each in self._kept.items():
            if each.cell.id or each.defined is None:
                continue
            if kind_of(each.defined) == kind and each.name == wanted.name:
                return key
        return None


def _defined(read: ReadCell, former: Defined | None = None) -> Defined | None:
    """What a cell defines, which was `former` before; `DefinitionError` when it can't."""
    if isinstance(read.directive, TaskDirective):
        name = None if former is None else former.name
        return None if read.directive.help_wanted else task_cell(read, former_name=name)
    if isinstance(read.directive, FlowDirective):
        return None if read.directive.help_wanted else flow_cell(read)
    if isinstance(read.directive, NodeDirective):
        return None if read.directive.help_wanted else node_cell(read)
    return None


def code_of(source: str) -> str:
    """A cell's text without its directive, whatever ends its lines."""
    lines = cell_lines(source)
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if written_directive(lines[first]):
        del lines[first]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def kind_of(defined: Defined) -> DirectiveKind:
    """What messages call that which a cell defines."""
    return "task" if isinstance(defined, TaskCell) else "flow" if isinstance(defined, FlowCell) else "node"


def _is_node(value: object) -> TypeGuard[type[FlowNode]]:
    """Is it a node's class, rather than what others are derived from?"""
    return isinstance(value, type) and issubclass(value, FlowNode) and not inspect.isabstract(value)


def _register(kept: KeptCell | None) -> None:
    """Have the node types of a cell, unless others have taken them."""
    for each in () if kept is None else kept.nodes:
        with contextlib.suppress(DefinitionError):
            node_registry.register(each)


def _unregister(kept: KeptCell) -> None:
    for each in kept.nodes:
        with contextlib.suppress(UnknownNodeError):
            node_type = definition_of(each).node_type
            if node_registry.get(node_type) is each:
                node_registry.unregister(node_type)


def _task_cells_of(kept: Iterable[KeptCell]) -> list[TaskCell]:
    return [each.defined for each in kept if isinstance(each.defined, TaskCell)]


def _ordinary_statements(kept: Iterable[KeptCell]) -> list[Statement]:
    return [statement for each in kept if each.defined is None for statement in each.read.statements]


def _refuse_copies(kept: Iterable[KeptCell]) -> None:
    """`DefinitionError` for a task cell that was copied; the copy is the one whose text is newer."""
    originals: dict[tuple[str, str], KeptCell] = {}
    for each in sorted(kept, key=lambda each: each.changed_turn):
        cell = each.defined
        if not isinstance(cell, TaskCell) or not (cell.form == "function" or cell.directive.name):
            continue  # of two tasks without a name of their own each gets another one
        first = originals.setdefault((cell.name, code_of(cell.cell.source)), each)
        if first is not each:
            label = cell.cell.label
            raise DefinitionError(
                f"{label} is a copy of {first.cell.label}, and both define the task {cell.name!r}; give one of them "
                f"another name, or forget the copy with %dagy_reset {label.removeprefix('cell').strip(' []')}"
            )


def _options(cell: TaskCell, function: str) -> dict[str, object]:
    return {**({"name": cell.name} if cell.name != function else {}), **cell.directive.options}


def _task(function: Callable[..., Any], options: dict[str, Any]) -> Task[..., Any]:
    return Task(function, **options)


def _execute(code: Any, namespace: MutableMapping[str, Any], local: MutableMapping[str, Any]) -> None:
    """Run code that only defines a function: the user's own text, made one by Dagy."""
    exec(code, namespace, local)  # type: ignore[arg-type]  # the kernel's namespace is a dict


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
