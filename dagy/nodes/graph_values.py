"""The values in a graph document: JSON, and in it what stands for something that JSON does not have.

    {"$parameter": "city"}                      what the run is given for the flow's parameter
    {"$output": "rows", "connector": "yes"}     what another node gives at a connector; at all of them if none is named
    {"$secret": "WAREHOUSE_URL"}                a secret by its name, for a secret config field
    {"$tuple": [...]}  {"$set": [...]}          a tuple, a set
    {"$dict": [[key, value], ...]}              a dict whose keys are not all texts
    {"$literal": ...}                           what is in it, as it stands: no `$` in it means anything

A parameter and an output may have a `path`, the keys and indices that lead to a part of it. Read, a value is a
`Binding`, as the inputs of a `TaskSpec` are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from dagy.errors import did_you_mean, shown
from dagy.spec import Binding, Constant, DictOf, FromParameter, FromTask, Held, Json, ListOf, Path

# The ids of a node's outbound connectors, by the node's id. It may raise a `GraphValueError`, or an `UnknownKindError`.
Outbound: TypeAlias = Callable[[str], Sequence[str]]

SECRET = "$secret"
_EXTRA: Mapping[str, frozenset[str]] = {
    "$parameter": frozenset({"path"}),
    "$output": frozenset({"connector", "path"}),
    SECRET: frozenset(),
    "$tuple": frozenset(),
    "$set": frozenset(),
    "$dict": frozenset(),
    "$literal": frozenset(),
}
_KEYS = frozenset({str, int, bool, type(None)})


class GraphValueError(ValueError):
    """A value of a document that means nothing; its text says why."""


def mark_of(value: object) -> str | None:
    """Which of the marks above the value is, if it is one."""
    if type(value) is not dict or not value:
        return None
    mark = next(iter(value))
    extra = _EXTRA.get(mark)
    return mark if extra is not None and value.keys() - {mark} <= extra else None


def read_value(value: Json, outbound: Outbound) -> Binding:
    """What `value`, which is JSON, stands for. Raises `GraphValueError`."""
    if type(value) is dict:
        return _read_dict(value, outbound)
    if type(value) is list:
        items = tuple(read_value(each, outbound) for each in value)
        return Constant(value) if all(map(_is_plain, items)) else ListOf(items)
    return Constant(value)


def written_value(binding: Binding, outbound: Outbound) -> Json:
    """The JSON that `read_value` reads as `binding`. Raises `GraphValueError` for what JSON can't hold."""
    match binding:
        case Constant(value=value):
            return {"$literal": value} if _is_marked(value) else value
        case FromParameter(name=name, path=path):
            return {"$parameter": name, **({"path": list(path)} if path else {})}
        case FromTask(task=task, path=path):
            connectors = outbound(task)
            connector, rest = split_path(path, connectors)
            named = {"connector": connector} if connector is not None and len(connectors) > 1 else {}
            return {"$output": task, **named, **({"path": list(rest)} if rest else {})}
        case ListOf(items=items, form=form):
            values = [written_value(each, outbound) for each in items]
            return values if form == "list" else {f"${form}": values}
        case DictOf(items=pairs):
            values = [(key, written_value(each, outbound)) for key, each in pairs]
            if all(type(key) is str for key, _ in values) and mark_of(dict(values)) is None:
                return dict(values)
            return {"$dict": [list(each) for each in values]}
        case Held(type=kind):
            raise GraphValueError(_unwritable(kind))


