"""A container as a process: the image stands for this computer's Python, the rest is as it was asked for."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dagy.testing.local_aws.logs import Listener, LogStream
from dagy.testing.local_aws.memory import MemoryWatch
from dagy.testing.local_aws.sandbox import dagy_home, start

DEFAULT_IMAGE = "public.ecr.aws/lambda/python"  # of Dagy's tasks; it has this Python, boto3, and Dagy's own libraries

_LOOK_SECONDS = 0.05
_PYTHONS = ("python", "python3")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a container is to run. `command` is entry point and command together."""

    image: str
    command: Sequence[str]
    variables: Mapping[str, str]
    memory_mb: int
    tmp_mb: int
    stop_seconds: float  # between being asked to end and being killed


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container ended. `exit_code` is None when it never began; `reason` is empty when it ended by itself."""

    exit_code: int | None
    reason: str = ""


def run(wanted: Wanted, home: Path, stopped: threading.Event, stream: LogStream | None) -> Ended:
    """Run it to its end, or until `stopped` is set; what it says goes to `stream`."""
    if not wanted.image.startswith(DEFAULT_IMAGE):
        return Ended(None, f"CannotPullContainerError: {wanted.image!r} is not on this computer, which has no images")
    if not wanted.command:
        return Ended(None, "CannotStartContainerError: no command")
    program, *arguments = wanted.command
    command = [sys.executable if Path(program).name in _PYTHONS else program, *arguments]
    folder = Path(tempfile.mkdtemp(prefix="container-", dir=home))
    working = folder / "working"
    working.mkdir()
    variables = {"HOME": str(working), "PYTHONPATH": str(dagy_home()), **wanted.variables}
    try:
        started = start(command, variables, folder, folder=working, tmp_mb=wanted.tmp_mb)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return Ended(None, f"CannotStartContainerError: {error}")
    listener = None if stream is None else Listener(started.said, stream)
    watch = MemoryWatch(started.process.pid, wanted.memory_mb)
    killed_at: float | None = None
    reason = ""
    try:
        while started.process.poll() is None:
            if listener is not None:
                listener.listen()
            if killed_at is None and stopped.wait(_LOOK_SECONDS):
                _signal(started.process.pid, signal.SIGTERM)
                killed_at = time.monotonic() + wanted.stop_seconds
            elif killed_at is not None:
                if time.monotonic() > killed_at:
                    _signal(started.process.pid, signal.SIGKILL)
                time.sleep(_LOOK_SECONDS)
            elif watch.is_over():
                reason = "OutOfMemoryError: Container killed due to memory usage"
                _signal(started.process.pid, signal.SIGKILL)
                started.process.wait()
    finally:
        _signal(started.process.pid, signal.SIGKILL)
        if listener is not None:
            listener.close()
        shutil.rmtree(folder, ignore_errors=True)
    code = started.process.returncode
    return Ended(code if code >= 0 else 128 - code, reason)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
