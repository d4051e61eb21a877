"""A graph of nodes as a document: what a designer edits, and a flow that can be run, built and deployed.

    graph = NodeGraph.load("etl.json")
    graph.check()                 # all that is wrong with it, at once
    graph.run_local(city="Bonn")  # as a flow, through the same engine
    print(graph.to_python())      # as the code that a person would have written

Reading and writing a document runs nothing. To check it or to draw it, the modules that it names are imported, those
that lie beside it first: this runs their code, as an `import` does, and nothing else. So look at `modules`, and at the
types with a colon, of a document that you do not trust. To run it runs its nodes, which may hold code themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

from dagy.artifact.half_made import half_made
from dagy.artifact.origin import provide_sources
from dagy.artifact.source import Source, module_name
from dagy.errors import DagyError, NodeGraphError, did_you_mean, or_what_there_is, shown
from dagy.flows import Flow
from dagy.nodes.base import FlowNode
from dagy.nodes.config import written
from dagy.nodes.graph_drawn import drawn_parts
from dagy.nodes.graph_faults import checked
from dagy.nodes.graph_flow import GraphFunction, drawing, graph_flow
from dagy.nodes.graph_kinds import is_node_class, look_beside, only_connector, own_module, type_name
from dagy.nodes.graph_parts import GraphEdge, GraphFault, GraphNode, GraphParameter, Position
from dagy.nodes.graph_source import python_source
from dagy.spec import FlowSpec, Json
from dagy.tasks import Task
from dagy.values import is_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from dagy.engine import RunResult

SCHEMA_VERSION = 1

__all__ = [
    "SCHEMA_VERSION",
    "GraphEdge",
    "GraphFault",
    "GraphNode",
    "GraphParameter",
    "NodeGraph",
    "Position",
]


@dataclass(frozen=True)
class NodeGraph:
    """Nodes, the edges between them, and what makes a flow of them. Equal graphs have equal documents.

    `result` is what the flow returns: the id of a node, or a value as `config` has them (`dagy.nodes.graph_values`).
    """

    name: str
    version: str = "latest"
    description: str = ""
    parameters: tuple[GraphParameter, ...] = ()
    nodes: tuple[GraphNode, ...] = ()
    edges: tuple[GraphEdge, ...] = ()
    result: Json = None
    options: Mapping[str, Json] = field(default_factory=dict)  # what `@flow` takes, such as {"retries": 1}
    modules: tuple[str, ...] = ()  # those that define its node types; imported from the document's folder too
    metadata: Mapping[str, Json] = field(default_factory=dict)  # a designer's own; Dagy only keeps it
    schema_version: int = SCHEMA_VERSION

    path: ClassVar[Path | None] = None  # the file that it was loaded from, absolute

    # The document.

    @classmethod
    def load(cls, path: str | Path) -> NodeGraph:
        """The graph in the JSON file at `path`; `NodeGraphError` says all that makes it none."""
        place = Path(path)
        try:
            content = place.read_bytes()
        except OSError as error:
            raise NodeGraphError(f"{str(place)!r} can't be read: {error.strerror or error}") from error
        try:
            graph = cls.model_validate_json(content)
        except NodeGraphError as error:
            raise NodeGraphError(f"{str(place)!r} is no graph of nodes: {error}") from error
        object.__setattr__(graph, "path", place.absolute())
        return graph

    def save(self, path: str | Path) -> Path:
        """Write the document to `path`, whole or not at all, and return the path. The same graph gives the same bytes.

        Raises `NodeGraphError` when it holds what JSON can't, or can't be written.
        """
        place = Path(path)
        text = self.model_dump_json(indent=2) + "\n"
        try:
            with half_made(place.absolute()) as half:
                half.write_text(text, "utf-8")
                half.replace(place)
        except OSError as error:
            raise NodeGraphError(f"{str(place)!r} can't be written: {error.strerror or error}") from error
        return place

    def model_dump(self) -> dict[str, Json]:
        """The document as dicts and lists; what is as it is by default is left out, but for the schema's version.

        Raises `NodeGraphError` when it holds what JSON can't.
        """
        odd = [f"node {each.id!r}" for each in self.nodes if not _is_json(each.config, each.options, each.metadata)]
        if not _is_json(self.options, self.metadata, self.result, *(each.default for each in self.parameters)):
            odd.append("the graph itself")
        if odd:
            raise NodeGraphError(f"graph {self.name!r} can't be written as JSON, which can't hold what is in:", odd)
        found = _adapter().dump_python(self, mode="json", exclude_defaults=True, warnings=False)
        return {"schema_version": self.schema_version, **found}

    def model_dump_json(self, *, indent: int | None = None) -> str:
        """The document as JSON text; the same graph gives the same text."""
        from pydantic_core import PydanticSerializationError, to_json

        document = self.model_dump()
        try:
            return to_json(document, indent=indent).decode()
        except (PydanticSerializationError, ValueError) as error:  # half of a surrogate pair
            raise NodeGraphError(f"graph {self.name!r} can't be written as JSON: {error}") from error

    @classmethod
    def model_validate(cls, data: Json) -> NodeGraph:
        """The graph that `data` (dicts and lists) describes; `NodeGraphError` has all the faults of its form.

        Whether its nodes, edges and values mean anything is another question: see `faults`.
        """
        from pydantic import ValidationError

        if type(data) is not dict:
            raise NodeGraphError(f"a graph's document is an object with 'name' and 'nodes', not {shown(data)}")
        version = data.get("schema_version", SCHEMA_VERSION)
        if type(version) is int and version > SCHEMA_VERSION:
            raise NodeGraphError(
                f"the graph's schema_version is {version}, and this Dagy reads up to {SCHEMA_VERSION}; upgrade dagy"
            )
        if type(version) is not int or version < 1:
            raise NodeGraphError(f"the graph's schema_version is {shown(version)}, which no Dagy has written")
        try:
            return _adapter().validate_python(data)
        except ValidationError as error:
            faults = [_fault_of_form(each, data) for each in error.errors(include_url=False, include_input=False)]
            raise NodeGraphError("not a graph that Dagy can read:", faults) from error

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> NodeGraph:
        """The graph that JSON `text` describes, as `model_validate` reads it."""
        from pydantic_core import from_json

        try:
            data = from_json(text, allow_inf_nan=False)
        except ValueError as error:
            raise NodeGraphError(f"not JSON: {error}") from error
        return cls.model_validate(data)

    @classmethod
    def model_json_schema(cls) -> dict[str, Json]:
        """The JSON Schema of a graph's document."""
        return _adapter().json_schema()

    # What it means.

    def faults(self) -> tuple[GraphFault, ...]:
        """All that is wrong with the graph, and notes on what is worth knowing. Imports what defines its nodes."""
        return checked(self).faults

    def check(self) -> None:
        """Raise a `NodeGraphError` with all that is wrong with the graph, if something is."""
        checked(self).plan()

    def flow(self) -> Flow[..., Any]:
        """The graph as a flow, which runs, builds and deploys as any other. `NodeGraphError` when it has faults."""
        plan = checked(self).plan()
        look_beside(self.path)
        return graph_flow(self, self.parameters, plan.annotations, drawing(plan))

    @property
    def spec(self) -> FlowSpec:
        """The flow as data: a task for each node, with the node's id. `NodeGraphError` when the graph has faults."""
        return self.flow().spec

    def run_local(self, /, **parameters: Any) -> RunResult:
        """Run the graph here and wait for it: `Flow.run_local`, with its options and the graph's parameters by name."""
        return self.flow().run_local(**parameters)

    def to_python(self, *, module: str = "") -> str:
        """The graph as a module with the same flow. `NodeGraphError` when it has faults, or nodes of no module.

        What is defined in `module`, where the text is to stand, is called by its name there, and not imported.
        """
        return python_source(self, checked(self).plan(), module)

    @classmethod
    def from_flow(cls, flow: Flow[..., Any]) -> NodeGraph:
        """The graph of `flow`, laid out: `graph.flow()` has the same tasks, with the same inputs.

        Its sub-flows' tasks are nodes like all others, `Static` parameters are as by default, and hooks of the flow
        are left out. `NodeGraphError` names each task and value that no document can hold.
        """
        return cls(**drawn_parts(flow))

    # Building one.

    def with_node(
        self,
        node_id: str,
        node: FlowNode | type[FlowNode] | Task[..., Any] | str,
        config: Mapping[str, Json] | None = None,
        **more: Any,
    ) -> NodeGraph:
        """The graph with one more node: `graph.with_node("rows", ReadCsv, {"path": "rows.csv"}, label="Rows")`.

        `node` is a node's class, a @task, or the text that a document has for its `type`; `more` are other fields of
        `GraphNode`. A node with a configuration, `ReadCsv(path="rows.csv")`, has its own.
        """
        known = [each.name for each in fields(GraphNode)][3:]
        for name in more:
            if name not in known:
                raise NodeGraphError(
                    f"with_node takes no {name!r}{or_what_there_is(name, known)}; a node's configuration is a dict: "
                    f"with_node({node_id!r}, ..., {{{name!r}: ...}})"
                )
        if isinstance(node, FlowNode):
            config = {**{name: written(value) for name, value in node.given.items()}, **(config or {})}
            node = type(node)
        if not isinstance(node, str | Task) and not is_node_class(node):
            raise NodeGraphError(
                f"node {node_id!r} is made of {shown(node)}; give a node class, a @task, or the text of a type"
            )
        module = None if isinstance(node, str) else own_module(node)
        kind = node if isinstance(node, str) else type_name(node)
        modules = (*self.modules, module) if module and module not in self.modules else self.modules
        added = GraphNode(node_id, kind, dict(config or {}), **more)
        return self._but(nodes=(*self.nodes, added), modules=modules)

    @overload
    def with_edge(self, source: str, target: str, /) -> NodeGraph: ...
    @overload
    def with_edge(self, source: str, source_connector: str, target: str, target_connector: str, /) -> NodeGraph: ...
    def with_edge(self, *ends: str) -> NodeGraph:
        """The graph with one more edge: `graph.with_edge("rows", "result", "adults", "frame")`.

        `graph.with_edge("rows", "adults")` is short for it where the one has a single outbound connector and the other
        a single inbound one; else it is a `NodeGraphError` that names them.
        """
        if len(ends) == 2:
            kinds = {each.id: each.type for each in self.nodes}
            out, into = only_connector(kinds, ends[0], "outbound"), only_connector(kinds, ends[1], "inbound")
            edge = GraphEdge(ends[0], out, ends[1], into)
        else:
            source, source_connector, target, target_connector = ends
            edge = GraphEdge(source, source_connector, target, target_connector)
        return self._but(edges=(*self.edges, edge))

    def with_parameter(self, name: str, type: str = "", **more: Any) -> NodeGraph:  # noqa: A002 (the document's word)
        """The graph with one more parameter: `graph.with_parameter("city", "str", required=False, default="Bonn")`."""
        return self._but(parameters=(*self.parameters, GraphParameter(name, type, **more)))

    def with_result(self, result: Json) -> NodeGraph:
        """The graph with another result: a node's id, or a value."""
        return self._but(result=result)

    def _but(self, **changes: Any) -> NodeGraph:
        changed = replace(self, **changes)
        object.__setattr__(changed, "path", self.path)
        return changed

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        try:
            return self.flow()._repr_mimebundle_()
        except DagyError as error:
            return {"text/plain": f"{self!r}\n{error}"}

    def __repr__(self) -> str:
        return f"<NodeGraph {self.name!r}: {len(self.nodes)} nodes, {len(self.edges)} edges>"


