"""Where the nodes of a graph stand when nobody has put them anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagy.drawing.layout import layout
from dagy.nodes.graph_parts import Position

NODE_SIZE = (200.0, 80.0)  # width and height, in pixels, as designers draw a node


def positions(needs: Mapping[str, Sequence[str]], *, flow: str) -> dict[str, Position]:
    """A place for each name of the graph `{name: the names it needs}`, so that every edge goes to the right.

    `CycleError`, naming `flow`, when the graph goes in a circle.
    """
    boxes = layout(needs, dict.fromkeys(needs, NODE_SIZE), direction="right", flow=flow).boxes
    return {name: Position(round(box.x), round(box.y)) for name, box in boxes.items()}
