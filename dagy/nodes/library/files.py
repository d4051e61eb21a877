"""Files: CSV, JSON, Parquet and Excel, read and written.

A file goes from node to node as either of two things, and both have `name`, `read_bytes()` and `read_text()`: a `Path`
says where it is, on this machine; a `LocalArtifact` carries its bytes, so it gets to wherever the next node runs. What
is written is written beside its place and then put there, so that whoever reads it finds all of it or what was there
before. Names that end in .gz, .bz2 or .xz are those of compressed files (Parquet and Excel compress by themselves).
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from dagy.errors import DagyError, MissingExtraError, StoreError, did_you_mean, or_what_there_is, sentence, shown
from dagy.local_artifact import LocalArtifact
from dagy.nodes.connectors import ConnectorDef, DataType
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import (
    LibraryNode,
    choice,
    count,
    fault,
    field,
    flag,
    inbound,
    json_field,
    outbound,
)
from dagy.nodes.library.tables import names, records, table
from dagy.nodes.metadata import NodeCategory, NodeConfigField, NodeMetadata

if TYPE_CHECKING:
    import pandas as pd

_COMPRESSED: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: where it is, or its bytes."""

    name: str
    content: Path | bytes

    def plain(self) -> Path | BinaryIO:
        """As it is."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content

    def opened(self) -> BinaryIO:
        """Its bytes, uncompressed if its name says that it is compressed. Close it."""
        compressed = _COMPRESSED.get(Path(self.name).suffix)
        if compressed is not None:
            return cast("BinaryIO", compressed(self.plain(), "rb"))
        return self.content.open("rb") if isinstance(self.content, Path) else io.BytesIO(self.content)


def incoming(context: ExecutionContext) -> File:
    """What comes in at `file`, or else what `path` names. `NodeConfigError` when there is neither, or no such file."""
    came = context.get_upstream_data("file", default=None)
    if isinstance(came, LocalArtifact):
        return File(came.name, came.content)
    if isinstance(came, (bytes, bytearray, memoryview)):
        return File("the bytes at 'file'", bytes(came))
    if came is None and not context.config["path"]:
        raise fault("path", "there is no file to read; give a 'path', or connect a file to 'file'")
    path = local_path(context.config["path"]) if came is None else Path(came)
    if not path.exists():
        there = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise fault("path", f"there is no file {str(path)!r}{did_you_mean(path.name, there)}")
    return File(str(path), path)


def local_path(text: str) -> Path:
    """The absolute path that `text` names; `~` is the user's home. `NodeConfigError` for a URL."""
    if "://" in text:
        raise fault(
            "path",
            f"{shown(text)} is an address, not a path; 'http_request' and 'read_s3' fetch what is somewhere else",
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise fault("path", f"{text!r} begins with the home of a user whom this machine does not know") from None


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write to; what stands there when the block ends takes the place of `path`, if nothing was raised.

    Folders that are missing are made; a link stays, and what it leads to is replaced. `StoreError` when it can't be.
    """
    target = path.resolve()
    half = target.with_name(f".{os.urandom(4).hex()}-{target.name}")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield half
            if target.exists():
                half.chmod(target.stat().st_mode & 0o777)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, DagyError):
            raise
        raise StoreError(f"{str(path)!r} can't be written: {error.strerror or error}") from error


def pandas_for(node: str) -> Any:
    """The pandas module. Raises `MissingExtraError`, for which `node` is the type of the node that needs it."""
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("pandas", "nodes", f"the node {node!r}") from error
    return pd


def polars_for(node: str) -> Any:
    """The polars module. Raises `NodeConfigError`: it is in none of Dagy's extras."""
    try:
        import polars as pl
    except ImportError as error:
        raise fault(
            "engine", f"the node {node!r} has the engine 'polars', which is not installed; pip install polars"
        ) from error
    return pl


class _Reader(LibraryNode):
    """Reads a file: a subclass says how in `read`, what it is called in `kind`. `fields` come behind `path`."""

    kind: ClassVar[str]
    gives: ClassVar = outbound("result", DataType.DATAFRAME, description="The table in the file.", name="Frame")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        told = "A file, or what is in one, in place of 'path'."
        return [inbound("file", DataType.FILE, DataType.BYTES, description=told), cls.gives]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        told = "The file to read, unless one comes in."
        return [field("path", told, default="", placeholder="data/in.csv"), *cls.fields]

    def execute(self, context: ExecutionContext) -> object:
        """What is in the file."""
        file = incoming(context)
        with _told(f"{file.name!r} can't be read as {self.kind}"):
            return self.read(file, context.config)

    @abstractmethod
    def read(self, file: File, config: Mapping[str, Any]) -> object:
        """What is in `file`."""


class _Writer(LibraryNode):
    """Writes a file: as `_Reader`, the other way. `usual_name` is what a file is called that is kept nowhere."""

    kind: ClassVar[str]
    usual_name: ClassVar[str]
    takes: ClassVar = inbound("frame", DataType.DATAFRAME, required=True, description="The table to write.")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        told = "Where it is, as a Path; or the file itself, as a LocalArtifact, if there is no 'path'."
        return [cls.takes, outbound("result", DataType.FILE, description=told, name="File")]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        told = (
            "Where to write it; a file that is there is replaced. "
            f"Empty: the file is kept nowhere and goes on, as {cls.usual_name!r}, to the next node."
        )
        return [field("path", told, default="", placeholder=f"data/{cls.usual_name}"), *cls.fields]

    def execute(self, context: ExecutionContext) -> object:
        """The file that was written."""
        given = context.config["path"]
        path = local_path(given) if given else context.temp_dir / self.usual_name
        failure = f"{str(path) if given else self.usual_name!r} can't be written as {self.kind}"
        with _told(failure), written(path) as half:
            self.write(context.get_upstream_data(self.takes.id), half, context.config)
        return path if given else LocalArtifact.file(path)

    @abstractmethod
    def write(self, value: Any, path: Path, config: Mapping[str, Any]) -> None:
        """Write `value` to `path`."""


_ENGINE = choice(
    "engine", "Which library reads it, and so which kind of frame comes out.", {"pandas": "pandas", "polars": "Polars"}
)
_COLUMNS = json_field("columns", 'A list of the columns to read: ["city"]. Empty: all.')
_SEPARATOR = field("separator", "The one character between two values; \\t for a tab.", default=",")
_MISSING = ["", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "NULL", "null", "None", "NaN", "nan", "-NaN", "-nan"]
_ENCODING = field(
    "encoding",
    "How its text is coded: utf-8, utf-8-sig (as Excel wants it), cp1252, latin-1, utf-16 ...",
    default="utf-8",
)


class ReadCsv(_Reader):
    """The table in a CSV file."""

    kind = "CSV"
    about = NodeMetadata(
        "read_csv",
        "Read CSV",
        "Reads a table from a CSV file. Empty values, NA, N/A, null, NaN and the like are missing ones.",
        NodeCategory.INPUT,
        tags=("file", "table", "tsv"),
        requires=("narwhals", "pandas"),
    )
    fields = (
        _SEPARATOR,
        _ENCODING,
        flag(
            "header", "Whether the first line names the columns; if not they are column_1, column_2, ...", default=True
        ),
        _COLUMNS,
        json_field("dates", 'A list of the columns that hold dates: ["day"].'),
        _ENGINE,
    )

    def read(self, file: File, config: Mapping[str, Any]) -> object:
        """A frame."""
        columns, dates = names(config["columns"], "columns"), names(config["dates"], "dates")
        encoding, separator, header = _codec(config["encoding"]), _one_character(config["separator"]), config["header"]
        is_polars = config["engine"] == "polars"
        library = polars_for("read_csv") if is_polars else pandas_for("read_csv")
        if header and not is_polars:
            _check_first_row(file, separator, encoding)
        with file.opened() as binary:
            if is_polars:
                text = binary.read().decode(encoding).encode()  # Polars reads UTF-8, and bears what is none
                frame = library.read_csv(text, separator=separator, has_header=header, null_values=_MISSING)
            else:
                told: Any = {"sep": separator, "encoding": encoding, "header": "infer" if header else None}
                frame = library.read_csv(binary, **told, na_values=_MISSING, keep_default_na=False)
        if not header:
            frame.columns = [f"column_{number}" for number in range(1, frame.shape[1] + 1)]
        check_columns(frame.columns, columns, "columns", file.name)
        frame = frame[columns] if columns else frame
        check_columns(frame.columns, dates, "dates", file.name)
        if is_polars:
            return frame.with_columns(library.col(dates).str.to_datetime()) if dates else frame
        for each in dates:
            frame[each] = library.to_datetime(frame[each])
        return frame


class WriteCsv(_Writer):
    """A table as a CSV file."""

    kind = "CSV"
    usual_name = "table.csv"
    about = NodeMetadata(
        "write_csv",
        "Write CSV",
        "Writes a table to a CSV file. What a pandas frame has as its index is left out.",
        NodeCategory.OUTPUT,
        tags=("file", "table", "tsv"),
        requires=("narwhals", "pandas"),
    )
    fields = (
        _SEPARATOR,
        _ENCODING,
        flag("header", "Whether the first line names the columns.", default=True),
    )

    def write(self, value: Any, path: Path, config: Mapping[str, Any]) -> None:
        """Write a pandas or a Polars frame."""
        encoding, separator, header = _codec(config["encoding"]), _one_character(config["separator"]), config["header"]
        frame = table(value)
        with _text_file(path, encoding) as file:
            if frame.implementation.is_polars():
                file.write(frame.to_native().write_csv(separator=separator, include_header=header))
            else:
                frame.to_pandas().to_csv(file, sep=separator, header=header, index=False, lineterminator="\n")


class ReadJson(_Reader):
    """The value in a JSON file."""

    kind = "JSON"
    gives = outbound("result", DataType.JSON, description="What the file holds.", name="Data")

    about = NodeMetadata(
        "read_json",
        "Read JSON",
        "Reads a JSON file, or one with a value a line. 'to_dataframe' makes a table of a list.",
        NodeCategory.INPUT,
        tags=("file", "jsonl", "ndjson"),
    )
    fields = (
        flag(
            "lines", "Whether each line is a value of its own (JSON Lines, NDJSON); they become a list.", default=False
        ),
        _ENCODING,
    )

    def read(self, file: File, config: Mapping[str, Any]) -> object:
        """A value."""
        encoding = "utf-8-sig" if _codec(config["encoding"]) == "utf-8" else config["encoding"]  # a mark is no fault
        with file.opened() as binary:
            text = binary.read().decode(encoding)
        if not config["lines"]:
            return json.loads(text)
        values = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    values.append(json.loads(line))
                except ValueError as error:
                    raise ValueError(f"line {number} is not JSON: {error}") from error
        return values


class WriteJson(_Writer):
    """A value, or a table, as a JSON file."""

    kind = "JSON"
    usual_name = "data.json"
    takes = inbound(
        "data",
        DataType.JSON,
        DataType.DATAFRAME,
        required=True,
        description="The value to write; of a table, a list with an object a row.",
    )
    about = NodeMetadata(
        "write_json",
        "Write JSON",
        "Writes a value to a JSON file; a table as its rows.",
        NodeCategory.OUTPUT,
        tags=("file", "jsonl", "ndjson"),
    )
    fields = (
        flag(
            "lines", "Whether to write each value of the list as a line of its own (JSON Lines, NDJSON).", default=False
        ),
        count(
            "indent",
            "Spaces a level; 0 writes all of it in one line.",
            default=2,
            maximum=8,
            visible_when={"lines": False},
        ),
    )

    def write(self, value: Any, path: Path, config: Mapping[str, Any]) -> None:
        """Write JSON, in UTF-8: what is missing in a table is null there, and a time is text as in ISO 8601."""
        if not isinstance(value, (dict, list, tuple, str, int, float, bool, type(None))):
            value = records(table(value, "data"))
        with _text_file(path, "utf-8") as file:
            if not config["lines"]:
                file.write(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=config["indent"] or None))
                file.write("\n")
            elif isinstance(value, (list, tuple)):
                file.writelines(f"{json.dumps(each, ensure_ascii=False, allow_nan=False)}\n" for each in value)
            else:
                raise fault("lines", f"'lines' writes a list, a line for each value of it, and this is {shown(value)}")


