"""The ordered stream of a run's events, which any number of readers follow at their own pace.

A writer appends under the run's lock; a reader asks for what came since the last time, so a slow reader never slows the
run. What a task wrote is bounded: past `OUTPUT_LIMIT` characters a task its oldest text is let go, past `SHOWN_LIMIT`
displays its oldest display. The emptied events stay, so that the numbers do.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping

from dagy.engine.events import Event, TaskShowed, TaskWrote

OUTPUT_LIMIT = 1_000_000  # characters of output that are kept for each task
SHOWN_LIMIT = 50  # displays that are kept for each task
_MERGE_LIMIT = 4_096  # characters up to which writes are merged into one event
_PIECE = 65_536  # characters that one event holds at most


class EventLog:
    """The events of one run, oldest first; `log[seq]` is the event with that number."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._grown = threading.Condition(lock)
        self._events: list[Event] = []
        self._followers = 0
        self._handed_out = 0  # events below this number have been read: nothing is merged into them
        self._kept: dict[str, deque[int]] = {}  # by task, the numbers of its events that still hold text
        self._size: dict[str, int] = {}
        self._shown: dict[str, deque[int]] = {}  # by task, the numbers of its events that still hold a display
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: Event) -> None:
        """Add an event whose `seq` is `len(log)`; the caller holds the lock."""
        self._events.append(event)
        if self._followers:
            self._grown.notify_all()

    def write(self, at: int, task: str, attempt: int, stream: str, text: str) -> None:
        """Add text that a task wrote, merged with what it wrote just before."""
        with self._lock:
            if self._is_closed:  # a thread that was given up still writes
                return
            for start in range(0, len(text), _PIECE):
                self._write_piece(at, task, attempt, stream, text[start : start + _PIECE])

    def show(
        self, at: int, task: str, attempt: int, data: Mapping[str, object], metadata: Mapping[str, object]
    ) -> None:
        """Add what a task displayed."""
        with self._lock:
            if self._is_closed:
                return
            shown = self._shown.setdefault(task, deque())
            shown.append(len(self._events))
            self.append(TaskShowed(len(self._events), at, task, attempt, data, metadata))
            if len(shown) > SHOWN_LIMIT:
                oldest = self._events[shown.popleft()]
                if type(oldest) is TaskShowed:
                    self._events[oldest.seq] = oldest._replace(data={}, metadata={})

    def since(self, seq: int) -> list[Event]:
        """The events from number `seq` on, at once; maybe none."""
        with self._lock:
            self._handed_out = len(self._events)
            return self._events[seq:]

    def follow(self, seq: int = 0) -> Iterator[Event]:
        """The events from number `seq` on, waiting for more until the run has ended."""
        while True:
            with self._grown:
                self._followers += 1
                try:
                    while len(self._events) <= seq and not self._is_closed:
                        self._grown.wait()
                finally:
                    self._followers -= 1
                batch = self.since(seq)
            if not batch:
                return
            yield from batch
            seq += len(batch)

    def close(self) -> None:
        """No event will follow."""
        with self._grown:
            self._is_closed = True
            self._grown.notify_all()

    def outputs(self) -> Mapping[str, str]:
        """For each task that wrote something what is kept of it, whole lines of all its streams in order."""
        with self._lock:
            return {task: "".join(self._text(number) for number in numbers) for task, numbers in self._kept.items()}

    def _write_piece(self, at: int, task: str, attempt: int, stream: str, text: str) -> None:
        last = self._events[-1] if len(self._events) > self._handed_out else None
        if (
            type(last) is TaskWrote
            and last.task == task
            and last.attempt == attempt
            and last.stream == stream
            and len(last.text) + len(text) <= _MERGE_LIMIT
        ):
            self._events[-1] = last._replace(text=last.text + text)
        else:
            self._kept.setdefault(task, deque()).append(len(self._events))
            self.append(TaskWrote(len(self._events), at, task, attempt, stream, text))
        self._size[task] = self._size.get(task, 0) + len(text)
        if self._size[task] > OUTPUT_LIMIT:
            self._let_go(task)

    def _text(self, number: int) -> str:
        event = self._events[number]
        if type(event) is not TaskWrote:
            return ""
        return f"[{event.dropped} characters dropped]\n{event.text}" if event.dropped else event.text

    def _let_go(self, task: str) -> None:
        """Drop the oldest text of `task`, and leave on the oldest event that is kept how much is gone."""
        numbers = self._kept[task]
        dropped = 0
        while self._size[task] > OUTPUT_LIMIT:
            event = self._events[numbers.popleft()]
            if type(event) is TaskWrote:
                self._size[task] -= len(event.text)
                dropped += len(event.text) + event.dropped
                self._events[event.seq] = event._replace(text="", dropped=0)
        oldest = self._events[numbers[0]]
        if type(oldest) is TaskWrote:
            self._events[oldest.seq] = oldest._replace(dropped=oldest.dropped + dropped)
