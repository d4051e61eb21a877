"""A flow's signature becomes a form, and the texts that come back become values."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import uuid
from typing import Any, Literal, Optional

import pandas as pd
import pytest

from dagy import Flow, Static, flow
from dagy_nb.forms import FormError, form_of, values_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


@flow
def many(
    required: int,
    share: float = 0.5,
    name: str = "a",
    maybe: int | None = None,
    said: Optional[str] = None,  # noqa: UP045 (the older spelling)
    is_on: bool = True,
    mode: Literal["fast", 2] = "fast",
    colour: Colour = Colour.RED,
    size: Size | None = Size.SMALL,
    day: datetime.date = datetime.date(2026, 1, 31),
    at: datetime.datetime = datetime.datetime(2026, 1, 31, 12),  # noqa: DTZ001 (as users write it)
    took: datetime.timedelta = datetime.timedelta(hours=2),
    price: decimal.Decimal = decimal.Decimal("1.50"),
    path: pathlib.Path = pathlib.Path("a/b"),
    key: uuid.UUID = uuid.UUID(int=5),  # noqa: B008 (never changed)
    rows: list[int] = [1, 2],  # noqa: B006 (never changed)
    options: dict[str, Any] | None = None,
    shape: Static[int] = 3,
    plain=7,
    anything=None,
    password: str = "hunter2",
) -> None:
    """Do many things.

    Args:
        required: how many there are
        share (float): which part of them

    :param name: what to call it
    """


def field_of(name: str, flow: Flow[..., Any] = many, **values: Any) -> dict[str, Any]:
    return next(each for each in form_of(flow, values) if each["name"] == name)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("required", "integer", None),
        ("share", "number", "0.5"),
        ("name", "text", "a"),
        ("maybe", "integer", None),
        ("said", "text", None),
        ("is_on", "boolean", "true"),
        ("mode", "choice", "fast"),
        ("colour", "choice", "red"),
        ("size", "choice", "1"),
        ("day", "text", "2026-01-31"),
        ("at", "text", "2026-01-31T12:00:00"),
        ("took", "text", "PT7200.000000S"),
        ("price", "text", "1.50"),
        ("path", "text", "a/b"),
        ("key", "text", "00000000-0000-0000-0000-000000000005"),
        ("rows", "json", "[1, 2]"),
        ("options", "json", None),
        ("shape", "integer", "3"),
        ("plain", "integer", "7"),
        ("anything", "json", None),
        ("password", "text", None),
    ],
)
def test_a_field_has_the_kind_of_its_annotation_and_the_text_of_its_default(
    name: str, kind: str, value: str | None
) -> None:
    found = field_of(name)
    assert (found["kind"], found["value"], found["required"]) == (kind, value, name == "required")


def test_what_there_is_to_choose_is_named() -> None:
    assert field_of("mode")["choices"] == ["fast", "2"]
    assert field_of("colour")["choices"] == ["red", "blue"]
    assert field_of("size")["choices"] == ["1", "2", "null"]


def test_a_field_says_what_the_docstring_says_of_it() -> None:
    told = [field_of(name)["description"] for name in ("required", "share", "name", "maybe")]
    assert told == ["how many there are", "which part of them", "what to call it", ""]


def test_a_value_without_a_text_is_shown_and_stays() -> None:
    table = pd.DataFrame({"a": [1]})
    found = field_of("anything", anything=table)
    assert found["kind"] == "fixed"
    assert values_of(many, {"required": "1", "anything": found["value"]}, {"anything": table})["anything"] is table


def test_a_secret_is_never_shown_and_stays_unless_another_is_entered() -> None:
    before = {"required": 1, "password": "hush"}
    assert "hush" not in str(form_of(many, before))
    assert "hunter2" not in str(form_of(many, {}))
    assert field_of("password")["secret"] is True
    assert values_of(many, {"password": ""}, before)["password"] == "hush"
    assert values_of(many, {"password": "new"}, before)["password"] == "new"


def test_a_secret_that_does_not_fit_is_not_told() -> None:
    @flow
    def guarded(api_key: int) -> None:
        pass

    with pytest.raises(FormError) as caught:
        values_of(guarded, {"api_key": "hush"}, {})
    assert "hush" not in str(caught.value)


def test_the_texts_of_a_form_that_nobody_changed_mean_what_it_was_filled_with() -> None:
    texts = {each["name"]: each["value"] for each in form_of(many, {"required": 4}) if each["value"] is not None}
    assert values_of(many, texts, {"required": 4}) == {"required": 4}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("share", "2", 2),
        ("maybe", "5", 5),
        ("said", "5", "5"),
        ("name", "", ""),
        ("is_on", "false", False),
        ("mode", "2", 2),
        ("colour", "blue", Colour.BLUE),
        ("size", "2", Size.LARGE),
        ("size", "null", None),
        ("day", "2027-02-01", datetime.date(2027, 2, 1)),
        ("took", "PT3S", datetime.timedelta(seconds=3)),
        ("price", "2.5", decimal.Decimal("2.5")),
        ("path", "c", pathlib.Path("c")),
        ("rows", "[3]", [3]),
        ("options", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_text_means_a_value_of_the_parameters_type(name: str, text: str, value: object) -> None:
    found = values_of(many, {"required": "1", name: text}, {})[name]
    assert found == value
    assert isinstance(found, bool) is isinstance(value, bool)


def test_a_field_that_is_emptied_has_its_default_again() -> None:
    assert values_of(many, {"required": "1", "share": "", "maybe": ""}, {"share": 0.7, "maybe": 3}) == {"required": 1}


def test_every_problem_is_told_with_its_field() -> None:
    with pytest.raises(FormError) as caught:
        values_of(many, {"share": "half", "shares": "1"}, {})
    assert [each["field"] for each in caught.value.problems] == ["share", None, "required"]
    assert "needs a value for 'required'" in str(caught.value)
