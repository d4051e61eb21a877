"""A run, as its user sees it in JupyterLab: live, cancelled, reloaded, in light and in dark."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from .conftest import SCREENSHOTS
from .lab import Browser, LabServer, NotebookPage, OpenNotebook, Theme, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"

LOAD = "%load_ext dagy_nb\nimport time\nfrom pathlib import Path"

# Runs until the test lets it go on, by making the file.
WAITING = """\
%%dagy_task
def waiting(first):
    print("waiting for the gate")
    while not Path({gate!r}).exists():
        time.sleep(0.01)
    print("the gate is open")
    return first + 1"""

FIRST = """\
%%dagy_task
def first():
    print("hello from <b>first</b>")
    return 41"""

LAST = """\
%%dagy_task
def last(waiting):
    return waiting"""


def node(page: NotebookPage, cell: int, task: str, state: str) -> Locator:
    """The task's node in the live graph, once it is in that state."""
    return page.output(cell).locator(f'.dagy-picture .dagy-node[data-task="{task}"][data-state="{state}"]')


def row(page: NotebookPage, cell: int, task: str) -> Locator:
    """The task's row in the list."""
    return page.output(cell).locator(f'.dagy-tasks .dagy-row[data-task="{task}"]')


def panel(page: NotebookPage, cell: int, task: str) -> Locator:
    """The task's panel, once it is open."""
    return page.output(cell).locator(f'.dagy-panel[data-task="{task}"]')


def still(page: NotebookPage, cell: int) -> str:
    """The picture that stays when the run has ended, as HTML: all that the notebook's file has of the run."""
    output = page.outputs(cell)[0]  # an error may follow
    assert sorted(output["data"]) == ["text/html", "text/plain"]
    markup = output["data"]["text/html"]
    return markup if isinstance(markup, str) else "".join(markup)


