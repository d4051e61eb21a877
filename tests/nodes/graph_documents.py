"""Nodes and tasks for the tests of graph documents, and documents of them at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from dagy import task
from dagy.nodes import (
    ConfigFieldType,
    ConnectionCardinality,
    ConnectorDef,
    ConnectorDirection,
    DataType,
    ExecutionContext,
    ExecutionResult,
    FlowNode,
    GraphEdge,
    GraphNode,
    GraphParameter,
    NodeConfigField,
    NodeGraph,
    NodeMetadata,
)

INBOUND, OUTBOUND = ConnectorDirection.INBOUND, ConnectorDirection.OUTBOUND
HERE = __name__


class Number(FlowNode):
    """Gives its value."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("doc_number", description="A number.")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [ConnectorDef("result", "", OUTBOUND, frozenset({DataType.NUMBER}))]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        return [
            NodeConfigField("value", type=ConfigFieldType.JSON),
            NodeConfigField("most", type=ConfigFieldType.INTEGER, minimum=0),
            NodeConfigField("note", type=ConfigFieldType.TEXT),
            NodeConfigField("key", type=ConfigFieldType.SECRET),
        ]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        return ExecutionResult.from_success({"result": context.config["value"]})


class Halves(FlowNode):
    """Two outputs."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("doc_halves", label="Halves")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [
            ConnectorDef("number", "", INBOUND, frozenset({DataType.NUMBER}), required=True),
            ConnectorDef("other", "", INBOUND),
            ConnectorDef("low", "", OUTBOUND, frozenset({DataType.NUMBER})),
            ConnectorDef("high", "", OUTBOUND, frozenset({DataType.NUMBER})),
        ]

    def execute(self, context: ExecutionContext) -> dict[str, Any]:
        half = context.get_upstream_data("number") / 2
        return {"low": half, "high": half}


class Total(FlowNode):
    """Many inputs."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("doc_total")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        many = ConnectionCardinality.ONE_OR_MANY
        return [
            ConnectorDef("numbers", "", INBOUND, frozenset({DataType.NUMBER}), cardinality=many),
            ConnectorDef("result", "", OUTBOUND, frozenset({DataType.NUMBER})),
        ]

    def execute(self, context: ExecutionContext) -> float:
        return float(sum(context.get_upstream_data("numbers")))


class Frame(FlowNode):
    """Gives what is no number."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata("doc_frame")

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [ConnectorDef("frame", "", OUTBOUND, frozenset({DataType.DATAFRAME}))]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        return [NodeConfigField("engine", default="pandas")]

    @classmethod
    def requirements(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """By its engine."""
        if "engine" not in config:
            return ["pandas", "polars"]
        return "dask" if config["engine"] == "dask" else [config["engine"]]

    def execute(self, context: ExecutionContext) -> None:
        """Nothing."""


@task
def add(left: Any, right: Any = 0, *, third: Any = 0) -> Any:
    """The sum."""
    return left + right + third


@task(retries=1, name="square it")
def square(number: float) -> float:
    return number * number


@task
def gather(*items: Any, **named: Any) -> Any:
    return items, named


def no_task() -> None:
    """Not decorated."""


# What is hard to write in code, or would be code if it were written without care.
_ODD_TEXTS = [
    "", "'", '"', '"""', "'''", "\\", "\\n", "a\nb", "line\nline\n", 'x = """\ny', "print(1)\nprint(2)\n", "{}", "%s",
    "'); import os #", "\u2028", "\x00", "\u00a0", "ﬁ", "a\\\n", "\tx\n\ty\n", " a\n b", "ends \nhere", "# comment",
]  # fmt: skip
_ODD_IDS = [
    "a", "a-2", "a-3", "add", "add-2", "square it", "doc_number", "doc_number-2", "class", "print", "flow", "x'", 'x"',
    "x\\", "größe", "ﬁ", "1", "日本", "a b", "None", "-", "Number", "self", "a-02",
]  # fmt: skip
TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(_ODD_TEXTS))
IDS = st.one_of(
    st.sampled_from(_ODD_IDS),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=6),
)
NAMES = st.sampled_from(["city", "limit", "flow_", "add_", "date_", "x"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)


@st.composite
def documents(draw: st.DrawFn) -> NodeGraph:
    """A graph without faults."""
    parameters = draw(
        st.lists(st.builds(_parameter, NAMES, st.booleans(), PLAIN), max_size=3, unique_by=lambda each: each.name)
    )
    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    gives: list[tuple[str, str]] = []  # what there is: nodes and connectors
    for node_id in draw(st.lists(IDS, max_size=7, unique=True)):
        node, found = _node(draw, node_id, parameters, gives, nodes)
        nodes.append(node)
        edges += found
        gives += [(node_id, each) for each in _OUTPUTS[node.type]]
    result = draw(_value(parameters, gives)) if draw(st.booleans()) else None
    if isinstance(result, str):
        result = {"$literal": result}
    order = draw(st.permutations(nodes)) if draw(st.booleans()) else nodes
    return NodeGraph(
        draw(IDS), draw(st.sampled_from(["latest", "1.0.0", "it's"])), draw(TEXTS), tuple(parameters), tuple(order),
        tuple(edges), result, draw(_OPTIONS), (HERE,),
    )  # fmt: skip


_OUTPUTS = {
    "doc_number": ["result"],
    "doc_halves": ["low", "high"],
    "doc_total": ["result"],
    f"{HERE}:add": ["result"],
    f"{HERE}:square": ["result"],
    f"{HERE}:gather": ["result"],
}
_OPTIONS = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "retries": st.integers(0, 3),
            "retry_delay_seconds": st.sampled_from([1.0, [1.0, 2.5]]),
            "timeout_seconds": st.sampled_from([1.5, 60.0]),
        },
    ),
)


