"""Objects in S3, read and written. Where AWS's own variables and files say is where they go: to a stand-in as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagy import aws
from dagy.errors import CloudError, ConflictError, StoreError
from dagy.local_artifact import LocalArtifact
from dagy.nodes.base import FlowNode
from dagy.nodes.connectors import ConnectorDef, ConnectorDirection, DataType
from dagy.nodes.execution import ExecutionContext, ExecutionResult
from dagy.nodes.library.files import local_path, written
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeConfigField, NodeMetadata


def _place() -> list[NodeConfigField]:
    """Which object it is."""
    return [
        NodeConfigField("bucket", "Bucket", required=True, description="The bucket's name.", placeholder="my-bucket"),
        NodeConfigField(
            "key", "Key", required=True, description="The object's key in the bucket.", placeholder="2026/cities.csv"
        ),
        NodeConfigField(
            "region",
            "Region",
            default="",
            description="The region, such as eu-central-1. Empty: what AWS's settings say.",
        ),
        NodeConfigField(
            "owner",
            "Owner",
            default="",
            pattern=r"^(\d{12})?$",
            description="The account that the bucket must belong to, twelve digits. Empty: the one that is signed in.",
        ),
    ]


@contextmanager
def _bucket(config: Mapping[str, Any]) -> Iterator[aws.Bucket]:
    """The bucket, for the block. `StoreError` when there is none of that name."""
    try:
        yield aws.Aws(region=config["region"] or None).bucket(config["bucket"], owner=config["owner"] or None)
    except CloudError as error:
        if error.code != "NoSuchBucket":
            raise
        raise StoreError(f"there is no bucket {config['bucket']!r}") from error


class ReadS3(FlowNode):
    """An object in S3, as a file."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata(
            node_type="read_s3",
            label="Read from S3",
            description="Gets an object from a bucket in S3, as a file that 'read_csv' and the like read.",
            category=NodeCategory.INPUT,
            tags=("aws", "bucket", "object", "file", "download"),
            requires=("boto3",),
        )

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [
            ConnectorDef(
                "result",
                "File",
                ConnectorDirection.OUTBOUND,
                frozenset({DataType.FILE}),
                description="The file itself, as a LocalArtifact; or where it is, as a Path, if there is a 'path'.",
            )
        ]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        path = NodeConfigField(
            "path",
            "Path",
            default="",
            description="Where to keep it here; a file that is there is replaced. "
            "Empty: it is kept nowhere and goes on to the next node.",
        )
        return [*_place(), path]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
        """The object."""
        config = context.config
        with _bucket(config) as bucket:
            content = bucket.get(config["key"])
        if content is None:
            raise StoreError(f"there is no object {config['key']!r} in the bucket {config['bucket']!r}")
        if not config["path"]:
            name = Path(config["key"]).name or "object"
            return ExecutionResult.from_success({"result": LocalArtifact(name, "application/octet-stream", content)})
        path = local_path(config["path"])
        with written(path) as half:
            half.write_bytes(content)
        return ExecutionResult.from_success({"result": path})


class WriteS3(FlowNode):
    """A file, bytes or a text as an object in S3."""

    @classmethod
    def metadata(cls) -> NodeMetadata:
        return NodeMetadata(
            node_type="write_s3",
            label="Write to S3",
            description="Puts a file, bytes or a text into a bucket in S3, where it is there whole or not at all.",
            category=NodeCategory.OUTPUT,
            tags=("aws", "bucket", "object", "file", "upload"),
            requires=("boto3",),
        )

    @classmethod
    def connectors(cls) -> list[ConnectorDef]:
        return [
            ConnectorDef(
                "content",
                "Content",
                ConnectorDirection.INBOUND,
                frozenset({DataType.FILE, DataType.BYTES, DataType.STRING}),
                required=True,
                description="What to put there; a text is put in UTF-8.",
            ),
            ConnectorDef(
                "result",
                "Address",
                ConnectorDirection.OUTBOUND,
                frozenset({DataType.STRING}),
                description="Where it is: s3://my-bucket/2026/cities.csv.",
            ),
        ]

    @classmethod
    def config_fields(cls) -> list[NodeConfigField]:
        replace = NodeConfigField(
            "replace",
            "Replace",
            ConfigFieldType.BOOLEAN,
            default=True,
            description="Whether it may take the place of an object that is there; if not, that is a failure.",
        )
        return [*_place(), replace]

    def execute(self, context: ExecutionContext) -> ExecutionResult:
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
        return ExecutionResult.from_success({"result": address})
