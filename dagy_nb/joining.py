"""Task cells -> a graph: each input of a task is joined by its name to the task cell that makes it.

- A statements cell makes the names it binds, and those that it is given and changes in place (`df["x"] = 1`), as far
  as anybody can tell: a method of its own for nothing, `queue.put(1)`, is taken for a change too.
  With a `return` it makes one value, under the task's name. A function cell makes one, under the function's name and
  the task's.
- A statements cell takes in what it reads before binding it, a function cell what its parameters name.
- Of several makers the reader takes the latest above it, in notebook order. When there is none above, the one below.
- A statement that does nothing with a function cell's name but call it, calls the plain function and takes no value.
- What changes a value in place waits for the readers above it, and returns it to the readers below.
- Parameters that nobody makes are the flow's. Names that no task cell makes are the module's.
"""

from __future__ import annotations

import ast
import builtins
from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from dagy.errors import DefinitionError
from dagy.graph import ordered
from dagy_nb.cells import Parameter, Statement, TaskCell, holding
from dagy_nb.names import Function, identifier, rebound_in_classes, unused

RESERVED = frozenset({"dagy", "flow", "task"})  # what a generated module imports
HIDING = ("eval", "exec", "globals", "locals", "vars")  # calls that read names nobody can see in the text
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Wire:
    """Where one input of a task comes from: a task's value, its part `part`, or the flow's parameter of that name."""

    parameter: str
    task: str | None = None  # the name of the task that makes it; None: the flow's parameter
    part: str | None = None  # the key in what the task returns, when it returns several names


