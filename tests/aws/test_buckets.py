"""Buckets, against a real S3 server: first writers win, what was damaged is noticed, what is large goes in parts."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagy.aws import Bucket
from dagy.aws.clients import Clients
from dagy.errors import AuthError, CloudError, StoreError

from ..seaweed import ACCOUNT, KEY, SECRET, Seaweed

pytestmark = pytest.mark.program

SMALLEST_PART = 5 * 2**20  # that S3 takes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One server for all tests of this file."""
    with Seaweed.started(tmp_path_factory.mktemp("seaweed")) as started:
        yield started


@pytest.fixture
def clients(server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Clients of the server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return Clients("us-east-1", endpoint_url=server.url)


@pytest.fixture
def bucket(server: Seaweed, clients: Clients) -> Bucket:
    """A bucket with nothing in it."""
    return Bucket(clients, server.new_bucket(), lambda: ACCOUNT, SMALLEST_PART)


@pytest.mark.parametrize("content", [b"", b"abc", [b"a", b"", memoryview(b"bc")]], ids=["empty", "bytes", "pieces"])
def test_what_is_put_is_got(bucket: Bucket, content: bytes | list[bytes]) -> None:
    assert bucket.put("a/b c+é.txt", content) is True
    assert bucket.get("a/b c+é.txt") == b"".join([content] if isinstance(content, bytes) else content)


def test_a_file_is_put_as_it_is(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"abc")
    assert bucket.put("a.zip", path) is True
    assert bucket.get("a.zip") == b"abc"


def test_a_file_that_is_not_there_is_told(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none.zip' can't be read: No such file"):
        bucket.put("a.zip", tmp_path / "none.zip")


def test_of_an_object_its_size_is_known_without_reading_it(bucket: Bucket) -> None:
    bucket.put("a", b"abc")
    assert bucket.head("a") == ("a", 3)


def test_the_server_keeps_the_sha256_of_what_it_was_sent(bucket: Bucket, clients: Clients) -> None:
    bucket.put("a", b"abc")
    found = clients.of("s3").head_object(Bucket=bucket.name, Key="a", ChecksumMode="ENABLED")
    assert base64.b64decode(found["ChecksumSHA256"]) == hashlib.sha256(b"abc").digest()


def test_what_is_not_there_is_none(bucket: Bucket) -> None:
    assert bucket.get("a") is None
    assert bucket.head("a") is None
    assert bucket.delete_prefix("a") == 0


def test_a_bucket_that_is_not_there_is_an_error(clients: Clients) -> None:
    with pytest.raises(CloudError) as caught:
        Bucket(clients, "no-such-bucket", lambda: ACCOUNT).get("a")
    assert (caught.value.operation, caught.value.code) == ("GetObject", "NoSuchBucket")
    assert "`dagy aws init` makes it again" in str(caught.value)


def test_the_first_writer_wins(bucket: Bucket) -> None:
    assert bucket.put("a", b"first") is True
    assert bucket.put("a", b"second") is False
    assert bucket.get("a") == b"first"


def test_the_last_writer_wins_where_that_is_asked_for(bucket: Bucket) -> None:
    bucket.put("a", b"first")
    assert bucket.put("a", b"second", if_absent=False) is True
    assert bucket.get("a") == b"second"


def test_of_many_writers_at_once_one_wins_and_knows_it(bucket: Bucket) -> None:
    together = threading.Barrier(8)
    won: list[int] = []

    def write(number: int) -> None:
        together.wait()
        if bucket.put("a", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(won) == 1
    assert bucket.get("a") == b"%d" % won[0]


def test_what_is_large_goes_in_parts_under_the_same_rule(bucket: Bucket, clients: Clients, tmp_path: Path) -> None:
    content = os.urandom(4 * SMALLEST_PART + 1)
    path = tmp_path / "layer.zip"
    path.write_bytes(content)
    assert bucket.put("large", path) is True
    assert clients.of("s3").head_object(Bucket=bucket.name, Key="large")["ETag"].endswith('-5"')
    assert bucket.get("large") == content
    assert bucket.put("large", content[::-1]) is False
    assert bucket.put("large", [content[:7], memoryview(content)[7:][::-1].tobytes()], if_absent=False) is True
    assert bucket.get("large") == content[:7] + content[7:][::-1]


def test_two_large_writers_at_once_leave_one_whole_object_and_no_parts(bucket: Bucket, clients: Clients) -> None:
    together = threading.Barrier(2)
    contents = [os.urandom(4 * SMALLEST_PART + 1) for _ in range(2)]
    won: list[bytes] = []

    def write(content: bytes) -> None:
        together.wait()
        if bucket.put("large", content):
            won.append(content)

    threads = [threading.Thread(target=write, args=(each,)) for each in contents]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(won) == 1
    assert bucket.get("large") == won[0]
    uploads = clients.of("s3").list_multipart_uploads(Bucket=bucket.name)
    assert uploads.get("Uploads", []) == []


def test_what_was_damaged_on_its_way_is_refused_by_the_server(bucket: Bucket, clients: Clients) -> None:
    def damage(request: object, **_: object) -> None:
        request.data = b"abd"  # type: ignore[attr-defined]

    client = clients.of("s3")
    client.meta.events.register("before-sign.s3.PutObject", damage)
    with pytest.raises(CloudError) as caught:
        bucket.put("a", b"abc")
    assert caught.value.operation == "PutObject"
    assert bucket.get("a") is None


def test_what_was_changed_in_the_bucket_is_noticed(bucket: Bucket, clients: Clients) -> None:
    bucket.put("a", b"abc")
    told = clients.of("s3").head_object(Bucket=bucket.name, Key="a")["Metadata"]
    clients.of("s3").put_object(Bucket=bucket.name, Key="a", Body=b"abd", Metadata=told)
    with pytest.raises(StoreError, match="is not what was written: its SHA-256 differs"):
        bucket.get("a")


def test_keys_are_listed_in_order_by_prefix_and_from_one_on(bucket: Bucket) -> None:
    for key in ("runs/b", "runs/a", "runs/c/1", "other/x"):
        bucket.put(key, b"1")
    assert [each.key for each in bucket.list("runs/")] == ["runs/a", "runs/b", "runs/c/1"]
    assert [each.key for each in bucket.list("runs/", after="runs/a")] == ["runs/b", "runs/c/1"]
    assert list(bucket.list("nothing/")) == []


def test_a_prefix_is_deleted_with_all_that_is_below_it(bucket: Bucket) -> None:
    for key in ("runs/b/1", "runs/a/1", "other/x"):
        bucket.put(key, b"1")
    assert bucket.delete_prefix("runs/") == 2
    assert [each.key for each in bucket.list()] == ["other/x"]
    assert bucket.delete_prefix("") == 1
    bucket.remove()
    bucket.remove()
    with pytest.raises(CloudError, match="NoSuchBucket"):
        bucket.put("a", b"")


def test_who_has_the_wrong_secret_is_told_how_to_sign_in(
    bucket: Bucket, server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    stranger = Bucket(Clients("us-east-1", endpoint_url=server.url), bucket.name, lambda: ACCOUNT)
    with pytest.raises(AuthError, match=r"SignatureDoesNotMatch.*aws sso login"):
        stranger.get("a")
