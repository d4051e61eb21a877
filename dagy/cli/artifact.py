"""`dagy artifact`: what is in an artifact, whether it is whole, how two differ, how it becomes an image."""

from __future__ import annotations

from pathlib import Path

import click

from dagy.artifact import diff, inspect, verify
from dagy.artifact.dockerfile import dockerfile
from dagy.cli import output
from dagy.cli.formats import Form, format_option, show
from dagy.drawing import counted

_PATH = click.Path(dir_okay=False, path_type=Path)


@click.group("artifact", short_help="Look into artifacts, check and compare them.")
def command() -> None:
    """Look into artifacts, check and compare them. Nothing of an artifact is executed."""


@command.command("inspect")
@click.argument("path", metavar="ARTIFACT.zip", type=_PATH)
@format_option
def inspect_command(path: Path, form: Form) -> None:
    """Show what is in an artifact: its flow, files, requirements and graph."""
    found = inspect(path)
    show(form, found.to_json(), lambda: str(found))


@command.command("verify")
@click.argument("path", metavar="ARTIFACT.zip", type=_PATH)
@click.option("--sha256", metavar="DIGEST", help="What the digest of the whole file is to be.")
@format_option
def verify_command(path: Path, sha256: str | None, form: Form) -> None:
    """Check that every file in an artifact is as it was built.

    Whoever can change the files can change the manifest, too. To know that it is the very artifact you built, give the
    --sha256 that `dagy build --format json` printed.
    """
    found = verify(path, sha256=sha256)
    count, total = len(found.manifest.files), sum(each.size for each in found.manifest.files)
    show(
        form,
        {"path": str(path), "sha256": found.sha256, "files": count, "bytes": total, "is_whole": True},
        lambda: f"{path} is whole: {counted(count, 'file')}, {total:,} bytes\nsha256:{found.sha256}",
    )


@command.command("diff")
@click.argument("first", metavar="OLD.zip", type=_PATH)
@click.argument("second", metavar="NEW.zip", type=_PATH)
@format_option
def diff_command(first: Path, second: Path, form: Form) -> None:
    """Show how two artifacts differ: their flows, requirements and files."""
    found = diff(first, second)
    if not found and form == "table":
        output.note("no difference")
    show(form, {"differences": list(found)}, lambda: "\n".join(found))


@command.command("dockerfile")
@click.argument("path", metavar="ARTIFACT.zip", type=_PATH)
@click.option("--image", metavar="NAME", help="The base image, such as one by its digest; Lambda's own otherwise.")
@click.option("--output", "-o", "target", metavar="FILE", type=_PATH, help="Where to write it, and not to stdout.")
def dockerfile_command(path: Path, image: str | None, target: Path | None) -> None:
    """Print a Dockerfile that makes an image of an artifact and its dependency layer.

    Build it in the artifact's own folder, where the layer is too. Deploy with `--image` then.
    """
    text = dockerfile(inspect(path).manifest, artifact=path.name, image=image)
    if target is None:
        output.hand_over(text, end="")
    else:
        target.write_text(text, encoding="utf-8")
        output.note(f"wrote {target}; build it in {path.parent}")
