"""What tells two values apart: the same for equal values in every process, another for any difference."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import functools
import itertools
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.digests import digest, identity


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Row:
    name: str
    parts: object = None


class Model(pydantic.BaseModel):
    name: str
    tags: set[str] = set()


class Slots:
    __slots__ = ("one", "two")

    def __init__(self, one: object) -> None:
        self.one = one


class Names(set[str]):
    pass


class Plain:
    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, 2**63, "", "a", "1", "\x00", "\ud800"])
)
SMALL = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


def same(one: object, other: object) -> bool:
    """Equal, all parts of the same type and in the same order, NaN like NaN and -0.0 unlike 0.0."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return same([list(each) for each in one.items()], [list(each) for each in other.items()])
    return type(one) is type(other) and repr(one) == repr(other)


@given(SMALL, SMALL)
def test_two_values_have_one_digest_exactly_if_they_are_the_same(one: object, other: object) -> None:
    assert (digest(one) == digest(other)) is same(one, other)


@given(SMALL)
def test_a_copy_has_the_digest_of_the_original(value: object) -> None:
    assert digest(copy.deepcopy(value)) == digest(value)
    assert digest([value, value]) == digest([value, copy.deepcopy(value)])


def frame(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "b": ["x", None], **changes})


DIFFERENT: list[object] = [
    None,
    True,
    1,
    1.0,
    0.0,
    -0.0,
    "1",
    b"1",
    bytearray(b"1"),
    [1],
    (1,),
    {1},
    frozenset([1]),
    {1: 1},
    {"1": 1},
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    [[1], 2],
    [1, [2]],
    [[1, 2]],
    ["a", "b"],
    ["ab"],
    [[]],
    [{}],
    [],
    {},
    set(),
    2**70,
    "x" * 100,
    "x" * 101,
    1j,
    decimal.Decimal("1"),
    decimal.Decimal("1.0"),
    datetime.date(2020, 1, 1),
    datetime.datetime(2020, 1, 1),  # noqa: DTZ001
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    Path("a"),
    Path("b"),
    Color.RED,
    Color.BLUE,
    Color,
    Row("a"),
    Row("b"),
    Row("a", [Row("a")]),
    Model(name="a"),
    Model(name="a", tags={"x", "y"}),
    Slots(1),
    Slots(2),
    Plain(a=1),
    Plain(a=2),
    Names("ab"),
    Names("ac"),
    collections.OrderedDict(a=1),
    collections.Counter("a"),
    collections.deque([1]),
    collections.deque([1], 5),
    functools.partial(int, base=2),
    functools.partial(int, base=3),
    range(3),
    slice(1, 2),
    len,
    str,
    itertools,
    "abc".upper,
    "abd".upper,
    Row("a").__eq__,
    np.int64(1),
    np.float32(1),
    np.array(1),
    np.array([1]),
    np.array([1], dtype="i4"),
    np.array([[1]]),
    np.array([1.0]),
    np.array([1, None]),
    np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")]),
    np.array([(1, 2)], dtype=[("a", "i4"), ("c", "i4")]),
    np.random.default_rng(1),
    np.random.default_rng(2),
    frame(),
    frame(a=[1, 3]),
    frame(a=[1.0, 2.0]),
    frame(c=1),
    frame(b=["x", "None"]),
    frame(b=pd.Categorical(["x", None])),
    frame(b=pd.Categorical(["x", None], ["x", "y"])),
    frame(b=pd.array([1, None], dtype="Int64")),
    frame(b=pd.to_datetime(["2020", "NaT"])),
    frame(b=pd.to_datetime(["2020", "NaT"], utc=True)),
    frame()[["b", "a"]],
    frame().iloc[::-1],
    frame().set_index("a"),
    frame().rename_axis("key"),
    frame()["a"],
    frame()["a"].rename("c"),
    pd.Index([1, 2]),
    pd.RangeIndex(2),
    pd.MultiIndex.from_tuples([(1, "a")]),
    pd.date_range("2020", periods=2),
    pd.date_range("2020", periods=2, freq="h"),
]


