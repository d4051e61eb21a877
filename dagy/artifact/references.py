"""Values on their way between invocations of the handler: small ones in the payload, large ones by reference.

A reference says where a value lies, how it is written, and what its bytes are: `{"ref": "file:///results/etl-1/load",
"codec": "npy", "sha256": ..., "size": ...}`. It is only followed into the store that whoever deployed the handler
named: a payload can't send the handler anywhere else. Pickles are read from there too, so whoever may write to the
store is trusted as much as the flow's own code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from dagy.errors import ParameterError, StoreError, did_you_mean, shown
from dagy.spec import Json
from dagy.values import Encoded, encode, is_json, read_trusted

INLINE_BYTES = 65_536  # up to which a value goes in the payload itself: services take 256 KiB in all

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ValueStore(Protocol):
    """Where large values lie, by name; a name is of parts with slashes between them, none of them `.` or `..`."""

    def read(self, name: str) -> bytes:
        """What lies there. `StoreError` when nothing does, or when it can't be read."""

    def write(self, name: str, value: Encoded) -> None:
        """Put it there, whole or not at all. `StoreError` when it can't be written."""

    def has(self, name: str) -> bool:
        """Whether something lies there."""


class FolderStore:
    """A folder as a store: `file:///results`."""

    def __init__(self, url: str) -> None:
        self._folder = Path(unquote(urlsplit(url).path))

    def read(self, name: str) -> bytes:
        """What is in the file."""
        try:
            return self._path(name).read_bytes()
        except OSError as error:
            raise StoreError(f"there is no value {name!r} in {str(self._folder)!r} ({error.strerror})") from error

    def write(self, name: str, value: Encoded) -> None:
        """Write the file."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{str(path.parent)!r} can't be made: {error.strerror}") from error
        value.write(path)

    def has(self, name: str) -> bool:
        """Whether there is a file."""
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self._folder.joinpath(*name.split("/"))


STORES: dict[str, Callable[[str], ValueStore]] = {"file": FolderStore}  # by the scheme of their URLs


class Reference(NamedTuple):
    """Where a value lies, and what it is."""

    ref: str  # its URL
    codec: str
    sha256: str  # of its bytes, 64 lower-case hex digits
    size: int  # bytes

    @classmethod
    def of(cls, data: object) -> Reference:
        """The reference that `data` is. Raises `ParameterError` when it is none."""
        try:
            found = cls(**data) if isinstance(data, Mapping) else None
        except TypeError:
            found = None
        if (
            found is None
            or not (isinstance(found.ref, str) and isinstance(found.codec, str) and type(found.size) is int)
            or not (isinstance(found.sha256, str) and _SHA256.fullmatch(found.sha256))
        ):
            raise ParameterError(f"{shown(data)} is no reference; it has ref, codec, sha256 and size")
        return found


class Values:
    """Values as payloads carry them: `{"value": ...}`, or a reference into the store at `url`.

    Without a `url` there is no store: nothing can be read from one, and nothing large can be handed on.
    """

    def __init__(self, url: str | None) -> None:
        self._url = None if url is None else url.rstrip("/")
        self._store = None if self._url is None else _store_at(self._url)

    @property
    def has_store(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    def carried(self, value: object, *parts: str, called: str) -> dict[str, Json]:
        """`value` as a payload carries it: by reference to `parts` in the store when it is large, or no plain JSON.

        Raises `TravelError` when it can't be kept at all, `StoreError` when there is no store or it can't be written.
        """
        encoded = encode(value, called=called)
        if encoded.codec == "json" and encoded.size <= INLINE_BYTES and is_json(value):
            return {"value": value}
        if self._store is None:
            raise StoreError(
                f"{called} ({encoded.codec}, {encoded.size:,} bytes) does not fit into a payload; name a store for it "
                "in DAGY_STORE, such as file:///results"
            )
        return self._written(encoded, parts)._asdict()

    def keep(self, value: object, *parts: str, called: str) -> dict[str, Json]:
        """`value` as a payload carries it; and in the store in any case, where `kept` finds it by its parts."""
        encoded = encode(value, called=called)
        reference = self._written(encoded, parts)
        told = json.dumps(reference._asdict()).encode()
        self._existing.write(f"{_name(parts)}.json", Encoded("json", (told,)))
        if encoded.codec == "json" and encoded.size <= INLINE_BYTES:
            return {"value": value}
        return reference._asdict()

    def kept(self, *parts: str) -> object:
        """What `keep` put there. Raises `StoreError` when it did not, or the value is another than it was."""
        try:
            told = json.loads(self._existing.read(f"{_name(parts)}.json"))
        except ValueError as error:
            raise StoreError(f"the reference to {_name(parts)!r} is damaged: {error}") from error
        return self.read(told)

    def is_kept(self, *parts: str) -> bool:
        """Whether `keep` put something there."""
        return self._store is not None and self._store.has(f"{_name(parts)}.json")

    def opened(self, carried: object) -> object:
        """The value that `carried` is, or refers to. Raises `ParameterError` when it is neither, and as `read`."""
        if isinstance(carried, Mapping) and carried.keys() == {"value"}:
            return carried["value"]
        return self.read(carried)

    def read(self, data: object) -> object:
        """What the reference refers to. Raises `ParameterError` when that is no value of this store, `StoreError`."""
        reference = Reference.of(data)
        content = self._existing.read(self._name_of(reference.ref))
        if len(content) != reference.size or hashlib.sha256(content).hexdigest() != reference.sha256:
            raise StoreError(f"the value at {reference.ref!r} is not the one that is meant: its SHA-256 differs")
        return read_trusted(reference.codec, content)

    @property
    def _existing(self) -> ValueStore:
        if self._store is None:
            raise StoreError("no store is named for values by reference; set DAGY_STORE, such as to file:///results")
        return self._store

    def _written(self, encoded: Encoded, parts: tuple[str, ...]) -> Reference:
        name = _name(parts)
        digest = hashlib.sha256()
        for each in encoded.buffers:
            digest.update(each)
        self._existing.write(name, encoded)
        return Reference(f"{self._url}/{name}", encoded.codec, digest.hexdigest(), encoded.size)

    def _name_of(self, ref: str) -> str:
        name = ref.removeprefix(f"{self._url}/")
        if name == ref or any(part in {"", ".", ".."} or unquote(part) in {".", ".."} for part in name.split("/")):
            raise ParameterError(f"{ref!r} is not in the store {self._url!r}, and nothing else is read")
        return name


def _name(parts: tuple[str, ...]) -> str:
    """The parts as a name: each is one part, whatever is in it."""
    quoted = [quote(each, safe="").replace(".", "%2E") for each in parts]
    if not all(quoted) or any(len(each) > 255 - len(".json") for each in quoted):
        raise ParameterError(f"{shown(parts)} can't name a value")
    return "/".join(quoted)


def _store_at(url: str) -> ValueStore:
    scheme = urlsplit(url).scheme
    if scheme not in STORES:
        raise StoreError(f"no store is at {url!r}: the scheme {scheme!r} is not known{did_you_mean(scheme, STORES)}")
    return STORES[scheme](url)
