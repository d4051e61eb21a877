"""A notebook's file -> its code cells as Jupyter would load them: ids, labels, text, tags. Nothing is executed."""

from __future__ import annotations

import functools
import json
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagy.errors import MissingExtraError, NotebookError
from dagy_nb.cells import Cell

_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # as the notebook format has it


@dataclass(frozen=True, slots=True)
class SavedCell:
    """A code cell as the notebook's file holds it."""

    cell: Cell
    tags: tuple[str, ...] = ()  # of its metadata, such as "parameters"


@dataclass(frozen=True)
class SavedNotebook:
    """The notebook as its file holds it."""

    path: Path
    saved_at: float  # when it was written, in seconds since the epoch
    cells: tuple[Cell, ...]  # its code cells, in order

    def place_of(self, cell: Cell) -> int | None:
        """Where the file holds the cell, counted from 0; None when it does not.

        A cell is known by its id. One without, or with an id of VS Code's own that no file holds, is known by its text,
        as long as that is there once.
        """
        if has_file_id(cell):
            return self._places.get(cell.id)
        return self._texts.get(_bare(cell.source))

    @functools.cached_property
    def _places(self) -> Mapping[str, int]:
        return {each.id: place for place, each in reversed(list(enumerate(self.cells))) if each.id}

    @functools.cached_property
    def _texts(self) -> Mapping[str, int]:
        counts = Counter(_bare(each.source) for each in self.cells)
        return {_bare(each.source): place for place, each in enumerate(self.cells) if counts[_bare(each.source)] == 1}


def has_file_id(cell: Cell) -> bool:
    """Has the cell an id that a notebook's file may know it by? VS Code's own are not, nor is any text with a space."""
    return _CELL_ID.fullmatch(cell.id) is not None


def same_text(one: str, other: str) -> bool:
    """Are the two texts one cell's, whatever ends their lines?"""
    return _bare(one) == _bare(other)


def saved_notebook(path: Path) -> SavedNotebook:
    """The notebook file at `path`, as it is now. Raises what `notebook_cells` raises."""
    try:
        saved_at = path.stat().st_mtime
    except OSError as error:
        raise NotebookError(f"{path.name} can't be read: {error.strerror or error}") from error
    return SavedNotebook(path, saved_at, notebook_cells(path))


def notebook_cells(path: Path) -> tuple[Cell, ...]:
    """The code cells of the notebook file at `path`, labelled "cell 1", "cell 2", ... in order.

    Raises `NotebookError`, with the file, the fault and the remedy, when it can't be read as a Python notebook.
    """
    return tuple(each.cell for each in saved_cells(path))


def saved_cells(path: Path) -> tuple[SavedCell, ...]:
    """The same cells, in the same order, with what else the file says of them."""
    notebook = _notebook_json(path.name, _content(path))
    has_ids = notebook["nbformat"] == 4  # those made up while an older format is converted differ each time
    code = [each for each in _current_cells(path.name, notebook) if each.get("cell_type") == "code"]
    return tuple(
        SavedCell(
            Cell(_id(each) if has_ids else "", _text(path.name, each.get("source", "")), f"cell {number}"),
            _tags(each),
        )
        for number, each in enumerate(code, 1)
    )


def _content(path: Path) -> bytes:
    """The file's bytes; a folder, a pipe or a device is refused and never opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotebookError(f"{path.name} can't be read: it is no file; open the notebook in Jupyter and save it")
        return path.read_bytes()
    except OSError as error:
        raise NotebookError(f"{path.name} can't be read: {error.strerror or error}") from error


def _bare(source: str) -> str:
    """The text, whatever ends its lines."""
    return "\n".join(each.rstrip() for each in source.rstrip().splitlines())


def _id(cell: Mapping[str, Any]) -> str:
    """The cell's id; empty for one that no notebook may have, which could be any text."""
    found = cell.get("id")
    return found if isinstance(found, str) and _CELL_ID.fullmatch(found) else ""


def _tags(cell: Mapping[str, Any]) -> tuple[str, ...]:
    tags = _inner(cell, "metadata").get("tags")
    return tuple(each for each in tags if isinstance(each, str)) if isinstance(tags, list) else ()


def _notebook_json(name: str, data: bytes) -> dict[str, Any]:
    """The notebook's JSON, with what every reader relies on checked."""
    if not data.strip():
        raise NotebookError(f"{name} is empty; save the notebook once in Jupyter")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotebookError(f"{name} is UTF-16, and a notebook is UTF-8; save it again as UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        raise NotebookError(f"{name} starts with a byte order mark, which JSON forbids; save it as UTF-8 without BOM")
    try:
        notebook = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotebookError(
            f"{name} is not JSON, so not a notebook: {error}; save it again in Jupyter, or restore an earlier version"
        ) from error
    if not isinstance(notebook, dict):
        raise NotebookError(
            f"{name} is not a notebook: its JSON is a {type(notebook).__name__}, not an object; "
            "save it again in Jupyter, or restore an earlier version"
        )
    version = notebook.get("nbformat")
    if type(version) is not int or not 1 <= version <= 4:
        raise NotebookError(
            f"{name} has the notebook format {version!r}, and Dagy reads 1 to 4; open it in Jupyter and save it again"
        )
    cells = notebook.get("cells")
    if version == 4 and not (isinstance(cells, list) and all(isinstance(each, dict) for each in cells)):
        raise NotebookError(f"{name} has no list of cells; open it in Jupyter and save it again")
    for key, part in (("kernelspec", "language"), ("language_info", "name")):
        language = _inner(_inner(notebook, "metadata"), key).get(part)
        if language and str(language).lower() not in ("python", "ipython"):
            raise NotebookError(f"{name} is a {language} notebook, and Dagy reads Python ones")
    return notebook


def _inner(section: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = section.get(key)
    return value if isinstance(value, dict) else {}


def _current_cells(name: str, notebook: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The cells as notebook format 4 has them; older formats are converted."""
    if notebook["nbformat"] == 4:
        found: Sequence[Mapping[str, Any]] = notebook["cells"]
        return found
    try:
        import nbformat
    except ImportError as error:
        raise MissingExtraError("nbformat", "notebook", f"reading {name}") from error
    try:
        joined = nbformat.versions[notebook["nbformat"]].to_notebook_json(
            notebook
        )  # files hold texts as lists of lines
        converted = nbformat.convert(joined, 4)  # type: ignore[no-untyped-call]
        cells: Sequence[Mapping[str, Any]] = converted["cells"]
    except Exception as error:  # old formats fail in as many ways as there are broken files
        raise NotebookError(
            f"{name} can't be read as a notebook of format {notebook['nbformat']}: {error!r}; "
            "open it in Jupyter and save it again"
        ) from error
    return cells


def _text(name: str, source: object) -> str:
    if isinstance(source, str):
        return source
    if isinstance(source, list) and all(isinstance(each, str) for each in source):
        return "".join(source)
    raise NotebookError(f"{name} has a cell whose source is no text; open it in Jupyter and save it again")
