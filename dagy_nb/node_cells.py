"""A node cell -> the function that its class is made of: what comes in, what is configured, what goes out.

A node is used again and again, so its connectors are those that its own text has, whoever uses it:

- What statements read comes in; not so what other cells offer as tools (imports, functions, classes, CAPITALS), what is
  only ever called, and what `--config` names, which is set where the node is used.
- What they bind last and don't read any more goes out, or the value that they end with, as "result"; where there is
  neither, what they change in place. `--gives` says it otherwise. Of several names one that is bound on some path only
  may be left out: so a cell with an `if` is a branch.
- A function is taken as `@node` takes it.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from dagy.errors import DefinitionError, did_you_mean
from dagy.nodes import (
    ConfigFieldType,
    ConnectionCardinality,
    ConnectorDef,
    ConnectorDirection,
    FlowNode,
    NodeConfigField,
    SelectOption,
    node,
)
from dagy_nb.cells import NodeCell, ReadCell, Statement
from dagy_nb.directives import FlowDirective, TaskDirective
from dagy_nb.names import Function, identifier

Types: TypeAlias = tuple[str, ...]  # the texts of data types; none: any

# The annotation of a parameter that tells all of a field's type.
_PLAIN = {
    ConfigFieldType.STRING: "str",
    ConfigFieldType.NUMBER: "float",
    ConfigFieldType.INTEGER: "int",
    ConfigFieldType.BOOLEAN: "bool",
}


@dataclass(frozen=True, slots=True, eq=False)
class NodePlan:
    """How a node cell becomes a node."""

    cell: NodeCell
    function: str  # the Python name of its function, and of its class
    takes: Mapping[str, Types]  # {inbound connector: its types}; of a function only what `--takes` says
    gives: Mapping[str, Types] | None  # {outbound connector: its types}; None: one value, or a function that says it
    optional: frozenset[str] = frozenset()  # of `gives`, those that may be left out
    captured: tuple[str, ...] = ()  # names of the module that the statements read and then bind anew

    @property
    def fields(self) -> tuple[NodeConfigField, ...]:
        """The config fields that the first line names and that no plain parameter can stand for."""
        plain = self.plain_fields
        return tuple(each for each in self.cell.directive.fields if each not in plain)

    @property
    def plain_fields(self) -> tuple[NodeConfigField, ...]:
        """Those that are parameters with an annotation and a default, as `@node` reads them."""
        if self.cell.form == "function":
            return ()
        return tuple(
            each
            for each in self.cell.directive.fields
            if each.default is not None and each.type in _PLAIN and each.minimum is None and each.maximum is None
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters of a function made of statements, as they are written."""
        plain = [f"{each.id}: {_PLAIN[each.type]} = {each.default!r}" for each in self.plain_fields]
        return (*self.takes, *(each.id for each in self.fields), *plain)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `@node`."""
        told = dict(self.cell.directive.options)
        if "node_type" not in told and self.cell.name != self.function:
            told["node_type"] = self.cell.name
        inputs = {name: _port(types) for name, types in self.takes.items() if types}
        outputs = {name: self._output(name, types) for name, types in (self.gives or {}).items()}
        return {
            **told,
            **({"config": list(self.fields)} if self.fields else {}),
            **({"inputs": inputs} if inputs else {}),
            **({"outputs": outputs} if self.gives is not None else {}),
        }

    def _output(self, name: str, types: Types) -> object:
        if name not in self.optional:
            return _port(types)
        data_types = {"data_types": types} if types else {}
        return _outbound(name, cardinality=ConnectionCardinality.ZERO_OR_ONE, **data_types)

    @property
    def own_names(self) -> frozenset[str]:
        """The names that the body has from its parameters."""
        return frozenset([*self.takes, *(each.id for each in self.cell.directive.fields)])


def plan_node(cell: NodeCell, tools: Collection[str]) -> NodePlan:
    """The node that the cell defines, in a notebook whose other cells offer `tools`.

    Raises `DefinitionError` for a `--config`, `--takes` or `--gives` that the cell knows nothing of.
    """
    if cell.form == "function":
        known = [each.name for each in cell.parameters]
        named = {"--config": [each.id for each in cell.directive.fields], "--takes": cell.directive.takes}
        for option, names in named.items():
            for name in names:
                _refuse_unknown(cell, option, name, known, f"the function {cell.bound[0]!r} has no parameter {name!r}")
        return NodePlan(cell, cell.bound[0], cell.directive.takes, cell.directive.gives)
    fields = [each.id for each in cell.directive.fields]
    for option, names in {"--config": fields, "--takes": cell.directive.takes}.items():
        for name in names:
            _refuse_unknown(cell, option, name, cell.reads, f"the cell reads no {name!r}")
    late = {name for each in cell.statements for name in each.names.late}
    read = [
        name
        for name, is_only_called in cell.reads.items()
        if name in cell.needs | (late & cell.may_need)
        and not is_only_called
        and name not in tools
        and name not in fields
        and not hasattr(builtins, name)
    ]
    takes = {**dict.fromkeys(read, ()), **cell.directive.takes}
    gives, optional = _gives(cell, takes)
    captured = sorted((cell.rebinds & cell.needs) - set(takes) - set(fields))
    return NodePlan(cell, identifier(cell.name, default="unnamed"), takes, gives, optional, tuple(captured))


def made_node(plan: NodePlan, function: Callable[..., Any]) -> type[FlowNode]:
    """The node's class, registered. Raises `DefinitionError` for what can't be one, with the cell."""
    try:
        return node(**plan.options)(function)
    except DefinitionError as error:
        raise DefinitionError(f"{plan.cell.cell.label}: {error}") from error


def decorator_of(plan: NodePlan) -> str:
    """`@node(...)` as text, without the line's end."""
    arguments = ", ".join(f"{name}={_text(value)}" for name, value in plan.options.items())
    return f"@node({arguments})" if arguments else "@node"


