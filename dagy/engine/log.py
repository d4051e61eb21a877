"""The ordered stream of a run's events, which any number of readers follow at their own pace.

A writer appends under the run's lock; a reader asks for what came since the last time, so a slow reader never slows the
run. What a task writes goes on in the task's newest event until somebody reads that: then it is sealed, and what is
written next makes a new event. Lines that a task draws over count once (see `folding`).

All of it is bounded. Of what a task wrote the newest `OUTPUT_LIMIT` characters are kept, of what it displayed the
newest `SHOWN_LIMIT` displays. Events that held older ones stay, empty, so that the numbers do.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterator, Mapping

from dagy.engine.events import Event, TaskChanged, TaskShowed, TaskWrote, new
from dagy.engine.folding import condensed, draws, draws_over, fold
from dagy.states import State

OUTPUT_LIMIT = 1_000_000  # characters of output that are kept for each task
SHOWN_LIMIT = 50  # displays that are kept for each task
_PIECE = 65_536  # characters that one event holds at most
_EVENT_COST = 200  # characters for which an event counts by itself
_DRAWN = 8_192  # characters of text that draws over itself which are not worth condensing
_BATCH = 10_000  # events that a follower gets at once
_PAUSE = 0.02  # seconds between two batches of a follower; meanwhile writes are merged


class EventLog:
    """The events of one run, oldest first, numbered from 0 without gaps."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._grown = threading.Condition(lock)
        self._ended = threading.Condition(lock)
        self._events: list[Event] = []
        self._followers = 0  # that wait for more
        self._outputs: dict[str, _Output] = {}  # by task
        self._open: dict[str, _Output] = {}  # those whose newest event still grows
        self._emptied: dict[tuple[str, int, str], TaskWrote] = {}  # what stands for all emptied events that are alike
        self._shown: dict[str, deque[int]] = {}  # by task, the numbers of its events that still hold a display
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: Event) -> None:
        """Add an event whose `seq` is `len(log)`; the caller holds the lock."""
        self._events.append(event)
        if self._followers:
            self._grown.notify_all()

    def task_changed(self, at: int, task: str, attempt: int, state: State) -> None:
        """Add a `TaskChanged`; the caller holds the lock."""
        events = self._events
        events.append(new(TaskChanged, (len(events), at, task, attempt, state, "task")))
        if self._followers:
            self._grown.notify_all()

    def write(self, at: int, task: str, attempt: int, stream: str, text: str) -> bool:
        """Add text that a task wrote; False when the run has ended and nothing more is taken."""
        with self._lock:
            if self._is_closed:
                return False
            if not text:
                return True
            output = self._outputs.get(task)
            if output is None:
                output = self._outputs[task] = _Output(task)
            if not output.add(attempt, stream, text, self._events):
                for start in range(0, len(text), _PIECE):
                    self._begin(output, at, attempt, stream, text[start : start + _PIECE])
            if output.size > OUTPUT_LIMIT:
                self._let_go(output)
            return True

    def show(
        self, at: int, task: str, attempt: int, data: Mapping[str, object], metadata: Mapping[str, object]
    ) -> None:
        """Add what a task displayed."""
        with self._lock:
            if self._is_closed:
                return
            if task in self._open:
                self._seal(self._open[task])
            shown = self._shown.setdefault(task, deque())
            number = len(self._events)
            self.append(TaskShowed(number, at, task, attempt, data, metadata))
            shown.append(number)
            if len(shown) > SHOWN_LIMIT:
                oldest = self._events[shown.popleft()]
                if type(oldest) is TaskShowed:
                    self._events[oldest.seq] = oldest._replace(data={}, metadata={})

    def since(self, seq: int) -> list[Event]:
        """The events from number `seq` on, at once; maybe none."""
        return self._read(seq, None)

    def follow(self, seq: int = 0) -> Iterator[Event]:
        """The events from number `seq` on, waiting for more until the run has ended.

        They come in batches, some `_PAUSE` apart, so that who follows closely does not hold up the run.
        """
        while True:
            with self._grown:
                self._followers += 1
                try:
                    while len(self._events) <= seq and not self._is_closed:
                        self._grown.wait()
                finally:
                    self._followers -= 1
                batch = self._read(seq, seq + _BATCH)
            if not batch:
                return
            yield from batch
            seq += len(batch)
            with self._ended:
                if not self._is_closed and len(self._events) - seq < _BATCH:
                    self._ended.wait(_PAUSE)

    def close(self) -> None:
        """No event will follow."""
        with self._lock:
            self._is_closed = True
            self._grown.notify_all()
            self._ended.notify_all()

    def outputs(self) -> Mapping[str, str]:
        """For each task that wrote something what is kept of it: the lines of its streams, as a terminal has them."""
        with self._lock:
            self._seal_all()
            return {task: self._text(output) for task, output in self._outputs.items()}

    def _read(self, start: int, end: int | None) -> list[Event]:
        with self._lock:
            self._seal_all()
            batch = self._events[start:end]
            if self._emptied:
                return [
                    each if each.seq >= 0 else each._replace(seq=number) for number, each in enumerate(batch, start)
                ]
            return batch

    def _begin(self, output: _Output, at: int, attempt: int, stream: str, text: str) -> None:
        if output.number is not None:
            self._seal(output)
        number = len(self._events)
        self.append(TaskWrote(number, at, output.task, attempt, stream, text))
        output.begin(number, attempt, stream, text)
        self._open[output.task] = output

    def _seal_all(self) -> None:
        for output in list(self._open.values()):
            self._seal(output)

    def _seal(self, output: _Output) -> None:
        """Nothing more goes into the event that was open."""
        number, stream = output.seal(self._events)
        self._open.pop(output.task, None)
        event = self._events[number]
        if type(event) is not TaskWrote or not draws(event.text):
            output.drawings.pop(stream, None)
            return
        # Of bars that are drawn anew the first event tells where they stand and the last how they look.
        drawings = output.drawings.setdefault(stream, [])
        older = self._events[drawings[-1]] if drawings else None
        if type(older) is not TaskWrote or older.attempt != event.attempt or not draws_over(event.text, older.text):
            drawings.clear()
        elif len(drawings) > 1:
            output.kept.remove(drawings.pop())
            self._empty(output, older)
        drawings.append(number)

    def _let_go(self, output: _Output) -> None:
        """Drop the oldest text of a task, and leave on the oldest event that is kept how much is gone."""
        dropped = 0
        while output.size > OUTPUT_LIMIT:
            event = self._events[output.kept.pop(0)]
            if type(event) is TaskWrote:
                dropped += len(event.text) + event.dropped
                self._empty(output, event)
        oldest = self._events[output.kept[0]]
        if type(oldest) is TaskWrote:
            self._events[oldest.seq] = oldest._replace(dropped=oldest.dropped + dropped)

    def _empty(self, output: _Output, event: TaskWrote) -> None:
        output.size -= len(event.text) + _EVENT_COST
        alike = (event.task, event.attempt, event.stream)
        if alike not in self._emptied:
            self._emptied[alike] = event._replace(seq=-1, text="", dropped=0)
        self._events[event.seq] = self._emptied[alike]

    def _text(self, output: _Output) -> str:
        events = [event for event in map(self._events.__getitem__, output.kept) if type(event) is TaskWrote]
        dropped = sum(event.dropped for event in events)
        head = f"[{dropped} characters dropped]\n" if dropped else ""
        text = "".join(event.text for event in events)
        if not draws(text) and all(event.text.endswith("\n") for event in events[:-1]):
            return head + text
        return head + fold((f"{event.attempt} {event.stream}", event.text) for event in events)


