"""What a node costs beside a `@task` that does the same, and a graph document beside a `@flow` that draws the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagy import Task, flow, task
from dagy.engine import run
from dagy.nodes import (
    ConfigFieldType,
    ConnectorDef,
    ConnectorDirection,
    DataType,
    ExecutionContext,
    ExecutionResult,
    FlowNode,
    NodeConfigField,
    NodeGraph,
    NodeMetadata,
)

from .flows import chain_of, step_of_int
from .measuring import Effort, Row, in_turns, row_of_ratio

SIZE = 1_000


class Step(FlowNode):
    """Does nothing, on what is checked to be a number."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        """Which node it is."""
        return NodeMetadata("measured_step", "Step")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        """One in, one out."""
        return [
            ConnectorDef("given", "", ConnectorDirection.INBOUND, frozenset({DataType.INTEGER}), required=True),
            ConnectorDef("result", "", ConnectorDirection.OUTBOUND, frozenset({DataType.INTEGER})),
        ]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        """Give what came in."""
        return ExecutionResult.from_success({"result": context.get_upstream_data("given")})


class AsyncStep(Step):
    """The same, on the event loop, with a field."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        """Which node it is."""
        return NodeMetadata("measured_async_step", "Async step")

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        """One number."""
        return [NodeConfigField("factor", type=ConfigFieldType.INTEGER, default=1)]

    async def execute(self, context: ExecutionContext) -> ExecutionResult:
        """Give what came in, times the factor."""
        return ExecutionResult.from_success({"result": context.get_upstream_data("given") * context.config["factor"]})


@task
async def async_step(given: int, factor: int = 1) -> int:
    """Do nothing, on the event loop."""
    return given * factor


def nodes(effort: Effort) -> Iterator[Row]:
    """A chain of nodes beside one of annotated tasks, the run alone; the drawing beside that of tasks."""
    size = effort.size(SIZE)
    for what, node, plain in (("node", Step(), step_of_int), ("async node", AsyncStep(factor=2), async_step)):
        of_nodes, of_tasks = (_chain(each) for each in (node, plain))
        prepared = [each.prepare(size=size) for each in (of_nodes, of_tasks)]
        found, limit = in_turns(effort, *(lambda each=each: run(*each) for each in prepared))
        drawn, limit_drawn = in_turns(effort, *(lambda f=f: f.prepare(size=size) for f in (of_nodes, of_tasks)))
        for row, times, beside, target in (
            (f"{what} in the engine", found, limit, 1.3),
            (f"{what} while drawn", drawn, limit_drawn, None),
        ):
            yield row_of_ratio(row, times.scaled(1 / size), beside.scaled(1 / size), called="@task", target=target)


def graphs(effort: Effort) -> Iterator[Row]:
    """A graph document of 1,000 nodes: checked and lowered to its FlowSpec, beside the flow that draws the same."""
    size = effort.size(SIZE)

    @flow
    def drawn() -> Any:
        """A chain of nodes."""
        given: Any = 0
        for _ in range(size):
            given = Step()(given)
        return given

    graph = NodeGraph.from_flow(drawn)
    checked, lowered, limit = in_turns(effort, graph.faults, lambda: graph.spec, lambda: drawn.spec)
    for what, times, target in (("checked", checked, 1.0), ("checked and lowered", lowered, 2.0)):
        yield row_of_ratio(
            f"graph of {size:,} nodes {what}", times, limit, called="drawn by @flow", target=target,
            is_judged_by_cpu=True,
        )  # fmt: skip


def _chain(step: FlowNode | Task[..., Any]) -> Any:
    return chain_of(step)  # type: ignore[arg-type]  # a node is called as a task is
