"""What readers ask of the history: which runs there are, how they went, what was written, what was returned.

Asking runs no code of the user's: a result that is more than JSON is only read when its value is asked for.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagy.engine import Event, HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.errors import UnknownRunError, UnknownTaskError
from dagy.runs.database import storable, text_of
from dagy.runs.output import FILE_NAME as OUTPUT_NAME
from dagy.runs.output import Written, read_output
from dagy.runs.owners import Owner
from dagy.runs.recorded_error import RecordedError
from dagy.runs.recovery import opened, recover
from dagy.runs.results import Kept, RecordedValue
from dagy.runs.schema import DISPLAY, HOOK, ITEM, OUTPUT, RUN, STATE_OF, STATES, TASK
from dagy.runs.store import FILE_NAME, Store, files_folder
from dagy.spec import FlowSpec
from dagy.states import State, StateType

if TYPE_CHECKING:
    import sqlite3

_RUNNING = STATES[StateType.RUNNING]
_MOST = 2**63 - 1  # that SQLite can count
LATEST = "latest"  # what names the newest run


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the history has it. Times are seconds since the epoch."""

    run_id: str
    flow_name: str
    version: str
    state: State
    tasks: Mapping[StateType, int]  # how many are in each state
    started_at: float
    ended_at: float | None  # None: it has not ended
    owner: Owner
    resumed_from: str | None
    resumed_by: str | None
    dagy_version: str
    python_version: str
    number: int  # of its row

    @property
    def status(self) -> StateType:
        """The type of its state."""
        return self.state.type

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on. Never negative, whatever was done to the clock."""
        return None if self.ended_at is None else max(0.0, self.ended_at - self.started_at)


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task of a run as the history has it. Times are seconds since the epoch; None: it never started, or goes on."""

    id: str
    name: str
    state: State
    attempt: int
    started_at: float | None
    ended_at: float | None

    @property
    def seconds(self) -> float | None:
        """How long it took, all attempts and waits included; None when it never started or goes on."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)


class History:
    """The history in `local_dir`; empty when there is none. Raises `StoreError` when it can't be read.

    Runs whose process is gone are brought to their end first, where the history can be written; `recovered` names them.
    """

    def __init__(self, local_dir: Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._local_dir = local_dir
        self._store: Store | None = None
        self.recovered: list[str] = []
        if not (local_dir / FILE_NAME).exists():
            return
        self._store, self.recovered = opened(local_dir, clock)

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file."""
        if self._store is not None:
            self._store.close()

    def runs(
        self, *, limit: int | None = 20, flow: str | None = None, status: StateType | None = None
    ) -> list[RunRecord]:
        """The newest runs first, at most `limit`."""
        wanted: list[tuple[str, object]] = []
        if flow is not None:
            wanted.append(("flow = ?", storable(flow)))
        if status is not None:
            wanted.append(("state = ?", STATES[status]))
        where = f"WHERE {' AND '.join(each for each, _ in wanted)}" if wanted else ""
        most = -1 if limit is None else min(limit, _MOST)
        return self._records(f"{where} ORDER BY id DESC LIMIT ?", [*(each for _, each in wanted), most])

    def run(self, reference: str = LATEST) -> RunRecord:
        """The run with that id, or whose id alone begins or ends so, or the newest. Raises `UnknownRunError`."""
        found = self.runs(limit=1) if reference == LATEST else self._records("WHERE run_id = ?", [storable(reference)])
        if not found and reference and reference != LATEST:
            found = self._records(
                "WHERE run_id >= ? AND run_id < ? ORDER BY id DESC LIMIT 6",
                [storable(reference), storable(reference + "\U0010ffff")],
            ) or self._records(
                "WHERE substr(run_id, -length(?1)) = ?1 ORDER BY id DESC LIMIT 6", [storable("-" + reference)]
            )
        if len(found) != 1:
            known = [each.run_id for each in found or self.runs(limit=200)]
            raise UnknownRunError(reference, known if found else _nearest(reference, known))
        return found[0]

    def has(self, run_id: str) -> bool:
        """Whether there is a run of exactly that id."""
        return bool(self._records("WHERE run_id = ?", [storable(run_id)]))

    def spec(self, run_id: str) -> FlowSpec:
        """The flow that ran. Raises `SpecError` when a newer dagy has written it."""
        with self.reading() as db:
            return FlowSpec.model_validate_json(_spec_json(db, self._number(db, run_id)))

    def tasks(self, run_id: str) -> list[TaskRecord]:
        """Where each task of the run stands, in the order of the flow."""
        with self.reading() as db:
            run = self._number(db, run_id)
            specs = _tasks(db, run)
            last: dict[int, tuple[int, int, int, str | bytes | None]] = {}
            started: dict[int, int] = {}
            for task, at, attempt, number, message in db.execute(
                "SELECT task, at, attempt, state, message FROM events WHERE run = ? AND kind = ? ORDER BY seq",
                (run, TASK),
            ):
                last[task] = (at, attempt, number, message)
                if number == _RUNNING:
                    started.setdefault(task, at)
            return [_task(each, last.get(place), started.get(place)) for place, each in enumerate(specs)]

    def events(self, run_id: str, *, since: int = 0) -> list[Event]:
        """The run's events from number `since` on, as its own readers got them.

        Of a task that wrote very much the later output is empty here; `output` has all of it. An error that a hook
        raised is a `RecordedError`.
        """
        with self.reading() as db:
            run = self._number(db, run_id)
            ids = [each["id"] for each in _tasks(db, run)]
            rows = db.execute(
                "SELECT kind, seq, at, task, item, attempt, state, message, detail FROM events "
                "WHERE run = ? AND seq >= ? ORDER BY seq",
                (run, since),
            ).fetchall()
            return [_event(ids, *row) for row in rows]

    def output(self, run_id: str, *, task: str | None = None, follow: bool = False) -> Iterator[Written]:
        """All that the run's tasks wrote, or one of them, oldest first; with `follow` until the run has ended.

        Raises `UnknownTaskError`.
        """
        with self.reading() as db:
            run = self._number(db, run_id)
            known = [each["id"] for each in _tasks(db, run)]
        if task is not None and task not in known:
            raise UnknownTaskError(task, known, where=f"run {run_id!r}")
        if self._store is None:
            return
        path = self._store.run_folder(run_id) / OUTPUT_NAME
        for each in read_output(path, is_over=functools.partial(self._is_over, run_id) if follow else None):
            if task is None or each.task == task:
                yield each

    def results(self, run_id: str) -> dict[str, RecordedValue]:
        """What each task returned, by id, of those that completed as a whole; its value is read when asked for."""
        with self.reading() as db:
            run = self._number(db, run_id)
            ids = [each["id"] for each in _tasks(db, run)]
            rows = db.execute(
                "SELECT task, codec, value, name, size FROM results WHERE run = ? AND item = -1 ORDER BY task, attempt",
                (run,),
            ).fetchall()
            folder = self.folder(run_id)
            return {
                ids[task]: RecordedValue(Kept(*kept), folder, f"the result of {ids[task]!r} in run {run_id!r}")
                for task, *kept in rows
            }

    def parameters(self, run_id: str) -> dict[str, RecordedValue]:
        """What the run was given, by name; each value is read when asked for."""
        with self.reading() as db:
            run = self._number(db, run_id)
            rows = db.execute(
                "SELECT parameter, codec, value, name, size FROM parameters WHERE run = ?", (run,)
            ).fetchall()
        folder = self.folder(run_id)
        return {
            text_of(name): RecordedValue(Kept(*kept), folder, f"the parameter {text_of(name)!r} of run {run_id!r}")
            for name, *kept in rows
        }

    def reading(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """The tables as they are at one moment, for who knows them."""
        if self._store is None:
            raise UnknownRunError(LATEST)
        return self._store.reading()

    def folder(self, run_id: str) -> Path:
        """Where the run's files are."""
        if self._store is None:
            raise UnknownRunError(run_id)
        return self._store.run_folder(run_id)

    def written_files(self, run_id: str) -> Path | None:
        """The folder with the files that a deployed run wrote where it worked; None when there are none."""
        folder = files_folder(self._local_dir, run_id)
        return folder if folder.is_dir() and any(folder.iterdir()) else None

    def _is_over(self, run_id: str) -> bool:
        if self._store is not None and self._store.can_write:
            recover(self._store, self._clock)
        return self.run(run_id).ended_at is not None

    def _number(self, db: sqlite3.Connection, run_id: str) -> int:
        row = db.execute("SELECT id FROM runs WHERE run_id = ?", (storable(run_id),)).fetchone()
        if row is None:
            raise UnknownRunError(run_id)
        return int(row[0])

    def _records(self, where: str, values: list[object]) -> list[RunRecord]:
        if self._store is None:
            return []
        with self._store.reading() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM runs {where}", values).fetchall()
            return [_record(db, row) for row in rows]


_COLUMNS = (
    "id, run_id, flow, version, state, message, started_at, ended_at, resumed_from, resumed_by, dagy, python, tasks, "
    "host, boot, pids, pid, pid_started"
)


def _record(db: sqlite3.Connection, row: tuple[Any, ...]) -> RunRecord:
    (number, run_id, flow, version, state, message, started_at, ended_at, resumed_from, resumed_by, dagy, python, tasks,
     *owner) = row  # fmt: skip
    counts = {
        STATE_OF[each]: count
        for each, count in db.execute("SELECT state, tasks FROM counts WHERE run = ? ORDER BY state", (number,))
        if count
    }
    if tasks > sum(counts.values()):  # nothing has happened to them yet
        counts[StateType.PENDING] = counts.get(StateType.PENDING, 0) + tasks - sum(counts.values())
    return RunRecord(
        run_id=run_id,
        flow_name=text_of(flow),
        version=text_of(version),
        state=State(STATE_OF[state], text_of(message)),
        tasks=counts,
        started_at=started_at / 1e9,
        ended_at=None if ended_at is None else ended_at / 1e9,
        owner=Owner(*owner),
        resumed_from=resumed_from,
        resumed_by=resumed_by,
        dagy_version=dagy,
        python_version=python,
        number=number,
    )


def _task(
    spec: dict[str, Any], last: tuple[int, int, int, str | bytes | None] | None, started_at: int | None
) -> TaskRecord:
    """The task, after its last change: (at, attempt, state, message)."""
    if last is None:
        return TaskRecord(spec["id"], spec["name"], State(StateType.PENDING), 0, None, None)
    at, attempt, number, message = last
    state = State(STATE_OF[number], text_of(message))
    ended_at = at / 1e9 if state.is_final else None
    return TaskRecord(
        spec["id"], spec["name"], state, attempt, None if started_at is None else started_at / 1e9, ended_at
    )


def _spec_json(db: sqlite3.Connection, run: int) -> str:
    row = db.execute("SELECT json FROM specs JOIN runs ON spec = digest WHERE id = ?", (run,)).fetchone()
    return "{}" if row is None else str(row[0])


def _tasks(db: sqlite3.Connection, run: int) -> list[dict[str, Any]]:
    """The tasks of the run's flow, as plain dicts: ids and names are all that most readers need of it."""
    tasks: list[dict[str, Any]] = json.loads(_spec_json(db, run)).get("tasks", [])
    return tasks


def _event(
    ids: list[str], kind: int, seq: int, at: int, task: int | None, item: int | None, attempt: int | None,
    state: int | None, message: str | bytes | None, detail: str | bytes | None,
) -> Event:  # fmt: skip
    text = text_of(message)
    name = "" if task is None else ids[task]
    tries = attempt or 0
    match kind:
        case k if k == TASK and state is not None:
            return TaskChanged(seq, at, name, tries, State(STATE_OF[state], text))
        case k if k == ITEM and state is not None and item is not None:
            return ItemChanged(seq, at, name, item, tries, State(STATE_OF[state], text))
        case k if k == RUN and state is not None:
            return RunChanged(seq, at, State(STATE_OF[state], text))
        case k if k == OUTPUT:
            return TaskWrote(seq, at, name, tries, text_of(detail), text)
        case k if k == DISPLAY:
            bundle = json.loads(text_of(detail))
            return TaskShowed(seq, at, name, tries, bundle["data"], bundle["metadata"])
        case k if k == HOOK:
            return HookFailed(seq, at, name or None, text_of(detail), RecordedError(text))
        case _:
            raise ValueError(f"event {seq} is of no known kind: {kind}")


def _nearest(reference: str, known: list[str]) -> list[str]:
    close = difflib.get_close_matches(reference, known, n=3, cutoff=0.5)
    return close or known[:3]
