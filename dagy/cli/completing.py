"""What a shell is offered for an argument: the names that there are. See `dagy.cli.known_names`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import click

from dagy.cli.load import load
from dagy.errors import DagyError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _offering(kind: str, *, files: bool = False) -> _Complete:
    """A `shell_complete` of click that offers what `dagy.cli.known_names.<kind>` knows, and nothing when that fails."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found: list[CompletionItem] = [CompletionItem(incomplete, type="file")] if files else []
        try:
            names = getattr(load("known_names"), kind)(ctx.params.get("profile"))
        except (DagyError, OSError):  # a message would stand in the middle of what is typed
            return found
        near = (name for name in names if name.startswith(incomplete) and name.isprintable())
        return [*map(CompletionItem, near), *found]

    return complete


deployment_names = _offering("deployment_names")
deployment_names_and_files = _offering("deployment_names", files=True)
flow_names = _offering("flow_names")
node_types = _offering("node_types")
profile_names = _offering("profile_names")
run_ids = _offering("run_ids")
schedule_ids = _offering("schedule_ids")
