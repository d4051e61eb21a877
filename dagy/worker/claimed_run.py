"""One run that this worker has claimed, from making its code ready to telling how it ended."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from dagy.artifact import CleanRun, Manifest, RunStartError, read_manifest, start_clean
from dagy.control.records import Claim
from dagy.engine import RunResult
from dagy.errors import DagyError, sentence
from dagy.runs import event_to_json
from dagy.runs.faults import point
from dagy.spec import Json
from dagy.states import State, StateType, cancelled, failed, queued, running
from dagy.values import is_json
from dagy.worker.claims import ClaimNote, ClaimNotes
from dagy.worker.extracted import CODE_FOLDER, extracted_code
from dagy.worker.reporting import LostLeaseError, Reporter, ReportsTo
from dagy.worker.working_folder import remove_copies, working_folder

logger = logging.getLogger(__name__)

REPORT_SECONDS = 0.1  # between two reports
MOST_RESULT_BYTES = 65_536  # of what the flow returned, to be told with the end

T = TypeVar("T")


class RunsFrom(ReportsTo, Protocol):
    """What runs are taken from: of a `DagyClient`, that part."""

    def download_artifact(self, sha256: str, folder: Path) -> Path:
        """The artifact, verified, as a file in the folder."""


class Environments(Protocol):
    """What makes the environment that an artifact asks for: its interpreter."""

    def __call__(self, manifest: Manifest, local_dir: Path, on_progress: Callable[[str], None]) -> Path:
        """Tells `on_progress` what takes long. Raises `ArtifactError` when it can't be had."""


