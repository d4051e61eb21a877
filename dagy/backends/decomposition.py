"""A graph as steps one after the other and side by side, which is all that a language of nested branches can say.

`decompose` finds what goes in series and what goes in parallel in the partial order of the tasks. Many graphs are made
of nothing else. Where a part is not (it holds an "N": a before c, a and b before d), it is cut in two between two
levels, and all of the first half comes before the second: right for every graph, at the price of some waiting.

Two facts keep it cheap. The parts that go in parallel are those that no edge joins. And when the tasks of a joined part
are sorted by how many come before them, it can be cut in front of the task at place k exactly when k come before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dagy.graph import ordered

MOST_NESTED = 16  # parallels inside each other; what would be deeper is cut into levels


@dataclass(frozen=True, slots=True)
class Series:
    """Parts that come one after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """Parts that go on side by side."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Apart:
    """A part that runs as an execution of its own: see `dagy.backends.history`. `decompose` makes none."""

    part: Part
    events: int  # at worst, in its history


Part: TypeAlias = str | Series | Parallel | Apart  # a string is a task


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The parts, and in front of how many tasks stands a cut that the graph does not ask for."""

    root: Part
    waiting: int


def decompose(needs: Mapping[str, Collection[str]], *, flow: str) -> Decomposition:
    """The graph `{name: the names it needs}`, which has a name at least, as parts that keep its order.

    Raises `CycleError`, which names `flow`. Near linear in the number of edges, but for sets of bits, one a task.
    """
    order = ordered(needs, flow=flow)
    number = {name: each for each, name in enumerate(order)}
    upstream = [[number[each] for each in needs[name] if each in number] for name in order]
    cutter = _Cutter(order, upstream)
    root = cutter.part(range(len(order)), None, 0)
    return Decomposition(root, cutter.waiting)


class _Cutter:
    """Cuts blocks of tasks: a block is their numbers, in an order that the edges allow."""

    def __init__(self, names: Sequence[str], upstream: Sequence[Sequence[int]]) -> None:
        self._names = names
        self._upstream = upstream
        self.waiting = 0

    def part(self, block: Sequence[int], before: Mapping[int, int] | None, nesting: int) -> Part:
        """What `block` is made of; `before` says how many tasks of a block around it come before each."""
        if len(block) == 1:
            return self._names[block[0]]
        before = before or self._counted(block)
        pieces = self._joined(block)
        if len(pieces) > 1:
            if nesting + 1 < MOST_NESTED or all(len(_cut_in_series(each, before)) == len(each) for each in pieces):
                return Parallel(tuple(self.part(each, before, nesting + 1) for each in pieces))
            return self._by_level(self._levels(block))
        pieces = _cut_in_series(block, before)
        if len(pieces) > 1:
            return _series([self.part(each, before, nesting) for each in pieces])
        levels = self._levels(block)
        if len(levels) == 2:
            return self._by_level(levels)
        middle = len(levels) // 2
        halves = [sorted(each for level in half for each in level) for half in (levels[:middle], levels[middle:])]
        self.waiting += len(levels[middle])
        return _series([self.part(half, None, nesting) for half in halves])

    def _by_level(self, levels: Sequence[Sequence[int]]) -> Series:
        """Each level wholly before the next."""
        self.waiting += sum(map(len, levels[1:]))
        parts = [tuple(self._names[each] for each in level) for level in levels]
        return Series(tuple(each[0] if len(each) == 1 else Parallel(each) for each in parts))

    def _inside(self, block: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Each of the block with what it needs of the block."""
        members = set(block)
        for each in block:
            yield each, [other for other in self._upstream[each] if other in members]

    def _counted(self, block: Sequence[int]) -> dict[int, int]:
        """How many tasks of the block come before each, directly or not."""
        place = {each: 1 << bit for bit, each in enumerate(block)}
        above: dict[int, int] = {}
        for each, needed in self._inside(block):
            bits = 0
            for other in needed:
                bits |= above[other] | place[other]
            above[each] = bits
        return {each: bits.bit_count() for each, bits in above.items()}

    def _joined(self, block: Sequence[int]) -> list[list[int]]:
        """The block in pieces between which no edge goes."""
        leader = {each: each for each in block}

        def led(each: int) -> int:
            while leader[each] != each:
                leader[each] = each = leader[leader[each]]
            return each

        for each, needed in self._inside(block):
            for other in needed:
                leader[led(other)] = led(each)
        pieces: dict[int, list[int]] = {}
        for each in block:
            pieces.setdefault(led(each), []).append(each)
        return list(pieces.values())

    def _levels(self, block: Sequence[int]) -> list[list[int]]:
        """The block by how long the longest way to each is."""
        depth: dict[int, int] = {}
        levels: list[list[int]] = []
        for each, needed in self._inside(block):
            depth[each] = level = max((depth[other] + 1 for other in needed), default=0)
            if level == len(levels):
                levels.append([])
            levels[level].append(each)
        return levels


def _cut_in_series(block: Sequence[int], before: Mapping[int, int]) -> list[list[int]]:
    """The joined `block` in pieces of which each comes wholly before the next."""
    by_count = sorted(block, key=before.__getitem__)
    base = before[by_count[0]]
    pieces: list[list[int]] = []
    for place, each in enumerate(by_count):
        if before[each] - base == place:
            pieces.append([])
        pieces[-1].append(each)
    return [sorted(piece) for piece in pieces]


def _series(parts: Sequence[Part]) -> Series:
    """The parts one after the other, without a series inside."""
    return Series(tuple(inner for part in parts for inner in (part.parts if isinstance(part, Series) else (part,))))
