"""Every text that would act, through every renderer, all at once in a real browser: none of it acts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page

from dagy.drawing import flow_html, run_html, svg, text_tree
from dagy.states import failed
from dagy_nb.previews import preview_of, sendable

from ..nb.hostile import MARKUP, PAYLOADS, flow, still
from .lab import Browser
from .page import ViewPage, run_of, task

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def view_of_all() -> dict[str, Any]:
    """The state of a live view with a task for each payload, which is all that the task says, and a form of them."""
    needs, tasks, about, form = {}, {}, {}, []
    for number, payload in enumerate(PAYLOADS):
        text = sendable(payload)
        name = f"{text[:200]} {number}"
        shown = [each.as_json() for kind in ("html", "plain") if (each := preview_of({f"text/{kind}": payload}))]
        head = {**task("FAILED"), "message": text, "error": text, "log": [["stdout", text, 1]], "shown": shown}
        if number % 2:
            head |= {"preview": shown[0] if shown else None}
        else:
            head |= {
                "items": {"count": 1, "done": 0, "failed": 1, "running": 0},
                "faults": [{"item": 0, "error": text}],
            }
        needs[name], tasks[name] = [*needs][-1:], head
        joined = [{"task": name, "words": text}]
        port = {"id": text, "label": text, "types": text, "kind": text, "shape": "M0 0", "joined": joined}
        setting = {"name": text, "value": text, "is_secret": bool(number % 2)}
        node = {"type": text, "category": text, "inbound": [port], "outbound": [port], "settings": [setting]}
        about[name] = {"cell": {"id": text, "label": text, "number": 1}, "description": text, "node": node}
        field = {"name": text, "kind": "choice", "annotation": text, "required": True, "value": text, "choices": [text]}
        form.append(
            {**field, "kind": ("choice", "text", "json", "fixed")[number % 4], "description": text, "secret": False}
        )
    state = run_of(needs, state="FAILED", tasks=tasks, about=about, can_rerun=True, form=form)
    return {**state, "flow_name": "".join(map(sendable, MARKUP)), "run_id": sendable(MARKUP[8])}


def test_no_payload_acts_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    pages = {
        "stills": "".join(run_html(still(each)) + flow_html(flow(each)) for each in PAYLOADS),
        "drawings": "".join(
            re.sub(r"<\?xml.*?\?>", "", svg(flow(each), {"a": failed(each)}, details={"a": each})) for each in PAYLOADS
        ),
        "converted": converted_by_nbconvert(),
    }
    before = len(browser.outside)
    asked: list[str] = []
    for name, markup in pages.items():
        path = tmp_path / f"{name}.html"
        path.write_text(f"<!doctype html><meta charset=utf-8><title>ours</title><body>{markup}", "utf-8")
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        page.goto(path.as_uri())
        hover_and_open(page)
        assert page.evaluate("typeof window.pwned") == "undefined"
        assert page.url == path.as_uri()
        page.close()
    assert [each for each in asked if not each.startswith(("file:///", "data:image/", "blob:"))] == []
    assert browser.outside[before:] == []


def test_no_payload_acts_in_the_live_view(browser: Browser) -> None:
    before = len(browser.outside)
    asked: list[str] = []
    with ViewPage(browser) as view:
        view.page.on("request", lambda request: asked.append(request.url))
        model = view.show(view_of_all())
        view.page.get_by_role("listbox", name="Tasks").focus()
        view.press("Home")
        opened = set()
        for _ in PAYLOADS:
            view.press("Enter")
            opened.add(view.panel.get_attribute("data-task"))
            view.page.evaluate(
                """() => {
                    for (const each of document.querySelectorAll(".dagy-panel *"))
                        each.dispatchEvent(new Event("mouseover"));
                }"""
            )
            view.press("Escape", "ArrowDown")
        assert len(opened) == len(PAYLOADS)
        hover_and_open(view.page)
        model.receive({"op": "refused", "about": "rerun", "problems": [{"field": None, "message": "".join(MARKUP)}]})
        model.remove("first")
        form = view.show({**view_of_all(), "is_form": True})
        problems = [{"field": sendable(each), "message": sendable(each)} for each in PAYLOADS]
        form.receive({"op": "refused", "about": "run", "problems": problems})
        hover_and_open(view.page)
        view.page.wait_for_timeout(300)  # for what was asked for to fail
        found = view.errors
        assert view.page.evaluate("typeof window.pwned") == "undefined"
        assert view.page.title() == "views"
        assert found == []
    assert [each for each in asked if not each.startswith(("data:image/", "blob:"))] == []
    assert browser.outside[before:] == []


def hover_and_open(page: Page) -> None:
    """Do what a reader does that makes scripts run: open what is folded, and move over and focus what there is."""
    page.evaluate(
        """() => {
            for (const each of document.querySelectorAll("details")) each.open = true;
            for (const each of document.querySelectorAll("body *"))
                for (const kind of ["mouseover", "focus", "toggle", "load", "error"])
                    each.dispatchEvent(new Event(kind));
        }"""
    )


def converted_by_nbconvert() -> str:
    """The outputs of a notebook in which every payload ran, as `jupyter nbconvert --to html` writes them."""
    from nbconvert import HTMLExporter

    cells = []
    for payload in PAYLOADS:
        data = {"text/html": sendable(run_html(still(payload))), "text/plain": sendable(text_tree(flow(payload)))}
        cells.append(nbformat.v4.new_code_cell("%dagy_run", outputs=[nbformat.v4.new_output("display_data", data)]))
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    return str(page)
