"""Ways through a flow: branch and switch, merge, for each.

A way that is not taken gives nothing, so what needs it is skipped, and the run still completes. `merge` takes what
arrives from the ways that were taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from dagy.errors import ConnectorError, did_you_mean, or_what_there_is, shown
from dagy.nodes.base import FlowNode
from dagy.nodes.connectors import ConnectionCardinality, DataType, takes
from dagy.nodes.definitions import definition_of
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.conversions import value_at
from dagy.nodes.library.descriptions import LibraryNode, choice, fault, field, inbound, json_field, outbound
from dagy.nodes.library.tables import COMPARISONS, same_kind, table
from dagy.nodes.metadata import NodeCategory, NodeMetadata
from dagy.nodes.registry import node_registry
from dagy.values import ABSENT

if TYPE_CHECKING:
    from narwhals.dtypes import DType

    from dagy.nodes.library.tables import Table

_OBJECT, _LIST = frozenset({DataType.OBJECT}), frozenset({DataType.LIST})
_ALONE = ("is true", "is false", "is null", "is not null", "is empty", "is not empty")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    **COMPARISONS,
    "in": lambda value, other: value in other,
    "not in": lambda value, other: value not in other,
    "between": lambda value, ends: ends[0] <= value <= ends[1],
    "contains": lambda value, other: other in value,
    "starts with": lambda value, other: value.startswith(other),
    "ends with": lambda value, other: value.endswith(other),
    "matches": lambda value, pattern: re.search(pattern, value) is not None,
}
_OPERATORS = (*_ALONE, *_COMPARISONS)
_FIELD = field("field", "What of an object is compared; all of it when empty.", placeholder="order.total")
_MAYBE = ConnectionCardinality.ZERO_OR_ONE
_WAYS = ("case_1", "case_2", "case_3", "case_4", "case_5")


class Branch(LibraryNode):
    """What came in goes one of two ways."""

    about = NodeMetadata(
        "branch",
        "Branch",
        "Passes what came in on to 'yes' if it meets a condition, else to 'no'. What needs the other way "
        "is skipped. Where something comes in at 'condition', that decides.",
        NodeCategory.CONTROL,
        tags=("if", "else", "condition", "route"),
    )
    ports = (
        inbound("value", required=True),
        inbound("condition", DataType.BOOLEAN),
        outbound("yes", cardinality=_MAYBE),
        outbound("no", cardinality=_MAYBE),
    )
    fields = (
        _FIELD,
        choice("operator", "How it is compared.", _OPERATORS),
        json_field(
            "compared_with",
            "A list for 'in', [lowest, highest] for 'between', ISO text for dates and times.",
            visible_when={"operator": list(_COMPARISONS)},
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        value, config = context.get_upstream_data("value"), context.config
        met = context.get_upstream_data("condition", default=None)
        if met is None:
            met = meets(_part(value, config["field"]), config["operator"], config["compared_with"])
        return {"yes" if met else "no": value}


class Switch(LibraryNode):
    """What came in goes one of several ways."""

    about = NodeMetadata(
        "switch",
        "Switch",
        "Passes what came in on to the way of the first case that it meets, or to 'otherwise'.",
        NodeCategory.CONTROL,
        tags=("case", "match", "route"),
    )
    ports = (
        inbound("value", required=True),
        *(outbound(each, cardinality=_MAYBE) for each in (*_WAYS, "otherwise")),
    )
    fields = (
        _FIELD,
        json_field(
            "cases",
            f'Up to {len(_WAYS)}: each a value to be equal to, or an object: {{"operator": ">", "value": 100}}.',
            required=True,
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        value, cases = context.get_upstream_data("value"), context.config["cases"]
        if not isinstance(cases, (list, tuple)) or len(cases) > len(_WAYS):
            raise fault("cases", f"'cases' is {shown(cases)}; give a list of at most {len(_WAYS)}")
        compared = _part(value, context.config["field"])
        for way, case in zip(_WAYS, cases, strict=False):
            condition = case if isinstance(case, Mapping) else {"operator": "==", "value": case}
            if "operator" not in condition:
                raise fault("cases", f"an object in 'cases' is a condition, and {shown(case)} has no 'operator'")
            if meets(compared, condition["operator"], condition.get("value"), field="cases"):
                return {way: value}
        return {"otherwise": value}


class Merge(LibraryNode):
    """What arrived from several ways, as one."""

    about = NodeMetadata(
        "merge",
        "Merge",
        "Joins ways: takes what arrived, and nothing of those that were not taken. It is skipped itself "
        "when nothing arrived.",
        NodeCategory.CONTROL,
        tags=("join", "collect", "concat", "union"),
    )
    ports = (inbound("values", cardinality=ConnectionCardinality.ONE_OR_MANY), outbound("result"))
    fields = (
        choice(
            "how",
            "What becomes of several that arrived.",
            {
                "first": "the first that arrived",
                "list": "a list of all",
                "rows": "the rows of all frames, or the items of all lists",
                "fields": "the fields of all objects",
            },
            label="Gives",
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        arrived = context.get_upstream_data("values")
        match context.config["how"]:
            case "first":
                merged: object = arrived[0]
            case "list":
                merged = arrived
            case "fields":
                merged = {key: each for one in _all(arrived, _OBJECT, "an object") for key, each in one.items()}
            case _ if any(takes(_LIST, each) for each in arrived):
                merged = [each for one in _all(arrived, _LIST, "a list") for each in one]
            case _:
                merged = _rows([table(each, "values") for each in arrived]).to_native()
        return merged


class ForEach(LibraryNode):
    """Another node, once for each item of a list."""

    about = NodeMetadata(
        "for_each",
        "For each",
        "Runs a node once for each item of a list, side by side, and gives the list of its values. (Any "
        "node does so for what is connected to it item by item; this one takes the node by its name.)",
        NodeCategory.CONTROL,
        tags=("loop", "map", "iterate", "items"),
    )
    ports = (
        inbound("items", required=True, each=True),
        inbound(
            "others",
            DataType.OBJECT,
            description="What comes in at the node's other connectors, the same for each item: "
            "an object, by connector.",
        ),
        outbound("result"),
    )
    fields = (
        field("node_type", "Its type: what runs.", required=True, placeholder="http_request", label="Node"),
        json_field("config", "An object, by field.", label="Its configuration"),
        field(
            "connector",
            "Which of the node's connectors takes the item: its first one, when empty.",
            label="Takes the item",
        ),
    )

    def __init__(self, /, **config: Any) -> None:
        super().__init__(**config)
        given = self.config
        if all(each is None or isinstance(each, (str, Mapping)) for each in given.values()):  # no outputs of tasks
            _looped(given["node_type"], given["config"], given["connector"])

    @classmethod
    def requirements(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """What the node that runs requires."""
        if "node_type" not in config:  # which is known only when the flow runs
            return ()
        if "config" not in config:
            return node_registry.get(config["node_type"]).requirements({})
        node, _ = _looped(config["node_type"], config["config"], None)
        return node.requirements(node.config)

    def execute(self, context: ExecutionContext) -> object:
        config = context.config
        node, connector = _looped(config["node_type"], config["config"], config["connector"])
        others = context.get_upstream_data("others", default=None) or {}
        value = node(**{**others, connector: context.get_upstream_data("items")})
        if isinstance(value, dict):  # of several outputs, from which some may be left out
            value = {key: each for key, each in value.items() if each is not ABSENT}
        return value


class Flatten(LibraryNode):
    """One list of the items of several."""

    about = NodeMetadata(
        "flatten",
        "Flatten",
        "Makes one list of a list of lists, such as 'for each' gives; what is null in it is left out.",
        NodeCategory.CONTROL,
        tags=("concat", "chain", "collect"),
    )
    ports = (inbound("value", DataType.LIST, required=True, name="Lists"), outbound("result", DataType.LIST))

    def execute(self, context: ExecutionContext) -> object:
        lists = [each for each in context.get_upstream_data("value") if each is not None]
        return [item for one in _all(lists, _LIST, "a list") for item in one]


def meets(value: Any, operation: str, other: Any, *, field: str = "compared_with") -> bool:
    """Whether `value` meets the condition. `ConnectorError` when it can't be compared so."""
    if not isinstance(operation, str) or operation not in _OPERATORS:
        raise fault(field, f"there is no operator {operation!r}{did_you_mean(str(operation), _OPERATORS)}")
    if operation in ("is null", "is not null"):
        return (value is None) is (operation == "is null")
    if operation in ("is empty", "is not empty"):
        if value is not None and not hasattr(value, "__len__"):
            raise ConnectorError(f"{shown(value)} has no length that could be zero; compare it with a value")
        return (value is None or len(value) == 0) is (operation == "is empty")
    if operation in ("is true", "is false"):
        if not takes(frozenset({DataType.BOOLEAN}), value):
            raise ConnectorError(
                f"{shown(value)} is neither true nor false; compare it, or convert it with 'to_boolean'"
            )
        return bool(value) is (operation == "is true")
    try:
        if isinstance(value, date) and isinstance(other, str):
            other = (datetime if isinstance(value, datetime) else date).fromisoformat(other)
        return bool(_COMPARISONS[operation](value, other))
    except (AttributeError, LookupError, TypeError, ValueError, re.error) as error:
        raise ConnectorError(f"{shown(value)} {operation} {shown(other)} can't be said: {error}") from error