def test_values_that_differ_have_different_digests() -> None:
    seen: dict[str, object] = {}
    for value in DIFFERENT:
        found = digest(value)
        assert found is not None, identity(value).reason
        assert found not in seen, f"{value!r} and {seen[found]!r}"
        seen[found] = value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"b", "a"}, {"a", "b"}),
        (Plain(a=1, b=2), Plain(b=2, a=1)),
        (np.arange(20)[::2], np.arange(0, 20, 2)),
        (np.arange(20)[5:15], np.arange(5, 15)),
        (frame()[["a"]], pd.DataFrame({"a": [1, 2]})),
        (np.array([1, None], dtype=object), np.array([1, None], dtype=object)),
        (iter([1, 2]), iter([1, 2])),
        (np.random.default_rng(1), np.random.default_rng(1)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_equal_values_have_one_digest_however_they_came_about(one: object, other: object) -> None:
    assert digest(one) == digest(other)
    assert digest(one) is not None


def test_a_table_of_pyarrows_is_told_by_its_content() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, 2, 3]})
    assert digest(table) == digest(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert digest(table) != digest(table.slice(1))


PROGRAM = """
import dataclasses, decimal, enum, pathlib, re
from dagy.digests import digest
class Color(enum.Enum):
    RED = 1
@dataclasses.dataclass
class Row:
    tags: object
values = [
    {"a", "b", ("c", 1)}, frozenset("xyz"), {"k": {"a", "b"}}, Row({"a", "b"}), Color.RED, [Row, Color, len],
    pathlib.Path("a/b"), re.compile("a+"), decimal.Decimal("1.5"), 1.5, "text", {"x": [1, (2, 3)]}, 2**100,
]
print([digest(each) for each in values])
"""


def test_the_digest_is_the_same_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(said) == 1
    assert "None" not in said.pop()


def numbers() -> Iterator[int]:
    yield 1


def endless() -> list[object]:
    found: list[object] = [1]
    found.append(found)
    return found


class Sour:
    def __reduce__(self) -> str:
        raise ValueError("not me")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": [1, numbers()]}, "it['a'][1] is a generator, which has no lasting identity"),
        (Row("a", {"lock": threading.Lock()}), "['lock'] is a _thread.lock"),
        (endless(), "it[1] holds itself"),
        ([lambda: 1], "it[0] is the function"),
        ((1, Sour()), "it[1] is a "),
        (memoryview(b"a"), "it is a memoryview"),
    ],
    ids=lambda each: "" if not isinstance(each, str) else each,
)
def test_what_has_no_lasting_identity_says_why(value: object, reason: str) -> None:
    found = identity(value)
    assert found.digest is None
    assert reason in found.reason
    assert identity(value, called="input 'x'").reason.startswith("input 'x'")


def test_a_value_may_be_nested_as_deep_as_it_likes() -> None:
    deep: list[object] = []
    for _ in range(30_000):
        deep = [deep]
    assert digest(deep) is not None
    assert digest([deep]) != digest(deep)


def test_a_part_that_is_shared_over_and_over_is_told_once() -> None:
    wide: list[object] = [()]
    for _ in range(60):
        wide = [wide, wide]
    assert digest(wide) is not None


def test_a_value_is_not_used_up_by_telling_it() -> None:
    items = iter([1, 2])
    digest(items)
    assert list(items) == [1, 2]


def test_an_object_whose_own_code_raises_has_no_digest_and_says_why() -> None:
    class Rows:
        def __reduce_ex__(self, protocol: object) -> Any:
            return list, (), None, (1 // each for each in (1, 0))

    assert identity([Rows()], lambda code: "code").reason == "it[0] can't be told apart: " + (
        "ZeroDivisionError: integer division or modulo by zero"
    )


def test_code_is_told_apart_by_whoever_knows_it() -> None:
    def by_line(code: Callable[..., Any]) -> str | None:
        return str(code.__code__.co_firstlineno) if hasattr(code, "__code__") else code.__qualname__

    one, other = (
        [lambda: 1],
        [
            lambda: 1,
        ],
    )
    assert digest(one) is None
    assert digest(one, by_line) is not None
    assert digest(one, by_line) != digest(other, by_line)
