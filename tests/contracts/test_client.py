"""What a client promises, whatever takes its requests: in this process, from an event loop, over HTTP."""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact import Artifact, build_artifact
from dagy.client import (
    AsyncDagyClient,
    AsyncEmbeddedTransport,
    AsyncHttpTransport,
    AsyncRun,
    DagyClient,
    EmbeddedTransport,
    HttpTransport,
    Run,
)
from dagy.control import ControlPlane, Report, Timing, open_plane
from dagy.control.api import OPERATIONS
from dagy.errors import (
    ArtifactError,
    ConflictError,
    ParameterError,
    ResultGoneError,
    ResumeError,
    RunCancelledError,
    RunError,
    RunTimeoutError,
    TaskFailedError,
    UnknownDeploymentError,
    UnknownFlowError,
    UnknownRunError,
    UnknownScheduleError,
)
from dagy.runs import owner_text, this_process
from dagy.spec import FlowSpec
from dagy.states import StateType

from ..client.facade import blocking
from ..client.servers import control_plane

FLOW = """
from dagy import flow, task

@task
def double(number: int) -> int:
    return {factor} * number

@flow(name="etl", version="{version}")
def etl(number: int, note: str = "") -> int:
    return double(number)
"""
WORKER = owner_text(this_process())
TOKEN = "dagy_sk_of_the_test"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """`etl` 1.0.0, other code under that version, and 2.0.0."""
    folder = tmp_path_factory.mktemp("artifacts")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGY_LOCAL_DIR", str(folder / "local"))
        for name, version, factor in (("first", "1.0.0", 2), ("changed", "1.0.0", 3), ("second", "2.0.0", 3)):
            file = folder / name / "etl.py"
            file.parent.mkdir()
            file.write_text(FLOW.format(version=version, factor=factor))
            made[name] = build_artifact(file, output_dir=folder / "dist")
    return made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a control plane that holds nothing yet, to be copied: to make one takes longer."""
    folder = tmp_path_factory.mktemp("empty")
    with open_plane(folder) as plane:
        assert list(plane.deployments()) == []
    return folder


@pytest.fixture
def plane(empty: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    shutil.copytree(empty, tmp_path / "plane")
    with open_plane(tmp_path / "plane") as opened:
        yield opened


@pytest.fixture(params=["embedded", "embedded-async", "http", "http-async"])
def client(request: pytest.FixtureRequest, plane: ControlPlane) -> Iterator[Any]:
    """A client that never really waits."""

    async def no_sleep(seconds: float) -> None:
        pass

    match request.param:
        case "embedded":
            yield DagyClient(transport=EmbeddedTransport(plane), sleep=lambda seconds: None)
        case "embedded-async":
            with asyncio.Runner() as runner:
                transport = AsyncEmbeddedTransport(EmbeddedTransport(plane))
                yield blocking(AsyncDagyClient(transport=transport, sleep=no_sleep), runner)
        case "http":
            with control_plane(plane, token=TOKEN) as url:
                made = DagyClient(transport=HttpTransport(url, token=TOKEN), sleep=lambda seconds: None)
                yield made
                made.close()
        case "http-async":
            with control_plane(plane, token=TOKEN) as url, asyncio.Runner() as runner:
                asked = AsyncDagyClient(transport=AsyncHttpTransport(url, token=TOKEN), sleep=no_sleep)
                yield blocking(asked, runner)
                runner.run(asked.close())


def deployed(client: Any, artifact: Artifact, name: str = "etl", **options: Any) -> Any:
    """A deployment of the artifact's flow."""
    namespace = options.get("namespace", "")
    info = client.upload_artifact(artifact.path)
    flow = client.register_flow(info.sha256, namespace=namespace, new_revision=options.pop("new_revision", False))
    return client.put_deployment(
        name, flow_name=flow.name, flow_version=flow.version, revision=flow.revision, **options
    )


def event(seq: int, kind: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind, "seq": seq, "at": 1_700_000_000_000_000_000 + seq, **values}


def wrote(seq: int, text: str, task: str = "double") -> dict[str, Any]:
    return event(seq, "output", task=task, attempt=1, stream="stdout", text=text)


def ran(client: Any, status: StateType, *events: dict[str, Any], message: str = "", **result: Any) -> Any:
    """The claim of the oldest run that waits, reported to its end."""
    claim = client.claim_run(WORKER)
    client.report(claim.run.run_id, claim.fence, Report(events, status, message, **result))
    return claim


# ---- artifacts


