"""Text as a terminal shows it, piece by piece, and shortened to what shows the same."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.engine.folding import Line, Terminal, condensed, draws_over, fold

PIECES = ["\r", "\n", "\b", "\x1b[K", "\x1b[2K", "\x1b[1K", "\x1b[A", "\x1b[2A", "\x1b[3C", "\x1b[2D", "\x1b[4G",
          "\x1b[31m", "\x1b[0m", "\x1b[1;32m", "\x1b[?25l", "a", "bc", "12345", " "]  # fmt: skip


def shown(text: str) -> str:
    return fold([("stdout", text)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("one\ntwo\n", "one\ntwo\n", id="lines"),
        pytest.param("one\n\ntwo", "one\n\ntwo", id="a-blank-line"),
        pytest.param("one\r\ntwo\r\n", "one\ntwo\n", id="lines-of-windows"),
        pytest.param("10%\r20%\r30%\n", "30%\n", id="a-bar"),
        pytest.param("long line\rshort", "shortline", id="what-is-not-drawn-over-stays"),
        pytest.param("long line\r\x1b[Kshort", "short", id="erased-to-its-end"),
        pytest.param("long line\x1b[2K\rshort", "short", id="erased-whole"),
        pytest.param("abc\x1b[2D\x1b[1Kx", " xc", id="erased-to-its-start"),
        pytest.param("12\b3", "13", id="a-backspace"),
        pytest.param("\b\bx", "x", id="backspaces-at-the-start"),
        pytest.param("a\x1b[3Cb", "a   b", id="to-the-right"),
        pytest.param("abc\x1b[2Gx", "axc", id="to-a-column"),
        pytest.param("outer\n\rinner 1\x1b[A\router!\n\rinner 2\x1b[A\r", "outer!\ninner 2", id="nested-bars"),
        pytest.param("a\nb\nc\x1b[2Fx\x1b[2Ey", "x\nb\ny", id="up-and-down"),
        pytest.param("a\x1b[9Ab", "ab", id="no-higher-than-the-first-line"),
        pytest.param("bar\r   \r", "", id="a-bar-that-is-wiped-away"),
        pytest.param("trailing  \nspaces  ", "trailing  \nspaces  ", id="spaces-that-were-printed"),
        pytest.param("\x1b]0;title\x07a\x1b[?25lb\x1b(Bc", "abc", id="codes-that-leave-nothing"),
        pytest.param("\x1b[31mred\x1b[0m plain", "\x1b[31mred\x1b[0m plain", id="colours-stay"),
        pytest.param("\x1b[31mred\ntoo", "\x1b[31mred\x1b[0m\n\x1b[31mtoo\x1b[0m", id="a-line-has-its-own-colours"),
        pytest.param("\x1b[31mred\x1b[m\rx", "x\x1b[31med\x1b[0m", id="colours-are-drawn-over"),
    ],
)
def test_text_is_shown_as_a_terminal_shows_it(text: str, expected: str):
    assert shown(text) == expected


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.data())
def test_it_does_not_matter_in_which_pieces_text_comes(text: str, data: st.DataObject):
    cut = data.draw(st.integers(0, len(text)))
    terminal = Terminal()
    terminal.write("stdout", text[:cut])
    terminal.write("stdout", text[cut:])
    assert str(terminal) == shown(text)


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.sampled_from(["", "first", "one\ntwo\nthree and more"]))
def test_condensed_text_leaves_the_same(text: str, before: str):
    before = "\n" * 200 + before  # enough lines to go up
    assert plain(shown(before + condensed(text) + "X")) == plain(shown(before + text + "X"))


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_condensing_twice_is_condensing_once(text: str):
    assert condensed(condensed(text)) == condensed(text)


def plain(text: str) -> str:
    """Without colours, and without the blanks at lines' ends, which depend on them."""
    without = "".join(each for each in text.replace("\x1b[", "\x00").split("\x00"))
    for code in ("31m", "0m", "1;32m"):
        without = without.replace(code, "")
    return "\n".join(line.rstrip() for line in without.split("\n"))


