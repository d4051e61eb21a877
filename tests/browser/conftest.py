"""One JupyterLab and one Chromium for all browser tests; one notebook a test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .lab import Browser, LabServer, NotebookPage, OpenNotebook, Theme, write_notebook

SCREENSHOTS = Path(__file__).resolve().parents[1] / "output"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("notebooks")) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture
def screenshot_name(request: pytest.FixtureRequest) -> str:
    """The test's name, fit for a file."""
    return re.sub(r"[^\w-]+", "-", request.node.name).strip("-")


@pytest.fixture
def open_notebook(lab: LabServer, browser: Browser, screenshot_name: str) -> Iterator[OpenNotebook]:
    """Opens notebooks, and at the test's end keeps a picture of each in tests/output/ and ends its kernel."""
    opened: list[NotebookPage] = []

    def open_one(cells: Sequence[str], *, theme: Theme = "light") -> NotebookPage:
        name = f"{screenshot_name}-{len(opened) + 1}.ipynb"
        write_notebook(lab.root / name, cells)
        page = browser.open(lab, name, theme=theme)
        opened.append(page)
        return page

    yield open_one
    for number, page in enumerate(opened, start=1):
        page.screenshot(SCREENSHOTS / f"{screenshot_name}-{number}.png")
        page.close()
