"""The kept cells of a notebook, and the flows they make, without IPython."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from dagy import Flow, Task
from dagy.errors import CycleError, DefinitionError, UnknownFlowError, UnknownTaskError
from dagy_nb.cells import Cell
from dagy_nb.notebook import Defined, Notebook
from dagy_nb.notebook_file import SavedNotebook
from dagy_nb.session import DrawnFlow


@pytest.fixture
def notebook() -> Notebook:
    return Notebook({}, path=Path("etl.ipynb"))


def keep(notebook: Notebook, source: str, cell_id: str = "") -> Defined | None:
    """Run a cell as a kernel would, its magic's line aside, and keep it."""
    number = len(notebook.cells) + 1
    cell = Cell(cell_id, source, f"cell {number}")
    defined = notebook.check(cell)
    notebook.about_to_run(defined)
    has_run = not notebook.waits_for(defined)
    if has_run:
        lines = source.split("\n")
        text = "\n".join(["", *lines[1:]]) if lines[0].startswith("%%") else source
        flags = notebook._compiler_flags()
        exec(compile(text, f"<{number}>", "exec", flags=flags), notebook.namespace)  # type: ignore[arg-type]
    return notebook.keep(cell, f"<{number}>", has_run=has_run)


def task_names(notebook: Notebook) -> list[str]:
    return [each.name for each in notebook.tasks()]


def value(flow: Flow[..., Any], **parameters: Any) -> Any:
    return flow.run_local(**parameters).value


# ---- names


@pytest.mark.parametrize(
    ("file", "name"),
    [("etl", "etl"), ("01_quick start", "quick_start"), ("02-web", "web"), ("", "notebook"), ("123", "notebook")],
)
def test_a_notebook_is_named_after_its_file(file: str, name: str) -> None:
    assert Notebook({}, path=Path(file)).name == name


@given(st.text())
def test_the_name_of_a_notebook_is_always_a_python_name(file: str) -> None:
    assert Notebook({}, path=Path(file)).name.isidentifier()


# ---- keeping


def test_an_ordinary_cell_defines_nothing_and_is_kept(notebook: Notebook) -> None:
    assert keep(notebook, "x = 1") is None
    assert [each.source for each in notebook.cells] == ["x = 1"]


