"""One JupyterLab and one Chromium for all browser tests of a process; one notebook a test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .kernels import OTHER_KERNELS, kernel_folder
from .lab import Browser, Interface, LabServer, NotebookPage, OpenNotebook, Theme, write_notebook

SCREENSHOTS = Path(__file__).resolve().parents[1] / "output"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a process: its driver allows no second one. It is for this folder's tests alone."""
    with Browser() as started:
        yield started


@pytest.fixture(autouse=True)
def _own_requests(request: pytest.FixtureRequest) -> None:
    """What pages of other tests asked for is not held against this one."""
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser").outside.clear()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("notebooks"), kernels=_kernels()) as server:
        yield server


@pytest.fixture(scope="session")
def lab_without_subshells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab that sends every message of a widget to the kernel's main shell, as other front ends do."""
    settings = {"@jupyterlab/apputils-extension:kernels-settings": {"commsOverSubshells": "disabled"}}
    with LabServer(tmp_path_factory.mktemp("notebooks"), settings=settings, kernels=_kernels()) as server:
        yield server


@pytest.fixture
def screenshot_name(request: pytest.FixtureRequest) -> str:
    """The test's name, fit for a file."""
    return re.sub(r"[^\w-]+", "-", request.node.name).strip("-")


@pytest.fixture
def open_notebook(lab: LabServer, browser: Browser, screenshot_name: str) -> Iterator[OpenNotebook]:
    """Opens notebooks, and at the test's end keeps a picture of each in tests/output/ and ends its kernel."""
    yield from _opener(lab, browser, screenshot_name)


@pytest.fixture
def open_without_subshells(
    lab_without_subshells: LabServer, browser: Browser, screenshot_name: str
) -> Iterator[OpenNotebook]:
    """The same, where a busy kernel hears nothing from its widgets."""
    yield from _opener(lab_without_subshells, browser, screenshot_name)


def _opener(server: LabServer, browser: Browser, screenshot_name: str) -> Iterator[OpenNotebook]:
    opened: list[NotebookPage] = []

    def open_one(
        cells: Sequence[str], *, theme: Theme = "light", interface: Interface = "lab", kernel: str = "python3"
    ) -> NotebookPage:
        name = f"{screenshot_name}-{len(opened) + 1}.ipynb"
        write_notebook(server.root / name, cells, kernel=kernel)
        page = browser.open(server, name, theme=theme, interface=interface)
        opened.append(page)
        return page

    yield open_one
    for number, page in enumerate(opened, start=1):
        page.screenshot(SCREENSHOTS / f"{screenshot_name}-{number}.png")
        page.close()


def _kernels() -> dict[str, Path]:
    return {f"ipykernel-{version}": kernel_folder(version) for version in OTHER_KERNELS}
