from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagy import Flow, flow, task
from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.engine import RunOptions, new_run_id, run
from dagy.runs import RunRecorder
from dagy.runs.store import FILE_NAME, Store

pytestmark = pytest.mark.program

ROOT = Path(__file__).resolve().parents[2]


@task
def load(day: str) -> list[int]:
    print(f"loading {day}")
    print("\x1b[2Jrows\u202e")
    return [1, 2]


@task
def check(rows: list[int]) -> int:
    raise ValueError("no rows \x1b[31mat all")


@flow(name="etl", version="1.0.0")
def etl(day: str = "monday"):
    return load(day)


@flow
def bad(day: str = "monday"):
    return check(load(day))


@pytest.fixture
def local_dir() -> Path:
    """Where the test's own history is."""
    return Path(os.environ["DAGY_LOCAL_DIR"])


@pytest.fixture
def record(local_dir: Path) -> Callable[..., str]:
    """Runs a flow, records it, and returns its id."""

    def recorded(of: Flow[..., Any], **parameters: Any) -> str:
        program, values = of.prepare(**parameters)
        recorder = RunRecorder(local_dir)
        options = RunOptions(new_run_id(of.name), recorder=recorder, fail_fast=False, capture=True)
        return run(program, values, options).run_id

    return recorded


@pytest.fixture
def dagy(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[ExitCode, str, str]]:
    """Runs a command; its exit code, stdout and stderr."""

    def called(*args: str) -> tuple[ExitCode, str, str]:
        capsys.readouterr()
        code = app.run(args)
        return (code, *capsys.readouterr())

    return called


Dagy = Callable[..., tuple[ExitCode, str, str]]
Record = Callable[..., str]


def test_without_a_history_nothing_is_listed_and_nothing_is_made(dagy: Dagy, local_dir: Path) -> None:
    assert dagy("runs", "list") == (ExitCode.SUCCESS, "", f"no run is recorded in {local_dir}\n")
    assert dagy("runs", "list", "--format", "json") == (ExitCode.SUCCESS, "[]\n", "")
    assert not local_dir.exists()


def test_runs_are_listed_in_columns(dagy: Dagy, record: Record) -> None:
    one, other = record(etl), record(bad)
    code, out, err = dagy("runs", "list")
    assert (code, err) == (ExitCode.SUCCESS, "")
    header, first, second = out.splitlines()
    assert header.split() == ["RUN", "FLOW", "STATE", "TASKS", "STARTED", "TOOK"]
    assert first.split()[:8] == [other, "bad", "✗", "failed", "1", "of", "2", "just"]
    assert second.split()[:6] == [one, "etl", "✓", "completed", "1", "just"]
    assert {header.index("FLOW")} == {line.index(name) for line, name in ((first, "bad "), (second, "etl "))}
    assert dagy("runs")[1].splitlines()[0] == header


def test_runs_may_be_chosen(dagy: Dagy, record: Record) -> None:
    one, other = record(etl), record(bad)
    listed = {
        options: [each["run_id"] for each in json.loads(dagy("runs", "list", "--format", "json", *options)[1])]
        for options in [("--flow", "bad"), ("--status", "completed"), ("--limit", "1"), ("--flow", "nope")]
    }
    assert listed == {
        ("--flow", "bad"): [other], ("--status", "completed"): [one], ("--limit", "1"): [other], ("--flow", "nope"): [],
    }  # fmt: skip
    assert dagy("runs", "list", "--flow", "nope")[2].startswith("no such run is recorded in ")
    assert dagy("runs", "list", "--status", "odd")[0] is ExitCode.USAGE
    assert dagy("runs", "list", "--limit", "0")[0] is ExitCode.USAGE


def test_a_run_as_json_has_its_tasks(dagy: Dagy, record: Record) -> None:
    run_id = record(bad)
    found = json.loads(dagy("runs", "show", run_id, "--format", "json")[1])
    assert (found["run_id"], found["status"], found["tasks"]) == (run_id, "FAILED", {"COMPLETED": 1, "FAILED": 1})
    assert [(each["id"], each["status"], each["attempt"]) for each in found["task_runs"]] == [
        ("load", "COMPLETED", 1), ("check", "FAILED", 1),
    ]  # fmt: skip


def test_a_run_is_shown_with_what_it_was_given_and_what_went_wrong(dagy: Dagy, record: Record) -> None:
    run_id = record(bad, day="friday")
    code, out, err = dagy("runs", "show", run_id[-6:])
    assert (code, err) == (ExitCode.SUCCESS, "")
    lines = out.splitlines()
    assert lines[0] == f"run      {run_id}"
    assert lines[1] == "flow     bad, version latest"
    assert 'given    day = "friday"' in lines
    assert any("✗ check · failed" in line for line in lines)
    assert "check: FAILED: ValueError: no rows ␛[31mat all" in lines
    assert lines[-1] == f"What it wrote: dagy logs {run_id} --task check"
    assert "\x1b" not in out


