"""Whether the code here is the code that a deployment runs."""

from __future__ import annotations

import hashlib
from typing import Any

from dagy.artifact import read_manifest, source_of
from dagy.artifact.files import module_files
from dagy.client import DagyClient
from dagy.control.records import Deployment
from dagy.errors import DagyError
from dagy.flows import Flow
from dagy.settings import Settings

_KEPT = "artifacts"  # the folder, in the local one, of a control plane on this machine


def is_deployed_code(flow: Flow[..., Any], deployment: Deployment, client: DagyClient) -> bool | None:
    """Whether the deployment stands for the modules and the graph of `flow` as they are here.

    None when that is not known: the control plane is elsewhere, or the flow's code is in no file. Writes nothing.
    """
    path = Settings.read().local_dir / _KEPT / f"{deployment.artifact}.zip"
    if not client.is_local or not path.is_file():
        return None
    try:
        manifest, spec = read_manifest(path), flow.spec
        here = {each.path: hashlib.sha256(each.content).hexdigest() for each in module_files(source_of(flow))}
    except DagyError:
        return None
    there = {each.path: each.sha256 for each in manifest.files if each.path.endswith(".py")}
    return spec == manifest.spec and here == there
