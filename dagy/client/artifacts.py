"""Artifacts on their way: what a file's digest is, and how one arrives whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dagy import artifact
from dagy.control.api import Request, Response
from dagy.errors import ArtifactError, shown

_SHA256 = re.compile(r"[0-9a-f]{64}")


def digest_of(path: Path) -> str:
    """The SHA-256 of the file's bytes, in hex. Raises `ArtifactError` when it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise artifact.MissingArtifactError(f"there is no file {str(path)!r} (looked in {Path.cwd()})") from error
    except OSError as error:
        raise ArtifactError(f"{str(path)!r} can't be read: {error.strerror or error}") from error


def kept(sha256: str, folder: Path) -> Path | None:
    """The artifact that arrived in `folder` before; None when it did not, or is no longer what it was."""
    if not _SHA256.fullmatch(sha256):
        raise ArtifactError(f"{shown(sha256)} is not the SHA-256 of an artifact: that is 64 digits of 0-9 and a-f")
    path = folder / f"{sha256}.zip"
    return path if path.is_file() and digest_of(path) == sha256 else None


@dataclass(frozen=True, slots=True)
class Arrival:
    """An artifact that is on its way into a folder."""

    sha256: str
    path: Path  # where it is to be
    temporary: Path  # where it is written meanwhile

    def asked(self, request: Request) -> Request:
        """The request, with where its answer goes."""
        return replace(request, save_as=self.temporary)

    def taken(self, response: Response) -> Path:
        """The artifact in its place. `ArtifactError` when it is another than was asked for."""
        assert response.file is not None
        if response.file != self.temporary:  # the store's own
            shutil.copyfile(response.file, self.temporary)
        if digest_of(self.temporary) != self.sha256:
            raise ArtifactError(f"what arrived as the artifact {self.sha256} is another one; try again")
        os.replace(self.temporary, self.path)  # noqa: PTH105 (as elsewhere: what is replaced comes second)
        return self.path


@contextlib.contextmanager
def arriving(sha256: str, folder: Path) -> Iterator[Arrival]:
    """An artifact on its way into `folder`; nothing is left of it when it does not arrive."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".arriving-", dir=folder)
        os.close(descriptor)
    except OSError as error:
        raise ArtifactError(f"nothing can be written to {str(folder)!r}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield Arrival(sha256, folder / f"{sha256}.zip", temporary)
    finally:
        temporary.unlink(missing_ok=True)
