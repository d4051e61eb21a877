"""Conversions: from one type of value to another, each a node of its own, so that no value changes its type unasked.

A connection that is refused for its types is mended by putting one of these between its ends.
"""

from __future__ import annotations

import json
import math
import mimetypes
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dagy.errors import ConnectorError, MissingExtraError, did_you_mean, shown
from dagy.local_artifact import LocalArtifact
from dagy.nodes.connectors import ConnectorDef, DataType, takes, type_of
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import LibraryNode, choice, count, fault, field, flag, inbound, outbound
from dagy.nodes.library.tables import records, table
from dagy.nodes.metadata import NodeCategory, NodeMetadata

if TYPE_CHECKING:
    from dagy.nodes.library.tables import Table

_JSON = frozenset({DataType.JSON})
_YES_NO = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class _Converter(LibraryNode):
    """One value in, the same as another type out: a subclass says in `converted` how, and in its docstring what."""

    node_type: ClassVar[str]
    label: ClassVar[str]
    takes: ClassVar[frozenset[DataType]]
    gives: ClassVar[DataType]
    tags: ClassVar[tuple[str, ...]]
    requires: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def metadata(cls) -> NodeMetadata:
        told = " ".join((cls.__doc__ or "").split())
        return NodeMetadata(cls.node_type, cls.label, told, NodeCategory.CONVERT, tags=cls.tags, requires=cls.requires)

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [inbound("value", *cls.takes, required=True), outbound("result", cls.gives)]

    def execute(self, context: ExecutionContext) -> object:
        return self.converted(context.get_upstream_data("value"), context.config)

    @abstractmethod
    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        """`value` as the other type. `ConnectorError` when it can't be."""


class ToDataframe(_Converter):
    """A list of objects becomes a frame with a row for each, an object of lists one with a column for each, any other
    object a single row, and a list of anything else a column 'value'.
    """

    node_type = "to_dataframe"
    label = "To a frame"
    takes = frozenset({DataType.JSON, DataType.DATAFRAME})
    gives = DataType.DATAFRAME
    tags = ("table", "rows", "pandas", "polars")
    requires = ("narwhals", "pandas")

    fields = (choice("engine", "Whose frame it becomes.", ("pandas", "polars")),)

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        engine = config["engine"]
        try:
            if isinstance(value, (Mapping, list, tuple)):
                return _frame_of(_columns(value), engine).to_native()
            if takes(_JSON, value):
                raise ConnectorError(f"{shown(value)} is no list and no object, of which a frame is made")
            frame = table(value, "value")
            return frame.to_pandas() if engine == "pandas" else frame.to_polars()
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or engine, "nodes", "the node 'to_dataframe'") from error


class ToRecords(_Converter):
    """A list with an object for each row, fit for JSON: null for what is missing, ISO text for dates and times, seconds
    for durations.
    """

    node_type = "to_records"
    label = "To objects"
    takes = frozenset({DataType.DATAFRAME})
    gives = DataType.LIST
    tags = ("rows", "dicts", "json")
    requires = ("narwhals",)

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        """`[{"city": "Oslo", "visits": 3}, ...]`"""
        return records(table(value, "value"))


class ParseJson(_Converter):
    """Reads a JSON text, or such bytes or such a file."""

    node_type = "parse_json"
    label = "Parse JSON"
    takes = frozenset({DataType.STRING, DataType.BYTES, DataType.FILE})
    gives = DataType.JSON
    tags = ("text", "deserialize")

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        return _parsed(value if isinstance(value, str) else _bytes_of(value))


class ToJsonText(_Converter):
    """Writes any JSON value as text; a text gets quotation marks."""

    node_type = "to_json_text"
    label = "To JSON text"
    takes = _JSON
    gives = DataType.STRING
    tags = ("serialize", "dump")

    fields = (
        count("indent", "None: all in one line."),
        flag("sort_keys", "Else they stay in the object's order.", default=False),
    )

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        return _json_text(value, indent=config["indent"], sort_keys=config["sort_keys"])


class ToText(_Converter):
    """Text stays as it is; bytes and files are decoded, dates and times written as ISO text, frames as CSV, and all
    else as JSON.
    """

    node_type = "to_text"
    label = "To text"
    takes = frozenset({DataType.JSON, DataType.BYTES, DataType.FILE, DataType.DATETIME, DataType.DATAFRAME})
    gives = DataType.STRING
    tags = ("string", "decode")

    fields = (field("encoding", "Of bytes and files.", default="utf-8"),)

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        match value:
            case str():
                return value
            case date():
                return value.isoformat()
            case None | bool() | int() | float() | list() | tuple() | Mapping():
                return _json_text(value)
        if type_of(value) is DataType.DATAFRAME:
            return table(value, "value").write_csv()
        try:
            return _bytes_of(value).decode(config["encoding"])
        except (LookupError, ValueError) as error:
            raise fault("encoding", f"the bytes are not text in {config['encoding']!r}: {error}") from error


