"""A process may be killed at any point: nothing that was acknowledged is lost, and nothing recorded is done again.

pytestmark = pytest.mark.program

DAGY_KILL_ROUNDS=2000 makes more of the random rounds, DAGY_PROCESSES=32 more processes at once.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from dagy.runs import History
from dagy.runs.checks import violations
from dagy.runs.store import Store
from dagy.states import StateType

from .conftest import Victims

ROUNDS = int(os.environ.get("DAGY_KILL_ROUNDS", "8"))
PROCESSES = int(os.environ.get("DAGY_PROCESSES", "8"))

SOURCES = (Path(__file__).resolve().parents[2] / "dagy" / "runs").glob("*.py")
POINTS = sorted({name for path in SOURCES for name in re.findall(r'\bpoint\("([a-z_.]+)"\)', path.read_text())})


def problems(local_dir: Path) -> list[str]:
    """What is wrong in the history, once who looks has brought it in order."""
    with History(local_dir):
        pass
    if not local_dir.exists():
        return []
    with Store(local_dir) as store:
        return list(violations(store, time.time_ns()))


def states(local_dir: Path) -> dict[str, StateType]:
    with History(local_dir) as history:
        return {each.run_id: each.status for each in history.runs(limit=None)}


def lost(local_dir: Path, said: list[str]) -> list[str]:
    """What was acknowledged, and is not in the history."""
    known = states(local_dir)
    missing = []
    for line in said:
        match line.split():
            case ["begun", run_id] if run_id not in known:
                missing.append(line)
            case ["ended", run_id, status] if known.get(run_id) != status:
                missing.append(line)
            case _:
                pass
    return missing


def ran(oracle: Path) -> Counter[str]:
    return Counter(oracle.read_text().split()) if oracle.exists() else Counter()


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("point", [each for each in POINTS if each.startswith("recorder.")])
def test_a_run_killed_while_it_records_can_be_resumed(
    victims: Victims, local_dir: Path, tmp_path: Path, point: str, number: int
) -> None:
    oracle = tmp_path / "oracle"
    job = {"local_dir": str(local_dir), "oracle": str(oracle)}
    (killed,) = victims.run({"do": "run", "faults_at": f"{point}:{number}", **job})
    if number == 1:
        assert killed.signal == signal.SIGKILL, "the place was never passed"
    assert problems(local_dir) == []
    assert lost(local_dir, killed.said) == []
    before = states(local_dir)
    if set(before.values()) == {StateType.CRASHED}:
        recorded = recorded_tasks(local_dir)
        (resumed,) = victims.run({"do": "resume", **job})
        assert [line.split()[-1] for line in resumed.said] == [resumed.said[0].split()[-1], "COMPLETED"]
        assert problems(local_dir) == []
        assert lost(local_dir, [*killed.said, *resumed.said]) == []
        times = ran(oracle)
        assert {name: times[name] for name in recorded if times[name] > (2 if name == "left" else 1)} == {}
        assert all(count <= (3 if name == "left" else 2) for name, count in times.items())
    else:
        assert set(before.values()) <= {StateType.COMPLETED}


def recorded_tasks(local_dir: Path) -> set[str]:
    with History(local_dir) as history:
        return set(history.results(history.run().run_id))


@pytest.mark.parametrize("point", [each for each in POINTS if each.startswith("store.migration")])
@pytest.mark.parametrize("number", [1, 2, 11])
def test_a_history_whose_making_was_killed_is_made_by_the_next(
    victims: Victims, local_dir: Path, tmp_path: Path, point: str, number: int
) -> None:
    job = {"do": "run", "local_dir": str(local_dir), "oracle": str(tmp_path / "oracle")}
    killed, again = victims.run({**job, "faults_at": f"{point}:{number}"})[0], victims.run(job)[0]
    assert killed.signal == signal.SIGKILL
    assert again.said[-1].endswith("COMPLETED")
    assert problems(local_dir) == []


@pytest.mark.parametrize("point", [each for each in POINTS if each.startswith("recovery.")])
def test_recovery_may_be_killed_too(victims: Victims, local_dir: Path, tmp_path: Path, point: str) -> None:
    job = {"local_dir": str(local_dir), "oracle": str(tmp_path / "oracle")}
    killed = victims.run(*[{"do": "run", "faults_at": "recorder.before_end", **job}] * 3)
    for _ in range(5):
        victims.run({"do": "recover", "local_dir": str(local_dir), "faults_at": point})
    assert problems(local_dir) == []
    assert lost(local_dir, [line for each in killed for line in each.said]) == []
    assert set(states(local_dir).values()) == {StateType.CRASHED}


def test_a_checkpoint_may_be_killed(victims: Victims, local_dir: Path) -> None:
    killed = victims.run({"do": "tidy", "local_dir": str(local_dir), "faults_at": "store.checkpoint"})[0]
    assert killed.signal == signal.SIGKILL
    with Store(local_dir) as store, store.reading() as db:
        assert db.execute("SELECT json FROM specs").fetchall() == [("text",)]
    assert problems(local_dir) == []


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_run_killed_at_any_moment_loses_nothing(victims: Victims, local_dir: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    oracle = tmp_path / "oracle"
    job = {"local_dir": str(local_dir), "oracle": str(oracle), "flow": "many"}
    said = []
    for attempt in range(6):
        after = chance.uniform(0.002, 0.12) if attempt < 5 else 0.0
        do = "resume" if StateType.CRASHED in states(local_dir).values() else "run"
        recorded = recorded_tasks(local_dir) if do == "resume" else set()
        before = ran(oracle)
        said += victims.run({"do": do, "after": after, **job})[0].said
        assert problems(local_dir) == []
        assert lost(local_dir, said) == []
        again = ran(oracle) - before
        assert [name for name in recorded if again[f"step-{number_of(name)}"]] == []
        if StateType.COMPLETED in states(local_dir).values():
            break
    assert StateType.COMPLETED in states(local_dir).values()


def number_of(task: str) -> int:
    """`step` is the first call of the task, `step-2` the second."""
    return int(task.rpartition("-")[2]) - 1 if "-" in task else 0


def test_many_processes_share_one_history(victims: Victims, local_dir: Path, tmp_path: Path) -> None:
    job = {"do": "run", "local_dir": str(local_dir), "oracle": str(tmp_path / "oracle"), "flow": "many", "times": 3}
    ends = victims.run(*[job] * PROCESSES)
    assert [each.status for each in ends] == [0] * PROCESSES
    said = [line for each in ends for line in each.said]
    assert Counter(line.split()[-1] for line in said if line.startswith("ended")) == {"COMPLETED": 3 * PROCESSES}
    assert lost(local_dir, said) == []
    assert len(states(local_dir)) == 3 * PROCESSES
    assert problems(local_dir) == []
