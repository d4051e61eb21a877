"""What must hold for every run in the history, whatever happened to the processes that wrote it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagy.errors import IllegalTransitionError, StoreError
from dagy.runs.recovery import orphans
from dagy.runs.results import recorded_results
from dagy.runs.schema import ITEM, RUN, STATE_OF, TASK
from dagy.runs.store import Store
from dagy.states import StateType, check_move

if TYPE_CHECKING:
    import sqlite3


def violations(store: Store, now: int) -> Iterator[str]:
    """A sentence for each thing that is not as it must be; none for a sound history. Raises `StoreError`.

    No run is without a living owner and yet not ended; what is final stays so; states follow one another as they may,
    and their numbers have no gap; what completed has its result, whole; no result that a run recorded was computed
    again by the run that went on with it.
    """
    for orphan in orphans(store, now):
        yield f"run {orphan.run_id!r} has not ended, and {orphan.reason}"
    with store.reading() as db:
        for (problem,) in db.execute("PRAGMA integrity_check"):
            if problem != "ok":
                yield f"the file is damaged: {problem}"
        numbers = [number for (number,) in db.execute("SELECT id FROM runs ORDER BY id")]
    for number in numbers:
        try:
            with store.reading() as db:
                yield from _of_run(store, db, number)
        except StoreError as error:
            yield f"run number {number}: {error}"


@dataclass
class _Path:
    """The states that something went through."""

    name: str
    state: StateType = StateType.PENDING
    attempt: int = 0
    faults: list[str] = field(default_factory=list)

    def move(self, state: StateType, attempt: int | None) -> None:
        try:
            check_move(self.name, self.state, state)
        except IllegalTransitionError as error:
            self.faults.append(str(error))
        self.state = state
        if attempt is not None:
            if attempt not in (self.attempt, self.attempt + 1):
                self.faults.append(f"{self.name}: attempt {attempt} follows attempt {self.attempt}")
            self.attempt = attempt


def _of_run(store: Store, db: sqlite3.Connection, number: int) -> Iterator[str]:
    run_id, state, ended_at, lease_until, resumed_from, resumed_by, spec = db.execute(
        "SELECT run_id, state, ended_at, lease_until, resumed_from, resumed_by, json "
        "FROM runs LEFT JOIN specs ON spec = digest WHERE id = ?",
        (number,),
    ).fetchone()
    of = f"run {run_id!r}"
    if spec is None:
        yield f"{of}: its flow is missing"
        return
    tasks = json.loads(spec).get("tasks", [])
    run = _Path(of)
    paths: dict[tuple[int, int | None], _Path] = {}
    for seq, (found, kind, task, item, attempt, reached) in enumerate(
        db.execute("SELECT seq, kind, task, item, attempt, state FROM events WHERE run = ? ORDER BY seq", (number,))
    ):
        if found != seq:
            yield f"{of}: event {seq} is missing"
            return
        if kind == RUN:
            run.move(STATE_OF[reached], None)
        elif run.state.is_final:
            yield f"{of}: event {seq} comes after its end"
        elif kind in (TASK, ITEM):
            name = f"{of}: {tasks[task]['id']!r}{'' if item is None else f' [{item}]'}"
            paths.setdefault((task, item), _Path(name)).move(STATE_OF[reached], attempt)
    for each in (run, *paths.values()):
        yield from each.faults
    is_over = ended_at is not None
    if is_over and (run.state is not STATE_OF[state] or not run.state.is_final):
        yield f"{of} is {STATE_OF[state]}, but its events end with {run.state}"
    if is_over and lease_until is not None:
        yield f"{of} has ended, and yet has a lease"
    yield from _of_tasks(store, db, number, of, tasks, paths, is_over=is_over)
    yield from _of_resume(store, db, number, run_id, resumed_from, resumed_by, paths)


def _of_tasks(
    store: Store,
    db: sqlite3.Connection,
    number: int,
    of: str,
    tasks: list[dict[str, Any]],
    paths: dict[tuple[int, int | None], _Path],
    *,
    is_over: bool,
) -> Iterator[str]:
    for place, task in enumerate(tasks):
        path = paths.get((place, None))
        if is_over and (path is None or not path.state.is_final):
            yield f"{of} has ended, and its task {task['id']!r} has not"
    counts = Counter(path.state for (_, item), path in paths.items() if item is None)
    counts[StateType.PENDING] += len(tasks) - sum(counts.values())
    rows = db.execute("SELECT state, tasks FROM counts WHERE run = ?", (number,))
    told = {STATE_OF[state]: count for state, count in rows}
    if told and +counts != +Counter(told):
        yield f"{of}: the numbers of its tasks by state are wrong"
    kept = {
        (task, None if item < 0 else item): codec
        for task, item, codec in db.execute("SELECT task, item, codec FROM results WHERE run = ?", (number,))
    }
    for (place, item), path in paths.items():
        is_whole_map = item is None and tasks[place].get("mapped")
        if path.state is StateType.COMPLETED and path.attempt and (place, item) not in kept and not is_whole_map:
            yield f"{path.name} completed, and its result is not there"
    run_id = db.execute("SELECT run_id FROM runs WHERE id = ?", (number,)).fetchone()[0]
    for each in recorded_results(db, number, store.run_folder(run_id)).values():
        if not each.is_whole:
            yield f"{of}: {each.what} is missing or cut off"


def _of_resume(
    store: Store,
    db: sqlite3.Connection,
    number: int,
    run_id: str,
    resumed_from: str | None,
    resumed_by: str | None,
    paths: dict[tuple[int, int | None], _Path],
) -> Iterator[str]:
    if (
        resumed_by is not None
        and not db.execute("SELECT 1 FROM runs WHERE run_id = ? AND resumed_from = ?", (resumed_by, run_id)).fetchone()
    ):
        yield f"run {run_id!r} is said to be resumed by {resumed_by!r}, which does not say so"
    while resumed_from is not None:
        row = db.execute("SELECT id, resumed_from FROM runs WHERE run_id = ?", (resumed_from,)).fetchone()
        if row is None:
            yield f"run {run_id!r} goes on with {resumed_from!r}, which is not there"
            return
        for place, item in recorded_results(db, row[0], store.run_folder(resumed_from)):
            again = paths.get((place, item))
            if again is not None and again.attempt:
                yield f"{again.name} ran again, although run {resumed_from!r} had recorded its result"
        resumed_from = row[1]
