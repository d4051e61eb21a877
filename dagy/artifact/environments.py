"""An interpreter that has what an artifact was built with: this one where nothing differs, else one of its own.

An environment is made once for the same requirements, under another name, and moved into place: whoever finds it finds
it whole. Dagy itself is not in it; whoever starts the interpreter puts Dagy's folder on its path.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dagy.artifact.choosing import OWN_NAMES
from dagy.artifact.half_made import half_made
from dagy.artifact.installed import Installed, installed, normalized
from dagy.artifact.installers import Installer, find_python, installer, python_of
from dagy.artifact.manifest import PYTHON_VERSION, Manifest
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.errors import ArtifactError

_SCHEMA = 1
_MOST_SHOWN = 4  # packages in a message
_READY = "dagy-requirements.txt"  # in the environment, written last


def environment_for(
    manifest: Manifest,
    local_dir: Path,
    on_progress: Callable[[str], None] | None = None,
    *,
    using: Installer | None = None,
) -> Path:
    """The path of an interpreter that has the artifact's Python version and requirements.

    See `environment_with`.
    """
    return environment_with(manifest.requirements, manifest.python_version, local_dir, on_progress, using=using)


def environment_with(
    requirements: Sequence[str],
    python_version: str,
    local_dir: Path,
    on_progress: Callable[[str], None] | None = None,
    *,
    using: Installer | None = None,
) -> Path:
    """The path of an interpreter of that version, `"3.12"`, that has the requirements, each as `name==version`.

    It is this one when nothing differs. Otherwise it is of a virtual environment under `local_dir`, which is made when
    it is not there; `on_progress` is told before that. `ArtifactError` says what can't be had.
    """
    asked = [each for each in requirements if normalized(each.partition("==")[0]) not in OWN_NAMES]
    if python_version == PYTHON_VERSION and not asked:
        return Path(sys.executable)
    here = installed(local_dir)
    unlike = [each for each in asked if not _is_here(each, here)]
    if python_version == PYTHON_VERSION and not unlike:
        return Path(sys.executable)
    python = _python(python_version)
    wanted = (*asked, *_own_requirements(here, {normalized(each.partition("==")[0]) for each in asked}))
    key = json.dumps([_SCHEMA, python_version, str(python.resolve()), sorted(wanted)])
    folder = local_dir / "environments" / hashlib.sha256(key.encode()).hexdigest()[:20]
    if not (folder / _READY).is_file():
        if on_progress:
            on_progress(f"making an environment with {_shown(unlike) or f'Python {python_version}'}")
        with _locked(folder):
            if not (folder / _READY).is_file():  # another process may have made it meanwhile
                _make(folder, python, wanted, using or installer())
    return python_of(folder)


def _is_here(requirement: str, here: Installed) -> bool:
    name, _, version = requirement.partition("==")
    found = here.called(name)
    return found is not None and found.version == version


def _shown(requirements: Sequence[str]) -> str:
    """`humanize 4.9.0, numpy 2.2.6, pandas 2.2.3 and 3 more`."""
    names = [each.replace("==", " ") for each in requirements]
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


def _python(python_version: str) -> Path:
    if python_version == PYTHON_VERSION:
        return Path(sys.executable)
    found = find_python(python_version)
    if found is None:
        raise ArtifactError(
            f"the artifact was built for Python {python_version}, and neither the PATH nor uv has one that runs; "
            f"install it (uv python install {python_version}), or build the artifact again with Python {PYTHON_VERSION}"
        )
    return found


def _own_requirements(here: Installed, given: set[str]) -> list[str]:
    """What Dagy needs to run a flow, as it is installed here, without what the artifact asks for itself."""
    names = [each.partition(">=")[0] for each in RUNTIME_REQUIREMENTS]
    return [each.requirement for name in names if name not in given and (each := here.called(name)) and not each.url]


def _make(folder: Path, python: Path, requirements: tuple[str, ...], using: Installer) -> None:
    try:
        with half_made(folder) as half:
            using.make_environment(half, python, requirements)
            (half / _READY).write_text("\n".join(requirements) + "\n", encoding="utf-8")
            if folder.exists():  # what an older version of Dagy, or a crash of the machine, left
                folder.rename(half.with_name("old"))
            half.rename(folder)
    except OSError as error:
        raise _not_made(folder, error) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process makes an environment; the others wait for it. A lock ends with the process that has it."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder.with_name(f".{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_made(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _not_made(folder: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"an environment can't be made in {str(folder.parent)!r}: {error.strerror or error}")
