"""What a top-level statement does with names: which it binds, reads, and changes in place.

Two moments of reading matter. A name is read *eagerly* when the statement itself runs, and *late* when a function that
the statement defines is called. Statements are walked in the order in which Python evaluates them, so that a name which
is bound before it is read counts as the statement's own; what happens inside functions, lambdas, comprehensions and
classes is asked of `symtable`, Python's own scoping. Nothing is executed.
"""

from __future__ import annotations

import ast
import keyword
import re
import symtable
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

# Methods that change the object they are called on; a best effort, since Python can't tell without running.
_CHANGING = """
    add append appendleft clear discard extend extendleft insert pop popitem popleft remove reverse setdefault sort
    update addHandler basicConfig filterwarnings register seed setLevel set_option set_style set_theme simplefilter use
"""
CHANGING_METHODS = frozenset(_CHANGING.split())
COMPREHENSIONS = frozenset({"listcomp", "setcomp", "dictcomp", "genexpr"})

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Scope: TypeAlias = (
    ast.FunctionDef
    | ast.AsyncFunctionDef
    | ast.Lambda
    | ast.ClassDef
    | ast.ListComp
    | ast.SetComp
    | ast.DictComp
    | ast.GeneratorExp
)


@dataclass(frozen=True, slots=True)
class Names:
    """What one top-level statement does with the names of its module."""

    order: tuple[str, ...] = ()  # the names it binds, in the order of binding
    binds: frozenset[str] = frozenset()  # the same: bound once it ran, on some path at least
    surely: frozenset[str] = frozenset()  # of these, the ones bound on every path
    eager: frozenset[str] = frozenset()  # read from outside when it runs
    late: frozenset[str] = frozenset()  # read when a function that it defines is called
    perhaps: frozenset[str] = frozenset()  # may be read: useful when defined somewhere, no fault when not
    mutates: frozenset[str] = frozenset()  # changed in place: `df["a"] = 1`, `rows.append(1)`
    deletes: frozenset[str] = frozenset()  # gone once it ran
    awaits: bool = False  # needs an event loop: `await`, `async for`, `async with`

    @property
    def reads(self) -> frozenset[str]:
        """Every name that is surely read, eagerly or late."""
        return self.eager | self.late


def names_of(node: ast.stmt, source: str) -> Names:
    """What the top-level statement `node`, whose text is `source`, does with names."""
    walker = _Walker(node, source)
    walker.statement(node)
    binds = frozenset(walker.sure | walker.maybe)
    return Names(
        order=tuple(name for name in walker.order if name in binds),
        binds=binds,
        surely=frozenset(walker.sure),
        eager=frozenset(walker.eager),
        late=frozenset(walker.late),
        perhaps=frozenset(walker.perhaps - walker.eager - walker.late),
        mutates=frozenset(walker.mutates),
        deletes=frozenset(walker.deletes),
        awaits=walker.awaits,
    )


def identifier(text: str, *, default: str) -> str:
    """`text` as a Python name: `01_quick-start` becomes `quick_start`; `default` when nothing of it is left."""
    name = re.sub(r"\W+", "_", text).strip("_").lstrip("0123456789_")
    if not name.isidentifier():
        return default
    return f"{name}_" if keyword.iskeyword(name) else name


def unused(name: str, taken: Iterable[str], *, suffix: str = "") -> str:
    """`name`, or when it is taken `name` + `suffix`, or that with the first free number: `df`, `df_2`, `df_3`."""
    busy = set(taken)
    if name not in busy:
        return name
    stem = name + suffix
    if suffix and stem not in busy:
        return stem
    number = 2
    while f"{stem}_{number}" in busy:
        number += 1
    return f"{stem}_{number}"


