"""What a task prints, logs or shows goes to that task, and everything else where it always went."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import io
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine import TaskShowed, TaskWrote, current_sink, run, start
from dagy.engine.options import RunOptions
from dagy.engine.output import CAPTURE, Sink, deliver, set_sink

Captured = pytest.CaptureFixture[str]


@task
def speaks(name: str) -> str:
    print("hello from", name)
    return name


@flow
def one_speaker():
    return speaks("a")


def outputs(a_flow, **options) -> dict[str, str]:
    program, values = a_flow.prepare()
    result = run(program, values, RunOptions("run-1", capture=True, **options))
    return {name: each.output for name, each in result.task_runs.items()}


def test_what_a_task_prints_is_its_output(capsys: Captured):
    assert outputs(one_speaker) == {"speaks": "hello from a\n"}
    assert capsys.readouterr() == ("", "")


def test_a_run_that_does_not_capture_prints_where_it_always_did(capsys: Captured):
    assert one_speaker.run_local()["speaks"] == "a"
    assert capsys.readouterr().out == "hello from a\n"


@pytest.mark.parametrize("max_workers", [1, 2])
def test_tasks_that_print_at_the_same_time_are_told_apart(max_workers: int, capsys: Captured):
    meet = threading.Barrier(max_workers)

    @task
    def counts(name: str) -> None:
        for number in range(20):
            meet.wait()
            print(name, number)

    @flow
    def two():
        counts("a")
        counts("b")

    found = outputs(two, max_workers=max_workers)
    assert found["counts"] == "".join(f"a {number}\n" for number in range(20))
    assert found["counts-2"] == "".join(f"b {number}\n" for number in range(20))
    assert capsys.readouterr() == ("", "")


def test_async_tasks_that_print_at_the_same_time_are_told_apart():
    @task
    async def counts(name: str) -> None:
        for number in range(5):
            print(name, number)
            await asyncio.sleep(0)

    @flow
    def two():
        counts("a")
        counts("b")

    found = outputs(two)
    assert found["counts"] == "".join(f"a {number}\n" for number in range(5))
    assert found["counts-2"] == "".join(f"b {number}\n" for number in range(5))


def test_all_streams_of_a_task_are_captured_in_order(capfd: pytest.CaptureFixture[str]):
    @task
    def speaks() -> None:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        logging.getLogger("shop").warning("to the log")
        sys.stdout.writelines(["one ", "two\n"])
        sys.stdout.buffer.write(b"bytes \xff\n")
        sys.stdout.flush()

    @flow
    def speaker():
        speaks()

    program, values = speaker.prepare()
    handle = start(program, values, RunOptions("run-1", capture=True))
    handle.wait()
    wrote = [(each.stream, each.text) for each in handle.events() if isinstance(each, TaskWrote)]
    assert [stream for stream, _ in wrote] == ["stdout", "stderr", "log", "stdout"]
    assert wrote[0][1] == "to stdout\n"
    assert wrote[1][1] == "to stderr\n"
    assert wrote[2][1].endswith("WARNING shop: to the log\n")
    assert wrote[3][1] == "one two\nbytes \\xff\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("always")
def test_a_warning_in_a_task_is_its_output(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    def as_python_shows_it(*warning: Any, **_: object) -> None:
        sys.stderr.write(warnings.formatwarning(*warning[:4]))

    monkeypatch.setattr(warnings, "showwarning", as_python_shows_it)  # pytest has put a recorder there

    @task
    def warns() -> None:
        warnings.warn("careful", UserWarning, stacklevel=1)

    @flow
    def warner():
        warns()

    assert "UserWarning: careful" in outputs(warner)["warns"]
    assert capsys.readouterr() == ("", "")


def test_each_attempt_of_a_task_is_captured():
    tries = []

    @task(retries=1)
    def flaky() -> None:
        tries.append(1)
        print("try", len(tries))
        if len(tries) == 1:
            raise ValueError("once")

    @flow
    def once():
        flaky()

    assert outputs(once) == {"flaky": "try 1\ntry 2\n"}


def test_what_a_hook_prints_goes_to_its_task():
    @task(on_running=[lambda *_: print("begins")], on_completion=[lambda *_: print("done")])
    def quiet() -> None: ...

    @flow
    def hooked():
        quiet()

    assert outputs(hooked) == {"quiet": "begins\ndone\n"}


def test_what_others_print_while_a_run_captures_passes_through(capsys: Captured):
    gate = threading.Event()

    @task
    def waits() -> None:
        gate.wait(10)

    @flow
    def waiter():
        waits()

    program, values = waiter.prepare()
    handle = start(program, values, RunOptions("run-1", capture=True))
    print("from the cell")
    logging.getLogger("bystander").warning("from a library")
    gate.set()
    assert handle.wait().task_runs["waits"].output == ""
    assert capsys.readouterr().out == "from the cell\n"


def test_a_warning_that_nobody_handles_is_shown_while_a_run_captures(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a program that has not configured logging
    CAPTURE.acquire()
    try:
        logging.getLogger("bystander").warning("from a library")
        logging.getLogger("bystander").info("not worth it")
    finally:
        CAPTURE.release()
    assert capsys.readouterr().err == "from a library\n"


def test_a_record_made_in_a_task_is_not_printed_a_second_time(capsys: Captured):
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger("shop").addHandler(handler)

    @task
    def logs() -> None:
        logging.getLogger("shop").warning("once")

    @flow
    def logger():
        logs()

    try:
        assert outputs(logger)["logs"].count("once") == 1
    finally:
        logging.getLogger("shop").removeHandler(handler)
    assert capsys.readouterr() == ("", "")


def test_a_program_without_streams_has_its_tasks_output_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert outputs(one_speaker) == {"speaks": "hello from a\n"}
    assert sys.stdout is None
    deliver(None, "stdout", "to nobody")


def test_the_streams_are_put_back_when_the_run_has_ended():
    before = (sys.stdout, sys.stderr, list(logging.getLogger().handlers))
    outputs(one_speaker)
    assert (sys.stdout, sys.stderr, list(logging.getLogger().handlers)) == before


def test_the_streams_are_put_back_when_the_last_of_several_runs_has_ended():
    before = sys.stdout
    CAPTURE.acquire()
    outputs(one_speaker)
    assert sys.stdout is not before
    CAPTURE.release()
    assert sys.stdout is before


def test_a_stream_that_somebody_wrapped_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    before = sys.stdout
    CAPTURE.acquire()
    theirs = object()
    try:
        sys.stdout = theirs  # type: ignore[assignment]
        CAPTURE.release()
        assert sys.stdout is theirs
    finally:
        sys.stdout = before


def test_outside_tasks_the_wrapped_stream_answers_like_the_one_below():
    base = sys.stdout
    CAPTURE.acquire()
    try:
        assert sys.stdout.encoding == base.encoding
        assert sys.stdout.errors == base.errors
        assert sys.stdout.isatty() == base.isatty()
        assert sys.stdout.buffer is base.buffer
        assert sys.stdout.writable()
    finally:
        CAPTURE.release()


def test_a_run_inside_a_task_writes_to_that_task(capsys: Captured):
    @task
    def outer() -> None:
        one_speaker.run_local()

    @flow
    def nested():
        outer()

    assert outputs(nested) == {"outer": "hello from a\n"}
    assert capsys.readouterr() == ("", "")


def test_what_a_task_shows_is_an_event_of_its_own():
    @task
    def shows() -> None:
        sink = current_sink()
        assert sink is not None
        sink.show({"text/plain": "a plot"}, {"width": 3})

    @flow
    def shower():
        shows()

    program, values = shower.prepare()
    handle = start(program, values, RunOptions("run-1", capture=True))
    handle.wait()
    shown = [each for each in handle.events() if isinstance(each, TaskShowed)]
    assert [(each.task, each.data, each.metadata) for each in shown] == [
        ("shows", {"text/plain": "a plot"}, {"width": 3})
    ]


def test_there_is_no_sink_outside_tasks():
    assert current_sink() is None


# ---- by itself: a sink in this context, and no run


class Page:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.wrote: list[tuple[str, str]] = []
        self.wants_a_copy = False

    def write(self, stream: str, text: str) -> bool:
        self.wrote.append((stream, text))
        return not self.wants_a_copy

    def show(self, data: Mapping[str, object], metadata: Mapping[str, object]) -> None: ...

    def text(self, stream: str) -> str:
        return "".join(text for name, text in self.wrote if name == stream)


@pytest.fixture
def page() -> Page:
    return Page()


@contextlib.contextmanager
def captured() -> Iterator[None]:
    """A run captures. (No fixture: between a test's set-up and its call pytest puts new streams in place.)"""
    CAPTURE.acquire()
    try:
        yield
    finally:
        CAPTURE.release()


def on(sink: Sink, function: Callable[[], Any]) -> Any:
    """Call it as a task that writes to `sink`, of a run that captures."""

    def call() -> Any:
        set_sink(sink)
        return function()

    with captured():
        return contextvars.copy_context().run(call)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


BOTH = "import sys; print('out', flush=True); print('err', file=sys.stderr)"


@pytest.mark.parametrize(
    "start_child",
    [
        pytest.param(lambda: subprocess.run(python(BOTH), check=True), id="run"),
        pytest.param(lambda: subprocess.call(python(BOTH)), id="call"),
        pytest.param(lambda: subprocess.Popen(python(BOTH)).wait(), id="Popen-and-wait"),
        pytest.param(lambda: subprocess.Popen(python(BOTH)).communicate(), id="Popen-and-communicate"),
        pytest.param(lambda: subprocess.run(python(BOTH), stdout=sys.stdout, check=True), id="own-stdout-given"),
        pytest.param(lambda: os.system("echo out; echo err >&2"), id="os.system"),
        pytest.param(lambda: asyncio.run(wait_for_child()), id="asyncio"),
        pytest.param(lambda: asyncio.run(communicate_with_child()), id="asyncio-and-communicate"),
    ],
)
def test_what_a_child_process_prints_is_there_when_it_has_been_waited_for(
    start_child: Callable[[], object], capfd: Captured, page: Page
):
    on(page, start_child)
    assert (page.text("stdout"), page.text("stderr")) == ("out\n", "err\n")
    assert capfd.readouterr() == ("", "")


async def wait_for_child() -> None:
    process = await asyncio.create_subprocess_exec(*python(BOTH))
    assert await process.wait() == 0


async def communicate_with_child() -> None:
    process = await asyncio.create_subprocess_exec(*python(BOTH))
    assert await process.communicate() == (None, None)


def test_a_child_process_whose_end_is_polled_for_has_given_all(page: Page):
    def polls() -> None:
        child = subprocess.Popen(python(BOTH))
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert child.poll() == 0

    on(page, polls)
    assert page.text("stdout") == "out\n"


def test_errors_that_a_child_process_prints_to_its_stdout_stay_in_order(page: Page):
    program = "import sys\nfor n in range(3): print(n, flush=True); print(-n, file=sys.stderr, flush=True)"
    on(page, lambda: subprocess.run(python(program), stderr=subprocess.STDOUT, check=True))
    assert page.text("stdout") == "0\n0\n1\n-1\n2\n-2\n"


def test_what_somebody_asked_a_child_process_for_is_his(page: Page, tmp_path: Path):
    def calls() -> tuple[str, str]:
        with (tmp_path / "out").open("w") as file:
            subprocess.run(python(BOTH), stdout=file, stderr=subprocess.DEVNULL, check=True)
        piped = subprocess.run(python(BOTH), stdout=subprocess.PIPE, text=True, check=True).stdout
        return (tmp_path / "out").read_text(), piped

    assert on(page, calls) == ("out\n", "out\n")
    assert (page.text("stdout"), page.text("stderr")) == ("", "err\n")


def test_a_child_process_reads_its_own_stdin(page: Page):
    program = "print(input()[::-1])"
    on(page, lambda: subprocess.run(python(program), input="abc", text=True, check=True))
    assert page.text("stdout") == "cba\n"


def test_waiting_for_a_child_process_does_not_wait_for_its_own(page: Page):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as lasting:  # holds the pipe open
        on(page, lambda: subprocess.run(f"tail -f /dev/null --pid={lasting.pid} & echo parent", shell=True, check=True))
        assert page.text("stdout") == "parent\n"


def test_a_character_that_a_child_process_writes_in_pieces_is_one(page: Page):
    program = "import os\nfor each in '\U0001f600\u00e9'.encode(): os.write(1, bytes([each]))\nos.write(1, b'\\xff')"
    on(page, lambda: subprocess.run(python(program), check=True))
    assert page.text("stdout") == "\U0001f600\u00e9\\xff"


def test_a_child_process_that_can_not_be_started_leaves_nothing_open(page: Page):
    before = open_pipes()
    with pytest.raises(FileNotFoundError):
        on(page, lambda: subprocess.run(["/no/such/program"], check=True))
    assert open_pipes() <= before, "others may have closed theirs"


def open_pipes() -> set[str]:
    """The pipes that this process holds open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found.add(str(each.readlink()))
    return {each for each in found if each.startswith("pipe:")}


def test_the_status_of_os_system_is_what_it_always_is(page: Page):
    for command in ("exit 3", "kill -9 $$"):
        assert on(page, lambda command=command: os.system(command)) == os.system(command)  # type: ignore[misc]


def test_child_processes_of_others_print_where_they_always_did(capfd: Captured, page: Page):
    with captured():
        subprocess.run(python(BOTH), check=True)
    assert capfd.readouterr() == ("out\n", "err\n")
    assert page.wrote == []


def test_a_thread_belongs_to_the_task_that_starts_it(capsys: Captured, page: Page):
    class Speaker(threading.Thread):
        def run(self) -> None:
            print("a subclass")
            inner = threading.Thread(target=print, args=("a thread of a thread",))
            inner.start()
            inner.join()

    def starts() -> None:
        for thread in (threading.Thread(target=print, args=("a function",)), Speaker()):
            thread.start()
            thread.join()

    with captured():
        on(page, starts)
        other = threading.Thread(target=print, args=("somebody else",))
        other.start()
        other.join()
    assert page.text("stdout") == "a function\na subclass\na thread of a thread\n"
    assert capsys.readouterr().out == "somebody else\n"


def test_work_in_a_pool_belongs_to_the_task_that_submits_it(capsys: Captured, page: Page):
    with captured():
        other = Page()
        with ThreadPoolExecutor(max_workers=1) as pool:
            on(page, lambda: pool.submit(print, "one").result(10))
            on(other, lambda: pool.submit(print, "two").result(10))
            pool.submit(print, "nobody's").result(10)
            on(page, lambda: list(pool.map(print, ["three"])))
    assert (page.text("stdout"), other.text("stdout")) == ("one\nthree\n", "two\n")
    assert capsys.readouterr().out == "nobody's\n"


def test_threads_that_asyncio_uses_for_a_task_are_its_own(page: Page):
    async def uses() -> None:
        await asyncio.to_thread(print, "to_thread")
        await asyncio.get_running_loop().run_in_executor(None, print, "run_in_executor")

    on(page, lambda: asyncio.run(uses()))
    assert page.text("stdout") == "to_thread\nrun_in_executor\n"


def test_a_record_made_in_a_thread_of_a_task_is_the_tasks(page: Page):
    def starts() -> None:
        thread = threading.Thread(target=logging.getLogger("shop").warning, args=("in a thread",))
        thread.start()
        thread.join()

    on(page, starts)
    assert page.text("log").endswith("WARNING shop: in a thread\n")


def test_a_task_may_set_up_logging(page: Page, monkeypatch: pytest.MonkeyPatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)

    def sets_up() -> None:
        logging.basicConfig(level=logging.INFO)
        logging.info("heard")
        logging.debug("not heard")

    on(page, sets_up)
    assert [stream for stream, _ in page.wrote] == ["log"]
    assert page.text("log").endswith("INFO root: heard\n")


def test_a_handler_that_is_added_in_a_task_prints_for_others(capsys: Captured, page: Page):
    with captured():
        logger = logging.getLogger("shop")
        handler = on(page, lambda: logging.StreamHandler(sys.stdout))
        logger.addHandler(handler)
        try:
            on(page, lambda: logger.warning("of the task"))
            logger.warning("of the cell")
        finally:
            logger.removeHandler(handler)
    assert capsys.readouterr().out == "of the cell\n"
    assert [stream for stream, _ in page.wrote] == ["log"]


def test_a_record_reaches_the_users_own_files_as_it_is(page: Page, monkeypatch: pytest.MonkeyPatch):
    file = io.StringIO()
    handler = logging.StreamHandler(file)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    records: list[logging.LogRecord] = []
    handler.addFilter(lambda record: bool(records.append(record)) or True)
    on(page, lambda: logging.getLogger("shop").warning("kept"))
    assert file.getvalue() == "kept\n"
    assert vars(records[0]).keys() - {"message", "asctime"} == vars(logging.makeLogRecord({})).keys()
    assert page.text("log").count("kept") == 1


def test_a_logger_that_keeps_its_records_to_itself_gives_the_task_what_it_prints(capsys: Captured, page: Page):
    logger = logging.getLogger("shop.till")
    logger.propagate = False
    try:
        on(page, lambda: logger.warning("to nobody"))
        handler = logging.StreamHandler(sys.stderr)
        logger.addHandler(handler)
        on(page, lambda: logger.warning("to the screen"))
        logger.removeHandler(handler)
    finally:
        logger.propagate = True
    assert page.text("log").endswith("WARNING shop.till: to the screen\n")
    assert "to nobody" not in page.text("log").splitlines()[-1]
    assert capsys.readouterr() == ("", "")


def test_a_record_whose_arguments_do_not_fit_is_reported_as_always(
    capsys: Captured, page: Page, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's would raise
    on(page, lambda: logging.getLogger("shop").warning("%d", "no number"))
    assert "Arguments: ('no number',)" in page.text("stderr")
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_has_gone_fails_no_task(page: Page, monkeypatch: pytest.MonkeyPatch):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    page.wants_a_copy = True
    monkeypatch.setattr(sys, "stdout", Gone())
    with captured():
        context = contextvars.copy_context()
        context.run(set_sink, page)
        context.run(functools.partial(print, "hello", flush=True))
        with pytest.raises(BrokenPipeError):
            print("outside of tasks", flush=True)
    assert page.text("stdout") == "hello\n"


def test_what_a_sink_has_a_copy_of_is_printed_and_written_to_it_once(capfd: Captured, page: Page):
    page.wants_a_copy = True

    def speaks() -> None:
        print("printed")
        subprocess.run(python("print('by a child')"), check=True)
        logging.getLogger("shop").warning("logged")

    logger = logging.getLogger("shop")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    try:
        on(page, speaks)
    finally:
        logger.removeHandler(handler)
    assert page.text("stdout") == "printed\nby a child\n"
    assert page.text("log").endswith("WARNING shop: logged\n")
    assert page.text("stderr") == ""
    assert capfd.readouterr() == ("printed\nby a child\n", "logged\n")


def test_a_stream_of_which_a_sink_has_a_copy_is_a_terminal_if_it_was_one(page: Page, monkeypatch: pytest.MonkeyPatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert not on(page, lambda: sys.stdout.isatty())
    page.wants_a_copy = True
    assert on(page, lambda: sys.stdout.isatty())


def test_text_is_delivered_to_a_sink_or_printed(capsys: Captured, page: Page):
    deliver(page, "stderr", "taken\n")
    deliver(None, "stderr", "printed\n")
    page.wants_a_copy = True
    with captured():
        deliver(page, "stdout", "both\n")
    assert page.wrote == [("stderr", "taken\n"), ("stdout", "both\n")]
    assert capsys.readouterr() == ("both\n", "printed\n")


def test_a_task_that_closes_its_stdout_closes_nobody_elses(capsys: Captured, page: Page):
    with captured():
        on(page, lambda: sys.stdout.close())
        print("still open")
    assert not sys.stdout.closed
    assert capsys.readouterr().out == "still open\n"


def test_bytes_that_are_written_in_pieces_are_one_character(page: Page):
    def writes() -> None:
        for each in "\u00e9".encode():
            sys.stdout.buffer.write(bytes([each]))

    on(page, writes)
    assert page.text("stdout") == "\u00e9"


WRAPPED: list[tuple[Any, str]] = [
    (sys, "stdout"),
    (sys, "stderr"),
    (logging.Logger, "callHandlers"),
    (logging.StreamHandler, "emit"),
    (threading.Thread, "start"),
    (ThreadPoolExecutor, "submit"),
    (subprocess.Popen, "__init__"),
    (subprocess.Popen, "wait"),
    (subprocess.Popen, "poll"),
    (os, "system"),
    (asyncio.subprocess.Process, "wait"),
]


def test_everything_is_put_back_in_the_end():
    before = [getattr(owner, name) for owner, name in WRAPPED]
    CAPTURE.acquire()
    on(Page(), lambda: asyncio.run(wait_for_child()))
    during = [getattr(owner, name) for owner, name in WRAPPED]
    CAPTURE.release()
    assert all(now is not then for now, then in zip(during, before, strict=True))
    assert [getattr(owner, name) for owner, name in WRAPPED] == before


def test_what_somebody_wrapped_meanwhile_stays(monkeypatch: pytest.MonkeyPatch):
    for owner, name in WRAPPED[2:-1]:
        monkeypatch.setattr(owner, name, getattr(owner, name))  # puts back what was there, in the end
    CAPTURE.acquire()
    theirs = {}
    for owner, name in WRAPPED[2:-1]:
        theirs[owner, name] = functools.partial(getattr(owner, name))
        setattr(owner, name, theirs[owner, name])
    CAPTURE.release()
    assert all(getattr(owner, name) is theirs[owner, name] for owner, name in WRAPPED[2:-1])


def test_a_stream_proxy_that_was_left_behind_is_not_wrapped_again(monkeypatch: pytest.MonkeyPatch):
    before = sys.stdout
    monkeypatch.setattr(sys, "stdout", before)  # puts it back, in the end
    CAPTURE.acquire()
    with contextlib.redirect_stdout(io.StringIO()):
        CAPTURE.release()
    assert sys.stdout is not before  # the proxy, which `redirect_stdout` has put back
    CAPTURE.acquire()
    CAPTURE.release()
    assert sys.stdout is before
