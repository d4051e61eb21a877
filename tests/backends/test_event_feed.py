"""What functions tell of a run is told on once each, in order, whoever does the telling, and whatever comes late."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator
from typing import Any

import pytest

from dagy.backends.event_feed import MOST_AT_ONCE, EventFeed, numbered
from dagy.errors import NetworkError
from dagy.states import crashed

from .run_records import output_event, run_event, task_event


class Batches:
    """Batches of events in memory; all of them are near enough in time to be looked at again."""

    def __init__(self) -> None:
        self.kept: dict[str, list[dict[str, Any]]] = {}
        self.reads = 0
        self.lost: set[str] = set()  # keys of what can't be read, once

    def events(self, after: str | None, seen: Container[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Those that were not seen."""
        for key in sorted(self.kept):
            if key not in seen:
                if key in self.lost:
                    self.lost.remove(key)
                    raise NetworkError("no answer")
                self.reads += 1
                yield key, self.kept[key]


@pytest.fixture
def batches() -> Batches:
    return Batches()


def texts(events: list[dict[str, Any]]) -> list[str]:
    return [each["text"] for each in events if each["kind"] == "output"]


def wrote(*texts: str) -> list[dict[str, Any]]:
    return [output_event("load", text) for text in texts]


def test_each_batch_is_read_and_told_once(batches: Batches) -> None:
    feed = EventFeed(batches)
    batches.kept["1"] = wrote("a", "b")
    assert texts(feed.news()) == ["a", "b"]
    batches.kept["2"] = wrote("c")
    assert texts(feed.news()) == ["c"]
    assert feed.news() == []
    assert batches.reads == 2


def test_a_batch_that_turns_up_late_is_told_too(batches: Batches) -> None:
    feed = EventFeed(batches)
    batches.kept["2"] = wrote("second")
    assert texts(feed.news()) == ["second"]
    batches.kept["1"] = wrote("first, and late")
    assert texts(feed.news()) == ["first, and late"]


@pytest.mark.parametrize("arrived", range(8))
def test_another_worker_goes_on_behind_what_has_arrived(batches: Batches, arrived: int) -> None:
    batches.kept = {"1": wrote("a", "b"), "2": wrote("c", "d", "e"), "4": wrote("f", "g")}
    told = numbered(EventFeed(batches).news(), 0)[:arrived]
    batches.kept["3"] = wrote("late")
    second = EventFeed(batches)
    second.know(told)
    rest = second.news() + second.news()
    assert sorted(texts(told + rest)) == ["a", "b", "c", "d", "e", "f", "g", "late"]
    own = [text for text in texts(told + rest) if text != "late"]
    assert own == sorted(own), "the rest of a batch comes before what follows it"


def test_two_workers_that_die_one_after_the_other_lose_and_repeat_nothing(batches: Batches) -> None:
    batches.kept = {"2": wrote("a", "b", "c", "d")}
    told = numbered(EventFeed(batches).news(), 0)[:1]
    for arrived in (1, 2, 1):
        batches.kept[f"1{len(told)}"] = wrote(f"late{len(told)}")
        feed = EventFeed(batches)
        feed.know(told)
        told += numbered(feed.news(), len(told))[:arrived]
    feed = EventFeed(batches)
    feed.know(told)
    told += numbered(feed.news(), len(told))
    assert sorted(texts(told)) == ["a", "b", "c", "d", "late1", "late2", "late4"]
    assert [each["seq"] for each in told] == list(range(7))


@pytest.mark.parametrize("lost", ["1", "2", "3"])
@pytest.mark.parametrize("arrived", [0, 3])
def test_a_store_that_does_not_answer_in_the_middle_loses_and_repeats_nothing(
    batches: Batches, lost: str, arrived: int
) -> None:
    batches.kept = {"1": wrote("a"), "2": wrote("b", "c", "d"), "3": wrote("e")}
    told = numbered(EventFeed(batches).news(), 0)[:arrived]
    batches.lost = {lost}
    feed = EventFeed(batches)
    feed.know(told)
    rest: list[dict[str, Any]] = []
    for _ in range(3):
        with contextlib.suppress(NetworkError):
            rest += feed.news()
    assert texts(told + rest) == ["a", "b", "c", "d", "e"]


def test_a_damaged_batch_is_passed_over(batches: Batches, caplog: pytest.LogCaptureFixture) -> None:
    batches.kept = {"1": [{"kind": "task", "at": 1}], "2": wrote("b")}
    assert texts(EventFeed(batches).news()) == ["b"]
    assert "'1' can't be told" in caplog.text


def test_what_is_much_comes_in_parts(batches: Batches) -> None:
    batches.kept = {f"{number:02}": wrote(*("x" * 1000)) for number in range(10)}
    feed = EventFeed(batches)
    sizes = []
    while found := feed.news():
        sizes.append(len(found))
    assert sum(sizes) == 10_000
    assert max(sizes) < MOST_AT_ONCE + 1000


def test_a_run_that_ended_silently_is_given_an_end_with_that_of_the_tasks_that_ran(batches: Batches) -> None:
    feed = EventFeed(batches)
    batches.kept["1"] = [
        run_event("RUNNING"), task_event("load", "RUNNING"), task_event("done", "RUNNING"),
        task_event("done", "COMPLETED"), task_event("again", "RETRYING", 2),
    ]  # fmt: skip
    feed.news()
    assert not feed.is_ended
    ends = feed.endings(crashed("out of memory"), 5, crashed("it too"))
    assert [(each.get("task"), each["state"], each["message"]) for each in ends] == [
        ("load", "CRASHED", "it too"),
        ("again", "CRASHED", "it too"),
        (None, "CRASHED", "out of memory"),
    ]
    assert feed.is_ended
    assert feed.endings(crashed("out of memory"), 5, crashed("it too")) == []


def test_a_run_that_told_its_end_is_given_no_other(batches: Batches) -> None:
    feed = EventFeed(batches)
    batches.kept["1"] = [run_event("RUNNING"), run_event("COMPLETED")]
    feed.news()
    assert feed.endings(crashed(), 5, crashed()) == []
