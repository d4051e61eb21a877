"""The example and the export list of the public contract, to the letter."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dagy import flow, task
from dagy.nodes import node_registry
from dagy.nodes.execution import NodeState

EXAMPLE = """
from dagy.nodes.base import FlowNode
from dagy.nodes.connectors import ConnectorDef, ConnectorDirection, DataType
from dagy.nodes.metadata import NodeMetadata, NodeCategory
from dagy.nodes.execution import ExecutionContext, ExecutionResult

class MyTransformNode(FlowNode):
    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata(
            node_type="my_transform",
            label="My Transform",
            description="Transforms data",
            category=NodeCategory.TRANSFORM,
        )

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [
            ConnectorDef(id="data_in", name="Input", direction=ConnectorDirection.INBOUND,
                        data_types=frozenset({DataType.JSON}), required=True),
            ConnectorDef(id="data_out", name="Output", direction=ConnectorDirection.OUTBOUND,
                        data_types=frozenset({DataType.JSON})),
        ]

    async def execute(self, context: ExecutionContext) -> ExecutionResult:
        data = context.get_upstream_data("data_in")
        result = transform(data)  # your logic
        return ExecutionResult.from_success({"data_out": result})
"""

EXPORTS = """
from dagy.nodes import (
    FlowNode,              # Abstract base class
    ConnectorDef,          # Connector definition
    ConnectorDirection,    # INBOUND / OUTBOUND
    DataType,              # STRING, JSON, DATAFRAME, etc.
    ConnectionCardinality, # ONE, ZERO_OR_MANY, etc.
    NodeMetadata,          # Node identity
    NodeConfigField,       # Config field definition
    NodeRegistry,          # Registry class
    node_registry,         # Global registry singleton
    ExecutionContext,      # Runtime context
    ExecutionResult,       # Execution output
    NodeState,             # PENDING, RUNNING, COMPLETED, etc.
)
"""


@pytest.fixture
def example():
    with node_registry.isolated():
        module = {"__name__": "my_nodes", "transform": lambda data: {"rows": len(data)}}
        exec(EXAMPLE, module)
        yield module


def test_the_module_registers_the_node_when_it_is_imported(example):
    assert node_registry.get("my_transform") is example["MyTransformNode"]
    assert example["FlowNode"]._registered_subclasses["my_transform"] is example["MyTransformNode"]


def test_the_example_runs_by_itself(example):
    context = example["ExecutionContext"]({"data_in": [1, 2]})
    result = asyncio.run(example["MyTransformNode"]().run(context))
    assert (result.state, result.outputs) == (NodeState.COMPLETED, {"data_out": {"rows": 2}})
    assert asyncio.run(example["MyTransformNode"]().execute(context)).outputs == {"data_out": {"rows": 2}}


def test_the_example_runs_in_a_flow(example):
    @task
    def load() -> list:
        return [1, 2, 3]

    @flow
    def counted():
        return example["MyTransformNode"]()(load())["rows"]

    assert counted() == 3


def test_the_exports_are_there():
    names: dict = {}
    exec(EXPORTS, names)
    assert names["NodeState"].COMPLETED == "COMPLETED"
    assert names["ConnectionCardinality"].ZERO_OR_MANY.name == "ZERO_OR_MANY"
    assert isinstance(names["node_registry"], names["NodeRegistry"])


@pytest.mark.program
def test_importing_the_exports_loads_nothing_heavy():
    heavy = ("asyncio", "pydantic", "sqlite3", "importlib.metadata", "pandas", "narwhals", "httpx", "sqlalchemy")
    program = f"{EXPORTS}\nimport sys; print([each for each in {heavy!r} if each in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