def test_a_function_is_a_task_under_its_name_and_still_callable(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load(n=3):\n    return n")
    made = notebook.namespace["load"]
    assert isinstance(made, Task)
    assert (made.name, made(5)) == ("load", 5)


def test_keeping_a_function_twice_does_not_wrap_it_twice(notebook: Notebook) -> None:
    cell = Cell("a", "%%dagy_task\ndef load():\n    return 1", "cell 1")
    keep(notebook, cell.source, "a")
    notebook.keep(cell, "<1>")
    assert not isinstance(notebook.namespace["load"].function, Task)


def test_the_options_of_a_cell_are_those_of_its_task(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task fetch --retries 2 --retry-delay 1,5 --timeout 60\ndef load():\n    return 1")
    made = notebook.namespace["load"]
    assert (made.name, made.options.retries, made.options.timeout_seconds) == ("fetch", 2, 60.0)
    (spec,) = notebook.flow().spec.tasks
    assert (spec.name, spec.options.retries, tuple(spec.options.retry_delays)) == ("fetch", 2, (1, 5))


def test_a_cell_with_an_id_replaces_itself_in_its_place(notebook: Notebook) -> None:
    keep(notebook, "x = 1", "a")
    keep(notebook, "y = 2", "b")
    keep(notebook, "x = 3", "a")
    assert [each.source for each in notebook.cells] == ["x = 3", "y = 2"]


def test_a_cell_that_gets_an_id_later_stays_one_cell_in_its_place(notebook: Notebook) -> None:
    keep(notebook, "x = 1")
    keep(notebook, "y = 2")
    keep(notebook, "x = 1", "a")
    assert [(each.id, each.source) for each in notebook.cells] == [("a", "x = 1"), ("", "y = 2")]


def test_without_ids_a_task_replaces_the_task_of_its_name(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 1")
    keep(notebook, "%%dagy_task\ndef load():\n    return 2")
    keep(notebook, "%%dagy_flow load\nresult = load()")  # a flow of that name is another thing
    assert task_names(notebook) == ["load"]
    assert len(notebook.cells) == 2
    assert notebook.flow().name == "load"
    assert value(notebook.flow()) == 2


def test_without_ids_a_cell_that_is_edited_stays_in_its_place(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 1")
    keep(notebook, "%%dagy_task\ndef total(load):\n    return load")
    keep(notebook, "%%dagy_task\ndef load():\n    return 2")
    keep(notebook, "%%dagy_task\ndef load():\n    return 2")
    assert task_names(notebook) == ["load", "total"]


def test_two_cells_with_ids_and_one_task_name_are_refused_with_both_cells(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 1", "a")
    keep(notebook, "%%dagy_task\ndef load():\n    return 2", "b")
    with pytest.raises(DefinitionError, match="cell 1 and cell 2 both define the task 'load'; rename one, or delete"):
        notebook.flow()


def test_a_copy_is_refused_and_told_apart_from_its_original(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task load\ndef load():\n    return 1", "a")
    keep(notebook, "\n#| dagy_task\ndef load():\n    return 1  ", "b")
    told = "cell 2 is a copy of cell 1, and both define the task 'load'; .* forget the copy with %dagy_reset 2"
    with pytest.raises(DefinitionError, match=told):
        notebook.flow()
    with pytest.raises(DefinitionError, match=told):
        notebook.tasks()
    notebook.forget("2")
    assert value(notebook.flow()) == 1


def test_of_a_cell_that_failed_nothing_is_kept_and_that_is_known(notebook: Notebook) -> None:
    cell = Cell("a", "%%dagy_task --retries x\nrows = 1", "cell 1")
    assert notebook.failed(cell) == notebook.not_kept[0]
    assert [(each.cell, each.kind, each.name) for each in notebook.not_kept] == [(cell, "task", None)]
    assert notebook.failed(Cell("b", "1 / 0", "cell 2")) is None
    keep(notebook, "rows = 1", "a")
    assert notebook.not_kept == ()


def test_a_cell_without_an_id_that_failed_is_known_by_its_task(notebook: Notebook) -> None:
    assert notebook.failed(Cell("", "%%dagy_task --retries x\nrows = 1", "cell 1")) is not None
    assert [*notebook.not_kept] == []  # nothing could tell later that it was mended
    notebook.failed(Cell("", "%%dagy_task\nrows = nothing", "cell 2"))
    notebook.failed(Cell("", "%%dagy_task\nrows = nothing_too", "cell 3"))
    assert [each.name for each in notebook.not_kept] == ["rows"]
    keep(notebook, "%%dagy_task\nrows = 1")
    assert notebook.not_kept == ()
    kept = notebook.failed(Cell("", "%%dagy_task\nrows = nothing", "cell 4"))
    assert (kept, notebook.kept[0].failed_edit) == (notebook.kept[0], "%%dagy_task\nrows = nothing")


def test_cells_that_failed_are_forgotten_with_the_others(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\nrows = 1", "a")
    bad = Cell("b", "%%dagy_task\nmore = nothing", "cell 2")
    for reference in ("more", "2", "b", None):
        notebook.failed(bad)
        assert bad in notebook.forget(reference)
        assert notebook.not_kept == ()


def test_a_task_is_put_back_for_the_flow_that_calls_it_where_it_was_tried_by_hand(notebook: Notebook) -> None:
    keep(notebook, "from dagy import flow\n@flow\ndef etl():\n    return load()")
    keep(notebook, "%%dagy_task\ndef load():\n    return 1")
    keep(notebook, "#| dagy_try\ndef load():\n    return 2")
    assert notebook.namespace["load"]() == 2
    flow = notebook.flow("etl")
    assert [each.name for each in flow.spec.tasks] == ["load"]
    assert value(flow) == 1


@pytest.mark.parametrize("source", ["%%dagy_task\nasync def many():\n    yield 1", "%%dagy_task --retries x\nx = 1"])
def test_a_cell_that_can_not_be_kept_changes_nothing(notebook: Notebook, source: str) -> None:
    keep(notebook, "%%dagy_task\ndef many():\n    return 1")
    before = notebook.cells
    with pytest.raises(DefinitionError):
        keep(notebook, source)
    assert notebook.cells == before
    assert task_names(notebook) == ["many"]


def test_forgetting_keeps_the_names(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 1")
    notebook.forget()
    assert (notebook.cells, task_names(notebook)) == ((), [])
    assert notebook.namespace["load"]() == 1


def test_a_file_is_the_cell_whose_code_it_holds(notebook: Notebook) -> None:
    keep(notebook, "x = 1")
    assert notebook.label_of("<1>") == "cell 1"
    assert notebook.label_of("elsewhere.py") is None


def test_one_cell_is_forgotten_by_its_task_its_number_or_its_id(notebook: Notebook) -> None:
    for name in ("a", "b", "c", "d"):
        keep(notebook, f"%%dagy_task\ndef task_{name}():\n    return 1", f"{name}{name}{name}{name}")
    assert [each.id for each in notebook.forget("task_a")] == ["aaaa"]
    assert [each.id for each in notebook.forget("[2]")] == ["bbbb"]
    assert [each.id for each in notebook.forget("cccc")] == ["cccc"]
    assert task_names(notebook) == ["task_d"]
    with pytest.raises(UnknownTaskError, match="there is no task 'task_x'; did you mean 'task_d'"):
        notebook.forget("task_x")


def test_what_means_two_cells_is_asked_about(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 1", "a")
    keep(notebook, "%%dagy_task\ndef load():\n    return 2", "b")
    with pytest.raises(DefinitionError, match="'load' is in cell 1 and cell 2; give the number of one of the cells"):
        notebook.forget("load")
    notebook.forget("2")
    assert value(notebook.flow()) == 1


# ---- the order of the cells


def saved(*cells: tuple[str, str]) -> SavedNotebook:
    return SavedNotebook(
        Path("etl.ipynb"), 1.0, tuple(Cell(key, text, f"cell {n}") for n, (key, text) in enumerate(cells, 1))
    )


def test_cells_are_in_the_order_of_the_file_and_an_inserted_one_counts_at_its_place(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\nrows = [1]", "a")
    keep(notebook, "%%dagy_task\ntotal = sum(rows)", "c")
    keep(notebook, "%%dagy_task\nrows = [*rows, 2]", "b")
    assert value(notebook.flow())["total"] == 1
    notebook.arrange(saved(("a", ""), ("b", ""), ("c", "")))
    assert [each.id for each in notebook.cells] == ["a", "b", "c"]
    assert value(notebook.flow()) == 3


def test_a_cell_that_the_file_does_not_hold_stays_behind_the_one_that_first_ran_before_it(notebook: Notebook) -> None:
    for name in ("new", "c", "gone", "a", "b"):
        keep(notebook, f"{name} = 1", name)
    notebook.arrange(saved(("a", ""), ("b", ""), ("c", "")))
    assert [each.id for each in notebook.cells] == ["new", "a", "b", "c", "gone"]


def test_without_a_file_of_this_notebook_the_order_is_that_of_first_running(notebook: Notebook) -> None:
    for name in ("b", "a", "b"):
        keep(notebook, f"{name} = 1", name)
    notebook.arrange(saved(("x", "a = 5"), ("y", "b = 5")))
    assert [each.id for each in notebook.cells] == ["b", "a"]
    notebook.arrange(saved(("a", ""), ("b", "")))
    notebook.arrange(None)
    assert [each.id for each in notebook.cells] == ["b", "a"]


def test_cells_without_an_id_of_the_file_are_placed_by_their_text(notebook: Notebook) -> None:
    keep(notebook, "b = 1", "vscode-notebook-cell:/etl.ipynb#W1")
    keep(notebook, "a = 1")
    keep(notebook, "twin = 1")
    notebook.arrange(saved(("1", "a = 1"), ("2", "b = 1\n"), ("3", "twin = 1"), ("4", "twin = 1")))
    assert [each.source for each in notebook.cells] == ["a = 1", "twin = 1", "b = 1"]


# ---- what may be asked without running anything


def test_the_flows_and_their_parameters_can_be_asked_for(notebook: Notebook) -> None:
    assert (notebook.flow_names(), notebook.parameter_names()) == ((), ())
    keep(notebook, "%%dagy_task\ndef load(n, m=2):\n    return n")
    assert (notebook.flow_names(), notebook.parameter_names()) == (("etl",), ("n", "m"))
    keep(notebook, "%%dagy_flow\ndef weekly(day, *, hour=3):\n    load(1)")
    keep(notebook, "%%dagy_flow drawn\nload(1)")
    keep(notebook, "from dagy import flow\n@flow(name='the-plain')\ndef plain(x=1):\n    load(x)")
    assert notebook.flow_names() == ("weekly", "drawn", "plain")
    assert notebook.parameter_names("weekly") == ("day", "hour")
    assert notebook.parameter_names("drawn") == ()
    assert notebook.parameter_names("plain") == notebook.parameter_names("the-plain") == ("x",)
    assert notebook.parameter_names() == notebook.parameter_names("nosuch") == ()


def test_a_flow_that_is_drawn_and_named_is_still_one_flow(notebook: Notebook) -> None:
    keep(notebook, "from dagy import flow\n@flow\ndef plain():\n    pass")
    notebook.namespace["drawn"] = DrawnFlow(notebook.flow(), {})
    assert notebook.flow_names() == ("plain",)
    assert notebook.flow().name == "plain"


# ---- what runs on its own


def test_statements_that_return_only_run_with_their_flow(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task double\nrows = [1, 2]\nreturn [2 * each for each in rows]", "a")
    assert "rows" not in notebook.namespace
    assert value(notebook.flow()) == [2, 4]


def test_what_a_cell_that_was_only_kept_imports_is_there_for_the_others(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 2.5")
    keep(notebook, "%%dagy_task\nimport math\nlow = math.floor(load)")
    keep(notebook, "%%dagy_task\ndef high(load):\n    return math.ceil(load)")
    assert value(notebook.flow()) == {"low": 2, "high": 3}


def test_a_cell_that_was_only_kept_and_imports_what_is_not_there_is_refused(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 2.5")
    with pytest.raises(DefinitionError, match="cell 2, line 2: ModuleNotFoundError: No module named 'nowhere_at_all'"):
        keep(notebook, "%%dagy_task\nimport nowhere_at_all\nlow = load")
    assert task_names(notebook) == ["load"]


def test_statements_that_bind_anew_what_an_ordinary_cell_gave_begin_there_each_time(notebook: Notebook) -> None:
    keep(notebook, "total = 1", "a")
    keep(notebook, "%%dagy_task\ntotal = total + 10", "b")
    assert notebook.namespace["total"] == 11
    assert value(notebook.flow()) == 11
    keep(notebook, "%%dagy_task\ntotal = total + 100", "b")
    assert value(notebook.flow()) == 101
    keep(notebook, "total = 2", "a")
    assert value(notebook.flow()) == 102


def test_annotations_are_not_evaluated_where_the_notebook_has_switched_that_on(notebook: Notebook) -> None:
    keep(notebook, "from __future__ import annotations")
    keep(notebook, "%%dagy_task\ndef load():\n    return 2.5")
    keep(notebook, "%%dagy_task\ndef low(load: NotThere) -> NeitherThere:\n    return load", "x")
    keep(notebook, "%%dagy_task\nx: NotThere = load", "y")
    assert value(notebook.flow()) == {"low": 2.5, "x": 2.5}


def test_a_cell_waits_for_what_only_a_run_makes(notebook: Notebook) -> None:
    keep(notebook, "rows = [1]")
    keep(notebook, "%%dagy_task\ndef load():\n    return [2]")

    def waits_for(source: str) -> tuple[str, ...]:
        return notebook.waits_for(notebook.check(Cell("", source, "cell 9")))

    assert waits_for("%%dagy_task\nx = len(rows)") == ()
    assert waits_for("%%dagy_task\nx = len(load)") == ("load",)
    assert waits_for("%%dagy_task\nx = load()") == ()
    assert waits_for("%%dagy_task\nx = len(load()) + len(load)") == ("load",)
    assert waits_for("%%dagy_task\ndef f(load):\n    return load") == ()
    assert waits_for("%%dagy_task\nx = unheard_of") == ()  # an ordinary NameError when it runs
    assert waits_for("%%dagy_flow\nload()") == ("etl",)
    assert waits_for("%%dagy_flow pipe\nload()") == ("pipe",)
    assert waits_for("%%dagy_flow\ndef pipe():\n    load()") == ()
    assert waits_for("x = load") == ()


# ---- flows


def test_task_cells_joined_by_their_names_are_the_flow(notebook: Notebook) -> None:
    keep(notebook, "FACTOR = 10")
    keep(notebook, "%%dagy_task\ndef load(n: int = 3):\n    return list(range(n))")
    keep(notebook, "%%dagy_task\ntotal = sum(load) * FACTOR")
    keep(notebook, "%%dagy_task\ndef report(total):\n    return f'{total} in all'")
    flow = notebook.flow()
    assert (flow.name, value(flow), value(flow, n=2)) == ("etl", "30 in all", "10 in all")
    assert notebook.flow("etl").spec == flow.spec


def test_what_changes_a_value_runs_after_the_readers_above_it(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task load\na = [1]")
    keep(notebook, "%%dagy_task count\nn = len(a)")
    keep(notebook, "%%dagy_task extend\na += [2]")

    spec = notebook.flow().spec
    assert {each.id: each.after for each in spec.tasks} == {"load": (), "count": (), "extend": ("count",)}
    assert ("count", "extend") in spec.edges
    assert value(notebook.flow()) == {"n": 1, "a": [1, 2]}


def test_a_flow_is_never_older_than_its_cells(notebook: Notebook) -> None:
    keep(notebook, "FACTOR = 10", "a")
    keep(notebook, "%%dagy_task\nx = FACTOR", "b")
    assert value(notebook.flow()) == 10
    keep(notebook, "FACTOR = 20", "a")
    assert value(notebook.flow()) == 20
    keep(notebook, "%%dagy_task\nx = FACTOR + 1", "b")
    assert value(notebook.flow()) == 21


def test_a_joined_flow_may_have_the_name_of_a_task(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef etl():\n    return 1")
    assert (notebook.flow().name, value(notebook.flow())) == ("etl", 1)


def test_statements_do_not_change_the_notebooks_names_when_they_run(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\nx = [1]")
    keep(notebook, "%%dagy_task\ny = x + [2]")
    notebook.namespace.update(x="untouched", y="untouched")
    assert value(notebook.flow()) == [1, 2]
    assert (notebook.namespace["x"], notebook.namespace["y"]) == ("untouched", "untouched")


def test_a_written_flow_wins_over_the_joined_one(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load(n=1):\n    return n")
    keep(notebook, "%%dagy_flow weekly --version 2.0 --description 'Each week'\nresult = load(7)")
    flow = notebook.flow()
    assert (flow.name, flow.version, flow.description) == ("weekly", "2.0", "Each week")
    assert notebook.flow("weekly").spec == flow.spec
    assert value(notebook.flow("etl")) == 1  # the task cells joined, by the notebook's name


def test_a_decorated_flow_is_found_by_either_name(notebook: Notebook) -> None:
    keep(notebook, "from dagy import flow, task")
    keep(notebook, "@task\ndef one():\n    return 1\n\n@flow(name='the etl')\ndef pipeline():\n    return one()")
    keep(notebook, "_hidden = pipeline")
    assert notebook.flow() is notebook.flow("pipeline")
    assert notebook.flow("the etl") is notebook.flow("pipeline")


def test_a_choice_must_be_made(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef load():\n    return 1")
    keep(notebook, "%%dagy_flow a\nload()")
    keep(notebook, "from dagy import flow\n@flow\ndef b():\n    return load()")
    with pytest.raises(DefinitionError, match="the notebook has 2 flows; name one of them: a, b"):
        notebook.flow()


def test_what_is_not_there_is_said_with_what_is(notebook: Notebook) -> None:
    with pytest.raises(DefinitionError, match="begin a cell with %%dagy_task to make it a task, and run it"):
        notebook.flow()
    with pytest.raises(UnknownFlowError, match="there is no flow 'x'; no flow is defined yet"):
        notebook.flow("x")
    keep(notebook, "%%dagy_task\ndef load():\n    return 1")
    with pytest.raises(UnknownFlowError, match="there is no flow 'elt'; did you mean 'etl'"):
        notebook.flow("elt")


def test_a_circle_is_named_and_the_cells_stay(notebook: Notebook) -> None:
    keep(notebook, "%%dagy_task\ndef a(b):\n    return b", "a")
    keep(notebook, "%%dagy_task\ndef b(a):\n    return a", "b")
    with pytest.raises(CycleError) as caught:
        notebook.flow()
    assert set(caught.value.cycle) == {"a", "b"}
    keep(notebook, "%%dagy_task\ndef b():\n    return 1", "b")
    assert value(notebook.flow()) == 1


def test_an_error_points_at_the_line_of_the_cell(notebook: Notebook) -> None:
    keep(notebook, "zero = 1")
    keep(notebook, "%%dagy_task\nx = 1\n\ny = [\n    1 / zero\n]")
    notebook.namespace["zero"] = 0
    result = notebook.flow().run_local(fail_fast=False)
    error = result.task_run("y").error
    assert error is not None
    frame = traceback.extract_tb(error.__traceback__)[-1]
    assert (frame.filename, frame.lineno) == ("<2>", 5)
