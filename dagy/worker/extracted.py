"""The code of an artifact in a folder of its own, extracted once and then only read."""

from __future__ import annotations

import contextlib
import os
import py_compile
import shutil
import tempfile
import time
from pathlib import Path

from dagy.artifact import safe_extract
from dagy.errors import StoreError

CODE_FOLDER = "code"  # in the local folder: artifacts that runs were taken from, and their files

_KEPT_SECONDS = 30 * 86_400  # after its last use


def code_folder(local_dir: Path, sha256: str) -> Path:
    """Where the files of the artifact with this digest are, once they are extracted."""
    return local_dir / CODE_FOLDER / sha256


def extracted_code(artifact: Path) -> Path:
    """The folder beside `artifact` that has its files and its name, made if it is not there; nobody may write to it.

    Raises `ArtifactError` when the artifact is broken, and `StoreError` when it can't be extracted.
    """
    folder = artifact.with_suffix("")
    if folder.is_dir():
        for used in (artifact, folder):
            os.utime(used)
        return folder
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".half-", dir=folder.parent))
        try:
            manifest = safe_extract(artifact, temporary)
            for each in manifest.files:
                if each.path.endswith(".py"):
                    _compile(temporary / each.path, folder / each.path)
            _let_nobody_write(temporary)
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another worker was faster
                    raise
        finally:
            _remove(temporary)
    except OSError as error:
        raise StoreError(f"{str(artifact)!r} can't be extracted to {str(folder)!r}: {error.strerror}") from error
    return folder


def remove_unused_code(folder: Path, *, now: float | None = None) -> None:
    """Remove what no run has used for a month. `now` is in seconds since the epoch."""
    oldest = (time.time() if now is None else now) - _KEPT_SECONDS
    for each in folder.glob("*"):
        with contextlib.suppress(OSError):  # another worker removes it
            if each.stat().st_mtime < oldest:
                _remove(each)


def _compile(path: Path, told: Path) -> None:
    """Write the byte code beside it, once for all runs. What can't be compiled will say so when it is imported."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with contextlib.suppress(py_compile.PyCompileError, ValueError, RecursionError, MemoryError):
        py_compile.compile(str(path), dfile=str(told), doraise=True, invalidation_mode=mode)


def _let_nobody_write(folder: Path) -> None:
    """Runs that could write beside the code would change each other's."""
    for where, _, names in os.walk(folder):
        for name in names:
            (Path(where) / name).chmod(0o400)
        Path(where).chmod(0o500)


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for where, _, _ in os.walk(path):
        Path(where).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
