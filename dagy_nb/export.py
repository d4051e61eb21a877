"""A notebook -> an importable module: readable Python that needs no IPython and gives the notebook's results.

The notebook's flows are the roots. From them names are followed across the cells, as Python would look them up: what is
read while a statement runs comes from the latest definition above it, what is read inside a function comes from the last
one. What is reached goes into the module, everything else is left out with a reason. What can't work outside the notebook
is refused, with the name, the cell and the way out. Nothing is executed.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dagy.errors import DefinitionError, ExportError, MissingExtraError, NotebookError, did_you_mean
from dagy_nb.cells import NOTEBOOK_NAMES, Cell, FlowCell, ReadCell, Statement, TaskCell, flow_cell, read_cell, task_cell
from dagy_nb.directives import FlowDirective, TaskDirective
from dagy_nb.generated import arguments_source, flow_function_source, flow_source, task_function_source
from dagy_nb.joining import RESERVED, JoinedTask, flow_parameters, join, wire
from dagy_nb.names import Function, bound_by_alias, identifier, unused

MODULE_NAMES = frozenset({"__builtins__", "__debug__", "__doc__", "__file__", "__module__", "__name__", "__qualname__"})

_Kind: TypeAlias = Literal["import", "statement", "task", "flow"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of the notebook that is not in the module."""

    label: str  # of its cell
    reason: str


@dataclass(frozen=True, slots=True)
class Export:
    """A notebook as a module."""

    text: str
    flows: tuple[str, ...]  # the names under which the module holds its flows
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()  # sentences: what may not mean what was meant


def read_notebook(path: Path) -> str:
    """The text of the module that the notebook file at `path` becomes, its flow named after the file.

    Raises `NotebookError` for a file that is no Python notebook, and `ExportError` for one that can't become a module.
    """
    name = identifier(path.stem, default="notebook")
    return export_module(notebook_cells(path), name=name, source_name=path.name).text


