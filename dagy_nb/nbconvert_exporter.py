"""`jupyter nbconvert --to dagy notebook.ipynb`: the notebook as the module that runs in production.

The same text as `dagy export notebook.ipynb -o notebook.py` writes. What is not in it is logged, each with its reason.
nbconvert loads this module whenever it starts, whatever it converts to; so what takes time is only loaded on use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nbconvert.exporters import Exporter
from traitlets.config import Application

from dagy.errors import DagyError, NotebookError

if TYPE_CHECKING:
    from dagy.artifact import Reading

T = TypeVar("T")


class DagyExporter(Exporter):
    """Exports a notebook's flows, with all that they need, as a Python module."""

    export_from_notebook = "Dagy module"
    output_mimetype = "text/x-python"

    def _file_extension_default(self) -> str:
        return ".py"

    def from_filename(self, filename: str, resources: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
        """The module of the notebook file, and nbconvert's resources."""
        check = importlib.import_module("dagy_nb.notebook_file").notebook_cells
        self._answered(lambda: check(Path(filename)))  # nbformat's own errors say less
        return super().from_filename(filename, resources, **options)

    def from_notebook_node(self, nb: Any, resources: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
        """The module of the notebook, after nbconvert's own preprocessors, and nbconvert's resources."""
        notebook, given = super().from_notebook_node(nb, resources, **options)
        return self._answered(lambda: self._module(notebook, given.get("metadata", {}).get("name", ""))), given

    def _module(self, notebook: Any, name: str) -> str:
        language = notebook.metadata.get("language_info", {}).get("name", "python")
        if str(language).lower() not in ("python", "ipython"):
            raise NotebookError(f"this is a {language} notebook, and Dagy reads Python ones")
        has_ids = notebook.metadata.get("orig_nbformat", 4) == 4  # else they were made up just now
        code = [each for each in notebook.cells if each.cell_type == "code"]
        cell = importlib.import_module("dagy_nb.cells").Cell
        cells = [
            cell(each.get("id", "") if has_ids else "", each.source, f"cell {number}")
            for number, each in enumerate(code, 1)
        ]
        reading: Reading = importlib.import_module("dagy_nb.reading").read_cells(
            cells, name, source_name=f"{name or 'notebook'}.ipynb"
        )
        for each in reading.left_out:
            self.log.info("left out: %s", each)
        for each in reading.warnings:
            self.log.warning("%s", each)
        return reading.text

    def _answered(self, action: Callable[[], T]) -> T:
        """What `action` returns. On the command line a user's mistake is a message, and not a traceback."""
        try:
            return action()
        except DagyError as error:
            app = Application.instance() if Application.initialized() else None
            if app is None or app.name != "jupyter-nbconvert":
                raise
            mistake = error
        app.log.error("%s", mistake)
        app.exit(1)
        raise mistake
