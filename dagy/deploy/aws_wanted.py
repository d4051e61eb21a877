"""What should exist on AWS for a deployment to run there, as values; making them asks nobody.

A function, a container and a state machine are made of what was made before them: the ARNs that they need are `Places`,
which fill up while a deploy goes on.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from dagy.artifact import Artifact
from dagy.artifact.bootstrap import bootstrap_command
from dagy.aws import AwsSchedule, FargateTarget, FunctionConfig, MachineConfig, TaskDefinition
from dagy.backends.environment import Environment
from dagy.backends.limits import LIMITS
from dagy.backends.routes import Measured, Route, Sizes
from dagy.backends.state_machine import ContainerSize, EcsTarget, MachineResources, compile_flow
from dagy.client.artifacts import digest_of
from dagy.control.records import Timing
from dagy.deploy.aws_names import ALIAS, CONTAINER, FINGERPRINT_TAG, deployment_tags, layer_name, resource_name
from dagy.deploy.aws_times import aws_cron
from dagy.engine import new_run_id
from dagy.errors import ArtifactError
from dagy.executors import ECS, LAMBDA, STEP_FUNCTIONS
from dagy.spec import FlowSpec, Json

HANDLER = "dagy.artifact.handler.handler"
IMAGE = "public.ecr.aws/lambda/python:{python}"  # of a container that the user gave no image for
_EXECUTION_ID = "<aws.scheduler.execution-id>"
_FREE_DISK_GIB = 20  # of a container


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has to be in the bucket, under a key that is made of what is in it."""

    what: str  # "the artifact"
    key: str
    path: Path
    sha256: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Places:
    """ARNs of what there is; None for what there is not, or not yet, or what the backend does without."""

    layer: str | None = None
    function: str | None = None  # of the published version
    task_definition: str | None = None  # of the revision
    machine: str | None = None  # of the published version


