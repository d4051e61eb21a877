"""How each state looks: its colours, its icon, its sign in plain text and its word. One table, for every picture.

A state is never told by colour alone. The colours are pastel cards with dark text, so that they read on white pages and
on black ones, and each can be overruled by the page, as the CSS variable `--dagy-STATE-PART`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dagy.states import StateType


@dataclass(frozen=True, slots=True)
class Look:
    """How one state looks. Colours are `#rrggbb`."""

    fill: str  # the card
    stroke: str  # the card's border
    text: str  # on the card; contrast 4.5 or more
    badge: str  # the disc behind the icon, which is white; contrast 3 or more
    sign: str  # one character, for plain text
    label: str  # the state's word


PALETTE: dict[StateType, Look] = {
    StateType.PENDING: Look("#f3f5f8", "#d3d9e2", "#465062", "#848fa1", "○", "pending"),
    StateType.QUEUED: Look("#eeecfd", "#cbc5f7", "#42369a", "#7b6eea", "◔", "queued"),
    StateType.RUNNING: Look("#e2efff", "#6aaafc", "#15407f", "#2b7bf0", "▶", "running"),
    StateType.RETRYING: Look("#fff4d6", "#f0cb6e", "#654706", "#b07c08", "↻", "retrying"),
    StateType.COMPLETED: Look("#e3f6ea", "#9ddab4", "#145232", "#1c9a54", "✓", "completed"),
    StateType.FAILED: Look("#fee7e5", "#f3a59e", "#7f1d15", "#d8372b", "✗", "failed"),
    StateType.TIMED_OUT: Look("#ffebdc", "#f4b98d", "#78380a", "#d26312", "◷", "timed out"),
    StateType.CANCELLED: Look("#efebf1", "#cfc5d4", "#4f4456", "#80708a", "■", "cancelled"),
    StateType.SKIPPED: Look("#f5f4f0", "#cbc8bc", "#57544a", "#8a8679", "»", "skipped"),
    StateType.CRASHED: Look("#fbe3f1", "#e8a3cd", "#711551", "#b72684", "↯", "crashed"),
}

# A task in a picture that is of no run.
NO_STATE = Look("#f4f6fb", "#ccd5e6", "#27344d", "#5b74a8", "•", "")

# Path data in a square of 16, to be stroked in white on the badge, with round caps.
ICONS: dict[StateType, str] = {
    StateType.PENDING: "M4.6 8h.01M8 8h.01M11.4 8h.01",
    StateType.QUEUED: "M5.4 4.6h5.2L5.4 11.4h5.2z",
    StateType.RUNNING: "M8 4a4 4 0 1 1-4 4",
    StateType.RETRYING: "M11.2 9.6A3.6 3.6 0 1 1 10.9 5.9M11.3 3.7V6.1H8.9",
    StateType.COMPLETED: "M4.7 8.3 7 10.6 11.4 5.8",
    StateType.FAILED: "M5.3 5.3 10.7 10.7M10.7 5.3 5.3 10.7",
    StateType.TIMED_OUT: "M8 4.3V8L10.5 9.6",
    StateType.CANCELLED: "M5.7 5.7H10.3V10.3H5.7Z",
    StateType.SKIPPED: "M4.8 5.2 7.6 8 4.8 10.8M8.6 5.2 11.4 8 8.6 10.8",
    StateType.CRASHED: "M8.8 3.8 6 8.3H10L7.2 12.2",
}

PLAIN_ICON = "M8 8h.01"  # in a picture that is of no run


@dataclass(frozen=True, slots=True)
class PortLook:
    """How connectors of one family of data types look. `shape` is path data around their middle."""

    shape: str
    colour: str  # `#rrggbb`, also of the lines that leave them


# By the family of data types.
PORTS: dict[str, PortLook] = {
    "table": PortLook("M-4.5-4.5h9v9h-9z", "#0c8f88"),
    "text": PortLook("M-4.8 0a4.8 4.8 0 1 0 9.6 0a4.8 4.8 0 1 0-9.6 0z", "#7c5cd6"),
    "number": PortLook("M-5.4 0L-2.7-4.7h5.4L5.4 0L2.7 4.7h-5.4z", "#2f78d0"),
    "structure": PortLook("M0-5.8L5.8 0L0 5.8L-5.8 0z", "#c07a12"),
    "file": PortLook("M-4-5.2h5l3 3v7.4h-8z", "#a0522d"),
    "any": PortLook("M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0-9.2 0z", "#7b8798"),
}


@dataclass(frozen=True, slots=True)
class CategoryLook:
    """How nodes of one category are told: path data in a square of 16, as of a state's icon, and a colour."""

    icon: str
    colour: str  # `#rrggbb`, behind the icon, which is white; contrast 3 or more


# By the category of a node.
CATEGORIES: dict[str, CategoryLook] = {
    "input": CategoryLook("M9.5 3.5h3v9h-3M3 8h6.5M7 5.5 9.5 8 7 10.5", "#0f857c"),
    "output": CategoryLook("M6.5 3.5h-3v9h3M6.5 8H13M10.5 5.5 13 8 10.5 10.5", "#3a6bc9"),
    "transform": CategoryLook("M3.2 4.2h9.6L9.2 8.6v3.6l-2.4-1.2V8.6z", "#5b74a8"),
    "convert": CategoryLook("M3.5 6h8.7M10 3.8 12.2 6M12.5 10H3.8M6 12.2 3.8 10", "#8259c4"),
    "control": CategoryLook("M3 8h3l3.5-3.6H13M6 8l3.5 3.6H13", "#a66a08"),
    "code": CategoryLook("M6 4.8 2.8 8 6 11.2M10 4.8 13.2 8 10 11.2", "#566173"),
    "notify": CategoryLook("M5 11V7.4a3 3 0 0 1 6 0V11M3.8 11h8.4M7.3 13.2h1.4", "#bb4577"),
    "custom": CategoryLook("M8 3l4.3 2.5v5L8 13 3.7 10.5v-5z", "#5b74a8"),
}


