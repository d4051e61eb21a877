"""A node graph is drawn, run, loaded and built as a notebook's own flow is."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

import pytest

from dagy.nodes import definition_of, node_registry
from tests.nb.conftest import NotebookShell

GRAPH = """
from dagy.nodes import NodeGraph
graph = (
    NodeGraph("growing")
    .with_parameter("by", "float", required=False, default=2)
    .with_node("start", numbers)
    .with_node("grow", scale, {"factor": {"$parameter": "by"}})
    .with_edge("start", "found", "grow", "rows")
    .with_result("grow")
)
"""


@pytest.fixture
def shell(notebook: NotebookShell) -> Iterator[NotebookShell]:
    """A notebook with two nodes of its own and a graph of them, in a variable and in a file."""
    with node_registry.isolated():
        notebook.ok("STEP = 1\ndef grown(value, factor):\n    return STEP * value * factor")
        notebook.ok("%%dagy_node numbers\nfound = [1, 2]")
        notebook.ok(
            "%%dagy_node scale --config factor:number=2 --takes rows:list\n"
            "scaled = [grown(each, factor) for each in rows]"
        )
        notebook.ok(GRAPH)
        notebook.ok("graph.save('graph.json')\nimport dagy_nb")
        yield notebook


@pytest.mark.parametrize("name", ["graph", "graph.json"])
def test_a_graph_is_drawn_with_its_connectors(shell: NotebookShell, name: str) -> None:
    ran = shell.ok(f"drawn = %dagy_dag {name}\ndrawn.spec.name, [each.node.type for each in drawn.spec.tasks]")
    assert ran.value == ("growing", ["numbers", "scale"])


@pytest.mark.parametrize("name", ["graph", "graph.json"])
def test_a_graph_runs_in_the_same_view(shell: NotebookShell, name: str) -> None:
    ran = shell.ok(f"run = %dagy_run {name} -p by=10")
    assert shell.ok("run.wait().value").value == [10, 20]
    assert "growing: COMPLETED" in ran.text


def test_the_functions_take_a_graph_too(shell: NotebookShell) -> None:
    assert shell.ok("dagy_nb.run(graph, by=3).wait().value").value == [3, 6]
    assert shell.ok("dagy_nb.dag(graph).spec.name").value == "growing"


def test_a_flow_of_the_notebook_goes_before_a_graph_of_its_name(shell: NotebookShell) -> None:
    shell.ok("from dagy import flow\n@flow(name='graph')\ndef other(): return 7")
    assert shell.ok("graph and dagy_nb.run('other').wait().value").value == 7


def test_every_fault_of_a_graph_is_told_without_a_traceback(shell: NotebookShell) -> None:
    shell.ok("bad = graph.with_node('x', 'scael').with_edge('start', 'found', 'grow', 'rowz')")
    for magic in ("dag", "run", "build"):
        told = shell.fails(f"%dagy_{magic} bad")
        assert "did you mean 'scale'?" in told
        assert "did you mean 'rows'?" in told
        assert "Traceback" not in told


def test_a_document_that_is_not_there_is_told_in_one_line(shell: NotebookShell) -> None:
    assert shell.fails("%dagy_run nowhere.json").startswith("UsageError: 'nowhere.json' can't be read")


def test_the_variable_of_a_graph_is_completed(shell: NotebookShell) -> None:
    assert "graph" in shell.session.flow_names()


def test_a_graph_is_loaded_as_the_flow_that_a_person_would_write(shell: NotebookShell) -> None:
    text = shell.ok("dagy_nb.load('graph.json')").value
    assert "@flow\ndef growing(by: float = 2):" in text
    assert "import numbers" not in text
    shell.ok(text)
    assert shell.ok("dagy_nb.run('growing', by=4).wait().value").value == [4, 8]


def test_the_build_of_a_graph_is_compared_with_the_graph(shell: NotebookShell) -> None:
    shell.ok("from dagy import flow\n@flow\ndef growing(): return 7", "flow")  # of the graph's name, and not built
    shell.ok("%dagy_build graph")
    assert [each.change for each in shell.ok("%dagy_status growing").value] == ["none"]
    assert [each.change for each in shell.ok("%dagy_status graph").value] == ["none"]
    shell.ok("graph = graph.with_result('start')")
    assert [(each.change, each.cell) for each in shell.ok("%dagy_status growing").value] == [("edited", "the graph")]


@pytest.mark.parametrize("how", ["dagy_nb.build(graph)", "build_artifact(graph.flow())"])
def test_a_graph_is_built_with_the_nodes_and_helpers_of_the_notebook(shell: NotebookShell, how: str) -> None:
    live = node_registry.get("scale")
    shell.ok(f"from dagy import build_artifact\nbuilt = {how}")
    built = shell.names["built"]
    assert built.flow_name == "growing"
    with zipfile.ZipFile(built.path) as archive:
        (module,) = [each for each in archive.namelist() if each.endswith("notebook.py")]
        text = archive.read(module).decode()
    assert all(each in text for each in ("def grown(", "def scale(", "def numbers(", "def growing("))
    assert node_registry.get("scale") is live
    assert definition_of(live).node_type == "scale"
