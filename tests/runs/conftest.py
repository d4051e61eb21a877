"""Runs that are recorded, and processes that are killed while they record."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagy import Flow, flow, task
from dagy.engine import Event, RunOptions, RunResult, new_run_id, run
from dagy.engine.log import EventLog
from dagy.errors import StoreError
from dagy.program import Program
from dagy.runs import RunRecorder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def local_dir(tmp_path: Path) -> Path:
    """Where the test keeps its runs; not made yet."""
    return tmp_path / "state"


@pytest.fixture
def record(local_dir: Path) -> Callable[..., RunResult]:
    """Runs a flow and records it; more options of the run may be given as a dict."""

    def recorded(of: Flow[..., Any], options: Mapping[str, Any] | None = None, /, **parameters: Any) -> RunResult:
        program, values = of.prepare(**parameters)
        chosen = {"recorder": RunRecorder(local_dir), "fail_fast": False, **(options or {})}
        result = run(program, values, RunOptions(new_run_id(of.name), **chosen))
        for each in threading.enumerate():
            if each.name == f"dagy-{result.run_id}-recorder":
                each.join()  # it closes the file
        return result

    return recorded


@task
def load(day: str = "monday") -> list[int]:
    return [1, 2, 3]


@task
def total(rows: list[int]) -> int:
    return sum(rows)


@flow(name="etl")
def etl(day: str = "monday"):
    return total(load(day))


@pytest.fixture
def program() -> Program:
    """Two tasks in a row, `load` and `total`."""
    return etl.program()


@dataclass
class Script:
    """A run whose events the test makes itself."""

    run_id: str
    log: EventLog
    recorder: RunRecorder
    given_up: list[StoreError]

    def add(self, make: Callable[[int], Event]) -> None:
        """Let an event happen; `make` is given its number."""
        self.log.append(make(len(self.log)))


@pytest.fixture
def script(local_dir: Path, program: Program) -> Iterator[Callable[..., Script]]:
    """Begins runs whose events the test makes itself."""
    begun: list[Script] = []

    def begin(run_id: str = "run-1", *, of: Program = program, **options: Any) -> Script:
        given_up: list[StoreError] = []
        each = Script(run_id, EventLog(threading.RLock()), RunRecorder(local_dir, **options), given_up)
        each.recorder.begin(run_id, of, {"day": "monday"}, each.log, given_up.append)
        begun.append(each)
        return each

    yield begin
    for each in begun:
        each.recorder.close()


@dataclass(frozen=True)
class Death:
    """How a victim ended."""

    status: int  # as `os.waitpid` gives it
    said: list[str]  # what it had acknowledged before

    @property
    def signal(self) -> int:
        """The signal that killed it; 0 for none."""
        return self.status & 0x7F

    @property
    def exit_code(self) -> int:
        """What it left, if nothing killed it."""
        return self.status >> 8


class Victims:
    """A process that forks others, which do as they are told and may die on the way.

    It has loaded dagy and has one thread, so that a fork costs little and is safe.
    """

    def __init__(self) -> None:
        self._nursery = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("victims.py"))],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *jobs: Mapping[str, Any]) -> list[Death]:
        """Let victims do these jobs at the same time; how each ended."""
        stdin, stdout = self._nursery.stdin, self._nursery.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(jobs) + "\n")
        stdin.flush()
        return [Death(**each) for each in json.loads(stdout.readline())]

    def close(self) -> None:
        with self._nursery:
            assert self._nursery.stdin is not None
            self._nursery.stdin.close()


@pytest.fixture(scope="session")
def victims() -> Iterator[Victims]:
    nursery = Victims()
    yield nursery
    nursery.close()
