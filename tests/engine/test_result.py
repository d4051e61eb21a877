"""What a run leaves, and how it reads."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from dagy import RunResult, StateType, TaskRun, flow, task
from dagy.engine import error_text
from dagy.errors import DagyError, TaskFailedError, UnknownTaskError
from dagy.spec import FlowSpec
from dagy.states import completed, failed


@task
def load(path: str) -> list[int]:
    return [1, 2, 3]


@task
def total(rows: list[int]) -> int:
    return sum(rows)


@task
def fails(rows: Any) -> None:
    raise ValueError("no rows")


@flow
def good(path: str = "x.csv"):
    return total(load(path))


@flow
def bad(path: str = "x.csv"):
    total(load(path))
    load(fails(load("y.csv")))


def test_a_result_names_the_run_the_flow_and_the_value():
    result = good.run_local()
    assert result.flow_name == "good"
    assert result.status is StateType.COMPLETED
    assert result.state == completed()
    assert result.value == 6
    assert result.parameters == {"path": "x.csv"}
    assert result.run_id.startswith("good-")
    assert result.seconds >= 0


def test_the_result_of_a_task_is_found_by_its_name():
    result = good.run_local()
    assert result.result_of("load") == result["load"] == [1, 2, 3]


def test_of_two_calls_of_a_task_each_is_found_by_its_id():
    result = flow(name="f")(lambda: [load("a"), load("b")]).run_local()
    assert result.result_of("load-2") == [1, 2, 3]


def test_a_name_that_no_task_has_gets_a_suggestion():
    with pytest.raises(UnknownTaskError, match="there is no task 'laod' in flow 'good'; did you mean 'load'"):
        good.run_local().result_of("laod")


def test_a_task_that_did_not_complete_has_no_result():
    result = bad.run_local(fail_fast=False)
    with pytest.raises(
        TaskFailedError, match="task 'fails' has no result: it is FAILED: ValueError: no rows"
    ) as caught:
        result.result_of("fails")
    assert caught.value.result is result
    assert isinstance(caught.value.__cause__, ValueError)


def test_the_summary_of_a_run_says_what_matters():
    text = str(good.run_local())
    assert text.startswith("good: COMPLETED in ")
    assert "load" in text
    assert text.endswith("value: 6")


def test_the_summary_of_a_failed_run_says_why():
    text = str(bad.run_local(fail_fast=False))
    assert text.startswith("bad: FAILED: 1 of 5 tasks failed: 'fails' in ")
    assert "fails: ValueError: no rows" in text
    assert "value:" not in text


def test_the_summary_says_how_many_items_a_mapped_task_has():
    @task
    def negative(row: int) -> int:
        return -row

    @flow
    def negatives():
        return negative.map(load("x.csv"))

    result = negatives.run_local()
    assert "negative[…] · completed · 3 items · " in str(result)
    assert result.still().tasks[1].items == 3


def test_the_summary_of_a_huge_run_is_a_page_or_two():
    result = flow(name="wide")(lambda: [load(str(each)) for each in range(1_000)]).run_local()
    assert "lines more" in str(result)
    assert len(str(result).splitlines()) < 400


def test_the_summary_names_what_is_still_at_work():
    result = RunResult("r-1", FlowSpec("etl"), failed("x"), None, {}, still_running=("slow", "slower"))
    assert "still at work, because a thread can't be killed: slow, slower" in str(result)


def test_a_result_shows_itself_in_a_notebook():
    result = good.run_local()
    bundle = result._repr_mimebundle_()
    assert bundle["text/plain"] == str(result)
    assert "<script" not in bundle["text/html"]


def test_a_task_that_never_started_took_no_time():
    assert TaskRun("a", "a", completed()).seconds is None


def test_the_text_of_no_error_is_empty():
    assert error_text(None) == ""


def test_the_text_of_an_error_is_its_traceback_through_the_users_code():
    result = bad.run_local(fail_fast=False)
    text = error_text(result.task_runs["fails"].error)
    assert text.startswith("Traceback")
    assert "in fails" in text
    assert "dagy/engine" not in text
    assert text.endswith("ValueError: no rows\n")


def test_the_text_of_an_error_of_ours_has_no_frame_of_ours():
    @task(isolation="process")
    def dies() -> None:
        os._exit(3)

    @flow
    def deadly():
        return dies()

    error = deadly.run_local(fail_fast=False).task_runs["dies"].error
    assert re.fullmatch(
        r"dagy.errors.WorkerDiedError: the process .* died: exit code 3, and no result\n", error_text(error)
    )


def test_the_text_of_a_call_of_ours_begins_with_the_users_own_line():
    try:
        FlowSpec.model_validate_json("{")
    except DagyError as error:
        text = error_text(error)
    assert "in test_the_text_of_a_call_of_ours" in text
    assert "dagy/spec.py" not in text


def test_the_text_of_a_huge_error_is_bounded():
    assert len(error_text(ValueError("x" * 1_000_000))) < 25_000


def test_the_text_of_an_error_whose_message_raises_is_there():
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert "UnspeakableError" in error_text(UnspeakableError())


def test_the_text_of_an_endless_chain_of_causes_is_bounded():
    error: BaseException = ValueError("first")
    for _ in range(5_000):
        following = ValueError("next")
        following.__cause__ = error
        error = following
    assert len(error_text(error)) < 25_000
