"""What a wheel holds, read as if a stranger had sent it, which is how it comes.

Before a wheel is used its tags must fit the target, its names must stay in their folder, and its contents must be what
its own RECORD says. It is never unpacked, and nothing of it is run.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from dagy.artifact.archive import check_name
from dagy.artifact.source import RESERVED_MODULES
from dagy.artifact.targets import BuildTarget
from dagy.errors import ArtifactError

if TYPE_CHECKING:
    from packaging.tags import Tag

PREFIX = "python/"  # where a layer has its packages, and Lambda looks for them
MAX_FILES = 100_000
MAX_WHEEL_BYTES = 4 << 30
MAX_UNPACKED_BYTES = 16 << 30
MAX_RATIO = 1_000  # bytes of a file for each byte that it takes; what deflate can't exceed is about 1,030
_CHUNK = 1 << 20
_LOCAL = struct.Struct("<4s5H3L2H")  # what stands before each file of a ZIP
_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")  # files of a wheel that its RECORD gives no digest of
_ENCRYPTED = 0x2041
_PLAIN = re.compile(r"(?:[\w.+-]*[\w+-]/)*[\w.+-]*[\w+-]", re.ASCII)  # names of which nothing need be asked
_PLAIN_LENGTH = 200
_IMPORTABLE = (".py", ".pyc", ".pyw", ".pyd", ".so", ".dll")


@dataclass(frozen=True, slots=True)
class FoundWheel:
    """A wheel that was chosen: which package it is of, and where it is."""

    name: str  # normalized
    version: str
    url: str
    sha256: str = ""  # as the index tells it; empty when it does not

    @property
    def file_name(self) -> str:
        """The name of the file."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a wheel, as it goes into a layer: its bytes are copied as they are packed."""

    name: str  # where it goes: "pandas/__init__.py"
    method: int  # how it is packed: stored or deflated
    crc: int
    packed_size: int
    size: int
    offset: int  # of its packed bytes in the wheel's file
    is_executable: bool


def check_fits(file: str, target: BuildTarget, python_version: str) -> None:
    """Raise `ArtifactError` unless the wheel with this file name runs on the target."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, tags = parse_wheel_filename(file)
    except InvalidWheelFilename as error:
        raise ArtifactError(f"{file!r} is not the name of a wheel: {error}") from error
    check_name(file)
    if not tags & _tags(target, python_version):
        platforms = ", ".join(sorted({f"{tag.interpreter}-{tag.platform}" for tag in tags}))
        raise ArtifactError(
            f"the wheel of {name} {version} is for {platforms}, and the target {target.name!r} needs Python "
            f"{python_version} on {target.platforms(python_version)[0]}; require a version that has such a wheel"
        )


def members(wheel: Path) -> tuple[Member, ...]:
    """The files of a wheel that go into a layer. `ArtifactError` when it is not a ZIP to trust.

    `.data` is spread as an installer does. C headers are left out, and what Python would run at its start (`.pth`).
    """
    with wheel.open("rb") as stream, _refusals(wheel.name):
        size = stream.seek(0, os.SEEK_END)
        archive = zipfile.ZipFile(stream)
        infos = _checked(archive)
        found = [_member(info, name, stream) for info, name in infos if name is not None]
        _check_places(found, size)
        return tuple(found)


def verify_wheel(path: Path, wheel: FoundWheel) -> None:
    """Read the file at `path` once: `ArtifactError` unless it is that wheel, and holds what its RECORD lists."""
    with path.open("rb") as stream, _refusals(wheel.file_name):
        archive = zipfile.ZipFile(stream)
        held = {info.filename: info for info, _ in _checked(archive)}
        folder = _dist_info(held, wheel.name, wheel.version)
        unlisted = {f"{folder}/{name}" for name in _UNLISTED}
        listed = _record(archive, held, f"{folder}/RECORD")
        for each in sorted(held.keys() - listed.keys() - unlisted):
            raise ArtifactError(f"it holds {each!r}, which its RECORD does not list")
        for each, digest in listed.items():
            if each not in held:
                raise ArtifactError(f"its RECORD lists {each!r}, which it does not hold")
            if not digest and each not in unlisted:
                raise ArtifactError(f"its RECORD gives no digest of {each!r}")
            if digest and _digest(archive, held[each], digest.partition("=")[0]) != digest:
                raise ArtifactError(f"{each!r} in it is not what its RECORD says")


def _tags(target: BuildTarget, python_version: str) -> frozenset[Tag]:
    from packaging.tags import compatible_tags, cpython_tags

    major, minor = map(int, python_version.split("."))
    platforms = target.platforms(python_version)
    return frozenset(
        [
            *cpython_tags((major, minor), platforms=platforms),
            *compatible_tags((major, minor), f"cp{major}{minor}", platforms=platforms),
        ]
    )


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Name the wheel in every refusal, and make refusals of what a broken ZIP has the standard library raise."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"the wheel {name!r} is not to be trusted: {error}") from error.__cause__
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise ArtifactError(f"the wheel {name!r} is broken: {error}") from error


def _checked(archive: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, str | None]]:
    """The files of a wheel that claim nothing impossible, and where each goes; None when it is left out."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_FILES:
        raise ArtifactError(f"it holds more than {MAX_FILES:,} files")
    if len({info.filename for info in infos}) < len(infos):
        raise ArtifactError("it holds two files of the same name")
    for info in infos:
        name = info.orig_filename
        if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
            raise ArtifactError(f"{name!r} is a link or a device, not a file")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ArtifactError(f"{name!r} is encrypted, or packed in a way that not every system can read")
        if info.file_size > MAX_RATIO * max(info.compress_size, 1) + _CHUNK:
            raise ArtifactError(f"{name!r} unpacks to more than {MAX_RATIO} times its size")
    if sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
        raise ArtifactError(f"its files are larger than {MAX_UNPACKED_BYTES:,} bytes together")
    return [(info, _spread(info.orig_filename)) for info in infos]


