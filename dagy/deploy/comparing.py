"""Whether the code here is the code that a deployment runs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from dagy.artifact import read_manifest, source_of
from dagy.artifact.files import module_files
from dagy.client import DagyClient
from dagy.control.records import Deployment
from dagy.errors import DagyError
from dagy.flows import Flow
from dagy.spec import FlowSpec


def is_deployed_code(flow: Flow[..., Any], deployment: Deployment, client: DagyClient) -> bool | None:
    """Whether the deployment stands for the modules and the graph of `flow` as they are here.

    None when that is not known: the control plane is elsewhere, or the flow's code is in no file. Writes nothing.
    """
    try:
        path = client.artifact_path(deployment.artifact)
        if path is None:
            return None
        manifest, spec = read_manifest(path), flow.spec
        here = {each.path: hashlib.sha256(each.content).hexdigest() for each in module_files(source_of(flow))}
    except DagyError:
        return None
    there = {each.path: each.sha256 for each in manifest.files if each.path.endswith(".py")}
    return _unnamed(spec) == _unnamed(manifest.spec) and here == there


def _unnamed(spec: FlowSpec) -> FlowSpec:
    """The spec, whatever its module is called: a program's own is `__main__`, and has its name where it is deployed."""
    return replace(spec, tasks=tuple(replace(each, function=each.function.rpartition(":")[2]) for each in spec.tasks))
