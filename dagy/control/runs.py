"""Runs: asked for once each, found by what people remember of their ids, and cancelled.

An idempotency key names a request to a deployment. The same key with the same request is the same run, however often
it is sent; with another request it is refused. The key is kept with the run.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, get_args

import sqlalchemy as sa
from sqlalchemy import Connection

from dagy.control import tables
from dagy.control.deployments import deployment_row
from dagy.control.ending import change, end
from dagy.control.names import LONGEST_NAME, checked_json, checked_name, checked_tags, digest, split_reference
from dagy.control.pages import Page, checked_limit
from dagy.control.records import LOCAL, RunInfo, TaskRunInfo, Trigger
from dagy.control.signatures import checked_parameters
from dagy.errors import ConflictError, ParameterError, ResumeError, UnknownRunError, did_you_mean, shown
from dagy.spec import Json
from dagy.states import StateType

if TYPE_CHECKING:
    from dagy.control.store import AnyRow


LATEST = "latest"  # what names the newest run
SCHEDULE_KEY = "schedule:"  # how the keys of what schedules ask for begin
_ABSENT = object()

_RUNS = tables.runs.c
_FLOWS = tables.flows.c
_COLUMNS = [
    _RUNS.run_id,
    _RUNS.namespace,
    _RUNS.deployment,
    _FLOWS.name.label("flow_name"),
    _FLOWS.version,
    _FLOWS.revision,
    _FLOWS.code_hash,
    _FLOWS.artifact,
    _RUNS.parameters,
    _RUNS.status,
    _RUNS.message,
    _RUNS.tags,
    _RUNS.trigger,
    _RUNS.schedule_id,
    _RUNS.scheduled_for,
    _RUNS.idempotency_key,
    _RUNS.created_at,
    _RUNS.started_at,
    _RUNS.ended_at,
    _RUNS.worker,
    _RUNS.tries,
    _RUNS.cancel_reason,
    _RUNS.tasks,
    _RUNS.result,
    _RUNS.has_result,
    _RUNS.executor,
    _RUNS.resources,
    _RUNS.resumes,
]
_ALL = sa.select(*_COLUMNS).join(tables.flows, _FLOWS.id == _RUNS.flow)


@dataclass(frozen=True, slots=True)
class Request:
    """A run that is asked for, all of it checked. `create` may be called with it any number of times."""

    namespace: str
    deployment: str
    flow: int  # its number in the store
    flow_name: str
    flow_version: str
    revision: int
    code_hash: str
    artifact: str
    tasks: int  # how many the flow has
    parameters: Mapping[str, Json]  # with the deployment's own
    tags: Mapping[str, str]
    digest: str  # of what the caller gave
    trigger: Trigger = "api"
    idempotency_key: str | None = None
    schedule_id: str | None = None
    scheduled_for: datetime | None = None
    executor: str = LOCAL
    resources: Mapping[str, Json] = field(default_factory=dict)
    resumes: str | None = None


def request(
    db: Connection,
    reference: str,
    parameters: Mapping[str, Json],
    *,
    tags: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    resume: str | None = None,
) -> Request:
    """A run of the deployment with these parameters, and the deployment's for the others.

    One that is to `resume` a run has that run's parameters. Raises `UnknownDeploymentError`, `ParameterError` for what
    does not fit the flow, and as `_resumable`.
    """
    if idempotency_key is not None and checked_name("idempotency key", idempotency_key, slashes=True).startswith(
        SCHEDULE_KEY
    ):
        raise ParameterError(f"an idempotency key that begins with {SCHEDULE_KEY!r} is a schedule's; choose another")
    row = deployment_row(db, reference)
    resumes = None if resume is None else _resumable(db, row, resume, parameters)
    own = row.parameters if resumes is None else resumes.parameters
    all_given = {**own, **parameters} if isinstance(parameters, Mapping) else parameters
    checked = checked_parameters(f"deployment {row.name!r}", row.signature, all_given)
    own_tags = checked_tags({} if tags is None else tags)
    return Request(
        row.namespace,
        row.name,
        row.flow,
        row.flow_name,
        row.version,
        row.revision,
        row.code_hash,
        row.artifact,
        row.tasks,
        checked,
        row.tags | own_tags,
        digest([dict(parameters), own_tags, *([] if resumes is None else [resumes.run_id])]),
        idempotency_key=idempotency_key,
        executor=row.executor,
        resources=row.resources,
        resumes=None if resumes is None else resumes.run_id,
    )


def create(db: Connection, now: datetime, asked: Request, run_id: str) -> RunInfo:
    """The run that is asked for, QUEUED under this id; or the one that the same request has made before.

    Raises `ConflictError` when its idempotency key stands for another request.
    """
    made = db.execute(_ALL.where(_RUNS.run_id == run_id)).first()
    if made is not None:  # and the answer was lost on its way
        return _run_of(made)
    if asked.idempotency_key is not None:
        known = _keyed(db, asked)
        if known is not None and known.request != asked.digest:
            raise ConflictError(
                f"the idempotency key {asked.idempotency_key!r} stands for run {known.run_id!r}, which was asked for "
                "with other parameters or tags; give another key for another run"
            )
        if known is not None:
            return numbered(db, known.id)
    info = RunInfo(
        run_id,
        asked.namespace,
        asked.deployment,
        asked.flow_name,
        asked.flow_version,
        asked.revision,
        asked.code_hash,
        asked.artifact,
        parameters=asked.parameters,
        status=StateType.QUEUED,
        message="",
        tags=asked.tags,
        trigger=asked.trigger,
        schedule_id=asked.schedule_id,
        scheduled_for=asked.scheduled_for,
        idempotency_key=asked.idempotency_key,
        created_at=now,
        started_at=None,
        ended_at=None,
        worker=None,
        tries=0,
        cancel_reason=None,
        tasks={StateType.PENDING: asked.tasks} if asked.tasks else {},
        executor=asked.executor,
        resources=asked.resources,
        resumes=asked.resumes,
    )
    db.execute(
        sa.insert(tables.runs),
        {
            "run_id": run_id,
            "ending": _ending(run_id),
            "namespace": info.namespace,
            "deployment": info.deployment,
            "flow": asked.flow,
            "flow_name": info.flow_name,
            "parameters": info.parameters,
            "status": info.status.value,
            "message": "",
            "tags": info.tags,
            "trigger": info.trigger,
            "schedule_id": info.schedule_id,
            "scheduled_for": info.scheduled_for,
            "idempotency_key": info.idempotency_key,
            "request": asked.digest,
            "created_at": now,
            "fence": 0,
            "tries": 0,
            "tasks": info.tasks,
            "events": 0,
            "has_result": False,
            "executor": info.executor,
            "resources": info.resources,
            "resumes": info.resumes,
        },
    )
    return info


def take_over(
    db: Connection,
    now: datetime,
    reference: str,
    run_id: str,
    parameters: Mapping[str, Json],
    *,
    trigger: Trigger,
    started_at: datetime,
) -> RunInfo:
    """The run of the deployment that something else began under this id: RUNNING, and to be claimed by a worker.

    One that is known already stays as it is. Its parameters are taken as they are. Raises `UnknownDeploymentError`,
    `ConflictError` when the id is that of a run of another deployment, and `ParameterError`.
    """
    checked_name("run's id", run_id)
    if not may_name_a_run(run_id) or run_id == LATEST:
        raise ParameterError(f"a run's id is in ASCII, and not {LATEST!r}: {shown(run_id)}")
    if trigger not in get_args(Trigger):
        raise ParameterError(f"trigger is one of {', '.join(get_args(Trigger))}, not {shown(trigger)}")
    row = deployment_row(db, reference)
    if row.executor == LOCAL:
        raise ConflictError(f"the deployment {row.name!r} is run by workers alone, and none of them began {run_id!r}")
    known = None if is_free(db, run_id) else run(db, run_id)
    if known is not None:
        if (known.namespace, known.deployment) != (row.namespace, row.name):
            raise ConflictError(f"the run {run_id!r} is one of {known.reference!r}, not of {row.name!r}")
        return known
    asked = Request(
        row.namespace,
        row.name,
        row.flow,
        row.flow_name,
        row.version,
        row.revision,
        row.code_hash,
        row.artifact,
        row.tasks,
        dict(parameters),
        row.tags,
        digest(run_id),
        trigger,
        executor=row.executor,
        resources=row.resources,
    )
    checked_json("the parameters", asked.parameters)
    created = create(db, min(now, started_at), asked, run_id)
    number = run_number(db, run_id)
    change(db, number, status=StateType.RUNNING.value, started_at=created.created_at)
    return numbered(db, number)


def numbered(db: Connection, number: int) -> RunInfo:
    """The run with that number in the store."""
    return _run_of(db.execute(_ALL.where(_RUNS.id == number)).one())


def is_free(db: Connection, run_id: str) -> bool:
    """Whether no run has that id."""
    return db.execute(sa.select(_RUNS.id).where(_RUNS.run_id == run_id)).first() is None


def run_number(db: Connection, reference: str) -> int:
    """The number in the store of the run with that id, or whose id alone begins or ends so, or of the newest.

    Raises `UnknownRunError`.
    """
    if not isinstance(reference, str):
        raise ParameterError(f"a run is named by a text, not {shown(reference)}")
    found = _meant(db, reference)
    if len(found) != 1:
        raise UnknownRunError(reference, [row.run_id for row in found] or _nearest(db, reference))
    return int(found[0].id)


def run(db: Connection, reference: str) -> RunInfo:
    """The run. Errors as `run_number`."""
    return numbered(db, run_number(db, reference))


def runs(
    db: Connection, *, deployment: str | None, flow: str | None, status: str | None, limit: int, after: str | None
) -> Page[RunInfo]:
    """The runs that fit, the newest first; also those of a deployment that was deleted."""
    wanted = _ALL.order_by(_RUNS.id.desc())
    if deployment is not None:
        namespace, name = split_reference(deployment)
        wanted = wanted.where(_RUNS.deployment == name)
        if namespace is not None:
            wanted = wanted.where(_RUNS.namespace == namespace)
    if flow is not None:
        wanted = wanted.where(_RUNS.flow_name == checked_name("flow", flow))
    if status is not None:
        wanted = wanted.where(_RUNS.status == state_type(status).value)
    if after is not None:
        number = (
            db.execute(sa.select(_RUNS.id).where(_RUNS.run_id == after)).scalar() if may_name_a_run(after) else None
        )
        if number is None:
            raise UnknownRunError(after)
        wanted = wanted.where(_RUNS.id < number)
    rows = db.execute(wanted.limit(checked_limit(limit) + 1)).all()
    return Page(tuple(map(_run_of, rows[:limit])), rows[limit - 1].run_id if len(rows) > limit else None)


def cancel(db: Connection, now: datetime, reference: str, reason: str) -> RunInfo:
    """Have the run cancelled: at once if nobody has begun it, else its worker learns of it. One that has ended stays.

    What may go on elsewhere without a worker waits for the next one, which stops it.

    Raises `UnknownRunError`.
    """
    if not isinstance(reason, str):
        raise ParameterError(f"the reason to cancel a run is a text, not {shown(reason)}")
    number = run_number(db, reference)
    row = db.execute(
        sa.select(_RUNS.status, _RUNS.worker, _RUNS.cancel_reason, _RUNS.executor, _RUNS.tries)
        .where(_RUNS.id == number)
        .with_for_update()
    ).one()
    if not StateType(row.status).is_final:
        if row.cancel_reason is None:
            change(db, number, cancel_reason=reason)
        was_begun = row.status != StateType.QUEUED.value or row.tries > 0
        if row.worker is None and not (was_begun and row.executor != LOCAL):
            end(db, now, number, StateType.CANCELLED, reason)
    return numbered(db, number)


def task_runs(db: Connection, reference: str) -> list[TaskRunInfo]:
    """Every task of the run, in the order of the flow. Raises `UnknownRunError`."""
    number = run_number(db, reference)
    run = db.execute(
        sa.select(_RUNS.run_id, _RUNS.status, _FLOWS.spec)
        .join(tables.flows, _FLOWS.id == _RUNS.flow)
        .where(_RUNS.id == number)
    ).one()
    found = {row.task: row for row in db.execute(sa.select(tables.task_runs).where(tables.task_runs.c.run == number))}
    has_ended = StateType(run.status).is_final
    never = (StateType.CANCELLED, "not started: the run ended") if has_ended else (StateType.PENDING, "")
    listed = []
    for task in json.loads(run.spec)["tasks"]:
        row = found.get(task["id"])
        told = (*never, 0, None, None) if row is None else (StateType(row.status), *row[3:])
        listed.append(TaskRunInfo(run.run_id, task["id"], task["name"], *told))
    return listed


def _resumable(db: Connection, row: AnyRow, reference: str, parameters: Mapping[str, Json]) -> RunInfo:
    """The run that a run of the deployment in `row` can go on with.

    Raises `UnknownRunError`, and `ResumeError` when there is nothing left to do, or things are not as they were.
    """
    before = run(db, reference)
    named, anew = f"run {before.run_id!r}", f"dagy run {shlex.quote(before.reference)}"
    if (before.namespace, before.deployment) != (row.namespace, row.name):
        raise ResumeError(f"{named} is one of {before.reference!r}; resume it with: dagy runs resume {before.run_id}")
    if row.executor == LOCAL or before.executor == LOCAL:
        raise ResumeError(
            f"{named} can't be resumed: what a worker runs in its own processes is begun anew, with: {anew}"
        )
    if not before.status.is_final:
        raise ResumeError(f"{named} is still {before.status}; wait until it ends, or cancel it")
    if before.status is StateType.COMPLETED:
        raise ResumeError(f"{named} has completed; there is nothing left to do")
    if before.code_hash != row.code_hash:
        raise ResumeError(
            f"{named} ran the code with the build id {before.code_hash[:12]}, and the deployment stands for other code "
            f"now ({row.code_hash[:12]}), whose results may differ; run it anew: {anew}"
        )
    others = [name for name, value in parameters.items() if before.parameters.get(name, _ABSENT) != value]
    if others:
        raise ResumeError(
            f"{named} had another value for {', '.join(map(repr, others))}; a run that is resumed keeps its parameters"
        )
    return before


def _run_of(row: AnyRow) -> RunInfo:
    """The run that a row of `_ALL` tells of."""
    values = dict(row._mapping)
    tasks = {StateType(name): count for name, count in values.pop("tasks").items()}
    status = StateType(values.pop("status"))
    values["flow_version"] = values.pop("version")
    return RunInfo(**values, tasks=tasks, status=status)


def state_type(status: str) -> StateType:
    """The state of that name. Raises `ParameterError`."""
    try:
        return StateType(status)
    except ValueError:
        known = [each.value for each in StateType]
        hint = did_you_mean(status.upper(), known) if isinstance(status, str) else ""
        raise ParameterError(f"there is no state {shown(status)}{hint or '; there are ' + ', '.join(known)}") from None


def _keyed(db: Connection, asked: Request) -> AnyRow | None:
    """The run that has the key already."""
    wanted = sa.select(_RUNS.id, _RUNS.run_id, _RUNS.request).where(
        _RUNS.namespace == asked.namespace,
        _RUNS.deployment == asked.deployment,
        _RUNS.idempotency_key == asked.idempotency_key,
    )
    return db.execute(wanted).first()


def may_name_a_run(reference: object) -> bool:
    """Whether a run's id can be so: ids are made by us, of what is in ASCII."""
    return (
        isinstance(reference, str)
        and 0 < len(reference) <= LONGEST_NAME
        and reference.isascii()
        and "\0" not in reference
    )


