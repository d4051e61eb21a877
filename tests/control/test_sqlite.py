"""The control plane's file: private, shared by turns, and left alone when it is somebody else's."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from dagy.control import open_plane
from dagy.control.artifacts import ArtifactFiles
from dagy.control.plane import ControlPlane
from dagy.control.sqlite import SqliteStore
from dagy.errors import StoreError
from dagy.runs.database import LOG_LIMIT

from .planes import deployed


def test_the_folder_and_the_file_are_their_owners_alone(tmp_path: Path) -> None:
    with open_plane(tmp_path / "dagy") as plane:
        deployed(plane, tmp_path)
        found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "dagy").rglob("*")}
    assert stat.S_IMODE((tmp_path / "dagy").stat().st_mode) == 0o700
    assert found.pop("artifacts") == 0o700
    assert {"control.db", "control.db-wal"} < found.keys()
    assert set(found.values()) == {0o600}


def test_a_path_may_hold_what_a_url_may_not(tmp_path: Path) -> None:
    folder = tmp_path / "a b#?%41=é🙂"
    open_plane(folder).close()
    assert (folder / "control.db").is_file()


def test_another_ones_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a control plane of dagy; move it away"):
        open_plane(tmp_path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="is damaged"):
        open_plane(tmp_path)
    assert path.read_bytes() == b"not a database at all" * 100


def test_a_file_that_is_empty_becomes_a_control_plane(tmp_path: Path) -> None:
    (tmp_path / "control.db").touch()
    with open_plane(tmp_path) as plane:
        assert len(plane.runs()) == 0


def test_a_folder_in_the_place_of_the_file_is_said_to_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "control.db").mkdir()
    with pytest.raises(StoreError, match="can't be opened"):
        open_plane(tmp_path)


def test_who_waits_for_another_process_says_so_and_gives_up_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(tmp_path, warn_seconds=0.02, wait_seconds=0.05)
    with contextlib.closing(store), contextlib.closing(sqlite3.connect(tmp_path / "control.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match=r"held by another process for 0\.05 s"):
            store.write(lambda db: None)
        assert "has been writing to" in caplog.text
        assert store.read(lambda db: 1) == 1  # who only reads does not wait
        other.rollback()
        assert store.write(lambda db: 2) == 2


def test_the_write_ahead_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    with open_plane(tmp_path / "dagy") as plane:
        deployed(plane, tmp_path)
        for _ in range(6):
            plane.create_run("etl", {"limit": "x" * LOG_LIMIT})
        assert (tmp_path / "dagy" / "control.db-wal").stat().st_size < 3 * LOG_LIMIT
        assert len(plane.runs()) == 6


def test_what_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken(db: sa.Connection) -> None:
        db.execute(sa.text("INSERT INTO keys VALUES ('k', 'x', '', '', '[]', 0, NULL, NULL)"))
        raise KeyError("x")

    store = SqliteStore(tmp_path)
    with ControlPlane(store, ArtifactFiles(tmp_path / "artifacts")) as plane:
        with pytest.raises(KeyError):
            store.write(broken)
        assert plane.keys() == []
        assert plane.create_key("after").info.name == "after"