def view_of_still(page: NotebookPage, cell: int) -> Locator:
    """The view that is drawn in the still's place while the kernel still knows the run."""
    return page.output(cell).locator(".dagy-still .dagy-run")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_quickstart_runs_and_keeps_its_picture(
    lab: LabServer, browser: Browser, screenshot_name: str, theme: Theme
) -> None:
    name = f"{screenshot_name}/01_quickstart.ipynb"
    shutil.copytree(NOTEBOOKS, lab.root / screenshot_name, ignore=shutil.ignore_patterns("build", "dist"))
    cells = [each["id"] for each in json.loads((lab.root / name).read_text("utf-8"))["cells"]]
    dag, run, chart = cells.index("dag"), cells.index("run"), cells.index("run-chart")
    page = browser.open(lab, name, theme=theme)
    try:
        page.run_all()
        page.wait_until_idle()
        assert "9 tasks: 9 completed" in still(page, run)
        expect(view_of_still(page, run)).to_contain_text("completed")
        for each in (dag, chart):
            expect(page.output(each).locator("img").first).to_be_visible()
        for each in (dag, run, chart):
            page.screenshot(SCREENSHOTS / f"{screenshot_name}-{cells[each]}.png", cell=each)
        page.save()
        page.reload()
        assert "9 tasks: 9 completed" in still(page, run)
        expect(view_of_still(page, run).locator(".dagy-node").first).to_be_visible()
        page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        picture = page.output(run).locator("img").first
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") > 100
        page.screenshot(SCREENSHOTS / f"{screenshot_name}-reloaded.png", cell=run)
    finally:
        page.close()
    assert browser.outside == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_states_change_while_it_runs_and_each_task_has_its_own_output(
    open_notebook: OpenNotebook, tmp_path: Path, screenshot_name: str, theme: Theme
) -> None:
    gate = tmp_path / "gate"
    page = open_notebook(
        [LOAD, FIRST, WAITING.format(gate=str(gate)), LAST, "run = %dagy_run", "run['last']"], theme=theme
    )
    page.run_all()
    expect(node(page, 4, "first", "COMPLETED")).to_be_visible()
    expect(node(page, 4, "waiting", "RUNNING")).to_be_visible()
    expect(node(page, 4, "last", "PENDING")).to_be_visible()

    node(page, 4, "waiting", "RUNNING").click()
    expect(panel(page, 4, "waiting").locator(".dagy-log")).to_have_text("waiting for the gate\n")
    row(page, 4, "first").click()
    expect(panel(page, 4, "first").locator(".dagy-log")).to_have_text("hello from <b>first</b>\n")
    expect(page.output(4).get_by_role("progressbar")).to_have_attribute("aria-valuenow", "1")
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-live.png", cell=4)

    gate.touch()
    page.wait_until_idle()
    assert "3 tasks: 3 completed" in still(page, 4)
    assert page.outputs(5)[0]["data"]["text/plain"] == "42"
    expect(view_of_still(page, 4)).to_contain_text("Run again")
    expect(panel(page, 4, "first").locator(".dagy-log")).to_have_text("hello from <b>first</b>\n")  # as it was left


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_mapped_task_is_one_node_with_counts_and_a_progress_bar_one_line(
    open_notebook: OpenNotebook, tmp_path: Path, screenshot_name: str, theme: Theme
) -> None:
    gate = tmp_path / "gate"
    fetch = f"""\
%%dagy_task
def fetch(page):
    while page > 5 and not Path({str(gate)!r}).exists():
        time.sleep(0.01)
    if page == 3:
        raise ValueError(f"there is no page {{page}}")
    return page"""
    download = f"""\
%%dagy_task --isolation process
def download(page=0):
    for percent in range(0, 101, 10):
        while percent == 60 and not Path({str(gate)!r}).exists():
            time.sleep(0.01)
        print(f"\\r\\x1b[32m{{percent:3}} %\\x1b[0m |{{'█' * (percent // 10):10}}|", end="")
    print("\\ndone")"""
    pages = "%%dagy_flow\ndef pages():\n    return fetch.map(list(range(10))), download()"
    page = open_notebook([LOAD, fetch, download, pages, "run = %dagy_run --no-fail-fast"], theme=theme)
    page.run_all()
    fetching = node(page, 4, "fetch", "RUNNING")
    expect(fetching).to_contain_text("fetch[…]")
    expect(fetching.locator(".dagy-detail")).to_have_text("5 of 10, 1 failed")
    bar = row(page, 4, "download").locator(".dagy-task-line")
    expect(bar).to_have_text("50 % |█████     |")
    fetching.click()
    expect(panel(page, 4, "fetch").locator(".dagy-fault")).to_contain_text("Item 3")
    expect(panel(page, 4, "fetch").locator(".dagy-error")).to_contain_text("ValueError: there is no page 3")
    node(page, 4, "download", "RUNNING").click()
    expect(panel(page, 4, "download").locator(".dagy-log")).to_have_text("50 % |█████     |")
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-live.png", cell=4)

    gate.touch()
    page.wait_until_idle()
    assert "item 3: Traceback" in still(page, 4)
    assert "100 % |██████████|\ndone" in still(page, 4)
    row(page, 4, "download").click()
    expect(panel(page, 4, "download").locator(".dagy-log")).to_have_text("100 % |██████████|\ndone\n")
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-still.png", cell=4)


def test_cancel_stops_a_long_run(open_notebook: OpenNotebook, tmp_path: Path, screenshot_name: str) -> None:
    page = open_notebook([LOAD, FIRST, WAITING.format(gate=str(tmp_path / "never")), LAST, "%dagy_run", "'after'"])
    page.run_all()
    expect(node(page, 4, "waiting", "RUNNING")).to_be_visible()
    page.output(4).get_by_role("button", name="Cancel").click()
    page.wait_for_output("cancelled")
    page.wait_until_idle()
    shown = still(page, 4)
    assert "cancelled" in shown
    assert "1 completed" in shown
    assert "Traceback" not in shown
    assert "still at work" not in shown  # the loop in the task has really ended
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-still.png", cell=4)
    page.run_cell(5)
    page.wait_for_output("after")


