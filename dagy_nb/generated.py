"""Functions made from cells: as syntax trees for the live notebook, as text for the exported module.

Both come from one plan of the function's body, so a cell means the same in the notebook and in the module. The trees
hold the cell's own nodes with their own line numbers, so that a traceback points at the cell's lines.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dagy_nb.cells import FlowCell, Statement
from dagy_nb.joining import JoinedTask, Wire, flow_parameters
from dagy_nb.names import Function, identifier, unused
from dagy_nb.node_cells import NodePlan

INDENT = "    "


def task_function_ast(joined: JoinedTask, *, given: Collection[str] = ()) -> ast.Module:
    """A module that defines the task's function (named `joined.function`), to be compiled and executed.

    For a function cell the cell's imports come first. Execute it in a namespace that has the notebook's names. The
    names of `given`, all of them in `joined.captured`, have their values not from there but from the local namespace
    that the module is executed with: what ordinary cells gave them, before the task's own cell ran and bound them anew.
    """
    if joined.cell.form == "function":
        kept = [each.node for each in joined.cell.statements if not each.is_docstring]
        return ast.Module(body=list(kept), type_ignores=[])
    return _function_ast(_task_plan(joined, given=given, is_live=True), joined.cell.statements)


def task_function_source(joined: JoinedTask, *, without: Collection[Statement] = ()) -> str:
    """The task's function as text, comments and blank lines kept, `without` some of the cell's statements.

    A function cell's text has no imports; those of statements stay in the body, unless they are in `without`.
    """
    if joined.cell.form == "function":
        return joined.cell.function.source + "\n"
    return _function_source(_task_plan(joined, without))


def flow_function_ast(flow: FlowCell, name: str) -> ast.Module:
    """A module that defines the flow cell's function, to be compiled and executed; `name` serves plain statements."""
    if flow.form == "function":
        kept = [each.node for each in flow.statements if not each.is_docstring]
        return ast.Module(body=list(kept), type_ignores=[])
    return _function_ast(_flow_plan(flow, name, ()), flow.statements)


def flow_function_source(flow: FlowCell, name: str, *, without: Collection[Statement] = ()) -> str:
    """The flow cell's function as text, `without` some of the cell's statements; `name` serves plain statements."""
    if flow.form == "function":
        return flow.function.source + "\n"
    return _function_source(_flow_plan(flow, name, without))


def node_function_ast(node: NodePlan) -> ast.Module:
    """A module that defines the function of a node cell with statements, named `node.function`."""
    return _function_ast(_node_plan(node, ()), node.cell.statements)


def node_function_source(node: NodePlan, *, without: Collection[Statement] = ()) -> str:
    """The node's function as text, `without` some of the cell's statements."""
    if node.cell.form == "function":
        return node.cell.function.source + "\n"
    return _function_source(_node_plan(node, without))


def flow_source(joined: Sequence[JoinedTask], name: str) -> str:
    """The function, as text, that calls the joined tasks (each after those it needs) and returns what nobody takes.

    `name` must not be the name of a task's function. One such value is returned as it is, several as a dict.
    """
    parameters = flow_parameters(joined)
    taken = {name, *(each.function for each in joined), *(each.name for each in parameters)}
    variables: dict[str, str] = {}
    for task in joined:
        variables[task.name] = unused(_product(task), taken, suffix="_output")
        taken.add(variables[task.name])
    needed = {each for task in joined for each in task.needs}
    lines = []
    for task in joined:
        arguments = ", ".join(_argument(task, each, variables) for each in task.wires)
        waits = f".after({', '.join(variables[each] for each in task.after)})" if task.after else ""
        lines.append(f"{variables[task.name]} = {task.function}{waits}({arguments})")
    final = [task for task in joined if task.name not in needed]
    if len(final) == 1:
        lines.append(f"return {variables[final[0].name]}")
    elif final:
        keys = [_product(task) for task in final]
        pairs = [
            (key if keys.count(key) == 1 else variables[task.name], variables[task.name])
            for key, task in zip(keys, final, strict=True)
        ]
        lines.append(f"return {{{', '.join(f'{_quoted(key)}: {variable}' for key, variable in pairs)}}}")
    signature = ", ".join(
        each.name
        + (f": {each.annotation}" if each.annotation else "")
        + ("" if each.default is None else f" = {each.default}" if each.annotation else f"={each.default}")
        for each in parameters
    )
    return f"def {name}({signature}):\n" + "".join(f"{INDENT}{line}\n" for line in lines or ["pass"])


def arguments_source(options: dict[str, object]) -> str:
    """Keyword arguments as text, such as `retries=2, timeout_seconds=60`."""
    return ", ".join(
        f"{key}={_quoted(value) if isinstance(value, str) else repr(value)}" for key, value in options.items()
    )


