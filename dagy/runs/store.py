"""The history's file, and the only door to SQLite.

Any number of processes and threads write to one file at once, so each change is a transaction that takes the writer's
lock before it reads (`BEGIN IMMEDIATE`), waits its turn for as long as half a minute, and is there as a whole or not
at all.

SQLite 3.7.0 to 3.51.2 can lose committed pages when one connection copies the write-ahead log into the database
(a checkpoint) at the very moment at which another one starts that log anew. Here a checkpoint is never left to chance:
it is made only while its maker itself holds the writer's lock, so that nobody can start the log anew meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.errors import DagyError, StoreError, sentence
from dagy.runs.faults import point
from dagy.runs.schema import APPLICATION_ID, MIGRATIONS
from dagy.settings import made_private

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger(__name__)

FILE_NAME = "history.db"
WARN_SECONDS = 5.0  # how long to wait for other writers before saying so
WAIT_SECONDS = 30.0  # how long to wait for them at all
LOG_LIMIT = 4_000_000  # bytes of write-ahead log from which it is copied into the database

_ROWS_AT_ONCE = 40
_REMEDY = f"Move it away, and dagy begins a new one; to save what can be saved: sqlite3 {FILE_NAME} .recover"
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_INHERITED: list[object] = []  # connections of the process this one was forked from: to close one would break them


class Store:
    """The history in `folder`, which is made if it is missing; with `write=False` it is only read, and must be there.

    Threads may share it, and a child that is forked gets a handle of its own. Raises `StoreError`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        write: bool = True,
        warn_seconds: float = WARN_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.write = write
        self._warn_seconds = warn_seconds
        self._wait_seconds = wait_seconds
        self._lock = threading.RLock()
        self._pid = 0
        self._db: sqlite3.Connection | None = None
        if write:
            made_private(folder)
        with self._lock:
            self._connection()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the handle; the store can't be used any more."""
        with self._lock:
            if self._db is not None:
                if self._pid == os.getpid():
                    with self._translated():
                        self._db.close()
                else:
                    _INHERITED.append(self._db)
            self._db = None
            self._pid = -1

    @contextlib.contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that changes the history: all of what the block does, or nothing if it raises.

        It holds though the process dies; with `durable` it holds though the machine loses power, and with it all that
        was written before. Raises `StoreError`.
        """
        with self._lock, self._translated():
            db = self._connection()
            if durable:
                db.execute("PRAGMA synchronous = FULL")
            try:
                self._begin(db)
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            finally:
                if durable:
                    db.execute("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The history as it is at one moment, for a block that makes sense of it.

        Raises `StoreError`, also when the block finds that the rows make no sense (by an error such as `KeyError`).
        """
        with self._lock, self._translated(), self.sound():
            db = self._connection()
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextlib.contextmanager
    def sound(self) -> Iterator[None]:
        """A block that makes sense of rows; what it can't make sense of is a `StoreError`."""
        try:
            yield
        except DagyError:
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise StoreError(
                f"the history {str(self.path)!r} is damaged: it holds what no dagy has written ({sentence(error)}). "
                f"{_REMEDY}"
            ) from error

    def run_folder(self, run_id: str) -> Path:
        """Where the files of a run are; never outside the history's folder, whatever `run_id` is."""
        if not _SAFE_ID.fullmatch(run_id):
            raise StoreError(f"{run_id!r} can't be the id of a run")
        return self.folder / "runs" / run_id

    def tidy(self, *, limit: int = LOG_LIMIT) -> bool:
        """Copy the write-ahead log into the database if it is longer than `limit` bytes; whether that was done."""
        try:
            if self.path.with_name(f"{FILE_NAME}-wal").stat().st_size <= limit:
                return False
        except OSError:
            return False
        import sqlite3

        with self._lock, self._translated():
            db = self._connection()
            db.execute("PRAGMA busy_timeout = 0")
            try:
                db.execute("BEGIN IMMEDIATE")  # nobody writes from here on, and nothing starts the log anew
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                return False  # somebody writes; the next one to tidy will do
            else:
                copier = self._opened("mode=rw")
                try:
                    point("store.checkpoint")
                    copier.execute("PRAGMA wal_checkpoint(PASSIVE)")
                finally:
                    copier.close()
                    db.execute("ROLLBACK")
            finally:
                db.execute(f"PRAGMA busy_timeout = {self._warn_seconds * 1000:.0f}")
        return True

    def _connection(self) -> sqlite3.Connection:
        if self._pid == -1:
            raise StoreError(f"the history {str(self.path)!r} is closed")
        if self._pid != os.getpid():
            if self._db is not None:
                _INHERITED.append(self._db)
            with self._translated():
                self._db = self._made() if self.write else self._opened_to_read()
                self._db.execute(f"PRAGMA busy_timeout = {self._warn_seconds * 1000:.0f}")
            self._pid = os.getpid()
        if self._db is None:
            raise StoreError(f"the history {str(self.path)!r} is not open")
        return self._db

    def _made(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):  # it is there, or SQLite will say what is wrong
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        db = self._opened("mode=rwc")
        try:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA synchronous = NORMAL")
            _prepare(db, self.path)
        except BaseException:
            db.close()
            raise
        return db

    def _opened_to_read(self) -> sqlite3.Connection:
        import sqlite3

        if not self.path.exists():
            raise StoreError(f"there is no history at {str(self.path)!r}")
        db = self._opened("mode=ro")
        try:
            try:
                version = _version(db)
            except sqlite3.OperationalError:
                # Nothing can be made beside the file, not even what SQLite needs for readers.
                db.close()
                if self.path.with_name(f"{FILE_NAME}-wal").exists():
                    raise
                db = self._opened("mode=ro&immutable=1")
                version = _version(db)
            _check_version(db, version, self.path, oldest=len(MIGRATIONS))
        except BaseException:
            db.close()
            raise
        return db

    def _opened(self, how: str) -> sqlite3.Connection:
        import sqlite3

        db = sqlite3.connect(
            f"{self.path.as_uri()}?{how}",
            uri=True,
            timeout=self._wait_seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        db.execute("PRAGMA mmap_size = 0")
        return db

    def _begin(self, db: sqlite3.Connection) -> None:
        """Take the writer's lock, waiting for others as long as is reasonable."""
        import sqlite3

        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            logger.warning("another process has been writing to %s for %g s", self.path, self._warn_seconds)
            db.execute(f"PRAGMA busy_timeout = {(self._wait_seconds - self._warn_seconds) * 1000:.0f}")
            try:
                db.execute("BEGIN IMMEDIATE")
            finally:
                db.execute(f"PRAGMA busy_timeout = {self._warn_seconds * 1000:.0f}")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as `StoreError`, each with what to do about it."""
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(_explained(error, self.path, self._wait_seconds)) from error


def insert(db: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]], *, instead: bool = False) -> None:
    """Add `rows` to `table`; with `instead` in the place of rows with the same key."""
    if rows:
        verb = "INSERT OR REPLACE" if instead else "INSERT"
        db.executemany(f"{verb} INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def insert_fast(db: sqlite3.Connection, into: str, row: str, first: object, values: list[object]) -> None:
    """Add many rows with few statements: between two of them SQLite lets other threads run, and may wait for them.

    `into` is such as "events (run, seq, kind)", `row` such as "(?1, {}, 1)": `first` is the value of `?1` in each row,
    and `values` holds the others, one row's after the other's.
    """
    width = row.count("{}")
    whole = len(values) - len(values) % (width * _ROWS_AT_ONCE)
    if whole:
        statement = f"INSERT INTO {into} VALUES {', '.join([row] * _ROWS_AT_ONCE)}"
        numbered = statement.format(*(f"?{number}" for number in range(2, width * _ROWS_AT_ONCE + 2)))
        for start in range(0, whole, width * _ROWS_AT_ONCE):
            db.execute(numbered, [first, *values[start : start + width * _ROWS_AT_ONCE]])
    rest = [(first, *values[start : start + width]) for start in range(whole, len(values), width)]
    one = f"INSERT INTO {into} VALUES {row}".format(*(f"?{number}" for number in range(2, width + 2)))
    db.executemany(one, rest)


def storable(text: str) -> str | bytes:
    """`text` as a column can hold it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return text.encode("utf-8", "surrogatepass")
    return text


def text_of(stored: str | bytes | None) -> str:
    """What `storable` made a column hold; nothing for NULL."""
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored or ""


def sqlite_version() -> tuple[int, int, int]:
    """The version of SQLite that Python is linked with."""
    import sqlite3

    return sqlite3.sqlite_version_info


def can_lose_the_log(version: tuple[int, int, int]) -> bool:
    """Whether that SQLite has the fault that the module's docstring tells of."""
    if version < (3, 7, 0) or version >= (3, 51, 3):
        return False
    return not ((3, 44, 6) <= version < (3, 45, 0) or (3, 50, 7) <= version < (3, 51, 0))


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Bring the tables up to date; whoever comes first does it, the others wait."""
    version = _version(db)
    _check_version(db, version, path)
    if version == len(MIGRATIONS):
        return
    _log_ahead(db)
    while version < len(MIGRATIONS):
        db.execute("BEGIN IMMEDIATE")
        try:
            version = _version(db)
            _check_version(db, version, path)
            if version < len(MIGRATIONS):
                for statement in MIGRATIONS[version]:
                    db.execute(statement)
                    point("store.migration")
                version += 1
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {version}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise


def _log_ahead(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait its turn for that by itself."""
    import sqlite3

    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _check_version(db: sqlite3.Connection, version: int, path: Path, *, oldest: int = 0) -> None:
    made_by = db.execute("PRAGMA application_id").fetchone()[0]
    if made_by != APPLICATION_ID and (version or db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()):
        raise StoreError(f"{str(path)!r} is a database, but not a history of dagy; move it away")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the history {str(path)!r} was made by a newer dagy (its version is {version}, this dagy knows "
            f"{len(MIGRATIONS)}); upgrade dagy, or set DAGY_LOCAL_DIR to another folder"
        )
    if version < oldest:
        raise StoreError(
            f"the history {str(path)!r} was made by an older dagy, and is read-only, so it can't be brought up to date"
        )


def _is_busy(error: sqlite3.Error) -> bool:
    import sqlite3

    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _explained(error: sqlite3.Error, path: Path, waited: float) -> str:
    import sqlite3

    what = f"the history {str(path)!r}"
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{what} has been held by another process for {waited:g} s; find it with: fuser {path}"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"{what} is damaged ({error}); nothing was changed. {_REMEDY}"
        case sqlite3.SQLITE_FULL:
            return f"{what} can't grow: the disk is full, or a quota is used up"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"{what} can't be written: it is read-only here; set DAGY_LOCAL_DIR to a folder of your own"
        case sqlite3.SQLITE_CANTOPEN:
            return f"{what} can't be opened ({error}); check that {str(path.parent)!r} is a folder of yours"
        case sqlite3.SQLITE_IOERR:
            return f"{what} can't be read or written: {error} ({sys.platform}); check the disk that it is on"
        case _:
            return f"{what}: {error}"
