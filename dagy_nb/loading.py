"""A task's source, and the inputs that a past run gave it: what `%dagy_load` puts into a cell and into the notebook."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dagy import RunResult, Task, runs
from dagy.errors import DefinitionError, ParameterError, ResultGoneError, UnknownTaskError
from dagy.program import resolve
from dagy.spec import FlowSpec
from dagy_nb.cells import TaskCell
from dagy_nb.generated import task_function_source
from dagy_nb.notebook import KeptCell, Notebook, code_of


def task_source(notebook: Notebook, task: str) -> str:
    """The text of the cell that defines the task `task`, as it last ran.

    Of a task that was imported, its function as its module has it, `@task` included. Raises `UnknownTaskError`, and
    `DefinitionError` for a source that is not there.
    """
    kept = _kept_with(notebook, task)
    if kept is not None:
        return kept.cell.source
    imported = {value.name: value for value in list(notebook.namespace.values()) if isinstance(value, Task)}
    if task not in imported:
        raise UnknownTaskError(task, dict.fromkeys([*_names(notebook), *imported]), where="the notebook")
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(imported[task].function)))
    except (OSError, TypeError) as error:
        raise DefinitionError(f"the source of task {task!r} is not there: {error}") from error


def task_body(notebook: Notebook, task: str) -> str:
    """The same without the cell's directive, so that running it by hand defines no task.

    Statements with a `return` are the task's function, since they can't run on their own. Raises what `task_source`
    raises.
    """
    joined = next((each for each in notebook.tasks() if each.name == task and each.cell.returns), None)
    return code_of(task_source(notebook, task)) if joined is None else task_function_source(joined).rstrip("\n")


def cell_of(notebook: Notebook, task: str) -> str:
    """What messages call the cell that defines the task; empty for a task that was imported."""
    kept = _kept_with(notebook, task)
    return "" if kept is None else kept.cell.label


def is_statements(notebook: Notebook, task: str) -> bool:
    """Is the task's body statements, whose inputs are names? Else it is a function, called with them."""
    kept = _kept_with(notebook, task)
    cell = None if kept is None else kept.defined
    return isinstance(cell, TaskCell) and cell.form == "statements" and not cell.returns


def task_inputs(run: RunResult | str, task: str, *, local_dir: Path | None = None) -> Mapping[str, object]:
    """What the task `task` was given in a run, by the names of its parameters.

    `run` is a run's result, or names a run of the history in `local_dir`. Of a mapped task the lists that it went
    through. Raises `UnknownTaskError`, `UnknownRunError`, and `ResultGoneError`, which names the input, for one that is
    not there any more.
    """
    if isinstance(run, RunResult):
        values = {name: each.value for name, each in run.task_runs.items() if each.state.is_completed}
        return _inputs(run.spec, task, values, run.parameters, f"run {run.run_id!r}")
    if local_dir is None:
        raise DefinitionError("say where the history is: task_inputs(..., local_dir=...)")
    with runs.History(local_dir) as history:
        found = history.run(run)
        spec = history.spec(found.run_id)
        parameters = {name: each.value() for name, each in history.parameters(found.run_id).items()}
        return _inputs(spec, task, dict(history.results(found.run_id)), parameters, f"run {found.run_id!r}")


def _inputs(
    spec: FlowSpec, task: str, values: Mapping[str, Any], parameters: Mapping[str, Any], where: str
) -> Mapping[str, object]:
    named = [each for each in spec.tasks if task in (each.id, each.name)]
    wanted = next((each for each in named if each.id == task), named[0] if len(named) == 1 else None)
    if wanted is None:
        raise UnknownTaskError(task, [each.id for each in spec.tasks], where=where)
    found: dict[str, object] = {}
    for name, binding in wanted.inputs.items():
        try:
            value = resolve(binding, values, parameters)
        except KeyError as error:
            raise ResultGoneError(
                f"the input {name!r} of task {task!r} is not in {where}: {error.args[0]!r} has no result there"
            ) from error
        except ParameterError as error:
            raise ResultGoneError(f"the input {name!r} of task {task!r} is not in {where}: {error}") from error
        found[name] = value
    return MappingProxyType(found)


def _kept_with(notebook: Notebook, task: str) -> KeptCell | None:
    """The cell that defines the task."""
    cells = {each.name: each.cell for each in notebook.tasks()}
    for kept in notebook.kept:
        if task in kept.plain_tasks.values() or (task in cells and kept.defined is cells[task]):
            return kept
    return None


def _names(notebook: Notebook) -> list[str]:
    plain = [name for kept in notebook.kept for name in kept.plain_tasks.values()]
    return [*(each.name for each in notebook.tasks()), *plain]
