"""A run started from a notebook, followed on a screen that records: what is shown, when, and what is left behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dagy import Flow, StateType, TaskFailedError, flow, task
from dagy.errors import DefinitionError, ParameterError, RunCancelledError, RunTimeoutError
from dagy_nb.notebook import Notebook
from dagy_nb.running import PREVIEW_SECONDS, WIDGET, NotebookRun, with_cells
from dagy_nb.runs import Runs

from .conftest import Bundle, RecordingComm, RecordingScreen, wire_of


class Gate:
    """What a task waits for, and the test opens."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def pass_through(self) -> None:
        """Called by the task."""
        self.reached.set()
        while not self._open.wait(0.01):
            pass

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()
    join_followers()


def join_followers() -> None:
    """Wait for the threads that feed views."""
    for each in threading.enumerate():
        if each.name.endswith("-view"):
            each.join(60)


def started(flow: Flow[..., Any], screen: RecordingScreen, *, waits: bool = True, **options: Any) -> NotebookRun:
    parameters = options.pop("parameters", {})
    return Runs(Notebook({}), screen).begin(flow, parameters, waits=waits, **options)


def finished(flow: Flow[..., Any], screen: RecordingScreen, **options: Any) -> NotebookRun:
    run = started(flow, screen, **options)
    run.shown.wait_in_cell()
    return run


def flow_of(*functions: Callable[[], object]) -> Flow[..., Any]:
    """A flow whose tasks depend on nothing."""

    @flow(name="made")
    def made() -> None:
        for each in functions:
            task(each)()

    return made


def one() -> int:
    return 1


# ---- what is shown


def test_a_run_is_shown_at_once_and_replaced_by_its_still_at_the_end() -> None:
    screen = RecordingScreen()
    run = finished(flow_of(one), screen)
    assert len(screen.shown) == 1
    assert screen.shown[0]["text/plain"].startswith("made: running\n")
    assert [display for display, _ in screen.replaced] == ["display-1"]
    assert set(screen.still) == {"text/html", "text/plain"}
    assert "data:image/svg+xml" in screen.still["text/html"]
    assert screen.still["text/html"].startswith(f'<div class="dagy-still" data-dagy-run="{run.run_id}">')
    assert screen.still["text/plain"] == str(run.wait())
    assert screen.capturing == 0


def test_a_run_is_not_shown_twice_by_the_cell_that_started_it() -> None:
    screen = RecordingScreen()
    run = finished(flow_of(one), screen)
    run._ipython_display_()
    assert len(screen.shown) == 1
    screen.moment += 1
    run._ipython_display_()
    assert screen.shown[1] == screen.still


def test_a_run_under_way_is_shown_in_a_later_cell_by_a_line(gate: Gate) -> None:
    screen = RecordingScreen()
    run = started(flow_of(gate.pass_through), screen, waits=False)
    screen.moment += 1
    run._ipython_display_()
    assert "RUNNING" in screen.shown[1]["text/plain"]
    assert run.run_id in repr(run)


def test_a_background_run_replaces_its_picture_by_itself(gate: Gate) -> None:
    screen = RecordingScreen()
    run = started(flow_of(gate.pass_through), screen, waits=False)
    assert (run.done, run.status, screen.replaced) == (False, StateType.RUNNING, [])
    gate.open()
    run.wait(60)
    join_followers()
    assert "COMPLETED" in screen.still["text/plain"]
    assert screen.capturing == 0


def test_a_result_can_be_had_in_every_way() -> None:
    run = finished(flow_of(one), RecordingScreen())
    assert run["one"] == 1
    assert run.wait(0)["one"] == 1
    assert run.state.is_completed

    async def awaited() -> Any:
        return await run

    assert asyncio.run(awaited())["one"] == 1


def test_waiting_has_a_limit(gate: Gate) -> None:
    run = started(flow_of(gate.pass_through), RecordingScreen(), waits=False)
    with pytest.raises(TimeoutError, match="has not ended within 0 s"):
        run.wait(0)


# ---- output


