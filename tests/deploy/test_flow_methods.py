"""`flow.deploy()` and `flow.run()`: from a function in a file to a run of it, with nothing started."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dagy import Flow
from dagy.artifact import build_artifact
from dagy.client import DagyClient
from dagy.deploy import default_namespace
from dagy.errors import (
    CodeFailedError,
    ConflictError,
    DefinitionError,
    GraphError,
    ParameterError,
    SourceError,
    UnknownDeploymentError,
)
from dagy.flows import flow
from dagy.settings import Settings
from dagy.states import StateType

FLOW = """
from datetime import date

from dagy import flow, task

@task
def double(number: int) -> int:
    return 2 * number

@flow(name="sums", version="1.0.0")
def etl(number: int, day: date | None = None) -> int:
    return double(number)
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Flow[..., Any]]]:
    """Write a module below the working directory, import it anew, and give its flow `etl`."""
    names: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two texts of one size in one second share it

    def load(text: str = FLOW, folder: str = "team/project") -> Flow[..., Any]:
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        monkeypatch.syspath_prepend(str(path))
        name = f"flows_to_deploy_{len(names)}" if not names else names[0]
        (path / f"{name}.py").write_text(text)
        names.append(name)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        found: Flow[..., Any] = importlib.import_module(name).etl
        return found

    yield load
    for name in names:
        sys.modules.pop(name, None)


Load = Callable[..., Flow[..., Any]]


def test_a_flow_is_deployed_in_one_call_and_then_skipped(load: Load) -> None:
    etl = load()
    result = etl.deploy(name="my-sums", tags={"env": "test"})
    assert (result.deployment_name, result.flow_version, result.namespace) == ("my-sums", "1.0.0", "team/project")
    assert not result.skipped
    assert etl.deploy(name="my-sums", tags={"env": "test"}).skipped
    assert not etl.deploy(name="my-sums", tags={"env": "test"}, force=True).skipped
    with DagyClient() as client:
        assert client.deployment("my-sums").tags == {"env": "test"}
    assert result.artifact.path.is_relative_to(Settings.read().local_dir / "builds")
    assert Settings.read().local_dir.stat().st_mode & 0o077 == 0


def test_a_dry_run_says_what_would_be_done(load: Load) -> None:
    result = load().deploy(dry_run=True, namespace="")
    assert (result.reference, result.is_dry_run, len(result.plan.steps)) == ("sums", True, 3)
    with DagyClient() as client:
        assert list(client.deployments()) == []


def test_a_run_waits_for_a_worker_with_what_it_was_given(load: Load) -> None:
    etl = load()
    etl.deploy(parameters={"number": 1})
    run = etl.run(number=2, day="2026-01-31")
    assert run.status is StateType.QUEUED
    assert run.run_id.startswith("sums-")
    assert run.info.parameters == {"number": 2, "day": "2026-01-31"}
    assert etl.run().info.parameters == {"number": 1}
    assert etl.run(number=3, idempotency_key="once").run_id == etl.run(number=3, idempotency_key="once").run_id


def test_what_an_annotation_makes_of_json_is_given_as_that(load: Load) -> None:
    etl = load()
    assert etl.deploy(parameters={"number": 1, "day": date(2026, 1, 30)}).plan.wanted.parameters["day"] == "2026-01-30"
    assert etl.run(day=date(2026, 1, 31)).info.parameters == {"number": 1, "day": "2026-01-31"}


def test_a_flow_that_is_not_deployed_says_what_to_do(load: Load) -> None:
    with pytest.raises(UnknownDeploymentError, match=r"there is no deployment 'sums'; .*etl\.deploy\(\)"):
        load().run(number=1)


def test_a_flow_runs_as_it_was_deployed_last_here(load: Load) -> None:
    etl = load()
    for name in ("a", "b"):
        etl.deploy(name=name, parameters={"number": 1})
    etl.deploy(name="a", dry_run=True)
    assert etl.run().info.deployment == "b"
    with DagyClient() as client:
        client.delete_deployment("b")
    assert etl.run().info.deployment == "a"


