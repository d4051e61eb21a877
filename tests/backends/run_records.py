"""Runs as a control plane knows them, and what their functions tell of them: made up for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagy.artifact.run_store import RunStore
from dagy.control import RunInfo
from dagy.states import StateType

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:dagy-etl:3"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:dagy-etl:3"
TASK_DEFINITION = "arn:aws:ecs:us-east-1:123456789012:task-definition/dagy-etl:3"

RESOURCES: dict[str, dict[str, Any]] = {
    "lambda": {"function": FUNCTION, "timeout_seconds": 600, "memory_mb": 512},
    "step-functions": {"state_machine": MACHINE, "timeout_seconds": 600, "memory_mb": 512},
    "ecs": {
        "cluster": "dagy", "task_definition": TASK_DEFINITION, "subnets": ["subnet-1"], "security_groups": ["sg-1"],
        "container": "flow", "assign_public_ip": True,
    },
}  # fmt: skip


def run_info(executor: str, store: Path, run_id: str = "etl-1", **changes: Any) -> RunInfo:
    """A run of that executor whose store is a folder."""
    values: dict[str, Any] = {
        "run_id": run_id, "namespace": "", "deployment": "etl", "flow_name": "etl", "flow_version": "latest",
        "revision": 1, "code_hash": "", "artifact": "0" * 64, "parameters": {"day": "monday"},
        "status": StateType.QUEUED, "message": "", "tags": {}, "trigger": "api", "schedule_id": None,
        "scheduled_for": None, "idempotency_key": None, "created_at": datetime.now(UTC), "started_at": None,
        "ended_at": None, "worker": None, "tries": 0, "cancel_reason": None, "tasks": {}, "executor": executor,
        "resources": {"region": "us-east-1", "store": store.as_uri(), **RESOURCES.get(executor, {})},
    }  # fmt: skip
    return RunInfo(**{**values, **changes})


def run_event(state: str, message: str = "") -> dict[str, Any]:
    """That the run is in that state."""
    return {"kind": "run", "at": 1_000, "state": state} | ({"message": message} if message else {})


def task_event(task: str, state: str, attempt: int = 1) -> dict[str, Any]:
    """That the task is in that state."""
    return {"kind": "task", "at": 1_000, "task": task, "attempt": attempt, "state": state}


def output_event(task: str, text: str) -> dict[str, Any]:
    """That the task wrote something."""
    return {"kind": "output", "at": 1_000, "task": task, "attempt": 1, "stream": "stdout", "text": text}


def complete(store: RunStore, result: object = 3) -> dict[str, Any]:
    """Tell what a run of one task tells that completes; its answer."""
    store.begin({"by": "test"})
    store.add_events([run_event("RUNNING"), task_event("load", "RUNNING"), output_event("load", "200 rows\n")])
    store.add_events([task_event("load", "COMPLETED"), run_event("COMPLETED")])
    answer = {"run_id": store.run_id, "state": "COMPLETED", "message": "", "result": {"value": result}}
    store.keep_answer(answer)
    return answer
