"""What the magics do, without IPython: a notebook, a screen, and their session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagy.errors import DefinitionError, ExportError, NotebookError, TaskFailedError, UnknownFlowError
from dagy_nb.cells import Cell
from dagy_nb.notebook import Notebook
from dagy_nb.notebook_path import PathFinder
from dagy_nb.session import Session

from .conftest import RecordingScreen


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(tmp_path)
    return Session(Notebook({}, path=Path("etl.ipynb")), RecordingScreen())


def run_cell(session: Session, source: str, cell_id: str = "") -> list[str]:
    """Run a cell as a kernel would; its card."""
    notebook = session.notebook
    number = len(notebook.cells) + 1
    cell = Cell(cell_id, source, f"cell {number}")
    defined = notebook.check(cell)
    waits_for = notebook.waits_for(defined)
    if not waits_for:
        lines = source.split("\n")
        text = "\n".join(["", *lines[1:]] if lines[0].startswith("%%") else lines)
        exec(compile(text, f"<{number}>", "exec"), notebook.namespace)  # type: ignore[arg-type]
    kept = notebook.keep(cell, f"<{number}>")
    return [] if kept is None else session.card(kept, waits_for)


def test_a_run_is_shown_and_returned(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load(n=3):\n    return n")
    run = session.run(None, {"n": 4})
    assert run["load"] == 4
    assert isinstance(session.screen, RecordingScreen)
    assert "etl: COMPLETED" in session.screen.still["text/plain"]


def test_a_run_that_failed_is_raised_unless_it_may_fail(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1 / 0")
    with pytest.raises(TaskFailedError, match="task 'load' of flow 'etl': FAILED"):
        session.run()
    assert session.run(must_complete=False).state.is_final


def test_a_traceback_calls_cells_as_the_notebook_does(session: Session) -> None:
    run_cell(session, "x = 1")
    run_cell(session, "%%dagy_task\ndef load():\n    return 1 / 0")
    with pytest.raises(TaskFailedError) as caught:
        session.run()
    assert "Cell 2, line 3, in load" in "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]


def test_a_background_run_raises_nothing(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1 / 0")
    run = session.run(background=True)
    assert run.wait(60).state.type == "FAILED"


def test_a_flow_is_itself_and_a_name_is_looked_up(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1")
    made = session.flow()
    assert session.flow(made) is made
    assert session.flow("etl").name == "etl"
    with pytest.raises(UnknownFlowError, match="there is no flow 'elt'; did you mean 'etl'"):
        session.flow("elt")


@pytest.mark.parametrize(
    ("source", "card"),
    [
        ("%%dagy_task\ndef load(n, m=2):\n    return n", ["task 'load'; parameters n, m"]),
        ("%%dagy_task\nx = 1", ["task 'x'"]),
        ("%%dagy_flow\ndef pipe():\n    pass", ["flow 'pipe'"]),
        ("%%dagy_flow\nx = 1", ["flow 'etl'"]),
        ("x = 1", []),
    ],
)
def test_a_card_says_what_the_cell_has_become(session: Session, source: str, card: list[str]) -> None:
    assert run_cell(session, source) == card


def test_a_card_says_where_inputs_come_from(session: Session) -> None:
    run_cell(session, "%%dagy_task make\na, b = 1, 2")
    assert run_cell(session, "%%dagy_task\nc = a + b") == ["task 'c' takes a from make, b from make"]


def test_a_card_warns_of_what_may_not_be_meant(session: Session) -> None:
    run_cell(session, "%%dagy_task\nlimit = 3")
    first, *problems = run_cell(session, "%%dagy_task\ndef load():\n    return limit")
    assert first == "task 'load'"
    assert problems == [
        "cell 2: task 'load' reads 'limit', which cell 1 makes, past its parameters; "
        "add 'limit' as a parameter so that the graph knows"
    ]


def test_a_card_says_that_a_helper_sees_the_notebooks_value_and_not_the_runs(session: Session) -> None:
    run_cell(session, "%%dagy_task\nk = 3")
    run_cell(session, "def tri(x): return x * k")
    _, problem = run_cell(session, "%%dagy_task\nz = tri(4)")
    assert problem.startswith("cell 3: task 'z' calls 'tri', which reads 'k' that cell 1 (task 'k') makes")


def test_a_card_warns_of_a_race_only_where_a_flow_is_written_by_hand(session: Session) -> None:
    change = "%%dagy_task extend\ndf['a'] = 1"
    run_cell(session, "%%dagy_task\ndf = {}")
    run_cell(session, "%%dagy_task count\nn = len(df)")
    assert not any("may read it" in line for line in run_cell(session, change, "c"))
    run_cell(session, "%%dagy_flow etl\ndef etl():\n    return extend(load())")
    assert "changes 'df' in place while task 'count' (cell 2) may read it" in run_cell(session, change, "c")[1]


def test_a_card_tells_a_list_of_the_notebook_that_is_lengthened_from_a_number_that_is_counted_up(
    session: Session,
) -> None:
    run_cell(session, "rows, n, more = [], 0, [1]")
    assert len(run_cell(session, "%%dagy_task\nn += 1")) == 1
    _, problem = run_cell(session, "%%dagy_task\nrows += more")
    assert "task 'rows' changes 'rows' in place, which an ordinary cell made" in problem


def test_a_card_says_that_two_cells_do_not_fit(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1", "a")
    first, problem = run_cell(session, "%%dagy_task\ndef load():\n    return 2", "b")
    assert first == "task 'load'"
    assert problem == (
        "cell 2: it defines the task 'load', as cell 1 does; give one of them another name, or forget one with "
        "%dagy_reset 2"
    )


def test_an_export_is_the_module_and_may_be_written(session: Session, tmp_path: Path) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1")
    made = session.export()
    assert made.flows == ("etl",)
    assert session.export(tmp_path / "deep" / "er" / "flow.py") == made
    assert (tmp_path / "deep" / "er" / "flow.py").read_text("utf-8") == made.text


def test_an_export_never_writes_over_a_file_unasked(session: Session, tmp_path: Path) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1")
    path = tmp_path / "flow.py"
    path.write_text("mine", "utf-8")
    with pytest.raises(DefinitionError, match="did not write it"):
        session.export(path)
    with pytest.raises(DefinitionError, match="not the name of a Python module; write for example flow"):
        session.export(tmp_path / "flow.ipynb", force=True)
    assert path.read_text("utf-8") == "mine"
    session.export(path, force=True)
    assert "def load" in path.read_text("utf-8")


def test_a_notebook_without_a_flow_has_nothing_to_export(session: Session) -> None:
    run_cell(session, "x = 1")
    with pytest.raises(ExportError, match="begin a cell with %%dagy_task"):
        session.export()


def test_a_build_is_named_after_the_flow(session: Session, tmp_path: Path) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1")
    made = session.build(output_dir=tmp_path / "out")
    assert made.path.parts[-3] == "etl"
    assert made.path.is_relative_to(tmp_path / "out")


def test_a_build_where_there_is_a_choice_asks_as_a_run_does(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load():\n    return 1", "a")
    run_cell(session, "%%dagy_flow first\nload()", "b")
    run_cell(session, "%%dagy_flow second\nload()", "c")
    with pytest.raises(DefinitionError, match="the notebook has 2 flows; name one of them: first, second"):
        session.build()
    assert session.build("second").path.parts[-3] == "second"


# ---- the notebook's file


def saved(path: Path, *ids: str) -> None:
    cells = [{"cell_type": "code", "id": each, "source": "", "outputs": []} for each in ids]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}), "utf-8")


def order(session: Session) -> list[str]:
    session.look()
    return [each.id for each in session.notebook.cells]


def test_the_order_is_the_files_as_it_could_be_read_last(tmp_path: Path) -> None:
    finder = PathFinder("", {}, {})
    session = Session(Notebook({}), RecordingScreen(), finder)
    for name in ("b", "a", "c"):
        run_cell(session, f"{name} = 1", name)
    assert order(session) == ["b", "a", "c"]
    finder.given = path = tmp_path / "etl.ipynb"
    saved(path, "a", "b", "c")
    assert order(session) == ["a", "b", "c"]
    assert session.notebook.name == "etl"
    path.write_text("{half", "utf-8")  # another order would give a run other results
    assert order(session) == ["a", "b", "c"]
    saved(path, "c", "b", "a", "markdown")
    assert order(session) == ["c", "b", "a"]
    path.unlink()
    assert order(session) == ["c", "b", "a"]


def test_a_file_that_can_not_be_read_is_not_taken_for_the_notebooks(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match=r"nosuch\.ipynb can't be read"):
        session.name_file(tmp_path / "nosuch.ipynb")
    saved(tmp_path / "etl.ipynb", "a")
    session.name_file(tmp_path / "etl.ipynb")


def test_a_drawn_flow_is_its_flow_and_shows_the_marks(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load(n=3):\n    return n", "a")
    session.notebook.failed(Cell("a", "%%dagy_task\ndef load(:", "cell 2"))
    drawn = session.drawn()
    assert (drawn.marks, drawn.run_local(n=4).value) == ({"load": "failed edit"}, 4)
    bundle = drawn._repr_mimebundle_()
    assert "failed edit" in bundle["text/plain"]
    assert "failed edit" in bundle["text/html"]


def test_a_flow_that_can_not_be_drawn_without_a_value_says_so(session: Session) -> None:
    run_cell(session, "from dagy import Static, flow\n@flow\ndef wide(n: Static[int]):\n    pass")
    assert "'n' shapes the graph and has no default" in session.drawn()._repr_mimebundle_()["text/plain"]


def test_the_inputs_of_a_run_under_way_are_not_waited_for(session: Session) -> None:
    run_cell(session, "import threading\nmay_end = threading.Event()")
    run_cell(session, "%%dagy_task\ndef load():\n    return may_end.wait(10)")
    run = session.run(background=True)
    try:
        with pytest.raises(DefinitionError, match="is still under way; load what it was given once it has ended"):
            session.load("load", run="latest")
    finally:
        session.notebook.namespace["may_end"].set()
        run.wait()


def test_a_cell_that_tries_a_task_by_hand_is_part_of_no_flow_and_no_export(session: Session) -> None:
    run_cell(session, "%%dagy_task\ndef load(n=3):\n    return list(range(n))")
    run_cell(session, "%%dagy_task\nmost = max(load)")
    run_cell(session, "%%dagy_task\nresult = (load, most)")
    session.run()
    before = session.export().text
    run_cell(session, session.load("most", run="latest").text)
    assert session.notebook.namespace["most"] == 2
    assert session.run()["result"] == ([0, 1, 2], 2)
    check = session.check()
    assert check.is_clean
    assert [str(each.reason) for each in check.left_out] == ["it only tries something by hand"]
    assert session.export().text == before
