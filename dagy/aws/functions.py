"""Lambda: functions, their published versions and aliases, the layers they load, and calling them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dagy.aws.clients import Clients, read_whole
from dagy.aws.refusals import NotThereError
from dagy.aws.waiting import once_role_is_known, wait_until
from dagy.errors import CloudError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

READY_SECONDS = 300.0
_ANSWER_SECONDS = 15.0  # more than the function itself may take, before nobody waits for its answer any more


class StoredCode(NamedTuple):
    """A ZIP in a bucket of the function's own region."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class FunctionConfig:
    """How a function is to be, without its code."""

    name: str
    role: str
    """ARN."""
    handler: str
    runtime: str
    """`python3.12`."""
    architecture: str = "x86_64"
    """Or `arm64`."""
    memory_mb: int = 128
    timeout_seconds: int = 3
    ephemeral_mb: int = 512
    layers: tuple[str, ...] = ()
    """ARNs of layer versions."""
    environment: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    log_group: str | None = None
    """None: the one that Lambda makes of the name."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it is."""

    config: FunctionConfig
    arn: str
    """Without a version."""
    version: str
    """`$LATEST`, or the number that was asked for."""
    code_sha256: str
    """In hex, of the ZIP."""
    tags: Mapping[str, str]
    state: str
    """`Active`, `Pending`, `Inactive` or `Failed`."""
    update: str
    """How the last change went: `Successful`, `InProgress` or `Failed`."""
    reason: str
    """Why it is in that state, where it says so."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be called, changed and published."""
        return self.state in {"Active", "Inactive"} and self.update == "Successful"


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """A published version: code and configuration that never change."""

    version: str
    arn: str
    """With the version at its end."""
    description: str
    code_sha256: str
    """In hex."""


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """A version of a layer."""

    arn: str
    """With the version at its end: what a function names."""
    version: int


@dataclass(frozen=True, slots=True)
class Invoked:
    """What came of calling a function."""

    payload: bytes
    """Its answer in JSON; of a function that failed, `errorType`, `errorMessage` and `stackTrace`."""
    error: str | None
    """None, or what kind of failure: `Unhandled`."""
    log_tail: str
    """The last 4 KB of its log."""


