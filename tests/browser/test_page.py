"""What the view of a run shows and does: filter, search, graph, timeline, panel, form, running again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from .lab import Browser
from .page import NODES, START, FakeModel, ViewPage, run_of, task

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NEEDS = {"load": [], "left": ["load"], "right": ["load"], "join": ["left", "right"]}


@pytest.fixture
def view(browser: Browser) -> Iterator[ViewPage]:
    with ViewPage(browser) as opened:
        yield opened


def field(name: str, kind: str = "text", value: str | None = None, **rest: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "annotation": "str", "required": False, "value": value, "choices": [],
        "description": "", "secret": False, **rest,
    }  # fmt: skip


def chain(length: int, **given: Any) -> dict[str, Any]:
    return run_of({f"t{number}": [f"t{number - 1}"] if number else [] for number in range(length)}, **given)


# ---- what is said of a run and its tasks


def test_the_header_says_what_runs_how_it_is_and_for_how_long(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS))
    header = view.page.locator(".dagy-header")
    expect(header).to_contain_text("etl")
    expect(header).to_contain_text("running")
    expect(header).to_contain_text("10.")
    model.delta(run="FAILED", message="left failed", left=task("FAILED"))
    expect(header).to_contain_text("failed")
    expect(header.locator(".dagy-elapsed")).to_have_text("10.0 s")
    expect(view.page.locator(".dagy-run-message")).to_have_text("left failed")


def test_every_state_shows_as_icon_and_word_in_graph_and_list(view: ViewPage) -> None:
    state = run_of({"a": []})
    model = view.show(state)
    expect(view.row("a")).to_contain_text("pending")
    for name in ["RUNNING", "RETRYING", "COMPLETED"]:
        model.delta(a=task(name))
        look = state["looks"][name]
        expect(view.row("a")).to_contain_text(look["label"])
        expect(view.row("a").locator(".dagy-badge-icon path")).to_have_attribute("d", look["icon"])
        expect(view.node("a", name).locator(".dagy-icon")).to_have_attribute("d", look["icon"])
        assert look["label"] in (view.node("a").get_attribute("aria-label") or "")


def test_a_state_never_goes_back(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS))
    model.delta(load=task("COMPLETED"), left=task("RUNNING", attempt=2))
    model.delta(load=task("RUNNING"), left=task("RETRYING", attempt=1))
    expect(view.node("load", "COMPLETED")).to_be_visible()
    expect(view.row("load")).to_contain_text("completed")
    expect(view.node("left", "RUNNING")).to_be_visible()
    stale = run_of(NEEDS)["snapshot"]
    model.receive({**stale, "number": 1})  # older than what the page has
    model.receive({**stale, "number": 9})
    expect(view.node("load", "COMPLETED")).to_be_visible()


def test_a_run_that_has_ended_is_not_running_again(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS))
    model.delta(run="COMPLETED")
    model.receive({**run_of(NEEDS)["snapshot"], "number": 9})
    expect(view.page.locator(".dagy-status")).to_have_text("completed")


def test_a_gap_makes_the_page_ask_for_a_snapshot(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS))
    assert model.sent == [{"op": "ready"}]
    model.delta(load=task("RUNNING"))
    assert model.sent == [{"op": "ready"}]
    model.delta(load=task("COMPLETED"), number=5)
    assert model.sent == [{"op": "ready"}] * 2
    tasks = {name: {**task("COMPLETED"), "log": [], "shown": [], "faults": []} for name in NEEDS}
    run = {"state": "RUNNING", "message": "", "started": START, "ended": None}
    model.receive({"op": "snapshot", "number": 5, "run": run, "tasks": tasks})
    expect(view.node("join", "COMPLETED")).to_be_visible()


def test_progress_counts_the_items_of_mapped_tasks(view: ViewPage) -> None:
    items = {"count": 10, "done": 3, "failed": 1, "running": 2}
    model = view.show(run_of({"load": [], "fetch": ["load"]}, tasks={"fetch": task("RUNNING", items=items)}))
    bar = view.page.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuemax", "11")
    expect(bar).to_have_attribute("aria-valuenow", "4")
    model.delta(load=task("COMPLETED"))
    expect(bar).to_have_attribute("aria-valuenow", "5")


# ---- showing only some


def test_a_chip_shows_only_the_tasks_in_its_state_everywhere(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS, tasks={"load": task("COMPLETED"), "left": task("RUNNING")}))
    chip = view.page.get_by_role("button", name="2 pending")
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    assert view.rows == ["right", "join"]
    expect(view.page.locator(".dagy-node.dagy-dim")).to_have_count(2)
    view.page.get_by_role("tab", name="Timeline").click()
    expect(view.page.locator(".dagy-bars .dagy-row")).to_have_count(2)
    view.page.get_by_role("tab", name="Graph").click()
    model.delta(right=task("RUNNING"))
    expect(view.row("right")).to_have_count(0)
    view.page.get_by_role("button", name="1 completed").click()
    assert view.rows == ["load", "join"]
    view.page.get_by_role("button", name="1 pending").click()
    view.page.get_by_role("button", name="1 completed").click()
    assert view.rows == ["load", "left", "right", "join"]
    expect(view.page.locator(".dagy-node.dagy-dim")).to_have_count(0)


@pytest.mark.parametrize(("query", "found"), [("LEF", ["left"]), ("running", ["right"]), ("disk", ["join"])])
def test_a_search_finds_names_states_and_last_lines(view: ViewPage, query: str, found: list[str]) -> None:
    log = [["stdout", "no \x1b[31mdisk\x1b[0m\n", 1]]
    view.show(run_of(NEEDS, tasks={"right": task("RUNNING"), "join": task("COMPLETED", log=log)}))
    view.page.get_by_role("searchbox").fill(query)
    assert view.rows == found


def test_a_search_that_finds_nothing_says_so_and_is_undone(view: ViewPage) -> None:
    view.show(run_of(NEEDS))
    view.page.get_by_role("searchbox").fill("nothing like it")
    expect(view.page.locator(".dagy-none")).to_be_visible()
    view.page.get_by_role("button", name="Show all tasks").click()
    assert view.rows == ["load", "left", "right", "join"]


# ---- the graph


def scale(view: ViewPage) -> int:
    return int((view.page.locator(".dagy-zoomed").inner_text()).split()[0])


def test_the_graph_is_zoomed_by_buttons_and_by_the_wheel_with_ctrl_alone(view: ViewPage) -> None:
    view.show(run_of(NEEDS))
    assert scale(view) == 100
    view.page.get_by_role("button", name="Zoom in").click()
    assert scale(view) == 125
    view.page.get_by_role("button", name="Zoom out").click()
    assert scale(view) == 100
    view.page.locator(".dagy-picture").hover()
    view.page.keyboard.down("Control")
    view.page.mouse.wheel(0, -100)
    view.page.keyboard.up("Control")
    expect(view.page.locator(".dagy-zoomed")).not_to_have_text("100 %")
    view.page.get_by_role("button", name="Fit the whole graph").click()
    assert scale(view) == 100


def test_the_plain_wheel_scrolls_the_notebook(view: ViewPage) -> None:
    view.show(chain(60))
    view.page.locator(".dagy-picture").hover()
    before = scale(view)
    view.page.mouse.wheel(0, 200)
    view.page.wait_for_function("() => scrollY > 100")
    assert scale(view) == before


def test_a_graph_larger_than_its_frame_has_a_map_that_moves_it(view: ViewPage) -> None:
    view.show(run_of(NEEDS))
    expect(view.page.locator(".dagy-minimap")).to_be_hidden()
    view.open(chain(60, view_id="other", run_id="other")).draw("second")
    second = view.page.locator("#second")
    minimap = second.locator(".dagy-minimap")
    expect(minimap).to_be_visible()
    view.page.wait_for_function(
        "(map) => map.getContext('2d').getImageData(0, 0, 336, 216).data.some((each) => each)",
        arg=minimap.locator("canvas").element_handle(),
    )
    last = second.locator('.dagy-node[data-task="t59"]')
    expect(last).not_to_be_in_viewport()
    box = minimap.bounding_box()
    assert box is not None
    minimap.click(position={"x": box["width"] / 2, "y": box["height"] - 3})
    expect(last).to_be_in_viewport()
    second.get_by_role("button", name="Fit the whole graph").click()
    expect(minimap).to_be_hidden()


def test_more_cards_than_can_be_read_are_spots_that_can_be_chosen(view: ViewPage) -> None:
    view.show(run_of({f"t{number}": [] for number in range(700)} | {"end": [f"t{each}" for each in range(700)]}))
    expect(view.page.locator(".dagy-spots")).to_be_hidden()
    assert view.page.locator(".dagy-node").count() < 500
    view.page.get_by_role("button", name="Fit the whole graph").click()
    spots = view.page.locator(".dagy-spots")
    expect(spots).to_be_visible()
    assert view.page.locator(".dagy-node").count() == 0
    spots.click(position={"x": 500, "y": 100})
    expect(view.panel).to_be_visible()


def test_a_large_graph_begins_at_a_size_that_can_be_read(view: ViewPage) -> None:
    view.show(run_of({f"t{number}": [] for number in range(200)} | {"end": [f"t{each}" for each in range(200)]}))
    assert scale(view) >= 70


def test_a_drag_moves_the_graph_and_chooses_nothing(view: ViewPage) -> None:
    view.show(chain(60))
    node = view.node("t1")
    before = node.bounding_box()
    assert before is not None
    view.page.mouse.move(before["x"] + 20, before["y"] + 10)
    view.page.mouse.down()
    view.page.mouse.move(before["x"] + 20, before["y"] - 90, steps=4)
    view.page.mouse.up()
    after = node.bounding_box()
    assert after is not None
    assert before["y"] - after["y"] > 50
    expect(view.panel).to_be_hidden()


def test_choosing_a_node_lights_all_that_it_needs_and_all_that_needs_it(view: ViewPage) -> None:
    view.show(run_of({**NEEDS, "beside": ["load"], "end": ["join"]}))
    view.node("left").click()
    expect(view.node("left")).to_have_attribute("aria-pressed", "true")

    def lit(name: str) -> set[tuple[str, str]]:
        found = view.page.locator(f".dagy-edge.{name}").evaluate_all(
            "(edges) => edges.map((each) => [each.dataset.from, each.dataset.to])"
        )
        return {(first, second) for first, second in found}

    assert lit("dagy-up") == {("load", "left")}
    assert lit("dagy-down") == {("left", "join"), ("join", "end")}


def test_a_card_that_comes_into_view_is_as_its_task_is(view: ViewPage) -> None:
    model = view.show(chain(60))
    model.delta(t59=task("COMPLETED", seconds=2))
    view.row("t0").click()
    view.press("End")
    expect(view.node("t59", "COMPLETED").locator(".dagy-detail")).to_have_text("2.0 s")
    expect(view.node("t59")).to_be_in_viewport()


# ---- the timeline


def test_the_timeline_has_a_bar_an_attempt_and_a_line_for_waiting(view: ViewPage) -> None:
    tries = [[START + 2000, START + 3000, "FAILED"], [START + 4000, START + 5000, "COMPLETED"]]
    view.show(
        run_of(
            {"load": [], "clean": ["load"]},
            state="COMPLETED",
            tasks={
                "load": task("COMPLETED"),
                "clean": task("COMPLETED", start=2, seconds=3, attempts=tries, attempt=2),
            },
        )
    )
    view.page.get_by_role("tab", name="Timeline").click()
    row = view.page.locator('.dagy-bars .dagy-row[data-task="clean"]')
    assert row.locator(".dagy-bar").evaluate_all("(bars) => bars.map((each) => each.dataset.state)") == [
        "FAILED",
        "COMPLETED",
    ]
    expect(row.locator(".dagy-bar-sign").first).to_have_text("✗")
    places = row.locator(".dagy-wait, .dagy-bar").evaluate_all(
        "(parts) => parts.map((each) => [parseFloat(each.style.left), parseFloat(each.style.width)])"
    )
    assert places == [[20, 20], [40, 20], [80, 20]]
    assert view.page.locator(".dagy-tick").all_inner_texts()[0] == "0"
    row.hover()
    details = view.page.locator(".dagy-details")
    expect(details).to_contain_text("clean: completed, attempt 2")
    expect(details).to_contain_text("waited 1.0 s after load")
    expect(details).to_contain_text("1: failed 1.0 s, 2: completed 1.0 s")


def test_the_timeline_is_in_the_order_of_the_starts(view: ViewPage) -> None:
    tasks = {"load": task("COMPLETED"), "right": task("RUNNING", start=1), "left": task("RUNNING", start=2)}
    view.show(run_of(NEEDS, tasks=tasks))
    view.page.get_by_role("tab", name="Timeline").click()
    names = view.page.locator(".dagy-bars .dagy-bar-name").all_inner_texts()
    assert names == ["load", "right", "left", "join"]


# ---- the panel


def test_a_panel_tells_all_of_a_task(view: ViewPage) -> None:
    preview = {"kind": "html", "content": "<table><tr><td>41</td></tr></table>"}
    shown = [{"kind": "text", "content": "a figure"}]
    log = [["stdout", "one\ntwo", 1], ["stderr", "careful", 1], ["stdout", "again", 2]]
    heads = {"left": task("COMPLETED", attempt=2, preview=preview, shown=shown, log=log)}
    model = view.show(run_of(NEEDS, tasks=heads, about={"left": {"retries": 2}}))
    view.row("left").click()
    expect(view.panel).to_contain_text("attempt 2 of 3")
    expect(view.panel.locator(".dagy-log")).to_have_text("one\ntwo\ncareful\nattempt 2\nagain\n")
    expect(view.panel.locator(".dagy-from-stderr")).to_have_text("careful")
    expect(view.panel).to_contain_text("a figure")
    expect(view.panel.frame_locator("iframe").locator("td")).to_have_text("41")
    model.delta(written=[["left", 1, [["stdout", "drawn over\nmore", 2]]]])
    expect(view.panel.locator(".dagy-log")).to_contain_text("attempt 2\ndrawn over\nmore")
    expect(view.panel.locator(".dagy-log")).not_to_contain_text("again")
    model.delta(shown=[["left", {"kind": "text", "content": "one more"}]])
    expect(view.panel).to_contain_text("one more")
    view.panel.get_by_role("button", name="load").click()
    expect(view.panel).to_have_attribute("data-task", "load")
    view.panel.get_by_role("button", name="right").click()
    expect(view.panel).to_have_attribute("data-task", "right")
    view.panel.get_by_role("button", name="Close").click()
    expect(view.panel).to_be_hidden()


def test_colours_of_a_terminal_are_drawn(view: ViewPage) -> None:
    text = "\x1b[1;32mgreen\x1b[0m plain \x1b[38;2;1;2;300mrgb\x1b[39m \x1b[38;5;196;4mred\x1b[m\x1b[2K"
    view.show(run_of({"a": []}, tasks={"a": task("COMPLETED", log=[["stdout", text, 1]])}))
    view.row("a").click()
    log = view.panel.locator(".dagy-log")
    expect(log.locator(".dagy-fg-2.dagy-bold")).to_have_text("green")
    styles = log.locator("span span").evaluate_all("(all) => all.map((each) => [each.style.color, each.textContent])")
    assert styles[1:] == [["rgb(1, 2, 255)", "rgb"], ["rgb(255, 0, 0)", "red"]]


def test_a_log_is_bounded_followed_and_shown_whole_when_asked(view: ViewPage) -> None:
    model = view.show(run_of({"a": []}, tasks={"a": task("RUNNING")}))
    view.row("a").click()
    model.delta(written=[["a", 0, [["stdout", "\n".join(f"line {number}" for number in range(1000)), 1]]]])
    log = view.panel.locator(".dagy-log")
    expect(log).to_contain_text("600 earlier lines")
    is_at_end = "(log) => log.scrollTop + log.clientHeight >= log.scrollHeight - 6"
    assert log.evaluate(is_at_end)
    log.evaluate("(log) => { log.scrollTop = 0; }")
    follow = view.panel.get_by_role("button", name="Follow")
    expect(follow).to_have_attribute("aria-pressed", "false")
    model.delta(written=[["a", 0, [["stdout", "and more", 1]]]])
    assert log.evaluate("(log) => log.scrollTop") == 0
    follow.click()
    assert log.evaluate(is_at_end)
    view.panel.get_by_role("button", name="Show all").click()
    expect(log).to_contain_text("line 1\n")
    model.delta(written=[["a", 0, [["stdout", "\n".join("x" * 99 for _ in range(3000)), 1]]]])
    assert len(log.inner_text()) < 21_000


def test_a_log_is_copied(view: ViewPage) -> None:
    view.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.show(run_of({"a": []}, tasks={"a": task("RUNNING", log=[["stdout", "\x1b[31mone\x1b[0m\ntwo", 1]])}))
    view.row("a").click()
    view.panel.get_by_role("button", name="Copy").click()
    expect(view.panel.get_by_role("button", name="Copied")).to_be_visible()
    assert view.page.evaluate("() => navigator.clipboard.readText()") == "one\ntwo"


def test_the_first_failure_opens_by_itself_unless_the_user_looks_elsewhere(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS))
    model.delta(left=task("FAILED", error="ValueError: no"))
    expect(view.panel).to_have_attribute("data-task", "left")
    expect(view.panel.locator(".dagy-error")).to_have_text("ValueError: no")
    other = view.open(run_of(NEEDS, view_id="other"))
    other.draw("second")
    second = view.page.locator("#second")
    second.locator('.dagy-row[data-task="right"]').click()
    other.delta(left=task("FAILED"))
    expect(second.locator(".dagy-panel")).to_have_attribute("data-task", "right")


def test_a_panel_leads_to_its_cell_or_says_which_it_is(view: ViewPage) -> None:
    cells = {
        "load": {"cell": {"id": "a", "label": "Cell [7]", "number": 7}},
        "left": {"cell": {"id": "b", "label": "Cell [8]", "number": 8}},
    }
    view.show(run_of(NEEDS, about=cells))
    view.row("load").click()
    cell = view.page.locator(".jp-Cell")
    expect(cell).not_to_be_in_viewport(ratio=0.5)
    view.panel.get_by_role("button", name="Go to Cell [7]").click()
    expect(cell).to_have_class("jp-Cell dagy-marked-cell")
    expect(cell.locator("pre")).to_be_in_viewport()
    expect(cell).to_have_class("jp-Cell")
    view.row("left").click()
    view.panel.get_by_role("button", name="Go to Cell [8]").click()
    expect(view.panel.get_by_role("status")).to_have_text(
        "Cell [8] is not on this page just now: scroll the notebook to it."
    )


def test_a_mapped_task_is_one_node_with_counts_and_its_failed_items_first(view: ViewPage) -> None:
    items = {"count": 10, "done": 7, "failed": 22, "running": 1}
    faults = [{"item": 3, "error": "Traceback\nValueError: three"}, {"item": 8, "error": "KeyError: 8"}]
    model = view.show(run_of({"fetch": []}, tasks={"fetch": task("RUNNING", items={**items, "failed": 0})}))
    expect(view.node("fetch").locator(".dagy-detail")).to_have_text("7 of 10")
    model.delta(fetch=task("FAILED", items=items, faults=faults))
    expect(view.node("fetch").locator(".dagy-items rect")).to_have_count(5)
    expect(view.panel.locator(".dagy-fault summary")).to_have_text(["Item 3ValueError: three", "Item 8KeyError: 8"])
    expect(view.panel.locator(".dagy-fault").first.locator(".dagy-error")).to_be_visible()
    expect(view.panel).to_contain_text("and 20 more items that failed")
    parts = view.panel.locator("[class^=dagy-part-]").evaluate_all(
        "(all) => all.filter((each) => each.childNodes.length).map((each) => each.className)"
    )
    assert parts == ["dagy-part-items", "dagy-part-faults"]
    model.delta(fetch=task("FAILED", items=items))  # a delta without them leaves them
    expect(view.panel.locator(".dagy-fault")).to_have_count(2)


# ---- nodes


def test_a_node_is_a_card_with_connectors_that_takes_every_state_and_a_panel_tells_all_of_it(view: ViewPage) -> None:
    state = run_of(NODES)
    model = view.show(state)
    split = view.node("split")
    expect(split.locator(".dagy-port text")).to_have_text(["rowsdataframe", "keptdataframe", "restdataframe or list"])
    expect(view.page.locator('.dagy-edge[data-from="split"][data-to="save"]')).to_have_attribute("data-kind", "table")
    expect(split.locator('[data-port="kept"] title')).to_have_text("kept: dataframe, to save")
    expect(split).to_have_attribute("aria-label", re.compile("takes rows: dataframe; gives kept: dataframe, rest: "))
    for name in ["RUNNING", "COMPLETED"]:
        model.delta(split=task(name))
        look = state["looks"][name]
        expect(view.node("split", name).locator(".dagy-icon")).to_have_attribute("d", look["icon"])
    expect(split.locator(".dagy-detail")).to_have_text("1.0 s")
    expect(split.locator(".dagy-settings")).to_have_text("column age")
    split.click()
    expect(view.panel.locator(".dagy-node-facts dt")).to_have_text(["Node", "In", "Out", "Settings"])
    expect(view.panel.locator(".dagy-node-facts dd")).to_have_text(
        [
            "split_rowstransform", "rowsdataframefromload", "keptdataframetosave", "restdataframe or list",
            "columnage", "tokenAPI_TOKENa secret",
        ]
    )  # fmt: skip
    view.panel.get_by_role("button", name="save", exact=True).click()
    expect(view.panel.locator(".dagy-panel-title")).to_have_text("save")
    view.page.get_by_role("searchbox").fill("split_rows")
    assert view.rows == ["split"]


# ---- running: cancel, again, with parameters


def asked(model: FakeModel) -> list[dict[str, Any]]:
    return [each for each in model.sent if each["op"] != "ready"]


def test_cancel_asks_once_and_goes_when_the_run_has_ended(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS, can_rerun=True))
    view.page.get_by_role("button", name="Cancel").click()
    button = view.page.get_by_role("button", name="Cancelling")
    expect(button).to_be_disabled()
    expect(view.page.get_by_role("button", name="Run again")).to_have_count(0)
    assert asked(model) == [{"op": "cancel"}]
    model.delta(run="CANCELLED", load=task("CANCELLED"))
    expect(button).to_be_hidden()
    expect(view.page.get_by_role("button", name="Run the rest again")).to_be_visible()


@pytest.mark.parametrize(
    ("label", "source"), [("Run again from the failed task", "failed"), ("Run all again", "start")]
)
def test_a_run_that_failed_is_run_again_from_there_or_from_the_start(view: ViewPage, label: str, source: str) -> None:
    model = view.show(run_of(NEEDS, state="FAILED", tasks={"left": task("FAILED")}, can_rerun=True))
    view.page.get_by_role("button", name=label).click()
    assert asked(model) == [{"op": "rerun", "from": source, "parameters": None}]
    expect(view.page.get_by_role("button", name=label)).to_be_disabled()
    model.receive({"op": "refused", "about": "rerun", "problems": [{"field": None, "message": "cell [3] is gone"}]})
    expect(view.page.locator(".dagy-run-message")).to_contain_text("cell [3] is gone")
    expect(view.page.get_by_role("button", name=label)).to_be_enabled()


def test_a_run_that_completed_is_run_again_only_where_that_can_be(view: ViewPage) -> None:
    done = {name: task("COMPLETED") for name in NEEDS}
    model = view.show(run_of(NEEDS, state="COMPLETED", tasks=done, can_rerun=True))
    expect(view.page.get_by_role("button", name="Run again from the failed task")).to_be_hidden()
    view.page.get_by_role("button", name="Run again", exact=True).click()
    assert asked(model) == [{"op": "rerun", "from": "start", "parameters": None}]
    view.open(run_of(NEEDS, state="COMPLETED", tasks=done, view_id="other")).draw("second")
    expect(view.page.locator("#second").get_by_role("button", name="Run again")).to_have_count(0)


def test_changed_parameters_go_with_the_run_again(view: ViewPage) -> None:
    form = [field("rows", "integer", "100"), field("path", value="a.csv")]
    model = view.show(run_of(NEEDS, state="FAILED", tasks={"left": task("FAILED")}, can_rerun=True, form=form))
    rows = view.page.get_by_role("textbox", name="rows")
    expect(rows).to_be_hidden()
    view.page.get_by_text("Parameters", exact=True).click()
    rows.fill("7")
    view.page.get_by_role("button", name="Run again from the failed task").click()
    assert asked(model)[-1] == {"op": "rerun", "from": "failed", "parameters": {"rows": "7", "path": "a.csv"}}
    problem = {"field": "rows", "message": "7 is too few"}
    model.receive({"op": "refused", "about": "rerun", "problems": [problem]})
    expect(rows).to_have_attribute("aria-invalid", "true")
    expect(rows).to_be_focused()
    expect(view.page.locator('[data-field="rows"]')).to_contain_text("7 is too few")
    rows.fill("70")
    view.page.get_by_role("button", name="Run again with these").click()
    assert asked(model)[-1] == {"op": "rerun", "from": "start", "parameters": {"rows": "70", "path": "a.csv"}}
    expect(view.page.locator('[data-field="rows"]')).not_to_contain_text("too few")


def test_a_form_starts_a_run_with_every_kind_of_parameter_as_text(view: ViewPage) -> None:
    form = [
        field("path", required=True, description="where the data is"),
        field("rows", "integer", "100"),
        field("rate", "number", "0.5"),
        field("loud", "boolean", "true"),
        field("mode", "choice", "full", choices=["fast", "full"]),
        field("options", "json", '{"a": 1}'),
        field("frame", "fixed", required=True),
        field("token", secret=True, required=True),
        field("left_out"),
    ]
    model = view.show(run_of(NEEDS, state="PENDING", is_form=True, run_id="", form=form))
    expect(view.node("load", "PENDING")).to_be_visible()
    expect(view.page.get_by_role("button", name="Cancel")).to_be_hidden()
    run = view.page.get_by_role("button", name="Run", exact=True)
    run.click()
    path = view.page.get_by_role("textbox", name="path")
    expect(path).to_be_focused()
    expect(view.page.locator('[data-field="path"]')).to_contain_text("is needed")
    assert asked(model) == []
    path.fill("a.csv")
    view.page.get_by_role("checkbox", name="loud").uncheck()
    view.page.get_by_role("combobox", name="mode").select_option("fast")
    expect(view.page.locator('[data-field="frame"] output')).to_contain_text("stays as it is")
    assert view.page.locator('[data-field="token"] input').get_attribute("type") == "password"
    run.click()
    given = {"path": "a.csv", "rows": "100", "rate": "0.5", "loud": "false", "mode": "fast", "options": '{"a": 1}'}
    assert asked(model) == [{"op": "run", "parameters": given}]
    expect(view.page.get_by_role("button", name="Starting")).to_be_disabled()
    problems = [{"field": "rate", "message": "not below 1"}, {"field": None, "message": "no such file"}]
    model.receive({"op": "refused", "about": "run", "problems": problems})
    expect(view.page.locator('[data-field="rate"]')).to_contain_text("not below 1")
    expect(view.page.locator(".dagy-problem")).to_have_text("no such file")
    expect(view.page.get_by_role("textbox", name="rate")).to_be_focused()
    run.click()
    model.receive({"op": "started", "run_id": "etl-2"})
    expect(run).to_be_enabled()
    expect(view.page.locator(".dagy-problem")).to_be_hidden()


# ---- many tasks


def test_two_thousand_tasks_keep_the_page_small(view: ViewPage) -> None:
    needs = {f"t{number}": [f"t{number - 10}"] if number >= 10 else [] for number in range(2000)}
    model = view.show(run_of(needs, tasks={name: task("RUNNING", start=1) for name in needs}))
    assert len(view.rows) < 40
    model.delta(**{name: task("COMPLETED") for name in needs})
    expect(view.page.get_by_role("button", name="2,000 completed")).to_be_visible()
    view.page.get_by_role("tab", name="Timeline").click()
    bars = view.page.locator(".dagy-bars .dagy-row")
    assert bars.count() < 40
    bars.first.click()
    view.press("End")
    expect(view.page.locator('.dagy-bars .dagy-row[data-task="t1999"]')).to_be_in_viewport()
    assert bars.count() < 40
    view.page.get_by_role("searchbox").fill("t1777")
    expect(bars).to_have_count(1)
