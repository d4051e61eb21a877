"""Connectors: the lattice of types, how many values pass, and what contradicts itself."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy import LocalArtifact
from dagy.errors import DefinitionError
from dagy.nodes.connectors import (
    ConnectionCardinality,
    ConnectorDef,
    ConnectorDirection,
    DataType,
    Fit,
    fit,
    is_subtype,
    takes,
    type_names,
    type_of,
    types_of_annotation,
)

IN, OUT = ConnectorDirection.INBOUND, ConnectorDirection.OUTBOUND
JSON_TYPES = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "OBJECT", "LIST", "NULL"}

some_types = st.frozensets(st.sampled_from(DataType), min_size=1, max_size=3)


def types(*names: str) -> frozenset[DataType]:
    return frozenset(DataType[each] for each in names)


class Point(NamedTuple):
    x: int


class Row(TypedDict):
    city: str


class Color(enum.StrEnum):
    RED = "red"


class TestTheLattice:
    def test_json_is_above_its_types_and_nothing_else(self):
        assert {each.name for each in DataType if is_subtype(each, DataType.JSON)} == JSON_TYPES | {"JSON"}

    def test_an_integer_is_a_number_and_not_the_other_way_round(self):
        assert is_subtype(DataType.INTEGER, DataType.NUMBER)
        assert not is_subtype(DataType.NUMBER, DataType.INTEGER)

    @pytest.mark.parametrize(
        ("out", "into", "expected"),
        [
            (types("INTEGER"), types("NUMBER"), Fit.YES),
            (types("LIST"), types("JSON"), Fit.YES),
            (types("DATAFRAME"), types("ANY"), Fit.YES),
            (types("ANY"), types("DATAFRAME"), Fit.WHEN_RUN),
            (types("JSON"), types("STRING"), Fit.NO),
            (types("NUMBER"), types("INTEGER"), Fit.NO),
            (types("DATAFRAME"), types("JSON"), Fit.NO),
            (types("DATAFRAME", "LIST"), types("JSON", "DATAFRAME"), Fit.YES),
            (types("STRING", "NULL"), types("STRING"), Fit.WHEN_RUN),
            (types("STRING", "NULL"), types("BYTES"), Fit.NO),
        ],
    )
    def test_a_connection_fits_when_every_type_fits(self, out, into, expected):
        assert fit(out, into) is expected

    @given(some_types, some_types, st.sampled_from([None, True, 1, 1.5, "a", [], {}, b"", datetime.date(2026, 1, 1)]))
    def test_what_fits_takes_every_value_that_may_go_out(self, out, into, value):
        if takes(out, value) and fit(out, into) is Fit.YES:
            assert takes(into, value)

    @given(some_types, some_types, some_types)
    def test_fitting_is_transitive(self, one, two, three):
        if fit(one, two) is fit(two, three) is Fit.YES:
            assert fit(one, three) is Fit.YES


class TestTypesOfValues:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, "NULL"),
            (True, "BOOLEAN"),
            (np.bool_(True), "BOOLEAN"),
            (3, "INTEGER"),
            (np.int64(3), "INTEGER"),
            (2.5, "NUMBER"),
            (np.float32(2.5), "NUMBER"),
            ("text", "STRING"),
            (Color.RED, "STRING"),
            ([1], "LIST"),
            ((1, 2), "LIST"),
            (Point(1), "LIST"),
            ({"a": 1}, "OBJECT"),
            (collections.OrderedDict(), "OBJECT"),
            (b"raw", "BYTES"),
            (memoryview(b"raw"), "BYTES"),
            (Path("data.csv"), "FILE"),
            (LocalArtifact.text("hello", name="a.txt"), "FILE"),
            (datetime.date(2026, 1, 31), "DATETIME"),
            (pd.Timestamp("2026-01-31"), "DATETIME"),
            (pd.DataFrame(), "DATAFRAME"),
            (pl.DataFrame(), "DATAFRAME"),
            (pl.LazyFrame(), "DATAFRAME"),
            (pa.table({}), "DATAFRAME"),
            (pd.Series(dtype=float), "ANY"),
            ({1, 2}, "ANY"),
            (decimal.Decimal(1), "ANY"),
            (object(), "ANY"),
        ],
    )
    def test_a_value_is_of_its_most_particular_type(self, value, expected):
        assert type_of(value).name == expected

    def test_a_subclass_of_a_frame_is_one(self):
        class GeoFrame(pd.DataFrame):
            pass

        assert type_of(GeoFrame()) is DataType.DATAFRAME

    def test_a_class_that_is_only_called_so_is_no_frame(self):
        class DataFrame:
            pass

        assert type_of(DataFrame()) is DataType.ANY

    def test_a_value_of_no_type_passes_only_where_any_may(self):
        assert takes(types("ANY"), object())
        assert not takes(frozenset(DataType) - types("ANY"), object())


class TestTypesOfAnnotations:
    @pytest.mark.parametrize(
        ("annotation", "expected"),
        [
            (int, "INTEGER"),
            (float, "NUMBER"),
            (str | None, "NULL or STRING"),
            (list[dict[str, int]], "LIST"),
            (Sequence[int], "LIST"),
            (Mapping[str, int], "OBJECT"),
            (Row, "OBJECT"),
            (Point, "LIST"),
            (pd.DataFrame, "DATAFRAME"),
            (Path, "FILE"),
            (datetime.datetime, "DATETIME"),
            (None, "NULL"),
            (Literal["a", 1], "INTEGER or STRING"),
            (Annotated[bytes, "raw"], "BYTES"),
            (NewType("UserId", int), "INTEGER"),
            (DataType.JSON, "JSON"),
            (Any, "ANY"),
            (object, "ANY"),
            (int | Any, "ANY"),
            (Iterable[int], "ANY"),
            ("int", "ANY"),
        ],
    )
    def test_an_annotation_admits_types(self, annotation, expected):
        assert type_names(types_of_annotation(annotation)) == expected


class TestHowManyValuesPass:
    @pytest.mark.parametrize(
        ("direction", "options", "expected"),
        [
            (IN, {}, "ZERO_OR_ONE"),
            (IN, {"required": True}, "ONE"),
            (IN, {"required": False}, "ZERO_OR_ONE"),
            (IN, {"cardinality": ConnectionCardinality.ONE_OR_MANY}, "ONE_OR_MANY"),
            (IN, {"cardinality": "zero_or_many"}, "ZERO_OR_MANY"),
            (OUT, {}, "ONE"),
            (OUT, {"required": False}, "ZERO_OR_ONE"),
        ],
    )
    def test_it_follows_from_what_is_said(self, direction, options, expected):
        connector = ConnectorDef("a", "A", direction, **options)
        assert connector.cardinality is ConnectionCardinality[expected]
        assert connector.required is connector.is_required is connector.cardinality.is_required

    def test_where_many_may_pass_the_whole_is_a_list(self):
        many = ConnectorDef("a", "A", IN, types("DATAFRAME"), cardinality=ConnectionCardinality.ZERO_OR_MANY)
        one = ConnectorDef("a", "A", IN, types("DATAFRAME"))
        assert (many.value_types, one.value_types) == (types("LIST"), types("DATAFRAME"))


class TestWhatContradictsItself:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"required": True, "cardinality": "zero_or_one"}, "ZERO_OR_ONE, which required=True contradicts"),
            ({"required": False, "cardinality": "one"}, "ONE, which required=False contradicts"),
            ({"each": True, "cardinality": "one_or_many"}, "each=True and is ONE_OR_MANY"),
            ({"each": True, "direction": OUT}, "for inbound connectors"),
            ({"id": "data-in"}, "'data-in' is none"),
            ({"id": "class"}, "'class' is none"),
            ({"data_types": "dataframes"}, "did you mean 'dataframe'"),
            ({"data_types": []}, "no data type at all"),
            ({"direction": "sideways"}, "there are inbound, outbound"),
        ],
    )
    def test_it_is_refused(self, options, message):
        with pytest.raises(DefinitionError) as caught:
            ConnectorDef(**{"id": "a", "name": "A", "direction": IN, **options})
        assert message in str(caught.value)

    def test_types_may_be_given_as_text(self):
        assert ConnectorDef("a", "", "inbound", ["json", DataType.BYTES]).data_types == types("JSON", "BYTES")
