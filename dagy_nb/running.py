"""A run that a notebook started: the engine runs it in threads of its own, a view follows it, a still picture stays.

The page gets what changed ten times a second, however much happens. When the run has ended the same output is replaced
by a picture that needs no kernel, no widget and no network; the view's model stays, for a page that can draw more.
All of that happens in one thread of the run's own, so that an interrupt of the cell that waits can't tear it.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from dagy import RunResult, drawing, engine, runs
from dagy.drawing import counted, markup_line, text_tree
from dagy.engine import Event, ItemChanged, TaskChanged, TaskRun, TaskShowed, TaskWrote, error_text
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
from dagy.spec import FlowSpec
from dagy.states import State, StateType
from dagy_nb.live import LiveRun
from dagy_nb.previews import Preview, preview_of, sendable, still_previews
from dagy_nb.widgets.run_view import RunView, run_view

UPDATE_SECONDS = 0.1  # between two updates of a page
SNAPSHOT_SECONDS = 2.0  # at least, between two snapshots that are sent unasked, while something changes
SNAPSHOT_RATE = 500_000  # characters a second that they may take up

PREVIEW_SHARE = 0.01  # of a run's time that making previews of its results may take up
PREVIEW_SECONDS = 1.0  # that those left over may take up once the run has ended

_WIDEST = "00,000 of 00,000"  # what a mapped task's card must have room for
_MOST_LISTED = 100  # tasks that are listed where a run begins
_STILL_SECONDS = 5.0  # how long a caller of `wait` lets the picture be made
_NO_PREVIEW = Preview("text", "(one of many results, not shown to save time)")

CellOf: TypeAlias = Callable[[str], str | None]  # the name of a code's file -> what messages call its cell
# Whose the run is: this session's, begun here and living on a worker, or begun elsewhere and only looked at here.
Whose: TypeAlias = Literal["session", "worker", "elsewhere"]
E = TypeVar("E", bound=DagyError)

# Errors of no line of the user's: the message of the state that they lead to says all there is to say.
_SAID = (StoreError, TaskTimeoutError, TravelError, WorkerDiedError)

_CELL_LINE = re.compile(r"^ *Cell (\[\d+\], line \d+)", re.MULTILINE)

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


class Followed(Protocol):
    """A run as a view follows it: a `RunHandle` is one, and so may be a run in another process."""

    @property
    def run_id(self) -> str:
        """What names the run."""

    @property
    def spec(self) -> FlowSpec:
        """The flow that runs."""

    @property
    def state(self) -> State:
        """The state of the run now."""

    @property
    def done(self) -> bool:
        """Whether the run has ended."""

    def task_run(self, task_id: str) -> TaskRun:
        """Where the task stands now."""

    def cancel(self, reason: str = "cancelled") -> None:
        """Start nothing more and stop what runs; returns soon."""

    def wait(self, timeout: float | None = None) -> RunResult:
        """The result, once the run has ended. `TimeoutError` after `timeout` seconds without an end."""

    def events(self, *, since: int = 0, follow: bool = True) -> Iterator[Event]:
        """The run's events from number `since` on; without `follow` those that there are now."""

    def __await__(self) -> Generator[Any, None, RunResult]:
        """Wait in an event loop."""

    def __getitem__(self, task: str) -> Any:
        """What the task returned, once the run has ended."""


@dataclass(frozen=True)
class Offer:
    """What the view of a run has beside what happens in it: see `run_view`."""

    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    form: Sequence[Mapping[str, Any]] = ()
    on_rerun: Callable[[str, Mapping[str, str] | None], object] | None = None  # None: it can't be run again
    retire: Callable[[RunView], object] = lambda view: view.close()  # what becomes of the view when the run has ended


