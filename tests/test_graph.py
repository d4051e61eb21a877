"""Names and edges: an order, or the circle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.errors import CycleError
from dagy.graph import downstream_of, ordered, shortest_cycle


def test_what_is_needed_comes_first_and_ties_keep_the_order_given():
    assert ordered({"c": ["b"], "x": [], "b": ["a"], "a": []}, flow="etl") == ["x", "a", "b", "c"]


def test_a_graph_without_names_has_an_order_without_names():
    assert ordered({}, flow="etl") == []


def test_what_is_needed_twice_counts_once():
    assert ordered({"a": [], "b": ["a", "a"]}, flow="etl") == ["a", "b"]


def test_what_is_needed_from_outside_is_left_out():
    assert ordered({"b": ["elsewhere"]}, flow="etl") == ["b"]


@settings(max_examples=50)
@given(st.integers(1, 25), st.data())
def test_in_every_graph_each_name_comes_once_and_after_what_it_needs(size: int, data: st.DataObject):
    names = data.draw(st.permutations(range(size)))
    earlier = [st.lists(st.sampled_from(names[:place] or ["-"]), max_size=4 if place else 0) for place in range(size)]
    needs = {str(name): [str(each) for each in data.draw(some)] for name, some in zip(names, earlier, strict=True)}
    order = ordered(needs, flow="etl")
    assert sorted(order) == sorted(needs)
    assert all(order.index(each) < order.index(name) for name, given in needs.items() for each in given)


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["a"]}, "a -> b -> a"),
        ({"a": [], "b": ["a", "d"], "c": ["b"], "d": ["c"], "e": ["d"]}, "b -> c -> d -> b"),
    ],
)
def test_a_circle_is_named_in_the_direction_of_the_work(needs: dict[str, list[str]], circle: str):
    with pytest.raises(CycleError, match=f"flow 'etl' goes in a circle: {circle}") as caught:
        ordered(needs, flow="etl")
    assert " -> ".join(caught.value.cycle) == circle


def test_of_two_circles_the_shorter_one_is_named():
    long = {f"l{each}": [f"l{(each - 1) % 5}"] for each in range(5)}
    assert shortest_cycle({**long, "x": ["y"], "y": ["x"]}) == ["x", "y", "x"]


def test_without_a_circle_there_is_none_to_name():
    assert shortest_cycle({"a": [], "b": ["a"]}) == []


def test_a_circle_of_10_000_names_is_found_without_recursion():
    size = 10_000
    with pytest.raises(CycleError) as caught:
        ordered({str(each): [str((each - 1) % size)] for each in range(size)}, flow="etl")
    assert len(caught.value.cycle) == size + 1


def test_a_chain_of_100_000_names_has_an_order():
    needs = {str(each): [str(each - 1)] if each else [] for each in range(100_000)}
    assert ordered(needs, flow="etl") == list(needs)


def test_the_same_graph_the_other_way_round():
    assert downstream_of({"a": [], "b": ["a"], "c": ["a", "b"]}) == {"a": ["b", "c"], "b": ["c"], "c": []}
