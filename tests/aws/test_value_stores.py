"""A folder and a bucket are the same to whoever keeps values in them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from dagy.artifact.references import BucketStore, FolderStore, Values, ValueStore
from dagy.aws import Aws
from dagy.errors import ParameterError, StoreError
from dagy.values import Encoded


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, aws: Aws) -> str:
    """Where a store with nothing in it is."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    aws._clients.of("s3").create_bucket(Bucket="bucket")
    return "s3://bucket/runs"


@pytest.fixture
def store(url: str, aws: Aws) -> ValueStore:
    """The store."""
    return FolderStore(url) if url.startswith("file:") else BucketStore(url, aws)


def of(text: str) -> Encoded:
    return Encoded("json", (text.encode(),))


def test_what_is_written_is_read(store: ValueStore) -> None:
    store.write("etl-1/a", Encoded("npy", (b"a", memoryview(b"bc"))))
    assert store.read_if_there("etl-1/a") == b"abc"
    assert store.has("etl-1/a")


def test_what_is_not_there_is_none(store: ValueStore) -> None:
    assert store.read_if_there("etl-1/a") is None
    assert not store.has("etl-1/a")


def test_what_is_written_again_takes_the_place_of_what_was(store: ValueStore) -> None:
    store.write("a", of("1"))
    store.write("a", of("2"))
    assert store.read_if_there("a") == b"2"


def test_what_is_to_be_new_leaves_what_was(store: ValueStore) -> None:
    assert store.write_new("a/b", of("1")) is True
    assert store.write_new("a/b", of("2")) is False
    assert store.read_if_there("a/b") == b"1"


def test_of_many_who_write_something_new_in_a_folder_one_wins(tmp_path: Path) -> None:
    store = FolderStore(tmp_path.as_uri())  # of a bucket test_buckets.py says it: moto itself may let two win
    won: list[int] = []
    together = threading.Barrier(4)

    def write(number: int) -> None:
        together.wait()
        if store.write_new("a", of(str(number))):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(won) == 1
    assert store.read_if_there("a") == str(won[0]).encode()


def test_names_are_listed_in_order_by_prefix_and_from_one_on(store: ValueStore) -> None:
    names = ["r/events/1", "r/events/2", "r/events/2-x", "r/events.json", "s/events/1"]
    for name in names:
        store.write(name, of("1"))
    assert list(store.names("r/events/")) == names[:3]
    assert list(store.names("r/events/", "r/events/1")) == names[1:3]
    assert list(store.names("r/events/", "r/events/2-x")) == []
    assert list(store.names("r/")) == ["r/events.json", *names[:3]]
    assert list(store.names("none/")) == []


def test_a_bucket_is_looked_for_where_the_variables_say(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws._clients.of("s3").create_bucket(Bucket="bucket")
    monkeypatch.setenv("DAGY_BUCKET_OWNER", "123456789012")
    Values("s3://bucket/runs").store.write("a", of("1"))
    assert aws.bucket("bucket").get("runs/a") == b"1"


def test_a_small_array_travels_in_the_payload(url: str, store: ValueStore) -> None:
    values = Values(url, store)
    carried = values.carried(np.arange(3), "r", "a", called="a")
    assert carried.keys() == {"codec", "data"}
    assert values.opened(carried).tolist() == [0, 1, 2]  # type: ignore[attr-defined]
    assert list(store.names("")) == []


def test_a_large_array_travels_by_reference(url: str, store: ValueStore) -> None:
    values = Values(url, store)
    carried = values.carried(np.arange(10_000), "r", "a", called="a")
    assert carried["ref"] == f"{url}/r/a"
    assert values.opened(carried).sum() == 49_995_000  # type: ignore[attr-defined]


def test_a_pickle_travels_by_reference_however_small(url: str, store: ValueStore) -> None:
    values = Values(url, store)
    carried = values.carried({1, 2}, "r", "a", called="a")
    assert carried["codec"] == "pickle"
    assert carried["ref"] == f"{url}/r/a"
    assert values.opened(carried) == {1, 2}


@pytest.mark.parametrize(
    "carried",
    [
        {"codec": "pickle", "data": "gASVBQAAAAAAAACPlChLAZAu"},
        {"codec": "npy", "data": "%"},
        {"codec": "npy", "data": 1},
    ],
)
def test_what_comes_in_a_payload_runs_no_code(carried: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        Values(None).opened(carried)


def test_without_a_store_what_is_large_is_refused_with_the_variable_to_set() -> None:
    with pytest.raises(StoreError, match="name a store for it in DAGY_STORE"):
        Values(None).carried(np.arange(10_000), "r", "a", called="a")
    with pytest.raises(StoreError, match="set DAGY_STORE"):
        _ = Values(None).store
