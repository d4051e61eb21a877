"""A queue that a test fills, and workers that take from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact import BuildOptions, Manifest, build, flow_aside, read_source
from dagy.client.runs import KnownRun
from dagy.client.waking import WorkerLock
from dagy.control import Claim, Deployment, Page, Renewal, Report, RunInfo
from dagy.errors import ConflictError, NetworkError
from dagy.states import StateType
from dagy.worker import Worker

STEPS = """
import os
import time

from dagy import flow, task


@task
def load(rows: int, how: str):
    print("loading", rows)
    if how == "hang":
        print("hanging")
        time.sleep(60)
    if how == "exit":
        os._exit(3)
    return list(range(rows))


@task
def total(items, how: str):
    if how == "raise":
        raise LookupError("no such row")
    return sum(items)


@flow(name="steps")
def steps(rows: int = 3, how: str = ""):
    return {"total": total(load(rows, how), how)}
"""


@dataclass
class Entry:
    """A run in the queue."""

    info: RunInfo
    fence: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    @property
    def text(self) -> str:
        """How it stands, as a state is printed."""
        return f"{self.info.status}: {self.info.message}" if self.info.message else str(self.info.status)


class Queue:
    """The half of a control plane that workers see. `changed` is notified of all that happens."""

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact
        self.entries: dict[str, Entry] = {}
        self.changed = threading.Condition()
        self.is_reachable = True
        self.due: datetime | None = None
        self.ticks = 0
        self.refused = 0
        self.when_empty: list[Callable[[], object]] = []  # called, one each, when a worker has found nothing

    # ---- for tests

    def add(
        self,
        run_id: str = "steps-1",
        /,
        executor: str = "local",
        resources: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> Entry:
        """Queue a run."""
        info = RunInfo(
            run_id=run_id, namespace="", deployment="steps", flow_name="steps", flow_version="latest", revision=1,
            code_hash="", artifact="0" * 64, parameters=parameters, status=StateType.QUEUED, message="", tags={},
            trigger="api", schedule_id=None, scheduled_for=None, idempotency_key=None, created_at=datetime.now(UTC),
            started_at=None, ended_at=None, worker=None, tries=0, cancel_reason=None, tasks={}, executor=executor,
            resources=resources or {},
        )  # fmt: skip
        with self.changed:
            entry = self.entries[run_id] = Entry(info)
            self.changed.notify_all()
        return entry

    def wait_for(self, what: Callable[[], object], seconds: float = 20) -> None:
        """Wait until `what` holds, which is asked at each change."""
        with self.changed:
            assert self.changed.wait_for(what, seconds), "it did not happen"

    def wait_for_end(self, entry: Entry) -> str:
        """How the run ended."""
        self.wait_for(lambda: entry.info.status.is_final)
        return entry.text

    def wait_for_text(self, entry: Entry, text: str) -> None:
        """Wait until a task wrote that."""
        self.wait_for(lambda: any(text in each.get("text", "") for each in entry.events))

    def cancel(self, entry: Entry, reason: str) -> None:
        """Ask that the run be cancelled."""
        with self.changed:
            entry.info = replace(entry.info, cancel_reason=reason)

    def take_over(self, entry: Entry) -> None:
        """Let another worker have the run."""
        with self.changed:
            entry.fence += 1

    def take_back(self, entry: Entry) -> None:
        """The run's worker is gone: the next one may claim it."""
        with self.changed:
            entry.fence += 1
            entry.info = replace(entry.info, worker=None)

    # ---- for the worker

    def claim_run(self, worker: str, *, lease_seconds: float = 60.0) -> Claim | None:
        """The oldest run that waits."""
        with self._reached():
            for entry in self.entries.values():
                if not entry.info.status.is_final and entry.info.worker is None:
                    entry.fence += 1
                    entry.info = replace(entry.info, worker=worker, tries=entry.info.tries + 1)
                    self.changed.notify_all()
                    return Claim(entry.info, entry.fence, _later(lease_seconds), len(entry.events))
        if self.when_empty:
            self.when_empty.pop(0)()
        return None

    def events(self, run_id: str, *, since: int = 0, limit: int = 1000) -> Sequence[Mapping[str, Any]]:
        """What was told of the run."""
        with self._reached():
            return self.entries[run_id].events[since : since + limit]

    def renew(self, run_id: str, fence: int, *, lease_seconds: float = 60.0) -> Renewal:
        """Keep the run."""
        return self.report(run_id, fence, Report())

    def report(self, run_id: str, fence: int, report: Report) -> Renewal:
        """Take what is told, each event once and in order."""
        with self._reached():
            entry = self.entries[run_id]
            if fence != entry.fence:
                raise ConflictError(f"run {run_id!r} is another worker's")
            entry.reports.append(report)
            for event in report.events:
                assert event["seq"] <= len(entry.events), "an event is missing"
                if event["seq"] == len(entry.events):
                    entry.events.append(dict(event))
            if report.status is not None:
                entry.info = replace(
                    entry.info, status=report.status, message=report.message, result=report.result,
                    has_result=report.has_result,
                )  # fmt: skip
            self.changed.notify_all()
            return Renewal(_later(60), entry.info.cancel_reason)

    def deployments(self, *, limit: int = 50, after: str | None = None) -> Page[Deployment]:
        """None: a test that needs some says so."""
        return Page((), None)

    def runs(self, *, deployment: str, limit: int = 20) -> Page[KnownRun]:
        """None of that deployment."""
        return Page((), None)

    def import_run(
        self, reference: str, run_id: str, parameters: Mapping[str, Any], *, started_at: datetime
    ) -> RunInfo:
        """A run that goes on already."""
        if run_id not in self.entries:
            entry = self.add(run_id, **parameters)
            entry.info = replace(entry.info, status=StateType.RUNNING, started_at=started_at)
        return self.entries[run_id].info

    def recover_runs(self) -> Sequence[RunInfo]:
        """Nobody is gone."""
        return ()

    def tick_schedules(self, *, limit: int = 100) -> Sequence[RunInfo]:
        """One run a tick."""
        with self._reached():
            self.due = None
            self.ticks += 1
        return [self.add(f"scheduled-{self.ticks}").info]

    def next_due(self) -> datetime | None:
        """When the schedule is due."""
        with self._reached():
            return self.due

    def download_artifact(self, sha256: str, folder: Path) -> Path:
        """The artifact, in the folder."""
        with self._reached():
            path = folder / f"{sha256}.zip"
            folder.mkdir(parents=True, exist_ok=True)
            half = path.with_suffix(f".{threading.get_ident()}")  # several runs ask at once
            half.write_bytes(self.artifact.read_bytes())
            return half.replace(path)

    def _reached(self) -> threading.Condition:
        with self.changed:
            if not self.is_reachable:
                self.refused += 1
                self.changed.notify_all()
                raise NetworkError("nobody answers")
        return self.changed


