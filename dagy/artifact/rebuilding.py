"""A build that was made before, and the proof that making it again would give the same.

Beside the runs, in `builds`, there is one record for each build that was asked for: the facts of its artifact, and the
stamp of every file that it was made from, or would have been made from had it been there. While all of these hold the
artifact is the answer, and no code of the user's is run to know it. A record that can't be read counts for nothing.

Looking takes less time than loading most modules does, so this one and those it needs load next to nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dagy.artifact.data_files import DataFiles, LeftOut, data_files
from dagy.artifact.options import BuildOptions
from dagy.artifact.snapshots import Snapshot, Stamp, are_unchanged, stamp
from dagy.artifact.summary import Summary
from dagy.errors import ArtifactError, StoreError
from dagy.settings import made_private
from dagy.version import __version__

_SCHEMA = 1
_MOST_RECORDS = 500
# What differs from one terminal or command to the next, and says nothing of what is built.
_OF_NO_CONSEQUENCE = frozenset(
    {"PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", "WINDOWID", "TERM", "TERM_SESSION_ID", "COLORTERM", "NO_COLOR"}
)


class Request(NamedTuple):
    """A build that is asked for, with all around it that could make it another one."""

    target: str  # FILE[:FLOW], as given
    folder: str  # the working folder
    output_dir: str
    options: tuple[str, ...]
    python: tuple[str, ...]  # which Python, which version, and where it finds modules
    environment: int  # a checksum of the environment's variables, whose values are nobody's business
    dagy_version: str

    @classmethod
    def here(cls, target: str, output_dir: Path, options: BuildOptions) -> Request:
        """The request as this process makes it, now."""
        return cls(
            target,
            os.getcwd(),  # noqa: PTH109 (a text)
            str(output_dir.absolute()),
            (*options.include, str(options.requirements), options.target),
            (sys.executable, sys.version, *sys.path),
            _checksum(f"{key}={value}" for key, value in sorted(os.environ.items()) if key not in _OF_NO_CONSEQUENCE),
            __version__,
        )

    @property
    def key(self) -> str:
        """What its record is called. Requests of the same key are told apart by what is in the record."""
        return f"{_checksum((self.target, self.folder, self.output_dir, *self.options)):08x}"


class Declaration(NamedTuple):
    """Which data files a build was to take: patterns in a folder, below a root, and none from where artifacts go."""

    patterns: tuple[str, ...]
    folder: str
    root: str
    without: str

    def found(self) -> DataFiles:
        """What the patterns match now. Raises `ArtifactError`."""
        return data_files(self.patterns, Path(self.folder), Path(self.root), without=Path(self.without))


def known_build(request: Request, local_dir: Path) -> Summary | None:
    """The artifact that this very request gave before, if building it again would give the same; None if it may not."""
    path = _path(request, local_dir)
    try:
        record = json.loads(path.read_bytes())
        if record["schema"] != _SCHEMA or record["request"] != _plain(request):
            return None
        if not are_unchanged(_stamps(record["inputs"])) or not are_unchanged(_stamps(record["outputs"])):
            return None
        declaration = record["declaration"]
        if declaration is not None and _plain(_listed(Declaration(*declaration).found())) != record["data_files"]:
            return None
        summary = _summary(record["summary"])
        os.utime(summary.path)  # the newest one of its flow, as if it had just been built
        record["outputs"] = _rows((each, stamp(each)) for each in _outputs(summary))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArtifactError):
        return None
    _write(path, record)
    return summary


def remember(
    request: Request, summary: Summary, snapshot: Snapshot, declaration: Declaration | None, local_dir: Path
) -> None:
    """Keep what was built, unless one of its files changed so late that it might change again unnoticed."""
    if not snapshot.is_settled:
        return
    record = {
        "schema": _SCHEMA,
        "request": request,
        "inputs": _rows(snapshot.stamps.items()),
        "outputs": _rows((each, stamp(each)) for each in _outputs(summary)),
        "declaration": declaration,
        "data_files": None if declaration is None else _listed(declaration.found()),
        "summary": summary,
    }
    with contextlib.suppress(StoreError):  # it only makes the next build slower
        folder = made_private(local_dir / "builds")
        _write(_path(request, local_dir), record)
        _forget_oldest(folder)


def _path(request: Request, local_dir: Path) -> Path:
    return local_dir / "builds" / f"{request.key}.json"


def _checksum(texts: Iterable[str]) -> int:
    return zlib.crc32("\0".join(texts).encode(errors="surrogateescape"))


def _outputs(summary: Summary) -> tuple[str, ...]:
    return (summary.path, *([summary.layer] if summary.layer else []))


def _rows(stamps: Iterable[tuple[str, Stamp | None]]) -> list[list[Any]]:
    return [[path, *(found or ())] for path, found in stamps]


def _stamps(rows: Sequence[Sequence[Any]]) -> Iterable[tuple[str, Stamp | None]]:
    return ((path, Stamp(*found) if found else None) for path, *found in rows)


def _listed(found: DataFiles) -> Any:
    return [name for name, _ in found.files], found.left_out


def _summary(row: Sequence[Any]) -> Summary:
    """The summary as it was, but that the artifact is not new."""
    kept = Summary(*row)
    return kept._replace(
        files=tuple(kept.files),
        requirements=tuple(kept.requirements),
        left_out=tuple(LeftOut(*each) for each in kept.left_out),
        warnings=tuple(kept.warnings),
        is_new=False,
    )


def _plain(value: Any) -> Any:
    """`value` as JSON gives it back."""
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all; where it can't be written there is none."""
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        half.write_text(json.dumps(record), encoding="ascii")
        half.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            half.unlink(missing_ok=True)


def _forget_oldest(folder: Path) -> None:
    with contextlib.suppress(OSError):
        records = sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime_ns)
        for each in records[:-_MOST_RECORDS]:
            each.unlink(missing_ok=True)
