"""Retries: a policy decides, given the number of failures, the error and a chance."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.errors import DefinitionError
from dagy.retry import RetryGroup, RetryPolicy, retry_group_of, retry_groups, retry_policy

ERROR = ValueError("no rows")


def waits(retries: int, delay: Any = None, jitter: float | None = None, chance: float = 0.0) -> list[float | None]:
    """What is waited after each failure, and the answer after the last one."""
    policy = retry_policy(retries, delay, jitter, None, of="task 'load'")
    return [policy.decide(failures, ERROR, chance) for failures in range(1, retries + 2)]


def test_without_retries_it_gives_up_at_once():
    assert waits(0) == [None]


def test_without_a_delay_it_does_not_wait():
    assert waits(2) == [0.0, 0.0, None]


def test_a_number_is_waited_each_time():
    assert waits(3, 2.0) == [2.0, 2.0, 2.0, None]


def test_a_list_has_a_delay_for_each_retry_and_the_last_one_repeats():
    assert waits(4, [0.01, 0.05, 0.1]) == [0.01, 0.05, 0.1, 0.1, None]


def test_an_empty_list_means_no_wait():
    assert waits(1, []) == [0.0, None]


def test_a_function_is_given_the_number_of_retries_and_returns_the_list():
    assert waits(5, lambda retries: [2**each for each in range(retries)]) == [1, 2, 4, 8, 16, None]


def test_a_function_may_return_one_number():
    assert waits(2, lambda retries: retries * 1.5) == [3.0, 3.0, None]


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 2.0), (0.5, 2.5), (0.999, 2.999)])
def test_jitter_adds_up_to_its_share_of_the_delay(chance: float, wait: float):
    assert waits(1, 2.0, 0.5, chance)[0] == pytest.approx(2.0 + (wait - 2.0))


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_jitter_only_lengthens_and_never_past_the_factor(delay: float, jitter: float, chance: float):
    wait = RetryPolicy(1, (delay,), jitter).decide(1, ERROR, chance)
    assert wait is not None
    assert delay <= wait <= delay * (1 + jitter) * (1 + 1e-12)


def test_a_condition_says_whether_an_error_is_worth_another_try():
    policy = RetryPolicy(retries=3, condition=lambda error: isinstance(error, ValueError))
    assert policy.decide(1, ERROR, 0.0) == 0.0
    assert policy.decide(1, KeyError("k"), 0.0) is None


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_is_no_exception_is_never_worth_another_try(error: BaseException):
    assert RetryPolicy(retries=3).decide(1, error, 0.0) is None


@pytest.mark.parametrize("broken", [RuntimeError("x"), SystemExit(1)])
def test_a_condition_that_raises_gives_up_and_leaves_a_note_on_the_tasks_error(broken: BaseException):
    def condition(_: Exception) -> bool:
        raise broken

    error = ValueError("no rows")
    assert RetryPolicy(retries=3, condition=condition).decide(1, error, 0.0) is None
    assert error.__notes__ == [f"not retried, because retry_condition_fn raised {broken!r}"]


@pytest.mark.parametrize("retries", [-1, True, 1.0, "3", None])
def test_retries_must_be_a_whole_number(retries: Any):
    message = re.escape(f"task 'load': retries must be a whole number, 0 or more, not {retries!r}")
    with pytest.raises(DefinitionError, match=message):
        retry_policy(retries, None, None, None, of="task 'load'")


@pytest.mark.parametrize("delay", [-1, math.nan, math.inf, True, "5", [1, -1], [1, None], lambda _: [math.nan], b"1"])
def test_delays_must_be_seconds(delay: Any):
    with pytest.raises(DefinitionError, match=r"task 'load': retry_delay_seconds must be seconds, 0 or more, not "):
        retry_policy(1, delay, None, None, of="task 'load'")


def test_a_delay_function_that_raises_is_named():
    def delays(retries: int) -> list[float]:
        raise KeyError("config")

    with pytest.raises(DefinitionError, match=r"task 'load': retry_delay_seconds\(3\) raised KeyError\('config'\)"):
        retry_policy(3, delays, None, None, of="task 'load'")


@pytest.mark.parametrize("jitter", [-0.1, 1.1, math.nan, True, "0.5"])
def test_the_jitter_factor_lies_between_0_and_1(jitter: Any):
    message = re.escape(f"task 'load': retry_jitter_factor must lie between 0.0 and 1.0, not {jitter!r}")
    with pytest.raises(DefinitionError, match=message):
        retry_policy(1, 1.0, jitter, None, of="task 'load'")


def test_a_condition_must_be_a_function():
    with pytest.raises(DefinitionError, match="retry_condition_fn must be a function of the exception, not 'always'"):
        retry_policy(1, None, None, "always", of="task 'load'")  # type: ignore[arg-type]


# ---- the same waits in groups, for who can only count


def test_equal_waits_in_a_row_are_one_group_and_the_last_one_repeats():
    assert retry_groups(6, (1.0, 1.0, 5.0)) == (RetryGroup(1, 2, 1.0), RetryGroup(3, 4, 5.0))


def test_without_a_delay_all_failures_are_one_group():
    assert retry_groups(3, ()) == (RetryGroup(1, 3, 0.0),)


def test_without_retries_there_is_no_group():
    assert retry_groups(0, (1.0,)) == ()
    assert retry_group_of((), 1) is None


@given(st.integers(0, 12), st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=15))
def test_the_groups_wait_what_the_policy_waits(retries: int, delays: list[float]):
    policy, groups = RetryPolicy(retries, tuple(delays)), retry_groups(retries, delays)
    for failure in range(1, retries + 2):
        group = retry_group_of(groups, failure)
        assert (None if group is None else groups[group - 1].delay) == policy.decide(failure, ERROR, 0.0)
    assert all(before.delay != after.delay for before, after in pairwise(groups))
