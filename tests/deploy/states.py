"""What there is in a control plane, without what differs from one time to the next."""

from __future__ import annotations

from dataclasses import asdict

from dagy.client import DagyClient
from dagy.control import Deployment, FlowVersion, Schedule

_TIMES = {"created_at", "updated_at", "next_run_at", "schedule_id"}


def state(client: DagyClient) -> dict[str, object]:
    """All of it: flows with their revisions, deployments, schedules, artifacts."""
    flows = [each for flow in client.flows() for each in client.flow_versions(flow.name, namespace=flow.namespace)]
    return {
        "flows": [_plain(each) for each in flows],
        "deployments": [_plain(each) for each in client.deployments()],
        "schedules": sorted(map(_plain, client.schedules()), key=str),
        "artifacts": sorted(client.artifact(each.artifact).sha256 for each in flows),
    }


def _plain(record: FlowVersion | Deployment | Schedule) -> dict[str, object]:
    return {name: value for name, value in asdict(record).items() if name not in _TIMES}
