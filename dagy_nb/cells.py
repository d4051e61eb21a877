"""A cell's text -> what it defines, reads and imports. Nothing is executed.

`read_cell` takes any cell apart into top-level statements; `task_cell`, `flow_cell` and `node_cell` say what a cell
with a directive (see `dagy_nb.directives`) defines. Line numbers are always those of the cell as the user sees it, the
directive's line included.

A task or flow cell with exactly one function, and beside it only imports and a docstring, is a *function* cell: the
function is the task. Every other one is a *statements* cell: its statements become the body of a function.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from dagy.errors import DefinitionError, MissingExtraError
from dagy_nb.directives import (
    Directive,
    DirectiveKind,
    ExportDirective,
    FlowDirective,
    NodeDirective,
    TaskDirective,
    TryDirective,
    cell_lines,
    find_directive,
)
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
    below: tuple[str, ...] = ()  # of the cell's last statement: the blank and comment lines under it

    @property
    def line(self) -> int:
        """Its first line, counted from 1 in the cell as the user sees it."""
        return _first_line(self.node)

    @property
    def comments(self) -> str:
        """The comment lines above it, and the blank lines between and under them, each ended by a newline."""
        return "".join(f"{each.strip()}\n" for each in _without_blank_start(self.above))

    @property
    def text(self) -> str:
        """The statement with the comments around it, as it stands in a module."""
        below = "".join(f"{each.strip()}\n" for each in self.below)
        return f"{self.comments}{self.source}\n{below}"

    @property
    def is_import(self) -> bool:
        """Is it an `import` or a `from ... import`?"""
        return isinstance(self.node, (ast.Import, ast.ImportFrom))

    @property
    def is_future(self) -> bool:
        """Is it a `from __future__ import`?"""
        return isinstance(self.node, ast.ImportFrom) and self.node.module == "__future__"

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
    statements: tuple[Statement, ...]  # none of a cell with `#| dagy_try`
    magic: str = ""  # the cell magic that makes something else of the text, such as "%%bash": no statements then

    @property
    def has_definitions(self) -> bool:
        """Does it define functions or methods, which other cells may call?"""
        return any(each.names.defines for each in self.statements)

    @property
    def is_ordinary(self) -> bool:
        """Does it run as it is, because it is no task or flow, nor a node that is still to be made?"""
        if isinstance(self.directive, NodeDirective) and not self.directive.help_wanted:
            return bool(self.written_nodes)
        return self.directive is None or isinstance(self.directive, ExportDirective)

    @property
    def written_nodes(self) -> tuple[str, ...]:
        """The names of the node classes that a cell with `%%dagy_node` writes itself, or makes with `@node`."""
        return tuple(each.node.name for each in self.statements if _is_written_node(each.node))  # type: ignore[attr-defined]  # a class or function


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function, its annotation and its default as written; `default` is None when there is none."""

    name: str
    annotation: str = ""
    default: str | None = None
    keyword_only: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CellBody:
    """A cell with one function, or of plain statements: what it reads, binds and changes."""

    cell: Cell
    statements: tuple[Statement, ...]  # all of the cell's
    form: Form
    parameters: tuple[Parameter, ...]  # of the function; none for statements
    needs: frozenset[str]  # read from outside before the cell can have bound them
    may_need: frozenset[str]  # read from outside on some path, or late
    bound: tuple[str, ...]  # the names that it makes, in order: the function's, or what the statements bind
    surely: frozenset[str]  # of these, the ones bound on every path
    mutates: frozenset[str]  # what it changes in place of what it is given: of the parameters, or of what it reads
    may_mutate: frozenset[str]  # what methods may change that nobody knows, and that are called for no value
    may_augment: frozenset[str]  # what `a += 1` changes in place if it is an array, and not if it is a number
    holds: Mapping[str, frozenset[str]]  # names after it, and those others whose objects, or parts of them, they hold
    reads: Mapping[str, bool]  # what the statements read, in order of appearance: `{name: only ever called}`
    is_async: bool
    returns: bool  # statements with a `return`: they make one value, and never run alone

    @property
    def rebinds(self) -> frozenset[str]:
        """The names that its statements bind or delete: locals of a function, new values in a notebook."""
        if self.form == "function":
            return frozenset()
        return frozenset(name for each in self.statements for name in _own_names(each.names))

    @property
    def function(self) -> Statement:
        """The statement that defines the function of a function cell; `LookupError` for statements."""
        return next(each for each in self.statements if isinstance(each.node, Function))


