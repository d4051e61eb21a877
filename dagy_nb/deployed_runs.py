"""Runs of deployments: begun through the control plane, run by a worker, and followed here as any other run."""

from __future__ import annotations

import functools
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dagy import artifact, client, runs
from dagy.engine import TaskWrote
from dagy.errors import DagyError, UnknownTaskError
from dagy.settings import Settings
from dagy.spec import FlowSpec
from dagy.states import State, StateType
from dagy_nb.cells import Cell
from dagy_nb.fresh import ModulePlaces
from dagy_nb.run_history import lines_of

if TYPE_CHECKING:
    from dagy.client import DagyClient
    from dagy.control import Deployment, RunInfo
    from dagy.runs import FollowedRun, Standing
    from dagy.values import Deferred

WAKE_SECONDS = 1.0  # between two looks for a worker, while the run waits for one
REMOTE_POLL_SECONDS = 0.5  # between two looks at a run over the network
_LOCAL_POLL_SECONDS = 0.1
_FRAME = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)')
_MARK = re.compile(r"# cell (?P<id>\S+)")  # what the export writes above the code of a cell


def spec_of(asked: DagyClient, of: RunInfo | Deployment) -> FlowSpec:
    """The flow that the deployment, or the run, stands for."""
    spec = asked.flow_spec(of.flow_name, namespace=of.namespace, version=of.flow_version, revision=of.revision)
    return FlowSpec.model_validate(spec)


def follow(
    asked: DagyClient, info: RunInfo, *, on_refused: Callable[[DagyError], object], local_dir: Path
) -> FollowedRun:
    """The run, followed until its end.

    What its tasks returned is read from the history in `local_dir`, if it is there, or of a run on AWS from its store.
    `on_refused` is told when a cancel can't be asked for.
    """
    run_id, spec = info.run_id, spec_of(asked, info)
    is_on_aws = info.executor != "local"
    woken_at = time.monotonic()

    def standing() -> Standing:
        nonlocal woken_at
        now = asked.run_info(run_id)
        needs_worker = now.status is StateType.QUEUED or (is_on_aws and not now.status.is_final)
        if needs_worker and time.monotonic() - woken_at > WAKE_SECONDS:
            asked.keep_awake()
            woken_at = time.monotonic()
        return runs.Standing(State(now.status, now.message), now.has_result, now.result)

    def cancel(reason: str) -> None:
        try:
            asked.cancel_run(run_id, reason)
        except DagyError as error:
            on_refused(error)

    def results() -> Mapping[str, Deferred]:
        return client.stored_task_results(info, [each.id for each in spec.tasks]) if is_on_aws else {}

    return runs.follow_events(
        run_id,
        spec,
        info.parameters,
        events=lambda since: asked.events(run_id, since=since),
        standing=standing,
        cancel=cancel,
        results=results,
        local_dir=local_dir,
        poll_seconds=_LOCAL_POLL_SECONDS if asked.is_local else REMOTE_POLL_SECONDS,
    )


def first_state(asked: DagyClient, info: RunInfo) -> State:
    """What a view says before the first event: of a run that is queued also what it waits for."""
    if info.status is not StateType.QUEUED:
        return State(StateType.PENDING if info.status.is_final else info.status, info.message)
    is_woken = asked.is_local and Settings.read().auto_worker
    return State(StateType.QUEUED, f"waiting for a worker{'' if is_woken else ' (dagy worker starts one)'}")


class DeployedCode:
    """The code that the run of a deployment has, for its tracebacks to tell of the notebook's cells.

    It is fetched when the first traceback asks for it; where it can't be had the traceback stays as it is.
    """

    def __init__(self, asked: DagyClient, info: RunInfo, cells: Callable[[], Sequence[Cell]]) -> None:
        self._asked = asked
        self._info = info
        self._cells = cells

    def retold(self, text: str) -> str:
        """A traceback's text in which the lines of the artifact's module are those of the cells that they came from."""
        if not _FRAME.search(text):
            return text
        return _FRAME.sub(self._told, text)

    def _told(self, match: re.Match[str]) -> str:
        filename, line = match["file"], int(match["line"])
        module = self._module
        if module is None or not filename.endswith(f"/{self._info.run_id}/files/{module[0]}"):
            return match[0]
        path, text = module
        place = ModulePlaces(text, filename, self._cells()).place_of(filename, line)
        if place is not None and place[0] != filename:
            return f"{place[0].capitalize()}, line {place[1]}"
        cell = _mark_above(text.splitlines(), line)
        return f"{path}, line {line}" + (f" (of the cell {cell!r} when it was deployed)" if cell else "")

    @functools.cached_property
    def _module(self) -> tuple[str, str] | None:
        """The path of the artifact's module in it, and its text."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = self._asked.download_artifact(self._info.artifact, Path(folder))
                with artifact.open_artifact(path) as opened:
                    wanted = opened.manifest.module_path
                    entry = next(each for each in opened.manifest.files if each.path == wanted)
                    return wanted, b"".join(opened.chunks(entry)).decode(errors="replace")
        except (DagyError, OSError):
            return None


def _mark_above(lines: Sequence[str], line: int) -> str:
    """The id of the cell that the module's line came from; empty when no mark says it."""
    for each in reversed(lines[:line]):
        if mark := _MARK.fullmatch(each):
            return mark["id"]
    return ""


def manifest_of(asked: DagyClient, deployment: Deployment) -> artifact.Manifest:
    """What the deployment's artifact says of itself. Raises `ArtifactError` when it can't be had."""
    with tempfile.TemporaryDirectory() as folder:
        return artifact.read_manifest(asked.download_artifact(deployment.artifact, Path(folder)))


def deployments_of(asked: DagyClient, flows: Sequence[str]) -> list[Deployment]:
    """The deployments of these flows, by flow and by name."""
    return [each for name in flows for each in _all(asked, name)]


def deployment_names(asked: DagyClient) -> list[str]:
    """What deployments may be called by: their names, and after their namespaces where that is needed to tell."""
    found = _all(asked, None)
    names = [each.name for each in found]
    return [each.name if names.count(each.name) == 1 else each.reference for each in found]


def _all(asked: DagyClient, flow: str | None) -> list[Deployment]:
    page = asked.deployments(flow=flow, limit=200)
    found = [*page.items]
    while page.next is not None:
        page = asked.deployments(flow=flow, limit=200, after=page.next)
        found += page.items
    return found


def recent_runs(asked: DagyClient, flow: str | None, limit: int) -> list[RunInfo]:
    """The newest runs of deployments, at most `limit`: all of them, or those of the flow."""
    return [each.info for each in asked.runs(flow=flow, limit=limit).items]


def output_of_run(asked: DagyClient, reference: str, *, task: str | None = None) -> str:
    """What the tasks of a run wrote, as `output_of` has it. Raises `UnknownRunError` and `UnknownTaskError`."""
    run = asked.run(reference)
    if task is not None and task not in (known := [each.task for each in run.task_runs()]):
        raise UnknownTaskError(task, known, where=f"run {run.run_id!r}")
    events = (runs.event_from_json(each) for each in run.events())
    written = (each for each in events if isinstance(each, TaskWrote) and task in (None, each.task))
    return lines_of(written, is_named=task is None)
