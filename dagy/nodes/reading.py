"""A graph document's file -> the text of a module: how `dagy` reads it (`dagy run graph.json`, `dagy build ...`).

It finds `read_graph` as an entry point. The modules that define the graph's nodes are imported for it, and afterwards
what of them is the user's own is as it was, so that it is read anew when the flow is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dagy.artifact.source import Reading, aside
from dagy.errors import NodeGraphError, SourceError
from dagy.nodes.graph import NodeGraph

if TYPE_CHECKING:
    from dagy.artifact.source import Roots


def read_graph(path: Path, *, roots: Roots = "flows") -> Reading:
    """What the graph document at `path` becomes as a module, its flow named after the graph.

    Raises `SourceError` for a file that is no graph, and `NodeGraphError` with all that is wrong with a graph.
    """
    try:
        graph = NodeGraph.load(path)
    except NodeGraphError as error:
        raise SourceError(str(error)) from error
    with aside(path.parent):
        notes = tuple(str(each) for each in graph.faults() if each.is_note)
        return Reading(graph.to_python(), warnings=notes)
