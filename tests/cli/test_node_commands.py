"""`dagy nodes`, and a graph of nodes where a file is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagy.cli.app import ExitCode
from dagy.nodes import NodeGraph, node_registry
from dagy.nodes.library import Limit, ReadCsv

from .conftest import Dagy, as_json

NODES = """
from dagy.nodes import node


@node(node_type="shout", label="Shout", category="transform")
def shout(text: str, times: int = 1) -> str:
    '''Makes a text loud.'''
    return text.upper() + "!" * times
"""


@pytest.fixture
def graph(workplace: Path) -> Path:
    """A document of two nodes, beside the file that it reads."""
    (workplace / "trips.csv").write_text("city,minutes\nOslo,12\nRiga,55\n")
    graph = NodeGraph("trips").with_node("read", ReadCsv(path="trips.csv")).with_node("first", Limit(n=1))
    path = workplace / "graph.json"
    graph.with_edge("read", "result", "first", "frame").with_result("first").save(path)
    return path


def test_node_types_are_listed_by_what_they_are_and_do(dagy: Dagy) -> None:
    code, out, err = dagy("nodes", "list", "csv")
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert {"read_csv", "write_csv"} <= {line.split()[0] for line in out.splitlines()[1:]}
    assert "sort" not in out
    _, out, _ = dagy("nodes", "list", "--category", "control", "--format", "json")
    assert "branch" in [each["node_type"] for each in as_json(out)]
    code, out, err = dagy("nodes", "list", "no such thing")
    assert (code, out) == (ExitCode.SUCCESS, "")
    assert "there is no such node type" in err


def test_a_node_type_is_shown_with_its_connectors_and_fields(dagy: Dagy) -> None:
    code, out, _ = dagy("nodes", "show", "filter")
    assert code is ExitCode.SUCCESS
    assert "takes        frame: dataframe, one" in out
    assert "operator: == | !=" in out
    _, out, _ = dagy("nodes", "show", "filter", "--format", "json")
    assert as_json(out)["config_schema"]["type"] == "object"


def test_a_node_type_that_is_not_there_is_not_found_and_the_nearest_is_named(dagy: Dagy) -> None:
    code, _, err = dagy("nodes", "show", "read_csvv")
    assert code is ExitCode.NOT_FOUND
    assert "there is no node type 'read_csvv'; did you mean 'read_csv'?" in err


def test_a_module_of_the_working_directory_adds_its_node_types(workplace: Path, dagy: Dagy) -> None:
    (workplace / "waiting.py").write_text(NODES)
    with node_registry.isolated():
        code, out, _ = dagy("nodes", "show", "shout", "--module", "waiting")
        assert code is ExitCode.SUCCESS
        assert "Makes a text loud." in out
        assert dagy("nodes", "list", "loud", "--module", "waiting.py")[1].splitlines()[1].split()[0] == "shout"
    code, _, err = dagy("nodes", "list", "--module", "nowhere")
    assert code is ExitCode.USAGE
    assert "module 'nowhere' can't be imported: ModuleNotFoundError" in err


def test_a_graph_that_is_well_is_said_to_be(graph: Path, dagy: Dagy) -> None:
    assert dagy("nodes", "validate", str(graph)) == (ExitCode.SUCCESS, f"{graph} is well: 2 nodes, 1 edge\n", "")


def test_all_faults_of_a_graph_are_said_at_once(graph: Path, dagy: Dagy) -> None:
    document = json.loads(graph.read_text())
    document["nodes"][0]["type"] = "read_csvv"
    document["nodes"][1]["config"] = {"n": "many"}
    graph.write_text(json.dumps(document))
    code, out, err = dagy("nodes", "validate", str(graph))
    assert (code, out) == (ExitCode.USAGE, "")
    assert "graph.json has 2 faults:" in err
    assert "did you mean 'read_csv'?" in err
    assert "'n'" in err


def test_a_graph_runs_and_is_built_as_a_file_of_flows_is(graph: Path, dagy: Dagy) -> None:
    code, out, err = dagy("run", "graph.json")
    assert code is ExitCode.SUCCESS, err
    assert "trips: COMPLETED" in out + err
    code, out, err = dagy("build", "graph.json", "--output-dir", "dist")
    assert code is ExitCode.SUCCESS, err
    assert out.strip().endswith("artifact.zip")


def test_a_json_file_that_is_no_graph_is_refused_in_a_sentence(workplace: Path, dagy: Dagy) -> None:
    (workplace / "data.json").write_text('[{"city": "Oslo"}]')
    for words in (("run", "data.json"), ("nodes", "validate", "data.json")):
        code, _, err = dagy(*words)
        assert code is ExitCode.USAGE
        assert "Traceback" not in err
        assert "data.json" in err
