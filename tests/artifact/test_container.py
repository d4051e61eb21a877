"""A container does what its payload asks for, as a program: real processes, with nothing but what they fetched."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.bootstrap import bootstrap_command, unpack
from dagy.artifact.run_store import RunStore

from .cloud import unpacked

ROOT = Path(__file__).parents[2]

FLOW = """
import pathlib
from dagy import flow, task

@task
def load(count: int):
    print("loading", count)
    if count < 0:
        raise ValueError("no such count")
    return list(range(count))

@task(retries=1)
def once_more(mark: str):
    path = pathlib.Path(mark)
    if not path.exists():
        path.touch()
        raise OSError("not yet")
    return "now"

@task
def endless(mark: str):
    import time
    print("begun")
    while True:
        time.sleep(0.01)

@flow(name="etl")
def etl(count: int = 2):
    return load(count)

@flow(name="again")
def again(mark: str):
    return once_more(mark)

@flow(name="forever")
def forever(mark: str):
    return endless(mark)
"""


@pytest.fixture
def store(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """What a container of one of the flows has in its environment."""

    def environment(name: str = "etl", **more: str) -> dict[str, str]:
        folder = unpacked(tmp_path, name, FLOW)
        return {**os.environ, "PYTHONPATH": str(ROOT), "LAMBDA_TASK_ROOT": str(folder), **more}

    return environment


def run(environment: dict[str, str], text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dagy.artifact.container"]
    return subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=60)


@pytest.mark.program
@pytest.mark.parametrize("how", ["stdin", "variable"])
def test_it_answers_on_stdout_and_nothing_else(environment: Callable[..., dict[str, str]], how: str) -> None:
    text = json.dumps({"run_id": "etl-1", "parameters": {"count": 2}})
    done = run(environment(), text) if how == "stdin" else run(environment(DAGY_EVENT=text))
    assert json.loads(done.stdout)["result"] == {"value": [0, 1]}
    assert done.stderr == "etl-1 load | loading 2\n"
    assert done.returncode == 0


@pytest.mark.program
@pytest.mark.parametrize(
    ("event", "has_store", "code"),
    [
        ({"run_id": "etl-1", "parameters": {"count": -1}}, False, 1),
        ({"run_id": "etl-1", "parameters": {"count": -1}}, True, 0),
        ("not JSON", False, 1),
        ({"run_id": "etl-1", "step": "task", "task": "load"}, True, 2),
    ],
    ids=["failed", "failed-and-stored", "not-json", "not-begun"],
)
def test_its_exit_code_says_whether_the_end_is_stored(
    environment: Callable[..., dict[str, str]], store: str, event: Any, has_store: bool, code: int
) -> None:
    text = event if isinstance(event, str) else json.dumps(event)
    done = run(environment(**({"DAGY_STORE": store} if has_store else {}), DAGY_EVENT=text))
    assert done.returncode == code, done.stderr


@pytest.mark.program
def test_a_task_of_a_machine_is_tried_again_in_the_container(
    environment: Callable[..., dict[str, str]], store: str, tmp_path: Path
) -> None:
    parameters = {"mark": str(tmp_path / "mark")}
    RunStore(store, "again-1").begin({"code_hash": "", "parameters": parameters, "references": {}, "fail_fast": True})
    event = json.dumps({"run_id": "again-1", "step": "task", "task": "once_more"})
    done = run(environment("again", DAGY_STORE=store, DAGY_EVENT=event))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"task": "once_more", "state": "COMPLETED"}
    outcome = RunStore(store, "again-1").outcome("once_more")
    assert outcome is not None
    assert (outcome.attempt, outcome.result) == (2, {"value": "now"})


@pytest.mark.program
@pytest.mark.parametrize("is_step", [False, True], ids=["flow", "step"])
def test_a_container_that_is_stopped_stores_that(
    environment: Callable[..., dict[str, str]], store: str, is_step: bool
) -> None:
    parameters = {"mark": ""}
    event: dict[str, Any] = {"run_id": "forever-1", "parameters": parameters}
    if is_step:
        begun = {"code_hash": "", "parameters": parameters, "references": {}, "fail_fast": True}
        RunStore(store, "forever-1").begin(begun)
        event = {"run_id": "forever-1", "step": "task", "task": "endless"}
    with subprocess.Popen(
        [sys.executable, "-m", "dagy.artifact.container"],
        env=environment("forever", DAGY_STORE=store, DAGY_EVENT=json.dumps(event)), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any("begun" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    if is_step:
        outcome = RunStore(store, "forever-1").outcome("endless")
        assert outcome is not None
        assert str(outcome.state) == "CRASHED: the container was told to stop"
    else:
        answer = RunStore(store, "forever-1").answer()
        assert answer is not None
        assert (answer["state"], answer["message"]) == ("CANCELLED", "the container was told to stop")


# ---- how it comes by its code


class Objects(http.server.BaseHTTPRequestHandler):
    """Objects of a bucket, as S3 hands them out to their owner."""

    held: dict[str, bytes] = {}  # noqa: RUF012 (filled by the test)

    def do_GET(self) -> None:
        content = self.held.get(self.path.partition("?")[0])
        is_owner = self.headers.get("x-amz-expected-bucket-owner") == "123456789012"
        self.send_response(200 if content is not None and is_owner else 403)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def bucket() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The URL of a server of objects, and these by their paths."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Objects)
    Objects.held = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", Objects.held
    server.shutdown()
    server.server_close()


def zipped(path: Path, files: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path.read_bytes()


@pytest.mark.program
@pytest.mark.parametrize("is_tampered", [False, True], ids=["whole", "tampered"])
def test_the_bootstrap_fetches_the_code_checks_it_and_runs_it(
    environment: Callable[..., dict[str, str]], bucket: tuple[str, dict[str, bytes]], tmp_path: Path, is_tampered: bool
) -> None:
    url, held = bucket
    given = environment()
    folder = Path(given.pop("LAMBDA_TASK_ROOT"))
    given.pop("PYTHONPATH")
    files = {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    artifact = zipped(tmp_path / "artifact.zip", files)
    dagy = {f"python/{each.relative_to(ROOT).as_posix()}": each.read_bytes() for each in (ROOT / "dagy").rglob("*.py")}
    layer = zipped(tmp_path / "layer.zip", dagy)
    held |= {"/bucket/artifacts/a.zip": artifact, "/bucket/layers/l.zip": layer + b"!" * is_tampered}
    given |= {
        "DAGY_ARTIFACT": "s3://bucket/artifacts/a.zip", "DAGY_ARTIFACT_SHA256": hashlib.sha256(artifact).hexdigest(),
        "DAGY_LAYER": "s3://bucket/layers/l.zip", "DAGY_LAYER_SHA256": hashlib.sha256(layer).hexdigest(),
        "DAGY_BUCKET_OWNER": "123456789012", "DAGY_EVENT": '{"run_id": "etl-1"}',
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, *bootstrap_command()[1:]]
    done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if is_tampered:
        assert done.returncode == 2
        assert "s3://bucket/layers/l.zip is not what was deployed: its SHA-256 is" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"] == {"value": [0, 1]}


@pytest.mark.parametrize("name", ["../outside", "/outside", "a//b", "a/./b", "a\\..\\b"])
def test_a_path_that_leads_elsewhere_is_not_unpacked(tmp_path: Path, name: str) -> None:
    zipped(tmp_path / "bad.zip", {"fine": b"", name: b"x"})
    with pytest.raises(ValueError, match="does not stay in its folder"):
        unpack(tmp_path / "bad.zip", tmp_path / "code")
    assert not (tmp_path / "outside").exists()


def test_a_link_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    with pytest.raises(ValueError, match="does not stay in its folder"):
        unpack(tmp_path / "bad.zip", tmp_path / "code")


def test_what_can_be_executed_stays_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tool.zip", "w") as archive:
        for name, mode in (("bin/tool", 0o100755), ("data", 0o100644)):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "")
    unpack(tmp_path / "tool.zip", tmp_path / "code")
    assert os.access(tmp_path / "code" / "bin" / "tool", os.X_OK)
    assert (tmp_path / "code" / "data").stat().st_mode & 0o777 == 0o644


def test_the_command_fits_into_a_task_definition() -> None:
    program, flag, text = bootstrap_command()
    assert (program, flag) == ("python", "-c")
    assert len(text) < 8_192
