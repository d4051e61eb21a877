from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.engine.log import OUTPUT_LIMIT
from dagy.errors import ResultGoneError, StoreError
from dagy.program import Program
from dagy.runs import History
from dagy.runs.output import OutputFile, read_output
from dagy.runs.specs import spec_json
from dagy.runs.store import Store
from dagy.spec import FlowSpec
from dagy.states import StateType, completed, failed, retrying, running, skipped

from .conftest import Script, etl


def test_a_run_is_there_before_its_first_task_starts(local_dir: Path, script: Callable[..., Script]) -> None:
    script("run-1")
    with History(local_dir) as history:
        run = history.run("run-1")
        assert (run.status, run.tasks, run.ended_at) == (StateType.RUNNING, {StateType.PENDING: 2}, None)
        assert {name: each.value() for name, each in history.parameters("run-1").items()} == {"day": "monday"}
        assert history.spec("run-1") == etl.spec


def test_the_end_is_there_when_it_is_told(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    each.recorder.end(completed(), 5, None)
    with History(local_dir) as history:
        assert history.run("run-1").status is StateType.COMPLETED
        assert history.run("run-1").ended_at == 5e-9


def test_the_events_come_back_as_they_were(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    each.add(lambda seq: RunChanged(seq, 1, running()))
    each.add(lambda seq: TaskChanged(seq, 2, "load", 1, running()))
    each.add(lambda seq: ItemChanged(seq, 3, "load", 7, 1, failed("no \ud83d luck\0")))
    each.add(lambda seq: TaskChanged(seq, 3, "load", 1, retrying("attempt 1 of 2: ValueError: ‮x")))
    each.add(lambda seq: TaskWrote(seq, 4, "load", 1, "stdout", "hello\n"))
    each.add(lambda seq: TaskShowed(seq, 5, "load", 1, {"text/plain": "<a>"}, {"wide": True}))
    each.add(lambda seq: HookFailed(seq, 6, None, "hook", ValueError("no")))
    each.recorder.end(completed(), 9, None)
    each.add(lambda seq: HookFailed(seq, 8, "load", "late", ValueError("no")))
    each.add(lambda seq: RunChanged(seq, 9, completed()))
    each.recorder.close()
    with History(local_dir) as history:
        found = history.events("run-1")
        assert history.events("run-1", since=8) == found[8:]
    told = each.log.since(0)
    hooks = [place for place, event in enumerate(told) if isinstance(event, HookFailed)]
    assert [str(found[place].error) for place in hooks] == ["ValueError: no"] * 2
    assert [event for place, event in enumerate(found) if place not in hooks] == [
        event for place, event in enumerate(told) if place not in hooks
    ]


def test_of_a_display_that_json_can_not_hold_its_texts_are_kept(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    data = {"text/plain": "<chart>", "application/json": {(1, 2): "a key that JSON does not know"}}
    each.add(lambda seq: TaskShowed(seq, 5, "load", 1, data, {}))
    each.recorder.end(completed(), 9, None)
    with History(local_dir) as history:
        (found,) = [event for event in history.events("run-1") if isinstance(event, TaskShowed)]
    assert found.data == {"text/plain": "<chart>"}


def test_live_and_recorded_runs_tell_the_same(local_dir: Path, record: Callable[..., Any]) -> None:
    @task(retries=1)
    def shaky(rows: list[int]) -> int:
        raise ValueError("no rows")

    @flow
    def fails():
        return shaky(etl())

    result = record(fails)
    with History(local_dir) as history:
        tasks = {each.id: each for each in history.tasks(result.run_id)}
        assert {name: (each.state, each.attempt) for name, each in tasks.items()} == {
            name: (each.state, each.attempt) for name, each in result.task_runs.items()
        }
        assert history.run().state == result.state
        assert history.run().tasks == {StateType.COMPLETED: 2, StateType.FAILED: 1}


def test_results_come_back(local_dir: Path, record: Callable[..., Any]) -> None:
    values = [None, True, 5, 2**70, 1.5, float("inf"), "text", "half \ud83d", [1, {"a": 2}], (1, 2), b"x", "y" * 50_000]

    @task
    def give(number: int) -> object:
        return values[number]

    @flow
    def gives():
        return [give(number) for number in range(len(values))]

    result = record(gives)
    with History(local_dir) as history:
        found = history.results(result.run_id)
    assert [each.value() for each in found.values()] == values
    assert [each.plain for each in found.values()][:3] == ["null", "true", "5"]
    assert [path.name for path in (local_dir / "runs" / result.run_id / "results").iterdir()] == ["11-all-1"]


def test_a_result_that_cannot_be_kept_is_noted(local_dir: Path, record: Callable[..., Any]) -> None:
    @task
    def lock() -> object:
        return threading.Lock()

    @flow
    def locks():
        return lock()

    result = record(locks)
    assert result.state.is_completed
    with History(local_dir) as history:
        (found,) = history.results(result.run_id).values()
        assert (found.codec, found.is_whole, found.plain) == (None, False, None)
        with pytest.raises(ResultGoneError, match="could not be kept: the result of 'lock'"):
            found.value()


def test_a_result_that_is_cut_off_is_told_from_a_whole_one(local_dir: Path, record: Callable[..., Any]) -> None:
    @task
    def large() -> str:
        return "x" * 10_000

    @flow
    def one():
        return large()

    result = record(one)
    (path,) = (local_dir / "runs" / result.run_id / "results").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with History(local_dir) as history:
        (found,) = history.results(result.run_id).values()
    with pytest.raises(ResultGoneError, match="missing or cut off"):
        found.value()


def test_a_result_is_there_before_its_task_is_said_to_have_completed(
    local_dir: Path, script: Callable[..., Script]
) -> None:
    each = script("run-1")
    each.recorder.keep("load", None, 1, [1])
    with Store(local_dir) as store:
        while True:  # the recorder's thread writes it; pytest's time limit bounds this
            with store.reading() as db:
                if db.execute("SELECT count(*) FROM results").fetchone() == (1,):
                    break


def test_an_owner_that_was_declared_gone_cannot_write(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    with Store(local_dir) as store, store.writing() as db:
        db.execute("UPDATE runs SET fence = fence + 1")
    each.add(lambda seq: RunChanged(seq, 1, running()))
    with pytest.raises(StoreError, match="taken over by another process"):
        each.recorder.end(completed(), 5, None)
    with pytest.raises(StoreError, match="taken over"):
        each.recorder.keep("load", None, 1, 5)
    with Store(local_dir) as store, store.reading() as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_a_run_that_cannot_be_recorded_any_more_is_given_up_once(
    local_dir: Path, script: Callable[..., Script]
) -> None:
    each = script("run-1")
    with Store(local_dir) as store, store.writing() as db:
        db.execute("DROP TABLE results")
    each.recorder.keep("load", None, 1, 5)
    while not each.given_up:  # the recorder's thread finds out; pytest's time limit bounds this
        pass
    with pytest.raises(StoreError, match="no such table"):
        each.recorder.end(completed(), 5, None)
    assert len(each.given_up) == 1


def test_a_defect_of_a_recorder_fails_the_run_and_does_not_leave_it_without_an_end(
    local_dir: Path, script: Callable[..., Script], caplog: pytest.LogCaptureFixture
) -> None:
    each = script("run-1")
    each.add(lambda seq: TaskChanged(seq, 1, "no such task", 1, running()))
    with pytest.raises(StoreError, match="run 'run-1' can't be recorded: KeyError"):
        each.recorder.end(completed(), 9, None)
    assert "KeyError" in caplog.text


def test_after_a_run_nothing_of_its_recorder_is_left(local_dir: Path, record: Callable[..., Any]) -> None:
    result = record(etl)
    assert [each.name for each in threading.enumerate() if result.run_id in each.name] == []
    assert sorted(path.name for path in local_dir.rglob("*")) == ["history.db", "runs"]


def test_the_same_graph_is_kept_once(local_dir: Path, record: Callable[..., Any]) -> None:
    for _ in range(3):
        record(etl)
    with Store(local_dir) as store, store.reading() as db:
        counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("runs", "specs", "sources")]
    assert counts == [3, 1, 2]


def test_the_flow_is_kept_as_its_reader_reads_it(program: Program) -> None:
    @task(retries=2, retry_delay_seconds=[1, 2], timeout_seconds=5)
    def busy(rows: list[int], other: object = None) -> int:
        """What it does."""
        return 1

    @flow(version="2", timeout_seconds=9)
    def inner(limit: int = 3):
        first = busy([1, 2], other={"a": [busy([3])]})
        after = busy([4.5, "ü", None, True], other=(first, {first[0]}, limit))
        return {"sum": busy.map([[1], [2]]), "first": first[0], "limit": limit, "all": [first, after, [after, 2**70]]}

    @flow
    def outer():
        return inner()

    @flow
    def nothing():
        pass

    for spec in (program.spec, inner.spec, outer.spec, nothing.spec):
        assert FlowSpec.model_validate_json(spec_json(spec)) == spec


def test_a_task_that_writes_very_much_has_its_first_output_in_the_events(
    local_dir: Path, script: Callable[..., Script]
) -> None:
    each = script("run-1")
    for _ in range(3):
        each.add(lambda seq: TaskWrote(seq, 1, "load", 1, "stdout", "x" * (OUTPUT_LIMIT // 2)))
    each.recorder.end(completed(), 9, None)
    with History(local_dir) as history:
        sizes = [len(event.text) for event in history.events("run-1") if isinstance(event, TaskWrote)]
    assert sizes == [OUTPUT_LIMIT // 2, OUTPUT_LIMIT // 2, 0]


def test_all_that_a_task_wrote_is_on_the_disk(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    each.recorder.write(1, "load", 1, "stdout", "first ")
    each.recorder.write(2, "load", 1, "stdout", "line\n")
    each.recorder.write(3, "total", 1, "stderr", "half \ud83d\0\x1b[31m")
    each.recorder.write(4, "load", 1, "stdout", "x" * 200_000)
    each.recorder.end(completed(), 9, None)
    with History(local_dir) as history:
        found = list(history.output("run-1"))
        assert "".join(each.text for each in history.output("run-1", task="load")) == "first line\n" + "x" * 200_000
    assert found[:2] == [(1, "load", 1, "stdout", "first line\n"), (3, "total", 1, "stderr", "half \ud83d\0\x1b[31m")]
    assert max(len(each.text) for each in found) == 65_536


def test_what_comes_after_the_end_is_let_go(tmp_path: Path) -> None:
    file = OutputFile(tmp_path / "output.jsonl")
    file.write(1, "load", 1, "stdout", "in time")
    file.close()
    file.write(2, "load", 1, "stdout", "late" * 100_000)
    file.flush()
    assert [each.text for each in read_output(tmp_path / "output.jsonl")] == ["in time"]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    file = OutputFile(path)
    file.write(1, "load", 1, "stdout", "whole")
    file.close()
    with path.open("a") as rest:
        rest.write('{"at":2,"task":"lo')
    assert [each.text for each in read_output(path)] == ["whole"]


def test_a_line_that_nobody_has_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    path.write_text(json.dumps({"at": 1}) + "\n")
    with pytest.raises(StoreError, match="can't be read"):
        list(read_output(path))


def test_who_follows_the_output_gets_what_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    file = OutputFile(path)
    looks = iter([False, False, True])

    def is_over() -> bool:
        file.write(1, "load", 1, "stdout", "more")
        file.flush()
        return next(looks)

    assert [each.text for each in read_output(path, is_over=is_over)] == ["more"] * 3
    file.close()


def test_skipped_and_pending_tasks_are_counted(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    each.add(lambda seq: RunChanged(seq, 1, running()))
    each.add(lambda seq: TaskChanged(seq, 2, "total", 0, skipped("not started")))
    each.recorder.end(failed("half"), 5, None)
    with History(local_dir) as history:
        assert history.run().tasks == {StateType.PENDING: 1, StateType.SKIPPED: 1}
        assert [task.state.type for task in history.tasks("run-1")] == [StateType.PENDING, StateType.SKIPPED]
