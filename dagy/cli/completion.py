"""`dagy completion`: the shell completes commands, options, and the names of what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

from dagy.cli import output
from dagy.cli.planes import connected_if_any
from dagy.errors import DagyError
from dagy.profiles import Profiles
from dagy.runs import History
from dagy.settings import Settings

_MOST = 100  # names that are offered

_Names = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command("completion", short_help="Let the shell complete what you type.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what lets SHELL complete commands, options, and the names of deployments, flows and runs.

    \b
    Examples:
      dagy completion bash > ~/.local/share/bash-completion/completions/dagy
      dagy completion zsh > ~/.zfunc/_dagy
      dagy completion fish > ~/.config/fish/completions/dagy.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click knows the three
    script = found(ctx.find_root().command, {}, "dagy", "_DAGY_COMPLETE")
    # Not `source()`: for bash it starts a bash, to warn of versions before 4.4.
    output.hand_over(script.source_template % script.source_vars())


def _offering(names: Callable[[str | None, str], Iterable[str]]) -> _Names:
    """A `shell_complete` of click that offers `names(profile, beginning)`, and nothing where they can't be had."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            return [
                CompletionItem(name)
                for name in names(ctx.params.get("profile"), incomplete)
                if name.startswith(incomplete) and name.isprintable()
            ]
        except (DagyError, OSError):  # a message would stand in the middle of what is typed
            return []

    return complete


@_offering
def deployment_names(profile: str | None, beginning: str) -> Iterable[str]:
    """The names of deployments."""
    with connected_if_any(profile) as client:
        return [] if client is None else [each.reference for each in client.deployments(limit=_MOST).items]


@_offering
def flow_names(profile: str | None, beginning: str) -> Iterable[str]:
    """The names of registered flows."""
    with connected_if_any(profile) as client:
        return [] if client is None else [each.name for each in client.flows(limit=_MOST).items]


@_offering
def run_ids(profile: str | None, beginning: str) -> Iterable[str]:
    """The ids of runs, the newest first."""
    with History(Settings.read().local_dir) as history:
        found = [each.run_id for each in history.runs(limit=_MOST)]
    with connected_if_any(profile) as client:
        deployed = [] if client is None else [each.run_id for each in client.runs(limit=_MOST).items]
    return ["latest", *dict.fromkeys([*deployed, *found])]


@_offering
def profile_names(profile: str | None, beginning: str) -> Iterable[str]:
    """The names of profiles."""
    return Profiles.read(Settings.read().local_dir).names
