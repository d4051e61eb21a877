"""The public overview of the SDK works as it is written: its Python blocks are run one after another, in one module.

The blocks are the overview's own. What they leave to the reader (a `transform_data`, a server to fetch from) is given
by the test. What it says of nodes is in `nodes/test_seed_example.py`.
"""

from __future__ import annotations

import http.server
import importlib
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dagy
from dagy.settings import Settings

ROOT = Path(__file__).resolve().parents[1]

OVERVIEW = r'''
A task is the smallest unit of work in Dagy.

```python
from dagy import task

@task(retries=3, timeout_seconds=60)
def extract_data(source_url: str) -> dict:
    """Fetch data from a source."""
    import httpx
    response = httpx.get(source_url)
    return response.json()
```

Flows are defined as Python functions that call tasks.

```python
from dagy import flow

@flow(name="etl_pipeline", version="1.0.0")
def etl_pipeline(source_url: str, destination: str):
    """Extract, transform, and load data."""
    raw = extract_data(source_url)
    cleaned = transform_data(raw)
    load_data(cleaned, destination)
```

When a task is called within a flow context, it returns a TaskOutput object instead of the actual value.

```python in-a-flow
result = extract_data(source_url)  # Returns TaskOutput, not dict
transform_data(result)  # Creates dependency edge
```

The SDK exports these primary symbols:

```python names
from dagy import (
    # Decorators
    flow,           # Define a flow (DAG)
    task,           # Define a task (node)

    # Core Classes
    Flow,           # Flow class
    Task,           # Task class
    FlowSpec,       # Serialized DAG specification
    TaskOutput,     # Task output reference

    # Runtime
    RunContext,      # Runtime context (name, attempt, parameters)
    Hook,           # Lifecycle hook base class
    State,          # Task/flow state
    running,        # Running state factory
    completed,      # Completed state factory
    failed,         # Failed state factory

    # Deployment
    DagyClient,     # API client
    build_artifact, # Package flow as ZIP
    deploy_artifact,# Upload to S3 + register
    LocalArtifact,  # Local artifact for testing

    # Data Models
    Deployment,     # Deployment metadata
    Executor,       # Executor configuration
    Run,            # Run metadata
)
```

Create tasks and flows using decorators:

```python
from dagy import flow, task

@task(retries=2, retry_delay_seconds=5)
def fetch(url: str) -> str:
    import httpx
    return httpx.get(url).text

@task(timeout_seconds=30)
def parse(html: str) -> dict:
    return {"title": html[:50], "length": len(html)}

@flow(name="web_scraper", version="1.0.0")
def web_scraper(url: str):
    html = fetch(url)
    return parse(html)
```

Use run_local() for development and testing:

```python run
result = web_scraper.run_local(url="https://example.com")
print(result)
```

Package the flow and its dependencies into a ZIP artifact:

```python build
from dagy import build_artifact
artifact = build_artifact(web_scraper)
```

Or via CLI:

```bash
dagy build my_flows.py
```

Use flow.deploy() to build, upload, and register in one call. Dagy automatically skips the deploy if the code hasn't
changed (based on code_hash). Pass force=True to override:

```python deploy
result = web_scraper.deploy(name="web-scraper")
if result.skipped:
    print("No changes detected, deploy skipped")
else:
    print(result.deployment_name, result.flow_version)
```

Or build and deploy separately via the CLI:

```bash
# Build the artifact zip
dagy build my_flows.py:web_scraper --output-dir ./dist

# Upload to S3 and register with the API
dagy deploy ./dist/web_scraper/<build_id>/artifact.zip \
  --deployment web-scraper \
  --flow-name web_scraper \
  --flow-version 1.0.0 \
  --profile production
```

Trigger runs via the CLI, Python SDK, or a schedule:

```bash
# Via CLI (remote deployment)
dagy run web-scraper --param url=https://example.com

# Via CLI (local execution)
dagy run my_flows.py:web_scraper --param url=https://example.com
```

```python run-deployed
# Via Python SDK
result = web_scraper.run(url="https://example.com")
print(result.run_id, result.status)
```

You can override with the executor parameter:

```python
@task(executor="ecs")
def train_model(data: dict) -> dict:
    # Long-running, memory-intensive task
    ...
```
'''


def blocks(kind: str = "") -> list[str]:
    """The overview's blocks of this kind, in order."""
    return re.findall(rf"```python{kind and ' ' + kind}\n(.*?)```", OVERVIEW, re.DOTALL)


PAGE = b'{"title": "Example Domain"}'


class OnePage(http.server.BaseHTTPRequestHandler):
    """Answers every request with `PAGE`."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OnePage) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def overview() -> dict[str, Any]:
    """The module that the overview's definitions make."""
    space: dict[str, Any] = {"__name__": "overview"}
    space["loaded"] = []

    @dagy.task
    def transform_data(raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "clean": True}

    @dagy.task
    def load_data(cleaned: dict[str, Any], destination: str) -> None:
        space["loaded"].append((cleaned, destination))

    space.update(transform_data=transform_data, load_data=load_data)
    for source in blocks():
        exec(compile(source, "<overview>", "exec"), space)
    return space


