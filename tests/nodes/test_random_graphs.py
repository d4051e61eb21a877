"""Nodes of any connectors, connected at random: what is drawn runs as a model of it says, the rest runs not at all."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dagy import flow
from dagy.errors import ConnectorError, NodeGraphError
from dagy.nodes import (
    ConnectionCardinality,
    ConnectorDef,
    ConnectorDirection,
    DataType,
    ExecutionContext,
    ExecutionResult,
    Fit,
    FlowNode,
    GraphEdge,
    GraphNode,
    NodeGraph,
    NodeMetadata,
    fit,
    node_registry,
)

Types = frozenset[DataType]


class DataFrame:
    """A frame, for who looks at the names of its class and module only."""

    __module__ = "polars.dataframe.frame"


# A value of each kind that the types tell apart, and the types that it is of beside ANY.
KINDS: Mapping[str, tuple[object, set[DataType]]] = {
    "text": ("a", {DataType.STRING, DataType.JSON}),
    "whole": (1, {DataType.INTEGER, DataType.NUMBER, DataType.JSON}),
    "broken": (1.5, {DataType.NUMBER, DataType.JSON}),
    "truth": (True, {DataType.BOOLEAN, DataType.JSON}),
    "dict": ({"a": 1}, {DataType.OBJECT, DataType.JSON}),
    "list": ([1], {DataType.LIST, DataType.JSON}),
    "none": (None, {DataType.NULL, DataType.JSON}),
    "frame": (DataFrame(), {DataType.DATAFRAME}),
    "bytes": (b"a", {DataType.BYTES}),
    "file": (Path("a"), {DataType.FILE}),
    "date": (datetime.date(2026, 1, 31), {DataType.DATETIME}),
    "other": (object(), set()),
}


def kinds_of(types: Types) -> list[str]:
    return [kind for kind, (_, found) in KINDS.items() if DataType.ANY in types or found & types]


@dataclass(frozen=True)
class Port:
    """A connector, and of an outbound one what it gives: kinds of values, None where it is left out."""

    id: str
    types: Types
    cardinality: ConnectionCardinality
    gives: tuple[str, ...] | None = ()

    @property
    def value_types(self) -> Types:
        return frozenset({DataType.LIST}) if self.cardinality.is_many else self.types


@dataclass(frozen=True)
class Node:
    """A node, and for each of its inbound connectors the outputs that are connected: numbers of nodes and of ports."""

    inbound: tuple[Port, ...]
    outbound: tuple[Port, ...]
    edges: Mapping[str, tuple[tuple[int, int], ...]]
    ran: list[int] = field(default_factory=list)


type_sets = st.sampled_from([frozenset({DataType.ANY})]) | st.sets(
    st.sampled_from(DataType), min_size=1, max_size=3
).map(frozenset)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for _ in range(draw(st.integers(1, 6))):
        outbound = []
        for place in range(draw(st.integers(1, 2))):
            types, cardinality = draw(type_sets), draw(st.sampled_from(ConnectionCardinality))
            fewest, most = int(cardinality.is_required), 3 if cardinality.is_many else 1
            gives = draw(st.lists(st.sampled_from(kinds_of(types)), min_size=fewest, max_size=most))
            is_left_out = not gives and not cardinality.is_many
            outbound.append(Port(f"out{place}", types, cardinality, None if is_left_out else tuple(gives)))
        inbound, edges = [], {}
        outputs = [(place, port) for place, node in enumerate(nodes) for port in range(len(node.outbound))]
        for place in range(draw(st.integers(1, 2)) if outputs else 0):
            cardinality = draw(st.sampled_from(ConnectionCardinality))
            most = 3 if cardinality.is_many else 1
            chosen = draw(
                st.lists(st.sampled_from(outputs), min_size=int(cardinality.is_required), max_size=most, unique=True)
            )
            # Most often of the types of what comes in, so that many graphs are right.
            fitting = [nodes[node].outbound[port].value_types for node, port in chosen]
            types = draw(type_sets)
            if fitting and draw(st.integers(0, 9)):
                types = frozenset[DataType]().union(*fitting) - {DataType.ANY} or types
            inbound.append(Port(f"in{place}", types, cardinality))
            edges[f"in{place}"] = tuple(chosen)
        nodes.append(Node(tuple(inbound), tuple(outbound), edges))
    return tuple(nodes)


def class_of(number: int, node: Node) -> type[FlowNode]:
    class Drawn(FlowNode):
        @classmethod
        def metadata(cls) -> NodeMetadata:
            return NodeMetadata(f"node{number}", "Node")

        @classmethod
        def connectors(cls) -> list[ConnectorDef]:
            return [
                ConnectorDef(each.id, "", direction, each.types, cardinality=each.cardinality)
                for direction, ports in (
                    (ConnectorDirection.INBOUND, node.inbound),
                    (ConnectorDirection.OUTBOUND, node.outbound),
                )
                for each in ports
            ]

        def execute(self, context: ExecutionContext) -> ExecutionResult:
            node.ran.append(number)
            given = {each.id: each.gives for each in node.outbound if each.gives is not None}
            values = {name: [KINDS[kind][0] for kind in kinds] for name, kinds in given.items()}
            many = {each.id for each in node.outbound if each.cardinality.is_many}
            return ExecutionResult.from_success({k: v if k in many else v[0] for k, v in values.items()})

    Drawn.__qualname__ = f"Drawn{number}"
    return Drawn


def draw(nodes: tuple[Node, ...], classes: list[type[FlowNode]]) -> Any:
    """The graph as a flow."""

    def output(made: list[Any], node: int, port: int) -> Any:
        outbound = nodes[node].outbound
        return made[node][outbound[port].id] if len(outbound) > 1 else made[node]

    def etl() -> None:
        made: list[Any] = []
        for node, cls in zip(nodes, classes, strict=True):
            inputs = {}
            for port in node.inbound:
                found = [output(made, *each) for each in node.edges[port.id]]
                if found:
                    inputs[port.id] = found if port.cardinality.is_many else found[0]
            made.append(cls()(**inputs))

    return flow(name="etl")(etl)


def fits(nodes: tuple[Node, ...]) -> Iterator[Fit]:
    """What is said of each edge before anything runs."""
    for node in nodes:
        for port in node.inbound:
            for upstream, place in node.edges[port.id]:
                yield fit(nodes[upstream].outbound[place].value_types, port.types)


def ends(nodes: tuple[Node, ...]) -> list[str]:
    """How each task must end."""
    found: list[str] = []
    for node in nodes:
        absent, faults, hindered = False, False, False
        arrived = not any(node.edges.values())
        for port in node.inbound:
            came = []
            for upstream, place in node.edges[port.id]:
                outbound = nodes[upstream].outbound[place]
                hindered |= found[upstream] in ("FAILED", "hindered")
                if found[upstream] == "COMPLETED" and outbound.gives is not None:
                    came.append("list" if outbound.cardinality.is_many else outbound.gives[0])
            arrived |= bool(came)
            absent |= not came and port.cardinality.is_required
            faults |= not set(came) <= set(kinds_of(port.types))
        found.append(
            "hindered" if hindered else "SKIPPED" if absent or not arrived else "FAILED" if faults else "COMPLETED"
        )
    return found


@settings(max_examples=40)
@given(graphs())
def test_a_graph_runs_as_its_types_say_or_is_refused_before_anything_runs(nodes: tuple[Node, ...]):
    with node_registry.isolated():
        etl = draw(nodes, list(itertools.starmap(class_of, enumerate(nodes))))
    told = list(fits(nodes))
    if Fit.NO in told:
        event("refused")
        with pytest.raises(ConnectorError):
            etl.run_local()
        assert not any(node.ran for node in nodes)
        return
    expected = ends(nodes)
    event("failed" if "FAILED" in expected else "completed")
    result = etl.run_local(fail_fast=False)
    runs = [result.task_runs[f"node{number}"] for number in range(len(nodes))]
    assert [each.state.type.value for each in runs] == ["SKIPPED" if each == "hindered" else each for each in expected]
    assert all(isinstance(each.error, ConnectorError) for each in runs if each.state.type.value == "FAILED")
    if set(told) <= {Fit.YES}:
        assert "FAILED" not in expected


@settings(max_examples=40)
@given(graphs())
def test_a_document_of_a_graph_has_faults_if_it_can_not_be_drawn_and_else_draws_the_same(nodes: tuple[Node, ...]):
    with node_registry.isolated():
        etl = draw(nodes, list(itertools.starmap(class_of, enumerate(nodes))))
        graph = NodeGraph(
            "etl",
            nodes=tuple(GraphNode(f"node{number}", f"node{number}") for number in range(len(nodes))),
            edges=tuple(
                GraphEdge(f"node{upstream}", nodes[upstream].outbound[place].id, f"node{number}", port)
                for number, node in enumerate(nodes)
                for port, outputs in node.edges.items()
                for upstream, place in outputs
            ),
        )
        faults = graph.faults()
        told = list(fits(nodes))
        assert [each for each in faults if not each.is_note] == [] or Fit.NO in told
        assert len([each for each in faults if each.is_note]) >= (Fit.WHEN_RUN in told)
        if Fit.NO in told:
            with pytest.raises(NodeGraphError):
                graph.check()
        else:
            assert graph.spec.tasks == etl.spec.tasks


@given(type_sets, type_sets)
def test_what_has_no_value_in_common_does_not_fit(out: Types, into: Types):
    if not set(kinds_of(out)) & set(kinds_of(into)):
        assert fit(out, into) is Fit.NO