def _quoted(text: str) -> str:
    """A string literal in double quotes where that needs no escapes."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in plain else plain


def _product(task: JoinedTask) -> str:
    """What a variable that holds the task's value is called."""
    if task.cell.form == "function":
        return task.function
    if len(task.outputs) == 1:
        return task.outputs[0]
    if task.outputs:
        return f"{task.function}_parts"
    if task.cell.returns:
        return identifier(task.name, default=task.function)
    ending = _unread_ending(task)
    return ending.names[0] if ending.names else identifier(task.name, default=task.function)


def _argument(task: JoinedTask, wire: Wire, variables: dict[str, str]) -> str:
    value = wire.parameter if wire.task is None else variables[wire.task]
    if wire.part is not None:
        value = f"{value}[{_quoted(wire.part)}]"
    by_keyword = any(each.name == wire.parameter and each.keyword_only for each in task.cell.parameters)
    return f"{wire.parameter}={value}" if by_keyword else value


# -- the plan of a body -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a function ends: with its last statement's value, with one name, or with a dict of names."""

    names: tuple[str, ...] = ()
    is_partial: bool = False  # a dict of those that are bound in the end
    last_value: bool = False  # the last statement is an expression: return it


@dataclass(frozen=True, slots=True)
class _Plan:
    """A function whose body is statements."""

    name: str
    parameters: tuple[str, ...]  # as written, with an annotation and a default where there are any
    docstring: Statement | None
    captured: tuple[str, ...]
    statements: tuple[Statement, ...]
    ending: _Ending
    is_async: bool = False
    builtin: tuple[str, ...] = ()  # of `captured`, those that are builtins
    given: tuple[str, ...] = ()  # of `captured`, those whose values an enclosing function has

    @property
    def prologue(self) -> list[str]:
        """Lines that make locals of the module's names that the body reads before it binds them."""
        return [
            f"{name} = {_given(name)}"
            if name in self.given
            else f"from builtins import {name}"
            if name in self.builtin
            else f'{name} = globals()["{name}"]'
            for name in self.captured
        ]

    @property
    def last_line(self) -> str:
        """The line that returns names, or nothing."""
        if self.ending.is_partial:
            wanted = ", ".join(map(_quoted, self.ending.names))
            return f"return {{name: value for name, value in locals().items() if name in [{wanted}]}}"
        match self.ending.names:
            case ():
                return ""
            case (name,):
                return f"return {name}"
            case names:
                return f"return {{{', '.join(f'{_quoted(name)}: {name}' for name in names)}}}"


def _task_plan(
    joined: JoinedTask, without: Collection[Statement] = (), given: Collection[str] = (), *, is_live: bool = False
) -> _Plan:
    if joined.cell.returns:
        ending = _Ending()
    else:
        ending = _Ending(joined.outputs) if joined.outputs else _unread_ending(joined, without)
    docstring, kept = _split(joined.cell.statements, without, ending)
    return _Plan(
        joined.function,
        tuple(each.parameter for each in joined.wires),
        docstring,
        tuple(
            name
            for name in joined.captured
            if name in joined.cell.rebinds or name in given or (is_live and name in joined.builtin)
        ),
        kept,
        ending,
        joined.cell.is_async,
        joined.builtin,
        tuple(each for each in joined.captured if each in given),
    )


def _node_plan(node: NodePlan, without: Collection[Statement]) -> _Plan:
    cell = node.cell
    if node.gives is None:
        ending = _Ending(last_value=not cell.returns)
    else:
        ending = _Ending(tuple(node.gives), is_partial=bool(node.optional))
    docstring, kept = _split(cell.statements, without, ending)
    builtin = tuple(each for each in node.captured if hasattr(builtins, each))
    return _Plan(node.function, node.parameters, docstring, node.captured, kept, ending, cell.is_async, builtin=builtin)


def _flow_plan(flow: FlowCell, name: str, without: Collection[Statement]) -> _Plan:
    own = {name for each in flow.statements for name in each.names.binds}
    captured = tuple(sorted(flow.needs & own))
    ending = _Ending(tuple(flow.bound[-1:]))
    if flow.returns:
        ending = _Ending()
    elif _has_value([each for each in flow.statements if each not in without]):
        ending = _Ending(last_value=True)
    docstring, kept = _split(flow.statements, without, ending)
    builtin = tuple(each for each in captured if hasattr(builtins, each))
    return _Plan(name, (), docstring, captured, kept, ending, builtin=builtin)


def _split(
    statements: Sequence[Statement], without: Collection[Statement], ending: _Ending
) -> tuple[Statement | None, tuple[Statement, ...]]:
    """A body's docstring, and the statements below it."""
    kept = [each for each in statements if each not in without and not each.is_future]
    docstring = kept.pop(0) if kept and kept[0] is statements[0] and kept[0].is_docstring and len(kept) > 1 else None
    if kept and not ending.last_value and _only_shows(kept[-1]):
        kept.pop()
    return docstring, tuple(kept)


def _given(name: str) -> str:
    """What a value of the notebook is called in the function around a task's own."""
    return f"{name}_before"


