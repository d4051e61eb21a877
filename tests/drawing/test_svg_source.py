"""The SVG picture of a flow."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.drawing import ICONS, svg
from dagy.spec import FlowSpec, FromTask, TaskSpec
from dagy.states import StateType, failed

ODD_NAMES = [
    "<script>alert(1)</script>",
    '"; DROP TABLE tasks; --',
    "\u202egnp.exe",
    "🚀 データ",
    "x" * 10_000,
    "nul\0 \ud800 line\nbreak ]]> &amp; '",
    "<lambda>",
]


def flow(needs: dict[str, list[str]], groups: dict[str, tuple[str, ...]] | None = None) -> FlowSpec:
    groups = groups or {}
    return FlowSpec(
        name="etl",
        tasks=tuple(
            TaskSpec(
                id=name,
                name=name,
                function=f"m:{name}",
                inputs={f"x{place}": FromTask(each) for place, each in enumerate(given)},
                group=groups.get(name, ()),
            )
            for name, given in needs.items()
        ),
    )


DIAMOND = flow({"load": [], "left": ["load"], "right": ["load"], "join": ["left", "right"]})


def parts(picture: str, kind: str) -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(picture).iter() if each.get("class") == kind]


def names_in(picture: str) -> list[str]:
    return ["".join(each.itertext()) for each in parts(picture, "dagy-name")]


def test_every_task_is_a_card_and_every_need_an_edge():
    picture = svg(DIAMOND)
    assert [each.get("data-task") for each in parts(picture, "dagy-node")] == ["load", "left", "right", "join"]
    edges = [(each.get("data-from"), each.get("data-to")) for each in parts(picture, "dagy-edge")]
    assert edges == list(DIAMOND.edges)


def test_a_state_shows_as_attribute_icon_and_word():
    picture = svg(DIAMOND, {"load": StateType.COMPLETED, "left": failed("no disk")})
    assert [each.get("data-state") for each in parts(picture, "dagy-node")] == [
        "COMPLETED",
        "FAILED",
        "PENDING",
        "PENDING",
    ]
    assert [each.get("d") for each in parts(picture, "dagy-icon")][:2] == [ICONS["COMPLETED"], ICONS["FAILED"]]
    assert [each.text for each in parts(picture, "dagy-detail")] == ["completed", "failed", "pending", "pending"]


def test_a_detail_takes_the_place_of_the_word():
    picture = svg(DIAMOND, {}, details={"load": "1.2 s"})
    assert [each.text for each in parts(picture, "dagy-detail")] == ["1.2 s", "pending", "pending", "pending"]


def test_a_picture_of_no_run_shows_no_state():
    picture = svg(DIAMOND)
    assert {each.get("data-state") for each in parts(picture, "dagy-node")} == {""}
    assert parts(picture, "dagy-detail") == []


def test_the_picture_says_in_words_what_it_shows():
    root = ElementTree.fromstring(svg(DIAMOND, {"load": StateType.COMPLETED, "left": StateType.FAILED}))
    assert (root.get("role"), root.get("aria-label")) == ("img", "etl: 4 tasks, 2 pending, 1 completed, 1 failed")


def test_a_long_name_is_cut_in_the_middle_and_whole_in_the_title():
    name = "publish_dashboard_to_the_whole_company"
    picture = svg(flow({name: []}))
    assert names_in(picture) == ["publish_dashboard_…e_company"]
    assert f"<title>{name}</title>" in picture


def test_calls_of_one_task_are_told_apart_by_their_ids():
    tasks = (
        TaskSpec("fetch", "fetch", "m:fetch"),
        TaskSpec("fetch-2", "fetch", "m:fetch"),
        TaskSpec("s", "Store", "m:s"),
    )
    assert names_in(svg(FlowSpec("etl", tasks=tasks))) == ["fetch", "fetch-2", "Store"]


def test_a_sub_flow_is_a_frame_with_its_name():
    picture = svg(flow({"a": [], "b": ["a"]}, {"b": ("prepare", "clean")}))
    assert [each.get("data-group") for each in parts(picture, "dagy-group")] == ["prepare", "prepare/clean"]
    assert [each.text for each in parts(picture, "dagy-group-name")] == ["prepare", "clean"]


@pytest.mark.parametrize(("length", "direction"), [(3, "right"), (12, "down")])
def test_a_flow_goes_to_the_right_only_where_that_fits_a_page(length, direction):
    picture = svg(flow({f"t{i}": [f"t{i - 1}"] if i else [] for i in range(length)}))
    root = ElementTree.fromstring(picture)
    assert root.get("data-direction") == direction
    assert float(root.get("width", "")) <= 1120


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_stays_text_in_a_well_formed_picture(name):
    spec = flow({name: [], "b": [name]}, {"b": (name,)})
    picture = svg(spec, {name: StateType.RUNNING}, details={name: name})
    picture.encode()
    tags = {each.tag.partition("}")[2] for each in ElementTree.fromstring(picture).iter()}
    assert tags == {"svg", "style", "g", "title", "rect", "circle", "path", "text"}


@given(st.lists(st.text(st.characters(exclude_categories=()), min_size=1, max_size=40), max_size=5, unique=True))
def test_any_names_give_a_well_formed_picture_and_the_same_one_each_time(names):
    spec = flow({name: names[:place] for place, name in enumerate(names)})
    assert len(parts(svg(spec), "dagy-node")) == len(names)
    assert svg(spec) == svg(spec)


def test_two_pictures_can_share_a_page():
    picture = svg(DIAMOND, {})
    assert all(each.get("id") is None for each in ElementTree.fromstring(picture).iter())
    assert "url(" not in picture
    assert "href" not in picture


def test_every_rule_of_style_is_held_to_the_picture():
    style = next(each for each in ElementTree.fromstring(svg(DIAMOND)).iter() if each.tag.endswith("style"))
    selectors = [each for rule in (style.text or "").split("}")[:-1] for each in rule.partition("{")[0].split(",")]
    assert all(each.startswith(".dagy-graph ") for each in selectors)


def test_a_flow_without_tasks_is_an_empty_picture():
    assert parts(svg(FlowSpec("nothing")), "dagy-node") == []


def test_a_mark_is_a_tag_with_a_dashed_outline_and_part_of_the_accessible_name():
    picture = svg(DIAMOND, {}, marks={"left": "edited", "join": ""})
    (tag,) = parts(picture, "dagy-mark")
    assert tag.text == "edited"
    assert [each.get("data-task") for each in parts(picture, "dagy-node dagy-marked")] == ["left"]
    assert ElementTree.fromstring(picture).get("aria-label") == "etl: 4 tasks, 4 pending, 1 edited"
    assert "<title>left (edited)</title>" in picture
    assert ".dagy-marked .dagy-card{" in picture
    assert "stroke-dasharray:5 3" in picture


def test_a_card_has_room_for_its_mark():
    picture = svg(DIAMOND, marks={"left": "upstream is newer"})
    (tag,), (node,) = parts(picture, "dagy-tag"), parts(picture, "dagy-node dagy-marked")
    card = next(each for each in node if each.get("class") == "dagy-card")
    assert 0 < float(tag.get("x") or 0) < float(card.get("width") or 0) - float(tag.get("width") or 0)


@pytest.mark.parametrize("mark", ODD_NAMES)
def test_a_mark_is_shown_and_never_understood(mark):
    picture = svg(DIAMOND, marks={"left": mark})
    assert len(parts(picture, "dagy-mark")) == 1
    tags = {each.tag.partition("}")[2] for each in ElementTree.fromstring(picture).iter()}
    assert tags == {"svg", "style", "g", "title", "rect", "circle", "path", "text"}
