"""The layout of a graph: what holds for every graph, and what a reader expects of the usual ones."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.drawing.layout import Layout, Ports, Wire, layout
from dagy.errors import CycleError


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """A graph without circles: each task needs some of those before it."""
    count = draw(st.integers(0, 25))
    picks = [
        draw(st.lists(st.integers(0, place - 1), max_size=4, unique=True)) if place else [] for place in range(count)
    ]
    return {f"t{place}": [f"t{each}" for each in given] for place, given in enumerate(picks)}


@st.composite
def grouped(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, tuple[str, ...]]]:
    """A graph, and for some of its tasks the groups around them, which may leave and come back."""
    needs = draw(graphs())
    paths = st.sampled_from([(), (), ("a",), ("b",), ("a", "c"), ("a", "c", "d")])
    return needs, {name: draw(paths) for name in needs}


directions = st.sampled_from(["right", "down"])


def laid_out(needs, direction="right", groups=None) -> Layout:
    sizes = {name: (90.0 + 7 * (len(needs[name]) % 5), 40.0) for name in needs}
    return layout(needs, sizes, direction=direction, groups=groups, flow="f")


def overlap(one, other) -> bool:
    return (
        one.x < other.x + other.width - 0.01
        and other.x < one.x + one.width - 0.01
        and one.y < other.y + other.height - 0.01
        and other.y < one.y + one.height - 0.01
    )


def holds(outer, inner) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


@given(graphs(), directions)
def test_every_task_has_one_box_inside_the_picture_and_no_two_overlap(needs, direction):
    result = laid_out(needs, direction)
    boxes = list(result.boxes.values())
    assert list(result.boxes) == list(needs)
    assert all(box.x >= 0 and box.x + box.width <= result.width + 0.01 for box in boxes)
    assert all(box.y >= 0 and box.y + box.height <= result.height + 0.01 for box in boxes)
    assert not any(overlap(one, other) for index, one in enumerate(boxes) for other in boxes[:index])


@given(graphs(), directions)
def test_every_need_has_one_line_that_only_goes_forward_from_box_to_box(needs, direction):
    result = laid_out(needs, direction)
    assert set(result.paths) == {Wire(each, name) for name, given in needs.items() for each in given}
    for (source, target, _, _), points in result.paths.items():
        along = [point.x if direction == "right" else point.y for point in points]
        assert along == sorted(along)
        start, end = result.boxes[source], result.boxes[target]
        if direction == "right":
            assert tuple(points[0]) == pytest.approx((start.x + start.width, start.y + start.height / 2))
            assert points[-1] == pytest.approx((end.x, end.y + end.height / 2))
        else:
            assert points[0] == pytest.approx((start.x + start.width / 2, start.y + start.height))
            assert points[-1] == pytest.approx((end.x + end.width / 2, end.y))


@given(graphs(), directions)
def test_no_line_runs_straight_through_a_box(needs, direction):
    result = laid_out(needs, direction)
    for points in result.paths.values():
        for one, other in pairwise(points):
            if one.x == other.x or one.y == other.y:
                for box in result.boxes.values():
                    within_x = min(one.x, other.x) < box.x + box.width - 1 and max(one.x, other.x) > box.x + 1
                    within_y = min(one.y, other.y) < box.y + box.height - 1 and max(one.y, other.y) > box.y + 1
                    assert not (within_x and within_y)


@given(grouped(), directions)
@settings(max_examples=60)
def test_a_frame_holds_its_own_tasks_and_touches_no_others(graph, direction):
    needs, groups = graph
    result = laid_out(needs, direction, groups)
    boxes = list(result.boxes.values())
    assert set(result.paths) == {Wire(each, name) for name, given in needs.items() for each in given}
    assert not any(overlap(one, other) for index, one in enumerate(boxes) for other in boxes[:index])
    for path, frame in result.frames.items():
        for name, box in result.boxes.items():
            if groups[name][: len(path)] == path:
                assert holds(frame, box)
            else:
                assert not overlap(frame, box)


@given(grouped(), directions)
@settings(max_examples=30)
def test_the_same_graph_gives_the_same_layout(graph, direction):
    needs, groups = graph
    assert laid_out(needs, direction, groups) == laid_out(dict(needs), direction, dict(groups))


def test_a_chain_is_a_straight_line():
    result = laid_out({"a": [], "b": ["a"], "c": ["b"], "d": ["c"]})
    assert len({box.y for box in result.boxes.values()}) == 1


def test_a_long_line_beside_a_chain_swings_only_at_its_ends():
    needs = {"a": []} | {f"s{i}": ["a" if i == 0 else f"s{i - 1}"] for i in range(6)}
    result = laid_out(needs | {"z": ["s5", "a"]})
    levels = [point.y for point in result.paths[Wire("a", "z")]]
    assert len(set(levels[1:-1])) == 1


def test_a_task_stands_in_the_middle_of_those_it_feeds():
    result = laid_out({"a": []} | {f"p{i}": ["a"] for i in range(4)})
    parts = [result.boxes[f"p{i}"].y for i in range(4)]
    assert result.boxes["a"].y == (min(parts) + max(parts)) / 2


def test_tasks_without_crossing_needs_are_drawn_without_crossings():
    needs = {"a": [], "b": [], "x": ["b"], "y": ["a"], "q": ["x"], "p": ["y"]}
    result = laid_out(needs)
    assert all(len({point.y for point in points}) == 1 for points in result.paths.values())


def test_boxes_in_a_column_are_as_long_as_the_longest():
    sizes = {"a": (60.0, 40.0), "b": (120.0, 40.0), "c": (80.0, 40.0)}
    result = layout({"a": [], "b": ["a"], "c": ["a"]}, sizes, direction="right")
    assert (result.boxes["a"].width, result.boxes["b"].width, result.boxes["c"].width) == (60, 120, 120)


def test_a_group_that_a_path_leaves_and_enters_again_has_no_frame():
    needs = {"a": [], "b": ["a"], "c": ["b"]}
    result = laid_out(needs, groups={"a": ("g",), "c": ("g",)})
    assert result.frames == {}
    assert set(result.boxes) == {"a", "b", "c"}


def test_tasks_that_need_each_other_are_refused_with_the_circle_named():
    with pytest.raises(CycleError, match="flow 'f' goes in a circle: b -> c -> b"):
        laid_out({"a": [], "b": ["a", "c"], "c": ["b"]})


def test_what_is_needed_but_not_there_is_passed_over():
    assert laid_out({"a": ["nobody"]}).paths == {}


@pytest.mark.parametrize("direction", ["right", "down"])
def test_a_chain_of_thousands_with_one_task_that_needs_them_all_is_laid_out(direction):
    chain = {f"t{i}": [f"t{i - 1}"] if i else [] for i in range(3_000)}
    result = laid_out(chain | {"report": list(chain)}, direction)
    assert len(result.boxes) == 3_001
    assert sum(map(len, result.paths.values())) < 50_000


def test_long_lines_beyond_number_share_one_lane_outside_of_the_boxes():
    chain = {f"t{i}": [f"t{i - 1}"] if i else [] for i in range(300)}
    far = {f"end{i}": [f"t{i}", "t299"] for i in range(0, 250, 2)}
    result = laid_out(chain | far)
    bottom = max(box.y + box.height for box in result.boxes.values())
    lanes = {point.y for points in result.paths.values() for point in points if point.y > bottom}
    assert len(lanes) == 1


@st.composite
def wired(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[Wire], dict[str, Ports]]:
    """A graph of which some boxes have ports, and its lines."""
    needs = draw(graphs())
    with_ports = [name for name in needs if draw(st.booleans())]
    levels = {"": 5.0, "a": 12.0, "b": 30.0}
    ports = {name: Ports(draw(st.sampled_from([12.0, 20.0])), levels, levels) for name in with_ports}
    names = st.sampled_from(["", "a", "b"])
    pairs = [(each, name) for name, given in needs.items() for each in given for _ in range(draw(st.integers(1, 2)))]
    wires = [
        Wire(each, name, draw(names) if each in ports else "", draw(names) if name in ports else "")
        for each, name in pairs
    ]
    return needs, wires, ports


@given(wired(), directions)
@settings(max_examples=60)
def test_every_line_meets_both_boxes_at_its_ports(graph, direction):
    needs, wires, ports = graph
    sizes = dict.fromkeys(needs, (90.0, 40.0) if direction == "right" else (40.0, 90.0))
    result = layout(needs, sizes, direction=direction, wires=wires, ports=ports)
    assert set(result.paths) == set(wires)
    boxes = list(result.boxes.values())
    assert not any(overlap(one, other) for index, one in enumerate(boxes) for other in boxes[:index])
    for wire, points in result.paths.items():
        start, end = result.boxes[wire.source], result.boxes[wire.target]
        leaves = ports[wire.source].outlets[wire.outlet] if wire.source in ports else 20
        enters = ports[wire.target].inlets[wire.inlet] if wire.target in ports else 20
        if direction == "right":
            assert points[0] == pytest.approx((start.x + start.width, start.y + leaves))
            assert points[-1] == pytest.approx((end.x, end.y + enters))
        else:
            assert points[0] == pytest.approx((start.x + leaves, start.y + start.height))
            assert points[-1] == pytest.approx((end.x + enters, end.y))


def test_ports_on_one_level_do_not_change_where_boxes_stand():
    needs = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
    sizes = dict.fromkeys(needs, (90.0, 40.0))
    middle = Ports(20.0, {}, {})
    plain = layout(needs, sizes, direction="right")
    assert layout(needs, sizes, direction="right", ports=dict.fromkeys(needs, middle)) == plain


def test_a_chain_by_ports_on_several_levels_is_a_straight_line():
    needs = {"a": [], "b": ["a"], "c": ["b"]}
    ports = {name: Ports(10.0, {"in": 10.0}, {"out": 30.0}) for name in needs}
    wires = [Wire("a", "b", "out", "in"), Wire("b", "c", "out", "in")]
    result = layout(needs, dict.fromkeys(needs, (90.0, 40.0)), direction="right", wires=wires, ports=ports)
    assert all(len({point.y for point in points}) == 1 for points in result.paths.values())
