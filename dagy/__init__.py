"""Pipelines written once: in notebook cells, run live, shipped as they are.

The public names, each loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily
from dagy.version import __version__

if TYPE_CHECKING:
    from dagy.artifact import build_artifact
    from dagy.backends import BackendRouter
    from dagy.client import AsyncDagyClient, DagyClient, Run
    from dagy.control import Deployment
    from dagy.deploy import DeployResult, deploy_artifact
    from dagy.engine import RunHandle, RunResult, TaskRun
    from dagy.errors import DagyError, SkipTask, TaskFailedError
    from dagy.executors import Executor
    from dagy.flows import Flow, LocalOptions, flow
    from dagy.hooks import Hook, RunContext
    from dagy.local_artifact import LocalArtifact
    from dagy.parameters import Static
    from dagy.spec import FlowSpec
    from dagy.states import State, StateType, completed, failed, running
    from dagy.tasks import Task, TaskOutput, task

_HOMES = {
    "AsyncDagyClient": "dagy.client",
    "BackendRouter": "dagy.backends",
    "DagyClient": "dagy.client",
    "DagyError": "dagy.errors",
    "DeployResult": "dagy.deploy",
    "Deployment": "dagy.control",
    "Executor": "dagy.executors",
    "Flow": "dagy.flows",
    "FlowSpec": "dagy.spec",
    "Hook": "dagy.hooks",
    "LocalArtifact": "dagy.local_artifact",
    "LocalOptions": "dagy.flows",
    "Run": "dagy.client",
    "RunContext": "dagy.hooks",
    "RunHandle": "dagy.engine",
    "RunResult": "dagy.engine",
    "SkipTask": "dagy.errors",
    "State": "dagy.states",
    "StateType": "dagy.states",
    "Static": "dagy.parameters",
    "Task": "dagy.tasks",
    "TaskFailedError": "dagy.errors",
    "TaskOutput": "dagy.tasks",
    "TaskRun": "dagy.engine",
    "build_artifact": "dagy.artifact",
    "completed": "dagy.states",
    "deploy_artifact": "dagy.deploy",
    "failed": "dagy.states",
    "flow": "dagy.flows",
    "running": "dagy.states",
    "task": "dagy.tasks",
}

__all__ = [
    "AsyncDagyClient",
    "BackendRouter",
    "DagyClient",
    "DagyError",
    "DeployResult",
    "Deployment",
    "Executor",
    "Flow",
    "FlowSpec",
    "Hook",
    "LocalArtifact",
    "LocalOptions",
    "Run",
    "RunContext",
    "RunHandle",
    "RunResult",
    "SkipTask",
    "State",
    "StateType",
    "Static",
    "Task",
    "TaskFailedError",
    "TaskOutput",
    "TaskRun",
    "__version__",
    "build_artifact",
    "completed",
    "deploy_artifact",
    "failed",
    "flow",
    "running",
    "task",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
