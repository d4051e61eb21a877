"""A flow as a picture: SVG, a still page of HTML, a tree of text, source for Graphviz.

Everything here is a pure function of a `FlowSpec` and the states of its tasks: no file, no program, no user code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.drawing.dot_source import dot
    from dagy.drawing.escape import markup_line, markup_lines, plain_line, plain_lines
    from dagy.drawing.labels import ago, counted, duration
    from dagy.drawing.ports import Connectors, connectors
    from dagy.drawing.still import RunStill, TaskStill, flow_html, run_html
    from dagy.drawing.style import ICONS, PALETTE
    from dagy.drawing.svg_source import svg
    from dagy.drawing.text import text_tree

_HOMES = {
    "Connectors": "dagy.drawing.ports",
    "ICONS": "dagy.drawing.style",
    "PALETTE": "dagy.drawing.style",
    "RunStill": "dagy.drawing.still",
    "TaskStill": "dagy.drawing.still",
    "ago": "dagy.drawing.labels",
    "connectors": "dagy.drawing.ports",
    "counted": "dagy.drawing.labels",
    "dot": "dagy.drawing.dot_source",
    "duration": "dagy.drawing.labels",
    "flow_html": "dagy.drawing.still",
    "markup_line": "dagy.drawing.escape",
    "markup_lines": "dagy.drawing.escape",
    "plain_line": "dagy.drawing.escape",
    "plain_lines": "dagy.drawing.escape",
    "run_html": "dagy.drawing.still",
    "svg": "dagy.drawing.svg_source",
    "text_tree": "dagy.drawing.text",
}

__all__ = [
    "ICONS",
    "PALETTE",
    "Connectors",
    "RunStill",
    "TaskStill",
    "ago",
    "connectors",
    "counted",
    "dot",
    "duration",
    "flow_html",
    "markup_line",
    "markup_lines",
    "plain_line",
    "plain_lines",
    "run_html",
    "svg",
    "text_tree",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
