"""ECS on Fargate: what a task is made of, and running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagy.aws.clients import Clients
from dagy.aws.refusals import NotThereError
from dagy.errors import CloudError

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """How a task of one container on Fargate is to be."""

    family: str
    image: str
    cpu: int
    """In units of 1/1024 vCPU: 256 to 16384."""
    memory_mb: int
    task_role: str
    """ARN: what the code runs as."""
    execution_role: str
    """ARN: what ECS itself uses to pull the image and to write the log."""
    container: str
    """The container's name."""
    log_group: str
    log_prefix: str
    """The log's stream is `<log_prefix>/<container>/<the task's id>`."""
    entry_point: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ephemeral_gib: int = 20
    """20, which is free, or 21 to 200."""
    architecture: str = "x86_64"
    """Or `arm64`."""


@dataclass(frozen=True, slots=True)
class RegisteredTask:
    """A task definition as it is registered: a revision never changes."""

    definition: TaskDefinition
    arn: str
    """With the revision at its end."""
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunTask:
    """A task to be started."""

    cluster: str
    task_definition: str
    """ARN of a revision."""
    container: str
    """The container that `environment` is for."""
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    client_token: str
    """At most 64 characters: the same one again within a day starts nothing."""
    assign_public_ip: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    """Over and above the definition's; all overrides together take 8,192 characters."""
    started_by: str = ""
    """At most 128 characters; `tasks` finds it by this."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task that was started: of its one container, what is known."""

    arn: str
    status: str
    """PROVISIONING, PENDING, RUNNING, DEPROVISIONING, ..., STOPPED."""
    exit_code: int | None
    """Of the container; None: it did not start, or did not end by itself."""
    stop_code: str | None
    """`EssentialContainerExited`, `TaskFailedToStart`, `UserInitiated`, `SpotInterruption`, ..."""
    stopped_reason: str
    container_reason: str
    """`OutOfMemoryError: Container killed due to memory usage`, `CannotPullContainerError: ...`"""

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status == "STOPPED"


class Containers:
    """The task definitions and tasks of the account in the region.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def task_definition(self, name: str) -> RegisteredTask | None:
        """The newest active revision of a family, or the revision with that ARN; None when there is none."""
        try:
            found = self._ecs.describe_task_definition(taskDefinition=name, include=["TAGS"])
        except NotThereError:
            return None
        definition: Any = found["taskDefinition"]
        if definition["status"] != "ACTIVE":
            return None
        tags = {each.get("key", ""): each.get("value", "") for each in found.get("tags", ())}
        return RegisteredTask(_definition(definition), definition["taskDefinitionArn"], tags)

    def families(self, prefix: str) -> tuple[str, ...]:
        """The families with an active revision whose names begin with `prefix`, sorted."""
        pages = self._ecs.get_paginator("list_task_definition_families").paginate(familyPrefix=prefix, status="ACTIVE")
        return tuple(sorted(each for page in pages for each in page["families"]))

    def revisions(self, family: str) -> tuple[str, ...]:
        """The ARNs of the family's active revisions, the oldest first."""
        pages = self._ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, status="ACTIVE")
        return tuple(each for page in pages for each in page["taskDefinitionArns"])

    def register(self, definition: TaskDefinition, tags: Mapping[str, str] | None = None) -> str:
        """A new revision of the definition's family; its ARN."""
        container: Any = {
            "name": definition.container,
            "image": definition.image,
            "essential": True,
            "cpu": definition.cpu,
            "memory": definition.memory_mb,
            "entryPoint": list(definition.entry_point),
            "environment": _pairs(definition.environment, "name"),
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": definition.log_group,
                    "awslogs-region": self._clients.region,
                    "awslogs-stream-prefix": definition.log_prefix,
                },
            },
        }
        more: Any = {}
        if definition.ephemeral_gib > 20:
            more["ephemeralStorage"] = {"sizeInGiB": definition.ephemeral_gib}
        if tags:
            more["tags"] = _pairs(tags, "key")
        made = self._ecs.register_task_definition(
            family=definition.family,
            containerDefinitions=[container],
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu=str(definition.cpu),
            memory=str(definition.memory_mb),
            taskRoleArn=definition.task_role,
            executionRoleArn=definition.execution_role,
            runtimePlatform={"operatingSystemFamily": "LINUX", "cpuArchitecture": _TO_ECS[definition.architecture]},
            **more,
        )
        return made["taskDefinition"]["taskDefinitionArn"]

    def deregister(self, arn: str) -> None:
        """Make the revision inactive: what runs goes on, nothing new starts of it."""
        self._ecs.deregister_task_definition(taskDefinition=arn)

    def run(self, wanted: RunTask) -> str:
        """Start a task; its ARN, the same one for the same token. Raises `CloudError` when there is no room for it."""
        override: Any = {"name": wanted.container, "environment": _pairs(wanted.environment, "name")}
        more: Any = {"startedBy": wanted.started_by} if wanted.started_by else {}
        done = self._ecs.run_task(
            cluster=wanted.cluster,
            taskDefinition=wanted.task_definition,
            clientToken=wanted.client_token,
            count=1,
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": list(wanted.subnets),
                    "securityGroups": list(wanted.security_groups),
                    "assignPublicIp": "ENABLED" if wanted.assign_public_ip else "DISABLED",
                }
            },
            overrides={"containerOverrides": [override]},
            **more,
        )
        if not done["tasks"]:
            _refuse("RunTask", wanted.task_definition, done["failures"])
        return done["tasks"][0]["taskArn"]

    def task(self, cluster: str, arn: str) -> Task | None:
        """The task; None when there is none, or when it ended more than about an hour ago."""
        done = self._ecs.describe_tasks(cluster=cluster, tasks=[arn])
        if not done["tasks"]:
            if any(each.get("reason") != "MISSING" for each in done["failures"]):
                _refuse("DescribeTasks", arn, done["failures"])
            return None
        found: Any = done["tasks"][0]
        container = _own_container(found)
        return Task(
            arn=found["taskArn"],
            status=found["lastStatus"],
            exit_code=container.get("exitCode"),
            stop_code=found.get("stopCode"),
            stopped_reason=found.get("stoppedReason", ""),
            container_reason=container.get("reason", ""),
        )

    def tasks(self, cluster: str, *, started_by: str) -> tuple[str, ...]:
        """The ARNs of the tasks that were started by that name, and have not ended or ended a short while ago."""
        statuses: Sequence[Any] = ("RUNNING", "STOPPED")  # RUNNING: what is to run, whether it does already or not
        found = [
            arn
            for status in statuses
            for page in self._ecs.get_paginator("list_tasks").paginate(
                cluster=cluster, startedBy=started_by, desiredStatus=status
            )
            for arn in page["taskArns"]
        ]
        return tuple(dict.fromkeys(found))

    def stop(self, cluster: str, arn: str, *, reason: str) -> None:
        """Stop the task: SIGTERM, and SIGKILL 30 seconds later. Nothing when there is none."""
        try:
            self._ecs.stop_task(cluster=cluster, task=arn, reason=reason[:255])
        except NotThereError:
            return

    @property
    def _ecs(self) -> ECSClient:
        return self._clients.of("ecs")


