"""The kinds of nodes that a graph document can have, looked up by the text that it has for them.

A kind is a node class, known to the registry by its node type, or a @task (or a node class) that is named by where it
lives: "module:name".
"""

from __future__ import annotations

import importlib
import keyword
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

from dagy.errors import NodeGraphError, UnknownNodeError, did_you_mean, sentence, shown
from dagy.nodes.base import FlowNode
from dagy.nodes.calling import connectors_of
from dagy.nodes.connectors import ConnectorDef
from dagy.nodes.definitions import definition_of
from dagy.nodes.metadata import NodeConfigField
from dagy.nodes.registry import node_registry
from dagy.tasks import Task

_LIBRARY = "dagy.nodes.library"


class UnknownKindError(ValueError):
    """The text for a node's type means nothing; its own text says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of node: where values come in and go out, and what can be set on it, by id."""

    called: str  # the text that a document has for it
    made_by: type[FlowNode] | Task[..., Any]
    name: str  # of its tasks, unless an option says otherwise
    inbound: Mapping[str, ConnectorDef]
    outbound: Mapping[str, ConnectorDef]
    fields: Mapping[str, NodeConfigField]
    inputs: tuple[str, ...]  # the ids of all that can be given to it
    each: tuple[str, ...] = ()  # the connectors that it always runs for each item of

    @property
    def connectors(self) -> tuple[str, ...]:
        """The ids of its outbound connectors."""
        return tuple(self.outbound)

    @property
    def home(self) -> tuple[str, str]:
        """The module that a program imports it from, and its name there."""
        if isinstance(self.made_by, Task) or ":" in self.called:
            module, _, name = self.called.partition(":")
        else:
            module, name = self.made_by.__module__, self.made_by.__qualname__
        return (_LIBRARY if module.startswith(f"{_LIBRARY}.") else module), name


def kind_called(name: str) -> Kind:
    """The kind of node that a document calls `name`. Raises `UnknownKindError`."""
    if ":" in name:
        return kind_of(_at(*name.split(":", 1)), name)
    try:
        return kind_of(node_registry.get(name), name)
    except UnknownNodeError as error:
        raise UnknownKindError(str(error)) from error


def kind_of(made_by: type[FlowNode] | Task[..., Any], called: str) -> Kind:
    """The kind that a node class or a task is, which a document calls so."""
    if isinstance(made_by, Task):
        connectors = connectors_of(made_by)
        inbound, outbound = _by_id(connectors.inbound), _by_id(connectors.outbound)
        return Kind(called, made_by, made_by.name, inbound, outbound, {}, tuple(made_by.parameters))
    found = definition_of(made_by)
    inbound, outbound = _by_id(found.inbound), _by_id(found.outbound)
    fields = {each.id: each for each in found.fields}
    return Kind(called, made_by, found.node_type, inbound, outbound, fields, (*fields, *inbound), found.each)


def type_name(made_by: type[FlowNode] | Task[..., Any]) -> str:
    """What a document calls the kind: a node's type, or where a task lives."""
    return made_by.location if isinstance(made_by, Task) else definition_of(made_by).node_type


def check_home(kind: Kind) -> None:
    """Raise `UnknownKindError` unless a program can import the kind from where it lives."""
    module, name = kind.home
    if module == "__main__":
        raise UnknownKindError("is defined in the program itself, which no module can import; move it into a module")
    if held_at(module, name) is not kind.made_by:
        raise UnknownKindError(f"is no name at the top level of the module {module!r}; define it there")
    if not all(each.isidentifier() and not keyword.iskeyword(each) for each in (*module.split("."), name)):
        raise UnknownKindError(f"is {name!r} in {module!r}, which Python code can't import by that name; rename it")


def held_at(module: str, name: str) -> object:
    """What an imported module has by that name at its top level; None when there is nothing."""
    return getattr(sys.modules.get(module), name, None)


def own_module(made_by: type[FlowNode] | Task[..., Any]) -> str | None:
    """The module that a document must name for the kind to be found; None when it is found without, or can't be."""
    if isinstance(made_by, Task) or made_by.__module__ == "__main__" or made_by.__module__.split(".")[0] == "dagy":
        return None
    return made_by.__module__


def only_connector(kinds: Mapping[str, str], node_id: str, way: Literal["inbound", "outbound"]) -> str:
    """The id of the one connector of a node that goes that way, given what each node's kind is called.

    `NodeGraphError` when there is no such node, or kind, or several connectors.
    """
    if node_id not in kinds:
        raise NodeGraphError(f"there is no node {node_id!r} to lead an edge to{did_you_mean(node_id, kinds)}")
    try:
        kind = kind_called(kinds[node_id])
    except UnknownKindError as error:
        raise NodeGraphError(f"node {node_id!r}: {error}") from error
    found = kind.inbound if way == "inbound" else kind.outbound
    if len(found) != 1:
        told = f"the {way} connectors {', '.join(map(repr, found))}" if found else f"no {way} connector"
        raise NodeGraphError(
            f"node {node_id!r} has {told}; name both: with_edge(source, source_connector, target, target_connector)"
        )
    return next(iter(found))


def look_beside(path: Path | None) -> None:
    """Let modules be found that lie beside the file at `path`, before any others."""
    if path is not None and (folder := str(path.parent)) not in sys.path:
        sys.path.insert(0, folder)


def fault_of_importing(name: str) -> str:
    """Import the module; what went wrong, if something did, else nothing."""
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever the user's code raises)
        return sentence(error)
    return ""


def _at(module: str, name: str) -> type[FlowNode] | Task[..., Any]:
    """The task or the node class at that place."""
    if fault := fault_of_importing(module):
        raise UnknownKindError(f"module {module!r} can't be imported: {fault}")
    held = vars(sys.modules[module])
    found = held.get(name)
    if isinstance(found, Task) or is_node_class(found):
        return found
    known = [each for each, value in held.items() if isinstance(value, Task) or is_node_class(value)]
    if name in held:
        raise UnknownKindError(
            f"{name!r} of module {module!r} is {shown(found)}, no task; decorate a function with @task"
        )
    hint = did_you_mean(name, known)
    if module == "__main__" and not hint:
        hint = "; the program that made the graph may have: move it from there into a module"
    raise UnknownKindError(f"module {module!r} has no task {name!r}{hint}")


def is_node_class(value: object) -> TypeGuard[type[FlowNode]]:
    """Whether it is a class of nodes."""
    return isinstance(value, type) and issubclass(value, FlowNode)


def _by_id(connectors: tuple[ConnectorDef, ...]) -> dict[str, ConnectorDef]:
    return {each.id: each for each in connectors}
