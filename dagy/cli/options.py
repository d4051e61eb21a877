"""Options that many commands have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import click
from click.core import ParameterSource

Form: TypeAlias = Literal["table", "json", "yaml"]
Command = TypeVar("Command", bound=Callable[..., Any])

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)

_OF_BUILDS = (
    click.option(
        "--include",
        metavar="PATTERN",
        multiple=True,
        help="Data files to take along, such as 'data/*.csv', relative to the folder of FILE. Once for each.",
    ),
    click.option(
        "--requirements",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="What to install, instead of what the code imports.",
    ),
    click.option(
        "--target",
        "platform",
        metavar="PLATFORM",
        default="local",
        help="Where it is to run: local, lambda, lambda-arm64 or ecs. [default: local; for a deploy what suits it]",
    ),
)


def build_options(command: Command) -> Command:
    """What goes into an artifact: the arguments `include`, `requirements` and `platform`."""
    for each in reversed(_OF_BUILDS):
        command = each(command)
    return command


def refuse_options(names: Collection[str], theirs: str, kind: str, target: str) -> None:
    """A usage error when one of these options is given, which are for `theirs` and mean nothing for this target."""
    ctx = click.get_current_context()
    for each in ctx.command.params:
        if each.name in names and ctx.get_parameter_source(each.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{each.opts[0]} is for {theirs}; leave it out for {kind} {target!r}", ctx)


def confirm(question: str, *, yes: bool) -> None:
    """Go on when `yes` is given or answered; else `click.Abort`. A usage error where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked whether this is meant; give --yes")
    click.confirm(question, abort=True, err=True)


profile_option = click.option(
    "--profile", metavar="NAME", help="Which control plane: a profile of `dagy config`. [default: the default one]"
)
