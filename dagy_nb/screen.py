"""Where a notebook shows things: the cell that runs, through IPython."""

from __future__ import annotations

import contextvars
import io
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from dagy.engine import current_sink, import_in_workers
from dagy_nb.figures import tell_workers

_SHORT = 1_000  # characters of a text that IPython shows as it is

# What the value that is being rendered in this context displays by itself.
_DISPLAYED: contextvars.ContextVar[dict[str, object] | None] = contextvars.ContextVar("dagy_displayed", default=None)


class IPythonScreen:
    """Shows things in the cell that runs, through IPython."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._lock = threading.Lock()
        self._capturing = 0  # runs whose tasks' displays are taken
        self._end_capture: Callable[[], None] = lambda: None
        self.kernel_id = _kernel_id(shell)

    @property
    def is_live(self) -> bool:
        """Whether somebody may be looking at a page that draws widgets: not in a terminal, nbclient or papermill."""
        if os.environ.get("DAGY_NONINTERACTIVE", "").lower() in ("1", "true", "yes", "on"):
            return False
        return bool(self.kernel_id) and (
            "JPY_SESSION_NAME" in os.environ
            or "__vsc_ipynb_file__" in self._shell.user_ns
            or "google.colab" in sys.modules
        )

    @property
    def moment(self) -> object:
        """The number of the cell that runs."""
        return self._shell.execution_count

    def show(self, bundle: Mapping[str, object]) -> None:
        """Show a MIME bundle as output of the running cell."""
        display(dict(bundle), raw=True)

    def show_replaceable(self, bundle: Mapping[str, object]) -> str:
        """Show it so that it can be replaced. A terminal can't take back what it printed: it gets the end alone."""
        display_id = os.urandom(16).hex()
        if self.kernel_id:
            display(dict(bundle), raw=True, display_id=display_id)
        return display_id

    def replace(self, display_id: str, bundle: Mapping[str, object]) -> None:
        """Replace what is shown under that id, wherever it is."""
        if self.kernel_id:
            display(dict(bundle), raw=True, display_id=display_id, update=True)
        else:
            self.show(bundle)

    def bundle_of(self, value: object) -> Mapping[str, object]:
        """How the notebook would display `value`; a matplotlib figure as an image even where pyplot is not loaded."""
        if type(value) in (bool, int) or (type(value) is str and len(value) < _SHORT):
            return {"text/plain": repr(value)}  # what IPython makes of it, in a hundredth of the time
        data = contextvars.copy_context().run(self._rendered, value)
        save = getattr(value, "savefig", None)
        if "image/png" not in data and callable(save):
            picture = io.BytesIO()
            save(picture, format="png", bbox_inches="tight")
            data["image/png"] = picture.getvalue()
        pyplot = sys.modules.get("matplotlib.pyplot")
        if callable(save) and pyplot is not None:
            pyplot.close(value)  # else the cell's end would show a figure that a task has drawn with pyplot once more
        return data

    def capture_displays(self) -> Callable[[], None]:
        """From now on give what tasks display to the tasks; call what is returned to end that."""
        with self._lock:
            self._capturing += 1
            if self._capturing == 1:
                self._end_capture = _take_displays(self._shell)

        def release() -> None:
            with self._lock:
                self._capturing -= 1
                if not self._capturing:
                    self._end_capture()

        return release

    def _rendered(self, value: object) -> dict[str, object]:
        """A bundle of `value`, the representations left out that raise; the last error is raised if all do.

        IPython's own `format` would print those errors, on the cell.
        """
        formatter = self._shell.display_formatter
        assert formatter is not None  # every shell has one
        displayed: dict[str, object] = {}
        _DISPLAYED.set(displayed)
        found: dict[str, object] = {}
        failure: Exception | None = None
        for kind, part in [
            ("", formatter.ipython_display_formatter),
            ("", formatter.mimebundle_formatter),
            *formatter.formatters.items(),
        ]:
            if kind in found:
                continue
            try:
                made = _outcome(part, value)
            except Exception as error:  # noqa: BLE001 (the value's own code)
                failure = error
                continue
            if made is True:  # it has displayed itself
                return displayed
            bare = made[0] if isinstance(made, tuple) else made  # else with metadata
            if not kind:
                found.update(bare or {})
            elif bare is not None:
                found[kind] = bare
        if failure is not None and not found:
            raise failure
        return found


def _take_displays(shell: InteractiveShell) -> Callable[[], None]:
    """Give what tasks display to the tasks, until what is returned is called."""
    publisher = shell.display_pub
    publish, clear_output = publisher.publish, publisher.clear_output

    def publish_or_capture(data: Mapping[str, object], metadata: Any = None, *args: Any, **rest: Any) -> None:
        displayed, sink = _DISPLAYED.get(), current_sink()
        if displayed is not None:
            displayed.update(data)
        elif sink is not None:
            sink.show(data, metadata or {})
        else:
            publish(data, metadata, *args, **rest)

    def clear_unless_in_a_task(wait: bool = False) -> None:
        if current_sink() is None:  # else it would clear the run's own view
            clear_output(wait)

    vars(publisher).update(publish=publish_or_capture, clear_output=clear_unless_in_a_task)
    import_no_longer = import_in_workers("dagy_nb.worker")
    tell_no_longer = tell_workers()

    def end() -> None:
        tell_no_longer()
        import_no_longer()
        for name in ("publish", "clear_output"):
            vars(publisher).pop(name, None)

    return end


def _outcome(formatter: Any, value: object) -> Any:
    """What an IPython formatter makes of `value`; an error of the value's own code is raised, and not printed."""
    call = type(formatter).__call__
    return getattr(call, "__wrapped__", call)(formatter, value)


def _kernel_id(shell: InteractiveShell) -> str:
    """What the Jupyter server knows the kernel by: its connection file is `kernel-ID.json`. Empty outside Jupyter."""
    kernel = getattr(shell, "kernel", None)
    config = getattr(kernel, "config", {}) or {}
    path = str(config.get("IPKernelApp", {}).get("connection_file", ""))
    return Path(path).stem.removeprefix("kernel-") if kernel is not None else ""
