"""All tasks of a notebook, however they were written: `%%dagy_task`, `#| dagy_task`, or a plain `@task`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from dagy import Task
from dagy_nb.cells import TaskCell
from dagy_nb.joining import JoinedTask
from dagy_nb.notebook import KeptCell
from dagy_nb.tables import Listing

Spelling: TypeAlias = Literal["%%dagy_task", "%dagy_task", "#| dagy_task", "@task"]

_HEAD = ("TASK", "CELL", "WRITTEN", "TAKES", "GIVES", "OPTIONS", "MARK")


@dataclass(frozen=True, slots=True)
class NotebookTask:
    """One task of a notebook, as `%dagy_tasks` lists it."""

    name: str
    cell: str  # what messages call its cell
    cell_id: str
    spelling: Spelling
    takes: tuple[str, ...]  # `df`, or `df from load` where another task makes it under another name
    gives: tuple[str, ...]
    options: Mapping[str, object]  # keyword arguments of `@task` that are not the defaults
    mark: str = ""  # what may be wrong with it, in one or two words


def notebook_tasks(
    kept: Sequence[KeptCell],
    joined: Sequence[JoinedTask],
    namespace: Mapping[str, object],
    marks: Mapping[str, str],
) -> tuple[NotebookTask, ...]:
    """The tasks that the kept cells (given in notebook order) define; `joined` are those of task cells, wired."""
    by_cell = {id(each.cell): each for each in joined}
    found: list[NotebookTask] = []
    for each in kept:
        if isinstance(each.defined, TaskCell):
            found.append(_of_cell(each, each.defined, by_cell.get(id(each.defined)), marks))
        found += [
            _plain(each, function, name, task, marks)
            for function, name in each.plain_tasks.items()
            if isinstance(task := namespace.get(function), Task)
        ]
    return tuple(found)


def listing(tasks: Iterable[NotebookTask]) -> Listing[NotebookTask]:
    """The tasks as a table."""
    found = tuple(tasks)
    rows = tuple(
        (
            each.name,
            each.cell,
            each.spelling,
            ", ".join(each.takes),
            ", ".join(each.gives),
            ", ".join(f"{name}={value!r}" for name, value in each.options.items()),
            each.mark,
        )
        for each in found
    )
    nothing = "the notebook has no task yet; begin a cell with %%dagy_task to make it one, and run it"
    return Listing(found, _HEAD, rows, nothing)


def _of_cell(kept: KeptCell, cell: TaskCell, joined: JoinedTask | None, marks: Mapping[str, str]) -> NotebookTask:
    name, takes, outputs = cell.name, cell.inputs, tuple[str, ...]()
    if joined is not None:  # else the cells do not fit together
        name, outputs = joined.name, joined.outputs
        takes = tuple(
            each.parameter if each.task in (None, each.parameter) else f"{each.parameter} from {each.task}"
            for each in joined.wires
        )
    gives = outputs or ((name,) if cell.form == "function" else cell.bound)
    return NotebookTask(
        name, kept.cell.label, kept.cell.id, _spelling(kept), takes, gives, cell.directive.options, marks.get(name, "")
    )


def _plain(kept: KeptCell, function: str, name: str, task: Task[..., object], marks: Mapping[str, str]) -> NotebookTask:
    standard = {each.name: each.default for each in fields(task.options)}
    options = {each: getattr(task.options, each) for each in standard}
    given = {each: value for each, value in options.items() if value != standard[each]}
    return NotebookTask(
        name, kept.cell.label, kept.cell.id, "@task", tuple(task.parameters), (function,), given, marks.get(name, "")
    )


def _spelling(kept: KeptCell) -> Spelling:
    first = kept.cell.source.lstrip()
    if first.startswith("#"):
        return "#| dagy_task"
    return "%%dagy_task" if first.startswith("%%") else "%dagy_task"
