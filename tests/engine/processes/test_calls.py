"""Calls in worker processes: every end of a call is told as what it was, and nothing is left of what was stopped."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import hashlib
import locale
import logging
import multiprocessing
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from dagy.engine.output import current_sink
from dagy.engine.processes import ProcessCall, ProcessPool, pack_function
from dagy.engine.processes.errors import StandIn
from dagy.engine.processes.nursery import _SWEEP_SECONDS
from dagy.engine.processes.surroundings import import_in_workers
from dagy.engine.workers import Stopped
from dagy.errors import TravelError, WorkerDiedError

pytestmark = pytest.mark.program


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool()
    yield pool
    pool.close()


@dataclass
class Written:
    """A sink that keeps what it is given, and tells when it was given something."""

    on_write: Callable[[str], None] = lambda text: None
    texts: dict[str, str] = field(default_factory=dict)
    shown: list[Mapping[str, object]] = field(default_factory=list)

    def write(self, stream: str, text: str) -> None:
        self.texts[stream] = self.texts.get(stream, "") + text
        self.on_write(text)

    def show(self, data: Mapping[str, object], metadata: Mapping[str, object]) -> None:
        self.shown.append(data)


def call(pool: ProcessPool, function: Callable[..., Any], *args: object, sink: Written | None = None, **kwargs: object):
    return ProcessCall(pool, pack_function(function), args, kwargs, sink=sink or Written()).run()


def numbers_in(text: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", text)]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.005)
    return True


# ---- what comes back


def test_a_call_returns_what_the_function_returns(pool):
    assert call(pool, lambda a, b: {"sum": a + b}, 2, b=3) == {"sum": 5}


def test_calls_share_a_warm_worker_that_is_not_this_process(pool):
    first, second = call(pool, lambda: os.getpid()), call(pool, lambda: os.getpid())
    assert first == second != os.getpid()


def test_a_closure_a_lambda_and_a_function_of_a_module_all_travel(pool):
    base = 10

    def add(number: int) -> int:
        return base + number

    assert [call(pool, each, 4) for each in (add, lambda number: number * base, math_floor())] == [14, 40, 4]


def math_floor() -> Callable[..., Any]:
    import statistics

    return lambda number: statistics.fmean([number])


def test_an_async_function_runs_in_the_worker(pool):
    async def wait() -> str:
        await asyncio.sleep(0)
        return "done"

    assert ProcessCall(pool, pack_function(wait), (), {}, is_async=True).run() == "done"


def test_what_the_function_raises_is_raised_with_its_traceback(pool):
    def reads_rows():
        raise ValueError("no rows")

    with pytest.raises(ValueError, match="no rows") as caught:
        call(pool, reads_rows)
    (frame,) = [each for each in traceback.extract_tb(caught.tb) if each.name == "reads_rows"]
    assert (frame.filename, frame.line) == (__file__, 'raise ValueError("no rows")')


def test_started_is_told_once_the_worker_turns_to_the_call(pool):
    said: list[str] = []
    ProcessCall(pool, pack_function(lambda: None), (), {}, started=lambda: said.append("started")).run()
    assert said == ["started"]


# ---- ends of every kind


class Odd(BaseException):
    """A base exception of the user's."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SystemExit(0), SystemExit),
        (SystemExit("message"), SystemExit),
        (SystemExit(None), SystemExit),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (GeneratorExit(), GeneratorExit),
        (StopIteration(3), StopIteration),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
    ids=lambda each: repr(each),
)
def test_an_exception_that_ends_programs_is_raised_as_itself_and_ends_nothing(pool, error, kind):
    def end():
        raise error

    before = call(pool, os.getpid)
    with pytest.raises(kind) as caught:
        call(pool, end)
    assert caught.value.args == error.args
    assert call(pool, os.getpid) == before


def test_a_base_exception_of_the_users_is_raised_as_itself(pool):
    def end():
        raise Odd("odd")

    with pytest.raises(Odd, match="odd"):
        call(pool, end)


