"""Deploying to the control plane of this process, and asking it."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dagy import Flow
from dagy.artifact import build_artifact, flow_aside, read_source
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import open_plane
from dagy.deploy import deploy_artifact
from dagy.executors import Executor

from ..deploy.clouds import STACK, Cloud, artifact_on_disk, mend_moto
from .measuring import Effort, Row, in_turns, row_of_time

_FLOW = """
from dagy import flow, task

@task
def double(number: int) -> int:
    return 2 * number

@flow(version="1.0.0")
def etl(number: int = 1) -> int:
    return double(number)
"""


def deploys(effort: Effort) -> Iterator[Row]:
    """Deploys that have much to do, little and nothing, and a run that is asked for."""
    with tempfile.TemporaryDirectory(prefix="dagy-bench-") as temporary:
        folder = Path(temporary)
        (folder / "etl.py").write_text(_FLOW)
        path = build_artifact(folder / "etl.py", output_dir=folder / "dist").path
        numbers = itertools.count()
        with _client(folder / "plane") as client:
            deploy_artifact(path, "known", client=client)

            def first() -> None:
                deploy_artifact(path, f"new-{next(numbers)}", client=client)

            def skipped() -> None:
                assert deploy_artifact(path, "known", client=client).skipped

            found_first, found_skipped, asked, created = in_turns(
                effort.fine(),
                first,
                skipped,
                lambda: client.deployment("known"),
                lambda: client.create_run("known"),
            )
            with _flow(folder / "etl.py", folder / "local") as flow:
                flow.deploy("known", client=client, namespace="")
                (found_call,) = in_turns(effort, lambda: flow.deploy("known", client=client, namespace=""))
        yield row_of_time("deploy an artifact that is deployed", found_skipped, target=0.02, is_judged_by_cpu=True)
        yield row_of_time("flow.deploy() of what is deployed, built anew", found_call)
        yield row_of_time("deploy an artifact under a new name", found_first)
        yield row_of_time("ask the embedded plane for a deployment", asked)
        yield row_of_time("create a run", created)

        def all_new() -> None:
            with _client(folder / f"plane-{next(numbers)}") as client:
                deploy_artifact(path, client=client)

        (found_all,) = in_turns(effort, all_new)
        yield row_of_time("deploy an artifact where there is nothing yet", found_all)


def aws_calls(effort: Effort) -> Iterator[Row]:
    """How many calls of AWS a deploy makes, and how many of these change something; what it takes on moto."""
    with tempfile.TemporaryDirectory(prefix="dagy-bench-") as temporary, pytest.MonkeyPatch.context() as patch:
        folder, numbers = Path(temporary), itertools.count()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "DAGY_AWS_STACK": STACK,
        }.items():
            patch.setenv(name, value)
        patch.setenv("DAGY_LOCAL_DIR", str(folder / "local"))
        mend_moto(patch)
        first, changed = (artifact_on_disk(folder, code) for code in ("x = 1\n", "x = 2\n"))
        for backend, more in (("lambda", 3008), ("step-functions", 3008), ("ecs", 4096)):
            with Cloud().fresh() as cloud, _client(folder / f"aws-{next(numbers)}") as client:
                for what, path, memory_mb in (
                    ("first", first, None),
                    ("unchanged", first, None),
                    ("other code", changed, None),
                    ("other memory", changed, more),
                ):
                    cloud.forget()
                    executor = Executor(backend, memory_mb=memory_mb)
                    deploy_artifact(path, client=client, aws=cloud.aws, executor=executor, schedule="0 6 * * *")
                    count, changes = len(cloud.calls), len(cloud.changes)
                    target = "0" if what == "unchanged" else ""
                    met = changes == 0 if target else None
                    yield Row(
                        f"deploy to {backend}, {what}", f"{count} calls", f"{changes} change", "", "", "", target, met
                    )


@contextmanager
def _client(local_dir: Path) -> Iterator[DagyClient]:
    with open_plane(local_dir) as plane:
        yield DagyClient(transport=EmbeddedTransport(plane))


@contextmanager
def _flow(path: Path, local_dir: Path) -> Iterator[Flow[..., Any]]:
    """The flow of that file, with this folder as the local one."""
    before = os.environ.get("DAGY_LOCAL_DIR")
    os.environ["DAGY_LOCAL_DIR"] = str(local_dir)
    try:
        with flow_aside(read_source(path)) as flow:
            yield flow
    finally:
        del os.environ["DAGY_LOCAL_DIR"]
        if before is not None:
            os.environ["DAGY_LOCAL_DIR"] = before
