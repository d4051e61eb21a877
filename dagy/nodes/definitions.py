"""What a node's class says of itself, read once: all that is known of a node without executing it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, ref

from dagy.errors import ConnectorError, DefinitionError, or_what_there_is, sentence, shown
from dagy.nodes.config import ConfigFields
from dagy.nodes.connectors import ConnectorDef
from dagy.nodes.execution import ExecutionResult
from dagy.nodes.metadata import ConfigFieldType, NodeConfigField, NodeMetadata
from dagy.states import StateType
from dagy.values import ABSENT

if TYPE_CHECKING:
    from dagy.nodes.base import FlowNode

HOOKS = ("before_execute", "after_execute", "on_error", "cleanup")

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class NodeDefinition:
    """A node's class as data.

    `hooks` names the hooks that it has. `is_async` says whether `execute` or a hook is `async def`; `is_bare`, whether
    there is nothing to it but a plain `execute`.
    """

    metadata: NodeMetadata
    inbound: tuple[ConnectorDef, ...]
    outbound: tuple[ConnectorDef, ...]
    config: ConfigFields
    hooks: frozenset[str]
    is_async: bool
    is_bare: bool
    _is_plainly_made: bool = field(repr=False)
    _class: ref[type[FlowNode]] = field(repr=False)

    @property
    def node_type(self) -> str:
        """The name that it is registered under."""
        return self.metadata.node_type

    @property
    def fields(self) -> tuple[NodeConfigField, ...]:
        """The fields of its configuration."""
        return self.config.fields

    @cached_property
    def each(self) -> tuple[str, ...]:
        """The inbound connectors that it runs once for each item of."""
        return tuple(connector.id for connector in self.inbound if connector.each)

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The SECRET fields."""
        return tuple(each.id for each in self.fields if each.type is ConfigFieldType.SECRET)

    def inbound_connector(self, connector_id: str) -> ConnectorDef:
        """The inbound connector of that id; `ConnectorError` when there is none."""
        return self._connector(connector_id, self.inbound, "inbound")

    def outbound_connector(self, connector_id: str) -> ConnectorDef:
        """The outbound connector of that id; `ConnectorError` when there is none."""
        return self._connector(connector_id, self.outbound, "outbound")

    def _connector(self, connector_id: str, among: Sequence[ConnectorDef], which: str) -> ConnectorDef:
        for each in among:
            if each.id == connector_id:
                return each
        hint = or_what_there_is(connector_id, [each.id for each in among])
        raise ConnectorError(f"node {self.node_type!r} has no {which} connector {connector_id!r}{hint}")

    def fresh(self, config: Mapping[str, Any]) -> FlowNode:
        """An instance for one execution, with this configuration; `NodeConfigError` when that does not fit."""
        cls = self._class()
        assert cls is not None, "whoever executes a node holds its class"
        if not self._is_plainly_made:
            return cls(**config)
        node = cls.__new__(cls)
        node.config = self.config.checked(config)
        node.given = config
        return node

    def result_of(self, given: Any) -> ExecutionResult:
        """What `execute` gave, as a result: a plain value is that of its one outbound connector, or a dict of several.

        `ConnectorError` when it has several outbound connectors and gave no dict.
        """
        if isinstance(given, ExecutionResult):
            if not isinstance(given.outputs, Mapping):
                raise ConnectorError(
                    f"node {self.node_type!r}: the outputs of an ExecutionResult are a dict by connector id, such as "
                    f"{{{', '.join(f'{each.id!r}: ...' for each in self.outbound)}}}, not {shown(given.outputs)}"
                )
            if given.state is StateType.FAILED and given.error is None:
                return ExecutionResult.from_error(f"node {self.node_type!r} gave no error with which it failed")
            return given
        if hasattr(given, "__await__"):
            if inspect.iscoroutine(given):
                given.close()  # nobody will wait for it
            raise DefinitionError(
                f"node {self.node_type!r}: execute returned something to wait for; write it as 'async def'"
            )
        if len(self.outbound) == 1:
            return ExecutionResult.from_success({self.outbound[0].id: given})
        if not self.outbound:
            return ExecutionResult.from_success()
        if isinstance(given, Mapping):
            return ExecutionResult.from_success(given)
        ids = ", ".join(repr(each.id) for each in self.outbound)
        raise ConnectorError(
            f"node {self.node_type!r} has several outbound connectors, so it returns a dict with {ids}, or an "
            f"ExecutionResult, not {shown(given)}"
        )

    def value_of(self, result: ExecutionResult) -> Any:
        """What the node's task returns: the value of its one outbound connector, a dict of several by id, or None.

        `ABSENT` stands for one that was left out. Raises the result's error when it has one.
        """
        if result.state is not StateType.COMPLETED:
            raise result.error or RuntimeError(f"node {self.node_type!r} ended {result.state}")
        outputs = result.outputs
        if len(self.outbound) == 1:
            return outputs.get(self.outbound[0].id, ABSENT)
        return {each.id: outputs.get(each.id, ABSENT) for each in self.outbound} or None