def css(*, has_nodes: bool = False) -> str:
    """The style of a picture, for the inside of its `<style>`. Every rule is held to `.dagy-graph`.

    `has_nodes`: some of its tasks are nodes, with connectors.
    """
    rules = [_BASE, _colours("", "task", NO_STATE)]
    for state, look in PALETTE.items():
        name = state.value.lower().replace("_", "-")
        rules.append(_colours(f'[data-state="{state.value}"]', name, look))
    return "".join([*rules, *([_node_css()] if has_nodes else []), _MARKS])


def _node_css() -> str:
    rules = [_NODES]
    for kind, port in PORTS.items():
        colour = f"var(--dagy-port-{kind},{port.colour})"
        rules.append(f'.dagy-graph .dagy-port[data-kind="{kind}"]{{--dagy-port:{colour}}}')
        rules.append(f'.dagy-graph .dagy-edge[data-kind="{kind}"]{{stroke:{colour}}}')
    for category, look in CATEGORIES.items():
        rules.append(
            f'.dagy-graph .dagy-node[data-state=""][data-category="{category}"] .dagy-badge{{fill:{look.colour}}}'
        )
    return "".join(rules)


_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'

_BASE = (
    f".dagy-graph text{{font-family:var(--dagy-font,{_FONT})}}"
    ".dagy-graph .dagy-card{stroke-width:1.25}"
    ".dagy-graph .dagy-name{font-size:13px;font-weight:600}"
    ".dagy-graph .dagy-detail{font-size:11px;opacity:.85}"
    ".dagy-graph .dagy-icon{fill:none;stroke:var(--dagy-icon,#fff);stroke-width:1.8;"
    "stroke-linecap:round;stroke-linejoin:round}"
    ".dagy-graph .dagy-edge{fill:none;stroke:var(--dagy-edge,#8e99ab);stroke-width:1.4;"
    "stroke-linecap:round;stroke-linejoin:round}"
    ".dagy-graph .dagy-frame{fill:var(--dagy-frame-fill,#7f8ea8);fill-opacity:.09;"
    "stroke:var(--dagy-frame-stroke,#8e99ab);stroke-opacity:.55}"
    ".dagy-graph .dagy-label{fill:var(--dagy-label-fill,#dfe4ee)}"
    ".dagy-graph .dagy-group-name{fill:var(--dagy-label-text,#3a4660);font-size:11px;font-weight:600}"
    '.dagy-graph .dagy-node[data-state="PENDING"] .dagy-icon{stroke-width:2.2}'
    '.dagy-graph .dagy-node[data-state=""] .dagy-icon{stroke-width:6}'
    '.dagy-graph .dagy-node[data-state="SKIPPED"] .dagy-card{stroke-dasharray:4 3}'
    '.dagy-graph .dagy-node[data-state="RUNNING"] .dagy-card{stroke-width:1.75}'
)

_NODES = (
    ".dagy-graph .dagy-node text.dagy-settings{font-size:10.5px;opacity:.82}"
    ".dagy-graph .dagy-rule{fill:none;stroke:currentColor;opacity:.12}"
    ".dagy-graph .dagy-category{fill:none;stroke:currentColor;stroke-width:1.4;stroke-linecap:round;"
    "stroke-linejoin:round;opacity:.5}"
    ".dagy-graph .dagy-port path{fill:var(--dagy-port);stroke:var(--dagy-port-ring,#fff);stroke-width:1.3;"
    "stroke-linejoin:round}"
    '.dagy-graph .dagy-port[data-kind="any"] path{fill:var(--dagy-port-ring,#fff);stroke:var(--dagy-port);'
    "stroke-width:2}"
    ".dagy-graph .dagy-port text{font-size:10.5px}"
    ".dagy-graph .dagy-port-type{font-size:10px;fill-opacity:.78}"
    ".dagy-graph .dagy-free text{fill-opacity:.78}"
    '.dagy-graph .dagy-edge[data-kind="after"]{stroke-dasharray:4 3}'
    '.dagy-graph .dagy-node[data-state=""][data-category] .dagy-icon{stroke-width:1.7}'
)

# After the states' rules, which they overrule.
_MARKS = (
    ".dagy-graph .dagy-node.dagy-marked .dagy-card{stroke:var(--dagy-mark-stroke,#b07c08);stroke-width:1.5;"
    "stroke-dasharray:5 3}"
    ".dagy-graph .dagy-node .dagy-tag{fill:var(--dagy-mark-fill,#fff4d6);stroke:var(--dagy-mark-stroke,#b07c08)}"
    ".dagy-graph .dagy-node text.dagy-mark{fill:var(--dagy-mark-text,#654706);font-size:10px;font-weight:600;"
    "text-anchor:middle}"
)


def _colours(which: str, name: str, look: Look) -> str:
    node = f".dagy-graph .dagy-node{which}"
    return (
        f"{node} .dagy-card{{fill:var(--dagy-{name}-fill,{look.fill});stroke:var(--dagy-{name}-stroke,{look.stroke})}}"
        f"{node} text{{fill:var(--dagy-{name}-text,{look.text})}}"
        f"{node} .dagy-badge{{fill:var(--dagy-{name}-badge,{look.badge})}}"
    )
