"""Waiting: what came in goes on once it is time, and not before."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from dagy.errors import NodeConfigError
from dagy.nodes.execution import ExecutionContext, ExecutionResult
from dagy.nodes.library.waiting import Wait


def begun(**config: object) -> tuple[bool, bool]:
    """Whether it waits still once all else had its turn, and whether it was cancelled when it was asked to be."""

    async def watched() -> tuple[bool, bool]:
        node: asyncio.Task[ExecutionResult] = asyncio.ensure_future(Wait(**config).run(ExecutionContext()))
        for _ in range(5):
            await asyncio.sleep(0)
        waits = not node.done()
        node.cancel()
        await asyncio.wait([node])
        return waits, node.cancelled()

    return asyncio.run(watched())


@pytest.mark.parametrize("config", [{"seconds": 0}, {"seconds": 0.001}, {"until": "2020-01-31T08:00:00+01:00"}])
def test_what_came_in_goes_on_once_it_is_time(config: dict[str, object]) -> None:
    assert Wait(**config)("kept") == "kept"


def test_nothing_may_come_in() -> None:
    assert Wait(seconds=0)() is None


@pytest.mark.parametrize("config", [{"seconds": 1e6}, {"until": (datetime.now(UTC) + timedelta(days=9)).isoformat()}])
def test_it_waits_and_can_be_cancelled(config: dict[str, object]) -> None:
    assert begun(**config) == (True, True)


def test_a_sleep_that_ends_early_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []

    async def short(seconds: float) -> None:
        sleeps.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", short)
    before = time.monotonic()
    asyncio.run(Wait(seconds=0.01).run(ExecutionContext()))
    assert time.monotonic() - before > 0.009
    assert sleeps == sorted(sleeps, reverse=True)


@pytest.mark.parametrize("config", [{}, {"seconds": 1, "until": "2026-01-31T08:00:00Z"}])
def test_it_takes_either_a_number_of_seconds_or_a_moment(config: dict[str, object]) -> None:
    with pytest.raises(NodeConfigError, match="either 'seconds' or 'until'"):
        Wait(**config)()


@pytest.mark.parametrize(
    ("until", "told"),
    [("tomorrow", "no moment such as '2026-01-31T08:00:00"), ("2026-01-31T08:00:00", "end it with Z for UTC")],
)
def test_a_moment_says_when_and_where(until: str, told: str) -> None:
    with pytest.raises(NodeConfigError, match=told):
        Wait(until=until)()


def test_no_time_is_negative() -> None:
    with pytest.raises(NodeConfigError, match="seconds"):
        Wait(seconds=-1)()


def test_a_wait_that_is_longer_than_a_calendar_is_refused() -> None:
    with pytest.raises(NodeConfigError, match="more than a calendar has"):
        Wait(seconds=1e18)()
