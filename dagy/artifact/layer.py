"""The dependency layer: one ZIP with all that an artifact's code needs, made from wheels that are never unpacked.

A wheel is a ZIP already. So the packed bytes of its files are copied as they are, under `python/`, which is where
Lambda looks: as fast as copying files, and the same bytes whichever machine does it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dagy.artifact.half_made import half_made
from dagy.artifact.manifest import LockedWheel
from dagy.artifact.own_code import own_code
from dagy.artifact.packages import Packages
from dagy.artifact.wheels import PREFIX, Member, members
from dagy.errors import ArtifactError
from dagy.settings import Settings
from dagy.version import __version__

_SCHEMA = 1
_MAX_ENTRIES = 0xFFFF  # what a ZIP can count without an extension that not every reader knows
_MAX_BYTES = 0xFFFFFFFF
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_VERSION, _UTF_8, _UNIX, _EPOCH = 20, 0x800, 3 << 8, 0x21  # the epoch is 1980-01-01, the first day that a ZIP can tell


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of the layer."""

    member: Member
    source: mmap.mmap | bytes  # which holds its packed bytes, where the member says
    origin: str  # for people: which wheel


def layer_key(packages: Packages) -> str:
    """What makes a layer what it is, as 32 hex digits: the wheels, and Dagy's own code."""
    return _key(packages.lock, own_code())


def write_layer(
    packages: Packages,
    path: Path,
    *,
    local_dir: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Path:
    """Put the layer of `packages`, which are not this machine's, at `path`, whole or not at all, and return `path`.

    The same lock gives the same bytes. It is kept under `local_dir` (None: where the settings say), and made only once.
    `ArtifactError` names two wheels that hold different files of one name, and a wheel that is not what was locked.
    """
    if packages.target.is_local:
        raise ArtifactError("the target 'local' has no dependency layer: what is installed here is used as it is")
    own = own_code()
    key = _key(packages.lock, own)
    kept = (Settings.read().local_dir if local_dir is None else local_dir) / "layers" / f"{key}.zip"
    try:
        if not kept.is_file():
            if on_progress:
                on_progress(f"packing {len(packages.lock)} wheels for {packages.target.description}")
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with half_made(kept) as half:
                _write(half, packages, own)
                half.replace(kept)
        _put(kept, path)
    except OSError as error:
        raise ArtifactError(f"the layer can't be written to {str(path)!r}: {error.strerror or error}") from error
    return path


def _key(lock: Iterable[LockedWheel], own: Mapping[str, bytes]) -> str:
    code = hashlib.sha256()
    for name, module in own.items():
        code.update(f"{name}\0{len(module)}\0".encode() + module)
    content = [_SCHEMA, __version__, code.hexdigest(), sorted(each.sha256 for each in lock)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _write(layer: Path, packages: Packages, own: Mapping[str, bytes]) -> None:
    with contextlib.ExitStack() as opened:
        entries = {each.member.name: each for each in map(_own_entry, own, own.values())}
        for wheel, path in zip(packages.lock, packages.wheels, strict=True):
            mapped = opened.enter_context(_mapped(path))
            if hashlib.sha256(mapped).hexdigest() != wheel.sha256:
                raise ArtifactError(f"{str(path)!r} is not the wheel that was locked: its SHA-256 differs; delete it")
            for member in members(path):
                _add(entries, _Entry(member, mapped, path.name))
        _check_folders(entries)
        with layer.open("wb", buffering=1 << 20) as file:
            _write_zip(file, entries)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())


def _own_entry(name: str, content: bytes) -> _Entry:
    crc, size = zlib.crc32(content), len(content)
    return _Entry(Member(name, zipfile.ZIP_STORED, crc, size, size, 0, is_executable=False), content, "Dagy itself")


def _add(entries: dict[str, _Entry], entry: _Entry) -> None:
    """Add it, unless the very same file is there; two packages of one namespace may hold the same `__init__.py`."""
    before = entries.setdefault(entry.member.name, entry)
    if (before.member.crc, before.member.size) != (entry.member.crc, entry.member.size):
        raise ArtifactError(
            f"{before.origin!r} and {entry.origin!r} both hold {entry.member.name!r}, and not the same; "
            "one of them would overwrite the other, so do without one"
        )


def _check_folders(entries: Mapping[str, _Entry]) -> None:
    """Refuse a file that is another's folder."""
    for name, entry in entries.items():
        folder = name.rpartition("/")[0]
        while folder:
            if folder in entries:
                raise ArtifactError(
                    f"{entries[folder].origin!r} holds the file {folder!r}, a folder of {entry.origin!r}"
                )
            folder = folder.rpartition("/")[0]


def _write_zip(file: BinaryIO, entries: Mapping[str, _Entry]) -> None:
    total = sum(each.member.packed_size for each in entries.values())
    if len(entries) > _MAX_ENTRIES or total + len(entries) * 2_200 > _MAX_BYTES:
        raise ArtifactError(f"the packages are {len(entries):,} files and {total:,} bytes, too many for one ZIP")
    directory, position = io.BytesIO(), 0
    for name in sorted(entries):
        member = entries[name].member
        path = f"{PREFIX}{name}".encode()
        mode = stat.S_IFREG | (0o755 if member.is_executable else 0o644)
        common = (_VERSION, _UTF_8, member.method, 0, _EPOCH, member.crc, member.packed_size, member.size, len(path), 0)
        file.write(_LOCAL.pack(b"PK\3\4", *common) + path)
        with (
            memoryview(entries[name].source) as whole,
            whole[member.offset : member.offset + member.packed_size] as packed,
        ):
            file.write(packed)
        directory.write(_CENTRAL.pack(b"PK\1\2", _UNIX | _VERSION, *common, 0, 0, 0, mode << 16, position) + path)
        position += _LOCAL.size + len(path) + member.packed_size
    count, length = len(entries), directory.tell()
    file.write(directory.getbuffer())
    file.write(_END.pack(b"PK\5\6", 0, 0, count, count, length, position, 0))


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _put(kept: Path, path: Path) -> None:
    """The kept layer at `path` too: the same file where the system allows it, else a copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        if path.samefile(kept):
            return
    with half_made(path) as half:
        try:
            half.hardlink_to(kept)
        except OSError:  # another file system
            shutil.copyfile(kept, half)
        half.replace(path)
