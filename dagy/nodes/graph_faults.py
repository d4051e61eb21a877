"""All that is wrong with a graph document, at once; and, when nothing is, what each node means as a task.

Every part is looked at by itself, whatever is wrong with the others, so that a designer can mark them all.
"""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagy.errors import (
    CycleError,
    DagyError,
    DefinitionError,
    NodeConfigError,
    NodeGraphError,
    ParameterError,
    did_you_mean,
    or_what_there_is,
    sentence,
    shown,
)
from dagy.graph import ordered
from dagy.nodes.base import FlowNode
from dagy.nodes.calling import task_of
from dagy.nodes.config import Secret
from dagy.nodes.connectors import ANYTHING, ConnectorDef, DataType, Fit, fit, takes, type_names, type_of
from dagy.nodes.graph_annotations import Annotation, read_annotation
from dagy.nodes.graph_flow import Plan, PlannedNode, graph_flow
from dagy.nodes.graph_kinds import Kind, UnknownKindError, fault_of_importing, kind_called, look_beside
from dagy.nodes.graph_names import TaskNames
from dagy.nodes.graph_parts import GraphEdge, GraphFault, GraphNode, GraphParameter
from dagy.nodes.graph_values import (
    SECRET,
    GraphValueError,
    evaluated,
    mark_of,
    no_connector,
    output_path,
    read_value,
)
from dagy.nodes.metadata import ConfigFieldType
from dagy.nodes.registry import misfit
from dagy.spec import Binding, Constant, DictOf, FromParameter, FromTask, Json, ListOf, references
from dagy.tasks import FlowParameter, Task, TaskOutput, Trace
from dagy.values import is_json

if TYPE_CHECKING:
    from dagy.nodes.graph import NodeGraph

_LONGEST_NAME = 200
_MOST_HINTS = 50  # on nodes that are not there: each is looked for among all
_OWN_FIELDS = frozenset({"name", "version", "description"})  # of a graph, and so no options
_LIST = frozenset({DataType.LIST})


@dataclass(frozen=True, slots=True)
class Checked:
    """A graph with its faults, and its plan, which is of no use when there are faults that are no notes."""

    name: str
    faults: tuple[GraphFault, ...]
    made: Plan

    def plan(self) -> Plan:
        """The plan. Raises `NodeGraphError` with all faults, if there are any."""
        found = [each.message for each in self.faults if not each.is_note]
        if found:
            raise NodeGraphError(f"graph {shown(self.name)} has {len(found)} fault{'s'[: len(found) > 1]}:", found)
        return self.made


def checked(graph: NodeGraph) -> Checked:
    """The graph, looked at in all its parts. The modules that it names are imported, and nothing of it is run."""
    return _Check(graph).checked()


@dataclass(slots=True)
class _Node:
    """What is known of a node so far."""

    given: GraphNode
    kind: Kind | None  # None: a fault already
    values: dict[str, Binding | Secret] = field(default_factory=dict)
    edges: dict[str, list[GraphEdge]] = field(default_factory=dict)  # by the input that they lead to
    needs: dict[str, None] = field(default_factory=dict)
    made: FlowNode | Task[..., Any] | None = None
    is_fixed: bool = True  # its config is known without drawing the flow


