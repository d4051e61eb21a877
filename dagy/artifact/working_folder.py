"""Where a run works when nothing can be written beside its code, as on Lambda: a folder that has the code's files."""

from __future__ import annotations

import os
from pathlib import Path

from dagy.artifact.references import Values


def work_aside(code: Path, run_id: str) -> None:
    """Let the working directory be a folder of the run's own, with links to the files in `code`.

    Nothing is done where `code` can be written to. What earlier runs of this process left in theirs is removed.
    """
    if os.access(code, os.W_OK):
        return
    folder = Path(os.environ.get("TMPDIR") or "/tmp", f"dagy-{os.getpid()}", Values.name_of(run_id))
    if not folder.is_dir():
        _remove(folder.parent)
        folder.mkdir(parents=True)
        for path in code.rglob("*"):
            if path.is_file():
                link = folder / path.relative_to(code)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
    os.chdir(folder)


def _remove(folder: Path) -> None:
    """Remove it with all that is in it; `shutil` takes longer to load than all else here."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            _remove(path)
        else:
            path.unlink()
    folder.rmdir()
