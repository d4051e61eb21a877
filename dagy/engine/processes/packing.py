"""How a value travels between this process and its workers: packed once, and unpacked where it is needed.

A small value travels inside the message. A large one lies in shared memory that has no name: its arrays are mapped by
whoever receives it, and nobody copies them, neither the process that made it nor one that only passes it on.
"""

from __future__ import annotations

import errno
import functools
import io
import mmap
import os
import pickle
import resource
import threading
from collections.abc import Callable, Iterable, Sequence
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeAlias

from dagy.errors import TravelError, sentence
from dagy.values import Deferred, culprit, type_name

if TYPE_CHECKING:
    from cloudpickle import Pickler

    Bytes: TypeAlias = bytes | bytearray | memoryview

# Offset and length of the pickle, then of each buffer that travels beside it.
Spans: TypeAlias = tuple[tuple[int, int], ...]

_INLINE = 32 * 1024  # a value of fewer bytes travels inside the message
_BESIDE = 16 * 1024  # a buffer of so many bytes or more travels beside the pickle
_ALIGNMENT = 64
_MOST_AT_ONCE = 1000  # pieces in one call of writev
_SPARE_BYTES = 256 * 1024 * 1024
_MOST_SPARES = 4


class Region:
    """Shared memory without a name, which one process fills and others map; freed with its last reference.

    `is_held` says that some process may go on reading it for as long as it likes, so that it is never filled again.
    """

    __slots__ = ("_spares", "fd", "is_held", "size")

    def __init__(self, fd: int, spares: Spares | None = None) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self.is_held = False
        self._spares = spares
        _OPEN.add(self.fd)

    def read(self) -> bytearray:
        """A copy of all of it."""
        content = bytearray(self.size)
        view, done = memoryview(content), 0
        while done < self.size and (count := os.preadv(self.fd, [view[done:]], done)):
            done += count
        return content

    def map(self) -> mmap.mmap:
        """All of it as memory; what is written to that is seen by nobody else."""
        return mmap.mmap(self.fd, self.size, access=mmap.ACCESS_COPY)

    def take_fd(self) -> int:
        """Its descriptor, which the caller must close; the region is of no use any more."""
        fd, self.fd = self.fd, -1
        _OPEN.discard(fd)
        return fd

    def __del__(self) -> None:
        if self.fd >= 0:
            fd, held, spares = self.fd, self.is_held, self._spares
            self.take_fd()
            if held or spares is None:
                os.close(fd)
            else:
                spares.give(fd, self.size)


_OPEN: set[int] = set()  # the descriptors of all regions


@functools.cache
def _most_open() -> int:
    """How many regions may be open at once: a quarter of the descriptors that this process may have."""
    return max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)


class Spares:
    """Regions that nobody reads any more: filling one again costs a third of what fresh memory does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a region can come back while another is taken, by the garbage collector
        self._kept: list[tuple[int, int]] = []  # descriptor and size, the newest last

    def take(self) -> int | None:
        """The descriptor of a spare, now the caller's; None when there is none."""
        with self._lock:
            return self._kept.pop()[0] if self._kept else None

    def give(self, fd: int, size: int | None = None) -> None:
        """Keep this region, or close it when there are enough."""
        size = os.fstat(fd).st_size if size is None else size
        with self._lock:
            if len(self._kept) < _MOST_SPARES and size + sum(each for _, each in self._kept) <= _SPARE_BYTES:
                self._kept.append((fd, size))
                return
        os.close(fd)

    def clear(self) -> int:
        """Free all of them; how many there were."""
        with self._lock:
            kept, self._kept = self._kept, []
        for fd, _ in kept:
            os.close(fd)
        return len(kept)


class Packed(Deferred):
    """A value on its way, in memory that other processes can map.

    It holds bytes, or else a region. As a part of a value that is packed it stands for what it holds.
    """

    __slots__ = ("_lock", "_value", "content", "spans")

    def __init__(self, content: bytes | bytearray | Region, spans: Spans) -> None:
        self.content = content
        self.spans = spans
        self._value: list[object] = []
        self._lock = threading.RLock()

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return sum(length for _, length in self.spans)

    def value(self) -> object:
        """The value itself, unpacked when first asked for; `TravelError` when it can't be."""
        with self._lock:
            if not self._value:
                self._value.append(unpack(self))
            return self._value[0]

    def hold(self) -> None:
        """Note that some process may go on reading its region for as long as it likes."""
        if isinstance(self.content, Region):
            self.content.is_held = True

    def __repr__(self) -> str:
        return f"<Packed {self.size} bytes>"


class _Pieces:
    """A file that keeps what is written to it, in pieces that are not copied."""

    __slots__ = ("pieces", "write")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.write = self.pieces.append


def pack(
    value: object, what: str = "the value", *, attached: list[Packed] | None = None, spares: Spares | None = None
) -> Packed:
    """`value`, ready to travel; `TravelError` names the part of `what` that can't.

    Each `Packed` inside it is added to `attached` and must travel along. A large value fills one of `spares`,
    where there is one, and goes back there when nobody needs it any more.
    """
    beside: list[memoryview] = []

    def travels_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes >= _BESIDE:
            beside.append(raw)
        return raw.nbytes < _BESIDE

    file = _Pieces()
    try:
        _pickler_type()(file, protocol=5, buffer_callback=travels_inside, attached=attached).dump(value)
    except Exception as error:  # user code: __reduce__ and __getstate__
        raise _travel_error(value, what, error) from error
    length = sum(map(len, file.pieces))
    pieces, spans, size = _laid_out(file.pieces, length, beside)
    is_small = length + sum(each.nbytes for each in beside) < _INLINE
    return Packed(b"".join(pieces) if is_small else _filled(pieces, size, spares), spans)


