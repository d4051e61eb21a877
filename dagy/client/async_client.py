"""`AsyncDagyClient`: the methods of `DagyClient`, to be awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from dagy.client.artifacts import arriving, digest_of, kept
from dagy.client.connecting import Connection
from dagy.client.embedded import AsyncEmbeddedTransport
from dagy.client.runs import AsyncRun, request_key
from dagy.client.transport import AsyncTransport
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


class AsyncDagyClient:
    """A `DagyClient` for code in an event loop: the same arguments, methods and errors, each method to be awaited.

    A control plane of this process answers from threads, so that the loop goes on meanwhile.
    """

    def __init__(
        self,
        api_url: str | None = None,
        *,
        profile: str | None = None,
        token: str | None = None,
        local_dir: Path | None = None,
        transport: AsyncTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,  # between two looks; None: asyncio's
    ) -> None:
        if transport is None:
            connection = Connection.of(api_url, profile=profile, token=token, local_dir=local_dir)
            transport = connection.async_transport()
        self._transport = transport
        self._sleep = sleep

    @property
    def is_local(self) -> bool:
        """Whether the control plane is in this process."""
        return self._transport.is_local

    async def sleep(self, seconds: float) -> None:
        """Wait, as between two looks at a run."""
        import asyncio

        await (self._sleep or asyncio.sleep)(seconds)

    async def close(self) -> None:
        """Give back what it holds: connections, the store."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncDagyClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncDagyClient {'in this process' if self.is_local else repr(self._transport)}>"

    async def health(self) -> dict[str, str]:
        """As of `DagyClient`."""
        return await self._ask(api.HEALTH)

    # ---- artifacts

    async def upload_artifact(self, path: Path) -> ArtifactInfo:
        """As of `DagyClient`."""
        import asyncio

        return await self._ask(api.PUT_ARTIFACT, file=path, sha256=await asyncio.to_thread(digest_of, path))

    async def artifact(self, sha256: str) -> ArtifactInfo:
        """As of `DagyClient`."""
        return await self._ask(api.ARTIFACT, sha256=sha256)

    async def download_artifact(self, sha256: str, folder: Path) -> Path:
        """As of `DagyClient`."""
        found = kept(sha256, folder)
        if found is not None:
            return found
        with arriving(sha256, folder) as arrival:
            request = api.ARTIFACT_CONTENT.request(sha256=sha256)
            response = await self._transport.send(arrival.asked(request))
            if response.file is None:
                api.ARTIFACT_CONTENT.read(response)
            return arrival.taken(response)

    async def artifact_path(self, sha256: str) -> Path | None:
        """As of `DagyClient`."""
        if not self.is_local:
            return None
        response = await self._transport.send(api.ARTIFACT_CONTENT.request(sha256=sha256))
        if response.file is None:
            api.ARTIFACT_CONTENT.read(response)
        return response.file

    # ---- flows

    async def register_flow(self, artifact: str, *, namespace: str = "", new_revision: bool = False) -> FlowVersion:
        """As of `DagyClient`."""
        return await self._ask(api.REGISTER_FLOW, artifact=artifact, namespace=namespace, new_revision=new_revision)

    async def flow(
        self, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
    ) -> FlowVersion:
        """As of `DagyClient`."""
        return await self._ask(api.FLOW, name=name, namespace=namespace, version=version, revision=revision)

    async def flow_spec(
        self, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
    ) -> dict[str, Json]:
        """As of `DagyClient`."""
        return await self._ask(api.FLOW_SPEC, name=name, namespace=namespace, version=version, revision=revision)

    async def flows(
        self, *, namespace: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[FlowVersion]:
        """As of `DagyClient`."""
        return await self._ask(api.FLOWS, namespace=namespace, limit=limit, after=after)

    async def flow_versions(
        self, name: str, *, namespace: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[FlowVersion]:
        """As of `DagyClient`."""
        return await self._ask(api.FLOW_VERSIONS, name=name, namespace=namespace, limit=limit, after=after)

    # ---- deployments

    async def put_deployment(
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
        """As of `DagyClient`."""
        return await self._ask(
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

    async def deployment(self, reference: str) -> Deployment:
        """As of `DagyClient`."""
        return await self._ask(api.DEPLOYMENT, reference=reference)

    async def deployments(
        self,
        *,
        namespace: str | None = None,
        flow: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Deployment]:
        """As of `DagyClient`."""
        return await self._ask(api.DEPLOYMENTS, namespace=namespace, flow=flow, tags=tags, limit=limit, after=after)

    async def delete_deployment(self, reference: str) -> None:
        """As of `DagyClient`."""
        await self._ask(api.DELETE_DEPLOYMENT, reference=reference)

    # ---- runs

    async def create_run(
        self,
        reference: str,
        parameters: Mapping[str, Json] | None = None,
        *,
        idempotency_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume: str | None = None,
    ) -> AsyncRun:
        """As of `DagyClient`."""
        info = await self._ask(
            api.CREATE_RUN,
            reference=reference,
            parameters=parameters or {},
            idempotency_key=idempotency_key if self.is_local else request_key(idempotency_key),
            tags=tags or {},
            resume=resume,
        )
        return AsyncRun(info, self)

    async def run(self, run_id: str = "latest") -> AsyncRun:
        """As of `DagyClient`."""
        return AsyncRun(await self.run_info(run_id), self)

    async def run_info(self, run_id: str = "latest") -> RunInfo:
        """As of `DagyClient`."""
        return await self._ask(api.RUN, run_id=run_id)

    async def runs(
        self,
        *,
        deployment: str | None = None,
        flow: str | None = None,
        status: StateType | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[AsyncRun]:
        """As of `DagyClient`."""
        page = await self._ask(api.RUNS, deployment=deployment, flow=flow, status=status, limit=limit, after=after)
        return Page(tuple(AsyncRun(each, self) for each in page.items), page.next)

    async def cancel_run(self, run_id: str, reason: str = "cancelled") -> RunInfo:
        """As of `DagyClient`."""
        return await self._ask(api.CANCEL_RUN, run_id=run_id, reason=reason)

    async def task_runs(self, run_id: str) -> list[TaskRunInfo]:
        """As of `DagyClient`."""
        return await self._ask(api.TASK_RUNS, run_id=run_id)

    async def events(self, run_id: str, *, since: int = 0, limit: int = 1000) -> list[dict[str, Json]]:
        """As of `DagyClient`."""
        return await self._ask(api.EVENTS, run_id=run_id, since=since, limit=limit)

    # ---- for workers

    async def import_run(
        self,
        reference: str,
        run_id: str,
        parameters: Mapping[str, Json] | None = None,
        *,
        trigger: Trigger = "schedule",
        started_at: datetime,
    ) -> RunInfo:
        """As of `DagyClient`."""
        return await self._ask(
            api.IMPORT_RUN,
            reference=reference,
            run_id=run_id,
            parameters=parameters or {},
            trigger=trigger,
            started_at=started_at,
        )

    async def claim_run(self, worker: str, *, lease_seconds: float = 60.0) -> Claim | None:
        """As of `DagyClient`."""
        return await self._ask(api.CLAIM_RUN, worker=worker, lease_seconds=lease_seconds)

    async def renew(self, run_id: str, fence: int, *, lease_seconds: float = 60.0) -> Renewal:
        """As of `DagyClient`."""
        return await self._ask(api.RENEW, run_id=run_id, fence=fence, lease_seconds=lease_seconds)

    async def report(self, run_id: str, fence: int, report: Report) -> Renewal:
        """As of `DagyClient`."""
        return await self._ask(api.REPORT, run_id=run_id, fence=fence, report=report)

    async def recover_runs(self) -> list[RunInfo]:
        """As of `DagyClient`."""
        return await self._ask(api.RECOVER_RUNS)

    # ---- schedules

    async def put_schedule(
        self,
        reference: str,
        timing: Timing,
        *,
        parameters: Mapping[str, Json] | None = None,
        implicit: bool = False,
        enabled: bool = True,
    ) -> Schedule:
        """As of `DagyClient`."""
        return await self._ask(
            api.PUT_SCHEDULE,
            reference=reference,
            timing=timing,
            parameters=parameters or {},
            implicit=implicit,
            enabled=enabled,
        )

    async def schedules(self, *, deployment: str | None = None) -> list[Schedule]:
        """As of `DagyClient`."""
        return await self._ask(api.SCHEDULES, deployment=deployment)

    async def schedule(self, schedule_id: str) -> Schedule:
        """As of `DagyClient`."""
        return await self._ask(api.SCHEDULE, schedule_id=schedule_id)

    async def set_schedule_enabled(self, schedule_id: str, enabled: bool) -> Schedule:
        """As of `DagyClient`."""
        return await self._ask(api.SET_SCHEDULE_ENABLED, schedule_id=schedule_id, enabled=enabled)

    async def delete_schedule(self, schedule_id: str) -> None:
        """As of `DagyClient`."""
        await self._ask(api.DELETE_SCHEDULE, schedule_id=schedule_id)

    async def trigger_schedule(self, schedule_id: str) -> AsyncRun:
        """As of `DagyClient`."""
        return AsyncRun(await self._ask(api.TRIGGER_SCHEDULE, schedule_id=schedule_id), self)

    async def tick_schedules(self, *, limit: int = 100) -> list[RunInfo]:
        """As of `DagyClient`."""
        return await self._ask(api.TICK_SCHEDULES, limit=limit)

    async def next_due(self) -> datetime | None:
        """As of `DagyClient`."""
        return await self._ask(api.NEXT_DUE)

    # ---- keys

    async def create_key(
        self, name: str, *, scopes: tuple[str, ...] = (), expires_at: datetime | None = None
    ) -> NewKey:
        """As of `DagyClient`."""
        return await self._ask(api.CREATE_KEY, name=name, scopes=scopes, expires_at=expires_at)

    async def keys(self) -> list[KeyInfo]:
        """As of `DagyClient`."""
        return await self._ask(api.KEYS)

    async def delete_key(self, key_id: str) -> None:
        """As of `DagyClient`."""
        await self._ask(api.DELETE_KEY, key_id=key_id)

    # ---- how

    async def keep_awake(self) -> None:
        """As of `DagyClient`."""
        if isinstance(self._transport, AsyncEmbeddedTransport):
            await self._transport.wake()

    async def _ask(self, operation: Operation[T], *, file: Path | None = None, **arguments: Any) -> T:
        if isinstance(self._transport, AsyncEmbeddedTransport):
            return await self._transport.perform(operation, arguments, file=file)
        request = replace(operation.request(**arguments), file=file)
        return operation.read(await self._transport.send(request))