class _Output:
    """What a task wrote: which events hold it, and the text of the one that is open, which is not in the event yet."""

    __slots__ = ("_attempt", "_enough", "_is_drawn", "_length", "_more", "_stream", "drawings", "kept", "number",
                 "size", "task")  # fmt: skip

    def __init__(self, task: str) -> None:
        self.task = task
        self.kept: list[int] = []  # the numbers of the events that hold text, oldest first
        self.size = 0  # of these events
        self.drawings: dict[str, list[int]] = {}  # by stream, the first and last events that draw the same bars
        self.number: int | None = None  # of the event that is open
        self._attempt = 0
        self._stream = ""
        self._length = 0  # of the open event's text
        self._more: io.StringIO | None = None  # the open event's text, once there is more than the event holds
        self._is_drawn = False
        self._enough = _DRAWN  # characters at which it is worth condensing

    def begin(self, number: int, attempt: int, stream: str, text: str) -> None:
        """A new event, which holds `text`, is open."""
        self.kept.append(number)
        self.number, self._attempt, self._stream = number, attempt, stream
        self._length = len(text)
        self._more = None
        self._is_drawn = draws(text)
        self._enough = _DRAWN
        self.size += len(text) + _EVENT_COST

    def add(self, attempt: int, stream: str, text: str, events: list[Event]) -> bool:
        """Add to the event that is open; whether there is one that takes it."""
        length = self._length + len(text)
        if self.number is None or stream != self._stream or attempt != self._attempt or length > _PIECE:
            return False
        if self._more is None:
            before = self._text(events)
            self._more = io.StringIO()
            self._more.write(before)
        self._more.write(text)
        self._length = length
        self.size += len(text)
        if self._is_drawn or draws(text):
            self._is_drawn = True
            if length > self._enough:
                self._condense(events)
        return True

    def seal(self, events: list[Event]) -> tuple[int, str]:
        """Put all text into the event that was open; the event's number and stream."""
        assert self.number is not None  # asked for an open one only
        number = self.number
        if self._is_drawn:
            self._condense(events)
        if self._more is not None:
            event = events[number]
            if type(event) is TaskWrote:
                events[number] = event._replace(text=self._more.getvalue())
        self.number, self._more = None, None
        return number, self._stream

    def _condense(self, events: list[Event]) -> None:
        text = condensed(self._text(events))
        self._more = io.StringIO()
        self._more.write(text)
        self.size -= self._length - len(text)
        self._length = len(text)
        self._enough = max(_DRAWN, 2 * len(text))

    def _text(self, events: list[Event]) -> str:
        if self._more is not None:
            return self._more.getvalue()
        event = events[self.number or 0]
        return event.text if type(event) is TaskWrote else ""