class ShownRun:
    """A run and the output that shows it: its view while it goes on, and then a still picture."""

    handle: Followed  # from `begin` on

    def __init__(
        self,
        spec: FlowSpec,
        run_id: str,
        live: LiveRun,
        *,
        screen: Screen,
        cell_of: CellOf,
        offer: Offer,
        is_waited_for: bool,
        is_raised: bool,
        note: str = "",
        whose: Whose = "session",
        retold: Callable[[str], str] = str,
    ) -> None:
        """Makes the view, before the run begins. `is_raised`: the cell will raise the run's failure.

        `retold` puts a traceback's text into the notebook's words, beyond what `cell_of` tells.
        """
        self.live = live
        self.whose = whose
        self.started_at = time.time()
        self.display_id = ""
        self.output: Mapping[str, object] = {}  # what the output holds now
        self._screen = screen
        self._cell_of = cell_of
        self._retold = retold
        self._offer = offer
        self._release: Callable[[], None] = lambda: None
        self._is_waited_for = is_waited_for
        self._is_raised = is_raised
        self._note = note
        self._moment = screen.moment
        self._uncounted = {task.id for task in spec.tasks if task.mapped}
        self._unseen: deque[str] = deque()  # completed tasks whose results have no preview yet
        self._is_asked_for = threading.Event()  # a page wants a snapshot
        self._has_still = threading.Event()  # the output is a picture that stays
        self._trouble: BaseException | None = None  # why it is not
        self._view = self._new_view(spec, run_id)

    def begin(self, handle: Followed, *, release: Callable[[], None], display_id: str | None = None) -> None:
        """Show the run, which has begun, as output of the running cell or in place of what has that display id.

        From now on it is followed; `release` is called at its end.
        """
        self.handle, self._release = handle, release
        spec = handle.spec
        tasks = text_tree(spec) if len(spec.tasks) <= _MOST_LISTED else counted(len(spec.tasks), "task")
        bundle: dict[str, object] = {"text/plain": f"{spec.name}: {self.live.standing or 'running'}\n{tasks}"}
        if self._view is not None:
            bundle[WIDGET] = {"model_id": self._view.model_id, "version_major": 2, "version_minor": 0}
        self.output = bundle
        if display_id is None:
            self.display_id = self._screen.show_replaceable(bundle)
        else:
            self.display_id = display_id
            self._screen.replace(display_id, bundle)
        threading.Thread(target=self._follow, name=f"dagy-{handle.run_id}-view", daemon=True).start()

    def give_up(self) -> None:
        """The run could not begin."""
        if self._view is not None:
            self._view.close()

    def cancel(self, reason: str = "cancelled in the notebook") -> None:
        """Have the run cancelled; returns at once.

        Another thread does it: what ends a run may call the flow's hooks, and this may be a thread of the kernel's own
        or one that is interrupted.
        """
        threading.Thread(target=self.handle.cancel, args=(reason,), name="dagy-cancel", daemon=True).start()

    def wait(self, timeout: float | None) -> RunResult:
        """The result, once the run has ended, and soon after once its picture is there."""
        result = self.handle.wait(timeout)
        self._has_still.wait(_STILL_SECONDS)
        return result

    def wait_in_cell(self) -> RunResult:
        """Wait in the cell that started the run, until its picture is there.

        The first interrupt cancels the run, the second one stops waiting. A run that was begun elsewhere goes on: there
        the first one stops waiting.
        """
        interrupts = 0
        while True:
            try:
                while not self._has_still.wait(UPDATE_SECONDS):
                    pass
                break
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts > 1 or self.whose == "elsewhere":
                    self.wait_no_more()
                    raise
                self.cancel("interrupted")
        if self._trouble is not None:
            raise self._trouble
        return self.handle.wait()

    def wait_no_more(self) -> None:
        """No cell waits any more, so the page must not interrupt the one that runs."""
        self._is_waited_for = False
        if self._view is not None:
            self._view.blocking = False

    def completed(self) -> RunResult:
        """The result of a run that has ended; `TaskFailedError` or another `RunError` when it did not complete."""
        try:
            return engine.checked_result(self.handle.wait())
        except RunError as error:
            raise self.told(error) from error.__cause__

    def told(self, error: E) -> E:
        """`error` as the notebook is to show it: in short where the view has the traceback."""
        return without_our_frames(error, self._cell_of, is_short=self._view is not None, retold=self._retold)

    def show_again(self, line: str) -> None:
        """Show it in the running cell, unless that shows it already; as a `line` while the run goes on."""
        if self._screen.moment != self._moment:
            self._screen.show(self.bundle() if self.handle.done else {"text/plain": line})

    def bundle(self) -> dict[str, object]:
        """The still picture, once the run has ended."""
        result = self.handle.wait()
        raised = _failure_of(result) if self._is_raised and self._view is None else None

        def told(error: BaseException | None) -> str:
            return "" if error is raised else self._told(error)  # the cell's own error tells that one

        still = result.still(still_previews(self.live.previews()), error=told)
        faults = self.live.faults()
        tasks = tuple(replace(each, error=faults.get(each.id, each.error)) for each in still.tasks)
        note = " · ".join(filter(None, [still.note, self._note]))
        text = f"{result}\n{self._note}" if self._note else str(result)
        picture = drawing.run_html(replace(still, tasks=tasks, note=note))
        # By these the page finds a still whose model it has, and draws the whole view in its place.
        html = f'<div class="dagy-still" data-dagy-run="{markup_line(result.run_id)}">{picture}</div>'
        return {"text/html": sendable(html), "text/plain": sendable(text)}

    def _follow(self) -> None:
        """Feed the view until the run has ended, then show its end, whatever has become of the view."""
        try:
            try:
                self._feed_view()
            finally:
                self.handle.wait()
                self._freeze()
        except Exception as trouble:
            self._trouble = trouble
            if not self._is_waited_for:
                raise
        finally:
            self._has_still.set()
        self._send_snapshot()

    def _freeze(self) -> None:
        self._release()
        try:
            self.output = self.bundle()
            self._screen.replace(self.display_id, self.output)
            if self._view is not None:
                self._view.replaced_by(self.output)
        finally:
            if self._view is not None:
                self._offer.retire(self._view)

    def _feed_view(self) -> None:
        seen = 0
        began = snapshot_at = time.monotonic()
        previewing = 0.0  # seconds
        is_newer = False  # than the last snapshot
        while True:
            has_ended = self.handle.done
            events = list(self.handle.events(since=seen, follow=False))
            seen += len(events)
            self._take(events)
            if has_ended and self._unseen:  # first what the run was for: the results that no other task took
                taken = {each for needs in self.handle.spec.needs.values() for each in needs}
                self._unseen = deque(sorted(self._unseen, key=lambda task: task in taken))
            allowed = PREVIEW_SECONDS if has_ended else PREVIEW_SHARE * (time.monotonic() - began) - previewing
            previewing += self._make_previews(allowed)
            if has_ended:
                for task in self._unseen:
                    self.live.finish(task, preview=_NO_PREVIEW, error="")
            delta = self.live.delta()
            if self._view is not None:
                if delta is not None:
                    self._view.send({**delta, "now": _now()})
                    is_newer = True
                since = time.monotonic() - snapshot_at
                is_due = is_newer and since > SNAPSHOT_SECONDS and since > self.live.size / SNAPSHOT_RATE
                if self._is_asked_for.is_set() or is_due:
                    self._is_asked_for.clear()
                    self._send_snapshot()
                    snapshot_at, is_newer = time.monotonic(), False
            if has_ended:
                break
            with contextlib.suppress(TimeoutError):
                self.handle.wait(UPDATE_SECONDS)

    def _take(self, events: Sequence[Event]) -> None:
        """Let `events` happen to what the view shows."""
        for event in events:
            if isinstance(event, TaskShowed):
                preview = preview_of(event.data)
                if preview is not None:
                    self.live.show(event.task, preview)
        for change in self.live.apply(events):
            if isinstance(change, ItemChanged):
                errors = self.handle.task_run(change.task).failed_items
                self.live.fail_item(change.task, change.item, self._told(errors.get(change.item)))
            elif change.state.is_completed:
                self._unseen.append(change.task)
            else:
                error = self.handle.task_run(change.task).error
                self.live.finish(change.task, preview=None, error=self._told(error))
        if self._uncounted:
            self._count_items(events)

    def _told(self, error: BaseException | None) -> str:
        return self._retold(_told(error, self._cell_of))

    def _make_previews(self, seconds: float) -> float:
        """Show what results look like, for so many seconds at most; how many it took."""
        began = time.monotonic()
        while self._unseen and time.monotonic() - began < seconds:
            task = self._unseen.popleft()
            self.live.finish(task, preview=self._preview_of(self.handle.task_run(task).value), error="")
        return time.monotonic() - began

    def _preview_of(self, value: object) -> Preview | None:
        try:
            return None if value is None else preview_of(self._screen.bundle_of(value))
        except Exception as error:  # noqa: BLE001 (the value's own code)
            return Preview("text", sendable(f"a {type(value).__name__} that can't be shown: it raised {shown(error)}"))

    def _count_items(self, events: Sequence[Event]) -> None:
        """Learn how many items mapped tasks have, once they are at work on them."""
        for task in {each.task for each in events if isinstance(each, ItemChanged | TaskChanged)} & self._uncounted:
            count = self.handle.task_run(task).item_count
            if count is not None:
                self.live.count_items(task, count)
                self._uncounted.discard(task)

    def _new_view(self, spec: FlowSpec, run_id: str) -> RunView | None:
        """The live view, where there is a page to show it and the widgets are installed."""
        if not self._screen.is_live:
            return None
        offer = self._offer
        try:
            return run_view(
                flow_name=spec.name,
                run_id=run_id,
                picture=picture_of(spec),
                kernel_id=self._screen.kernel_id,
                blocking=self._is_waited_for,
                about=offer.about,
                form=offer.form,
                is_form=False,
                can_rerun=offer.on_rerun is not None,
                snapshot=self.live.snapshot,
                # The view may last longer than the run's results should.
                on_ready=_weakly(self._ready),
                on_cancel=_weakly(self.cancel),
                on_run=_nothing,
                on_rerun=offer.on_rerun or _nothing,
            )
        except MissingExtraError:
            return None

    def _ready(self) -> None:
        """A page wants a snapshot."""
        self._is_asked_for.set()
        if self._has_still.is_set():  # nobody follows the run any more
            threading.Thread(target=self._send_snapshot, name="dagy-snapshot", daemon=True).start()

    def _send_snapshot(self) -> None:
        if self._view is not None:
            self._view.send({**self.live.snapshot(), "now": _now()})


