"""ECS: a task really runs, as processes, and its state and exit codes are theirs."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

from dagy.testing.local_aws.bridge.patching import replace
from dagy.testing.local_aws.containers import Ended, Wanted, run
from dagy.testing.local_aws.logs import LogStream
from dagy.testing.local_aws.world import World

OVERRIDES_CHARACTERS = 8192

_FARGATE_DISK_GIB = 20
_STOP_SECONDS = 30.0


def install(world: World) -> None:
    """Put it in place."""
    from moto.ec2.models.elastic_network_interfaces import NetworkInterface
    from moto.ecs.models import EC2ContainerServiceBackend, Task
    from moto.ecs.responses import EC2ContainerServiceResponse

    # Two things on which moto fails for what Fargate takes: a container without a memory limit of its own, and a
    # network without names.
    no_needs = {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}
    replace(
        EC2ContainerServiceBackend,
        "_calculate_task_resource_requirements",
        lambda _original: lambda _self, _what: no_needs,
    )
    if not hasattr(NetworkInterface, "private_dns_name"):
        NetworkInterface.private_dns_name = ""

    def really(original: Any) -> Any:
        def run_task(self: Any, *arguments: Any, **options: Any) -> list[Any]:
            tasks: list[Any] = original(self, *arguments, **options)
            for task in tasks:
                task.stopped = threading.Event()
                _move(task, "PROVISIONING")
                threading.Thread(target=_live, args=(world, self, task), daemon=True).start()
            return tasks

        return run_task

    def once(original: Any) -> Any:
        def run_task(self: Any) -> Any:
            _check_overrides(self._get_param("overrides"))
            token = self._get_param("clientToken")
            if token is None:
                return original(self)
            return world.tokens.setdefault(token, None) or world.tokens.setdefault(f"{token} ", original(self))

        return run_task

    def stop_task(self: Any, cluster: str, name: str, reason: str) -> Any:
        task = next(iter(self.describe_tasks(cluster, [name])), None)
        if task is None:
            raise _refusal(f"The referenced task was not found: {name}")
        if task.status != "STOPPED":
            task.desired_status = "STOPPED"
            task.stop_code, task.stopped_reason = "UserInitiated", reason or "Task stopped by user"
            task.stopped.set()
        return task

    replace(EC2ContainerServiceBackend, "run_task", really)
    replace(EC2ContainerServiceBackend, "stop_task", lambda _original: stop_task)
    replace(EC2ContainerServiceResponse, "run_task", once)
    replace(Task, "status", lambda _original: property(lambda task: task._status, lambda _task, _status: None))


def _move(task: Any, status: str) -> None:
    task._status = status
    for container in task.containers:
        container.last_status = status if status in ("RUNNING", "STOPPED") else "PENDING"


def _live(world: World, backend: Any, task: Any) -> None:
    """All the task's life."""
    definition = backend.describe_task_definition(task.task_definition_arn)
    changed = {each.get("name"): each for each in task.overrides.get("containerOverrides", [])}
    _move(task, "RUNNING")
    task.started_at = datetime.now(tz=UTC)
    for container, described in zip(task.containers, definition.container_definitions, strict=False):
        container.exitCode = None
        wanted = _wanted(world, task, definition, described, changed.get(described["name"], {}))
        ended = run(wanted, world.home, task.stopped, _stream(task, described))
        container.exitCode = ended.exit_code
        if ended.reason:
            container.reason = ended.reason
        _tell_why(task, ended)
    task.stopped_at = datetime.now(tz=UTC)
    task.desired_status = "STOPPED"
    _move(task, "STOPPED")


def _tell_why(task: Any, ended: Ended) -> None:
    if task.stopped.is_set():
        return
    if ended.exit_code is None:
        task.stop_code, task.stopped_reason = "TaskFailedToStart", ended.reason
    else:
        task.stop_code, task.stopped_reason = "EssentialContainerExited", "Essential container in task exited"


def _wanted(world: World, task: Any, definition: Any, described: dict[str, Any], changed: dict[str, Any]) -> Wanted:
    command = [*described.get("entryPoint", []), *(changed.get("command") or described.get("command", []))]
    variables = {each["name"]: each["value"] for each in described.get("environment", [])}
    variables |= {each["name"]: each["value"] for each in changed.get("environment", [])}
    disk = (definition.ephemeral_storage or {}).get("sizeInGiB", _FARGATE_DISK_GIB)
    return Wanted(
        image=described["image"],
        command=command,
        variables={
            **world.variables,
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "AWS_REGION": task.region_name,
            "AWS_DEFAULT_REGION": task.region_name,
            **variables,
        },
        memory_mb=int(task.overrides.get("memory") or definition.memory or described.get("memory") or 512),
        tmp_mb=int(disk) * 1024,
        stop_seconds=float(described.get("stopTimeout", _STOP_SECONDS)),
    )


def _stream(task: Any, described: dict[str, Any]) -> LogStream | None:
    logs = described.get("logConfiguration", {})
    if logs.get("logDriver") != "awslogs":
        return None
    options = logs["options"]
    name = f"{options.get('awslogs-stream-prefix', 'ecs')}/{described['name']}/{task.id}"
    return LogStream(task._account_id, task.region_name, options["awslogs-group"], name)


def _check_overrides(overrides: Any) -> None:
    if len(json.dumps(overrides or {})) > OVERRIDES_CHARACTERS:
        raise _refusal(f"Container Overrides length must be at most {OVERRIDES_CHARACTERS}")


def _refusal(message: str) -> Exception:
    from moto.ecs.exceptions import InvalidParameterException

    error: Exception = InvalidParameterException(message)
    return error
