"""The events of a run on AWS, from its store: each told once, also when another worker goes on with the telling.

Functions write what happens in batches, each with a key that sorts by time. Writers are many, and their clocks differ a
little, so a batch may turn up before one that was read already. So the feed remembers which batches were told. A worker
that takes a run over reads that from what the control plane has: the first event of each batch carries its key.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from dagy.engine import RunChanged, TaskChanged
from dagy.errors import StoreError
from dagy.runs import event_from_json, event_to_json
from dagy.spec import Json
from dagy.states import State, StateType

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 2_000  # events, about: so many are held in memory

_KEY = "batch"  # of an event: the key of the batch that begins with it


class Batches(Protocol):
    """The part of a run's store that is read here."""

    def events(self, after: str | None, seen: Container[str]) -> Iterator[tuple[str, list[dict[str, Json]]]]:
        """Batches of events with their keys, by key, from a while before `after` on, without those that were seen."""


class EventFeed:
    """What there is to tell of a run, as JSON without `seq`, in order.

    It follows how the run and its tasks stand by what was told: see `is_ended` and `endings`.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._seen: set[str] = set()
        self._last: str | None = None  # the newest key that was read
        self._half: tuple[str, int] | None = None  # the batch that was told last, and how many of its events were
        self._waiting: list[dict[str, Json]] = []  # read, and not given yet
        self._open: dict[str, int] = {}  # tasks that have begun and not ended, with their attempts
        self.is_ended = False
        """Whether the run's own end was told."""

    def know(self, told: Iterable[Mapping[str, Json]]) -> None:
        """What the control plane has of the run already, in order, which is not told again."""
        for event in told:
            key = event.get(_KEY)
            if isinstance(key, str):
                self._keep(key)
                self._half = (key, 0)
            if self._half is not None:
                self._half = (self._half[0], self._half[1] + 1)
            self._note(event)

    def news(self, *, from_the_start: bool = False) -> list[dict[str, Json]]:
        """What is new, some thousands at most. With `from_the_start` also what turned up very late.

        Raises as the store; nothing is lost then, and the next call gives it.
        """
        if self._half is not None:  # of that one the end may be missing, and it is told first
            self._seen.discard(self._half[0])
        after = None if from_the_start or self._half is not None else self._last
        for key, batch in self._batches.events(after, self._seen):
            events = self._read(key, batch)
            if self._half is not None and key == self._half[0]:
                self._waiting = events[self._half[1] :] + self._waiting
                self._half = None
            else:
                self._waiting += events
            self._keep(key)
            if self._half is None and len(self._waiting) >= MOST_AT_ONCE:
                break
        self._half = None
        found, self._waiting = self._waiting, []
        for each in found:
            self._note(each)
        return found

    def endings(self, state: State, at: int, why: State) -> list[dict[str, Json]]:
        """The last events of a run that ended in `state` without telling so: tasks that had begun end as `why`.

        `at` is the time in nanoseconds since the epoch. Nothing when its end was told.
        """
        if self.is_ended:
            return []
        last: list[dict[str, Json]] = [
            _without_seq(event_to_json(TaskChanged(0, at, task, attempt, why))) for task, attempt in self._open.items()
        ]
        last.append(_without_seq(event_to_json(RunChanged(0, at, state))))
        for each in last:
            self._note(each)
        return last

    def _keep(self, key: str) -> None:
        self._seen.add(key)
        if self._last is None or key > self._last:
            self._last = key

    def _read(self, key: str, batch: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
        """The batch's events, checked; of one that is damaged nothing."""
        try:
            read = [_without_seq(event_to_json(event_from_json({**each, "seq": 0}))) for each in batch]
        except StoreError as error:
            logger.warning("the events at %r can't be told: %s", key, error)
            return []
        if read:
            read[0][_KEY] = key
        return read

    def _note(self, event: Mapping[str, Json]) -> None:
        """How the run and its tasks stand after this event."""
        if event["kind"] not in {"run", "task"}:
            return
        has_ended = StateType(event["state"]).is_final
        if event["kind"] == "run":
            self.is_ended = has_ended
        elif has_ended:
            self._open.pop(event["task"], None)
        elif event["state"] != StateType.PENDING:
            self._open[event["task"]] = event["attempt"]


def numbered(events: Iterable[Mapping[str, Json]], first: int) -> list[dict[str, Json]]:
    """The events with their numbers, from `first` on."""
    return [{**each, "seq": seq} for seq, each in zip(itertools.count(first), events, strict=False)]


def _without_seq(event: dict[str, Json]) -> dict[str, Json]:
    del event["seq"]
    return event
