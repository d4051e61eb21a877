"""What happens in the process of a clean run: the code is loaded, the flow runs, and a history keeps the run.

Whoever starts it (see `clean_run`) has put an `Order` and the parameters into a folder, and holds two pipes. On the one
it is told how the start went; by the other it says that it lives, and that the run is to be cancelled.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import pickle
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from dagy.artifact.source import Source, load_flow
from dagy.artifact.unpacking import unpacked_flow
from dagy.engine import RunHandle, start
from dagy.engine.log import EventLog
from dagy.engine.processes.errors import pack_error, unpack_error
from dagy.engine.processes.packing import Packed, Region
from dagy.errors import StoreError
from dagy.flows import Flow
from dagy.program import Program
from dagy.runs import RunRecorder
from dagy.runs.following import RaisedError
from dagy.values import read_trusted

ORDER_NAME = "order.json"
REFUSAL_NAME = "refusal"
BEGAN = "began"  # the first word of what is told when the run has begun; its id follows
TASK_GRACE_SECONDS = 1.0  # what a task that is told to stop may take to do so
GRACE_SECONDS = 3.0  # the same for the run as a whole, before its process is killed
_ERRORS = "errors"


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is to do. Paths are absolute."""

    local_dir: str  # of the history that keeps the run
    run_id: str | None = None  # None: a new one
    artifact: str | None = None  # the path of the artifact to run; else the source says what
    source: tuple[str, str, str] | None = None  # path, module and text of a `Source`
    flow: str | None = None  # of a source: which flow; None for the only one
    parameters: dict[str, tuple[str, str]] = field(default_factory=dict)  # by name: codec, and file in the folder
    modules: tuple[str, ...] = ()  # to import before anything else, for what they do
    max_workers: int | None = None
    fail_fast: bool | None = None  # None: as the flow says
    isolation: Literal["thread", "process"] | None = None

    def write(self, folder: Path) -> None:
        """Put it into the folder."""
        (folder / ORDER_NAME).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Order:
        """The order in the folder."""
        return cls(**json.loads((folder / ORDER_NAME).read_text("utf-8")))


def recorded_errors(folder: Path, *, since: int = 0) -> list[RaisedError]:
    """What attempts of the run raised, in order, from number `since` on."""
    found: list[RaisedError] = []
    for number in itertools.count(since):
        try:
            task, attempt, *packed = pickle.loads((folder / _ERRORS / str(number)).read_bytes())
        except FileNotFoundError:
            return found
        found.append(RaisedError(task, attempt, unpack_error(Packed(*packed))))
    raise AssertionError("unreachable")


def refusal(folder: Path) -> BaseException | None:
    """Why the run could not begin; None when the process did not come to say so."""
    try:
        return unpack_error(Packed(*pickle.loads((folder / REFUSAL_NAME).read_bytes())))
    except FileNotFoundError:
        return None


class _Recorder(RunRecorder):
    """Tells when the run is in the history, before its first task starts, and keeps what attempts raise too.

    So whoever follows the run can do so from its beginning, and has each error and not only its text.
    """

    def __init__(self, local_dir: Path, folder: Path, has_begun: Callable[[str], object]) -> None:
        super().__init__(local_dir)
        self._has_begun = has_begun
        self._errors = folder / _ERRORS
        self._errors.mkdir()
        self._count = 0
        self._adding = threading.Lock()

    def begin(
        self,
        run_id: str,
        program: Program,
        parameters: Mapping[str, Any],
        log: EventLog,
        give_up: Callable[[StoreError], None],
    ) -> None:
        """Put the run into the history, and tell."""
        super().begin(run_id, program, parameters, log, give_up)
        self._has_begun(run_id)

    def write(self, at: int, task: str, attempt: int, stream: str, text: str) -> None:
        """Keep what a task wrote; with the text of an error comes the error, which is being handled right now."""
        error = sys.exc_info()[1]
        if stream == "error" and error is not None:
            with self._adding:
                _write(self._errors / str(self._count), (task, attempt, *_packed(error)))
                self._count += 1
        super().write(at, task, attempt, stream, text)


