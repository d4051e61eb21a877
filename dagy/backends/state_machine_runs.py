"""A run as an execution of a state machine, whose name is the run's id: so it can't be started twice."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dagy.artifact.run_store import RunStore
from dagy.aws.failures import of_execution
from dagy.backends.limits import LIMITS
from dagy.backends.payloads import payload_of
from dagy.control.records import RunInfo
from dagy.spec import Json
from dagy.states import State, crashed

if TYPE_CHECKING:
    from dagy.aws import Aws

MOST_BYTES = int(0.8 * LIMITS["machine.payload"].value)  # of an execution's input

_LONGEST_NAME = int(LIMITS["machine.name"].value)
_UNSEEN_SECONDS = 60.0  # for which an execution that was just started may not be seen yet
_LEGAL = re.compile(r"[A-Za-z0-9_.-]+")


def execution_name(run_id: str) -> str:
    """The name of the run's execution: its id, unless Step Functions would not take that."""
    if len(run_id) <= _LONGEST_NAME and _LEGAL.fullmatch(run_id):
        return run_id
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', run_id)[: _LONGEST_NAME - 17]}-{digest}"


class ExecutionRun:
    """The run in Step Functions; see `dagy.backends.running.Service`."""

    def __init__(self, info: RunInfo, aws: Aws, store: RunStore, clock: Callable[[], float] = time.time) -> None:
        self._info = info
        self._machine = str(info.resources["state_machine"])
        self._machines = aws.state_machines
        self._store = store
        self._clock = clock
        self._started_at = 0.0
        self._execution = self._machines.execution_arn(self._machine, execution_name(info.run_id))

    @property
    def name(self) -> str:
        """The state machine's."""
        return f"the state machine {self._machine.split(':')[6]!r}"

    def start(self) -> None:
        """Start the execution; one of its name that is there is the run."""
        payload = payload_of(self._info, self._store, most_bytes=MOST_BYTES)
        self._execution = self._machines.start(self._machine, execution_name(self._info.run_id), payload.decode())
        self._started_at = self._clock()

    def adopt(self, begun: Mapping[str, Json]) -> None:
        """The execution has the run's name, unless the run says otherwise."""
        self._execution = str(begun.get("execution") or self._execution)

    def verdict(self) -> State | None:
        """What Step Functions says of the execution."""
        found = self._machines.execution(self._execution)
        if found is None and self._clock() < self._started_at + _UNSEEN_SECONDS:
            return None
        if found is None:
            return crashed(f"its execution is not there any more: {self._execution}")
        return of_execution(found.status, found.error or "", found.cause or "", self._info.run_id, self._info.resources)

    def stop(self, reason: str) -> None:
        """Stop the execution: containers of its steps are stopped too, functions that run hear of it by themselves."""
        self._machines.stop(self._execution, error="Dagy.Cancelled", cause=reason)
