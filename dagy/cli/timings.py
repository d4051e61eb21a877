"""When a schedule is due, as it is typed and as it is told."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import click

from dagy.control.timing import LONGEST_INTERVAL, SHORTEST_INTERVAL
from dagy.drawing import counted, duration
from dagy.errors import did_you_mean

if TYPE_CHECKING:
    from dagy.control import Timing

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_INTERVAL = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[smhdw]?)", re.ASCII)


def seconds_of(text: str) -> float:
    """The seconds of "90", "90s", "15m", "2h", "1d" or "1w"; a usage error for anything else."""
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        raise click.UsageError(f"--interval {text!r} is no time; give seconds, or a number with s, m, h, d or w: 15m")
    seconds = float(match["number"]) * _UNITS[match["unit"] or "s"]
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        days = counted(int(LONGEST_INTERVAL) // _UNITS["d"], "day")
        raise click.UsageError(f"--interval {text!r} is not from {SHORTEST_INTERVAL:g} s to {days}; 15m is one")
    return seconds


def time_of(text: str, timezone: str, option: str) -> datetime:
    """The moment of an ISO 8601 text, in `timezone` where it names none; a usage error for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{option} {text!r} is no time; give one such as 2026-01-31T06:00") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone_of(timezone))


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name; a usage error that names the nearest when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, available_timezones()) or "; give an IANA name such as Europe/Berlin"
        raise click.UsageError(f"there is no time zone {name!r}{hint}") from None


def timing_text(timing: Timing) -> str:
    """When it is due, in a few words."""
    match timing.mode:
        case "cron":
            text = f"{timing.cron} ({timing.timezone})"
        case "interval":
            text = f"every {_interval_text(timing.interval_seconds or 0)}"
        case "one_time":
            text = "once" if timing.at is None else f"once at {timing.at.astimezone():%Y-%m-%d %H:%M %Z}"
        case "manual":
            text = "when triggered"
    bounds = [
        f"{word} {moment.astimezone():%Y-%m-%d %H:%M %Z}"
        for word, moment in (("from", timing.start_at), ("until", timing.end_at))
        if moment is not None
    ]
    return ", ".join([text, *bounds, *(["all that was missed"] if timing.catchup == "all" else [])])


def _interval_text(seconds: float) -> str:
    """`15 min`, `2 h`, `1 day`, where it is a whole number of them."""
    for size, unit in ((86_400, "day"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            number = int(seconds // size)
            return counted(number, unit) if unit == "day" else f"{number} {unit}"
    return duration(seconds)
