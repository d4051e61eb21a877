"""`dagy completion`: the shell completes commands, options, and the names of what there is."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dagy.cli import output


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
    output.hand_over((script.source_template % script.source_vars()).strip("\n"))