@pytest.mark.parametrize(
    ("end", "code", "how"),
    [
        (lambda: os._exit(0), 0, "exit code 0, and no result"),
        (lambda: os._exit(3), 3, "exit code 3, and no result"),
        (os.abort, -6, r"killed by SIGABRT \(signal 6\)"),
        (lambda: ctypes.string_at(0), -11, r"killed by SIGSEGV \(signal 11\)"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9, r"killed by SIGKILL \(signal 9\), .* memory runs out"),
    ],
    ids=["exit-0", "exit-3", "abort", "segfault", "kill"],
)
def test_a_worker_that_dies_is_told_with_how(pool, end, code, how):
    with pytest.raises(WorkerDiedError, match=how) as caught:
        call(pool, end)
    assert caught.value.exit_code == code
    assert call(pool, lambda: "next") == "next"


def test_a_sigterm_that_nobody_here_sent_is_told_as_a_death(pool):
    with pytest.raises(WorkerDiedError, match="SIGTERM") as caught:
        call(pool, lambda: [os.kill(os.getpid(), signal.SIGTERM), time.sleep(60)])
    assert caught.value.exit_code == -signal.SIGTERM


def test_code_that_forks_and_returns_in_both_answers_once(pool):
    assert call(pool, lambda: os.fork() and "parent") == "parent"


def test_a_result_that_cannot_travel_is_named_with_the_way_to_it(pool):
    with pytest.raises(TravelError, match=r"the result\['a'\]\[3\] is of type generator.*make it a list"):
        call(pool, lambda: {"a": [1, 2, 3, (each for each in ())]})


def test_an_input_that_cannot_travel_is_named_before_anything_runs(pool):
    with pytest.raises(TravelError, match=r"the input 'rows'\[0\] is of type _thread.lock"):
        call(pool, lambda rows: rows, rows=[threading.Lock()])


# ---- stopping

LIBC = "libc.so.6"


def swallow_everything() -> None:
    while True:
        try:
            print("in", flush=True)
            while True:
                pass
        except BaseException:  # noqa: BLE001
            pass


def wait_for_a_socket() -> None:
    here, there = socket.socketpair()
    here.recv(1)
    there.close()


def hold_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def run_a_program() -> None:
    subprocess.run(["sleep", "1000"], check=False)


def spin() -> None:
    while True:
        pass


STUCK: dict[str, Callable[[], object]] = {
    "time.sleep": lambda: time.sleep(1000),
    "loop": lambda: spin(),
    "swallows-everything": lambda: swallow_everything(),
    "pbkdf2": lambda: hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9),
    "libc-sleep": lambda: ctypes.CDLL(LIBC).sleep(1000),
    "libc-sleep-with-the-gil": lambda: ctypes.PyDLL(LIBC).sleep(1000),
    "sum-of-range": lambda: sum(range(10**12)),
    "regex": lambda: re.match(r"(a+)+$", "a" * 60 + "b"),
    "lock": lambda: hold_a_lock(),
    "queue": lambda: queue.Queue().get(),
    "socket": lambda: wait_for_a_socket(),
    "program": lambda: run_a_program(),
}


