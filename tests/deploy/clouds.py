"""An account of moto's, in this very process, in which deploys find what `dagy aws init` would have made."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.archive import write_artifact
from dagy.artifact.manifest import FileEntry, LockedWheel, Manifest
from dagy.aws import Aws, Call, Stack
from dagy.client import DagyClient
from dagy.spec import FlowSpec, FromTask, ParameterSpec, TaskOptions, TaskSpec
from dagy.testing.local_aws.bridge import state_machines

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
            _set_up()
            assert self.aws.account == ACCOUNT  # asked once for all that follows
            self.forget()
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


def mend_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have moto list versions of machines, and tell of a function its one log group and last settings for events."""
    from moto.awslambda.models import LambdaBackend, LambdaFunction

    state_machines.list_versions()
    told, put = LambdaFunction.get_configuration, LambdaBackend.put_function_event_invoke_config

    def configuration(self: LambdaFunction, *given: Any, **named: Any) -> dict[str, Any]:
        return {**told(self, *given, **named), "LoggingConfig": {"LogGroup": LOG_GROUP}}

    def put_anew(self: LambdaBackend, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
        self.get_function(function_name).event_invoke_config.clear()
        return put(self, function_name, config)

    monkeypatch.setattr(LambdaFunction, "get_configuration", configuration)
    monkeypatch.setattr(LambdaBackend, "put_function_event_invoke_config", put_anew)


def artifact_on_disk(folder: Path, code: str = "x = 1\n", packages: bytes = b"quick", **options: Any) -> Path:
    """An artifact for Lambda with that code, and beside it a layer that holds `packages`; it is never run.

    `mixed=True`: one of its two tasks runs in a container. `target` is what it says that it was built for, and
    `unzipped` how many bytes the layer says that it unpacks to.
    """
    with_container = TaskOptions(executor="ecs") if options.pop("mixed", False) else TaskOptions()
    spec = FlowSpec(
        "etl",
        parameters=(ParameterSpec("limit", "int", required=False, default=1),),
        tasks=(
            TaskSpec("load", "load", "etl:load"),
            TaskSpec("save", "save", "etl:save", {"rows": FromTask("load")}, options=with_container),
        ),
    )
    contents = {"etl.py": code.encode()}
    files = tuple(FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in contents.items())
    name = hashlib.sha256(repr((code, packages, spec, options)).encode()).hexdigest()[:12]
    path = folder / name / "artifact.zip"
    if not path.exists():
        wheel = LockedWheel("quick", "1.0", "quick-1.0-py3-none-any.whl", hashlib.sha256(packages).hexdigest(), 1)
        target = options.pop("target", "lambda")
        lock = () if target == "local" else (wheel,)
        write_artifact(path, Manifest(spec, "etl:etl", "3.11", (), files, "0.1.0", target=target, lock=lock), contents)
        with zipfile.ZipFile(path.with_name("dependencies.zip"), "w") as layer:
            layer.writestr(zipfile.ZipInfo("python/quick.py"), packages)
            layer.filelist[0].file_size = options.pop("unzipped", len(packages))
    return path


def on_aws(cloud: Cloud, client: DagyClient, name: str = "dagy-etl") -> dict[str, Any]:
    """All that a deployment has on AWS and in the control plane, without the numbers of versions.

    What stands for what is checked here: the alias, the state machine and the control plane for the same version.
    """
    aws, found = cloud.aws, dict[str, Any]()
    deployments = list(client.deployments())
    resources = dict(deployments[0].resources) if deployments else {}
    found["bucket"] = sorted(each.key for each in aws.bucket(BUCKET, owner=ACCOUNT).list())
    function, live = aws.functions.get(name), aws.functions.get(name, "live")
    if function is not None and live is not None:
        version = f"{function.arn}:{live.version}"
        assert resources.pop("function") == version
        found["function"] = _unnumbered(replace(function.config, layers=()), function.code_sha256)
        found["live"] = _unnumbered(replace(live.config, layers=(), description=""), live.code_sha256)
        found["layers"] = [each.split(":")[6] for each in live.config.layers]
        found["tags"] = {**function.tags}
        found["async"] = aws.functions.async_config(name, "live")
    container = aws.containers.task_definition(name)
    if container is not None:
        assert resources.pop("task_definition") == container.arn
        found["container"] = container.definition, container.tags
    machine = aws.state_machines.get(name)
    if machine is not None:
        definition = machine.config.definition
        assert function is None or live is None or f"{function.arn}:{live.version}" in definition
        assert container is None or container.arn in definition
        pinned = str(resources.pop("state_machine"))
        assert pinned.startswith(f"{machine.arn}:")
        found["machine"] = _unnumbered(definition)
        found.setdefault("fingerprints", []).append(resources.pop("state_machine_sha256") is not None)
    found["schedule"] = _unnumbered(aws.schedules.get(STACK, name))
    found["resources"] = resources
    found["plane"] = [(each.executor, each.code_hash, each.parameters, each.tags) for each in deployments]
    return found


def _unnumbered(*things: object) -> str:
    return re.sub(rf"({ACCOUNT}:(?:function|stateMachine|task-definition)[:/][\w-]+:)\d+", r"\1N", repr(things))
