"""What of a notebook is older than it looks: edited and not run, run out of order, deleted, behind a newer result.

Values in, findings out: the kept cells, the notebook as its file holds it, and when the last run began. Nothing is
read, asked for or executed here. The file is only believed about a cell when it is newer than the cell's last run.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dagy.errors import DefinitionError, MissingExtraError
from dagy_nb.cells import Cell, FlowCell, NodeCell, TaskCell, flow_cell, node_cell, read_cell, task_cell
from dagy_nb.directives import FlowDirective, NodeDirective, TaskDirective
from dagy_nb.joining import JoinedTask
from dagy_nb.names import Function
from dagy_nb.notebook import Defined, FailedCell, KeptCell, code_of, kind_of
from dagy_nb.notebook_file import SavedNotebook, has_file_id, same_text

Kind: TypeAlias = Literal[
    "twice", "renamed", "edited", "failed edit", "not kept", "deleted", "not run", "out of order", "older"
]

HOLDING_BACK: tuple[Kind, ...] = ("edited", "failed edit", "not kept", "not run", "deleted", "out of order")
_OLD_TEXT: tuple[Kind, ...] = ("edited", "failed edit", "deleted")  # a flow has another text than the notebook shows

_COUNTED: Mapping[Kind, tuple[str, str]] = {
    "edited": ("is edited and not run", "are edited and not run"),
    "failed edit": ("is edited and failed", "are edited and failed"),
    "not kept": ("failed and is not kept", "failed and are not kept"),
    "not run": ("has not run", "have not run"),
    "deleted": ("is deleted and still counts", "are deleted and still count"),
    "out of order": ("ran out of order", "ran out of order"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that may not be as it looks, and what to do about it."""

    kind: Kind  # also the words that mark its tasks on the graph
    cell: str  # what messages call the cell
    message: str
    remedy: str
    tasks: tuple[str, ...] = ()  # those that are marked on the graph

    def __str__(self) -> str:
        return f"{self.cell}: {self.message}; {self.remedy}"


