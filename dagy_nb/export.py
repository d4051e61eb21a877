"""A notebook -> an importable module: readable Python that needs no IPython and gives the notebook's results.

The cells are taken apart (`pieces`), names are followed from the flows (`following`), and what is needed is written in
the notebook's order, imports first. Everything else is left out with a reason; what can't work outside the notebook is
refused, with the name, the cell and the way out. Nothing is executed.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from subprocess import PIPE
from typing import TYPE_CHECKING

from dagy.artifact import CellEntry
from dagy.errors import ExportError, MissingExtraError
from dagy_nb.cells import Cell, Statement
from dagy_nb.following import Needed, follow
from dagy_nb.node_cells import decorator_of
from dagy_nb.notebook_file import has_file_id
from dagy_nb.pieces import LeftOut, Piece, Pieces, import_text, take_apart

if TYPE_CHECKING:
    from dagy.artifact import Roots

_OURS = re.compile(r"%(dagy|(re|un)?load_ext\s+dagy_nb)")  # magics of ours, which nobody misses in the module
_OF_NODES = ("node", "ConnectorDef", "NodeConfigField")  # what the decorator of a node is written with
_LONGEST_LAYOUT = 60  # seconds
EXPORT_MARK = '"""Made from '  # how every exported module begins


@dataclass(frozen=True, slots=True)
class Export:
    """A notebook as a module."""

    text: str
    flows: tuple[str, ...]  # the names under which the module holds its flows
    tasks: tuple[str, ...] = ()  # and its tasks
    cells: tuple[CellEntry, ...] = ()  # the cells whose code is in it, in notebook order; only those that have an id
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()  # sentences: what may not mean what was meant


def export_module(
    cells: Sequence[Cell], *, name: str, source_name: str = "", roots: Roots = "flows", is_laid_out: bool = True
) -> Export:
    """The cells, in notebook order, as a module; `name` is for a flow that has none of its own.

    The module holds the notebook's flows and all that they need; with the `roots` "tasks" it holds every task and all
    that those need, and no flow; with "all" both. Without `is_laid_out` the text is only for Python to read.

    The same cells give the same text. Raises `ExportError`, whose `problems` name what can't be exported, the cell and
    the way out, and `MissingExtraError` when `ruff`, which lays out the text, is not installed.
    """
    source_name = source_name or name
    notebook = take_apart(cells, name=name, source_name=source_name, roots=roots)
    needed = follow(notebook)
    if needed.problems:
        raise ExportError(f"{source_name} can't be exported", needed.problems)
    text, flows = _written(notebook, needed, source_name)
    chosen = [notebook.pieces[place] for place in sorted(needed.places)]
    tasks = tuple(next(iter(each.binds)) for each in chosen if each.kind == "task")
    left_out = _left_out(cells, notebook, needed, name)
    return Export(
        _formatted(text) if is_laid_out else text, flows, tasks, _entries(cells, chosen), left_out, needed.warnings
    )


def _entries(cells: Sequence[Cell], chosen: Sequence[Piece]) -> tuple[CellEntry, ...]:
    names: dict[str, set[str]] = {}
    for piece in chosen:
        names.setdefault(piece.cell.id, set()).update(piece.binds)
    sources = {cell.id: cell.source for cell in cells if cell.id in names and has_file_id(cell)}
    return tuple(CellEntry.of(each, source, names[each]) for each, source in sources.items())


# -- writing ----------------------------------------------------------------------------------------------------------