def evaluated(binding: Binding, outputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """The Python value of `binding`, given what stands for each node's value and for each parameter while drawing."""
    match binding:
        case Constant(value=value):
            return value
        case FromTask(task=task, path=path):
            return _part(outputs[task], path)
        case FromParameter(name=name, path=path):
            return _part(parameters[name], path)
        case ListOf(items=items, form=form):
            found = [evaluated(each, outputs, parameters) for each in items]
            return found if form == "list" else tuple(found) if form == "tuple" else set(found)
        case DictOf(items=pairs):
            return {key: evaluated(each, outputs, parameters) for key, each in pairs}
        case Held(type=kind):
            raise GraphValueError(_unwritable(kind))


def output_path(connector: str, path: Path, connectors: Sequence[str]) -> Path:
    """Where in the value of a node with those outbound connectors the part at `path` of one of them is."""
    return (connector, *path) if len(connectors) > 1 else path


def split_path(path: Path, connectors: Sequence[str]) -> tuple[str | None, Path]:
    """The connector that a path into a node's value leads through, None for all of them, and the path from there."""
    if len(connectors) == 1:
        return connectors[0], path
    return (str(path[0]), path[1:]) if path and path[0] in connectors else (None, path)


def _read_dict(value: dict[str, Json], outbound: Outbound) -> Binding:
    match mark_of(value):
        case None:
            pairs = [(key, read_value(each, outbound)) for key, each in value.items()]
            return Constant(value) if all(_is_plain(each) for _, each in pairs) else DictOf(tuple(pairs))
        case "$parameter":
            return FromParameter(_text(value, "$parameter"), _path(value))
        case "$output":
            node, path = _text(value, "$output"), _path(value)
            connector: str | int | None = None if value.get("connector") is None else _text(value, "connector")
            if connector is None and not path:
                return FromTask(node)
            connectors = outbound(node)
            if connector is not None:
                path = output_path(str(connector), path, connectors)
            elif len(connectors) > 1:
                connector = path[0]
            if connector is not None and connector not in connectors:
                raise GraphValueError(f"takes {no_connector(node, connector, connectors)}")
            return FromTask(node, path)
        case "$literal":
            return Constant(value["$literal"])
        case "$dict":
            return _read_pairs(value["$dict"], outbound)
        case "$secret":
            raise GraphValueError(
                f"is the secret {shown(value[SECRET])}, which only a config field for secrets takes, and only as it is"
            )
        case mark:
            items = value[mark]
            if type(items) is not list:
                raise GraphValueError(f"has {mark!r} of {shown(items)}; it takes a list")
            return ListOf(tuple(read_value(each, outbound) for each in items), "set" if mark == "$set" else "tuple")


def _read_pairs(pairs: Json, outbound: Outbound) -> Binding:
    if type(pairs) is not list or not all(type(each) is list and len(each) == 2 for each in pairs):
        raise GraphValueError(f"has '$dict' of {shown(pairs)}; it takes a list of pairs, [[key, value], ...]")
    for key, _ in pairs:
        if type(key) not in _KEYS:
            raise GraphValueError(f"has a dict with the key {shown(key)}; keys are texts or whole numbers")
    if len({key for key, _ in pairs}) < len(pairs):
        raise GraphValueError(f"has '$dict' of {shown(pairs)}, with a key that is there twice")
    return DictOf(tuple((key, read_value(each, outbound)) for key, each in pairs))


def no_connector(node: str, connector: str | int, connectors: Sequence[str]) -> str:
    """`'rows' of node 'read', which gives only 'result'`, and what may have been meant."""
    if not connectors:
        return f"{connector!r} of node {node!r}, which gives nothing"
    hint = did_you_mean(str(connector), connectors) or f"; it gives {', '.join(map(repr, connectors))}"
    return f"{connector!r} of node {node!r}, which has no such outbound connector{hint}"


def _text(value: dict[str, Json], key: str) -> str:
    found = value[key]
    if type(found) is not str:
        raise GraphValueError(f"has {key!r} of {shown(found)}; it takes a name")
    return found


def _path(value: dict[str, Json]) -> Path:
    path = value.get("path", [])
    if type(path) is not list or not all(type(each) in (str, int) for each in path):
        raise GraphValueError(f"has the path {shown(path)}; a path is a list of keys and whole numbers")
    return tuple(path)


def _is_plain(binding: Binding) -> bool:
    return type(binding) is Constant


def _is_marked(value: Json) -> bool:
    """Whether there is a mark in the JSON value, so that it can't stand in a document as it is."""
    if type(value) is list:
        return any(map(_is_marked, value))
    return type(value) is dict and (mark_of(value) is not None or any(map(_is_marked, value.values())))


def _part(reference: Any, path: Path) -> Any:
    for key in path:
        reference = reference[key]
    return reference


def _unwritable(kind: str) -> str:
    return f"is a value of type {kind}, which JSON can't hold"
