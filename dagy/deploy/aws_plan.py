"""The steps from what there is on AWS to what should be. Looking and planning change nothing.

What was there before keeps running until the last step: code, layers and versions are added beside the old ones, and
only then do the alias, and after it the control plane, stand for the new ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import TypeAlias

from dagy import drawing
from dagy.aws import (
    Aws,
    AwsSchedule,
    Function,
    FunctionConfig,
    FunctionVersion,
    MachineVersion,
    RegisteredTask,
    StateMachine,
)
from dagy.deploy.aws_names import ALIAS
from dagy.deploy.aws_versions import old_machine_versions, old_versions
from dagy.deploy.aws_wanted import OnAws, Places, Upload, machine_sha256
from dagy.spec import Json

LATEST = "$LATEST"
_ASYNC = (0, 3600)  # tries again, and seconds: what a schedule asked for is called once


@dataclass(frozen=True, slots=True)
class PutFile:
    """Put a file into the bucket, unless it is there."""

    upload: Upload
    bucket: str

    def __str__(self) -> str:
        key = self.upload.key.replace(self.upload.sha256, f"{self.upload.sha256[:12]}…")
        return f"put {self.upload.what} into s3://{self.bucket}/{key} ({self.upload.size:,} bytes)"


@dataclass(frozen=True, slots=True)
class PublishLayer:
    """Make a layer of the packages."""

    name: str

    def __str__(self) -> str:
        return f"publish the layer {self.name}"


@dataclass(frozen=True, slots=True)
class MakeFunction:
    """Make the Lambda function."""

    config: FunctionConfig

    def __str__(self) -> str:
        return f"make the function {self.config.name} ({_size(self.config)}, {self.config.runtime})"


@dataclass(frozen=True, slots=True)
class ChangeCode:
    """Give the Lambda function other code."""

    name: str

    def __str__(self) -> str:
        return f"give the function {self.name} the new code"


@dataclass(frozen=True, slots=True)
class ChangeFunction:
    """Give the Lambda function other settings."""

    config: FunctionConfig
    changed: tuple[str, ...]  # what of it, with before and after

    def __str__(self) -> str:
        return f"change the function {self.config.name}: {', '.join(self.changed) or 'as it is'}"


@dataclass(frozen=True, slots=True)
class TagFunction:
    """Note with the Lambda function what it was made of."""

    name: str

    def __str__(self) -> str:
        return f"tag the function {self.name}"


@dataclass(frozen=True, slots=True)
class PublishFunction:
    """Make a version of the function, which never changes any more."""

    name: str

    def __str__(self) -> str:
        return f"publish a version of the function {self.name}"


@dataclass(frozen=True, slots=True)
class RegisterContainer:
    """Register a revision of the task definition."""

    family: str
    image: str
    vcpu: float
    memory_mb: int

    def __str__(self) -> str:
        return f"register the container {self.family} ({self.vcpu:g} vCPU, {self.memory_mb:,} MB, {self.image})"


@dataclass(frozen=True, slots=True)
class PutMachine:
    """Make the state machine, or change it, and publish a version of it."""

    name: str
    is_there: bool

    def __str__(self) -> str:
        return f"{'change' if self.is_there else 'make'} the state machine {self.name}, and publish a version of it"


@dataclass(frozen=True, slots=True)
class SwitchAlias:
    """Let the function's alias stand for the new version."""

    name: str
    before: str | None

    def __str__(self) -> str:
        return f"switch the alias {ALIAS} of the function {self.name} to the new version" + (
            "" if self.before is None else f" (it was {self.before})"
        )


@dataclass(frozen=True, slots=True)
class TryOnce:
    """Have Lambda try nothing again by itself."""

    name: str

    def __str__(self) -> str:
        return f"let Lambda try no run of {self.name} again by itself"


@dataclass(frozen=True, slots=True)
class PutAwsSchedule:
    """Let EventBridge Scheduler start runs."""

    name: str
    expression: str
    timezone: str
    is_there: bool

    def __str__(self) -> str:
        return f"{'change' if self.is_there else 'make'} the schedule {self.name}: {self.expression} ({self.timezone})"


