"""`dagy doctor`: whether all is well with Dagy here, and what to do where it is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import click

from dagy.cli import output
from dagy.runs import Finding, diagnose
from dagy.settings import Settings
from dagy.version import __version__

_SIGNS = {"good": ("✓", "+"), "warning": ("!", "!"), "bad": ("✗", "x")}
_OPTIONAL = ("ipython", "anywidget", "numpy", "pandas", "pyarrow")  # what Dagy does more with


@click.command("doctor", short_help="Check that all is well with Dagy here.")
@click.option("--verify", is_flag=True, help="Check every recorded run, too; this may take a while.")
def command(verify: bool) -> None:
    """Check Python, SQLite and the history of runs here, and say what to do where something is not well.

    Runs whose process is gone are brought to their end. The exit status is 1 when something is wrong.

    \b
    Examples:
      dagy doctor
      dagy doctor --verify
    """
    settings = Settings.read()
    findings = [*_here(), *diagnose(settings.local_dir, verify=verify)]
    width = max(len(each.name) for each in findings)
    for each in findings:
        good, plain = _SIGNS[each.verdict]
        output.say(f"{good if output.can_show(good) else plain} {each.name:{width}}  {each.text}")
    wrong = sum(each.verdict == "bad" for each in findings)
    if wrong:
        raise click.ClickException(f"{wrong} thing{'s are' if wrong > 1 else ' is'} not as it should be")


def _here() -> Iterator[Finding]:
    yield Finding("python", "good", f"{sys.version.split()[0]} at {sys.executable}")
    yield Finding("dagy", "good", __version__)
    yield _processes()
    have = {name: _version(name) for name in _OPTIONAL}
    found = ", ".join(f"{name} {version}" for name, version in have.items() if version)
    missing = ", ".join(name for name, version in have.items() if not version)
    yield Finding("packages", "good", f"{found or 'none'}{missing and f'; not installed: {missing}'}")


def _processes() -> Finding:
    try:
        done = subprocess.run([sys.executable, "-I", "-c", ""], check=False, timeout=30, capture_output=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("processes", "bad", f"tasks with a timeout can't run: a process can't be started: {error}")
    if done.returncode:
        return Finding("processes", "bad", f"tasks with a timeout can't run: {sys.executable} ended {done.returncode}")
    return Finding("processes", "good", "tasks can run in processes of their own")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
