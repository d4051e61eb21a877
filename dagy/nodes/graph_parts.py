"""What a graph document consists of, as frozen values: nodes, edges, parameters, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagy.spec import Json, Path


@dataclass(frozen=True, slots=True)
class Position:
    """Where a node stands in the designer, in pixels from the upper left corner."""

    x: int | float
    y: int | float


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node. Its id is the id of the task that it becomes.

    `config` has a value for each config field that is set, and for each inbound connector that no edge leads to: JSON,
    or what stands for something else (see `dagy.nodes.graph_values`).
    """

    id: str
    type: str  # what it is registered under, "read_csv"; or where it lives: "module:function" of a @task
    config: Mapping[str, Json] = field(default_factory=dict)
    position: Position | None = None
    label: str = ""  # what a designer calls it
    options: Mapping[str, Json] = field(default_factory=dict)  # how it runs: what `@task` takes, such as {"retries": 2}
    each: tuple[str, ...] = ()  # the inputs that are lists, with one call for each item
    after: tuple[str, ...] = ()  # the ids of nodes that it waits for without taking their values
    metadata: Mapping[str, Json] = field(default_factory=dict)  # a designer's own; Dagy only keeps it


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """A value's way from an outbound connector of one node to an input of another: a connector, or a config field."""

    source: str
    source_connector: str
    target: str
    target_connector: str
    path: Path = ()  # the keys and indices that lead to the part of the value that passes; empty: all of it


@dataclass(frozen=True, slots=True)
class GraphParameter:
    """A parameter of the flow that the graph is."""

    name: str
    type: str = ""  # an annotation, such as "int | None"; empty when anything goes
    required: bool = True
    default: Json = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class GraphFault:
    """One thing that is wrong with a graph, or only worth knowing: `is_note`."""

    node: str | None  # the id of the node that it is about; None: the graph
    field: str  # what of the node, or of the graph: "config.path", "edges", "parameters"
    message: str  # a whole sentence: the fact, the value, the remedy
    is_note: bool = False

    def __str__(self) -> str:
        return self.message
