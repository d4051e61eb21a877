"""Branch, switch, merge and for each, in flows that run: a way that is not taken is skipped, and the run completes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import polars as pl
import pytest

from dagy import StateType, flow, task
from dagy.errors import ConnectorError, NodeConfigError, SkipTask, UnknownNodeError
from dagy.nodes.library.code import PythonCode
from dagy.nodes.library.control import Branch, Flatten, ForEach, Merge, Switch
from dagy.nodes.library.conversions import ToDataframe, ToRecords, ToText
from dagy.nodes.library.frames import Filter
from dagy.nodes.library.templates import Template
from dagy.values import ABSENT

COMPLETED, SKIPPED, FAILED = StateType.COMPLETED, StateType.SKIPPED, StateType.FAILED


@task
def double(number: int) -> int:
    return number * 2


@task
def negative(number: int) -> int:
    return -number


@flow
def two_ways(number: int) -> Any:
    ways = Branch(operator=">", compared_with=10)(number)
    return Merge()([double(ways["yes"]), negative(ways["no"])])


def states(result: Any) -> dict[str, StateType]:
    return {each.id: each.state.type for each in result.task_runs.values()}


@pytest.mark.parametrize(("number", "value", "skipped"), [(20, 40, "negative"), (3, -3, "double")])
def test_the_way_not_taken_is_skipped_and_merge_takes_the_other(number: int, value: int, skipped: str) -> None:
    result = two_ways.run_local(number=number)
    assert (result.state.type, result.value) == (COMPLETED, value)
    assert {name for name, state in states(result).items() if state is SKIPPED} == {skipped}


def test_what_comes_after_a_skipped_task_is_skipped_too() -> None:
    @flow
    def long_way(number: int) -> Any:
        double(double(Branch(operator=">", compared_with=10)(number)["yes"]))

    result = long_way.run_local(number=1)
    assert result.state.type is COMPLETED
    assert sorted(states(result).values()) == [COMPLETED, SKIPPED, SKIPPED]


def test_a_merge_to_which_nothing_comes_is_skipped() -> None:
    @flow
    def nowhere() -> Any:
        ways = Branch(operator=">", compared_with=10)(5)
        return Merge(how="list")([double(ways["yes"]), double(ways["yes"])])

    result = nowhere.run_local()
    assert result.state.type is COMPLETED
    assert states(result)["merge"] is SKIPPED


def test_a_failure_is_no_way_not_taken() -> None:
    @task
    def fails(number: int) -> int:
        raise ValueError(number)

    @flow
    def failing(number: int) -> Any:
        ways = Branch(operator=">", compared_with=10)(number)
        return Merge()([fails(ways["yes"]), double(ways["no"])])

    result = failing.run_local(number=20, fail_fast=False)
    assert result.state.type is FAILED
    assert states(result)["merge"] is SKIPPED


def test_the_condition_decides_where_it_is_connected() -> None:
    @task
    def is_even(number: int) -> bool:
        return number % 2 == 0

    @flow
    def by_condition(number: int) -> Any:
        ways = Branch()(number, condition=is_even(number))
        return Merge(how="list")([ways["yes"], negative(ways["no"])])

    assert by_condition.run_local(number=4).value == [4]
    assert by_condition.run_local(number=5).value == [-5]


def taken(node: Branch | Switch, value: object) -> str:
    out = node(value)
    (way,) = [each for each, passed in out.items() if passed is not ABSENT]
    assert out[way] is value
    return str(way)


@pytest.mark.parametrize(
    ("config", "value", "way"),
    [
        ({}, True, "yes"),
        ({"operator": "is false"}, False, "yes"),
        ({"field": "order.total", "operator": ">=", "compared_with": 100}, {"order": {"total": 100}}, "yes"),
        ({"field": "state", "operator": "in", "compared_with": ["open", "new"]}, {"state": "done"}, "no"),
        ({"field": "state", "operator": "not in", "compared_with": ["open"]}, {"state": "done"}, "yes"),
        ({"operator": "==", "compared_with": 3}, "3", "no"),
        ({"operator": "!=", "compared_with": 3}, 3, "no"),
        ({"operator": "between", "compared_with": [1, 3]}, 3, "yes"),
        ({"operator": "contains", "compared_with": "b"}, "abc", "yes"),
        ({"operator": "contains", "compared_with": "x"}, ["x"], "yes"),
        ({"operator": "starts with", "compared_with": "b"}, "abc", "no"),
        ({"operator": "ends with", "compared_with": "c"}, "abc", "yes"),
        ({"operator": "matches", "compared_with": "b.$"}, "abc", "yes"),
        ({"operator": "<", "compared_with": "2026-03-01"}, date(2026, 2, 1), "yes"),
        ({"operator": "is null"}, None, "yes"),
        ({"operator": "is not null"}, None, "no"),
        ({"operator": "is empty"}, [], "yes"),
        ({"operator": "is empty"}, None, "yes"),
        ({"operator": "is not empty"}, "a", "yes"),
        ({"operator": "is empty"}, pd.DataFrame({"a": []}), "yes"),
        ({"operator": "is not empty"}, pl.DataFrame({"a": [1]}), "yes"),
    ],
)
def test_branch_compares_what_came_in(config: dict[str, Any], value: object, way: str) -> None:
    assert taken(Branch(**config), value) == way


@pytest.mark.parametrize(
    ("config", "value", "told"),
    [
        ({}, "yes", "'yes' is neither true nor false; compare it, or convert it with 'to_boolean'"),
        ({"operator": ">", "compared_with": 3}, "a", "'a' > 3 can't be said"),
        ({"operator": "in", "compared_with": 3}, "a", "'a' in 3 can't be said"),
        ({"operator": "between", "compared_with": [1]}, 1, r"1 between \[1\] can't be said"),
        ({"operator": "matches", "compared_with": "("}, "a", "can't be said"),
        ({"operator": "<", "compared_with": "soon"}, date(2026, 2, 1), "can't be said: Invalid isoformat"),
        ({"operator": "is empty"}, 3, "3 has no length"),
        ({"field": "totl", "operator": "is null"}, {"total": 1}, "there is no 'totl'; did you mean 'total'"),
    ],
)
def test_branch_tells_what_it_cannot_compare(config: dict[str, Any], value: object, told: str) -> None:
    with pytest.raises(ConnectorError, match=told):
        Branch(**config)(value)


def test_an_operator_that_is_none_is_refused_when_it_is_configured() -> None:
    with pytest.raises(NodeConfigError, match="=>"):
        Branch(operator="=>")


@pytest.mark.parametrize(("value", "way"), [("de", "case_1"), ("fr", "case_2"), ("it", "otherwise"), ("", "case_3")])
def test_switch_takes_the_way_of_the_first_case_that_is_met(value: str, way: str) -> None:
    cases = ["de", {"operator": "in", "value": ["fr", "be"]}, {"operator": "is empty"}]
    assert taken(Switch(cases=cases), value) == way
    assert taken(Switch(field="country", cases=cases), {"country": value}) == way


def test_switch_refuses_more_cases_than_it_has_ways_and_operators_that_are_none() -> None:
    with pytest.raises(NodeConfigError, match="give a list of at most 5"):
        Switch(cases=[1, 2, 3, 4, 5, 6])(1)
    with pytest.raises(NodeConfigError, match="there is no operator 'contain'; did you mean 'contains'"):
        Switch(cases=[{"operator": "contain", "value": "a"}])("abc")
    with pytest.raises(NodeConfigError, match=r"an object in 'cases' is a condition, and .* has no 'operator'"):
        Switch(cases=[{"op": ">", "value": 3}])(5)


@pytest.mark.parametrize(
    ("how", "values", "merged"),
    [
        ("first", [1, 2], 1),
        ("first", [None, 2], None),
        ("list", [1, [2]], [1, [2]]),
        ("rows", [[1], (2, 3)], [1, 2, 3]),
        ("fields", [{"a": 1, "b": 1}, {"b": 2}], {"a": 1, "b": 2}),
    ],
)
def test_merge_makes_one_of_what_arrived(how: str, values: list[object], merged: object) -> None:
    assert Merge(how=how)(values) == merged


@pytest.mark.parametrize("engine", ["pandas", "polars"])
def test_merge_puts_frames_one_below_the_other(engine: str) -> None:
    def frame(*records: dict[str, object]) -> Any:
        return ToDataframe(engine=engine)(list(records))

    merged = Merge(how="rows")([frame({"a": 1, "b": "x"}), frame({"a": 2.5}), frame({"b": None, "a": 3})])
    assert type(merged).__module__.startswith(engine)
    assert ToRecords()(merged) == [{"a": 1.0, "b": "x"}, {"a": 2.5, "b": None}, {"a": 3.0, "b": None}]
    alone = frame({"a": 1})
    assert list(Merge(how="rows")([alone, alone]).dtypes) == list(alone.dtypes)
    with pytest.raises(ConnectorError, match=r"column 'a' is .* and .*; make them the same first"):
        Merge(how="rows")([alone, frame({"a": "x"})])


def test_merge_brings_numbers_and_times_of_several_precisions_together() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    few = pl.DataFrame({"n": [1], "at": [noon]}, schema={"n": pl.Int32, "at": pl.Datetime("ms", "UTC")})
    many = pl.DataFrame({"n": [2], "at": [noon]}, schema={"n": pl.Int64, "at": pl.Datetime("ns", "UTC")})
    for frames in ([few, many], [few.to_pandas(), many.to_pandas()]):
        merged = Merge(how="rows")(frames)
        assert [str(each) for each in merged["n"].to_list()] == ["1", "2"]
        assert ToRecords()(merged)[1]["at"] == "2026-03-01T12:00:00+00:00"
    empty = pl.DataFrame({"n": [None], "at": [None]})
    assert Merge(how="rows")([empty, empty]).shape == (2, 2)
    assert Merge(how="rows")([empty, few]).schema == few.schema


def test_merge_refuses_what_does_not_go_together() -> None:
    with pytest.raises(ConnectorError, match="3 is not a list, as the others are to be"):
        Merge(how="rows")([[1], 3])
    with pytest.raises(ConnectorError, match=r"\[1\] is not an object"):
        Merge(how="fields")([{"a": 1}, [1]])
    with pytest.raises(ConnectorError, match="one frame is of pandas and another of polars"):
        Merge(how="rows")([pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})])


def test_for_each_runs_a_node_for_each_item_as_items_of_one_task() -> None:
    @flow
    def greetings(names: list[str]) -> Any:
        config = {"template": "{{ greeting }} {{ value }}", "values": {"greeting": "Hello"}}
        return ForEach(node_type="template", config=config)(names)

    result = greetings.run_local(names=["Ada", "Bo"])
    assert result.value == ["Hello Ada", "Hello Bo"]
    assert result.task_run("for_each").item_count == 2
    assert greetings.run_local(names=[]).value == []


def test_for_each_gives_the_item_to_the_connector_that_is_named_and_others_to_the_others() -> None:
    node = ForEach(node_type="python_code", config={"code": "value + sum(values)"}, connector="value")
    assert node([1, 2], {"values": [10, 20]}) == [31, 32]
    left = [pd.DataFrame({"k": [1, 2]}), pd.DataFrame({"k": [2, 3]})]
    joined = ForEach(node_type="join", config={"on": "k"}, connector="left")(left, {"right": pd.DataFrame({"k": [2]})})
    assert [each["k"].tolist() for each in joined] == [[2], [2]]


def test_for_each_of_a_node_with_several_outputs_gives_those_that_were_given() -> None:
    node = ForEach(node_type="branch", config={"operator": ">", "compared_with": 1})
    assert node([1, 2]) == [{"no": 1}, {"yes": 2}]


def test_for_each_is_refused_when_its_node_is_configured_wrong() -> None:
    with pytest.raises(UnknownNodeError, match="there is no node type 'filterr'; did you mean 'filter'"):
        ForEach(node_type="filterr")
    with pytest.raises(NodeConfigError, match="'columm'"):
        ForEach(node_type="filter", config={"columm": "age"})
    with pytest.raises(NodeConfigError, match="the node 'filter' has no connector 'frmae'; did you mean 'frame'"):
        ForEach(node_type="filter", connector="frmae")


def test_an_item_that_is_skipped_is_none_and_flatten_leaves_it_out() -> None:
    @flow
    def some(numbers: list[int]) -> Any:
        code = "from dagy.errors import SkipTask\nif value < 0:\n    raise SkipTask('negative')\n[value] * value"
        return Flatten()(ForEach(node_type="python_code", config={"code": code})(numbers))

    result = some.run_local(numbers=[2, -1, 1])
    assert (result.state.type, result.value) == (COMPLETED, [2, 2, 1])


def test_flatten_takes_lists_only() -> None:
    assert Flatten()([[1], (2,), None, []]) == [1, 2]
    with pytest.raises(ConnectorError, match="3 is not a list"):
        Flatten()([[1], 3])


@pytest.mark.parametrize("engine", ["pandas", "polars"])
def test_frames_go_through_branches_and_merges(engine: str) -> None:
    @flow
    def old_enough(people: list[dict[str, Any]], limit: int) -> Any:
        found = Filter(column="age", operator=">", value=limit)(ToDataframe(engine=engine)(people))
        ways = Branch(operator="is not empty")(found)
        nobody = PythonCode(code="[]")(ways["no"])
        return Merge()([ToRecords()(ways["yes"]), nobody])

    people = [{"name": "Ada", "age": 36}, {"name": "Bo", "age": 29}]
    assert old_enough.run_local(people=people, limit=30).value == [{"name": "Ada", "age": 36}]
    assert old_enough.run_local(people=people, limit=40).value == []


def test_a_node_by_hand_says_that_it_was_skipped() -> None:
    with pytest.raises(SkipTask, match="nothing came in at 'values'"):
        Merge()([ABSENT])


def test_nodes_and_tasks_mix_in_a_loop() -> None:
    @flow
    def texts(numbers: list[int]) -> Any:
        return ToText().map(double.map(numbers))

    assert texts.run_local(numbers=[1, 2]).value == ["2", "4"]


def test_a_node_that_could_do_without_a_value_is_skipped_too_when_its_way_is_not_taken() -> None:
    @flow
    def told(number: int) -> Any:
        ways = Branch(operator=">", compared_with=10)(number)
        return Merge(how="list")([Template(template="many")(ways["yes"]), PythonCode(code="'few'")(ways["no"])])

    assert told.run_local(number=20).value == ["many"]
    assert told.run_local(number=3).value == ["few"]


def test_a_merge_gives_what_stands_beside_a_way_that_was_not_taken():
    @flow
    def chosen(number: int):
        ways = Branch(operator=">", compared_with=3)(number)
        return Merge()([ways["yes"], "default"])

    assert [chosen.run_local(number=each).value for each in (5, 1)] == [5, "default"]
