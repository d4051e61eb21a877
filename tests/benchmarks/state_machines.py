"""Compiling flows to state machines, over the writing of their JSON, which is the least that it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dagy.backends.state_machine import MachineResources, compile_flow
from dagy.spec import FlowSpec, FromTask, TaskSpec

from .measuring import Effort, Row, in_turns, row_of_ratio
from .shapes import Shape, chain, fan_out, layers

_WHERE = MachineResources("arn:aws:lambda:eu-central-1:123456789012:function:dagy-etl:7", "dagy-123456789012")


def compiled(effort: Effort) -> Iterator[Row]:
    """Chains, tasks side by side, and layers that cross, of 10, 100 and 1,000 tasks."""
    for full in (10, 100, 1_000):
        size = effort.size(full)
        for name, shape in (("chain", chain(size)), ("fan-out", fan_out(size)), ("layers", layers(size))):
            spec = _spec(shape)
            machine = compile_flow(spec, _WHERE)
            found, limit = in_turns(
                effort,
                lambda spec=spec: compile_flow(spec, _WHERE),  # type: ignore[misc]  # each its own
                lambda definition=machine.definition: json.dumps(definition),  # type: ignore[misc]
            )
            what = f"compile a {name} of {size:,} to a state machine ({machine.size / 1000:,.0f} kB)"
            yield row_of_ratio(what, found, limit, called="json.dumps")


def _spec(shape: Shape) -> FlowSpec:
    return FlowSpec(
        "etl",
        tasks=tuple(
            TaskSpec(name, name, f"flows:{name}", {f"x{number}": FromTask(each) for number, each in enumerate(needed)})
            for name, needed in shape.needs.items()
        ),
    )
