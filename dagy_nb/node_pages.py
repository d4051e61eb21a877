"""The node types there are, as a table; and one of them as a page: what it takes, gives and is configured with."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagy.drawing import markup_line, plain_line
from dagy.nodes import ConfigFieldType, ConnectorDef, FlowNode, NodeConfigField, NodeDefinition, definition_of
from dagy_nb.tables import NO_MATH, Listing, html_table, text_lines

_HEAD = ("TYPE", "WHAT IT IS", "CATEGORY", "TAKES", "GIVES", "FROM")
_CONNECTORS = ("CONNECTOR", "", "TYPE", "HOW MANY", "WHAT IT IS")
_FIELDS = ("FIELD", "TYPE", "DEFAULT", "WHAT IT IS")
_LONGEST = 70  # characters of a description in a table
_LIBRARY = "dagy.nodes.library"
_HOW_MANY = {"one": "one", "zero_or_one": "one, or none", "one_or_many": "a list", "zero_or_many": "a list, or none"}


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node type, as `%dagy_nodes` lists it."""

    node_type: str
    label: str
    category: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    origin: str  # the cell that defines it, else its module
    cls: type[FlowNode]


def node_listing(classes: Iterable[type[FlowNode]], cells: Mapping[str, str], *, nothing: str) -> Listing[NodeRow]:
    """The node types as a table; `cells` are the labels of those that the notebook's own cells define, by type.

    `nothing` is what it says when there are none.
    """
    rows = tuple(_row(each, cells) for each in classes)
    note = "%dagy_nodes TYPE shows one, with its connectors and its configuration" if rows else ""
    return Listing(
        rows,
        _HEAD,
        tuple(
            (each.node_type, each.label, each.category, ", ".join(each.takes), ", ".join(each.gives), each.origin)
            for each in rows
        ),
        nothing,
        note,
    )


