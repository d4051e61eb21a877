"""A flow or a run as a still picture in HTML, the same for every reader: notebook, web page, converted document.

No script, no style sheet, nothing to fetch, and nothing that needs a kernel: the picture is an `<img>` with its data in
it, and all it says stands in a table too, for readers that drop pictures. It takes the page's own colours, so that it
reads on a light page and on a dark one. What it shows is bounded, and what it leaves out it counts.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagy.drawing.escape import markup_line, markup_lines, plain_line
from dagy.drawing.labels import Marks, counted, duration, elided, names, summary, tally
from dagy.drawing.node_cards import settings_line
from dagy.drawing.ports import Connectors, connectors
from dagy.drawing.style import PALETTE
from dagy.drawing.svg_source import FITTING_WIDTH, picture
from dagy.spec import FlowSpec, TaskSpec
from dagy.states import State, StateType

MOST_ROWS = 300  # of a table
MOST_TASKS, MOST_EDGES = 2_000, 6_000  # in a picture: above that it can't be read, and weighs megabytes
MOST_TEXT = 20_000  # characters of one output or error
MOST_TEXT_IN_ALL = 400_000

_URGENT = (
    StateType.FAILED,
    StateType.CRASHED,
    StateType.TIMED_OUT,
    StateType.RUNNING,
    StateType.RETRYING,
)
_BAD = frozenset(_URGENT[:3])

_LINE = "1px solid rgba(127,127,127,0.3)"
_ROW = f"border:0;border-bottom:{_LINE};background:none;vertical-align:top"
_CELL = "text-align:left;padding:3px 14px 3px 0"
_TABLE = "border-collapse:collapse;border:0;margin:6px 0;color:inherit;background:transparent;font-size:13px"
_QUIET = "opacity:0.75"
_PRE = (
    f"margin:4px 0 10px 0;padding:8px 10px;border:{_LINE};border-radius:6px;overflow:auto;max-height:360px;"
    "white-space:pre-wrap;color:inherit;background:rgba(127,127,127,0.08);font-size:12px;line-height:1.4"
)


@dataclass(frozen=True, slots=True)
class TaskStill:
    """What a still shows of one task. All text is the user's own and is shown as it is, without being understood."""

    id: str
    name: str
    state: State
    attempt: int  # the number of the last attempt; 0: it never started
    seconds: float | None  # how long it took; None: it never started, or has not ended
    output: str
    error: str
    preview_html: str  # HTML of the task's result, put in as it is
    items: int | None = None  # how many items a mapped task has


@dataclass(frozen=True, slots=True)
class RunStill:
    """What a still shows of a run."""

    spec: FlowSpec
    run_id: str
    state: State
    seconds: float | None  # None: it has not ended
    tasks: tuple[TaskStill, ...]
    note: str = ""  # a line for the reader, under the heading


def flow_html(spec: FlowSpec, *, marks: Marks | None = None) -> str:
    """The flow as HTML: its picture and a table of its tasks, both with the marks that set some of them apart.

    Raises `CycleError` when the tasks need each other in a circle.
    """
    marks = marks or {}
    label = names(spec)
    nodes = connectors(spec)
    heading = f"<strong>{markup_line(spec.name)}</strong> {quiet(counted(len(spec.tasks), 'task'))}"
    rows = [
        (
            f"<strong>{_short(label[task.id])}</strong>{_tag(marks.get(task.id, ''))}",
            markup_line(nodes[task.id].type) if task.id in nodes else "",
            _some(_needs(task, nodes.get(task.id), label)),
            _some([port.words for port in nodes[task.id].outbound]) if task.id in nodes else "",
            markup_line(settings_line(nodes[task.id])) if task.id in nodes else "",
            markup_line(_options(task)),
            _short(task.description.strip().partition("\n")[0], 120),
        )
        for task in spec.tasks[:MOST_ROWS]
    ]
    parts = [paragraph(heading)]
    if spec.description.strip():
        parts.append(paragraph(_short(spec.description.strip().partition("\n")[0], 200)))
    parts.append(_image(spec, None, None, marks))
    parts.append(table(("Task", "Node", "Needs", "Gives", "Settings", "Options", "Description"), rows))
    if len(spec.tasks) > MOST_ROWS:
        parts.append(paragraph(quiet(f"{counted(len(spec.tasks) - MOST_ROWS, 'more task')} not listed.")))
    return whole(parts)


