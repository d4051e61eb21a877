"""The life of a view in JupyterLab and Notebook 7: reloads, restarts, many runs and tasks, keys, and who can't see."""

from __future__ import annotations

import json
import statistics
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import SCREENSHOTS
from .lab import Interface, NotebookPage, OpenNotebook, Theme
from .test_run_view import FIRST, LOAD, WAITING, node, panel, row

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

FOREGROUND, BACKGROUND = "run = %dagy_run --no-raise", "run = %dagy_run --background"

expect.set_options(timeout=30_000)  # what is waited for comes soon, on a machine that has time

# Cells of JupyterLab's that a key could have changed, had it reached the notebook.
CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.map((each) => each.model.id).join()"


def view(page: NotebookPage, cell: int) -> Locator:
    """The live view that is an output of the cell."""
    return page.output(cell).locator(".dagy-run")


def in_still(page: NotebookPage, cell: int) -> Locator:
    """The live view in the place of the still."""
    return page.output(cell).locator(".dagy-still .dagy-run")


def bare_still(page: NotebookPage, cell: int) -> Locator:
    """The still as it was saved."""
    return page.output(cell).locator(".dagy-still:not(:has(.dagy-run))")


def kinds(page: NotebookPage, cell: int) -> list[list[str]]:
    """For each of the cell's outputs that shows something its MIME types."""
    return [sorted(each["data"]) for each in page.outputs(cell) if "data" in each]


def result(page: NotebookPage, cell: int, expression: str) -> str:
    """What the expression is in the kernel; the cell is overwritten with it."""
    page.page.evaluate(
        """([index, text]) => {
            const model = window.jupyterapp.shell.currentWidget.content.widgets[index].model;
            model.sharedModel.setSource(text);
            model.outputs.clear();
        }""",
        [cell, expression],
    )
    page.run_cell(cell)
    page.page.wait_for_function(
        "(index) => window.jupyterapp.shell.currentWidget.content.widgets[index].model.outputs.length > 0", arg=cell
    )
    return str(page.outputs(cell)[0]["data"]["text/plain"])


def troubles(page: NotebookPage) -> list[str]:
    """What the page complained of that may be due to the view."""
    return [each for each in page.console if "dagy" in each.lower() or "model not found" in each.lower()]


def violations(page: Page, within: str) -> list[str]:
    """What axe-core finds wrong with what is there."""
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found = page.evaluate("(within) => axe.run(within, { iframes: false })", within)
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("interface", ["lab", "notebook"])
def test_a_reloaded_page_follows_the_run_to_its_end_and_keeps_its_still(
    open_notebook: OpenNotebook, tmp_path: Path, interface: Interface
) -> None:
    gate = tmp_path / "gate"
    page = open_notebook([LOAD, FIRST, WAITING.format(gate=str(gate)), BACKGROUND], interface=interface)
    page.run_all()
    expect(node(page, 3, "waiting", "RUNNING")).to_be_visible()
    page.save()

    page.page.reload()
    expect(node(page, 3, "first", "COMPLETED")).to_be_visible()
    node(page, 3, "waiting", "RUNNING").click()
    expect(panel(page, 3, "waiting").locator(".dagy-log")).to_have_text("waiting for the gate\n")
    gate.touch()
    expect(in_still(page, 3)).to_be_visible()
    expect(node(page, 3, "waiting", "COMPLETED")).to_be_visible()
    expect(panel(page, 3, "waiting").locator(".dagy-log")).to_contain_text("the gate is open")
    assert kinds(page, 3) == [["text/html", "text/plain"]]
    page.save()

    page.reload()
    expect(in_still(page, 3)).to_be_visible()
    node(page, 3, "first", "COMPLETED").click()
    expect(panel(page, 3, "first").locator(".dagy-log")).to_have_text("hello from <b>first</b>\n")
    # It is run again in its place, though this page has never been told which output that is.
    still = page.output(3).locator(".dagy-still")
    before = still.get_attribute("data-dagy-run")
    assert before is not None
    page.output(3).get_by_role("button", name="Run again").click()
    expect(still).not_to_have_attribute("data-dagy-run", before)
    expect(in_still(page, 3)).to_be_visible()
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    expect(bare_still(page, 3)).to_be_visible()
    expect(bare_still(page, 3)).to_contain_text("2 tasks: 2 completed")
    assert kinds(page, 3) == [["text/html", "text/plain"]]
    assert troubles(page) == []


