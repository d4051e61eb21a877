"""From a run's events to what a view shows: no I/O, and bounded whatever a task prints or displays.

A `LiveRun` folds events into one line for each task. `delta()` gives what changed since the last time, `snapshot()` all
of it; both are JSON, and a snapshot is what its view has made of the deltas. States only ever move on, so a view may
merge what it gets in any order. A snapshot may be asked for in any thread: a page that is drawn anew needs one.

What a task prints is kept as lines, and sent as runs: a stream, and lines of it that follow each other, joined by
newlines. A delta says how many of the last lines sent are void, because the task has drawn over them since.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dagy.engine import (
    Event,
    HookFailed,
    ItemChanged,
    Line,
    RunChanged,
    TaskChanged,
    TaskShowed,
    TaskWrote,
    Terminal,
)
from dagy.errors import shown
from dagy.spec import FlowSpec
from dagy.states import StateType
from dagy_nb.previews import Preview, sendable

LOG_LIMIT = 20_000  # characters of a task's output that a view keeps
SHOWN_LIMIT = 20  # displays of a task that a view keeps
SHOWN_SIZE_LIMIT = 4_000_000  # characters of these displays
FAULT_LIMIT = 20  # failed items of a mapped task whose errors a view keeps
FAULT_SIZE_LIMIT = 4_000  # characters of each of these errors

Runs: TypeAlias = list[tuple[str, str]]  # a stream, and lines of it


@dataclass(slots=True)
class _Items:
    """How far a mapped task is."""

    count: int | None = None  # how many there are, once that is known
    done: int = 0  # completed
    failed: int = 0
    faults: dict[int, str] = field(default_factory=dict)  # the errors of the first that failed, by index

    def as_json(self) -> dict[str, int | None]:
        """The counts for a message."""
        return {"count": self.count, "done": self.done, "failed": self.failed}

    def end(self, event: ItemChanged) -> None:
        """Count an item that has ended."""
        if event.state.is_completed:
            self.done += 1
        elif event.state.is_failure:
            self.failed += 1
            self.faults[event.item] = event.state.message
            if len(self.faults) > FAULT_LIMIT:
                del self.faults[max(self.faults)]

    def errors(self) -> str:
        """The errors that are kept, in the order of the items."""
        parts = [f"item {index}: {_end(text, FAULT_SIZE_LIMIT)}" for index, text in sorted(self.faults.items())]
        rest = self.failed - len(parts)
        return "\n\n".join([*parts, *([f"and {rest:,} more"] if rest else [])])


@dataclass(slots=True)
class _Line:
    state: StateType = StateType.PENDING
    attempt: int = 0
    started: int | None = None  # milliseconds since the epoch
    ended: int | None = None
    message: str = ""
    error: str = ""
    preview: Preview | None = None
    output: Terminal = field(default_factory=lambda: Terminal(limit=LOG_LIMIT))  # a stream of it for each attempt
    written: int = 0  # characters
    shown: list[Preview] = field(default_factory=list)
    items: _Items | None = None  # of a mapped task

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
            "items": self.items.as_json() if self.items else None,
        }

    def write(self, attempt: int, stream: str, text: str) -> None:
        """Add to what it printed."""
        self.output.write(f"{attempt} {stream}", sendable(text))
        self.written += len(text)

    def show(self, preview: Preview) -> None:
        """Add to what it displayed, and let go of the oldest of that."""
        self.shown = _newest([*self.shown, preview])

    @property
    def size(self) -> int:
        """Characters, roughly, that it adds to a snapshot."""
        return (
            min(self.written, LOG_LIMIT)
            + sum(each.size for each in self.shown)
            + (self.preview.size if self.preview else 0)
        )


class LiveRun:
    """A run as its view shows it."""

    def __init__(self, spec: FlowSpec, reused_items: Mapping[str, int] | None = None) -> None:
        """`reused_items` says of mapped tasks how many items have their results already."""
        done = reused_items or {}
        self._lines = {
            task.id: _Line(items=_Items(done=done.get(task.id, 0)) if task.mapped else None) for task in spec.tasks
        }
        self._run: dict[str, Any] = {"state": StateType.PENDING.value, "message": "", "started": None, "ended": None}
        self._changed: set[str] = set()
        self._run_changed = False
        self._written: list[tuple[str, int, str, str]] = []  # (task, attempt, stream, text) since the last delta
        self._shown: dict[str, list[Preview]] = {}  # by task, since the last delta
        self._sent = 0
        self._lock = threading.Lock()

    def apply(self, events: Iterable[Event]) -> list[TaskChanged | ItemChanged]:
        """Let `events` happen; those of them that end a task, for which a preview or an error may be had.

        Among them are those that make an item fail, if its error will be shown.
        """
        with self._lock:
            return self._apply(events)

    def _apply(self, events: Iterable[Event]) -> list[TaskChanged | ItemChanged]:
        ends: list[TaskChanged | ItemChanged] = []
        for event in events:
            match event:
                case TaskChanged():
                    self._task_changed(event)
                    if event.state.is_final and event.attempt:
                        ends.append(event)
                case ItemChanged(task=task):
                    items = self._lines[task].items
                    if items is not None and event.state.is_final:
                        self._changed.add(task)
                        items.end(event)
                        ends.append(event)
                case TaskWrote(task=task, attempt=attempt, stream=stream, text=text):
                    self._written.append((task, attempt, stream, text))
                case RunChanged(at=at, state=state):
                    self._run["state"], self._run["message"] = state.type.value, sendable(state.message)
                    self._run["started"] = self._run["started"] or at // 1_000_000
                    if state.is_final:
                        self._run["ended"] = at // 1_000_000
                    self._run_changed = True
                case HookFailed(task=task, hook=hook, error=error):
                    if task is not None:
                        self._written.append((task, 0, "log", f"hook {hook} raised {shown(error)}\n"))
                case TaskShowed():
                    pass  # turned into a preview by whoever can render it: `show`
        return [each for each in ends if isinstance(each, TaskChanged) or self._keeps_error_of(each)]

    def _keeps_error_of(self, event: ItemChanged) -> bool:
        items = self._lines[event.task].items
        return items is not None and event.item in items.faults

    def show(self, task: str, preview: Preview) -> None:
        """The task displayed something."""
        with self._lock:
            self._shown[task] = _newest([*self._shown.get(task, ()), preview])

    def finish(self, task: str, *, preview: Preview | None, error: str) -> None:
        """The task has ended: what its value looks like, or the text of its error."""
        with self._lock:
            line = self._lines[task]
            line.preview = preview
            line.error = (line.items.errors() if line.items else "") or sendable(error)
            self._changed.add(task)

    def count_items(self, task: str, count: int) -> None:
        """The mapped task has so many items."""
        with self._lock:
            items = self._lines[task].items
            if items is not None and items.count is None:
                items.count = count
                self._changed.add(task)

    def fail_item(self, task: str, item: int, error: str) -> None:
        """An item of the mapped task has failed: the text of its error."""
        with self._lock:
            line = self._lines[task]
            if line.items is not None and item in line.items.faults:
                line.items.faults[item] = sendable(error) or line.items.faults[item]
                line.error = line.items.errors()
                self._changed.add(task)

    def delta(self) -> dict[str, Any] | None:
        """What changed since the last delta, or None."""
        with self._lock:
            return self._delta()

    def _delta(self) -> dict[str, Any] | None:
        if not (self._changed or self._run_changed or self._written or self._shown):
            return None
        self._sent += 1
        for task, attempt, stream, text in self._written:
            self._lines[task].write(attempt, stream, text)
        writers = dict.fromkeys(each[0] for each in self._written)
        displayed = [(task, preview) for task, previews in self._shown.items() for preview in previews]
        for task, preview in displayed:
            self._lines[task].show(preview)
        message = {
            "op": "delta",
            "number": self._sent,
            "run": dict(self._run),
            "tasks": {task: self._lines[task].head() for task in sorted(self._changed)},
            "written": [(task, *_taken(self._lines[task].output)) for task in writers],
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
                    task: {
                        **line.head(),
                        "log": _runs(line.output.lines()),
                        "shown": [each.as_json() for each in line.shown],
                    }
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

    def faults(self) -> Mapping[str, str]:
        """For each mapped task with items that failed their errors, in the order of the items."""
        with self._lock:
            return {task: line.items.errors() for task, line in self._lines.items() if line.items and line.items.faults}

    def _task_changed(self, event: TaskChanged) -> None:
        line = self._lines[event.task]
        at = event.at // 1_000_000
        line.state, line.attempt, line.message = event.state.type, event.attempt, sendable(event.state.message)
        if line.state is StateType.RUNNING and line.started is None:
            line.started = at
        if event.state.is_final:
            line.ended = at
        self._changed.add(event.task)


def _taken(output: Terminal) -> tuple[int, Runs]:
    """How many of the last lines are void, and the runs that follow."""
    void, lines = output.take()
    return void, _runs(lines)


def _runs(lines: Sequence[Line]) -> Runs:
    """The newest of the lines, up to what a view keeps, as runs; streams without the attempt they belong to."""
    size, kept = 0, len(lines)
    while kept and size < LOG_LIMIT:
        kept -= 1
        size += len(lines[kept].text) + 1
    by_stream = itertools.groupby(lines[kept:], lambda line: line.stream.partition(" ")[2])
    return [(stream, "\n".join(line.text for line in group)) for stream, group in by_stream]


def _end(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"...{text[-limit:]}"


def _newest(previews: list[Preview]) -> list[Preview]:
    """Those of the newest previews that a view keeps of one task; one is always kept."""
    size = sum(each.size for each in previews)
    while len(previews) > 1 and (len(previews) > SHOWN_LIMIT or size > SHOWN_SIZE_LIMIT):
        size -= previews.pop(0).size
    return previews