@dataclass(frozen=True, slots=True, eq=False)
class TaskCell(CellBody):
    """What a cell with `%%dagy_task` defines."""

    name: str
    directive: TaskDirective

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names that other cells may give it: its parameters, or in order of appearance what it reads."""
        if self.form == "function":
            return tuple(each.name for each in self.parameters)
        return tuple(name for name in self.reads if name in self.needs | self.may_need)


@dataclass(frozen=True, slots=True, eq=False)
class FlowCell(CellBody):
    """What a cell with `%%dagy_flow` defines; `name` is None for statements that were given none."""

    name: str | None
    directive: FlowDirective


@dataclass(frozen=True, slots=True, eq=False)
class NodeCell(CellBody):
    """What a cell with `%%dagy_node` defines, when it holds a function or statements to make a node class of."""

    name: str
    directive: NodeDirective


def read_cell(cell: Cell) -> ReadCell:
    """The cell taken apart. Raises `DefinitionError` for Python that can't be read and a directive written wrong."""
    try:
        return _read_cell(cell)
    except (RecursionError, MemoryError) as error:  # what Python raises for a text that it can't take in
        raise DefinitionError(
            f"{cell.label} can't be read: its code is nested too deeply; break it into several statements"
        ) from error


def _read_cell(cell: Cell) -> ReadCell:
    lines = cell_lines(cell.source)
    for number, line in enumerate(lines, 1):
        if "\0" in line or not _can_be_saved(line):
            raise DefinitionError(
                f"{cell.label}, line {number}: {line!a} holds a character that no Python file can hold; "
                "type the line again"
            )
    try:
        found = find_directive(cell.source)
    except DefinitionError as error:
        raise DefinitionError(f"{cell.label}: {error}") from error
    text = list(lines)
    if found is not None and isinstance(found[0], TryDirective):
        return ReadCell(cell, found[0], ())
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


def task_cell(read: ReadCell, *, former_name: str | None = None) -> TaskCell:
    """The task that a cell defines. Raises `DefinitionError` when it can't be one, with the cell and the way out.

    `former_name` is for a cell that was a task already, and has no name in it any more.
    """
    directive = read.directive
    if not isinstance(directive, TaskDirective):
        raise DefinitionError(f"{read.cell.label} is not a task cell; its first line must be %%dagy_task")
    body = _body(read, "task")
    changed = [each for each in body.reads if each in body.mutates & body.needs]
    sure = [each for each in body.bound if each in body.surely]
    name = directive.name or next(reversed([*body.bound, *changed, *sure]), former_name)
    if body.returns and not directive.name:
        line = next(_returns(read)).lineno
        raise DefinitionError(
            f"{read.cell.label}, line {line}: the task returns a value, which has no name yet; "
            "write %%dagy_task NAME, and other cells read it as NAME"
        )
    if name is None:
        raise DefinitionError(
            f"{read.cell.label}: the task has no name, because the cell binds none; write %%dagy_task NAME"
        )
    return TaskCell(**_parts(body), name=name, directive=directive)


def flow_cell(read: ReadCell) -> FlowCell:
    """The flow that a cell defines. Raises `DefinitionError` when it can't be one, with the cell and the way out."""
    directive = read.directive
    if not isinstance(directive, FlowDirective):
        raise DefinitionError(f"{read.cell.label} is not a flow cell; its first line must be %%dagy_flow")
    body = _body(read, "flow")
    if body.is_async and body.form == "statements":
        raise DefinitionError(f"{read.cell.label}: a flow only calls its tasks and awaits none; drop the `await`")
    name = directive.name or (body.bound[-1] if body.form == "function" else None)
    return FlowCell(**_parts(body), name=name, directive=directive)


def node_cell(read: ReadCell) -> NodeCell | None:
    """The node that a cell defines; None when it writes the class itself, and so runs as any other cell.

    Raises `DefinitionError` when it can't be a node, with the cell and the way out.
    """
    directive = read.directive
    if not isinstance(directive, NodeDirective):
        raise DefinitionError(f"{read.cell.label} is not a node cell; its first line must be %%dagy_node")
    if written := read.written_nodes:
        if not directive.is_bare:
            raise DefinitionError(
                f"{read.cell.label}: {written[0]!r} says itself what it is called, takes and gives; "
                "leave all else than %%dagy_node out of the first line"
            )
        return None
    body = _body(read, "node")
    if body.form == "statements" and not directive.name:
        raise DefinitionError(f"{read.cell.label}: the node has no name; write %%dagy_node NAME")
    return NodeCell(**_parts(body), name=directive.name or body.bound[0], directive=directive)


