from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import RunOptions, RunResult, new_run_id, run
from dagy.errors import ResumeError, UnknownRunError
from dagy.runs import History, RunRecorder, load_for_resume, recorded_parameters
from dagy.runs.checks import violations
from dagy.runs.store import Store

from .conftest import Script

calls: list[str] = []
is_broken = True


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global is_broken
    calls.clear()
    is_broken = True


def mended() -> None:
    global is_broken
    is_broken = False


@task
def first(day: str) -> tuple[int, str]:
    calls.append("first")
    return (1, day)


@task
def second(row: tuple[int, str]) -> list[object]:
    calls.append("second")
    if is_broken:
        raise ValueError("broken")
    return list(row)


@flow
def two(day: str = "monday"):
    return second(first(day))


def resume(local_dir: Path, run_id: str = "latest", of: Any = two) -> RunResult:
    found = load_for_resume(local_dir, run_id, of.program())
    recorder = RunRecorder(local_dir, resumed_from=found.run_id)
    options = RunOptions(
        new_run_id(of.name), recorder=recorder, reused=found.results, reused_items=found.items, fail_fast=False
    )
    return run(of.program(), found.parameters, options)


def problems(local_dir: Path) -> list[str]:
    with Store(local_dir) as store:
        return list(violations(store, 0))


def test_what_was_recorded_is_not_computed_again(local_dir: Path, record: Callable[..., RunResult]) -> None:
    failed = record(two, day="friday")
    mended()
    result = resume(local_dir)
    assert (result.value, calls) == ([1, "friday"], ["first", "second", "second"])
    with History(local_dir) as history:
        old, new = history.run(failed.run_id), history.run(result.run_id)
        assert (old.resumed_by, new.resumed_from) == (new.run_id, old.run_id)
        assert not old.state.is_completed, "final stays final"
    assert problems(local_dir) == []


def test_a_run_may_be_resumed_again_and_again(local_dir: Path, record: Callable[..., RunResult]) -> None:
    failed = record(two)
    resume(local_dir)
    resume(local_dir, failed.run_id)  # stands for the run that went on with it
    mended()
    assert resume(local_dir).state.is_completed
    assert calls.count("first") == 1
    with pytest.raises(ResumeError, match=f"which went on with '{failed.run_id}', has completed"):
        load_for_resume(local_dir, failed.run_id, two.program())
    assert problems(local_dir) == []


def test_items_of_a_mapped_task_are_not_computed_again(local_dir: Path, record: Callable[..., RunResult]) -> None:
    @task
    def each(row: int) -> int:
        calls.append(str(row))
        if row == 2 and is_broken:
            raise ValueError("broken")
        return row * 10

    @flow
    def mapped():
        return each.map([1, 2, 3])

    record(mapped)
    mended()
    result = resume(local_dir, of=mapped)
    assert result.value == [10, 20, 30]
    assert sorted(calls) == ["1", "2", "2", "3"]
    assert problems(local_dir) == []


def test_what_an_attempt_returned_too_late_is_not_used(local_dir: Path, script: Callable[..., Script]) -> None:
    from dagy.engine import RunChanged, TaskChanged
    from dagy.states import cancelled, failed, running

    each = script("run-1")
    each.add(lambda seq: RunChanged(seq, 1, running()))
    each.add(lambda seq: TaskChanged(seq, 2, "load", 1, running()))
    each.recorder.keep("load", None, 1, [1])
    each.add(lambda seq: TaskChanged(seq, 3, "load", 1, failed("timed out")))
    each.add(lambda seq: TaskChanged(seq, 3, "total", 0, cancelled()))
    each.recorder.end(failed("it"), 5, None)
    assert load_for_resume(local_dir, "run-1", each.recorder._program).results == {}


