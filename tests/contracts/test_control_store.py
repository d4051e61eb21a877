"""What the control plane's databases hold to: migrations make the tables, many write at once, any of them may die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dagy.control import ControlPlane, Timing, open_plane
from dagy.control.columns import EPOCH
from dagy.control.migrating import HEAD, MIGRATIONS, REVISIONS, migrate
from dagy.control.postgres import PostgresStore
from dagy.control.tables import METADATA
from dagy.errors import StoreError
from dagy.runs import owner_text, this_process
from dagy.states import StateType
from dagy.testing import ManualClock

from ..control.planes import deployed
from ..postgres import Postgres

PROCESSES = int(os.environ.get("DAGY_PROCESSES", "4"))
JOBS = Path(__file__).parents[1] / "control" / "jobs.py"
KILLED = -9
APPLICATION_ID = 0x44616743  # "DagC", in the header of a control plane's file

both = pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.program)])

Run = Callable[..., list[Any]]


@pytest.fixture
def empty(kind: str, request: pytest.FixtureRequest) -> str | None:
    """Where a database with nothing in it is; None for a file that is not there yet."""
    return request.getfixturevalue("postgres").empty_database() if kind == "postgres" else None


@pytest.fixture
def local_dir(tmp_path: Path) -> Path:
    return tmp_path / "dagy"


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str | None:
    """Where a database with empty tables is; None for a file that is not there yet."""
    return request.getfixturevalue("postgres").fresh_plane() if kind == "postgres" else None


@pytest.fixture
def plane(url: str | None, local_dir: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    """A plane with the deployment `etl`, by the real time."""
    with open_plane(local_dir, url) as plane:
        deployed(plane, tmp_path)
        yield plane


@pytest.fixture
def together(local_dir: Path) -> Run:
    """Processes that do a job at the same time: what each printed, and how those ended that printed nothing."""

    def run(job: str, url: str | None, *, processes: int = PROCESSES, number: int = 0, faults: str = "") -> list[Any]:
        command = [sys.executable, str(JOBS), job, str(local_dir), url or "", str(number), str(processes)]
        environment = os.environ | {"DAGY_FAULTS": faults, "PYTHONPATH": str(JOBS.parents[2])}
        done = subprocess.run(command, capture_output=True, env=environment, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        ends = json.loads(done.stdout)
        assert len(ends) == processes
        assert all(code in (0, KILLED) for code, _ in ends), done.stderr
        return [told if code == 0 else code for code, told in ends]

    return run


# ---- migrations


def engine(url: str | None, path: Path) -> sa.Engine:
    """The database at that URL, or the file when there is none, without the product's own door."""
    return sa.create_engine(f"sqlite:///{path}" if url is None else url.replace("postgresql:", "postgresql+psycopg:"))


def described(db: sa.Connection) -> dict[str, object]:
    """All that a database says of its tables."""
    inspector = sa.inspect(db)

    def in_order(things: Any) -> list[str]:
        return sorted(json.dumps(each, default=str, sort_keys=True) for each in things)

    return {
        table: [
            [str({name: str(value) for name, value in column.items()}) for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table)["constrained_columns"],
            in_order(inspector.get_foreign_keys(table)),
            in_order(inspector.get_indexes(table)),
            in_order(inspector.get_unique_constraints(table)),
        ]
        for table in sorted(inspector.get_table_names())
        if table != "alembic_version"
    }


@both
def test_the_migrations_make_the_tables_as_they_are_now(
    empty: str | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    other = request.getfixturevalue("postgres").empty_database() if empty else None
    migrated, made = engine(empty, tmp_path / "migrated.db"), engine(other, tmp_path / "made.db")
    with migrated.begin() as db:
        migrate(db)
        assert db.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]
        by_migrations = described(db)
    with made.begin() as db:
        METADATA.create_all(db)
        assert by_migrations == described(db)
    assert set(by_migrations) == set(METADATA.tables)
    migrated.dispose()
    made.dispose()


