"""What `%dagy_load` needs: a task's source, and the inputs that a past run gave it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dagy import Flow, RunResult
from dagy.errors import DefinitionError, ResultGoneError, UnknownRunError, UnknownTaskError
from dagy_nb.cells import Cell
from dagy_nb.loading import cell_of, is_statements, task_body, task_inputs, task_source
from dagy_nb.notebook import Notebook

LOAD = "%%dagy_task load\ndef load(rows: int = 3):\n    return list(range(rows))"
TOTAL = "\n%%dagy_task total --retries 1\n# all of it\ntotal = sum(load)\ntop = max(load)"
SHARE = "#| dagy_task share\nshare = top / total"
PLAIN = "from dagy import task\n\n@task(name='double it')\ndef double(x):\n    return 2 * x"


@pytest.fixture
def notebook() -> Notebook:
    """A notebook whose cells have run."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    made = Notebook(namespace)
    for number, source in enumerate((LOAD, TOTAL, SHARE, PLAIN), 1):
        cell = Cell(f"id-{number}", source, f"cell [{number}]")
        text = source.replace("%%dagy_task", "#")
        if number in (1, 4):
            exec(compile(text, f"cell-{number}", "exec"), namespace)
        made.keep(cell, f"cell-{number}")
    return made


def ran(notebook: Notebook, **parameters: Any) -> RunResult:
    flow: Flow[..., Any] = notebook.flow()
    return flow.run_local(keep_results=True, **parameters)


def test_the_source_of_a_task_is_its_cell(notebook: Notebook) -> None:
    assert task_source(notebook, "load") == LOAD
    assert task_source(notebook, "total") == TOTAL
    assert task_source(notebook, "double it") == PLAIN


def test_the_body_of_a_task_has_no_directive(notebook: Notebook) -> None:
    assert task_body(notebook, "total") == "# all of it\ntotal = sum(load)\ntop = max(load)"
    assert task_body(notebook, "share") == "share = top / total"
    assert task_body(notebook, "load") == LOAD.partition("\n")[2]
    assert task_body(notebook, "double it") == PLAIN


def test_statements_with_a_return_are_loaded_as_the_function_that_they_make() -> None:
    notebook = Notebook({})
    for number, source in enumerate(("rows = [1]", "size\n# of them\nif rows:\n    return 'some'\nreturn 'none'"), 1):
        directive = "%%dagy_task\n" if number == 1 else "%%dagy_task "
        notebook.keep(Cell(f"id-{number}", directive + source, f"cell [{number}]"), "", has_run=False)
    assert task_body(notebook, "size") == (
        "def size(rows):\n    # of them\n    if rows:\n        return 'some'\n    return 'none'"
    )
    assert not is_statements(notebook, "size")


def test_what_a_task_is_written_as_and_where_can_be_asked_for(notebook: Notebook) -> None:
    assert [cell_of(notebook, name) for name in ("total", "double it", "nosuch")] == ["cell [2]", "cell [4]", ""]
    assert [is_statements(notebook, name) for name in ("total", "load", "double it")] == [True, False, False]


def test_the_source_of_an_imported_task_is_its_function(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shared_steps.py"
    path.write_text("from dagy import task\n\n@task\ndef shared(x):\n    return x\n\nY = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module: ModuleType = __import__("shared_steps")
    notebook.namespace["shared"] = vars(module)["shared"]
    assert task_source(notebook, "shared") == "@task\ndef shared(x):\n    return x\n"
    sys.modules.pop("shared_steps")
    with pytest.raises(UnknownTaskError, match="did you mean 'shared'"):
        task_source(notebook, "shared_")


def test_the_inputs_of_a_task_are_what_its_run_gave_it(notebook: Notebook) -> None:
    result = ran(notebook, rows=4)
    assert dict(task_inputs(result, "load")) == {"rows": 4}
    assert dict(task_inputs(result, "total")) == {"load": [0, 1, 2, 3]}
    assert dict(task_inputs(result, "share")) == {"top": 3, "total": 6}
    names = dict(task_inputs(result, "share"))
    exec(task_body(notebook, "share"), names)
    assert names["share"] == result["share"] == 0.5
    with pytest.raises(UnknownTaskError, match="did you mean 'share'"):
        task_inputs(result, "shar")


def test_inputs_that_were_not_made_are_named(notebook: Notebook) -> None:
    flow = notebook.flow()
    failed = flow.run_local(fail_fast=False, rows=0)  # of nothing there is no greatest
    with pytest.raises(ResultGoneError, match=r"the input 'top' of task 'share' is not in run .*'total' has no result"):
        task_inputs(failed, "share")


def test_inputs_come_from_the_history_too(notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(tmp_path / "local"))
    result = notebook.flow().run_local(record=True, rows=5)
    for reference in (result.run_id, "latest"):
        assert dict(task_inputs(reference, "share", local_dir=tmp_path / "local")) == {"top": 4, "total": 10}
        assert dict(task_inputs(reference, "load", local_dir=tmp_path / "local")) == {"rows": 5}
    with pytest.raises(UnknownRunError):
        task_inputs("no-such-run", "load", local_dir=tmp_path / "local")
    with pytest.raises(DefinitionError, match="local_dir"):
        task_inputs("latest", "load")
