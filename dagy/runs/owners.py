"""Who owns a run: one process, told apart from any other that ever had its number.

On the machine where the owner ran it is known exactly whether it still lives, so a process that is starved or stopped
is never taken for dead. Anywhere else only its lease tells.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dagy.errors import StoreError

LEASE_SECONDS = 60  # how long an owner that can't be seen is trusted after its last sign of life
_PROC = Path("/proc")

HELD_HERE: set[str] = set()  # the ids of the runs that this process records now


@dataclass(frozen=True, slots=True)
class Owner:
    """One process of one machine since one of its boots."""

    host: str
    boot: str
    pids: str  # the namespace that `pid` is a number in: a container has its own
    pid: int
    pid_started: int  # clock ticks after boot


def this_process() -> Owner:
    """The owner that runs this code."""
    return _owner_of(os.getpid())


def owner_text(owner: Owner) -> str:
    """`owner` in a line: `PID.STARTED@HOST BOOT PIDS`."""
    return f"{owner.pid}.{owner.pid_started}@{owner.host} {owner.boot} {owner.pids}"


def owner_from_text(text: str) -> Owner:
    """The owner that `owner_text` made a line of. Raises `StoreError` for a text that is none."""
    try:
        name, boot, pids = text.rsplit(" ", 2)
        number, host = name.split("@", 1)
        pid, started = number.split(".")
        return Owner(host, boot, pids, int(pid), int(started))
    except ValueError as error:
        raise StoreError(f"{text!r} does not tell which process it is: {error}") from error


def is_alive(owner: Owner) -> Literal["yes", "no", "unseen"]:
    """Whether the owner's process still lives; "unseen" when it can't be known from here."""
    here = this_process()
    if owner.host != here.host or not here.boot:  # without /proc no process can be told from another
        return "unseen"
    if owner.boot != here.boot:
        return "no"
    if owner.pids != here.pids:
        return "unseen"
    return "yes" if _started(owner.pid) == owner.pid_started else "no"


def why_gone(run_id: str, owner: Owner, *, lease_until: int | None, created_at: int, now: int) -> str:
    """Why nobody will go on with the run that `owner` began; empty when its owner lives, or may live.

    Times are nanoseconds since the epoch; a lease that was never taken counts from `created_at`.
    """
    match is_alive(owner):
        case "yes":
            given_up = owner == this_process() and run_id not in HELD_HERE
            return "it could not be recorded any more" if given_up else ""
        case "no":
            if owner.boot != this_process().boot:
                return "the machine that it ran on was started anew"
            return f"the process that ran it (number {owner.pid}) is gone"
        case "unseen":
            until = created_at + LEASE_SECONDS * 1_000_000_000 if lease_until is None else lease_until
            machine = owner.host.partition("/")[0]
            return f"nothing was heard of its process on {machine!r} for {LEASE_SECONDS} s" if until < now else ""


@functools.lru_cache(maxsize=1)  # a child that was forked asks with another number
def _owner_of(pid: int) -> Owner:
    return Owner(_host(), _boot(), _pids(), pid, _started(pid) or 0)


def _host() -> str:
    try:
        machine = Path("/etc/machine-id").read_text("ascii").strip()[:12]
    except (OSError, UnicodeDecodeError):
        machine = ""
    return f"{os.uname().nodename}/{machine}"


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _pids() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When the process began, in clock ticks after boot; None when there is none that still runs."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold anything
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
