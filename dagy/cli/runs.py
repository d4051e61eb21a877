"""`dagy runs`: which runs there are, and how one of them went."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from dagy.cli import output
from dagy.cli.tables import cut, table
from dagy.drawing import PALETTE, ago, duration, plain_line, text_tree
from dagy.errors import SpecError
from dagy.runs import History, RunRecord, TaskRecord
from dagy.settings import Settings
from dagy.states import StateType

_STATUSES = [each.lower() for each in StateType]
_TASK_LINES = 300  # lines of a run's tasks that are shown


@click.group("runs", invoke_without_command=True, short_help="Show the runs that were recorded.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the runs that were recorded here.

    A RUN is a run's id, the start or the end of one, or "latest".

    \b
    Examples:
      dagy runs list --status failed
      dagy runs show latest
      dagy runs show 3fa9c1 --format json
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_runs)


@command.command("list", short_help="List runs, the newest first.")
@click.option("--flow", help="Only the runs of this flow.")
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only the runs in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_runs(flow: str | None = None, status: str | None = None, limit: int = 20, form: str = "table") -> None:
    """List the runs that were recorded here, the newest first.

    \b
    Examples:
      dagy runs list
      dagy runs list --flow web_scraper --status failed --limit 5
      dagy runs list --format json
    """
    with History(Settings.read().local_dir) as history:
        _tell_recovered(history)
        wanted = None if status is None else StateType(status.upper())
        found = history.runs(limit=limit, flow=flow, status=wanted)
        if form == "json":
            output.hand_over(json.dumps([_as_json(each) for each in found], indent=2))
        elif found:
            output.say("\n".join(table(_rows(found))))
        else:
            some = "no such run" if flow is not None or status is not None else "no run"
            output.note(f"{some} is recorded in {Settings.read().local_dir}")


@command.command("show", short_help="Show how a run went.")
@click.argument("run")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def show(run: str, form: str) -> None:
    """Show how a run went, task by task.

    \b
    Examples:
      dagy runs show latest
      dagy runs show web-scraper-20260131-142500-3fa9c1
      dagy runs show 3fa9c1 --format json
    """
    with History(Settings.read().local_dir) as history:
        _tell_recovered(history)
        found = history.run(run)
        tasks = history.tasks(found.run_id)
        if form == "json":
            shown = {**_as_json(found), "task_runs": [_task_as_json(each) for each in tasks]}
            output.hand_over(json.dumps(shown, indent=2))
        else:
            output.say("\n".join([*_facts(history, found), "", *_tree(history, found, tasks), *_hints(found, tasks)]))


def _tell_recovered(history: History) -> None:
    for run_id in history.recovered:
        output.note(f"note: run {run_id} was without a process, and has ended CRASHED now", color="yellow")


def _rows(runs: Sequence[RunRecord]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("RUN", "FLOW", "STATE", "TASKS", "STARTED", "TOOK")]
    now = time.time()
    for each in runs:
        took = f"{duration(max(0.0, now - each.started_at))} so far" if each.seconds is None else duration(each.seconds)
        rows.append(
            (each.run_id, cut(plain_line(each.flow_name), 32), _sign(each.status) + PALETTE[each.status].label,
             _progress(each), ago(now - each.started_at), took)
        )  # fmt: skip
    return rows


def _progress(run: RunRecord) -> str:
    done, total = run.tasks.get(StateType.COMPLETED, 0), sum(run.tasks.values())
    return f"{done:,}" if done == total else f"{done:,} of {total:,}"


def _facts(history: History, run: RunRecord) -> Iterator[str]:
    facts = [("run", run.run_id), ("flow", f"{run.flow_name}, version {run.version}"), ("state", _state(run))]
    facts.append(("started", f"{datetime.fromtimestamp(run.started_at).astimezone():%Y-%m-%d %H:%M:%S %Z}"))
    if run.seconds is not None:
        facts.append(("took", duration(run.seconds)))
    machine = run.owner.host.partition("/")[0]
    facts.append(("process", f"{run.owner.pid} on {machine}, Python {run.python_version}, dagy {run.dagy_version}"))
    if run.resumed_from is not None:
        facts.append(("resumes", run.resumed_from))
    if run.resumed_by is not None:
        facts.append(("resumed by", run.resumed_by))
    for name, value in history.parameters(run.run_id).items():
        facts.append(("given", f"{name} = {cut(value.plain, 200) if value.plain is not None else '(not plain JSON)'}"))
    width = max(len(name) for name, _ in facts)
    told = ""
    for name, text in facts:
        yield plain_line(f"{'' if name == told else name:{width}}  {text}")
        told = name


def _tree(history: History, run: RunRecord, tasks: Sequence[TaskRecord]) -> Iterator[str]:
    try:
        spec = history.spec(run.run_id)
    except SpecError as error:
        yield f"its graph can't be drawn: {error}"
        return
    states = {each.id: each.state for each in tasks}
    details = {each.id: duration(each.seconds) for each in tasks if each.seconds is not None}
    lines = text_tree(spec, states, details=details).splitlines()
    yield from lines[:_TASK_LINES]
    if len(lines) > _TASK_LINES:
        yield f"... and {len(lines) - _TASK_LINES:,} lines more"
    for each in tasks:
        if each.state.is_failure:
            yield plain_line(f"{each.id}: {each.state}")


def _hints(run: RunRecord, tasks: Sequence[TaskRecord]) -> Iterator[str]:
    failed = next((each.id for each in tasks if each.state.is_failure), None)
    if failed is not None:
        yield f"\nWhat it wrote: dagy logs {run.run_id} --task {failed}"


def _state(run: RunRecord) -> str:
    return f"{_sign(run.status)}{run.state}"


def _sign(state: StateType) -> str:
    sign = PALETTE[state].sign
    return f"{sign} " if output.can_show(sign) else ""


def _as_json(run: RunRecord) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "flow": run.flow_name,
        "version": run.version,
        "status": run.status,
        "message": run.state.message,
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
        "seconds": run.seconds,
        "tasks": dict(run.tasks),
        "resumed_from": run.resumed_from,
        "resumed_by": run.resumed_by,
    }


def _task_as_json(task: TaskRecord) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "status": task.state.type,
        "message": task.state.message,
        "attempt": task.attempt,
        "started_at": _time(task.started_at),
        "ended_at": _time(task.ended_at),
        "seconds": task.seconds,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
