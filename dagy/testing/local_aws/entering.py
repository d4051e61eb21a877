"""The door: `with local_aws() as aws:` starts the stand-in, points this process at it, and takes all of it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FunctionStats:
    """What the functions did so far: environments started, invocations that found a warm one, processes now."""

    cold: int
    warm: int
    processes: int


@dataclass(frozen=True, slots=True)
class LocalAws:
    """A stand-in that runs: where it answers, and what a test may do to it."""

    endpoint_url: str
    region: str
    stack: str

    def client(self, service: str) -> Any:
        """A boto3 client of `service` ("s3", "lambda", ...) at this stand-in."""
        raise NotImplementedError

    def calls(self) -> Mapping[str, int]:
        """How often each operation was asked for since the start: {"s3.PutObject": 3, ...}; its own calls too."""
        raise NotImplementedError

    def fail(self, operation: str, how: str = "broken", *, times: int = 1) -> None:
        """Let the next `times` calls of `operation` ("s3.PutObject", "lambda.*", "*") fail.

        `how` is "throttled", "denied", "broken" (HTTP 500), "dropped" (the connection ends, nothing was done), "lost"
        (done, but the connection ends before the answer), "slow" (answered a second late), or an error's code such as
        "ConditionalRequestConflict". boto3 tries "throttled", "broken", "dropped" and "lost" again by itself.
        """
        raise NotImplementedError

    def kill_function(self) -> int:
        """Kill, as by lack of memory, the processes of the functions that run an invocation now; how many."""
        raise NotImplementedError

    def fire_schedule(self, name: str, *, group: str | None = None) -> str:
        """Do now what the schedule does when its time comes; the execution's id, as `<aws.scheduler.execution-id>`.

        `group` is the only group that has a schedule of that name when it is not given.
        """
        raise NotImplementedError

    def functions(self) -> FunctionStats:
        """What the functions' environments did so far."""
        raise NotImplementedError


@contextmanager
def local_aws(
    *, region: str = "us-east-1", stack: str = "dagy", target: str = "local", set_up: bool = True
) -> Iterator[LocalAws]:
    """Let everything in this `with` block, and the programs it starts, use an AWS that is only on this computer.

    Functions run under the official runtime client, state machines are interpreted, tasks of ECS are processes, in
    this very Python environment when `target` (of what is built meanwhile) is "local". With `set_up` the stack that
    deploys need is there already. Dagy's own folder (`DAGY_LOCAL_DIR`) is a fresh one, so that no deployment and no
    run of the block stays. All variables are put back, all processes ended and all folders removed at the end.

    Raises `MissingExtraError` without `dagy[local-aws]`, and `ConflictError` inside another `local_aws()`.
    """
    raise NotImplementedError
