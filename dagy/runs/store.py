"""The history's file, and the folders beside it that hold what is too large for it."""

from __future__ import annotations

import re
from pathlib import Path

from dagy.errors import StoreError
from dagy.runs.database import WAIT_SECONDS, WARN_SECONDS, Database, Layout
from dagy.runs.schema import APPLICATION_ID, MIGRATIONS

FILE_NAME = "history.db"

_LAYOUT = Layout(
    name="history",
    file_name=FILE_NAME,
    application_id=APPLICATION_ID,
    migrations=MIGRATIONS,
    remedy=f"Move it away, and dagy begins a new one; to save what can be saved: sqlite3 {FILE_NAME} .recover",
)
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class Store(Database):
    """The history in `folder`, which is made if it is missing; with `write=False` it is only read, and must be there.

    Raises `StoreError`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        write: bool = True,
        warn_seconds: float = WARN_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        super().__init__(folder, _LAYOUT, write=write, warn_seconds=warn_seconds, wait_seconds=wait_seconds)

    def run_folder(self, run_id: str) -> Path:
        """Where the files of a run are; never outside the history's folder, whatever `run_id` is."""
        return self.folder / "runs" / safe_id(run_id)


def files_folder(local_dir: Path, run_id: str) -> Path:
    """Where a deployed run works, and what it wrote stays. Raises `StoreError` when `run_id` can't be one."""
    return local_dir / "runs" / safe_id(run_id) / "files"


def safe_id(run_id: str) -> str:
    """`run_id`, which may be the name of a file or a folder. Raises `StoreError` when it may not."""
    if not _SAFE_ID.fullmatch(run_id):
        raise StoreError(f"{run_id!r} can't be the id of a run")
    return run_id