@dataclass(frozen=True, slots=True, eq=False)
class JoinedTask:
    """A task cell with its place in the graph."""

    cell: TaskCell
    name: str  # the task's, unique among the joined
    function: str  # the Python name of its function, unique too
    wires: tuple[Wire, ...]  # one a parameter of the function, in its order
    outputs: tuple[str, ...] = ()  # what others take from it; several: it returns them as a dict
    captured: tuple[str, ...] = ()  # names of the module that the statements read and that they, or others, bind anew
    builtin: tuple[str, ...] = ()  # of these, the builtins that no cell has given another meaning
    after: tuple[str, ...] = ()  # names of tasks that it waits for without taking their values
    problems: tuple[str, ...] = ()  # sentences: what works but may not mean what was meant
    races: tuple[str, ...] = ()  # the same for a flow written by hand, which does not know what to wait for

    @property
    def options(self) -> dict[str, object]:
        """The keyword arguments of `@task`."""
        return {**({"name": self.name} if self.name != self.function else {}), **self.cell.directive.options}

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the tasks whose values it takes, each once."""
        return tuple(dict.fromkeys(each.task for each in self.wires if each.task is not None))

    @property
    def upstream(self) -> tuple[str, ...]:
        """The names of the tasks that come before it, whether it takes their values or not."""
        return (*self.needs, *self.after)


@dataclass(frozen=True, slots=True)
class FlowParameter:
    """A parameter of the joined flow, and the label of the cell whose task asks for it first."""

    name: str
    annotation: str
    default: str | None
    label: str


def join(
    tasks: Sequence[TaskCell],
    *,
    flow: str,
    defined: Collection[str] = (),
    imported: Collection[str] = (),
    ordinary: Iterable[Statement] = (),
) -> tuple[JoinedTask, ...]:
    """The task cells (given in notebook order) as the flow named `flow`, each task after those it needs or waits for.

    `defined` are the names that ordinary cells bind, `imported` those of them that imports bind; `ordinary` are the
    statements of those cells, whose functions tasks call.
    Raises what `wire` raises, `CycleError` for a circle, and
    `DefinitionError` for two parameters of one name that differ.
    """
    wired = wire(tasks, defined=defined, imported=imported, ordinary=ordinary)
    order = ordered({each.name: each.upstream for each in wired}, flow=flow)
    flow_parameters(wired)
    seen: set[str] = set()
    for each in wired:
        if not seen.issuperset(each.upstream):
            by_name = {each.name: each for each in wired}
            return tuple(by_name[name] for name in order)
        seen.add(each.name)
    return wired


def wire(
    tasks: Sequence[TaskCell],
    *,
    defined: Collection[str] = (),
    imported: Collection[str] = (),
    ordinary: Iterable[Statement] = (),
    arrays: Collection[str] = (),
) -> tuple[JoinedTask, ...]:
    """The task cells in the order given, wired by names; what only matters to a joined flow is not checked.

    `arrays` are, as far as they are known, the names of ordinary cells whose values `+=` changes in place.

    Raises `DefinitionError` for two tasks of one name, and for an input that several cells make, all below its reader.
    """
    names, functions = _named(tasks, defined)
    makers = _makers(tasks)
    wires: list[dict[str, int | None]] = [{} for _ in tasks]
    wanted: list[set[str]] = [set() for _ in tasks]  # what others take from each
    for index in reversed(range(len(tasks))):
        reader = tasks[index]
        # A name that others take, and that this cell binds on some path only, may come from above.
        inputs = dict.fromkeys([*reader.inputs, *(sorted(wanted[index] - reader.surely))])
        if reader.form == "function":
            inputs = dict.fromkeys(reader.inputs)
        for name in inputs:
            maker = _maker_of(name, index, tasks, makers, defined)
            if maker is not None:
                wires[index][name] = maker
                if tasks[maker].form == "statements":
                    wanted[maker].add(name)
            elif reader.form == "function":
                wires[index][name] = None
    read = {maker for each in wires for maker in each.values() if maker is not None}
    outputs = [
        tuple(name for name in dict.fromkeys([*_made(task), *sorted(wanted[index])]) if name in wanted[index])
        for index, task in enumerate(tasks)
    ]
    for task, given in zip(tasks, wires, strict=True):
        _refuse_class_scopes(task, {*task.bound, *given})
    late_reads = _LateReads(ordinary, makers)
    captured = [_captured(task, wires[index], outputs[index], defined, makers) for index, task in enumerate(tasks)]
    called = [late_reads.of(task, wires[index]) for index, task in enumerate(tasks)]
    joined = [
        JoinedTask(
            cell=task,
            name=names[index],
            function=functions[index],
            wires=tuple(
                Wire(name) if maker is None else Wire(name, names[maker], name if len(outputs[maker]) > 1 else None)
                for name, maker in wires[index].items()
            ),
            outputs=outputs[index] if index in read else (),
            captured=captured[index],
            builtin=tuple(name for name in captured[index] if name not in defined and hasattr(builtins, name)),
            problems=(
                *_hidden_reads(task, names[index], index, tasks, makers, defined),
                *_stale_functions(task, names[index], index, tasks, wires[index]),
                *_changed_globals(task, names[index], wires[index], set(defined) - set(imported), arrays),
                *_read_by_functions(task, names, index, tasks, called[index], makers),
                *_counted_by_functions(task, names[index], called[index], makers),
                *(() if index in read else _function_as_value(task, names[index])),
            ),
        )
        for index, task in enumerate(tasks)
    ]
    return _with_changes(joined, wires)


def flow_parameters(joined: Sequence[JoinedTask]) -> tuple[FlowParameter, ...]:
    """The parameters of the joined flow, those without a default first.

    Raises `DefinitionError` for one that two tasks give different defaults, and for one named as a task's function.
    """
    found: dict[str, FlowParameter] = {}
    functions = {each.function: each for each in joined}
    for task in joined:
        by_name = {each.name: each for each in task.cell.parameters}
        for wire in task.wires:
            if wire.task is not None:
                continue
            own = by_name[wire.parameter]
            label = task.cell.cell.label
            if own.name in functions:
                raise DefinitionError(
                    f"{label}: the parameter {own.name!r} of task {task.name!r} has the name of the task function in "
                    f"{functions[own.name].cell.cell.label}, but is not made by it; rename the parameter"
                )
            found[own.name] = _merged(found.get(own.name), own, label)
    return tuple(sorted(found.values(), key=lambda each: each.default is not None))


def _merged(first: FlowParameter | None, own: Parameter, label: str) -> FlowParameter:
    if first is None:
        return FlowParameter(own.name, own.annotation, own.default, label)
    if first.default is not None and own.default is not None and first.default != own.default:
        raise DefinitionError(
            f"the parameter {own.name!r} has the default {first.default} in {first.label} and {own.default} "
            f"in {label}, and is one parameter of the flow; give both the same default, or rename one"
        )
    return FlowParameter(
        own.name,
        first.annotation or own.annotation,
        first.default if first.default is not None else own.default,
        first.label,
    )


def _named(tasks: Sequence[TaskCell], defined: Collection[str]) -> tuple[list[str], list[str]]:
    """For each task its unique name and the unique Python name of its function."""
    fixed: dict[str, TaskCell] = {}
    functions: set[str] = set()
    for task in tasks:
        if task.form == "function" or task.directive.name:
            other = fixed.setdefault(task.name, task)
            if other is not task:
                raise DefinitionError(
                    f"{other.cell.label} and {task.cell.label} both define the task {task.name!r}; "
                    "rename one, or delete the cell that is out of date"
                )
        if task.form == "function":
            functions.add(task.bound[0])
    taken, reserved = set(fixed), RESERVED | set(defined) | set(dir(builtins))
    names: list[str] = []
    python: list[str] = []
    for task in tasks:
        if task.form == "function":
            names.append(task.name)
            python.append(task.bound[0])
            continue
        name = task.name if task.directive.name else unused(task.name, taken)
        function = identifier(name, default="unnamed")
        if function in reserved or function in functions:
            function = unused(f"{function}_task", reserved | functions)
        taken.add(name)
        functions.add(function)
        names.append(name)
        python.append(function)
    return names, python


def _makers(tasks: Sequence[TaskCell]) -> dict[str, list[int]]:
    """For each name the positions of the cells that make it, in notebook order."""
    makers: dict[str, list[int]] = {}
    for index, task in enumerate(tasks):
        for name in _made(task):
            makers.setdefault(name, []).append(index)
    for index, task in enumerate(tasks):
        for name in sorted((task.mutates | task.may_mutate) - set(task.bound)):
            if task.form == "function" or task.returns:
                continue
            if name in task.inputs and makers.get(name, [index])[0] < index and not _only_calls(task, name):
                insort(makers[name], index)
    holds: dict[str, frozenset[str]] = {}
    for index, task in enumerate(tasks):
        if task.form == "statements":
            changed = [holds.get(name, frozenset()) for name in (task.mutates | task.may_mutate) & holds.keys()]
            for name in sorted(frozenset().union(*changed)) if not task.returns else ():
                if makers.get(name, [index])[0] < index and index not in makers[name]:
                    insort(makers[name], index)
            holds = holding(holds, task.bound, task.holds)
    return makers


def _made(task: TaskCell) -> tuple[str, ...]:
    """The names under which others find what a cell makes."""
    if task.form == "function":
        return tuple(dict.fromkeys([*task.bound, task.name]))
    return (task.name,) if task.returns else task.bound


def _maker_of(
    name: str, index: int, tasks: Sequence[TaskCell], makers: Mapping[str, Sequence[int]], defined: Collection[str]
) -> int | None:
    """The position of the cell that makes `name` for the reader at `index`; None when it is not a task's."""
    reader = tasks[index]
    found = [each for each in makers.get(name, ()) if each != index]
    if reader.form == "statements" and _only_calls(reader, name):
        found = [each for each in found if tasks[each].form == "statements"]
    above = [each for each in found if each < index]
    if above:
        return above[-1]
    if reader.form == "statements" and (name in defined or name not in reader.needs or hasattr(builtins, name)):
        return None
    if len(found) > 1:
        raise DefinitionError(
            f"{reader.cell.label} reads {name!r}, which {' and '.join(tasks[each].cell.label for each in found)} make, "
            "all below it; move the one it should read above it"
        )
    return found[0] if found else None


