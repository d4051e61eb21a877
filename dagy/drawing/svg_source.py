"""A flow as an SVG picture: cards with icons, joined by lines, with the state of each task.

The picture stands alone in an `<img>`, on a white page or a black one, and can stand in a page too, which may then
recolour it through CSS variables and move it on: to change a task's state, a script sets `data-state` on its
`.dagy-node`, puts the `ICONS` entry of the state into the `d` of its `.dagy-icon`, and writes its `.dagy-detail`.
Nothing in it has an id, so that any number of pictures can share a page. The same input gives the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dagy.drawing.escape import markup_line, plain_line
from dagy.drawing.labels import Marks, States, elided, kinds, names, summary, width
from dagy.drawing.layout import SPACING, Box, Direction, Group, Layout, Point, Wire, layout
from dagy.drawing.node_cards import NodeCard, icon_of, settings_line
from dagy.drawing.ports import connectors, wires
from dagy.drawing.style import ICONS, PALETTE, PLAIN_ICON, css
from dagy.graph import ordered
from dagy.spec import FlowSpec
from dagy.states import StateType

FITTING_WIDTH = 1120.0  # pixels: what a page on a laptop has

_BADGE_AT = 21  # of its centre, from the card's left edge
_TEXT_AT = 37
_NARROWEST = 92.0
_LOW, _HIGH = 36.0, 46.0  # a card with one line, and with two
_LINE = 14.0  # more of it for one line more
_FEET = {1: (4.5,), 2: (-2.5, 12.5), 3: (-9.5, 5.5, 19.5)}  # of a card's lines, from its middle, by their number
_CATEGORY_WIDTH = 20.0
_ABOVE_PORTS = 15.0  # how far up a mark's tag is moved where the upper edge has connectors
_TAG_FROM_EDGE = 10.0  # between a mark's tag and the card's right edge
_LONGEST_TAG = 20  # columns


def svg(
    spec: FlowSpec,
    states: States | None = None,
    *,
    direction: Literal["auto", "right", "down"] = "auto",
    details: Mapping[str, str] | None = None,
    marks: Marks | None = None,
) -> str:
    """The picture of `spec` as SVG text.

    With `states` it is the picture of a run, in which tasks not named are pending; without, it is of no run. A card has
    a second line when there are `states` or `details`: the task's detail, such as "1.2 s", or else its state's word.
    A card of a task in `marks` has a dashed outline, and its mark, such as "edited", as a small tag. A task that is a
    node has its settings on the card too, and its connectors at the edges, where its lines meet it.
    The direction "auto" goes to the right where that is at most 1120 pixels wide, and else down. Raises `CycleError`
    when the tasks need each other in a circle.
    """
    return picture(spec, states, direction=direction, details=details, marks=marks).svg


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG picture and its size in pixels."""

    svg: str
    width: float
    height: float


def picture(
    spec: FlowSpec,
    states: States | None = None,
    *,
    direction: Literal["auto", "right", "down"] = "auto",
    details: Mapping[str, str] | None = None,
    marks: Marks | None = None,
    is_still: bool = False,
) -> Picture:
    """The same picture as `svg` gives, with its size; a still one lacks what only a script looks for."""
    cards = _Cards(spec, states, details, marks, is_still=is_still)
    placed = _placed(spec, cards, direction)
    label = markup_line(summary(spec, states, marks))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dagy-graph" data-direction="{placed.direction}" role="img"'
        f' aria-label="{label}" width="{_number(placed.width)}" height="{_number(placed.height)}"'
        f' viewBox="0 0 {_number(placed.width)} {_number(placed.height)}">'
        f"<style>{css(has_nodes=bool(cards.nodes))}</style>"
    ]
    parts += [_frame(group, box) for group, box in placed.frames.items()]
    marked = {task.id: markup_line(task.id) for task in spec.tasks}
    down = placed.direction == "down"
    lines = {wire: smooth(points, down=down, has_head=not wire.inlet) for wire, points in placed.paths.items()}
    if is_still:
        together: dict[str, list[str]] = {}
        for wire, line in lines.items():
            together.setdefault(cards.kind(wire), []).append(line)
        parts += [f'<path class="dagy-edge"{kind} d="{"".join(each)}"/>' for kind, each in together.items()]
    else:
        parts += [
            f'<path class="dagy-edge" data-from="{marked[wire.source]}" data-to="{marked[wire.target]}"'
            f'{cards.kind(wire)} d="{line}"/>'
            for wire, line in lines.items()
        ]
    parts += [cards.drawn(task_id, marked[task_id], box, placed.direction) for task_id, box in placed.boxes.items()]
    parts.append("</svg>\n")
    return Picture("".join(parts), placed.width, placed.height)


