r"""What a terminal shows of text: a line drawn over itself, as progress bars do, counts once, in its last version.

`Terminal` takes what a task writes, piece by piece, and has it in lines. Each stream has a cursor of its own, so a bar
on stderr and lines on stdout do not tear each other apart. Understood are `\r`, `\b`, colours, and the codes that erase
in a line or move the cursor; other codes leave nothing. A column is a character, however wide a font draws it.

`condensed` makes text shorter that will go to a terminal later: what it leaves there is the same.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

_REACH = 100  # lines that a cursor can go up
_FAR = 1_000  # columns that a cursor can be moved by
_STYLE = 64  # characters of colour codes that are remembered for one character
_CODE_LIMIT = 1_100  # characters of a code that is written in pieces
_BAR = 10_000  # characters that progress bars, drawn once, have at most

_RESET = "\x1b[0m"
_GAP = ""  # in place of a character: what stood there before stays
_CODE = re.compile(
    r"[\r\n\b]"
    r"|\x1b\[(?P<number>[0-9:;<=>?]*)[ -/]*(?P<what>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
_BEGUN_CODE = re.compile(r"\x1b(?:\[[0-9:;<=>?]{0,64}[ -/]{0,8}|\][^\x07\x1b]{0,1024}\x1b?|[ -/]{0,8})?\Z")


class Line(NamedTuple):
    """One line as a terminal shows it: its text may hold colour codes, and ends without any in effect."""

    stream: str
    text: str


class Terminal:
    """The lines that a task's streams have come to; a line stands where it was begun.

    With `limit` at least so many of the newest characters are kept, and at most about twice as many.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._rows: list[_Row] = []
        self._let_go = 0  # rows
        self._taken = 0  # rows that have been taken, those let go included
        self._size = 0  # characters, and a few that may be gone
        self._pens: dict[str, _Pen] = {}

    def write(self, stream: str, text: str) -> None:
        """Write to a stream, where it left off."""
        pen = self._pens.get(stream)
        if pen is None:
            pen = self._pens[stream] = _Pen(lambda: self._new_row(stream))
        pen.write(text)
        self._size += len(text)
        if self._limit is not None and self._size > 2 * self._limit:
            self._shorten(self._limit)

    def lines(self) -> list[Line]:
        """All lines, oldest first."""
        return [row.line() for row in self._rows]

    def take(self) -> tuple[int, list[Line]]:
        """What has changed since the last time: so many of the last lines taken are void, these replace them."""
        first = min([self._taken, *(pen.lowest for pen in self._pens.values())])
        void = self._taken - first
        for pen in self._pens.values():
            pen.lowest = sys.maxsize
        self._taken = self._let_go + len(self._rows)
        return void, [row.line() for row in self._rows[max(first - self._let_go, 0) :]]

    def __str__(self) -> str:
        """The lines as one text, without bars that were wiped away; it ends with a newline only if one was written."""
        kept = [(text, row.has_ended) for row in self._rows if (text := row.line().text) or row.has_ended]
        return "\n".join(text for text, _ in kept) + ("\n" if kept and kept[-1][1] else "")

    def _new_row(self, stream: str) -> _Row:
        self._rows.append(_Row(stream, self._let_go + len(self._rows)))
        return self._rows[-1]

    def _shorten(self, limit: int) -> None:
        size, kept = 0, len(self._rows)
        while kept and size < limit:
            kept -= 1
            size += self._rows[kept].width + 1
        del self._rows[:kept]
        self._let_go += kept
        for row in self._rows[:1]:
            size -= row.cut(size - limit)
        self._size = size


def fold(pieces: Iterable[tuple[str, str]]) -> str:
    """The lines that pieces of text come to, each with the name of its stream and written one after another."""
    terminal = Terminal()
    for stream, text in pieces:
        terminal.write(stream, text)
    return str(terminal)


def draws(text: str) -> bool:
    """Whether `text` may draw over what is written: all but plain text and newlines may."""
    return "\r" in text or "\x1b" in text or "\b" in text


def condensed(text: str) -> str:
    """Text that leaves the same on a terminal, wherever its cursor is; shorter where `text` draws over itself."""
    start = min((at for at in (text.find("\r"), text.find("\n")) if at >= 0), default=-1)
    if start < 0 or not draws(text):  # before, the column is not known
        return text
    patch = _Patch()
    patch.write(text[start:])
    return text if patch.is_lost else text[:start] + patch.as_text()