def _only_calls(reader: TaskCell, name: str) -> bool:
    return reader.reads.get(name, False)


def _captured(
    task: TaskCell,
    wires: Mapping[str, int | None],
    outputs: Sequence[str],
    defined: Collection[str],
    makers: Mapping[str, Sequence[int]],
) -> tuple[str, ...]:
    """The module's names that a body reads and also binds, which would make them unbound locals in a function.

    And those that it reads and another task cell binds: in the notebook, where that cell has run, they have its value.
    """
    bound_on_some_path = set() if task.returns else set(outputs) - task.surely
    known = set(defined) & ((task.rebinds & task.may_need) | bound_on_some_path)
    reads = task.needs | task.may_need
    hidden = {name for name in reads if name in makers and (name in defined or hasattr(builtins, name))}
    return tuple(sorted(((task.rebinds & task.needs) | known | hidden) - set(wires)))


def _refuse_class_scopes(task: TaskCell, own: Collection[str]) -> None:
    """Raise for a class that binds anew a name of the body it is in: Python looks past the function's names then."""
    for statement in task.statements if task.form == "statements" else ():
        if "class" not in statement.source:
            continue
        for name in sorted(rebound_in_classes(statement.node, statement.source).intersection(own)):
            raise DefinitionError(
                f"{task.cell.label}, line {statement.line}: a class reads {name!r} and binds it too, which Python "
                "allows at the top of a module only; give it another name in the class"
            )


