"""Text made safe to show: it stays what it is, and does nothing."""

import html
import unicodedata
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from dagy.drawing.escape import dot_line, markup_line, markup_lines, plain_line, plain_lines

anything = st.text(st.characters(exclude_categories=()), max_size=50)


def acting(text: str) -> list[str]:
    """The characters that would act rather than show."""
    turns = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return [
        each for each in text if unicodedata.category(each) in ("Cc", "Cs") or unicodedata.bidirectional(each) in turns
    ]


@given(anything)
def test_a_line_has_nothing_in_it_that_acts_and_no_second_line(text):
    shown = plain_line(text)
    assert acting(shown) == []
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(anything)
def test_escaping_twice_for_a_terminal_changes_nothing(text):
    assert plain_line(plain_line(text)) == plain_line(text)


@given(anything)
def test_marked_up_text_is_read_back_as_it_was_shown(text):
    read = ElementTree.fromstring(f'<a b="{markup_line(text)}">{markup_line(text)}</a>')
    assert (read.text or "") == plain_line(text) == read.get("b")


@given(anything)
def test_marked_up_lines_are_read_back_as_they_were_shown(text):
    assert html.unescape(markup_lines(text)) == plain_lines(text)
    assert "<" not in markup_lines(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40))
def test_ordinary_text_stays_as_it_is(text):
    assert plain_line(text) == text


def test_characters_that_act_are_shown_by_picture_or_number():
    assert plain_line("a\0b\tc\nd\x1be") == "a␀b␉c␊d␛e"
    assert plain_line("\u202egnp.exe \x85") == "[U+202E]gnp.exe [U+0085]"
    assert plain_line("\ud800") == "�"


def test_lines_keep_their_breaks_and_lose_their_colours():
    assert plain_lines("\x1b[31mred\x1b[0m\r\nnext\tcell\n") == "red\nnext\tcell\n"


def test_a_progress_bar_is_shown_as_a_terminal_leaves_it():
    assert plain_lines("10%\r50%\r100%\ndone") == "100%\ndone"


def test_graphviz_escapes_and_entities_are_not_understood():
    assert dot_line(r"a\Nb &lt; c") == r"a\\Nb &amp;lt; c"
