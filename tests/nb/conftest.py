"""A notebook in this process: a fresh IPython shell a test, whose cells are run and read as a user would.

And for what needs no IPython, a screen and the kernel's end of a page that record.
"""

from __future__ import annotations

import atexit
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets import Type
from traitlets.config import Config


@dataclass(frozen=True)
class Ran:
    """What a cell left."""

    result: ExecutionResult
    out: str
    err: str
    shown: list[Mapping[str, Any]]  # MIME bundles, in order

    @property
    def success(self) -> bool:
        return bool(self.result.success)

    @property
    def value(self) -> Any:
        """The value of the cell's last line."""
        return self.result.result

    @property
    def text(self) -> str:
        """All that a person can read of it."""
        parts = [self.out, self.err, *(str(each.get("text/plain", "")) for each in self.shown)]
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(each.strip() for each in parts if each.strip()))

    @property
    def html(self) -> str:
        return "\n".join(str(each.get("text/html", "")) for each in self.shown)


class NotebookShell:
    """An IPython shell without a terminal or a kernel, driven cell by cell."""

    def __init__(self, shell: InteractiveShell, read_streams: Callable[[], Any]) -> None:
        self.shell = shell
        self._read_streams = read_streams

    @property
    def names(self) -> dict[str, Any]:
        return dict(self.shell.user_ns)

    @property
    def session(self) -> Any:
        return self.shell.magics_manager.registry["DagyMagics"].session

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks that the notebook keeps."""
        return [each.name for each in self.session.notebook.tasks()]

    def run(self, source: str, cell_id: str | None = None) -> Ran:
        """Run a cell, maybe to its error."""
        self._read_streams()
        publisher = self.shell.display_pub
        assert isinstance(publisher, CapturingDisplayPublisher)
        publisher.outputs.clear()
        result = self.shell.run_cell(source, store_history=True, cell_id=cell_id)
        out, err = self._read_streams()
        return Ran(result, out, err, [each["data"] for each in publisher.outputs])

    def ok(self, source: str, cell_id: str | None = None) -> Ran:
        """Run a cell that must succeed."""
        ran = self.run(source, cell_id)
        assert ran.success, ran.text
        return ran

    def fails(self, source: str, cell_id: str | None = None) -> str:
        """What a person reads of a cell that must fail."""
        ran = self.run(source, cell_id)
        assert not ran.success, ran.text
        return ran.text


class RecordingShell(InteractiveShell):
    display_pub_class = Type(CapturingDisplayPublisher)


def new_shell() -> InteractiveShell:
    """A shell that keeps no history on disk and prints no colours."""
    config = Config()
    config.HistoryManager.enabled = False
    config.RecordingShell.colors = "nocolor"
    config.RecordingShell.xmode = "Context"
    RecordingShell.clear_instance()
    return RecordingShell.instance(config=config, user_module=ModuleType("__main__"))


@pytest.fixture
def bare(capsys: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookShell]:
    """A fresh shell, in a folder of its own, in which the extension is not loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    shell = new_shell()
    yield NotebookShell(shell, capsys.readouterr)
    if "DagyMagics" in shell.magics_manager.registry:
        shell.run_line_magic("unload_ext", "dagy_nb")
    assert "publish" not in vars(shell.display_pub), "a run still captures what is displayed"
    atexit.unregister(shell.atexit_operations)  # nothing of it is on disk, and collecting garbage takes a while
    RecordingShell.clear_instance()
    left = [sys.stdout, sys.stderr, sys.displayhook, *logging.getLogger().handlers]
    assert [each for each in left if type(each).__module__.startswith("dagy")] == []


@pytest.fixture
def notebook(bare: NotebookShell) -> NotebookShell:
    """A fresh shell with the extension loaded."""
    bare.ok("%load_ext dagy_nb")
    return bare


# ---- without IPython: a screen and a page that record

Bundle = Mapping[str, Any]


class RecordingScreen:
    """A screen that keeps what it shows."""

    def __init__(self, *, is_live: bool = False) -> None:
        self.kernel_id = "k1" if is_live else ""
        self.is_live = is_live
        self.moment = 1
        self.shown: list[Bundle] = []
        self.replaced: list[tuple[str, Bundle]] = []
        self.capturing = 0

    def show(self, bundle: Bundle) -> None:
        self.shown.append(dict(bundle))

    def show_replaceable(self, bundle: Bundle) -> str:
        self.shown.append(dict(bundle))
        return f"display-{len(self.shown)}"

    def replace(self, display_id: str, bundle: Bundle) -> None:
        self.replaced.append((display_id, dict(bundle)))

    def bundle_of(self, value: object) -> Bundle:
        return {"text/plain": repr(value)}

    def capture_displays(self) -> Callable[[], None]:
        self.capturing += 1

        def release() -> None:
            self.capturing -= 1

        return release

    @property
    def still(self) -> Bundle:
        """What is left of the one run that was shown."""
        ((_, bundle),) = self.replaced
        return bundle


class RecordingComm(BaseComm):
    """The kernel's end of a connection to the page; what is sent is kept, as Bundle, in `sent`."""

    opened: list[RecordingComm] = []  # noqa: RUF012

    def __init__(self, **values: Any) -> None:
        self.sent: list[tuple[str, Bundle]] = []
        RecordingComm.opened.append(self)
        super().__init__(**values)

    def publish_msg(self, msg_type: str, data: Any = None, *_: object, **__: Any) -> None:
        self.sent.append((msg_type, json.loads(json.dumps(data))))

    @property
    def state(self) -> Bundle:
        """What the page got when the model was made."""
        state: Bundle = self.sent[0][1]["state"]
        return state

    @property
    def custom(self) -> list[Bundle]:
        """The messages that are the view's own."""
        return [data["content"] for _, data in self.sent if data and data.get("method") == "custom"]

    def receive(self, content: Bundle) -> None:
        """What a page sends."""
        data = {"method": "custom", "content": content}
        self.handle_msg({"content": {"data": data}, "buffers": []})


def wire_of(comms: list[RecordingComm]) -> RecordingComm:
    """The view's own connection; the other one is that of the layout model that ipywidgets adds."""
    (found,) = [each for each in comms if "flow_name" in each.state]
    return found


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> list[RecordingComm]:
    """The connections that widgets open, in order."""
    pytest.importorskip("anywidget")
    monkeypatch.setattr(comm, "create_comm", RecordingComm)
    monkeypatch.setattr(RecordingComm, "opened", [])
    return RecordingComm.opened
