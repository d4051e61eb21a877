"""What can be said of a PostgreSQL database before there is one: its URL, its driver, and that its password is kept."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import pytest

from dagy.control import open_plane
from dagy.errors import MissingExtraError, NetworkError, SettingsError, StoreError

SECRET = "s3cret%21"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"mysql://user:{SECRET}@host/db", SettingsError),
        (f"sqlite:///{SECRET}.db", SettingsError),
        (f"user:{SECRET}@host", SettingsError),
        (f"postgresql://user:{SECRET}@host:port/db", SettingsError),
        ("", SettingsError),
        (f"postgresql://user:{SECRET}@/db?host=/nowhere/at/all", StoreError),
        (f"postgres://user@/db?host=/nowhere/at/all&password={SECRET}", StoreError),
    ],
)
def test_a_password_is_never_told(url: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error) as caught:
        open_plane(tmp_path, url)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "s3cret" not in told
    if error is StoreError:
        assert "can't be reached" in str(caught.value)
        assert "check DAGY_DATABASE_URL" in str(caught.value)
        assert isinstance(caught.value, NetworkError)


def test_without_the_driver_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'dagy\[postgres\]'"):
        open_plane(tmp_path, "postgresql:///db")