def test_changed_code_is_refused_with_the_difference(local_dir: Path, record: Callable[..., RunResult]) -> None:
    def flow_with(body: str) -> Any:
        space: dict[str, Any] = {"task": task, "flow": flow, "second": second}
        path = local_dir.parent / f"code{len(body)}.py"
        path.write_text(
            f"@task\ndef early(day: str):\n    {body}\n\n@flow\ndef coded(day: str = 'x'):\n    return second(early(day))\n"
        )
        exec(compile(path.read_text(), str(path), "exec"), space)
        return space["coded"]

    record(flow_with("return (1, day)"))
    mended()
    with pytest.raises(ResumeError, match="the code of a task whose result it recorded has changed") as caught:
        load_for_resume(local_dir, "latest", flow_with("return (2, day, day)").program())
    assert "the code of 'early':" in str(caught.value)
    assert "-    return (1, day)" in str(caught.value)
    assert "+    return (2, day, day)" in str(caught.value)
    assert load_for_resume(local_dir, "latest", flow_with("return (1, day)").program()).results.keys() == {"early"}


def test_a_changed_graph_is_refused_with_the_difference(local_dir: Path, record: Callable[..., RunResult]) -> None:
    record(two)

    @flow(name="two")
    def other(day: str = "monday"):
        return second(second(first(day)))

    with pytest.raises(ResumeError, match="the flow's graph has changed") as caught:
        load_for_resume(local_dir, "latest", other.program())
    assert "+second-2: second(row=second)" in str(caught.value)


def test_changed_options_are_no_obstacle(local_dir: Path, record: Callable[..., RunResult]) -> None:
    record(two)

    @flow(name="two", version="2", retries=3)
    def patient(day: str = "monday"):
        return second.with_options(retries=5)(first(day)) if hasattr(second, "with_options") else second(first(day))

    assert load_for_resume(local_dir, "latest", patient.program()).results.keys() == {"first"}


def test_other_parameters_are_refused(local_dir: Path, record: Callable[..., RunResult]) -> None:
    record(two, day="friday")
    assert recorded_parameters(local_dir, "latest") == {"day": "friday"}
    assert load_for_resume(local_dir, "latest", two.program(), {"day": "friday"}).parameters == {"day": "friday"}
    with pytest.raises(ResumeError, match=r"day was 'friday', and is 'monday' now"):
        load_for_resume(local_dir, "latest", two.program(), {"day": "monday"})


def test_a_run_that_goes_on_is_refused(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    with pytest.raises(ResumeError, match="'run-1' is still running, by process"):
        load_for_resume(local_dir, "run-1", each.recorder._program)


def test_an_unknown_run_is_refused(local_dir: Path, record: Callable[..., RunResult]) -> None:
    known = record(two).run_id
    with pytest.raises(UnknownRunError, match=known):
        load_for_resume(local_dir, known[:-1] + "x", two.program())


def test_of_two_who_resume_at_once_one_wins(local_dir: Path, record: Callable[..., RunResult]) -> None:
    failed = record(two)
    outcomes: list[str] = []
    ready = threading.Barrier(4)

    def claim(name: str) -> None:
        recorder = RunRecorder(local_dir, resumed_from=failed.run_id)
        from dagy.engine.log import EventLog

        ready.wait()
        try:
            recorder.begin(name, two.program(), {}, EventLog(threading.RLock()), print)
        except ResumeError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("won")
            recorder.close()

    threads = [threading.Thread(target=claim, args=(f"run-{number}",)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert outcomes.count("won") == 1
    assert sum("is resumed by run 'run-" in each for each in outcomes) == 3


def test_a_result_that_is_lost_is_computed_anew(local_dir: Path, record: Callable[..., RunResult]) -> None:
    @task
    def large(day: str) -> tuple[int, str]:
        calls.append("large")
        return (1, "x" * 10_000)

    @flow
    def heavy(day: str = "monday"):
        return second(large(day))

    failed = record(heavy)
    (path,) = (local_dir / "runs" / failed.run_id / "results").iterdir()
    path.unlink()
    mended()
    assert resume(local_dir, of=heavy).state.is_completed
    assert calls.count("large") == 2
