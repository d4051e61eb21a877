"""`dagy nodes`: the node types that there are, and graphs made of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from dagy.cli import output
from dagy.cli.completing import node_types
from dagy.cli.formats import Form, cut, facts, format_option, show, table
from dagy.drawing import counted
from dagy.errors import NodeGraphError, SourceError, UnknownNodeError
from dagy.nodes import (
    ConnectorDef,
    DataType,
    FlowNode,
    NodeCategory,
    NodeConfigField,
    NodeGraph,
    definition_of,
    node_registry,
)
from dagy.nodes.graph_kinds import fault_of_importing

_DESCRIPTION_WIDTH = 60  # characters

_modules_option = click.option(
    "-m",
    "--module",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Import this module first, which defines node types; from the working directory too. Once for each.",
)


@click.group("nodes", short_help="Show node types, and check graphs made of them.")
def command() -> None:
    """Show the node types that there are, and check graphs made of them.

    Types come with Dagy, with installed packages, and from modules of your own (--module).

    \b
    Examples:
      dagy nodes list
      dagy nodes list csv
      dagy nodes show read_csv
      dagy nodes validate graph.json
    """


@command.command("list", short_help="List node types, or those that match.")
@click.argument("text", default="")
@click.option(
    "--category", type=click.Choice([str(each) for each in NodeCategory]), help="Only those of this category."
)
@click.option(
    "--accepts", type=click.Choice([str(each) for each in DataType]), help="Only those that take data of this type."
)
@click.option(
    "--gives", type=click.Choice([str(each) for each in DataType]), help="Only those that give data of this type."
)
@_modules_option
@format_option
def list_nodes(
    text: str, category: str | None, accepts: str | None, gives: str | None, modules: Sequence[str], form: Form
) -> None:
    """List the node types whose type, label, description or tags hold TEXT; all of them without it.

    \b
    Examples:
      dagy nodes list
      dagy nodes list csv
      dagy nodes list --accepts dataframe
      dagy nodes list --format json
    """
    _import(modules)
    found = node_registry.find(
        text,
        category=NodeCategory(category) if category else None,
        accepts=DataType(accepts) if accepts else None,
        gives=DataType(gives) if gives else None,
    )
    if not found and form == "table":
        output.note("there is no such node type" + ("" if modules else "; --module names a module of your own"))
    wanted = {definition_of(each).node_type for each in found}
    catalog = [each for each in node_registry.catalog() if each["node_type"] in wanted]
    show(form, catalog, lambda: _listed(found))


@command.command("show", short_help="Show a node type: its connectors and its configuration.")
@click.argument("node_type", shell_complete=node_types)
@_modules_option
@format_option
def show_node(node_type: str, modules: Sequence[str], form: Form) -> None:
    """Show what the node type takes, what it gives, and how it is configured.

    \b
    Examples:
      dagy nodes show read_csv
      dagy nodes show read_csv --format json
    """
    _import(modules)
    try:
        found = node_registry.get(node_type)
    except UnknownNodeError:
        if not modules:
            output.note("--module names a module of your own that defines types")
        raise
    data = next(each for each in node_registry.catalog() if each["node_type"] == node_type)
    show(form, data, lambda: facts([*_facts(found)]))


@command.command("validate", short_help="Check a graph of nodes; all that is wrong with it.")
@click.argument("graph", type=click.Path(path_type=Path))
def validate(graph: Path) -> None:
    """Check the graph of nodes in the JSON file GRAPH, and say all that is wrong with it.

    Nothing of it is run, but the modules that it names are imported, which runs their code.

    \b
    Examples:
      dagy nodes validate graph.json
    """
    read = NodeGraph.load(graph)
    faults = read.faults()
    for each in faults:
        if each.is_note:
            output.note(f"note: {each}", color="yellow")
    wrong = [str(each) for each in faults if not each.is_note]
    if wrong:
        raise NodeGraphError(f"{graph} has {counted(len(wrong), 'fault')}:", wrong)
    output.say(f"{graph} is well: {counted(len(read.nodes), 'node')}, {counted(len(read.edges), 'edge')}")


def _import(modules: Sequence[str]) -> None:
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    for each in modules:
        if each.endswith(".py"):
            each = ".".join(Path(each).with_suffix("").parts)
        fault = fault_of_importing(each)
        if fault:
            raise SourceError(f"module {each!r} can't be imported: {fault}")


def _listed(found: Sequence[type[FlowNode]]) -> str:
    rows = []
    for each in found:
        known = definition_of(each)
        named = known.metadata
        ends = (_types_of(known.inbound), _types_of(known.outbound))
        rows.append((named.node_type, str(named.category), *ends, cut(named.description, _DESCRIPTION_WIDTH)))
    return table(("TYPE", "CATEGORY", "TAKES", "GIVES", "WHAT IT DOES"), rows) if rows else ""


def _types_of(connectors: Sequence[ConnectorDef]) -> str:
    return " ".join(dict.fromkeys("|".join(sorted(each.data_types)) for each in connectors))


def _facts(found: type[FlowNode]) -> Iterator[tuple[str, str]]:
    known = definition_of(found)
    named = known.metadata
    yield "type", named.node_type
    yield "label", named.label
    if named.description:
        yield "description", named.description
    yield "category", str(named.category)
    yield "version", named.version
    yield "class", f"{found.__module__}.{found.__qualname__}"
    if named.requires:
        yield "requires", ", ".join(named.requires)
    for name, connectors in (("takes", known.inbound), ("gives", known.outbound)):
        for each in connectors:
            yield name, _connector(each)
    for field in known.fields:
        yield "config", _field(field)


def _connector(connector: ConnectorDef) -> str:
    types = " or ".join(sorted(connector.data_types))
    told = f"{connector.id}: {types}, {str(connector.cardinality).replace('_', ' ')}"
    told += ", item by item" if connector.each else ""
    return f"{told}. {connector.description}" if connector.description else told


def _field(field: NodeConfigField) -> str:
    choices = " | ".join(map(str, field.choices))
    told = f"{field.id}: {choices or field.type}"
    told += ", required" if field.required else f", default {field.default!r}" if field.default is not None else ""
    return f"{told}. {field.description}" if field.description else told
