"""Deploying: what is wanted, what there is, the plan, and its steps made one by one.

A deploy that stopped anywhere, because something failed or the process was killed, is simply made again: what there is
by then is looked at anew, and a step that was made already does nothing when it is made once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

from dagy import drawing
from dagy.artifact import Artifact, build_artifact, open_artifact, open_built, refuse_while_loading, source_of
from dagy.client import DagyClient
from dagy.control.records import Deployment, FlowVersion
from dagy.deploy.plan import (
    Plan,
    PutSchedule,
    RegisterFlow,
    RemoveSchedule,
    Step,
    SwitchDeployment,
    UploadArtifact,
    look,
    plan,
)
from dagy.deploy.wanted import Wanted, default_namespace, wanted
from dagy.errors import ConflictError, DagyError
from dagy.flows import Flow
from dagy.runs.faults import point
from dagy.settings import Settings, made_private
from dagy.spec import Json


@dataclass(frozen=True, slots=True)
class DeployResult:
    """What a deploy did, or with `dry_run` would do."""

    plan: Plan
    artifact: Artifact
    deployment: Deployment | None  # as it is now; None: a dry run of a first deploy
    is_dry_run: bool = False
    is_local: bool = field(default=True, repr=False)  # whether the control plane is in this process

    @property
    def skipped(self) -> bool:
        """Whether there was nothing to do: this code is deployed, with these settings."""
        return not self.plan.steps

    @property
    def deployment_name(self) -> str:
        """The deployment's name in its namespace."""
        return self.plan.wanted.name

    @property
    def namespace(self) -> str:
        """The deployment's namespace, empty or such as `team/project`."""
        return self.plan.wanted.namespace

    @property
    def reference(self) -> str:
        """What names the deployment anywhere: its name, after its namespace if it has one."""
        return self.plan.wanted.reference

    @property
    def flow_name(self) -> str:
        """The name of the flow that it stands for."""
        return self.plan.wanted.flow_name

    @property
    def flow_version(self) -> str:
        """The version of the flow that it stands for."""
        return self.plan.wanted.flow_version

    def __str__(self) -> str:
        version = self.flow_version if self.deployment is None or self.is_dry_run else self.deployment.label
        what = f"{self.reference}: {self.flow_name} {version}"
        where = f" in the namespace {self.namespace}" if self.namespace else ""
        if self.skipped:
            return drawing.plain_lines(f"{what} is deployed already{where}, nothing to do")
        head = f"{what} {'would be' if self.is_dry_run else 'is'} deployed{where}"
        lines = [head, *(f"  {step}" for step in self.plan.steps)]
        if self.artifact.layer is not None:
            lines.append(f"its packages stay on this machine for now: {self.artifact.layer}")
        if not self.is_dry_run:
            if self.plan.wanted.timing is not None and self.is_local:
                lines.append("its schedule is followed while a worker runs: dagy worker")
            lines.append(f"run it: dagy run {self.reference}")
        return drawing.plain_lines("\n".join(lines))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": f"<pre>{drawing.markup_lines(str(self))}</pre>", "text/plain": str(self)}


