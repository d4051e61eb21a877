"""Files as they are while something is made of them, so that a later look can tell whether any of them has changed.

A stamp is what the file system says of a file. It tells a change apart from no change as finely as the file system's
clock ticks: a file that had changed a moment before it was looked at might change again within the same tick, so it is
not settled, and what was made of it is not to be taken for what it is now.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from dagy.errors import ArtifactError

T = TypeVar("T")

_TICK_NS = 10_000_000  # the clock of file systems ticks every 1 to 4 ms
_COARSE_TICK_NS = 2_100_000_000  # where times are whole seconds
_TRIES = 3


class Stamp(NamedTuple):
    """What the file system says of a file or a folder that is there."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def stamp(path: str | Path) -> Stamp | None:
    """The stamp of what is at `path` now; None when nothing is there, or nothing that can be looked at."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a Path for each of a hundred files is what takes long)
    except (OSError, ValueError):
        return None
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class Snapshot:
    """Reads files, and remembers the stamp of each that was read or looked for. It begins before anything is read."""

    def __init__(self) -> None:
        self._begun_ns = time.time_ns()
        self._stamps: dict[str, Stamp | None] = {}
        self._is_settled = True

    @property
    def stamps(self) -> Mapping[str, Stamp | None]:
        """By path, the stamp from before it was read; None: there was no such file."""
        return self._stamps

    @property
    def is_settled(self) -> bool:
        """Whether a file with the same stamp will be the same file: none has changed since a moment before it began."""
        return self._is_settled

    def look(self, path: Path) -> Stamp | None:
        """The stamp of what is at `path`, remembered."""
        found = stamp(path)
        self._stamps.setdefault(str(path), found)
        if found is not None:
            newest = max(found.mtime_ns, found.ctime_ns)
            tick = _TICK_NS if newest % 1_000_000_000 else _COARSE_TICK_NS
            self._is_settled = self._is_settled and newest < self._begun_ns - tick
        return found

    def read(self, path: Path, what: Callable[[Path], T]) -> T:
        """What `what` reads of the file, which does not change meanwhile.

        Raises what it raises, and `ArtifactError` for a file that keeps changing.
        """
        for _ in range(_TRIES):
            before = self.look(path)
            content = what(path)
            if stamp(path) == before:
                self._stamps[str(path)] = before
                return content
        raise ArtifactError(f"{str(path)!r} changes while it is read; build again when nothing writes to it")

    def check(self) -> None:
        """Raise `ArtifactError` if a file is not what it was when it was looked at."""
        changed = next((path for path, before in self._stamps.items() if stamp(path) != before), None)
        if changed is not None:
            raise ArtifactError(f"{changed!r} changed while the artifact was built; build again")


def are_unchanged(stamps: Iterable[tuple[str, Stamp | None]]) -> bool:
    """Whether each path still has its stamp."""
    return all(stamp(path) == before for path, before in stamps)
