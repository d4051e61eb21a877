"""Runs that schedules on AWS began are found, made known once, and cost one look for each such deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.run_store import RunStore
from dagy.aws import Aws
from dagy.backends.found_runs import FoundRuns
from dagy.client.runs import KnownRun
from dagy.control import Deployment, Page, RunInfo
from dagy.errors import AuthError
from dagy.states import StateType

from .run_records import run_info


class Plane:
    """The deployments and runs that a control plane knows."""

    def __init__(self) -> None:
        self.known: list[Deployment] = []
        self.runs_of: dict[str, RunInfo] = {}
        self.imports = 0

    def deploy(self, name: str, store: Path, **changes: Any) -> Deployment:
        """Know one more deployment."""
        now = datetime.now(UTC)
        resources = {"region": "us-east-1", "store": store.as_uri(), "schedule": {"name": f"dagy-{name}"}}
        values: dict[str, Any] = {
            "namespace": "team", "name": name, "flow_name": name, "flow_version": "latest", "revision": 1,
            "code_hash": "", "artifact": "0" * 64, "tags": {}, "parameters": {}, "created_at": now, "updated_at": now,
            "executor": "lambda", "resources": resources,
        }  # fmt: skip
        self.known.append(Deployment(**{**values, **changes}))
        return self.known[-1]

    def deployments(self, *, limit: int = 50, after: str | None = None) -> Page[Deployment]:
        """One a page."""
        place = 0 if after is None else int(after)
        is_last = place + 1 >= len(self.known)
        return Page(tuple(self.known[place : place + 1]), None if is_last else str(place + 1))

    def runs(self, *, deployment: str, limit: int = 20) -> Page[KnownRun]:
        """The newest first."""
        found = [KnownRun(each) for each in self.runs_of.values() if each.reference == deployment]
        return Page(tuple(reversed(found)), None)

    def import_run(
        self, reference: str, run_id: str, parameters: Mapping[str, Any], *, started_at: datetime
    ) -> RunInfo:
        """Keep what is new."""
        self.imports += 1
        if run_id not in self.runs_of:
            namespace, _, name = reference.rpartition("/")
            self.runs_of[run_id] = run_info(
                "lambda", Path("/nowhere"), run_id, namespace=namespace, deployment=name, parameters=parameters,
                status=StateType.RUNNING, trigger="schedule", started_at=started_at,
            )  # fmt: skip
        return self.runs_of[run_id]


@pytest.fixture
def plane() -> Plane:
    return Plane()


def nowhere(_: object) -> Aws:
    return Aws(region="us-east-1")


def begun_by_schedule(store: Path, run_id: str, deployment: str = "team/etl", **parameters: Any) -> None:
    RunStore(store.as_uri(), run_id).note_scheduled(deployment, {"parameters": parameters})


def ids(found: list[RunInfo]) -> list[str]:
    return [each.run_id for each in found]


def test_a_run_that_a_schedule_began_is_made_known_with_its_parameters_and_time(plane: Plane, tmp_path: Path) -> None:
    plane.deploy("other", tmp_path)
    plane.deploy("etl", tmp_path)
    before = datetime.now(UTC)
    begun_by_schedule(tmp_path, "etl-1", day="monday")
    (found,) = FoundRuns(plane, nowhere).look()
    assert (found.run_id, found.reference, found.parameters) == ("etl-1", "team/etl", {"day": "monday"})
    assert found.started_at is not None
    assert before.replace(microsecond=0) <= found.started_at <= datetime.now(UTC)


def test_what_was_found_is_not_found_again_once_a_worker_has_it(plane: Plane, tmp_path: Path) -> None:
    plane.deploy("etl", tmp_path)
    begun_by_schedule(tmp_path, "etl-1")
    found = FoundRuns(plane, nowhere)
    assert ids(found.look()) == ["etl-1"]
    plane.runs_of["etl-1"] = replace(plane.runs_of["etl-1"], tries=1)
    assert found.look() == []
    begun_by_schedule(tmp_path, "etl-2")
    assert ids(found.look()) == ["etl-2"]


def test_another_look_begins_at_the_newest_that_is_known(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.deploy("etl", tmp_path)
    moment = 1_700_000_000 * 10**9
    for number in range(5):
        monkeypatch.setattr("time.time_ns", lambda at=moment + number * 3600 * 10**9: at)
        begun_by_schedule(tmp_path, f"etl-{number}")
    assert len(FoundRuns(plane, nowhere).look()) == 5
    plane.imports = 0
    FoundRuns(plane, nowhere).look()
    assert plane.imports == 1, "only the newest, which may have others beside it"


def test_only_deployments_that_aws_has_a_schedule_of_are_looked_at(plane: Plane, tmp_path: Path) -> None:
    plane.deploy("etl", tmp_path, resources={"region": "us-east-1", "store": tmp_path.as_uri()})
    plane.deploy("local", tmp_path, executor="local")

    def connect(_: object) -> Aws:
        raise AssertionError("nothing is asked")

    assert FoundRuns(plane, connect).look() == []


def test_a_deployment_that_cannot_be_looked_at_hides_no_other(plane: Plane, tmp_path: Path) -> None:
    plane.deploy("lost", tmp_path / "lost")
    plane.deploy("etl", tmp_path)
    begun_by_schedule(tmp_path, "etl-1")

    def connect(resources: Mapping[str, Any]) -> Aws:
        if resources["store"].endswith("lost"):
            raise AuthError("nobody is signed in")
        return nowhere(resources)

    assert ids(FoundRuns(plane, connect).look()) == ["etl-1"]
