"""Times, sizes and dollars as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.backends.wording import amount, dollars, lasting, told_apart


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (860, "s", "14 min 20 s"),
        (10_240, "MB", "10,240 MB"),
        (4_096, "bytes", "4,096 bytes"),
        (262_144, "bytes", "256.0 KiB"),
        (250 << 20, "bytes", "250.0 MiB"),
        (8_192, "characters", "8,192 characters"),
        (0.5, "number", "0.5"),
        (25_000, "number", "25,000"),
    ],
)
def test_amounts_are_said_for_people(value: float, unit: str, text: str):
    assert amount(value, unit) == text  # type: ignore[arg-type]  # a literal


def test_what_is_just_over_a_limit_is_told_apart_from_it():
    assert told_apart((250 << 20) + 1, 250 << 20, "bytes") == ("262,144,001 bytes", "262,144,000 bytes")
    assert told_apart(300 << 20, 250 << 20, "bytes") == ("300.0 MiB", "250.0 MiB")


def test_a_time_has_no_zeros_in_it():
    assert [lasting(each) for each in (0.25, 30, 60, 605, 7_200, 36_000)] == [
        "250 ms", "30 s", "1 min", "10 min 05 s", "2 h", "10 h",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "$0.00"), (0.000_213, "$0.00021"), (0.099, "$0.099"), (0.1, "$0.10"), (2.666, "$2.67"), (1_234.4, "$1,234")],
)
def test_dollars_are_said_to_what_matters(value: float, text: str):
    assert dollars(value) == text


@given(st.floats(1e-12, 1e6))
def test_an_amount_is_never_shown_as_nothing(value: float):
    assert float(dollars(value).lstrip("$").replace(",", "")) == pytest.approx(value, rel=0.06)