def draws_over(newer: str, older: str) -> bool:
    """Whether `newer`, written right after `older`, leaves nothing of it, because both draw the same bars.

    Both are `condensed`. The answer is no when in doubt.
    """
    if any(each[:1] not in ("\r", "\n") or len(each) > _BAR for each in (newer, older)):
        return False
    now, before = _Patch(), _Patch()
    now.write(newer)
    before.write(older)
    return (
        now.shape == before.shape
        and now.at == now.above  # so that it is drawn where it was drawn before
        and not now.is_lost
        and all(new.width >= old.width or new.is_cut_off for new, old in zip(now.rows, before.rows, strict=True))
        and all(_GAP not in row.cells() for row in now.rows)
    )


class _Row:
    """One line: runs of plain text, or once it has colours or is drawn over its characters, each with its colour."""

    __slots__ = ("_parts", "dropped", "has_ended", "is_cut_off", "is_split", "number", "stream", "width")

    def __init__(self, stream: str, number: int) -> None:
        self.stream = stream
        self.number = number
        self.width = 0
        self.dropped = 0  # columns let go at its front
        self.has_ended = False  # by a newline
        self.is_cut_off = False  # all that stood behind its end is erased
        self.is_split = False
        self._parts: list[str] = []

    def put(self, column: int, run: str, style: str, gap: str) -> None:
        """Write over what stands there; what is skipped is `gap`."""
        if column == self.width and not self.is_split and not style:
            self._parts.append(run)
            self.width += len(run)
            return
        cells = self.cells()
        if column > len(cells):
            cells += [" " if self.is_cut_off else gap] * (column - len(cells))
        cells[column : column + len(run)] = [style + each for each in run] if style else run
        self.width = len(cells)

    def erase(self, start: int, end: int) -> None:
        """Make the characters from column `start` to before `end` blank."""
        self.put(start, " " * (end - start), "", " ")

    def erase_end(self, start: int, gap: str) -> None:
        """Let nothing stand from column `start` on."""
        cells = self.cells()
        del cells[start:]
        if gap is _GAP and not self.is_cut_off:
            cells += [gap] * (start - len(cells))
        self.width = len(cells)
        self.is_cut_off = True

    def cut(self, excess: int) -> int:
        """Let go of so many characters at the front; how many there were."""
        cells = self.cells()
        gone = max(min(excess, len(cells)), 0)
        del cells[:gone]
        self.width -= gone
        self.dropped += gone
        return gone

    def cells(self) -> list[str]:
        """Its characters, one by one, to be changed."""
        if not self.is_split:
            self._parts = list("".join(self._parts))
            self.is_split = True
        return self._parts

    def line(self) -> Line:
        """The line as it is now."""
        text, style = self.text("")
        if style:
            text += _RESET
        return Line(self.stream, text.rstrip(" ") if self.is_split else text)  # bars are wiped away with spaces

    def text(self, style: str) -> tuple[str, str]:
        """Its text where colours `style` are in effect, and the colours in effect behind it."""
        if not self.is_split:
            return "".join(self._parts), style
        made: list[str] = []
        skipped = 0
        for cell in self._parts:
            if cell is _GAP:
                skipped += 1
                continue
            if skipped:
                made.append(_right(skipped))
                skipped = 0
            if cell[:-1] != style:
                made.append(_change(style, cell[:-1]))
                style = cell[:-1]
            made.append(cell[-1])
        if skipped:
            made.append(_right(skipped))
        return "".join(made), style


