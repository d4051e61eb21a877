"""Which wheels a set of requirements needs on a target: chosen once, and the same ever after.

A choice is kept in a file, so that a build of the same flow next week takes the same wheels, and needs no network. For
this machine only the versions are chosen: whoever makes the environment fetches them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from dagy.artifact.fetching import fetch_wheels
from dagy.artifact.half_made import write_whole
from dagy.artifact.installers import Installer, Wanted, installer
from dagy.artifact.manifest import LockedWheel
from dagy.artifact.wheels import FoundWheel, check_fits
from dagy.errors import ArtifactError

_SCHEMA = 1


def resolve(
    wanted: Wanted,
    local_dir: Path,
    *,
    hashes: Mapping[str, frozenset[str]],
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> tuple[LockedWheel, ...]:
    """The wheels, sorted by name, each in the cache of `local_dir`.

    `hashes` gives by package those that its file may have. `ArtifactError` says what can't be had, and the way out.
    """

    def fetched(found: tuple[FoundWheel, ...]) -> tuple[LockedWheel, ...]:
        return fetch_wheels(
            found,
            local_dir,
            fits=lambda file: check_fits(file, wanted.target, wanted.python_version),
            on_progress=on_progress,
        )

    path = choice_path(wanted, local_dir)
    wheels = None
    if (kept := _read(path)) is not None:
        with contextlib.suppress(ArtifactError):  # the index may not have that file any more; then choose again
            wheels = fetched(kept)
    if wheels is None:
        found = _chosen(wanted, using, on_progress)
        wheels = fetched(found)
        known = {each.name: each.sha256 for each in wheels}
        _keep(path, tuple(replace(each, sha256=known[each.name]) for each in found))
    _check_hashes(wheels, hashes)
    return wheels


def resolve_versions(
    wanted: Wanted,
    local_dir: Path,
    *,
    hashes: Mapping[str, frozenset[str]],
    using: Installer | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, str]:
    """The version of each package by its name, sorted, for an environment on this machine; nothing is fetched.

    See `resolve` for the rest.
    """
    path = choice_path(wanted, local_dir)
    found = _read(path)
    if found is None:
        found = _chosen(wanted, using, on_progress)
        _keep(path, found)
    _check_hashes(found, hashes)
    return {each.name: each.version for each in found}


def choice_path(wanted: Wanted, local_dir: Path) -> Path:
    """The file that keeps the choice. Without it wheels are chosen again, so deleting it asks for newer versions."""
    return local_dir / "locks" / f"{_key(wanted)}.json"


def _chosen(
    wanted: Wanted, using: Installer | None, on_progress: Callable[[str], None] | None
) -> tuple[FoundWheel, ...]:
    chooser = using or installer()
    if on_progress:
        what = "versions" if wanted.target.is_local else f"wheels for {wanted.target.description}"
        on_progress(f"choosing {what} with {chooser.name}")
    return chooser.resolve(wanted)


def _check_hashes(wheels: Iterable[LockedWheel | FoundWheel], hashes: Mapping[str, frozenset[str]]) -> None:
    for wheel in wheels:
        if wheel.sha256 and wheel.name in hashes and wheel.sha256 not in hashes[wheel.name]:
            raise ArtifactError(
                f"{wheel.file_name!r} has none of the hashes that the requirements give for {wheel.name!r}; "
                f"add --hash=sha256:{wheel.sha256} if it is the file that is meant"
            )


def _key(wanted: Wanted) -> str:
    """What the choice depends on: what is wanted, and which indexes the environment names."""
    indexes = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_"))}
    content = [_SCHEMA, wanted.requirements, wanted.constraints, wanted.index_options, wanted.python_version,
               wanted.target.name, sorted(wanted.preferred.items()), sorted(indexes.items())]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode(errors="replace")).hexdigest()[:32]


def _read(path: Path) -> tuple[FoundWheel, ...] | None:
    """The choice that is kept; None when there is none that can be read."""
    try:
        return tuple(FoundWheel(**each) for each in json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _keep(path: Path, found: tuple[FoundWheel, ...]) -> None:
    with contextlib.suppress(OSError):  # it is chosen again the next time
        write_whole(path, json.dumps([asdict(each) for each in found], indent=1).encode())
