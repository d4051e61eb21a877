"""A long list, a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

from dagy.errors import ParameterError, shown

T = TypeVar("T")

MOST = 1000  # items of a page


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; `next` is what to give as `after` for those that follow, None at the end."""

    items: tuple[T, ...]
    next: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...

    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        return self.items[place]


def checked_limit(limit: int) -> int:
    """`limit`, which a caller gave. Raises `ParameterError` unless it is from 1 to `MOST`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise ParameterError(f"limit is a number from 1 to {MOST}, not {shown(limit)}")
    return limit
