"""What tests of the control plane begin with: artifacts made by hand, and deployments of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dagy.artifact.archive import write_artifact
from dagy.artifact.manifest import FileEntry, Manifest
from dagy.control import ControlPlane, Deployment, FlowVersion
from dagy.spec import FlowSpec, FromTask, Json, ParameterSpec, TaskSpec


def spec_of(name: str = "etl", version: str = "latest") -> FlowSpec:
    """Two tasks, a parameter that must be given, one that need not, and one that shaped the graph."""
    return FlowSpec(
        name,
        version,
        parameters=(
            ParameterSpec("limit", "int"),
            ParameterSpec("mode", "Any", required=False, default="fast"),
            ParameterSpec("width", "Static[int]", required=False, default=2, static=True),
        ),
        tasks=(
            TaskSpec("load", "load", "etl:load"),
            TaskSpec("save", "save", "etl:save", {"rows": FromTask("load")}),
        ),
        static={"width": 2},
    )


def artifact_file(folder: Path, code: str = "x = 1\n", spec: FlowSpec | None = None) -> Path:
    """An artifact with that code."""
    contents = {"etl.py": code.encode()}
    files = tuple(FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in contents.items())
    path = folder / "built" / "artifact.zip"
    write_artifact(path, Manifest(spec or spec_of(), "etl:etl", "3.11", (), files, "0.1.0"), contents)
    return path


def registered(
    plane: ControlPlane,
    folder: Path,
    code: str = "x = 1\n",
    spec: FlowSpec | None = None,
    *,
    namespace: str = "",
    new_revision: bool = False,
) -> FlowVersion:
    """The flow of an artifact with that code, registered."""
    info = plane.put_artifact(artifact_file(folder, code, spec))
    return plane.register_flow(info.sha256, namespace=namespace, new_revision=new_revision)


def deployed(
    plane: ControlPlane,
    folder: Path,
    name: str = "etl",
    *,
    namespace: str = "",
    tags: dict[str, str] | None = None,
    parameters: dict[str, Json] | None = None,
) -> Deployment:
    """A deployment of `spec_of()`."""
    flow = registered(plane, folder, namespace=namespace)
    return plane.put_deployment(
        name,
        namespace=namespace,
        flow_name=flow.name,
        flow_version=flow.version,
        revision=flow.revision,
        tags=tags,
        parameters=parameters,
    )


def event(
    seq: int, task: str | None = None, state: str = "RUNNING", *, message: str = "", at: int = 0
) -> dict[str, Json]:
    """An event of a run, or of a task of it, `at` seconds after 2026-01-31 14:00 UTC."""
    told: dict[str, Json] = {"kind": "run" if task is None else "task", "seq": seq, "at": NOON + at * 10**9}
    told |= {} if task is None else {"task": task, "attempt": 1}
    return told | {"state": state} | ({"message": message} if message else {})


NOON = 1_769_868_000 * 10**9
