"""What the control plane is told of one run: in order, each thing once, and later what it can't be told now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from dagy.control.records import Claim, Renewal, Report
from dagy.errors import AuthError, ConflictError, DagyError, NetworkError, StoreError, UnknownRunError
from dagy.spec import Json
from dagy.states import State, StateType

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
LISTEN_SECONDS = 0.4  # how often it is asked whether the run is to be cancelled
MOST_EVENTS = 500  # in one report
MOST_CHARACTERS = 500_000  # of output in one report, unless one event has more

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds before it is tried again, growing


class LostLeaseError(DagyError):
    """The run is another worker's by now, or ended by somebody else: nothing that is told of it counts any more."""


class ReportsTo(Protocol):
    """What takes reports: of a `DagyClient`, that part."""

    def renew(self, run_id: str, fence: int, *, lease_seconds: float = 60.0) -> Renewal:
        """Keep the run."""

    def report(self, run_id: str, fence: int, report: Report) -> Renewal:
        """Tell of the run, and keep it."""


class Reporter:
    """Tells of one run. `reported` counts the events that have arrived; `cancel_reason` is what was answered last.

    Only one thread may use it. What can't be delivered is tried again later; `LostLeaseError` when it never will be.
    """

    def __init__(self, client: ReportsTo, claim: Claim, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._run_id = claim.run.run_id
        self._fence = claim.fence
        self._clock = clock
        self._next_try = 0.0
        self._pause = 0.0
        self._heard_at = clock()
        self.reported = 0
        self.cancel_reason: str | None = claim.run.cancel_reason

    @property
    def seconds_to_wait(self) -> float:
        """How long before it makes sense to try again; 0 when nothing stands in the way."""
        return max(0.0, self._next_try - self._clock())

    def tell(
        self, events: Sequence[Mapping[str, Json]], state: State | None = None, *, result: tuple[Json] | None = None
    ) -> bool:
        """Tell of `events`, the first of which has the number `reported`, then of the state; whether all has arrived.

        Events are as `dagy.runs.event_to_json` has them, and `result` holds what the flow returned. Without anything to
        tell, the lease is renewed and a wish to cancel is heard, as often as need be.
        """
        if self.seconds_to_wait:
            return False
        if not events and state is None:
            return self._listen()
        parts = list(portions(events)) or [()]
        for number, part in enumerate(parts, 1):
            told = tuple(part)
            report = Report(told)
            if number == len(parts) and state is not None:
                report = _of_state(told, state, result)
            if not self._delivered(report):
                return False
            self.reported += len(part)
        return True

    def _listen(self) -> bool:
        if self._clock() < self._heard_at + LISTEN_SECONDS:
            return True
        return self._asked(lambda: self._client.renew(self._run_id, self._fence, lease_seconds=LEASE_SECONDS))

    def _delivered(self, report: Report) -> bool:
        return self._asked(lambda: self._client.report(self._run_id, self._fence, report))

    def _asked(self, ask: Callable[[], Renewal]) -> bool:
        try:
            renewal = ask()
        except (ConflictError, UnknownRunError) as error:
            raise LostLeaseError(str(error)) from error
        except (AuthError, NetworkError, StoreError) as error:
            if not self._pause:
                logger.warning("run %s can't be reported, and will be later: %s", self._run_id, error)
            self._pause = min(max(_FIRST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
            self._next_try = self._clock() + self._pause
            return False
        self._pause = 0.0
        self._heard_at = self._clock()
        self.cancel_reason = renewal.cancel_reason
        return True


def portions(events: Sequence[Mapping[str, Json]]) -> Iterator[Sequence[Mapping[str, Json]]]:
    """The events in pieces, each as much as one report takes."""
    start, size = 0, 0
    for number, event in enumerate(events):
        length = len(event.get("text", ""))
        if number > start and (number - start >= MOST_EVENTS or size + length > MOST_CHARACTERS):
            yield events[start:number]
            start, size = number, 0
        size += length
    if start < len(events):
        yield events[start:]


def _of_state(told: tuple[Mapping[str, Json], ...], state: State, result: tuple[Json] | None) -> Report:
    if result is None or state.type is not StateType.COMPLETED:
        return Report(told, state.type, state.message)
    return Report(told, state.type, state.message, result[0], True)