def _hidden_reads(
    task: TaskCell,
    name: str,
    index: int,
    tasks: Sequence[TaskCell],
    makers: Mapping[str, Sequence[int]],
    defined: Collection[str],
) -> tuple[str, ...]:
    """What a task reads past its inputs."""
    label = task.cell.label
    problems = []
    if task.form == "function":
        parameters = {each.name for each in task.parameters}
        for read in sorted((task.needs | task.may_need) - parameters - set(defined)):
            found = [each for each in makers.get(read, ()) if each != index and tasks[each].form == "statements"]
            if found:
                problems.append(
                    f"{label}: task {name!r} reads {read!r}, which {tasks[found[-1]].cell.label} makes, past its "
                    f"parameters; add {read!r} as a parameter so that the graph knows"
                )
    problems.extend(
        f"{label}: task {name!r} calls {call}(), whose names Dagy can't follow" for call in HIDING if call in task.needs
    )
    return tuple(problems)


def _stale_functions(
    task: TaskCell, name: str, index: int, tasks: Sequence[TaskCell], wires: Mapping[str, int | None]
) -> tuple[str, ...]:
    """Functions that a task is given, and that would see another value of a name in the notebook than in the graph."""
    problems: list[str] = []
    for function, maker in wires.items():
        if maker is None or tasks[maker].form == "function" or tasks[maker].returns:
            continue
        own = {*tasks[maker].bound, *tasks[maker].inputs}
        late = [each.names.late & own for each in tasks[maker].statements if function in each.names.binds]
        for read in sorted(set[str]().union(*late[-1:])):
            between = [
                each for each in tasks[maker + 1 : index + 1] if each.form == "statements" and read in each.bound
            ]
            if between:
                problems.append(
                    f"{task.cell.label}: task {name!r} uses {function!r} of {tasks[maker].cell.label}, which keeps the "
                    f"{read!r} it had there, though {between[-1].cell.label} binds it again; "
                    f"make {read!r} a parameter of {function!r}"
                )
    return tuple(problems)


