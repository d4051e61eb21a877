"""What lasts of a run: the history store, output, results, resume, recovery.

A run is put into the history before its first task starts and its end before anyone is told of it; what comes between
follows within a fraction of a second, all results before the events that speak of them. A run whose process died ends
CRASHED as soon as any dagy process looks.
"""

from dagy.runs.diagnosis import Finding, diagnose
from dagy.runs.history import LATEST, History, RecordedError, RunRecord, TaskRecord
from dagy.runs.output import Written
from dagy.runs.recorder import RunRecorder
from dagy.runs.results import RecordedValue
from dagy.runs.resume import Resumable, load_for_resume, recorded_parameters

__all__ = [
    "LATEST",
    "Finding",
    "History",
    "RecordedError",
    "RecordedValue",
    "Resumable",
    "RunRecord",
    "RunRecorder",
    "TaskRecord",
    "Written",
    "diagnose",
    "load_for_resume",
    "recorded_parameters",
]
