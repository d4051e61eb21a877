"""The steps from what is to what should be. Looking and planning change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dagy.control.records import LOCAL, Deployment, FlowVersion, Schedule, Timing, reference_of, version_label
from dagy.deploy.wanted import Wanted
from dagy.errors import ArtifactError, ConflictError, UnknownDeploymentError, UnknownFlowError
from dagy.spec import Json

if TYPE_CHECKING:
    from dagy.client import DagyClient
    from dagy.deploy.aws_plan import AwsPresent, AwsStep
    from dagy.deploy.aws_side import AwsSide

UNNAMED_VERSION = "latest"  # of a flow whose author names none: it may be any code


@dataclass(frozen=True, slots=True)
class UploadArtifact:
    """Put the artifact into the store."""

    sha256: str
    path: Path
    size: int  # bytes

    def __str__(self) -> str:
        return f"upload the artifact ({self.size:,} bytes, sha256 {self.sha256[:12]})"


@dataclass(frozen=True, slots=True)
class RegisterFlow:
    """Register the artifact's flow as a version, or as one more revision of it."""

    artifact: str
    namespace: str
    flow: str
    version: str
    code_hash: str
    new_revision: bool

    def __str__(self) -> str:
        what = f"register {self.flow} {self.version}{' as a new revision' if self.new_revision else ''}"
        return f"{what} (build id {self.code_hash[:12]})"


@dataclass(frozen=True, slots=True)
class SwitchDeployment:
    """Let the deployment stand for that version, with these settings."""

    name: str
    namespace: str
    flow: str
    version: str
    revision: int | None  # None: the one that the step before registers
    tags: Mapping[str, str]
    parameters: Mapping[str, Json]
    before: Deployment | None  # as it is until then; None: it is not there
    is_other_code: bool  # than it stands for until then
    executor: str = LOCAL

    def __str__(self) -> str:
        name = reference_of(self.namespace, self.name)
        before = self.before
        where = "" if self.executor == LOCAL else f" on {self.executor}"
        if before is None:
            return f"make the deployment {name}: {self.flow} {self.version}{where}"
        if before.executor != self.executor:
            return f"move {name} from {before.executor} to {self.executor}"
        if not self.is_other_code:
            pairs = (("tags", before.tags, self.tags), ("parameters", before.parameters, self.parameters))
            changed = " and the ".join(what for what, was, is_ in pairs if dict(was) != dict(is_))
            if not changed and where:
                return f"let {name} stand for what there is{where} now"
            return f"set the {changed} of {name}" if changed else f"set {name} to what it is set to"
        if self.revision is not None:
            after = f"{self.flow} {version_label(self.version, self.revision)}"
        elif (before.flow_name, before.flow_version) == (self.flow, self.version):
            after = "a new revision"
        else:
            after = f"{self.flow} {self.version}"
        return f"switch {name} from {before.flow_name} {before.label} to {after}"


@dataclass(frozen=True, slots=True)
class PutSchedule:
    """Let the deployment run by itself."""

    reference: str
    timing: Timing
    before: Timing | None

    def __str__(self) -> str:
        return f"schedule {self.reference}: {_told(self.timing)}" + (
            "" if self.before is None else f" (it was {_told(self.before)})"
        )


@dataclass(frozen=True, slots=True)
class RemoveSchedule:
    """Let the deployment no longer run by itself, as an earlier deploy had it."""

    reference: str
    schedule_id: str
    before: Timing

    def __str__(self) -> str:
        return f"remove the schedule of {self.reference}: {_told(self.before)}"


@dataclass(frozen=True, slots=True)
class LeaveAws:
    """Let EventBridge Scheduler start no more runs of a deployment that is not on AWS any more."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"remove the schedule {self.name} on AWS, where the rest stays"


Step: TypeAlias = "UploadArtifact | RegisterFlow | SwitchDeployment | PutSchedule | RemoveSchedule | LeaveAws | AwsStep"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a deploy, in order; none when all is as it should be."""

    wanted: Wanted
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        head = f"{self.wanted.reference}: {self.wanted.flow_name} {self.wanted.flow_version}"
        return "\n".join(
            [head, *(f"  {number}. {step}" for number, step in enumerate(self.steps or ("nothing to do",), 1))]
        )


@dataclass(frozen=True, slots=True)
class Present:
    """What there is of a deployment, as far as a plan depends on it."""

    deployment: Deployment | None
    version: FlowVersion | None  # the newest revision of the wanted version
    has_artifact: bool
    schedule: Schedule | None  # the one that an earlier deploy made
    on_aws: AwsPresent | None = None  # where it is wanted there


def look(client: DagyClient, wanted: Wanted, side: AwsSide | None = None, *, force: bool = False) -> Present:
    """What there is, also on AWS where `side` is. Asks for no more than `plan` needs."""
    deployment = _deployment(client, wanted)
    schedules = [] if deployment is None else client.schedules(deployment=wanted.reference)
    schedule = next((each for each in schedules if each.is_implicit), None)
    found = Present(deployment, None, has_artifact=True, schedule=schedule)
    if side is not None:
        found = replace(found, on_aws=side.look(deployment))
    if _is_as_wanted(wanted, found, side) and not force:
        return found
    return replace(found, version=_version(client, wanted), has_artifact=_has_artifact(client, wanted))


