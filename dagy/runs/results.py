"""How a result is kept: small JSON in the history itself, all else in a file of its own that is named there."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dagy.errors import ResultGoneError, StoreError, TravelError
from dagy.runs.schema import ITEM, STATES, TASK
from dagy.settings import made_private
from dagy.states import StateType
from dagy.values import Deferred, encode, read_trusted

if TYPE_CHECKING:
    import sqlite3

INLINE_LIMIT = 4_096  # bytes up to which a value is kept in the history itself
_TEXT_LIMIT = 1_000  # characters
_DISCARDED = tuple(
    STATES[each] for each in (StateType.RETRYING, StateType.FAILED, StateType.TIMED_OUT, StateType.CANCELLED)
)
_INTEGERS = range(-(2**63), 2**63)


class Kept(NamedTuple):
    """A value as the history has it: `value` or the file `name` in the run's folder; `codec` is None if it has neither,
    and `value` says why."""

    codec: str | None
    value: bytes | str | None
    name: str | None
    size: int


def is_small(value: object) -> bool:
    """Whether `value` can't change, and `kept_small` keeps it."""
    kind = type(value)
    if kind is str:
        return len(value) <= _TEXT_LIMIT  # type: ignore[arg-type]  # a str, as its type says
    if kind is int:
        return value in _INTEGERS
    if kind is float:
        return isfinite(value)  # type: ignore[arg-type]  # a float, as its type says
    return value is None or kind is bool


def kept_small(value: object) -> Kept:
    """A value that `is_small`, as the history has it."""
    kind = type(value)
    text = repr(value) if kind is int or kind is float else json.dumps(value)
    return Kept("json", text, None, len(text))


def kept(value: object, folder: Path, name: str, *, called: str = "result") -> Kept:
    """`value` as the history has it, maybe in a new file `name` in `folder`. Raises `StoreError`."""
    if isinstance(value, Deferred):
        value = value.value()
    try:
        encoded = encode(value, called=called)
    except TravelError as error:
        return Kept(None, str(error), None, 0)
    if encoded.size <= INLINE_LIMIT:
        return Kept(encoded.codec, encoded.data, None, encoded.size)
    path = folder / name
    made_private(path.parent)
    encoded.write(path)
    return Kept(encoded.codec, None, name, encoded.size)


class RecordedValue(Deferred):
    """A value that the history has, read when it is asked for."""

    __slots__ = ("_folder", "_kept", "_value", "what")

    def __init__(self, kept: Kept, folder: Path, what: str) -> None:
        self._kept = kept
        self._folder = folder
        self.what = what  # what messages call it
        self._value: list[object] = []

    @property
    def codec(self) -> str | None:
        """How it is kept; None if it could not be."""
        return self._kept.codec

    @property
    def size(self) -> int:
        """How large it is as it is kept, in bytes."""
        return self._kept.size

    @property
    def is_whole(self) -> bool:
        """Whether it was kept, and all of it is still there."""
        if self._kept.codec is None:
            return False
        if self._kept.name is None:
            return True
        try:
            return self._path().stat().st_size == self._kept.size
        except OSError:
            return False

    @property
    def plain(self) -> str | None:
        """Its JSON, when that is how it is kept and it is small: what can be shown without running any code."""
        value = self._kept.value
        if self._kept.codec != "json" or value is None:
            return None
        return value if isinstance(value, str) else value.decode("utf-8", "replace")

    def value(self) -> object:
        """The value itself; the same object each time. A pickle runs code of whoever recorded it.

        Raises `ResultGoneError` when it is not there any more, `TravelError` and `StoreError` when it can't be read.
        """
        if not self._value:
            self._value.append(self._read())
        return self._value[0]

    def _read(self) -> object:
        codec, value, _, _ = self._kept
        if codec is None:
            raise ResultGoneError(f"{self.what} could not be kept: {value!s}")
        if not self.is_whole:
            raise ResultGoneError(f"{self.what} is not there any more: {str(self._path())!r} is missing or cut off")
        if value is not None:
            return read_trusted(codec, value.encode("utf-8") if isinstance(value, str) else value)
        return read_trusted(codec, self._path())

    def _path(self) -> Path:
        name = self._kept.name or ""
        path = self._folder / name
        if not name or ".." in Path(name).parts or not path.is_relative_to(self._folder):
            raise StoreError(f"{self.what} is said to be in {name!r}, which is no place for it: the history is damaged")
        return path


def recorded_results(db: sqlite3.Connection, run: int, folder: Path) -> dict[tuple[int, int | None], RecordedValue]:
    """What the run's tasks, and the items of its mapped tasks, returned, by the task's place and the item.

    What an attempt returned that was given up meanwhile does not count, nor does what could not be kept.
    """
    discarded = set(
        db.execute(
            "SELECT task, coalesce(item, -1), attempt FROM events WHERE run = ? AND kind IN (?, ?) "
            f"AND state IN ({', '.join('?' * len(_DISCARDED))})",
            (run, TASK, ITEM, *_DISCARDED),
        )
    )
    rows = db.execute(
        "SELECT task, item, attempt, codec, value, name, size FROM results WHERE run = ? AND codec IS NOT NULL "
        "ORDER BY task, item, attempt",
        (run,),
    )
    return {
        (task, None if item < 0 else item): RecordedValue(
            Kept(*kept), folder, f"the result of task {task}{'' if item < 0 else f' [{item}]'}"
        )
        for task, item, attempt, *kept in rows
        if (task, item, attempt) not in discarded
    }
