"""Which control plane a client means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dagy.client import Connection, DagyClient
from dagy.errors import SettingsError
from dagy.profiles import Credentials, Profiles
from dagy.settings import Settings


@pytest.fixture
def local_dir() -> Path:
    return Settings.read().local_dir


def connection(api_url: str | None = None, **options: str) -> Connection:
    return Connection.of(
        api_url,
        **{"profile": None, "token": None, "local_dir": None, **options},  # type: ignore[arg-type]
    )


def test_without_an_address_it_is_in_this_process(local_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGY_AUTO_WORKER", raising=False)
    found = connection()
    assert (found.api_url, found.local_dir, found.database_url, found.wakes_workers) == (None, local_dir, None, True)
    monkeypatch.setenv("DAGY_AUTO_WORKER", "0")
    monkeypatch.setenv("DAGY_DATABASE_URL", "postgresql://me:secret@db/dagy")
    found = connection()
    assert (found.database_url, found.wakes_workers) == ("postgresql://me:secret@db/dagy", False)
    assert "secret" not in repr(found)


def test_nothing_is_made_before_something_is_asked(local_dir: Path) -> None:
    with DagyClient() as client:
        assert client.is_local
        assert not local_dir.exists()
        assert client.health()["status"] == "ok"
    with DagyClient("https://dagy.example.com", token="t") as client:
        assert not client.is_local


def test_an_address_comes_from_the_argument_the_environment_or_the_profile(
    local_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = Profiles.read(local_dir)
    profiles.set("prod", {"api_url": "https://prod.example.com"})
    Credentials(local_dir).save(Profiles.read(local_dir).resolve("prod"), "token-of-prod")
    assert connection(profile="prod").api_url == "https://prod.example.com"
    assert connection(profile="prod").token == "token-of-prod"
    assert "token-of-prod" not in repr(connection(profile="prod"))
    monkeypatch.setenv("DAGY_API_URL", "https://env.example.com/")
    assert connection(profile="prod").api_url == "https://env.example.com"
    assert connection(profile="prod").token is None, "the profile's token is for the profile's address"
    assert connection("https://given.example.com", token="mine").api_url == "https://given.example.com"
    assert connection("https://given.example.com", token="mine").token == "mine"
    monkeypatch.setenv("DAGY_API_KEY", "dagy_sk_env")
    assert connection("https://given.example.com").token == "dagy_sk_env"


def test_a_folder_of_its_own_is_a_control_plane_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_API_URL", "https://env.example.com")
    found = Connection.of(None, profile=None, token=None, local_dir=tmp_path)
    assert (found.api_url, found.local_dir) == (None, tmp_path)


def test_a_profile_that_is_not_there_is_told() -> None:
    with pytest.raises(SettingsError, match="'prod'"):
        DagyClient(profile="prod")


@pytest.mark.program
@pytest.mark.parametrize(
    ("program", "without"),
    [
        ("DagyClient('https://dagy.example.com', token='t')", ["sqlalchemy", "sqlite3", "alembic", "dagy.flows"]),
        ("print(len(DagyClient().deployments(tags={'a': 'b'})))", ["pydantic", "httpx"]),
    ],
)
def test_a_client_loads_no_more_than_its_way_of_asking_needs(program: str, without: list[str]) -> None:
    code = f"import sys; from dagy import DagyClient; {program}; print(sorted({{*{without}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
