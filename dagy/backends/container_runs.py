"""A run as a task of ECS on Fargate: a container that runs the whole flow.

The task is started with a token made of the run's id, so it can't be started twice, and whoever asks again is told
which one it is. Once the run has begun, its store says so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import dagy.aws  # its names are loaded when they are asked for
from dagy.artifact.run_store import RunStore
from dagy.aws.failures import of_container
from dagy.backends.limits import LIMITS
from dagy.backends.payloads import WHOLE_FLOW, payload_of
from dagy.control.records import RunInfo
from dagy.spec import Json
from dagy.states import State

if TYPE_CHECKING:
    from dagy.aws import Aws, RunTask

MOST_BYTES = int(0.45 * LIMITS["ecs.overrides"].value)  # of a payload, which grows to twice that where it is quoted
EVENT_VARIABLE = "DAGY_EVENT"  # of the container, for the payload
_UNSEEN_SECONDS = 60.0  # for which a task that was just started may not be seen yet
TOKEN_CHARACTERS = int(LIMITS["ecs.client_token"].value)
STARTED_BY_CHARACTERS = 36


class ContainerRun:
    """The run in ECS; see `dagy.backends.running.Service`."""

    def __init__(self, info: RunInfo, aws: Aws, store: RunStore, clock: Callable[[], float] = time.time) -> None:
        self._info = info
        self._containers = aws.containers
        self._store = store
        self._clock = clock
        self._started_at = 0.0
        self._task: str | None = None  # its ARN

    @property
    def name(self) -> str:
        """The task definition's."""
        return f"the container {str(self._info.resources['task_definition']).rpartition('/')[2]!r}"

    def start(self) -> None:
        """Start the task; one that was started for the run is the run."""
        self._task = self._containers.run(self._wanted())
        self._started_at = self._clock()

    def adopt(self, begun: Mapping[str, Json]) -> None:
        """Find the task, where ECS still knows it."""
        known = begun.get("task_arn")
        if known is None:
            known = next(iter(self._containers.tasks(self._cluster, started_by=self._started_by)), None)
        self._task = None if known is None else str(known)

    def verdict(self) -> State | None:
        """What ECS says of the task."""
        found = None if self._task is None else self._containers.task(self._cluster, self._task)
        if found is None and self._clock() < self._started_at + _UNSEEN_SECONDS:
            return None
        if found is None:  # it ended an hour ago or more
            return of_container("", "", 0, self._info.run_id)
        if not found.is_final:
            return None
        reasons = "; ".join(filter(None, (found.container_reason, found.stopped_reason)))
        return of_container(found.stop_code or "", reasons, found.exit_code, self._info.run_id)

    def stop(self, reason: str) -> None:
        """Stop the task: it is told to end, and killed 30 seconds later."""
        if self._task is not None:
            self._containers.stop(self._cluster, self._task, reason=reason)

    def _wanted(self) -> RunTask:
        resources = self._info.resources
        payload = payload_of(self._info, self._store, most_bytes=MOST_BYTES, more=WHOLE_FLOW)
        return dagy.aws.RunTask(
            cluster=self._cluster,
            task_definition=str(resources["task_definition"]),
            container=str(resources["container"]),
            subnets=_texts(resources["subnets"]),
            security_groups=_texts(resources["security_groups"]),
            client_token=_digest(self._info.run_id)[:TOKEN_CHARACTERS],
            assign_public_ip=bool(resources.get("assign_public_ip")),
            environment={EVENT_VARIABLE: payload.decode()},
            started_by=self._started_by,
        )

    @property
    def _started_by(self) -> str:
        return _digest(self._info.run_id)[:STARTED_BY_CHARACTERS]

    @property
    def _cluster(self) -> str:
        return str(self._info.resources["cluster"])


def _digest(run_id: str) -> str:
    return hashlib.sha256(run_id.encode()).hexdigest()


def _texts(values: Json) -> tuple[str, ...]:
    return tuple(map(str, values))
