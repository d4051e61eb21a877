"""Looking again until something is so: with an end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from dagy.errors import CloudError, DagyError

FIRST_PAUSE = 0.05  # seconds; each pause is twice the one before
ROLE_SECONDS = 30.0  # in which a role that was just made comes to be known everywhere

_ROLE_NOT_KNOWN = re.compile(r"cannot be assumed|to assume the", re.IGNORECASE)

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], what: str, *, seconds: float, every: float) -> T:
    """What `look` gives, once it is not None; it is asked more and more rarely, at last every so many seconds.

    Raises `CloudError` with the code `TimedOut` when `what` was not so after pauses of that many seconds in all.
    """
    waited, pause = 0.0, FIRST_PAUSE
    while (found := look()) is None:
        if waited >= seconds:
            told = f"{what} took more than {seconds:g} seconds; look in AWS's console, or try again"
            raise CloudError(told, code="TimedOut")
        time.sleep(pause)
        waited += pause
        pause = min(2 * pause, every)
    return found


def once_role_is_known(ask: Callable[[], T]) -> T:
    """What `ask` gives. While a service says that it can't assume the role, which may be new, it is asked again."""
    waited, pause = 0.0, 1.0
    while True:
        try:
            return ask()
        except DagyError as error:
            if waited >= ROLE_SECONDS or not _ROLE_NOT_KNOWN.search(str(error)):
                raise
        time.sleep(pause)
        waited += pause
        pause *= 2
