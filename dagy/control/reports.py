"""What workers tell of their runs: events in order, each kept once, and from them where the run and its tasks stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.claims import LEASE_SECONDS, held
from dagy.control.columns import EPOCH
from dagy.control.ending import change, end_tasks, keep_events
from dagy.control.names import checked_json
from dagy.control.pages import checked_limit
from dagy.control.records import Renewal, Report
from dagy.control.runs import run_number, state_type
from dagy.errors import ConflictError, IllegalTransitionError, ParameterError, shown
from dagy.spec import Json
from dagy.states import StateType, check_move
from dagy.values import is_json

if TYPE_CHECKING:
    from dagy.control.store import AnyRow


_TASKS = tables.task_runs.c
_EVENTS = tables.events.c
_AT_ONCE = 500  # tasks that are asked for in one statement
_ENDS = frozenset(each.value for each in StateType if each.is_final)
_LATEST_TIME = 253_402_300_799 * 10**9  # nanoseconds: the end of the year 9999


def checked_report(report: Report) -> Report:
    """`report`, whose events are in order and without gaps among themselves. Raises `ParameterError`."""
    if not isinstance(report, Report):
        raise ParameterError(f"a report is a Report, not {shown(report)}")
    numbers = [each.get("seq") if isinstance(each, Mapping) else None for each in report.events]
    for before, number in zip([None, *numbers], numbers, strict=False):
        if type(number) is not int or number < 0 or (before is not None and number != before + 1):
            raise ParameterError(f"a report's events are numbered one by one, and {shown(number)} follows {before}")
    told = [dict(each) for each in report.events]
    if not is_json(told):
        raise ParameterError("a report's events are JSON; write them with dagy.runs.event_json")
    for each in told:
        _check_event(each)
    status = None if report.status is None else state_type(report.status)
    if status is StateType.PENDING or (status is StateType.QUEUED and (report.events or report.has_result)):
        raise ParameterError(f"a run that a worker tells of is running or has ended; it can't be {status}")
    if not isinstance(report.message, str):
        raise ParameterError(f"a report's message is a text, not {shown(report.message)}")
    if report.has_result:
        checked_json("the result", report.result)
    return Report(tuple(told), status, report.message, report.result if report.has_result else None, report.has_result)


def take(db: Connection, now: datetime, run_id: str, fence: int, report: Report) -> Renewal:
    """Keep what a checked report tells that is new, and renew the lease, which is never made shorter.

    Raises `ConflictError` for events that leave some out, for more of a run that has ended, and as `claims.held`.
    """
    row = held(db, run_id, fence)
    first = report.events[0]["seq"] if report.events else row.events
    if first > row.events:
        raise ConflictError(
            f"run {row.run_id!r} has {row.events} events, and the report begins with number {first}; "
            f"report those from {row.events} on first"
        )
    new = [dict(each) for each in report.events[row.events - first :]]
    if StateType(row.status).is_final:
        if new or report.status not in (None, StateType(row.status)):
            raise ConflictError(f"run {row.run_id!r} has ended {row.status}, and nothing follows an end")
        return Renewal(now, row.cancel_reason)
    until = max(now + timedelta(seconds=LEASE_SECONDS), row.lease_until or now)
    changes: dict[str, object] = {}
    if report.status is StateType.QUEUED:
        if row.started_at is not None:
            raise ConflictError(f"run {row.run_id!r} has begun: it is {row.status}, and can't be QUEUED again")
        changes = {"message": report.message}
    elif new or report.status is not None:
        changes = _advanced(db, now, row, new, report)
    change(db, row.id, **{"lease_until": until} | changes)
    return Renewal(until, row.cancel_reason)


def events(db: Connection, reference: str, *, since: int, limit: int) -> list[dict[str, Json]]:
    """The run's events from number `since` on, at most so many. Raises `UnknownRunError`."""
    checked_limit(limit)
    if type(since) is not int or not 0 <= since < 2**62:
        raise ParameterError(f"since is the number of an event, from 0 on, not {shown(since)}")
    wanted = sa.select(_EVENTS.first, _EVENTS.batch).where(
        _EVENTS.run == run_number(db, reference), _EVENTS.last >= since, _EVENTS.first < since + limit
    )
    found: list[dict[str, Json]] = []
    for first, batch in db.execute(wanted.order_by(_EVENTS.last)):
        found += json.loads(batch)[max(0, since - first) :]
    return found[:limit]


