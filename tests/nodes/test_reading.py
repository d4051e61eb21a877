"""A graph document where a Python file could be: it is read, built, and run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact import build_artifact, flow_aside, load_flow, read_source
from dagy.errors import ArtifactError, NodeGraphError, SourceError
from dagy.nodes import NodeGraph, node_registry
from dagy.nodes.reading import read_graph

NODES = '''
from dagy import task
from dagy.nodes import ConnectorDef, ConnectorDirection, ExecutionContext, FlowNode, NodeMetadata

class Loud(FlowNode):
    """In capitals."""

    @classmethod
    def metadata(cls):
        return NodeMetadata("read_loud", requires=("hypothesis",))

    @classmethod
    def connectors(cls):
        return [
            ConnectorDef("text", "", ConnectorDirection.INBOUND, required=True),
            ConnectorDef("loud", "", ConnectorDirection.OUTBOUND),
        ]

    def execute(self, context):
        return context.get_upstream_data("text").upper()

@task
def greet(name: str) -> str:
    return f"hello {name}"
'''
GRAPH: dict[str, Any] = {
    "name": "greeting",
    "modules": ["nodes_beside"],
    "parameters": [{"name": "who", "type": "str", "required": False, "default": "you"}],
    "nodes": [
        {"id": "greet", "type": "nodes_beside:greet", "config": {"name": {"$parameter": "who"}}},
        {"id": "loud", "type": "read_loud"},
    ],
    "edges": [{"source": "greet", "source_connector": "result", "target": "loud", "target_connector": "text"}],
    "result": "loud",
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A graph, with the module of its nodes beside it; what is loaded of them is gone afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nodes_beside.py").write_text(NODES)
    (tmp_path / "greeting.json").write_text(json.dumps(GRAPH))
    with node_registry.isolated():
        yield tmp_path / "greeting.json"
    for name in ("nodes_beside", "greeting"):
        sys.modules.pop(name, None)


def test_a_graph_is_read_as_a_module_and_leaves_nothing_behind(path: Path) -> None:
    before = list(sys.path)
    reading = read_graph(path)
    assert "from nodes_beside import Loud, greet" in reading.text
    assert reading.warnings == ()
    assert "nodes_beside" not in sys.modules
    assert sys.path == before


def test_a_graphs_flow_runs_as_that_of_a_module(path: Path) -> None:
    source = read_source(path)
    assert (source.module, source.path) == ("greeting", path)
    with flow_aside(source) as flow:
        assert flow.run_local(who="me").value == "HELLO ME"
        spec = flow.spec
    graph = NodeGraph.load(path)
    assert graph.spec == spec
    assert graph.run_local().value == "HELLO YOU"


def test_a_file_that_is_no_graph_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("[1, 2]")
    with pytest.raises(SourceError, match=r"data\.json' is no graph of nodes: a graph's document is an object"):
        read_source(tmp_path / "data.json")
    (tmp_path / "data.json").write_text('{"rows": [')
    with pytest.raises(SourceError, match=r"data\.json' is no graph of nodes: not JSON"):
        read_source(tmp_path / "data.json")


def test_a_graph_with_faults_is_refused_with_all_of_them(path: Path) -> None:
    nodes = [GRAPH["nodes"][0], {"id": "loud", "type": "read_lout"}]
    path.write_text(json.dumps({**GRAPH, "result": "lout", "nodes": nodes}))
    with pytest.raises(NodeGraphError) as refused:
        read_source(path)
    assert len(refused.value.faults) == 2


def test_an_artifact_of_a_graph_holds_its_nodes_and_what_they_require(path: Path, tmp_path: Path) -> None:
    built = build_artifact(path, output_dir=tmp_path / "dist")
    assert [each.path for each in built.manifest.files] == ["greeting.py", "nodes_beside.py"]
    assert [each.partition("==")[0] for each in built.manifest.requirements] == ["hypothesis"]
    again = NodeGraph.load(path).flow()
    assert load_flow(read_source(path)).spec == again.spec
    in_memory = build_artifact(again, output_dir=tmp_path / "dist")
    assert in_memory.code_hash == built.code_hash
    assert not in_memory.is_new


def test_a_node_that_requires_what_is_not_installed_can_not_be_built(path: Path, tmp_path: Path) -> None:
    (tmp_path / "nodes_beside.py").write_text(NODES.replace("hypothesis", "no-such-package"))
    with pytest.raises(
        ArtifactError, match="node 'read_loud' needs 'no-such-package', which is not installed; install it"
    ):
        build_artifact(path, output_dir=tmp_path / "dist")


def test_looking_at_a_flow_leaves_the_registry_as_it_was(path: Path) -> None:
    graph = NodeGraph.load(path)
    graph.check()
    before = node_registry.get("read_loud")
    with flow_aside(read_source(path)) as flow:
        assert [task.id for task in flow.spec.tasks] == ["greet", "loud"]
    assert node_registry.get("read_loud") is before


def test_the_node_types_of_a_graph_that_was_read_do_not_stand_in_the_way_of_its_flow(path: Path) -> None:
    read_graph(path)
    read_graph(path)
    assert load_flow(read_source(path))() == "HELLO YOU"
    assert node_registry.get("read_loud").__module__ == "nodes_beside"
