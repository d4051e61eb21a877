"""`dagy logs`: what the tasks of a run wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from dagy import client as clients
from dagy.cli import output
from dagy.cli.completing import run_ids
from dagy.cli.formats import profile_option
from dagy.cli.listed_runs import ListedRun, found_run
from dagy.cli.planes import connected_beside_history
from dagy.client.lines import Lines
from dagy.control.records import LOCAL
from dagy.errors import ParameterError, UnknownTaskError
from dagy.runs import History, Written
from dagy.settings import Settings

if TYPE_CHECKING:
    from dagy.client import DagyClient


@click.command("logs", short_help="Show what the tasks of a run wrote.")
@click.argument("run", shell_complete=run_ids)
@click.option("--task", help="Only what this task wrote.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option(
    "--aws", is_flag=True, help="What CloudWatch has of it, as it is: also of what died before it could tell."
)
@profile_option
def command(run: str, task: str | None, follow: bool, aws: bool, profile: str | None) -> None:
    """Show what the tasks of a run printed and logged.

    A RUN is a run's id, the start or the end of one, or "latest". Each line begins with the task that wrote it, unless
    you ask for one task.

    \b
    Examples:
      dagy logs latest --follow
      dagy logs latest --task parse > parse.log
      dagy logs latest --aws
    """
    if aws and (follow or task is not None):
        raise click.UsageError("--aws shows all that CloudWatch has until now; leave --task and --follow out")
    with History(Settings.read().local_dir) as history, connected_beside_history(profile) as client:
        found = found_run(history, client, run)
        if aws:
            _show_raw(found)
        elif found.record is not None:  # which has it whole
            for piece in _pieces(history.output(found.run_id, task=task, follow=follow), Lines(task)):
                output.hand_over(piece)
        elif client is not None:
            _show_deployed(client, found.run_id, task=task, follow=follow)
        if follow and client is not None and found.info is not None:
            client.run(found.run_id).wait()  # who runs it may not have said yet that it has ended
        if follow:
            output.note(f"run {found.run_id}: {found_run(history, client, found.run_id).state}")


def _show_deployed(client: DagyClient, run_id: str, *, task: str | None, follow: bool) -> None:
    """Print what a run wrote that another machine runs, or that nobody runs yet."""
    deployed = client.run(run_id)
    known = [each.task for each in deployed.task_runs()]
    if task is not None and known and task not in known:
        raise UnknownTaskError(task, known, where=f"run {run_id!r}")
    for line in deployed.logs(task, follow=True) if follow else deployed.logs(task).splitlines():
        output.hand_over(line)


def _show_raw(run: ListedRun) -> None:
    """Print the lines that AWS has of a run."""
    if run.info is None or run.info.executor == LOCAL:
        raise ParameterError(f"run {run.run_id!r} is not on AWS; what it wrote: dagy logs {run.run_id}")
    is_empty = True
    for line in clients.log_lines(run.info):
        output.hand_over(f"{line.at.isoformat(timespec='milliseconds')} {line.text}")
        is_empty = False
    if is_empty:
        output.note(f"CloudWatch has no lines of run {run.run_id}; they come some seconds late", color="yellow")


def _pieces(written: Iterable[Written], lines: Lines) -> Iterator[str]:
    """What there is to print, as soon as it ends whole lines."""
    for each in written:
        if whole := lines.added(each.task, each.attempt, each.stream, each.text):
            yield "\n".join(whole)
    yield from lines.unfinished()
