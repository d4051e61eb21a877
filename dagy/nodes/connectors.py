"""Connectors: where values come into a node and go out of it, and which types of values pass there.

The data types are a small lattice. ANY is above all; JSON is above STRING, NUMBER, BOOLEAN, OBJECT, LIST and NULL;
INTEGER is a NUMBER. A connector takes one or several of them.
"""

from __future__ import annotations

import datetime
import functools
import keyword
import numbers
import os
import types
import typing
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, TypeVar

from dagy.errors import DefinitionError, did_you_mean, shown
from dagy.local_artifact import LocalArtifact


class DataType(StrEnum):
    """What kind of value passes at a connector."""

    ANY = "any"
    JSON = "json"  # any of the next six, and INTEGER
    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    OBJECT = "object"  # a dict
    LIST = "list"  # a list or a tuple
    NULL = "null"  # None
    DATAFRAME = "dataframe"  # of pandas or Polars, or a pyarrow table
    BYTES = "bytes"
    FILE = "file"  # a path, or a LocalArtifact
    DATETIME = "datetime"  # a date, with or without a time of day


_PARENTS = {
    **dict.fromkeys(
        (DataType.STRING, DataType.NUMBER, DataType.BOOLEAN, DataType.OBJECT, DataType.LIST, DataType.NULL),
        DataType.JSON,
    ),
    DataType.INTEGER: DataType.NUMBER,
}
ANYTHING = frozenset({DataType.ANY})


class ConnectorDirection(StrEnum):
    """Whether values come in or go out."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class ConnectionCardinality(StrEnum):
    """How many values pass at a connector in one execution of its node.

    Where there may be many, a list of them passes. Any number of edges may leave an outbound connector.
    """

    ONE = "one"
    ZERO_OR_ONE = "zero_or_one"
    ONE_OR_MANY = "one_or_many"
    ZERO_OR_MANY = "zero_or_many"

    @property
    def is_many(self) -> bool:
        """Whether a list of values passes."""
        return self in _MANY

    @property
    def is_required(self) -> bool:
        """Whether there must be a value."""
        return self in _REQUIRED


_MANY = frozenset({ConnectionCardinality.ONE_OR_MANY, ConnectionCardinality.ZERO_OR_MANY})
_REQUIRED = frozenset({ConnectionCardinality.ONE, ConnectionCardinality.ONE_OR_MANY})


@dataclass(frozen=True)
class ConnectorDef:
    """One connector of a node.

    `id` is how values are named there: `node(data_in=rows)`, `context.get_upstream_data("data_in")`. `data_types` are
    the types of value that may pass; `required` and `cardinality` say how many must and may. Left out, an outbound
    connector always gives one value, and an inbound one takes one if it is `required`, else at most one. With `each`
    the node runs once for each item of the list that comes in here, and what it gives are lists of the results.

    Raises `DefinitionError` when the parts contradict one another.
    """

    id: str
    name: str
    direction: ConnectorDirection
    data_types: frozenset[DataType] = ANYTHING
    required: bool | None = None
    cardinality: ConnectionCardinality | None = None
    description: str = ""
    each: bool = False

    def __post_init__(self) -> None:
        check_id("connector", self.id)
        of = f"connector {self.id!r}"
        put = functools.partial(object.__setattr__, self)
        put("direction", member(ConnectorDirection, self.direction, of=of, called="direction"))
        put("data_types", data_types(self.data_types, of=of))
        many = self.cardinality
        if many is not None:
            many = member(ConnectionCardinality, many, of=of, called="cardinality")
        elif self.required or (self.required is None and self.direction is ConnectorDirection.OUTBOUND):
            many = ConnectionCardinality.ONE
        else:
            many = ConnectionCardinality.ZERO_OR_ONE
        if self.required is not None and bool(self.required) is not many.is_required:
            raise DefinitionError(f"{of} is {many.name}, which required={self.required!r} contradicts; leave one out")
        if self.each and self.direction is ConnectorDirection.OUTBOUND:
            raise DefinitionError(f"{of} has each=True, which is for inbound connectors: a node runs for what comes in")
        if self.each and many.is_many:
            raise DefinitionError(f"{of} has each=True and is {many.name}; for each item one value comes in")
        put("cardinality", many)
        put("required", many.is_required)

    @property
    def is_required(self) -> bool:
        """Whether there must be a value."""
        return bool(self.required)

    @property
    def is_many(self) -> bool:
        """Whether a list of values passes."""
        return self.cardinality in _MANY

    @property
    def is_inbound(self) -> bool:
        """Whether values come in here."""
        return self.direction is ConnectorDirection.INBOUND

    @property
    def label(self) -> str:
        """What people see."""
        return self.name or self.id

    @property
    def value_types(self) -> frozenset[DataType]:
        """The types of all that passes in one execution: a LIST where there may be many values."""
        return frozenset({DataType.LIST}) if self.is_many else self.data_types


class Fit(Enum):
    """Whether what goes out of one connector may come in at another."""

    YES = "yes"
    WHEN_RUN = "when run"  # it depends on the value: it is checked when it passes
    NO = "no"


@functools.lru_cache(maxsize=1024)
def fit(out: frozenset[DataType], into: frozenset[DataType]) -> Fit:
    """Whether values of the types `out` may come in where those of `into` may.

    YES when each of `out` is, or is below, one of `into`; WHEN_RUN when only some are, or `out` has ANY; else NO.
    """
    if DataType.ANY in into:
        return Fit.YES
    if DataType.ANY in out:
        return Fit.WHEN_RUN
    fitting = [any(is_subtype(each, other) for other in into) for each in out]
    return Fit.YES if all(fitting) else Fit.WHEN_RUN if any(fitting) else Fit.NO


def is_subtype(one: DataType, other: DataType) -> bool:
    """Whether every value of the type `one` is one of the type `other`."""
    if other is DataType.ANY:
        return True
    step: DataType | None = one
    while step is not None and step is not other:
        step = _PARENTS.get(step)
    return step is other


def takes(data_types: frozenset[DataType], value: object) -> bool:
    """Whether `value` is of one of the types. It looks at the value's class only, not at what is inside."""
    kind: Any = type(value)
    return _takes_class(data_types, kind)


