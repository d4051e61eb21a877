"""The data files that go into an artifact: those that are declared, less what should never travel.

Keys, passwords and what tools leave behind stay out even where a pattern matches them, and each such file is told, with
the reason. Links are followed only to files inside the flow's folder.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dagy.errors import ArtifactError

_MOST_LISTED = 10_000  # that a pattern may match before it is taken for a mistake

_SECRETS = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc",
    ".git-credentials", ".htpasswd", "credentials", "credentials.json", "service-account*.json",
)  # fmt: skip
_SECRET_FOLDERS = (".aws", ".azure", ".gcloud", ".ssh", ".gnupg", ".kube", ".docker", ".dagy")
_JUNK = (
    "*.pyc", "*.pyo", ".DS_Store", "Thumbs.db", "desktop.ini", "*.swp", "*~", ".coverage", ".gitignore",
    ".gitattributes",
)  # fmt: skip
_JUNK_FOLDERS = (
    ".git", ".hg", ".svn", "__pycache__", ".ipynb_checkpoints", ".venv", "node_modules", ".tox", ".nox", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", ".idea", ".vscode", "*.egg-info", "*.dist-info",
)  # fmt: skip


class LeftOut(NamedTuple):
    """A file, or a folder with all in it, that a pattern matches and that is not in the artifact."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DataFiles(NamedTuple):
    """What patterns match: `files` by their paths below the root, sorted, and what is left out of them."""

    files: tuple[tuple[str, Path], ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def data_files(patterns: Iterable[str], folder: Path, root: Path, *, without: Path | None = None) -> DataFiles:
    """What `patterns` such as `data/*.csv` match below `folder`, which is `root` or in it.

    `*` is any part of a name, and `**` any folders. A folder that is matched stands for all that is in it. `without` is
    a folder that nothing is taken from: where artifacts go. `ArtifactError` names a pattern that matches nothing, or
    that leads out of the folder.
    """
    files: dict[str, Path] = {}
    left_out: dict[str, LeftOut] = {}
    for pattern in patterns:
        found = 0
        for path, reason in _matches(folder, _steps(pattern, folder), without):
            found += 1
            if found > _MOST_LISTED:
                raise ArtifactError(f"the pattern {pattern!r} matches more than {_MOST_LISTED:,} files; narrow it")
            name = os.path.relpath(path, root).replace(os.sep, "/")
            reason = reason or _fault(Path(path), name, root)
            if reason:
                left_out[name] = LeftOut(name, reason)
            else:
                files[name] = Path(path)
        if not found:
            raise ArtifactError(
                f"nothing in {str(folder)!r} matches {pattern!r}, which is to be included; "
                "patterns are such as 'data/*.csv' or 'templates'"
            )
    return DataFiles(tuple(sorted(files.items())), tuple(left_out[name] for name in sorted(left_out)))


def _steps(pattern: str, folder: Path) -> tuple[str, ...]:
    text = pattern.replace("\\", "/")
    steps = tuple(step for step in text.split("/") if step not in ("", "."))
    if not steps or text.startswith("/") or ".." in steps or re.match(r"[A-Za-z]:", text) or "\0" in text:
        raise ArtifactError(
            f"the pattern {pattern!r} leads out of {str(folder)!r}; data files are beside the flow or in folders there"
        )
    return steps


def _matches(folder: Path, steps: tuple[str, ...], without: Path | None) -> Iterator[tuple[str, str]]:
    """The files that the steps lead to, each with the reason to leave it out, if there is one."""
    todo: list[tuple[str, frozenset[tuple[str, ...]]]] = [(str(folder), frozenset({steps}))]
    while todo:
        here, ways = todo.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            yield here, f"can't be read: {error.strerror or error}"
            continue
        for entry in entries:
            onward = _onward(ways, entry.name)
            if not onward:
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder or _leads_to_folder(entry):
                if without is not None and Path(entry.path) == without:
                    continue
                reason = _reason_of_folder(entry, is_link=not is_folder)
                if not reason:
                    todo.append((entry.path, onward))
                elif () in onward or any(way[0] == "**" for way in onward if way):
                    yield entry.path, reason
            elif () in onward:
                yield entry.path, fault_of_data(entry.name)


def _onward(ways: Iterable[tuple[str, ...]], name: str) -> frozenset[tuple[str, ...]]:
    """What is left of each way after a step to `name`; `()` when the way ends there."""
    found: set[tuple[str, ...]] = set()
    for way in ways:
        if not way:  # a folder was meant with all that is in it
            found.add(())
        elif way[0] == "**":
            found.add(way)
            found |= _onward([way[1:]], name) if way[1:] else {()}
        elif _expression((way[0],)).fullmatch(name):
            found.add(way[1:])
    return frozenset(found)


def _reason_of_folder(entry: os.DirEntry[str], *, is_link: bool) -> str:
    if is_link:
        return "a link to a folder; include that folder itself"
    if _expression(_SECRET_FOLDERS).fullmatch(entry.name):
        return "a folder of secrets"
    if _expression(_JUNK_FOLDERS).fullmatch(entry.name):
        return "left behind by a tool"
    if os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):  # noqa: PTH110, PTH118 (asked of each folder)
        return "an environment of Python's"
    return ""


def fault_of_data(name: str) -> str:
    """Why a file of that name, without a folder, should never travel; empty when it may."""
    if _expression(_SECRETS).fullmatch(name):
        return "may hold a secret"
    if _expression(_JUNK).fullmatch(name):
        return "left behind by a tool"
    return ""


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _fault(path: Path, name: str, root: Path) -> str:
    """Why the file can't go in; empty when it can."""
    try:
        real = path.resolve(strict=True)
        if name.startswith("../") or not real.is_relative_to(root.resolve()):
            return f"outside the folder of the flow, {str(root)!r}"
        if not real.is_file():
            return "not a regular file"
        if reason := fault_of_data(real.name):
            return reason
        if not os.access(real, os.R_OK):
            return "can't be read: Permission denied"
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        return f"can't be read: {getattr(error, 'strerror', None) or error}"
    return ""


@cache
def _expression(patterns: Sequence[str]) -> re.Pattern[str]:
    """What matches a name that one of the patterns matches, in upper or in lower case."""
    return re.compile("|".join(map(fnmatch.translate, patterns)), re.IGNORECASE)
