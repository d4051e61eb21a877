"""What the control plane promises of runs that go on elsewhere, as on AWS: workers follow them, and may be lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagy.control import Claim, ControlPlane, Report, RunInfo, open_plane
from dagy.errors import ConflictError, ParameterError, ResumeError, UnknownRunError
from dagy.runs import owner_text, this_process
from dagy.runs.owners import Owner
from dagy.spec import Json
from dagy.states import StateType
from dagy.testing import ManualClock

from ..control.planes import NOON, deployed, event, registered

NOW = datetime(2026, 1, 31, 14, tzinfo=UTC)
ME = owner_text(this_process())
_me = this_process()
GONE = owner_text(Owner(_me.host, _me.boot, _me.pids, _me.pid, _me.pid_started - 1))
RESOURCES: dict[str, Json] = {"region": "eu-central-1", "function": "arn:1", "subnets": ["a", "b"]}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON / 1e9)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.program)])
def etl(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[ControlPlane]:
    """A plane with the deployment `etl` on Lambda."""
    url = request.getfixturevalue("postgres").fresh_plane() if request.param == "postgres" else None
    with open_plane(tmp_path / "dagy", url, clock=clock) as plane:
        moved(plane, tmp_path)
        yield plane


def moved(plane: ControlPlane, folder: Path, code: str = "x = 1\n", executor: str = "lambda") -> None:
    """Let `etl` stand for that code, run by that executor."""
    flow = registered(plane, folder, code)
    plane.put_deployment(
        "etl",
        flow_name=flow.name,
        flow_version=flow.version,
        revision=flow.revision,
        executor=executor,
        resources={} if executor == "local" else RESOURCES,
    )


def claim(plane: ControlPlane, worker: str = ME) -> Claim:
    """What a worker is given to do."""
    found = plane.claim_run(worker)
    assert found is not None
    return found


def ended(plane: ControlPlane, status: StateType = StateType.FAILED) -> RunInfo:
    """A run that has ended so."""
    run = plane.create_run("etl", {"limit": 1})
    plane.report(run.run_id, claim(plane).fence, Report((event(0, state=status.value),), status))
    return plane.run(run.run_id)


# ---- where it runs


def test_a_run_has_the_executor_and_the_resources_that_its_deployment_had(etl: ControlPlane, tmp_path: Path) -> None:
    run = etl.create_run("etl", {"limit": 1})
    assert (run.executor, run.resources, run.resumes) == ("lambda", RESOURCES, None)
    moved(etl, tmp_path, executor="local")
    assert etl.run(run.run_id) == run
    later = etl.create_run("etl", {"limit": 1})
    assert (later.executor, later.resources) == ("local", {})


def test_a_deployment_that_is_put_without_an_executor_is_run_by_workers(etl: ControlPlane, tmp_path: Path) -> None:
    deployed(etl, tmp_path)
    assert (etl.deployment("etl").executor, etl.deployment("etl").resources) == ("local", {})


def test_what_a_worker_runs_has_no_resources(etl: ControlPlane) -> None:
    now = etl.deployment("etl")
    for executor, resources in (("local", RESOURCES), ("lambda", ["arn"]), ("lambda", {"at": float("nan")}), ("", {})):
        with pytest.raises(ParameterError):
            etl.put_deployment(
                "etl",
                flow_name=now.flow_name,
                flow_version=now.flow_version,
                revision=now.revision,
                executor=executor,
                resources=resources,  # type: ignore[arg-type]
            )
    assert etl.deployment("etl") == now


# ---- workers that are lost


def test_a_run_that_goes_on_elsewhere_is_claimed_by_the_next_worker(etl: ControlPlane) -> None:
    run = etl.create_run("etl", {"limit": 1})
    first = claim(etl, GONE)
    assert first.events == 0
    etl.report(run.run_id, first.fence, Report((event(0), event(1, "load")), StateType.RUNNING))
    (taken,) = etl.recover_runs()
    assert (taken.status, taken.worker, taken.started_at) == (StateType.RUNNING, None, NOW)
    second = claim(etl)
    assert (second.run.run_id, second.run.status, second.events) == (run.run_id, StateType.RUNNING, 2)
    with pytest.raises(ConflictError, match="is not this worker's any more"):
        etl.report(run.run_id, first.fence, Report(status=StateType.FAILED))
    etl.report(run.run_id, second.fence, Report((event(2, "load", "COMPLETED"),), StateType.COMPLETED))
    assert etl.run(run.run_id).status is StateType.COMPLETED
    assert etl.claim_run(ME) is None


def test_no_number_of_lost_workers_crashes_it(etl: ControlPlane) -> None:
    run = etl.create_run("etl", {"limit": 1})
    for number in range(1, 6):
        assert claim(etl, GONE).run.tries == number
        assert [each.status for each in etl.recover_runs()] == [StateType.QUEUED]
    assert claim(etl).run.run_id == run.run_id


# ---- cancelling


def test_a_run_that_nobody_has_begun_is_cancelled_at_once(etl: ControlPlane) -> None:
    assert etl.cancel_run(etl.create_run("etl", {"limit": 1}).run_id).status is StateType.CANCELLED


@pytest.mark.parametrize("has_reported", [True, False])
def test_a_run_that_may_go_on_elsewhere_is_stopped_by_the_next_worker(etl: ControlPlane, has_reported: bool) -> None:
    run = etl.create_run("etl", {"limit": 1})
    first = claim(etl, GONE)
    if has_reported:
        etl.report(run.run_id, first.fence, Report((event(0),), StateType.RUNNING))
    etl.recover_runs()
    now = etl.cancel_run(run.run_id, "enough")
    assert not now.status.is_final
    second = claim(etl)
    assert second.run.cancel_reason == "enough"
    etl.report(run.run_id, second.fence, Report(status=StateType.CANCELLED, message="enough"))
    assert etl.run(run.run_id).status is StateType.CANCELLED


def test_a_run_whose_worker_is_lost_while_it_is_to_be_cancelled_waits_for_the_next(etl: ControlPlane) -> None:
    run = etl.create_run("etl", {"limit": 1})
    claim(etl, GONE)
    etl.cancel_run(run.run_id, "enough")
    etl.recover_runs()
    assert claim(etl).run.cancel_reason == "enough"


# ---- runs that something else began


def test_a_run_that_a_schedule_began_is_taken_over_once(etl: ControlPlane) -> None:
    began = NOW - timedelta(minutes=3)
    run = etl.import_run("etl", "etl-d32c5kddcf5bb8c3", {"limit": 7}, started_at=began)
    assert (run.status, run.worker, run.trigger) == (StateType.RUNNING, None, "schedule")
    assert (run.started_at, run.created_at, run.parameters) == (began, began, {"limit": 7})
    assert (run.executor, run.resources) == ("lambda", RESOURCES)
    assert etl.import_run("etl", "etl-d32c5kddcf5bb8c3", started_at=NOW) == run
    assert etl.run("d32c5kddcf5bb8c3") == run
    taken = claim(etl)
    assert (taken.run.run_id, taken.events) == (run.run_id, 0)
    etl.report(run.run_id, taken.fence, Report((event(0),), StateType.COMPLETED))
    assert etl.import_run("etl", run.run_id, started_at=began).status is StateType.COMPLETED


@pytest.mark.parametrize(("told", "ended"), [(-60, -60), (3600, 0), (-7200, -180)])
def test_a_run_ended_when_its_events_say_so_and_not_when_somebody_hears_of_it(
    etl: ControlPlane, told: int, ended: int
) -> None:
    began = NOW - timedelta(minutes=3)
    run = etl.import_run("etl", "etl-d32c5kddcf5bb8c3", {"limit": 7}, started_at=began)
    events = (event(0, at=-180), event(1, "load", at=-170), event(2, state="COMPLETED", at=told))
    etl.report(run.run_id, claim(etl).fence, Report(events, StateType.COMPLETED))
    assert etl.run(run.run_id).ended_at == NOW + timedelta(seconds=ended), "neither before it began nor in the future"


def test_a_run_that_is_taken_over_may_not_have_begun_in_the_future(etl: ControlPlane) -> None:
    run = etl.import_run("etl", "etl-1", started_at=NOW + timedelta(hours=1))
    assert (run.started_at, run.created_at) == (NOW, NOW)


def test_a_run_that_can_not_be_taken_over_is_refused(etl: ControlPlane, tmp_path: Path) -> None:
    for run_id in ("latest", "", "a\0b", "é"):
        with pytest.raises(ParameterError):
            etl.import_run("etl", run_id, started_at=NOW)
    with pytest.raises(ParameterError, match="trigger is one of"):
        etl.import_run("etl", "etl-1", trigger="me", started_at=NOW)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="a time with its zone"):
        etl.import_run("etl", "etl-1", started_at=datetime(2026, 1, 31))  # noqa: DTZ001 (what is refused)
    deployed(etl, tmp_path, "other")
    with pytest.raises(ConflictError, match="is run by workers alone"):
        etl.import_run("other", "other-1", started_at=NOW)
    run = etl.create_run("other", {"limit": 1})
    with pytest.raises(ConflictError, match=f"the run '{run.run_id}' is one of 'other'"):
        etl.import_run("etl", run.run_id, started_at=NOW)


# ---- going on with a run


def test_a_run_that_failed_is_gone_on_with_by_a_new_one(etl: ControlPlane) -> None:
    before = ended(etl)
    for given in (None, {}, {"limit": 1}):
        run = etl.create_run("etl", given, resume=before.run_id)
        assert (run.resumes, run.parameters, run.status) == (before.run_id, before.parameters, StateType.QUEUED)
    assert etl.run(before.run_id) == before


def test_the_same_key_is_another_request_when_it_resumes(etl: ControlPlane) -> None:
    before = ended(etl)
    run = etl.create_run("etl", resume=before.run_id, idempotency_key="again")
    assert etl.create_run("etl", resume=before.run_id[-6:], idempotency_key="again") == run
    with pytest.raises(ConflictError, match="stands for run"):
        etl.create_run("etl", {"limit": 1}, idempotency_key="again")


def test_a_run_that_can_not_be_gone_on_with_is_refused_with_the_reason(etl: ControlPlane, tmp_path: Path) -> None:
    going_on = etl.create_run("etl", {"limit": 1})
    with pytest.raises(ResumeError, match="is still QUEUED; wait until it ends"):
        etl.create_run("etl", resume=going_on.run_id)
    etl.cancel_run(going_on.run_id)
    with pytest.raises(ResumeError, match="has completed; there is nothing left to do"):
        etl.create_run("etl", resume=ended(etl, StateType.COMPLETED).run_id)
    failed = ended(etl)
    with pytest.raises(ResumeError, match="had another value for 'limit'; a run that is resumed keeps its parameters"):
        etl.create_run("etl", {"limit": 2}, resume=failed.run_id)
    with pytest.raises(UnknownRunError):
        etl.create_run("etl", resume="nothing")
    deployed(etl, tmp_path, "other")
    with pytest.raises(ResumeError, match="is one of 'etl'; resume it with: dagy runs resume "):
        etl.create_run("other", resume=failed.run_id)
    moved(etl, tmp_path, "x = 2\n")
    with pytest.raises(ResumeError, match="stands for other code now"):
        etl.create_run("etl", resume=failed.run_id)
    moved(etl, tmp_path, executor="local")
    with pytest.raises(ResumeError, match="what a worker runs in its own processes is begun anew"):
        etl.create_run("etl", resume=failed.run_id)
