"""The benchmarks can be measured at all; what they find is asserted nowhere."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from .__main__ import MEASUREMENTS
from .measuring import Effort, Times, in_turns, row_of_extra, row_of_ratio
from .peers import with_dagy
from .peers.cell import measure
from .shapes import chain, fan_out, layers, run_in_order, run_in_threads

pytestmark = pytest.mark.program

LITTLE = Effort(rounds=1, share=0.001)
OF_PROCESSES = {
    "cold-start",
    "commands",
    "dependency-layers",
    "embedded-runs",
    "hundred-thousand",
    "imports",
    "payload-memory",
    "store-open",
    "store-runs",
    "worker-start",
}  # they start many, each with an interpreter to load


@pytest.fixture(autouse=True, scope="module")
def _quick_collections() -> Iterator[None]:
    """Garbage is collected before each action, and must not cost a look at all that pytest has loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", sorted(MEASUREMENTS.keys() - OF_PROCESSES))
def test_a_measurement_gives_rows(name: str) -> None:
    rows = list(MEASUREMENTS[name](LITTLE))
    assert rows
    assert all(row.what and row.value for row in rows)


@pytest.mark.parametrize("shape", [chain(30), fan_out(30), layers(60)])
def test_the_limits_do_all_the_work_in_the_order_of_the_needs(shape) -> None:
    def mark(given):
        return str(given)

    in_order = run_in_order(shape, mark)
    assert in_order.keys() == shape.needs.keys()
    assert run_in_threads(shape, mark) == in_order


def test_dagy_does_the_work_that_other_engines_are_given() -> None:
    def mark(given):
        return str(given)

    shape = layers(60)
    assert with_dagy.run(shape, mark) == run_in_order(shape, mark)["step-59"]
    assert measure(with_dagy, "chain of 100", 1).keys() == {"found", "limit"}


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    found, limit = Times((2.0, 30.0, 4.0), (1.0, 1.0, 1.0)), Times((1.0, 10.0, 1.0), (1.0, 1.0, 2.0))
    row = row_of_ratio("it", found, limit, called="that", target=3.0)
    assert (row.value, row.limit, row.ratio, row.by_cpu, row.is_met) == ("4 s", "1 s that", "3.00x", "1.00x", True)


def test_what_is_added_is_judged_by_the_processors_time_when_asked() -> None:
    found, without = Times((5e-6,), (1e-6,)), Times((1e-6,), (0.5e-6,))
    assert row_of_extra("it", found, without, called="", target=1e-6).is_met is False
    assert row_of_extra("it", found, without, called="", target=1e-6, is_judged_by_cpu=True).is_met is True


def test_actions_take_turns_after_a_round_to_warm_up() -> None:
    done: list[str] = []
    times = in_turns(Effort(rounds=2), lambda: done.append("a"), lambda: done.append("b"))
    assert done == ["a", "b"] * 3
    assert [len(each.wall) for each in times] == [2, 2]
