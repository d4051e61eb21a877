"""Functions, versions, aliases and layers, by real requests to moto."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile

import pytest

from dagy.aws import Aws, FunctionConfig, StoredCode
from dagy.errors import CloudError

from .conftest import REGION, ROLE

CONFIG = FunctionConfig(
    name="dagy-etl",
    role=ROLE,
    handler="dagy.artifact.handler.handler",
    runtime="python3.12",
    architecture="arm64",
    memory_mb=512,
    timeout_seconds=90,
    ephemeral_mb=1024,
    environment={"DAGY_STORE": "s3://bucket/runs"},
    description="etl",
)


def zipped(text: str = "def handler(event, context): return event") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), text)
    return file.getvalue()


def stored(aws: Aws, content: bytes) -> StoredCode:
    aws._clients.of("s3").create_bucket(Bucket="artifacts")
    aws.bucket("artifacts").put("layers/1.zip", content)
    return StoredCode("artifacts", "layers/1.zip")


def test_a_function_is_read_back_as_it_was_made(aws: Aws) -> None:
    arn = aws.functions.create(CONFIG, zipped(), {"dagy:stack": "dagy"})
    found = aws.functions.get("dagy-etl")
    assert found is not None
    assert found.config == CONFIG
    assert found.arn == arn == f"arn:aws:lambda:{REGION}:123456789012:function:dagy-etl"
    assert found.tags == {"dagy:stack": "dagy"}
    assert (found.version, found.is_ready) == ("$LATEST", True)


def test_the_digest_of_code_is_the_zips_own(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped())
    found = aws.functions.get("dagy-etl")
    assert found is not None
    assert found.code_sha256 == hashlib.sha256(zipped()).hexdigest()


def test_a_function_that_is_not_there_is_none(aws: Aws) -> None:
    assert aws.functions.get("dagy-none") is None
    assert aws.functions.versions("dagy-none") == ()
    assert aws.functions.alias("dagy-none", "live") is None


def test_a_name_that_is_taken_is_refused(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped())
    with pytest.raises(CloudError) as caught:
        aws.functions.create(CONFIG, zipped())
    assert (caught.value.operation, caught.value.code) == ("CreateFunction", "ResourceConflictException")


def test_code_may_lie_in_a_bucket(aws: Aws) -> None:
    content = zipped("x = 1")
    aws.functions.create(CONFIG, stored(aws, content))
    found = aws.functions.get("dagy-etl")
    assert found is not None
    assert found.code_sha256 == hashlib.sha256(content).hexdigest()


def test_code_and_configuration_are_changed_on_their_own(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped())
    changed = dataclasses.replace(CONFIG, memory_mb=1024, environment={})
    aws.functions.update_config(changed)
    aws.functions.update_code("dagy-etl", zipped("x = 2"), "arm64")
    found = aws.functions.wait_ready("dagy-etl")
    assert found.config == changed
    assert found.code_sha256 == hashlib.sha256(zipped("x = 2")).hexdigest()


def test_a_published_version_keeps_its_code(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped("x = 1"))
    first = aws.functions.publish("dagy-etl", "the first")
    aws.functions.update_code("dagy-etl", zipped("x = 2"))
    second = aws.functions.publish("dagy-etl")
    assert [each.version for each in aws.functions.versions("dagy-etl")] == ["1", "2"]
    assert (first.arn.rpartition(":")[2], second.arn.rpartition(":")[2]) == ("1", "2")
    assert first.description == "the first"
    assert first.code_sha256 == hashlib.sha256(zipped("x = 1")).hexdigest()
    old = aws.functions.get("dagy-etl", "1")
    assert old is not None
    assert (old.version, old.code_sha256) == ("1", first.code_sha256)


def test_an_alias_is_made_and_then_moved(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped("x = 1"))
    aws.functions.publish("dagy-etl")
    aws.functions.put_alias("dagy-etl", "live", "1")
    assert aws.functions.alias("dagy-etl", "live") == "1"
    aws.functions.update_code("dagy-etl", zipped("x = 2"))
    aws.functions.publish("dagy-etl")
    aws.functions.put_alias("dagy-etl", "live", "2")
    assert aws.functions.alias("dagy-etl", "live") == "2"


def test_how_often_a_start_is_tried_again_is_told_and_read_back(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped())
    aws.functions.publish("dagy-etl")
    assert aws.functions.async_config("dagy-etl", "1") is None
    aws.functions.put_async_config("dagy-etl", "1", retries=0, max_age_seconds=600)
    assert aws.functions.async_config("dagy-etl", "1") == (0, 600)


def test_tags_are_added_to_those_there_are(aws: Aws) -> None:
    arn = aws.functions.create(CONFIG, zipped(), {"dagy:stack": "dagy"})
    aws.functions.tag(arn, {"dagy:fingerprint": "f"})
    found = aws.functions.get("dagy-etl")
    assert found is not None
    assert found.tags == {"dagy:stack": "dagy", "dagy:fingerprint": "f"}


def test_functions_are_found_by_how_their_names_begin(aws: Aws) -> None:
    for name in ("dagy-b", "dagy-a", "other"):
        aws.functions.create(dataclasses.replace(CONFIG, name=name), zipped())
    assert aws.functions.names("dagy-") == ("dagy-a", "dagy-b")


def test_what_is_deleted_twice_is_gone_once(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped())
    aws.functions.delete("dagy-etl")
    aws.functions.delete("dagy-etl")
    assert aws.functions.get("dagy-etl") is None


def test_a_layer_has_versions_and_the_newest_is_found(aws: Aws) -> None:
    code = stored(aws, zipped())
    assert aws.functions.newest_layer("dagy-deps") is None
    made = [
        aws.functions.publish_layer(
            "dagy-deps", code, description=text, runtimes=("python3.12",), architectures=("x86_64",)
        )
        for text in ("one", "two")
    ]
    assert aws.functions.newest_layer("dagy-deps") == made[1]
    assert made[1].arn.endswith(":layer:dagy-deps:2")
    assert aws.functions.layers("dagy-") == ("dagy-deps",)
    aws.functions.delete_layer("dagy-deps")
    assert aws.functions.layer_versions("dagy-deps") == ()


def test_a_call_is_answered_with_what_the_function_said(aws: Aws) -> None:
    aws.functions.create(CONFIG, zipped())
    version = aws.functions.publish("dagy-etl")
    done = aws.functions.invoke(version.arn, b'{"run_id": "etl-1"}', timeout=1)
    assert (done.payload, done.error) == (b'{"run_id": "etl-1"}', None)
