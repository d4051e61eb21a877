"""From a notebook's flows to all that they need: names are looked up in its pieces as Python would.

What is read while a statement runs comes from the latest definition above it; what is read inside a function comes from
the last definition there is. A statement that changes a needed name in place is needed too.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dagy.errors import did_you_mean
from dagy_nb.cells import NOTEBOOK_NAMES, Statement
from dagy_nb.joining import RESERVED, JoinedTask
from dagy_nb.names import Function
from dagy_nb.pieces import Piece, Pieces

# What a module has without defining it.
MODULE_NAMES = frozenset({"__builtins__", "__debug__", "__doc__", "__file__", "__module__", "__name__", "__qualname__"})


@dataclass(frozen=True, slots=True)
class Needed:
    """What the flows need. A piece is given by its place among the pieces."""

    places: frozenset[int]
    after: dict[int, frozenset[int]]  # for a place, what must have run before it
    problems: tuple[str, ...]  # why the module would not work, or not mean the same
    warnings: tuple[str, ...]  # what may not mean what was meant


def follow(notebook: Pieces) -> Needed:
    """All that the notebook's flows need, transitively."""
    search = _Search(notebook)
    search.run()
    chosen = [notebook.pieces[place] for place in sorted(search.places)]
    problems = [
        *search.problems,
        *search.late_reads(),
        *_redefined_tasks(chosen),
        *_changed_between(notebook.pieces, search.places),
    ]
    warnings = [*search.warnings, *_bound_again(chosen)]
    for task in (piece.task for piece in chosen if piece.task is not None):
        warnings += task.problems if notebook.is_joined else (*task.races, *task.problems)
    return Needed(
        frozenset(search.places),
        {place: frozenset(given) for place, given in search.after.items()},
        tuple(dict.fromkeys(problems)),
        tuple(dict.fromkeys(warnings)),
    )


