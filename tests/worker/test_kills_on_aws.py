"""A run on AWS whose workers are killed, at any stage, goes on: it is begun once, and told once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagy.artifact import BuildOptions, build, flow_aside, read_source
from dagy.cli import app
from dagy.client import DagyClient, Run
from dagy.deploy import deploy_artifact
from dagy.errors import ResumeError
from dagy.states import StateType
from dagy.testing import LocalAws

pytestmark = pytest.mark.program

STEPS = """
import os
from pathlib import Path

from dagy import flow, task


@task
def load(rows: int, oracle: str) -> list[int]:
    print("loading", rows)
    with open(oracle, "a") as file:
        file.write("x")
    return list(range(rows))


@task
def check(rows: list[int], gate: str) -> list[int]:
    if gate:
        print("waiting")
        open(gate).read()  # until somebody opens it for writing
    return rows


@task
def total(rows: list[int], needs: str) -> int:
    if needs and not Path(needs).exists():
        raise LookupError(f"{needs} is missing")
    return sum(rows)


@flow(name="steps")
def steps(oracle: str, rows: int = 3, gate: str = "", needs: str = ""):
    return {"total": total(check(load(rows, oracle), gate), needs)}
"""

EXECUTORS = ("lambda", "step-functions", "ecs")


@pytest.fixture(autouse=True)
def _own_local_state() -> None:
    """All tests here have the one control plane of `shared_aws`."""


@pytest.fixture(scope="module")
def aws(shared_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """AWS on this machine, where `steps` is deployed under the name of each executor; workers start when told to."""
    folder = tmp_path_factory.mktemp("steps")
    path = folder / "steps.py"
    path.write_text(STEPS)
    source = read_source(path)
    with flow_aside(source) as flow:
        artifact = build(source, flow, folder / "dist", BuildOptions(target="local")).path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGY_AUTO_WORKER", "0")
        for executor in EXECUTORS:
            deploy_artifact(artifact, executor, namespace="steps", executor=executor)
        yield shared_aws


@pytest.fixture
def client(aws: LocalAws) -> Iterator[DagyClient]:
    """A client of the control plane that has the deployments."""
    with DagyClient() as client:
        yield client


@contextmanager
def at_work() -> Iterator[subprocess.Popen[bytes]]:
    """A worker that goes on meanwhile, and is killed at the end."""
    command = [sys.executable, "-m", "dagy", "worker", "--until-idle"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def work(faults: str = "") -> int:
    """Let a worker run what is queued; its exit code."""
    command = [sys.executable, "-m", "dagy", "worker", "--until-idle"]
    environment = {**os.environ, "DAGY_FAULTS": faults}
    return subprocess.run(command, env=environment, capture_output=True, timeout=100, check=False).returncode


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that functions see too: their /tmp is their own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="dagy-") as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Asked:
    """A run that was asked for, and the file that its first task leaves a mark in each time that it runs."""

    run: Run
    oracle: Path

    def check_completed(self) -> None:
        """It has completed, nothing ran twice, and all was told once."""
        run = self.run.refresh()
        assert (str(run.state), run.result) == ("COMPLETED", {"total": 3})
        assert self.oracle.read_text() == "x"
        check_told(run)


def ask(client: DagyClient, shared: Path, **parameters: str) -> list[Asked]:
    """A run of each executor."""
    oracles = {each: shared / each for each in EXECUTORS}
    return [
        Asked(client.create_run(f"steps/{each}", {"oracle": str(oracle), **parameters}), oracle)
        for each, oracle in oracles.items()
    ]


def wait_for_text(run: Run, text: str) -> None:
    """Until a task wrote that."""
    assert any(line.endswith(text) for line in run.logs(follow=True)), f"it ended: {run.state}"


def check_told(run: Run) -> None:
    """All was told once and in order, and everything has ended."""
    events = list(run.events())
    assert [each["seq"] for each in events] == list(range(len(events)))
    told = [
        (each.get("task"), each.get("item"), each.get("attempt"), each["state"]) for each in events if "state" in each
    ]
    assert len(told) == len(set(told)), "something was told twice"
    assert (events[-1]["kind"], events[-1]["state"]) == ("run", run.status)
    assert all(each.status.is_final for each in run.task_runs())


STAGES_AT_WORK = ("worker.claimed", "worker.ready:2", "worker.started:2", "worker.running:2")
STAGES_AT_THE_END = ("worker.before_end", "worker.after_end")


def open_for_good(gate: Path) -> None:
    """Let go who waits at that named pipe, and whoever comes there later."""
    opened = os.open(gate, os.O_RDWR)
    gate.unlink()
    gate.touch()
    os.close(opened)


def test_runs_whose_workers_are_killed_one_after_the_other_at_each_stage_lose_nothing(
    aws: LocalAws, client: DagyClient, shared: Path
) -> None:
    gate = shared / "gate"
    os.mkfifo(gate)
    asked = ask(client, shared, gate=str(gate))
    aws.fail("s3.*", "lost", times=1)  # whoever asks, worker or function, gets no answer to what was done
    for stage in STAGES_AT_WORK:
        assert work(stage) == -signal.SIGKILL, stage
    open_for_good(gate)
    for stage in STAGES_AT_THE_END:
        assert work(stage) == -signal.SIGKILL, stage
    assert work() == 0
    for each in asked:
        each.check_completed()
        assert [told["text"] for told in each.run.events() if told["kind"] == "output"] == ["loading 3\n", "waiting\n"]


def test_runs_that_nobody_follows_any_more_are_cancelled_by_the_next_worker(client: DagyClient, shared: Path) -> None:
    gate = shared / "gate"
    os.mkfifo(gate)
    runs = [each.run for each in ask(client, shared, gate=str(gate))]
    with at_work() as first:
        for run in runs:
            wait_for_text(run, "waiting")
        first.kill()
    for run in runs:
        assert client.cancel_run(run.run_id, "wrong day").status is StateType.RUNNING, "it goes on on AWS"
    assert work() == 0
    for run in runs:
        assert str(run.refresh().state) == "CANCELLED: wrong day"
        states = {each.task: each.status for each in run.task_runs()}
        assert (states["load"], states["check"]) == (StateType.COMPLETED, StateType.CANCELLED)
        assert states["total"] in {StateType.CANCELLED, StateType.SKIPPED}
        check_told(run)


def test_runs_that_failed_are_resumed_with_what_they_have_got_done(client: DagyClient, shared: Path) -> None:
    needed = shared / "needed"
    asked = ask(client, shared, needs=str(needed))
    assert work() == 0
    for each in asked:
        assert str(each.run.refresh().state) == "FAILED: 1 of 3 tasks failed: 'total'"
    needed.touch()
    resumed = [Asked(each.run.resume(), each.oracle) for each in asked]
    assert work() == 0
    for before, each in zip(asked, resumed, strict=True):
        each.check_completed()
        assert each.run.info.resumes == before.run.run_id
        with pytest.raises(ResumeError, match="has completed"):
            each.run.resume()


def test_a_function_that_is_killed_ends_the_run_with_the_reason(
    aws: LocalAws, client: DagyClient, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = shared / "gate"
    os.mkfifo(gate)
    run = client.create_run("steps/lambda", {"oracle": str(shared / "oracle"), "gate": str(gate)})
    with at_work() as worker:
        wait_for_text(run, "waiting")
        aws.kill_function()
        assert worker.wait(60) == 0
    assert str(run.refresh().state).startswith("CRASHED: the Lambda function ran out of its")
    states = {each.task: each.status for each in run.task_runs()}
    assert (states["load"], states["check"]) == (StateType.COMPLETED, StateType.CRASHED)
    check_told(run)
    capsys.readouterr()
    assert app.run(["logs", run.run_id, "--aws"]) == 0
    raw = capsys.readouterr().out
    assert f"{run.run_id} load | loading 3" in raw
    assert "REPORT RequestId: " in raw, "AWS tells of its end"
