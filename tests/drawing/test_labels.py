"""The words on a picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.drawing.labels import columns, duration, elided


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "<1 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (-1, "<1 ms"),
    ],
)
def test_a_duration_is_told_in_the_unit_that_suits(seconds, text):
    assert duration(seconds) == text


@given(st.text(max_size=80), st.integers(10, 40))
def test_a_cut_name_fits_and_a_fitting_one_is_not_cut(text, limit):
    cut = elided(text, limit)
    assert columns(cut) <= limit
    assert cut == text or "…" in cut


def test_wide_characters_count_twice():
    assert columns("データ") == 6
    assert elided("データ処理パイプライン", 10) == "データ…ン"
