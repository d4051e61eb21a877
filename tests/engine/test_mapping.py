"""`task.map`: one node of the graph, one call for each item of a list."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import ItemChanged
from dagy.errors import DefinitionError, GraphError, ParameterError, TaskFailedError
from dagy.states import StateType

small = flow(name="small")


@task
def numbers(upto: int = 3) -> list[int]:
    return list(range(upto))


@task
def double(x: int) -> int:
    return 2 * x


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def total(values: list[int]) -> int:
    return sum(values)


@task
def picky(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


def value_of(draw: Any, **options: Any) -> Any:
    return small(draw).run_local(**options).value


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("max_workers", [1, 4])
def test_the_result_is_the_list_of_results_in_order(max_workers: int, isolation: str):
    assert value_of(lambda: double.map(numbers(5)), max_workers=max_workers, isolation=isolation) == [0, 2, 4, 6, 8]


def test_a_mapped_task_is_one_node_and_says_so():
    spec = small(lambda: total(double.map(numbers()))).spec
    assert [(each.id, each.mapped) for each in spec.tasks] == [("numbers", ()), ("double", ("x",)), ("total", ())]
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


def test_the_list_may_be_at_hand_a_parameter_or_a_part_of_an_output():
    @task
    def table() -> dict[str, list[int]]:
        return {"rows": [4, 5]}

    @flow
    def draws(given: list[int]) -> Any:
        return [double.map([1, 2]), double.map(given), double.map(table()["rows"]), double.map(range(2))]

    assert draws.run_local(given=[3]).value == [[2, 4], [6], [8, 10], [0, 2]]


def test_what_is_given_by_name_goes_to_every_call():
    assert value_of(lambda: add.map(numbers(), b=10)) == [10, 11, 12]


def test_several_lists_are_gone_through_side_by_side():
    assert value_of(lambda: add.map(numbers(), [10, 20, 30])) == [10, 21, 32]


def test_an_output_inside_the_list_is_an_item():
    assert value_of(lambda: double.map([total(numbers()), 1])) == [6, 2]


def test_a_mapped_task_without_items_completes_with_an_empty_list():
    assert value_of(lambda: total(double.map(numbers(0)))) == 0


def test_async_tasks_can_be_mapped():
    @task
    async def twice(x: int) -> int:
        return 2 * x

    assert value_of(lambda: twice.map(numbers())) == [0, 2, 4]


def test_outside_a_flow_it_is_a_plain_list():
    assert double.map([1, 2]) == [2, 4]
    assert add.map([1, 2], b=1) == [2, 3]


def test_no_more_items_run_at_once_than_the_concurrency_limit_allows():
    lock, now, most = threading.Lock(), 0, 0

    @task(concurrency_limit=2)
    def counted(x: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1
        return x

    assert value_of(lambda: counted.map(numbers(40)), max_workers=8) == list(range(40))
    assert most <= 2


def test_an_item_is_tried_again_by_itself():
    failures = {3}

    @task(retries=1)
    def flaky(x: int) -> int:
        if x in failures:
            failures.discard(x)
            raise ValueError("the first time")
        return x

    handle = small(lambda: flaky.map(numbers(5))).start_local()
    assert handle.wait(10).value == [0, 1, 2, 3, 4]
    attempts = {each.item: each.attempt for each in handle.events() if isinstance(each, ItemChanged)}
    assert attempts == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1}


def test_without_fail_fast_the_other_items_run_and_the_failed_ones_are_named():
    result = small(lambda: total(picky.map(numbers(5)))).run_local(fail_fast=False)
    mapped = result.task_runs["picky"]
    assert str(mapped.state) == "FAILED: 2 of 5 items failed; picky[1] failed: ValueError: 1 is odd"
    assert {item: str(error) for item, error in mapped.failed_items.items()} == {1: "1 is odd", 3: "3 is odd"}
    assert mapped.item_count == 5
    assert result.task_runs["total"].state.type is StateType.SKIPPED


@pytest.mark.parametrize(("keep_results", "expected"), [(True, {0: 0, 2: 2, 4: 4}), (False, {})])
def test_what_the_other_items_returned_is_kept_where_all_results_are(keep_results: bool, expected: dict[int, int]):
    result = small(lambda: picky.map(numbers(5))).run_local(fail_fast=False, keep_results=keep_results)
    assert result.task_runs["picky"].completed_items == expected


def test_with_fail_fast_the_first_failed_item_fails_the_run_and_is_its_cause():
    with pytest.raises(TaskFailedError, match=r"task 'picky' of flow 'small': FAILED: 1 of 2 items") as caught:
        value_of(lambda: picky.map([1, 2]), max_workers=1)
    assert isinstance(caught.value.__cause__, ValueError)


def test_each_item_is_an_event_and_the_node_has_states_of_its_own():
    handle = small(lambda: double.map([1, 2])).start_local(max_workers=1)
    handle.wait(10)
    told = [(each.kind, getattr(each, "item", None), str(each.state.type)) for each in handle.events()]
    assert told == [
        ("run", None, "RUNNING"),
        ("task", None, "RUNNING"),
        ("item", 0, "RUNNING"),
        ("item", 0, "COMPLETED"),
        ("item", 1, "RUNNING"),
        ("item", 1, "COMPLETED"),
        ("task", None, "COMPLETED"),
        ("run", None, "COMPLETED"),
    ]


def test_a_hook_is_told_which_item_it_is_about():
    seen: list[tuple[int | None, object]] = []

    @task(on_completion=[lambda context, _state: seen.append((context.item, context.parameters["x"]))])
    def hooked(x: str) -> str:
        return x

    value_of(lambda: hooked.map(["a", "b"]), max_workers=1)
    assert sorted(seen, key=str) == [(0, "a"), (1, "b"), (None, ["a", "b"])]


@pytest.mark.parametrize("given", ["text", {"a": 1}, 5])
def test_what_turns_out_to_be_no_list_is_refused_with_the_remedy(given: object):
    @task
    def wrong() -> Any:
        return given

    with pytest.raises(TaskFailedError, match=r"mapped over 'x', so it must be a list, not .* by name") as caught:
        value_of(lambda: double.map(wrong()))
    assert isinstance(caught.value.__cause__, ParameterError)


def test_a_mapped_argument_that_is_no_list_is_refused_while_the_flow_is_drawn():
    with pytest.raises(GraphError, match="maps task 'double' over 'x', which must be a list or the output of a task"):
        small(lambda: double.map("text")).program()


def test_lists_of_different_lengths_are_refused_as_soon_as_they_are_known():
    with pytest.raises(ParameterError, match="lists of different lengths: 'a' has 2, 'b' has 1"):
        small(lambda: add.map([1, 2], [1])).program()
    with pytest.raises(TaskFailedError, match="lists of different lengths: 'a' has 3, 'b' has 1"):
        value_of(lambda: add.map(numbers(), [1]))


def test_a_map_over_nothing_given_by_position_is_refused():
    with pytest.raises(DefinitionError, match=r"double\.map\(...\) needs a list to go through, given by position"):
        small(lambda: double.map(x=[1])).program()
