"""What a call of a node is: a task of the flow that is drawn, or, outside a flow, the work itself.

All nodes of a class share one `NodeCode`, the function of their tasks. Its inputs are the values at the inbound
connectors and those of the config fields, by id, and what it returns is the node's value. So a flow knows no nodes: it
has tasks, some of which say what kind of node they are.
"""

from __future__ import annotations

import contextvars
import copy
import functools
import inspect
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dagy.errors import ConnectorError, DefinitionError, SkipTask, or_what_there_is, sentence, shown, without_our_frames
from dagy.nodes.config import written
from dagy.nodes.connectors import (
    ANYTHING,
    ConnectorDef,
    ConnectorDirection,
    DataType,
    Fit,
    fit,
    takes,
    type_names,
    types_of_annotation,
)
from dagy.nodes.definitions import NodeDefinition, definition_of
from dagy.nodes.execution import ExecutionContext, ExecutionResult, by_hand
from dagy.nodes.registry import misfit
from dagy.nodes.value_checks import check_inputs, check_outputs
from dagy.parameters import Parameters
from dagy.program import TaskCode
from dagy.spec import NodeSpec, PortSpec
from dagy.states import StateType
from dagy.tasks import TRACE, FlowParameter, Task, TaskOutput, Trace, holds_reference, user_line
from dagy.values import ABSENT

if TYPE_CHECKING:
    from dagy.nodes.base import FlowNode

_COMPLETED = StateType.COMPLETED
_LIST, _NULL, _OBJECT = (frozenset({each}) for each in (DataType.LIST, DataType.NULL, DataType.OBJECT))
_Types = frozenset[DataType]


@dataclass(frozen=True, slots=True)
class Connectors:
    """Where values come into a node or a task, and where they go out of it."""

    inbound: tuple[ConnectorDef, ...]
    outbound: tuple[ConnectorDef, ...]


