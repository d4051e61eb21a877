"""`dagy runs`: which runs there are, how one of them went, and how one is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from dagy.cli import output
from dagy.cli.completing import deployment_names, flow_names, run_ids
from dagy.cli.finding import find_runs
from dagy.cli.formats import Form, cut, facts, format_option, profile_option, show, table
from dagy.cli.listed_runs import ListedRun, found_run, listed_runs
from dagy.cli.planes import connected_beside_history, connected_if_any
from dagy.cli.run_deployment import show_run as show_deployed
from dagy.control.records import LOCAL
from dagy.drawing import PALETTE, ago, duration, plain_line, text_tree
from dagy.errors import ConflictError, SpecError, StoreError, UnknownFlowError
from dagy.runs import History, TaskRecord
from dagy.settings import Settings
from dagy.spec import FlowSpec
from dagy.states import State, StateType

if TYPE_CHECKING:
    from dagy.client import DagyClient
    from dagy.control import RunInfo, TaskRunInfo

_STATUSES = [each.lower() for each in StateType]
_TASK_LINES = 300  # lines of a run's tasks that are shown


@click.group("runs", invoke_without_command=True, short_help="Show the runs there were, and cancel one.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the runs that were recorded here, and those of deployments.

    A RUN is a run's id, the start or the end of one, or "latest".

    \b
    Examples:
      dagy runs list --status failed
      dagy runs show latest
      dagy runs show latest --format json
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_runs)


@command.command("list", short_help="List runs, the newest first.")
@click.option("--flow", shell_complete=flow_names, help="Only the runs of this flow.")
@click.option("--deployment", shell_complete=deployment_names, help="Only the runs of this deployment.")
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only the runs in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@profile_option
@format_option
def list_runs(
    flow: str | None = None,
    deployment: str | None = None,
    status: str | None = None,
    limit: int = 20,
    profile: str | None = None,
    form: Form = "table",
) -> None:
    """List the runs that were recorded here and those of deployments, the newest first.

    \b
    Examples:
      dagy runs list
      dagy runs list --flow web_scraper --status failed --limit 5
      dagy runs list --deployment web-scraper --format json
    """
    local_dir = Settings.read().local_dir
    wanted = None if status is None else StateType(status.upper())
    connection = connected_beside_history(profile) if deployment is None else connected_if_any(profile)
    with History(local_dir) as history, connection as client:
        _tell_recovered(history, client)
        if client is not None and client.is_local:  # a server's workers do so
            find_runs(client)
        found = listed_runs(history, client, flow=flow, deployment=deployment, status=wanted, limit=limit)
    if not found and form == "table":
        some = "no run" if (flow, deployment, status) == (None, None, None) else "no such run"
        output.note(f"{some} is recorded in {local_dir}")
    show(form, [_as_json(each) for each in found], lambda: _listed(found, profile) if found else "")


@command.command("show", short_help="Show how a run went.")
@click.argument("run", shell_complete=run_ids)
@profile_option
@format_option
def show_run(run: str, profile: str | None, form: Form) -> None:
    """Show how a run went, task by task.

    \b
    Examples:
      dagy runs show latest
      dagy runs show latest --format json
    """
    with History(Settings.read().local_dir) as history, connected_beside_history(profile) as client:
        _tell_recovered(history, client)
        found = found_run(history, client, run)
        tasks = _tasks(history, client, found)
        data = {**_as_json(found), **_more(found.info), "task_runs": [_task_as_json(each) for each in tasks]}
        show(form, data, lambda: "\n".join(_shown(history, client, found, tasks)))


@command.command("cancel", short_help="Stop a run of a deployment.")
@click.argument("run", shell_complete=run_ids)
@click.option("--reason", default="cancelled", show_default=True, help="Why, as the run will say.")
@profile_option
def cancel(run: str, reason: str, profile: str | None) -> None:
    """Ask that a run be cancelled. It ends a moment later; one that waits for a worker ends at once.

    A run of `dagy run FILE` is cancelled by Ctrl-C where it runs, one of a notebook in the notebook.

    \b
    Examples:
      dagy runs cancel latest
      dagy runs cancel latest --reason "wrong day"
    """
    with History(Settings.read().local_dir) as history, connected_if_any(profile) as client:
        found = found_run(history, client, run)
        if found.state.is_final:
            output.note(f"run {found.run_id} has ended already: {found.state}")
        elif client is not None and found.info is not None:
            now = client.cancel_run(found.run_id, reason)
            output.say(f"run {found.run_id}: {'cancelled' if now.status.is_final else 'asked to stop'}")
        else:
            owner = None if found.record is None else found.record.owner
            where = "" if owner is None else f" (process {owner.pid} on {owner.host.partition('/')[0]})"
            raise ConflictError(f"run {found.run_id!r} is not of a deployment{where}; press Ctrl-C where it runs")


@command.command("resume", short_help="Run on AWS what a run has left undone.")
@click.argument("run", shell_complete=run_ids)
@click.option("--detach", is_flag=True, help="Print the new run's id, and do not wait for its end.")
@profile_option
def resume(run: str, detach: bool, profile: str | None) -> None:
    """Ask for a new run that goes on with what a run on AWS, which did not complete, has got done.

    Tasks that have completed are not run again: what they returned is taken from the run's store.

    \b
    Examples:
      dagy runs resume latest
      dagy runs resume etl-20260131-142500-3fa9c1 --detach
    """
    with History(Settings.read().local_dir) as history, connected_if_any(profile) as client:
        found = found_run(history, client, run)
        if client is None or found.info is None:
            raise ConflictError(
                f"run {found.run_id!r} is not of a deployment; resume it with: dagy run FILE --resume {found.run_id}"
            )
        spec = _spec(history, client, replace(found, record=None))
        if isinstance(spec, str):
            raise SpecError(spec)
        show_deployed(client, client.run(found.run_id).resume(), spec, detach=detach)


def _tell_recovered(history: History, client: DagyClient | None) -> None:
    """Say which runs were found to be without a process, and what has become of them."""
    for run_id in history.recovered:
        output.note(f"note: run {run_id} was without a process, and has ended CRASHED now", color="yellow")
    if client is None or not client.is_local:  # a server sees to it by itself
        return
    try:
        recovered = client.recover_runs()
    except StoreError:  # it may only be read, and then somebody else sees to it
        return
    for each in recovered:
        waits = "is queued again" if each.status is StateType.QUEUED else "goes on on AWS"
        now = f"has ended {each.status} now" if each.status.is_final else waits
        output.note(f"note: run {each.run_id} was without a worker, and {now}", color="yellow")
        if not each.status.is_final:
            client.keep_awake()


def _listed(runs: Sequence[ListedRun], profile: str | None) -> str:
    deployed = any(each.deployment is not None for each in runs)
    heads = ("RUN", "FLOW", *(("DEPLOYMENT",) if deployed else ()), "STATE", "TASKS", "STARTED", "TOOK")
    rows = []
    now = time.time()
    for each in runs:
        flow = cut(plain_line(each.flow_name), 32)
        state = _sign(each.state.type) + PALETTE[each.state.type].label
        deployment = (cut(plain_line(each.deployment or ""), 40),) if deployed else ()
        rows.append((each.run_id, flow, *deployment, state, _progress(each), _started(each, now), _took(each, now)))
    return table(heads, rows, profile=profile)


def _started(run: ListedRun, now: float) -> str:
    return ago(max(0.0, now - (run.asked_at if run.started_at is None else run.started_at)))


def _took(run: ListedRun, now: float) -> str:
    if run.seconds is not None:
        return duration(run.seconds)
    return "" if run.started_at is None or run.state.is_final else f"{duration(max(0.0, now - run.started_at))} so far"


def _progress(run: ListedRun) -> str:
    done, total = run.tasks.get(StateType.COMPLETED, 0), sum(run.tasks.values())
    return f"{done:,}" if done == total else f"{done:,} of {total:,}"


def _shown(
    history: History, client: DagyClient | None, run: ListedRun, tasks: Sequence[TaskRecord | TaskRunInfo]
) -> Iterator[str]:
    yield facts(list(_facts(history, run)))
    yield ""
    yield from _tree(_spec(history, client, run), tasks)
    failed = next((_id(each) for each in tasks if _state_of(each).is_failure), None)
    if failed is not None:
        yield f"\nWhat it wrote: dagy logs {run.run_id} --task {failed}"


def _facts(history: History, run: ListedRun) -> Iterator[tuple[str, str]]:
    yield "run", run.run_id
    yield "flow", f"{run.flow_name}, version {run.label}"
    if run.deployment is not None:
        yield "deployment", run.deployment
    yield "state", f"{_sign(run.state.type)}{run.state}"
    if run.info is not None:
        yield "asked", _local(run.asked_at)
    if run.started_at is not None:
        yield "started", _local(run.started_at)
    if run.seconds is not None:
        yield "took", duration(run.seconds)
    if run.record is not None:
        owner = run.record.owner
        machine = owner.host.partition("/")[0]
        versions = f"Python {run.record.python_version}, dagy {run.record.dagy_version}"
        yield "process", f"{owner.pid} on {machine}, {versions}"
        if run.record.resumed_from is not None:
            yield "resumes", run.record.resumed_from
        if run.record.resumed_by is not None:
            yield "resumed by", run.record.resumed_by
    if (written := history.written_files(run.run_id)) is not None:
        yield "files", str(written)
    if run.info is not None:
        yield from _facts_of(run.info)
    elif run.record is not None:
        for name, value in history.parameters(run.run_id).items():
            text = "(not plain JSON)" if value.plain is None else cut(value.plain, 200)
            yield "given", f"{name} = {text}"


def _facts_of(info: RunInfo) -> Iterator[tuple[str, str]]:
    yield "code", info.code_hash
    if info.executor != LOCAL:
        yield "runs on", f"{info.executor} in {info.resources.get('region')}"
    if info.resumes is not None:
        yield "resumes", info.resumes
    if info.schedule_id is not None:
        due = "" if info.scheduled_for is None else f", due {_local(info.scheduled_for.timestamp())}"
        yield "schedule", f"{info.schedule_id}{due}"
    if info.tries > 1 and info.executor == "local":  # elsewhere it is how many have followed it
        yield "tries", str(info.tries)
    if info.cancel_reason not in (None, info.message):
        yield "cancelled", info.cancel_reason
    for name, value in info.parameters.items():
        yield "given", f"{name} = {cut(json.dumps(value, ensure_ascii=False), 200)}"
    if info.has_result:
        yield "value", cut(json.dumps(info.result, ensure_ascii=False), 200)


def _spec(history: History, client: DagyClient | None, run: ListedRun) -> FlowSpec | str:
    """The flow that ran, or why it can't be had."""
    try:
        if run.record is not None:
            return history.spec(run.run_id)
        assert run.info is not None
        assert client is not None
        info = run.info
        return FlowSpec.model_validate(
            client.flow_spec(
                info.flow_name, namespace=info.namespace, version=info.flow_version, revision=info.revision
            )
        )
    except (SpecError, UnknownFlowError) as error:
        return str(error)


