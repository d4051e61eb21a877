"""Two values that should be equal -> whether they are, and where they first differ. Nothing here raises.

Libraries are looked for among the modules that are loaded, and never imported: a value of pandas' is only there when
pandas is. What has no way of its own to be compared is compared by the bytes that it is kept as.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import sys
from collections import deque
from collections.abc import Callable, Mapping, Set
from typing import Any, Literal, TypeAlias

from dagy.errors import TravelError, sentence, shown
from dagy.values import encode, type_name

Verdict: TypeAlias = Literal["equal", "differs", "not comparable"]

TOLERANCE = 1e-9  # relative and absolute, within which floats that differ are said to be near
_DEEPEST = 200
_SCALARS = (bool, int, str, bytes, type(None))


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """How two values compare; `where` is the path to the first difference: `['rows'][3].price`."""

    verdict: Verdict
    where: str = ""
    detail: str = ""  # what differs there, or why the values can't be compared
    note: str = ""  # what else is to be known, such as that floats are near

    @property
    def is_equal(self) -> bool:
        """Whether the values are equal, as far as can be told."""
        return self.verdict == "equal"

    def __str__(self) -> str:
        parts = [f"at {self.where}" if self.where else "", self.detail, self.note]
        told = "; ".join(each for each in parts if each)
        return f"{self.verdict}: {told}" if told else self.verdict


EQUAL = Comparison("equal")


def compare(one: object, other: object) -> Comparison:
    """Whether `one` (of the notebook) equals `other` (of the clean run), by type and by content; NaN equals NaN."""
    try:
        return _compared(one, other, "", _Visit())
    except RecursionError:
        return Comparison("not comparable", detail="the values are nested too deep")
    except Exception as error:  # noqa: BLE001 (the values' own code)
        return Comparison("not comparable", detail=f"comparing them raised {sentence(error)}")


class _Visit:
    """The pairs that are being compared, so that a value which holds itself has an end."""

    def __init__(self) -> None:
        self.pairs: set[tuple[int, int]] = set()
        self.depth = 0


def _compared(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    if one is other:
        return EQUAL
    kind = type(one)
    if kind is not type(other):
        mine, theirs = type_name(kind), type_name(type(other))
        if mine == theirs:
            detail = f"the class {mine} was defined anew since the run; run the flow again"
            return Comparison("not comparable", where, detail)
        return _differs(where, f"the types differ: {mine}, and {theirs}")
    if kind in _SCALARS:
        return EQUAL if one == other else _values_differ(one, other, where)
    if kind is float:
        return EQUAL if _same_float(one, other) else _floats_differ(one, other, where)
    pair = (id(one), id(other))
    if pair in visit.pairs:
        return EQUAL
    visit.pairs.add(pair)
    visit.depth += 1
    try:
        if visit.depth > _DEEPEST:
            return Comparison("not comparable", where, f"nested more than {_DEEPEST} levels deep")
        for is_of_kind, compared in _WAYS:
            if is_of_kind(one):
                return compared(one, other, where, visit)
        return _by_itself(one, other, where, visit)
    finally:
        visit.depth -= 1
        visit.pairs.discard(pair)


# -- numbers ----------------------------------------------------------------------------------------------------------


def _same_float(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _is_nan(value: object) -> bool:
    """Is it a number that does not equal itself: a NaN of floats, complex numbers or decimals?"""
    return isinstance(value, numbers.Number) and bool(value != value)


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


_NEAR = f"equal within {TOLERANCE:g}"


def _floats_differ(one: float, other: float, where: str) -> Comparison:
    return _values_differ(one, other, where, note=_NEAR if _near(one, other) else "")


def _values_differ(one: object, other: object, where: str, note: str = "") -> Comparison:
    return _differs(where, f"{shown(one)}, and {shown(other)}", note)


def _differs(where: str, detail: str, note: str = "") -> Comparison:
    return Comparison("differs", where, detail, note)


# -- containers -------------------------------------------------------------------------------------------------------


def _is_sequence(value: object) -> bool:
    return isinstance(value, list | tuple | deque)


def _sequences(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        found = _compared(mine, theirs, f"{where}[{index}]", visit)
        if not found.is_equal:
            return _with_length(found, len(one), len(other))
    if len(one) != len(other):
        return _differs(where, f"the lengths differ: {len(one):,}, and {len(other):,}")
    return _further_attributes(one, other, where, visit)


def _further_attributes(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    """What the values of a user's own kind of list, tuple or dict hold beside their items."""
    if not isinstance(one, list | tuple | deque | dict):
        return EQUAL
    return _attributes(getattr(one, "__dict__", {}), getattr(other, "__dict__", {}), where, visit)


