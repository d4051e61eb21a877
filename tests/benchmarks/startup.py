"""What loading costs above a bare interpreter and a bare IPython."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from .measuring import Effort, Row, in_turns, row_of_extra


def imports(effort: Effort) -> Iterator[Row]:
    """A process each."""
    python = [sys.executable, "-c"]
    ipython = [sys.executable, "-m", "IPython", "--no-banner", "--quick", "-c"]
    for what, command, loading, called, target in (
        ("import dagy, with flow and task", python, "from dagy import flow, task", "a bare python", 0.04),
        ("%load_ext dagy_nb", ipython, "%load_ext dagy_nb", "a bare IPython", 0.15),
    ):
        found, without = in_turns(
            effort,
            lambda command=command, loading=loading: _process([*command, loading]),
            lambda command=command: _process([*command, "pass"]),
        )
        yield row_of_extra(what, found, without, called=called, target=target, is_judged_by_cpu=True)


def _process(command: Sequence[str]) -> None:
    # Byte code is written and reused, as on a user's machine.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
