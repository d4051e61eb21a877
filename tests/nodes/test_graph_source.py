"""A graph as Python: the same flow, in code that formatters leave as it is, whatever texts there are in the graph."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from dagy import Flow
from dagy.errors import NodeGraphError
from dagy.nodes import GraphNode, GraphParameter, NodeGraph
from dagy.nodes.library import Filter, PythonCode, ReadCsv, ReadSql, Sort

from .graph_documents import HERE, Number, documents


def flow_of(text: str) -> Flow[..., Any]:
    """The flow that a module of that text defines."""
    names: dict[str, Any] = {"__name__": "made"}
    exec(compile(text, "made.py", "exec", dont_inherit=True), names)
    (found,) = (each for each in names.values() if isinstance(each, Flow))
    return found


ADULTS = (
    NodeGraph("Adults of a city", version="1.2.0", description="All who are of age.\n\nOne row each.")
    .with_parameter("city", "str", description="Where they live.")
    .with_parameter("since", "date | None", required=False)
    .with_node("people", ReadCsv(path="people.csv"))
    .with_node(
        "adults",
        Filter,
        {"column": "age", "operator": ">=", "value": {"$parameter": "since"}},
        label="Only adults",
        options={"retries": 2},
    )
    .with_node("sort", Sort(by=["name"]))
    .with_node("class", PythonCode(code="rows = value\nresult = rows"), after=("people",))
    .with_node("more", ReadSql, {"query": "select 1", "url": {"$secret": "WAREHOUSE_URL"}})
    .with_edge("people", "result", "adults", "frame")
    .with_edge("adults", "result", "sort", "frame")
    .with_edge("sort", "result", "class", "value")
    .with_result({"rows": {"$output": "class"}, "city": {"$parameter": "city"}})
)

ADULTS_SOURCE = '''\
from __future__ import annotations

from datetime import date

from dagy import flow
from dagy.nodes import Secret
from dagy.nodes.library import Filter, PythonCode, ReadCsv, ReadSql, Sort

CLASS_CODE = """\\
rows = value
result = rows"""


@flow(name="Adults of a city", version="1.2.0")
def adults_of_a_city(
    city: str,  # Where they live.
    since: date | None = None,
):
    """All who are of age.

    One row each.
    """
    people = ReadCsv(path="people.csv").with_options(name="people")()
    # Only adults
    adults = Filter(
        column="age",
        operator=">=",
        value=since,
    ).with_options(retries=2, name="adults")(people)
    sort = Sort(by=["name"])(adults)
    class_ = PythonCode(code=CLASS_CODE).with_options(name="class").after(people)(sort)
    ReadSql(query="select 1", url=Secret("WAREHOUSE_URL")).with_options(name="more")()
    return {"rows": class_, "city": city}
'''


def test_a_graph_becomes_the_code_that_a_person_would_have_written() -> None:
    assert ADULTS.to_python() == ADULTS_SOURCE
    assert flow_of(ADULTS_SOURCE).spec == ADULTS.spec


def test_an_empty_graph_is_a_flow_without_tasks() -> None:
    assert NodeGraph("nothing").to_python() == "from dagy import flow\n\n\n@flow\ndef nothing():\n    pass\n"


def test_a_node_and_a_flow_that_are_called_flow_do_not_hide_the_decorator() -> None:
    graph = NodeGraph("flow", nodes=(GraphNode("flow", f"{HERE}:add", {"left": 1}),), result="flow")
    text = graph.to_python()
    assert flow_of(text).spec == graph.spec
    assert f"from {HERE} import add\n" in text


def test_what_lives_in_the_module_itself_is_not_imported() -> None:
    graph = NodeGraph("g", modules=(HERE,)).with_node("a", Number)
    assert f"from {HERE} import Number" in graph.to_python()
    assert graph.to_python(module=HERE) == (
        'from dagy import flow\n\n\n@flow\ndef g():\n    Number().with_options(name="a")()\n'
    )


def test_a_kind_that_no_module_can_import_is_refused() -> None:
    class Inner(Number):
        """Not at the top level."""

        @classmethod
        def metadata(cls) -> Any:
            from dagy.nodes import NodeMetadata

            return NodeMetadata("doc_inner")

    graph = NodeGraph("g").with_node("a", Inner)
    with pytest.raises(NodeGraphError, match="node 'a': its kind is no name at the top level of the module"):
        graph.to_python()


def test_parameters_keep_their_order_when_one_without_default_comes_last() -> None:
    parameters = (GraphParameter("a", "int", False, 1), GraphParameter("b", "datetime.date"), GraphParameter("c"))
    graph = NodeGraph("g", parameters=parameters)
    assert "def g(a: int = 1, *, b: date, c):" in graph.to_python()
    assert flow_of(graph.to_python()).spec == graph.spec


@pytest.mark.parametrize(
    "text", ['"""\nimport os; os.abort()\n"""', "'); import os; os.abort()  #", "\\", "a\\\nb", "{os}"]
)
def test_no_text_of_a_graph_is_run(text: str) -> None:
    plain = " ".join(text.split())
    graph = NodeGraph(plain, description=text, version=text, metadata={"x": text}).with_node(
        plain, Number(value=text, note=text), label=text
    )
    graph = graph.with_parameter("x", required=False, default=text, description=text).with_result([{"$literal": text}])
    made = flow_of(graph.to_python())
    assert made.spec == graph.spec
    assert made.spec.task(plain).inputs["note"].value == text


@settings(max_examples=10)
@given(documents())
def test_the_code_of_any_graph_makes_the_same_flow(graph: NodeGraph) -> None:
    text = graph.to_python()
    ast.parse(text)
    assert flow_of(text).spec == graph.spec


@pytest.mark.program
def test_formatters_and_import_sorters_leave_the_code_as_it_is(tmp_path: Path) -> None:
    found: list[str] = [ADULTS.to_python()]

    @settings(max_examples=20)
    @given(documents())
    def write(graph: NodeGraph) -> None:
        found.append(graph.to_python())

    write()
    found = [each for each in found if each.isascii()]  # formatters count the columns of wide letters
    for index, text in enumerate(found):
        (tmp_path / f"made_{index}.py").write_text(text, "utf-8")
    for command in (["format", "--check", "--diff"], ["check", "--select", "E4,E7,F,I"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
