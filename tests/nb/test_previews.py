"""A MIME bundle becomes a preview that every reader can show, and that is never too large."""

from __future__ import annotations

import base64
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from dagy_nb.previews import Preview, preview_of, sendable, still_previews

PIXEL = b"\x89PNG\r\n"


def test_the_richest_part_is_taken() -> None:
    bundle: dict[str, object] = {
        "text/plain": "p",
        "text/html": "<b>h</b>",
        "image/svg+xml": "<svg/>",
        "image/png": PIXEL,
    }
    found = []
    while (preview := preview_of(bundle)) is not None:
        found.append(preview.kind)
        del bundle[next(each for each in ("image/png", "image/svg+xml", "text/html", "text/plain") if each in bundle)]
    assert found == ["image", "image", "html", "text"]


@pytest.mark.parametrize("data", [PIXEL, base64.b64encode(PIXEL).decode(), base64.encodebytes(PIXEL).decode()])
def test_an_image_is_a_data_uri_whether_it_comes_as_bytes_or_as_base64(data: object) -> None:
    assert preview_of({"image/png": data}) == Preview("image", "data:image/png;base64,iVBORw0K")


def test_a_drawing_is_an_image_so_that_no_script_in_it_runs() -> None:
    preview = preview_of({"image/svg+xml": ["<svg>\n", "<script/></svg>"]})
    assert preview is not None
    assert base64.b64decode(preview.content.partition(",")[2]) == b"<svg>\n<script/></svg>"


@pytest.mark.parametrize(
    "too_large",
    [{"image/png": b"x" * 2_000_000}, {"image/svg+xml": "x" * 2_000_001}, {"text/html": "x" * 100_001}],
    ids=lambda each: next(iter(each)),
)
def test_what_is_too_large_gives_way_to_a_plainer_part(too_large: dict[str, object]) -> None:
    assert preview_of({**too_large, "text/plain": "plain"}) == Preview("text", "plain")
    assert preview_of(too_large) is None


def test_a_long_text_is_cut() -> None:
    preview = preview_of({"text/plain": "x" * 100_000_000})
    assert preview == Preview("text", "x" * 4_000 + "\n...")


@pytest.mark.parametrize(
    "bundle", [{}, {"text/plain": ""}, {"text/html": None, "text/plain": 3}, {"application/json": {}}]
)
def test_a_bundle_without_anything_to_show_has_no_preview(bundle: dict[str, object]) -> None:
    assert preview_of(bundle) is None


ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.integers(), st.binary(), st.text(st.characters()), st.lists(st.text(st.characters()))
)


@given(st.dictionaries(st.sampled_from(["image/png", "image/svg+xml", "text/html", "text/plain", "x/y"]), ANYTHING))
def test_whatever_the_bundle_a_preview_can_be_sent(bundle: dict[str, object]) -> None:
    preview = preview_of(bundle)
    assert preview is None or preview.content.encode("utf-8")


@given(st.text(st.characters()))
def test_what_can_be_sent_is_the_text_unless_it_holds_half_a_character(text: str) -> None:
    sent = sendable(text)
    assert sent.encode("utf-8").decode() == sent
    assert (sent == text) is not any(0xD800 <= ord(each) < 0xE000 for each in text)


def test_a_still_shows_text_literally_and_html_as_it_is() -> None:
    previews = {
        "a": [Preview("text", "<b>&"), Preview("html", "<b>bold</b>")],
        "b": [],
        "c": [Preview("image", "data:x")],
    }
    shown = still_previews(previews)
    assert sorted(shown) == ["a", "c"]
    assert "&lt;b&gt;&amp;" in shown["a"]
    assert "<b>bold</b>" in shown["a"]
    assert '<img src="data:x"' in shown["c"]


def test_a_still_stays_small_and_says_what_it_leaves_out() -> None:
    image = Preview("image", "data:" + "x" * 1_500_000)
    shown = still_previews({"a": [image, image, image], "b": [Preview("text", "small")]})
    assert sum(map(len, shown.values())) < 4_100_000
    assert shown["a"].count("<img") == 2
    assert "one image left out here" in shown["a"]
    assert "small" in shown["b"]


def test_a_hundred_tables_are_not_all_in_a_still() -> None:
    table = Preview("html", "<table>" + "x" * 10_000 + "</table>")
    shown = still_previews({**{f"task-{number}": [table] for number in range(100)}, "last": [Preview("text", "5")]})
    assert sum(map(len, shown.values())) < 120_000
    assert "<table>" in shown["task-0"]
    assert "one html left out here" in shown["task-99"]
    assert "5" in shown["last"]


@pytest.mark.parametrize("address", ["https://example.com/x.png", "//example.com/x.png", "x.png", "data:text/html,x"])
def test_an_image_that_would_be_fetched_is_not(address: str) -> None:
    preview = preview_of({"text/html": f'<p>seen</p><img alt="it" src="{address}">'})
    assert preview is not None
    assert preview.content == '<p>seen</p><img alt="it">'


def test_an_image_in_the_text_itself_stays() -> None:
    preview = preview_of({"text/html": '<img src="data:image/png;base64,AAAA">'})
    assert preview is not None
    assert preview.content == '<img src="data:image/png;base64,AAAA">'
