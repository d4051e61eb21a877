"""The registry: every node type there is, by name. Threads may use it at once."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dagy.artifact.loading import keep_aside
from dagy.errors import DefinitionError, UnknownNodeError, sentence
from dagy.nodes.config import config_schema
from dagy.nodes.connectors import DataType, Fit, fit, member, type_names
from dagy.nodes.definitions import NodeDefinition, definition_of
from dagy.nodes.metadata import NodeCategory
from dagy.spec import Json

if TYPE_CHECKING:
    from dagy.nodes.base import FlowNode

ENTRY_POINTS = "dagy.nodes"  # the group in which packages name the modules that hold their nodes
DEFINED: dict[str, type[FlowNode]] = {}  # the newest class of each node type that this process has made

_NOWHERE: dict[str, type[FlowNode]] = {}
_ASIDE: ContextVar[dict[str, type[FlowNode]]] = ContextVar("dagy_nodes_aside", default=_NOWHERE)
_IS_LOADING: ContextVar[bool] = ContextVar("dagy_nodes_loading", default=False)
_LOCK = threading.RLock()  # held for moments only, and never while a module is imported


class NodeRegistry:
    """Node types by name. With `entry_points`, those of installed packages too, loaded when they are first needed."""

    def __init__(self, entry_points: str = "") -> None:
        self._group = entry_points
        self._types: dict[str, type[FlowNode]] = {}
        self._is_loaded = not entry_points

    def register(self, cls: type[FlowNode]) -> None:
        """Add a node class. One of the same module and name takes the older one's place: its code was run again.

        Raises `DefinitionError` when another class has its node type, or the class is written wrong.
        """
        node_type = definition_of(cls).node_type
        with _LOCK:
            other = self.holder(cls)
            if other is not None:
                raise DefinitionError(
                    f"there is a node type {node_type!r} already, {_place(other)}; "
                    f"give {_place(cls)} another node_type, or take the first one out: "
                    f"node_registry.unregister({node_type!r})"
                )
            self._types[node_type] = cls

    def holder(self, cls: type[FlowNode]) -> type[FlowNode] | None:
        """The other class that has the node type of `cls`, if there is one; its own older self is none."""
        other = self._types.get(definition_of(cls).node_type)
        return None if other is None or _place(other) == _place(cls) else other

    def unregister(self, node_type: str) -> None:
        """Take a node type out. `UnknownNodeError` when there is none of that name."""
        with _LOCK:
            if node_type not in self._types:
                raise UnknownNodeError(node_type, sorted(self._types))
            cls = self._types.pop(node_type)
            if DEFINED.get(node_type) is cls:
                del DEFINED[node_type]

    def get(self, node_type: str) -> type[FlowNode]:
        """The class of that node type. `UnknownNodeError` when there is none."""
        found = _ASIDE.get().get(node_type) or self._types.get(node_type)
        if found is None:
            self.load_entry_points()
            with _LOCK:
                found = self._types.get(node_type)
                if found is None:
                    raise UnknownNodeError(node_type, sorted({**self._types, **_ASIDE.get()}))
        return found

    def find(
        self,
        text: str = "",
        *,
        category: NodeCategory | str | None = None,
        accepts: DataType | str | None = None,
        gives: DataType | str | None = None,
    ) -> list[type[FlowNode]]:
        """The node classes, by node type, that have each word of `text` in their names, descriptions or tags.

        Only those of `category`; that take any value of the type `accepts`; that give values of the type `gives`.
        Raises `DefinitionError` when there is no such category or type.
        """
        shelf = category and member(NodeCategory, category, of="the search", called="category")
        taken = accepts and frozenset({member(DataType, accepts, of="the search", called="data type")})
        given = gives and frozenset({member(DataType, gives, of="the search", called="data type")})
        words = text.lower().split()
        return [
            cls
            for cls, definition in self._listed()
            if (not shelf or definition.metadata.category == shelf)
            and (not taken or any(fit(taken, each.data_types) is Fit.YES for each in definition.inbound))
            and (not given or any(fit(each.data_types, given) is Fit.YES for each in definition.outbound))
            and (not words or _has_words(definition, words))
        ]

    def converters(self, out: frozenset[DataType], into: frozenset[DataType]) -> list[type[FlowNode]]:
        """The CONVERT nodes that take values of the types `out` and give what fit `into`; the most particular first."""
        found = [
            (DataType.ANY in taken, cls)
            for cls, definition in self._listed()
            if definition.metadata.category is NodeCategory.CONVERT
            for taken in [each.data_types for each in definition.inbound[:1]]
            if fit(out, taken) is Fit.YES and any(fit(each.data_types, into) is Fit.YES for each in definition.outbound)
        ]
        return [cls for _, cls in sorted(found, key=lambda pair: pair[0])]

    def catalog(self) -> list[dict[str, Json]]:
        """All that is known of each node type, as JSON: what a designer shows."""
        return [_entry(cls, definition) for cls, definition in self._listed()]

    def sync_from_subclasses(self) -> None:
        """Register every node class that this process has made: the newest of each node type."""
        with _LOCK:
            for cls in list(DEFINED.values()):
                self.register(cls)

    def load_entry_points(self) -> None:
        """Import the modules that installed packages name, once; one that fails becomes a warning that names it."""
        if self._is_loaded:
            return
        from importlib.metadata import entry_points

        for each in entry_points(group=self._group):
            token = _IS_LOADING.set(True)
            try:
                each.load()
            except Exception as error:  # noqa: BLE001 (somebody's package)
                of = f"{each.name!r} ({each.value})"
                warnings.warn(f"the nodes of {of} can't be loaded: {sentence(error)}", RuntimeWarning, stacklevel=3)
            finally:
                _IS_LOADING.reset(token)
        self._is_loaded = True

    @contextmanager
    def isolated(self) -> Iterator[NodeRegistry]:
        """For tests: what is registered, and taken out, inside the `with` block is undone at its end."""
        self.load_entry_points()  # a module that is first loaded inside would be forgotten for good
        with _LOCK:
            before = (dict(self._types), dict(DEFINED), self._is_loaded)
        try:
            yield self
        finally:
            with _LOCK:
                types, defined, self._is_loaded = before
                for kept, now in ((types, self._types), (defined, DEFINED)):
                    now.clear()
                    now.update(kept)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside the `with` block a class that is defined takes any other's type, seen by the block alone.

        It is for code that is loaded once more beside its live self. Other threads go on as before. At the end a class
        stays whose type is free, and whose module stays: nothing would load that again.
        """
        defined: dict[str, type[FlowNode]] = {}
        token = _ASIDE.set(defined)
        try:
            yield
        finally:
            _ASIDE.reset(token)
            for cls in defined.values():
                if getattr(sys.modules.get(cls.__module__), cls.__name__, None) is cls and self.holder(cls) is None:
                    define(cls)

    def clear(self) -> None:
        """Take every node type out; it stays empty until something is registered."""
        with _LOCK:
            self._types.clear()
            self._is_loaded = True

    def _listed(self) -> list[tuple[type[FlowNode], NodeDefinition]]:
        self.load_entry_points()
        with _LOCK:
            found = sorted({**self._types, **_ASIDE.get()}.items())
        return [(cls, definition_of(cls)) for _, cls in found]


