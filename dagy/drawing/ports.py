"""The connectors of a flow's nodes, as a picture shows them: who is joined to whom where, and settings in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from dagy.drawing.escape import plain_line, plain_lines
from dagy.drawing.labels import names
from dagy.drawing.layers import End
from dagy.drawing.layout import Wire
from dagy.drawing.style import PORTS
from dagy.spec import (
    Binding,
    Constant,
    DictOf,
    FlowSpec,
    FromParameter,
    FromTask,
    Held,
    Json,
    ListOf,
    NodeSpec,
    PortSpec,
    TaskSpec,
    references,
)

_KINDS = {
    "dataframe": "table",
    "string": "text",
    "number": "number",
    "integer": "number",
    "boolean": "number",
    "datetime": "number",
    "json": "structure",
    "object": "structure",
    "list": "structure",
    "bytes": "file",
    "file": "file",
}
_ANY = "any"
_LONGEST_VALUE = 2_000  # characters of a setting
_MOST_PARTS = 50  # of a list or an object in it
_SECRET = "$secret"  # the key of what stands for a secret in a node's inputs


class Joint(NamedTuple):
    """What a connector is joined to."""

    task: str  # the task's id
    words: str  # what to call it: "read", or "split.kept" where that has several connectors on that side


@dataclass(frozen=True, slots=True)
class Port:
    """A connector on a picture."""

    id: str
    label: str  # its id in one line, which is what one writes
    name: str  # what people call it, where that says more; else empty
    types: str  # in words: "dataframe", "string or number", "any"
    kind: str  # the family of types: one of `dagy.drawing.style.PORTS`
    joined: tuple[Joint, ...]
    is_used: bool  # something comes in, or goes out

    @property
    def words(self) -> str:
        """It and its types in one line: `frame: dataframe`."""
        return f"{self.label}: {self.types}"

    @property
    def title(self) -> str:
        """All of it in one line, but for what it is joined to: `value (first value): any`."""
        return f"{self.label} ({self.name}): {self.types}" if self.name else self.words

    @property
    def ends(self) -> tuple[str, ...]:
        """What it is joined to, in words."""
        return tuple(each.words for each in self.joined)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a node is given beside what comes in by lines: `value` in words or lines of code, of a secret its name."""

    name: str
    value: str
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Connectors:
    """What a node has besides what a plain task has. Texts are the user's own, each as one line."""

    type: str
    category: str
    inbound: tuple[Port, ...]
    outbound: tuple[Port, ...]
    settings: tuple[Setting, ...]

    def as_json(self) -> dict[str, Json]:
        """The same for a message to a page, each connector with the path of its shape."""
        return {
            "type": self.type,
            "category": self.category,
            "inbound": [_as_json(each) for each in self.inbound],
            "outbound": [_as_json(each) for each in self.outbound],
            "settings": [
                {"name": each.name, "value": each.value, "is_secret": each.is_secret} for each in self.settings
            ],
        }


def _as_json(port: Port) -> dict[str, Json]:
    return {
        "id": port.id,
        "label": port.label,
        "types": port.types,
        "kind": port.kind,
        "shape": PORTS[port.kind].shape,
        "joined": [each._asdict() for each in port.joined],
    }


def connectors(spec: FlowSpec) -> dict[str, Connectors]:
    """For each task that is a node its connectors, each with what it is joined to, and its settings."""
    if not any(task.node for task in spec.tasks):
        return {}
    label = names(spec)
    sources, targets = defaultdict[End, list[Joint]](list), defaultdict[End, list[Joint]](list)
    nodes = {task.id: task.node for task in spec.tasks if task.node is not None}
    for wire in wires(spec):
        start, end = nodes.get(wire.source), nodes.get(wire.target)
        outlet = wire.outlet if start is not None and len(start.outbound) > 1 else ""
        inlet = wire.inlet if end is not None and len(end.inbound) > 1 else ""
        sources[wire.target, wire.inlet].append(_joint(wire.source, label[wire.source], outlet))
        targets[wire.source, wire.outlet].append(_joint(wire.target, label[wire.target], inlet))
    returned = {
        (each.task, _outlet(nodes.get(each.task), each))
        for each in (references(spec.result) if spec.result is not None else ())
        if isinstance(each, FromTask)
    }
    found = {}
    for task in spec.tasks:
        if task.node is None:
            continue
        known = {port.id for port in task.node.inbound}
        fed = [PortSpec(name, ()) for name in task.inputs if name not in known and (task.id, name) in sources]
        found[task.id] = Connectors(
            plain_line(task.node.type),
            task.node.category.lower(),
            tuple(
                _port(each, sources[task.id, each.id], is_used=each.id in task.inputs)
                for each in (*task.node.inbound, *fed)
            ),
            tuple(
                _port(each, to := targets[task.id, each.id], is_used=bool(to) or (task.id, each.id) in returned)
                for each in task.node.outbound
            ),
            tuple(_settings(task)),
        )
    return found