class _Check:
    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph
        self._faults: list[GraphFault] = []
        self._kinds: dict[str, Kind | str] = {}  # by type; a text says why there is none
        self._nodes: dict[str, _Node] = {}
        self._edges: set[GraphEdge] = set()
        self._parameters: dict[str, GraphParameter] = {}
        self._used: set[str] = set()  # the parameters that something takes
        self._annotations: dict[str, Annotation] = {}
        trace = Trace(graph.name)
        self._outputs = _StandIns(lambda name: TaskOutput(trace, FromTask(name)))
        self._given = _StandIns(lambda name: FlowParameter(trace, FromParameter(name)))

    def checked(self) -> Checked:
        graph = self._graph
        self._check_graph()
        self._check_parameters()
        self._find_kinds()
        for each in graph.nodes:
            self._add_node(each)
        for edge in graph.edges:
            self._add_edge(edge)
        for node in self._nodes.values():
            if node.kind is not None:
                self._check_node(node, node.kind)
            else:
                for name, value in node.given.config.items():
                    if mark_of(value) != SECRET:
                        self._read(value, node.given.id, f"config.{name}", f"node {node.given.id!r}: {name!r}")
        order = self._ordered()
        names = self._task_names(order)
        result = self._result()
        for name in self._parameters:
            if name not in self._used:
                self._say(None, f"parameters.{name}", f"parameter {name!r} is used by no node", is_note=True)
        planned = tuple(_planned(self._nodes[each], names.get(each)) for each in order) if self._is_sound() else ()
        plan = Plan(planned, result, self._annotations)
        return Checked(graph.name, tuple(self._faults), plan)

    def _say(self, node: str | None, field: str, message: str, *, is_note: bool = False) -> None:
        self._faults.append(GraphFault(node, field, message, is_note))

    def _is_sound(self) -> bool:
        return all(each.is_note for each in self._faults)

    # The graph as a whole.

    def _check_graph(self) -> None:
        graph = self._graph
        if fault := _fault_of_name(graph.name):
            self._say(None, "name", f"a graph can't be called {shown(graph.name)}: {fault}")
        for option in _OWN_FIELDS & graph.options.keys():
            self._say(
                None, f"options.{option}", f"the graph's options hold {option!r}; it is a field of the graph itself"
            )
        if graph.modules or any(":" in each.type for each in graph.nodes):
            look_beside(graph.path)
        for module in dict.fromkeys(graph.modules):
            if fault := fault_of_importing(module):
                self._say(None, "modules", f"module {module!r}, which the graph names, can't be imported: {fault}")

    def _check_parameters(self) -> None:
        for each in self._graph.parameters:
            where, of = f"parameters.{each.name}", f"parameter {shown(each.name)}"
            if each.name in self._parameters:
                self._say(None, where, f"{of} is there twice; rename one")
            self._parameters[each.name] = each
            if fault := _fault_of_parameter(each.name):
                self._say(None, where, f"{of} {fault}")
            if each.required and each.default is not None:
                self._say(None, where, f"{of} is required and has the default {shown(each.default)}; it can't be both")
            if not is_json(each.default):
                self._say(None, where, f"{of} has the default {shown(each.default)}, which JSON can't hold")
            try:
                self._annotations[each.name] = read_annotation(each.type)
            except ValueError as error:
                self._say(None, where, f"{of} {error}")
        self._check_flow(self._graph.parameters if self._is_sound() else ())

    def _check_flow(self, parameters: Sequence[GraphParameter]) -> None:
        """See what a flow makes of the name, the options and the parameters."""
        if _OWN_FIELDS & self._graph.options.keys():
            return
        try:
            flow = graph_flow(self._graph, parameters, self._annotations, _draws_nothing)
        except DefinitionError as error:
            self._say(None, "options", str(error))
            return
        for each in parameters:
            if each.default is not None:
                try:
                    flow.parameters.check({each.name: each.default})
                except ParameterError as error:
                    self._say(None, f"parameters.{each.name}", str(error))

    def _result(self) -> Binding | None:
        result = self._graph.result
        if result is None:
            return None
        if type(result) is str:
            result = {"$output": result}
        return self._read(result, None, "result", "the graph's result")

    # Nodes.

    def _add_node(self, given: GraphNode) -> None:
        if fault := _fault_of_name(given.id):
            self._say(given.id, "id", f"a node can't have the id {shown(given.id)}: {fault}")
        if given.id in self._nodes:
            self._say(given.id, "id", f"two nodes have the id {given.id!r}; ids are unique, so give one another")
            return
        kind = self._kinds[given.type]
        if isinstance(kind, str):
            self._say(given.id, "type", f"node {given.id!r}: {kind}")
        self._nodes[given.id] = _Node(given, None if isinstance(kind, str) else kind)

    def _find_kinds(self) -> None:
        """Look all types up, those first that import a module, which may define others."""
        for name in sorted({each.type for each in self._graph.nodes}, key=lambda each: ":" not in each):
            try:
                self._kinds[name] = kind_called(name)
            except (UnknownKindError, DagyError) as error:
                self._kinds[name] = str(error)

    def _check_node(self, node: _Node, kind: Kind) -> None:
        given = node.given
        for name, value in given.config.items():
            self._read_config(node, kind, name, value)
        for name, edges in node.edges.items():
            self._join(node, kind, name, edges)
        for each in given.after:
            if each not in self._nodes:
                self._say(given.id, "after", f"node {given.id!r} waits for {self._no_node(each)}")
            else:
                node.needs[each] = None
        self._check_each(node, kind)
        self._make(node, kind)
        for connector in kind.inbound.values():
            if connector.is_required and connector.id not in node.values and connector.id not in node.edges:
                self._say(
                    given.id, f"inputs.{connector.id}",
                    f"node {given.id!r} needs a value at {connector.id!r} ({type_names(connector.data_types)}); lead "
                    "an edge there",
                )  # fmt: skip

    def _read_config(self, node: _Node, kind: Kind, name: str, value: Json) -> None:
        node_id, where = node.given.id, f"config.{name}"
        if name not in kind.inputs:
            hint = or_what_there_is(name, kind.inputs)
            self._say(node_id, where, f"node {node_id!r} has no config field or inbound connector {name!r}{hint}")
            return
        declared = kind.fields.get(name)
        if declared is not None and declared.type is ConfigFieldType.SECRET and mark_of(value) == SECRET:
            try:
                node.values[name] = Secret(value[SECRET])
            except (DagyError, TypeError, ValueError) as error:
                self._say(node_id, where, f"node {node_id!r}: {name!r}: {error}")
            return
        binding = self._read(value, node_id, where, f"node {node_id!r}: {name!r}")
        if binding is None:
            return
        node.values[name] = binding
        node.needs.update((each.task, None) for each in references(binding) if type(each) is FromTask)
        if type(binding) is Constant and name in kind.inbound and name not in node.given.each:
            self._check_literal(node_id, kind, kind.inbound[name], binding.value)

    def _read(self, value: Json, node: str | None, where: str, of: str) -> Binding | None:
        """What the value stands for; None when that is nothing, which is a fault then."""
        if not is_json(value):
            self._say(node, where, f"{of} is {shown(value)}, which JSON can't hold")
            return None
        try:
            binding = read_value(value, self._outbound)
        except UnknownKindError:  # of a node of which that is said already
            return None
        except GraphValueError as error:
            self._say(node, where, f"{of} {error}")
            return None
        is_known = True
        for each in references(binding):
            if type(each) is FromParameter:
                self._used.add(each.name)
                if each.name not in self._parameters:
                    is_known = False
                    hint = did_you_mean(each.name, self._parameters) or "; add it to the graph's parameters"
                    self._say(node, where, f"{of} takes parameter {each.name!r}, which the graph does not have{hint}")
            elif type(each) is FromTask and each.task not in self._nodes:
                is_known = False
                self._say(node, where, f"{of} takes the output of {self._no_node(each.task)}")
        return binding if is_known else None

    def _outbound(self, node_id: str) -> Sequence[str]:
        """The outbound connectors of a node, for who reads a value that takes one."""
        node = self._nodes.get(node_id)
        if node is None:
            raise GraphValueError(f"takes the output of {self._no_node(node_id)}")
        if node.kind is None:
            raise UnknownKindError
        return node.kind.connectors

    def _check_literal(self, node_id: str, kind: Kind, connector: ConnectorDef, value: Json) -> None:
        """Say so if a value that is in the document can't come in at the connector."""
        where = f"config.{connector.id}"
        if isinstance(kind.made_by, Task):
            try:
                kind.made_by.parameters.check({connector.id: value})
            except ParameterError as error:
                self._say(node_id, where, f"node {node_id!r}: {error}")
            return
        values = value if connector.is_many and type(value) is list else [value]
        for each in values:
            if not takes(connector.data_types, each):
                self._say(
                    node_id, where,
                    f"node {node_id!r} takes {type_names(connector.data_types)} at {connector.id!r}, not {shown(each)} "
                    f"({type_of(each).name})",
                )  # fmt: skip

    def _check_each(self, node: _Node, kind: Kind) -> None:
        node_id, each = node.given.id, node.given.each
        if not each:
            return
        for name in each:
            if name not in kind.inbound:
                hint = or_what_there_is(name, kind.inbound)
                self._say(node_id, "each", f"node {node_id!r} is to run for each {name!r}, no inbound connector{hint}")
            elif name not in node.values and name not in node.edges:
                self._say(node_id, "each", f"node {node_id!r} is to run for each {name!r}, where nothing comes in")
            elif type(found := node.values.get(name)) is Constant and type(found.value) is not list:
                self._say(node_id, f"config.{name}", f"node {node_id!r} is to run for each {name!r}, which is no list")
        first = tuple(kind.inbound)[: len(set(each))]
        if not set(each) <= set(first) and set(each) <= set(kind.inbound):
            some = ", ".join(map(repr, first))
            self._say(node_id, "each", f"node {node_id!r} can run for each of its first inputs, which are {some}")

    def _no_node(self, name: str) -> str:
        hint = did_you_mean(name, self._nodes) if len(self._faults) < _MOST_HINTS else ""
        return f"node {name!r}, which is not there{hint}"

    def _make(self, node: _Node, kind: Kind) -> None:
        """Make what is called: the node with its config, or the task, to run as the document says."""
        given = node.given
        made: FlowNode | Task[..., Any]
        if isinstance(kind.made_by, Task):
            made = kind.made_by
        else:
            config = {name: self._stand_in(value) for name, value in node.values.items() if name in kind.fields}
            try:
                made = kind.made_by(**config)
            except NodeConfigError as error:
                for name, problem in error.problems.items() or [("", str(error))]:
                    self._say(given.id, f"config.{name}", f"node {given.id!r}: {problem}")
                return
            except Exception as error:  # noqa: BLE001 (a node's own __init__)
                self._say(given.id, "config", f"node {given.id!r} can't be made: {sentence(error)}")
                return
            node.is_fixed = not any(type(node.values[name]) in _REFERRING for name in config)
        try:
            node.made = made.with_options(**given.options) if given.options else made
            if isinstance(node.made, FlowNode):
                task_of(node.made)
        except DagyError as error:
            self._say(given.id, "options", f"node {given.id!r}: {error}")

    def _stand_in(self, value: Binding | Secret) -> Any:
        """The value, in which something stands for what is known only when the flow runs."""
        if type(value) is Constant:
            return value.value
        return value if isinstance(value, Secret) else evaluated(value, self._outputs, self._given)

    # Edges.

    def _add_edge(self, edge: GraphEdge) -> None:
        """Note where the edge leads to, when both of its ends are there."""
        of, has_source = f"edge {edge.source!r} -> {edge.target!r}", False
        source, target = self._nodes.get(edge.source), self._nodes.get(edge.target)
        if source is None:
            self._say(edge.target, "edges", f"{of} comes from {self._no_node(edge.source)}")
        elif source.kind is not None and edge.source_connector not in source.kind.outbound:
            told = no_connector(edge.source, edge.source_connector, source.kind.connectors)
            self._say(edge.source, "edges", f"{of} comes from {told}")
        else:
            has_source = True
        if target is None:
            self._say(edge.target, "edges", f"{of} leads to {self._no_node(edge.target)}")
            return
        if source is not None:
            target.needs[edge.source] = None
        if target.kind is not None and edge.target_connector not in target.kind.inputs:
            told = f"{edge.target_connector!r} of node {edge.target!r}, which has no such inbound connector"
            hint = or_what_there_is(edge.target_connector, target.kind.inputs)
            self._say(edge.target, "edges", f"{of} leads to {told}{hint}")
            return
        found = target.edges.setdefault(edge.target_connector, [])
        if edge in self._edges:
            ends = f"{edge.source_connector!r} of node {edge.source!r}", f"{edge.target_connector!r} of {edge.target!r}"
            self._say(edge.target, "edges", f"the edge from {ends[0]} to {ends[1]} is there twice; take one away")
        elif has_source:
            self._edges.add(edge)
            found.append(edge)

    def _join(self, node: _Node, kind: Kind, name: str, edges: Sequence[GraphEdge]) -> None:
        """Make one value of the edges that lead to one input of a node."""
        node_id, connector = node.given.id, kind.inbound.get(name)
        if name in node.given.config:
            self._say(
                node_id, f"config.{name}",
                f"node {node_id!r} has a value for {name!r} and an edge that leads there; take one of them away",
            )  # fmt: skip
        is_many = connector is not None and connector.is_many
        if len(edges) > 1 and not is_many:
            sources = ", ".join(repr(each.source) for each in edges)
            self._say(
                node_id, f"inputs.{name}",
                f"node {node_id!r} takes one value at {name!r}, and edges lead there from {sources}; keep one",
            )  # fmt: skip
        bindings: list[Binding] = []
        for edge in edges:
            source = self._nodes[edge.source].kind
            if source is None:
                continue
            bindings.append(FromTask(edge.source, output_path(edge.source_connector, edge.path, source.connectors)))
            if connector is not None:
                self._check_types(edge, source, kind, connector, is_only=len(edges) == 1)
        if bindings:
            node.values[name] = bindings[0] if len(edges) == 1 else ListOf(tuple(bindings))

    def _check_types(
        self, edge: GraphEdge, source: Kind, target: Kind, connector: ConnectorDef, *, is_only: bool
    ) -> None:
        """Say so if what passes along the edge can't come in, or may turn out not to."""
        origin, path = self._nodes[edge.source], edge.path
        gives_list = bool(origin.given.each) or any(
            each in origin.given.config or each in origin.edges for each in source.each
        )
        if gives_list and len(source.outbound) == 1 and path and type(path[0]) is int:  # one of its items
            gives_list, path = False, path[1:]
        out = ANYTHING if path else source.outbound[edge.source_connector].value_types
        takes_items = connector.id in (*target.each, *self._nodes[edge.target].given.each)
        if gives_list and (takes_items or (connector.is_many and is_only)):
            pass  # item by item
        elif gives_list:
            out = _LIST
        elif takes_items and fit(out, _LIST) is Fit.NO:
            self._say(
                edge.target, f"inputs.{connector.id}",
                f"node {edge.target!r} runs for each item that comes in at {connector.id!r}, and {edge.source!r} gives "
                f"{type_names(out)}, no LIST",
            )  # fmt: skip
            return
        elif takes_items:
            out = ANYTHING
        into = connector.data_types
        match fit(out, into):
            case Fit.NO:
                ends = f"{edge.source_connector!r} of node {edge.source!r}", f"{connector.id!r} of node {edge.target!r}"
                self._say(edge.target, f"inputs.{connector.id}", misfit(ends[0], out, ends[1], into))
            case Fit.WHEN_RUN:
                self._say(
                    edge.target, f"inputs.{connector.id}",
                    f"whether {edge.source_connector!r} of node {edge.source!r} ({type_names(out)}) fits "
                    f"{connector.id!r} of node {edge.target!r} ({type_names(into)}) shows when a value passes",
                    is_note=True,
                )  # fmt: skip
            case Fit.YES:
                pass

    # Calls.

    def _ordered(self) -> list[str]:
        """The nodes so that each comes after what it needs, in the document's order as far as that goes."""
        needs = {name: [each for each in node.needs if each in self._nodes] for name, node in self._nodes.items()}
        if _is_ordered(needs):
            return list(needs)
        try:
            ordered(needs, flow=self._graph.name)
        except CycleError as error:
            circle = " -> ".join(map(repr, error.cycle))
            self._say(error.cycle[0], "edges", f"the graph goes in a circle: {circle}; take one of these edges away")
            return list(needs)
        order: dict[str, None] = {}
        for name in needs:
            todo = [name]
            while todo:
                missing = [each for each in needs[todo[-1]] if each not in order]
                if missing:
                    todo += reversed(missing)
                else:
                    order[todo.pop()] = None
        return list(order)

    def _task_names(self, order: Iterable[str]) -> dict[str, str]:
        """The names to give to the tasks that would not get the ids of their nodes by themselves."""
        found: dict[str, str] = {}
        names = TaskNames()
        for node_id in order:
            node = self._nodes[node_id]
            if node.kind is None:
                continue
            said = node.given.options.get("name")
            name = said if isinstance(said, str) else names.name_for(node_id, node.kind.name)
            if said is not None and not names.gives(node_id, name):
                self._say(
                    node_id, "options.name",
                    f"node {node_id!r} has the option name={said!r}, with which its task would not get the node's id; "
                    "leave the name out",
                )  # fmt: skip
                name = node_id
            names.add(node_id, name)
            if name != node.kind.name and said is None:
                found[node_id] = name
        return found


