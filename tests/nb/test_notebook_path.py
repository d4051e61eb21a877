"""Where the notebook's file is, with a server on loopback that answers, is slow, or is gone."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dagy_nb.notebook_path import FRESH_SECONDS, PAUSE_SECONDS, PathFinder, notebook_of, running_servers, runtime_folder

SESSIONS = [
    {"kernel": {"id": "other"}, "path": "other.ipynb"},
    {"kernel": None},
    {"kernel": {"id": "k1"}, "path": "work/etl.ipynb"},
]


class Jupyter:
    """A server of one folder: what it answers, and what it was asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answer: Any = SESSIONS
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        jupyter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jupyter.asked.append((self.path, self.headers.get("Authorization")))
                jupyter.may_answer.wait(30)
                self.send_response(jupyter.status)
                self.end_headers()
                body = jupyter.answer if isinstance(jupyter.answer, str) else json.dumps(jupyter.answer)
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def announce(self, runtime: Path, **changes: object) -> None:
        """Write the file that says that the server runs."""
        runtime.mkdir(exist_ok=True)
        told = {
            "port": self.port, "base_url": "/", "token": "secret", "root_dir": str(self.root), "pid": 7,
            "hostname": "localhost", "secure": False, "sock": "", "url": f"http://localhost:{self.port}/",
        }  # fmt: skip
        (runtime / f"jpserver-{self.port}.json").write_text(json.dumps(told | changes), "utf-8")

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Jupyter]:
    server = Jupyter(tmp_path)
    yield server
    server.close()


def finder(
    tmp_path: Path,
    variables: dict[str, object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    answer_seconds: float = 10,
    **env: str,
) -> PathFinder:
    environ = {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "JPY_SESSION_NAME": "/old/name.ipynb", **env}
    return PathFinder("k1", variables or {}, environ, clock=clock, answer_seconds=answer_seconds)


def test_the_server_knows_the_file_also_after_it_was_renamed(jupyter: Jupyter, tmp_path: Path) -> None:
    jupyter.announce(tmp_path / "runtime")
    found = finder(tmp_path)
    assert found.told() == Path("/old/name.ipynb")
    assert found.found() == tmp_path / "work" / "etl.ipynb"
    assert found.told() == tmp_path / "work" / "etl.ipynb"
    assert jupyter.asked == [("/api/sessions", "token secret")]


def test_a_base_path_and_an_older_answer_are_understood(jupyter: Jupyter, tmp_path: Path) -> None:
    jupyter.announce(tmp_path / "runtime", base_url="/user/ada b/", token="")
    jupyter.answer = [{"kernel": {"id": "k1"}, "notebook": {"path": "etl.ipynb"}}]
    assert finder(tmp_path).found() == tmp_path / "etl.ipynb"
    assert jupyter.asked == [("/user/ada%20b/api/sessions", None)]


def test_an_answer_counts_for_a_while_and_is_then_asked_for_anew(jupyter: Jupyter, tmp_path: Path) -> None:
    now = 0.0
    jupyter.announce(tmp_path / "runtime")
    found = finder(tmp_path, clock=lambda: now)
    found.found()
    found.found()
    assert len(jupyter.asked) == 1
    now = FRESH_SECONDS
    jupyter.answer = [{"kernel": {"id": "k1"}, "path": "renamed.ipynb"}]
    assert found.found() == tmp_path / "renamed.ipynb"


@pytest.mark.parametrize(
    ("status", "answer"), [(403, SESSIONS), (200, "no json"), (200, {"message": "no"}), (200, []), (302, SESSIONS)]
)
def test_a_server_that_does_not_say_is_left_alone_for_a_while(
    jupyter: Jupyter, tmp_path: Path, status: int, answer: object
) -> None:
    now = 0.0
    jupyter.announce(tmp_path / "runtime")
    jupyter.status, jupyter.answer = status, answer
    found = finder(tmp_path, clock=lambda: now)
    assert found.found() == Path("/old/name.ipynb")
    jupyter.status, jupyter.answer = 200, SESSIONS
    now = PAUSE_SECONDS - 1
    assert found.found() == Path("/old/name.ipynb")
    now = PAUSE_SECONDS
    assert found.found() == tmp_path / "work" / "etl.ipynb"


def test_a_slow_server_holds_nobody_up(jupyter: Jupyter, tmp_path: Path) -> None:
    jupyter.announce(tmp_path / "runtime")
    jupyter.may_answer.clear()
    begun = time.monotonic()
    assert finder(tmp_path, answer_seconds=0.05).found() == Path("/old/name.ipynb")
    assert time.monotonic() - begun < 5


def test_a_server_that_is_gone_is_no_error(jupyter: Jupyter, tmp_path: Path) -> None:
    jupyter.announce(tmp_path / "runtime")
    (server,) = running_servers(tmp_path / "runtime")
    jupyter.close()
    assert notebook_of("k1", server) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"hostname": "10.0.0.7"},
        {"secure": True},
        {"sock": "/run/jupyter.sock"},
        {"port": "none"},
        {"port": math.inf},
        {"root_dir": None},
    ],
)
def test_only_plain_loopback_is_asked(jupyter: Jupyter, tmp_path: Path, changes: dict[str, object]) -> None:
    jupyter.announce(tmp_path / "runtime", **changes)
    (tmp_path / "runtime" / "jpserver-1.json").write_text("half a fi", "utf-8")
    (tmp_path / "runtime" / "jpserver-2.json").write_text("[]", "utf-8")
    assert list(running_servers(tmp_path / "runtime")) == []
    assert finder(tmp_path).found() == Path("/old/name.ipynb")
    assert jupyter.asked == []


