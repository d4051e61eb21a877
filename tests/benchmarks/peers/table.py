"""The table of what a task costs in other engines, beside Dagy and plain Python."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..alone import ROOT
from ..measuring import Effort, in_unit
from .cell import NAMES
from .environments import PEERS, interpreter

SECONDS = 120  # that a cell may take
_CELL = "tests.benchmarks.peers.cell"


def table(peers: Sequence[str], effort: Effort) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Heads and lines: a task's cost, drawing included, and how many times plain Python's in the same process."""
    pythons = {"dagy": Path(sys.executable), **{peer: interpreter(peer) for peer in peers}}
    heads = ["a task, drawn and run", "plain Python", "dagy", *(PEERS[peer][0].replace("==", " ") for peer in peers)]
    lines = []
    for name in NAMES:
        cells = []
        for peer, python in pythons.items():
            print(f"measuring {name} with {peer} ...", file=sys.stderr, flush=True)
            cells.append(_measured(python, peer, name, effort.slow().rounds))
        limits = [limit for each in cells if not isinstance(each, str) for limit in each["limit"]]
        plain = in_unit(statistics.median(limits)) if limits else ""
        lines.append([name, plain, *(each if isinstance(each, str) else _text(each) for each in cells)])
    return heads, lines


def _text(figures: dict[str, list[float]]) -> str:
    ratios = [found / limit for found, limit in zip(figures["found"], figures["limit"], strict=True)]
    return f"{in_unit(statistics.median(figures['found']))} ({statistics.median(ratios):.3g}x)"


def _measured(python: Path, peer: str, name: str, rounds: int) -> dict[str, list[float]] | str:
    """What the cell found, or why it did not."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        # A session of its own, so that what it leaves behind (a server, say) can be ended with it.
        cell = subprocess.Popen(
            [python, "-m", _CELL, peer, name, str(rounds)],
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": scratch},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, told = cell.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"over {SECONDS} s"
        finally:
            _end_session(cell)
    for line in out.splitlines():
        if line.startswith('{"found"'):
            found: dict[str, list[float]] = json.loads(line)
            return found
    print(told[-2000:], file=sys.stderr)
    return "failed"


def _end_session(cell: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(cell.pid, signal.SIGKILL)
    cell.wait()
