"""A frame as the nodes of this library see it: what came in, its columns by name, a column compared with a value.

narwhals is the one way to say it to pandas and to Polars. A missing value is null, or NaN, in either kind.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from numbers import Number
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from dagy.errors import ConnectorError, MissingExtraError, did_you_mean, shown
from dagy.nodes.library.descriptions import fault

if TYPE_CHECKING:
    import narwhals as nw
    from narwhals.dtypes import DType

    Table = nw.DataFrame[Any]
    Column = nw.Series[Any]
    Test = Callable[[Column, Any], Column]


def table(value: Any, connector: str = "frame") -> Table:
    """The pandas or Polars frame that came in at `connector`, as narwhals has it.

    A lazy frame is computed, and columns that pandas numbered are called "0", "1" and so on.
    `ConnectorError` for anything else, and for a frame in which two columns have one name.
    """
    try:
        import narwhals as nw
    except ImportError as error:
        raise MissingExtraError("narwhals", "nodes", "a node that works on frames") from error
    try:
        came = nw.from_native(value)
        frame: Table = came.collect() if isinstance(came, nw.LazyFrame) else came
        columns = frame.columns
    except nw.exceptions.DuplicateError as error:
        names = list(getattr(value, "columns", ()))
        twice = next((each for each in names if names.count(each) > 1), None)
        raise ConnectorError(
            f"the frame at {connector!r} has more than one column {twice!r}; rename all but one where it is made"
        ) from error
    except TypeError as error:
        raise ConnectorError(
            f"{connector!r} takes a pandas or Polars frame, not {shown(value)} (of type {type(value).__name__}); "
            "the node 'to_dataframe' makes a frame of a list of objects"
        ) from error
    if all(isinstance(each, str) for each in columns):
        return frame
    return table(value.set_axis([str(each) for each in columns], axis="columns"), connector)


def names(value: object, field: str) -> list[str]:
    """The column names that a JSON field holds: a list of them, or one alone; none when it is empty."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        return list(value)
    raise fault(field, f'{field!r} is {shown(value)}; give a column name, or a list of them such as ["city", "year"]')


def same_kind(left: Table, right: Table) -> None:
    """`ConnectorError` when one frame is pandas' and the other Polars': neither is converted unasked."""
    if left.implementation is not right.implementation:
        ours, theirs = left.implementation.value, right.implementation.value
        raise ConnectorError(
            f"one frame is of {ours} and another of {theirs}; read both with the same engine, or put the node "
            f"'to_dataframe' with engine={ours!r} before one of them"
        )


def records(frame: Table) -> list[dict[str, Any]]:
    """An object for each row, fit for JSON: null for what is missing, ISO text for dates and times, seconds for
    durations. `ConnectorError` for bytes.
    """
    columns = [_plain_cells(each) for each in frame.iter_columns()]
    return [dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain_cells(column: Column) -> list[Any]:
    """A column's cells as JSON holds them."""
    import narwhals as nw

    is_plain = column.dtype.is_integer() or column.dtype in (nw.String, nw.Boolean)
    cells = column.to_list()
    return cells if is_plain and not column.is_null().any() else list(map(_plain, cells))


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):  # numpy's
        return _plain(value.tolist())
    if (value == value) is not True:  # as it is with what is missing in pandas: NaT, NA
        return None
    match value:
        case timedelta():
            return value.total_seconds()
        case date() | time():
            return value.isoformat()
        case bytes():
            raise ConnectorError(f"the frame holds bytes, {shown(value)}, for which JSON has no form")
        case _:
            return str(value)


def known(frame: Table, name: str, field: str) -> str:
    """`name`, which the field `field` says and which is a column of `frame`."""
    if name in frame.columns:
        return name
    hint = did_you_mean(str(name), map(str, frame.columns))
    columns = ", ".join(map(repr, frame.columns[:_MOST_NAMED])) + ", ..." * (len(frame.columns) > _MOST_NAMED)
    raise fault(field, f"there is no column {name!r}{hint or f'; columns: {columns or None}'}")


def without_nan(frame: Table, columns: Sequence[str] | None = None) -> Table:
    """`frame` with null for NaN in its columns of floats: Polars tells them apart, pandas does not."""
    import narwhals as nw

    floats = [each for each in columns or frame.columns if frame.schema[each].is_float()]
    return frame.with_columns(nw.col(floats).fill_nan(None)) if floats else frame


def family(dtype: DType) -> str:
    """What a column holds: "numbers", "text", "true or false", "dates", or "" where it is none of them."""
    import narwhals as nw

    if dtype.is_numeric():
        return "numbers"
    if dtype in (nw.String, nw.Categorical, nw.Enum):
        return "text"
    if dtype == nw.Boolean:
        return "true or false"
    return "dates" if dtype in (nw.Date, nw.Datetime) else ""


