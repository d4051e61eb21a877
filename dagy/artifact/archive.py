"""The ZIP file of an artifact: written so that the same content is the same bytes, read as if a stranger had sent it.

Entries are stored, not compressed: what a compressor gives depends on its version, and code is small. Reading accepts
deflated entries too. Nothing of an archive is executed here, and nothing is written before every name is checked.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dagy.artifact.half_made import half_made
from dagy.artifact.manifest import MANIFEST_NAME, FileEntry, Manifest
from dagy.artifact.source import RESERVED_MODULES
from dagy.errors import ArtifactError

MAX_FILES = 50_000
MAX_TOTAL_BYTES = 1 << 30
MAX_FILE_BYTES = 256 << 20
MAX_RATIO = 200  # bytes of a file for each byte it takes in the archive
MAX_MANIFEST_BYTES = 32 << 20

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a ZIP can tell
_MODE = stat.S_IFREG | 0o644
_END = struct.Struct("<4s4H2LH")  # the last record of a ZIP, without a comment
_LOCAL = struct.Struct("<4s5H3L2H")  # what stands before each file
_MAX_DIRECTORY_BYTES = 32 << 20
_IMPORTABLE = (".py", ".pyc", ".pyi", ".pyw", ".pyd", ".so", ".dll", ".zip", ".egg")
_UTF_8 = 0x0800
_HARMLESS_FLAGS = 0x0806  # names in UTF-8; how hard the compressor tried
_CHUNK = 1 << 16


class MissingArtifactError(ArtifactError, FileNotFoundError):
    """The artifact's file is not there."""


def write_artifact(path: Path, manifest: Manifest, contents: Mapping[str, bytes | Path]) -> bool:
    """Write the archive to `path`, whole or not at all, and return whether it was not there as it is now.

    `contents` holds the bytes of each file in the manifest, or the file that has them. A file at `path` with the very
    bytes of the archive is left alone. `ArtifactError` when `path` can't be written, or a file is not what the manifest
    says.
    """
    held = {MANIFEST_NAME: manifest.to_json().encode(), **contents}
    for each in held:
        check_name(each)
    _check_collisions(list(held))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half_made(path) as half, half.open("w+b") as file:
            _write(file, held, {entry.path: entry for entry in manifest.files})
            size = file.seek(0, os.SEEK_END)
            is_new = not _is_same(file, size, path)
            if is_new:
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
                half.replace(path)
    except OSError as error:
        raise ArtifactError(
            f"the artifact can't be written to {str(path)!r}: {error.strerror or error}; choose another output folder"
        ) from error
    return is_new


def read_manifest(path: Path) -> Manifest:
    """The manifest of the artifact at `path`, its names checked and nothing of its code read.

    `MissingArtifactError` when there is no such file, `ArtifactError` when it is not an artifact to trust.
    """
    with open_artifact(path) as artifact:
        return artifact.manifest


