"""A flow from an artifact, ready to run in this process."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from dagy.artifact.archive import safe_extract
from dagy.artifact.manifest import PYTHON_VERSION, Manifest
from dagy.artifact.source import Source, load_flow, read_python, variable_of
from dagy.errors import ArtifactError, SourceError, UnknownFlowError
from dagy.flows import Flow


@contextmanager
def unpacked_flow(path: Path, *, within: Path | None = None) -> Iterator[Flow[..., Any]]:
    """The flow of the artifact at `path`, for as long as the `with` block lasts.

    The artifact is verified, then extracted to a temporary folder (`within` that folder, if one is given), then its
    entry module is loaded from there; modules of the same names that were loaded before are put aside meanwhile.
    `ArtifactError` when it is not to be trusted or its entry point is not the flow that its manifest tells of.
    """
    with tempfile.TemporaryDirectory(prefix="dagy-", dir=within) as temporary:
        folder = Path(temporary).resolve() / "code"
        manifest = safe_extract(path, folder)
        with _own_modules(folder, manifest):
            yield entry_flow(folder, manifest)


def differences(manifest: Manifest) -> tuple[str, ...]:
    """A sentence for each way in which this Python is not what the artifact was built for."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    if manifest.python_version != PYTHON_VERSION:
        found.append(f"built for Python {manifest.python_version}, and this is {PYTHON_VERSION}")
    for requirement in manifest.requirements:
        name, _, wanted = requirement.partition("==")
        try:
            installed = version(name)
        except PackageNotFoundError:
            found.append(f"built with {requirement}, which is not installed; pip install {requirement}")
            continue
        if installed != wanted:
            found.append(f"built with {requirement}, and {installed} is installed")
    return tuple(found)


def entry_flow(folder: Path, manifest: Manifest) -> Flow[..., Any]:
    """The flow of an artifact whose files were extracted to `folder`, loaded from there.

    Its modules stay in `sys.modules`, and `folder` stays first in `sys.path`. `ArtifactError` when its entry point is
    not the flow that its manifest tells of, `CodeFailedError` when its code raises.
    """
    variable = manifest.entry_point.partition(":")[2]
    path = folder.absolute() / manifest.module_path
    try:
        flow = load_flow(Source(path, manifest.module, read_python(path)), manifest.flow_name)
    except UnknownFlowError as error:
        raise ArtifactError(f"the entry point {manifest.entry_point!r} is not a flow: {error}") from error
    except SourceError as error:
        if error.__cause__ is not None:
            raise
        raise ArtifactError(f"the entry point {manifest.entry_point!r} is not a flow: {error}") from error
    if variable_of(flow) != variable:
        raise ArtifactError(f"the entry point {manifest.entry_point!r} is not the flow {manifest.flow_name!r}")
    return flow


@contextmanager
def _own_modules(folder: Path, manifest: Manifest) -> Iterator[None]:
    """Let the artifact's modules be imported from `folder` and from nowhere else, then forget them again."""
    modules = (_dotted(file.path) for file in manifest.files if file.path.endswith(".py"))
    names = {".".join(parts[:end]) for parts in modules for end in range(1, len(parts) + 1)}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def _dotted(path: str) -> tuple[str, ...]:
    """The parts of the name that a module's file is imported under."""
    parts = PurePosixPath(path).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts
