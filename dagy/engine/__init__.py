"""How a `Program` runs here."""

from dagy.engine.events import Event, HookFailed, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.engine.output import Sink, current_sink
from dagy.engine.result import RunResult, TaskRun, error_text
from dagy.engine.runner import RunHandle, checked_result, run, start

__all__ = [
    "Event",
    "HookFailed",
    "RunChanged",
    "RunHandle",
    "RunResult",
    "Sink",
    "TaskChanged",
    "TaskRun",
    "TaskShowed",
    "TaskWrote",
    "checked_result",
    "current_sink",
    "error_text",
    "run",
    "start",
]