@dataclass(frozen=True, repr=False)
class NodePage:
    """All that there is to know of one node type before it is used; shows itself."""

    cls: type[FlowNode]
    origin: str  # the cell that defines it, else its module

    @property
    def definition(self) -> NodeDefinition:
        """The node's class as data."""
        return definition_of(self.cls)

    @property
    def example(self) -> str:
        """How it is used, as Python."""
        return example_of(self.cls)

    @property
    def _title(self) -> str:
        metadata = self.definition.metadata
        return f"{metadata.node_type}: {metadata.label} ({metadata.category}, version {metadata.version})"

    @property
    def _notes(self) -> list[str]:
        requires = self.definition.metadata.requires
        return [f"from {self.origin}", *([f"needs {', '.join(requires)}"] if requires else [])]

    @property
    def _tables(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        definition = self.definition
        fields = {each.id: each for each in definition.fields}
        connectors = [_connector(each, "in") for each in definition.inbound]
        connectors += [_connector(each, "out") for each in definition.outbound]
        found = [(_CONNECTORS, connectors), (_FIELDS, [_field(each, fields) for each in definition.fields])]
        return [_without_empty_columns(head, rows) for head, rows in found if rows]

    def __repr__(self) -> str:
        description = self.definition.metadata.description
        lines = [plain_line(self._title), *([plain_line(description)] if description else [])]
        for head, rows in self._tables:
            lines += ["", *text_lines(head, rows)]
        return "\n".join([*lines, "", *self.example.split("\n"), "", *self._notes])

    def _repr_html_(self) -> str:
        tables = "".join(html_table(head, rows) for head, rows in self._tables)
        return (
            f'<div class="{NO_MATH}"><div><b>{markup_line(self._title)}</b></div>'
            f"<div>{markup_line(self.definition.metadata.description)}</div>{tables}"
            f"<pre>{'<br/>'.join(markup_line(each) for each in self.example.split(chr(10)))}</pre>"
            f'<div style="font-size:12px;opacity:.75">{markup_line("; ".join(self._notes))}</div></div>'
        )


def origin_of(cls: type[FlowNode], cells: Mapping[str, str]) -> str:
    """Where a node class comes from: the notebook's cell, Dagy's library, or its module."""
    home = cells.get(definition_of(cls).node_type) or cls.__module__
    return "dagy.nodes.library" if home.startswith(_LIBRARY) else home


def card_of(cls: type[FlowNode]) -> str:
    """The node in a line: what it is called, takes, is configured with and gives."""
    definition = definition_of(cls)
    takes = f"takes {', '.join(map(_port, definition.inbound))} and " if definition.inbound else ""
    gives = f"gives {', '.join(map(_port, definition.outbound)) or 'nothing'}"
    configured = f"; configured by {', '.join(each.id for each in definition.fields)}" if definition.fields else ""
    return f"node {definition.node_type!r} {takes}{gives}{configured}"


def example_of(cls: type[FlowNode], config: Mapping[str, object] | None = None) -> str:
    """A call of the node as Python; `config` are the values of its fields, else those that it needs."""
    definition = definition_of(cls)
    wanted = [each for each in definition.inbound if each.required]
    told = config
    if told is None:
        free = [each for each in definition.fields if not each.visible_when]
        shown = [each for each in free if each.required]
        shown = shown or [each for each in free if each.default in (None, "") or not wanted][:1]
        told = {each.id: _example_value(each) for each in shown}
    values = ", ".join(f"{name}={value!r}" for name, value in told.items())
    inputs = ", ".join(f"{each.id}={each.id}" for each in wanted)
    result = "result" if len(definition.outbound) > 1 else next((each.id for each in definition.outbound), "")
    call = f"{f'{result} = ' if result else ''}{cls.__name__}({values})({inputs})"
    parts = [f'{result}["{each.id}"]' for each in definition.outbound] if len(definition.outbound) > 1 else []
    home = _LIBRARY if cls.__module__.startswith(_LIBRARY) else cls.__module__
    imported = [] if home == "__main__" else [f"from {home} import {cls.__name__}", ""]
    return "\n".join([*imported, call, *([", ".join(parts)] if parts else [])])


def bounds_of(field: NodeConfigField) -> str:
    """`from 1 to 9`, `1 or more`, `9 or less`; empty: it has none."""
    match field.minimum, field.maximum:
        case None, None:
            return ""
        case low, None:
            return f"{low:g} or more"
        case None, high:
            return f"{high:g} or less"
        case low, high:
            return f"from {low:g} to {high:g}"


def _row(cls: type[FlowNode], cells: Mapping[str, str]) -> NodeRow:
    definition = definition_of(cls)
    metadata = definition.metadata
    return NodeRow(
        metadata.node_type,
        _short(metadata.description or metadata.label),
        str(metadata.category),
        tuple(_port(each) for each in definition.inbound),
        tuple(_port(each) for each in definition.outbound),
        origin_of(cls, cells),
        cls,
    )


def _short(text: str) -> str:
    """Its first sentence, as many words of it as fit into a table."""
    first = re.split(r"(?<=[.;]) |\n", text, maxsplit=1)[0].rstrip(".;")
    return textwrap.shorten(first, _LONGEST, placeholder=" …")


def _port(connector: ConnectorDef) -> str:
    types = _types(connector)
    return connector.id if types == "any" else f"{connector.id}: {types}"


def _types(connector: ConnectorDef) -> str:
    return " | ".join(sorted(map(str, connector.data_types)))


def _without_empty_columns(
    head: tuple[str, ...], rows: list[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    kept = [place for place in range(len(head)) if any(row[place] for row in rows)]
    first, *others = [tuple(row[place] for place in kept) for row in (head, *rows)]
    return first, others


def _connector(each: ConnectorDef, way: str) -> tuple[str, ...]:
    many = _HOW_MANY[str(each.cardinality)] + (", each item by itself" if each.each else "")
    name = each.description or ("" if each.name.casefold() == each.id.casefold() else each.name)
    return each.id, way, _types(each), many, name


def _field(each: NodeConfigField, others: Mapping[str, NodeConfigField]) -> tuple[str, ...]:
    kind = str(each.type)
    if each.choices:
        kind = f"{kind}: {', '.join(map(str, each.choices))}"
    kind = f"{kind} {bounds_of(each)}".rstrip()
    default = "" if each.default in (None, "") else repr(each.default)
    conditions = [_condition(others[name], values) for name, values in each.conditions.items()]
    when = f"Only when {' and '.join(conditions)}." if conditions else ""
    needed = "needed" if each.required and each.default is None else default
    return each.id, kind, needed, " ".join(filter(None, [each.description, when]))


def _condition(field: NodeConfigField, values: Sequence[object]) -> str:
    """`mode is 'append'`, or the values that it is not where these are fewer."""
    others = [each for each in field.choices if each not in values]
    told, is_it = (others, "is not") if 0 < len(others) < len(values) else (values, "is")
    return f"{field.id} {is_it} {' or '.join(map(repr, told))}"


def _example_value(each: NodeConfigField) -> object:
    if each.default not in (None, ""):
        return each.default
    if each.choices:
        return each.choices[0]
    match each.type:
        case ConfigFieldType.JSON:
            return _json(each.placeholder)
        case ConfigFieldType.NUMBER | ConfigFieldType.INTEGER:
            low = max(1, each.minimum or 0)
            return low if each.maximum is None else min(low, each.maximum)
        case ConfigFieldType.BOOLEAN:
            return True
        case ConfigFieldType.SECRET:
            return _Written(f'Secret("{each.id.upper()}")')
        case _:
            return each.placeholder or _ELLIPSIS


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return _ELLIPSIS


@dataclass(frozen=True)
class _Written:
    """A value that is shown as this text."""

    text: str

    def __repr__(self) -> str:
        return self.text


_ELLIPSIS = _Written("...")
