"""A worker that is killed at any stage loses no run, leaves none without an end, and leaves no process behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagy.artifact import read_manifest
from dagy.client import DagyClient
from dagy.control import RunInfo
from dagy.runs import History, owner_from_text
from dagy.states import StateType

from .conftest import STEPS, built

pytestmark = pytest.mark.program

ORACLE = STEPS.replace(
    '    print("loading", rows)\n',
    '    print("loading", rows)\n    with open(os.environ["ORACLE"], "a") as file:\n        file.write("x")\n',
)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of `steps`, whose first task leaves a mark each time."""
    return built(tmp_path_factory.mktemp("oracle"), ORACLE)


@pytest.fixture
def client(local_dir: Path, artifact: Path) -> Iterator[DagyClient]:
    """A client of the control plane in `local_dir`, which has a deployment `steps`."""
    with DagyClient(local_dir=local_dir) as client:
        assert read_manifest(artifact).flow_name == "steps"
        flow = client.register_flow(client.upload_artifact(artifact).sha256)
        client.put_deployment("steps", flow_name="steps", flow_version=flow.version, revision=flow.revision)
        yield client


def work(local_dir: Path, oracle: Path, faults: str = "") -> int:
    """Let a worker run what is queued; its exit code."""
    environment = {
        **os.environ, "DAGY_LOCAL_DIR": str(local_dir), "DAGY_FAULTS": faults, "ORACLE": str(oracle),
    }  # fmt: skip
    command = [sys.executable, "-m", "dagy", "worker", "--until-idle"]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode


def ended(pid: int) -> bool:
    """Whether the process ends within some seconds."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 15)[0])
    finally:
        os.close(process)


def info(client: DagyClient, run_id: str) -> RunInfo:
    return client.run(run_id).info


@pytest.mark.parametrize(
    ("point", "how", "end", "times"),
    [
        ("worker.claimed", "", StateType.COMPLETED, 1),
        ("worker.ready", "", StateType.COMPLETED, 1),
        ("worker.started", "hang", StateType.CRASHED, 1),
        ("worker.running", "hang", StateType.CRASHED, 1),
        ("worker.before_end", "", StateType.COMPLETED, 1),
        ("worker.after_end", "", StateType.COMPLETED, 1),
    ],
)
def test_a_worker_killed_at_this_stage_loses_nothing(
    client: DagyClient, local_dir: Path, tmp_path: Path, point: str, how: str, end: StateType, times: int
) -> None:
    oracle = tmp_path / "oracle"
    run = client.create_run("steps", {"how": how})
    assert work(local_dir, oracle, point) == -signal.SIGKILL
    killed = info(client, run.run_id)
    process = None
    with History(local_dir) as history:
        if history.has(run.run_id):
            process = history.run(run.run_id).owner.pid
    assert work(local_dir, oracle) == 0
    found = info(client, run.run_id)
    assert found.status is end, found.message
    assert all(each.status.is_final for each in client.task_runs(run.run_id))
    if oracle.exists():
        assert oracle.read_text() == "x" * times
    assert process is None or ended(process)
    assert killed.worker is not None
    assert ended(owner_from_text(killed.worker).pid)
    assert list((local_dir / "claims").glob("*.json")) == []


def test_a_run_goes_to_another_worker_when_the_first_is_gone_before_it_began(
    client: DagyClient, local_dir: Path, tmp_path: Path
) -> None:
    run = client.create_run("steps", {})
    assert work(local_dir, tmp_path / "oracle", "worker.claimed") == -signal.SIGKILL
    assert work(local_dir, tmp_path / "oracle") == 0
    assert (info(client, run.run_id).status, info(client, run.run_id).tries) == (StateType.COMPLETED, 2)
