"""A short report in sections, as text for a terminal, where nothing in it can move the cursor."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dagy.drawing.escape import plain_line
from dagy.drawing.labels import columns, elided

WIDTH = 100  # columns of the text
_WIDEST_CELL = 24  # but for the last of a row, which goes on below
_NARROWEST_LAST = 16


@dataclass(frozen=True, slots=True)
class Section:
    """Lines, and a table below them; a section without either is left out. All is plain text."""

    heading: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def report_text(title: str, sections: Sequence[Section]) -> str:
    """The report in at most `WIDTH` columns: each section's heading in a margin, and beside it what it says."""
    margin = 2 + max((columns(each.heading) for each in sections if each.lines or each.rows), default=0)
    parts = [plain_line(title)]
    for section in sections:
        lines = [*_wrapped(section.lines, WIDTH - margin), *_aligned(section, WIDTH - margin)]
        parts += [""] * bool(lines)
        parts += [f"{'' if number else section.heading:<{margin}}{line}".rstrip() for number, line in enumerate(lines)]
    return "\n".join(parts)


def _wrapped(lines: Sequence[str], width: int) -> Iterator[str]:
    for line in lines:
        yield from textwrap.wrap(plain_line(line), width, subsequent_indent="  ", break_on_hyphens=False) or [""]


def _aligned(section: Section, width: int) -> list[str]:
    """The table, without the columns that are empty in every row; numbers stand to the right."""
    used = [place for place in range(len(section.columns)) if any(row[place] for row in section.rows)]
    if not used:
        return []
    body = [[plain_line(row[place]) for place in used] for row in section.rows]
    for row in body:
        row[:-1] = [elided(cell, _WIDEST_CELL) for cell in row[:-1]]
    rows = [[section.columns[place] for place in used], *body]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    to_the_right = [all(_is_number(row[place]) for row in body) for place in range(len(used))]
    left = max(_NARROWEST_LAST, width - sum(widths[:-1]) - 2 * (len(widths) - 1))
    lines = []
    for row in rows:
        *cells, last = map(_set, row, widths, to_the_right)
        start = "".join(f"{cell}  " for cell in cells)
        first, *more = textwrap.wrap(last.rstrip(), left, break_on_hyphens=False) or [""]
        lines += [start + first, *(" " * columns(start) + each.strip() for each in more)]
    return lines


def _set(cell: str, width: int, to_the_right: bool) -> str:
    blank = " " * (width - columns(cell))
    return blank + cell if to_the_right else cell + blank


def _is_number(cell: str) -> bool:
    return not cell or cell.lstrip("$")[:1].isdigit()