def _tree(spec: FlowSpec | str, tasks: Sequence[TaskRecord | TaskRunInfo]) -> Iterator[str]:
    if isinstance(spec, str):
        yield f"its graph can't be drawn: {spec}"
        return
    states = {_id(each): _state_of(each) for each in tasks}
    details = {_id(each): duration(seconds) for each in tasks if (seconds := _seconds(each)) is not None}
    lines = text_tree(spec, states, details=details).splitlines()
    yield from lines[:_TASK_LINES]
    if len(lines) > _TASK_LINES:
        yield f"... and {len(lines) - _TASK_LINES:,} lines more"
    for name, state in states.items():
        if state.is_failure:
            yield plain_line(f"{name}: {state}")


def _tasks(history: History, client: DagyClient | None, run: ListedRun) -> Sequence[TaskRecord | TaskRunInfo]:
    if run.record is not None:
        return history.tasks(run.run_id)
    return [] if client is None else client.task_runs(run.run_id)


def _id(task: TaskRecord | TaskRunInfo) -> str:
    return task.id if isinstance(task, TaskRecord) else task.task


def _state_of(task: TaskRecord | TaskRunInfo) -> State:
    return task.state if isinstance(task, TaskRecord) else State(task.status, task.message)


def _seconds(task: TaskRecord | TaskRunInfo) -> float | None:
    if isinstance(task, TaskRecord):
        return task.seconds
    if task.started_at is None or task.ended_at is None:
        return None
    return (task.ended_at - task.started_at).total_seconds()


