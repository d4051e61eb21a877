"""JupyterLab in Chromium, driven from a test.

    with LabServer(folder) as server, Browser() as browser:
        write_notebook(folder / "a.ipynb", ["print('hello')"])
        page = browser.open(server, "a.ipynb")
        page.run_all()
        page.wait_until_idle()
        assert page.output_text(0) == "hello"

Everything stays on 127.0.0.1: a request to anywhere else is refused and listed in `Browser.outside`. The page is driven
through JupyterLab's own commands and models (`window.jupyterapp`), which is steadier than its keys and menus.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

import nbformat
from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Route, sync_playwright

Theme: TypeAlias = Literal["light", "dark"]
Interface: TypeAlias = Literal["lab", "notebook"]  # JupyterLab, or Notebook 7 from the same server

REPOSITORY = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",  # root, as in most containers, has no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SERVER_START_SECONDS = 90
PAGE_SECONDS = 60

# No news, no pop-ups, and cells that are off the screen stay in the page.
QUIET_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


def write_notebook(path: Path, cells: Sequence[str], *, kernel: str = "python3") -> Path:
    """A notebook of code cells with ids `cell-0`, `cell-1`, ..., at `path`; `kernel` names its kernelspec."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    )
    for number, source in enumerate(cells):
        notebook.cells.append(nbformat.v4.new_code_cell(source, id=f"cell-{number}"))
    nbformat.write(notebook, path)
    return path


