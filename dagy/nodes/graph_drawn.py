"""From a flow to the parts of a graph document: what the flow's drawing says, in the document's words."""

from __future__ import annotations

from inspect import cleandoc, unwrap
from typing import Any

from dagy.drawing.layout import layout
from dagy.errors import NodeGraphError, shown
from dagy.flows import Flow
from dagy.nodes.base import FlowNode
from dagy.nodes.calling import NodeCode
from dagy.nodes.graph_annotations import read_annotation
from dagy.nodes.graph_kinds import Kind, UnknownKindError, held_at, kind_of, own_module, type_name
from dagy.nodes.graph_names import TaskNames
from dagy.nodes.graph_parts import GraphEdge, GraphNode, GraphParameter, Position
from dagy.nodes.graph_values import GraphValueError, split_path, written_value
from dagy.nodes.metadata import ConfigFieldType
from dagy.program import TaskCode
from dagy.spec import Binding, Constant, FlowSpec, FromTask, Json, ListOf, TaskOptions, TaskSpec
from dagy.tasks import Task
from dagy.values import is_json

_NODE_SIZE = (200.0, 80.0)  # width and height, in pixels, as designers draw a node


def drawn_parts(flow: Flow[..., Any]) -> dict[str, Any]:
    """The fields of the `NodeGraph` of `flow`. `NodeGraphError` names each thing that no document can hold."""
    return _Drawn(flow).parts()


