"""Databases: a query's rows, and rows into a table, in whatever SQLAlchemy speaks to.

The URL holds a password, so it is a secret: `ReadSql(url=Secret("WAREHOUSE_URL"), ...)`. What a query is about is bound
to names in it (`WHERE city = :city`) and never written into its text, so no value can become a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dagy.errors import (
    ConflictError,
    ConnectorError,
    MissingExtraError,
    NetworkError,
    StoreError,
    or_what_there_is,
    sentence,
    shown,
)
from dagy.nodes.connectors import DataType
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import LibraryNode, choice, fault, field, inbound, json_field, outbound
from dagy.nodes.library.files import pandas_for, polars_for
from dagy.nodes.library.tables import table
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeMetadata

if TYPE_CHECKING:
    from narwhals.dtypes import DType
    from sqlalchemy import Column, Connection, Engine, TextClause

ROWS = frozenset({DataType.DATAFRAME, DataType.LIST})

_KINDS = (bool, int, float, Decimal, datetime, date, time, bytes, dict, list)  # of values; of all else, their text


_URL = field(
    "url",
    "The database's URL, as SQLAlchemy takes it: postgresql://user:password@host/name, sqlite:///file.db.",
    ConfigFieldType.SECRET,
    required=True,
    label="URL",
)


class ReadSql(LibraryNode):
    """The rows that a query gives."""

    about = NodeMetadata(
        "read_sql",
        "Read SQL",
        "Asks a database and gives the rows. What a query changes is not kept.",
        NodeCategory.INPUT,
        tags=("database", "query", "select", "postgresql", "sqlite", "table"),
        requires=("pandas", "sqlalchemy"),
    )
    ports = (
        inbound(
            "values",
            DataType.OBJECT,
            description="Values for the names in the query, beside those in 'parameters' and before them.",
        ),
        outbound("result", *ROWS, description="The rows, as 'gives' says.", name="Rows"),
    )
    fields = (
        _URL,
        field(
            "query",
            "What to ask. A name with a colon stands for a value; a list may stand behind IN: SELECT * FROM "
            "sales WHERE city = :city AND year IN :years.",
            ConfigFieldType.CODE,
            required=True,
            language="sql",
        ),
        json_field(
            "parameters", 'An object with the values of the names in the query: {"city": "Bern", "years": [2025]}.'
        ),
        choice(
            "gives",
            "What the rows come as.",
            {"pandas": "a pandas frame", "polars": "a Polars frame", "rows": "a list with an object a row"},
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        """The rows."""
        config = context.config
        given = config["parameters"] or {}
        if not isinstance(given, Mapping):
            raise fault("parameters", f"'parameters' is {shown(given)}; it is an object of values by name")
        values = {**given, **(context.get_upstream_data("values", default=None) or {})}
        with _engine(context.secrets["url"]) as engine, _told("the query"), _connected(engine) as connection:
            found = connection.execute(_statement(config["query"], values))
            if not found.returns_rows:
                raise fault("query", "the query gives no rows, and what it changes is not kept; 'write_sql' writes")
            columns = list(found.keys())
            rows = [tuple(each) for each in found]
        if twice := next((each for each in columns if columns.count(each) > 1), None):
            raise fault("query", f"the query gives two columns called {twice!r}; name one of them with AS")
        return _as(config["gives"], rows, columns)


class WriteSql(LibraryNode):
    """Rows, into a table."""

    about = NodeMetadata(
        "write_sql",
        "Write SQL",
        "Writes rows to a table of a database: all of them, or none when something is wrong. A table "
        "that is not there is made.",
        NodeCategory.OUTPUT,
        tags=("database", "insert", "postgresql", "sqlite", "table"),
        requires=("narwhals", "sqlalchemy"),
    )
    ports = (
        inbound(
            "frame",
            *ROWS,
            required=True,
            description="A frame, or a list with an object a row. The index of a pandas frame is left out.",
            name="Rows",
        ),
        outbound("result", DataType.INTEGER, description="How many rows were written.", name="Count"),
    )
    fields = (
        _URL,
        field("table", "The table's name.", required=True, placeholder="sales"),
        field("schema", "The schema that it is in. Empty: the user's own one.", default=""),
        choice(
            "mode",
            "What becomes of a table that is there already.",
            {
                "append": "add the rows",
                "empty": "take its rows out first, and keep its columns, indexes and grants",
                "replace": "drop it, and make it anew",
                "fail": "fail",
            },
            label="If it is there",
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        """How many rows were written."""
        config = context.config
        given = _rows(context.get_upstream_data("frame"))
        with (
            _engine(context.secrets["url"]) as engine,
            _told("the rows"),
            _connected(engine) as connection,
            connection.begin(),
        ):
            _write(connection, given, config["table"], config["schema"] or None, config["mode"])
        return len(given.rows)


@contextmanager
def _engine(address: str) -> Iterator[Engine]:
    """An engine for the block. No message shows `address`, and none of SQLAlchemy's shows a value."""
    from sqlalchemy import create_engine, event, exc, make_url
    from sqlalchemy.pool import NullPool

    try:
        url = make_url(address)
    except (exc.ArgumentError, ValueError):
        raise fault("url", "the secret 'url' is no URL such as postgresql://user:password@host/name") from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    options: dict[str, Any] = {"connect_args": {"isolation_level": None}} if url.drivername.startswith("sqlite") else {}
    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, **options)
    except exc.NoSuchModuleError:
        raise fault(
            "url", f"SQLAlchemy knows no database {url.drivername!r}, which the secret 'url' begins with"
        ) from None
    except ModuleNotFoundError as error:
        if error.name == "psycopg":
            raise MissingExtraError("psycopg", "postgres", "PostgreSQL") from None
        raise fault("url", f"{url.drivername!r} needs the package {error.name!r}, which is not installed") from None
    except (TypeError, ValueError):  # whose message may show it
        raise fault("url", "the secret 'url' has an option that the database's driver does not take") from None
    if engine.dialect.is_async:
        raise fault("url", f"{url.drivername!r} is a driver for async code; name one that is not")
    if options:  # or SQLite's driver begins no transaction before a table is dropped or made

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """A connection for the block; what was not committed at its end is undone."""
    from sqlalchemy import exc

    try:
        connection = engine.connect()
    except exc.DBAPIError as error:
        raise NetworkError(f"the database can't be reached: {sentence(error.orig or error)}") from error
    with connection:
        yield connection


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What SQLAlchemy raises in the block becomes a `StoreError`: `what` can't be read or written."""
    from sqlalchemy import exc

    try:
        yield
    except (exc.SQLAlchemyError, OverflowError) as error:
        reason = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
        raise StoreError(f"the database refuses {what}: {sentence(reason)}") from error