class NotebookRun:
    """A run that a notebook has started, or looks at.

    `run.wait()` and `await run` give the `RunResult`, `run["task"]` what a task returned, `run.cancel()` stops it.
    When it is run again in the same output, all of that is about the newer run.
    """

    def __init__(self, shown: ShownRun) -> None:
        self.shown = shown  # the newest of its runs

    @property
    def run_id(self) -> str:
        """What names the run."""
        return self.shown.handle.run_id

    @property
    def spec(self) -> FlowSpec:
        """The flow that runs."""
        return self.shown.handle.spec

    @property
    def started_at(self) -> float:
        """When it began, in seconds since the epoch."""
        return self.shown.started_at

    @property
    def ended_at(self) -> float | None:
        """When it ended, in seconds since the epoch; None while it goes on."""
        return self.shown.handle.wait(0).ended_at if self.done else None

    @property
    def state(self) -> State:
        """The state of the run now."""
        return self.shown.handle.state

    @property
    def status(self) -> StateType:
        """The type of the state of the run now."""
        return self.state.type

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self.shown.handle.done

    @property
    def was_begun_here(self) -> bool:
        """Whether this notebook began it; others it only looks at."""
        return self.shown.whose != "elsewhere"

    def cancel(self) -> None:
        """Start nothing more and stop what runs; returns at once. Of a run that has ended, nothing."""
        self.shown.cancel()

    def wait(self, timeout: float | None = None) -> RunResult:
        """The result, once the run has ended, however it did. `TimeoutError` after `timeout` seconds without an end."""
        return self.shown.wait(timeout)

    def writes(self, task: str | None = None) -> Iterator[TaskWrote]:
        """What its tasks wrote so far, or one of them, in order; `UnknownTaskError` when there is none of that id."""
        if task is not None:
            self.shown.handle.task_run(task)
        events = self.shown.handle.events(follow=False)
        return (each for each in events if isinstance(each, TaskWrote) and task in (None, each.task))

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self.shown.handle.__await__()

    def __getitem__(self, task: str) -> Any:
        """What the task returned, once the run has ended; `TaskFailedError` when it did not complete."""
        try:
            return self.shown.handle[task]
        except DagyError as error:
            raise self.shown.told(error) from error.__cause__

    def __repr__(self) -> str:
        return f"<NotebookRun {self.run_id} {self.state}>"

    def _ipython_display_(self) -> None:
        self.shown.show_again(repr(self))


