"""`dagy draw`: a flow's graph, without a run."""

from __future__ import annotations

from pathlib import Path

import click

from dagy.cli import output
from dagy.cli.targets import spec_of
from dagy.drawing import dot, svg, text_tree

_FORMATS = {"text": text_tree, "svg": svg, "dot": dot}


@click.command("draw", short_help="Draw a flow's graph without running it.")
@click.argument("target")
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="text", show_default=True)
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write to FILE instead.")
def command(target: str, form: str, file: Path | None) -> None:
    """Draw a flow's graph without running any of its tasks.

    \b
    Examples:
      dagy draw my_flows.py
      dagy draw my_flows.py:web_scraper --format svg -o web_scraper.svg
      dagy draw dist/web_scraper/0123456789ab/artifact.zip --format dot
    """
    picture = _FORMATS[form](spec_of(target))
    if file is None:
        output.hand_over(picture)
    else:
        file.write_text(picture + "\n", encoding="utf-8")
        output.note(f"wrote {file}")
