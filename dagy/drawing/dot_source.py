"""A flow as source for Graphviz, to be drawn by `dot` or kept: no binary is needed to write it."""

from __future__ import annotations

from collections.abc import Sequence

from dagy.drawing.escape import dot_line, markup_line, plain_line
from dagy.drawing.labels import States, elided, kinds, names
from dagy.drawing.layout import Group
from dagy.drawing.ports import Connectors, Port, connectors, wires
from dagy.drawing.style import NO_STATE, PALETTE
from dagy.graph import ordered
from dagy.spec import FlowSpec
from dagy.states import StateType


def dot(spec: FlowSpec, states: States | None = None) -> str:
    """DOT source of the flow, with the state of each task when `states` are given; tasks not named are pending.

    Nodes are called `t0`, `t1`, ... in the order of the tasks, so that no name can break the source. A task that is a
    node is a table whose cells are its connectors, `i0`, ... inbound and `o0`, ... outbound, where its lines meet it.
    Raises `CycleError` when the tasks need each other in a circle.
    """
    import graphviz

    def label(*lines: str) -> str:
        marked: str = graphviz.nohtml("\\n".join(map(dot_line, lines)))  # a str of its own kind, which `str` would undo
        return marked

    ordered(spec.needs, flow=spec.name)
    graph = graphviz.Digraph(
        name="flow",
        graph_attr={"rankdir": "LR", "bgcolor": "transparent", "fontname": "Helvetica", "compound": "true"},
        node_attr={"shape": "box", "style": "rounded,filled", "fontname": "Helvetica", "fontsize": "11"},
        edge_attr={"color": "#8e99ab", "arrowsize": "0.7"},
    )
    nodes = {task.id: f"t{index}" for index, task in enumerate(spec.tasks)}
    known = None if states is None else kinds(states)
    shown = {task_id: elided(plain_line(name), 60) for task_id, name in names(spec).items()}
    tables = connectors(spec)
    inside: dict[Group, list[str]] = {(): []}
    for task in spec.tasks:
        for depth in range(len(task.group)):
            inside.setdefault(task.group[: depth + 1], [])
        inside[task.group].append(task.id)
    bodies = {
        group: graph if not group else graphviz.Digraph(name=f"cluster_{place}") for place, group in enumerate(inside)
    }
    for group, task_ids in inside.items():
        for task_id in task_ids:
            look, lines = NO_STATE, [shown[task_id]]
            if known is not None:
                look = PALETTE[known.get(task_id, StateType.PENDING)]
                lines.append(f"{look.sign} {look.label}")
            shown_as = _table(lines, tables[task_id]) if task_id in tables else label(*lines)
            bodies[group].node(nodes[task_id], shown_as, fillcolor=look.fill, color=look.stroke, fontcolor=look.text)
    for group in sorted(filter(None, inside), key=len, reverse=True):
        frame = bodies[group]
        frame.attr(label=label(elided(plain_line(group[-1]))), color="#8e99ab", fontcolor="#6b7689", style="rounded")
        bodies[group[:-1]].subgraph(frame)
    cells = {
        task_id: {
            **{("i", port.id): f":i{place}:w" for place, port in enumerate(node.inbound)},
            **{("o", port.id): f":o{place}:e" for place, port in enumerate(node.outbound)},
        }
        for task_id, node in tables.items()
    }
    for wire in wires(spec):
        start = cells.get(wire.source, {}).get(("o", wire.outlet), "")
        end = cells.get(wire.target, {}).get(("i", wire.inlet), "")
        graph.edge(nodes[wire.source] + start, nodes[wire.target] + end)
    return str(graph.source)


def _table(lines: Sequence[str], node: Connectors) -> str:
    """The label of a node: what is said of it, above a row for each two of its connectors."""

    def cell(ports: Sequence[Port], place: int, side: str) -> str:
        align = "LEFT" if side == "i" else "RIGHT"
        if place >= len(ports):
            return "<TD></TD>"
        return f'<TD PORT="{side}{place}" ALIGN="{align}">{markup_line(elided(ports[place].words, 60))}</TD>'

    first, *rest = map(markup_line, [*lines, f"{elided(node.type, 60)} node"])
    head = "<BR/>".join([f"<B>{first}</B>", *rest])
    rows = "".join(
        f"<TR>{cell(node.inbound, place, 'i')}<TD></TD>{cell(node.outbound, place, 'o')}</TR>"
        for place in range(max(len(node.inbound), len(node.outbound)))
    )
    table = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">'
    return f'<{table}<TR><TD COLSPAN="3">{head}</TD></TR>{rows and "<HR/>" + rows}</TABLE>>'
