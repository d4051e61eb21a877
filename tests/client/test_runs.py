"""A `Run` that is waited for: when it looks, and that somebody is there to run it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact import build_artifact
from dagy.client import AsyncDagyClient, AsyncEmbeddedTransport, DagyClient, EmbeddedTransport
from dagy.client.lines import Lines
from dagy.client.runs import LONGEST_PAUSE, pauses
from dagy.control import ControlPlane, Report, RunInfo, open_plane
from dagy.control.api import CANCEL_RUN, IMPORT_RUN, Operation
from dagy.deploy import deploy_artifact
from dagy.runs import owner_text, this_process
from dagy.states import StateType

FLOW = """
from dagy import flow, task

@task
def one() -> int:
    return 1

@flow
def etl():
    return one()
"""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane with the deployment `etl`."""
    (tmp_path / "etl.py").write_text(FLOW)
    artifact = build_artifact(tmp_path / "etl.py", output_dir=tmp_path / "dist")
    with open_plane(tmp_path / "plane") as opened:
        deploy_artifact(artifact.path, client=DagyClient(transport=EmbeddedTransport(opened)))
        yield opened


def test_a_run_on_this_machine_is_looked_at_often_and_one_elsewhere_ever_less() -> None:
    assert list(itertools.islice(pauses(is_local=True), 3)) == [0.05, 0.05, 0.05]
    elsewhere = list(itertools.islice(pauses(is_local=False), 20))
    assert elsewhere == sorted(elsewhere)
    assert (elsewhere[0], elsewhere[-1]) == (0.2, LONGEST_PAUSE)


def test_who_creates_a_run_wakes_a_worker_and_who_looks_does_not(plane: ControlPlane) -> None:
    woken: list[str] = []
    client = DagyClient(transport=EmbeddedTransport(plane, wake=lambda: woken.append("woken")))
    run = client.create_run("etl")
    assert woken == ["woken"]
    run.refresh()
    client.run(run.run_id)
    assert list(client.runs())
    assert run.logs() == ""
    assert woken == ["woken"]
    with pytest.raises(Exception, match="elt"):
        client.create_run("elt")
    assert woken == ["woken"]


@pytest.mark.parametrize("is_sent", [True, False])
def test_who_cancels_or_finds_a_run_that_goes_on_wakes_a_worker(plane: ControlPlane, is_sent: bool) -> None:
    woken: list[str] = []
    transport = EmbeddedTransport(plane, wake=lambda: woken.append("woken"))

    def ask(operation: Operation[RunInfo], **arguments: object) -> RunInfo:
        if is_sent:
            return operation.read(transport.send(operation.request(**arguments)))
        return transport.perform(operation, arguments)

    now = plane.deployment("etl")
    plane.put_deployment(
        "etl", flow_name=now.flow_name, flow_version=now.flow_version, revision=now.revision, executor="lambda"
    )
    ask(IMPORT_RUN, reference="etl", run_id="etl-1", started_at=datetime(2026, 1, 31, tzinfo=UTC))
    assert woken == ["woken"], "to follow it"
    ask(CANCEL_RUN, run_id="etl-1")
    assert woken == ["woken"] * 2, "to stop it"
    queued = plane.create_run("etl")
    assert ask(CANCEL_RUN, run_id=queued.run_id).status is StateType.CANCELLED
    assert woken == ["woken"] * 2, "and what has ended needs nobody"


@pytest.mark.parametrize("follow", [lambda run: run.wait(), lambda run: list(run.logs(follow=True))])
def test_a_worker_is_looked_for_again_while_a_run_waits_for_one(
    plane: ControlPlane, follow: Callable[[Any], object]
) -> None:
    woken: list[int] = []
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 45:
            claim = plane.claim_run(owner_text(this_process()))
            assert claim is not None
            plane.report(claim.run.run_id, claim.fence, Report((), StateType.COMPLETED))

    client = DagyClient(transport=EmbeddedTransport(plane, wake=lambda: woken.append(len(slept))), sleep=sleep)
    run = client.create_run("etl")
    follow(run)
    assert run.status is StateType.COMPLETED
    assert len(slept) == 45
    assert woken == [0, 20, 40]


