from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import RunChanged, RunOptions, RunResult, TaskChanged, new_run_id, run
from dagy.engine.log import EventLog
from dagy.errors import ResumeError, SkipTask, UnknownRunError
from dagy.runs import History, RunRecorder, load_for_resume, recorded_parameters
from dagy.runs.checks import violations
from dagy.runs.store import Store
from dagy.states import cancelled, failed, running

from .conftest import Script


class World:
    """What tasks find and leave outside. It is reached through an environment variable: a global would be code."""

    def __init__(self, folder: Path) -> None:
        self._calls = folder / "calls"
        self._broken = folder / "broken"
        self._broken.touch()

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().split() if self._calls.exists() else []

    def mend(self) -> None:
        self._broken.unlink()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("TEST_WORLD", str(tmp_path))
    return World(tmp_path)


def called(name: str) -> None:
    with (Path(os.environ["TEST_WORLD"]) / "calls").open("a") as file:
        file.write(f"{name}\n")


def is_broken() -> bool:
    return (Path(os.environ["TEST_WORLD"]) / "broken").exists()


@task
def first(day: str) -> tuple[int, str]:
    called("first")
    return (1, day)


@task
def second(row: tuple[int, str]) -> list[object]:
    called("second")
    if is_broken():
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


def test_what_was_recorded_is_not_computed_again(
    world: World, local_dir: Path, record: Callable[..., RunResult]
) -> None:
    one = record(two, day="friday")
    world.mend()
    result = resume(local_dir)
    assert (result.value, world.calls) == ([1, "friday"], ["first", "second", "second"])
    with History(local_dir) as history:
        old, new = history.run(one.run_id), history.run(result.run_id)
        assert (old.resumed_by, new.resumed_from) == (new.run_id, old.run_id)
        assert not old.state.is_completed, "final stays final"
    assert problems(local_dir) == []


def test_a_run_may_be_resumed_again_and_again(world: World, local_dir: Path, record: Callable[..., RunResult]) -> None:
    one = record(two)
    resume(local_dir)
    resume(local_dir, one.run_id)  # stands for the run that went on with it
    world.mend()
    assert resume(local_dir).state.is_completed
    assert world.calls.count("first") == 1
    with pytest.raises(ResumeError, match=f"which went on with '{one.run_id}', has completed"):
        load_for_resume(local_dir, one.run_id, two.program())
    assert problems(local_dir) == []


def test_items_of_a_mapped_task_are_not_computed_again(
    world: World, local_dir: Path, record: Callable[..., RunResult]
) -> None:
    @task
    def each(row: int) -> int:
        called(str(row))
        if row == 2 and is_broken():
            raise ValueError("broken")
        return row * 10

    @flow
    def mapped():
        return each.map([1, 2, 3])

    record(mapped)
    world.mend()
    result = resume(local_dir, of=mapped)
    assert result.value == [10, 20, 30]
    assert sorted(world.calls) == ["1", "2", "2", "3"]
    assert problems(local_dir) == []


def test_what_was_skipped_by_choice_is_not_looked_at_anew_and_neither_is_what_followed(
    world: World, local_dir: Path, record: Callable[..., RunResult]
) -> None:
    @task
    def files() -> list[int]:
        called("files")
        if is_broken():
            raise SkipTask("no new files")
        return [1]

    @task
    def least() -> int:
        return 0

    @task
    def count(least: int, rows: Any = None) -> int:
        called("count")
        return max(least, len(rows or ()))

    count.optional = ("rows",)

    @flow
    def skipping():
        found = files()
        return [second((count(least(), found), "x")), second.map([found])]

    record(skipping)
    assert sorted(world.calls) == ["count", "files", "second"]
    world.mend()
    result = resume(local_dir, of=skipping)
    assert result.value == [[0, "x"], None]
    assert sorted(world.calls) == ["count", "files", "second", "second"]
    assert str(result.task_run("files").state) == "SKIPPED: as in an earlier run"
    assert problems(local_dir) == []


