"""Tables: filter, select, join, aggregate, sort, sample and the like, over pandas and Polars frames.

Each node gives the kind of frame that it got. A list of objects is no frame, and is refused where it is joined to one
of these: the node 'to_dataframe' makes a frame of it. A missing value is null, or NaN, in either kind.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagy.errors import did_you_mean, shown
from dagy.nodes.connectors import DataType
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import (
    LibraryNode,
    choice,
    count,
    fault,
    field,
    flag,
    inbound,
    json_field,
    outbound,
)
from dagy.nodes.library.tables import (
    OPERATORS,
    UNARY,
    check_condition,
    comparable,
    family,
    family_of,
    holds,
    known,
    names,
    same_kind,
    table,
    without_nan,
)
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeMetadata
from dagy.tasks import holds_reference

if TYPE_CHECKING:
    import narwhals as nw

    from dagy.nodes.library.tables import Table

_RESULT = outbound("result", DataType.DATAFRAME)
_CONDITION = '{"column": "age", "operator": ">", "value": 30}'
_AGGREGATION = '{"column": "price", "function": "sum", "name": "total"}'
_OF_NUMBERS = ("sum", "mean", "median", "std", "var")
_FUNCTIONS = (*_OF_NUMBERS, "min", "max", "count", "unique", "first", "last", "rows")


def _about(node_type: str, label: str, description: str, *tags: str) -> NodeMetadata:
    return NodeMetadata(node_type, label, description, NodeCategory.TRANSFORM, tags=tags, requires=("narwhals",))


class _FrameNode(LibraryNode):
    """One frame in, one frame out: a subclass says in `change` what becomes of it."""

    ports = (inbound("frame", DataType.DATAFRAME, required=True), _RESULT)

    def execute(self, context: ExecutionContext) -> object:
        return self.change(table(context.get_upstream_data("frame")), context.config).to_native()

    @abstractmethod
    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """What becomes of `frame`, which itself stays as it is."""


class Filter(_FrameNode):
    """The rows for which a condition holds, or all or any of several."""

    about = _about(
        "filter",
        "Filter rows",
        "Keeps the rows that meet a condition. What is missing meets none but 'is null'.",
        "rows",
        "where",
    )
    fields = (
        field("column", "Which column is compared.", placeholder="age"),
        choice(
            "operator",
            "How it is compared: 'contains' looks for text, 'matches' for a regular expression.",
            tuple(OPERATORS),
        ),
        json_field(
            "value",
            "A list for 'in', [lowest, highest] for 'between', ISO text for dates and times.",
            visible_when={"operator": [each for each in OPERATORS if each not in UNARY]},
        ),
        json_field("conditions", f"A list of objects such as {_CONDITION}.", label="More conditions"),
        choice(
            "match",
            "Whether one condition of several is enough.",
            {"all": "all conditions", "any": "any condition"},
            label="Rows must meet",
        ),
    )

    def __init__(self, /, **config: Any) -> None:
        super().__init__(**config)
        given = (self.config["operator"], self.config["value"])
        if given[1] is not None and not holds_reference(given):  # an output of a task is there when the flow runs
            check_condition(*given, "value")

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """The rows that fit, in their order."""
        kept = []
        if config["column"]:
            kept.append(holds(frame, config["column"], config["operator"], config["value"], "column"))
        given = config["conditions"] or []
        for each in given if isinstance(given, list) else [given]:
            if not isinstance(each, Mapping) or "column" not in each:
                raise fault("conditions", f"a condition is an object such as {_CONDITION}, not {shown(each)}")
            operator = each.get("operator", "==")
            kept.append(holds(frame, each["column"], operator, each.get("value"), "conditions"))
        if not kept:
            raise fault("column", "nothing says which rows to keep; give a 'column', or 'conditions'")
        fits, *others = kept
        for each in others:
            fits = fits & each if config["match"] == "all" else fits | each
        return frame.filter(fits)


class Select(_FrameNode):
    """Some of a frame's columns, under other names where wished."""

    about = _about(
        "select",
        "Select columns",
        "Keeps, drops and renames columns, in the order in which 'columns' names them.",
        "columns",
        "rename",
        "drop",
    )
    fields = (
        json_field("columns", "What to keep; all when empty."),
        json_field("drop", "What to leave out."),
        json_field("rename", 'New names by old ones: {"qty": "quantity"}.'),
    )

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """The columns that are kept."""
        dropped = {known(frame, each, "drop") for each in names(config["drop"], "drop")}
        chosen = [known(frame, each, "columns") for each in names(config["columns"], "columns")] or frame.columns
        frame = frame.select(each for each in dict.fromkeys(chosen) if each not in dropped)
        renamed = config["rename"] or {}
        if not isinstance(renamed, Mapping) or not all(isinstance(each, str) for each in renamed.values()):
            raise fault("rename", f"'rename' is {shown(renamed)}; give new names by old ones, as an object")
        for each in renamed:
            known(frame, each, "rename")
        _once([renamed.get(each, each) for each in frame.columns], "rename")
        return frame.rename({old: new for old, new in renamed.items() if old != new})


