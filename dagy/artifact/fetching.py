"""Wheels are fetched once, checked once, and kept by their SHA-256."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPException
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import Request, urlopen

from dagy.artifact.half_made import half_made
from dagy.artifact.manifest import LockedWheel
from dagy.artifact.wheels import MAX_WHEEL_BYTES, FoundWheel, verify_wheel
from dagy.errors import ArtifactError

_TIMEOUT_SECONDS = 60.0  # without a byte
_CONNECTIONS = 4
_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
)  # fmt: skip
_TRIES = 3
_CHUNK = 1 << 20


def wheel_path(local_dir: Path, wheel: LockedWheel) -> Path:
    """Where the wheel is kept."""
    return local_dir / "wheels" / wheel.sha256 / wheel.file_name


def fetch_wheels(
    found: Sequence[FoundWheel],
    local_dir: Path,
    *,
    fits: Callable[[str], None],
    on_progress: Callable[[str], None] | None = None,
) -> tuple[LockedWheel, ...]:
    """Get the wheels into the cache, those that are there already aside, and return them in the order of `found`.

    `fits` raises for the name of a file that does not fit. `ArtifactError` names the wheel that can't be had, or is not
    to be trusted.
    """
    for each in found:
        fits(each.file_name)
    missing = [each for each in found if _kept(each, local_dir) is None]
    if missing and on_progress:
        names = ", ".join(each.name for each in missing[:5])
        on_progress(f"getting {len(missing)} wheels: {names}{', ...' if len(missing) > 5 else ''}")
    fetched: dict[FoundWheel, LockedWheel] = {}
    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="dagy-wheel") as pool:
        fetched.update(zip(missing, pool.map(lambda each: _fetch(each, local_dir), missing), strict=True))
    return tuple(fetched.get(each) or _kept(each, local_dir) or _fetch(each, local_dir) for each in found)


def _kept(wheel: FoundWheel, local_dir: Path) -> LockedWheel | None:
    """The wheel in the cache; None when it is not there."""
    kept = LockedWheel(wheel.name, wheel.version, wheel.file_name, wheel.sha256, 0)
    try:
        return replace(kept, size=wheel_path(local_dir, kept).stat().st_size) if wheel.sha256 else None
    except OSError:
        return None


def _fetch(wheel: FoundWheel, local_dir: Path) -> LockedWheel:
    """Copy the wheel to the cache, and check it."""
    folder = local_dir / "wheels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"wheels can't be kept in {str(folder)!r}: {error.strerror or error}") from error
    try:
        with half_made(folder / wheel.file_name) as half:
            with half.open("wb") as file:
                digest = _copied(wheel, file)
                os.fchmod(file.fileno(), 0o644)
            _check(wheel, digest, half)
            kept = LockedWheel(wheel.name, wheel.version, wheel.file_name, digest, half.stat().st_size)
            path = wheel_path(local_dir, kept)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            half.replace(path)
            return kept
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ArtifactError(f"{wheel.file_name!r} can't be fetched: {reason}") from error


def _check(wheel: FoundWheel, digest: str, path: Path) -> None:
    if wheel.sha256 and digest != wheel.sha256:
        raise ArtifactError(f"{wheel.file_name!r} is not the file that the index tells of: its SHA-256 differs")
    verify_wheel(path, wheel)


def _copied(wheel: FoundWheel, file: BinaryIO) -> str:
    """Write the wheel's bytes to `file`, trying again when the network fails; their SHA-256."""
    for left in reversed(range(_TRIES)):
        try:
            return _copy(wheel, file)
        except (OSError, HTTPException):
            if not left or wheel.url.startswith("file:"):
                raise
    raise AssertionError("unreachable")


def _copy(wheel: FoundWheel, file: BinaryIO) -> str:
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    with _opened(wheel.url) as (source, expected):
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > MAX_WHEEL_BYTES:
                raise ArtifactError(f"{wheel.file_name!r} is larger than {MAX_WHEEL_BYTES:,} bytes")
            digest.update(chunk)
            file.write(chunk)
    if expected is not None and size != expected:
        raise ConnectionError(f"the connection ended after {size:,} of {expected:,} bytes")
    file.truncate()
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(url: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """What the URL gives, and how many bytes that should be, as far as it is told."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        with Path(unquote(parts.path)).open("rb") as file:
            yield file, None
        return
    if parts.scheme not in {"http", "https"}:
        raise ArtifactError(f"a wheel's URL begins with {parts.scheme!r}, and not with https")
    request = Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
    if sign_in := _sign_in(parts):
        request.add_unredirected_header("Authorization", sign_in)  # which no other host is shown
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            yield answer, answer.length
    except HTTPError as error:
        with error:
            remedy = "; keep the password of the index in ~/.netrc" if error.code in {401, 403} else ""
            raise ArtifactError(
                f"{unquote(parts.path.rpartition('/')[2])!r} can't be fetched from {parts.hostname}: "
                f"the answer is {error.code} {error.reason}{remedy}"
            ) from None


def _sign_in(url: SplitResult) -> str | None:
    """What to sign in with: the name and password of the URL, of an index on the same host, or of `~/.netrc`."""
    user, password = url.username, url.password
    for index in _indexes():
        if user is None and (index.scheme, index.hostname, index.port) == (url.scheme, url.hostname, url.port):
            user, password = index.username, index.password
    if user is None:
        with contextlib.suppress(OSError, NetrcParseError):
            name, _, secret = netrc().authenticators(url.hostname or "") or (None, None, None)
            return None if name is None else _basic(name, secret or "")
    return None if user is None else _basic(unquote(user), unquote(password or ""))


def _indexes() -> Iterator[SplitResult]:
    """The indexes that the environment names to uv and pip: `UV_INDEX="name=https://... https://..."`."""
    for variable in _INDEX_VARIABLES:
        for each in os.environ.get(variable, "").split():
            with contextlib.suppress(ValueError):
                parts = urlsplit(each[each.find("http") :])
                parts.port  # noqa: B018 (one that is no number is refused only when it is asked for)
                yield parts


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
