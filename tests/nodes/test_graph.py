"""Graph documents: JSON out and in, the flow that they are, and the way back from a flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from dagy import flow
from dagy.errors import NodeGraphError
from dagy.nodes import GraphEdge, GraphParameter, NodeGraph, Position, Secret
from dagy.spec import Constant, FromParameter, FromTask, Json, ListOf

from .graph_documents import HERE, Frame, Halves, Number, Total, add, documents, gather, square


def sums() -> NodeGraph:
    """The half of 8, and a city's number, added."""
    return (
        NodeGraph("sums", modules=(HERE,))
        .with_parameter("more", "int", required=False, default=2)
        .with_node("eight", Number(value=8), label="Eight", position=Position(10, 20.5))
        .with_node("halves", Halves)
        .with_node("total", "doc_total", options={"retries": 1})
        .with_node("sum", add, {"right": {"$parameter": "more"}})
        .with_edge("eight", "result", "halves", "number")
        .with_edge("halves", "low", "total", "numbers")
        .with_edge("eight", "result", "total", "numbers")
        .with_edge("total", "result", "sum", "left")
        .with_result("sum")
    )


# The document.


def test_a_document_holds_what_is_not_as_by_default() -> None:
    assert sums().model_dump() == {
        "schema_version": 1,
        "name": "sums",
        "parameters": [{"name": "more", "type": "int", "required": False, "default": 2}],
        "nodes": [
            {
                "id": "eight", "type": "doc_number", "config": {"value": 8}, "position": {"x": 10, "y": 20.5},
                "label": "Eight",
            },
            {"id": "halves", "type": "doc_halves"},
            {"id": "total", "type": "doc_total", "options": {"retries": 1}},
            {"id": "sum", "type": f"{HERE}:add", "config": {"right": {"$parameter": "more"}}},
        ],
        "edges": [
            {"source": "eight", "source_connector": "result", "target": "halves", "target_connector": "number"},
            {"source": "halves", "source_connector": "low", "target": "total", "target_connector": "numbers"},
            {"source": "eight", "source_connector": "result", "target": "total", "target_connector": "numbers"},
            {"source": "total", "source_connector": "result", "target": "sum", "target_connector": "left"},
        ],
        "result": "sum",
        "modules": [HERE],
    }  # fmt: skip


def test_a_document_that_is_loaded_and_saved_has_the_same_bytes(tmp_path: Path) -> None:
    path = sums().save(tmp_path / "sums.json")
    before = path.read_bytes()
    loaded = NodeGraph.load(path)
    assert loaded == sums()
    assert loaded.save(tmp_path / "again.json").read_bytes() == before
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_a_designers_own_is_kept() -> None:
    data = {
        "name": "g",
        "metadata": {"zoom": 1.5},
        "nodes": [{"id": "a", "type": "doc_number", "metadata": {"colour": ["red"]}}],
    }
    assert NodeGraph.model_validate(data).model_dump() == {"schema_version": 1, **data}


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        ({"nodes": []}, ["the graph has no 'name', which it needs"]),
        (
            {"name": "g", "nodes": [{"id": "a", "type": "b", "cofig": {}}, {"type": 3}], "edgs": 1},
            [
                "node 'a' has the unknown field 'cofig'; did you mean 'config'?",
                "node 2 has no 'id', which it needs",
                "node 2: 'type' is 3: input should be a valid string",
                "the graph has the unknown field 'edgs'; did you mean 'edges'?",
            ],
        ),
        (
            {"name": "g", "nodes": [{"id": "a", "type": "b", "colour": "red", "position": {"x": 1}}]},
            [
                "position of node 'a' has no 'y', which it needs",
                "node 'a' has the unknown field 'colour'; what is your own belongs into metadata",
            ],
        ),
    ],
)
def test_all_that_is_wrong_with_a_documents_form_is_said_at_once(data: Any, faults: list[str]) -> None:
    with pytest.raises(NodeGraphError) as refused:
        NodeGraph.model_validate(data)
    assert sorted(refused.value.faults) == sorted(faults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", r"a graph's document is an object with 'name' and 'nodes', not \[\]"),
        ('{"name": "\ud800"}', "not JSON"),
        ('{"name": "g", "metadata": {"zoom": NaN}}', "not JSON"),
        ('{"name": "g", "schema_version": 2}', "schema_version is 2, and this Dagy reads up to 1; upgrade dagy"),
        ('{"name": "g", "schema_version": "1"}', "schema_version is '1', which no Dagy has written"),
    ],
)
def test_text_that_is_no_graph_is_refused_and_the_file_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "g.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(NodeGraphError, match=message) as refused:
        NodeGraph.load(tmp_path / "g.json")
    assert "g.json' is no graph of nodes" in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NodeGraphError, match=r"none\.json' can't be read: No such file"):
        NodeGraph.load(tmp_path / "none.json")


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud800"])
def test_what_json_can_not_hold_is_not_saved(tmp_path: Path, value: object) -> None:
    graph = NodeGraph("g").with_node("a", "doc_number", {"value": value})
    with pytest.raises(NodeGraphError, match="graph 'g' can't be written as JSON"):
        graph.save(tmp_path / "g.json")
    assert list(tmp_path.iterdir()) == []