class Join(LibraryNode):
    """The rows of two frames, side by side where their keys are equal."""

    about = _about(
        "join",
        "Join",
        "Joins two frames where their keys are equal; a missing key equals nothing. For a right join, "
        "swap the two. After 'full' the order of the rows is not said.",
        "merge",
        "lookup",
        "keys",
    )
    ports = (
        inbound("left", DataType.DATAFRAME, required=True),
        inbound("right", DataType.DATAFRAME, required=True),
        _RESULT,
    )
    fields = (
        json_field("on", "The key, called the same in both."),
        json_field("left_on", "A column, or a list of them.", label="Left key"),
        json_field("right_on", "As many as on the left.", label="Right key"),
        choice(
            "how",
            "Which rows there are.",
            {
                "inner": "rows with a match",
                "left": "all of the left",
                "full": "all of both",
                "semi": "of the left, those with a match",
                "anti": "of the left, those without a match",
                "cross": "each with each",
            },
        ),
        field(
            "suffix", "Goes behind the names of the right frame's columns that the left has as well.", default="_right"
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        left = table(context.get_upstream_data("left"), "left")
        right = table(context.get_upstream_data("right"), "right")
        same_kind(left, right)
        return self._joined(left, right, context.config).to_native()

    def _joined(self, left: Table, right: Table, config: Mapping[str, Any]) -> Table:
        import narwhals as nw

        how, suffix = config["how"], config["suffix"]
        if how == "cross":
            _check_suffix(left, right, {}, suffix)
            return left.join(right, how="cross", suffix=suffix)
        keys = _keys(left, right, config)
        if how not in ("semi", "anti"):
            _check_suffix(left, right, keys if how != "full" else {}, suffix)
        left_on, right_on = list(keys), list(keys.values())
        left, right = without_nan(left, left_on), without_nan(right, right_on)
        joined = left.join(right, how=how, left_on=left_on, right_on=right_on, suffix=suffix)
        if how != "full":
            return joined
        twice = {ours: f"{ours}{suffix}" for ours, theirs in keys.items() if ours == theirs}
        joined = joined.with_columns(nw.coalesce(ours, theirs).alias(ours) for ours, theirs in twice.items())
        return joined.drop(twice.values())


class Aggregate(_FrameNode):
    """One row for each group, with sums, means, counts and the like."""

    about = _about(
        "aggregate",
        "Aggregate",
        "One row for each group, in the order of the keys; one row in all when there are no keys. What "
        "is missing is left out; only 'unique', 'first', 'last' and 'rows' count it.",
        "group",
        "sum",
        "count",
        "mean",
    )
    fields = (
        json_field("by", "A column, or a list of them.", label="Group by"),
        json_field(
            "aggregations",
            f"A list of objects such as {_AGGREGATION}; without a name it is called price_sum. "
            f"Functions: {', '.join(_FUNCTIONS)}.",
            required=True,
        ),
    )

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """A row for each group."""
        by = [known(frame, each, "by") for each in names(config["by"], "by")]
        given = config["aggregations"]
        if not given:
            raise fault("aggregations", f"'aggregations' is empty; give a list of objects such as {_AGGREGATION}")
        wanted = [_aggregation(frame, each, by) for each in (given if isinstance(given, (list, tuple)) else [given])]
        _once([*by, *(name for name, _ in wanted)], "aggregations")
        columns = [expression.alias(name) for name, expression in wanted]
        frame = without_nan(frame)
        return frame.group_by(by).agg(*columns).sort(by, nulls_last=True) if by else frame.select(*columns)


class Sort(_FrameNode):
    """The rows in order."""

    about = _about(
        "sort", "Sort", "Sorts the rows; those with equal keys stay in the order in which they came.", "order", "rank"
    )
    fields = (
        json_field("by", "Columns, the first first.", required=True),
        json_field("descending", "true or false, or a list with one of them for each column.", default=False),
        flag("nulls_last", "In both directions; else they come first.", default=True, label="Missing values last"),
    )

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """The same rows, in order."""
        by = [known(frame, each, "by") for each in names(config["by"], "by")]
        if not by:
            raise fault("by", "'by' names no column to sort by")
        given = config["descending"]
        descending = list(given) if isinstance(given, (list, tuple)) else [given] * len(by)
        if len(descending) != len(by) or not all(isinstance(each, bool) for each in descending):
            raise fault("descending", f"'descending' is {shown(given)}; give true or false, or one for each of {by}")
        place = "_".join(["place", *by])  # longer than any of them
        keys = without_nan(frame.select(by)).with_row_index(place)
        order = keys.sort(*by, place, descending=[*descending, False], nulls_last=config["nulls_last"])
        return frame[order[place].to_numpy(), :]


class Sample(_FrameNode):
    """Some rows, by chance."""

    about = _about(
        "sample",
        "Sample rows",
        "Rows by chance, each at most once; all of them when there are fewer than asked for.",
        "random",
    )
    fields = (
        count("n", "How many.", label="Rows"),
        field(
            "fraction",
            "Which part of them, from 0 to 1.",
            ConfigFieldType.NUMBER,
            minimum=0,
            maximum=1,
            label="Or a fraction",
        ),
        count("seed", "One seed gives the same rows of the same frame; none gives others each time."),
    )

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """The rows that were drawn."""
        n, fraction = config["n"], config["fraction"]
        if (n is None) == (fraction is None):
            raise fault("n", "give either 'n', a number of rows, or 'fraction', a part of them between 0 and 1")
        return frame.sample(min(n, len(frame)) if n is not None else round(fraction * len(frame)), seed=config["seed"])


class Limit(_FrameNode):
    """The first rows."""

    about = _about("limit", "First rows", "The first rows, after those that are left out.", "head", "top", "offset")
    fields = (
        count("n", "How many at most.", required=True, label="Rows"),
        count("offset", "Rows left out before them.", default=0, label="After"),
    )

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """`n` rows, or as many as there are."""
        return frame[config["offset"] : config["offset"] + config["n"]]


class DropDuplicates(_FrameNode):
    """Each row once."""

    about = _about(
        "drop_duplicates",
        "Drop duplicates",
        "Keeps one of the rows that are equal, in all columns or in those named.",
        "unique",
        "distinct",
    )
    fields = (
        json_field("columns", "What to compare; all when empty."),
        choice("keep", "Which of equal rows.", {"first": "first", "last": "last", "none": "none of them"}),
    )

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """What is left, in its order."""
        columns = [known(frame, each, "columns") for each in names(config["columns"], "columns")]
        return frame.unique(columns or None, keep=config["keep"], maintain_order=True)


class FillMissing(_FrameNode):
    """Something in the place of what is missing."""

    about = _about(
        "fill_missing",
        "Fill missing values",
        "Puts a value, or the nearest above or below, where one is missing; or drops such rows.",
        "null",
        "nan",
        "dropna",
        "fillna",
    )
    fields = (
        json_field("columns", "All when empty."),
        choice(
            "method",
            "What comes in the place of a missing value.",
            {
                "value": "a value",
                "forward": "the nearest above",
                "backward": "the nearest below",
                "drop": "nothing: drop the row",
            },
            label="Fill with",
        ),
        json_field(
            "value",
            "When no columns are named, it goes into those that hold its like: 0 into numbers only.",
            visible_when={"method": "value"},
        ),
    )

    def change(self, frame: Table, config: Mapping[str, Any]) -> Table:
        """The frame with its columns filled, or without the rows in which one of them is empty."""
        import narwhals as nw

        named = [known(frame, each, "columns") for each in names(config["columns"], "columns")]
        columns, method, value = named or frame.columns, config["method"], config["value"]
        frame = without_nan(frame, columns)
        if method == "drop":
            return frame.drop_nulls(columns)
        if method != "value":
            return frame.with_columns(nw.col(columns).fill_null(strategy=method))
        if value is None:
            raise fault("value", "there is no 'value' to fill with")
        if not named:
            columns = [each for each in columns if family(frame.schema[each]) in ("", family_of(value))]
        filled = [frame[each].fill_null(comparable(frame[each], value, "value")) for each in columns]
        return frame.with_columns(*filled)


def _once(columns: list[str], field: str) -> None:
    """`NodeConfigError` when two columns would have one name."""
    if twice := next((each for each in columns if columns.count(each) > 1), None):
        raise fault(field, f"two columns would be called {twice!r}; give one of them another name")


def _keys(left: Table, right: Table, config: Mapping[str, Any]) -> dict[str, str]:
    """The right frame's key columns by the left frame's."""
    on, left_on, right_on = (names(config[field], field) for field in ("on", "left_on", "right_on"))
    if bool(on) == bool(left_on or right_on) or len(left_on) != len(right_on):
        raise fault("on", "give 'on', columns that both frames have, or as many in 'left_on' as in 'right_on'")
    keys = dict(zip(on or left_on, on or right_on, strict=True))
    for ours, theirs in keys.items():
        known(left, ours, "on" if on else "left_on")
        known(right, theirs, "on" if on else "right_on")
        here, there = left.schema[ours], right.schema[theirs]
        if family(here) and family(there) and family(here) != family(there):
            told = f"the left {ours!r} holds {family(here)} ({here}), the right {theirs!r} {family(there)} ({there})"
            raise fault("on" if on else "left_on", f"{told}, which are never equal; read them as the same type")
    return keys


def _check_suffix(left: Table, right: Table, keys: Mapping[str, str], suffix: str) -> None:
    """`NodeConfigError` when a column would be called as another one is already."""
    for each in right.columns:
        renamed = f"{each}{suffix}"
        if each in left.columns and keys.get(each) != each and renamed in (*left.columns, *right.columns):
            raise fault("suffix", f"both frames have {each!r}, and {renamed!r} is there too; give another 'suffix'")


def _aggregation(frame: Table, given: object, by: Sequence[str]) -> tuple[str, nw.Expr]:
    """The name and the expression of `{"column": "price", "function": "sum", "name": "total"}`."""
    import narwhals as nw

    if not isinstance(given, Mapping) or "function" not in given:
        raise fault("aggregations", f"an aggregation is an object such as {_AGGREGATION}, not {shown(given)}")
    function = given["function"]
    if function not in _FUNCTIONS:
        hint = did_you_mean(str(function), _FUNCTIONS) or f"; there are {', '.join(_FUNCTIONS)}"
        raise fault("aggregations", f"there is no function {function!r}{hint}")
    if function == "rows":
        return str(given.get("name") or "rows"), nw.len()
    if "column" not in given:
        raise fault("aggregations", f"{function!r} needs a 'column'")
    column = known(frame, given["column"], "aggregations")
    held = family(frame.schema[column])
    if function in _OF_NUMBERS and held in ("text", "dates") and len(frame):
        raise fault(
            "aggregations",
            f"column {column!r} holds {held} ({frame.schema[column]}), of which there is no {function!r}",
        )
    method = "n_unique" if function == "unique" else function
    if column in by and function in ("first", "last"):
        method = "min"  # a key is the same in all of a group, and of an empty pandas frame narwhals finds no first key
    return str(given.get("name") or f"{column}_{function}"), getattr(nw.col(column), method)()
