"""`@node`: a node's class from a function."""

from __future__ import annotations

import datetime
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, overload

from dagy.errors import DefinitionError, did_you_mean, or_what_there_is, shown
from dagy.nodes.base import FlowNode
from dagy.nodes.config import Secret
from dagy.nodes.connectors import (
    ConnectorDef,
    ConnectorDirection,
    DataType,
    data_types,
    member,
    type_of,
    types_of_annotation,
)
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeConfigField, NodeMetadata
from dagy.parameters import Parameters
from dagy.tasks import Task, checked_name, options_of

Port = Any  # a DataType, its text ("dataframe"), several of them, an annotation (`pd.DataFrame`), or a ConnectorDef

_NULL = frozenset({DataType.NULL})
_FIELD_TYPES = {
    DataType.STRING: ConfigFieldType.STRING,
    DataType.NUMBER: ConfigFieldType.NUMBER,
    DataType.INTEGER: ConfigFieldType.INTEGER,
    DataType.BOOLEAN: ConfigFieldType.BOOLEAN,
}


@overload
def node(function: Callable[..., Any], /) -> type[FunctionNode]: ...
@overload
def node(
    *,
    node_type: str | None = None,
    label: str = "",
    description: str | None = None,
    category: NodeCategory | str = NodeCategory.CUSTOM,
    version: str = "1.0.0",
    icon: str = "",
    tags: Iterable[str] = (),
    requires: Iterable[str] = (),
    config: Mapping[str, NodeConfigField] | Iterable[NodeConfigField | str] = (),
    inputs: Mapping[str, Port] | None = None,
    outputs: Mapping[str, Port] | None = None,
    **task_options: Any,
) -> Callable[[Callable[..., Any]], type[FunctionNode]]: ...
def node(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a node's class of a function, plain or async: `@node`, or `@node(node_type="clean", ...)`.

    Parameters with a plain default (a number, text, True or False, None) are fields of the configuration; the others
    are inbound connectors. Types come from the annotations. What is returned goes out at the connector "result", unless
    it is annotated None. So `@node def clean(rows: list, limit: int = 10)` is used as `clean(limit=5)(rows)`.

    `config` makes parameters fields whatever their default: names, or `NodeConfigField`s. `inputs` and `outputs` say
    what passes at a connector, each by id; a function with several outputs returns a dict by id, from which one of
    cardinality ZERO_OR_ONE may be left out, and one with none (`outputs={}`) gives nothing. A parameter annotated
    `ExecutionContext` is given the context, one annotated `Secret` the secret's text. `node_type` and `description`
    default to the function's name and docstring. Any other option is one of `@task`: `retries`, `timeout_seconds`, ...

    Raises `DefinitionError` when an option has no meaning.
    """
    known = (*[*inspect.signature(_made).parameters][1:-1], *options_of(Task))
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"; its options: {', '.join(known)}"
            raise DefinitionError(f"@node has no option {name!r}{hint}")
    if function is not None:
        return _made(function, **options)
    return lambda function: _made(function, **options)


class FunctionNode(FlowNode):
    """A node that was written as a function. Its classes are made by `@node`."""

    function: ClassVar[Callable[..., Any]]  # as it was written
    _parameters: ClassVar[Parameters]
    _context_name: ClassVar[str | None]  # of the parameter that takes the context
    _metadata: ClassVar[NodeMetadata]
    _connectors: ClassVar[tuple[ConnectorDef, ...]]
    _fields: ClassVar[tuple[NodeConfigField, ...]]

    @classmethod
    def metadata(cls) -> NodeMetadata:
        """What kind of node it is."""
        return cls._metadata

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        """Its parameters, and what it returns."""
        return list(cls._connectors)

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        """Its parameters with a plain default."""
        return list(cls._fields)

    def _called(self, context: ExecutionContext) -> Any:
        values = {**self.config, **context.secrets, **context.inputs}
        if self._context_name is not None:
            values[self._context_name] = context
        return self._parameters.call(type(self).function, values)


def _execute(self: FunctionNode, context: ExecutionContext) -> Any:
    return self._called(context)


async def _execute_async(self: FunctionNode, context: ExecutionContext) -> Any:
    return await self._called(context)


def _made(
    function: Callable[..., Any],
    *,
    node_type: str | None = None,
    label: str = "",
    description: str | None = None,
    category: NodeCategory | str = NodeCategory.CUSTOM,
    version: str = "1.0.0",
    icon: str = "",
    tags: Iterable[str] = (),
    requires: Iterable[str] = (),
    config: Mapping[str, NodeConfigField] | Iterable[NodeConfigField | str] = (),
    inputs: Mapping[str, Port] | None = None,
    outputs: Mapping[str, Port] | None = None,
    **task_options: Any,
) -> type[FunctionNode]:
    if not callable(function):
        raise DefinitionError(f"@node goes above a function, not above {shown(function)}")
    name = checked_name("node", None, function)
    of = f"node {name!r}"
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(f"{of} is a generator, which has no one result; return a list instead")
    Task(function, **task_options)  # its options have a meaning
    parameters = Parameters(function, of=of)
    asked = _asked_fields(of, parameters, config)
    ports = dict(inputs or {})
    for connector_id in ports:
        _check_parameter(of, parameters, connector_id, "inputs")
    fields: list[NodeConfigField] = []
    connectors: list[ConnectorDef] = []
    context_name = None
    for each in parameters.signature.parameters.values():
        annotation = parameters.annotation(each.name)
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise DefinitionError(f"{of}: {str(each)!r} can't be a connector; name each input")
        if annotation is ExecutionContext:
            context_name = each.name
        elif each.name in asked or (each.name not in ports and _is_setting(annotation, each.default)):
            fields.append(asked.get(each.name) or _field(each, annotation))
        else:
            port = ports.get(each.name, annotation)
            is_required = each.default is each.empty
            connectors.append(_connector(of, each.name, port, ConnectorDirection.INBOUND, required=is_required))
    given = parameters.result_annotation
    if outputs is None:
        outputs = {} if given in (None, type(None)) else {"result": given}
    connectors += [_connector(of, each, port, ConnectorDirection.OUTBOUND) for each, port in outputs.items()]
    told = inspect.getdoc(function) if description is None else description
    shelf = member(NodeCategory, category, of=of, called="category")
    metadata = NodeMetadata(node_type or name, label, told or "", shelf, version, icon, tuple(tags), tuple(requires))
    body = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "function": staticmethod(function),
        "task_options": task_options,
        "execute": _execute_async if inspect.iscoroutinefunction(function) else _execute,
        "_parameters": parameters,
        "_context_name": context_name,
        "_metadata": metadata,
        "_connectors": tuple(connectors),
        "_fields": tuple(fields),
    }
    made: type[FunctionNode] = types.new_class(
        name, (FunctionNode,), exec_body=lambda namespace: namespace.update(body)
    )
    return made


def _asked_fields(
    of: str, parameters: Parameters, config: Mapping[str, NodeConfigField] | Iterable[NodeConfigField | str]
) -> dict[str, NodeConfigField]:
    given = config.values() if isinstance(config, Mapping) else config
    found = {}
    for each in given:
        name = each.id if isinstance(each, NodeConfigField) else each
        _check_parameter(of, parameters, name, "config")
        if isinstance(each, NodeConfigField):
            found[name] = each
        else:
            found[name] = _field(parameters.signature.parameters[name], parameters.annotation(name))
    return found


def _check_parameter(of: str, parameters: Parameters, name: str, option: str) -> None:
    if name not in parameters:
        told = f"{of}: {option} names {name!r}, which is no parameter of it"
        raise DefinitionError(told + or_what_there_is(name, parameters))


def _is_setting(annotation: Any, default: object) -> bool:
    """Whether a parameter is a field of the configuration by itself."""
    if annotation is Secret or isinstance(default, bool | int | float | str):
        return True
    return default is None and (annotation is Any or _field_type(annotation) is not None)


def _field(parameter: inspect.Parameter, annotation: Any) -> NodeConfigField:
    is_required = parameter.default is parameter.empty
    default = None if is_required else parameter.default
    choices = _choices(annotation)
    kind = _field_type(annotation) or _FIELD_TYPES.get(type_of(default), ConfigFieldType.JSON)
    return NodeConfigField(parameter.name, type=kind, required=is_required, default=default, options=choices)


def _field_type(annotation: Any) -> ConfigFieldType | None:
    """The type of field that holds what the annotation admits; None when there is none but JSON."""
    if annotation is Secret:
        return ConfigFieldType.SECRET
    if _choices(annotation):
        return ConfigFieldType.SELECT
    admitted = types_of_annotation(annotation) - _NULL
    if admitted == {DataType.INTEGER, DataType.NUMBER}:
        return ConfigFieldType.NUMBER
    if admitted == {DataType.DATETIME}:
        return ConfigFieldType.DATE if datetime.date in (annotation, *typing.get_args(annotation)) else None
    return _FIELD_TYPES.get(next(iter(admitted))) if len(admitted) == 1 else None


def _choices(annotation: Any) -> tuple[Any, ...]:
    """What a `Literal` admits, also one that may be None."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        literals = [each for each in typing.get_args(annotation) if each is not type(None)]
        return _choices(literals[0]) if len(literals) == 1 else ()
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def _connector(
    of: str, connector_id: str, port: Port, direction: ConnectorDirection, *, required: bool | None = None
) -> ConnectorDef:
    if isinstance(port, ConnectorDef):
        if (port.id, port.direction) != (connector_id, direction):
            raise DefinitionError(
                f"{of}: at {connector_id!r} there is the {port.direction} connector {port.id!r}; give each under its id"
            )
        return port
    if isinstance(port, str | frozenset | set | list | tuple):
        found = data_types(port, of=f"{of}: connector {connector_id!r}")
    else:
        found = types_of_annotation(port)
    return ConnectorDef(connector_id, "", direction, found, required)
