"""The picture of a flow with nodes: their connectors, the lines that meet them, and their settings."""

import re
from xml.etree import ElementTree

import pytest

from dagy.drawing import connectors, dot, flow_html, svg, text_tree
from dagy.drawing.layout import Wire
from dagy.drawing.ports import wires
from dagy.spec import (
    Binding,
    Constant,
    FlowSpec,
    FromParameter,
    FromTask,
    ListOf,
    NodeSpec,
    PortSpec,
    TaskSpec,
)
from dagy.states import StateType

FRAME = PortSpec("frame", ("dataframe",))
READ = NodeSpec("read_csv", "input", (), (FRAME,))
SPLIT = NodeSpec("split", "transform", (FRAME,), (PortSpec("kept", ("dataframe",)), PortSpec("rest", ("dataframe",))))
JOIN = NodeSpec(
    "join", "transform", (PortSpec("left", ("dataframe",)), PortSpec("right", ("dataframe", "list"))), (FRAME,)
)
MERGE = NodeSpec("merge", "control", (PortSpec("values", ("any",)),), (PortSpec("value", ("any",), "first value"),))
HOOK = NodeSpec("webhook", "notify", (PortSpec("message", ("string",)),), ())


def task(name: str, node: NodeSpec | None = None, /, after: tuple[str, ...] = (), **inputs: Binding) -> TaskSpec:
    return TaskSpec(name, name, f"m:{name}", inputs, after=after, node=node)


REPORT = FlowSpec(
    "report",
    tasks=(
        task("read", READ, path=Constant("orders.csv")),
        task("split", SPLIT, frame=FromTask("read"), column=Constant("amount"), above=FromParameter("least")),
        task("count", rows=FromTask("split", ("rest",))),
        task("join", JOIN, left=FromTask("split", ("kept",)), right=FromTask("count"), how=Constant("inner")),
        task("tell", HOOK, message=FromTask("join"), url=Constant({"$secret": "HOOK_URL"}), after=("count",)),
    ),
)


def root(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)


def of_class(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in element.iter() if name in each.get("class", "").split()]


def card(picture: str, name: str) -> ElementTree.Element:
    (found,) = [each for each in of_class(root(picture), "dagy-node") if each.get("data-task") == name]
    return found


def place(element: ElementTree.Element) -> tuple[float, float]:
    x, y = re.findall(r"-?[\d.]+", element.get("transform", ""))
    return float(x), float(y)


def port_places(picture: str) -> dict[tuple[str | None, ...], tuple[float, float]]:
    """Where in the picture each port is, by its task, side and id."""
    found: dict[tuple[str | None, ...], tuple[float, float]] = {}
    for node in of_class(root(picture), "dagy-node"):
        left, top = place(node)
        for port in of_class(node, "dagy-port"):
            shape = next(each for each in port if each.tag.endswith("path"))
            x, y = place(shape)
            found[node.get("data-task"), port.get("data-side"), port.get("data-port")] = (left + x, top + y)
    return found


def ends(line: ElementTree.Element) -> tuple[tuple[float, float], tuple[float, float]]:
    numbers = [float(each) for each in re.findall(r"-?[\d.]+", line.get("d", "").partition("m")[0])]
    return (numbers[0], numbers[1]), (numbers[-2], numbers[-1])


def texts(element: ElementTree.Element, kind: str) -> list[str]:
    return ["".join(each.itertext()) for each in of_class(element, kind)]


def test_a_node_has_its_connectors_with_name_and_types_on_its_card():
    split = card(svg(REPORT), "split")
    ports = of_class(split, "dagy-port")
    assert [(each.get("data-side"), each.get("data-port"), each.get("data-kind")) for each in ports] == [
        ("in", "frame", "table"),
        ("out", "kept", "table"),
        ("out", "rest", "table"),
    ]
    assert [texts(each, "dagy-port-type") for each in ports] == [[], ["dataframe"], ["dataframe"]]
    assert "a split node" in (next(iter(split)).text or "")


def test_a_connector_says_in_its_title_what_it_takes_and_whence():
    join = card(svg(REPORT), "join")
    titles = [each[0].text for each in of_class(join, "dagy-port")]
    assert titles == [
        "left: dataframe, from split.kept",
        "right: dataframe or list, from count",
        "frame: dataframe, to tell",
    ]


