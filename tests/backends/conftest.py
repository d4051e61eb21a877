"""AWS as tests of runs see it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .scripted import Scripted, scripted


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """An endpoint that answers as the test says, and somebody who is signed in."""
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with scripted() as script:
        yield script
