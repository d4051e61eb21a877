"""Looking again until something is so: with an end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from dagy.errors import CloudError

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], what: str, *, seconds: float, every: float) -> T:
    """What `look` gives, once it is not None; it is asked every so many seconds.

    Raises `CloudError` with the code `TimedOut` when `what` was not so within about `seconds`.
    """
    for tries in range(math.ceil(seconds / every) + 1):
        if tries:
            time.sleep(every)
        if (found := look()) is not None:
            return found
    raise CloudError(f"{what} took more than {seconds:g} seconds; look in AWS's console, or try again", code="TimedOut")
