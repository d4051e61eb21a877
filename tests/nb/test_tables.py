"""Lists that are shown as tables."""

from __future__ import annotations

from dagy_nb.tables import Listing


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