def picture_of(spec: FlowSpec) -> str:
    """The graph before anything happens, as SVG, with room for the counts of mapped tasks."""
    return drawing.svg(spec, {}, details={task.id: _WIDEST for task in spec.tasks if task.mapped})


def without_our_frames(error: E, cell_of: CellOf, *, is_short: bool = False, retold: Callable[[str], str] = str) -> E:
    """`error`, which notebooks from now on show as the task's own traceback and the message: no frame is Dagy's.

    If `is_short` they show in place of the traceback the line that raised, because the run's view has the rest.
    """
    cause = retold(_told(error.__cause__, cell_of)).rstrip()
    message = sendable(f"{type(error).__name__}: {error}")
    lines = [message]
    if cause and is_short:
        place = _place(error.__cause__, cell_of) or _told_place(cause)
        lines = [message, f"{place and f'raised in {place}; '}the traceback is in the view of the run"]
    elif cause:
        lines = [sendable(cause), "", message]
    vars(error)["_render_traceback_"] = lambda: lines  # what IPython asks an exception for
    return error


def _place(error: BaseException | None, cell_of: CellOf) -> str:
    """The innermost line of a cell that `error` came through: `cell [3], line 4`; empty when there is none."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    for frame in reversed(frames):
        label = cell_of(frame.filename)
        if label:
            return f"{label}, line {frame.lineno}"
    return ""


def _told_place(text: str) -> str:
    """The innermost line of a cell that a traceback's text names; empty when there is none."""
    found = _CELL_LINE.findall(text)
    return f"cell {found[-1]}" if found else ""


