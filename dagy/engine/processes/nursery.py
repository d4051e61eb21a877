"""The process that starts the workers of another process, ends them, and tells how they ended.

It has one thread and loads none of the user's code, so that forking it is quick and safe. Every worker is its child,
and whatever a worker leaves behind becomes its child too, because the system gives it the orphans below it. So its
children are the workers, and the rest is to be killed: no process id is ever used that might mean another process by
now. When the process that uses it is gone, or closes the line to it, it kills everything and ends.
"""

from __future__ import annotations

import ctypes
import gc
import heapq
import os
import select
import signal
import socket
import time
from contextlib import suppress

from dagy.engine.nesting import set_level
from dagy.engine.processes.child import serve
from dagy.engine.processes.errors import pack_error
from dagy.engine.processes.wire import ORDER, send

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SWEEP_SECONDS = 2.0  # how long the end of a worker may wait for what it left behind to be gone
_RETRY_SECONDS = 0.05
_AGAIN_SECONDS = 0.1  # after which SIGTERM is sent again: just before a wait it is seen too late, in a wait at once


class Nursery:
    """Starts and ends workers as the line says. `tend` returns in a new worker, and when all is over."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._pid = os.getpid()
        self._pid_of: dict[int, int] = {}
        self._number_of: dict[int, int] = {}
        self._lines: dict[int, socket.socket] = {}  # the workers' ends, on which their deaths are told
        self._kills: list[tuple[float, int, int]] = []  # when to send which worker which signal
        self._to_tell: list[tuple[float, int, int]] = []  # whose end, until when to wait for what it left, and how
        self._is_open = True
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake_end = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._parent = _watch(os.getppid())
        if self._parent is not None:
            self._poll.register(self._parent, select.POLLIN)

    def tend(self) -> socket.socket | None:
        """Do as told until the line ends; in a worker that was started, its line."""
        while self._is_open:
            ready = {fd for fd, _ in self._poll.poll(self._patience())}
            if self._parent in ready:
                break
            if self._wake in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            if self._line.fileno() in ready:
                line = self._take_order()
                if line is not None:
                    return line
            self._kill_what_is_due()
            self._reap()
        self._end_all()
        return None

    def _take_order(self) -> socket.socket | None:
        try:
            order, fds, _, _ = socket.recv_fds(self._line, ORDER.size, 3, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            order = b""
        if not order:
            self._is_open = False
            return None
        number, kind, seconds = ORDER.unpack(order)
        if kind == b"s":
            return self._start(number, fds)
        if number in self._pid_of:
            now = time.monotonic()
            self._signal(self._pid_of[number], signal.SIGTERM)
            heapq.heappush(self._kills, (now + _AGAIN_SECONDS, number, signal.SIGTERM))
            heapq.heappush(self._kills, (now + seconds, number, signal.SIGKILL))
        return None

    def _start(self, number: int, fds: list[int]) -> socket.socket | None:
        line = socket.socket(fileno=fds[0])
        try:
            pid = os.fork()
        except OSError as error:
            pid = -1
            with suppress(OSError):
                send(line, "unborn", (error.strerror,))
            line.close()
        if pid == 0:
            self._become_worker(*fds[1:])
            return line
        for fd in fds[1:]:
            os.close(fd)
        if pid > 0:
            self._pid_of[number] = pid
            self._number_of[pid] = number
            self._lines[number] = line
        return None

    def _become_worker(self, stdout: int, stderr: int) -> None:
        """Be a worker from here on: a session of its own, the pipes as its output, nothing of the nursery's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that what its task leaves behind stays below it
        if os.getppid() != self._pid:
            os._exit(1)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for fd in (stdout, stderr, self._wake, self._wake_end, self._line.detach()):
            os.close(fd)
        if self._parent is not None:
            os.close(self._parent)
        for line in self._lines.values():
            line.close()

    def _reap(self) -> None:
        """Learn who has died, kill what they left behind, and tell."""
        while (pid := _dead_child()) is not None:
            number = self._number_of.pop(pid, None)
            if number is not None:
                self._signal(pid, signal.SIGKILL)  # its group, while the number can't mean another
                del self._pid_of[number]
            _, status = os.waitpid(pid, 0)
            if number is not None:
                until = time.monotonic() + _SWEEP_SECONDS
                self._to_tell.append((until, number, status))
        if self._to_tell:
            is_clean = not self._kill_orphans()
            self._to_tell = [each for each in self._to_tell if not self._tell(is_clean, *each)]

    def _kill_orphans(self) -> bool:
        """Kill the children that are no workers: whether there are any. With that, their own children become ours."""
        found = False
        for pid in _children():
            if pid not in self._number_of:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                    found = True
        return found

    def _tell(self, is_clean: bool, until: float, number: int, status: int) -> bool:
        """Tell the worker's user that it has ended, once it and all below it is gone: whether that is done."""
        if not is_clean and time.monotonic() <= until:
            return False
        line = self._lines[number]
        try:
            send(line, "ended", (status,), flags=socket.MSG_DONTWAIT)
        except BlockingIOError:  # its user has not read yet what the worker sent before, but will
            return False
        except OSError:  # its user has closed the line
            pass
        line.close()
        del self._lines[number]
        return True

    def _kill_what_is_due(self) -> None:
        while self._kills and self._kills[0][0] <= time.monotonic():
            _, number, kind = heapq.heappop(self._kills)
            if number not in self._pid_of:
                continue
            if kind == signal.SIGKILL:
                self._signal(self._pid_of[number], kind)
            else:
                os.kill(self._pid_of[number], kind)

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        """Send a signal to a worker, which is our child and not reaped yet, and to its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
        with suppress(ProcessLookupError):
            os.kill(pid, number)  # it may not have its group yet

    def _patience(self) -> int | None:
        """Milliseconds until there is something to do by itself."""
        seconds = [self._kills[0][0] - time.monotonic()] if self._kills else []
        seconds += [_RETRY_SECONDS] if self._to_tell else []
        return max(0, int(min(seconds) * 1000) + 1) if seconds else None

    def _end_all(self) -> None:
        until = time.monotonic() + _SWEEP_SECONDS
        for pid in self._number_of:
            self._signal(pid, signal.SIGKILL)
        while self._kill_orphans() or self._number_of:
            while (dead := _dead_child()) is not None:
                os.waitpid(dead, 0)
                self._number_of.pop(dead, None)
            if time.monotonic() > until:
                return
            select.select([self._wake], [], [], _RETRY_SECONDS)


def _dead_child() -> int | None:
    """A child that has died and was not waited for yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _watch(pid: int) -> int | None:
    """A descriptor that can be read once the process is gone; None on a system without them."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _children() -> list[int]:
    """The processes that are children of this one."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children") as file:  # noqa: PTH123 (in a process that is kept small)
            return [int(each) for each in file.read().split()]
    except OSError:
        import psutil

        return [each.pid for each in psutil.Process(me).children()]


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def main(line_fd: int, depth: int) -> None:
    """Be the nursery of the process at the other end of the line; in the workers, this is their life.

    The workers are in `depth` workers, one in the other, themselves counted.
    """
    set_level(depth)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir("/")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    pack_error(ValueError())  # loads what every worker will need
    nursery = Nursery(socket.socket(fileno=line_fd))
    gc.collect()
    gc.freeze()  # what is here now is shared with the workers, and not copied for a look at it
    line = nursery.tend()
    if line is None:
        os._exit(0)  # there is nothing to clean up, and nobody to hear what would be said about it
    with line:
        serve(line)
