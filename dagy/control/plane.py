"""The control plane as one object: every rule as a method, over whichever database keeps it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection

from dagy import engine
from dagy.control import claims, deployments, flows, keys, reports, runs, schedules
from dagy.control.artifacts import ArtifactFiles
from dagy.control.pages import Page, checked_limit
from dagy.control.postgres import PostgresStore
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
from dagy.control.sqlite import SqliteStore
from dagy.control.store import Clock, Store
from dagy.control.timing import checked_time
from dagy.spec import Json

ARTIFACTS = "artifacts"  # the folder of their files, in the local folder


def open_plane(local_dir: Path, url: str | None = None, *, clock: Clock | None = None) -> ControlPlane:
    """The control plane in `local_dir`, or in the PostgreSQL database that `url` names; made or migrated if need be.

    Artifacts' files are in `local_dir` either way. Without a `clock` (nanoseconds since the epoch) the time is this
    machine's, or that of the PostgreSQL database. Raises `StoreError`; for a URL also `SettingsError`, and
    `MissingExtraError` when the driver is not installed.
    """
    store = SqliteStore(local_dir, clock) if url is None else PostgresStore(url, clock)
    return ControlPlane(store, ArtifactFiles(local_dir.absolute() / ARTIFACTS))


class ControlPlane:
    """Flows, deployments, runs, schedules and keys, kept in `store`; artifacts' files are kept in `files`.

    Threads may share it, and a process that is forked may go on with it. Every method may raise `StoreError`, and
    `ParameterError` for a value that can't be; what else each raises it says.
    """

    def __init__(self, store: Store, files: ArtifactFiles) -> None:
        self._store = store
        self._files = files

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ControlPlane({self._store.name!r})"

    def close(self) -> None:
        """Give back what is open; the plane can't be used any more."""
        self._store.close()

    # ---- artifacts and flows

    def put_artifact(self, path: Path) -> ArtifactInfo:
        """Keep the artifact at `path`, once it is verified. The same artifact again changes nothing.

        Raises `ArtifactError` for a file that is not there, or not to be trusted.
        """
        kept = self._files.put(Path(path))
        return self._store.write(lambda db: flows.keep_artifact(db, self._store.now(db), kept))

    def artifact(self, sha256: str) -> ArtifactInfo:
        """The artifact whose file has that SHA-256. Raises `ArtifactError` when there is none."""
        self._files.path(sha256)
        return self._store.read(lambda db: flows.artifact(db, sha256))

    def artifact_path(self, sha256: str) -> Path:
        """The file of that artifact, to be read only. Raises `ArtifactError` when there is none."""
        return self._files.path(sha256)

    def register_flow(self, artifact: str, *, namespace: str = "", new_revision: bool = False) -> FlowVersion:
        """The flow that the artifact with that SHA-256 holds, registered if it is not yet.

        Raises `ArtifactError` when there is no such artifact, and `ConflictError` when the version that the flow's
        author gave it stands for other code, unless `new_revision`.
        """
        manifest = self._files.manifest(artifact)
        return self._store.write(
            lambda db: flows.register(db, self._store.now(db), artifact, manifest, namespace, new_revision=new_revision)
        )

    def flow(
        self, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
    ) -> FlowVersion:
        """The newest version that fits.

        Raises `UnknownFlowError`, and `ConflictError` when several namespaces have one.
        """
        return self._store.read(
            lambda db: flows.flow(db, name, namespace=namespace, version=version, revision=revision)
        )

    def flow_spec(
        self, name: str, *, namespace: str | None = None, version: str | None = None, revision: int | None = None
    ) -> dict[str, Json]:
        """The spec of that version, as JSON: what `FlowSpec.model_validate` reads. Errors as `flow`."""
        return self._store.read(
            lambda db: flows.spec(db, name, namespace=namespace, version=version, revision=revision)
        )

    def flows(self, *, namespace: str | None = None, limit: int = 50, after: str | None = None) -> Page[FlowVersion]:
        """The newest version of each flow, by namespace and name."""
        return self._store.read(lambda db: flows.flows(db, namespace=namespace, limit=limit, after=after))

    def flow_versions(
        self, name: str, *, namespace: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[FlowVersion]:
        """The versions of a flow, the newest first. Errors as `flow`."""
        return self._store.read(lambda db: flows.flow_versions(db, name, namespace=namespace, limit=limit, after=after))

    # ---- deployments

    def put_deployment(
        self,
        name: str,
        *,
        namespace: str = "",
        flow_name: str,
        flow_version: str,
        revision: int,
        tags: Mapping[str, str] | None = None,
        parameters: Mapping[str, Json] | None = None,
        executor: str = LOCAL,
        resources: Mapping[str, Json] | None = None,
    ) -> Deployment:
        """Make the deployment, or bind it to another version of a flow, with other tags and parameters.

        `executor` says what runs it, and `resources` what that takes; its runs are given both as they are then.

        Raises `UnknownFlowError` when its namespace has no such version.
        """
        return self._store.write(
            lambda db: deployments.put(
                db,
                self._store.now(db),
                name,
                namespace=namespace,
                flow_name=flow_name,
                flow_version=flow_version,
                revision=revision,
                tags={} if tags is None else tags,
                parameters={} if parameters is None else parameters,
                executor=executor,
                resources={} if resources is None else resources,
            )
        )

    def deployment(self, reference: str) -> Deployment:
        """The deployment `name`, or `namespace/name`; the name will do where it is the only one of that name.

        Raises `UnknownDeploymentError`, and `ConflictError` when there are several.
        """
        return self._store.read(lambda db: deployments.deployment(db, reference))

    def deployments(
        self,
        *,
        namespace: str | None = None,
        flow: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Deployment]:
        """The deployments that fit and have all these tags, by namespace and name."""
        return self._store.read(
            lambda db: deployments.deployments(db, namespace=namespace, flow=flow, tags=tags, limit=limit, after=after)
        )

    def delete_deployment(self, reference: str) -> None:
        """Take the deployment and its schedules away; its runs stay. Errors as `deployment`."""
        self._store.write(lambda db: deployments.delete(db, reference))

    # ---- runs

    def create_run(
        self,
        reference: str,
        parameters: Mapping[str, Json] | None = None,
        *,
        idempotency_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume: str | None = None,
    ) -> RunInfo:
        """A new run of the deployment, QUEUED; with a key that was given before, the run that it was given for.

        With `resume` it goes on with what that run, which did not complete, has got done; it has its parameters.

        Raises as `deployment`, `ConflictError` for a key that was given for another request, and `ResumeError` and
        `UnknownRunError` for a run that can't be resumed.
        """

        def asked(db: Connection) -> tuple[runs.Request, str]:
            wanted = runs.request(
                db,
                reference,
                {} if parameters is None else parameters,
                tags=tags,
                idempotency_key=idempotency_key,
                resume=resume,
            )
            return wanted, _free_run_id(db, wanted.flow_name)

        wanted, run_id = self._store.read(asked)
        return self._store.write(lambda db: runs.create(db, self._store.now(db), wanted, run_id))

    def import_run(
        self,
        reference: str,
        run_id: str,
        parameters: Mapping[str, Json] | None = None,
        *,
        trigger: Trigger = "schedule",
        started_at: datetime,
    ) -> RunInfo:
        """The run of the deployment that was begun elsewhere under this id, RUNNING and to be claimed by a worker.

        One that is known stays as it is. Raises as `deployment`, and `ConflictError` for the id of another
        deployment's run, or a deployment whose runs only workers begin.
        """
        started = checked_time("started_at", started_at)
        assert started is not None
        return self._store.write(
            lambda db: runs.take_over(
                db, self._store.now(db), reference, run_id, parameters or {}, trigger=trigger, started_at=started
            )
        )

    def run(self, reference: str) -> RunInfo:
        """The run with that id, or the only one whose id begins or ends so, or the "latest".

        Raises `UnknownRunError`.
        """
        return self._store.read(lambda db: runs.run(db, reference))

    def runs(
        self,
        *,
        deployment: str | None = None,
        flow: str | None = None,
        status: str | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[RunInfo]:
        """The runs that fit, the newest first."""
        return self._store.read(
            lambda db: runs.runs(db, deployment=deployment, flow=flow, status=status, limit=limit, after=after)
        )

    def cancel_run(self, run_id: str, reason: str = "cancelled") -> RunInfo:
        """Have the run cancelled: at once while it waits, else as soon as its worker learns of it.

        A run that has ended stays as it is. Raises `UnknownRunError`.
        """
        return self._store.write(lambda db: runs.cancel(db, self._store.now(db), run_id, reason))

    def task_runs(self, run_id: str) -> list[TaskRunInfo]:
        """Every task of the run, in the order of the flow. Raises `UnknownRunError`."""
        return self._store.read(lambda db: runs.task_runs(db, run_id))

    def events(self, run_id: str, *, since: int = 0, limit: int = 1000) -> list[dict[str, Json]]:
        """The run's events from number `since` on, at most `limit`. Raises `UnknownRunError`."""
        return self._store.read(lambda db: reports.events(db, run_id, since=since, limit=limit))

    # ---- what workers do

    def claim_run(self, worker: str, *, lease_seconds: float = claims.LEASE_SECONDS) -> Claim | None:
        """The run that has waited longest, now the worker's; None when none waits.

        `worker` is `dagy.runs.owners.owner_text` of its process, or any other name: then only its lease tells whether
        it lives.
        """
        if not self._store.read(claims.waiting):
            return None
        token = secrets.token_hex(8)
        return self._store.write(
            lambda db: claims.claim(db, self._store.now(db), worker, token, lease_seconds), durable=False
        )

    def renew(self, run_id: str, fence: int, *, lease_seconds: float = claims.LEASE_SECONDS) -> Renewal:
        """Keep the run for so much longer; whether it is to be cancelled.

        Raises `UnknownRunError`, and `ConflictError` when the run is not this worker's any more.
        """
        return self._store.write(
            lambda db: claims.renew(db, self._store.now(db), run_id, fence, lease_seconds), durable=False
        )

    def report(self, run_id: str, fence: int, report: Report) -> Renewal:
        """Tell how the run stands, which renews the lease too. What was told before changes nothing.

        Raises as `renew`, and `ConflictError` for events that leave some out, and for more of a run that has ended.
        """
        checked = reports.checked_report(report)
        is_end = checked.status is not None and checked.status.is_final
        return self._store.write(
            lambda db: reports.take(db, self._store.now(db), run_id, fence, checked), durable=is_end
        )

    def recover_runs(self) -> list[RunInfo]:
        """Take back the runs whose workers are gone, and return them: each waits again, or has ended."""
        taken = []
        for each in self._store.read(lambda db: claims.lost(db, self._store.now(db))):
            info = self._take_back(each)
            if info is not None:
                taken.append(info)
        return taken

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
        """A new schedule of the deployment. The implicit one, of which a deployment has one, is replaced.

        Raises as `deployment`.
        """
        schedule_id = f"schedule-{secrets.token_hex(6)}"
        return self._store.write(
            lambda db: schedules.put(
                db,
                self._store.now(db),
                schedule_id,
                reference,
                timing,
                parameters={} if parameters is None else parameters,
                implicit=implicit,
                enabled=enabled,
            )
        )

    def schedules(self, *, deployment: str | None = None) -> list[Schedule]:
        """All schedules, or those of a deployment, the oldest first. Raises as `deployment`."""
        return self._store.read(lambda db: schedules.schedules(db, deployment=deployment))

    def schedule(self, schedule_id: str) -> Schedule:
        """The schedule. Raises `UnknownScheduleError`."""
        return self._store.read(lambda db: schedules.schedule(db, schedule_id))

    def set_schedule_enabled(self, schedule_id: str, enabled: bool) -> Schedule:
        """Let the schedule be due from now on, or not any more. Raises `UnknownScheduleError`."""
        return self._store.write(
            lambda db: schedules.set_enabled(db, self._store.now(db), schedule_id, enabled=enabled)
        )

    def delete_schedule(self, schedule_id: str) -> None:
        """Take the schedule away; its runs stay. Raises `UnknownScheduleError`."""
        self._store.write(lambda db: schedules.delete(db, schedule_id))

    def trigger_schedule(self, schedule_id: str) -> RunInfo:
        """Run what the schedule runs, now. Raises `UnknownScheduleError`."""
        run_id = self._store.read(lambda db: _free_run_id(db, schedules.flow_name(db, schedule_id)))
        return self._store.write(lambda db: schedules.trigger(db, self._store.now(db), schedule_id, run_id))

    def tick_schedules(self, *, limit: int = 100) -> list[RunInfo]:
        """Make the runs that are due, at most `limit` of them, those due longest first; the runs that were made.

        Of what is passed over, or can't be run, no more than that is seen to either; more may be due still.
        """
        made: list[RunInfo] = []
        for _ in range(checked_limit(limit)):
            run_id = self._store.read(self._next_run_id)
            if run_id is None:
                break
            made += self._ticked(run_id)
        return made

    def next_due(self) -> datetime | None:
        """When the next schedule is due; None when none will be."""
        return self._store.read(schedules.next_due)

    # ---- keys

    def create_key(self, name: str, *, scopes: Sequence[str] = (), expires_at: datetime | None = None) -> NewKey:
        """A new key for the API. Its secret is in the answer, and nowhere else."""
        secret = keys.Secret.new()
        info = self._store.write(lambda db: keys.create(db, self._store.now(db), secret, name, scopes, expires_at))
        return NewKey(info, secret.text)

    def keys(self) -> list[KeyInfo]:
        """All keys, without their secrets, the oldest first."""
        return self._store.read(keys.keys)

    def delete_key(self, key_id: str) -> None:
        """Let the key count no more; one that is not there is no mistake."""
        self._store.write(lambda db: keys.delete(db, key_id))

    def key_of(self, secret: str) -> KeyInfo | None:
        """The key with that secret; None when there is none, or when it has expired."""

        def found(db: Connection) -> tuple[KeyInfo | None, datetime]:
            now = self._store.now(db)
            return keys.key_of(db, now, secret), now

        key, now = self._store.read(found)
        if key is not None and not keys.is_noted(key, now):
            self._store.write(lambda db: keys.note_use(db, now, key.key_id), durable=False)
        return key

    def _take_back(self, found: claims.Lost) -> RunInfo | None:
        return self._store.write(lambda db: claims.take_back(db, self._store.now(db), found))

    def _next_run_id(self, db: Connection) -> str | None:
        """An id for the run of the schedule that is due; None when none is."""
        flow_name = schedules.due(db, self._store.now(db))
        return None if flow_name is None else _free_run_id(db, flow_name)

    def _ticked(self, run_id: str) -> list[RunInfo]:
        return self._store.write(lambda db: schedules.tick(db, self._store.now(db), run_id))


def _free_run_id(db: Connection, flow_name: str) -> str:
    """A new id that no run has: in a second with thousands of runs two might be given the same."""
    while not runs.is_free(db, run_id := engine.new_run_id(flow_name)):
        pass
    return run_id
