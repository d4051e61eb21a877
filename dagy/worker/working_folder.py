"""The folder that a run works in: the artifact's files as its own, and whatever it writes there.

Runs of one deployment may go on at the same time, and each finds its data by relative paths. So every run has copies,
and nothing that it writes is seen by another. Afterwards the copies are removed, and what it wrote or changed stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from dagy.errors import StoreError
from dagy.runs.store import files_folder
from dagy.settings import made_private
from dagy.worker.claims import ClaimNote
from dagy.worker.extracted import code_folder


def working_folder(local_dir: Path, note: ClaimNote) -> Path:
    """The new folder of a run that is about to begin, with the files of its artifact, which are extracted already.

    Raises `StoreError`.
    """
    folder, code = files_folder(local_dir, note.run_id), code_folder(local_dir, note.artifact)
    made_private(folder.parent)
    try:
        if folder.exists():  # of a worker that died before the run began
            shutil.rmtree(folder)
        for where, _, names in os.walk(code):
            own = folder / Path(where).relative_to(code)
            own.mkdir(mode=0o700)
            for name in names:
                source = Path(where, name)
                shutil.copyfile(source, own / name)
                found = source.stat()
                os.utime(own / name, ns=(found.st_atime_ns, found.st_mtime_ns))
    except OSError as error:
        raise StoreError(
            f"the files of run {note.run_id!r} can't be copied to {str(folder)!r}: {error.strerror}"
        ) from error
    return folder


def remove_copies(local_dir: Path, note: ClaimNote) -> None:
    """Leave in the folder of a run that has ended what it wrote or changed, and nothing else."""
    folder, code = files_folder(local_dir, note.run_id), code_folder(local_dir, note.artifact)
    for where, _, names in os.walk(folder, topdown=False):
        own = Path(where)
        for name in names:
            if own.name == "__pycache__" or _is_copy(own / name, code / own.relative_to(folder) / name):
                with contextlib.suppress(OSError):
                    (own / name).unlink()
        with contextlib.suppress(OSError):  # something is left in it
            own.rmdir()
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _is_copy(path: Path, source: Path) -> bool:
    """Whether the file is as it was when it was copied: what was written since has a new time."""
    try:
        found, known = path.lstat(), source.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == (known.st_size, known.st_mtime_ns)
