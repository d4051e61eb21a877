"""The stack as data: what it allows, what it keeps out, and that it is always the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import yaml

from dagy.backends.environment import Environment
from dagy.deploy.infrastructure import STARS, as_json, as_yaml, template

BOTH = pytest.mark.parametrize("make_network", [False, True], ids=["given-network", "made-network"])

# What an action is called as an operation of its service, where that is not its own name; None: it is no operation.
OPERATIONS = {
    "lambda:InvokeFunction": "Invoke",
    "s3:ListBucket": "ListObjectsV2",
    "iam:PassRole": None,
}
SERVICES = {"states": "stepfunctions"}
# What a role may use that is not named after the stack, and why.
SHARED = {
    "rule/StepFunctionsGetEventsForECSTaskRule": "Step Functions itself names it, once an account",
    "repository/*": "whose images run is said by a deployment, long after the stack was made",
}
UNTAGGED = {
    "AWS::S3::BucketPolicy",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::EC2::Route",
    "AWS::EC2::SubnetRouteTableAssociation",
}


def statements(make_network: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each statement of each role's policies, with the role's name."""
    for name, each in template(make_network=make_network)["Resources"].items():
        for policy in each["Properties"].get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def resources(statement: dict[str, Any]) -> list[Any]:
    found = statement["Resource"]
    return found if isinstance(found, list) else [found]


@BOTH
@pytest.mark.program
def test_cfn_lint_finds_no_fault(make_network: bool) -> None:
    from cfnlint.api import lint_all

    told = "\n".join(str(each) for each in lint_all(as_json(template(make_network=make_network))))
    assert [line for line in told.splitlines() if not line.startswith("[I4010")] == []  # it misses comments of its own


@BOTH
def test_the_template_is_the_same_each_time_in_both_spellings(make_network: bool) -> None:
    text = as_json(template(make_network=make_network))
    assert text == as_json(template(make_network=make_network))
    assert yaml.safe_load(as_yaml(template(make_network=make_network))) == json.loads(text)
    assert len(text) < 51_200  # or it would have to be put into a bucket first


def test_a_star_stands_only_where_aws_demands_it() -> None:
    starred = set()
    for role, statement in statements():
        assert not [each for each in statement["Action"] if "*" in each], role
        if "*" in resources(statement):
            starred.update(statement["Action"])
    assert starred == set(STARS)
    assert template()["Metadata"]["dagy"]["StarsThatAwsDemands"] == STARS


def test_every_action_is_one_that_there_is() -> None:
    import botocore.session

    session = botocore.session.Session()
    for action in {each for _, statement in statements() for each in statement["Action"]}:
        service, _, name = action.partition(":")
        operation = OPERATIONS.get(action, name)
        model = session.get_service_model(SERVICES.get(service, service))
        assert operation is None or operation in model.operation_names, action


def test_every_resource_of_a_policy_is_the_stacks_own() -> None:
    for role, statement in statements():
        for each in resources(statement):
            text = json.dumps(each)
            is_own = "AWS::StackName" in text or "Fn::GetAtt" in text or '{"Ref": "Bucket"}' in text
            assert each == "*" or is_own or any(f"{known}" in text for known in SHARED), (role, each)


def test_roles_are_passed_to_containers_alone() -> None:
    passing = [each for _, each in statements() if "iam:PassRole" in each["Action"]]
    assert len(passing) == 2
    for each in passing:
        assert each["Action"] == ["iam:PassRole"]
        assert each["Resource"] == [{"Fn::GetAtt": ["TaskRole", "Arn"]}, {"Fn::GetAtt": ["ExecutionRole", "Arn"]}]
        assert each["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_a_role_is_taken_on_for_this_account_alone() -> None:
    roles = {name: each for name, each in template()["Resources"].items() if each["Type"] == "AWS::IAM::Role"}
    trusts = {name: each["Properties"]["AssumeRolePolicyDocument"]["Statement"] for name, each in roles.items()}
    assert len(roles) == 5
    assert all(len(each) == 1 and each[0]["Action"] == "sts:AssumeRole" for each in trusts.values())
    for name in roles.keys() - {"FunctionRole"}:  # Lambda says for no account that it acts
        assert trusts[name][0]["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}, name


def test_the_bucket_is_private_encrypted_and_reached_over_tls_alone() -> None:
    made = template()["Resources"]
    bucket = made["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert "ServerSideEncryptionByDefault" in json.dumps(bucket["BucketEncryption"])
    (denied,) = made["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (denied["Effect"], denied["Action"]) == ("Deny", "s3:*")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_nothing_reaches_a_container_from_outside() -> None:
    assert "SecurityGroupIngress" not in as_json(template(make_network=True))


@BOTH
def test_all_that_can_be_tagged_has_the_stacks_tag(make_network: bool) -> None:
    expected = [{"Key": "dagy:stack", "Value": {"Ref": "AWS::StackName"}}]
    for name, each in template(make_network=make_network)["Resources"].items():
        assert each["Type"] in UNTAGGED or each["Properties"]["Tags"] == expected, name


@BOTH
def test_every_output_is_a_field_of_the_environment(make_network: bool) -> None:
    outputs = template(make_network=make_network)["Outputs"]
    told = {each.name.replace("_", "") for each in fields(Environment)} - {"stack"}
    assert {name.lower() for name in outputs} == told
