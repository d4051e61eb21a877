"""The magics in a real IPython shell, cell by cell, as a user types them and reads what they answer."""

from __future__ import annotations

import gc
import inspect
import json
import os
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import dagy_nb
from dagy import Flow
from dagy.errors import TaskFailedError
from dagy_nb.magics import DagyMagics

from .conftest import NotebookShell

LOAD = """\
%%dagy_task
def load(n: int = 3):
    return list(range(n))"""

TOTAL = """\
%%dagy_task
def total(load):
    return sum(load)"""

BROKEN = """\
%%dagy_task
def broken(load):
    return 1 / 0"""


# ---- loading


def test_loading_is_quiet(bare: NotebookShell) -> None:
    assert bare.ok("%load_ext dagy_nb").text == ""


def test_loading_again_keeps_the_tasks(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    assert "already loaded" in notebook.ok("%load_ext dagy_nb").text
    assert notebook.tasks == ["load"]


def test_reloading_starts_afresh_and_everything_works_once(notebook: NotebookShell) -> None:
    notebook.ok("import math")
    notebook.ok(LOAD)
    notebook.ok("%reload_ext dagy_nb")
    assert notebook.tasks == []
    assert len(notebook.ok(LOAD).shown) == 1
    assert notebook.ok("run = %dagy_run\nrun['load']").value == [0, 1, 2]
    assert "import math" in [each.source for each in notebook.session.notebook.cells]


def test_loading_loads_nothing_heavy() -> None:
    heavy = ("anywidget", "click", "graphviz", "ipywidgets", "matplotlib", "nbformat", "numpy", "pandas", "pydantic")
    program = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'dagy_nb')\n"
        "assert 'dagy_run' in shell.magics_manager.magics['line']\n"
        f"print([each for each in {heavy!r} if each in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def hooks_of(shell: InteractiveShell) -> list[Any]:
    manager = shell.input_transformer_manager
    return [
        *manager.cleanup_transforms,
        *manager.line_transforms,
        *manager.token_transformers,
        *(each for callbacks in shell.events.callbacks.values() for each in callbacks),
        *shell.magics_manager.registry,
        *shell.magics_manager.magics["line"],
        *shell.magics_manager.magics["cell"],
        *shell.Completer.custom_matchers,
        *map(type, shell.configurables),
    ]


def test_unloading_leaves_nothing(bare: NotebookShell) -> None:
    bare.ok("%unload_ext nothing")  # IPython's own lazy parts are there now
    before = hooks_of(bare.shell)
    bare.ok("%load_ext dagy_nb")
    bare.ok(LOAD)
    bare.ok("run = %dagy_run")
    assert hooks_of(bare.shell) != before
    magics = weakref.ref(bare.shell.magics_manager.registry["DagyMagics"])
    bare.ok("%unload_ext dagy_nb")
    bare.ok("del run")
    bare.shell.user_ns.pop("_", None)  # IPython's own name for what was shown last, where it keeps one

    assert hooks_of(bare.shell) == before
    bare.shell.display_pub.outputs.clear()
    gc.collect()
    assert magics() is None
    assert "not found" in bare.fails("%%dagy_task\nx = 1")
    assert bare.ok("load(2)").value == [0, 1]  # the user's own function stays


def test_unloading_what_is_not_loaded_does_nothing(bare: NotebookShell) -> None:
    dagy_nb.unload_ipython_extension(bare.shell)
    assert "dagy_run" not in bare.shell.magics_manager.magics["line"]


def test_cells_that_ran_before_loading_are_kept(bare: NotebookShell) -> None:
    bare.ok("import math\nHALF = 0.5")
    bare.ok("%load_ext dagy_nb\nTWO = 2")
    bare.ok("%%dagy_task\ndef area():\n    return math.floor(HALF * TWO * 10)")
    assert bare.ok("run = %dagy_run\nrun['area']").value == 10
    exported = bare.ok("%dagy_export").text
    assert all(line in exported for line in ("import math\n", "HALF = 0.5\n", "TWO = 2\n"))


def test_a_cell_from_before_loading_that_runs_again_is_one_cell(bare: NotebookShell) -> None:
    bare.ok("HALF = 0.5", "a")
    bare.ok("OTHER = 1", "b")
    bare.ok("%load_ext dagy_nb", "c")
    bare.ok("HALF = 0.5", "a")
    assert [each.source for each in bare.session.notebook.cells] == ["HALF = 0.5", "OTHER = 1", "%load_ext dagy_nb"]


def test_a_cell_that_failed_before_loading_counts_for_nothing(bare: NotebookShell) -> None:
    if not hasattr(bare.shell.history_manager, "exceptions"):
        pytest.skip("this IPython does not say which cells failed")
    bare.ok("limit = 5")
    bare.fails("limit = int('a')")
    bare.ok("%load_ext dagy_nb")
    bare.ok("%%dagy_task\ndef load():\n    return limit")
    exported = bare.ok("%dagy_export").text
    assert "limit = 5\n" in exported
    assert "limit = int(" not in exported


def test_a_broken_cell_from_before_loading_is_no_obstacle(bare: NotebookShell) -> None:
    bare.fails("this is no Python")
    bare.fails("%%dagy_task --nonsense\nx = 1")
    bare.ok("%load_ext dagy_nb")
    bare.ok(LOAD)
    bare.ok("%dagy_run")


# ---- task cells


def test_a_task_cell_says_what_it_has_become(notebook: NotebookShell) -> None:
    assert notebook.ok(LOAD).text == "task 'load'; parameter n"
    assert notebook.ok(TOTAL).text == "task 'total' takes load"


