"""`dagy build`: a flow becomes an artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagy import artifact
from dagy.cli import output
from dagy.cli.load import load
from dagy.cli.options import Form, format_option
from dagy.errors import ArtifactError
from dagy.settings import Settings

if TYPE_CHECKING:
    from dagy.artifact import Artifact, BuildOptions, Summary


@click.command("build", short_help="Package a flow as an artifact.")
@click.argument("target", metavar="FILE[:FLOW]")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dist"),
    show_default=True,
    help="Where artifacts go, each as FLOW/BUILD_ID/artifact.zip.",
)
@click.option(
    "--include",
    metavar="PATTERN",
    multiple=True,
    help="Data files to take along, such as 'data/*.csv', relative to the folder of FILE. May be given several times.",
)
@click.option(
    "--requirements",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What to install, instead of what the code imports.",
)
@click.option(
    "--target",
    "platform",
    metavar="PLATFORM",
    default="local",
    show_default=True,
    help="Where it is to run: local, lambda, lambda-arm64 or ecs.",
)
@format_option
def command(
    target: str, output_dir: Path, include: tuple[str, ...], requirements: Path | None, platform: str, form: Form
) -> None:
    """Package a flow as an artifact.

    The artifact holds the flow's code, the local modules that it imports, the data files that you name, and the
    versions of what it depends on. The same code gives the same file; when nothing has changed since the last time,
    nothing is run. The last line printed is the path of the artifact, and with --quiet the only one.

    \b
    Examples:
      dagy build my_flows.py
      dagy build my_flows.py:web_scraper --output-dir ./dist
      dagy build my_flows.py --include 'data/*.csv' --include templates
      dagy build my_flows.py --requirements requirements.txt --target lambda
    """
    _check_target(platform)
    destination = output_dir.absolute()
    wanted = requirements.absolute() if requirements else None
    options = artifact.BuildOptions(include, wanted, platform)
    summary = artifact.known_build(artifact.Request.here(target, destination, options), Settings.read().local_dir)
    if summary is None:
        summary = _built(target, destination, options).summary
    for warning in summary.warnings:
        output.note(f"note: {warning}", color="yellow")
    shown = _shown_path(summary, output_dir, destination)
    if output.volume() is output.Volume.QUIET and form == "table":
        output.say(str(shown))
    elif form == "table":  # what shows the other forms takes longer to load than all of this
        output.say(f"{summary}\n{shown}")
    else:
        load("formats").show(form, summary.to_json(), str)


def _check_target(name: str) -> None:
    if name == "local":  # what knows the others takes long to load
        return
    try:
        artifact.target_called(name)
    except ArtifactError as error:
        raise click.BadParameter(str(error), param_hint="'--target'") from error


def _built(target: str, destination: Path, options: BuildOptions) -> Artifact:
    if not (Path(target).exists() or Path(target).suffix):
        raise artifact.MissingSourceError(
            f"there is no file {target!r}; a target is FILE.py[:FLOW], NOTEBOOK.ipynb[:FLOW] or GRAPH.json"
        )
    try:
        return artifact.build_artifact(
            target,
            output_dir=destination,
            include=options.include,
            requirements=options.requirements,
            target=options.target,
            on_step=_steps(is_long=bool(options.include) or options.target != "local"),
        )
    except artifact.SeveralFlowsError as error:
        choices = "\n".join(f"  {target}:{name}" for name in error.known)
        raise click.UsageError(f"{target} defines {len(error.known)} flows; name one:\n{choices}") from error


def _shown_path(summary: Summary, output_dir: Path, destination: Path) -> Path:
    """Where the artifact is, as the caller named its folder."""
    return output_dir / Path(summary.path).relative_to(destination)


def _steps(*, is_long: bool) -> Callable[[str], None] | None:
    return (lambda step: output.note(f"{step} ...")) if is_long else None
