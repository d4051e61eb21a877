from __future__ import annotations

import pytest

from dagy.cli.tables import ago, table


def test_columns_are_as_wide_as_their_longest_text() -> None:
    assert list(table([("A", "LONG"), ("abc", "x"), ("", "y")])) == ["A    LONG", "abc  x", "     y"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "just now"), (59, "just now"), (60, "1 min ago"), (3_599, "59 min ago"), (3_600, "1 h ago"),
        (86_399, "23 h ago"), (86_400, "1 day ago"), (1_000_000, "11 days ago"),
    ],
)  # fmt: skip
def test_how_long_ago_something_was_is_told_roughly(seconds: float, told: str) -> None:
    assert ago(seconds) == told
