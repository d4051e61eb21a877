"""Schedules: when deployments run by themselves.

A time that is due becomes one run, whoever looks and however often: the run is made and the schedule moved on in one
transaction, and the run's idempotency key is made of the schedule and the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.deployments import deployment_row
from dagy.control.names import digest
from dagy.control.record_json import to_json
from dagy.control.records import RunInfo, Schedule, Timing, reference_of
from dagy.control.runs import SCHEDULE_KEY, Request, create, is_free, request, run
from dagy.control.signatures import checked_parameters
from dagy.control.timing import checked_timing, due_after, step
from dagy.errors import DagyError, ParameterError, StoreError, UnknownScheduleError, sentence, shown
from dagy.runs.faults import point
from dagy.spec import Json

if TYPE_CHECKING:
    from dagy.control.store import AnyRow


_SCHEDULES = tables.schedules.c
_DEPLOYMENTS = tables.deployments.c
_ALL = (
    sa.select(
        tables.schedules,
        _DEPLOYMENTS.namespace,
        _DEPLOYMENTS.name,
        tables.flows.c.name.label("flow_name"),
    )
    .join_from(tables.schedules, tables.deployments, _DEPLOYMENTS.id == _SCHEDULES.deployment)
    .join(tables.flows, tables.flows.c.id == _DEPLOYMENTS.flow)
)


def put(
    db: Connection,
    now: datetime,
    schedule_id: str,
    of: str,
    timing: Timing,
    *,
    parameters: Mapping[str, Json],
    implicit: bool,
    enabled: bool,
) -> Schedule:
    """Make a schedule of the deployment that `of` names, under this id.

    A deployment has one that is implicit, which is changed where it is there.

    Raises `UnknownDeploymentError`, and `ParameterError` for a timing or parameters that can't be.
    """
    _check_flag("implicit", implicit)
    _check_flag("enabled", enabled)
    timing = checked_timing(timing)
    deployment = deployment_row(db, of)
    called = f"deployment {deployment.name!r}"
    checked_parameters(called, deployment.signature, parameters, all_given=False)
    checked_parameters(called, deployment.signature, deployment.parameters | dict(parameters))
    same = _SCHEDULES.schedule_id == schedule_id
    if implicit:
        same = sa.or_(same, sa.and_(_SCHEDULES.deployment == deployment.id, _SCHEDULES.is_implicit))
    known = db.execute(_ALL.where(same)).first()
    made_at = now if known is None else known.created_at
    values: dict[str, object] = {"timing": to_json(timing), "parameters": dict(parameters)}
    if known is None or known.timing != values["timing"]:  # else a deploy would switch on what somebody switched off
        next_run_at = _first_due(timing, now, made_at) if enabled else None
        values |= {"enabled": enabled, "next_run_at": next_run_at, "last_error": None}
    if known is None:
        values |= {
            "schedule_id": schedule_id,
            "deployment": deployment.id,
            "is_implicit": implicit or None,
            "created_at": now,
        }
        db.execute(sa.insert(tables.schedules).values(values))
    else:
        schedule_id = known.schedule_id
        db.execute(sa.update(tables.schedules).where(_SCHEDULES.schedule_id == schedule_id).values(values))
    return schedule(db, schedule_id)


def schedules(db: Connection, *, deployment: str | None) -> list[Schedule]:
    """All schedules, or those of a deployment, the oldest first. Raises `UnknownDeploymentError`."""
    wanted = _ALL.order_by(_SCHEDULES.id)
    if deployment is not None:
        wanted = wanted.where(_SCHEDULES.deployment == deployment_row(db, deployment).id)
    return [_schedule(row) for row in db.execute(wanted)]


def schedule(db: Connection, schedule_id: str) -> Schedule:
    """The schedule. Raises `UnknownScheduleError`."""
    return _schedule(_row(db, schedule_id))


def set_enabled(db: Connection, now: datetime, schedule_id: str, *, enabled: bool) -> Schedule:
    """Let the schedule be due from now on, or not any more. What was due meanwhile is not caught up with.

    Raises `UnknownScheduleError`.
    """
    _check_flag("enabled", enabled)
    known = _schedule(_row(db, schedule_id))
    if known.enabled != enabled:
        next_run_at = due_after(known.timing, now, made_at=known.created_at) if enabled else None
        db.execute(_change(schedule_id).values(enabled=enabled, next_run_at=next_run_at))
    return schedule(db, schedule_id)


def delete(db: Connection, schedule_id: str) -> None:
    """Take the schedule away; its runs stay. Raises `UnknownScheduleError`."""
    _row(db, schedule_id)
    db.execute(sa.delete(tables.schedules).where(_SCHEDULES.schedule_id == schedule_id))


def trigger(db: Connection, now: datetime, schedule_id: str, run_id: str) -> RunInfo:
    """A run of the schedule's deployment under this id, now; when it is due by itself stays as it is.

    Raises `UnknownScheduleError`, and `ParameterError` when its parameters do not fit the flow any more.
    """
    row = _row(db, schedule_id)
    made = create(db, now, _request(db, row, None), run_id)
    db.execute(_change(schedule_id).values(last_triggered_at=now, last_run_id=made.run_id, last_error=None))
    return made


def next_due(db: Connection) -> datetime | None:
    """When the next schedule is due; None when none will be."""
    return db.execute(sa.select(sa.func.min(_SCHEDULES.next_run_at)).where(_SCHEDULES.enabled)).scalar()


def due(db: Connection, now: datetime) -> str | None:
    """The flow's name of the schedule that has been due for longest; None when none is due."""
    row = _due(db, now)
    return None if row is None else str(row.flow_name)


