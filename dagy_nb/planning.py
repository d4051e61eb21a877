"""Where on AWS a flow would run, as a card: the place, why, each task's share of it, and what a run costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from dagy import backends
from dagy.drawing import counted, duration, markup_line
from dagy_nb.tables import NO_MATH

if TYPE_CHECKING:
    from dagy.backends import LimitUse, Route, TaskRoute

NAMES = {"lambda": "Lambda", "step-functions": "Step Functions", "ecs": "ECS Fargate"}

_MOST_TASKS = 20  # above that they are counted
_COLORS = {"lambda": "#d9822b", "step-functions": "#c2418b", "ecs": "#3572d6"}  # readable on white and on black
_CARD = (
    "border:1px solid rgba(128,128,128,.35);border-left:3px solid {edge};border-radius:6px;padding:10px 14px;"
    "max-width:760px;margin-top:6px;font-size:13px;line-height:1.5"
)
_HEAD = "display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline"
_PILL = "border:1px solid {edge};border-radius:9px;padding:0 7px;font-size:11px;white-space:nowrap"
_TRACK = "display:inline-block;width:64px;height:6px;border-radius:3px;background:rgba(128,128,128,.25)"
_CELL = "text-align:left;padding:2px 14px 2px 0;border:none;vertical-align:top;background:none"


def bundle_of_route(route: Route, *_: object) -> dict[str, str]:
    """The route as a notebook shows it: a card, and the same as text."""
    return {"text/html": card_of_route(route), "text/plain": str(route)}


def price_of(route: Route) -> str:
    """What its runs cost, about, in a line."""
    cost = route.cost
    return f"about {backends.dollars(cost.per_run)} a run, {backends.dollars(cost.per_thousand)} for 1,000"


def card_of_route(route: Route) -> str:
    """The card. Its texts are escaped, its colours are the page's own, and it needs no script."""
    edge = _COLORS.get(route.backend, "#848fa1")
    head = (
        f'<div style="{_HEAD}"><strong style="font-size:14px">{markup_line(route.flow)}</strong>'
        f"<span>{_pill(route.backend, route.tier)}</span><span>{markup_line(_size(route))}</span>"
        f'<span style="margin-left:auto">{markup_line(price_of(route))}</span></div>'
    )
    parts = [head, _lines(route.reasons)]
    parts.append(_table(["task", "runs on", "memory", "an attempt takes at most", ""], _task_rows(route)))
    left = len(route.tasks) - _MOST_TASKS
    if left > 0:
        parts.append(f'<div style="opacity:.7">and {counted(left, "more task")}</div>')
    if route.near:
        parts.append(_headed("Near a limit") + "".join(map(_near, route.near)))
    if route.problems:
        parts.append(_headed("To know before it is deployed") + _lines(route.problems, sign="⚠"))
    parts.append(_costs(route))
    return f'<div class="dagy-plan {NO_MATH}" style="{_CARD.format(edge=edge)}">{"".join(parts)}</div>'


def _size(route: Route) -> str:
    cpu = "" if route.vcpu is None else f"{route.vcpu:g} vCPU, "
    thing = {"lambda": "one invocation", "step-functions": "an invocation for each task", "ecs": "one container"}
    return f"{thing.get(route.backend, route.backend)}: {cpu}{route.memory_mb:,} MB, {route.architecture}"


def _pill(backend: str, tier: str) -> str:
    edge = _COLORS.get(backend, "#848fa1")
    name = markup_line(NAMES.get(backend, backend))
    return f'<span style="{_PILL.format(edge=edge)}"><b style="color:{edge}">{name}</b> {markup_line(tier)}</span>'


def _task_rows(route: Route) -> Iterator[list[str]]:
    for task in islice(route.tasks.values(), _MOST_TASKS):
        cpu = "" if task.vcpu is None else f", {task.vcpu:g} vCPU"
        memory = markup_line(f"{task.memory_mb:,} MB{cpu}")
        yield [
            f"<b>{markup_line(task.task)}</b>",
            _pill(task.backend, task.tier),
            memory,
            _bound(task),
            f'<span style="opacity:.75">{markup_line(task.reason)}</span>',
        ]


def _bound(task: TaskRoute) -> str:
    return "" if task.bound_seconds is None else markup_line(duration(task.bound_seconds).removesuffix(" 00 s"))


def _near(use: LimitUse) -> str:
    percent = min(100, round(100 * use.share))
    color = "#d64545" if use.share > 0.9 else "#d9822b"
    bar = (
        f'<span aria-hidden="true" style="{_TRACK}"><span style="display:block;width:{percent}%;height:6px;'
        f'border-radius:3px;background:{color}"></span></span>'
    )
    return f"<div>{bar} &nbsp;{markup_line(str(use))}</div>"


def _costs(route: Route) -> str:
    cost = route.cost
    rows = [
        [markup_line(each.service), markup_line(each.what), f"{each.quantity:,.4g} {markup_line(each.unit)}",
         backends.dollars(1000 * each.amount)]
        for each in cost.items
    ]  # fmt: skip
    told = f"What a run costs: list prices of {cost.region}, {cost.as_of}"
    return (
        f'<details style="margin-top:8px"><summary style="cursor:pointer">{markup_line(told)}</summary>'
        f"{_table(['service', 'what', 'a run', '1,000 runs'], rows)}{_lines(cost.assumptions)}</details>"
    )


def _headed(text: str) -> str:
    return f'<div style="margin-top:8px;font-weight:600">{markup_line(text)}</div>'


def _lines(lines: Sequence[str], sign: str = "·") -> str:
    return "".join(
        f'<div style="padding-left:14px;text-indent:-12px"><span aria-hidden="true">{sign}</span> '
        f"{markup_line(each)}</div>"
        for each in lines
    )


def _table(heads: Sequence[str], rows: Iterator[list[str]] | Sequence[Sequence[str]]) -> str:
    """A table of cells that are markup."""
    titles = "".join(
        f'<th scope="col" style="{_CELL};opacity:.7;font-weight:400">{markup_line(each)}</th>' for each in heads
    )
    body = "".join("<tr>" + "".join(f'<td style="{_CELL}">{each}</td>' for each in row) + "</tr>" for row in rows)
    return (
        f'<table style="border-collapse:collapse;margin:6px 0 0;font-size:13px"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
