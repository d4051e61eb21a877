"""`dagy run DEPLOYMENT`: the control plane has it run; the run is watched here, which it does not need."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dagy.artifact import MissingSourceError
from dagy.cli import output
from dagy.cli.planes import connected, is_there, spec_of_deployment
from dagy.cli.watching import show_progress
from dagy.client.lines import Lines
from dagy.control.records import LOCAL
from dagy.drawing import counted, duration, text_tree
from dagy.engine import Event
from dagy.errors import NetworkError, ParameterError, SourceError, UnknownDeploymentError, did_you_mean
from dagy.parameter_texts import values_of
from dagy.runs import event_from_json
from dagy.settings import Settings
from dagy.spec import FlowSpec, Json
from dagy.states import StateType

if TYPE_CHECKING:
    from dagy.client import DagyClient, Run
    from dagy.control import Deployment

_SUFFIXES = (".py", ".ipynb", ".zip")
_MOST = 100  # names that what was typed is compared with
_NAMED = 5  # of them, when none is near


def run_deployment(
    target: str, given: Sequence[str], *, profile: str | None, detach: bool, idempotency_key: str | None
) -> None:
    """Ask for a run of the deployment `target`, and watch it until it ends; with `detach` print its id alone."""
    if not is_there(profile):
        raise _missing(target, ())
    with connected(profile) as client:
        try:
            deployment = client.deployment(target)
        except UnknownDeploymentError as error:
            raise _missing(target, error.known) from None
        except ParameterError:  # no deployment can be called so
            raise _missing(target, [each.reference for each in client.deployments(limit=_MOST).items]) from None
        spec = spec_of_deployment(client, deployment)
        values = values_of(spec, given)
        _check_all_given(deployment, spec, values)
        run = client.create_run(deployment.reference, values, idempotency_key=idempotency_key)
        show_run(client, run, spec, detach=detach)


def show_run(client: DagyClient, run: Run, spec: FlowSpec, *, detach: bool) -> None:
    """Watch a run that was just asked for until it ends; with `detach` print its id alone."""
    if detach:
        output.say(run.run_id)
        return
    output.note(f"run {run.run_id} of {run.info.reference} ({run.info.flow_name} {run.info.label})")
    try:
        _watch(client, run)
    except NetworkError:
        _say_how_to_go_on(run)
        raise
    except KeyboardInterrupt:
        _say_how_to_go_on(run)
        sys.exit(128 + signal.SIGINT)  # as shells count it
    _show_end(run, spec)


def _check_all_given(deployment: Deployment, spec: FlowSpec, values: Mapping[str, Json]) -> None:
    missing = [
        each.name
        for each in spec.parameters
        if each.required and each.name not in values and each.name not in deployment.parameters
    ]
    if missing:
        options = " ".join(f"--param {name}=..." for name in missing)
        raise ParameterError(
            f"deployment {deployment.reference!r} needs {', '.join(map(repr, missing))}; add {options}"
        )


def _watch(client: DagyClient, run: Run) -> None:
    """Show the run's progress until it has ended."""
    if client.is_local and not Settings.read().auto_worker and run.status is StateType.QUEUED:
        output.note("note: DAGY_AUTO_WORKER is off; `dagy worker` runs what is queued", color="yellow")
    show_progress(_events(run))
    run.wait()


def _events(run: Run) -> Iterator[Event]:
    """The run's events, once what its tasks wrote is printed, as that of a run here would be."""
    lines, shortened = Lines(), set()
    with output.working(f"{run.run_id} is queued") as tell:

        def tell_why() -> None:
            if run.status is StateType.QUEUED and run.state.message:  # such as what is installed for it
                tell(f"{run.run_id} is queued: {run.state.message}")

        events = run.events(follow=True, on_wait=tell_why)
        first = next(events, None)
    for each in chain(() if first is None else (first,), events):
        if each["kind"] == "output" and not each["text"]:  # of very much only the newest goes with the events
            shortened.add(str(each["task"]))
        for line in lines.of(each):
            output.hand_over(line)
        yield event_from_json(each)
    for line in lines.unfinished():
        output.hand_over(line)
    if shortened:
        tasks = ", ".join(map(repr, sorted(shortened)))
        output.note(f"note: not all that {tasks} wrote is shown; all of it: dagy logs {run.run_id}", color="yellow")


def _show_end(run: Run, spec: FlowSpec) -> None:
    info = run.info
    began, ended = info.started_at or info.created_at, info.ended_at
    took = "" if ended is None else f" in {duration((ended - began).total_seconds())}"
    lines = [f"{info.flow_name}: {run.state}{took} (run {run.run_id})"]
    if info.tasks:
        states, details = {}, {}
        for each in run.task_runs():
            states[each.task] = each.status
            if each.started_at is not None and each.ended_at is not None:
                details[each.task] = duration((each.ended_at - each.started_at).total_seconds())
        lines.append(text_tree(spec, states, details=details))
    if info.has_result and info.result is not None:
        lines.append(f"value: {info.result!r}")
    elif run.state.is_completed and spec.result is not None and info.executor != LOCAL and not info.has_result:
        lines.append(
            f"value: large or more than JSON, so it stays in {info.resources.get('store')}; run.result reads it"
        )
    elif run.state.is_completed and spec.result is not None and not info.has_result:
        lines.append("value: not kept with the run, because it is large or more than JSON")
    output.say("\n".join(lines))
    if not run.state.is_completed:
        output.note(f"what it wrote: dagy logs {run.run_id}")
    run.check()


def _say_how_to_go_on(run: Run) -> None:
    output.note(
        f"\nstopped watching; the run goes on. To see it: dagy runs show {run.run_id}\n"
        f"to follow what it writes: dagy logs {run.run_id} --follow\n"
        f"to stop it: dagy runs cancel {run.run_id}",
        color="yellow",
    )


def _missing(target: str, deployments: Sequence[str]) -> SourceError:
    """The error that `target` names neither a deployment nor a file, with what comes near."""
    if Path(target).is_dir():
        return SourceError(f"{target!r} is a folder; name the file in it that defines the flow")
    files = [each.name for each in sorted(Path.cwd().iterdir())[:_MOST] if each.suffix in _SUFFIXES]
    hint = did_you_mean(target, [*deployments, *files])
    if not hint and deployments:
        more = len(deployments) - _NAMED
        names = ", ".join(map(repr, deployments[:_NAMED])) + (f" and {counted(more, 'other')}" if more > 0 else "")
        hint = f"; the deployments are {names}."
    elif not hint:
        hint = "; nothing is deployed yet."
    return MissingSourceError(
        f"there is no deployment and no file {target!r}{hint} "
        f"A target is FILE.py[:FLOW], NOTEBOOK.ipynb[:FLOW], GRAPH.json, ARTIFACT.zip or the name of a deployment"
    )
