"""`DagyClient`: all that can be asked of a control plane, as methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from dagy.client.artifacts import arriving, digest_of, kept
from dagy.client.connecting import Connection
from dagy.client.embedded import EmbeddedTransport
from dagy.client.runs import Run, request_key
from dagy.client.transport import Transport
from dagy.control import Page, api
from dagy.control.api import Operation
from dagy.control.records import (
    LOCAL,
    ArtifactInfo,
    Claim,
    Deployment,
    FlowVersion,
    KeyInfo,
    NewKey,
    Renewal,
    Report,
    RunInfo,
    Schedule,
    TaskRunInfo,
    Timing,
    Trigger,
)
from dagy.spec import Json
from dagy.states import StateType

T = TypeVar("T")


class DagyClient:
    """What can be asked of a control plane: of a server at `api_url`, or of the one in this process.

    Without an `api_url` the profile's counts (`profile`, else `DAGY_PROFILE`, else the default one), or
    `DAGY_API_URL`; without any of these the control plane is in this process, in `local_dir` (`DAGY_LOCAL_DIR`), and
    needs nothing to be started. The `token` is `DAGY_API_KEY` or that of `dagy login`. A `transport` of one's own takes
    the place of all this.

    A `reference` names a deployment: its name where one namespace has it, or `namespace/name`. Lists come in pages of
    at most `limit`: `page.next` is the `after` of the next, None at the end. Times are aware, in UTC.

    Every method raises `NetworkError` when a server can't be reached and `AuthError` when it does not let one in, or
    `StoreError` when the control plane of this process can't be read or written. What else it raises, it says.
    """

    def __init__(
        self,
        api_url: str | None = None,
        *,
        profile: str | None = None,
        token: str | None = None,
        local_dir: Path | None = None,
        transport: Transport | None = None,
        sleep: Callable[[float], None] = time.sleep,  # between two looks at a run that is waited for
    ) -> None:
        if transport is None:
            transport = Connection.of(api_url, profile=profile, token=token, local_dir=local_dir).transport()
        self._transport = transport
        self.sleep = sleep

    @property
    def is_local(self) -> bool:
        """Whether the control plane is in this process."""
        return self._transport.is_local

    def close(self) -> None:
        """Give back what it holds: connections, the store."""
        self._transport.close()

    def __enter__(self) -> DagyClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DagyClient {'in this process' if self.is_local else repr(self._transport)}>"

    def health(self) -> dict[str, str]:
        """How the control plane is: `status` and `version`."""
        return self._ask(api.HEALTH)

    # ---- artifacts

    def upload_artifact(self, path: Path) -> ArtifactInfo:
        """Put the artifact at `path` into the store, which verifies it; one that is there already is left as it is.

        Raises `ArtifactError` when it is not to be trusted.
        """
        return self._ask(api.PUT_ARTIFACT, file=path, sha256=digest_of(path))

    def artifact(self, sha256: str) -> ArtifactInfo:
        """What is known of the artifact with this digest. Raises `ArtifactError` when there is none."""
        return self._ask(api.ARTIFACT, sha256=sha256)

    def download_artifact(self, sha256: str, folder: Path) -> Path:
        """The artifact as `<folder>/<sha256>.zip`, its bytes those of the digest; what is there already is kept.

        Raises `ArtifactError` when there is none, or what arrived is another.
        """
        found = kept(sha256, folder)
        if found is not None:
            return found
        with arriving(sha256, folder) as arrival:
            request = api.ARTIFACT_CONTENT.request(sha256=sha256)
            response = self._transport.send(arrival.asked(request))
            if response.file is None:
                api.ARTIFACT_CONTENT.read(response)
            return arrival.taken(response)

    def artifact_path(self, sha256: str) -> Path | None:
        """The artifact's file, to be read only, where the control plane is in this process; None where it is not.

        Raises `ArtifactError` when there is none.
        """
        if not self.is_local:
            return None
        response = self._transport.send(api.ARTIFACT_CONTENT.request(sha256=sha256))
        if response.file is None:
            api.ARTIFACT_CONTENT.read(response)
        return response.file

    # ---- flows

    def register_flow(self, artifact: str, *, namespace: str = "", new_revision: bool = False) -> FlowVersion:
        """Register the flow of the artifact with this digest.

        What is registered already is given back. `ConflictError`: its version is there with other code; then
        `new_revision` registers it beside that.
        """
        return self._ask(api.REGISTER_FLOW, artifact=artifact, namespace=namespace, new_revision=new_revision)

    def flow(
        self, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
    ) -> FlowVersion:
        """The newest of the flow's versions that this asks for. Raises `UnknownFlowError`."""
        return self._ask(api.FLOW, name=name, namespace=namespace, version=version, revision=revision)

    def flow_spec(
        self, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
    ) -> dict[str, Json]:
        """The spec of that version, as JSON: see `FlowSpec.model_validate`. Raises `UnknownFlowError`."""
        return self._ask(api.FLOW_SPEC, name=name, namespace=namespace, version=version, revision=revision)

    def flows(self, *, namespace: str | None = None, limit: int = 50, after: str | None = None) -> Page[FlowVersion]:
        """The newest version of each flow, by name."""
        return self._ask(api.FLOWS, namespace=namespace, limit=limit, after=after)

    def flow_versions(
        self, name: str, *, namespace: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[FlowVersion]:
        """The flow's versions, newest first. Raises `UnknownFlowError`."""
        return self._ask(api.FLOW_VERSIONS, name=name, namespace=namespace, limit=limit, after=after)

    # ---- deployments

    def put_deployment(
        self,
        name: str,
        *,
        flow_name: str,
        flow_version: str,
        revision: int,
        namespace: str = "",
        tags: Mapping[str, str] | None = None,
        parameters: Mapping[str, Json] | None = None,
        executor: str = LOCAL,
        resources: Mapping[str, Json] | None = None,
    ) -> Deployment:
        """Let the deployment stand for that version of the flow, with these tags and parameters and no others.

        `executor` says what runs it, and `resources` what that takes.

        Raises `UnknownFlowError` when it is not registered, `ParameterError` when the flow does not take `parameters`.
        """
        return self._ask(
            api.PUT_DEPLOYMENT,
            name=name,
            namespace=namespace,
            flow_name=flow_name,
            flow_version=flow_version,
            revision=revision,
            tags=tags or {},
            parameters=parameters or {},
            executor=executor,
            resources=resources or {},
        )

    def deployment(self, reference: str) -> Deployment:
        """The deployment. Raises `UnknownDeploymentError`, or `ConflictError` when several namespaces have the name."""
        return self._ask(api.DEPLOYMENT, reference=reference)

    def deployments(
        self,
        *,
        namespace: str | None = None,
        flow: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Deployment]:
        """The deployments, by name: those in the namespace, of the flow, with all these tags."""
        return self._ask(api.DEPLOYMENTS, namespace=namespace, flow=flow, tags=tags, limit=limit, after=after)

    def delete_deployment(self, reference: str) -> None:
        """Take the deployment and its schedules away; its runs stay. Raises `UnknownDeploymentError`."""
        self._ask(api.DELETE_DEPLOYMENT, reference=reference)

    # ---- runs

    def create_run(
        self,
        reference: str,
        parameters: Mapping[str, Json] | None = None,
        *,
        idempotency_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume: str | None = None,
    ) -> Run:
        """Ask for a run of the deployment, and return at once; `parameters` stand before the deployment's own.

        Asked again with the same `idempotency_key`, it gives the run that was made then; `ConflictError` when the
        parameters are others. With `resume` the run goes on with what that run of the deployment, which did not
        complete, has got done, and has its parameters; `ResumeError` when that can't be. Raises
        `UnknownDeploymentError`, and `ParameterError` for what the flow does not take.
        """
        info = self._ask(
            api.CREATE_RUN,
            reference=reference,
            parameters=parameters or {},
            idempotency_key=idempotency_key if self.is_local else request_key(idempotency_key),
            tags=tags or {},
            resume=resume,
        )
        return Run(info, self)

    def run(self, run_id: str = "latest") -> Run:
        """The run of that id, or whose id begins or ends so, or the latest. Raises `UnknownRunError`."""
        return Run(self.run_info(run_id), self)

    def run_info(self, run_id: str = "latest") -> RunInfo:
        """What is known of that run now. Raises `UnknownRunError`."""
        return self._ask(api.RUN, run_id=run_id)

    def runs(
        self,
        *,
        deployment: str | None = None,
        flow: str | None = None,
        status: StateType | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[Run]:
        """The runs, newest first: those of the deployment, of the flow, in that state."""
        page = self._ask(api.RUNS, deployment=deployment, flow=flow, status=status, limit=limit, after=after)
        return Page(tuple(Run(each, self) for each in page.items), page.next)

    def cancel_run(self, run_id: str, reason: str = "cancelled") -> RunInfo:
        """Ask that the run be cancelled; of one that has ended, nothing. Raises `UnknownRunError`."""
        return self._ask(api.CANCEL_RUN, run_id=run_id, reason=reason)

    def task_runs(self, run_id: str) -> list[TaskRunInfo]:
        """How each task of the run stands. Raises `UnknownRunError`."""
        return self._ask(api.TASK_RUNS, run_id=run_id)

    def events(self, run_id: str, *, since: int = 0, limit: int = 1000) -> list[dict[str, Json]]:
        """The run's events from number `since` on, in order, as JSON: see `dagy.runs.event_from_json`."""
        return self._ask(api.EVENTS, run_id=run_id, since=since, limit=limit)

    # ---- for workers

    def import_run(
        self,
        reference: str,
        run_id: str,
        parameters: Mapping[str, Json] | None = None,
        *,
        trigger: Trigger = "schedule",
        started_at: datetime,
    ) -> RunInfo:
        """Make a run known that was begun elsewhere: RUNNING, for a worker to follow; what is known stays as it is.

        Raises `UnknownDeploymentError`, and `ConflictError` when the id is another deployment's run.
        """
        return self._ask(
            api.IMPORT_RUN,
            reference=reference,
            run_id=run_id,
            parameters=parameters or {},
            trigger=trigger,
            started_at=started_at,
        )

    def claim_run(self, worker: str, *, lease_seconds: float = 60.0) -> Claim | None:
        """Take on the oldest run that waits; None when none does. `worker` is a line that tells who asks."""
        return self._ask(api.CLAIM_RUN, worker=worker, lease_seconds=lease_seconds)

    def renew(self, run_id: str, fence: int, *, lease_seconds: float = 60.0) -> Renewal:
        """Keep the run. Raises `ConflictError` when it is somebody else's by now."""
        return self._ask(api.RENEW, run_id=run_id, fence=fence, lease_seconds=lease_seconds)

    def report(self, run_id: str, fence: int, report: Report) -> Renewal:
        """Tell how the run goes. Raises `ConflictError` when it is somebody else's by now."""
        return self._ask(api.REPORT, run_id=run_id, fence=fence, report=report)

    def recover_runs(self) -> list[RunInfo]:
        """Queue or end the runs whose worker is gone; those that this changed."""
        return self._ask(api.RECOVER_RUNS)

    # ---- schedules

    def put_schedule(
        self,
        reference: str,
        timing: Timing,
        *,
        parameters: Mapping[str, Json] | None = None,
        implicit: bool = False,
        enabled: bool = True,
    ) -> Schedule:
        """Let the deployment run by itself; an `implicit` schedule takes the place of the implicit one there is.

        Raises `UnknownDeploymentError`; `ParameterError` for a timing that is none.
        """
        return self._ask(
            api.PUT_SCHEDULE,
            reference=reference,
            timing=timing,
            parameters=parameters or {},
            implicit=implicit,
            enabled=enabled,
        )

    def schedules(self, *, deployment: str | None = None) -> list[Schedule]:
        """The schedules, or those of the deployment."""
        return self._ask(api.SCHEDULES, deployment=deployment)

    def schedule(self, schedule_id: str) -> Schedule:
        """The schedule of that id. Raises `UnknownScheduleError`."""
        return self._ask(api.SCHEDULE, schedule_id=schedule_id)

    def set_schedule_enabled(self, schedule_id: str, enabled: bool) -> Schedule:
        """Let the schedule rest, or let it go on. Raises `UnknownScheduleError`."""
        return self._ask(api.SET_SCHEDULE_ENABLED, schedule_id=schedule_id, enabled=enabled)

    def delete_schedule(self, schedule_id: str) -> None:
        """Take the schedule away. Raises `UnknownScheduleError`."""
        self._ask(api.DELETE_SCHEDULE, schedule_id=schedule_id)

    def trigger_schedule(self, schedule_id: str) -> Run:
        """Ask for a run as the schedule would, now. Raises `UnknownScheduleError`."""
        return Run(self._ask(api.TRIGGER_SCHEDULE, schedule_id=schedule_id), self)

    def tick_schedules(self, *, limit: int = 100) -> list[RunInfo]:
        """Create the runs that are due, at most `limit`; each due time is one run, whoever asks and how often."""
        return self._ask(api.TICK_SCHEDULES, limit=limit)

    def next_due(self) -> datetime | None:
        """When the next schedule is due; None when none ever is."""
        return self._ask(api.NEXT_DUE)

    # ---- keys

    def create_key(self, name: str, *, scopes: tuple[str, ...] = (), expires_at: datetime | None = None) -> NewKey:
        """A new key for the API, its secret told this once; without `scopes` it allows everything."""
        return self._ask(api.CREATE_KEY, name=name, scopes=scopes, expires_at=expires_at)

    def keys(self) -> list[KeyInfo]:
        """The keys, without their secrets."""
        return self._ask(api.KEYS)

    def delete_key(self, key_id: str) -> None:
        """Take the key away: it opens nothing any more."""
        self._ask(api.DELETE_KEY, key_id=key_id)

    # ---- how

    def keep_awake(self) -> None:
        """See to it that a worker on this machine runs what is queued, where the control plane is in this process."""
        if isinstance(self._transport, EmbeddedTransport):
            self._transport.wake()

    def _ask(self, operation: Operation[T], *, file: Path | None = None, **arguments: Any) -> T:
        if isinstance(self._transport, EmbeddedTransport):
            return self._transport.perform(operation, arguments, file=file)
        request = replace(operation.request(**arguments), file=file)
        return operation.read(self._transport.send(request))