class ClaimedRun:
    """A run that this worker has claimed. It goes on in threads of its own; `ended` is called when all is told."""

    def __init__(
        self,
        client: RunsFrom,
        claim: Claim,
        note: ClaimNote,
        *,
        local_dir: Path,
        environment_for: Environments,
        said: Callable[[str], object],
        ended: Callable[[ClaimedRun], object],
    ) -> None:
        self.run_id = claim.run.run_id
        self._client = client
        self._claim = claim
        self._note = note
        self._notes = ClaimNotes(local_dir)
        self._local_dir = local_dir
        self._environment_for = environment_for
        self._said = said
        self._ended = ended
        self._reporter = Reporter(client, claim)
        self._preparing = ""  # what takes long before the run begins, in words
        self._pid: int | None = None  # of the process, until the run has begun
        self._stop_reason: str | None = None  # the worker wants it to end
        self._hurry = threading.Event()  # what can't be delivered now stays undelivered
        self._thread = threading.Thread(target=self._serve, name=f"dagy-{self.run_id}-claimed", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def cancel(self, reason: str) -> None:
        """Let it end soon; may be called from any thread."""
        self._stop_reason = reason

    def hurry(self) -> None:
        """Do not wait for a control plane that can't be reached; what it is not told, the next worker tells."""
        self._hurry.set()

    # ---- the thread

    def _serve(self) -> None:
        try:
            point("worker.claimed")
            self._notes.add(self._note)
            self._run()
            self._notes.remove(self._note)
        except LostLeaseError as error:
            self._notes.remove(self._note)
            self._said(f"{self.run_id}: given up: {error}")
        except _UndeliveredError:
            self._said(f"{self.run_id}: its end could not be reported yet; the next worker does so")
        except Exception as error:
            logger.exception("run %s can't go on", self.run_id)
            with contextlib.suppress(DagyError):
                self._reporter.tell((), failed(f"the worker failed: {sentence(error)}"))
            self._notes.remove(self._note)
        finally:
            self._ended(self)

    def _run(self) -> None:
        try:
            artifact, python = self._made_ready()
            point("worker.ready")
            self._deliver(running())  # from here on it may have effects, and whoever finds it alone is to know
            run = self._begun(artifact, python)
        except _CancelledError as wish:
            self._end_early(cancelled(str(wish)))
        except LostLeaseError:
            raise
        except DagyError as error:
            self._end_early(failed(_told(error)))
        else:
            self._follow(run)

    def _ready(self) -> tuple[Path, Path]:
        """The artifact, whose code is extracted now, and the interpreter for it."""
        artifact = self._client.download_artifact(self._claim.run.artifact, self._local_dir / CODE_FOLDER)
        extracted_code(artifact)
        return artifact, self._environment_for(read_manifest(artifact), self._local_dir, self._know_preparing)

    def _started(self, artifact: Path, python: Path) -> CleanRun:
        folder = working_folder(self._local_dir, self._note)
        return start_clean(
            artifact,
            self._claim.run.parameters,
            directory=folder,
            record=True,
            local_dir=self._local_dir,
            run_id=self.run_id,
            python=python,
            extracted=folder,
            started=self._know_process,
            most_read=MOST_RESULT_BYTES,
        )

    def _follow(self, run: CleanRun) -> None:
        point("worker.started")
        self._said(f"{self.run_id}: running")
        try:
            while not _has_ended(run, REPORT_SECONDS):
                self._tell_news(run)
                wish = self._wish()
                if wish is not None:
                    run.cancel(wish)
        except BaseException:  # the lease is lost, or this worker has a defect: nobody would hear of it any more
            _stop(run)
            raise
        result = run.wait()
        remove_copies(self._local_dir, self._note)
        point("worker.before_end")
        self._deliver(result.state, run, result=_small_json(result))
        point("worker.after_end")
        self._said(f"{self.run_id}: {result.state}")

    def _tell_news(self, run: CleanRun) -> None:
        self._reporter.tell(self._news(run))
        point("worker.running")

    def _end_early(self, state: State) -> None:
        remove_copies(self._local_dir, self._note)
        self._deliver(state)
        self._said(f"{self.run_id}: {state}")

    def _deliver(self, state: State, run: CleanRun | None = None, *, result: tuple[Json] | None = None) -> None:
        """Tell of the state, and of all events before it, however long that takes."""
        while not self._reporter.tell(() if run is None else self._news(run), state, result=result):
            if self._hurry.wait(self._reporter.seconds_to_wait):
                raise _UndeliveredError

    def _news(self, run: CleanRun) -> list[dict[str, Json]]:
        """The events that the control plane does not have yet."""
        return [event_to_json(each) for each in run.events(since=self._reporter.reported, follow=False)]

    # ---- what is waited for while the lease is renewed

    def _made_ready(self) -> tuple[Path, Path]:
        """What `_ready` gives. When the run is to be cancelled, or is lost, that goes on alone: it may serve others."""
        doing = _Doing(self._ready, f"dagy-{self.run_id}-preparing")
        told = ""
        while not doing.done.wait(REPORT_SECONDS):
            now = self._preparing
            if self._reporter.tell((), None if now == told else queued(now)):
                told = now
            self._check_wanted()
        found = doing.result()
        self._check_wanted()
        return found

    def _begun(self, artifact: Path, python: Path) -> CleanRun:
        """The run, which has begun. When it is to be cancelled before that, or is lost, its process is killed."""
        doing = _Doing(lambda: self._started(artifact, python), f"dagy-{self.run_id}-starting")
        lost: LostLeaseError | None = None
        while not doing.done.wait(REPORT_SECONDS):
            try:
                self._reporter.tell(())
            except LostLeaseError as error:
                lost = error
            if lost is not None or self._wish() is not None:
                self._kill()
        try:
            run = doing.result()
        except DagyError as error:
            wish = self._wish()
            if lost is None and wish is not None and isinstance(error, RunStartError):
                raise _CancelledError(wish) from error
            raise lost or error from None
        if lost is not None:
            _stop(run)
            raise lost
        return run

    def _know_preparing(self, text: str) -> None:
        self._preparing = text
        self._said(f"{self.run_id}: {text}")

    def _know_process(self, pid: int) -> None:
        self._pid = pid

    def _kill(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    def _wish(self) -> str | None:
        """Why the run is to be cancelled; None when it is not."""
        return self._reporter.cancel_reason or self._stop_reason

    def _check_wanted(self) -> None:
        wish = self._wish()
        if wish is not None:
            raise _CancelledError(wish)


class _CancelledError(Exception):
    """The run is to be cancelled before it has begun."""


class _UndeliveredError(Exception):
    """The end of the run can't be told now."""


class _Doing(Generic[T]):
    """A function at work in a thread that may be left behind."""

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self.done = threading.Event()
        self._work = work
        self._found: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._do, name=name, daemon=True).start()

    def _do(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as error:  # noqa: BLE001 (handed on to who waits)
            self._error = error
        self.done.set()

    def result(self) -> T:
        """What it gave, or raises what it raised; once it is done."""
        if self._error is not None:
            raise self._error
        return self._found[0]


def _has_ended(run: CleanRun, seconds: float) -> bool:
    """Whether it has, asked for so long."""
    with contextlib.suppress(TimeoutError):
        run.wait(seconds)
        return True
    return False


def _stop(run: CleanRun) -> None:
    """End its process."""
    run.cancel("it is no longer this worker's")
    run.wait()


def _told(error: DagyError) -> str:
    """Why the run could not begin: in the words of its author's code where that raised."""
    cause = error.__cause__
    return f"{error}" if cause is None or sentence(cause) in str(error) else f"{error} ({sentence(cause)})"


def _small_json(result: RunResult) -> tuple[Json] | None:
    """What the flow returned, if that can be told with its end."""
    if result.state.type is not StateType.COMPLETED or not is_json(result.value):
        return None
    return (result.value,) if len(json.dumps(result.value)) <= MOST_RESULT_BYTES else None
