"""The control plane in a SQLite file of this machine, which any number of processes and threads write to at once.

Each change takes the writer's lock before it reads (`BEGIN IMMEDIATE`) and waits its turn. The write-ahead log is
copied into the file only by who holds that lock, for the reason that `dagy.runs.database` gives. A file that can't be
written here can still be read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.pool import QueuePool

from dagy.control.migrating import HEAD, bring_up_to_date
from dagy.control.store import Clock, moment
from dagy.errors import StoreError
from dagy.runs.database import LOG_LIMIT, WAIT_SECONDS, WARN_SECONDS
from dagy.runs.faults import point
from dagy.settings import made_private

T = TypeVar("T")

logger = logging.getLogger(__name__)

FILE_NAME = "control.db"

_APPLICATION_ID = 0x44616743  # "DagC", in the file's header
_MOST_CONNECTIONS = 64  # of one process
_TO_WRITE, _TO_READ = "mode=rwc", "mode=ro"
_TO_READ_ALONE = "mode=ro&immutable=1"  # where not even what SQLite needs for readers can be made beside the file
# SQLAlchemy takes longer to write a statement than SQLite to carry it out, so all stores of a process share what is
# written: that goes by the dialect, so they share one.
_STATEMENTS: dict[object, object] = {}
_DIALECT: dict[str, sa.Dialect] = {}
_INHERITED: list[object] = []  # what belongs to the process this one was forked from: to close it would break it


class SqliteStore:
    """The file in `folder`; both are made if they are missing, for their owner's eyes only.

    Where it can't be written, it is there to be read. Raises `StoreError`.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock | None = None,
        *,
        warn_seconds: float = WARN_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.path = made_private(folder).absolute() / FILE_NAME
        self._log = self.path.with_name(f"{FILE_NAME}-wal")
        self._clock = clock or time.time_ns
        self._warn_seconds = warn_seconds
        self._wait_seconds = wait_seconds
        self._is_closed = False
        self._turn = threading.Lock()
        self._pid = os.getpid()
        self._engine = self._made()

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` finds, as the file is at one moment. Raises `StoreError`."""
        with self._connected() as (db, raw):
            raw.execute("BEGIN")
            return function(db)

    def write(self, function: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What `function` returns, with all of what it changed kept, or nothing of it when it raises.

        What is kept outlives this process; with `durable` also a loss of power. Raises `StoreError`.
        """
        self._here()
        with self._turn:  # threads wait here, which is fairer than SQLite's own way of waiting
            with self._connected() as (db, raw):
                raw.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._begin(raw)
                result = function(db)
                point("control.before_commit")
                raw.execute("COMMIT")
            self._tidy()
        return result

    def now(self, db: Connection) -> datetime:
        """The time of this machine."""
        return moment(self._clock)

    def close(self) -> None:
        """Give back the file; the store can't be used any more."""
        if not self._is_closed and self._pid == os.getpid():
            self._engine.dispose()
        self._is_closed = True

    @contextlib.contextmanager
    def _connected(self) -> Iterator[tuple[Connection, sqlite3.Connection]]:
        """A connection, as SQLAlchemy's and as Python's own; what is not committed at the end is undone."""
        with self._translated(), self._here().connect() as db:
            raw = db.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            yield db, raw

    def _here(self) -> Engine:
        """The connections of this very process: a child that was forked must leave its parent's alone."""
        if self._is_closed:
            raise StoreError(f"the control plane {self.name!r} is closed")
        if self._pid != os.getpid():
            _INHERITED.append(self._engine)
            self._turn = threading.Lock()
            self._pid = os.getpid()
            self._engine = self._made()
        return self._engine

    def _made(self) -> Engine:
        with contextlib.suppress(OSError):  # it is there, or SQLite will say what is wrong
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            return self._connections(_TO_WRITE)
        except StoreError:
            for how in (_TO_READ, _TO_READ_ALONE):
                if how == _TO_READ or not self._log.exists():  # what is in the log would be passed over
                    with contextlib.suppress(StoreError):
                        return self._connections(how)
            raise

    def _connections(self, how: str) -> Engine:
        """Connections that are opened so, to tables that are up to date."""
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: self._opened(how),
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=_MOST_CONNECTIONS - 8,
            pool_timeout=self._wait_seconds,
            hide_parameters=True,
        )
        try:
            with self._translated(), engine.connect() as db:
                self._prepare(db)
        except BaseException:
            engine.dispose()
            raise
        sharing = engine.execution_options(compiled_cache=_STATEMENTS)
        sharing.dialect = _DIALECT.setdefault("sqlite", engine.dialect)
        return sharing

    def _opened(self, how: str) -> sqlite3.Connection:
        raw = sqlite3.connect(
            f"{self.path.as_uri()}?{how}",
            uri=True,
            timeout=self._warn_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        raw.execute("PRAGMA mmap_size = 0")
        raw.execute("PRAGMA wal_autocheckpoint = 0")
        raw.execute("PRAGMA journal_size_limit = 0")  # a log that is begun anew is cut, so that its size tells
        raw.execute("PRAGMA foreign_keys = ON")
        return raw

    def _prepare(self, db: Connection) -> None:
        """Bring the tables up to date; whoever comes first does it, the others wait."""
        raw = db.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        if _version(raw) == HEAD:
            return
        self._check_owner(raw)
        self._log_ahead(raw)
        self._begin(raw)
        self._check_owner(raw)
        bring_up_to_date(db, f"the control plane {self.name!r}")
        raw.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        raw.execute("COMMIT")

    def _check_owner(self, raw: sqlite3.Connection) -> None:
        """Raise `StoreError` when the file is somebody else's database."""
        made_by = raw.execute("PRAGMA application_id").fetchone()[0]
        if made_by != _APPLICATION_ID and raw.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise StoreError(f"{self.name!r} is a database, but not a control plane of dagy; move it away")

    def _log_ahead(self, raw: sqlite3.Connection) -> None:
        """Switch to the write-ahead log; SQLite does not wait its turn for that by itself."""
        until = time.monotonic() + self._wait_seconds
        while True:
            try:
                raw.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def _begin(self, raw: sqlite3.Connection) -> None:
        """Take the writer's lock, waiting for others as long as is reasonable."""
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or self._wait_seconds <= self._warn_seconds:
                raise
            logger.warning("another process has been writing to %s for %g s", self.path, self._warn_seconds)
            raw.execute(f"PRAGMA busy_timeout = {(self._wait_seconds - self._warn_seconds) * 1000:.0f}")
            try:
                raw.execute("BEGIN IMMEDIATE")
            finally:
                raw.execute(f"PRAGMA busy_timeout = {self._warn_seconds * 1000:.0f}")

    def _tidy(self) -> None:
        """Copy the write-ahead log into the file if it has grown long, and nobody else writes at the moment.

        What was written before is kept either way, so a failure is no error of who wrote it: the next one tries again.
        """
        try:
            if self._log.stat().st_size <= LOG_LIMIT:
                return
        except OSError:
            return
        try:
            self._copy_log()
        except StoreError as error:
            logger.warning("the write-ahead log can't be copied: %s", error)

    def _copy_log(self) -> None:
        with self._connected() as (_, raw):
            raw.execute("PRAGMA busy_timeout = 0")
            try:
                raw.execute("BEGIN IMMEDIATE")  # nobody writes from here on, and nothing starts the log anew
                with contextlib.closing(self._opened(_TO_WRITE)) as copier:
                    copier.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
            finally:
                if raw.in_transaction:
                    raw.execute("ROLLBACK")
                raw.execute(f"PRAGMA busy_timeout = {self._warn_seconds * 1000:.0f}")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as `StoreError`, each with what to do about it."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise StoreError(self._explained(error.orig)) from error
        except sa.exc.TimeoutError as error:
            raise StoreError(f"{_MOST_CONNECTIONS} threads use the control plane {self.name!r} at once") from error
        except sqlite3.Error as error:
            raise StoreError(self._explained(error)) from error

    def _explained(self, error: BaseException | None) -> str:
        called = f"the control plane {self.name!r}"
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                held = f"{called} has been held by another process for {self._wait_seconds:g} s"
                return f"{held}; find it with: fuser {self.path}"
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return f"{called} is damaged ({error}); nothing was changed. Move it away, and deploy again"
            case sqlite3.SQLITE_FULL:
                return f"{called} can't grow: the disk is full, or a quota is used up"
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return f"{called} can't be written: it is read-only here; set DAGY_LOCAL_DIR to a folder of your own"
            case sqlite3.SQLITE_CANTOPEN:
                return f"{called} can't be opened ({error}); check that {str(self.path.parent)!r} is a folder of yours"
            case _:
                return f"{called}: {error}"


def _version(raw: sqlite3.Connection) -> str | None:
    """The version of the tables, without SQLAlchemy's own way of looking; None for a file that has none."""
    try:
        row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return None if row is None else str(row[0])


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
