"""Objects in S3: on moto in this process, and once on a real server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagy.aws import Aws
from dagy.errors import ConflictError, NodeConfigError, StoreError
from dagy.local_artifact import LocalArtifact
from dagy.nodes.library.files import ReadCsv
from dagy.nodes.library.objects import ReadS3, WriteS3

from ...seaweed import ACCOUNT, KEY, SECRET, Seaweed


@pytest.fixture
def _signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An account that is nobody's, and none of the developer's own settings."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def _moto() -> Iterator[Iterator[str]]:
    """Moto in AWS's place, and names for buckets."""
    from moto import mock_aws

    with mock_aws():
        yield (f"cities-{number}" for number in itertools.count())


@pytest.fixture
def place(_signed_in: None, _moto: Iterator[str]) -> dict[str, str]:
    """A key in a bucket with nothing in it."""
    name = next(_moto)
    Aws()._clients.of("s3").create_bucket(Bucket=name)
    return {"bucket": name, "key": "2026/a.csv", "owner": ACCOUNT}


def test_what_is_written_is_read(place: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"n\n1\n")
    for number, content in enumerate((path, LocalArtifact("a.csv", "text/csv", b"n\n1\n"), b"n\n1\n", "n\n1\n")):
        place["key"] = f"2026/{number}.csv"
        assert WriteS3(**place)(content) == f"s3://{place['bucket']}/2026/{number}.csv"
    file = ReadS3(**place)()
    assert (file.name, file.read_bytes()) == ("3.csv", b"n\n1\n")
    assert {Aws().bucket(place["bucket"], owner=ACCOUNT).get(f"2026/{number}.csv") for number in range(4)} == {
        b"n\n1\n"
    }


def test_an_object_is_kept_at_a_path(place: dict[str, str], tmp_path: Path) -> None:
    WriteS3(**place)(b"n\n1\n")
    file = ReadS3(**place, path=str(tmp_path / "in" / "b.csv"))()
    assert file == tmp_path / "in" / "b.csv"
    assert ReadCsv()(file)["n"].tolist() == [1]


def test_an_object_that_is_not_to_be_replaced_stays(place: dict[str, str]) -> None:
    WriteS3(**place, replace=False)(b"first")
    with pytest.raises(ConflictError, match=r"there is an object 's3://cities-\d+/2026/a.csv' already"):
        WriteS3(**place, replace=False)(b"second")
    assert ReadS3(**place)().content == b"first"
    WriteS3(**place)(b"third")
    assert ReadS3(**place)().content == b"third"


def test_an_object_that_is_not_there_is_named(place: dict[str, str]) -> None:
    with pytest.raises(StoreError, match=r"there is no object '2026/a.csv' in the bucket 'cities-"):
        ReadS3(**place)()


def test_a_bucket_that_is_not_there_is_named(place: dict[str, str]) -> None:
    for use in (
        lambda: ReadS3(bucket="towns", key="a", owner=ACCOUNT)(),
        lambda: WriteS3(bucket="towns", key="a", owner=ACCOUNT)(b""),
    ):
        with pytest.raises(StoreError, match="there is no bucket 'towns'"):
            use()


def test_an_owner_has_twelve_digits() -> None:
    with pytest.raises(NodeConfigError, match="owner"):
        ReadS3(bucket="cities", key="a", owner="me")


@pytest.mark.program
@pytest.mark.usefixtures("_signed_in")
def test_a_real_server_gives_back_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "seaweed"
    folder.mkdir()
    with Seaweed.started(folder) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        place = {"bucket": server.new_bucket(), "key": "été/a b.bin", "owner": ACCOUNT}
        content = bytes(range(256)) * 8_000
        WriteS3(**place, replace=False)(content)
        assert ReadS3(**place)().content == content
        with pytest.raises(ConflictError):
            WriteS3(**place, replace=False)(b"other")