def test_what_tasks_print_and_log_is_theirs_and_not_the_cells(capsys: pytest.CaptureFixture[str]) -> None:
    def prints() -> None:
        print("to stdout")
        print("to stderr", file=sys.stderr)

    def logs() -> None:
        logging.getLogger("of.the.user").warning("to the log")

    before = (sys.stdout, sys.stderr, list(logging.getLogger().handlers))
    run = finished(flow_of(prints, logs), RecordingScreen())
    tasks = run.wait().task_runs
    assert tasks["prints"].output == "to stdout\nto stderr\n"
    assert "WARNING of.the.user: to the log" in tasks["logs"].output
    assert capsys.readouterr() == ("", "")
    assert (sys.stdout, sys.stderr, list(logging.getLogger().handlers)) == before


def test_a_line_drawn_over_itself_is_in_the_still_as_it_ended() -> None:
    def progress() -> None:
        for percent in range(101):
            print(f"\r{percent} %", end="")
        print()

    screen = RecordingScreen()
    finished(flow_of(progress), screen)
    assert "100 %" in screen.still["text/html"]
    assert "50 %" not in screen.still["text/html"]


def test_a_flood_of_output_leaves_a_small_still() -> None:
    def flood() -> None:
        for number in range(100_000):
            print("line", number)

    screen = RecordingScreen()
    run = finished(flow_of(flood), screen)
    assert len(json.dumps(screen.still)) < 100_000
    assert "line 99999" in screen.still["text/html"]
    assert len(run.wait().task_runs["flood"].output) < 1_100_000


def test_a_result_has_a_preview_in_the_still_and_none_has_none() -> None:
    def text() -> str:
        return "<found>"

    def nothing() -> None:
        return None

    screen = RecordingScreen()
    finished(flow_of(text, nothing), screen)
    assert "&#x27;&lt;found&gt;&#x27;" in screen.still["text/html"]
    assert screen.still["text/html"].count("<details") == 1


def test_a_value_that_can_not_be_shown_does_not_hold_up_the_run() -> None:
    class BrokenScreen(RecordingScreen):
        def bundle_of(self, value: object) -> Bundle:
            raise OSError("no ink")

    screen = BrokenScreen()
    finished(flow_of(one), screen)
    assert "a int that can&#x27;t be shown: it raised OSError(&#x27;no ink&#x27;)" in screen.still["text/html"]


def test_previews_that_take_too_long_are_left_out_and_those_of_final_results_come_first() -> None:
    class SlowScreen(RecordingScreen):
        def bundle_of(self, value: object) -> Bundle:
            until = time.thread_time() + PREVIEW_SECONDS / 4
            while time.thread_time() < until:
                pass
            return super().bundle_of(value)

    @task
    def step(number: int) -> str:
        return f"result of {number}"

    @task
    def last(numbers: list[str]) -> str:
        return "result of all"

    @flow
    def steps() -> object:
        return last([step(number) for number in range(20)])

    screen = SlowScreen()
    finished(steps, screen)
    assert "result of all" in screen.still["text/html"]
    assert 1 <= screen.still["text/html"].count("result of ") < 10
    assert screen.still["text/html"].count("not shown to save time") > 10


def test_a_run_that_can_not_be_drawn_at_its_end_leaves_nothing_behind(comms: list[RecordingComm]) -> None:
    class GoneScreen(RecordingScreen):
        def replace(self, display_id: str, bundle: Bundle) -> None:
            raise OSError("the page has gone")

    screen = GoneScreen(is_live=True)
    run = started(flow_of(one), screen)
    with pytest.raises(OSError, match="the page has gone"):
        run.shown.wait_in_cell()
    assert screen.capturing == 0
    assert run["one"] == 1


# ---- mapped tasks, and runs that are tried again


