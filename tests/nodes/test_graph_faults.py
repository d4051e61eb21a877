"""What is wrong with a graph document is said all at once: the node, the value, the remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.errors import DagyError, NodeGraphError
from dagy.nodes import GraphEdge, GraphNode, GraphParameter, NodeGraph

from .graph_documents import HERE, SCALARS


def graph(**parts: Any) -> NodeGraph:
    """A graph of two numbers and their total, with other parts."""
    nodes = (
        GraphNode("one", "doc_number", {"value": 1}),
        GraphNode("two", "doc_number", {"value": 2}),
        GraphNode("total", "doc_total"),
        *parts.pop("nodes", ()),
    )
    edges = (
        GraphEdge("one", "result", "total", "numbers"),
        GraphEdge("two", "result", "total", "numbers"),
        *parts.pop("edges", ()),
    )
    return NodeGraph("g", **{"nodes": nodes, "edges": edges, "modules": (HERE,), **parts})


def told(found: NodeGraph) -> list[str]:
    """The faults, without notes."""
    return [each.message for each in found.faults() if not each.is_note]


def node(*args: Any, **more: Any) -> dict[str, Any]:
    """One more node."""
    return {"nodes": (GraphNode(*args, **more),)}


def test_a_sound_graph_has_no_faults() -> None:
    assert graph().faults() == ()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (node("a", "doc_nummer"), "node 'a': there is no node type 'doc_nummer'; did you mean 'doc_number'?"),
        (node("a", f"{HERE}:ad"), f"node 'a': module {HERE!r} has no task 'ad'; did you mean 'add'?"),
        (node("a", f"{HERE}:no_task"), f"node 'a': 'no_task' of module {HERE!r} is <function no_task at"),
        (
            node("a", "__main__:x"),
            "has no task 'x'; the program that made the graph may have: move it from there into a",
        ),
        (node("a", "no_such_module:add"), "node 'a': module 'no_such_module' can't be imported: ModuleNotFoundError"),
        (node("a", ":"), "node 'a': module '' can't be imported: ValueError: Empty module name"),
        (node("one", "doc_number"), "two nodes have the id 'one'; ids are unique, so give one another"),
        (node("", "doc_number"), "a node can't have the id '': a name has no space at its ends"),
        (node("a\n", "doc_number"), "a node can't have the id 'a\\n': a name has no space at its ends"),
        (
            node("a\x00b", "doc_number"),
            "a node can't have the id 'a\\x00b': a name has no line ends or other characters",
        ),
        (node("a" * 201, "doc_number"), "a name has at most 200 characters"),
        (
            node("a", "doc_number", {"valu": 1}),
            "node 'a' has no config field or inbound connector 'valu'; did you mean",
        ),
        (node("a", "doc_number", {"most": "many"}), "node 'a': 'most' "),
        (node("a", "doc_number", {"most": -1}), "node 'a': 'most' "),
        (node("a", "doc_number", {"key": "hunter2"}), "node 'a': "),
        (
            node("a", "doc_number", {"note": {"$secret": "K"}}),
            "'note' is the secret 'K', which only a config field for secr",
        ),
        (node("a", "doc_number", {"value": float("nan")}), "node 'a': 'value' is nan, which JSON can't hold"),
        (
            node("a", "doc_number", {"value": {"$parameter": "x"}}),
            "'value' takes parameter 'x', which the graph does not",
        ),
        (
            node("a", "doc_number", {"value": {"$output": "on"}}),
            "the output of node 'on', which is not there; did you mean 'one'",
        ),
        (
            node("a", "doc_number", {"value": {"$output": "one", "connector": "r"}}),
            "'value' takes 'r' of node 'one', which has",
        ),
        (
            {
                "nodes": (
                    GraphNode("h", "doc_halves", {"number": 1}),
                    GraphNode("a", "doc_number", {"value": {"$output": "h", "path": ["lo", "x"]}}),
                )
            },
            "'value' takes 'lo' of node 'h', which has no such outbound connector; did you mean 'low'?",
        ),
        (
            {
                "nodes": (
                    GraphNode("h", "doc_halfs"),
                    GraphNode("a", "doc_number", {"value": {"$output": "h", "connector": "low"}}),
                )
            },
            "node 'h': there is no node type 'doc_halfs'; did you mean 'doc_halves'?",
        ),
        (node("a", "doc_number", {"value": {"$output": 1}}), "'value' has '$output' of 1; it takes a name"),
        (
            node("a", "doc_number", {"value": {"$parameter": "x", "path": 1}}),
            "'value' has the path 1; a path is a list",
        ),
        (node("a", "doc_number", {"value": {"$dict": 1}}), "'value' has '$dict' of 1; it takes a list of pairs"),
        (node("a", "doc_number", {"value": {"$dict": [[1, 1], [1, 2]]}}), "with a key that is there twice"),
        (node("a", "doc_number", {"value": {"$tuple": {}}}), "'value' has '$tuple' of {}; it takes a list"),
        (node("a", "doc_halves"), "node 'a' needs a value at 'number' (NUMBER); lead an edge there"),
        (node("a", "doc_halves", {"number": "1"}), "node 'a' takes NUMBER at 'number', not '1' (STRING)"),
        (node("a", f"{HERE}:square", {"number": "x"}), "node 'a': task 'square it': 'number' can't be 'x' (str)"),
        (node("a", f"{HERE}:add"), "node 'a' needs a value at 'left' (ANY); lead an edge there"),
        (
            node("a", "doc_number", options={"retires": 1}),
            "node 'a': @task has no option 'retires'; did you mean 'retries'?",
        ),
        (node("a", "doc_number", options={"retries": -1}), "node 'a': "),
        (node("a", "doc_number", options={"self": 1}), "node 'a': @task has no option 'self'"),
        (
            node("a", "doc_number", options={"name": "b"}),
            "node 'a' has the option name='b', with which its task would not",
        ),
        (
            node("a", "doc_number", after=("onne",)),
            "node 'a' waits for node 'onne', which is not there; did you mean 'one'?",
        ),
        (
            node("a", "doc_total", {"numbers": [1]}, each=("number",)),
            "node 'a' is to run for each 'number', no inbound conn",
        ),
        (
            node("a", "doc_halves", {"number": 1}, each=("number",)),
            "node 'a' is to run for each 'number', which is no list",
        ),
        (
            node("a", f"{HERE}:square", {"number": 1}, each=("number",)),
            "node 'a' is to run for each 'number', which is no li",
        ),
        (
            node("a", f"{HERE}:add", {"left": [1]}, each=("right", "left")),
            "node 'a' is to run for each 'right', where nothing",
        ),
        (
            node("a", "doc_halves", {"number": 1, "other": [1]}, each=("other",)),
            "node 'a' can run for each of its first inputs, which are 'number'",
        ),
        (
            {"edges": (GraphEdge("on", "result", "total", "numbers"),)},
            "edge 'on' -> 'total' comes from node 'on', which is not",
        ),
        (
            {"edges": (GraphEdge("one", "reslt", "total", "numbers"),)},
            "comes from 'reslt' of node 'one', which has no such outb",
        ),
        (
            {"edges": (GraphEdge("one", "result", "totl", "numbers"),)},
            "leads to node 'totl', which is not there; did you mean",
        ),
        (
            {"edges": (GraphEdge("one", "result", "total", "number"),)},
            "'number' of node 'total', which has no such inbound conn",
        ),
        (
            {"edges": (GraphEdge("one", "result", "total", "numbers"),)},
            "'result' of node 'one' to 'numbers' of 'total' is there",
        ),
        (
            {"result": "totl"},
            "the graph's result takes the output of node 'totl', which is not there; did you mean 'total'?",
        ),
        (
            {"result": {"$parameter": "x"}},
            "the graph's result takes parameter 'x', which the graph does not have; add it",
        ),
        (
            {"modules": (HERE, "no_such")},
            "module 'no_such', which the graph names, can't be imported: ModuleNotFoundError",
        ),
        ({"options": {"retires": 1}}, "@flow has no option 'retires'; did you mean 'retries'?"),
        ({"options": {"name": "x"}}, "the graph's options hold 'name'; it is a field of the graph itself"),
        ({"version": ""}, "flow 'g': version must be a text, not ''"),
        ({"parameters": (GraphParameter("x"), GraphParameter("x"))}, "parameter 'x' is there twice; rename one"),
        ({"parameters": (GraphParameter("class"),)}, "parameter 'class' can't be called so in Python"),
        ({"parameters": (GraphParameter("__debug__"),)}, "parameter '__debug__' can't be called so in Python"),
        ({"parameters": (GraphParameter("ﬁ"),)}, "parameter 'ﬁ' is the same as 'fi' to Python; write it so"),
        (
            {"parameters": (GraphParameter("x", "it"),)},
            "parameter 'x' has the unknown type 'it'; did you mean 'int'?",
        ),
        ({"parameters": (GraphParameter("x", "os.system"),)}, "parameter 'x' has the unknown type 'os.system'"),
        (
            {"parameters": (GraphParameter("x", "print('x')"),)},
            "parameter 'x' has the type \"print('x')\", which is no annotation; write one, such as 'str' or",
        ),
        ({"parameters": (GraphParameter("x", "int[str]"),)}, "parameter 'x' has the type 'int[str]', which is none: "),
        ({"parameters": (GraphParameter("x", "'print()'"),)}, "is no annotation"),  # which would be evaluated
        ({"parameters": (GraphParameter("x", "list['print()']"),)}, "is no annotation"),
        ({"parameters": (GraphParameter("x", "Literal['a'] | Optional['print()']"),)}, "is no annotation"),
        ({"parameters": (GraphParameter("x", "int", False, "a"),)}, "flow 'g': 'x' can't be 'a' (str)"),
        ({"parameters": (GraphParameter("x", "int", True, 1),)}, "parameter 'x' is required and has the default 1"),
        (
            {"parameters": (GraphParameter("fail_fast"),)},
            "flow 'g': run_local takes 'fail_fast' itself; rename the parameter",
        ),
    ],
)
def test_one_fault_is_named_with_its_remedy(parts: dict[str, Any], message: str) -> None:
    faults = told(graph(**parts))
    assert any(message in each for each in faults), faults
    assert len(faults) == 1, faults


def test_a_secret_that_was_written_out_is_not_repeated() -> None:
    assert "hunter2" not in " ".join(told(graph(**node("a", "doc_number", {"key": "hunter2"}))))


def test_two_values_for_one_input_are_refused() -> None:
    found = graph(
        nodes=(GraphNode("h", "doc_halves", {"number": 1}),),
        edges=(GraphEdge("one", "result", "h", "number"), GraphEdge("two", "result", "h", "number")),
    )
    assert told(found) == [
        "node 'h' has a value for 'number' and an edge that leads there; take one of them away",
        "node 'h' takes one value at 'number', and edges lead there from 'one', 'two'; keep one",
    ]


def test_ends_of_other_types_are_both_named() -> None:
    found = graph(nodes=(GraphNode("f", "doc_frame"),), edges=(GraphEdge("f", "frame", "total", "numbers"),))
    (fault,) = told(found)
    for part in ("'frame' of node 'f'", "DATAFRAME", "'numbers' of node 'total'", "NUMBER"):
        assert part in fault


def test_what_shows_only_when_it_runs_is_a_note() -> None:
    found = graph(
        nodes=(GraphNode("a", f"{HERE}:add", {"left": 1}),), edges=(GraphEdge("a", "result", "total", "numbers"),)
    )
    found = replace(found, parameters=(GraphParameter("city"),))
    assert [(each.node, each.is_note, str(each)) for each in found.faults()] == [
        (
            "total", True,
            "whether 'result' of node 'a' (ANY) fits 'numbers' of node 'total' (NUMBER) shows when a value passes",
        ),
        (None, True, "parameter 'city' is used by no node"),
    ]  # fmt: skip
    found.check()


def test_a_circle_is_named_by_its_nodes() -> None:
    found = graph(
        nodes=(
            GraphNode("h", "doc_halves"),
            GraphNode("a", f"{HERE}:add", {"left": {"$output": "h", "connector": "low"}}),
        ),
        edges=(GraphEdge("a", "result", "h", "number"),),
    )
    assert told(found) == ["the graph goes in a circle: 'h' -> 'a' -> 'h'; take one of these edges away"]
    found = graph(nodes=(GraphNode("a", "doc_number", after=("a",)),))
    assert told(found) == ["the graph goes in a circle: 'a' -> 'a'; take one of these edges away"]


def test_all_faults_are_said_at_once_and_by_node() -> None:
    found = graph(
        nodes=(
            GraphNode("a", "nothing", {"x": {"$parameter": "y"}}),
            GraphNode("b", "doc_number", {"most": "x", "valu": 1}),
        ),
        edges=(GraphEdge("c", "result", "a", "anything"),),
        result="d",
    )
    assert [(each.node, each.field) for each in found.faults()] == [
        ("a", "type"), ("a", "edges"), ("a", "config.x"), ("b", "config.valu"), ("b", "config.most"), (None, "result"),
    ]  # fmt: skip
    with pytest.raises(NodeGraphError, match="graph 'g' has 6 faults:") as refused:
        found.check()
    assert len(refused.value.faults) == 6


def test_a_module_beside_the_document_is_found(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path.parent)
    (tmp_path / "beside_the_graph.py").write_text("from dagy import task\n\n@task\ndef one():\n    return 1\n")
    NodeGraph("g", nodes=(GraphNode("a", "beside_the_graph:one"),), modules=("beside_the_graph",)).save(
        tmp_path / "g.json"
    )
    assert told(NodeGraph.load(tmp_path / "g.json")) == []


def test_a_module_that_ends_the_program_is_a_fault(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "module_that_exits.py").write_text("raise SystemExit('enough')\n")
    (fault,) = told(graph(modules=(HERE, "module_that_exits")))
    assert fault.endswith("can't be imported: SystemExit: enough")


JSON = st.recursive(
    SCALARS
    | st.sampled_from(["one", "doc_number", "doc_total", "result", "numbers", {"$output": "one"}, {"$tuple": 1}]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$parameter", "$output", "$dict", "$literal", "path", "value", "x", "connector"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.data())
def test_whatever_a_document_holds_is_a_graph_or_refused_in_our_words(data: st.DataObject) -> None:
    document = graph().model_dump()
    for _ in range(data.draw(st.integers(1, 3))):
        part = document
        while isinstance(part, dict | list) and part:
            key = data.draw(st.sampled_from(list(part) if isinstance(part, dict) else range(len(part))))
            if data.draw(st.booleans()) or not isinstance(part[key], dict | list):
                part[key] = data.draw(JSON)
                break
            part = part[key]
    try:
        found = NodeGraph.model_validate(document)
        found.faults()
        assert found.spec.name == found.name
        found.to_python()
    except DagyError:
        pass
