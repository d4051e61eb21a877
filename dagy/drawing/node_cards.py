"""The card of a node: that of a task, and its connectors at the edges where lines come in and go out.

Where a picture goes to the right, inbound connectors stand one below the other at the left edge and outbound ones at
the right edge; where it goes down, they stand side by side at the upper and at the lower edge.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagy.drawing.escape import markup_line
from dagy.drawing.labels import columns, elided, width
from dagy.drawing.layout import Box, Direction, Ports
from dagy.drawing.ports import Connectors, Port
from dagy.drawing.style import CATEGORIES, PORTS

_ROW = 17.0  # of connectors: its height
_STRIP = 19.0  # the height of the connectors that stand side by side
_PAD = 5.0  # below the last row
_FROM_EDGE = 11.0  # between an edge and a connector's name
_APART = 20.0  # between two names, at least
_PORT_AT = 21.0  # across, of a line that meets no connector, where a picture goes down
_MOST_SETTINGS = 38  # columns
_LONGEST_VALUE = 20
_LONGEST_NAME = 18


class NodeCard:
    """What is on a node's card beside its name and detail. Places are in pixels from the card's upper left corner."""

    def __init__(self, node: Connectors, direction: Direction, header: tuple[float, float]) -> None:
        """`header` is the (width, height) of what a plain card has."""
        self.node = node
        self.is_down = direction == "down"
        self.header_height = header[1]
        inlets, outlets = _widest(node.inbound), _widest(node.outbound)
        rows = max(len(node.inbound), len(node.outbound))
        if self.is_down:
            above, below = _STRIP * bool(node.inbound), _STRIP * bool(node.outbound)
            beside = max(_side_by_side(node.inbound), _side_by_side(node.outbound)) + _APART
            self.size = (max(header[0], beside), header[1] + above + below)
            self.top = above  # of the header
        else:
            between = _APART if inlets and outlets else 0.0
            self.size = (
                max(header[0], inlets + outlets + between + 2 * _FROM_EDGE),
                header[1] + rows * _ROW + (_PAD if rows else 0.0),
            )
            self.top = 0.0

    @property
    def ports(self) -> Ports:
        """Where lines meet the card."""
        inlets = {port.id: self._across(self.node.inbound, place) for place, port in enumerate(self.node.inbound)}
        outlets = {port.id: self._across(self.node.outbound, place) for place, port in enumerate(self.node.outbound)}
        plain = _PORT_AT if self.is_down else self.header_height / 2
        first = self.header_height + _ROW / 2 if inlets or outlets else plain
        return Ports(self.size[0] / 2 if self.is_down else first, {"": plain, **inlets}, {"": plain, **outlets})

    def middle(self, box: Box) -> float:
        """The middle of what a plain card has too, when the card fills `box`."""
        return self.top + (box.height - self.size[1] + self.header_height) / 2

    def drawn(self, box: Box, *, is_still: bool) -> str:
        """The SVG of the connectors on the card, which fills `box`."""
        parts = []
        if not self.is_down and (self.node.inbound or self.node.outbound):
            parts.append(f'<path class="dagy-rule" d="M1 {self.header_height:g}H{box.width - 1:g}"/>')
        for side, ports in (("in", self.node.inbound), ("out", self.node.outbound)):
            for place, port in enumerate(ports):
                parts.append(self._port(port, side, self._across(ports, place), box, is_still=is_still))
        return "".join(parts)

    def _port(self, port: Port, side: str, across: float, box: Box, *, is_still: bool) -> str:
        far = box.height if self.is_down else box.width
        along = 0.0 if side == "in" else far
        x, y = (across, along) if self.is_down else (along, across)
        if self.is_down:
            text_x, text_y, anchor = x, (14.0 if side == "in" else far - 8), "middle"
        else:
            text_x, text_y, anchor = (
                (_FROM_EDGE, y + 3.5, "start") if side == "in" else (far - _FROM_EDGE, y + 3.5, "end")
            )
        way = "from" if side == "in" else "to"
        joined = f", {way} {_some(port.ends)}" if port.joined else ""
        title = "" if is_still else f"<title>{markup_line(port.words + joined)}</title>"
        known = "" if is_still else f' data-port="{markup_line(port.id)}" data-side="{side}"'
        free = "" if port.is_used else " dagy-free"
        name, types = _said(port)
        kind = f'<tspan class="dagy-port-type" dx="4">{markup_line(types)}</tspan>' if types else ""
        return (
            f'<g class="dagy-port{free}"{known} data-kind="{port.kind}">{title}'
            f'<path d="{PORTS[port.kind].shape}" transform="translate({x:g} {y:g})"/>'
            f'<text x="{text_x:g}" y="{text_y:g}" text-anchor="{anchor}">{markup_line(name)}{kind}</text></g>'
        )

    def _across(self, ports: Sequence[Port], place: int) -> float:
        """Where the port of that place is, across the picture's direction."""
        if not self.is_down:
            return self.header_height + _ROW * place + _ROW / 2
        before = sum(_wide(each) + _APART for each in ports[:place])
        start = (self.size[0] - _side_by_side(ports)) / 2
        return round(2 * (start + before + _wide(ports[place]) / 2)) / 2


def settings_line(node: Connectors) -> str:
    """What the node is set to, in one short line, without what is off or secret; `…` stands for what has no room."""
    said = [
        f"{each.name} {elided(each.value, _LONGEST_VALUE)}"
        for each in node.settings
        if not each.is_secret and each.value not in ("", "None", "False")
    ]
    line = ""
    for place, each in enumerate(said):
        longer = f"{line} · {each}" if line else each
        if place and columns(longer) > _MOST_SETTINGS:
            return f"{line} · …"
        line = longer
    return elided(line, _MOST_SETTINGS)


def icon_of(node: Connectors) -> str:
    """The path of the icon of the node's category, in a square of 16."""
    return CATEGORIES.get(node.category, CATEGORIES["custom"]).icon


def _said(port: Port) -> tuple[str, str]:
    """The port's name, and its types where these say more."""
    name = elided(port.label, _LONGEST_NAME)
    word = port.label.lower()
    is_told = port.types in ("any", word) or (len(word) > 3 and port.types.endswith(word))  # a frame is a dataframe
    return name, "" if is_told else elided(port.types, _LONGEST_NAME)


def _wide(port: Port) -> float:
    name, types = _said(port)
    return round(width(name, 10.5) + (width(types, 10) + 4 if types else 0.0))


def _widest(ports: Sequence[Port]) -> float:
    return max(map(_wide, ports), default=0.0)


def _side_by_side(ports: Sequence[Port]) -> float:
    return sum(map(_wide, ports)) + _APART * (len(ports) - 1) if ports else 0.0


def _some(texts: Sequence[str], most: int = 3) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")
