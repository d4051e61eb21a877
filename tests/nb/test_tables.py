"""Lists that are shown as tables."""

from __future__ import annotations

import pytest

from dagy_nb.tables import Listing, ago


def test_a_listing_is_a_sequence_and_a_table_of_one_line_a_row() -> None:
    listing = Listing((1, 2), ("A", "LONG"), (("one\ntwo", "x"), ("\x1b[31m", "")), "nothing")
    assert (list(listing), listing[1], listing[:1], len(listing)) == ([1, 2], 2, (1,), 2)
    assert len(repr(listing).splitlines()) == 3
    assert "\x1b" not in repr(listing)
    assert listing._repr_html_().count("<tr>") == 3


def test_an_empty_listing_says_so() -> None:
    listing: Listing[int] = Listing((), ("A",), (), "nothing <yet>")
    assert repr(listing) == "nothing <yet>"
    assert listing._repr_html_() == "<div>nothing &lt;yet&gt;</div>"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (7_200, "2 h ago"),
        (86_400, "1 day ago"),
        (1e6, "11 days ago"),
    ],
)
def test_how_long_ago_something_was_is_told_roughly(seconds: float, told: str) -> None:
    assert ago(seconds) == told
