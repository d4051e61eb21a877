"""A flow as one file: the code it needs, what it depends on, and a manifest that says both.

And a run of such a file, or of any source, in a process that has nothing of this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.artifact.archive import MissingArtifactError, open_artifact, read_manifest, safe_extract
    from dagy.artifact.builder import Artifact, build, build_artifact, newest_artifact, open_built
    from dagy.artifact.clean_run import CleanRun, RunStartError, Unreadable, start_clean
    from dagy.artifact.data_files import LeftOut
    from dagy.artifact.inspection import Inspection, diff, inspect, verify
    from dagy.artifact.loading import keep_aside, refuse_while_loading
    from dagy.artifact.manifest import CellEntry, FileEntry, LockedWheel, Manifest
    from dagy.artifact.options import BuildOptions
    from dagy.artifact.origin import provide_sources, source_of
    from dagy.artifact.rebuilding import Request, known_build
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
    from dagy.artifact.summary import Summary
    from dagy.artifact.targets import target_called
    from dagy.artifact.unpacking import differences, entry_flow, unpacked_flow

_HOMES = {
    "Artifact": "dagy.artifact.builder",
    "BuildOptions": "dagy.artifact.options",
    "CellEntry": "dagy.artifact.manifest",
    "CleanRun": "dagy.artifact.clean_run",
    "FileEntry": "dagy.artifact.manifest",
    "Inspection": "dagy.artifact.inspection",
    "LeftOut": "dagy.artifact.data_files",
    "LockedWheel": "dagy.artifact.manifest",
    "Manifest": "dagy.artifact.manifest",
    "MissingArtifactError": "dagy.artifact.archive",
    "MissingSourceError": "dagy.artifact.source",
    "Reading": "dagy.artifact.source",
    "Request": "dagy.artifact.rebuilding",
    "Roots": "dagy.artifact.source",
    "RunStartError": "dagy.artifact.clean_run",
    "SeveralFlowsError": "dagy.artifact.source",
    "Source": "dagy.artifact.source",
    "Summary": "dagy.artifact.summary",
    "Target": "dagy.artifact.source",
    "Unreadable": "dagy.artifact.clean_run",
    "build": "dagy.artifact.builder",
    "build_artifact": "dagy.artifact.builder",
    "diff": "dagy.artifact.inspection",
    "differences": "dagy.artifact.unpacking",
    "entry_flow": "dagy.artifact.unpacking",
    "flow_aside": "dagy.artifact.source",
    "inspect": "dagy.artifact.inspection",
    "keep_aside": "dagy.artifact.loading",
    "known_build": "dagy.artifact.rebuilding",
    "load_flow": "dagy.artifact.source",
    "load_module": "dagy.artifact.source",
    "module_name": "dagy.artifact.source",
    "newest_artifact": "dagy.artifact.builder",
    "open_artifact": "dagy.artifact.archive",
    "open_built": "dagy.artifact.builder",
    "parse_target": "dagy.artifact.source",
    "provide_sources": "dagy.artifact.origin",
    "read_manifest": "dagy.artifact.archive",
    "read_source": "dagy.artifact.source",
    "refuse_while_loading": "dagy.artifact.loading",
    "safe_extract": "dagy.artifact.archive",
    "source_of": "dagy.artifact.origin",
    "start_clean": "dagy.artifact.clean_run",
    "target_called": "dagy.artifact.targets",
    "unpacked_flow": "dagy.artifact.unpacking",
    "verify": "dagy.artifact.inspection",
}

__all__ = [
    "Artifact",
    "BuildOptions",
    "CellEntry",
    "CleanRun",
    "FileEntry",
    "Inspection",
    "LeftOut",
    "LockedWheel",
    "Manifest",
    "MissingArtifactError",
    "MissingSourceError",
    "Reading",
    "Request",
    "Roots",
    "RunStartError",
    "SeveralFlowsError",
    "Source",
    "Summary",
    "Target",
    "Unreadable",
    "build",
    "build_artifact",
    "diff",
    "differences",
    "entry_flow",
    "flow_aside",
    "inspect",
    "keep_aside",
    "known_build",
    "load_flow",
    "load_module",
    "module_name",
    "newest_artifact",
    "open_artifact",
    "open_built",
    "parse_target",
    "provide_sources",
    "read_manifest",
    "read_source",
    "refuse_while_loading",
    "safe_extract",
    "source_of",
    "start_clean",
    "target_called",
    "unpacked_flow",
    "verify",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
