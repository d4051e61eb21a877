"""Databases: rows out and in, on SQLite and on a real PostgreSQL; values are bound, and writing is all or nothing."""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import polars as pl
import pytest

from dagy.errors import (
    ConflictError,
    ConnectorError,
    MissingExtraError,
    MissingSecretError,
    NetworkError,
    NodeConfigError,
    StoreError,
)
from dagy.nodes.config import Secret
from dagy.nodes.library.databases import ReadSql, WriteSql

from ...postgres import Postgres

URL = Secret("WAREHOUSE_URL")
SALES = [{"city": "Bern", "n": 1}, {"city": "Genf", "n": 2}, {"city": "Chur", "n": 3}]


@pytest.fixture(scope="module")
def postgres() -> Iterator[tuple[Postgres, str]]:
    """One server and one database in it for all tests of this file: both take longer to make than to empty."""
    with Postgres.started() as server:
        yield server, server.empty_database()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.program)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with nothing in it, which the secret WAREHOUSE_URL holds."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'warehouse.db'}"
    else:
        server, made = request.getfixturevalue("postgres")
        name = urlsplit(made).path.removeprefix("/")
        server.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public", database=name)
    monkeypatch.setenv("WAREHOUSE_URL", made)
    return made


def read(query: str, values: object = None, **config: Any) -> Any:
    node = ReadSql(url=URL, query=query, **{"gives": "rows", **config})
    return node() if values is None else node(values)


def write(rows: object, table: str = "sales", **config: Any) -> int:
    return int(WriteSql(url=URL, table=table, **config)(rows))


def sales() -> list[tuple[str, int]]:
    return [(each["city"], each["n"]) for each in read("SELECT * FROM sales ORDER BY n, city")]


FRAMES: list[Callable[[Any], Any]] = [lambda rows: rows, pd.DataFrame, pl.DataFrame, lambda rows: pl.LazyFrame(rows)]


@pytest.mark.parametrize("made", FRAMES, ids=["rows", "pandas", "polars", "lazy"])
def test_rows_that_are_written_are_read(url: str, made: Callable[[Any], Any]) -> None:
    assert write(made(SALES)) == 3
    assert read("SELECT * FROM sales ORDER BY n") == SALES


def test_rows_come_as_the_frame_that_is_wished(url: str) -> None:
    write(SALES)
    query = "SELECT * FROM sales ORDER BY n"
    assert read(query, gives="pandas").equals(pd.DataFrame(SALES))
    assert read(query, gives="polars").equals(pl.DataFrame(SALES))
    empty = "SELECT * FROM sales WHERE n > 9"
    assert list(read(empty, gives="pandas").columns) == read(empty, gives="polars").columns == ["city", "n"]
    assert read(empty) == []


def test_values_are_bound_whatever_they_say(url: str) -> None:
    evil = "x' OR '1'='1'; DROP TABLE sales; --"
    write([*SALES, {"city": evil, "n": 4}])
    query = "SELECT n FROM sales WHERE city = :city"
    assert read(query, {"city": evil}) == [{"n": 4}]
    assert read(query, parameters={"city": "Bern"}) == [{"n": 1}]
    assert read(query, {"city": "Chur"}, parameters={"city": "Bern"}) == [{"n": 3}]
    assert len(sales()) == 4


def test_a_list_may_stand_behind_in(url: str) -> None:
    write(SALES)
    query = "SELECT n FROM sales WHERE city IN :cities AND n >= :least ORDER BY n"
    assert read(query, {"cities": ["Bern", "Chur"]}, parameters={"least": 2}) == [{"n": 3}]
    assert read("SELECT city FROM sales WHERE n IN :numbers", {"numbers": []}) == []


def test_a_colon_that_names_nothing_stays(url: str) -> None:
    assert read("SELECT '12:30' AS t, CAST('7' AS INTEGER) AS n") == [{"t": "12:30", "n": 7}]


def test_what_a_query_changes_is_not_kept(url: str) -> None:
    write(SALES)
    read("DELETE FROM sales WHERE n = 1 RETURNING n")
    with pytest.raises(NodeConfigError, match="gives no rows, and what it changes is not kept; 'write_sql' writes"):
        read("DELETE FROM sales")
    assert len(sales()) == 3