def tick(db: Connection, now: datetime, run_id: str) -> list[RunInfo]:
    """Move on the schedule that has been due for longest, and make its run, under this id; the run, if one was made.

    A schedule whose run can't be made says so in `last_error`, and is moved on as well.
    """
    if not is_free(db, run_id):  # it was made, and the answer was lost on its way
        return [run(db, run_id)]
    row = _due(db, now, lock=True)
    if row is None:
        return []
    timing = _timing(row.timing)
    meant, following = step(timing, row.next_run_at, now, made_at=row.created_at)
    changes: dict[str, object] = {"next_run_at": following}
    made = []
    if meant is not None:
        changes["last_triggered_at"] = now
        try:
            made = [create(db, now, _request(db, row, meant), run_id)]
        except StoreError:
            raise
        except DagyError as error:
            changes["last_error"] = sentence(error)
        else:
            changes |= {"last_run_id": made[0].run_id, "last_error": None}
    point("schedules.made")
    db.execute(_change(row.schedule_id).values(changes))
    return made


def flow_name(db: Connection, schedule_id: str) -> str:
    """The name of the flow that the schedule runs. Raises `UnknownScheduleError`."""
    return str(_row(db, schedule_id).flow_name)


def _request(db: Connection, row: AnyRow, meant: datetime | None) -> Request:
    """What a schedule asks for, for the time that is meant."""
    asked = request(db, reference_of(row.namespace, row.name), row.parameters)
    key = None if meant is None else f"{SCHEDULE_KEY}{row.schedule_id}:{meant.isoformat()}"
    return replace(
        asked,
        digest=digest(key),  # a time that is due is one run, whatever the schedule's parameters are by now
        trigger="schedule",
        idempotency_key=key,
        schedule_id=row.schedule_id,
        scheduled_for=meant,
    )


def _first_due(timing: Timing, now: datetime, made_at: datetime) -> datetime | None:
    found = due_after(timing, now, made_at=made_at)
    if found is None and timing.mode != "manual":
        raise ParameterError("this schedule is never due: its time, or its end_at, is past; give a later one")
    return found


def _row(db: Connection, schedule_id: str) -> AnyRow:
    if not isinstance(schedule_id, str):
        raise ParameterError(f"a schedule is named by a text, not {shown(schedule_id)}")
    is_one = schedule_id.isascii() and "\0" not in schedule_id  # ids are made by us
    row = db.execute(_ALL.where(_SCHEDULES.schedule_id == schedule_id)).first() if is_one else None
    if row is None:
        known = db.execute(sa.select(_SCHEDULES.schedule_id).order_by(_SCHEDULES.id).limit(200)).scalars()
        raise UnknownScheduleError(schedule_id, known)
    return row


def _due(db: Connection, now: datetime, *, lock: bool = False) -> AnyRow | None:
    wanted = _ALL.where(_SCHEDULES.enabled, _SCHEDULES.next_run_at <= now).order_by(_SCHEDULES.next_run_at).limit(1)
    return db.execute(wanted.with_for_update(skip_locked=True, of=tables.schedules) if lock else wanted).first()


def _change(schedule_id: str) -> sa.Update:
    return sa.update(tables.schedules).where(_SCHEDULES.schedule_id == schedule_id)


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ParameterError(f"{name} is True or False, not {shown(value)}")


def _timing(kept: Mapping[str, Any]) -> Timing:
    """The timing that `to_json` made of one that was checked."""
    times = {name: datetime.fromisoformat(kept[name]) for name in ("at", "start_at", "end_at") if kept[name]}
    return Timing(**{**kept, **times})


def _schedule(row: AnyRow) -> Schedule:
    return Schedule(
        row.schedule_id,
        row.namespace,
        row.name,
        _timing(row.timing),
        row.parameters,
        row.enabled,
        bool(row.is_implicit),
        row.next_run_at,
        row.last_triggered_at,
        row.last_run_id,
        row.last_error,
        row.created_at,
    )
