"""A value is let go when the last task that needs it had it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from dagy import flow, task
from dagy.engine.run_values import is_little
from dagy.errors import ResultGoneError

small = flow(name="small")


class Large:
    """Something that can be watched."""


@pytest.fixture
def made() -> list[weakref.ref[Large]]:
    return []


def test_a_value_is_gone_when_its_last_consumer_had_it(made: list[weakref.ref[Large]]):
    @task
    def make() -> Large:
        large = Large()
        made.append(weakref.ref(large))
        return large

    @task
    def use(_large: Large) -> int:
        return 1

    @task
    def is_gone(_after: int) -> bool:
        gc.collect()
        return made[0]() is None

    assert small(lambda: is_gone(use(make()))).run_local(max_workers=1).value is True


def test_a_value_stays_while_another_task_still_needs_it(made: list[weakref.ref[Large]]):
    @task
    def make() -> Large:
        large = Large()
        made.append(weakref.ref(large))
        return large

    @task
    def use(_large: Large, _after: object = None) -> bool:
        return made[0]() is not None

    def draw() -> Any:
        large = make()
        return use(large, use(large))

    assert small(draw).run_local(max_workers=1).value is True


def test_what_the_flow_returns_and_what_no_task_needs_is_kept():
    @task
    def make() -> Large:
        return Large()

    @task
    def use(_large: Large) -> Large:
        return Large()

    def draw() -> Any:
        large = make()
        use(large)
        return large

    result = small(draw).run_local()
    assert isinstance(result.value, Large)
    assert isinstance(result.result_of("make"), Large)
    assert isinstance(result.result_of("use"), Large)


def chain() -> Any:
    @task
    def make() -> Large:
        return Large()

    @task
    def use(_large: Large) -> int:
        return 1

    return use(make())


def test_a_result_that_was_let_go_is_asked_for_in_vain_and_the_remedy_is_named():
    result = small(chain).run_local()
    with pytest.raises(ResultGoneError, match=r"'make' was let go .* run with keep_results=True to keep it"):
        result.result_of("make")


def test_keep_results_keeps_them_all():
    assert isinstance(small(chain).run_local(keep_results=True).result_of("make"), Large)


@pytest.mark.parametrize("value", [None, 1, 2.5, "text", b"bytes", [], [1, "a"], {"a": 1}, (1, None), {}])
def test_what_is_next_to_nothing_is_kept_anyway(value: object):
    assert is_little(value)


@pytest.mark.parametrize(
    "value",
    ["x" * 2000, 2**9000, list(range(100)), [[1]], {"a": [1]}, {1, 2}, Large(), ["x" * 500]],
    ids=lambda value: type(value).__name__,
)
def test_what_may_be_large_is_not(value: object):
    assert not is_little(value)
