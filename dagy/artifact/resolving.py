"""Which wheels a set of requirements needs on a target: chosen once, and the same ever after.

A choice is kept in a file, so that a build of the same flow next week takes the same wheels, and needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from dagy.artifact.fetching import fetch_wheels
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
        chooser = using or installer()
        if on_progress:
            on_progress(f"choosing wheels for {wanted.target.description} with {chooser.name}")
        found = chooser.resolve(wanted)
        wheels = fetched(found)
        known = {each.name: each.sha256 for each in wheels}
        _keep(path, tuple(replace(each, sha256=known[each.name]) for each in found))
    _check_hashes(wheels, hashes)
    return wheels


def choice_path(wanted: Wanted, local_dir: Path) -> Path:
    """The file that keeps the choice. Without it wheels are chosen again, so deleting it asks for newer versions."""
    return local_dir / "locks" / f"{_key(wanted)}.json"


def _check_hashes(wheels: tuple[LockedWheel, ...], hashes: Mapping[str, frozenset[str]]) -> None:
    for wheel in wheels:
        if wheel.name in hashes and wheel.sha256 not in hashes[wheel.name]:
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
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".lock-", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump([asdict(each) for each in found], file, indent=1)
        Path(temporary).replace(path)
