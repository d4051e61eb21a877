"""What a flow needs, as far as it is known before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from dagy.backends import Measured
from dagy.backends.needs import ASSUMED_SECONDS, TaskNeed, needs_of
from tests.backends.flows import a_flow, a_task


def need(measured: Measured | None = None, **options: Any) -> TaskNeed:
    return needs_of(a_flow(a_task("a", **options)), measured).tasks["a"]


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, ASSUMED_SECONDS),
        ({"timeout_seconds": 5}, 5),
        ({"timeout_seconds": 5, "retries": 2}, 15),
        ({"timeout_seconds": 5, "retries": 3, "retry_delays": (1.0, 10.0)}, 20 + 1 + 10 + 10),
        ({"timeout_seconds": 5, "retries": 1, "retry_delays": (1.0, 10.0)}, 11),
        ({"timeout_seconds": 5, "retries": 1, "retry_delays": (10.0,), "retry_jitter_factor": 0.5}, 25),
    ],
)
def test_all_attempts_and_the_waits_between_them_count(options: dict[str, Any], bound: float):
    assert need(**options).bound == bound


def test_what_was_measured_may_take_twice_as_long_there():
    measured = Measured(1, {"a": 20.0}, memory_mb={"a": 700})
    found = need(measured)
    assert (found.attempt_bound, found.likely, found.memory_mb, found.is_assumed) == (40, 20, 1_400, False)
    assert need(Measured(1, {"a": 0.001})).attempt_bound == 1


def test_a_time_limit_and_a_wish_count_more_than_what_was_measured():
    found = need(Measured(1, {"a": 20.0}, memory_mb={"a": 700}), timeout_seconds=10, memory_mb=512)
    assert (found.attempt_bound, found.likely, found.memory_mb) == (10, 10, 512)


def test_items_are_counted_where_the_list_is_known():
    assert need(items=7).items == 7
    assert need().items == 1
    mapped = a_flow(a_task("pages"), a_task("a", items="pages"))
    assert needs_of(mapped, None).tasks["a"].items is None
    assert needs_of(mapped, Measured(1, items={"a": 3})).tasks["a"].items == 3


def test_items_that_run_side_by_side_take_one_round():
    assert [need(items=each).rounds for each in (0, 1, 16, 17, 33)] == [1, 1, 1, 2, 3]
    assert need(items=10, concurrency_limit=3).rounds == 4


def test_the_longest_path_is_the_one_that_takes_the_longest():
    spec = a_flow(
        a_task("a", timeout_seconds=1),
        a_task("b", "a", timeout_seconds=10),
        a_task("c", "a", timeout_seconds=1),
        a_task("d", "c", timeout_seconds=1),
        a_task("e", "b", "d", timeout_seconds=1),
    )
    found = needs_of(spec, None)
    assert (found.bound, found.path, found.is_bounded) == (12, ("a", "b", "e"), True)


def test_the_memory_of_a_level_of_the_graph_is_added_up():
    spec = a_flow(
        a_task("a", memory_mb=500), a_task("b", "a", memory_mb=300), a_task("c", "a", memory_mb=300), a_task("d", "b")
    )
    assert needs_of(spec, None).memory_mb == 600
    assert needs_of(a_flow(a_task("a")), None).memory_mb is None


def test_a_chain_of_any_depth_is_no_matter():
    tasks = [a_task(f"t{n}", *([f"t{n - 1}"] if n else []), timeout_seconds=1) for n in range(5_000)]
    assert needs_of(a_flow(*tasks), None).bound == 5_000