def _changed_globals(
    task: TaskCell,
    name: str,
    wires: Mapping[str, int | None],
    defined: Collection[str],
    arrays: Collection[str],
) -> tuple[str, ...]:
    """Values of ordinary cells that a task changes in place, which no edge shows and every run does again."""
    if task.form == "function":
        return ()
    return tuple(
        f"{task.cell.label}: task {name!r} changes {changed!r} in place, which an ordinary cell made: every run "
        f"changes it again, and no edge says who sees it; {_remedy(changed)}"
        for changed in sorted((task.mutates | (task.may_augment & set(arrays))) & set(defined) - set(wires))
    )


@dataclass(frozen=True, slots=True)
class _Late:
    """What a function of an ordinary cell reads when it is called, and what it binds outside itself."""

    reads: frozenset[str]
    counts: frozenset[str]  # `global n` and `n += 1`


class _LateReads:
    """What the functions and classes of ordinary cells read when they are called, of the names `made` by tasks."""

    def __init__(self, ordinary: Iterable[Statement], made: Collection[str]) -> None:
        self._found: dict[str, _Late] = {}
        callers: dict[str, set[str]] = {}
        for each in ordinary:
            if each.names.defines:
                bound, counted = _global_names(each)
                self._found |= dict.fromkeys(each.names.binds, _Late(each.names.late | bound, counted))
        for name, late in self._found.items():
            for read in late.reads:
                callers.setdefault(read, set()).add(name)
        telling = {name for name, late in self._found.items() if late.counts or not late.reads.isdisjoint(made)}
        for name in list(telling):
            telling |= _reached(callers, name)
        self._found = {name: late for name, late in self._found.items() if name in telling}

    def of(self, task: TaskCell, given: Collection[str]) -> dict[str, _Late]:
        """The functions that a task calls, and those that they call, as far as there is something to say of them.

        `given` are the names that it has from other tasks.
        """
        own = {*task.bound, *given} if task.form == "statements" else {each.name for each in task.parameters}
        todo = sorted(((task.needs | task.may_need) - own) & self._found.keys())
        found: dict[str, _Late] = {}
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self._found[name]
                todo += sorted(found[name].reads & self._found.keys())
        return dict(sorted(found.items()))


def _global_names(statement: Statement) -> tuple[frozenset[str], frozenset[str]]:
    """The names that the functions in a statement declare `global`, and those of them that they count up."""
    if "global" not in statement.source:
        return frozenset(), frozenset()
    nodes = list(ast.walk(statement.node))
    bound = frozenset(name for each in nodes if isinstance(each, ast.Global) for name in each.names)
    counted = {
        each.target.id for each in nodes if isinstance(each, ast.AugAssign) and isinstance(each.target, ast.Name)
    }
    return bound, bound & counted


def _read_by_functions(
    task: TaskCell,
    names: Sequence[str],
    index: int,
    tasks: Sequence[TaskCell],
    called: Mapping[str, _Late],
    makers: Mapping[str, Sequence[int]],
) -> tuple[str, ...]:
    """Functions of ordinary cells that a task calls, and that read what tasks make: they see the notebook's value."""
    problems: list[str] = []
    for function, late in called.items():
        for read in sorted(late.reads):
            found = [each for each in makers.get(read, ()) if tasks[each].form == "statements"]
            if found:
                maker = max((each for each in found if each <= index), default=found[0])
                where = "it" if maker == index else f"{tasks[maker].cell.label} (task {names[maker]!r})"
                problems.append(
                    f"{task.cell.label}: task {names[index]!r} calls {function!r}, which reads {read!r} that {where} "
                    f"makes, and sees the notebook's value, not the run's; give it to {function!r} as a parameter"
                )
    return tuple(problems)


def _counted_by_functions(
    task: TaskCell, name: str, called: Mapping[str, _Late], makers: Mapping[str, Sequence[int]]
) -> tuple[str, ...]:
    return tuple(
        f"{task.cell.label}: task {name!r} calls {function!r}, which changes the global {counted!r}: every run changes "
        f"it again, and no edge says who sees it; let {function!r} take and return it"
        for function, late in called.items()
        for counted in sorted(late.counts - makers.keys())
    )


