"""The runs that there are to look at: this session's, and those that were recorded here; and what their tasks wrote."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dagy import runs
from dagy.drawing import ago, duration
from dagy.errors import UnknownRunError
from dagy.spec import FlowSpec
from dagy.states import StateType
from dagy_nb.tables import Listing

if TYPE_CHECKING:
    from dagy.control import RunInfo

_HEAD = ("RUN", "FLOW", "STATE", "STARTED", "TOOK", "WHERE")


class SessionRun(Protocol):
    """What is asked of a run of this session."""

    @property
    def run_id(self) -> str:
        """What names it."""

    @property
    def spec(self) -> FlowSpec:
        """The flow that ran."""

    @property
    def status(self) -> StateType:
        """The type of its state now."""

    @property
    def started_at(self) -> float:
        """When it began, in seconds since the epoch."""

    @property
    def ended_at(self) -> float | None:
        """When it ended; None while it goes on."""

    @property
    def was_begun_here(self) -> bool:
        """Whether this session began it."""

    def writes(self, task: str | None = None) -> Iterator[Wrote]:
        """What its tasks wrote so far, or one of them; `UnknownTaskError` when there is none of that id."""


class Wrote(Protocol):
    """A piece of what a task wrote."""

    @property
    def task(self) -> str:
        """The task."""

    @property
    def attempt(self) -> int:
        """Which try."""

    @property
    def stream(self) -> str:
        """ "stdout", "stderr" or "log"."""

    @property
    def text(self) -> str:
        """The text."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run in the list of all. Times are in seconds since the epoch."""

    run_id: str
    flow_name: str
    status: StateType
    started_at: float
    seconds: float | None  # None: it goes on
    is_here: bool  # it was started in this session
    is_recorded: bool  # in the history on this machine
    deployment: str = ""  # what it is a run of: `etl`, or `team/etl`; empty: of no deployment
    trigger: str = ""  # who asked for a run of a deployment: "api" or "schedule"


def past_run(run: SessionRun) -> PastRun:
    """A run of this session as it stands now."""
    seconds = None if run.ended_at is None else max(0.0, run.ended_at - run.started_at)
    return PastRun(
        run.run_id,
        run.spec.name,
        run.status,
        run.started_at,
        seconds,
        is_here=run.was_begun_here,
        is_recorded=False,
    )


def past_runs(
    session: Iterable[PastRun],
    local_dir: Path,
    deployed: Iterable[RunInfo] = (),
    *,
    flow: str | None = None,
    limit: int = 20,
) -> tuple[PastRun, ...]:
    """The newest runs first, at most `limit`: this session's, the recorded ones and those of deployments, each once.

    Raises `StoreError` when the history can't be read.
    """
    with runs.History(local_dir) as history:
        found = {
            each.run_id: PastRun(
                each.run_id, each.flow_name, each.status, each.started_at, each.seconds, is_here=False, is_recorded=True
            )
            for each in history.runs(limit=limit, flow=flow)
        }
    for each in session:
        if flow in (None, each.flow_name):
            found[each.run_id] = replace(each, is_recorded=each.run_id in found)
    for info in deployed:
        known = found.get(info.run_id)
        found[info.run_id] = _deployed_run(
            info, is_here=known is not None and known.is_here, is_recorded=known is not None and known.is_recorded
        )
    return tuple(sorted(found.values(), key=lambda each: each.started_at, reverse=True)[:limit])


def _deployed_run(info: RunInfo, *, is_here: bool, is_recorded: bool) -> PastRun:
    """A run of a deployment: the control plane says when it began, which is not when it was asked for."""
    began = (info.started_at or info.created_at).timestamp()
    seconds = None if info.ended_at is None else max(0.0, info.ended_at.timestamp() - began)
    return PastRun(
        info.run_id,
        info.flow_name,
        info.status,
        began,
        seconds,
        is_here=is_here,
        is_recorded=is_recorded,
        deployment=_reference(info),
        trigger=info.trigger,
    )


def _reference(info: RunInfo) -> str:
    return f"{info.namespace}/{info.deployment}" if info.namespace else info.deployment


def listing(past: Iterable[PastRun], note: str = "") -> Listing[PastRun]:
    """The runs as a table, with a `note` below it."""
    found, now = tuple(past), time.time()
    rows = tuple(
        (
            each.run_id,
            each.flow_name,
            str(each.status.value),
            ago(now - each.started_at),
            f"{duration(max(0.0, now - each.started_at))} so far" if each.seconds is None else duration(each.seconds),
            _where(each),
        )
        for each in found
    )
    return Listing(found, _HEAD, rows, "no run yet; %dagy_run starts one", note)


def _where(run: PastRun) -> str:
    """Where a run is known: of one of a deployment the history on this machine is no news."""
    parts = ["this notebook"] if run.is_here else []
    if run.deployment:
        parts.append(f"deployment {run.deployment}{' (schedule)' if run.trigger == 'schedule' else ''}")
    elif run.is_recorded:
        parts.append("history")
    return " and ".join(parts)


def run_called(reference: str, known: Sequence[str]) -> str | None:
    """The id that `reference` means: all of it, its start or its end, or "latest" (the last one).

    None when there is none. Raises `UnknownRunError` when there are several.
    """
    if reference == "latest":
        return known[-1] if known else None
    if reference in known:
        return reference
    found = [each for each in known if reference and (each.startswith(reference) or each.endswith(reference))]
    if len(found) > 1:
        raise UnknownRunError(reference, found)
    return found[0] if found else None


def output_of(reference: str | None, session: Sequence[SessionRun], local_dir: Path, *, task: str | None = None) -> str:
    """What the tasks of a run wrote: each line after its task's name, unless one task is asked for.

    Without a reference it is the session's last run, else the last one of the history. Raises `UnknownRunError` and
    `UnknownTaskError`.
    """
    own = {each.run_id: each for each in session}
    run_id = run_called(reference or "latest", list(own))
    if run_id is not None:
        return lines_of(own[run_id].writes(task), is_named=task is None)
    with runs.History(local_dir) as history:
        found = history.run(reference or "latest")
        return lines_of(history.output(found.run_id, task=task), is_named=task is None)


def lines_of(written: Iterable[Wrote], *, is_named: bool) -> str:
    """What was written, as lines; `is_named`: each after its task's name."""
    return "\n".join(_lines(written, name=is_named))


def _lines(written: Iterable[Wrote], *, name: bool) -> Iterator[str]:
    """Whole lines, each task's own, in the order of their ends."""
    begun: dict[tuple[str, int, str], str] = {}
    for each in written:
        key = (each.task, each.attempt, each.stream)
        *whole, rest = (begun.pop(key, "") + each.text).split("\n")
        if rest:
            begun[key] = rest
        for line in whole:
            yield f"{each.task}  {line}" if name else line
    for (task, _, _), rest in begun.items():
        yield f"{task}  {rest}" if name else rest
