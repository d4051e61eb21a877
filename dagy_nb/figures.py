"""How the notebook wants figures shown, `%config InlineBackend.figure_formats` for one, told to worker processes.

Workers take on the environment of the process that calls them, so a variable says it. What pyplot itself was told
(`plt.rcParams`, a style) is not taken along: a worker has a pyplot of its own, and a task that wants a style says so.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

_VARIABLE = "DAGY_NOTEBOOK_FIGURES"


def tell_workers() -> Callable[[], None]:
    """From now on let workers show figures as this notebook does; call what is returned to end that."""
    module = sys.modules.get("matplotlib_inline.config")
    if module is None or not module.InlineBackend.initialized():
        return lambda: None
    wanted = module.InlineBackend.instance()
    told = {"formats": sorted(wanted.figure_formats), "options": dict(wanted.print_figure_kwargs)}
    os.environ[_VARIABLE] = json.dumps(told, default=str)

    def end() -> None:
        os.environ.pop(_VARIABLE, None)

    return end


def take_on(shell: Any) -> None:
    """Have the `shell` of a worker process show figures as the notebook does."""
    from IPython.core import pylabtools

    tools: Any = pylabtools  # which has no types
    told = json.loads(os.environ.get(_VARIABLE, "{}"))
    if told and "matplotlib.figure" in sys.modules:
        tools.select_figure_formats(shell, told["formats"], **told["options"])
