"""Cron as EventBridge Scheduler writes it, from cron's own five fields; what it can't say is refused with the reason.

AWS has a sixth field for the year, counts the days of the week from 1 for Sunday, and wants a `?` for one of the two
fields that name days. So every field is written anew, from the values that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from dagy.backends.limits import LIMITS
from dagy.errors import BackendError

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LAST_DAY = -1000  # how cronsim writes an L


def aws_cron(cron: str) -> str:
    """`cron(0 6 ? * MON-FRI *)` for `0 6 * * 1-5`, which is checked already.

    Raises `BackendError` for what AWS has no words for.
    """
    import cronsim

    fields = cronsim.CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    days = _days_of_month(cron, fields.days)
    week_days = _days_of_week(cron, fields.weekdays)
    if days != "*" and week_days != "*":
        raise _unspeakable(cron, "it names days of the month and days of the week, and AWS takes one of the two")
    minutes, hours, months = (
        _written(values, range(first, last + 1))
        for values, first, last in ((fields.minutes, 0, 59), (fields.hours, 0, 23), (fields.months, 1, 12))
    )
    days, week_days = (days, "?") if week_days == "*" else ("?", week_days)
    text = f"cron({minutes} {hours} {days} {months} {week_days} *)"
    LIMITS["scheduler.expression"].check(len(text), f"the schedule {cron!r}", "give it fewer times")
    return text


def _days_of_month(cron: str, days: Iterable[int]) -> str:
    values = set(days)
    if values == {_LAST_DAY}:
        return "L"
    if min(values) < 0:
        raise _unspeakable(cron, "AWS has the last day of the month alone, as L, and not with others or as a workday")
    return _written(values, range(1, 32))


def _days_of_week(cron: str, days: Iterable[int | tuple[int, int]]) -> str:
    values = set(days)
    counted = sorted(each for each in values if isinstance(each, tuple))
    if counted:
        if len(values) > 1:
            raise _unspeakable(cron, "AWS takes no other day beside one such as 5#2")
        ((day, week),) = counted
        return f"{day % 7 + 1}L" if week == _LAST_DAY else f"{day % 7 + 1}#{week}"
    plain = {each % 7 for each in values if isinstance(each, int)}
    return _written(plain, range(7), _DAYS)


def _written(values: Iterable[int], every: range, names: Sequence[str] | None = None) -> str:
    """The values as AWS writes them: `*`, `0,30`, `9-17`, `MON-FRI`."""
    known = sorted(set(values))
    if known == list(every):
        return "*"
    told = names or [str(each) for each in range(every.stop)]
    texts, first = [], known[0]
    for last, following in pairwise([*known, every.stop + 1]):
        if following != last + 1:
            between = "," if last == first + 1 else "-"
            texts.append(told[first] if first == last else f"{told[first]}{between}{told[last]}")
            first = following
    return ",".join(texts)


def _unspeakable(cron: str, why: str) -> BackendError:
    return BackendError(
        f"the schedule {cron!r} can't be one of EventBridge Scheduler: {why}; give another, or make a schedule that "
        "workers follow: dagy schedules create"
    )
