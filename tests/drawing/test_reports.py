"""A report in sections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagy.drawing.labels import columns
from dagy.drawing.reports import Section, report_text

SECTIONS = (
    Section("Why", ("because it is so",)),
    Section("Empty"),
    Section("Size", (), ("what", "unused", "MB"), (("layer", "", "1,200"), ("code", "", "3"))),
)


def test_each_section_stands_beside_its_heading_and_numbers_stand_to_the_right():
    assert (
        report_text("plan", SECTIONS)
        == """\
plan

Why   because it is so

Size  what      MB
      layer  1,200
      code       3"""
    )


def test_long_lines_and_last_cells_go_on_below():
    text = report_text("plan", (Section("Why", ("so " * 60,), ("a", "b"), (("one", "word " * 30),)),))
    assert max(map(columns, text.splitlines())) <= 100
    assert text.count("so") == 60
    assert text.count("word") == 30


texts = st.text(max_size=60)


@given(texts, st.lists(texts, max_size=3), st.lists(st.tuples(texts, texts, texts), max_size=3))
def test_no_text_breaks_out_of_its_place(title: str, lines: list[str], rows: list[tuple[str, str, str]]):
    section = Section("Head", tuple(lines), ("<a>", "b", "c"), tuple(rows))
    text = report_text(title, (section,))
    assert all(each.isprintable() or each == "\n" or not each.isascii() for each in text)
