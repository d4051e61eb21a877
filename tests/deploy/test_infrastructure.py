"""Making the stack, reading it back, and removing what belongs to it: on a stand-in that really makes what is asked."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable

import boto3
import pytest

from dagy.aws import Aws, AwsSchedule, Call, FunctionConfig, MachineConfig, TaskDefinition
from dagy.backends.environment import Environment
from dagy.deploy.infrastructure import Belongings, Choices, belongings, environment, set_up, tear_down, wanted
from dagy.errors import CloudError, SettingsError
from dagy.testing import LocalAws

pytestmark = pytest.mark.program

REGION = "us-east-1"
_NUMBERS = itertools.count(1)


@pytest.fixture
def calls() -> list[Call]:
    """What is called through `aws`."""
    return []


@pytest.fixture
def aws(shared_aws: LocalAws, calls: list[Call]) -> Aws:
    return Aws(region=REGION, endpoint_url=shared_aws.endpoint_url, on_call=calls.append)


@pytest.fixture
def stack() -> str:
    """A stack's name that no other test uses."""
    return f"t{next(_NUMBERS)}"


def deployed(aws: Aws, made: Environment, name: str, tags: dict[str, str]) -> None:
    """One of everything that a deploy makes, by that name."""
    code = b"PK\x05\x06" + bytes(18)  # an empty ZIP
    aws.functions.create(FunctionConfig(name, made.function_role, "a.b", "python3.11"), code, tags)
    pass_on = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    aws.state_machines.create(MachineConfig(name, pass_on, made.state_machine_role), tags)
    task = TaskDefinition(
        family=name, image="python", cpu=512, memory_mb=1024, task_role=made.task_role,
        execution_role=made.execution_role, container="flow", log_group=made.log_group, log_prefix="run",
    )  # fmt: skip
    aws.containers.register(task, tags)
    target = aws.state_machines.get(name)
    assert target is not None
    aws.schedules.put(
        AwsSchedule(name, made.schedule_group, "rate(1 hour)", target.arn, made.scheduler_role, input="{}")
    )


def tags_of(stack: str) -> dict[str, str]:
    return {"dagy:stack": stack, "dagy:deployment": "default/etl"}


def test_what_is_set_up_is_what_is_read_back(aws: Aws, stack: str) -> None:
    made = set_up(aws, stack)
    assert environment(aws, stack) == made
    assert (made.stack, made.region, made.account, made.prefix) == (stack, REGION, aws.account, f"{stack}-")
    assert made.bucket.startswith(stack)
    assert made.subnets == tuple(each.id for each in aws.network.subnets())
    assert made.assign_public_ip
    assert aws.bucket(made.bucket).put("runs/x", b"1")


def test_a_stack_that_is_as_it_should_be_is_left_alone(aws: Aws, stack: str, calls: list[Call]) -> None:
    made = set_up(aws, stack)
    calls.clear()
    assert set_up(aws, stack) == made
    assert [each for each in calls if each.is_mutating] == []
    assert wanted(aws, stack).changes == ()


def test_what_was_given_once_stays_and_what_changes_is_told_first(aws: Aws, stack: str) -> None:
    set_up(aws, stack, Choices(log_days=7))
    assert wanted(aws, stack).parameters["LogDays"] == "7"
    (change,) = wanted(aws, stack, Choices(log_days=14)).changes
    assert (change.what, change.name, change.kind) == ("change", "LogDays", "7 -> 14")
    set_up(aws, stack, Choices(log_days=14))
    assert wanted(aws, stack).parameters["LogDays"] == "14"


def test_a_network_is_made_when_it_is_asked_for_and_stays(aws: Aws, stack: str) -> None:
    made = set_up(aws, stack, Choices(make_network=True))
    subnets = aws.network.subnets(made.subnets)
    assert len(subnets) == 2
    assert {each.vpc for each in subnets}.isdisjoint({each.vpc for each in aws.network.subnets()})
    assert wanted(aws, stack).changes == ()


def test_a_bucket_that_is_there_already_is_used_and_never_removed(aws: Aws, shared_aws: LocalAws, stack: str) -> None:
    shared_aws.client("s3").create_bucket(Bucket=f"mine-{stack}")
    made = set_up(aws, stack, Choices(bucket=f"mine-{stack}"))
    assert made.bucket == f"mine-{stack}"
    mine = aws.bucket(made.bucket)
    assert mine.put("runs/x", b"1")
    assert mine.put("diary", b"1")
    tear_down(aws, belongings(aws, stack), with_data=True)
    assert [each.key for each in mine.list()] == ["diary"]


def test_a_bucket_that_is_given_is_looked_at_first(aws: Aws, shared_aws: LocalAws, stack: str) -> None:
    with pytest.raises(SettingsError, match=r"there is no bucket 'Not_A_Bucket'"):
        wanted(aws, stack, Choices(bucket="Not_A_Bucket"))
    elsewhere = {"LocationConstraint": "eu-west-3"}
    shared_aws.client("s3").create_bucket(Bucket=f"far-{stack}", CreateBucketConfiguration=elsewhere)
    with pytest.raises(SettingsError, match=rf"is in eu-west-3, and functions in {REGION}"):
        wanted(aws, stack, Choices(bucket=f"far-{stack}"))
    shared_aws.client("s3").create_bucket(Bucket=f"near-{stack}")
    added = {each.kind for each in wanted(aws, stack, Choices(bucket=f"near-{stack}")).changes}
    assert "AWS::IAM::Role" in added
    assert {each for each in added if "S3" in each} == set(), "none is made"