def call(node: FlowNode, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """While a flow is drawn, record a task and give its `TaskOutput`; else run the node now and give its value.

    Values for the inbound connectors are given by position, in their order, or by id. One value for a connector that
    takes many is a list of one. `ConnectorError` when one is missing, unknown, or of a type that its connector does not
    take.
    """
    __tracebackhide__ = True  # for those who show errors, such as IPython
    trace = TRACE.get()
    try:
        return run_now(node, args, kwargs) if trace is None else record(trace, node, args, kwargs)
    except Exception as error:
        without_our_frames(error)
        raise


def mapped(node: FlowNode, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """As `call`, once for each item of the lists that are given by position; the value is the list of the values."""
    over = tuple(each.id for each in definition_of(type(node)).inbound[: len(args)])
    if not over:
        raise ConnectorError(f"{_called(task_of(node))}.map(...) needs a list to go through, given by position")
    trace = TRACE.get()
    return run_now(node, args, kwargs, over) if trace is None else record(trace, node, args, kwargs, over)


def record(
    trace: Trace, node: FlowNode, args: tuple[Any, ...], kwargs: Mapping[str, Any], over: tuple[str, ...] = ()
) -> TaskOutput:
    """Record a call of `node` in `trace`, one for each item of the connectors in `over` and of those with `each`."""
    task = task_of(node)
    values, over = _bound(task, args, kwargs, over)
    for connector in task.function.definition.inbound:
        if connector.id in values:
            value = values[connector.id]
            if connector.is_many and connector.id not in over:
                value = values[connector.id] = _as_many(trace, value)
            _check(trace, task, connector, value, is_mapped=connector.id in over)
    for name, value in node.given.items():
        values[name] = written(value)
    return trace.add_mapped(task, values, over) if over else trace.add(task, values)


def run_now(node: FlowNode, args: tuple[Any, ...], kwargs: Mapping[str, Any], over: tuple[str, ...] = ()) -> Any:
    """Run `node` here and give its value; `SkipTask` when it has nothing to do."""
    task = task_of(node)
    code = task.function
    values, over = _bound(task, args, kwargs, over)
    values |= node.given
    if not over:
        return _waited_for(code, values)
    lists = {name: values.pop(name) for name in over}
    for name, value in lists.items():
        if not isinstance(value, list | tuple | range):
            raise ConnectorError(
                f"{user_line()}: {_called(task)} runs for each item at {name!r}, so that must be a list, not "
                f"{shown(value)} ({type(value).__name__})"
            )
    task.parameters.check_lengths(lists)
    rows = (dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True))
    return [_waited_for(code, {**values, **row}) for row in rows]


def task_of(node: FlowNode) -> NodeTask:
    """The task that a call of `node` records."""
    if isinstance(node._task, NodeTask):
        return node._task
    task = _task_of_class(type(node))
    if node.task_options:
        task = task.with_options(**node.task_options)
    task = task.after(*node.waits_for) if node.waits_for else task
    if not hasattr(type(node).requirements, "by_default"):
        task = copy.copy(task)
        task.node = replace(task.function.spec, requires=_requirements(node, task.function.definition))
    node._task = task
    return task


def _requirements(node: FlowNode, definition: NodeDefinition) -> tuple[str, ...]:
    config = {name: value for name, value in node.config.items() if not holds_reference(value)}
    try:
        found = node.requirements(config)
    except Exception as error:
        raise DefinitionError(f"node {definition.node_type!r}: requirements() raised {sentence(error)}") from error
    if isinstance(found, str) or not all(isinstance(each, str) for each in found):
        raise DefinitionError(
            f"node {definition.node_type!r}: requirements() must return a list of packages' names, not {shown(found)}"
        )
    return tuple(found)


def connectors_of(task: Task[..., Any] | TaskCode) -> Connectors:
    """The connectors of a node's task; those of a function's by its annotations, of which the outbound is "result"."""
    code = task.code if isinstance(task, Task) else task
    if isinstance(code.function, NodeCode):
        return code.function.connectors
    return _connectors_of_function(code.parameters)


class NodeCode:
    """The function of the tasks of a node's class: called with all inputs by id, it gives the node's value.

    For an async node it gives a coroutine of it. For who compares code, it is what it wraps: the class.
    """

    def __init__(self, of: type[FlowNode]) -> None:
        self.definition = definition_of(of)
        self.connectors = Connectors(self.definition.inbound, self.definition.outbound)
        self.spec = _node_spec(self.definition)
        functools.update_wrapper(self, of, updated=())
        self.__signature__ = _signature(self.definition)
        self._class = of
        self.inbound = {each.id: each for each in self.definition.inbound}
        self._many = [each for each in self.definition.inbound if each.is_many]
        self._is_simple = self.definition.is_bare and not self._many
        # Whether one value may pass at a connector is told by its class; these have passed, and need no other look.
        self._came: dict[str, set[type]] = {each: set() for each in self.inbound}
        self._went: set[type] = set()
        self._only = self.definition.outbound[0].id if len(self.definition.outbound) == 1 else None

    def __call__(self, /, **values: Any) -> Any:
        """Execute a node of the class once."""
        if self._is_simple:
            return self._at_once(values)
        if self.definition.is_async:
            return self._awaited(values)
        node, context = self._prepared(values)
        return self.definition.value_of(by_hand(node.run(context), self.definition.node_type))

    def __reduce__(self) -> tuple[Any, ...]:
        return _code_of, (self._class,)

    def _at_once(self, values: dict[str, Any]) -> Any:
        """The short way where there is nothing around `execute`: what `run` does then, in a third of the time."""
        definition = self.definition
        inputs: dict[str, Any] = {}
        config: dict[str, Any] = {}
        for name, value in values.items():
            came = self._came.get(name)
            if came is None:
                config[name] = value
            elif type(value) in came:
                inputs[name] = value
            else:
                inputs, config = self._checked(values)
                break
        node = definition.fresh(config)
        context = ExecutionContext(inputs, config=node.config)
        context.describe(definition)
        try:
            result = node.execute(context)
        finally:
            context.close()
        if type(result) is ExecutionResult and result.state is _COMPLETED and self._only is not None:
            outputs = result.outputs
            if type(outputs) is dict and len(outputs) == 1:
                value = outputs.get(self._only, ABSENT)
                if type(value) in self._went:
                    return value
        return self._given(definition.result_of(result))

    def _given(self, result: ExecutionResult) -> Any:
        """The node's value, checked; the class of the value is remembered."""
        value = self.definition.value_of(result)
        check_outputs(self.definition, result.outputs)
        if self._only is not None and not self.definition.outbound[0].is_many and value is not ABSENT:
            self._went.add(type(value))
        return value

    async def _awaited(self, values: dict[str, Any]) -> Any:
        node, context = self._prepared(values)
        return self.definition.value_of(await node.run(context))

    def _prepared(self, values: dict[str, Any]) -> tuple[FlowNode, ExecutionContext]:
        """A node for one execution, and what it is given."""
        inputs, config = self._parted(values)
        node = self.definition.fresh(config)
        return node, ExecutionContext(inputs, config=node.config)

    def _parted(self, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What came in, without what is absent, and the configuration; `SkipTask` if nothing came in where it must."""
        inputs: dict[str, Any] = {}
        config: dict[str, Any] = {}
        for name, value in values.items():
            connector = self.inbound.get(name)
            if connector is None:
                config[name] = value
            elif value is not ABSENT:
                inputs[name] = value
            elif connector.is_required and not connector.is_many:
                raise SkipTask(f"nothing came in at {name!r}")
        for each in self._many:
            inputs[each.id] = items = [item for item in _listed(inputs.get(each.id, ())) if item is not ABSENT]
            if each.is_required and not items:
                raise SkipTask(f"nothing came in at {each.id!r}")
        return inputs, config

    def _checked(self, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same, checked; the classes of the values are remembered."""
        inputs, config = self._parted(values)
        check_inputs(self.definition, inputs)
        for name, value in inputs.items():
            self._came[name].add(type(value))
        return inputs, config


class NodeTask(Task[..., Any]):
    """A task that is a node."""

    function: NodeCode

    def __init__(self, function: NodeCode, **options: Any) -> None:
        metadata = function.definition.metadata
        super().__init__(function, **{"name": metadata.node_type, "description": metadata.description, **options})
        self.code = replace(self.code, is_async=function.definition.is_async)
        self.node = function.spec
        self.optional = tuple(each.id for each in function.definition.inbound if each.is_many or not each.is_required)


@functools.lru_cache(maxsize=1024)
def _code_of(node_class: type[FlowNode]) -> NodeCode:
    return NodeCode(node_class)


@functools.lru_cache(maxsize=1024)
def _task_of_class(node_class: type[FlowNode]) -> NodeTask:
    return NodeTask(_code_of(node_class))


# ---- what a call is given


def _bound(
    task: NodeTask, args: tuple[Any, ...], kwargs: Mapping[str, Any], over: tuple[str, ...]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values at the inbound connectors by id, and those of the connectors that the node runs for each item of.

    `ConnectorError` names what is missing or too much.
    """
    definition = task.function.definition
    inbound = definition.inbound
    if len(args) > len(inbound):
        known = f": {', '.join(each.id for each in inbound)}" if inbound else ""
        raise ConnectorError(
            f"{user_line()} gives {_called(task)} {len(args)} values by position, and it takes {len(inbound)}{known}"
        )
    values = {connector.id: value for connector, value in zip(inbound, args, strict=False)}
    for name, value in kwargs.items():
        if name in values:
            raise ConnectorError(f"{user_line()} gives {_called(task)} {name!r} twice: by position and by name")
        if name not in task.function.inbound:
            raise ConnectorError(f"{user_line()}: {_called(task)} {_lacks(definition, name)}")
        values[name] = value
    for each in inbound:
        if each.required and each.id not in values:
            raise ConnectorError(f"{user_line()}: {_called(task)} needs a value at {each.id!r}")
    if definition.each:
        over = (*over, *(name for name in definition.each if name in values and name not in over))
    return values, over


def _called(task: NodeTask) -> str:
    return f"node {task.name!r}"


def _lacks(definition: NodeDefinition, name: str) -> str:
    if any(each.id == name for each in definition.fields):
        return f"takes {name!r} before it is called: it is a field of its configuration, not a connector"
    return f"has no inbound connector {name!r}{or_what_there_is(name, [each.id for each in definition.inbound])}"


def _as_many(trace: Trace, value: Any) -> Any:
    """The list that a connector takes that takes many: what a mapped task gives is one, any other value is one item."""
    if isinstance(value, TaskOutput):
        origin = trace.origin_of(value)
        is_list = origin.task in trace.mapped and not any(type(each) is int for each in origin.path)
        return value if is_list else [value]
    return _listed(value)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _waited_for(code: NodeCode, values: dict[str, Any]) -> Any:
    """A node's value; of an async node when it is there, also in a thread that has a loop at work, as notebooks do."""
    value = code(**values)
    if not code.definition.is_async:
        return value
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, value).result()


# ---- types, checked while a flow is drawn


def _check(trace: Trace, task: NodeTask, connector: ConnectorDef, value: Any, *, is_mapped: bool) -> None:
    """Raise `ConnectorError` if what is given at `connector` can't come in there."""
    is_list = is_mapped or connector.is_many
    for each in value if is_list and isinstance(value, list | tuple) else (value,):
        if isinstance(each, TaskOutput):
            end, types = _outgoing(trace, each, as_items=is_list and each is value)
            if fit(types, connector.data_types) is Fit.NO:
                told = misfit(end, types, f"input {connector.id!r} of {task.name!r}", connector.data_types)
                raise ConnectorError(f"{user_line()}: {told}")
        elif not isinstance(each, FlowParameter) and not takes(connector.data_types, each):
            raise ConnectorError(
                f"{user_line()}: {_called(task)} takes {type_names(connector.data_types)} at {connector.id!r}, not "
                f"{shown(each)} ({type(each).__name__})"
            )


def _outgoing(trace: Trace, output: TaskOutput, *, as_items: bool) -> tuple[str, _Types]:
    """Which end of a task the output is, and the types of what goes out there: of its items, if it is gone through."""
    origin = trace.origin_of(output)
    task, path = origin.task, origin.path
    outbound = connectors_of(trace.code[task]).outbound
    is_list = task in trace.mapped
    if is_list and path and type(path[0]) is int:  # one of its items
        is_list, path = False, path[1:]
    if not outbound:
        end, types = f"the output of {task!r}", _NULL
    elif len(outbound) == 1:
        end, types = f"output {outbound[0].id!r} of {task!r}", outbound[0].value_types
    elif path:
        connector = next(each for each in outbound if each.id == path[0])
        end, types, path = f"output {connector.id!r} of {task!r}", connector.value_types, path[1:]
    else:
        end, types = f"the output of {task!r}, a dict of {', '.join(repr(each.id) for each in outbound)}", _OBJECT
    types = ANYTHING if path else types
    if as_items and not is_list:
        if fit(types, _LIST) is Fit.NO:
            raise ConnectorError(f"{user_line()}: {end} ({type_names(types)}) is gone through, so it must be a LIST")
        return end, ANYTHING
    return end, types if is_list is as_items else _LIST


# ---- classes and functions as connectors


def _node_spec(definition: NodeDefinition) -> NodeSpec:
    metadata = definition.metadata
    inbound, outbound = (
        tuple(PortSpec(each.id, tuple(sorted(each.data_types)), each.label) for each in connectors)
        for connectors in (definition.inbound, definition.outbound)
    )
    return NodeSpec(metadata.node_type, str(metadata.category), inbound, outbound, tuple(metadata.requires))


def _signature(definition: NodeDefinition) -> inspect.Signature:
    """All inputs of the node's tasks, by name."""
    named = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [
            *(
                inspect.Parameter(each.id, named, default=inspect.Parameter.empty if each.is_required else None)
                for each in definition.inbound
            ),
            *(inspect.Parameter(each.id, named, default=None) for each in definition.fields),
        ]
    )


@functools.lru_cache(maxsize=1024)
def _connectors_of_function(parameters: Parameters) -> Connectors:
    inbound = (
        ConnectorDef(
            each.name,
            each.name,
            ConnectorDirection.INBOUND,
            types_of_annotation(parameters.annotation(each.name)),
            required=each.default is each.empty,
        )
        for each in parameters.signature.parameters.values()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    )
    types = types_of_annotation(parameters.result_annotation)
    return Connectors(tuple(inbound), (ConnectorDef("result", "result", ConnectorDirection.OUTBOUND, types),))