class ReadParquet(_Reader):
    """The table in a Parquet file."""

    kind = "Parquet"
    about = NodeMetadata(
        "read_parquet",
        "Read Parquet",
        "Reads a table from a Parquet file, or from a folder of them.",
        NodeCategory.INPUT,
        tags=("file", "table", "arrow"),
        requires=("narwhals", "pandas", "pyarrow"),
    )
    fields = (_COLUMNS, _ENGINE)

    def read(self, file: File, config: Mapping[str, Any]) -> object:
        """A frame."""
        columns = names(config["columns"], "columns")
        is_polars = config["engine"] == "polars"
        library = polars_for("read_parquet") if is_polars else pandas_for("read_parquet")
        try:
            return library.read_parquet(file.plain(), columns=columns or None)
        except ImportError as error:
            raise MissingExtraError("pyarrow", "nodes", "the node 'read_parquet'") from error
        except Exception:
            if columns:
                check_columns(library.read_parquet(file.plain()).columns, columns, "columns", file.name)
            raise


class WriteParquet(_Writer):
    """A table as a Parquet file."""

    kind = "Parquet"
    usual_name = "table.parquet"
    about = NodeMetadata(
        "write_parquet",
        "Write Parquet",
        "Writes a table to a Parquet file, which keeps the types of its columns. What a pandas frame has "
        "as its index is left out.",
        NodeCategory.OUTPUT,
        tags=("file", "table", "arrow"),
        requires=("narwhals", "pandas", "pyarrow"),
    )
    fields = (
        choice(
            "compression",
            "How its columns are compressed; every reader of today knows zstd, the oldest know snappy.",
            ("zstd", "snappy", "gzip", "none"),
        ),
    )

    def write(self, value: Any, path: Path, config: Mapping[str, Any]) -> None:
        """Write a pandas or a Polars frame."""
        frame, compression = table(value), config["compression"]
        if frame.implementation.is_polars():
            frame.to_native().write_parquet(path, compression="uncompressed" if compression == "none" else compression)
            return
        try:
            frame.to_pandas().to_parquet(path, compression=None if compression == "none" else compression, index=False)
        except ImportError as error:
            raise MissingExtraError("pyarrow", "nodes", "the node 'write_parquet'") from error


