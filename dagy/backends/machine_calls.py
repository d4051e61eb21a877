"""What a state calls, how often it is tried again, and what becomes of it when it crashes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TypeAlias

from dagy.backends import history
from dagy.backends.limits import LIMITS
from dagy.backends.machine_resources import MachineResources, Placement
from dagy.retry import longest_wait, retry_groups
from dagy.spec import Json, TaskSpec

State: TypeAlias = dict[str, Json]

RUN_ID = "{% $states.context.Execution.Input.run_id %}"  # in an execution that is a map's item too

MOST_SECONDS = int(LIMITS["machine.timeout"].value)
_MARGIN_SECONDS = 60  # that a state waits longer than what it calls, which can so tell its own end
_CONTAINER_START_SECONDS = 600
_ATTEMPT = "{% $states.context.State.RetryCount + 1 %}"
_TRANSIENT_TRIES = 6
_STEP_TRIES = 2  # after a crash, of a step that is no task's: it does no harm to repeat it
_CRASHES = ["States.TaskFailed", "Lambda.Unknown", "States.Timeout"]
_TRANSIENT = {
    "ErrorEquals": [
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "DagyRetry0",  # the store did not answer
    ],
    "IntervalSeconds": 1,
    "MaxAttempts": _TRANSIENT_TRIES,
    "BackoffRate": 2,
    "MaxDelaySeconds": 30,
    "JitterStrategy": "FULL",
}
_CONTAINER_TRANSIENT = _TRANSIENT | {
    "ErrorEquals": [
        "AmazonECS.Unknown",  # it has no room
        "ECS.AmazonECSException",
        "ECS.SdkClientException",
        "ECS.ServerException",
        "ECS.ThrottlingException",
    ]
}
_CAUSE = "$states.errorOutput.Cause"
_FUNCTION_CAUSE = f"$split({_CAUSE},'requestId\"')[0]"  # without the stack, which follows

STEP_EVENTS = history.STEP + (_TRANSIENT_TRIES + _STEP_TRIES) * history.TRY_AGAIN  # of a step that is no task's


def whole_seconds(delay: float) -> int:
    """The wait that Step Functions can do: whole seconds of at least 1."""
    return max(1, math.ceil(delay))


def task_events(task: TaskSpec, placement: Placement) -> int:
    """How many events the task adds to its execution's history at worst."""
    events = _call_events(task, placement)
    if task.mapped:
        items = placement.inline * (history.ITEM + events)
        return STEP_EVENTS + history.PASSED + max(history.MAP + items, history.DISTRIBUTED)
    return events + (STEP_EVENTS + history.PASSED if task.id in placement.on_ecs else 0)


def item_events(task: TaskSpec, placement: Placement) -> int:
    """How many events one item of the mapped task adds at worst, where it runs in the execution's own history."""
    return history.ITEM + _call_events(task, placement)


class Calls:
    """Writes the part of a state that calls something."""

    def __init__(self, where: MachineResources, placement: Placement, cause_characters: int) -> None:
        self._where = where
        self._placement = placement
        self._cause_characters = cause_characters

    def task(self, task: TaskSpec, *, is_item: bool = False) -> State:
        """The call of one try of the task, or of an item of it, with its retries."""
        event = {"step": "task", "run_id": RUN_ID, "task": task.id, "attempt": _ATTEMPT}
        if is_item:
            event["item"] = "{% $states.input.item %}"
        if task.id in self._placement.on_ecs:
            return self._container(task, event)
        limit = self._where.function_timeout_seconds
        seconds = task.options.timeout_seconds
        return {
            "Type": "Task",
            "Resource": self.service("lambda:invoke"),
            "Arguments": {"FunctionName": self._where.function_arn, "Payload": event},
            "TimeoutSeconds": _MARGIN_SECONDS + (limit if seconds is None else min(math.ceil(seconds), limit)),
            "Retry": [_TRANSIENT, *_asked_for(task), *_after_a_crash(task)],
        }

    def _container(self, task: TaskSpec, event: Mapping[str, Json]) -> State:
        ecs = self._where.ecs
        assert ecs is not None, "compile_flow has looked"
        size = self._placement.container_sizes.get(task.id)
        told = ",".join(f"{quoted(name)}:{_expression(value)}" for name, value in event.items())
        seconds = task.options.timeout_seconds
        return {
            "Type": "Task",
            "Resource": self.service("ecs:runTask.sync"),
            "Arguments": {
                "Cluster": ecs.cluster,
                "TaskDefinition": ecs.task_definition,
                "LaunchType": "FARGATE",
                "NetworkConfiguration": {
                    "AwsvpcConfiguration": {
                        "Subnets": list(ecs.subnets),
                        "SecurityGroups": list(ecs.security_groups),
                        "AssignPublicIp": "ENABLED" if ecs.assign_public_ip else "DISABLED",
                    }
                },
                "Overrides": {
                    **({"Cpu": str(int(size.vcpu * 1024)), "Memory": str(size.memory_mb)} if size else {}),
                    "ContainerOverrides": [
                        {
                            "Name": ecs.container,
                            "Environment": [{"Name": "DAGY_EVENT", "Value": f"{{% $string({{{told}}}) %}}"}],
                        }
                    ],
                },
            },
            **({} if seconds is None else {"TimeoutSeconds": _container_seconds(task, seconds)}),
            "Retry": [_CONTAINER_TRANSIENT, *_after_a_crash(task)],
        }

    def step(self, payload: Json, output: str) -> State:
        """A call of the function for a step that is no task's."""
        return {
            "Type": "Task",
            "Resource": self.service("lambda:invoke"),
            "Arguments": {"FunctionName": self._where.function_arn, "Payload": payload},
            "TimeoutSeconds": self._where.function_timeout_seconds + _MARGIN_SECONDS,
            "Retry": [
                _TRANSIENT,
                {
                    "ErrorEquals": _CRASHES,
                    "IntervalSeconds": 1,
                    "MaxAttempts": _STEP_TRIES,
                    "BackoffRate": 1,
                },
            ],
            "Output": output,
        }

    def crashed(self, task: str, carried: str, following: str, *, in_container: bool = False) -> State:
        """Go on to `following` after a crash, and tell of it: with what `carried` tells of, or alone when it is ''."""
        cause = _CONTAINER_CAUSE if in_container else _FUNCTION_CAUSE
        said = f"{{'Error':$states.errorOutput.Error,'Cause':$substring({cause},-{self._cause_characters})}}"
        entry = f"{{{quoted(task)}:{said}}}"
        output = f"$merge([{carried},{entry}])" if carried else entry
        return {"ErrorEquals": ["States.ALL"], "Output": f"{{% {output} %}}", "Next": following}

    def service(self, action: str) -> str:
        """The ARN by which a state asks another service for `action`."""
        return f"arn:{self._where.partition}:states:::{action}"