def _with_length(found: Comparison, one: int, other: int) -> Comparison:
    if one == other:
        return found
    lengths = f"the lengths differ too: {one:,}, and {other:,}"
    return dataclasses.replace(found, note="; ".join(each for each in (found.note, lengths) if each))


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _mappings(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    only_mine = [key for key in one if key not in other]
    only_theirs = [key for key in other if key not in one]
    if only_mine or only_theirs:
        parts = [f"only in the notebook: {_few(only_mine)}" if only_mine else ""]
        parts += [f"only in the clean run: {_few(only_theirs)}" if only_theirs else ""]
        return _differs(where, f"the keys differ, {'; '.join(each for each in parts if each)}")
    for key in one:
        found = _compared(one[key], other[key], f"{where}[{shown(key)}]", visit)
        if not found.is_equal:
            return found
    return _further_attributes(one, other, where, visit)


def _is_set(value: object) -> bool:
    return isinstance(value, Set)


def _sets(one: Any, other: Any, where: str, _visit: _Visit) -> Comparison:
    mine = [each for each in one if each not in other and not _has_nan(each, other)]
    theirs = [each for each in other if each not in one and not _has_nan(each, one)]
    if not mine and not theirs:
        return EQUAL
    parts = [f"only in the notebook: {_few(mine)}" if mine else ""]
    parts += [f"only in the clean run: {_few(theirs)}" if theirs else ""]
    return _differs(where, "; ".join(each for each in parts if each))


def _has_nan(value: object, values: Any) -> bool:
    is_nan = isinstance(value, float) and math.isnan(value)
    return is_nan and any(isinstance(each, float) and math.isnan(each) for each in values)


def _few(values: list[Any]) -> str:
    told = ", ".join(shown(each) for each in values[:5])
    return told if len(values) <= 5 else f"{told} and {len(values) - 5:,} more"


def _is_dataclass(value: object) -> bool:
    return dataclasses.is_dataclass(value)


def _dataclasses(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    for each in dataclasses.fields(one):
        if not each.compare:
            continue
        found = _compared(getattr(one, each.name), getattr(other, each.name), f"{where}.{each.name}", visit)
        if not found.is_equal:
            return found
    return EQUAL


# -- arrays and tables ------------------------------------------------------------------------------------------------


def _loaded(name: str, *kinds: str) -> Callable[[object], bool]:
    """Whether a value is of one of these classes of a library; without loading it."""

    def is_of_kind(value: object) -> bool:
        library = sys.modules.get(name)
        found = tuple(kind for each in kinds if isinstance(kind := getattr(library, each, None), type))
        return isinstance(value, found)

    return is_of_kind


def _arrays(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    for what in ("shape", "dtype"):
        if getattr(one, what) != getattr(other, what):
            return _differs(where, f"the {what}s differ: {getattr(one, what)}, and {getattr(other, what)}")
    if one.dtype.hasobject:
        return _in_cells(one.ravel().tolist(), other.ravel().tolist(), where, visit, _index_in(one.shape))
    if one.dtype.names:
        mine, theirs = ({name: each[name] for name in one.dtype.names} for each in (one, other))
        return _mappings(mine, theirs, where, visit)
    numpy: Any = sys.modules["numpy"]
    unequal = numpy.asarray(one != other)
    if one.dtype.kind in "fcmM":
        unequal &= ~((one != one) & (other != other))
    count = int(unequal.sum())
    if not count:
        return EQUAL
    first = tuple(int(each) for each in numpy.argwhere(unequal)[0]) if one.ndim else ()
    near = one.dtype.kind in "fc" and bool(numpy.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    place = f"{where}[{', '.join(map(str, first))}]" if first else where
    note = _and(_NEAR if near else "", f"{count:,} of {one.size:,} values differ" if one.ndim else "")
    return _values_differ(one[first].item(), other[first].item(), place, note)


def _index_in(shape: tuple[int, ...]) -> Callable[[int], str]:
    def index(flat: int) -> str:
        places = []
        for size in reversed(shape):
            flat, place = divmod(flat, size)
            places.append(place)
        return f"[{', '.join(map(str, reversed(places)))}]"

    return index


def _in_cells(one: list[Any], other: list[Any], where: str, visit: _Visit, name_of: Callable[[int], str]) -> Comparison:
    """Cell by cell, for what only Python can compare."""
    count, first = 0, EQUAL
    for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        found = _compared(mine, theirs, f"{where}{name_of(index)}", visit)
        if not found.is_equal:
            count += 1
            first = first if count > 1 else found
    return (
        first
        if count < 2
        else dataclasses.replace(first, note=_and(first.note, f"{count:,} of {len(one):,} values differ"))
    )


def _and(*notes: str) -> str:
    return "; ".join(each for each in notes if each)


def _series(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    """A pandas or polars column, or a pandas index."""
    if one.dtype != other.dtype:
        return _differs(where, f"the dtypes differ: {one.dtype}, and {other.dtype}")
    if len(one) != len(other):
        return _differs(where, f"the lengths differ: {len(one):,}, and {len(other):,}")
    if getattr(one, "name", None) != getattr(other, "name", None):
        return _differs(where, f"the names differ: {shown(one.name)}, and {shown(other.name)}")
    index = getattr(one, "index", None)
    if index is not None and not callable(index):
        found = _indexes(one.index, other.index, f"{where}.index", visit)
        if not found.is_equal:
            return found
    return _columns(one, other, where, visit)


def _columns(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    try:
        if bool(one.equals(other)):
            return EQUAL
    except Exception:  # noqa: BLE001 (objects in it, whose own code raises)
        pass
    mine, theirs = (each.to_numpy() if hasattr(each, "to_numpy") else each for each in (one, other))
    if getattr(mine, "dtype", None) is not None and mine.dtype == theirs.dtype and mine.dtype.kind in "biuf":
        return _arrays(mine, theirs, where, visit)
    return _in_cells(_without_missing(one), _without_missing(other), where, visit, lambda index: f"[{index}]")


def _without_missing(column: Any) -> list[Any]:
    """The values as a list, in which all that stands for a missing one is None."""
    pandas: Any = sys.modules.get("pandas")
    missing = {id(each) for each in (getattr(pandas, "NA", None), getattr(pandas, "NaT", None)) if each is not None}
    values = column.to_list() if hasattr(column, "to_list") else list(column)
    return [None if id(each) in missing else each for each in values]


def _indexes(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    """The indexes of two pandas tables; one that counts may be kept as a range or as numbers."""
    if isinstance(one, range_index := sys.modules["pandas"].RangeIndex) or isinstance(other, range_index):
        return _series(one, other, where, visit)
    return _compared(one, other, where, visit)


def _multi_index(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    if list(one.names) != list(other.names):
        return _differs(where, f"the names differ: {list(one.names)}, and {list(other.names)}")
    return _sequences(one.to_list(), other.to_list(), where, visit)


def _frames(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    """Tables of pandas or polars."""
    mine, theirs = list(one.columns), list(other.columns)
    if mine != theirs:
        is_moved = sorted(map(repr, mine)) == sorted(map(repr, theirs))
        what = "are in another order" if is_moved else "differ"
        return _differs(where, f"the columns {what}: {_few(mine)}, and {_few(theirs)}")
    if one.shape != other.shape:
        return _differs(where, f"the shapes differ: {one.shape}, and {other.shape}")
    kinds = [
        f"{shown(name)} is {before}, and {after}"
        for name, before, after in zip(mine, list(one.dtypes), list(other.dtypes), strict=True)
        if before != after
    ]
    if kinds:
        return _differs(where, f"the dtypes differ: {'; '.join(kinds[:5])}")
    if hasattr(one, "index"):
        found = _indexes(one.index, other.index, f"{where}.index", visit)
        if not found.is_equal:
            return found
    return _cells_of_frames(one, other, where, visit)


def _cells_of_frames(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    first = EQUAL
    differing: list[object] = []
    for place, name in enumerate(one.columns):
        mine, theirs = (each.iloc[:, place] if hasattr(each, "iloc") else each[name] for each in (one, other))
        found = _columns(mine, theirs, f"{where}[{shown(name)}]", visit)
        if not found.is_equal:
            first = first if differing else found
            differing.append(name)
    if len(differing) < 2:
        return first
    return dataclasses.replace(first, note=_and(first.note, f"{len(differing)} columns differ: {_few(differing)}"))


def _arrow_tables(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    if one.schema != other.schema:
        return _differs(where, f"the schemas differ: {one.schema.to_string()}, and {other.schema.to_string()}")
    if one.num_rows != other.num_rows:
        return _differs(where, f"the lengths differ: {one.num_rows:,} rows, and {other.num_rows:,}")
    first = EQUAL
    differing: list[object] = []
    for name, mine, theirs in zip(one.column_names, one.columns, other.columns, strict=True):
        if mine.equals(theirs):
            continue
        column = _in_cells(
            mine.to_pylist(), theirs.to_pylist(), f"{where}[{shown(name)}]", visit, lambda row: f"[{row}]"
        )
        if not column.is_equal:
            first = first if differing else column
            differing.append(name)
    return first


# -- everything else --------------------------------------------------------------------------------------------------


def _by_itself(one: Any, other: Any, where: str, visit: _Visit) -> Comparison:
    """By the value's own `==`; without one, by its attributes if its class is the notebook's own, else by its bytes."""
    kind = type(one)
    if "__eq__" in {name for each in kind.__mro__[:-1] for name in vars(each)}:
        try:
            if bool(one == other) or (_is_nan(one) and _is_nan(other)):
                return EQUAL
        except Exception as error:  # noqa: BLE001 (the value's own code)
            return _by_bytes(one, other, where, f"its `==` raised {sentence(error)}")
        parts = _by_attributes(one, other, where, visit)
        return _values_differ(one, other, where) if parts is None or parts.is_equal else parts
    parts = _by_attributes(one, other, where, visit) if kind.__module__ == "__main__" else None
    return _by_bytes(one, other, where, "its class has no `==`") if parts is None else parts


def _by_attributes(one: Any, other: Any, where: str, visit: _Visit) -> Comparison | None:
    """By the attributes of plain objects of Python's; None for what may hold more than these."""
    mine, theirs = getattr(one, "__dict__", None), getattr(other, "__dict__", None)
    if type(mine) is not dict or type(theirs) is not dict or callable(one) or not _is_plain(type(one)):
        return None
    return _attributes(mine, theirs, where, visit)


def _attributes(mine: dict[str, Any], theirs: dict[str, Any], where: str, visit: _Visit) -> Comparison:
    if mine.keys() != theirs.keys():
        return _differs(where, f"the attributes differ: {_few(list(mine))}, and {_few(list(theirs))}")
    for name, value in mine.items():
        found = _compared(value, theirs[name], f"{where}.{name}", visit)
        if not found.is_equal:
            return found
    return EQUAL


def _is_plain(kind: type) -> bool:
    return all("__slots__" not in vars(each) and each.__flags__ & (1 << 9) for each in kind.__mro__[:-1])


def _by_bytes(one: object, other: object, where: str, why: str) -> Comparison:
    try:
        mine, theirs = encode(one), encode(other)
    except TravelError:
        return Comparison("not comparable", where, f"a {type_name(type(one))} can't be compared: {why}")
    if mine.codec == theirs.codec and mine.data == theirs.data:
        return EQUAL
    return Comparison(
        "not comparable",
        where,
        f"a {type_name(type(one))} can't be compared: {why}, and it is not kept as the same bytes",
    )


_Way: TypeAlias = Callable[[Any, Any, str, _Visit], Comparison]
_WAYS: tuple[tuple[Callable[[object], bool], _Way], ...] = (
    (_loaded("numpy", "ndarray", "generic"), _arrays),
    (_loaded("pandas", "DataFrame"), _frames),
    (_loaded("pandas", "MultiIndex"), _multi_index),
    (_loaded("pandas", "Series", "Index"), _series),
    (_loaded("polars", "DataFrame"), _frames),
    (_loaded("polars", "Series"), _series),
    (_loaded("pyarrow", "Table"), _arrow_tables),
    (_is_sequence, _sequences),
    (_is_mapping, _mappings),
    (_is_set, _sets),
    (_is_dataclass, _dataclasses),
)