class Functions:
    """The functions of the account in the region.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def get(self, name: str, qualifier: str | None = None) -> Function | None:
        """The function of that name or ARN, a version or alias of it with `qualifier`; None when there is none."""
        try:
            found = self._lambda.get_function(**_qualified(name, qualifier))
        except NotThereError:
            return None
        config = found["Configuration"]
        return Function(
            config=FunctionConfig(
                name=config["FunctionName"],
                role=config["Role"],
                handler=config.get("Handler", ""),
                runtime=config.get("Runtime", ""),
                architecture=config.get("Architectures", ["x86_64"])[0],
                memory_mb=config["MemorySize"],
                timeout_seconds=config["Timeout"],
                ephemeral_mb=config.get("EphemeralStorage", {"Size": 512})["Size"],
                layers=tuple(each["Arn"] for each in config.get("Layers", ())),
                environment=config.get("Environment", {}).get("Variables", {}),
                description=config.get("Description", ""),
                log_group=config.get("LoggingConfig", {}).get("LogGroup"),
            ),
            arn=_unversioned(config["FunctionArn"]),
            version=config["Version"],
            code_sha256=_hex(config["CodeSha256"]),
            tags=found.get("Tags", {}),
            state=config.get("State", "Active"),
            update=config.get("LastUpdateStatus", "Successful"),
            reason=config.get("StateReason") or config.get("LastUpdateStatusReason") or "",
        )

    def names(self, prefix: str) -> tuple[str, ...]:
        """The names of all functions that begin with `prefix`, sorted."""
        pages = self._lambda.get_paginator("list_functions").paginate()
        return _beginning(prefix, (each["FunctionName"] for page in pages for each in page["Functions"]))

    def create(self, config: FunctionConfig, code: bytes | StoredCode, tags: Mapping[str, str] | None = None) -> str:
        """Make the function, from a ZIP as it is or in S3; its ARN. It is not ready yet: see `wait_ready`.

        Raises `CloudError` with the code `ResourceConflictException` when there is one of that name.
        """
        wanted = _configuration(config)
        wanted |= {"Architectures": _architectures(config.architecture), "Code": _code(code), "PackageType": "Zip"}
        made = once_role_is_known(lambda: self._lambda.create_function(**wanted, Tags=dict(tags or {})))
        return _unversioned(made["FunctionArn"])

    def update_code(self, name: str, code: bytes | StoredCode, architecture: str = "x86_64") -> None:
        """Give the function other code. It is not ready until that is done: see `wait_ready`."""
        self._lambda.update_function_code(FunctionName=name, Architectures=_architectures(architecture), **_code(code))

    def update_config(self, config: FunctionConfig) -> None:
        """Give the function of that name this configuration, all but the architecture, which goes with the code."""
        once_role_is_known(lambda: self._lambda.update_function_configuration(**_configuration(config)))

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Set these tags, and leave the others."""
        self._lambda.tag_resource(Resource=arn, Tags=dict(tags))

    def wait_ready(self, name: str, *, seconds: float = READY_SECONDS) -> Function:
        """The function, once it can be called, changed and published. Raises `CloudError` when it never will."""

        def look() -> Function | None:
            found = self.get(name)
            if found is None:
                raise CloudError(f"there is no function {name!r} any more", code="ResourceNotFoundException")
            if "Failed" in (found.state, found.update):
                raise CloudError(f"the function {name!r} can't be made ready: {found.reason}", code="Failed")
            return found if found.is_ready else None

        return wait_until(look, f"making the function {name!r} ready", seconds=seconds, every=1.0)

    def publish(self, name: str, description: str = "") -> FunctionVersion:
        """A version of the function as it is now; the newest one again when nothing changed since it."""
        return _version(self._lambda.publish_version(FunctionName=name, Description=description))

    def versions(self, name: str) -> tuple[FunctionVersion, ...]:
        """Its published versions, the oldest first; none when there is no such function."""
        try:
            pages = list(self._lambda.get_paginator("list_versions_by_function").paginate(FunctionName=name))
        except NotThereError:
            return ()
        found = [_version(each) for page in pages for each in page["Versions"] if each["Version"] != "$LATEST"]
        return tuple(sorted(found, key=lambda each: int(each.version)))

    def alias(self, name: str, alias: str) -> str | None:
        """The version that the alias stands for; None when there is no such alias."""
        try:
            return self._lambda.get_alias(FunctionName=name, Name=alias)["FunctionVersion"]
        except NotThereError:
            return None

    def put_alias(self, name: str, alias: str, version: str) -> None:
        """Let the alias stand for that version from now on."""
        wanted: Any = {"FunctionName": name, "Name": alias, "FunctionVersion": version}
        try:
            self._lambda.update_alias(**wanted)
        except NotThereError:
            self._lambda.create_alias(**wanted)

    def put_async_config(self, name: str, qualifier: str, *, retries: int = 0, max_age_seconds: int = 3600) -> None:
        """How often, and how long, Lambda tries again what a schedule asks of that version or alias."""
        self._lambda.put_function_event_invoke_config(
            **_qualified(name, qualifier), MaximumRetryAttempts=retries, MaximumEventAgeInSeconds=max_age_seconds
        )

    def async_config(self, name: str, qualifier: str) -> tuple[int, int] | None:
        """What `put_async_config` set: retries and seconds; None when nothing did."""
        try:
            found = self._lambda.get_function_event_invoke_config(**_qualified(name, qualifier))
        except NotThereError:
            return None
        return found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]

    def invoke(self, arn: str, payload: bytes, *, timeout: float) -> Invoked:
        """Call the function, of an ARN with a version, and wait for its answer. It is asked once, whatever happens.

        `timeout` is the function's own limit in seconds. When no answer comes a `NetworkError` says so; the function
        may well go on.
        """
        client = self._clients.of("lambda", once_within=timeout + _ANSWER_SECONDS)
        done = client.invoke(FunctionName=arn, InvocationType="RequestResponse", LogType="Tail", Payload=payload)
        return Invoked(
            payload=read_whole("lambda", "Invoke", done["Payload"]),
            error=done.get("FunctionError"),
            log_tail=base64.b64decode(done.get("LogResult", "")).decode("utf-8", "replace"),
        )

    def delete(self, name: str, version: str | None = None) -> None:
        """Delete the function, or one version of it; nothing when there is none."""
        try:
            self._lambda.delete_function(**_qualified(name, version))
        except NotThereError:
            return

    def publish_layer(
        self,
        name: str,
        code: StoredCode,
        *,
        description: str,
        runtimes: tuple[str, ...],
        architectures: tuple[str, ...],
    ) -> LayerVersion:
        """A new version of the layer, from a ZIP in S3."""
        made = self._lambda.publish_layer_version(
            LayerName=name,
            Description=description,
            Content={"S3Bucket": code.bucket, "S3Key": code.key},
            CompatibleRuntimes=list(runtimes),  # type: ignore[arg-type]  # a runtime newer than the stubs is a str
            CompatibleArchitectures=list(architectures),  # type: ignore[arg-type]
        )
        return LayerVersion(made["LayerVersionArn"], made["Version"])

    def newest_layer(self, name: str) -> LayerVersion | None:
        """The newest version of the layer; None when there is none."""
        return max(self.layer_versions(name), key=lambda each: each.version, default=None)

    def layer_versions(self, name: str) -> tuple[LayerVersion, ...]:
        """All versions of the layer; none when there is no such layer."""
        pages = self._lambda.get_paginator("list_layer_versions").paginate(LayerName=name)
        try:
            return tuple(
                LayerVersion(each["LayerVersionArn"], each["Version"])
                for page in pages
                for each in page["LayerVersions"]
            )
        except NotThereError:
            return ()

    def layers(self, prefix: str) -> tuple[str, ...]:
        """The names of all layers that begin with `prefix`, sorted."""
        pages = self._lambda.get_paginator("list_layers").paginate()
        return _beginning(prefix, (each["LayerName"] for page in pages for each in page["Layers"]))

    def delete_layer(self, name: str) -> None:
        """Delete all versions of the layer."""
        for each in self.layer_versions(name):
            self._lambda.delete_layer_version(LayerName=name, VersionNumber=each.version)

    @property
    def _lambda(self) -> LambdaClient:
        return self._clients.of("lambda")