def test_rows_are_added_to_a_table_that_is_there(url: str) -> None:
    write(SALES[:1])
    assert write(SALES[1:]) == 2
    assert sales() == [("Bern", 1), ("Genf", 2), ("Chur", 3)]


def test_a_table_that_is_emptied_keeps_what_else_it_is(url: str, postgres_or_sqlite: Callable[[str], None]) -> None:
    postgres_or_sqlite("CREATE TABLE sales (city TEXT, n INTEGER NOT NULL CHECK (n > 0), note TEXT DEFAULT 'new')")
    write(SALES, mode="empty")
    write(SALES[:1], mode="empty")
    assert read("SELECT * FROM sales") == [{"city": "Bern", "n": 1, "note": "new"}]
    with pytest.raises(StoreError):
        write([{"city": "Bern", "n": 0}], mode="empty")
    assert sales() == [("Bern", 1)]


def test_a_table_that_is_replaced_has_the_new_columns(url: str) -> None:
    write(SALES)
    write([{"town": "Biel"}], mode="replace")
    assert read("SELECT * FROM sales") == [{"town": "Biel"}]


def test_a_table_that_must_not_be_there_is_left_as_it_is(url: str) -> None:
    write(SALES, mode="fail")
    with pytest.raises(ConflictError, match="'sales' is there already"):
        write(SALES, mode="fail")
    assert len(sales()) == 3


@pytest.mark.parametrize("mode", ["append", "empty", "replace"])
def test_when_a_row_can_t_be_written_none_is_and_the_table_is_as_it_was(url: str, mode: str) -> None:
    write(SALES)
    with pytest.raises(StoreError, match="the database refuses the rows: "):
        write([*({"city": "Biel", "n": each} for each in range(4, 9)), {"city": object(), "n": 9}], mode=mode)
    assert sales() == [("Bern", 1), ("Genf", 2), ("Chur", 3)]


def test_whole_numbers_stay_whole_beside_missing_ones(url: str) -> None:
    large = 2**53 + 1
    write([{"n": large}, {"n": None}])
    assert read("SELECT n FROM sales WHERE n IS NOT NULL") == [{"n": large}]
    write(pl.DataFrame({"n": [large, None]}), "others")
    assert read("SELECT n FROM others WHERE n IS NOT NULL") == [{"n": large}]


def test_numbers_with_and_without_fractions_are_numbers(url: str) -> None:
    write([{"x": 1}, {"x": 2.5}])
    assert read("SELECT x FROM sales ORDER BY x") == [{"x": 1.0}, {"x": 2.5}]


def test_nothing_in_a_json_column_is_null(url: str) -> None:
    write([{"n": 1, "a": {"x": [1]}}])
    write([{"n": 2, "a": None}, {"n": 3}])
    assert read("SELECT n FROM sales WHERE a IS NULL ORDER BY n") == [{"n": 2}, {"n": 3}]


@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.program)], indirect=True)
@pytest.mark.parametrize("made", [list, partial(pd.DataFrame, dtype=object), pl.DataFrame])
def test_every_kind_of_value_has_a_column_of_its_kind(url: str, made: Callable[[Any], Any]) -> None:
    row = {
        "yes": True,
        "n": 2**40,
        "x": 0.5,
        "money": Decimal("12.34"),
        "text": "é",
        "moment": datetime(2026, 1, 31, 8, 30, tzinfo=UTC),
        "local": datetime(2026, 1, 31, 8, 30),  # noqa: DTZ001 (a clock on a wall)
        "day": date(2026, 1, 31),
        "raw": b"\x00\xff",
    }
    write(made([row, dict.fromkeys(row)]))
    assert read("SELECT * FROM sales WHERE n IS NOT NULL") == [row]
    assert read("SELECT * FROM sales WHERE n IS NULL") == [dict.fromkeys(row)]
    types = "SELECT column_name AS c, data_type AS t FROM information_schema.columns WHERE table_name = 'sales'"
    assert {each["c"]: each["t"] for each in read(types)} == {
        "yes": "boolean",
        "n": "bigint",
        "x": "double precision",
        "money": "numeric",
        "text": "text",
        "moment": "timestamp with time zone",
        "local": "timestamp without time zone",
        "day": "date",
        "raw": "bytea",
    }


