"""The runs of a session: found, cancelled, run again with what is the same, and begun from a form."""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dagy import Flow, StateType, TaskFailedError, flow, task
from dagy.errors import DefinitionError, UnknownRunError
from dagy_nb.notebook import Notebook
from dagy_nb.running import WIDGET, without_our_frames
from dagy_nb.runs import KEPT_VIEWS, Runs

from .conftest import Bundle, NotebookShell, RecordingComm, RecordingScreen


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    join("-view")


def join(*names: str) -> None:
    """Wait for the threads that feed views, or of other names."""
    for each in threading.enumerate():
        if each.name.endswith(names):
            each.join(60)


def new_runs(*, is_live: bool = False) -> tuple[Runs, RecordingScreen]:
    screen = RecordingScreen(is_live=is_live)
    return Runs(Notebook({}), screen), screen


def wires(comms: list[RecordingComm]) -> list[RecordingComm]:
    """The connections of views, in order."""
    return [each for each in comms if "flow_name" in each.state]


def ask(wire: RecordingComm, message: Bundle) -> None:
    """What a page asks for, until it has been answered."""
    wire.receive(message)
    join("dagy-answer")


def one() -> int:
    return 1


def flow_of(*functions: Callable[[], object], name: str = "made") -> Flow[..., Any]:
    @flow(name=name)
    def made() -> None:
        for each in functions:
            task(each)()

    return made


@pytest.fixture
def steps(tmp_path: Path) -> Flow[..., Any]:
    """Loads, cleans and sums; fails until there is a file `mended`. The file `calls` says what was called."""
    folder = str(tmp_path)

    def called(name: str) -> None:
        with Path(folder, "calls").open("a") as file:
            file.write(f"{name} ")

    @task
    def load(rows: int) -> list[int]:
        called("load")
        return list(range(rows))

    @task
    def clean(rows: list[int], scale: int) -> list[int]:
        called("clean")
        if not Path(folder, "mended").exists():
            raise ValueError("not mended")
        return [each * scale for each in rows]

    @task
    def total(rows: list[int]) -> int:
        called("total")
        return sum(rows)

    @flow
    def steps(rows: int = 3, scale: int = 1) -> int:
        return total(clean(load(rows), scale))

    return steps


def calls(folder: Path) -> list[str]:
    """What was called since the last time."""
    path = folder / "calls"
    found = path.read_text().split() if path.exists() else []
    path.write_text("")
    return found


# ---- finding


def test_runs_are_found_by_their_id_or_its_start_or_end() -> None:
    runs, _ = new_runs()
    first, second = runs.start(flow_of(one, name="first")), runs.start(flow_of(one, name="second"))
    assert runs.all() == (first, second)
    assert runs.last is runs.find() is runs.find("latest") is second
    assert runs.find(first.run_id) is runs.find("first") is runs.find(first.run_id[-6:]) is first


@pytest.mark.parametrize("reference", ["nope", "", "latest"])
def test_a_run_that_is_not_there_is_an_error_that_names_those_that_are(reference: str) -> None:
    runs, _ = new_runs()
    held = [] if reference == "latest" else [runs.start(flow_of(one))]
    with pytest.raises(UnknownRunError) as caught:
        runs.find(reference)
    assert caught.value.known == tuple(each.run_id for each in held)


def test_a_start_that_several_runs_have_names_none() -> None:
    runs, _ = new_runs()
    held = [runs.start(flow_of(one)), runs.start(flow_of(one))]
    with pytest.raises(UnknownRunError):
        runs.find("made")
    assert len(held) == 2


def test_only_the_newest_run_is_held() -> None:
    runs, _ = new_runs()
    first = weakref.ref(runs.start(flow_of(one)))
    second = runs.start(flow_of(one))
    join("-view")
    gc.collect()
    assert first() is None
    assert runs.all() == (second,)


class Large:
    """A result that can be seen to go."""


def test_a_view_that_is_kept_does_not_hold_results(comms: list[RecordingComm]) -> None:
    seen: list[weakref.ref[Large]] = []

    def large() -> Large:
        made = Large()
        seen.append(weakref.ref(made))
        return made

    runs, _ = new_runs(is_live=True)
    runs.start(flow_of(large))
    assert seen[0]() is not None
    runs.start(flow_of(one))
    join("-view")
    gc.collect()
    assert seen[0]() is None
    assert "comm_close" not in [kind for each in comms for kind, _ in each.sent]