def test_a_connector_is_called_by_its_id_and_its_own_name_is_in_its_title():
    merge = card(svg(FlowSpec("f", tasks=(task("merge", MERGE),))), "merge")
    _, value = of_class(merge, "dagy-port")
    assert ["".join(each.itertext()) for each in value if each.tag.endswith("text")] == ["value"]
    assert value[0].text == "value (first value): any"


@pytest.mark.parametrize("direction", ["right", "down"])
def test_every_line_meets_the_connectors_that_it_joins(direction):
    picture = svg(REPORT, {}, direction=direction)
    ports = port_places(picture)
    lines = of_class(root(picture), "dagy-edge")
    found = wires(REPORT)
    assert len(lines) == len(found) == 6
    for line, wire in zip(lines, found, strict=True):
        assert (line.get("data-from"), line.get("data-to")) == (wire.source, wire.target)
        start, end = ends(line)
        if wire.outlet:
            assert start == pytest.approx(ports[wire.source, "out", wire.outlet], abs=0.11)
        if wire.inlet:
            assert end == pytest.approx(ports[wire.target, "in", wire.inlet], abs=0.11)  # tenths of pixels


@pytest.mark.parametrize(("direction", "at"), [("right", 0), ("down", 1)])
def test_connectors_stand_at_the_edges_where_lines_come_and_go(direction, at):
    split = card(svg(REPORT, direction=direction), "split")
    box = next(each for each in split if each.get("class") == "dagy-card")
    far = float(box.get("width" if direction == "right" else "height", ""))
    along = [
        place(next(each for each in port if each.tag.endswith("path")))[at] for port in of_class(split, "dagy-port")
    ]
    assert along == [0, far, far]


def test_a_line_from_one_connector_to_one_runs_straight():
    spec = FlowSpec("f", tasks=(task("a", READ), task("split", SPLIT, frame=FromTask("a")),
                                task("tell", HOOK, message=FromTask("split", ("rest",)))))  # fmt: skip
    for direction, across in (("right", 1), ("down", 0)):
        for line in of_class(root(svg(spec, direction=direction)), "dagy-edge"):
            start, end = ends(line)
            assert start[across] == end[across]


def test_lines_of_two_connectors_do_not_cross_where_the_order_of_the_tasks_can_avoid_it():
    tasks = (task("split", SPLIT), task("low", HOOK, message=FromTask("split", ("rest",))),
             task("high", HOOK, message=FromTask("split", ("kept",))))  # fmt: skip
    picture = svg(FlowSpec("f", tasks=tasks), direction="right")
    assert place(card(picture, "high"))[1] < place(card(picture, "low"))[1]


def test_two_lines_between_the_same_nodes_are_both_drawn():
    tasks = (
        task("split", SPLIT),
        task("join", JOIN, left=FromTask("split", ("kept",)), right=FromTask("split", ("rest",))),
    )
    lines = [ends(each) for each in of_class(root(svg(FlowSpec("f", tasks=tasks), direction="right")), "dagy-edge")]
    assert len(lines) == 2
    assert [start[1] == end[1] for start, end in lines] == [True, True]


def test_a_list_joins_all_that_it_holds_to_one_connector():
    tasks = (task("a", READ), task("b", READ), task("merge", MERGE, values=ListOf((FromTask("a"), FromTask("b")))))
    spec = FlowSpec("f", tasks=tasks)
    assert wires(spec) == [Wire("a", "merge", "frame", "values"), Wire("b", "merge", "frame", "values")]
    assert connectors(spec)["merge"].inbound[0].ends == ("a", "b")


def test_a_setting_that_comes_from_a_task_is_a_connector_too():
    spec = FlowSpec("f", tasks=(task("columns"), task("read", READ, names=FromTask("columns"))))
    (port,) = of_class(card(svg(spec), "read"), "dagy-port")[:1]
    assert (port.get("data-side"), port.get("data-port"), port.get("data-kind")) == ("in", "names", "any")


def test_waiting_without_a_value_is_a_dashed_line_to_no_connector():
    *_, line = of_class(root(svg(REPORT)), "dagy-edge")
    assert (line.get("data-from"), line.get("data-to"), line.get("data-kind")) == ("count", "tell", "after")