def findings(
    kept: Sequence[KeptCell],
    joined: Sequence[JoinedTask] = (),
    *,
    failed: Sequence[FailedCell] = (),
    saved: SavedNotebook | None = None,
    ran_at: float | None = None,
    has_run: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """All that is found in the kept cells (given in notebook order), in that order, and in those that `failed`.

    `joined` are the wired task cells, as far as they fit together. `saved` is the notebook's file. The last run began
    at `ran_at` (seconds since the epoch), and `has_run` names its tasks.
    """
    look = _Look(kept, joined, saved)
    found = [
        *_twice(look),
        *_renamed(look),
        *_edited(look),
        *_deleted(look),
        *_out_of_order(look),
        *_older(look, ran_at, frozenset(has_run)),
    ]
    place = {each.cell.label: number for number, each in enumerate(kept)}
    found.sort(key=lambda each: place[each.cell])
    return (*found, *_not_kept(failed, saved), *_not_run(look, failed))


def marks(found: Iterable[Finding]) -> dict[str, str]:
    """What marks each task on the graph: the gravest finding about it, in one or two words."""
    marked: dict[str, str] = {}
    order: tuple[Kind, ...] = (
        "twice", "renamed", "failed edit", "edited", "not kept", "deleted", "not run", "out of order", "older"
    )  # fmt: skip
    for each in sorted(found, key=lambda each: order.index(each.kind)):
        for task in each.tasks:
            marked.setdefault(task, each.kind)
    return marked


def summary(found: Iterable[Finding]) -> str:
    """One line for who is about to run the flow: `2 cells are edited and not run`; empty when all is as it looks."""
    kinds = [each.kind for each in found]
    parts = []
    for kind in HOLDING_BACK:
        count = kinds.count(kind)
        if count:
            one, several = _COUNTED[kind]
            parts.append(f"{count} cell {one}" if count == 1 else f"{count} cells {several}")
    return ", ".join(parts)


def export_notes(found: Sequence[Finding], held: Collection[str]) -> tuple[str, ...]:
    """What to know of an export, as lines: the `summary`, and which cells' older text is in it.

    `held` are what messages call the cells whose code it holds.
    """
    told = summary(found)
    older = [each for each in found if each.kind in _OLD_TEXT and each.cell in held]
    names = [f"{each.cell} (task {each.tasks[0]!r})" if len(each.tasks) == 1 else each.cell for each in older]
    lines = [f"{told}: %dagy_check"] if told else []
    return (*lines, *([f"the export has what {', '.join(dict.fromkeys(names))} held before"] if names else []))


def renamed(kept: Sequence[KeptCell], cell: Cell) -> tuple[Finding, ...]:
    """What the card of a cell that has just run says of a name that it no longer makes and others still read."""
    return tuple(each for each in _renamed(_Look(kept, (), None)) if each.cell == cell.label)


def twice(kept: Sequence[KeptCell], cell: Cell) -> tuple[Finding, ...]:
    """What the card of a cell that has just run says of another cell that defines its task."""
    return tuple(each for each in _twice(_Look(kept, (), None)) if each.cell == cell.label)


class _Look:
    """The kept cells, with which of them makes and reads what."""

    def __init__(self, kept: Sequence[KeptCell], joined: Sequence[JoinedTask], saved: SavedNotebook | None) -> None:
        self.kept = kept
        self.saved = saved
        tasks = {id(each.cell): each.name for each in joined}
        self.task_of = {id(each): _task_name(each, tasks) for each in kept}
        stable = {name for each in kept for name in _stable_names(each)}
        self.makes = [_changed_names(each, stable) for each in kept]
        self.eager = [_eager_reads(each) for each in kept]
        self.reads = [_reads(each) for each in kept]
        self.makers: dict[str, list[int]] = {}
        for number, names in enumerate(self.makes):
            for name in names:
                self.makers.setdefault(name, []).append(number)

    def maker_above(self, name: str, reader: int) -> int | None:
        """The nearest cell above `reader` that makes the name."""
        return max((each for each in self.makers.get(name, ()) if each < reader), default=None)

    def maker_of(self, name: str, reader: int) -> int | None:
        """The nearest cell above that makes the name; else the last one below."""
        above = self.maker_above(name, reader)
        if above is not None:
            return above
        return max((each for each in self.makers.get(name, ()) if each != reader), default=None)

    def tasks_of(self, number: int) -> tuple[str, ...]:
        """The task that the cell is; of an ordinary cell, the tasks that read what it makes."""
        own = self.task_of[id(self.kept[number])]
        if own is not None:
            return (own,)
        readers = [
            self.task_of[id(each)]
            for place, each in enumerate(self.kept)
            if place != number and self.reads[place] & self.makes[number]
        ]
        return tuple(dict.fromkeys(name for name in readers if name is not None))

    def counts(self) -> frozenset[int]:
        """The cells that a flow needs: those that define tasks and flows, and what they read, however indirectly."""
        todo = [number for number, each in enumerate(self.kept) if _defines(each)]
        seen = set(todo)
        while todo:
            for name in self.reads[todo.pop()]:
                for maker in self.makers.get(name, ()):
                    if maker not in seen:
                        seen.add(maker)
                        todo.append(maker)
        return frozenset(seen)


# -- the findings -----------------------------------------------------------------------------------------------------


def _twice(look: _Look) -> list[Finding]:
    """Two cells that define one task: most often one is a copy of the other."""
    by_name: dict[str, list[KeptCell]] = {}
    for each in look.kept:
        for name in _fixed_names(each):
            by_name.setdefault(name, []).append(each)
    found = []
    for name, cells in by_name.items():
        if len(cells) < 2:
            continue
        *others, last = sorted(cells, key=lambda each: each.changed_turn)
        labels = " and ".join(each.cell.label for each in others)
        is_copy = any(same_text(code_of(each.cell.source), code_of(last.cell.source)) for each in others)
        message = f"it is a copy of {labels}, and both define the task {name!r}" if is_copy else (
            f"it defines the task {name!r}, as {labels} does"
        )  # fmt: skip
        remedy = f"give one of them another name, or forget one with %dagy_reset {_number(last.cell.label)}"
        found.append(Finding("twice", last.cell.label, message, remedy, (name,)))
    return found


def _renamed(look: _Look) -> list[Finding]:
    """A task or a variable that a cell made under another name, which others still read."""
    found = []
    for number, each in enumerate(look.kept):
        new = next(iter(_fixed_names(each)), None) or (each.defined.name if isinstance(each.defined, TaskCell) else "")
        for old in each.gave_up:
            if not new or old in look.makers:
                continue
            readers = [other for place, other in enumerate(look.kept) if place != number and old in look.reads[place]]
            if readers:
                told = ", ".join(_described(other, look) for other in readers)
                verb = "reads" if len(readers) == 1 else "read"
                found.append(
                    Finding(
                        "renamed",
                        each.cell.label,
                        f"the task {new!r} was {old!r} until now, and {told} still {verb} {old!r}",
                        f"write {new!r} there and run it, or call this one {old!r} again",
                        tuple(name for name in (look.task_of[id(other)] for other in readers) if name),
                    )
                )
    return found


def _edited(look: _Look) -> list[Finding]:
    """Cells whose text is no longer the one that ran."""
    found = []
    counts = look.counts()
    for number, each in enumerate(look.kept):
        saved = _saved_text(look.saved, each)
        if number not in counts:
            continue
        if each.failed_edit is not None and (saved is None or not same_text(saved, each.cell.source)):
            found.append(
                Finding(
                    "failed edit",
                    each.cell.label,
                    "it is edited, and the edit failed when it ran; what it was before still counts",
                    "mend it and run it again",
                    look.tasks_of(number),
                )
            )
        elif saved is not None and not same_text(saved, each.cell.source):
            found.append(
                Finding("edited", each.cell.label, "it is edited and not run", "run it again", look.tasks_of(number))
            )
        elif _is_lost(look.saved, each):
            found.append(
                Finding(
                    "edited",
                    each.cell.label,
                    "the notebook no longer holds its text: it is edited and not run, or deleted",
                    f"run it again, or forget it with %dagy_reset {_number(each.cell.label)}",
                    look.tasks_of(number),
                )
            )
    return found


def _deleted(look: _Look) -> list[Finding]:
    """Cells that are no longer in the notebook, and still count."""
    counts = look.counts()
    return [
        Finding(
            "deleted",
            each.cell.label,
            "it is deleted, and what it defines still counts",
            f"forget it with %dagy_reset {_reference(each)}, or bring it back and run it again",
            look.tasks_of(number),
        )
        for number, each in enumerate(look.kept)
        if number in counts and _is_deleted(look.saved, each)
    ]


def _out_of_order(look: _Look) -> list[Finding]:
    """Cells that took a value from another cell than they would if all cells ran from the top."""
    found = []
    for number, each in enumerate(look.kept):
        if not each.has_run or look.saved is None or look.saved.place_of(each.cell) is None:
            continue
        for name in look.eager[number]:
            makers = [place for place in look.makers.get(name, ()) if place != number and look.kept[place].has_run]
            before = [place for place in makers if look.kept[place].turn < each.turn]
            took = max(before, key=lambda place: look.kept[place].turn, default=None)
            above = max((place for place in makers if place < number), default=None)
            if took is None or took == above or look.saved.place_of(look.kept[took].cell) is None:
                continue
            if above is not None and look.kept[above].turn > each.turn:
                continue  # which is a newer value, and said so
            source = look.kept[took].cell.label
            if above is None:
                message = f"it took {name!r} from {source}, which is below it, so it fails when all cells run in order"
                remedy = f"move {source} above it"
            else:
                message = (
                    f"it took {name!r} from {source}, and takes it from {look.kept[above].cell.label} when all cells "
                    "run in order"
                )
                remedy = f"run it again after {look.kept[above].cell.label}, or run all cells"
            found.append(Finding("out of order", each.cell.label, message, remedy, look.tasks_of(number)))
            break
    return found


def _older(look: _Look, ran_at: float | None, has_run: frozenset[str]) -> list[Finding]:
    """Cells whose values, and tasks whose last results, are older than something that they take from."""
    reasons: dict[int, str] = {}
    for number, each in enumerate(look.kept):
        if each.has_run:
            for name in look.eager[number]:
                maker = look.maker_above(name, number)
                if maker is None or not look.kept[maker].has_run:
                    continue
                newer = look.kept[maker]
                turn = newer.changed_turn if name in _stable_names(newer) else newer.turn
                if turn > each.turn:
                    reasons[number] = f"its values are older than {name!r} of {newer.cell.label}"
                    break
                if maker in reasons:
                    reasons[number] = f"its values were made from {name!r} of {newer.cell.label}, which is out of date"
                    break
    changed = _changed_since(look, ran_at) if ran_at is not None else {}
    found = []
    for number, each in enumerate(look.kept):
        task = look.task_of[id(each)]
        if number in reasons:
            message, remedy = reasons[number], "run it again"
        elif number in changed and task in has_run:
            source = look.kept[changed[number]].cell.label
            subject = "it" if changed[number] == number else source
            message, remedy = f"the last run's result is older than {subject}", "%dagy_run makes a new one"
            message = "the last run's result is older than its code" if subject == "it" else message
        else:
            continue
        found.append(Finding("older", each.cell.label, message, remedy, () if task is None else (task,)))
    return found


def _not_kept(failed: Sequence[FailedCell], saved: SavedNotebook | None) -> list[Finding]:
    """Cells that were to be a task or a flow, and failed. Those that the file no longer holds count no more."""
    found = []
    for each in failed:
        is_newer = saved is not None and has_file_id(each.cell) and saved.saved_at > each.failed_at
        if saved is not None and is_newer and saved.place_of(each.cell) is None:
            continue
        what = f"the {each.kind} {each.name!r}" if each.name else f"a {each.kind}"
        message = f"it was to be {what}, and failed when it ran, so it is not kept"
        remedy = f"mend it and run it again, or forget it with %dagy_reset {_number(each.cell.label)}"
        found.append(Finding("not kept", each.cell.label, message, remedy))
    return found


def _not_run(look: _Look, failed: Sequence[FailedCell]) -> list[Finding]:
    """Task, flow and node cells of the file that nobody has run."""
    if look.saved is None:
        return []
    cells = [*(each.cell for each in look.kept), *(each.cell for each in failed)]
    known = {look.saved.place_of(each) for each in cells}
    names = {each.defined.name for each in look.kept if each.defined is not None and not has_file_id(each.cell)}
    found = []
    for place, cell in enumerate(look.saved.cells):
        defined = None if place in known else _defined(cell)
        if defined is None or defined.name in names:
            continue
        what = kind_of(defined)
        found.append(
            Finding(
                "not run",
                f"{cell.label} of {look.saved.path.name}",
                f"it is the {what} {defined.name!r} and has not run"
                if defined.name
                else "it is a flow and has not run",
                "run it",
            )
        )
    return found


# -- what the file says -----------------------------------------------------------------------------------------------


def _saved_text(saved: SavedNotebook | None, kept: KeptCell) -> str | None:
    """The cell's text in the file, when the file is newer than what ran."""
    if saved is None or saved.saved_at <= max(kept.ran_at, kept.failed_at):
        return None
    place = saved.place_of(kept.cell)
    return None if place is None else saved.cells[place].source


def _is_deleted(saved: SavedNotebook | None, kept: KeptCell) -> bool:
    if saved is not None and has_file_id(kept.cell) and saved.saved_at > max(kept.ran_at, kept.deleted_at or 0.0):
        return saved.place_of(kept.cell) is None
    return kept.deleted_at is not None


def _is_lost(saved: SavedNotebook | None, kept: KeptCell) -> bool:
    """Is a cell that can only be known by its text not in a file that is newer?"""
    return (
        saved is not None
        and kept.cell.id.startswith("vscode-notebook-cell:")
        and saved.saved_at > kept.ran_at
        and saved.place_of(kept.cell) is None
        and not any(same_text(each.source, kept.cell.source) for each in saved.cells)
    )


# -- what a cell makes and reads --------------------------------------------------------------------------------------


def _defines(kept: KeptCell) -> bool:
    return kept.defined is not None or bool(kept.plain_tasks or kept.plain_flows)


def _defined(cell: Cell) -> Defined | None:
    """What a cell that has not run would define, as far as it can be told."""
    try:
        read = read_cell(cell)
        if isinstance(read.directive, TaskDirective) and not read.directive.help_wanted:
            return task_cell(read)
        if isinstance(read.directive, FlowDirective) and not read.directive.help_wanted:
            return flow_cell(read)
        if isinstance(read.directive, NodeDirective) and not read.directive.help_wanted:
            return node_cell(read)
    except (DefinitionError, MissingExtraError):
        pass  # running it says what is wrong with it
    return None


def _fixed_names(kept: KeptCell) -> tuple[str, ...]:
    """The task names that the cell claims for itself alone."""
    if isinstance(kept.defined, TaskCell):
        is_fixed = kept.defined.form == "function" or kept.defined.directive.name
        return (kept.defined.name,) if is_fixed else ()
    return tuple(kept.plain_tasks.values())


def _task_name(kept: KeptCell, joined: Mapping[int, str]) -> str | None:
    if isinstance(kept.defined, TaskCell):
        return joined.get(id(kept.defined), kept.defined.name)
    return next(iter(kept.plain_tasks.values()), None)


def _changed_names(kept: KeptCell, stable: Collection[str]) -> frozenset[str]:
    """The names that the cell binds, or changes in place; an imported module is never changed."""
    if isinstance(kept.defined, FlowCell) and kept.defined.form == "statements":
        return frozenset()
    if kept.plan is not None:
        return kept.makes
    mutated = {name for each in kept.read.statements for name in each.names.mutates}
    return kept.makes | (mutated - set(stable))


def _stable_names(kept: KeptCell) -> frozenset[str]:
    """The names that are the same each time the cell runs: what it imports, its functions and classes."""
    return frozenset(
        name
        for each in kept.read.statements
        if each.is_import or isinstance(each.node, Function | ast.ClassDef)
        for name in each.names.binds
    )


def _eager_reads(kept: KeptCell) -> tuple[str, ...]:
    """What the cell takes from others when it runs."""
    found: dict[str, None] = {}
    bound: set[str] = set()
    for each in kept.read.statements:
        found.update(dict.fromkeys(sorted(each.names.eager - bound)))
        bound |= each.names.surely
    own = frozenset() if kept.plan is None else kept.plan.own_names
    return tuple(name for name in found if name not in own)


def _reads(kept: KeptCell) -> frozenset[str]:
    """What the cell takes from others, when it runs or later."""
    names = {name for each in kept.read.statements for name in each.names.reads | each.names.perhaps}
    if isinstance(kept.defined, TaskCell):
        names |= set(kept.defined.inputs)
    return frozenset(names) - (frozenset() if kept.plan is None else kept.plan.own_names)


def _changed_since(look: _Look, moment: float) -> dict[int, int]:
    """The cells that are not what they were, or take from such a one: `{cell: the changed one}`."""
    readers: dict[int, list[int]] = {}
    for number, names in enumerate(look.reads):
        for maker in {look.maker_of(name, number) for name in names} - {None, number}:
            readers.setdefault(maker, []).append(number)  # type: ignore[arg-type]  # None is not among them
    changed = {number: number for number, each in enumerate(look.kept) if each.changed_at > moment}
    todo = list(changed)
    while todo:
        source = todo.pop()
        for reader in readers.get(source, ()):
            if reader not in changed:
                changed[reader] = changed[source]
                todo.append(reader)
    return changed


# -- words ------------------------------------------------------------------------------------------------------------


def _described(kept: KeptCell, look: _Look) -> str:
    """`cell [4] (task 'total')`."""
    task = look.task_of[id(kept)]
    if task is not None:
        return f"{kept.cell.label} (task {task!r})"
    if isinstance(kept.defined, FlowCell):
        return f"{kept.cell.label} (flow {kept.defined.name!r})" if kept.defined.name else f"{kept.cell.label} (flow)"
    if isinstance(kept.defined, NodeCell):
        return f"{kept.cell.label} (node {kept.defined.name!r})"
    flow = next(iter(kept.plain_flows.values()), None)
    return f"{kept.cell.label} (flow {flow!r})" if flow else kept.cell.label


def _number(label: str) -> str:
    """What `%dagy_reset` knows the cell by: `5` of "cell [5]"."""
    return label.removeprefix("cell").strip().strip("[]")


def _reference(kept: KeptCell) -> str:
    return (isinstance(kept.defined, TaskCell) and kept.defined.name) or _number(kept.cell.label)
