"""The control plane in a PostgreSQL database, which a team shares.

Transactions that met another one, or whose connection was lost, are begun again, a few times and after a wait that
differs by chance. All rules may be begun again: what a commit that was never answered has done, they find done.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from dagy.control.migrating import HEAD, bring_up_to_date, version_of
from dagy.control.store import Clock, moment
from dagy.errors import MissingExtraError, NetworkError, SettingsError, StoreError
from dagy.runs.faults import point

T = TypeVar("T")

TRIES = 6
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_LOCK = 0x64616779  # taken by who changes the tables
_MET_ANOTHER = frozenset({"40001", "40P01", "23505", "55P03"})  # SQLSTATEs of transactions that may be begun again
_INHERITED: list[object] = []  # what belongs to the process this one was forked from: to close it would break it


class UnreachableError(StoreError, NetworkError):
    """The server with the control plane does not answer."""


class PostgresStore:
    """The database that `url` names, such as `postgresql://user:password@host/name`; its tables are made if missing.

    With a `clock` the time is what that says; else the database's own, which all machines share. Raises
    `SettingsError` for what is no such URL, `MissingExtraError` without the driver, and `StoreError`, which is an
    `UnreachableError` when nothing answers.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._url = _read(url)
        self._clock = clock
        self._is_closed = False
        self._pid = os.getpid()
        self._engine = self._made()
        try:
            if self.read(version_of) != HEAD:
                self.write(self._prepare)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The URL without its password, and without options, which may hold one."""
        return self._url.set(query={}).render_as_string(hide_password=True).replace("+psycopg", "", 1)

    def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` finds. Raises `StoreError`."""
        return self._tried(function)

    def write(self, function: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What `function` returns, with all of what it changed kept, or nothing of it when it raises.

        PostgreSQL keeps all of it through a loss of power, `durable` or not. Raises `StoreError`.
        """

        def kept(db: Connection) -> T:
            result = function(db)
            point("control.before_commit")
            db.commit()
            return result

        return self._tried(kept)

    def now(self, db: Connection) -> datetime:
        """The database's time: that of every machine that shares it."""
        if self._clock is not None:
            return moment(self._clock)
        seconds = sa.func.extract("epoch", sa.func.clock_timestamp())
        nanoseconds = int(db.execute(sa.select(sa.cast(seconds * 1_000_000, sa.BigInteger))).scalar_one()) * 1000
        return moment(lambda: nanoseconds)

    def close(self) -> None:
        """Give back the connections; the store can't be used any more."""
        if not self._is_closed and self._pid == os.getpid():
            self._engine.dispose()
        self._is_closed = True

    def _tried(self, function: Callable[[Connection], T]) -> T:
        for number in range(TRIES):
            try:
                with self._here().connect() as db:
                    return function(db)
            except sa.exc.DBAPIError as error:
                if number == TRIES - 1 or not _may_be_tried_again(error):
                    kind = StoreError if _state(error) else UnreachableError
                    raise kind(self._explained(error)) from error
            except sa.exc.TimeoutError as error:
                raise StoreError(f"too many threads use {self.name} at once") from error
            time.sleep(0.02 * 2**number * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    def _here(self) -> Engine:
        """The connections of this very process: a child that was forked must leave its parent's alone."""
        if self._is_closed:
            raise StoreError(f"the control plane {self.name} is closed")
        if self._pid != os.getpid():
            _INHERITED.append(self._engine)
            self._pid = os.getpid()
            self._engine = self._made()
        return self._engine

    def _made(self) -> Engine:
        options = {"connect_timeout": 10, "application_name": "dagy"}
        with _driver():
            return sa.create_engine(
                self._url,
                pool_size=8,
                max_overflow=56,
                hide_parameters=True,
                connect_args={name: value for name, value in options.items() if name not in self._url.query},
            )

    def _prepare(self, db: Connection) -> None:
        """Bring the tables up to date; whoever comes first does it, the others wait."""
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        bring_up_to_date(db, f"the control plane {self.name}")

    def _explained(self, error: sa.exc.DBAPIError) -> str:
        reason = str(error.orig).strip().partition("\n")[0]
        called = f"the control plane {self.name}"
        match _state(error):
            case "28000" | "28P01":
                return f"{called} refuses to let you in; check the user and the password in DAGY_DATABASE_URL"
            case "3D000":
                return f"{called} is not there; make the database with: createdb {self._url.database}"
            case "25006":
                return f"{called} is read-only: it is a replica; give the URL of the primary"
            case "42P07":
                return f"{called} holds other tables under the names that dagy needs ({reason}); give dagy its own"
            case "53100":
                return f"{called} can't grow: its disk is full"
            case "":
                return f"{called} can't be reached: {reason}; check DAGY_DATABASE_URL, and that the server runs"
            case state:
                return f"{called}: {reason} ({state})"


def _read(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError("the database's URL is not of the form postgresql://user:password@host/name") from None
    if parsed.drivername not in _SCHEMES:
        raise SettingsError(
            f"the database's URL begins with {parsed.drivername!r}; dagy keeps a team's control plane in postgresql://"
        )
    return parsed.set(drivername="postgresql+psycopg")


@contextlib.contextmanager
def _driver() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtraError("psycopg", "postgres", "a control plane in PostgreSQL") from error


def _state(error: sa.exc.DBAPIError) -> str:
    """The SQLSTATE; empty when there is none, because nothing answered."""
    return getattr(error.orig, "sqlstate", None) or ""


def _may_be_tried_again(error: sa.exc.DBAPIError) -> bool:
    state = _state(error)
    is_lost = error.connection_invalidated or state.startswith(("08", "57P0")) or state == "25P03"
    is_unreachable = isinstance(error, sa.exc.OperationalError) and not state
    return is_lost or is_unreachable or state in _MET_ANOTHER
