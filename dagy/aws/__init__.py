"""The door to AWS: `Aws`, and what goes in and out of it as frozen values. The only place where boto3 is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.aws.buckets import Bucket
    from dagy.aws.clients import Call
    from dagy.aws.connection import Aws
    from dagy.aws.containers import RegisteredTask, RunTask, TaskDefinition
    from dagy.aws.functions import Function, FunctionConfig, FunctionVersion, Invoked, StoredCode
    from dagy.aws.logs import LogLine
    from dagy.aws.schedules import AwsSchedule, FargateTarget
    from dagy.aws.stacks import Stack, StackEvent
    from dagy.aws.state_machines import MachineConfig, MachineVersion, StateMachine

_HOMES = {
    "Aws": "dagy.aws.connection",
    "AwsSchedule": "dagy.aws.schedules",
    "Bucket": "dagy.aws.buckets",
    "Call": "dagy.aws.clients",
    "FargateTarget": "dagy.aws.schedules",
    "Function": "dagy.aws.functions",
    "FunctionConfig": "dagy.aws.functions",
    "FunctionVersion": "dagy.aws.functions",
    "Invoked": "dagy.aws.functions",
    "LogLine": "dagy.aws.logs",
    "MachineConfig": "dagy.aws.state_machines",
    "MachineVersion": "dagy.aws.state_machines",
    "RegisteredTask": "dagy.aws.containers",
    "RunTask": "dagy.aws.containers",
    "Stack": "dagy.aws.stacks",
    "StackEvent": "dagy.aws.stacks",
    "StateMachine": "dagy.aws.state_machines",
    "StoredCode": "dagy.aws.functions",
    "TaskDefinition": "dagy.aws.containers",
}

__all__ = [
    "Aws",
    "AwsSchedule",
    "Bucket",
    "Call",
    "FargateTarget",
    "Function",
    "FunctionConfig",
    "FunctionVersion",
    "Invoked",
    "LogLine",
    "MachineConfig",
    "MachineVersion",
    "RegisteredTask",
    "RunTask",
    "Stack",
    "StackEvent",
    "StateMachine",
    "StoredCode",
    "TaskDefinition",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
