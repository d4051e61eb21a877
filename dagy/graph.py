"""Names and edges only: an order in which to go, and the circle if there is one.

A graph is given as `{name: the names it needs}`. Nothing here recurses, so depth is no limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from dagy.errors import CycleError


def ordered(needs: Mapping[str, Iterable[str]], *, flow: str) -> list[str]:
    """The names so that each comes after what it needs; ties keep the order given.

    Raises `CycleError`, which names `flow` and the shortest circle, when there is no such order.
    """
    upstream = {name: [each for each in dict.fromkeys(given) if each in needs] for name, given in needs.items()}
    downstream = downstream_of(upstream)
    waiting = {name: len(given) for name, given in upstream.items()}
    ready = deque(name for name, count in waiting.items() if not count)
    order: list[str] = []
    while ready:
        name = ready.popleft()
        order.append(name)
        for child in downstream[name]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    if len(order) < len(upstream):
        stuck = {name: [each for each in upstream[name] if waiting[each]] for name in upstream if waiting[name]}
        raise CycleError(flow, shortest_cycle(stuck))
    return order


def downstream_of(needs: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The same graph the other way round: `{name: the names that need it}`."""
    children: dict[str, list[str]] = {name: [] for name in needs}
    for name, given in needs.items():
        for each in given:
            children[each].append(name)
    return children


def shortest_cycle(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """A shortest circle in the direction of the work, its first name again at the end; empty when there is none.

    In a large graph only the circles through the first names are compared, so that the answer comes at once.
    """
    downstream = downstream_of(needs)
    best: list[str] = []
    for start in list(needs)[: max(1, 300_000 // (len(needs) or 1))]:
        came_from: dict[str, str] = {}
        queue = deque([start])
        while queue and start not in came_from:
            name = queue.popleft()
            for child in downstream[name]:
                if child not in came_from:
                    came_from[child] = name
                    queue.append(child)
        if start in came_from:
            path = [start]
            while len(path) == 1 or path[-1] != start:
                path.append(came_from[path[-1]])
            path.reverse()
            if not best or len(path) < len(best):
                best = path
            if len(best) <= 3:
                break
    return best