def _parameter(name: str, is_required: bool, default: Any) -> GraphParameter:
    return GraphParameter(name, "", is_required, None if is_required else default)


def _value(parameters: list[GraphParameter], gives: list[tuple[str, str]]) -> st.SearchStrategy[Any]:
    """A value of a document, with references somewhere inside."""
    return st.recursive(
        _reference(parameters, gives),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.builds(lambda items: {"$tuple": items}, st.lists(inner, max_size=3)),
            st.dictionaries(TEXTS, inner, max_size=2),
            st.builds(
                lambda pairs: {"$dict": pairs},
                st.lists(st.tuples(st.integers(), inner).map(list), max_size=2, unique_by=lambda pair: pair[0]),
            ),
            st.builds(lambda value: {"$literal": value}, PLAIN),
        ),
        max_leaves=4,
    )


def _reference(parameters: list[GraphParameter], gives: list[tuple[str, str]]) -> st.SearchStrategy[Any]:
    """What stands for something else, or a plain scalar."""
    choices = [SCALARS]
    if parameters:
        names = st.sampled_from([each.name for each in parameters])
        choices.append(st.builds(lambda name: {"$parameter": name}, names))
        choices.append(st.builds(lambda name, path: {"$parameter": name, "path": path}, names, _PATHS))
    if gives:
        choices.append(
            st.builds(
                lambda each, path: {"$output": each[0], "connector": each[1], "path": path},
                st.sampled_from(gives),
                _PATHS,
            )
        )
    return st.one_of(choices)


_PATHS = st.lists(st.one_of(st.integers(0, 3), TEXTS), max_size=2)


def _node(
    draw: st.DrawFn,
    node_id: str,
    parameters: list[GraphParameter],
    gives: list[tuple[str, str]],
    before: list[GraphNode],
) -> tuple[GraphNode, list[GraphEdge]]:
    kinds = list(_OUTPUTS) if gives else ["doc_number", f"{HERE}:gather"]
    kind = draw(st.sampled_from(kinds))
    config: dict[str, Any] = {}
    edges: list[GraphEdge] = []

    def lead(connector: str, source: tuple[str, str]) -> None:
        edges.append(
            GraphEdge(*source, node_id, connector, tuple(draw(st.just([]) if connector == "numbers" else _PATHS)))
        )

    value = _value(parameters, gives)
    match kind:
        case "doc_number":
            config = draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "value": _reference(parameters, gives) | PLAIN,
                        "note": TEXTS,
                        "key": st.just({"$secret": "K"}),
                    },
                )
            )
        case "doc_halves":
            lead("number", draw(st.sampled_from(gives)))
        case "doc_total":
            for source in draw(st.lists(st.sampled_from(gives), min_size=1, max_size=3, unique=True)):
                lead("numbers", source)
        case str() if kind.endswith("gather"):
            config = {"items": {"$tuple": draw(st.lists(value, max_size=2))}}
        case str() if kind.endswith("add"):
            lead("left", draw(st.sampled_from(gives)))
            config = draw(st.fixed_dictionaries({}, optional={"right": value, "third": value}))
        case _:
            lead("number", draw(st.sampled_from(gives)))
    after = (
        tuple(draw(st.lists(st.sampled_from([each.id for each in before]), max_size=2, unique=True))) if before else ()
    )
    return GraphNode(node_id, kind, config, None, draw(TEXTS), draw(_OPTIONS), (), after), edges
