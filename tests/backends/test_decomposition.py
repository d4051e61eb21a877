"""A graph as series and parallels: the order is kept, and nothing waits that need not where the graph allows it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given

from dagy.backends.decomposition import MOST_NESTED, Apart, Decomposition, Parallel, Part, Series, decompose
from dagy.errors import CycleError

from .flow_specs import graphs


def made(**needs: str) -> Part:
    """The parts of a graph that is given as `b="a"`: b needs a."""
    return decompose({name: tuple(given) for name, given in needs.items()}, flow="etl").root


def test_one_task_is_itself():
    assert made(a="") == "a"


def test_a_chain_is_a_series():
    assert made(a="", b="a", c="b") == Series(("a", "b", "c"))


def test_what_nothing_joins_is_parallel():
    assert made(a="", b="", c="b") == Parallel(("a", Series(("b", "c"))))


def test_a_diamond_is_a_parallel_in_a_series():
    assert made(a="", b="a", c="a", d="bc") == Series(("a", Parallel(("b", "c")), "d"))


def test_an_edge_that_says_nothing_new_changes_nothing():
    assert made(a="", b="a", c="ab") == Series(("a", "b", "c"))


def test_all_before_all_is_a_series_of_parallels():
    assert made(a="", b="", c="ab", d="ab") == Series((Parallel(("a", "b")), Parallel(("c", "d"))))


def test_an_n_is_cut_into_levels_and_tells_how_many_wait():
    found = decompose({"a": (), "b": (), "c": ("a",), "d": ("a", "b")}, flow="etl")
    assert found == Decomposition(Series((Parallel(("a", "b")), Parallel(("c", "d")))), waiting=2)


def test_two_long_chains_with_a_link_between_them_stay_chains_but_for_where_the_link_is():
    needs = {f"{name}{step}": (f"{name}{step - 1}",) if step else () for name in "ab" for step in range(8)}
    needs["b4"] = ("b3", "a3")
    chains = [tuple(f"{name}{step}" for step in range(start, start + 4)) for start in (0, 4) for name in "ab"]
    first, second = (Parallel(tuple(map(Series, chains[each : each + 2]))) for each in (0, 2))
    assert decompose(needs, flow="etl") == Decomposition(Series((first, second)), waiting=2)


def test_a_circle_is_named():
    with pytest.raises(CycleError, match="flow 'etl' goes in a circle: a -> b -> a"):
        made(a="b", b="a")


def test_parallels_are_nested_only_so_deep():
    comb: dict[str, tuple[str, ...]] = {"t0": ()}
    for step in range(60):  # a chain with a leaf at each task: parallels all the way down, but for the limit
        comb |= {f"leaf{step}": (f"t{step}",), f"t{step + 1}": (f"t{step}",)}
    found = decompose(comb, flow="etl")
    assert depth(found.root) == MOST_NESTED
    assert in_order(found.root, comb)


@pytest.mark.parametrize("shape", ["chain", "fan"])
def test_ten_thousand_tasks_take_no_recursion_and_no_square_time(shape: str):
    needs = {f"t{each}": (f"t{each - 1 if shape == 'chain' else 0}",) if each else () for each in range(10_000)}
    began = time.perf_counter()
    assert decompose(needs, flow="etl").waiting == 0
    assert time.perf_counter() - began < 3  # 0.15 s; what rescans the graph for each task takes minutes


@given(graphs(most=14))
def test_every_edge_is_kept_and_every_task_is_there_once(needs: dict[str, tuple[str, ...]]):
    found = decompose(needs, flow="etl")
    assert sorted(tasks_of(found.root)) == sorted(needs)
    assert in_order(found.root, needs)


@given(graphs(most=14))
def test_where_nothing_waits_in_vain_the_order_is_the_graphs_own(needs: dict[str, tuple[str, ...]]):
    found = decompose(needs, flow="etl")
    above: dict[str, set[str]] = {}
    for name, given_names in needs.items():
        above[name] = set(given_names).union(*(above[each] for each in given_names))
    orders = {(before, name) for name, names in above.items() for before in names}
    assert orders <= pairs(found.root)
    assert (orders == pairs(found.root)) == (found.waiting == 0)


def tasks_of(part: Part) -> list[str]:
    match part:
        case str():
            return [part]
        case Apart(inner):
            return tasks_of(inner)
        case Series(parts) | Parallel(parts):
            return [name for each in parts for name in tasks_of(each)]


def pairs(part: Part) -> set[tuple[str, str]]:
    """Each (task, task that begins after it has ended)."""
    match part:
        case str():
            return set()
        case Apart(inner):
            return pairs(inner)
        case Series(parts) | Parallel(parts):
            found = {each for inner in parts for each in pairs(inner)}
            if isinstance(part, Series):
                names = [tasks_of(each) for each in parts]
                found |= {
                    (before, after)
                    for place, earlier in enumerate(names)
                    for later in names[place + 1 :]
                    for before in earlier
                    for after in later
                }
            return found


def in_order(part: Part, needs: dict[str, tuple[str, ...]]) -> bool:
    return {(each, name) for name, given_names in needs.items() for each in given_names} <= pairs(part)


def depth(part: Part) -> int:
    match part:
        case str():
            return 0
        case Apart(inner):
            return depth(inner)
        case Series(parts):
            return max(map(depth, parts))
        case Parallel(parts):
            return 1 + max(map(depth, parts))