class _CleanProcess:
    """This process, and the run in it once there is one."""

    def __init__(self, folder: Path, lifeline: int, report: int) -> None:
        self._folder = folder
        self._lifeline = lifeline
        self._report = report
        self._lock = threading.Lock()
        self._handle: RunHandle | None = None
        self._is_alone = False  # whoever started it is gone

    def run(self) -> NoReturn:
        """Do what the order says, and end."""
        signal.signal(signal.SIGTERM, lambda *_: self._cancel("terminated"))
        threading.Thread(target=self._heed_lifeline, name="dagy-lifeline", daemon=True).start()
        try:
            self._run(Order.read(self._folder))
        except Exception as error:  # noqa: BLE001 (whatever it is, who started the process shall know)
            _write(self._folder / REFUSAL_NAME, _packed(error))
        if self._is_alone:
            shutil.rmtree(self._folder, ignore_errors=True)
        _end()

    def _run(self, order: Order) -> None:
        for each in order.modules:
            importlib.import_module(each)
        with _ordered_flow(order, self._folder) as flow:
            _lend_names(flow)
            given = {name: read_trusted(codec, self._folder / file) for name, (codec, file) in order.parameters.items()}
            program, values, options = flow.prepare_local(
                given,
                max_workers=order.max_workers,
                fail_fast=order.fail_fast,
                isolation=order.isolation,
                capture=True,
            )
            recorder = _Recorder(Path(order.local_dir), self._folder, self._tell_begun)
            # Nothing comes from a cache: what a clean process computes is what is asked for. And threads that don't
            # stop end with this process, so there is less to wait for.
            run_id = order.run_id or options.run_id
            options = replace(options, run_id=run_id, recorder=recorder, cache=None, grace_seconds=TASK_GRACE_SECONDS)
            with self._lock:
                self._handle = start(program, values, options)
            while not self._handle.done:  # in turns: a signal is heard between them
                with contextlib.suppress(TimeoutError):
                    self._handle.wait(0.1)

    def _tell_begun(self, run_id: str) -> None:
        os.write(self._report, f"{BEGAN} {run_id}\n".encode())

    def _cancel(self, reason: str) -> None:
        handle = self._handle
        if handle is None:
            os._exit(128 + signal.SIGTERM)
        threading.Thread(target=handle.cancel, args=(reason,), daemon=True).start()  # a signal may hold the run's lock

    def _heed_lifeline(self) -> None:
        """Cancel the run when that is said, and when whoever started it is gone; then nothing of it stays."""
        with open(self._lifeline, encoding="utf-8") as lines:  # noqa: PTH123 (a descriptor)
            for line in lines:
                with self._lock:  # while the run begins
                    self._cancel(line.rstrip("\n"))
        self._is_alone = True
        if self._handle is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os._exit(1)
        self._handle.cancel("whoever started the run is gone")
        with contextlib.suppress(TimeoutError):
            self._handle.wait(GRACE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


def main(folder: str, lifeline: int, report: int) -> NoReturn:
    """Be the process of the clean run that is ordered in `folder`; the others are descriptors of pipes."""
    os.set_inheritable(lifeline, False)
    os.set_inheritable(report, False)
    _CleanProcess(Path(folder), lifeline, report).run()


@contextlib.contextmanager
def _ordered_flow(order: Order, folder: Path) -> Iterator[Flow[..., Any]]:
    if order.artifact is not None:
        with unpacked_flow(Path(order.artifact), within=folder) as flow:
            yield flow
        return
    assert order.source is not None
    path, module, text = order.source
    yield load_flow(Source(Path(path), module, text), order.flow)


def _lend_names(flow: Flow[..., Any]) -> None:
    """Let parameters that were made of a notebook's own classes be made of the module's, which are the same."""
    here = vars(sys.modules["__main__"])
    for name, value in vars(sys.modules[flow.function.__module__]).items():
        if isinstance(value, type) and value.__module__ == flow.function.__module__:
            here.setdefault(name, value)


def _packed(error: BaseException) -> tuple[bytes, Any]:
    packed = pack_error(error)
    content = packed.content
    return bytes(content.read() if isinstance(content, Region) else content), packed.spans


def _write(path: Path, value: object) -> None:
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(pickle.dumps(value))
    half.replace(path)


def _end() -> NoReturn:
    """End at once, with all that was started here and still runs: a thread that can't be stopped holds up nothing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    os._exit(0)