def quoted(text: str) -> str:
    """`text` as a literal of JSONata."""
    return f"'{text}'" if text.isprintable() and not {"'", "\\"} & set(text) else json.dumps(text, ensure_ascii=False)


def _expression(value: str) -> str:
    """What a field's text stands for, as a part of an expression."""
    return value[2:-2].strip() if value.startswith("{%") else quoted(value)


def _asked_for(task: TaskSpec) -> list[State]:
    """The tries that the handler asks for, by the task's policy."""
    return [
        {
            "ErrorEquals": [f"DagyRetry{number}"],
            "IntervalSeconds": whole_seconds(group.delay),
            "MaxAttempts": group.count,
            "BackoffRate": 1,
        }
        for number, group in enumerate(retry_groups(task.options.retries, task.options.retry_delays), 1)
    ]


def _after_a_crash(task: TaskSpec) -> list[State]:
    """The tries after a failure that the handler could not see, because it went down too."""
    if not task.options.retries:
        return []
    delay = task.options.retry_delays[0] if task.options.retry_delays else 0.0
    return [
        {
            "ErrorEquals": _CRASHES,
            "IntervalSeconds": whole_seconds(delay),
            "MaxAttempts": task.options.retries,
            "BackoffRate": 1,
        }
    ]


def _container_seconds(task: TaskSpec, seconds: float) -> int:
    """How long a container may take at most, which carries out the task's retries itself."""
    options = task.options
    waits = longest_wait(options.retries, options.retry_delays, options.retry_jitter_factor)
    return min(math.ceil(seconds * (options.retries + 1) + waits) + _CONTAINER_START_SECONDS, MOST_SECONDS)


def _call_events(task: TaskSpec, placement: Placement) -> int:
    """The events of one call of the task, or of one item, with all its tries and a crash in the end."""
    tries = _TRANSIENT_TRIES + task.options.retries
    if task.id in placement.on_ecs:
        return history.CONTAINER_STEP + tries * history.CONTAINER_TRY_AGAIN + history.PASSED
    return history.STEP + (tries + task.options.retries) * history.TRY_AGAIN + history.PASSED


def _of_container(key: str, before: str, said: str) -> str:
    """`before` and what the JSON text that tells of a container has for `key`; nothing when it has no such key."""
    key = f"'\"{key}\":'"
    behind = f"$substringAfter({_CAUSE},{key})"
    return f"($contains({_CAUSE},{key})?'{before}'&{said.format(behind)}:'')"


_TEXT = "$substringBefore($substringAfter({},'\"'),'\"')"  # what is between the next two quotes
_NUMBER = "$trim($substringBefore($substringBefore({},','),'}}'))"

# ECS tells of a container by some kilobytes of JSON, which no expression may parse: three facts are cut out of it.
_CONTAINER_CAUSE = (
    f"($contains({_CAUSE},'\"StopCode\":')?("
    + _of_container("StoppedReason", "", _TEXT)
    + "&"
    + _of_container("Reason", "; ", _TEXT)
    + "&"
    + _of_container("ExitCode", "; exit code ", _NUMBER)
    + f"):{_CAUSE})"
)