def _is_json(*values: Json) -> bool:
    return is_json([dict(each) if isinstance(each, Mapping) else each for each in values])


_PARTS: Mapping[str, type] = {
    "nodes": GraphNode, "edges": GraphEdge, "parameters": GraphParameter, "position": Position,
}  # fmt: skip


@cache
def _adapter() -> TypeAdapter[NodeGraph]:
    from pydantic import ConfigDict, TypeAdapter

    for each in (NodeGraph, *_PARTS.values()):
        each.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]  # pydantic reads it
    return TypeAdapter(NodeGraph)


def _fault_of_form(fault: Any, data: Mapping[str, Json]) -> str:
    """A sentence for one thing that pydantic says of `data`, which calls a node by its id."""
    *places, last = fault["loc"] or ("the document",)
    part: Any = data
    of: list[str] = []
    kind: type = NodeGraph
    for each in places:
        try:
            part = part[each]
        except (LookupError, TypeError):  # a part of a union that pydantic names
            continue
        if type(each) is int and of:
            known = part.get("id", part.get("name")) if type(part) is dict else None
            of[-1] = f"{of[-1].removesuffix('s')} {shown(known) if type(known) is str else each + 1}"
        else:
            of.append(str(each))
        kind = _PARTS.get(str(each), kind)
    where = " of ".join(reversed(of)) or "the graph"
    match fault["type"]:
        case "missing":
            return f"{where} has no {last!r}, which it needs"
        case "unexpected_keyword_argument" | "extra_forbidden":
            hint = did_you_mean(str(last), [each.name for each in fields(kind)])
            return f"{where} has the unknown field {last!r}{hint or '; what is your own belongs into metadata'}"
        case _:
            message = fault["msg"][:1].lower() + fault["msg"][1:]
            value = part[last] if _has(part, last) else part
            return f"{where}: {last!r} is {shown(value)}: {message}"


def _has(part: Any, key: str | int) -> bool:
    return (type(part) is dict and key in part) or (type(part) is list and type(key) is int and key < len(part))


def _source_of_graph(flow: Flow[..., Any]) -> Source | None:
    """The module that a graph's flow is built from; None when some of its nodes are the program's own."""
    if not isinstance(flow.function, GraphFunction):
        return None
    graph = flow.function.graph
    plan = checked(graph).plan()
    if any(node.kind.home[0] == "__main__" for node in plan.nodes):
        return None
    path = graph.path or Path.cwd() / (re.sub(r"[^\w-]", "_", graph.name) + ".json")
    return Source(path, module_name(path), python_source(graph, plan, ""))


provide_sources(_source_of_graph)