class _StandIns(dict[str, Any]):
    """What stands for the value of anything, made when it is asked for."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Any:
        found = self[name] = self._make(name)
        return found


_REFERRING = (FromTask, FromParameter, ListOf, DictOf)


def _planned(node: _Node, name: str | None) -> PlannedNode:
    given, kind, made = node.given, node.kind, node.made
    assert kind is not None
    assert made is not None
    options = dict(given.options)
    if name is not None:
        options["name"] = name
        made = made.with_options(name=name)
    config: dict[str, Binding | Secret] = {}
    inputs: dict[str, Binding] = {}
    for each, value in node.values.items():
        if each in kind.fields or isinstance(value, Secret):
            config[each] = value
        else:
            inputs[each] = value
    over = tuple([each for each in kind.inbound if each in given.each]) if given.each else ()
    after = tuple(dict.fromkeys(given.after)) if given.after else ()
    return PlannedNode(
        given.id, given.label, kind, config, inputs, over, after, options, made if node.is_fixed else None
    )


def _is_ordered(needs: Mapping[str, Iterable[str]]) -> bool:
    """Whether each name comes after what it needs already."""
    seen: set[str] = set()
    for name, given in needs.items():
        if not seen.issuperset(given):
            return False
        seen.add(name)
    return True


def _fault_of_name(name: str) -> str:
    """What is wrong with a text as a name; empty when nothing is."""
    if not name or name != name.strip():
        return "a name has no space at its ends, and something between them"
    if not name.isprintable():
        return "a name has no line ends or other characters that can't be shown"
    return "" if len(name) <= _LONGEST_NAME else f"a name has at most {_LONGEST_NAME} characters"


def _fault_of_parameter(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name) or name == "__debug__":
        return "can't be called so in Python; use letters, digits and _, and no word of the language"
    plain = unicodedata.normalize("NFKC", name)
    return "" if name == plain else f"is the same as {plain!r} to Python; write it so"


def _draws_nothing(_: Mapping[str, Any]) -> None:
    """For a flow of which only the options and the parameters are looked at."""
