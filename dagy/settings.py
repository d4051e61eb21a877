"""What the environment says about how Dagy works here, read once at a door and passed on as a value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagy.errors import SettingsError, StoreError, shown

if TYPE_CHECKING:
    from pathlib import Path

_VARIABLES = {
    "local_dir": "DAGY_LOCAL_DIR",
    "database_url": "DAGY_DATABASE_URL",
    "auto_worker": "DAGY_AUTO_WORKER",
    "verbose": "DAGY_LOCAL_VERBOSE",
}
_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off")


@dataclass(frozen=True, slots=True)
class Settings:
    """How Dagy works here. `sources` says for each setting where its value came from."""

    local_dir: Path  # absolute; where runs, their output and their results are kept
    database_url: str | None = field(
        default=None, repr=False
    )  # of the control plane's store; None: a file in local_dir
    auto_worker: bool = True  # whether a run that is asked for wakes a worker here
    verbose: bool = False  # whether the command line tells more
    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings that `environment` gives, with defaults for the rest. Touches no file.

        Raises `StoreError` when there is no place for the local folder, and `SettingsError` for a value that can't be.
        """
        from pathlib import Path

        given = {name: environment.get(variable, "") for name, variable in _VARIABLES.items()}
        sources = {name: _VARIABLES[name] if text else "the default" for name, text in given.items()}
        folder = given["local_dir"]
        try:
            local_dir = (Path(folder).expanduser() if folder else Path.home() / ".dagy").absolute()
        except (RuntimeError, FileNotFoundError) as error:  # no home, or no working directory
            raise StoreError(
                f"where to keep runs is not known ({error}); set DAGY_LOCAL_DIR to an absolute path"
            ) from error
        return cls(
            local_dir,
            database_url=given["database_url"] or None,
            auto_worker=switch(_VARIABLES["auto_worker"], environment, usual=True),
            verbose=switch(_VARIABLES["verbose"], environment),
            sources=sources,
        )


def switch(variable: str, environment: Mapping[str, str] = os.environ, *, usual: bool = False) -> bool:
    """Whether a variable says yes (true, 1, yes, on) or no; `usual` where it says nothing. Raises `SettingsError`."""
    given = environment.get(variable, "").strip().lower()
    if given in _YES:
        return True
    if given in _NO:
        return False
    if given:
        raise SettingsError(f"{variable} is {shown(given)}; it may be {', '.join(_YES)} or {', '.join(_NO)}")
    return usual


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
