"""A flow's parts where its execution's history has room, and apart where it has not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.backends.decomposition import Apart, Parallel, Series, decompose
from dagy.backends.history import BRANCHES, DISTRIBUTED, OWN, aparts, within

from .flow_specs import graphs
from .test_decomposition import pairs, tasks_of


def test_what_has_room_stays_as_it_is():
    part = Series(("a", Parallel(("b", "c"))))
    assert within(part, dict.fromkeys("abc", 10), 100) == (part, 30 + BRANCHES)


def test_of_a_series_that_is_too_long_the_first_group_goes_apart():
    placed, taken = within(Series(("a", "b", "c")), {"a": 40, "b": 40, "c": 40}, 100)
    assert placed == Series((Apart(Series(("a", "b")), 80 + OWN), "c"))
    assert taken == DISTRIBUTED + 40


def test_branches_that_are_too_many_go_apart_together():
    placed, taken = within(Parallel(("a", "b", "c")), {"a": 40, "b": 40, "c": 40}, 100)
    assert placed == Parallel((Apart(Parallel(("a", "b")), 80 + BRANCHES + OWN), "c"))
    assert taken == DISTRIBUTED + 40 + BRANCHES


def test_what_is_apart_can_have_parts_apart():
    placed, taken = within(Series(tuple(f"t{each}" for each in range(400))), {f"t{e}": 30 for e in range(400)}, 100)
    assert taken <= 100
    assert max(aparts(placed)) <= 100
    assert any(isinstance(inner, Apart) for part in outer_aparts(placed) for inner in parts_of(part.part))
    assert tasks_of(placed) == [f"t{each}" for each in range(400)]


@settings(max_examples=50)
@given(graphs(most=14), st.integers(100, 400), st.data())
def test_no_history_is_longer_than_its_room_and_the_order_is_kept(
    needs: dict[str, tuple[str, ...]], room: int, data: st.DataObject
):
    events = {name: data.draw(st.integers(5, 45)) for name in needs}
    root = decompose(needs, flow="etl").root
    placed, taken = within(root, events, room)
    assert taken <= room
    assert max(aparts(placed), default=0) <= room
    assert pairs(placed) == pairs(root)
    assert sorted(tasks_of(placed)) == sorted(needs)


def parts_of(part: object) -> tuple[object, ...]:
    return part.parts if isinstance(part, Series | Parallel) else (part,)


def outer_aparts(part: object) -> list[Apart]:
    return [each for each in parts_of(part) if isinstance(each, Apart)]