node_registry = NodeRegistry(ENTRY_POINTS)
keep_aside(node_registry.aside)


def define(cls: type[FlowNode]) -> None:
    """Note a class that was just made, and register it.

    When its node type is taken: `DefinitionError`. But what packages offer yields to what is there, with a warning.
    """
    node_type = definition_of(cls).node_type
    if _ASIDE.get() is not _NOWHERE:
        _ASIDE.get()[node_type] = cls
        return
    with _LOCK:
        other = node_registry.holder(cls)
        if other is None or not _is_offered(cls):
            node_registry.register(cls)
            DEFINED[node_type] = cls
            return
    warnings.warn(
        f"{_place(cls)} is not registered: the node type {node_type!r} is taken by {_place(other)}",
        RuntimeWarning,
        stacklevel=3,
    )


def misfit(out_end: str, out: frozenset[DataType], in_end: str, into: frozenset[DataType]) -> str:
    """The sentence that what goes out at one end can't come in at the other, with a node that would convert."""
    told = f"{out_end} gives {type_names(out)}, and {in_end} takes {type_names(into)}"
    return told + conversion(out, into)


def conversion(out: frozenset[DataType], into: frozenset[DataType]) -> str:
    """The tail of a message: `; the node 'parse_json' between them would convert it`, or nothing when there is none."""
    names = [repr(definition_of(cls).node_type) for cls in node_registry.converters(out, into)]
    return f"; the node {' or '.join(names[:3])} between them would convert it" if names else ""


def _place(cls: type[FlowNode]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_offered(cls: type[FlowNode]) -> bool:
    """Whether it comes with Dagy, or with a package whose entry points are being loaded."""
    return _IS_LOADING.get() or cls.__module__.startswith("dagy.")


def _has_words(definition: NodeDefinition, words: list[str]) -> bool:
    metadata = definition.metadata
    told = " ".join((metadata.node_type, metadata.label, metadata.description, *metadata.tags)).lower()
    return all(each in told for each in words)


def _entry(cls: type[FlowNode], definition: NodeDefinition) -> dict[str, Json]:
    return {
        **_as_json(definition.metadata),
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "is_async": definition.is_async,
        "inbound": [_as_json(each) for each in definition.inbound],
        "outbound": [_as_json(each) for each in definition.outbound],
        "config_fields": [_as_json(each) for each in definition.fields],
        "config_schema": config_schema(definition.fields, definition.metadata.label),
    }


def _as_json(value: Any) -> Any:
    """A definition's part as JSON: enums as their texts, sets in order."""
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: _as_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, frozenset):
        return sorted(str(each) for each in value)
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
