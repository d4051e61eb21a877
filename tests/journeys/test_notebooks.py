"""The notebooks in notebooks/ and in tests/notebooks/, as a reader finds them and as a reader uses them.

A notebook is tested by being there: it runs in a kernel and from the command line, becomes a module that gives the same
results in a process that knows no notebook, is drawn, and is built twice into the same bytes.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy_nb.export import export_module
from dagy_nb.names import identifier
from dagy_nb.notebook_file import notebook_cells

pytestmark = pytest.mark.program

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OTHER_STYLES = sorted((ROOT / "tests" / "notebooks").glob("*.ipynb"))
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


# As a reader runs them: in a kernel of its own, in a copy of the folder.


@pytest.fixture
def folder(tmp_path: Path, waking: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of notebooks/ to run in, with IPython's own state beside it; what is deployed there is run by a worker."""
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


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_cells_become_a_deployment_that_runs_without_them(folder: Path) -> None:
    outputs = run(folder / "06_deploy.ipynb")

    deployed = text(outputs["deploy"], "text/plain")
    assert deployed.startswith("morning-report is deployed\n  ✓ upload the artifact ")
    assert "gives the notebook's results in a clean process (3 tasks)" in deployed
    assert text(outputs["deploy-again"], "text/plain") == "True"
    assert text(outputs["run-deployed"], "text/plain").startswith("penguin_report: COMPLETED")
    assert "data:image/svg+xml" in text(outputs["run-deployed"], "text/html")
    assert text(outputs["run-deployed-report"], "stdout") == (
        "Gentoo     5.08 kg, mean of 123\nAdelie     3.71 kg, mean of 44\n"
    )
    assert "0 6 * * * (Europe/London), next " in text(outputs["schedule"], "text/plain")
    assert text(outputs["runs"], "text/plain").count("penguin-report-") == 2
    assert text(outputs["logs"], "text/plain") == "weights  167 penguins weighed, island: Biscoe"
    assert text(outputs["status"], "text/plain").count("nothing: it is up to date") == 2
    for cell in ("cli-deployments", "cli-schedules", "cli-runs"):
        assert "morning-report" in text(outputs[cell], "stdout")
    assert "widget-view" not in str(outputs)


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_the_same_cells_run_on_aws_without_an_account(folder: Path) -> None:
    outputs = run(folder / "07_aws.ipynb")

    assert text(outputs["plan"], "text/plain").startswith("penguin_outlook on AWS: lambda (nano)")
    assert "step-functions (micro)" in text(outputs["plan-else"], "text/plain")
    assert "dagy-route" in text(outputs["plan"], "text/html")
    deployed = text(outputs["deploy-lambda"], "text/plain")
    assert deployed.startswith("outlook is deployed\n")
    assert "runs on   lambda (nano)" in deployed
    assert text(outputs["run-lambda"], "text/plain").startswith("penguin_outlook: COMPLETED")
    assert "data:image/svg+xml" in text(outputs["run-lambda"], "text/html")
    assert text(outputs["run-lambda-outlook"], "stdout").count("% a year") == 4
    planned = text(outputs["deploy-machine-dry"], "text/plain")
    assert planned.startswith("outlook would be deployed")
    assert "Why " in planned
    assert text(outputs["run-machine"], "text/plain").startswith("penguin_outlook: COMPLETED")
    assert text(outputs["run-machine-outlook"], "text/plain") == "True"
    assert "arn:aws:states:::lambda:invoke" in text(outputs["definition"], "stdout")
    assert text(outputs["runs"], "text/plain").count("penguin-outlook-") == 3
    assert text(outputs["logs"], "text/plain").startswith("colonies  3 colonies, ")
    assert "dagy-outlook" in text(outputs["status"], "stdout")
    assert "widget-view" not in str(outputs)


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_nodes_of_a_notebook_become_a_document_a_deployment_and_a_module(folder: Path) -> None:
    outputs = run(folder / "08_nodes.ipynb")

    assert "\nbranch " in text(outputs["nodes"], "text/plain")
    assert text(outputs["page"], "text/plain").startswith("filter: Filter rows (transform, version 1.0.0)")
    assert text(outputs["weigh"], "text/plain") == (
        "node 'weigh' takes frame: dataframe and gives weight: string; configured by decimals"
    )
    assert text(outputs["form-node"], "text/plain") == "'342 penguins weigh 4.2 kg on average'"
    gentoo, chinstrap = "'123 penguins weigh 5.08 kg on average'", "'only 68 penguins were weighed'"
    assert text(outputs["run-value"], "text/plain") == gentoo
    assert "weigh · skipped" in text(outputs["run-other"], "text/plain")
    assert chinstrap in text(outputs["run-other"], "text/plain")
    assert text(outputs["faults"], "stdout").splitlines() == [
        "node 'more': there is no node type 'filtre'; did you mean 'filter'?",
        "edge 'known' -> 'weigh' leads to 'fram' of node 'weigh', which has no such inbound connector; "
        "did you mean 'frame'?",
    ]
    for cell in ("dag", "document", "graph-run"):
        assert "data:image/svg+xml" in text(outputs[cell], "text/html")
    for cell in ("graph-value", "run-deployed-value"):
        assert text(outputs[cell], "text/plain") == "'151 penguins weigh 3.70 kg on average'"
    assert "@flow\ndef penguin_weight(" in text(outputs["python"], "stdout")
    assert "built penguin_weight" in text(outputs["build"], "text/plain")
    assert "gives the notebook's results in a clean process (6 tasks)" in text(outputs["deploy"], "text/plain")
    assert "only 68 penguins were weighed" in text(outputs["cli"], "stdout")
    assert "widget-view" not in str(outputs)


