"""`dagy config`: profiles, asked for one question at a time, or set by scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from dagy.cli import output
from dagy.cli.completing import profile_names
from dagy.cli.formats import Form, facts, format_option, plain, profile_option, show, table
from dagy.cli.planes import local_store
from dagy.errors import SettingsError
from dagy.profiles import TABLE_FORMAT, AwsTarget, Credentials, Profile, Profiles, checked_url
from dagy.settings import Settings

_HEADS = ("PROFILE", "DEFAULT", "API URL", "TABLES", "CHANGED")


@click.group("config", invoke_without_command=True, short_help="Make, change and choose profiles.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make, change, choose and delete profiles: which control plane the commands talk to.

    Without a command it asks, step by step. The profiles are in config.yaml, in the folder of `dagy config path`.

    \b
    Examples:
      dagy config
      dagy config set production --api-url https://dagy.example.com --default
      dagy config show
      dagy config use production
    """
    if ctx.invoked_subcommand is None:
        _ask(_profiles())


@command.command("show", short_help="Show the profiles, and what counts now.")
@profile_option
@format_option
def show_profiles(profile: str | None, form: Form) -> None:
    """Show the profiles there are, which one counts now, and where each of its values came from.

    \b
    Examples:
      dagy config show
      dagy config show --format json
    """
    profiles = _profiles()
    counts = profiles.resolve(profile)

    def as_text() -> str:
        settings = Settings.read()
        here = "everything is on this machine" if settings.database_url is None else local_store(settings)
        now = [
            ("profile", f"{counts.name or 'none'} ({counts.sources['name']})"),
            ("api_url", f"{counts.api_url or f'none: {here}'} ({counts.sources['api_url']})"),
            ("app_url", f"{counts.app_url} ({counts.sources['app_url']})"),
            ("table_format", f"{counts.table_format} ({counts.sources['table_format']})"),
            *(("aws", text) for text in _aws(counts.aws)),
            ("file", str(profiles.path)),
        ]
        rows = [_row(profiles, name) for name in profiles.names]
        return "\n\n".join([*([table(_HEADS, rows, profile=profile)] if rows else []), facts(now)])

    data = {
        "path": profiles.path,
        "default_profile": profiles.default,
        "profiles": {name: _as_json(profiles[name]) for name in profiles.names},
        "counts": {"name": counts.name, **_as_json(counts), "sources": counts.sources},
    }
    show(form, data, as_text)


@command.command("set", short_help="Make a profile, or change one.")
@click.argument("name", shell_complete=profile_names)
@click.option("--api-url", help="The control plane's address; an empty one means this machine.")
@click.option("--app-url", help="Where people sign in.")
@click.option("--table-format", help=f"How tables look on a terminal. [default: {TABLE_FORMAT}]")
@click.option("--default", "is_default", is_flag=True, help="Let it count where none is asked for.")
def set_profile(
    name: str, api_url: str | None, app_url: str | None, table_format: str | None, is_default: bool
) -> None:
    """Make a profile, or change what is given of one.

    \b
    Examples:
      dagy config set production --api-url https://dagy.example.com --default
      dagy config set production --table-format github
    """
    given = {"api_url": api_url, "app_url": app_url, "table_format": table_format}
    values = {key: value or None for key, value in given.items() if value is not None}
    for key in ("api_url", "app_url"):
        if values.get(key):
            checked_url(str(values[key]), f"--{key.replace('_', '-')}")
    if values.get("table_format"):
        _check_format(str(values["table_format"]))
    profiles = _profiles()
    is_new = name not in profiles.names
    profiles.set(name, values)
    if is_default:
        profiles.set_default(name)
    output.say(f"{'made' if is_new else 'changed'} profile {name!r} in {profiles.path}")


@command.command("use", short_help="Choose the profile that counts where none is asked for.")
@click.argument("name", shell_complete=profile_names)
def use(name: str) -> None:
    """Choose the profile that counts where neither --profile nor DAGY_PROFILE says another.

    \b
    Examples:
      dagy config use production
    """
    _profiles().set_default(name)
    output.say(f"profile {name!r} counts from now on")