FIRST = (
    "INSERT INTO artifacts VALUES ('a', 1, 'etl', 'latest', 'c', 0)",
    "INSERT INTO flows VALUES (1, '', 'etl', 'latest', 1, 'c', 'a', '\"\"', 0, '[]', '{}', 0)",
    "INSERT INTO deployments VALUES (1, '', 'etl', 1, '{\"team\":\"a\"}', '{}', 0, 0)",
    "INSERT INTO runs (run_id, ending, namespace, deployment, flow, flow_name, parameters, status, message, tags, "
    "trigger, request, created_at, fence, tries, tasks, events, has_result) VALUES "
    "('etl-1', '1', '', 'etl', 1, 'etl', '{\"limit\":1}', 'QUEUED', '\"\"', '{}', 'api', 'r', 0, 0, 0, '{}', 0, FALSE)",
)  # what the first version of the tables may hold


@both
def test_what_an_older_dagy_has_deployed_is_run_by_workers(empty: str | None, local_dir: Path) -> None:
    local_dir.mkdir()
    database = engine(empty, local_dir / "control.db")
    with database.begin() as db:
        migrate(db, to="0001")
        for statement in FIRST:
            db.execute(sa.text(statement.replace(":", "\\:")))
        if empty is None:
            db.execute(sa.text(f"PRAGMA application_id = {APPLICATION_ID}"))
    database.dispose()
    with open_plane(local_dir, empty) as plane:
        (deployment,), (run,) = plane.deployments(), plane.runs()
        assert (deployment.tags, deployment.executor, deployment.resources) == ({"team": "a"}, "local", {})
        assert (run.parameters, run.executor, run.resources, run.resumes) == ({"limit": 1}, "local", {}, None)
        claim = plane.claim_run("a worker")
        assert claim is not None
        assert claim.run.run_id == "etl-1"


def test_every_version_is_known_by_the_order_of_the_migrations() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(each.revision for each in scripts.walk_revisions())[::-1] == REVISIONS
    assert scripts.get_current_head() == HEAD


