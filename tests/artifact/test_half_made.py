"""What is made beside its place gets there whole, and what a killed process left there goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dagy.artifact.half_made import half_made, write_whole


def test_it_is_made_beside_its_place_and_moved_there(tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    with half_made(path) as half:
        assert not half.exists()
        half.write_text("whole")
        assert half.parent.parent == tmp_path
        assert not path.exists()
        half.replace(path)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_moved_is_removed(tmp_path: Path) -> None:
    with half_made(tmp_path / "artifact.zip") as half:
        half.mkdir()
        (half / "file").write_text("half")
    assert list(tmp_path.iterdir()) == []


def test_two_may_make_the_same_at_once(tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    with half_made(path) as first, half_made(path) as second:
        first.write_text("first")
        second.write_text("second")
        first.replace(path)
        second.replace(path)
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.program
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom dagy.artifact.half_made import half_made\n"
        "with half_made(Path(sys.argv[1])) as half:\n    half.write_text('half')\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with half_made(tmp_path / "another.zip"):
        pass
    assert len(list(tmp_path.iterdir())) == 1
    with half_made(path):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "choice.json"
    write_whole(path, b"[]")
    write_whole(path, b"[1]")
    assert path.read_bytes() == b"[1]"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["choice.json"]  # noqa: PTH208 (hidden ones too)
