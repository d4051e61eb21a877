"""All that the program prints: results on stdout, everything about them on stderr.

Text can't move the cursor or hide what it says, a terminal that can't show a character gets an escape for it, and a
reader that went away ends the program quietly.
"""

from __future__ import annotations

import linecache
import os
import shutil
import sys
import traceback as tracebacks
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import click

from dagy.drawing.escape import plain_lines

_OURS = str(Path(__file__).parent.parent) + os.sep
# What stands for our signs where an encoding has not got them.
_IN_ASCII = str.maketrans("✓▶↻○◔•»·─├└│↓↑✗◷■↯…", "+>~oo*---|||v^xxxx.")


class Volume(StrEnum):
    """How much is printed."""

    QUIET = "quiet"  # results and errors alone
    USUAL = "usual"
    VERBOSE = "verbose"  # what is logged, and whole tracebacks


_volume = Volume.USUAL


def set_volume(volume: Volume) -> None:
    """Print so much from now on."""
    global _volume
    _volume = volume
    if volume is Volume.VERBOSE:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")


def volume() -> Volume:
    """How much is printed."""
    return _volume


def prepare_streams() -> None:
    """Let stdout and stderr escape what their encoding can't hold."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a result."""
    _write(_legible(text, sys.stdout), to=sys.stdout)


def hand_over(text: str, *, end: str = "\n") -> None:
    """Print a file's text: exactly as it is when it goes into a file or a program, made safe for a terminal."""
    _write(plain_lines(text) if sys.stdout.isatty() else text, to=sys.stdout, end=end)


def note(text: str, *, color: str | None = None) -> None:
    """Print something about the result, unless only results are wanted."""
    if _volume is not Volume.QUIET:
        _write(_legible(text, sys.stderr), to=sys.stderr, color=color)


def problem(text: str) -> None:
    """Print what went wrong."""
    _write(_legible(f"error: {text}", sys.stderr), to=sys.stderr, color="red")


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """Say on a terminal what takes a while, in a line that goes away when it is done.

    It gives a function that changes what the line says. In a file, or where only results are wanted, nothing is said.
    """
    stream = sys.stderr
    if stream is None or not stream.isatty() or _volume is Volume.QUIET or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return

    def tell(text: str) -> None:
        line = plain_lines(text).replace("\n", " ")
        stream.write(f"\r\x1b[K{line[: max(1, shutil.get_terminal_size().columns - 1)]}")
        stream.flush()

    try:
        tell(text)
        yield tell
    finally:
        stream.write("\r\x1b[K")
        stream.flush()


def traceback(error: BaseException) -> None:
    """Print the traceback of what the user's code raised, without the frames that are not the user's."""
    told = tracebacks.TracebackException.from_exception(error)
    if isinstance(error, SyntaxError):  # its own text says where; the frames are of whoever read the file
        told.stack = tracebacks.StackSummary()
    _keep_users_frames(told)
    _write(plain_lines("".join(told.format()).rstrip()), to=sys.stderr)


def whole_traceback(error: BaseException) -> None:
    """Print the traceback of `error` with all its frames."""
    _write(plain_lines("".join(tracebacks.format_exception(error)).rstrip()), to=sys.stderr)


def can_show(text: str, *, on: TextIO | None = None) -> bool:
    """Whether the encoding of `on`, by default stderr, has the characters of `text`."""
    try:
        text.encode(getattr(on or sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _legible(text: str, stream: TextIO | None) -> str:
    text = plain_lines(text)
    return text if can_show(text, on=stream) else text.translate(_IN_ASCII)


def flush() -> None:
    """Hand over what is printed, so that a reader that went away is noticed here and not when Python ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def abandon_streams() -> None:
    """Print nothing more: nobody reads it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def _write(text: str, *, to: TextIO | None, color: str | None = None, end: str = "\n") -> None:
    if to is None:  # the program was started without one
        return
    if color is not None and to.isatty() and not os.environ.get("NO_COLOR"):  # https://no-color.org
        text = click.style(text, fg=color)
    to.write(text + end)
    to.flush()


def _keep_users_frames(told: tracebacks.TracebackException) -> None:
    todo = [told]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each.stack = tracebacks.StackSummary.from_list(
            [_with_cell(frame) for frame in each.stack if not frame.filename.startswith((_OURS, "<frozen "))]
        )
        todo += [other for other in (each.__cause__, each.__context__, *(each.exceptions or ())) if other is not None]


def _with_cell(frame: tracebacks.FrameSummary) -> tracebacks.FrameSummary:
    """`frame`, with its cell when its file is a notebook: its line is one of the module made from the cells."""
    if not frame.filename.endswith(".ipynb"):
        return frame
    above = linecache.getlines(frame.filename)[: frame.lineno]
    cell = next((line[2:].strip() for line in reversed(above) if line.startswith("# cell ")), "an unnamed cell")
    told = f"{frame.filename}, {cell}, as exported"
    return tracebacks.FrameSummary(told, frame.lineno, frame.name, lookup_line=False, line=frame.line)