def test_cancel_works_where_the_page_can_reach_only_a_kernel_that_is_idle(
    browser: Browser, tmp_path: Path, screenshot_name: str
) -> None:
    """Front ends without subshells: the kernel can't hear the button, so the page has the server interrupt it."""
    settings = {"@jupyterlab/apputils-extension:kernels-settings": {"commsOverSubshells": "disabled"}}
    cells = [LOAD, FIRST, WAITING.format(gate=str(tmp_path / "never")), "run = %dagy_run --no-raise", "run.status"]
    root = tmp_path / "notebooks"
    root.mkdir()
    write_notebook(root / "cancel.ipynb", cells)
    with LabServer(root, settings=settings) as server:
        page = browser.open(server, "cancel.ipynb")
        try:
            page.run_all()
            expect(node(page, 3, "waiting", "RUNNING")).to_be_visible()
            page.output(3).get_by_role("button", name="Cancel").click()
            page.wait_until_idle()
            assert "interrupted" in still(page, 3)
            assert "CANCELLED" in page.outputs(4)[0]["data"]["text/plain"]
        finally:
            page.close()


def test_the_stop_button_of_the_notebook_cancels_the_run(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    page = open_notebook(
        [LOAD, FIRST, WAITING.format(gate=str(tmp_path / "never")), "run = %dagy_run --no-raise", "run.status"]
    )
    page.run_all()
    expect(node(page, 3, "waiting", "RUNNING")).to_be_visible()
    page.interrupt()
    page.wait_until_idle()
    assert "interrupted" in still(page, 3)
    page.run_cell(4)
    page.wait_for_output("CANCELLED")


def test_a_background_run_lets_other_cells_run(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_notebook([LOAD, FIRST, WAITING.format(gate=str(gate)), "run = %dagy_run --background", "'meanwhile'"])
    page.run_all()
    page.wait_until_idle()
    expect(node(page, 3, "waiting", "RUNNING")).to_be_visible()
    assert page.outputs(4)[0]["data"]["text/plain"] == "'meanwhile'"
    gate.touch()
    expect(view_of_still(page, 3)).to_contain_text("Run again")
    assert "2 tasks: 2 completed" in still(page, 3)


def test_a_failure_is_shown_with_its_cell_and_without_frames_of_ours(
    open_notebook: OpenNotebook, screenshot_name: str
) -> None:
    broken = "%%dagy_task\nlast = first / 0"
    page = open_notebook([LOAD, FIRST, broken, "%dagy_run", "'never reached'"])
    page.run_all()
    page.wait_until_idle()
    shown = page.output_text(3)
    assert "ZeroDivisionError" in shown
    assert "Cell [3], line 2" in shown
    assert "dagy/engine" not in shown
    assert "task 'last' of flow" in shown
    assert page.outputs(4) == []
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-still.png", cell=3)


def test_what_a_task_shows_can_run_no_script(open_notebook: OpenNotebook, browser: Browser, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    attack = """\
%%dagy_task
def first():
    from IPython.display import HTML, display
    attack = "window.top.hacked = 1"
    display(HTML(f"<p><b>shown</b></p><img src=x onerror='{attack}'><script>{attack}</script></div></details>"))
    print("<img src=x onerror='window.hacked = 1'>")
    return 1"""
    page = open_notebook([LOAD, attack, WAITING.format(gate=str(gate)), "%dagy_run --background"])
    page.run_all()
    expect(node(page, 3, "first", "COMPLETED")).to_be_visible()
    node(page, 3, "first", "COMPLETED").click()
    frame = panel(page, 3, "first").frame_locator("iframe").first
    expect(frame.locator("b")).to_have_text("shown")
    assert page.page.evaluate("() => window.hacked === undefined")
    assert browser.outside == []
    gate.touch()
    expect(view_of_still(page, 3)).to_contain_text("completed")
    saved = tmp_path / "still.html"
    saved.write_text(still(page, 3), "utf-8")
    alone = browser.open_file(saved)
    alone.locator("details", has_text="first").first.locator("summary").click()
    expect(alone.locator("details b", has_text="shown")).to_be_visible()
    assert alone.evaluate("() => window.hacked === undefined")
    alone.close()
    assert page.page.evaluate("() => window.hacked === undefined")
    assert browser.outside == []
