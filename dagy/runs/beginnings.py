"""Which tasks had begun when a process died: a byte for each, written the moment its code begins.

Events go into the history some milliseconds later, together, so those of the task that killed its own process at once
are not there. What is handed to the operating system stays, whatever becomes of the process. The file is of use only
then, and is gone when the run has ended well.
"""

from __future__ import annotations

import contextlib
import mmap
from enum import IntEnum
from pathlib import Path

from dagy.errors import StoreError
from dagy.settings import made_private

FILE_NAME = "beginnings"


class Begun(IntEnum):
    """What is known of a task besides its events."""

    NOT = 0
    BEGUN = 1  # its code ran
    RETURNED = 2  # and came to its end


class Beginnings:
    """The tasks of one run, by their numbers. Any thread may write; where there can be no file, less is known later."""

    def __init__(self, path: Path, tasks: int) -> None:
        self._marks: mmap.mmap | bytearray = bytearray(tasks)
        with (
            contextlib.suppress(OSError, StoreError),
            made_private(path.parent).joinpath(path.name).open("w+b") as file,
        ):
            file.write(self._marks)  # a page that has no place on the disk yet could kill who writes to it
            file.flush()
            self._marks = mmap.mmap(file.fileno(), tasks) if tasks else self._marks

    def note(self, task: int, begun: Begun) -> None:
        """Write it down, at once. After `close` nothing is."""
        try:  # noqa: SIM105 (it is done for each attempt of each task)
            self._marks[task] = begun
        except ValueError:
            pass

    def close(self) -> None:
        """Give back the file, which stays."""
        if isinstance(self._marks, mmap.mmap):
            self._marks.close()


def read_beginnings(path: Path) -> bytes:
    """A byte for each task, which is one of `Begun`; none when that is not known."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def forget(path: Path) -> None:
    """Remove the file, and its folder if that is empty then."""
    with contextlib.suppress(OSError):
        path.unlink()
        path.parent.rmdir()