@dataclass(frozen=True, slots=True)
class OnAws:
    """A deployment on AWS as it should be."""

    environment: Environment
    route: Route
    reference: str  # of the deployment
    name: str  # of each of its resources
    spec: FlowSpec
    artifact: Upload
    layer: Upload | None  # the packages; None: they are where the code runs already
    function: FunctionConfig | None  # without its layer
    container: TaskDefinition | None
    timing: Timing | None
    parameters: Mapping[str, Json] = field(default_factory=dict)
    endpoint_url: str | None = None  # of a stand-in for AWS that the profile names
    measured: Measured | None = None  # what the route was found by

    @property
    def has_machine(self) -> bool:
        """Whether a state machine runs it."""
        return self.route.backend == STEP_FUNCTIONS

    @property
    def layer_name(self) -> str | None:
        """The layer's name, of which any version is as good."""
        return None if self.layer is None else layer_name(self.environment.prefix, self.layer.sha256)

    def tags(self, *parts: object) -> dict[str, str]:
        """The tags of a resource that is made of `parts`."""
        text = json.dumps(parts, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return {**self.environment.tags, **deployment_tags(self.reference), FINGERPRINT_TAG: fingerprint}

    def function_tags(self) -> dict[str, str]:
        """The function's tags."""
        assert self.function is not None
        return self.tags(asdict(self.function), self.artifact.sha256, self.layer_name)

    def function_config(self, layer: str | None) -> FunctionConfig:
        """The function with the layer of that ARN."""
        assert self.function is not None
        return replace(self.function, layers=() if layer is None else (layer,))

    def container_tags(self) -> dict[str, str]:
        """The task definition's tags."""
        assert self.container is not None
        return self.tags(asdict(self.container))

    def machine(self, places: Places) -> MachineConfig:
        """The state machine. Raises `BackendError` for a flow that none can run."""
        definition = compile_flow(
            self.spec,
            self._machine_resources(places),
            on_ecs=self.route.on_ecs,
            container_sizes={
                each.task: ContainerSize(each.vcpu or 1.0, each.memory_mb)
                for each in self.route.tasks.values()
                if each.task in self.route.on_ecs
            },
        ).text
        return MachineConfig(self.name, definition, self.environment.state_machine_role)

    def machine_tags(self, machine: MachineConfig) -> dict[str, str]:
        """The state machine's tags."""
        return self.tags(asdict(machine))

    def is_complete(self, places: Places) -> bool:
        """Whether all is there that runs need."""
        needed = (
            (self.function, places.function),
            (self.container, places.task_definition),
            (self.has_machine or None, places.machine),
        )
        return all(wanted is None or place is not None for wanted, place in needed)

    def schedule(self, places: Places) -> AwsSchedule | None:
        """The schedule; None when the deployment has none."""
        if self.timing is None:
            return None
        target, given, task = self._started(places)
        return AwsSchedule(
            name=self.name,
            group=self.environment.schedule_group,
            expression=aws_cron(str(self.timing.cron)),
            target=target,
            role=self.environment.scheduler_role,
            input=_compact(given),
            timezone=self.timing.timezone,
            description=f"runs of {self.reference}"[:512],
            task=task,
            retries=0,  # each try would have another id, and so be another run
            max_age_seconds=300,
        )

    def resources(self, places: Places) -> dict[str, Json]:
        """What whoever starts a run, follows it or stops it must know."""
        at = self.environment
        known: dict[str, Json] = {
            "region": at.region,
            "account": at.account,
            "stack": at.stack,
            "bucket": at.bucket,
            "store": at.store,
            "log_group": at.log_group,
            "tier": self.route.tier,
        }
        if self.endpoint_url is not None:
            known["endpoint_url"] = self.endpoint_url
        if self.measured is not None:
            known["measured"] = asdict(self.measured)
        if self.function is not None:
            known |= {
                "function": places.function,
                "timeout_seconds": self.function.timeout_seconds,
                "memory_mb": self.function.memory_mb,
            }
        if self.container is not None:
            known |= {
                "cluster": at.cluster,
                "task_definition": places.task_definition,
                "subnets": list(at.subnets),
                "security_groups": list(at.security_groups),
                "container": CONTAINER,
                "assign_public_ip": at.assign_public_ip,
            }
        if self.has_machine:
            known["state_machine"] = places.machine
            known["state_machine_sha256"] = machine_sha256(self.machine(places))
        if self.timing is not None:
            timing = {"cron": self.timing.cron, "timezone": self.timing.timezone}
            known["schedule"] = {"name": self.name, "group": at.schedule_group, **timing}
        return known

    def check(self) -> None:
        """Raise `BackendError` for what AWS will not take, as far as that can be told without asking."""
        where = f"the deployment {self.reference!r}"
        unknown = f"arn:{self.environment.partition}:lambda:{self.environment.region}:{self.environment.account}:"
        places = Places("", f"{unknown}function:{self.name}:0000", f"{unknown}task-definition/{self.name}:0", "")
        if self.function is not None:
            size = sum(len(name) + len(value) for name, value in self.function.environment.items())
            LIMITS["lambda.environment"].check(size, f"the environment of {where}")
        if self.has_machine:
            self.machine(places)
        schedule = self.schedule(places)
        if schedule is not None:
            is_ecs = self.route.backend == ECS
            limit = LIMITS[
                "ecs.overrides" if is_ecs else "machine.payload" if self.has_machine else "lambda.async_payload"
            ]
            limit.check(len(schedule.input), f"what the schedule of {where} gives its runs", "give it fewer parameters")

    def _machine_resources(self, places: Places) -> MachineResources:
        at = self.environment
        ecs = None
        if self.container is not None:
            ecs = EcsTarget(
                cluster=self._cluster,
                task_definition=str(places.task_definition),
                subnets=at.subnets,
                security_groups=at.security_groups,
                container=CONTAINER,
                assign_public_ip=at.assign_public_ip,
            )
        assert self.function is not None
        return MachineResources(
            function_arn=str(places.function),
            bucket=at.bucket,
            ecs=ecs,
            function_timeout_seconds=self.function.timeout_seconds,
            partition=at.partition,
        )

    @property
    def _cluster(self) -> str:
        at = self.environment
        return f"arn:{at.partition}:ecs:{at.region}:{at.account}:cluster/{at.cluster}"

    def _started(self, places: Places) -> tuple[str, Json, FargateTarget | None]:
        """What a schedule starts, and with what."""
        at = self.environment
        run_id = f"{new_run_id(self.spec.name).rsplit('-', 3)[0]}-{_EXECUTION_ID}"  # its time and number are AWS's
        event: dict[str, Json] = {
            "run_id": run_id,
            "deployment": self.reference,
            "trigger": "schedule",
            "parameters": dict(self.parameters),
        }
        match self.route.backend:
            case "lambda":
                assert places.function is not None
                return f"{places.function.rpartition(':')[0]}:{ALIAS}", {**event, "events": True}, None
            case "step-functions":
                start = f"arn:{at.partition}:scheduler:::aws-sdk:sfn:startExecution"
                return start, {"StateMachineArn": places.machine, "Name": run_id, "Input": _compact(event)}, None
            case _:
                told = [{"name": "DAGY_EVENT", "value": _compact({**event, "events": True})}]
                task = FargateTarget(str(places.task_definition), at.subnets, at.security_groups, at.assign_public_ip)
                return self._cluster, {"containerOverrides": [{"name": CONTAINER, "environment": told}]}, task


def on_aws(
    environment: Environment,
    route: Route,
    artifact: Artifact,
    reference: str,
    *,
    timing: Timing | None,
    parameters: Mapping[str, Json],
    endpoint_url: str | None = None,
    measured: Measured | None = None,
) -> OnAws:
    """What should exist for the artifact to run there as this deployment. Raises `BackendError` as `OnAws.check`."""
    python, name = artifact.manifest.python_version, resource_name(environment.prefix, reference)
    code = Upload("the artifact", f"artifacts/{artifact.sha256}.zip", artifact.path, artifact.sha256, artifact.size)
    layer = None
    if artifact.layer is not None:
        sha256 = digest_of(artifact.layer)
        layer = Upload("its packages", f"layers/{sha256}.zip", artifact.layer, sha256, artifact.layer.stat().st_size)
    settings = {"DAGY_STORE": environment.store, "DAGY_BUCKET_OWNER": environment.account}
    function = container = None
    if route.backend in (LAMBDA, STEP_FUNCTIONS):
        function = FunctionConfig(
            name=name,
            role=environment.function_role,
            handler=HANDLER,
            runtime=f"python{python}",
            architecture=route.architecture,
            memory_mb=route.memory_mb,
            timeout_seconds=int(route.timeout_seconds or LIMITS["lambda.timeout"].value),
            ephemeral_mb=route.ephemeral_mb or 512,
            environment=settings,
            description=f"the flow {artifact.flow_name} as {reference}, by Dagy"[:256],
            log_group=environment.log_group,
        )
    if route.backend == ECS or route.on_ecs:
        container = _container(environment, route, name, settings, code, layer, python)
    wanted = OnAws(
        environment,
        route,
        reference,
        name,
        artifact.manifest.spec,
        code,
        layer,
        function,
        container,
        timing,
        dict(parameters),
        endpoint_url,
        measured,
    )
    wanted.check()
    return wanted


def sizes_of(artifact: Artifact) -> Sizes:
    """How large the artifact is with its packages, packed and unpacked. Raises `ArtifactError`."""
    files = [each for each in (artifact.path, artifact.layer) if each is not None]
    zipped = unzipped = 0
    for each in files:
        try:
            with zipfile.ZipFile(each) as archive:
                unzipped += sum(member.file_size for member in archive.infolist())
            zipped += each.stat().st_size
        except (OSError, zipfile.BadZipFile) as error:
            raise ArtifactError(f"{str(each)!r} can't be read: {error}; build it again") from error
    return Sizes(zipped, unzipped)


def machine_sha256(machine: MachineConfig) -> str:
    """What tells one definition of a state machine from another."""
    return hashlib.sha256(f"{machine.role}\n{machine.definition}".encode()).hexdigest()


def _container(
    environment: Environment,
    route: Route,
    name: str,
    settings: Mapping[str, str],
    code: Upload,
    layer: Upload | None,
    python: str,
) -> TaskDefinition:
    """A container large enough for the largest task that runs in one."""
    sizes = [(route.vcpu or 1.0, route.memory_mb)]
    if route.backend != ECS:
        sizes = [(each.vcpu or 1.0, each.memory_mb) for each in route.tasks.values() if each.task in route.on_ecs]
    vcpu, memory_mb = max(sizes)
    settings = dict(settings)
    if route.image is None:  # an image of one's own holds the code
        for variable, upload in (("DAGY_ARTIFACT", code), ("DAGY_LAYER", layer)):
            if upload is not None:
                settings[variable] = f"s3://{environment.bucket}/{upload.key}"
                settings[f"{variable}_SHA256"] = upload.sha256
    return TaskDefinition(
        family=name,
        image=route.image or IMAGE.format(python=python),
        cpu=int(vcpu * 1024),
        memory_mb=memory_mb,
        task_role=environment.task_role,
        execution_role=environment.execution_role,
        container=CONTAINER,
        log_group=environment.log_group,
        log_prefix=name,
        entry_point=() if route.image else tuple(bootstrap_command()),
        environment=settings,
        ephemeral_gib=max(_FREE_DISK_GIB, -(-(route.ephemeral_mb or 0) // 1024)),
        architecture=route.architecture,
    )


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))
