"""Runs of artifacts: the handler's cold start, and runs of a deployment through a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dagy.artifact import Artifact, build, flow_aside, read_source, safe_extract
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import open_plane
from dagy.worker import Worker

from .measuring import Effort, Row, in_turns, row_of_extra, row_of_ratio

AT_ONCE = 2
RUNS = 10

FLOW = """
from dagy import flow, task


@task
def load(rows: int) -> list:
    return list(range(rows))


@task
def total(rows: list) -> int:
    return sum(rows)


@flow
def small(rows: int = 3):
    return total(load(rows))
"""
HELLO = """
import json, os

def handler(event, context=None):
    return {"state": "COMPLETED"}

print(json.dumps(handler(json.loads(os.environ["DAGY_EVENT"]))))
"""


def cold_starts(effort: Effort) -> Iterator[Row]:
    """A new environment that answers one payload: a whole flow, and one task of it."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        manifest = safe_extract(_built(Path(folder)).path, code)
        (code / "dagy.json").write_text(manifest.to_json())
        for what, event in (("a flow of 2 tasks", "{}"), ("one task", '{"task": "load", "parameters": {"rows": 3}}')):
            found, hello, imported = in_turns(
                effort,
                lambda event=event: _answer([sys.executable, "-m", "dagy.artifact.handler"], code, event),
                lambda event=event: _answer([sys.executable, "-c", HELLO], code, event),
                lambda event=event: _answer([sys.executable, "-c", "import small"], code, event),
            )
            name = f"handler's cold start, {what}"
            yield row_of_extra(name, found, hello, called="a hello-world handler", target=0.1, is_judged_by_cpu=True)
            yield row_of_extra(f"{name}: beside loading the code", found, imported, called="import of the flow's file")


def embedded_runs(effort: Effort) -> Iterator[Row]:
    """Runs of a deployment from the queue to their end, two at once, beside processes that only import the same."""
    runs = effort.size(RUNS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        artifact, local_dir = _built(folder), folder / "local"
        code = folder / "code"
        safe_extract(artifact.path, code)
        with open_plane(local_dir) as plane, DagyClient(transport=EmbeddedTransport(plane)) as client:
            flow = client.register_flow(client.upload_artifact(artifact.path).sha256)
            client.put_deployment("small", flow_name="small", flow_version=flow.version, revision=flow.revision)
            found, floor = in_turns(
                effort.slow(),
                lambda: _work(client, local_dir, runs),
                lambda: _processes([sys.executable, "-c", _IMPORTS], code, runs),
            )
    found, floor = found.scaled(1 / runs), floor.scaled(1 / runs)
    what = f"a run of a deployment, {AT_ONCE} at once"
    yield row_of_ratio(what, found, floor, called="a process that imports the same", target=1.5)


_IMPORTS = "import dagy.artifact.clean_process, small, sqlite3"


def _work(client: DagyClient, local_dir: Path, runs: int) -> None:
    for _ in range(runs):
        client.create_run("small", {"rows": 3})
    Worker(client, local_dir, concurrency=AT_ONCE, schedules=False).run(until_idle=True)


def _processes(command: list[str], code: Path, count: int) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda _: _answer(command, code, ""), range(count)))


def _built(folder: Path) -> Artifact:
    path = folder / "small.py"
    path.write_text(FLOW)
    source = read_source(path)
    with flow_aside(source) as flow:
        return build(source, flow, folder / "dist")


def _answer(command: list[str], code: Path, event: str) -> None:
    # Byte code is written and reused, as in an environment of its own.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    root = str(Path(__file__).resolve().parents[2])
    environment |= {
        "LAMBDA_TASK_ROOT": str(code),
        "DAGY_EVENT": event,
        "PYTHONPATH": os.pathsep.join([str(code), root]),
    }
    subprocess.run(command, check=True, env=environment, capture_output=True)