def test_an_artifact_is_known_by_its_bytes(client: Any, artifacts: dict[str, Artifact]) -> None:
    artifact = artifacts["first"]
    info = client.upload_artifact(artifact.path)
    assert (info.sha256, info.size) == (artifact.sha256, artifact.size)
    assert (info.flow_name, info.flow_version, info.code_hash) == ("etl", "1.0.0", artifact.code_hash)
    assert client.upload_artifact(artifact.path) == info
    assert client.artifact(info.sha256) == info


def test_what_is_no_artifact_is_refused(client: Any, tmp_path: Path) -> None:
    (tmp_path / "artifact.zip").write_bytes(b"not a zip")
    with pytest.raises(ArtifactError):
        client.upload_artifact(tmp_path / "artifact.zip")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        client.upload_artifact(tmp_path / "nowhere.zip")
    with pytest.raises(ArtifactError):
        client.artifact("0" * 64)


def test_an_artifact_comes_back_as_it_went(client: Any, artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    info = client.upload_artifact(artifacts["first"].path)
    path = client.download_artifact(info.sha256, tmp_path / "here")
    assert path == tmp_path / "here" / f"{info.sha256}.zip"
    assert path.read_bytes() == artifacts["first"].path.read_bytes()
    path.write_bytes(b"damaged")
    assert client.download_artifact(info.sha256, tmp_path / "here").read_bytes() == artifacts["first"].path.read_bytes()
    with pytest.raises(ArtifactError):
        client.download_artifact("0" * 64, tmp_path / "here")
    with pytest.raises(ArtifactError, match="is not the SHA-256"):
        client.download_artifact("../../etc/passwd", tmp_path / "here")
    assert [each.name for each in (tmp_path / "here").iterdir()] == [path.name]


def test_an_artifact_is_read_in_its_place_where_that_is_here(
    client: Any, artifacts: dict[str, Artifact], plane: ControlPlane
) -> None:
    info = client.upload_artifact(artifacts["first"].path)
    assert client.artifact_path(info.sha256) == (plane.artifact_path(info.sha256) if client.is_local else None)
    if client.is_local:
        with pytest.raises(ArtifactError):
            client.artifact_path("0" * 64)


def test_what_a_caller_gives_stays_the_callers(client: Any, artifacts: dict[str, Artifact]) -> None:
    given = {"number": 2, "note": "x"}
    made = deployed(client, artifacts["first"], parameters=given)
    given["number"] = 3
    assert made.parameters == {"number": 2, "note": "x"}


# ---- flows


def test_a_flow_is_registered_once_for_the_same_code(client: Any, artifacts: dict[str, Artifact]) -> None:
    info = client.upload_artifact(artifacts["first"].path)
    flow = client.register_flow(info.sha256, namespace="team/project")
    assert (flow.namespace, flow.name, flow.version, flow.revision) == ("team/project", "etl", "1.0.0", 1)
    assert client.register_flow(info.sha256, namespace="team/project") == flow
    assert client.flow("etl") == client.flow("etl", namespace="team/project", version="1.0.0", revision=1) == flow
    assert FlowSpec.model_validate(client.flow_spec("etl")) == artifacts["first"].manifest.spec


def test_other_code_under_the_same_version_is_a_conflict(client: Any, artifacts: dict[str, Artifact]) -> None:
    first, changed = (client.upload_artifact(artifacts[name].path).sha256 for name in ("first", "changed"))
    client.register_flow(first)
    with pytest.raises(ConflictError, match=r"'1\.0\.0'"):
        client.register_flow(changed)
    assert client.register_flow(changed, new_revision=True).revision == 2
    assert [each.revision for each in client.flow_versions("etl")] == [2, 1]


def test_a_flow_that_is_not_there_is_told_with_those_that_are(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    with pytest.raises(UnknownFlowError, match="did you mean 'etl'") as caught:
        client.flow("elt")
    assert (caught.value.name, caught.value.known) == ("elt", ("etl",))


def test_lists_come_in_pages(client: Any, artifacts: dict[str, Artifact]) -> None:
    for name in ("a", "b", "c"):
        deployed(client, artifacts["first"], name, namespace=f"team/{name}")
    for ask in (client.deployments, client.flows):
        page = ask(limit=2)
        rest = ask(limit=2, after=page.next)
        assert [each.namespace for each in (*page, *rest)] == ["team/a", "team/b", "team/c"]
        assert rest.next is None
        with pytest.raises(ParameterError):
            ask(limit=0)
        with pytest.raises(ParameterError):
            ask(limit=1_000_000)


# ---- deployments


def test_a_deployment_keeps_what_it_is_given(client: Any, artifacts: dict[str, Artifact]) -> None:
    made = deployed(
        client,
        artifacts["first"],
        "nightly % é #1",
        namespace="team/project",
        tags={"env": "prod", "a/b": "ü?&="},
        parameters={"number": 3},
    )
    assert made.reference == "team/project/nightly % é #1"
    assert (made.tags, made.parameters) == ({"env": "prod", "a/b": "ü?&="}, {"number": 3})
    assert made.created_at.tzinfo is not None
    assert client.deployment(made.reference) == client.deployment("nightly % é #1") == made
    assert list(client.deployments(tags={"a/b": "ü?&="})) == [made]
    assert list(client.deployments(tags={"env": "test"})) == []
    assert list(client.deployments(namespace="", flow="etl")) == []


def test_a_deployment_is_switched_and_deleted(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"], tags={"old": "yes"})
    switched = deployed(client, artifacts["second"])
    assert (switched.flow_version, switched.tags) == ("2.0.0", {})
    assert client.deployment("etl") == switched
    client.delete_deployment("etl")
    with pytest.raises(UnknownDeploymentError) as caught:
        client.deployment("etl")
    assert caught.value.name == "etl"


def test_a_name_that_several_namespaces_have_does_not_tell(client: Any, artifacts: dict[str, Artifact]) -> None:
    for namespace in ("a", "b"):
        deployed(client, artifacts["first"], namespace=namespace)
    with pytest.raises(ConflictError, match="'a/etl', 'b/etl'"):
        client.deployment("etl")


@pytest.mark.parametrize("name", ["", "..", "a/b", " x", "a\x00b", "x" * 1000])
def test_a_name_that_can_be_none_is_refused(client: Any, artifacts: dict[str, Artifact], name: str) -> None:
    info = client.upload_artifact(artifacts["first"].path)
    flow = client.register_flow(info.sha256)
    if name == "..":
        assert client.put_deployment(name, flow_name="etl", flow_version="1.0.0", revision=flow.revision).name == ".."
        assert client.deployment("..").name == ".."
    else:
        with pytest.raises(ParameterError):
            client.put_deployment(name, flow_name="etl", flow_version="1.0.0", revision=flow.revision)


# ---- runs


def test_a_run_is_created_and_waits(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"], parameters={"note": "as deployed"})
    run = client.create_run("etl", {"number": 2}, tags={"by": "me"})
    assert (run.status, str(run.state)) == (StateType.QUEUED, "QUEUED")
    assert (run.info.parameters, run.info.tags) == ({"note": "as deployed", "number": 2}, {"by": "me"})
    assert client.run(run.run_id).info == client.run().info == run.info
    assert [each.run_id for each in client.runs(deployment="etl", status=StateType.QUEUED)] == [run.run_id]
    assert client.runs(status=StateType.RUNNING).items == ()


def test_the_same_key_gives_the_same_run(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2}, idempotency_key="once")
    assert client.create_run("etl", {"number": 2}, idempotency_key="once").run_id == run.run_id
    with pytest.raises(ConflictError):
        client.create_run("etl", {"number": 3}, idempotency_key="once")
    assert len(client.runs()) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"number": datetime(2026, 1, 1, tzinfo=UTC)}, "'number' is datetime.* must be JSON"),
        ({"number": float("nan")}, "'number' is nan"),
        ({"number": (1, 2)}, r"'number' is \(1, 2\)"),
        ({"nummer": 1}, "did you mean 'number'"),
        ({"note": "x"}, "'number'"),
    ],
)
def test_a_run_takes_what_its_flow_does(
    client: Any, artifacts: dict[str, Artifact], parameters: dict[str, Any], message: str
) -> None:
    deployed(client, artifacts["first"])
    with pytest.raises(ParameterError, match=message):
        client.create_run("etl", parameters)
    assert len(client.runs()) == 0


