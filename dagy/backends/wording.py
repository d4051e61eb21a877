"""Amounts and names for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from dagy.drawing import duration

Unit = Literal["s", "MB", "bytes", "characters", "number"]


def amount(value: float, unit: Unit) -> str:
    """A number with its unit: `15 min`, `10,240 MB`, `250.0 MiB`, `8,192 characters`, `25,000`."""
    match unit:
        case "s":
            return lasting(value)
        case "MB" | "characters":
            return f"{value:,.0f} {unit}"
        case "number":
            return f"{value:,g}" if value < 100 else f"{value:,.0f}"
        case "bytes":
            if value < 10_240:
                return f"{value:,.0f} bytes"
            return f"{value / 1024:,.1f} KiB" if value < 1 << 20 else f"{value / (1 << 20):,.1f} MiB"


def told_apart(used: float, limit: float, unit: Unit) -> tuple[str, str]:
    """Two different amounts, as exactly as it takes to see that they differ."""
    rounded = amount(used, unit), amount(limit, unit)
    return rounded if rounded[0] != rounded[1] else (f"{used:,} {unit}", f"{limit:,} {unit}")


def lasting(seconds: float) -> str:
    """A time without what is zero in it: `14 min 20 s`, `10 min`, `2 h`, `30 s`.

    >>> lasting(860), lasting(600), lasting(7_200), lasting(30)
    ('14 min 20 s', '10 min', '2 h', '30 s')
    """
    return duration(seconds).replace(" 00 s", "").replace(" 00 min", "").replace(".0 s", " s")


def some(names: Sequence[str]) -> str:
    """The first three names, and how many more there are.

    >>> some("abcde")
    "'a', 'b', 'c' and 2 more"
    """
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def dollars(value: float) -> str:
    """US dollars, to two figures that matter: `$0.00021`, `$0.45`, `$1,234`.

    >>> dollars(0.000213), dollars(0.45), dollars(1234.4)
    ('$0.00021', '$0.45', '$1,234')
    """
    if value >= 100:
        return f"${value:,.0f}"
    if value >= 0.1 or value == 0:
        return f"${value:,.2f}"
    return f"${value:.{1 - math.floor(math.log10(value))}f}"
