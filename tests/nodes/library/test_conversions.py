"""Converters: each type of value becomes another where it can, and says so where it can't."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from dagy import LocalArtifact, flow
from dagy.errors import ConnectorError, NodeConfigError
from dagy.nodes import DataType, node_registry
from dagy.nodes.library import ReadCsv
from dagy.nodes.library.conversions import (
    ParseJson,
    Pick,
    ToBoolean,
    ToBytes,
    ToDataframe,
    ToDatetime,
    ToFile,
    ToInteger,
    ToJsonText,
    ToList,
    ToNumber,
    ToObject,
    ToRecords,
    ToText,
)
from dagy.nodes.library.frames import Filter

ROWS = [{"city": "Oslo", "visits": 3}, {"city": "Rome", "visits": None}]


@pytest.mark.parametrize("engine", ["pandas", "polars"])
def test_a_list_of_objects_becomes_a_frame_and_back(engine: str) -> None:
    frame = ToDataframe(engine=engine)(ROWS)
    assert type(frame).__module__.startswith(engine)
    assert list(frame.columns) == ["city", "visits"]
    assert ToRecords()(frame) == ROWS


@pytest.mark.parametrize("engine", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("value", "records"),
    [
        ([{"a": 1}, {"b": 2}], [{"a": 1, "b": None}, {"a": None, "b": 2}]),
        ({"a": [1, 2], "b": ["x", None]}, [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        ({"a": 1, "b": "x"}, [{"a": 1, "b": "x"}]),
        ([1, 2], [{"value": 1}, {"value": 2}]),
        ([1, 2.5], [{"value": 1.0}, {"value": 2.5}]),
        ([{"a": 1}, {"a": 2.5}], [{"a": 1.0}, {"a": 2.5}]),
        ([], []),
        ({}, []),
        ([{"tags": ["x", "y"]}], [{"tags": ["x", "y"]}]),
    ],
)
def test_to_dataframe_takes_lists_and_objects(engine: str, value: object, records: list[Any]) -> None:
    assert ToRecords()(ToDataframe(engine=engine)(value)) == records


@pytest.mark.parametrize("engine", ["pandas", "polars"])
def test_to_dataframe_makes_a_frame_of_the_other_engine(engine: str) -> None:
    for frame in (pd.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [1, 2]}), pl.LazyFrame({"x": [1, 2]})):
        made = ToDataframe(engine=engine)(frame)
        assert type(made).__module__.startswith(engine)
        assert ToRecords()(made) == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": [1, 2], "b": [1]}, "the columns have not the same length: {'a': 2, 'b': 1}"),
        ([{"a": 1}, 3], "some items are objects, but 3 is not"),
        ("a,b", "'a,b' is no list and no object, of which a frame is made"),
        (3, "3 is no list and no object"),
    ],
)
def test_to_dataframe_refuses_what_is_no_table(value: object, told: str) -> None:
    with pytest.raises(ConnectorError, match=told):
        ToDataframe()(value)


def test_polars_takes_a_column_of_one_type_only() -> None:
    assert ToRecords()(ToDataframe()([{"a": 1}, {"a": "x"}])) == [{"a": 1}, {"a": "x"}]
    with pytest.raises(ConnectorError, match=r"a column holds values of several types: .* or use engine='pandas'"):
        ToDataframe(engine="polars")([{"a": 1}, {"a": "x"}])


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_records_hold_what_json_holds(make: Callable[[dict[str, Any]], Any]) -> None:
    frame = make(
        {
            "when": [datetime(2026, 3, 1, 9, 30, tzinfo=UTC), None],
            "day": [date(2026, 3, 1), None],
            "took": [timedelta(minutes=2), None],
            "price": [Decimal("1.50"), Decimal("3")],
            "ratio": [float("inf"), 0.5],
            "fine": [True, None],
            "cells": [[{"at": date(2026, 3, 1)}], None],
        }
    )
    first, second = ToRecords()(frame)
    assert first == {
        "when": "2026-03-01T09:30:00+00:00",
        "day": "2026-03-01",
        "took": 120.0,
        "price": 1.5,
        "ratio": None,
        "fine": True,
        "cells": [{"at": "2026-03-01"}],
    }
    assert second == {"when": None, "day": None, "took": None, "price": 3.0, "ratio": 0.5, "fine": None, "cells": None}
    assert '"price": 1.5' in ToJsonText()([first, second])


def test_records_hold_numbers_of_python_and_null_for_whatever_pandas_has_for_missing() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None], dtype="Int64"),
            "text": pd.array(["a", None], dtype="string"),
            "array": [np.array([1, 2]), None],
            "nan": [np.float32(0.5), Decimal("nan")],
            "kind": pd.Categorical(["x", None]),
        }
    )
    first, second = ToRecords()(frame)
    assert first == {"whole": 1, "text": "a", "array": [1, 2], "nan": 0.5, "kind": "x"}
    assert type(first["whole"]) is int
    assert set(second.values()) == {None}
    with pytest.raises(ConnectorError, match="the frame holds bytes, b'x', for which JSON has no form"):
        ToRecords()(pl.DataFrame({"a": [b"x"]}))


def test_json_text_is_read_and_written(tmp_path: Path) -> None:
    value = {"name": "Zoë", "tags": [1, 2.5, None, True]}
    text = ToJsonText()(value)
    assert text == '{"name": "Zoë", "tags": [1, 2.5, null, true]}'
    path = tmp_path / "value.json"
    path.write_text(text, encoding="utf-8")
    for given in (text, text.encode(), path, LocalArtifact.text(text)):
        assert ParseJson()(given) == value
    assert ToJsonText(indent=1, sort_keys=True)({"b": 1, "a": 2}) == '{\n "a": 2,\n "b": 1\n}'


def test_what_is_no_json_is_refused_with_the_place() -> None:
    with pytest.raises(ConnectorError, match=r"the text is no JSON: .*line 1 column 7 .* it begins '\{\"a\": \}'"):
        ParseJson()('{"a": }')
    for value in ([float("nan")], [datetime(2026, 1, 1, tzinfo=UTC)], {"a": {1, 2}}):
        with pytest.raises(ConnectorError, match="can't be written as JSON"):
            ToJsonText()(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (b"bytes", "bytes"),
        (12.5, "12.5"),
        (True, "true"),
        ({"a": [1]}, '{"a": [1]}'),
        (date(2026, 3, 1), "2026-03-01"),
        (LocalArtifact.text("in a file"), "in a file"),
        (pd.DataFrame({"a": [1, 2]}), "a\n1\n2\n"),
        (pl.DataFrame({"a": [1, 2]}), "a\n1\n2\n"),
    ],
)
def test_anything_becomes_text(value: object, text: str) -> None:
    assert ToText()(value) == text


def test_text_is_decoded_and_encoded_as_said() -> None:
    assert ToText(encoding="latin-1")(b"\xe9") == "é"
    assert ToBytes(encoding="latin-1")("é") == b"\xe9"
    with pytest.raises(NodeConfigError, match="the bytes are not text in 'utf-8'"):
        ToText()(b"\xe9")
    with pytest.raises(NodeConfigError, match="unknown encoding: utf-9"):
        ToText(encoding="utf-9")(b"a")
    with pytest.raises(NodeConfigError, match="the text can't be written in 'ascii'"):
        ToBytes(encoding="ascii")("é")


def test_files_become_bytes_and_bytes_files(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x00\x01")
    assert ToBytes()(path) == b"\x00\x01"
    made = ToFile(name="picture.png")(b"\x89PNG")
    assert (made.name, made.media_type, ToBytes()(made)) == ("picture.png", "image/png", b"\x89PNG")
    assert ToText()(ToFile(name="notes.txt")("hello")) == "hello"


@pytest.mark.parametrize(
    ("value", "number"), [("12.5", 12.5), (" -7 ", -7), ("1e3", 1000.0), (True, 1), (3, 3), (2.5, 2.5)]
)
def test_to_number_reads_text(value: object, number: float) -> None:
    found = ToNumber()(value)
    assert (found, type(found)) == (number, type(number))


def test_what_is_no_number_is_refused() -> None:
    for value in ("1,250", "", "nan", "inf", None, [1]):
        with pytest.raises(ConnectorError, match="is no number"):
            ToNumber()(value)


def test_to_integer_rounds_only_when_asked() -> None:
    assert (ToInteger()("41"), ToInteger()(3.0), ToInteger(rounded=True)(2.6)) == (41, 3, 3)
    with pytest.raises(ConnectorError, match=r"2\.6 is no whole number; round it with rounded=True"):
        ToInteger()(2.6)


def test_to_boolean_reads_what_people_write() -> None:
    assert [ToBoolean()(each) for each in ("Yes", "true", 1, "off", False, "0")] == [True] * 3 + [False] * 3
    for value in ("maybe", None, 2):
        with pytest.raises(ConnectorError, match="is neither true nor false; there are true, yes"):
            ToBoolean()(value)


def test_to_datetime_reads_iso_text_formats_and_seconds() -> None:
    assert ToDatetime()("2026-03-01T09:30:00+00:00") == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert ToDatetime()(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert ToDatetime(format="%d.%m.%Y")("01.03.2026").date() == date(2026, 3, 1)
    assert ToDatetime()(date(2026, 3, 1)).isoformat() == "2026-03-01T00:00:00"
    with pytest.raises(ConnectorError, match=r"'01\.03\.2026' is no time: .* give 'format'"):
        ToDatetime()("01.03.2026")
    for value in (True, [1], 1e20):
        with pytest.raises(ConnectorError, match="is no time"):
            ToDatetime()(value)


def test_to_list_makes_one_of_anything() -> None:
    assert ToList()((1, 2)) == [1, 2]
    assert ToList()("a\nb") == ["a", "b"]
    assert ToList(separator=",")("a,b") == ["a", "b"]
    assert ToList()({"a": 1}) == [{"key": "a", "value": 1}]
    assert (ToList()(None), ToList()(7)) == ([], [7])


def test_to_object_makes_one_of_text_and_lists() -> None:
    assert ToObject()('{"a": 1}') == {"a": 1}
    assert ToObject()(ToList()({"a": 1, "b": 2})) == {"a": 1, "b": 2}
    assert ToObject(key="id")([{"id": 7, "x": 1}]) == {"7": {"id": 7, "x": 1}}
    assert ToObject()(None) == {}
    with pytest.raises(ConnectorError, match="there is no 'idd'; did you mean 'id'"):
        ToObject(key="idd")([{"id": 7}])
    with pytest.raises(ConnectorError, match="7 is no object, and no list of objects"):
        ToObject()(7)


ORDER = {"items": [{"price": 3}, {"price": 5}], "customer": {"name": "Ada"}}


def test_pick_takes_what_is_at_a_path() -> None:
    assert Pick(path="items.0.price")(ORDER) == 3
    assert Pick(path="items.-1.price")(ORDER) == 5
    assert Pick(path="customer")(ORDER) == {"name": "Ada"}
    assert Pick(path="customer.age", if_missing="null")(ORDER) is None


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("customer.nam", "there is no 'nam' .of 'customer.nam'.; did you mean 'name'"),
        ("items.2", "there is no '2' .* in a list of 2 items"),
        ("items.first", "there is no 'first' .* in a list of 2 items"),
        ("customer.name.0", "there is no '0' .*: 'Ada' is no object and no list"),
        ("", "path"),
    ],
)
def test_pick_tells_where_a_path_ends(path: str, told: str) -> None:
    with pytest.raises((ConnectorError, NodeConfigError), match=told):
        Pick(path=path)(ORDER)


@pytest.mark.parametrize(
    ("out", "into", "converter"),
    [
        ("LIST", "DATAFRAME", "to_dataframe"),
        ("OBJECT", "DATAFRAME", "to_dataframe"),
        ("JSON", "DATAFRAME", "to_dataframe"),
        ("DATAFRAME", "LIST", "to_records"),
        ("DATAFRAME", "JSON", "to_records"),
        ("DATAFRAME", "STRING", "to_text"),
        ("JSON", "STRING", "to_json_text"),
        ("JSON", "OBJECT", "to_object"),
        ("JSON", "LIST", "to_list"),
        ("JSON", "NUMBER", "to_number"),
        ("JSON", "BOOLEAN", "to_boolean"),
        ("STRING", "NUMBER", "to_number"),
        ("STRING", "INTEGER", "to_integer"),
        ("NUMBER", "INTEGER", "to_integer"),
        ("STRING", "BOOLEAN", "to_boolean"),
        ("STRING", "OBJECT", "to_object"),
        ("STRING", "LIST", "to_list"),
        ("STRING", "DATETIME", "to_datetime"),
        ("DATETIME", "STRING", "to_text"),
        ("NUMBER", "STRING", "to_text"),
        ("STRING", "BYTES", "to_bytes"),
        ("BYTES", "STRING", "to_text"),
        ("BYTES", "JSON", "parse_json"),
        ("FILE", "BYTES", "to_bytes"),
        ("FILE", "STRING", "to_text"),
        ("FILE", "JSON", "parse_json"),
        ("STRING", "FILE", "to_file"),
        ("BYTES", "FILE", "to_file"),
    ],
)
def test_each_common_refusal_has_a_converter(out: str, into: str, converter: str) -> None:
    found = node_registry.converters(frozenset({DataType[out]}), frozenset({DataType[into]}))
    assert converter in [each.metadata().node_type for each in found]


def test_a_refused_connection_names_the_converter() -> None:
    @flow
    def wrong() -> Any:
        return Filter(column="a", value=1)(ToList()("a"))

    with pytest.raises(ConnectorError, match="to_dataframe"):
        _ = wrong.spec


def test_text_becomes_a_frame_by_way_of_a_file() -> None:
    @flow
    def ages() -> Any:
        rows = ReadCsv()(ToFile(name="ages.csv")("name,age\nAda,36\nBo,29\n"))
        return ToRecords()(Filter(column="age", operator=">", value=30)(rows))

    assert ages.run_local().value == [{"name": "Ada", "age": 36}]
