"""A worker: it takes runs from the queue, a few at once, and starts those that schedules ask for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from dagy.artifact.environments import environment_for
from dagy.backends.found_runs import LOOK_SECONDS as FIND_SECONDS
from dagy.backends.found_runs import FoundRuns, ImportsRuns
from dagy.backends.running import Connect
from dagy.client.on_aws import aws_at
from dagy.client.waking import Bell, WorkerLock
from dagy.control.records import LOCAL, Claim, RunInfo
from dagy.errors import ConflictError, DagyError, UnknownRunError
from dagy.runs import owner_text, this_process
from dagy.worker.claimed_run import ClaimedRun, Environments, RunsFrom
from dagy.worker.claims import ClaimNote, ClaimNotes
from dagy.worker.extracted import CODE_FOLDER, remove_unused_code
from dagy.worker.followed_run import FollowedRun, KnowsEvents
from dagy.worker.left_behind import tell_what_was_left
from dagy.worker.reporting import LEASE_SECONDS

logger = logging.getLogger(__name__)

CONCURRENCY = 4  # runs at once, unless it is said: one that hangs holds up no other
LOOK_SECONDS = 1.0  # between two looks at the queue and the schedules, when nobody rings
MOST_FOLLOWED = 64  # runs on AWS that are followed at once: each takes a thread that mostly sleeps
RECOVER_SECONDS = 10.0  # between two looks for runs whose worker is gone
_LONGEST_PAUSE = 15.0  # seconds between two tries to reach the control plane
_PARTING_SECONDS = 2.0  # that a look at AWS is waited for at the end
_PATIENCE_SECONDS = 60.0  # how long a worker that ends when it is idle tries to

T = TypeVar("T")


class WorkerClient(RunsFrom, KnowsEvents, ImportsRuns, Protocol):
    """What a worker needs of a control plane; a `DagyClient` is one."""

    def claim_run(self, worker: str, *, lease_seconds: float = 60.0) -> Claim | None:
        """The next run that is queued, which is the worker's from now on."""

    def recover_runs(self) -> Sequence[RunInfo]:
        """See to the runs whose worker is gone."""

    def tick_schedules(self, *, limit: int = 100) -> Sequence[RunInfo]:
        """Queue the runs that schedules are due for."""

    def next_due(self) -> datetime | None:
        """When the next schedule is due."""