# ---- cancelling


def waiting(reached: threading.Event, opened: threading.Event) -> Callable[[], None]:
    def waits() -> None:
        reached.set()
        while not opened.wait(0.01):
            pass

    return waits


def test_a_cancel_is_for_one_run_or_for_all_that_go_on() -> None:
    runs, _ = new_runs()
    opened, reached = threading.Event(), [threading.Event() for _ in range(3)]
    ended = runs.start(flow_of(one))
    a, b, c = (
        runs.start(flow_of(waiting(each, opened), name=n), background=True)
        for each, n in zip(reached, "abc", strict=True)
    )
    assert all(each.wait(60) for each in reached)
    assert runs.cancel(a.run_id) == (a,)
    assert a.wait(60).status is StateType.CANCELLED
    assert runs.cancel() == (b, c)
    assert {each.wait(60).status for each in (b, c)} == {StateType.CANCELLED}
    assert runs.cancel(ended.run_id) == runs.cancel() == ()


def test_a_run_in_the_background_can_be_cancelled_whoever_holds_it() -> None:
    runs, screen = new_runs()
    reached = [threading.Event(), threading.Event()]
    for each in reached:
        runs.start(flow_of(waiting(each, threading.Event())), background=True)
    assert all(each.wait(60) for each in reached)
    gc.collect()
    assert len(runs.cancel()) == 2
    join("-view")
    assert len(screen.replaced) == 2
    gc.collect()
    assert len(runs.all()) == 1


def test_a_session_goes_on_after_its_views_were_closed(comms: list[RecordingComm]) -> None:
    runs, _ = new_runs(is_live=True)
    runs.start(flow_of(one))
    join("-view")
    runs.close()
    runs.start(flow_of(one))
    join("-view")
    assert [each.sent[-1][0] == "comm_close" for each in wires(comms)] == [True, False]
    runs.close()


def test_an_interrupt_while_a_run_begins_cancels_it() -> None:
    class InterruptedScreen(RecordingScreen):
        def show_replaceable(self, bundle: Bundle) -> str:
            signal.raise_signal(signal.SIGINT)
            return super().show_replaceable(bundle)

    screen = InterruptedScreen()
    before = signal.getsignal(signal.SIGINT)
    run = Runs(Notebook({}), screen).start(flow_of(waiting(threading.Event(), threading.Event())), must_complete=False)
    assert (run.state.type, run.state.message) == (StateType.CANCELLED, "interrupted")
    assert (screen.capturing, len(screen.replaced), signal.getsignal(signal.SIGINT)) == (0, 1, before)


def test_closing_cancels_what_goes_on_and_closes_every_view(comms: list[RecordingComm]) -> None:
    runs, screen = new_runs(is_live=True)
    reached = threading.Event()
    ended = runs.start(flow_of(one))
    run = runs.start(flow_of(waiting(reached, threading.Event())), background=True)
    assert reached.wait(60)
    runs.show_form(flow_of(one))
    runs.close()
    assert run.wait(60).status is StateType.CANCELLED
    join("-view")
    assert [each.sent[-1][0] for each in comms] == ["comm_close"] * len(comms)
    assert len(screen.replaced) == 2
    assert ended.status is StateType.COMPLETED


def test_the_models_of_the_newest_runs_stay_and_older_ones_are_closed(comms: list[RecordingComm]) -> None:
    runs, _ = new_runs(is_live=True)
    for _ in range(KEPT_VIEWS + 2):
        runs.start(flow_of(one))
        join("-view")
    closed = [each.sent[-1][0] == "comm_close" for each in wires(comms)]
    assert closed == [True] * 2 + [False] * KEPT_VIEWS
    runs.close()


def test_the_newest_forms_stay_and_older_ones_are_closed(comms: list[RecordingComm]) -> None:
    runs, _ = new_runs(is_live=True)
    for _ in range(KEPT_VIEWS + 2):
        runs.show_form(flow_of(one))
    closed = [each.sent[-1][0] == "comm_close" for each in wires(comms)]
    assert closed == [True] * 2 + [False] * KEPT_VIEWS
    runs.close()


