"""The names that there are, for a shell that completes one of them: at most a hundred, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterable

from dagy.cli.planes import connected_if_any
from dagy.nodes import node_registry
from dagy.profiles import Profiles
from dagy.runs import History
from dagy.settings import Settings

_MOST = 100


def deployment_names(profile: str | None) -> Iterable[str]:
    """The names of deployments."""
    with connected_if_any(profile) as client:
        return [] if client is None else [each.reference for each in client.deployments(limit=_MOST).items]


def flow_names(profile: str | None) -> Iterable[str]:
    """The names of registered flows."""
    with connected_if_any(profile) as client:
        return [] if client is None else [each.name for each in client.flows(limit=_MOST).items]


def run_ids(profile: str | None) -> Iterable[str]:
    """The ids of runs, the newest first."""
    with History(Settings.read().local_dir) as history:
        recorded = [each.run_id for each in history.runs(limit=_MOST)]
    with connected_if_any(profile) as client:
        deployed = [] if client is None else [each.run_id for each in client.runs(limit=_MOST).items]
    return ["latest", *dict.fromkeys([*deployed, *recorded])]


def schedule_ids(profile: str | None) -> Iterable[str]:
    """The ids of schedules."""
    with connected_if_any(profile) as client:
        return [] if client is None else [each.schedule_id for each in client.schedules()][:_MOST]


def profile_names(profile: str | None) -> Iterable[str]:
    """The names of profiles."""
    return Profiles.read(Settings.read().local_dir).names


def node_types(profile: str | None) -> Iterable[str]:
    """The node types that come with Dagy and with installed packages."""
    return [str(each["node_type"]) for each in node_registry.catalog()]
