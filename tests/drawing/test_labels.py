"""The words on a picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.drawing.labels import ago, columns, duration, elided, names
from dagy.spec import FlowSpec, TaskSpec


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


def test_a_task_is_called_by_its_name_if_that_is_its_own_and_a_mapped_one_is_marked():
    tasks = [
        TaskSpec("load", "load", "m:load"),
        TaskSpec("fetch", "fetch", "m:fetch", mapped=("url",)),
        TaskSpec("save", "save", "m:save"),
        TaskSpec("save-2", "save", "m:save", mapped=("row",)),
    ]
    named = {"load": "load", "fetch": "fetch[…]", "save": "save", "save-2": "save-2[…]"}
    assert names(FlowSpec("f", tasks=tuple(tasks))) == named


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "just now"), (59, "just now"), (60, "1 min ago"), (3_599, "59 min ago"), (3_600, "1 h ago"),
        (86_399, "23 h ago"), (86_400, "1 day ago"), (1_000_000, "11 days ago"),
    ],
)  # fmt: skip
def test_how_long_ago_something_was_is_told_roughly(seconds: float, told: str) -> None:
    assert ago(seconds) == told