class _Search:
    """A walk over the pieces, from the flows to what they need."""

    def __init__(self, notebook: Pieces) -> None:
        self.pieces = notebook.pieces
        self.is_joined = notebook.is_joined
        self.makers: dict[str, list[int]] = {}  # the places that bind a name
        self.changers: dict[str, list[int]] = {}  # the places that change its value
        for place, piece in enumerate(self.pieces):
            for name in piece.binds:
                self.makers.setdefault(name, []).append(place)
            for name in piece.mutates | piece.may_augment:
                self.changers.setdefault(name, []).append(place)
        # The names that only exist while tasks run, each with the last task that makes it.
        self.products: dict[str, JoinedTask] = {name: task for task in notebook.joined for name in _products(task)}
        self.annotates_late = any(  # annotations are not evaluated: what they name need not be there
            piece.is_future and piece.alias is not None and piece.alias.name == "annotations" for piece in self.pieces
        )
        self.stars = [place for place, piece in enumerate(self.pieces) if piece.is_star]
        self.places: set[int] = set()
        self.after: dict[int, set[int]] = {}
        self.read: dict[int, set[int]] = {}  # for a place, those of all that it reads
        self.todo: list[int] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def run(self) -> None:
        replaced = {
            place
            for places in self.makers.values()
            for place in [each for each in places if self.pieces[each].root and not self.pieces[each].is_generated][:-1]
        }
        for place, piece in enumerate(self.pieces):
            is_step = self.is_joined and piece.task is not None
            if piece.is_future or piece.asked_for or is_step or (piece.root and place not in replaced):
                self.take(place)
        while self.todo:
            place = self.todo.pop()
            if self.pieces[place].is_magic:
                self.refuse_magic(self.pieces[place])
            else:
                self.visit(place)

    def take(self, place: int) -> None:
        if place not in self.places:
            self.places.add(place)
            self.todo.append(place)

    def visit(self, place: int) -> None:
        """Take what the piece at `place` reads, and what changes the values that it binds."""
        piece = self.pieces[place]
        before = self.after.setdefault(place, set())
        read = self.read.setdefault(place, set())
        self.problems.extend(_asks_who_runs_it(piece))
        if piece.statement is not None and piece.statement.names.awaits:
            self.problems.append(
                f"{piece.cell.label}: {piece.what} awaits, which a module can't do; make {piece.cell.label} a task cell"
            )
        for name in sorted(piece.eager):
            found = self.definitions(name, place, piece)
            before.update(found)
            self.take_all(found) if found else self.explain(name, piece)
            self.problems.extend(self.made_anew(name, found, place))
        for name in sorted(piece.late):
            found = self.definitions(name, None, piece)
            read.update(found)
            self.take_all(found) if found else self.explain(name, piece)
        for name in sorted(piece.perhaps):
            found = self.definitions(name, None if piece.only_defines else place, piece)
            read.update(found)
            self.take_all(found)
        if not piece.only_defines:
            before.update(self.read_by_calls(place))
            self.take_all(before)
        read |= before
        for name in sorted(piece.binds):
            for changer in self.changers.get(name, ()):
                other = self.pieces[changer]
                if changer > place and place in self.definitions(name, changer, other) and not other.is_magic:
                    self.take(changer)
                    changes = "changes" if name in other.mutates else "may change"
                    self.warnings.append(f"{other.cell.label}: {other.what} {changes} {name!r} and came along")

    def take_all(self, places: Iterable[int]) -> None:
        for place in places:
            self.take(place)

    def definitions(self, name: str, before: int | None, reader: Piece) -> list[int]:
        """The places of what `name` means to `reader` at place `before`, or when it is called at the end (None)."""
        places = self.makers.get(name, [])
        if name in self.products and reader.kind != "flow":  # means the tasks' values, not the tasks' functions
            tasks = {each: self.pieces[each].task for each in places}
            places = [each for each, task in tasks.items() if task is None or name not in _products(task)]
        if before is not None:
            above = [each for each in places if each < before]
            if not above and hasattr(builtins, name):
                return []
            places = above or [each for each in places if each != before]
        if not places:
            return []
        key = self.pieces[places[-1]].import_key
        if key.startswith("import "):  # `import a.b` and `import a.c` together make `a` what it is
            return [each for each in places if self.pieces[each].import_key == key]
        return places[-1:]

    def read_by_calls(self, place: int) -> set[int]:
        """The places of what the functions that a statement may call read at that moment, transitively."""
        found: set[int] = set()
        todo = list(self.after[place])
        while todo:
            called = self.pieces[todo.pop()]
            for name in (called.late | called.perhaps) if called.only_defines else ():
                for each in self.definitions(name, place, called):
                    if each not in found and each < place:
                        found.add(each)
                        todo.append(each)
        return found

    def made_anew(self, name: str, found: list[int], place: int) -> list[str]:
        """What is wrong when a statement reads a name that a task cell gave another value, after that of `found`."""
        piece = self.pieces[place]
        if not found or name not in self.products or piece.kind != "statement":
            return []
        between = [self.pieces[each].task for each in range(found[-1] + 1, place)]
        makers = [each for each in between if each is not None and name in _products(each)]
        return [self.only_while_running(name, piece, each) for each in makers[-1:]]

    def late_reads(self) -> list[str]:
        """What is wrong with functions of ordinary cells that tasks call and that read what an earlier task makes."""
        both = {
            place: names
            for place in self.places
            if self.pieces[place].kind == "statement"
            and (names := [name for name in sorted(self.late_names(place)) if self.makers.get(name)])
        }
        problems: list[str] = []
        tasks = [(place, task) for place in sorted(self.places) if (task := self.pieces[place].task) is not None]
        made = {task.name: place for place, task in tasks}
        for place, _ in tasks if both else ():
            for each in sorted(self.reached(place) & both.keys()):
                piece = self.pieces[each]
                for name in both[each]:
                    maker = self.products[name]
                    if self.definitions(name, None, piece) and made.get(maker.name, place) < place:
                        problems.append(
                            f"{piece.cell.label}: {piece.what} reads {name!r}, which {maker.cell.cell.label} binds "
                            f"again as a task: {self.pieces[place].what} would see the old value; make {name!r} one of "
                            "its parameters, or give one of the two another name"
                        )
        return problems

    def late_names(self, place: int) -> set[str]:
        """Of what a piece reads when it is called, the names that a task makes too."""
        return {*self.pieces[place].late, *self.pieces[place].perhaps} & self.products.keys()

    def reached(self, place: int) -> set[int]:
        """The places of all that the piece at `place` reads, itself or through what it reads."""
        found: set[int] = set()
        todo = [place]
        while todo:
            for each in self.read.get(todo.pop(), ()):
                if each not in found and self.pieces[each].task is None:
                    found.add(each)
                    todo.append(each)
        return found

    def only_while_running(self, name: str, piece: Piece, maker: JoinedTask) -> str:
        """Says that a piece reads what a task makes, and what can be done."""
        is_function = piece.task is not None or isinstance(piece.statement and piece.statement.node, Function)
        way_out = f"add {name!r} to its parameters" if is_function else f"make {piece.cell.label} a task cell too"
        return (
            f"{piece.cell.label}: {piece.what} needs {name!r}, which exists only when task {maker.name!r} "
            f"({maker.cell.cell.label}) has run; {way_out}"
        )

    # -- what can't be found --------------------------------------------------------------------------------------

    def refuse_magic(self, piece: Piece) -> None:
        names = ", ".join(map(repr, sorted(piece.binds))) or "a value"
        self.problems.append(
            f"{piece.cell.label}: {names} comes from {piece.what}, which needs IPython; write it in Python"
        )

    def explain(self, name: str, piece: Piece) -> None:
        """Accept a name that something else than a cell provides, or say what is wrong with it."""
        where = f"{piece.cell.label}: {piece.what}"
        if self.annotates_late and all(_only_annotates(each.node, name) for each in _statements_of(piece)):
            return
        if name not in NOTEBOOK_NAMES and (name in RESERVED | MODULE_NAMES or hasattr(builtins, name)):
            return
        if name in self.products:
            self.problems.append(self.only_while_running(name, piece, self.products[name]))
        elif name in NOTEBOOK_NAMES:
            instead = "use print, or return the value" if name == "display" else "write it without"
            self.problems.append(f"{where} uses {name!r}, which exists only in a notebook; {instead}")
        elif self.stars:
            self.take_all(self.stars)
            for star in (self.pieces[each] for each in self.stars):
                self.warnings.append(
                    f"{star.cell.label}: {star.what} came along, because {name!r} may be one of its names; "
                    "name what you import"
                )
        else:
            self.problems.append(f"{where} reads {name!r}, which no cell defines{self.hint(name)}")

    def hint(self, name: str) -> str:
        for each in self.pieces:
            if each.is_magic and re.search(rf"\b{re.escape(name)}\s*=", each.what):
                return f"; {each.cell.label} sets it in {each.what}: write that line without the magic"
        return did_you_mean(name, [*self.makers, *self.products]) or "; define it in a cell, or make it a parameter"


