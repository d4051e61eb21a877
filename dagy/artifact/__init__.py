"""A flow as one file: the code it needs, what it depends on, and a manifest that says both."""

from dagy.artifact.archive import MissingArtifactError, open_artifact, read_manifest, safe_extract
from dagy.artifact.builder import Artifact, build
from dagy.artifact.manifest import FileEntry, Manifest
from dagy.artifact.source import (
    MissingSourceError,
    SeveralFlowsError,
    Source,
    Target,
    load_flow,
    module_name,
    parse_target,
    read_source,
)
from dagy.artifact.unpacking import differences, unpacked_flow

__all__ = [
    "Artifact",
    "FileEntry",
    "Manifest",
    "MissingArtifactError",
    "MissingSourceError",
    "SeveralFlowsError",
    "Source",
    "Target",
    "build",
    "differences",
    "load_flow",
    "module_name",
    "open_artifact",
    "parse_target",
    "read_manifest",
    "read_source",
    "safe_extract",
    "unpacked_flow",
]
