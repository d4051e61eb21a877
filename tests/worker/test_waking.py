"""Somebody runs what is queued: one worker is started, however many ask, and none when one is there."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dagy.client.waking import LOG_NAME, Bell, WorkerLock, wake_worker


def test_the_lock_is_free_when_nobody_has_it(local_dir: Path) -> None:
    lock = WorkerLock.alone(local_dir)
    assert lock is not None
    assert WorkerLock.alone(local_dir) is None
    lock.release()
    again = WorkerLock.alone(local_dir)
    assert again is not None
    again.release()


def test_workers_of_the_user_share_the_lock(local_dir: Path) -> None:
    first, second = WorkerLock.beside_others(local_dir), WorkerLock.beside_others(local_dir)
    first.release()
    first.release()
    assert WorkerLock.alone(local_dir) is None
    second.release()
    third = WorkerLock.alone(local_dir)
    assert third is not None
    fourth = WorkerLock.beside_others(local_dir)
    third.release()
    assert WorkerLock.alone(local_dir) is None
    fourth.release()


def test_a_lock_that_was_passed_on_is_held_by_who_has_it_now(local_dir: Path) -> None:
    lock = WorkerLock.alone(local_dir)
    assert lock is not None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.descriptor])
    lock.release()
    assert WorkerLock.alone(local_dir) is None
    child.communicate(b"\n")
    free = WorkerLock.alone(local_dir)
    assert free is not None
    free.release()


def test_a_bell_wakes_who_waits_from_inside_and_outside(local_dir: Path) -> None:
    bell = Bell(local_dir)
    lock = WorkerLock.beside_others(local_dir)
    try:
        for ring in (bell.ring, lambda: wake_worker(local_dir)):
            begun = time.monotonic()
            threading.Thread(target=ring).start()
            bell.wait(20)
            assert time.monotonic() - begun < 10
            bell.wait(0)
    finally:
        lock.release()
        bell.close()
    bell.ring()  # nobody is there any more


def test_many_who_wake_start_one_worker(local_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = _instead_of_python(tmp_path, monkeypatch, 'echo "$$" >&2\nread line < "$HELD"\n')
    threads = [threading.Thread(target=wake_worker, args=(local_dir,)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    held.write_text("done\n")
    for each in threading.enumerate():
        if each.name == "dagy-worker-started":
            each.join(10)
    assert len((local_dir / LOG_NAME).read_text().split()) == 1


def test_a_folder_that_can_not_be_made_keeps_no_run_from_being_queued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    wake_worker(tmp_path / "file" / "local")
    assert "no worker can be started" in caplog.text


@pytest.mark.program
def test_a_worker_keeps_nothing_of_who_woke_it(local_dir: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom dagy.client.waking import wake_worker\n"
        "wake_worker(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", program, str(local_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path) as caller:
        assert caller.stdout is not None
        assert select.select([caller.stdout], [], [], 20)[0], "the pipe is held open"
        assert caller.stdout.read() == b""
        assert caller.wait(10) == 0
    worker = _holder_of_lock(local_dir)
    assert os.getsid(worker) == worker
    assert Path(f"/proc/{worker}/cwd").readlink() == local_dir
    streams = [Path(f"/proc/{worker}/fd/{each}").readlink() for each in (0, 1, 2)]
    assert streams == [Path("/dev/null"), local_dir / LOG_NAME, local_dir / LOG_NAME]
    process = os.pidfd_open(worker)
    os.kill(worker, 15)
    assert select.select([process], [], [], 20)[0]
    os.close(process)


def test_that_no_worker_can_be_started_is_logged_and_no_error(
    local_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    wake_worker(local_dir)
    assert "no worker can be started" in caplog.text
    lock = WorkerLock.alone(local_dir)
    assert lock is not None
    lock.release()


def _instead_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Let a shell script be started in place of a worker; the pipe that it reads."""
    held = tmp_path / "held"
    os.mkfifo(held)
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o700)
    monkeypatch.setenv("HELD", str(held))
    monkeypatch.setattr(sys, "executable", str(program))
    return held


def _holder_of_lock(local_dir: Path) -> int:
    inode = (local_dir / "worker.lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if int(fields[5].rpartition(":")[2]) == inode:
            for folder in Path("/proc").glob("[0-9]*/fd"):
                try:
                    held = [each.readlink() for each in folder.iterdir()]
                except OSError:
                    continue
                if local_dir / "worker.lock" in held:
                    return int(folder.parent.name)
    raise AssertionError("nobody holds the lock")
