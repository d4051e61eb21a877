"""A worker runs what is queued, tells of it as it goes, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagy.client.waking import WorkerLock
from dagy.control import Renewal
from dagy.errors import ArtifactError, UnknownRunError
from dagy.runs import History, event_to_json, owner_text, this_process
from dagy.states import StateType
from dagy.worker import Worker
from dagy.worker.claims import ClaimNote, ClaimNotes
from dagy.worker.extracted import extracted_code, remove_unused_code

from .conftest import Queue, Shift, built

pytestmark = pytest.mark.program

Begin = Callable[..., Shift]


def test_a_queued_run_is_run_told_and_recorded(queue: Queue, begin: Begin, local_dir: Path) -> None:
    entry = queue.add(rows=4)
    begin()
    assert queue.wait_for_end(entry) == "COMPLETED"
    assert entry.info.result == {"total": 6}
    assert entry.info.has_result
    with History(local_dir) as history:
        assert [event_to_json(each) for each in history.events("steps-1")] == entry.events
        assert history.run("steps-1").state.is_completed
    assert [each.status for each in entry.reports if each.status] == [StateType.RUNNING, StateType.COMPLETED]
    assert [each["text"] for each in entry.events if each["kind"] == "output"] == ["loading 4\n"]


def test_a_flow_in_a_package_runs_with_the_modules_and_the_data_beside_it(
    queue: Queue, begin: Begin, tmp_path: Path
) -> None:
    package = tmp_path / "sales"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text("RATE = 3\n")
    text = (
        "from pathlib import Path\nfrom dagy import flow, task\nfrom .rates import RATE\n\n"
        "@task\ndef load(rows: int):\n    return [rows * RATE, Path('sales/rates.py').read_text()]\n\n"
        "@flow\ndef steps(rows: int):\n    return load(rows)\n"
    )
    queue.artifact = built(package, text, "flows.py")
    entry = queue.add(rows=4)
    begin()
    assert queue.wait_for_end(entry) == "COMPLETED"
    assert entry.info.result == [12, "RATE = 3\n"]


def test_code_is_extracted_once_and_nobody_may_change_it(queue: Queue, begin: Begin, local_dir: Path) -> None:
    first, second = queue.add("steps-1"), queue.add("steps-2")
    shift = begin(until_idle=True)
    shift.end()
    assert (first.text, second.text) == ("COMPLETED", "COMPLETED")
    (code,) = (each for each in (local_dir / "code").iterdir() if each.is_dir())
    modes = {each.stat().st_mode & 0o222 for each in [code, *code.rglob("*")]}
    assert modes == {0}
    assert list(code.glob("__pycache__/steps.*.pyc"))


@pytest.mark.parametrize(
    ("parameters", "end"),
    [
        ({"how": "raise"}, "FAILED: 1 of 2 tasks failed: 'total'"),
        ({"how": "exit"}, "CRASHED: its process died: exit code 3"),
        ({"rows": "many"}, "FAILED: "),
        ({"colour": "red"}, "FAILED: "),
    ],
    ids=["raises", "dies", "wrong-type", "unknown-parameter"],
)
def test_a_run_that_does_not_complete_says_why(
    queue: Queue, begin: Begin, parameters: dict[str, str], end: str
) -> None:
    entry = queue.add(**parameters)
    begin()
    text = queue.wait_for_end(entry)
    assert text.startswith(end)
    assert len(text) > len("FAILED: ")


def test_code_that_does_not_load_ends_the_run_failed(
    queue: Queue, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import os\nfrom dagy import flow\n"
        "if 'BREAK' in os.environ:\n    raise OSError('out of luck')\n\n"
        "@flow\ndef steps():\n    pass\n"
    )
    queue.artifact = built(tmp_path, text)
    monkeypatch.setenv("BREAK", "1")
    entry = queue.add()
    begin()
    assert "OSError: out of luck" in queue.wait_for_end(entry)
    assert entry.info.status is StateType.FAILED


def test_an_artifact_that_is_broken_ends_the_run_failed(queue: Queue, begin: Begin, tmp_path: Path) -> None:
    queue.artifact = tmp_path / "broken.zip"
    queue.artifact.write_bytes(b"PK nothing")
    entry = queue.add()
    begin()
    assert queue.wait_for_end(entry).startswith("FAILED: ")
    assert "not a ZIP" in entry.text


def test_an_environment_that_cannot_be_had_ends_the_run_failed(queue: Queue, begin: Begin) -> None:
    def refuse(manifest: object, local_dir: Path, on_progress: object) -> Path:
        raise ArtifactError("there is no wheel of pandas for this machine")

    entry = queue.add()
    begin(environment_for=refuse)
    assert queue.wait_for_end(entry) == "FAILED: there is no wheel of pandas for this machine"


def test_what_takes_long_before_a_run_begins_is_told_while_it_is_queued(queue: Queue, begin: Begin) -> None:
    may_end = threading.Event()

    def slow(manifest: object, local_dir: Path, on_progress: Callable[[str], None]) -> Path:
        on_progress("making an environment with pandas 2.2.3")
        may_end.wait(20)
        return Path(sys.executable)

    entry = queue.add()
    shift = begin(environment_for=slow)
    queue.wait_for(lambda: entry.info.message)
    assert entry.text == "QUEUED: making an environment with pandas 2.2.3"
    assert "steps-1: making an environment with pandas 2.2.3" in shift.said
    may_end.set()
    assert queue.wait_for_end(entry) == "COMPLETED"
    told = [str(each.status) for each in entry.reports if each.status]
    assert told == ["QUEUED", "RUNNING", "COMPLETED"]


def test_a_wish_to_cancel_is_heeded_while_it_runs(queue: Queue, begin: Begin) -> None:
    entry = queue.add(how="hang")
    begin()
    queue.wait_for_text(entry, "hanging")
    queue.cancel(entry, "no longer needed")
    assert queue.wait_for_end(entry) == "CANCELLED: no longer needed"


def test_a_run_is_cancelled_while_its_environment_is_made(queue: Queue, begin: Begin) -> None:
    making, may_end = threading.Event(), threading.Event()

    def slow(manifest: object, local_dir: Path, on_progress: object) -> Path:
        making.set()
        may_end.wait(20)
        raise ArtifactError("too late")

    entry = queue.add()
    begin(environment_for=slow)
    assert making.wait(10)
    queue.cancel(entry, "no longer needed")
    assert queue.wait_for_end(entry) == "CANCELLED: no longer needed"
    may_end.set()


def test_a_run_is_cancelled_while_its_code_hangs_as_it_loads(
    queue: Queue, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import os, time\nfrom dagy import flow\n"
        "if 'HANG' in os.environ:\n    open(os.environ['HANG'], 'w').close()\n    time.sleep(60)\n\n"
        "@flow\ndef steps():\n    pass\n"
    )
    queue.artifact = built(tmp_path, text)
    loading = tmp_path / "loading"
    os.mkfifo(loading)
    monkeypatch.setenv("HANG", str(loading))
    entry = queue.add()
    begin()
    loading.open("rb").close()  # returns when the code has opened it
    queue.cancel(entry, "no longer needed")
    assert queue.wait_for_end(entry) == "CANCELLED: no longer needed"


def test_a_lost_lease_ends_the_process_and_nothing_more_is_told(queue: Queue, begin: Begin, local_dir: Path) -> None:
    entry = queue.add(how="hang")
    shift = begin()
    queue.wait_for_text(entry, "hanging")
    queue.take_over(entry)
    told = len(entry.reports)
    shift.worker.stop()
    shift.end()
    assert len(entry.reports) == told
    assert entry.info.status is StateType.RUNNING
    with History(local_dir) as history:
        assert history.run("steps-1").status is StateType.CANCELLED
    assert list((local_dir / "claims").glob("*.json")) == []


def test_what_happens_while_nobody_answers_is_told_later_and_once(queue: Queue, begin: Begin, local_dir: Path) -> None:
    entry = queue.add(how="hang")
    begin()
    queue.wait_for_text(entry, "hanging")
    with queue.changed:
        queue.is_reachable = False
    queue.wait_for(lambda: queue.refused > 1)
    with queue.changed:
        queue.is_reachable = True
    queue.cancel(entry, "enough")
    assert queue.wait_for_end(entry) == "CANCELLED: enough"
    with History(local_dir) as history:
        assert [event_to_json(each) for each in history.events("steps-1")] == entry.events


def test_an_end_that_could_not_be_told_is_told_by_the_next_worker(queue: Queue, begin: Begin, local_dir: Path) -> None:
    entry = queue.add(how="hang")
    shift = begin()
    queue.wait_for_text(entry, "hanging")
    with queue.changed:
        queue.is_reachable = False
    shift.worker.stop()
    shift.worker.stop()
    shift.end()
    assert entry.info.status is StateType.RUNNING
    (note,) = (local_dir / "claims").glob("*.json")
    note.write_text(note.read_text().replace(f'"{os.getpid()}.', '"999999999.'))  # as if its process were gone
    with queue.changed:
        queue.is_reachable = True
    begin()
    assert queue.wait_for_end(entry).startswith("CRASHED: its worker is gone")
    with History(local_dir) as history:
        assert [event_to_json(each) for each in history.events("steps-1")][:-1] == entry.events[:-1]
    assert (entry.events[-1]["kind"], entry.events[-1]["state"]) == ("run", "CRASHED")


def test_told_to_stop_it_finishes_what_runs_and_takes_nothing_more(queue: Queue, begin: Begin, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    text = (
        "from dagy import flow, task\n\n"
        f"@task\ndef load():\n    print('waiting')\n    return open({str(gate)!r}).read()\n\n"
        "@flow\ndef steps():\n    return load()\n"
    )
    queue.artifact = built(tmp_path, text)
    entry = queue.add()
    shift = begin()
    queue.wait_for_text(entry, "waiting")
    shift.worker.stop()
    later = queue.add("steps-2")
    gate.write_text("done")
    shift.end()
    assert entry.text == "COMPLETED"
    assert entry.info.result == "done"
    assert later.info.status is StateType.QUEUED


def test_told_twice_to_stop_it_cancels_what_runs(queue: Queue, begin: Begin) -> None:
    entry = queue.add(how="hang")
    shift = begin()
    queue.wait_for_text(entry, "hanging")
    shift.worker.stop()
    shift.worker.stop()
    shift.end()
    assert entry.text == "CANCELLED: the worker was stopped"


def test_several_runs_go_on_at_once(queue: Queue, begin: Begin) -> None:
    first, second = queue.add("steps-1", how="hang"), queue.add("steps-2", how="hang")
    begin(concurrency=2)
    queue.wait_for_text(first, "hanging")
    queue.wait_for_text(second, "hanging")


def test_a_schedule_that_is_due_is_queued_and_run(queue: Queue, begin: Begin) -> None:
    queue.due = datetime.now(UTC) + timedelta(seconds=0.2)
    begin()
    queue.wait_for(lambda: "scheduled-1" in queue.entries)
    late = datetime.now(UTC) - queue.entries["scheduled-1"].info.created_at
    assert late < timedelta(seconds=1)
    queue.wait_for_end(queue.entries["scheduled-1"])


def test_without_schedules_nothing_is_queued(queue: Queue, begin: Begin) -> None:
    queue.due = datetime.now(UTC) - timedelta(seconds=1)
    begin(schedules=False, until_idle=True).end()
    assert queue.ticks == 0


def test_until_idle_ends_when_nothing_is_left(queue: Queue, begin: Begin) -> None:
    entries = [queue.add(f"steps-{number}") for number in range(3)]
    begin(until_idle=True, concurrency=2).end()
    assert [each.text for each in entries] == ["COMPLETED"] * 3


def test_a_run_queued_as_the_worker_is_about_to_leave_is_run(queue: Queue, begin: Begin, local_dir: Path) -> None:
    lock = WorkerLock.alone(local_dir)

    def queue_and_wake() -> None:
        queue.add()
        assert WorkerLock.alone(local_dir) is None, "nobody would take this worker to be there"

    queue.when_empty.append(queue_and_wake)
    begin(until_idle=True, lock=lock).end()
    assert queue.entries["steps-1"].text == "COMPLETED"
    free = WorkerLock.alone(local_dir)
    assert free is not None
    free.release()


def test_until_idle_it_does_not_wait_forever_for_a_control_plane_that_is_gone(queue: Queue, local_dir: Path) -> None:
    queue.is_reachable = False
    said: list[str] = []
    moments = iter(range(0, 10_000, 100))
    worker = Worker(queue, local_dir, said=said.append, clock=lambda: float(next(moments)))
    worker.run(until_idle=True)
    assert said == ["the control plane does not answer, and is asked again: nobody answers"]


def test_a_note_of_another_control_planes_run_is_left_to_its_own_workers(
    queue: Queue, begin: Begin, local_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(run_id: str, *arguments: object, **options: object) -> Renewal:
        raise UnknownRunError(run_id)

    monkeypatch.setattr(queue, "renew", unknown)
    notes = ClaimNotes(local_dir)
    dead = dataclasses.replace(this_process(), pid=2**22 + 1)
    note = ClaimNote("elsewhere-1", 1, owner_text(dead), "0" * 64)
    notes.add(note)
    begin(until_idle=True).end()
    assert list(notes) == [note]


def test_code_that_no_run_used_for_a_month_is_removed(tmp_path: Path) -> None:
    artifact = built(tmp_path, "from dagy import flow\n\n@flow\ndef steps():\n    pass\n")
    code = extracted_code(artifact)
    assert extracted_code(artifact) == code
    soon = time.time() + 29 * 86_400
    remove_unused_code(artifact.parent, now=soon)
    assert (code / "steps.py").exists()
    remove_unused_code(artifact.parent, now=soon + 2 * 86_400)
    assert list(artifact.parent.iterdir()) == []


def test_a_run_that_this_worker_lost_and_claims_again_is_two_to_it(queue: Queue, begin: Begin, local_dir: Path) -> None:
    entry = queue.add(how="hang")
    shift = begin(concurrency=2)
    queue.wait_for_text(entry, "hanging")
    with queue.changed:  # its lease ran out: this machine slept
        entry.info = dataclasses.replace(entry.info, status=StateType.QUEUED, worker=None, parameters={"colour": "red"})
    assert queue.wait_for_end(entry).startswith("FAILED")
    shift.worker.stop()
    shift.end()
    assert list((local_dir / "claims").iterdir()) == []


WRITES = """
from pathlib import Path
from dagy import flow, task


