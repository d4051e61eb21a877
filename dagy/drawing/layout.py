"""Where everything in a picture of a graph stands: a box for each task, a line for each need, a frame for each group.

A layered layout: tasks stand in columns so that every line goes forward, the columns are ordered so that few lines
cross (`layers`), and tasks are put so that lines run straight (`alignment`). A group is laid out by itself and then
stands in its surroundings as one big box, so frames never overlap what is not theirs. Pure and deterministic: the same
graph gives the same numbers.

Inside, every picture goes to the right, in the coordinates *along* and *across*; only the result is turned.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import add
from typing import Literal, NamedTuple, TypeAlias

from dagy.drawing.alignment import aligned
from dagy.drawing.layers import OUTSIDE, Columns, End, Link, arranged
from dagy.graph import ordered

Direction: TypeAlias = Literal["right", "down"]
Group: TypeAlias = tuple[str, ...]  # the names of the groups around a task, outermost first


class Point(NamedTuple):
    """A place in the picture, in pixels from its upper left corner."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle in the picture, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Wire(NamedTuple):
    """A line from a task to one that needs it, and the ports where it meets their boxes, if it does so at any."""

    source: str
    target: str
    outlet: str = ""
    inlet: str = ""


class Ports(NamedTuple):
    """Where lines meet a box: pixels across the direction, from the box's upper left corner.

    A line of none of its ports meets it at the port called "", or else at `level`. A box is brought in line with its
    neighbours by its `level`.
    """

    level: float
    inlets: Mapping[str, float]
    outlets: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """A finished layout, in pixels.

    A path holds the points that a line from task to task passes, from box to box. Between two points it either goes
    straight along the direction, or has to swing from one level to another, which it has the space to do.
    """

    direction: Direction
    boxes: dict[str, Box]
    paths: dict[Wire, tuple[Point, ...]]
    frames: dict[Group, Box]
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Spacing:
    """The empty space in a picture, in pixels."""

    columns: float  # between columns, at least
    tasks: float  # between tasks in a column
    lines: float  # between lines, and between a line and a task
    frame: float  # between a frame and what is in it
    label: float  # more of it on the upper side, for the frame's label
    margin: float = 8.0  # around the picture


SPACING: dict[Direction, Spacing] = {
    "right": Spacing(columns=44, tasks=16, lines=10, frame=16, label=14),
    "down": Spacing(columns=40, tasks=24, lines=14, frame=16, label=14),
}


def layout(
    needs: Mapping[str, Sequence[str]],
    sizes: Mapping[str, tuple[float, float]],
    *,
    direction: Direction,
    groups: Mapping[str, Group] | None = None,
    wires: Sequence[Wire] | None = None,
    ports: Mapping[str, Ports] | None = None,
    flow: str = "",
) -> Layout:
    """The layout of the graph `{name: the names it needs}`, with boxes of the given (width, height).

    `wires` are the lines, by default one for each need. A line meets a box at the box's port that the wire names, and
    a box that is not in `ports` in the middle of its side.

    Along the direction the boxes of a column are all made as long as the longest, so that their edges are in line.
    Names that are needed but not in the graph are passed over. A group that could not stand as one box, because a path
    leaves it and comes back, gets no frame. Raises `CycleError`, naming `flow`, when the graph goes in a circle.
    """
    groups = groups or {}
    home: dict[str, Group] = {name: groups.get(name, ()) for name in needs}
    if wires is None:
        wires = [Wire(each, name) for name, given in needs.items() for each in given]
    wires = [each for each in dict.fromkeys(wires) if each.source in needs and each.target in needs]
    spacing = SPACING[direction]
    while True:
        extents = {name: size if direction == "right" else (size[1], size[0]) for name, size in sizes.items()}
        meeting = _Meeting(extents, ports or {})
        containers = _containers(home, wires, meeting)
        held_back = _arrange(containers, meeting, spacing, direction)
        if not held_back:
            break
        if not any(held_back):
            ordered(needs, flow=flow)  # raises: the tasks themselves go in a circle
        home = {name: _without(group, held_back) for name, group in home.items()}
    return _finished(containers, home, wires, meeting, spacing, direction)


