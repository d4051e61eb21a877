"""The `dagy` program: its commands, loaded when asked for, and the one place that turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import NoReturn

import click

from dagy.cli import output
from dagy.errors import (
    CodeFailedError,
    DagyError,
    DefinitionError,
    DrawingError,
    ExportError,
    ParameterError,
    RunCancelledError,
    SourceError,
    TaskFailedError,
    UnknownFlowError,
    UnknownRunError,
    UnknownTaskError,
    did_you_mean,
)
from dagy.version import __version__

_COMMANDS = {  # name: (module, what `dagy --help` says of it)
    "build": ("dagy.cli.build", "Package a flow as an artifact."),
    "cache": ("dagy.cli.cache", "Look at the results that are kept across runs."),
    "doctor": ("dagy.cli.doctor", "Check that all is well with Dagy here."),
    "draw": ("dagy.cli.draw", "Draw a flow's graph without running it."),
    "export": ("dagy.cli.export", "Show a notebook as the Python module that runs."),
    "logs": ("dagy.cli.logs", "Show what the tasks of a run wrote."),
    "run": ("dagy.cli.run", "Run a flow here."),
    "runs": ("dagy.cli.runs", "Show the runs that were recorded."),
}

_HELP = """Build, draw and run data pipelines.

A TARGET is FILE.py[:FLOW], NOTEBOOK.ipynb[:FLOW] or ARTIFACT.zip.

\b
Examples:
  dagy run my_flows.py:web_scraper --param url=https://example.com
  dagy draw my_flows.py
  dagy build my_flows.py:web_scraper --output-dir ./dist
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
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
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


@click.group(
    cls=LazyGroup,
    help=_HELP,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="dagy %(version)s")
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
            dagy.main(args, prog_name="dagy", standalone_mode=False)
            output.flush()
        except Exception as error:  # noqa: BLE001 (the one place that maps errors; what it does not know, it raises)
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
            if isinstance(error, CodeFailedError | DrawingError | TaskFailedError) and error.__cause__ is not None:
                output.traceback(error.__cause__)
            output.problem(str(error))
            return _code(error)
        case OSError():
            output.problem(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
            return ExitCode.GENERAL
        case _:
            raise error


def _code(error: DagyError) -> ExitCode:
    match error:
        case FileNotFoundError() | UnknownFlowError() | UnknownRunError() | UnknownTaskError():
            return ExitCode.NOT_FOUND
        case CodeFailedError():
            return ExitCode.GENERAL
        case ParameterError() | DefinitionError() | SourceError() | ExportError():
            return ExitCode.USAGE
        case _:
            return ExitCode.GENERAL
