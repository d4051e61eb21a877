"""Deploying: what is wanted, what there is, the plan, and its steps made one by one.

A deploy that stopped anywhere, because something failed or the process was killed, is simply made again: what there is
by then is looked at anew, and a step that was made already does nothing when it is made once more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dagy import backends, drawing
from dagy.artifact import Artifact, build_artifact, open_artifact, open_built, refuse_while_loading, source_of
from dagy.artifact.sizes import TooLargeError
from dagy.client import DagyClient
from dagy.control.records import Deployment, FlowVersion
from dagy.deploy.aws_place import Place, place_of, targets_of
from dagy.deploy.plan import (
    LeaveAws,
    Plan,
    Present,
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
from dagy.errors import ConflictError, DagyError, UnknownDeploymentError
from dagy.executors import Executor
from dagy.flows import Flow
from dagy.lazy import lazily
from dagy.runs.faults import point
from dagy.settings import Settings, made_private
from dagy.spec import Json

if TYPE_CHECKING:
    from dagy.aws import Aws
    from dagy.backends import Measured, Route
    from dagy.deploy.aws_side import AwsSide

# Loaded by a deploy that goes there: it takes longer than all that a deploy to workers needs.
_load, _ = lazily(__name__, dict.fromkeys(("aws_of", "aws_side", "looked_up"), "dagy.deploy.aws_side"))


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

    @property
    def route(self) -> Route | None:
        """Where on AWS it runs, why, near which limits and at what cost; None: workers run it."""
        return self.plan.wanted.route

    def __str__(self) -> str:
        version = self.flow_version if self.deployment is None or self.is_dry_run else self.deployment.label
        what = f"{self.reference}: {self.flow_name} {version}"
        where = f" in the namespace {self.namespace}" if self.namespace else ""
        where += f" on {self.plan.wanted.executor}" if self.route is not None else ""
        if self.skipped:
            return drawing.plain_lines(f"{what} is deployed already{where}, nothing to do")
        head = f"{what} {'would be' if self.is_dry_run else 'is'} deployed{where}"
        lines = [head, *(f"  {step}" for step in self.plan.steps)]
        if self.is_dry_run and self.route is not None:
            lines += ["", *str(self.route).splitlines()]
        if self.artifact.layer is not None and self.route is None:
            lines.append(f"its packages stay on this machine for now: {self.artifact.layer}")
        if not self.is_dry_run:
            if self.plan.wanted.timing is not None and self.is_local and self.route is None:
                lines.append("its schedule is followed while a worker runs: dagy worker")
            lines.append(f"run it: dagy run {shlex.quote(self.reference)}")
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
    executor: str | Executor | None = None,
    image: str | None = None,
    aws: Aws | None = None,
    measured: Measured | None = None,
    dry_run: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> DeployResult:
    """Put a built artifact into the store, register its flow, and let the deployment stand for it.

    The deployment is called `deployment_name`, or as the flow is, in the `namespace` ("" unless given). It is described
    whole: the `tags`, the `parameters` that its runs are given unless they say otherwise, and the `schedule`, five
    fields of cron in a `timezone` (an IANA name; UTC unless given), are these and no others. So without a `schedule`,
    one that an earlier deploy made is removed; schedules that were made apart are left alone. In this process's own
    control plane, schedules are followed while `dagy worker` runs.

    Its runs are run by workers, or on AWS where the profile has a section for that (`dagy aws init` makes it) or the
    `executor` says so: "lambda", "step-functions" or "ecs", a tier, "auto" for what the `BackendRouter` finds to fit,
    or "local" for workers whatever the profile has. What is needed is made there, and the artifact put into its bucket;
    `image` is a container image of one's own to run in. Its schedule is then one of EventBridge Scheduler. `aws` is the
    account, the one that the profile names unless given, and `measured` what the flow's runs took, by which the router
    goes: unless given, what this machine's history says, and for code that is deployed already, what it said then.

    When this code is deployed with these settings, nothing is done and the result's `skipped` says so, unless `force`.
    A deploy that failed anywhere is made again to go on. With `dry_run` nothing is changed. `on_step` is given each
    step before it is made. Where to is said by `api_url`, `profile` or `client`: see `DagyClient`.

    Raises `ArtifactError` when the artifact is not to be trusted; `ConflictError` when it does not hold `flow_name` or
    `flow_version`, or when that version is registered with other code (`force` registers a new revision of it);
    `ParameterError` for a setting that can't be; `BackendError` for what AWS can't run or does not take.
    """
    refuse_while_loading("deploy_artifact()")
    path = Path(artifact_path)
    with open_artifact(path) as opened:
        opened.verify()
    artifact = open_built(path)
    place = place_of(executor, image, profile, aws)
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
        side = None if place is None else _side(opened_client, artifact, meant, place, measured)
        return _deployed(opened_client, artifact, meant, side, force=force, dry_run=dry_run, on_step=on_step)


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
    executor: str | Executor | None = None,
    image: str | None = None,
    aws: Aws | None = None,
    dry_run: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> DeployResult:
    """Build the flow's artifact and deploy it as `deploy_artifact` does, all in one.

    The `namespace` is the folder of the flow's file below the working directory unless given. What is built is kept in
    `output_dir`, or in the local folder; `target`, `include` and `requirements` are those of `build_artifact`, and the
    target is what suits AWS where it is deployed there.
    """
    refuse_while_loading("flow.deploy()")
    place = _looked_up(place_of(executor, image, profile, aws))
    artifact = build_to_deploy(
        flow,
        place,
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
        side = None if place is None else _side(opened_client, artifact, meant, place)
        result = _deployed(opened_client, artifact, meant, side, force=force, dry_run=dry_run, on_step=on_step)
    if not dry_run:
        flow.deployed_as = result.reference
    return result


def build_to_deploy(
    flow: Flow[..., Any] | str | Path,
    place: Place | None,
    *,
    output_dir: str | Path,
    include: Iterable[str] = (),
    requirements: str | Path | None = None,
    target: str = "local",
    on_step: Callable[[str], None] | None = None,
) -> Artifact:
    """The flow's artifact, as `build_artifact` makes it, for `target` or else for what suits the place: `built_for`.

    A build may take a while, so first it is looked whether the place is there: `AuthError`, `NetworkError` and
    `CloudError` when it is not.
    """
    _looked_up(place)
    return built_for(
        place,
        lambda each: build_artifact(
            flow, output_dir=output_dir, include=include, requirements=requirements, target=each, on_step=on_step
        ),
        None if target == "local" else target,
    )


def built_for(place: Place | None, build: Callable[[str], Artifact], target: str | None = None) -> Artifact:
    """What `build` makes for `target`, or else for what suits the place; None is this machine.

    What is too large for Lambda is built for a container, where nobody asked for a function.
    """
    if target is not None or place is None:
        return build(target or "local")
    first, *others = targets_of(place)
    try:
        return build(first)
    except TooLargeError as error:
        if not others:
            error.add_note("A container takes more: deploy it with executor='ecs' (--executor ecs).")
            raise
        return build(others[0])


def builds_folder() -> Path:
    """Where what is built to be deployed is kept: in the local folder, which is made. Raises `StoreError`."""
    return made_private(Settings.read().local_dir) / "builds"


def _opened(client: DagyClient | None, api_url: str | None, profile: str | None) -> AbstractContextManager[DagyClient]:
    """`client`, which stays open, or one that is closed after use."""
    return nullcontext(client) if client is not None else DagyClient(api_url, profile=profile)


def _looked_up(place: Place | None) -> Place | None:
    """The place, with what there is in it, which is looked up unless it was."""
    if place is None or place.environment is not None:
        return place
    look_up = cast("Callable[[Place], Place]", _load("looked_up"))
    return look_up(place)


def _side(
    client: DagyClient, artifact: Artifact, meant: Wanted, place: Place, measured: Measured | None = None
) -> AwsSide:
    make = cast("Callable[[Place, Artifact, Wanted, Measured | None], AwsSide]", _load("aws_side"))
    return make(place, artifact, meant, _measured(client, meant, measured))


def _deployed(
    client: DagyClient,
    artifact: Artifact,
    meant: Wanted,
    side: AwsSide | None,
    *,
    force: bool,
    dry_run: bool,
    on_step: Callable[[Step], None] | None,
) -> DeployResult:
    if side is not None:
        meant = replace(meant, route=side.wanted.route)
    present = look(client, meant, side, force=force)
    steps = plan(meant, present, side, force=force)
    deployment = present.deployment
    if not dry_run and steps.steps:
        deployment = _carried_out(client, steps, present, side, on_step)
        _check_settled(client, meant, side)
    return DeployResult(steps, artifact, deployment, is_dry_run=dry_run, is_local=client.is_local)


def _measured(client: DagyClient, meant: Wanted, given: Measured | None) -> Measured | None:
    """What runs of the flow took: as when this code was deployed first, so that it is not moved by every run since."""
    with suppress(UnknownDeploymentError, ConflictError):
        found = client.deployment(meant.reference)
        if found.code_hash == meant.code_hash and found.namespace == meant.namespace and found.resources:
            kept = found.resources.get("measured")
            return None if kept is None else backends.Measured(**kept)
    return given or backends.measured_from_history(Settings.read().local_dir, meant.flow_name)


def _carried_out(
    client: DagyClient, plan: Plan, present: Present, side: AwsSide | None, on_step: Callable[[Step], None] | None
) -> Deployment | None:
    """The deployment once each step of the plan is made."""
    deployment = present.deployment
    deployer = None if side is None or present.on_aws is None else side.deployer(present.on_aws)
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
                    resources = {} if deployer is None else deployer.resources()
                    deployment = _switched(client, step, registered, resources)
                case PutSchedule(reference=reference, timing=timing):
                    client.put_schedule(reference, timing, implicit=True)
                case RemoveSchedule(schedule_id=schedule_id):
                    client.delete_schedule(schedule_id)
                case LeaveAws(group=group, name=name):
                    assert present.deployment is not None
                    aws_of = cast("Callable[[Deployment], Aws]", _load("aws_of"))
                    aws_of(present.deployment).schedules.delete(group, name)
                case _:
                    assert deployer is not None
                    deployer.carry_out(step)
        except DagyError as error:
            error.add_note(f"The deploy stopped here: {step}. Deploy again to go on.")
            raise
        point("deploy.after_step")
    return deployment


def _check_settled(client: DagyClient, meant: Wanted, side: AwsSide | None) -> None:
    """Raise `ConflictError` unless all is as it should be, so that a new plan would have no steps."""
    rest = plan(meant, look(client, meant, side), side).steps
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


def _switched(
    client: DagyClient, step: SwitchDeployment, registered: FlowVersion | None, resources: Mapping[str, Json]
) -> Deployment:
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
        executor=step.executor,
        resources=resources,
    )
