"""The programs that choose and install packages: uv where it is there, pip where it is not.

Both answer the same questions in the same words, and both go by the user's own settings for indexes and sign-in.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from dagy.artifact.installed import normalized
from dagy.artifact.installer_errors import (
    explain_pip,
    explain_uv,
    pip_reason,
    refuse_environment,
    refuse_source,
    uv_reason,
)
from dagy.artifact.targets import BuildTarget
from dagy.artifact.wheels import FoundWheel
from dagy.errors import ArtifactError

_TIMEOUT_SECONDS = 900.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What wheels are wanted, and for what."""

    requirements: tuple[str, ...]
    target: BuildTarget
    python_version: str  # "3.12"
    constraints: tuple[str, ...] = ()
    preferred: Mapping[str, str] = field(default_factory=dict)  # versions by package, where nothing speaks against them
    index_options: tuple[str, ...] = ()
    folder: Path = Path()  # where the project's own settings are looked for

    @property
    def place(self) -> str:
        """`Python 3.12, AWS Lambda on x86_64 (manylinux_2_34_x86_64)`, `Python 3.12 on this machine`."""
        if self.target.is_local:
            return f"Python {self.python_version} on this machine"
        platform = self.target.platforms(self.python_version)[0]
        return f"Python {self.python_version}, {self.target.description} ({platform})"


class Installer(Protocol):
    """One of the programs."""

    @property
    def name(self) -> str:
        """What people call it."""

    def resolve(self, wanted: Wanted) -> tuple[FoundWheel, ...]:
        """One wheel for each package that is needed, sorted by name. `ArtifactError` says which can't be had.

        For this machine it is the source of a package that has no wheel, as when it is installed.
        """

    def make_environment(self, folder: Path, python: Path, requirements: Sequence[str]) -> None:
        """A virtual environment in the new `folder`, for the interpreter `python`, with the requirements installed."""


def installer() -> Installer:
    """The one to use here: uv, or else pip. `ArtifactError` when there is neither."""
    return next(installers(), None) or _no_installer()


def installers() -> Iterator[Installer]:
    """Those that are here, the better first."""
    if program := _uv():
        yield Uv(program)
    if importlib.util.find_spec("pip") is not None:
        yield Pip()


@dataclass(frozen=True, slots=True)
class Uv:
    """uv, by the path of its program."""

    program: str

    @property
    def name(self) -> str:
        """What people call it."""
        return "uv"

    def resolve(self, wanted: Wanted) -> tuple[FoundWheel, ...]:
        """See `Installer`."""
        with _written(wanted) as folder:
            lock = folder / "pylock.toml"
            if wanted.preferred:  # a lock that is there already is what uv changes least
                lock.write_text(_as_lock(wanted.preferred), encoding="utf-8")
            done = _run(
                [
                    self.program, "pip", "compile", str(folder / "requirements.in"),
                    "--constraints", str(folder / "constraints.txt"), "--python", sys.executable,
                    "--format", "pylock.toml", "--output-file", str(lock), "--quiet", "--no-header", "--color", "never",
                    *_uv_platform(wanted), *wanted.index_options,
                ],
                wanted.folder,
            )  # fmt: skip
            if done.returncode:
                explain_uv(done.stderr, wanted.place)
            return _locked(lock, wanted.target)

    def make_environment(self, folder: Path, python: Path, requirements: Sequence[str]) -> None:
        """See `Installer`."""
        quietly = ("--quiet", "--color", "never")
        done = _run([self.program, "venv", "--no-project", "--python", str(python), *quietly, str(folder)], Path())
        if done.returncode == 0 and requirements:
            done = _run(
                [self.program, "pip", "install", "--python", str(python_of(folder)), *quietly, *requirements], Path(),
            )  # fmt: skip
        if done.returncode:
            refuse_environment(uv_reason(done.stderr))


@dataclass(frozen=True, slots=True)
class Pip:
    """The pip of this Python."""

    @property
    def name(self) -> str:
        """What people call it."""
        return "pip"

    def resolve(self, wanted: Wanted) -> tuple[FoundWheel, ...]:
        """See `Installer`. Markers that ask for the platform are taken for this machine's, which pip can't help."""
        if wanted.preferred:  # pip knows no wishes, only conditions: those, and if they can't be met, without
            names = [f"{name}=={version}" for name, version in wanted.preferred.items()]
            with contextlib.suppress(ArtifactError):
                return self._resolved(replace(wanted, preferred={}, constraints=(*wanted.constraints, *names)))
        return self._resolved(wanted)

    def _resolved(self, wanted: Wanted) -> tuple[FoundWheel, ...]:
        with _written(wanted) as folder:
            report = folder / "report.json"
            done = _run(
                [
                    sys.executable, "-P", "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-input",
                    "--disable-pip-version-check", "--no-color", "--report", str(report),
                    *_pip_platform(wanted, folder / "nothing"), *wanted.index_options,
                    "--requirement", str(folder / "requirements.in"), "--constraint", str(folder / "constraints.txt"),
                ],
                wanted.folder,
            )  # fmt: skip
            if done.returncode:
                explain_pip(done.stdout + done.stderr, wanted.place)  # why sets of versions conflict is no error to it
            return _reported(report, wanted.target)

    def make_environment(self, folder: Path, python: Path, requirements: Sequence[str]) -> None:
        """See `Installer`."""
        done = _run([str(python), "-I", "-m", "venv", "--without-pip", str(folder)], Path())
        if done.returncode == 0 and requirements:
            done = _run(
                [sys.executable, "-P", "-m", "pip", "--python", str(python_of(folder)), "install", "--quiet",
                 "--no-input", "--disable-pip-version-check", "--no-color", *requirements], Path(),
            )  # fmt: skip
        if done.returncode:
            refuse_environment(pip_reason(done.stderr))


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(python_version: str) -> Path | None:
    """An interpreter of that version, `"3.12"`, on this machine; None when there is none."""
    for name in (f"python{python_version}", "python3", "python"):
        path = shutil.which(name)
        if path and _version_of(path) == python_version:
            return Path(path)
    if program := _uv():
        done = _run([program, "python", "find", "--no-project", "--offline", "--no-python-downloads", python_version],
                    Path())  # fmt: skip
        if done.returncode == 0 and _version_of(done.stdout.strip()) == python_version:
            return Path(done.stdout.strip())
    return None