def daemonise() -> None:
    """A daemon as the books have it: forked twice, in a session of its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write, f" {os.getpid()} ".encode())
            time.sleep(1000)
        os._exit(0)
    os.wait()
    print("daemon", os.read(read, 100).decode(), flush=True)


def stopped(
    pool: ProcessPool, function: Callable[[], object], *, is_async: bool = False, grace: float = 0.2
) -> Written:
    """What `function` wrote; it is stopped once it has written."""
    written = Written(on_write=lambda text: one.stop(grace) if "in" in text else None)
    one = ProcessCall(pool, pack_function(function), (), {}, is_async=is_async, sink=written)
    with pytest.raises(Stopped):
        one.run()
    return written


@pytest.mark.parametrize("name", STUCK)
def test_stuck_code_is_stopped_and_nothing_is_left(pool, name):
    body = STUCK[name]

    def announce_and_get_stuck():
        print("pid", os.getpid(), "in", flush=True)
        body()

    begun = time.monotonic()
    (pid,) = numbers_in(stopped(pool, announce_and_get_stuck).texts["stdout"])
    assert gone(pid)
    assert time.monotonic() - begun < 5
    assert until(lambda: not psutil.Process(pool.nursery_pid).children(recursive=True))


def test_code_that_ignores_sigterm_is_killed_after_the_grace(pool):
    def ignore():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(os.getpid(), "in", flush=True)
        time.sleep(1000)

    begun = time.monotonic()
    (pid,) = numbers_in(stopped(pool, ignore).texts["stdout"])
    assert gone(pid)
    assert time.monotonic() - begun >= 0.2


def test_a_finally_block_runs_within_the_grace(pool):
    def clean_up():
        try:
            sys.stdout.write("in\n")
            time.sleep(1000)
        finally:
            print("cleaned up")

    assert stopped(pool, clean_up, grace=10).texts["stdout"] == "in\ncleaned up\n"


def test_a_coroutine_that_is_stopped_is_cancelled(pool):
    async def wait():
        try:
            sys.stdout.write("in\n")
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            print("cancelled")

    assert stopped(pool, wait, is_async=True, grace=10).texts["stdout"] == "in\ncancelled\n"


def test_a_daemon_in_a_session_of_its_own_is_found(pool):
    def start_a_daemon():
        daemonise()
        print("in", flush=True)
        time.sleep(1000)

    (pid,) = numbers_in(stopped(pool, start_a_daemon).texts["stdout"])
    assert gone(pid)


def test_two_hundred_children_are_all_gone(pool):
    def start_children():
        children = [subprocess.Popen(["sleep", "1000"]) for _ in range(200)]
        print(*[each.pid for each in children], "in", flush=True)
        time.sleep(1000)

    pids = numbers_in(stopped(pool, start_children).texts["stdout"])
    assert len(pids) == 200
    assert [pid for pid in pids if not gone(pid)] == []


def test_a_call_stopped_before_it_ran_does_not_run(pool):
    one = ProcessCall(pool, pack_function(lambda: print("ran")), (), {}, sink=(written := Written()))
    one.stop(0.2)
    one.stop(0.1)
    with pytest.raises(Stopped):
        one.run()
    assert written.texts == {}


def test_a_stop_after_the_end_reaches_nobody(pool):
    one = ProcessCall(pool, pack_function(os.getpid), (), {})
    pid = one.run()
    one.stop(0)
    assert call(pool, os.getpid) == pid


def test_a_call_may_end_well_within_the_grace(pool):
    def finish():
        try:
            print("in", flush=True)
            time.sleep(1000)
        except BaseException:  # noqa: BLE001
            return "saved"

    written = Written(on_write=lambda text: one.stop(10))
    one = ProcessCall(pool, pack_function(finish), (), {}, sink=written)
    assert one.run() == "saved"


def test_a_child_left_behind_by_a_call_that_returned_is_ended_with_its_worker(pool):
    pid, worker = call(pool, lambda: (subprocess.Popen(["sleep", "1000"]).pid, os.getpid()))
    assert until(lambda: gone(pid) and gone(worker))


def test_an_interrupt_in_the_middle_of_a_call_leaves_nothing(pool):
    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    written = Written(on_write=interrupt)
    with pytest.raises(KeyboardInterrupt):
        call(pool, lambda: [print(os.getpid(), flush=True), time.sleep(1000)], sink=written)
    (pid,) = numbers_in(written.texts["stdout"])
    assert until(lambda: gone(pid))


# ---- one call does not change the next


def close_streams() -> None:
    os.close(1)
    os.close(2)


def replace_stdout() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


CHANGES: dict[str, Callable[[], object]] = {
    "closed-streams": lambda: close_streams(),
    "stdout": lambda: replace_stdout(),
    "logging-shut-down": lambda: logging.shutdown(),
    "logging-disabled": lambda: logging.disable(logging.CRITICAL),
    "directory": lambda: os.chdir("/"),
    "umask": lambda: os.umask(0),
    "environment": lambda: os.environ.update(DAGY_ODD="1"),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
    "recursion-limit": lambda: sys.setrecursionlimit(5000),
    "gc": lambda: gc.disable(),
    "sigterm-ignored": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "path": lambda: sys.path.insert(0, "/odd"),
    "thread": lambda: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(),
}


def surroundings() -> tuple[object, ...]:
    mask = os.umask(0)
    os.umask(mask)
    return (
        Path.cwd(), mask, dict(os.environ), locale.setlocale(locale.LC_ALL), sys.getrecursionlimit(), gc.isenabled(),
        repr(signal.getsignal(signal.SIGTERM))[:30], sys.path, logging.root.manager.disable, threading.active_count(),
    )  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_call_changes_the_next_one_does_not_feel(pool, name):
    look = lambda: (surroundings(), print("heard"), logging.getLogger("odd").warning("logged"))[0]  # noqa: E731
    change = CHANGES[name]
    before = call(pool, look)
    call(pool, lambda: [change(), None][1])
    after = call(pool, look, sink=(written := Written()))
    assert after == before
    assert written.texts["stdout"] == "heard\n"
    assert "logged" in written.texts["log"]


def test_a_worker_finds_the_directory_and_environment_of_the_caller_as_they_are_now(pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGY_ODD", "now")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = call(pool, lambda: (Path.cwd(), os.environ["DAGY_ODD"], sys.path[0]))
    assert found == (tmp_path, "now", str(tmp_path))


def test_a_worker_imports_what_it_is_to_import_before_its_next_call(pool):
    call(pool, os.getpid)  # so that there is a warm one
    import_no_longer = import_in_workers("this")
    try:
        assert call(pool, lambda: "this" in sys.modules) is True
    finally:
        import_no_longer()
    assert "this" not in sys.modules
    assert "this" not in pool.surroundings().modules


def test_an_environment_of_any_size_goes_along(pool, monkeypatch):
    for number in range(3):
        monkeypatch.setenv(f"DAGY_LARGE_{number}", "x" * 100_000)
    assert call(pool, lambda: len(os.environ["DAGY_LARGE_2"])) == 100_000


def test_the_end_of_a_worker_is_told_however_late_its_user_reads(pool):
    def talks_and_dies() -> None:
        threading.Timer(0.1, os._exit, (3,)).start()
        while True:
            logging.warning("x" * 8_000)  # until nothing more fits into the line

    pauses = [_SWEEP_SECONDS + 0.3]

    def pause_once(text: str) -> None:
        if pauses:
            threading.Event().wait(pauses.pop())

    with pytest.raises(WorkerDiedError, match="exit code 3"):
        call(pool, talks_and_dies, sink=Written(on_write=pause_once))


def test_a_warm_worker_does_not_run_code_that_has_changed_since(pool, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "rows_that_change.py"
    module.write_text("count = 1\n")
    ask = lambda: (__import__("rows_that_change").count, os.getpid(), dict(os.environ).get("DAGY_NURSERY"))  # noqa: E731
    first, again = call(pool, ask), call(pool, ask)
    module.write_text("count = 22\n")
    assert first == again
    assert (first[0], call(pool, ask)[0]) == (1, 22)
    assert first[2] is None


def test_the_levels_of_loggers_hold_in_the_worker(pool, caplog):
    caplog.set_level(logging.DEBUG, "rows")
    call(pool, lambda: logging.getLogger("rows").debug("fine"), sink=(written := Written()))
    assert "DEBUG rows: fine\n" in written.texts["log"]


def test_code_may_use_multiprocessing_and_its_children_end_with_it(pool):
    def double(number: int) -> int:
        return 2 * number

    def fan_out():
        with multiprocessing.get_context("fork").Pool(2) as workers:
            return workers.map(abs, [-1, -2, -3])

    assert call(pool, fan_out) == [1, 2, 3]


def test_calls_go_on_while_threads_of_this_process_hold_locks(pool):
    handler = logging.StreamHandler()
    handler.acquire()
    try:
        assert [call(pool, lambda: logging.getLogger("a").warning("b")) for _ in range(3)] == [None] * 3
    finally:
        handler.release()


def test_many_calls_at_once_each_get_their_own_answer(pool):
    with ThreadPoolExecutor(64) as threads:
        found = list(threads.map(lambda number: call(pool, lambda each: each * each, number), range(64)))
    assert found == [number * number for number in range(64)]


# ---- output


def test_all_that_is_printed_is_caught_whoever_prints_it(pool):
    def print_all():
        print("python")
        os.write(1, b"descriptor\n")
        libc = ctypes.CDLL(None)
        libc.printf(b"c\n")
        libc.fflush(None)
        subprocess.run(["echo", "program"], check=True)
        print("error", file=sys.stderr)
        warnings.warn("careful", stacklevel=1)

    call(pool, print_all, sink=(written := Written()))
    assert written.texts["stdout"] == "python\ndescriptor\nc\nprogram\n"
    assert written.texts["stderr"].startswith("error\n")
    assert "UserWarning: careful" in written.texts["stderr"]


def test_without_a_sink_output_goes_to_this_processs_streams(pool, capsys):
    ProcessCall(pool, pack_function(lambda: print("hello")), (), {}).run()
    assert capsys.readouterr().out == "hello\n"


def test_what_was_printed_before_a_kill_is_kept_even_unfinished(pool):
    with pytest.raises(WorkerDiedError):
        call(pool, lambda: [print("half", end=""), os.kill(os.getpid(), 9)], sink=(written := Written()))
    assert written.texts == {"stdout": "half"}


def test_a_character_cut_in_two_is_put_together_and_what_is_no_text_is_shown_as_bytes(pool):
    def write_pieces():
        for piece in (b"\xe2\x82", b"\xac \xff", b"\xe2"):
            os.write(1, piece)
            time.sleep(0.01)

    call(pool, write_pieces, sink=(written := Written()))
    assert written.texts["stdout"] == "€ \\xff\\xe2"


def test_a_flood_of_output_is_passed_on_in_pieces(pool):
    longest: list[int] = []
    sink = Written(on_write=lambda text: longest.append(len(text)))
    call(pool, lambda: print("x" * 5_000_000, flush=True), sink=sink)
    assert len(sink.texts["stdout"]) == 5_000_001
    assert max(longest) <= 64 * 1024


def test_a_rich_display_and_a_long_log_record_arrive(pool):
    def show():
        sink = current_sink()
        assert sink is not None
        sink.show({"text/plain": "x" * 200_000}, {})
        logging.getLogger("etl").error("y" * 200_000)

    call(pool, show, sink=(written := Written()))
    assert [len(str(each["text/plain"])) for each in written.shown] == [200_000]
    assert written.texts["log"].endswith("y" * 200_000 + "\n")


# ---- when this process, or the nursery, or a worker is killed

SCRIPT = """
import os, subprocess, sys, time
from dagy.engine.processes import ProcessCall, pack_function, shared_pool

