"""What one invocation has at hand: a store, its time, and whoever may end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dagy.artifact.recording import StoreRecorder
from dagy.artifact.references import Values
from dagy.artifact.telling import Echo
from dagy.engine import RunOptions, RunResult, start
from dagy.program import Program
from dagy.spec import Json

GRACE_SECONDS = 1.0  # that tasks have to end when they are told to


class StopSwitch:
    """Ends the run that goes on in this process, when whatever runs the process wants it to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[str], object] | None = None
        self.reason: str | None = None

    def ask(self, reason: str) -> None:
        """End the run that goes on, or the one that begins next; returns at once, and may be called by a signal."""
        if self.reason is None:
            self.reason = reason
            # A signal may come to the thread that holds the run's lock.
            threading.Thread(target=self._pass_on, name="dagy-stop", daemon=True).start()

    def attach(self, stop: Callable[[str], object]) -> None:
        """`stop(reason)` ends the run that goes on now."""
        with self._lock:
            self._stop = stop
        if self.reason is not None:
            self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            stop = self._stop
        if stop is not None and self.reason is not None:
            stop(self.reason)


@dataclass(frozen=True)
class Invocation:
    """What an invocation has at hand."""

    values: Values
    code_hash: str = ""  # of the artifact
    ends_at: float | None = None  # by `time.monotonic()`: when its tasks must have ended; None: it has all the time
    place: Mapping[str, Json] = field(default_factory=dict)  # where it goes on, as `RunStore.begin` takes it
    tries_again: bool = False  # whether a task that is worth another try gets that here, and not from who invokes
    switch: StopSwitch = field(default_factory=StopSwitch)

    @property
    def seconds_left(self) -> float | None:
        """How long its tasks may take from now on."""
        return None if self.ends_at is None else max(0.0, self.ends_at - time.monotonic())


class Ran(NamedTuple):
    """A run that has ended, and the end of what its tasks wrote."""

    result: RunResult
    output: str


def run_here(
    program: Program,
    given: Mapping[str, Any],
    options: RunOptions,
    invocation: Invocation,
    recorder: StoreRecorder | None,
) -> Ran:
    """Run it and wait for its end; what it does not do in time is stopped."""
    handle = start(program, given, options)
    echo = Echo(handle)
    if recorder is not None:
        recorder.stop_with(handle.cancel)
    invocation.switch.attach(handle.cancel)
    return Ran(handle.wait(), echo.tail())
