"""A notebook's flow in a clean process, and the proof that the artifact gives the notebook's results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagy import RunResult, StateType
from dagy.artifact import Artifact, Source, build, load_flow
from dagy.engine import TaskShowed, error_text
from dagy.errors import DefinitionError
from dagy_nb.cells import Cell
from dagy_nb.export import Export, export_module
from dagy_nb.fresh import ModulePlaces, start_fresh
from dagy_nb.proof import NotebookRun, compared, prove

SOURCES = (
    "from dataclasses import dataclass\n\nLIMIT = 2\n\n@dataclass\nclass Row:\n    price: int",
    "%%dagy_task load\n# the rows\ndef load(rows: int = 3):\n    return [Row(n) for n in range(rows)]",
    "%%dagy_task total\ntotal = sum(each.price for each in load)\nif total > LIMIT + 100:\n"
    "    raise ValueError('too much')",
)
CELLS = tuple(Cell(f"id-{n}", source, f"cell [{n}]") for n, source in enumerate(SOURCES, 1))


def exported(cells: tuple[Cell, ...] = CELLS) -> Export:
    return export_module(cells, name="shop", source_name="shop.ipynb")


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., tuple[Artifact, RunResult]]:
    """The artifact of cells, and how their flow ran here; the artifact of other cells, if some are given."""

    def made(parameters: Mapping[str, Any], cells: tuple[Cell, ...] = CELLS) -> tuple[Artifact, RunResult]:
        here = load_flow(Source(tmp_path / "shop.ipynb", "shop", exported().text))
        result = here.run_local(fail_fast=False, keep_results=True, **parameters)
        source = Source(tmp_path / "shop.ipynb", "shop", exported(cells).text, exported(cells).cells)
        return build(source, load_flow(source), tmp_path / "dist"), result

    return made


class Ended:
    """A notebook's run that has ended."""

    def __init__(self, result: RunResult, *, done: bool = True) -> None:
        self.result = result
        self.done = done

    def wait(self, timeout: float | None = None) -> RunResult:
        return self.result


def test_lines_of_the_module_are_found_in_the_cells() -> None:
    text = exported().text
    places = ModulePlaces(text, "/there/shop.ipynb", CELLS)
    lines = text.splitlines()
    raises = lines.index('        raise ValueError("too much")') + 1
    assert places.place_of("/there/shop.ipynb", raises) == ("cell [3]", 4)
    assert places.place_of("/there/shop.ipynb", lines.index("    return [Row(n) for n in range(rows)]") + 1) == (
        "cell [2]",
        4,
    )
    flow = lines.index("@flow") + 1
    assert places.place_of("/there/shop.ipynb", flow) == ("/there/shop.ipynb", flow)
    assert places.place_of("/there/other.py", raises) is None
    assert places.place_of("/there/shop.ipynb", 10_000) is None
    artifact = ModulePlaces(text, "shop.py", CELLS)
    assert artifact.place_of("/unpacked/code/shop.py", raises) == ("cell [3]", 4)
    assert artifact.place_of("/unpacked/code/inner/shop.py", raises) is None


def test_a_proof_needs_a_finished_run_of_the_same_flow(built: Callable[..., tuple[Artifact, RunResult]]) -> None:
    artifact, result = built({})
    other = replace(result, spec=replace(result.spec, name="other"))
    wrong: list[tuple[NotebookRun | None, str]] = [
        (None, "there is no run to compare with; run the flow first: %dagy_run shop"),
        (Ended(result, done=False), "goes on"),
        (Ended(other), "of flow 'other'"),
    ]
    for run, message in wrong:
        with pytest.raises(DefinitionError, match=message):
            prove(artifact, run)


def test_a_proof_tells_what_differs_task_by_task_and_escapes_what_it_shows(
    built: Callable[..., tuple[Artifact, RunResult]],
) -> None:
    artifact, result = built({})
    bad = "<script>alert(1)</script>"
    runs = dict(result.task_runs)
    runs["total"] = replace(runs["total"], value=bad)
    proof = compared(artifact, replace(result, task_runs=runs), result)
    assert [(each.task, each.verdict) for each in proof.tasks] == [("load", "equal"), ("total", "differs")]
    assert not proof.agrees
    bundle = proof._repr_mimebundle_()
    assert "<script" not in bundle["text/html"]
    assert "<code" not in bundle["text/html"]
    assert bundle["text/html"].count("text-align:left") == 3 * 4
    assert "total: differs: the types differ: str, and int" in bundle["text/plain"]
    assert "give it a seed" in str(proof)