def test_a_run_elsewhere_is_asked_for_taken_over_and_gone_on_with(client: Any, artifacts: dict[str, Artifact]) -> None:
    resources = {"region": "eu-central-1", "subnets": ["a"]}
    now = deployed(client, artifacts["first"], executor="lambda", resources=resources)
    assert (now.executor, now.resources) == ("lambda", resources)
    began = datetime(2026, 1, 31, 14, tzinfo=UTC)
    run = client.import_run("etl", "etl-abc", {"number": 2}, started_at=began)
    assert (run.status, run.started_at, run.executor) == (StateType.RUNNING, began, "lambda")
    assert client.import_run("etl", "etl-abc", started_at=began) == run
    claim = client.claim_run(WORKER)
    assert (claim.run.run_id, claim.events) == ("etl-abc", 0)
    client.report("etl-abc", claim.fence, Report(status=StateType.FAILED))
    resumed = client.create_run("etl", resume="etl-abc").info
    assert (resumed.resumes, resumed.parameters) == ("etl-abc", {"number": 2})
    with pytest.raises(ResumeError, match="wait until it ends"):
        client.create_run("etl", resume=resumed.run_id)


def test_a_run_of_what_is_not_deployed_is_refused(client: Any) -> None:
    with pytest.raises(UnknownDeploymentError, match="'team/etl'"):
        client.create_run("team/etl")