def _statement(query: str, values: Mapping[str, Any]) -> TextClause:
    """The query, with each of its names bound to its value."""
    from sqlalchemy import bindparam, text

    statement = text(query)
    names = list(statement.compile().params)
    for each in values:
        if each not in names:
            hint = or_what_there_is(each, names)
            raise fault("parameters", f"there is a value for {each!r}, and no :{each} in the query{hint}")
    if missing := next((each for each in names if each not in values), None):
        raise fault("parameters", f"the query has :{missing}, and nothing gives a value for it")
    return statement.bindparams(
        *(bindparam(name, value, expanding=isinstance(value, (list, tuple))) for name, value in values.items())
    )


def _as(kind: str, rows: list[tuple[Any, ...]], columns: Sequence[str]) -> object:
    """The rows as a list of objects, or as a frame."""
    match kind:
        case "rows":
            return [dict(zip(columns, each, strict=True)) for each in rows]
        case "polars":
            return polars_for("read_sql").DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)
        case _:
            return pandas_for("read_sql").DataFrame.from_records(rows, columns=columns, coerce_float=True)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows to write, each with a value for each column; `kinds` has the Python type of each column's values."""

    kinds: Mapping[str, type]
    rows: list[dict[str, Any]]


def _rows(value: Any) -> _Rows:
    """The rows of a frame, or of a list of objects, in which None stands for whatever is missing."""
    kinds: dict[str, type] = {}
    columns: dict[str, list[Any]]
    if isinstance(value, (list, tuple)):
        wrong = next((each for each in value if not isinstance(each, Mapping)), None)
        if wrong is not None:
            raise ConnectorError(f"'frame' takes a frame, or a list of objects; in the list is {shown(wrong)}")
        columns = {
            name: [row.get(name) for row in value] for name in dict.fromkeys(name for row in value for name in row)
        }
    else:
        frame = table(value)
        columns = {name: frame[name].to_list() for name in frame.columns}
        kinds = {name: _kind_of_dtype(dtype) for name, dtype in frame.schema.items()}
    for name, values in columns.items():
        classes = set(map(type, values))
        if not classes <= {int, str, bool}:
            columns[name] = [None if _is_missing(each) else each for each in values]
            classes = set(map(type, columns[name])) - {type(None)}
        found = {next((kind for kind in _KINDS if issubclass(each, kind)), str) for each in classes}
        if found:
            kinds[name] = float if found == {int, float} else found.pop() if len(found) == 1 else str
    rows = [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]
    return _Rows({name: kinds.get(name, str) for name in columns}, rows)


