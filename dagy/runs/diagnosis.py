"""How the history here fares: what `dagy doctor` says of it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dagy.errors import StoreError
from dagy.runs.checks import violations
from dagy.runs.database import can_lose_the_log, sqlite_version
from dagy.runs.recovery import opened
from dagy.runs.schema import MIGRATIONS
from dagy.runs.store import FILE_NAME

_OVER_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `text` is a sentence or two; what is not "good" says what to do about it."""

    name: str
    verdict: Literal["good", "warning", "bad"]
    text: str


def diagnose(local_dir: Path, *, verify: bool = False) -> Iterator[Finding]:
    """Look at SQLite, the folder and the history in it; with `verify` at every run, too. Changes no file but to end
    runs whose process is gone."""
    yield _sqlite()
    yield from _folder(local_dir)
    if not (local_dir / FILE_NAME).exists():
        yield Finding("history", "good", f"none yet; the first recorded run makes {local_dir / FILE_NAME}")
        return
    try:
        yield from _history(local_dir, verify=verify)
    except StoreError as error:
        yield Finding("history", "bad", str(error))


def _sqlite() -> Finding:
    version = sqlite_version()
    name = ".".join(map(str, version))
    if can_lose_the_log(version):
        return Finding(
            "sqlite",
            "warning",
            f"{name} can damage a database that several processes write to (the WAL-reset bug, up to 3.51.2); dagy "
            "takes care that it can't, other programs may not. Don't write to the history with them, or use 3.51.3",
        )
    return Finding("sqlite", "good", name)


def _folder(folder: Path) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding("folder", "bad", f"{folder} can't be looked at: {error.strerror}")
        return
    if mode & 0o077:
        yield Finding("folder", "warning", f"others can look into {folder}; to keep them out: chmod 700 {folder}")
    elif not os.access(folder, os.W_OK):
        yield Finding("folder", "warning", f"{folder} is read-only: runs can be listed, and not be recorded")
    else:
        yield Finding("folder", "good", f"{folder}, for its owner only")
    kind = _file_system(folder)
    if kind.startswith(_OVER_NETWORK):
        yield Finding(
            "disk",
            "warning",
            f"{folder} is on a network ({kind}), where SQLite's locks do not hold; set DAGY_LOCAL_DIR to a local disk",
        )
    free = os.statvfs(folder)
    size = free.f_bavail * free.f_frsize
    text = f"{size / 1e9:,.1f} GB free" + (f" ({kind})" if kind else "")
    yield Finding("disk", "good", text) if size > 100e6 else Finding("disk", "warning", f"only {text}; free some space")


def _history(local_dir: Path, *, verify: bool) -> Iterator[Finding]:
    size = (local_dir / FILE_NAME).stat().st_size
    store, ended = opened(local_dir, time.time_ns)
    with store:
        with store.reading() as db:
            damage = [text for (text,) in db.execute("PRAGMA quick_check(5)") if text != "ok"]
            runs, going = db.execute("SELECT count(*), count(*) - count(ended_at) FROM runs").fetchone()
        if damage:
            yield Finding("history", "bad", f"{store.path} is damaged: {'; '.join(damage)}. Move it away")
        else:
            yield Finding("history", "good", f"{store.path}, {size / 1e6:,.1f} MB, version {len(MIGRATIONS)}, sound")
        yield Finding("runs", "good", f"{runs:,} recorded, {going:,} of them going on")
        for run_id in ended:
            yield Finding("runs", "warning", f"{run_id} was without a process, and has ended CRASHED now")
        if verify:
            wrong = list(violations(store, time.time_ns()))
            yield from (Finding("verify", "bad", each) for each in wrong)
            if not wrong:
                yield Finding("verify", "good", "every run is as it must be")


def _file_system(folder: Path) -> str:
    """The type of the file system that `folder` is on, such as "ext4"; empty when it can't be known."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
        real = folder.resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        place = Path(left.split(" ")[4].encode("utf-8", "surrogateescape").decode("unicode_escape", "replace"))
        if real.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), right.split(" ")[0]
    return kind