class ReadExcel(_Reader):
    """The table in a sheet of an Excel file."""

    kind = "Excel"
    about = NodeMetadata(
        "read_excel",
        "Read Excel",
        "Reads a table from a sheet of an Excel file (.xlsx), as a pandas frame.",
        NodeCategory.INPUT,
        tags=("file", "table", "xlsx", "spreadsheet"),
        requires=("narwhals", "openpyxl", "pandas"),
    )
    fields = (
        field("sheet", "The sheet's name. Empty: the first one.", default=""),
        count(
            "skip_rows", "How many rows stand above the one that names the columns.", default=0, label="Rows to skip"
        ),
        _COLUMNS,
    )

    def read(self, file: File, config: Mapping[str, Any]) -> object:
        """A pandas frame."""
        columns, sheet = names(config["columns"], "columns"), config["sheet"]
        pd = pandas_for("read_excel")
        try:
            book = pd.ExcelFile(file.plain(), engine="openpyxl")
        except ImportError as error:
            raise MissingExtraError("openpyxl", "nodes", "the node 'read_excel'") from error
        with book:
            if sheet and sheet not in book.sheet_names:
                raise fault("sheet", f"{file.name!r} has no sheet {sheet!r}{or_what_there_is(sheet, book.sheet_names)}")
            frame = pd.read_excel(book, sheet_name=sheet or 0, skiprows=config["skip_rows"])
        check_columns(frame.columns, columns, "columns", file.name)
        return frame[columns] if columns else frame


