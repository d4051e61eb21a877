"""When schedules are due: cron against a reference that looks at every minute, in zones whose clocks jump."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.control import Timing
from dagy.control.timing import LATE, checked_timing, checked_zone, due_after, step
from dagy.errors import ParameterError

MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def dues(timing: Timing, start: datetime, end: datetime) -> list[datetime]:
    """All times in (start, end] that the timing is due."""
    found = []
    due = due_after(timing, start, made_at=MADE_AT)
    while due is not None and due <= end:
        found.append(due)
        due = due_after(timing, due, made_at=MADE_AT)
    return found


# ---- cron, against a reference


class Field(NamedTuple):
    text: str
    values: frozenset[int]


def fields(low: int, high: int) -> st.SearchStrategy[Field]:
    every = frozenset(range(low, high + 1))
    return st.one_of(
        st.just(Field("*", every)),
        st.integers(2, 30).map(lambda step: Field(f"*/{step}", frozenset(sorted(every)[::step]))),
        st.sets(st.integers(low, high), min_size=1, max_size=4).map(
            lambda chosen: Field(",".join(map(str, sorted(chosen))), frozenset(chosen))
        ),
        st.tuples(st.integers(low, high), st.integers(low, high)).map(
            lambda ends: Field(f"{min(ends)}-{max(ends)}", frozenset(range(min(ends), max(ends) + 1)))
        ),
    )


ANY = Field("*", frozenset(range(32)))
DAYS = (fields(1, 31), fields(1, 12), fields(0, 6))


class Jump(NamedTuple):
    zone: str
    at: datetime


JUMPS = [
    Jump("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    Jump("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    Jump("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    Jump("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    Jump("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),  # by half an hour
    Jump("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    Jump("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),  # by two hours
    Jump("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # by a whole day
    Jump("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),  # at midnight
    Jump("UTC", datetime(2028, 2, 29, 23, tzinfo=UTC)),  # no jump, but a day that is not in every year
]


def reference(cron: list[Field], zone: zoneinfo.ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """The times in (start, end] that are due, found by a look at every minute.

    Lines that begin with `*` in the minutes or the hours go by real time: every minute that the clock on the wall
    matches. Others go by the clock on the wall as if it never jumped: a minute that it skips is due at the end of the
    jump, a minute that comes twice is due the first time.
    """
    minutes, hours, days, months, weekdays = cron
    both_days = days.text.startswith("*") or weekdays.text.startswith("*")

    def matches(wall: datetime) -> bool:
        by_day, by_weekday = wall.day in days.values, wall.isoweekday() % 7 in weekdays.values
        is_day = (by_day and by_weekday) if both_days else (by_day or by_weekday)
        return wall.minute in minutes.values and wall.hour in hours.values and wall.month in months.values and is_day

    found = set()
    if minutes.text.startswith("*") or hours.text.startswith("*"):
        moment = start.replace(second=0, microsecond=0)
        while moment <= end:
            if matches(moment.astimezone(zone).replace(tzinfo=None)):
                found.add(moment)
            moment += MINUTE
    else:
        wall = (start - timedelta(hours=27)).astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
        last = (end + timedelta(hours=1)).astimezone(zone).replace(tzinfo=None)
        while wall <= last:
            if matches(wall):
                meant = wall
                while not is_on_the_clock(meant, zone):
                    meant += MINUTE
                found.add(meant.replace(tzinfo=zone).astimezone(UTC))
            wall += MINUTE
    yield from (each for each in sorted(found) if start < each <= end)


def is_on_the_clock(wall: datetime, zone: zoneinfo.ZoneInfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall


@settings(max_examples=150)
@given(
    cron=st.tuples(fields(0, 59), fields(0, 23), *(st.one_of(st.just(ANY), each) for each in DAYS)).map(list),
    jump=st.sampled_from(JUMPS),
)
def test_every_time_of_a_cron_line_is_due_once(cron: list[Field], jump: Jump) -> None:
    start, end = jump.at - timedelta(hours=3, seconds=17), jump.at + timedelta(hours=4)
    timing = Timing("cron", " ".join(each.text for each in cron), timezone=jump.zone)
    assert dues(timing, start, end) == list(reference(cron, zoneinfo.ZoneInfo(jump.zone), start, end))


@pytest.mark.parametrize(
    ("zone", "cron", "day", "expected"),
    [
        ("Europe/Berlin", "30 2 * * *", "2026-03-29", ["01:00"]),  # skipped: right after
        ("Europe/Berlin", "0,30 2 * * *", "2026-03-29", ["01:00"]),  # both, once
        ("Europe/Berlin", "30 2 * * *", "2026-10-25", ["00:30"]),  # twice on the clock, due once
        ("Europe/Berlin", "30 * * * *", "2026-10-25", [f"{hour:02}:30" for hour in range(24)]),
        ("America/New_York", "0 12 * * *", "2026-03-08", ["16:00"]),
        ("America/New_York", "0 12 * * *", "2026-03-07", ["17:00"]),
        ("Pacific/Apia", "0 12 30 12 *", "2011-12-30", ["10:00"]),  # a day that was left out
        ("UTC", "0 0 29 2 *", "2028-02-29", ["00:00"]),
        ("UTC", "0 0 29 2 *", "2027-02-28", []),
        ("UTC", "0 0 13 * FRI", "2026-02-13", ["00:00"]),
        ("UTC", "0 0 * JAN MON-FRI", "2026-01-05", ["00:00"]),
    ],
)
def test_what_a_clock_skips_or_shows_twice_is_due_once(zone: str, cron: str, day: str, expected: list[str]) -> None:
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(microseconds=1)
    found = dues(checked_timing(Timing("cron", cron, timezone=zone)), start, start + timedelta(days=1))
    assert [f"{each:%H:%M}" for each in found] == expected


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("@daily", r"write '0 0 \* \* \*'"),
        ("@reboot", "times only"),
        ("0 0 0 * * *", "no field for seconds"),
        ("* * * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("*/0 * * * *", r"'\*/0' for the minute"),
        ("60 * * * *", "'60' for the minute"),
        ("* 24 * * *", "'24' for the hour"),
        ("* * 0 * *", "'0' for the day of the month"),
        ("* * 32 * *", "'32' for the day of the month"),
        ("* * * 13 *", "'13' for the month"),
        ("* * * * 8", "'8' for the day of the week"),
        ("* * * * MO", "'MO' for the day of the week"),
        ("x * * * *", "'x' for the minute"),
        ("٣ * * * *", "for the minute"),
        ("5-1 * * * *", "'5-1' for the minute"),
        ("0 0 31 2 *", "never due"),
        ("0 0 30 FEB *", "never due"),
        ("0 0 31 4,6,9,11 *", "never due"),
        ("* " * 300, "longer than"),
        ("1," * 90 + "1 * * * *", None),
    ],
)
def test_a_cron_line_that_can_not_be_is_refused_with_what_to_write(cron: str, message: str | None) -> None:
    if message is None:
        checked_timing(Timing("cron", cron))
        return
    with pytest.raises(ParameterError, match=message):
        checked_timing(Timing("cron", cron))


def test_spaces_between_the_fields_are_of_no_meaning() -> None:
    assert checked_timing(Timing("cron", "  0\t6 *  * mon ")).cron == "0 6 * * mon"


# ---- zones


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/localtime",
        "Europe",
        "Europe/",
        "",
        "localtime",
        "zone.tab",
        "Europe/Berlin\0",
        "x" * 500,
        "europe/../Europe/Berlin",
        None,
        3,
    ],
)
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="there is no time zone"):
        checked_zone(name)


def test_a_time_zone_that_is_near_is_offered() -> None:
    with pytest.raises(ParameterError, match="did you mean 'Europe/Berlin'"):
        checked_zone("Europe/Berln")


# ---- other modes


def test_an_interval_is_counted_from_its_start_and_does_not_drift() -> None:
    timing = Timing("interval", interval_seconds=90)
    late = MADE_AT + timedelta(seconds=1000, microseconds=1)
    assert due_after(timing, MADE_AT, made_at=MADE_AT) == MADE_AT + timedelta(seconds=90)
    assert due_after(timing, late, made_at=MADE_AT) == MADE_AT + timedelta(seconds=1080)
    started = Timing("interval", interval_seconds=90, start_at=MADE_AT + timedelta(hours=1))
    assert due_after(started, MADE_AT, made_at=MADE_AT) == MADE_AT + timedelta(hours=1)


def test_nothing_is_due_before_the_start_or_after_the_end() -> None:
    start, end = MADE_AT + timedelta(hours=6), MADE_AT + timedelta(hours=8)
    timing = checked_timing(Timing("cron", "0 * * * *", start_at=start, end_at=end))
    assert dues(timing, MADE_AT, MADE_AT + timedelta(days=1)) == [start, start + timedelta(hours=1), end]


def test_a_manual_schedule_is_never_due() -> None:
    assert due_after(Timing("manual"), MADE_AT, made_at=MADE_AT) is None


@pytest.mark.parametrize(
    ("timing", "message"),
    [
        (Timing("weekly"), "mode is one of cron, interval, one_time, manual"),  # type: ignore[arg-type]
        (Timing("cron"), "needs cron"),
        (Timing("manual", cron="* * * * *"), "takes no cron"),
        (Timing("interval"), "needs interval_seconds"),
        (Timing("interval", interval_seconds=0.5), "from 1 to"),
        (Timing("interval", interval_seconds=float("nan")), "from 1 to"),
        (Timing("interval", interval_seconds=True), "is a number"),
        (Timing("one_time"), "needs at"),
        (Timing("one_time", at=datetime(2030, 1, 1)), "with its zone"),  # noqa: DTZ001 (that is what is refused)
        (Timing("manual", catchup="some"), "'none' or 'all'"),  # type: ignore[arg-type]
        (Timing("manual", start_at=MADE_AT, end_at=MADE_AT - MINUTE), "before its start_at"),
    ],
)
def test_a_timing_that_can_not_be_is_refused(timing: Timing, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        checked_timing(timing)


def test_times_are_kept_in_utc() -> None:
    berlin = datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    at = checked_timing(Timing("one_time", at=berlin)).at
    assert at is not None
    assert (at, at.tzinfo) == (berlin, UTC)


# ---- catching up


@given(
    seconds=st.integers(1, 5000),
    late=st.integers(0, 100_000),
    catchup=st.sampled_from(["none", "all"]),
)
def test_a_step_moves_on_and_makes_a_run_only_for_a_time_that_was_due(seconds: int, late: int, catchup: str) -> None:
    timing = Timing("interval", interval_seconds=seconds, catchup=catchup)  # type: ignore[arg-type]  # one of the two
    due = MADE_AT + timedelta(seconds=seconds)
    now = due + timedelta(seconds=late)
    made, following = step(timing, due, now, made_at=MADE_AT)
    assert following is not None
    assert following > due
    if catchup == "all":
        assert made == due
        assert following == due + timedelta(seconds=seconds)
    else:
        assert following > now
        assert following - timedelta(seconds=seconds) <= now
        last = following - timedelta(seconds=seconds)
        assert made == (last if last >= now - LATE else None)


def test_a_line_of_every_minute_that_nobody_looked_at_for_years_costs_little() -> None:
    timing = Timing("cron", "* * * * *")
    now = MADE_AT + timedelta(days=4000)
    made, following = step(timing, MADE_AT, now, made_at=MADE_AT)
    assert (made, following) == (now, now + MINUTE)
