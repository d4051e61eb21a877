"""A run as one invocation of a Lambda function.

The function is called and its answer waited for in a thread. Where that is not possible, because the connection was
lost or another worker had called it, the run is followed by its store alone. A function that is called twice for one
run sees in the store that it has begun, and leaves.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagy.aws  # its names are loaded when they are asked for
from dagy.artifact.run_store import RunStore
from dagy.aws.failures import is_transient, of_function, of_refusal, of_silence
from dagy.backends.limits import LIMITS
from dagy.backends.payloads import WHOLE_FLOW, payload_of
from dagy.control.records import RunInfo
from dagy.errors import CloudError, DagyError, NetworkError, sentence
from dagy.spec import Json
from dagy.states import State, StateType

if TYPE_CHECKING:
    from dagy.aws import Aws, Invoked

logger = logging.getLogger(__name__)

MOST_BYTES = int(0.8 * LIMITS["lambda.payload"].value)
SPARE_SECONDS = 30.0  # after the time of an invocation is up, before it is taken for dead
PATIENCE_SECONDS = 300.0  # that calls which Lambda refuses for want of capacity are made again
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between them
_UNSEEN_SECONDS = 30.0  # until a call that got no answer, and left no trace in the store, is made again
_LONGEST_SECONDS = LIMITS["lambda.timeout"].value
# How the log says that an invocation ended badly.
_ENDINGS = ("Task timed out", "Status: timeout", "Runtime exited", "Runtime.")


class FunctionRun:
    """The run in Lambda; see `dagy.backends.running.Service`."""

    def __init__(self, info: RunInfo, aws: Aws, store: RunStore, clock: Callable[[], float] = time.time) -> None:
        self._info = info
        self._arn = str(info.resources["function"])
        self._seconds = float(str(info.resources.get("timeout_seconds", _LONGEST_SECONDS)))
        self._aws = aws
        self._store = store
        self._clock = clock
        self._call: _Call | None = None
        self._next_call = 0.0  # when it may be called again
        self._pause = _FIRST_PAUSE
        self._give_up: float | None = None

    @property
    def name(self) -> str:
        """The function's."""
        return f"the Lambda function {self._arn.split(':')[6]!r}"

    def start(self) -> None:
        """Call the function."""
        if self._call is None:
            self._invoke()

    def adopt(self, begun: Mapping[str, Json]) -> None:
        """Nothing is to be done: the store tells all, and the clock when that was all."""

    def verdict(self) -> State | None:
        """What the call came to; without one, what follows from the time that the invocation may take."""
        if self._call is not None:
            if not self._call.done.is_set():
                return None
            call, self._call = self._call, None
            return self._outcome(call)
        begun = self._store.begun()
        if begun is None:
            if self._clock() >= self._next_call:
                self._invoke()
            return None
        if self._clock() < float(begun.get("until") or begun["at"] + self._seconds) + SPARE_SECONDS:
            return None
        return of_silence(self._said_in_log(begun), self._info.run_id, self._info.resources)

    def stop(self, reason: str) -> None:
        """Nothing stops an invocation from outside: it hears of the wish, or ends at its limit."""

    def _invoke(self) -> None:
        payload = payload_of(self._info, self._store, most_bytes=MOST_BYTES, more=WHOLE_FLOW)
        self._call = _Call(
            lambda: self._aws.functions.invoke(self._arn, payload, timeout=self._seconds), self._info.run_id
        )

    def _outcome(self, call: _Call) -> State | None:
        """How the run stands after this call; None when only the store can tell, or another call."""
        match call.outcome:
            case dagy.aws.Invoked(error=None, payload=payload):
                return _answered(payload)
            case dagy.aws.Invoked(payload=payload, log_tail=log_tail):
                return of_function(payload, log_tail, self._info.run_id, self._info.resources)
            case NetworkError():
                self._next_call = self._clock() + _UNSEEN_SECONDS
                return None
            case CloudError() as error if is_transient(error) and not self._is_over():
                self._next_call = self._clock() + self._pause
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)
                return None
            case error:
                return of_refusal(error, self.name, self._info.run_id)

    def _is_over(self) -> bool:
        """Whether it was tried for long enough."""
        if self._give_up is None:
            self._give_up = self._clock() + PATIENCE_SECONDS
        return self._clock() >= self._give_up

    def _said_in_log(self, begun: Mapping[str, Any]) -> str:
        """What the function's log says of how that invocation ended; empty when it can't be had."""
        group = begun.get("log_group") or self._info.resources.get("log_group")
        if not group:
            return ""
        try:
            lines = self._aws.logs.read(
                str(group),
                streams=begun.get("log_stream"),
                containing=begun.get("request_id"),
                since=datetime.fromtimestamp(begun["at"], UTC),
            )
            return "\n".join(each.text for each in lines if any(words in each.text for words in _ENDINGS))
        except DagyError as error:
            logger.info("run %s: the log %r can't be read: %s", self._info.run_id, group, error)
            return ""


class _Call:
    """A call of the function in a thread of its own; `outcome` is there when it is `done`."""

    def __init__(self, invoke: Callable[[], Invoked], run_id: str) -> None:
        self.done = threading.Event()
        self.outcome: Invoked | DagyError
        self._invoke = invoke
        threading.Thread(target=self._do, name=f"dagy-{run_id}-invoking", daemon=True).start()

    def _do(self) -> None:
        try:
            self.outcome = self._invoke()
        except DagyError as error:
            self.outcome = error
        except Exception as error:  # noqa: BLE001 (told where it is waited for)
            self.outcome = CloudError(sentence(error), operation="Invoke", code=type(error).__name__)
        self.done.set()


def _answered(payload: bytes) -> State | None:
    """The end that an answer tells of; None for that of a double, which has left at once."""
    try:
        told: Any = json.loads(payload)
        state = StateType(told["state"])
    except (ValueError, LookupError, TypeError):
        return None
    return State(state, str(told.get("message", ""))) if state.is_final else None
