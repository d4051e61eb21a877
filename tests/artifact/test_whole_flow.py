"""A whole flow in one invocation, with a store: what lasts of it is there for who follows it, and for who goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.handler import answer, loaded
from dagy.artifact.invocations import StopSwitch
from dagy.artifact.run_store import RunStore, scheduled
from dagy.runs.event_json import event_from_json

from .cloud import unpacked

FLOW = """
from dagy import flow, task

CALLS = []
HOLD = lambda: None


@task
def load(count: int):
    print("loading")
    CALLS.append("load")
    return list(range(count))


@task
def double(row, worst: int):
    CALLS.append(f"double {row}")
    if row >= worst:
        raise ValueError("too much")
    return 2 * row


@task
def large(rows):
    CALLS.append("large")
    return "x" * 100_000


@task
def wait(text):
    HOLD()
    return len(text)


@flow(name="etl")
def etl(count: int = 3, worst: int = 99):
    rows = load(count)
    return [double.map(rows, worst=worst), wait(large(rows))]
"""


@pytest.fixture(autouse=True)
def _forget_flows() -> Iterator[None]:
    yield
    loaded.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unpacked(tmp_path, "etl", FLOW)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


@pytest.fixture
def ask(folder: Path, url: str) -> Callable[..., dict[str, Any]]:
    """What the whole flow is answered with."""

    def ask(run_id: str = "etl-1", switch: StopSwitch | None = None, **payload: Any) -> dict[str, Any]:
        return answer({"run_id": run_id, **payload}, folder, store=url, switch=switch)

    return ask


def names(folder: Path) -> dict[str, Any]:
    """The names of the flow's own module."""
    found: dict[str, Any] = loaded(folder).flow.function.__globals__
    return found


def test_its_events_and_its_answer_are_in_the_store(ask: Callable[..., Any], url: str) -> None:
    told = ask()
    assert told["state"] == "COMPLETED"
    store = RunStore(url, "etl-1")
    assert store.answer() == told
    assert store.values.opened(told["result"]) == [[0, 2, 4], 100_000]
    events = [event_from_json({"seq": 0, **each}) for _, batch in store.events() for each in batch]
    assert [str(each.state.type) for each in events if each.kind == "run"] == ["RUNNING", "COMPLETED"]
    assert "".join(each.text for each in events if each.kind == "output") == "loading\n"
    assert len([each for each in events if each.kind == "task"]) == 8


def test_the_traceback_of_what_a_task_raised_is_told_as_it_comes(ask: Callable[..., Any], url: str) -> None:
    ask(parameters={"worst": 2}, fail_fast=False, max_workers=1)
    events = [each for _, batch in RunStore(url, "etl-1").events() for each in batch]
    (number,) = [number for number, each in enumerate(events) if each.get("stream") == "error"]
    assert events[number]["text"].endswith("ValueError: too much\n")
    assert next(each["state"] for each in events[number:] if each["kind"] == "item") == "FAILED"


def test_a_double_invocation_leaves_the_run_alone(ask: Callable[..., Any], folder: Path, url: str) -> None:
    store = RunStore(url, "etl-1")
    store.begin({"parameters": {}, "references": {}, "code_hash": "", "fail_fast": True})
    told = ask()
    assert (told["state"], told["message"]) == ("RUNNING", "it has begun already, in another invocation")
    assert names(folder)["CALLS"] == []
    store.keep_answer({"state": "FAILED", "message": "long ago"})
    assert ask() == {"state": "FAILED", "message": "long ago"}


def test_parameters_may_lie_in_the_store(ask: Callable[..., Any], url: str) -> None:
    RunStore(url, "etl-1").put_parameters({"count": 1})
    assert ask()["result"] == {"value": [[0], 100_000]}


def test_parameters_that_do_not_fit_fail_the_run_for_all_to_see(ask: Callable[..., Any], url: str) -> None:
    told = ask(parameters={"count": "many"})
    assert told["state"] == "FAILED"
    store = RunStore(url, "etl-1")
    assert store.answer() == told
    assert [each["state"] for _, batch in store.events() for each in batch] == ["FAILED"]


