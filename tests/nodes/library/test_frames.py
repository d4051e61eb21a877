"""The nodes that work on frames give the same of a pandas frame as of a Polars frame, and of its own kind."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dagy import flow
from dagy.errors import ConnectorError, MissingExtraError, NodeConfigError
from dagy.nodes.library.control import Merge
from dagy.nodes.library.conversions import ToDatetime
from dagy.nodes.library.frames import (
    Aggregate,
    DropDuplicates,
    FillMissing,
    Filter,
    Join,
    Limit,
    Sample,
    Select,
    Sort,
)

Make = Callable[[Mapping[str, Any]], Any]

PEOPLE = {
    "name": ["Ada", "Bo", "Cy", None],
    "age": [36.0, None, 29.0, 51.0],
    "joined": [date(2020, 1, 5), date(2021, 3, 9), None, date(2022, 7, 1)],
    "visits": [1, 2, 3, 4],
    "paid": [True, False, True, False],
}


@pytest.fixture(params=[pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def rows(frame: Any) -> list[tuple[Any, ...]]:
    """The rows, with None for whatever is missing."""
    found = frame.rows() if isinstance(frame, pl.DataFrame) else frame.astype(object).itertuples(index=False, name=None)
    return [tuple(each if (each == each) is True else None for each in row) for row in found]


def people(make: Make) -> Any:
    frame = make(PEOPLE)
    return frame.astype({"joined": "datetime64[ns]"}) if isinstance(frame, pd.DataFrame) else frame


def the_names(frame: Any) -> list[Any]:
    return [row[0] for row in rows(frame)]


def test_filter_takes_dates_for_values_and_gives_them_on_as_text(make: Make) -> None:
    assert the_names(Filter(column="joined", operator=">", value=date(2021, 1, 1))(people(make))) == ["Bo", None]
    days = [datetime(2020, 1, 1), datetime(2021, 12, 31, 12)]  # noqa: DTZ001 (the column has no zone)
    between = Filter(column="joined", operator="between", value=days)
    assert the_names(between(people(make))) == ["Ada", "Bo"]
    assert between.config["value"] == ["2020-01-01T00:00:00", "2021-12-31T12:00:00"]


def test_a_time_that_a_node_gives_may_be_the_value_of_filter() -> None:
    @flow
    def recent(frame: Any) -> Any:
        return Filter(column="joined", operator=">", value=ToDatetime()("2021-01-01"))(frame)

    assert the_names(recent.run_local(frame=people(pd.DataFrame)).value) == ["Bo", None]


@pytest.mark.parametrize(
    ("operator", "value", "told"),
    [("between", 5, r"takes \[lowest, highest\], not 5"), ("in", 5, "takes a list"), ("matches", "(", "no regular")],
)
def test_a_value_that_the_operator_does_not_take_is_refused_before_there_is_a_frame(
    operator: str, value: object, told: str
) -> None:
    with pytest.raises(NodeConfigError, match=told):
        Filter(column="age", operator=operator, value=value)


def test_one_condition_needs_no_list(make: Make) -> None:
    assert the_names(Filter(conditions={"column": "visits", "value": 2})(people(make))) == ["Bo"]


def test_a_number_that_no_column_can_hold_is_in_none(make: Make) -> None:
    assert the_names(Filter(column="visits", operator="in", value=[1, math.inf])(people(make))) == ["Ada"]


@pytest.mark.parametrize("by", [None, "name"])
def test_aggregate_needs_an_aggregation(make: Make, by: str | None) -> None:
    with pytest.raises(NodeConfigError, match="'aggregations' is empty"):
        Aggregate(by=by, aggregations=[])(people(make))


@pytest.mark.parametrize(
    ("column", "operator", "value", "kept"),
    [
        ("age", "==", 29, ["Cy"]),
        ("age", "!=", 29, ["Ada", None]),
        ("age", "<", 36, ["Cy"]),
        ("age", "<=", 36, ["Ada", "Cy"]),
        ("age", ">", 36.0, [None]),
        ("age", ">=", 36, ["Ada", None]),
        ("age", "in", [29, 51], ["Cy", None]),
        ("age", "in", [], []),
        ("age", "not in", [29, 51], ["Ada"]),
        ("age", "not in", [], ["Ada", "Cy", None]),
        ("visits", "in", [3, 1.0, 4.5], ["Ada", "Cy"]),
        ("visits", ">", 1.5, ["Bo", "Cy", None]),
        ("age", "between", [29, 36], ["Ada", "Cy"]),
        ("age", "is null", None, ["Bo"]),
        ("age", "is not null", None, ["Ada", "Cy", None]),
        ("name", "==", "Bo", ["Bo"]),
        ("name", "!=", "Bo", ["Ada", "Cy"]),
        ("name", "contains", "d", ["Ada"]),
        ("name", "contains", ".", []),
        ("name", "starts with", "C", ["Cy"]),
        ("name", "ends with", "o", ["Bo"]),
        ("name", "matches", "^[AB]", ["Ada", "Bo"]),
        ("name", "in", ["Cy", "Di"], ["Cy"]),
        ("paid", "==", True, ["Ada", "Cy"]),
        ("joined", ">", "2021-01-01", ["Bo", None]),
        ("joined", "==", "2020-01-05", ["Ada"]),
        ("joined", "between", ["2020-01-01", "2021-12-31"], ["Ada", "Bo"]),
    ],
)
def test_filter_keeps_the_rows_that_meet_the_condition(
    make: Make, column: str, operator: str, value: object, kept: list[object]
) -> None:
    frame = people(make)
    found = Filter(column=column, operator=operator, value=value)(frame=frame)
    assert the_names(found) == kept
    assert type(found) is type(frame)
    assert list(found.dtypes) == list(frame.dtypes)
    assert rows(frame) == rows(people(make))


def test_filter_meets_all_conditions_or_any(make: Make) -> None:
    conditions = [{"column": "age", "operator": "<", "value": 40}, {"column": "name", "value": "Cy"}]
    assert the_names(Filter(conditions=conditions)(people(make))) == ["Cy"]
    assert the_names(Filter(conditions=conditions, match="any")(people(make))) == ["Ada", "Cy"]
    assert the_names(Filter(column="paid", value=True, conditions=conditions[:1])(people(make))) == ["Ada", "Cy"]


def test_nan_is_missing_in_either_kind(make: Make) -> None:
    frame = make({"x": [1.0, math.nan, 3.0]})
    assert rows(Filter(column="x", operator=">", value=0)(frame)) == [(1.0,), (3.0,)]
    assert rows(Filter(column="x", operator="is null")(frame)) == [(None,)]
    assert rows(FillMissing(value=0)(frame)) == [(1.0,), (0.0,), (3.0,)]
    assert rows(Sort(by="x", descending=True)(frame)) == [(3.0,), (1.0,), (None,)]
    total = [{"column": "x", "function": "sum", "name": "total"}]
    assert rows(Aggregate(aggregations=total)(frame)) == [(4.0,)]


def test_filter_compares_times_in_the_columns_own_zone() -> None:
    moments = [datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC)]
    for frame in (pd.DataFrame({"at": moments}), pl.DataFrame({"at": moments})):
        for said in ("2026-03-02", "2026-03-02T00:00:00+00:00"):
            assert len(Filter(column="at", operator=">=", value=said)(frame)) == 1
    naive = pl.DataFrame({"at": [datetime(2026, 3, 1)]})  # noqa: DTZ001
    with pytest.raises(NodeConfigError, match="column 'at' has no time zone, but '2026-03-01T00:00Z' has one"):
        Filter(column="at", operator=">", value="2026-03-01T00:00Z")(naive)


def test_filter_takes_categories_as_text() -> None:
    names = ["a", "b", None]
    for frame in (
        pd.DataFrame({"x": pd.Categorical(names)}),
        pl.DataFrame({"x": pl.Series(names, dtype=pl.Categorical)}),
    ):
        found = Filter(column="x", operator="contains", value="b")(frame)
        assert rows(found) == [("b",)]
        assert list(found.dtypes) == list(frame.dtypes)


def test_filter_works_on_decimals() -> None:
    prices = [Decimal("1.50"), Decimal("3.00"), None]
    for frame in (pd.DataFrame({"x": pd.array(prices, dtype=object)}), pl.DataFrame({"x": prices})):
        assert rows(Filter(column="x", operator=">=", value=2)(frame)) == [(Decimal("3.00"),)]
        assert rows(Filter(column="x", operator="in", value=[3, 1.5])(frame)) == [(prices[0],), (prices[1],)]


def test_filter_works_on_pandas_nullable_columns() -> None:
    frame = pd.DataFrame({"x": pd.array([1, None, 3], dtype="Int64")})
    assert Filter(column="x", operator="!=", value=1)(frame)["x"].tolist() == [3]


def test_an_empty_frame_stays_empty_with_its_columns(make: Make) -> None:
    frame = make({"name": [], "age": []})
    for node in (
        Filter(column="name", operator="contains", value="a"),
        Sort(by=["name", "age"]),
        Sample(n=3),
        Sample(fraction=0.5),
        Limit(n=3),
        DropDuplicates(columns="name"),
        FillMissing(value=0),
        FillMissing(method="drop"),
        Select(columns=["name", "age"]),
    ):
        found = node(frame)
        assert (type(found), found.shape, list(found.columns)) == (type(frame), (0, 2), ["name", "age"]), node
    counted = [{"column": "age", "function": "sum"}, {"function": "rows"}]
    assert Aggregate(by="name", aggregations=counted)(frame).shape == (0, 3)
    assert Join(on="name")(frame, frame).shape == (0, 3)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"column": "agee", "value": 3}, "there is no column 'agee'; did you mean 'age'?"),
        ({"column": "x", "value": 3}, "there is no column 'x'; columns: 'name', 'age', 'joined', 'visits', 'paid'"),
        (
            {"column": "age", "operator": ">", "value": "old"},
            r"column 'age' holds numbers \(Float64\), which 'old' is not",
        ),
        ({"column": "name", "operator": ">", "value": 3}, r"column 'name' holds text \(String\), which 3 is not"),
        ({"column": "paid", "value": 1}, r"column 'paid' holds true or false \(Boolean\), which 1 is not"),
        ({"column": "joined", "operator": "<", "value": "soon"}, "column 'joined' holds dates; 'soon' is not one"),
        ({"column": "age", "operator": "contains", "value": "3"}, "'contains' looks for text in text; column 'age' is"),
        ({"column": "name", "operator": "matches", "value": "("}, r"'\(' is no regular expression"),
        ({"column": "age", "operator": "in", "value": 3}, "'in' takes a list of values, not 3"),
        ({"column": "age", "operator": "between", "value": [3]}, r"'between' takes \[lowest, highest\], not \[3\]"),
        ({"column": "age"}, "nothing is == null; use the operator 'is null'"),
        ({}, "nothing says which rows to keep; give a 'column', or 'conditions'"),
        ({"conditions": ["age > 3"]}, "a condition is an object such as .* not 'age > 3'"),
        ({"conditions": [{"column": "age", "operator": "=>", "value": 3}]}, "there is no operator '=>'"),
    ],
)
def test_filter_tells_what_is_wrong_with_a_condition(make: Make, config: dict[str, Any], told: str) -> None:
    with pytest.raises(NodeConfigError, match=told):
        Filter(**config)(people(make))


def test_a_frame_with_two_columns_of_one_name_is_refused() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(ConnectorError, match="the frame at 'frame' has more than one column 'a'; rename all but one"):
        Filter(column="b", value=2)(frame)


def test_a_list_of_objects_is_refused_and_the_converter_is_named() -> None:
    with pytest.raises(ConnectorError, match="to_dataframe"):
        Filter(column="b", value=2)([{"b": 2}])


def test_a_lazy_frame_is_computed() -> None:
    found = Filter(column="x", operator=">", value=1)(pl.LazyFrame({"x": [1, 2]}))
    assert rows(found) == [(2,)]


def test_a_package_that_is_missing_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(MissingExtraError, match=r"needs 'narwhals'; install it with: pip install 'dagy\[nodes\]'"):
        Limit(n=1)(pd.DataFrame({"x": [1]}))


def test_select_keeps_drops_and_renames(make: Make) -> None:
    frame = people(make)
    assert list(Select(columns=["age", "name"])(frame).columns) == ["age", "name"]
    assert list(Select(columns="age")(frame).columns) == ["age"]
    assert list(Select(drop=["joined", "visits", "paid"])(frame).columns) == ["name", "age"]
    renamed = Select(columns=["name", "age"], rename={"name": "age", "age": "name"})(frame)
    assert list(renamed.columns) == ["age", "name"]
    assert rows(renamed)[0] == ("Ada", 36.0)


def test_select_refuses_two_columns_of_one_name_and_columns_that_are_not_there(make: Make) -> None:
    with pytest.raises(NodeConfigError, match="two columns would be called 'age'"):
        Select(rename={"name": "age"})(people(make))
    for field in ("columns", "drop"):
        with pytest.raises(NodeConfigError, match="there is no column 'nme'; did you mean 'name'") as caught:
            Select(**{field: ["nme"]})(people(make))
        assert set(caught.value.problems) == {field}
    with pytest.raises(NodeConfigError, match="'columns' is 3; give a column name, or a list of them"):
        Select(columns=3)(people(make))


LEFT = {"id": [1, 2, 3], "x": ["a", "b", "c"]}
RIGHT = {"id": [2, 3, 4], "x": ["B", "C", "D"]}


@pytest.mark.parametrize(
    ("how", "columns", "joined"),
    [
        ("inner", ["id", "x", "x_right"], {(2, "b", "B"), (3, "c", "C")}),
        ("left", ["id", "x", "x_right"], {(1, "a", None), (2, "b", "B"), (3, "c", "C")}),
        ("full", ["id", "x", "x_right"], {(1, "a", None), (2, "b", "B"), (3, "c", "C"), (4, None, "D")}),
        ("semi", ["id", "x"], {(2, "b"), (3, "c")}),
        ("anti", ["id", "x"], {(1, "a")}),
    ],
)
def test_join_puts_rows_with_equal_keys_side_by_side(
    make: Make, how: str, columns: list[str], joined: set[tuple[object, ...]]
) -> None:
    found = Join(on="id", how=how)(left=make(LEFT), right=make(RIGHT))
    assert list(found.columns) == columns
    assert len(found) == len(joined)
    assert set(rows(found)) == joined


def test_join_takes_keys_of_other_names_and_several_of_them(make: Make) -> None:
    right = make({"key": [2, 2], "letter": ["b", "z"], "y": [7, 8]})
    found = Join(left_on=["id", "x"], right_on=["key", "letter"])(make(LEFT), right)
    assert rows(found[["id", "x", "y"]]) == [(2, "b", 7)]
    crossed = Join(how="cross", suffix="_2")(make(LEFT), make(RIGHT))
    assert (crossed.shape, list(crossed.columns)) == ((9, 4), ["id", "x", "id_2", "x_2"])


def test_join_never_matches_a_missing_key(make: Make) -> None:
    left, right = make({"k": ["a", None], "x": [1, 2]}), make({"k": [None, "a"], "y": [3, 4]})
    assert rows(Join(on="k")(left, right)) == [("a", 1, 4)]
    assert set(rows(Join(on="k", how="full")(left, right))) == {("a", 1, 4), (None, 2, None), (None, None, 3)}
    numbers = make({"k": [1.0, math.nan]})
    assert rows(Join(on="k")(numbers, numbers)) == [(1.0,)]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "give 'on', columns that both frames have, or as many in 'left_on' as in 'right_on'"),
        ({"left_on": ["id"]}, "give 'on'"),
        ({"on": "id", "left_on": "id", "right_on": "id"}, "give 'on'"),
        ({"on": "idd"}, "there is no column 'idd'; did you mean 'id'"),
        ({"left_on": "id", "right_on": "y"}, "there is no column 'y'; columns: 'id', 'x'"),
        ({"left_on": "id", "right_on": "x"}, r"the left 'id' holds numbers \(Int64\), the right 'x' text \(String\)"),
        ({"on": "id", "suffix": ""}, "both frames have 'x', and 'x' is there too; give another 'suffix'"),
        ({"how": "cross", "suffix": ""}, "both frames have 'id'"),
    ],
)
def test_join_tells_what_is_wrong_with_its_keys(make: Make, config: dict[str, Any], told: str) -> None:
    with pytest.raises(NodeConfigError, match=told):
        Join(**config)(make(LEFT), make(RIGHT))


def test_join_refuses_frames_of_two_kinds_and_says_how_to_make_them_one() -> None:
    told = "one frame is of pandas and another of polars.*'to_dataframe' with engine='pandas'"
    with pytest.raises(ConnectorError, match=told):
        Join(on="id")(pd.DataFrame(LEFT), pl.DataFrame(RIGHT))


SALES = {"city": ["Oslo", "Rome", "Oslo", None], "price": [3.0, 5.0, None, 1.0], "on": [True, False, True, True]}


def test_aggregate_gives_a_row_for_each_group_in_the_order_of_the_keys(make: Make) -> None:
    found = Aggregate(
        by="city",
        aggregations=[
            {"column": "price", "function": "sum"},
            {"column": "price", "function": "mean", "name": "mean"},
            {"column": "price", "function": "count", "name": "priced"},
            {"function": "rows", "name": "sales"},
            {"column": "on", "function": "sum", "name": "online"},
        ],
    )(make(SALES))
    assert list(found.columns) == ["city", "price_sum", "mean", "priced", "sales", "online"]
    assert rows(found) == [("Oslo", 3.0, 3.0, 1, 2, 2), ("Rome", 5.0, 5.0, 1, 1, 0), (None, 1.0, 1.0, 1, 1, 1)]


@pytest.mark.parametrize("by", [None, "all"])
@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("sum", 15.0),
        ("mean", 3.75),
        ("median", 3.0),
        ("min", 2.0),
        ("max", 7.0),
        ("count", 4),
        ("unique", 4),
        ("first", 3.0),
        ("last", 7.0),
        ("std", pytest.approx(2.217356)),
        ("var", pytest.approx(4.916667)),
        ("rows", 5),
    ],
)
def test_each_function_of_aggregate_is_the_same_for_both_kinds(
    make: Make, function: str, value: object, by: str | None
) -> None:
    frame = make({"all": [1] * 5, "x": [3.0, 2.0, None, 3.0, 7.0]})
    found = Aggregate(by=by, aggregations={"column": "x", "function": function, "name": "it"})(frame)
    assert rows(found[["it"]]) == [(value,)]


@pytest.mark.parametrize(
    ("aggregations", "told"),
    [
        ([{"column": "prize", "function": "sum"}], "there is no column 'prize'; did you mean 'price'"),
        ([{"column": "price", "function": "sume"}], "there is no function 'sume'; did you mean 'sum'"),
        ([{"column": "city", "function": "mean"}], r"column 'city' holds text \(String\), of which there is no 'mean'"),
        ([{"function": "sum"}], "'sum' needs a 'column'"),
        (["price"], "an aggregation is an object such as .*, not 'price'"),
        ([{"function": "rows", "name": "city"}], "two columns would be called 'city'"),
    ],
)
def test_aggregate_tells_what_is_wrong_with_an_aggregation(make: Make, aggregations: list[Any], told: str) -> None:
    with pytest.raises(NodeConfigError, match=told):
        Aggregate(by="city", aggregations=aggregations)(make(SALES))


def test_sort_keeps_equal_rows_in_their_order_and_puts_missing_values_last(make: Make) -> None:
    frame = make({"k": [2.0, None, 1.0, 2.0], "n": ["a", "b", "c", "d"]})
    assert [row[1] for row in rows(Sort(by="k")(frame))] == ["c", "a", "d", "b"]
    assert [row[1] for row in rows(Sort(by="k", descending=True)(frame))] == ["a", "d", "c", "b"]
    assert [row[1] for row in rows(Sort(by="k", nulls_last=False)(frame))] == ["b", "c", "a", "d"]
    assert [row[1] for row in rows(Sort(by=["k", "n"], descending=[False, True])(frame))] == ["c", "d", "a", "b"]
    assert rows(frame)[0] == (2.0, "a")


def test_sort_refuses_columns_that_are_not_there_and_directions_that_do_not_fit(make: Make) -> None:
    with pytest.raises(NodeConfigError, match="there is no column 'agee'"):
        Sort(by="agee")(people(make))
    with pytest.raises(NodeConfigError, match=r"'descending' is \[True\]; give true or false, or one for each"):
        Sort(by=["age", "name"], descending=[True])(people(make))
    with pytest.raises(NodeConfigError, match="'by' names no column"):
        Sort(by=[])(people(make))


def test_sample_draws_rows_once_and_the_same_for_a_seed(make: Make) -> None:
    frame = make({"x": list(range(100))})
    drawn = rows(Sample(n=10, seed=7)(frame))
    assert len(set(drawn)) == 10
    assert drawn == rows(Sample(n=10, seed=7)(frame))
    assert drawn != rows(Sample(n=10, seed=8)(frame))
    assert len(Sample(fraction=0.25)(frame)) == 25
    assert len(Sample(n=1000)(frame)) == 100


def test_sample_takes_a_number_or_a_fraction(make: Make) -> None:
    for config in ({}, {"n": 3, "fraction": 0.5}):
        with pytest.raises(NodeConfigError, match="give either 'n', a number of rows, or 'fraction'"):
            Sample(**config)(people(make))
    with pytest.raises(NodeConfigError, match="fraction"):
        Sample(fraction=1.5)


def test_limit_gives_the_first_rows(make: Make) -> None:
    frame = make({"x": [1, 2, 3, 4]})
    assert rows(Limit(n=2)(frame)) == [(1,), (2,)]
    assert rows(Limit(n=2, offset=1)(frame)) == [(2,), (3,)]
    assert rows(Limit(n=9, offset=3)(frame)) == [(4,)]


def test_drop_duplicates_keeps_one_of_equal_rows(make: Make) -> None:
    frame = make({"k": ["a", "b", "a"], "x": [1, 2, 3]})
    assert rows(DropDuplicates()(frame)) == [("a", 1), ("b", 2), ("a", 3)]
    assert rows(DropDuplicates(columns="k")(frame)) == [("a", 1), ("b", 2)]
    assert rows(DropDuplicates(columns=["k"], keep="last")(frame)) == [("b", 2), ("a", 3)]
    assert rows(DropDuplicates(columns="k", keep="none")(frame)) == [("b", 2)]


def test_fill_missing_puts_something_in_its_place(make: Make) -> None:
    frame = make({"n": [1.0, None, 3.0], "t": ["a", None, None]})
    assert rows(FillMissing(value=0)(frame)) == [(1.0, "a"), (0.0, None), (3.0, None)]
    assert rows(FillMissing(columns="t", value="-")(frame)) == [(1.0, "a"), (None, "-"), (3.0, "-")]
    assert rows(FillMissing(method="forward")(frame)) == [(1.0, "a"), (1.0, "a"), (3.0, "a")]
    assert rows(FillMissing(method="backward", columns=["n"])(frame))[1] == (3.0, None)
    assert rows(FillMissing(method="drop")(frame)) == [(1.0, "a")]
    assert rows(FillMissing(method="drop", columns="n")(frame)) == [(1.0, "a"), (3.0, None)]
    with pytest.raises(NodeConfigError, match=r"column 't' holds text .*, which 0 is not"):
        FillMissing(columns=["t"], value=0)(frame)
    with pytest.raises(NodeConfigError, match="there is no 'value' to fill with"):
        FillMissing()(frame)


def test_rows_of_pandas_keep_their_labels_also_where_two_have_the_same() -> None:
    frame = pd.concat([pd.DataFrame({"x": [1.0, None, 3.0], "t": ["a", "b", "c"]})] * 2)
    both = [{"column": "x", "operator": ">", "value": 0}, {"column": "t", "operator": "!=", "value": "a"}]
    assert Filter(conditions=both)(frame).index.tolist() == [2, 2]
    assert Sort(by="x", descending=True)(frame).index.tolist() == [2, 2, 0, 0, 1, 1]
    assert FillMissing(value=9)(frame)["x"].tolist() == [1.0, 9.0, 3.0, 1.0, 9.0, 3.0]
    assert DropDuplicates()(frame).index.tolist() == [0, 1, 2]
    assert len(Join(on="t")(frame, frame)) == 12


def test_columns_that_pandas_numbered_are_named_by_their_numbers() -> None:
    frame = pd.DataFrame([[1, "b"], [2, "a"]])
    found = Sort(by="1")(Filter(column="0", operator=">", value=0)(frame))
    assert rows(found) == [(2, "a"), (1, "b")]
    assert list(found.columns) == ["0", "1"]
    assert [*map(repr, frame.columns)] == ["0", "1"]
    with pytest.raises(ConnectorError, match="more than one column '0'"):
        Limit(n=1)(pd.DataFrame([[1, 2]], columns=[0, "0"]))


def test_what_a_column_of_several_types_cannot_be_compared_with_is_told() -> None:
    with pytest.raises(NodeConfigError, match="column 'x' > 1 can't be said: '>' not supported"):
        Filter(column="x", operator=">", value=1)(pd.DataFrame({"x": [1, "a"]}))


def test_arrow_tables_stay_arrow_tables() -> None:
    table = pa.table({"x": [2, 1, None]})
    assert Filter(column="x", operator=">", value=1)(table).to_pydict() == {"x": [2]}
    assert Sort(by="x")(table).to_pydict() == {"x": [1, 2, None]}
    assert Merge(how="rows")([table, table]).num_rows == 6


EXAMPLES = 8
SCHEMA = {"i": pl.Int64, "x": pl.Float64, "t": pl.String}
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from([-1.5, 0.0, 2.0, math.nan]),
        st.none() | st.sampled_from(["", "a", "b", "ab"]),
    ),
    max_size=8,
)
CONDITIONS = st.one_of(
    st.tuples(st.just("i"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(-3, 3)),
    st.tuples(st.just("x"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.sampled_from([-1.5, 0, 2.0, 7])),
    st.tuples(st.just("i"), st.sampled_from(["in", "not in"]), st.lists(st.sampled_from([-1, 0, 2.0, 2.5]))),
    st.tuples(st.just("x"), st.just("between"), st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(list)),
    st.tuples(
        st.just("t"),
        st.sampled_from(["==", "!=", "<", "contains", "starts with", "ends with", "matches"]),
        st.sampled_from(["", "a", "b"]),
    ),
    st.tuples(st.sampled_from(["i", "x", "t"]), st.sampled_from(["is null", "is not null"]), st.none()),
)


@hypothesis.given(ROWS, st.lists(CONDITIONS, min_size=1, max_size=3), st.sampled_from(["all", "any"]))
@hypothesis.settings(max_examples=EXAMPLES)
def test_any_frame_is_filtered_alike_in_both_kinds(
    records: list[tuple[Any, ...]], conditions: list[tuple[str, str, Any]], match: str
) -> None:
    given = [{"column": column, "operator": operator, "value": value} for column, operator, value in conditions]
    found = [rows(Filter(conditions=given, match=match)(frame)) for frame in both_kinds(records)]
    assert found[0] == found[1]


SEVERAL = [
    {"column": "x", "function": function, "name": function}
    for function in ("rows", "sum", "count", "min", "max", "mean", "first")
]
NODES = [
    Sort(by=["i", "t"], descending=[True, False]),
    Sort(by="x", nulls_last=False),
    Aggregate(by=["i"], aggregations=SEVERAL),
    Aggregate(by=["t", "x"], aggregations=SEVERAL),
    DropDuplicates(columns=["i", "t"]),
    FillMissing(method="forward"),
    FillMissing(method="drop", columns="x"),
]


@hypothesis.given(ROWS, st.sampled_from(NODES))
@hypothesis.settings(max_examples=EXAMPLES)
def test_any_frame_becomes_the_same_in_both_kinds(records: list[tuple[Any, ...]], node: Any) -> None:
    found = [rows(node(frame)) for frame in both_kinds(records)]
    assert found[0] == found[1]


def both_kinds(records: list[tuple[Any, ...]]) -> tuple[pd.DataFrame, pl.DataFrame]:
    dtypes = {"i": "Int64", "x": "float64", "t": "string"}
    return pd.DataFrame(records, columns=list(dtypes)).astype(dtypes), pl.DataFrame(records, SCHEMA, orient="row")


@hypothesis.given(ROWS, ROWS, st.sampled_from(["inner", "left", "full", "semi", "anti"]), st.sampled_from("ixt"))
@hypothesis.settings(max_examples=EXAMPLES)
def test_any_two_frames_are_joined_alike_in_both_kinds(
    left: list[tuple[Any, ...]], right: list[tuple[Any, ...]], how: str, key: str
) -> None:
    found = []
    for of_pandas in (True, False):
        frames = [pl.DataFrame(each, SCHEMA, orient="row") for each in (left, right)]
        joined = Join(on=key, how=how)(*(each.to_pandas() if of_pandas else each for each in frames))
        found.append((list(joined.columns), sorted(map(_same, rows(joined)), key=str)))
    assert found[0] == found[1]


def _same(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Integers as floats, which they become in pandas beside what is missing."""
    return tuple(float(each) if isinstance(each, int) else each for each in row)