def tools_of(reads: Iterable[ReadCell]) -> frozenset[str]:
    """What cells offer to node cells without being data: imports, functions, classes, tasks, nodes, constants."""
    return frozenset(name for read in reads for name in _tools(read))


def _tools(read: ReadCell) -> Iterator[str]:
    is_made = not read.is_ordinary
    for each in read.statements:
        if isinstance(each.node, Function | ast.ClassDef) or (each.is_import and not is_made):
            yield from each.names.binds
        elif not is_made:
            yield from (name for name in each.names.binds if name.isupper())
    if isinstance(read.directive, TaskDirective | FlowDirective):
        return
    name = getattr(read.directive, "name", None)
    if name:
        yield identifier(name, default="unnamed")


def _gives(cell: NodeCell, takes: Collection[str]) -> tuple[Mapping[str, Types] | None, frozenset[str]]:
    """What the statements give, and which of it may be left out."""
    certain = _types_of_texts(cell)
    if cell.directive.gives is not None:
        for name in cell.directive.gives:
            known = [*cell.bound, *takes]
            _refuse_unknown(cell, "--gives", name, known, f"the cell binds no {name!r}")
        gives = {name: types or certain.get(name, ()) for name, types in cell.directive.gives.items()}
        return gives, _optional(cell, gives, takes)
    last = cell.statements[-1]
    if cell.returns or _has_value(last):
        return None, frozenset()
    made = _assigned(cell.statements) - _read_after_binding(cell.statements)
    sure = [name for name in cell.bound if name in made & cell.surely and name[0] != "_"]
    chosen = [name for name in cell.bound if name in made & _chosen(cell.statements) and name[0] != "_"]
    found = sure or chosen or [name for name in takes if name in cell.mutates]
    if not found and isinstance(last.node, ast.Expr) and isinstance(last.node.value, ast.Name):
        return None, frozenset()  # what came in goes on
    return {name: certain.get(name, ()) for name in found}, _optional(cell, found, takes)


def _optional(cell: NodeCell, gives: Collection[str], takes: Collection[str]) -> frozenset[str]:
    """Of several names those that the cell binds on some path only."""
    return frozenset(gives) - cell.surely - set(takes) if len(gives) > 1 else frozenset()


def _refuse_unknown(cell: NodeCell, option: str, name: str, known: Collection[str], fact: str) -> None:
    if name not in known:
        raise DefinitionError(f"{cell.cell.label}: {option} {name!r}: {fact}{did_you_mean(name, known)}")