def test_who_follows_hears_what_a_run_waits_for(plane: ControlPlane) -> None:
    claims = []

    def sleep(_: float) -> None:
        if not claims:
            claims.append(plane.claim_run(owner_text(this_process())))
            (claim,) = claims
            assert claim is not None
            plane.report(claim.run.run_id, claim.fence, Report((), StateType.QUEUED, "installing humanize"))
        else:
            plane.report(run.run_id, claims[0].fence, Report((), StateType.COMPLETED))

    run = DagyClient(transport=EmbeddedTransport(plane), sleep=sleep).create_run("etl")
    told: list[str] = []
    assert list(run.events(follow=True, on_wait=lambda: told.append(str(run.state)))) == []
    assert told == ["QUEUED", "QUEUED: installing humanize"]


def test_an_interrupt_ends_the_waiting_and_not_the_run(plane: ControlPlane) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    run = DagyClient(transport=EmbeddedTransport(plane), sleep=interrupted).create_run("etl")
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert plane.run(run.run_id).status is StateType.QUEUED
    assert plane.run(run.run_id).cancel_reason is None


def test_an_event_loop_awaits_a_run_and_follows_what_it_writes(plane: ControlPlane) -> None:
    async def sleep(_: float) -> None:
        claim = plane.claim_run(owner_text(this_process()))
        assert claim is not None
        events = ({"kind": "output", "seq": 0, "at": 1, "task": "one", "attempt": 1, "stream": "log", "text": "hi"},)
        plane.report(claim.run.run_id, claim.fence, Report(events, StateType.COMPLETED, result=1, has_result=True))

    async def main() -> None:
        transport = AsyncEmbeddedTransport(EmbeddedTransport(plane))
        async with AsyncDagyClient(transport=transport, sleep=sleep) as client:
            run = await client.create_run("etl")
            assert [each async for each in run.follow_logs()] == ["one | hi"]
            assert await run is run
            assert (run.status, run.result) == (StateType.COMPLETED, 1)
            other = await client.create_run("etl")
            assert (await other).result == 1

    asyncio.run(main())


def test_a_run_that_ended_is_not_asked_for_again(plane: ControlPlane) -> None:
    client = DagyClient(transport=EmbeddedTransport(plane))
    run = client.create_run("etl").cancel()
    client.close()
    plane.close()
    assert run.wait().status is StateType.CANCELLED


def test_a_runs_repr_can_not_act(plane: ControlPlane) -> None:
    run = DagyClient(transport=EmbeddedTransport(plane)).create_run("etl")
    run.info = replace(run.info, message="\x1b]0;x\x07", deployment="<img>", result="\x1b[31m", has_result=True)
    bundle = run._repr_mimebundle_()
    assert "\x1b" not in "".join([repr(run), str(run), *bundle.values()])
    assert "<img>" not in bundle["text/html"]


# ---- lines


def wrote(text: str, task: str = "a", stream: str = "stdout") -> dict[str, Any]:
    return {"kind": "output", "seq": 0, "task": task, "attempt": 1, "stream": stream, "text": text}


def lines(*events: dict[str, Any], task: str | None = None) -> list[str]:
    folded = Lines(task)
    return [line for each in events for line in folded.of(each)] + list(folded.unfinished())


def test_lines_are_whole_and_each_tasks_own() -> None:
    events = [wrote("one\ntw"), wrote("x\n", "b"), wrote("err\n", stream="stderr"), wrote("o\nend")]
    assert lines(*events) == ["a | one", "b | x", "a | err", "a | two", "a | end"]
    assert lines(*events, task="a") == ["one", "err", "two", "end"]
    assert lines({"kind": "task", "seq": 1, "task": "a"}) == []


def test_a_line_without_end_comes_in_pieces() -> None:
    assert [len(each) for each in lines(wrote("x" * 100_000), wrote("y" * 10), task="a")] == [100_000, 10]
