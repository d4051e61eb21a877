"""The AWS on this computer does what AWS does, as far as deploys and runs of flows can tell."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.exceptions
import psutil
import pytest

from dagy.errors import ConflictError, DagyError, DefinitionError
from dagy.testing import LocalAws, local_aws
from dagy.testing.local_aws.sandbox import can_mount

pytestmark = pytest.mark.program

ROLE = "arn:aws:iam::123456789012:role/role"
PYTHON = "python{}.{}".format(*sys.version_info[:2])
CODE = """
import os, sys, time

class Flaky(Exception):
    pass

calls = 0

def handler(event, context):
    global calls
    calls += 1
    match event.get("do"):
        case "fail":
            raise ValueError("no")
        case "flaky" if calls < 3:
            raise Flaky(f"try {calls}")
        case "sleep":
            print("asleep", flush=True)
            time.sleep(event["seconds"])
        case "exit":
            sys.exit(3)
        case "grow":
            held = bytearray(300_000_000)
            time.sleep(5)
        case "big":
            return "x" * event["size"]
        case "write":
            open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "new"), "w")
        case "tmp":
            open("/tmp/dagy-test-was-here", "w")
            return os.path.exists("/tmp/dagy-test-was-here")
        case "where":
            return [context.function_version, os.environ["AWS_LAMBDA_FUNCTION_NAME"], context.memory_limit_in_mb]
        case "put":
            import boto3
            boto3.client("s3").put_object(Bucket=event["bucket"], Key=event["key"], Body=b"1")
    print("hello")
    return {"calls": calls, "do": event.get("do")}
"""


def zipped(code: str = CODE, name: str = "app.py") -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(name, code)
    return archive.getvalue()


@pytest.fixture(scope="module")
def aws(shared_aws: LocalAws) -> LocalAws:
    shared_aws.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    return shared_aws


@pytest.fixture
def function(aws: LocalAws) -> str:
    """A new function's version."""
    made = aws.client("lambda").create_function(
        FunctionName=f"f-{uuid.uuid4().hex[:8]}",
        Runtime=PYTHON,
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": zipped()},
        Timeout=1,
        MemorySize=256,
        Publish=True,
        LoggingConfig={"LogGroup": "/dagy/tests"},
    )
    return f"{made['FunctionArn'].removesuffix(':1')}:1"


@pytest.fixture
def call(aws: LocalAws, function: str) -> Callable[..., tuple[Any, str | None]]:
    """Invoke the function: its answer, and the kind of failure."""
    client = aws.client("lambda")

    def invoke(**event: object) -> tuple[Any, str | None]:
        answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        return json.loads(answer["Payload"].read()), answer.get("FunctionError")

    return invoke


def ended(aws: LocalAws, execution: str) -> dict[str, Any]:
    client = aws.client("stepfunctions")
    until = time.monotonic() + 30
    while (told := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < until
        time.sleep(0.02)
    return dict(told)


@pytest.fixture
def execute(aws: LocalAws) -> Callable[..., dict[str, Any]]:
    """Make a state machine, start it, and wait for its end."""

    def started(definition: dict[str, Any], given: object = None) -> dict[str, Any]:
        client = aws.client("stepfunctions")
        made = client.create_state_machine(
            name=f"m-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE, publish=True
        )
        begun = client.start_execution(
            stateMachineArn=made["stateMachineVersionArn"], input=json.dumps(given if given is not None else {})
        )
        return ended(aws, begun["executionArn"])

    return started


def invoking(function: str, payload: object, **more: object) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function, "Payload": payload},
        "Output": "{% $states.result.Payload %}",
        "End": True,
        **more,
    }


def machine(**states: dict[str, Any]) -> dict[str, Any]:
    return {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}


# --- functions


def test_a_function_runs_what_its_zip_holds(call: Callable[..., tuple[Any, str | None]]) -> None:
    assert call(do="x") == ({"calls": 1, "do": "x"}, None)
    assert call(do="x") == ({"calls": 2, "do": "x"}, None), "a warm environment is used again"


def test_an_exception_is_told_by_its_class(call: Callable[..., tuple[Any, str | None]]) -> None:
    told, kind = call(do="fail")
    assert (told["errorType"], told["errorMessage"], kind) == ("ValueError", "no", "Unhandled")


