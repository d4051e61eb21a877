"""The card of a node: that of a task, and its connectors at the edges where lines come in and go out.

Where a picture goes to the right, inbound connectors stand one below the other at the left edge and outbound ones at
the right edge; where it goes down, they stand side by side at the upper and at the lower edge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from dagy.drawing.escape import markup_line, plain_line
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
_NUMBER = re.compile(r"-?[\d.,]+")


class NodeCard:
    """What is on a node's card beside its name and detail: its `size`, and `ports`, where lines meet it.

    Places are in pixels from the card's upper left corner.
    """

    def __init__(self, node: Connectors, direction: Direction, header: tuple[float, float]) -> None:
        """`header` is the (width, height) of what a plain card has."""
        self.node = node
        self.is_down = direction == "down"
        self.header_height = header[1]
        inbound, outbound = [_wide(each) for each in node.inbound], [_wide(each) for each in node.outbound]
        if self.is_down:
            self.top = _STRIP * bool(inbound)  # of the header
            beside = max(_side_by_side(inbound), _side_by_side(outbound)) + _APART
            self.size = (max(header[0], beside), self.top + header[1] + _STRIP * bool(outbound))
        else:
            self.top = 0.0
            between = _APART if inbound and outbound else 0.0
            names = max(inbound, default=0.0) + between + max(outbound, default=0.0)
            rows = max(len(inbound), len(outbound))
            self.size = (max(header[0], names + 2 * _FROM_EDGE), header[1] + rows * _ROW + _PAD * bool(rows))
        plain = _PORT_AT if self.is_down else header[1] / 2  # where lines of no connector meet it
        first = header[1] + _ROW / 2 if inbound or outbound else plain
        inlets, outlets = self._across(inbound), self._across(outbound)
        self.ports = Ports(
            self.size[0] / 2 if self.is_down else first,
            {"": plain, **{port.id: at for port, at in zip(node.inbound, inlets, strict=True)}},
            {"": plain, **{port.id: at for port, at in zip(node.outbound, outlets, strict=True)}},
        )

    def middle(self, box: Box) -> float:
        """The middle of what a plain card has too, when the card fills `box`."""
        return self.top + (box.height - self.size[1] + self.header_height) / 2

    def drawn(self, box: Box, *, is_still: bool) -> str:
        """The SVG of the connectors on the card, which fills `box`."""
        parts = []
        if not self.is_down and (self.node.inbound or self.node.outbound):
            parts.append(f'<path class="dagy-rule" d="M1 {self.header_height:g}H{box.width - 1:g}"/>')
        parts += [self._port(each, "in", self.ports.inlets[each.id], box, is_still) for each in self.node.inbound]
        parts += [self._port(each, "out", self.ports.outlets[each.id], box, is_still) for each in self.node.outbound]
        return "".join(parts)

    def _port(self, port: Port, side: str, across: float, box: Box, is_still: bool) -> str:
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
        title = "" if is_still else f"<title>{markup_line(port.title + joined)}</title>"
        known = "" if is_still else f' data-port="{markup_line(port.id)}" data-side="{side}"'
        free = "" if port.is_used else " dagy-free"
        name, types = _said(port.label, port.types)
        kind = f'<tspan class="dagy-port-type" dx="4">{markup_line(types)}</tspan>' if types else ""
        return (
            f'<g class="dagy-port{free}"{known} data-kind="{port.kind}">{title}'
            f'<path d="{PORTS[port.kind].shape}" transform="translate({x:g} {y:g})"/>'
            f'<text x="{text_x:g}" y="{text_y:g}" text-anchor="{anchor}">{markup_line(name)}{kind}</text></g>'
        )

    def _across(self, widths: Sequence[float]) -> list[float]:
        """Where ports with names so wide are, across the picture's direction."""
        if not self.is_down:
            return [self.header_height + _ROW * (place + 0.5) for place in range(len(widths))]
        places = []
        start = (self.size[0] - _side_by_side(widths)) / 2
        for each in widths:
            places.append(round(2 * start + each) / 2)
            start += each + _APART
        return places


def settings_line(node: Connectors) -> str:
    """What the node is set to, in one short line, without what is off or secret; `…` stands for what has no room.

    Where there is room, each setting has its name: `column age · above 30`; else words stand alone: `age · above 30`.
    """
    told = [each for each in node.settings if not each.is_secret and each.value not in ("", "None", "False")]
    values = {each.name: elided(plain_line(each.value.strip()), _LONGEST_VALUE) for each in told}
    line = " · ".join(f"{name} {value}" for name, value in values.items())
    if columns(line) <= _MOST_SETTINGS:
        return line
    line = ""
    for name, value in values.items():
        each = name if value == "True" else f"{name} {value}" if _NUMBER.fullmatch(value) else value
        longer = f"{line} · {each}" if line else each
        if line and columns(longer) > _MOST_SETTINGS:
            return f"{line} · …"
        line = longer
    return elided(line, _MOST_SETTINGS)


def icon_of(node: Connectors) -> str:
    """The path of the icon of the node's category, in a square of 16."""
    return CATEGORIES.get(node.category, CATEGORIES["custom"]).icon


@lru_cache
def _said(label: str, types: str) -> tuple[str, str]:
    """What a card says of a port: its name, and its types where these say more."""
    word = label.lower()
    is_told = types in ("any", word) or (len(word) > 3 and types.endswith(word))  # a frame is a dataframe
    return elided(label, _LONGEST_NAME), "" if is_told else elided(types, _LONGEST_NAME)


def _wide(port: Port) -> float:
    return _wide_as(*_said(port.label, port.types))


@lru_cache
def _wide_as(name: str, types: str) -> float:
    return round(width(name, 10.5) + (width(types, 10) + 4 if types else 0.0))


def _side_by_side(widths: Sequence[float]) -> float:
    return sum(widths) + _APART * (len(widths) - 1) if widths else 0.0


def _some(texts: Sequence[str], most: int = 3) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")