def smooth(points: tuple[Point, ...], *, down: bool, has_head: bool = True) -> str:
    """SVG path data of a line through `points`, in one stroke with the arrowhead at its end if it has one."""
    x, y = points[0]
    path = [f"M{_number(x)} {_number(y)}"]
    for x_next, y_next in points[1:]:
        if (y == y_next) if not down else (x == x_next):
            path.append(f"L{_number(x_next)} {_number(y_next)}")
        elif down:
            middle = _number((y + y_next) / 2)
            path.append(f"C{_number(x)} {middle} {_number(x_next)} {middle} {_number(x_next)} {_number(y_next)}")
        else:
            middle = _number((x + x_next) / 2)
            path.append(f"C{middle} {_number(y)} {middle} {_number(y_next)} {_number(x_next)} {_number(y_next)}")
        x, y = x_next, y_next
    if has_head:
        path.append("m-4-5.5l4 5.5l4-5.5" if down else "m-5.5-4l5.5 4l-5.5 4")
    return "".join(path)


class _Cards:
    """What is on the cards, and how large they are."""

    def __init__(
        self,
        spec: FlowSpec,
        states: States | None,
        details: Mapping[str, str] | None,
        marks: Marks | None,
        *,
        is_still: bool,
    ) -> None:
        self.is_still = is_still
        self.states = None if states is None else kinds(states)
        self.details = details or {}
        self.marks = {task_id: plain_line(words) for task_id, words in (marks or {}).items() if words}
        self.height = _LOW if states is None and details is None else _HIGH
        self.nodes = connectors(spec)
        self.settings = {task_id: line for task_id, node in self.nodes.items() if (line := settings_line(node))}
        self.kinds = {(task_id, port.id): port.kind for task_id, node in self.nodes.items() for port in node.outbound}
        self.full = {task_id: plain_line(name) for task_id, name in names(spec).items()}
        self.short = {task_id: elided(name) for task_id, name in self.full.items()}
        self.sizes = {task.id: self._size(task.id) for task in spec.tasks}
        self._node_cards: dict[Direction, dict[str, NodeCard]] = {}

    def node_cards(self, direction: Direction) -> dict[str, NodeCard]:
        """Of the nodes, what their cards have beside what plain ones have."""
        if direction not in self._node_cards:
            self._node_cards[direction] = {
                task_id: NodeCard(node, direction, self.sizes[task_id]) for task_id, node in self.nodes.items()
            }
        return self._node_cards[direction]

    def _size(self, task_id: str) -> tuple[float, float]:
        """The (width, height) of a plain card, with room for whatever state the task will come to."""
        text = width(self.short[task_id], 15)  # of 13, but bold, and fonts differ
        if self.height == _HIGH:
            text = max(text, width(self._detail(task_id), 11), 62)
        height = self.height
        if task_id in self.nodes:
            text += _CATEGORY_WIDTH
        if task_id in self.settings:
            text = max(text, width(self.settings[task_id], 10.5))
            height += _LINE if self.height == _HIGH else _HIGH - _LOW
        tag = _tag_width(self.marks[task_id]) + _TAG_FROM_EDGE + 10 if task_id in self.marks else 0.0
        return max(_NARROWEST, round(_TEXT_AT + text + 14), tag), height

    def kind(self, wire: Wire) -> str:
        """The attribute of a line that tells its kind; empty: it is plain."""
        is_wait = wire.target in self.nodes and not wire.inlet
        kind = "after" if is_wait else self.kinds.get((wire.source, wire.outlet))
        return f' data-kind="{kind}"' if kind else ""

    def drawn(self, task_id: str, marked: str, box: Box, direction: Direction) -> str:
        """The card's SVG; `marked` is the task's id, escaped."""
        state = "" if self.states is None else self.states.get(task_id, StateType.PENDING)
        node = self.node_cards(direction).get(task_id)
        icon = ICONS[state] if isinstance(state, StateType) else icon_of(node.node) if node else PLAIN_ICON
        mark = self.marks.get(task_id, "")
        name = f' data-task="{marked}"'
        said = self.full[task_id] + (f", a {node.node.type} node" if node else "") + (mark and f" ({mark})")
        title = f"<title>{markup_line(said)}</title>"
        category = f' data-category="{markup_line(node.node.category)}"' if node else ""
        lines = [("dagy-name", self.short[task_id])]
        if self.height == _HIGH:
            lines.append(("dagy-detail", self._detail(task_id)))
        middle = box.height / 2
        if node is not None:
            middle = node.middle(box)
            if task_id in self.settings:
                lines.append(("dagy-settings", self.settings[task_id]))
        parts = [
            f'<g class="dagy-node{" dagy-marked" if mark else ""}"{"" if self.is_still else name} data-state="{state}"'
            f'{category} transform="translate({_number(box.x)} {_number(box.y)})">{"" if self.is_still else title}',
            f'<rect class="dagy-card" width="{_number(box.width)}" height="{_number(box.height)}" rx="10"/>',
            f'<circle class="dagy-badge" cx="{_BADGE_AT}" cy="{_number(middle)}" r="9"/>',
            f'<path class="dagy-icon" transform="translate({_BADGE_AT - 8} {_number(middle - 8)})" d="{icon}"/>',
        ]
        for (kind, text), foot in zip(lines, _FEET[len(lines)], strict=True):
            parts.append(f'<text class="{kind}" x="{_TEXT_AT}" y="{_number(middle + foot)}">{markup_line(text)}</text>')
        if node is not None:
            if state:
                at = f"{_number(box.width - _CATEGORY_WIDTH - 4)} {_number(middle - node.header_height / 2 + 8)}"
                parts.append(f'<path class="dagy-category" transform="translate({at})" d="{icon_of(node.node)}"/>')
            parts.append(node.drawn(box, is_still=self.is_still))
        if mark:
            is_above = node is not None and node.top > 0 and box.y > 2 * _ABOVE_PORTS
            parts.append(_tag(mark, box.width, _ABOVE_PORTS if is_above else 0.0))
        parts.append("</g>")
        return "".join(parts)

    def _detail(self, task_id: str) -> str:
        detail = self.details.get(task_id, "")
        if not detail and self.states is not None:
            detail = PALETTE[self.states.get(task_id, StateType.PENDING)].label
        return elided(plain_line(detail), 34)


