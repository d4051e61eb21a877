"""`dagy logs`: what the tasks of a run wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from dagy.cli import output
from dagy.cli.completing import run_ids
from dagy.cli.formats import profile_option
from dagy.cli.listed_runs import found_run
from dagy.cli.planes import connected_if_any
from dagy.errors import UnknownTaskError
from dagy.runs import History, Written
from dagy.settings import Settings

if TYPE_CHECKING:
    from dagy.client import DagyClient

_LONGEST = 65_536  # characters of a line that are held back for its end


@click.command("logs", short_help="Show what the tasks of a run wrote.")
@click.argument("run", shell_complete=run_ids)
@click.option("--task", help="Only what this task wrote.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@profile_option
def command(run: str, task: str | None, follow: bool, profile: str | None) -> None:
    """Show what the tasks of a run printed and logged.

    A RUN is a run's id, the start or the end of one, or "latest". Each line begins with the task that wrote it, unless
    you ask for one task.

    \b
    Examples:
      dagy logs latest --follow
      dagy logs latest --task parse > parse.log
    """
    with History(Settings.read().local_dir) as history, connected_if_any(profile) as client:
        found = found_run(history, client, run)
        if found.record is not None:  # which has it whole
            for line in _lines(history.output(found.run_id, task=task, follow=follow), name=task is None):
                output.hand_over(line)
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


def _lines(written: Iterable[Written], *, name: bool) -> Iterator[str]:
    """Whole lines, each task's own, in the order of their ends; a line without end comes in pieces."""
    begun: dict[tuple[str, int, str], str] = {}
    for each in written:
        key = (each.task, each.attempt, each.stream)
        *whole, rest = (begun.pop(key, "") + each.text).split("\n")
        if len(rest) > _LONGEST:
            whole, rest = [*whole, rest], ""
        if rest:
            begun[key] = rest
        if whole:
            yield "\n".join([_named(line, each.task if name else "") for line in whole])
    for (task, _, _), rest in begun.items():
        yield _named(rest, task if name else "")


def _named(line: str, task: str) -> str:
    return f"{task} | {line}" if task else line