def _unread_ending(joined: JoinedTask, without: Collection[Statement] = ()) -> _Ending:
    """The ending of a cell from which nobody takes a name: its final expression, else the last name it surely binds."""
    if _has_value([each for each in joined.cell.statements if each not in without]):
        return _Ending(last_value=True)
    given = {each.parameter for each in joined.wires}
    changed = [name for name in joined.cell.reads if name in joined.cell.mutates & given]
    bound = [name for name in joined.cell.bound if name in joined.cell.surely]
    return _Ending(tuple([*changed, *bound][-1:]))


def _has_value(statements: Sequence[Statement]) -> bool:
    """Is the last statement an expression with a value worth returning: not a mere `print` or `display`?"""
    last = statements[-1].node if statements else None
    if not isinstance(last, ast.Expr) or statements[-1].is_docstring:
        return False
    called = last.value.func if isinstance(last.value, ast.Call) else None
    if isinstance(called, ast.Attribute):
        return called.attr not in statements[-1].names.mutates and not statements[-1].names.mutates
    return not (isinstance(called, ast.Name) and called.id in ("print", "display"))


def _only_shows(statement: Statement) -> bool:
    """Does the statement nothing but name values, for the notebook to show?"""
    if not isinstance(statement.node, ast.Expr):
        return False
    value = statement.node.value
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return all(isinstance(each, ast.Name) for each in parts)


# -- the plan as a tree -----------------------------------------------------------------------------------------------


def _function_ast(plan: _Plan, statements: Sequence[Statement]) -> ast.Module:
    nodes = [each.node for each in plan.statements]
    start, end = statements[0].node, statements[-1].node
    if plan.ending.last_value:
        last = nodes.pop()
        assert isinstance(last, ast.Expr)
        nodes.append(ast.copy_location(ast.Return(value=last.value), last))
    body: list[ast.stmt] = [plan.docstring.node] if plan.docstring else []
    body += [_moved(each, start) for line in plan.prologue for each in ast.parse(line).body]
    body += nodes
    body += [_moved(each, end) for each in ast.parse(plan.last_line).body]
    blank = f"{'async ' if plan.is_async else ''}def {plan.name}({', '.join(plan.parameters)}): pass"
    function = ast.parse(blank).body[0]
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    function.body = body or function.body
    function.end_lineno, function.end_col_offset = end.end_lineno, end.end_col_offset
    futures: list[ast.stmt] = [each.node for each in statements if each.is_future]
    made = _enclosed(function, plan.given) if plan.given else [function]
    return ast.fix_missing_locations(ast.Module(body=[*futures, *made], type_ignores=[]))


def _enclosed(function: Function, given: Sequence[str]) -> list[ast.stmt]:
    """The function inside one whose parameters hold the values of the names `given`, and the call of that one."""
    parameters, values = ", ".join(map(_given, given)), ", ".join(given)
    text = f"def make({parameters}):\n    return {function.name}\n{function.name} = make({values})\ndel make"
    maker, *rest = ast.parse(text).body
    assert isinstance(maker, ast.FunctionDef)
    maker.body.insert(0, function)
    return [maker, *(_moved(each, function) for each in rest)]


def _moved(node: ast.stmt, place: ast.stmt) -> ast.stmt:
    """`node`, and all inside it, at the place of another."""
    for each in ast.walk(node):
        if isinstance(each, (ast.stmt, ast.expr, ast.alias)):
            ast.copy_location(each, place)
    return node


# -- the plan as text -------------------------------------------------------------------------------------------------


def _function_source(plan: _Plan) -> str:
    lines = [f"{'async ' if plan.is_async else ''}def {plan.name}({', '.join(plan.parameters)}):"]
    if plan.docstring:
        lines += _indented(plan.docstring)
    lines += [INDENT + line for line in plan.prologue]
    for index, each in enumerate(plan.statements):
        above = [line for line in each.above if line.strip() or index]
        lines += [INDENT + line if line.strip() else "" for line in above]
        returned = plan.ending.last_value and index == len(plan.statements) - 1
        lines += _indented(each, "return " if returned else "")
    for each in plan.statements[-1:]:
        lines += [INDENT + line.strip() if line.strip() else "" for line in each.below]
    if plan.last_line:
        lines.append(INDENT + plan.last_line)
    elif not plan.statements and not plan.docstring:
        lines.append(INDENT + "pass")
    return "\n".join(lines) + "\n"


def _indented(statement: Statement, before: str = "") -> list[str]:
    """The statement's lines in a function's body; lines inside a string stay where they are, so its value does too."""
    inside: set[int] = set()
    for each in ast.walk(statement.node):
        text = isinstance(each, ast.JoinedStr) or (
            isinstance(each, ast.Constant) and isinstance(each.value, (str, bytes))
        )
        if text and (each.end_lineno or 0) > each.lineno:  # type: ignore[attr-defined]  # both have lines
            inside.update(range(each.lineno + 1, (each.end_lineno or 0) + 1))  # type: ignore[attr-defined]
    lines = statement.source.split("\n")
    return [
        line if number in inside or not line.strip() else INDENT + (before if not index else "") + line
        for index, (number, line) in enumerate(enumerate(lines, statement.line))
    ]