def test_a_card_says_how_its_node_is_set_and_never_a_secret():
    picture = svg(REPORT, {"read": StateType.COMPLETED})
    assert texts(card(picture, "read"), "dagy-settings") == ["path orders.csv"]
    assert texts(card(picture, "split"), "dagy-settings") == ["column amount · above $least"]
    assert texts(card(picture, "tell"), "dagy-settings") == []
    assert "HOOK_URL" not in picture
    (url,) = connectors(REPORT)["tell"].settings
    assert (url.name, url.value, url.is_secret) == ("url", "HOOK_URL", True)


def test_settings_that_have_no_room_are_left_out_and_told_of():
    inputs = {f"option_{number}": Constant(f"value {number}") for number in range(9)}
    (line,) = texts(card(svg(FlowSpec("f", tasks=(task("read", READ, **inputs),))), "read"), "dagy-settings")
    assert line == "value 0 · value 1 · value 2 · value 3 · …"


def test_where_settings_have_no_room_for_their_names_words_stand_alone_and_numbers_do_not():
    inputs: dict[str, Binding] = {
        "column": Constant("Body Mass (g)"),
        "above": Constant(30),
        "operator": Constant("is not null"),
        "strict": Constant(True),
    }
    (line,) = texts(card(svg(FlowSpec("f", tasks=(task("read", READ, **inputs),))), "read"), "dagy-settings")
    assert line == "Body Mass (g) · above 30 · is not null · …"


def test_code_keeps_its_lines_and_a_long_setting_is_cut():
    inputs = {
        "code": Constant("a = 1\nreturn a"),
        "rows": Constant([{"a": 1}] * 100_000),
        "text": Constant("x" * 9_000),
    }
    spec = FlowSpec("f", tasks=(task("read", READ, **inputs),))
    code, rows, text = (each.value for each in connectors(spec)["read"].settings)
    assert code == "a = 1\nreturn a"
    assert rows == ", ".join(["a: 1"] * 50 + ["…"])
    assert text == "x" * 2_000 + "…"
    assert "a = 1␊return a" in "".join(texts(card(svg(spec), "read"), "dagy-settings"))


def test_the_category_of_a_node_is_its_icon():
    plain, running = card(svg(REPORT), "read"), card(svg(REPORT, {}), "read")
    (badge,) = of_class(plain, "dagy-icon")
    (mark,) = of_class(running, "dagy-category")
    assert badge.get("d") == mark.get("d")
    assert plain.get("data-category") == "input"
    assert of_class(plain, "dagy-category") == []


def test_a_picture_without_nodes_has_nothing_of_them():
    picture = svg(FlowSpec("f", tasks=(task("a"), task("b", x=FromTask("a")))), {})
    assert not re.search("dagy-port|dagy-category|data-kind|dagy-settings", picture)


@pytest.mark.parametrize(
    "odd", ["<script>alert(1)</script>", "nul\0 \ud800 ]]> &amp; '\"", "\u202egnp.exe", "x" * 5_000]
)
def test_what_is_odd_in_a_node_stays_text(odd):
    node = NodeSpec(odd, odd, (PortSpec(odd, ("list",), odd),), (PortSpec(odd, ("any",)),))
    tasks = (task("a", node, **{odd + "2": Constant(odd)}), task("b", node, **{odd: FromTask("a")}))
    spec = FlowSpec("f", tasks=tasks)
    tags = {each.tag.partition("}")[2] for each in root(svg(spec, {})).iter()}
    assert tags == {"svg", "style", "g", "title", "rect", "circle", "path", "text", "tspan"}
    assert "<script" not in flow_html(spec) + dot(spec)
    for text in (flow_html(spec), dot(spec), text_tree(spec)):
        assert not re.search("[\0\ud800\u202e]", text)


def test_the_tree_of_text_says_what_comes_in_and_goes_out():
    lines = text_tree(REPORT).splitlines()
    assert "read · → frame: dataframe" in lines
    assert any("join · left ← split.kept, right ← count → frame: dataframe" in each for each in lines)


def test_the_table_of_a_flow_says_by_connector_what_each_node_needs():
    page = flow_html(REPORT)
    assert "left ← split.kept, right ← count" in page
    assert "kept: dataframe, rest: dataframe" in page
    assert "HOOK_URL" not in page


def test_source_for_graphviz_has_a_cell_for_each_connector():
    source = dot(REPORT)
    assert 'PORT="o1" ALIGN="RIGHT">rest: dataframe' in source
    assert "t1:o0:e -> t3:i0:w" in source
    assert "t2 -> t3:i1:w" in source