def deploy_artifact(
    artifact_path: str | Path,
    deployment_name: str | None = None,
    *,
    flow_name: str | None = None,
    flow_version: str | None = None,
    namespace: str | None = None,
    tags: Mapping[str, str] | None = None,
    schedule: str | None = None,
    timezone: str | None = None,
    parameters: Mapping[str, Json] | None = None,
    force: bool = False,
    api_url: str | None = None,
    profile: str | None = None,
    client: DagyClient | None = None,
    dry_run: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> DeployResult:
    """Put a built artifact into the store, register its flow, and let the deployment stand for it.

    The deployment is called `deployment_name`, or as the flow is, in the `namespace` ("" unless given). It is described
    whole: the `tags`, the `parameters` that its runs are given unless they say otherwise, and the `schedule`, five
    fields of cron in a `timezone` (an IANA name; UTC unless given), are these and no others. So without a `schedule`,
    one that an earlier deploy made is removed; schedules that were made apart are left alone. In this process's own
    control plane, schedules are followed while `dagy worker` runs.

    When this code is deployed with these settings, nothing is done and the result's `skipped` says so, unless `force`.
    A deploy that failed anywhere is made again to go on. With `dry_run` nothing is changed. `on_step` is given each
    step before it is made. Where to is said by `api_url`, `profile` or `client`: see `DagyClient`.

    Raises `ArtifactError` when the artifact is not to be trusted; `ConflictError` when it does not hold `flow_name` or
    `flow_version`, or when that version is registered with other code (`force` registers a new revision of it);
    `ParameterError` for a setting that can't be.
    """
    refuse_while_loading("deploy_artifact()")
    path = Path(artifact_path)
    with open_artifact(path) as opened:
        opened.verify()
    artifact = open_built(path)
    meant = wanted(
        artifact,
        deployment_name,
        flow_name=flow_name,
        flow_version=flow_version,
        namespace=namespace or "",
        tags=tags,
        schedule=schedule,
        timezone=timezone,
        parameters=parameters,
    )
    with _opened(client, api_url, profile) as opened_client:
        return _deployed(opened_client, artifact, meant, force=force, dry_run=dry_run, on_step=on_step)


def deploy_flow(
    flow: Flow[..., Any],
    name: str | None = None,
    *,
    namespace: str | None = None,
    tags: Mapping[str, str] | None = None,
    schedule: str | None = None,
    timezone: str | None = None,
    parameters: Mapping[str, Json] | None = None,
    force: bool = False,
    target: str = "local",
    output_dir: str | Path | None = None,
    include: Iterable[str] = (),
    requirements: str | Path | None = None,
    api_url: str | None = None,
    profile: str | None = None,
    client: DagyClient | None = None,
    dry_run: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> DeployResult:
    """Build the flow's artifact and deploy it as `deploy_artifact` does, all in one.

    The `namespace` is the folder of the flow's file below the working directory unless given. What is built is kept in
    `output_dir`, or in the local folder; `target`, `include` and `requirements` are those of `build_artifact`.
    """
    refuse_while_loading("flow.deploy()")
    artifact = build_artifact(
        flow,
        output_dir=builds_folder() if output_dir is None else output_dir,
        include=include,
        requirements=requirements,
        target=target,
    )
    meant = wanted(
        artifact,
        name,
        namespace=default_namespace(source_of(flow).path) if namespace is None else namespace,
        tags=tags,
        schedule=schedule,
        timezone=timezone,
        parameters=parameters,
    )
    with _opened(client, api_url, profile) as opened_client:
        result = _deployed(opened_client, artifact, meant, force=force, dry_run=dry_run, on_step=on_step)
    if not dry_run:
        flow.deployed_as = result.reference
    return result


def builds_folder() -> Path:
    """Where what is built to be deployed is kept: in the local folder, which is made. Raises `StoreError`."""
    return made_private(Settings.read().local_dir) / "builds"


def _opened(client: DagyClient | None, api_url: str | None, profile: str | None) -> AbstractContextManager[DagyClient]:
    """`client`, which stays open, or one that is closed after use."""
    return nullcontext(client) if client is not None else DagyClient(api_url, profile=profile)


def _deployed(
    client: DagyClient,
    artifact: Artifact,
    meant: Wanted,
    *,
    force: bool,
    dry_run: bool,
    on_step: Callable[[Step], None] | None,
) -> DeployResult:
    present = look(client, meant, force=force)
    steps = plan(meant, present, force=force)
    deployment = present.deployment
    if not dry_run:
        deployment = _carried_out(client, steps, present.deployment, on_step)
        if steps.steps:
            _check_settled(client, meant)
    return DeployResult(steps, artifact, deployment, is_dry_run=dry_run, is_local=client.is_local)


def _carried_out(
    client: DagyClient, plan: Plan, deployment: Deployment | None, on_step: Callable[[Step], None] | None
) -> Deployment | None:
    """The deployment once each step of the plan is made."""
    registered: FlowVersion | None = None
    for step in plan.steps:
        if on_step is not None:
            on_step(step)
        point("deploy.before_step")
        try:
            match step:
                case UploadArtifact(path=path):
                    client.upload_artifact(path)
                case RegisterFlow():
                    registered = _registered(client, plan.wanted, step)
                case SwitchDeployment():
                    deployment = _switched(client, step, registered)
                case PutSchedule(reference=reference, timing=timing):
                    client.put_schedule(reference, timing, implicit=True)
                case RemoveSchedule(schedule_id=schedule_id):
                    client.delete_schedule(schedule_id)
                case _:
                    assert_never(step)
        except DagyError as error:
            error.add_note(f"The deploy stopped here: {step}. Deploy again to go on.")
            raise
        point("deploy.after_step")
    return deployment


def _check_settled(client: DagyClient, meant: Wanted) -> None:
    """Raise `ConflictError` unless all is as it should be, so that a new plan would have no steps."""
    rest = plan(meant, look(client, meant)).steps
    if rest:
        raise ConflictError(
            f"{meant.reference} was deployed by somebody else at the same time, and is not as it should be now "
            f"(there is still to do: {'; '.join(map(str, rest))}); agree on who deploys, and deploy again"
        )


def _registered(client: DagyClient, meant: Wanted, step: RegisterFlow) -> FlowVersion:
    found = client.register_flow(step.artifact, namespace=step.namespace, new_revision=step.new_revision)
    if found.code_hash != meant.code_hash:
        raise ConflictError(
            f"what was registered as {found.name} {found.label} is not the code that is deployed: somebody else "
            "deploys at the same time; deploy again"
        )
    return found


def _switched(client: DagyClient, step: SwitchDeployment, registered: FlowVersion | None) -> Deployment:
    revision = step.revision if registered is None else registered.revision
    assert revision is not None
    return client.put_deployment(
        step.name,
        namespace=step.namespace,
        flow_name=step.flow,
        flow_version=step.version,
        revision=revision,
        tags=step.tags,
        parameters=step.parameters,
    )
