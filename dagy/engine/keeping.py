"""What the driver asks of whoever keeps what lasts of a run: a recorder of its history, a cache of its results.

The engine knows these two seams alone; `dagy.runs` stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dagy.engine.log import EventLog
from dagy.errors import StoreError
from dagy.program import Program, TaskCode
from dagy.spec import TaskSpec
from dagy.states import State
from dagy.values import Deferred


class Recorder(Protocol):
    """Keeps one run.

    `begin` comes first, then `begin_attempt`, `keep` and `write` from any thread, then `end`, and last `close`.
    The events it reads for itself, from the log and at its own pace.
    """

    def begin(
        self,
        run_id: str,
        program: Program,
        parameters: Mapping[str, Any],
        log: EventLog,
        give_up: Callable[[StoreError], None],
    ) -> None:
        """The run is about to start; when this returns it will not be forgotten, whatever happens.

        `give_up` is to be called, once, when the run can't be kept any longer, so that it stops. Raises `StoreError`.
        """

    def begin_attempt(self, task: str) -> None:
        """The code of a task, or of one of its items, begins now: should this process die, that is to be known.

        Called in the attempt's own thread. Never raises.
        """

    def keep(self, task: str, item: int | None, attempt: int, value: object) -> None:
        """Keep what an attempt returned (`item`: which item of a mapped task), before it counts as completed.

        Called in the attempt's own thread. A value that can't be kept is noted as such. Raises `StoreError`.
        """

    def write(self, at: int, task: str, attempt: int, stream: str, text: str) -> None:
        """Keep what a task wrote at `at` (nanoseconds since the epoch), all of it.

        `stream` is "stdout", "stderr", "log", or "error" for the traceback of what an attempt raised.
        """

    def end(self, state: State, at: int, value: object) -> None:
        """The run has ended; when this returns, its end and all events so far are kept. Raises `StoreError`.

        What may still come are the failures of the flow's own hooks, and the event of the run's end.
        """

    def close(self) -> None:
        """Keep the last events, and let go of everything. Never raises: the run's end is kept already."""


class CacheEntry(Protocol):
    """What a cache knows of one call."""

    @property
    def found(self) -> Deferred | None:
        """What the same call returned before, or None."""

    @property
    def note(self) -> str:
        """Where a found result came from, for people."""

    def keep(self, value: object) -> None:
        """Keep what the call returned; never raises: a cache that can't keep something is only slower."""


class Cache(Protocol):
    """Finds what the same code returned before for the same inputs."""

    def look_up(self, task: TaskSpec, code: TaskCode, inputs: Mapping[str, Any]) -> CacheEntry:
        """The entry of a call; called in the attempt's own thread, never raises."""

    def close(self) -> None:
        """Give back what it holds; it may be used again. Never raises."""
