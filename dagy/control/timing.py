"""When a schedule is due: pure functions of its timing and the time.

Cron's five fields are meant in the schedule's time zone, the way Debian's cron does: what is due in the hour that a
clock skips is due right after it, and what is due in an hour that comes twice is due once. A schedule with `*` in the
minutes or the hours goes by the time that really passes.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

from dagy.control.records import CatchUp, Mode, Timing
from dagy.errors import ParameterError, did_you_mean, shown

LATE = timedelta(minutes=5)  # how late a run may begin that is not to be caught up with
SHORTEST_INTERVAL = 1.0  # seconds
LONGEST_INTERVAL = 10 * 366 * 86_400.0  # seconds

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_OF_CRONSIM = ("minute", "hour", "day-of-month", "month", "day-of-week")  # what it calls them in its messages
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST_CRON = 200  # characters
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_NOT_ZONES = frozenset(
    {"localtime", "posixrules", "Factory"}
)  # files beside the zones, which differ from machine to machine
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_FIRST_YEAR, _YEAR_OF_NEVER = 1970, 9000


def checked_timing(timing: Timing) -> Timing:
    """`timing`, which can be due, with its times in UTC. Raises `ParameterError`, which says what to write instead."""
    if not isinstance(timing, Timing):
        raise ParameterError(f"a timing is such as Timing('cron', '0 6 * * *'), not {shown(timing)}")
    if timing.mode not in get_args(Mode):
        raise ParameterError(f"a schedule's mode is one of {', '.join(get_args(Mode))}, not {shown(timing.mode)}")
    if timing.catchup not in get_args(CatchUp):
        raise ParameterError(f"catchup is 'none' or 'all', not {shown(timing.catchup)}")
    checked_zone(timing.timezone)
    known = replace(
        timing,
        start_at=checked_time("start_at", timing.start_at),
        end_at=checked_time("end_at", timing.end_at),
        at=checked_time("at", timing.at),
    )
    if known.start_at and known.end_at and known.end_at < known.start_at:
        raise ParameterError("a schedule's end_at is before its start_at")
    given = {"cron": timing.cron, "interval": timing.interval_seconds, "one_time": timing.at}
    for mode, value in given.items():
        if (value is None) == (mode == timing.mode):
            names = {"cron": "cron", "interval": "interval_seconds", "one_time": "at"}
            has = "needs" if value is None else "takes no"
            raise ParameterError(f"a schedule of the mode {timing.mode!r} {has} {names[mode]}")
    match timing.mode:
        case "cron":
            return replace(known, cron=checked_cron(str(timing.cron)))
        case "interval":
            seconds = timing.interval_seconds
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise ParameterError(f"interval_seconds is a number, not {shown(seconds)}")
            if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
                raise ParameterError(f"interval_seconds is from 1 to {LONGEST_INTERVAL:g}, not {shown(seconds)}")
        case _:
            pass
    return known


def checked_cron(cron: str) -> str:
    """`cron`, whose five fields meet some day, with one space between them. Raises `ParameterError`."""
    import cronsim

    text = " ".join(cron.split())
    if len(text) > _LONGEST_CRON:
        raise ParameterError(f"the cron line {shown(text)} is longer than {_LONGEST_CRON} characters")
    if text.startswith("@"):
        written = _NICKNAMES.get(text.lower())
        instead = f"write {written!r}" if written else "a schedule has times only, such as '0 6 * * *'"
        raise ParameterError(f"the cron line {text!r} is a nickname; {instead}")
    fields = text.split(" ")
    if len(fields) != len(_FIELDS):
        extra = "; there is no field for seconds" if len(fields) == len(_FIELDS) + 1 else ""
        raise ParameterError(
            f"the cron line {text!r} has {len(fields) if text else 0} fields, and it takes five: "
            f"{', '.join(_FIELDS)}{extra}"
        )
    try:
        next(cronsim.CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except StopIteration:
        raise _never(text) from None
    except cronsim.CronSimError as error:
        wrong = next((place for place, each in enumerate(_OF_CRONSIM) if each in str(error)), None)
        if wrong is None or (wrong == _OF_CRONSIM.index("day-of-month") and _is_day(fields[wrong])):
            raise _never(text) from error
        raise ParameterError(
            f"the cron line {text!r} has {fields[wrong]!r} for the {_FIELDS[wrong]}, which cron does not know; "
            "write * for every, */5 for every fifth, 1-5 for a range, 1,3 for a list"
        ) from error
    return text


def checked_zone(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of that IANA name. Raises `ParameterError`."""
    if isinstance(name, str) and len(name) < 100 and _ZONE.fullmatch(name) and name not in _NOT_ZONES:
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError):  # none, a folder of zones, a file that is no zone
            pass
    hint = did_you_mean(name, zoneinfo.available_timezones()) if isinstance(name, str) else ""
    raise ParameterError(f"there is no time zone {shown(name)}{hint or '; give an IANA name such as Europe/Berlin'}")