class ToBytes(_Converter):
    """A file's content, or a text encoded."""

    node_type = "to_bytes"
    label = "To bytes"
    takes = frozenset({DataType.STRING, DataType.FILE, DataType.BYTES})
    gives = DataType.BYTES
    tags = ("encode", "read")

    fields = (field("encoding", "Of a text.", default="utf-8"),)

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        if not isinstance(value, str):
            return _bytes_of(value)
        try:
            return value.encode(config["encoding"])
        except (LookupError, ValueError) as error:
            raise fault("encoding", f"the text can't be written in {config['encoding']!r}: {error}") from error


class ToFile(_Converter):
    """Makes a file of a text or of bytes: a value, on no disk until a node writes it to one."""

    node_type = "to_file"
    label = "To a file"
    takes = frozenset({DataType.STRING, DataType.BYTES})
    gives = DataType.FILE
    tags = ("artifact",)

    fields = (field("name", "Its ending says what it holds.", default="output.txt"),)

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        if isinstance(value, str):
            return LocalArtifact.text(value, config["name"])
        kind = mimetypes.guess_type(config["name"])[0] or "application/octet-stream"
        return LocalArtifact(config["name"], kind, bytes(value))


class ToNumber(_Converter):
    """Reads text such as '12.5' or '1e3'; true is 1 and false is 0."""

    node_type = "to_number"
    label = "To a number"
    takes = _JSON
    gives = DataType.NUMBER
    tags = ("float", "parse")

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        return _number(value)


class ToInteger(_Converter):
    """As 'to_number', and refuses a number with a fraction unless it is to be rounded."""

    node_type = "to_integer"
    label = "To a whole number"
    takes = _JSON
    gives = DataType.INTEGER
    tags = ("int", "round")

    fields = (
        flag(
            "rounded",
            "Gives the nearest whole number, and of two the even one.",
            default=False,
            label="Round fractions",
        ),
    )

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        number = _number(value)
        if number != int(number) and not config["rounded"]:
            raise ConnectorError(f"{shown(value)} is no whole number; round it with rounded=True")
        return round(number)


class ToBoolean(_Converter):
    """Reads true and false, yes and no, on and off, 1 and 0."""

    node_type = "to_boolean"
    label = "To true or false"
    takes = _JSON
    gives = DataType.BOOLEAN
    tags = ("bool", "flag")

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        said = str(value).strip().lower()
        if said not in _YES_NO:
            raise ConnectorError(f"{shown(value)} is neither true nor false; there are {', '.join(_YES_NO)}")
        return _YES_NO[said]


class ToDatetime(_Converter):
    """Reads ISO text, or text in a format; a number is seconds since 1970 in UTC."""

    node_type = "to_datetime"
    label = "To a time"
    takes = frozenset({DataType.JSON, DataType.DATETIME})
    gives = DataType.DATETIME
    tags = ("date", "timestamp", "parse")

    fields = (field("format", "As Python's strptime takes it; ISO when it is empty.", placeholder="%d.%m.%Y %H:%M"),)

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        form = config["format"]
        try:
            match value:
                case datetime():
                    return value
                case date():
                    return datetime.combine(value, time())
                case str() if form:
                    return datetime.strptime(value, form)  # noqa: DTZ007 (the format says whether there is a zone)
                case str():
                    return datetime.fromisoformat(value)
                case int() | float() if not isinstance(value, bool):
                    return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError) as error:
            remedy = "" if form else "; for another form than ISO, such as 2026-03-14T09:30, give 'format'"
            raise ConnectorError(f"{shown(value)} is no time: {error}{remedy}") from error
        raise ConnectorError(f"{shown(value)} is no time; give text, or seconds since 1970")


class ToList(_Converter):
    """A list stays as it is; text is split; an object becomes a list of {key, value}; null an empty list; and anything
    else a list of one.
    """

    node_type = "to_list"
    label = "To a list"
    takes = _JSON
    gives = DataType.LIST
    tags = ("items", "split", "array")

    fields = (field("separator", "Lines, when it is empty.", placeholder=","),)

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        match value:
            case None:
                return []
            case list() | tuple():
                return list(value)
            case str():
                return value.split(config["separator"]) if config["separator"] else value.splitlines()
            case Mapping():
                return [{"key": key, "value": each} for key, each in value.items()]
            case _:
                return [value]


