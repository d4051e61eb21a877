"""`FlowNode`: the class that a reusable node is written as."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dagy.errors import NodeConfigError, SkipTask, sentence, shown
from dagy.nodes import calling
from dagy.nodes.config import Secret, config_model, config_schema
from dagy.nodes.connectors import ConnectorDef
from dagy.nodes.definitions import NodeDefinition, by_default, definition_of
from dagy.nodes.execution import ExecutionContext, ExecutionResult, masked
from dagy.nodes.metadata import NodeConfigField, NodeMetadata
from dagy.nodes.registry import DEFINED, define
from dagy.nodes.value_checks import check_inputs, check_outputs
from dagy.spec import Json
from dagy.states import StateType
from dagy.tasks import TRACE, Task, check_options, user_line

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["FlowNode", "NodeDefinition", "definition_of"]


class FlowNode(ABC):
    """A node: typed connectors, a configuration, and `execute`, which does the work.

    A subclass with `metadata`, `connectors` and `execute` is registered as it is defined. An instance is the class with
    a configuration: `read = ReadCsv(path="ages.csv")`. Called inside a `@flow` it becomes a task of the flow; called
    anywhere else it does its work at once. Values come in by position, in the order of the inbound connectors, or by
    their ids: `Filter(column="age", value=30)(frame=read())`.

    The value of a call is that of the node's one outbound connector, a dict by id where it has several, or None. What
    was left out is `dagy.values.ABSENT` there, which is false.
    `execute` and the hooks may be `async def` or plain. Each execution has an instance of its own.
    """

    task_options: ClassVar[Mapping[str, Any]] = {}  # how it runs unless `with_options` says otherwise: {"retries": 2}
    _registered_subclasses: ClassVar[dict[str, type[FlowNode]]] = DEFINED
    _task: Task[..., Any] | None = None

    config: dict[str, Any]  # every field's value by id: what was given, else the default
    given: Mapping[str, Any]  # the fields that were given
    waits_for: tuple[object, ...] = ()  # what `after` was given

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not inspect.isabstract(cls) and not _adds_nothing(cls):
            define(cls)

    @by_default
    def __init__(self, /, *inputs: object, **config: Any) -> None:
        __tracebackhide__ = True
        definition = definition_of(type(self))
        if inputs:
            raise NodeConfigError(
                f"{user_line()}: node {definition.node_type!r} takes its configuration first, by name, and values for "
                f"its connectors in brackets of their own: {type(self).__name__}(...)({shown(inputs[0])})"
            )
        try:
            self.config = definition.config.checked(config)
        except NodeConfigError as error:
            where = "" if TRACE.get() is None else f"{user_line()}: "
            raise NodeConfigError(f"{where}{error}", error.problems) from None
        self.given = config

    @classmethod
    @abstractmethod
    def metadata(cls) -> NodeMetadata:
        """What kind of node it is."""

    @classmethod
    @abstractmethod
    def connectors(cls) -> list[ConnectorDef]:
        """Where values come in and go out."""

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        """What can be set on it; nothing, unless a subclass says so."""
        return []

    @classmethod
    def config_model(cls) -> type[BaseModel]:
        """Its configuration as a pydantic model."""
        return config_model(definition_of(cls).fields, f"{cls.__name__}Config")

    @classmethod
    def config_schema(cls) -> dict[str, Json]:
        """Its configuration as JSON Schema."""
        return config_schema(definition_of(cls).fields, f"{cls.__name__}Config")

    @classmethod
    @by_default
    def requirements(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """The packages that a node of this configuration needs where it runs; those of the metadata, unless it says so.

        `config` has every field by id, but for those whose value is known only when the flow runs.
        """
        return cls.metadata().requires

    @abstractmethod
    def execute(self, context: ExecutionContext) -> Any:
        """Do the work: plain or `async def`.

        Returns an `ExecutionResult`, or plainly what a call of the node gives: with one outbound connector its value,
        with several a dict of their values by id.
        """

    @by_default  # noqa: B027 (a subclass may have another)
    def before_execute(self, context: ExecutionContext) -> Any:
        """Called before `execute`; what it raises fails the node."""

    @by_default  # noqa: B027 (a subclass may have another)
    def after_execute(self, context: ExecutionContext, result: ExecutionResult) -> Any:
        """Called when `execute` did its work and its outputs fit the connectors; what it raises fails the node."""

    @by_default  # noqa: B027 (a subclass may have another)
    def on_error(self, context: ExecutionContext, error: Exception) -> Any:
        """Called each time the node failed; what it raises is logged, and changes nothing."""

    @by_default  # noqa: B027 (a subclass may have another)
    def cleanup(self, context: ExecutionContext) -> Any:
        """Called at the end whatever happened, a cancel included; what it raises is logged, and changes nothing."""

    @by_default
    async def run(self, context: ExecutionContext) -> ExecutionResult:
        """Execute it with its hooks: what comes in and goes out is checked against the connectors, cleanup always runs.

        What the node raises is in the result: FAILED with the error, or SKIPPED. A cancel goes through. Without an
        `async def` among `execute` and the hooks it never waits, and needs no event loop.
        """
        definition = definition_of(type(self))
        context.describe(definition)
        try:
            try:
                result = await self._executed(context, definition)
            except SkipTask as skip:
                result = ExecutionResult(StateType.SKIPPED, error=skip)
            except Exception as error:  # noqa: BLE001 (the user's code)
                result = ExecutionResult.from_error(error)
            if result.error is not None and context.secrets:
                result = result._replace(error=masked(result.error, context.secrets.values()))
            if result.state is StateType.FAILED and "on_error" in definition.hooks:
                await self._call_hook(context, definition, "on_error", result.error)
            return result
        finally:
            if "cleanup" in definition.hooks:
                await self._call_hook(context, definition, "cleanup")
            context.close()

    async def _executed(self, context: ExecutionContext, definition: NodeDefinition) -> ExecutionResult:
        check_inputs(definition, context.inputs)
        context.config = context.config or self.config
        if definition.secrets:
            context.secrets = {**self._secrets(definition), **context.secrets}
        if "before_execute" in definition.hooks:
            await _done(self.before_execute(context))
        given = self.execute(context)
        if definition.is_async and hasattr(given, "__await__"):
            given = await given
        result = definition.result_of(given)
        if result.state is StateType.COMPLETED:
            check_outputs(definition, result.outputs)
            if "after_execute" in definition.hooks:
                await _done(self.after_execute(context, result))
        return result

    async def _call_hook(self, context: ExecutionContext, definition: NodeDefinition, hook: str, *args: object) -> None:
        """Call a hook; what it raises is logged."""
        try:
            await _done(getattr(self, hook)(context, *args))
        except Exception as error:  # noqa: BLE001 (the user's code)
            context.logger.warning("node %r: %s raised %s", definition.node_type, hook, sentence(error))

    def _secrets(self, definition: NodeDefinition) -> dict[str, str]:
        found = {each: self.config[each] for each in definition.secrets}
        return {name: each.value() for name, each in found.items() if isinstance(each, Secret)}

    def __call__(self, /, *args: Any, **inputs: Any) -> Any:
        """While a flow is drawn, a `TaskOutput` that stands for the node's value; else its value, computed at once."""
        __tracebackhide__ = True
        return calling.call(self, args, inputs)

    def map(self, /, *items: Any, **same: Any) -> Any:
        """One execution for each item of `items`, as `Task.map`: a list of the values, or what stands for it."""
        return calling.mapped(self, items, same)

    def with_options(self, /, **options: Any) -> Self:
        """This node, as one that runs so: `name`, `retries`, `timeout_seconds` and what else `@task` takes.

        They count when a flow runs; a call outside a flow just does the work. Raises `DefinitionError` when an option
        has no meaning.
        """
        check_options("task", options, Task)
        return self._but(task_options={**self.task_options, **options})

    def after(self, *outputs: object) -> Self:
        """This node, as one that also waits for `outputs` without taking them: `send.after(checked)(rows)`."""
        return self._but(waits_for=(*self.waits_for, *outputs))

    def _but(self, **changes: Any) -> Self:
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__, **changes, _task=None)
        return changed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.given.items())})"


def _adds_nothing(cls: type) -> bool:
    """Whether its body is empty: a variant of another node without a name of its own, or not filled in yet."""
    return all(each.startswith("__") for each in cls.__dict__ if each != "_abc_impl")


async def _done(value: Any) -> None:
    if hasattr(value, "__await__"):
        await value
