"""A list that a notebook shows as a table, and a terminal too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

from dagy.drawing import markup_line, plain_line

T = TypeVar("T")

NO_MATH = "mathjax_ignore tex2jax_ignore"  # the class of what a page must not typeset: two `$` in it are no formula


@dataclass(frozen=True, repr=False)
class Listing(Sequence[T], Generic[T]):
    """Some things in order, shown as a table with a row each and a `note` below; without any, `nothing` is said."""

    items: tuple[T, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    nothing: str
    note: str = ""

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        return self.items[place]

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        lines = [*text_lines(self.head, self.rows)] if self.rows else [self.nothing]
        return "\n".join([*lines, *([plain_line(self.note)] if self.note else [])])

    def _repr_html_(self) -> str:
        table = html_table(self.head, self.rows) if self.rows else f"<div>{markup_line(self.nothing)}</div>"
        return f"{table}<div>{markup_line(self.note)}</div>" if self.note else table


def text_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table whose columns are as wide as the longest text in them."""
    shown = [[plain_line(text) for text in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table as HTML, every text escaped."""
    cells = "".join(f'<th scope="col" style="text-align:left">{markup_line(each)}</th>' for each in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{markup_line(text)}</td>' for text in row) + "</tr>"
        for row in rows
    )
    return f'<table class="{NO_MATH}"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'