class WriteExcel(_Writer):
    """A table as an Excel file."""

    kind = "Excel"
    usual_name = "table.xlsx"
    about = NodeMetadata(
        "write_excel",
        "Write Excel",
        "Writes a table to an Excel file (.xlsx) of one sheet. What a pandas frame has as its index is "
        "left out, and text that looks like a formula stays text.",
        NodeCategory.OUTPUT,
        tags=("file", "table", "xlsx", "spreadsheet"),
        requires=("narwhals", "openpyxl", "pandas", "pyarrow"),
    )
    fields = (field("sheet", "What the sheet is called.", default="Sheet1"),)

    def write(self, value: Any, path: Path, config: Mapping[str, Any]) -> None:
        """Write a pandas or a Polars frame."""
        frame: pd.DataFrame = table(value).to_pandas()
        try:
            with pandas_for("write_excel").ExcelWriter(path, engine="openpyxl") as book:
                frame.to_excel(book, sheet_name=config["sheet"] or "Sheet1", index=False)
                for row in book.sheets[config["sheet"] or "Sheet1"].iter_rows():
                    for cell in row:
                        if cell.data_type == "f":  # a value that begins with "=" is a text here
                            cell.data_type = "s"
        except ImportError as error:
            raise MissingExtraError("openpyxl", "nodes", "the node 'write_excel'") from error


