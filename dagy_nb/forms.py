"""A flow's parameters as a form: a field for each, made from the signature, and values from the texts that come back.

Every value travels as text, and `Parameters.parse_text` reads it, as it does for a command line. A value that has no
text (a data frame) is shown and not sent back; a secret is not even shown. What is left empty stays as it was.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import pathlib
import re
import types
import typing
import uuid
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from dagy import Flow
from dagy.errors import ParameterError, shown

Kind: TypeAlias = Literal["text", "number", "integer", "boolean", "choice", "json", "fixed"]
Problem: TypeAlias = dict[str, str | None]  # the field it is about (None: the form as a whole), and the message

_SECRET = re.compile(r"(?i)secret|token|passw|credential|api_?key")
_MISSING = object()
_LONGEST = 10_000  # characters of a value that can be edited
_BY_TEXT = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    pathlib.PurePath,
    uuid.UUID,
)
_UNIONS = (typing.Union, types.UnionType)


class FormError(ParameterError):
    """Texts of a form that can't be used: `problems` says which and why."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(str(each["message"]) for each in problems))


def form_of(flow: Flow[..., Any], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A field for each parameter of `flow`, in order, filled with `values` or else the defaults.

    A field is `{"name", "kind", "annotation", "required", "value": its text or None, "choices": texts, "description",
    "secret"}`.
    """
    specs = flow.parameters.specs()
    return [_field(flow, each.name, each.annotation, _value(flow, each.name, values)) for each in specs]


def values_of(flow: Flow[..., Any], texts: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the parameters that `texts` mean, for a form that was filled with the values `before`.

    Those of `before` stay where the form has no text of theirs; defaults are left out. Raises `FormError`.
    """
    values = {name: value for name, value in before.items() if name in flow.parameters}
    problems: list[Problem] = []
    for name, text in texts.items():
        if name not in flow.parameters:
            problems.append({"field": None, "message": str(flow.parameters.unknown(name))})
            continue
        known = _value(flow, name, before)
        field = _field(flow, name, "", known)
        if field["kind"] == "fixed" or (field["secret"] and not text) or (text == field["value"]):
            continue
        if not text and not (field["kind"] == "text" and known is not None):
            values.pop(name, None)
            continue
        try:
            values[name] = flow.parameters.parse_text(name, text)
        except ParameterError as error:
            told = f"{flow.parameters.of}: {name!r} can't be what was entered" if field["secret"] else str(error)
            told = told.removeprefix(f"{flow.parameters.of}: ")  # which the form's reader knows
            problems.append({"field": name, "message": told})
    for each in flow.parameters.specs():
        if each.required and each.name not in values and each.name not in {one["field"] for one in problems}:
            problems.append({"field": each.name, "message": f"{flow.parameters.of} needs a value for {each.name!r}"})
    if problems:
        raise FormError(problems)
    return values


def _value(flow: Flow[..., Any], name: str, values: Mapping[str, Any]) -> object:
    """What the parameter is if nothing is entered, or `_MISSING`."""
    if name in values:
        return values[name]
    try:
        return flow.parameters.default(name)
    except KeyError:
        return _MISSING


def _field(flow: Flow[..., Any], name: str, annotation: str, value: object) -> dict[str, Any]:
    wanted, may_be_none = _without_none(flow.parameters.annotation(name))
    is_secret = _SECRET.search(name) is not None or getattr(wanted, "__name__", "").startswith("Secret")
    kind, choices = _kind(wanted, value)
    text = None if value is _MISSING or is_secret else _text(value)
    if value is not _MISSING and text is None and not is_secret and value is not None:
        kind, text = "fixed", shown(value)
    return {
        "name": name,
        "kind": "text" if is_secret else kind,
        "annotation": annotation,
        "required": value is _MISSING,
        "value": text,
        "choices": choices + ["null"] * (may_be_none and bool(choices)),
        "description": _description(flow, name),
        "secret": is_secret,
    }


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """`int` for `Static[int | None]`, and whether None is allowed."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    if typing.get_origin(annotation) in _UNIONS:
        parts = [each for each in typing.get_args(annotation) if each is not type(None)]
        if len(parts) == 1:
            return _without_none(parts[0])[0], True
    return annotation, False


def _kind(wanted: Any, value: object) -> tuple[Kind, list[str]]:
    """What is entered for a parameter of this type, or of the type that its value has; and what there is to choose."""
    if typing.get_origin(wanted) is Literal:
        return "choice", [_told(each) for each in typing.get_args(wanted)]
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return "choice", [_told(each.value) for each in wanted]
    if wanted is Any and value is not _MISSING and value is not None:
        wanted = type(value)
    kinds: dict[object, Kind] = {bool: "boolean", int: "integer", float: "number", str: "text"}
    if wanted in kinds:
        return kinds[wanted], []
    return ("text" if isinstance(wanted, type) and issubclass(wanted, _BY_TEXT) else "json"), []


def _text(value: object) -> str | None:
    """The text that is read as `value` again; None when there is none."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"PT{value.total_seconds():f}S" if value >= datetime.timedelta(0) else None
    if isinstance(value, _BY_TEXT):
        return str(value)
    if value is None:
        return None
    try:
        text = _told(value)
        is_whole = isinstance(value, str) or json.loads(text) == value
    except Exception:  # noqa: BLE001 (the value's own code)
        return None
    return text if is_whole is True and len(text) <= _LONGEST else None


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _description(flow: Flow[..., Any], name: str) -> str:
    """What the flow's docstring says of the parameter: `rows: how many to take`, in any of the usual styles."""
    head = rf"^[ \t]*(?::param(?:[ \t]+\w+)?[ \t]+)?{re.escape(name)}[ \t]*(?:\([^)\n]*\))?[ \t]*:[ \t]*(?P<text>\S.*)$"
    found = re.search(head, flow.description, re.MULTILINE)
    return found["text"].strip() if found else ""
