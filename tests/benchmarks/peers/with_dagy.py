"""Dagy, as its users write it."""

from __future__ import annotations

from collections.abc import Callable

from dagy import flow, task

from ..shapes import Shape


def run(shape: Shape, function: Callable[[object], object]) -> object:
    """On all defaults: 16 threads."""
    step = task(function)

    @flow
    def graph() -> object:
        made: dict[str, object] = {}
        for name in shape.needs:
            made[name] = step(shape.given(name, made))
        return made[name]

    return graph()


run_side_by_side = run
