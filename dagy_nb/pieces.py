"""Cells -> the pieces that a module could be made of, each with the names that decide whether it is needed.

A piece is one import of one name, one ordinary statement, one task or one flow. Statements of task cells are joined to
tasks first (see `dagy_nb.joining`), so that a piece is always something that a module can hold.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from dagy.errors import DefinitionError, ExportError
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
from dagy_nb.directives import ExportDirective, FlowDirective, NodeDirective, TaskDirective, TryDirective
from dagy_nb.generated import (
    arguments_source,
    flow_function_source,
    flow_source,
    node_function_source,
    task_function_source,
)
from dagy_nb.joining import JoinedTask, flow_parameters, join, wire
from dagy_nb.names import Function, bound_by_alias, identifier, unused
from dagy_nb.node_cells import NodePlan, decorator_of, plan_node, tools_of

if TYPE_CHECKING:
    from dagy.artifact import Roots

Kind: TypeAlias = Literal["import", "statement", "task", "flow", "node"]
_Bindings: TypeAlias = Mapping[str, Collection[str]]  # for a name what the module's pieces bind it to, as text


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of the notebook that is not in the module."""

    label: str  # of its cell
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One thing that may go into a module."""

    kind: Kind
    cell: Cell
    what: str  # how messages call it
    binds: frozenset[str]
    write: Callable[[], str]  # its text
    eager: frozenset[str] = frozenset()  # read when it runs
    late: frozenset[str] = frozenset()  # read when a function that it defines is called
    perhaps: frozenset[str] = frozenset()  # useful when defined somewhere
    mutates: frozenset[str] = frozenset()  # changed in place
    may_augment: frozenset[str] = frozenset()  # the same, if it is an array and not a number
    statement: Statement | None = None  # the ordinary statement or import that it is
    alias: ast.alias | None = None  # of an import: the one name
    hoisted: bool = False  # an import that goes to the top of the module
    task: JoinedTask | None = None
    node: NodePlan | None = None
    root: bool = False  # a flow, from which names are followed
    asked_for: bool = False  # of a cell with `#| dagy_export`: needed whether a flow needs it or not
    asks: bool = False  # a flow with a parameter that has no default

    @property
    def is_generated(self) -> bool:
        """Is its `@task`, `@flow` or `@node` written by us?"""
        return self.statement is None

    @property
    def only_defines(self) -> bool:
        """Does it define a function or a class, so that what it reads late is not read yet when it runs?"""
        node = self.statement.node if self.statement else None
        return node is None or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))

    @property
    def is_magic(self) -> bool:
        """Is it a magic, a shell line or a help request?"""
        return self.statement is not None and self.statement.needs_ipython and not self.only_defines

    @property
    def is_star(self) -> bool:
        """Is it `from module import *`?"""
        return self.alias is not None and self.alias.name == "*"

    @property
    def is_future(self) -> bool:
        """Is it `from __future__ import ...`?"""
        return self.statement is not None and self.statement.is_future

    @property
    def import_key(self) -> str:
        """What an import binds its name to, as text; other pieces have none."""
        return import_key(self.statement.node, self.alias) if self.statement and self.alias else ""


@dataclass(frozen=True, slots=True)
class Pieces:
    """All pieces of a notebook in its order, and what can't be one."""

    pieces: tuple[Piece, ...]
    joined: tuple[JoinedTask, ...]
    left_out: tuple[LeftOut, ...]
    is_joined: bool  # no cell defines a flow: the tasks, joined by their names, are the flow