def plan(wanted: Wanted, present: Present, side: AwsSide | None = None, *, force: bool = False) -> Plan:
    """The steps from `present` to `wanted`; with `force` those to the switch also where they change nothing.

    What a deployment needs is there before it is switched, and made again each step does what it did. `ConflictError`
    when the version is registered with other code, unless `force` makes that a new revision of it.
    """
    switching = tuple(_switching(wanted, present, side, force=force))
    on_aws: tuple[AwsStep, ...] = ()
    after: tuple[Step, ...] = tuple(_leaving(present))
    if side is not None and present.on_aws is not None:
        on_aws = side.steps(present.on_aws, force=force)
        after = side.tidying(present.on_aws)
    return Plan(wanted, (*switching[:-1], *on_aws, *switching[-1:], *_scheduling(wanted, present), *after))


def _leaving(present: Present) -> Iterator[LeaveAws]:
    left = {} if present.deployment is None else present.deployment.resources.get("schedule") or {}
    if left:
        yield LeaveAws(str(left["group"]), str(left["name"]))


def _switching(wanted: Wanted, present: Present, side: AwsSide | None, *, force: bool) -> Iterator[Step]:
    """The steps up to the switch, which is the last one; none when the deployment is as wanted."""
    deployment, version = present.deployment, present.version
    if _is_as_wanted(wanted, present, side) and not force:
        return
    is_other = version is not None and version.code_hash != wanted.code_hash
    if is_other and not force and wanted.flow_version != UNNAMED_VERSION:
        raise ConflictError(
            f"flow {wanted.flow_name!r} {wanted.flow_version} is registered with other code; raise the version in "
            "@flow(version=...), or register the code as a new revision of it with force=True (--force)"
        )
    is_registered = version is not None and not is_other
    if force or not (is_registered or present.has_artifact):
        yield UploadArtifact(wanted.artifact, wanted.path, wanted.size)
    if force or not is_registered:
        new_revision = is_other and force
        yield RegisterFlow(
            wanted.artifact,
            wanted.namespace,
            wanted.flow_name,
            wanted.flow_version,
            wanted.code_hash,
            new_revision=new_revision,
        )
    yield SwitchDeployment(
        wanted.name,
        wanted.namespace,
        wanted.flow_name,
        wanted.flow_version,
        version.revision if version is not None and is_registered and not force else None,
        wanted.tags,
        wanted.parameters,
        before=deployment,
        is_other_code=deployment is not None and deployment.code_hash != wanted.code_hash,
        executor=wanted.executor,
    )


def _scheduling(wanted: Wanted, present: Present) -> Iterator[Step]:
    before = None if present.schedule is None else present.schedule.timing
    if wanted.timing is not None and wanted.route is None:  # there AWS itself starts the runs
        if before is None or not _is_same(before, wanted.timing):
            yield PutSchedule(wanted.reference, wanted.timing, before)
    elif present.schedule is not None:
        yield RemoveSchedule(wanted.reference, present.schedule.schedule_id, present.schedule.timing)


def _is_as_wanted(wanted: Wanted, present: Present, side: AwsSide | None) -> bool:
    deployment = present.deployment
    resources: Mapping[str, Json] | None = {}
    if deployment is None:
        return False
    if side is not None and present.on_aws is not None:
        resources = side.resources(present.on_aws)
    return (
        deployment.code_hash == wanted.code_hash
        and (deployment.flow_name, deployment.flow_version) == (wanted.flow_name, wanted.flow_version)
        and dict(deployment.tags) == dict(wanted.tags)
        and dict(deployment.parameters) == dict(wanted.parameters)
        and (deployment.executor, deployment.resources) == (wanted.executor, resources)
    )


def _is_same(one: Timing, other: Timing) -> bool:
    return (one.mode, one.cron, one.timezone) == (other.mode, other.cron, other.timezone)


def _told(timing: Timing) -> str:
    return f"{timing.cron} ({timing.timezone})"


def _deployment(client: DagyClient, wanted: Wanted) -> Deployment | None:
    try:
        found = client.deployment(wanted.reference)
    except (UnknownDeploymentError, ConflictError):  # a conflict: in several namespaces, and not in this one
        return None
    return found if found.namespace == wanted.namespace else None


def _version(client: DagyClient, wanted: Wanted) -> FlowVersion | None:
    try:
        return client.flow(wanted.flow_name, namespace=wanted.namespace, version=wanted.flow_version)
    except UnknownFlowError:
        return None


def _has_artifact(client: DagyClient, wanted: Wanted) -> bool:
    try:
        client.artifact(wanted.artifact)
    except ArtifactError:
        return False
    return True
