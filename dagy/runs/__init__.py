"""What lasts of a run: the history store, output, results, resume, recovery.

A run is put into the history before its first task starts and its end before anyone is told of it; what comes between
follows within a fraction of a second, all results before the events that speak of them. A run whose process died ends
CRASHED as soon as any dagy process looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.runs.cache import CachedTask, Difference, LocalCache
    from dagy.runs.diagnosis import Finding, diagnose
    from dagy.runs.event_json import event_from_json, event_to_json
    from dagy.runs.following import FollowedRun, RunSource, Standing, Unreadable, follow_events
    from dagy.runs.history import LATEST, History, RunRecord, TaskRecord
    from dagy.runs.output import Written
    from dagy.runs.owners import Owner, owner_from_text, owner_text, this_process
    from dagy.runs.recorded_error import RecordedError
    from dagy.runs.recorder import RunRecorder
    from dagy.runs.results import RecordedValue
    from dagy.runs.resume import Resumable, load_for_resume, recorded_parameters

_HOMES = {
    "CachedTask": "dagy.runs.cache",
    "Difference": "dagy.runs.cache",
    "Finding": "dagy.runs.diagnosis",
    "FollowedRun": "dagy.runs.following",
    "History": "dagy.runs.history",
    "LATEST": "dagy.runs.history",
    "LocalCache": "dagy.runs.cache",
    "Owner": "dagy.runs.owners",
    "RecordedError": "dagy.runs.recorded_error",
    "RecordedValue": "dagy.runs.results",
    "Resumable": "dagy.runs.resume",
    "RunRecord": "dagy.runs.history",
    "RunRecorder": "dagy.runs.recorder",
    "RunSource": "dagy.runs.following",
    "Standing": "dagy.runs.following",
    "TaskRecord": "dagy.runs.history",
    "Unreadable": "dagy.runs.following",
    "Written": "dagy.runs.output",
    "diagnose": "dagy.runs.diagnosis",
    "event_from_json": "dagy.runs.event_json",
    "event_to_json": "dagy.runs.event_json",
    "follow_events": "dagy.runs.following",
    "load_for_resume": "dagy.runs.resume",
    "owner_from_text": "dagy.runs.owners",
    "owner_text": "dagy.runs.owners",
    "recorded_parameters": "dagy.runs.resume",
    "this_process": "dagy.runs.owners",
}

__all__ = [
    "LATEST",
    "CachedTask",
    "Difference",
    "Finding",
    "FollowedRun",
    "History",
    "LocalCache",
    "Owner",
    "RecordedError",
    "RecordedValue",
    "Resumable",
    "RunRecord",
    "RunRecorder",
    "RunSource",
    "Standing",
    "TaskRecord",
    "Unreadable",
    "Written",
    "diagnose",
    "event_from_json",
    "event_to_json",
    "follow_events",
    "load_for_resume",
    "owner_from_text",
    "owner_text",
    "recorded_parameters",
    "this_process",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
