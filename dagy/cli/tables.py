"""Tables, and how long ago something was, as the commands that list something show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400  # seconds


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table whose columns are as wide as the longest text in them; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def ago(seconds: float) -> str:
    """How long ago something was, roughly: `just now`, `5 min ago`, `3 h ago`, `12 days ago`."""
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h ago"
    days = int(seconds // _DAY)
    return f"{days} day{'' if days == 1 else 's'} ago"


def cut(text: str, length: int) -> str:
    """`text`, or its beginning and an ellipsis where it is longer than `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