def _sign(state: StateType) -> str:
    return f"{PALETTE[state].sign} "


def _local(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _as_json(run: ListedRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "flow": run.flow_name,
        "version": run.flow_version,
        "deployment": run.deployment,
        "status": run.state.type,
        "message": run.state.message,
        "asked_at": _time(run.asked_at),
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
        "seconds": run.seconds,
        "tasks": dict(run.tasks),
        "resumed_from": _resumed_from(run),
        "resumed_by": None if run.record is None else run.record.resumed_by,
    }


def _resumed_from(run: ListedRun) -> str | None:
    if run.info is not None and run.info.resumes is not None:
        return run.info.resumes
    return None if run.record is None else run.record.resumed_from


def _more(info: RunInfo | None) -> dict[str, Any]:
    """What only the control plane knows of a run."""
    if info is None:
        return {}
    return {
        "revision": info.revision,
        "code_hash": info.code_hash,
        "parameters": info.parameters,
        "tags": info.tags,
        "trigger": info.trigger,
        "schedule_id": info.schedule_id,
        "scheduled_for": info.scheduled_for,
        "tries": info.tries,
        "cancel_reason": info.cancel_reason,
        "result": info.result,
        "has_result": info.has_result,
        "executor": info.executor,
    }


def _task_as_json(task: TaskRecord | TaskRunInfo) -> dict[str, Any]:
    state, seconds = _state_of(task), _seconds(task)
    started, ended = task.started_at, task.ended_at
    return {
        "id": _id(task),
        "name": task.name,
        "status": state.type,
        "message": state.message,
        "attempt": task.attempt,
        "started_at": _time(started) if isinstance(started, float) else started,
        "ended_at": _time(ended) if isinstance(ended, float) else ended,
        "seconds": seconds,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