def _is_run_at_start(name: str) -> bool:
    """Whether Python would run the file, by its mere being there; such a one goes into no layer."""
    return "/" not in name and "\\" not in name and name.lower().endswith(".pth")


def _spread(name: str) -> str | None:
    """Where the file goes; None when it is left out."""
    _check_name(name)
    folder, _, rest = name.partition("/")
    if folder.endswith(".data") and rest:
        scheme, _, rest = rest.partition("/")
        name = {"purelib": rest, "platlib": rest, "data": rest, "scripts": f"bin/{rest}"}.get(scheme, "")
        if not name:
            return None
        _check_name(name)
    return None if _is_run_at_start(name) else name


def _check_name(name: str) -> None:
    """Refuse a name that leaves its folder, or that Python would take for one of its own modules or Dagy's.

    `.pth` at the top is left out, and deeper down it means nothing.
    """
    if len(name) > _PLAIN_LENGTH or not _PLAIN.fullmatch(name):
        check_name(f"{PREFIX}{name.removesuffix('.pth')}")
    if name.partition("/")[0].partition(".")[0].lower() in RESERVED_MODULES and name.lower().endswith(_IMPORTABLE):
        raise ArtifactError(f"the name {name!r} would hide a module of Python or of Dagy")


def _member(info: zipfile.ZipInfo, name: str, stream: BinaryIO) -> Member:
    stream.seek(info.header_offset)
    header = stream.read(_LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
        raise ArtifactError(f"{info.filename!r} is not where its directory says")
    name_length, extra_length = _LOCAL.unpack(header)[-2:]
    return Member(
        name, info.compress_type, info.CRC, info.compress_size, info.file_size,
        info.header_offset + _LOCAL.size + name_length + extra_length,
        is_executable=bool((info.external_attr >> 16) & 0o111),
    )  # fmt: skip


def _check_places(found: Sequence[Member], size: int) -> None:
    """Refuse files that overlap, or that end behind the archive's end."""
    end = 0
    for each in sorted(found, key=lambda each: each.offset):
        if each.offset < end or each.offset + each.packed_size > size:
            raise ArtifactError(f"{each.name!r} overlaps another file, or is cut short")
        end = each.offset + each.packed_size


def _dist_info(infos: Mapping[str, zipfile.ZipInfo], name: str, version: str) -> str:
    """The folder of the wheel's metadata, if it is of the package that was asked for."""
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    found = {each.partition("/")[0] for each in infos if each.partition("/")[0].endswith(".dist-info")}
    if len(found) != 1:
        raise ArtifactError(f"it has {len(found)} folders of metadata (.dist-info) instead of one")
    (folder,) = found
    its_name, _, its_version = folder.removesuffix(".dist-info").rpartition("-")
    try:
        same = canonicalize_name(its_name) == canonicalize_name(name) and Version(its_version) == Version(version)
    except InvalidVersion:
        same = False
    if not same:
        raise ArtifactError(f"its metadata is of {its_name} {its_version}, and not of {name} {version}")
    return folder


def _record(archive: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo], path: str) -> dict[str, str]:
    """The digest of each file that the RECORD lists, as `sha256=...`."""
    if path not in infos:
        raise ArtifactError("it has no RECORD")
    text = archive.read(infos[path]).decode("utf-8")
    return {row[0]: row[1] for row in csv.reader(StringIO(text)) if len(row) >= 2}


def _digest(archive: zipfile.ZipFile, info: zipfile.ZipInfo, algorithm: str) -> str:
    if algorithm not in {"sha256", "sha384", "sha512"}:
        raise ArtifactError(f"its RECORD has digests of the kind {algorithm!r}")
    digest, left = hashlib.new(algorithm), info.file_size
    with archive.open(info) as file:
        while chunk := file.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ArtifactError(f"{info.filename!r} is larger than it says")
            digest.update(chunk)
    return f"{algorithm}={base64.urlsafe_b64encode(digest.digest()).decode().rstrip('=')}"
