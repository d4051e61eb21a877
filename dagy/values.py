"""How a value is kept outside the process that made it: its codecs, and what is said of a value that has none.

A value is kept in the plainest form that gives it back just as it was: JSON, an array in NumPy's own format, a table as
Arrow. What is left is pickled, and a pickle runs code when it is read: only `read_trusted` does that.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import json
import math
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from dagy.errors import StoreError, TravelError, sentence, shown
from dagy.local_artifact import LocalArtifact

if TYPE_CHECKING:
    from pathlib import Path

# "absent": `ABSENT`; "outputs": JSON of a node's outputs, some of them absent; "arrow": an Arrow file of a pandas or a
# pyarrow table; "polars": one that polars wrote; "file": a LocalArtifact
Codec: TypeAlias = Literal["json", "absent", "outputs", "npy", "arrow", "polars", "file", "pickle"]
Buffer: TypeAlias = bytes | memoryview

_JSON_SCALARS = frozenset({str, int, bool, type(None)})
_DEEPEST = 150  # levels of lists and dicts; readers of JSON have limits of their own, not far above
_MOST_PARTS = 10_000  # that are looked at, one by one, for the one that can't be pickled
_KIND = b"dagy"  # in an Arrow schema's metadata: which class the table was, as JSON
_ARROW_DTYPES = "biufM"  # the kinds of NumPy dtypes that a table gives back as they were
_NULLABLE = frozenset({f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)})  # a Float64 may hold NaN


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ABSENT"


# There is no value: what a task gives that was skipped by choice, and an output that was left out.
ABSENT: Final = Absent.ABSENT


class Deferred:
    """A value that is somewhere else (a file, another process's memory) until somebody asks for it; never `ABSENT`.

    A base class to inherit from, not a protocol: users' own objects may have a `value` too.
    """

    __slots__ = ()

    def value(self) -> object:
        """The value itself; the same object each time. Raises what reading it raises."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as bytes. The buffers may be the value's own memory: use them before the value can change."""

    codec: Codec
    buffers: tuple[Buffer, ...]

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(each.nbytes if isinstance(each, memoryview) else len(each) for each in self.buffers)

    @property
    def data(self) -> bytes:
        """All of it; a copy, unless it is in one piece already."""
        only = self.buffers[0] if len(self.buffers) == 1 else None
        return only if isinstance(only, bytes) else b"".join(self.buffers)

    def write(self, path: Path) -> None:
        """Write it to `path`, which holds all of it or what it held before, whatever happens. Raises `StoreError`."""
        half = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.half")
        try:
            try:
                with half.open("wb") as file:
                    for each in self.buffers:
                        file.write(each)
                half.replace(path)
            finally:
                half.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{str(path)!r} can't be written: {error.strerror or error}") from error


def encode(value: object, *, called: str = "result") -> Encoded:
    """`value` in the plainest form that gives it back: equal, and each part of its own type.

    What JSON, NumPy and Arrow hold loses nothing but which of its lists and dicts are one and the same object. A
    `TravelError` says which part of it can't be kept, calling the whole `called`: `result['a'][3] is a generator`.
    """
    for form in (_json, _absent, _npy, _arrow, _polars, _file):
        if (encoded := form(value)) is not None:
            return encoded
    try:
        return Encoded("pickle", (_pickled(value),))
    except Exception as error:
        if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
            raise TravelError(f"{called} is nested too deep to be kept; make it flatter") from error
        raise TravelError(_refusal(value, called, error)) from error


def read(codec: str, source: Path | bytes) -> object:
    """The value that `encode` kept, of any codec but "pickle": no code of anybody's is run.

    Raises `TravelError` when it can't be read, `StoreError` when the file can't.
    """
    match codec:
        case "json":
            return _decoded(codec, source, lambda file: json.loads(file.read()))
        case "absent":
            return ABSENT
        case "outputs":
            return _decoded(codec, source, _outputs_value)
        case "npy":
            return _decoded(codec, source, _npy_value)
        case "arrow":
            return _decoded(codec, source, _arrow_value)
        case "polars":
            return _decoded(codec, source, _polars_value)
        case "file":
            return _decoded(codec, source, _file_value)
        case "pickle":
            raise TravelError("the value is kept as a pickle, and reading that may run any code; it is not read here")
        case _:
            raise TravelError(f"the value is kept as {codec!r}, which this dagy can't read; upgrade dagy")


def read_trusted(codec: str, source: Path | bytes) -> object:
    """The value that `encode` kept, of any codec. A pickle is unpickled: whoever wrote it chose the code that runs.

    Raises `TravelError` when it can't be read, `StoreError` when the file can't.
    """
    return _decoded(codec, source, pickle.load) if codec == "pickle" else read(codec, source)


def described(value: object) -> str:
    """`value` itself if it is plain and short, else what it is: `'a.csv'`, `[1, 2]`, `a pandas.DataFrame`."""
    kind = type(value)
    is_short = kind not in (list, dict) or len(cast("list[object]", value)) <= 20
    return shown(value) if is_short and (is_json(value) or kind in (float, complex, bytes)) else f"a {type_name(kind)}"


def type_name(kind: type) -> str:
    """What messages call a class: `list`, `pandas.DataFrame`."""
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def is_json(value: object) -> bool:
    """Whether JSON gives `value` back just as it is."""
    level: list[Any] = [[value]]
    for _ in range(_DEEPEST):
        deeper: dict[int, Any] = {}  # by identity: a list that holds itself twice would double at each level
        for container in level:
            for each in container.values() if type(container) is dict else container:
                kind = type(each)
                if kind is list or kind is dict:
                    deeper[id(each)] = each
                elif kind is float:
                    if not math.isfinite(each):
                        return False
                elif kind not in _JSON_SCALARS:
                    return False
        if not deeper:
            return True
        level = list(deeper.values())
        if not all(type(key) is str for container in level if type(container) is dict for key in container):
            return False
    return False


def _decoded(codec: str, source: Path | bytes, decode: Callable[[io.BufferedIOBase], object]) -> object:
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            return decode(file)
    except OSError as error:
        raise StoreError(f"{str(source)!r} can't be read: {error.strerror or error}") from error
    except Exception as error:  # what is damaged fails as it likes, and unpickling runs the user's code
        where = "" if isinstance(source, bytes) else f" in {str(source)!r}"
        raise TravelError(f"the {codec}{where} can't be read: {sentence(error)}") from error


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(value: object) -> Encoded | None:
    if not is_json(value):
        return None
    try:
        return Encoded("json", (json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),))
    except UnicodeEncodeError:  # half a surrogate pair; escaped, two halves side by side would become one character
        text = json.dumps(value)
        return Encoded("json", (text.encode(),)) if json.loads(text) == value else None
    except ValueError:  # a number of more digits than Python likes to read
        return None


