"""`dagy doctor`: whether all is well with Dagy here, and what to do where it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata

import click

from dagy.aws import Aws
from dagy.cli.formats import Form, format_option, profile_option, show
from dagy.cli.planes import connected, is_there, local_store
from dagy.client.waking import WorkerLock
from dagy.deploy.infrastructure import environment
from dagy.drawing import counted
from dagy.errors import DagyError, SettingsError
from dagy.profiles import AwsTarget, Credentials, Profile, Profiles
from dagy.runs import Finding, diagnose
from dagy.settings import Settings
from dagy.states import StateType
from dagy.version import __version__

_SIGNS = {"good": "✓", "warning": "!", "bad": "✗"}
_MOST = 100  # queued runs that are counted
_OPTIONAL = ("ipython", "anywidget", "numpy", "pandas", "pyarrow")  # what Dagy does more with


@click.command("doctor", short_help="Check that all is well with Dagy here.")
@click.option("--verify", is_flag=True, help="Check every recorded run, too; this may take a while.")
@profile_option
@format_option
def command(verify: bool, profile: str | None, form: Form) -> None:
    """Check Python, SQLite, the history of runs, the profile, its control plane and its stack on AWS, and say what to
    do where something is not well.

    Runs whose process is gone are brought to their end. The exit status is 1 when something is wrong.

    \b
    Examples:
      dagy doctor
      dagy doctor --verify
      dagy doctor --format json
    """
    settings = Settings.read()
    findings = [*_here(), *diagnose(settings.local_dir, verify=verify), *_deploying(settings, profile)]
    show(form, findings, lambda: "\n".join(_lines(findings)))
    wrong = sum(each.verdict == "bad" for each in findings)
    if wrong:
        raise click.ClickException(f"{wrong} thing{'s are' if wrong > 1 else ' is'} not as it should be")


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    width = max(len(each.name) for each in findings)
    for each in findings:
        yield f"{_SIGNS[each.verdict]} {each.name:{width}}  {each.text}"


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


def _deploying(settings: Settings, name: str | None) -> Iterator[Finding]:
    """Whether the control plane can be asked, and somebody does the work."""
    yield _uv()
    try:
        profile = Profiles.read(settings.local_dir).resolve(name)
        yield Finding("profile", "good", _told(settings, profile))
        if not profile.is_local:
            yield _token(settings, profile)
        if profile.aws is not None:
            yield _aws(profile.aws)
    except SettingsError as error:
        yield Finding("profile", "bad", str(error))
        return
    if not is_there(name):
        yield Finding("control", "good", "nothing is deployed yet; dagy deploy begins")
        return
    try:
        with connected(name) as client:
            version = client.health().get("version", "")
            queued = len(client.runs(status=StateType.QUEUED, limit=_MOST).items)
    except DagyError as error:
        yield Finding("control", "bad", str(error))
        return
    where = local_store(settings) if profile.is_local else profile.api_url
    yield Finding("control", "good", f"{where} answers, dagy {version}")
    if profile.is_local:
        yield _worker(settings, queued)


def _told(settings: Settings, profile: Profile) -> str:
    here = "everything is on this machine" if settings.database_url is None else local_store(settings)
    where = profile.api_url or here
    return f"{profile.name or 'none'} ({profile.sources['name']}): {where}"


def _aws(target: AwsTarget) -> Finding:
    """Whether somebody is signed in to AWS, and the stack is there."""
    aws = Aws(region=target.region, endpoint_url=target.endpoint_url)
    try:
        where = f"{aws.region} of account {aws.account}"
        found = environment(aws, target.stack, bucket=target.bucket)
    except DagyError as error:
        return Finding("aws", "bad", str(error))
    return Finding("aws", "good", f"stack {target.stack!r} in {where}, bucket {found.bucket}")


def _token(settings: Settings, profile: Profile) -> Finding:
    found = Credentials(settings.local_dir).token(profile)
    if found is None:
        named = "" if profile.name is None else f" --profile {profile.name}"
        return Finding("token", "warning", f"none for {profile.api_url}; sign in: dagy login{named}")
    return Finding("token", "good", f"from {found.source}")


def _uv() -> Finding:
    version = _version("uv")
    if version or shutil.which("uv"):
        return Finding("uv", "good", version or str(shutil.which("uv")))
    return Finding("uv", "good", "not installed; pip does what it would, more slowly: pip install 'dagy[uv]'")


def _worker(settings: Settings, queued: int) -> Finding:
    try:
        lock = WorkerLock.alone(settings.local_dir)
    except (DagyError, OSError) as error:
        return Finding("worker", "bad", f"whether one is at work can't be known: {error}")
    if lock is None:
        return Finding("worker", "good", f"at work, {counted(queued, 'run')} queued")
    lock.release()
    if queued:
        return Finding(
            "worker", "warning", f"none is at work, and {counted(queued, 'run')} queued; start one: dagy worker"
        )
    how = "a run that is asked for starts one" if settings.auto_worker else "DAGY_AUTO_WORKER is off: dagy worker"
    return Finding("worker", "good", f"none is at work; {how}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