def _failure_of(result: RunResult) -> BaseException | None:
    """What a task raised that made the run fail."""
    try:
        engine.checked_result(result)
    except RunError as error:
        return error.__cause__
    return None


def _weakly(method: Callable[[], object]) -> Callable[[], object]:
    """What calls `method` as long as somebody else holds its object."""
    held = weakref.WeakMethod(method)

    def call() -> object:
        found = held()
        return None if found is None else found()

    return call


def _nothing(*_: object) -> None:
    """What an action does that the view does not offer."""


def _now() -> int:
    return time.time_ns() // 1_000_000


def _told(error: BaseException | None, cell_of: CellOf) -> str:
    """The traceback of `error`, in the notebook's words; empty when there is nothing to add to its message."""
    if isinstance(error, _SAID):
        return ""
    # One that was raised in another process, and only written down, is a whole traceback itself.
    text = str(error) if isinstance(error, runs.RecordedError) else error_text(error)
    return with_cells(text, cell_of)


def with_cells(text: str, cell_of: CellOf) -> str:
    """A traceback's text in which files that are cells are called as the notebook calls them."""

    def renamed(match: re.Match[str]) -> str:
        label = cell_of(match["file"])
        return f"{label.capitalize()}, line {match['line']}" if label else match[0]

    return re.sub(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)', renamed, text)