class _Pen:
    """Writes the text of one stream into rows."""

    gap = " "  # what it leaves where it skips columns
    plain = ""  # its style after a reset

    def __init__(self, new_row: Callable[[], _Row]) -> None:
        self._new_row = new_row
        self.rows: list[_Row] = []  # those that it can reach, and some more
        self.at = 0  # where it is in `rows`; the row may not be there yet
        self.column = 0
        self.style = ""
        self.begun = ""  # a code whose end is not written yet
        self.lowest = sys.maxsize  # of the rows written to lately, the lowest number

    def write(self, text: str) -> None:
        """Do what a terminal does with `text`."""
        if self.begun:
            text, self.begun = self.begun + text, ""
        if not draws(text):
            for number, line in enumerate(text.split("\n")):
                if number:
                    self._end_line()
                if line:
                    self._put(line)
            return
        begun = _BEGUN_CODE.search(text, max(len(text) - _CODE_LIMIT, 0))
        if begun:
            text, self.begun = text[: begun.start()], begun[0]
        done = 0
        for code in _CODE.finditer(text):
            if code.start() > done:
                self._put(text[done : code.start()])
            done = code.end()
            self._do(code)
        if done < len(text):
            self._put(text[done:])

    def _put(self, run: str) -> None:
        row = self._row()
        row.put(max(self.column - row.dropped, 0), run, self.style, self.gap)
        self.column += len(run)

    def _row(self) -> _Row:
        while self.at >= len(self.rows):
            self.rows.append(self._new_row())
        row = self.rows[self.at]
        self.lowest = min(self.lowest, row.number)
        return row

    def _end_line(self) -> None:
        self._row().has_ended = True
        self.column = 0
        self.at += 1
        self._forget_rows()

    def _forget_rows(self) -> None:
        if self.at > 2 * _REACH:
            del self.rows[: self.at - _REACH]
            self.at = _REACH

    def _do(self, code: re.Match[str]) -> None:
        what, numbers = code["what"], code["number"]
        number = int(numbers) if numbers and numbers.isdecimal() and len(numbers) < 6 else 0
        match what or code[0]:
            case "\r":
                self.column = 0
            case "\n":
                self._end_line()
            case "\b" | "D":
                self.column = max(self.column - max(number, 1), 0)
            case "m":
                self._paint(code[0], numbers)
            case "A":
                self._up(max(number, 1))
            case "B":
                self._down(max(number, 1))
            case "C":
                self.column += min(max(number, 1), _FAR)
            case "E":
                self._down(max(number, 1))
                self.column = 0
            case "F":
                self._up(max(number, 1))
                self.column = 0
            case "G":
                self.column = min(max(number, 1), _FAR) - 1
            case "K":
                self._erase(number)

    def _up(self, count: int) -> None:
        self.at = max(self.at - count, 0)

    def _down(self, count: int) -> None:
        self.at = min(self.at + count, max(len(self.rows), self.at))

    def _erase(self, which: int) -> None:
        row = self._row()
        column = max(self.column - row.dropped, 0)
        if which == 1:
            row.erase(0, column + 1)
        else:
            row.erase_end(0 if which == 2 else column, self.gap)

    def _paint(self, code: str, numbers: str) -> None:
        if not numbers.strip("0"):
            self.style = self.plain
        elif numbers.startswith(("0;", ";")) or len(self.style) + len(code) > _STYLE:
            self.style = code
        elif not self.style.endswith(code):
            self.style += code


class _Patch(_Pen):
    """What text that begins with a carriage return or a newline does to whatever rows it is written to."""

    gap = _GAP
    plain = _RESET

    def __init__(self) -> None:
        super().__init__(lambda: _Row("", 0))
        self.above = 0  # how many of its rows are above the one where it began
        self.is_lost = False  # where it is depends on the rows that it is written to

    @property
    def shape(self) -> tuple[int, int, int, str]:
        """Which rows it writes to, where it ends, and in which style."""
        return len(self.rows), self.above, self.at, self.style

    def as_text(self) -> str:
        """The shortest text that does the same."""
        made = [f"\x1b[{self.above}A"] if self.above else []
        column, style = -1, ""
        last = max(len(self.rows) - 1, self.at)
        for number in range(last + 1):
            if number:
                made.append("\n")
                column = 0
            row = self.rows[number] if number < len(self.rows) else None
            if row is not None and (row.width or row.is_cut_off):
                made.append("\r" if column else "")
                text, style = row.text(style)
                made += [text, "\x1b[K" if row.is_cut_off else ""]
                column = row.width
        if last > self.at:
            made.append(f"\x1b[{last - self.at}A")
        if column != self.column:
            made += ["\r", _right(self.column)]
        if style != self.style:
            made.append(_change(style, self.style))
        return "".join(made) + self.begun

    def _forget_rows(self) -> None:
        pass

    def _up(self, count: int) -> None:
        missing = count - self.at
        if missing > 0:
            self.rows[:0] = [self._new_row() for _ in range(missing)]
            self.above += missing
            self.at += missing
            self.is_lost = self.is_lost or self.above > _REACH
        super()._up(count)

    def _down(self, count: int) -> None:
        self.is_lost = True


def _right(columns: int) -> str:
    return f"\x1b[{_FAR}C" * (columns // _FAR) + (f"\x1b[{columns % _FAR}C" if columns % _FAR else "")


def _change(style: str, to: str) -> str:
    return to if not style or to.startswith(_RESET) else _RESET + to