def _configuration(config: FunctionConfig) -> Any:
    wanted: dict[str, Any] = {
        "FunctionName": config.name,
        "Role": config.role,
        "Handler": config.handler,
        "Runtime": config.runtime,
        "Description": config.description,
        "MemorySize": config.memory_mb,
        "Timeout": config.timeout_seconds,
        "EphemeralStorage": {"Size": config.ephemeral_mb},
        "Layers": list(config.layers),
        "Environment": {"Variables": dict(config.environment)},
    }
    if config.log_group is not None:
        wanted["LoggingConfig"] = {"LogGroup": config.log_group}
    return wanted


def _code(code: bytes | StoredCode) -> Any:
    return {"ZipFile": code} if isinstance(code, bytes) else {"S3Bucket": code.bucket, "S3Key": code.key}


def _architectures(name: str) -> Any:
    return [name]


def _qualified(name: str, qualifier: str | None) -> Any:
    return {"FunctionName": name} if qualifier is None else {"FunctionName": name, "Qualifier": qualifier}


def _version(found: Any) -> FunctionVersion:
    return FunctionVersion(
        found["Version"],
        f"{_unversioned(found['FunctionArn'])}:{found['Version']}",
        found.get("Description", ""),
        _hex(found["CodeSha256"]),
    )


def _unversioned(arn: str) -> str:
    """`arn:aws:lambda:REGION:ACCOUNT:function:NAME`, whatever comes behind it."""
    return ":".join(arn.split(":")[:7])


def _hex(sha256: str) -> str:
    """Base64, as Lambda tells it, in hex."""
    try:
        return base64.b64decode(sha256, validate=True).hex()
    except binascii.Error:
        return sha256


def _beginning(prefix: str, names: Iterator[str]) -> tuple[str, ...]:
    return tuple(sorted(each for each in names if each.startswith(prefix)))
