"""Runs what is queued in a control plane: each run in a process of its own, from its artifact.

A worker claims a run, and it is the worker's for as long as its lease is renewed. What happens in the run goes into the
history on this machine first, and from there to the control plane; so what can't be delivered now is not lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.worker.worker import CONCURRENCY, Worker, WorkerClient

_HOMES = {
    "CONCURRENCY": "dagy.worker.worker",
    "Worker": "dagy.worker.worker",
    "WorkerClient": "dagy.worker.worker",
}

__all__ = ["CONCURRENCY", "Worker", "WorkerClient"]

__getattr__, __dir__ = lazily(__name__, _HOMES)
