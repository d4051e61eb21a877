"""Which column of a picture each vertex stands in, and in which order the columns' vertices stand.

The first two steps of a layered drawing. Vertices are numbers: `0 .. count - 1` are the caller's own; higher ones are
*bends*, empty places that a line passes in a column between its ends, so that lines take part in the ordering as boxes
do. Lines with one end in common share their bends: a task that feeds ten far ones draws one line that branches.
A line may meet its vertex off the middle, at a *joint*, which to the ordering is a place of its own beside the vertex.
Nothing here recurses, and the number of bends is bounded, so that neither depth nor density is a limit.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeAlias

OUTSIDE = -1  # in place of a vertex: the line comes from before the first column, or goes on behind the last

End: TypeAlias = tuple[str, str]  # a box and, where a line meets it at one, the port's name


class Link(NamedTuple):
    """A line to draw from vertex `start` to vertex `end`; lines of the same `source` or `target` may share bends.

    `leaves` and `enters` say where on these vertices it does so: 0 is in the middle, -0.4 near the upper end.
    """

    source: End
    target: End
    start: int
    end: int
    leaves: float = 0.0
    enters: float = 0.0


class Route(NamedTuple):
    """The part of a trunk from its bend number `first` to its bend number `final`, both included."""

    trunk: int
    first: int
    final: int


@dataclass(slots=True)
class Columns:
    """The vertices in columns, each column in order.

    `before` and `after` hold a vertex's neighbours in the columns next to its own, bends included. A trunk is a string
    of bends, one a column; `routes` holds for each link that passes columns which part of which trunk it takes. The
    links in `free` were too many to be given bends.

    Joints have numbers above those of all vertices: `joints` holds for a vertex its own, each with where it is on it.
    `inlets` and `outlets` are `before` and `after` with the neighbours' joints instead of these, and `bundles` are the
    outlets by the vertex's own joint, from the uppermost. `off` holds for the lines that meet a vertex off its middle
    where they do so at either end.
    """

    count: int
    column: list[int]
    order: list[list[int]] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)
    after: list[list[int]] = field(default_factory=list)
    joints: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    inlets: list[list[int]] = field(default_factory=list)
    outlets: list[list[int]] = field(default_factory=list)
    bundles: list[list[list[int]]] = field(default_factory=list)
    off: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    trunks: list[list[int]] = field(default_factory=list)
    routes: dict[Link, Route] = field(default_factory=dict)
    free: set[Link] = field(default_factory=set)


def arranged(count: int, links: Sequence[Link]) -> Columns | frozenset[int]:
    """`count` vertices in columns with few crossings, or, where they go in a circle, the vertices it holds back."""
    column = _ranked(count, links)
    if isinstance(column, frozenset):
        return column
    columns = Columns(count, column)
    _bend(columns, links)
    _sort(columns)
    return columns


def _ranked(count: int, links: Sequence[Link]) -> list[int] | frozenset[int]:
    """For each vertex its column: as early as may be, then later where that shortens more lines than it stretches."""
    pairs = dict.fromkeys((link.start, link.end) for link in links if link.start >= 0 and link.end >= 0)
    parents: list[list[int]] = [[] for _ in range(count)]
    children: list[list[int]] = [[] for _ in range(count)]
    for start, end in pairs:
        parents[end].append(start)
        children[start].append(end)
    waiting = [len(given) for given in parents]
    order = [vertex for vertex in range(count) if not waiting[vertex]]
    column = [0] * count
    for vertex in order:  # grows while it is read
        for child in children[vertex]:
            column[child] = max(column[child], column[vertex] + 1)
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    if len(order) < count:
        return frozenset(vertex for vertex in range(count) if waiting[vertex])
    held = Counter(link.end for link in links if link.start < 0)
    for vertex in reversed(order):
        if len(children[vertex]) > len(parents[vertex]) + held[vertex]:
            column[vertex] = min(column[child] for child in children[vertex]) - 1
    return column


_Segment: TypeAlias = tuple[int, int, float, float]  # of a line, from a vertex to one in the next column, as in Link


def _bend(columns: Columns, links: Sequence[Link]) -> None:
    """Fill in the neighbours, and bends for the links that pass columns."""
    column, count = columns.column, columns.count
    last = max(column, default=0)

    def span(link: Link) -> tuple[int, int]:
        """The first and the last column that the link passes between its ends."""
        first = column[link.start] + 1 if link.start >= 0 else 0
        return first, (column[link.end] - 1 if link.end >= 0 else last)

    passing = [(link, *span(link)) for link in dict.fromkeys(links)]
    sources = Counter(link.source for link, first, final in passing if first <= final)
    targets = Counter(link.target for link, first, final in passing if first <= final and link.end >= 0)
    trunks: dict[tuple[str, End], list[tuple[Link, int, int]]] = {}
    straight: dict[_Segment, None] = {}
    for link, first, final in passing:
        if first > final:
            if link.start >= 0 and link.end >= 0:
                straight[link.start, link.end, link.leaves, link.enters] = None
        elif link.start >= 0 and link.end >= 0 and targets[link.target] > sources[link.source]:
            trunks.setdefault(("to", link.target), []).append((link, first, final))
        else:
            trunks.setdefault(("from", link.source), []).append((link, first, final))

    columns.before = [[] for _ in range(count)]
    columns.after = [[] for _ in range(count)]
    joined = straight
    budget = 4 * count + 400
    spans = {key: (min(each[1] for each in trunk), max(each[2] for each in trunk)) for key, trunk in trunks.items()}
    for key in sorted(trunks, key=lambda each: spans[each][1] - spans[each][0]):
        begin, end = spans[key]
        budget -= end - begin + 1
        if budget < 0:
            columns.free.update(link for link, _, _ in trunks[key])
            continue
        bends = list(range(len(column), len(column) + end - begin + 1))
        column.extend(range(begin, end + 1))
        joined.update(dict.fromkeys((*pair, 0.0, 0.0) for pair in pairwise(bends)))
        for link, first, final in trunks[key]:
            columns.routes[link] = Route(len(columns.trunks), first - begin, final - begin)
            if link.start >= 0:
                joined[link.start, bends[first - begin], link.leaves, 0.0] = None
            if link.end >= 0:
                joined[bends[final - begin], link.end, 0.0, link.enters] = None
        columns.trunks.append(bends)
    columns.before.extend([] for _ in range(len(column) - count))
    columns.after.extend([] for _ in range(len(column) - count))
    for start, finish, _, _ in joined:
        columns.after[start].append(finish)
        columns.before[finish].append(start)
    _join(columns, joined)


def _join(columns: Columns, segments: Iterable[_Segment]) -> None:
    """Fill in the joints, and what meets whom at which of them."""
    columns.inlets, columns.outlets = columns.before, columns.after
    columns.bundles = [[each] for each in columns.after]
    if not any(leaves or enters for _, _, leaves, enters in segments):
        return
    size = len(columns.column)
    numbers: dict[tuple[int, float], int] = {}

    def joint(vertex: int, at: float) -> int:
        if not at:
            return vertex
        number = numbers.get((vertex, at))
        if number is None:
            number = numbers[vertex, at] = size + len(numbers)
            columns.joints.setdefault(vertex, []).append((number, at))
        return number

    columns.inlets, columns.outlets = [[] for _ in range(size)], [[] for _ in range(size)]
    bundles: list[dict[float, list[int]]] = [{} for _ in range(size)]
    for start, finish, leaves, enters in segments:
        columns.off.setdefault((start, finish), (leaves, enters))
        columns.inlets[finish].append(joint(start, leaves))
        columns.outlets[start].append(joint(finish, enters))
        bundles[start].setdefault(leaves, []).append(columns.outlets[start][-1])
    columns.bundles = [[bundle for _, bundle in sorted(each.items())] for each in bundles]


def _sort(columns: Columns) -> None:
    """Order each column so that few lines cross: sweeps to and fro, of which the best is kept."""
    size = len(columns.column)
    segments = sum(map(len, columns.after))
    comparing = segments <= 12_000
    best: list[list[int]] = []
    least = -1
    for order in _first_orders(columns, both=size <= 1_500):
        place: list[float] = [0] * (size + sum(map(len, columns.joints.values())))
        for row in order:
            _note(columns, place, row)
        sweeps = 12 if size <= 1_500 else 6 if size <= 4_000 else 4
        since_best = 0
        for sweep in range(sweeps + 1):
            if sweep:
                _sweep(columns, order, place, forward=sweep % 2 == 1)
                if size <= 1_500:
                    _swap_neighbours(columns, order, place)
            if not comparing:
                best = order
                continue
            crossings = _crossings(columns, order, place)
            since_best += 1
            if least < 0 or crossings < least:
                least, best, since_best = crossings, [list(row) for row in order], 0
            if not crossings or since_best == 4:
                break
        if not least or not comparing:
            break
    columns.order = best


def _first_orders(columns: Columns, *, both: bool) -> Iterable[list[list[int]]]:
    """Families together, each followed from its first member; then, if `both`, the order in which they were given."""
    depth = max(columns.column, default=-1) + 1
    order: list[list[int]] = [[] for _ in range(depth)]
    seen = bytearray(len(columns.column))
    for root in range(len(columns.column)):
        todo = [root] if not columns.before[root] else []
        while todo:
            vertex = todo.pop()
            if not seen[vertex]:
                seen[vertex] = 1
                order[columns.column[vertex]].append(vertex)
                todo.extend(reversed(columns.after[vertex]))
    yield order
    if both:
        given: list[list[int]] = [[] for _ in range(depth)]
        for vertex, column in enumerate(columns.column):
            given[column].append(vertex)
        yield given


def _sweep(columns: Columns, order: list[list[int]], place: list[float], *, forward: bool) -> None:
    """Sort each column by the mean place of its vertices' neighbours; what has none keeps its place."""
    neighbours = columns.inlets if forward else columns.outlets
    for row in order[1:] if forward else order[-2::-1]:
        means = {}
        for vertex in row:
            near = neighbours[vertex]
            if near:
                means[vertex] = place[near[0]] if len(near) == 1 else sum([place[each] for each in near]) / len(near)
        moved = iter(sorted(means, key=means.__getitem__))
        row[:] = [next(moved) if vertex in means else vertex for vertex in row]
        _note(columns, place, row)