@pytest.mark.parametrize(
    ("event", "name", "message"),
    [
        ({"do": "sleep", "seconds": 9}, "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ({"do": "exit"}, "Runtime.ExitError", "exit status 3"),
        ({"do": "grow"}, "Runtime.ExitError", "signal: killed"),
        ({"do": "big", "size": 6_300_000}, "Function.ResponseSizeTooLarge", "6291456 bytes"),
    ],
)
def test_lambda_ends_what_is_late_gone_or_too_large(
    call: Callable[..., tuple[Any, str | None]], event: dict[str, object], name: str, message: str
) -> None:
    told, kind = call(**event)
    assert (told["errorType"], kind) == (name, "Unhandled")
    assert message in told["errorMessage"]
    assert call(do="x")[0]["calls"] == 1, "and the next invocation has a new environment"


def test_code_is_read_only_and_tmp_is_its_own(call: Callable[..., tuple[Any, str | None]]) -> None:
    if not can_mount():
        pytest.skip("only root may make a mount namespace")
    assert call(do="write")[0]["errorType"] == "OSError"
    assert call(do="tmp")[0] is True
    assert not Path("/tmp/dagy-test-was-here").exists()


def test_a_payload_may_have_6_mb_and_an_asynchronous_one_1_mb(aws: LocalAws, function: str) -> None:
    client = aws.client("lambda")
    event = json.dumps({"pad": "x" * 1_100_000}).encode()
    assert client.invoke(FunctionName=function, Payload=event).get("FunctionError") is None
    with pytest.raises(botocore.exceptions.ClientError, match="RequestTooLarge"):
        client.invoke(FunctionName=function, Payload=event, InvocationType="Event")
    with pytest.raises(botocore.exceptions.ClientError, match="RequestTooLarge"):
        client.invoke(FunctionName=function, Payload=b'"' + b"x" * 6_300_000 + b'"')


def test_versions_and_aliases_run_their_own_code_and_layers(aws: LocalAws) -> None:
    client = aws.client("lambda")
    name = f"f-{uuid.uuid4().hex[:8]}"
    layer = client.publish_layer_version(
        LayerName="layer", Content={"ZipFile": zipped("text = 'from the layer'", "python/in_layer.py")}
    )["LayerVersionArn"]
    first = zipped("def handler(event, context): return 'first'")
    second = zipped("import in_layer\ndef handler(event, context): return in_layer.text")
    made: dict[str, Any] = {"Runtime": PYTHON, "Role": ROLE, "Handler": "app.handler", "Publish": True}
    client.create_function(FunctionName=name, Code={"ZipFile": first}, **made)
    client.update_function_configuration(FunctionName=name, Layers=[layer])
    client.update_function_code(FunctionName=name, ZipFile=second, Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    def answer(qualifier: str) -> object:
        return json.loads(client.invoke(FunctionName=name, Qualifier=qualifier)["Payload"].read())

    assert [answer(each) for each in ("1", "2", "live", "$LATEST")] == [
        "first",
        "from the layer",
        "first",
        "from the layer",
    ]


def test_new_code_may_be_for_another_architecture(aws: LocalAws, function: str) -> None:
    client, name = aws.client("lambda"), function.split(":")[6]
    client.update_function_code(FunctionName=name, ZipFile=zipped(), Architectures=["arm64"])
    client.update_function_code(FunctionName=name, ZipFile=zipped())
    assert client.get_function_configuration(FunctionName=name)["Architectures"] == ["arm64"]


def test_what_a_function_says_is_in_its_log_group(
    aws: LocalAws, function: str, call: Callable[..., tuple[Any, str | None]]
) -> None:
    call(do="x")
    logs = aws.client("logs")
    said = [each["message"] for each in logs.filter_log_events(logGroupName="/dagy/tests")["events"]]
    assert "hello" in said
    assert any(each.startswith("REPORT RequestId") and "Memory Size: 256 MB" in each for each in said)


@pytest.mark.parametrize(("retries", "calls"), [(0, 1), (2, 3)])
def test_an_asynchronous_invocation_is_tried_again_as_configured(
    aws: LocalAws, function: str, retries: int, calls: int
) -> None:
    client = aws.client("lambda")
    name = function.split(":")[6]
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=retries)
    aws.client("s3").create_bucket(Bucket=f"async-{retries}")
    before = sum((aws.functions().cold, aws.functions().warm))
    client.invoke(FunctionName=name, Payload=b'{"do": "fail"}', InvocationType="Event")
    until = time.monotonic() + 10
    while sum((aws.functions().cold, aws.functions().warm)) < before + calls:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_function_that_is_killed_fails_its_invocation(
    aws: LocalAws, call: Callable[..., tuple[Any, str | None]]
) -> None:
    told: list[Any] = []
    thread = threading.Thread(target=lambda: told.append(call(do="sleep", seconds=0.9)))
    thread.start()
    while not aws.kill_function():
        assert thread.is_alive()
    thread.join()
    assert told[0][0]["errorType"] == "Runtime.ExitError"


# --- state machines


def test_a_state_machine_runs_functions_and_passes_values(
    execute: Callable[..., dict[str, Any]], function: str
) -> None:
    text = 'he said "hi" \\ and left'
    told = execute(
        machine(
            keep={"Type": "Pass", "Assign": {"text": "{% $states.input.text %}"}, "Next": "call"},
            call=invoking(function, {"do": "{% $text %}"}),
        ),
        {"text": text},
    )
    assert json.loads(told["output"]) == {"calls": 1, "do": text}


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"do": "fail"}, "ValueError"),
        ({"do": "exit"}, "Runtime.ExitError"),
        ({"do": "sleep", "seconds": 9}, "Lambda.Unknown"),
        ({"do": "grow"}, "Lambda.Unknown"),
        ({"do": "big", "size": 300_000}, "States.DataLimitExceeded"),
    ],
)
def test_a_state_fails_by_the_name_that_aws_gives(
    execute: Callable[..., dict[str, Any]], function: str, event: dict[str, object], error: str
) -> None:
    told = execute(machine(call=invoking(function, event)))
    assert (told["status"], told["error"]) == ("FAILED", error)


