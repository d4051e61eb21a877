"""`dagy worker`: what is queued runs here, until it is told to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagy.artifact import build, flow_aside, read_source
from dagy.cli.app import ExitCode
from dagy.client import DagyClient
from dagy.client.waking import WorkerLock
from dagy.settings import Settings
from dagy.states import StateType

from .conftest import Dagy

pytestmark = pytest.mark.program

FLOW = """
from dagy import flow, task


@task
def load(gate: str):
    print("loading")
    return open(gate).read() if gate else "rows"


@flow
def etl(gate: str = ""):
    return load(gate)
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagyClient]:
    """A client of the local control plane, with the deployment `etl`, and no worker that comes by itself."""
    monkeypatch.setenv("DAGY_AUTO_WORKER", "0")
    path = tmp_path / "etl.py"
    path.write_text(FLOW)
    source = read_source(path)
    with flow_aside(source) as flow, DagyClient() as client:
        artifact = client.upload_artifact(build(source, flow, tmp_path / "dist").path)
        found = client.register_flow(artifact.sha256)
        client.put_deployment("etl", flow_name="etl", flow_version=found.version, revision=found.revision)
        yield client


def test_until_idle_it_runs_what_is_queued_and_ends(dagy: Dagy, client: DagyClient) -> None:
    runs = [client.create_run("etl", {}) for _ in range(2)]
    code, said, noted = dagy("worker", "--until-idle", "--concurrency", "2")
    assert (code, said) == (ExitCode.SUCCESS, "")
    assert [run.refresh().status for run in runs] == [StateType.COMPLETED] * 2
    for run in runs:
        assert f"{run.run_id}: COMPLETED" in noted


def test_a_second_one_until_idle_ends_at_once(dagy: Dagy) -> None:
    lock = WorkerLock.beside_others(Settings.read().local_dir)
    try:
        assert dagy("worker", "--until-idle") == (ExitCode.SUCCESS, "", "a worker is at work already\n")
    finally:
        lock.release()


@pytest.mark.parametrize("times", [1, 2])
def test_a_first_signal_waits_for_what_runs_and_a_second_cancels_it(
    client: DagyClient, tmp_path: Path, times: int
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = client.create_run("etl", {"gate": str(gate)})
    left = client.create_run("etl", {})
    with subprocess.Popen(
        [sys.executable, "-m", "dagy", "worker", "--concurrency", "1"], stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stderr is not None
        _wait_for(worker, f"{run.run_id}: running")
        for each in range(times):
            worker.send_signal(signal.SIGTERM)
            _wait_for(worker, ("waiting for", "cancelling")[each])
        if times == 1:
            gate.write_text("done")
        noted = worker.stderr.read()
        assert worker.wait(20) == 0
    state = StateType.COMPLETED if times == 1 else StateType.CANCELLED
    assert run.refresh().status is state
    assert f"{run.run_id}: {state}" in noted
    assert left.refresh().status is StateType.QUEUED
    assert "there are runs in the queue" in noted


def test_what_is_queued_when_it_is_stopped_goes_on_in_the_background(
    client: DagyClient, tmp_path: Path, waking: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = client.create_run("etl", {"gate": str(gate)})
    left = client.create_run("etl", {})
    command = [sys.executable, "-P", "-m", "dagy", "worker", "--concurrency", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        _wait_for(worker, f"{first.run_id}: running")
        worker.send_signal(signal.SIGTERM)
        _wait_for(worker, "waiting for")
        gate.write_text("done")
        assert worker.wait(20) == 0
    assert left.wait(30).status is StateType.COMPLETED


def _wait_for(worker: subprocess.Popen[str], text: str) -> None:
    assert worker.stderr is not None
    for line in worker.stderr:
        if re.search(re.escape(text), line):
            return
    raise AssertionError(f"it never said {text!r}")
