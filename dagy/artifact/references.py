"""Values on their way between invocations of the handler: small ones in the payload, large ones by reference.

A reference says where a value lies, how it is written, and what its bytes are: `{"ref": "s3://bucket/runs/etl-1/load",
"codec": "npy", "sha256": ..., "size": ...}`. It is only followed into the store that whoever deployed the handler
named: a payload can't send the handler anywhere else. Pickles are read from there too, so whoever may write to the
store is trusted as much as the flow's own code.

A value that is small travels in the payload as it is, when JSON or a codec that runs no code gives it back.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast
from urllib.parse import quote, unquote, urlsplit

from dagy.aws.buckets import bucket_at
from dagy.errors import ParameterError, StoreError, did_you_mean, shown
from dagy.spec import Json
from dagy.values import Encoded, encode, is_json, read_trusted

if TYPE_CHECKING:
    from dagy.aws import Aws

INLINE_BYTES = 65_536  # up to which a value goes in the payload itself: services take 256 KiB in all

_INLINE_CODECS = frozenset(
    {"absent", "outputs", "npy", "arrow", "polars"}
)  # that may come in a payload: reading them runs no code
_LONGEST_PART = 250  # bytes of a part of a name: a file's name has 255

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ValueStore(Protocol):
    """Where values lie, by name; a name is of parts with slashes between them, none of them `.` or `..`.

    All raise `StoreError`, or what else a store on another machine raises: `AuthError`, `NetworkError`, `CloudError`.
    """

    def read_if_there(self, name: str) -> bytes | None:
        """What lies there; None when nothing does."""

    def write(self, name: str, value: Encoded) -> None:
        """Put it there, whole or not at all, in place of what there was."""

    def write_new(self, name: str, value: Encoded) -> bool:
        """Put it there, whole or not at all, unless something is: False, and that stays. Of several, one wins."""

    def has(self, name: str) -> bool:
        """Whether something lies there."""

    def names(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """The names that begin with `prefix`, in order: those behind `after`, or all."""


class FolderStore:
    """A folder as a store: `file:///results`."""

    def __init__(self, url: str) -> None:
        self._folder = Path(unquote(urlsplit(url).path))

    def read_if_there(self, name: str) -> bytes | None:
        """What is in the file."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{str(self._path(name))!r} can't be read: {error.strerror}") from error

    def write(self, name: str, value: Encoded) -> None:
        """Write the file."""
        value.write(self._made(name))

    def write_new(self, name: str, value: Encoded) -> bool:
        """Write the file, unless there is one."""
        path = self._made(name)
        half = path.with_name(f".{path.name}.{os.urandom(8).hex()}.half")
        try:
            value.write(half)
            os.link(half, path)  # unlike a rename it fails when there is one
        except FileExistsError:
            return False
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{str(path)!r} can't be written: {error.strerror}") from error
        finally:
            half.unlink(missing_ok=True)
        return True

    def has(self, name: str) -> bool:
        """Whether there is a file."""
        return self._path(name).is_file()

    def names(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """The files below the folder, but for half-written ones."""
        folder = self._folder.joinpath(*prefix.split("/")[:-1])
        paths = (each.relative_to(self._folder) for each in folder.rglob("*") if each.is_file())
        names = sorted(each.as_posix() for each in paths if not each.name.startswith("."))
        return (each for each in names if each.startswith(prefix) and (after is None or each > after))

    def _made(self, name: str) -> Path:
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{str(path.parent)!r} can't be made: {error.strerror}") from error
        return path

    def _path(self, name: str) -> Path:
        return self._folder.joinpath(*name.split("/"))


class BucketStore:
    """What begins with a prefix in a bucket of S3 as a store: `s3://bucket/runs`.

    The bucket must belong to the account that DAGY_BUCKET_OWNER names, else to the one that is signed in; without
    `aws` it is where AWS's own variables say.
    """

    def __init__(self, url: str, aws: Aws | None = None) -> None:
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        find = bucket_at if aws is None else aws.bucket
        self._bucket = find(parts.netloc, owner=os.environ.get("DAGY_BUCKET_OWNER") or None)

    def read_if_there(self, name: str) -> bytes | None:
        """What is in the object."""
        return self._bucket.get(self._prefix + name)

    def write(self, name: str, value: Encoded) -> None:
        """Write the object."""
        self._bucket.put(self._prefix + name, value.buffers, if_absent=False)

    def write_new(self, name: str, value: Encoded) -> bool:
        """Write the object, unless there is one."""
        return self._bucket.put(self._prefix + name, value.buffers)

    def has(self, name: str) -> bool:
        """Whether there is an object."""
        return self._bucket.head(self._prefix + name) is not None

    def names(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """The objects whose keys begin so."""
        behind = None if after is None else self._prefix + after
        return (each.key[len(self._prefix) :] for each in self._bucket.list(self._prefix + prefix, after=behind))


STORES: dict[str, Callable[[str], ValueStore]] = {"file": FolderStore, "s3": BucketStore}  # by the scheme of the URL


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
    """Values as payloads carry them: `{"value": ...}`, `{"codec": ..., "data": ...}`, or a reference into the store.

    The store is the one at `url`, reached through `store` when that is given. Without either nothing can be read by
    reference, and nothing large can be handed on.
    """

    def __init__(self, url: str | None, store: ValueStore | None = None) -> None:
        self._url = None if url is None else url.rstrip("/")
        self._store = store if store is not None or self._url is None else _store_at(self._url)

    @staticmethod
    def name_of(*parts: str) -> str:
        """The parts as a name in the store: each is one part of it, whatever is in it. Raises `ParameterError`."""
        quoted = [quote(each, safe="").replace(".", "%2E") for each in parts]
        if not all(quoted) or any(len(each) > _LONGEST_PART for each in quoted):
            raise ParameterError(f"{shown(parts)} can't name a value")
        return "/".join(quoted)

    @property
    def url(self) -> str | None:
        """Where the store is; None when there is none."""
        return self._url

    @property
    def store(self) -> ValueStore:
        """The store itself. Raises `StoreError` when there is none."""
        if self._store is None:
            raise StoreError("no store is named for values by reference; set DAGY_STORE, such as to file:///results")
        return self._store

    @property
    def has_store(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    def carried(self, value: object, *parts: str, called: str) -> dict[str, Json]:
        """`value` as a payload carries it: by reference to `parts` in the store when it is large, or a pickle.

        Raises `TravelError` when it can't be kept at all, `StoreError` when there is no store or it can't be written.
        """
        encoded = encode(value, called=called)
        if encoded.size <= INLINE_BYTES:
            if encoded.codec == "json" and is_json(value):
                return {"value": cast("Json", value)}
            if encoded.codec in _INLINE_CODECS:
                return {"codec": encoded.codec, "data": base64.b64encode(encoded.data).decode()}
        if self._store is None:
            raise StoreError(
                f"{called} ({encoded.codec}, {encoded.size:,} bytes) does not fit into a payload; name a store for it "
                "in DAGY_STORE, such as file:///results"
            )
        name = self.name_of(*parts)
        digest = hashlib.sha256()
        for each in encoded.buffers:
            digest.update(each)
        self._store.write(name, encoded)
        return Reference(f"{self._url}/{name}", encoded.codec, digest.hexdigest(), encoded.size)._asdict()

    def opened(self, carried: object) -> object:
        """The value that `carried` is, or refers to. Raises `ParameterError` when it is neither, and as `read`."""
        if isinstance(carried, Mapping):
            if carried.keys() == {"value"}:
                return carried["value"]
            if carried.keys() == {"codec", "data"} and carried["codec"] in _INLINE_CODECS:
                try:
                    return read_trusted(carried["codec"], base64.b64decode(carried["data"], validate=True))
                except (TypeError, ValueError) as error:
                    raise ParameterError(f"{shown(carried)} holds no value: {error}") from error
        return self.read(carried)

    def read(self, data: object) -> object:
        """What the reference refers to. Raises `ParameterError` when that is no value of this store, `StoreError`."""
        reference = Reference.of(data)
        content = self.store.read_if_there(self._name_of(reference.ref))
        if content is None:
            raise StoreError(f"there is no value at {reference.ref!r}")
        if len(content) != reference.size or hashlib.sha256(content).hexdigest() != reference.sha256:
            raise StoreError(f"the value at {reference.ref!r} is not the one that is meant: its SHA-256 differs")
        return read_trusted(reference.codec, content)

    def _name_of(self, ref: str) -> str:
        name = ref.removeprefix(f"{self._url}/")
        if name == ref or any(part in {"", ".", ".."} or unquote(part) in {".", ".."} for part in name.split("/")):
            raise ParameterError(f"{ref!r} is not in the store {self._url!r}, and nothing else is read")
        return name


def _store_at(url: str) -> ValueStore:
    scheme = urlsplit(url).scheme
    if scheme not in STORES:
        raise StoreError(f"no store is at {url!r}: the scheme {scheme!r} is not known{did_you_mean(scheme, STORES)}")
    return STORES[scheme](url)
