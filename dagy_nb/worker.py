"""What `display` and `get_ipython` are in a worker process: a shell of its own, of which only that part is there.

A worker imports this module at once and IPython never, unless its task does: when that happens the shell is made. What
is displayed goes to the task, as it does in the notebook's own process.
"""

from __future__ import annotations

import builtins
import functools
import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from dagy.engine import current_sink
from dagy.errors import DefinitionError
from dagy_nb.figures import take_on

_SHELL = "IPython.core.interactiveshell"


class _Watch(MetaPathFinder):
    """Waits for the module with IPython's shell to be imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's own spec, which makes the shell once the module is there; None for any other module."""
        if name != _SHELL:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            vars(spec.loader)["exec_module"] = functools.partial(_execute, spec.loader.exec_module)
        return spec


def _execute(execute: Any, module: ModuleType) -> None:
    execute(module)
    _make_shell(module)


def _make_shell(module: Any) -> None:
    """Make the one shell of this process. All of a shell that belongs to a terminal or to a kernel is left out."""
    from IPython.core.displaypub import DisplayPublisher
    from traitlets.config import SingletonConfigurable

    class TaskPublisher(DisplayPublisher):
        """Gives what is displayed to the task."""

        def publish(self, data: Mapping[str, object], metadata: Any = None, *_: object, **__: object) -> None:
            """Show it in the task's panel."""
            sink = current_sink()
            if sink is not None:
                sink.show(data, metadata or {})

        def clear_output(self, wait: bool = False) -> None:
            """Nothing: what a task has displayed stays."""

    class TaskShell(module.InteractiveShell):  # type: ignore[misc]  # it is only being imported
        """Displays and runs programs (`!ls`); it has no history, no magics and no hold on Python's own hooks."""

        def __init__(self) -> None:
            SingletonConfigurable.__init__(self)
            self.configurables = [self]
            self.user_ns: dict[str, Any] = {}
            self.init_events()
            self.init_display_formatter()
            self.show_figures_as_the_notebook_does()
            self.display_pub = TaskPublisher()

        def show_figures_as_the_notebook_does(self) -> None:
            """Look up what is wanted whenever a figure is displayed: it may change between two calls."""
            formatter: Any = self.display_formatter
            show = formatter.format

            def show_anything(value: object, *rest: Any, **options: Any) -> Any:
                if type(value).__module__ == "matplotlib.figure":
                    take_on(self)
                return show(value, *rest, **options)

            formatter.format = show_anything

        def showtraceback(self, *_: object, **__: object) -> None:
            """Print the error that is being handled, as IPython does where a value can't be displayed."""
            traceback.print_exc()

        def run_line_magic(self, magic_name: str, *_: object, **__: object) -> NoReturn:
            """Refuse: a magic is about the notebook, which is elsewhere."""
            raise DefinitionError(
                f"the magic {magic_name!r} can't run in a worker process; take it out of the task, or run the task in "
                "the notebook's own process (isolation='thread')"
            )

        run_cell_magic = run_line_magic

    TaskShell.instance()


def display(*values: object, **options: Any) -> Any:
    """IPython's `display`, which needs no import in a notebook."""
    from IPython.display import display as display_by_ipython

    return display_by_ipython(*values, **options)


def get_ipython() -> Any:
    """IPython's `get_ipython`, which needs no import in a notebook."""
    from IPython.core.getipython import get_ipython as found_by_ipython

    return found_by_ipython()


vars(builtins).update(display=display, get_ipython=get_ipython)
if _SHELL in sys.modules:
    _make_shell(sys.modules[_SHELL])
else:
    sys.meta_path.insert(0, _Watch())
