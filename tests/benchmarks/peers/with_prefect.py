"""Prefect with the server that it starts by itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

os.environ.update(
    PREFECT_HOME=tempfile.mkdtemp(prefix="prefect-"),
    PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    DO_NOT_TRACK="1",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="90",
)

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

from ..shapes import WORKERS, Shape


def run(shape: Shape, function: Callable[[object], object]) -> object:
    """Each task called in the flow's own thread."""
    step = task(function, name="step", persist_result=False)

    @flow(name="graph")
    def graph() -> object:
        made: dict[str, object] = {}
        for name in shape.needs:
            made[name] = step(shape.given(name, made))
        return made[name]

    return graph()


def run_side_by_side(shape: Shape, function: Callable[[object], object]) -> object:
    """Tasks submitted to its threads."""
    step = task(function, name="step", persist_result=False)

    @flow(name="graph", task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def graph() -> object:
        made: dict[str, object] = {}
        for name in shape.needs:
            made[name] = step.submit(shape.given(name, made))
        return [each.result() for each in made.values()][-1]

    return graph()