def notebook_cells(path: Path) -> tuple[Cell, ...]:
    """The code cells of the notebook file at `path`, labelled "cell 1", "cell 2", ... in order.

    Raises `NotebookError`, with the file, the fault and the remedy, when it can't be read as a Python notebook.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotebookError(f"{path.name} can't be read: {error.strerror or error}") from error
    notebook = _notebook_json(path.name, data)
    ids = notebook["nbformat"] >= 4
    code = [each for each in _current_format(path.name, notebook)["cells"] if each.get("cell_type") == "code"]
    return tuple(
        Cell(str(each.get("id", "")) if ids else "", _text(path.name, each.get("source", "")), f"cell {number}")
        for number, each in enumerate(code, 1)
    )


def export_module(cells: Sequence[Cell], *, name: str, source_name: str = "") -> Export:
    """The cells, in notebook order, as a module; `name` is for a flow that has none of its own.

    Raises `ExportError`, whose `problems` name what can't be exported, the cell and the way out, and
    `MissingExtraError` when `ruff`, which formats the text, is not installed.
    """
    draft = _Draft(name, source_name or name)
    draft.read(cells)
    draft.join()
    draft.follow()
    draft.check()
    text, flows = draft.written()
    return Export(_formatted(text), flows, tuple(draft.left_out()), tuple(dict.fromkeys(draft.warnings)))


# -- the pieces a module is made of -----------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Piece:
    """One definition or statement that may go into the module, with the names that decide whether it does."""

    kind: _Kind
    cell: Cell
    what: str  # how messages call it
    binds: frozenset[str]
    eager: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    mutates: frozenset[str] = frozenset()
    statement: Statement | None = None
    alias: ast.alias | None = None  # of an import: each of its names is a piece of its own
    task: JoinedTask | None = None
    source: Callable[[], str] = str
    hoisted: bool = False  # an import that goes to the top of the module
    root: bool = False
    needs_value: bool = False  # a flow with a required parameter
    place: int = 0  # in notebook order
    after: set[int] = field(default_factory=set)  # places of what must be defined before it runs

    @property
    def defines(self) -> bool:
        """Does running it only define something, so that what it reads late is not read yet?"""
        node = self.statement.node if self.statement else None
        return self.task is not None or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))

    @property
    def from_magic(self) -> bool:
        """Is it a magic, a shell line or a help request?"""
        node = self.statement.node if self.statement else None
        return self.statement is not None and self.statement.needs_ipython and not isinstance(node, Function)

    @property
    def is_star(self) -> bool:
        """Is it `from module import *`?"""
        return self.alias is not None and self.alias.name == "*"

    @property
    def import_key(self) -> str:
        """What an import binds its name to; other pieces have none."""
        if self.alias is None or self.statement is None:
            return ""
        if isinstance(self.statement.node, ast.Import) and not self.alias.asname:
            return f"import {bound_by_alias(self.alias)}"
        return _import_text(self.statement.node, [self.alias])


class _Draft:
    """The export in the making: read the cells, join the tasks, follow the names, check, write."""

    def __init__(self, name: str, source_name: str) -> None:
        self.name = name
        self.source_name = source_name
        self.reads: list[ReadCell] = []
        self.tasks: dict[Cell, TaskCell] = {}
        self.flows: dict[Cell, FlowCell] = {}
        self.pieces: list[_Piece] = []
        self.makers: dict[str, list[int]] = {}  # the places of the pieces that bind a name
        self.products: dict[str, JoinedTask] = {}  # the names that statements tasks make, which no module has
        self.joined: tuple[JoinedTask, ...] = ()
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.skipped: list[LeftOut] = []
        self.needed: set[int] = set()
        self.stars: list[int] = []

    # -- read and join ------------------------------------------------------------------------------------------

    def read(self, cells: Sequence[Cell]) -> None:
        """Take the cells apart. Raises `ExportError` when some can't be read."""
        for cell in cells:
            try:
                read = read_cell(cell)
                if read.magic:
                    self.skipped.append(LeftOut(cell.label, f"`{read.magic}` makes something else of the cell"))
                elif read.directive is not None and read.directive.help_wanted:
                    self.skipped.append(LeftOut(cell.label, "it only asks for help"))
                else:
                    if isinstance(read.directive, TaskDirective):
                        self.tasks[cell] = task_cell(read)
                    elif isinstance(read.directive, FlowDirective):
                        self.flows[cell] = flow_cell(read)
                    self.reads.append(read)
            except DefinitionError as error:
                self.problems.append(str(error))
        self._raise_problems()

    def join(self) -> None:
        """Wire the tasks and make the pieces. Raises `ExportError` when there is nothing that could run."""
        fixed = self._import_keys()
        ordinary = [read for read in self.reads if read.directive is None]
        defined = {name for read in ordinary for each in read.statements for name in each.names.binds} | set(fixed)
        tasks = list(self.tasks.values())
        flow_names = self._flow_names()
        own_flow = not self.flows and not any(_made_by(each, flow_names) for r in ordinary for each in r.statements)
        try:
            self.joined = join(tasks, flow=self.name, defined=defined) if own_flow else wire(tasks, defined=defined)
        except DefinitionError as error:
            raise ExportError(f"{self.source_name} can't be exported", [str(error)]) from error
        by_cell = {each.cell.cell: each for each in self.joined}
        for read in self.reads:
            imports = [each for each in read.statements if each.is_import]
            if read.cell in by_cell:
                self._add_task(by_cell[read.cell], imports, fixed)
            elif read.cell in self.flows:
                self._add_flow(self.flows[read.cell], imports, fixed)
            else:
                for each in read.statements:
                    self._add_statement(read.cell, each, fixed, flow_names)
        if own_flow and self.joined:
            self._add_joined_flow()
        for place, piece in enumerate(self.pieces):
            piece.place = place
            for name in piece.binds:
                self.makers.setdefault(name, []).append(place)
        for task in self.joined:
            if task.cell.form == "statements":
                self.products.update(dict.fromkeys(task.cell.bound, task))
        latest: dict[str, _Piece] = {}
        for piece in self.pieces:
            if piece.root and piece.statement is not None:  # of functions with @flow the last one of a name counts
                for name in piece.binds:
                    if name in latest:
                        latest[name].root = False
                    latest[name] = piece
        if not any(each.root for each in self.pieces):
            raise ExportError(
                f"{self.source_name} has neither a task cell nor a flow; "
                "begin a cell with %%dagy_task, or put @flow above a function that calls tasks"
            )

    def _import_keys(self) -> dict[str, set[str]]:
        """For each name that an import at the top of some cell binds, what the imports and the rest bind it to."""
        found: dict[str, set[str]] = {}
        others: set[str] = set()
        for read in self.reads:
            for each in read.statements:
                if each.is_import:
                    assert isinstance(each.node, (ast.Import, ast.ImportFrom))
                    for alias in each.node.names:
                        if alias.name != "*":
                            found.setdefault(bound_by_alias(alias), set()).add(_key(each.node, alias))
                elif read.directive is None or isinstance(each.node, Function):
                    others |= each.names.binds
        for name in others & set(found):
            found[name].add("")
        return found

    def _flow_names(self) -> set[str]:
        """How this notebook spells `@flow`."""
        spelled = {"flow", "dagy.flow"}
        for read in self.reads:
            for each in read.statements:
                match each.node:
                    case ast.ImportFrom(module="dagy" | "dagy.flows", names=names):
                        spelled |= {bound_by_alias(alias) for alias in names if alias.name == "flow"}
                    case ast.Import(names=names):
                        spelled |= {f"{bound_by_alias(alias)}.flow" for alias in names if alias.name == "dagy"}
                    case _:
                        pass
        return spelled

    def _add_imports(self, cell: Cell, statement: Statement, fixed: Mapping[str, set[str]]) -> None:
        assert isinstance(statement.node, (ast.Import, ast.ImportFrom))
        for alias in statement.node.names:
            name = bound_by_alias(alias)
            star = alias.name == "*"
            self.pieces.append(
                _Piece(
                    "import",
                    cell,
                    f"`{statement.as_typed}`",
                    frozenset() if star else frozenset({name}),
                    statement=statement,
                    alias=alias,
                    hoisted=star or len(fixed[name]) == 1,
                )
            )

    def _add_statement(
        self, cell: Cell, statement: Statement, fixed: Mapping[str, set[str]], flow_names: set[str]
    ) -> None:
        if statement.is_import:
            self._add_imports(cell, statement, fixed)
            return
        node, names = statement.node, statement.names
        is_flow = _made_by(statement, flow_names)
        kind: _Kind = "flow" if is_flow else "task" if _made_by(statement, {"task", "dagy.task"}) else "statement"
        what = f"`{statement.as_typed}`"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            what = f"{'class' if isinstance(node, ast.ClassDef) else 'flow' if is_flow else 'function'} {node.name!r}"
        self.pieces.append(
            _Piece(
                kind,
                cell,
                what,
                names.binds,
                names.eager,
                names.late,
                names.perhaps,
                names.mutates,
                statement,
                source=lambda: f"{statement.comments}{statement.source}\n",
                root=is_flow,
                needs_value=isinstance(node, Function) and _has_required(node),
            )
        )

    def _add_task(self, joined: JoinedTask, imports: Sequence[Statement], fixed: Mapping[str, set[str]]) -> None:
        cell = joined.cell.cell
        options = arguments_source(joined.options)
        decorator = f"@task({options})\n" if options else "@task\n"
        if joined.cell.form == "function":
            for each in imports:
                self._add_imports(cell, each, fixed)
            function = joined.cell.function
            names = function.names
            piece = _Piece("task", cell, f"task {joined.name!r}", names.binds, names.eager, names.late, names.perhaps)
            piece.source = lambda: f"{function.comments}{decorator}{task_function_source(joined)}"
        else:
            without = self._taken_out(cell, joined.cell.statements, imports, fixed)
            piece = _body_piece("task", cell, f"task {joined.name!r}", joined.function, joined.cell.statements, without)
            piece.late = (piece.late - {each.parameter for each in joined.wires}) | set(joined.captured)
            piece.perhaps -= {each.parameter for each in joined.wires}
            piece.source = lambda: decorator + task_function_source(joined, without=without)
        piece.task = joined
        self.pieces.append(piece)

    def _add_flow(self, flow: FlowCell, imports: Sequence[Statement], fixed: Mapping[str, set[str]]) -> None:
        cell = flow.cell
        name = flow.name or self.name
        if flow.form == "function":
            for each in imports:
                self._add_imports(cell, each, fixed)
            function = flow.function
            names, bound = function.names, flow.bound[0]
            piece = _Piece("flow", cell, f"flow {name!r}", names.binds, names.eager, names.late, names.perhaps)
            piece.needs_value = isinstance(function.node, Function) and _has_required(function.node)
            comments, body = function.comments, lambda: flow_function_source(flow, bound)
        else:
            without = self._taken_out(cell, flow.statements, imports, fixed)
            bound = unused(identifier(name, default="flow"), dir(builtins), suffix="_flow")
            piece = _body_piece("flow", cell, f"flow {name!r}", bound, flow.statements, without)
            piece.late |= flow.needs
            comments, body = "", lambda: flow_function_source(flow, bound, without=without)
        options = arguments_source({**({"name": name} if name != bound else {}), **flow.directive.options})
        decorator = f"@flow({options})\n" if options else "@flow\n"
        piece.source = lambda: comments + decorator + body()
        piece.root = True
        self.pieces.append(piece)

    def _taken_out(
        self, cell: Cell, statements: Sequence[Statement], imports: Sequence[Statement], fixed: Mapping[str, set[str]]
    ) -> list[Statement]:
        """The statements of a body that go elsewhere: imports to the module's top, `display(...)` nowhere."""
        own = {name for each in statements if not each.is_import for name in each.names.binds | each.names.deletes}
        out: list[Statement] = []
        for each in imports:
            if all(len(fixed[name]) == 1 and name not in own for name in each.names.binds):
                self._add_imports(cell, each, fixed)
                out.append(each)
        for each in statements:
            match each.node:
                case ast.Expr(value=ast.Call(func=ast.Name(id="display"))):
                    self.skipped.append(LeftOut(cell.label, f"`{each.as_typed}` only shows a value"))
                    out.append(each)
                case _:
                    pass
        return out

    def _add_joined_flow(self) -> None:
        taken = {name for each in self.pieces for name in each.binds} | set(dir(builtins)) | {"dagy"}
        bound = unused(identifier(self.name, default="flow"), taken, suffix="_flow")
        functions = frozenset(each.function for each in self.joined)
        piece = _Piece("flow", Cell("", "", "the joined flow"), f"flow {bound!r}", frozenset({bound}), late=functions)
        piece.source = lambda: "@flow\n" + flow_source(self.joined, bound)
        piece.root = True
        piece.needs_value = any(each.default is None for each in flow_parameters(self.joined))
        self.pieces.append(piece)

    # -- follow -------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Find what the flows need, transitively."""
        changers: dict[str, list[int]] = {}
        for piece in self.pieces:
            if piece.kind == "import" and isinstance(piece.statement, Statement) and _is_future(piece.statement):
                self.needed.add(piece.place)
            for name in piece.mutates:
                changers.setdefault(name, []).append(piece.place)
        todo = [piece.place for piece in self.pieces if piece.root]
        self.needed.update(todo)

        def take(place: int) -> None:
            if place not in self.needed:
                self.needed.add(place)
                todo.append(place)

        while todo:
            piece = self.pieces[todo.pop()]
            if piece.from_magic:
                self._refuse_magic(piece)
                continue
            for name, eager, required in [
                *((name, True, True) for name in sorted(piece.eager)),
                *((name, False, True) for name in sorted(piece.late)),
                *((name, False, False) for name in sorted(piece.perhaps)),
            ]:
                found = self._definitions(name, piece.place if eager else None)
                for place in found:
                    take(place)
                if eager:
                    piece.after.update(found)
                if not found and required:
                    self._explain_missing(name, piece, take)
            if not piece.defines:
                for place in self._read_by_calls(piece):
                    piece.after.add(place)
                    take(place)
            for name in piece.binds:
                for place in changers.get(name, ()):
                    changer = self.pieces[place]
                    if not changer.from_magic and piece.place in self._definitions(name, place) and place > piece.place:
                        take(place)
                        if place != piece.place:
                            self.warnings.append(
                                f"{changer.cell.label}: {changer.what} changes {name!r} and came along"
                            )

    def _definitions(self, name: str, before: int | None) -> list[int]:
        """The places of what `name` means to a reader at place `before`, or to a function called later (None)."""
        places = self.makers.get(name, [])
        if before is not None:
            above = [each for each in places if each < before]
            if not above and hasattr(builtins, name):
                return []
            places = above or [each for each in places if each != before]
        if not places:
            return []
        last = self.pieces[places[-1]]
        if last.import_key.startswith("import "):  # `import a.b` and `import a.c` both make `a` what it is
            return [each for each in places if self.pieces[each].import_key == last.import_key]
        return places[-1:]

    def _read_by_calls(self, piece: _Piece) -> set[int]:
        """The places of what the functions that `piece` may call read at that time, transitively."""
        found: set[int] = set()
        todo = list(piece.after)
        while todo:
            called = self.pieces[todo.pop()]
            if not called.defines:
                continue
            for name in called.late | called.perhaps:
                for place in self._definitions(name, piece.place):
                    if place not in found and place < piece.place:
                        found.add(place)
                        todo.append(place)
        return found

    def _refuse_magic(self, piece: _Piece) -> None:
        names = ", ".join(map(repr, sorted(piece.binds))) or piece.what
        self.problems.append(
            f"{piece.cell.label}: {names} comes from {piece.what}, which needs IPython; write it in Python"
        )

    def _explain_missing(self, name: str, piece: _Piece, take: Callable[[int], None]) -> None:
        """Accept a name that no cell binds but something else does, or say what is wrong with it."""
        if name in RESERVED or name in MODULE_NAMES or hasattr(builtins, name):
            if name not in NOTEBOOK_NAMES:
                return
        where = f"{piece.cell.label}: {piece.what}"
        stars = [each.place for each in self.pieces if each.is_star]
        if name in self.products:
            maker = self.products[name]
            way_out = (
                f"add {name!r} to its parameters"
                if isinstance(piece.statement and piece.statement.node, Function) or piece.task
                else f"make {piece.cell.label} a task cell too"
            )
            self.problems.append(
                f"{where} needs {name!r}, which is made when task {maker.name!r} ({maker.cell.cell.label}) runs; {way_out}"
            )
        elif name in NOTEBOOK_NAMES:
            instead = "use print, or return the value" if name == "display" else "write it without"
            self.problems.append(f"{where} uses {name!r}, which exists in a notebook only; {instead}")
        elif stars:
            for place in stars:
                take(place)
                self.warnings.append(
                    f"{self.pieces[place].cell.label}: {self.pieces[place].what} came along, because {name!r} "
                    "may be one of its names; name what you import"
                )
        else:
            self.problems.append(f"{where} reads {name!r}, which no cell defines{self._hint(name)}")

    def _hint(self, name: str) -> str:
        for each in self.pieces:
            if each.from_magic and re.search(rf"\b{re.escape(name)}\s*=", each.what):
                return f"; {each.cell.label} sets it in {each.what}: write that line without the magic"
        known = [*self.makers, *self.products]
        return did_you_mean(name, known) or "; define it in a cell, or pass it as a parameter"

    # -- check --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `ExportError` for what would not work or would mean something else; collect the warnings."""
        chosen = [self.pieces[place] for place in sorted(self.needed)]
        bound: dict[str, list[_Piece]] = {}
        for piece in chosen:
            for name in piece.binds:
                if not piece.hoisted:
                    bound.setdefault(name, []).append(piece)
        for name, makers in sorted(bound.items()):
            cells = list(dict.fromkeys(each.cell.label for each in makers))
            if len(makers) > 1 and any(each.kind in ("task", "flow") and not each.statement for each in makers):
                self.problems.append(f"{name!r} is defined in {' and in '.join(cells)}; rename one of them")
            elif len(cells) > 1 and any(name in each.late for each in chosen):
                self.warnings.append(f"{name!r} is bound in {' and in '.join(cells)}; functions see the last one")
        self._check_changes_between(chosen)
        for piece in chosen:
            if piece.task is not None:
                self.warnings.extend(piece.task.problems)
        self._raise_problems()

    def _check_changes_between(self, chosen: Iterable[_Piece]) -> None:
        """Between a task that makes a value and one that takes it, an ordinary cell must not change it."""
        places = {piece.task.name: piece.place for piece in self.pieces if piece.task is not None}
        changers: dict[str, list[_Piece]] = {}
        for piece in self.pieces:
            if piece.kind == "statement":
                for name in piece.binds | piece.mutates:
                    changers.setdefault(name, []).append(piece)
        for piece in chosen:
            for each in piece.task.wires if piece.task else ():
                if each.task is None:
                    continue
                for changer in changers.get(each.parameter, ()):
                    if places[each.task] < changer.place < piece.place:
                        self.problems.append(
                            f"{changer.cell.label}: {changer.what} changes {each.parameter!r} between the tasks "
                            f"{each.task!r} and {piece.task.name!r}; make it a task cell too"  # type: ignore[union-attr]
                        )

    def _raise_problems(self) -> None:
        if self.problems:
            raise ExportError(f"{self.source_name} can't be exported", list(dict.fromkeys(self.problems)))

    # -- write --------------------------------------------------------------------------------------------------

    def written(self) -> tuple[str, tuple[str, ...]]:
        """The module's text, not yet formatted, and the names of its flows."""
        chosen = [self.pieces[place] for place in sorted(self.needed)]
        source = self.source_name.replace("\\", "/").replace('"', "'")
        body, flows = self._body(chosen)
        qualified = any(
            piece.binds & {"task", "flow"} and not piece.import_key.startswith("from dagy import") for piece in chosen
        )
        made = [piece for piece in chosen if piece.task or (piece.root and piece.statement is None)]
        read = {name for piece in chosen for name in piece.eager | piece.late if name not in self.makers}
        imports = self._imports([piece for piece in chosen if piece.hoisted])
        if qualified and made:
            imports.append("import dagy\n")
            body = [re.sub(r"(?m)^@(task|flow)\b", r"@dagy.\1", text, count=1) for text in body]
        used = {"task" if piece.task else "flow" for piece in made if not qualified} | (read & {"task", "flow"})
        if used:
            imports.append(f"from dagy import {', '.join(sorted(used))}\n")
        if "dagy" in read and not qualified:
            imports.append("import dagy\n")
        lines = [
            f'"""Made from {source} by Dagy.\n\nEdit the notebook and export it again, rather than this file.\n"""\n\n',
            *imports,
            "\n\n",
            "\n\n".join(body),
        ]
        ready = [piece for piece in chosen if piece.root]
        if len(ready) == 1 and not ready[0].needs_value:
            lines.append(f'\n\nif __name__ == "__main__":\n    print({flows[0]}.run_local())\n')
        return "".join(lines), flows

    def _imports(self, pieces: Sequence[_Piece]) -> list[str]:
        """The hoisted imports, each once, as they were written when the whole statement is needed."""
        wanted: dict[Statement, list[ast.alias]] = {}
        for piece in pieces:
            if piece.statement is not None and piece.alias is not None:
                wanted.setdefault(piece.statement, []).append(piece.alias)
        texts: dict[str, None] = {}
        for statement, aliases in wanted.items():
            assert isinstance(statement.node, (ast.Import, ast.ImportFrom))
            whole = len(aliases) == len(statement.node.names)
            plain = _import_text(statement.node, aliases)
            text = f"{statement.comments}{statement.source}" if whole else plain
            if plain not in {_uncommented(each) for each in texts}:
                texts[text + "\n"] = None
        futures = [each for each in texts if "__future__" in each]
        return [*futures, *(each for each in texts if each not in futures)]

    def _body(self, chosen: Sequence[_Piece]) -> tuple[list[str], tuple[str, ...]]:
        """The texts below the imports, in an order that defines each name before it is read."""
        places = {piece.place: piece for piece in chosen if not piece.hoisted}
        twice = [name for piece in places.values() for name in piece.binds]
        moved = len(set(twice)) == len(twice) and not any(piece.mutates for piece in places.values())
        rank = {"import": 0, "statement": 0, "task": 1, "flow": 2}
        order: dict[int, None] = {}
        for piece in sorted(places.values(), key=lambda each: (rank[each.kind] if moved else 0, each.place)):
            stack = [(piece, iter(sorted(piece.after)))]
            entered = {piece.place}
            while stack:
                top, needs = stack[-1]
                below = next(
                    (each for each in needs if each in places and each not in order and each not in entered), None
                )
                if below is None:
                    order[stack.pop()[0].place] = None
                else:
                    entered.add(below)
                    stack.append((places[below], iter(sorted(places[below].after))))
        texts: list[str] = []
        flows: list[str] = []
        cell: Cell | None = None
        for place in order:
            piece = places[place]
            origin = f"# {piece.cell.label} ({piece.cell.id})\n" if piece.cell.id and piece.cell is not cell else ""
            text = piece.source() if piece.alias is None else _import_piece(piece)
            if texts and piece.cell is cell and not piece.defines:
                texts[-1] += text  # statements of one cell stay together
            else:
                texts.append(origin + text)
            cell = piece.cell
            if piece.root:
                flows.append(next(iter(piece.binds)))
        return texts, tuple(flows)

    def left_out(self) -> Iterable[LeftOut]:
        """What the module does not hold, in notebook order."""
        labels = {read.cell.label: number for number, read in enumerate(self.reads)}
        found = list(self.skipped)
        unneeded: dict[str, list[str]] = {}
        for piece in self.pieces:
            if piece.place in self.needed or (piece.statement is not None and piece.statement.is_docstring):
                continue
            label = piece.cell.label
            if piece.from_magic:
                found.append(LeftOut(label, f"{piece.what} needs IPython"))
            elif piece.task is not None:
                found.append(LeftOut(label, f"no flow calls {piece.what}"))
            elif piece.statement is not None and isinstance(piece.statement.node, ast.Expr):
                found.append(LeftOut(label, f"{piece.what} is there for what it shows or does in the notebook"))
            elif piece.binds:
                unneeded.setdefault(label, []).extend(f"`{name}`" for name in sorted(piece.binds))
            else:
                unneeded.setdefault(label, []).append(piece.what)
        found += [LeftOut(label, f"no flow needs {', '.join(dict.fromkeys(what))}") for label, what in unneeded.items()]
        return sorted(dict.fromkeys(found), key=lambda each: labels.get(each.label, -1))


