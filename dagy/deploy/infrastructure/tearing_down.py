"""What belongs to a stack, beyond it too, and removing it.

What a deploy adds is found by its name and by its tag: both must be the stack's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from dagy.backends.environment import TAG
from dagy.deploy.infrastructure.setting_up import ours
from dagy.drawing import counted
from dagy.profiles import DEFAULT_STACK

if TYPE_CHECKING:
    from dagy.aws import Aws

DEPLOYMENT_TAG = "dagy:deployment"
_PREFIXES = ("artifacts/", "layers/", "runs/")  # of all that Dagy keeps in a bucket

Kind: TypeAlias = Literal["schedule", "state machine", "function", "containers", "layer"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a deploy made."""

    kind: Kind
    name: str
    deployment: str | None = None
    """None: no single one's."""
    told: str = ""
    """Of a function its live version and its size, and so on."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in the bucket below one prefix."""

    prefix: str
    objects: int
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """All that belongs to a stack."""

    stack: str
    status: str | None
    """CloudFormation's word; None: there is no stack."""
    bucket: str | None
    is_bucket_made: bool
    """Whether the bucket was made with the stack."""
    is_bucket_there: bool = False
    """False also when there should be one, and somebody has removed it."""
    pieces: tuple[Piece, ...] = ()
    """In the order in which they are removed."""
    kept: tuple[Kept, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing at all."""
        return self.status is None and self.bucket is None and not self.pieces


def belongings(aws: Aws, stack: str = DEFAULT_STACK) -> Belongings:
    """All that belongs to the stack. Looks, and changes nothing.

    Raises `CloudError` when a stack of that name is not ours.
    """
    found = ours(aws, stack)
    named = {} if found is None else found.parameters
    bucket = _tagged_bucket(aws, stack) if found is None else found.outputs.get("Bucket")
    is_there = bucket is not None and aws.bucket(bucket).region() is not None
    pieces = tuple(_pieces(aws, stack))
    by_name = {each.name: each.deployment for each in pieces if each.deployment}
    return Belongings(
        stack,
        None if found is None else found.status,
        bucket,
        not named.get("BucketName"),
        is_there,
        tuple(replace(each, deployment=each.deployment or by_name.get(each.name)) for each in pieces),
        tuple(_kept(aws, bucket, prefix) for prefix in _PREFIXES) if bucket is not None and is_there else (),
    )


def tear_down(
    aws: Aws,
    there: Belongings,
    *,
    with_data: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Remove what is `there`: schedules first, so that nothing starts any more, the stack last.

    The bucket stays, with all that is in it, unless `with_data`; one that the stack did not make stays then, too, and
    only what is Dagy's in it goes. `tell` hears of each step. Run again after a failure, it goes on.
    """
    for each in there.pieces:
        tell(f"{each.kind} {each.name}")
        _remove(aws, there.stack, each)
    if there.status is not None:
        tell(f"stack {there.stack}")
        aws.stacks.delete(there.stack)
        aws.stacks.wait_deleted(there.stack, lambda event: tell(str(event)))
    if with_data and there.bucket is not None and there.is_bucket_there:
        bucket = aws.bucket(there.bucket)
        for prefix in _PREFIXES:
            count = bucket.delete_prefix(prefix)
            tell(f"{counted(count, 'object')} of {prefix} in bucket {there.bucket}")
        if there.is_bucket_made:
            bucket.remove()


def _pieces(aws: Aws, stack: str) -> Iterator[Piece]:
    prefix = f"{stack}-"
    for name in aws.schedules.names(stack):
        schedule = aws.schedules.get(stack, name)
        if schedule is not None:
            state = "" if schedule.is_enabled else ", paused"
            yield Piece("schedule", name, None, f"{schedule.expression} {schedule.timezone}{state}")
    for name in aws.state_machines.names(prefix):
        machine = aws.state_machines.get(name)
        if machine is not None and _is_of(machine.tags, stack):
            size = len(machine.config.definition.encode())
            yield Piece("state machine", name, machine.tags.get(DEPLOYMENT_TAG), f"definition of {size:,} bytes")
    for name in aws.functions.names(prefix):
        function = aws.functions.get(name)
        if function is not None and _is_of(function.tags, stack):
            live = aws.functions.alias(name, "live") or "none"
            told = f"live version {live}, {function.config.memory_mb:,} MB, {function.config.timeout_seconds:,} s"
            yield Piece("function", name, function.tags.get(DEPLOYMENT_TAG), told)
    for name in aws.containers.families(prefix):
        revisions = aws.containers.revisions(name)
        task = aws.containers.task_definition(name) if revisions else None
        if task is not None and _is_of(task.tags, stack):
            made = task.definition
            told = f"{counted(len(revisions), 'revision')}, {made.cpu / 1024:g} vCPU, {made.memory_mb:,} MB"
            yield Piece("containers", name, task.tags.get(DEPLOYMENT_TAG), told)
    for name in aws.functions.layers(f"{prefix}layer-"):  # a layer has no tags
        yield Piece("layer", name, None, counted(len(aws.functions.layer_versions(name)), "version"))


def _is_of(tags: Mapping[str, str], stack: str) -> bool:
    return tags.get(TAG) == stack


def _remove(aws: Aws, stack: str, piece: Piece) -> None:
    match piece.kind:
        case "schedule":
            aws.schedules.delete(stack, piece.name)
        case "state machine":
            aws.state_machines.delete(piece.name)
        case "function":
            aws.functions.delete(piece.name)
        case "containers":
            for revision in aws.containers.revisions(piece.name):
                aws.containers.deregister(revision)
        case "layer":
            aws.functions.delete_layer(piece.name)


def _tagged_bucket(aws: Aws, stack: str) -> str | None:
    """The bucket that a stack left behind."""
    marker = ":s3:::"
    return next((arn.partition(marker)[2] for arn in aws.tagged(TAG, stack) if marker in arn), None)


def _kept(aws: Aws, bucket: str, prefix: str) -> Kept:
    sizes = [each.size for each in aws.bucket(bucket).list(prefix)]
    return Kept(prefix, len(sizes), sum(sizes))