def test_the_json_schema_describes_the_document() -> None:
    jsonable = json.loads(json.dumps(NodeGraph.model_json_schema()))
    assert jsonable["required"] == ["name"]
    assert jsonable["additionalProperties"] is False


# Building one.


def test_an_edge_between_single_connectors_needs_no_names() -> None:
    graph = sums().with_node("more", square).with_edge("eight", "more")
    assert graph.edges[-1] == GraphEdge("eight", "result", "more", "number")


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (("halves", "total"), "node 'halves' has the outbound connectors 'low', 'high'; name both: with_edge"),
        (("sum", "eight"), "node 'eight' has no inbound connector"),
        (("eigt", "sum"), "there is no node 'eigt' to lead an edge to; did you mean 'eight'"),
        (("odd", "sum"), "node 'odd': there is no node type 'doc_odd'"),
    ],
)
def test_an_edge_without_names_is_refused_where_it_is_not_clear(ends: tuple[str, str], message: str) -> None:
    with pytest.raises(NodeGraphError, match=message):
        sums().with_node("odd", "doc_odd").with_edge(*ends)


def test_a_node_of_something_else_is_refused() -> None:
    with pytest.raises(NodeGraphError, match="node 'a' is made of 5; give a node class, a @task, or the text of a ty"):
        NodeGraph("g").with_node("a", 5)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(NodeGraphError, match=r"takes no 'value'; it has .*; a node's configuration is a dict: with_no"):
        NodeGraph("g").with_node("a", Number, value=1)


# The flow.


def test_each_node_becomes_the_task_of_its_id() -> None:
    spec = sums().spec
    assert [(task.id, task.name) for task in spec.tasks] == [
        ("eight", "eight"), ("halves", "halves"), ("total", "total"), ("sum", "sum"),
    ]  # fmt: skip
    assert spec.task("total").inputs == {"numbers": ListOf((FromTask("halves", ("low",)), FromTask("eight")))}
    assert spec.task("sum").inputs == {"left": FromTask("total"), "right": FromParameter("more")}
    assert spec.task("total").options.retries == 1
    assert spec.result == FromTask("sum")


def test_a_graph_runs_as_the_flow_that_it_is() -> None:
    assert sums().run_local(more=5).value == 17
    assert sums().flow()() == 14


def test_nodes_are_called_in_the_order_of_their_edges() -> None:
    nodes = reversed(sums().nodes)
    spec = NodeGraph("sums", nodes=tuple(nodes), edges=sums().edges, parameters=sums().parameters, modules=(HERE,)).spec
    assert [task.id for task in spec.tasks] == ["eight", "halves", "total", "sum"]


def test_a_node_can_wait_for_others_and_run_for_each_item() -> None:
    graph = (
        NodeGraph("g", modules=(HERE,))
        .with_node("first", Number, {"value": 1})
        .with_node("squares", square, {"number": [1, 2, 3]}, each=("number",), after=("first",))
        .with_node("total", Total)
        .with_edge("squares", "result", "total", "numbers")
        .with_result("total")
    )
    assert graph.spec.task("squares").mapped == ("number",)
    assert graph.spec.task("squares").after == ("first",)
    assert graph.run_local().value == 14


def test_a_secret_is_named_in_the_flow_and_not_told() -> None:
    graph = NodeGraph("g", modules=(HERE,)).with_node("a", Number(value=1, key=Secret("TOKEN")))
    assert graph.nodes[0].config == {"value": 1, "key": {"$secret": "TOKEN"}}
    assert graph.spec.task("a").inputs["key"] == Constant({"$secret": "TOKEN"})


