"""What the control plane keeps, as values: flows, deployments, runs, task runs, schedules and keys.

Each is a frozen dataclass that is the same in Python, in JSON and over HTTP. Times are aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from dagy.spec import Json
from dagy.states import StateType

LOCAL = "local"  # the executor of what a worker runs in processes of its own

Trigger: TypeAlias = Literal["api", "schedule"]
CatchUp: TypeAlias = Literal["none", "all"]
Mode: TypeAlias = Literal["cron", "interval", "one_time", "manual"]


def reference_of(namespace: str, name: str) -> str:
    """What names a thing of a namespace anywhere: `etl`, or `team/project/etl` in a namespace."""
    return f"{namespace}/{name}" if namespace else name


def version_label(version: str, revision: int) -> str:
    """`1.0.0`, and `latest (revision 3)` where the version alone does not tell."""
    return version if revision == 1 and version != "latest" else f"{version} (revision {revision})"


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """An artifact in the store, known by the digest of its bytes."""

    sha256: str  # 64 lower-case hex digits, of the file's bytes
    size: int  # bytes
    flow_name: str
    flow_version: str
    code_hash: str  # of what it does: see `Manifest.code_hash`


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """A flow as it was registered; it never changes.

    A version that the author named has one revision, unless another was forced; `latest` gets a new one whenever the
    code is another.
    """

    namespace: str  # "" or "team/project"
    name: str
    version: str
    revision: int  # counted from 1 among those of this version
    code_hash: str
    artifact: str  # the SHA-256 of the artifact's bytes
    description: str
    tasks: int  # how many
    created_at: datetime

    @property
    def label(self) -> str:
        """Its version, with the revision where the version alone does not tell."""
        return version_label(self.version, self.revision)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A name that runs can be asked for by, and the flow's version that it stands for now."""

    namespace: str
    name: str
    flow_name: str
    flow_version: str
    revision: int
    code_hash: str
    artifact: str
    tags: Mapping[str, str]
    parameters: Mapping[str, Json]  # given to runs that do not say otherwise
    created_at: datetime
    updated_at: datetime
    executor: str = LOCAL  # what runs it: "lambda", "step-functions", "ecs", or a worker's own processes
    resources: Mapping[str, Json] = field(default_factory=dict)  # of another executor: all that starting a run takes

    @property
    def reference(self) -> str:
        """What names it anywhere: `etl`, or `team/project/etl` in a namespace."""
        return reference_of(self.namespace, self.name)

    @property
    def label(self) -> str:
        """The flow's version, with the revision where the version alone does not tell."""
        return version_label(self.flow_version, self.revision)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run of a deployment as the control plane knows it."""

    run_id: str
    namespace: str
    deployment: str
    flow_name: str
    flow_version: str
    revision: int
    code_hash: str
    artifact: str
    parameters: Mapping[str, Json]
    status: StateType
    message: str
    tags: Mapping[str, str]
    trigger: Trigger
    schedule_id: str | None
    scheduled_for: datetime | None  # the time that its schedule meant
    idempotency_key: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    worker: str | None  # who runs it, or ran it
    tries: int  # how many workers have begun it
    cancel_reason: str | None  # somebody asked that it be cancelled
    tasks: Mapping[StateType, int]  # how many are in each state
    result: Json = None  # what the flow returned, where that is JSON and small
    has_result: bool = False  # whether `result` is what it returned
    executor: str = LOCAL  # its deployment's when it was asked for, and so are the resources
    resources: Mapping[str, Json] = field(default_factory=dict)
    resumes: str | None = None  # the run whose results it goes on with

    @property
    def reference(self) -> str:
        """What names its deployment anywhere."""
        return reference_of(self.namespace, self.deployment)

    @property
    def label(self) -> str:
        """The flow's version, with the revision where the version alone does not tell."""
        return version_label(self.flow_version, self.revision)


@dataclass(frozen=True, slots=True)
class TaskRunInfo:
    """A task of a run as the control plane knows it."""

    run_id: str
    task: str  # its id in the flow's spec
    name: str
    status: StateType
    message: str
    attempt: int
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule is due. Which of the fields count follows from `mode`."""

    mode: Mode
    cron: str | None = None  # five fields
    interval_seconds: float | None = None
    at: datetime | None = None  # of a one-time schedule
    timezone: str = "UTC"  # an IANA name; cron's fields are meant in it
    start_at: datetime | None = None  # never due before
    end_at: datetime | None = None  # never due after
    catchup: CatchUp = "none"  # of what was due while nobody looked: nothing, or all


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a deployment runs by itself."""

    schedule_id: str
    namespace: str
    deployment: str
    timing: Timing
    parameters: Mapping[str, Json]
    enabled: bool
    is_implicit: bool  # made by a deploy, which keeps it in step
    next_run_at: datetime | None  # None: never again
    last_triggered_at: datetime | None
    last_run_id: str | None
    last_error: str | None
    created_at: datetime

    @property
    def reference(self) -> str:
        """What names its deployment anywhere."""
        return reference_of(self.namespace, self.deployment)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key for the API, without its secret, which is kept nowhere."""

    key_id: str
    name: str
    prefix: str  # the first characters, to tell keys apart
    scopes: tuple[str, ...]  # such as "flows.read", "runs.trigger"; none: everything
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the one moment at which its secret is known."""

    info: KeyInfo
    secret: str = field(repr=False)  # "dagy_sk_..."


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that a worker has taken on: it is the worker's until the lease ends, and longer if that is renewed."""

    run: RunInfo
    fence: int  # grows with each worker that takes the run on; who has an older number can't report
    lease_until: datetime
    events: int = 0  # how many are known of it; who goes on with a run reports from this number on


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a worker learns when it renews its lease."""

    lease_until: datetime
    cancel_reason: str | None  # the run is to be cancelled


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker tells of a run: its new events, in order, and how it stands.

    Events are the run's own (see `dagy.runs.event_json`), numbered without gaps by `seq` from 0. What was told before
    is left out or told again, which changes nothing.
    """

    events: tuple[Mapping[str, Json], ...] = ()
    status: StateType | None = None  # a final one ends the run; QUEUED: what its worker does before it begins
    message: str = ""
    result: Json = None
    has_result: bool = False
