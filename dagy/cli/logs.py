"""`dagy logs`: what the tasks of a run wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from dagy.cli import output
from dagy.runs import History, Written
from dagy.settings import Settings

_LONGEST = 65_536  # characters of a line that are held back for its end


@click.command("logs", short_help="Show what the tasks of a run wrote.")
@click.argument("run")
@click.option("--task", help="Only what this task wrote.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
def command(run: str, task: str | None, follow: bool) -> None:
    """Show what the tasks of a run printed and logged.

    A RUN is a run's id, the start or the end of one, or "latest". Each line begins with the task that wrote it, unless
    you ask for one task.

    \b
    Examples:
      dagy logs latest --follow
      dagy logs 3fa9c1 --task parse > parse.log
    """
    with History(Settings.read().local_dir) as history:
        found = history.run(run)
        wrote = history.output(found.run_id, task=task, follow=follow)
        for line in _lines(wrote, name=task is None):
            output.hand_over(line)
        if follow:
            output.note(f"run {found.run_id}: {history.run(found.run_id).state}")


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
