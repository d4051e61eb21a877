"""Runs in a real kernel, whose tasks have processes of their own: what travels, what is stopped, what is left."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

HANGS = """\
%%dagy_task {options}
def hangs():
    child = subprocess.Popen(["sleep", "1000"])
    print("begun", child.pid)
    Path({mark!r}).touch()
    while True:
        time.sleep(1000)"""


class Kernel:
    """A kernel that the extension is loaded in, driven cell by cell."""

    def __init__(self) -> None:
        self.manager: KernelManager
        self.comms: list[tuple[str, Any]] = []
        self._client: BlockingKernelClient
        self.manager, self._client = start_new_kernel(kernel_name="python3")
        self.run("%load_ext dagy_nb\nimport os, subprocess, time\nfrom pathlib import Path")

    @property
    def pid(self) -> int:
        return int(self.run("print(os.getpid())"))

    def start(self, source: str) -> str:
        """Start a cell, and what to `finish` it by."""
        return str(self._client.execute(source))

    def finish(self, cell: str, timeout: float = 60) -> str:
        """All that a person can read of the cell, once it has run."""
        found: list[str] = []
        while True:
            message = self._message(timeout)
            content = message["content"]
            match message["msg_type"] if message["parent_header"].get("msg_id") == cell else "":
                case "stream":
                    found.append(content["text"])
                case "display_data" | "update_display_data" | "execute_result":
                    found.append(content["data"]["text/plain"])
                case "error":
                    found.append("\n".join(content["traceback"]))
                case "status" if content["execution_state"] == "idle":
                    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(found))

    def run(self, source: str) -> str:
        return self.finish(self.start(source))

    def _message(self, timeout: float = 60) -> Any:
        """The next message that a page would get; comms are kept in `comms`."""
        message: Any = self._client.get_iopub_msg(timeout=timeout)
        if message["msg_type"].startswith("comm_"):
            self.comms.append((message["msg_type"], message["content"]))
        return message

    @property
    def views(self) -> list[str]:
        """The ids of the views that were opened, in order."""
        opened = [each for kind, each in self.comms if kind == "comm_open"]
        return [each["comm_id"] for each in opened if "flow_name" in each["data"]["state"]]

    def of_view(self, view: str) -> list[Any]:
        """What the view was sent: messages of its own, and "closed" at its end."""
        mine = [(kind, each["data"]) for kind, each in self.comms if each["comm_id"] == view]
        own = [data["content"] for kind, data in mine if kind == "comm_msg" and data.get("method") == "custom"]
        return own + ["closed"] * ("comm_close" in [kind for kind, _ in mine])

    def click(self, view: str, content: dict[str, Any]) -> None:
        """Send what the page of a view sends."""
        data = {"comm_id": view, "data": {"method": "custom", "content": content}}
        self._client.shell_channel.send(self._client.session.msg("comm_msg", data))

    def read_until(self, is_true: Callable[[], bool]) -> None:
        """Read messages until something is so."""
        while not is_true():
            self._message()

    def end(self) -> None:
        self._client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def new_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Kernel]]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.chdir(tmp_path)
    made: list[Kernel] = []

    def start() -> Kernel:
        made.append(Kernel())
        return made[-1]

    yield start
    for each in made:
        each.end()


@pytest.fixture
def kernel(new_kernel: Callable[[], Kernel]) -> Kernel:
    return new_kernel()


def wait_for(is_true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    def lives(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [each for each in processes if lives(each)]


def wait_for_end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        wait_for(lambda: not alive([process]), seconds=10)


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


# ---- what travels


def test_a_task_in_a_process_has_what_cells_define_and_its_values_come_back_as_they_are(kernel: Kernel) -> None:
    kernel.run("import math\nFACTOR = 2")
    kernel.run("class Point:\n    def __init__(self, x):\n        self.x = x\n\ndef scaled(x):\n    return x * FACTOR")
    kernel.run("%%dagy_task --timeout 60\ndef make():\n    return Point(scaled(math.floor(3.5))), os.getpid()")
    kernel.run("%%dagy_task --isolation process\ndef seen(make):\n    return isinstance(make[0], Point)")
    kernel.run("run = %dagy_run")
    shown = "print(type(run['make'][0]) is Point, run['make'][0].x, run['seen'], run['make'][1] != os.getpid())"
    assert kernel.run(shown) == "True 6 True True\n"

    kernel.run("FACTOR = 5\nrun = %dagy_run")
    assert kernel.run(shown) == "True 15 True True\n"
    kernel.run("%%dagy_task --timeout 60\ndef make():\n    return Point(-1), os.getpid()")
    kernel.run("run = %dagy_run")
    assert kernel.run(shown) == "True -1 True True\n"


def test_an_error_in_a_process_is_told_by_its_cells(kernel: Kernel) -> None:
    kernel.run("def divide(x):\n    return 1 / x")
    kernel.run("%%dagy_task --isolation process\ndef broken():\n    return divide(0)")
    said = kernel.run("%dagy_run")
    assert "Cell [3], line 3, in broken" in said
    assert "Cell [2], line 2, in divide" in said
    assert "ZeroDivisionError: division by zero" in said
    assert str(ROOT) not in said


def test_what_a_task_in_a_process_displays_is_its_own_and_rich(kernel: Kernel) -> None:
    kernel.run("from IPython.display import HTML, Image\nimport IPython.display as shown, sys\nimport pandas")
    kernel.run(
        "%%dagy_task --isolation process\n"
        "def shows():\n"
        "    display(HTML('<b>without an import</b>'))\n"
        "    shown.display(pandas.DataFrame({'a': [22]}), Image(data=b'\\x89PNG\\r\\n'))\n"
        "    print('printed')"
    )
    kernel.run("%%dagy_task --isolation process\ndef plain():\n    return 'IPython' in sys.modules")
    said = kernel.run("run = %dagy_run")
    assert "2 completed" in said
    assert "without an import" not in said
    kernel.run("page = run.shown.bundle()['text/html']")
    page = kernel.run("print(page)")
    assert "<b>without an import</b>" in page
    assert "<td>22</td>" in page
    assert "data:image/png;base64,iVBO" in page
    assert kernel.run("print(run.wait().task_runs['shows'].output, run['plain'])") == "printed\n False\n"


def test_pyplot_shows_figures_in_a_process(kernel: Kernel) -> None:
    kernel.run("import matplotlib.pyplot as plt")
    kernel.run("%%dagy_task --isolation process\ndef draws():\n    plt.plot([1, 2])\n    plt.show()")
    assert "Figure" not in kernel.run("run = %dagy_run")
    assert kernel.run("print(run.shown.bundle()['text/html'].count('data:image/png;base64,iVBO'))") == "1\n"


def test_figures_of_a_process_have_the_format_that_the_notebook_asks_for(kernel: Kernel) -> None:
    kernel.run("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()")
    kernel.run("%%dagy_task --isolation process\ndef draws():\n    plt.plot([1, 2])\n    plt.show()")
    count = (
        "page = run.shown.bundle()['text/html']\nprint([page.count(f'data:image/{kind};base64,') for kind in kinds])"
    )
    kernel.run("kinds = ['png', 'svg+xml', 'jpeg']\nrun = %dagy_run")
    assert kernel.run(count) == "[1, 1, 0]\n"  # the graph is SVG
    kernel.run("%config InlineBackend.figure_formats = ['svg']")
    kernel.run("run = %dagy_run")
    assert kernel.run(count) == "[0, 2, 0]\n"
    kernel.run("%config InlineBackend.figure_formats = ['png']")
    kernel.run("run = %dagy_run")
    assert kernel.run(count) == "[1, 1, 0]\n"


# ---- what is stopped


def test_a_task_that_hangs_is_stopped_at_its_deadline_and_its_children_with_it(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run(HANGS.format(options="--timeout 1", mark=str(tmp_path / "mark")))
    said = kernel.run("run = %dagy_run --no-raise")
    assert "timed out" in said
    assert "ran out of time after 1 s" in said
    output = kernel.run("print(run.wait().task_runs['hangs'].output)")
    assert output.startswith("begun ")
    wait_for_end(int(output.split()[1]))


@pytest.mark.parametrize("how", ["handle", "interrupt"])
def test_a_cancel_ends_a_task_in_a_process_and_its_children(kernel: Kernel, tmp_path: Path, how: str) -> None:
    mark = tmp_path / "mark"
    kernel.run(HANGS.format(options="--isolation process", mark=str(mark)))
    if how == "handle":
        kernel.run("run = %dagy_run --background")
        wait_for(mark.exists)
        said = kernel.run("run.cancel()\nprint(run.wait())")
    else:
        cell = kernel.start("run = %dagy_run --no-raise")
        wait_for(mark.exists)
        kernel.manager.interrupt_kernel()
        said = kernel.finish(cell)
    assert "CANCELLED" in said
    assert "still at work" not in said
    child = int(kernel.run("print(run.wait().task_runs['hangs'].output)").split()[1])
    wait_for_end(child)


def kill(kernel: Kernel) -> None:
    os.kill(kernel.pid, signal.SIGKILL)


def restart(kernel: Kernel) -> None:
    kernel.manager.restart_kernel()


def shut_down(kernel: Kernel) -> None:
    kernel.manager.shutdown_kernel()


@pytest.mark.parametrize("end", [shut_down, restart, kill])
def test_a_kernel_that_ends_leaves_no_process(kernel: Kernel, tmp_path: Path, end: Callable[[Kernel], None]) -> None:
    mark = tmp_path / "mark"
    kernel.run(HANGS.format(options="--isolation process", mark=str(mark)))
    kernel.run("run = %dagy_run --background")
    wait_for(mark.exists)
    processes = below(kernel.pid)
    assert len(processes) >= 3  # the nursery, the worker, and the task's child
    end(kernel)
    wait_for(lambda: not alive(processes), seconds=10)


def test_two_kernels_do_not_share_their_processes(new_kernel: Callable[[], Kernel]) -> None:
    first, second = new_kernel(), new_kernel()
    for each in (first, second):
        each.run("%%dagy_task --isolation process\ndef worker():\n    return os.getpid()")
    cells = [(each, each.start("run = %dagy_run")) for each in (first, second)]
    for each, cell in cells:
        assert "COMPLETED" in each.finish(cell)
    pids = [int(each.run("print(run['worker'])")) for each in (first, second)]
    assert pids[0] != pids[1]
    first.end()
    assert "COMPLETED" in second.run("%dagy_run")


# ---- views


@pytest.fixture
def page(new_kernel: Callable[[], Kernel], monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel whose notebook is open in a page that draws widgets."""
    monkeypatch.setenv("JPY_SESSION_NAME", "analysis.ipynb")
    return new_kernel()


