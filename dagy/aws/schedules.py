"""EventBridge Scheduler: what is started at which times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagy.aws.clients import Clients
from dagy.aws.refusals import NotThereError
from dagy.aws.waiting import once_role_is_known
from dagy.errors import CloudError

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient


@dataclass(frozen=True, slots=True)
class FargateTarget:
    """Which task on Fargate a schedule starts; the target's ARN is the cluster's."""

    task_definition: str
    """ARN."""
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    assign_public_ip: bool = False


@dataclass(frozen=True, slots=True)
class AwsSchedule:
    """A schedule: when, and what with which input."""

    name: str
    """At most 64 characters."""
    group: str
    expression: str
    """`cron(0 6 * * ? *)`, `rate(5 minutes)` or `at(2030-01-31T06:00:00)`."""
    target: str
    """ARN: of a function's version, of a state machine's version, or of a cluster."""
    role: str
    """ARN: what starts the target."""
    input: str
    """JSON; `<aws.scheduler.execution-id>` in it becomes the id of that start. Of a cluster: the task's overrides."""
    timezone: str = "UTC"
    is_enabled: bool = True
    description: str = ""
    task: FargateTarget | None = None
    retries: int = 0
    """How often a start that was refused is tried again."""
    max_age_seconds: int = 3600
    """How long it is tried again."""


class Schedules:
    """The schedules of the account in the region, in groups.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def get(self, group: str, name: str) -> AwsSchedule | None:
        """The schedule of that name in the group; None when there is none."""
        try:
            found: Any = self._scheduler.get_schedule(GroupName=group, Name=name)
        except NotThereError:
            return None
        target = found["Target"]
        return AwsSchedule(
            name=found["Name"],
            group=found["GroupName"],
            expression=found["ScheduleExpression"],
            target=target["Arn"],
            role=target["RoleArn"],
            input=target.get("Input", ""),
            timezone=found.get("ScheduleExpressionTimezone", "UTC"),
            is_enabled=found.get("State", "ENABLED") == "ENABLED",
            description=found.get("Description", ""),
            task=_fargate(target.get("EcsParameters")),
            retries=target.get("RetryPolicy", {}).get("MaximumRetryAttempts", 185),
            max_age_seconds=target.get("RetryPolicy", {}).get("MaximumEventAgeInSeconds", 86_400),
        )

    def names(self, group: str) -> tuple[str, ...]:
        """The names of the group's schedules, sorted; none when there is no such group."""
        try:
            pages = list(self._scheduler.get_paginator("list_schedules").paginate(GroupName=group))
        except NotThereError:
            return ()
        return tuple(sorted(each["Name"] for page in pages for each in page["Schedules"] if "Name" in each))

    def put(self, schedule: AwsSchedule) -> None:
        """Make the schedule, or make the one of its name and group so."""
        wanted = _wanted(schedule)
        try:
            once_role_is_known(lambda: self._scheduler.update_schedule(**wanted))
        except NotThereError as error:
            try:
                once_role_is_known(lambda: self._scheduler.create_schedule(**wanted))
            except NotThereError:
                told = f"there is no group of schedules {schedule.group!r}; make the environment with `dagy aws init`"
                raise CloudError(told, operation="CreateSchedule", code=error.code) from error

    def delete(self, group: str, name: str) -> None:
        """Delete the schedule; nothing when there is none."""
        try:
            self._scheduler.delete_schedule(GroupName=group, Name=name)
        except NotThereError:
            return

    @property
    def _scheduler(self) -> EventBridgeSchedulerClient:
        return self._clients.of("scheduler")


def _wanted(schedule: AwsSchedule) -> Any:
    target: dict[str, Any] = {
        "Arn": schedule.target,
        "RoleArn": schedule.role,
        "Input": schedule.input,
        "RetryPolicy": {
            "MaximumRetryAttempts": schedule.retries,
            "MaximumEventAgeInSeconds": schedule.max_age_seconds,
        },
    }
    if (task := schedule.task) is not None:
        target["EcsParameters"] = {
            "TaskDefinitionArn": task.task_definition,
            "TaskCount": 1,
            "LaunchType": "FARGATE",
            "NetworkConfiguration": {
                "awsvpcConfiguration": {
                    "Subnets": list(task.subnets),
                    "SecurityGroups": list(task.security_groups),
                    "AssignPublicIp": "ENABLED" if task.assign_public_ip else "DISABLED",
                }
            },
        }
    return {
        "Name": schedule.name,
        "GroupName": schedule.group,
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.timezone,
        "State": "ENABLED" if schedule.is_enabled else "DISABLED",
        "Description": schedule.description,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }


def _fargate(found: Mapping[str, Any] | None) -> FargateTarget | None:
    if found is None:
        return None
    network = found.get("NetworkConfiguration", {}).get("awsvpcConfiguration", {})
    return FargateTarget(
        found["TaskDefinitionArn"],
        tuple(network.get("Subnets", ())),
        tuple(network.get("SecurityGroups", ())),
        network.get("AssignPublicIp") == "ENABLED",
    )