def test_ten_thousand_updates_of_a_bar_condense_to_one():
    bar = "".join(f"\r{number:5} of 10000" for number in range(10_001))
    assert condensed("begin\n" + bar) == "begin\n10000 of 10000"


def test_plain_text_is_condensed_to_itself():
    assert condensed("one\ntwo") == "one\ntwo"
    assert condensed("no line \x1b[31mends") == "no line \x1b[31mends"


def test_a_code_that_is_cut_in_two_is_one_code():
    terminal = Terminal()
    for piece in ("old\r", "\x1b", "[", "K", "new\x1b[3", "1mred"):
        terminal.write("stdout", condensed(piece))
    assert str(terminal) == "new\x1b[31mred\x1b[0m"


def test_each_stream_has_a_cursor_of_its_own():
    pieces = [("stderr", "\r 10%"), ("stdout", "one\n"), ("stderr", "\r100%\n"), ("stdout", "two\n")]
    assert fold(pieces) == "100%\none\ntwo\n"


def test_nested_bars_of_tqdm_keep_a_line_each():
    import tqdm

    paper = io.StringIO()
    for _ in tqdm.trange(3, file=paper, desc="outer", mininterval=0, position=0):
        for _ in tqdm.trange(50, file=paper, desc="inner", mininterval=0, position=1, leave=False):
            pass
    assert [line.split(":")[0] for line in shown(paper.getvalue()).splitlines()] == ["outer"]  # the others are wiped
    assert len(condensed(paper.getvalue())) < 300


@pytest.mark.parametrize(
    ("newer", "older", "expected"),
    [
        pytest.param("\r20%", "\r10%", True, id="a-bar-anew"),
        pytest.param("\r9", "\r10", False, id="a-shorter-bar"),
        pytest.param("\r9\x1b[K", "\r10\x1b[K", True, id="a-shorter-bar-that-erases"),
        pytest.param("\n20%\x1b[1A", "\n10%\x1b[1A", True, id="a-bar-in-the-next-line"),
        pytest.param("\n20%\x1b[1A", "\r10%", False, id="bars-in-other-lines"),
        pytest.param("\nb", "\na", False, id="lines"),
        pytest.param("20%", "\r10%", False, id="text-that-goes-on"),
        pytest.param("\r20\x1b[2C!", "\r12345", False, id="a-gap"),
    ],
)
def test_whether_a_drawing_leaves_nothing_of_the_one_before(newer: str, older: str, expected: bool):
    assert draws_over(newer, older) is expected


def test_a_view_takes_what_has_changed():
    terminal = Terminal()
    terminal.write("stdout", "one\n")
    terminal.write("stderr", "\r 10%")
    assert terminal.take() == (0, [Line("stdout", "one"), Line("stderr", " 10%")])
    assert terminal.take() == (0, [])
    terminal.write("stdout", "two\n")
    assert terminal.take() == (0, [Line("stdout", "two")])
    terminal.write("stderr", "\r 20%")
    assert terminal.take() == (2, [Line("stderr", " 20%"), Line("stdout", "two")])


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from(PIECES), st.booleans())))
def test_what_a_view_takes_adds_up_to_all_lines(writes: list[tuple[str, str, bool]]):
    terminal, view = Terminal(), []
    for stream, text, is_read in [*writes, ("stdout", "", True)]:
        terminal.write(stream, text)
        if is_read:
            void, lines = terminal.take()
            view[len(view) - void :] = lines
    assert view == terminal.lines()


def test_a_limit_lets_go_of_the_oldest_lines():
    terminal = Terminal(limit=100)
    for number in range(1000):
        terminal.write("stdout", f"line {number}\n")
    kept = str(terminal)
    assert 100 <= len(kept) <= 220
    assert kept.endswith("line 998\nline 999\n")


def test_a_limit_cuts_a_line_that_is_longer():
    terminal = Terminal(limit=100)
    for number in range(1000):
        terminal.write("stdout", f"{number:04}")
    terminal.write("stdout", "\b!")
    assert len(str(terminal)) <= 210
    assert str(terminal).endswith("0998099!")
