"""Runs of artifacts: the handler under Lambda's runtime client, and runs of a deployment through a worker."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dagy.artifact import Artifact, build, flow_aside, read_source, safe_extract
from dagy.artifact.handler import answer, loaded
from dagy.artifact.own_code import own_code
from dagy.artifact.run_store import RunStore
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import open_plane
from dagy.engine import RunOptions, run
from dagy.testing.local_aws.runtime_api import Invocation, RuntimeApi
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
def handler(event, context):
    return {"state": "COMPLETED"}
"""
CHAIN = """
from dagy import flow, task


@task
def step(number: int) -> int:
    return number + 1


@flow
def chain():
    number = 0
    for _ in range(1000):
        number = step(number)
    return number
"""
WARM = 20  # invocations in a round
HANDLER = "dagy.artifact.handler.handler"


class Function:
    """An environment of Lambda: the official runtime client in a process of its own, waiting for invocations."""

    def __init__(self, handler: str, code: Path, **variables: str) -> None:
        self._api = RuntimeApi("arn:aws:lambda:us-east-1:123456789012:function:bench")
        environment = _environment(code) | {"AWS_LAMBDA_RUNTIME_API": self._api.address, **variables}
        command = [sys.executable, "-m", "awslambdaric", handler]
        self._process = subprocess.Popen(command, env=environment, cwd=code, stdout=subprocess.DEVNULL)

    def ask(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """What it answers."""
        invocation = Invocation(json.dumps(payload).encode(), round((time.time() + 900) * 1000))
        self._api.hand_over(invocation)
        if not invocation.done.wait(60) or invocation.failed:
            raise RuntimeError(f"the function did not answer: {invocation.answer!r}")
        answer: dict[str, Any] = json.loads(invocation.answer)
        return answer

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._api.close()


def cold_starts(effort: Effort) -> Iterator[Row]:
    """A new environment of Lambda that answers one payload: a whole flow, and one task of a state machine."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        code, store = _unpacked(folder, FLOW), (folder / "store").as_uri()
        for what, event in (("a flow of 2 tasks", _flow_event), ("one task", _task_event)):
            found, hello, imported = in_turns(
                effort,
                lambda event=event: _cold(HANDLER, code, event(store), DAGY_STORE=store),
                lambda: _cold("hello.handler", code, {}),
                lambda: _cold("loaded.handler", code, {}),
            )
            name = f"handler's cold start, {what}"
            yield row_of_extra(name, found, hello, called="a hello-world handler", target=0.1, is_judged_by_cpu=True)
            yield row_of_extra(f"{name}: beside loading the code", found, imported, called="import of the flow's file")


def handled(effort: Effort) -> Iterator[Row]:
    """What the handler costs a task: an invocation each, and many in one invocation; and how large its own part is."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        code, store = _unpacked(folder, FLOW), (folder / "store").as_uri()
        ours, hello = Function(HANDLER, code, DAGY_STORE=store), Function("hello.handler", code)
        try:
            found, floor = in_turns(
                effort,
                lambda: [ours.ask(_task_event(store)) for _ in range(WARM)],
                lambda: [hello.ask({}) for _ in range(WARM)],
            )
        finally:
            ours.close()
            hello.close()
        what = "a task in a warm invocation, store in files"
        yield row_of_extra(what, found.scaled(1 / WARM), floor.scaled(1 / WARM), called="a hello-world handler")
        yield from _whole_flows(effort, folder)
        own = sum(len(each) for each in own_code().values())
        size = (folder / "dist").rglob("artifact.zip")
        yield Row("artifact of a flow of 2 tasks", f"{min(each.stat().st_size for each in size):,} bytes", "")
        yield Row("Dagy's own code in a dependency layer", f"{own / 1024:,.0f} KiB", "")


def _whole_flows(effort: Effort, folder: Path) -> Iterator[Row]:
    code, store = _unpacked(folder, CHAIN), (folder / "store").as_uri()
    flow = loaded(code).flow
    program, _ = flow.prepare()
    numbers = itertools.count()
    found, floor = in_turns(
        effort,
        lambda: answer({"run_id": f"chain-{next(numbers)}"}, code, store=store),
        lambda: run(*flow.prepare(), RunOptions("bare", capture=True)),
    )
    tasks = len(program.spec.tasks)
    what = "a task of a whole flow in the handler, kept in a store of files"
    yield row_of_extra(what, found.scaled(1 / tasks), floor.scaled(1 / tasks), called="the engine alone")


def _cold(handler: str, code: Path, payload: Mapping[str, Any], **variables: str) -> None:
    function = Function(handler, code, **variables)
    try:
        function.ask(payload)
    finally:
        function.close()


_RUNS = itertools.count()


def _flow_event(store: str) -> dict[str, Any]:
    return {"run_id": f"flow-{next(_RUNS)}"}


def _task_event(store: str) -> dict[str, Any]:
    """A task of a run that has just begun."""
    run_id = f"step-{next(_RUNS)}"
    RunStore(store, run_id).begin({"parameters": {}, "references": {}, "code_hash": "", "fail_fast": True})
    return {"run_id": run_id, "step": "task", "task": "load"}


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
        list(threads.map(lambda _: _answer(command, code), range(count)))


def _built(folder: Path, text: str = FLOW) -> Artifact:
    path = folder / "small.py"
    path.write_text(text)
    source = read_source(path)
    with flow_aside(source) as flow:
        return build(source, flow, folder / "dist")


def _unpacked(folder: Path, text: str) -> Path:
    """The files of a function: an artifact's, and handlers that do next to nothing beside it."""
    artifact = _built(folder, text)
    code = folder / f"code-{artifact.flow_name}"
    (code / "dagy.json").write_text(safe_extract(artifact.path, code).to_json())
    (code / "hello.py").write_text(HELLO)
    (code / "loaded.py").write_text(f"import small\n{HELLO}")
    return code


def _environment(code: Path) -> dict[str, str]:
    # Byte code is written and reused, as in an environment of its own.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    paths = os.pathsep.join([str(code), str(Path(__file__).resolve().parents[2])])
    return environment | {"LAMBDA_TASK_ROOT": str(code), "PYTHONPATH": paths}


def _answer(command: list[str], code: Path) -> None:
    subprocess.run(command, check=True, env=_environment(code), capture_output=True)
