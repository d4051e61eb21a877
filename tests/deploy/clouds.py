"""An account of moto's, in this very process, in which deploys find what `dagy aws init` would have made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from dagy.aws import Aws, Call, Stack

REGION, ACCOUNT, STACK = "us-east-1", "123456789012", "dagy"
BUCKET, LOG_GROUP = "dagy-artifacts", "/dagy/dagy"
_TRUST = json.dumps({"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
_ROLES = ("FunctionRole", "StateMachineRole", "TaskRole", "ExecutionRole", "SchedulerRole")
_OUTPUTS = {
    "Partition": "aws",
    "Account": ACCOUNT,
    "Region": REGION,
    "Bucket": BUCKET,
    **{each: f"arn:aws:iam::{ACCOUNT}:role/{each}" for each in _ROLES},
    "Cluster": STACK,
    "Subnets": "subnet-1,subnet-2",
    "SecurityGroups": "sg-1",
    "AssignPublicIp": "ENABLED",
    "LogGroup": LOG_GROUP,
    "ScheduleGroup": STACK,
}


class _Stacks:
    """CloudFormation, which has made the stack: moto's own loads all services there are, which takes seconds."""

    def __init__(self, before: Callable[[Call], None], after: Callable[[Call], None]) -> None:
        self._before, self._after = before, after

    def get(self, name: str) -> Stack:
        call = Call("cloudformation", "DescribeStacks", is_mutating=False)
        self._before(call)
        self._after(call)
        return Stack(name, name, "CREATE_COMPLETE", "", _OUTPUTS, {}, {"dagy:stack": STACK})


class _Account(Aws):
    """The door, to moto."""

    def __init__(self, before: Callable[[Call], None], after: Callable[[Call], None]) -> None:
        super().__init__(region=REGION, before_call=before, on_call=after)
        self.__dict__["stacks"] = _Stacks(before, after)


@dataclass
class Cloud:
    """The account, and what is called in it."""

    calls: list[Call] = field(default_factory=list)
    before: Callable[[Call], None] | None = None  # told of each call before it is sent; may raise
    after: Callable[[Call], None] | None = None  # told of each call once it is answered; may raise

    def __post_init__(self) -> None:
        self.aws: Aws = _Account(self._before, self._after)

    @property
    def changes(self) -> list[str]:
        """What was called that changes something, in order."""
        return [each.operation for each in self.calls if each.is_mutating]

    def _before(self, call: Call) -> None:
        if self.before is not None:
            self.before(call)

    def _after(self, call: Call) -> None:
        self.calls.append(call)
        if self.after is not None:
            self.after(call)

    def forget(self) -> None:
        """Count anew."""
        self.calls.clear()
        self.before = self.after = None

    @contextmanager
    def fresh(self) -> Iterator[Cloud]:
        """The account, with nothing in it but what every deploy needs."""
        from moto import mock_aws

        with mock_aws(config={"lambda": {"use_docker": False}}):
            self.forget()
            _set_up()
            yield self


def _set_up() -> None:
    from moto.ecs.models import ecs_backends
    from moto.iam.models import iam_backends
    from moto.s3.models import s3_backends
    from moto.scheduler.models import scheduler_backends

    for role in _ROLES:
        iam_backends[ACCOUNT]["aws"].create_role(role, _TRUST, "/", None, "", [], None)
    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, REGION)
    ecs_backends[ACCOUNT][REGION].create_cluster(STACK, tags=[])
    scheduler_backends[ACCOUNT][REGION].create_schedule_group(STACK, [])


def remember_log_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have moto tell of each function the one log group there is; it forgets what it was given."""
    from moto.awslambda.models import LambdaFunction

    told = LambdaFunction.get_configuration

    def configuration(self: LambdaFunction, *given: Any, **named: Any) -> dict[str, Any]:
        return {**told(self, *given, **named), "LoggingConfig": {"LogGroup": LOG_GROUP}}

    monkeypatch.setattr(LambdaFunction, "get_configuration", configuration)
