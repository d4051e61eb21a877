"""The notebooks in notebooks/, as a reader finds them and as a reader runs them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.program

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICKSTART_TASKS = ("raw", "checked", "clean", "body", "diet", "features", "model", "summary", "chart")
MODEL = "{'accuracy': 0.99, 'tested': 99, 'trained': 231}"

Output = Mapping[str, Any]


# As a reader finds them.


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_valid_and_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    code = [each for each in notebook.cells if each.cell_type == "code"]
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert [each.id for each in code if each.outputs or each.execution_count is not None] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_cell_is_named_for_what_it_holds(path: Path) -> None:
    # Ids that Jupyter makes up are eight hexadecimal digits, and change when the cell is made anew.
    ids = [each.id for each in nbformat.read(path, as_version=4).cells]
    assert [each for each in ids if re.fullmatch(r"[0-9a-f]{8}", each)] == []


def test_the_data_is_the_file_that_its_readme_describes() -> None:
    data = ROOT / "notebooks" / "data"
    digest = hashlib.sha256((data / "penguins.csv").read_bytes()).hexdigest()
    assert digest in (data / "README.md").read_text("utf-8")


# As a reader runs them: each notebook once, in a kernel of its own, in a copy of the folder.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of notebooks/ to run in, with IPython's own state beside it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    return Path(
        shutil.copytree(
            ROOT / "notebooks",
            tmp_path / "notebooks",
            ignore=shutil.ignore_patterns("build", "dist", ".*", "__pycache__"),
        )
    )


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_the_quickstart_runs_and_ships(folder: Path) -> None:
    before = files_in(folder)
    outputs = run(folder / "01_quickstart.ipynb")

    assert all(task in text(outputs["dag"], "text/plain") for task in QUICKSTART_TASKS)
    assert "data:image/svg+xml" in text(outputs["dag"], "text/html")
    assert all(task in text(outputs["run"], "text/plain") for task in QUICKSTART_TASKS)
    assert "data:image/svg+xml" in text(outputs["run"], "text/html")
    assert "342 of 344 penguins kept" in text(outputs["run"], "text/html")  # printed by a task
    assert text(outputs["run-model"], "text/plain") == MODEL
    assert "Gentoo" in text(outputs["run-summary"], "text/html")
    assert text(outputs["run-chart"], "image/png").startswith("iVBOR")
    assert "'tested': 165" in text(outputs["run-again"], "text/plain")

    # What a finished run leaves can be read with no kernel: no output needs a widget.
    assert [cell for cell, shown in outputs.items() if "widget-view" in str(shown)] == []

    # The exported module gives the notebook's results in a process that knows no notebook.
    program = (
        "import sys, dagy, quickstart\n"
        "flow, = [each for each in vars(quickstart).values() if isinstance(each, dagy.Flow)]\n"
        "print(flow.run_local()['model'])\n"
        "print('IPython' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "build"), os.environ["PYTHONPATH"]])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout.splitlines()[-2:], done.stderr) == ([MODEL, "False"], "")

    assert [path.name for path in (folder / "dist").rglob("*.zip")] == ["artifact.zip"]
    new = {path.parts[0] for path in files_in(folder) - before}
    assert new == {"build", "dist"}


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_the_web_scraper_runs_against_its_own_site(folder: Path) -> None:
    outputs = run(folder / "02_web_scraper.ipynb")

    expected = {"title": "<title>Antarctic news</title><p>Penguins are told ", "length": 75}
    assert all(task in text(outputs["draw"], "text/html") for task in ("fetch", "parse"))
    assert all(word in text(outputs["run-local"], "stdout") for word in ("web_scraper", "fetch", "parse", "COMPLETED"))
    assert text(outputs["value"], "text/plain") == str(expected)
    assert "COMPLETED" in text(outputs["run-live"], "text/plain")


def run(path: Path) -> dict[str, list[Output]]:
    """Every code cell's outputs by the cell's id, after the notebook at `path` ran from top to bottom."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}})
    client.execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def text(outputs: list[Output], kind: str) -> str:
    """All that the outputs hold of one kind: a MIME type, or "stdout" or "stderr"."""
    found = []
    for each in outputs:
        if each["output_type"] == "stream":
            found += [each["text"]] if each["name"] == kind else []
        else:
            found += [each["data"][kind]] if kind in each["data"] else []
    return "\n".join(found)


def files_in(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
