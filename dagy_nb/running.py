"""A run that a notebook started: the engine runs it in threads of its own, a view follows it, a still picture stays.

The page gets what changed ten times a second, however much happens. When the run has ended the same output is replaced
by a picture that needs no kernel, no widget and no network.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar, Unpack

from dagy import Flow, LocalOptions, RunHandle, RunResult
from dagy.drawing import run_html, svg, text_tree
from dagy.engine import Event, ItemChanged, TaskChanged, TaskShowed, checked_result, error_text, start
from dagy.errors import (
    DagyError,
    MissingExtraError,
    RunError,
    StoreError,
    TaskTimeoutError,
    TravelError,
    WorkerDiedError,
    shown,
)
from dagy.states import State, StateType
from dagy_nb.live import LiveRun
from dagy_nb.previews import Preview, preview_of, sendable, still_previews
from dagy_nb.widgets.run_view import RunView, run_view

UPDATE_SECONDS = 0.1  # between two updates of a page
SNAPSHOT_SECONDS = 2.0  # at least, between two snapshots that are sent unasked, while something changes
SNAPSHOT_RATE = 500_000  # characters a second that they may take up

_WIDEST = "00,000 of 00,000"  # what a mapped task's card must have room for
_STILL_SECONDS = 5.0  # how long a caller of `wait` lets the picture be made

CellOf: TypeAlias = Callable[[str], str | None]  # the name of a code's file -> what messages call its cell
E = TypeVar("E", bound=DagyError)

# Errors of no line of the user's: the message of the state that they lead to says all there is to say.
_SAID = (StoreError, TaskTimeoutError, TravelError, WorkerDiedError)

WIDGET = "application/vnd.jupyter.widget-view+json"


class Screen(Protocol):
    """Where a notebook shows things: `dagy_nb.screen` has IPython's, a test its own."""

    @property
    def kernel_id(self) -> str:
        """What the Jupyter server knows the kernel by; empty outside Jupyter."""

    @property
    def is_live(self) -> bool:
        """Whether somebody may be looking at a page that draws widgets."""

    @property
    def moment(self) -> object:
        """Changes with every cell that runs."""

    def show(self, bundle: Mapping[str, object]) -> None:
        """Show a MIME bundle as output of the running cell."""

    def show_replaceable(self, bundle: Mapping[str, object]) -> str:
        """Show it so that it can be replaced, by the id that is returned."""

    def replace(self, display_id: str, bundle: Mapping[str, object]) -> None:
        """Replace what is shown under that id, wherever it is."""

    def bundle_of(self, value: object) -> Mapping[str, object]:
        """How the notebook would display `value`; may raise what the value's own code raises."""

    def capture_displays(self) -> Callable[[], None]:
        """From now on give what tasks display to the tasks; call what is returned to end that."""


