"""The door to AWS: `Aws`, and what goes in and out of it as frozen values. The only place where boto3 is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.aws.buckets import Bucket, ObjectInfo
    from dagy.aws.clients import Call
    from dagy.aws.connection import Aws
    from dagy.aws.containers import Containers, RegisteredTask, RunTask, Task, TaskDefinition
    from dagy.aws.functions import (
        Function,
        FunctionConfig,
        Functions,
        FunctionVersion,
        Invoked,
        LayerVersion,
        StoredCode,
    )
    from dagy.aws.logs import LogLine, Logs
    from dagy.aws.network import Network, Subnet
    from dagy.aws.schedules import AwsSchedule, FargateTarget, Schedules
    from dagy.aws.stacks import Stack, StackEvent, Stacks
    from dagy.aws.state_machines import Execution, MachineConfig, MachineVersion, StateMachine, StateMachines

_HOMES = {
    "Aws": "dagy.aws.connection",
    "AwsSchedule": "dagy.aws.schedules",
    "Bucket": "dagy.aws.buckets",
    "Call": "dagy.aws.clients",
    "Containers": "dagy.aws.containers",
    "Execution": "dagy.aws.state_machines",
    "FargateTarget": "dagy.aws.schedules",
    "Function": "dagy.aws.functions",
    "FunctionConfig": "dagy.aws.functions",
    "FunctionVersion": "dagy.aws.functions",
    "Functions": "dagy.aws.functions",
    "Invoked": "dagy.aws.functions",
    "LayerVersion": "dagy.aws.functions",
    "LogLine": "dagy.aws.logs",
    "Logs": "dagy.aws.logs",
    "MachineConfig": "dagy.aws.state_machines",
    "MachineVersion": "dagy.aws.state_machines",
    "Network": "dagy.aws.network",
    "ObjectInfo": "dagy.aws.buckets",
    "RegisteredTask": "dagy.aws.containers",
    "RunTask": "dagy.aws.containers",
    "Schedules": "dagy.aws.schedules",
    "Stack": "dagy.aws.stacks",
    "StackEvent": "dagy.aws.stacks",
    "Stacks": "dagy.aws.stacks",
    "StateMachine": "dagy.aws.state_machines",
    "StateMachines": "dagy.aws.state_machines",
    "StoredCode": "dagy.aws.functions",
    "Subnet": "dagy.aws.network",
    "Task": "dagy.aws.containers",
    "TaskDefinition": "dagy.aws.containers",
}

__all__ = [
    "Aws",
    "AwsSchedule",
    "Bucket",
    "Call",
    "Containers",
    "Execution",
    "FargateTarget",
    "Function",
    "FunctionConfig",
    "FunctionVersion",
    "Functions",
    "Invoked",
    "LayerVersion",
    "LogLine",
    "Logs",
    "MachineConfig",
    "MachineVersion",
    "Network",
    "ObjectInfo",
    "RegisteredTask",
    "RunTask",
    "Schedules",
    "Stack",
    "StackEvent",
    "Stacks",
    "StateMachine",
    "StateMachines",
    "StoredCode",
    "Subnet",
    "Task",
    "TaskDefinition",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
