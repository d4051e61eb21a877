"""What tells two values apart, the same in every process and on every day.

Two values have the same digest if they are equal and all their parts are of the same types, in the same order where
there is one. The walk goes by structure, never by a pickle's bytes: those differ between equal values, with the objects
that these happen to share and with the order of a set. An object is what it says of itself when it is to be pickled
(`__reduce_ex__`), its attributes in no order.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import itertools
import marshal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

from dagy.errors import sentence, shown
from dagy.values import type_name

# What tells the code of a function or a class apart; None if nothing does.
CodeName: TypeAlias = Callable[[Callable[..., Any]], str | None]

_SCALARS = frozenset({str, int, float, bool, type(None), complex, type(...), bytes})
_LONG = 64  # bytes from which a part is told by its digest
_PLAIN = 2  # the version of marshal's format that is the same for equal values: it has no back references


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a value apart: its `digest`, or None and the `reason`: `it['a'][3] is a generator, ...`."""

    digest: str | None
    reason: str = ""


def digest(value: object, code: CodeName | None = None) -> str | None:
    """What tells `value` apart (32 hexadecimal digits), or None when nothing lasting does."""
    return identity(value, code).digest


def identity(value: object, code: CodeName | None = None, *, called: str = "it") -> Identity:
    """The digest of `value`, or the reason why it has none. It is not consumed or changed, and nothing is raised.

    The reason calls the value `called`.

    `code` tells functions and classes apart; without it their names do, and what has no name has no digest. What
    belongs to this process (a lock, a file, a generator) has none, and neither has what holds itself.
    """
    walk = _Walk(code or _name)
    try:
        return Identity(walk.piece_of(value).hex())
    except _NoIdentityError as error:
        return Identity(None, f"{called}{walk.where()} {error}")
    except RecursionError:  # of a set in a set in a set
        return Identity(None, f"{called} is nested too deep")
    except Exception as error:  # noqa: BLE001 (the objects' own code)
        return Identity(None, f"{called}{walk.where()} can't be told apart: {sentence(error)}")


class _NoIdentityError(Exception):
    """A part has no identity; the message says what it is."""


class _Frame:
    """A value whose parts are being told apart."""

    __slots__ = ("hasher", "owner", "parts", "taken", "unordered")

    def __init__(self, owner: object, tag: bytes, parts: Iterator[object], *, in_order: bool = True) -> None:
        self.owner = owner
        self.hasher = hashlib.sha256(tag)
        self.parts = parts
        self.unordered: list[bytes] | None = None if in_order else []
        self.taken = 0

    def add(self, piece: bytes) -> None:
        if self.unordered is None:
            self.hasher.update(piece)
        else:
            self.unordered.append(piece)

    def piece(self) -> bytes:
        for each in sorted(self.unordered or ()):
            self.hasher.update(each)
        return _short(self.hasher)