def test_no_rows_are_no_fault_where_the_columns_are_known(url: str) -> None:
    assert write(pd.DataFrame({"city": pd.Series(dtype=str), "n": pd.Series(dtype=int)})) == 0
    assert write([]) == 0
    assert sales() == []
    with pytest.raises(ConnectorError, match="nothing says which columns the table 'others' is to have"):
        write([], "others")


# What is wrong is named


def test_a_column_that_the_table_lacks_is_named(url: str) -> None:
    write(SALES)
    with pytest.raises(ConnectorError, match=r"'sales' has no column 'citi'; did you mean 'city'\?"):
        write([{"citi": "Biel", "n": 4}])


def test_a_query_that_is_wrong_is_told_in_the_database_s_words(url: str) -> None:
    with pytest.raises(StoreError, match=r"the database refuses the query: .*nowhere"):
        read("SELECT * FROM nowhere")


def test_a_name_without_a_value_and_a_value_without_a_name_are_told(url: str) -> None:
    with pytest.raises(NodeConfigError, match="the query has :city, and nothing gives a value for it"):
        read("SELECT :city AS c")
    with pytest.raises(NodeConfigError, match=r"no :citi in the query; did you mean 'city'\?"):
        read("SELECT :city AS c", {"city": "a", "citi": "b"})


def test_two_columns_of_one_name_are_refused(url: str) -> None:
    with pytest.raises(NodeConfigError, match="two columns called 'a'; name one of them with AS"):
        read("SELECT 1 AS a, 2 AS a")


def test_a_list_of_anything_but_objects_is_refused(url: str) -> None:
    with pytest.raises(ConnectorError, match="in the list is 7"):
        write([{"n": 1}, 7])


# The secret


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_url_is_a_secret(url: str) -> None:
    with pytest.raises(NodeConfigError):
        ReadSql(url=url, query="SELECT 1 AS a")()
    os.environ.pop("WAREHOUSE_URL")
    with pytest.raises(MissingSecretError, match="WAREHOUSE_URL"):
        read("SELECT 1 AS a")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hunter2", NodeConfigError),
        ("postgresql://me:hunter2@host:port/db", NodeConfigError),
        ("postgrsql://me:hunter2@host/db", NodeConfigError),
        ("mysql+pymysql://me:hunter2@host/db", (NodeConfigError, NetworkError)),
        ("postgresql://me:hunter2@/db?host=/no/such/folder", (NetworkError, MissingExtraError)),
        ("sqlite:////no/such/folder/hunter2/a.db", NetworkError),
    ],
)
def test_a_url_that_leads_nowhere_is_told_without_it(text: str, error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", text)
    with pytest.raises(error) as caught:
        read("SELECT 1 AS a")
    assert "hunter2" not in str(caught.value)


def test_no_message_shows_a_bound_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(StoreError) as caught:
        read("SELECT * FROM nowhere WHERE a = :a", {"a": "hunter2"})
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


@pytest.fixture
def postgres_or_sqlite(url: str) -> Callable[[str], None]:
    """Carries out a statement in the database, past the nodes."""

    def carry_out(statement: str) -> None:
        if url.startswith("sqlite"):
            database = sqlite3.connect(url.removeprefix("sqlite:///"))
            with database:
                database.execute(statement)
            database.close()
        else:
            import psycopg

            with psycopg.connect(url) as connection:
                connection.execute(statement)  # type: ignore[call-overload]  # a text that is not a literal

    return carry_out


def test_an_option_that_the_driver_does_not_take_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "sqlite:///a.db?timeout=s3cret")
    with pytest.raises(NodeConfigError, match="has an option that the database's driver does not take") as caught:
        read("SELECT 1")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_driver_for_async_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql+psycopg_async://u:p@127.0.0.1:1/x")
    with pytest.raises(NodeConfigError, match=r"'postgresql[+]psycopg_async' is a driver for async code"):
        read("SELECT 1")


def test_a_number_that_is_too_large_for_its_column_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(StoreError, match="the database refuses the rows: OverflowError"):
        write([{"n": 2**70}])