def wires(spec: FlowSpec) -> list[Wire]:
    """The lines between the tasks: to a node, one for each value that comes in, else one for each task needed."""
    nodes = {task.id: task.node for task in spec.tasks}
    found: dict[Wire, None] = {}
    for task in spec.tasks:
        joined = set()
        for name, binding in task.inputs.items():
            for each in references(binding):
                if isinstance(each, FromTask) and each.task in nodes:
                    joined.add(each.task)
                    wire = Wire(each.task, task.id, _outlet(nodes[each.task], each), name if task.node else "")
                    found[wire] = None
        found |= dict.fromkeys(Wire(each, task.id) for each in task.after if each in nodes and each not in joined)
    return list(found)


def _outlet(node: NodeSpec | None, reference: FromTask) -> str:
    """The outbound connector that the value comes from; empty: it is none's, or all of theirs."""
    if node is None:
        return ""
    if len(node.outbound) == 1:
        return node.outbound[0].id
    first = reference.path[0] if reference.path else ""
    return str(first) if any(port.id == first for port in node.outbound) else ""


def _joint(task: str, name: str, connector: str) -> Joint:
    return Joint(task, plain_line(f"{name}.{connector}" if connector else name))


def _port(port: PortSpec, joined: Sequence[Joint], *, is_used: bool) -> Port:
    types = [plain_line(each).lower() for each in port.types] or [_ANY]
    kinds = {_KINDS.get(each, _ANY) for each in types}
    return Port(
        port.id,
        plain_line(port.id),
        _name(port),
        " or ".join(sorted("JSON" if each == "json" else each for each in types)),
        kinds.pop() if len(kinds) == 1 else _ANY,
        tuple(joined),
        is_used,
    )


def _name(port: PortSpec) -> str:
    """The connector's label as a word among others; empty where its id says the same."""
    label = plain_line(port.label)
    if not label or label.replace(" ", "_").lower() == port.id.lower():
        return ""
    return label if label[1:2].isupper() else label[0].lower() + label[1:]


def _settings(task: TaskSpec) -> Iterable[Setting]:
    for name, binding in task.inputs.items():
        if not any(isinstance(each, FromTask) for each in references(binding)):
            secret = _secret(binding)
            words = plain_lines(secret or _words(binding))
            shown = words if len(words) <= _LONGEST_VALUE else f"{words[:_LONGEST_VALUE]}…"
            yield Setting(plain_line(name), shown, is_secret=bool(secret))


def _secret(binding: Binding) -> str:
    """The secret's name; empty: it is none."""
    value = binding.value if isinstance(binding, Constant) else None
    return str(value[_SECRET]) if isinstance(value, Mapping) and set(value) == {_SECRET} else ""


def _words(binding: Binding) -> str:
    match binding:
        case Constant(value=value):
            return _literal(value)
        case Held(type=name):
            return name
        case FromParameter(name=name, path=path) | FromTask(task=name, path=path):
            return ".".join(["$" + name, *map(str, path)])
        case ListOf(items=items):
            return _some(map(_words, items))
        case DictOf(items=pairs):
            return _some(f"{_literal(key)}: {_words(value)}" for key, value in pairs)


def _literal(value: Json) -> str:
    match value:
        case str():
            return value
        case list() | tuple():
            return _some(map(_literal, value))
        case dict():
            return _some(f"{key}: {_literal(each)}" for key, each in value.items())
        case _:
            return str(value)


def _some(parts: Iterable[str]) -> str:
    """The first parts, and `…` for the others."""
    parts = iter(parts)
    return ", ".join([*islice(parts, _MOST_PARTS), *("…" for _ in islice(parts, 1))])
