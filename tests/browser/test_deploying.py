"""A deploy and a run of the deployment, as their user sees them in JupyterLab, in light and in dark."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dagy.client import DagyClient
from dagy.worker import Worker

from .conftest import SCREENSHOTS
from .lab import OpenNotebook, Theme
from .test_run_view import FIRST, LAST, LOAD, WAITING, node, panel, still

pytestmark = [pytest.mark.browser, pytest.mark.program, pytest.mark.timeout(300)]

STEPS = '%%dagy_flow\ndef steps():\n    """What is done every morning."""\n    return last(waiting(first()))'
DEPLOY = '%dagy_deploy --name morning --tag team=data --schedule "0 6 * * *" --timezone Europe/Berlin'


def load(local_dir: Path) -> str:
    """The first cell: the extension, and local state that the test's own worker sees too."""
    variables = {"DAGY_LOCAL_DIR": str(local_dir), "DAGY_AUTO_WORKER": "0"}
    return f"{LOAD}\nimport os\nos.environ.update({variables!r})"


@contextmanager
def worker(local_dir: Path) -> Iterator[None]:
    """A worker of this process."""
    with DagyClient(local_dir=local_dir) as client:
        working = Worker(client, local_dir, schedules=False)
        thread = threading.Thread(target=working.run, name="test-worker")
        thread.start()
        try:
            yield
        finally:
            working.stop()
            working.stop()  # what still runs is not waited for
            thread.join(60)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_deployment_runs_in_the_view_of_any_run(
    open_notebook: OpenNotebook, tmp_path: Path, screenshot_name: str, theme: Theme
) -> None:
    gate, local_dir = tmp_path / "gate", tmp_path / "local"
    cells = [
        *(load(local_dir), FIRST, WAITING.format(gate=str(gate)), LAST, STEPS, DEPLOY),
        *("run = %dagy_run --deployment morning", "run['last']", "%dagy_runs"),
    ]
    page = open_notebook(cells, theme=theme)
    page.run_all()
    page.wait_until_run(5)
    expect(page.output(6).locator(".dagy-status")).to_have_text("queued")
    expect(page.output(6).locator(".dagy-run-message")).to_contain_text("waiting for a worker")
    card = page.output(5).locator(".dagy-deployed")
    expect(card).to_contain_text("morning is deployed")
    expect(card).to_contain_text("%dagy_run --deployment morning")
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-card.png", cell=5)
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-queued.png", cell=6)

    with worker(local_dir):
        node(page, 6, "waiting", "RUNNING").click()
        expect(panel(page, 6, "waiting").locator(".dagy-log")).to_have_text("waiting for the gate\n")
        expect(page.output(6).get_by_role("button", name="Go to cell [3]")).to_be_visible()
        expect(page.output(6).locator(".dagy-run-message")).to_be_hidden()
        page.screenshot(SCREENSHOTS / f"{screenshot_name}-live.png", cell=6)
        gate.touch()
        page.wait_until_idle()
    assert "3 tasks: 3 completed" in still(page, 6)
    assert page.outputs(7)[0]["data"]["text/plain"] == "42"
    assert "this notebook and deployment morning" in page.outputs(8)[0]["data"]["text/plain"]
    page.screenshot(SCREENSHOTS / f"{screenshot_name}-runs.png", cell=8)


def test_the_button_cancels_a_run_that_no_worker_has_taken_yet(open_notebook: OpenNotebook, tmp_path: Path) -> None:
    cells = [load(tmp_path / "local"), FIRST, "%%dagy_flow\ndef steps():\n    return first()", "%dagy_deploy"]
    page = open_notebook([*cells, "run = %dagy_run --deployment steps --no-raise", "run.status"])
    page.run_all()
    page.wait_until_run(3)
    expect(page.output(4).locator(".dagy-status")).to_have_text("queued")
    page.output(4).get_by_role("button", name="Cancel").click()
    page.wait_until_idle()
    assert "cancelled in the notebook" in still(page, 4)
    assert "CANCELLED" in page.outputs(5)[0]["data"]["text/plain"]