def test_a_state_is_tried_again_by_the_name_of_its_error(execute: Callable[..., dict[str, Any]], function: str) -> None:
    again = [{"ErrorEquals": ["Flaky"], "IntervalSeconds": 1, "BackoffRate": 1, "MaxAttempts": 2}]
    told = execute(machine(call=invoking(function, {"do": "flaky"}, Retry=again)))
    assert json.loads(told["output"])["calls"] == 3


def test_a_call_that_is_throttled_fails_its_state_as_lambda_says(
    aws: LocalAws, execute: Callable[..., dict[str, Any]], function: str
) -> None:
    aws.fail("lambda.Invoke", "throttled")
    assert execute(machine(call=invoking(function, {})))["error"] == "Lambda.TooManyRequestsException"
    aws.fail("lambda.Invoke", "dropped")
    assert execute(machine(call=invoking(function, {})))["error"] == "Lambda.SdkClientException"


def test_a_state_has_its_own_timeout(execute: Callable[..., dict[str, Any]], function: str) -> None:
    told = execute(machine(call=invoking(function, {"do": "sleep", "seconds": 3}, TimeoutSeconds=1)))
    assert told["error"] in ("States.Timeout", "Lambda.Unknown")


def test_an_expression_without_a_value_fails(execute: Callable[..., dict[str, Any]]) -> None:
    told = execute(machine(a={"Type": "Pass", "Output": "{% $states.input.missing %}", "End": True}))
    assert told["error"] == "States.QueryEvaluationError", told["cause"]
    told = execute(machine(a={"Type": "Pass", "Output": {"v": "{% $states.input.a %}"}, "End": True}), {"a": None})
    assert json.loads(told["output"]) == {"v": None}


def test_a_path_to_one_value_gives_the_value(execute: Callable[..., dict[str, Any]]) -> None:
    states = {"a": {"Type": "Pass", "Parameters": {"one.$": "$.a[0].b", "all.$": "$.a[*].b"}, "End": True}}
    told = execute({"StartAt": "a", "States": states}, {"a": [{"b": 1}]})
    assert json.loads(told["output"]) == {"one": 1, "all": [1]}


_LIMITED = """
import json, sys, time
from pathlib import Path
import boto3
from moto import mock_aws
from dagy.testing.local_aws.bridge import state_machines
from dagy.testing.local_aws.functions import Functions
from dagy.testing.local_aws.world import World

state_machines.install(World("", Path(), {}, Functions(Path(), {}, at_once=1), most_events=50))
with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
    client = boto3.client("stepfunctions", region_name="us-east-1")
    made = client.create_state_machine(name="m", definition=sys.argv[1], roleArn="arn:aws:iam::123456789012:role/role")
    execution = client.start_execution(stateMachineArn=made["stateMachineArn"])["executionArn"]
    while (told := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.02)
    print(json.dumps([told["status"], told["error"], told["cause"]]))
"""