def safe_extract(path: Path, folder: Path) -> Manifest:
    """Write the artifact's files under `folder`, which must be empty or not there, and return its manifest.

    Every name and every digest is checked before anything is written; `ArtifactError` says what did not hold.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{str(folder)!r} is not an empty folder; extract into a new one")
    with open_artifact(path) as artifact:
        artifact.verify()
        for entry in artifact.manifest.files:
            target = folder / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for chunk in artifact.chunks(entry):
                    file.write(chunk)
        return artifact.manifest


@contextmanager
def open_artifact(path: Path) -> Iterator[OpenArtifact]:
    """The artifact at `path`, open for reading; its structure, names and manifest hold. Errors as `read_manifest`."""
    if not path.exists():
        raise MissingArtifactError(f"there is no file {str(path)!r} (looked in {Path.cwd()})")
    if not path.is_file():
        raise ArtifactError(f"{str(path)!r} is not a file")
    with path.open("rb") as stream:
        with _refusals(path):
            _check_structure(stream)
            archive = zipfile.ZipFile(stream)
            infos = _checked(archive.infolist(), stream)
            manifest = _manifest(archive, infos)
        with archive:
            yield OpenArtifact(path, manifest, archive)


@dataclass(frozen=True, slots=True)
class OpenArtifact:
    """An artifact whose structure, names and manifest hold; its contents are checked as they are read."""

    path: Path
    manifest: Manifest
    archive: zipfile.ZipFile

    def chunks(self, entry: FileEntry) -> Iterator[bytes]:
        """The bytes of a file, piece by piece; `ArtifactError` at the end when they are not those of the manifest."""
        digest = hashlib.sha256()
        with _refusals(self.path):
            for chunk in _chunks(self.archive, entry.path, entry.size):
                digest.update(chunk)
                yield chunk
            if digest.hexdigest() != entry.sha256:
                raise ArtifactError(f"{entry.path!r} is not the file that was built: its SHA-256 differs")

    def verify(self) -> None:
        """Read every file once; `ArtifactError` unless each has the size and the digest of the manifest."""
        for entry in self.manifest.files:
            for _ in self.chunks(entry):
                pass


def check_amount(files: int, total: int) -> None:
    """Raise `ArtifactError` when so many files, of so many bytes together, are more than an artifact may hold."""
    if files > MAX_FILES or total > MAX_TOTAL_BYTES:
        raise ArtifactError(
            f"the artifact would hold {files:,} files of {total >> 20:,} MiB, and it may hold {MAX_FILES:,} of "
            f"{MAX_TOTAL_BYTES >> 20:,} MiB; keep large data in a bucket and read it from there"
        )


def check_name(name: str) -> None:
    """Raise `ArtifactError` unless `name` is a path that stays inside whatever folder it is put in."""
    reason = fault_of_name(name)
    if reason:
        raise ArtifactError(f"the name {name[:200]!r} {reason}")


def fault_of_name(name: str) -> str | None:
    """Why an artifact can't hold a file of that path; None when it can."""
    parts = name.split("/")
    if not name or len(name) > 1024 or any(len(part.encode(errors="replace")) > 255 for part in parts):
        return "is empty or too long"
    if any(unicodedata.category(each) in {"Cc", "Cf", "Cs"} for each in name):
        return "holds a character that can't be seen"
    if "\\" in name or ":" in name:
        return "holds a backslash or a colon, which some systems take for more than a letter"
    if any(part in {"", ".", ".."} for part in parts):
        return "is absolute, names a folder, or leaves the folder"
    if any(part.rstrip(" .") != part for part in parts):
        return "has a part that ends in a space or a dot, which some systems drop"
    if name.lower().endswith(".pth") or _may_hide_a_module(parts):
        return "would hide a module of Python or of Dagy, or be run at start"
    if parts[0].lower().endswith((".dist-info", ".egg-info")):
        return "would be taken for what is known of an installed package"
    return None


def _may_hide_a_module(parts: list[str]) -> bool:
    """Whether the path is one that importing a module of Python or of Dagy could find. Data of its name is harmless."""
    if parts == [MANIFEST_NAME] or parts[0].partition(".")[0].lower() not in RESERVED_MODULES:
        return False
    return parts[-1].lower().endswith(_IMPORTABLE)


def _write(file: BinaryIO, contents: Mapping[str, bytes | Path], entries: Mapping[str, FileEntry]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, whatever builds it
            info.external_attr = _MODE << 16
            content = contents[name]
            if isinstance(content, bytes):
                archive.writestr(info, content)
            else:
                _copy(archive, info, content, entries[name])


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, entry: FileEntry) -> None:
    info.file_size = entry.size
    digest = hashlib.sha256()
    left = entry.size
    try:
        file = path.open("rb")
    except OSError as error:
        raise ArtifactError(f"{str(path)!r} can't be read: {error.strerror or error}") from error
    with file, archive.open(info, "w") as member:
        while left >= 0 and (chunk := file.read(_CHUNK)):
            left -= len(chunk)
            digest.update(chunk)
            member.write(chunk)
    if left or digest.hexdigest() != entry.sha256:
        raise ArtifactError(f"{str(path)!r} changed while the artifact was built; build again")


def _is_same(file: BinaryIO, size: int, path: Path) -> bool:
    """Whether the file at `path` has the very bytes of `file`."""
    try:
        with path.open("rb") as other:
            if os.fstat(other.fileno()).st_size != size:
                return False
            file.seek(0)
            while chunk := file.read(_CHUNK):
                if other.read(_CHUNK) != chunk:
                    return False
            return True
    except OSError:
        return False


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Name the file in every refusal, and make refusals of what a broken ZIP has the standard library raise."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error.__cause__
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, UnicodeError) as error:
        raise ArtifactError(f"{path}: the ZIP is broken: {error}") from error