class _Walk:
    """Goes through a value from its leaves up, without recursion: it may be nested as deep as it likes.

    A piece is what stands for a part in the digest of the whole. None of them is the beginning of another.
    """

    def __init__(self, code: CodeName) -> None:
        self.code = code
        self.stack: list[_Frame] = []
        self.open: set[int] = set()
        self.done: dict[int, tuple[bytes, object]] = {}  # by id, with the object, so that the id stays its own

    def piece_of(self, value: object) -> bytes:
        """The piece of the whole value, always 16 bytes."""
        top = _Frame(None, b"value", iter((value,)))
        self.stack.append(top)
        while True:
            frame = self.stack[-1]
            for part in frame.parts:
                frame.taken += 1
                if (piece := self.leaf(part)) is None:
                    break
                frame.add(piece)
            else:
                self.stack.pop()
                if frame is top:
                    return frame.piece()[1:]
                piece = frame.piece()
                self.open.discard(id(frame.owner))
                self.done[id(frame.owner)] = (piece, frame.owner)
                self.stack[-1].add(piece)

    def leaf(self, value: Any) -> bytes | None:
        """The piece of `value` if it is plain; else None, and its frame is on the stack."""
        kind = type(value)
        if kind is bytes or kind is bytearray:
            hasher = hashlib.sha256(kind.__name__.encode() + b":")
            hasher.update(value)
            return _short(hasher)
        if kind in _SCALARS:
            return _marshalled(value)
        if kind is list or kind is tuple:
            if _SCALARS.issuperset(map(type, value)):
                return _marshalled(value)
            return self.enter(value, kind.__name__.encode(), value)
        if kind is dict:
            if _SCALARS.issuperset(map(type, value)) and _SCALARS.issuperset(map(type, value.values())):
                return _marshalled(value)
            return self.enter(value, b"dict", itertools.chain.from_iterable(value.items()))
        if kind is set or kind is frozenset:
            return self.enter(value, kind.__name__.encode(), value, in_order=False)
        if kind is FunctionType or kind is ModuleType or issubclass(kind, type):
            return self.named(value)
        if kind is BuiltinFunctionType and (value.__self__ is None or type(value.__self__) is ModuleType):
            return _marshalled((".", value.__module__, value.__qualname__))
        if kind is MethodType:
            return self.enter(value, b"method", (value.__func__, value.__self__))
        module = kind.__module__
        package = module.partition(".")[0] if type(module) is str else ""
        if package == "pandas" and (table := _pandas_parts(value, kind)):
            return self.enter(value, f"pandas.{kind.__name__}".encode(), table)
        return _memory(value, kind, package) or self.reduced(value, kind)

    def enter(self, value: object, tag: bytes, parts: Iterable[object], *, in_order: bool = True) -> bytes | None:
        """The piece of a value with parts if it is known; else None, and the walk goes on inside it."""
        if (known := self.done.get(id(value))) is not None:
            return known[0]
        if id(value) in self.open:
            raise _NoIdentityError("holds itself")
        self.open.add(id(value))
        self.stack.append(_Frame(value, tag + b":", iter(parts), in_order=in_order))
        return None

    def named(self, value: Any) -> bytes:
        if type(value) is ModuleType:
            return _marshalled((".", "module", value.__name__))
        name = self.code(value)
        if name is None:
            raise _NoIdentityError(f"is the function {value.__qualname__!r}, which has no lasting name")
        return _marshalled((".", "code", name))

    def reduced(self, value: Any, kind: type) -> bytes | None:
        """The piece of an object, from what it says of itself when it is to be pickled."""
        if issubclass(kind, set | frozenset):  # it would give its items in an order of no meaning
            attributes = sorted(getattr(value, "__dict__", {}).items())
            return self.enter(value, b"object", (kind, frozenset(set(value)), attributes))
        try:
            reduce = copyreg.dispatch_table.get(kind)
            answer: Any = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:  # noqa: BLE001 (the object's own code)
            raise _NoIdentityError(
                f"is a {type_name(kind)}, which has no lasting identity: {sentence(error)}"
            ) from None
        if isinstance(answer, str):
            return _marshalled((".", kind.__module__, kind.__qualname__, answer))
        function, arguments, state, items, pairs = [*answer, None, None, None][:5]
        states = state if type(state) is tuple else (state,)
        parts = (function, arguments, tuple(map(_in_no_order, states)), _listed(items), _listed(pairs))
        return self.enter(value, b"object", parts)

    def where(self) -> str:
        """The path to the part at which the walk stands."""
        return "".join(map(_step, self.stack))


def _marshalled(value: Any) -> bytes:
    """The piece of a plain value."""
    data = marshal.dumps(value, _PLAIN)
    return data if len(data) <= _LONG else _short(hashlib.sha256(data))


def _short(hasher: Any) -> bytes:
    """The piece of what `hasher` was fed with; marshal begins nothing with a `#`."""
    found: bytes = b"#" + hasher.digest()[:16]
    return found


