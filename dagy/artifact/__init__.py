"""A flow as one file: the code it needs, what it depends on, and a manifest that says both.

And a run of such a file, or of any source, in a process that has nothing of this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.artifact.archive import MissingArtifactError, open_artifact, read_manifest, safe_extract
    from dagy.artifact.builder import Artifact, build, newest_artifact
    from dagy.artifact.clean_run import CleanRun, RunStartError, Unreadable, start_clean
    from dagy.artifact.manifest import CellEntry, FileEntry, Manifest
    from dagy.artifact.source import (
        MissingSourceError,
        Reading,
        Roots,
        SeveralFlowsError,
        Source,
        Target,
        flow_aside,
        load_flow,
        load_module,
        module_name,
        parse_target,
        read_source,
    )
    from dagy.artifact.unpacking import differences, unpacked_flow

_HOMES = {
    "Artifact": "dagy.artifact.builder",
    "CellEntry": "dagy.artifact.manifest",
    "CleanRun": "dagy.artifact.clean_run",
    "FileEntry": "dagy.artifact.manifest",
    "Manifest": "dagy.artifact.manifest",
    "MissingArtifactError": "dagy.artifact.archive",
    "MissingSourceError": "dagy.artifact.source",
    "Reading": "dagy.artifact.source",
    "Roots": "dagy.artifact.source",
    "RunStartError": "dagy.artifact.clean_run",
    "SeveralFlowsError": "dagy.artifact.source",
    "Source": "dagy.artifact.source",
    "Target": "dagy.artifact.source",
    "Unreadable": "dagy.artifact.clean_run",
    "build": "dagy.artifact.builder",
    "differences": "dagy.artifact.unpacking",
    "flow_aside": "dagy.artifact.source",
    "load_flow": "dagy.artifact.source",
    "load_module": "dagy.artifact.source",
    "module_name": "dagy.artifact.source",
    "newest_artifact": "dagy.artifact.builder",
    "open_artifact": "dagy.artifact.archive",
    "parse_target": "dagy.artifact.source",
    "read_manifest": "dagy.artifact.archive",
    "read_source": "dagy.artifact.source",
    "safe_extract": "dagy.artifact.archive",
    "start_clean": "dagy.artifact.clean_run",
    "unpacked_flow": "dagy.artifact.unpacking",
}

__all__ = [
    "Artifact",
    "CellEntry",
    "CleanRun",
    "FileEntry",
    "Manifest",
    "MissingArtifactError",
    "MissingSourceError",
    "Reading",
    "Roots",
    "RunStartError",
    "SeveralFlowsError",
    "Source",
    "Target",
    "Unreadable",
    "build",
    "differences",
    "flow_aside",
    "load_flow",
    "load_module",
    "module_name",
    "newest_artifact",
    "open_artifact",
    "parse_target",
    "read_manifest",
    "read_source",
    "safe_extract",
    "start_clean",
    "unpacked_flow",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
