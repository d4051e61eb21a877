"""Going on where a run ended: the results it recorded are used again, if the graph and the code are still the same."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

from dagy.digests import digest
from dagy.errors import ResumeError, shown
from dagy.program import Program
from dagy.runs.code import code_differences
from dagy.runs.history import History, RunRecord
from dagy.runs.results import RecordedValue, recorded_results
from dagy.spec import Binding, Constant, DictOf, FlowSpec, FromParameter, FromTask, Held, ListOf
from dagy.values import ABSENT, Absent, Deferred


@dataclass(frozen=True)
class Resumable:
    """A run that has ended and can be gone on with.

    `run_id` is what to give to `RunRecorder(resumed_from=...)`: the last of the runs that went on with the one that was
    asked for. Nothing in `results` or `items` is to be computed again: `ABSENT` stands for what was skipped by choice.
    """

    run_id: str
    parameters: Mapping[str, object]
    results: Mapping[str, Deferred | Absent] = field(default_factory=dict)  # by task
    items: Mapping[str, Mapping[int, Deferred | Absent]] = field(default_factory=dict)  # by mapped task and item


def recorded_parameters(local_dir: Path, run_id: str) -> dict[str, object]:
    """What a run that can be resumed was given; those that could not be kept are left out.

    Raises `UnknownRunError`, `ResumeError` and `StoreError`.
    """
    with History(local_dir) as history:
        return _parameters(history, _last(history, run_id).run_id)


def load_for_resume(
    local_dir: Path, run_id: str, program: Program, parameters: Mapping[str, Any] | None = None
) -> Resumable:
    """What of the run can be used again by `program`; `run_id` may be short, as for `History.run`.

    `parameters`, if given, must be those of the run. Raises `ResumeError` when the run goes on, or has completed, or
    when the graph, a parameter or the code of a recorded task is not what it was, with the differences; also
    `UnknownRunError` and `StoreError`.
    """
    with History(local_dir) as history:
        run = _last(history, run_id)
        _check_graph(run, history.spec(run.run_id), program.spec)
        recorded = _parameters(history, run.run_id)
        if parameters is not None:
            _check_parameters(run, recorded, parameters)
        results, items = _recorded_results(history, run, program)
        return Resumable(
            run.run_id,
            {**(parameters or {}), **recorded},
            {task: _as_given(found) for task, found in results.items()},
            {task: {item: _as_given(found) for item, found in each.items()} for task, each in items.items()},
        )


def _last(history: History, run_id: str) -> RunRecord:
    """The run, or the last of those that went on with it."""
    run = history.run(run_id)
    asked_for = run.run_id
    while run.resumed_by is not None:
        run = history.run(run.resumed_by)
    also = "" if run.run_id == asked_for else f", which went on with {asked_for!r},"
    if run.ended_at is None:
        raise ResumeError(f"run {run.run_id!r}{also} is still running, by process {run.owner.pid}")
    if run.state.is_completed:
        raise ResumeError(f"run {run.run_id!r}{also} has completed; there is nothing left to do")
    return run


def _check_graph(run: RunRecord, before: FlowSpec, now: FlowSpec) -> None:
    old, new = _outline(before), _outline(now)
    if old == new:
        return
    diff = difflib.unified_diff(old, new, f"{before.name} (recorded)", f"{now.name} (now)", n=2, lineterm="")
    raise ResumeError(
        f"run {run.run_id!r} can't be resumed: the flow's graph has changed since. Run the flow anew, or put the graph "
        "back",
        ["\n".join(diff)],
    )


def _check_parameters(run: RunRecord, recorded: Mapping[str, object], given: Mapping[str, Any]) -> None:
    different = [
        f"{name} was {shown(recorded[name])}, and is {shown(value)} now"
        for name, value in given.items()
        if name in recorded and not _is_same(recorded[name], value)
    ]
    if different:
        raise ResumeError(
            f"run {run.run_id!r} can't be resumed with other parameters; leave them out, or run the flow anew",
            different,
        )


def _is_same(recorded: object, given: object) -> bool:
    if type(recorded) is not type(given):
        return False
    try:
        return bool(recorded == given)
    except Exception:  # noqa: BLE001 (the value's own __eq__, such as an array's)
        known = digest(recorded)
        return known is not None and known == digest(given)


def _parameters(history: History, run_id: str) -> dict[str, object]:
    return {name: each.value() for name, each in history.parameters(run_id).items() if each.is_whole}


def _recorded_results(
    history: History, run: RunRecord, program: Program
) -> tuple[dict[str, RecordedValue], dict[str, dict[int, RecordedValue]]]:
    """What the run recorded, and what it had from the runs that it went on with."""
    results: dict[str, RecordedValue] = {}
    items: dict[str, dict[int, RecordedValue]] = {}
    differences: list[str] = []
    ids = [task.id for task in program.spec.tasks]
    run_id = run.run_id
    while True:
        with history.reading() as db:
            used = set()
            for (place, item), found in recorded_results(db, run.number, history.folder(run.run_id)).items():
                task = ids[place]
                if task in results or not found.is_whole:
                    continue
                if item is None:
                    results[task] = found
                elif items.setdefault(task, {}).setdefault(item, found) is not found:
                    continue
                used.add(place)
            differences += code_differences(db, run.number, program, used)
        if run.resumed_from is None:
            break
        run = history.run(run.resumed_from)
    if differences:
        raise ResumeError(
            f"run {run_id!r} can't be resumed: the code of a task whose result it recorded has changed since. Run "
            "the flow anew, or put the code back",
            differences,
        )
    return results, items


def _as_given(found: RecordedValue) -> Deferred | Absent:
    return ABSENT if found.codec == "absent" else found


def _outline(spec: FlowSpec) -> list[str]:
    """What of a flow decides its results, but for the code, in lines for people."""
    lines = [f"{name} = {value!r}" for name, value in spec.static.items()]
    for task in spec.tasks:
        inputs = ", ".join(
            f"{name}={'each of ' if name in task.mapped else ''}{_told(binding)}"
            for name, binding in task.inputs.items()
        )
        after = f" after {', '.join(task.after)}" if task.after else ""
        may = f" without {', '.join(task.optional)} too" if task.optional else ""
        lines.append(f"{task.id}: {task.name}({inputs}){after}{may}")
    if spec.result is not None:
        lines.append(f"return {_told(spec.result)}")
    return lines


def _told(binding: Binding) -> str:
    match binding:
        case Constant(value=value):
            return repr(value)
        case Held(type=kind):
            return f"<{kind}>"
        case FromParameter(name=name, path=path):
            return f"parameter {name}{_path(path)}"
        case FromTask(task=task, path=path):
            return f"{task}{_path(path)}"
        case ListOf(items=items, form=form):
            return f"{form}({', '.join(map(_told, items))})"
        case DictOf(items=pairs):
            return f"{{{', '.join(f'{key!r}: {_told(value)}' for key, value in pairs)}}}"
        case _:
            assert_never(binding)


def _path(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{each!r}]" for each in path)
