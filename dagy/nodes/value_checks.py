"""Whether the values of an execution fit the node's connectors: what comes in, and what goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from dagy.errors import ConnectorError, shown
from dagy.nodes.connectors import ConnectorDef, takes, type_names, type_of
from dagy.nodes.definitions import NodeDefinition
from dagy.nodes.registry import conversion
from dagy.values import ABSENT


def check_inputs(definition: NodeDefinition, inputs: Mapping[str, Any]) -> None:
    """Raise `ConnectorError` unless the values fit the inbound connectors."""
    found = 0
    for connector in definition.inbound:
        value = inputs.get(connector.id, ABSENT)
        if value is not ABSENT:
            found += 1
            _check_value(definition, connector, value)
        elif connector.required:
            raise ConnectorError(f"node {definition.node_type!r} needs a value at {connector.id!r}, and none came in")
    if found < len(inputs):
        for connector_id in inputs:
            definition.inbound_connector(connector_id)


def check_outputs(definition: NodeDefinition, outputs: Mapping[str, Any]) -> None:
    """Raise `ConnectorError` unless the values fit the outbound connectors."""
    found = 0
    for connector in definition.outbound:
        value = outputs.get(connector.id, ABSENT)
        if value is not ABSENT:
            found += 1
            _check_value(definition, connector, value)
        elif connector.required:
            raise ConnectorError(
                f"node {definition.node_type!r} must give a value at {connector.id!r}, and gave none; an output that "
                f"may be left out is declared so: outputs={{{connector.id!r}: ConnectorDef({connector.id!r}, "
                f"{connector.name!r}, ConnectorDirection.OUTBOUND, "
                f"cardinality=ConnectionCardinality.ZERO_OR_{'MANY' if connector.is_many else 'ONE'})}}"
            )
    if found < len(outputs):
        for connector_id in outputs:
            definition.outbound_connector(connector_id)


def _check_value(definition: NodeDefinition, connector: ConnectorDef, value: Any) -> None:
    if not connector.is_many:
        if not takes(connector.data_types, value):
            _refuse(definition, connector, value, "")
    elif not isinstance(value, list | tuple):
        raise ConnectorError(
            f"node {definition.node_type!r}: many values pass at {connector.id!r}, as a list, not as {shown(value)} "
            f"({type(value).__name__})"
        )
    elif connector.required and not value:
        raise ConnectorError(f"node {definition.node_type!r}: at least one value passes at {connector.id!r}, not none")
    else:
        for place, each in enumerate(value):
            if not takes(connector.data_types, each):
                _refuse(definition, connector, each, f"[{place}]")


def _refuse(definition: NodeDefinition, connector: ConnectorDef, value: Any, place: str) -> NoReturn:
    hint = conversion(frozenset({type_of(value)}), connector.data_types) if connector.is_inbound else ""
    came = "came in" if connector.is_inbound else "went out"
    raise ConnectorError(
        f"node {definition.node_type!r}: at {connector.id!r}{place} passes {type_names(connector.data_types)}, and "
        f"{shown(value)} ({type(value).__name__}) {came}{hint}"
    )
