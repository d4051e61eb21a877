"""A run in a clean process: a new Python that has nothing of this one but its environment and its installed packages.

The process records its run in a history (see `clean_process`), and here the history is followed: its events, and what
tasks returned and raised. So a clean run looks like any other, and what it returned is only read when it is asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType, TracebackType
from typing import Any, Literal, TypeAlias

from dagy.artifact.archive import read_manifest
from dagy.artifact.builder import Artifact
from dagy.artifact.clean_process import BEGAN, GRACE_SECONDS, Order, recorded_errors, refusal
from dagy.artifact.manifest import Manifest
from dagy.artifact.source import Source, read_python
from dagy.engine import Event
from dagy.errors import DagyError, ParameterError, RunError, SourceError, WorkerDiedError, sentence
from dagy.runs import History, RecordedValue
from dagy.runs.following import FollowedRun, RaisedError, Unreadable
from dagy.settings import Settings
from dagy.spec import FlowSpec
from dagy.states import State, StateType, cancelled, crashed
from dagy.values import Deferred, encode

__all__ = ["CleanRun", "RunStartError", "Unreadable", "start_clean"]

PlaceOf: TypeAlias = Callable[[str, int], "tuple[str, int] | None"]

POLL_SECONDS = 0.05  # between two looks at the history
_LAST_LINES = 20  # of what the process said outside tasks, when it died
_CHILD = (
    "import sys; root, folder, lifeline, report = sys.argv[1:]; del sys.argv[1:]; sys.path.append(root); "
    "from dagy.artifact.clean_process import main; main(folder, int(lifeline), int(report))"
)


def start_clean(
    code: Artifact | Path | Source,
    parameters: Mapping[str, Any],
    *,
    flow: str | None = None,
    directory: Path | None = None,
    max_workers: int | None = None,
    fail_fast: bool | None = None,
    isolation: Literal["thread", "process"] | None = None,
    record: bool = False,
    local_dir: Path | None = None,
    run_id: str | None = None,
    python: Path | None = None,
    extracted: Path | None = None,
    started: Callable[[int], object] | None = None,
    most_read: int | None = None,
    modules: Sequence[str] = (),
    namespace: Mapping[str, object] | None = None,
    place_of: PlaceOf | None = None,
) -> CleanRun:
    """Begin a run of an artifact, or of the flow in a `Source`, in a new process that works in `directory`.

    Returns when the run has begun, and raises what keeps it from that: what loading the code raises, `ParameterError`,
    and `TravelError` for a parameter that can't go into another process, before anything is started. Nothing comes from
    a cache. With `record` the run is kept in the history (`dagy runs`), that in `local_dir` if one is given. `run_id`
    is what it is called, if it is to have a certain name.

    `python` is the interpreter, that of another environment maybe. `extracted` is a folder in which the artifact's
    files are already, and which is left as it is. `started` is told the number of the process as soon as there is one,
    which leads a group and a session of its own. With `most_read` only those results are read here that are JSON of at
    most so many bytes. `modules` are imported in the process before the code. What a task
    returns may be of a class that the code itself defines, which this process does not have; `namespace` says what to
    take for the code's own names here. `place_of` says for a file and a line of a traceback which file and line to show
    instead, or None.

    The process has the environment variables and, unless `python` says otherwise, the interpreter and the installed
    packages of this one, and nothing else: not its modules, not its `sys.path`, and not its terminal. It never outlives
    this process.
    """
    with contextlib.ExitStack() as undoing:
        folder = Path(tempfile.mkdtemp(prefix="dagy-clean-"))
        undoing.callback(shutil.rmtree, folder, ignore_errors=True)
        path = code.path if isinstance(code, Artifact) else code
        if extracted is not None and isinstance(path, Path):
            path, flow = _extracted_source(read_manifest(path), extracted)
        history_dir = (local_dir or Settings.read().local_dir) if record else folder / "history"
        order = Order(
            local_dir=str(history_dir),
            run_id=run_id,
            artifact=str(path.absolute()) if isinstance(path, Path) else None,
            source=(str(path.path), path.module, path.text) if isinstance(path, Source) else None,
            flow=flow,
            parameters=_written(parameters, folder),
            modules=tuple(modules),
            max_workers=max_workers,
            fail_fast=fail_fast,
            isolation=isolation,
        )
        module = path.module if isinstance(path, Source) else read_manifest(path).module
        order.write(folder)
        process, lifeline, report = _started(folder, directory or Path.cwd(), python)
        undoing.callback(_kill, process)
        undoing.callback(os.close, lifeline)
        with open(report, encoding="utf-8") as told:  # noqa: PTH123 (a descriptor)
            if started is not None:
                started(process.pid)
            run_id = _begun(process, told.readline(), folder, place_of)
        names = {} if namespace is None else {module: namespace}
        source = _ProcessSource(process, lifeline, folder, history_dir, run_id, names, place_of, most_read)
        undoing.callback(source.history.close)
        run = CleanRun(source, run_id, source.history.spec(run_id), parameters)
        undoing.pop_all()
        return run


def _extracted_source(manifest: Manifest, folder: Path) -> tuple[Source, str]:
    """The module that defines the artifact's flow, and the flow's name: all of the manifest that the process needs."""
    path = folder.absolute() / manifest.module_path
    return Source(path, manifest.module, read_python(path)), manifest.flow_name


class CleanRun(FollowedRun):
    """A run in a clean process, with what `RunHandle` offers. All its methods may be called from any thread.

    Of a run that is cancelled, a process that has not ended some seconds later is killed.
    """

    def __init__(self, source: _ProcessSource, run_id: str, spec: FlowSpec, parameters: Mapping[str, Any]) -> None:
        self._pid = source.process.pid
        super().__init__(source, run_id, spec, parameters)
        self._remove = weakref.finalize(self, shutil.rmtree, source.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._pid


class _ProcessSource:
    """What a process records of its run, and the process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        lifeline: int,
        folder: Path,
        local_dir: Path,
        run_id: str,
        names: Mapping[str, Mapping[str, object]],
        place_of: PlaceOf | None,
        most_read: int | None,
    ) -> None:
        self.process = process
        self.folder = folder
        self.history = History(local_dir)
        self._lifeline = lifeline
        self._writing = threading.Lock()  # held while the lifeline is used
        self._local_dir = local_dir
        self._run_id = run_id
        self._names = names
        self._place_of = place_of
        self._most_read = most_read
        self._errors: list[RaisedError] = []
        self._cancelled_at: float | None = None
        self._reason = ""

    def is_over(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(POLL_SECONDS)
            self.history.close()
            self.history = History(self._local_dir)  # a run whose process has died is ended by this
            return True
        if self._cancelled_at is not None and time.monotonic() > self._cancelled_at + GRACE_SECONDS:
            _kill(self.process)
        return False

    def events(self, since: int) -> Sequence[Event]:
        return self.history.events(self._run_id, since=since)

    def errors(self) -> Sequence[RaisedError]:
        if self._most_read is not None:  # they would be unpickled
            return ()
        new = recorded_errors(self.folder, since=len(self._errors))
        for each in new:
            _show_places(each.error, self._place_of)
        self._errors = [*self._errors, *new]
        return self._errors

    def results(self) -> Mapping[str, Deferred]:
        return self._readable(self.history.results(self._run_id))

    def parameters(self) -> Mapping[str, Deferred]:
        return self._readable(self.history.parameters(self._run_id))

    def _readable(self, values: Mapping[str, RecordedValue]) -> Mapping[str, Deferred]:
        most = self._most_read
        return {
            name: each for name, each in values.items() if most is None or (each.codec == "json" and each.size <= most)
        }

    def value(self) -> Deferred | None:
        return None

    def end(self, recorded: State | None) -> State | None:
        """The end in words that only who started the process can know."""
        code = self.process.returncode
        if recorded is None or recorded.type is not StateType.CRASHED or code is None:
            return recorded
        if self._cancelled_at is not None:
            return cancelled(f"{self._reason}; its process did not end within {GRACE_SECONDS:g} s, and was killed")
        return crashed(f"its process died: {_how_it_ended(code)}{_last_lines(self.folder)}")

    def error(self, state: State) -> BaseException | None:
        return WorkerDiedError(state.message, self.process.returncode or 0) if state.type is StateType.CRASHED else None

    def cancel(self, reason: str) -> None:
        with self._writing:
            if self._cancelled_at is None:
                self._cancelled_at, self._reason = time.monotonic(), reason
            if self._lifeline >= 0:
                with contextlib.suppress(OSError):  # it has ended
                    os.write(self._lifeline, f"{' '.join(reason.split())}\n".encode(errors="replace"))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Let pickles find what they call by the name of the code's own module."""
        with _BORROWING:
            before = {name: sys.modules.get(name) for name in self._names}
            for name, namespace in self._names.items():
                module = ModuleType(name)
                vars(module).update(
                    {key: each for key, each in list(namespace.items()) if isinstance(each, type | FunctionType)}
                )
                sys.modules[name] = module
            try:
                yield
            finally:
                for name, module_before in before.items():
                    if module_before is None:
                        del sys.modules[name]
                    else:
                        sys.modules[name] = module_before

    def close(self) -> None:
        _kill(self.process)
        with self._writing:
            os.close(self._lifeline)
            self._lifeline = -1
        self.history.close()


_BORROWING = threading.RLock()  # held while `sys.modules` is not what it is


def _show_places(error: BaseException, place_of: PlaceOf | None) -> None:
    """Let the tracebacks of `error`, and of all that belongs to it, tell of other places."""
    todo: list[BaseException | None] = [error] if place_of is not None else []
    seen: set[int] = set()
    for each in todo:  # it grows meanwhile
        if each is not None and id(each) not in seen and place_of is not None:
            seen.add(id(each))
            each.__traceback__ = _moved(each.__traceback__, place_of)
            todo += [each.__cause__, each.__context__]
            todo += each.exceptions if isinstance(each, BaseExceptionGroup) else ()


def _moved(chain: TracebackType | None, place_of: PlaceOf) -> TracebackType | None:
    from tblib import Traceback

    steps: list[TracebackType] = []
    while chain is not None:
        steps.append(chain)
        chain = chain.tb_next
    made: TracebackType | None = None
    for step in reversed(steps):
        frame, line = step.tb_frame, step.tb_lineno
        place = place_of(frame.f_code.co_filename, line)
        if place is not None:
            told: Any = Traceback(TracebackType(None, frame, step.tb_lasti, line)).to_dict()
            told["tb_frame"]["f_code"]["co_filename"], line = place
            told["tb_lineno"] = told["tb_frame"]["f_lineno"] = line
            frame = Traceback.from_dict(told).as_traceback().tb_frame
        made = TracebackType(made, frame, -1, line)
    return made


def _written(parameters: Mapping[str, Any], folder: Path) -> dict[str, tuple[str, str]]:
    """Put the parameters into the folder; `TravelError` names the one that can't be."""
    written: dict[str, tuple[str, str]] = {}
    for number, (name, value) in enumerate(parameters.items()):
        if not isinstance(name, str):
            raise ParameterError(f"the name of a parameter must be a text, not {name!r}")
        encoded = encode(value, called=f"the parameter {name!r}")
        encoded.write(folder / f"parameter-{number}")
        written[name] = (encoded.codec, f"parameter-{number}")
    return written


def _started(folder: Path, directory: Path, python: Path | None) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, the pipe that tells it that we live, and the one by which it tells how the start went."""
    far_lifeline, lifeline = os.pipe()
    report, far_report = os.pipe()
    try:
        arguments = [_path_of_dagy(folder, python), str(folder), str(far_lifeline), str(far_report)]
        with (folder / _LOG).open("wb") as log:
            process = subprocess.Popen(
                [str(python or sys.executable), "-P", "-c", _CHILD, *arguments],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(far_lifeline, far_report),
                start_new_session=True,  # so that Ctrl-C and the stop button do not reach it
            )
    except OSError as error:
        os.close(lifeline)
        os.close(report)
        raise RunStartError(f"no process can be started in {str(directory)!r}: {error.strerror or error}") from error
    finally:
        os.close(far_lifeline)
        os.close(far_report)
    return process, lifeline, report


def _path_of_dagy(folder: Path, python: Path | None) -> str:
    """The folder to find dagy in, should it not be installed; for another environment one with nothing beside it."""
    package = Path(__file__).resolve().parents[1]
    if python is None or python == Path(sys.executable):
        return str(package.parent)
    alone = folder / "path"
    alone.mkdir()
    (alone / package.name).symlink_to(package, target_is_directory=True)
    return str(alone)


_LOG = "said.txt"  # what the process says outside tasks


class RunStartError(SourceError):
    """The process of a clean run could not be started, or died before the run began."""


def _begun(process: subprocess.Popen[bytes], told: str, folder: Path, place_of: PlaceOf | None) -> str:
    """The id of the run, if it has begun, which is what the process told; raises what keeps it from that."""
    word, _, run_id = told.rstrip("\n").partition(" ")
    if word != BEGAN:
        error = _not_begun(process, folder)
        _show_places(error, place_of)
        raise error
    return run_id


def _not_begun(process: subprocess.Popen[bytes], folder: Path) -> DagyError:
    """Why the run did not begin, once that is certain."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    error = refusal(folder)
    if isinstance(error, DagyError) and not isinstance(error, RunError):
        return error
    if error is not None:
        return RunStartError(f"the run could not begin in a clean process: {sentence(error)}")
    how = _how_it_ended(process.returncode) if process.returncode is not None else "it does not answer"
    return RunStartError(f"the clean process died before the run began: {how}{_last_lines(folder)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it has started, unless it ended well: then it has seen to the rest itself."""
    if process.poll() != 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "a signal"
    return f"killed by {name} (signal {-code})"


def _last_lines(folder: Path) -> str:
    """The end of what the process said outside tasks, to be put behind a message; empty when it said nothing."""
    try:
        with (folder / _LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 10_000))
            lines = file.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
    except OSError:
        return ""
    return "\n" + "\n".join(lines) if lines else ""
