"""A file or a folder that is half made, beside the place where it goes: it gets there whole or not at all.

It lies in a folder of its own, on which a lock is held. So a folder that nobody has locked was left behind by a process
that was killed, and whoever makes the same thing next removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def half_made(path: Path) -> Iterator[Path]:
    """Where to make what goes to `path`: nothing is there yet, and what is left there at the end is removed.

    It has the name of `path`, and is to be moved there (`replace`, `rename`) in the `with` block. The folder of `path`
    is there already. Raises `OSError`.
    """
    prefix = f".{path.name[:100]}-"
    _remove_left_behind(path.parent, prefix)
    folder, lock = _locked_folder(path.parent, prefix)
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def write_whole(path: Path, content: bytes) -> None:
    """Write the file, for its owner's eyes only, and make its folder when it is not there. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with half_made(path) as half:
        half.write_bytes(content)
        half.chmod(0o600)
        half.replace(path)


_SUFFIX = ".half"


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=parent))
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # where folders can't be locked, what is left behind stays
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():  # else it was taken for left behind before it was locked
                return folder, lock
            os.close(lock)


def _remove_left_behind(parent: Path, prefix: str) -> None:
    with os.scandir(parent) as entries:
        found = [each.path for each in entries if each.name.startswith(prefix) and each.name.endswith(_SUFFIX)]
    for each in found:
        with contextlib.suppress(OSError):  # somebody is at work there, or it is another user's
            lock = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(each, ignore_errors=True)
            finally:
                os.close(lock)
