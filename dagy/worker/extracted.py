"""The code of an artifact in a folder of its own, extracted once and then only read."""

from __future__ import annotations

import contextlib
import os
import py_compile
import shutil
import tempfile
from pathlib import Path

from dagy.artifact import safe_extract
from dagy.errors import StoreError


def extracted_code(artifact: Path) -> Path:
    """The folder beside `artifact` that has its files and its name, made if it is not there; nobody may write to it.

    Raises `ArtifactError` when the artifact is broken, and `StoreError` when it can't be extracted.
    """
    folder = artifact.with_suffix("")
    if folder.is_dir():
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


def _remove(folder: Path) -> None:
    if not folder.is_dir():
        return
    for where, _, _ in os.walk(folder):
        Path(where).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