def _body_piece(
    kind: _Kind, cell: Cell, what: str, bound: str, statements: Sequence[Statement], without: Sequence[Statement]
) -> _Piece:
    """The piece of a function whose body is statements: all that it reads of the module, it reads late."""
    kept = [each for each in statements if each not in without]
    own = {name for each in kept for name in each.names.binds}
    read = {name for each in kept for name in each.names.reads}
    perhaps = {name for each in kept for name in each.names.perhaps}
    return _Piece(kind, cell, what, frozenset({bound}), late=frozenset(read - own), perhaps=frozenset(perhaps - own))


def _made_by(statement: Statement, decorators: set[str]) -> bool:
    """Is it a function with one of these decorators, called or bare?"""
    if not isinstance(statement.node, Function):
        return False
    return any(
        ast.unparse(each.func if isinstance(each, ast.Call) else each) in decorators
        for each in statement.node.decorator_list
    )


def _has_required(node: Function) -> bool:
    """Does the function have a parameter without a default?"""
    arguments = node.args
    plain = len(arguments.posonlyargs) + len(arguments.args)
    return plain > len(arguments.defaults) or None in arguments.kw_defaults


def _is_future(statement: Statement) -> bool:
    return isinstance(statement.node, ast.ImportFrom) and statement.node.module == "__future__"