_DEFINITIONS: WeakKeyDictionary[type[FlowNode], NodeDefinition] = WeakKeyDictionary()


def definition_of(cls: type[FlowNode]) -> NodeDefinition:
    """What the node's class says of itself; the same object each time. `DefinitionError` if it is written wrong."""
    found = _DEFINITIONS.get(cls)
    return _DEFINITIONS.setdefault(cls, _read(cls)) if found is None else found


def by_default(method: Function) -> Function:
    """Mark what `FlowNode` itself does, so that it shows whether a subclass does something else."""
    method.__dict__["by_default"] = True
    return method


def _has_own(cls: type[FlowNode], method: str) -> bool:
    return not hasattr(getattr(cls, method), "by_default")


def _read(cls: type[FlowNode]) -> NodeDefinition:
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ()))) or "metadata, connectors or execute"
        raise DefinitionError(f"node class {cls.__qualname__!r} is abstract: it lacks {missing}")
    metadata = _asked(cls, "metadata", NodeMetadata)
    of = f"node {metadata.node_type!r}"
    connectors = _listed(cls, "connectors", ConnectorDef)
    fields = _listed(cls, "config_fields", NodeConfigField)
    inbound = tuple(each for each in connectors if each.is_inbound)
    outbound = tuple(each for each in connectors if not each.is_inbound)
    _check_unique(of, [each.id for each in outbound], "outbound connectors")
    _check_unique(of, [*(each.id for each in inbound), *(each.id for each in fields)], "inbound connectors and fields")
    hooks = frozenset(each for each in HOOKS if _has_own(cls, each))
    is_async = any(inspect.iscoroutinefunction(getattr(cls, each)) for each in ("execute", *hooks))
    has_secrets = any(each.type is ConfigFieldType.SECRET for each in fields)
    return NodeDefinition(
        metadata,
        inbound,
        outbound,
        ConfigFields(metadata.node_type, fields, inputs=[each.id for each in inbound]),
        hooks=hooks,
        is_async=is_async,
        is_bare=not (is_async or hooks or has_secrets or _has_own(cls, "run")),
        _is_plainly_made=cls.__new__ is object.__new__ and not _has_own(cls, "__init__"),
        _class=ref(cls),
    )


def _asked(cls: type[FlowNode], method: str, kind: type[T]) -> T:
    if not isinstance(inspect.getattr_static(cls, method), classmethod | staticmethod):
        raise DefinitionError(
            f"node class {cls.__qualname__!r}: {method} must be a classmethod; write @classmethod above it"
        )
    try:
        found = getattr(cls, method)()
    except DefinitionError:
        raise
    except Exception as error:
        raise DefinitionError(
            f"node class {cls.__qualname__!r}: {method}() raised {sentence(error)}; it is asked while the class is "
            "made, so what it needs must be there by then"
        ) from error
    if not isinstance(found, kind):
        raise DefinitionError(
            f"node class {cls.__qualname__!r}: {method}() must return a {kind.__name__}, not {shown(found)}"
        )
    return found


def _listed(cls: type[FlowNode], method: str, kind: type[T]) -> tuple[T, ...]:
    found = _asked(cls, method, Sequence)  # type: ignore[type-abstract]  # it is only compared with
    for each in found:
        if not isinstance(each, kind):
            raise DefinitionError(
                f"node class {cls.__qualname__!r}: {method}() must return a list of {kind.__name__}, and in it is "
                f"{shown(each)}"
            )
    return tuple(found)


def _check_unique(of: str, ids: list[str], what: str) -> None:
    for each in ids:
        if ids.count(each) > 1:
            raise DefinitionError(f"{of} has {each!r} twice among its {what}; each needs an id of its own")