def test_a_run_goes_from_a_worker_to_whoever_waits(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    claim = client.claim_run(WORKER, lease_seconds=30.0)
    assert claim.run.run_id == run.run_id
    assert claim.lease_until > claim.run.created_at
    assert client.claim_run(WORKER) is None
    assert client.renew(run.run_id, claim.fence).cancel_reason is None
    client.report(run.run_id, claim.fence, Report((wrote(0, "hel"), wrote(1, "lo\nwor")), StateType.RUNNING))
    assert run.refresh().status is StateType.RUNNING
    assert run.logs() == "double | hello\ndouble | wor\n"
    last = (wrote(2, "ld\n"), wrote(3, "bye", "other"), event(4, "run", state="COMPLETED"))
    client.report(run.run_id, claim.fence, Report(last, StateType.COMPLETED, result={"n": 4}, has_result=True))
    assert run.wait().status is StateType.COMPLETED
    assert run.result == {"n": 4}
    run.check()
    assert run.logs("double") == "hello\nworld\n"
    assert [each["seq"] for each in run.events(since=3)] == [3, 4]
    assert [each["seq"] for each in client.events(run.run_id, since=1, limit=2)] == [1, 2]
    assert [each.task for each in run.task_runs()] == ["double"]


def test_a_worker_that_was_replaced_can_not_report(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    claim = client.claim_run(WORKER)
    with pytest.raises(ConflictError):
        client.report(run.run_id, claim.fence - 1, Report((), StateType.COMPLETED))
    assert client.recover_runs() == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (StateType.FAILED, TaskFailedError),
        (StateType.TIMED_OUT, RunTimeoutError),
        (StateType.CANCELLED, RunCancelledError),
        (StateType.CRASHED, RunError),
    ],
)
def test_a_run_that_did_not_complete_has_no_result(
    client: Any, artifacts: dict[str, Artifact], status: StateType, error: type[RunError]
) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    with pytest.raises(RunError, match="has not ended yet"):
        _ = run.result
    ran(client, status, message="no luck")
    assert run.wait().state.message == "no luck"
    with pytest.raises(error, match="no luck") as caught:
        _ = run.result
    assert type(caught.value) is error
    assert caught.value.result.run_id == run.run_id


