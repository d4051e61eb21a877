"""Making the stack, changing it, and reading back what it made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dagy.backends.environment import TAG, Environment
from dagy.deploy.infrastructure.template import LOG_DAYS_ALLOWED, as_json, template
from dagy.errors import CloudError, SettingsError
from dagy.profiles import DEFAULT_STACK, check_stack

if TYPE_CHECKING:
    from dagy.aws import Aws, Stack

# A stack in one of these was never made, or is half gone: it can only be removed and made anew.
_BROKEN = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS")


@dataclass(frozen=True, slots=True)
class Choices:
    """What of a stack is given; what is not stays as it is, or gets its default in a new stack."""

    subnets: tuple[str, ...] = ()
    """Where containers run; none: the default network's."""
    make_network: bool = False
    bucket: str | None = None
    """A bucket of the account to use instead of making one."""
    runs_days: int | None = None
    """How long the bucket keeps what is of runs; 0 keeps it for good."""
    log_days: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a set-up does to one resource or parameter of the stack."""

    what: Literal["add", "change", "remove"]
    name: str
    kind: str
    """Such as `AWS::S3::Bucket`; of a parameter its value before and after."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """The stack as it is wanted, and what of it is not there yet."""

    stack: str
    is_new: bool
    text: str = field(repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


def wanted(aws: Aws, stack: str = DEFAULT_STACK, choices: Choices | None = None) -> SetUp:
    """What `set_up` would do. Looks, and changes nothing.

    Raises `SettingsError` for a choice that can't be, and `CloudError` for a stack of that name that is not ours or
    is being changed.
    """
    check_stack(stack, "the stack's name")
    choices = choices or Choices()
    now = ours(aws, stack)
    is_new = now is None or now.status in _BROKEN
    before: Mapping[str, Any] = {} if is_new else json.loads(aws.stacks.template(stack) or "{}")
    given = {} if now is None or is_new else dict(now.parameters)
    made_network = "Vpc" in before.get("Resources", {}) and not choices.subnets
    after = template(make_network=choices.make_network or made_network)
    given |= _chosen(aws, choices, {} if "Vpc" in after["Resources"] or "Subnets" in given else _default_network(aws))
    parameters = {name: given.get(name, str(each.get("Default", ""))) for name, each in after["Parameters"].items()}
    old = {} if now is None or is_new else now.parameters
    changes = (*_changes_of_resources(before, after, old, parameters), *_other_changes(before, after, old, parameters))
    return SetUp(stack, is_new, as_json(after), parameters, changes)


def set_up(
    aws: Aws,
    stack: str = DEFAULT_STACK,
    choices: Choices | None = None,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Environment:
    """Make the stack, or change it to what is wanted, wait until it is there, and read it back.

    Nothing is called that changes anything where all is as wanted. `tell` hears what CloudFormation is at. Raises as
    `wanted` does, and `CloudError` with CloudFormation's reason when it fails.
    """
    now = ours(aws, stack)
    if now is not None and not now.is_final:  # somebody else's doing, or that of a set-up that was broken off
        aws.stacks.wait(stack, lambda event: tell(str(event)))
    plan = wanted(aws, stack, choices)
    if plan.changes:
        if plan.is_new and now is not None:  # what is left of one that was never made
            aws.stacks.delete(stack)
            aws.stacks.wait_deleted(stack, lambda event: tell(str(event)))
        begin = aws.stacks.create if plan.is_new else aws.stacks.update
        begin(stack, plan.text, parameters=plan.parameters, tags={TAG: stack})
        aws.stacks.wait(stack, lambda event: tell(str(event)))
    return environment(aws, stack)


def environment(aws: Aws, stack: str = DEFAULT_STACK, *, bucket: str | None = None) -> Environment:
    """What the stack made; `bucket` is the one that it must have, where one is named.

    Raises `CloudError` when there is no such stack or it was not made as it should be, and `SettingsError` when its
    bucket is another.
    """
    found = ours(aws, stack)
    if found is None or found.status in _BROKEN:
        raise missing(aws, stack)
    try:
        made = _read(stack, found.outputs)
    except KeyError as error:
        raise CloudError(
            f"stack {stack!r} does not say what its {error} is: another version of Dagy made it, or it is not ready; "
            f"bring it up to date with: {_init(stack)}",
            operation="DescribeStacks",
            code="StackOutOfDate",
        ) from None
    if bucket is not None and bucket != made.bucket:
        raise SettingsError(
            f"bucket {bucket!r} is asked for (DAGY_ARTIFACT_BUCKET), and the roles of stack {stack!r} may use "
            f"{made.bucket!r} alone; let go of the variable, or: dagy aws init --bucket {bucket}"
        )
    return made


def ours(aws: Aws, stack: str) -> Stack | None:
    """The stack; None when there is none of that name. Raises `CloudError` when it is somebody else's."""
    found = aws.stacks.get(stack)
    if found is not None and found.tags.get(TAG) != stack:
        raise CloudError(
            f"the account has a stack {stack!r} that is not Dagy's (it has no tag {TAG}); name another with --stack",
            operation="DescribeStacks",
            code="StackNotOurs",
        )
    return found


