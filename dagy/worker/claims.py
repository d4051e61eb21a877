"""The runs that this machine's workers have claimed and not yet reported the end of, each as a small file.

So what a worker that died left behind is known to the next one, which tells of its end.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dagy.errors import StoreError
from dagy.runs.store import safe_id
from dagy.settings import made_private


@dataclass(frozen=True, slots=True)
class ClaimNote:
    """That a worker runs a run now."""

    run_id: str
    fence: int
    worker: str  # as `owner_text` writes it
    artifact: str  # the SHA-256 of its bytes
    reported: int = 0  # how many of its events the control plane has, at least


class ClaimNotes:
    """The notes in a folder; what can't be read there is passed over. A run that was claimed twice has two."""

    def __init__(self, local_dir: Path) -> None:
        self._folder = local_dir / "claims"

    def add(self, note: ClaimNote) -> None:
        """Write it down, whole or not at all. Raises `StoreError`."""
        made_private(self._folder)
        path = self._path(note)
        half = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            half.write_text(json.dumps(asdict(note)), encoding="utf-8")
            half.replace(path)
        except OSError as error:
            raise StoreError(f"{str(path)!r} can't be written: {error.strerror}") from error

    def remove(self, note: ClaimNote) -> None:
        """The end of its run is told, or is no longer the worker's to tell."""
        with contextlib.suppress(OSError):
            self._path(note).unlink()

    def _path(self, note: ClaimNote) -> Path:
        return self._folder / f"{safe_id(note.run_id)}.{note.fence}.json"

    def __iter__(self) -> Iterator[ClaimNote]:
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, TypeError):
                yield ClaimNote(**json.loads(path.read_text("utf-8")))
