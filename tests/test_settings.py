from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dagy.errors import SettingsError, StoreError
from dagy.settings import Settings, made_private


def test_a_setting_knows_where_it_came_from() -> None:
    given = Settings.read({"DAGY_LOCAL_DIR": "/some/where"})
    assert (given.local_dir, given.sources["local_dir"]) == (Path("/some/where"), "DAGY_LOCAL_DIR")
    usual = Settings.read({})
    assert (usual.local_dir, usual.sources["local_dir"]) == (Path.home() / ".dagy", "the default")


def test_an_empty_variable_is_none() -> None:
    assert Settings.read({"DAGY_LOCAL_DIR": ""}) == Settings.read({})


def test_a_relative_folder_is_meant_from_where_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings.read({"DAGY_LOCAL_DIR": "state"})
    monkeypatch.chdir("/")
    assert found.local_dir == tmp_path / "state"


def test_reading_settings_touches_no_file(tmp_path: Path) -> None:
    assert not Settings.read({"DAGY_LOCAL_DIR": str(tmp_path / "state")}).local_dir.exists()


def test_a_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    made = made_private(tmp_path / "state")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert made_private(made) == made


@pytest.mark.parametrize("name", ["file/state", "nul\0"])
def test_a_folder_that_cannot_be_made_is_refused_with_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="set DAGY_LOCAL_DIR to another"):
        made_private(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("1", True), ("YES", True), ("off", False), ("", False)]
)
def test_a_switch_is_yes_or_no(text: str, expected: bool) -> None:
    assert Settings.read({"DAGY_LOCAL_VERBOSE": text}).verbose is expected


def test_a_switch_that_says_neither_is_refused() -> None:
    with pytest.raises(SettingsError, match="DAGY_AUTO_WORKER is 'maybe'; it may be true, 1, yes, on or false"):
        Settings.read({"DAGY_AUTO_WORKER": "maybe"})


def test_a_worker_is_woken_unless_told_otherwise() -> None:
    assert Settings.read({}).auto_worker
    assert not Settings.read({"DAGY_AUTO_WORKER": "0"}).auto_worker


def test_the_address_of_a_database_is_not_shown() -> None:
    found = Settings.read({"DAGY_DATABASE_URL": "postgresql://me:s3cret@host/dagy"})
    assert found.database_url == "postgresql://me:s3cret@host/dagy"
    assert "s3cret" not in repr(found)