def _absent(value: object) -> Encoded | None:
    """`ABSENT`, or outputs by name: those that are there, and the names of the others."""
    if value is ABSENT:
        return Encoded("absent", (b"",))
    if type(value) is not dict or not any(each is ABSENT for each in value.values()):
        return None
    names = [name for name, each in value.items() if each is ABSENT]
    encoded = _json([{name: each for name, each in value.items() if each is not ABSENT}, names])
    return None if encoded is None else Encoded("outputs", encoded.buffers)


def _outputs_value(file: io.BufferedIOBase) -> object:
    given, names = json.loads(file.read())
    return given | dict.fromkeys(names, ABSENT)


# -- arrays -----------------------------------------------------------------------------------------------------------


def _npy(value: object) -> Encoded | None:
    """An array, or as one of no dimensions a scalar of NumPy's."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not (type(value) is numpy.ndarray or isinstance(value, numpy.generic)):
        return None
    array: Any = numpy.asarray(value)
    is_scalar = array is not value
    if bool(array.ndim) == is_scalar or (is_scalar and type(array[()]) is not type(value)):
        return None
    dtype = array.dtype
    form = numpy.lib.format
    if dtype.hasobject or dtype.metadata:
        return None
    header = io.BytesIO()
    try:
        if form.descr_to_dtype(form.dtype_to_descr(dtype)) != dtype:
            return None
        form.write_array_header_1_0(header, form.header_data_from_array_1_0(array))
    except (TypeError, ValueError):  # names that the format does not hold
        return None
    if not array.nbytes:
        return Encoded("npy", (header.getvalue(),))
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = numpy.ascontiguousarray(array)
    flat = array.ravel(order="K").view(numpy.uint8)
    return Encoded("npy", (header.getvalue(), memoryview(flat)))


def _npy_value(file: io.BufferedIOBase) -> object:
    import numpy as np

    array = np.load(file, allow_pickle=False)
    return array if array.ndim else array[()]


# -- tables -----------------------------------------------------------------------------------------------------------


def _arrow(value: object) -> Encoded | None:
    """A table of pyarrow's, or a data frame or series of pandas' of which Arrow gives everything back."""
    pyarrow: Any = sys.modules.get("pyarrow")
    pandas: Any = sys.modules.get("pandas")
    if pyarrow is None:
        return None
    if type(value) is pyarrow.Table:
        return _arrow_file(value, "pyarrow.Table", None)
    if pandas is None or type(value) not in (pandas.DataFrame, pandas.Series):
        return None
    name: object = None
    frame: Any = value
    if type(value) is pandas.Series:
        series = cast("Any", value)
        name = series.name
        if not (name is None or type(name) is str) or not _is_plain_pandas(series):
            return None
        frame = series.to_frame("values")
    try:
        if not (_is_plain_pandas(frame) and _keeps_schema(frame)):
            return None
        table = pyarrow.Table.from_pandas(frame, preserve_index=None)
    except (pyarrow.ArrowException, ValueError, TypeError, NotImplementedError, OverflowError):
        return None
    return _arrow_file(table, f"pandas.{type(value).__name__}", name)


def _arrow_file(table: Any, kind: str, name: object) -> Encoded:
    import pyarrow as pa

    told = json.dumps({"kind": kind, "name": name}).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KIND: told})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return Encoded("arrow", (memoryview(sink.getvalue()),))


def _arrow_value(file: io.BufferedIOBase) -> object:
    import pyarrow as pa

    table = pa.ipc.open_file(file).read_all()
    metadata = dict(table.schema.metadata)
    told = json.loads(metadata.pop(_KIND))
    match told["kind"]:
        case "pyarrow.Table":
            return table.replace_schema_metadata(metadata or None)
        case "pandas.DataFrame":
            return _pandas_frame(table)
        case "pandas.Series":
            return _pandas_frame(table)["values"].rename(told["name"])
        case kind:
            raise ValueError(f"a table of the unknown kind {kind!r}")


def _pandas_frame(table: Any) -> Any:
    import pandas  # noqa: F401 (pyarrow makes pandas' objects, and does not say so when pandas is missing)

    return table.to_pandas(date_as_object=True, timestamp_as_object=False)


def _is_plain_pandas(table: Any) -> bool:
    """Whether each column and the index hold values that Arrow gives back, and nothing is attached to the table."""
    if table.attrs or not table.flags.allows_duplicate_labels or table.index.nlevels > 1:
        return False
    if getattr(table.index, "freq", None) is not None:
        return False
    dtypes = [table.index.dtype, *(table.dtypes if table.ndim == 2 else [table.dtype])]
    return all(map(_is_plain_dtype, dtypes))


def _is_plain_dtype(dtype: Any) -> bool:
    pandas: Any = sys.modules["pandas"]
    if isinstance(dtype, pandas.CategoricalDtype):
        return dtype.categories is not None and _is_plain_dtype(dtype.categories.dtype)
    if isinstance(dtype, pandas.DatetimeTZDtype | pandas.StringDtype | pandas.BooleanDtype):
        return True
    if pandas.api.types.is_extension_array_dtype(dtype):
        return dtype.name in _NULLABLE
    return dtype.kind in _ARROW_DTYPES and dtype.isnative and dtype.itemsize <= 8


def _keeps_schema(frame: Any) -> bool:
    """Whether the frame without its rows comes back from Arrow with the same columns, dtypes and index."""
    import pyarrow as pa

    empty = frame.iloc[:0]
    again = _pandas_frame(pa.Table.from_pandas(empty))
    return (
        _same_labels(empty.columns, again.columns)
        and _same_labels(empty.index, again.index)
        and list(empty.dtypes) == list(again.dtypes)
    )


def _same_labels(one: Any, other: Any) -> bool:
    return (
        type(one) is type(other)
        and one.dtype == other.dtype
        and list(one.names) == list(other.names)
        and list(map(type, one.names)) == list(map(type, other.names))
        and list(one) == list(other)
        and list(map(type, one)) == list(map(type, other))
    )


def _polars(value: object) -> Encoded | None:
    polars: Any = sys.modules.get("polars")
    if polars is None or type(value) is not polars.DataFrame:
        return None
    frame: Any = value
    try:
        if _polars_value(io.BytesIO(_polars_file(frame.clear()))).schema != frame.schema:
            return None
        return Encoded("polars", (_polars_file(frame),))
    except Exception:  # noqa: BLE001 (polars' panics are exceptions of their own; a column of Python objects is one)
        return None


def _polars_file(frame: Any) -> memoryview:
    sink = io.BytesIO()
    frame.write_ipc(sink)
    return sink.getbuffer()


def _polars_value(file: io.BufferedIOBase) -> Any:
    import polars

    return polars.read_ipc(io.BytesIO(file.read()))


# -- files ------------------------------------------------------------------------------------------------------------


def _file(value: object) -> Encoded | None:
    """A line of JSON that says what the file is, and the file's bytes."""
    if type(value) is not LocalArtifact:
        return None
    head = json.dumps({"name": value.name, "media_type": value.media_type})
    return Encoded("file", (f"{head}\n".encode("ascii"), value.content))