def test_a_page_that_is_reloaded_while_its_cell_waits_shows_the_end(
    open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    page = open_notebook([LOAD, FIRST, WAITING.format(gate=str(gate)), FOREGROUND])
    page.run_all()
    expect(node(page, 3, "waiting", "RUNNING")).to_be_visible()
    page.save()
    page.page.reload()
    page.page.wait_for_selector(".jp-Notebook .jp-Cell")
    gate.touch()
    expect(in_still(page, 3)).to_be_visible()
    assert kinds(page, 3) == [["text/html", "text/plain"]]
    assert troubles(page) == []


def test_a_restarted_kernel_ends_what_ran_and_the_view_says_so(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    asleep = f"""\
%%dagy_task --isolation process
def asleep():
    import os
    Path({str(pid)!r}).write_text(str(os.getpid()))
    time.sleep(600)"""
    page = open_notebook([LOAD, asleep, "run = %dagy_run --background --no-raise", "%dagy_run", FIRST])
    for cell in range(3):
        page.run_cell(cell)
    expect(node(page, 2, "asleep", "RUNNING")).to_be_visible()
    while not pid.exists() or not pid.read_text():
        page.page.wait_for_timeout(50)
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(view(page, 2)).to_contain_text("The kernel is gone")
    expect(node(page, 2, "asleep", "CRASHED")).to_be_visible()
    expect(page.output(2).get_by_role("button", name="Cancel")).to_be_hidden()
    shown = page.output(2).locator(".dagy-elapsed").inner_text()
    subprocess.run(["timeout", "15", "tail", "--pid", pid.read_text(), "-f", "/dev/null"], check=True)  # it ends
    page.wait_until_ready()
    for cell in (0, 4, 3):
        page.run_cell(cell)
    expect(in_still(page, 3)).to_be_visible()
    expect(node(page, 3, "first", "COMPLETED")).to_be_visible()
    assert page.output(2).locator(".dagy-elapsed").inner_text() == shown  # its clock stands still
    assert troubles(page) == []


def test_runs_at_the_same_time_have_views_of_their_own(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    def flow(name: str) -> str:
        return f"""\
@task
def {name}_work(tag):
    print(f"{name} {{tag}}")
    while not Path({str(tmp_path)!r}, f"{name}-{{tag}}").exists():
        time.sleep(0.01)
    return tag

@flow
def {name}(tag: str):
    return {name}_work(tag)"""

    page = open_notebook(
        [
            f"{LOAD}\nfrom dagy import flow, task",
            flow("left"),
            flow("right"),
            "a = %dagy_run left --background --no-raise --param tag=one",
            "b = %dagy_run right --background --no-raise --param tag=one",
            "c = %dagy_run left --background --no-raise --param tag=two",
        ]
    )
    page.run_all()
    work = {3: "left_work", 4: "right_work", 5: "left_work"}
    written = {3: "left one\n", 4: "right one\n", 5: "left two\n"}
    for cell, task in work.items():
        node(page, cell, task, "RUNNING").click()
        expect(panel(page, cell, task).locator(".dagy-log")).to_have_text(written[cell])
    page.output(3).get_by_role("button", name="Cancel").click()
    expect(node(page, 3, "left_work", "CANCELLED")).to_be_visible()
    for cell in (4, 5):
        expect(node(page, cell, work[cell], "RUNNING")).to_be_visible()
    (tmp_path / "right-one").touch()
    expect(node(page, 4, "right_work", "COMPLETED")).to_be_visible()
    expect(node(page, 5, "left_work", "RUNNING")).to_be_visible()
    (tmp_path / "left-two").touch()
    expect(node(page, 5, "left_work", "COMPLETED")).to_be_visible()
    for cell, task in work.items():
        expect(in_still(page, cell)).to_be_visible()
        expect(panel(page, cell, task).locator(".dagy-log")).to_have_text(written[cell])
    assert troubles(page) == []


def many(count: int, gate: Path, seconds: float) -> list[str]:
    """A flow of so many tasks that have nothing to do with each other; every hundredth fails, the last ten wait."""
    return [
        f"{LOAD}\nfrom dagy import flow, task",
        f"""\
@task
def tiny(number):
    time.sleep({seconds})
    while number >= {count - 10} and not Path({str(gate)!r}).exists():
        time.sleep(0.01)
    if number % 100 == 7:
        raise ValueError(number)

@flow
def many():
    for number in range({count}):
        tiny(number)""",
    ]


def test_two_thousand_tasks_are_followed_by_a_page_that_answers(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cells = [*many(2000, gate, 0.002), "run = %dagy_run --background --no-raise --no-fail-fast --max-workers 12"]
    page = open_notebook(cells)
    page.run_all()
    shown = view(page, 2)
    completed = shown.locator('.dagy-chip[data-state="COMPLETED"]')
    failed = shown.locator('.dagy-chip[data-state="FAILED"]')
    expect(failed).to_be_visible()
    answers = [
        failed.evaluate(
            """(chip) => new Promise((resolve) => {
                const began = performance.now();
                chip.click();
                requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
            })"""
        )
        for _ in range(3)
    ]
    print(f"a click on the filter is answered in {[round(each) for each in answers]} ms")
    assert min(answers) < 1000
    expect(failed).to_have_attribute("aria-pressed", "true")
    expect(shown.locator(".dagy-row").first).to_have_attribute("data-state", "FAILED")
    failed.click()
    expect(completed).to_contain_text("1,970")
    expect(failed).to_contain_text("20")
    expect(shown.locator('.dagy-chip[data-state="RUNNING"]')).to_contain_text("10")
    assert shown.evaluate("(each) => each.querySelectorAll('*').length") < 8000
    gate.touch()
    expect(in_still(page, 2)).to_be_visible()
    expect(page.output(2).locator('.dagy-chip[data-state="COMPLETED"]')).to_contain_text("1,980")
    expect(page.output(2).locator('.dagy-chip[data-state="FAILED"]')).to_contain_text("20")
    assert in_still(page, 2).evaluate("(each) => each.querySelectorAll('*').length") < 8000
    assert troubles(page) == []


def test_two_thousand_changes_in_a_second_all_reach_the_page(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    cells = [*many(1000, gate, 0.008), "run = %dagy_run --background --no-raise --no-fail-fast --max-workers 10", "0"]
    page = open_notebook(cells)
    # When so many had ended for whom reads the page, and what the messages to it told of each task.
    page.page.evaluate(
        """() => {
            window.shown = [];
            window.heard = {};
            const look = () => {
                const bar = document.querySelector('.dagy-progress');
                const count = Number(bar?.getAttribute('aria-valuenow') || 0);
                if (count !== (window.shown.at(-1)?.[1] ?? 0)) window.shown.push([Date.now() / 1000, count]);
            };
            const observed = { subtree: true, childList: true, attributes: true, attributeFilter: ['aria-valuenow'] };
            new MutationObserver(look).observe(document.body, observed);
            window.jupyterapp.shell.currentWidget.sessionContext.iopubMessage.connect((_, message) => {
                const { op, tasks } = message.content.data?.content || {};
                if (op === 'delta') Object.assign(window.heard, tasks);
            });
        }"""
    )
    page.run_all()
    expect(in_still(page, 2)).to_be_visible()
    ended = json.loads(
        result(
            page, 3, "import json; json.dumps(sorted(each.ended_at for each in run.wait().task_runs.values()))"
        ).strip("'")
    )
    shown: list[tuple[float, int]] = page.page.evaluate("() => window.shown")
    heard: dict[str, Any] = page.page.evaluate("() => window.heard")
    assert len(heard) == len(ended) == 1000
    final = {each["state"] for each in heard.values()}
    assert final == {"COMPLETED", "FAILED"}
    for each in heard.values():
        [[began, end, state]] = each["attempts"]  # both of its changes
        assert began <= end
        assert state == each["state"]
    assert shown[-1][1] == 1000
    lags = [next(at for at, count in shown if count >= place) - end for place, end in enumerate(ended, start=1)]
    print(
        f"1,000 tasks ended within {ended[-1] - ended[0]:.2f} s; lag to the page: median "
        f"{statistics.median(lags) * 1000:.0f} ms, 95 %: {statistics.quantiles(lags, n=20)[-1] * 1000:.0f} ms"
    )


@pytest.mark.parametrize("interface", ["lab", "notebook"])
def test_all_is_done_by_keys_which_are_no_commands_to_the_notebook(
    open_notebook: OpenNotebook, tmp_path: Path, interface: Interface
) -> None:
    cells = [LOAD, FIRST, WAITING.format(gate=str(tmp_path / "never")), "run = %dagy_run --background --no-raise", "1"]
    page = open_notebook(cells, interface=interface)
    for cell in range(3):
        page.run_cell(cell)
    page.wait_until_idle()
    notebook = "window.jupyterapp.shell.currentWidget.content"
    page.page.evaluate(f"() => Object.assign({notebook}, {{ activeCellIndex: 3, mode: 'command' }}).activate()")
    keys = page.page.keyboard
    keys.press("Shift+Enter")
    expect(node(page, 3, "waiting", "RUNNING")).to_be_visible()
    before = page.page.evaluate(CELLS)

    focused = page.page.locator(":focus")
    keys.press("ArrowUp")
    for _ in range(12):
        keys.press("Tab")
        if page.page.evaluate("() => document.activeElement.classList.contains('dagy-node')"):
            break
    expect(focused).to_have_attribute("data-task", "first")
    keys.press("ArrowRight")
    expect(focused).to_have_attribute("data-task", "waiting")
    for key in [*"abxddzmycv00lj", "Shift+M", "ArrowUp", "ArrowDown"]:
        keys.press(key)  # in command mode each would do something to the cells
    assert page.page.evaluate(CELLS) == before
    assert page.page.evaluate(f"() => {notebook}.activeCellIndex") == 3
    assert page.page.evaluate(f"() => {notebook}.mode") == "command"

    keys.press("Enter")
    expect(panel(page, 3, "waiting")).to_be_visible()
    expect(panel(page, 3, "waiting").locator(".dagy-panel-title")).to_be_focused()
    keys.press("Escape")
    expect(panel(page, 3, "waiting")).to_be_hidden()
    expect(focused).to_have_attribute("data-task", "waiting")

    keys.press("/")
    keys.type("first")
    expect(page.output(3).locator(".dagy-tasks .dagy-row")).to_have_count(1)
    keys.press("Escape")
    expect(page.output(3).locator(".dagy-tasks .dagy-row")).to_have_count(2)
    for _ in range(6):
        keys.press("Shift+Tab")
        if focused.get_attribute("role") == "tab":
            break
    keys.press("ArrowRight")
    expect(page.output(3).locator(".dagy-timeline")).to_be_visible()
    keys.press("Shift+Tab")
    expect(focused).to_have_text("Cancel")
    keys.press("Enter")
    expect(in_still(page, 3)).to_be_visible()
    expect(in_still(page, 3).locator(".dagy-status")).to_have_text("cancelled")

    in_still(page, 3).locator(".dagy-search").focus()
    keys.press("Escape")
    assert page.page.evaluate("() => document.activeElement.classList.contains('jp-Cell')")
    keys.press("ArrowDown")
    assert page.page.evaluate(f"() => {notebook}.activeCellIndex") == 4
    assert page.page.evaluate(CELLS) == before


REPORT = """\
%%dagy_flow
def weekly_report(region: str = "north", rows: int = 10):
    orders = read_orders(rows)
    pages = score_page.map(orders)
    return report(check_quality(orders), train_model(orders)), pages"""


def report_cells(gate: Path) -> list[str]:
    """A flow whose tasks fail, wait, map, print and show tables."""
    return [
        LOAD,
        """\
%%dagy_task
def read_orders(rows):
    import pandas
    from IPython.display import display
    print("reading orders.csv")
    display(pandas.DataFrame({"name": ["Ann", "Bo"], "spent": [12.5, 7.25]}))
    return list(range(rows))""",
        """\
%%dagy_task
def check_quality(orders):
    print("checking columns")
    raise ValueError("column 'amount' has 12 missing values, at most 5 are allowed")""",
        f"""\
%%dagy_task
def train_model(orders):
    for epoch in range(1, 31):
        print(f"epoch {{epoch:2}}  loss {{1 / epoch:.4f}}")
    while not Path({str(gate)!r}).exists():
        time.sleep(0.01)
    return 0.93""",
        f"""\
%%dagy_task
def score_page(page):
    if page in (3, 7):
        raise KeyError(page)
    while page > 7 and not Path({str(gate)!r}).exists():
        time.sleep(0.01)
    return page""",
        "%%dagy_task\ndef report(quality, model):\n    return 'ok'",
        REPORT,
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong_in_a_notebook_at_any_time(
    open_notebook: OpenNotebook, tmp_path: Path, screenshot_name: str, theme: Theme
) -> None:
    gate = tmp_path / "gate"
    page = open_notebook(
        [*report_cells(gate), "run = %dagy_run --no-fail-fast --no-raise --background", "%dagy_run --form"], theme=theme
    )
    run, form = 7, 8
    page.run_all()
    shown = view(page, run)
    expect(node(page, run, "check_quality", "FAILED")).to_be_visible()
    expect(node(page, run, "train_model", "RUNNING")).to_be_visible()
    node(page, run, "train_model", "RUNNING").click()
    expect(panel(page, run, "train_model").locator(".dagy-log")).to_contain_text("epoch 30")
    assert violations(page.page, ".dagy-run") == []
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-running.png", cell=run)
    row(page, run, "score_page").click()
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-mapped.png", cell=run)
    shown.get_by_role("tab", name="Timeline").click()
    assert violations(page.page, ".dagy-run") == []
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-timeline.png", cell=run)
    shown.get_by_role("tab", name="Graph").click()
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-form.png", cell=form)

    gate.touch()
    expect(in_still(page, run)).to_be_visible()
    node(page, run, "check_quality", "FAILED").click()
    expect(panel(page, run, "check_quality").locator(".dagy-error")).to_be_visible()
    assert violations(page.page, ".dagy-run") == []
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-failed.png", cell=run)
    for width in (800, 1280):
        page.page.set_viewport_size({"width": width, "height": 900})
        overflow = in_still(page, run).evaluate("(each) => each.scrollWidth - each.clientWidth")
        assert overflow <= 0
        page.screenshot(SCREENSHOTS / f"{screenshot_name}-failed-{width}.png", cell=run)

    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    expect(bare_still(page, run)).to_be_visible()
    assert violations(page.page, ".dagy-still") == []
    expect(view(page, form)).to_contain_text("The kernel is gone: run the cell again")
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-still.png", cell=run)
    assert troubles(page) == []


def test_a_run_goes_on_from_the_failed_task_with_its_edited_cell(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    load = f"""\
%%dagy_task
def load():
    with open({str(counted)!r}, "a") as file:
        file.write("x")
    return 20"""
    broken = "%%dagy_task\ndef double(load):\n    return load / 0"
    mended = broken.replace("/ 0", "* 2 + 2")
    page = open_notebook([LOAD, load, broken, "run = %dagy_run --no-raise", "0"])
    page.run_all()
    expect(in_still(page, 3).get_by_role("button", name="Run again from the failed task")).to_be_visible()
    page.page.evaluate(
        "(text) => window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.setSource(text)", mended
    )
    page.run_cell(2)
    page.wait_until_idle()
    in_still(page, 3).get_by_role("button", name="Run again from the failed task").click()
    expect(node(page, 3, "double", "COMPLETED")).to_be_visible()
    expect(node(page, 3, "load", "COMPLETED")).to_be_visible()
    expect(in_still(page, 3)).to_contain_text("reused 1 result of")
    expect(page.output(3).locator(".dagy-run")).to_have_count(1)
    assert kinds(page, 3) == [["text/html", "text/plain"]]
    assert result(page, 4, "run['double']") == "42"
    assert counted.read_text() == "x"
    assert troubles(page) == []


def test_a_form_says_what_is_wrong_with_a_value_and_then_runs(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = f"    while not Path({str(gate)!r}).exists():\n        time.sleep(0.01)\n"
    work = f"from dagy import flow, task\n@task\ndef work(rows, loud):\n{waits}    return rows * 2 if loud else 0"
    whole = "@flow\ndef whole(rows: int, loud: bool = False):\n    return work(rows, loud)"
    page = open_notebook([LOAD, f"{work}\n\n{whole}", "%dagy_run whole --form", "0"])
    for cell in range(3):
        page.run_cell(cell)
    form = view(page, 2)
    expect(form.get_by_role("button", name="Run", exact=True)).to_be_visible()
    form.get_by_label("rows").fill("many")
    form.get_by_label("loud").check()
    form.get_by_role("button", name="Run", exact=True).click()
    expect(form.locator('.dagy-field[data-field="rows"] .dagy-field-error')).to_contain_text("int")
    expect(form.get_by_label("rows")).to_be_focused()
    form.get_by_label("rows").fill("21")
    page.page.keyboard.press("Enter")
    expect(node(page, 2, "work", "RUNNING")).to_be_visible()
    expect(view(page, 2).get_by_role("button", name="Cancel")).to_be_visible()
    gate.touch()
    expect(in_still(page, 2)).to_be_visible()
    expect(node(page, 2, "work", "COMPLETED")).to_be_visible()
    assert result(page, 3, "import dagy_nb; dagy_nb.last_run()['work']") == "42"
    assert kinds(page, 2) == [["text/html", "text/plain"]]
    assert troubles(page) == []
