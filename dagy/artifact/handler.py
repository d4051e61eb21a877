"""What runs in the cloud: a flow, or one step of a run of it, from a payload. Its entry point is `handler`.

The artifact's files lie in LAMBDA_TASK_ROOT, else in the working directory. Its code is loaded once, and serves all
payloads that come to this process. A payload is JSON:

    {"run_id": "etl-1", "parameters": {"day": "monday"}}         a whole flow
    {"run_id": "etl-1", "step": "task", "task": "load"}          one step of a run, such as a task

| key | what it is |
|---|---|
| `parameters` | of the flow; without it, those that lie in the run's store |
| `references` | parameters by reference, by name: see `dagy.artifact.references` |
| `fail_fast` | false: what does not need a task that failed goes on |
| `resume` | the run whose results are used again |
| `max_workers`, `events` | of a whole flow: how many tasks at once; false: no events are kept |
| `deployment`, `trigger` | what the run is of, and that a "schedule" began it |
| `step` | "begin", then "task" for each task, or "count" and then "task" for each item, and "end"; "ready" asks before
a container is started whether its task is to run |
| `task`, `item`, `attempt` | which task, which of its items, from 0, and which try of it this is, from 1 |
| `inline` | of "count": more items than these are "wide", and listed in the store |
| `crashed` | of "end": the tasks whose invocations failed, with `Error` and `Cause` |

What lasts of a run lies in the store that DAGY_STORE names (see `dagy.artifact.run_store`); steps need one. A payload
that comes twice does no harm: a run begins once, and a task that has ended is not run again.

A whole flow, and each step but those of tasks, is answered with `state` and `message`. A whole flow's answer also has
`result` or `error`, how the `tasks` ended, how many are in which state, and the end of what they wrote as `output`. It
raises nothing. A step raises what a state machine is to try again.

Only the standard library is loaded until the user's code loads more, so a new environment answers soon.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dagy.artifact.invocations import Invocation, StopSwitch
from dagy.artifact.loading import loading
from dagy.artifact.payloads import Payload
from dagy.artifact.references import Values
from dagy.artifact.run_store import RunStore
from dagy.artifact.steps import run_step
from dagy.artifact.telling import told_failure
from dagy.artifact.whole_flow import whole_flow
from dagy.artifact.working_folder import work_aside
from dagy.engine import new_run_id
from dagy.errors import ArtifactError, CodeFailedError, DagyError, sentence
from dagy.flows import Flow
from dagy.spec import Json

MANIFEST_NAME = "dagy.json"
SPARE_SECONDS = 3.0  # of the time that the invocation has, for telling how far it came


class InvocationContext(Protocol):
    """What Lambda says of an invocation: of that, what is used."""

    def get_remaining_time_in_millis(self) -> int:
        """How long it may go on."""


def handler(event: Mapping[str, Any], context: InvocationContext | None = None) -> dict[str, Json]:
    """Do what the payload asks for; how that went."""
    return answer(event, task_root(), store=os.environ.get("DAGY_STORE") or None, context=context)


def task_root() -> Path:
    """The folder with the artifact's files."""
    return Path(os.environ.get("LAMBDA_TASK_ROOT") or ".").absolute()


def answer(
    event: object,
    folder: Path,
    *,
    store: str | None = None,
    context: InvocationContext | None = None,
    switch: StopSwitch | None = None,
    tries_again: bool = False,
) -> dict[str, Json]:
    """What `handler` answers, with the artifact's files in `folder`, and the store at that URL.

    With `tries_again` a task that is worth another try gets it here. `switch` ends what runs.
    """
    seconds = None if context is None else context.get_remaining_time_in_millis() / 1000
    ends_at = None if seconds is None else time.monotonic() + seconds - SPARE_SECONDS
    try:
        payload = Payload.of(event)
        artifact = loaded(folder)
        values = _values(store)
        run_id = payload.run_id or new_run_id(artifact.flow.name)
        work_aside(folder, run_id)
    except Exception as error:  # noqa: BLE001 (the user's code, as it is loaded)
        return _refused(event, store, error)
    place = _place(context, seconds)
    invocation = Invocation(values, artifact.code_hash, ends_at, place, tries_again, switch or StopSwitch())
    if payload.step is not None:
        return run_step(artifact.flow, payload, invocation)
    try:
        return whole_flow(artifact.flow, run_id, payload, invocation)
    except Exception as error:  # noqa: BLE001 (the user's code too: what reads its values, what checks parameters)
        return {"run_id": run_id, **told_failure(error)}


