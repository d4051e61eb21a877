"""One ordered stream for every reader: numbered without gaps under many writers, the same live and afterwards."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterable

import pytest

from dagy import flow, task
from dagy.engine import Event, TaskChanged, TaskWrote, start
from dagy.engine.folding import fold
from dagy.engine.log import OUTPUT_LIMIT, EventLog
from dagy.engine.options import RunOptions
from dagy.states import completed

WRITERS = 8
LINES = 500


@pytest.fixture
def log() -> EventLog:
    return EventLog(threading.RLock())


def in_threads(*functions: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=each, daemon=True) for each in functions]
    for each in threads:
        each.start()
    return threads


def joined(threads: Iterable[threading.Thread]) -> None:
    for each in threads:
        each.join(30)
        assert not each.is_alive()


def written(log: EventLog, name: str) -> Callable[[], None]:
    def write() -> None:
        for number in range(LINES):
            log.write(number, name, 1, "stdout", f"{name} {number}")
            log.write(number, name, 1, "stdout", "\n")
            log.write(number, name, 1, "stderr", f"\r{number:5}")

    return write


def text_of(events: Iterable[Event], name: str) -> str:
    wrote = [each for each in events if isinstance(each, TaskWrote) and each.task == name]
    return fold((each.stream, each.text) for each in wrote)


def expected(name: str) -> str:
    lines = [f"{name} {number}" for number in range(LINES)]
    return "\n".join([lines[0], f"{LINES - 1:5}", *lines[1:]]) + "\n"


def test_many_writers_make_one_stream_without_gaps(log: EventLog):
    names = [f"task {number}" for number in range(WRITERS)]
    joined(in_threads(*(written(log, name) for name in names)))
    log.close()
    assert [each.seq for each in log.since(0)] == list(range(len(log)))
    assert log.outputs() == {name: expected(name) for name in names}


def test_readers_see_the_same_live_slowly_and_afterwards(log: EventLog):
    names = [f"task {number}" for number in range(WRITERS)]
    live: list[Event] = []
    polled: list[Event] = []
    wrote = threading.Event()

    def poll() -> None:
        while not wrote.is_set():
            polled.extend(log.since(len(polled)))
        polled.extend(log.since(len(polled)))

    slow = log.follow()
    polling, following = in_threads(poll, lambda: live.extend(log.follow()))
    joined(in_threads(*(written(log, name) for name in names)))
    wrote.set()
    log.close()
    joined([polling, following])
    afterwards = log.since(0)
    for events in (live, polled, list(slow), afterwards):
        assert [each.seq for each in events] == list(range(len(log)))
        assert [text_of(events, name) for name in names] == [expected(name) for name in names]


def test_a_reader_that_raises_changes_nothing(log: EventLog):
    def broken() -> None:
        with pytest.raises(ZeroDivisionError):
            _ = [1 / each.seq for each in log.follow()]

    threads = in_threads(broken)
    log.write(1, "a", 1, "stdout", "x\n")
    joined(threads)
    log.write(2, "a", 1, "stdout", "y\n")
    log.close()
    assert [each.seq for each in log.follow()] == [0, 1]
    assert log.outputs() == {"a": "x\ny\n"}


def test_a_reader_that_stops_reading_holds_up_nobody(log: EventLog):
    reader = log.follow()
    log.write(1, "a", 1, "stdout", "x\n")
    assert next(reader).seq == 0
    writers = in_threads(*(written(log, f"task {number}") for number in range(2)))
    joined(writers)
    log.close()
    assert log.outputs()["task 0"] == expected("task 0")
    assert [each.seq for each in reader] == list(range(1, len(log)))


def test_a_reader_that_follows_closely_does_not_make_an_event_of_each_write(log: EventLog):
    threads = in_threads(lambda: list(log.follow()))
    for number in range(20_000):
        log.write(number, "a", 1, "stdout", "x\n")
    log.close()
    joined(threads)
    assert len(log) < 2_000


def test_a_run_is_read_live_and_afterwards_with_the_same_result():
    @task
    def prints(name: str) -> str:
        print(name)
        return name

    @flow
    def many():
        for number in range(20):
            prints(f"task {number}")

    program, values = many.prepare()
    handle = start(program, values, RunOptions("run-1", capture=True))
    live = list(handle.events())
    result = handle.wait()
    assert [each.seq for each in live] == list(range(len(live)))
    assert live == list(handle.events())
    for name, each in result.task_runs.items():
        assert text_of(live, name) == each.output
        states = [event.state.type for event in live if isinstance(event, TaskChanged) and event.task == name]
        assert states[-1] is each.state.type


def test_a_line_without_an_end_takes_no_more_memory_than_is_kept(log: EventLog):
    piece = "x" * 10_000
    tracemalloc.start()
    try:
        for number in range(5_000):  # 50 million characters
            log.write(number, "a", 1, "stdout", piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * OUTPUT_LIMIT
    assert log.outputs()["a"].endswith(piece)


def test_an_event_takes_little_memory(log: EventLog):
    state = completed()
    tracemalloc.start()
    try:
        for number in range(10_000):
            log.append(TaskChanged(len(log), number + 10**18, "task", 1, state))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 10_000 < 250