class _Drawn:
    def __init__(self, flow: Flow[..., Any]) -> None:
        self._flow = flow
        self._program = flow.program()
        self._kinds: dict[str, Kind] = {}  # by task id
        self._faults: list[str] = []
        self._edges: list[GraphEdge] = []
        self._names = TaskNames()

    def parts(self) -> dict[str, Any]:
        """The fields by name."""
        spec = self._program.spec
        for task in spec.tasks:
            self._find_kind(task, self._program.code[task.id])
        self._raise_faults()
        sizes = dict.fromkeys(spec.needs, _NODE_SIZE)
        boxes = layout(spec.needs, sizes, direction="right", flow=spec.name).boxes
        places = {name: Position(round(box.x), round(box.y)) for name, box in boxes.items()}
        nodes = tuple(self._node(task, places[task.id]) for task in spec.tasks)
        parts = {
            "name": spec.name,
            "version": spec.version,
            "description": spec.description,
            "parameters": self._parameters(spec),
            "nodes": nodes,
            "edges": tuple(self._edges),
            "result": self._result(spec.result),
            "options": self._options(spec),
            "modules": tuple(dict.fromkeys(filter(None, (own_module(kind.made_by) for kind in self._kinds.values())))),
        }
        self._raise_faults()
        return parts

    def _raise_faults(self) -> None:
        if self._faults:
            raise NodeGraphError(f"flow {self._flow.name!r} can't be a graph document:", self._faults)

    def _find_kind(self, task: TaskSpec, code: TaskCode) -> None:
        made_by: type[FlowNode] | Task[..., Any]
        try:
            made_by = unwrap(code.function) if isinstance(code.function, NodeCode) else _task_at(task, code)
            self._kinds[task.id] = kind_of(made_by, type_name(made_by))
        except UnknownKindError as error:
            self._faults.append(f"task {task.id!r} {error}")

    def _node(self, task: TaskSpec, place: Position) -> GraphNode:
        kind = self._kinds[task.id]
        config: dict[str, Json] = {}
        for name, binding in task.inputs.items():
            edges = self._edges_of(task, kind, name, binding)
            if edges:
                self._edges += edges
                continue
            try:
                config[name] = self._written(kind, name, binding)
            except GraphValueError as error:
                self._faults.append(f"task {task.id!r}: its input {name!r} {error}; read it in a task instead")
        each = tuple(name for name in task.mapped if name not in kind.each)
        options = _options_of(task, kind)
        if self._names.name_for(task.id, kind.name) != task.name:
            options["name"] = task.name
        self._names.add(task.id, task.name)
        return GraphNode(task.id, kind.called, config, place, options=options, each=each, after=task.after)

    def _outbound(self, task_id: str) -> tuple[str, ...]:
        return self._kinds[task_id].connectors

    def _written(self, kind: Kind, name: str, binding: Binding) -> Json:
        declared = kind.fields.get(name)
        if declared is not None and declared.type is ConfigFieldType.SECRET and type(binding) is Constant:
            return binding.value
        return written_value(binding, self._outbound)

    def _edges_of(self, task: TaskSpec, kind: Kind, name: str, binding: Binding) -> list[GraphEdge]:
        """The edges that say the same as `binding`; none where it takes a value of the config."""
        connector = kind.inbound.get(name)
        items: tuple[Binding, ...] = (binding,)
        if connector is not None and connector.is_many and type(binding) is ListOf:
            items = binding.items
            if len(items) == 1 and type(items[0]) is FromTask and self._is_mapped(items[0].task):
                return []  # one edge would be its list
        edges = []
        for each in items:
            if type(each) is not FromTask:
                return []
            source, path = split_path(each.path, self._outbound(each.task))
            if source is None:
                return []
            edges.append(GraphEdge(each.task, source, task.id, name, path))
        return edges if len(set(edges)) == len(edges) else []

    def _is_mapped(self, task_id: str) -> bool:
        return bool(self._program.spec.task(task_id).mapped)

    def _parameters(self, spec: FlowSpec) -> tuple[GraphParameter, ...]:
        found = []
        for each in spec.parameters:
            if each.static:
                continue
            default = None if each.required else self._flow.parameters.default(each.name)
            if not is_json(default):
                self._faults.append(f"parameter {each.name!r} has the default {shown(default)}, which JSON can't hold")
            try:
                kind = read_annotation(each.annotation).text
            except ValueError:
                kind = ""  # the document has no word for it: anything goes
            found.append(GraphParameter(each.name, kind, each.required, default))
        return tuple(found)

    def _result(self, result: Binding | None) -> Json:
        if result is None:
            return None
        if type(result) is FromTask and not result.path:
            return result.task
        try:
            written = written_value(result, self._outbound)
        except GraphValueError as error:
            self._faults.append(f"the flow's result {error}; make it in a task instead")
            return None
        return {"$literal": written} if type(written) is str else written

    def _options(self, spec: FlowSpec) -> dict[str, Json]:
        options = spec.options
        found: dict[str, Json] = {
            "retries": options.retries or None,
            "retry_delay_seconds": list(options.retry_delays) or None,
            "timeout_seconds": options.timeout_seconds,
            "fail_fast": options.fail_fast,
            "executor": options.executor,
            "memory_mb": options.memory_mb,
            "validate_parameters": None if self._flow.validate_parameters else False,
        }
        return {name: value for name, value in found.items() if value is not None}


def _task_at(task: TaskSpec, code: TaskCode) -> Task[..., Any]:
    """The task that was called, found where it lives."""
    module, name = task.function.split(":", 1)
    found = held_at(module, name)
    if not isinstance(found, Task) or found.function is not code.function:
        raise UnknownKindError(f"is called {name!r} in {module!r}, and is not found there; define it at the top level")
    return found


def _options_of(task: TaskSpec, kind: Kind) -> dict[str, Json]:
    """How the task differs from what calling its kind gives, in the words of `@task`."""
    made_by = kind.made_by
    usual = made_by.options if isinstance(made_by, Task) else Task(_nothing, **made_by.task_options).options
    found: dict[str, Json] = {} if task.description == _description(made_by) else {"description": task.description}
    for name in TaskOptions.__dataclass_fields__:
        value = getattr(task.options, name)
        if value != getattr(usual, name):
            word = "retry_delay_seconds" if name == "retry_delays" else name
            found[word] = list(value) if isinstance(value, tuple) else value
    return found


def _description(made_by: type[FlowNode] | Task[..., Any]) -> str:
    if isinstance(made_by, Task):
        return made_by.description
    return cleandoc(made_by.metadata().description or made_by.__doc__ or "")


def _nothing() -> None:
    """Stands for a task's function where only the options count."""