def test_a_stack_whose_bucket_is_gone_is_shown_and_removed(aws: Aws, stack: str) -> None:
    aws.bucket(set_up(aws, stack).bucket).remove()
    there = belongings(aws, stack)
    assert (there.status, there.is_bucket_there, there.kept) == ("CREATE_COMPLETE", False, ())
    tear_down(aws, there, with_data=True)
    assert aws.stacks.get(stack) is None


def test_another_bucket_than_the_stacks_is_refused(aws: Aws, stack: str) -> None:
    made = set_up(aws, stack)
    with pytest.raises(SettingsError, match=rf"'other' is asked for .* {made.bucket!r} alone"):
        environment(aws, stack, bucket="other")


def test_a_stack_that_is_not_there_says_how_it_is_made(aws: Aws) -> None:
    with pytest.raises(CloudError, match=r"no stack 'absent' in us-east-1 .* dagy aws init --stack absent"):
        environment(aws, "absent")


def test_a_stack_of_somebody_else_is_left_alone(aws: Aws, shared_aws: LocalAws) -> None:
    body = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    shared_aws.client("cloudformation").create_stack(StackName="theirs", TemplateBody=body)
    for act in (set_up, environment, belongings):
        with pytest.raises(CloudError, match="'theirs' that is not Dagy's"):
            act(aws, "theirs")


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        (Choices(subnets=("subnet-0",)), "no subnet 'subnet-0' in us-east-1"),
        (Choices(subnets=("subnet-0",), make_network=True), "leave one of the two out"),
        (Choices(log_days=8), "for 8 days; it can for 1, 3, 5, 7, 14"),
        (Choices(runs_days=-1), "for -1 days"),
    ],
)
def test_a_choice_that_can_not_be_is_refused(aws: Aws, choices: Choices, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        wanted(aws, "new", choices)


def test_subnets_of_two_networks_are_refused(aws: Aws, stack: str) -> None:
    made = set_up(aws, stack, Choices(make_network=True))
    mixed = (made.subnets[0], aws.network.subnets()[0].id)
    with pytest.raises(SettingsError, match=r"different networks: vpc-\w+, vpc-"):
        wanted(aws, "new", Choices(subnets=mixed))


def test_an_account_without_a_default_network_is_told_of_the_two_ways(shared_aws: LocalAws) -> None:
    ec2 = boto3.client("ec2", region_name="eu-west-3", endpoint_url=shared_aws.endpoint_url)
    for each in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=each["SubnetId"])
    with pytest.raises(SettingsError, match=r"no default network .* --subnets, .* --make-network"):
        wanted(Aws(region="eu-west-3", endpoint_url=shared_aws.endpoint_url), "new")


def test_what_is_deployed_is_listed_by_deployment(aws: Aws, stack: str) -> None:
    deployed(aws, set_up(aws, stack), f"{stack}-etl", tags_of(stack))
    found = belongings(aws, stack).pieces
    assert [each.kind for each in found] == ["schedule", "state machine", "function", "containers"]
    assert {each.name for each in found} == {f"{stack}-etl"}
    assert {each.deployment for each in found} == {"default/etl"}
    assert all(each.told for each in found)


def test_only_what_is_the_stacks_own_is_removed(aws: Aws, stack: str) -> None:
    made = set_up(aws, stack)
    deployed(aws, made, f"{stack}-etl", tags_of(stack))
    code = b"PK\x05\x06" + bytes(18)
    for name, tags in ((f"{stack}-mine", {}), (f"{stack}-other-etl", tags_of(f"{stack}-other"))):
        aws.functions.create(FunctionConfig(name, made.function_role, "a.b", "python3.11"), code, tags)
    told: list[str] = []
    tear_down(aws, belongings(aws, stack), tell=told.append)
    assert aws.functions.names(f"{stack}-") == (f"{stack}-mine", f"{stack}-other-etl")
    assert aws.state_machines.names(f"{stack}-") == aws.containers.revisions(f"{stack}-etl") == ()
    assert aws.stacks.get(stack) is None
    assert told[0] == f"schedule {stack}-etl"


def test_the_data_stays_unless_it_is_meant_too(aws: Aws, stack: str) -> None:
    made = set_up(aws, stack)
    aws.bucket(made.bucket).put("runs/x", b"12345")
    tear_down(aws, belongings(aws, stack))
    left = belongings(aws, stack)
    assert (left.status, left.bucket) == (None, made.bucket)
    assert [(each.prefix, each.objects, each.size) for each in left.kept if each.objects] == [("runs/", 1, 5)]
    tear_down(aws, left, with_data=True)
    assert belongings(aws, stack).is_nothing


def test_tearing_down_goes_on_after_a_failure_at_any_call(shared_aws: LocalAws, aws: Aws, stack: str) -> None:
    deployed(aws, set_up(aws, stack), f"{stack}-etl", tags_of(stack))
    tries = 0
    while not (there := belongings(aws, stack)).is_nothing:
        tries += 1
        careless = Aws(region=REGION, endpoint_url=shared_aws.endpoint_url, before_call=failing_at(1))
        with contextlib.suppress(CloudError):
            tear_down(careless, there, with_data=True)
    assert tries == 6  # a schedule, a machine, a function, a revision, the stack, the bucket


def failing_at(count: int) -> Callable[[Call], None]:
    """A listener that lets `count` calls that change something through, and fails from there on."""
    left = count

    def before(call: Call) -> None:
        nonlocal left
        if call.is_mutating:
            left -= 1
            if left < 0:
                raise CloudError("somebody pulled the plug")

    return before


def test_belongings_of_nothing_are_nothing(aws: Aws) -> None:
    assert belongings(aws, "absent") == Belongings("absent", None, None, is_bucket_made=True)
