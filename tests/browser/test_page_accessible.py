"""The view of a run for everybody: axe-core's rules, announcements, motion, and themes."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import expect

from dagy.states import StateType

from .lab import Browser, Theme
from .page import NODES, START, ViewPage, run_of, task
from .test_page import field

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NEEDS = {"load": [], "left": ["load"], "right": ["load"], "join": ["left", "right"]}
STATES = [each.value for each in StateType]


def busy() -> dict[str, Any]:
    """A run with a task in every state, and a panel with everything in it."""
    colours = "".join(f"\x1b[{code}mcolour {code}\x1b[0m " for code in [*range(30, 38), *range(90, 98), *range(41, 48)])
    everything = task(
        "FAILED", message="it failed", error="ValueError: no", attempt=2,
        items={"count": 9, "done": 3, "failed": 2, "running": 1}, faults=[{"item": 4, "error": "KeyError: 4"}],
        log=[["stdout", colours, 1], ["stderr", "careful", 2], ["log", "hook x raised", 2]],
        shown=[{"kind": "text", "content": "shown"}],
        preview={"kind": "html", "content": "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>"},
        attempts=[[START, START + 500, "FAILED"], [START + 700, START + 900, "FAILED"]],
    )  # fmt: skip
    tasks = {state.lower(): task(state) for state in STATES} | {"failed": everything}
    needs = {name: [] if name == "pending" else ["pending"] for name in tasks}
    form = [field("rows", "integer", "100", description="how many"), field("loud", "boolean", "true")]
    return run_of(
        needs, state="FAILED", tasks=tasks, can_rerun=True, form=form, groups={"failed": ("model",)},
        about={"failed": {"cell": {"id": "a", "label": "Cell [8]", "number": 8}, "retries": 1}},
    )  # fmt: skip


def violations(view: ViewPage) -> list[str]:
    """What axe-core finds wrong with the views."""
    view.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found = view.page.evaluate("() => axe.run('.dagy-run', { iframes: false })")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(("theme", "scheme"), [("light", "light"), ("dark", "light"), (None, "light"), (None, "dark")])
def test_axe_finds_nothing_wrong(browser: Browser, theme: Theme | None, scheme: Theme) -> None:
    with ViewPage(browser, theme=theme, color_scheme=scheme, reduced_motion="reduce") as view:
        if theme is None and scheme == "dark":
            view.page.add_style_tag(content="body{background:#111;color:#eee}")
        model = view.show(busy())
        expect(view.panel).to_be_visible()
        assert violations(view) == []
        view.page.get_by_role("button", name="Go to").click()
        view.page.get_by_text("Parameters", exact=True).click()
        view.page.get_by_role("tab", name="Timeline").click()
        view.page.locator(".dagy-chip").first.click()
        problems = [{"field": "rows", "message": "too few"}, {"field": None, "message": "no file"}]
        model.receive({"op": "refused", "about": "rerun", "problems": problems})
        assert violations(view) == []
        view.page.get_by_role("searchbox").fill("nothing like it")
        assert violations(view) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_a_form_and_with_a_run_at_work(browser: Browser, theme: Theme) -> None:
    form = [
        field("path", required=True, description="where"),
        field("loud", "boolean", "true"),
        field("mode", "choice", "a", choices=["a", "b"]),
        field("options", "json", "{}"),
        field("frame", "fixed", required=True),
        field("token", secret=True),
    ]
    with ViewPage(browser, theme=theme, reduced_motion="reduce") as view:
        view.show(run_of(NEEDS, state="PENDING", is_form=True, run_id="", form=form))
        running = run_of(NODES, view_id="other", tasks={"load": task("RUNNING", log=[["stdout", "hello", 1]])})
        view.open(running).draw("second")
        second = view.page.locator("#second")
        second.locator('.dagy-row[data-task="load"]').click()
        view.page.get_by_role("button", name="Run", exact=True).click()
        assert violations(view) == []
        second.locator('.dagy-row[data-task="split"]').click()
        expect(second.locator(".dagy-node-facts")).to_be_visible()
        assert violations(view) == []


def test_what_changes_is_said_now_and_then_and_the_end_at_once(browser: Browser) -> None:
    needs = {f"t{number}": [] for number in range(50)}
    with ViewPage(browser) as view:
        model = view.show(run_of(needs))
        view.page.evaluate(
            """() => {
                window.said = [];
                const spoken = document.querySelector(".dagy-spoken");
                new MutationObserver(() => said.push(spoken.textContent)).observe(spoken, { childList: true });
            }"""
        )
        for name in needs:
            model.delta(**{name: task("COMPLETED")})
        assert len(view.page.evaluate("() => said")) <= 2
        model.delta(run="COMPLETED")
        view.page.wait_for_function("() => said.at(-1) === 'etl: completed'")


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_for_who_wants_that(browser: Browser, motion: Any, moves: bool) -> None:
    with ViewPage(browser, reduced_motion=motion) as view:
        view.show(run_of(NEEDS, tasks={"load": task("RUNNING")}))
        names = view.page.locator(".dagy-run *").evaluate_all(
            "(all) => all.map((each) => getComputedStyle(each).animationName).filter((each) => each !== 'none')"
        )
        assert bool(names) is moves


def test_the_page_takes_the_theme_that_its_reader_prefers_outside_a_notebook(browser: Browser) -> None:
    background = "(el) => getComputedStyle(el).backgroundColor"
    with ViewPage(browser, theme=None, color_scheme="dark") as view:
        view.show(run_of(NEEDS))
        assert view.page.locator(".dagy-run").evaluate(background) == "rgb(22, 25, 31)"
        view.page.emulate_media(color_scheme="light")
        assert view.page.locator(".dagy-run").evaluate(background) == "rgb(255, 255, 255)"
        fill = "(card) => getComputedStyle(card).fill"
        light = view.node("load").locator(".dagy-card").evaluate(fill)
        view.page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
        assert view.node("load").locator(".dagy-card").evaluate(fill) != light


def test_states_can_be_told_apart_in_forced_colours(browser: Browser) -> None:
    with ViewPage(browser) as view:
        view.page.emulate_media(forced_colors="active")
        view.show(busy())
        for state in STATES:
            chip = view.page.locator(f'.dagy-chip[data-state="{state}"]')
            assert (
                chip.locator(".dagy-badge-icon").evaluate("(el) => getComputedStyle(el).backgroundColor")
                != "rgba(0, 0, 0, 0)"
            )
            expect(chip).to_contain_text(state.lower().replace("_", " "))
