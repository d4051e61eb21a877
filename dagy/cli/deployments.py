"""`dagy deployments`: the names that runs can be asked for by."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dagy import deploy
from dagy.cli import output
from dagy.cli.completing import deployment_names, flow_names
from dagy.cli.formats import Form, cut, facts, format_option, plain, profile_option, show, table
from dagy.cli.kept_schedules import schedule_on_aws
from dagy.cli.options import confirm
from dagy.cli.planes import connected_if_any, taken
from dagy.cli.tags import pairs_of
from dagy.cli.timings import timing_text
from dagy.drawing import ago
from dagy.errors import UnknownDeploymentError

if TYPE_CHECKING:
    from dagy.client import Run
    from dagy.control import Deployment, Schedule

_RUNS = 5  # of a deployment, that are shown with it
_SHOWN = ("region", "account", "stack", "function", "state_machine", "task_definition")  # of its resources on AWS


@click.group("deployments", short_help="Show and delete deployments.")
def command() -> None:
    """Show, tag and delete deployments: the names that runs can be asked for by.

    `dagy deploy` makes them.

    \b
    Examples:
      dagy deployments list
      dagy deployments show web-scraper
      dagy deployments tag web-scraper team=data
      dagy deployments delete web-scraper --yes
    """


@command.command("list", short_help="List deployments, by name.")
@click.option("--namespace", help="Of the deployments of this namespace alone.")
@click.option("--flow", shell_complete=flow_names, help="Only those of this flow.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only those with this tag. Once for each.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@profile_option
@format_option
def list_deployments(
    namespace: str | None, flow: str | None, tags: Sequence[str], limit: int, profile: str | None, form: Form
) -> None:
    """List the deployments, each with the flow's version that it stands for.

    \b
    Examples:
      dagy deployments list
      dagy deployments list --tag team=data --format json
    """
    wanted = pairs_of(tags, "--tag") or None
    found: list[Deployment] = []
    schedules: list[Schedule] = []
    with connected_if_any(profile) as client:
        if client is not None:
            asked = client.deployments
            found = taken(
                limit, lambda n, after: asked(namespace=namespace, flow=flow, tags=wanted, limit=n, after=after)
            )
            if form == "table":
                schedules = client.schedules()
    if not found and form == "table":
        output.note("there is no such deployment" if namespace or flow or wanted else "nothing is deployed yet")
    show(form, found, lambda: _listed(found, schedules, profile))


@command.command("show", short_help="Show a deployment, its schedules and its last runs.")
@click.argument("deployment", shell_complete=deployment_names)
@profile_option
@format_option
def show_deployment(deployment: str, profile: str | None, form: Form) -> None:
    """Show a deployment, its schedules and its last runs.

    \b
    Examples:
      dagy deployments show web-scraper
      dagy deployments show web-scraper --format json
    """
    with connected_if_any(profile) as client:
        if client is None:
            raise UnknownDeploymentError(deployment)
        found = client.deployment(deployment)
        schedules = client.schedules(deployment=found.reference)
        runs = client.runs(deployment=found.reference, limit=_RUNS).items
    data = {**plain(found), "schedules": plain(schedules), "last_runs": [plain(each.info) for each in runs]}
    show(form, data, lambda: facts(_facts(found, schedules, runs)))


@command.command("tag", short_help="Tag a deployment.")
@click.argument("deployment", shell_complete=deployment_names)
@click.argument("tags", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--remove", metavar="KEY", multiple=True, help="Take this tag off. Once for each.")
@profile_option
def tag(deployment: str, tags: Sequence[str], remove: Sequence[str], profile: str | None) -> None:
    """Put tags on a deployment, or take some off; the others stay.

    \b
    Examples:
      dagy deployments tag web-scraper team=data stage=test
      dagy deployments tag web-scraper --remove stage
    """
    given = pairs_of(tags, "the tag")
    if not given and not remove:
        raise click.UsageError("no tag is given; say KEY=VALUE, or --remove KEY")
    with connected_if_any(profile) as client:
        if client is None:
            raise UnknownDeploymentError(deployment)
        found = client.deployment(deployment)
        missing = [each for each in remove if each not in found.tags]
        if missing:
            raise click.UsageError(f"deployment {found.reference!r} has no tag {missing[0]!r}")
        kept = {key: value for key, value in found.tags.items() if key not in remove}
        now = client.put_deployment(
            found.name,
            namespace=found.namespace,
            flow_name=found.flow_name,
            flow_version=found.flow_version,
            revision=found.revision,
            tags={**kept, **given},
            parameters=found.parameters,
            executor=found.executor,
            resources=found.resources,
        )
    output.say(f"{now.reference}: {_tags(now) or 'no tags'}")


@command.command("delete", short_help="Delete a deployment and its schedules.")
@click.argument("deployment", shell_complete=deployment_names)
@click.option("--with-resources", is_flag=True, help="Also what it has on AWS: its function, its state machine, ...")
@click.option("--yes", is_flag=True, help="Don't ask.")
@profile_option
def delete(deployment: str, with_resources: bool, yes: bool, profile: str | None) -> None:
    """Delete a deployment and its schedules. Its runs, and the flow's versions, stay.

    So does what it has on AWS, which is said, unless --with-resources takes it away too. Its schedule there is removed
    in any case, and what lies in the bucket stays.

    \b
    Examples:
      dagy deployments delete web-scraper
      dagy deployments delete web-scraper --with-resources --yes
    """
    with connected_if_any(profile) as client:
        if client is None:
            raise UnknownDeploymentError(deployment)
        found = client.deployment(deployment)
        left = deploy.left_on_aws(found)
        gone = [each for each in left if with_resources or each.is_schedule]
        also = f", and {', '.join(map(str, gone))} on AWS" if gone else ""
        stays = ", ".join(str(each) for each in left if each not in gone)
        rest = f" On AWS {stays} will stay; --with-resources removes that too." if stays else ""
        confirm(f"Delete deployment {found.reference!r} and its schedules{also}?{rest}", yes=yes)
        for each in gone:
            with output.working(f"removing {each}"):
                each.remove()
        client.delete_deployment(found.reference)
    output.say(f"deleted deployment {found.reference}{also}")
    if stays:
        output.note(
            f"on AWS there still is {stays}; to remove that too, deploy it again and delete it with --with-resources"
        )


def _listed(deployments: Sequence[Deployment], schedules: Sequence[Schedule], profile: str | None) -> str:
    timings: dict[str, list[str]] = {}
    for each in schedules:
        timings.setdefault(each.reference, []).append(timing_text(each.timing) + _rest(each))
    rows = [
        (
            each.reference,
            each.flow_name,
            each.label,
            each.executor,
            cut(", ".join([*_times_on_aws(each), *timings.get(each.reference, [])]), 40),
            cut(_tags(each), 40),
            _ago(each),
        )
        for each in deployments
    ]
    heads = ("DEPLOYMENT", "FLOW", "VERSION", "RUNS ON", "SCHEDULE", "TAGS", "CHANGED")
    return table(heads, rows, profile=profile) if rows else ""


def _facts(found: Deployment, schedules: Sequence[Schedule], runs: Sequence[Run]) -> list[tuple[str, str]]:
    told = [
        ("deployment", found.reference),
        ("flow", f"{found.flow_name} {found.label}"),
        ("code", found.code_hash),
        ("artifact", found.artifact),
        ("runs on", found.executor),
        ("changed", f"{found.updated_at.astimezone():%Y-%m-%d %H:%M:%S %Z}"),
    ]
    told += [("tag", f"{key}={value}") for key, value in found.tags.items()]
    told += [("parameter", f"{key} = {value!r}") for key, value in found.parameters.items()]
    told += [(key.replace("_", " "), str(found.resources[key])) for key in _SHOWN if key in found.resources]
    told += [("schedule", f"{timing}, by EventBridge Scheduler") for timing in _times_on_aws(found)]
    told += [("schedule", f"{timing_text(each.timing)}{_rest(each)} ({each.schedule_id})") for each in schedules]
    told += [("run", f"{each.run_id}: {each.state}") for each in runs]
    return told


def _times_on_aws(found: Deployment) -> list[str]:
    """When AWS itself begins runs of it, if it does."""
    schedule = schedule_on_aws(found)
    return [] if schedule is None else [timing_text(schedule.timing)]


def _rest(schedule: Schedule) -> str:
    return "" if schedule.enabled else ", paused"


def _tags(found: Deployment) -> str:
    return ", ".join(f"{key}={value}" for key, value in found.tags.items())


def _ago(found: Deployment) -> str:
    return ago(max(0.0, time.time() - found.updated_at.timestamp()))
