"""`dagy logout`: a token is let go of."""

from __future__ import annotations

import os

import click

from dagy.cli import output
from dagy.cli.formats import profile_option
from dagy.profiles import Credentials, Profiles
from dagy.settings import Settings


@click.command("logout", short_help="Let go of a token.")
@profile_option
def command(profile: str | None) -> None:
    """Let go of the token that is kept for a profile.

    \b
    Examples:
      dagy logout
      dagy logout --profile production
    """
    local_dir = Settings.read().local_dir
    found = Profiles.read(local_dir).resolve(profile)
    whose = "" if found.name is None else f" for profile {found.name!r}"
    output.say(f"{'let go of the token' if Credentials(local_dir).forget(found) else 'there was no token'}{whose}")
    if os.environ.get("DAGY_API_KEY"):
        output.note("note: DAGY_API_KEY is set and goes on to count; unset it, too", color="yellow")
