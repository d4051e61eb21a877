"""A bucket in S3: bytes by key, whole or not at all, each with its SHA-256, and only while the bucket is its owner's.

A key is written once: whoever comes first wins, and is told so. What is large is sent in parts, under the same rule.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dagy.aws.clients import Clients, account_of, read_whole
from dagy.aws.refusals import NotThereError
from dagy.errors import CloudError, DagyError, StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 16 * 2**20  # what is more than four of them is sent in parts
LOOK_FIRST_BYTES = 2**20  # from which it is asked for before it is sent, which may save sending it

_TRIES = 6  # of a write that meets another one under way
_PARTS_AT_ONCE = 4
_WRITER = "dagy-writer"  # metadata: which call of `put` wrote it
_SHA256 = "dagy-sha256"  # metadata: of the whole object, in hex; S3 itself keeps one a part

Content = bytes | Path | Sequence[bytes | memoryview | bytearray]


class ObjectInfo(NamedTuple):
    """What is known of an object without reading it."""

    key: str
    size: int
    """Bytes."""


class Bucket:
    """The bucket of that name. Every request says whose it must be, so nothing goes to a stranger's by mistake.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients, name: str, owner: Callable[[], str], part_bytes: int = PART_BYTES) -> None:
        self.name = name
        self._clients = clients
        self._owner = owner
        self._part_bytes = part_bytes

    def put(self, key: str, content: Content, *, if_absent: bool = True) -> bool:
        """Write an object: bytes, a file, or pieces to be joined. False: there was one already, and it stays.

        With `if_absent=False` it takes the place of the one there was. It is there for others once it is there whole.
        """
        with _opened(content) as source:
            if if_absent and source.size >= LOOK_FIRST_BYTES and self.head(key) is not None:
                return False
            writer = os.urandom(8).hex()
            told = {_SHA256: source.sha256.hex(), _WRITER: writer}
            only = {"IfNoneMatch": "*"} if if_absent else {}
            send = self._put_whole if source.size <= 4 * self._part_bytes else self._put_parts
            for tries in range(_TRIES):
                if tries:
                    time.sleep(0.05 * 2**tries)
                try:
                    send(key, source, told, only)
                except CloudError as error:
                    if error.code in {"PreconditionFailed", "NoSuchUpload"} and self._is_written_by(key, writer):
                        return True  # it was sent twice, because the first answer was lost on its way
                    if error.code == "PreconditionFailed":
                        return False
                    if error.code not in {"ConditionalRequestConflict", "409"} or tries == _TRIES - 1:
                        raise
                else:
                    return True
        raise AssertionError("the last try returns or raises")

    def get(self, key: str) -> bytes | None:
        """What is in the object; None when there is none. Raises `StoreError` when it is not what was written."""
        try:
            found = self._s3.get_object(**self._at, Key=key)
        except NotThereError as error:
            if error.code == "NoSuchBucket":
                raise
            return None
        data = read_whole("s3", "GetObject", found["Body"])
        expected = found["Metadata"].get(_SHA256)
        if expected is not None and hashlib.sha256(data).hexdigest() != expected:
            raise StoreError(f"s3://{self.name}/{key} is not what was written: its SHA-256 differs")
        return data

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object; None when there is none."""
        try:
            found = self._s3.head_object(**self._at, Key=key)
        except NotThereError as error:
            if error.code == "NoSuchBucket":
                raise
            return None
        return ObjectInfo(key, found["ContentLength"])

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix`, in the order of their keys: those behind `after`, or all."""
        more: dict[str, Any] = {} if after is None else {"StartAfter": after}
        while True:
            page = self._s3.list_objects_v2(**self._at, Prefix=prefix, **more)
            for each in page.get("Contents", ()):
                yield ObjectInfo(each["Key"], each["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete_prefix(self, prefix: str) -> int:
        """Delete all whose keys begin with `prefix`, old versions included; how many there were."""
        count = 0
        while True:
            page = self._s3.list_object_versions(**self._at, Prefix=prefix)
            found: list[Any] = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if not found:
                return count
            objects: Any = [{name: each[name] for name in ("Key", "VersionId") if name in each} for each in found]
            done = self._s3.delete_objects(**self._at, Delete={"Objects": objects, "Quiet": True})
            for error in done.get("Errors", ()):
                told = (
                    f"{error.get('Key', '')!r} in the bucket {self.name!r} can't be deleted: {error.get('Message', '')}"
                )
                raise CloudError(told, operation="DeleteObjects", code=error.get("Code", ""))
            count += len(objects)

    def region(self) -> str | None:
        """The region that the bucket is in; None when there is none. Raises `AuthError` for one of somebody else."""
        try:
            return self._s3.head_bucket(**self._at)["BucketRegion"]
        except NotThereError:
            return None

    def remove(self) -> None:
        """Delete the bucket itself, which must be empty; nothing when there is none."""
        try:
            self._s3.delete_bucket(**self._at)
        except NotThereError:
            return

    @cached_property
    def _at(self) -> Any:
        return {"Bucket": self.name, "ExpectedBucketOwner": self._owner()}

    @property
    def _s3(self) -> S3Client:
        return self._clients.of("s3")

    def _is_written_by(self, key: str, writer: str) -> bool:
        """Whether what is there is from this very call of `put`."""
        try:
            found = self._s3.head_object(**self._at, Key=key)
        except NotThereError:  # deleted since
            return False
        return bool(found["Metadata"].get(_WRITER) == writer)

    def _put_whole(self, key: str, source: _Source, metadata: dict[str, str], only: Any) -> None:
        checksum = base64.b64encode(source.sha256).decode()
        body = source.part(0, source.size)
        self._s3.put_object(**self._at, Key=key, Body=body, ChecksumSHA256=checksum, Metadata=metadata, **only)

    def _put_parts(self, key: str, source: _Source, metadata: dict[str, str], only: Any) -> None:
        upload: Any = {**self._at, "Key": key}
        upload["UploadId"] = self._s3.create_multipart_upload(**upload, ChecksumAlgorithm="SHA256", Metadata=metadata)[
            "UploadId"
        ]

        def send(start: int) -> CompletedPartTypeDef:
            body = source.part(start, self._part_bytes)
            checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
            number = start // self._part_bytes + 1
            sent = self._s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumSHA256=checksum)
            return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum}

        from concurrent.futures import ThreadPoolExecutor  # what is small needs no threads

        try:
            with ThreadPoolExecutor(_PARTS_AT_ONCE, "dagy-upload") as pool:
                parts = list(pool.map(send, range(0, source.size, self._part_bytes)))
            self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **only)
        except BaseException:
            self._abort(upload)
            raise

    def _abort(self, upload: Any) -> None:
        try:
            self._s3.abort_multipart_upload(**upload)
        except CloudError:
            return  # gone already; what brought us here is the error to tell


