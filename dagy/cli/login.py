"""`dagy login`: a token is kept for a control plane."""

from __future__ import annotations

import sys

import click

from dagy.cli import output
from dagy.cli.formats import profile_option
from dagy.errors import AuthError
from dagy.profiles import Credentials, Profiles
from dagy.settings import Settings

_LONGEST = 16_384  # characters that are read of a token


@click.command("login", short_help="Keep a token for a control plane.")
@profile_option
@click.option("--token", metavar="-", help="Read the token from standard input.")
def command(profile: str | None, token: str | None) -> None:
    """Keep a token for a profile's control plane, for this user only.

    It is asked for, or read from standard input: a token on the command line could be seen by others, and is refused.
    DAGY_API_KEY in the environment comes before what is kept.

    \b
    Examples:
      dagy login --profile production
      echo "$TOKEN" | dagy login --profile production --token -
    """
    local_dir = Settings.read().local_dir
    found = Profiles.read(local_dir).resolve(profile)
    if found.api_url is None:
        raise click.UsageError(
            "there is no control plane to sign in to: everything is on this machine; "
            "`dagy config set NAME --api-url URL` names one"
        )
    if token not in {None, "-"}:
        raise click.UsageError("a token on the command line can be seen by others; give --token - and pipe it in")
    if token is None and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked for the token; give --token - and pipe it in")
    secret = _asked(found.app_url) if token is None else sys.stdin.read(_LONGEST)
    if not secret.strip():
        raise AuthError("no token was given, so none is kept")
    Credentials(local_dir).save(found, secret.strip())
    output.say(f"kept a token for {found.api_url}{'' if found.name is None else f' (profile {found.name!r})'}")


def _asked(app_url: str) -> str:
    output.note(f"make a token at {app_url}, and paste it here; it is not shown")
    secret: str = click.prompt("Token", hide_input=True, err=True)
    return secret