class NotebookRun:
    """A run started from a notebook.

    `run.wait()` and `await run` give the `RunResult`, `run["task"]` what a task returned, `run.cancel()` stops it.
    """

    def __init__(
        self,
        handle: RunHandle,
        screen: Screen,
        cell_of: CellOf,
        live: LiveRun,
        *,
        waits: bool,
    ) -> None:
        self._handle = handle
        self._screen = screen
        self._cell_of = cell_of
        self._begun_at = screen.moment
        self._view: RunView | None = None
        self._live = live
        self._uncounted = {task.id for task in handle.spec.tasks if task.mapped}
        self._is_asked_for = threading.Event()  # a page wants a snapshot
        self._lock = threading.Lock()
        self._followed = threading.Event()  # the view has everything
        self._is_waited_for = waits
        self._is_frozen = False
        self._has_still = threading.Event()  # the output is a picture that stays
        self._display_id = ""
        self._release: Callable[[], None] = lambda: None

    @property
    def run_id(self) -> str:
        """What names the run."""
        return self._handle.run_id

    @property
    def state(self) -> State:
        """The state of the run now."""
        return self._handle.state

    @property
    def status(self) -> StateType:
        """The type of the state of the run now."""
        return self._handle.status

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._handle.done

    def cancel(self) -> None:
        """Start nothing more and stop what runs; returns at once."""
        self._handle.cancel("cancelled in the notebook")

    def wait(self, timeout: float | None = None) -> RunResult:
        """The result, once the run has ended, however it did. `TimeoutError` after `timeout` seconds without an end."""
        result = self._handle.wait(timeout)
        if not self._is_waited_for:  # else the cell that waits for the run sees to its picture
            self._has_still.wait(_STILL_SECONDS)
        return result

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._handle.__await__()

    def __getitem__(self, task: str) -> Any:
        """What the task returned, once the run has ended; `TaskFailedError` when it did not complete."""
        try:
            return self._handle[task]
        except DagyError as error:
            raise without_our_frames(error, self._cell_of) from error.__cause__

    def __repr__(self) -> str:
        return f"<NotebookRun {self.run_id} {self.state}>"

    def _ipython_display_(self) -> None:
        if self._screen.moment != self._begun_at:  # else it is shown by the same cell already
            self._screen.show(self._bundle() if self.done else {"text/plain": repr(self)})

    def wait_in_cell(self) -> RunResult:
        """Wait, in the cell that started the run with `waits`.

        The first interrupt cancels the run, the second one stops waiting.
        """
        interrupts = 0
        while True:
            try:
                while not self._followed.wait(UPDATE_SECONDS):
                    pass
                break
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts > 1:
                    self._wait_no_more()
                    raise
                self._handle.cancel("interrupted")
        self._freeze()
        return self._handle.wait()

    def _wait_no_more(self) -> None:
        self._is_waited_for = False
        if self._view is not None:
            self._view.blocking = False
        if self._followed.is_set():  # else whoever follows the run will see that nobody waits
            self._freeze()

    def _follow(self) -> None:
        """Feed the view until the run has ended, and have the run's end shown whatever becomes of the view."""
        try:
            self._feed_view()
        finally:
            self._handle.wait()
            self._followed.set()
            if not self._is_waited_for:
                self._freeze()

    def _feed_view(self) -> None:
        seen = 0
        snapshot_at = time.monotonic()
        is_newer = False  # than the last snapshot
        while True:
            has_ended = self._handle.done
            events = list(self._handle.events(since=seen, follow=False))
            seen += len(events)
            for event in events:
                if isinstance(event, TaskShowed):
                    preview = preview_of(event.data)
                    if preview is not None:
                        self._live.show(event.task, preview)
            for change in self._live.apply(events):
                if isinstance(change, ItemChanged):
                    self._fail_item(change)
                else:
                    self._finish_task(change)
            self._count_items(events)
            delta = self._live.delta()
            if self._view is not None:
                if delta is not None:
                    self._view.send({**delta, "now": time.time_ns() // 1_000_000})
                    is_newer = True
                pause = max(SNAPSHOT_SECONDS, self._live.size / SNAPSHOT_RATE)
                if self._is_asked_for.is_set() or (is_newer and time.monotonic() - snapshot_at > pause):
                    self._is_asked_for.clear()
                    self._view.send({**self._live.snapshot(), "now": time.time_ns() // 1_000_000})
                    snapshot_at, is_newer = time.monotonic(), False
            if has_ended:
                break
            with contextlib.suppress(TimeoutError):
                self._handle.wait(UPDATE_SECONDS)

    def _finish_task(self, change: TaskChanged) -> None:
        task = self._handle.task_run(change.task)
        preview = self._preview_of(task.value)
        self._live.finish(change.task, preview=preview, error=self._error_text(task.error))

    def _fail_item(self, change: ItemChanged) -> None:
        errors = self._handle.task_run(change.task).failed_items
        self._live.fail_item(change.task, change.item, self._error_text(errors.get(change.item)))

    def _count_items(self, events: list[Event]) -> None:
        """Learn how many items mapped tasks have, once they are at work on them."""
        for task in {each.task for each in events if isinstance(each, ItemChanged | TaskChanged)} & self._uncounted:
            count = self._handle.task_run(task).item_count
            if count is not None:
                self._live.count_items(task, count)
                self._uncounted.discard(task)

    def _preview_of(self, value: object) -> Preview | None:
        try:
            return None if value is None else preview_of(self._screen.bundle_of(value))
        except Exception as error:  # noqa: BLE001 (the value's own code)
            return Preview("text", sendable(f"a {type(value).__name__} that can't be shown: it raised {shown(error)}"))

    def _error_text(self, error: BaseException | None) -> str:
        return _told(error, self._cell_of)

    def _freeze(self) -> None:
        with self._lock:
            if self._is_frozen:
                return
            self._is_frozen = True
        self._release()
        try:
            self._screen.replace(self._display_id, self._bundle())
        finally:
            if self._view is not None:
                self._view.close()
            self._has_still.set()

    def _bundle(self) -> dict[str, object]:
        result = self._handle.wait()
        still = result.still(still_previews(self._live.previews()), error=self._error_text)
        faults = self._live.faults()
        still = replace(
            still, tasks=tuple(replace(each, error=faults.get(each.id, each.error)) for each in still.tasks)
        )
        return {"text/html": sendable(run_html(still)), "text/plain": sendable(str(result))}

    def _begin(self, release: Callable[[], None], *, waits: bool) -> None:
        self._release = release
        self._view = self._new_view(waits=waits)
        spec = self._handle.spec
        bundle: dict[str, object] = {"text/plain": f"{spec.name}: running\n{text_tree(spec)}"}
        if self._view is not None:
            bundle[WIDGET] = {"model_id": self._view.model_id, "version_major": 2, "version_minor": 0}
        self._display_id = self._screen.show_replaceable(bundle)
        threading.Thread(target=self._follow, name=f"dagy-{self.run_id}-view", daemon=True).start()

    def _new_view(self, *, waits: bool) -> RunView | None:
        """The live view, where there is a page to show it and the widgets are installed."""
        if not self._screen.is_live:
            return None
        spec = self._handle.spec
        try:
            return run_view(
                flow_name=spec.name,
                run_id=self.run_id,
                picture=svg(spec, {}, details={task.id: _WIDEST for task in spec.tasks if task.mapped}),
                kernel_id=self._screen.kernel_id,
                blocking=waits,
                snapshot=self._live.snapshot,
                on_ready=self._is_asked_for.set,
                on_cancel=self.cancel,
            )
        except MissingExtraError:
            return None


def start_run(
    flow: Flow[..., Any],
    parameters: Mapping[str, Any],
    *,
    screen: Screen,
    cell_of: CellOf,
    waits: bool = True,
    **options: Unpack[LocalOptions],
) -> NotebookRun:
    """Begin to run `flow`, and show it as output of the running cell. `waits`: the cell will wait for the run."""
    chosen: LocalOptions = {**options, "capture": True, "keep_results": True}
    program, values, run_options = flow.prepare_local(parameters, **chosen)
    live = LiveRun(program.spec, {task: len(items) for task, items in run_options.reused_items.items()})
    release = screen.capture_displays()
    try:
        handle = start(program, values, run_options)
    except BaseException:
        release()
        raise
    run = NotebookRun(handle, screen, cell_of, live, waits=waits)
    run._begin(release, waits=waits)
    return run


def completed_result(run: NotebookRun, cell_of: CellOf) -> RunResult:
    """The result of a run that has ended; `TaskFailedError` or `RunCancelledError` when it did not complete."""
    try:
        return checked_result(run.wait())
    except RunError as error:
        raise without_our_frames(error, cell_of) from error.__cause__


def without_our_frames(error: E, cell_of: CellOf) -> E:
    """`error`, which notebooks from now on show as the task's own traceback and the message: no frame is Dagy's."""
    cause = _told(error.__cause__, cell_of).rstrip()
    lines = [sendable(each) for each in (cause, "", f"{type(error).__name__}: {error}")]
    vars(error)["_render_traceback_"] = lambda: lines if cause else lines[2:]  # what IPython asks an exception for
    return error


def _told(error: BaseException | None, cell_of: CellOf) -> str:
    """The traceback of `error`, in the notebook's words; empty when there is nothing to add to its message."""
    return "" if isinstance(error, _SAID) else with_cells(error_text(error), cell_of)


def with_cells(text: str, cell_of: CellOf) -> str:
    """A traceback's text in which files that are cells are called as the notebook calls them."""

    def renamed(match: re.Match[str]) -> str:
        label = cell_of(match["file"])
        return f"{label.capitalize()}, line {match['line']}" if label else match[0]

    return re.sub(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)', renamed, text)
