"""Worker processes: calls of functions that can really be stopped, whatever their code does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.engine.processes.calls import ProcessCall
    from dagy.engine.processes.functions import PackedFunction, pack_function
    from dagy.engine.processes.pool import ProcessPool, shared_pool

_HOMES = {
    "PackedFunction": "dagy.engine.processes.functions",
    "ProcessCall": "dagy.engine.processes.calls",
    "ProcessPool": "dagy.engine.processes.pool",
    "pack_function": "dagy.engine.processes.functions",
    "shared_pool": "dagy.engine.processes.pool",
}

__all__ = [
    "PackedFunction",
    "ProcessCall",
    "ProcessPool",
    "pack_function",
    "shared_pool",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
