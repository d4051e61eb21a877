"""What was edited since the last build, or since a deploy."""

from __future__ import annotations

from dagy.artifact import CellEntry
from dagy_nb.drift import Drift, drifts, listing

LOAD = CellEntry.of("a", "def load(): return 1", ["load"])
TOTAL = CellEntry.of("b", "def total(load): return load", ["total"])


def drift(now: list[CellEntry], built: list[CellEntry]) -> list[tuple[str, str, tuple[str, ...]]]:
    labels = {"a": "cell [1]", "b": "cell [2]"}
    found = drifts("etl", now, built, since="build b1", at=5.0, labels=labels)
    assert {(each.flow, each.since, each.at) for each in found} == {("etl", "build b1", 5.0)}
    return [(each.change, each.cell, each.names) for each in found]


def test_the_same_cells_are_no_drift_in_whatever_order() -> None:
    assert drift([LOAD, TOTAL], [TOTAL, LOAD]) == [("none", "", ())]


def test_an_edited_cell_is_named() -> None:
    edited = CellEntry.of("a", "def load(): return 2", ["load"])
    assert drift([edited, TOTAL], [LOAD, TOTAL]) == [("edited", "cell [1]", ("load",))]


def test_cells_that_came_and_went_are_named() -> None:
    gone = CellEntry.of("z", "x = 1", ["x"])
    assert drift([LOAD, TOTAL], [LOAD, gone]) == [("new", "cell [2]", ("total",)), ("gone", "cell z", ("x",))]


def test_an_edit_of_a_cell_without_an_id_shows_in_the_code() -> None:
    (found,) = drifts("etl", [], [], since="build b1", at=5.0, labels={}, is_same_code=False)
    assert (found.change, found.cell) == ("edited", "a cell without an id")


def test_cells_in_another_order_are_said_to_be_that_and_no_cell_is_blamed() -> None:
    now, built = [LOAD, TOTAL], [TOTAL, LOAD]
    (found,) = drifts("etl", now, built, since="build b1", at=5.0, labels={}, is_same_code=False)
    assert (found.change, found.cell) == ("edited", "the cells' order")


def test_the_list_says_what_was_never_built_and_what_is_up_to_date() -> None:
    text = repr(listing([Drift("daily", "never built"), Drift("weekly", "none", since="build b1", at=5.0)]))
    _, daily, weekly = text.splitlines()
    assert daily.split() == ["daily", "never", "built"]
    assert weekly.startswith("weekly  build b1, ")
    assert weekly.endswith("nothing: it is up to date")
    assert repr(listing([])) == "the notebook has no flow yet"
