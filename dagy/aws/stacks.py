"""CloudFormation: stacks, each made, changed and deleted as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagy.aws.clients import Clients
from dagy.aws.refusals import NotThereError
from dagy.aws.waiting import wait_until
from dagy.errors import CloudError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

STACK_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as it is."""

    name: str
    id: str
    """ARN."""
    status: str
    """CREATE_COMPLETE, UPDATE_IN_PROGRESS, ROLLBACK_COMPLETE, ..."""
    reason: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def is_final(self) -> bool:
        """Whether nothing is under way."""
        return not self.status.endswith("_IN_PROGRESS")

    @property
    def is_sound(self) -> bool:
        """Whether all of it is as its template says."""
        return self.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}


@dataclass(frozen=True, slots=True)
class StackEvent:
    """What happened to one resource of a stack."""

    id: str
    resource: str
    """Its name in the template; the stack's own name for the stack as a whole."""
    kind: str
    """`AWS::S3::Bucket`."""
    status: str
    reason: str

    def __str__(self) -> str:
        return f"{self.resource} ({self.kind}): {self.status}{self.reason and f': {self.reason}'}"


class Stacks:
    """The stacks of the account in the region.

    All raise `AuthError`, `NetworkError` and `CloudError`.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def get(self, name: str) -> Stack | None:
        """The stack of that name or id; None when there is none, or it is deleted."""
        try:
            found = self._stacks.describe_stacks(StackName=name)["Stacks"]
        except NotThereError:
            return None
        if not found or found[0]["StackStatus"] == "DELETE_COMPLETE":
            return None
        stack: Any = found[0]
        return Stack(
            name=stack["StackName"],
            id=stack["StackId"],
            status=stack["StackStatus"],
            reason=stack.get("StackStatusReason", ""),
            outputs={each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())},
            parameters={each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", ())},
            tags={each["Key"]: each["Value"] for each in stack.get("Tags", ())},
        )

    def template(self, name: str) -> str | None:
        """The template that the stack was made of, as it was sent; None when there is no such stack."""
        try:
            found: object = self._stacks.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
        except NotThereError:
            return None
        return found if isinstance(found, str) else json.dumps(found)  # botocore parses what is JSON

    def create(self, name: str, template: str, *, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Begin to make the stack, roles and all: see `wait`."""
        self._stacks.create_stack(**_wanted(name, template, parameters, tags), OnFailure="ROLLBACK")

    def update(self, name: str, template: str, *, parameters: Mapping[str, str], tags: Mapping[str, str]) -> bool:
        """Begin to change the stack: see `wait`. False: it is as it should be, and nothing was begun."""
        try:
            self._stacks.update_stack(**_wanted(name, template, parameters, tags))
        except CloudError as error:
            if error.code == "ValidationError" and "No updates are to be performed" in str(error):
                return False
            raise
        return True

    def delete(self, name: str) -> None:
        """Begin to delete the stack with all that is in it: see `wait_deleted`."""
        self._stacks.delete_stack(StackName=name)

    def wait(
        self, name: str, tell: Callable[[StackEvent], None] | None = None, *, seconds: float = STACK_SECONDS
    ) -> Stack:
        """The stack, once what was begun is done; `tell` gets each event meanwhile.

        Raises `CloudError` with the reason of the first resource that failed, when it did not come to what was begun.
        """
        events = _Events(self._stacks, name, tell)

        def look() -> Stack | None:
            found = self.get(name)
            events.look()
            if found is None:
                raise CloudError(f"there is no stack {name!r} any more", code="ValidationError")
            return found if found.is_final else None

        found = wait_until(look, f"making the stack {name!r}", seconds=seconds, every=3.0)
        if not found.is_sound:
            failed = events.first_failed
            told = str(failed) if failed is not None else found.reason or "no reason given"
            raise CloudError(f"the stack {name!r} ended in {found.status}: {told}", code=found.status)
        return found

    def wait_deleted(
        self, name: str, tell: Callable[[StackEvent], None] | None = None, *, seconds: float = STACK_SECONDS
    ) -> None:
        """Wait until the stack is deleted. Raises `CloudError` with the reason of what can't be deleted."""
        stack = self.get(name)
        if stack is None:
            return
        events = _Events(self._stacks, stack.id, tell)

        def look() -> bool | None:
            found = self.get(stack.id)
            events.look()
            if found is not None and found.status == "DELETE_FAILED":
                failed = events.first_failed
                raise CloudError(f"the stack {name!r} can't be deleted: {failed or found.reason}", code="DELETE_FAILED")
            return True if found is None else None

        wait_until(look, f"deleting the stack {name!r}", seconds=seconds, every=3.0)

    @property
    def _stacks(self) -> CloudFormationClient:
        return self._clients.of("cloudformation")


class _Events:
    """The events of what is under way, each told once."""

    def __init__(self, stacks: CloudFormationClient, name: str, tell: Callable[[StackEvent], None] | None) -> None:
        self._stacks = stacks
        self._name = name
        self._tell = tell
        self._told: set[str] = set()
        self.first_failed: StackEvent | None = None

    def look(self) -> None:
        """Tell what is new since the last look."""
        new: list[StackEvent] = []
        for each in self._newest_first():
            if each.id in self._told:
                break
            new.append(each)
            if each.kind == "AWS::CloudFormation::Stack" and each.status in _BEGINNINGS:
                break  # what is older belongs to what was done before
        for each in reversed(new):
            self._told.add(each.id)
            if each.status.endswith("_FAILED") and self.first_failed is None:
                self.first_failed = each
            if self._tell is not None:
                self._tell(each)

    def _newest_first(self) -> Iterator[StackEvent]:
        try:
            for page in self._stacks.get_paginator("describe_stack_events").paginate(StackName=self._name):
                yield from map(_event, page["StackEvents"])
        except NotThereError:
            return


_BEGINNINGS = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"})


def _event(found: Any) -> StackEvent:
    return StackEvent(
        found["EventId"],
        found.get("LogicalResourceId", ""),
        found.get("ResourceType", ""),
        found.get("ResourceStatus", ""),
        found.get("ResourceStatusReason", ""),
    )


def _wanted(name: str, template: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> Any:
    return {
        "StackName": name,
        "TemplateBody": template,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "ClientRequestToken": f"dagy-{os.urandom(8).hex()}",  # so that it is begun once, though it be sent twice
    }
