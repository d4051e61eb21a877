"""How a `Program` runs here."""

from dagy.engine.events import Event, HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.engine.folding import Line, Terminal
from dagy.engine.keeping import Cache, CacheEntry, Recorder
from dagy.engine.options import RunOptions, new_run_id
from dagy.engine.output import Sink, current_sink
from dagy.engine.result import RunResult, TaskRun, error_text
from dagy.engine.runner import RunHandle, checked_result, run, start

__all__ = [
    "Cache",
    "CacheEntry",
    "Event",
    "HookFailed",
    "ItemChanged",
    "Line",
    "Recorder",
    "RunChanged",
    "RunHandle",
    "RunOptions",
    "RunResult",
    "Sink",
    "TaskChanged",
    "TaskRun",
    "TaskShowed",
    "TaskWrote",
    "Terminal",
    "checked_result",
    "current_sink",
    "error_text",
    "new_run_id",
    "run",
    "start",
]