def take_apart(cells: Sequence[Cell], *, name: str, source_name: str, roots: Roots = "flows") -> Pieces:
    """The notebook's pieces; `name` is for a flow that has none of its own.

    With the `roots` "tasks" no flow is needed, and every task is; with "all" both are, as far as they are there.

    Raises `ExportError` with every cell that can't be read, and when nothing is there that could run.
    """
    reads, tasks, flows, nodes, left_out = _read(cells, source_name)
    ordinary = [read for read in reads if read.is_ordinary]
    bindings = _bindings(reads)
    defined = {name for read in ordinary for each in read.statements for name in each.names.binds} | set(bindings)
    imported = {name for name, found in bindings.items() if "" not in found}
    statements = [each for read in ordinary for each in read.statements]
    spelled = _spellings(reads)
    has_flow = flows or any(_has_decorator(each, spelled) for read in ordinary for each in read.statements)
    is_joined = roots != "tasks" and not has_flow
    cells_of_tasks = list(tasks.values())
    try:
        joined = (
            join(cells_of_tasks, flow=name, defined=defined, imported=imported, ordinary=statements)
            if is_joined
            else wire(cells_of_tasks, defined=defined, imported=imported, ordinary=statements)
        )
    except DefinitionError as error:
        raise ExportError(f"{source_name} can't be exported", [str(error)]) from error
    by_cell = {each.cell.cell: each for each in joined}
    taken = {*defined, *(each.function for each in joined)}
    found: list[Piece] = []
    for read in reads:
        if read.cell in by_cell:
            found += _task_pieces(by_cell[read.cell], bindings, left_out)
        elif read.cell in nodes:
            found += _node_pieces(nodes[read.cell], bindings, left_out)
        elif read.cell in flows:
            found += _flow_pieces(flows[read.cell], name, bindings, taken, left_out)
        else:
            asked_for = isinstance(read.directive, ExportDirective)
            for each in read.statements:
                made = _statement_pieces(read.cell, each, bindings, spelled)
                found += [replace(piece, asked_for=asked_for and not piece.is_magic) for piece in made]
    found = _with_changes_through_aliases(found)
    if is_joined and joined:
        found.append(_joined_flow(joined, name, {bound for each in found for bound in each.binds}))
    if roots != "flows":
        found = [
            replace(each, root=each.root and roots == "all", asked_for=each.asked_for or each.kind in ("task", "node"))
            for each in found
        ]
    elif not any(each.root for each in found):  # a notebook of nodes, for others to use
        found = [replace(each, asked_for=each.asked_for or each.kind == "node") for each in found]
    if not any(each.root or each.asked_for for each in found):
        raise ExportError(
            f"{source_name} has neither a task cell nor a flow; "
            "begin a cell with %%dagy_task, or put @flow above a function that calls tasks"
        )
    return Pieces(tuple(found), joined, tuple(left_out), is_joined)