def _products(task: JoinedTask) -> Sequence[str]:
    """The names that only exist while the task runs; a function exists before."""
    if task.cell.form == "function":
        return ()
    return (task.name,) if task.cell.returns else task.cell.bound


def _statements_of(piece: Piece) -> Sequence[Statement]:
    if piece.task is not None:
        return piece.task.cell.statements
    return [piece.statement] if piece.statement else []


def _only_annotates(node: ast.AST, name: str) -> bool:
    """Does the name stand in annotations only?"""
    match node:
        case ast.Name(id=found):
            return found != name
        case ast.arg():
            return True
        case ast.AnnAssign(target=target, value=value):
            return all(_only_annotates(each, name) for each in (target, value) if each is not None)
        case ast.FunctionDef(returns=skipped) | ast.AsyncFunctionDef(returns=skipped):
            return all(_only_annotates(each, name) for each in ast.iter_child_nodes(node) if each is not skipped)
        case _:
            return all(_only_annotates(each, name) for each in ast.iter_child_nodes(node))


def _asks_who_runs_it(piece: Piece) -> list[str]:
    """What is wrong with `__name__ == "__main__"`, which is so in every notebook and in no imported module."""
    for node in (node for each in _statements_of(piece) if "__name__" in each.source for node in ast.walk(each.node)):
        match node:
            case ast.Compare(left=ast.Name(id="__name__")) | ast.Compare(comparators=[ast.Name(id="__name__")]):
                return [
                    f"{piece.cell.label}, line {node.lineno}: {piece.what} asks for `__name__`, which is '__main__' in "
                    "the notebook and not in the module; drop the check"
                ]
            case _:
                pass
    return []


def _redefined_tasks(chosen: Iterable[Piece]) -> list[str]:
    """A task or a flow of ours whose name something else in the module takes too."""
    makers: dict[str, list[Piece]] = {}
    for piece in chosen:
        for name in piece.binds:
            makers.setdefault(name, []).append(piece)
    problems: list[str] = []
    for name, found in sorted(makers.items()):
        if len(found) > 1 and any(each.is_generated for each in found):
            labels = " and in ".join(dict.fromkeys(each.cell.label for each in found))
            problems.append(f"{name!r} is defined in {labels}; rename one of them")
    return problems


def _bound_again(chosen: Iterable[Piece]) -> list[str]:
    """Names that several cells bind and that functions read."""
    makers: dict[str, dict[str, None]] = {}
    late: set[str] = set()
    for piece in chosen:
        late |= piece.late
        for name in piece.binds if not piece.hoisted else ():
            makers.setdefault(name, {})[piece.cell.label] = None
    return [
        f"{name!r} is bound in {' and in '.join(labels)}; functions see the last one"
        for name, labels in sorted(makers.items())
        if len(labels) > 1 and name in late
    ]


def _changed_between(pieces: tuple[Piece, ...], needed: Iterable[int]) -> list[str]:
    """Ordinary statements that change a value on its way from one task to another, which the flow would not do."""
    makers = {piece.task.name: place for place, piece in enumerate(pieces) if piece.task is not None}
    changers: dict[str, list[int]] = {}
    for place, piece in enumerate(pieces):
        for name in piece.binds | piece.mutates if piece.kind == "statement" else ():
            changers.setdefault(name, []).append(place)
    problems: list[str] = []
    for place in sorted(needed):
        task = pieces[place].task
        for wire in task.wires if task is not None else ():
            between = [
                pieces[each]
                for each in changers.get(wire.parameter, ())
                if wire.task is not None and makers[wire.task] < each < place
            ]
            problems.extend(
                f"{each.cell.label}: {each.what} changes {wire.parameter!r} between the task {wire.task!r} and "
                f"{pieces[place].what}; make it a task cell too"
                for each in between
            )
    return problems