@task
def write(name: str):
    before = sorted(each.name for each in Path().iterdir() if each.name != "__pycache__")
    Path(name).write_text(name)
    Path("rows.csv").open("a").write(name) if name == "changes" else None
    return [before, Path("rows.csv").read_text(), Path(__file__).parent.samefile(".")]


@flow
def steps(name: str):
    return write(name)
"""


def test_each_run_works_in_a_folder_of_its_own_and_what_it_wrote_stays(
    queue: Queue, begin: Begin, tmp_path: Path, local_dir: Path
) -> None:
    (tmp_path / "rows.csv").write_text("rows")
    queue.artifact = built(tmp_path, WRITES, include=("rows.csv",))
    entries = [queue.add(name, name=name) for name in ("first", "changes", "last")]
    begin(until_idle=True).end()
    assert [each.text for each in entries] == ["COMPLETED"] * 3
    own = ["rows.csv", "steps.py"]
    assert [each.info.result for each in entries] == [
        [own, "rows", True],
        [own, "rowschanges", True],
        [own, "rows", True],
    ]
    with History(local_dir) as history:
        found = {each.run_id: history.written_files(each.run_id) for each in history.runs()}
    left = {
        name: sorted(each.name for each in folder.iterdir()) for name, folder in found.items() if folder is not None
    }
    assert left == {"first": ["first"], "changes": ["changes", "rows.csv"], "last": ["last"]}


def test_a_run_that_wrote_nothing_leaves_no_folder(queue: Queue, begin: Begin, local_dir: Path) -> None:
    entries = [queue.add(), queue.add("steps-2", colour="red")]
    begin(until_idle=True).end()
    assert [each.info.status for each in entries] == [StateType.COMPLETED, StateType.FAILED]
    assert sorted(each.name for each in (local_dir / "runs").rglob("*")) == ["output.jsonl", "steps-1"]
