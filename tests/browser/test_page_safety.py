"""Text from anywhere is shown by the view of a run, and never understood: no script runs, nothing is fetched."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from .lab import Browser
from .page import ViewPage, run_of, task

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ACT = "window.top.pwned=1"
HOSTILE = [
    f"<script>{ACT}</script>",
    f"<img src=x onerror={ACT}>",
    f"<svg onload={ACT}><animate onbegin={ACT} attributeName=x></svg>",
    f'"><img src=x onerror="{ACT}">',
    f"'-alert(1)-'; {ACT}//",
    f"</pre></title></style></textarea><script>{ACT}</script>",
    f"<iframe srcdoc='<script>{ACT}</script>'></iframe>",
    f"<a href=javascript:{ACT} autofocus onfocus={ACT}>x</a>",
    f"<details open ontoggle={ACT}><summary>x</summary></details>",
    f"<math><mtext></form><form><mglyph><style></math><img src=x onerror={ACT}>",
    f"\x1b]8;;javascript:{ACT}\x07link\x1b]8;;\x07",
    f'\x1b[31;"onmouseover={ACT}m red \x1b[38;2;{ACT}m',
    "${" + ACT + "}{{constructor.constructor('" + ACT + "')()}}",
    f"]]><script>{ACT}</script>",
    "\u202ereversed\u2066 \ufeff \u0000",
    "__proto__",
    "constructor",
]


def hostile_run(text: str) -> dict[str, Any]:
    """A run in which everything is that text."""
    shown = [{"kind": "html", "content": text}, {"kind": "text", "content": text}, {"kind": "image", "content": text}]
    head = task(
        "FAILED", message=text, error=text, preview={"kind": "html", "content": text}, shown=shown,
        log=[["stdout", text, 1], [text, text, 2]], items={"count": 3, "done": 1, "failed": 2, "running": 0},
        faults=[{"item": 1, "error": text}],
    )  # fmt: skip
    form = [
        {
            "name": text, "kind": "choice", "annotation": text, "required": True, "value": text,
            "choices": [text, "b"], "description": text, "secret": False,
        }
    ]  # fmt: skip
    return run_of(
        {text: [], "next": [text]}, state="FAILED", tasks={text: head}, flow_name=text, form=form, can_rerun=True,
        about={text: {"cell": {"id": text, "label": text, "number": 1}}, "next": {"needs": [text]}},
        groups={text: (text,)},
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(browser: Browser, text: str) -> None:
    before = list(browser.outside)
    state = hostile_run(text)
    with ViewPage(browser) as view:
        view.page.evaluate("() => { window.alert = () => { window.pwned = 1; }; }")
        model = view.show(state)
        expect(view.panel).to_be_visible()
        view.page.get_by_text("Parameters", exact=True).click()
        for button in view.panel.get_by_role("button").all():
            button.hover()
        view.panel.get_by_role("button", name="Go to").click()
        view.page.get_by_role("tab", name="Timeline").click()
        view.page.locator(".dagy-bars .dagy-row").first.hover()
        view.page.get_by_role("searchbox").fill(text)
        refused = {"op": "refused", "about": "rerun", "problems": [{"field": text, "message": text}]}
        model.receive({**refused, "problems": [*refused["problems"], {"field": None, "message": text}]})
        view.page.wait_for_function("() => [...document.images].every((each) => each.complete)")
        assert view.page.evaluate("() => window.pwned") is None
        assert view.page.evaluate("() => ({}).polluted") is None
        made = view.page.locator(".dagy-run").evaluate(
            "(el) => [...el.querySelectorAll('script, [onerror], [onload]')].length"
        )
        assert made == 0
        frames = view.page.locator("iframe").evaluate_all("(all) => all.map((each) => each.getAttribute('sandbox'))")
        assert set(frames) == {"allow-same-origin"}
        view.errors.clear()  # what the browser refused is logged there
    assert browser.outside == before


def test_what_a_task_shows_loads_nothing(browser: Browser) -> None:
    before = list(browser.outside)
    content = (
        '<img src="http://example.org/a.png"><link rel="stylesheet" href="http://example.org/a.css">'
        "<style>body{background:url(http://example.org/b.png)}</style><b>there</b>"
    )
    shown = [{"kind": "html", "content": content}, {"kind": "image", "content": "http://example.org/c.png"}]
    with ViewPage(browser) as view:
        view.show(run_of({"a": []}, tasks={"a": task("COMPLETED", shown=shown)}))
        view.row("a").click()
        expect(view.panel.frame_locator("iframe").locator("b")).to_have_text("there")
        view.errors.clear()
    assert browser.outside == before
