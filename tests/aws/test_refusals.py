"""What a service refuses, and what never reaches it, as our errors: by answers put into botocore's own clients."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from dagy.aws import Aws
from dagy.aws.buckets import Bucket
from dagy.aws.clients import Clients
from dagy.aws.containers import Containers, RunTask
from dagy.aws.functions import FunctionConfig, Functions
from dagy.aws.logs import Logs
from dagy.aws.schedules import AwsSchedule, Schedules
from dagy.aws.stacks import Stacks
from dagy.aws.state_machines import StateMachines
from dagy.errors import AuthError, CloudError, NetworkError, SettingsError

NAME = "dagy-etl"
CONFIG = FunctionConfig(NAME, "arn:aws:iam::123456789012:role/r", "h.h", "python3.12", log_group="/dagy/dagy")


@pytest.fixture(scope="module")
def clients() -> Clients:
    """Clients that go nowhere: each test puts the answers into the one it asks."""
    return Clients("eu-central-1")


@pytest.fixture
def stub(clients: Clients) -> Iterator[Any]:
    """`stub("lambda")`: what answers in place of that service."""
    stubbers: list[Stubber] = []

    def begin(service: Any) -> Stubber:
        stubber = Stubber(clients.of(service))
        stubber.activate()
        stubbers.append(stubber)
        return stubber

    yield begin
    for each in stubbers:
        each.assert_no_pending_responses()
        each.deactivate()


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"])
def test_credentials_that_are_not_taken_are_told_with_how_to_sign_in(clients: Clients, stub: Any, code: str) -> None:
    stub("lambda").add_client_error("get_function", code, "The security token is expired")
    with pytest.raises(AuthError, match=r"aws sso login.*AWS_ACCESS_KEY_ID") as caught:
        Functions(clients).get(NAME)
    assert isinstance(caught.value.__cause__, ClientError)
    assert "lambda:GetFunction was refused: The security token is expired (" in str(caught.value)


def test_what_is_not_allowed_names_the_permission(clients: Clients, stub: Any) -> None:
    stub("lambda").add_client_error("get_function", "AccessDeniedException", "User: x is not authorized")
    with pytest.raises(AuthError, match=r"is allowed 'lambda:GetFunction'$"):
        Functions(clients).get(NAME)


def test_the_permission_of_s3_is_called_as_policies_call_it(clients: Clients, stub: Any) -> None:
    stub("s3").add_client_error("head_object", "403", "Forbidden", http_status_code=403)
    with pytest.raises(AuthError, match=r"'s3:GetObject', and that the bucket belongs to this account$"):
        clients.of("s3").head_object(Bucket="b", Key="k")


def test_what_a_service_refuses_has_its_operation_and_code(clients: Clients, stub: Any) -> None:
    stub("lambda").add_client_error("publish_version", "CodeStorageExceededException", "Code storage limit exceeded.")
    with pytest.raises(CloudError) as caught:
        Functions(clients).publish(NAME)
    assert (caught.value.operation, caught.value.code) == ("PublishVersion", "CodeStorageExceededException")
    assert str(caught.value) == (
        "lambda:PublishVersion was refused: Code storage limit exceeded (CodeStorageExceededException)"
    )


def test_a_stack_that_is_as_it_should_be_is_not_changed(clients: Clients, stub: Any) -> None:
    stub("cloudformation").add_client_error("update_stack", "ValidationError", "No updates are to be performed.")
    assert Stacks(clients).update("dagy", "{}", parameters={}, tags={}) is False


def test_a_stack_that_failed_names_what_failed_first(clients: Clients, stub: Any) -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    stubber = stub("cloudformation")
    stack = {"StackName": "dagy", "StackId": "id", "CreationTime": at, "StackStatus": "ROLLBACK_COMPLETE"}
    stubber.add_response("describe_stacks", {"Stacks": [stack]})
    newest_first = [
        ("dagy", "AWS::CloudFormation::Stack", "ROLLBACK_COMPLETE", ""),
        ("Role", "AWS::IAM::Role", "CREATE_FAILED", "Resource creation cancelled"),
        ("Bucket", "AWS::S3::Bucket", "CREATE_FAILED", "dagy-1 already exists"),
        ("dagy", "AWS::CloudFormation::Stack", "CREATE_IN_PROGRESS", "User Initiated"),
        ("Old", "AWS::S3::Bucket", "CREATE_FAILED", "of another time"),
    ]
    events = [
        {
            "StackId": "id",
            "StackName": "dagy",
            "EventId": str(number),
            "Timestamp": at,
            "LogicalResourceId": resource,
            "ResourceType": kind,
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
        }
        for number, (resource, kind, status, reason) in enumerate(newest_first)
    ]
    stubber.add_response("describe_stack_events", {"StackEvents": events})
    with pytest.raises(CloudError) as caught:
        Stacks(clients).wait("dagy")
    assert str(caught.value) == (
        "the stack 'dagy' ended in ROLLBACK_COMPLETE: Bucket (AWS::S3::Bucket): CREATE_FAILED: dagy-1 already exists"
    )


def test_a_function_that_can_not_be_made_ready_says_why(clients: Clients, stub: Any) -> None:
    stub("lambda").add_response("get_function", function(State="Failed", StateReason="the image is gone"))
    with pytest.raises(CloudError, match="'dagy-etl' can't be made ready: the image is gone"):
        Functions(clients).wait_ready(NAME)


def test_a_function_is_waited_for_until_it_is_ready(clients: Clients, stub: Any, no_waiting: list[float]) -> None:
    stubber = stub("lambda")
    stubber.add_response("get_function", function(State="Pending"))
    stubber.add_response("get_function", function(State="Active", LastUpdateStatus="InProgress"))
    stubber.add_response("get_function", function(State="Active", LastUpdateStatus="Successful"))
    assert Functions(clients).wait_ready(NAME).is_ready
    assert no_waiting == [0.05, 0.1]


def test_waiting_has_an_end(clients: Clients, stub: Any, no_waiting: list[float]) -> None:
    stubber = stub("lambda")
    for _ in range(8):
        stubber.add_response("get_function", function(State="Pending"))
    with pytest.raises(CloudError, match="making the function 'dagy-etl' ready took more than 3 seconds") as caught:
        Functions(clients).wait_ready(NAME, seconds=3)
    assert caught.value.code == "TimedOut"
    assert no_waiting == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_the_versions_of_a_function_are_in_the_order_of_their_numbers(clients: Clients, stub: Any) -> None:
    found = [{**function()["Configuration"], "Version": each} for each in ("$LATEST", "10", "9", "2")]
    stub("lambda").add_response("list_versions_by_function", {"Versions": found})
    assert [each.version for each in Functions(clients).versions(NAME)] == ["2", "9", "10"]


def test_a_role_that_is_new_is_waited_for(clients: Clients, stub: Any, no_waiting: list[float]) -> None:
    stubber = stub("lambda")
    told = "The role defined for the function cannot be assumed by Lambda."
    for _ in range(2):
        stubber.add_client_error("create_function", "InvalidParameterValueException", told)
    stubber.add_response("create_function", function()["Configuration"])
    arn = Functions(clients).create(CONFIG, b"zip")
    assert (arn.rpartition(":")[2], no_waiting) == (NAME, [1.0, 2.0])


def test_a_role_that_can_not_be_assumed_is_told_in_the_end(
    clients: Clients, stub: Any, no_waiting: list[float]
) -> None:
    told = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    stubber = stub("scheduler")
    for _ in range(6):
        stubber.add_client_error("update_schedule", "ValidationException", told)
    with pytest.raises(CloudError, match="must allow AWS EventBridge Scheduler to assume the role"):
        Schedules(clients).put(AwsSchedule("a", "dagy", "rate(1 day)", "arn:target", "arn:role", "{}"))
    assert sum(no_waiting) == 31.0


def test_where_a_function_logs_is_sent_and_read(clients: Clients, stub: Any) -> None:
    stubber = stub("lambda")
    expected = {
        "FunctionName": NAME,
        "Role": "arn:aws:iam::123456789012:role/r",
        "Handler": "h.h",
        "Runtime": "python3.12",
        "Description": "",
        "MemorySize": 128,
        "Timeout": 3,
        "EphemeralStorage": {"Size": 512},
        "Layers": [],
        "Environment": {"Variables": {}},
        "LoggingConfig": {"LogGroup": "/dagy/dagy"},
    }
    stubber.add_response("update_function_configuration", {}, expected)
    stubber.add_response("get_function", function(LoggingConfig={"LogGroup": "/dagy/dagy"}))
    Functions(clients).update_config(CONFIG)
    found = Functions(clients).get(NAME)
    assert found is not None
    assert found.config.log_group == "/dagy/dagy"


def test_a_start_that_was_sent_twice_finds_what_it_started(clients: Clients, stub: Any) -> None:
    stubber = stub("stepfunctions")
    machine = "arn:aws:states:eu-central-1:123456789012:stateMachine:dagy-etl"
    execution = "arn:aws:states:eu-central-1:123456789012:execution:dagy-etl:etl-1"
    stubber.add_client_error("start_execution", "ExecutionAlreadyExists", "Execution Already Exists")
    found = {
        "executionArn": execution,
        "name": "etl-1",
        "stateMachineArn": machine,
        "status": "SUCCEEDED",
        "startDate": datetime(2030, 1, 1, tzinfo=UTC),
        "input": '{"run_id":"etl-1"}',
    }
    stubber.add_response("describe_execution", found, {"executionArn": execution})
    started = StateMachines(clients, lambda: "123456789012").start(f"{machine}:3", "etl-1", '{"run_id": "etl-1"}')
    assert started == execution


def test_the_versions_of_a_state_machine_are_read_page_by_page(clients: Clients, stub: Any) -> None:
    stubber = stub("stepfunctions")
    arn = "arn:aws:states:eu-central-1:123456789012:stateMachine:dagy-etl"
    at = datetime(2030, 1, 1, tzinfo=UTC)

    def page(*numbers: int) -> list[dict[str, object]]:
        return [{"stateMachineVersionArn": f"{arn}:{each}", "creationDate": at} for each in numbers]

    first = {"stateMachineArn": arn}
    stubber.add_response("list_state_machine_versions", {"stateMachineVersions": page(10, 9), "nextToken": "2"}, first)
    stubber.add_response("list_state_machine_versions", {"stateMachineVersions": page(2)}, {**first, "nextToken": "2"})
    found = StateMachines(clients, lambda: "123456789012").versions(NAME)
    assert [(each.arn, each.created_at) for each in found] == [(f"{arn}:{each}", at) for each in (2, 9, 10)]


def test_a_task_that_finds_no_room_is_told_with_the_reason(clients: Clients, stub: Any) -> None:
    failure = {"arn": "x", "reason": "RESOURCE:FARGATE", "detail": "capacity is unavailable"}
    stub("ecs").add_response("run_task", {"tasks": [], "failures": [failure]})
    with pytest.raises(CloudError, match=r"'dagy-etl:1' failed: RESOURCE:FARGATE capacity is unavailable") as caught:
        Containers(clients).run(RunTask("dagy", "dagy-etl:1", "flow", ("subnet-1",), (), "etl-1"))
    assert (caught.value.operation, caught.value.code) == ("RunTask", "RESOURCE:FARGATE")


def test_how_a_container_ended_is_read(clients: Clients, stub: Any) -> None:
    task = {
        "taskArn": "arn:aws:ecs:eu-central-1:123456789012:task/dagy/1",
        "lastStatus": "STOPPED",
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "containers": [{"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}],
    }
    stub("ecs").add_response("describe_tasks", {"tasks": [task], "failures": []})
    found = Containers(clients).task("dagy", "1")
    assert found is not None
    assert (found.exit_code, found.stop_code) == (137, "EssentialContainerExited")
    assert found.container_reason == "OutOfMemoryError: Container killed due to memory usage"


def test_a_container_that_aws_put_beside_ours_is_not_taken_for_it(clients: Clients, stub: Any) -> None:
    task = {
        "taskArn": "arn:aws:ecs:eu-central-1:123456789012:task/dagy/1",
        "lastStatus": "STOPPED",
        "containers": [{"name": "aws-guardduty-agent", "exitCode": 0}, {"name": "flow", "exitCode": 137}],
        "overrides": {"containerOverrides": [{"name": "flow"}]},
    }
    stub("ecs").add_response("describe_tasks", {"tasks": [task], "failures": []})
    found = Containers(clients).task("dagy", "1")
    assert found is not None
    assert found.exit_code == 137


def test_lines_are_asked_for_by_stream_text_and_time(clients: Clients, stub: Any) -> None:
    expected = {
        "logGroupName": "/dagy/dagy",
        "logStreamNamePrefix": "etl/",
        "filterPattern": '"say \\"hi\\""',
        "startTime": 1_500,
    }
    stub("logs").add_response("filter_log_events", {"events": []}, expected)
    since = datetime.fromtimestamp(1.5, UTC)
    assert list(Logs(clients).read("/dagy/dagy", streams="etl/", containing='say "hi"', since=since)) == []


def test_what_has_a_tag_is_found() -> None:
    aws = Aws(region="eu-central-1")
    found = [{"ResourceARN": arn} for arn in ("arn:aws:s3:::b", "arn:aws:s3:::a")]
    with Stubber(aws._clients.of("resourcegroupstaggingapi")) as stubber:
        asked = {"TagFilters": [{"Key": "dagy:stack", "Values": ["dagy"]}]}
        stubber.add_response("get_resources", {"ResourceTagMappingList": found}, asked)
        assert aws.tagged("dagy:stack", "dagy") == ("arn:aws:s3:::a", "arn:aws:s3:::b")


# ---- what never reaches a service


def test_without_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AuthError, match=r"lambda:GetFunction was not sent, for want of credentials.*aws configure"):
        Functions(Clients("eu-central-1")).get(NAME)


def test_without_a_region_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SettingsError, match=r"no AWS region is named; name a region: .*AWS_REGION"):
        Functions(Clients()).get(NAME)


def test_a_profile_that_is_not_there_is_told_by_name() -> None:
    with pytest.raises(SettingsError, match=r"config profile \(nobody\) could not be found; known .*: none"):
        Functions(Clients("eu-central-1", "nobody")).get(NAME)


def test_a_name_that_can_not_be_one_is_told(clients: Clients) -> None:
    with pytest.raises(
        CloudError, match=r"s3:GetObject failed: ParamValidationError(?s:.*)Invalid bucket name \"not/one\""
    ):
        Bucket(clients, "not/one", lambda: "1").get("a")
    with pytest.raises(CloudError, match="logs:FilterLogEvents failed: ParamValidationError"):
        list(Logs(clients).read(""))


def test_an_endpoint_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CloudError, match="Invalid endpoint: nowhere"):
        Functions(Clients("eu-central-1", endpoint_url="nowhere")).get(NAME)


@pytest.mark.usefixtures("no_waiting")
def test_an_endpoint_that_can_not_be_reached_is_told() -> None:
    clients = Clients("eu-central-1", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(NetworkError, match=r"can't be reached for lambda:GetFunction.*127\.0\.0\.1:9"):
        Functions(clients).get(NAME)


def function(**more: object) -> dict[str, dict[str, object]]:
    """What Lambda answers of a function."""
    configuration = {
        "FunctionName": NAME,
        "FunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:dagy-etl",
        "Role": "arn:aws:iam::123456789012:role/r",
        "CodeSha256": "",
        "MemorySize": 128,
        "Timeout": 3,
        "Version": "$LATEST",
        **more,
    }
    return {"Configuration": configuration}
