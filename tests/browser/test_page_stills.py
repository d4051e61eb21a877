"""Stills of a run whose kernel still knows it: the view is drawn in their place, and the still put back afterwards."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .lab import Browser
from .page import ViewPage, run_of, task

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

STILL = '<div class="dagy-still" data-dagy-run="etl-1"><p>the still</p></div>'
OTHER = '<div class="dagy-still" data-dagy-run="etl-2"><p>another still</p></div>'
ENDED = run_of({"load": [], "clean": ["load"]}, state="COMPLETED", tasks={"load": task("COMPLETED")}, can_rerun=True)


def test_the_stills_of_a_run_become_its_view_and_those_of_others_stay(browser: Browser) -> None:
    with ViewPage(browser, still=STILL + OTHER + STILL) as view:
        model = view.open(ENDED)
        expect(view.page.locator(".dagy-still .dagy-run")).to_have_count(2)
        expect(view.page.get_by_text("the still", exact=True)).to_have_count(0)
        expect(view.page.get_by_text("another still")).to_be_visible()
        second = view.page.locator(".dagy-still .dagy-run").nth(1)
        second.get_by_role("button", name="Run again").click()
        assert model.sent[-1]["op"] == "rerun"


def test_a_still_that_comes_later_becomes_the_view_which_stays_as_the_user_left_it(browser: Browser) -> None:
    with ViewPage(browser) as view:
        model = view.show(run_of({"load": [], "clean": ["load"]}))
        view.page.get_by_role("searchbox").fill("clean")
        view.row("clean").click()
        model.delta(run="COMPLETED", load=task("COMPLETED"), clean=task("COMPLETED"))
        model.remove("first")
        view.page.evaluate("(still) => { document.getElementById('stills').innerHTML = still; }", STILL)
        expect(view.page.locator(".dagy-still .dagy-run")).to_be_visible()
        assert view.rows == ["clean"]
        expect(view.panel).to_have_attribute("data-task", "clean")


@pytest.mark.parametrize("what", ["lose_kernel", "close"])
def test_the_still_is_put_back_when_the_kernel_or_the_model_is_gone(browser: Browser, what: str) -> None:
    with ViewPage(browser, still=STILL + STILL) as view:
        model = view.open(ENDED)
        view.page.evaluate("() => { window.mark = document.querySelector('.dagy-still'); }")
        expect(view.page.locator(".dagy-still .dagy-run")).to_have_count(2)
        getattr(model, what)()
        expect(view.page.locator(".dagy-run")).to_have_count(0)
        assert view.page.locator("#stills").inner_html() == STILL + STILL
        assert view.page.evaluate("() => window.mark.isConnected")


def test_a_still_that_is_taken_off_the_page_gets_its_own_children_back(browser: Browser) -> None:
    with ViewPage(browser, still=STILL) as view:
        model = view.open(ENDED)
        drawn = model.listeners
        expect(view.page.locator(".dagy-still .dagy-run")).to_be_visible()
        taken = view.page.evaluate_handle(
            "() => { const still = document.querySelector('.dagy-still'); still.remove(); return still; }"
        )
        view.page.wait_for_function("(still) => still.textContent === 'the still'", arg=taken)
        view.page.evaluate("(still) => { document.getElementById('stills').append(still); }", taken)
        expect(view.page.locator(".dagy-still .dagy-run")).to_be_visible()
        assert model.listeners == drawn


def test_nothing_of_a_view_is_left_behind(browser: Browser) -> None:
    with ViewPage(browser) as view:
        view.page.evaluate(
            """() => {
                window.running = new Set();
                for (const [set, clear] of [["setInterval", "clearInterval"], ["setTimeout", "clearTimeout"]]) {
                    const [begin, end] = [window[set], window[clear]];
                    window[set] = (act, ...rest) => {
                        const id = begin(() => { if (set === "setTimeout") running.delete(id); act(); }, ...rest);
                        running.add(id);
                        return id;
                    };
                    window[clear] = (id) => { running.delete(id); end(id); };
                }
                const { add, remove } = { add: document.addEventListener, remove: document.removeEventListener };
                window.heard = 0;
                document.addEventListener = function (...given) { heard += 1; return add.apply(this, given); };
                document.removeEventListener = function (...given) { heard -= 1; return remove.apply(this, given); };
            }"""
        )
        model = view.show(run_of({"a": []}))
        model.delta(a=task("RUNNING"))
        model.draw("second")
        view.page.get_by_role("button", name="Cancel").first.click()
        model.remove("first")
        model.delta(a=task("COMPLETED"))
        model.remove("second")
        model.close()
        assert model.listeners == 0
        assert view.page.evaluate("() => running.size") == 0
        assert view.page.evaluate("() => heard") == 0


def test_a_run_is_shown_in_several_places_at_once(browser: Browser) -> None:
    with ViewPage(browser) as view:
        model = view.show(run_of({"a": []}))
        model.draw("second")
        assert model.sent == [{"op": "ready"}]
        model.delta(a=task("COMPLETED"), written=[["a", 0, [["stdout", "one", 1]]]])
        expect(view.node("a", "COMPLETED")).to_have_count(2)
        model.remove("first")
        model.delta(written=[["a", 0, [["stdout", "two", 1]]]])
        expect(view.row("a")).to_contain_text("two")
