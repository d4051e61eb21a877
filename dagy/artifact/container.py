"""The program of a container: it does what the payload in DAGY_EVENT, or on stdin, asks for, and prints the answer.

    python -m dagy.artifact.container

| exit code | what it says |
|---|---|
| 0 | how it ended is stored, whether it went well or not; without a store: it completed |
| 1 | there is no store, and it did not complete |
| 2 | it could not begin, or its end could not be stored |
| 137, 143 | it was killed: it ran out of memory, or did not end in time when it was told to |

A task that is worth another try gets it here. SIGTERM, which a container gets when it is stopped, ends the run, and its
state says so; what has not ended then after `STOP_SECONDS` is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from dagy.artifact.handler import answer, task_root
from dagy.artifact.invocations import StopSwitch
from dagy.artifact.run_store import RunStore
from dagy.spec import Json
from dagy.states import StateType

STOP_SECONDS = 25.0  # of the 30 that Fargate gives
STORED, NOT_COMPLETED, COULD_NOT_BEGIN, STOPPED = 0, 1, 2, 128 + signal.SIGTERM


def main() -> NoReturn:
    """Do what is asked for, and end with one of the exit codes."""
    switch = StopSwitch()
    signal.signal(signal.SIGTERM, lambda *_: _stop(switch))
    _learn_task_arn()
    text = os.environ.get("DAGY_EVENT") or sys.stdin.read()
    store = os.environ.get("DAGY_STORE") or None
    answers, sys.stdout = sys.stdout, sys.stderr  # what the user's code prints is no part of the answer
    try:
        told = answer(_event(text), task_root(), store=store, switch=switch, tries_again=True)
        code = _exit_code(told, store, is_step="step" in _event(text))
    except Exception:  # noqa: BLE001 (a step that makes no sense, a store that is gone)
        traceback.print_exc()
        sys.exit(COULD_NOT_BEGIN)
    answers.write(json.dumps(told) + "\n")
    answers.flush()
    sys.exit(code)


def _event(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        return f"what is not JSON: {error}"


def _exit_code(told: Mapping[str, Json], store: str | None, *, is_step: bool) -> int:
    if store is None:
        return STORED if told["state"] == StateType.COMPLETED else NOT_COMPLETED
    if is_step:
        return STORED
    run_id = told["run_id"]
    is_stored = isinstance(run_id, str) and (
        told["state"] == StateType.RUNNING or RunStore(store, run_id).answer() is not None
    )
    return STORED if is_stored else COULD_NOT_BEGIN


def _stop(switch: StopSwitch) -> None:
    switch.ask("the container was told to stop")
    timer = threading.Timer(STOP_SECONDS, os._exit, (STOPPED,))
    timer.daemon = True
    timer.start()


def _learn_task_arn() -> None:
    """Let the run's beginning say which task of ECS this is, where there is one to say it."""
    url = os.environ.get("ECS_CONTAINER_METADATA_URI_V4")
    if url:
        from urllib.request import urlopen  # not loaded where it is of no use

        with contextlib.suppress(Exception), urlopen(f"{url}/task", timeout=2) as reply:
            os.environ["DAGY_TASK_ARN"] = str(json.load(reply)["TaskARN"])


if __name__ == "__main__":
    main()
