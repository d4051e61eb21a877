"""A cell's text -> what it defines, reads and imports. Nothing is executed.

`read_cell` takes any cell apart into top-level statements; `task_cell` and `flow_cell` say what a cell with a directive
(see `dagy_nb.directives`) defines. Line numbers are always those of the cell as the user sees it, the directive's line
included.

A task or flow cell with exactly one function, and beside it only imports and a docstring, is a *function* cell: the
function is the task. Every other one is a *statements* cell: its statements become the body of a function.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dagy.errors import DefinitionError, MissingExtraError
from dagy_nb.directives import Directive, FlowDirective, TaskDirective, find_directive
from dagy_nb.names import Function, Names, first_reads, names_of

Form: TypeAlias = Literal["function", "statements"]

PLAIN_MAGICS = frozenset({"%%time", "%%capture"})  # cell magics whose body runs as an ordinary cell's
NOTEBOOK_NAMES = frozenset(
    {
        "In",
        "Out",
        "_",
        "__",
        "___",
        "_i",
        "_ii",
        "_iii",
        "display",
        "get_ipython",
    }
)


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of one code cell."""

    id: str  # the notebook's id of the cell; empty when there is none
    source: str
    label: str  # what messages call it: "cell 3", "cell [5]"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One top-level statement of a cell."""

    node: ast.stmt
    names: Names
    source: str  # from its first line (decorators included) to its last, with a comment that ends that line
    above: tuple[str, ...] = ()  # the blank and comment lines between the statement before and this one
    as_typed: str = ""  # its first line as the user wrote it, magics included

    @property
    def line(self) -> int:
        """Its first line, counted from 1 in the cell as the user sees it."""
        return _first_line(self.node)

    @property
    def comments(self) -> str:
        """The comment lines directly above it, each ended by a newline."""
        found: list[str] = []
        for each in reversed(self.above):
            if not each.strip():
                break
            found.append(each.strip() + "\n")
        return "".join(reversed(found))

    @property
    def is_import(self) -> bool:
        """Is it an `import` or a `from ... import`?"""
        return isinstance(self.node, (ast.Import, ast.ImportFrom))

    @property
    def is_docstring(self) -> bool:
        """Is it a text that stands alone?"""
        return (
            isinstance(self.node, ast.Expr)
            and isinstance(self.node.value, ast.Constant)
            and isinstance(self.node.value.value, str)
        )

    @property
    def needs_ipython(self) -> bool:
        """Does it come from a magic, a shell line or a help request?"""
        return "get_ipython" in self.names.reads


@dataclass(frozen=True, slots=True, eq=False)
class ReadCell:
    """A cell taken apart."""

    cell: Cell
    directive: Directive | None
    statements: tuple[Statement, ...]
    magic: str = ""  # the cell magic that makes something else of the text, such as "%%bash": no statements then


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function, its annotation and its default as written; `default` is None when there is none."""

    name: str
    annotation: str = ""
    default: str | None = None
    keyword_only: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TaskCell:
    """What a cell with `%%dagy_task` defines."""

    name: str
    directive: TaskDirective
    form: Form
    cell: Cell
    statements: tuple[Statement, ...]  # all of the cell's
    parameters: tuple[Parameter, ...]  # of the function; none for statements
    needs: frozenset[str]  # read from outside before the cell can have bound them
    may_need: frozenset[str]  # read from outside on some path, or late
    bound: tuple[str, ...]  # the names that it makes, in order: the function's, or what the statements bind
    surely: frozenset[str]  # of these, the ones bound on every path
    mutates: frozenset[str]  # what the statements change in place
    reads: Mapping[str, bool]  # what the statements read, in order of appearance: `{name: only ever called}`
    is_async: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names that other cells may give it: its parameters, or in order of appearance what it reads."""
        if self.form == "function":
            return tuple(each.name for each in self.parameters)
        return tuple(name for name in self.reads if name in self.needs or name in self.may_need)

    @property
    def function(self) -> Statement:
        """The statement that defines the function of a function cell; `LookupError` for statements."""
        return next(each for each in self.statements if isinstance(each.node, Function))


