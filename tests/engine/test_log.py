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


def test_the_output_of_a_task_is_its_lines_in_order(log: EventLog):
    for stream in ("stdout", "stderr", "log", "stdout"):
        log.write(1, "a", 1, stream, f"to {stream}\n")
        log.write(1, "b", 1, stream, "-\n")
    assert log.outputs() == {"a": "to stdout\nto stderr\nto log\nto stdout\n", "b": "-\n" * 4}


def test_a_stream_does_not_tear_the_line_of_another(log: EventLog):
    for stream, text in (("stdout", "loading"), ("log", "a record\n"), ("stdout", " done\n")):
        log.write(1, "a", 1, stream, text)
    assert log.outputs() == {"a": "loading done\na record\n"}


def test_an_attempt_does_not_draw_over_what_the_one_before_has_drawn(log: EventLog):
    log.write(1, "a", 1, "stderr", "\r 50%")
    log.write(2, "a", 2, "stderr", "\r100%")
    assert log.outputs() == {"a": " 50%\n100%"}


def test_writing_nothing_makes_no_event(log: EventLog):
    assert log.write(1, "a", 1, "stdout", "") is True
    assert (len(log), log.outputs()) == (0, {})
    log.close()
    assert log.write(1, "a", 1, "stdout", "") is False


def test_a_task_that_others_write_between_makes_one_event(log: EventLog):
    for _ in range(3):
        log.write(1, "a", 1, "stdout", "x")
        log.write(1, "b", 1, "stdout", "y")
    assert texts(log) == ["xxx", "yyy"]


def test_what_a_task_writes_comes_after_what_it_displayed_before(log: EventLog):
    log.write(1, "a", 1, "stdout", "x")
    log.show(2, "a", 1, {"text/plain": "a plot"}, {})
    log.write(3, "a", 1, "stdout", "y")
    assert [each.kind for each in log.since(0)] == ["output", "display", "output"]


def test_of_a_bar_that_nobody_reads_one_line_is_kept(log: EventLog):
    log.write(1, "a", 1, "stderr", "begin\n")
    for number in range(10_000):
        log.write(1, "a", 1, "stderr", f"\r{number + 1:5} of 10000 {'#' * 60}")
    assert texts(log) == [f"begin\n10000 of 10000 {'#' * 60}"]
    assert log.outputs() == {"a": f"begin\n10000 of 10000 {'#' * 60}"}


def test_of_a_bar_that_is_read_all_the_time_the_first_and_the_last_drawings_are_kept(log: EventLog):
    seen: list[str] = []
    log.write(1, "a", 1, "stdout", "begin\n")
    for number in range(100):
        log.write(1, "a", 1, "stderr", f"\r{number:3}")
        seen += [each.text for each in log.since(len(seen)) if isinstance(each, TaskWrote)]
    assert seen == ["begin\n", *(f"\r{number:3}" for number in range(100))]
    assert [each for each in texts(log) if each] == ["begin\n", "\r  0", "\r 99"]
    assert log.outputs() == {"a": "begin\n 99"}


def test_a_bar_does_not_push_out_what_was_printed_before(log: EventLog):
    log.write(1, "a", 1, "stdout", "begin\n")
    for number in range(OUTPUT_LIMIT // 200):
        log.write(1, "a", 1, "stderr", f"\r{number:100}")
        log.since(len(log))
    assert log.outputs()["a"].startswith("begin\n")


def test_a_line_after_a_bar_keeps_the_bar(log: EventLog):
    for text in ("\r 1", "\r 2", "\ndone\n", "\r 3", "\r 4"):
        log.write(1, "a", 1, "stderr", text)
        log.since(len(log))
    assert log.outputs() == {"a": " 2\ndone\n 4"}


def test_writes_that_are_too_small_to_keep_apart_count_for_more_than_their_characters(log: EventLog):
    for _ in range(OUTPUT_LIMIT // 100):
        log.write(1, "a", 1, "stdout", "x\n")
        log.write(1, "a", 1, "stderr", "y\n")
    kept = sum(1 for each in log.since(0) if isinstance(each, TaskWrote) and each.text)
    assert kept < OUTPUT_LIMIT / 100
    assert log.outputs()["a"].startswith("[")


def test_an_event_that_was_read_does_not_change(log: EventLog):
    log.write(1, "a", 1, "stdout", "x")
    before = log.since(0)[0]
    log.write(1, "a", 1, "stdout", "y")
    assert before == TaskWrote(0, 1, "a", 1, "stdout", "x")
    assert log.since(0)[0] == before


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
    assert [each.seq for each in log.since(3)] == list(range(3, len(log)))
    assert texts(log)[0] == ""


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
    assert log.write(1, "a", 1, "stdout", "still here") is False
    log.show(1, "a", 1, {}, {})
    assert not any(isinstance(each, TaskWrote | TaskShowed) for each in log.since(0))
    assert log.outputs() == {}
