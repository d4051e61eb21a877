"""How a run ends: its tasks end with it, and whoever follows its events sees the end.

Where no worker says so, because the run was cancelled while it waited, or because its worker is gone, the last events
are written here in the worker's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.columns import EPOCH
from dagy.control.record_json import json_text
from dagy.errors import ParameterError
from dagy.spec import Json
from dagy.states import StateType

_EVENTS_OF_A_ROW = 500

_RUNS = tables.runs.c
_TASKS = tables.task_runs.c
_CHANGE = sa.update(tables.runs).where(_RUNS.id == sa.bindparam("of_run"))
_UNFINISHED = _TASKS.status.not_in([each.value for each in StateType if each.is_final])


def end(db: Connection, now: datetime, number: int, status: StateType, message: str) -> None:
    """End the run with that number in the store, and every task of it, with the events that tell so."""
    row = db.execute(sa.select(_RUNS.events, _RUNS.tasks).where(_RUNS.id == number)).one()
    state, why = _of_tasks(status)
    told: list[dict[str, Json]] = [
        {"kind": "task", "task": task, "attempt": attempt, "state": state.value, "message": why}
        for task, attempt in db.execute(sa.select(_TASKS.task, _TASKS.attempt).where(_TASKS.run == number, _UNFINISHED))
    ]
    told.append({"kind": "run", "state": status.value} | ({"message": message} if message else {}))
    at = (now - EPOCH) // timedelta(microseconds=1) * 1000
    keep_events(
        db, number, row.events, [each | {"seq": row.events + place, "at": at} for place, each in enumerate(told)]
    )
    change(
        db,
        number,
        status=status.value,
        message=message,
        ended_at=now,
        lease_until=None,
        events=row.events + len(told),
        tasks=end_tasks(db, now, number, status, row.tasks),
    )


def change(db: Connection, number: int, **values: object) -> None:
    """Set columns of the run with that number in the store."""
    db.execute(_CHANGE, {"of_run": number} | values)


def end_tasks(
    db: Connection, now: datetime, number: int, status: StateType, before: Mapping[str, int]
) -> dict[str, int]:
    """End the tasks of a run that ends so; how many are in each state then. What never began was cancelled."""
    state, why = _of_tasks(status)
    db.execute(
        sa.update(tables.task_runs)
        .where(_TASKS.run == number, _UNFINISHED)
        .values(status=state.value, message=why, ended_at=now)
    )
    counted = sa.select(_TASKS.status, sa.func.count()).where(_TASKS.run == number).group_by(_TASKS.status)
    counts = {str(name): int(count) for name, count in db.execute(counted)}
    never = sum(before.values()) - sum(counts.values())
    if never > 0:
        counts[StateType.CANCELLED.value] = counts.get(StateType.CANCELLED.value, 0) + never
    return counts


def keep_events(db: Connection, number: int, first: int, told: Sequence[Mapping[str, Json]]) -> None:
    """Write down events that are numbered from `first` on. Raises `ParameterError` for what is no JSON."""
    rows = []
    for start in range(0, len(told), _EVENTS_OF_A_ROW):
        batch = list(told[start : start + _EVENTS_OF_A_ROW])
        last = first + start + len(batch) - 1
        try:
            text = json_text(batch)
        except ValueError as error:  # a number of thousands of digits
            raise ParameterError(f"an event can't be written as JSON: {error}") from error
        rows.append({"run": number, "first": first + start, "last": last, "batch": text})
    if rows:
        db.execute(sa.insert(tables.events), rows)


def _of_tasks(status: StateType) -> tuple[StateType, str]:
    """How a task that has not ended does when its run ends so, and why."""
    if status is StateType.CRASHED:
        return StateType.CRASHED, "its process died"
    return StateType.CANCELLED, "the run ended"