def test_a_mapped_task_is_one_line_whose_failed_items_come_first(comms: list[RecordingComm]) -> None:
    @task
    def halve(number: int) -> int:
        print("halving", number)
        if number % 2:
            raise ValueError(f"{number} is odd")
        return number // 2

    @flow
    def halves(numbers: list[int]) -> object:
        return halve.map(numbers)

    screen = RecordingScreen(is_live=True)
    run = started(halves, screen, parameters={"numbers": [2, 5, 4, 3]}, fail_fast=False)
    run.shown.wait_in_cell()
    join_followers()
    wire = wire_of(comms)
    last = [each["tasks"]["halve"] for each in wire.custom if each["op"] == "delta" and "halve" in each["tasks"]][-1]
    assert last["items"] == {"count": 4, "done": 2, "failed": 2, "skipped": 0, "running": 0}
    _, first, second = re.split("item [13]: ", screen.still["text/html"])
    faults = [each for each in wire.custom if each["op"] == "snapshot"][-1]["tasks"]["halve"]["faults"]
    assert [each["item"] for each in faults] == [1, 3]
    for one, other in ((first, second), [each["error"] for each in faults]):
        assert "ValueError: 5 is odd" in one
        assert "ValueError: 3 is odd" in other
        assert one.count("in halve") == other.count("in halve") == 1
    assert screen.still["text/html"].count("<details") == 1
    assert "00,000 of 00,000" in wire.state["picture"]  # so that the counts will fit


def test_a_run_that_is_tried_again_goes_on_in_the_same_view(comms: list[RecordingComm]) -> None:
    tries: list[int] = []

    @task
    def second_time() -> int:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError("not yet")
        return 7

    @flow(retries=1)
    def stubborn() -> object:
        return second_time()

    screen = RecordingScreen(is_live=True)
    run = started(stubborn, screen)
    run.shown.wait_in_cell()
    assert run.shown.completed()["second_time"] == 7
    assert run.status is StateType.COMPLETED
    (_, bundle) = screen.replaced[-1]
    assert (len(screen.replaced), "COMPLETED" in bundle["text/plain"]) == (1, True)
    last = [each for each in wire_of(comms).custom if each["op"] == "delta"][-1]
    assert last["run"]["state"] == "COMPLETED"


def test_a_run_out_of_time_says_so_without_frames(gate: Gate) -> None:
    @task
    def waits() -> None:
        gate.pass_through()

    @flow(timeout_seconds=0.05)
    def short() -> object:
        return waits()

    screen = RecordingScreen()
    run = started(short, screen)
    run.shown.wait_in_cell()
    with pytest.raises(RunTimeoutError) as caught:
        run.shown.completed()
    assert caught.value._render_traceback_() == [f"RunTimeoutError: {caught.value}"]  # type: ignore[attr-defined]
    assert "TIMED_OUT" in screen.still["text/plain"]


# ---- tasks in processes


def test_the_result_of_a_process_has_a_preview() -> None:
    @task(isolation="process")
    def large() -> bytes:
        return b"x" * 3_000_000

    @flow
    def of_a_process() -> object:
        return large()

    screen = RecordingScreen()
    run = started(of_a_process, screen)
    run.shown.wait_in_cell()
    assert "b&#x27;xxxx" in screen.still["text/html"]
    assert run["large"] == b"x" * 3_000_000


def test_what_the_state_says_already_is_not_said_again() -> None:
    @task(isolation="process")
    def dies() -> None:
        print("last words", flush=True)
        os._exit(3)

    @flow
    def of_a_process() -> object:
        return dies()

    screen = RecordingScreen()
    run = started(of_a_process, screen)
    run.shown.wait_in_cell()
    with pytest.raises(TaskFailedError) as caught:
        run.shown.completed()
    (line,) = caught.value._render_traceback_()  # type: ignore[attr-defined]
    assert "died: exit code 3" in line
    assert "last words" in screen.still["text/html"]
    assert "Traceback" not in screen.still["text/html"]


# ---- what does not start


@pytest.mark.parametrize(
    ("options", "error"),
    [({"max_workers": 0}, DefinitionError), ({"parameters": {"x": 1}}, ParameterError)],
)
def test_a_run_that_can_not_start_leaves_nothing_behind(options: dict[str, Any], error: type[Exception]) -> None:
    screen = RecordingScreen()
    with pytest.raises(error):
        started(flow_of(one), screen, **options)
    assert (screen.capturing, screen.shown) == (0, [])


