"""Schedules, logs and subnets, by real requests to moto."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from dagy.aws import Aws, AwsSchedule, FargateTarget

from .conftest import REGION, ROLE

FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:dagy-etl:live"
SCHEDULE = AwsSchedule(
    name="dagy-etl",
    group="dagy",
    expression="cron(0 6 * * ? *)",
    target=FUNCTION,
    role=ROLE,
    input='{"run_id": "<aws.scheduler.execution-id>"}',
    timezone="Europe/Berlin",
    description="every morning",
)


# ---- schedules


@pytest.fixture
def group(aws: Aws) -> None:
    """The group that schedules are in."""
    aws._clients.of("scheduler").create_schedule_group(Name="dagy")


@pytest.mark.usefixtures("group")
def test_a_schedule_is_read_back_as_it_was_put(aws: Aws) -> None:
    aws.schedules.put(SCHEDULE)
    assert aws.schedules.get("dagy", "dagy-etl") == SCHEDULE
    assert aws.schedules.names("dagy") == ("dagy-etl",)


@pytest.mark.usefixtures("group")
def test_a_schedule_that_is_put_again_is_changed(aws: Aws) -> None:
    aws.schedules.put(SCHEDULE)
    changed = dataclasses.replace(SCHEDULE, expression="rate(5 minutes)", is_enabled=False)
    aws.schedules.put(changed)
    assert aws.schedules.get("dagy", "dagy-etl") == changed


@pytest.mark.usefixtures("group")
def test_a_schedule_may_start_a_container(aws: Aws) -> None:
    cluster = f"arn:aws:ecs:{REGION}:123456789012:cluster/dagy"
    target = FargateTarget(f"arn:aws:ecs:{REGION}:123456789012:task-definition/dagy:1", ("subnet-1",), ("sg-1",), True)
    wanted = dataclasses.replace(SCHEDULE, target=cluster, task=target)
    aws.schedules.put(wanted)
    assert aws.schedules.get("dagy", "dagy-etl") == wanted


@pytest.mark.usefixtures("group")
def test_a_schedule_that_is_not_there_is_none_and_may_be_deleted(aws: Aws) -> None:
    assert aws.schedules.get("dagy", "dagy-etl") is None
    aws.schedules.delete("dagy", "dagy-etl")
    aws.schedules.put(SCHEDULE)
    aws.schedules.delete("dagy", "dagy-etl")
    assert aws.schedules.get("dagy", "dagy-etl") is None


# ---- logs


def test_lines_are_read_by_text_and_time(aws: Aws) -> None:
    client = aws._clients.of("logs")
    client.create_log_group(logGroupName="/dagy/dagy")
    at = datetime.now(UTC).replace(microsecond=0)
    for stream in ("etl/1", "other/1"):
        client.create_log_stream(logGroupName="/dagy/dagy", logStreamName=stream)
        events = [
            {"timestamp": int((at + timedelta(seconds=each)).timestamp() * 1000), "message": f"{stream} etl-{each}\n"}
            for each in range(3)
        ]
        client.put_log_events(logGroupName="/dagy/dagy", logStreamName=stream, logEvents=events)  # type: ignore[arg-type]
    found = list(aws.logs.read("/dagy/dagy", since=at + timedelta(seconds=2)))
    assert sorted((each.text, each.at) for each in found) == [
        (f"{each} etl-2", at + timedelta(seconds=2)) for each in ("etl/1", "other/1")
    ]
    assert [each.text for each in aws.logs.read("/dagy/dagy", containing="other/1 etl-2")] == ["other/1 etl-2"]


def test_a_group_that_is_not_there_has_no_lines(aws: Aws) -> None:
    assert list(aws.logs.read("/dagy/none")) == []


# ---- subnets


def test_the_default_networks_subnets_are_found(aws: Aws) -> None:
    found = aws.network.subnets()
    assert len({each.vpc for each in found}) == 1
    assert [each.zone for each in found] == sorted(each.zone for each in found)
    assert all(each.has_public_ips for each in found)


def test_a_subnet_that_is_not_there_is_left_out(aws: Aws) -> None:
    first = aws.network.subnets()[0]
    assert aws.network.subnets([first.id]) == (first,)
    assert aws.network.subnets([first.id, "subnet-00000000000000000"]) == (first,)
    assert aws.network.subnets(["subnet-00000000000000000"]) == ()