def test_a_page_runs_the_edited_cell_again_and_the_handle_goes_on_with_it(page: Kernel) -> None:
    page.run("%%dagy_task\ndef load():\n    return [1, 2, 3]")
    page.run("%%dagy_task\ndef total(load):\n    return sum(lod)")
    page.run("import dagy_nb\nrun = %dagy_run --no-raise")
    (view,) = page.views
    page.run("%%dagy_task --isolation process\ndef total(load):\n    return sum(load)")
    page.click(view, {"op": "rerun", "from": "failed", "parameters": None})
    page.read_until(lambda: any(each != "closed" and each["op"] == "started" for each in page.of_view(view)))
    assert "reused 1 result of" in page.run("print(run.wait())\nprint(run.shown.bundle()['text/plain'])")
    assert page.run("print(run['total'], run.wait().task_runs['load'].attempt)").endswith("6 0\n")
    assert page.run("result = await run\nprint(result['total'])") == "6\n"
    assert [each["op"] for each in page.of_view(view) if each != "closed" and each["op"] in ("refused", "started")] == [
        "started"
    ]


def test_a_failure_that_a_view_shows_is_told_in_two_lines(page: Kernel) -> None:
    page.run("%%dagy_task\ndef total():\n    return 1 / 0")
    said = page.run("%dagy_run")
    assert said.endswith(
        "TaskFailedError: task 'total' of flow 'analysis': FAILED: ZeroDivisionError: division by zero\n"
        "raised in cell [2], line 3; the traceback is in the view of the run"
    )
    assert "Traceback" not in said