# ---- failures and cancels


def test_a_failed_run_is_raised_as_its_tasks_failure() -> None:
    def broken() -> None:
        raise ValueError("boom")

    screen = RecordingScreen()
    run = finished(flow_of(broken), screen)
    with pytest.raises(TaskFailedError) as caught:
        run.shown.completed()
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.result.status is StateType.FAILED
    shown = "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]  # what IPython shows of it
    assert "in broken" in shown
    assert "ValueError: boom" in shown
    assert "dagy_nb" not in shown
    assert "ValueError: boom" in screen.still["text/html"]


def test_a_cancel_stops_the_run_and_the_cell_says_so(gate: Gate) -> None:
    screen = RecordingScreen()
    run = started(flow_of(gate.pass_through), screen)
    assert gate.reached.wait(60)
    run.cancel()
    run.shown.wait_in_cell()
    with pytest.raises(RunCancelledError, match="cancelled") as caught:
        run.shown.completed()
    assert caught.value._render_traceback_() == [f"RunCancelledError: {caught.value}"]  # type: ignore[attr-defined]
    assert "cancelled in the notebook" in screen.still["text/html"]


class Interrupts(threading.Event):
    """An event of which every wait is interrupted, as by the notebook's stop button, `count` times."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def wait(self, timeout: float | None = None) -> bool:
        if self._left:
            self._left -= 1
            raise KeyboardInterrupt
        return super().wait(timeout)


def test_an_interrupt_cancels_the_run_and_the_cell_goes_on_to_its_end(gate: Gate) -> None:
    screen = RecordingScreen()
    run = started(flow_of(gate.pass_through), screen)
    run.shown._has_still = Interrupts(1)
    run.shown.wait_in_cell()
    assert run.status is StateType.CANCELLED
    assert "interrupted" in screen.still["text/plain"]


def test_a_second_interrupt_stops_waiting_and_the_still_comes_by_itself(comms: list[RecordingComm], gate: Gate) -> None:
    def stubborn(_context: object, _state: object) -> None:  # no run ends before its hooks have
        gate.pass_through()

    @task(on_running=[stubborn])
    def quick() -> None:
        return None

    @flow
    def held() -> None:
        quick()

    screen = RecordingScreen(is_live=True)
    run = started(held, screen)
    run.shown._has_still = Interrupts(2)
    assert gate.reached.wait(60)
    with pytest.raises(KeyboardInterrupt):
        run.shown.wait_in_cell()
    assert screen.replaced == []
    updates = [data["state"] for _, data in wire_of(comms).sent if data and data.get("method") == "update"]
    assert updates == [{"blocking": False}]  # the page's cancel must not interrupt another cell
    gate.open()
    join_followers()
    assert run.status is StateType.CANCELLED
    assert len(screen.replaced) == 1
    assert screen.capturing == 0


# ---- the live view


def test_a_live_page_gets_a_widget_whose_model_outlasts_the_run_but_not_the_session(
    comms: list[RecordingComm], gate: Gate
) -> None:
    screen = RecordingScreen(is_live=True)
    runs = Runs(Notebook({}), screen)
    run = runs.begin(flow_of(gate.pass_through), waits=True)
    wire = wire_of(comms)
    assert screen.shown[0][WIDGET] == {"model_id": wire.comm_id, "version_major": 2, "version_minor": 0}
    assert wire.state["blocking"] is True
    gate.open()
    run.shown.wait_in_cell()
    assert WIDGET not in screen.still
    assert "comm_close" not in [kind for each in comms for kind, _ in each.sent]
    join_followers()
    runs.close()
    assert [each.sent[-1][0] for each in comms] == ["comm_close"] * len(comms)


def test_the_deltas_tell_the_whole_run(comms: list[RecordingComm]) -> None:
    def speaks() -> int:
        print("hello")
        return 5

    finished(flow_of(speaks), RecordingScreen(is_live=True))
    join_followers()
    wire = wire_of(comms)
    deltas = [each for each in wire.custom if each["op"] == "delta"]
    assert [each["number"] for each in deltas] == list(range(1, len(deltas) + 1))
    last = {
        **wire.state["snapshot"]["tasks"],
        **{name: head for each in deltas for name, head in each["tasks"].items()},
    }
    assert last["speaks"]["state"] == "COMPLETED"
    assert last["speaks"]["preview"] == {"kind": "text", "content": "5"}
    assert [runs for each in deltas for _, _, runs in each["written"]] == [[["stdout", "hello", 1]]]
    assert deltas[-1]["run"]["state"] == "COMPLETED"
    assert all(isinstance(each["now"], int) for each in deltas)
    assert (wire.custom[-1]["op"], wire.custom[-1]["number"]) == ("snapshot", len(deltas))


def test_a_page_that_says_it_is_ready_is_sent_a_snapshot(comms: list[RecordingComm], gate: Gate) -> None:
    run = started(flow_of(gate.pass_through), RecordingScreen(is_live=True), waits=False)
    assert gate.reached.wait(60)
    wire_of(comms).receive({"op": "ready"})
    gate.open()
    run.wait(60)
    join_followers()
    assert [each["op"] for each in wire_of(comms).custom].count("snapshot") == 2  # one more comes at the end
    wire_of(comms).receive({"op": "ready"})  # of a page that draws the still
    for each in threading.enumerate():
        if each.name == "dagy-snapshot":
            each.join(60)
    assert wire_of(comms).custom[-1]["tasks"]["pass_through"]["state"] == "COMPLETED"


def test_the_cancel_button_cancels(comms: list[RecordingComm], gate: Gate) -> None:
    screen = RecordingScreen(is_live=True)
    run = started(flow_of(gate.pass_through), screen, waits=False)
    assert gate.reached.wait(60)
    wire = wire_of(comms)
    wire.receive({"op": "cancel"})
    assert {"op": "acknowledged"} in wire.custom
    assert run.wait(60).status is StateType.CANCELLED
    join_followers()
    assert "cancelled in the notebook" in screen.still["text/html"]


def test_a_page_that_is_lost_does_not_hold_up_the_run(
    comms: list[RecordingComm], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise OSError("the socket is closed")

    raised: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    screen = RecordingScreen(is_live=True)
    opened = threading.Event()

    def waits() -> int:
        opened.wait(60)
        return 1

    run = started(flow_of(waits), screen)
    monkeypatch.setattr(RecordingComm, "publish_msg", lost)
    opened.set()
    with pytest.raises(OSError, match="the socket is closed"):  # the widget can't be closed either
        run.shown.wait_in_cell()
    assert run["waits"] == 1
    assert "COMPLETED" in screen.still["text/plain"]
    assert screen.capturing == 0


def test_a_page_without_widgets_gets_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    from dagy_nb.widgets import run_view

    run_view._view_class.cache_clear()
    try:
        screen = RecordingScreen(is_live=True)
        finished(flow_of(one), screen)
    finally:
        run_view._view_class.cache_clear()
    assert set(screen.shown[0]) == {"text/plain"}
    assert "data:image/svg+xml" in screen.still["text/html"]


def test_runs_may_overlap(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    def waits() -> None:
        gate.pass_through()
        print("of the first")

    def quick() -> None:
        print("of the second")

    first, second = RecordingScreen(), RecordingScreen()
    slow = started(flow_of(waits), first)
    assert gate.reached.wait(60)
    finished(flow_of(quick), second)
    print("of the cell")
    gate.open()
    slow.shown.wait_in_cell()
    assert "of the first" in first.still["text/html"]
    assert "of the second" not in first.still["text/html"]
    assert "of the second" in second.still["text/html"]
    assert capsys.readouterr().out == "of the cell\n"


# ---- cells by name


def test_files_that_are_cells_are_called_as_the_notebook_calls_them() -> None:
    text = 'Traceback:\n  File "/cells/x.py", line 3, in f\n    go()\n  File "/lib/y.py", line 7, in go\n'
    cells = {"/cells/x.py": "cell [4]"}
    assert with_cells(text, cells.get) == text.replace('File "/cells/x.py", line 3', "Cell [4], line 3")
