"""What a bucket asks of S3: whose it is in every request, and again when another write is under way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from dagy.aws import Bucket
from dagy.aws.clients import Clients
from dagy.errors import CloudError

OWNER = "123456789012"
SMALLEST_PART = 5 * 2**20


@pytest.fixture
def clients(aws: object) -> Clients:
    """Clients of moto."""
    return Clients("us-east-1")


@pytest.fixture
def bucket(clients: Clients) -> Bucket:
    """A bucket with nothing in it."""
    clients.of("s3").create_bucket(Bucket="bucket")
    return Bucket(clients, "bucket", lambda: OWNER, SMALLEST_PART)


def test_every_request_says_whose_the_bucket_must_be(bucket: Bucket, clients: Clients) -> None:
    owners: dict[str, set[str]] = {}

    def note(request: Any, event_name: str, **_: Any) -> None:
        owner = request.headers.get("x-amz-expected-bucket-owner", b"")
        owners.setdefault(event_name.rpartition(".")[2], set()).add(
            owner.decode() if isinstance(owner, bytes) else owner
        )

    clients.of("s3").meta.events.register_first("before-send.s3", note)
    bucket.put("a", b"1")
    bucket.put("a", b"2")
    bucket.put("large", bytes(4 * SMALLEST_PART + 1), if_absent=False)
    bucket.get("a")
    list(bucket.list())
    bucket.delete_prefix("")
    bucket.remove()
    assert owners.keys() == {
        "PutObject", "HeadObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "GetObject",
        "ListObjectsV2", "ListObjectVersions", "DeleteObjects", "DeleteBucket",
    }  # fmt: skip
    assert set().union(*owners.values()) == {OWNER}


def test_the_owner_is_asked_for_once(clients: Clients) -> None:
    clients.of("s3").create_bucket(Bucket="bucket")
    asked: list[int] = []

    def owner() -> str:
        asked.append(1)
        return OWNER

    bucket = Bucket(clients, "bucket", owner)
    bucket.put("a", b"1")
    bucket.get("a")
    assert asked == [1]


def refuse(clients: Clients, operation: str, *codes: tuple[int, str]) -> list[str]:
    """Answer the next requests of the operation so, before anybody else does; what is left to answer."""
    left: Iterator[tuple[int, str]] = iter(codes)
    asked: list[str] = []

    def answer(request: Any, **_: Any) -> Any:
        asked.append(operation)
        status, code = next(left, (0, ""))
        return None if not status else AWSResponse(request.url, status, HTTPHeaders(), _Raw(code))

    clients.of("s3").meta.events.register_first(f"before-send.s3.{operation}", answer)
    return asked


class _Raw:
    """The body of an answer."""

    def __init__(self, code: str) -> None:
        self._content = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._content


def test_a_write_that_meets_another_one_is_tried_again(
    bucket: Bucket, clients: Clients, no_waiting: list[float]
) -> None:
    asked = refuse(clients, "PutObject", *[(409, "ConditionalRequestConflict")] * 2)
    assert bucket.put("a", b"1") is True
    assert (len(asked), len(no_waiting)) == (3, 2)
    assert bucket.get("a") == b"1"


def test_a_write_that_always_meets_another_one_is_given_up(
    bucket: Bucket, clients: Clients, no_waiting: list[float]
) -> None:
    asked = refuse(clients, "PutObject", *[(409, "ConditionalRequestConflict")] * 6)
    with pytest.raises(CloudError, match="ConditionalRequestConflict"):
        bucket.put("a", b"1")
    assert len(asked) == 6


def test_a_write_whose_answer_was_lost_is_known_to_be_its_own(
    bucket: Bucket, clients: Clients, no_waiting: list[float]
) -> None:
    sent: list[Any] = []

    def lose(request: Any, **_: Any) -> Any:
        sent.append(request)
        if len(sent) > 1:
            return None
        # It is carried out, and the answer is lost: botocore sends it again.
        headers = {name: each.decode() if isinstance(each, bytes) else each for name, each in request.headers.items()}
        metadata = {name.removeprefix("x-amz-meta-"): each for name, each in headers.items() if "x-amz-meta" in name}
        Clients("us-east-1").of("s3").put_object(Bucket="bucket", Key="a", Body=b"1", Metadata=metadata)
        return AWSResponse(request.url, 500, HTTPHeaders(), _Raw("InternalError"))

    clients.of("s3").meta.events.register_first("before-send.s3.PutObject", lose)
    assert bucket.put("a", b"1") is True
    assert len(sent) == 2


def test_what_is_large_and_there_already_is_not_sent(bucket: Bucket, clients: Clients) -> None:
    content = bytes(2**20)
    bucket.put("a", content)
    asked = refuse(clients, "PutObject")
    assert bucket.put("a", content) is False
    assert asked == []


@pytest.mark.usefixtures("no_waiting")
def test_an_upload_that_fails_leaves_no_parts(bucket: Bucket, clients: Clients) -> None:
    refuse(clients, "CompleteMultipartUpload", (400, "InvalidPart"))
    with pytest.raises(CloudError, match="InvalidPart"):
        bucket.put("large", bytes(4 * SMALLEST_PART + 1))
    assert clients.of("s3").list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []


def test_a_list_goes_on_behind_its_first_page(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    keys = [f"runs/{number}/x" for number in range(5)]
    for key in keys:
        bucket.put(key, b"")
    assert [each.key for each in bucket.list("runs/")] == keys
    assert [each.key for each in bucket.list("runs/", after=keys[1])] == keys[2:]
    assert bucket.delete_prefix("runs/") == 5
