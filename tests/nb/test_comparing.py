"""Comparing two values: what is equal, and where and how values differ."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from dagy_nb.comparing import Comparison, compare

NAN = float("nan")


@dataclass
class Row:
    price: float
    tags: list[str] = field(default_factory=list)
    seen: int = field(default=0, compare=False)


class Plain:
    """A class of a library's, without `==`."""

    def __init__(self, price: object) -> None:
        self.price = price


class Own(Plain):
    """A class of the notebook's."""


Own.__module__ = "__main__"


class Odd:
    """Its `==` raises."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Rows(list[int]):
    """A list of the notebook's own, with a name."""

    def __init__(self, name: str) -> None:
        super().__init__([1, 2])
        self.name = name


class Never(Own):
    """Its `==` says no."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def loop() -> list[Any]:
    made: list[Any] = [1]
    made.append(made)
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: NAN,
        lambda: {"a": [1, (2.5, NAN)], "b": {3, 4}},
        lambda: {"b": 1, "a": 2},
        lambda: Row(NAN, ["x"]),
        lambda: deque([1, 2]),
        lambda: frozenset({NAN, 1}),
        lambda: Plain(3),
        lambda: Own([1]),
        lambda: Rows("a"),
        lambda: [complex(1, NAN), Decimal("NaN")],
        loop,
    ],
)
def test_a_value_equals_another_like_it(make: Callable[[], object]) -> None:
    assert compare(make(), make()) == Comparison("equal")


@pytest.mark.parametrize(
    ("one", "other", "where", "detail"),
    [
        (1, True, "", "the types differ: int, and bool"),
        (1, 1.0, "", "the types differ: int, and float"),
        ("a", "b", "", "'a', and 'b'"),
        ([1, 2], (1, 2), "", "the types differ: list, and tuple"),
        ([1, 2], [1], "", "the lengths differ: 2, and 1"),
        ({"rows": [0, 1, 2, Row(1.0)]}, {"rows": [0, 1, 2, Row(2.0)]}, "['rows'][3].price", "1.0, and 2.0"),
        ({"a": 1}, {"b": 1}, "", "the keys differ, only in the notebook: 'a'; only in the clean run: 'b'"),
        ({1, 2}, {2, 3}, "", "only in the notebook: 1; only in the clean run: 3"),
        ([{"x": {1}}], [{"x": {1, 2}}], "[0]['x']", "only in the clean run: 2"),
        (Own([1, 2]), Own([1, 3]), ".price[1]", "2, and 3"),
        (NAN, 1.0, "", "nan, and 1.0"),
        (Decimal("NaN"), Decimal(1), "", "Decimal('NaN'), and Decimal('1')"),
        ({"rows": Rows("a")}, {"rows": Rows("b")}, "['rows'].name", "'a', and 'b'"),
    ],
)
def test_the_first_difference_is_told_with_its_place(one: object, other: object, where: str, detail: str) -> None:
    found = compare(one, other)
    assert (found.verdict, found.where, found.detail) == ("differs", where, detail)


def test_floats_that_are_near_differ_and_are_said_to_be_near() -> None:
    found = compare([0.3], [0.1 + 0.2])
    assert str(found) == "differs: at [0]; 0.3, and 0.30000000000000004; equal within 1e-09"
    assert compare(1.0, 1.1).note == ""
    assert compare(math.inf, -math.inf).note == ""


def test_lists_of_other_lengths_tell_both_what_differs_and_the_lengths() -> None:
    found = compare([1, 2, 3], [1, 5])
    assert (found.where, found.note) == ("[1]", "the lengths differ too: 3, and 2")


def test_what_has_no_way_to_be_compared_is_compared_by_its_bytes() -> None:
    assert compare(Plain(3), Plain(3)).is_equal
    found = compare(Plain(3), Plain(4))
    assert found.verdict == "not comparable"
    assert "its class has no `==`" in found.detail
    lock = compare([threading.Lock()], [threading.Lock()])
    assert (lock.verdict, lock.where) == ("not comparable", "[0]")


def test_a_class_that_was_defined_anew_is_no_difference() -> None:
    older, newer = (type("Item", (), {"__module__": "__main__"}) for _ in range(2))
    found = compare({"a": older()}, {"a": newer()})
    assert (found.verdict, found.where) == ("not comparable", "['a']")
    assert found.detail == "the class __main__.Item was defined anew since the run; run the flow again"


def test_comparing_never_raises() -> None:
    assert compare(Odd(), Odd()).is_equal
    found = compare({"a": Odd(1)}, {"a": Odd(2)})
    assert (found.verdict, found.where) == ("not comparable", "['a']")
    assert "its `==` raised ValueError: ambiguous" in found.detail
    deep: list[Any] = []
    other: list[Any] = []
    for _ in range(10_000):
        deep, other = [deep], [other]
    assert compare(deep, other).verdict == "not comparable"


def test_the_values_own_word_counts_where_its_parts_are_the_same() -> None:
    assert compare(Never(1), Never(1)).verdict == "differs"
    assert compare(Never(1), Never(2)).where == ".price"


# ---- arrays and tables

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")


def frame(**changes: Any) -> Any:
    return pd.DataFrame({"a": [1.0, NAN, 3.0], "b": ["x", None, "z"], "c": [1, 2, 3]} | changes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array([1.0, NAN]),
        lambda: np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        lambda: np.array([1, "a", None], dtype=object),
        lambda: np.array([(1, NAN)], dtype=[("n", "i4"), ("x", "f8")]),
        lambda: np.zeros((0, 3)),
        lambda: np.float64(NAN),
        frame,
        lambda: frame().set_index(["b", "c"]),
        lambda: frame()["b"],
        lambda: pd.DataFrame({"a": [[1], {"x": NAN}], "n": pd.array([1, None], dtype="Int64")}),
        lambda: pd.DataFrame([[1, 2]], columns=["same", "same"]),
        lambda: pa.table({"a": [1.5, None]}),
    ],
)
def test_a_table_equals_another_like_it(make: Callable[[], object]) -> None:
    assert compare(make(), make()) == Comparison("equal")


@pytest.mark.parametrize(
    ("one", "other", "where", "detail", "note"),
    [
        (np.zeros(3), np.zeros((3, 1)), "", "the shapes differ: (3,), and (3, 1)", ""),
        (np.zeros(3), np.zeros(3, "f4"), "", "the dtypes differ: float64, and float32", ""),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 2], [5, 6]]), "[1, 0]", "3, and 5", "2 of 4 values differ"),
        (np.ones(2), np.ones(2) + 1e-12, "[0]", "1.0, and 1.000000000001", "equal within 1e-09; 2 of 2 values differ"),
        (frame(), frame()[["b", "a", "c"]], "", "the columns are in another order: 'a', 'b', 'c', and 'b', 'a', 'c'",
         ""),
        (frame(), frame().drop(columns="c"), "", "the columns differ: 'a', 'b', 'c', and 'a', 'b'", ""),
        (frame(), frame(c=[1.0, 2.0, 3.0]), "", "the dtypes differ: 'c' is int64, and float64", ""),
        (frame(), frame().head(2), "", "the shapes differ: (3, 3), and (2, 3)", ""),
        (frame(), frame(a=[1.0, 2.0, 4.0]), "['a'][1]", "nan, and 2.0", "2 of 3 values differ"),
        (frame(), frame(b=["x", "y", "z"]), "['b'][1]", None, ""),
        (frame(), frame(a=[0.0] * 3, c=[0] * 3), "['a'][0]", "1.0, and 0.0",
         "3 of 3 values differ; 2 columns differ: 'a', 'c'"),
        (frame().set_index(pd.Index([0, 1, 2])), frame().set_index(pd.Index([0, 1, 5])), ".index[2]",
         "2, and 5", "1 of 3 values differ"),
        ({"t": frame()["a"]}, {"t": frame()["a"].rename("z")}, "['t']", "the names differ: 'a', and 'z'", ""),
        (pa.table({"a": [1, 2]}), pa.table({"a": [1, 3]}), "['a'][1]", "2, and 3", ""),
        (pa.table({"a": [1]}), pa.table({"a": [1, 2]}), "", "the lengths differ: 1 rows, and 2", ""),
    ],
)  # fmt: skip
def test_tables_tell_what_differs(one: object, other: object, where: str, detail: str | None, note: str) -> None:
    found = compare(one, other)
    assert (found.verdict, found.where) == ("differs", where)
    assert detail is None or found.detail == detail
    assert detail is None or found.note == note


def test_polars_tables_are_compared() -> None:
    pl = pytest.importorskip("polars")
    table = pl.DataFrame({"a": [1.0, NAN], "b": ["x", None]})
    assert compare(table, table.clone()).is_equal
    found = compare(table, table.with_columns(b=pl.Series(["x", "y"])))
    assert (found.where, found.detail) == ("['b'][1]", "the types differ: NoneType, and str")
    assert compare(table, table.rename({"a": "z"})).detail == "the columns differ: 'a', 'b', and 'z', 'b'"
