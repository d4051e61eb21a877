"""`dagy export`: the module that a notebook becomes."""

from __future__ import annotations

from pathlib import Path

import click

from dagy.artifact import Source, read_source
from dagy.cli import output
from dagy.drawing import counted


@click.command("export", short_help="Show a notebook as the Python module that runs.")
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write to FILE instead.")
@click.option("--force", is_flag=True, help="Overwrite FILE when it exists.")
def command(notebook: Path, file: Path | None, force: bool) -> None:
    """Show a notebook as the Python module that runs in production. None of it is executed.

    What is left out of the module is said on stderr, cell by cell, with the reason.

    \b
    Examples:
      dagy export scraper.ipynb
      dagy export scraper.ipynb -o scraper.py
    """
    if notebook.suffix == ".py":
        raise click.UsageError(f"{str(notebook)!r} is a Python module already; give a notebook")
    if file is not None and file.exists() and not force:
        raise click.UsageError(f"{str(file)!r} exists; give --force to overwrite it")
    source = read_source(notebook)
    if file is None:
        output.hand_over(source.text.rstrip("\n"))
    else:
        file.write_text(source.text, encoding="utf-8")
        output.note(f"wrote {file}")
    _report(source)


def _report(source: Source) -> None:
    """Say what the module does not hold, and what may not mean what was meant."""
    if source.left_out:
        output.note(f"left out of it, {counted(len(source.left_out), 'thing')}:")
    for each in source.left_out:
        output.note(f"  {each}")
    for each in source.warnings:
        output.note(f"note: {each}", color="yellow")
