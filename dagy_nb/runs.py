"""The runs of a session: begun from its notebook's flows, found again, cancelled, and run again with what is the same.

What the page asks for (Run, Run again) comes in threads of the kernel that must not be held up, so each is answered in
a thread of its own.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, Unpack, cast

from dagy import Flow, LocalOptions, drawing, engine
from dagy.errors import (
    DagyError,
    DefinitionError,
    MissingExtraError,
    ParameterError,
    UnknownFlowError,
    UnknownRunError,
    shown,
)
from dagy.program import Program
from dagy.spec import FlowSpec
from dagy.states import State, StateType
from dagy_nb.cells import Cell
from dagy_nb.forms import FormError, form_of, values_of
from dagy_nb.live import LiveRun
from dagy_nb.notebook import Notebook
from dagy_nb.reuse import Origins, origins_of, reusable
from dagy_nb.running import WIDGET, Followed, NotebookRun, Offer, Screen, ShownRun, Whose, picture_of
from dagy_nb.widgets.run_view import RunView, run_view

GRACE_SECONDS = 1.0  # how long what is told to stop may take to do so, while somebody looks on
KEPT_VIEWS = 5  # of runs that have ended, and of forms, which a page may still draw
LATEST = "latest"  # what names the newest run

_NUMBER = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class _Begun:
    """How a run was begun, so that it can be begun again."""

    flow: Flow[..., Any]
    given: Mapping[str, Any]  # the parameters, without defaults
    options: LocalOptions
    origins: Origins


class RunForm:
    """A flow's graph and a form for its parameters, whose Run button begins the run in the same output."""

    def __init__(self, flow: Flow[..., Any], given: Mapping[str, Any], options: LocalOptions, display_id: str) -> None:
        self.flow = flow
        self.given = given
        self.options = options
        self.display_id = display_id
        self.run: NotebookRun | None = None  # once the button was pressed

    def __repr__(self) -> str:
        return f"<RunForm of flow {self.flow.name!r}{'' if self.run is None else f': {self.run!r}'}>"

    def _ipython_display_(self) -> None:
        """Nothing: the cell that made it shows it."""


