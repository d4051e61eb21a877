"""Keeps a run in its store while it goes: its events, and what its tasks return.

One thread writes both in batches, the first soon and then about one a second, so a task costs no request of its own;
only a large result is written at once. Nothing of that fails the run: what can't be kept is left out, and said in the
log. The thread also looks whether somebody wants the run to stop.
"""

from __future__ import annotations

import functools
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dagy.artifact.run_store import RunStore, at_once, result_key
from dagy.engine import Event, TaskShowed, TaskWrote
from dagy.engine.log import EventLog
from dagy.engine.run_values import opened
from dagy.errors import DagyError, StoreError
from dagy.program import Program
from dagy.runs.event_json import event_to_json
from dagy.spec import Json
from dagy.states import State

FIRST_SECONDS, BATCH_SECONDS = 0.3, 1.0  # between batches
LOOK_SECONDS = 2.0  # between looks for what ends the run
MOST_TEXT = 1_000_000  # characters of output and displays in one batch
MOST_TEXT_IN_ALL = 20_000_000  # of one invocation; what follows is only in the log

logger = logging.getLogger(__name__)


class StoreRecorder:
    """What `dagy.engine.keeping` asks of a recorder, for a run in the cloud.

    `told` makes of an event the one that is kept, or None. `looks` finds out why the run is to stop, if it is. With
    `keeps_results` the results are there for a run that goes on with this one. Once the run has ended, `finish`.
    """

    def __init__(
        self,
        store: RunStore,
        *,
        told: Callable[[Event], Event | None] = lambda event: event,
        looks: Callable[[], str | None] | None = None,
        keeps_events: bool = True,
        keeps_results: bool = False,
    ) -> None:
        self._store = store
        self._told = told
        self._looks = looks
        self._keeps_events = keeps_events
        self._keeps_results = keeps_results
        self._stop: Callable[[str], object] | None = None
        self._log: EventLog | None = None
        self._seen = 0
        self._text = 0
        self._results: dict[str, Json] = {}
        self._errors: list[Event] = []
        self._adding = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"dagy-{store.run_id}-keeping", daemon=True)

    def stop_with(self, stop: Callable[[str], object]) -> None:
        """`stop(reason)` ends the run that is recorded."""
        self._stop = stop

    # ---- for the engine

    def begin(
        self,
        run_id: str,
        program: Program,
        parameters: Mapping[str, Any],
        log: EventLog,
        give_up: Callable[[StoreError], None],
    ) -> None:
        """The run is about to start."""
        self._log = log
        self._thread.start()

    def begin_attempt(self, task: str) -> None:
        """Nothing: the events say it."""

    def keep(self, task: str, item: int | None, attempt: int, value: object) -> None:
        """Keep what an attempt returned, for a run that goes on with this one."""
        if not self._keeps_results:
            return
        name = task if item is None else f"{task}[{item}]"
        try:
            carried = self._store.carried(opened(value), task, item, called=f"the result of {name!r}")
        except DagyError as error:
            logger.warning("a run that goes on with %s computes %r again: %s", self._store.run_id, name, error)
            return
        with self._adding:
            self._results[result_key(task, item)] = carried

    def write(self, at: int, task: str, attempt: int, stream: str, text: str) -> None:
        """Keep the traceback of what an attempt raised beside the events, which hold the rest."""
        if stream == "error":
            with self._adding:
                self._errors.append(TaskWrote(0, at, task, attempt, stream, text))

    def end(self, state: State, at: int, value: object) -> None:
        """Nothing: see `finish`."""

    def close(self) -> None:
        """Nothing: see `finish`."""

    # ---- for the handler

    def finish(self, more: Sequence[Event] = ()) -> None:
        """Keep the last events and then `more`, and the last results."""
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()
        at_once(lambda keep: keep(), [functools.partial(self._keep_events, more), self._keep_results])

    def _serve(self) -> None:
        pause, look_at = FIRST_SECONDS, time.monotonic()
        while not self._is_over.wait(pause):
            self._keep_events()
            self._keep_results()
            if time.monotonic() >= look_at:
                self._look()
                look_at = time.monotonic() + LOOK_SECONDS
            pause = BATCH_SECONDS

    def _look(self) -> None:
        try:
            reason = self._looks() if self._looks is not None else None
        except DagyError as error:
            logger.warning("whether run %s is to stop can't be seen: %s", self._store.run_id, error)
            return
        if reason is not None and self._stop is not None:
            self._stop(reason)

    def _keep_events(self, more: Sequence[Event] = ()) -> None:
        if self._log is None or not self._keeps_events:
            return
        events = self._log.since(self._seen)
        self._seen += len(events)
        with self._adding:
            errors, self._errors = self._errors, []
        if errors:
            events = sorted([*events, *errors], key=lambda each: each.at)
        told = [each for each in map(self._told, events) if each is not None and self._has_room(each)]
        try:
            for batch in _batches([event_to_json(each) for each in itertools.chain(told, more)]):
                self._store.add_events(batch)
        except Exception as error:  # noqa: BLE001 (whatever it is, the run goes on)
            logger.warning("events of run %s are lost: %s", self._store.run_id, error)

    def _has_room(self, event: Event) -> bool:
        if isinstance(event, TaskWrote):
            self._text += len(event.text)
        elif isinstance(event, TaskShowed):
            self._text += sum(len(each) for each in event.data.values() if isinstance(each, str))
        else:
            return True
        return self._text <= MOST_TEXT_IN_ALL

    def _keep_results(self) -> None:
        with self._adding:
            results, self._results = self._results, {}
        if not results:
            return
        try:
            self._store.add_results(results)
        except Exception as error:  # noqa: BLE001 (whatever it is, the run goes on)
            logger.warning("results of run %s are not kept for a run that goes on with it: %s",
                           self._store.run_id, error)  # fmt: skip


def _batches(events: Sequence[dict[str, Json]]) -> Iterator[list[dict[str, Json]]]:
    batch: list[dict[str, Json]] = []
    size = 0
    for each in events:
        text = each.get("text") or each.get("data") or ""
        length = len(text) if isinstance(text, str) else sum(len(str(part)) for part in text.values())
        if batch and size + length > MOST_TEXT:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += length
    if batch:
        yield batch