def first_reads(nodes: Iterable[ast.AST]) -> dict[str, bool]:
    """The names read anywhere in `nodes`, in order of first appearance: `{name: only ever called}`."""
    found: dict[str, bool] = {}
    for node in nodes:
        inside = list(ast.walk(node))
        callees = {id(each.func) for each in inside if isinstance(each, ast.Call)}
        added_to = {id(each.target) for each in inside if isinstance(each, ast.AugAssign)}
        places = [
            each
            for each in inside
            if isinstance(each, ast.Name) and (not isinstance(each.ctx, ast.Store) or id(each) in added_to)
        ]
        for each in sorted(places, key=lambda name: (name.lineno, name.col_offset)):
            found[each.id] = found.get(each.id, True) and id(each) in callees
    return found


class _Walker:
    """Walks one statement in the order of evaluation; scopes inside it are looked up in its symbol tables."""

    def __init__(self, node: ast.stmt, source: str) -> None:
        self.node = node
        self.source = source
        self.scopes: dict[tuple[str, int], _Reads] | None = None
        self.order: dict[str, None] = {}
        self.sure: set[str] = set()
        self.maybe: set[str] = set()
        self.eager: set[str] = set()
        self.late: set[str] = set()
        self.perhaps: set[str] = set()
        self.mutates: set[str] = set()
        self.deletes: set[str] = set()
        self.awaits = False

    # -- statements ---------------------------------------------------------------------------------------------

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                self.bind(bound_by_alias(each) for each in names if each.name != "*")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.definition(node)
            case ast.Assign(targets=targets, value=value):
                self.expression(value)
                for each in targets:
                    self.target(each)
            case ast.AugAssign(target=target, value=value):
                if isinstance(target, ast.Name):
                    self.read(target.id)
                self.expression(value)
                self.target(target)
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                self.annotation(annotation)
                if value is not None:
                    self.expression(value)
                    self.target(target)
            case ast.Delete(targets=targets):
                for each in targets:
                    self.delete(each)
            case ast.If(test=test, body=body, orelse=orelse):
                self.expression(test)
                self.branches([body, orelse])
            case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
                self.loop([iterable], target, body, orelse)
            case ast.AsyncFor(target=target, iter=iterable, body=body, orelse=orelse):
                self.awaits = True
                self.loop([iterable], target, body, orelse)
            case ast.While(test=test, body=body, orelse=orelse):
                self.loop([test], None, body, orelse)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                self.awaits |= isinstance(node, ast.AsyncWith)
                for item in items:
                    self.expression(item.context_expr)
                    if item.optional_vars is not None:
                        self.target(item.optional_vars)
                self.block(body)
            case ast.Match(subject=subject, cases=cases):
                self.expression(subject)
                self.branches([[each] for each in cases] + [[]])
            case ast.Global(names=names):
                self.perhaps.update(names)
            case _ if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
                self.attempt(node)  # type: ignore[arg-type]  # TryStar has Try's fields
            case _:
                for child in ast.iter_child_nodes(node):
                    self.expression(child)

    def block(self, body: Sequence[ast.stmt | ast.match_case]) -> None:
        for each in body:
            if isinstance(each, ast.match_case):
                self.pattern(each.pattern)
                if each.guard is not None:
                    self.expression(each.guard)
                self.block(each.body)
            else:
                self.statement(each)

    def branches(self, bodies: Sequence[Sequence[ast.stmt | ast.match_case]]) -> None:
        """One of `bodies` runs: what all bind is sure, the rest is not."""
        before = set(self.sure)
        ends: list[set[str]] = []
        for body in bodies:
            self.sure = set(before)
            self.block(body)
            ends.append(self.sure)
        self.sure = set.intersection(*ends)
        self.maybe |= set.union(*ends) - self.sure

    def loop(
        self, head: Sequence[ast.expr], target: ast.expr | None, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt]
    ) -> None:
        for each in head:
            self.expression(each)
        before = set(self.sure)
        if target is not None:
            self.target(target)
        self.block(body)
        self.maybe |= self.sure - before
        self.sure = before
        self.branches([orelse, []])

    def attempt(self, node: ast.Try) -> None:
        before = set(self.sure)
        self.block(node.body)
        self.maybe |= self.sure - before
        self.block(node.orelse)
        ends = [self.sure]
        for handler in node.handlers:
            self.sure = set(before)
            if handler.type is not None:
                self.expression(handler.type)
            if handler.name:
                self.sure.add(handler.name)
            self.block(handler.body)
            self.sure.discard(handler.name or "")  # Python deletes it at the handler's end
            ends.append(self.sure)
        self.maybe |= set.union(*ends)
        self.sure = set.intersection(*ends)
        self.maybe -= self.sure
        self.block(node.finalbody)

    def definition(self, node: Function | ast.ClassDef) -> None:
        for each in node.decorator_list:
            self.expression(each)
        if isinstance(node, ast.ClassDef):
            for base in [*node.bases, *(each.value for each in node.keywords)]:
                self.expression(base)
        else:
            self.signature(node.args)
            if node.returns is not None:
                self.annotation(node.returns)
        found = self.scope(node.name, node.lineno)
        self.eager |= found.eager - self.sure - {node.name}
        self.perhaps |= found.perhaps - self.sure
        self.bind([node.name])
        self.late |= found.late - self.sure

    def signature(self, arguments: ast.arguments) -> None:
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default is not None:
                self.expression(default)
        for each in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
            if each is not None and each.annotation is not None:
                self.annotation(each.annotation)

    # -- expressions --------------------------------------------------------------------------------------------

    def expression(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name):
                self.read(name)
            case ast.NamedExpr(target=target, value=value):
                self.expression(value)
                self.bind([target.id])
            case ast.BoolOp(values=[first, *others]):
                self.expression(first)
                self.optional(others)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.expression(test)
                self.optional([body])
                self.optional([orelse])
            case ast.Lambda():
                self.signature(node.args)
                self.late |= self.scope("lambda", node.lineno).late - self.sure
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self.comprehension(node)
            case ast.Await(value=value):
                self.awaits = True
                self.expression(value)
            case ast.Call(func=called):
                for child in ast.iter_child_nodes(node):
                    self.expression(child)
                in_place = any(
                    each.arg == "inplace" and isinstance(each.value, ast.Constant) and each.value.value is True
                    for each in node.keywords
                )
                if isinstance(called, ast.Attribute) and (in_place or called.attr in CHANGING_METHODS):
                    self.changed(called.value)
            case _:
                for child in ast.iter_child_nodes(node):
                    self.expression(child)

    def optional(self, nodes: Iterable[ast.expr]) -> None:
        """Expressions that may not be evaluated: what they bind is not sure afterwards."""
        before = set(self.sure)
        for each in nodes:
            self.expression(each)
        self.maybe |= self.sure - before
        self.sure = before

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        kind = {ast.ListComp: "listcomp", ast.SetComp: "setcomp", ast.DictComp: "dictcomp"}.get(type(node), "genexpr")
        self.expression(node.generators[0].iter)  # the only part that is evaluated outside
        found = self.scope(kind, node.lineno)
        self.eager |= found.eager - self.sure
        self.late |= found.late - self.sure
        self.perhaps |= found.perhaps - self.sure
        for each in _inside(node):
            if isinstance(each, ast.NamedExpr):
                self.order[each.target.id] = None
                self.maybe.update({each.target.id} - self.sure)
            elif (
                isinstance(each, ast.Call)
                and isinstance(each.func, ast.Attribute)
                and each.func.attr in CHANGING_METHODS
            ):
                self.changed(each.func.value)
            elif isinstance(each, ast.Await) or (isinstance(each, ast.comprehension) and each.is_async):
                self.awaits = True

    def annotation(self, node: ast.expr) -> None:
        """An annotation, and what one in quotes would read when somebody resolves it."""
        self.expression(node)
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                try:
                    quoted = ast.parse(each.value, mode="eval")
                except SyntaxError:
                    continue
                self.perhaps.update(name.id for name in ast.walk(quoted) if isinstance(name, ast.Name))

    def target(self, node: ast.expr) -> None:
        match node:
            case ast.Name(id=name):
                self.bind([name])
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for each in parts:
                    self.target(each)
            case ast.Starred(value=value):
                self.target(value)
            case _:
                self.expression(node)
                self.changed(node)

    def pattern(self, node: ast.pattern) -> None:
        for each in ast.walk(node):
            match each:
                case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                    self.bind([name])
                case ast.Name(id=name):
                    self.read(name)
                case _:
                    pass

    def delete(self, node: ast.expr) -> None:
        match node:
            case ast.Name(id=name):
                self.read(name)
                self.deletes.add(name)
                self.sure.discard(name)
                self.maybe.discard(name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for each in parts:
                    self.delete(each)
            case _:
                self.expression(node)
                self.changed(node)

    # -- the ledger ---------------------------------------------------------------------------------------------

    def read(self, name: str) -> None:
        if name in self.maybe:
            self.perhaps.add(name)  # some path through the statement has bound it
        elif name not in self.sure:
            self.eager.add(name)

    def bind(self, names: Iterable[str]) -> None:
        for name in names:
            self.order[name] = None
            self.sure.add(name)
            self.maybe.discard(name)
            self.deletes.discard(name)

    def changed(self, node: ast.expr) -> None:
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        if isinstance(node, ast.Name):
            self.mutates.add(node.id)

    def scope(self, name: str, line: int) -> _Reads:
        if self.scopes is None:
            self.scopes = _scopes(self.node, self.source)
        return self.scopes.get((name, line), _NO_READS)


def bound_by_alias(alias: ast.alias) -> str:
    """The name that one part of an import binds: `a` for `import a.b`, `c` for `import a.b as c`."""
    return alias.asname or alias.name.partition(".")[0]


def _inside(comprehension: ast.AST) -> Iterator[ast.AST]:
    """Everything in a comprehension that runs when it does: not what is inside a lambda."""
    todo = [comprehension]
    while todo:
        for each in ast.iter_child_nodes(todo.pop()):
            yield each
            if not isinstance(each, ast.Lambda):
                todo.append(each)


@dataclass(frozen=True, slots=True)
class _Reads:
    """What a scope inside a statement reads of its module's names."""

    eager: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()

    def __or__(self, other: _Reads) -> _Reads:
        return _Reads(self.eager | other.eager, self.late | other.late, self.perhaps | other.perhaps)


_NO_READS = _Reads()


def _scopes(node: ast.stmt, source: str) -> dict[tuple[str, int], _Reads]:
    """For each scope directly below the module, by its name and its line in the cell, what it reads."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    try:
        top, shift, outer = symtable.symtable(source, "<cell>", "exec"), first - 1, frozenset[str]()
    except SyntaxError:  # `await` outside a function, which later Pythons refuse here
        wrapped = "async def cell():\n" + "".join(f" {line}" for line in source.splitlines(keepends=True))
        top, shift = symtable.symtable(wrapped, "<cell>", "exec").get_children()[0], first - 2
        outer = frozenset(top.get_identifiers())
    found: dict[tuple[str, int], _Reads] = {}
    for table in top.get_children():
        key = (table.get_name(), table.get_lineno() + shift)
        found[key] = found.get(key, _NO_READS) | _table_reads(table, outer)
    return found


def _table_reads(table: symtable.SymbolTable, outer: frozenset[str]) -> _Reads:
    """What a scope and those inside it read of the module; names of `outer` count as the module's."""
    own: set[str] = set()
    perhaps: set[str] = set()
    kind = str(table.get_type())
    for symbol in table.get_symbols():
        name = symbol.get_name()
        if name.startswith("."):
            continue
        if symbol.is_global() or (symbol.is_free() and name in outer):
            (own if symbol.is_referenced() else perhaps).add(name)
        elif kind == "class" and symbol.is_referenced() and symbol.is_assigned():
            perhaps.add(name)  # `limit = limit` in a class reads the module's
    inner = _NO_READS
    for child in table.get_children():
        inner |= _table_reads(child, outer)
    now = kind in ("class", "type parameters") or table.get_name() in COMPREHENSIONS
    reads = _Reads(frozenset(own), frozenset(), frozenset(perhaps)) | inner
    return reads if now else _Reads(frozenset(), reads.eager | reads.late, reads.perhaps)
