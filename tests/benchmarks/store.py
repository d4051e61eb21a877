"""What the control plane takes above its database: a run's whole life, and opening a store that is there.

The floor of a run is the same four transactions in plain SQL on the same database, with the same promise to outlive a
loss of power: ask for it, claim it, report that it runs, report its end.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dagy.control import ControlPlane, Report, open_plane
from dagy.states import StateType

from ..control.planes import deployed
from ..postgres import Postgres
from .measuring import Effort, Row, in_turns, row_of_extra, row_of_ratio

_TABLE = "CREATE TABLE lives (id INTEGER PRIMARY KEY, run_id TEXT UNIQUE, state TEXT, body TEXT, fence INTEGER)"
_BODY = "x" * 600  # about what a row of a run holds


def lives(effort: Effort) -> Iterator[Row]:
    """A run's life: asked for, claimed, begun and ended, one after the other."""
    size = effort.size(60)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_plane(Path(folder, "dagy")) as plane,
        _plain_sqlite(Path(folder, "plain.db")) as plain,
    ):
        yield _row("a run's life, SQLite", effort, size, Path(folder), plane, plain)
    if not Postgres.is_installed():
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        Postgres.started() as server,
        open_plane(Path(folder, "dagy"), server.fresh_plane()) as plane,
        _plain_postgres(server) as plain,
    ):
        yield _row("a run's life, PostgreSQL", effort, size, Path(folder), plane, plain)


def opening(effort: Effort) -> Iterator[Row]:
    """A process each."""
    with tempfile.TemporaryDirectory() as folder:
        open_plane(Path(folder)).close()
        opened = f"import pathlib, dagy.control\ndagy.control.open_plane(pathlib.Path({folder!r})).close()"
        found, without = in_turns(effort, lambda: _process(opened), lambda: _process("import sqlalchemy"))
        yield row_of_extra(
            "open a control plane that is there", found, without, called="import sqlalchemy", target=0.1,
            is_judged_by_cpu=True,
        )  # fmt: skip


def _row(what: str, effort: Effort, size: int, folder: Path, plane: ControlPlane, plain: Callable[[], None]) -> Row:
    deployed(plane, folder)

    def run() -> None:
        for _ in range(size):
            asked = plane.create_run("etl", {"limit": 1})
            claim = plane.claim_run("a worker")
            assert claim is not None
            plane.report(asked.run_id, claim.fence, Report(status=StateType.RUNNING))
            plane.report(asked.run_id, claim.fence, Report(status=StateType.COMPLETED))

    def floor() -> None:
        for _ in range(size):
            plain()

    found, limit = in_turns(effort, run, floor)
    each, plainly = found.scaled(1 / size), limit.scaled(1 / size)
    return row_of_ratio(what, each, plainly, called="in plain SQL", shows_cpu=False)


@contextlib.contextmanager
def _plain_sqlite(path: Path) -> Iterator[Callable[[], None]]:
    numbers = itertools.count()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(_TABLE)

        def change(statement: str, values: Sequence[object], *, durable: bool) -> None:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            db.execute(statement, values)
            db.execute("COMMIT")

        def life() -> None:
            name = f"run-{next(numbers)}"
            change(
                "INSERT INTO lives (run_id, state, body, fence) VALUES (?, 'QUEUED', ?, 0)", (name, _BODY), durable=True
            )
            change(
                "UPDATE lives SET state = 'CLAIMED', fence = 1 WHERE id = "
                "(SELECT id FROM lives WHERE run_id = ? AND state = 'QUEUED')", (name,), durable=False,
            )  # fmt: skip
            change("UPDATE lives SET state = 'RUNNING' WHERE run_id = ?", (name,), durable=False)
            change("UPDATE lives SET state = 'COMPLETED' WHERE run_id = ?", (name,), durable=True)

        yield life


@contextlib.contextmanager
def _plain_postgres(server: Postgres) -> Iterator[Callable[[], None]]:
    import psycopg

    numbers = itertools.count()
    server.sql("DROP TABLE IF EXISTS lives", database="plane")
    with psycopg.connect(server.url("plane")) as db:
        db.execute(_TABLE.replace("INTEGER PRIMARY KEY", "BIGSERIAL PRIMARY KEY"))

        def change(statement: Any, values: Sequence[object]) -> None:
            db.execute(statement, values)
            db.commit()

        def life() -> None:
            name = f"run-{next(numbers)}"
            change("INSERT INTO lives (run_id, state, body, fence) VALUES (%s, 'QUEUED', %s, 0)", (name, _BODY))
            change(
                "UPDATE lives SET state = 'CLAIMED', fence = 1 WHERE id = (SELECT id FROM lives "
                "WHERE run_id = %s AND state = 'QUEUED' FOR UPDATE SKIP LOCKED)", (name,),
            )  # fmt: skip
            change("UPDATE lives SET state = 'RUNNING' WHERE run_id = %s", (name,))
            change("UPDATE lives SET state = 'COMPLETED' WHERE run_id = %s", (name,))

        yield life


def _process(program: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True)
