"""From a file with a flow to runs of it on Lambda, Step Functions and Fargate, by what every user has.

One flow is deployed to each of the three; what it does in a run is said by the run's parameters.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dagy import DagyClient
from dagy.client import Run
from dagy.testing import LocalAws

pytestmark = pytest.mark.program

BACKENDS = ("lambda", "step-functions", "ecs")
NIGHTLY = "0 3 * * *"
READS = ("Describe", "Get", "List", "Head")
SHOP = '''
"""A flow that does what its parameters say."""

import os
import time

from dagy import flow, task


@task
def numbers(n: int) -> list[int]:
    return list(range(n))


@task(retries=600)  # so many that a few items fill a history at worst, and a map of more of them gets its own
def square(x: int) -> int:
    return x * x


@task
def total(squares: list[int]) -> int:
    print(f"adding {len(squares)} squares")
    return sum(squares)


@task
def check(is_bad: bool) -> str:
    if is_bad:
        raise ValueError("bad news")
    return "good"


@task
def after(news: str) -> str:
    return news.upper()


@task
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@flow
def shop(n: int = 3, is_bad: bool = False, seconds: float = 0.0) -> int:
    after(check(is_bad))
    nap(seconds)
    return total(square.map(numbers(n)))


@task(executor="ecs")
def in_container(x: int) -> str:
    return f"{x} on {os.environ['AWS_EXECUTION_ENV']}"


@task
def in_function(text: str) -> str:
    return f"{text}, then on {os.environ['AWS_EXECUTION_ENV'].rpartition('_python')[0]}"


@flow(executor="step-functions")
def mixed(x: int) -> str:
    return in_function(in_container(x))
'''


@pytest.fixture(autouse=True)
def _own_local_state() -> None:
    """The stand-in brings its own: one for all tests here, with workers that are woken."""


@pytest.fixture(scope="module")
def aws(shared_aws: LocalAws) -> LocalAws:
    return shared_aws


@pytest.fixture(scope="module")
def shop(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module with the flows; `shop.shop` is deployed to each backend, by its name."""
    path = tmp_path_factory.mktemp("shop") / "shop.py"
    path.write_text(SHOP)
    spec = importlib.util.spec_from_file_location("shop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    for backend in BACKENDS:
        module.shop.deploy(backend, namespace="", executor=backend, schedule=NIGHTLY)
    return module


def cli(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dagy", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def states(run: Run) -> dict[str, str]:
    return {each.task: each.status.value for each in run.task_runs()}


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def began(run: Run, task: str) -> bool:
    return states(run.refresh()).get(task) == "RUNNING"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flow_gives_on_aws_what_it_gives_here(aws: LocalAws, shop: ModuleType, backend: str) -> None:
    aws.fail("s3.*", "lost", times=3)  # which happens, and is nothing to tell of
    run = shop.shop.run(deployment=backend, n=3).wait(60)
    assert run.result == shop.shop.run_local(n=3).value == 5
    assert set(states(run).values()) == {"COMPLETED"}
    assert "adding 3 squares" in run.logs("total")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failure_skips_what_needs_it_and_starts_no_more(shop: ModuleType, backend: str) -> None:
    run = shop.shop.run(deployment=backend, is_bad=True).wait(60)
    assert run.status.value == "FAILED"
    told = states(run)
    assert (told.pop("check"), told.pop("after")) == ("FAILED", "SKIPPED")
    assert set(told.values()) <= {"COMPLETED", "CANCELLED"}, "as in a run that was not on AWS"
    assert "bad news" in next(each.message for each in run.task_runs() if each.task == "check")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_deploy_of_the_same_changes_nothing(aws: LocalAws, shop: ModuleType, backend: str) -> None:
    def changes() -> dict[str, int]:
        return {name: n for name, n in aws.calls().items() if not name.partition(".")[2].startswith(READS)}

    before = changes()
    assert shop.shop.deploy(backend, namespace="", executor=backend, schedule=NIGHTLY).skipped
    assert changes() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_is_cancelled_while_a_task_is_at_work(shop: ModuleType, backend: str) -> None:
    run = shop.shop.run(deployment=backend, seconds=20.0)
    until(lambda: began(run, "nap"))
    begun = time.monotonic()
    run.cancel("enough").wait(30)
    assert run.status.value == "CANCELLED"
    assert time.monotonic() - begun < 15


def test_many_items_are_mapped_in_histories_of_their_own(aws: LocalAws, shop: ModuleType) -> None:
    before = aws.calls().get("s3.GetObject", 0)
    run = shop.shop.run(deployment="step-functions", n=6).wait(60)
    assert run.result == sum(x * x for x in range(6))
    assert aws.calls()["s3.GetObject"] > before
    machine = next(
        each["stateMachineArn"]
        for each in aws.client("stepfunctions").list_state_machines()["stateMachines"]
        if "step-functions" in each["name"]
    )
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{run.run_id}"
    history = aws.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]
    assert "MapRunStarted" in {each["type"] for each in history}


def test_a_task_of_a_state_machine_may_run_in_a_container(shop: ModuleType) -> None:
    shop.mixed.deploy("mixed", namespace="")
    run = shop.mixed.run(deployment="mixed", x=7).wait(60)
    assert run.result == "7 on AWS_ECS_FARGATE, then on AWS_Lambda"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schedule_that_fires_makes_a_run_that_is_found(aws: LocalAws, shop: ModuleType, backend: str) -> None:
    with DagyClient() as client:
        fired = aws.fire_schedule(client.deployment(backend).resources["schedule"]["name"])
        run_id = until(lambda: next((each for each in _listed(backend) if fired in each), None))
        run = client.run(run_id).wait(30)
    assert (run.status.value, run.result) == ("COMPLETED", 5)


def _listed(deployment: str) -> list[str]:
    listed = json.loads(cli("runs", "list", "--deployment", deployment, "--format", "json"))
    return [each["run_id"] for each in listed]


def test_the_commands_deploy_run_and_tell(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    assert "on lambda" in cli("deploy", "shop.py:shop", "--deployment", "by-command", "--executor", "lambda")
    assert "COMPLETED" in cli("run", "by-command", "--param", "n=4")
    assert "adding 4 squares" in cli("logs", "latest")
