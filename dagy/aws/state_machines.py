"""Step Functions: state machines, their published versions, and their executions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dagy.aws.clients import Clients
from dagy.aws.refusals import NotThereError
from dagy.aws.waiting import once_role_is_known
from dagy.errors import CloudError, ConflictError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """How a state machine (STANDARD: durable, each step once) is to be."""

    name: str
    definition: str
    """JSON in the Amazon States Language."""
    role: str
    """ARN."""


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A state machine as it is."""

    config: MachineConfig
    arn: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MachineVersion:
    """A published version of a state machine, which never changes."""

    arn: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a state machine."""

    arn: str
    status: str
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED or PENDING_REDRIVE."""
    input: str = ""
    """JSON."""
    error: str | None = None
    cause: str | None = None


class StateMachines:
    """The state machines of the account in the region.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients, account: Callable[[], str]) -> None:
        self._clients = clients
        self._account = account

    def arn(self, name: str) -> str:
        """The ARN of the state machine of that name, whether there is one or not."""
        return f"arn:{self._clients.partition}:states:{self._clients.region}:{self._account()}:stateMachine:{name}"

    def get(self, name: str) -> StateMachine | None:
        """The state machine of that name; None when there is none."""
        try:
            found = self._states.describe_state_machine(stateMachineArn=self.arn(name))
            tags = self._states.list_tags_for_resource(resourceArn=found["stateMachineArn"])["tags"]
        except NotThereError:
            return None
        return StateMachine(
            MachineConfig(found["name"], found["definition"], found["roleArn"]),
            found["stateMachineArn"],
            {each.get("key", ""): each.get("value", "") for each in tags},
        )

    def names(self, prefix: str) -> tuple[str, ...]:
        """The names of all state machines that begin with `prefix`, sorted."""
        pages = self._states.get_paginator("list_state_machines").paginate()
        names = (each["name"] for page in pages for each in page["stateMachines"])
        return tuple(sorted(each for each in names if each.startswith(prefix)))

    def create(self, config: MachineConfig, tags: Mapping[str, str] | None = None) -> str:
        """Make it and publish a version of it; the version's ARN. The same once more is the same machine."""
        wanted = {"name": config.name, "type": "STANDARD", "tags": _tags(tags), **_settings(config)}
        return once_role_is_known(lambda: self._states.create_state_machine(**wanted))["stateMachineVersionArn"]

    def update(self, config: MachineConfig) -> str:
        """Make it so and publish a version; the version's ARN. What runs goes on as it was."""
        wanted = {"stateMachineArn": self.arn(config.name), **_settings(config)}
        return once_role_is_known(lambda: self._states.update_state_machine(**wanted))["stateMachineVersionArn"]

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Set these tags, and leave the others."""
        self._states.tag_resource(resourceArn=arn, tags=_tags(tags))

    def delete(self, name: str) -> None:
        """Delete it with all its versions; what runs is let end first. Nothing when there is none."""
        self._states.delete_state_machine(stateMachineArn=self.arn(name))

    def versions(self, name: str) -> tuple[MachineVersion, ...]:
        """Its published versions, the oldest first; none when there is no such machine."""
        found: list[MachineVersion] = []
        token: Any = {}
        while True:
            try:
                page = self._states.list_state_machine_versions(stateMachineArn=self.arn(name), **token)
            except NotThereError:
                return ()
            told = page["stateMachineVersions"]
            found += [MachineVersion(each["stateMachineVersionArn"], each["creationDate"]) for each in told]
            if "nextToken" not in page:
                return tuple(sorted(found, key=lambda each: int(each.arn.rpartition(":")[2])))
            token = {"nextToken": page["nextToken"]}

    def delete_version(self, arn: str) -> None:
        """Delete the version; what runs goes on. Nothing when there is none."""
        self._states.delete_state_machine_version(stateMachineVersionArn=arn)

    def start(self, arn: str, name: str, input: str) -> str:  # noqa: A002 (Step Functions' own word)
        """Start an execution of that name, of a machine or a version; its ARN. Once more is the same execution.

        Raises `ConflictError` when there is one of that name with another input.
        """
        try:
            return self._states.start_execution(stateMachineArn=arn, name=name, input=input)["executionArn"]
        except CloudError as error:
            if error.code != "ExecutionAlreadyExists":
                raise
            found = self.execution(self.execution_arn(arn, name))
            if found is None:
                raise
            if json.loads(found.input or "null") != json.loads(input):
                raise ConflictError(
                    f"there is an execution {found.arn!r} with another input; take another name"
                ) from error
            return found.arn

    def execution_arn(self, arn: str, name: str) -> str:
        """The ARN of the execution of that name, of a machine or a version."""
        parts = arn.split(":")[:7]
        return ":".join([*parts[:5], "execution", parts[6], name])

    def execution(self, arn: str) -> Execution | None:
        """The execution; None when there is none, or when it ended more than 90 days ago."""
        try:
            found = self._states.describe_execution(executionArn=arn)
        except NotThereError:
            return None
        return Execution(arn, found["status"], found.get("input", ""), found.get("error"), found.get("cause"))

    def stop(self, arn: str, *, error: str, cause: str) -> None:
        """Abort the execution, with an error's name and a sentence that say why. Nothing when there is none."""
        try:
            self._states.stop_execution(executionArn=arn, error=error[:256], cause=cause[:32_768])
        except NotThereError:
            return

    @property
    def _states(self) -> SFNClient:
        return self._clients.of("stepfunctions")


def _settings(config: MachineConfig) -> dict[str, Any]:
    return {"definition": config.definition, "roleArn": config.role, "publish": True}


def _tags(tags: Mapping[str, str] | None) -> Any:
    return [{"key": key, "value": value} for key, value in (tags or {}).items()]
