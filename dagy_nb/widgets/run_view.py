"""The view of a run: one widget model, which the browser half draws.

The browser half is one module for the page, whose parts (`_PARTS`) are joined here in the order in which they build on
each other, and one style sheet. The widget class is made on first use: its base costs a third of a second to load.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from dagy.drawing import ICONS, PALETTE
from dagy.errors import MissingExtraError

_HERE = Path(__file__).parent
_PARTS = (
    "words.js",
    "notebook.js",
    "store.js",
    "elements.js",
    "graph.js",
    "rows.js",
    "tasks.js",
    "timeline.js",
    "log.js",
    "panel.js",
    "form.js",
    "view.js",
    "stills.js",
    "run_view.js",
)


class RunView(Protocol):
    """The view of one run, as the kernel sees it."""

    blocking: bool  # whether a cell waits for this run: only then may the page interrupt the kernel

    def send(self, content: Mapping[str, Any]) -> None:
        """Send a delta to every page that shows the view."""

    def replaced_by(self, bundle: Mapping[str, object]) -> None:
        """The output is this bundle from now on. A page that can't know that asks for it."""

    def close(self) -> None:
        """Forget the view: what shows it goes blank unless it was replaced before."""

    @property
    def model_id(self) -> str:
        """What a `widget-view+json` names it by."""


def run_view(
    *,
    flow_name: str,
    run_id: str,
    picture: str,
    kernel_id: str,
    blocking: bool,
    snapshot: Callable[[], Mapping[str, Any]],
    on_ready: Callable[[], object],
    on_cancel: Callable[[], object],
    about: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    form: Sequence[Mapping[str, Any]] = (),
    is_form: bool = False,
    can_rerun: bool = False,
    on_run: Callable[[Mapping[str, str]], object] = lambda _texts: None,
    on_rerun: Callable[[str, Mapping[str, str] | None], object] = lambda _source, _texts: None,
) -> RunView:
    """A new view. `picture` is the graph as SVG; `snapshot` is asked whenever a page draws the view anew.

    `about` holds for each task, in the order of the list, `{"name", "cell": {"id", "label", "number"} or None, "needs",
    "mapped", "retries", "timeout", "node"}`, where "node" is what a node has as `Connectors.as_json` gives it, or None;
    `form` the flow's parameters as fields, each `{"name", "kind", "annotation", "required", "value", "choices",
    "description", "secret"}`. With `is_form` the run has not been started, and the page shows the form with a button
    that starts it; with `can_rerun` a run that has ended can be run again from the page.

    `on_ready` is called when a page wants a snapshot sent, `on_cancel` when the user presses Cancel, `on_run` with the
    parameters as texts when the user starts a run from the form, `on_rerun` with where to begin, "failed" or "start",
    and the parameters, None to keep those of the run. All may be called in another thread, and should return at once.
    Raises `MissingExtraError` when widgets are not installed.
    """
    view: RunView = _view_class()(
        flow_name=flow_name,
        run_id=run_id,
        picture=picture,
        kernel_id=kernel_id,
        blocking=blocking,
        snapshot=snapshot,
        on_ready=on_ready,
        on_cancel=on_cancel,
        about={task: dict(each) for task, each in about.items()},
        form=[dict(each) for each in form],
        is_form=is_form,
        can_rerun=can_rerun,
        on_run=on_run,
        on_rerun=on_rerun,
    )
    return view


@functools.cache
def _view_class() -> Any:
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise MissingExtraError("anywidget", "notebook", "the live view of a run") from error

    class RunWidget(anywidget.AnyWidget):
        """The kernel sends deltas; a view that is drawn anew, after a reload for example, gets a snapshot made then."""

        _esm = page_module()
        _css = page_style()

        view_id = traitlets.Unicode("").tag(sync=True)  # tells this model from all others
        flow_name = traitlets.Unicode("").tag(sync=True)
        run_id = traitlets.Unicode("").tag(sync=True)
        picture = traitlets.Unicode("").tag(sync=True)  # the graph, as SVG
        looks = traitlets.Dict({}).tag(sync=True)  # for each state its icon, word and sign
        snapshot = traitlets.Dict({}).tag(sync=True)
        kernel_id = traitlets.Unicode("").tag(sync=True)
        # Whether a cell waits for this run: only then may the page interrupt the kernel when a cancel is not answered.
        blocking = traitlets.Bool(False).tag(sync=True)
        about = traitlets.Dict({}).tag(sync=True)
        form: Any = traitlets.List([]).tag(sync=True)
        is_form = traitlets.Bool(False).tag(sync=True)
        can_rerun = traitlets.Bool(False).tag(sync=True)
        was = traitlets.Unicode("").tag(sync=True)  # the model id that its output had, once that is something else

        def __init__(
            self,
            *,
            snapshot: Callable[[], Mapping[str, Any]],
            on_ready: Callable[[], object],
            on_cancel: Callable[[], object],
            on_run: Callable[[Mapping[str, str]], object],
            on_rerun: Callable[[str, Mapping[str, str] | None], object],
            **values: Any,
        ) -> None:
            self._make_snapshot = snapshot
            self._on_ready = on_ready
            self._on_cancel = on_cancel
            self._on_run = on_run
            self._on_rerun = on_rerun
            self._output: Mapping[str, object] = {}  # what the view was replaced by
            looks = {
                state.value: {"icon": ICONS[state], "label": look.label, "sign": look.sign}
                for state, look in PALETTE.items()
            }
            super().__init__(view_id=os.urandom(8).hex(), looks=looks, snapshot=dict(snapshot()), **values)
            self.on_msg(self._on_message)
            _answer_where_asked(self.comm)

        def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
            """The model's state, with a snapshot made now."""
            state: dict[str, Any] = super().get_state(key, drop_defaults)
            if "snapshot" in state:
                state["snapshot"] = dict(self._make_snapshot())
            return state

        def replaced_by(self, bundle: Mapping[str, object]) -> None:
            """The output is this bundle from now on. A page that can't know that asks for it."""
            self._output = dict(bundle)
            self.was = self.model_id

        def close(self) -> None:
            """Forget the view, and the layout model that every widget brings."""
            super().close()
            self.layout.close()

        def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
            match content:
                case {"op": "ready"}:
                    self._on_ready()
                case {"op": "output"} if self._output:
                    self.send({"op": "output", "model_id": self.model_id, "data": self._output})
                case {"op": "cancel"}:
                    self._on_cancel()
                    self.send({"op": "acknowledged"})
                case {"op": "run", "parameters": dict(texts)} if _are_texts(texts):
                    self._on_run(texts)
                case {"op": "rerun", "from": "failed" | "start" as source, "parameters": None}:
                    self._on_rerun(source, None)
                case {"op": "rerun", "from": "failed" | "start" as source, "parameters": dict(texts)} if _are_texts(
                    texts
                ):
                    self._on_rerun(source, texts)
                case _:
                    pass  # not of this page

    return RunWidget


def page_module() -> str:
    """The browser half as the source of one ECMAScript module."""
    return "\n".join((_HERE / part).read_text(encoding="utf-8") for part in _PARTS)


def page_style() -> str:
    """The browser half's style sheet."""
    return (_HERE / "run_view.css").read_text(encoding="utf-8")


def _are_texts(values: Mapping[object, object]) -> bool:
    return all(isinstance(each, str) for pair in values.items() for each in pair)


def _answer_where_asked(comm: Any) -> None:
    """Let messages to this widget be handled in the subshell that the page sent them to.

    ipykernel 7.4 sends them to the shell that published last on the comm instead, which is the one that the running
    cell blocks; this private attribute is where it decides.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default
