"""From a run's events to what a view shows: pure, and bounded whatever a task prints.

A `LiveRun` folds events into one line for each task. `delta()` gives what changed since the last time, `snapshot()` all
of it; both are JSON. States only ever move on, so a view may merge what it gets in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagy.engine import Event, HookFailed, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.spec import FlowSpec
from dagy.states import StateType
from dagy_nb.previews import Preview

LOG_LIMIT = 20_000  # characters of a task's output that a view keeps
SHOWN_LIMIT = 20  # displays of a task that a view keeps


@dataclass(slots=True)
class _Line:
    state: StateType = StateType.PENDING
    attempt: int = 0
    started: int | None = None  # milliseconds since the epoch
    ended: int | None = None
    message: str = ""
    error: str = ""
    preview: Preview | None = None
    log: list[tuple[str, str]] = field(default_factory=list)  # (stream, text)
    log_size: int = 0
    shown: list[Preview] = field(default_factory=list)

    def head(self) -> dict[str, Any]:
        """All but what it printed and displayed."""
        return {
            "state": self.state.value,
            "attempt": self.attempt,
            "started": self.started,
            "ended": self.ended,
            "message": self.message,
            "error": self.error,
            "preview": self.preview.as_json() if self.preview else None,
        }


class LiveRun:
    """A run as its view shows it."""

    def __init__(self, spec: FlowSpec) -> None:
        self._lines = {task.id: _Line() for task in spec.tasks}
        self._run: dict[str, Any] = {"state": StateType.PENDING.value, "message": "", "started": None, "ended": None}
        self._changed: set[str] = set()
        self._run_changed = False
        self._written: list[tuple[str, str, str]] = []  # (task, stream, text) since the last delta
        self._shown: list[tuple[str, Preview]] = []
        self._sent = 0

    def apply(self, events: Iterable[Event]) -> list[TaskChanged]:
        """Let `events` happen; those of them that end a task, for which a preview or an error may be had."""
        ends: list[TaskChanged] = []
        for event in events:
            match event:
                case TaskChanged():
                    self._task_changed(event)
                    if event.state.is_final and event.attempt:
                        ends.append(event)
                case TaskWrote(task=task, stream=stream, text=text):
                    self._write(task, stream, text)
                case RunChanged(at=at, state=state):
                    self._run["state"], self._run["message"] = state.type.value, state.message
                    self._run["ended" if state.is_final else "started"] = at // 1_000_000
                    self._run_changed = True
                case HookFailed(task=task, hook=hook, error=error):
                    if task is not None:
                        self._write(task, "log", f"hook {hook} raised {error!r}\n")
                case TaskShowed():
                    pass  # turned into a preview by whoever can render it: `show`
        return ends

    def show(self, task: str, preview: Preview) -> None:
        """The task displayed something."""
        line = self._lines[task]
        line.shown.append(preview)
        del line.shown[:-SHOWN_LIMIT]
        self._shown.append((task, preview))

    def finish(self, task: str, *, preview: Preview | None, error: str) -> None:
        """The task has ended: what its value looks like, or the text of its error."""
        line = self._lines[task]
        line.preview, line.error = preview, error
        self._changed.add(task)

    def delta(self) -> dict[str, Any] | None:
        """What changed since the last delta, or None."""
        if not (self._changed or self._run_changed or self._written or self._shown):
            return None
        self._sent += 1
        message = {
            "op": "delta",
            "number": self._sent,
            "run": self._run,
            "tasks": {task: self._lines[task].head() for task in sorted(self._changed)},
            "written": _bounded(self._written),
            "shown": [(task, preview.as_json()) for task, preview in self._shown],
        }
        self._changed.clear()
        self._run_changed = False
        self._written, self._shown = [], []
        return message

    def snapshot(self) -> dict[str, Any]:
        """All that a view needs to show the run as it is after the last delta."""
        return {
            "op": "snapshot",
            "number": self._sent,
            "run": self._run,
            "tasks": {
                task: {**line.head(), "log": line.log, "shown": [each.as_json() for each in line.shown]}
                for task, line in self._lines.items()
            },
        }

    def previews(self) -> Mapping[str, list[Preview]]:
        """For each task what it displayed, and what its value looks like."""
        return {task: line.shown + ([line.preview] if line.preview else []) for task, line in self._lines.items()}

    def _task_changed(self, event: TaskChanged) -> None:
        line = self._lines[event.task]
        at = event.at // 1_000_000
        line.state, line.attempt, line.message = event.state.type, event.attempt, event.state.message
        if line.state is StateType.RUNNING and line.started is None:
            line.started = at
        if event.state.is_final:
            line.ended = at
        self._changed.add(event.task)

    def _write(self, task: str, stream: str, text: str) -> None:
        line = self._lines[task]
        text = text[-LOG_LIMIT:]
        line.log.append((stream, text))
        line.log_size += len(text)
        while line.log_size > LOG_LIMIT and len(line.log) > 1:
            line.log_size -= len(line.log.pop(0)[1])
        self._written.append((task, stream, text))


def _bounded(written: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The newest of what was written, up to what a view keeps of each task; neighbours are joined."""
    room: dict[str, int] = {}
    kept: list[tuple[str, str, str]] = []
    for task, stream, text in reversed(written):
        left = room.setdefault(task, LOG_LIMIT)
        if left <= 0:
            continue
        room[task] = left - len(text)
        text = text[-left:]
        if kept and kept[-1][:2] == (task, stream):
            kept[-1] = (task, stream, text + kept[-1][2])
        else:
            kept.append((task, stream, text))
    kept.reverse()
    return kept
