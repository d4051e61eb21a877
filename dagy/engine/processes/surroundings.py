"""What code finds around it, and a worker takes on from the process that calls it."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

_MODULES: list[str] = []


def import_in_workers(module: str) -> Callable[[], None]:
    """Have workers import `module` before their next call, for what it does; call what is returned to end that."""
    _MODULES.append(module)
    return lambda: _MODULES.remove(module)


class Surroundings(NamedTuple):
    """The working directory (None when it is gone), the environment, Python's path and arguments, log levels.

    And the modules to import.
    """

    directory: str | None
    environment: dict[bytes, bytes]
    path: list[str]
    arguments: list[str]
    levels: dict[str, int]  # of the loggers that have one of their own; "" is what is disabled for all
    modules: list[str]  # see `import_in_workers`

    def hold(self) -> bool:
        """Whether this process has just these."""
        return (
            self.environment == _environment()
            and self.path == sys.path
            and self.arguments == sys.argv
            and self.levels == _levels()
            and self.modules == _MODULES
            and self.directory == _directory()
        )

    def take_on(self) -> None:
        """Make them those of this process; `OSError` when the directory is gone."""
        if self.directory is not None and _directory() != self.directory:
            os.chdir(self.directory)
        if _environment() != self.environment:
            wanted = {os.fsdecode(name): os.fsdecode(value) for name, value in self.environment.items()}
            for name in os.environ.keys() - wanted.keys():
                del os.environ[name]
            os.environ.update(wanted)
        if sys.path != self.path:
            sys.path[:] = self.path
        if sys.argv != self.arguments:
            sys.argv[:] = self.arguments
        found = _levels()
        if found != self.levels:
            for name in {**found, **self.levels}:
                if name:
                    logging.getLogger(name).setLevel(self.levels.get(name, logging.NOTSET))
            logging.disable(self.levels[""])
        for name in self.modules:
            importlib.import_module(name)


def current_surroundings() -> Surroundings:
    """Those of this process, now."""
    return Surroundings(_directory(), dict(_environment()), list(sys.path), list(sys.argv), _levels(), list(_MODULES))


def _directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 (a text, to compare)
    except OSError:
        return None


def _environment() -> dict[bytes, bytes]:
    """The environment as `os.environ` holds it: comparing that costs a hundredth of reading it."""
    return os.environ._data  # type: ignore[attr-defined,no-any-return]  # nothing public is as cheap


def _levels() -> dict[str, int]:
    root = logging.root
    own = {
        name: logger.level
        for name, logger in root.manager.loggerDict.copy().items()
        if not isinstance(logger, logging.PlaceHolder) and logger.level
    }
    return {"": root.manager.disable, root.name: root.level, **own}
