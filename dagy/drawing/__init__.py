"""A flow as a picture: SVG, a still page of HTML, a tree of text, source for Graphviz.

Everything here is a pure function of a `FlowSpec` and the states of its tasks: no file, no program, no user code.
"""

from dagy.drawing.dot import dot
from dagy.drawing.escape import markup_line, markup_lines, plain_line, plain_lines
from dagy.drawing.labels import duration
from dagy.drawing.still import RunStill, TaskStill, flow_html, run_html
from dagy.drawing.style import ICONS, PALETTE
from dagy.drawing.svg import svg
from dagy.drawing.text import text_tree

__all__ = [
    "ICONS",
    "PALETTE",
    "RunStill",
    "TaskStill",
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
