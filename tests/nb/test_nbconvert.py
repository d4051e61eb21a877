"""`jupyter nbconvert --to dagy`, and the reading of notebook files for the other commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dagy.cli import app
from dagy.errors import ExportError, NotebookError
from dagy_nb.reading import read_notebook

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    notebook = nbformat.v4.new_notebook()
    sources = (
        "%matplotlib inline\nimport math",
        "%%dagy_task\narea = math.pi * 2",
        "%%dagy_task\ntwice = 2 * area",
        "twice",
    )
    notebook.cells = [nbformat.v4.new_code_cell(each, id=f"id-{n}") for n, each in enumerate(sources)]
    path = tmp_path / "circle.ipynb"
    nbformat.write(notebook, path)
    return path


def test_reading_gives_the_cells_that_are_in_the_module_and_what_is_left_out(book: Path) -> None:
    reading = read_notebook(book)
    assert "def area()" in reading.text
    assert [each.id for each in reading.cells] == ["id-0", "id-1", "id-2"]
    assert reading.cells[1].names == ("area",)
    assert reading.left_out[0] == "cell 1: `%matplotlib inline` needs IPython"


def test_the_exporter_gives_the_same_text_and_logs_what_is_left_out(
    book: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from dagy_nb.nbconvert_exporter import DagyExporter

    exporter = DagyExporter()
    exporter.log.propagate = True
    with caplog.at_level("INFO"):
        text, resources = exporter.from_filename(str(book))
    assert text == read_notebook(book).text
    assert resources["output_extension"] == ".py"
    assert "left out: cell 1: `%matplotlib inline` needs IPython" in caplog.messages


def test_the_exporter_refuses_what_is_no_notebook_for_dagy(tmp_path: Path) -> None:
    from dagy_nb.nbconvert_exporter import DagyExporter

    broken = tmp_path / "broken.ipynb"
    broken.write_text("{}")
    with pytest.raises(NotebookError, match=r"broken\.ipynb"):
        DagyExporter().from_filename(str(broken))
    with pytest.raises(ExportError, match="neither a task cell nor a flow"):
        DagyExporter().from_notebook_node(nbformat.v4.new_notebook())


def test_dagy_export_says_what_is_left_out(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["export", str(book), "-o", str(book.with_suffix(".py"))]) is app.ExitCode.SUCCESS
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[1:] == [
        "left out of it, 2 things:",
        "  cell 1: `%matplotlib inline` needs IPython",
        "  cell 4: `twice` is there for what it shows or does in the notebook",
    ]


def nbconvert(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nbconvert", "--to", "dagy", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.program
def test_nbconvert_finds_the_exporter(book: Path, tmp_path: Path) -> None:
    done = nbconvert(book)
    assert (tmp_path / "circle.py").read_text() == read_notebook(book).text, done.stderr
    assert "left out: cell 1" in done.stderr


@pytest.mark.program
def test_nbconvert_shows_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ipynb"
    broken.write_text("[]")
    done = nbconvert(broken)
    assert done.returncode == 1
    assert "broken.ipynb is not a notebook" in done.stderr
    assert "Traceback" not in done.stderr
