"""Objects in S3, read and written. Where AWS's own variables and files say is where they go: to a stand-in as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagy import aws
from dagy.errors import CloudError, ConflictError, StoreError
from dagy.local_artifact import LocalArtifact
from dagy.nodes.connectors import DataType
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import LibraryNode, field, flag, inbound, outbound
from dagy.nodes.library.files import local_path, written
from dagy.nodes.metadata import NodeCategory, NodeMetadata

_PLACE = (  # which object it is
    field("bucket", "The bucket's name.", required=True, placeholder="my-bucket"),
    field("key", "The object's key in the bucket.", required=True, placeholder="2026/cities.csv"),
    field("region", "The region, such as eu-central-1. Empty: what AWS's settings say.", default=""),
    field(
        "owner",
        "The account that the bucket must belong to, twelve digits. Empty: the one that is signed in.",
        default="",
        pattern=r"^(\d{12})?$",
    ),
)


@contextmanager
def _bucket(config: Mapping[str, Any]) -> Iterator[aws.Bucket]:
    """The bucket, for the block. `StoreError` when there is none of that name."""
    try:
        yield aws.Aws(region=config["region"] or None).bucket(config["bucket"], owner=config["owner"] or None)
    except CloudError as error:
        if error.code != "NoSuchBucket":
            raise
        raise StoreError(f"there is no bucket {config['bucket']!r}") from error


class ReadS3(LibraryNode):
    """An object in S3, as a file."""

    about = NodeMetadata(
        "read_s3",
        "Read from S3",
        "Gets an object from a bucket in S3, as a file that 'read_csv' and the like read.",
        NodeCategory.INPUT,
        tags=("aws", "bucket", "object", "file", "download"),
        requires=("boto3",),
    )
    ports = (
        outbound(
            "result",
            DataType.FILE,
            description="The file itself, as a LocalArtifact; or where it is, as a Path, if there is a 'path'.",
            name="File",
        ),
    )
    fields = (
        *_PLACE,
        field(
            "path",
            "Where to keep it here; a file that is there is replaced. Empty: it is kept nowhere and goes on "
            "to the next node.",
            default="",
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        """The object."""
        config = context.config
        with _bucket(config) as bucket:
            content = bucket.get(config["key"])
        if content is None:
            raise StoreError(f"there is no object {config['key']!r} in the bucket {config['bucket']!r}")
        if not config["path"]:
            name = Path(config["key"]).name or "object"
            return LocalArtifact(name, "application/octet-stream", content)
        path = local_path(config["path"])
        with written(path) as half:
            half.write_bytes(content)
        return path


class WriteS3(LibraryNode):
    """A file, bytes or a text as an object in S3."""

    about = NodeMetadata(
        "write_s3",
        "Write to S3",
        "Puts a file, bytes or a text into a bucket in S3, where it is there whole or not at all.",
        NodeCategory.OUTPUT,
        tags=("aws", "bucket", "object", "file", "upload"),
        requires=("boto3",),
    )
    ports = (
        inbound(
            "content",
            DataType.FILE,
            DataType.BYTES,
            DataType.STRING,
            required=True,
            description="What to put there; a text is put in UTF-8.",
        ),
        outbound("result", DataType.STRING, description="Where it is: s3://my-bucket/2026/cities.csv.", name="Address"),
    )
    fields = (
        *_PLACE,
        flag(
            "replace",
            "Whether it may take the place of an object that is there; if not, that is a failure.",
            default=True,
        ),
    )

    def execute(self, context: ExecutionContext) -> object:
        """Where it is."""
        config, given = context.config, context.get_upstream_data("content")
        content: bytes | Path
        match given:
            case str():
                content = given.encode()
            case LocalArtifact():
                content = given.content
            case bytes() | bytearray() | memoryview():
                content = bytes(given)
            case _:
                content = Path(given)
        address = f"s3://{config['bucket']}/{config['key']}"
        with _bucket(config) as bucket:
            is_put = bucket.put(config["key"], content, if_absent=not config["replace"])
        if not is_put:
            raise ConflictError(f"there is an object {address!r} already, and 'replace' is off; it was left as it is")
        return address