def missing(aws: Aws, stack: str) -> CloudError:
    """The error that says that there is no such stack."""
    return CloudError(
        f"there is no stack {stack!r} in {aws.region} of account {aws.account}; make it with: {_init(stack)}",
        operation="DescribeStacks",
        code="StackNotFound",
    )


def _init(stack: str) -> str:
    return "dagy aws init" if stack == DEFAULT_STACK else f"dagy aws init --stack {stack}"


def _read(stack: str, outputs: Mapping[str, str]) -> Environment:
    return Environment(
        stack=stack,
        region=outputs["Region"],
        account=outputs["Account"],
        partition=outputs["Partition"],
        bucket=outputs["Bucket"],
        function_role=outputs["FunctionRole"],
        state_machine_role=outputs["StateMachineRole"],
        task_role=outputs["TaskRole"],
        execution_role=outputs["ExecutionRole"],
        scheduler_role=outputs["SchedulerRole"],
        cluster=outputs["Cluster"],
        subnets=tuple(outputs["Subnets"].split(",")),
        security_groups=(outputs["SecurityGroups"],),
        assign_public_ip=outputs["AssignPublicIp"] == "ENABLED",
        log_group=outputs["LogGroup"],
        schedule_group=outputs["ScheduleGroup"],
    )


def _chosen(aws: Aws, choices: Choices, network: Mapping[str, str]) -> dict[str, str]:
    """The parameters that the choices give. Raises `SettingsError`."""
    if choices.subnets and choices.make_network:
        raise SettingsError("subnets are given, and a network is to be made; leave one of the two out")
    if choices.log_days is not None and choices.log_days not in LOG_DAYS_ALLOWED:
        allowed = ", ".join(map(str, LOG_DAYS_ALLOWED))
        raise SettingsError(f"a log can't be kept for {choices.log_days} days; it can for {allowed}")
    if choices.runs_days is not None and choices.runs_days < 0:
        raise SettingsError(f"runs can't be kept for {choices.runs_days} days; 0 keeps them for good")
    if choices.bucket is not None:
        _check_bucket(aws, choices.bucket)
    given = {"BucketName": choices.bucket, "RunsDays": choices.runs_days, "LogDays": choices.log_days}
    named = _named_network(aws, choices.subnets) if choices.subnets else network
    return {**named, **{name: str(value) for name, value in given.items() if value is not None}}


def _check_bucket(aws: Aws, name: str) -> None:
    region = aws.bucket(name).region()
    if region is None:
        raise SettingsError(f"there is no bucket {name!r}; name one that is there, or leave it out and one is made")
    if region != aws.region:
        raise SettingsError(f"bucket {name!r} is in {region}, and functions in {aws.region} need one there")


def _named_network(aws: Aws, names: tuple[str, ...]) -> dict[str, str]:
    subnets = aws.network.subnets(names)
    missing = sorted(set(names) - {each.id for each in subnets})
    if missing:
        raise SettingsError(f"there is no subnet {missing[0]!r} in {aws.region} of account {aws.account}")
    networks = sorted({each.vpc for each in subnets})
    if len(networks) > 1:
        raise SettingsError(f"the subnets are of different networks: {', '.join(networks)}; name those of one")
    is_public = all(each.has_public_ips for each in subnets)
    return {
        "VpcId": networks[0],
        "Subnets": ",".join(names),
        "AssignPublicIp": "ENABLED" if is_public else "DISABLED",
    }


def _default_network(aws: Aws) -> dict[str, str]:
    subnets = sorted(aws.network.subnets(), key=lambda each: (each.zone, each.id))
    if not subnets:
        raise SettingsError(
            f"{aws.region} of account {aws.account} has no default network for containers; name subnets with "
            f"--subnets, or let a small public network be made with --make-network"
        )
    return {
        "VpcId": subnets[0].vpc,
        "Subnets": ",".join(each.id for each in subnets),
        "AssignPublicIp": "ENABLED",
    }


def _changes_of_resources(
    before: Mapping[str, Any], after: Mapping[str, Any], old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[Change]:
    there, wanted = _made(before, old), _made(after, new)
    for name in sorted({*there, *wanted}):
        if name not in there:
            yield Change("add", name, wanted[name]["Type"])
        elif name not in wanted:
            yield Change("remove", name, there[name]["Type"])
        elif there[name] != wanted[name]:
            yield Change("change", name, wanted[name]["Type"])


def _made(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The resources that CloudFormation makes of the template: those of a bucket only where none is given."""
    left_out = {"MakesBucket"} if parameters.get("BucketName") else set()
    return {name: each for name, each in template.get("Resources", {}).items() if each.get("Condition") not in left_out}


def _other_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[Change]:
    if not before:
        return
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Change("change", name, f"{old.get(name) or 'none'} -> {new.get(name) or 'none'}")
    if before.get("Outputs") != after["Outputs"]:
        yield Change("change", "Outputs", "what a deploy reads")
