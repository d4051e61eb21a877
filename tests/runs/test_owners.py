from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from dagy.errors import StoreError
from dagy.runs.owners import HELD_HERE, Owner, is_alive, owner_from_text, owner_text, this_process, why_gone

SECOND = 1_000_000_000
HERE = this_process()


def reason(owner: Owner, *, lease_until: int | None = None, now: int = 1_000 * SECOND) -> str:
    return why_gone("run-1", owner, lease_until=lease_until, created_at=0, now=now)


def test_this_process_lives() -> None:
    assert is_alive(HERE) == "yes"
    assert this_process() == HERE


def test_a_process_that_has_the_number_of_a_dead_one_is_another() -> None:
    other = dataclasses.replace(HERE, pid_started=HERE.pid_started - 1)
    assert is_alive(other) == "no"
    assert reason(other) == f"the process that ran it (number {HERE.pid}) is gone"


def test_after_a_reboot_nobody_is_alive() -> None:
    other = dataclasses.replace(HERE, boot="another")
    assert is_alive(other) == "no"
    assert reason(other) == "the machine that it ran on was started anew"


def test_a_process_that_ended_and_was_not_waited_for_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = int(Path(f"/proc/{child.pid}/stat").read_text("ascii").rpartition(")")[2].split()[19])
    owner = dataclasses.replace(HERE, pid=child.pid, pid_started=started)
    assert is_alive(owner) == "yes"
    assert child.stdin is not None
    child.stdin.close()
    while is_alive(owner) == "yes":  # a zombie until it is waited for; pytest's time limit bounds this
        pass
    assert is_alive(owner) == "no"
    child.wait()


@pytest.mark.parametrize("field", ["host", "pids"])
def test_elsewhere_only_the_lease_tells(field: str) -> None:
    other = dataclasses.replace(HERE, **{field: "another"})
    assert is_alive(other) == "unseen"
    assert reason(other, lease_until=2_000 * SECOND) == ""
    assert "nothing was heard of its process" in reason(other, lease_until=999 * SECOND)


def test_a_lease_that_was_never_taken_counts_from_the_beginning() -> None:
    other = dataclasses.replace(HERE, host="another")
    assert reason(other, lease_until=None, now=59 * SECOND) == ""
    assert reason(other, lease_until=None, now=61 * SECOND) != ""


def test_a_living_process_on_this_machine_keeps_its_runs_whatever_the_clock_says() -> None:
    HELD_HERE.add("run-1")
    try:
        for now in (0, 1_000 * SECOND, 10**19):
            assert reason(HERE, lease_until=1, now=now) == ""
    finally:
        HELD_HERE.discard("run-1")


def test_a_run_that_this_process_has_given_up_is_without_an_owner() -> None:
    assert reason(HERE) == "it could not be recorded any more"


@pytest.mark.parametrize("owner", [HERE, Owner("a host@home/x", "", "", 1, 0), Owner("", "b", "pid:[1]", 2, 3)])
def test_an_owner_comes_back_from_its_line(owner: Owner) -> None:
    assert owner_from_text(owner_text(owner)) == owner


@pytest.mark.parametrize("text", ["", "worker-1", "1.2 boot pids", "one.two@host boot pids", "1@host boot pids"])
def test_a_line_that_names_no_process_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="does not tell which process it is"):
        owner_from_text(text)