def test_a_history_that_is_full_ends_the_execution() -> None:
    endless = machine(a={"Type": "Pass", "Next": "b"}, b={"Type": "Pass", "Next": "a"})
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, json.dumps(endless)],
        env={name: value for name, value in os.environ.items() if name != "AWS_ENDPOINT_URL"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    cause = "The execution reached the maximum number of history events (50)."
    assert done.stdout == json.dumps(["FAILED", "States.Runtime", cause]) + "\n", done.stderr


def test_an_execution_is_stopped_at_once_with_its_reason(aws: LocalAws, function: str) -> None:
    client = aws.client("stepfunctions")
    made = client.create_state_machine(
        name="stopped",
        definition=json.dumps(machine(call=invoking(function, {"do": "sleep", "seconds": 0.5}))),
        roleArn=ROLE,
    )["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=made, name="one")["executionArn"]
    client.stop_execution(executionArn=execution, error="Cancelled", cause="by a test")
    told = client.describe_execution(executionArn=execution)
    assert (told["status"], told["error"], told["cause"]) == ("ABORTED", "Cancelled", "by a test")


def test_a_name_starts_one_execution_of_all_versions(aws: LocalAws) -> None:
    client = aws.client("stepfunctions")
    waiting = machine(w={"Type": "Wait", "Seconds": 1, "End": True})
    made = client.create_state_machine(name="named", definition=json.dumps(waiting), roleArn=ROLE, publish=True)
    version = made["stateMachineVersionArn"]
    first = client.start_execution(stateMachineArn=version, name="run", input="{}")["executionArn"]
    assert client.start_execution(stateMachineArn=version, name="run", input="{}")["executionArn"] == first
    with pytest.raises(client.exceptions.ExecutionAlreadyExists):
        client.start_execution(stateMachineArn=version, name="run", input='{"a": 1}')
    listed = client.list_executions(stateMachineArn=made["stateMachineArn"])["executions"]
    assert [each["name"] for each in listed] == ["run"]


def test_a_history_is_told_page_by_page(aws: LocalAws, execute: Callable[..., dict[str, Any]]) -> None:
    told = execute(machine(a={"Type": "Pass", "Next": "b"}, b={"Type": "Pass", "End": True}))
    client = aws.client("stepfunctions")
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=told["executionArn"], PaginationConfig={"PageSize": 2}
    )
    events = [each["id"] for page in pages for each in page["events"]]
    assert events == sorted(events)
    assert len(events) == 6
    newest = client.get_execution_history(executionArn=told["executionArn"], reverseOrder=True, maxResults=1)
    assert newest["events"][0]["type"] == "ExecutionSucceeded"


# --- containers


@pytest.fixture(scope="module")
def network(aws: LocalAws) -> dict[str, Any]:
    ec2 = aws.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=subnet["VpcId"])["GroupId"]
    aws.client("ecs").create_cluster(clusterName="cluster")
    return {"subnets": [subnet["SubnetId"]], "securityGroups": [group]}


def defined(aws: LocalAws, code: str = "pass", image: str = "public.ecr.aws/lambda/python:3.13") -> str:
    made = aws.client("ecs").register_task_definition(
        family=f"t-{uuid.uuid4().hex[:8]}",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[
            {
                "name": "flow",
                "image": image,
                "entryPoint": ["python", "-c", code],
                "stopTimeout": 2,
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {"awslogs-group": "/ecs", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"},
                },
            }
        ],
    )
    return str(made["taskDefinition"]["taskDefinitionArn"])


def stopped(aws: LocalAws, task: str, **wanted: str) -> dict[str, Any]:
    """The task once it has stopped, or is as `wanted`."""
    until = time.monotonic() + 20
    while True:
        told = aws.client("ecs").describe_tasks(cluster="cluster", tasks=[task])["tasks"][0]
        if told["lastStatus"] == wanted.get("status", "STOPPED"):
            return dict(told)
        assert time.monotonic() < until
        time.sleep(0.02)


def run_task(aws: LocalAws, network: dict[str, Any], definition: str, **more: Any) -> str:
    made = aws.client("ecs").run_task(
        cluster="cluster",
        taskDefinition=definition,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        **more,
    )
    return str(made["tasks"][0]["taskArn"])


