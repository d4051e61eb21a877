"""The magics in a real kernel: help, completion, all of them once, and what the page tells of deleted cells."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

LOAD = "%%dagy_task\ndef load(n: int = 3, *, many: bool = False):\n    print('loaded')\n    return n"
TOTAL = "%%dagy_task\ntotal = load * 2"


class Page:
    """A kernel as a page uses it: cells have ids, and what is typed is completed and explained."""

    def __init__(self) -> None:
        self.manager: KernelManager
        self.client: BlockingKernelClient
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, source: str, cell_id: str = "", deleted: tuple[str, ...] = ()) -> str:
        """All that a person can read of a cell that is run."""
        content = {
            "code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
            "stop_on_error": False,
        }  # fmt: skip
        metadata = {"cellId": cell_id or None, "deletedCells": list(deleted)}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        found: list[str] = []
        while True:
            answer: Any = self.client.get_iopub_msg(timeout=60)
            content = answer["content"]
            match answer["msg_type"] if answer["parent_header"].get("msg_id") == message["msg_id"] else "":
                case "stream":
                    found.append(content["text"])
                case "display_data" | "update_display_data" | "execute_result":
                    found.append(content["data"]["text/plain"])
                case "error":
                    found.append("\n".join(content["traceback"]))
                case "status" if content["execution_state"] == "idle":
                    break
        reply = self._reply_to(message["msg_id"])
        found += [str(each.get("text") or each["data"]["text/plain"]) for each in reply.get("payload", [])]
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(found))

    def completed(self, code: str) -> list[str]:
        """What is offered at the end of `code`, with what stands before it on the line."""
        reply = self._reply_to(self.client.complete(code, len(code)))
        return [code[: reply["cursor_start"]].split("\n")[-1] + each for each in reply["matches"]]

    def explained(self, code: str) -> str:
        """What the page shows for the name at the end of `code`."""
        reply = self._reply_to(self.client.inspect(code, len(code)))
        return re.sub(r"\x1b\[[0-9;]*m", "", reply["data"]["text/plain"]) if reply["found"] else ""

    def _reply_to(self, message_id: str) -> Any:
        while True:
            reply: Any = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == message_id:
                return reply["content"]

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    page = Page()
    try:
        assert page.run("%load_ext dagy_nb", "loads") == ""
        yield page
    finally:
        page.end()


def test_every_magic_is_explained(page: Page) -> None:
    for cell in ("%%dagy_task?", "%dagy_task?", "%%dagy_task -h"):
        assert "usage: %%dagy_task" in page.run(cell)
    for cell in ("%dagy_run?", "%dagy_run -h", "%dagy_run --help"):
        text = page.run(cell)
        assert "usage: %dagy_run" in text
        assert "--background" in text
    for code in ("%%dagy_task", "%dagy_task"):
        assert "usage: %%dagy_task" in page.explained(code)
    for code in ("%dagy_run", "%dagy_check"):
        assert f"usage: {code}" in page.explained(code)
    assert "%dagy_check " in page.run("%dagy")


@pytest.mark.parametrize("jedi", [True, False])
def test_lines_of_ours_are_completed(page: Page, jedi: bool) -> None:
    page.run(LOAD, "a")
    page.run(TOTAL, "b")
    page.run("%dagy_run --record")
    page.run(f"get_ipython().Completer.use_jedi = {jedi}")
    for code, expected in {
        "%%dagy_task --retri": ["%%dagy_task --retries"],
        "#| dagy_task x --isolation ": ["#| dagy_task x --isolation thread", "#| dagy_task x --isolation process"],
        "%%dagy_task --executor=st": ["%%dagy_task --executor=step-functions"],
        "%dagy_run ": ["%dagy_run notebook"],
        "x = 1\nrun = %dagy_run no": ["run = %dagy_run notebook"],
        "%dagy_run --param ": ["%dagy_run --param n=", "%dagy_run --param many="],
        "%dagy_run --isolation=p": ["%dagy_run --isolation=process"],
        "%dagy_logs --task ": ["%dagy_logs --task load", "%dagy_logs --task total"],
        "%dagy_logs lat": ["%dagy_logs latest"],
        "%dagy_ch": ["%dagy_check"],
        "%%dagy_t": ["%%dagy_task"],
    }.items():
        assert page.completed(code) == expected, code
    assert page.completed("%dagy_run --resume note")[0].startswith("%dagy_run --resume notebook-")
    assert "print" in page.completed("%%dagy_task --retries 2\ndef f():\n    pri")[0]


def test_all_magics_do_their_work(page: Page) -> None:
    assert page.run(LOAD, "a") == "task 'load'; parameters n, many"
    assert "not run here" in page.run(TOTAL, "b")
    assert "load" in page.run("%dagy_dag")
    assert "2 completed" in page.run("%dagy_run -p n=4 --record")
    assert "reused 2 results" in page.run("%dagy_run --again")
    assert "load   cell [2]  %%dagy_task  n, many" in page.run("%dagy_tasks")
    assert page.run("%dagy_logs --task load latest") == "nothing was written"  # it was not run again
    run_id = page.run("print(_5.run_id)").strip()
    assert run_id in page.run("%dagy_runs")
    assert page.run(f"%dagy_logs {run_id}") == "load  loaded"
    told, *loaded = page.run("%dagy_load total").splitlines()
    assert told == "the new cell tries the task by hand, in no flow; take what you change to cell [3]"
    assert loaded[:2] == ["#| dagy_try  # from task 'total', cell [3]", "total = load * 2"]
    assert "no run is under way" in page.run("%dagy_cancel")
    assert "an export holds notebook" in page.run("%dagy_check")
    assert "never" in page.run("%dagy_status")
    assert "wrote flow.py with notebook" in page.run("%dagy_export flow.py")
    assert "✓ total: equal" in page.run("%dagy_build --prove")
    assert "nothing: it is up to date" in page.run("%dagy_status")
    assert "gives the notebook's results in a clean process (2 tasks)" in page.run("%dagy_deploy --name morning")
    assert "morning is deployed already: nothing has changed" in page.run("%dagy_deploy --name morning")
    assert "queued, waiting for a worker" in page.run("queued = %dagy_run --deployment morning --background")
    assert "this notebook and deployment morning" in page.run("%dagy_runs")
    assert "cancelling notebook-" in page.run("%dagy_cancel")
    assert "CANCELLED" in page.run("print(queued.wait(60))")
    assert "CANCELLED" in page.run("%dagy_watch")
    assert page.completed("%dagy_run --deployment mo") == ["%dagy_run --deployment morning"]
    assert "2 completed" in page.run("%dagy_run --fresh")
    assert "UsageError: a form needs a page" in page.run("%dagy_run --form")
    assert "is forgotten" in page.run("%dagy_reset total")
    assert "are forgotten" in page.run("%dagy_reset")
    assert "begin a cell with %%dagy_task" in page.run("%dagy_tasks")


def test_a_cell_that_the_page_deleted_is_marked_until_it_is_forgotten(page: Page) -> None:
    page.run(LOAD, "a")
    page.run("%%dagy_task\ndef apart():\n    return 1", "b")
    found = page.run("%dagy_check", "c", deleted=("b",))
    assert "cell [3]: it is deleted, and what it defines still counts; forget it with %dagy_reset apart" in found
    assert "deleted" in page.run("%dagy_tasks", "c")
    assert "deleted" in page.run("%dagy_dag", "c")
    assert "1 cell is deleted and still counts: %dagy_check" in page.run("%dagy_run", "c")
    page.run("%dagy_reset apart", "c")
    assert "deleted" not in page.run("%dagy_check", "c")


def test_the_file_that_the_page_saved_tells_what_is_edited(page: Page, tmp_path: Path) -> None:
    page.run(LOAD, "a")
    content = {
        "nbformat": 4, "nbformat_minor": 5, "metadata": {},
        "cells": [
            {"cell_type": "code", "id": "a", "source": LOAD.replace("3", "4"), "outputs": []},
            {"cell_type": "code", "id": "b", "source": TOTAL, "outputs": []},
        ],
    }  # fmt: skip
    path = tmp_path / "etl.ipynb"
    path.write_text(json.dumps(content), "utf-8")
    os.utime(path, (time.time() + 5, time.time() + 5))
    page.run(f"__vsc_ipynb_file__ = {str(path)!r}")
    found = page.run("%dagy_check", "c")
    assert "cell [2]: it is edited and not run; run it again" in found
    assert "cell 2 of etl.ipynb: it is the task 'total' and has not run; run it" in found
    assert page.run("%dagy_run", "c").startswith("1 cell is edited and not run, 1 cell has not run: %dagy_check")


def test_the_file_is_found_through_a_real_server_after_a_rename_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=secret",
        "--ServerApp.disable_check_xsrf=True", "--ServerApp.jpserver_extensions={}",
        f"--ServerApp.root_dir={notebooks}",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
        (notebooks / "first.ipynb").write_text(json.dumps(content), "utf-8")
        kernel = {"path": "first.ipynb", "name": "first", "type": "notebook", "kernel": {"name": "python3"}}
        session = _asked(server, port, "POST", "/api/sessions", kernel)
        client = BlockingKernelClient()
        client.load_connection_file(str(tmp_path / "jupyter_runtime_dir" / f"kernel-{session['kernel']['id']}.json"))
        client.start_channels()

        def path_after(source: str) -> str:
            reply = client.execute(
                source, user_expressions={"path": "str(session.notebook.path)"}, reply=True, timeout=60
            )
            return str(reply["content"]["user_expressions"]["path"]["data"]["text/plain"]).strip("'")

        loads = "%load_ext dagy_nb\nfrom dagy_nb.magics import current_magics\nsession = current_magics().session"
        assert path_after(f"{loads}\nsession.look()") == str(notebooks / "first.ipynb")
        (notebooks / "first.ipynb").rename(notebooks / "second.ipynb")
        _asked(server, port, "PATCH", f"/api/sessions/{session['id']}", {"path": "second.ipynb"})
        # What a kernel was told when it started is wrong by now, and what was asked for counts for a few seconds.
        assert path_after("session.finder._ask_again_at = 0\nsession.look()") == str(notebooks / "second.ipynb")
        client.stop_channels()
        _asked(server, port, "DELETE", f"/api/sessions/{session['id']}")
    finally:
        server.terminate()
        server.wait(30)


def _asked(server: subprocess.Popen[bytes], port: int, method: str, path: str, content: object = None) -> Any:
    """What the server answers, once it answers at all."""
    body = None if content is None else json.dumps(content).encode()
    headers = {"Authorization": "token secret", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)
