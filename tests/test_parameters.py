"""Parameters: binding arguments, checking values, reading them from text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from dagy import Static
from dagy.errors import DefinitionError, ParameterError
from dagy.parameters import Parameters
from dagy.spec import ParameterSpec
from dagy.values import is_json


def of(function: Callable[..., Any]) -> Parameters:
    return Parameters(function, of="task 'load'")


def load(path: str, limit: int = 3, *, strict: bool = False) -> None: ...


# Binding


def test_arguments_are_bound_by_position_and_by_name_and_defaults_are_left_out():
    assert of(load).bind(("x.csv",), {"strict": True}) == {"path": "x.csv", "strict": True}


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "task 'load' needs a value for 'path'"),
        (("x", 1, True), {}, "task 'load' takes 2 values by position, and was given 3"),
        (("x",), {"path": "y"}, "task 'load' was given 'path' twice: by position and by name"),
        (("x",), {"limt": 1}, "task 'load' has no input 'limt'; did you mean 'limit'?"),
        (("x",), {"zzz": 1}, "task 'load' has no input 'zzz'; it takes 'path', 'limit', 'strict'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(args: tuple[Any, ...], kwargs: dict[str, Any], message: str):
    with pytest.raises(ParameterError) as caught:
        of(load).bind(args, kwargs)
    assert str(caught.value) == message


def test_a_function_without_parameters_says_that_it_takes_none():
    with pytest.raises(ParameterError, match="task 'load' has no input 'x'; it takes none"):
        of(lambda: None).bind((), {"x": 1})


def test_the_error_is_a_type_error_too():
    with pytest.raises(TypeError):
        of(load).bind((), {})


def test_any_number_of_arguments_are_bound_and_passed_on():
    def gather(first: int, /, *rest: int, **named: int) -> Any:
        return first, rest, named

    parameters = of(gather)
    values = parameters.bind((1, 2, 3), {"x": 4})
    assert values == {"first": 1, "rest": (2, 3), "named": {"x": 4}}
    assert parameters.call(gather, values) == (1, (2, 3), {"x": 4})


def test_what_any_number_of_arguments_do_not_fit_is_named():
    def gather(first: int, /, *rest: int) -> None: ...

    with pytest.raises(ParameterError, match="task 'load': missing a required argument: 'first'"):
        of(gather).bind((), {})


def test_a_function_whose_parameters_can_not_be_read_is_refused():
    with pytest.raises(DefinitionError, match="task 'load': the parameters of <class 'type'> can't be read"):
        of(type)


def test_a_partial_function_has_the_parameters_that_are_left():
    assert list(of(functools.partial(load, "x.csv"))) == ["limit", "strict"]


# Checking


@dataclass
class Point:
    x: int
    y: int = 0


class Model(BaseModel):
    x: int


class Plain:
    pass


@pytest.mark.parametrize(
    ("annotation", "given", "checked"),
    [
        (int, 5, 5),
        (int, "5", 5),
        (int, 5.0, 5),
        (float, 5, 5),
        (float, "5", 5.0),
        (bool, "yes", True),
        (list[int], ["1", 2], [1, 2]),
        (dict[str, int], {"a": "1"}, {"a": 1}),
        (int | None, None, None),
        (str | int, 5, 5),
        (Point, {"x": 1}, Point(1)),
        (Model, {"x": "1"}, Model(x=1)),
        (Any, object, object),
        (object, Plain, Plain),
        ("int", "5", 5),
        ("NotDefinedAnywhere", "5", "5"),
        (None, None, None),
        (Static[int], "5", 5),
    ],
)
def test_a_value_is_passed_on_as_its_annotation_has_it(annotation: Any, given: Any, checked: Any):
    def load(value): ...

    load.__annotations__["value"] = annotation
    found = of(load).check({"value": given})["value"]
    assert found == checked
    assert type(found) is type(checked)


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (int, 5),
        (list[int], [1]),
        (dict, {"a": 1}),
        (Point, Point(1)),
        (Model, Model(x=1)),
        (Plain, Plain()),
        (list, [1]),
    ],
)
def test_a_value_that_fits_is_the_very_same_object(annotation: Any, given: Any):
    def load(value): ...

    load.__annotations__["value"] = annotation
    assert of(load).check({"value": given})["value"] is given


@pytest.mark.parametrize(
    ("annotation", "given", "message"),
    [
        (int, "five", "task 'load': 'value' can't be 'five' (str): input should be a valid integer"),
        (list[int], [1, "x"], "task 'load': 'value' can't be [1, 'x'] (list): at [1]: input should be a valid integer"),
        (int, None, "task 'load': 'value' can't be None (NoneType): input should be a valid integer"),
        (Plain, 3, "task 'load': 'value' can't be 3 (int): input should be an instance of "),
        (Point, {"y": 1}, "task 'load': 'value' can't be {'y': 1} (dict): at ['x']: "),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(annotation: Any, given: Any, message: str):
    def load(value): ...

    load.__annotations__["value"] = annotation
    with pytest.raises(ParameterError) as caught:
        of(load).check({"value": given})
    assert str(caught.value).startswith(message)


def test_a_value_that_can_not_be_shown_is_named_by_its_type():
    class Unspeakable:
        def __repr__(self) -> str:
            raise ValueError("not even this")

    def load(value: int) -> None: ...

    with pytest.raises(ParameterError, match=r"'value' can't be <Unspeakable instance at 0x\w+> \(Unspeakable\)"):
        of(load).check({"value": Unspeakable()})


def test_an_iterator_is_passed_on_without_being_read():
    def load(values: Iterator[int]) -> None: ...

    given = iter([1, 2])
    assert of(load).check({"values": given})["values"] is given
    assert list(given) == [1, 2]


def test_values_of_parameters_without_an_annotation_are_passed_on():
    given = object()
    assert of(lambda value: None).check({"value": given}) == {"value": given}


def test_checking_does_not_change_the_values_given():
    def load(value: int) -> None: ...

    values: dict[str, Any] = {"value": "5"}
    of(load).check(values)
    assert values == {"value": "5"}


# Text, from a command line


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "5", "5"),
        (int, "5", 5),
        (list[int], "[1, 2]", [1, 2]),
        (dict, '{"a": 1}', {"a": 1}),
        (bool, "true", True),
        (bool, "yes", True),
        (str | None, "null", "null"),
        (int | None, "null", None),
        (Point, '{"x": 1}', Point(1)),
        (Any, "[1]", [1]),
        (Any, "plain words", "plain words"),
        (float, "1e3", 1000.0),
    ],
)
def test_a_text_is_read_as_the_parameter_needs_it(annotation: Any, text: str, value: Any):
    def load(value): ...

    load.__annotations__["value"] = annotation
    assert of(load).parse_text("value", text) == value


def test_a_text_that_means_nothing_for_the_parameter_is_named():
    with pytest.raises(ParameterError, match="task 'load': 'limit' can't be 'many'"):
        of(load).parse_text("limit", "many")


def test_a_text_for_a_parameter_that_is_not_there_gets_a_suggestion():
    with pytest.raises(ParameterError, match="has no input 'limti'; did you mean 'limit'"):
        of(load).parse_text("limti", "5")


# As data


def test_parameters_as_data():
    def etl(path: str, limit: Static[int] = 3, rows: Any = object(), flags=None) -> None: ...  # noqa: B008

    assert of(etl).specs() == (
        ParameterSpec("path", "str"),
        ParameterSpec("limit", "Static[int]", required=False, default=3, static=True),
        ParameterSpec("rows", "Any", required=False, default=None),
        ParameterSpec("flags", "", required=False, default=None),
    )


def test_a_default_is_there_or_a_key_error():
    assert of(load).default("limit") == 3
    with pytest.raises(KeyError):
        of(load).default("path")


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ({"a": [1, 2.5, None, True, "x"]}, True),
        ((1, 2), False),
        ({1: 2}, False),
        ({1, 2}, False),
        (float("nan"), False),
        (float("inf"), False),
        (b"x", False),
        (object(), False),
    ],
)
def test_json_gives_back_just_what_it_can_hold(value: Any, answer: bool):
    assert is_json(value) is answer


def test_a_list_that_holds_itself_is_not_json():
    endless: list[Any] = []
    endless.append(endless)
    assert not is_json(endless)


def test_an_annotation_is_evaluated_and_any_where_nothing_is_known() -> None:
    def function(a: list[int], b, c: Unknown, *rest: int) -> None: ...  # type: ignore[no-untyped-def]  # noqa: F821

    parameters = Parameters(function, of="task 'function'")
    assert [parameters.annotation(name) for name in parameters] == [list[int], Any, Any, Any]


class Color(Enum):
    RED = "red"


@dataclass(frozen=True)
class Spot:
    day: date
    color: Color


def day_of(
    day: date,
    moment: datetime,
    price: Decimal,
    color: Color,
    path: Path,
    spot: Spot,
    days: set[date],
    n: int,
    x: float,
    any_=None,
) -> None: ...


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("day", date(2026, 1, 31), "2026-01-31"),
        ("moment", datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00Z"),
        ("price", Decimal("1.10"), "1.10"),
        ("color", Color.RED, "red"),
        ("path", Path("a/b"), "a/b"),
        ("spot", Spot(date(2026, 1, 31), Color.RED), {"day": "2026-01-31", "color": "red"}),
        ("days", {date(2026, 1, 31)}, ["2026-01-31"]),
        ("n", np.int64(3), 3),
        ("x", np.float64(0.5), 0.5),
        ("n", "5", "5"),
        ("any_", [1, None], [1, None]),
    ],
)
def test_a_value_travels_as_the_json_that_its_annotation_reads(name: str, value: Any, written: Any) -> None:
    assert of(day_of).as_json(name, value) == written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("any_", date(2026, 1, 31)),
        ("moment", date(2026, 1, 31)),
        ("n", date(2026, 1, 31)),
        ("n", np.array([1, 2])),
        ("x", float("nan")),
        ("days", [object()]),
        ("any_", b"x"),
    ],
)
def test_a_value_that_no_json_gives_back_does_not_travel(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' is .* must be JSON"):
        of(day_of).as_json(name, value)
