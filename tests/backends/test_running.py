"""A run on AWS is looked at often while it is young, and ever less, within bounds: looking costs calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dagy.backends.running import FIRST_PAUSE, LONGEST_PAUSE, pause_at, remote_run
from dagy.errors import BackendError

from .run_records import run_info
from .scripted import Scripted


def looks(seconds: float) -> Iterator[float]:
    """When a run that takes so long is looked at."""
    age = 0.0
    while age < seconds:
        yield age
        age += pause_at(age)


def test_looks_are_ever_further_apart_and_never_too_far() -> None:
    pauses = [pause_at(age) for age in looks(3600)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)


@pytest.mark.parametrize(("seconds", "most"), [(10, 35), (60, 70), (600, 200), (3600, 800)])
def test_a_run_is_looked_at_no_more_often_than_that(seconds: float, most: int) -> None:
    assert len(list(looks(seconds))) <= most


def test_an_executor_that_is_nearly_one_is_named(script: Scripted, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"'lamda', which this version of dagy does not know; did you mean 'lambda'"):
        remote_run(run_info("lamda", tmp_path), script.aws)
