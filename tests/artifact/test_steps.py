"""A run that goes step by step, each an invocation of its own, ends as a local run of the flow does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.handler import answer, loaded
from dagy.artifact.outcomes import Outcome
from dagy.engine import RunOptions, start
from dagy.states import completed

from .cloud import Machine, unpacked

STEPS = """
from dagy import flow, task
from dagy.engine import current_context
from dagy.errors import SkipTask
from dagy.values import ABSENT

CALLS = []
MEANWHILE = lambda: None


def note(context, state):
    CALLS.append((context.task_id, context.item, str(state.type), context.attempt, dict(context.parameters)))


@task(on_running=[note], on_completion=[note], on_failure=[note], on_retry=[note])
def load(count: int, how: str = ""):
    print("loading", count)
    CALLS.append("load")
    MEANWHILE()
    if how == "raise":
        raise LookupError("no such row")
    return "x" * 100_000 if how == "large" else list(range(count))


@task(on_completion=[note], on_failure=[note])
def double(row, worst: int = 99):
    if row >= worst:
        raise ValueError(f"row {row}")
    return 2 * row


@task
def total(rows):
    return sum(rows) if isinstance(rows, list) else len(rows)


@task
def alone():
    return 7


@flow(name="steps", on_running=[note], on_completion=[note], on_failure=[note])
def steps(count: int = 3, how: str = "", worst: int = 99):
    seven, rows = alone(), load(count, how)
    return {"doubled": total(double.map(rows, worst=worst)), "alone": seven, "count": count}


@task(retries=2, retry_delay_seconds=[1, 5], retry_condition_fn=lambda error: isinstance(error, OSError),
      on_retry=[note], on_failure=[note], on_completion=[note])
def flaky(count: int):
    CALLS.append("flaky")
    if count > CALLS.count("flaky"):
        raise OSError("try later")
    if not count:
        raise ValueError("never")
    return count


@flow(name="flaky")
def flaky_flow(count: int = 1):
    return total([flaky(count)])


@task(timeout_seconds=30)
def slow():
    return 1


@flow(name="slow")
def slow_flow():
    return total([slow(), alone()])


@task
def refuse():
    raise ValueError("no")


@flow(name="patient", fail_fast=False)
def patient():
    return [refuse(), alone()]


@task(on_completion=[note])
def odd(number: int):
    context = current_context()
    CALLS.append((context.task_id, context.item, "asked", context.attempt, dict(context.parameters), context.run_id))
    if number % 2 == 0:
        raise SkipTask(f"{number} is even")
    return number


@task
def branch(rows):
    if not rows:
        raise SkipTask("no rows")
    return {"yes": rows, "no": ABSENT}


@task
def merge(first, second):
    return [each for each in (first, second) if each is not ABSENT]


@task
def pair(a, b):
    return [each for each in (a, b) if each is not ABSENT]


@task
def holes(rows):
    return [rows[0], ABSENT]


@task
def void():
    return ABSENT


merge.optional = ("first", "second")
pair.optional = ("a", "b")


@flow(name="skipping")
def skipping(count: int = 3):
    out = branch(load(count))
    both = merge(total(out["yes"]), total(out["no"]))
    return {
        "odd": odd.map(out["yes"]), "none": odd.map(out["no"]), "both": both, "after": alone.after(out)(),
        "parts": merge(out["yes"], out["no"]), "one": merge(out["no"], 1), "items": pair.map(out["yes"], b=out["no"]),
        "same": pair.map([1, 2], b=out["no"]), "holes": pair.map(holes(out["yes"]), b=2), "void": merge(void(), 1),
    }


@flow(name="part")
def part(count: int = 1):
    return load(count)["missing"]