def checked_time(name: str, time: datetime | None) -> datetime | None:
    """`time` in UTC, which `name` was given; None stays None. Raises `ParameterError`."""
    if time is None:
        return None
    if not isinstance(time, datetime) or time.utcoffset() is None:
        raise ParameterError(
            f"{name} is a time with its zone, such as datetime(2026, 1, 31, 14, 25, tzinfo=UTC), not {shown(time)}"
        )
    if not _YEAR_OF_NEVER > time.year >= _FIRST_YEAR:
        raise ParameterError(f"{name} is in the year {time.year}; give one from {_FIRST_YEAR} to {_YEAR_OF_NEVER - 1}")
    return time.astimezone(UTC)


def due_after(timing: Timing, moment: datetime, *, made_at: datetime) -> datetime | None:
    """When a schedule with this checked timing, made at that time, is due next after `moment`; None for never."""
    if timing.start_at is not None:
        moment = max(moment, timing.start_at - _MICROSECOND)
    match timing.mode:
        case "cron":
            due = _cron_after(str(timing.cron), checked_zone(timing.timezone), moment)
        case "interval":
            due = _interval_after(timing, moment, made_at)
        case "one_time":
            due = timing.at if timing.at is not None and timing.at > moment else None
        case _:
            due = None
    return None if due is None or (timing.end_at is not None and due > timing.end_at) else due


def step(
    timing: Timing, next_run_at: datetime, now: datetime, *, made_at: datetime
) -> tuple[datetime | None, datetime | None]:
    """For a schedule that is due: the time to make a run for, None for none, and when it is due next.

    With catch-up each time that was missed has its turn. Without, only the last one has, and only if it is not `LATE`;
    what is due a single time is never too late.
    """
    if timing.catchup == "all" or timing.mode == "one_time":
        return next_run_at, due_after(timing, next_run_at, made_at=made_at)
    due: datetime | None = next_run_at
    if next_run_at < now - LATE:
        due = due_after(timing, now - LATE - _MICROSECOND, made_at=made_at)
    last = None
    while due is not None and due <= now:
        last, due = due, due_after(timing, due, made_at=made_at)
    return last, due


def _cron_after(cron: str, zone: zoneinfo.ZoneInfo, moment: datetime) -> datetime | None:
    minutes, hours = cron.split(" ")[:2]
    goes_by_real_time = minutes.startswith("*") or hours.startswith("*")
    try:
        due = _by_real_time(cron, zone, moment) if goes_by_real_time else _by_the_clock(cron, zone, moment)
    except OverflowError:  # after the year 9999
        return None
    return due if due is not None and due.year < _YEAR_OF_NEVER else None


def _by_the_clock(cron: str, zone: zoneinfo.ZoneInfo, moment: datetime) -> datetime | None:
    import cronsim

    for each in cronsim.CronSim(cron, moment.astimezone(zone)):
        due = each.astimezone(UTC)
        if due > moment:  # in an hour that comes twice it may begin with the first of the two
            return due
    return None


def _by_real_time(cron: str, zone: zoneinfo.ZoneInfo, moment: datetime) -> datetime | None:
    """Between two jumps of the clock a line is due as in a zone that never jumps."""
    import cronsim

    start = since = moment.replace(microsecond=0)
    while True:
        offset = _offset(zone, since)
        wall = next(cronsim.CronSim(cron, (start + offset).replace(tzinfo=None)), None)
        if wall is None:
            return None
        due = wall.replace(tzinfo=UTC) - offset
        jump = _jump(zone, since, due)
        if jump is None:
            return due
        start, since = jump - _SECOND, jump  # what is due at the very jump counts


def _jump(zone: zoneinfo.ZoneInfo, since: datetime, until: datetime) -> datetime | None:
    """The first moment after `since` and up to `until` that has another offset than the one before it."""
    low = since
    while low < until:
        high = min(low + timedelta(days=1), until)
        if _offset(zone, low) != _offset(zone, high):
            while high - low > _SECOND:
                middle = low + (high - low) // (2 * _SECOND) * _SECOND
                low, high = (middle, high) if _offset(zone, middle) == _offset(zone, low) else (low, middle)
            return high
        low = high
    return None


def _offset(zone: zoneinfo.ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _interval_after(timing: Timing, moment: datetime, made_at: datetime) -> datetime | None:
    """The times are counted from the start, or else from when it was made, so that they do not drift."""
    length = timedelta(seconds=timing.interval_seconds or 0)
    first = made_at + length if timing.start_at is None else timing.start_at
    count = max(0, (moment - first) // length + 1)
    try:
        return first + count * length
    except OverflowError:
        return None


def _is_day(field: str) -> bool:
    """Whether the field is one that some month has."""
    return all(part.isascii() and part.isdigit() and 1 <= int(part) <= 31 for part in re.split("[,-]", field))


def _never(cron: str) -> ParameterError:
    return ParameterError(f"the cron line {cron!r} is never due: no month that it names has such a day")