def work():
    child = subprocess.Popen(["sleep", "1000"])
    print(os.getpid(), child.pid, flush=True)
    time.sleep(1000)

class Out:
    def write(self, stream, text):
        sys.stdout.write(text)
        sys.stdout.flush()

print(os.getpid(), flush=True)
ProcessCall(shared_pool(), pack_function(work), (), {}, sink=Out()).run()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_when_this_process_is_killed_nothing_is_left(end):
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        pids = numbers_in(script.stdout.readline()) + numbers_in(script.stdout.readline())
        nursery = next(iter(psutil.Process(script.pid).children())).pid
        script.send_signal(end)
    assert len(pids) == 3
    assert until(lambda: all(map(gone, [*pids, nursery])))


def start_a_program_and_wait() -> None:
    program = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    sys.stdout.write(f"{os.getpid()} {program.pid}\n")
    time.sleep(1000)


def test_when_the_nursery_is_killed_the_call_is_told_and_the_next_one_has_a_new_one():
    pool = ProcessPool()
    sink = Written(on_write=lambda text: os.kill(pool.nursery_pid, signal.SIGKILL))
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        call(pool, start_a_program_and_wait, sink=sink)
    pids = numbers_in(sink.texts["stdout"])
    assert len(pids) == 2
    assert until(lambda: all(map(gone, pids)))
    assert call(pool, lambda: "new") == "new"
    pool.close()


