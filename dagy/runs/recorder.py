"""Keeps a run while it goes: what `dagy.engine.keeping` asks of a recorder.

One thread a run reads the run's events in batches and commits them a few times a second, together with the results
that tasks returned; a task's own thread only adds to a list, or writes a large result to its file. What one batch holds
is in the history as a whole or not at all, and no event is there without the results that were kept before it.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dagy.engine import Event, HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.engine.log import OUTPUT_LIMIT, EventLog
from dagy.errors import ResumeError, StoreError, UnknownRunError, sentence
from dagy.program import Program
from dagy.runs.beginnings import FILE_NAME as BEGINNINGS_NAME
from dagy.runs.beginnings import Beginnings, Begun, forget
from dagy.runs.code import add_code, functions_of
from dagy.runs.database import insert, insert_fast, storable
from dagy.runs.event_json import bundle_json
from dagy.runs.faults import point
from dagy.runs.output import FILE_NAME as OUTPUT_NAME
from dagy.runs.output import OutputFile
from dagy.runs.owners import HELD_HERE, LEASE_SECONDS, this_process
from dagy.runs.recovery import recover
from dagy.runs.results import Kept, is_small, kept, kept_small
from dagy.runs.schema import DISPLAY, HOOK, ITEM, OUTPUT, RUN, STATES, TASK
from dagy.runs.specs import spec_json
from dagy.runs.store import Store
from dagy.states import State, StateType
from dagy.version import __version__

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger(__name__)

BATCH_SECONDS = 0.02  # what comes within this time is committed together
IDLE_SECONDS = 0.2  # how long an event may lie unseen; a result is seen at once
RENEW_SECONDS = 10  # how often a lease is renewed

_Row = tuple[object, ...]

_NUMBERS = {id(state): number for state, number in STATES.items()}  # by identity: to hash a state takes long
_PLAIN_CHANGE = "events (run, seq, at, kind, task, attempt, state)"
_RESULT = "results (run, task, item, attempt, codec, value, name, size)"


class _Rows(NamedTuple):
    """Events as rows of their table: the values of plain changes one after the other, and the others whole."""

    plain_changes: list[object]
    others: list[_Row]


class RunRecorder:
    """Keeps one run in the history in `local_dir`. With `resumed_from` the run goes on where that one ended.

    `clock` gives nanoseconds since the epoch.
    """

    def __init__(
        self, local_dir: Path, *, resumed_from: str | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._local_dir = local_dir
        self._resumed_from = resumed_from
        self._clock = clock
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._is_awake = False
        self._has_ended = False
        self._is_over = False
        self._failure: StoreError | None = None
        self._kept: deque[tuple[str, int | None, int, object]] = deque()
        self._seen = 0  # how many events of the log are in the history
        self._lease_renewed = 0.0

    def begin(
        self,
        run_id: str,
        program: Program,
        parameters: Mapping[str, Any],
        log: EventLog,
        give_up: Callable[[StoreError], None],
    ) -> None:
        """Put the run into the history, durably. Raises `StoreError`; `ResumeError` if another run goes on already."""
        self._run_id = run_id
        self._program = program
        self._log = log
        self._give_up = give_up
        self._numbers = {task.id: number for number, task in enumerate(program.spec.tasks)}
        self._states = [STATES[StateType.PENDING]] * len(self._numbers)  # the number of each task's
        self._counts = [0] * len(STATES)  # how many tasks are in a state, by its number
        self._counts[STATES[StateType.PENDING]] = len(self._numbers)
        self._state, self._message = StateType.RUNNING, ""
        self._written: Counter[str] = Counter()  # characters of output in the events of a task
        self._store = Store(self._local_dir)
        try:
            self._folder = self._store.run_folder(run_id)
            self._output = OutputFile(self._folder / OUTPUT_NAME)
            recover(self._store, self._clock)
            HELD_HERE.add(run_id)
            self._add_run(parameters)
            self._beginnings = Beginnings(self._folder / BEGINNINGS_NAME, len(self._numbers))
            threading.Thread(target=self._serve, name=f"dagy-{run_id}-recorder", daemon=True).start()
        except BaseException:
            HELD_HERE.discard(run_id)
            self._store.close()
            raise

    def begin_attempt(self, task: str) -> None:
        """Write down that the code of the task has begun, at once."""
        self._beginnings.note(self._numbers[task], Begun.BEGUN)

    def keep(self, task: str, item: int | None, attempt: int, value: object) -> None:
        """Keep what an attempt returned. Raises `StoreError`."""
        self._check()
        if item is None:
            self._beginnings.note(self._numbers[task], Begun.RETURNED)
        if not is_small(value):
            name = f"results/{self._numbers[task]}-{_item(item)}-{attempt}"
            value = kept(value, self._folder, name, called=f"the result of {task!r}")
            point("recorder.kept_file")
        self._kept.append((task, item, attempt, value))
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()

    def write(self, at: int, task: str, attempt: int, stream: str, text: str) -> None:
        """Keep what a task wrote; it is on the disk a moment later. When that fails the run is given up."""
        try:
            self._output.write(at, task, attempt, stream, text)
        except StoreError as error:
            self._fail(error)

    def end(self, state: State, at: int, value: object) -> None:
        """Put the end of the run into the history, durably. Raises `StoreError`.

        `value` is what the flow returned; it follows from the results of tasks, and is not kept once more.
        """
        with self._flushing:
            try:
                self._check()
                point("recorder.before_end")
                self._flush((state, at))
                point("recorder.after_end")
            except StoreError as error:
                self._failure = error
                raise
            except Exception as error:
                self._failure = self._as_store_error(error)
                raise self._failure from error
            finally:
                self._has_ended = True
                HELD_HERE.discard(self._run_id)

    def close(self) -> None:
        """Put the last events into the history, and let go of it."""
        with self._flushing:
            try:
                if self._failure is None and self._has_ended:
                    self._flush_rest()
            except Exception as error:  # noqa: BLE001 (the run's end is kept already)
                self._failure = self._as_store_error(error)
                logger.warning("the last events of run %s are not in the history: %s", self._run_id, self._failure)
            finally:
                HELD_HERE.discard(self._run_id)
                if self._has_ended and self._failure is None:
                    forget(self._folder / BEGINNINGS_NAME)
                self._is_over = True
                self._wake.set()

    # ---- the thread

    def _serve(self) -> None:
        try:
            while not self._is_over:
                self._wake.wait(IDLE_SECONDS)
                if self._wake.is_set() and not self._is_over:
                    time.sleep(BATCH_SECONDS)
                    self._is_awake = False
                    self._wake.clear()
                with self._flushing:
                    if self._is_over or self._failure is not None:
                        break
                    self._flush_if_due()
        except Exception as error:  # noqa: BLE001 (whatever it is, the run must not go on unrecorded)
            self._fail(self._as_store_error(error))
        self._let_go()

    def _flush_if_due(self) -> None:
        is_due = len(self._log) > self._seen or self._kept or time.monotonic() > self._lease_renewed + RENEW_SECONDS
        if is_due and not self._has_ended:
            self._flush()
            self._store.tidy()
        else:
            self._output.flush()

    def _let_go(self) -> None:
        try:
            self._output.close()
            self._beginnings.close()
            self._store.tidy()
            self._store.close()
        except StoreError as error:
            logger.warning("run %s: %s", self._run_id, error)

    def _check(self) -> None:
        """Raise what went wrong before, if something did."""
        if self._failure is not None:
            raise self._failure

    def _as_store_error(self, error: Exception) -> StoreError:
        """`error` as what a recorder may raise; one that is no `StoreError` yet is a defect of ours, and is logged."""
        if isinstance(error, StoreError):
            return error
        logger.error("run %s can't be recorded", self._run_id, exc_info=error)
        return StoreError(f"run {self._run_id!r} can't be recorded: {sentence(error)}")

    def _fail(self, error: StoreError) -> None:
        if self._failure is None:
            self._failure = error
            HELD_HERE.discard(self._run_id)
            self._give_up(error)

    # ---- what goes into the history

    def _add_run(self, parameters: Mapping[str, Any]) -> None:
        spec = self._program.spec
        now = self._clock()
        owner = this_process()
        json_text = spec_json(spec)
        digest = hashlib.sha256(json_text.encode()).hexdigest()
        values = [
            (name, kept(value, self._folder, f"parameters/{number}", called=name))
            for number, (name, value) in enumerate(parameters.items())
        ]
        functions = functions_of(self._program)  # before a task can change what they reach
        point("recorder.before_begin")
        with self._store.writing(durable=True) as db:
            if self._resumed_from is not None:
                _claim(db, self._resumed_from, self._run_id)
            db.execute("INSERT OR IGNORE INTO specs VALUES (?, ?)", (digest, json_text))
            row = (
                self._run_id, storable(spec.name), storable(spec.version), digest, len(spec.tasks),
                STATES[StateType.RUNNING], "", now, now, self._resumed_from,
                owner.host, owner.boot, owner.pids, owner.pid, owner.pid_started,
                1, now + LEASE_SECONDS * 1_000_000_000, __version__, sys.version.split()[0],
            )  # fmt: skip
            added = db.execute(
                "INSERT INTO runs (run_id, flow, version, spec, tasks, state, message, created_at, started_at, "
                "resumed_from, host, boot, pids, pid, pid_started, fence, lease_until, dagy, python) "
                f"VALUES ({', '.join('?' * len(row))})",
                row,
            )
            self._id = added.lastrowid or 0
            self._fence = 1
            add_code(db, self._id, functions)
            insert(db, "parameters", [(self._id, storable(name), *value) for name, value in values])
        point("recorder.after_begin")
        self._lease_renewed = time.monotonic()

    def _flush(self, end: tuple[State, int] | None = None) -> None:
        """Commit what has come since the last time; with `end`, all there is and the end of the run."""
        events = self._log.since(self._seen)
        results = [self._kept.popleft() for _ in range(len(self._kept))]  # after the events: none without its result
        self._output.flush()
        rows = self._rows(events)
        if end is not None:  # the log says so later, with another number if a hook fails meanwhile
            rows.others.append(self._row(RunChanged(self._seen + len(events), end[1], end[0])))
        with self._store.writing(durable=end is not None) as db:
            point("recorder.in_batch")
            self._hold_on(db, None if end is None else end[1])
            insert_fast(db, _RESULT, "(?1, {}, {}, {}, {}, {}, {}, {})", self._id, self._result_values(results))
            insert_fast(db, _PLAIN_CHANGE, f"(?1, {{}}, {{}}, {TASK}, {{}}, {{}}, {{}})", self._id, rows.plain_changes)
            insert(db, "events", rows.others)
            counts = [(self._id, state, tasks) for state, tasks in enumerate(self._counts) if tasks or events]
            db.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?, ?)", counts)
            point("recorder.before_commit")
        point("recorder.after_commit")
        self._seen += len(events)
        self._lease_renewed = time.monotonic()

    def _flush_rest(self) -> None:
        """Commit the events that came after the end, the end's own among them: it may have another number now."""
        rows = [self._row(each) for each in self._log.since(self._seen)]
        with self._store.writing() as db:
            insert(db, "events", rows, instead=True)

    def _hold_on(self, db: sqlite3.Connection, ended_at: int | None) -> None:
        """Renew the lease and write the run's state; `StoreError` if another process has taken the run over."""
        lease = None if ended_at is not None else self._clock() + LEASE_SECONDS * 1_000_000_000
        done = db.execute(
            "UPDATE runs SET lease_until = ?, state = ?, message = ?, ended_at = ? "
            "WHERE id = ? AND fence = ? AND ended_at IS NULL",
            (lease, STATES[self._state], storable(self._message), ended_at, self._id, self._fence),
        )
        if done.rowcount != 1:
            raise StoreError(f"run {self._run_id!r} was taken over by another process, which found this one gone")

    def _rows(self, events: list[Event]) -> _Rows:
        """The events as rows. Most are a task's new state without a message, so these cost as little as may be."""
        plain: list[object] = []
        others: list[_Row] = []
        numbers, states, counts = self._numbers, self._states, self._counts
        for event in events:
            if type(event) is TaskChanged:
                seq, at, task, attempt, state, _ = event
                number = numbers[task]
                reached = _NUMBERS[id(state.type)]
                counts[states[number]] -= 1
                counts[reached] += 1
                states[number] = reached
                if not state.message:
                    plain += (seq, at, number, attempt, reached)
                    continue
            others.append(self._row(event))
        return _Rows(plain, others)

    def _row(self, event: Event) -> _Row:
        run, numbers = self._id, self._numbers
        match event:
            case TaskChanged(seq, at, task, attempt, state):
                told = storable(state.message) or None
                return (run, seq, at, TASK, numbers[task], None, attempt, STATES[state.type], told, None)
            case ItemChanged(seq, at, task, item, attempt, state):
                message = storable(state.message) or None
                return (run, seq, at, ITEM, numbers[task], item, attempt, STATES[state.type], message, None)
            case RunChanged(seq, at, state):
                self._state, self._message = state.type, state.message
                return (run, seq, at, RUN, None, None, None, STATES[state.type], storable(state.message) or None, None)
            case TaskWrote(seq, at, task, attempt, stream, text, _):
                self._written[task] += len(text)
                if self._written[task] > OUTPUT_LIMIT:
                    text = ""  # the run's output file has it
                return (run, seq, at, OUTPUT, numbers[task], None, attempt, None, storable(text), storable(stream))
            case TaskShowed(seq, at, task, attempt, data, metadata):
                return (run, seq, at, DISPLAY, numbers[task], None, attempt, None, None, bundle_json(data, metadata))
            case HookFailed(seq, at, hooked, hook, error):
                number = None if hooked is None else numbers[hooked]
                told = storable(sentence(error))
                return (run, seq, at, HOOK, number, None, None, None, told, storable(hook))
            case _:
                raise AssertionError(f"no such event: {event!r}")

    def _result_values(self, results: list[tuple[str, int | None, int, object]]) -> list[object]:
        values: list[object] = []
        for task, item, attempt, value in results:
            values += (self._numbers[task], -1 if item is None else item, attempt)
            values += value if type(value) is Kept else kept_small(value)
        return values


def _claim(db: sqlite3.Connection, run_id: str, by: str) -> None:
    """Let the run `by` go on where `run_id` ended; `ResumeError` if another run does so already."""
    row = db.execute("SELECT ended_at, resumed_by FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise UnknownRunError(run_id)
    ended_at, resumed_by = row
    if ended_at is None:
        raise ResumeError(f"run {run_id!r} is still running")
    if resumed_by is not None:
        raise ResumeError(f"run {run_id!r} is resumed by run {resumed_by!r} already")
    db.execute("UPDATE runs SET resumed_by = ? WHERE run_id = ?", (by, run_id))


def _item(item: int | None) -> str:
    return "all" if item is None else str(item)