def test_a_task_runs_its_command_with_what_overrides_it(aws: LocalAws, network: dict[str, Any]) -> None:
    code = "import os, sys; print('given', os.environ['GIVEN'], sys.argv[1:]); sys.exit(4)"
    overrides = {
        "containerOverrides": [
            {"name": "flow", "command": ["x", "y"], "environment": [{"name": "GIVEN", "value": "this"}]}
        ]
    }
    task = run_task(aws, network, defined(aws, code), overrides=overrides)
    told = stopped(aws, task)
    assert (told["stopCode"], told["containers"][0]["exitCode"]) == ("EssentialContainerExited", 4)
    stream = f"p/flow/{task.rpartition('/')[2]}"
    events = aws.client("logs").get_log_events(logGroupName="/ecs", logStreamName=stream)["events"]
    assert [each["message"] for each in events] == ["given this ['x', 'y']"]


def test_a_task_that_takes_too_much_memory_is_killed(aws: LocalAws, network: dict[str, Any]) -> None:
    task = run_task(aws, network, defined(aws, "import time; held = bytearray(700_000_000); time.sleep(9)"))
    told = stopped(aws, task)["containers"][0]
    assert told["exitCode"] == 137
    assert told["reason"].startswith("OutOfMemoryError")


def test_an_image_that_is_not_here_can_not_be_pulled(aws: LocalAws, network: dict[str, Any]) -> None:
    told = stopped(aws, run_task(aws, network, defined(aws, image="registry/own:1")))
    assert told["stopCode"] == "TaskFailedToStart"
    assert told["stoppedReason"].startswith("CannotPullContainerError")


def test_a_task_is_asked_to_stop_and_then_killed(aws: LocalAws, network: dict[str, Any]) -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); "
        "print('ready', flush=True); time.sleep(20)"
    )
    task = run_task(aws, network, defined(aws, code))
    stream = f"p/flow/{task.rpartition('/')[2]}"
    until = time.monotonic() + 10
    logs = aws.client("logs")
    while not logs.describe_log_streams(logGroupName="/ecs", logStreamNamePrefix=stream)["logStreams"]:
        assert time.monotonic() < until
        time.sleep(0.02)
    aws.client("ecs").stop_task(cluster="cluster", task=task, reason="by a test")
    told = stopped(aws, task)
    assert (told["stopCode"], told["stoppedReason"]) == ("UserInitiated", "by a test")
    assert told["containers"][0]["exitCode"] == 9


def test_a_client_token_starts_a_task_once(aws: LocalAws, network: dict[str, Any]) -> None:
    definition = defined(aws)
    first = run_task(aws, network, definition, clientToken="once")
    assert run_task(aws, network, definition, clientToken="once") == first
    assert run_task(aws, network, definition, clientToken="twice") != first


def test_overrides_have_a_limit(aws: LocalAws, network: dict[str, Any]) -> None:
    large = {"containerOverrides": [{"name": "flow", "environment": [{"name": "A", "value": "x" * 8200}]}]}
    with pytest.raises(botocore.exceptions.ClientError, match="8192"):
        run_task(aws, network, defined(aws), overrides=large)


@pytest.mark.parametrize(("code", "error"), [("pass", None), ("raise SystemExit(3)", "States.TaskFailed")])
def test_a_state_waits_for_a_task(
    aws: LocalAws,
    network: dict[str, Any],
    execute: Callable[..., dict[str, Any]],
    code: str,
    error: str | None,
) -> None:
    configuration = {key[0].upper() + key[1:]: value for key, value in network.items()}
    told = execute(
        machine(
            run={
                "Type": "Task",
                "Resource": "arn:aws:states:::ecs:runTask.sync",
                "Arguments": {
                    "Cluster": "cluster",
                    "TaskDefinition": defined(aws, code),
                    "LaunchType": "FARGATE",
                    "NetworkConfiguration": {"AwsvpcConfiguration": configuration},
                },
                "Retry": [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 1}],
                "Output": "{% $states.result.Containers[0].ExitCode %}",
                "End": True,
            }
        )
    )
    assert told.get("error") == error, told.get("cause")


