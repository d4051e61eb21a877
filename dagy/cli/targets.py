"""What `TARGET` names: a flow in a Python file, in a notebook, in a graph of nodes, or in an artifact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from dagy.artifact import (
    MissingSourceError,
    SeveralFlowsError,
    Source,
    differences,
    load_flow,
    parse_target,
    read_manifest,
    read_source,
    unpacked_flow,
)
from dagy.cli import output
from dagy.errors import SourceError
from dagy.flows import Flow
from dagy.spec import FlowSpec

_SUFFIXES = {".py", ".ipynb", ".json", ".zip"}  # that no deployment's name has


@contextmanager
def opened_flow(target: str) -> Iterator[Flow[..., Any]]:
    """The flow that `target` names, ready to run inside the `with` block."""
    if not is_artifact(target):
        with opened_source(target) as (_, flow):
            yield flow
        return
    path = Path(target)
    for each in differences(read_manifest(path)):
        output.note(f"note: {target} was {each}", color="yellow")
    with unpacked_flow(path) as flow:
        yield flow


@contextmanager
def opened_source(target: str) -> Iterator[tuple[Source, Flow[..., Any]]]:
    """The code that `FILE[:FLOW]` names, and its flow.

    A notebook's code is loaded, and its flow run, in the notebook's folder, as Jupyter does; a module's where the
    caller is.
    """
    try:
        wanted = parse_target(target)
    except SourceError as error:
        raise click.UsageError(str(error)) from error
    if not wanted.path.exists() and not wanted.path.suffix:
        raise MissingSourceError(
            f"there is no file {target!r}; a target is FILE.py[:FLOW], "
            "NOTEBOOK.ipynb[:FLOW], GRAPH.json or ARTIFACT.zip"
        )
    source = read_source(wanted.path)
    with chdir(source.path.parent) if source.path.suffix != ".py" else nullcontext():
        try:
            flow = load_flow(source, wanted.flow)
        except SeveralFlowsError as error:
            raise several_flows(str(wanted.path), error) from error
        yield source, flow


def several_flows(path: str, error: SeveralFlowsError) -> click.UsageError:
    """The usage error that the file defines several flows, with what to type for each."""
    choices = "\n".join(f"  {path}:{name}" for name in error.known)
    return click.UsageError(f"{path} defines {len(error.known)} flows; name one:\n{choices}")


def spec_of(target: str) -> FlowSpec:
    """The graph of the flow that `target` names; of an artifact nothing is executed to know it."""
    if is_artifact(target):
        return read_manifest(Path(target)).spec
    with opened_source(target) as (_, flow):
        return flow.spec


def names_file(target: str) -> bool:
    """Whether `target` names a file, there or mistyped, rather than a deployment."""
    try:
        path = parse_target(target).path
    except SourceError:  # "my_flows.py:"
        return True
    return path.suffix in _SUFFIXES or (path.exists() and not path.is_dir())


def is_artifact(target: str) -> bool:
    """Whether `target` names an artifact."""
    return target.endswith(".zip")
