"""A PostgreSQL server for the suites that every database must pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of this process."""
    with Postgres.started() as server:
        yield server