def test_an_unknown_run_is_not_found_and_the_nearest_is_named(dagy: Dagy, record: Record) -> None:
    run_id = record(etl)
    for command in ("runs show", "logs"):
        code, out, err = dagy(*command.split(), run_id[:-1] + "x")
        assert (code, out) == (ExitCode.NOT_FOUND, "")
        assert f"did you mean '{run_id}'?" in err


def test_an_unknown_subcommand_is_a_usage_error_that_names_the_nearest(dagy: Dagy) -> None:
    code, _, err = dagy("runs", "lst")
    assert code is ExitCode.USAGE
    assert "'list'" in err


def test_logs_name_the_task_unless_one_is_asked_for(dagy: Dagy, record: Record) -> None:
    run_id = record(etl)
    assert dagy("logs", run_id)[1] == "load | loading monday\nload | \x1b[2Jrows\u202e\n"
    assert dagy("logs", run_id, "--task", "load")[1] == "loading monday\n\x1b[2Jrows\u202e\n"
    assert dagy("logs", "latest", "--follow", "--task", "load")[1] == "loading monday\n\x1b[2Jrows\u202e\n"
    code, _, err = dagy("logs", run_id, "--task", "lod")
    assert code is ExitCode.NOT_FOUND
    assert "did you mean 'load'" in err


def test_a_terminal_is_never_given_what_moves_its_cursor(
    dagy: Dagy, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(etl)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = dagy("logs", "latest")[1]
    assert out == "load | loading monday\nload | rows[U+202E]\n"


def test_a_run_whose_process_is_gone_is_said_to_have_ended(dagy: Dagy, record: Record, local_dir: Path) -> None:
    run_id = record(etl)
    with Store(local_dir) as store, store.writing() as db:
        db.execute("UPDATE runs SET ended_at = NULL, state = 2, pid_started = 1")
        db.execute("DELETE FROM events WHERE kind = 0 AND seq > 0")
    code, out, err = dagy("runs", "list")
    assert code is ExitCode.SUCCESS
    assert "crashed" in out
    assert err == f"note: run {run_id} was without a process, and has ended CRASHED now\n"


def test_the_doctor_finds_nothing_wrong(dagy: Dagy, record: Record) -> None:
    assert dagy("doctor")[0] is ExitCode.SUCCESS
    record(etl)
    code, out, err = dagy("doctor", "--verify")
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert "every run is as it must be" in out
    assert "1 recorded, 0 of them going on" in out


def test_the_doctor_finds_what_is_wrong(dagy: Dagy, record: Record, local_dir: Path) -> None:
    record(etl)
    with Store(local_dir) as store, store.writing() as db:
        db.execute("DELETE FROM results")
    assert dagy("doctor")[0] is ExitCode.SUCCESS
    code, out, err = dagy("doctor", "--verify")
    assert code is ExitCode.GENERAL
    assert "✗ verify" in out
    assert "'load' completed, and its result is not there" in out
    assert err == "error: 1 thing is not as it should be\n"


def test_the_doctor_tells_of_a_damaged_history_and_of_an_open_folder(dagy: Dagy, local_dir: Path) -> None:
    local_dir.mkdir()
    local_dir.chmod(0o755)
    (local_dir / FILE_NAME).write_bytes(b"no database" * 1000)
    code, out, _ = dagy("doctor")
    assert code is ExitCode.GENERAL
    assert f"to keep them out: chmod 700 {local_dir}" in out
    assert "is damaged" in out
    assert (local_dir / FILE_NAME).read_bytes() == b"no database" * 1000


def test_a_damaged_history_is_no_traceback(dagy: Dagy, local_dir: Path) -> None:
    local_dir.mkdir()
    (local_dir / FILE_NAME).write_bytes(b"no database" * 1000)
    code, out, err = dagy("runs")
    assert (code, out) == (ExitCode.GENERAL, "")
    assert err.startswith("error: the history ")
    assert "Move it away" in err


def test_looking_reads_no_pickle(record: Record, local_dir: Path) -> None:
    record(gives_a_tuple)
    program = (
        "import sys, pickle\n"
        "from dagy.cli import app\n"
        "pickle.load = pickle.loads = pickle.Unpickler = None\n"
        "for line in ('runs', 'runs show latest', 'logs latest', 'doctor --verify'):\n"
        "    assert app.run(line.split()) == 0\n"
    )
    environment = {**os.environ, "DAGY_LOCAL_DIR": str(local_dir)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")


@task
def pair() -> tuple[int, int]:
    return (1, 2)


@flow
def gives_a_tuple():
    return pair()
