"""The stream of events: numbered without gaps, the same for every reader, bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from dagy.engine.events import RunChanged, TaskShowed, TaskWrote
from dagy.engine.log import OUTPUT_LIMIT, EventLog
from dagy.states import completed, running


@pytest.fixture
def log() -> EventLog:
    return EventLog(threading.RLock())


def texts(log: EventLog) -> list[str]:
    return [each.text for each in log.since(0) if isinstance(each, TaskWrote)]


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_events_are_numbered_from_0_without_gaps(log: EventLog):
    log.append(RunChanged(len(log), 0, running()))
    log.write(1, "a", 1, "stdout", "x")
    log.show(2, "a", 1, {}, {})
    log.write(3, "b", 1, "stdout", "y")
    assert [each.seq for each in log.since(0)] == [0, 1, 2, 3]


def test_a_reader_gets_what_came_since_the_last_time(log: EventLog):
    log.write(1, "a", 1, "stdout", "x")
    assert [each.seq for each in log.since(0)] == [0]
    log.write(2, "b", 1, "stdout", "y")
    assert [each.seq for each in log.since(1)] == [1]
    assert log.since(2) == []


def test_writes_of_one_task_to_one_stream_are_merged_until_somebody_read_them(log: EventLog):
    log.write(1, "a", 1, "stdout", "x")
    log.write(2, "a", 1, "stdout", "y")
    assert texts(log) == ["xy"]
    log.write(3, "a", 1, "stdout", "z")
    assert texts(log) == ["xy", "z"]


@pytest.mark.parametrize(
    "other", [("b", 1, "stdout"), ("a", 2, "stdout"), ("a", 1, "stderr")], ids=["task", "attempt", "stream"]
)
def test_what_differs_is_not_merged(log: EventLog, other: tuple[str, int, str]):
    log.write(1, "a", 1, "stdout", "x")
    log.write(2, *other, "y")
    assert texts(log) == ["x", "y"]


def test_the_output_of_a_task_is_its_text_in_order(log: EventLog):
    for stream, text in (("stdout", "1"), ("stderr", "2"), ("log", "3"), ("stdout", "4")):
        log.write(1, "a", 1, stream, text)
        log.write(1, "b", 1, stream, "-")
    assert log.outputs() == {"a": "1234", "b": "----"}


def test_the_oldest_output_of_a_task_is_let_go_and_counted(log: EventLog):
    line = "x" * 99 + "\n"
    for _ in range(2 * OUTPUT_LIMIT // len(line)):
        log.write(1, "a", 1, "stdout", line)
    log.write(1, "b", 1, "stdout", "kept\n")
    kept = log.outputs()["a"]
    head, _, text = kept.partition("\n")
    assert len(text) <= OUTPUT_LIMIT
    assert head == f"[{2 * OUTPUT_LIMIT - len(text)} characters dropped]"
    assert log.outputs()["b"] == "kept\n"


def test_of_one_write_past_the_limit_the_end_is_kept(log: EventLog):
    log.write(1, "a", 1, "stdout", "the start" + "x" * OUTPUT_LIMIT + "the end")
    head, _, text = log.outputs()["a"].partition("\n")
    assert head == f"[{OUTPUT_LIMIT + len('the startthe end') - len(text)} characters dropped]"
    assert text.startswith("xxx")
    assert text.endswith("xthe end")


def test_a_word_after_one_long_write_does_not_cost_all_of_it(log: EventLog):
    log.write(1, "a", 1, "stdout", "x" * OUTPUT_LIMIT)
    log.write(1, "a", 1, "stderr", "one word")
    assert log.outputs()["a"].count("x") > OUTPUT_LIMIT * 0.9


def test_numbers_stay_without_gaps_when_output_is_let_go(log: EventLog):
    for _ in range(4):
        log.write(1, "a", 1, "stdout", "x" * (OUTPUT_LIMIT // 2))
    assert [each.seq for each in log.since(0)] == list(range(len(log)))


def test_a_follower_waits_for_more_until_the_log_is_closed(log: EventLog):
    seen: list[int] = []
    got_first = threading.Event()

    def follow() -> None:
        for event in log.follow():
            seen.append(event.seq)
            got_first.set()

    thread = in_thread(follow)
    log.write(1, "a", 1, "stdout", "x")
    assert got_first.wait(10)
    log.write(2, "b", 1, "stdout", "y")
    log.close()
    thread.join(10)
    assert seen == [0, 1]


def test_followers_each_see_everything_at_their_own_pace(log: EventLog):
    quick: list[int] = []
    threads = [in_thread(lambda: quick.extend(each.seq for each in log.follow()))]
    slow = log.follow()
    for number in range(100):
        log.write(number, f"task {number}", 1, "stdout", "x")
    log.close()
    threads[0].join(10)
    assert quick == list(range(100))
    assert [each.seq for each in slow] == list(range(100))


def test_following_from_a_number_leaves_out_what_was_before(log: EventLog):
    for number in range(5):
        log.show(number, "a", 1, {}, {})
    log.close()
    assert [each.seq for each in log.follow(3)] == [3, 4]


def test_a_closed_log_takes_nothing_more_from_a_thread_that_was_given_up(log: EventLog):
    with threading.RLock():
        log.append(RunChanged(0, 0, completed()))
    log.close()
    log.write(1, "a", 1, "stdout", "still here")
    log.show(1, "a", 1, {}, {})
    assert not any(isinstance(each, TaskWrote | TaskShowed) for each in log.since(0))
    assert log.outputs() == {}