def test_a_flow_that_is_deployed_several_times_wants_to_know_which(load: Load) -> None:
    etl = load()
    etl.deploy(name="a")
    etl.deploy(name="b")
    etl = load()
    with pytest.raises(ConflictError, match=r"'team/project/a', 'team/project/b'.*deployment='team/project/a'"):
        etl.run(number=1)
    assert etl.run(deployment="b", number=1).info.deployment == "b"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nummer": 1}, "did you mean 'number'"),
        ({"number": "many"}, "'number' can't be 'many'"),
        ({"number": object()}, "'number' is <object.* must be JSON"),
        ({"number": float("inf")}, "'number' is inf"),
        ({}, "number"),
    ],
)
def test_a_run_is_refused_what_the_flow_does_not_take(load: Load, parameters: dict[str, Any], message: str) -> None:
    etl = load()
    etl.deploy()
    with pytest.raises(ParameterError, match=message):
        etl.run(**parameters)
    with DagyClient() as client:
        assert len(client.runs()) == 0


def test_a_flow_that_changed_since_it_was_deployed_is_told_of(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    load().deploy()
    load().run(number=1)
    assert caplog.messages == []
    load(FLOW.replace("2 *", "3 *")).run(number=1)
    (told,) = caplog.messages
    assert told.startswith("flow 'sums' is other code here than as the deployment 'team/project/sums'")
    assert caplog.records[0].levelno == logging.WARNING
    load(FLOW.replace("2 *", "3 *")).run(number=1)
    assert caplog.messages == [told], "once is enough"


@pytest.mark.program
def test_a_program_that_deploys_its_own_flow_runs_what_it_deployed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        f"{FLOW}\nif __name__ == '__main__':\n    etl.deploy()\n    print(etl.run(number=1).status)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("QUEUED\n", "")


def test_other_code_under_the_same_version_is_refused(load: Load) -> None:
    load().deploy()
    changed = load(FLOW.replace("2 *", "3 *"))
    with pytest.raises(ConflictError, match="raise the version"):
        changed.deploy()
    assert changed.deploy(force=True).deployment is not None
    assert changed.deploy().skipped


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [("a/b", "1", "the flow's name 'a/b' has a slash"), ("a", "1/b", "the flow's version '1/b' has a slash")],
)
def test_a_flow_whose_name_no_control_plane_takes_is_refused_as_what_it_is(
    load: Load, name: str, version: str, message: str
) -> None:
    etl = load(FLOW.replace('"sums"', repr(name)).replace('"1.0.0"', repr(version)))
    with pytest.raises(ParameterError, match=message):
        etl.deploy("sums")
    with DagyClient() as client:
        assert list(client.deployments()) == []


def test_a_flow_without_a_file_can_not_be_deployed() -> None:
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec("from dagy import flow\n@flow\ndef etl():\n    pass\n", space)
    with pytest.raises(SourceError, match="which is no file"):
        space["etl"].deploy()


def test_nothing_is_deployed_or_run_while_a_flow_is_drawn(load: Load) -> None:
    etl = load()

    @flow
    def deploying() -> None:
        etl.deploy()

    @flow
    def running() -> None:
        etl.run(number=1)

    for each in (deploying, running):
        with pytest.raises(GraphError, match="while another flow is drawn"):
            _ = each.spec


@pytest.mark.parametrize("name", ["deployment", "idempotency_key"])
def test_a_parameter_may_not_have_a_name_that_run_takes_itself(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def clash({name}): ...", space)
    with pytest.raises(DefinitionError, match=f"flow 'clash': run takes {name!r} itself; rename the parameter"):
        flow(space["clash"])


@pytest.mark.parametrize("call", ["etl.deploy()", "etl.run(number=1)"])
def test_a_file_that_deploys_or_runs_its_flow_as_it_is_loaded_is_told_where_to_put_that(
    tmp_path: Path, call: str
) -> None:
    (tmp_path / "etl.py").write_text(f"{FLOW}\n{call}\n")
    with pytest.raises(CodeFailedError, match=r'put the call below if __name__ == "__main__"'):
        build_artifact(tmp_path / "etl.py", output_dir=tmp_path / "dist")


# ---- the default namespace


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("etl.py", ""),
        ("team/project/etl.py", "team/project"),
        ("my team/étl/flows.py", "my team/étl"),
        ("a\x07b/ c /etl.py", "a_b/c"),
        ("../elsewhere/etl.py", ""),
        (f"{'x' * 150}/{'y' * 150}/etl.py", ""),
    ],
)
def test_the_default_namespace_is_the_folder_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, expected: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert default_namespace(Path(file)) == default_namespace(Path.cwd() / file) == expected