@pytest.mark.program
def test_a_plane_that_is_up_to_date_is_opened_without_alembic(local_dir: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from dagy.control import open_plane\n"
        f"open_plane(Path({str(local_dir)!r})).close(); open_plane(Path({str(local_dir)!r})).close()\n"
        "print([each for each in ('alembic', 'psycopg', 'cronsim', 'pydantic') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@both
def test_a_plane_of_a_newer_dagy_is_refused(empty: str | None, local_dir: Path) -> None:
    open_plane(local_dir, empty).close()
    database = engine(empty, local_dir / "control.db")
    with database.begin() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()
    with pytest.raises(StoreError, match=r"made by a newer dagy .*'9999'.*upgrade dagy"):
        open_plane(local_dir, empty)


@pytest.mark.program
@both
def test_processes_that_open_a_new_plane_at_once_all_get_it(empty: str | None, together: Run) -> None:
    assert together("reopen", empty) == [None] * PROCESSES


@pytest.mark.program
@both
@pytest.mark.parametrize("statement", [1, 9, 17])
def test_tables_that_were_half_made_are_made_anew(empty: str | None, together: Run, statement: int) -> None:
    assert together("reopen", empty, processes=1, faults=f"control.migration:{statement}") == [KILLED]
    assert together("claim", empty, processes=1) == [[]]


# ---- many at once


@both
def test_threads_share_a_plane(plane: ControlPlane) -> None:
    me = owner_text(this_process())
    with ThreadPoolExecutor(16) as threads:
        same = list(threads.map(lambda _: plane.create_run("etl", {"limit": 1}, idempotency_key="one"), range(48)))
        list(threads.map(lambda number: plane.create_run("etl", {"limit": number}), range(47)))
        claims = list(threads.map(lambda _: plane.claim_run(me), range(64)))
    assert len({run.run_id for run in same}) == 1
    taken = [each.run.run_id for each in claims if each is not None]
    assert len(taken) == len(set(taken)) == 48


@pytest.mark.program
@both
def test_each_run_is_claimed_by_one_process(plane: ControlPlane, url: str | None, together: Run) -> None:
    asked = {plane.create_run("etl", {"limit": number}).run_id for number in range(40)}
    taken = Counter(run_id for claimed in together("claim", url) for run_id in claimed)
    assert set(taken) == asked
    assert set(taken.values()) == {1}


@pytest.mark.program
@both
def test_many_processes_write_to_one_plane_and_nothing_is_lost(
    plane: ControlPlane, url: str | None, together: Run
) -> None:
    done = together("work", url, number=10)
    ended, waiting = (count(plane, status) for status in (StateType.COMPLETED, StateType.QUEUED))
    assert ended == sum(done)
    assert ended + waiting == 10 * PROCESSES + 10  # those with a key were made once


def count(plane: ControlPlane, status: StateType) -> int:
    total, after = 0, None
    while True:
        page = plane.runs(status=status, limit=1000, after=after)
        total, after = total + len(page), page.next
        if after is None:
            return total


@pytest.mark.program
@both
def test_a_process_that_is_forked_goes_on_with_the_plane(plane: ControlPlane, url: str | None, together: Run) -> None:
    assert together("fork", url, processes=1) == [[0, [1, 2, 3]]]


# ---- deaths


@pytest.mark.program
@both
@pytest.mark.parametrize("fault", ["schedules.made", "control.before_commit"])
def test_a_time_that_is_due_is_one_run_though_who_makes_it_dies(
    url: str | None, local_dir: Path, tmp_path: Path, together: Run, fault: str
) -> None:
    clock = ManualClock(1_000_000_000)  # long ago, so that for the processes it is due
    with open_plane(local_dir, url, clock=clock) as plane:
        deployed(plane, tmp_path)
        at = EPOCH + timedelta(seconds=1_000_000_060)
        schedule = plane.put_schedule("etl", Timing("one_time", at=at), parameters={"limit": 1})
        assert together("tick", url, processes=1, faults=f"{fault}:1") == [KILLED]
        made = [run_id for made in together("tick", url, processes=2) for run_id in made]
        (run,) = plane.runs()
        assert made == [run.run_id]
        assert run.scheduled_for == at
        assert plane.schedule(schedule.schedule_id).next_run_at is None


# ---- PostgreSQL


@pytest.mark.program
def test_a_connection_that_was_lost_is_made_again(postgres: Postgres, tmp_path: Path) -> None:
    with open_plane(tmp_path / "dagy", postgres.fresh_plane()) as plane:
        deployed(plane, tmp_path)
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'plane'")
        run = plane.create_run("etl", {"limit": 1})
        postgres.restart()
        assert plane.run("latest") == run
        postgres.restart()
        assert plane.claim_run("a worker") is not None


@pytest.mark.program
def test_transactions_that_wait_for_each_other_are_begun_again(postgres: Postgres) -> None:
    store = PostgresStore(postgres.fresh_plane())
    for name in ("a", "b"):
        store.write(lambda db, name=name: add_key(db, name))
    meet = threading.Barrier(2, timeout=30)
    begun: Counter[str] = Counter()

    def change(first: str, second: str) -> None:
        def both_keys(db: sa.Connection) -> None:
            begun[first] += 1
            rename(db, first)
            if begun[first] == 1:
                meet.wait()
            rename(db, second)

        store.write(both_keys)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(change, "ab", "ba"))
    assert sorted(begun.values()) == [1, 2]
    assert store.read(lambda db: db.execute(sa.text("SELECT name FROM keys")).scalars().all()) == ["xxx", "xxx"]
    store.close()


def add_key(db: sa.Connection, name: str) -> None:
    db.execute(
        sa.text(
            "INSERT INTO keys (key_id, name, prefix, digest, scopes, created_at) VALUES (:name, 'x', '', '', '[]', 0)"
        ),
        {"name": name},
    )


def rename(db: sa.Connection, key_id: str) -> None:
    db.execute(sa.text("UPDATE keys SET name = name || 'x' WHERE key_id = :key_id"), {"key_id": key_id})


@pytest.mark.program
def test_a_database_that_is_somebody_elses_is_left_alone(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.empty_database()
    postgres.sql("CREATE TABLE runs (mine int)", database=url.partition("@/")[2].partition("?")[0])
    with pytest.raises(StoreError, match="holds other tables under the names that dagy needs"):
        open_plane(tmp_path / "dagy", url)


@pytest.mark.program
def test_a_database_that_is_not_there_is_said_to_be_missing(postgres: Postgres, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist") as caught:
        open_plane(tmp_path / "dagy", postgres.url("nothing"))
    assert "a-password" not in str(caught.value)
