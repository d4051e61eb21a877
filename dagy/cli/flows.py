"""`dagy flows`: the flows that were registered, and their versions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from dagy.cli import output
from dagy.cli.completing import flow_names
from dagy.cli.formats import Form, cut, facts, format_option, plain, profile_option, show, table
from dagy.cli.planes import connected_if_any, taken
from dagy.drawing import ago, text_tree
from dagy.errors import UnknownFlowError
from dagy.spec import FlowSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagy.control import FlowVersion

_namespace_option = click.option("--namespace", help="Of the flows of this namespace alone.")
_limit_option = click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)


@click.group("flows", short_help="Show the flows that were registered.")
def command() -> None:
    """Show the flows that deploys have registered, and the versions of each.

    \b
    Examples:
      dagy flows list
      dagy flows show web_scraper
      dagy flows versions web_scraper
    """


@command.command("list", short_help="List flows, by name.")
@_namespace_option
@_limit_option
@profile_option
@format_option
def list_flows(namespace: str | None, limit: int, profile: str | None, form: Form) -> None:
    """List the flows, each with its newest version.

    \b
    Examples:
      dagy flows list
      dagy flows list --format json
    """
    with connected_if_any(profile) as client:
        asked = None if client is None else client.flows
        found = [] if asked is None else taken(limit, lambda n, after: asked(namespace=namespace, limit=n, after=after))
    if not found and form == "table":
        output.note("no flow is registered yet; dagy deploy registers one")
    show(form, found, lambda: _listed(found, profile))


@command.command("versions", short_help="List the versions of a flow, the newest first.")
@click.argument("flow", shell_complete=flow_names)
@_namespace_option
@_limit_option
@profile_option
@format_option
def versions(flow: str, namespace: str | None, limit: int, profile: str | None, form: Form) -> None:
    """List what was registered of FLOW, the newest first.

    \b
    Examples:
      dagy flows versions web_scraper
      dagy flows versions web_scraper --format yaml
    """
    with connected_if_any(profile) as client:
        if client is None:
            raise UnknownFlowError(flow, ())
        asked = client.flow_versions
        found = taken(limit, lambda number, after: asked(flow, namespace=namespace, limit=number, after=after))
    show(form, found, lambda: _listed(found, profile))


@command.command("show", short_help="Show a flow and its graph.")
@click.argument("flow", shell_complete=flow_names)
@click.option("--version", "flow_version", help="This version. [default: the newest]")
@click.option("--revision", type=click.IntRange(min=1), help="This revision of it. [default: the newest]")
@_namespace_option
@profile_option
@format_option
def show_flow(
    flow: str,
    flow_version: str | None,
    revision: int | None,
    namespace: str | None,
    profile: str | None,
    form: Form,
) -> None:
    """Show what is known of FLOW: its version, its parameters and its graph.

    \b
    Examples:
      dagy flows show web_scraper
      dagy flows show web_scraper --version 1.0.0 --format json
    """
    with connected_if_any(profile) as client:
        if client is None:
            raise UnknownFlowError(flow, ())
        found = client.flow(flow, namespace=namespace, version=flow_version, revision=revision)
        spec = client.flow_spec(found.name, namespace=found.namespace, version=found.version, revision=found.revision)
    show(form, {**plain(found), "spec": spec}, lambda: _shown(found, FlowSpec.model_validate(spec)))


def _listed(flows: Sequence[FlowVersion], profile: str | None) -> str:
    rows = [
        (cut(each.name, 40), each.label, each.namespace, f"{each.tasks:,}", each.code_hash[:12], _ago(each))
        for each in flows
    ]
    return table(("FLOW", "VERSION", "NAMESPACE", "TASKS", "CODE", "REGISTERED"), rows, profile=profile) if rows else ""


def _shown(flow: FlowVersion, spec: FlowSpec) -> str:
    told = [
        ("flow", flow.name),
        ("version", flow.label),
        ("namespace", flow.namespace or "(none)"),
        ("code", flow.code_hash),
        ("artifact", flow.artifact),
        ("registered", f"{flow.created_at.astimezone():%Y-%m-%d %H:%M:%S %Z}"),
    ]
    for each in spec.parameters:
        needed = "needed" if each.required else f"default {each.default!r}"
        told.append(("parameter", f"{each.name}{each.annotation and f': {each.annotation}'} ({needed})"))
    return f"{facts(told)}\n\n{text_tree(spec)}"


def _ago(flow: FlowVersion) -> str:
    return ago(max(0.0, time.time() - flow.created_at.timestamp()))