class Worker:
    """Runs what is queued, at most `concurrency` runs at once, each in a process of its own.

    Runs on AWS are begun there and followed, by `connect`; they go on without the worker, and do not count.
    The runs are recorded in the history in `local_dir` under the control plane's ids; what they need is kept there too.
    With `schedules` it queues what schedules are due for. `said` gets a line for people now and then.
    """

    def __init__(
        self,
        client: WorkerClient,
        local_dir: Path,
        *,
        concurrency: int = CONCURRENCY,
        schedules: bool = True,
        said: Callable[[str], object] = logger.info,
        environment_for: Environments = environment_for,
        connect: Connect = aws_at,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._local_dir = local_dir
        self._concurrency = concurrency
        self._ticks = schedules
        self._said = said
        self._environment_for = environment_for
        self._connect = connect
        self._clock = clock
        self._name = owner_text(this_process())
        self._bell = Bell(local_dir)
        self._active: set[ClaimedRun | FollowedRun] = set()
        self._changing = threading.Lock()  # of `_active`
        self._stops = 0  # how often it was told to stop
        self._next_recovery = 0.0
        self._found = FoundRuns(client, connect)
        self._finding: threading.Thread | None = None  # AWS may be slow to answer, and nothing else waits for it
        self._next_find = 0.0
        self._next_try = 0.0  # not before then, because the control plane can't be reached
        self._pause = 0.0
        self._answered_at = clock()

    def stop(self) -> None:
        """Take no more runs, and end when those that run have ended; told once more, cancel these too.

        May be called in a signal handler.
        """
        self._stops += 1
        self._bell.ring()

    def run(self, *, until_idle: bool = False, linger_seconds: float = 0.0, lock: WorkerLock | None = None) -> None:
        """Work until `stop`; with `until_idle` until nothing is queued or running, for `linger_seconds` then.

        `lock` is what says that this worker is there; it is let go of when no more runs are taken.
        """
        try:
            remove_unused_code(self._local_dir / CODE_FOLDER)
            while not self._stops:
                self._work(until_idle, linger_seconds)
                if lock is None or self._stops:
                    break
                lock.release()
                if not self._claim():  # who queued a run before the lock was free took this worker to be there
                    break
                lock = WorkerLock.beside_others(self._local_dir)
            if lock is not None:
                lock.release()
        finally:
            self._finish()
            if self._finding is not None:
                self._finding.join(_PARTING_SECONDS)
            self._bell.close()

    # ---- the loop

    def _work(self, until_idle: bool, linger_seconds: float) -> None:
        busy_until = self._clock() + linger_seconds
        while not self._stops:
            self._recover()
            self._find()
            due = self._tick()
            was_busy = bool(self._active)  # asked first: then nothing found means that there was room, and no run
            has_work = self._claim() or was_busy
            now = self._clock()
            if has_work:
                busy_until = now + linger_seconds
            elif until_idle and now >= busy_until and not (self._pause and now < self._answered_at + _PATIENCE_SECONDS):
                return
            self._bell.wait(self._seconds_to_wait(due, busy_until if until_idle and not has_work else None))

    def _seconds_to_wait(self, due: float | None, busy_until: float | None) -> float:
        now = self._clock()
        if self._next_try > now:
            return self._next_try - now
        moments = [each - now for each in (busy_until,) if each is not None]
        return min([LOOK_SECONDS, *moments, *([] if due is None else [due])])

    def _recover(self) -> None:
        """See to the runs whose worker is gone."""
        if self._clock() < self._next_recovery:
            return
        self._next_recovery = self._clock() + RECOVER_SECONDS
        notes = ClaimNotes(self._local_dir)
        tell_what_was_left(self._client, notes, self._local_dir)
        for each in self._asked(self._client.recover_runs) or ():
            self._said(f"{each.run_id}: its worker is gone: it is {each.status} now")
        tell_what_was_left(self._client, notes, self._local_dir)  # of those there is nothing to tell any more

    def _find(self) -> None:
        """See what schedules on AWS began."""
        if self._clock() < self._next_find or (self._finding is not None and self._finding.is_alive()):
            return
        self._next_find = self._clock() + FIND_SECONDS
        self._finding = threading.Thread(target=self._look, name="dagy-finding", daemon=True)
        self._finding.start()

    def _look(self) -> None:
        try:
            for each in self._found.look():
                self._said(f"{each.run_id}: found on AWS, begun by a schedule")
        except DagyError as error:
            logger.debug("no runs can be looked for: %s", error)

    def _tick(self) -> float | None:
        """Queue what schedules are due for; how many seconds it is until the next is, or None."""
        if not self._ticks:
            return None
        due = self._asked(self._client.next_due)
        if due is not None and due <= datetime.now(UTC):
            for each in self._asked(self._client.tick_schedules) or ():
                self._said(f"{each.run_id}: queued, as scheduled")
            due = self._asked(self._client.next_due)
        return None if due is None else max(0.0, (due - datetime.now(UTC)).total_seconds())

    def _claim(self) -> bool:
        """Take as many runs as there is room for; whether there was one."""
        has_claimed = False
        while self._has_room() and not self._stops:
            claim = self._asked(lambda: self._client.claim_run(self._name, lease_seconds=LEASE_SECONDS))
            if claim is None:
                break
            has_claimed = True
            self._begin(claim)
        return has_claimed

    def _has_room(self) -> bool:
        followed = sum(1 for each in self._running() if isinstance(each, FollowedRun))
        return len(self._active) - followed < self._concurrency and followed < MOST_FOLLOWED

    def _begin(self, claim: Claim) -> None:
        run = self._run_of(claim)
        with self._changing:
            self._active.add(run)
        run.start()

    def _run_of(self, claim: Claim) -> ClaimedRun | FollowedRun:
        if claim.run.executor != LOCAL:
            return FollowedRun(self._client, claim, connect=self._connect, said=self._said, ended=self._forget)
        note = ClaimNote(claim.run.run_id, claim.fence, self._name, claim.run.artifact)
        return ClaimedRun(
            self._client,
            claim,
            note,
            local_dir=self._local_dir,
            environment_for=self._environment_for,
            said=self._said,
            ended=self._forget,
        )

    def _forget(self, run: ClaimedRun | FollowedRun) -> None:
        with self._changing:  # who finds nothing there any more closes the bell
            self._active.remove(run)
            self._bell.ring()

    def _finish(self) -> None:
        """Let what runs end, and see to it when that is no longer wanted."""
        is_told = 0
        while runs := self._running():
            if self._stops > is_told:
                is_told = self._stops
                for each in runs:
                    each.hurry()
                    if is_told > 1:
                        each.cancel("the worker was stopped")
                ids = ", ".join(each.run_id for each in runs)
                self._said(f"cancelling {ids}" if is_told > 1 else f"waiting for {ids}; stop again to cancel")
            self._bell.wait(LOOK_SECONDS)

    def _running(self) -> list[ClaimedRun | FollowedRun]:
        with self._changing:
            return sorted(self._active, key=lambda each: each.run_id)

    def _asked(self, ask: Callable[[], T]) -> T | None:
        """What the control plane answers; None when it can't be reached, which is tried again ever less often."""
        if self._clock() < self._next_try:
            return None
        try:
            answer = ask()
        except (ConflictError, UnknownRunError) as error:  # another worker was faster
            logger.debug("%s", error)
            return None
        except DagyError as error:
            if not self._pause:
                self._said(f"the control plane does not answer, and is asked again: {error}")
            self._pause = min(max(1.0, self._pause * 2), _LONGEST_PAUSE)
            self._next_try = self._clock() + self._pause
            return None
        if self._pause:
            self._said("the control plane answers again")
        self._pause = 0.0
        self._answered_at = self._clock()
        return answer
