"""Runs of deployments in a notebook: the view of any other run, on a worker that is really there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dagy import StateType, flow, task
from dagy.artifact import open_artifact
from dagy.client import Connection, DagyClient, Transport
from dagy.client.waking import WorkerLock
from dagy.control.api import Request, Response
from dagy.engine import TaskChanged
from dagy.errors import NetworkError
from dagy.settings import Settings
from dagy.worker import Worker
from dagy_nb.deployed_runs import DeployedCode
from dagy_nb.notebook import Notebook
from dagy_nb.planes import Planes
from dagy_nb.runs import Runs

from .conftest import NotebookShell, RecordingComm, RecordingScreen, wire_of

LOAD = '%%dagy_task\ndef load(n: int = 3):\n    print("loading", n)\n    return list(range(n))'
TOTAL = "%%dagy_task\ntotal = sum(load)"
ETL = "%%dagy_flow\ndef etl(n: int = 3):\n    return total(load(n))"


def local_dir() -> Path:
    return Settings.read().local_dir


@pytest.fixture(autouse=True)
def _no_worker_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_AUTO_WORKER", "0")


@pytest.fixture
def etl(notebook: NotebookShell) -> NotebookShell:
    """A notebook whose one flow is deployed as `morning`."""
    for cell, source in (("load", LOAD), ("total", TOTAL), ("etl", ETL)):
        notebook.ok(source, cell)
    notebook.ok("%dagy_deploy --name morning --no-prove", "deploy")
    return notebook


@pytest.fixture
def asked(etl: NotebookShell) -> Iterator[DagyClient]:
    """Somebody else who asks the same control plane."""
    with DagyClient(local_dir=local_dir()) as client:
        yield client


@contextmanager
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker in this process, which is woken as any other."""
    lock = WorkerLock.beside_others(local_dir())
    with DagyClient(local_dir=local_dir()) as client:
        working = Worker(client, local_dir(), schedules=False)
        thread = threading.Thread(target=working.run, kwargs={"lock": lock}, name="test-worker")
        with monkeypatch.context() as patched:
            patched.delenv("DAGY_AUTO_WORKER")  # it finds this one, and starts none
            thread.start()
            try:
                yield
            finally:
                working.stop()
                working.stop()
                thread.join(60)


# ---- what a worker runs


