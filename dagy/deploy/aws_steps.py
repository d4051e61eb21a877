"""Makes the steps of a deploy on AWS: each does what is left of it to do, and nothing when it is made once more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import assert_never

from dagy.aws import Aws, FunctionConfig, StoredCode
from dagy.deploy.aws_names import ALIAS
from dagy.deploy.aws_plan import (
    AwsPresent,
    AwsStep,
    ChangeCode,
    ChangeFunction,
    MakeFunction,
    PublishFunction,
    PublishLayer,
    PutAwsSchedule,
    PutFile,
    PutMachine,
    RegisterContainer,
    RemoveAwsSchedule,
    RemoveOldVersions,
    SwitchAlias,
    TagFunction,
    TryOnce,
    places_of,
)
from dagy.deploy.aws_versions import published
from dagy.deploy.aws_wanted import OnAws, Places
from dagy.errors import CloudError, ConflictError
from dagy.spec import Json

_MET_ANOTHER = frozenset({"ResourceConflictException", "PreconditionFailedException", "ConflictException"})


class Deployer:
    """What carries out the steps of one deploy; `places` fill up as it goes on."""

    def __init__(self, aws: Aws, wanted: OnAws, present: AwsPresent) -> None:
        self._aws = aws
        self._wanted = wanted
        self._is_busy = present.function is not None and not present.function.is_ready
        self.places: Places = places_of(wanted, present)

    def resources(self) -> dict[str, Json]:
        """What runs must know of what was made."""
        return self._wanted.resources(self.places)

    def carry_out(self, step: AwsStep) -> None:
        """Make the step. Raises `ConflictError` when somebody else changes the same at the same time."""
        try:
            self._carry_out(step)
        except CloudError as error:
            if error.code not in _MET_ANOTHER:
                raise
            raise ConflictError(
                f"{self._wanted.name} is being changed by somebody else at the same time ({error}); agree on who "
                "deploys, and deploy again"
            ) from error

    def _carry_out(self, step: AwsStep) -> None:
        wanted, functions = self._wanted, self._aws.functions
        match step:
            case PutFile(upload=upload, bucket=bucket):
                self._aws.bucket(bucket, owner=wanted.environment.account).put(upload.key, upload.path)
            case PublishLayer(name=name):
                self._publish_layer(name)
            case MakeFunction():
                self._make_function()
            case ChangeCode():
                self._settle()
                functions.update_code(wanted.name, self._code, self._config.architecture)
                functions.wait_ready(wanted.name)
            case ChangeFunction():
                self._settle()
                functions.update_config(self._config)
                functions.wait_ready(wanted.name)
            case TagFunction():
                functions.tag(self._function_arn, wanted.function_tags())
            case PublishFunction():
                self._publish()
            case RegisterContainer():
                assert wanted.container is not None
                arn = self._aws.containers.register(wanted.container, wanted.container_tags())
                self.places = replace(self.places, task_definition=arn)
            case PutMachine(is_there=is_there):
                self._put_machine(is_there=is_there)
            case SwitchAlias():
                functions.put_alias(wanted.name, ALIAS, self._version)
            case TryOnce():
                functions.put_async_config(wanted.name, ALIAS, retries=0, max_age_seconds=3600)
            case PutAwsSchedule():
                schedule = wanted.schedule(self.places)
                assert schedule is not None
                self._aws.schedules.put(schedule)
            case RemoveAwsSchedule(group=group, name=name):
                self._aws.schedules.delete(group, name)
            case RemoveOldVersions():
                self._remove_old(step)
            case _:
                assert_never(step)

    @property
    def _code(self) -> StoredCode:
        return StoredCode(self._wanted.environment.bucket, self._wanted.artifact.key)

    @property
    def _config(self) -> FunctionConfig:
        return self._wanted.function_config(self.places.layer)

    @property
    def _function_arn(self) -> str:
        at = self._wanted.environment
        return f"arn:{at.partition}:lambda:{at.region}:{at.account}:function:{self._wanted.name}"

    @property
    def _version(self) -> str:
        return str(self.places.function).rpartition(":")[2]

    def _settle(self) -> None:
        """Wait for the end of a change that a deploy began which did not live to see it."""
        if self._is_busy:
            self._aws.functions.wait_ready(self._wanted.name)
            self._is_busy = False

    def _publish_layer(self, name: str) -> None:
        wanted, config = self._wanted, self._config
        assert wanted.layer is not None
        made = self._aws.functions.publish_layer(
            name,
            StoredCode(wanted.environment.bucket, wanted.layer.key),
            description=f"sha256 {wanted.layer.sha256}",
            runtimes=(config.runtime,),
            architectures=(config.architecture,),
        )
        self.places = replace(self.places, layer=made.arn)

    def _make_function(self) -> None:
        wanted, functions = self._wanted, self._aws.functions
        try:
            functions.create(self._config, self._code, wanted.function_tags())
        except CloudError as error:
            if error.code != "ResourceConflictException":
                raise
            # It is there by now: by an answer that was lost, or by somebody who deploys the same.
            functions.wait_ready(wanted.name)
            functions.update_code(wanted.name, self._code, self._config.architecture)
            functions.wait_ready(wanted.name)
            functions.update_config(self._config)
            functions.tag(self._function_arn, wanted.function_tags())
        functions.wait_ready(wanted.name)

    def _publish(self) -> None:
        made = self._aws.functions.publish(self._wanted.name, published(datetime.now(UTC)))
        if made.code_sha256 != self._wanted.artifact.sha256:
            raise ConflictError(
                f"version {made.version} of the function {self._wanted.name} is not the code that is deployed: "
                "somebody else deploys at the same time; agree on who deploys, and deploy again"
            )
        self.places = replace(self.places, function=made.arn)

    def _put_machine(self, *, is_there: bool) -> None:
        wanted, machines = self._wanted, self._aws.state_machines
        machine = wanted.machine(self.places)
        tags, version = wanted.machine_tags(machine), None
        if not is_there:
            try:
                version = machines.create(machine, tags)
            except CloudError as error:
                if error.code != "StateMachineAlreadyExists":
                    raise
        if version is None:
            version = machines.update(machine)
            machines.tag(version.rpartition(":")[0], tags)
        self.places = replace(self.places, machine=version)

    def _remove_old(self, step: RemoveOldVersions) -> None:
        removals = [
            *(partial(self._aws.functions.delete, step.name, each.version) for each in step.of_function),
            *(partial(self._aws.state_machines.delete_version, each.arn) for each in step.of_machine),
        ]
        for remove in removals:
            try:
                remove()
            except CloudError as error:
                if error.code not in _MET_ANOTHER:  # else an alias of somebody's stands for it
                    raise
