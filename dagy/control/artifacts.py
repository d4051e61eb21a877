"""The artifacts' files: one folder, each file named by the SHA-256 of its bytes, and never changed.

A file counts once it has been verified: what is checked is the copy that is kept, so nobody can change it after.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dagy import artifact
from dagy.errors import ArtifactError, StoreError, shown
from dagy.runs.faults import point
from dagy.settings import made_private

if TYPE_CHECKING:
    from dagy.artifact import Manifest

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HALF = ".artifact-"  # how the name of a copy begins that is not verified yet
_HALF_SECONDS = 86_400  # nobody takes as long to copy one


@dataclass(frozen=True, slots=True)
class KeptFile:
    """An artifact's file in the folder."""

    sha256: str
    size: int  # bytes
    manifest: Manifest


class ArtifactFiles:
    """The files in `folder`, which is made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, source: Path) -> KeptFile:
        """Keep a copy of the artifact at `source`; of one that is there already, nothing is written.

        Raises `MissingArtifactError` when there is no such file, `ArtifactError` when it is not one to trust, and
        `StoreError` when the copy can't be made.
        """
        try:
            if not source.exists():
                raise artifact.MissingArtifactError(f"there is no file {str(source)!r} (looked in {Path.cwd()})")
            if not source.is_file():
                raise ArtifactError(f"{str(source)!r} is not a file")
            sha256 = _digest(source)
            kept = self.folder / f"{sha256}.zip"
            if kept.is_file() and _digest(kept) == sha256:
                return KeptFile(sha256, kept.stat().st_size, artifact.read_manifest(kept))
            return self._copied(source)
        except OSError as error:
            if isinstance(error, ArtifactError | StoreError):
                raise
            raise StoreError(
                f"the artifact {str(source)!r} can't be kept in {str(self.folder)!r}: {error.strerror or error}"
            ) from error

    def path(self, sha256: str) -> Path:
        """Where the artifact of that digest is. Raises `MissingArtifactError` when it is not there."""
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise artifact.MissingArtifactError(
                f"{shown(sha256)} is not the SHA-256 of an artifact: 64 lower-case hex digits"
            )
        path = self.folder / f"{sha256}.zip"
        if not path.is_file():
            raise artifact.MissingArtifactError(
                f"the artifact {sha256[:12]} is not in {str(self.folder)!r}; deploy it again"
            )
        return path

    def manifest(self, sha256: str) -> Manifest:
        """What that artifact says of itself. Raises as `path`."""
        return artifact.read_manifest(self.path(sha256))

    def _copied(self, source: Path) -> KeptFile:
        made_private(self.folder.parent)  # a parent that is made on the way is not private
        made_private(self.folder)
        self._remove_leftovers()
        descriptor, name = tempfile.mkstemp(prefix=_HALF, suffix=".zip", dir=self.folder)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as copy, source.open("rb") as original:
                shutil.copyfileobj(original, copy)
                copy.flush()
                os.fsync(copy.fileno())
            with _called(source, temporary), artifact.open_artifact(temporary) as opened:
                opened.verify()
                manifest = opened.manifest
            sha256 = _digest(temporary)
            point("artifacts.before_rename")
            temporary.replace(self.folder / f"{sha256}.zip")
            _make_lasting(self.folder)
            return KeptFile(sha256, (self.folder / f"{sha256}.zip").stat().st_size, manifest)
        finally:
            temporary.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove the copies of who died over them."""
        for each in self.folder.glob(f"{_HALF}*"):
            with contextlib.suppress(OSError):  # another process removes it
                if each.stat().st_mtime < time.time() - _HALF_SECONDS:
                    each.unlink()


@contextlib.contextmanager
def _called(source: Path, temporary: Path) -> Iterator[None]:
    """Name the file that the caller knows in what is said of the copy."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(str(error).replace(str(temporary), str(source))) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_lasting(folder: Path) -> None:
    """The folder's new names outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
