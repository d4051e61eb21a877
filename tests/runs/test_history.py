from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dagy import flow, task
from dagy.engine import ItemChanged, RunResult
from dagy.errors import SkipTask, UnknownRunError, UnknownTaskError
from dagy.runs import History
from dagy.runs.checks import violations
from dagy.runs.store import Store
from dagy.states import StateType, completed

from .conftest import Script, etl


@task
def wrong() -> int:
    raise ValueError("wrong")


@flow
def bad():
    return wrong()


@task
def files() -> list[int]:
    raise SkipTask("no new files")


@task
def doubled(number: int) -> int:
    if number > 1:
        raise SkipTask("too large")
    return 2 * number


@flow
def nothing_to_do():
    return [doubled(files()), doubled.map([1, 2])]


def test_what_was_skipped_by_choice_is_told_with_its_reason(local_dir: Path, record: Callable[..., RunResult]) -> None:
    run_id = record(nothing_to_do).run_id
    with History(local_dir) as history:
        assert history.run(run_id).state.is_completed
        assert {each.id: (str(each.state), each.attempt) for each in history.tasks(run_id)} == {
            "files": ("SKIPPED: no new files", 1),
            "doubled": ("SKIPPED: not started, because 'files' was skipped", 0),
            "doubled-2": ("COMPLETED", 1),
        }
        items = [str(each.state) for each in history.events(run_id) if type(each) is ItemChanged]
        assert sorted(items) == ["COMPLETED", "RUNNING", "RUNNING", "SKIPPED: too large"]
    with Store(local_dir) as store:
        assert list(violations(store, 0)) == []


def test_there_may_be_no_history_yet(local_dir: Path) -> None:
    with History(local_dir) as history:
        assert history.runs() == []
        with pytest.raises(UnknownRunError):
            history.run()
        with pytest.raises(UnknownRunError):
            history.events("run-1")
    assert not local_dir.exists(), "who looks makes nothing"


def test_runs_are_listed_newest_first_and_may_be_chosen(local_dir: Path, record: Callable[..., RunResult]) -> None:
    ids = [record(each).run_id for each in (etl, bad, etl)]
    with History(local_dir) as history:
        assert [each.run_id for each in history.runs()] == ids[::-1]
        assert [each.run_id for each in history.runs(limit=1)] == ids[2:]
        assert history.runs(limit=0) == []
        assert len(history.runs(limit=2**70)) == 3
        assert history.runs(flow="\udcff") == []
        assert [each.run_id for each in history.runs(flow="bad")] == [ids[1]]
        assert [each.run_id for each in history.runs(status=StateType.COMPLETED)] == [ids[2], ids[0]]
        assert [each.run_id for each in history.runs(status=StateType.COMPLETED, flow="bad")] == []


def test_a_run_is_named_by_its_id_the_start_or_the_end_of_it(local_dir: Path, script: Callable[..., Script]) -> None:
    for run_id in ("etl-1-aa", "etl-2-bb", "web-1-cc", "etl"):
        script(run_id)
    with History(local_dir) as history:
        found = {each: history.run(each).run_id for each in ("etl-1-aa", "etl", "web", "bb", "etl-2", "latest")}
        assert found == {
            "etl-1-aa": "etl-1-aa", "etl": "etl", "web": "web-1-cc", "bb": "etl-2-bb", "etl-2": "etl-2-bb",
            "latest": "etl",
        }  # fmt: skip
        for reference in ("", "nope", "b", "%", "_", "\udcff"):
            with pytest.raises(UnknownRunError):
                history.run(reference)
        with pytest.raises(
            UnknownRunError, match="several runs begin or end with 'etl-': 'etl-2-bb', 'etl-1-aa'; name"
        ):
            history.run("etl-")
        with pytest.raises(UnknownRunError, match="did you mean 'web-1-cc'"):
            history.run("web-1-cd")


def test_the_output_of_an_unknown_task_is_refused(local_dir: Path, record: Callable[..., RunResult]) -> None:
    run_id = record(etl).run_id
    with History(local_dir) as history:
        with pytest.raises(UnknownTaskError, match="did you mean 'load'"):
            list(history.output(run_id, task="lod"))
        assert list(history.output(run_id)) == []


def test_a_clock_that_was_set_back_makes_no_time_negative(local_dir: Path, script: Callable[..., Script]) -> None:
    times = iter([10**15] * 10)
    each = script("run-1", clock=lambda: next(times, 10))
    each.recorder.end(completed(), 10, None)
    with History(local_dir) as history:
        assert history.run("run-1").seconds == 0.0


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM events WHERE seq = 1", "event 1 is missing"),
        ("UPDATE events SET state = 5 WHERE kind = 0 AND seq > 0", "is COMPLETED, but its events end with FAILED"),
        ("UPDATE events SET state = 2 WHERE kind = 1", "can't go from RUNNING to RUNNING"),
        ("UPDATE events SET attempt = 7 WHERE kind = 1", "attempt 7 follows attempt 0"),
        ("DELETE FROM results", "'load' completed, and its result is not there"),
        ("UPDATE counts SET tasks = 9", "the numbers of its tasks by state are wrong"),
        ("UPDATE runs SET lease_until = 5", "has ended, and yet has a lease"),
        ("UPDATE runs SET ended_at = NULL", "has not ended, and it could not be recorded any more"),
        ("UPDATE runs SET resumed_by = 'x'", "is said to be resumed by 'x', which does not say so"),
        ("UPDATE runs SET resumed_from = 'x'", "goes on with 'x', which is not there"),
        ("UPDATE results SET codec = 'json', value = NULL, name = 'results/1'", "is missing or cut off"),
        ("DELETE FROM specs", "its flow is missing"),
        ("UPDATE specs SET json = '{'", "holds what no dagy has written"),
        ("UPDATE events SET state = 77 WHERE kind = 1", "holds what no dagy has written"),
    ],
)
def test_each_violation_is_found(local_dir: Path, record: Callable[..., RunResult], damage: str, told: str) -> None:
    record(etl)
    with Store(local_dir) as store:
        assert list(violations(store, 0)) == []
        with store.writing() as db:
            db.execute(damage)
        assert told in "\n".join(violations(store, 0))


def test_a_recorded_result_that_was_computed_again_is_found(local_dir: Path, record: Callable[..., RunResult]) -> None:
    one, other = record(etl).run_id, record(etl).run_id
    with Store(local_dir) as store:
        with store.writing() as db:
            db.execute("UPDATE runs SET resumed_from = ? WHERE run_id = ?", (one, other))
        assert f"'load' ran again, although run {one!r} had recorded its result" in "\n".join(violations(store, 0))