def _with_changes_through_aliases(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, in which `other.append(1)` after `other = rows` changes `rows` too."""
    aliases: dict[str, frozenset[str]] = {}  # for a name the others whose objects, or parts of them, it may hold
    found: list[Piece] = []
    for piece in pieces:
        names = piece.statement.names if piece.statement is not None and piece.kind == "statement" else None
        if names is not None and names.mutates & aliases.keys():
            others = [aliases.get(name, frozenset()) for name in names.mutates]
            piece = replace(piece, mutates=names.mutates.union(*others))
        if names is not None and names.may_augment & aliases.keys():
            others = [aliases.get(name, frozenset()) for name in names.may_augment]
            piece = replace(piece, may_augment=piece.may_augment.union(*others))
        given = {
            name: roots.union(*(aliases.get(each, ()) for each in roots))
            for name, roots in (names.aliases.items() if names is not None else ())
        }
        for name in piece.task.cell.bound if piece.task is not None else piece.binds:
            aliases.pop(name, None)
        aliases |= given
        found.append(piece)
    return found


def import_text(node: ast.stmt, aliases: list[ast.alias]) -> str:
    """The import `node` with these of its names only."""
    if isinstance(node, ast.ImportFrom):
        return ast.unparse(ast.ImportFrom(module=node.module, names=aliases, level=node.level))
    return ast.unparse(ast.Import(names=aliases))


def import_key(node: ast.stmt, alias: ast.alias) -> str:
    """What the name of `alias` is bound to, as text: the same for `import a.b` and `import a.c`, which bind `a`."""
    if isinstance(node, ast.Import) and not alias.asname:
        return f"import {bound_by_alias(alias)}"
    return import_text(node, [alias])


def _read(
    cells: Sequence[Cell], source_name: str
) -> tuple[list[ReadCell], dict[Cell, TaskCell], dict[Cell, FlowCell], dict[Cell, NodePlan], list[LeftOut]]:
    reads: list[ReadCell] = []
    tasks: dict[Cell, TaskCell] = {}
    flows: dict[Cell, FlowCell] = {}
    nodes: dict[Cell, NodeCell] = {}
    plans: dict[Cell, NodePlan] = {}
    left_out: list[LeftOut] = []
    problems: dict[Cell, str] = {}
    found: list[ReadCell] = []
    for cell in cells:
        try:
            found.append(read_cell(cell))
        except DefinitionError as error:
            problems[cell] = str(error)
    changers = Changers(found)
    for cell, read in ((each.cell, changers.told(each)) for each in found):
        try:
            if read.magic:
                left_out.append(
                    LeftOut(cell.label, f"`{read.magic}` makes something else of the cell than Python here")
                )
                continue
            if isinstance(read.directive, TryDirective):
                left_out.append(LeftOut(cell.label, "it only tries something by hand"))
                continue
            if isinstance(read.directive, (TaskDirective, FlowDirective, NodeDirective)) and read.directive.help_wanted:
                left_out.append(LeftOut(cell.label, "it only asks for help"))
                continue
            if isinstance(read.directive, TaskDirective):
                tasks[cell] = task_cell(read)
            elif isinstance(read.directive, FlowDirective):
                flows[cell] = flow_cell(read)
            elif isinstance(read.directive, NodeDirective) and (made := node_cell(read)) is not None:
                nodes[cell] = made
            reads.append(read)
        except DefinitionError as error:
            problems[cell] = str(error)
    for cell, node in nodes.items():
        try:
            plans[cell] = plan_node(node, tools_of(read for read in reads if read.cell != cell))
        except DefinitionError as error:
            problems[cell] = str(error)
    if problems:
        told = [problems[cell] for cell in cells if cell in problems]
        raise ExportError(f"{source_name} can't be exported", told)
    return reads, tasks, flows, plans, left_out


def _bindings(reads: Sequence[ReadCell]) -> dict[str, set[str]]:
    """For each name that an import at the top of some cell binds: the imports of it, and "" for anything else."""
    found: dict[str, set[str]] = {}
    others: set[str] = set()
    for read in reads:
        for each in read.statements:
            if isinstance(each.node, (ast.Import, ast.ImportFrom)):
                for alias in each.node.names:
                    found.setdefault(bound_by_alias(alias), set()).add(import_key(each.node, alias))
            elif read.is_ordinary or isinstance(each.node, Function):
                others |= each.names.binds
    for name in others & set(found):
        found[name].add("")
    return found


def _spellings(reads: Sequence[ReadCell]) -> set[str]:
    """How this notebook may write `@flow`."""
    spelled = {"flow", "dagy.flow"}
    for read in reads:
        for each in read.statements:
            match each.node:
                case ast.ImportFrom(module="dagy" | "dagy.flows", names=names):
                    spelled |= {bound_by_alias(alias) for alias in names if alias.name == "flow"}
                case ast.Import(names=names):
                    spelled |= {f"{bound_by_alias(alias)}.flow" for alias in names if alias.name == "dagy"}
                case _:
                    pass
    return spelled


def _import_pieces(cell: Cell, statement: Statement, bindings: _Bindings) -> list[Piece]:
    """A piece for each name of an import."""
    node = statement.node
    assert isinstance(node, (ast.Import, ast.ImportFrom))
    return [
        Piece(
            kind="import",
            cell=cell,
            what=f"`{statement.as_typed}`",
            binds=frozenset() if alias.name == "*" else frozenset({bound_by_alias(alias)}),
            write=lambda alias=alias: import_text(node, [alias]) + "\n",  # type: ignore[misc]  # mypy: lambda default
            statement=statement,
            alias=alias,
            hoisted=len(bindings[bound_by_alias(alias)]) == 1 or alias.name == "*",
        )
        for alias in node.names
    ]


def _statement_pieces(cell: Cell, statement: Statement, bindings: _Bindings, spelled: Collection[str]) -> list[Piece]:
    """The pieces of a statement in an ordinary cell."""
    if statement.is_import:
        return _import_pieces(cell, statement, bindings)
    node, names = statement.node, statement.names
    is_flow = _has_decorator(statement, spelled)
    is_task = _has_decorator(statement, {"task", "dagy.task"})
    what = f"`{statement.as_typed}`"
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        what = f"{'class' if isinstance(node, ast.ClassDef) else 'flow' if is_flow else 'function'} {node.name!r}"
    return [
        Piece(
            kind="flow" if is_flow else "task" if is_task else "statement",
            cell=cell,
            what=what,
            binds=names.binds,
            write=lambda: statement.text,
            eager=names.eager,
            late=names.late,
            perhaps=names.perhaps,
            mutates=names.mutates,
            may_augment=names.may_augment - names.binds,
            statement=statement,
            root=is_flow,
            asks=_asks(node),
        )
    ]


def _task_pieces(joined: JoinedTask, bindings: _Bindings, left_out: list[LeftOut]) -> list[Piece]:
    """A task cell's imports and its task."""
    cell, decorator = joined.cell.cell, _decorator("task", joined.options)
    what = f"task {joined.name!r}"
    if joined.cell.form == "function":
        function = joined.cell.function
        names = function.names
        piece = Piece(
            kind="task",
            cell=cell,
            what=what,
            binds=names.binds,
            write=lambda: function.comments + decorator + task_function_source(joined),
            eager=names.eager,
            late=names.late,
            perhaps=names.perhaps,
            task=joined,
        )
        return [*_imports_of(cell, joined.cell.statements, bindings), piece]
    hoisted, without = _taken_out(cell, joined.cell.statements, bindings, left_out)
    reads, perhaps = _reads(joined.cell.statements, without)
    inputs = {each.parameter for each in joined.wires}
    piece = Piece(
        kind="task",
        cell=cell,
        what=what,
        binds=frozenset({joined.function}),
        write=lambda: decorator + task_function_source(joined, without=without),
        late=(reads - inputs) | set(joined.captured),
        perhaps=perhaps - inputs,
        task=joined,
    )
    return [*hoisted, piece]


def _flow_pieces(
    flow: FlowCell, default: str, bindings: _Bindings, taken: Collection[str], left_out: list[LeftOut]
) -> list[Piece]:
    """A flow cell's imports and its flow, whose function gets none of the names `taken`."""
    cell, name = flow.cell, flow.name or default
    what = f"flow {name!r}"
    if flow.form == "function":
        function, bound = flow.function, flow.bound[0]
        names = function.names
        decorator = _decorator("flow", {**({"name": name} if name != bound else {}), **flow.directive.options})
        piece = Piece(
            kind="flow",
            cell=cell,
            what=what,
            binds=names.binds,
            write=lambda: function.comments + decorator + flow_function_source(flow, bound),
            eager=names.eager,
            late=names.late,
            perhaps=names.perhaps,
            root=True,
            asks=_asks(function.node),
        )
        return [*_imports_of(cell, flow.statements, bindings), piece]
    hoisted, without = _taken_out(cell, flow.statements, bindings, left_out)
    reads, perhaps = _reads(flow.statements, without)
    bound = unused(identifier(name, default="unnamed"), {*taken, *dir(builtins), "dagy"}, suffix="_flow")
    decorator = _decorator("flow", {**({"name": name} if name != bound else {}), **flow.directive.options})
    piece = Piece(
        kind="flow",
        cell=cell,
        what=what,
        binds=frozenset({bound}),
        write=lambda: decorator + flow_function_source(flow, bound, without=without),
        late=reads | flow.needs,
        perhaps=perhaps,
        root=True,
    )
    return [*hoisted, piece]


def _node_pieces(node: NodePlan, bindings: _Bindings, left_out: list[LeftOut]) -> list[Piece]:
    """A node cell's imports and its node, as a function that `@node` makes a class of."""
    cell, decorator = node.cell.cell, f"{decorator_of(node)}\n"
    what = f"node {node.cell.name!r}"
    if node.cell.form == "function":
        function = node.cell.function
        names = function.names
        piece = Piece(
            kind="node",
            cell=cell,
            what=what,
            binds=names.binds,
            write=lambda: function.comments + decorator + node_function_source(node),
            eager=names.eager,
            late=names.late,
            perhaps=names.perhaps,
            node=node,
        )
        return [*_imports_of(cell, node.cell.statements, bindings), piece]
    hoisted, without = _taken_out(cell, node.cell.statements, bindings, left_out)
    reads, perhaps = _reads(node.cell.statements, without)
    piece = Piece(
        kind="node",
        cell=cell,
        what=what,
        binds=frozenset({node.function}),
        write=lambda: decorator + node_function_source(node, without=without),
        late=(reads - node.own_names) | set(node.captured),
        perhaps=perhaps - node.own_names,
        node=node,
    )
    return [*hoisted, piece]


def _joined_flow(joined: Sequence[JoinedTask], name: str, taken: Collection[str]) -> Piece:
    """The flow that the task cells make, joined by their names."""
    bound = unused(identifier(name, default="unnamed"), {*taken, *dir(builtins), "dagy"}, suffix="_flow")
    decorator = _decorator("flow", {"name": name} if name != bound else {})
    return Piece(
        kind="flow",
        cell=Cell("", "", "the joined flow"),
        what=f"flow {name!r}",
        binds=frozenset({bound}),
        write=lambda: decorator + flow_source(joined, bound),
        late=frozenset(each.function for each in joined),
        root=True,
        asks=any(each.default is None for each in flow_parameters(joined)),
    )


def _imports_of(cell: Cell, statements: Sequence[Statement], bindings: _Bindings) -> list[Piece]:
    return [piece for each in statements if each.is_import for piece in _import_pieces(cell, each, bindings)]


def _taken_out(
    cell: Cell, statements: Sequence[Statement], bindings: _Bindings, left_out: list[LeftOut]
) -> tuple[list[Piece], list[Statement]]:
    """What leaves a body: imports that go to the module's top, as pieces, and `display(...)`; and both as statements.

    An import stays when the name is bound to something else too, in the body or in the module.
    """
    own = {name for each in statements if not each.is_import for name in each.names.binds | each.names.deletes}
    hoisted: list[Piece] = []
    out: list[Statement] = []
    for each in statements:
        if each.is_import:
            if all(len(bindings[name]) == 1 and name not in own for name in each.names.binds):
                hoisted += _import_pieces(cell, each, bindings)
                out.append(each)
        elif _is_display(each.node):
            left_out.append(LeftOut(cell.label, f"`{each.as_typed}` only shows a value"))
            out.append(each)
    return hoisted, out


def _reads(statements: Sequence[Statement], without: Collection[Statement]) -> tuple[frozenset[str], frozenset[str]]:
    """What a body, once its statements are in a function, surely and perhaps reads of the module."""
    kept = [each for each in statements if each not in without]
    own = {name for each in kept for name in each.names.binds}
    reads = {name for each in kept for name in each.names.reads}
    perhaps = {name for each in kept for name in each.names.perhaps}
    return frozenset(reads - own), frozenset(perhaps - own)


def _is_display(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id="display"))):
            return True
        case _:
            return False


def _decorator(kind: Literal["task", "flow"], options: dict[str, object]) -> str:
    arguments = arguments_source(options)
    return f"@{kind}({arguments})\n" if arguments else f"@{kind}\n"


def _has_decorator(statement: Statement, spelled: Collection[str]) -> bool:
    """Is it a function with one of these decorators, called or bare?"""
    return isinstance(statement.node, Function) and any(
        ast.unparse(each.func if isinstance(each, ast.Call) else each) in spelled
        for each in statement.node.decorator_list
    )


def _asks(node: ast.stmt) -> bool:
    """Is it a function with a parameter that has no default?"""
    if not isinstance(node, Function):
        return False
    arguments = node.args
    plain = len(arguments.posonlyargs) + len(arguments.args)
    return plain > len(arguments.defaults) or None in arguments.kw_defaults