def _later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a flow with two tasks."""
    return built(tmp_path_factory.mktemp("steps"), STEPS)


def built(folder: Path, text: str, name: str = "steps.py", *, include: tuple[str, ...] = ()) -> Path:
    """The artifact of the flow that `text` defines."""
    path = folder / name
    path.write_text(text)
    source = read_source(path)
    with flow_aside(source) as flow:
        return build(source, flow, folder / "dist", BuildOptions(include)).path


@pytest.fixture
def queue(steps: Path) -> Queue:
    """A queue whose runs are of `steps`."""
    return Queue(steps)


@pytest.fixture
def local_dir(tmp_path: Path) -> Path:
    """Where the workers keep things."""
    return tmp_path / "local"


@dataclass
class Shift:
    """A worker at work in a thread."""

    worker: Worker
    thread: threading.Thread
    said: list[str]

    def end(self) -> None:
        """Wait until it has ended."""
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def begin(queue: Queue, local_dir: Path) -> Iterator[Callable[..., Shift]]:
    """Start a worker that a test can't leave behind."""
    shifts: list[Shift] = []

    def begin(*, until_idle: bool = False, lock: WorkerLock | None = None, **options: Any) -> Shift:
        said: list[str] = []
        chosen = {"environment_for": this_python, "said": said.append, **options}
        worker = Worker(queue, local_dir, **chosen)
        thread = threading.Thread(target=worker.run, kwargs={"until_idle": until_idle, "lock": lock}, daemon=True)
        shifts.append(Shift(worker, thread, said))
        thread.start()
        return shifts[-1]

    yield begin
    for each in shifts:
        while each.thread.is_alive():
            each.worker.stop()
            each.thread.join(0.5)


def this_python(manifest: Manifest, local_dir: Path, on_progress: Callable[[str], None]) -> Path:
    """The interpreter of the tests."""
    import sys

    return Path(sys.executable)