def test_a_task_is_stopped_with_its_execution(aws: LocalAws, network: dict[str, Any]) -> None:
    client, ecs = aws.client("stepfunctions"), aws.client("ecs")
    configuration = {key[0].upper() + key[1:]: value for key, value in network.items()}
    definition = defined(aws, "import time; time.sleep(20)")
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::ecs:runTask.sync",
        "Arguments": {
            "Cluster": "cluster",
            "TaskDefinition": definition,
            "LaunchType": "FARGATE",
            "NetworkConfiguration": {"AwsvpcConfiguration": configuration},
        },
        "End": True,
    }
    made = client.create_state_machine(name="with-task", definition=json.dumps(machine(run=state)), roleArn=ROLE)
    execution = client.start_execution(stateMachineArn=made["stateMachineArn"])["executionArn"]
    family = definition.split("/")[1].split(":")[0]
    until = time.monotonic() + 10
    while not (tasks := ecs.list_tasks(cluster="cluster", family=family)["taskArns"]):
        assert time.monotonic() < until
        time.sleep(0.02)
    client.stop_execution(executionArn=execution)
    assert stopped(aws, tasks[0])["stoppedReason"] == "Stopped by Step Functions"


# --- schedules


def test_a_schedule_is_fired_with_its_id_filled_in(aws: LocalAws, function: str) -> None:
    client = aws.client("stepfunctions")
    definition = json.dumps(machine(a={"Type": "Pass", "End": True}))
    made = client.create_state_machine(name="scheduled", definition=definition, roleArn=ROLE)["stateMachineArn"]
    aws.client("scheduler").create_schedule(
        Name="nightly",
        ScheduleExpression="cron(0 3 * * ? *)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:sfn:startExecution",
            "RoleArn": ROLE,
            "Input": json.dumps(
                {
                    "StateMachineArn": made,
                    "Name": "run-<aws.scheduler.execution-id>",
                    "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
                }
            ),
        },
    )
    fired = aws.fire_schedule("nightly")
    told = ended(aws, f"{made.replace('stateMachine', 'execution')}:run-{fired}")
    assert json.loads(told["output"])["at"].endswith("Z")


def test_a_schedule_that_is_not_there_is_told(aws: LocalAws) -> None:
    with pytest.raises(DagyError, match="there is no schedule 'never'; there are: "):
        aws.fire_schedule("never")


# --- objects


def test_an_object_is_written_once_and_its_checksum_is_checked(aws: LocalAws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="objects")
    s3.put_object(Bucket="objects", Key="k", Body=b"1", IfNoneMatch="*", ChecksumAlgorithm="SHA256")
    with pytest.raises(botocore.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="objects", Key="k", Body=b"2", IfNoneMatch="*")
    with pytest.raises(botocore.exceptions.ClientError, match="BadDigest"):
        s3.put_object(Bucket="objects", Key="wrong", Body=b"2", ChecksumSHA256="A" * 43 + "=")
    head = s3.head_object(Bucket="objects", Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == "a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s="
    with pytest.raises(botocore.exceptions.ClientError, match="403"):
        s3.head_object(Bucket="objects", Key="k", ExpectedBucketOwner="999999999999")


# --- failures that a test asks for


@pytest.mark.parametrize(
    ("how", "code"),
    [("denied", "AccessDenied"), ("ConditionalRequestConflict", "ConditionalRequestConflict")],
)
def test_a_call_fails_as_a_test_asks_for(aws: LocalAws, how: str, code: str) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=f"failing-{how.lower()[:6]}")
    aws.fail("s3.PutObject", how)
    with pytest.raises(botocore.exceptions.ClientError, match=code):
        s3.put_object(Bucket=f"failing-{how.lower()[:6]}", Key="k", Body=b"1")


def test_a_lost_answer_was_done_and_a_dropped_call_was_not(aws: LocalAws) -> None:
    from dagy.testing.local_aws.clients import client

    s3 = client("s3", aws.region, aws.endpoint_url, retries={"total_max_attempts": 1})
    s3.create_bucket(Bucket="connections")
    for how, is_there in (("lost", True), ("dropped", False)):
        aws.fail("s3.PutObject", how)
        with pytest.raises(botocore.exceptions.BotoCoreError):
            s3.put_object(Bucket="connections", Key=how, Body=b"1")
        found = s3.list_objects_v2(Bucket="connections", Prefix=how)["KeyCount"]
        assert bool(found) is is_there