def test_a_task_stays_its_plain_function_in_other_cells(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    assert notebook.ok("load(2)").value == [0, 1]
    assert notebook.ok("[load(n) for n in (1, 2)]").value == [[0], [0, 1]]


def test_plain_statements_run_at_once_where_their_inputs_are_there(notebook: NotebookShell) -> None:
    notebook.ok("rows = [1, 2, 3]")
    assert notebook.ok("%%dagy_task\ndouble = [2 * each for each in rows]\ndouble").value == [2, 4, 6]
    assert "not run here" not in notebook.ok("%%dagy_task\nmost = max(double)").text
    assert notebook.names["most"] == 6


def test_plain_statements_that_need_a_task_function_are_only_kept_and_the_card_says_so(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    card = notebook.ok("%%dagy_task\nmost = max(load)\nprint(most)").text
    assert "task 'most' takes load; not run here, because tasks make load: %dagy_run runs it" in card
    assert "most" not in notebook.names
    later = notebook.ok("%%dagy_task\nhalf = most / 2").text
    assert "not run here, because tasks make most" in later
    assert notebook.ok("run = %dagy_run\nrun['half']").value == 1


def test_a_task_function_that_is_only_called_is_the_plain_function(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    assert notebook.ok("%%dagy_task\nsmall = load(2)\nsmall").value == [0, 1]


def test_a_cell_that_raises_is_not_kept_and_the_earlier_tasks_stay(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.fails("%%dagy_task bad\nx = 1 / 0", "b")
    assert notebook.tasks == ["load"]
    notebook.fails("%%dagy_task\ndef load(n: int = 3):\n    return n\nnot_there", "a")
    assert notebook.ok("run = %dagy_run\nrun['load']").value == [0, 1, 2]


def test_a_cell_that_runs_again_replaces_its_task(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok(TOTAL, "b")
    notebook.ok("%%dagy_task\ndef load():\n    return [10]", "a")
    assert notebook.tasks == ["load", "total"]
    assert notebook.ok("run = %dagy_run\nrun['total']").value == 10


def test_a_cell_whose_task_is_renamed_forgets_the_old_name(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok("%%dagy_task\ndef fetch():\n    return [10]", "a")
    assert notebook.tasks == ["fetch"]


def test_a_cell_that_stops_being_a_task_is_forgotten_as_one(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok("def load(n=3):\n    return n", "a")
    assert notebook.tasks == []


def test_without_cell_ids_the_same_name_replaces(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("%%dagy_task\ndef load():\n    return [10]")
    assert notebook.tasks == ["load"]
    assert notebook.ok("run = %dagy_run\nrun['load']").value == [10]


def test_running_a_cell_500_times_keeps_one_task(notebook: NotebookShell) -> None:
    for number in range(500):
        notebook.ok(f"%%dagy_task\ndef load():\n    return {number}", "a")
    assert notebook.tasks == ["load"]
    assert notebook.ok("run = %dagy_run\nrun['load']").value == 499


def test_a_run_under_way_keeps_the_task_it_started_with(notebook: NotebookShell) -> None:
    notebook.ok("import threading\ngate = threading.Event()")
    notebook.ok("%%dagy_task\ndef slow():\n    gate.wait(60)\n    return 'old'", "a")
    notebook.ok("run = %dagy_run --background")
    notebook.ok("%%dagy_task\ndef slow():\n    return 'new'", "a")
    assert notebook.ok("gate.set()\nrun['slow']").value == "old"
    assert notebook.ok("run = %dagy_run\nrun['slow']").value == "new"


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%%dagy_task\n\ndef load():\n    x = 1\n    raise ValueError('here')", 5),
        ("%%dagy_task statements\nx = 1\n\nif given:\n    raise ValueError('here')", 5),
        ("#| dagy_task plain\nx = given\n\nif x:\n    raise ValueError('here')", 5),
    ],
)
def test_a_traceback_has_the_lines_of_the_cell_as_the_user_sees_it(
    notebook: NotebookShell, cell: str, line: int
) -> None:
    notebook.ok("given = False")
    notebook.ok(cell)
    number = notebook.shell.execution_count - 1
    notebook.ok("given = True")
    text = notebook.fails("%dagy_run")
    assert f"Cell [{number}], line {line}, in " in text
    assert "raise ValueError('here')" in text


def test_a_traceback_of_statements_that_were_only_kept_shows_their_text(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("%%dagy_task\nmost = max(load)\nlost = most / 0")
    assert "line 3, in lost\n    lost = most / 0" in notebook.fails("%dagy_run").replace("_task", "")


def test_the_source_of_a_task_can_be_read(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\n# why\ndef load(n: int = 3):\n    return list(range(n))  # how")
    task = notebook.names["load"]
    assert inspect.getsource(task.function) == "def load(n: int = 3):\n    return list(range(n))  # how\n"
    assert inspect.signature(task) == inspect.signature(task.function)
    details = notebook.shell.inspector.info(task, "load", detail_level=1)
    assert "return list(range(n))  # how" in str(details["source"])


def test_the_help_of_a_directive_defines_nothing(notebook: NotebookShell) -> None:
    assert "--retries N" in notebook.ok("%%dagy_task --help\ndef load():\n    return 1").text
    assert "--version" in notebook.ok("%%dagy_flow -h\nx = 1").text
    assert notebook.tasks == []
    assert "--retries N" in str(notebook.shell.magics_manager.magics["line"]["dagy_task"].__doc__)


def test_statements_may_await(notebook: NotebookShell) -> None:
    notebook.ok("import asyncio\nasync def fetch(n):\n    await asyncio.sleep(0)\n    return n + 1")
    notebook.ok("%%dagy_task\nfound = await fetch(1)")
    assert notebook.names["found"] == 2
    notebook.ok("%%dagy_task\nasync def more(found):\n    return await fetch(found)")
    assert notebook.ok("run = %dagy_run\nrun['more']").value == 3


def test_a_function_that_can_be_no_task_is_an_error_of_its_cell(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    text = notebook.fails("%%dagy_task\nasync def many():\n    yield 1")
    assert text.splitlines() == [
        "UsageError: task 'many' is an async generator, which has no one result; return a list instead",
        "not kept as a task: the cell failed",
    ]
    assert notebook.tasks == ["load"]


def test_cells_that_are_not_history_are_not_kept(notebook: NotebookShell) -> None:
    notebook.shell.run_cell(LOAD, store_history=False)
    notebook.shell.run_cell(LOAD, silent=True)
    assert notebook.tasks == []


# ---- flow cells


def test_a_flow_function_composes_tasks(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok(TOTAL)
    assert "flow 'twice'" in notebook.ok("%%dagy_flow\ndef twice(n: int = 2):\n    return total(load(n))").text
    assert notebook.ok("run = %dagy_run\n(await run).value").value == 1


def test_flow_statements_are_not_run_as_an_ordinary_cell(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok(TOTAL)
    notebook.ok("%%dagy_flow pipe\nrows = load(4)\nresult = total(rows)\nprint('drawn')")
    assert "rows" not in notebook.names
    assert notebook.ok("run = %dagy_run pipe\nrun['total']").value == 6


def test_a_plain_flow_of_the_notebook_is_found_by_its_name(notebook: NotebookShell) -> None:
    notebook.ok("from dagy import flow, task")
    notebook.ok("@task\ndef one():\n    return 1\n\n@flow(name='the-etl')\ndef etl():\n    return one()")
    assert notebook.ok("run = %dagy_run etl\nrun['one']").value == 1
    assert notebook.ok("run = %dagy_run the-etl\nrun['one']").value == 1
    assert notebook.ok("run = %dagy_run\nrun['one']").value == 1


def test_several_flows_and_none_named_is_asked_about(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("%%dagy_flow first\nload(1)")
    notebook.ok("%%dagy_flow second\nload(2)")
    for magic in ("%dagy_run", "%dagy_dag", "%dagy_build"):
        assert "the notebook has 2 flows; name one of them: first, second" in notebook.fails(magic)
    assert notebook.ok("run = %dagy_run second\nrun['load']").value == [0, 1]


def test_an_unknown_flow_has_a_close_name_suggested(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("%%dagy_flow weekly\nload(1)")
    for magic in ("%dagy_run wekly", "%dagy_dag wekly"):
        assert notebook.fails(magic) == "UsageError: there is no flow 'wekly'; did you mean 'weekly'?"


def test_a_circle_among_cells_is_named(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\ndef a(b):\n    return b")
    notebook.ok("%%dagy_task\ndef b(a):\n    return a")
    for magic in ("%dagy_run", "%dagy_dag"):
        text = notebook.fails(magic)
        assert "goes in a circle: " in text
        assert "a -> b -> a" in text or "b -> a -> b" in text
        assert "Traceback" not in text
    notebook.ok("%%dagy_task b\ndef b():\n    return 1")
    assert notebook.ok("run = %dagy_run\nrun['a']").value == 1


# ---- %dagy_dag


def test_drawing_runs_no_task(notebook: NotebookShell) -> None:
    notebook.ok("ran = []")
    notebook.ok("%%dagy_task\ndef load():\n    ran.append(1)")
    drawn = notebook.ok("%dagy_dag").value
    assert isinstance(drawn, Flow)
    assert "load" in notebook.shell.display_formatter.format(drawn)[0]["text/html"]  # type: ignore[union-attr]
    assert notebook.names["ran"] == []


def test_a_semicolon_silences_the_drawing(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    assert notebook.ok("%dagy_dag ;").text == ""
    assert notebook.ok("%dagy_dag notebook;").text == ""
    assert len(notebook.ok("%dagy_run notebook;").shown) == 1


# ---- %dagy_run


def test_a_run_is_waited_for_and_shown_once(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    ran = notebook.ok("run = %dagy_run")
    assert len(ran.shown) == 1
    assert "notebook: COMPLETED in" in ran.text
    assert "data:image/svg+xml" in ran.html
    assert ran.out == ""


def test_a_run_that_is_shown_in_a_later_cell_is_the_still(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    first = notebook.ok("run = %dagy_run\nrun")
    assert len(first.shown) == 1
    later = notebook.ok("run")
    assert later.html == first.html


def test_a_background_run_returns_at_once(notebook: NotebookShell) -> None:
    notebook.ok("import threading\ngate = threading.Event()")
    notebook.ok("%%dagy_task\ndef slow():\n    gate.wait(60)\n    return 5")
    notebook.ok("run = %dagy_run --background")
    assert not notebook.names["run"].done
    assert "RUNNING" in notebook.ok("run").text
    assert notebook.ok("gate.set()\nrun.wait(60)\nrun['slow']").value == 5


def test_a_run_can_be_awaited_in_a_cell(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("run = %dagy_run -b")
    assert notebook.ok("result = await run\nresult['load']").value == [0, 1, 2]


def test_a_failed_run_fails_its_cell_and_shows_the_tasks_own_lines(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok(BROKEN)
    ran = notebook.run("%dagy_run")
    assert not ran.success
    assert isinstance(ran.result.error_in_exec, TaskFailedError)
    assert isinstance(ran.result.error_in_exec.__cause__, ZeroDivisionError)
    assert "line 3, in broken\n    return 1 / 0" in ran.out
    assert "ZeroDivisionError: division by zero" in ran.out
    assert "task 'broken' of flow 'notebook': FAILED" in ran.out
    assert "site-packages" not in ran.out
    assert "dagy_nb" not in ran.out
    assert "/dagy/" not in ran.out
    assert "1 failed" in ran.html


def test_a_failed_run_may_let_its_cell_succeed(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok(BROKEN)
    ran = notebook.ok("run = %dagy_run --no-raise\nrun.status.value")
    assert ran.value == "FAILED"
    assert notebook.ok("run['load']").value == [0, 1, 2]
    text = notebook.fails("run['broken']")
    assert "line 3, in broken" in text
    assert "TaskFailedError: task 'broken' has no result: it is FAILED" in text
    assert "/dagy" not in text
    text = notebook.fails("run['borken']")
    assert text == "UnknownTaskError: there is no task 'borken' in flow 'notebook'; did you mean 'broken'?"


def test_what_does_not_need_a_failed_task_goes_on_when_asked_to(notebook: NotebookShell) -> None:
    notebook.ok("import threading\nfailed = threading.Event()")
    notebook.ok("%%dagy_task\ndef bad():\n    failed.set()\n    raise ValueError('x')")
    notebook.ok("%%dagy_task\ndef waits():\n    failed.wait(60)\n    return 1")
    notebook.ok("%%dagy_task\ndef after(waits):\n    return waits + 1")
    assert notebook.ok("run = %dagy_run --no-fail-fast\nrun['after']").value == 2
    assert "FAILED" in str(notebook.ok("run.state").value)


def test_what_completed_before_a_failure_is_kept_in_the_last_run(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("%%dagy_task\ndef bad(load):\n    raise ValueError('x')")
    notebook.fails("run = %dagy_run")
    assert notebook.ok("import dagy_nb\nlen(dagy_nb.last_run()['load'])").value == 3


def test_after_a_failure_the_other_tasks_are_kept_and_run(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok(BROKEN, "b")
    notebook.fails("%dagy_run")
    notebook.ok("%%dagy_task\ndef broken(load):\n    return len(load)", "b")
    assert notebook.ok("run = %dagy_run\nrun['broken']").value == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [("n=4", 4), ("'n=4'", 4), ("n=-4  # a comment", -4)],
)
def test_a_parameter_is_of_its_annotated_type(notebook: NotebookShell, given: str, expected: int) -> None:
    notebook.ok("%%dagy_task\ndef load(n: int):\n    return n")
    assert notebook.ok(f"run = %dagy_run --param {given}\nrun['load']").value == expected


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (": str", "5", "5"),
        (": float", "5.5", 5.5),
        (": list[int]", "[1,2]", [1, 2]),
        (": dict", """'{"a":1}'""", {"a": 1}),
        ("", """'{"a":1}'""", {"a": 1}),
        ("", "true", True),
        ("", "plain", "plain"),
        (": bool", "yes", True),
        (": str", "'a b = c'", "a b = c"),
        (": str", "{name}", "from the notebook"),
        (": str", "x-{name}.csv", "x-from the notebook.csv"),
        (": list", "{rows}", [1, "2"]),
        ("", "{rows}", [1, "2"]),
        (": str", "$name", "$name"),
        (": str", """"'; __import__('os').abort() #" """.strip(), "'; __import__('os').abort() #"),
    ],
)
def test_a_parameter_is_read_from_its_text(notebook: NotebookShell, annotation: str, text: str, expected: Any) -> None:
    notebook.ok("name = 'from the notebook'\nrows = [1, '2']")
    notebook.ok(f"%%dagy_task\ndef load(given{annotation}):\n    return given")
    value = notebook.ok(f"run = %dagy_run --param given={text}\nrun['load']").value
    assert (value, type(value)) == (expected, type(expected))


def test_a_variable_of_the_notebook_is_given_as_it_is(notebook: NotebookShell) -> None:
    notebook.ok("code = '007'\nthing = object()\nwhich = 'notebook'")
    notebook.ok("%%dagy_task\ndef load(a, b):\n    return a, b")
    ran = notebook.ok("run = %dagy_run {which} -p a={code} -p b={thing}\nrun['load'] == ('007', thing)")
    assert ran.value is True


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("", "flow 'notebook' needs a value for 'n'"),
        ("--param n=x", "'n' can't be 'x' (str): input should be a valid integer"),
        ("--param m=1 --param n=1", "flow 'notebook' has no input 'm'; it takes 'n'"),
        ("--param n=1 --param n=2", "--param 'n' is given twice"),
        ("--param n", "--param 'n' is not of the form NAME=VALUE"),
        ("--param n={nn}", "'{nn}': the notebook has no variable 'nn'"),
        ("--param", "argument -p/--param: expected one argument"),
        ("--max-workers 0 --param n=1", "max_workers must be a whole number, 1 or more, not 0"),
        ("--max-workers two", "argument --max-workers: invalid int value: 'two'"),
        ("--no-raise --backgruond", "unrecognized arguments: --backgruond; did you mean '--background'?"),
        ("notebook second", "unrecognized arguments: second"),
        ("'notebook", "No closing quotation"),
        ("notebok -p n=1", "there is no flow 'notebok'; did you mean 'notebook'?"),
        ("{nothing}", "the notebook has no variable 'nothing'"),
    ],
)
def test_a_mistake_in_a_run_line_is_answered_in_one_line_and_changes_nothing(
    notebook: NotebookShell, line: str, answer: str
) -> None:
    notebook.ok("%%dagy_task\ndef load(n: int):\n    return n")
    ran = notebook.run(f"%dagy_run {line}")
    assert not ran.success
    assert ran.text.startswith("UsageError: ")
    assert answer in ran.text
    assert len(ran.text.splitlines()) == 1
    assert ran.shown == []
    assert "publish" not in vars(notebook.shell.display_pub)
    assert notebook.ok("run = %dagy_run -p n=1\nrun['load']").value == 1


@pytest.mark.parametrize("magic", ["dagy_dag", "dagy_export", "dagy_build"])
def test_a_wrong_option_is_answered_in_one_line(notebook: NotebookShell, magic: str) -> None:
    text = notebook.fails(f"%{magic} --nosuch")
    assert text == f"UsageError: unrecognized arguments: --nosuch; %{magic}? shows the options"


@pytest.mark.parametrize(
    ("cell", "answer"),
    [
        ("%%dagy_task --retires 3\nx = 1", "%%dagy_task has no option '--retires'; did you mean '--retries'?"),
        ("%%dagy_task --retries many\nx = 1", "'many' is not a whole number from 0 up"),
        ("%%dagy_task a b\nx = 1", "can't place 'b'"),
        ("%%dagy_task", "has %%dagy_task but no code"),
        ("x = 1\n%dagy_task a", "%%dagy_task must be the first line of its cell"),
        ("%%dagy_task\n!ls", "needs IPython and can't be part of a task"),
        ("%%dagy_flow --versoin 1\nx = 1", "did you mean '--version'?"),
    ],
)
def test_a_mistake_in_a_cell_is_answered_in_one_line_and_the_cell_does_not_run(
    notebook: NotebookShell, cell: str, answer: str
) -> None:
    notebook.ok(LOAD)
    text = notebook.fails(cell)
    assert text.startswith("UsageError: ")
    assert answer in text
    more = text.splitlines()[1:]
    kind = "flow" if "dagy_flow" in cell else "task"
    assert more == ([] if cell.startswith("x") else [f"not kept as a {kind}: the cell failed"])
    assert "x" not in notebook.names or cell.startswith("x")
    assert notebook.tasks == ["load"]
    notebook.ok("%dagy_run")


def test_a_syntax_error_is_shown_as_in_any_cell(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    text = notebook.fails("%%dagy_task\ndef f(:\n    pass")
    assert "line 2\n    def f(:" in text
    assert "SyntaxError" in text
    assert "dagy_nb" not in text
    assert notebook.tasks == ["load"]
    notebook.ok("%dagy_run")


# ---- %dagy_export, %dagy_build, %dagy_reset


def test_an_export_is_shown_or_written(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    shown = notebook.ok("%dagy_export").shown[0]["text/plain"]
    assert "def load(n: int = 3):" in shown
    told = notebook.ok("%dagy_export made/deeper/flow.py").text
    assert told.splitlines()[0] == "wrote made/deeper/flow.py with notebook"
    assert Path("made/deeper/flow.py").read_text("utf-8") == shown


def test_an_export_replaces_a_file_only_when_asked_to(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    Path("flow.py").write_text("mine", "utf-8")
    text = notebook.fails("%dagy_export flow.py")
    assert text == "UsageError: 'flow.py' is there, and Dagy did not write it; add --force to replace it"
    assert Path("flow.py").read_text("utf-8") == "mine"
    notebook.ok("%dagy_export flow.py --force")
    notebook.ok("%dagy_export flow.py")  # which Dagy wrote
    assert "def load" in Path("flow.py").read_text("utf-8")


@pytest.mark.parametrize(
    ("path", "answer"),
    [("flow.txt", "write for example flow.py"), ("taken/flow.py", "'taken/flow.py' can't be written")],
)
def test_an_export_that_can_not_be_written_says_why(notebook: NotebookShell, path: str, answer: str) -> None:
    notebook.ok(LOAD)
    Path("taken").write_text("", "utf-8")
    text = notebook.fails(f"%dagy_export {path}")
    assert text.startswith("UsageError: ")
    assert answer in text


def test_an_export_lists_what_it_leaves_out(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("load(3)")
    assert "left out of it: cell" in notebook.ok("%dagy_export flow.py").text


def test_what_can_not_be_exported_is_said_with_cell_and_remedy(notebook: NotebookShell) -> None:
    notebook.ok("here = %pwd")
    notebook.ok("%%dagy_task\ndef load():\n    return here")
    text = notebook.fails("%dagy_export")
    assert "notebook.ipynb can't be exported" in text
    assert "'here'" in text
    assert "Traceback" not in text


def test_a_build_of_the_same_cells_is_the_same_file(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    first = notebook.ok("artifact = %dagy_build\nartifact").value
    content = first.path.read_bytes()
    again = notebook.ok("artifact = %dagy_build -o elsewhere\nartifact").value
    assert again.path.read_bytes() == content
    assert again.path.parent.name == first.path.parent.name
    notebook.ok("%%dagy_task\ndef load(n: int = 4):\n    return n")
    assert notebook.ok("artifact = %dagy_build\nartifact").value.path != first.path


def test_a_build_says_readably_what_it_made(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    text = notebook.ok("%dagy_build").text
    assert "notebook" in text
    assert "artifact.zip" in text
    assert "FileEntry(" not in text


def test_a_reset_forgets_the_tasks_and_keeps_the_variables(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("x = 1")
    notebook.ok("%dagy_reset")
    assert notebook.tasks == []
    assert notebook.ok("load(x)").value == [0]
    assert "begin a cell with %%dagy_task to make it a task" in notebook.fails("%dagy_run")


def test_a_reset_of_one_task_forgets_that_alone(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok(TOTAL, "b")
    assert notebook.ok("%dagy_reset total").text == "cell [3] is forgotten; run it to keep it again"
    assert notebook.tasks == ["load"]
    assert notebook.fails("%dagy_reset laod") == "UsageError: there is no task 'laod'; did you mean 'load'?"


# ---- help, and the traps of the first line


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_magic_answers_a_request_for_help(notebook: NotebookShell, option: str) -> None:
    for magic in notebook.shell.magics_manager.registry["DagyMagics"].magics["line"]:
        if magic not in ("dagy_task", "dagy_flow", "dagy_node"):
            assert notebook.ok(f"%{magic} {option}").text.startswith(f"usage: %{magic} ")


def test_the_list_of_magics_has_a_line_for_each(notebook: NotebookShell) -> None:
    ran = notebook.ok("%dagy")
    magics = notebook.shell.magics_manager.registry["DagyMagics"].magics["line"]
    for magic in magics:
        prefix = "%%" if magic in ("dagy_task", "dagy_flow", "dagy_node") else "%"
        assert sum(line.startswith(f"{prefix}{magic} ") for line in ran.text.splitlines()) == 1, magic
        assert f">{prefix}{magic}<" in ran.html


@pytest.mark.parametrize("cell", ["%%dagy_task?", "%dagy_task?", "%dagy_task??", "%dagy_run?", "  %dagy?"])
def test_a_cell_that_asks_for_help_is_answered_and_defines_nothing(notebook: NotebookShell, cell: str) -> None:
    notebook.ok(LOAD, "a")
    ran = notebook.ok(cell, "a")
    assert "UsageError" not in ran.text
    assert notebook.tasks == ["load"]
    assert notebook.shell.inspector.info(notebook.shell._ofind("%%dagy_task").obj)["docstring"].startswith("usage: %%")


@pytest.mark.parametrize(
    "cell",
    [
        "# why\n%%dagy_task\ndef load():\n    return 1",
        "import math\n%%dagy_task\ndef load():\n    return 1",
        "%%time\n%%dagy_task\ndef load():\n    return 1",
        "%load_ext dagy_nb\n%%dagy_task\ndef load():\n    return 1",
        "get_ipython().run_cell_magic('dagy_task', '', 'def load(): pass')",
    ],
)
def test_a_directive_that_is_not_the_first_line_says_so(notebook: NotebookShell, cell: str) -> None:
    answer = "%%dagy_task must be the first line of its cell; move what stands above into its own cell"
    assert answer in notebook.fails(cell)
    assert notebook.tasks == []


@pytest.mark.parametrize(
    "cell",
    [
        "%%dagy_task load  # why\ndef f():\n    return 1",
        "%%dagy_task load;\ndef f():\n    return 1",
        "%%dagy_task\tload\ndef f():\n\treturn 1",
        "%dagy_task\tload\ndef f():\n    return 1",
        "\n\n%%dagy_task load\n\ndef f():\n    return 1",
        "%%dagy_task load\r\ndef f():\r\n    return 1\r\n",
        "#|dagy_task load\r\ndef f():\r\n    return 1\r\n",
        "%%dagy_task;\ndef load():\n    return 1",
    ],
)
def test_blanks_comments_and_line_ends_do_not_matter(notebook: NotebookShell, cell: str) -> None:
    notebook.ok(cell)
    assert notebook.tasks == ["load"]
    assert notebook.ok("run = %dagy_run\nrun['load']").value == 1


def test_linters_that_skip_such_cells_are_told_of_once(notebook: NotebookShell) -> None:
    Path("pyproject.toml").write_text("[tool.ruff]\n", "utf-8")
    assert "configures ruff" not in notebook.ok(LOAD.replace("%%", "#| ")).text
    assert "configures ruff" in notebook.ok(TOTAL).text
    assert "configures ruff" not in notebook.ok(TOTAL).text


# ---- what is out of date


def saved(*cells: tuple[str, str], name: str = "etl.ipynb", later: float = 5) -> Path:
    """Save a notebook file with these cells, some seconds from now."""
    content = {
        "nbformat": 4, "nbformat_minor": 5, "metadata": {},
        "cells": [{"cell_type": "code", "id": key, "source": text, "outputs": []} for key, text in cells],
    }  # fmt: skip
    Path(name).write_text(json.dumps(content), "utf-8")
    os.utime(name, (time.time() + later, time.time() + later))
    return Path(name).absolute()


def test_a_check_lists_what_is_edited_and_a_run_says_so_in_one_line(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok(TOTAL, "b")
    notebook.ok("ran = []", "c")
    assert "every cell is as it ran last" in notebook.ok("%dagy_check", "d").text
    saved(("a", LOAD.replace("3", "4")), ("b", TOTAL))
    notebook.ok("%dagy --notebook etl.ipynb", "d")
    ran = notebook.ok("%dagy_check", "d")
    assert "cell [2]: it is edited and not run; run it again" in ran.text
    assert "etl.ipynb was saved just now" in ran.text
    assert "an export holds etl" in ran.text
    assert "1 cell is edited and not run: %dagy_check" in notebook.ok("%dagy_run", "d").text.splitlines()
    picture = notebook.shell.display_formatter.format(notebook.ok("%dagy_dag").value)[0]  # type: ignore[union-attr]
    assert "edited" in picture["text/plain"]
    assert "edited" in picture["text/html"]
    assert "edited" in notebook.ok("%dagy_tasks", "d").text
    notebook.ok(LOAD.replace("3", "4"), "a")
    assert "the last run's result is older than its code" in notebook.ok("%dagy_check", "d").text
    assert "%dagy_check" not in notebook.ok("%dagy_run", "d").text


def test_a_check_runs_nothing_and_says_what_an_export_would(notebook: NotebookShell) -> None:
    notebook.ok("ran = []")
    notebook.ok("here = %pwd")
    notebook.ok("%%dagy_task\ndef load():\n    ran.append(1)\n    return here", "a")
    notebook.fails("%%dagy_task\ndef load():\n    return nothing\n1 / 0", "a")
    text = notebook.ok("%dagy_check").text
    assert "cell [4]: it is edited, and the edit failed when it ran; what it was before still counts" in text
    assert "an export is refused:" in text
    assert "'here'" in text
    assert notebook.names["ran"] == []


def test_a_task_cell_that_failed_is_told_wherever_its_flow_is_used(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    assert notebook.fails("#| dagy_task\nprices = nothing", "b").endswith("\nnot kept as a task: the cell failed")
    assert notebook.fails("%%dagy_task --retires 3\nx = 1", "c").endswith("\nnot kept as a task: the cell failed")
    told = "2 cells failed and are not kept: %dagy_check"
    assert told in notebook.ok("%dagy_run").text.splitlines()
    assert told in notebook.ok("%dagy_export").text.splitlines()
    assert told in notebook.ok("%dagy_export etl.py").text.splitlines()
    assert told in notebook.ok("%dagy_build").text.splitlines()
    assert told in notebook.ok("import dagy_nb\ndagy_nb.export_notebook().warnings").value
    check = notebook.ok("%dagy_check").text
    assert (
        "cell [3]: it was to be the task 'prices', and failed when it ran, so it is not kept; "
        "mend it and run it again, or forget it with %dagy_reset 3"
    ) in check
    assert "cell [4]: it was to be a task, and failed when it ran" in check
    notebook.ok("#| dagy_task\nprices = 1", "b")
    notebook.ok("%dagy_reset 4")
    assert "failed" not in notebook.ok("%dagy_run").text
    assert notebook.tasks == ["load", "prices"]


def test_what_hides_that_a_notebook_has_a_flow_is_told_above_the_error(notebook: NotebookShell) -> None:
    notebook.fails("%%dagy_task\nprices = nothing")
    for magic in ("%dagy_export", "%dagy_export etl.py"):
        told = notebook.fails(magic)
        assert "1 cell failed and is not kept: %dagy_check" in told
        assert "begin a cell with %%dagy_task" in told


def test_an_export_and_a_build_say_whose_older_text_they_have(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok(TOTAL, "b")
    saved(("a", LOAD.replace("3", "4")), ("b", TOTAL))
    notebook.ok("%dagy --notebook etl.ipynb", "d")
    told = notebook.fails(f"{TOTAL}\n    nothing\nnothing", "b")
    assert told.endswith("\nthe task 'total' stays what it was before this edit: the cell failed")
    expected = [
        "1 cell is edited and not run, 1 cell is edited and failed: %dagy_check",
        "the export has what cell [2] (task 'load'), cell [3] (task 'total') held before",
    ]
    saved(("a", LOAD.replace("3", "4")), ("b", f"{TOTAL}\n    nothing\nnothing"), later=9)
    for magic in ("%dagy_export", "%dagy_export etl.py", "%dagy_build", "%dagy_run --fresh"):
        lines = notebook.ok(magic, "d").text.splitlines()
        assert [each for each in expected if each not in lines] == [], magic
    assert expected[0] in notebook.ok("%dagy_run", "d").text.splitlines()


def test_a_cell_that_deletes_what_it_takes_has_run(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\nrows = [1]")
    assert notebook.ok("%%dagy_task gone\ndel rows").text == "task 'gone' takes rows"


def test_a_cell_with_a_return_says_that_it_runs_in_a_run_only(notebook: NotebookShell) -> None:
    card = notebook.ok("%%dagy_task size\nif 1 > 2:\n    return 'big'\nreturn 'small'").text
    assert card == "task 'size'; not run here, because it returns a value: %dagy_run runs it"


def test_a_source_that_was_loaded_runs_and_defines_no_task(notebook: NotebookShell) -> None:
    notebook.ok("from dagy import flow, task\n@flow\ndef etl():\n    return total(load())")
    notebook.ok("%%dagy_task\ndef load():\n    return 1")
    notebook.ok("%%dagy_task\ndef total(load):\n    return load + 1")
    notebook.ok("%dagy_load total")
    tried = str(notebook.shell.rl_next_input)
    assert notebook.ok(f"{tried}\ntotal(41)").value == 42
    assert notebook.tasks == ["load", "total"]
    assert notebook.ok("run = %dagy_run\nrun['total']").value == 2
    assert "every cell is as it ran last" in notebook.ok("%dagy_check").text


def test_a_flow_that_can_not_be_drawn_says_why_with_the_cell(notebook: NotebookShell) -> None:
    notebook.ok("from dagy import flow\n@flow\ndef etl(u: str = 'a'):\n    return len(u)")
    ran = notebook.ok("etl")
    bundle = notebook.shell.display_formatter.format(ran.value)[0]  # type: ignore[union-attr]
    assert bundle["text/plain"].startswith(
        "<Flow 'etl' (u: str = 'a')>: parameter 'u' has no value yet, and cell [2], line 4 asks"
    )
    assert bundle["text/html"].startswith("<div>&lt;Flow")
    assert "Traceback" not in ran.text
    why = "flow 'etl': parameter 'u' has no value yet, and cell [2], line 4 asks"
    check = notebook.ok("%dagy_check")
    assert f"not every flow can be drawn, so not run either:\n  - {why}" in check.text
    assert not check.value.is_clean
    assert why in notebook.ok("%dagy_export etl.py").text


def test_a_flow_of_ones_own_does_not_hide_the_joined_one(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\nrows = [1]")
    notebook.ok("from dagy import flow\n@flow\ndef first():\n    return 1\n@flow\ndef second():\n    return 2")
    assert (
        "the notebook has 3 flows; name one of them: first, second, notebook (the task cells, joined by their names)"
    ) in notebook.fails("%dagy_run")
    told = "%dagy_run notebook runs the task cells, joined by their names"
    assert f"left out of it: cell [2], no flow calls task 'rows'; {told}" in notebook.ok("%dagy_export etl.py").text
    assert f"no flow calls task 'rows'; {told}" in notebook.ok("%dagy_build first").text
    assert "is built where the notebook has no other flow" in notebook.fails("%dagy_build notebook")
    notebook.ok("%dagy_run notebook")


def test_an_empty_notebook_can_be_checked_and_listed(notebook: NotebookShell) -> None:
    assert "begin a cell with %%dagy_task" in notebook.ok("%dagy_check").text
    assert "begin a cell with %%dagy_task" in notebook.ok("%dagy_tasks").text
    assert "the notebook has no flow yet" in notebook.ok("%dagy_status").text
    assert "no run yet" in notebook.ok("%dagy_runs").text
    assert "there is no run" in notebook.fails("%dagy_logs")
    assert "no run is under way" in notebook.ok("%dagy_cancel").text
    assert "there is no run to run again yet" in notebook.fails("%dagy_run --again")


def test_the_order_of_the_notebook_as_saved_is_that_of_its_cells(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\nrows = [1]", "a")
    notebook.ok("%%dagy_task\ntotal = sum(rows)", "c")
    notebook.ok("%%dagy_task\nrows = [*rows, 2]", "b")
    saved(
        ("a", "%%dagy_task\nrows = [1]"),
        ("b", "%%dagy_task\nrows = [*rows, 2]"),
        ("c", "%%dagy_task\ntotal = sum(rows)"),
    )
    notebook.ok("%dagy --notebook etl.ipynb", "d")
    assert notebook.ok("run = %dagy_run\nrun['total']", "d").value == 3


def test_a_rename_asks_on_its_card_as_long_as_the_old_name_is_read(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok(TOTAL, "b")
    card = notebook.ok(LOAD.replace("load", "fetch"), "a").text
    assert card.splitlines()[0] == "task 'fetch'; parameter n"
    assert (
        "the task 'fetch' was 'load' until now, and cell [3] (task 'total') still reads 'load'; write 'fetch' there"
        in card
    )
    assert notebook.ok(LOAD, "a").text == "task 'load'; parameter n"


def test_a_copied_cell_is_told_on_its_card(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    card = notebook.ok(LOAD, "b").text
    assert "cell [3]: it is a copy of cell [2], and both define the task 'load'" in card
    assert "%dagy_reset 3" in card


def test_a_plain_task_is_listed_with_the_others(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("#| dagy_task --retries 2\nmost = max(load)")
    notebook.ok("from dagy import task\n@task\ndef plain(x):\n    return x")
    found = notebook.ok("found = %dagy_tasks\nfound").value
    assert [(each.name, each.spelling) for each in found] == [
        ("load", "%%dagy_task"),
        ("most", "#| dagy_task"),
        ("plain", "@task"),
    ]


# ---- runs, logs, status, load


def test_runs_and_their_output_are_listed(notebook: NotebookShell, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(tmp_path / "local"))
    notebook.ok("%%dagy_task\ndef load():\n    print('one')\n    print('half', end='')")
    notebook.ok("%%dagy_task\ndef total(load):\n    print('two')")
    notebook.ok("first = %dagy_run")
    notebook.ok("second = %dagy_run --record")
    first, second = notebook.names["first"].run_id, notebook.names["second"].run_id
    found = notebook.ok("runs = %dagy_runs\nruns").value
    assert [(each.run_id, each.is_here, each.is_recorded) for each in found] == [
        (second, True, True),
        (first, True, False),
    ]
    assert len(notebook.ok("%dagy_runs -n 1").value) == 1
    assert len(notebook.ok("%dagy_runs nosuch").value) == 0
    assert notebook.ok("%dagy_logs").text == "load  one\ntotal  two\nload  half"
    assert notebook.ok(f"%dagy_logs {first} --task total").text == "two"
    assert "did you mean 'load'" in notebook.fails("%dagy_logs latest -t laod")
    assert "there is no run 'nosuch'" in notebook.fails("%dagy_logs nosuch")
    assert "--limit must be 1 or more" in notebook.fails("%dagy_runs -n 0")

    notebook.ok("%reload_ext dagy_nb")  # which knows nothing of this session's runs
    assert [each.run_id for each in notebook.ok("%dagy_runs").value] == [second]
    assert notebook.ok("%dagy_logs --task total").text == "two"


def test_a_run_under_way_is_cancelled_and_its_output_is_there(notebook: NotebookShell) -> None:
    notebook.ok("import threading\nbegun, gate = threading.Event(), threading.Event()")
    notebook.ok("%%dagy_task\ndef slow():\n    print('begun')\n    begun.set()\n    gate.wait(60)")
    notebook.ok("run = %dagy_run -b\nbegun.wait(60)")
    assert notebook.ok("%dagy_logs").text == "slow  begun"
    assert notebook.ok("%dagy_cancel").text == f"cancelling {notebook.names['run'].run_id}"
    notebook.ok("gate.set()")
    assert notebook.ok("run.wait(60).status.value").value == "CANCELLED"


def test_what_was_edited_since_the_build_is_told(notebook: NotebookShell) -> None:
    notebook.ok(LOAD, "a")
    notebook.ok(TOTAL, "b")
    assert [each.change for each in notebook.ok("%dagy_status").value] == ["never built"]
    notebook.ok("%dagy_build")
    assert [each.change for each in notebook.ok("%dagy_status").value] == ["none"]
    notebook.ok(TOTAL.replace("sum", "max"), "b")
    (found,) = notebook.ok("%dagy_status").value
    assert (found.change, found.cell, found.names) == ("edited", "cell [7]", ("total",))
    assert "there is no flow 'nosuch'" in notebook.fails("%dagy_status nosuch")


def test_the_last_run_is_run_again_without_what_did_not_change(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\ndef load(n=2):\n    return n", "a")
    notebook.ok("%%dagy_task\ndef total(load):\n    return load * 2", "b")
    first = notebook.ok("run = %dagy_run\nrun.run_id").value
    notebook.ok("%%dagy_task\ndef total(load):\n    return load * 3", "b")
    ran = notebook.ok("run = %dagy_run --again\nrun['total']")
    assert ran.value == 6
    assert f"reused 1 result of {first}" in ran.text
    assert notebook.ok("run = %dagy_run --again -p n=5\nrun['total']").value == 15
    assert "the last run was of flow 'notebook', not of 'weekly'" in notebook.fails("%dagy_run weekly --again")


@pytest.mark.parametrize("option", ["--fresh", "--form", "--record", "--max-workers 2", "--isolation process"])
def test_a_run_again_says_which_options_it_does_not_take(notebook: NotebookShell, option: str) -> None:
    notebook.ok(LOAD)
    notebook.ok("run = %dagy_run")
    told = notebook.fails(f"%dagy_run --again {option}")
    assert f"can't take {option.split()[0]}; leave it out, or --again" in told


def test_a_form_needs_a_page(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    assert "leave --form or --fresh out" in notebook.fails("%dagy_run --form --fresh")
    assert "a form needs a page that shows widgets" in notebook.fails("%dagy_run --form")


def test_a_tasks_source_comes_into_a_new_cell_and_no_variable_is_lost(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("%%dagy_task\nmost = max(load)")
    notebook.ok("run = %dagy_run\ninputs = 'mine'")
    told = notebook.ok("%dagy_load load").text
    assert told == "the new cell tries the task by hand, in no flow; take what you change to cell [2]"
    body = LOAD.removeprefix("%%dagy_task\n")
    assert notebook.shell.rl_next_input == f"#| dagy_try  # from task 'load', cell [2]\n{body}"
    told = notebook.ok("%dagy_load most --run latest").text
    assert told == "what it was given is in 'inputs_2', and the cell takes it from there"
    head = "#| dagy_try  # from task 'most', cell [3]"
    assert notebook.shell.rl_next_input == f"{head}\nload = inputs_2['load']\nmost = max(load)"
    assert dict(notebook.names["inputs_2"]) == {"load": [0, 1, 2]}
    notebook.ok("%dagy_load most -r latest")
    assert (notebook.names["inputs"], "inputs_3" in notebook.names) == ("mine", False)
    assert "there is no task 'mots' in the notebook; did you mean 'most'?" in notebook.fails("%dagy_load mots")


# ---- the functions


def test_each_magic_has_a_function_that_does_the_same(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("import dagy_nb")
    assert notebook.ok("dagy_nb.dag().name").value == "notebook"
    assert notebook.ok("dagy_nb.run(n=2)['load']").value == [0, 1]
    assert notebook.ok("dagy_nb.run(dagy_nb.dag(), n=2, max_workers=1)['load']").value == [0, 1]
    assert notebook.ok("dagy_nb.run('notebook', background=True).wait(60)['load']").value == [0, 1, 2]
    assert "def load" in notebook.ok("dagy_nb.export_notebook().text").value
    assert notebook.ok("dagy_nb.build().path.name").value == "artifact.zip"
    assert notebook.ok("dagy_nb.check().is_clean").value is True
    assert notebook.ok("[each.name for each in dagy_nb.tasks()]").value == ["load"]
    assert notebook.ok("len(dagy_nb.past_runs())").value == 3
    assert notebook.ok("dagy_nb.logs()").value == ""
    assert notebook.ok("dagy_nb.status()[0].change").value == "none"
    assert "def load(" in notebook.ok("dagy_nb.load('load')").value
    assert notebook.ok("dagy_nb.rerun(n=1)['load']").value == [0]
    assert notebook.ok("dagy_nb.cancel()").value is None
    with pytest.raises(UsageError, match="a form needs a page"):
        dagy_nb.form()
    notebook.ok("dagy_nb.reset()")
    assert notebook.tasks == []


def test_the_functions_answer_mistakes_as_the_magics_do(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok(BROKEN)
    with pytest.raises(UsageError, match="there is no flow 'nosuch'"):
        dagy_nb.run("nosuch")
    with pytest.raises(TaskFailedError) as caught:
        dagy_nb.run()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_without_the_extension_the_functions_say_how_to_load_it(bare: NotebookShell) -> None:
    with pytest.raises(UsageError, match="run %load_ext dagy_nb in one first"):
        dagy_nb.dag()


# ---- beside other magics and what tasks show


def test_a_run_under_another_cell_magic_works(notebook: NotebookShell) -> None:
    notebook.ok(LOAD)
    notebook.ok("%%time\nrun = %dagy_run")
    notebook.ok("%%capture taken\nrun = %dagy_run\nprint(run['load'])")
    assert notebook.ok("taken.stdout").value == "[0, 1, 2]\n"
    assert len(notebook.names["taken"].outputs) == 1
    assert notebook.ok("%dagy_run").shown != []


def test_what_a_task_displays_is_its_own_and_clears_nothing_on_the_cell(notebook: NotebookShell) -> None:
    notebook.ok("from IPython.display import HTML, clear_output, display")
    notebook.ok("%%dagy_task\ndef load():\n    display(HTML('<b>bold</b>'))\n    clear_output()")
    ran = notebook.ok("run = %dagy_run")
    assert len(ran.shown) == 1
    assert "<b>bold</b>" in ran.html
    assert ran.out == ""


def test_what_the_cell_displays_beside_a_run_is_the_cells(notebook: NotebookShell) -> None:
    notebook.ok("from IPython.display import HTML, display\nimport threading\ngate = threading.Event()")
    notebook.ok("%%dagy_task\ndef load():\n    gate.wait(60)")
    ran = notebook.ok("run = %dagy_run -b\nprint('mine')\ndisplay(HTML('own'))\ngate.set()\nrun.wait(60)\nNone")
    assert ran.out == "mine\n"
    assert {"text/html": "own", "text/plain": "<IPython.core.display.HTML object>"} in ran.shown


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("class Odd:\n    def __repr__(self):\n        raise ValueError('no repr')", "Odd that can't be shown"),
        (
            "class Odd:\n    def _repr_html_(self):\n        raise ValueError('no html')\n"
            "    def __repr__(self):\n        return 'plain odd'",
            "plain odd",
        ),
        ("class Odd:\n    def __repr__(self):\n        return 'x' * 100_000_000", "xxx\n..."),
        ("class Odd:\n    def __repr__(self):\n        return 'lone \\ud800 half'", "lone \\ud800 half"),
        ("class Odd:\n    def _repr_html_(self):\n        return '<i>\\udc80</i>'", "<i>\\udc80</i>"),
        ("class Odd:\n    def savefig(self, *_, **__):\n        raise OSError('no ink')", "Odd that can't be shown"),
        (
            "from IPython.display import display\nclass Odd:\n    def _ipython_display_(self):\n"
            "        display({'text/html': '<u>shown by itself</u>'}, raw=True)",
            "<u>shown by itself</u>",
        ),
        ("class Odd:\n    def _repr_mimebundle_(self, **_):\n        return {'text/html': '<u>b</u>'}, {}", "<u>b</u>"),
    ],
    ids=["repr", "html", "huge", "surrogate", "html-surrogate", "figure", "display", "bundle"],
)
def test_a_result_that_is_hard_to_show_is_shown_as_far_as_it_can_be(
    notebook: NotebookShell, definition: str, expected: str
) -> None:
    notebook.ok(definition)
    notebook.ok("%%dagy_task\ndef odd():\n    return Odd()")
    ran = notebook.ok("run = %dagy_run")
    assert expected in ran.html.replace("&#x27;", "'")
    assert len(ran.html) < 100_000
    assert (ran.out, ran.err, len(ran.shown)) == ("", "", 1)
    assert json.dumps(ran.shown, ensure_ascii=False).encode("utf-8")
    assert type(notebook.ok("value = run['odd']").value).__name__ == "NoneType"


def test_an_error_that_is_hard_to_show_fails_its_cell_all_the_same(notebook: NotebookShell) -> None:
    notebook.ok("class Odd(Exception):\n    def __str__(self):\n        raise ValueError('no text')")
    notebook.ok("%%dagy_task odd\ndef odd():\n    raise Odd")
    ran = notebook.run("%dagy_run")
    assert isinstance(ran.result.error_in_exec, TaskFailedError)
    assert "task 'odd' of flow 'notebook': FAILED" in ran.text
    assert "/dagy" not in ran.out


def test_a_lone_surrogate_in_an_error_or_in_output_reaches_nobody(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\ndef odd():\n    print('out \\ud800')\n    raise ValueError('err \\udfff')")
    ran = notebook.run("%dagy_run")
    for text in (ran.text, ran.html, *ran.result.error_in_exec._render_traceback_()):  # type: ignore[union-attr]
        assert text.encode("utf-8").decode() == text
    assert "err " in ran.text


def test_a_notebook_is_what_a_magics_registry_holds_one_of(notebook: NotebookShell) -> None:
    assert [each for each in notebook.shell.configurables if isinstance(each, DagyMagics)] == [
        notebook.shell.magics_manager.registry["DagyMagics"]
    ]


def test_a_comment_that_nearly_makes_a_task_is_noticed(notebook: NotebookShell) -> None:
    ran = notebook.ok("# a title\n#| dagy_task clean\nx = 1", "1")
    assert "line 2, '#| dagy_task clean', makes no task: write #| dagy_task as the first line" in ran.text
    assert notebook.session.notebook.tasks() == ()


def test_a_missing_parameter_is_pointed_to_the_variable_of_its_name(notebook: NotebookShell) -> None:
    notebook.ok("cutoff = 3", "1")
    notebook.ok("%%dagy_task\ndef kept(cutoff, rows=2):\n    return cutoff * rows", "2")
    told = notebook.fails("%dagy_run", "3")
    assert "needs a value for 'cutoff'; -p cutoff={cutoff} gives it the notebook's own" in told
    notebook.ok("run = %dagy_run -p cutoff={cutoff}", "4")
    assert notebook.ok("run['kept']", "5").value == 6