def _meant(db: Connection, reference: str) -> Sequence[AnyRow]:
    """Numbers and ids of what the reference may stand for: the run of that id, or else a few that begin or end so."""
    known = sa.select(_RUNS.id, _RUNS.run_id)
    if reference == LATEST:
        return db.execute(known.order_by(_RUNS.id.desc()).limit(1)).all()
    if not may_name_a_run(reference):
        return []
    size = len(reference) + 1  # with the dash before it
    ways = (
        _RUNS.run_id == reference,
        sa.and_(_RUNS.run_id >= reference, _RUNS.run_id < reference + "\U0010ffff"),
        sa.and_(
            _RUNS.ending == _ending(reference),
            sa.func.substr(_RUNS.run_id, sa.func.length(_RUNS.run_id) - size + 1) == "-" + reference,
        ),
    )
    for fits in ways:
        found = db.execute(known.where(fits).order_by(_RUNS.run_id.desc()).limit(6)).all()
        if found:
            return found
    return []


def _ending(run_id: str) -> str:
    """What follows the last dash of a run's id: enough to tell it by, for people."""
    return run_id.rpartition("-")[2]


def _nearest(db: Connection, reference: str) -> list[str]:
    known = list(db.execute(sa.select(_RUNS.run_id).order_by(_RUNS.id.desc()).limit(200)).scalars())
    close = difflib.get_close_matches(reference, known, n=3, cutoff=0.5)
    return close or known[:3]
