"""`LocalArtifact`: a text or a file that a task returns, whole, wherever the task ran.

What a task returns goes through JSON where it can. A report, a picture or any other file goes as this: its bytes travel
with the value, into other processes, into the history and back out of the cloud, so no path has to mean the same there.
"""

from __future__ import annotations

import os
from binascii import b2a_base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagy.errors import ParameterError, SettingsError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 5 * 1024 * 1024
LIMIT_VARIABLE = "DAGY_LOCAL_ARTIFACT_MAX_BYTES"

_MOST_SHOWN = 4_000  # characters of a text that a notebook shows
_IMAGES = frozenset({"image/png", "image/jpeg"})  # that a notebook shows; an SVG may hold a script


@dataclass(frozen=True, slots=True)
class LocalArtifact:
    """A file as a value: `LocalArtifact.text("...", name="report.txt")`, `LocalArtifact.file("plot.png")`."""

    name: str  # of the file, without a folder
    media_type: str  # "text/plain"
    content: bytes

    def __post_init__(self) -> None:
        name, content = self.name, self.content
        if not isinstance(name, str) or not name or name in (".", "..") or any(each in name for each in "/\\\0"):
            raise ParameterError(f"the name of a LocalArtifact is that of a file, without a folder, not {name!r}")
        if not isinstance(content, bytes):
            raise ParameterError(f"the content of {name!r} must be bytes, not {type(content).__name__}")

    @classmethod
    def text(cls, content: str, name: str = "output.txt", *, media_type: str | None = None) -> LocalArtifact:
        """A file that holds this text, in UTF-8. `media_type` follows from the name unless it is given.

        `ParameterError` when it is larger than `DAGY_LOCAL_ARTIFACT_MAX_BYTES` (5,242,880 bytes unless it is set).
        """
        if not isinstance(content, str):
            raise ParameterError(f"the text of {name!r} must be a str, not {type(content).__name__}")
        data = content.encode(errors="surrogateescape")
        _check_size(name, len(data))
        return cls(name, media_type or _guessed(name, "text/plain"), data)

    @classmethod
    def file(cls, path: str | Path, name: str | None = None, *, media_type: str | None = None) -> LocalArtifact:
        """The file at `path` as it is now. `StoreError` when it can't be read, else as `text`."""
        from pathlib import Path

        path = Path(path)
        name = name or path.name
        try:
            with path.open("rb") as file:
                content = file.read(_limit() + 1)
                size = max(os.fstat(file.fileno()).st_size, len(content))
        except (OSError, ValueError) as error:
            raise StoreError(f"{str(path)!r} can't be read: {getattr(error, 'strerror', None) or error}") from error
        _check_size(str(path), size)
        return cls(name, media_type or _guessed(name, "application/octet-stream"), content)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.content)

    @property
    def sha256(self) -> str:
        """The digest of its bytes, as 64 lower-case hex digits."""
        import hashlib

        return hashlib.sha256(self.content).hexdigest()

    def read_bytes(self) -> bytes:
        """What is in it."""
        return self.content

    def read_text(self) -> str:
        """What is in it, read as UTF-8. Raises `UnicodeDecodeError` when it is no text."""
        return self.content.decode()

    def save(self, path: str | Path) -> Path:
        """Write it to `path`, or under its own name into `path` if that is a folder, and return where it is.

        `StoreError` when it can't be written.
        """
        from pathlib import Path

        path = Path(path)
        target = path / self.name if path.is_dir() else path
        try:
            target.write_bytes(self.content)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{str(target)!r} can't be written: {getattr(error, 'strerror', None) or error}"
            ) from error
        return target

    def __repr__(self) -> str:
        return f"LocalArtifact({self.name!r}, {self.media_type!r}, {self.size:,} bytes)"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """What a notebook shows: an image as one, the beginning of a text, and of all else what it is."""
        if self.media_type in _IMAGES:
            return {"text/plain": repr(self), self.media_type: b2a_base64(self.content, newline=False).decode("ascii")}
        text = self._beginning()
        return {"text/plain": repr(self) if text is None else f"{self!r}\n{text}"}

    def _beginning(self) -> str | None:
        """The first characters, those that can't be seen as escapes; None when it is no text."""
        part = self.content[: _MOST_SHOWN * 4]
        try:
            text = part.decode(errors="strict" if len(part) == self.size else "ignore")
        except UnicodeDecodeError:
            return None
        if "\0" in text:
            return None
        end = "" if len(text) <= _MOST_SHOWN else "\n..."
        return "".join(map(_visible, text[:_MOST_SHOWN])) + end


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode("ascii")


def _check_size(what: str, size: int) -> None:
    """Raise `ParameterError` when a file of `size` bytes is too large to travel as a value."""
    limit = _limit()
    if size > limit:
        raise ParameterError(
            f"{what!r} has {size:,} bytes, and a LocalArtifact may have {limit:,}; write it to a bucket and return "
            f"where it is, or set {LIMIT_VARIABLE} to more"
        )


def _limit() -> int:
    given = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not given:
        return MAX_BYTES
    if not (given.isascii() and given.isdigit()):
        raise SettingsError(f"{LIMIT_VARIABLE} is {given!r}; it is a number of bytes, such as {MAX_BYTES}")
    return int(given)


def _guessed(name: str, usual: str) -> str:
    """The kind of a file by its name, the same on every machine."""
    import mimetypes

    return mimetypes.MimeTypes().guess_type(name)[0] or usual