def test_unloading_leaves_no_view_no_process_and_no_thread(page: Kernel, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    page.run(HANGS.format(options="--isolation process", mark=str(mark)))
    page.run("%dagy_run --background")
    wait_for(mark.exists)
    worker = [each for each in below(page.pid) if "sleep" in each.name()]
    page.run("%unload_ext dagy_nb")
    wait_for(lambda: not alive(worker), seconds=10)
    opened = {each["comm_id"] for kind, each in page.comms if kind == "comm_open"}
    page.read_until(lambda: opened == {each["comm_id"] for kind, each in page.comms if kind == "comm_close"})
    views = "[each for each in threading.enumerate() if each.name.endswith('-view')]"
    ends = f"import threading\nfor each in {views}:\n    each.join(10)\nprint({views})"
    assert page.run(ends) == "[]\n"


# ---- what is recorded


def test_a_recorded_run_is_resumed_unless_a_cell_was_edited_in_between(kernel: Kernel, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    load = "%%dagy_task\ndef load():\n    return [1, 2, 3]"
    kernel.run(load)
    kernel.run(f"%%dagy_task\ndef total(load):\n    Path({str(flag)!r}).read_text()\n    return sum(load)")
    assert "FileNotFoundError" in kernel.run("%dagy_run --record")
    run_id = kernel.run("import dagy_nb\nprint(dagy_nb.last_run().run_id)").strip()
    flag.touch()

    kernel.run(load.replace("2", "20"))
    refusal = kernel.run(f"run = %dagy_run --resume {run_id}")
    assert refusal.startswith("UsageError: ")
    assert "-    return [1, 2, 3]\n+    return [1, 20, 3]" in refusal
    assert "Traceback" not in refusal

    kernel.run(load)
    assert "2 completed" in kernel.run(f"run = %dagy_run --resume {run_id}")
    assert kernel.run("print(run['total'], run.wait().task_runs['load'].state.message)").startswith("6 its result is")
