"""A graph as a flow: a function that calls the graph's nodes, one after the other, when the flow is drawn."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dagy.flows import Flow, flow
from dagy.nodes.base import FlowNode
from dagy.nodes.config import Secret
from dagy.nodes.graph_annotations import Annotation
from dagy.nodes.graph_parts import GraphParameter
from dagy.nodes.graph_values import evaluated
from dagy.spec import FromTask
from dagy.tasks import Task

if TYPE_CHECKING:
    from dagy.nodes.graph import NodeGraph
    from dagy.nodes.graph_kinds import Kind
    from dagy.spec import Binding, Json

_NAME = inspect.Parameter


class PlannedNode(NamedTuple):
    """A node as a call of its kind: `made_by(**config).with_options(**options).after(*after)(**inputs)`."""

    id: str
    label: str
    kind: Kind
    config: Mapping[str, Binding | Secret]  # of a node class
    inputs: Mapping[str, Binding]
    over: tuple[str, ...]  # the inputs that it is mapped over
    after: tuple[str, ...]
    options: Mapping[str, Json]  # the name too, where the task would get another id without
    made: FlowNode | Task[..., Any] | None  # all but `after` of it; None: its config is known only while it is drawn


@dataclass(frozen=True, slots=True)
class Plan:
    """What a graph without faults means as a flow: calls in an order in which they can be made."""

    nodes: tuple[PlannedNode, ...]
    result: Binding | None
    annotations: Mapping[str, Annotation]  # of the parameters


class GraphFunction:
    """The function of a graph's flow. Its parameters are the graph's; `graph` is where it comes from."""

    def __init__(
        self,
        graph: NodeGraph,
        parameters: Sequence[GraphParameter],
        annotations: Mapping[str, Annotation],
        draw: Callable[[Mapping[str, Any]], Any],
    ) -> None:
        self.graph = graph
        self.__name__ = self.__qualname__ = graph.name
        self.__doc__ = None
        self.__signature__ = inspect.Signature(list(_signed(parameters, annotations)))
        self.__globals__: dict[str, object] = {"__builtins__": builtins}  # in which the annotations are evaluated
        for each in annotations.values():
            self.__globals__.update(each.names)
        self._draw = draw

    def __call__(self, /, **parameters: Any) -> Any:
        """Draw the flow."""
        return self._draw(parameters)


def graph_flow(
    graph: NodeGraph,
    parameters: Sequence[GraphParameter],
    annotations: Mapping[str, Annotation],
    draw: Callable[[Mapping[str, Any]], Any],
) -> Flow[..., Any]:
    """The flow that `draw` draws, given what stands for each parameter, with the graph's name, options and parameters.

    Raises `DefinitionError` for an option or a parameter that a flow can't have.
    """
    function = GraphFunction(graph, parameters, annotations, draw)
    return flow(name=graph.name, version=graph.version, description=graph.description, **graph.options)(function)


def drawing(plan: Plan) -> Callable[[Mapping[str, Any]], Any]:
    """What draws the flow of a plan."""

    def draw(parameters: Mapping[str, Any]) -> Any:
        outputs: dict[str, Any] = {}
        for node in plan.nodes:
            outputs[node.id] = _called(node, outputs, parameters)
        return None if plan.result is None else evaluated(plan.result, outputs, parameters)

    return draw


def _called(node: PlannedNode, outputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """What stands for the node's value."""
    made = node.made
    if made is None:
        config = {name: _value(value, outputs, parameters) for name, value in node.config.items()}
        assert not isinstance(node.kind.made_by, Task)
        made = node.kind.made_by(**config)
        if node.options:
            made = made.with_options(**node.options)
    if node.after:
        made = made.after(*(outputs[each] for each in node.after))
    inputs = {
        # The first case is the last one in short: most inputs are the whole value of another node.
        name: outputs[value.task]
        if type(value) is FromTask and not value.path
        else evaluated(value, outputs, parameters)
        for name, value in node.inputs.items()
    }
    if node.over:
        lists = [inputs.pop(name) for name in node.over]
        return made.map(*lists, **inputs)
    if isinstance(made, FlowNode):
        return made(**inputs)
    args, kwargs = made.parameters.arguments(inputs)
    return made(*args, **kwargs)


def _value(value: Binding | Secret, outputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    return value if isinstance(value, Secret) else evaluated(value, outputs, parameters)


def _signed(parameters: Sequence[GraphParameter], annotations: Mapping[str, Annotation]) -> list[inspect.Parameter]:
    """The parameters of the function: by name only from the first that has no default after one that has."""
    found: list[inspect.Parameter] = []
    by_name = False
    for each in parameters:
        by_name = by_name or (each.required and bool(found) and found[-1].default is not _NAME.empty)
        kind = _NAME.KEYWORD_ONLY if by_name else _NAME.POSITIONAL_OR_KEYWORD
        annotation = annotations[each.name].text or _NAME.empty
        default = _NAME.empty if each.required else each.default
        found.append(_NAME(each.name, kind, default=default, annotation=annotation))
    return found