def bucket_at(name: str, *, owner: str | None = None) -> Bucket:
    """The bucket of that name where AWS's own variables say, without the rest of AWS; `owner` as for `Aws.bucket`."""
    clients = Clients()
    return Bucket(clients, name, lambda: owner or account_of(clients))


class _Source(NamedTuple):
    """Content that several threads may read anywhere in it."""

    size: int
    sha256: bytes
    part: Callable[[int, int], bytes]
    """The bytes from there on, so many of them, fewer at the end."""


@contextmanager
def _opened(content: Content) -> Iterator[_Source]:
    if isinstance(content, Path):
        try:
            with content.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").digest()
                number = file.fileno()
                yield _Source(os.fstat(number).st_size, sha256, lambda start, size: os.pread(number, size, start))
        except OSError as error:
            if isinstance(error, DagyError):
                raise
            raise StoreError(f"{str(content)!r} can't be read: {error.strerror or error}") from error
        return
    pieces = [memoryview(each) for each in ((content,) if isinstance(content, bytes) else content)]
    flat = [each.cast("B") for each in pieces if each.nbytes]
    digest = hashlib.sha256()
    for each in flat:
        digest.update(each)

    def part(start: int, size: int) -> bytes:
        found = []
        for each in flat:
            if size > 0 and start < each.nbytes:
                found.append(each[start : start + size])
                size -= found[-1].nbytes
            start = max(0, start - each.nbytes)
        return b"".join(found)

    yield _Source(sum(each.nbytes for each in flat), digest.digest(), part)
