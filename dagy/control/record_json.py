"""Records as JSON, and JSON as records: what the API sends and what a client reads.

Times are texts such as `2026-01-31T14:25:00.000001+00:00`. A field that a newer dagy has added is passed over, so
that an older client still reads what a newer server sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from dagy.errors import ParameterError
from dagy.spec import Json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def to_json(record: object) -> Json:
    """`record`, any of `dagy.control.records`, a page, or a list of them, as dicts, lists and plain values."""
    if is_dataclass(record):
        return {each.name: to_json(getattr(record, each.name)) for each in fields(record)}
    if isinstance(record, Enum):
        return record.value
    if isinstance(record, datetime):
        return record.astimezone(UTC).isoformat()
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_json(each) for each in record]
    return record


def from_json(kind: type[T], data: Json) -> T:
    """The record of that class that `to_json` made `data` of.

    Raises `ParameterError`, which names the field that is missing or is not what it should be.
    """
    from pydantic import ValidationError

    try:
        found: T = _adapter(kind).validate_python(data)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the document"
        name = getattr(kind, "__name__", str(kind))
        raise ParameterError(f"this is no {name}: {where}: {fault['msg']}") from error
    return found


def json_text(value: Json) -> str:
    """JSON in ASCII and without spaces; raises `ValueError` or `TypeError` for what is none."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    found = _ADAPTERS.get(kind)
    if found is None:
        from pydantic import TypeAdapter

        found = _ADAPTERS.setdefault(kind, TypeAdapter(kind))
    return found


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}  # made once: building one costs milliseconds