# As a reader uses them: every notebook, in each way there is. One that needs what only a test has is named here.

NEEDS_SITE = {"02_web_scraper.ipynb"}

# What the flows of a notebook give, told the same way in a kernel and in a process that knows none.
TELL = """
def told(value):
    import collections.abc, json
    if hasattr(value, "to_csv"):
        return value.to_csv()
    if hasattr(value, "savefig"):
        return [axes.get_title() for axes in value.axes]
    if isinstance(value, collections.abc.Mapping):
        return {str(key): told(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [told(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else str(value)
"""

MODULE = """
import importlib, json, sys, dagy
module = importlib.import_module(sys.argv[1])
flows = [each for each in vars(module).values() if isinstance(each, dagy.Flow)]
print(json.dumps({each.name: told(each.run_local(**json.loads(sys.argv[2])).value) for each in flows}))
print(json.dumps(sorted({"IPython", "dagy_nb", "ipykernel"} & set(sys.modules))))
"""

KERNEL = """
import json, dagy_nb
print(json.dumps([told(dagy_nb.run(name, **PARAMETERS).wait().value) for name in NAMES]))
"""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a web site of one page."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<title>Antarctic news</title>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(params=[*NOTEBOOKS, *OTHER_STYLES], ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook, in a copy of its folder, which is the working directory."""
    found: Path = folder.parent / request.param.parent.name / request.param.name
    if not found.exists():
        shutil.copytree(request.param.parent, found.parent, dirs_exist_ok=True)
    monkeypatch.chdir(found.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, found.stem, raising=False)
    return found


@pytest.fixture
def parameters(path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """What the notebook's flows are run with."""
    return {"url": request.getfixturevalue("site")} if path.name in NEEDS_SITE else {}


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_the_exported_module_gives_what_the_notebook_gives(path: Path, parameters: dict[str, str]) -> None:
    assert dagy("export", path.name, "-o", "exported.py") == ExitCode.SUCCESS
    done = subprocess.run(
        [sys.executable, "-c", TELL + MODULE, "exported", json.dumps(parameters)],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results, notebook_modules = map(json.loads, done.stdout.splitlines()[-2:])
    imports_ipython = "from IPython" in Path("exported.py").read_text("utf-8")  # as a task's own code may
    assert notebook_modules == (["IPython"] if imports_ipython else [])

    # Of several flows each by its name; the only one has none where nobody told the kernel how its notebook is called.
    names = [*results] if len(results) > 1 else [None]
    last = TELL + KERNEL.replace("NAMES", repr(names)).replace("PARAMETERS", repr(parameters))
    outputs = run(path, last=last, without="aws")
    assert json.loads(text(outputs["last"], "stdout").splitlines()[-1]) == [*results.values()]
    assert "widget-view" not in str(outputs)


@pytest.mark.timeout(300)
def test_it_runs_from_the_command_line(path: Path, parameters: dict[str, str]) -> None:
    given = [word for name, value in parameters.items() for word in ("--param", f"{name}={value}")]
    for target in targets(path):
        done = subprocess.run(
            [sys.executable, "-m", "dagy", "run", target, *given],
            cwd=path.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == ExitCode.SUCCESS, done.stderr
        assert "COMPLETED" in done.stdout


def test_it_is_drawn_and_built_twice_into_the_same_bytes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target in targets(path):
        for form in ("text", "svg", "dot"):
            assert dagy("draw", target, "--format", form) == ExitCode.SUCCESS
        drawn = capsys.readouterr()
        assert "</svg>" in drawn.out
        assert drawn.err == ""
        for folder in ("one", "two"):
            assert dagy("build", target, "--output-dir", folder) == ExitCode.SUCCESS
        (one,), (two,) = ([*Path(folder).rglob("artifact.zip")] for folder in ("one", "two"))
        assert one.relative_to("one") == two.relative_to("two")
        assert one.read_bytes() == two.read_bytes()
        shutil.rmtree("one")
        shutil.rmtree("two")


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_papermill_gives_the_parameters_cell_other_values(folder: Path) -> None:
    source = shutil.copy(ROOT / "tests" / "notebooks" / "papermill_parameters.ipynb", folder)
    given = [sys.executable, "-m", "papermill", "--no-progress-bar", "-p", "years", "20", source, "out.ipynb"]
    done = subprocess.run(given, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(folder / "out.ipynb", as_version=4).cells
    (outcome,) = [cell.outputs for cell in cells if cell.id == "outcome"]
    assert ast.literal_eval(text(outcome, "text/plain"))["doubled after"] == 18


def targets(path: Path) -> list[str]:
    """`FILE:FLOW` for each flow of the notebook, and `FILE` alone where there is one."""
    cells = notebook_cells(path)
    flows = export_module(cells, name=identifier(path.stem, default="notebook"), source_name=path.name).flows
    return [f"{path.name}:{name}" for name in flows] if len(flows) > 1 else [path.name]


def dagy(*words: str) -> ExitCode:
    """How a command ends, run in this process."""
    return app.run(words)


def run(path: Path, *, last: str = "", without: str = "") -> dict[str, list[Output]]:
    """Every code cell's outputs by the cell's id, after the notebook at `path` ran from top to bottom.

    `last` is the text of one more cell, called "last"; cells that are tagged `without` are left out.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [each for each in notebook.cells if without not in each.metadata.get("tags", ())]
    if last:
        notebook.cells.append(nbformat.v4.new_code_cell(last, id="last"))
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