@command.command("delete", short_help="Let go of a profile.")
@click.argument("name", shell_complete=profile_names)
def delete(name: str) -> None:
    """Let go of a profile, and of its token.

    \b
    Examples:
      dagy config delete staging
    """
    _delete(_profiles(), name)
    output.say(f"deleted profile {name!r}")


@command.command("path", short_help="Say where the profiles are.")
def path() -> None:
    """Print the path of the file that holds the profiles.

    \b
    Examples:
      dagy config path
    """
    output.say(str(_profiles().path))


def _ask(profiles: Profiles) -> None:
    """Do what is chosen from a list until nothing more is."""
    if not sys.stdin.isatty():
        raise click.UsageError("dagy config asks questions; in a script use `dagy config set|use|delete|show|path`")
    while True:
        for name in profiles.names:
            at = profiles[name].api_url or "this machine"
            output.note(f"  {name}{' (default)' if name == profiles.default else ''}: {at}")
        chosen = _choice("What next", ["create", "edit", "default", "delete", "done"], "done")
        try:
            match chosen:
                case "create":
                    _edit(profiles, click.prompt("Name of the profile", err=True))
                case "edit" if profiles.names:
                    _edit(profiles, _choice("Which one", profiles.names, profiles.default))
                case "default" if profiles.names:
                    profiles.set_default(_choice("Which one", profiles.names, profiles.default))
                case "delete" if profiles.names:
                    name = _choice("Which one", profiles.names, None)
                    if click.confirm(f"Delete profile {name!r}?", err=True):
                        _delete(profiles, name)
                case "done":
                    return
                case _:
                    output.note("there is no profile yet; create one")
        except SettingsError as error:
            output.problem(str(error))


def _delete(profiles: Profiles, name: str) -> None:
    """Let go of the profile and of what is kept for it, which no `dagy logout` could name any more."""
    profiles.delete(name)
    Credentials(profiles.path.parent).forget(Profile(name))


def _edit(profiles: Profiles, name: str) -> None:
    now = profiles[name] if name in profiles.names else Profile(name)
    api_url = click.prompt(
        "API URL, empty for this machine", default=now.api_url or "", show_default=bool(now.api_url), err=True
    )
    form = click.prompt("Format of tables", default=now.table_format, err=True)
    if api_url:
        checked_url(api_url, "the API URL")
    _check_format(form)
    profiles.set(name, {"api_url": api_url or None, "table_format": form})
    if profiles.default is None or (
        name != profiles.default and click.confirm(f"Let {name!r} be the default?", err=True)
    ):
        profiles.set_default(name)


def _choice(question: str, known: Sequence[str], default: str | None) -> str:
    chosen: str = click.prompt(question, type=click.Choice(known), default=default, err=True)
    return chosen


def _check_format(name: str) -> None:
    import tabulate

    if name not in tabulate.tabulate_formats:
        raise SettingsError(f"no table has the format {name!r}; there are {', '.join(tabulate.tabulate_formats)}")


def _row(profiles: Profiles, name: str) -> tuple[str, ...]:
    found = profiles[name]
    is_default = "yes" if name == profiles.default else ""
    return name, is_default, found.api_url or "this machine", found.table_format, found.last_updated or ""


def _aws(target: AwsTarget | None) -> Iterator[str]:
    """Where deployments go on AWS, and where that is said."""
    if target is None:
        yield "none: deployments stay on this machine (dagy aws init)"
        return
    for key in ("stack", "region", "endpoint_url", "bucket"):
        value = getattr(target, key)
        if value is not None:
            yield f"{key} {value} ({target.sources.get(key, 'the default')})"


def _as_json(profile: Profile) -> dict[str, object]:
    return {
        "api_url": profile.api_url,
        "app_url": profile.app_url,
        "table_format": profile.table_format,
        "last_updated": profile.last_updated,
        "aws": plain(profile.aws),
    }


def _profiles() -> Profiles:
    return Profiles.read(Settings.read().local_dir)