def unpack(packed: Packed, attached: Sequence[object] = (), held: list[mmap.mmap | None] | None = None) -> object:
    """The value of `packed`, with `attached` in the places of what travelled along; `TravelError` when it fails.

    The map that its arrays lie in is added to `held`, or None when they lie in none.
    """
    content, mapped = packed.content, None
    if not isinstance(content, Region):
        memory = memoryview(bytearray(content) if len(packed.spans) > 1 else content)
    elif held is None or len(held) < _most_open():
        content.is_held = held is None
        mapped = content.map()
        memory = memoryview(mapped)
    else:
        memory = memoryview(content.read())
    if held is not None:
        held.append(mapped)
    (start, length), *rest = packed.spans
    buffers = [memory[offset : offset + size] for offset, size in rest]
    before = getattr(_ARRIVED, "values", ())
    _ARRIVED.values = attached
    try:
        return pickle.loads(memory[start : start + length], buffers=buffers)
    except Exception as error:
        raise TravelError(
            f"a value arrived from another process but can't be put together: {sentence(error)}"
        ) from error
    finally:
        _ARRIVED.values = before


_ARRIVED = threading.local()  # `values`: what travelled along with the value that is being unpacked


def _arrived(index: int) -> object:
    return _ARRIVED.values[index]


@functools.cache
def _pickler_type() -> Callable[..., Pickler]:
    from cloudpickle import Pickler

    class ValuePickler(Pickler):  # type: ignore[misc]  # cloudpickle has no types
        """Lets what is packed already travel along as it is, and any other deferred value as what it stands for."""

        def __init__(self, file: _Pieces, *, attached: list[Packed] | None, **options: Any) -> None:
            super().__init__(file, **options)
            self._attached = attached

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, io.IOBase) and not isinstance(obj, io.BytesIO | io.StringIO):
                raise pickle.PicklingError("an open file belongs to one process; pass its path")
            if not isinstance(obj, Deferred):
                return super().reducer_override(obj)
            if type(obj) is not Packed or self._attached is None:
                return _same, (obj.value(),)
            self._attached.append(obj)
            return _arrived, (len(self._attached) - 1,)

    return ValuePickler


def _same(value: object) -> object:
    return value


def _laid_out(pickled: Iterable[bytes], length: int, beside: Iterable[memoryview]) -> tuple[list[Bytes], Spans, int]:
    """The pieces of a value one after another, where its pickle and each buffer lie in them, and how long all is."""
    pieces: list[Bytes] = [*pickled]
    spans = [(0, length)]
    offset = length
    for each in beside:
        gap = -offset % _ALIGNMENT
        pieces += [bytes(gap), each]
        spans.append((offset + gap, each.nbytes))
        offset += gap + each.nbytes
    return pieces, tuple(spans), offset


def _filled(pieces: Iterable[Bytes], size: int, spares: Spares | None = None) -> Region:
    """A region, one of `spares` if there is one, that holds the pieces; `TravelError` when there is no room for it."""
    spare = None if spares is None else spares.take()
    try:
        fd = _file_without_name() if spare is None else spare
        try:
            _write(fd, pieces)
            os.truncate(fd, size)  # a spare may have been longer
        finally:
            region = Region(fd, spares)
    except OSError as error:
        raise TravelError(f"a value of {size} bytes does not fit in memory: {error.strerror}") from error
    return region


def _file_without_name() -> int:
    """A new file: in memory, or among the temporary ones where the system keeps programs from that."""
    try:
        return os.memfd_create("dagy", os.MFD_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES):
            raise
    import tempfile  # not loaded where there is memory

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(fd: int, pieces: Iterable[Bytes]) -> None:
    left = [memoryview(each).cast("B") for each in pieces if len(each)]
    offset = 0
    while left:
        count = os.pwritev(fd, left[:_MOST_AT_ONCE], offset)
        offset += count
        while left and count >= left[0].nbytes:
            count -= left.pop(0).nbytes
        if count:
            left[0] = left[0][count:]


def without_region(packed: Packed) -> Packed:
    """The same value held as bytes when this process has many regions open; else `packed` itself."""
    if isinstance(packed.content, Region) and packed.spans and len(_OPEN) > _most_open():
        return Packed(packed.content.read(), packed.spans)
    return packed


def with_region(packed: Packed) -> Packed:
    """The same value in shared memory."""
    if isinstance(packed.content, Region):
        return packed
    return Packed(_filled([packed.content], len(packed.content)), packed.spans)


# ---- what can't travel


def _travel_error(value: object, what: str, error: BaseException) -> TravelError:
    if isinstance(error, TravelError):
        return error
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return TravelError(f"{what} is nested too deeply to travel between processes; use isolation='thread'")
    path, part, error = culprit(value, error, _failure)
    kind = type(part)
    name = type_name(kind)
    reason = "" if kind is GeneratorType else f" ({sentence(error)})"
    remedy = "make it a list" if kind is GeneratorType else "leave it out"
    return TravelError(
        f"{what}{path} is of type {name}, which can't travel between processes{reason}; "
        f"{remedy}, or use isolation='thread'"
    )


def _failure(value: object) -> BaseException | None:
    try:
        _pickler_type()(_Pieces(), protocol=5, buffer_callback=lambda _: False, attached=[]).dump(value)
    except Exception as error:  # noqa: BLE001 (user code: __reduce__ and __getstate__)
        return error
    return None