_COMPARED = 100  # pairs of lines, at most, that are compared to find whether two vertices had better be swapped


def _swap_neighbours(columns: Columns, order: list[list[int]], place: list[float]) -> None:
    """Swap vertices that stand next to each other wherever fewer lines cross after it."""
    for row in order:
        for index in range(len(row) - 1):
            left, right = row[index], row[index + 1]
            gain = 0
            for neighbours in (columns.inlets, columns.outlets):
                mine, other = neighbours[left], neighbours[right]
                if mine and other and len(mine) * len(other) <= _COMPARED:
                    rights = [place[each] for each in other]
                    for each in mine:
                        here = place[each]
                        for there in rights:
                            gain += (here > there) - (here < there)
            if gain > 0:
                row[index], row[index + 1] = right, left
                _note(columns, place, row[index : index + 2], index)


def _crossings(columns: Columns, order: list[list[int]], place: list[float]) -> int:
    total = 0
    for row in order:
        seen: list[float] = []
        for vertex in row:
            for bundle in columns.bundles[vertex]:
                ends = sorted([place[each] for each in bundle])
                for end in ends:
                    total += len(seen) - bisect_right(seen, end)
                if not seen or (ends and ends[0] >= seen[-1]):
                    seen.extend(ends)
                else:
                    for end in ends:
                        insort(seen, end)
    return total


def _note(columns: Columns, place: list[float], row: Sequence[int], first: int = 0) -> None:
    """Note the places of the vertices in `row`, which begin with number `first`, and of their joints."""
    for index, vertex in enumerate(row, first):
        place[vertex] = index
    if columns.joints:
        for vertex in row:
            for joint, at in columns.joints.get(vertex, ()):
                place[joint] = place[vertex] + at
