"""A notebook's file -> its cells: what Jupyter would load, and a clear refusal of what it would not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dagy.errors import NotebookError
from dagy_nb.cells import Cell
from dagy_nb.notebook_file import SavedCell, notebook_cells, saved_cells, saved_notebook


def notebook(*sources: str, **changes: object) -> dict[str, object]:
    cells = [{"cell_type": "code", "id": f"c{n}", "source": text, "metadata": {}} for n, text in enumerate(sources)]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **changes}


def saved(folder: Path, content: object, name: str = "01_quick-start.ipynb") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_only_code_cells_count_and_lists_of_lines_are_joined(tmp_path: Path) -> None:
    text = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# Title"}
    code = {"cell_type": "code", "id": "k", "metadata": {}, "source": ["x = 1\n", "y = 2"], "outputs": []}

    assert notebook_cells(saved(tmp_path, notebook(cells=[text, code]))) == (Cell("k", "x = 1\ny = 2", "cell 1"),)


def test_the_tags_of_a_cell_are_read_and_anything_else_there_is_ignored(tmp_path: Path) -> None:
    tagged = {"cell_type": "code", "id": "p", "metadata": {"tags": ["parameters", 3]}, "source": "n = 1"}
    broken = {"cell_type": "code", "id": "q", "metadata": {"tags": "parameters"}, "source": "n = 2"}

    assert saved_cells(saved(tmp_path, notebook(cells=[tagged, broken]))) == (
        SavedCell(Cell("p", "n = 1", "cell 1"), ("parameters",)),
        SavedCell(Cell("q", "n = 2", "cell 2"), ()),
    )


def test_an_old_notebook_is_read_without_ids_that_change(tmp_path: Path) -> None:
    code = {"cell_type": "code", "language": "python", "input": ["x = 1"], "outputs": [], "collapsed": False}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [code]}]}

    assert notebook_cells(saved(tmp_path, old)) == (Cell("", "x = 1", "cell 1"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; save the notebook once in Jupyter"),
        (b"  \n", "is empty"),
        (b"not json", "is not JSON, so not a notebook"),
        (b"\xff\xfe" + "{}".encode("utf-16-le"), "is UTF-16, and a notebook is UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff{}", "is not JSON"),
        ([], "its JSON is a list, not an object"),
        ({}, "has the notebook format None, and Dagy reads 1 to 4"),
        (notebook(nbformat=5), "has the notebook format 5"),
        (notebook(nbformat=True), "has the notebook format True"),
        (notebook(cells={}), "has no list of cells"),
        (notebook(cells=[1]), "has no list of cells"),
        (notebook(cells=[{"cell_type": "code", "source": 3}]), "has a cell whose source is no text"),
        (notebook(metadata={"kernelspec": {"language": "R"}}), "is a R notebook"),
        (notebook(metadata={"language_info": {"name": "julia"}}), "is a julia notebook, and Dagy reads Python ones"),
        ({"nbformat": 3, "worksheets": 5}, "can't be read as a notebook of format 3"),
    ],
)
def test_a_file_that_is_no_python_notebook_is_refused_with_the_fault(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(NotebookError, match=r"^01_quick-start\.ipynb ") as caught:
        notebook_cells(saved(tmp_path, content))

    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match=r"none\.ipynb can't be read: No such file"):
        notebook_cells(tmp_path / "none.ipynb")


@pytest.mark.parametrize("cell_id", [None, 7, "", "a\nimport os", "a b", "x" * 65, "\u2028"])
def test_an_id_that_no_notebook_may_have_is_none(tmp_path: Path, cell_id: object) -> None:
    (cell,) = notebook_cells(saved(tmp_path, notebook(cells=[{"cell_type": "code", "id": cell_id, "source": "x"}])))
    assert cell == Cell("", "x", "cell 1")


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "x.ipynb"
    os.mkfifo(pipe)
    with pytest.raises(NotebookError, match=r"x\.ipynb can't be read: it is no file"):
        notebook_cells(pipe)
    with pytest.raises(NotebookError, match="no file"):
        saved_notebook(tmp_path)


def test_a_saved_notebook_knows_when_it_was_saved_and_where_its_cells_are(tmp_path: Path) -> None:
    path = saved(tmp_path, notebook("x = 1", "y = 2", "y = 2"))
    os.utime(path, (50, 50))
    found = saved_notebook(path)
    assert (found.path, found.saved_at) == (path, 50.0)
    assert found.place_of(Cell("c1", "edited", "cell [9]")) == 1
    assert found.place_of(Cell("", "x = 1\n", "cell [9]")) == 0
    assert found.place_of(Cell("", "y = 2", "cell [9]")) is None  # it is there twice
    assert found.place_of(Cell("gone", "x = 1", "cell [9]")) is None
