"""A state machine's definition interpreted in this process, by moto's interpreter, with functions for what it calls."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from dagy.spec import Json

Function = Callable[[dict[str, Any]], Json]  # a Lambda function: it is called with its payload


class FunctionDiedError(Exception):
    """What a function raises in a test to die without an answer."""


@dataclass(frozen=True)
class Execution:
    """How an execution ended."""

    status: str  # SUCCEEDED, FAILED, TIMED_OUT
    output: Json
    error: str | None
    cause: str | None
    events: tuple[str, ...]  # the types of what is in its history


@dataclass
class Cloud:
    """What the interpreter's states call."""

    function: Function
    container: Callable[[dict[str, Any]], int] = lambda _event: (
        0
    )  # what a container does with DAGY_EVENT: its exit code
    objects: dict[str, bytes] = field(default_factory=dict)  # in S3, by key
    containers: list[dict[str, Any]] = field(default_factory=list)  # the requests for them
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)  # what ECS tells of them
    waits: list[float] = field(default_factory=list)  # seconds between tries: nobody waits them here


def interpreted(definition: Json, given: Json, cloud: Cloud) -> Execution:
    """Interpret `definition` with `given` as the execution's input."""
    from moto.stepfunctions.parser.api import StateMachineType
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
    from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext
    from moto.stepfunctions.parser.asl.eval.states import ContextObjectData, ExecutionData, StateMachineData
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

    _installed()
    _CLOUD[0] = cloud
    program = AmazonStateLanguageParser.parse(json.dumps(definition))[0]
    arn = "arn:aws:states:us-east-1:123456789012:execution:machine:run"
    role = "arn:aws:iam::123456789012:role/machine"
    execution = ExecutionData(Id=arn, Input=given, Name="run", RoleArn=role, StartTime="2026-01-31T14:25:00.000Z")
    environment = Environment(
        aws_execution_details=AWSExecutionDetails(account="123456789012", region="us-east-1", role_arn=role),
        execution_type=StateMachineType.STANDARD,
        context=ContextObjectData(Execution=execution, StateMachine=StateMachineData(Id=arn, Name="machine")),
        event_history_context=EventHistoryContext.of_program_start(),
        cloud_watch_logging_session=None,
        activity_store={},
    )
    limit = sys.getrecursionlimit()
    program.eval(environment)
    sys.setrecursionlimit(limit)  # which the evaluator of JSONata raises for the whole process
    state = environment.program_state()
    error = getattr(state, "error", None) or {}
    ended = type(state).__name__
    status = {"ProgramEnded": "SUCCEEDED", "ProgramError": "FAILED", "ProgramTimedOut": "TIMED_OUT"}[ended]
    events = tuple(each["type"].value for each in environment.event_manager.get_event_history())
    return Execution(status, environment.states.get_input(), error.get("error"), error.get("cause"), events)


_CLOUD: list[Cloud] = [Cloud(lambda _payload: None)]  # the interpreter's clients are the process's


@cache
def _installed() -> None:
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl

    from dagy.testing.local_aws.bridge import state_machines
    from dagy.testing.local_aws.bridge.patching import replace_everywhere
    from dagy.testing.local_aws.world import World

    nowhere = World("http://127.0.0.1:9", Path(), {}, cast("Any", None))
    state_machines.install(nowhere)
    replace_everywhere("moto.stepfunctions.parser", "boto_client_for", lambda **_options: _Clients())

    class Time:
        @staticmethod
        def sleep(seconds: float) -> None:
            _CLOUD[0].waits.append(seconds)

    retrier_decl.time = Time  # type: ignore[attr-defined]  # the interpreter waits by this alone


class _Clients:
    """boto3's clients of Lambda, S3 and ECS, as far as the interpreter uses them."""

    def invoke(self, **request: Any) -> dict[str, Any]:
        try:
            answer = _CLOUD[0].function(json.loads(request["Payload"]))
        except Exception as error:  # noqa: BLE001 (as Lambda's runtime does)
            told = {
                "errorMessage": str(error),
                "errorType": type(error).__name__,
                "requestId": "1",
                "stackTrace": ["a"],
            }
            return {"Payload": io.BytesIO(json.dumps(told).encode()), "FunctionError": "Unhandled", "StatusCode": 200}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), "StatusCode": 200, "ExecutedVersion": "1"}

    def get_object(self, **request: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(_CLOUD[0].objects[f"{request['Bucket']}/{request['Key']}"])}

    def run_task(self, **request: Any) -> dict[str, Any]:
        cloud = _CLOUD[0]
        cloud.containers.append(request)
        override = request["overrides"]["containerOverrides"][0]
        event = json.loads({each["name"]: each["value"] for each in override["environment"]}["DAGY_EVENT"])
        code = cloud.container(event)
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/{len(cloud.tasks)}"
        cloud.tasks[arn] = {
            "taskArn": arn,
            "clusterArn": request["cluster"],
            "lastStatus": "STOPPED",
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
            "containers": [
                {
                    "name": override["name"],
                    "exitCode": code,
                    **({"reason": "OutOfMemoryError: Container killed due to memory usage"} if code == 137 else {}),
                }
            ],
        }
        return {"tasks": [dict(cloud.tasks[arn])]}

    def describe_tasks(self, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert all(_CLOUD[0].tasks[each]["clusterArn"] == cluster for each in tasks)
        return {"tasks": [json.loads(json.dumps(_CLOUD[0].tasks[each])) for each in tasks]}