def _tag(mark: str, card_width: float, above: float) -> str:
    """The mark on a card's upper edge, or so far `above` it, near its right end."""
    tag_width = _tag_width(mark)
    shown = markup_line(elided(mark, _LONGEST_TAG))
    at = card_width - _TAG_FROM_EDGE - tag_width
    return (
        f'<rect class="dagy-tag" x="{_number(at)}" y="{_number(-7 - above)}" width="{_number(tag_width)}" height="14"'
        f' rx="7"/>'
        f'<text class="dagy-mark" x="{_number(at + tag_width / 2)}" y="{_number(3.5 - above)}">{shown}</text>'
    )


def _tag_width(mark: str) -> float:
    return round(width(elided(mark, _LONGEST_TAG), 11)) + 14.0


def _placed(spec: FlowSpec, cards: _Cards, direction: Literal["auto", "right", "down"]) -> Layout:
    needs = spec.needs
    groups = {task.id: task.group for task in spec.tasks if task.group}
    lines = wires(spec) if cards.nodes else None

    def towards(way: Direction) -> Layout:
        nodes = cards.node_cards(way)
        sizes = cards.sizes | {task_id: node.size for task_id, node in nodes.items()}
        ports = {task_id: node.ports for task_id, node in nodes.items()}
        return layout(needs, sizes, direction=way, groups=groups, wires=lines, ports=ports, flow=spec.name)

    if direction != "auto":
        return towards(direction)
    widths = {task_id: size[0] for task_id, size in cards.sizes.items()}
    widths |= {task_id: node.size[0] for task_id, node in cards.node_cards("right").items()}
    least: dict[str, float] = {}  # how far to the right each task reaches at least
    for task_id in ordered(needs, flow=spec.name):
        before = max([least.get(each, 0.0) + SPACING["right"].columns for each in needs[task_id]], default=0.0)
        least[task_id] = before + widths[task_id]
    if max(least.values(), default=0.0) > FITTING_WIDTH:
        return towards("down")
    placed = towards("right")
    return placed if placed.width <= FITTING_WIDTH else towards("down")


def _frame(group: Group, box: Box) -> str:
    label = elided(plain_line(group[-1]))
    path = markup_line("/".join(group))
    return (
        f'<g class="dagy-group" data-group="{path}"><title>{path}</title>'
        f'<rect class="dagy-frame" x="{_number(box.x)}" y="{_number(box.y)}" width="{_number(box.width)}"'
        f' height="{_number(box.height)}" rx="14"/>'
        f'<rect class="dagy-label" x="{_number(box.x + 8)}" y="{_number(box.y + 7)}"'
        f' width="{round(width(label, 12.5)) + 16}" height="18" rx="9"/>'
        f'<text class="dagy-group-name" x="{_number(box.x + 16)}" y="{_number(box.y + 20)}">'
        f"{markup_line(label)}</text></g>"
    )


def _number(value: float) -> str:
    """As short as can be, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
