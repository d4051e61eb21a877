"""The schedules of deployments, whoever keeps them: workers look after some, EventBridge Scheduler after others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from dagy.control.records import Schedule, Timing
from dagy.control.timing import due_after

if TYPE_CHECKING:
    from dagy.client import DagyClient
    from dagy.control import Deployment

_MOST = 200  # deployments that are looked at


class KeptSchedule(NamedTuple):
    """A schedule, and who minds it."""

    schedule: Schedule
    keeper: str  # "dagy worker" or "EventBridge"


def kept_schedules(client: DagyClient, deployment: str | None = None) -> list[KeptSchedule]:
    """All schedules, or those of a deployment. Raises `UnknownDeploymentError`, and `ConflictError` for several."""
    own = [KeptSchedule(each, "dagy worker") for each in client.schedules(deployment=deployment)]
    found = client.deployments(limit=_MOST).items if deployment is None else [client.deployment(deployment)]
    on_aws = [schedule for each in found if (schedule := schedule_on_aws(each)) is not None]
    return [*own, *(KeptSchedule(each, "EventBridge") for each in on_aws)]


def schedule_on_aws(deployment: Deployment) -> Schedule | None:
    """The schedule by which AWS itself begins runs of the deployment, if there is one; its id is its name there."""
    told = deployment.resources.get("schedule")
    if told is None:
        return None
    timing = Timing("cron", cron=told["cron"], timezone=told["timezone"])
    return Schedule(
        schedule_id=told["name"],
        namespace=deployment.namespace,
        deployment=deployment.name,
        timing=timing,
        parameters=deployment.parameters,
        enabled=True,
        is_implicit=True,
        next_run_at=due_after(timing, datetime.now(UTC), made_at=deployment.updated_at),
        last_triggered_at=None,
        last_run_id=None,
        last_error=None,
        created_at=deployment.updated_at,
    )
