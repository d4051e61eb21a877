"""Names of states: legal, unique, and like the tasks' own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.backends.state_names import MOST_CHARACTERS, StateNames, legal

from .definition_checks import is_legal


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("load", "load"),
        ("load the rows", "load the rows"),
        ("größe-2", "größe-2"),
        ("etl/load:rows", "etl-load-rows"),
        ("a\nb", "a-b"),
        ("<b>", "b"),
        ("???", "task"),
        ("", "task"),
    ],
)
def test_what_is_forbidden_becomes_a_dash(wanted: str, name: str):
    assert legal(wanted) == name


def test_long_names_are_cut_and_still_differ():
    one, other = legal("a" * 100 + "1"), legal("a" * 100 + "2")
    assert len(one) == len(other) == MOST_CHARACTERS
    assert one[:71] == other[:71] == "a" * 71
    assert one != other


def test_a_name_that_is_taken_gets_a_number():
    names = StateNames()
    assert [names.new("a/b"), names.new("a:b"), names.new("a b", "item"), names.new("a b", "item")] == [
        "a-b",
        "a-b 2",
        "a b (item)",
        "a b 2 (item)",
    ]


@given(st.lists(st.tuples(st.text(max_size=120), st.sampled_from(["", "item", "wide item crashed"])), max_size=20))
def test_every_name_is_legal_and_none_is_given_twice(asked: list[tuple[str, str]]):
    names = StateNames()
    given_out = [names.new(*each) for each in asked]
    assert all(map(is_legal, given_out))
    assert len(set(given_out)) == len(given_out)
