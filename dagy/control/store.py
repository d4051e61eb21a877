"""What the rules ask of a database: transactions, and the time.

The rules are functions of a connection, written once for every database. A store calls them: it begins, commits, gives
up after an error, tries again where two transactions met, and makes `StoreError`s of a database's own errors. So a
function may be called several times for one result, and gets whatever is to be new, such as an id, from its caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from dagy.control.columns import EPOCH

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Select

    AnyRow: TypeAlias = Row[*tuple[Any, ...]]
    AnySelect: TypeAlias = Select[*tuple[Any, ...]]

T = TypeVar("T")

Clock: TypeAlias = Callable[[], int]  # nanoseconds since the epoch, as `time.time_ns` gives them


class Store(Protocol):
    """A database with the tables of `dagy.control.tables`. Threads may share it, and a process that is forked."""

    @property
    def name(self) -> str:
        """What messages call it; never with a password."""
        ...

    def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` finds. Raises `StoreError`."""
        ...

    def write(self, function: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What `function` returns, with all of what it changed kept, or nothing of it when it raises.

        What is kept outlives this process; with `durable` also a loss of power. Raises `StoreError`.
        """
        ...

    def now(self, db: Connection) -> datetime:
        """The time, the same for everyone who shares the store."""
        ...

    def close(self) -> None:
        """Give back what is open; the store can't be used any more."""
        ...


def moment(clock: Clock = time.time_ns) -> datetime:
    """What `clock` shows, in UTC and whole microseconds."""
    return EPOCH + timedelta(microseconds=clock() // 1000)