class Runs:
    """The runs of one session. Held are the newest and those under way, others as long as somebody else holds them."""

    def __init__(self, notebook: Notebook, screen: Screen) -> None:
        self.last: NotebookRun | None = None  # the newest run, however it ended
        self._notebook = notebook
        self._screen = screen
        self._all: list[weakref.ref[NotebookRun]] = []
        self._listing = threading.Lock()  # held while that list changes: pages begin runs in threads of their own
        self._under_way: dict[int, NotebookRun] = {}  # by what tells them apart, and maybe some that have just ended
        self._begun: weakref.WeakKeyDictionary[NotebookRun, _Begun] = weakref.WeakKeyDictionary()
        self._views: dict[str, RunView] = {}  # by what they show: "run ID" that has ended, "form ...", "gone ..."
        self._closed: set[str] = set()  # runs whose views are to be closed when they end
        self._answering = threading.Lock()  # so that two clicks don't begin two runs

    def start(
        self,
        flow: Flow[..., Any],
        parameters: Mapping[str, Any] = MappingProxyType({}),
        *,
        background: bool = False,
        must_complete: bool = True,
        **options: Unpack[LocalOptions],
    ) -> NotebookRun:
        """Run `flow`, shown live as output of the running cell; waits for the end, unless in the `background`.

        `parameters` are the flow's, `options` those of `run_local`. Raises `TaskFailedError` or another `RunError` when
        the run that it waited for did not complete, unless `must_complete` is off; and what `run_local` raises before
        a run begins.
        """
        run = self.begin(flow, parameters, waits=not background, is_raised=must_complete, **options)
        return self._wait(run, background=background, must_complete=must_complete)

    def begin(
        self,
        flow: Flow[..., Any],
        parameters: Mapping[str, Any] = MappingProxyType({}),
        *,
        waits: bool,
        is_raised: bool = True,
        **options: Unpack[LocalOptions],
    ) -> NotebookRun:
        """The first half of `start`. `waits`: the cell will wait for the end, and raise a failure if `is_raised`."""
        return self._added(*self._begin(flow, parameters, options, waits=waits, is_raised=is_raised))

    def follow(
        self,
        handle: Followed,
        *,
        background: bool = False,
        must_complete: bool = True,
        whose: Whose = "session",
        state: State = State(StateType.PENDING),  # noqa: B008 (a frozen value)
        cells: Mapping[str, Cell] = MappingProxyType({}),
        retold: Callable[[str], str] = str,
        release: Callable[[], None] = lambda: None,
    ) -> NotebookRun:
        """Show a run that goes on elsewhere, in a process of its own for example; else as `start`.

        `state` is what it is in until its events say more; `cells` are those of its tasks, by the tasks' names;
        `retold` puts a traceback's text into the notebook's words; `release` is called when the run has ended.
        """
        shown_run = ShownRun(
            handle.spec,
            handle.run_id,
            LiveRun(handle.spec, state=state),
            screen=self._screen,
            cell_of=self._notebook.label_of,
            offer=Offer(about=self._about(handle.spec, None, cells), retire=self._retiring(handle.run_id)),
            is_waited_for=not background,
            is_raised=must_complete and not background,
            whose=whose,
            retold=retold,
        )

        def end() -> None:
            release()
            self._let_go()

        try:
            shown_run.begin(handle, release=end)
            run = self._added(shown_run, None)
        except BaseException:  # an interrupt: nobody would know of the run any more
            if whose != "elsewhere":
                handle.cancel("interrupted")
            raise
        return self._wait(run, background=background, must_complete=must_complete)

    def rerun(
        self,
        run: NotebookRun,
        *,
        parameters: Mapping[str, Any] | None = None,
        from_start: bool = False,
        background: bool = False,
        must_complete: bool = True,
    ) -> NotebookRun:
        """Run the flow of `run` again as its cells are now, shown in the running cell; else as `start`.

        Tasks that completed and are the same (their code and all it reaches, their inputs) are not run again, unless
        `from_start`. `parameters` None: those it had. `DefinitionError` when `run` goes on, or can't be run again.
        """
        shown_run, begun = self._begin_again(
            run, parameters, from_start=from_start, waits=not background, is_raised=must_complete
        )
        return self._wait(self._added(shown_run, begun), background=background, must_complete=must_complete)

    def show_form(
        self,
        flow: Flow[..., Any],
        parameters: Mapping[str, Any] = MappingProxyType({}),
        **options: Unpack[LocalOptions],
    ) -> RunForm:
        """Show the flow and a form for its parameters, filled with `parameters` and the defaults.

        Its Run button runs the flow as its cells are then. `DefinitionError` where no page can show it.
        """
        try:
            program = flow.program(**parameters)
            spec = program.spec
        except ParameterError:  # what shapes the graph is still to be entered
            program, spec = None, FlowSpec(flow.name, parameters=flow.parameters.specs())
        form = RunForm(flow, dict(parameters), options, "")
        key = f"form {id(form)}"
        view = self._form_view(form, key, spec, self._about(spec, program))
        self._views[key] = view
        self._close_all_but_newest("form ")
        widget = {"model_id": view.model_id, "version_major": 2, "version_minor": 0}
        form.display_id = self._screen.show_replaceable(
            {"text/plain": f"{flow.name}: a form to run it", WIDGET: widget}
        )
        return form

    def all(self) -> tuple[NotebookRun, ...]:
        """The runs that are still held by somebody, the newest last."""
        self._let_go()
        with self._listing:
            found = [(held, run) for held in self._all if (run := held()) is not None]
            self._all = [held for held, _ in found]
        return tuple(run for _, run in found)

    def find(self, reference: str = LATEST) -> NotebookRun:
        """The run of that id, or whose id alone begins or ends so; "latest" is the newest. `UnknownRunError`."""
        runs = self.all()
        if reference == LATEST and runs:
            return runs[-1]
        for matches in (str.__eq__, str.startswith, str.endswith):
            found = [each for each in runs if reference and matches(each.run_id, reference)]
            if len(found) == 1:
                return found[0]
        raise UnknownRunError(reference, [each.run_id for each in runs])

    def cancel(self, reference: str | None = None) -> tuple[NotebookRun, ...]:
        """Cancel that run, or every one under way; those that were. Returns at once. `UnknownRunError`.

        One that was begun elsewhere is only cancelled by its name.
        """
        begun = (each for each in self.all() if each.shown.whose != "elsewhere")
        chosen = tuple(begun) if reference is None else (self.find(reference),)
        under_way = tuple(each for each in chosen if not each.done)
        for each in under_way:
            each.cancel()
        return under_way

    def close(self) -> None:
        """Cancel what is under way here, and let go of every view: pages keep the still pictures.

        What a worker runs goes on.
        """
        for each in self.all():
            if not each.done:
                self._closed.add(each.run_id)
                if each.shown.whose == "session":
                    each.cancel()
        while self._views:
            self._views.popitem()[1].close()

    # ---- beginning

    def _begin(
        self,
        flow: Flow[..., Any],
        given: Mapping[str, Any],
        options: LocalOptions,
        *,
        waits: bool,
        is_raised: bool,
        before: NotebookRun | None = None,
        display_id: str | None = None,
    ) -> tuple[ShownRun, _Begun]:
        """Begin a run and show it; what is the same as in the run `before` is not run again."""
        chosen: LocalOptions = {**options, "capture": True, "keep_results": True}
        program, values, run_options = flow.prepare_local(given, **chosen)
        run_options = replace(run_options, grace_seconds=GRACE_SECONDS)
        begun = _Begun(flow, dict(given), options, origins_of(program, values, self._notebook.changes_in_place()))
        note, previews = "", {}
        if before is not None:
            found = reusable(self._begun[before].origins, begun.origins, before.shown.handle.wait(0).task_runs)
            run_options = replace(run_options, reused=found.results, reused_items=found.items)
            known = before.shown.live.result_previews()
            previews = {task: known[task] for task in found.results if task in known}
            note = f"reused {found} of {before.run_id}" if str(found) else ""
        items = {task: len(each) for task, each in run_options.reused_items.items()}
        live = LiveRun(program.spec, items, previews=previews, note=note)
        offer = Offer(
            about=self._about(program.spec, program),
            form=form_of(flow, given),
            on_rerun=lambda source, texts: self._answer(self._run_again, f"run {run_options.run_id}", source, texts),
            retire=self._retiring(run_options.run_id),
        )
        shown_run = ShownRun(
            program.spec,
            run_options.run_id,
            live,
            screen=self._screen,
            cell_of=self._notebook.label_of,
            offer=offer,
            is_waited_for=waits,
            is_raised=waits and is_raised,
            note=note,
        )
        with _interrupts_held_back() as interrupts:
            release = self._screen.capture_displays()
            try:
                handle = engine.start(program, values, run_options)
            except BaseException:
                release()
                shown_run.give_up()
                raise

            def end() -> None:
                release()
                self._let_go()

            shown_run.begin(handle, release=end, display_id=display_id)
        if interrupts:
            shown_run.cancel("interrupted")
        return shown_run, begun

    def _begin_again(
        self,
        run: NotebookRun,
        parameters: Mapping[str, Any] | None,
        *,
        from_start: bool,
        waits: bool,
        is_raised: bool,
        display_id: str | None = None,
    ) -> tuple[ShownRun, _Begun]:
        begun = self._begun.get(run)
        if begun is None:
            raise DefinitionError(
                f"run {run.run_id!r} had a process of its own, and can't be gone on with; run it anew"
            )
        if not run.done:
            raise DefinitionError(f"run {run.run_id!r} is still under way; cancel it, or wait for its end")
        options = cast("LocalOptions", {name: each for name, each in begun.options.items() if name != "resume"})
        return self._begin(
            self._newest(begun.flow),
            begun.given if parameters is None else parameters,
            options,
            waits=waits,
            is_raised=is_raised,
            before=None if from_start else run,
            display_id=display_id,
        )

    def _newest(self, flow: Flow[..., Any]) -> Flow[..., Any]:
        """The flow as the notebook's cells make it now; `flow` itself if it is none of the notebook's."""
        try:
            return self._notebook.flow(flow.name)
        except UnknownFlowError:
            return flow

    def _added(self, shown_run: ShownRun, begun: _Begun | None) -> NotebookRun:
        run = NotebookRun(shown_run)
        with self._listing:
            self._all.append(weakref.ref(run))
        self._let_go()
        self._under_way[id(run)] = run
        self.last = run
        if begun is not None:
            self._begun[run] = begun
        return run

    def _of_id(self, run_id: str) -> NotebookRun | None:
        return next((each for each in self.all() if each.run_id == run_id), None)

    def _let_go(self) -> None:
        """Hold no more what has ended."""
        for key, run in list(self._under_way.items()):
            if run.done:
                self._under_way.pop(key, None)

    def _wait(self, run: NotebookRun, *, background: bool, must_complete: bool) -> NotebookRun:
        if not background:
            run.shown.wait_in_cell()
            self._let_go()
            if must_complete:
                run.shown.completed()
        return run

    # ---- what views have

    def _about(
        self, spec: FlowSpec, program: Program | None, by_task: Mapping[str, Cell] = MappingProxyType({})
    ) -> dict[str, dict[str, Any]]:
        """What is known of each task before it runs; `by_task` are the cells where there is no program."""
        cells = {each.filename: each.read.cell for each in self._notebook.kept}
        nodes = drawing.connectors(spec)
        found = {}
        for task in spec.tasks:
            code = None if program is None else _as_written(program.code[task.id].function)
            filename = getattr(getattr(code, "__code__", None), "co_filename", "")
            cell = cells.get(filename, by_task.get(task.name))
            number = None if cell is None else _NUMBER.search(cell.label)
            found[task.id] = {
                "name": task.name,
                "cell": cell and {"id": cell.id, "label": cell.label, "number": number and int(number[1])},
                "needs": list(task.needs),
                "mapped": bool(task.mapped),
                "retries": task.options.retries,
                "timeout": task.options.timeout_seconds,
                "node": nodes[task.id].as_json() if task.id in nodes else None,
            }
        return found

    def _form_view(self, form: RunForm, key: str, spec: FlowSpec, about: Mapping[str, Any]) -> RunView:
        if not self._screen.is_live:
            raise DefinitionError("a form needs a page that shows widgets; give the parameters with --param NAME=VALUE")
        try:
            return run_view(
                flow_name=spec.name,
                run_id="",
                picture=picture_of(spec),
                kernel_id=self._screen.kernel_id,
                blocking=False,
                about=about,
                form=form_of(form.flow, form.given),
                is_form=True,
                can_rerun=False,
                snapshot=LiveRun(spec).snapshot,
                on_ready=_nothing_to_do,
                on_cancel=_nothing_to_do,
                on_run=lambda texts: self._answer(self._run_form, key, form, texts),
                on_rerun=_nothing_to_do,
            )
        except MissingExtraError as error:
            raise DefinitionError(f"{error}; or give the parameters with --param NAME=VALUE") from error

    def _retiring(self, run_id: str) -> Callable[[RunView], None]:
        """What is done with the view of a run that has ended: the newest few are kept."""

        def retire(view: RunView) -> None:
            key = f"run {run_id}"
            self._views[key] = view
            if run_id in self._closed:
                self._views.pop(key).close()
            self._close_all_but_newest("run ")

        return retire

    def _close_all_but_newest(self, kind: str) -> None:
        for each in [key for key in list(self._views) if key.startswith(kind)][:-KEPT_VIEWS]:
            self._views.pop(each).close()

    # ---- what pages ask for

    def _answer(self, action: Callable[..., None], key: str, *rest: object) -> None:
        """Do what a page asks for, in a thread of its own."""

        def act() -> None:
            with self._answering:
                run = self._of_id(key)
                if run is not None and run.done:
                    run.wait()  # for its picture, which may just be made
                view = self._views.get(key)
                if view is not None:  # else it has been done, or is about a run that has not ended
                    self._tell(action, view, key, *rest)

        threading.Thread(target=act, name="dagy-answer", daemon=True).start()

    def _tell(self, action: Callable[..., None], view: RunView, key: str, *rest: object) -> None:
        about: Literal["run", "rerun"] = "run" if key.startswith("form ") else "rerun"
        try:
            action(view, key, *rest)
        except FormError as error:
            view.send({"op": "refused", "about": about, "problems": error.problems})
        except DagyError as error:
            message = self._notebook.with_labels(str(error))
            view.send({"op": "refused", "about": about, "problems": [{"field": None, "message": message}]})
        except Exception as error:  # a flow's own code draws it
            view.send({"op": "refused", "about": about, "problems": [{"field": None, "message": shown(error)}]})
            raise

    def _run_form(self, view: RunView, key: str, form: RunForm, texts: Mapping[str, str]) -> None:
        flow = self._newest(form.flow)
        given = values_of(flow, texts, form.given)
        shown_run, begun = self._begin(
            flow, given, form.options, waits=False, is_raised=False, display_id=form.display_id
        )
        form.run = self._added(shown_run, begun)
        self._hand_over(view, key, shown_run)

    def _run_again(self, view: RunView, key: str, source: str, texts: Mapping[str, str] | None) -> None:
        run_id = key.removeprefix("run ")
        run = self._of_id(run_id)
        if run is None:
            raise DefinitionError(f"the results of run {run_id!r} are not held any more; run the flow anew")
        begun = self._begun[run]
        given = None if texts is None else values_of(self._newest(begun.flow), texts, begun.given)
        shown_run, begun = self._begin_again(
            run, given, from_start=source == "start", waits=False, is_raised=False, display_id=run.shown.display_id
        )
        run.shown, self._begun[run] = shown_run, begun
        self._under_way[id(run)] = run
        with self._listing:
            self._all = [*(each for each in self._all if each() is not run), weakref.ref(run)]
        self.last = run
        self._hand_over(view, key, shown_run)

    def _hand_over(self, view: RunView, key: str, shown_run: ShownRun) -> None:
        """Another view has taken the place of this one."""
        view.send(
            {
                "op": "started",
                "run_id": shown_run.handle.run_id,
                "model_id": view.model_id,
                "data": shown_run.output,
            }
        )
        # It stays a while: a page that has not taken it away yet would stumble over a view without a model.
        self._views[f"gone {key}"] = self._views.pop(key)
        self._close_all_but_newest("gone ")


def _as_written(function: Callable[..., Any]) -> object:
    """What a task's cell has: of a node the function that it was made from, or else its class's `execute`."""
    code = inspect.unwrap(function)
    return getattr(code, "function", getattr(code, "execute", None)) if isinstance(code, type) else code


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[list[int]]:
    """Let no interrupt tear what is done here; gives the list of those that came."""
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):  # no interrupt gets here
        yield came
        return
    signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def _nothing_to_do(*_: object) -> None:
    """What an action does that the view does not offer."""
