"""Results kept across runs: what the same code returned before for the same inputs.

Two calls are the same if their functions have one fingerprint and their inputs one digest each; the flow's name, the
task's and its options are not asked. A small value is in the cache's file itself, another in a file of its own. Each
is sealed with a key that only this folder has, so nothing is unpickled but what was kept here.

The cache is never in the way: what goes wrong in it is logged, once, and the task runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dagy.digests import identity
from dagy.engine.keeping import CacheEntry
from dagy.errors import DagyError, StoreError, TravelError, UnknownTaskError
from dagy.fingerprint import Fingerprint, changes, fingerprint
from dagy.program import TaskCode
from dagy.runs.database import Database, Layout, storable, text_of
from dagy.settings import made_private
from dagy.spec import TaskSpec
from dagy.values import Deferred, described, encode, read_trusted

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger(__name__)

FILE_NAME = "cache.db"
LIMIT = 5 * 2**30  # bytes of values from which those that were not used for the longest time are let go
INLINE_LIMIT = 8_192  # bytes up to which a value is kept in the cache's file itself
ROW_COST = 1_024  # bytes that a result is counted with beside its value
WAIT_SECONDS = 5.0  # how long to wait for other processes

_NEAREST = 50  # how many earlier results are compared with a call that was not found
_TABLES = (
    "CREATE TABLE codes (digest TEXT PRIMARY KEY, parts TEXT NOT NULL) WITHOUT ROWID",  # parts: JSON, by name
    """
    CREATE TABLE results (
        key TEXT PRIMARY KEY,
        task TEXT NOT NULL,
        code TEXT NOT NULL,
        inputs TEXT NOT NULL,      -- JSON: a name, a digest and a description for each
        codec TEXT NOT NULL,
        size INTEGER NOT NULL,     -- bytes
        value BLOB,                -- NULL: it is in the file `name`
        name TEXT,
        seal BLOB NOT NULL,
        created_at REAL NOT NULL,  -- seconds since the epoch, as all times here
        used_at REAL NOT NULL,
        hits INTEGER NOT NULL
    )
    """,
    "CREATE INDEX results_by_task ON results (task, created_at)",
    "CREATE INDEX results_by_use ON results (used_at)",
    """
    CREATE TABLE misses (          -- of each task the last call that was not found
        task TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        code TEXT NOT NULL,
        inputs TEXT NOT NULL,
        at REAL NOT NULL,
        reason TEXT NOT NULL       -- why it can't be found; empty where the difference says it
    ) WITHOUT ROWID
    """,
    "CREATE TABLE total (size INTEGER NOT NULL)",
    "INSERT INTO total VALUES (0)",
    f"""
    CREATE TRIGGER added AFTER INSERT ON results
    BEGIN UPDATE total SET size = size + new.size + {ROW_COST}; END
    """,
    f"""
    CREATE TRIGGER removed AFTER DELETE ON results
    BEGIN UPDATE total SET size = size - old.size - {ROW_COST}; END
    """,
)
_LAYOUT = Layout(
    name="cache",
    file_name=FILE_NAME,
    application_id=0x44414743,  # "DAGC"
    migrations=(_TABLES,),
    remedy="Clear it with: dagy cache clear",
)


class CachedTask(NamedTuple):
    """What the cache has of one task."""

    task: str
    results: int
    hits: int  # how often they were found
    size: int  # bytes
    newest_at: float  # when the newest one was kept, in seconds since the epoch


@dataclass(frozen=True, slots=True)
class Difference:
    """Why the last call of a task that was not found was not: a sentence for each reason, maybe with a diff below."""

    task: str
    at: float  # when it was asked for, in seconds since the epoch
    reasons: tuple[str, ...]
    found_at: float | None = None  # when a later call was found, if one was


class LocalCache:
    """The cache in `folder`, for one run: what the code of its tasks is, is found out once. Threads may share it.

    Nothing is made before there is something to keep. `limit` bounds it, in bytes; `clock` gives the seconds since
    the epoch.
    """

    def __init__(self, folder: Path, *, limit: int = LIMIT, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.values = folder / "cache"
        self.limit = limit
        self.clock = clock
        self._lock = threading.RLock()
        self._database: Database | None = None
        self._secret = b""
        self._code: dict[int, tuple[Callable[..., Any], Fingerprint]] = {}
        self._said: set[str] = set()

    def __enter__(self) -> LocalCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file; the next use opens it again."""
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    # -- in a run ----------------------------------------------------------------------------------------------------

    def look_up(self, task: TaskSpec, code: TaskCode, inputs: Mapping[str, Any]) -> CacheEntry:
        """The entry of a call; never raises."""
        try:
            return self._entry(task, code, inputs)
        except Exception as error:  # noqa: BLE001 (whatever it is, the task can run without the cache)
            self._say(f"the cache can't be used: {error}")
            return _Entry()

    def _entry(self, task: TaskSpec, code: TaskCode, inputs: Mapping[str, Any]) -> CacheEntry:
        call = self._call(task, code, inputs)
        if isinstance(call, str):
            self._say(f"the result of task {task.name!r} is not cached: {call}")
            with self._writing() as db:
                self._note_miss(db, _Call(task.name, "", Fingerprint("", {}), "[]"), call)
            return _Entry()
        found = self._found(call, task.options.cache)
        if isinstance(found, _Entry):
            return found
        with self._writing() as db:
            self._note_miss(db, call, found)
        return _Entry(keeping=lambda value: self._keep(call, value))

    def _call(self, task: TaskSpec, code: TaskCode, inputs: Mapping[str, Any]) -> _Call | str:
        """What is asked for, or why it can't be asked for."""
        places = {name: number for number, name in enumerate(code.parameters)}
        told = []
        for name in sorted(inputs, key=lambda name: places.get(name, len(places))):
            value = inputs[name].value() if isinstance(inputs[name], Deferred) else inputs[name]
            known = identity(value, lambda each: self._fingerprint(each).digest, called=f"input {name!r}")
            if known.digest is None:
                return known.reason
            told.append([name, known.digest, described(value)])
        found = self._fingerprint(code.function)
        key = json.dumps([found.digest, [[name, digest] for name, digest, _ in told]])
        return _Call(task.name, hashlib.sha256(key.encode()).hexdigest(), found, json.dumps(told))

    def _fingerprint(self, function: Callable[..., Any]) -> Fingerprint:
        known = self._code.get(id(function))
        if known is None:
            known = self._code[id(function)] = (function, fingerprint(function))
        return known[1]

    def _found(self, call: _Call, wanted: bool | float) -> _Entry | str:
        """What was kept of the same call, or why that does not serve; nothing when there is none."""
        row = self._row(call.key)
        if row is None:
            return ""
        codec, value, name, seal, created_at = row
        age = self.clock() - created_at
        # A result from the future was kept before the clock was set back, and nobody knows when.
        if wanted is not True and not 0 <= age <= wanted:
            return f"the same call was kept {age:.0f} s ago, and the task's results may be {wanted:g} s old"
        try:
            data = (self.values / name).read_bytes() if value is None else value
            held = self._unsealed(call.key, codec, data, seal)
        except (OSError, TravelError) as error:
            if self._row(call.key) != row:  # somebody has just kept the same call, and the file of before is gone
                return self._found(call, wanted)
            self._say(f"a result of task {call.task!r} can't be read from the cache: {error}")
            self._forget("key = ? AND seal = ?", (call.key, seal))
            return "what was kept of the same call can't be read any more"
        with self._writing() as db:
            db.execute("UPDATE results SET used_at = ?, hits = hits + 1 WHERE key = ?", (self.clock(), call.key))
        when = datetime.fromtimestamp(created_at).astimezone()
        return _Entry(found=_Held(held), note=f"cached since {when:%Y-%m-%d %H:%M:%S}")

    def _row(self, key: str) -> tuple[Any, ...] | None:
        """How a result is kept: its codec, value, file and seal, and when it was."""
        with self._reading() as db:
            found = db.execute("SELECT codec, value, name, seal, created_at FROM results WHERE key = ?", (key,))
            row: tuple[Any, ...] | None = found.fetchone()
        return row

    def _unsealed(self, key: str, codec: str, data: bytes, seal: bytes) -> object:
        """The value, if it is the one that was kept here; `TravelError` if it is not, or can't be read."""
        if not hmac.compare_digest(self._seal(key, codec, (data,)), seal):
            raise TravelError("it is not what was kept")
        return read_trusted(codec, data)

    def _keep(self, call: _Call, value: object) -> None:
        try:
            self._put(call, value)
        except TravelError as error:
            self._say(f"the result of task {call.task!r} is not cached: {error}")
            with contextlib.suppress(DagyError), self._writing() as db:
                self._note_miss(db, call, str(error))
        except Exception as error:  # noqa: BLE001 (whatever it is, the run goes on without the cache)
            self._say(f"the result of task {call.task!r} can't be cached: {error}")

    def _put(self, call: _Call, value: object) -> None:
        encoded = encode(value)
        if encoded.size > self.limit:
            raise TravelError(f"its {encoded.size:,} bytes are more than the {self.limit:,} that the cache may have")
        is_small = encoded.size <= INLINE_LIMIT
        name = None if is_small else f"{call.key[:32]}-{os.urandom(8).hex()}"  # its own, whoever else keeps the same
        seal = self._seal(call.key, encoded.codec, encoded.buffers)
        if name is not None:
            encoded.write(self.values / name)
        now = self.clock()
        try:
            with self._writing() as db:
                gone = [each for (each,) in db.execute("SELECT name FROM results WHERE key = ?", (call.key,))]
                db.execute("DELETE FROM results WHERE key = ?", (call.key,))
                self._add_code(db, call)
                db.execute(
                    "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                    (
                        call.key, storable(call.task), call.code.digest, call.inputs, encoded.codec, encoded.size,
                        encoded.data if is_small else None, name, seal, now, now,
                    ),
                )  # fmt: skip
                gone += self._evict(db)
        except BaseException:
            self._unlink([name])
            raise
        self._unlink(gone)

    def _evict(self, db: sqlite3.Connection) -> list[str | None]:
        """Let go of what was not used for the longest time, as much as is too much; the names of its files."""
        excess = db.execute("SELECT size FROM total").fetchone()[0] - self.limit
        gone: list[tuple[str, str | None]] = []
        if excess > 0:
            for key, size, name in db.execute("SELECT key, size, name FROM results ORDER BY used_at, rowid"):
                gone.append((key, name))
                excess -= size + ROW_COST
                if excess <= 0:
                    break
            db.executemany("DELETE FROM results WHERE key = ?", [(key,) for key, _ in gone])
            _drop_unused_code(db)
        return [name for _, name in gone]

    def _note_miss(self, db: sqlite3.Connection, call: _Call, reason: str) -> None:
        self._add_code(db, call)
        db.execute(
            "INSERT OR REPLACE INTO misses VALUES (?, ?, ?, ?, ?, ?)",
            (storable(call.task), call.key, call.code.digest, call.inputs, self.clock(), storable(reason)),
        )

    def _add_code(self, db: sqlite3.Connection, call: _Call) -> None:
        if db.execute("SELECT 1 FROM codes WHERE digest = ?", (call.code.digest,)).fetchone() is None:
            db.execute("INSERT INTO codes VALUES (?, ?)", (call.code.digest, json.dumps(dict(call.code.parts))))

    def _say(self, message: str) -> None:
        """Log it, the first time."""
        with self._lock:
            is_new = message not in self._said
            self._said.add(message)
        if is_new:
            logger.warning("%s", message)

    # -- looking at it -----------------------------------------------------------------------------------------------

    def kept(self) -> tuple[CachedTask, ...]:
        """What there is of each task, the largest first. Raises `StoreError`."""
        if not self.path.exists():
            return ()
        with self._reading() as db:
            rows = db.execute(
                "SELECT task, count(*), sum(hits), sum(size), max(created_at) FROM results "
                "GROUP BY task ORDER BY 4 DESC, 1"
            ).fetchall()
        return tuple(CachedTask(text_of(task), *rest) for task, *rest in rows)

    def why(self, task: str) -> Difference | None:
        """Why the task's last call that was not found was not; None if it was never asked for in vain.

        It is compared with the earlier result that is most like it. Raises `UnknownTaskError`, `StoreError`.
        """
        if not self.path.exists():
            raise UnknownTaskError(task, (), where="the cache")
        with self._reading() as db:
            miss = db.execute(
                "SELECT key, code, inputs, at, reason FROM misses WHERE task = ?", (storable(task),)
            ).fetchone()
            if miss is None:
                known = [
                    text_of(name) for (name,) in db.execute("SELECT task FROM results UNION SELECT task FROM misses")
                ]
                if task not in known:
                    raise UnknownTaskError(task, known, where="the cache")
                return None
            key, code, inputs, at, reason = miss
            (found_at,) = db.execute(
                "SELECT max(used_at) FROM results WHERE task = ? AND hits > 0 AND used_at > ?", (storable(task), at)
            ).fetchone()
            if reason:
                return Difference(task, at, (text_of(reason),), found_at)
            earlier = db.execute(
                "SELECT code, inputs FROM results WHERE task = ? AND key != ? AND created_at <= ? "
                f"ORDER BY created_at DESC, rowid DESC LIMIT {_NEAREST}",
                (storable(task), key, at),
            ).fetchall()
            if not earlier:
                return Difference(task, at, ("nothing that it returned before was kept",), found_at)
            now = json.loads(inputs)
            _, _, nearest = min(
                (sum(_digests(now).get(name) != digest for name, digest in _digests(json.loads(each[1])).items())
                 + (each[0] != code), number, each)
                for number, each in enumerate(earlier)
            )  # fmt: skip
            before, after = (
                json.loads(db.execute("SELECT parts FROM codes WHERE digest = ?", (each,)).fetchone()[0])
                for each in (nearest[0], code)
            )
        found = (*changes(before, after), *_input_changes(json.loads(nearest[1]), now))
        return Difference(task, at, found, found_at)

    def clear(self, task: str | None = None) -> int:
        """Let go of all results, or of one task's; how many there were. Raises `UnknownTaskError`, `StoreError`."""
        if not self.path.exists():
            return 0
        if task is not None:
            if all(each.task != task for each in self.kept()):
                raise UnknownTaskError(task, [each.task for each in self.kept()], where="the cache")
            return self._forget("task = ?", (storable(task),))
        try:
            count = self._forget("true", ())
            with self._writing() as db:
                db.execute("DELETE FROM misses")
                _drop_unused_code(db)
        except StoreError:  # damaged, or of another version: it holds nothing that can't be computed again
            self.close()
            count = 0
            for each in self.folder.glob(f"{FILE_NAME}*"):
                each.unlink(missing_ok=True)
        for each in self.values.iterdir() if self.values.exists() else ():
            if each.name != "key":
                each.unlink(missing_ok=True)
        return count

    # -- the file ----------------------------------------------------------------------------------------------------

    def _forget(self, which: str, values: tuple[object, ...]) -> int:
        with self._writing() as db:
            names = [each for (each,) in db.execute(f"SELECT name FROM results WHERE {which}", values)]
            db.execute(f"DELETE FROM results WHERE {which}", values)
        self._unlink(names)
        return len(names)

    def _unlink(self, names: list[str | None]) -> None:
        for each in names:
            if each is not None:
                with contextlib.suppress(OSError):
                    (self.values / each).unlink()

    def _seal(self, key: str, codec: str, data: tuple[bytes | memoryview, ...]) -> bytes:
        seal = hmac.new(self._secret, f"{key} {codec} ".encode(), "sha256")
        for each in data:
            seal.update(each)
        return seal.digest()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of what the block does, or nothing if it raises. Raises `StoreError`."""
        database = self._opened()
        with database.writing() as db:
            yield db
        database.tidy()

    def _reading(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return self._opened().reading()

    def _opened(self) -> Database:
        with self._lock:
            if self._database is None:
                made_private(self.folder)
                made_private(self.values)
                self._secret = _secret(self.values / "key")
                self._database = Database(self.folder, _LAYOUT, warn_seconds=WAIT_SECONDS, wait_seconds=WAIT_SECONDS)
            return self._database


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a task, as the cache knows it."""

    task: str
    key: str
    code: Fingerprint
    inputs: str  # JSON: a name, a digest and a description for each


