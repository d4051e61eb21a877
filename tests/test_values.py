"""How values are kept: exactly, in the plainest form, and with a clear word when they can't be."""

from __future__ import annotations

import copy
import dataclasses
import decimal
import enum
import io
import json
import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.digests import digest
from dagy.errors import StoreError, TravelError
from dagy.values import ABSENT, described, encode, read, read_trusted

pa = pytest.importorskip("pyarrow")


@dataclasses.dataclass
class Row:
    name: str
    parts: list[object]


class Color(enum.Enum):
    RED = 1


def same(one: object, other: object) -> bool:
    """Equal, all parts of the same type, in the same order, NaN like NaN and -0.0 unlike 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return same(list(one.items()), list(other.items()))
    return one == other


def again(value: Any) -> Any:
    encoded = encode(value)
    return read_trusted(encoded.codec, encoded.data)


TEXTS = st.text(st.characters(exclude_categories=())) | st.sampled_from(["\x00", "\ud800", "\ud83d\ude00", "\u202e"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON_LIKE = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=12)
ANY = st.recursive(
    SCALARS | st.binary() | st.complex_numbers(allow_nan=False) | st.dates() | st.decimals(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(), inner)
        | st.frozensets(st.integers() | st.text())
    ),
    max_leaves=12,
)


@given(JSON_LIKE)
def test_what_looks_like_json_comes_back_the_same(value: object) -> None:
    assert same(again(value), value)


@given(ANY)
def test_any_plain_value_comes_back_the_same(value: object) -> None:
    assert same(again(value), value)


@given(JSON_LIKE)
def test_what_is_kept_as_json_any_reader_of_json_understands(value: object) -> None:
    encoded = encode(value)
    if encoded.codec == "json":
        assert same(json.loads(encoded.data.decode("utf-8"), parse_constant=pytest.fail), value)


@pytest.mark.parametrize(
    ("value", "codec"),
    [
        (None, "json"),
        (2**63, "json"),
        (-0.0, "json"),
        ("a\x00b", "json"),
        ("\ud800", "json"),
        ({"rows": [1, 2.5, True, None]}, "json"),
        ("\ud83d" + "\ude00", "pickle"),  # two halves; JSON would make one character of them
        (float("nan"), "pickle"),
        (float("inf"), "pickle"),
        pytest.param(10**5000, "pickle", id="a long number"),
        ((1, 2), "pickle"),
        ({1: "a"}, "pickle"),
        ({"a": (1,)}, "pickle"),
        (Color.RED, "pickle"),
        (Row("a", [1]), "pickle"),
        (decimal.Decimal("1.10"), "pickle"),
        (datetime(2020, 1, 1, tzinfo=UTC), "pickle"),
        (Path("a/b"), "pickle"),
        (b"bytes", "pickle"),
        (ABSENT, "absent"),
        ({"yes": [1], "no": ABSENT}, "outputs"),
        ({"yes": (1,), "no": ABSENT}, "pickle"),
        ([ABSENT], "pickle"),
    ],
)
def test_the_plainest_exact_form_is_taken(value: object, codec: str) -> None:
    assert encode(value).codec == codec
    assert again(value) == value or value != value
    assert type(again(value)) is type(value)


@pytest.mark.parametrize(
    ("array", "codec"),
    [
        (np.arange(6).reshape(2, 3), "npy"),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), "npy"),
        (np.arange(10)[::2], "npy"),
        (np.zeros((0, 3)), "npy"),
        (np.array(["a", "bc"]), "npy"),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"), "npy"),
        (np.array([(1, "a")], dtype=[("x", "i4"), ("y", "U3")]), "npy"),
        (np.array([1, 2], dtype=">i4"), "npy"),
        (np.array(3), "pickle"),
        (np.array([1, None]), "pickle"),
        (np.ma.masked_array([1, 2], [True, False]), "pickle"),
        (np.asarray([1]).view(np.recarray), "pickle"),
    ],
)
def test_an_array_comes_back_as_it_was(array: np.ndarray, codec: str) -> None:
    encoded = encode(array)
    found = read_trusted(encoded.codec, encoded.data)
    assert encoded.codec == codec
    assert type(found) is type(array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("scalar", [np.float64(1.5), np.int8(-3), np.bool_(True), np.datetime64("2020-01-01", "s")])
def test_a_scalar_of_numpys_stays_one(scalar: np.generic) -> None:
    encoded = encode(scalar)
    found = read(encoded.codec, encoded.data)
    assert type(found) is type(scalar)
    assert found == scalar


def test_a_large_array_is_not_copied_to_be_kept() -> None:
    array = np.arange(1000.0)
    assert np.shares_memory(np.frombuffer(encode(array).buffers[1], dtype=float), array)


FRAMES = {
    "texts and numbers": (pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.0, float("nan")]}), "arrow"),
    "an index of texts": (pd.DataFrame({"a": [1, 2]}, index=pd.Index(["p", "q"], name="key")), "arrow"),
    "columns that are numbers": (pd.DataFrame({1: [1], 2: [2]}), "pickle"),
    "categories": (
        pd.DataFrame({"a": pd.Categorical(["x", "y"], categories=["z", "x", "y"], ordered=True)}),
        "arrow",
    ),
    "times with a zone": (pd.DataFrame({"t": pd.date_range("2020", periods=3, tz="Europe/Berlin")}), "arrow"),
    "nullable integers": (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "arrow"),
    "no rows": (pd.DataFrame({"a": pd.Series([], dtype="float32")}), "arrow"),
    "a part of an index": (pd.DataFrame({"a": [1, 2, 3]}).iloc[1:], "arrow"),
    "shuffled": (pd.DataFrame({"a": [1, 2, 3]}).iloc[[2, 0]], "arrow"),
    "nullable floats": (pd.DataFrame({"a": pd.array([1.0, None], dtype="Float64")}), "pickle"),
    "objects": (pd.DataFrame({"a": [(1,), {"x": 1}]}), "pickle"),
    "two columns of one name": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "pickle"),
    "an index of pairs": (pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, "b")])), "pickle"),
    "an index with a frequency": (pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2020", periods=2)), "pickle"),
    "foreign byte order": (pd.DataFrame({"a": np.array([1], dtype=">i4")}), "pickle"),
    "nothing": (pd.DataFrame(), "pickle"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_data_frame_comes_back_as_it_was(name: str) -> None:
    frame, codec = FRAMES[name]
    assert encode(frame).codec == codec
    pd.testing.assert_frame_equal(again(frame), frame, check_exact=True, check_freq=True)


def test_what_is_attached_to_a_data_frame_stays_attached() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["source"] = Path("a.csv")
    assert again(frame).attrs == {"source": Path("a.csv")}


@pytest.mark.parametrize("name", [None, "price", 3])
def test_a_series_comes_back_as_it_was(name: object) -> None:
    series = pd.Series([1.5, None], name=name, index=["a", "b"])
    pd.testing.assert_series_equal(again(series), series, check_exact=True)


def test_a_table_of_pyarrows_comes_back_as_it_was() -> None:
    table = pa.table({"a": [1, None], "b": [["x"], []]}).replace_schema_metadata({"k": "v"})
    assert encode(table).codec == "arrow"
    assert again(table).equals(table, check_metadata=True)


def test_a_frame_of_polars_comes_back_as_it_was() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1], []]}, schema_overrides={"b": pl.Categorical})
    assert encode(frame).codec == "polars"
    assert again(frame).equals(frame)
    assert again(frame).schema == frame.schema


MARKS: list[str] = []


class Sentinel:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return leave_mark, ("unpickled",)


def leave_mark(text: str) -> None:
    MARKS.append(text)


def test_reading_never_unpickles_unless_the_source_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "value"
    encode([Sentinel()]).write(path)
    MARKS.clear()
    with pytest.raises(TravelError, match="kept as a pickle, and reading that may run any code"):
        read("pickle", path)
    with pytest.raises(TravelError, match="npy"):
        read("npy", pickle.dumps(Sentinel()))
    assert MARKS == []
    read_trusted("pickle", path)
    assert MARKS == ["unpickled"]


def test_an_array_of_objects_in_numpys_format_is_not_read() -> None:
    file = io.BytesIO()
    np.save(file, np.array([Sentinel()]), allow_pickle=True)
    MARKS.clear()
    with pytest.raises(TravelError, match="allow_pickle"):
        read_trusted("npy", file.getvalue())
    assert MARKS == []


def test_what_is_absent_is_one_thing_everywhere() -> None:
    assert (repr(ABSENT), bool(ABSENT)) == ("ABSENT", False)
    for copied in (copy.deepcopy(ABSENT), pickle.loads(pickle.dumps(ABSENT)), again(ABSENT), again([ABSENT])[0]):
        assert copied is ABSENT
    assert again({"yes": 1, "no": ABSENT})["no"] is ABSENT
    assert digest({"no": ABSENT}) == digest({"no": ABSENT}) != digest({"no": None})


@pytest.mark.parametrize("codec", ["json", "outputs", "npy", "arrow", "pickle"])
@pytest.mark.parametrize("data", [b"", b"\x00damaged", b"\x80\x05."])
def test_damaged_bytes_are_refused(codec: str, data: bytes) -> None:
    with pytest.raises(TravelError, match=f"the {codec} can't be read"):
        read_trusted(codec, data)


def test_a_codec_of_a_later_dagy_is_refused_with_the_remedy() -> None:
    with pytest.raises(TravelError, match="'zarr', which this dagy can't read; upgrade dagy"):
        read("zarr", b"")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"'.*gone' can't be read: No such file"):
        read("json", tmp_path / "gone")


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "value"
    for value in (np.float64(1.5), [1, 2], {"a": (1,)}):
        encoded = encode(value)
        encoded.write(path)
        assert path.stat().st_size == encoded.size == len(encoded.data)
        assert same(read_trusted(encoded.codec, path), value)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_can_not_be_written_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(StoreError, match="can't be written"):
        encode(1).write(path)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StoreError, match="No such file"):
        encode(1).write(tmp_path / "none" / "value")


def numbers() -> Iterator[int]:
    yield 1


@dataclasses.dataclass
class Holder:
    content: object


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, 2, 3, numbers()]}, r"result\['a'\]\[3\] is a generator, which runs only once .* make it a list"),
        (numbers(), "result is a generator"),
        (Holder([threading.Lock()]), r"result\.content\[0\] is a _thread\.lock, which only this process can use"),
        ([{"k": (1, threading.Event())}], r"result\[0\]\['k'\]\[1\]"),
    ],
)
def test_what_can_not_be_kept_is_named_with_its_place(value: object, message: str) -> None:
    with pytest.raises(TravelError, match=message):
        encode(value)


def test_an_open_file_is_named_with_what_to_do_instead(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(TravelError, match=r"rows\[0\] is an open file.* path"):
        encode([file], called="rows")


class Sour:
    def __reduce__(self) -> str:
        raise ValueError("not me")


def test_what_an_object_says_against_being_kept_is_told() -> None:
    with pytest.raises(TravelError, match=r"result\[1\] is a .*Sour, which can't be kept: ValueError: not me"):
        encode([1, Sour()])


def test_what_is_nested_too_deep_is_refused_and_what_holds_itself_is_not() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TravelError, match="result is nested too deep to be kept"):
        encode(deep)
    endless: list[object] = []
    endless.append(endless)
    found = again(endless)
    assert isinstance(found, list)
    assert found[0] is found


def test_functions_without_a_name_travel_by_value() -> None:
    limit = 3
    found = again({"check": lambda value: value > limit})
    assert found["check"](4)


KEEPER = """
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from dagy.values import encode
@dataclass
class Point:
    x: int
