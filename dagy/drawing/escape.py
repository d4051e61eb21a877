"""Text made safe to show: every text that reaches SVG, HTML, DOT or a terminal passes here.

What the user wrote stays literal and readable. What would act rather than show is made visible instead: a control
character becomes its picture (`␀`), a character that turns the direction of text becomes its number (`[U+202E]`), and
what is no character at all becomes `�`.
"""

from __future__ import annotations

import re

_TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_OVERWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)

_SHOWN: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20)}
_SHOWN[0x7F] = "␡"
_SHOWN |= {code: f"[U+{code:04X}]" for code in (*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF)}
_SHOWN |= {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_SHOWN |= dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "�")
_SHOWN_IN_LINES = {code: shown for code, shown in _SHOWN.items() if code not in (0x09, 0x0A)}

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
_MARKUP = _SHOWN | _ENTITIES
_MARKUP_IN_LINES = _SHOWN_IN_LINES | _ENTITIES


def plain_line(text: str) -> str:
    """`text` as one line, for a terminal or any other place that shows text as it is."""
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)


def plain_lines(text: str) -> str:
    r"""`text` in its lines, without colour codes, and without what a `\r` overwrote, as a terminal would show it."""
    return _as_on_a_terminal(text).translate(_SHOWN_IN_LINES)


def markup_line(text: str) -> str:
    """`text` as one line of SVG, XML or HTML, for an element's content or for an attribute in either quotes."""
    return text if text.isascii() and text.isalnum() else text.translate(_MARKUP)


def markup_lines(text: str) -> str:
    """`text` in its lines, for an element's content such as that of `<pre>`."""
    return _as_on_a_terminal(text).translate(_MARKUP_IN_LINES)


def dot_line(text: str) -> str:
    """`text` as one line of a Graphviz label: no escape sequence of labels and no entity in it is understood."""
    import graphviz

    return str(graphviz.escape(plain_line(text).replace("&", "&amp;")))


def _as_on_a_terminal(text: str) -> str:
    text = _TERMINAL_CODES.sub("", text).replace("\r\n", "\n")
    return _OVERWRITTEN.sub("", text).replace("\r", "")
