"""Who runs what: a run is claimed by one worker, stays its own by a lease, and is taken back when the worker is gone.

A claimed run is still QUEUED until its worker reports for the first time, and before that nothing of it may have
happened. Each claim has a fence, a number that grows: a worker that lost a run without knowing can't report, because
its number is the older one.

What runs elsewhere, by another executor than a worker's own processes, goes on without its worker, and is claimed by
the next one.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.ending import change, end
from dagy.control.names import checked_name
from dagy.control.records import LOCAL, Claim, Renewal, RunInfo, reference_of
from dagy.control.runs import may_name_a_run, numbered
from dagy.errors import ConflictError, ParameterError, StoreError, UnknownRunError, shown
from dagy.runs.owners import Owner, is_alive, owner_from_text
from dagy.states import StateType

if TYPE_CHECKING:
    from dagy.control.store import AnyRow


LEASE_SECONDS = 60.0  # how long a worker is trusted that is heard of no more
MOST_TRIES = 3  # workers that may take on a run and be gone before they report
LONGEST_LEASE = 86_400.0  # seconds

_RUNS = tables.runs.c
_OPEN = [each.value for each in StateType if not each.is_final]
_WAITING = sa.select(_RUNS.id, _RUNS.fence, _RUNS.tries, _RUNS.events).where(
    _RUNS.status.in_(_OPEN), _RUNS.worker.is_(None)
)
_OLDEST = _WAITING.order_by(_RUNS.id).limit(1).with_for_update(skip_locked=True)
_MINE = sa.select(_RUNS.id, _RUNS.fence, _RUNS.lease_until, _RUNS.events).where(_RUNS.claim == sa.bindparam("token"))
_HELD = (
    sa.select(
        _RUNS.id,
        _RUNS.run_id,
        _RUNS.namespace,
        _RUNS.deployment,
        _RUNS.status,
        _RUNS.worker,
        _RUNS.lease_until,
        _RUNS.fence,
        _RUNS.tries,
        _RUNS.events,
        _RUNS.tasks,
        _RUNS.started_at,
        _RUNS.cancel_reason,
        _RUNS.executor,
    )
    .where(_RUNS.run_id == sa.bindparam("name"))
    .with_for_update()
)


@dataclass(frozen=True, slots=True)
class Lost:
    """A run whose worker is gone, as it was found."""

    number: int  # in the store
    run_id: str
    fence: int
    events: int
    lease_until: datetime | None
    reason: str


def waiting(db: Connection) -> bool:
    """Whether a run waits for a worker."""
    return db.execute(_WAITING.limit(1)).first() is not None


def claim(db: Connection, now: datetime, worker: str, token: str, lease_seconds: float) -> Claim | None:
    """The run that has waited longest, now the worker's; None when none waits.

    `token` tells this claim from any other: the same one, begun again because its answer was lost, is the same claim.
    """
    checked_name("worker", worker, slashes=True)
    until = now + _lease(lease_seconds)
    mine = db.execute(_MINE, {"token": token}).first()
    if mine is not None and mine.lease_until is not None:
        return Claim(numbered(db, mine.id), mine.fence, mine.lease_until, mine.events)
    row = db.execute(_OLDEST).first()
    if row is None:
        return None
    change(
        db, row.id, worker=worker, claim=token, fence=row.fence + 1, tries=row.tries + 1, lease_until=until, message=""
    )
    return Claim(numbered(db, row.id), row.fence + 1, until, row.events)


def renew(db: Connection, now: datetime, run_id: str, fence: int, lease_seconds: float) -> Renewal:
    """The run stays the worker's so much longer. Errors as `held`."""
    until = now + _lease(lease_seconds)
    row = held(db, run_id, fence)
    if not StateType(row.status).is_final:
        change(db, row.id, lease_until=until)
    return Renewal(until, row.cancel_reason)


