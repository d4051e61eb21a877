"""The harness itself: a widget is drawn, answers a click, and the page asks nobody outside this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from .lab import Browser, OpenNotebook, Theme

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BUTTON = """\
import ipywidgets
button, label = ipywidgets.Button(description="Go"), ipywidgets.Label("waiting")
button.on_click(lambda _: setattr(label, "value", "done"))
ipywidgets.VBox([button, label])"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_widget_answers_a_click(open_notebook: OpenNotebook, browser: Browser, theme: Theme) -> None:
    page = open_notebook([BUTTON, "print('second')"], theme=theme)
    page.run_all()
    page.wait_until_idle()
    page.output(0).get_by_role("button", name="Go").click()
    page.wait_for_output("done")
    assert page.output_text(1) == "second"
    assert page.outputs(1)[0]["text"] == "second\n"
    assert browser.outside == []


def test_a_theme_changes_the_colours(open_notebook: OpenNotebook) -> None:
    page = open_notebook(["1"])
    background = "() => getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim()"
    light = page.page.evaluate(background)
    page.use_theme("dark")
    dark = page.page.evaluate(background)
    assert (light, dark[:4]) == ("white", "#111")


def test_a_reloaded_page_still_has_its_kernel(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    page = open_notebook(["x = 41", "print(x + 1)"])
    page.run_cell(0)
    page.wait_until_run(0)
    page.save()
    page.reload()
    page.run_cell(1)
    page.wait_for_output("42")
    assert page.screenshot(tmp_path / "cell.png", cell=1).read_bytes().startswith(b"\x89PNG")