def run_html(run: RunStill) -> str:
    """The run as HTML: how it went, its picture, a table of its tasks, and what they wrote, failed ones first."""
    states = {task.id: task.state for task in run.tasks}
    details = {task.id: _detail(task) for task in run.tasks}
    label = names(run.spec)
    heading = [_pill(run.state.type), f"<strong>{markup_line(run.spec.name)}</strong>"]
    if run.seconds is not None:
        heading.append(duration(run.seconds))
    counts = tally({task.id: task.state.type for task in run.tasks})
    heading.append(quiet(f"{counted(len(run.tasks), 'task')}{counts and ': '}{counts}"))
    heading.append(quiet(f"run {run.run_id}"))
    parts = [paragraph(" &nbsp;".join(heading))]
    parts += [paragraph(markup_line(each)) for each in (run.state.message, run.note) if each]
    parts.append(_image(run.spec, states, details))

    urgent = [task for kind in _URGENT for task in run.tasks if task.state.type is kind]
    listed: Sequence[TaskStill] = run.tasks
    if len(run.tasks) > MOST_ROWS:
        rest = [task for task in run.tasks if task.state.type not in _URGENT]
        listed = [*urgent, *rest][:MOST_ROWS]
    rows = [
        (
            f"<strong>{_short(label.get(task.id, task.name))}</strong>",
            _pill(task.state.type) + (f" {_short(task.state.message, 160)}" if task.state.message else ""),
            str(task.attempt) if task.attempt else "",
            f'<span style="white-space:nowrap">{duration(task.seconds)}</span>' if task.seconds is not None else "",
        )
        for task in listed
    ]
    parts.append(table(("Task", "State", "Attempts", "Time"), rows))
    if len(listed) < len(run.tasks):
        shown = {task.id for task in listed}
        left = {task.id: task.state.type for task in run.tasks if task.id not in shown}
        parts.append(paragraph(quiet(f"{counted(len(left), 'more task')} not listed: {tally(left)}.")))
    first = [task for task in listed if task.state.type in _BAD]
    parts += _written([*first, *(task for task in listed if task.state.type not in _BAD)], label)
    return whole(parts)


def _written(tasks: Iterable[TaskStill], label: Mapping[str, str]) -> list[str]:
    """What each task wrote, raised and returned, to be opened; open already where it failed."""
    parts = []
    left = MOST_TEXT_IN_ALL
    unsaid = 0
    for task in tasks:
        if not (task.output or task.error or task.preview_html):
            continue
        if left <= 0:
            unsaid += 1
            continue
        body = [task.preview_html]
        for text in (task.error, task.output):
            if text:
                shown = text[-MOST_TEXT:]
                left -= len(shown)
                cut = len(text) - len(shown)
                body.append(paragraph(quiet(f"… {counted(cut, 'character')} before this left out")) if cut else "")
                body.append(f'<pre style="{_PRE}">{markup_lines(shown)}</pre>')
        holds = [word for word, is_there in (("error", task.error), ("output", task.output)) if is_there]
        holds += ["result"] if task.preview_html else []
        is_open = " open" if task.state.type in _BAD else ""
        parts.append(
            f'<details{is_open} style="margin:4px 0"><summary style="cursor:pointer">'
            f"{_pill(task.state.type) if is_open else PALETTE[task.state.type].sign} "
            f"<strong>{_short(label.get(task.id, task.name))}</strong>"
            f" {quiet(', '.join(holds))}</summary>{''.join(body)}</details>"
        )
    if unsaid:
        parts.append(paragraph(quiet(f"The output of {counted(unsaid, 'more task')} is left out here.")))
    return parts