def test_the_server_that_started_the_kernel_is_asked_first(tmp_path: Path) -> None:
    first, second = Jupyter(tmp_path / "a"), Jupyter(tmp_path / "b")
    try:
        first.announce(tmp_path / "runtime", pid=1)
        second.announce(tmp_path / "runtime", pid=2)
        assert finder(tmp_path, JPY_PARENT_PID="2").found() == tmp_path / "b" / "work" / "etl.ipynb"
        assert (len(first.asked), len(second.asked)) == (0, 1)
    finally:
        first.close()
        second.close()


def test_no_server_is_asked_outside_of_jupyter(jupyter: Jupyter, tmp_path: Path) -> None:
    jupyter.announce(tmp_path / "runtime")
    environ = {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    assert PathFinder("k1", {}, environ).found() is None
    assert PathFinder("", {}, {**environ, "JPY_SESSION_NAME": "/x/a.ipynb"}).found() == Path("/x/a.ipynb")
    assert jupyter.asked == []


def test_what_the_user_says_counts_most_and_visual_studio_code_comes_next(jupyter: Jupyter, tmp_path: Path) -> None:
    jupyter.announce(tmp_path / "runtime")
    found = finder(tmp_path, {"__vsc_ipynb_file__": "/code/etl.ipynb"})
    assert found.found() == Path("/code/etl.ipynb")
    found.given = Path("/said.ipynb")
    assert (found.found(), found.told()) == (Path("/said.ipynb"), Path("/said.ipynb"))
    assert jupyter.asked == []


def test_papermill_names_the_notebook_that_it_writes() -> None:
    environ = {"PAPERMILL_INPUT_PATH": "in.ipynb", "PAPERMILL_OUTPUT_PATH": "out.ipynb"}
    assert PathFinder("k1", {}, environ).told() == Path("out.ipynb")
    assert PathFinder("k1", {}, {"JPY_SESSION_NAME": "console-1"}).told() is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"JUPYTER_RUNTIME_DIR": "/r"}, "/r"),
        ({"JUPYTER_DATA_DIR": "/d"}, "/d/runtime"),
        ({"XDG_DATA_HOME": "/x"}, "/x/jupyter/runtime"),
    ],
)
def test_servers_say_where_they_run_in_jupyters_own_folder(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert runtime_folder(environ) == Path(expected)