def _written(notebook: Pieces, needed: Needed, source_name: str) -> tuple[str, tuple[str, ...]]:
    """The module's text, not yet laid out, and the names of its flows."""
    order = _order(notebook.pieces, needed)
    chosen = [notebook.pieces[place] for place in sorted(needed.places)]
    below = [notebook.pieces[place] for place in order]
    roots = [piece for piece in below if piece.root]
    flows = tuple(next(iter(piece.binds)) for piece in roots)
    # Where the notebook's own names hide `task` or `flow`, they are written `dagy.task` and `dagy.flow`.
    hidden = any(
        piece.binds & {"task", "flow", *_OF_NODES} and not piece.import_key.startswith("from dagy") for piece in chosen
    )
    generated = {piece.kind for piece in chosen if piece.is_generated}
    decorators = [decorator_of(piece.node) for piece in chosen if piece.node is not None]
    of_nodes = [name for name in _OF_NODES if any(re.search(rf"\b{name}\b", each) for each in decorators)]
    generated -= {"node"}
    bound = {name for piece in chosen for name in piece.binds}
    used = {"task", "flow", "dagy"} & {name for piece in chosen for name in piece.eager | piece.late} - bound
    names = sorted((used - {"dagy"}) | (set() if hidden else generated))
    source = source_name.replace("\\", "/").replace('"', "'")
    lines = [
        f'{EXPORT_MARK}{source} by Dagy.\n\nEdit the notebook and export it again, rather than this file.\n"""\n\n',
        *_imports([piece for piece in chosen if piece.hoisted]),
        f"from dagy import {', '.join(names)}\n" if names else "",
        "import dagy\n" if "dagy" in used or (hidden and generated) else "",
        "" if not of_nodes else "import dagy.nodes\n" if hidden else f"from dagy.nodes import {', '.join(of_nodes)}\n",
        "\n\n",
        *_body(below, hidden=hidden),
    ]
    if len(roots) == 1 and not roots[0].asks:
        lines.append(f'\n\nif __name__ == "__main__":\n    print({flows[0]}.run_local())\n')
    return "".join(lines), flows


def _order(pieces: Sequence[Piece], needed: Needed) -> list[int]:
    """The needed places, imports at the top aside: what runs early first, then tasks, then flows, in notebook order.

    Where a name is bound or changed more than once, notebook order alone.
    """
    places = [place for place in sorted(needed.places) if not pieces[place].hoisted]
    names = [name for place in places for name in pieces[place].binds]
    if len(set(names)) == len(names) and not any(pieces[place].mutates | pieces[place].may_augment for place in places):
        rank = {"import": 0, "statement": 0, "node": 1, "task": 1, "flow": 2}
        places.sort(key=lambda place: rank[pieces[place].kind])
    inside = frozenset(places)
    order: dict[int, None] = {}
    entered: set[int] = set()
    for place in places:
        stack = [place] if place not in entered else []
        while stack:
            entered.add(stack[-1])
            missing = min((needed.after.get(stack[-1], frozenset()) & inside) - entered, default=None)
            if missing is None:
                order[stack.pop()] = None
            else:
                stack.append(missing)
    return list(order)


def _imports(pieces: Sequence[Piece]) -> list[str]:
    """The imports at the top, each once; as the cell has them where all of their names are needed."""
    wanted: dict[Statement, list[ast.alias]] = {}
    for piece in pieces:
        if piece.statement is not None and piece.alias is not None:
            wanted.setdefault(piece.statement, []).append(piece.alias)
    texts: dict[str, str] = {}
    for statement, aliases in wanted.items():
        plain = import_text(statement.node, aliases)
        whole = isinstance(statement.node, (ast.Import, ast.ImportFrom)) and len(aliases) == len(statement.node.names)
        texts.setdefault(plain, f"{statement.comments}{statement.source}\n" if whole else f"{plain}\n")
    return [texts[plain] for plain in sorted(texts, key=lambda plain: not plain.startswith("from __future__"))]


def _body(pieces: Sequence[Piece], *, hidden: bool) -> list[str]:
    """The texts below the imports, each run of pieces from one cell under a comment that names it."""
    texts: list[str] = []
    cell: Cell | None = None
    for piece in pieces:
        text = piece.write()
        if hidden and piece.is_generated:
            text = _in_full(text)
        if piece.cell != cell:
            # By its id alone: its number changes when it is run again, and the module must not.
            origin = f"# cell {piece.cell.id}\n" if has_file_id(piece.cell) else ""
            text = f"\n\n{origin}{text}"
        cell = piece.cell
        texts.append(text)
    return texts