class _Held(Deferred):
    """A value that was read already: what is damaged was to be found out before it was promised."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def value(self) -> object:
        return self._value


class _Entry:
    """What the cache knows of one call."""

    __slots__ = ("_keeping", "found", "note")

    def __init__(
        self, *, found: Deferred | None = None, note: str = "", keeping: Callable[[object], None] | None = None
    ) -> None:
        self.found = found
        self.note = note
        self._keeping = keeping

    def keep(self, value: object) -> None:
        if self._keeping is not None:
            self._keeping(value)


def _secret(path: Path) -> bytes:
    """The key of the folder, made by whoever comes first."""
    if not path.exists():
        half = path.with_name(f".key.{os.urandom(8).hex()}")
        try:
            half.touch(0o600)
            half.write_bytes(os.urandom(32))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(half)
        finally:
            half.unlink(missing_ok=True)
    return path.read_bytes()


def _drop_unused_code(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM codes WHERE digest NOT IN (SELECT code FROM results UNION SELECT code FROM misses)")


def _digests(inputs: list[list[str]]) -> dict[str, str]:
    return {name: digest for name, digest, _ in inputs}


def _input_changes(before: list[list[str]], after: list[list[str]]) -> Iterator[str]:
    """A sentence for each input that is another one."""
    old = {name: (digest, what) for name, digest, what in before}
    new = {name: (digest, what) for name, digest, what in after}
    for name in dict.fromkeys([*new, *old]):
        if name not in old:
            yield f"input {name!r} was not given, is {new[name][1]}"
        elif name not in new:
            yield f"input {name!r} was {old[name][1]}, is not given"
        elif old[name][0] != new[name][0]:
            was, now = old[name][1], new[name][1]
            yield f"input {name!r} was {was}, is {now}" if was != now else f"input {name!r} is {now} of other content"
