"""What earlier runs of a flow took, read from the history on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dagy.backends.routes import Measured
from dagy.engine import Event, ItemChanged, TaskChanged
from dagy.runs import History
from dagy.states import StateType

_RUNS = 3  # the newest ones that completed


def measured_from_history(local_dir: Path, flow_name: str, *, runs: int = _RUNS) -> Measured | None:
    """What the last `runs` completed runs of the flow took; None when none is recorded.

    Runs are recorded by `run_local(record=True)`, by `dagy run` and in notebooks. A result that was taken from a cache,
    or from the run that was resumed, took no time and is not counted. Raises `StoreError`.
    """
    with History(local_dir) as history:
        found = history.runs(limit=runs, flow=flow_name, status=StateType.COMPLETED)
        events = [history.events(each.run_id) for each in found]
    return measured_in(events) if events else None


def measured_in(runs: Iterable[Iterable[Event]]) -> Measured:
    """The longest attempt of each task in these runs, of a mapped task the longest item and how many there were."""
    count = 0
    whole: dict[str, float] = {}
    single: dict[str, float] = {}
    items: dict[str, int] = {}
    for events in runs:
        count += 1
        since: dict[tuple[str, int | None], int] = {}
        for event in events:
            if not isinstance(event, TaskChanged | ItemChanged):
                continue
            item = event.item if isinstance(event, ItemChanged) else None
            if item is not None:
                items[event.task] = max(items.get(event.task, 0), item + 1)
            key = (event.task, item)
            if event.state.type is StateType.RUNNING:
                since[key] = event.at
            elif key in since:
                took = max(0.0, (event.at - since.pop(key)) / 1e9)
                longest = whole if item is None else single
                longest[event.task] = max(longest.get(event.task, 0.0), took)
    return Measured(count, {**whole, **single}, items)
