"""A short report in sections, the same as text for a terminal and as HTML for a notebook. All text in it is escaped."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dagy.drawing.escape import markup_line, plain_line
from dagy.drawing.labels import columns, elided
from dagy.drawing.still import paragraph, quiet, table, whole

WIDTH = 100  # columns of the text
_WIDEST_CELL = 44  # but for the last of a row


@dataclass(frozen=True, slots=True)
class Section:
    """Lines, and a table below them; a section without either is left out. All is plain text."""

    heading: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def report_text(title: str, sections: Sequence[Section]) -> str:
    """The report in at most `WIDTH` columns: each section's heading in a margin, and beside it what it says."""
    used = [each for each in sections if each.lines or each.rows]
    margin = 2 + max((columns(each.heading) for each in used), default=0)
    parts = [plain_line(title)]
    for section in used:
        lines = [*_wrapped(section.lines, WIDTH - margin), *_aligned(section, WIDTH - margin)]
        heads = [section.heading, *[""] * (len(lines) - 1)]
        parts.append("")
        parts += [f"{head:<{margin}}{line}".rstrip() for head, line in zip(heads, lines, strict=True)]
    return "\n".join(parts)


def report_html(title: str, note: str, sections: Sequence[Section]) -> str:
    """The report as HTML in the page's own colours, light or dark; no script, no style sheet."""
    parts = [paragraph(f"<strong>{markup_line(title)}</strong> &nbsp;{quiet(note)}")]
    for section in sections:
        if section.lines or section.rows:
            parts.append(f'<div style="margin:10px 0 0 0;font-weight:600">{markup_line(section.heading)}</div>')
            parts += [paragraph(markup_line(each)) for each in section.lines]
            cells = [[markup_line(elided(plain_line(cell), 200)) for cell in row] for row in section.rows]
            parts.append(table([markup_line(each) for each in section.columns], cells))
    return whole(parts)


def _wrapped(lines: Sequence[str], width: int) -> Iterator[str]:
    for line in lines:
        yield from textwrap.wrap(plain_line(line), width, subsequent_indent="  ", break_on_hyphens=False) or [""]


def _aligned(section: Section, width: int) -> list[str]:
    """The table, without the columns that are empty in every row; numbers stand to the right."""
    used = [place for place in range(len(section.columns)) if any(row[place] for row in section.rows)]
    if not used:
        return []
    last = used[-1]
    body = [
        [plain_line(row[place]) if place == last else elided(plain_line(row[place]), _WIDEST_CELL) for place in used]
        for row in section.rows
    ]
    rows = [[section.columns[place] for place in used], *body]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    is_number = [
        all(not row[place] or row[place].lstrip("$<")[:1].isdigit() for row in body) for place in range(len(used))
    ]
    lines = []
    for row in rows:
        cells = []
        for cell, wide, right in zip(row, widths, is_number, strict=True):
            blank = " " * (wide - columns(cell))
            cells.append(blank + cell if right else cell + blank)
        lines.append(elided("  ".join(cells).rstrip(), width))
    return lines