def test_a_pool_that_is_closed_leaves_no_process():
    pool = ProcessPool()
    worker = call(pool, os.getpid)
    nursery = pool.nursery_pid
    pool.close()
    assert gone(worker)
    assert gone(nursery)


def test_a_worker_starts_without_what_only_some_code_needs():
    script = (
        "import sys; before = set(sys.modules)\n"
        "import dagy.engine.processes.nursery\n"
        "heavy = ('asyncio', 'boto3', 'pandas', 'numpy', 'IPython', 'pydantic', 'sqlite3', 'multiprocessing')\n"
        "print([each for each in heavy if each in sys.modules and each not in before])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_call_may_make_calls_in_processes_of_its_own(pool):
    def ask_deeper():
        from dagy.engine.processes import shared_pool

        return ProcessCall(shared_pool(), pack_function(os.getpid), (), {}).run(), os.getpid()

    inner, outer = call(pool, ask_deeper)
    assert len({inner, outer, os.getpid()}) == 3
    assert until(lambda: gone(inner) and gone(outer))


def test_a_forked_process_has_a_pool_of_its_own():
    script = (
        "import os\n"
        "from dagy.engine.processes import ProcessCall, pack_function, shared_pool\n"
        "ask = lambda: ProcessCall(shared_pool(), pack_function(os.getpid), (), {}).run()\n"
        "worker = ask()\n"
        "if os.fork() == 0:\n"
        "    print(ask() != worker)\n"
        "else:\n"
        "    os.wait()\n"
        "    print(ask() == worker)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")


def test_a_program_ends_quietly_with_its_workers():
    script = (
        "from dagy.engine.processes import ProcessCall, pack_function, shared_pool\n"
        "class Point:\n"
        "    pass\n"
        "def make():\n"
        "    return Point()\n"
        "print(type(ProcessCall(shared_pool(), pack_function(make), (), {}).run()) is Point)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


# ---- what is large


def test_a_large_array_comes_back_packed_and_is_passed_on_without_being_unpacked(pool):
    numpy = pytest.importorskip("numpy")
    packed = call(pool, lambda: numpy.arange(1_000_000))
    again = call(pool, lambda rows: rows + 1, packed)
    assert again.value()[:3].tolist() == [1, 2, 3]
    assert again.value() is again.value()
    assert packed.value().flags.writeable


def test_an_array_kept_by_a_worker_stays_as_it_is_when_memory_is_used_again(pool):
    numpy = pytest.importorskip("numpy")

    def keep(rows):
        sys.modules["kept"] = rows
        return int(rows.sum())

    packed = call(pool, lambda: numpy.ones(1_000_000))
    assert call(pool, keep, packed) == 1_000_000
    del packed
    for _ in range(3):
        call(pool, lambda: numpy.zeros(1_000_000))
    assert call(pool, lambda: int(sys.modules["kept"].sum())) == 1_000_000


def test_hundreds_of_large_values_travel_at_once(pool):
    parts = [call(pool, lambda: b"x" * 50_000) for _ in range(250)]
    assert call(pool, lambda parts: sum(map(len, parts)), parts) == 250 * 50_000


def test_an_exception_whose_text_never_ends_is_stood_in_for(pool):
    class EndlessError(ValueError):
        def __str__(self):
            while True:
                pass

    def fail():
        raise EndlessError

    with pytest.raises(ValueError, match="it takes too long") as caught:
        call(pool, fail)
    assert type(caught.value).__name__.endswith("EndlessError")


def test_an_exception_that_cannot_travel_is_stood_in_for(pool):
    def fail():
        error = ValueError("rows")
        error.lock = threading.Lock()
        raise error

    with pytest.raises(ValueError, match="rows") as caught:
        call(pool, fail)
    assert isinstance(caught.value, StandIn)