encode([Point(1), Point]).write(Path(PATH))
"""
READER = """
from pathlib import Path
from typing import Any
from dagy.values import read_trusted
%s
point, kind = read_trusted("pickle", Path(PATH))
print(type(point) is kind, point.x, kind is globals().get("Point"))
"""


@pytest.mark.parametrize(
    ("defined", "expected"),
    [("class Point: pass", "True 1 True"), ("", "True 1 False"), ("Point = 3", "True 1 False")],
)
def test_what_a_program_defines_is_found_again_in_the_next_one_or_comes_along(
    tmp_path: Path, defined: str, expected: str
) -> None:
    path = f"PATH = {str(tmp_path / 'value')!r}\n"
    subprocess.run([sys.executable, "-c", path + KEEPER], check=True)
    done = subprocess.run([sys.executable, "-c", path + READER % defined], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == expected


def test_keeping_plain_values_loads_no_package() -> None:
    program = (
        "import sys\nfrom dagy.values import encode, read_trusted\n"
        "for each in ({'a': 1}, (1, 2), {1, 2}):\n    e = encode(each); read_trusted(e.codec, e.data)\n"
        "print([each for each in ('numpy', 'pandas', 'pyarrow', 'polars', 'cloudpickle') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.csv", "'a.csv'"),
        ([1, 2], "[1, 2]"),
        (float("nan"), "nan"),
        ((1,), "a tuple"),
        (list(range(100)), "a list"),
        (Color.RED, f"a {__name__}.Color"),
    ],
)
def test_a_value_is_described_by_itself_or_by_what_it_is(value: object, expected: str) -> None:
    assert described(value) == expected
