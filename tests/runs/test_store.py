from __future__ import annotations

import logging
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dagy.errors import DagyError, StoreError
from dagy.runs import History
from dagy.runs.database import can_lose_the_log, insert, insert_fast, storable, text_of
from dagy.runs.schema import APPLICATION_ID, MIGRATIONS
from dagy.runs.store import FILE_NAME, Store

from .conftest import ROOT, Victims, etl


def specs(store: Store) -> list[str]:
    with store.reading() as db:
        return [name for (name,) in db.execute("SELECT digest FROM specs ORDER BY digest")]


def add(store: Store, name: str) -> None:
    with store.writing() as db:
        db.execute("INSERT INTO specs VALUES (?, 'text')", (name,))


def test_a_new_history_is_for_its_owner_only(local_dir: Path) -> None:
    with Store(local_dir) as store:
        add(store, "a")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (local_dir, *local_dir.iterdir())}
    assert modes == {"state": 0o700, FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600, f"{FILE_NAME}-shm": 0o600}


def test_a_change_is_there_as_a_whole_or_not_at_all(local_dir: Path) -> None:
    with Store(local_dir) as store:
        with pytest.raises(KeyError), store.writing() as db:  # noqa: PT012 (both lines are the point)
            db.execute("INSERT INTO specs VALUES ('half', 'text')")
            raise KeyError
        assert specs(store) == []
        add(store, "whole")
        assert specs(store) == ["whole"]


