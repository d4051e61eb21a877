"""Reusable nodes with typed connectors: `FlowNode` and what it is made of.

The public names, each loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.nodes.base import FlowNode
    from dagy.nodes.calling import connectors_of
    from dagy.nodes.config import Secret
    from dagy.nodes.connectors import ConnectionCardinality, ConnectorDef, ConnectorDirection, DataType, Fit, fit
    from dagy.nodes.definitions import NodeDefinition, definition_of
    from dagy.nodes.execution import ExecutionContext, ExecutionResult, NodeState
    from dagy.nodes.functions import node
    from dagy.nodes.graph import NodeGraph
    from dagy.nodes.graph_parts import GraphEdge, GraphFault, GraphNode, GraphParameter, Position
    from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeConfigField, NodeMetadata, SelectOption
    from dagy.nodes.registry import NodeRegistry, node_registry

_HOMES = {
    "ConfigFieldType": "dagy.nodes.metadata",
    "ConnectionCardinality": "dagy.nodes.connectors",
    "ConnectorDef": "dagy.nodes.connectors",
    "ConnectorDirection": "dagy.nodes.connectors",
    "DataType": "dagy.nodes.connectors",
    "ExecutionContext": "dagy.nodes.execution",
    "ExecutionResult": "dagy.nodes.execution",
    "Fit": "dagy.nodes.connectors",
    "FlowNode": "dagy.nodes.base",
    "GraphEdge": "dagy.nodes.graph_parts",
    "GraphFault": "dagy.nodes.graph_parts",
    "GraphNode": "dagy.nodes.graph_parts",
    "GraphParameter": "dagy.nodes.graph_parts",
    "NodeCategory": "dagy.nodes.metadata",
    "NodeConfigField": "dagy.nodes.metadata",
    "NodeDefinition": "dagy.nodes.definitions",
    "NodeGraph": "dagy.nodes.graph",
    "NodeMetadata": "dagy.nodes.metadata",
    "NodeRegistry": "dagy.nodes.registry",
    "NodeState": "dagy.nodes.execution",
    "Position": "dagy.nodes.graph_parts",
    "Secret": "dagy.nodes.config",
    "SelectOption": "dagy.nodes.metadata",
    "connectors_of": "dagy.nodes.calling",
    "definition_of": "dagy.nodes.definitions",
    "fit": "dagy.nodes.connectors",
    "node": "dagy.nodes.functions",
    "node_registry": "dagy.nodes.registry",
}

__all__ = [
    "ConfigFieldType",
    "ConnectionCardinality",
    "ConnectorDef",
    "ConnectorDirection",
    "DataType",
    "ExecutionContext",
    "ExecutionResult",
    "Fit",
    "FlowNode",
    "GraphEdge",
    "GraphFault",
    "GraphNode",
    "GraphParameter",
    "NodeCategory",
    "NodeConfigField",
    "NodeDefinition",
    "NodeGraph",
    "NodeMetadata",
    "NodeRegistry",
    "NodeState",
    "Position",
    "Secret",
    "SelectOption",
    "connectors_of",
    "definition_of",
    "fit",
    "node",
    "node_registry",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
