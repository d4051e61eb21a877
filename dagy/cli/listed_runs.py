"""Runs of the local history and of the control plane, in one list.

A run of a deployment that a worker on this machine took on is in both, under the same id: the control plane says which
deployment it is of, the history has its output and its results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagy.cli.planes import taken
from dagy.errors import UnknownRunError
from dagy.runs import History, RunRecord
from dagy.states import State, StateType

if TYPE_CHECKING:
    from dagy.client import DagyClient
    from dagy.control import RunInfo

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run, wherever it is known; `info` is what the control plane knows of it, `record` what the history does."""

    run_id: str
    flow_name: str
    flow_version: str
    state: State
    tasks: Mapping[StateType, int]
    asked_at: float  # seconds since the epoch: when it was asked for, or started
    started_at: float | None
    ended_at: float | None
    info: RunInfo | None
    record: RunRecord | None

    @property
    def deployment(self) -> str | None:
        """The deployment that it is of, as its `reference`."""
        return None if self.info is None else self.info.reference

    @property
    def label(self) -> str:
        """The flow's version, with the revision where the version alone does not tell."""
        return self.flow_version if self.info is None else self.info.label

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on, or when it never started."""
        return None if self.ended_at is None or self.started_at is None else self.ended_at - self.started_at


def listed_runs(
    history: History,
    client: DagyClient | None,
    *,
    flow: str | None = None,
    deployment: str | None = None,
    status: StateType | None = None,
    limit: int = 20,
) -> list[ListedRun]:
    """The newest `limit` runs that are asked for, the newest first; with a `deployment` only its."""
    records = [] if deployment is not None else history.runs(limit=limit, flow=flow, status=status)
    infos: list[RunInfo] = []
    if client is not None:
        asked = client.runs
        infos = [
            each.info
            for each in taken(
                limit,
                lambda number, after: asked(deployment=deployment, flow=flow, status=status, limit=number, after=after),
            )
        ]
    known = {each.run_id: each for each in records}
    found = [_of(each, known.pop(each.run_id, None)) for each in infos] + [_of(None, each) for each in known.values()]
    return sorted(found, key=lambda each: each.asked_at, reverse=True)[:limit]


def found_run(history: History, client: DagyClient | None, reference: str) -> ListedRun:
    """The run of that id, or whose id alone begins or ends so, or the latest. Raises `UnknownRunError`."""
    if reference == LATEST:
        found = listed_runs(history, client, limit=1)
        if not found:
            raise UnknownRunError(reference)
        return with_both(history, client, found[0])
    record = info = None
    known: list[str] = []
    try:
        record = history.run(reference)
    except UnknownRunError as error:
        known += error.known
    if client is not None:
        try:
            info = client.run_info(reference)
        except UnknownRunError as error:
            known += error.known
    if record is None and info is None:
        raise UnknownRunError(reference, dict.fromkeys(known))
    if record is not None and info is not None and record.run_id != info.run_id:
        if reference not in {record.run_id, info.run_id}:
            raise UnknownRunError(reference, [record.run_id, info.run_id])
        record, info = (record, None) if reference == record.run_id else (None, info)
    return with_both(history, client, _of(info, record))


def with_both(history: History, client: DagyClient | None, run: ListedRun) -> ListedRun:
    """`run`, with what the one of the two that it was not found in knows of it."""
    info, record = run.info, run.record
    if record is None and history.has(run.run_id):
        record = history.run(run.run_id)
    if info is None and client is not None:
        try:
            info = client.run_info(run.run_id)
        except UnknownRunError:
            info = None
    return _of(info, record)


def _of(info: RunInfo | None, record: RunRecord | None) -> ListedRun:
    if info is not None:
        started, ended = info.started_at, info.ended_at
        return ListedRun(
            info.run_id,
            info.flow_name,
            info.flow_version,
            State(info.status, info.message),
            info.tasks,
            info.created_at.timestamp(),
            None if started is None else started.timestamp(),
            None if ended is None else ended.timestamp(),
            info,
            record,
        )
    assert record is not None
    return ListedRun(
        record.run_id,
        record.flow_name,
        record.version,
        record.state,
        record.tasks,
        record.started_at,
        record.started_at,
        record.ended_at,
        None,
        record,
    )
