"""Where the notebook's file is: a kernel is not told, so the places are asked that know, the surest first.

    what the user said (`%dagy --notebook PATH`)
    VS Code's variable in the notebook
    the Jupyter server that started the kernel, over loopback: right after a rename too
    what the server told the kernel when it started, or papermill; the name may be old by now

Asking the server never holds a magic up: one second in all, and after a failure it is left alone for a while.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

ANSWER_SECONDS = 1.0  # that a server has to answer
FRESH_SECONDS = 5.0  # that an answer counts
PAUSE_SECONDS = 60.0  # before a server that did not answer is asked again
_LARGEST = 10_000_000  # bytes of an answer that are read

_EVERYWHERE = frozenset({"", "*", "0.0.0.0", "::", "localhost", "127.0.0.1"})  # hosts that loopback reaches


@dataclass(frozen=True, slots=True)
class Server:
    """A Jupyter server of this machine and user, as the file says that it writes when it starts."""

    port: int
    base: str  # the path that its addresses begin with: "/", "/user/ada/"
    token: str
    root: Path  # the folder that its paths begin in
    pid: int


class PathFinder:
    """Finds the notebook's file, and remembers for a few seconds what it found.

    `kernel_id` is what the Jupyter server knows the kernel by; `variables` and `environ` are the notebook's and the
    process's own.
    """

    def __init__(
        self,
        kernel_id: str,
        variables: Mapping[str, Any],
        environ: Mapping[str, str] = os.environ,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.given: Path | None = None  # what the user said
        self._kernel_id = kernel_id
        self._variables = variables
        self._environ = environ
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._asked: Path | None = None
        self._ask_again_at = 0.0

    def told(self) -> Path | None:
        """The path as far as it is known without asking anyone."""
        if self.given is not None:
            return self.given
        visual_studio = self._variables.get("__vsc_ipynb_file__")
        if isinstance(visual_studio, str) and visual_studio:
            return Path(visual_studio)
        if self._asked is not None:
            return self._asked
        for name in ("JPY_SESSION_NAME", "PAPERMILL_OUTPUT_PATH", "PAPERMILL_INPUT_PATH"):
            if self._environ.get(name, "").endswith(".ipynb"):
                return Path(self._environ[name])
        return None

    def found(self) -> Path | None:
        """The path, for which the Jupyter server may be asked."""
        if self.given is None and "__vsc_ipynb_file__" not in self._variables and self._kernel_id:
            now = self._clock()
            if now >= self._ask_again_at:
                path = _within(self._answer_seconds, self._ask_servers)
                self._asked = path or self._asked
                self._ask_again_at = now + (PAUSE_SECONDS if path is None else FRESH_SECONDS)
        return self.told()

    def _ask_servers(self) -> Path | None:
        if self._environ.get("JPY_SESSION_NAME") is None and "JPY_PARENT_PID" not in self._environ:
            return None  # no server has started this kernel
        parent = self._environ.get("JPY_PARENT_PID", "")
        servers = sorted(running_servers(runtime_folder(self._environ)), key=lambda each: str(each.pid) != parent)
        for server in servers:
            path = notebook_of(self._kernel_id, server)
            if path is not None:
                return path
        return None


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """Where Jupyter servers say that they run."""
    if environ.get("JUPYTER_RUNTIME_DIR"):
        return Path(environ["JUPYTER_RUNTIME_DIR"])
    if environ.get("JUPYTER_DATA_DIR"):
        return Path(environ["JUPYTER_DATA_DIR"], "runtime")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter" / "runtime"
    if sys.platform == "win32":
        return Path(environ.get("APPDATA") or Path.home(), "jupyter", "runtime")
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "jupyter", "runtime")


def running_servers(folder: Path) -> Iterator[Server]:
    """The servers whose files are in `folder`; some may have ended. Only those that plain loopback reaches."""
    for path in sorted(folder.glob("jpserver-*.json")):
        try:
            told = json.loads(path.read_bytes())
            if told.get("secure") or told.get("sock") or str(told.get("hostname", "")) not in _EVERYWHERE:
                continue
            base = str(told.get("base_url") or urlsplit(str(told["url"])).path or "/")
            root = Path(told.get("root_dir") or told["notebook_dir"])
            yield Server(int(told["port"]), base, str(told.get("token", "")), root, int(told.get("pid", 0)))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            continue  # half written, or another program's


def notebook_of(kernel_id: str, server: Server) -> Path | None:
    """The notebook that the server's page for this kernel shows; None when the server has none or does not say."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_SECONDS)
    headers = {"Authorization": f"token {server.token}"} if server.token else {}
    try:
        connection.request("GET", f"{quote(server.base.rstrip('/'))}/api/sessions", headers=headers)
        answer = connection.getresponse()
        sessions = json.loads(answer.read(_LARGEST)) if answer.status == http.client.OK else []
    except (OSError, ValueError, OverflowError, RecursionError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    for each in sessions if isinstance(sessions, list) else ():
        try:
            if each["kernel"]["id"] == kernel_id:
                path = server.root / str(each.get("path") or each["notebook"]["path"])
                return path if path.suffix == ".ipynb" else None
        except (KeyError, TypeError, AttributeError):
            continue
    return None


def _within(seconds: float, ask: Callable[[], Path | None]) -> Path | None:
    """What `ask` answers, or None when it takes longer than `seconds`; it ends by itself later."""
    answers: list[Path | None] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), name="dagy-notebook-path", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None
