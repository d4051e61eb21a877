"""Any order of asking, claiming, reporting, cancelling, recovering and ticking, against a model in plain Python.

DAGY_EXAMPLES sets how many orders are tried.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from dagy.control import ControlPlane, Report, RunInfo, Timing, open_plane
from dagy.control.claims import MOST_TRIES
from dagy.control.columns import EPOCH
from dagy.control.records import CatchUp
from dagy.errors import ConflictError
from dagy.runs import owner_text, this_process
from dagy.runs.owners import Owner
from dagy.spec import Json
from dagy.states import StateType
from dagy.testing import ManualClock

from .planes import NOON, deployed, event, spec_of

EXAMPLES = int(os.environ.get("DAGY_EXAMPLES", "8"))
LEASE, EVERY = 60, 45  # seconds
ENDS = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.TIMED_OUT)
TASK_STATES = ["RUNNING", *(each.value for each in ENDS)]
TASKS = [each.id for each in spec_of().tasks]

START = EPOCH + timedelta(microseconds=NOON // 1000)
HERE = owner_text(this_process())
AWAY = "a worker of another machine"
_me = this_process()
GONE = owner_text(Owner(_me.host, _me.boot, _me.pids, _me.pid, _me.pid_started - 1))


@dataclass
class Expected:
    """What is known of a run without asking the control plane."""

    status: StateType = StateType.QUEUED
    worker: str | None = None
    fence: int = 0
    lease_until: int = 0  # in seconds of the clock
    tries: int = 0
    has_begun: bool = False
    cancelled: str | None = None
    told: list[dict[str, Json]] = field(default_factory=list)
    tasks: dict[str, StateType] = field(default_factory=dict)
    ended: RunInfo | None = None  # as it was when it had ended

    @property
    def is_open(self) -> bool:
        return not self.status.is_final

    def is_lost(self, now: int) -> bool:
        """Whether its worker is given up."""
        if not self.is_open or self.worker is None:
            return False
        is_late = self.lease_until < now
        return self.worker == GONE or (is_late and (self.worker == AWAY or not self.has_begun))


class ControlPlanes(RuleBasedStateMachine):
    """One plane with one deployment; `fences` are runs with a fence that some worker holds, or has held."""

    fences = Bundle("fences")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="dagy-model-"))
        self.seconds = 0
        self.clock = ManualClock(NOON / 1e9)
        self.plane: ControlPlane = open_plane(self.folder / "dagy", clock=self.clock)
        deployed(self.plane, self.folder)
        self.runs: dict[str, Expected] = {}  # in the order in which they were asked for
        self.keyed: dict[str, str] = {}
        self.meant: list[int] = []  # the times of the schedule that became runs, in seconds of the clock
        self.looked_at = 0  # when a tick was last

    @initialize(catchup=st.sampled_from(["none", "all"]))
    def schedule(self, catchup: CatchUp) -> None:
        self.catchup = catchup
        timing = Timing("interval", interval_seconds=EVERY, start_at=START + timedelta(seconds=EVERY), catchup=catchup)
        self.plane.put_schedule("etl", timing, parameters={"limit": 1})

    def teardown(self) -> None:
        try:
            self.events_are_there_once_and_in_order()
            self.tasks_add_up()
        finally:
            self.plane.close()
            shutil.rmtree(self.folder)

    # ---- asking

    @rule()
    def ask(self) -> None:
        self.runs[self.plane.create_run("etl", {"limit": 1}).run_id] = Expected()

    @rule(key=st.sampled_from(["a", "b"]), limit=st.integers(1, 2))
    def ask_with_a_key(self, key: str, limit: int) -> None:
        known = self.keyed.get(f"{key}{limit}")
        if known is None and any(each[0] == key for each in self.keyed):
            self._refused(lambda: self.plane.create_run("etl", {"limit": limit}, idempotency_key=key))
            return
        run_id = self.plane.create_run("etl", {"limit": limit}, idempotency_key=key).run_id
        assert known in (None, run_id)
        if known is None:
            self.runs[run_id] = Expected()
            self.keyed[f"{key}{limit}"] = run_id

    # ---- working

    @rule(target=fences)
    def lose(self) -> object:
        """A worker dies over a run, and another one takes it on."""
        self.ask()
        first = self.claim(GONE)
        self.recover()
        second = self.claim(AWAY)
        return multiple(*(each for each in (first, second) if isinstance(each, tuple)))

    @rule(target=fences, worker=st.sampled_from([HERE, AWAY, GONE]))
    def claim(self, worker: str) -> object:
        claim = self.plane.claim_run(worker, lease_seconds=LEASE)
        waiting = [run_id for run_id, run in self.runs.items() if run.is_open and run.worker is None]
        if claim is None:
            assert waiting == []
            return multiple()
        assert claim.run.run_id == waiting[0]
        run = self.runs[claim.run.run_id]
        assert claim.fence > run.fence
        run.worker, run.fence, run.lease_until = worker, claim.fence, self.seconds + LEASE
        run.tries += 1
        return claim.run.run_id, claim.fence

    @rule(held=fences, seconds=st.sampled_from([1, LEASE, 3 * LEASE]))
    def renew(self, held: tuple[str, int], seconds: int) -> None:
        run_id, fence = held
        run = self.runs[run_id]
        if fence != run.fence:
            self._refused(lambda: self.plane.renew(run_id, fence, lease_seconds=seconds))
            return
        assert self.plane.renew(run_id, fence, lease_seconds=seconds).cancel_reason == run.cancelled
        if run.is_open:
            run.lease_until = self.seconds + seconds

    @rule(
        held=fences,
        tasks=st.lists(st.tuples(st.sampled_from(TASKS), st.sampled_from(TASK_STATES)), max_size=4),
        status=st.sampled_from([None, StateType.RUNNING, *ENDS]),
        repeated=st.integers(0, 3),
        left_out=st.sampled_from([0, 0, 0, 1]),
    )
    def report(
        self,
        held: tuple[str, int],
        tasks: list[tuple[str, str]],
        status: StateType | None,
        repeated: int,
        left_out: int,
    ) -> None:
        run_id, fence = held
        run = self.runs[run_id]
        first = len(run.told)
        new = [event(first + left_out + place, task, state) for place, (task, state) in enumerate(tasks)]
        again = [] if left_out else run.told[max(0, first - repeated) :]
        report = Report((*again, *new), status, "told" if status else "")
        if fence != run.fence or (new and left_out) or (not run.is_open and (new or status not in (None, run.status))):
            self._refused(lambda: self.plane.report(run_id, fence, report))
            return
        assert self.plane.report(run_id, fence, report).cancel_reason == run.cancelled
        if not run.is_open:
            return
        run.lease_until = max(run.lease_until, self.seconds + 60)
        run.told += new
        for task, state in tasks:
            if not run.tasks.get(task, StateType.PENDING).is_final:
                run.tasks[task] = StateType(state)
        if new or status is not None:
            run.has_begun, run.status = True, status or StateType.RUNNING
            if not run.is_open:
                self._end(run_id, run.status)

    @rule()
    def recover(self) -> None:
        taken = [run.run_id for run in self.plane.recover_runs()]
        lost = [run_id for run_id, run in self.runs.items() if run.is_lost(self.seconds)]
        assert sorted(taken) == sorted(lost)
        for run_id in lost:
            run = self.runs[run_id]
            run.fence += 1
            if run.cancelled is not None:
                self._end(run_id, StateType.CANCELLED)
            elif run.has_begun or run.tries == MOST_TRIES:
                self._end(run_id, StateType.CRASHED)
            else:
                run.worker = None

    @rule(data=st.data(), reason=st.sampled_from(["first", "second"]))
    def cancel(self, data: st.DataObject, reason: str) -> None:
        if not self.runs:
            return
        run_id = data.draw(st.sampled_from(list(self.runs)))
        run = self.runs[run_id]
        self.plane.cancel_run(run_id, reason)
        if run.is_open:
            run.cancelled = run.cancelled or reason
            if run.worker is None:
                self._end(run_id, StateType.CANCELLED)

    # ---- the schedule and the time

    @rule(seconds=st.sampled_from([1, 30, 61, 200, 1000]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.seconds += seconds

    @rule(limit=st.integers(1, 30))
    def tick(self, limit: int) -> None:
        made = self.plane.tick_schedules(limit=limit)
        assert len(made) <= limit
        for run in made:
            assert run.scheduled_for is not None
            self.runs[run.run_id] = Expected()
            self.meant.append(int((run.scheduled_for - START).total_seconds()))
        if self.catchup == "all":
            assert self.meant == list(range(EVERY, EVERY * len(self.meant) + 1, EVERY))
            assert len(made) == limit or len(self.meant) == self.seconds // EVERY
        elif self.seconds // EVERY * EVERY > self.looked_at:  # something became due since
            assert self.meant[-1] == self.seconds // EVERY * EVERY
        self.looked_at = self.seconds

    # ---- what holds at any time, and at the end

    @invariant()
    def a_due_time_is_one_run(self) -> None:
        assert len(self.meant) == len(set(self.meant))
        assert all(0 < each <= self.seconds and each % EVERY == 0 for each in self.meant)

    @invariant()
    def runs_stand_where_they_should(self) -> None:
        found = list(self.plane.runs(limit=1000))[::-1]
        assert [run.run_id for run in found] == list(self.runs)
        for run in found:
            expected = self.runs[run.run_id]
            assert (run.status, run.cancel_reason) == (expected.status, expected.cancelled)
            assert (run.started_at is not None) == expected.has_begun
            assert sum(run.tasks.values()) == len(TASKS)
            if expected.ended is not None:
                assert run == expected.ended
            else:
                assert (run.worker, run.tries) == (expected.worker, expected.tries)

    def events_are_there_once_and_in_order(self) -> None:
        for run_id, expected in self.runs.items():
            events = self.plane.events(run_id)
            assert [each["seq"] for each in events] == list(range(len(events)))
            assert events[: len(expected.told)] == expected.told
            assert len(events) == len(expected.told) or expected.ended is not None

    def tasks_add_up(self) -> None:
        for run_id, expected in self.runs.items():
            tasks = self.plane.task_runs(run_id)
            assert [each.task for each in tasks] == TASKS
            assert Counter(each.status for each in tasks) == Counter(self.plane.run(run_id).tasks)
            for each in tasks:
                told = expected.tasks.get(each.task, StateType.PENDING)
                if expected.is_open or told.is_final:
                    assert each.status is told
                else:
                    assert each.status in (StateType.CANCELLED, StateType.CRASHED)

    # ----

    def _end(self, run_id: str, status: StateType) -> None:
        run = self.runs[run_id]
        run.status = status
        run.ended = self.plane.run(run_id)
        assert run.ended.status is status
        assert run.ended.ended_at is not None

    def _refused(self, attempt: Callable[[], object]) -> None:
        with pytest.raises(ConflictError):
            attempt()


TestControlPlanes = pytest.mark.program(ControlPlanes.TestCase)  # it takes seconds

TestControlPlanes.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    phases=[Phase.generate],  # to make an example smaller takes minutes
    deadline=None,
    derandomize="DAGY_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