def check_columns(there: Sequence[Any], wanted: Sequence[str], field: str, name: str) -> None:
    """Raise `NodeConfigError` for the first of the `wanted` columns that the file of that name does not have."""
    known = [str(each) for each in there]
    for each in wanted:
        if each not in known:
            few = ", ".join(map(repr, known[:10])) + (", ..." if len(known) > 10 else "")
            raise fault(field, f"{name!r} has no column {each!r}{did_you_mean(each, known) or f'; it has: {few}'}")


def _codec(encoding: str) -> str:
    try:
        return codecs.lookup(encoding or "utf-8").name
    except (LookupError, ValueError) as error:
        raise fault(
            "encoding", f"there is no encoding {encoding!r}; such are utf-8, cp1252, latin-1, utf-16"
        ) from error


def _one_character(separator: str) -> str:
    separator = "\t" if separator == "\\t" else separator
    if len(separator) != 1:
        raise fault("separator", f"the separator is one character, such as ',' or ';', not {separator!r}")
    return separator


def _check_first_row(file: File, separator: str, encoding: str) -> None:
    """`ValueError` when it has more values than there are names: pandas would make an index of its first ones."""
    try:
        with file.opened() as binary, io.TextIOWrapper(binary, encoding, newline="") as text:
            rows = islice(filter(None, csv.reader(text, delimiter=separator)), 2)
            names_there, values_there, *_ = [*map(len, rows), 0, 0]
    except csv.Error:  # such as a value of 128 KiB, which is none for pandas
        return
    if values_there > names_there:
        told = f"its first row has {values_there} values, and its header {names_there} names"
        raise ValueError(f"{told}; is 'separator', which is {separator!r}, right?")


def _text_file(path: Path, encoding: str) -> codecs.StreamWriter:
    """A text file to write, compressed if its name says so; lines end as they are written."""
    return codecs.getwriter(encoding)(_COMPRESSED.get(path.suffix, open)(path, "wb"))


@contextmanager
def _told(failure: str) -> Iterator[None]:
    """What a library raises in the block becomes a `StoreError` that begins with `failure`."""
    try:
        yield
    except DagyError:
        raise
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or sentence(error)
        reason = reason.partition("\n\n")[0].strip()  # Polars goes on with its own functions' options
        hint = "; if its text is coded otherwise, say so in 'encoding': 'cp1252'"
        raise StoreError(f"{failure}: {reason}{hint * isinstance(error, UnicodeDecodeError)}") from error