"""


@pytest.fixture(autouse=True)
def _forget_flows() -> Iterator[None]:
    yield
    loaded.cache_clear()


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    """What drives the runs of one of the flows."""

    def machine(name: str = "steps", **options: Any) -> Machine:
        return Machine(unpacked(tmp_path, name, STEPS), (tmp_path / "store").as_uri(), options)

    return machine


def calls(machine: Machine) -> list[Any]:
    found: list[Any] = machine.flow.function.__globals__["CALLS"]
    return found


def local(machine: Machine, **parameters: Any) -> dict[str, tuple[str, str]]:
    """How the tasks of a local run end, and the run itself under an empty name."""
    fail_fast = parameters.pop("fail_fast", True)
    program, given = machine.flow.prepare(**parameters)
    # One after the other, as the machine here does it.
    result = start(program, given, RunOptions("local-1", max_workers=1, fail_fast=fail_fast)).wait()
    ends = {task: (each.state.type.value, each.state.message) for task, each in result.task_runs.items()}
    return {**ends, "": (result.state.type.value, result.state.message)}


def ends(told: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The same of an answer."""
    tasks = {task: (each["state"], each.get("message", "")) for task, each in told["tasks"].items()}
    return {**tasks, "": (told["state"], told["message"])}


@pytest.mark.parametrize(
    "parameters",
    [
        {}, {"count": 0}, {"how": "large"}, {"how": "raise"}, {"how": "raise", "fail_fast": False},
        {"worst": 1, "fail_fast": False}, {"worst": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_by_steps_ends_as_a_local_one(machine: Callable[..., Machine], parameters: dict[str, Any]) -> None:
    driven = machine()
    fail_fast = parameters.pop("fail_fast", True)
    told = driven.run(parameters=parameters, fail_fast=fail_fast)
    assert ends(told) == local(driven, **parameters, fail_fast=fail_fast)


@pytest.mark.parametrize("count", [0, 3])
def test_what_has_nothing_to_do_is_skipped_as_in_a_local_run(machine: Callable[..., Machine], count: int) -> None:
    driven = machine("skipping")
    told = driven.run(parameters={"count": count})
    assert ends(told) == local(driven, count=count)
    names = ("odd", "none", "both", "after", "parts", "one", "items", "same", "holes", "void")
    value: dict[str, Any] = dict.fromkeys(names)
    if count:
        value |= {"odd": [None, 1, None], "both": [3], "after": 7, "parts": [[0, 1, 2]]}
        value |= {"items": [[0], [1], [2]], "holes": [[0, 2], None]}
    assert driven.store().values.opened(told["result"]) == value


def test_no_container_starts_for_a_way_that_was_not_taken(machine: Callable[..., Machine]) -> None:
    driven = machine("skipping")
    driven.ask("begin", parameters={"count": 3})
    driven.task("load")
    driven.task("branch")
    assert driven.ask("ready", task="total") == {"state": "READY"}
    assert driven.ask("ready", task="total-2") == {"state": "SKIPPED"}
    outcome = driven.store().outcome("total-2")
    assert outcome is not None
    assert outcome.state.message == "not started, because 'branch' took another way"
    driven.task("total")
    assert driven.ask("ready", task="merge") == {"state": "READY"}  # it can do without
    assert driven.ask("ready", task="merge-2") == {"state": "READY"}
    assert driven.ask("ready", task="merge-3") == {"state": "SKIPPED"}  # but not without everything
    driven.task("void")
    assert driven.ask("ready", task="merge-4") == {"state": "SKIPPED"}
    outcome = driven.store().outcome("merge-4")
    assert outcome is not None
    assert outcome.state.message == "not started, because 'void' gave nothing"


def test_code_learns_in_a_step_which_item_and_attempt_of_which_run_it_is(machine: Callable[..., Machine]) -> None:
    driven = machine("skipping")
    driven.run(parameters={"count": 3})
    asked = [each for each in calls(driven) if each[0] == "odd" and each[1] is not None]
    assert asked == [
        ("odd", 0, "asked", 1, {"count": 3}, "run-1"),
        ("odd", 1, "asked", 1, {"count": 3}, "run-1"),
        ("odd", 1, "COMPLETED", 1, {"number": 1}),
        ("odd", 2, "asked", 1, {"count": 3}, "run-1"),
    ]


def test_a_run_that_goes_on_takes_what_was_skipped_as_it_is(machine: Callable[..., Machine]) -> None:
    driven = machine("skipping")
    driven.ask("begin", parameters={"count": 0})
    driven.task("load")
    driven.task("branch")
    driven.ask("begin", "run-2", resume="run-1")
    assert driven.events("run-2") == ["RUNNING", "load COMPLETED 0", "branch SKIPPED 0"]
    assert driven.ask("task", "run-2", task="branch") == {"task": "branch", "state": "SKIPPED"}
    assert driven.ask("task", "run-2", task="alone") == {"task": "alone", "state": "SKIPPED"}


def test_a_flow_that_says_so_goes_on_after_a_failure_by_steps_and_whole(
    machine: Callable[..., Machine], tmp_path: Path
) -> None:
    driven = machine("patient")
    told = driven.run()
    whole = answer({"run_id": "whole-1"}, driven.folder, store=(tmp_path / "store").as_uri())
    for each in (told, whole):
        assert (each["state"], each["tasks"]["alone"]["state"]) == ("FAILED", "COMPLETED")


def test_hooks_are_called_once_each_as_in_a_local_run(machine: Callable[..., Machine]) -> None:
    driven = machine()
    driven.run(parameters={"worst": 2}, fail_fast=False)
    here = calls(driven).copy()
    calls(driven).clear()
    local(driven, worst=2, fail_fast=False)
    assert sorted(map(str, here)) == sorted(map(str, calls(driven)))
    assert ("double", 2, "FAILED", 1, {"row": 2, "worst": 2}) in here
    assert here[0][:3] == (None, None, "RUNNING")


def test_the_events_tell_what_those_of_a_local_run_tell(machine: Callable[..., Machine]) -> None:
    driven = machine()
    driven.run(parameters={"count": 2, "worst": 1}, fail_fast=False)
    assert driven.events() == [
        "RUNNING",
        "alone RUNNING 1", "alone COMPLETED 1",
        "load RUNNING 1", "load stdout: loading 2", "load COMPLETED 1",
        "double RUNNING 1", "double[0] RUNNING 1", "double[0] COMPLETED 1",
        "double[1] RUNNING 1", "double error: ValueError: row 1", "double[1] FAILED 1",
        "double FAILED 1", "total SKIPPED 0",
        "FAILED",
    ]  # fmt: skip


def test_a_task_that_is_worth_another_try_asks_for_it_by_the_group_of_its_wait(
    machine: Callable[..., Machine],
) -> None:
    driven = machine("flaky")
    driven.ask("begin", parameters={"count": 3})
    with pytest.raises(Exception, match="attempt 1 of 3: OSError: try later") as first:
        driven.ask("task", task="flaky", attempt=1)
    with pytest.raises(Exception, match="attempt 2 of 3: OSError: try later") as second:
        driven.ask("task", task="flaky", attempt=4)  # whoever invokes has counted failures of its own
    assert [type(each.value).__name__ for each in (first, second)] == ["DagyRetry1", "DagyRetry2"]
    assert driven.ask("task", task="flaky", attempt=5) == {"task": "flaky", "state": "COMPLETED"}
    assert [each[2] for each in calls(driven) if each != "flaky"] == ["RETRYING", "RETRYING", "COMPLETED"]
    assert [each for each in driven.events() if "error:" not in each] == [
        "RUNNING",
        "flaky RUNNING 1", "flaky RETRYING 1", "flaky RUNNING 2", "flaky RETRYING 2", "flaky RUNNING 3",
        "flaky COMPLETED 3",
    ]  # fmt: skip


def test_a_double_of_a_failed_try_calls_no_hooks_again(machine: Callable[..., Machine]) -> None:
    driven = machine("flaky")
    driven.ask("begin", parameters={"count": 3})
    for _ in range(2):
        with pytest.raises(Exception, match="attempt 1 of 3"):
            driven.ask("task", task="flaky", attempt=1)
    assert [each[2] for each in calls(driven) if each != "flaky"] == ["RETRYING"]
    assert driven.events().count("flaky RETRYING 1") == 1


def test_what_is_not_worth_another_try_fails_at_once(machine: Callable[..., Machine]) -> None:
    driven = machine("flaky")
    assert ends(driven.run(parameters={"count": 0})) == local(driven, count=0)
    assert calls(driven).count("flaky") == 2  # once here, once there


def test_the_last_failure_is_final(machine: Callable[..., Machine]) -> None:
    driven = machine("flaky")
    told = driven.run(parameters={"count": 9})
    assert told["tasks"]["flaky"] == {"state": "FAILED", "attempt": 3, "message": "OSError: try later"}
    assert told["error"]["type"] == "OSError"


def test_in_a_container_a_task_is_tried_again_at_once(machine: Callable[..., Machine]) -> None:
    driven = machine("flaky", tries_again=True)
    policy = driven.flow.prepare(count=2)[0].code["flaky"].retry
    object.__setattr__(policy, "delays", ())
    driven.ask("begin", parameters={"count": 2})
    assert driven.ask("task", task="flaky") == {"task": "flaky", "state": "COMPLETED"}
    assert "flaky RETRYING 1" in driven.events()


def test_a_step_that_comes_twice_is_done_once(machine: Callable[..., Machine]) -> None:
    driven = machine()
    first = driven.run()
    begun = driven.store().begun()
    events = driven.events()
    assert driven.run() == first
    assert driven.store().begun() == begun
    assert driven.events() == events
    assert calls(driven).count("load") == 1


def test_of_two_that_end_a_task_the_first_counts(machine: Callable[..., Machine]) -> None:
    driven = machine()
    driven.ask("begin")
    meanwhile = Outcome(completed(), 1.0, 1, {"value": [5]})
    driven.flow.function.__globals__["MEANWHILE"] = lambda: driven.store().keep_outcome("load", meanwhile)
    assert driven.task("load")["state"] == "COMPLETED"
    assert driven.store().outcome("load") == meanwhile
    assert [each for each in calls(driven) if each != "load" and each[2] == "COMPLETED"] == []


def test_a_stopped_run_starts_nothing_more(machine: Callable[..., Machine]) -> None:
    driven = machine()
    told = driven.run(before=lambda task: driven.store().ask_to_stop("enough") if task == "total" else None)
    assert (told["state"], told["message"]) == ("CANCELLED", "enough")
    assert told["tasks"]["total"] == {"state": "CANCELLED", "attempt": 0, "message": "enough"}
    assert told["tasks"]["double"]["state"] == "COMPLETED"


def test_a_task_whose_invocation_died_has_crashed_and_what_needs_it_is_skipped(
    machine: Callable[..., Machine],
) -> None:
    driven = machine("slow")
    driven.ask("begin")
    driven.task("alone")
    driven.task("total")
    answer = driven.ask("end", crashed={"slow": {"Error": "Runtime.Odd", "Cause": "nobody knows"}})
    assert answer == {"state": "FAILED", "message": "1 of 3 tasks failed: 'slow'"}
    told = driven.store().answer()
    assert told is not None
    assert told["tasks"]["slow"]["state"] == "CRASHED"
    assert "nobody knows" in told["tasks"]["slow"]["message"]
    assert told["tasks"]["total"]["message"] == "not started, because 'slow' crashed"


def test_an_item_whose_invocation_died_is_one_that_failed(machine: Callable[..., Machine]) -> None:
    driven = machine()
    driven.ask("begin")
    driven.task("load")
    assert driven.ask("count", task="double") == {"items": 3, "wide": False}
    for item in (0, 2):
        driven.task("double", item=item)
    driven.task("total")
    driven.task("alone")
    driven.ask("end")
    told = driven.store().answer()
    assert told is not None
    assert told["tasks"]["double"]["message"].startswith("1 of 3 items failed; double[1] crashed: its invocation ended")


def test_many_items_are_listed_for_who_iterates_over_them(machine: Callable[..., Machine], tmp_path: Path) -> None:
    driven = machine()
    driven.ask("begin")
    driven.task("load")
    told = driven.ask("count", task="double", inline=2)
    assert told == {"items": 3, "wide": True, "indices": f"{tmp_path}/store/run-1/tasks/double/indices.json"[1:]}
    assert Path("/", told["indices"]).read_text() == "[0, 1, 2]"


def test_more_items_than_a_machine_takes_fail_the_task_with_both_numbers(machine: Callable[..., Machine]) -> None:
    driven = machine()
    driven.ask("begin", parameters={"count": 40_001})
    driven.task("load")
    assert driven.ask("count", task="double") == {"items": 0, "wide": False}
    outcome = driven.store().outcome("double")
    assert outcome is not None
    assert "has 40,001 items, and a state machine takes 40,000" in outcome.state.message


def test_before_a_container_starts_it_is_asked_whether_its_task_is_to_run(machine: Callable[..., Machine]) -> None:
    driven = machine("slow")
    driven.ask("begin")
    assert driven.ask("ready", task="slow") == {"state": "READY"}
    driven.store().ask_to_stop("enough")
    assert driven.ask("ready", task="slow") == {"state": "CANCELLED"}
    assert driven.events()[-1] == "slow CANCELLED 0"
    assert driven.ask("ready", task="slow") == {"state": "CANCELLED"}


def test_a_parameter_that_does_not_fit_fails_the_run_as_it_begins(machine: Callable[..., Machine]) -> None:
    driven = machine()
    assert driven.ask("begin", parameters={"cuont": 1})["state"] == "FAILED"
    assert "did you mean 'count'?" in driven.ask("end")["message"]


def test_code_that_does_not_load_fails_the_run_as_it_begins(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "dagy.json").write_text('{"entry_point": "broken_module_of_a_step:etl"}')
    (folder / "broken_module_of_a_step.py").write_text("import no_such_package")
    driven = Machine(folder, (tmp_path / "store").as_uri(), {})
    told = driven.ask("begin")
    assert (told.keys(), told["state"]) == ({"state", "message"}, "FAILED")
    assert "no_such_package" in driven.ask("end")["message"]


def test_a_run_that_never_began_says_what_the_machine_saw(machine: Callable[..., Machine]) -> None:
    told = machine().ask("end", crashed={"begin": {"Error": "States.Timeout", "Cause": "too slow"}})
    assert told["state"] != "COMPLETED"
    assert "too slow" in told["message"]


def test_a_missing_part_of_a_result_fails_the_run_as_a_local_one(machine: Callable[..., Machine]) -> None:
    driven = machine("part")
    assert ends(driven.run())[""] == local(driven)[""]


def test_a_run_that_goes_on_computes_nothing_again(machine: Callable[..., Machine]) -> None:
    driven = machine()
    driven.run("run-1", parameters={"worst": 2}, fail_fast=False)
    calls(driven).clear()
    assert driven.ask("begin", "run-2", resume="run-1") == {"state": "RUNNING"}
    assert driven.store("run-2").begun()["parameters"] == {"worst": 2}  # type: ignore[index]  # it has begun
    assert driven.events("run-2") == ["RUNNING", "alone COMPLETED 0", "load COMPLETED 0"]
    assert driven.task("load", "run-2")["state"] == "COMPLETED"
    assert driven.ask("count", "run-2", task="double") == {"items": 3, "wide": False}
    assert [driven.task("double", "run-2", item=item)["state"] for item in range(3)] == [
        "COMPLETED", "COMPLETED", "FAILED",
    ]  # fmt: skip
    assert "load" not in calls(driven)
    assert [each[:3] for each in calls(driven)] == [(None, None, "RUNNING"), ("double", 2, "FAILED")]
    driven.task("total", "run-2")
    driven.task("alone", "run-2")
    told = driven.ask("end", "run-2")
    assert told["state"] == "FAILED"


def test_a_run_of_other_code_is_not_gone_on_with(machine: Callable[..., Machine]) -> None:
    driven = machine()
    driven.store("run-0").begin({"code_hash": "0" * 64, "parameters": {}, "references": {}, "fail_fast": True})
    assert driven.ask("begin", resume="run-0")["state"] == "FAILED"
    assert "the flow's code has changed since, from 000000000000 to" in driven.ask("end")["message"]
