"""The live view of a run: one widget model, which the browser half (`run_view.js`) draws.

The widget class is made on first use, because its base costs a third of a second to load.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dagy.drawing import ICONS, PALETTE
from dagy.errors import MissingExtraError

_HERE = Path(__file__).parent


class RunView(Protocol):
    """The view of one run, as the kernel sees it."""

    blocking: bool  # whether a cell waits for this run: only then may the page interrupt the kernel

    def send(self, content: Mapping[str, Any]) -> None:
        """Send a delta to every page that shows the view."""

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
) -> RunView:
    """A new view. `picture` is the graph as SVG; `snapshot` is asked whenever a page draws the view anew.

    `on_ready` is called when a page wants a snapshot sent, `on_cancel` when the user presses Cancel; both maybe in
    another thread, so they should only set a flag.
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

        _esm = (_HERE / "run_view.js").read_text(encoding="utf-8")
        _css = (_HERE / "run_view.css").read_text(encoding="utf-8")

        flow_name = traitlets.Unicode("").tag(sync=True)
        run_id = traitlets.Unicode("").tag(sync=True)
        picture = traitlets.Unicode("").tag(sync=True)  # the graph, as SVG
        looks = traitlets.Dict({}).tag(sync=True)  # for each state its icon, word and sign
        snapshot = traitlets.Dict({}).tag(sync=True)
        kernel_id = traitlets.Unicode("").tag(sync=True)
        # Whether a cell waits for this run: only then may the page interrupt the kernel when a cancel is not answered.
        blocking = traitlets.Bool(False).tag(sync=True)

        def __init__(
            self,
            *,
            snapshot: Callable[[], Mapping[str, Any]],
            on_ready: Callable[[], object],
            on_cancel: Callable[[], object],
            **values: Any,
        ) -> None:
            self._make_snapshot = snapshot
            self._on_ready = on_ready
            self._on_cancel = on_cancel
            looks = {
                state.value: {"icon": ICONS[state], "label": look.label, "sign": look.sign}
                for state, look in PALETTE.items()
            }
            super().__init__(looks=looks, snapshot=dict(snapshot()), **values)
            self.on_msg(self._on_message)
            _answer_where_asked(self.comm)

        def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
            """The model's state, with a snapshot made now."""
            state: dict[str, Any] = super().get_state(key, drop_defaults)
            if "snapshot" in state:
                state["snapshot"] = dict(self._make_snapshot())
            return state

        def close(self) -> None:
            """Forget the view, and the layout model that every widget brings."""
            super().close()
            self.layout.close()

        def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
            if content.get("op") == "ready":
                self._on_ready()
            elif content.get("op") == "cancel":
                self._on_cancel()
                self.send({"op": "acknowledged"})

    return RunWidget


def _answer_where_asked(comm: Any) -> None:
    """Let messages to this widget be handled in the subshell that the page sent them to.

    ipykernel 7.4 sends them to the shell that published last on the comm instead, which is the one that the running
    cell blocks; this private attribute is where it decides.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default