def test_threads_share_a_store(local_dir: Path) -> None:
    with Store(local_dir) as store:
        threads = [
            threading.Thread(target=lambda n: [add(store, f"{n}-{each}") for each in range(20)], args=(number,))
            for number in range(8)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(specs(store)) == 160


def test_a_forked_child_gets_a_handle_of_its_own(victims: Victims, local_dir: Path) -> None:
    (done,) = victims.run({"do": "share_with_a_child", "local_dir": str(local_dir)})
    assert (done.status, done.said) == (0, ["child parent"])


def test_who_waits_long_for_other_writers_says_so_and_then_gives_up(
    local_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(local_dir) as one, Store(local_dir, warn_seconds=0.01, wait_seconds=0.05) as other, one.writing():
        with caplog.at_level(logging.WARNING), pytest.raises(StoreError, match="held by another process"):
            add(other, "a")
        assert "another process has been writing" in caplog.text
    with Store(local_dir) as one, one.writing():
        pass


def test_the_log_is_copied_into_the_database_only_when_nobody_writes(local_dir: Path) -> None:
    with Store(local_dir) as store, Store(local_dir) as other:
        add(store, "a")
        assert not store.tidy(), "it is short"
        with other.writing():
            assert not store.tidy(limit=0)
        assert store.tidy(limit=0)
        add(other, "b")
        assert specs(store) == ["a", "b"]
    shutil.copy(local_dir / FILE_NAME, local_dir.parent / "alone.db")
    with sqlite3.connect(local_dir.parent / "alone.db") as alone:
        assert alone.execute("SELECT count(*) FROM specs").fetchone() == (2,)
    alone.close()


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False),
        ((3, 45, 0), True), ((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)  # fmt: skip
def test_the_versions_of_sqlite_with_the_wal_reset_fault_are_known(
    version: tuple[int, int, int], expected: bool
) -> None:
    assert can_lose_the_log(version) is expected


def test_sqlite_never_copies_the_log_by_itself_and_maps_no_memory(local_dir: Path) -> None:
    with Store(local_dir) as store, store.reading() as db:
        found = [
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("wal_autocheckpoint", "journal_mode", "mmap_size")
        ]
    assert found == [0, "wal", 0]


def test_a_history_of_a_newer_dagy_is_refused_and_left_as_it_is(local_dir: Path) -> None:
    with Store(local_dir) as store, store.writing() as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = (local_dir / FILE_NAME).read_bytes()
    for write in (True, False):
        with pytest.raises(StoreError, match=r"made by a newer dagy .* upgrade dagy"):
            Store(local_dir, write=write)
    assert (local_dir / FILE_NAME).read_bytes() == before


def test_a_database_of_something_else_is_refused_and_left_as_it_is(local_dir: Path) -> None:
    local_dir.mkdir()
    with sqlite3.connect(local_dir / FILE_NAME) as other:
        other.execute("CREATE TABLE mine (a)")
    other.close()
    before = (local_dir / FILE_NAME).read_bytes()
    with pytest.raises(StoreError, match="not a history of dagy"):
        Store(local_dir)
    assert (local_dir / FILE_NAME).read_bytes() == before


def test_an_empty_file_becomes_a_history(local_dir: Path) -> None:
    local_dir.mkdir()
    (local_dir / FILE_NAME).touch()
    with Store(local_dir) as store, store.reading() as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


@pytest.mark.parametrize(
    "content", [b"\0" * 5000, b"no database at all\n" * 500, b"SQLite format 3\0" + b"\xff" * 8000]
)
def test_what_is_no_database_is_refused_with_the_remedy_and_kept(local_dir: Path, content: bytes) -> None:
    local_dir.mkdir()
    (local_dir / FILE_NAME).write_bytes(content)
    with pytest.raises(StoreError, match=r"(?i)move it away"):
        Store(local_dir)
    assert (local_dir / FILE_NAME).read_bytes() == content


def test_a_folder_in_the_place_of_the_file_is_refused(local_dir: Path) -> None:
    (local_dir / FILE_NAME).mkdir(parents=True)
    with pytest.raises(StoreError, match="can't be opened"):
        Store(local_dir)


@pytest.mark.parametrize("damage", ["flip", "zero", "cut"])
def test_a_damaged_history_is_never_a_crash_nor_a_traceback(local_dir: Path, record: Any, damage: str) -> None:
    record(etl)
    record(etl)
    sound = (local_dir / FILE_NAME).read_bytes()
    chance = random.Random(damage)
    told = 0
    for _ in range(25):
        content = bytearray(sound)
        page = chance.randrange(len(content) // 4096) * 4096
        match damage:
            case "flip":
                for _ in range(20):
                    content[page + chance.randrange(4096)] ^= 1 << chance.randrange(8)
            case "zero":
                content[page : page + 4096] = bytes(4096)
            case _:
                del content[page + chance.randrange(4096) :]
        (local_dir / FILE_NAME).write_bytes(content)
        try:
            with History(local_dir) as history:
                for run in history.runs():
                    history.tasks(run.run_id)
                    history.events(run.run_id)
                    history.spec(run.run_id)
        except DagyError:
            told += 1
    assert told


@pytest.mark.parametrize("name", ["a b", "a#b", "a?mode=ro", "%41", "ünï-☃", "a'b\"c", "x" * 200, "file:a"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    with Store(tmp_path / name) as store:
        add(store, "a")
    assert (tmp_path / name / FILE_NAME).exists()
    with Store(tmp_path / name, write=False) as store:
        assert specs(store) == ["a"]


@pytest.mark.parametrize("run_id", ["..", ".", "", "a/b", "/etc", "a\0", "-x", "ä", "a" * 300, "..\\x"])
def test_a_run_s_folder_is_always_inside(local_dir: Path, run_id: str) -> None:
    with Store(local_dir) as store, pytest.raises(StoreError, match="can't be the id of a run"):
        store.run_folder(run_id)


def test_a_read_only_history_can_be_listed_and_not_be_recorded_in(
    victims: Victims, local_dir: Path, tmp_path: Path, record: Any
) -> None:
    result = record(etl)
    for path in local_dir.glob("*.db*"):
        path.chmod(0o400)
    local_dir.chmod(0o500)
    try:
        oracle = tmp_path / "oracle"
        job = {"do": "without_rights", "local_dir": str(local_dir), "oracle": str(oracle)}
        listed, ran = (victims.run({**job, "what": what})[0] for what in ("list", "run"))
    finally:
        local_dir.chmod(0o700)
    assert listed.said == [f"{result.run_id} COMPLETED"]
    assert [line.startswith("refused StoreError") for line in ran.said] == [True]
    assert not oracle.exists(), "no task has run"


@pytest.mark.parametrize("kilobytes", [0, 40, 100, 120, 140, 200])
def test_a_full_disk_ends_the_run_and_tears_nothing(
    victims: Victims, local_dir: Path, tmp_path: Path, kilobytes: int
) -> None:
    job = {"local_dir": str(local_dir), "oracle": str(tmp_path / "oracle")}
    (full,) = victims.run({"do": "run_in_little_space", "bytes_left": kilobytes * 1024, **job})
    assert full.status == 0
    if not any(line.endswith("COMPLETED") for line in full.said):
        assert any(line.startswith("refused ") for line in full.said)
    (again,) = victims.run({"do": "run", "flow": "many", **job})
    assert again.said[-1].endswith("COMPLETED")
    with Store(local_dir) as store, store.reading() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("text", ["", "plain", "ünï", "nul\0here", "half \ud83d", "‮bidi", "x" * 10_000])
def test_any_text_comes_back(local_dir: Path, text: str) -> None:
    with Store(local_dir) as store:
        with store.writing() as db:
            db.execute("INSERT INTO specs VALUES ('a', ?)", (storable(text),))
        with store.reading() as db:
            assert text_of(db.execute("SELECT json FROM specs").fetchone()[0]) == text


@pytest.mark.parametrize("rows", [0, 1, 39, 40, 41, 100])
def test_many_rows_are_added_like_few(local_dir: Path, rows: int) -> None:
    plain = [(7, place, place * 2) for place in range(rows)]
    with Store(local_dir) as store:
        with store.writing() as db:
            values = [each for row in plain for each in row[1:]]
            insert_fast(db, "counts (run, state, tasks)", "(?1, {}, {})", 7, values)
            insert(db, "counts", [(8, 1, 1)])
            insert(db, "counts", [(8, 1, 2)], instead=True)
        with store.reading() as db:
            assert db.execute("SELECT * FROM counts ORDER BY run, state").fetchall() == [*plain, (8, 1, 2)]


def test_a_closed_store_says_so(local_dir: Path) -> None:
    store = Store(local_dir)
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        add(store, "a")


def test_importing_the_package_does_not_load_sqlite() -> None:
    program = "import dagy.runs, sys; print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_log_that_was_copied_is_short_again_once_more_is_written(local_dir: Path) -> None:
    with Store(local_dir) as store:
        for number in range(3):
            with store.writing() as db:
                db.execute("INSERT INTO specs VALUES (?, ?)", (str(number), "x" * 2_000_000))
        assert store.tidy()
        with store.writing() as db:
            db.execute("INSERT INTO specs VALUES ('more', 'x')")
        assert not store.tidy(), "it would be copied again and again"
