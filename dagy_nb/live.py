"""From a run's events to what a view shows: no I/O, and bounded whatever a task prints or displays.

A `LiveRun` folds events into one line for each task. `delta()` gives what changed since the last time, `snapshot()` all
of it; both are JSON, and a snapshot is what its view has made of the deltas. States only ever move on, so a view may
merge what it gets in any order. A snapshot may be asked for in any thread: a page that is drawn anew needs one.

What a task prints is kept as lines, and sent as runs: a stream, lines of it that follow each other, joined by newlines,
and the number of the attempt that wrote them. A delta says how many of the last lines sent are void, because the task
has drawn over them since.
"""

from __future__ import annotations

import itertools
import re
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
from dagy.states import State, StateType
from dagy_nb.previews import Preview, sendable

LOG_LIMIT = 20_000  # characters of a task's output that a view keeps
SHOWN_LIMIT = 20  # displays of a task that a view keeps
SHOWN_SIZE_LIMIT = 4_000_000  # characters of these displays
FAULT_LIMIT = 20  # failed items of a mapped task whose errors a view keeps
FAULT_SIZE_LIMIT = 4_000  # characters of each of these errors
ATTEMPT_LIMIT = 20  # attempts of a task whose times a view keeps

_DRAWS = re.compile("[\r\b\x1b]")  # what text holds that may draw over other text

Runs: TypeAlias = list[tuple[str, str, int]]  # a stream, lines of it, and the attempt that wrote them


