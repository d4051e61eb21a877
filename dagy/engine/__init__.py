"""How a `Program` runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.engine.current import current_context
    from dagy.engine.events import Event, HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
    from dagy.engine.folding import Line, Terminal
    from dagy.engine.keeping import Cache, CacheEntry, Recorder
    from dagy.engine.options import RunOptions, StandsFor, new_run_id
    from dagy.engine.output import Sink, current_sink
    from dagy.engine.processes.surroundings import import_in_workers
    from dagy.engine.result import RunResult, TaskRun, error_text
    from dagy.engine.run_values import items_of
    from dagy.engine.runner import RunHandle, checked_result, run, start

_HOMES = {
    "Cache": "dagy.engine.keeping",
    "CacheEntry": "dagy.engine.keeping",
    "Event": "dagy.engine.events",
    "HookFailed": "dagy.engine.events",
    "ItemChanged": "dagy.engine.events",
    "Line": "dagy.engine.folding",
    "Recorder": "dagy.engine.keeping",
    "RunChanged": "dagy.engine.events",
    "RunHandle": "dagy.engine.runner",
    "RunOptions": "dagy.engine.options",
    "RunResult": "dagy.engine.result",
    "Sink": "dagy.engine.output",
    "StandsFor": "dagy.engine.options",
    "TaskChanged": "dagy.engine.events",
    "TaskRun": "dagy.engine.result",
    "TaskShowed": "dagy.engine.events",
    "TaskWrote": "dagy.engine.events",
    "Terminal": "dagy.engine.folding",
    "checked_result": "dagy.engine.runner",
    "current_context": "dagy.engine.current",
    "current_sink": "dagy.engine.output",
    "error_text": "dagy.engine.result",
    "import_in_workers": "dagy.engine.processes.surroundings",
    "items_of": "dagy.engine.run_values",
    "new_run_id": "dagy.engine.options",
    "run": "dagy.engine.runner",
    "start": "dagy.engine.runner",
}

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
    "StandsFor",
    "TaskChanged",
    "TaskRun",
    "TaskShowed",
    "TaskWrote",
    "Terminal",
    "checked_result",
    "current_context",
    "current_sink",
    "error_text",
    "import_in_workers",
    "items_of",
    "new_run_id",
    "run",
    "start",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