def test_a_default_is_of_the_type_of_its_parameter() -> None:
    graph = NodeGraph(
        "g", parameters=(GraphParameter("day", "date | None", False, "2026-01-31"),), result={"$parameter": "day"}
    )
    assert graph.spec.parameters[0].annotation == "date | None"
    assert str(graph.flow().parameters.check({"day": "2026-01-31"})["day"]) == "2026-01-31"


def test_a_graph_that_can_not_be_drawn_shows_why() -> None:
    assert "no node type 'nothing'" in NodeGraph("g").with_node("a", "nothing")._repr_mimebundle_()["text/plain"]
    assert "svg" in sums()._repr_mimebundle_()["text/html"]


# From a flow.


@flow(version="2", retries=1)
def drawn(city: str, limit: int = 3) -> Any:
    """What is drawn."""
    first = Number(value=limit).with_options(timeout_seconds=5, isolation="thread")()
    second = Number(value=2)()
    ways = Halves()(first, other=city)
    total = Total().after(second)([ways["low"], ways["high"]])
    squares = square.map([1, first, ways["low"]])
    return {"sum": add(total, (second, city["x"]), third=squares), "rest": gather(1, second, key={1: total})}


def test_the_graph_of_a_flow_is_the_flow_again() -> None:
    graph = NodeGraph.from_flow(drawn)
    assert graph.spec == drawn.spec
    assert graph.modules == (HERE,)
    assert NodeGraph.model_validate_json(graph.model_dump_json()).spec == drawn.spec


def test_the_graph_of_a_flow_has_edges_by_connector_and_stands_in_columns() -> None:
    graph = NodeGraph.from_flow(drawn)
    assert GraphEdge("doc_halves", "low", "doc_total", "numbers") in graph.edges
    places = {each.id: each.position for each in graph.nodes}
    assert places["doc_number"].x < places["doc_halves"].x < places["doc_total"].x
    assert len({(each.x, each.y) for each in places.values()}) == len(places)


def test_options_and_names_of_a_flows_tasks_come_along() -> None:
    @flow
    def named() -> None:
        Number().with_options(name="a")()
        Number().with_options(name="a-2")()
        Number().with_options(name="a", retries=2, retry_delay_seconds=[1, 2])()

    graph = NodeGraph.from_flow(named)
    assert [(each.id, dict(each.options)) for each in graph.nodes] == [
        ("a", {}),
        ("a-2", {"name": "a-2"}),
        ("a-3", {"retries": 2, "retry_delay_seconds": [1.0, 2.0]}),
    ]
    assert graph.spec == named.spec


def test_what_no_document_can_hold_is_refused_by_task() -> None:
    from dagy import task

    @task
    def inner(value: object) -> None: ...

    @flow
    def held() -> None:
        inner(1)

    @flow
    def other() -> None:
        add(object())

    with pytest.raises(NodeGraphError, match=r"task 'inner' is called .*inner' in .*; define it at the top level"):
        NodeGraph.from_flow(held)
    with pytest.raises(
        NodeGraphError, match="task 'add': its input 'left' is a value of type object, which JSON can't"
    ):
        NodeGraph.from_flow(other)


@settings(max_examples=10)
@given(documents())
def test_any_graph_is_the_same_through_json_and_through_its_flow(graph: NodeGraph) -> None:
    text = graph.model_dump_json(indent=2)
    again = NodeGraph.model_validate_json(text)
    assert again == graph
    assert again.model_dump_json(indent=2) == text
    assert NodeGraph.from_flow(graph.flow()).spec == graph.spec


def test_what_a_node_requires_is_in_the_spec() -> None:
    assert requirements() == ("pandas",)
    assert requirements(engine="polars") == ("polars",)
    assert requirements(engine={"$parameter": "engine"}) == ("pandas", "polars")
    with pytest.raises(NodeGraphError, match=r"requirements\(\) must return a list of packages' names, not 'dask'"):
        requirements(engine="dask")


def requirements(**config: Json) -> tuple[str, ...]:
    """What a frame of that configuration requires."""
    graph = NodeGraph("g", modules=(HERE,)).with_parameter("engine").with_node("f", Frame, config)
    node = graph.spec.task("f").node
    assert node is not None
    return node.requires
