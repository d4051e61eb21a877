"""What was edited since a flow was last built: the notebook's cells beside those that the artifact was made from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from dagy.drawing import ago
from dagy_nb.tables import Listing

if TYPE_CHECKING:
    from dagy.artifact import CellEntry

Change: TypeAlias = Literal["edited", "new", "gone", "never built", "none"]

_HEAD = ("FLOW", "SINCE", "CHANGE", "CELL", "NAMES")
_TOLD: Mapping[Change, str] = {
    "edited": "edited",
    "new": "new in it",
    "gone": "no longer in it",
    "never built": "never built",
    "none": "nothing: it is up to date",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """How the notebook differs, in one cell, from what was built or deployed of a flow; or that it does not."""

    flow: str
    change: Change
    cell: str = ""  # what messages call the cell; its id when it is gone; what else it is, when no cell is to be named
    names: tuple[str, ...] = ()  # what the cell makes
    since: str = ""  # "build 0123456789ab" or "deployment etl"; empty: there is no build
    at: float | None = None  # when that was, in seconds since the epoch


def drifts(
    flow: str,
    now: Sequence[CellEntry],
    built: Sequence[CellEntry],
    *,
    since: str,
    at: float,
    labels: Mapping[str, str],
    is_same_code: bool = True,
    unnamed: str = "a cell without an id",
) -> tuple[Drift, ...]:
    """What differs between the cells that a build would hold now and those that an earlier one was `built` from.

    `since` says which one that was, and `at` when. One entry says so when nothing does. `labels` are what messages call
    the cells, by id. `is_same_code` says whether all of the code is what it was: it also changes with the cells' order,
    and with what is `unnamed`, because its cells are not known one by one.
    """
    before = {each.id: each for each in built}
    found: list[tuple[CellEntry, Change]] = []
    for each in now:
        if each.id not in before:
            found.append((each, "new"))
        elif before[each.id].sha256 != each.sha256:
            found.append((each, "edited"))
    there = {each.id for each in now}
    found += [(each, "gone") for each in built if each.id not in there]
    if not found and not is_same_code:
        is_moved = [each.id for each in now] != [each.id for each in built]
        what = "the cells' order" if is_moved else unnamed
        return (Drift(flow, "edited", what, since=since, at=at),)
    if not found:
        return (Drift(flow, "none", since=since, at=at),)
    return tuple(
        Drift(flow, change, labels.get(each.id, f"cell {each.id}"), each.names, since, at) for each, change in found
    )


def listing(found: Iterable[Drift], note: str = "") -> Listing[Drift]:
    """The differences as a table, with a `note` below it."""
    items, now = tuple(found), time.time()
    rows = tuple(
        (
            each.flow,
            "" if each.at is None else f"{each.since}, {ago(max(0.0, now - each.at))}",
            _TOLD[each.change],
            each.cell,
            ", ".join(each.names),
        )
        for each in items
    )
    return Listing(items, _HEAD, rows, "the notebook has no flow yet", note)
