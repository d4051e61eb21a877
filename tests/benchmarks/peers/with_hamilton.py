"""Apache Hamilton: a function that is parameterized into all nodes of the graph."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ["HAMILTON_TELEMETRY_ENABLED"] = "false"

from hamilton import ad_hoc_utils, driver
from hamilton.function_modifiers import group, parameterize, source, value
from hamilton.plugins.h_threadpool import FutureAdapter

from ..shapes import WORKERS, Shape


def run(shape: Shape, function: Callable[[object], object]) -> object:
    """In the calling thread."""
    return _run(shape, function, driver.Builder())


def run_side_by_side(shape: Shape, function: Callable[[object], object]) -> object:
    """On threads."""
    return _run(
        shape, function, driver.Builder().with_adapters(FutureAdapter(max_workers=WORKERS, result_builder=None))
    )


def _run(shape: Shape, function: Callable[[object], object], builder: driver.Builder) -> object:
    nodes = {_node(name): {"given": _bound(shape, name)} for name in shape.needs}
    is_list = any(len(needs) > 1 for needs in shape.needs.values())

    if is_list:

        def step(given: list[object]) -> object:
            return function(given)
    else:

        def step(given: object) -> object:
            return function(given)

    module = ad_hoc_utils.create_temporary_module(parameterize(**nodes)(step))
    needed = {each for needs in shape.needs.values() for each in needs}
    ends = [_node(name) for name in shape.needs if name not in needed]
    return builder.with_modules(module).build().execute(ends)[ends[-1]]


def _bound(shape: Shape, name: str) -> object:
    """What a node is given, in its terms."""
    needs = shape.needs[name]
    if len(needs) > 1:
        return group(*(source(_node(each)) for each in needs))
    return source(_node(needs[0])) if needs else value(shape.given(name, {}))


def _node(name: str) -> str:
    return name.replace("-", "_")
