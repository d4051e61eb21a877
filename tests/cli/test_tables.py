from __future__ import annotations

from dagy.cli.tables import table


def test_columns_are_as_wide_as_their_longest_text() -> None:
    assert list(table([("A", "LONG"), ("abc", "x"), ("", "y")])) == ["A    LONG", "abc  x", "     y"]
