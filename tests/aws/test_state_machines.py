"""State machines and their executions, by real requests to moto."""

from __future__ import annotations

import dataclasses
import json

import pytest

from dagy.aws import Aws, MachineConfig
from dagy.errors import CloudError, ConflictError

from .conftest import ROLE

PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
CONFIG = MachineConfig("dagy-etl", json.dumps(PASS), ROLE)


def made(aws: Aws) -> str:
    """The ARN of a state machine (moto starts no versions)."""
    aws.state_machines.create(CONFIG)
    return aws.state_machines.arn("dagy-etl")


def test_a_state_machine_is_read_back_as_it_was_made(aws: Aws) -> None:
    version = aws.state_machines.create(CONFIG, {"dagy:stack": "dagy"})
    found = aws.state_machines.get("dagy-etl")
    assert found is not None
    assert found.config == CONFIG
    assert found.tags == {"dagy:stack": "dagy"}
    assert found.arn == aws.state_machines.arn("dagy-etl")
    assert version == f"{found.arn}:1"


def test_a_change_is_a_new_version(aws: Aws) -> None:
    first = aws.state_machines.create(CONFIG)
    second = aws.state_machines.update(dataclasses.replace(CONFIG, definition=json.dumps({**PASS, "Comment": "two"})))
    assert [each.rpartition(":")[2] for each in (first, second)] == ["1", "2"]
    found = aws.state_machines.get("dagy-etl")
    assert found is not None
    assert json.loads(found.config.definition)["Comment"] == "two"


def test_a_state_machine_that_is_not_there_is_none(aws: Aws) -> None:
    assert aws.state_machines.get("dagy-none") is None
    assert aws.state_machines.execution(aws.state_machines.execution_arn(aws.state_machines.arn("x"), "r")) is None


def test_state_machines_are_found_by_how_their_names_begin(aws: Aws) -> None:
    for name in ("dagy-b", "dagy-a", "other"):
        aws.state_machines.create(dataclasses.replace(CONFIG, name=name))
    assert aws.state_machines.names("dagy-") == ("dagy-a", "dagy-b")
    aws.state_machines.delete("dagy-a")
    assert aws.state_machines.names("dagy-") == ("dagy-b",)


def test_tags_are_added_to_those_there_are(aws: Aws) -> None:
    aws.state_machines.create(CONFIG, {"a": "1"})
    aws.state_machines.tag(aws.state_machines.arn("dagy-etl"), {"b": "2"})
    found = aws.state_machines.get("dagy-etl")
    assert found is not None
    assert found.tags == {"a": "1", "b": "2"}


def test_the_same_start_twice_is_one_execution(aws: Aws) -> None:
    machine = made(aws)
    first = aws.state_machines.start(machine, "etl-1", '{"run_id": "etl-1"}')
    assert aws.state_machines.start(machine, "etl-1", '{"run_id":  "etl-1"}') == first
    found = aws.state_machines.execution(first)
    assert found is not None
    assert (found.arn, found.input) == (first, '{"run_id": "etl-1"}')


def test_the_same_name_with_another_input_is_refused(aws: Aws) -> None:
    machine = made(aws)
    aws.state_machines.start(machine, "etl-1", '{"day": 1}')
    with pytest.raises(ConflictError, match="another input"):
        aws.state_machines.start(machine, "etl-1", '{"day": 2}')


def test_an_execution_that_is_stopped_is_aborted(aws: Aws) -> None:
    arn = aws.state_machines.start(made(aws), "etl-1", "{}")
    aws.state_machines.stop(arn, error="Cancelled", cause="somebody asked")
    found = aws.state_machines.execution(arn)
    assert found is not None
    assert found.status == "ABORTED"


def test_an_execution_that_is_not_there_is_stopped_already(aws: Aws) -> None:
    aws.state_machines.stop(f"{made(aws)}:none".replace("stateMachine", "execution"), error="Cancelled", cause="")


def test_the_machine_of_an_execution_that_is_not_there_is_not_started(aws: Aws) -> None:
    with pytest.raises(CloudError) as caught:
        aws.state_machines.start(aws.state_machines.arn("none"), "etl-1", "{}")
    assert (caught.value.operation, caught.value.code) == ("StartExecution", "StateMachineDoesNotExist")
