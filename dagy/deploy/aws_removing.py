"""What a deployment leaves on AWS when it is deleted, and taking that away too.

What lies in the bucket stays: artifacts and layers may be those of other deployments, and the runs' results are theirs
who asked for them. `dagy aws destroy` removes all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from dagy.aws import Aws
from dagy.backends.environment import TAG
from dagy.control.records import LOCAL, Deployment
from dagy.deploy.aws_names import resource_name
from dagy.deploy.aws_side import aws_of


@dataclass(frozen=True, slots=True)
class Left:
    """One thing that a deployment has on AWS."""

    what: str  # "the function"
    name: str
    remove: Callable[[], None] = field(repr=False)
    is_schedule: bool = False  # which would go on starting runs of what is no more

    def __str__(self) -> str:
        return f"{self.what} {self.name}"


def left_on_aws(deployment: Deployment, aws: Aws | None = None) -> tuple[Left, ...]:
    """What the deployment has on AWS, in the order in which it can be removed; nothing of what workers run.

    Only what is tagged as the stack's own. `aws` is the account and region that its resources name unless given.
    """
    if deployment.executor == LOCAL:
        return ()
    return tuple(_found(deployment, aws or aws_of(deployment)))


def _found(deployment: Deployment, aws: Aws) -> Iterator[Left]:
    stack = str(deployment.resources["stack"])
    name = resource_name(f"{stack}-", deployment.reference)

    def is_ours(tags: Mapping[str, str]) -> bool:
        return tags.get(TAG) == stack

    schedule = deployment.resources.get("schedule") or {}
    group = str(schedule.get("group", stack))
    if aws.schedules.get(group, name) is not None:
        yield Left("the schedule", name, lambda: aws.schedules.delete(group, name), is_schedule=True)
    machine = aws.state_machines.get(name)
    if machine is not None and is_ours(machine.tags):
        yield Left("the state machine", name, lambda: aws.state_machines.delete(name))
    function = aws.functions.get(name)
    if function is not None and is_ours(function.tags):
        yield Left("the function", name, lambda: aws.functions.delete(name))
    container = aws.containers.task_definition(name)
    if container is not None and is_ours(container.tags):
        yield Left("the container", name, lambda: _deregister(aws, name))


def _deregister(aws: Aws, family: str) -> None:
    for arn in aws.containers.revisions(family):
        aws.containers.deregister(arn)