def _file_value(file: io.BufferedIOBase) -> LocalArtifact:
    head = json.loads(file.readline())
    return LocalArtifact(head["name"], head["media_type"], file.read())


# -- pickles ----------------------------------------------------------------------------------------------------------


def found_in_main(kind: type, name: str, pickled: bytes) -> object:
    """What the program that reads a pickle calls `name`, if it has a class or a function there; else the pickled one.

    Pickles name this function: it is to stay where it is.
    """
    found: Any = sys.modules.get("__main__")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, kind) else pickle.loads(pickled)


def _pickled(value: object) -> bytes:
    try:
        data = pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 (the objects' own code; what is raised then is what cloudpickle raises)
        return _pickled_by_value(value)
    # A name in `__main__` is another thing, or nothing, in the program that reads it.
    return _pickled_by_value(value) if b"__main__" in data else data


def _pickled_by_value(value: object) -> bytes:
    sink = io.BytesIO()
    _main_pickler()(sink, protocol=5).dump(value)
    return sink.getvalue()


@functools.cache
def _main_pickler() -> Callable[..., Any]:
    """A pickler that takes along what has no name elsewhere, and for what `__main__` defines its name there too."""
    import cloudpickle

    class MainPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__" and "<" not in obj.__qualname__:
                kind = type if isinstance(obj, type) else FunctionType
                return found_in_main, (kind, obj.__qualname__, cloudpickle.dumps(obj, protocol=5))
            return super().reducer_override(obj)

    return MainPickler


def _refusal(value: object, called: str, error: BaseException) -> str:
    """Why `value` can't be pickled: the innermost part that can't be, and what to do about it."""
    where, value, error = culprit(value, error, _fault)
    kind = type(value)
    name = type_name(kind)
    if isinstance(value, io.IOBase):
        what = "an open file, which can't be kept; return its path, or what is in it"
    elif isinstance(value, Iterator):
        what = f"a {name}, which runs only once and can't be kept; make it a list"
    elif kind.__module__ in ("_thread", "threading", "_socket", "socket", "ssl", "sqlite3", "asyncio", "weakref"):
        what = f"a {name}, which only this process can use; make it in the task that needs it"
    else:
        what = f"a {name}, which can't be kept: {sentence(error)}; return plain data instead"
    return f"{called}{where} is {what}"


def _fault(value: object) -> Exception | None:
    try:
        _pickled(value)
    except Exception as error:  # noqa: BLE001 (the objects' own code)
        return error
    return None


def culprit(
    value: object, error: BaseException, fault: Callable[[object], BaseException | None]
) -> tuple[str, object, BaseException]:
    """Of a `value` that can't be pickled the innermost part that can't be: the way to it, the part, and its error.

    The way is such as `['a'][3].rows`. `fault` says what is wrong with a part, and `error` what is with the whole.
    """
    way = ""
    for _ in range(_DEEPEST):
        found = next(((step, part, wrong) for step, part in _parts(value) if (wrong := fault(part))), None)
        if found is None:
            break
        step, value, error = found
        way += step
    return way, value, error


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """What `value` is made of, each with the step to it; of what has very many parts only the first."""
    if isinstance(value, dict):
        for key, each in itertools.islice(value.items(), _MOST_PARTS):
            yield f"[{shown(key)}]", each
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value[:_MOST_PARTS]):
            yield f"[{index}]", each
    elif isinstance(value, set | frozenset):
        for each in itertools.islice(value, _MOST_PARTS):
            yield f" (in the set: {shown(each)})", each
    elif isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f".{field.name}", getattr(value, field.name, None)
    elif not isinstance(value, type):
        for name, each in itertools.islice(getattr(value, "__dict__", {}).items(), _MOST_PARTS):
            yield f".{name}", each


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, object]]:
    """The outer names that the code of a function uses, and its defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f", its outer name {name!r},", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f", its global name {name!r},", function.__globals__[name]
    for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield f", its default {shown(each)},", each