def find_chromium() -> str | None:
    """The Chromium to drive: $CHROMIUM, or the first on the PATH; None leaves it to Playwright's own."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


class LabServer:
    """A JupyterLab that serves the notebooks in `root`, with settings and state of its own.

    `settings` maps a plugin ("@jupyterlab/x-extension:y") to its settings; `environment` is added to the kernels'.
    `kernels` maps the name of a kernelspec to the folder with the ipykernel that it starts, for kernels beside the
    installed one.
    """

    def __init__(
        self,
        root: Path,
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        kernels: Mapping[str, Path] | None = None,
    ) -> None:
        self.root = root
        self.kernels = dict(kernels or {})
        self.settings = {**QUIET_SETTINGS, **(settings or {})}
        self.environment = dict(environment or {})
        self.url = ""

    def __enter__(self) -> Self:
        self._state = Path(tempfile.mkdtemp(prefix="lab-"))
        self._write_settings()
        self._write_kernels()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                    *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
                    *("--IdentityProvider.token=", f"--ServerApp.root_dir={self.root}"),
                    *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
                    "--JupyterNotebookApp.expose_app_in_browser=True",
                    *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
                ],
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()  # the server ends its kernels first; were it killed, they would end by themselves
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._state, ignore_errors=True)

    @property
    def log(self) -> str:
        """What the server has printed so far."""
        return self._log.read_text("utf-8", errors="replace")

    @property
    def _log(self) -> Path:
        return self._state / "server.log"

    def _write_settings(self) -> None:
        for plugin, values in self.settings.items():
            package, _, name = plugin.rpartition(":")
            path = self._state / "settings" / package / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), "utf-8")

    def _write_kernels(self) -> None:
        for name, folder in self.kernels.items():
            path = self._state / "data" / "kernels" / name / "kernel.json"
            path.parent.mkdir(parents=True)
            path.write_text(
                json.dumps(
                    {
                        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                        "display_name": name,
                        "language": "python",
                        "env": {"PYTHONPATH": os.pathsep.join([str(folder), self._python_path()])},
                        "metadata": {"debugger": True},
                    }
                ),
                "utf-8",
            )

    def _python_path(self) -> str:
        return os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))

    def _environment(self) -> dict[str, str]:
        state = str(self._state)
        return {
            **os.environ,
            "PYTHONPATH": self._python_path(),
            "JUPYTER_PLATFORM_DIRS": "1",
            "JUPYTER_DATA_DIR": f"{state}/data",
            "JUPYTER_CONFIG_DIR": f"{state}/config",
            "JUPYTER_RUNTIME_DIR": f"{state}/runtime",
            "JUPYTERLAB_SETTINGS_DIR": f"{state}/settings",
            "JUPYTERLAB_WORKSPACES_DIR": f"{state}/workspaces",
            "IPYTHONDIR": f"{state}/ipython",
            "DAGY_LOCAL_DIR": f"{state}/dagy",
            **self.environment,
        }

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + SERVER_START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"JupyterLab ended with exit code {self._process.returncode}:\n{self.log}")
            try:
                with urllib.request.urlopen(f"{self.url}/api/status", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise TimeoutError(f"JupyterLab did not answer within {SERVER_START_SECONDS} s:\n{self.log}")


class Browser:
    """A headless Chromium. `outside` lists the addresses beyond this machine that a page asked for, all refused."""

    def __init__(self, *, width: int = 1280, height: int = 900) -> None:
        self.width = width
        self.height = height
        self.outside: list[str] = []

    def __enter__(self) -> Self:
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(
                executable_path=find_chromium(), args=list(CHROMIUM_ARGUMENTS), headless=True
            )
        except Error:
            self._playwright.stop()
            raise
        self._context = self._browser.new_context(viewport={"width": self.width, "height": self.height})
        self._context.set_default_timeout(PAGE_SECONDS * 1000)
        self._context.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), self._refuse)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()
        self._browser.close()
        self._playwright.stop()

    def open(
        self, server: LabServer, name: str, *, theme: Theme = "light", interface: Interface = "lab"
    ) -> NotebookPage:
        """The notebook `name` of `server`, alone in the window, with its kernel idle."""
        page = NotebookPage(self._context.new_page())
        place = f"doc/tree/{name}?reset" if interface == "lab" else f"notebooks/{name}"
        page.page.goto(f"{server.url}/{place}")
        page.wait_until_ready()
        page.use_theme(theme)
        return page

    def new_page(self) -> Page:
        """An empty page, which may ask this machine only."""
        return self._context.new_page()

    def open_file(self, path: Path) -> Page:
        """A saved page, such as an exported notebook, from the disk."""
        page = self._context.new_page()
        page.goto(path.resolve().as_uri())
        return page

    def _refuse(self, route: Route) -> None:
        self.outside.append(route.request.url)
        route.abort()


class NotebookPage:
    """One open notebook. Cells are counted from 0; `console` holds what the page logged, as "error: text"."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))

    def wait_until_ready(self) -> None:
        """Wait until the cells are shown and the kernel is idle."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(
            """() => {
                const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
                return context?.isReady && context.session?.kernel?.status === 'idle';
            }"""
        )

    def wait_until_idle(self, seconds: float = PAGE_SECONDS) -> None:
        """Wait until no cell runs or waits to run; `playwright.sync_api.TimeoutError` after `seconds`."""
        self.page.wait_for_function(
            """() => {
                const panel = window.jupyterapp.shell.currentWidget;
                const cells = panel.content.widgets.map(cell => cell.model).filter(model => model.type === 'code');
                return cells.every(model => model.executionState !== 'running')
                    && ![...document.querySelectorAll('.jp-InputPrompt')].some(each => each.textContent.includes('*'))
                    && panel.sessionContext.session.kernel.status === 'idle';
            }""",
            timeout=seconds * 1000,
        )

    def wait_until_run(self, cell: int) -> None:
        """Wait until `cell` has run."""
        self.page.wait_for_function(
            """(index) => {
                const model = window.jupyterapp.shell.currentWidget.content.widgets[index].model;
                return model.executionCount !== null && model.executionState === 'idle';
            }""",
            arg=cell,
        )

    def wait_for_output(self, text: str) -> None:
        """Wait until some cell's output, not its source, shows `text`."""
        self.page.locator(".jp-Cell-outputWrapper", has_text=text).first.wait_for()

    def command(self, name: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Start a command of JupyterLab's, without waiting for it to end."""
        self.page.evaluate(
            "([name, given]) => { window.jupyterapp.commands.execute(name, given); }", [name, dict(arguments or {})]
        )

    def run_all(self) -> None:
        """Start every cell."""
        self.command("notebook:run-all-cells")

    def run_cell(self, cell: int) -> None:
        """Start one cell."""
        self.page.evaluate(
            """(index) => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                notebook.deselectAll();
                notebook.activeCellIndex = index;
            }""",
            cell,
        )
        self.command("notebook:run-cell")

    def interrupt(self) -> None:
        """Press the kernel's stop button."""
        self.command("notebook:interrupt-kernel")

    def save(self) -> None:
        """Write the notebook to its file, outputs included."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def reload(self) -> None:
        """Load the page again; the kernel goes on."""
        self.page.reload()
        self.wait_until_ready()

    def use_theme(self, theme: Theme) -> None:
        """Show JupyterLab's light or dark theme. The server keeps the choice for pages opened later."""
        light = str(theme == "light").lower()
        if self.page.evaluate("() => document.body.dataset.jpThemeLight") == light:
            return
        self.command("apputils:change-theme", {"theme": f"JupyterLab {theme.title()}"})
        self.page.wait_for_function("(light) => document.body.dataset.jpThemeLight === light", arg=light)

    def cell(self, cell: int) -> Locator:
        """A cell, with its source and output."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(cell)

    def output(self, cell: int) -> Locator:
        """A cell's output."""
        return self.cell(cell).locator(".jp-OutputArea").first

    def output_text(self, cell: int) -> str:
        """What a reader sees of a cell's output, as text."""
        return self.output(cell).inner_text().strip()

    def outputs(self, cell: int) -> list[dict[str, Any]]:
        """A cell's outputs as the notebook's file would hold them."""
        found: list[dict[str, Any]] = self.page.evaluate(
            "(index) => window.jupyterapp.shell.currentWidget.content.widgets[index].model.outputs.toJSON()", cell
        )
        return found

    def screenshot(self, path: Path, *, cell: int | None = None) -> Path:
        """A picture of the window, or of one cell, as a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if cell is None:
            self.page.screenshot(path=path)
        else:
            self.cell(cell).screenshot(path=path)
        return path

    def close(self) -> None:
        """End the kernel and close the page."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()

    def _note(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")


class OpenNotebook(Protocol):
    """What the fixture `open_notebook` gives: write a notebook of code cells, and open it."""

    def __call__(
        self, cells: Sequence[str], *, theme: Theme = "light", interface: Interface = "lab", kernel: str = "python3"
    ) -> NotebookPage: ...


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
