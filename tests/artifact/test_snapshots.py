"""Files as they are while something is made of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.snapshots import Snapshot, are_unchanged, stamp
from dagy.errors import ArtifactError


def test_an_edit_changes_the_stamp_even_when_the_time_of_change_is_set_back(write: Callable[..., Path]) -> None:
    path = write("x.py", "a = 1\n")
    before = stamp(path)
    assert before is not None
    write("new.py", "a = 2\n")
    os.utime(path.with_name("new.py"), ns=(before.mtime_ns, before.mtime_ns))
    path.with_name("new.py").replace(path)
    after = stamp(path)
    assert after is not None
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    assert after != before


def test_what_is_missing_has_no_stamp_until_it_is_there(tmp_path: Path) -> None:
    snapshot = Snapshot()
    assert snapshot.look(tmp_path / "x.py") is None
    assert are_unchanged(snapshot.stamps.items())
    (tmp_path / "x.py").touch()
    assert not are_unchanged(snapshot.stamps.items())


def test_a_file_that_changed_just_now_is_not_settled(write: Callable[..., Path]) -> None:
    snapshot = Snapshot()
    snapshot.look(write("x.py", "x"))
    assert not snapshot.is_settled


def test_a_file_that_rests_is_settled(write: Callable[..., Path], settle: Callable[[], None]) -> None:
    path = write("x.py", "x")
    settle()
    snapshot = Snapshot()
    snapshot.look(path)
    assert snapshot.is_settled


def test_where_times_are_whole_seconds_a_file_settles_later(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write("x.py", "x")
    now = time.time_ns()
    os.utime(path, ns=(now, (now // 1_000_000_000 + 60) * 1_000_000_000))  # newer than any tick
    snapshot = Snapshot()
    snapshot.look(path)
    assert not snapshot.is_settled


def test_a_file_that_changes_once_while_it_is_read_is_read_again(write: Callable[..., Path]) -> None:
    path = write("x.txt", "old")
    versions = iter(["newer", None])

    def read(path: Path) -> str:
        text = path.read_text()
        if (version := next(versions)) is not None:
            path.write_text(version)
        return text

    snapshot = Snapshot()
    assert snapshot.read(path, read) == "newer"
    snapshot.check()


def test_a_file_that_keeps_changing_is_refused(write: Callable[..., Path]) -> None:
    path = write("x.txt", "")

    def read_and_grow(path: Path) -> None:
        path.write_text(path.read_text() + "more")

    with pytest.raises(ArtifactError, match="changes while it is read"):
        Snapshot().read(path, read_and_grow)


def test_a_file_that_changed_after_it_was_read_is_told(write: Callable[..., Path]) -> None:
    path = write("x.txt", "a")
    snapshot = Snapshot()
    snapshot.read(path, Path.read_bytes)
    write("x.txt", "longer")
    with pytest.raises(ArtifactError, match=r"x\.txt' changed while the artifact was built"):
        snapshot.check()