def _name(code: Any) -> str | None:
    """What a function or a class is called, if that is a name by which it can be found."""
    return None if "<" in code.__qualname__ else f"{code.__module__}.{code.__qualname__}"


def _in_no_order(state: object) -> object:
    """Attributes sorted by name; another kind of state as it is."""
    if type(state) is dict and all(type(key) is str for key in state):
        return ("attributes", *sorted(state.items()))
    return state


def _listed(items: Iterable[object] | None) -> list[object] | None:
    return None if items is None else list(items)


def _memory(value: Any, kind: type, package: str) -> bytes | None:
    """The piece of an array or a table that is told apart by its memory; None for anything else."""
    match package:
        case "numpy":
            return _array(value, kind)
        case "pyarrow":
            pyarrow: Any = sys.modules["pyarrow"]
            return _arrow(value) if kind is pyarrow.Table else None
        case "polars":
            polars: Any = sys.modules["polars"]
            return _polars(value) if kind is polars.DataFrame else None
        case _:
            return None


def _array(value: Any, kind: type) -> bytes | None:
    numpy: Any = sys.modules["numpy"]
    is_scalar = isinstance(value, numpy.generic)
    if (kind is not numpy.ndarray and not is_scalar) or value.dtype.hasobject:
        return None
    array = numpy.asarray(value)
    by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
    form = array.dtype.str if array.dtype.names is None else str(array.dtype.descr)
    hasher = hashlib.sha256(_marshalled(("numpy", is_scalar, form, array.shape, by_columns)))
    if array.nbytes:
        flat = numpy.ascontiguousarray(array.T if by_columns else array)
        hasher.update(memoryview(flat.reshape(-1).view(numpy.uint8)))
    return _short(hasher)


def _pandas_parts(value: Any, kind: type) -> Iterable[object] | None:
    """What a data frame, a series or an index consists of; None for anything else."""
    pandas: Any = sys.modules["pandas"]
    if kind is pandas.DataFrame:
        columns = (_column(value.iloc[:, number]) for number in range(value.shape[1]))
        return itertools.chain((value.columns, value.index, value.attrs), columns)
    if kind is pandas.Series:
        return (value.name, value.index, value.attrs, _column(value))
    if kind is pandas.RangeIndex:
        return (value.name, value.start, value.stop, value.step)
    if kind is pandas.MultiIndex:
        levels = (_column(value.get_level_values(number)) for number in range(value.nlevels))
        return itertools.chain((list(value.names),), levels)
    if issubclass(kind, pandas.Index):
        return (value.name, getattr(value, "freqstr", None), _column(value))
    return None


def _column(values: Any) -> object:
    """The values of a pandas series or index, as an array or a list, with what their dtype adds."""
    pandas: Any = sys.modules["pandas"]
    dtype = values.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        held = values.array
        return ("category", bool(held.ordered), held.codes, _column(held.categories))
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return (str(dtype), values.array.asi8)
    if dtype.kind == "O" or pandas.api.types.is_extension_array_dtype(dtype):
        return (str(dtype), values.tolist())
    return values.to_numpy()


def _arrow(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return _short(hashlib.sha256(memoryview(sink.getvalue())))


def _polars(frame: Any) -> bytes | None:
    sink = io.BytesIO()
    try:
        frame.rechunk().write_ipc(sink)
    except Exception:  # noqa: BLE001 (polars' panics are exceptions of their own; a column of Python objects is one)
        return None
    return _short(hashlib.sha256(sink.getbuffer()))


def _step(frame: _Frame) -> str:
    """From a value to the part of it that was taken last, as Python writes it, where it has a way to."""
    owner: Any = frame.owner
    if type(owner) is list or type(owner) is tuple:
        return f"[{frame.taken - 1}]"
    if type(owner) is dict:
        return f"[{shown(next(itertools.islice(owner, (frame.taken - 1) // 2, None)))}]"
    return ""