def held(db: Connection, run_id: str, fence: int) -> AnyRow:
    """The run's row, locked, for the worker that holds it.

    Raises `UnknownRunError`, and `ConflictError` when another worker has taken the run on since.
    """
    row = db.execute(_HELD, {"name": run_id}).first() if may_name_a_run(run_id) else None
    if row is None:
        raise UnknownRunError(run_id)
    if type(fence) is not int or row.fence != fence or row.worker is None:
        raise ConflictError(
            f"run {row.run_id!r} is not this worker's any more (it holds fence {shown(fence)}, and the newest is "
            f"{row.fence}); stop working on it"
        )
    return row


def lost(db: Connection, now: datetime) -> list[Lost]:
    """The runs whose workers are gone: on this machine by their processes, elsewhere by their leases.

    A worker of this machine that lives keeps a run that it has begun, however late it is. One that it has not begun
    when the lease is over is not its own any more: it may never have heard that its claim was granted.
    """
    wanted = sa.select(
        _RUNS.id, _RUNS.run_id, _RUNS.fence, _RUNS.events, _RUNS.worker, _RUNS.lease_until, _RUNS.started_at
    ).where(_RUNS.status.in_(_OPEN), _RUNS.worker.is_not(None))
    return [
        Lost(row.id, row.run_id, row.fence, row.events, row.lease_until, reason)
        for row in db.execute(wanted)
        if (reason := _why_gone(row, now))
    ]


def take_back(db: Connection, now: datetime, found: Lost) -> RunInfo | None:
    """Have the run wait for another worker if nothing of it was reported, else end it; None if that was done already.

    What ran may have had effects, so it is never begun again by itself. What runs elsewhere is not begun again by
    another worker but followed, so it waits for one in any case.
    """
    row = db.execute(_HELD, {"name": found.run_id}).one()
    is_open = not StateType(row.status).is_final and row.worker is not None
    if not is_open or (row.fence, row.events, row.lease_until) != (found.fence, found.events, found.lease_until):
        return None
    if row.executor != LOCAL:
        change(db, row.id, worker=None, claim=None, lease_until=None, message=f"waits to be followed: {found.reason}")
    elif row.cancel_reason is not None:
        end(db, now, row.id, StateType.CANCELLED, row.cancel_reason)
    elif row.started_at is not None:
        named = shlex.quote(reference_of(row.namespace, row.deployment))
        again = f"see what it did, then run it again with: dagy run {named}"
        end(db, now, row.id, StateType.CRASHED, f"{found.reason}; {again}")
    elif row.tries >= MOST_TRIES:
        end(db, now, row.id, StateType.CRASHED, f"{found.reason}, the {_nth(row.tries)} that took it on")
    else:
        change(db, row.id, worker=None, claim=None, lease_until=None, message=f"waits again: {found.reason}")
    change(db, row.id, fence=row.fence + 1)
    return numbered(db, row.id)


def _lease(seconds: float) -> timedelta:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_LEASE:
        raise ParameterError(f"a lease is of more than 0 and up to {LONGEST_LEASE:g} seconds, not {shown(seconds)}")
    return timedelta(seconds=seconds)


def _why_gone(row: AnyRow, now: datetime) -> str:
    """Why the worker will not go on with the run; empty when it does, or may."""
    owner = _owner(row.worker)
    is_over = row.lease_until is not None and row.lease_until < now
    match is_alive(owner) if owner is not None else "unseen":
        case "yes":
            return "its worker did not begin it before its lease ended" if is_over and row.started_at is None else ""
        case "no":
            return f"its worker (process {owner.pid}) is gone" if owner else ""
        case _:
            machine = owner.host.partition("/")[0] if owner else row.worker
            return f"nothing was heard of its worker on {machine!r} since its lease ended" if is_over else ""


def _owner(worker: str) -> Owner | None:
    """The process that the worker is; None for one that is named otherwise."""
    try:
        return owner_from_text(worker)
    except StoreError:
        return None


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