def _import_text(node: ast.Import | ast.ImportFrom, aliases: list[ast.alias]) -> str:
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import(names=aliases))
    return ast.unparse(ast.ImportFrom(module=node.module, names=aliases, level=node.level))


def _key(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    if isinstance(node, ast.Import) and not alias.asname:
        return f"import {bound_by_alias(alias)}"
    return _import_text(node, [alias])


def _import_piece(piece: _Piece) -> str:
    assert piece.statement is not None
    assert piece.alias is not None
    assert isinstance(piece.statement.node, (ast.Import, ast.ImportFrom))
    return _import_text(piece.statement.node, [piece.alias]) + "\n"


def _uncommented(text: str) -> str:
    return ast.unparse(ast.parse(text))


# -- formatting -------------------------------------------------------------------------------------------------------


def _formatted(text: str) -> str:
    """The text with its imports sorted and its lines laid out, the same on every machine."""
    ruff = _ruff()
    same_everywhere = ["--isolated", "--no-cache", "--quiet", "--target-version", "py311"]
    sort = ["check", "--select", "I", "--fix", "--exit-zero", "--config", "src = []"]
    for command in (sort, ["format"]):
        done = subprocess.run(
            [ruff, *command, *same_everywhere, "-"], input=text.encode(), capture_output=True, check=False
        )
        if done.returncode:
            raise ExportError(f"ruff could not format the module: {done.stderr.decode(errors='replace').strip()}")
        text = done.stdout.decode()
    return text


def _ruff() -> str:
    """Where the `ruff` program is."""
    import shutil

    try:
        from ruff import find_ruff_bin

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("ruff")
    if found is None:
        raise MissingExtraError("ruff", "notebook", "formatting an exported notebook")
    return found


# -- notebook files ---------------------------------------------------------------------------------------------------


def _notebook_json(name: str, data: bytes) -> dict[str, Any]:
    """The notebook's JSON with what every reader relies on checked."""
    if not data.strip():
        raise NotebookError(f"{name} is empty; save the notebook once in Jupyter")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotebookError(f"{name} is UTF-16, and a notebook is UTF-8; save it again as UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        raise NotebookError(f"{name} starts with a byte order mark, which JSON forbids; save it as UTF-8 without BOM")
    try:
        notebook = json.loads(data)
    except ValueError as error:
        raise NotebookError(f"{name} is not JSON, so not a notebook: {error}") from error
    if not isinstance(notebook, dict):
        raise NotebookError(f"{name} is not a notebook: its JSON is a {type(notebook).__name__}, not an object")
    version = notebook.get("nbformat")
    if type(version) is not int or not 1 <= version <= 4:
        raise NotebookError(
            f"{name} has the notebook format {version!r}, and Dagy reads 1 to 4; open it in Jupyter and save it again"
        )
    if version == 4 and not (
        isinstance(notebook.get("cells"), list) and all(isinstance(each, dict) for each in notebook["cells"])
    ):
        raise NotebookError(f"{name} has no list of cells; open it in Jupyter and save it again")
    metadata = notebook.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for key, part in (("kernelspec", "language"), ("language_info", "name")):
        section = metadata.get(key)
        language = section.get(part) if isinstance(section, dict) else None
        if language and str(language).lower() not in ("python", "ipython"):
            raise NotebookError(f"{name} is a {language} notebook; Dagy reads Python notebooks")
    return notebook


def _current_format(name: str, notebook: dict[str, Any]) -> Mapping[str, Any]:
    """The notebook as format 4."""
    try:
        import nbformat
    except ImportError as error:
        raise MissingExtraError("nbformat", "notebook", f"reading {name}") from error
    try:
        return nbformat.convert(nbformat.from_dict(notebook), 4)  # type: ignore[no-any-return,no-untyped-call]
    except Exception as error:  # noqa: BLE001 (old formats fail in as many ways as there are broken files)
        raise NotebookError(
            f"{name} can't be read as a notebook of format {notebook['nbformat']}: {error!r}; "
            "open it in Jupyter and save it again"
        ) from error


def _text(name: str, source: object) -> str:
    if isinstance(source, str):
        return source
    if isinstance(source, list) and all(isinstance(each, str) for each in source):
        return "".join(source)
    raise NotebookError(f"{name} has a cell whose source is no text; open it in Jupyter and save it again")
