"""The `dagy` program: its commands, loaded when asked for, and the one place that turns errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import NoReturn

import click

from dagy.cli import output
from dagy.cli.load import load
from dagy.errors import (
    AuthError,
    CodeFailedError,
    DagyError,
    DefinitionError,
    DrawingError,
    ExportError,
    NetworkError,
    ParameterError,
    RunCancelledError,
    SettingsError,
    SourceError,
    TaskFailedError,
    UnknownDeploymentError,
    UnknownFlowError,
    UnknownNodeError,
    UnknownRunError,
    UnknownScheduleError,
    UnknownTaskError,
    did_you_mean,
    sentence,
)
from dagy.settings import switch
from dagy.version import __version__

_COMMANDS = {  # name: (module of `dagy.cli`, what `dagy --help` says of it)
    "artifact": ("artifact", "Look into artifacts, check and compare them."),
    "aws": ("aws", "Make, show and remove what runs on AWS need."),
    "build": ("build", "Package a flow as an artifact."),
    "cache": ("cache", "Look at the results that are kept across runs."),
    "completion": ("completion", "Let the shell complete what you type."),
    "config": ("config", "Make, change and choose profiles."),
    "deploy": ("deploy", "Let runs be asked for by a name."),
    "deployments": ("deployments", "Show and delete deployments."),
    "doctor": ("doctor", "Check that all is well with Dagy here."),
    "draw": ("draw", "Draw a flow's graph without running it."),
    "export": ("export", "Show a notebook as the Python module that runs."),
    "flows": ("flows", "Show the flows that were registered."),
    "login": ("login", "Keep a token for a control plane."),
    "logout": ("logout", "Let go of a token."),
    "logs": ("logs", "Show what the tasks of a run wrote."),
    "nodes": ("nodes", "Show node types, and check graphs made of them."),
    "run": ("run", "Run a flow here, or a deployment."),
    "runs": ("runs", "Show the runs there were, and cancel one."),
    "schedules": ("schedules", "Let deployments run by themselves."),
    "worker": ("worker", "Run what is queued, and what schedules are due."),
}

_HELP = """Build, draw, run, deploy and schedule data pipelines.

A TARGET is FILE.py[:FLOW], NOTEBOOK.ipynb[:FLOW], GRAPH.json or ARTIFACT.zip, and of `dagy run` the name of a
deployment, too.

\b
Examples:
  dagy run my_flows.py:web_scraper --param url=https://example.com
  dagy build my_flows.py:web_scraper --output-dir ./dist
  dagy deploy my_flows.py:web_scraper --deployment web-scraper
  dagy run web-scraper --param url=https://example.com
  dagy runs list
"""


class ExitCode(IntEnum):
    """What the program's exit status means."""

    SUCCESS = 0
    GENERAL = 1  # the run failed, or an error without a code of its own
    USAGE = 2  # the command was typed wrong
    AUTH = 3  # not signed in, or not allowed
    NETWORK = 4  # a server could not be reached
    NOT_FOUND = 5  # the file, the flow or the run is not there
    CANCELLED = 130  # Ctrl-C, as shells count it


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = load(_COMMANDS[cmd_name][0]).command
        _tell_how_much(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with; a usage error that names the nearest one when there is none."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], _COMMANDS) or f"; the commands are {', '.join(_COMMANDS)}"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


_QUIET = "Print results and errors alone."
_VERBOSE = "Print more, and where in Dagy an error came from."


def _set_volume(ctx: click.Context, option: click.Parameter, is_given: bool) -> None:
    """Let `output` print as much as was asked for, before or after the command's name."""
    if not is_given or ctx.resilient_parsing:
        return
    wanted = output.Volume(option.name)
    if ctx.meta.setdefault(_set_volume.__name__, wanted) is not wanted:
        raise click.UsageError("--quiet and --verbose contradict each other; give one of them", ctx)
    output.set_volume(wanted)


def _tell_how_much(command: click.Command) -> None:
    """Let the command, and those in it, take --quiet and --verbose as well."""
    taken = {option for each in command.params for option in each.opts}
    for short, long, text in (("-q", "--quiet", _QUIET), ("-v", "--verbose", _VERBOSE)):
        if long not in taken:
            options = [each for each in (short, long) if each not in taken]
            command.params.append(
                click.Option(options, is_flag=True, expose_value=False, callback=_set_volume, help=text)
            )
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _tell_how_much(each)


@click.group(
    cls=LazyGroup,
    help=_HELP,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="dagy %(version)s")
@click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_set_volume, help=_QUIET)
@click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_set_volume, help=_VERBOSE)
@click.pass_context
def dagy(ctx: click.Context) -> None:
    """Show the help when no command is given."""
    if ctx.invoked_subcommand is None:
        output.say(ctx.get_help())


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the program with `args` (those of the process by default) and exit with an `ExitCode`."""
    output.prepare_streams()
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> ExitCode:
    """Run the program and return how it went; what went wrong has been said on stderr."""
    try:
        try:
            output.set_volume(output.Volume.VERBOSE if switch("DAGY_LOCAL_VERBOSE") else output.Volume.USUAL)
            dagy.main(args, prog_name="dagy", standalone_mode=False)
            output.flush()
        except Exception as error:  # noqa: BLE001 (the one place that maps errors)
            return _report(error)
        except KeyboardInterrupt:
            output.problem("stopped")
            return ExitCode.CANCELLED
    except BrokenPipeError:
        output.abandon_streams()
        return ExitCode.GENERAL
    return ExitCode.SUCCESS


def _report(error: Exception) -> ExitCode:
    """Say what went wrong, and return the code for it."""
    match error:
        case BrokenPipeError():
            raise error
        case click.UsageError():
            hint = f"{error.ctx.command_path} --help" if error.ctx else "dagy --help"
            output.problem(f"{error.format_message()}\nTry '{hint}'.")
            return ExitCode.USAGE
        case click.ClickException():
            output.problem(error.format_message())
            return ExitCode(error.exit_code)
        case click.Abort() | RunCancelledError():
            output.problem(str(error) or "stopped")
            return ExitCode.CANCELLED
        case DagyError():
            if output.volume() is output.Volume.VERBOSE:
                output.whole_traceback(error)
            elif isinstance(error, CodeFailedError | DrawingError | TaskFailedError) and error.__cause__ is not None:
                output.traceback(error.__cause__)
            output.problem(str(error))
            return _code(error)
        case OSError():
            output.problem(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
            return ExitCode.GENERAL
        case _:
            if output.volume() is output.Volume.VERBOSE:
                output.whole_traceback(error)
                output.problem(f"{sentence(error)}\nThis is a defect in Dagy; please report it with what stands above.")
            else:
                output.problem(
                    f"{sentence(error)}\nThis is a defect in Dagy; add --verbose to see where, and report it."
                )
            return ExitCode.GENERAL


def _code(error: DagyError) -> ExitCode:
    match error:
        case FileNotFoundError() | UnknownFlowError() | UnknownRunError() | UnknownTaskError():
            return ExitCode.NOT_FOUND
        case UnknownDeploymentError() | UnknownNodeError() | UnknownScheduleError():
            return ExitCode.NOT_FOUND
        case AuthError():
            return ExitCode.AUTH
        case NetworkError():
            return ExitCode.NETWORK
        case CodeFailedError():
            return ExitCode.GENERAL
        case ParameterError() | DefinitionError() | SourceError() | ExportError() | SettingsError():
            return ExitCode.USAGE
        case _:
            return ExitCode.GENERAL
