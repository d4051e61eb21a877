"""How long it takes to build an artifact of code alone, and to see that nothing has changed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagy.artifact import BuildOptions, Request, build_artifact, known_build
from dagy.settings import Settings

from .measuring import Effort, Row, in_turns, row_of_extra, row_of_time

_FLOW = """
from dagy import flow, task
from rows import double


@task
def load(limit: int) -> list[int]:
    return [double(each) for each in range(limit)]


@flow
def etl(limit: int = {limit}):
    return load(limit)
"""


def builds(effort: Effort) -> Iterator[Row]:
    """With `dagy --version` as the program's start, and in this process."""
    with _project() as folder:
        edits = _edits(folder)
        commands = (
            lambda: (next(edits), _program(folder, "build", "flows.py")),
            lambda: _program(folder, "build", "same.py"),
            lambda: _program(folder, "--version"),
        )
        new, same, start = in_turns(effort, *commands)
        for what, found, target in (("dagy build, new code", new, 0.05), ("dagy build, nothing changed", same, 0.01)):
            yield row_of_extra(what, found, start, called="dagy --version", target=target, is_judged_by_cpu=True)
        here = in_turns(effort, lambda: (next(edits), _built(folder, "flows.py")), lambda: _known(folder, "same.py"))
        yield row_of_time("build in process, new code", here[0], target=0.02)
        yield row_of_time("build in process, nothing changed", here[1], target=0.002)


def _edits(folder: Path) -> Iterator[None]:
    for limit in itertools.count(10):
        (folder / "flows.py").write_text(_FLOW.format(limit=limit))
        yield


def _program(folder: Path, *args: str) -> None:
    # Byte code is written and reused, as on a user's machine.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["DAGY_LOCAL_DIR"] = str(folder / "local")
    subprocess.run([sys.executable, "-m", "dagy", *args], cwd=folder, check=True, env=environment, capture_output=True)


def _built(folder: Path, name: str) -> None:
    build_artifact(folder / name, output_dir=folder / "dist")


def _known(folder: Path, name: str) -> None:
    """What a second build does; the first one of a series makes it known."""
    request = Request.here(str(folder / name), folder / "dist", BuildOptions())
    if known_build(request, Settings.read().local_dir) is None:
        _built(folder, name)


@contextmanager
def _project() -> Iterator[Path]:
    """A folder with two flows and a module that both need, and a local folder of its own."""
    before = os.environ.get("DAGY_LOCAL_DIR")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["DAGY_LOCAL_DIR"] = str(folder / "local")
        (folder / "rows.py").write_text("def double(row):\n    return 2 * row\n")
        for name in ("flows.py", "same.py"):
            (folder / name).write_text(_FLOW.format(limit=4))
        time.sleep(0.02)  # until the file system can tell a later edit from these
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["DAGY_LOCAL_DIR"]
            else:
                os.environ["DAGY_LOCAL_DIR"] = before
