"""How a process is started so that it sees what it would see on AWS: its code read-only, and a /tmp of its own.

That takes a mount namespace, which only root may make. Without one the code lies in a plain folder, and TMPDIR is all
that keeps what is written apart. Networks, users and the rest of the file system are this computer's either way.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# $READ_ONLY, $KEEP: paths, one a line. What is under /tmp and must be seen is bound into the new /tmp.
_ENTER = r"""
set -e
mkdir -p "$NEW"
mount -t tmpfs -o size="${TMP_MB}m",mode=1777 tmpfs "$NEW"
while IFS= read -r each; do
  [ -z "$each" ] || { mkdir -p "$NEW/$each"; mount --bind "/tmp/$each" "$NEW/$each"; }
done <<< "$KEEP"
mount --move "$NEW" /tmp
while IFS= read -r each; do
  [ -z "$each" ] || { mount --bind "$each" "$each"; mount -o remount,bind,ro "$each"; }
done <<< "$READ_ONLY"
cd "$FOLDER"
unset NEW TMP_MB KEEP READ_ONLY FOLDER OLDPWD
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that runs, with the file that holds all it has said."""

    process: subprocess.Popen[bytes]
    said: Path


@functools.cache
def can_mount() -> bool:
    """Whether this process may give another a mount namespace."""
    if os.geteuid() != 0 or not (unshare := shutil.which("unshare")) or not shutil.which("bash"):
        return False
    tried = [unshare, "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(tried, capture_output=True, check=False, timeout=10).returncode == 0


def start(
    command: Sequence[str],
    variables: Mapping[str, str],
    scratch: Path,
    *,
    folder: Path,
    read_only: Sequence[Path] = (),
    tmp_mb: int,
) -> Started:
    """The process, in a session of its own, working in `folder`; what it says, and its TMPDIR, are in `scratch`.

    `read_only` are folders that it can't write to where the system allows that.
    """
    environment = dict(variables)
    said = scratch / "said"
    if can_mount():
        kept = sorted({path for path in map(_under_tmp, _needed(folder, read_only)) if path})
        environment |= {
            "NEW": str(scratch / "tmp"),
            "FOLDER": str(folder),
            "KEEP": "\n".join(kept),
            "READ_ONLY": "\n".join(map(str, read_only)),
            "TMP_MB": str(tmp_mb),
        }
        entered = ["unshare", "--mount", "--propagation", "private", "bash", "-c", _ENTER, "bash"]
        command = [*entered, *command]
    else:
        private = scratch / "tmp"
        private.mkdir()
        environment["TMPDIR"] = str(private)
    with said.open("ab") as out:  # appended to: parent and child must not share an offset
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Started(process, said)


def dagy_home() -> Path:
    """The folder that has the package `dagy`, for the search path of whoever does not have it installed."""
    return Path(__file__).resolve().parents[3]


def _needed(folder: Path, read_only: Sequence[Path]) -> list[Path]:
    """What a process in the sandbox must see: its own folders, this Python, and Dagy."""
    pythons = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1]}
    return [folder, *read_only, *pythons, dagy_home()]


def _under_tmp(path: Path) -> str | None:
    temporary = Path("/tmp").resolve()
    return str(path.resolve().relative_to(temporary)) if path.resolve().is_relative_to(temporary) else None
