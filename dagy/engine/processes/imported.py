"""What a worker has imported of the user's own code: a warm worker must not run what has been changed since."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from dagy import version

_INSTALLED = (
    *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    f"{Path(version.__file__).parent}{os.sep}",
)


class ImportedModules:
    """The modules imported since this was made, those of the user's own files."""

    def __init__(self) -> None:
        self._seen = set(sys.modules)
        self._count = len(self._seen)
        self._files: dict[str, tuple[int, int] | None] = {}

    def look(self) -> None:
        """Take note of modules that are new, as they are on disk now."""
        if len(sys.modules) == self._count:
            return
        for name, module in list(sys.modules.items()):
            if name not in self._seen:
                self._seen.add(name)
                path = getattr(module, "__file__", None)
                if isinstance(path, str) and not path.startswith(_INSTALLED):
                    self._files[path] = _version(path)
        self._count = len(sys.modules)

    def have_changed(self) -> bool:
        """Whether one of their files is not as it was when it was imported."""
        return any(_version(path) != version for path, version in self._files.items())


def _version(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (before each call, for each file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
