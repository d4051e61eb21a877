"""`dagy build`: a flow becomes an artifact."""

from __future__ import annotations

from pathlib import Path

import click

from dagy.artifact import build
from dagy.cli import output
from dagy.cli.targets import opened_source


@click.command("build", short_help="Package a flow as an artifact.")
@click.argument("target", metavar="FILE[:FLOW]")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dist"),
    show_default=True,
    help="Where artifacts go, each as FLOW/BUILD_ID/artifact.zip.",
)
def command(target: str, output_dir: Path) -> None:
    """Package a flow as an artifact.

    The artifact holds the flow's code, the local modules that it imports, and the versions of what it depends on. The
    same code gives the same file. The last line printed is the path of the artifact.

    \b
    Examples:
      dagy build my_flows.py
      dagy build my_flows.py:web_scraper --output-dir ./dist
    """
    destination = output_dir.absolute()
    with opened_source(target) as (source, flow):
        artifact = build(source, flow, destination)
    output.say(str(artifact))
    output.say(str(output_dir / artifact.path.relative_to(destination)))