def _version_of(python: str) -> str | None:
    """The version of an interpreter; None when it does not run: a shim may stand for none."""
    try:
        done = _run([python, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], Path())
    except ArtifactError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _uv() -> str | None:
    if importlib.util.find_spec("uv") is not None:
        from uv import find_uv_bin

        with contextlib.suppress(FileNotFoundError):
            return str(find_uv_bin())
    return shutil.which("uv")


def _no_installer() -> NoReturn:
    raise ArtifactError("neither uv nor pip is installed for this Python; pip install 'dagy[uv]', or install uv")


@contextlib.contextmanager
def _written(wanted: Wanted) -> Iterator[Path]:
    """A folder with the requirements and constraints as files, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="dagy-") as temporary:
        folder = Path(temporary)
        (folder / "requirements.in").write_text("\n".join(wanted.requirements) + "\n", encoding="utf-8")
        (folder / "constraints.txt").write_text("\n".join(wanted.constraints) + "\n", encoding="utf-8")
        yield folder


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            check=False, timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
    except OSError as error:
        raise ArtifactError(f"{command[0]!r} can't be started: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{command[0]!r} did not end within {_TIMEOUT_SECONDS:.0f} seconds") from error


def _uv_platform(wanted: Wanted) -> tuple[str, ...]:
    """What tells uv which platform is meant, unless it is this one."""
    if wanted.target.is_local:
        return ()
    _, glibc = wanted.target.glibc(wanted.python_version)
    platform = f"{wanted.target.machine}-manylinux_2_{glibc}"
    return ("--python-platform", platform, "--python-version", wanted.python_version, "--only-binary", ":all:")


def _pip_platform(wanted: Wanted, folder: Path) -> tuple[str, ...]:
    """The same for pip, which has to be given a `folder` to install into, though it does not."""
    if wanted.target.is_local:
        return ()
    platforms = [word for each in wanted.target.platforms(wanted.python_version) for word in ("--platform", each)]
    return (
        "--target", str(folder), "--only-binary", ":all:", "--implementation", "cp",
        "--python-version", wanted.python_version, *platforms,
    )  # fmt: skip


def _as_lock(preferred: Mapping[str, str]) -> str:
    packages = "".join(
        f"\n[[packages]]\nname = {json.dumps(name)}\nversion = {json.dumps(version)}\n"
        for name, version in sorted(preferred.items())
    )
    return f'lock-version = "1.0"\ncreated-by = "dagy"\n{packages}'


def _locked(lock: Path, target: BuildTarget) -> tuple[FoundWheel, ...]:
    """What uv's lock file chose."""
    found = []
    for package in tomllib.loads(lock.read_text("utf-8")).get("packages", ()):
        files = [*package.get("wheels", ()), *(package[each] for each in ("archive", "sdist") if each in package)]
        if not files:
            refuse_source(package["name"])
        file = files[0]  # for one platform and one Python, uv names one wheel
        url = file.get("url") or (lock.parent / file["path"]).resolve().as_uri()
        sha256 = file.get("hashes", {}).get("sha256")
        found.append(_found(package["name"], package.get("version", ""), url, sha256, target))
    return tuple(sorted(found, key=lambda each: each.name))


def _reported(report: Path, target: BuildTarget) -> tuple[FoundWheel, ...]:
    """What pip's report says that it would install."""
    found = []
    for each in json.loads(report.read_text("utf-8"))["install"]:
        name, version = each["metadata"]["name"], each["metadata"]["version"]
        archive: Mapping[str, Any] = each["download_info"].get("archive_info", {})
        sha256 = archive.get("hashes", {}).get("sha256")
        found.append(_found(name, version, each["download_info"]["url"], sha256, target))
    return tuple(sorted(found, key=lambda each: each.name))


def _found(name: str, version: str, url: str, sha256: str | None, target: BuildTarget) -> FoundWheel:
    known = sha256 if sha256 and _SHA256.fullmatch(sha256) else ""
    wheel = FoundWheel(normalized(name), version, urlsplit(url)._replace(fragment="").geturl(), known)
    if not wheel.file_name.endswith(".whl") and not (target.is_local and version):
        refuse_source(name)
    return wheel if version else replace(wheel, version=wheel.file_name.split("-")[1])