def test_a_run_that_goes_on_computes_only_what_is_missing(ask: Callable[..., Any], folder: Path, url: str) -> None:
    assert ask(parameters={"worst": 2}, fail_fast=False)["state"] == "FAILED"
    calls = names(folder)["CALLS"]
    calls.clear()
    assert ask("etl-2", resume="etl-1")["message"] == "1 of 4 tasks failed: 'double'"
    assert calls == ["double 2"]
    assert RunStore(url, "etl-2").begun()["parameters"] == {"worst": 2}  # type: ignore[index]  # it has begun
    calls.clear()
    assert ask("etl-3", resume="etl-2")["state"] == "FAILED"  # what it has from the first one is there too
    assert calls == ["double 2"]


@pytest.mark.parametrize(
    ("resume", "parameters", "message"),
    [
        ("no-such-run", None, "nothing of it is left in the store"),
        ("etl-1", {"worst": 7}, "can't be resumed with other parameters"),
        ("etl-0", None, "has completed; there is nothing left to do"),
    ],
)
def test_what_can_not_be_gone_on_with_is_refused(
    ask: Callable[..., Any], resume: str, parameters: dict[str, Any] | None, message: str
) -> None:
    ask("etl-0")
    ask("etl-1", parameters={"worst": 2})
    told = ask("etl-2", resume=resume, parameters=parameters)
    assert told["error"]["type"] == "dagy.errors.ResumeError"
    assert message in told["message"]


def test_whoever_stops_the_process_ends_the_run_and_its_state_says_so(ask: Callable[..., Any], folder: Path) -> None:
    switch, has_begun = StopSwitch(), threading.Event()

    def hold() -> None:
        has_begun.set()
        while True:
            threading.Event().wait(0.01)

    names(folder)["HOLD"] = hold
    threading.Thread(target=lambda: has_begun.wait(10) and switch.ask("the container was told to stop")).start()
    told = ask(switch=switch)
    assert (told["state"], told["message"]) == ("CANCELLED", "the container was told to stop")
    assert told["tasks"]["large"]["state"] == "COMPLETED"


def test_whoever_asks_in_the_store_ends_the_run_too(
    ask: Callable[..., Any], folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagy.artifact.recording.FIRST_SECONDS", 0.01)
    monkeypatch.setattr("dagy.artifact.recording.LOOK_SECONDS", 0.0)

    def hold() -> None:
        RunStore(url, "etl-1").ask_to_stop("enough")
        while True:
            threading.Event().wait(0.01)

    names(folder)["HOLD"] = hold
    told = ask()
    assert (told["state"], told["message"]) == ("CANCELLED", "enough")


def test_a_store_that_fails_as_it_goes_does_not_fail_the_run(
    ask: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    for name in ("events", "results"):
        (tmp_path / "store" / "etl-1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / "etl-1" / name).write_text("a file, where a folder is needed")
    assert ask(parameters={"worst": 1}, fail_fast=False)["message"] == "1 of 4 tasks failed: 'double'"


def test_a_run_that_a_schedule_began_is_found_by_its_deployment(ask: Callable[..., Any], url: str) -> None:
    ask("etl-7", deployment="team/etl", trigger="schedule", parameters={"count": 1})
    ask("etl-8", deployment="team/etl")
    values = RunStore(url, "etl-7").values
    ((key, told),) = scheduled(values, "team/etl")
    assert (told["run_id"], told["deployment"], told["parameters"]) == ("etl-7", "team/etl", {"count": 1})
    assert list(scheduled(values, "team/etl", after=key)) == []
    assert list(scheduled(values, "team/other")) == []


def test_what_is_written_beyond_a_measure_is_only_in_the_log(
    ask: Callable[..., Any], url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dagy.artifact.recording.MOST_TEXT_IN_ALL", 3)
    assert ask()["state"] == "COMPLETED"
    kinds = [each["kind"] for _, batch in RunStore(url, "etl-1").events() for each in batch]
    assert "output" not in kinds
    assert kinds.count("task") == 8
    assert "etl-1 load | loading\n" in capfd.readouterr().err


def test_events_are_left_out_where_nobody_wants_them(ask: Callable[..., Any], url: str) -> None:
    assert ask(events=False)["state"] == "COMPLETED"
    assert list(RunStore(url, "etl-1").events()) == []
