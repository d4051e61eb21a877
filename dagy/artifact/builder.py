"""From a flow's source to its artifact: which files, which requirements, one archive."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagy.artifact.archive import read_manifest, write_artifact
from dagy.artifact.dependencies import requirements
from dagy.artifact.files import module_files
from dagy.artifact.manifest import PYTHON_VERSION, FileEntry, Manifest
from dagy.artifact.source import Source, variable_of
from dagy.errors import ArtifactError
from dagy.flows import Flow
from dagy.version import __version__

@dataclass(frozen=True, slots=True)
class Artifact:
    """A built artifact: where it is, what it holds, and its size in bytes."""

    path: Path
    manifest: Manifest
    size: int

    def __str__(self) -> str:
        manifest = self.manifest
        files = [file.path for file in manifest.files]
        lines = {
            "build id": manifest.build_id,
            "code hash": f"sha256:{manifest.code_hash[:16]}",
            "python": manifest.python_version,
            "files": f"{len(files)} ({', '.join(files if len(files) <= 5 else [*files[:4], '...'])})",
            "requirements": ", ".join(manifest.requirements) or "none",
            "size": f"{self.size:,} bytes",
        }
        facts = "\n".join(f"  {label:13} {value}" for label, value in lines.items())
        return f"built {manifest.flow_name} {manifest.flow_version}\n{facts}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": f"{self}\n{self.path}"}


def build(source: Source, flow: Flow[..., Any], output_dir: Path) -> Artifact:
    """Write `<output_dir>/<flow>/<build_id>/artifact.zip` and return it.

    `flow` is what `load_flow(source)` gave. The same code, dependencies and Python version give the same path and the
    same bytes, wherever and whenever it is built. `ArtifactError` names what can't go in.
    """
    variable = variable_of(flow)
    if variable is None or flow.function.__module__ != source.module:
        raise ArtifactError(
            f"flow {flow.name!r} is not a name at the top level of {source.path}, so it can't be found there again; "
            "define it at the top level with @flow"
        )
    files = module_files(source)
    manifest = Manifest(
        spec=flow.spec,
        entry_point=f"{source.module}:{variable}",
        python_version=PYTHON_VERSION,
        requirements=requirements(files),
        files=tuple(_entry(file.path, file.content) for file in files),
        dagy_version=__version__,
        cells=source.cells,
    )
    path = output_dir / folder_name(flow.name) / manifest.build_id / "artifact.zip"
    size = write_artifact(path, manifest, {file.path: file.content for file in files})
    with contextlib.suppress(OSError):  # it may be another user's
        path.touch()  # one that was there already is the newest all the same: see `newest_artifact`
    return Artifact(path, manifest, size)


def newest_artifact(flow: str, output_dir: Path) -> Artifact | None:
    """The artifact of the flow that was built last below `output_dir`; None when there is none.

    It is not verified. Raises `ArtifactError` when it is broken.
    """
    found = [(path.stat().st_mtime_ns, path) for path in (output_dir / folder_name(flow)).glob("*/artifact.zip")]
    if not found:
        return None
    _, path = max(found)
    return Artifact(path, read_manifest(path), path.stat().st_size)


def folder_name(flow: str) -> str:
    """The flow's name as the name of a folder: what a path gives a meaning to becomes `_`."""
    return re.sub(r"[^\w.-]", "_", flow)[:100].strip(".") or "flow"


def _entry(path: str, content: bytes) -> FileEntry:
    return FileEntry(path, len(content), hashlib.sha256(content).hexdigest())
