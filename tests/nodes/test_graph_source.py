"""A graph as Python: the same flow, in code that formatters leave as it is, whatever texts there are in the graph."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings

from dagy import Flow
from dagy.nodes import NodeGraph

from . import graph_documents
from .graph_documents import documents


def flow_of(text: str) -> Flow[..., Any]:
    """The flow that a module of that text defines."""
    names: dict[str, Any] = {"__name__": "made"}
    exec(compile(text, "made.py", "exec"), names)
    (found,) = (each for each in names.values() if isinstance(each, Flow))
    return found


@settings(max_examples=60)
@given(documents())
def test_the_code_of_a_graph_makes_the_same_flow(graph: NodeGraph) -> None:
    assert [str(each) for each in graph.faults() if not each.is_note] == []
    text = graph.to_python()
    ast.parse(text)
    assert flow_of(text).spec == graph.spec
