"""The words on a picture: names cut to length, how wide a text is, times, and what a run comes to in one line."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from dagy.drawing.style import PALETTE
from dagy.spec import FlowSpec
from dagy.states import State, StateType

States: TypeAlias = Mapping[str, State | StateType]
Marks: TypeAlias = Mapping[str, str]  # by task id, one or two words that set the task apart: "edited"

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400  # seconds

# The width of ASCII characters in a common sans-serif face, in hundredths of the font's size, on the generous side.
_WIDTHS: dict[str, int] = (
    dict.fromkeys("ijl.,:;'|!", 30) | dict.fromkeys('frtI()[]{}" -/\\*`', 40) | dict.fromkeys("mwMW%@", 92)
)
_WIDTHS |= dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ&#+<=>~", 71) | {"_": 57}


def kinds(states: States) -> dict[str, StateType]:
    """For each task's id the kind of its state."""
    return {task_id: state if isinstance(state, StateType) else state.type for task_id, state in states.items()}


def names(spec: FlowSpec) -> dict[str, str]:
    """For each task's id what to call it: its name, or its id where several tasks have the same name.

    A mapped task is called `fetch[…]`, as its items are `fetch[0]`, `fetch[1]`, ...
    """
    times = Counter(task.name for task in spec.tasks)
    return {
        task.id: (task.name if times[task.name] == 1 else task.id) + ("[…]" if task.mapped else "")
        for task in spec.tasks
    }


def elided(text: str, limit: int = 28) -> str:
    """`text`, or its start and its end with `…` between them, so that it takes at most `limit` columns."""
    if text.isascii():
        if len(text) <= limit:
            return text
        return f"{text[: limit - limit // 3 - 1]}…{text[-(limit // 3) :]}"
    if len(text) <= limit and columns(text) <= limit:
        return text
    tail = _start(text[: -limit - 1 : -1], limit // 3)[::-1]
    return f"{_start(text, limit - 1 - columns(tail))}…{tail}"


def columns(text: str) -> int:
    """How many columns `text` takes on a terminal: two for wide characters, none for those that join others."""
    return len(text) if text.isascii() else sum([_columns_of(each) for each in text])


def width(text: str, size: float) -> float:
    """About how wide `text` is, in pixels, in a sans-serif font of `size` pixels."""
    hundredths = 0
    for character in text:
        known = _WIDTHS.get(character)
        hundredths += known if known is not None else 58 if character.isascii() else 58 * _columns_of(character)
    return hundredths * size / 100


def duration(seconds: float) -> str:
    """A time for people: `<1 ms`, `12 ms`, `1.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def ago(seconds: float) -> str:
    """How long ago something was, roughly: `just now`, `5 min ago`, `3 h ago`, `12 days ago`."""
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h ago"
    return f"{counted(int(seconds // _DAY), 'day')} ago"


def counted(number: int, thing: str) -> str:
    """`1 task`, `2 tasks`, `5,000 tasks`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def tally(states: Mapping[str, StateType]) -> str:
    """How many tasks are in which state: `4 completed, 1 failed`."""
    times = Counter(states.values())
    return ", ".join(f"{times[kind]:,} {look.label}" for kind, look in PALETTE.items() if times[kind])


def summary(spec: FlowSpec, states: States | None, marks: Marks | None = None) -> str:
    """The flow in one line: `web_scraper: 6 tasks, 4 completed, 1 failed, 1 skipped`, and how many have which mark."""
    known = {} if states is None else kinds(states)
    mine = {} if states is None else {task.id: known.get(task.id, StateType.PENDING) for task in spec.tasks}
    times = Counter(words for task in spec.tasks if (words := (marks or {}).get(task.id)))
    marked = ", ".join(f"{number:,} {words}" for words, number in times.items())
    return ", ".join(filter(None, [f"{spec.name}: {counted(len(spec.tasks), 'task')}", tally(mine), marked]))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _start(text: str, limit: int) -> str:
    """As much of the start of `text` as takes at most `limit` columns."""
    taken = 0
    for index, character in enumerate(text):
        taken += _columns_of(character)
        if taken > limit or index >= 4 * limit:
            return text[:index]
    return text