@dataclass(frozen=True, slots=True)
class _Meeting:
    """How large boxes are, as (along, across), and where across they meet lines, from their own corner."""

    extents: dict[str, tuple[float, float]]
    ports: Mapping[str, Ports]

    def level(self, name: str) -> float:
        """What is brought in line with other boxes'."""
        own = self.ports.get(name)
        return self.extents[name][1] / 2 if own is None else own.level

    def leaves(self, name: str, outlet: str) -> float:
        """Where a line leaves the box."""
        own = self.ports.get(name)
        return self.extents[name][1] / 2 if own is None else own.outlets.get(outlet, own.level)

    def enters(self, name: str, inlet: str) -> float:
        """Where a line enters the box."""
        own = self.ports.get(name)
        return self.extents[name][1] / 2 if own is None else own.inlets.get(inlet, own.level)


@dataclass(slots=True)
class _Container:
    """The whole picture, or one group: its own tasks and, as boxes, the groups directly in it."""

    path: Group
    members: dict[str | Group, int] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    columns: Columns = field(default_factory=lambda: Columns(0, []))
    across: list[float] = field(default_factory=list)  # a vertex's level, from the container's own corner
    starts: list[float] = field(default_factory=list)  # where a column starts, from the container's own corner
    ends: list[float] = field(default_factory=list)
    turns: list[list[int]] = field(default_factory=list)  # for each trunk the numbers of the bends on a new level
    size: tuple[float, float] = (0.0, 0.0)  # along, across
    lane: float = 0.0  # the level for lines that have no bends
    exits: dict[End, float] = field(default_factory=dict)  # the levels on which lines leave it, by their source
    along_of: float = 0.0  # its own corner in the picture
    across_of: float = 0.0

    def sort_links(self, containers: Mapping[Group, _Container]) -> None:
        """Put the lines that start in an inner group in the order in which they leave it."""
        groups = {vertex: containers[key] for key, vertex in self.members.items() if isinstance(key, tuple)}
        if groups:
            self.links.sort(key=lambda link: groups[link.start].exits[link.source] if link.start in groups else 0.0)

    def stretch(self, extents: dict[str, tuple[float, float]]) -> None:
        """Make the tasks of each column as long as the longest of them."""
        longest: dict[int, float] = {}
        mine = [(key, self.columns.column[vertex]) for key, vertex in self.members.items() if isinstance(key, str)]
        for name, column in mine:
            longest[column] = max(longest.get(column, 0.0), extents[name][0])
        for name, column in mine:
            extents[name] = (longest[column], extents[name][1])

    def measure(
        self,
        containers: Mapping[Group, _Container],
        meeting: _Meeting,
        spacing: Spacing,
        direction: Direction,
    ) -> None:
        """Give every member its place, from the container's own corner, and the container its size."""
        columns = self.columns
        sizes = [containers[key].size if isinstance(key, tuple) else meeting.extents[key] for key in self.members]
        bends = len(columns.column) - columns.count
        above = [
            containers[key].size[1] / 2 if isinstance(key, tuple) else meeting.level(key) for key in self.members
        ] + [0.0] * bends
        below = [across - part for (_, across), part in zip(sizes, above, strict=False)] + [0.0] * bends
        apart = [spacing.tasks / 2] * columns.count + [spacing.lines / 2] * bends
        before, after, low, high = _padding(bool(self.path), spacing, direction)
        tall = [2 * across for _, across in sizes] + [0.0] * bends
        drifts = {(u, v): leaves * tall[u] - enters * tall[v] for (u, v), (leaves, enters) in columns.off.items()}
        levels = aligned(columns, [*map(add, above, apart)], [*map(add, below, apart)], drifts)
        least = min([level - part for level, part in zip(levels, above, strict=True)], default=0.0)
        self.across = [_quartered(level - least + low) for level in levels]
        most = max([level + part for level, part in zip(self.across, below, strict=True)], default=low)
        if columns.free:
            self.lane = most + 2 * spacing.lines
            most = self.lane
        along = before
        gap = 0.0
        for index, row in enumerate(columns.order):
            self.starts.append(along + gap)
            along += gap + max([sizes[vertex][0] for vertex in row if vertex < columns.count], default=0.0)
            self.ends.append(along)
            gap = self._gap(index, spacing)
        keys = list(self.members)
        for link in self.links:
            if link.end == OUTSIDE:
                route, key = columns.routes.get(link), keys[link.start]
                within = containers[key].exits if isinstance(key, tuple) else None
                inner = (within[link.source] if within else meeting.leaves(*link.source)) - above[link.start]
                self.exits[link.source] = (
                    self.across[columns.trunks[route.trunk][route.final]] if route else self.across[link.start] + inner
                )
        label = 7.5 * min(len(self.path[-1]), 28) + 36 if self.path else 0.0
        long, wide = along + after, most + high
        self.size = (max(long, label), wide) if direction == "right" else (long, max(wide, label))

    def straight_parts(self, link: Link) -> Iterator[tuple[int, int]]:
        """The first and the last bend of each part of the link's route that runs on one level."""
        route = self.columns.routes.get(link)
        if route is None:
            return
        if not self.turns:
            self.turns = [self._turns(trunk) for trunk in self.columns.trunks]
        trunk, turns = self.columns.trunks[route.trunk], self.turns[route.trunk]
        first = route.first
        for turn in turns[bisect_right(turns, route.first) : bisect_right(turns, route.final)]:
            yield trunk[first], trunk[turn - 1]
            first = turn
        yield trunk[first], trunk[route.final]

    def _turns(self, trunk: Sequence[int]) -> list[int]:
        levels = [self.across[bend] for bend in trunk]
        return [index for index, (one, other) in enumerate(pairwise(levels), 1) if one != other]

    def _gap(self, index: int, spacing: Spacing) -> float:
        """The space behind a column: more of it where lines have far to swing, so that they stay gentle."""
        columns, across = self.columns, self.across
        row = columns.order[index]
        swing = max([abs(across[each] - across[v]) for v in row for each in columns.after[v]], default=0.0)
        return spacing.columns + _quartered(min(0.1 * swing, 1.5 * spacing.columns))


