"""`dagy deploy`: a flow gets a name that runs can be asked for by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagy.artifact import SeveralFlowsError, open_built, parse_target
from dagy.cli import output
from dagy.cli.formats import Form, format_option, plain, profile_option, show
from dagy.cli.options import build_options, refuse_options
from dagy.cli.tags import pairs_of
from dagy.cli.targets import is_artifact, several_flows
from dagy.cli.timings import zone_of
from dagy.deploy import DeployResult, build_to_deploy, builds_folder, default_namespace, deploy_artifact, place_of
from dagy.parameter_texts import values_of

if TYPE_CHECKING:
    from dagy.deploy import Place

_OF_BUILDS = ("include", "requirements", "platform")  # what says how to build


@click.command("deploy", short_help="Let runs be asked for by a name.")
@click.argument("target", type=click.Path())
@click.option("--deployment", metavar="NAME", help="What runs are asked for by. [default: the flow's name]")
@click.option(
    "--namespace", help="Where it belongs, such as team/project. [default: the folder of FILE, seen from here]"
)
@click.option("--flow-name", metavar="NAME", help="The flow that the artifact must hold.")
@click.option("--flow-version", metavar="VERSION", help="The version that it must hold.")
@click.option("--schedule", metavar="CRON", help='It runs by itself, then: "0 6 * * 1-5" is 6:00 on workdays.')
@click.option("--timezone", metavar="TZ", help="Where the schedule is meant, such as Europe/Berlin. [default: UTC]")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="A tag of the deployment. Once for each.")
@click.option("--param", "given", metavar="NAME=VALUE", multiple=True, help="A parameter of its runs. Once for each.")
@click.option(
    "--executor",
    metavar="EXECUTOR",
    help="What runs it: local, lambda, step-functions, ecs, a tier from nano to xlarge, or auto. "
    "[default: what suits it on AWS where the profile has it, else local]",
)
@click.option("--image", metavar="URI", help="A container image of your own to run in, on ECS.")
@click.option("--force", is_flag=True, help="Also when nothing changed, or when a version's code did.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@build_options
@profile_option
@format_option
def command(
    target: str,
    deployment: str | None,
    namespace: str | None,
    flow_name: str | None,
    flow_version: str | None,
    schedule: str | None,
    timezone: str | None,
    tags: Sequence[str],
    given: Sequence[str],
    executor: str | None,
    image: str | None,
    force: bool,
    dry_run: bool,
    include: tuple[str, ...],
    requirements: Path | None,
    platform: str,
    profile: str | None,
    form: Form,
) -> None:
    """Deploy a flow: from then on runs of it can be asked for by the deployment's name.

    TARGET is ARTIFACT.zip, or FILE.py[:FLOW], NOTEBOOK.ipynb[:FLOW] or GRAPH.json, which is built first. What is not
    given is not there afterwards: a schedule, tags and parameters are those of the last deploy. When the same code is
    deployed with the same settings, nothing is done.

    Its runs are run by `dagy worker`, or on AWS where `dagy aws init` has noted that in the profile. --dry-run says
    where there, why, which limits are near, and about what a run costs.

    \b
    Examples:
      dagy deploy my_flows.py:web_scraper --deployment web-scraper
      dagy deploy my_flows.py --schedule "0 6 * * 1-5" --timezone Europe/Berlin --param url=https://example.com
      dagy deploy my_flows.py --include 'data/*.csv' --namespace team/project
      dagy deploy dist/web_scraper/0123456789ab/artifact.zip --deployment web-scraper --tag team=data --dry-run
      dagy deploy my_flows.py --executor step-functions --dry-run
    """
    if timezone is not None:
        zone_of(timezone)
    labels = pairs_of(tags, "--tag")
    if is_artifact(target):
        refuse_options(_OF_BUILDS, "what is built", "the artifact", target)
        path, folder = Path(target), ""
    else:
        path = _built(target, place_of(executor, image, profile), include, requirements, platform)
        folder = default_namespace(parse_target(target).path)
    with output.working(f"deploying {path}") as tell:
        result = deploy_artifact(
            path,
            deployment,
            flow_name=flow_name,
            flow_version=flow_version,
            namespace=folder if namespace is None else namespace,
            tags=labels,
            schedule=schedule,
            timezone=timezone,
            parameters=values_of(open_built(path).manifest.spec, given) if given else {},
            force=force,
            profile=profile,
            executor=executor,
            image=image,
            dry_run=dry_run,
            on_step=lambda step: tell(str(step)),
        )
    show(form, _as_json(result), lambda: _told(result))


def _built(target: str, place: Place | None, include: Sequence[str], requirements: Path | None, platform: str) -> Path:
    """The artifact that `FILE[:FLOW]` becomes."""
    destination = builds_folder()
    with output.working(f"building {target}") as tell:
        try:
            built = build_to_deploy(
                target,
                place,
                output_dir=destination,
                include=include,
                requirements=requirements,
                target=platform,
                on_step=tell,
            )
        except SeveralFlowsError as error:
            raise several_flows(target, error) from error
    for warning in built.warnings:
        output.note(f"note: {warning}", color="yellow")
    return built.path


def _told(result: DeployResult) -> str:
    text = f"{result}\nunchanged, skipped" if result.skipped else str(result)
    is_asked_for = result.is_dry_run or output.volume() is not output.Volume.QUIET
    return text if is_asked_for else text.splitlines()[-1 if result.skipped else 0]


def _as_json(result: DeployResult) -> dict[str, object]:
    return {
        "skipped": result.skipped,
        "dry_run": result.is_dry_run,
        "deployment": result.reference,
        "namespace": result.namespace,
        "flow": result.flow_name,
        "version": result.flow_version,
        "artifact": result.artifact.path,
        "executor": result.plan.wanted.executor,
        "route": plain(result.route),
        "steps": [str(each) for each in result.plan.steps],
        "now": plain(result.deployment),
    }