def test_a_result_that_is_kept_nowhere_is_told_of(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    ran(client, StateType.COMPLETED)
    with pytest.raises(ResultGoneError, match="is not kept"):
        _ = run.wait().result


def test_a_run_that_waits_is_cancelled_at_once(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    assert run.cancel("not today").status is StateType.CANCELLED
    assert client.cancel_run(run.run_id).status is StateType.CANCELLED
    assert client.claim_run(WORKER) is None


def test_a_worker_learns_that_its_run_is_to_be_cancelled(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    claim = client.claim_run(WORKER)
    assert run.cancel("not today").status is not StateType.CANCELLED
    assert client.renew(run.run_id, claim.fence).cancel_reason == "not today"


def test_waiting_ends_in_time_and_leaves_the_run_alone(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    with pytest.raises(TimeoutError, match="has not ended within 0 s: it is QUEUED"):
        run.wait(timeout=0)
    assert run.refresh().status is StateType.QUEUED


def test_a_run_that_is_not_there_is_told(client: Any) -> None:
    with pytest.raises(UnknownRunError) as caught:
        client.run("etl-xyz")
    assert caught.value.run_id == "etl-xyz"
    with pytest.raises(UnknownRunError):
        client.run()


def test_events_beyond_a_page_are_all_there(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    ran(client, StateType.COMPLETED, *(wrote(number, f"{number}\n") for number in range(2_500)))
    assert len(list(run.events())) == 2_500
    assert run.logs().splitlines()[-1] == "double | 2499"


# ---- schedules


def test_a_schedule_is_put_rested_triggered_and_taken_away(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"], parameters={"number": 1})
    timing = Timing("cron", cron="0 6 * * *", timezone="Europe/Berlin")
    made = client.put_schedule("etl", timing, parameters={"number": 5})
    assert (made.timing, made.parameters, made.enabled, made.is_implicit) == (timing, {"number": 5}, True, False)
    assert client.schedules(deployment="etl") == client.schedules() == [client.schedule(made.schedule_id)]
    assert client.next_due() == made.next_run_at
    assert client.tick_schedules() == []
    assert client.set_schedule_enabled(made.schedule_id, False).enabled is False
    assert client.next_due() is None
    run = client.trigger_schedule(made.schedule_id)
    assert (run.info.parameters, run.info.schedule_id) == ({"number": 5}, made.schedule_id)
    client.delete_schedule(made.schedule_id)
    with pytest.raises(UnknownScheduleError) as caught:
        client.schedule(made.schedule_id)
    assert caught.value.schedule_id == made.schedule_id


def test_an_implicit_schedule_takes_the_place_of_the_one_before(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"], parameters={"number": 1})
    client.put_schedule("etl", Timing("interval", interval_seconds=60.0))
    for hour in (1, 2):
        client.put_schedule("etl", Timing("cron", cron=f"0 {hour} * * *"), implicit=True)
    assert sorted(str(each.timing.cron) for each in client.schedules()) == ["0 2 * * *", "None"]


def test_a_timing_that_is_none_is_refused(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"], parameters={"number": 1})
    with pytest.raises(ParameterError, match="cron"):
        client.put_schedule("etl", Timing("cron", cron="every day"))
    with pytest.raises(ParameterError, match="Mars"):
        client.put_schedule("etl", Timing("cron", cron="0 6 * * *", timezone="Mars/Base"))


# ---- keys and the rest


def test_a_key_is_made_listed_and_taken_away(client: Any, plane: ControlPlane) -> None:
    expires = datetime.now(UTC) + timedelta(days=1)
    made = client.create_key("ci", scopes=("runs.read", "runs.trigger"), expires_at=expires)
    assert made.info.scopes == ("runs.read", "runs.trigger")
    (kept,) = client.keys()
    assert kept.key_id == made.info.key_id
    assert made.secret not in repr(made) + repr(kept)
    assert plane.key_of(made.secret) is not None
    client.delete_key(made.info.key_id)
    assert client.keys() == []


def test_a_control_plane_says_that_it_is_well(client: Any) -> None:
    assert client.health()["status"] == "ok"


def test_what_people_see_of_a_run_can_not_act(client: Any, artifacts: dict[str, Artifact]) -> None:
    deployed(client, artifacts["first"])
    run = client.create_run("etl", {"number": 2})
    ran(client, StateType.FAILED, message="<script>\x1b[31m")
    shown = run.wait()._repr_mimebundle_()
    assert "<script>" not in shown["text/html"]
    assert "\x1b" not in shown["text/plain"]
    assert run.run_id in repr(run)


# Of the methods themselves.


def methods(kind: type) -> dict[str, Any]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: each for name, each in found if not name.startswith("_") and name not in ("sleep",)}


def test_both_clients_have_the_same_methods() -> None:
    assert methods(DagyClient).keys() == methods(AsyncDagyClient).keys()
    for name, each in methods(DagyClient).items():
        other = methods(AsyncDagyClient)[name]
        assert inspect.signature(each).parameters == inspect.signature(other).parameters, name
        assert inspect.iscoroutinefunction(other), name


def test_both_kinds_of_runs_have_the_same_methods() -> None:
    ours, others = methods(Run), methods(AsyncRun)
    assert others.keys() - ours.keys() == {"follow_logs"}, "what `logs` does with `follow`"
    for name in ours.keys() - {"logs"}:
        assert inspect.signature(ours[name]).parameters == inspect.signature(others[name]).parameters, name


def test_every_operation_is_a_method_of_the_control_plane_with_these_arguments() -> None:
    for operation in OPERATIONS:
        if operation.name in ("health", "put_artifact"):
            continue
        parameters = inspect.signature(getattr(ControlPlane, operation.name)).parameters
        named = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
        assert len(named) <= len(parameters) - 1, operation.name
        assert operation.takes.keys() <= parameters.keys(), operation.name
        for name in operation.needs:
            assert parameters[name].default is inspect.Parameter.empty, (operation.name, name)


def test_no_method_of_the_control_plane_is_missed() -> None:
    ours = {operation.name for operation in OPERATIONS} - {"health"}
    assert ours == methods(ControlPlane).keys() - {"close", "key_of"}