def _part(value: Any, path: str | None) -> Any:
    return value_at(value, path) if path else value


def _all(values: Sequence[Any], data_types: frozenset[DataType], what: str) -> Sequence[Any]:
    """The values, each of the types."""
    for each in values:
        if not takes(data_types, each):
            raise ConnectorError(f"{shown(each)} is not {what}, as the others are to be")
    return values


def _rows(frames: Sequence[Table]) -> Table:
    """The frames one below the other; a column that one of them lacks is null there."""
    import narwhals as nw

    for each in frames[1:]:
        same_kind(frames[0], each)
    found: dict[str, set[DType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            if dtype != nw.Unknown:  # which is that of a column with nothing in it
                found.setdefault(name, set()).add(dtype)
    types = {name: _one_type(name, dtypes) for name, dtypes in found.items()}
    alike = [
        frame.with_columns(
            nw.col(name).cast(types[name]) for name, dtype in frame.schema.items() if types.get(name, dtype) != dtype
        )
        for frame in frames
    ]
    return nw.concat(alike, how="diagonal")


def _one_type(name: str, found: set[DType]) -> DType:
    """A type for all values of the types that a column has in several frames; `ConnectorError` when there is none."""
    import narwhals as nw

    if len(found) == 1:
        return next(iter(found))
    if all(each.is_numeric() for each in found):
        return nw.Int64() if all(each.is_integer() for each in found) else nw.Float64()
    zones = [each.time_zone for each in found if isinstance(each, nw.Datetime)]
    if len(zones) == len(found) and len(set(zones)) == 1:
        return nw.Datetime("us", zones[0])
    raise ConnectorError(f"column {name!r} is {' and '.join(sorted(map(str, found)))}; make them the same first")


def _looped(node_type: str, config: Mapping[str, Any] | None, connector: str | None) -> tuple[FlowNode, str]:
    """The node with its configuration, and the connector that takes an item."""
    kind = node_registry.get(node_type)
    inbound = [each.id for each in definition_of(kind).inbound]
    if not inbound:
        raise fault("node_type", f"the node {node_type!r} takes nothing in, so there is nothing to run it with")
    if connector and connector not in inbound:
        hint = or_what_there_is(connector, inbound)
        raise fault("connector", f"the node {node_type!r} has no connector {connector!r}{hint}")
    return kind(**(config or {})), connector or inbound[0]