def _image(
    spec: FlowSpec, states: Mapping[str, State] | None, details: Mapping[str, str] | None, marks: Marks | None = None
) -> str:
    edges = len(spec.edges)
    if len(spec.tasks) > MOST_TASKS or edges > MOST_EDGES:
        size = f"{counted(len(spec.tasks), 'task')} and {counted(edges, 'edge')}"
        return paragraph(quiet(f"No picture: {size} are too many to be read in one."))
    if not spec.tasks:
        return ""
    drawn = picture(spec, states, details=details, marks=marks, is_still=True)
    data = base64.b64encode(drawn.svg.encode()).decode()
    fits = drawn.width <= FITTING_WIDTH * 1.25
    shape = "max-width:100%;height:auto" if fits else "max-width:none"
    alt = markup_line(summary(spec, states, marks))
    image = f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}" style="{shape}">'
    return f'<div style="overflow:auto;max-height:900px;margin:6px 0">{image}</div>'


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table without the columns that are empty in every row."""
    used = [index for index in range(len(headings)) if any(row[index] for row in rows)]
    if not used:
        return ""
    head = "".join([f'<th style="{_CELL};font-weight:600">{headings[index]}</th>' for index in used])
    cells = ["".join([f'<td style="{_CELL}">{row[index]}</td>' for index in used]) for row in rows]
    body = "".join([f'<tr style="{_ROW}">{each}</tr>' for each in cells])
    return f'<table style="{_TABLE}"><thead><tr style="{_ROW}">{head}</tr></thead><tbody>{body}</tbody></table>'


def _detail(task: TaskStill) -> str:
    words = [] if task.items is None else [counted(task.items, "item")]
    words += [f"attempt {task.attempt}"] if task.attempt > 1 else []
    if task.seconds is not None and task.state.type is not StateType.SKIPPED:
        words.append(duration(task.seconds))
    return " · ".join(words)


def _needs(task: TaskSpec, node: Connectors | None, label: Mapping[str, str]) -> list[str]:
    """The tasks that it needs, of a node by connector."""
    if node is None:
        return [label.get(each, each) for each in task.needs]
    waits = [label.get(each, each) for each in task.after]
    return [f"{port.label} ← {', '.join(port.ends)}" for port in node.inbound if port.joined] + waits


def _options(task: TaskSpec) -> str:
    options = task.options
    words = []
    if options.retries:
        words.append("1 retry" if options.retries == 1 else f"{options.retries:,} retries")
    if options.timeout_seconds is not None:
        words.append(f"timeout {duration(options.timeout_seconds)}")
    if options.concurrency_limit is not None:
        words.append(f"at most {options.concurrency_limit} at once")
    if options.executor:
        words.append(f"on {options.executor}")
    if options.memory_mb is not None:
        words.append(f"{options.memory_mb:,} MB")
    return ", ".join(words)


def _pill(kind: StateType) -> str:
    look = PALETTE[kind]
    return (
        f'<span style="background:{look.fill};color:{look.text};border-radius:9px;padding:1px 8px;white-space:nowrap">'
        f"{look.sign} {look.label}</span>"
    )


def _tag(mark: str) -> str:
    if not mark:
        return ""
    style = (
        "background:#fff4d6;color:#654706;border:1px dashed #b07c08;border-radius:9px;padding:0 7px;font-size:11px;"
        "margin-left:6px;white-space:nowrap"
    )
    return f'<span style="{style}">{_short(mark)}</span>'


def _some(texts: Sequence[str], most: int = 6) -> str:
    shown = ", ".join([elided(plain_line(each), 40) for each in texts[:most]])
    return markup_line(shown + (f" and {len(texts) - most:,} more" if len(texts) > most else ""))


def _short(text: str, limit: int = 60) -> str:
    return markup_line(elided(plain_line(text), limit))


def quiet(text: str) -> str:
    """Plain text, escaped, that stands back."""
    return f'<span style="{_QUIET}">{markup_line(text)}</span>'


def paragraph(markup: str) -> str:
    """A line of its own."""
    return f'<div style="margin:4px 0;color:inherit">{markup}</div>'


def whole(parts: Sequence[str]) -> str:
    """The parts as one piece of a page, in the page's own colours. Two `$` in it are no formula."""
    style = "color:inherit;font-size:13px;line-height:1.5"
    return f'<div class="mathjax_ignore tex2jax_ignore" style="{style}">{"".join(parts)}</div>'
