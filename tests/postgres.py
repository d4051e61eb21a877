"""A PostgreSQL server of the tests' own: in a folder that is thrown away, reached by a socket in it, and only so.

    with Postgres.started() as server:
        url = server.fresh_plane()

Where PostgreSQL is not
installed the tests that need it are skipped; with DAGY_REQUIRE_POSTGRES=1 they fail, so that a machine that is to run
them can't leave them out unnoticed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dagy.control import open_plane
from dagy.control.tables import METADATA

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}


class Postgres:
    """A server that runs; `socket` is the folder of its socket, and `user` who it lets in."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.user = "dagy"
        self._programs = programs
        self._count = itertools.count(1)

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Postgres]:
        """A server for the block. Skips, or fails, where PostgreSQL is not installed."""
        programs = _programs()
        if programs is None:
            reason = "PostgreSQL is not installed (no initdb in the PATH, nor under /usr/lib/postgresql)"
            if os.environ.get("DAGY_REQUIRE_POSTGRES") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        # A socket's path may have 107 bytes, so the folder is not one of pytest's.
        folder = Path(tempfile.mkdtemp(prefix="dagy-pg-", dir="/tmp"))
        server = cls(folder, programs)
        try:
            server._start()
            try:
                yield server
            finally:
                server._run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def is_installed() -> bool:
        """Whether there is a PostgreSQL to start."""
        return _programs() is not None

    def url(self, database: str) -> str:
        """Where that database is."""
        return f"postgresql://{self.user}:a-password@/{database}?host={self.folder}"

    def fresh_plane(self) -> str:
        """The URL of a database with the control plane's tables, all of them empty: the same one each time."""
        tables = ", ".join(METADATA.tables)
        self.sql(f"TRUNCATE {tables} RESTART IDENTITY", database="plane")
        return self.url("plane")

    def empty_database(self) -> str:
        """The URL of a database with nothing in it."""
        name = f"empty_{os.getpid()}_{next(self._count)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, statement: str, *, database: str = "postgres") -> None:
        """Carry out a statement as the server's owner."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, options="-c lock_timeout=10000") as db:
            db.execute(statement)  # type: ignore[call-overload]  # a text that is not a literal

    def restart(self) -> None:
        """Stop the server, whoever is connected, and start it again."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-w", "restart", "-l", os.devnull)

    def _start(self) -> None:
        if os.getuid() == 0:
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = " ".join(f"-c {name}={value}" for name, value in _FAST.items())
        self._run(
            "pg_ctl", "-D", str(data), "-w", "-l", os.devnull,
            "-o", f"-c listen_addresses= -c unix_socket_directories={self.folder} {options}", "start",
        )  # fmt: skip
        self.sql("CREATE DATABASE plane")
        with tempfile.TemporaryDirectory() as local_dir:
            open_plane(Path(local_dir), self.url("plane")).close()

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self._programs / program), *arguments]
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def _programs() -> Path | None:
    """The folder with PostgreSQL's programs, the newest version's."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((each.parent for each in installed), key=lambda each: int(each.parent.name), default=None)
