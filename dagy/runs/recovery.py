"""Runs whose process is gone come to an end: CRASHED, with the reason, and every task of theirs with them.

Whoever opens the history does this first. It may itself be killed at any time, and several processes may do it at once:
a run is brought to its end in one transaction, and only by who finds it as the dead owner left it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.errors import SpecError, StoreError
from dagy.runs.beginnings import FILE_NAME as BEGINNINGS_NAME
from dagy.runs.beginnings import Begun, forget, read_beginnings
from dagy.runs.database import insert, storable
from dagy.runs.faults import point
from dagy.runs.owners import LEASE_SECONDS, Owner, why_gone
from dagy.runs.schema import ITEM, RUN, STATE_OF, STATES, TASK
from dagy.runs.store import Store
from dagy.spec import FlowSpec
from dagy.states import State, StateType, cancelled, completed, crashed, running, skipped

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger(__name__)

_UNFINISHED = (
    "SELECT id, run_id, fence, lease_until, created_at, host, boot, pids, pid, pid_started FROM runs "
    "WHERE ended_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Orphan:
    """A run that has not ended, and whose owner is gone."""

    id: int
    run_id: str
    fence: int
    last_sign: int  # nanoseconds since the epoch
    reason: str


def orphans(store: Store, now: int) -> list[Orphan]:
    """The runs that nobody will go on with, as things are at `now`. Raises `StoreError`."""
    found = []
    with store.reading() as db:
        for number, run_id, fence, lease_until, created_at, *owner in db.execute(_UNFINISHED):
            reason = why_gone(run_id, Owner(*owner), lease_until=lease_until, created_at=created_at, now=now)
            if reason:
                renewed = created_at if lease_until is None else lease_until - LEASE_SECONDS * 1_000_000_000
                found.append(Orphan(number, run_id, fence, max(created_at, renewed), reason))
    return found


def recover(store: Store, clock: Callable[[], int]) -> list[str]:
    """End the runs that nobody will go on with; their ids. Raises `StoreError`."""
    return [each.run_id for each in orphans(store, clock()) if end(store, each)]


def opened(local_dir: Path, clock: Callable[[], int]) -> tuple[Store, list[str]]:
    """The history in `local_dir`, and the ids of the runs that were ended because nobody will go on with them.

    Where it can't be written it can only be read, and nothing is ended. Raises `StoreError` when it can't be read.
    """
    try:
        store = Store(local_dir)
    except StoreError:
        return Store(local_dir, write=False), []
    try:
        return store, recover(store, clock)
    except StoreError:
        store.close()
        return Store(local_dir, write=False), []


def end(store: Store, orphan: Orphan) -> bool:
    """End the run; False if its owner or somebody else did so meanwhile. Raises `StoreError`."""
    beginnings = store.run_folder(orphan.run_id) / BEGINNINGS_NAME
    with store.sound(), store.writing(durable=True) as db:
        has_ended = _end(db, orphan, read_beginnings(beginnings))
        point("recovery.before_commit")
    forget(beginnings)
    point("recovery.after_commit")
    if has_ended:
        logger.info("run %s ended CRASHED: %s", orphan.run_id, orphan.reason)
    return has_ended


def _end(db: sqlite3.Connection, run: Orphan, begun: bytes) -> bool:
    taken = db.execute(
        "UPDATE runs SET fence = fence + 1, lease_until = NULL WHERE id = ? AND fence = ? AND ended_at IS NULL",
        (run.id, run.fence),
    )
    if taken.rowcount != 1:
        return False
    seq, last_at = db.execute("SELECT max(seq), max(at) FROM events WHERE run = ?", (run.id,)).fetchone()
    at = max(run.last_sign, last_at or 0)
    seq = -1 if seq is None else seq
    state = crashed(run.reason)
    rows: list[tuple[object, ...]] = []
    if seq < 0:
        rows.append((run.id, 0, at, RUN, None, None, None, STATES[StateType.RUNNING], None, None))
    for task, item, attempt, last in _ends(db, run.id, begun):
        kind = TASK if item is None else ITEM
        message = storable(last.message) or None
        rows.append((run.id, seq + 1 + len(rows), at, kind, task, item, attempt, STATES[last.type], message, None))
    number = STATES[state.type]
    rows.append((run.id, seq + 1 + len(rows), at, RUN, None, None, None, number, storable(state.message), None))
    insert(db, "events", rows)
    db.execute("DELETE FROM counts WHERE run = ?", (run.id,))
    db.execute(
        "INSERT INTO counts SELECT run, state, count(*) FROM "
        "(SELECT run, state, max(seq) FROM events WHERE run = ? AND kind = ? GROUP BY task) GROUP BY state",
        (run.id, TASK),
    )
    db.execute(
        "UPDATE runs SET state = ?, message = ?, ended_at = ? WHERE id = ?",
        (number, storable(state.message), at, run.id),
    )
    return True


def _ends(db: sqlite3.Connection, run: int, begun: bytes) -> list[tuple[int, int | None, int, State]]:
    """How each task and each item that has not ended does: (task, item, attempt, state), items before their task.

    `begun` tells of tasks which began so late that it is in no event.
    """
    last: dict[tuple[int, int | None], tuple[int, StateType]] = {}
    for task, item, attempt, state in db.execute(
        "SELECT task, item, attempt, state FROM events WHERE run = ? AND kind IN (?, ?) ORDER BY seq", (run, TASK, ITEM)
    ):
        last[task, item] = (attempt, STATE_OF[state])
    kept = {
        (task, None if item < 0 else item, attempt)
        for task, item, attempt in db.execute(
            "SELECT task, item, attempt FROM results WHERE run = ? AND codec IS NOT NULL", (run,)
        )
    }
    spec = _spec(db, run)
    ended: list[tuple[int, int | None, int, State]] = []
    bad: dict[int, str] = {}
    unseen = {task: each for task, each in enumerate(begun) if each and (task, None) not in last}
    for task, each in unseen.items():
        when = "as it began" if each == Begun.BEGUN else "before its result was kept"
        ended += [(task, None, 1, running()), (task, None, 1, crashed(f"its process died {when}"))]
        bad[task] = "crashed"
    for (task, item), (attempt, state) in sorted(last.items(), key=lambda each: (each[0][0], each[0][1] is None, each)):
        if not state.is_final:
            returned = state is StateType.RUNNING and (task, item, attempt) in kept
            how = completed("its result was kept, then the process died") if returned else crashed("its process died")
            ended.append((task, item, attempt, how))
            state = how.type
        if item is None and state is not StateType.COMPLETED:
            bad[task] = "crashed" if state is StateType.CRASHED else "did not complete"
    reasons = _skipped(spec, bad)
    for task in range(len(spec.tasks) if spec is not None else _tasks(db, run)):
        if (task, None) not in last and task not in unseen:
            reason = reasons.get(task)
            how = cancelled("not started: the process died") if reason is None else skipped(reason)
            ended.append((task, None, 0, how))
    return ended


def _skipped(spec: FlowSpec | None, bad: dict[int, str]) -> dict[int, str]:
    """Why each task that needs a bad one, directly or not, is skipped."""
    if spec is None:
        return {}
    numbers = {task.id: number for number, task in enumerate(spec.tasks)}
    downstream: dict[int, list[int]] = {}
    for task_id, needs in spec.needs.items():
        for need in needs:
            downstream.setdefault(numbers[need], []).append(numbers[task_id])
    reasons: dict[int, str] = {}
    todo = deque((number, f"not started, because {spec.tasks[number].id!r} {how}") for number, how in bad.items())
    while todo:
        number, reason = todo.popleft()
        for each in downstream.get(number, ()):
            if each not in reasons:
                reasons[each] = reason
                todo.append((each, reason))
    return reasons


def _spec(db: sqlite3.Connection, run: int) -> FlowSpec | None:
    """The run's flow; None when this version of dagy can't read it."""
    row = db.execute("SELECT json FROM specs JOIN runs ON spec = digest WHERE id = ?", (run,)).fetchone()
    try:
        return None if row is None else FlowSpec.model_validate_json(row[0])
    except SpecError:
        return None


def _tasks(db: sqlite3.Connection, run: int) -> int:
    return int(db.execute("SELECT tasks FROM runs WHERE id = ?", (run,)).fetchone()[0])
