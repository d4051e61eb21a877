"""Somebody to run what is queued on this machine: a worker that is there, or one that is started.

A worker holds a lock on `worker.lock` for as long as it takes runs, and looks at the queue once more after it has let
go of it. Whoever queues a run does so first, and looks for the lock then. So either the worker sees the run, or the
lock is free and another worker is started; that one is born with the lock, so many who wake start one.

A worker that waits is told by a byte in the pipe `worker.bell`. That is for speed: who missed it looks a moment later.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from dagy.errors import StoreError
from dagy.settings import made_private

logger = logging.getLogger(__name__)

LOG_NAME = "worker.log"  # what a worker that was started by itself says

_LOCK_NAME = "worker.lock"
_BELL_NAME = "worker.bell"
_GATE_NAME = "waking.lock"  # held while somebody looks for a worker
_CHILD = (
    "import sys; root, folder, lock = sys.argv[1:4]; del sys.argv[1:4]; sys.path.append(root); "
    "from dagy.worker.detached import main; main(folder, int(lock))"
)


class WorkerLock:
    """That a worker is at work in a folder. Several may hold it at once; `release` more than once does nothing."""

    def __init__(self, descriptor: int) -> None:
        """Takes over the lock that another process has passed on."""
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    @classmethod
    def beside_others(cls, local_dir: Path) -> WorkerLock:
        """The lock, whoever else has it."""
        with _gate(local_dir):
            lock = cls(_opened(local_dir, _LOCK_NAME))
            fcntl.flock(lock.descriptor, fcntl.LOCK_SH)
            return lock

    @classmethod
    def alone(cls, local_dir: Path) -> WorkerLock | None:
        """The lock; None when another worker has it."""
        with _gate(local_dir):
            lock = cls(_opened(local_dir, _LOCK_NAME))
            try:
                fcntl.flock(lock.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.release()
                return None
            fcntl.flock(lock.descriptor, fcntl.LOCK_SH)  # others may join; nobody who wants it alone is let in here
            return lock

    @property
    def descriptor(self) -> int:
        """The open file that holds it, for a child process to inherit."""
        return self._descriptor

    def release(self) -> None:
        """Let go of it here; a process that inherited it still has it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Bell:
    """What a worker waits at: rung by whoever queues a run in the folder, and by the worker's own threads."""

    def __init__(self, local_dir: Path) -> None:
        path = made_private(local_dir) / _BELL_NAME
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._inside, self._rope = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._outside = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, seconds: float) -> None:
        """Until somebody rings, at most so long."""
        heard, _, _ = select.select([self._inside, self._outside], [], [], max(0.0, seconds))
        for each in heard:
            with contextlib.suppress(BlockingIOError):  # another worker was faster
                os.read(each, 4096)

    def ring(self) -> None:
        """Wake this worker; may be called in a signal handler, and from any thread."""
        with contextlib.suppress(OSError):  # it is full of rings already, or closed
            os.write(self._rope, b".")

    def close(self) -> None:
        """Give back the pipes."""
        for each in (self._inside, self._outside, self._rope):
            os.close(each)
        self._rope = -1


def wake_worker(local_dir: Path) -> None:
    """See to it that a worker runs what is queued in `local_dir`; returns at once.

    When none is there one is started that goes on by itself until nothing is left to do, in a session of its own. What
    it says is in `worker.log`. That one can't be started is logged: the run stays queued.
    """
    try:
        lock = WorkerLock.alone(local_dir)
        if lock is None:
            _ring(local_dir)
            return
        try:
            process = _started(local_dir, lock.descriptor)
        finally:
            lock.release()
    except (OSError, StoreError) as error:
        logger.warning("no worker can be started (%s); start one with: dagy worker", error)
        return
    # It is waited for so that no zombie is left; when this process ends first, somebody else does.
    threading.Thread(target=process.wait, name="dagy-worker-started", daemon=True).start()


def _ring(local_dir: Path) -> None:
    with contextlib.suppress(OSError):  # nobody waits, or it is full of rings already
        bell = os.open(local_dir / _BELL_NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(bell).st_mode):
                os.write(bell, b".")
        finally:
            os.close(bell)


def _started(local_dir: Path, lock: int) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])  # where dagy is, should it not be installed
    folder = str(local_dir.absolute())
    log = os.open(local_dir / LOG_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, root, folder, str(lock), "dagy", "worker", "--until-idle"],
            cwd=local_dir,  # so that it holds no folder of the user's
            env={**os.environ, "DAGY_LOCAL_DIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,  # no Ctrl-C, no terminal, no process group of the caller's
        )
    finally:
        os.close(log)


@contextlib.contextmanager
def _gate(local_dir: Path) -> Iterator[None]:
    """One at a time: while somebody tries the lock alone, nobody takes that for a worker."""
    descriptor = _opened(local_dir, _GATE_NAME)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened(local_dir: Path, name: str) -> int:
    return os.open(made_private(local_dir) / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
