"""`dagy cache`: the results that are kept across runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from dagy.cli import output
from dagy.cli.formats import Form, cut, format_option, show, size, table
from dagy.drawing import ago, plain_line
from dagy.runs import CachedTask, LocalCache
from dagy.settings import Settings

_TASK_WIDTH = 40  # characters


@click.group("cache", short_help="Look at the results that are kept across runs.")
def command() -> None:
    """Look at the results that are kept across runs, and let go of them.

    A task keeps its results when it says so: @task(cache=True), or cache=3600 for an hour.

    \b
    Examples:
      dagy cache why load
      dagy cache list
      dagy cache clear load
    """


@command.command("why", short_help="Say why a task was not taken from the cache.")
@click.argument("task")
def why(task: str) -> None:
    """Say why TASK was last run instead of being taken from the cache.

    \b
    Examples:
      dagy cache why load
    """
    with _cache() as cache:
        difference = cache.why(task)
    if difference is None:
        output.say(f"task {task!r} was found in the cache each time")
        return
    now = time.time()
    if difference.found_at is not None:
        output.say(f"task {task!r} was taken from the cache {ago(now - difference.found_at)}")
        output.say(f"it was last run {ago(now - difference.at)}, because it was not found then:")
    else:
        output.say(f"task {task!r} was not found in the cache {ago(now - difference.at)}:")
    for each in difference.reasons:
        output.say("\n".join(f"  {line}" for line in each.splitlines()))


@command.command("list", short_help="List the tasks that have results in the cache.")
@format_option
def list_kept(form: Form) -> None:
    """List the tasks that have results in the cache.

    \b
    Examples:
      dagy cache list
      dagy cache list --format json
    """
    with _cache() as cache:
        kept = cache.kept()
    if not kept and form == "table":
        output.note("the cache is empty; @task(cache=True) keeps a task's results")
    show(form, [_as_json(each) for each in kept], lambda: _listed(kept) if kept else "")


def _listed(kept: Sequence[CachedTask]) -> str:
    rows = [
        (cut(plain_line(each.task), _TASK_WIDTH), f"{each.results:,}", f"{each.hits:,}", size(each.size),
         ago(time.time() - each.newest_at))
        for each in kept
    ]  # fmt: skip
    return table(("TASK", "RESULTS", "HITS", "SIZE", "NEWEST"), rows)


@command.command("clear", short_help="Let go of results.")
@click.argument("task", required=False)
def clear(task: str | None) -> None:
    """Let go of all results in the cache, or of those of TASK.

    \b
    Examples:
      dagy cache clear load
      dagy cache clear
    """
    with _cache() as cache:
        count = cache.clear(task)
    output.say(f"removed {count:,} result{'' if count == 1 else 's'}")


def _as_json(kept: CachedTask) -> dict[str, object]:
    return kept._asdict() | {"newest_at": datetime.fromtimestamp(kept.newest_at, UTC)}


def _cache() -> LocalCache:
    return LocalCache(Settings.read().local_dir)