def _function_as_value(task: TaskCell, name: str) -> tuple[str, ...]:
    """A function with what it needs above it, meant to be the task, whose cell makes a task of statements."""
    if task.form == "function" or task.returns:
        return ()
    last = task.statements[-1]
    others = [each for each in task.statements[:-1] if not each.is_docstring and not each.is_import]
    if not isinstance(last.node, Function) or not all(
        isinstance(each.node, (ast.Assign, ast.AnnAssign)) for each in others
    ):
        return ()
    return (
        f"{task.cell.label}: the value of task {name!r} is the function {last.node.name!r} itself; "
        "move what stands beside it into an ordinary cell, and the function is the task",
    )


def _remedy(name: str, of: str = "the cell") -> str:
    """How a task is kept from changing what it was given."""
    return (
        f"begin {of} with `{name} = {name}.copy()` (`copy.deepcopy({name})` where that is not enough), "
        "or put both into one cell"
    )


def _with_changes(joined: Sequence[JoinedTask], wires: Sequence[Mapping[str, int | None]]) -> tuple[JoinedTask, ...]:
    """The tasks, each that changes a value in place after the earlier readers of that value; with what is left to say.

    As by hand: what stands above a change sees the value unchanged, what stands below sees it changed. Where no order
    gives that, the task has a problem; where a flow is written by hand, which has an order of its own, a race.
    """
    needs, order = _Order(wires), _Order(wires)
    same = _Objects([each.cell for each in joined], wires)
    races: list[dict[str, None]] = [{} for _ in joined]
    problems: list[dict[str, None]] = [{} for _ in joined]
    for index, task in enumerate(joined):
        if task.options.get("isolation") == "process":
            continue  # it works on a copy
        cell = task.cell
        for name, maker in sorted(wires[index].items()):
            if maker is None or name not in cell.mutates | cell.may_mutate | cell.may_augment:
                continue
            readers = same.readers(index, name)
            racing = sorted(readers - needs.related(index))
            # Those above it are put before it, the latest first, so that no more edges come than are needed. Those
            # below that hold a part of the value come after it, when running the cells one by one would do that.
            for each in sorted(readers - order.related(index), reverse=True):
                if each < index:
                    order.put(each, index)
                elif cell.form == "statements" and not cell.returns:
                    order.put(index, each)
            unordered = sorted(readers - order.related(index))
            if name not in cell.mutates | cell.may_mutate:
                continue
            races[index] |= dict.fromkeys(_race(task, name, joined[each]) for each in racing)
            problems[index] |= dict.fromkeys(
                [_race(task, name, joined[each]) for each in unordered] or [_spoiled(task, name, joined[maker])]
            )
    return tuple(
        replace(
            task,
            after=tuple(joined[each].name for each in order.after(index)),
            problems=(*task.problems, *problems[index]),
            races=tuple(each for each in races[index] if each not in problems[index]),
        )
        for index, task in enumerate(joined)
    )


def _race(task: JoinedTask, name: str, reader: JoinedTask) -> str:
    is_sure = name in task.cell.mutates
    return (
        f"{task.cell.cell.label}: task {task.name!r} {'changes' if is_sure else 'may change'} {name!r} in place while "
        f"task {reader.name!r} ({reader.cell.cell.label}) may read it; {_way_out(task, name)}"
    )


def _spoiled(task: JoinedTask, name: str, maker: JoinedTask) -> str:
    is_sure = name in task.cell.mutates
    return (
        f"{task.cell.cell.label}: task {task.name!r} {'changes' if is_sure else 'may change'} {name!r} in place, which "
        f"task {maker.name!r} ({maker.cell.cell.label}) returned: a retry, a resumed run and the result of "
        f"{maker.name!r} see it changed; {_way_out(task, name)}"
    )


