"""Where, across the direction of a picture, each vertex of its columns stands.

The method of Brandes and Köpf: vertices are strung with their middle neighbours into straight blocks, lines through
bends first; the blocks are packed as close as their sizes allow. That is done four times, looking back and ahead, from
the top and from the bottom, and each vertex is put in the middle of its four places. It takes linear time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from dagy.drawing.layers import Columns


def aligned(
    columns: Columns, above: Sequence[float], below: Sequence[float], drifts: Mapping[tuple[int, int], float]
) -> list[float]:
    """For each vertex its coordinate; u and v next to each other in a column are `below[u] + above[v]` apart or more.

    A line from u to v runs straight where v's coordinate is u's and `drifts[u, v]`, or u's where it is not in there.
    The coordinates may be negative; the caller moves them where they are wanted.
    """
    if not columns.order:
        return []
    barred = _barred(columns)
    results: list[list[float]] = []
    for ahead in (False, True):
        for mirrored in (False, True):
            order = [row[::-1] for row in columns.order] if mirrored else columns.order
            if ahead:
                order = order[::-1]
            sign = -1 if ahead != mirrored else 1
            shifts = {(v, u) if ahead else (u, v): sign * drift for (u, v), drift in drifts.items()}
            roots, offsets = _strung(order, columns.after if ahead else columns.before, barred, shifts)
            places = _packed(order, roots, offsets, *((below, above) if mirrored else (above, below)))
            results.append([-place for place in places] if mirrored else places)
    return _balanced(results, above, below)


def _barred(columns: Columns) -> set[tuple[int, int]]:
    """The pairs of neighbours, as (before, after), whose line crosses one that passes on between two bends."""
    count = columns.count
    barred: set[tuple[int, int]] = set()
    place = [0] * len(columns.column)
    for row in columns.order:
        for index, vertex in enumerate(row):
            place[vertex] = index
    for left, row in pairwise(columns.order):
        low, start = 0, 0
        for index, vertex in enumerate(row):
            inner = [each for each in columns.before[vertex] if each >= count] if vertex >= count else []
            if not inner and index < len(row) - 1:
                continue
            high = place[inner[0]] if inner else len(left) - 1
            for passed in row[start : index + 1]:
                for each in columns.before[passed]:
                    if not low <= place[each] <= high and not (each >= count and passed >= count):
                        barred.add((each, passed))
            start, low = index + 1, high
    return barred


def _strung(
    order: list[list[int]],
    neighbours: list[list[int]],
    barred: set[tuple[int, int]],
    shifts: Mapping[tuple[int, int], float],
) -> tuple[list[int], list[float]]:
    """For each vertex the first one of the straight block that it belongs to, and its offset from that one."""
    root = list(range(len(neighbours)))
    offset = [0.0] * len(neighbours)
    place = [0] * len(neighbours)
    for row in order:
        furthest = -1
        for index, vertex in enumerate(row):
            place[vertex] = index
            near = neighbours[vertex]
            if not near:
                continue
            if len(near) > 1:
                near = sorted(near, key=place.__getitem__)
                middle = (len(near) - 1) // 2
                near = near[middle : len(near) // 2 + 1]
            for each in near:
                if place[each] > furthest and (each, vertex) not in barred and (vertex, each) not in barred:
                    root[vertex] = root[each]
                    offset[vertex] = offset[each] + shifts.get((each, vertex), 0.0)
                    furthest = place[each]
                    break
    return root, offset


def _packed(
    order: list[list[int]],
    root: list[int],
    offset: list[float],
    above: Sequence[float],
    below: Sequence[float],
) -> list[float]:
    """The blocks as far to the start as they go, then back to where the next one holds them."""
    followers: dict[int, dict[int, float]] = {}
    waiting = [0] * len(root)
    for row in order:
        for left, right in pairwise(row):
            apart = below[left] + above[right] + offset[left] - offset[right]
            first, second = root[left], root[right]
            gaps = followers.setdefault(first, {})
            known = gaps.get(second)
            if known is None:
                waiting[second] += 1
                gaps[second] = apart
            elif apart > known:
                gaps[second] = apart
    ready = [vertex for row in order for vertex in row if root[vertex] == vertex and not waiting[vertex]]
    place = [0.0] * len(root)
    for block in ready:  # grows while it is read
        here = place[block]
        for second, apart in followers.get(block, {}).items():
            if here + apart > place[second]:
                place[second] = here + apart
            waiting[second] -= 1
            if not waiting[second]:
                ready.append(second)
    for block in reversed(ready):
        gaps = followers.get(block, {})
        if gaps:
            place[block] = min([place[second] - apart for second, apart in gaps.items()])
    return [place[block] + far for block, far in zip(root, offset, strict=True)]


def _balanced(results: list[list[float]], above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The four results moved to the narrowest one's edge, and the mean of the two in the middle."""
    edges = []
    for places in results:
        low = min([place - part for place, part in zip(places, above, strict=True)])
        high = max([place + part for place, part in zip(places, below, strict=True)])
        edges.append((low, high))
    low, high = min(edges, key=lambda edge: edge[1] - edge[0])
    moves = [high - edge[1] if index % 2 else low - edge[0] for index, edge in enumerate(edges)]
    first, second, third, fourth = ([place + move for place in each] for each, move in zip(results, moves, strict=True))
    return [(sum(four) - min(four) - max(four)) / 2 for four in zip(first, second, third, fourth, strict=True)]