def type_of(value: object) -> DataType:
    """The most particular type of `value`; ANY when it is of no other."""
    kind: Any = type(value)
    return _type_of_class(kind)


def types_of_annotation(annotation: object) -> frozenset[DataType]:
    """The types of value that an evaluated annotation admits; ANY where it does not say.

    `int` gives INTEGER, `list[dict] | None` gives LIST and NULL, `pd.DataFrame` gives DATAFRAME.
    """
    if isinstance(annotation, DataType):
        return frozenset({annotation})
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return types_of_annotation(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        found = frozenset().union(*map(types_of_annotation, typing.get_args(annotation)))
        return ANYTHING if DataType.ANY in found else found
    if origin is typing.Literal:
        return frozenset(map(type_of, typing.get_args(annotation)))
    for named in ("__supertype__", "__value__"):  # of a NewType, of a `type` statement
        if hasattr(annotation, named):
            return types_of_annotation(getattr(annotation, named))
    kind = origin or annotation
    if kind is None:
        return frozenset({DataType.NULL})
    if kind in (Sequence, MutableSequence):
        return frozenset({DataType.LIST})
    return frozenset({_type_of_class(kind)}) if isinstance(kind, type) else ANYTHING


def data_types(given: object, *, of: str) -> frozenset[DataType]:
    """The types that `given` means: a `DataType`, its text ("dataframe"), or several of these."""
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    found = frozenset(member(DataType, each, of=of, called="data type") for each in several)
    if not found:
        raise DefinitionError(f"{of} takes no data type at all; for any value, leave data_types out")
    return found


def type_names(data_types: frozenset[DataType]) -> str:
    """The types for a message: `INTEGER or STRING`."""
    return " or ".join(sorted(each.name for each in data_types))


Member = TypeVar("Member", bound=StrEnum)


def member(kind: type[Member], given: Any, *, of: str, called: str) -> Member:
    """The member of `kind` that `given` is, or has the text of; `DefinitionError` when it is none."""
    if isinstance(given, kind):
        return given
    try:
        return kind(given.lower() if isinstance(given, str) else given)
    except ValueError:
        known = [each.value for each in kind]
        close = did_you_mean(given.lower(), known) if isinstance(given, str) else ""
        hint = close or f"; there are {', '.join(known)}"
        raise DefinitionError(f"{of}: there is no {called} {shown(given)}{hint}") from None


def check_id(kind: str, given: object) -> None:
    """Raise `DefinitionError` unless `given` can name an input in Python, as `node(given=...)` does."""
    if not isinstance(given, str) or not given.isidentifier() or keyword.iskeyword(given):
        raise DefinitionError(
            f"a {kind}'s id must be a name that Python takes, such as 'data_in': letters, digits and _, and no word of "
            f"the language; {shown(given)} is none"
        )


_FRAMES = frozenset(
    {
        ("pandas", "DataFrame"),
        ("polars", "DataFrame"),
        ("polars", "LazyFrame"),
        ("pyarrow", "Table"),
    }
)


@functools.lru_cache(maxsize=4096)
def _takes_class(data_types: frozenset[DataType], kind: Any) -> bool:
    found = _type_of_class(kind)
    return any(is_subtype(found, each) for each in data_types)


@functools.lru_cache(maxsize=4096)
def _type_of_class(kind: Any) -> DataType:
    for classes, found in _CLASSES:
        if issubclass(kind, classes):
            return found
    for each in kind.__mro__:  # by name: no package is loaded to look at a value
        if (each.__module__.partition(".")[0], each.__name__) in _FRAMES:
            return DataType.DATAFRAME
        if each.__module__ == "numpy" and each.__name__ in ("bool", "bool_"):
            return DataType.BOOLEAN
    return DataType.ANY


# In this order: a bool is an int, too, and text is a sequence.
_CLASSES: Sequence[tuple[type | tuple[type, ...], DataType]] = (
    (type(None), DataType.NULL),
    (bool, DataType.BOOLEAN),
    (str, DataType.STRING),
    (numbers.Integral, DataType.INTEGER),
    (numbers.Real, DataType.NUMBER),
    ((bytes, bytearray, memoryview), DataType.BYTES),
    ((list, tuple), DataType.LIST),
    (Mapping, DataType.OBJECT),
    (datetime.date, DataType.DATETIME),
    ((os.PathLike, LocalArtifact), DataType.FILE),
)