def _refused(event: object, store: str | None, error: Exception) -> dict[str, Json]:
    """The answer to what can't even begin, which is the run's; raises `error` when it is about a part of a run."""
    run_id, step = (event.get("run_id"), event.get("step")) if isinstance(event, Mapping) else (None, None)
    if step not in (None, "begin", "end"):
        raise error
    told = {"run_id": run_id, **told_failure(error, error.__cause__ if type(error) is CodeFailedError else None)}
    if store is not None and isinstance(run_id, str):
        with contextlib.suppress(DagyError):  # nobody may hear the answer, but what can be done is done
            RunStore(_values(store), run_id).keep_answer(told)
    return told if step is None else {name: told[name] for name in ("state", "message")}


class LoadedArtifact(NamedTuple):
    """An artifact whose code is loaded."""

    flow: Flow[..., Any]
    code_hash: str


@cache
def loaded(folder: Path) -> LoadedArtifact:
    """The artifact whose files are in `folder`; its code is loaded the first time.

    Raises `ArtifactError` when the folder holds no artifact, and `CodeFailedError` with what the code raised.
    """
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
        entry_point, code_hash = str(manifest["entry_point"]), str(manifest.get("code_hash", ""))
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"no artifact was unpacked in {str(folder)!r}: {sentence(error)}") from error
    module, _, variable = entry_point.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        with loading(folder.joinpath(*module.split(".")).with_suffix(".py")):
            flow = getattr(importlib.import_module(module), variable, None)
    except (Exception, SystemExit) as error:  # the user's code
        raise CodeFailedError(f"the code can't be loaded: {sentence(error)}") from error
    if not isinstance(flow, Flow):
        raise ArtifactError(f"the entry point {entry_point!r} is not a flow")
    return LoadedArtifact(flow, code_hash)


@cache
def _values(store: str | None) -> Values:
    """Values in that store; made once, for its connections."""
    return Values(store)


def _place(context: InvocationContext | None, seconds: float | None) -> dict[str, Json]:
    """Where a run begins: what a follower needs to find it there."""
    told: dict[str, Json] = {"by": os.environ.get("AWS_LAMBDA_FUNCTION_NAME") or "container"}
    for name, variable in _TOLD_BY.items():
        if os.environ.get(variable):
            told[name] = os.environ[variable]
    if context is not None and seconds is not None:
        told["until"] = time.time() + seconds
        told["timeout_seconds"] = math.ceil(seconds)
        told["request_id"] = getattr(context, "aws_request_id", "")
    return told


_TOLD_BY = {
    "memory_mb": "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "log_group": "AWS_LAMBDA_LOG_GROUP_NAME",
    "log_stream": "AWS_LAMBDA_LOG_STREAM_NAME",
    "task_arn": "DAGY_TASK_ARN",
}


def _get_ready() -> None:
    """Do what every payload needs: load the code, and reach the store."""
    with contextlib.suppress(Exception):  # it will be met again, by a payload that can be answered
        loaded(task_root())
        if store := os.environ.get("DAGY_STORE"):
            _values(store).store.has("ready")


# Lambda starts a new environment with more of a processor than what is called in it has later.
if os.environ.get("_HANDLER") == f"{__name__}.handler":
    _get_ready()
