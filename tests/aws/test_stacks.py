"""Stacks, by real requests to moto, which loads every service it has for them."""

from __future__ import annotations

import json

import pytest

from dagy.aws import Aws, StackEvent

pytestmark = pytest.mark.program

TEMPLATE = {
    "Parameters": {"Days": {"Type": "String", "Default": "1"}},
    "Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "dagy-artifacts"}}},
    "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}}},
}


def test_a_stack_is_made_and_its_outputs_are_read(aws: Aws) -> None:
    assert aws.stacks.get("dagy") is None
    assert aws.stacks.template("dagy") is None
    aws.stacks.create("dagy", json.dumps(TEMPLATE), parameters={"Days": "7"}, tags={"dagy:stack": "dagy"})
    events: list[StackEvent] = []
    stack = aws.stacks.wait("dagy", events.append)
    assert (stack.status, stack.is_sound) == ("CREATE_COMPLETE", True)
    assert stack.outputs == {"Bucket": "dagy-artifacts"}
    assert stack.parameters == {"Days": "7"}
    assert stack.tags == {"dagy:stack": "dagy"}
    assert {each.status for each in events} == {"CREATE_IN_PROGRESS", "CREATE_COMPLETE"}
    assert json.loads(aws.stacks.template("dagy") or "") == TEMPLATE


def test_a_stack_is_changed(aws: Aws) -> None:
    aws.stacks.create("dagy", json.dumps(TEMPLATE), parameters={}, tags={})
    changed = {**TEMPLATE, "Outputs": {"Name": {"Value": "dagy"}}}
    assert aws.stacks.update("dagy", json.dumps(changed), parameters={}, tags={}) is True
    assert aws.stacks.wait("dagy").outputs == {"Name": "dagy"}


def test_a_stack_that_is_deleted_is_none(aws: Aws) -> None:
    aws.stacks.create("dagy", json.dumps(TEMPLATE), parameters={}, tags={})
    aws.stacks.delete("dagy")
    aws.stacks.wait_deleted("dagy")
    assert aws.stacks.get("dagy") is None
