"""A run as it goes: a line on stderr for each task that begins or ends, whoever runs it."""

from __future__ import annotations

from collections.abc import Iterable

from dagy.cli import output
from dagy.drawing import PALETTE, duration
from dagy.engine import Event, TaskChanged
from dagy.states import StateType

_COLORS = {StateType.COMPLETED: "green", StateType.RETRYING: "yellow", StateType.RUNNING: None, StateType.SKIPPED: None}
_SILENT = {StateType.PENDING, StateType.QUEUED}


def show_progress(events: Iterable[Event]) -> None:
    """Print the changes of tasks among `events` as they come, until there are no more."""
    started: dict[str, int] = {}
    for event in events:
        if isinstance(event, TaskChanged) and event.state.type not in _SILENT:
            begin = started.setdefault(event.task, event.at)
            took = duration((event.at - begin) / 1e9) if event.state.is_final and event.attempt else ""
            output.note(_line(event, took), color=_COLORS.get(event.state.type, "red"))


def _line(event: TaskChanged, took: str) -> str:
    state = event.state.type
    words = [PALETTE[state].sign, event.task]
    if state is StateType.RUNNING and event.attempt > 1:
        words.append(f"attempt {event.attempt}")
    if state not in {StateType.RUNNING, StateType.COMPLETED}:
        words.append(str(event.state))
    elif event.state.message:
        words.append(f"({event.state.message})")
    return " ".join([*words, took]).rstrip()