# -- from text to statements ------------------------------------------------------------------------------------------


def _statements(cell: Cell, text: str, as_typed: Sequence[str]) -> tuple[Statement, ...]:
    """The statements of `text`, which has the cell's own line numbers. IPython's own syntax is turned into calls."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        if not any(sign in text for sign in "%!?") and not re.match(r"\s*(>>>|In \[)|\n*[ \t]", text):
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
        misplaced = re.search(r"magic\('%?%?(dagy_(?:task|flow|node))'", source)
        if statement.needs_ipython and misplaced:
            raise DefinitionError(
                f"{cell.label}, line {first}: %%{misplaced[1]} must be the first line of its cell; "
                "move what stands above into a cell of its own"
            )
        found.append(statement)
        end = node.end_lineno or first
    below = tuple(lines[end:])
    if found and any(each.strip() for each in below):
        found[-1] = replace(found[-1], below=below)
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
    except RuntimeError as error:  # more magics than IPython takes in one cell
        raise DefinitionError(f"{cell.label} can't be read: {error}; break it into several cells") from error
    return "\n" * blank + transformed.lstrip("\n")


def _can_be_saved(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def _parts(body: CellBody) -> dict[str, Any]:
    return {each.name: getattr(body, each.name) for each in fields(body)}


def _body(read: ReadCell, kind: DirectiveKind) -> CellBody:
    functions = [each for each in read.statements if isinstance(each.node, Function)]
    rest = [each for each in read.statements if each not in functions]
    for each in read.statements:
        _refuse(read.cell, each, kind)
    if len(functions) == 1 and all(each.is_import or each.is_docstring for each in rest):
        return _function_body(read, functions[0], kind)
    return _statements_body(read, kind)


def _function_body(read: ReadCell, function: Statement, kind: str) -> CellBody:
    node = function.node
    assert isinstance(node, Function)
    for decorator in node.decorator_list:
        name = _last_name(decorator)
        if name in ("task", "flow"):
            raise DefinitionError(
                f"{read.cell.label}, line {decorator.lineno}: the function {node.name!r} has @{name} in a "
                f"%%dagy_{kind} cell, which makes it a {kind} already; drop one of the two"
            )
    names = function.names
    return CellBody(
        cell=read.cell,
        statements=read.statements,
        form="function",
        parameters=_parameters(node),
        needs=names.reads,
        may_need=names.perhaps,
        bound=(node.name,),
        surely=frozenset({node.name}),
        mutates=names.spoils[node.name],
        may_mutate=frozenset(),
        may_augment=names.may_spoil[node.name] - names.spoils[node.name],
        holds={},
        reads={},
        is_async=isinstance(node, ast.AsyncFunctionDef),
        returns=False,
    )


def _is_written_node(node: ast.stmt) -> bool:
    """Is it a class with an `execute`, or derived from a `FlowNode`, or a function under `@node`?"""
    if isinstance(node, ast.ClassDef):
        bases = {_last_name(each) for each in node.bases}
        return "FlowNode" in bases or any(isinstance(each, Function) and each.name == "execute" for each in node.body)
    return isinstance(node, Function) and any(_last_name(each) == "node" for each in node.decorator_list)


def _last_name(node: ast.expr) -> str:
    """`node` of `@dagy.nodes.node(...)`."""
    called = node.func if isinstance(node, ast.Call) else node
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _statements_body(read: ReadCell, kind: str) -> CellBody:
    if not any(not each.is_import and not each.is_docstring for each in read.statements):
        raise DefinitionError(
            f"{read.cell.label} has %%dagy_{kind} but no code; write a function or statements below the first line"
        )
    for node in (node for each in read.statements if "global" in each.source for node in ast.walk(each.node)):
        if isinstance(node, ast.Global):
            raise DefinitionError(
                f"{read.cell.label}, line {node.lineno}: `global {', '.join(node.names)}` does not reach other tasks; "
                f"drop it and bind the name in the cell, or write the {kind} as one function"
            )
    _refuse_what_no_function_holds(read)
    sure: set[str] = set()
    maybe: set[str] = set()
    needs: set[str] = set()
    may_need: set[str] = set()
    mutates: set[str] = set()
    may_mutate: set[str] = set()
    may_augment: set[str] = set()
    aliases: dict[str, frozenset[str]] = {}  # for a name of the cell, the names from outside whose objects it may hold
    holds: dict[str, frozenset[str]] = {}
    bound: dict[str, None] = {}
    imported: set[str] = set()
    for each in read.statements:
        names = each.names
        needs |= names.eager - sure - maybe
        may_need |= ((names.eager & maybe) | names.late | names.perhaps) - sure
        for name in names.mutates:
            mutates |= aliases.get(name, frozenset()) | ({name} - sure)
        is_shown = each is read.statements[-1] and isinstance(each.node, ast.Expr)  # its value is, so it is used
        for name in names.may_mutate if not is_shown else ():
            may_mutate |= aliases.get(name, frozenset()) | ({name} - sure)
        for name in names.may_augment:
            may_augment |= aliases.get(name, frozenset()) | ({name} - sure)
        given = {
            name: frozenset().union(*(aliases.get(root, {root} - sure) for root in roots))
            for name, roots in names.aliases.items()
        }
        for name in names.surely:
            aliases.pop(name, None)
        aliases |= given
        holds = holding(holds, names.surely, names.aliases)
        gone = names.deletes | names.drops
        sure |= names.surely
        sure -= gone
        maybe -= names.surely | names.deletes
        maybe |= {name for name in names.binds | names.drops if name not in sure} - names.deletes
        for name in each.names.order:
            bound.pop(name, None)
            bound[name] = None
        for name in names.deletes:
            bound.pop(name, None)
        if each.is_import:
            imported |= names.binds
        else:
            imported -= names.binds
    return CellBody(
        cell=read.cell,
        statements=read.statements,
        form="statements",
        parameters=(),
        needs=frozenset(needs),
        may_need=frozenset(may_need - needs),
        bound=tuple(name for name in bound if name not in imported),
        surely=frozenset(sure),
        mutates=frozenset(mutates),
        may_mutate=frozenset(may_mutate - mutates),
        may_augment=frozenset(may_augment - mutates),
        holds=holds,
        reads=first_reads(each.node for each in read.statements),
        is_async=any(each.names.awaits for each in read.statements),
        returns=any(True for _ in _returns(read)),
    )


def holding(
    before: Mapping[str, frozenset[str]], bound: Collection[str], given: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """What names hold of what others hold, after the names `bound` have got new values and `given` hold again."""
    if not before and not given:
        return {}
    roots = {name: each.union(*(before.get(root, ()) for root in each)) for name, each in given.items()}
    kept = {name: each.difference(bound) for name, each in before.items() if name not in bound}
    return {name: each for name, each in {**kept, **roots}.items() if each}


def _refuse_what_no_function_holds(read: ReadCell) -> None:
    """Raise for what only Python's compiler finds, such as `break` outside a loop. Nothing is executed."""
    function = ast.parse("async def cell(): pass").body[0]
    assert isinstance(function, ast.AsyncFunctionDef)
    function.body = [each.node for each in read.statements if not each.is_future] or function.body
    try:
        compile(ast.Module([function], type_ignores=[]), "<cell>", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise DefinitionError(f"{read.cell.label}, line {error.lineno}: {error.msg}") from error


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
        line = next(
            (
                each.lineno
                for each in ast.walk(statement.node)
                if isinstance(each, ast.Name) and each.id == "get_ipython"
            ),
            statement.line,
        )
        raise DefinitionError(
            f"{cell.label}, line {line}: `{cell_lines(cell.source)[line - 1].strip()}` needs IPython and can't be part "
            f"of a {kind}; move it to a cell of its own, or write it in Python"
        )
    if isinstance(statement.node, ast.ImportFrom) and any(each.name == "*" for each in statement.node.names):
        module = statement.node.module or "."
        raise DefinitionError(
            f"{where}: `from {module} import *` hides which names the {kind} uses; "
            f"name them, or import them in an ordinary cell"
        )
    for each in _own_nodes(statement.node) if "yield" in statement.source else ():
        if isinstance(each, (ast.Yield, ast.YieldFrom)):
            raise DefinitionError(
                f"{cell.label}, line {each.lineno}: `yield` outside a function; "
                f"collect the values in a list, or write the {kind} as one function"
            )


def _returns(read: ReadCell) -> Iterator[ast.Return]:
    """The `return` statements of a cell that are in no function."""
    for each in read.statements:
        for node in _own_nodes(each.node) if "return" in each.source else ():
            if isinstance(node, ast.Return):
                yield node


def _own_names(names: Names) -> frozenset[str]:
    """The names that a statement would make a function's own."""
    return names.binds | names.deletes | names.drops | names.declares


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
