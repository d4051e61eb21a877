"""Runs whose time stands still until the test lets it pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dagy import Flow
from dagy.engine import RunHandle
from dagy.engine.driver import Driver
from dagy.engine.options import RunOptions
from dagy.testing import ManualClock, ManualTimers


@dataclass
class Bench:
    """Starts runs on timers and a clock that the test moves."""

    timers: ManualTimers = field(default_factory=ManualTimers)
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000.0))
    chance: Callable[[], float] = lambda: 0.0

    def start(
        self, flow: Flow[..., Any], /, *, max_workers: int = 4, fail_fast: bool = True, capture: bool = False,
        options: Mapping[str, Any] | None = None, **parameters: Any,
    ) -> RunHandle:  # fmt: skip
        program, values = flow.prepare(**parameters)
        chosen = RunOptions("run-1", max_workers=max_workers, fail_fast=fail_fast, capture=capture, **(options or {}))
        driver = Driver(program, values, chosen, timers=self.timers, clock=self.clock, chance=self.chance)
        driver.start()
        return RunHandle(driver)


@pytest.fixture
def bench() -> Bench:
    return Bench()