def _is_missing(value: object) -> bool:
    return value is None or (value != value) is True or type(value).__name__ == "NAType"


def _kind_of_dtype(dtype: DType) -> type:
    """The Python type of what a frame's column holds; `str` when its dtype does not say."""
    import narwhals as nw

    if dtype.is_integer():
        return int
    if dtype.is_float():
        return float
    kinds = {nw.Boolean: bool, nw.Datetime: datetime, nw.Date: date, nw.Decimal: Decimal, nw.Binary: bytes}
    return next((kind for each, kind in kinds.items() if dtype == each), str)


def _column(name: str, kind: type, values: Iterable[Any]) -> Column[Any]:
    """A column of a table that is to be made, for values of that type."""
    import sqlalchemy as sa

    is_zoned = any(getattr(each, "tzinfo", None) is not None for each in values)
    types: Mapping[type, Any] = {
        bool: sa.Boolean(),
        int: sa.BigInteger(),
        float: sa.Double(),
        Decimal: sa.Numeric(),
        datetime: sa.DateTime(timezone=is_zoned),
        date: sa.Date(),
        time: sa.Time(),
        bytes: sa.LargeBinary(),
        dict: sa.JSON(none_as_null=True),
        list: sa.JSON(none_as_null=True),
    }
    return sa.Column(name, types.get(kind, sa.Text()))


def _write(connection: Connection, given: _Rows, name: str, schema: str | None, mode: str) -> None:
    """Write the rows in the transaction that has begun."""
    import sqlalchemy as sa

    place: Any = {"schema": schema, "resolve_fks": False}
    target: sa.Table | None = None
    if sa.inspect(connection).has_table(name, schema=schema):
        if mode == "fail":
            raise ConflictError(f"the table {name!r} is there already, and 'mode' is 'fail'; nothing was written")
        target = sa.Table(name, sa.MetaData(), autoload_with=connection, **place)
        if mode == "replace":
            target.drop(connection)
            target = None
        elif unknown := next((each for each in given.kinds if each not in target.columns), None):
            there = target.columns.keys()
            hint = or_what_there_is(unknown, there)
            raise ConnectorError(f"the table {name!r} has no column {unknown!r}{hint}")
        elif mode == "empty":
            connection.execute(sa.delete(target))
    if target is None:
        if not given.kinds:
            raise ConnectorError(f"there are no rows, so nothing says which columns the table {name!r} is to have")
        columns = [_column(each, kind, (row[each] for row in given.rows)) for each, kind in given.kinds.items()]
        target = sa.Table(name, sa.MetaData(), *columns, schema=schema)
        target.create(connection)
    for column in target.columns:
        if isinstance(column.type, sa.JSON):
            column.type.none_as_null = True
    if given.rows:
        connection.execute(sa.insert(target), given.rows)
