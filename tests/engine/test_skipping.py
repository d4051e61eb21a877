"""A task with nothing to do is skipped by choice: that is no failure, and goes its way through the graph."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import ItemChanged, RunOptions, RunResult, StandsFor, run
from dagy.errors import ParameterError, SkipTask, TaskFailedError
from dagy.runs.cache import LocalCache
from dagy.states import StateType
from dagy.values import ABSENT

from .conftest import Bench

WAYS = [{}, {"isolation": "process"}, {"max_workers": 1}]


@task
def files(found: int = 0) -> list[int]:
    if not found:
        raise SkipTask("no new files")
    return list(range(found))


@task
async def files_of_a_loop() -> list[int]:
    raise SkipTask("no new files")


@task
def load(rows: Any, also: Any = None) -> Any:
    return rows


@task
def branch(number: int) -> dict[str, Any]:
    return {"yes": number, "no": ABSENT} if number > 0 else {"yes": ABSENT, "no": number}


@task
def nothing() -> Any:
    return ABSENT


@task
def merge(first: Any, second: Any = None) -> list[Any]:
    return [first, second]


@task
def merge_all(values: Any) -> list[Any]:
    return [each for each in (values.values() if isinstance(values, dict) else values) if each is not ABSENT]


@task
def fail() -> None:
    raise ValueError("no")


@task
def odd(number: int) -> int:
    if number % 2:
        return number
    raise SkipTask(f"{number} is even")


merge.optional = ("first", "second")
merge_all.optional = ("values",)


def ran(draw: Callable[..., Any], **options: Any) -> RunResult:
    return flow(name="small")(draw).run_local(**options)


def ends(result: RunResult) -> dict[str, str]:
    return {each.id: str(each.state) for each in result.task_runs.values()}


# ---- by its own word


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_a_task_may_say_that_it_has_nothing_to_do_and_the_run_completes(options: dict[str, Any]):
    result = ran(lambda: load(files()), **options)
    assert ends(result) == {
        "files": "SKIPPED: no new files",
        "load": "SKIPPED: not started, because 'files' was skipped",
    }
    assert result.status is StateType.COMPLETED
    assert result.value is None


def test_a_coroutine_may_say_so_too():
    assert ends(ran(lambda: files_of_a_loop())) == {"files_of_a_loop": "SKIPPED: no new files"}


def test_who_skips_is_not_tried_again_and_no_hook_for_an_end_is_called():
    told: list[Any] = []

    def note(context: Any, state: Any) -> None:
        told.append(str(state.type))

    @task(retries=3, on_failure=[note], on_retry=[note], on_completion=[note], on_running=[note])
    def skip() -> None:
        raise SkipTask

    result = ran(lambda: skip(), fail_fast=True)
    assert ends(result) == {"skip": "SKIPPED"}
    assert (result.task_run("skip").attempt, told) == (1, ["RUNNING"])


def test_what_was_skipped_has_no_result():
    result = ran(lambda: files())
    assert result.task_run("files").value is None
    with pytest.raises(TaskFailedError, match="task 'files' has no result: it is SKIPPED: no new files"):
        result.result_of("files")


def test_a_task_after_one_that_was_skipped_is_skipped_too():
    result = ran(lambda: load.after(files())([1]))
    assert ends(result)["load"] == "SKIPPED: not started, because 'files' was skipped"


# ---- what is absent


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_only_the_way_that_a_branch_takes_is_gone(options: dict[str, Any]):
    def both_ways(number: int) -> Any:
        out = branch(number)
        yes, no = load(out["yes"]), load(out["no"])
        return {"yes": yes, "no": no, "all": merge(load(yes), load(no)), "list": [yes, no]}

    result = ran(both_ways, number=-2, **options)
    assert ends(result) == {
        "branch": "COMPLETED",
        "load": "SKIPPED: not started, because 'branch' took another way",
        "load-2": "COMPLETED",
        "load-3": "SKIPPED: not started, because 'load' was skipped",
        "load-4": "COMPLETED",
        "merge": "COMPLETED",
    }
    assert result.value == {"yes": None, "no": -2, "all": [ABSENT, -2], "list": [None, -2]}


def test_a_task_that_gives_nothing_has_completed_and_who_takes_it_is_skipped():
    result = ran(lambda: load(nothing()))
    assert ends(result) == {"nothing": "COMPLETED", "load": "SKIPPED: not started, because 'nothing' gave nothing"}
    assert result.value is None


@pytest.mark.parametrize("wrap", [lambda a, b: [a, b], lambda a, b: {"a": a, "b": [b]}, lambda a, b: (b, {"x": a})])
def test_what_is_absent_counts_inside_lists_and_dicts_too(wrap: Callable[[Any, Any], Any]):
    result = ran(lambda: load(wrap(load(1), branch(1)["no"])))
    assert ends(result)["load-2"] == "SKIPPED: not started, because 'branch' took another way"


@pytest.mark.parametrize("wrap", [lambda a, b: [a, b], lambda a, b: {"a": a, "b": b}])
def test_an_optional_input_keeps_what_is_absent_for_its_task_to_leave_out(wrap: Callable[[Any, Any], Any]):
    assert ran(lambda: merge_all(wrap(load(1), branch(1)["no"]))).value == [1]
    assert ran(lambda: merge_all(wrap(load(1), files()))).value == [1]


# ---- nothing arrives


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("wrap", [lambda a, b: [a, b], lambda a, b: {"a": a, "b": [b]}, lambda a, b: (a,)], ids="ldt")
def test_a_task_to_which_nothing_comes_of_what_its_inputs_refer_to_is_skipped(
    wrap: Callable[[Any, Any], Any], options: dict[str, Any]
):
    result = ran(lambda: merge_all(wrap(load(branch(1)["no"]), files())), **options)
    assert ends(result)["merge_all"] == "SKIPPED: not started, because 'load' was skipped"
    result = ran(lambda: merge_all(wrap(branch(1)["no"], branch(-1)["yes"])), **options)
    assert ends(result)["merge_all"] == "SKIPPED: not started, because 'branch' took another way"
    result = ran(lambda: load(merge_all(wrap(nothing(), nothing()))), **options)
    assert ends(result)["merge_all"] == "SKIPPED: not started, because 'nothing' gave nothing"
    assert ends(result)["load"] == "SKIPPED: not started, because 'merge_all' was skipped"


def test_what_was_skipped_and_what_is_a_part_may_be_missing_together():
    result = ran(lambda: merge(files(), second=branch(1)["no"]))
    assert ends(result)["merge"] == "SKIPPED: not started, because 'branch' took another way"
    assert ran(lambda: merge_all([files(), branch(1)["yes"], branch(1)["no"]])).value == [1]


@pytest.mark.parametrize("number", [1, -1])
def test_what_takes_one_way_of_a_branch_runs_when_it_is_taken(number: int):
    result = ran(lambda number: [merge_all([branch(number)["yes"]]), merge(7, branch(number)["no"])], number=number)
    assert result.value == ([[1], None] if number > 0 else [None, [7, -1]])


def test_an_optional_input_that_refers_to_no_task_is_no_reason_to_skip():
    result = ran(lambda given: [merge.after(load(1))(1), merge(None), merge(given, second=2)], given=ABSENT)
    assert result.value == [[1, None], [None, None], [ABSENT, 2]]


@pytest.mark.parametrize("max_workers", [1, 4])
def test_a_task_to_which_nothing_comes_waits_for_all_that_it_only_follows(max_workers: int):
    result = ran(lambda: merge.after(load(1))(files()), max_workers=max_workers)
    assert ends(result)["merge"] == "SKIPPED: not started, because 'files' was skipped"
    result = ran(lambda: merge.after(fail())(files()), max_workers=max_workers, fail_fast=False)
    assert ends(result)["merge"] == "SKIPPED: not started, because 'fail' failed"


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_a_mapped_task_to_which_nothing_comes_is_skipped_as_a_whole(options: dict[str, Any]):
    result = ran(lambda: [merge.map([1, 2], second=files()), merge.map([1, 2], second=branch(1)["no"])], **options)
    assert ends(result)["merge"] == "SKIPPED: not started, because 'files' was skipped"
    assert ends(result)["merge-2"] == "SKIPPED: not started, because 'branch' took another way"
    assert ran(lambda: merge.map(load([1, 2]), second=files()), **options).value == [[1, ABSENT], [2, ABSENT]]


def test_nothing_is_started_of_what_nothing_comes_to():
    told: list[str] = []

    @task(cache=True, on_running=[lambda context, state: told.append("began")])
    def take(row: Any = None) -> Any:
        told.append("called")

    @task(on_running=[lambda context, state: told.append("began")])
    async def take_in_a_loop(row: Any = None) -> Any:
        told.append("called")

    take.optional = take_in_a_loop.optional = ("row",)
    ran(lambda: [take(branch(1)["no"]), take_in_a_loop(branch(1)["no"]), take(files()), take_in_a_loop(nothing())])
    assert told == []


def test_a_part_of_what_is_absent_is_absent():
    result = ran(lambda: [load(branch(1)["no"]["rows"]), load(files()[0])])
    assert result.status is StateType.COMPLETED
    assert result.value == [None, None]


def test_a_part_that_was_never_there_is_a_failure_as_ever():
    with pytest.raises(TaskFailedError) as caught:
        ran(lambda: load(branch(1)["maybe"]))
    assert isinstance(caught.value.__cause__, ParameterError)


def test_absent_inputs_are_not_held_against_their_annotations():
    @task
    def count(number: int, more: int = 0) -> int:
        return number + (more or 0)

    count.optional = ("more",)
    assert ran(lambda: count(load(1), branch(1)["no"])).value == 1


def test_no_hook_for_its_start_is_called_of_what_has_nothing_to_do():
    told: list[str] = []

    @task(on_running=[lambda context, state: told.append(context.task_id or "")])
    def take(row: Any) -> Any:
        return row

    ran(lambda: [take(branch(1)["yes"]), take(branch(1)["no"]), take.map([load(1)])])
    assert sorted(told) == ["take", "take-3"]


# ---- beside failures


def test_a_failure_skips_all_that_needs_it_whatever_else_was_skipped_by_choice():
    def mixed() -> Any:
        lacking = load(files(), fail())
        return merge(lacking, 1)

    result = ran(mixed, fail_fast=False)
    assert ends(result) == {
        "files": "SKIPPED: no new files",
        "fail": "FAILED: ValueError: no",
        "load": "SKIPPED: not started, because 'fail' failed",
        "merge": "SKIPPED: not started, because 'fail' failed",
    }
    assert result.status is StateType.FAILED


def test_an_optional_input_is_no_excuse_for_a_failure():
    result = ran(lambda: merge(fail(), 1), fail_fast=False)
    assert ends(result)["merge"] == "SKIPPED: not started, because 'fail' failed"


# ---- mapped tasks


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_an_item_that_is_skipped_leaves_none_in_its_place(options: dict[str, Any]):
    assert ran(lambda: load(odd.map([1, 2, 3])), **options).value == [1, None, 3]


def test_items_say_that_they_were_skipped_and_the_task_completes(bench: Bench):
    handle = bench.start(flow(name="small")(lambda: odd.map([1, 2])))
    handle.wait()
    told = [(each.item, str(each.state)) for each in handle.events() if type(each) is ItemChanged]
    assert (1, "SKIPPED: 2 is even") in told
    assert handle.states()["odd"].is_completed


def test_what_is_mapped_over_nothing_is_skipped_as_a_whole():
    result = ran(lambda: [odd.map(files()), odd.map(branch(1)["no"]), merge.map(load([1]), branch(1)["no"])])
    assert ends(result)["odd"] == "SKIPPED: not started, because 'files' was skipped"
    assert ends(result)["odd-2"] == "SKIPPED: not started, because 'branch' took another way"
    assert ends(result)["merge"] == "SKIPPED: not started, because there is nothing in 'second'"


def test_what_all_items_need_and_is_not_there_skips_the_mapped_task():
    result = ran(lambda: load.map([1, 2], also=branch(1)["no"]))
    assert ends(result)["load"] == "SKIPPED: not started, because 'branch' took another way"


def test_an_item_that_is_absent_skips_its_call():
    assert ran(lambda: load.map([load(1), branch(1)["no"]])).value is None  # the list is one input
    holed = ran(lambda: merge.map(merge(branch(1)["no"], load(7)), second=2))
    assert holed.value == [None, [7, 2]]


def test_a_key_leads_into_a_list_by_way_of_its_items():
    result = ran(lambda: load(branch.map([1, -1, 2])["yes"]))
    assert result.value == [1, None, 2]


# ---- and all the rest of a run


def test_a_long_chain_behind_a_task_that_is_skipped_is_skipped():
    def chain() -> Any:
        last = files()
        for _ in range(3_000):
            last = load(last)
        return last

    result = ran(chain)
    assert {each.state.type for each in result.task_runs.values()} == {StateType.SKIPPED}
    assert result.status is StateType.COMPLETED


def test_what_was_skipped_before_is_not_looked_at_anew():
    program, given = flow(name="small")(lambda: [load(files(3)), merge(files(2), load(1))]).prepare()
    result = run(program, given, RunOptions("small-1", reused={"files": ABSENT, "files-2": ABSENT}))
    assert ends(result) == {
        "files": "SKIPPED: as in an earlier run",
        "load": "SKIPPED: not started, because 'files' was skipped",
        "files-2": "SKIPPED: as in an earlier run",
        "load-2": "COMPLETED",
        "merge": "COMPLETED",
    }
    assert result.value == [None, [ABSENT, 1]]


def note(path: str, name: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{name} ")


@task(cache=True)
def skip_and_note(path: str) -> None:
    note(path, "skip")
    raise SkipTask


@task(cache=True)
def give_nothing_and_note(path: str) -> Any:
    note(path, "nothing")
    return ABSENT


@task(cache=True)
def count_and_note(path: str, values: Any) -> int:
    note(path, "count")
    return sum(each is not ABSENT for each in values)


count_and_note.optional = ("values",)


def test_a_cache_keeps_what_was_made_without_what_is_absent_and_never_that_it_is(tmp_path: Path):
    def counting(path: str) -> Any:
        return count_and_note(path, [skip_and_note(path), give_nothing_and_note(path), load(1)])

    program, given = flow(name="small")(counting).prepare(path=str(tmp_path / "calls"))
    for number in range(2):
        cache = LocalCache(tmp_path)
        assert run(program, given, RunOptions(f"small-{number}", cache=cache, max_workers=1)).value == 1
    assert (tmp_path / "calls").read_text().split() == ["skip", "nothing", "count", "skip", "nothing"]


class QuietError(SkipTask):
    """A subclass of one's own."""


@task(isolation="process", timeout_seconds=60)
def skip_in_own_words() -> None:
    raise QuietError("it is: a holiday")


def test_a_subclass_says_it_as_well_and_travels():
    assert ends(ran(lambda: skip_in_own_words())) == {"skip_in_own_words": "SKIPPED: it is: a holiday"}


def test_it_is_no_trouble_worth_a_word_in_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        ran(lambda: load(files()))
    assert not caplog.records


def test_a_run_that_stands_for_a_part_tells_hooks_of_which():
    told: list[Any] = []

    @task(on_completion=[lambda context, state: told.append((context.item, context.attempt))])
    def work() -> int:
        return 1

    program, given = flow(name="small")(lambda: work()).prepare()
    run(program, given, RunOptions("small-1", stands_for=StandsFor(4, 2)))
    assert told == [(4, 3)]
