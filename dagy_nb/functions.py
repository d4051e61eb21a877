"""What each line magic does, as a plain function: for scripts, linters and tests.

A user's mistake raises IPython's `UsageError`, which notebooks show without a traceback.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagy_nb.magics import current_magics, load, unload

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from dagy import Flow
    from dagy.artifact import Artifact
    from dagy_nb.export import Export
    from dagy_nb.running import NotebookRun


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What `%load_ext dagy_nb` calls. Safe to call twice."""
    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What `%unload_ext dagy_nb` calls: nothing of the extension stays."""
    unload(shell)


def dag(flow: str | None = None) -> Flow[..., Any]:
    """The flow of that name, or the only one, as `%dagy_dag` has it; a notebook draws it."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.flow(flow))


def run(
    flow: str | Flow[..., Any] | None = None,
    /,
    *,
    max_workers: int | None = None,
    fail_fast: bool = True,
    isolation: Literal["thread", "process"] | None = None,
    record: bool = False,
    resume: str | None = None,
    background: bool = False,
    **parameters: Any,
) -> NotebookRun:
    """Run a flow and show every task live, as `%dagy_run` does; here parameters may be any object.

    A parameter of the flow that has the name of an option here can be given to the magic.
    """
    magics = current_magics()
    return magics.answered(
        lambda: magics.session.run(
            flow,
            parameters,
            background=background,
            max_workers=max_workers,
            fail_fast=fail_fast,
            isolation=isolation,
            record=record,
            resume=resume,
        )
    )


def last_run() -> NotebookRun | None:
    """The run that was started last, however it ended: what completed is in it. None before the first one."""
    return current_magics().session.last_run


def export_notebook(path: str | Path | None = None, *, force: bool = False) -> Export:
    """The notebook's flows, and all they need, as a module, as `%dagy_export` has it; written to `path` if given."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.export(path, force=force))


def build(flow: str | None = None, *, output_dir: str | Path = "dist") -> Artifact:
    """Build a flow's artifact, as `%dagy_build` does."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.build(flow, output_dir=output_dir))


def reset() -> None:
    """Forget every task and flow of this notebook, as `%dagy_reset` does."""
    current_magics().notebook.forget()
