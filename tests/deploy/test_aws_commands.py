"""The commands that deploy to AWS and take it back, on a stand-in that really makes what is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy.aws import Aws
from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.testing import LocalAws

pytestmark = pytest.mark.program

FLOW = """
from dagy import flow, task

@task(executor={executor!r})
def double(number: int) -> int:
    return 2 * number

@flow(name="etl")
def etl(number: int = 1) -> int:
    return double(number)
"""

Dagy = Callable[..., str]


@pytest.fixture
def aws(shared_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The account that a test's own deploys go to."""
    monkeypatch.setenv("DAGY_AWS_STACK", shared_aws.stack)
    monkeypatch.setenv("DAGY_AWS_TARGET", "local")
    return Aws(region=shared_aws.region, endpoint_url=shared_aws.endpoint_url)


@pytest.fixture
def dagy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dagy:
    """Run the command in a folder with a flow; what it printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etl.py").write_text(FLOW.format(executor=None))
    (tmp_path / "mixed.py").write_text(FLOW.format(executor="ecs"))

    def run(*args: str, code: ExitCode = ExitCode.SUCCESS) -> str:
        found = app.run(args)
        told = capsys.readouterr()
        assert found is code, told.err
        return told.out + told.err

    return run


def test_a_flow_is_deployed_shown_and_taken_back(aws: Aws, dagy: Dagy) -> None:
    options = ("--deployment", "shown", "--executor", "lambda", "--schedule", "0 6 * * 1-5")
    dry = dagy("deploy", "etl.py", *options, "--dry-run")
    assert "would be deployed on lambda" in dry
    assert "make the function dagy-shown" in dry
    assert "Cost" in dry
    assert aws.functions.get("dagy-shown") is None
    assert "shown: etl latest (revision 1) is deployed on lambda" in dagy("deploy", "etl.py", *options)
    assert "unchanged, skipped" in dagy("deploy", "etl.py", *options)
    dagy("schedules", "create", "shown", "--cron", "0 9 * * 6")
    heads, row = dagy("deployments", "list").splitlines()
    assert heads.split() == ["DEPLOYMENT", "FLOW", "VERSION", "RUNS", "ON", "SCHEDULE", "TAGS", "CHANGED"]
    assert "latest (revision 1)  lambda     0 6 * * 1-5 (UTC), 0 9 * * 6 (UTC)" in row
    on_aws = next(each for each in dagy("schedules", "list").splitlines() if "dagy-shown" in each)
    assert "0 6 * * 1-5 (UTC)" in on_aws
    assert on_aws.endswith("EventBridge")
    assert "dagy-shown" in dagy("schedules", "next")
    refused = dagy("schedules", "pause", "dagy-shown", code=ExitCode.GENERAL)
    assert "kept by EventBridge; deploy shown with another --schedule" in refused
    shown = dagy("deployments", "show", "shown")
    assert "dagy-shown:1" in shown
    assert "0 6 * * 1-5 (UTC), by EventBridge Scheduler" in shown
    told = dagy("deployments", "delete", "shown", "--yes")
    assert "deleted deployment shown, and the schedule dagy-shown on AWS" in told
    assert "on AWS there still is the function dagy-shown; to remove that too, deploy it again and delete it" in told
    assert aws.functions.get("dagy-shown") is not None


def test_what_a_deployment_has_on_aws_goes_with_it(aws: Aws, dagy: Dagy) -> None:
    told: dict[str, Any] = json.loads(
        dagy("deploy", "mixed.py", "--deployment", "gone", "--executor", "step-functions", "--format", "json")
    )
    assert (told["executor"], told["now"]["executor"]) == ("step-functions", "step-functions")
    assert told["route"]["tasks"]["double"]["backend"] == "ecs"
    assert aws.state_machines.get("dagy-gone") is not None
    assert dagy("deployments", "tag", "gone", "team=data") == "gone: team=data\n"
    now = json.loads(dagy("deployments", "show", "gone", "--format", "json"))
    assert now["resources"]["state_machine"] == told["now"]["resources"]["state_machine"]
    dagy("deployments", "delete", "gone", "--with-resources", "--yes")
    assert aws.functions.get("dagy-gone") is None
    assert aws.containers.task_definition("dagy-gone") is None
    assert aws.state_machines.get("dagy-gone") is None


def test_an_executor_that_there_is_not_is_refused(aws: Aws, dagy: Dagy) -> None:
    assert "did you mean 'lambda'?" in dagy("deploy", "etl.py", "--executor", "lamda", code=ExitCode.USAGE)
