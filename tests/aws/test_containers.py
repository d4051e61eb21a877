"""Task definitions and tasks, by real requests to moto."""

from __future__ import annotations

import dataclasses

import pytest

from dagy.aws import Aws, RunTask, TaskDefinition
from dagy.errors import CloudError

from .conftest import ROLE

DEFINITION = TaskDefinition(
    family="dagy-etl",
    image="public.ecr.aws/lambda/python:3.12",
    cpu=512,
    memory_mb=1024,
    task_role=ROLE,
    execution_role=ROLE,
    container="flow",
    log_group="/dagy/dagy",
    log_prefix="etl",
    entry_point=("python", "-c"),
    environment={"DAGY_STORE": "s3://bucket/runs"},
    ephemeral_gib=30,
    architecture="arm64",
)


@pytest.fixture
def wanted(aws: Aws) -> RunTask:
    """A task of that definition in a cluster, to be started."""
    aws._clients.of("ecs").create_cluster(clusterName="dagy")
    return RunTask(
        cluster="dagy",
        task_definition=aws.containers.register(DEFINITION),
        container="flow",
        subnets=(aws.network.subnets()[0].id,),
        security_groups=(),
        client_token="etl-1",
        assign_public_ip=True,
        environment={"DAGY_EVENT": "{}"},
        started_by="dagy",
    )


def test_a_definition_is_read_back_as_it_was_registered(aws: Aws) -> None:
    arn = aws.containers.register(DEFINITION, {"dagy:stack": "dagy"})
    found = aws.containers.task_definition("dagy-etl")
    assert found is not None
    assert found.definition == DEFINITION
    assert (found.arn, found.tags) == (arn, {"dagy:stack": "dagy"})


def test_the_newest_revision_is_the_familys(aws: Aws) -> None:
    first = aws.containers.register(DEFINITION)
    second = aws.containers.register(dataclasses.replace(DEFINITION, cpu=1024, memory_mb=2048))
    aws.containers.register(dataclasses.replace(DEFINITION, family="dagy-etl-2"))
    assert aws.containers.revisions("dagy-etl") == (first, second)
    newest = aws.containers.task_definition("dagy-etl")
    older = aws.containers.task_definition(first)
    assert newest is not None
    assert older is not None
    assert (newest.definition.cpu, older.definition.cpu) == (1024, 512)


def test_a_revision_that_is_deregistered_is_none(aws: Aws) -> None:
    arn = aws.containers.register(DEFINITION)
    assert aws.containers.families("dagy-") == ("dagy-etl",)
    aws.containers.deregister(arn)
    assert aws.containers.task_definition(arn) is None
    assert aws.containers.revisions("dagy-etl") == ()


def test_a_family_that_is_not_there_is_none(aws: Aws) -> None:
    assert aws.containers.task_definition("dagy-none") is None


def test_a_task_that_was_started_is_found(aws: Aws, wanted: RunTask) -> None:
    arn = aws.containers.run(wanted)
    found = aws.containers.task("dagy", arn)
    assert found is not None
    assert found.arn == arn
    assert aws.containers.tasks("dagy", started_by="dagy") == (arn,)
    assert aws.containers.tasks("dagy", started_by="somebody") == ()


def test_a_task_that_was_stopped_says_why(aws: Aws, wanted: RunTask) -> None:
    arn = aws.containers.run(wanted)
    aws.containers.stop("dagy", arn, reason="somebody asked")
    found = aws.containers.task("dagy", arn)
    assert found is not None
    assert (found.status, found.is_final, found.stopped_reason) == ("STOPPED", True, "somebody asked")


def test_a_task_that_is_not_there_is_none(aws: Aws, wanted: RunTask) -> None:
    arn = aws.containers.run(wanted)
    assert aws.containers.task("dagy", arn[:-4] + "0000") is None


def test_a_cluster_that_is_not_there_is_told_by_name(aws: Aws, wanted: RunTask) -> None:
    with pytest.raises(CloudError) as caught:
        aws.containers.run(dataclasses.replace(wanted, cluster="none"))
    assert (caught.value.operation, caught.value.code) == ("RunTask", "ClusterNotFoundException")