@dataclass(frozen=True, slots=True)
class RemoveAwsSchedule:
    """Let EventBridge Scheduler start no more runs."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"remove the schedule {self.name}"


@dataclass(frozen=True, slots=True)
class RemoveOldVersions:
    """Remove versions that nothing has used for a while."""

    name: str  # of the function and the state machine
    of_function: tuple[FunctionVersion, ...]
    of_machine: tuple[MachineVersion, ...]

    def __str__(self) -> str:
        count = drawing.counted(len(self.of_function) + len(self.of_machine), "version")
        return f"remove {count} of {self.name} that nothing has used for two weeks"


AwsStep: TypeAlias = (
    PutFile
    | PublishLayer
    | MakeFunction
    | ChangeCode
    | ChangeFunction
    | TagFunction
    | PublishFunction
    | RegisterContainer
    | PutMachine
    | SwitchAlias
    | TryOnce
    | PutAwsSchedule
    | RemoveAwsSchedule
    | RemoveOldVersions
)


@dataclass(frozen=True, slots=True)
class AwsPresent:
    """What there is on AWS of a deployment, as far as a plan depends on it."""

    files: frozenset[str] = frozenset()  # the keys of those that are in the bucket, of those that were asked for
    layer: str | None = None  # ARN of a version of the layer that is wanted
    function: Function | None = None  # as it would be published
    live: Function | None = None  # the version that the alias stands for
    async_config: tuple[int, int] | None = None
    container: RegisteredTask | None = None
    machine: StateMachine | None = None
    machine_version: str | None = None  # ARN of the version that was published of it as it is, where that is known
    schedule: AwsSchedule | None = None
    old_functions: tuple[FunctionVersion, ...] = ()  # that may be removed once there is another; where that is to be
    old_machines: tuple[MachineVersion, ...] = ()


def look_on_aws(aws: Aws, wanted: OnAws, known: Mapping[str, Json]) -> AwsPresent:
    """What there is, in as few calls as tell it. `known` are the resources that the control plane knows of."""
    function = live = container = machine = machine_version = async_config = None
    layer, files = None, set()
    if wanted.function is not None:
        function = aws.functions.get(wanted.name)
        if function is not None:
            live = aws.functions.get(wanted.name, ALIAS)
        if live is not None:
            async_config = aws.functions.async_config(wanted.name, ALIAS)
        if wanted.layer_name is not None:
            layer = _layer_of(function, wanted.layer_name)
            if layer is None and (newest := aws.functions.newest_layer(wanted.layer_name)) is not None:
                layer = newest.arn
    if wanted.container is not None:
        container = aws.containers.task_definition(wanted.name)
    if wanted.has_machine:
        machine = aws.state_machines.get(wanted.name)
        if machine is not None and known.get("state_machine_sha256") == machine_sha256(machine.config):
            machine_version = str(known["state_machine"])
    bucket = aws.bucket(wanted.environment.bucket, owner=wanted.environment.account)
    for upload in _needed_files(wanted, function, layer):
        if bucket.head(upload.key) is not None:
            files.add(upload.key)
    present = AwsPresent(
        frozenset(files),
        layer,
        function,
        live,
        async_config,
        container,
        machine,
        machine_version,
        aws.schedules.get(wanted.environment.schedule_group, wanted.name),
    )
    return _with_old_versions(aws, wanted, present, known)


def _with_old_versions(aws: Aws, wanted: OnAws, present: AwsPresent, known: Mapping[str, Json]) -> AwsPresent:
    """What there is, with the versions that may go when others are published; else nobody asks for them."""
    places, now = places_of(wanted, present), datetime.now(UTC)
    if present.live is not None and wanted.function is not None and places.function is None:
        versions = aws.functions.versions(wanted.name)
        present = replace(present, old_functions=tuple(old_versions(versions, {present.live.version}, now)))
    if present.machine is not None and places.machine is None:
        machines = aws.state_machines.versions(wanted.name)
        used = {str(known.get("state_machine"))}
        present = replace(present, old_machines=tuple(old_machine_versions(machines, used, now)))
    return present


def plan_on_aws(wanted: OnAws, present: AwsPresent, *, force: bool = False) -> tuple[AwsStep, ...]:
    """The steps from `present` to `wanted`, in order; with `force` those, too, that change nothing."""
    before = places_of(wanted, present)
    return (
        *_putting(wanted, present, force=force),
        *_function_steps(wanted, present, force=force),
        *_container_steps(wanted, present, force=force),
        *_machine_steps(wanted, present, before, force=force),
        *_alias_steps(wanted, present, before, force=force),
        *_schedule_steps(wanted, present, before, force=force),
    )


def places_of(wanted: OnAws, present: AwsPresent) -> Places:
    """What of the present is as it is wanted: the places of that; None for what is to be made or changed."""
    function = task_definition = machine = None
    if present.live is not None and wanted.function is not None and _is_live(wanted, present.live):
        function = f"{present.live.arn}:{present.live.version}"
    if present.container is not None and _is_registered(wanted, present.container):
        task_definition = present.container.arn
    found = Places(present.layer, function, task_definition)
    is_based = function is not None and (wanted.container is None or task_definition is not None)
    is_known = present.machine is not None and present.machine_version is not None and is_based
    if is_known and present.machine is not None and present.machine.config == wanted.machine(found):
        machine = present.machine_version
    return replace(found, machine=machine)


def _putting(wanted: OnAws, present: AwsPresent, *, force: bool) -> Iterator[AwsStep]:
    uploads = [wanted.artifact, *([] if wanted.layer is None else [wanted.layer])]
    for each in uploads if force else _needed_files(wanted, present.function, present.layer):
        if force or each.key not in present.files:
            yield PutFile(each, wanted.environment.bucket)


def _function_steps(wanted: OnAws, present: AwsPresent, *, force: bool) -> Iterator[AwsStep]:
    function = present.function
    if wanted.function is None:
        return
    if wanted.layer_name is not None and present.layer is None:
        yield PublishLayer(wanted.layer_name)
    if function is None:
        yield MakeFunction(wanted.function)
    else:
        if force or not _has_code(wanted, function):
            yield ChangeCode(wanted.name)
        changed = _changes(wanted, function)
        if force or changed:
            yield ChangeFunction(wanted.function, changed)
        if not _is_tagged(function.tags, wanted.function_tags()):
            yield TagFunction(wanted.name)
    if force or present.live is None or not _is_live(wanted, present.live):
        yield PublishFunction(wanted.name)


def _container_steps(wanted: OnAws, present: AwsPresent, *, force: bool) -> Iterator[AwsStep]:
    definition = wanted.container
    if definition is None:
        return
    if force or present.container is None or not _is_registered(wanted, present.container):
        yield RegisterContainer(definition.family, definition.image, definition.cpu / 1024, definition.memory_mb)


def _machine_steps(wanted: OnAws, present: AwsPresent, before: Places, *, force: bool) -> Iterator[AwsStep]:
    if wanted.has_machine and (force or before.machine is None or not _is_tagged_machine(wanted, present.machine)):
        yield PutMachine(wanted.name, present.machine is not None)


def _alias_steps(wanted: OnAws, present: AwsPresent, before: Places, *, force: bool) -> Iterator[AwsStep]:
    if wanted.function is None:
        return
    if force or before.function is None:
        yield SwitchAlias(wanted.name, None if present.live is None else present.live.version)
    if force or present.async_config != _ASYNC:
        yield TryOnce(wanted.name)


def _schedule_steps(wanted: OnAws, present: AwsPresent, before: Places, *, force: bool) -> Iterator[AwsStep]:
    there = present.schedule
    if wanted.timing is None:
        if there is not None:
            yield RemoveAwsSchedule(there.group, there.name)
        return
    is_complete = wanted.is_complete(before)
    meant = wanted.schedule(before if is_complete else _anywhere(before))
    assert meant is not None
    if force or not is_complete or there != meant:
        yield PutAwsSchedule(meant.name, meant.expression, meant.timezone, there is not None)


def removing_old(wanted: OnAws, present: AwsPresent) -> tuple[AwsStep, ...]:
    """What may be tidied up once all is switched."""
    if present.old_functions or present.old_machines:
        return (RemoveOldVersions(wanted.name, present.old_functions, present.old_machines),)
    return ()


def _anywhere(places: Places) -> Places:
    """Places that are all somewhere, to say what a schedule will be like."""
    return replace(places, **{each.name: getattr(places, each.name) or "::" for each in fields(places)})


def _needed_files(wanted: OnAws, function: Function | None, layer: str | None) -> Iterator[Upload]:
    """The files that have to be in the bucket: a container reads them as it starts, a function has taken them in."""
    in_container = wanted.container is not None and "DAGY_ARTIFACT" in wanted.container.environment
    if in_container or (wanted.function is not None and (function is None or not _has_code(wanted, function))):
        yield wanted.artifact
    if wanted.layer is not None and (in_container or (wanted.function is not None and layer is None)):
        yield wanted.layer


def _layer_of(function: Function | None, name: str) -> str | None:
    """The ARN of the layer with that name, where the function has it."""
    layers = () if function is None else function.config.layers
    return next((each for each in layers if each.split(":")[6] == name), None)


def _has_code(wanted: OnAws, function: Function) -> bool:
    assert wanted.function is not None
    same = function.config.architecture == wanted.function.architecture  # which goes with the code
    return same and function.code_sha256 == wanted.artifact.sha256


def _is_live(wanted: OnAws, live: Function) -> bool:
    return _has_code(wanted, live) and not _changes(wanted, live)


def _changes(wanted: OnAws, function: Function) -> tuple[str, ...]:
    """What of the function's settings is not as it is wanted: `memory 128 -> 512 MB`."""
    assert wanted.function is not None
    found: list[str] = []
    names = {each.split(":")[6] for each in function.config.layers}
    if names != ({wanted.layer_name} if wanted.layer_name is not None else set()):
        found.append("its packages")
    for each in fields(FunctionConfig):
        was, is_ = getattr(function.config, each.name), getattr(wanted.function, each.name)
        is_told = each.name != "description" or function.version == LATEST  # a version's is when it was published
        if each.name in ("layers", "architecture") or was == is_ or not is_told:
            continue
        told = each.name.replace("_", " ")
        found.append(f"{told} {was} -> {is_}" if isinstance(is_, int | str) else told)
    return tuple(found)


def _is_registered(wanted: OnAws, found: RegisteredTask) -> bool:
    return found.definition == wanted.container and _is_tagged(found.tags, wanted.container_tags())


def _is_tagged_machine(wanted: OnAws, machine: StateMachine | None) -> bool:
    return machine is not None and _is_tagged(machine.tags, wanted.machine_tags(machine.config))


def _is_tagged(tags: Mapping[str, str], meant: Mapping[str, str]) -> bool:
    return all(tags.get(name) == value for name, value in meant.items())


def _size(config: FunctionConfig) -> str:
    return f"{config.memory_mb:,} MB, {config.timeout_seconds} s"
