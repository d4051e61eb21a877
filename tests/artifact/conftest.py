"""A folder with a flow, and what a test needs to load it as a new process would."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagy.artifact.builder import Artifact, build
from dagy.artifact.source import load_flow, read_source

FLOW = """
from dagy import flow, task
from rows_of_etl import double


@task
def load(limit: int) -> list[int]:
    return list(range(limit))


@task
def total(rows: list[int]) -> int:
    return sum(double(row) for row in rows)


@flow(name="etl", version="1.0.0")
def etl(limit: int = 4) -> int:
    return total(load(limit))
"""


@pytest.fixture(autouse=True)
def _forget_what_was_imported() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - modules:
        if not name.startswith(("dagy", "pydantic")):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file under the test's folder and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def flow_file(write: Callable[..., Path]) -> Path:
    """A file with the flow `etl` and a module beside it."""
    write("rows_of_etl.py", "def double(row):\n    return 2 * row\n")
    return write("etl.py", FLOW)


@pytest.fixture
def artifact(flow_file: Path, tmp_path: Path) -> Artifact:
    """The artifact of `flow_file`."""
    source = read_source(flow_file)
    return build(source, load_flow(source), tmp_path / "dist")


@pytest.fixture
def settle(tmp_path: Path) -> Callable[[], None]:
    """Let the file system's clock tick past all that was written in the test's folder: some milliseconds."""

    def settle() -> None:
        newest = max(each.lstat().st_ctime_ns for each in [tmp_path, *tmp_path.rglob("*")])
        while time.time_ns() < newest + 12_000_000:
            pass

    return settle
