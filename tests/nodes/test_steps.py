"""Nodes in an artifact: step by step, each an invocation of its own, a run ends as a local run of the flow does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.handler import loaded
from dagy.nodes import node_registry

from ..artifact.cloud import Machine, unpacked

GRAPH = """
from dagy import flow, task
from dagy.nodes import Secret
from dagy.nodes.base import FlowNode
from dagy.nodes.connectors import ConnectionCardinality as Many, ConnectorDef, ConnectorDirection, DataType
from dagy.nodes.execution import ExecutionContext, ExecutionResult
from dagy.nodes.metadata import ConfigFieldType, NodeConfigField, NodeMetadata

NUMBER = frozenset({DataType.NUMBER})
IN, OUT = ConnectorDirection.INBOUND, ConnectorDirection.OUTBOUND


class Sorted(FlowNode):
    @classmethod
    def metadata(cls):
        return NodeMetadata("steps_sorted", "Even or odd")

    @classmethod
    def connectors(cls):
        return [
            ConnectorDef("number", "", IN, NUMBER, required=True),
            ConnectorDef("even", "", OUT, NUMBER, cardinality=Many.ZERO_OR_ONE),
            ConnectorDef("odd", "", OUT, NUMBER, cardinality=Many.ZERO_OR_ONE),
        ]

    async def execute(self, context: ExecutionContext):
        number = context.get_upstream_data("number")
        return ExecutionResult.from_success({"odd" if number % 2 else "even": number})


class Scaled(FlowNode):
    @classmethod
    def metadata(cls):
        return NodeMetadata("steps_scaled", "Scaled")

    @classmethod
    def connectors(cls):
        return [ConnectorDef("number", "", IN, NUMBER, required=True), ConnectorDef("product", "", OUT, NUMBER)]

    @classmethod
    def config_fields(cls):
        return [
            NodeConfigField("factor", type=ConfigFieldType.NUMBER, default=10),
            NodeConfigField("key", type=ConfigFieldType.SECRET),
        ]

    def execute(self, context: ExecutionContext):
        assert context.run_id and context.node_id and context.parameters
        if self.config["key"] and not context.secrets["key"] == "hunter2":
            raise ValueError("not the key")
        return context.get_upstream_data("number") * context.config["factor"]


class Gathered(FlowNode):
    @classmethod
    def metadata(cls):
        return NodeMetadata("steps_gathered", "Gathered")

    @classmethod
    def connectors(cls):
        return [
            ConnectorDef("items", "", IN, cardinality=Many.ONE_OR_MANY),
            ConnectorDef("all", "", OUT, frozenset({DataType.LIST})),
        ]

    def execute(self, context: ExecutionContext):
        return context.get_upstream_data("items")


@task
def listed(count: int) -> list:
    return list(range(count))


@flow(name="sorting")
def sorting(number: int = 3):
    parts = Sorted()(number)
    even, odd = Scaled(factor=2)(parts["even"]), Scaled(factor=number, key=Secret("STEPS_KEY"))(parts["odd"])
    each = Sorted().map(listed(number))
    return {"merged": Gathered()([even, odd]), "evens": Gathered()(each["even"]), "each": Scaled().map(listed(number))}
"""


@pytest.fixture(autouse=True)
def _forget_what_was_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STEPS_KEY", "hunter2")
    with node_registry.isolated():
        yield
    loaded.cache_clear()


@pytest.mark.parametrize("number", [2, 3, 0])
def test_a_run_of_nodes_by_steps_ends_as_a_local_one(tmp_path: Path, number: int) -> None:
    with node_registry.isolated():
        folder = unpacked(tmp_path, "sorting", GRAPH)
    driven = Machine(folder, (tmp_path / "store").as_uri(), {})
    told = driven.run(parameters={"number": number})
    here = driven.flow.run_local(number=number)
    assert {task: each["state"] for task, each in told["tasks"].items()} == {
        task: each.state.type.value for task, each in here.task_runs.items()
    }
    value: dict[str, Any] = driven.store().values.opened(told["result"])
    assert value == here.value
    assert value["merged"] == [number * (3 if number % 2 else 2)]
