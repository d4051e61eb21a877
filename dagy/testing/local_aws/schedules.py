"""What a schedule of EventBridge Scheduler does when its time comes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

_UNIVERSAL = re.compile(r"arn:[^:]+:scheduler:::aws-sdk:(?P<service>[^:]+):(?P<action>\w+)")
_RUN_TASK = {"TaskDefinitionArn": "TaskDefinition", "TaskCount": "Count"}  # where a target's name is not the call's
_SERVICES = {"sfn": "stepfunctions"}  # where the name in an ARN is not the client's


class UnknownScheduleHereError(Exception):
    """There is no such schedule, there are several, or it is for a service that is not here."""


def fire(client: Callable[[str], Any], name: str, group: str | None) -> str:
    """Do what the schedule's target says; the id of this execution of it. `client` makes boto3's clients.

    Raises `UnknownScheduleHereError`. What the target's service refuses is raised as it is.
    """
    scheduler = client("scheduler")
    pages = scheduler.get_paginator("list_schedules").paginate()
    known = [(each["Name"], each["GroupName"]) for page in pages for each in page["Schedules"]]
    found = [each for each in known if each[0] == name and group in (None, each[1])]
    if not found:
        names = ", ".join(repr(each) for each, _ in known) or "none"
        raise UnknownScheduleHereError(f"there is no schedule {name!r}; there are: {names}")
    if len(found) > 1:
        raise UnknownScheduleHereError(f"there is a schedule {name!r} in several groups; name one: {found}")
    schedule = scheduler.get_schedule(Name=name, GroupName=found[0][1])
    execution = uuid.uuid4().hex
    context = {
        "execution-id": execution,
        "schedule-arn": schedule["Arn"],
        "scheduled-time": datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "attempt-number": "1",
    }
    target = schedule["Target"]
    _call(client, target, _filled(target.get("Input", "{}"), context))
    return execution


def _filled(text: str, context: Mapping[str, str]) -> str:
    for key, value in context.items():
        text = text.replace(f"<aws.scheduler.{key}>", value)
    return text


def _call(client: Callable[[str], Any], target: Mapping[str, Any], text: str) -> None:
    arn = target["Arn"]
    if universal := _UNIVERSAL.fullmatch(arn):
        service = client(_SERVICES.get(universal["service"], universal["service"]))
        _asked(service, universal["action"], json.loads(text))
        return
    match arn.split(":")[2]:
        case "lambda":
            client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=text.encode())
        case "states":
            client("stepfunctions").start_execution(stateMachineArn=arn, input=text)
        case "ecs":
            given = {_RUN_TASK.get(name, name): value for name, value in target["EcsParameters"].items()}
            _asked(client("ecs"), "runTask", {"Cluster": arn, **given, "Overrides": json.loads(text)})
        case service:
            raise UnknownScheduleHereError(f"a schedule's target can't be a resource of {service!r} here: {arn}")


def _asked(service: Any, action: str, parameters: dict[str, Any]) -> None:
    """Call the operation; parameters may begin with a capital where the service's own do not."""
    model = service.meta.service_model
    named = {name.lower(): name for name in model.operation_names}[action.lower()]
    method = {name: method for method, name in service.meta.method_to_api_mapping.items()}[named]
    getattr(service, method)(**_spelled(parameters, model.operation_model(named).input_shape))


def _spelled(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, dict):
        members = {name.lower(): (name, member) for name, member in shape.members.items()}
        known = {key: members[key.lower()] for key in value}
        return {known[key][0]: _spelled(each, known[key][1]) for key, each in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_spelled(each, shape.member) for each in value]
    return value