def _check_structure(stream: BinaryIO) -> None:
    """Refuse what is not a plain ZIP from its first byte to its last, before its directory is read into memory."""
    size = stream.seek(0, os.SEEK_END)
    if size < _END.size:
        raise ArtifactError("not a ZIP: it is too short")
    stream.seek(size - _END.size)
    mark, disk, first_disk, here, count, length, offset, comment = _END.unpack(stream.read(_END.size))
    if mark != b"PK\x05\x06" or comment:
        raise ArtifactError("not a ZIP that Dagy wrote: it is cut short, or something stands behind its end")
    if disk or first_disk or here != count or count > MAX_FILES + 1 or length > _MAX_DIRECTORY_BYTES:
        raise ArtifactError(f"the ZIP has several parts, or more than {MAX_FILES:,} files")
    if offset + length + _END.size != size:
        raise ArtifactError("the ZIP is cut short, or something stands before its start")
    stream.seek(offset)
    if stream.read(length).count(b"PK\x01\x02") != count:
        raise ArtifactError("the ZIP's directory does not hold as many files as it says")


def _checked(infos: list[zipfile.ZipInfo], stream: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    for info in infos:
        _check_entry(info)
    _check_collisions([info.filename for info in infos])
    if sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
        raise ArtifactError(f"the files are larger than {MAX_TOTAL_BYTES:,} bytes together")
    _check_places(infos, stream)
    return {info.filename: info for info in infos}


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    check_name(name)
    if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
        raise ArtifactError(f"{name!r} is a link or a device, not a file")
    if info.flag_bits & ~_HARMLESS_FLAGS or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArtifactError(f"{name!r} is encrypted, or packed in a way that Dagy does not use")
    if info.file_size > (MAX_MANIFEST_BYTES if name == MANIFEST_NAME else MAX_FILE_BYTES):
        raise ArtifactError(f"{name!r} is too large ({info.file_size:,} bytes)")
    if info.file_size > MAX_RATIO * info.compress_size:
        raise ArtifactError(f"{name!r} unpacks to more than {MAX_RATIO} times its size in the archive")


def _check_collisions(names: list[str]) -> None:
    """Refuse names that are one file on some system, and a file that is another's folder."""
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if key in seen:
            raise ArtifactError(f"the names {seen[key]!r} and {name!r} are the same on some systems")
        seen[key] = name
        while "/" in key:
            key = key.rpartition("/")[0]
            folders[key] = name
    for key in seen.keys() & folders.keys():
        raise ArtifactError(f"{seen[key]!r} is both a file and the folder of {folders[key]!r}")


def _check_places(infos: list[zipfile.ZipInfo], stream: BinaryIO) -> None:
    """Refuse files that overlap, bytes that belong to no file, and a file of which two places say two things."""
    position = 0
    for info in sorted(infos, key=lambda each: each.header_offset):
        stream.seek(position)
        header = stream.read(_LOCAL.size)
        if info.header_offset != position or len(header) < _LOCAL.size:
            raise ArtifactError(f"{info.filename!r} overlaps another file, or there is a gap before it")
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        name = stream.read(name_length).decode("utf-8" if flags & _UTF_8 else "cp437")
        said = (info.orig_filename, info.flag_bits, info.compress_type, info.CRC, info.compress_size, info.file_size)
        if (name, flags, method, crc, packed, size) != said:
            raise ArtifactError(f"{info.filename!r} is another file to a reader that does not look at the directory")
        position += _LOCAL.size + name_length + extra_length + info.compress_size


def _manifest(archive: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo]) -> Manifest:
    if MANIFEST_NAME not in infos:
        raise ArtifactError(f"not an artifact: it holds no {MANIFEST_NAME}")
    size = infos[MANIFEST_NAME].file_size
    manifest = Manifest.from_json(b"".join(_chunks(archive, MANIFEST_NAME, size)))
    listed = {entry.path: entry.size for entry in manifest.files}
    held = {name: info.file_size for name, info in infos.items() if name != MANIFEST_NAME}
    for name in sorted(listed.keys() ^ held.keys()):
        raise ArtifactError(f"{name!r} is {'listed and not there' if name in listed else 'there and not listed'}")
    for name in sorted(name for name in listed if listed[name] != held[name]):
        raise ArtifactError(f"{name!r} has not the size that the manifest says")
    return manifest


def _chunks(archive: zipfile.ZipFile, name: str, size: int) -> Iterator[bytes]:
    """The bytes really read, refused as soon as they are more than `size`, or fewer at the end."""
    left = size
    with archive.open(name) as file:
        while chunk := file.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise ArtifactError(f"{name!r} does not hold the {size:,} bytes that it says")