def _quartered(pixels: float) -> float:
    """To a quarter of a pixel: sums of quarters are exact, so that what is in line stays in line."""
    return round(pixels * 4) / 4


def _containers(home: Mapping[str, Group], wires: Sequence[Wire], meeting: _Meeting) -> dict[Group, _Container]:
    containers: dict[Group, _Container] = {(): _Container(())}
    for name, group in home.items():
        for depth in range(len(group)):
            path = group[: depth + 1]
            if path not in containers:
                containers[path] = _Container(path)
                parent = containers[group[:depth]]
                parent.members[path] = len(parent.members)
        inside = containers[group].members
        inside[name] = len(inside)
    for wire in wires:
        for path, start, end in _passed(home[wire.source], home[wire.target]):
            containers[path].links.append(_link(containers[path], wire, start, end, meeting))
    return containers


def _link(container: _Container, wire: Wire, start: Group | None, end: Group | None, meeting: _Meeting) -> Link:
    """The part of the wire in the container, from and to the groups in it that `_passed` gives."""
    members, ports, path = container.members, meeting.ports, container.path
    source, target, outlet, inlet = wire
    leaves = enters = 0.0
    if start == path and source in ports:
        leaves = (meeting.leaves(source, outlet) - meeting.level(source)) / (2 * meeting.extents[source][1])
    if end == path and target in ports:
        enters = (meeting.enters(target, inlet) - meeting.level(target)) / (2 * meeting.extents[target][1])
    return Link(
        (source, outlet),
        (target, inlet),
        OUTSIDE if start is None else members[source if start == path else start],
        OUTSIDE if end is None else members[target if end == path else end],
        leaves,
        enters,
    )


def _passed(start: Group, end: Group) -> Iterator[tuple[Group, Group | None, Group | None]]:
    """The containers that a line passes, from the inside of `start` to the inside of `end`.

    With each goes the group in it where the line starts there and where it ends there: the container's own path when
    it is a task of its own, and None when it is outside.
    """
    shared = 0
    while shared < min(len(start), len(end)) and start[shared] == end[shared]:
        shared += 1
    for depth in range(len(start), shared, -1):
        yield start[:depth], start[: depth + 1], None
    yield start[:shared], start[: shared + 1], end[: shared + 1]
    for depth in range(shared + 1, len(end) + 1):
        yield end[:depth], None, end[: depth + 1]


def _arrange(
    containers: Mapping[Group, _Container], meeting: _Meeting, spacing: Spacing, direction: Direction
) -> set[Group]:
    """Lay out every container, innermost first; the groups that a circle holds back, and () for tasks held back."""
    held_back: set[Group] = set()
    for path in sorted(containers, key=len, reverse=True):
        container = containers[path]
        if not held_back:
            container.sort_links(containers)
        columns = arranged(len(container.members), container.links)
        if not isinstance(columns, Columns):
            stuck = [key for key, vertex in container.members.items() if vertex in columns]
            held_back.update([key for key in stuck if isinstance(key, tuple)] or [()])
        elif not held_back:
            container.columns = columns
            container.stretch(meeting.extents)
            container.measure(containers, meeting, spacing, direction)
    return held_back


def _without(group: Group, dissolved: set[Group]) -> Group:
    """What is left of a task's groups when some are dissolved: the groups outside of the first one of them."""
    for depth in range(len(group)):
        if group[: depth + 1] in dissolved:
            return group[:depth]
    return group


