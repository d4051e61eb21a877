"""From a run's events to what a view shows: no I/O, and bounded whatever a task prints or displays.

A `LiveRun` folds events into one line for each task. `delta()` gives what changed since the last time, `snapshot()` all
of it; both are JSON, and a snapshot is what its view has made of the deltas. States only ever move on, so a view may
merge what it gets in any order. A snapshot may be asked for in any thread: a page that is drawn anew needs one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagy.engine import Event, HookFailed, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.errors import shown
from dagy.spec import FlowSpec
from dagy.states import StateType
from dagy_nb.previews import Preview, sendable

LOG_LIMIT = 20_000  # characters of a task's output that a view keeps
SHOWN_LIMIT = 20  # displays of a task that a view keeps
SHOWN_SIZE_LIMIT = 4_000_000  # characters of these displays


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

    def write(self, stream: str, text: str) -> None:
        """Add to what it printed, and let go of the oldest of that."""
        self.log.append((stream, text))
        self.log_size += len(text)
        while self.log_size > LOG_LIMIT and len(self.log) > 1:
            self.log_size -= len(self.log.pop(0)[1])

    def show(self, preview: Preview) -> None:
        """Add to what it displayed, and let go of the oldest of that."""
        self.shown = _newest([*self.shown, preview])

    @property
    def size(self) -> int:
        """Characters, roughly, that it adds to a snapshot."""
        return self.log_size + sum(each.size for each in self.shown) + (self.preview.size if self.preview else 0)


class LiveRun:
    """A run as its view shows it."""

    def __init__(self, spec: FlowSpec) -> None:
        self._lines = {task.id: _Line() for task in spec.tasks}
        self._run: dict[str, Any] = {"state": StateType.PENDING.value, "message": "", "started": None, "ended": None}
        self._changed: set[str] = set()
        self._run_changed = False
        self._written: list[tuple[str, str, str]] = []  # (task, stream, text) since the last delta
        self._shown: dict[str, list[Preview]] = {}  # by task, since the last delta
        self._sent = 0
        self._lock = threading.Lock()

    def apply(self, events: Iterable[Event]) -> list[TaskChanged]:
        """Let `events` happen; those of them that end a task, for which a preview or an error may be had."""
        with self._lock:
            return self._apply(events)

    def _apply(self, events: Iterable[Event]) -> list[TaskChanged]:
        ends: list[TaskChanged] = []
        for event in events:
            match event:
                case TaskChanged():
                    self._task_changed(event)
                    if event.state.is_final and event.attempt:
                        ends.append(event)
                case TaskWrote(task=task, stream=stream, text=text):
                    self._written.append((task, stream, text))
                case RunChanged(at=at, state=state):
                    self._run["state"], self._run["message"] = state.type.value, sendable(state.message)
                    self._run["ended" if state.is_final else "started"] = at // 1_000_000
                    self._run_changed = True
                case HookFailed(task=task, hook=hook, error=error):
                    if task is not None:
                        self._written.append((task, "log", f"hook {hook} raised {shown(error)}\n"))
                case TaskShowed():
                    pass  # turned into a preview by whoever can render it: `show`
        return ends

    def show(self, task: str, preview: Preview) -> None:
        """The task displayed something."""
        with self._lock:
            self._shown[task] = _newest([*self._shown.get(task, ()), preview])

    def finish(self, task: str, *, preview: Preview | None, error: str) -> None:
        """The task has ended: what its value looks like, or the text of its error."""
        with self._lock:
            line = self._lines[task]
            line.preview, line.error = preview, sendable(error)
            self._changed.add(task)

    def delta(self) -> dict[str, Any] | None:
        """What changed since the last delta, or None."""
        with self._lock:
            return self._delta()

    def _delta(self) -> dict[str, Any] | None:
        if not (self._changed or self._run_changed or self._written or self._shown):
            return None
        self._sent += 1
        written = _bounded(self._written)
        for task, stream, text in written:
            self._lines[task].write(stream, text)
        displayed = [(task, preview) for task, previews in self._shown.items() for preview in previews]
        for task, preview in displayed:
            self._lines[task].show(preview)
        message = {
            "op": "delta",
            "number": self._sent,
            "run": dict(self._run),
            "tasks": {task: self._lines[task].head() for task in sorted(self._changed)},
            "written": written,
            "shown": [(task, preview.as_json()) for task, preview in displayed],
        }
        self._changed.clear()
        self._run_changed = False
        self._written, self._shown = [], {}
        return message

    def snapshot(self) -> dict[str, Any]:
        """All that a view needs to show the run as it is after the last delta."""
        with self._lock:
            return {
                "op": "snapshot",
                "number": self._sent,
                "run": dict(self._run),
                "tasks": {
                    task: {**line.head(), "log": list(line.log), "shown": [each.as_json() for each in line.shown]}
                    for task, line in self._lines.items()
                },
            }

    @property
    def size(self) -> int:
        """Characters, roughly, of a snapshot beside the tasks' states."""
        with self._lock:
            return sum(line.size for line in self._lines.values())

    def previews(self) -> Mapping[str, list[Preview]]:
        """For each task what it displayed, and what its value looks like."""
        with self._lock:
            return {task: line.shown + ([line.preview] if line.preview else []) for task, line in self._lines.items()}

    def _task_changed(self, event: TaskChanged) -> None:
        line = self._lines[event.task]
        at = event.at // 1_000_000
        line.state, line.attempt, line.message = event.state.type, event.attempt, sendable(event.state.message)
        if line.state is StateType.RUNNING and line.started is None:
            line.started = at
        if event.state.is_final:
            line.ended = at
        self._changed.add(event.task)


def _bounded(written: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The newest of what was written, up to what a view keeps of each task; neighbours are joined."""
    room: dict[str, int] = {}
    kept: list[tuple[str, str, str]] = []
    for task, stream, text in reversed(written):
        left = room.setdefault(task, LOG_LIMIT)
        if left <= 0:
            continue
        room[task] = left - len(text)
        text = sendable(text[-left:])[-left:]
        if kept and kept[-1][:2] == (task, stream):
            kept[-1] = (task, stream, text + kept[-1][2])
        else:
            kept.append((task, stream, text))
    kept.reverse()
    return kept


def _newest(previews: list[Preview]) -> list[Preview]:
    """Those of the newest previews that a view keeps of one task; one is always kept."""
    size = sum(each.size for each in previews)
    while len(previews) > 1 and (len(previews) > SHOWN_LIMIT or size > SHOWN_SIZE_LIMIT):
        size -= previews.pop(0).size
    return previews
