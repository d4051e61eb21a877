"""A polite kill, and Ctrl-C: the first lets what runs end, the second cancels it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from dagy.worker.worker import Worker

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_by_signals(worker: Worker) -> Iterator[None]:
    """Let these signals stop the worker, and nothing else, for as long as the `with` block lasts.

    One that whoever started the program chose to ignore (as `nohup` does) stays ignored.
    """
    before = {each: signal.getsignal(each) for each in _STOPPING}
    taken = [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    for each in taken:
        signal.signal(each, lambda _number, _frame: worker.stop())
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, before[each])