def _assigned(statements: Sequence[Statement]) -> frozenset[str]:
    """The names that assignments bind: not loops, imports or definitions."""
    return frozenset(name for each in statements for name in _targets(each.node))


def _chosen(statements: Sequence[Statement]) -> frozenset[str]:
    """The same for what statements bind on one of their paths."""
    kinds = (ast.If, ast.Match, ast.Try, ast.With)
    return frozenset(name for each in statements if isinstance(each.node, kinds) for name in _targets(each.node))


def _targets(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
            return
        case ast.Assign(targets=targets):
            yield from (each.id for target in targets for each in ast.walk(target) if _is_stored(each))  # type: ignore[attr-defined]  # a name
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target) if _is_stored(target):
            yield target.id  # type: ignore[union-attr]  # a name
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _targets(child)


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _read_after_binding(statements: Sequence[Statement]) -> frozenset[str]:
    """The names that a later statement reads than the last one that binds them."""
    found: set[str] = set()
    for each in statements:
        if not _only_shows(each):
            made = each.names.binds | each.names.mutates
            found = (found | each.names.reads) - made
    return frozenset(found)


def _only_shows(statement: Statement) -> bool:
    """Does it nothing but show values to the notebook's reader?"""
    match statement.node:
        case ast.Expr(value=ast.Name() | ast.Call(func=ast.Name(id="print" | "display"))):
            return True
        case ast.Expr(value=ast.Tuple(elts=parts)):
            return all(isinstance(each, ast.Name) for each in parts)
        case _:
            return False


def _has_value(statement: Statement) -> bool:
    """Is it an expression worth returning: none that only shows values, or changes what it is called on?"""
    is_value = isinstance(statement.node, ast.Expr) and not statement.is_docstring
    return is_value and not _only_shows(statement) and not statement.names.mutates


def _types_of_texts(cell: NodeCell) -> dict[str, Types]:
    """The types that the text itself is certain of: `n = len(rows)` is none, `told = f"{n} rows"` is a string."""
    found: dict[str, Types] = {}
    for each in cell.statements:
        for name in each.names.binds:
            found.pop(name, None)
        match each.node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                types = _type_of_text(value)
                if types:
                    found[name] = types
            case _:
                pass
    return found


def _type_of_text(value: ast.expr) -> Types:
    match value:
        case ast.JoinedStr() | ast.Constant(value=str()):
            return ("string",)
        case ast.Dict() | ast.DictComp():
            return ("object",)
        case ast.List() | ast.ListComp():
            return ("list",)
        case ast.Constant(value=bool()):
            return ("boolean",)
        case ast.Constant(value=int() | float()):
            return ("number",)
        case _:
            return ()


# -- as text ----------------------------------------------------------------------------------------------------------


def _port(types: Types) -> object:
    """What `@node` takes for a connector of these types."""
    return "any" if not types else types[0] if len(types) == 1 else list(types)


def _text(value: object) -> str:
    """A value of `NodePlan.options` as the module has it."""
    match value:
        case str():
            plain = repr(str(value))  # an enum's member is its text
            return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in plain else plain
        case list() | tuple():
            return f"[{', '.join(map(_text, value))}]"
        case dict():
            return f"{{{', '.join(f'{_text(key)}: {_text(each)}' for key, each in value.items())}}}"
        case SelectOption():
            return _text(value.value)
        case NodeConfigField() | ConnectorDef():
            return _call_text(value)
        case _:
            return repr(value)


def _call_text(value: NodeConfigField | ConnectorDef) -> str:
    """The call that makes the value, with those arguments that are not the defaults."""
    arguments = [_text(value.id)]
    plain: NodeConfigField | ConnectorDef = NodeConfigField(value.id)
    skipped = set()
    if isinstance(value, ConnectorDef):
        arguments += ['""', '"outbound"']
        plain, skipped = _outbound(value.id), {"required"}  # which the cardinality says
    for each in fields(value):
        own = getattr(value, each.name)
        if own != getattr(plain, each.name) and each.name not in skipped:
            arguments.append(f"{each.name}={_text(sorted(own) if isinstance(own, frozenset) else own)}")
    return f"{type(value).__name__}({', '.join(arguments)})"


def _outbound(name: str, **more: Any) -> ConnectorDef:
    return ConnectorDef(name, "", ConnectorDirection.OUTBOUND, **more)
