"""The runs there are to look at, and what their tasks wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from dagy import flow, task
from dagy.errors import UnknownRunError, UnknownTaskError
from dagy.spec import FlowSpec
from dagy.states import StateType
from dagy_nb.run_history import PastRun, listing, output_of, past_run, past_runs, run_called


class Wrote(NamedTuple):
    task: str
    text: str
    attempt: int = 1
    stream: str = "stdout"


@dataclass
class Run:
    """A run of a session."""

    run_id: str
    started_at: float
    ended_at: float | None = None
    status: StateType = StateType.RUNNING
    wrote: list[Wrote] = field(default_factory=list)
    was_begun_here: bool = True

    @property
    def spec(self) -> FlowSpec:
        return FlowSpec("etl")

    def writes(self, task: str | None = None) -> Iterator[Wrote]:
        if task not in (None, "load", "total"):
            raise UnknownTaskError(str(task), ["load", "total"])
        return (each for each in self.wrote if task in (None, each.task))


@task
def load() -> int:
    print("recorded")
    return 1


@flow(name="other")
def other() -> int:
    return load()


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a run in the history."""
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(tmp_path))
    return other.run_local(record=True).run_id


def test_the_sessions_runs_and_the_recorded_ones_are_one_list_newest_first(tmp_path: Path, recorded: str) -> None:
    session = [
        past_run(Run("etl-1", 10.0, 12.5, StateType.COMPLETED)),
        past_run(Run("etl-2", 1e12)),
        PastRun(recorded, "other", StateType.COMPLETED, 20.0, 1.0, is_here=True, is_recorded=False),
    ]
    found = past_runs(session, tmp_path)
    assert [(each.run_id, each.seconds, each.is_here, each.is_recorded) for each in found] == [
        ("etl-2", None, True, False),
        (recorded, 1.0, True, True),
        ("etl-1", 2.5, True, False),
    ]
    assert [each.run_id for each in past_runs(session, tmp_path, limit=1)] == ["etl-2"]
    assert [each.run_id for each in past_runs(session, tmp_path, flow="other")] == [recorded]
    assert [each.is_here for each in past_runs([], tmp_path)] == [False]


def test_the_list_is_a_table(tmp_path: Path) -> None:
    head, row = repr(listing([past_run(Run("etl-1", 10.0, 12.5, StateType.COMPLETED))])).splitlines()
    assert head.split() == ["RUN", "FLOW", "STATE", "STARTED", "TOOK", "WHERE"]
    assert row.startswith("etl-1  etl   COMPLETED  ")
    assert row.endswith("2.5 s  this notebook")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("latest", "b-2-yz"),
        ("a-1-xx", "a-1-xx"),
        ("b", "b-2-yz"),
        ("xx", "a-1-xx"),
        ("c", None),
        ("", None),
    ],
)
def test_a_run_is_called_by_its_id_its_start_or_its_end(reference: str, expected: str | None) -> None:
    assert run_called(reference, ["a-1-xx", "b-2-yz"]) == expected


def test_a_name_that_means_several_runs_is_asked_about() -> None:
    with pytest.raises(UnknownRunError):
        run_called("a", ["a-1", "a-2"])
    assert run_called("latest", []) is None


def test_lines_are_whole_and_name_their_task(tmp_path: Path) -> None:
    wrote = [Wrote("load", "one\ntw"), Wrote("total", "three\n"), Wrote("load", "o\nend"), Wrote("load", "x\n", 2)]
    run = Run("etl-1", 1.0, wrote=wrote)
    assert output_of(None, [run], tmp_path) == "load  one\ntotal  three\nload  two\nload  x\nload  end"
    assert output_of("etl-1", [run], tmp_path, task="total") == "three"
    with pytest.raises(UnknownTaskError):
        output_of("latest", [run], tmp_path, task="nosuch")


def test_what_this_session_does_not_know_is_looked_up_in_the_history(tmp_path: Path, recorded: str) -> None:
    assert output_of(None, [], tmp_path) == "load  recorded"
    assert output_of(recorded, [Run("etl-1", 1.0)], tmp_path) == "load  recorded"
    with pytest.raises(UnknownRunError):
        output_of("nosuch", [Run("etl-1", 1.0)], tmp_path)
