"""How long an execution's history can get, and parts run as executions of their own where it would get too long.

Step Functions ends an execution at its 25,000th event. What is counted here is the worst case: every state goes through
all tries that it has. A part that is `Apart` is the one item of a distributed map: an execution of its own, with a
history of its own, in the same definition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagy.backends.decomposition import Apart, Parallel, Part, Series
from dagy.backends.limits import LIMITS

MOST_EVENTS = int(LIMITS["machine.events"].value)
BUDGET = 24_000  # of these: what AWS adds by itself is not documented to the last event

STEP = 5  # entered, scheduled, started, succeeded, exited
TRY_AGAIN = 3  # scheduled, started, failed
CONTAINER_STEP = 6  # submitted too
CONTAINER_TRY_AGAIN = 4
PASSED = 2  # entered, exited: a choice, a pass, a success
BRANCHES = 4  # of a parallel: entered, started, succeeded, exited
MAP = 4
ITEM = 2  # begun, ended
DISTRIBUTED = 8  # a map, and its map run
EXECUTION = 2  # started, ended
OWN = EXECUTION + PASSED  # what a part that is apart adds to its own history


def within(part: Part, events: Mapping[str, int], room: int) -> tuple[Part, int]:
    """`part` with pieces of it apart, so that it takes at most `room` events; and how many it takes.

    `events` says how many each task takes at worst, which must be well below `room`.
    """
    if isinstance(part, str):
        return part, events[part]
    if isinstance(part, Apart):
        return part, DISTRIBUTED
    own = 0 if isinstance(part, Series) else BRANCHES
    pieces = [within(each, events, room - own - OWN) for each in part.parts]
    while sum(taken for _, taken in pieces) + own > room:
        pieces = _some_apart(pieces, type(part), own, room)
    return type(part)(tuple(piece for piece, _ in pieces)), own + sum(taken for _, taken in pieces)


def aparts(part: Part) -> tuple[int, ...]:
    """How many events each part that is apart in `part`, however deep, has in its history at worst."""
    match part:
        case str():
            return ()
        case Apart(inner, events):
            return (events, *aparts(inner))
        case Series(parts) | Parallel(parts):
            return tuple(each for inner in parts for each in aparts(inner))


def _some_apart(
    pieces: Sequence[tuple[Part, int]], kind: type[Series] | type[Parallel], own: int, room: int
) -> list[tuple[Part, int]]:
    """The pieces in groups, of which as few are apart as must be, the largest first."""
    groups: list[list[tuple[Part, int]]] = []
    size = room
    for piece, taken in pieces:
        if size + taken > room - own - OWN:
            groups.append([])
            size = 0
        groups[-1].append((piece, taken))
        size += taken
    sizes = [sum(taken for _, taken in group) for group in groups]
    over = own + sum(sizes) - room
    for number in sorted(range(len(groups)), key=lambda each: -sizes[each]):
        if over <= 0:
            break
        group = groups[number]
        inner = group[0][0] if len(group) == 1 else kind(tuple(piece for piece, _ in group))
        groups[number] = [(Apart(inner, own + sizes[number] + OWN), DISTRIBUTED)]
        over -= sizes[number] - DISTRIBUTED
    return [each for group in groups for each in group]
