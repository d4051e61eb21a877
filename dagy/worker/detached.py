"""The worker that is started when a run is queued and none is there: see `dagy.client.waking`.

It works on the control plane in its folder until nothing is left to do, waits a little for more, and ends.
"""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from dagy.client import DagyClient
from dagy.client.waking import LOG_NAME, WorkerLock
from dagy.worker.signals import stopped_by_signals
from dagy.worker.worker import Worker

LINGER_SECONDS = 10.0  # so long it waits for another run: to start takes longer than to wait
MOST_LOG_BYTES = 1_000_000  # and as much again of what is older

logger = logging.getLogger("dagy.worker")


def main(folder: str, lock: int) -> None:
    """Be the worker of `folder`; `lock` is the descriptor of the lock that it was born with."""
    held = WorkerLock(lock)
    local_dir = Path(folder)
    handler = RotatingFileHandler(local_dir / LOG_NAME, maxBytes=MOST_LOG_BYTES, backupCount=1, encoding="utf-8")
    logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)  # it tells of each client that it makes
    try:
        with DagyClient(local_dir=local_dir) as client:
            worker = Worker(client, local_dir, schedules=False, said=logger.info)
            with stopped_by_signals(worker):
                worker.run(until_idle=True, linger_seconds=LINGER_SECONDS, lock=held)
    except Exception:
        logger.exception("the worker failed")
        sys.exit(1)