def test_every_definition_of_the_overview_works(overview: dict[str, Any]):
    assert isinstance(overview["extract_data"], dagy.Task)
    assert overview["extract_data"].description == "Fetch data from a source."
    assert overview["etl_pipeline"].description == "Extract, transform, and load data."
    assert isinstance(overview["web_scraper"], dagy.Flow)
    assert overview["train_model"].options.executor == "ecs"


def test_the_router_sends_the_overviews_flows_where_the_overview_says(overview: dict[str, Any]):
    router = dagy.BackendRouter()
    assert router.route(overview["web_scraper"].spec).backend == "lambda"
    train_model, web_scraper = overview["train_model"], overview["web_scraper"]

    @dagy.flow
    def learn(url: str):
        return train_model(web_scraper(url))

    route = router.route(learn.spec)
    assert (route.backend, route.on_ecs) == ("step-functions", {"train_model"})


def test_the_graph_of_the_overviews_flow_is_known_before_it_runs(overview: dict[str, Any]):
    spec = overview["etl_pipeline"].spec
    assert (spec.name, spec.version) == ("etl_pipeline", "1.0.0")
    assert spec.edges == (("extract_data", "transform_data"), ("transform_data", "load_data"))


def test_the_overviews_flow_runs(overview: dict[str, Any], server_url: str):
    result = overview["etl_pipeline"].run_local(source_url=server_url, destination="table")
    assert result.status == "COMPLETED"
    assert overview["loaded"] == [({"title": "Example Domain", "clean": True}, "table")]


def test_in_a_flow_a_task_returns_an_output_and_passing_it_on_makes_an_edge(overview: dict[str, Any]):
    (source,) = blocks("in-a-flow")

    @dagy.flow
    def drawn(source_url: str):
        space = {**overview, "source_url": source_url}
        exec(source, space)
        assert isinstance(space["result"], dagy.TaskOutput)

    assert drawn.spec.edges == (("extract_data", "transform_data"),)


def test_the_overviews_run_prints_its_result(
    overview: dict[str, Any], server_url: str, capsys: pytest.CaptureFixture[str]
):
    (source,) = blocks("run")
    exec(source.replace("https://example.com", server_url), overview)
    assert overview["result"].value == {"title": PAGE.decode(), "length": len(PAGE)}
    assert overview["result"].run_id
    assert capsys.readouterr().out.startswith("web_scraper: COMPLETED in ")


def test_tasks_of_the_overview_are_plain_functions_outside_a_flow(overview: dict[str, Any], server_url: str):
    assert overview["parse"]("<html>") == {"title": "<html>", "length": 6}
    assert overview["extract_data"](server_url) == {"title": "Example Domain"}


# From a file to a deployment and its runs, in a folder of its own.


@pytest.fixture
def my_flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The overview's flow in a file of the working directory, imported as a user would."""
    (source,) = [each for each in blocks() if "def web_scraper" in each]
    (tmp_path / "my_flows.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield {"web_scraper": importlib.import_module("my_flows").web_scraper}
    del sys.modules["my_flows"]


def test_the_overviews_flow_is_built(my_flows: dict[str, Any], tmp_path: Path):
    (source,) = blocks("build")
    exec(source, my_flows)
    artifact = my_flows["artifact"]
    assert artifact.path == tmp_path / "dist" / "web_scraper" / artifact.build_id / "artifact.zip"


def test_the_overviews_flow_is_deployed_and_then_skipped(my_flows: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    (deploy,) = blocks("deploy")
    exec(deploy, my_flows)
    exec(deploy, my_flows)
    assert capsys.readouterr().out == "web-scraper 1.0.0\nNo changes detected, deploy skipped\n"
    (run,) = blocks("run-deployed")
    exec(run, my_flows)
    assert capsys.readouterr().out == f"{my_flows['result'].run_id} QUEUED\n"


@pytest.mark.program
@pytest.mark.timeout(300)
def test_the_overviews_commands_and_runs_work(
    my_flows: dict[str, Any], tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DAGY_AUTO_WORKER")  # runs wake a worker, as for a user

    def dagy_says(command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dagy", *shlex.split(command)[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    local_dir = Settings.read().local_dir
    local_dir.mkdir(mode=0o700)
    (local_dir / "config.yaml").write_text("profiles: {production: {table_format: simple}}\n")  # on this machine
    for source in re.findall(r"```bash\n(.*?)```", OVERVIEW, re.DOTALL):
        for command in source.replace("\\\n", "").splitlines():
            if command.startswith("dagy"):
                build_ids = [each.parent.name for each in tmp_path.glob("dist/web_scraper/*/artifact.zip")]
                dagy_says(command.replace("<build_id>", "".join(build_ids)).replace("https://example.com", server_url))
    with dagy.DagyClient() as client:
        assert [each.status for each in client.runs()] == ["COMPLETED"]
    (run,) = blocks("run-deployed")
    exec(run.replace("https://example.com", server_url), my_flows)
    assert my_flows["result"].wait(60).result == {"title": PAGE.decode(), "length": len(PAGE)}


def exported() -> set[str]:
    (source,) = blocks("names")
    return set(re.findall(r"^    (\w+),", source, re.MULTILINE))


def test_the_names_of_the_overview_can_be_imported():
    names = exported()
    assert len(names) == 19
    exec(f"from dagy import {', '.join(sorted(names))}", {})