def _padding(framed: bool, spacing: Spacing, direction: Direction) -> tuple[float, float, float, float]:
    """The space before, after, below and above what is in a container, in along and across."""
    if not framed:
        return (spacing.margin,) * 4
    pad, upper = spacing.frame, spacing.frame + spacing.label
    return (pad, pad, upper, pad) if direction == "right" else (upper, pad, pad, pad)


def _finished(
    containers: Mapping[Group, _Container],
    home: Mapping[str, Group],
    wires: Sequence[Wire],
    meeting: _Meeting,
    spacing: Spacing,
    direction: Direction,
) -> Layout:
    """The containers' own places put together, and turned into the picture's direction."""
    rectangles: dict[str | Group, tuple[float, float, float, float]] = {}
    for container in containers.values():  # a container stands before those in it
        for key, vertex in container.members.items():
            long, wide = containers[key].size if isinstance(key, tuple) else meeting.extents[key]
            level = wide / 2 if isinstance(key, tuple) else meeting.level(key)
            column = container.columns.column[vertex]
            start, end = container.starts[column], container.ends[column]
            along = container.along_of + (start if long == end - start else (start + end - long) / 2)
            across = container.across_of + container.across[vertex] - level
            rectangles[key] = (along, across, long, wide)
            if isinstance(key, tuple):
                containers[key].along_of, containers[key].across_of = along, across

    across_first = direction == "down"
    boxes: dict[str, Box] = {}
    frames: dict[Group, Box] = {}
    for key, (along, across, long, wide) in rectangles.items():
        box = Box(across, along, wide, long) if across_first else Box(along, across, long, wide)
        if isinstance(key, tuple):
            frames[key] = box
        else:
            boxes[key] = box
    paths = {}
    for wire in wires:
        line = _line(containers, home, rectangles, wire, meeting, spacing)
        paths[wire] = tuple(Point(b, a) if across_first else Point(a, b) for a, b in line)
    long, wide = containers[()].size
    width, height = (wide, long) if across_first else (long, wide)
    return Layout(direction, {name: boxes[name] for name in home}, paths, frames, width, height)


def _line(
    containers: Mapping[Group, _Container],
    home: Mapping[str, Group],
    rectangles: Mapping[str | Group, tuple[float, float, float, float]],
    wire: Wire,
    meeting: _Meeting,
    spacing: Spacing,
) -> list[tuple[float, float]]:
    """The points, as (along, across), that a line passes on its way out of groups, over, and into groups."""
    source, target, outlet, inlet = wire
    along, across, long, _ = rectangles[source]
    level = across + meeting.leaves(source, outlet)
    line: list[tuple[float, float | None]] = [(along + long, level)]  # None: the level that comes next
    for path, start, end in _passed(home[source], home[target]):
        container = containers[path]
        columns = container.columns
        link = _link(container, wire, start, end, meeting)
        first, last = link.start, link.end
        if first != OUTSIDE:
            if start is not None and start != path:
                line.append((rectangles[start][0] + rectangles[start][2], level))
            line.append((container.along_of + container.ends[columns.column[first]], level))
        if link in columns.free:
            half = spacing.columns / 2
            begin = container.ends[columns.column[first]] + half if first != OUTSIDE else half
            finish = container.starts[columns.column[last]] - half if last != OUTSIDE else container.size[0] - half
            level = container.across_of + container.lane
            line += [(container.along_of + begin, level), (container.along_of + finish, level)]
        for first_bend, last_bend in container.straight_parts(link):
            level = container.across_of + container.across[first_bend]
            line.append((container.along_of + container.starts[columns.column[first_bend]], level))
            line.append((container.along_of + container.ends[columns.column[last_bend]], level))
        if last != OUTSIDE:
            line.append((container.along_of + container.starts[columns.column[last]], None))
            if end is not None and end != path:
                line.append((rectangles[end][0], None))
    along, across, _, _ = rectangles[target]
    line.append((along, across + meeting.enters(target, inlet)))
    return _levelled(line)


def _levelled(line: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    """The line with every level known, and without points that it passes straight."""
    kept: list[tuple[float, float]] = []
    coming = 0.0
    for along, level in reversed(line):
        coming = coming if level is None else level
        if len(kept) > 1 and kept[-1][1] == kept[-2][1] == coming:
            kept[-1] = (along, coming)
        elif not kept or kept[-1] != (along, coming):
            kept.append((along, coming))
    kept.reverse()
    return kept