@pytest.mark.parametrize(
    ("service", "method", "operation"),
    [
        ("stepfunctions", "list_state_machines", "stepfunctions.ListStateMachines"),
        ("cloudformation", "describe_stacks", "cloudformation.DescribeStacks"),
        ("ec2", "describe_vpcs", "ec2.DescribeVpcs"),
        ("lambda", "list_functions", "lambda.ListFunctions"),
        ("s3", "list_buckets", "s3.ListBuckets"),
        ("scheduler", "list_schedules", "scheduler.ListSchedules"),
    ],
)
def test_an_operation_of_any_protocol_is_counted_and_can_fail(
    aws: LocalAws, service: str, method: str, operation: str
) -> None:
    from dagy.testing.local_aws.clients import client

    asked = getattr(client(service, aws.region, aws.endpoint_url, retries={"total_max_attempts": 1}), method)
    before = aws.calls().get(operation, 0)
    aws.fail(operation, "throttled")
    with pytest.raises(botocore.exceptions.ClientError, match=r"Throttl|SlowDown|TooManyRequests|RequestLimit"):
        asked()
    assert aws.calls()[operation] == before + 1


@pytest.mark.parametrize(
    ("operation", "how", "times"),
    [("PutObject", "broken", 1), ("s3.PutObject", "brokenn", 1), ("s3.PutObject", "broken", -1)],
)
def test_a_failure_that_can_not_be_is_refused(aws: LocalAws, operation: str, how: str, times: int) -> None:
    with pytest.raises(DefinitionError, match=r"can't fail by|a service and a name|0 or more, not -1"):
        aws.fail(operation, how, times=times)


def test_a_failure_can_be_taken_back(aws: LocalAws) -> None:
    aws.fail("s3.ListBuckets", "denied", times=50)
    aws.fail("s3.ListBuckets", times=0)
    assert "Buckets" in aws.client("s3").list_buckets()


# --- entering and leaving


def test_a_function_reaches_the_stand_in_by_its_own_variables(aws: LocalAws, function: str) -> None:
    client, name = aws.client("lambda"), function.split(":")[6]
    aws.client("s3").create_bucket(Bucket="reached")
    client.update_function_configuration(FunctionName=name, Timeout=30)  # boto3 may take its time to load
    client.invoke(FunctionName=name, Payload=b'{"do": "put", "bucket": "reached", "key": "k"}')
    assert aws.client("s3").get_object(Bucket="reached", Key="k")["Body"].read() == b"1"


def test_it_can_not_be_entered_twice(aws: LocalAws) -> None:
    with pytest.raises(ConflictError, match="entered already"), local_aws():
        pass


_ENTER = """
import json, os, sys, threading, time
from dagy.testing import local_aws
os.environ["AWS_PROFILE"] = "production"
os.environ["AWS_ENDPOINT_URL_S3"] = "https://elsewhere"
before = dict(os.environ)
with local_aws(set_up=False) as aws:
    assert "AWS_PROFILE" not in os.environ and "AWS_ENDPOINT_URL_S3" not in os.environ
    aws.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    client = aws.client("lambda")
    client.create_function(
        FunctionName="f", Runtime=sys.argv[1], Role="arn:aws:iam::123456789012:role/role", Handler="app.handler",
        Code={"ZipFile": bytes.fromhex(sys.argv[2])}, Timeout=60,
    )
    client.invoke(FunctionName="f", InvocationType="Event", Payload=b'{"do": "sleep", "seconds": 50}')
    while not aws.functions().processes:
        time.sleep(0.02)
    print(os.environ["DAGY_LOCAL_DIR"], flush=True)
    sys.stdin.read(1)
assert dict(os.environ) == before
print("put back")
"""


@pytest.mark.parametrize("how", ["leave", "interrupt", "kill"])
def test_nothing_stays_behind_however_it_ends(how: str) -> None:
    entered = subprocess.Popen(
        [sys.executable, "-c", _ENTER, PYTHON, zipped().hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert entered.stdout is not None
    home = Path(entered.stdout.readline().strip()).parent
    started = psutil.Process(entered.pid).children(recursive=True)
    assert home.is_dir()
    assert started
    match how:
        case "leave":
            said, _ = entered.communicate("x", timeout=20)
            assert said == "put back\n"
        case "interrupt":
            entered.send_signal(signal.SIGINT)
            entered.communicate(timeout=20)
        case "kill":
            entered.kill()
            entered.communicate(timeout=20)
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    assert not home.exists()


def test_another_moto_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    versions = {"moto": "5.9.9"}
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or known(name))
    with pytest.raises(ImportError, match=r"not with moto 5\.9\.9.*dagy\[local-aws\]"), local_aws():
        pass
    assert "DAGY_LOCAL_AWS" not in os.environ