def _advanced(
    db: Connection, now: datetime, row: AnyRow, new: list[dict[str, Json]], report: Report
) -> dict[str, object]:
    """Keep the events, and bring the tasks to where these say that they stand; what the report changes of the run."""
    before = StateType(row.status)
    if before is StateType.QUEUED:  # whatever the first report says, the run has begun
        before = StateType.RUNNING
    status = before if report.status is None else StateType(report.status)
    if status is not before:
        try:
            check_move(row.run_id, before, status)
        except IllegalTransitionError as error:
            raise ConflictError(f"run {row.run_id!r} can't go from {before} to {status}") from error
    keep_events(db, row.id, row.events, new)
    counts = _fold(db, row.id, row.tasks, new)
    started_at = row.started_at or now
    ended_at = max(started_at, min(now, _end(new) or now))
    if status.is_final:
        counts = end_tasks(db, ended_at, row.id, status, counts)
    changes: dict[str, object] = {
        "status": status.value,
        "started_at": started_at,
        "events": row.events + len(new),
        "tasks": counts,
    }
    if report.status is not None:
        changes["message"] = report.message
    if status.is_final:
        changes |= {"ended_at": ended_at, "lease_until": None}
    if report.has_result:
        changes |= {"result": report.result, "has_result": True}
    return changes


def _end(new: list[dict[str, Json]]) -> datetime | None:
    """When the run ended by its own events, which may be long before somebody reports them."""
    ends = [each["at"] for each in new if each["kind"] == "run" and each.get("state") in _ENDS]
    return _time(ends[-1]) if ends else None


def _fold(db: Connection, number: int, counts: Mapping[str, int], new: list[dict[str, Json]]) -> dict[str, int]:
    """Bring the tasks that the events tell of up to date; how many tasks are in each state then.

    A task that has ended stays as it is, whatever is told of it after.
    """
    told: dict[str, list[dict[str, Json]]] = {}
    for event in new:
        if event["kind"] == "task":
            told.setdefault(event["task"], []).append(event)
    known = _known_tasks(db, number, list(told))
    counts = dict(counts)
    changed: dict[bool, list[dict[str, Json]]] = {True: [], False: []}  # those that have a row, and those that have not
    for task, changes in told.items():
        row = known.get(task)
        status = StateType.PENDING if row is None else StateType(row.status)
        if status.is_final:
            continue
        started_at = None if row is None else row.started_at
        for each in changes:
            if started_at is None and each["state"] == StateType.RUNNING:
                started_at = _time(each["at"])
            last = each
            if StateType(each["state"]).is_final:
                break
        ended = StateType(last["state"])
        _count(counts, status, ended)
        changed[row is not None].append(
            {
                "of_run": number,
                "of_task": task,
                "status": ended.value,
                "message": last.get("message", ""),
                "attempt": last["attempt"],
                "started_at": started_at,
                "ended_at": _time(last["at"]) if ended.is_final else None,
            }
        )
    if changed[False]:
        db.execute(
            sa.insert(tables.task_runs),
            [{"run": each.pop("of_run"), "task": each.pop("of_task")} | each for each in changed[False]],
        )
    if changed[True]:
        db.execute(
            sa.update(tables.task_runs).where(
                _TASKS.run == sa.bindparam("of_run"), _TASKS.task == sa.bindparam("of_task")
            ),
            changed[True],
        )
    return counts


def _known_tasks(db: Connection, number: int, tasks: list[str]) -> dict[str, AnyRow]:
    found = {}
    for start in range(0, len(tasks), _AT_ONCE):
        wanted = sa.select(_TASKS.task, _TASKS.status, _TASKS.started_at).where(
            _TASKS.run == number, _TASKS.task.in_(tasks[start : start + _AT_ONCE])
        )
        found.update({row.task: row for row in db.execute(wanted)})
    return found


def _count(counts: dict[str, int], before: StateType, after: StateType) -> None:
    """One task has gone from one state to another."""
    left = counts.get(before.value, 0) - 1
    if left > 0:
        counts[before.value] = left
    else:
        counts.pop(before.value, None)
    counts[after.value] = counts.get(after.value, 0) + 1


def _time(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at // 1000)


def _check_event(event: Mapping[str, Json]) -> None:
    kind, at = event.get("kind"), event.get("at")
    if not isinstance(kind, str) or type(at) is not int or not 0 <= at <= _LATEST_TIME:
        raise ParameterError(f"event {event['seq']} has no kind, or no time in nanoseconds: {shown(dict(event))}")
    if kind == "task":
        state_type(event.get("state", ""))
        attempt = event.get("attempt")
        is_number = type(attempt) is int and 0 <= attempt < 2**31
        if not isinstance(event.get("task"), str) or not is_number or not isinstance(event.get("message", ""), str):
            raise ParameterError(f"event {event['seq']} does not tell of a task: {shown(dict(event))}")
