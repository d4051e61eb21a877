"""What the environment says about how Dagy works here, read once at a door and passed on as a value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagy.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """How Dagy works here. `sources` says for each setting where its value came from."""

    local_dir: Path  # absolute; where runs, their output and their results are kept
    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings that `environment` gives, with defaults for the rest. Touches no file."""
        from pathlib import Path

        given = environment.get("DAGY_LOCAL_DIR", "")
        try:
            local_dir = Path(given).expanduser() if given else Path.home() / ".dagy"
            return cls(local_dir.absolute(), {"local_dir": "DAGY_LOCAL_DIR" if given else "the default"})
        except (RuntimeError, FileNotFoundError) as error:  # no home, or no working directory
            raise StoreError(
                f"where to keep runs is not known ({error}); set DAGY_LOCAL_DIR to an absolute path"
            ) from error


def made_private(folder: Path) -> Path:
    """`folder`; where it is missing it is made, for its owner's eyes only. Raises `StoreError`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(
            f"the folder {str(folder)!r} can't be made: {reason}; set DAGY_LOCAL_DIR to another"
        ) from error
    return folder
