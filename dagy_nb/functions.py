"""What each line magic does, as a plain function: for scripts, linters and tests.

A user's mistake raises IPython's `UsageError`, which notebooks show without a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dagy_nb.magics import add_magics, current_magics, remove_magics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from dagy import Executor, Flow
    from dagy.artifact import Artifact
    from dagy.backends import Route
    from dagy.nodes import FlowNode, NodeGraph
    from dagy_nb.checking import Check
    from dagy_nb.deploying import Deployed
    from dagy_nb.drift import Drift
    from dagy_nb.export import Export
    from dagy_nb.node_forms import NodeForm
    from dagy_nb.node_pages import NodePage, NodeRow
    from dagy_nb.registry import NotebookTask
    from dagy_nb.run_history import PastRun
    from dagy_nb.running import NotebookRun
    from dagy_nb.runs import RunForm
    from dagy_nb.tables import Listing


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What `%load_ext dagy_nb` calls. Safe to call twice."""
    add_magics(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What `%unload_ext dagy_nb` calls: nothing of the extension stays."""
    remove_magics(shell)


def dag(flow: str | Flow[..., Any] | NodeGraph | None = None) -> Flow[..., Any]:
    """The flow of that name, or the only one, as `%dagy_dag` has it; a notebook draws it, with what is out of date."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.drawn(flow))


def run(
    flow: str | Flow[..., Any] | NodeGraph | None = None,
    /,
    *,
    max_workers: int | None = None,
    fail_fast: bool | None = None,
    isolation: Literal["thread", "process"] | None = None,
    record: bool = False,
    resume: str | None = None,
    background: bool = False,
    fresh: bool = False,
    deployment: str | None = None,
    profile: str | None = None,
    **parameters: Any,
) -> NotebookRun:
    """Run a flow and show every task live, as `%dagy_run` does; here parameters may be any object.

    `fresh` runs what would be exported, in a clean process of its own. With a `deployment` a worker runs what is
    deployed under that name, where `profile` says; then parameters must be JSON, and of the options only `background`
    and `fail_fast` count. A parameter of the flow that has the name of an option here can be given to the magic.
    """
    magics = current_magics()
    if deployment is not None:
        return magics.answered(
            lambda: magics.session.run_deployment(
                deployment,
                parameters,
                flow=flow,
                background=background,
                must_complete=fail_fast is not False,
                profile=profile,
            )
        )
    return magics.answered(
        lambda: magics.session.run(
            flow,
            parameters,
            background=background,
            fresh=fresh,
            max_workers=max_workers,
            fail_fast=fail_fast,
            isolation=isolation,
            record=record,
            resume=resume,
        )
    )


def nodes(
    text: str = "", /, *, category: str | None = None, accepts: str | None = None, gives: str | None = None
) -> Listing[NodeRow] | NodePage:
    """The node types that have the words of `text`, or the page of the one that `text` is, as `%dagy_nodes` does."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.nodes(text, category=category, accepts=accepts, gives=gives))


def node_form(node: str | type[FlowNode] | FlowNode, /, **config: Any) -> NodeForm:
    """A form for a node's configuration, filled with `config`: of a node's type, its class, or a configured node.

    `form.node` is the node as the form is now, `form.config` the values of its fields.
    """
    magics = current_magics()
    return magics.answered(lambda: magics.session.node_form(node, config))


def rerun(run: NotebookRun | None = None, /, *, from_start: bool = False, **parameters: Any) -> NotebookRun:
    """Run a run again, or the last one, as `%dagy_run --again` does: what completed and did not change is not repeated.

    `parameters` replace those that it had; none given: they stay. `from_start` repeats all of it.
    """
    magics = current_magics()
    return magics.answered(lambda: magics.session.run_again(run, parameters=parameters or None, from_start=from_start))


def form(flow: str | Flow[..., Any] | NodeGraph | None = None, /, **parameters: Any) -> RunForm:
    """Show a flow and a form for its parameters, with a Run button, as `%dagy_run --form` does."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.show_form(flow, parameters))


def watch(run: str | None = None, *, background: bool = False, profile: str | None = None) -> NotebookRun:
    """Show a run of a deployment live, whoever began it, as `%dagy_watch` does; without a name the newest."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.watch(run, background=background, profile=profile))


def cancel(run: str | None = None, *, profile: str | None = None) -> None:
    """Cancel a run, or every one that was begun here, as `%dagy_cancel` does; returns at once."""
    magics = current_magics()
    magics.answered(lambda: magics.session.cancel(run, profile=profile))


def last_run() -> NotebookRun | None:
    """The run that was started last, however it ended: what completed is in it. None before the first one."""
    return current_magics().session.last_run


def export_notebook(path: str | Path | None = None, *, force: bool = False) -> Export:
    """The notebook's flows, and all they need, as a module, as `%dagy_export` has it; written to `path` if given."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.export(path, force=force))


def build(
    flow: str | NodeGraph | None = None,
    *,
    output_dir: str | Path = "dist",
    target: str = "local",
    requirements: str | Path | None = None,
    include: Sequence[str] = (),
) -> Artifact:
    """Build a flow's artifact, as `%dagy_build` does."""
    magics = current_magics()
    return magics.answered(
        lambda: magics.session.build(
            flow, output_dir=output_dir, target=target, requirements=requirements, include=include
        )
    )


def plan(flow: str | NodeGraph | None = None, *, executor: str | Executor | None = None) -> Route:
    """Where on AWS a flow would run, why and at what cost, as `%dagy_plan` shows it; nothing is built or called."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.plan(flow, executor=executor))


def deploy(
    flow: str | NodeGraph | None = None,
    *,
    name: str | None = None,
    namespace: str | None = None,
    tags: Mapping[str, str] | None = None,
    schedule: str | None = None,
    timezone: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    force: bool = False,
    dry_run: bool = False,
    prove: bool = True,
    profile: str | None = None,
    executor: str | Executor | None = None,
    image: str | None = None,
    target: str | None = None,
    requirements: str | Path | None = None,
    include: Sequence[str] = (),
    output_dir: str | Path = "dist",
) -> Deployed:
    """Build a flow, prove it and deploy it, as `%dagy_deploy` does; `result.skipped` when it was deployed already."""
    magics = current_magics()
    return magics.answered(
        lambda: magics.session.deploy(
            flow,
            name=name,
            namespace=namespace,
            tags=tags or {},
            schedule=schedule,
            timezone=timezone,
            parameters=parameters or {},
            force=force,
            dry_run=dry_run,
            must_prove=prove,
            profile=profile,
            executor=executor,
            image=image,
            target=target,
            requirements=requirements,
            include=include,
            output_dir=output_dir,
        )
    )


def tasks() -> Listing[NotebookTask]:
    """The tasks of this notebook, as `%dagy_tasks` lists them."""
    magics = current_magics()
    return magics.answered(magics.session.tasks)


def past_runs(flow: str | None = None, *, limit: int = 20, profile: str | None = None) -> Listing[PastRun]:
    """The runs of this session, of the history and of deployments, the newest first, as `%dagy_runs` lists them."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.past_runs(flow, limit=limit, profile=profile))


def logs(run: str | None = None, *, task: str | None = None, profile: str | None = None) -> str:
    """What the tasks of a run wrote, or one of them, as `%dagy_logs` shows it."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.logs(run, task=task, profile=profile))


def check() -> Check:
    """What is out of date in this notebook, and what an export would say, as `%dagy_check` has it; no task is run."""
    magics = current_magics()
    return magics.answered(magics.session.check)


def status(flow: str | None = None, *, output_dir: str | Path = "dist", profile: str | None = None) -> Listing[Drift]:
    """Which cells were edited since a flow was last built, and since deployed, as `%dagy_status` lists them."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.status(flow, output_dir=output_dir, profile=profile))


def load(task: str, *, run: str | None = None) -> str:
    """A task's source as `%dagy_load` puts it into a cell; with `run`, what it was given there is in `inputs`."""
    magics = current_magics()
    return magics.answered(lambda: magics.session.load(task, run=run)).text


def reset(task: str | None = None) -> None:
    """Forget every task and flow cell of this notebook, or one cell, as `%dagy_reset` does."""
    magics = current_magics()
    magics.answered(lambda: magics.notebook.forget(task))