# ---- running again


def test_what_completed_is_used_again_and_the_rest_runs(steps: Flow[..., Any], tmp_path: Path) -> None:
    runs, screen = new_runs()
    failed = runs.start(steps, must_complete=False)
    assert calls(tmp_path) == ["load", "clean"]
    (tmp_path / "mended").touch()
    again = runs.rerun(failed)
    assert calls(tmp_path) == ["clean", "total"]
    assert (again["load"], again["total"], again.status) == ([0, 1, 2], 3, StateType.COMPLETED)
    assert runs.last is again is not failed
    note = f"reused 1 result of {failed.run_id}"
    assert all(note in screen.replaced[-1][1][kind] for kind in ("text/html", "text/plain"))


def test_a_run_from_the_start_uses_nothing_again(steps: Flow[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mended").touch()
    runs, screen = new_runs()
    runs.rerun(runs.start(steps), from_start=True)
    assert calls(tmp_path) == ["load", "clean", "total"] * 2
    assert "reused" not in screen.replaced[-1][1]["text/plain"]


def test_only_what_another_parameter_reaches_runs_again(steps: Flow[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mended").touch()
    runs, _ = new_runs()
    run = runs.start(steps, {"rows": 4})
    calls(tmp_path)
    again = runs.rerun(run, parameters={"rows": 4, "scale": 10})
    assert (calls(tmp_path), again["total"]) == (["clean", "total"], 60)
    assert runs.rerun(again)["total"] == 60
    assert calls(tmp_path) == []
    assert runs.rerun(again, parameters={"rows": 5, "scale": 10})["total"] == 100
    assert calls(tmp_path) == ["load", "clean", "total"]


def test_a_parameter_that_was_changed_in_place_is_another_one(tmp_path: Path) -> None:
    @task
    def total(rows: list[int]) -> int:
        return sum(rows)

    @flow
    def sums(rows: list[int]) -> int:
        return total(rows)

    rows = [1, 2]
    runs, _ = new_runs()
    run = runs.start(sums, {"rows": rows})
    rows.append(3)
    assert runs.rerun(run)["total"] == 6


def test_items_that_completed_are_used_again(tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def half(number: int) -> float | None:
        with Path(folder, "calls").open("a") as file:
            file.write(f"{number} ")
        if number == 3 and not Path(folder, "mended").exists():
            raise ValueError("three")
        return None if number == 1 else number / 2

    @flow
    def halves(numbers: list[int]) -> Any:
        return half.map(numbers)

    runs, screen = new_runs()
    failed = runs.start(halves, {"numbers": [1, 2, 3, 4]}, must_complete=False, fail_fast=False)
    calls(tmp_path)
    (tmp_path / "mended").touch()
    again = runs.rerun(failed)
    assert (calls(tmp_path), again["half"]) == (["3"], [None, 1.0, 1.5, 2.0])
    assert "reused 3 items of" in screen.replaced[-1][1]["text/plain"]


def test_a_run_under_way_is_not_run_again() -> None:
    runs, _ = new_runs()
    reached, opened = threading.Event(), threading.Event()
    run = runs.start(flow_of(waiting(reached, opened)), background=True)
    with pytest.raises(DefinitionError, match="still under way; cancel it"):
        runs.rerun(run)
    opened.set()
    run.wait(60)


CLEAN = "%%dagy_task\ndef clean(load):\n    return [1 / each for each in load]"


def test_an_edited_cell_runs_again_with_all_below_it_and_what_is_above_does_not(notebook: NotebookShell) -> None:
    notebook.ok("calls = __import__('collections').Counter()", "0")
    notebook.ok("%%dagy_task\ndef load():\n    print('loading')\n    return [0, 1]", "1")
    notebook.ok(CLEAN, "2")
    notebook.ok("%%dagy_task\ndef total(clean):\n    return sum(clean)", "3")
    assert "ZeroDivisionError" in notebook.fails("%dagy_run", "4")
    notebook.ok(CLEAN.replace("1 / each", "1 / (each + 1)"), "2")
    runs = notebook.session.runs
    again = runs.rerun(runs.last)
    assert again["total"] == 1.5
    assert {each.id: each.attempt for each in again.wait().task_runs.values()} == {"load": 0, "clean": 1, "total": 1}

    notebook.ok("%%dagy_task\ndef load():\n    return [1, 1]", "1")  # it had completed
    assert runs.rerun(again)["total"] == 1.0


@pytest.mark.parametrize(
    ("extend", "edited"),
    [
        pytest.param(
            "%%dagy_task extend\nfor each in [2, 3]:\n    rows.append(each)",
            "%%dagy_task extend\nfor each in [2, 3, 4]:\n    rows.append(each)",
            id="statements",
        ),
        pytest.param(
            "%%dagy_task\ndef extend(rows):\n    rows.extend([2, 3])\n    return rows",
            "%%dagy_task\ndef extend(rows):\n    rows.extend([2, 3, 4])\n    return rows",
            id="function",
        ),
        pytest.param(
            "@task\ndef extend(rows):\n    rows.extend([2, 3])\n    return rows",
            "@task\ndef extend(rows):\n    rows.extend([2, 3, 4])\n    return rows",
            id="decorated",
        ),
    ],
)
def test_a_result_that_was_changed_in_place_is_made_anew(notebook: NotebookShell, extend: str, edited: str) -> None:
    notebook.ok("from dagy import flow, task", "0")
    notebook.ok("%%dagy_task\nrows = []\nfor each in [0, 1]:\n    rows.append(each)", "1")
    notebook.ok("%%dagy_task\nother = 'kept'", "2")
    notebook.ok(extend, "3")
    if extend.startswith("@"):
        notebook.ok("%%dagy_flow\nlast = extend(rows())\nother()", "4")
    notebook.ok("run = %dagy_run", "5")
    runs = notebook.session.runs
    runs.rerun(runs.last)  # uses everything again, so that what was changed is of the run before the last
    notebook.ok(edited, "3")
    again = runs.rerun(runs.last)
    assert again["extend"] == [0, 1, 2, 3, 4]
    assert again.wait().task_runs["other"].attempt == 0


def test_a_value_that_nothing_tells_apart_is_the_same_only_if_it_is_the_very_object(notebook: NotebookShell) -> None:
    notebook.ok(
        "import threading\nclass Client:\n    def __init__(self, n): self.n, self.lock = n, threading.Lock()", "0"
    )
    notebook.ok("client = Client(1)", "1")
    notebook.ok("%%dagy_task\ndef asked():\n    return client.n", "2")
    notebook.ok("run = %dagy_run", "3")
    runs = notebook.session.runs
    assert runs.rerun(runs.last).wait().task_runs["asked"].attempt == 0
    notebook.ok("client = Client(2)", "1")
    assert runs.rerun(runs.last)["asked"] == 2


def test_a_helper_that_was_edited_counts_as_the_task_that_calls_it(notebook: NotebookShell) -> None:
    notebook.ok("FACTOR = 2\ndef scaled(x):\n    return x * FACTOR", "0")
    notebook.ok("%%dagy_task\nbase = 10", "1")
    notebook.ok("%%dagy_task\ndef total(base):\n    return scaled(base)", "2")
    notebook.ok("run = %dagy_run", "3")
    runs = notebook.session.runs
    notebook.ok("FACTOR = 3", "4")
    again = runs.rerun(runs.last)
    assert (again["total"], again.wait().task_runs["base"].attempt) == (30, 0)


def test_a_run_that_somebody_else_began_is_shown_and_not_run_again(comms: list[RecordingComm]) -> None:
    runs, screen = new_runs(is_live=True)
    run = runs.follow(flow_of(one).start_local(keep_results=True))
    assert (run["one"], runs.last) == (1, run)
    assert "COMPLETED" in screen.still["text/plain"]
    assert wires(comms)[0].state["can_rerun"] is False
    with pytest.raises(DefinitionError, match="process of its own"):
        runs.rerun(run)


# ---- what a page asks for


def test_a_page_runs_what_failed_again_in_the_same_output(
    comms: list[RecordingComm], steps: Flow[..., Any], tmp_path: Path
) -> None:
    runs, screen = new_runs(is_live=True)
    run = runs.start(steps, must_complete=False)
    first_id = run.run_id
    (wire,) = wires(comms)
    assert wire.state["can_rerun"] is True
    assert [each["name"] for each in wire.state["form"]] == ["rows", "scale"]
    (tmp_path / "mended").touch()
    join("-view")
    ask(wire, {"op": "rerun", "from": "failed", "parameters": None})
    _, newer = wires(comms)
    assert wire.sent[-1][0] != "comm_close"  # a page may not have taken the view away yet
    display, bundle = screen.replaced[1]
    # A page that does not know the output by its display id finds it by what it is.
    (told,) = [each for each in wire.custom if each["op"] == "started"]
    assert (told["run_id"], told["model_id"]) == (newer.state["run_id"], wire.comm_id)
    assert told["data"] in [each for _, each in screen.replaced[1:]]
    assert (display, bundle[WIDGET]["model_id"]) == ("display-1", newer.comm_id)
    assert newer.state["blocking"] is False
    assert newer.state["snapshot"]["tasks"]["load"]["preview"]["content"] == "[0, 1, 2]"

    # The handle that the cell gave goes on with the newer run.
    assert run.wait(60).status is StateType.COMPLETED
    assert (run["total"], run.run_id, runs.all()) == (3, newer.state["run_id"], (run,))
    assert run.run_id != first_id
    join("-view")
    assert len(screen.shown) == 1
    assert [each for each, _ in screen.replaced] == ["display-1"] * 3
    assert calls(tmp_path) == ["load", "clean", "clean", "total"]

    async def awaited() -> Any:
        return await run

    assert asyncio.run(awaited())["total"] == 3


def test_a_page_may_run_again_with_other_parameters(
    comms: list[RecordingComm], steps: Flow[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "mended").touch()
    runs, _ = new_runs(is_live=True)
    run = runs.start(steps)
    join("-view")
    ask(wires(comms)[0], {"op": "rerun", "from": "start", "parameters": {"rows": "4", "scale": "2"}})
    assert run.wait(60).value == 12


@pytest.mark.parametrize(
    ("texts", "field", "message"),
    [({"rows": "many"}, "rows", "can't be 'many'"), ({"row": "1"}, None, "did you mean 'rows'")],
)
def test_parameters_that_can_not_be_are_refused_by_field(
    comms: list[RecordingComm],
    steps: Flow[..., Any],
    texts: Mapping[str, str],
    field: str | None,
    message: str,
) -> None:
    runs, screen = new_runs(is_live=True)
    runs.start(steps, must_complete=False)
    join("-view")
    (wire,) = wires(comms)
    ask(wire, {"op": "rerun", "from": "failed", "parameters": texts})
    (refused,) = [each for each in wire.custom if each["op"] == "refused"]
    assert (refused["about"], refused["problems"][0]["field"]) == ("rerun", field)
    assert message in refused["problems"][0]["message"]
    assert len(screen.replaced) == 1


def test_two_clicks_begin_one_run(comms: list[RecordingComm], steps: Flow[..., Any]) -> None:
    runs, _ = new_runs(is_live=True)
    runs.start(steps, must_complete=False)
    join("-view")
    (wire,) = wires(comms)
    for _ in range(2):
        wire.receive({"op": "rerun", "from": "failed", "parameters": None})
    join("dagy-answer")
    join("-view")
    assert len(wires(comms)) == 2


def test_a_page_is_told_that_results_are_gone(comms: list[RecordingComm]) -> None:
    runs, _ = new_runs(is_live=True)
    runs.start(flow_of(one))
    runs.start(flow_of(one))
    join("-view")
    gc.collect()
    first, _ = wires(comms)
    ask(first, {"op": "rerun", "from": "failed", "parameters": None})
    (refused,) = [each for each in first.custom if each["op"] == "refused"]
    assert "are not held any more; run the flow anew" in refused["problems"][0]["message"]


# ---- a form


def test_a_form_shows_the_flow_and_its_button_begins_the_run(
    comms: list[RecordingComm], steps: Flow[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "mended").touch()
    runs, screen = new_runs(is_live=True)
    form = runs.show_form(steps, {"scale": 5})
    (wire,) = wires(comms)
    assert (wire.state["is_form"], list(wire.state["about"])) == (True, ["load", "clean", "total"])
    assert {each["name"]: each["value"] for each in wire.state["form"]} == {"rows": "3", "scale": "5"}
    assert (form.run, runs.all(), calls(tmp_path)) == (None, (), [])
    ask(wire, {"op": "run", "parameters": {"rows": "4", "scale": "5"}})
    assert form.run is not None
    assert form.run is runs.last
    assert form.run.wait(60).value == 30
    join("-view")
    assert [each for each, _ in screen.replaced] == ["display-1"] * 2
    assert wire.sent[-1][0] != "comm_close"  # a page may not have taken the form away yet


def test_a_form_needs_a_page(steps: Flow[..., Any]) -> None:
    runs, screen = new_runs()
    with pytest.raises(DefinitionError, match="--param NAME=VALUE"):
        runs.show_form(steps)
    assert screen.shown == []


# ---- what the view knows of tasks


def test_a_task_is_known_with_its_cell_and_its_options(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task --retries 2\nbase = 10", "first-cell")
    notebook.ok("from dagy import task\n@task(timeout_seconds=5)\ndef total(base):\n    return base", "second-cell")
    notebook.ok("%%dagy_flow both\ntotal(base())", "third-cell")
    runs = notebook.session.runs
    program = notebook.session.flow().program()
    about = runs._about(program.spec, program)
    assert about["base"]["cell"] == {"id": "first-cell", "label": "cell [2]", "number": 2}
    assert about["total"]["cell"]["id"] == "second-cell"
    assert (about["base"]["retries"], about["total"]["timeout"], about["total"]["needs"]) == (2, 5.0, ["base"])


def test_a_node_is_known_with_its_cell_its_connectors_and_its_settings(notebook: NotebookShell) -> None:
    notebook.ok("from dagy import flow, task\nfrom dagy.nodes import node\n@task\ndef load():\n    return [1]", "first")
    notebook.ok("@node\ndef enlarged(rows: list, factor: int = 2) -> list:\n    return rows", "second")
    notebook.ok("@flow\ndef both():\n    return enlarged(factor=3)(rows=load())", "third")
    program = notebook.session.flow("both").program()
    about = notebook.session.runs._about(program.spec, program)
    assert about["load"]["node"] is None
    assert about["enlarged"]["cell"]["id"] == "second"
    known = about["enlarged"]["node"]
    assert [(port["id"], port["types"], port["joined"]) for port in known["inbound"]] == [
        ("rows", "list", [{"task": "load", "words": "load"}])
    ]
    assert known["settings"] == [{"name": "factor", "value": "3", "is_secret": False}]


# ---- failures


def test_where_there_is_a_view_the_cells_error_is_short(comms: list[RecordingComm], steps: Flow[..., Any]) -> None:
    runs, screen = new_runs(is_live=True)
    with pytest.raises(TaskFailedError) as caught:
        runs.start(steps)
    first, second = caught.value._render_traceback_()  # type: ignore[attr-defined]
    assert first == "TaskFailedError: task 'clean' of flow 'steps': FAILED: ValueError: not mended"
    assert second == "the traceback is in the view of the run"
    assert screen.still["text/html"].count("Traceback") == 1


def test_the_short_error_names_the_line_of_the_cell() -> None:
    failure = DefinitionError("the task failed")
    try:
        int("boom")
    except ValueError as cause:
        failure.__cause__ = cause
    told = without_our_frames(failure, {__file__: "cell [3]"}.get, is_short=True)
    _, place = told._render_traceback_()  # type: ignore[attr-defined]
    assert re.fullmatch(r"raised in cell \[3\], line \d+; the traceback is in the view of the run", place)


def test_where_there_is_no_view_the_traceback_is_there_once(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\ndef broken():\n    return 1 / 0", "1")
    ran = notebook.run("%dagy_run", "2")
    assert (ran.text + ran.html).count("Traceback (most recent call last)") == 1
