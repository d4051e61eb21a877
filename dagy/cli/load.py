"""Parts of the program that a command may need and mostly does not: loaded when it comes to that.

So `dagy run FILE` starts as if there were no control plane, and `dagy --help` as if there were no command.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def load(part: str) -> ModuleType:
    """The module `dagy.cli.<part>`."""
    return importlib.import_module(f"dagy.cli.{part}")
