"""What `dagy aws init` made in an account: all that a deploy or a run must know of it, as one value."""

from __future__ import annotations

from dataclasses import dataclass

TAG = "dagy:stack"  # on everything that is ours, with the stack's name


@dataclass(frozen=True, slots=True)
class Environment:
    """The names and ARNs of one stack, read back from its outputs."""

    stack: str
    region: str
    account: str
    partition: str
    """`aws`, `aws-cn` or `aws-us-gov`: how ARNs begin."""
    bucket: str
    function_role: str
    """ARN: what a deployment's Lambda function runs as."""
    state_machine_role: str
    """ARN: what a deployment's state machine runs as."""
    task_role: str
    """ARN: what the code in a container runs as."""
    execution_role: str
    """ARN: what ECS itself uses to pull the image and to write the log."""
    scheduler_role: str
    """ARN: what EventBridge Scheduler starts runs as."""
    cluster: str
    """The name of the ECS cluster."""
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    assign_public_ip: bool
    """Whether a container in these subnets needs a public address to reach S3 and the image."""
    log_group: str
    """Where functions and containers write; no role may write to another, or make one."""
    schedule_group: str

    @property
    def prefix(self) -> str:
        """How the name of every function, state machine, task family, layer and schedule of this stack begins.

        The roles allow no other: `dagy-` for the stack `dagy`.
        """
        return f"{self.stack}-"

    @property
    def store(self) -> str:
        """The URL below which each run keeps its values: `s3://bucket/runs`."""
        return f"s3://{self.bucket}/runs"

    @property
    def tags(self) -> dict[str, str]:
        """What everything that belongs to the stack is tagged with."""
        return {TAG: self.stack}
