"""Dagy in a notebook: `%load_ext dagy_nb`, then `%%dagy_task` makes a cell a task.

Each line magic has a plain function here that does the same: `%dagy_run` is `run`, `%dagy_check` is `check`, and so on
(`%dagy` lists them); `last_run` is the newest run. They are loaded on first use, because a command line that only reads
a notebook needs no IPython.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagy_nb.functions import (
        build,
        cancel,
        check,
        dag,
        deploy,
        export_notebook,
        form,
        last_run,
        load,
        load_ipython_extension,
        logs,
        node_form,
        nodes,
        past_runs,
        plan,
        rerun,
        reset,
        run,
        status,
        tasks,
        unload_ipython_extension,
        watch,
    )

__all__ = [
    "build",
    "cancel",
    "check",
    "dag",
    "deploy",
    "export_notebook",
    "form",
    "last_run",
    "load",
    "load_ipython_extension",
    "logs",
    "node_form",
    "nodes",
    "past_runs",
    "plan",
    "rerun",
    "reset",
    "run",
    "status",
    "tasks",
    "unload_ipython_extension",
    "watch",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'dagy_nb' has no attribute {name!r}")
    return getattr(importlib.import_module("dagy_nb.functions"), name)


def __dir__() -> list[str]:
    return __all__