@dataclass(slots=True)
class _Items:
    """How far a mapped task is."""

    count: int | None = None  # how many there are, once that is known
    done: int = 0  # completed
    failed: int = 0
    skipped: int = 0  # they said that there is nothing to do
    running: set[int] = field(default_factory=set)  # their indices
    faults: dict[int, str] = field(default_factory=dict)  # the errors of the first that failed, by index

    def as_json(self) -> dict[str, int | None]:
        """The counts for a message."""
        return {
            "count": self.count,
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "running": len(self.running),
        }

    def faults_as_json(self) -> list[dict[str, object]]:
        """The errors that are kept, in the order of the items."""
        return [{"item": item, "error": _end(text, FAULT_SIZE_LIMIT)} for item, text in sorted(self.faults.items())]

    def change(self, event: ItemChanged) -> None:
        """Count an item whose state has changed."""
        if event.state.type is StateType.RUNNING:
            self.running.add(event.item)
            return
        self.running.discard(event.item)
        if event.state.is_completed:
            self.done += 1
        elif event.state.type is StateType.SKIPPED:
            self.skipped += 1
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
    attempts: list[tuple[int, int | None, str]] = field(default_factory=list)  # start, end and state of the newest
    items: _Items | None = None  # of a mapped task

    def head(self) -> dict[str, Any]:
        """All but what it printed and displayed, and the errors of items."""
        return {
            "state": self.state.value,
            "attempt": self.attempt,
            "started": self.started,
            "ended": self.ended,
            "message": self.message,
            "error": self.error,
            "preview": self.preview.as_json() if self.preview else None,
            "items": self.items.as_json() if self.items else None,
            "attempts": self.attempts,
        }

    def change(self, event: TaskChanged) -> None:
        """Be in the state that the event tells of."""
        kind, at = event.state.type, event.at // 1_000_000
        self.state, self.attempt = kind, event.attempt
        self.message = sendable(event.state.message) if event.state.message else ""
        if self.attempts and self.attempts[-1][1] is None:
            outcome = StateType.FAILED if kind is StateType.RETRYING else kind
            self.attempts[-1] = (self.attempts[-1][0], at, outcome.value)
        if kind is StateType.RUNNING:
            self.attempts = [*self.attempts[1 - ATTEMPT_LIMIT :], (at, None, kind.value)]
            if self.started is None:
                self.started = at
        self.ended = at if event.state.is_final else None

    def write(self, attempt: int, stream: str, text: str) -> None:
        """Add to what it printed."""
        if len(text) > 2 * LOG_LIMIT and not _DRAWS.search(text):
            # Of a flood of plain lines only the end will be kept, behind what ends the line that was begun before.
            end, start = text.find("\n") + 1, text.rfind("\n", 0, -LOG_LIMIT) + 1
            text = text[:end] + text[start:] if 0 < end < start else text
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

    def __init__(
        self,
        spec: FlowSpec,
        reused_items: Mapping[str, int] | None = None,
        *,
        previews: Mapping[str, Preview] | None = None,
        note: str = "",
        state: State = State(StateType.PENDING),  # noqa: B008 (a frozen value)
    ) -> None:
        """`reused_items` says of mapped tasks how many items have their results already.

        `previews` are of results that are there already, by task; `note` is said of the run where its state says
        nothing; `state` is the run's before its first event.
        """
        done, known = reused_items or {}, previews or {}
        self._lines = {
            task.id: _Line(items=_Items(done=done.get(task.id, 0)) if task.mapped else None, preview=known.get(task.id))
            for task in spec.tasks
        }
        self._note = sendable(note)
        self._run: dict[str, Any] = {
            "state": state.type.value,
            "message": sendable(state.message) or self._note,
            "started": None,
            "ended": None,
        }
        self._changed: set[str] = set()
        self._has_new_fault: set[str] = set()  # mapped tasks
        self._run_changed = False
        self._written: dict[str, list[tuple[int, str, str]]] = {}  # (attempt, stream, text) by task, since then
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
                case TaskChanged(task=task):
                    self._lines[task].change(event)
                    self._changed.add(task)
                    if event.state.is_final and event.attempt:
                        ends.append(event)
                case ItemChanged(task=task):
                    items = self._lines[task].items
                    if items is not None:
                        self._changed.add(task)
                        items.change(event)
                        if event.state.is_failure:
                            self._has_new_fault.add(task)
                            ends.append(event)
                case TaskWrote(task=task, attempt=attempt, stream=stream, text=text):
                    self._written.setdefault(task, []).append((attempt, stream, text))
                case RunChanged(at=at, state=state):
                    self._run["state"] = state.type.value
                    self._run["message"] = sendable(state.message) or self._note
                    self._run["started"] = self._run["started"] or at // 1_000_000
                    if state.is_final:
                        self._run["ended"] = at // 1_000_000
                    self._run_changed = True
                case HookFailed(task=task, hook=hook, error=error):
                    if task is not None:
                        line = (self._lines[task].attempt, "log", f"hook {hook} raised {shown(error)}\n")
                        self._written.setdefault(task, []).append(line)
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
            line.error = "" if line.items and line.items.faults else sendable(error)
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
                self._has_new_fault.add(task)
                self._changed.add(task)

    def delta(self) -> dict[str, Any] | None:
        """What changed since the last delta, or None."""
        with self._lock:
            return self._delta()

    def _delta(self) -> dict[str, Any] | None:
        if not (self._changed or self._run_changed or self._written or self._shown):
            return None
        self._sent += 1
        for task, written in self._written.items():
            for (attempt, stream), pieces in itertools.groupby(written, lambda each: each[:2]):
                self._lines[task].write(attempt, stream, "".join(text for _, _, text in pieces))
        displayed = [(task, preview) for task, previews in self._shown.items() for preview in previews]
        for task, preview in displayed:
            self._lines[task].show(preview)
        message = {
            "op": "delta",
            "number": self._sent,
            "run": dict(self._run),
            "tasks": {task: self._head(task) for task in sorted(self._changed)},
            "written": [(task, *_taken(self._lines[task].output)) for task in self._written],
            "shown": [(task, preview.as_json()) for task, preview in displayed],
        }
        self._changed.clear()
        self._has_new_fault.clear()
        self._run_changed = False
        self._written, self._shown = {}, {}
        return message

    def _head(self, task: str) -> dict[str, Any]:
        """The task's head for a delta: the errors of its items, which are long, only if there is a new one."""
        line = self._lines[task]
        faults = {"faults": line.items.faults_as_json()} if line.items and task in self._has_new_fault else {}
        return {**line.head(), **faults}

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
                        "faults": line.items.faults_as_json() if line.items else [],
                        "log": _runs(line.output.lines()),
                        "shown": [each.as_json() for each in line.shown],
                    }
                    for task, line in self._lines.items()
                },
            }

    @property
    def standing(self) -> str:
        """How a run stands that waits to begin, with its reason; empty for another."""
        with self._lock:
            state, message = self._run["state"], self._run["message"]
        return ", ".join(filter(None, ["queued", message])) if state == StateType.QUEUED.value else ""

    @property
    def size(self) -> int:
        """Characters, roughly, of a snapshot beside the tasks' states."""
        with self._lock:
            return sum(line.size for line in self._lines.values())

    def previews(self) -> Mapping[str, list[Preview]]:
        """For each task what it displayed, and what its value looks like."""
        with self._lock:
            return {task: line.shown + ([line.preview] if line.preview else []) for task, line in self._lines.items()}

    def result_previews(self) -> Mapping[str, Preview]:
        """What the tasks' values look like, for those that have one."""
        with self._lock:
            return {task: line.preview for task, line in self._lines.items() if line.preview is not None}

    def faults(self) -> Mapping[str, str]:
        """For each mapped task with items that failed their errors, in the order of the items."""
        with self._lock:
            return {task: line.items.errors() for task, line in self._lines.items() if line.items and line.items.faults}


def _taken(output: Terminal) -> tuple[int, Runs]:
    """How many of the last lines are void, and the runs that follow."""
    void, lines = output.take()
    return void, _runs(lines)


def _runs(lines: Sequence[Line]) -> Runs:
    """The newest of the lines, up to what a view keeps, as runs."""
    size, kept = 0, len(lines)
    while kept and size < LOG_LIMIT:
        kept -= 1
        size += len(lines[kept].text) + 1
    runs = []
    for name, group in itertools.groupby(lines[kept:], lambda line: line.stream):
        attempt, _, stream = name.partition(" ")
        runs.append((stream, "\n".join(line.text for line in group), int(attempt)))
    return runs


def _end(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"...{text[-limit:]}"


def _newest(previews: list[Preview]) -> list[Preview]:
    """Those of the newest previews that a view keeps of one task; one is always kept."""
    size = sum(each.size for each in previews)
    while len(previews) > 1 and (len(previews) > SHOWN_LIMIT or size > SHOWN_SIZE_LIMIT):
        size -= previews.pop(0).size
    return previews
