"""The view of a run without a pointer: every action by keys, and the focus where one would look for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from .lab import Browser
from .page import ViewPage, run_of, task

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NEEDS = {"load": [], "left": ["load"], "right": ["load"], "join": ["left", "right"]}


@pytest.fixture
def view(browser: Browser) -> Iterator[ViewPage]:
    with ViewPage(browser) as opened:
        yield opened


def tab_to(view: ViewPage, what: str) -> None:
    """Press Tab until that has the focus."""
    for _ in range(30):
        view.press("Tab")
        if view.focused.startswith(what):
            return
    raise AssertionError(f"{what!r} is not reached by Tab; it ended at {view.focused!r}")


def test_arrows_go_along_the_lines_of_the_graph_and_between_levels(view: ViewPage) -> None:
    view.show(run_of(NEEDS))
    tab_to(view, "load")
    found = []
    for key in ["ArrowRight", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"]:
        view.press(key)
        found.append(view.focused)
    assert found[0] in ("left", "right")
    assert found[3] == found[4] == "join"  # there is nothing further on
    assert found[5] in ("left", "right")
    assert found[6:] == ["load", "join"]
    assert {found[1], found[2]} == {"left", "right"}


def test_enter_opens_the_panel_of_a_node_and_escape_goes_back_to_it(view: ViewPage) -> None:
    view.show(run_of(NEEDS))
    tab_to(view, "load")
    view.press("ArrowRight", "Enter")
    name = view.focused
    expect(view.panel).to_be_visible()
    assert name in ("left", "right")
    expect(view.panel.locator(".dagy-panel-title")).to_be_focused()
    view.press("Escape")
    expect(view.panel).to_be_hidden()
    expect(view.node(name)).to_be_focused()


def test_plus_minus_and_zero_zoom_and_arrows_move_the_graph(view: ViewPage) -> None:
    view.show(run_of({f"t{number}": [f"t{number - 1}"] if number else [] for number in range(60)}))
    zoomed = view.page.locator(".dagy-zoomed")
    before = zoomed.inner_text()
    tab_to(view, "Graph of etl")
    view.press("+")
    expect(zoomed).not_to_have_text(before)
    view.press("-")
    expect(zoomed).to_have_text(before)
    box = view.node("t3").bounding_box()
    view.press("ArrowDown", "ArrowDown")
    moved = view.node("t3").bounding_box()
    assert box is not None
    assert moved is not None
    assert box["y"] - moved["y"] == pytest.approx(120, abs=1)
    view.press("0")
    expect(view.page.locator(".dagy-minimap")).to_be_hidden()


def test_the_list_is_walked_by_arrows_and_a_panel_goes_along_once_it_is_open(view: ViewPage) -> None:
    view.show(run_of(NEEDS))
    tab_to(view, "Tasks")
    view.press("ArrowDown", "ArrowDown")
    active = view.page.locator(".dagy-tasks .dagy-active")
    expect(active).to_have_attribute("data-task", "right")
    expect(view.panel).to_be_hidden()
    view.press("Enter")
    expect(view.panel).to_have_attribute("data-task", "right")
    view.press("Escape")
    expect(view.page.get_by_role("listbox", name="Tasks")).to_be_focused()
    view.press("Enter")
    tab_to(view, "load")  # among what the task needs
    view.press("Enter")
    expect(view.panel).to_have_attribute("data-task", "load")


def test_a_slash_searches_and_escape_undoes_that(view: ViewPage) -> None:
    view.show(run_of(NEEDS))
    tab_to(view, "Tasks")
    view.press("/")
    expect(view.page.get_by_role("searchbox")).to_be_focused()
    view.page.keyboard.type("rig")
    assert view.rows == ["right"]
    view.press("Escape")
    assert view.rows == list(NEEDS)


def test_tabs_chips_and_buttons_are_pressed_by_keys(view: ViewPage) -> None:
    model = view.show(run_of(NEEDS, tasks={"load": task("RUNNING")}))
    tab_to(view, "Cancel")
    view.press("Enter")
    assert model.sent[-1] == {"op": "cancel"}
    tab_to(view, "Graph")
    view.press("ArrowRight")
    expect(view.page.get_by_role("tab", name="Timeline")).to_have_attribute("aria-selected", "true")
    tab_to(view, "1running")
    view.press(" ")
    expect(view.page.locator(".dagy-bars .dagy-row")).to_have_count(1)
    tab_to(view, "Timeline of the tasks")
    view.press("ArrowDown")
    expect(view.page.locator(".dagy-details")).to_contain_text("load: running")
    view.press("Enter")
    expect(view.panel).to_have_attribute("data-task", "load")


def test_a_run_is_started_from_a_form_by_keys(view: ViewPage) -> None:
    form = [
        {
            "name": "path", "kind": "text", "annotation": "str", "required": True, "value": None, "choices": [],
            "description": "", "secret": False,
        }
    ]  # fmt: skip
    model = view.show(run_of(NEEDS, state="PENDING", is_form=True, run_id="", form=form))
    view.press("Tab")
    view.page.keyboard.type("a.csv")
    view.press("Enter")
    assert model.sent[-1] == {"op": "run", "parameters": {"path": "a.csv"}}


def test_keys_pressed_in_the_view_are_no_commands_to_the_notebook(view: ViewPage) -> None:
    view.page.evaluate(
        "() => { window.heard = []; document.addEventListener('keydown', (event) => window.heard.push(event.key)); }"
    )
    view.show(run_of(NEEDS))
    view.row("load").click()
    view.press("d", "x", "ArrowDown", "Enter", "Escape")
    assert view.page.evaluate("() => window.heard") == []
    view.press("Escape")  # there is nothing left to close: the notebook may have it
    assert view.page.evaluate("() => window.heard") == ["Escape"]