def test_what_an_attempt_returned_too_late_is_not_used(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    each.add(lambda seq: RunChanged(seq, 1, running()))
    each.add(lambda seq: TaskChanged(seq, 2, "load", 1, running()))
    each.recorder.keep("load", None, 1, [1])
    each.add(lambda seq: TaskChanged(seq, 3, "load", 1, failed("timed out")))
    each.add(lambda seq: TaskChanged(seq, 3, "total", 0, cancelled()))
    each.recorder.end(failed("it"), 5, None)
    assert load_for_resume(local_dir, "run-1", each.recorder._program).results == {}


def test_changed_code_is_refused_with_the_difference(
    world: World, local_dir: Path, record: Callable[..., RunResult]
) -> None:
    def flow_with(body: str) -> Any:
        space: dict[str, Any] = {"task": task, "flow": flow, "second": second}
        path = local_dir.parent / f"code{len(body)}.py"
        lines = ["@task", "def early(day: str):", f"    {body}", "", "@flow", "def coded(day: str = 'x'):"]
        path.write_text("\n".join([*lines, "    return second(early(day))", ""]))
        exec(compile(path.read_text(), str(path), "exec"), space)
        return space["coded"]

    record(flow_with("return (1, day)"))
    world.mend()
    with pytest.raises(ResumeError, match="the code of a task whose result it recorded has changed") as caught:
        load_for_resume(local_dir, "latest", flow_with("return (2, day, day)").program())
    assert "'early':\nits code changed:" in str(caught.value)
    assert "-    return (1, day)" in str(caught.value)
    assert "+    return (2, day, day)" in str(caught.value)
    assert load_for_resume(local_dir, "latest", flow_with("return (1, day)").program()).results.keys() == {"early"}


def test_a_changed_graph_is_refused_with_the_difference(
    world: World, local_dir: Path, record: Callable[..., RunResult]
) -> None:
    record(two)

    @flow(name="two")
    def other(day: str = "monday"):
        return second(second(first(day)))

    with pytest.raises(ResumeError, match="the flow's graph has changed") as caught:
        load_for_resume(local_dir, "latest", other.program())
    assert "+second-2: second(row=second)" in str(caught.value)


def test_changed_options_are_no_obstacle(world: World, local_dir: Path, record: Callable[..., RunResult]) -> None:
    record(two)

    @flow(name="two", version="2", retries=3)
    def patient(day: str = "monday"):
        return second(first(day))

    assert load_for_resume(local_dir, "latest", patient.program()).results.keys() == {"first"}


def test_other_parameters_are_refused(world: World, local_dir: Path, record: Callable[..., RunResult]) -> None:
    record(two, day="friday")
    assert recorded_parameters(local_dir, "latest") == {"day": "friday"}
    assert load_for_resume(local_dir, "latest", two.program(), {"day": "friday"}).parameters == {"day": "friday"}
    with pytest.raises(ResumeError, match=r"day was 'friday', and is 'monday' now"):
        load_for_resume(local_dir, "latest", two.program(), {"day": "monday"})


def test_an_array_that_differs_in_one_number_is_another_parameter(
    local_dir: Path, record: Callable[..., RunResult]
) -> None:
    numpy = pytest.importorskip("numpy")

    @task
    def fail(rows: Any) -> None:
        raise ValueError(len(rows))

    @flow
    def total(rows: Any):
        return fail(rows)

    rows = numpy.zeros(5_000)
    other = rows.copy()
    other[2_500] = 1
    record(total, rows=rows)
    assert load_for_resume(local_dir, "latest", total.program(), {"rows": rows.copy()}).results == {}
    with pytest.raises(ResumeError, match="with other parameters"):
        load_for_resume(local_dir, "latest", total.program(), {"rows": other})


def test_a_run_that_goes_on_is_refused(local_dir: Path, script: Callable[..., Script]) -> None:
    each = script("run-1")
    with pytest.raises(ResumeError, match="'run-1' is still running, by process"):
        load_for_resume(local_dir, "run-1", each.recorder._program)


def test_an_unknown_run_is_refused(world: World, local_dir: Path, record: Callable[..., RunResult]) -> None:
    known = record(two).run_id
    with pytest.raises(UnknownRunError, match=known):
        load_for_resume(local_dir, known[:-1] + "x", two.program())


def test_of_two_who_resume_at_once_one_wins(world: World, local_dir: Path, record: Callable[..., RunResult]) -> None:
    one = record(two)
    outcomes: list[str] = []
    ready = threading.Barrier(4)

    def claim(name: str) -> None:
        recorder = RunRecorder(local_dir, resumed_from=one.run_id)
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


def test_a_result_that_is_lost_is_computed_anew(
    world: World, local_dir: Path, record: Callable[..., RunResult]
) -> None:
    @task
    def large(day: str) -> tuple[int, str]:
        called("large")
        return (1, "x" * 10_000)

    @flow
    def heavy(day: str = "monday"):
        return second(large(day))

    one = record(heavy)
    (path,) = (local_dir / "runs" / one.run_id / "results").iterdir()
    path.unlink()
    world.mend()
    assert resume(local_dir, of=heavy).state.is_completed
    assert world.calls.count("large") == 2