def _in_full(text: str) -> str:
    """A function's text with `@dagy.task` for `@task`."""
    head, start, body = re.split(r"(?m)^((?:async )?def )", text, maxsplit=1)
    head = re.sub(r"(?m)^@(task|flow)\b", r"@dagy.\1", head)
    head = re.sub(r"\b(ConnectorDef|NodeConfigField)\(", r"dagy.nodes.\1(", head)
    head = re.sub(r"(?m)^@node\b", "@dagy.nodes.node", head)
    return f"{head}{start}{body}"


def _left_out(cells: Sequence[Cell], notebook: Pieces, needed: Needed, name: str) -> tuple[LeftOut, ...]:
    """What the module does not hold, in notebook order."""
    found = list(notebook.left_out)
    imported = {notebook.pieces[place].import_key for place in needed.places}
    unneeded: dict[str, dict[str, None]] = {}
    for place, piece in enumerate(notebook.pieces):
        label, node = piece.cell.label, piece.statement.node if piece.statement else None
        if place in needed.places or (piece.statement is not None and piece.statement.is_docstring):
            continue
        if piece.alias is not None and piece.import_key in imported:
            continue
        if piece.is_magic and _OURS.search(piece.what):
            continue
        if piece.is_magic:
            found.append(LeftOut(label, f"{piece.what} needs IPython"))
        elif piece.task is not None:
            joined = f"%dagy_run {name} runs the task cells, joined by their names"
            found.append(LeftOut(label, f"no flow calls {piece.what}; {joined}"))
        elif isinstance(node, ast.Expr):
            found.append(LeftOut(label, f"{piece.what} is there for what it shows or does in the notebook"))
        else:
            names = [f"`{name}`" for name in sorted(piece.binds)] or [piece.what]
            unneeded.setdefault(label, {}).update(dict.fromkeys(names))
    found += [LeftOut(label, f"no flow needs {', '.join(names)}") for label, names in unneeded.items()]
    position = {cell.label: number for number, cell in enumerate(cells)}
    return tuple(sorted(dict.fromkeys(found), key=lambda each: position[each.label]))


@functools.lru_cache(maxsize=16)  # a notebook is exported again and again, and is mostly the same
def _formatted(text: str) -> str:
    """The text with its imports sorted and its lines laid out, the same on every machine."""
    ruff = _ruff()
    everywhere = ["--isolated", "--no-cache", "--quiet", "--target-version", "py311", "-"]
    sorting = [ruff, "check", "--select", "I", "--fix", "--exit-zero", "--config", "src = []", *everywhere]
    data = text.encode()
    # Both are started at once, since to start is most of what they take; each reads all before it writes.
    with (
        subprocess.Popen(sorting, stdin=PIPE, stdout=PIPE, stderr=PIPE) as sorter,
        subprocess.Popen([ruff, "format", *everywhere], stdin=sorter.stdout, stdout=PIPE, stderr=PIPE) as layouter,
    ):
        assert sorter.stdin is not None
        assert sorter.stdout is not None
        assert sorter.stderr is not None
        sorter.stdout.close()  # which the other one has now
        with contextlib.suppress(BrokenPipeError):  # it has ended already, and says why
            sorter.stdin.write(data)
            sorter.stdin.close()
        try:
            done, faults = layouter.communicate(timeout=_LONGEST_LAYOUT)
        except subprocess.TimeoutExpired as error:
            sorter.kill()
            layouter.kill()
            raise ExportError(
                f"ruff did not lay out the module within {_LONGEST_LAYOUT} s; is there a cell of tens of thousands of "
                "lines? Move what is data in it to a file"
            ) from error
        faults += sorter.stderr.read()
    if sorter.returncode or layouter.returncode:
        raise ExportError(f"ruff could not lay out the module: {faults.decode(errors='replace').strip()}")
    return done.decode()


def _ruff() -> str:
    """Where the `ruff` program is."""
    try:
        from ruff import find_ruff_bin  # type: ignore[import-untyped]

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("ruff")
    if found is None:
        raise MissingExtraError("ruff", "notebook", "laying out an exported notebook")
    return found
