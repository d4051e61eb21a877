"""What the control plane promises, whichever database keeps it: SQLite in a file, and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from dagy.control import ControlPlane, Report, Timing, open_plane, schedules
from dagy.errors import (
    ArtifactError,
    ConflictError,
    ParameterError,
    StoreError,
    UnknownDeploymentError,
    UnknownFlowError,
    UnknownRunError,
    UnknownScheduleError,
)
from dagy.runs import owner_text, this_process
from dagy.runs.owners import Owner
from dagy.spec import FlowSpec
from dagy.states import StateType
from dagy.testing import ManualClock

from ..control.planes import NOON, artifact_file, deployed, event, registered, spec_of

NOW = datetime(2026, 1, 31, 14, tzinfo=UTC)
ME = owner_text(this_process())
ELSEWHERE = "a worker of another machine"
ODD = 'NUL \0, half \ud83d, "quotes" \\ \u202e bidi, 🙂, \x7f'


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON / 1e9)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.program)])
def url(request: pytest.FixtureRequest) -> str | None:
    """Where the database is; None for the file."""
    return request.getfixturevalue("postgres").fresh_plane() if request.param == "postgres" else None


@pytest.fixture
def plane(url: str | None, tmp_path: Path, clock: ManualClock) -> Iterator[ControlPlane]:
    with open_plane(tmp_path / "dagy", url, clock=clock) as plane:
        yield plane


@pytest.fixture
def etl(plane: ControlPlane, tmp_path: Path) -> ControlPlane:
    """A plane with the deployment `etl`."""
    deployed(plane, tmp_path)
    return plane


def claimed(plane: ControlPlane, worker: str = ME, **parameters: object) -> tuple[str, int]:
    """A run that the worker has, and its fence."""
    run = plane.create_run("etl", {"limit": 1} | parameters)
    claim = plane.claim_run(worker)
    assert claim is not None
    assert claim.run.run_id == run.run_id
    return run.run_id, claim.fence


# ---- artifacts and flows


def test_an_artifact_is_kept_once_by_what_it_holds(plane: ControlPlane, tmp_path: Path) -> None:
    path = artifact_file(tmp_path)
    info = plane.put_artifact(path)
    assert plane.put_artifact(path) == info == plane.artifact(info.sha256)
    assert (info.flow_name, info.flow_version, info.size) == ("etl", "latest", path.stat().st_size)
    assert plane.artifact_path(info.sha256).read_bytes() == path.read_bytes()
    assert [each.name for each in plane.artifact_path(info.sha256).parent.iterdir()] == [f"{info.sha256}.zip"]


def test_an_artifact_that_does_not_verify_is_not_kept(plane: ControlPlane, tmp_path: Path) -> None:
    path = artifact_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"x = 1", b"x = 2"))
    with pytest.raises(ArtifactError, match=r"built/artifact\.zip: the ZIP is broken"):
        plane.put_artifact(path)
    assert list((tmp_path / "dagy" / "artifacts").iterdir()) == []


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "", "A" * 64, "\0"])
def test_an_artifact_that_is_not_there_is_said_to_be_missing(plane: ControlPlane, name: str) -> None:
    for look in (plane.artifact, plane.artifact_path, plane.register_flow):
        with pytest.raises(FileNotFoundError) as caught:
            look(name)
        assert isinstance(caught.value, ArtifactError)


def test_a_flow_is_registered_once(plane: ControlPlane, tmp_path: Path) -> None:
    flow = registered(plane, tmp_path, namespace="team/data")
    assert registered(plane, tmp_path, namespace="team/data") == flow == plane.flow("etl")
    assert (flow.namespace, flow.version, flow.revision, flow.tasks, flow.created_at) == (
        "team/data",
        "latest",
        1,
        2,
        NOW,
    )
    assert FlowSpec.model_validate(plane.flow_spec("etl")) == spec_of()


def test_a_flow_needs_an_artifact_that_was_written_down(plane: ControlPlane, tmp_path: Path) -> None:
    with open_plane(tmp_path / "other") as other:
        info = other.put_artifact(artifact_file(tmp_path))
        copy = tmp_path / "dagy" / "artifacts" / f"{info.sha256}.zip"
        copy.parent.mkdir(parents=True)
        copy.write_bytes(other.artifact_path(info.sha256).read_bytes())
    with pytest.raises(ArtifactError, match="put it into the store first"):
        plane.register_flow(info.sha256)


def test_latest_gets_a_new_revision_when_the_code_is_another(plane: ControlPlane, tmp_path: Path) -> None:
    first = registered(plane, tmp_path)
    second = registered(plane, tmp_path, "x = 2\n")
    again = registered(plane, tmp_path)
    assert [each.revision for each in (first, second, again)] == [1, 2, 3]
    assert plane.flow("etl") == again
    assert plane.flow("etl", revision=2) == second
    assert plane.flow_versions("etl").items == (again, second, first)


def test_a_version_that_its_author_named_takes_no_other_code(plane: ControlPlane, tmp_path: Path) -> None:
    spec = spec_of(version="1.0.0")
    first = registered(plane, tmp_path, spec=spec)
    with pytest.raises(ConflictError, match=r"'1\.0\.0' of flow 'etl'.*raise the version.*force=True.*revision 2"):
        registered(plane, tmp_path, "x = 2\n", spec)
    assert plane.flow("etl") == first
    assert registered(plane, tmp_path, "x = 2\n", spec, new_revision=True).revision == 2
    assert registered(plane, tmp_path, "x = 2\n", spec, new_revision=True).revision == 2


def test_flows_are_listed_by_their_newest_versions_a_page_at_a_time(plane: ControlPlane, tmp_path: Path) -> None:
    for name, namespace in (("b", ""), ("a", "team"), ("a", ""), ("B", "")):
        registered(plane, tmp_path, spec=spec_of(name), namespace=namespace)
    newest = registered(plane, tmp_path, "x = 2\n", spec_of("a", "2"))
    found, page = [], plane.flows(limit=2)
    while page.next is not None:
        found += page.items
        page = plane.flows(limit=2, after=page.next)
    found += page.items
    assert [(each.namespace, each.name) for each in found] == [("", "B"), ("", "a"), ("", "b"), ("team", "a")]
    assert found[1] == newest
    assert [each.namespace for each in plane.flows(namespace="team")] == ["team"]


def test_pages_go_on_after_the_longest_of_names(plane: ControlPlane, tmp_path: Path) -> None:
    space = "/".join(["n" * 99, "n" * 100])
    for letter in "abc":
        flow = registered(plane, tmp_path, spec=spec_of(letter * 200), namespace=space)
        plane.put_deployment(
            letter * 200, namespace=space, flow_name=flow.name, flow_version=flow.version, revision=flow.revision
        )
    assert [each.name[0] for each in plane.flows(limit=2, after=plane.flows(limit=2).next)] == ["c"]
    assert [each.name[0] for each in plane.deployments(limit=2, after=plane.deployments(limit=2).next)] == ["c"]


def test_an_unknown_flow_is_refused_with_what_there_is(plane: ControlPlane, tmp_path: Path) -> None:
    registered(plane, tmp_path, spec=spec_of("web_scraper", "1.0.0"))
    with pytest.raises(UnknownFlowError, match="did you mean 'web_scraper'"):
        plane.flow("web-scraper")
    with pytest.raises(UnknownFlowError, match=r"did you mean 'web_scraper 1\.0\.0'"):
        plane.flow("web_scraper", version="1.0")
    registered(plane, tmp_path, spec=spec_of("web_scraper", "1.0.0"), namespace="team")
    with pytest.raises(ConflictError, match="several namespaces: '', 'team'"):
        plane.flow("web_scraper")


# ---- deployments


def test_a_deployment_stands_for_a_version_until_the_next_deploy(
    plane: ControlPlane, tmp_path: Path, clock: ManualClock
) -> None:
    first = deployed(plane, tmp_path, tags={"team": "a"}, parameters={"limit": 5})
    clock.advance(60)
    flow = registered(plane, tmp_path, "x = 2\n")
    second = plane.put_deployment("etl", flow_name="etl", flow_version="latest", revision=2)
    assert (first.revision, second.revision, second.code_hash) == (1, 2, flow.code_hash)
    assert (second.created_at, second.updated_at) == (NOW, NOW + timedelta(minutes=1))
    assert (first.tags, second.tags, second.parameters) == ({"team": "a"}, {}, {})
    assert plane.deployment("etl") == second


def test_a_deployment_is_found_by_its_name_where_that_is_enough(plane: ControlPlane, tmp_path: Path) -> None:
    first = deployed(plane, tmp_path, namespace="team/one")
    assert plane.deployment("etl") == first == plane.deployment("team/one/etl")
    deployed(plane, tmp_path, namespace="team/two")
    with pytest.raises(ConflictError, match="'team/one/etl', 'team/two/etl'; give the namespace"):
        plane.deployment("etl")
    bare = deployed(plane, tmp_path)
    assert plane.deployment("etl") == bare


def test_an_unknown_deployment_is_refused_with_what_is_near(etl: ControlPlane) -> None:
    with pytest.raises(UnknownDeploymentError, match="did you mean 'etl'"):
        etl.create_run("elt")
    with pytest.raises(UnknownFlowError):
        etl.put_deployment("x", flow_name="etl", flow_version="latest", revision=9)


def test_deployments_are_listed_by_namespace_flow_and_all_of_the_tags(plane: ControlPlane, tmp_path: Path) -> None:
    deployed(plane, tmp_path, "one", tags={"team": "a", "env": "prod"})
    deployed(plane, tmp_path, "two", tags={"team": "A", "env": 'pr"od'})
    deployed(plane, tmp_path, "three", namespace="space", tags={"team": 'x","env":"prod'})

    def names(**wanted: object) -> list[str]:
        return [each.reference for each in plane.deployments(**wanted)]  # type: ignore[arg-type]  # by name

    assert names() == ["one", "two", "space/three"]
    assert names(tags={"env": "prod"}) == ["one"]
    assert names(tags={"team": "a", "env": "prod"}) == ["one"]
    assert names(tags={"team": "a", "env": "test"}) == []
    assert names(tags={"env": 'pr"od'}) == ["two"]
    assert names(namespace="space") == ["space/three"]
    assert names(flow="etl", limit=2) == ["one", "two"]
    assert names(limit=2, after=plane.deployments(limit=2).next) == ["space/three"]
    assert names(flow="other") == []


def test_a_deleted_deployment_leaves_its_runs_and_takes_its_schedules(etl: ControlPlane) -> None:
    run = etl.create_run("etl", {"limit": 1})
    etl.put_schedule("etl", Timing("manual"), parameters={"limit": 1})
    etl.delete_deployment("etl")
    assert etl.schedules() == []
    assert etl.runs(deployment="etl").items == (run,)
    claim = etl.claim_run(ME)
    assert claim is not None
    assert claim.run.run_id == run.run_id
    with pytest.raises(UnknownDeploymentError):
        etl.delete_deployment("etl")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\0b", "a\nb", "\ud83d", "x" * 201, " a", None, 3])
def test_a_name_that_can_not_be_is_refused(etl: ControlPlane, name: str) -> None:
    with pytest.raises(ParameterError):
        etl.put_deployment(name, flow_name="etl", flow_version="latest", revision=1)
    if name != "a/b":
        with pytest.raises(ParameterError):
            etl.create_run("etl", {"limit": 1}, tags={name: "x"})
    with pytest.raises((ParameterError, UnknownDeploymentError)):
        etl.deployment(name)
    with pytest.raises((ParameterError, UnknownRunError)):
        etl.run(name)
    with pytest.raises((ParameterError, UnknownScheduleError)):
        etl.schedule(name)


# ---- runs


def test_a_run_is_queued_with_the_deployments_tags_and_parameters(plane: ControlPlane, tmp_path: Path) -> None:
    deployment = deployed(plane, tmp_path, tags={"team": "a"}, parameters={"mode": "slow", "limit": 1})
    run = plane.create_run("etl", {"limit": 5}, tags={"why": "test"})
    assert (run.status, run.created_at, run.artifact) == (StateType.QUEUED, NOW, deployment.artifact)
    assert run.parameters == {"mode": "slow", "limit": 5}
    assert run.tags == {"team": "a", "why": "test"}
    assert run.tasks == {StateType.PENDING: 2}
    assert plane.run(run.run_id) == run
    assert [(each.task, each.status) for each in plane.task_runs(run.run_id)] == [
        ("load", StateType.PENDING),
        ("save", StateType.PENDING),
    ]


def test_parameters_that_do_not_fit_the_flow_are_refused_by_name(etl: ControlPlane) -> None:
    for parameters, message in (
        ({}, "needs 'limit'"),
        ({"limt": 1}, "did you mean 'limit'"),
        ({"limit": {1}}, "'limit'.*JSON can't hold"),
        ({"limit": float("nan")}, "'limit'.*JSON can't hold"),
        ({"limit": [float("inf")]}, "'limit'.*JSON can't hold"),
        ({"limit": "many"}, "deployment 'etl'.*'limit'.*'many'"),
        ({"limit": [1]}, "'limit'"),
        ({"limit": None}, "'limit'"),
        ({"limit": 1, "width": 3}, "'width'.*shaped its graph.*with 2"),
        ([], "a dict of values"),
        ({"limit": 1, "mode": "x" * 5_000_001}, "more than 5,000,000"),
        ({"limit": 10**5000}, "can't be written as JSON"),
    ):
        with pytest.raises(ParameterError, match=message):
            etl.create_run("etl", parameters or None if parameters == {} else parameters)  # type: ignore[arg-type]
    assert len(etl.runs()) == 0
    assert etl.create_run("etl", {"limit": 1, "width": 2}).parameters["width"] == 2
    assert etl.create_run("etl", {"limit": "3"}).parameters["limit"] == "3"  # which the flow takes for 3


def test_the_same_idempotency_key_is_the_same_run(etl: ControlPlane) -> None:
    run = etl.create_run("etl", {"limit": 1, "mode": "slow"}, idempotency_key="once")
    assert etl.create_run("etl", {"mode": "slow", "limit": 1}, idempotency_key="once") == run
    with pytest.raises(ConflictError, match=f"'once' stands for run '{run.run_id}'"):
        etl.create_run("etl", {"limit": 2, "mode": "slow"}, idempotency_key="once")
    with pytest.raises(ConflictError):
        etl.create_run("etl", {"limit": 1, "mode": "slow"}, tags={"a": "b"}, idempotency_key="once")
    with pytest.raises(ParameterError, match="is a schedule's"):
        etl.create_run("etl", {"limit": 1}, idempotency_key="schedule:x")
    assert len(etl.runs()) == 1


def test_an_idempotency_key_belongs_to_its_deployment(etl: ControlPlane, tmp_path: Path) -> None:
    deployed(etl, tmp_path, "other")
    first = etl.create_run("etl", {"limit": 1}, idempotency_key="once")
    assert etl.create_run("other", {"limit": 1}, idempotency_key="once").run_id != first.run_id


def test_a_run_is_found_by_the_start_or_the_end_of_its_id(etl: ControlPlane) -> None:
    first = etl.create_run("etl", {"limit": 1})
    second = etl.create_run("etl", {"limit": 1})
    assert etl.run("latest") == second
    assert etl.run(first.run_id[-6:]) == first
    assert etl.run(first.run_id[-13:]) == first
    assert etl.run(second.run_id[:-1]) == second
    with pytest.raises(UnknownRunError) as caught:
        etl.run("etl-")
    assert set(caught.value.known) == {first.run_id, second.run_id}
    for reference in ("ETL", "%", "etl_", "", "x" * 300, first.run_id[-5:], first.run_id[-6:] + "-", "-"):
        with pytest.raises(UnknownRunError):
            etl.run(reference)


def test_runs_are_listed_newest_first_a_page_at_a_time(etl: ControlPlane, tmp_path: Path) -> None:
    deployed(etl, tmp_path, "other", namespace="team")
    ids = [etl.create_run(name, {"limit": 1}).run_id for name in ("etl", "etl", "team/other", "etl")]
    etl.cancel_run(ids[0])

    def found(**wanted: object) -> list[str]:
        return [each.run_id for each in etl.runs(**wanted)]  # type: ignore[arg-type]  # by name

    assert found() == ids[::-1]
    page = etl.runs(limit=3)
    assert found(after=page.next) == ids[:1]
    assert found(deployment="other") == found(deployment="team/other") == [ids[2]]
    assert found(status="CANCELLED") == [ids[0]]
    assert found(status=StateType.QUEUED, flow="etl") == [ids[3], ids[2], ids[1]]
    with pytest.raises(ParameterError, match="did you mean 'RUNNING'"):
        etl.runs(status="runing")
    for limit in (0, -1, 1001, True, "3"):
        with pytest.raises(ParameterError, match="from 1 to 1000"):
            etl.runs(limit=limit)  # type: ignore[arg-type]
    with pytest.raises(UnknownRunError):
        etl.runs(after="nothing")


# ---- claims


def test_runs_are_claimed_in_the_order_in_which_they_were_asked_for(etl: ControlPlane) -> None:
    asked = [etl.create_run("etl", {"limit": number}).run_id for number in range(3)]
    claims = [etl.claim_run(ME) for _ in range(4)]
    assert [each and each.run.run_id for each in claims] == [*asked, None]
    assert claims[0] is not None
    assert claims[0].run.worker == ME
    assert (claims[0].fence, claims[0].lease_until) == (1, NOW + timedelta(seconds=60))
    assert etl.run(asked[0]).status is StateType.QUEUED  # until its worker reports


def test_a_lease_is_renewed_by_who_holds_the_run(etl: ControlPlane, clock: ManualClock) -> None:
    run_id, fence = claimed(etl)
    clock.advance(30)
    renewal = etl.renew(run_id, fence, lease_seconds=90)
    assert (renewal.lease_until, renewal.cancel_reason) == (NOW + timedelta(seconds=120), None)
    with pytest.raises(ConflictError, match="stop working on it"):
        etl.renew(run_id, fence + 1)
    for seconds in (0, -1, float("nan"), 1e9, "60"):
        with pytest.raises(ParameterError, match="a lease is"):
            etl.renew(run_id, fence, lease_seconds=seconds)  # type: ignore[arg-type]


def test_a_run_whose_worker_is_gone_before_it_reports_waits_again_three_times(etl: ControlPlane) -> None:
    gone = owner_text(_gone())
    run_id, _ = claimed(etl, gone)
    for number in (2, 3):
        assert [each.run_id for each in etl.recover_runs()] == [run_id]
        run = etl.run(run_id)
        assert (run.status, run.worker) == (StateType.QUEUED, None)
        assert run.message.startswith("waits again: its worker (process ")
        claim = etl.claim_run(gone)
        assert claim is not None
        assert claim.run.tries == number
    (run,) = etl.recover_runs()
    assert run.status is StateType.CRASHED
    assert "the third that took it on" in run.message
    assert etl.recover_runs() == []


def test_a_run_that_had_begun_is_not_begun_again_by_itself(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl, owner_text(_gone()))
    etl.report(run_id, fence, Report((event(0), event(1, "load")), StateType.RUNNING))
    (run,) = etl.recover_runs()
    assert run.status is StateType.CRASHED
    assert run.message.endswith("run it again with: dagy run etl")
    assert run.ended_at == NOW
    assert run.tasks == {StateType.CRASHED: 1, StateType.CANCELLED: 1}
    assert [each.status for each in etl.task_runs(run_id)] == [StateType.CRASHED, StateType.CANCELLED]
    assert [(each["seq"], each["kind"], each["state"]) for each in etl.events(run_id, since=2)] == [
        (2, "task", "CRASHED"),
        (3, "run", "CRASHED"),
    ]


def test_a_worker_that_lost_its_run_can_not_report(etl: ControlPlane) -> None:
    run_id, old = claimed(etl, owner_text(_gone()))
    etl.recover_runs()
    claim = etl.claim_run(ME)
    assert claim is not None
    assert claim.fence > old
    for fence in (old, old + 1):
        with pytest.raises(ConflictError, match="is not this worker's any more"):
            etl.report(run_id, fence, Report((event(0),), StateType.COMPLETED))
    etl.report(run_id, claim.fence, Report((event(0),), StateType.COMPLETED))


def test_a_worker_of_this_machine_that_lives_keeps_its_run_though_it_is_late(
    etl: ControlPlane, clock: ManualClock
) -> None:
    run_id, fence = claimed(etl)
    etl.report(run_id, fence, Report(status=StateType.RUNNING))
    clock.advance(3600)
    assert etl.recover_runs() == []


def test_a_run_that_its_worker_has_not_begun_when_the_lease_is_over_waits_again(
    etl: ControlPlane, clock: ManualClock
) -> None:
    run_id, fence = claimed(etl)  # and the worker, which lives, may never have heard of it
    clock.advance(61)
    (run,) = etl.recover_runs()
    assert (run.run_id, run.status, run.worker) == (run_id, StateType.QUEUED, None)
    assert run.message == "waits again: its worker did not begin it before its lease ended"
    with pytest.raises(ConflictError, match="stop working on it"):
        etl.report(run_id, fence, Report(status=StateType.RUNNING))


def test_a_worker_that_can_not_be_seen_is_trusted_as_long_as_its_lease(etl: ControlPlane, clock: ManualClock) -> None:
    run_id, _ = claimed(etl, ELSEWHERE)
    clock.advance(60)
    assert etl.recover_runs() == []
    clock.advance(1)
    assert [each.run_id for each in etl.recover_runs()] == [run_id]


def test_a_report_never_makes_a_lease_shorter(etl: ControlPlane, clock: ManualClock) -> None:
    run_id, fence = claimed(etl, ELSEWHERE)
    etl.renew(run_id, fence, lease_seconds=600)
    until = etl.report(run_id, fence, Report(status=StateType.RUNNING)).lease_until
    assert until == NOW + timedelta(seconds=600)
    clock.advance(590)
    assert etl.recover_runs() == []
    assert etl.report(run_id, fence, Report()).lease_until == NOW + timedelta(seconds=650)


# ---- cancelling


def test_a_run_that_waits_is_cancelled_at_once(etl: ControlPlane) -> None:
    run = etl.create_run("etl", {"limit": 1})
    cancelled = etl.cancel_run(run.run_id, "not needed")
    assert (cancelled.status, cancelled.message, cancelled.ended_at) == (StateType.CANCELLED, "not needed", NOW)
    assert cancelled.tasks == {StateType.CANCELLED: 2}
    assert [each["state"] for each in etl.events(run.run_id)] == ["CANCELLED"]
    assert etl.claim_run(ME) is None


def test_the_worker_of_a_run_learns_that_it_is_to_be_cancelled(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    assert etl.cancel_run(run_id, "first").status is StateType.QUEUED
    assert etl.renew(run_id, fence).cancel_reason == "first"
    etl.cancel_run(run_id, "second")
    assert etl.report(run_id, fence, Report((event(0),), StateType.RUNNING)).cancel_reason == "first"
    etl.report(run_id, fence, Report(status=StateType.CANCELLED, message="first"))
    assert etl.run(run_id).status is StateType.CANCELLED


def test_the_hint_to_run_it_again_is_a_command_that_finds_the_deployment(etl: ControlPlane, tmp_path: Path) -> None:
    deployed(etl, tmp_path, "my etl", namespace="team")
    run = etl.create_run("team/my etl", {"limit": 1})
    claim = etl.claim_run(owner_text(_gone()))
    assert claim is not None
    etl.report(run.run_id, claim.fence, Report(status=StateType.RUNNING))
    (ended,) = etl.recover_runs()
    assert ended.message.endswith("run it again with: dagy run 'team/my etl'")


def test_the_reason_to_cancel_is_a_text(etl: ControlPlane) -> None:
    run = etl.create_run("etl", {"limit": 1})
    with pytest.raises(ParameterError, match="is a text, not 5"):
        etl.cancel_run(run.run_id, 5)  # type: ignore[arg-type]
    assert etl.run(run.run_id) == run


def test_a_run_that_was_to_be_cancelled_is_when_its_worker_is_gone(etl: ControlPlane) -> None:
    run_id, _ = claimed(etl, owner_text(_gone()))
    etl.cancel_run(run_id, "stop")
    (run,) = etl.recover_runs()
    assert (run.status, run.message) == (StateType.CANCELLED, "stop")


def test_a_run_that_has_ended_is_not_cancelled(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    etl.report(run_id, fence, Report(status=StateType.COMPLETED))
    assert etl.cancel_run(run_id).status is StateType.COMPLETED
    assert etl.run(run_id).cancel_reason is None


# ---- reports


def test_a_report_is_folded_into_the_run_and_its_tasks(etl: ControlPlane, clock: ManualClock) -> None:
    run_id, fence = claimed(etl)
    clock.advance(1)
    etl.report(run_id, fence, Report((event(0), event(1, "load", at=5)), StateType.RUNNING))
    run = etl.run(run_id)
    assert (run.status, run.started_at) == (StateType.RUNNING, NOW + timedelta(seconds=1))
    assert run.tasks == {StateType.PENDING: 1, StateType.RUNNING: 1}
    clock.advance(9)
    told = (event(2, "load", "COMPLETED", at=7), event(3, "save", "SKIPPED", message="no rows"))
    etl.report(run_id, fence, Report(told, StateType.FAILED, "it failed", {"rows": [1]}, has_result=True))
    run = etl.run(run_id)
    assert (run.status, run.message, run.ended_at) == (StateType.FAILED, "it failed", NOW + timedelta(seconds=10))
    assert (run.result, run.has_result) == ({"rows": [1]}, True)
    assert run.tasks == {StateType.COMPLETED: 1, StateType.SKIPPED: 1}
    load, save = etl.task_runs(run_id)
    assert (load.status, load.attempt) == (StateType.COMPLETED, 1)
    assert (load.started_at, load.ended_at) == (NOW + timedelta(seconds=5), NOW + timedelta(seconds=7))
    assert (save.status, save.message, save.started_at) == (StateType.SKIPPED, "no rows", None)


def test_events_that_were_told_before_change_nothing(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    told = [event(0), event(1, "load"), event(2, "load", "COMPLETED")]
    etl.report(run_id, fence, Report(tuple(told[:2]), StateType.RUNNING))
    etl.report(run_id, fence, Report(tuple(told[:2]), StateType.RUNNING))
    etl.report(run_id, fence, Report(tuple(told), StateType.RUNNING))
    assert etl.events(run_id) == told
    end = Report((*told, event(3, state="COMPLETED")), StateType.COMPLETED)
    etl.report(run_id, fence, end)
    before = etl.run(run_id)
    etl.report(run_id, fence, end)  # its answer was lost
    assert etl.run(run_id) == before
    assert len(etl.events(run_id)) == 4


def test_events_that_leave_some_out_are_refused(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    with pytest.raises(ConflictError, match="has 0 events, and the report begins with number 1"):
        etl.report(run_id, fence, Report((event(1),)))
    for events in ((event(0), event(2)), (event(1), event(0)), (event(-1),), ({"kind": "run"},), ("x",)):
        with pytest.raises(ParameterError, match="numbered one by one"):
            etl.report(run_id, fence, Report(events))  # type: ignore[arg-type]
    assert etl.events(run_id) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "task"},
        {"task": 3},
        {"state": "DONE"},
        {"attempt": "1"},
        {"at": -1},
        {"at": 10**30},
        {"at": None},
        {"message": None},
        {"more": float("nan")},
        {"more": 10**5000},
        {"more": {1: 2}},
    ],
)
def test_an_event_that_can_not_be_is_refused(etl: ControlPlane, wrong: dict[str, object]) -> None:
    run_id, fence = claimed(etl)
    bad = event(0, "load") | wrong
    if wrong == {"kind": "task"}:
        del bad["task"]
    with pytest.raises(ParameterError):
        etl.report(run_id, fence, Report((bad,)))
    assert etl.run(run_id).started_at is None


def test_what_is_no_report_is_refused(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    with pytest.raises(ParameterError, match="a report is a Report"):
        etl.report(run_id, fence, {"status": "RUNNING"})  # type: ignore[arg-type]


def test_nothing_follows_the_end_of_a_run(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    etl.report(run_id, fence, Report((event(0),), StateType.FAILED))
    for report in (Report((event(1),)), Report(status=StateType.COMPLETED), Report(status=StateType.RUNNING)):
        with pytest.raises(ConflictError, match="has ended FAILED"):
            etl.report(run_id, fence, report)
    with pytest.raises(ParameterError, match="can't be PENDING"):
        etl.report(run_id, fence, Report(status=StateType.PENDING))
    assert etl.run(run_id).status is StateType.FAILED


def test_a_worker_tells_what_it_does_before_the_run_begins(etl: ControlPlane, clock: ManualClock) -> None:
    run_id, fence = claimed(etl, ELSEWHERE)
    clock.advance(30)
    waiting = Report(status=StateType.QUEUED, message="making an environment")
    assert etl.report(run_id, fence, waiting).lease_until == NOW + timedelta(seconds=90)
    run = etl.run(run_id)
    assert (run.status, run.message, run.started_at) == (StateType.QUEUED, "making an environment", None)
    with pytest.raises(ParameterError, match="can't be QUEUED"):
        etl.report(run_id, fence, Report((event(0),), StateType.QUEUED))
    etl.report(run_id, fence, Report(status=StateType.RUNNING))
    with pytest.raises(ConflictError, match="has begun"):
        etl.report(run_id, fence, waiting)
    run = etl.run(run_id)
    assert (run.status, run.message, run.started_at) == (StateType.RUNNING, "", NOW + timedelta(seconds=30))


def test_a_task_that_has_ended_stays_as_it_is(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    told = [event(number, "load", state) for number, state in enumerate(("RUNNING", "FAILED", "COMPLETED", "RUNNING"))]
    etl.report(run_id, fence, Report(tuple(told[:3])))
    etl.report(run_id, fence, Report((told[3],)))
    assert etl.task_runs(run_id)[0].status is StateType.FAILED
    assert etl.run(run_id).tasks == {StateType.FAILED: 1, StateType.PENDING: 1}
    assert etl.events(run_id) == told


def test_events_are_read_from_any_number_on(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    told = [event(number, f"task {number}") for number in range(1203)]
    for start in (0, 1, 1200):
        etl.report(run_id, fence, Report(tuple(told[start:]) if start != 1 else tuple(told[1:1200])))
    for since, limit in ((0, 1000), (499, 2), (500, 1), (1202, 5), (1203, 5)):
        assert etl.events(run_id, since=since, limit=limit) == told[since : since + limit]
    assert etl.run(run_id).tasks == {StateType.RUNNING: 1203}


# ---- schedules


def scheduled(plane: ControlPlane, timing: Timing, **options: object) -> str:
    return plane.put_schedule("etl", timing, parameters={"limit": 1}, **options).schedule_id  # type: ignore[arg-type]


def test_a_time_that_is_due_becomes_one_run(etl: ControlPlane, clock: ManualClock) -> None:
    schedule_id = scheduled(etl, Timing("cron", "30 * * * *"))
    due = NOW + timedelta(minutes=30)
    assert etl.next_due() == due
    assert etl.tick_schedules() == []
    clock.advance(1801)
    (run,) = etl.tick_schedules()
    assert etl.tick_schedules() == []
    assert (run.trigger, run.schedule_id, run.scheduled_for, run.parameters) == (
        "schedule",
        schedule_id,
        due,
        {"limit": 1},
    )
    schedule = etl.schedule(schedule_id)
    assert (schedule.last_run_id, schedule.last_triggered_at) == (run.run_id, due + timedelta(seconds=1))
    assert schedule.next_run_at == due + timedelta(hours=1)


def test_what_was_missed_is_passed_over_without_catch_up(etl: ControlPlane, clock: ManualClock) -> None:
    schedule_id = scheduled(etl, Timing("cron", "0 * * * *"))
    clock.advance(72 * 3600 + 1800)
    assert etl.tick_schedules() == []
    assert etl.schedule(schedule_id).next_run_at == NOW + timedelta(hours=73)
    clock.advance(1800 + 60)
    (run,) = etl.tick_schedules()
    assert run.scheduled_for == NOW + timedelta(hours=73)


def test_what_was_missed_is_made_up_for_with_catch_up_a_bounded_number_a_tick(
    etl: ControlPlane, clock: ManualClock
) -> None:
    scheduled(etl, Timing("interval", interval_seconds=3600, catchup="all"))
    clock.advance(72 * 3600)
    meant = []
    while made := etl.tick_schedules(limit=20):
        assert len(made) <= 20
        meant += [run.scheduled_for for run in made]
    assert meant == [NOW + timedelta(hours=number) for number in range(1, 73)]
    assert etl.next_due() == NOW + timedelta(hours=73)


def test_a_tick_ends_though_nothing_that_is_due_can_be_run(etl: ControlPlane, clock: ManualClock) -> None:
    schedule_id = scheduled(etl, Timing("interval", interval_seconds=1, catchup="all"))
    etl.put_deployment("etl", flow_name="etl", flow_version="latest", revision=1, parameters={"limit": 1})
    etl.delete_schedule(schedule_id)
    schedule_id = etl.put_schedule("etl", Timing("interval", interval_seconds=1, catchup="all")).schedule_id
    etl.put_deployment("etl", flow_name="etl", flow_version="latest", revision=1)  # and 'limit' is given no more
    clock.advance(86_400)
    assert etl.tick_schedules(limit=3) == []
    assert etl.schedule(schedule_id).next_run_at == NOW + timedelta(seconds=4)
    for limit in (0, 1001, "x"):
        with pytest.raises(ParameterError, match="from 1 to 1000"):
            etl.tick_schedules(limit=limit)  # type: ignore[arg-type]


def test_a_tick_that_is_begun_again_makes_no_other_run(etl: ControlPlane, clock: ManualClock) -> None:
    for _ in range(2):
        scheduled(etl, Timing("interval", interval_seconds=60))
    clock.advance(60)
    (run,) = etl.tick_schedules(limit=1)
    store = etl._store  # the answer of the commit was lost: the store calls the rule again
    assert store.write(lambda db: schedules.tick(db, store.now(db), run.run_id)) == [run]
    (other,) = etl.tick_schedules()
    assert other.schedule_id != run.schedule_id


def test_a_schedule_whose_run_can_not_be_made_says_why_and_goes_on(
    etl: ControlPlane, tmp_path: Path, clock: ManualClock
) -> None:
    schedule_id = scheduled(etl, Timing("interval", interval_seconds=60))
    spec = FlowSpec("etl", "2", tasks=spec_of().tasks)  # has no parameters any more
    registered(etl, tmp_path, spec=spec)
    etl.put_deployment("etl", flow_name="etl", flow_version="2", revision=1)
    clock.advance(60)
    assert etl.tick_schedules() == []
    schedule = etl.schedule(schedule_id)
    assert schedule.last_error is not None
    assert "has no parameter 'limit'" in schedule.last_error
    assert schedule.next_run_at == NOW + timedelta(seconds=120)


def test_a_schedule_that_is_off_is_not_due_and_does_not_catch_up(etl: ControlPlane, clock: ManualClock) -> None:
    schedule_id = scheduled(etl, Timing("interval", interval_seconds=60, catchup="all"))
    assert etl.set_schedule_enabled(schedule_id, False).next_run_at is None
    clock.advance(3600)
    assert etl.tick_schedules() == []
    assert etl.set_schedule_enabled(schedule_id, True).next_run_at == NOW + timedelta(seconds=3660)


def test_a_schedule_is_run_by_hand_at_any_time(etl: ControlPlane) -> None:
    schedule_id = scheduled(etl, Timing("manual"))
    first, second = etl.trigger_schedule(schedule_id), etl.trigger_schedule(schedule_id)
    assert first.run_id != second.run_id
    assert (second.schedule_id, second.scheduled_for) == (schedule_id, None)
    schedule = etl.schedule(schedule_id)
    assert (schedule.last_run_id, schedule.next_run_at) == (second.run_id, None)


def test_a_one_time_schedule_is_due_once_however_late(etl: ControlPlane, clock: ManualClock) -> None:
    at = NOW + timedelta(hours=1)
    schedule_id = scheduled(etl, Timing("one_time", at=at))
    clock.advance(86_400)
    (run,) = etl.tick_schedules()
    assert run.scheduled_for == at
    assert etl.schedule(schedule_id).next_run_at is None
    with pytest.raises(ParameterError, match="never due"):
        scheduled(etl, Timing("one_time", at=at))


def test_the_schedule_that_a_deploy_makes_is_replaced_by_the_next(etl: ControlPlane, clock: ManualClock) -> None:
    first = etl.put_schedule("etl", Timing("cron", "0 6 * * *"), parameters={"limit": 1}, implicit=True)
    etl.put_schedule("etl", Timing("manual"), parameters={"limit": 1})
    etl.set_schedule_enabled(first.schedule_id, False)
    clock.advance(60)
    same = etl.put_schedule("etl", Timing("cron", "0 6 * * *"), parameters={"limit": 2}, implicit=True)
    assert (same.schedule_id, same.enabled, same.parameters) == (first.schedule_id, False, {"limit": 2})
    other = etl.put_schedule("etl", Timing("cron", "0 7 * * *"), parameters={"limit": 2}, implicit=True)
    assert (other.schedule_id, other.enabled, other.is_implicit) == (first.schedule_id, True, True)
    assert other.next_run_at == datetime(2026, 2, 1, 7, tzinfo=UTC)
    assert len(etl.schedules()) == len(etl.schedules(deployment="etl")) == 2


def test_a_schedule_is_made_only_for_what_can_run(etl: ControlPlane) -> None:
    with pytest.raises(ParameterError, match="needs 'limit'"):
        etl.put_schedule("etl", Timing("manual"))
    with pytest.raises(UnknownDeploymentError):
        etl.put_schedule("elt", Timing("manual"))
    with pytest.raises(UnknownScheduleError):
        etl.delete_schedule("schedule-0")
    with pytest.raises(ParameterError, match="a timing is such as"):
        etl.put_schedule("etl", "0 6 * * *", parameters={"limit": 1})  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="enabled is True or False, not 'no'"):
        scheduled(etl, Timing("manual"), enabled="no")
    assert etl.schedules() == []


def test_a_schedules_timing_comes_back_as_it_was(etl: ControlPlane) -> None:
    for timing in (
        Timing("cron", "0 6 * * *", timezone="Europe/Berlin", start_at=NOW, end_at=NOW + timedelta(days=9)),
        Timing("interval", interval_seconds=90.5, catchup="all"),
        Timing("one_time", at=NOW + timedelta(microseconds=1)),
        Timing("manual"),
    ):
        assert etl.schedule(scheduled(etl, timing)).timing == timing


def test_a_deleted_schedule_is_gone(etl: ControlPlane) -> None:
    schedule_id = scheduled(etl, Timing("manual"))
    etl.delete_schedule(schedule_id)
    with pytest.raises(UnknownScheduleError):
        etl.trigger_schedule(schedule_id)


# ---- keys


def test_a_key_is_known_by_its_secret_which_is_not_kept(plane: ControlPlane, tmp_path: Path) -> None:
    new = plane.create_key("ci", scopes=["runs.trigger", "flows.read", "flows.read"])
    assert new.secret.startswith("dagy_sk_")
    assert new.info.scopes == ("flows.read", "runs.trigger")
    assert new.secret.startswith(new.info.prefix)
    assert len(new.info.prefix) < 20
    assert new.secret not in repr(new)
    assert plane.key_of(new.secret) == new.info
    assert plane.keys()[0].last_used_at == NOW
    for other in (new.secret[:-1] + ("A" if new.secret[-1] != "A" else "B"), new.secret + "x", "", "\0", None):
        assert plane.key_of(other) is None  # type: ignore[arg-type]
    held = b"".join(each.read_bytes() for each in (tmp_path / "dagy").rglob("control.db*"))
    assert new.secret.encode() not in held


def test_a_key_counts_until_it_expires_or_is_deleted(plane: ControlPlane, clock: ManualClock) -> None:
    new = plane.create_key("ci", expires_at=NOW + timedelta(hours=1))
    other = plane.create_key("other")
    clock.advance(3599)
    assert plane.key_of(new.secret) is not None
    clock.advance(1)
    assert plane.key_of(new.secret) is None
    plane.delete_key(other.info.key_id)
    plane.delete_key(other.info.key_id)
    assert plane.key_of(other.secret) is None
    assert [each.name for each in plane.keys()] == ["ci"]  # noqa: SIM118 (a method)


def test_a_key_that_can_not_be_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(ParameterError, match=r"did you mean 'flows\.read'"):
        plane.create_key("ci", scopes=["flow.read"])
    with pytest.raises(ParameterError, match="scopes are a list"):
        plane.create_key("ci", scopes="flows.read")
    with pytest.raises(ParameterError, match="with its zone"):
        plane.create_key("ci", expires_at=datetime(2030, 1, 1))  # noqa: DTZ001 (that is what is refused)
    with pytest.raises(ParameterError, match="is past"):
        plane.create_key("ci", expires_at=NOW)
    with pytest.raises(ParameterError, match="in the year 9999"):
        plane.create_key("ci", expires_at=datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))))
    with pytest.raises(ParameterError, match="scopes are a list"):
        plane.create_key("ci", scopes=None)  # type: ignore[arg-type]
    assert plane.keys() == []


# ---- values


@pytest.mark.parametrize(
    "value",
    [ODD, "x" * 4_000_000, 2**63, -(2**70), -0.0, 1e308, 5e-324, [], {}, {ODD: [None, True, {"": ODD}]}, None, False],
    ids=lambda value: repr(value)[:20].encode("ascii", "replace").decode(),
)
def test_any_json_comes_back_as_it_was(etl: ControlPlane, value: object) -> None:
    run_id, fence = claimed(etl, mode=value)
    told = event(0) | {"more": value}
    etl.report(run_id, fence, Report((told,), StateType.COMPLETED, "", value, has_result=True))
    run = etl.run(run_id)
    for found in (run.parameters["mode"], run.result, etl.events(run_id)[0]["more"]):
        assert found == value
        assert repr(found) == repr(value)  # -0.0 and False are themselves
    assert run.has_result


def test_any_text_for_people_comes_back_as_it_was(etl: ControlPlane) -> None:
    for text in (ODD, "\r\n", "'; DROP TABLE runs --", "%s %(x)s :x ?"):
        run_id, fence = claimed(etl)
        etl.cancel_run(run_id, text)
        told = (event(0, ODD, "FAILED", message=text),)
        assert etl.report(run_id, fence, Report(told, StateType.FAILED, text)).cancel_reason == text
        assert etl.run(run_id).message == text
        assert etl.events(run_id) == list(told)


def test_a_text_of_millions_of_characters_is_kept_whole(etl: ControlPlane) -> None:
    run_id, fence = claimed(etl)
    etl.report(run_id, fence, Report(status=StateType.FAILED, message="é" * 2_000_000))
    assert etl.run(run_id).message == "é" * 2_000_000


def test_what_a_database_can_not_hold_is_refused_in_whatever_names_a_thing(etl: ControlPlane) -> None:
    for name in ("a\0b", "\ud83d", "a\x7fb"):
        for attempt in (
            lambda name=name: etl.create_run("etl", {"limit": 1}, idempotency_key=name),
            lambda name=name: etl.create_run("etl", {"limit": 1}, tags={"a": name}),
            lambda name=name: etl.claim_run(name) if etl.create_run("etl", {"limit": 1}) else None,
            lambda name=name: etl.create_key(name),
            lambda name=name: etl.flows(after=name),
            lambda name=name: etl.flow(name),
            lambda name=name: etl.deployments(namespace=name),
        ):
            with pytest.raises(ParameterError):
                attempt()


# ---- the store


def test_a_plane_that_is_opened_again_has_all_that_was_there(
    etl: ControlPlane, url: str | None, tmp_path: Path, clock: ManualClock
) -> None:
    run = etl.create_run("etl", {"limit": 1})
    etl.close()
    with pytest.raises(StoreError, match="is closed"):
        etl.run(run.run_id)
    with open_plane(tmp_path / "dagy", url, clock=clock) as again:
        assert again.run("latest") == run


def test_without_a_clock_the_time_is_the_real_one(url: str | None, tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    with open_plane(tmp_path / "dagy", url) as plane:
        made_at = registered(plane, tmp_path).created_at
    assert before < made_at < datetime.now(UTC) + timedelta(seconds=1)


def _gone() -> Owner:
    """A process of this machine that is not there any more."""
    me = this_process()
    return Owner(me.host, me.boot, me.pids, me.pid, me.pid_started - 1)
