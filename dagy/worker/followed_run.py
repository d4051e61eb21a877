"""One run on AWS that this worker has claimed: begun there, and followed from there to the control plane.

The run does not need its worker. When that is stopped, or dies, the run goes on, and whichever worker claims it next
goes on with the telling: what the control plane has is not told again, and what has begun is not begun again.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from dagy.backends.event_feed import numbered
from dagy.backends.running import Connect, News, RemoteRun, pause_at, remote_run
from dagy.control.records import Claim
from dagy.errors import (
    AuthError,
    BackendError,
    CloudError,
    DagyError,
    MissingExtraError,
    NetworkError,
    SettingsError,
    StoreError,
    sentence,
)
from dagy.runs.faults import point
from dagy.spec import Json
from dagy.states import State, StateType, cancelled, failed, queued, running
from dagy.worker.reporting import LISTEN_SECONDS, LostLeaseError, Reporter, ReportsTo

logger = logging.getLogger(__name__)

MOST_EVENTS = 1_000  # of the control plane's, read at once
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0  # seconds between two tries of what does not answer

# What may be over when it is tried again, on this machine or with the help of who reads of it.
_TROUBLE = (AuthError, CloudError, MissingExtraError, NetworkError, SettingsError, StoreError)

T = TypeVar("T")


class KnowsEvents(ReportsTo, Protocol):
    """What runs are taken from: of a `DagyClient`, that part."""

    def events(self, run_id: str, *, since: int = 0, limit: int = 1000) -> Sequence[Mapping[str, Json]]:
        """The run's events from number `since` on."""


class FollowedRun:
    """A run on AWS that this worker has claimed. It is followed in a thread; `ended` is called when all is told."""

    def __init__(
        self,
        client: KnowsEvents,
        claim: Claim,
        *,
        connect: Connect,
        said: Callable[[str], object],
        ended: Callable[[FollowedRun], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_id = claim.run.run_id
        self._client = client
        self._info = claim.run
        self._known = claim.events  # how many of its events the control plane has
        self._connect = connect
        self._said = said
        self._ended = ended
        self._clock = clock
        self._reporter = Reporter(client, claim)
        self._reporter.reported = claim.events
        self._is_told_to_run = claim.run.status is StateType.RUNNING
        self._left = threading.Event()  # the worker ends: another one follows the run
        self._thread = threading.Thread(target=self._serve, name=f"dagy-{self.run_id}-followed", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def cancel(self, reason: str) -> None:
        """The worker ends; the run does not."""
        self._left.set()

    def hurry(self) -> None:
        """Leave the run to the next worker; may be called from any thread."""
        self._left.set()

    # ---- the thread

    def _serve(self) -> None:
        try:
            point("worker.claimed")
            self._follow()
        except LostLeaseError as error:
            self._said(f"{self.run_id}: given up: {error}")
        except _LeftError:
            self._said(f"{self.run_id}: goes on on AWS; the next worker follows it")
        except Exception as error:
            logger.exception("run %s can't be followed", self.run_id)
            self._give_up(error)
        finally:
            self._ended(self)

    def _give_up(self, error: Exception) -> None:
        try:
            self._deliver(failed(f"it can't be followed: {sentence(error)}"))
        except (DagyError, _LeftError) as refusal:
            logger.warning("run %s can't be reported: %s", self.run_id, refusal)

    def _follow(self) -> None:
        try:
            remote = self._patiently(lambda: remote_run(self._info, self._connect), is_lasting=self._is_told_to_run)
            if not self._is_told_to_run:  # it has not begun, and what it needs may be missing
                self._patiently(remote.has_begun, is_lasting=False)
        except (BackendError, *_TROUBLE) as error:
            self._end_early(failed(str(error)))
            return
        except _CancelledError as wish:
            self._end_early(cancelled(str(wish)))
            return
        if self._known:
            self._patiently(lambda: remote.know(self._told()))
        if not self._is_told_to_run:
            self._deliver(running())  # from here on it may have effects, and whoever finds it alone is to know
            self._is_told_to_run = True
        point("worker.ready")
        self._patiently(remote.start)
        point("worker.started")
        self._said(f"{self.run_id}: running on AWS ({self._info.executor})")
        news = self._until_end(remote)
        point("worker.before_end")
        assert news.state is not None
        self._deliver(news.state, news.events, result=news.result)
        point("worker.after_end")
        self._said(f"{self.run_id}: {news.state}")

    def _end_early(self, state: State) -> None:
        self._deliver(state)
        self._said(f"{self.run_id}: {state}")

    def _until_end(self, remote: RemoteRun) -> News:
        """The last news; all before that are told."""
        began = self._clock()
        while True:
            news = self._patiently(remote.poll)
            if news.is_final:
                return news
            self._deliver(None, news.events)
            point("worker.running")
            self._wait(pause_at(self._clock() - began), remote)

    def _wait(self, seconds: float, remote: RemoteRun) -> None:
        """Until the next look: meanwhile the lease is renewed, and a wish to cancel is heard."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            self._rest(min(left, LISTEN_SECONDS))
            self._reporter.tell(())
            wish = self._reporter.cancel_reason
            if wish is not None:
                self._patiently(functools.partial(remote.cancel, wish))

    def _rest(self, seconds: float) -> None:
        if self._left.wait(seconds):
            raise _LeftError

    def _told(self) -> list[Mapping[str, Json]]:
        """What the control plane has of its events."""
        found: list[Mapping[str, Json]] = []
        while len(found) < self._known:
            part = self._client.events(self.run_id, since=len(found), limit=MOST_EVENTS)
            if not part:
                break
            found += part
        return found

    def _deliver(
        self, state: State | None, events: Sequence[Mapping[str, Json]] = (), *, result: tuple[Json] | None = None
    ) -> None:
        """Tell of the events, and of the state then, however long that takes."""
        told = numbered(events, self._reporter.reported)
        first = self._reporter.reported
        while (told or state is not None) and not self._reporter.tell(
            told[self._reporter.reported - first :], state, result=result
        ):
            self._rest(self._reporter.seconds_to_wait)

    def _patiently(self, ask: Callable[[], T], *, is_lasting: bool = True) -> T:
        """What `ask` answers, which is asked ever less often while AWS, or the control plane, gives no answer.

        The run says meanwhile why nothing is heard of it. Unless `is_lasting` only a network's failure is waited out,
        until the run is to be cancelled.
        """
        pause, told = 0.0, ""
        while True:
            if not is_lasting and self._reporter.cancel_reason is not None:
                raise _CancelledError(self._reporter.cancel_reason)
            self._rest(pause)
            try:
                answer = ask()
            except _TROUBLE as error:
                if not is_lasting and not isinstance(error, NetworkError):
                    raise
                told = self._tell_trouble(error, told)
                pause = min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                continue
            if told:
                self._reporter.tell((), running() if self._is_told_to_run else queued())
            return answer

    def _tell_trouble(self, error: DagyError, told: str) -> str:
        text = f"nothing is heard of it for now: {error}"
        if text == told:
            self._reporter.tell(())
            return told
        logger.warning("run %s: %s", self.run_id, text)
        state = running(text) if self._is_told_to_run else queued(text)
        return text if self._reporter.tell((), state) else told


class _CancelledError(Exception):
    """The run is to be cancelled before it has begun."""


class _LeftError(Exception):
    """The worker ends, and the run is left to the next."""