def _way_out(task: JoinedTask, name: str) -> str:
    if name not in task.cell.mutates:
        return "if it does, let it work on a copy"
    return _remedy(name, "the cell" if task.cell.form == "statements" else "it")


class _Order:
    """The graph of the tasks, given by their positions, to which edges are added that carry no value."""

    def __init__(self, wires: Sequence[Mapping[str, int | None]]) -> None:
        self._upstream = {
            index: {maker for maker in given.values() if maker is not None} for index, given in enumerate(wires)
        }
        self._downstream: dict[int, set[int]] = {index: set() for index in self._upstream}
        self._added: dict[int, set[int]] = {index: set() for index in self._upstream}
        for index, makers in self._upstream.items():
            for maker in makers:
                self._downstream[maker].add(index)

    def related(self, index: int) -> set[int]:
        """What comes before or after `index`, directly or not."""
        return _reached(self._upstream, index) | _reached(self._downstream, index)

    def put(self, first: int, last: int) -> None:
        """Have `last` come after `first`, unless the one is before the other already."""
        if first not in self.related(last):
            self._upstream[last].add(first)
            self._downstream[first].add(last)
            self._added[last].add(first)

    def after(self, index: int) -> list[int]:
        """What `index` comes after without taking its value, without what it needs anyway, in notebook order."""
        return [
            each
            for each in sorted(self._added[index])
            if all(each not in _reached(self._upstream, other) for other in self._upstream[index] - {each})
        ]


_Token: TypeAlias = tuple[int, str]  # a value: the position of the task that makes it, and its name there


class _Objects:
    """Which tasks are given the same object, or one that holds it or is a part of it, as far as their texts tell."""

    def __init__(self, tasks: Sequence[TaskCell], wires: Sequence[Mapping[str, int | None]]) -> None:
        self._wires = wires
        self._same: dict[_Token, _Token] = {}  # what is only a changed or passed on value: the value that it was
        self._held: dict[_Token, set[_Token]] = {}  # the values of which a value holds something
        self._readers: dict[_Token, set[int]] = {}  # of a value, or of one that holds something of it
        self._direct: dict[_Token, set[int]] = {}
        for index, task in enumerate(tasks):
            given = {name: (maker, name) for name, maker in wires[index].items() if maker is not None}
            if task.form == "function":
                continue
            changed = task.mutates | task.may_mutate | task.may_augment
            for name, token in given.items():
                if name in changed or name not in task.surely:
                    self._same[index, name] = token
            for name, roots in task.holds.items():
                self._held[index, name] = {given.get(root, (index, root)) for root in roots}
        for index in range(len(tasks)):
            for name in wires[index]:
                found = self._of(index, name)
                for token in found[:1]:
                    self._direct.setdefault(token, set()).add(index)
                for token in found:
                    self._readers.setdefault(token, set()).add(index)

    def readers(self, index: int, name: str) -> set[int]:
        """Those that read what the task at `index` changes when it changes its input `name` in place."""
        found = self._of(index, name)
        return self._readers.get(found[0], set()).union(*(self._direct.get(each, ()) for each in found)) - {index}

    def _of(self, index: int, name: str) -> list[_Token]:
        """The value that the task at `index` is given as `name`, and after it all that it holds something of."""
        maker = self._wires[index][name]
        todo: list[_Token] = [] if maker is None else [(maker, name)]
        found: dict[_Token, None] = {}
        while todo:
            token = todo.pop()
            passed: set[_Token] = set()  # where the tasks go in a circle, so do the values
            while token in self._same and token not in passed:
                passed.add(token)
                token = self._same[token]
            if token not in found:
                found[token] = None
                todo += self._held.get(token, ())
        return list(found)


def _reached(edges: Mapping[_T, Collection[_T]], start: _T) -> set[_T]:
    seen: set[_T] = set()
    todo = [start]
    while todo:
        for each in edges.get(todo.pop(), ()):
            if each not in seen:
                seen.add(each)
                todo.append(each)
    return seen
