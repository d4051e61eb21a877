"""The control plane: flows, deployments, runs and schedules, kept by rules over a store.

`open_plane` opens it on a local SQLite file, or on a PostgreSQL server that a team shares; both keep the same rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.control.pages import Page
    from dagy.control.plane import ControlPlane, open_plane
    from dagy.control.record_json import from_json, to_json
    from dagy.control.records import (
        ArtifactInfo,
        Claim,
        Deployment,
        FlowVersion,
        KeyInfo,
        NewKey,
        Renewal,
        Report,
        RunInfo,
        Schedule,
        TaskRunInfo,
        Timing,
    )

_HOMES = {
    "ArtifactInfo": "dagy.control.records",
    "Claim": "dagy.control.records",
    "ControlPlane": "dagy.control.plane",
    "Deployment": "dagy.control.records",
    "FlowVersion": "dagy.control.records",
    "KeyInfo": "dagy.control.records",
    "NewKey": "dagy.control.records",
    "Page": "dagy.control.pages",
    "Renewal": "dagy.control.records",
    "Report": "dagy.control.records",
    "RunInfo": "dagy.control.records",
    "Schedule": "dagy.control.records",
    "TaskRunInfo": "dagy.control.records",
    "Timing": "dagy.control.records",
    "from_json": "dagy.control.record_json",
    "open_plane": "dagy.control.plane",
    "to_json": "dagy.control.record_json",
}

__all__ = [
    "ArtifactInfo",
    "Claim",
    "ControlPlane",
    "Deployment",
    "FlowVersion",
    "KeyInfo",
    "NewKey",
    "Page",
    "Renewal",
    "Report",
    "RunInfo",
    "Schedule",
    "TaskRunInfo",
    "Timing",
    "from_json",
    "open_plane",
    "to_json",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