class ToObject(_Converter):
    """An object stays as it is; text is read as JSON; of a list of objects, each comes under the value of its key
    field; null becomes an empty object.
    """

    node_type = "to_object"
    label = "To an object"
    takes = _JSON
    gives = DataType.OBJECT
    tags = ("dict", "map", "index")

    fields = (
        field(
            "key",
            "Which field of a list's objects names them. When it is empty they are {key, value}.",
            placeholder="id",
            label="Key field",
        ),
    )

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        value = _parsed(value) if isinstance(value, str) else value
        match value:
            case None:
                return {}
            case Mapping():
                return dict(value)
            case list() | tuple():
                if field := config["key"]:
                    return {str(value_at(each, field)): each for each in value}
                return {str(value_at(each, "key")): value_at(each, "value") for each in value}
        raise ConnectorError(f"{shown(value)} is no object, and no list of objects")


class Pick(_Converter):
    """What is at a path in an object or a list, such as 'items.0.price'."""

    node_type = "pick"
    label = "Pick a part"
    takes = _JSON
    gives = DataType.JSON
    tags = ("get", "path", "field", "key")

    fields = (
        field("path", "Names and places, with dots.", required=True, placeholder="items.0.price"),
        choice(
            "if_missing",
            "What a path to nothing means.",
            {"error": "it is an error", "null": "it is null"},
            label="If there is none",
        ),
    )

    def converted(self, value: Any, config: Mapping[str, Any]) -> object:
        try:
            return value_at(value, config["path"])
        except ConnectorError:
            if config["if_missing"] == "error":
                raise
            return None


def value_at(value: Any, path: str) -> Any:
    """What is at `path` in objects and lists: "items.0.price", in which -1 is a list's last item.

    `ConnectorError` when there is nothing; it names the step, and what there is.
    """
    here = value
    for step in path.split("."):
        match here:
            case Mapping() if step in here:
                here = here[step]
            case Mapping():
                hint = did_you_mean(step, map(str, here)) or f"; there are {shown(list(here))}"
                raise ConnectorError(f"there is no {step!r}{_of(path, step)}{hint}")
            case list() | tuple() if step.lstrip("-").isdecimal() and -len(here) <= int(step) < len(here):
                here = here[int(step)]
            case list() | tuple():
                raise ConnectorError(f"there is no {step!r}{_of(path, step)} in a list of {len(here)} items")
            case _:
                raise ConnectorError(f"there is no {step!r}{_of(path, step)}: {shown(here)} is no object and no list")
    return here


def _of(path: str, step: str) -> str:
    return f" (of {path!r})" if path != step else ""


def _columns(value: Mapping[str, Any] | Sequence[Any]) -> dict[str, list[Any]]:
    """The columns of a frame, all equally long."""
    if isinstance(value, Mapping):
        if not all(isinstance(each, (list, tuple)) for each in value.values()):
            return {str(key): [each] for key, each in value.items()}
        lengths = {key: len(each) for key, each in value.items()}
        if len(set(lengths.values())) > 1:
            raise ConnectorError(f"the columns have not the same length: {shown(lengths)}")
        return {str(key): list(each) for key, each in value.items()}
    rows = [each for each in value if isinstance(each, Mapping)]
    if rows and len(rows) < len(value):
        other = next(each for each in value if not isinstance(each, Mapping))
        raise ConnectorError(f"some items are objects, but {shown(other)} is not; a frame takes objects only, or none")
    if not rows:
        return {"value": list(value)} if value else {}
    return {
        str(name): [each.get(name) for each in rows] for name in dict.fromkeys(name for each in rows for name in each)
    }


def _frame_of(columns: dict[str, list[Any]], engine: Literal["pandas", "polars"]) -> Table:
    import narwhals as nw

    same = {
        name: _as_floats(values) if {int, float} <= set(map(type, values)) else values
        for name, values in columns.items()
    }
    try:
        return nw.from_dict(same, backend=engine)
    except (TypeError, nw.exceptions.NarwhalsError) as error:
        told = f"a column holds values of several types: {str(error).partition(chr(10))[0]}"
        raise ConnectorError(f"{told}; make them the same, or use engine='pandas'") from error


def _as_floats(values: list[Any]) -> list[Any]:
    """With floats for its integers: Polars takes a column of one type only, where pandas finds the wider one."""
    return [float(each) if type(each) is int else each for each in values]


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise ConnectorError(f"the text is no JSON: {error}; it begins {shown(text)}") from error


def _json_text(value: object, *, indent: int | None = None, sort_keys: bool = False) -> str:
    try:
        return json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    except (RecursionError, TypeError, ValueError) as error:
        raise ConnectorError(f"{shown(value)} can't be written as JSON: {error}") from error


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, LocalArtifact):
        return value.content
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else Path(value).read_bytes()


def _number(value: Any) -> int | float:
    if isinstance(value, (bool, int)):
        return int(value)
    try:
        number = int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() else float(value)
    except (TypeError, ValueError) as error:
        raise ConnectorError(f"{shown(value)} is no number; write 1250.75, with no other separator") from error
    if not math.isfinite(number):
        raise ConnectorError(f"{shown(value)} is no number that can be written down")
    return number