def family_of(value: object) -> str:
    """The family of columns that `value` belongs in."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    return "numbers" if isinstance(value, Number) else ""


def comparable(column: Column, value: Any, field: str) -> Any:
    """`value` as `column` compares it, in which ISO text is a date where the column holds dates.

    `NodeConfigError` when they can't be compared.
    """
    held = family(column.dtype)
    if held == "dates" and isinstance(value, str):
        return _as_date(column, value, field)
    if held and held != family_of(value):
        raise fault(field, f"column {column.name!r} holds {held} ({column.dtype}), which {shown(value)} is not")
    return value


def check_condition(operation: str, value: Any, field: str) -> None:
    """`NodeConfigError` when there is no such operator, or none that takes such a value, whatever the column."""
    if not isinstance(operation, str) or operation not in OPERATORS:
        known_ones = did_you_mean(str(operation), OPERATORS) or f"; there are {', '.join(OPERATORS)}"
        raise fault(field, f"there is no operator {operation!r}{known_ones}")
    is_list = isinstance(value, (list, tuple))
    if operation in ("in", "not in") and not is_list:
        raise fault(field, f"{operation!r} takes a list of values, not {shown(value)}")
    if operation == "between" and not (is_list and len(value) == len(("lowest", "highest"))):
        raise fault(field, f"{operation!r} takes [lowest, highest], not {shown(value)}")
    if operation == "matches" and isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise fault(field, f"{value!r} is no regular expression: {error}") from error


def holds(frame: Table, name: str, operation: str, value: Any, field: str) -> Column:
    """Whether the condition holds, for each row. What is missing fits no condition but 'is null'."""
    import narwhals as nw

    check_condition(operation, value, field)
    column = without_nan(frame.select(known(frame, name, field)))[name]
    if operation in UNARY:
        return OPERATORS[operation](column, None)
    there = ~column.is_null()
    if not there.any():
        return there
    if column.dtype in (nw.Categorical, nw.Enum):
        column = column.cast(nw.String)
    elif column.dtype == nw.Decimal:
        column = column.cast(nw.Float64)  # what JSON's numbers are
    operand = _operand(column, operation, value, field)
    try:
        return there & OPERATORS[operation](column, operand).fill_null(value=False)
    except (OverflowError, TypeError) as error:  # a column of several types, a number that is too large for one
        raise fault(field, f"column {name!r} {operation} {shown(value)} can't be said: {error}") from error


def _operand(column: Column, operation: str, value: Any, field: str) -> Any:
    if operation in ("in", "not in", "between"):
        found = [comparable(column, each, field) for each in value]
        if operation == "between" or not column.dtype.is_numeric():
            return found
        # Polars takes a list of the column's own type only; a number with a fraction is in no column of integers.
        kind = int if column.dtype.is_integer() else float
        return [kind(each) for each in found if math.isfinite(each) and kind(each) == each]
    if operation in _OF_TEXT and not (isinstance(value, str) and family(column.dtype) == "text"):
        told = f"column {column.name!r} is {column.dtype} and the value {shown(value)}"
        raise fault(field, f"{operation!r} looks for text in text; {told}")
    if value is None:
        raise fault(field, f"nothing is {operation} null; use the operator 'is null' or 'is not null'")
    return comparable(column, value, field)


def _as_date(column: Column, text: str, field: str) -> date:
    """The date that `text` says, or the time in the column's own zone."""
    import narwhals as nw

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise fault(field, f"column {column.name!r} holds dates; {text!r} is not one: write 2026-03-14") from error
    if column.dtype == nw.Date:
        return moment.date()
    zone: str | None = getattr(column.dtype, "time_zone", None)
    if zone is None and moment.tzinfo is not None:
        raise fault(field, f"column {column.name!r} has no time zone, but {text!r} has one")
    return moment if zone is None or moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone))


_MOST_NAMED = 8  # in a message
UNARY = ("is null", "is not null")
_OF_TEXT = ("contains", "starts with", "ends with", "matches")
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS: Mapping[str, Test] = {
    **COMPARISONS,
    "in": lambda column, value: column.is_in(value),
    "not in": lambda column, value: ~column.is_in(value),
    "between": lambda column, value: column.is_between(*value),
    "contains": lambda column, value: column.str.contains(value, literal=True),
    "starts with": lambda column, value: column.str.starts_with(value),
    "ends with": lambda column, value: column.str.ends_with(value),
    "matches": lambda column, value: column.str.contains(value),
    "is null": lambda column, _: column.is_null(),
    "is not null": lambda column, _: ~column.is_null(),
}
