"""What a run's tasks wrote, whole: a file of JSON lines, appended to as the run goes.

A line holds a piece of text and who wrote it when. Text that is long is cut into pieces, so neither who writes nor who
reads ever holds more than a piece, whatever its size.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dagy.errors import DagyError, StoreError
from dagy.settings import made_private

FILE_NAME = "output.jsonl"
_PIECE = 65_536  # characters of a line's text, at most
_WAITING = 262_144  # characters that wait to be written, at most
_MERGED = 4_096  # characters up to which what one attempt wrote in a row becomes one line


class Written(NamedTuple):
    """A piece of what a task wrote. `at` is nanoseconds since the epoch, `stream` "stdout", "stderr" or "log"."""

    at: int
    task: str
    attempt: int
    stream: str
    text: str


class OutputFile:
    """The output of one run on its way to the disk. Any thread may write; the file is made when there is something.

    What comes after `close`, from code that could not be stopped, is let go.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = -1
        self._is_closed = False
        self._waiting: list[Written] = []
        self._size = 0  # characters that wait

    def write(self, at: int, task: str, attempt: int, stream: str, text: str) -> None:
        """Take text; it is on the disk after the next `flush`. Raises `StoreError`."""
        with self._lock:
            if self._is_closed:
                return
            if len(text) <= _PIECE:
                self._waiting.append(Written(at, task, attempt, stream, text))
                self._size += len(text)
                if self._size > _WAITING:
                    self._flush()
                return
            for start in range(0, len(text), _PIECE):
                self._waiting.append(Written(at, task, attempt, stream, text[start : start + _PIECE]))
                self._flush()

    def flush(self) -> None:
        """Hand what waits to the operating system. Raises `StoreError`."""
        if self._waiting:
            with self._lock:
                self._flush()

    def close(self) -> None:
        """Flush, and give back the file."""
        with self._lock:
            try:
                self._flush()
            finally:
                self._is_closed = True
                if self._file >= 0:
                    os.close(self._file)
                self._file = -1

    def _flush(self) -> None:
        waiting, self._waiting, self._size = self._waiting, [], 0
        if not waiting:
            return
        data = "".join([_line(each) for each in _merged(waiting)]).encode("ascii")
        try:
            if self._file < 0:
                made_private(self._path.parent)
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            raise StoreError(f"the output {str(self._path)!r} can't be written: {error.strerror}") from error


def read_output(path: Path, *, is_over: Callable[[], bool] | None = None) -> Iterator[Written]:
    """What is in the output file, oldest first. With `is_over` what is still to come too, until it says so.

    A last line that a crash cut off is left out. Raises `StoreError`.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = None
            rest = b""
            while True:
                ends = is_over is None or is_over()  # asked before reading: nothing comes after it
                if file is None and path.exists():
                    file = stack.enter_context(path.open("rb"))
                while file is not None and (chunk := file.readline()):
                    rest += chunk
                    if rest.endswith(b"\n"):
                        yield _written(rest)
                        rest = b""
                if ends:
                    return
                time.sleep(0.1)
    except DagyError:  # of `is_over`
        raise
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise StoreError(f"the output {str(path)!r} can't be read: {error}") from error


def _merged(waiting: list[Written]) -> Iterator[Written]:
    """What waits, with what one attempt wrote in a row in one piece, as far as that stays short."""
    texts: list[str] = []
    size = 0
    last = waiting[0]
    for each in waiting:
        if texts and (each[1:4] != last[1:4] or size + len(each.text) > _MERGED):
            yield last._replace(text="".join(texts))
            texts, size = [], 0
        if not texts:
            last = each
        texts.append(each.text)
        size += len(each.text)
    yield last._replace(text="".join(texts))


def _line(each: Written) -> str:
    return json.dumps(each._asdict(), separators=(",", ":")) + "\n"


def _written(line: bytes) -> Written:
    found = json.loads(line)
    return Written(found["at"], found["task"], found["attempt"], found["stream"], found["text"])
