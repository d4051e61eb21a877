"""SQLite files that any number of processes and threads write to at once, and the only door to SQLite.

Each change is a transaction that takes the writer's lock before it reads (`BEGIN IMMEDIATE`), waits its turn for a
while, and is there as a whole or not at all.

SQLite 3.7.0 to 3.51.2 can lose committed pages when one connection copies the write-ahead log into the database
(a checkpoint) at the very moment at which another one starts that log anew. Here a checkpoint is never left to chance:
it is made only while its maker itself holds the writer's lock, so that nobody can start the log anew meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dagy.errors import DagyError, StoreError, sentence
from dagy.runs.faults import point
from dagy.settings import made_private

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger(__name__)

WARN_SECONDS = 5.0  # how long to wait for other writers before saying so
WAIT_SECONDS = 30.0  # how long to wait for them at all
LOG_LIMIT = 4_000_000  # bytes of write-ahead log from which it is copied into the database

_ROWS_AT_ONCE = 40
_INHERITED: list[object] = []  # connections of the process this one was forked from: to close one would break them


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file holds. `migrations` has the statements that make its tables.

    Each entry brings them to the version that is its place in the list, counted from 1.
    """

    name: str  # what messages call the file: "history"
    file_name: str
    application_id: int  # in the file's header
    migrations: Sequence[Sequence[str]]
    remedy: str  # what to do about a file that is damaged, as a sentence without its full stop


class Database:
    """The file of this layout in `folder`, which is made if it is missing; with `write=False` it is only read, and
    must be there.

    Threads may share it, and a child that is forked gets a handle of its own. Raises `StoreError`.
    """

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        *,
        write: bool = True,
        warn_seconds: float = WARN_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.folder = folder
        self.path = folder / layout.file_name
        self.can_write = write
        self._layout = layout
        self._called = f"the {layout.name} {str(self.path)!r}"
        self._warn_seconds = warn_seconds
        self._wait_seconds = wait_seconds
        self._lock = threading.RLock()
        self._pid = 0
        self._db: sqlite3.Connection | None = None
        if write:
            made_private(folder)
        with self._lock:
            self._connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the handle; it can't be used any more."""
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
        """A transaction that changes the file: all of what the block does, or nothing if it raises.

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
        """What the file holds at one moment, for a block that makes sense of it.

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
                f"{self._called} is damaged: it holds what no dagy has written ({sentence(error)}). "
                f"{self._layout.remedy}"
            ) from error

    def tidy(self, *, limit: int = LOG_LIMIT) -> bool:
        """Copy the write-ahead log into the database if it is longer than `limit` bytes; whether that was done."""
        try:
            if Path(f"{self.path}-wal").stat().st_size <= limit:
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
            raise StoreError(f"{self._called} is closed")
        if self._pid != os.getpid():
            if self._db is not None:
                _INHERITED.append(self._db)
            with self._translated():
                self._db = self._made() if self.can_write else self._opened_to_read()
                self._db.execute(f"PRAGMA busy_timeout = {self._warn_seconds * 1000:.0f}")
            self._pid = os.getpid()
        if self._db is None:
            raise StoreError(f"{self._called} is not open")
        return self._db

    def _made(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):  # it is there, or SQLite will say what is wrong
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        db = self._opened("mode=rwc")
        try:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA journal_size_limit = 0")  # a log that is begun anew is cut, so that its size tells
            db.execute("PRAGMA synchronous = NORMAL")
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _opened_to_read(self) -> sqlite3.Connection:
        import sqlite3

        if not self.path.exists():
            raise StoreError(f"there is no {self._layout.name} at {str(self.path)!r}")
        db = self._opened("mode=ro")
        try:
            try:
                version = _version(db)
            except sqlite3.OperationalError:
                # Nothing can be made beside the file, not even what SQLite needs for readers.
                db.close()
                if Path(f"{self.path}-wal").exists():
                    raise
                db = self._opened("mode=ro&immutable=1")
                version = _version(db)
            self._check_version(db, version, oldest=len(self._layout.migrations))
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

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Bring the tables up to date; whoever comes first does it, the others wait."""
        layout = self._layout
        version = _version(db)
        self._check_version(db, version)
        if version == len(layout.migrations):
            return
        _log_ahead(db)
        while version < len(layout.migrations):
            db.execute("BEGIN IMMEDIATE")
            try:
                version = _version(db)
                self._check_version(db, version)
                if version < len(layout.migrations):
                    for statement in layout.migrations[version]:
                        db.execute(statement)
                        point("store.migration")
                    version += 1
                    db.execute(f"PRAGMA application_id = {layout.application_id}")
                    db.execute(f"PRAGMA user_version = {version}")
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise

    def _check_version(self, db: sqlite3.Connection, version: int, *, oldest: int = 0) -> None:
        newest, name = len(self._layout.migrations), self._layout.name
        made_by = db.execute("PRAGMA application_id").fetchone()[0]
        if made_by != self._layout.application_id and (version or _has_tables(db)):
            raise StoreError(f"{str(self.path)!r} is a database, but not a {name} of dagy; move it away")
        if version > newest:
            raise StoreError(
                f"{self._called} was made by a newer dagy (its version is {version}, this dagy knows {newest}); "
                "upgrade dagy, or set DAGY_LOCAL_DIR to another folder"
            )
        if version < oldest:
            raise StoreError(
                f"{self._called} was made by an older dagy, and is read-only, so it can't be brought up to date"
            )

    def _begin(self, db: sqlite3.Connection) -> None:
        """Take the writer's lock, waiting for others as long as is reasonable."""
        import sqlite3

        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or self._wait_seconds <= self._warn_seconds:
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
            raise StoreError(
                _explained(error, self._called, self.path, self._wait_seconds, self._layout.remedy)
            ) from error


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


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def _is_busy(error: sqlite3.Error) -> bool:
    import sqlite3

    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _explained(error: sqlite3.Error, what: str, path: Path, waited: float, remedy: str) -> str:
    import sqlite3

    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{what} has been held by another process for {waited:g} s; find it with: fuser {path}"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"{what} is damaged ({error}); nothing was changed. {remedy}"
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
