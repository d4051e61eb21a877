"""Deploys to AWS, on moto: what is made, what a second deploy leaves alone, and what is refused before anything."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.stepfunctions.responses import get_backend

from dagy.artifact import Artifact, open_built
from dagy.artifact.sizes import TooLargeError
from dagy.aws import Call, FunctionVersion, MachineVersion, TaskDefinition
from dagy.client import DagyClient
from dagy.deploy import DeployResult, build_to_deploy, built_for, deploy_artifact, left_on_aws, place_of
from dagy.deploy.aws_names import deployment_tags, resource_name
from dagy.deploy.aws_times import aws_cron
from dagy.deploy.aws_versions import old_machine_versions, old_versions
from dagy.errors import ArtifactError, AuthError, BackendError, CloudError, ConflictError, LimitError, SettingsError
from dagy.executors import Executor

from .clouds import ACCOUNT, BUCKET, STACK, Cloud, artifact_on_disk, on_aws

FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:dagy-etl"
SCHEDULED: dict[str, Any] = {"schedule": "0 6 * * 1-5", "timezone": "Europe/Berlin", "parameters": {"limit": 3}}
BACKENDS = ("lambda", "step-functions", "ecs")


def deploy(cloud: Cloud, client: DagyClient, path: Path, executor: Any = "lambda", **options: Any) -> DeployResult:
    return deploy_artifact(path, client=client, aws=cloud.aws, executor=executor, **options)


# ---- what is made


def test_nothing_is_built_for_a_place_that_is_not_there(cloud: Cloud, tmp_path: Path) -> None:
    def refused(_: Call) -> None:
        raise AuthError("not allowed")

    cloud.before = refused
    with pytest.raises(AuthError, match="not allowed"):
        build_to_deploy("nowhere.py", place_of("lambda", None, None, cloud.aws), output_dir=tmp_path)


def test_a_flow_on_lambda_is_a_function_with_its_packages_as_a_layer(
    cloud: Cloud, client: DagyClient, tmp_path: Path
) -> None:
    result = deploy(cloud, client, artifact_on_disk(tmp_path))
    made = client.deployment("etl")
    function = cloud.aws.functions.get("dagy-etl", "live")
    assert function is not None
    assert function.config.handler == "dagy.artifact.handler.handler"
    assert function.config.runtime == "python3.11"
    assert [each.rpartition(":")[0].rpartition(":")[2][:11] for each in function.config.layers] == ["dagy-layer-"]
    assert function.code_sha256 == result.artifact.sha256
    assert f"put the artifact into s3://{BUCKET}/artifacts/{result.artifact.sha256[:12]}….zip (" in str(result)
    assert function.tags == {
        "dagy:stack": "dagy",
        "dagy:deployment": "etl",
        "dagy:fingerprint": function.tags["dagy:fingerprint"],
    }
    assert made.executor == "lambda"
    assert {name: made.resources[name] for name in ("region", "account", "store", "function")} == {
        "region": "us-east-1",
        "account": ACCOUNT,
        "store": f"s3://{BUCKET}/runs",
        "function": f"{FUNCTION}:1",
    }
    assert cloud.aws.functions.async_config("dagy-etl", "live") == (0, 3600)
    assert str(result).startswith("etl: etl latest (revision 1) is deployed on lambda\n")


def test_a_state_machine_calls_the_published_version(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    deploy(cloud, client, artifact_on_disk(tmp_path), "step-functions")
    machine = cloud.aws.state_machines.get("dagy-etl")
    assert machine is not None
    assert f"{FUNCTION}:1" in machine.config.definition
    assert "$LATEST" not in machine.config.definition
    resources = client.deployment("etl").resources
    assert resources["state_machine"] == f"{machine.arn}:1"
    assert resources["function"] == f"{FUNCTION}:1"


def test_a_container_finds_the_code_in_the_bucket(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    path = artifact_on_disk(tmp_path)
    result = deploy(cloud, client, path, Executor("ecs", vcpu=2, memory_mb=8192))
    found = cloud.aws.containers.task_definition("dagy-etl")
    assert found is not None
    assert (found.definition.cpu, found.definition.memory_mb) == (2048, 8192)
    assert found.definition.image == "public.ecr.aws/lambda/python:3.11"
    code = found.definition.environment["DAGY_ARTIFACT"]
    assert code == f"s3://{BUCKET}/artifacts/{result.artifact.sha256}.zip"
    bucket = cloud.aws.bucket(BUCKET, owner=ACCOUNT)
    assert bucket.get(code.removeprefix(f"s3://{BUCKET}/")) == path.read_bytes()
    layer = found.definition.environment["DAGY_LAYER"].removeprefix(f"s3://{BUCKET}/")
    assert bucket.get(layer) == path.with_name("dependencies.zip").read_bytes()
    resources = client.deployment("etl").resources
    assert resources["task_definition"] == found.arn
    assert resources["subnets"] == ["subnet-1", "subnet-2"]
    assert cloud.aws.functions.get("dagy-etl") is None


def test_an_image_of_ones_own_is_run_as_it_is(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    deploy(cloud, client, artifact_on_disk(tmp_path), None, image="example.com/etl:1")
    found = cloud.aws.containers.task_definition("dagy-etl")
    assert found is not None
    assert (found.definition.image, found.definition.entry_point) == ("example.com/etl:1", ())
    assert "DAGY_ARTIFACT" not in found.definition.environment


def test_a_task_for_a_container_is_run_by_the_state_machine(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    deploy(cloud, client, artifact_on_disk(tmp_path, mixed=True), "step-functions")
    machine, container = cloud.aws.state_machines.get("dagy-etl"), cloud.aws.containers.task_definition("dagy-etl")
    assert machine is not None
    assert container is not None
    assert container.arn in machine.config.definition
    assert f"{FUNCTION}:1" in machine.config.definition


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schedule_starts_what_is_deployed(cloud: Cloud, client: DagyClient, tmp_path: Path, backend: str) -> None:
    deploy(cloud, client, artifact_on_disk(tmp_path), backend, **SCHEDULED)
    schedule = cloud.aws.schedules.get(STACK, "dagy-etl")
    assert schedule is not None
    assert (schedule.expression, schedule.timezone) == ("cron(0 6 ? * MON-FRI *)", "Europe/Berlin")
    assert schedule.retries == 0  # each try would be another run
    resources, given = client.deployment("etl").resources, json.loads(schedule.input)
    run_id = "etl-<aws.scheduler.execution-id>"
    if backend == "lambda":
        assert schedule.target == f"{FUNCTION}:live"
    elif backend == "step-functions":
        assert schedule.target == "arn:aws:scheduler:::aws-sdk:sfn:startExecution"
        assert (given["Name"], given["StateMachineArn"]) == (run_id, resources["state_machine"])
        given = json.loads(given["Input"])
    else:
        assert schedule.task is not None
        assert schedule.task.task_definition == resources["task_definition"]
        (override,) = given["containerOverrides"]
        (variable,) = override["environment"]
        assert (override["name"], variable["name"]) == ("flow", "DAGY_EVENT")
        given = json.loads(variable["value"])
    assert {name: given[name] for name in ("run_id", "deployment", "trigger", "parameters")} == {
        "run_id": run_id,
        "deployment": "etl",
        "trigger": "schedule",
        "parameters": {"limit": 3},
    }
    assert client.schedules(deployment="etl") == []  # no worker starts the same runs
    deploy(cloud, client, artifact_on_disk(tmp_path), backend)
    assert cloud.aws.schedules.get(STACK, "dagy-etl") is None


# ---- the next deploy


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_once_more_changes_nothing(cloud: Cloud, client: DagyClient, tmp_path: Path, backend: str) -> None:
    path = artifact_on_disk(tmp_path, mixed=backend == "step-functions")
    first = deploy(cloud, client, path, backend, **SCHEDULED)
    assert cloud.changes
    cloud.forget()
    assert not first.skipped
    assert deploy(cloud, client, path, backend, **SCHEDULED).skipped
    assert cloud.changes == []
    assert len(cloud.calls) <= 10


def test_other_code_is_a_new_version_and_the_same_packages_stay(
    cloud: Cloud, client: DagyClient, tmp_path: Path
) -> None:
    deploy(cloud, client, artifact_on_disk(tmp_path))
    cloud.forget()
    result = deploy(cloud, client, artifact_on_disk(tmp_path, "x = 2\n"))
    assert cloud.changes == ["PutObject", "UpdateFunctionCode", "TagResource", "PublishVersion", "UpdateAlias"]
    assert result.deployment is not None
    assert result.deployment.resources["function"] == f"{FUNCTION}:2"
    assert [each.version for each in cloud.aws.functions.versions("dagy-etl")] == ["1", "2"]


def test_other_memory_changes_the_settings_only(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    path = artifact_on_disk(tmp_path)
    deploy(cloud, client, path)
    cloud.forget()
    result = deploy(cloud, client, path, Executor("lambda", memory_mb=3008))
    assert cloud.changes == ["UpdateFunctionConfiguration", "TagResource", "PublishVersion", "UpdateAlias"]
    assert any("memory mb 1769 -> 3008" in str(each) for each in result.plan.steps)


def test_the_deployment_is_switched_last(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    deploy(cloud, client, artifact_on_disk(tmp_path), "step-functions")
    result = deploy(cloud, client, artifact_on_disk(tmp_path, "x = 2\n"), "step-functions")
    kinds = [type(each).__name__ for each in result.plan.steps]
    assert kinds == [
        "UploadArtifact", "RegisterFlow", "PutFile", "ChangeCode", "TagFunction", "PublishFunction", "PutMachine",
        "SwitchAlias", "SwitchDeployment",
    ]  # fmt: skip


def test_a_deployment_moves_to_another_backend_and_back_to_workers(
    cloud: Cloud, client: DagyClient, tmp_path: Path
) -> None:
    path = artifact_on_disk(tmp_path)
    deploy(cloud, client, path, "lambda", **SCHEDULED)
    moved = deploy(cloud, client, path, "ecs", **SCHEDULED)
    assert "move etl from lambda to ecs" in str(moved)
    assert "function" not in client.deployment("etl").resources
    local = deploy_artifact(path, client=client, executor="local", **SCHEDULED)
    assert "remove the schedule dagy-etl on AWS, where the rest stays" in str(local)
    assert cloud.aws.schedules.get(STACK, "dagy-etl") is None
    assert (client.deployment("etl").executor, client.deployment("etl").resources) == ("local", {})
    assert [each.timing.cron for each in client.schedules(deployment="etl")] == ["0 6 * * 1-5"]
    assert deploy_artifact(path, client=client, executor="local", **SCHEDULED).skipped
    deploy(cloud, client, path, "lambda", **SCHEDULED)
    assert client.schedules(deployment="etl") == []


def test_what_somebody_else_changed_is_mended(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    path = artifact_on_disk(tmp_path, mixed=True)
    deploy(cloud, client, path, "step-functions", **SCHEDULED)
    clean, aws = on_aws(cloud, client), cloud.aws
    function, machine = aws.functions.get("dagy-etl"), aws.state_machines.get("dagy-etl")
    container, schedule = aws.containers.task_definition("dagy-etl"), aws.schedules.get(STACK, "dagy-etl")
    assert function is not None
    assert machine is not None
    assert container is not None
    assert schedule is not None

    def other_alias() -> None:
        aws.functions.update_config(replace(function.config, memory_mb=2048))
        aws.functions.put_alias("dagy-etl", "live", aws.functions.publish("dagy-etl").version)

    other: TaskDefinition = replace(container.definition, image="example.com/other")
    for change in (
        lambda: aws.functions.update_config(replace(function.config, memory_mb=128)),
        other_alias,
        lambda: aws.functions.tag(function.arn, {"dagy:fingerprint": "mine"}),
        lambda: aws.functions.put_async_config("dagy-etl", "live", retries=2),
        lambda: aws.state_machines.update(replace(machine.config, role=f"arn:aws:iam::{ACCOUNT}:role/TaskRole")),
        lambda: aws.containers.register(other),
        lambda: aws.schedules.put(replace(schedule, is_enabled=False)),
        lambda: aws.schedules.delete(STACK, "dagy-etl"),
        lambda: aws.bucket(BUCKET, owner=ACCOUNT).delete_prefix("artifacts/"),
    ):
        change()
        assert not deploy(cloud, client, path, "step-functions", **SCHEDULED).skipped
        assert on_aws(cloud, client) == clean
        assert deploy(cloud, client, path, "step-functions", **SCHEDULED).skipped


def test_two_deploys_at_once_end_as_one_of_them_or_say_so(cloud: Cloud, client: DagyClient, tmp_path: Path) -> None:
    mine, others = artifact_on_disk(tmp_path), artifact_on_disk(tmp_path, "x = 2\n")
    deploy(cloud, client, mine)
    cloud.forget()
    deploy(cloud, client, artifact_on_disk(tmp_path, "x = 3\n"))
    meetings = [*dict.fromkeys(cloud.changes), "GetSchedule"]  # before each change, and at the end of the look
    refused = 0
    for operation in meetings:
        cloud.forget()

        def meet(call: Call, operation: str = operation) -> None:
            if call.operation == operation:
                cloud.before = None
                deploy(cloud, client, others)

        cloud.before = meet
        refused += 1
        with contextlib.suppress(ConflictError):
            deploy(cloud, client, mine)
            refused -= 1
            on_aws(cloud, client)
        deploy(cloud, client, mine)
        on_aws(cloud, client)
        assert client.deployment("etl").code_hash == open_built(mine).code_hash
        deploy(cloud, client, artifact_on_disk(tmp_path, "x = 3\n"))
    assert 0 < refused <= len(meetings)


# ---- looking only


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_a_dry_run_says_where_it_would_run_and_changes_nothing(
    cloud: Cloud, client: DagyClient, tmp_path: Path, backend: str
) -> None:
    result = deploy(cloud, client, artifact_on_disk(tmp_path), backend, dry_run=True, **SCHEDULED)
    assert cloud.changes == []
    assert list(client.deployments()) == []
    assert result.route is not None
    told = str(result)
    assert str(result.route) in told
    assert "would be deployed on" in told
    assert "make the schedule dagy-etl: cron(0 6 ? * MON-FRI *) (Europe/Berlin)" in told


def test_what_can_not_run_there_is_refused_before_anything_is_asked(
    cloud: Cloud, client: DagyClient, tmp_path: Path
) -> None:
    path = artifact_on_disk(tmp_path)
    for executor, options, error, message in (
        (Executor("lambda", memory_mb=20_000), {}, LimitError, "20,000 MB"),
        (Executor("lambda", timeout_seconds=1200), {}, LimitError, "900|15 min"),
        ("lambda", {"schedule": "0 6 1 * 1"}, BackendError, "days of the month and days of the week"),
    ):
        with pytest.raises(error, match=message):
            deploy(cloud, client, path, executor, **options)
    for target, executor, message in (
        ("local", "lambda", "was built for this machine, and is to run on AWS; build it for AWS: dagy build --target"),
        ("ecs", "lambda", "was built for containers, not for 'lambda'"),
    ):
        with pytest.raises(ArtifactError, match=message):
            deploy(cloud, client, artifact_on_disk(tmp_path, target=target), executor)
    assert cloud.calls == []
    with pytest.raises(LimitError, match=r"what the schedule of the deployment 'etl' gives its runs: .* 8,192"):
        deploy(cloud, client, artifact_on_disk(tmp_path), "ecs", schedule="0 6 * * *", parameters={"limit": "x" * 8000})
    assert cloud.changes == []


def test_code_that_is_too_large_for_lambda_is_refused_with_the_way_out(
    cloud: Cloud, client: DagyClient, tmp_path: Path
) -> None:
    path = artifact_on_disk(tmp_path, unzipped=251 << 20)
    with pytest.raises(LimitError, match=r"250.0 MiB.*executor='ecs'"):
        deploy(cloud, client, path)
    assert deploy(cloud, client, path, None, dry_run=True).plan.wanted.executor == "ecs"


@pytest.mark.parametrize(
    ("executor", "built"),
    [
        (None, ["lambda", "ecs"]),
        ("auto", ["lambda", "ecs"]),
        ("ecs", ["lambda", "ecs"]),
        ("large", ["lambda", "ecs"]),
        ("lambda", ["lambda"]),
        ("step-functions", ["lambda"]),
        (Executor("lambda", architecture="arm64"), ["lambda-arm64"]),
    ],
)
def test_code_that_is_too_large_is_built_for_a_container_unless_a_function_is_asked_for(
    signed_in: None, executor: Any, built: list[str]
) -> None:
    tried: list[str] = []

    def build(target: str) -> Artifact:
        tried.append(target)
        raise TooLargeError("the packages are 300 MiB")

    with pytest.raises(TooLargeError) as caught:
        built_for(place_of(executor, None, None), build)
    assert tried == built
    assert ("executor='ecs'" in "".join(getattr(caught.value, "__notes__", ()))) == (len(built) == 1)


def test_an_image_of_ones_own_is_built_for_and_a_stand_in_says_what_is_built(
    signed_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    for place in (place_of(None, "example.com/etl:1", None), place_of("local", None, None), None):
        built_for(place, lambda target: built.append(target))  # type: ignore[func-returns-value, arg-type]
    monkeypatch.setenv("DAGY_AWS_TARGET", "local")
    built_for(place_of("lambda", None, None), lambda target: built.append(target))  # type: ignore[func-returns-value, arg-type]
    assert built == ["ecs", "local", "local", "local"]


def test_aws_without_a_stack_is_refused(client: DagyClient, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="dagy aws init"):
        deploy_artifact(artifact_on_disk(tmp_path), client=client, executor="lambda")
    assert deploy_artifact(artifact_on_disk(tmp_path), client=client).plan.wanted.executor == "local"


# ---- what is left


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_deployment_has_on_aws_can_be_taken_away(
    cloud: Cloud, client: DagyClient, tmp_path: Path, backend: str
) -> None:
    deploy(cloud, client, artifact_on_disk(tmp_path), backend, **SCHEDULED)
    left = left_on_aws(client.deployment("etl"), cloud.aws)
    kinds = {"lambda": ["function"], "step-functions": ["state machine", "function"], "ecs": ["container"]}[backend]
    assert [str(each) for each in left] == [f"the {kind} dagy-etl" for kind in ["schedule", *kinds]]
    for each in left:
        each.remove()
    gone = left_on_aws(client.deployment("etl"), cloud.aws)
    assert [str(each) for each in gone] in ([], ["the state machine dagy-etl"])  # which is let end first


def test_versions_that_nothing_uses_are_removed_two_weeks_after_the_next_one_came() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)

    def version(number: int, days: float | None) -> FunctionVersion:
        at = "" if days is None else f"published {now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
        return FunctionVersion(str(number), f"arn:{number}", at, "")

    versions = [version(1, 90), version(2, 60), version(3, 15), version(4, None), version(5, 13), version(6, 1)]
    assert [each.version for each in old_versions(versions, {"1"}, now)] == ["2"]
    assert old_versions(versions[:1], (), now) == []
    machines = [MachineVersion(f"arn:{number}", now - timedelta(days=days)) for number, days in enumerate((90, 60, 20))]
    assert [each.arn for each in old_machine_versions(machines, {"arn:1"}, now)] == ["arn:0"]
    assert old_machine_versions(machines[:1], (), now) == []


def test_a_deploy_of_changes_removes_old_versions_but_those_that_are_used(
    cloud: Cloud, client: DagyClient, tmp_path: Path
) -> None:
    def deployed(number: int) -> DeployResult:
        return deploy(cloud, client, artifact_on_disk(tmp_path, f"x = {number}\n"), "step-functions")

    for number in range(4):
        assert "two weeks" not in str(deployed(number))
    for each in get_backend(ACCOUNT, "us-east-1").state_machines[0].versions.values():
        each.creation_date -= timedelta(days=15)

    def refused(call: Call) -> None:  # as where an alias of somebody's stands for the version
        if call.operation == "DeleteStateMachineVersion" and not kept:
            kept.append(call)
            raise CloudError("it is used", operation=call.operation, code="ConflictException")

    kept: list[Call] = []
    cloud.before = refused
    assert "remove 3 versions of dagy-etl that nothing has used for two weeks" in str(deployed(4))
    left = [each.arn.rpartition(":")[2] for each in cloud.aws.state_machines.versions("dagy-etl")]
    assert left == ["1", "4", "5"]
    assert len(cloud.aws.functions.versions("dagy-etl")) == 5, "those are no two weeks old"


# ---- names and times


def test_a_name_is_legal_and_no_other_deployment_has_it() -> None:
    assert resource_name("dagy-", "etl") == "dagy-etl"
    odd = ["team/etl", "team-etl", "team etl", "team.etl", "étl", "e" * 100, "e" * 101, "/", "Etl", "team/a/etl"]
    names = [resource_name("dagy-", each) for each in odd]
    assert len(set(names)) == len(odd)
    for each in names:
        assert each.startswith("dagy-")
        assert len(each) <= 64
        assert each.replace("-", "").replace("_", "").isascii()
        assert each.replace("-", "").replace("_", "").isalnum()
    assert deployment_tags("team/é?*") == {"dagy:deployment": "team/é--"}


@pytest.mark.parametrize(
    ("cron", "there"),
    [
        ("0 6 * * *", "0 6 * * ? *"),
        ("*/15 9-17 * * 1-5", "0,15,30,45 9-17 ? * MON-FRI *"),
        ("0 0 1,15 * *", "0 0 1,15 * ? *"),
        ("30 4 * JAN,MAR SUN", "30 4 ? 1,3 SUN *"),
        ("0 0 * * 0,7", "0 0 ? * SUN *"),
        ("0 0 * * 6-7", "0 0 ? * SUN,SAT *"),
        ("0 0 * * 0-7", "0 0 * * ? *"),
        ("0 0 */10 */3 *", "0 0 1,11,21,31 1,4,7,10 ? *"),
        ("0 12 L * *", "0 12 L * ? *"),
        ("0 0 * * 5#2", "0 0 ? * 6#2 *"),
        ("0 0 * * 5L", "0 0 ? * 6L *"),
        ("* * * * *", "* * * * ? *"),
    ],
)
def test_cron_is_written_as_aws_means_it(cron: str, there: str) -> None:
    assert aws_cron(cron) == f"cron({there})"


@pytest.mark.parametrize("cron", ["0 0 1 * 1", "0 0 LW * *", "0 0 L,15 * *", "0 0 * * 1,5#2"])
def test_cron_that_aws_has_no_words_for_is_refused_with_the_reason(cron: str) -> None:
    with pytest.raises(BackendError, match=r"can't be one of EventBridge Scheduler: .*dagy schedules create"):
        aws_cron(cron)
