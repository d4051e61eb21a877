"""The control plane's file: private, shared by turns, and left alone when it is somebody else's."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dagy.control import open_plane
from dagy.control import sqlite as sqlite_store
from dagy.control.artifacts import ArtifactFiles
from dagy.control.plane import ControlPlane
from dagy.control.sqlite import SqliteStore
from dagy.errors import StoreError, UnknownRunError
from dagy.runs.database import LOG_LIMIT

from .planes import artifact_file, deployed

JOBS = Path(__file__).with_name("jobs.py")


def test_the_folder_and_the_file_are_their_owners_alone(tmp_path: Path) -> None:
    with open_plane(tmp_path / "dagy") as plane:
        deployed(plane, tmp_path)
        found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "dagy").rglob("*")}
    assert stat.S_IMODE((tmp_path / "dagy").stat().st_mode) == 0o700
    assert found.pop("artifacts") == 0o700
    assert {"control.db", "control.db-wal"} < found.keys()
    assert set(found.values()) == {0o600}


def test_the_folder_of_artifacts_alone_is_private_too(tmp_path: Path) -> None:
    ArtifactFiles(tmp_path / "dagy" / "artifacts").put(artifact_file(tmp_path))  # as where PostgreSQL has the rest
    for folder in (tmp_path / "dagy", tmp_path / "dagy" / "artifacts"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


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
            plane.create_run("etl", {"limit": 1, "mode": "x" * LOG_LIMIT})
        assert (tmp_path / "dagy" / "control.db-wal").stat().st_size < 3 * LOG_LIMIT
        assert len(plane.runs()) == 6


def test_what_is_kept_counts_though_the_write_ahead_log_can_not_be_copied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_plane(tmp_path / "dagy") as plane:
        deployed(plane, tmp_path)
        (tmp_path / "dagy").rename(tmp_path / "elsewhere")  # nobody can open the file by its path any more
        (tmp_path / "dagy" / "control.db").mkdir(parents=True)
        os.truncate(os.open(tmp_path / "dagy" / "control.db-wal", os.O_CREAT | os.O_WRONLY), LOG_LIMIT + 1)
        run = plane.create_run("etl", {"limit": 1})
        assert plane.run("latest") == run
    assert "the write-ahead log can't be copied" in caplog.text


@pytest.mark.program
def test_what_can_not_be_written_can_be_read(tmp_path: Path) -> None:
    local_dir = tmp_path / "dagy"
    with open_plane(local_dir) as plane:
        deployed(plane, tmp_path)
        run = plane.create_run("etl", {"limit": 1})
    for each in local_dir.glob("control.db*"):
        each.chmod(0o400)
    local_dir.chmod(0o500)
    try:
        command = [sys.executable, str(JOBS), "look", str(local_dir), ""]
        done = subprocess.run(
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command] if os.geteuid() == 0 else command,
            capture_output=True, text=True, timeout=60, check=False,
            env=os.environ | {"PYTHONPATH": str(JOBS.parents[2])},
        )  # fmt: skip
    finally:
        local_dir.chmod(0o700)
    assert done.returncode == 0, done.stderr
    ((_, (found, refused)),) = json.loads(done.stdout)
    assert found == [run.run_id]
    assert "can't be written: it is read-only here; set DAGY_LOCAL_DIR" in refused


def test_copies_of_artifacts_that_were_never_whole_are_removed_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "dagy" / "artifacts"
    with open_plane(tmp_path / "dagy") as plane:
        folder.mkdir()
        for name, age in ((".artifact-old.zip", 90_000), (".artifact-new.zip", 60)):
            (folder / name).touch()
            os.utime(folder / name, (time.time() - age,) * 2)
        info = plane.put_artifact(artifact_file(tmp_path))
    assert {each.name for each in folder.iterdir()} == {".artifact-new.zip", f"{info.sha256}.zip"}


def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with open_plane(tmp_path) as plane, pytest.raises(StoreError, match="File name too long"):
        plane.put_artifact(Path("x" * 5000))


LISTINGS: list[Callable[[ControlPlane], object]] = [
    lambda plane: plane.runs(),
    lambda plane: plane.runs(deployment="etl"),
    lambda plane: plane.runs(deployment="team/etl"),
    lambda plane: plane.runs(flow="etl"),
    lambda plane: plane.runs(status="FAILED"),
    lambda plane: plane.run("latest"),
    lambda plane: plane.events("latest"),
    lambda plane: plane.task_runs("latest"),
    lambda plane: plane.claim_run("a worker"),
    lambda plane: plane.recover_runs(),
    lambda plane: plane.create_run("etl", {"limit": 1}, idempotency_key="once"),
    lambda plane: _unless_unknown(lambda: plane.run("etl-2")),
    lambda plane: _unless_unknown(lambda: plane.run("3fa9c1")),
]


@pytest.mark.parametrize("ask", LISTINGS)
def test_no_question_reads_all_runs_there_ever_were(tmp_path: Path, ask: Callable[[ControlPlane], object]) -> None:
    asked: list[tuple[str, Any]] = []
    store = SqliteStore(tmp_path / "dagy")
    with ControlPlane(store, ArtifactFiles(tmp_path / "dagy" / "artifacts")) as plane:
        deployed(plane, tmp_path)
        plane.create_run("etl", {"limit": 1})
        listen = lambda _db, _cursor, statement, values, *_: asked.append((statement, values))  # noqa: E731
        sa.event.listen(store._here(), "before_cursor_execute", listen)
        ask(plane)
    with contextlib.closing(sqlite3.connect(tmp_path / "dagy" / "control.db")) as db:
        for statement, values in asked:
            newest_first = "ORDER BY runs.id DESC" in statement
            takes_the_first = newest_first and "LIMIT" in statement and "WHERE" not in statement
            for *_, step in db.execute(f"EXPLAIN QUERY PLAN {statement}", values):
                assert takes_the_first or not step.startswith("SCAN runs"), (step, statement)
                assert not (newest_first and "TEMP B-TREE" in step), (step, statement)


def _unless_unknown(look: Callable[[], object]) -> None:
    with contextlib.suppress(UnknownRunError):
        look()


def test_a_plane_that_is_opened_again_writes_no_statement_anew(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two", "three"):
        with open_plane(tmp_path / name) as plane:
            deployed(plane, tmp_path)
            plane.create_run("etl", {"limit": 1}, idempotency_key="once")
            assert len(plane.runs()) == 1
            written.append(len(sqlite_store._STATEMENTS))
    assert written[0] == written[1] == written[2]


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