@dataclass(frozen=True, slots=True, eq=False)
class FlowCell:
    """What a cell with `%%dagy_flow` defines; `name` is None for statements that were given none."""

    name: str | None
    directive: FlowDirective
    form: Form
    cell: Cell
    statements: tuple[Statement, ...]
    needs: frozenset[str]
    may_need: frozenset[str]
    bound: tuple[str, ...]

    @property
    def function(self) -> Statement:
        """The statement that defines the function of a function cell; `LookupError` for statements."""
        return next(each for each in self.statements if isinstance(each.node, Function))


def read_cell(cell: Cell) -> ReadCell:
    """The cell taken apart. Raises `DefinitionError` for Python that can't be read and a directive written wrong."""
    lines = cell.source.replace("\r\n", "\n").split("\n")
    try:
        found = find_directive(cell.source)
    except DefinitionError as error:
        raise DefinitionError(f"{cell.label}: {error}") from error
    text = list(lines)
    if found is not None:
        text[found[1]] = ""
        return ReadCell(cell, found[0], _statements(cell, "\n".join(text), lines))
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        magic = lines[first].split()[0]
        if magic not in PLAIN_MAGICS:
            return ReadCell(cell, None, (), magic)
        text[first] = ""
    return ReadCell(cell, None, _statements(cell, "\n".join(text), lines))


def task_cell(read: ReadCell) -> TaskCell:
    """The task that a cell defines. Raises `DefinitionError` when it can't be one, with the cell and the way out."""
    directive = read.directive
    if not isinstance(directive, TaskDirective):
        raise DefinitionError(f"{read.cell.label} is not a task cell; its first line must be %%dagy_task")
    body = _body(read, "task")
    changed = [each for each in body.reads if each in body.mutates & body.needs]
    sure = [each for each in body.bound if each in body.surely]
    name = directive.name or next(reversed([*body.bound, *changed, *sure]), None)
    if name is None:
        raise DefinitionError(
            f"{read.cell.label}: the task has no name, because the cell binds none; write %%dagy_task NAME"
        )
    return TaskCell(
        name=name,
        directive=directive,
        form=body.form,
        cell=read.cell,
        statements=read.statements,
        parameters=body.parameters,
        needs=body.needs,
        may_need=body.may_need,
        bound=body.bound,
        surely=body.surely,
        mutates=body.mutates,
        reads=body.reads,
        is_async=body.is_async,
    )


def flow_cell(read: ReadCell) -> FlowCell:
    """The flow that a cell defines. Raises `DefinitionError` when it can't be one, with the cell and the way out."""
    directive = read.directive
    if not isinstance(directive, FlowDirective):
        raise DefinitionError(f"{read.cell.label} is not a flow cell; its first line must be %%dagy_flow")
    body = _body(read, "flow")
    if body.is_async and body.form == "statements":
        raise DefinitionError(f"{read.cell.label}: a flow only calls its tasks and awaits none; drop the `await`")
    name = directive.name or (body.bound[-1] if body.form == "function" else None)
    return FlowCell(name, directive, body.form, read.cell, read.statements, body.needs, body.may_need, body.bound)


# -- from text to statements ------------------------------------------------------------------------------------------


