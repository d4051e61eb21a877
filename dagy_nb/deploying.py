"""A deploy from the notebook: what it did, and how the deployment is run, as a card."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dagy.drawing import counted, markup_line, plain_lines
from dagy.errors import DagyError
from dagy_nb.notebook import KeptCell
from dagy_nb.notebook_file import has_file_id
from dagy_nb.tables import NO_MATH

if TYPE_CHECKING:
    from dagy.artifact import Artifact
    from dagy.backends import Route
    from dagy.control import Deployment, Schedule
    from dagy.deploy import DeployResult, Plan
    from dagy_nb.proof import Proof

LOCAL = "local"  # the target that is the machine itself

_MOST_NAMED = 3  # cells, or tasks, in a sentence


class NotProvenError(DagyError):
    """The artifact does not do what the notebook did, so it was not deployed; `proof` says where they differ."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof
        wrong = [str(each) for each in proof.tasks if each.verdict in ("differs", "missing")]
        more = [f"and {counted(len(wrong) - _MOST_NAMED, 'more task')}"] if len(wrong) > _MOST_NAMED else []
        lines = [
            "nothing is deployed: in a clean process the artifact does not give the notebook's results",
            *(f"  {each}" for each in [*wrong[:_MOST_NAMED], *more, *proof.hints]),
            "run the flow again if its cells have changed since; --no-prove deploys without the proof",
        ]
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deploy from the notebook came to; `result` is the deploy's own, shown as a card."""

    result: DeployResult
    artifact: Artifact
    proof: Proof | None = None  # None: it was not proven, and `unproven` says why
    unproven: str = ""
    schedules: tuple[Schedule, ...] = ()  # those of the deployment

    @property
    def skipped(self) -> bool:
        """Whether this code was deployed already, with these settings."""
        return self.result.skipped

    @property
    def deployment_name(self) -> str:
        """The deployment's name in its namespace."""
        return self.result.deployment_name

    @property
    def namespace(self) -> str:
        """The deployment's namespace; empty, or such as `team/project`."""
        return self.result.namespace

    @property
    def flow_version(self) -> str:
        """The version of the flow that it stands for."""
        return self.result.flow_version

    @property
    def plan(self) -> Plan:
        """The steps that were made, or in a dry run would be."""
        return self.result.plan

    @property
    def route(self) -> Route | None:
        """Where on AWS its runs run, and why; None: workers run them."""
        return self.result.route

    @property
    def deployment(self) -> Deployment | None:
        """The deployment as it is now; None where a dry run found none."""
        return self.result.deployment

    @property
    def head(self) -> str:
        """The outcome in a line."""
        result = self.result
        if result.skipped:
            return f"{result.reference} is deployed already: nothing has changed"
        return f"{result.reference} {'would be' if result.is_dry_run else 'is'} deployed"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is known of the deployment, each with what it is."""
        deployment = self.deployment
        found = [("flow", f"{self.result.flow_name} {_version(self)}")]
        if self.artifact.manifest.target != LOCAL:
            found.append(("for", f"{self.artifact.manifest.target}, {_packages(self.artifact)}"))
        if self.route is not None and not self.result.is_dry_run:  # whose plan says more of it
            found += [("runs on", self.route.place), ("costs", str(self.route.cost))]
            found += [("limit", str(each)) for each in self.route.near]
        if deployment is not None and deployment.tags:
            found.append(("tags", ", ".join(f"{key}={value}" for key, value in sorted(deployment.tags.items()))))
        if deployment is not None and deployment.parameters:
            given = ", ".join(f"{name}={value!r}" for name, value in sorted(deployment.parameters.items()))
            found.append(("given", given))
        found += [("schedule", _when(each)) for each in self.schedules]
        if self.proof is not None:
            found.append(("proof", f"gives the notebook's results in a clean process ({_counted(self.proof)})"))
        elif self.unproven:
            found.append(("proof", self.unproven))
        found += [("left out", str(each)) for each in self.artifact.left_out]
        found += [("beware", each) for each in self.artifact.warnings]
        return tuple(found)

    @property
    def how_to_run(self) -> tuple[str, ...]:
        """The lines that run it; none while it is not deployed."""
        if self.deployment is None:
            return ()
        reference = self.deployment.reference
        return (f"%dagy_run --deployment {reference}", f"dagy run {reference}")

    @property
    def note(self) -> str:
        """What else is to be known; empty when nothing is."""
        is_followed = self.schedules and self.result.is_local and not self.result.is_dry_run and self.route is None
        return "its schedule is followed while a worker runs: dagy worker" if is_followed else ""

    def __str__(self) -> str:
        sign = "○" if self.result.is_dry_run else "✓"
        lines = [self.head, *(f"  {sign} {step}" for step in self.plan.steps)]
        lines += [f"  {name:<9} {text}" for name, text in self.facts]
        if self.how_to_run:
            magic, command = self.how_to_run
            lines.append(f"  {'run it':<9} {magic}    (in a terminal: {command})")
        lines += [f"  {self.note}"] if self.note else []
        if self.result.is_dry_run and self.route is not None:
            lines += ["", *str(self.route).splitlines()]
        return plain_lines("\n".join(lines))

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": _card(self), "text/plain": str(self)}


def edited_since(kept: Sequence[KeptCell], exported: Collection[str], moment: float) -> tuple[str, ...]:
    """What messages call the cells of an export whose text changed after `moment`, in seconds since the epoch.

    `exported` are their ids; of cells without an id those count that define a task or a flow.
    """
    return tuple(
        each.cell.label
        for each in kept
        if each.changed_at > moment
        and (each.cell.id in exported or (not has_file_id(each.cell) and each.defined is not None))
    )


def _version(deployed: Deployed) -> str:
    deployment = deployed.deployment
    if deployment is None or (deployed.result.is_dry_run and not deployed.skipped):
        return deployed.flow_version
    is_told = deployment.revision == 1 and deployment.flow_version != "latest"
    return deployment.flow_version if is_told else f"{deployment.flow_version} (revision {deployment.revision})"


def _packages(artifact: Artifact) -> str:
    count = counted(len(artifact.manifest.lock), "package")
    size = 0 if artifact.layer is None else artifact.layer.stat().st_size
    return f"with {count} ({size / 1_000_000:,.1f} MB)"


def _counted(proof: Proof) -> str:
    equal = sum(each.verdict == "equal" for each in proof.tasks)
    total = counted(len(proof.tasks), "task")
    return total if equal == len(proof.tasks) else f"{equal} of {total} equal, none differs"


def _when(schedule: Schedule) -> str:
    timing = schedule.timing
    every = timing.cron or (f"every {timing.interval_seconds:g} s" if timing.interval_seconds else timing.mode)
    told = f"{every} ({timing.timezone})"
    if not schedule.enabled:
        return f"{told}, paused"
    return f"{told}, next {_told_time(schedule.next_run_at, timing.timezone)}" if schedule.next_run_at else told


def _told_time(moment: datetime, timezone: str) -> str:
    import zoneinfo

    return moment.astimezone(zoneinfo.ZoneInfo(timezone)).strftime("%a %d %b %Y %H:%M")


_CARD = (
    "border:1px solid rgba(128,128,128,.35);border-left:3px solid {edge};border-radius:6px;padding:10px 14px;"
    "max-width:760px;font-size:13px;line-height:1.5"
)
_EDGES = {"done": "#2e9e5b", "skipped": "#848fa1", "planned": "#7b6eea"}
_CODE = "font-family:var(--jp-code-font-family,monospace);font-size:12px"


def _card(deployed: Deployed) -> str:
    result = deployed.result
    kind = "skipped" if result.skipped else "planned" if result.is_dry_run else "done"
    sign = {"done": "✓", "skipped": "=", "planned": "○"}[kind]
    head = (
        f'<div style="font-size:14px"><span aria-hidden="true" style="color:{_EDGES[kind]};font-weight:700">{sign}'
        f"</span> <strong>{markup_line(deployed.head)}</strong></div>"
    )
    steps = "".join(f"<li>{markup_line(str(step))}</li>" for step in deployed.plan.steps)
    listed = f'<ol style="margin:4px 0 6px;padding-left:22px;opacity:.85">{steps}</ol>' if steps else ""
    rows = "".join(_row(name, markup_line(text)) for name, text in deployed.facts)
    code = [f'<code style="{_CODE}">{markup_line(each)}</code>' for each in deployed.how_to_run]
    if code:
        rows += _row("run it", f'{code[0]} &nbsp;<span style="opacity:.7">or in a terminal</span>&nbsp; {code[1]}')
    grid = f'<div style="display:grid;grid-template-columns:max-content 1fr;gap:1px 14px">{rows}</div>'
    note = f'<div style="opacity:.7;margin-top:6px">{markup_line(deployed.note)}</div>' if deployed.note else ""
    style = _CARD.format(edge=_EDGES[kind])
    route = deployed.route if result.is_dry_run else None
    plan = "" if route is None else route._repr_mimebundle_()["text/html"]
    return f'<div class="dagy-deployed {NO_MATH}" style="{style}">{head}{listed}{grid}{note}</div>{plan}'


def _row(name: str, markup: str) -> str:
    return f'<div style="opacity:.7">{name}</div><div>{markup}</div>'
