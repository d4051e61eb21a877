"""A notebook's flow in a clean process: the exported module runs there, and its tracebacks tell of the cells."""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagy import artifact
from dagy_nb.cells import Cell

if TYPE_CHECKING:
    from dagy.artifact import CleanRun
    from dagy_nb.export import Export

_CELL = re.compile(r"# cell (?P<id>\S+)")  # what the export writes above the code of a cell
_DISPLAYS = "dagy_nb.worker"  # what is displayed goes to the task


def start_fresh(
    export: Export,
    flow_name: str | None,
    parameters: Mapping[str, Any],
    *,
    path: Path = Path("notebook.ipynb"),
    cells: Sequence[Cell] = (),
    namespace: Mapping[str, object] | None = None,
    max_workers: int | None = None,
    fail_fast: bool | None = None,
    isolation: Literal["thread", "process"] | None = None,
    record: bool = False,
) -> CleanRun:
    """Begin to run a flow of the exported notebook at `path` in a clean process, which works in the notebook's folder.

    `cells` are those that were exported, for tracebacks to name; `namespace` holds the notebook's names, for results
    that are of its own classes. Returns when the run has begun; raises what `start_clean` raises.
    """
    path = path.absolute()
    return artifact.start_clean(
        artifact.Source(path, artifact.module_name(path), export.text),
        parameters,
        flow=flow_name,
        directory=folder_of(path),
        max_workers=max_workers,
        fail_fast=fail_fast,
        isolation=isolation,
        record=record,
        modules=(_DISPLAYS,),
        namespace=namespace,
        place_of=ModulePlaces(export.text, str(path), cells).place_of,
    )


def folder_of(path: Path) -> Path:
    """Where a clean process of the notebook at `path` works: in its folder, or in this process's if that is gone."""
    folder = path.absolute().parent
    return folder if folder.is_dir() else Path.cwd()


class ModulePlaces:
    """From lines of an exported module, whose file is called `filename`, to the lines of the `cells` it was made of."""

    def __init__(self, text: str, filename: str, cells: Sequence[Cell]) -> None:
        self._lines = text.splitlines()
        self._filename = filename
        self._cells = {cell.id: cell for cell in cells if cell.id}
        self._text = text

    def place_of(self, filename: str, line: int) -> tuple[str, int] | None:
        """The cell, as messages call it, and its line; None for a line of another file.

        Lines that no cell has stay the module's. `linecache` knows either text afterwards, so tracebacks show the line.
        """
        if not self._is_ours(filename) or not 0 < line <= len(self._lines):
            return None
        found = self._in_cell(line)
        if found is None:
            _show(filename, self._text)
            return filename, line
        cell, cell_line = found
        _show(cell.label, cell.source)
        return cell.label, cell_line

    def _is_ours(self, filename: str) -> bool:
        """Whether it is the module's file: by its path, or at the top of the folder an artifact was unpacked to."""
        path = Path(filename)
        return filename == self._filename or (path.name == self._filename and path.parent.name == "code")

    def _in_cell(self, line: int) -> tuple[Cell, int] | None:
        start = line - 1
        while start >= 0 and not _CELL.fullmatch(self._lines[start]):
            start -= 1
        match = _CELL.fullmatch(self._lines[start]) if start >= 0 else None
        cell = self._cells.get(match["id"]) if match else None
        if cell is None:
            return None
        wanted = _plain(self._lines[line - 1])
        before = sum(_plain(each) == wanted for each in self._lines[start : line - 1])
        alike = [number for number, each in enumerate(cell.source.splitlines(), 1) if _plain(each) == wanted]
        if before >= len(alike):  # it was laid out anew, or made by Dagy
            return None
        return cell, alike[before]


def _plain(line: str) -> str:
    """A line of code without what laying it out, or making it the end of a function, may have changed."""
    return re.sub(r"[\s'\"]", "", re.sub(r"^\s*return\b", "", line))


def _show(filename: str, text: str) -> None:
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
