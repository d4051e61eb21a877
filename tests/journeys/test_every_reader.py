"""One small notebook, run by each program that runs notebooks: the same states, the same picture, nothing live left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbconvert import LatexExporter

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

CELLS = {
    "load-ext": "%load_ext dagy_nb\nimport logging, sys, warnings\nfrom IPython.display import HTML, display",
    "load": "%%dagy_task\ndef load(n: int = 3):\n    print('loading', n)\n    return list(range(n))",
    "speak": (
        "%%dagy_task\ndef speak(load):\n"
        "    print('to stderr', file=sys.stderr)\n"
        "    logging.getLogger('the.log').warning('to the log')\n"
        "    warnings.warn('to be warned')\n"
        "    display(HTML('<b>displayed</b>'))\n"
        "    for percent in range(101):\n"
        "        print(f'\\r{percent} per cent', end='')\n"
        "    return sum(load)"
    ),
    "dag": "%dagy_dag",
    "run": "run = %dagy_run",
    "value": "run['speak']",
}

FAILING = {
    **CELLS,
    "speak": "%%dagy_task\ndef speak(load):\n    raise ValueError('the task is at fault')",
}


def write_notebook(path: Path, cells: Mapping[str, str]) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text, id=name) for name, text in cells.items()])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


@pytest.fixture(autouse=True)
def _own_jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own Jupyter: the code is found, and nobody's profile or session plays a part."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)


def run(program: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *program], capture_output=True, text=True, check=False)


def outputs_of(path: Path) -> dict[str, list[Any]]:
    """Each code cell's outputs by the cell's id; the saved notebook must hold nothing of a widget."""
    saved = json.loads(path.read_text("utf-8"))
    assert "widgets" not in saved["metadata"]
    assert "widget-view" not in json.dumps(saved["cells"])
    return {cell["id"]: cell["outputs"] for cell in saved["cells"] if cell["cell_type"] == "code"}


def check_outputs(outputs: Mapping[str, list[Any]]) -> None:
    """All that a reader of the executed notebook relies on."""
    assert outputs["load-ext"] == []
    (drawn,) = outputs["dag"]
    assert "speak" in text(drawn, "text/plain")
    assert "data:image/svg+xml" in text(drawn, "text/html")
    (still,) = outputs["run"]  # nothing of the tasks' own is on the cell
    assert re.search(r"COMPLETED in .*2 tasks, 2 completed", text(still, "text/plain"), re.DOTALL)
    page = text(still, "text/html")
    assert "data:image/svg+xml" in page
    for part in ("loading 3", "to stderr", "to the log", "UserWarning: to be warned", "<b>displayed</b>"):
        assert part in page
    assert "100 per cent" in page
    assert "50 per cent" not in page
    assert "<script" not in page
    assert set(still["data"]) == {"text/html", "text/plain"}  # a drawing of its own would break conversion to LaTeX
    assert text(outputs["value"][0], "text/plain") == "3"


def text(output: Mapping[str, Any], kind: str) -> str:
    return "".join(output["data"][kind])


def test_nbclient(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "small.ipynb", CELLS)
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    nbformat.write(notebook, path)
    check_outputs(outputs_of(path))


RICH = {
    "load-ext": "%load_ext dagy_nb\nimport matplotlib.pyplot as plt, pandas",
    "shows": "from IPython.display import Image, display",
    "inline": "%matplotlib inline",
    "chart": "%%dagy_task\ndef chart():\n    figure, axes = plt.subplots()\n    axes.plot([1, 2])\n    return figure",
    "picture": "%%dagy_task\ndef picture(chart):\n    display(Image(data=b'\\x89PNG\\r\\n'))",
    "frame": "%%dagy_task\ndef frame():\n    return pandas.DataFrame({'a': [1, 22]})",
    "run": "run = %dagy_run",
    "value": "run['chart']",
}


def test_figures_images_and_frames_are_in_the_still_and_not_on_the_cell(tmp_path: Path) -> None:
    notebook = nbformat.read(write_notebook(tmp_path / "rich.ipynb", RICH), as_version=4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells}
    (still,) = outputs["run"]
    page = still["data"]["text/html"]
    assert page.count("data:image/png;base64,") == 2
    assert "data:image/png;base64,iVBORw0K" in page
    assert "<td>22</td>" in page
    (figure,) = outputs["value"]
    assert figure["data"]["image/png"].startswith("iVBORw0K")


def test_nbclient_fails_where_a_task_does(tmp_path: Path) -> None:
    notebook = nbformat.read(write_notebook(tmp_path / "small.ipynb", FAILING), as_version=4)
    with pytest.raises(CellExecutionError) as caught:
        nbclient.NotebookClient(notebook, timeout=120).execute()
    assert caught.value.ename == "TaskFailedError"
    said = str(caught.value)
    assert "ValueError: the task is at fault" in said
    assert "Cell [3], line 3, in speak" in said
    assert str(ROOT / "dagy") not in said
    (still,) = [each for each in notebook.cells[4].outputs if each.output_type == "display_data"]
    assert "1 failed" in still["data"]["text/plain"]


def test_nbclient_fails_where_a_magic_is_written_wrong(tmp_path: Path) -> None:
    notebook = nbformat.read(
        write_notebook(tmp_path / "small.ipynb", {**CELLS, "run": "%dagy_run nosuch"}), as_version=4
    )
    with pytest.raises(CellExecutionError, match="there is no flow 'nosuch'"):
        nbclient.NotebookClient(notebook, timeout=120).execute()


def test_papermill(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "small.ipynb", CELLS)
    done = run(["papermill", "--no-progress-bar", str(path), "out.ipynb"])
    assert done.returncode == 0, done.stderr
    check_outputs(outputs_of(tmp_path / "out.ipynb"))


@pytest.mark.parametrize("cells", [FAILING, {**CELLS, "run": "%dagy_run nosuch"}], ids=["task", "magic"])
def test_papermill_fails_where_the_notebook_does(tmp_path: Path, cells: Mapping[str, str]) -> None:
    path = write_notebook(tmp_path / "small.ipynb", cells)
    done = run(["papermill", "--no-progress-bar", str(path), "out.ipynb"])
    assert done.returncode != 0
    assert outputs_of(tmp_path / "out.ipynb")["value"] == []  # nothing after the failure ran


def test_nbconvert(tmp_path: Path) -> None:
    write_notebook(tmp_path / "small.ipynb", CELLS)
    done = run(["nbconvert", "--to", "html", "--execute", "--output", "out.html", "small.ipynb"])
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.count("data:image/svg+xml") >= 2
    assert "2 completed" in page
    assert "<b>displayed</b>" in page
    assert "widget-view" not in page


def executed(path: Path) -> Path:
    """The notebook with its outputs, as nbclient leaves it."""
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    nbformat.write(notebook, path)
    return path


WITHOUT_PROSE = {name: source for name, source in CELLS.items() if name != "value"}


def test_a_run_notebook_converts_to_latex(tmp_path: Path) -> None:
    # No output is a drawing of its own, for which LaTeX would need a program beside it.
    executed(write_notebook(tmp_path / "small.ipynb", WITHOUT_PROSE))
    page, _ = LatexExporter().from_filename(str(tmp_path / "small.ipynb"))
    assert "2 tasks, 2 completed" in page
    assert "speak" in page


def test_a_kernel_without_the_widgets_package_gives_the_same_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "small.ipynb"))
    block = "import sys\nsys.modules['anywidget'] = sys.modules['ipywidgets'] = None\n"
    path = executed(
        write_notebook(tmp_path / "small.ipynb", {**CELLS, "load-ext": block + CELLS["load-ext"]}),
    )
    outputs = outputs_of(path)
    told = "".join(each.get("text", "") for name in ("load-ext", "run") for each in outputs[name])
    assert "Traceback" not in told
    outputs["run"] = [each for each in outputs["run"] if each["output_type"] != "stream"]
    check_outputs({**outputs, "load-ext": []})


MANY = {
    "load-ext": "%load_ext dagy_nb\nfrom dagy import flow, task",
    "flow": (
        "@task\ndef step(number: int, *before: int) -> int:\n    return number\n\n"
        "@flow\ndef many():\n"
        "    rows = [step(number) for number in range(10)]\n"
        "    for row in range(9):\n"
        "        rows = [step(number, rows[number], rows[(number + 1) % 10]) for number in range(10)]\n"
        "    return rows"
    ),
    "run": "run = %dagy_run many",
}


def test_a_still_of_a_hundred_tasks_is_light(tmp_path: Path) -> None:
    path = executed(write_notebook(tmp_path / "many.ipynb", MANY))
    (still,) = outputs_of(path)["run"]
    page = text(still, "text/html")
    assert "100 tasks: 100 completed" in page
    assert len(json.dumps(page).encode()) < 150_000
    assert not re.search(r"<script|<link|<style|https?://(?!www\.w3\.org)|url\(|@import", page)


@pytest.mark.parametrize(("value", "expected"), [("1", "[]"), ("0", "['anywidget']")])
def test_a_front_end_that_says_it_is_not_interactive_gets_no_widget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    # A kernel that a Jupyter server started has the first of these variables, and draws widgets unless told otherwise.
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "small.ipynb"))
    monkeypatch.setenv("DAGY_NONINTERACTIVE", value)
    path = write_notebook(tmp_path / "small.ipynb", {**CELLS, "loaded": "sorted({'anywidget'} & set(sys.modules))"})
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, store_widget_state=False).execute()
    nbformat.write(notebook, path)
    outputs = outputs_of(path)
    assert text(outputs["loaded"][0], "text/plain") == expected
    check_outputs(outputs)


def test_plain_ipython(tmp_path: Path) -> None:
    script = tmp_path / "small.ipy"
    script.write_text("\n".join(["%load_ext dagy_nb", *PLAIN]), "utf-8")
    done = run(["IPython", "--no-banner", "--colors=nocolor", str(script)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 tasks, 2 completed" in done.stdout
    assert "value: 3" in done.stdout
    assert done.stdout.count("COMPLETED in") == 1
    assert "loading 3" not in done.stdout
    assert done.stderr == ""


PLAIN = (
    "from dagy import flow, task",
    "@task",
    "def load(n: int = 3):",
    "    print('loading', n)",
    "    return list(range(n))",
    "@task",
    "def total(load):",
    "    return sum(load)",
    "@flow",
    "def small():",
    "    return total(load())",
    "run = %dagy_run",
)


def test_plain_ipython_fails_where_a_task_does(tmp_path: Path) -> None:
    lines = [line.replace("return sum(load)", "raise ValueError('the task is at fault')") for line in PLAIN]
    script = tmp_path / "small.ipy"
    script.write_text("\n".join(["%load_ext dagy_nb", *lines]), "utf-8")
    done = run(["IPython", "--no-banner", "--colors=nocolor", str(script)])
    assert done.returncode != 0
    assert "ValueError: the task is at fault" in done.stdout
    assert str(ROOT / "dagy") not in done.stdout


def test_a_terminal_session_with_task_cells() -> None:
    cells = [
        "%load_ext dagy_nb",
        CELLS["load"],
        "%%dagy_task\ntotal = sum(load)",
        "run = %dagy_run",
        "print(run['total'])",
    ]
    program = f"ip = get_ipython()\nfor cell in {cells!r}:\n    ip.run_cell(cell, store_history=True).raise_error()"
    done = run(["IPython", "--no-banner", "--colors=nocolor", "--HistoryManager.hist_file=:memory:", "-c", program])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "task 'load'; parameter n"
    assert "2 tasks, 2 completed" in done.stdout
    assert done.stdout.splitlines()[-1] == "3"
