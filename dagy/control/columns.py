"""What a column holds, the same on every database: moments, documents, and texts that may hold anything.

A moment is a whole number of microseconds since 1970, in UTC, so no database's own idea of time zones comes in.
Documents and free texts are JSON in ASCII, so a NUL or half a surrogate pair, which PostgreSQL refuses and SQLite
mangles, comes back as it was. NaN and the infinities are no JSON, and are refused before they get here.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from dagy.control.record_json import json_text
from dagy.spec import Json

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(sa.types.TypeDecorator[datetime]):
    """A time, as microseconds since the epoch."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """An aware time as the column's number."""
        return None if value is None else (value - EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """The column's number as a time in UTC."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Document(sa.types.TypeDecorator[Json]):
    """A JSON value; null and "no value" are one, NULL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Json, dialect: Dialect) -> str | None:
        """The value as text."""
        return None if value is None else json_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Json:
        """The text as a value."""
        return None if value is None else json.loads(value)


class FreeText(sa.types.TypeDecorator[str]):
    """A text for people: any text at all. The column holds it as a JSON string."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as a JSON string."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """The text that the JSON string is of."""
        return None if value is None else str(json.loads(value))


def Name() -> sa.types.TypeEngine[str]:  # noqa: N802 (stands where a column's type does)
    """A text that is looked up and sorted by, by its code points on every database."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