_TO_ECS: Mapping[str, Any] = {"x86_64": "X86_64", "arm64": "ARM64"}
_FROM_ECS = {"X86_64": "x86_64", "ARM64": "arm64"}


def _definition(found: Any) -> TaskDefinition:
    container = found["containerDefinitions"][0]
    options = container.get("logConfiguration", {}).get("options", {})
    architecture = found.get("runtimePlatform", {}).get("cpuArchitecture", "X86_64")
    return TaskDefinition(
        family=found["family"],
        image=container["image"],
        cpu=int(found.get("cpu", 0)),
        memory_mb=int(found.get("memory", 0)),
        task_role=found.get("taskRoleArn", ""),
        execution_role=found.get("executionRoleArn", ""),
        container=container["name"],
        log_group=options.get("awslogs-group", ""),
        log_prefix=options.get("awslogs-stream-prefix", ""),
        entry_point=tuple(container.get("entryPoint", ())),
        environment={each["name"]: each["value"] for each in container.get("environment", ())},
        ephemeral_gib=found.get("ephemeralStorage", {"sizeInGiB": 20})["sizeInGiB"],
        architecture=_FROM_ECS.get(architecture, architecture),
    )


def _own_container(task: Any) -> Any:
    """The container that was started with something of ours; AWS itself may have put others beside it."""
    containers = task.get("containers", ())
    names = {each["name"] for each in task.get("overrides", {}).get("containerOverrides", ()) if "name" in each}
    return next((each for each in containers if each.get("name") in names), next(iter(containers), {}))


def _pairs(values: Mapping[str, str], key: str) -> Any:
    return [{key: name, "value": value} for name, value in values.items()]


def _refuse(operation: str, subject: str, failures: Sequence[Any]) -> None:
    told = [(str(each.get("reason", "")), str(each.get("detail", ""))) for each in failures]
    reasons = "; ".join(f"{reason} {detail}".strip() for reason, detail in told) or "no reason given"
    code = told[0][0].partition(" ")[0] if told else ""
    raise CloudError(f"ecs:{operation} of {subject!r} failed: {reasons}", operation=operation, code=code)