def _statements(cell: Cell, text: str, as_typed: Sequence[str]) -> tuple[Statement, ...]:
    """The statements of `text`, which has the cell's own line numbers. IPython's own syntax is turned into calls."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        if not any(sign in text for sign in "%!?"):
            raise _unreadable(cell, error) from error
        text = _without_ipython_syntax(cell, text)
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError) as again:
            raise _unreadable(cell, again) from again
    lines = text.split("\n")
    found: list[Statement] = []
    end = 0  # the last line of the statement before
    for index, node in enumerate(tree.body):
        follower = tree.body[index + 1] if index + 1 < len(tree.body) else None
        first = _first_line(node)
        source = _segment(lines, node, follower)
        above = tuple(lines[end : first - 1])
        if not index:
            above = tuple(_without_blank_start(above))
        typed = as_typed[first - 1].strip() if first <= len(as_typed) else ""
        try:
            names = names_of(node, source)
        except SyntaxError as error:  # what only Python's scoping finds, such as two parameters of one name
            raise DefinitionError(f"{cell.label}, line {first}: {error.msg}: {typed!r}") from error
        statement = Statement(node, names, source, above, typed)
        if statement.needs_ipython and re.search(r"magic\('%?%?dagy_(task|flow)'", source):
            raise DefinitionError(
                f"{cell.label}, line {first}: %%dagy_task and %%dagy_flow must be the first line of their cell; "
                "move what stands above into a cell of its own"
            )
        found.append(statement)
        end = node.end_lineno or first
    return tuple(found)


def _without_ipython_syntax(cell: Cell, text: str) -> str:
    """`text` with magics, shell lines and help requests turned into calls of `get_ipython()`, line numbers kept."""
    try:
        from IPython.core.inputtransformer2 import TransformerManager
    except ImportError as error:
        raise MissingExtraError("ipython", "notebook", f"reading the magics of {cell.label}") from error
    blank = len(text) - len(text.lstrip("\n"))  # which the transformer drops
    try:
        transformed: str = TransformerManager().transform_cell(text)  # type: ignore[no-untyped-call]
    except SyntaxError as error:
        raise _unreadable(cell, error) from error
    return "\n" * blank + transformed.lstrip("\n")


def _unreadable(cell: Cell, error: SyntaxError | ValueError) -> DefinitionError:
    if not isinstance(error, SyntaxError):
        return DefinitionError(f"{cell.label} can't be read as Python: {error}")
    shown = f": {error.text.strip()!r}" if error.text and error.text.strip() else ""
    return DefinitionError(f"{cell.label}, line {error.lineno}: {error.msg}{shown}")


def _segment(lines: Sequence[str], node: ast.stmt, follower: ast.stmt | None) -> str:
    """The text of a statement, which shares its lines with others where there are semicolons."""
    first, last = _first_line(node), node.end_lineno or node.lineno
    taken = list(lines[first - 1 : last])
    end = len(taken[-1].encode()[: node.end_col_offset].decode())
    rest = taken[-1][end:]
    shared = follower is not None and _first_line(follower) == last
    taken[-1] = taken[-1] if not shared and rest.lstrip().startswith("#") else taken[-1][:end]
    if node.col_offset and first == node.lineno:
        taken[0] = taken[0].encode()[node.col_offset :].decode()
    return "\n".join(taken)


def _first_line(node: ast.stmt) -> int:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.decorator_list:
        return node.decorator_list[0].lineno
    return node.lineno


def _without_blank_start(lines: Sequence[str]) -> Sequence[str]:
    start = next((index for index, line in enumerate(lines) if line.strip()), len(lines))
    return lines[start:]


# -- from statements to a body ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Body:
    form: Form
    parameters: tuple[Parameter, ...]
    needs: frozenset[str]
    may_need: frozenset[str]
    bound: tuple[str, ...]
    surely: frozenset[str]
    mutates: frozenset[str]
    reads: Mapping[str, bool]
    is_async: bool


def _body(read: ReadCell, kind: Literal["task", "flow"]) -> _Body:
    functions = [each for each in read.statements if isinstance(each.node, Function)]
    rest = [each for each in read.statements if each not in functions]
    for each in read.statements:
        _refuse(read.cell, each, kind)
    if len(functions) == 1 and all(each.is_import or each.is_docstring for each in rest):
        return _function_body(read.cell, functions[0], kind)
    return _statements_body(read, kind)


def _function_body(cell: Cell, function: Statement, kind: str) -> _Body:
    node = function.node
    assert isinstance(node, Function)
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if name in ("task", "flow"):
            raise DefinitionError(
                f"{cell.label}, line {decorator.lineno}: the function {node.name!r} has @{name} in a %%dagy_{kind} "
                f"cell, which makes it a {kind} already; drop one of the two"
            )
    names = function.names
    return _Body(
        form="function",
        parameters=_parameters(node),
        needs=names.reads,
        may_need=names.perhaps,
        bound=(node.name,),
        surely=frozenset({node.name}),
        mutates=frozenset(),
        reads={},
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )


def _statements_body(read: ReadCell, kind: str) -> _Body:
    if not any(not each.is_import and not each.is_docstring for each in read.statements):
        raise DefinitionError(
            f"{read.cell.label} has %%dagy_{kind} but no code; write a function or statements below the first line"
        )
    for node in (node for each in read.statements for node in ast.walk(each.node)):
        if isinstance(node, ast.Global):
            raise DefinitionError(
                f"{read.cell.label}, line {node.lineno}: `global {', '.join(node.names)}` does not reach other tasks; "
                f"drop it and bind the name in the cell, or write the {kind} as one function"
            )
    sure: set[str] = set()
    maybe: set[str] = set()
    needs: set[str] = set()
    may_need: set[str] = set()
    mutates: set[str] = set()
    bound: dict[str, None] = {}
    imported: set[str] = set()
    for each in read.statements:
        names = each.names
        needs |= names.eager - sure - maybe
        may_need |= ((names.eager & maybe) | names.late | names.perhaps) - sure
        sure = (sure | names.surely) - names.deletes
        maybe = (maybe | names.binds) - names.deletes - sure
        mutates |= names.mutates
        for name in each.names.order:
            bound.pop(name, None)
            bound[name] = None
        for name in names.deletes:
            bound.pop(name, None)
        if each.is_import:
            imported |= names.binds
        else:
            imported -= names.binds
    return _Body(
        form="statements",
        parameters=(),
        needs=frozenset(needs),
        may_need=frozenset(may_need - needs),
        bound=tuple(name for name in bound if name not in imported),
        surely=frozenset(sure),
        mutates=frozenset(mutates),
        reads=first_reads(each.node for each in read.statements),
        is_async=any(each.names.awaits for each in read.statements),
    )


def _parameters(node: Function) -> tuple[Parameter, ...]:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    return tuple(
        Parameter(
            each.arg,
            ast.unparse(each.annotation) if each.annotation else "",
            ast.unparse(default) if default else None,
            each in arguments.kwonlyargs,
        )
        for each, default in zip([*plain, *arguments.kwonlyargs], [*defaults, *arguments.kw_defaults], strict=True)
    )


def _refuse(cell: Cell, statement: Statement, kind: str) -> None:
    """Raise for what can't be part of a task or a flow."""
    where = f"{cell.label}, line {statement.line}"
    if statement.needs_ipython:
        raise DefinitionError(
            f"{where}: `{statement.as_typed}` needs IPython and can't be part of a {kind}; "
            "move it to a cell of its own, or write it in Python"
        )
    if isinstance(statement.node, ast.ImportFrom) and any(each.name == "*" for each in statement.node.names):
        module = statement.node.module or "."
        raise DefinitionError(
            f"{where}: `from {module} import *` hides which names the {kind} uses; "
            f"name them, or import them in an ordinary cell"
        )
    for each in _own_nodes(statement.node):
        match each:
            case ast.Return() | ast.Yield() | ast.YieldFrom():
                word = "return" if isinstance(each, ast.Return) else "yield"
                raise DefinitionError(
                    f"{cell.label}, line {each.lineno}: `{word}` outside a function; "
                    f"end the cell with the value alone, or write the {kind} as one function"
                )
            case _:
                pass


def _own_nodes(node: ast.stmt) -> Iterable[ast.AST]:
    """The nodes of a statement that run when it does, not those inside functions and classes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    todo: list[ast.AST] = [node]
    while todo:
        each = todo.pop()
        yield each
        todo.extend(
            child
            for child in ast.iter_child_nodes(each)
            if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda))
        )
