"""Calls a function in a process of its own, where memory and first times are its own too."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def alone(function: Callable[..., Any], *args: object) -> Any:
    """What `function` returns there, as JSON carries it; `args` must fit into JSON as well."""
    command = [sys.executable, "-m", __name__, function.__module__, function.__name__, json.dumps(args)]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    module, name, given = sys.argv[1:]
    print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(given))))
