"""The programs that a stand-in, or what was run on it, has left running."""

from __future__ import annotations

import os

import psutil


def end(home: str) -> None:
    """End every process of this user that works in `home`, or was told of it, but for this one and those above it."""
    spared = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
    ended = [each for each in psutil.process_iter() if each.pid not in spared and _is_of(each, home)]
    for process in ended:
        try:
            process.kill()
        except psutil.Error:  # it has just ended
            continue
    psutil.wait_procs(ended, timeout=5)


def _is_of(process: psutil.Process, home: str) -> bool:
    try:
        return any(home in value for value in process.environ().values())
    except psutil.Error:
        return False
