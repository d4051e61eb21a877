"""What the commands cost above a bare interpreter: a process each."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .measuring import Effort, Row, in_turns, row_of_extra

_FLOW = """
from dagy import flow, task

@task
def double(number: int) -> int:
    return 2 * number

@flow(version="1.0.0")
def etl(number: int = 1) -> int:
    return double(number)
"""
_LINES = (  # and the seconds above the bare interpreter that are aimed at
    ("--version", 0.08),
    ("--help", 0.08),
    ("run etl.py", 0.25),
    ("runs list", 0.6),
    ("deployments list", 0.6),
    ("deploy etl.py", 0.8),
)


def commands(effort: Effort) -> Iterator[Row]:
    """The help, a run of a file, what lists, and a deploy that has nothing to do."""
    with tempfile.TemporaryDirectory(prefix="dagy-bench-") as temporary:
        folder = Path(temporary)
        (folder / "etl.py").write_text(_FLOW)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"DAGY_LOCAL_DIR": str(folder / "local"), "DAGY_AUTO_WORKER": "0"}

        def process(*words: str) -> None:
            subprocess.run([sys.executable, *words], check=True, cwd=folder, env=environment, capture_output=True)

        process("-m", "dagy", "deploy", "etl.py")
        for line, target in _LINES:
            found, without = in_turns(
                effort,
                lambda line=line: process("-m", "dagy", *shlex.split(line)),
                lambda: process("-c", "pass"),
            )
            yield row_of_extra(
                f"dagy {line}", found, without, called="a bare python", target=target, is_judged_by_cpu=True
            )