def test_a_task_of_one_side_alone_is_missing_or_differs(built: Callable[..., tuple[Artifact, RunResult]]) -> None:
    artifact, result = built({})
    without = replace(result, task_runs={"load": result.task_runs["load"]})
    assert [each.verdict for each in compared(artifact, result, without).tasks] == ["equal", "missing"]
    broken = dict(result.task_runs)
    broken["total"] = replace(broken["total"], state=replace(broken["total"].state, type=StateType.FAILED))
    proof = compared(artifact, result, replace(result, task_runs=broken))
    assert str(proof.tasks[1]) == "✗ total: differs: COMPLETED in the notebook, FAILED in the clean run"


def test_a_task_that_failed_for_another_reason_differs(built: Callable[..., tuple[Artifact, RunResult]]) -> None:
    artifact, result = built({"rows": 30})
    assert not result.state.is_completed
    assert [each.verdict for each in compared(artifact, result, result).tasks] == ["equal", "not comparable"]
    other = dict(result.task_runs)
    state = replace(other["total"].state, message="ModuleNotFoundError: No module named 'shop_tools'")
    other["total"] = replace(other["total"], state=state)
    proof = compared(artifact, result, replace(result, task_runs=other))
    assert not proof.agrees
    assert "FAILED: ModuleNotFoundError: No module named 'shop_tools' in the clean run" in str(proof)


@pytest.mark.program
def test_a_fresh_run_starts_from_the_exported_cells_and_names_them_in_tracebacks(tmp_path: Path) -> None:
    run = start_fresh(exported(), "shop", {"rows": 30}, path=tmp_path / "shop.ipynb", cells=CELLS, fail_fast=False)
    result = run.wait()
    assert result.status is StateType.FAILED
    text = error_text(run.task_run("total").error)
    assert 'File "cell [3]", line 4, in total' in text
    assert "raise ValueError('too much')" in text


@pytest.mark.program
def test_what_a_fresh_run_displays_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    source = "%%dagy_task\nfrom IPython.display import HTML, display as show\nshow(HTML('<b>1</b>'))\nshown = 1"
    cell = Cell("a", source, "cell [1]")
    run = start_fresh(export_module([cell], name="shop"), None, {}, path=tmp_path / "shop.ipynb")
    shown = [each for each in run.events() if isinstance(each, TaskShowed)]
    assert [each.data["text/html"] for each in shown] == ["<b>1</b>"]


@pytest.mark.program
def test_an_artifact_of_the_same_cells_is_proven_and_one_of_edited_cells_is_not(
    built: Callable[..., tuple[Artifact, RunResult]], tmp_path: Path
) -> None:
    artifact, result = built({"rows": 4})
    namespace: dict[str, Any] = {"Row": type(result["load"][0])}
    proof = prove(artifact, Ended(result), namespace=namespace, directory=tmp_path)
    assert proof.agrees, str(proof)
    assert str(proof).splitlines()[0] == (
        f"proven: shop {artifact.manifest.build_id} gives the notebook's results in a clean process (2 tasks)"
    )

    edited = (*CELLS[:2], replace(CELLS[2], source="%%dagy_task total\ntotal = sum(each.price for each in load) + 1"))
    artifact, result = built({"rows": 4}, edited)
    proof = prove(artifact, Ended(result), namespace=namespace, directory=tmp_path)
    assert not proof.agrees
    assert str(proof.tasks[1]) == "✗ total: differs: 6, and 7"


@pytest.mark.program
def test_a_proof_leaves_no_figure_of_the_clean_process_open(tmp_path: Path) -> None:
    pyplot: Any = pytest.importorskip("matplotlib.pyplot")
    lines = ["%%dagy_task", "import matplotlib", "matplotlib.use('agg')", "import matplotlib.pyplot as plt"]
    cell = Cell("a", "\n".join([*lines, "figure = plt.figure()"]), "cell [1]")
    source = Source(tmp_path / "shop.ipynb", "shop", export_module([cell], name="shop").text)
    flow = load_flow(source)
    result = flow.run_local(keep_results=True)
    try:
        before = pyplot.get_fignums()
        proof = prove(build(source, flow, tmp_path / "dist"), Ended(result), directory=tmp_path)
        assert proof.tasks[0].verdict == "not comparable"
        assert type(proof.clean["figure"]) is pyplot.Figure  # which was read, and is there
        assert pyplot.get_fignums() == before
    finally:
        pyplot.close(result["figure"])
