"""Sources of values, and the values they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from dagy.errors import ParameterError
from dagy.program import Actual, Source, resolve
from dagy.spec import Constant, DictOf, FromParameter, FromTask, Held, ListOf

VALUES = {"load": {"rows": [7, 8]}, "count": 2}
PARAMETERS = {"path": "x.csv", "config": {"deep": [1]}}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (Constant(5), 5),
        (Actual(...), ...),
        (FromTask("count"), 2),
        (FromTask("load", ("rows", 1)), 8),
        (FromTask("load", ("rows", -1)), 8),
        (FromParameter("path"), "x.csv"),
        (FromParameter("config", ("deep", 0)), 1),
        (ListOf((Constant(1), FromTask("count"))), [1, 2]),
        (ListOf((FromTask("count"),), "tuple"), (2,)),
        (ListOf((FromTask("count"),), "set"), {2}),
        (DictOf((("a", FromTask("count")), (1, ListOf((FromParameter("path"),))))), {"a": 2, 1: ["x.csv"]}),
    ],
)
def test_a_source_stands_for_its_value(source: Source, value: Any):
    assert resolve(source, VALUES, PARAMETERS) == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            FromTask("load", ("row",)),
            "task 'load' returned {'rows': [7, 8]} with the keys ['rows'], which has no part 'row'",
        ),
        (FromTask("load", ("rows", 5)), "task 'load' returned [7, 8], which has no part 5"),
        (FromTask("count", (0,)), "task 'count' returned 2, which has no part 0"),
        (FromParameter("path", ("x",)), "the flow's parameter 'path' is 'x.csv', which has no part 'x'"),
        (Held("DataFrame"), "a value of type DataFrame did not travel with the flow; only its own process has it"),
    ],
)
def test_a_part_that_is_not_there_is_named_with_what_is(source: Source, message: str):
    with pytest.raises(ParameterError) as caught:
        resolve(source, VALUES, PARAMETERS)
    assert str(caught.value) == message
