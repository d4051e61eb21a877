"""A `Route` for people: as text for a terminal, and as a card in the colours of a notebook's page, light or dark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from dagy.backends.wording import dollars, lasting
from dagy.drawing import counted, markup_line
from dagy.drawing.reports import Section, report_text
from dagy.drawing.still import quiet, table, whole

if TYPE_CHECKING:
    from dagy.backends.limits import LimitUse
    from dagy.backends.routes import Cost, Route, TaskRoute

_MOST_TASKS = 20  # above that they are counted
_TITLES = {"lambda": "Lambda", "step-functions": "Step Functions", "ecs": "ECS Fargate"}
_COLORS = {"lambda": "#d9822b", "step-functions": "#c2418b", "ecs": "#3572d6"}  # of edges, seen on white and on black
_CARD = (
    "border:1px solid rgba(128,128,128,.35);border-left:3px solid {edge};border-radius:6px;padding:10px 14px;"
    "max-width:760px;margin-top:6px"
)
_HEAD = "display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline"
_PILL = "border:1px solid {edge};border-radius:9px;padding:0 7px;font-size:11px;white-space:nowrap"
_TRACK = "flex:0 0 64px;height:6px;border-radius:3px;background:rgba(128,128,128,.25)"


def text_of(route: Route) -> str:
    """The route as text of at most 100 columns."""
    cost = route.cost
    return report_text(
        f"{route.flow} on AWS: {route.place}",
        (
            Section("Why", route.reasons),
            Section(
                "Tasks",
                tuple(_left_out(route)),
                ("task", "on", "tier", "memory", "vCPU", "an attempt at most", "because"),
                tuple(_task_texts(each, route) for each in _listed(route)),
            ),
            Section("Near a limit", tuple(map(str, route.near))),
            Section("Note", route.problems),
            Section(
                "Cost",
                (f"{cost}: an estimate at the list prices of {cost.region}, {cost.as_of}",),
                ("service", "what", "a run", "of 1,000 runs"),
                tuple(_cost_texts(cost)),
            ),
            Section("Assumed", cost.assumptions),
        ),
    )


def card_of(route: Route) -> str:
    """The route as HTML: all text is escaped, and it needs no script."""
    edge = _COLORS[route.backend]
    rows = [_task_markup(each, route) for each in _listed(route)]
    parts = [
        f'<div style="{_HEAD}"><strong style="font-size:14px">{markup_line(route.flow)}</strong>'
        f"<span>{_pill(route.backend, route.tier)}</span><span>{markup_line(route.size)}</span>"
        f'<span style="margin-left:auto">{markup_line(str(route.cost))}</span></div>',
        _lines(route.reasons),
        table(("Task", "Runs on", "Memory", "An attempt at most", "Because"), rows),
        *(quiet(each) for each in _left_out(route)),
    ]
    if route.near:
        parts += [_heading("Near a limit"), *map(_bar, route.near)]
    if route.problems:
        parts += [_heading("To know before it is deployed"), _lines(route.problems, sign="⚠")]
    parts.append(_folded(route.cost))
    return whole([f'<div class="dagy-route" style="{_CARD.format(edge=edge)}">{"".join(parts)}</div>'])


# ---- what both say


def _listed(route: Route) -> Iterator[TaskRoute]:
    return islice(route.tasks.values(), _MOST_TASKS)


def _left_out(route: Route) -> Iterator[str]:
    left = Counter((each.backend, each.tier) for each in islice(route.tasks.values(), _MOST_TASKS, None))
    for (backend, tier), count in left.items():
        yield f"{counted(count, 'more task')} on {backend} ({tier})"


def _task_texts(task: TaskRoute, route: Route) -> tuple[str, ...]:
    vcpu = "" if task.vcpu is None else f"{task.vcpu:g}"
    size = (task.backend, task.tier, f"{task.memory_mb:,} MB", vcpu) if route.is_apart else ("", "", "", "")
    return (task.task, *size, _bound(task), task.reason)


def _cost_texts(cost: Cost) -> Iterator[tuple[str, ...]]:
    for each in cost.items:
        quantity = f"{each.quantity:,.0f}" if each.quantity >= 100 else f"{each.quantity:.3g}"
        yield each.service, each.what, f"{quantity} {each.unit}".strip(), dollars(1000 * each.amount)


def _bound(task: TaskRoute) -> str:
    return "" if task.bound_seconds is None else lasting(task.bound_seconds)


# ---- the card's parts


def _task_markup(task: TaskRoute, route: Route) -> tuple[str, ...]:
    size = f"{task.memory_mb:,} MB" + ("" if task.vcpu is None else f", {task.vcpu:g} vCPU")
    place = (_pill(task.backend, task.tier), size) if route.is_apart else ("", "")
    return (f"<b>{markup_line(task.task)}</b>", *place, _bound(task), quiet(task.reason))


def _pill(backend: str, tier: str) -> str:
    edge = _COLORS[backend]
    return f'<span style="{_PILL.format(edge=edge)}"><b>{_TITLES[backend]}</b> {tier}</span>'


def _heading(text: str) -> str:
    return f'<div style="margin-top:8px;font-weight:600">{text}</div>'


def _lines(lines: Sequence[str], sign: str = "·") -> str:
    return "".join(
        f'<div style="padding-left:14px;text-indent:-12px"><span aria-hidden="true">{sign}</span> '
        f"{markup_line(each)}</div>"
        for each in lines
    )


def _bar(use: LimitUse) -> str:
    percent, color = round(100 * use.share), "#d64545" if use.share > 0.9 else "#d9822b"
    return (
        f'<div style="display:flex;gap:8px;align-items:center"><span aria-hidden="true" style="{_TRACK}"><span '
        f'style="display:block;width:{percent}%;height:6px;border-radius:3px;background:{color}"></span></span>'
        f"<span>{markup_line(str(use))}</span></div>"
    )


def _folded(cost: Cost) -> str:
    prices = table(("Service", "What", "A run", "1,000 runs"), list(_cost_texts(cost)))
    return (
        '<details style="margin-top:8px"><summary style="cursor:pointer">What a run costs: list prices of '
        f"{cost.region}, {cost.as_of}</summary>{prices}{_lines(cost.assumptions)}</details>"
    )
