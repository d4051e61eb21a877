"""Messages between a process and its workers: one packet each, so that whoever dies in the middle leaves none halved.

A message has a kind, a few plain fields, and packed values. Small values lie in the packet; large ones are shared
memory, whose descriptors travel with it.
"""

from __future__ import annotations

import array
import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from dagy.engine.processes.packing import Packed, Region, Spans, Spares, with_region, without_region
from dagy.errors import TravelError

# What the nursery is told: the number of a worker, a letter and a number of seconds. "s": start it; its line and the
# write ends of its pipes travel along. "t": ask it to end, and kill it after so many seconds.
ORDER = struct.Struct("=qcd")

# In the environment of a nursery and of all that comes from it, but not in `os.environ`: which nursery it is.
MARK = "DAGY_NURSERY"

LARGEST = 96 * 1024  # bytes in a packet
_ROOM = 60 * 1024  # of them, for the values that lie in it
_ROOM_FOR_FDS = socket.CMSG_SPACE(200 * 4)  # the system takes 253
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)
_LENGTH = struct.Struct("=I")


class Message(NamedTuple):
    """What one process tells another."""

    kind: str
    fields: tuple[Any, ...]
    parts: list[Packed]


def send(
    to: socket.socket, kind: str, fields: tuple[Any, ...] = (), parts: Sequence[Packed] = (), *, flags: int = 0
) -> None:
    """Send a message; `OSError` when the other end is gone."""
    shapes: list[tuple[int, Spans]] = []  # of each part: its length here, or -1 when it is shared memory; its spans
    body: list[bytes | bytearray] = []
    fds: list[int] = []
    room = _ROOM
    keep = list(parts)  # until they are sent
    for index, part in enumerate(keep):
        content = part.content
        if not isinstance(content, Region) and len(content) > room:
            part = keep[index] = with_region(part)
            content = part.content
        if isinstance(content, Region):
            fds.append(content.fd)
            shapes.append((-1, part.spans))
        else:
            room -= len(content)
            body.append(content)
            shapes.append((len(content), part.spans))
    head = pickle.dumps((kind, fields, shapes), 5)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    to.sendmsg([_LENGTH.pack(len(head)), head, *body], ancillary, flags)


def receive(from_: socket.socket, into: bytearray, spares: Spares | None = None) -> Message | None:
    """The next message, or None when there will be none. `into` is room for `LARGEST` bytes."""
    size, ancillary, _, _ = from_.recvmsg_into([into], _ROOM_FOR_FDS, _CLOSE_ON_EXEC)
    if not size:
        return None
    fds = array.array("i")
    for level, kind_of, data in ancillary:
        if level == socket.SOL_SOCKET and kind_of == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    view = memoryview(into)
    offset = 4 + _LENGTH.unpack_from(view)[0]
    kind, fields, shapes = pickle.loads(view[4:offset])
    regions = [Region(fd, spares) for fd in fds]
    if len(regions) < sum(length < 0 for length, _ in shapes):  # the system left out what it could not open here
        raise TravelError("a value can't arrive: this process has as many files open as it may (see `ulimit -n`)")
    regions.reverse()
    parts = []
    for length, spans in shapes:
        if length < 0:
            parts.append(without_region(Packed(regions.pop(), spans)))
        else:
            parts.append(Packed(bytes(view[offset : offset + length]), spans))
            offset += length
    return Message(kind, fields, parts)