@pytest.mark.program
def test_a_deployed_run_is_shown_as_any_other_with_its_results_and_its_output(
    etl: NotebookShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(monkeypatch):
        ran = etl.ok("run = %dagy_run --deployment morning -p n=4\nrun['total'], run.wait().value", "r")
    assert ran.value == (6, 6)
    assert "etl: COMPLETED" in ran.text
    assert "✓ load" in ran.text
    assert etl.ok("%dagy_logs").text == "load  loading 4"
    (found,) = etl.ok("%dagy_runs").value
    assert (found.deployment, found.is_here, found.is_recorded) == ("morning", True, True)
    assert "this notebook and deployment morning" in repr(etl.ok("listed = %dagy_runs\nlisted").value)


@pytest.mark.program
def test_a_failure_of_a_deployed_run_is_told_with_its_cell(etl: NotebookShell, monkeypatch: pytest.MonkeyPatch) -> None:
    etl.ok(TOTAL.replace("sum(load)", "sum(load) / 0"), "total")
    etl.ok("%dagy_deploy --name morning --no-prove", "deploy")
    with worker(monkeypatch):
        text = etl.fails("%dagy_run --deployment morning")
    assert "Cell [6], line 2, in total" in text
    assert "ZeroDivisionError" in text
    assert "TaskFailedError" in text
    assert str(local_dir()) not in text


@pytest.mark.program
def test_a_run_that_somebody_else_asked_for_is_watched_and_its_failure_is_not_raised(
    etl: NotebookShell, asked: DagyClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(monkeypatch):
        run = asked.create_run("morning", {"n": 2})
        watched = etl.ok(f"run = %dagy_watch {run.run_id[-6:]}\nrun['total']", "w")
        assert watched.value == 1
        etl.ok("%dagy_deploy --name morning -p n=1 --no-prove", "deploy")
        assert etl.ok("again = %dagy_watch\nagain.run_id", "w").value == run.run_id
    (found,) = etl.ok("%dagy_runs").value
    assert (found.is_here, found.deployment) == (False, "morning")


@pytest.mark.program
def test_a_deployed_run_is_cancelled_by_the_page(
    comms: list[RecordingComm], notebook: NotebookShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.ok("%%dagy_task\ndef slow():\n    import time\n    time.sleep(600)", "slow")
    notebook.ok("%%dagy_flow\ndef etl():\n    return slow()", "etl")
    notebook.ok("%dagy_deploy --no-prove", "deploy")
    screen = RecordingScreen(is_live=True)
    session = notebook.session
    session.runs = Runs(session.notebook, screen)
    with worker(monkeypatch):
        run = session.run_deployment("etl", background=True)
        wire = wire_of(comms)
        next(each for each in run.shown.handle.events() if isinstance(each, TaskChanged))
        wire.receive({"op": "cancel"})
        assert run.wait(60).status is StateType.CANCELLED
    assert "cancelled in the notebook" in screen.still["text/plain"]


# ---- while it waits for a worker


def test_a_queued_run_says_what_it_waits_for_and_is_cancelled_like_any_other(etl: NotebookShell) -> None:
    run_id = etl.ok("run = %dagy_run --deployment morning --background\nrun.run_id", "r").value
    assert etl.ok("str(run.status)", "s").value == "QUEUED"
    assert "QUEUED" in repr(etl.ok("listed = %dagy_runs\nlisted", "l").value)
    assert etl.ok("%dagy_cancel", "c").text == f"cancelling {run_id}"
    assert etl.ok("run.wait(60).status.value", "w").value == "CANCELLED"
    assert etl.ok("%dagy_cancel", "c").text == "no run is under way"


def test_the_view_of_a_queued_run_names_its_state_and_what_it_waits_for(
    comms: list[RecordingComm], etl: NotebookShell
) -> None:
    screen = RecordingScreen(is_live=True)
    session = etl.session
    session.runs = Runs(session.notebook, screen)
    run = session.run_deployment("morning", background=True)
    wire = wire_of(comms)
    told = wire.state["snapshot"]["run"]
    assert (told["state"], told["message"]) == ("QUEUED", "waiting for a worker (dagy worker starts one)")
    assert wire.state["about"]["load"]["cell"]["id"] == "load"
    assert wire.state["can_rerun"] is False
    assert screen.shown[0]["text/plain"].startswith("etl: queued, waiting for a worker")
    run.cancel()
    run.wait(60)


def test_a_run_is_cancelled_and_read_in_a_session_that_did_not_begin_it(etl: NotebookShell, asked: DagyClient) -> None:
    run = asked.create_run("morning")
    assert etl.ok(f"%dagy_logs {run.run_id}").text == "nothing was written"
    assert "did you mean 'load'" in etl.fails(f"%dagy_logs {run.run_id} -t laod")
    assert etl.ok(f"%dagy_cancel {run.run_id[-6:]}").text == f"cancelling {run.run_id}"
    assert asked.run(run.run_id).status is StateType.CANCELLED
    assert etl.ok(f"%dagy_cancel {run.run_id}").text == "no run is under way"


def test_unloading_the_extension_leaves_a_deployed_run_alone(etl: NotebookShell, asked: DagyClient) -> None:
    run_id = etl.ok("run = %dagy_run --deployment morning --background\nrun.run_id").value
    etl.ok("%unload_ext dagy_nb")
    assert asked.run(run_id).status is StateType.QUEUED
    asked.cancel_run(run_id)
    etl.names["run"].wait(60)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--deployment mornin", "did you mean 'morning'?"),
        ("--deployment morning -p m=1", "has no input 'm'"),
        ("--deployment morning -p n=many", "'n'"),
        ("--deployment morning etl", "a deployment says what is run, and a worker how; leave 'etl' out"),
        ("--deployment morning --fresh --record", "leave --fresh and --record out"),
        ("--profile prod", "add --deployment NAME"),
        ("--deployment morning --profile prod", "prod"),
    ],
)
def test_a_mistake_is_told_and_no_run_is_made(etl: NotebookShell, asked: DagyClient, line: str, told: str) -> None:
    assert told in etl.fails(f"%dagy_run {line}")
    assert asked.runs().items == ()


def test_a_parameter_may_be_a_variable_of_the_notebook_as_long_as_it_is_json(
    etl: NotebookShell, asked: DagyClient
) -> None:
    etl.ok("rows, thing = 7, object()")
    etl.ok("run = %dagy_run --deployment morning -p n={rows} --background")
    (run,) = asked.runs().items
    assert dict(run.info.parameters) == {"n": 7}
    run.cancel()
    etl.names["run"].wait(60)
    assert "'n'" in etl.fails("%dagy_run --deployment morning -p n={thing}")


def test_the_function_does_the_same(etl: NotebookShell, asked: DagyClient) -> None:
    etl.ok("import dagy_nb\nrun = dagy_nb.run(deployment='morning', background=True, n=2)")
    (run,) = asked.runs().items
    assert dict(run.info.parameters) == {"n": 2}
    assert "leave the flow out, or the deployment" in etl.fails("dagy_nb.run('etl', deployment='morning')")
    run.cancel()
    assert etl.ok("run.wait(60).status.value").value == "CANCELLED"
    assert etl.ok("dagy_nb.watch().run_id").value == run.run_id


# ---- a run that is only looked at


class InterruptedOnce(threading.Event):
    """An event of which the first wait is interrupted, as by the notebook's stop button."""

    is_new = True

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_new:
            self.is_new = False
            raise KeyboardInterrupt
        return super().wait(timeout)


def test_an_interrupt_ends_the_look_at_a_run_that_was_begun_elsewhere_and_not_the_run() -> None:
    gate = threading.Event()

    @task
    def waits() -> bool:
        return gate.wait(60)

    @flow
    def waiting() -> None:
        waits()

    runs = Runs(Notebook({}), RecordingScreen())
    run = runs.follow(waiting.start_local(), background=True, whose="elsewhere")
    run.shown._has_still = InterruptedOnce()
    with pytest.raises(KeyboardInterrupt):
        run.shown.wait_in_cell()
    assert runs.cancel() == ()  # which it takes its name to do
    gate.set()
    assert run.wait(60).status is StateType.COMPLETED


# ---- what can't be asked


class Unreachable:
    """A transport whose server is not there."""

    is_local = False

    def send(self, request: Request) -> Response:
        raise NetworkError("https://dagy.example can't be reached")

    def close(self) -> None:
        pass


def test_a_control_plane_that_is_not_there_is_told_below_what_is_known(etl: NotebookShell) -> None:
    etl.ok("run = %dagy_run", "r")

    def connect(_: Connection) -> DagyClient:
        return DagyClient(transport=Unreachable())

    session = etl.session
    session.planes = Planes(connect)
    listed = etl.ok("listed = %dagy_runs\nlisted", "l").value
    assert len(listed) == 1
    note = "without the runs of deployments: https://dagy.example can't be reached"
    assert repr(listed).splitlines()[-1] == note
    assert note.replace("'", "&#x27;") in listed._repr_html_()
    assert "without what is deployed" in repr(etl.ok("found = %dagy_status\nfound", "s").value)
    assert "can't be reached" in etl.fails("%dagy_run --deployment morning")


class Deaf:
    """A transport to whom nobody can say that a run is to be cancelled."""

    is_local = True

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.is_deaf = True

    def send(self, request: Request) -> Response:
        if self.is_deaf and request.path.endswith("/cancel"):
            raise NetworkError("https://dagy.example can't be reached")
        return self._transport.send(request)

    def close(self) -> None:
        self._transport.close()


def test_a_cancel_that_nobody_hears_is_told(etl: NotebookShell) -> None:
    transport = Deaf(Connection.of(None, profile=None, token=None, local_dir=None).transport())
    screen = RecordingScreen()
    session = etl.session
    session.screen, session.planes = screen, Planes(lambda _: DagyClient(transport=transport))
    run = session.run_deployment("morning", background=True)
    run.shown.handle.cancel()
    assert screen.shown[-1]["text/plain"] == "the run can't be cancelled now: https://dagy.example can't be reached"
    transport.is_deaf = False
    run.cancel()
    assert run.wait(60).status is StateType.CANCELLED


def test_a_run_that_is_shown_already_is_not_shown_twice(etl: NotebookShell, asked: DagyClient) -> None:
    etl.ok("run = %dagy_run --deployment morning --background", "r")
    (run,) = asked.runs().items
    for line in ("%dagy_watch", f"%dagy_watch {run.run_id}", f"%dagy_watch {run.run_id[-6:]}"):
        assert etl.ok(f"again = {line}\nagain is run", "w").value is True
    run.cancel()
    etl.names["run"].wait(60)


# ---- tracebacks


def test_a_line_of_deployed_code_is_told_as_the_cell_it_came_from(etl: NotebookShell, asked: DagyClient) -> None:
    info = asked.create_run("morning").info
    module = _module_of(asked, info.artifact)
    line = next(number for number, each in enumerate(module.splitlines(), 1) if "sum(load)" in each)
    frame = f'  File "{local_dir()}/runs/{info.run_id}/files/notebook.py", line {line}, in total'
    cells = etl.session.notebook.cells
    assert DeployedCode(asked, info, lambda: cells).retold(frame) == "  Cell [3], line 2, in total"
    edited = [replace(each, source=each.source.replace("sum(load)", "max(load)")) for each in cells]
    told = f"  notebook.py, line {line} (of the cell 'total' when it was deployed), in total"
    assert DeployedCode(asked, info, lambda: edited).retold(frame) == told
    other = f'  File "/elsewhere/notebook.py", line {line}, in total'
    assert DeployedCode(asked, info, lambda: cells).retold(other) == other
    gone = DeployedCode(asked, replace(info, artifact="0" * 64), lambda: cells)
    assert gone.retold(frame) == frame


def _module_of(asked: DagyClient, sha256: str) -> str:
    with open_artifact(asked.download_artifact(sha256, local_dir() / "seen")) as opened:
        entry = next(each for each in opened.manifest.files if each.path == "notebook.py")
        return b"".join(opened.chunks(entry)).decode()
