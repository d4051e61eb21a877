"""Places where tests let the process die, to prove that nothing that was acknowledged is lost.

`DAGY_FAULTS=recorder.before_commit:3` kills this process with SIGKILL when it passes that place for the third time;
several are separated by commas. The variable is read once, when this module is imported; without it a place costs a
look at an empty dict.
"""

from __future__ import annotations

import os
import signal

_LEFT: dict[str, int] = {}  # how many more times each place is passed


def plan(text: str) -> None:
    """Plan the deaths that `text`, in the form of the variable, names, and no others."""
    _LEFT.clear()
    for each in filter(None, text.split(",")):
        name, _, number = each.partition(":")
        _LEFT[name] = int(number or 1)


def point(name: str) -> None:
    """Die here, if that is planned."""
    if not _LEFT or name not in _LEFT:
        return
    _LEFT[name] -= 1
    if not _LEFT[name]:
        os.kill(os.getpid(), signal.SIGKILL)


plan(os.environ.get("DAGY_FAULTS", ""))
