"""A notebook's file -> the text of a module, with the cells that it was made of and what was left out of it.

This is how `dagy` reads notebooks (`dagy build nb.ipynb`, `dagy.testing.load_notebook`): it finds `read_notebook` as an
entry point. Nothing is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.artifact import Reading
from dagy_nb.cells import Cell
from dagy_nb.export import Export, export_module
from dagy_nb.names import identifier
from dagy_nb.notebook_file import notebook_cells

if TYPE_CHECKING:
    from dagy.artifact import Roots


def read_notebook(path: Path, *, roots: Roots = "flows") -> Reading:
    """What the notebook file at `path` becomes as a module, its flow named after the file.

    The module holds the flows and all that they need, or the tasks, or all of these. Raises `NotebookError` for a file
    that is no Python notebook, and `ExportError` for one that can't become a module.
    """
    return read_cells(notebook_cells(path), path.stem, source_name=path.name, roots=roots)


def read_cells(cells: Sequence[Cell], stem: str, *, source_name: str, roots: Roots = "flows") -> Reading:
    """The same of cells that were read already, of a notebook whose file is called `stem` but for its suffix."""
    name = identifier(stem, default="notebook")
    # What is only loaded (all of it) nobody reads.
    export = export_module(cells, name=name, source_name=source_name, roots=roots, is_laid_out=roots != "all")
    return Reading(export.text, export.cells, left_out_of(export), export.warnings)


def left_out_of(export: Export) -> tuple[str, ...]:
    """A sentence for each thing that the module does not hold: `cell 3: no flow needs `x``."""
    return tuple(f"{each.label}: {each.reason}" for each in export.left_out)
