"""What a top-level statement does with names: which it binds, reads, and changes in place.

Two moments of reading matter. A name is read *eagerly* when the statement itself runs, and *late* when a function that
the statement defines is called. Statements are walked in the order in which Python evaluates them, so that a name which
is bound before it is read counts as the statement's own; what happens inside functions, lambdas and classes is asked of
`symtable`, Python's own scoping. Nothing is executed.
"""

from __future__ import annotations

import ast
import keyword
import re
import symtable
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

# Methods that change the object they are called on; a best effort, since Python can't tell without running.
_CHANGING = """
    add append appendleft clear difference_update discard extend extendleft fill insert intersection_update pop popitem
    popleft remove reverse rotate setdefault sort symmetric_difference_update update
    backward fit fit_predict fit_transform load_state_dict partial_fit step train zero_grad
    add_argument add_edge add_node add_subplot commit execute executemany executescript set_title set_xlabel set_ylabel
    addHandler basicConfig filterwarnings register seed setLevel set_option set_style set_theme simplefilter use
"""
CHANGING_METHODS = frozenset(_CHANGING.split())
# Functions that change their first argument: `random.shuffle(rows)`, `setattr(model, "a", 1)`.
_CHANGING_ARGUMENT = """
    copyto fill_diagonal heapify heappop heappush heapreplace insort insort_left insort_right shuffle
"""
CHANGING_FUNCTIONS = frozenset(_CHANGING_ARGUMENT.split())
CHANGING_BUILTINS = frozenset({"delattr", "next", "setattr"})
# Methods that are called for what they show, tell or write elsewhere, and not to change their object.
_LOOKING = """
    boxplot close count critical debug describe display error exception exists flush head hist info items join keys
    mkdir sample savefig shutdown summary tail touch unlink values warning
"""
LOOKING_METHODS = frozenset(_LOOKING.split())
LOOKING_STARTS = ("dump", "export", "get", "has", "is", "log", "plot", "print", "save", "show", "to_", "write")
# What gives the parts of a container, and not copies of them, to the one who goes through it.
_GOING_THROUGH = frozenset({"enumerate", "iter", "items", "iterrows", "list", "reversed", "sorted", "values", "zip"})
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
class Handed:
    """The value of a name, given to something that may change it."""

    name: str
    to: str  # "add" for `add(df)`, ".fit" for `model.fit(df)`
    place: int | str | None  # which argument it is, by position or keyword; None: the object of the method


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A function or a method, and what it may change of what it is given and of what it finds outside."""

    name: str
    parameters: tuple[str, ...]  # those that can be given by position, in order
    named: frozenset[str]  # those that can be given by keyword
    rest: str  # `rows` of `*rows`; empty when there is none
    changes: frozenset[str]  # what it changes itself: parameters, and names from outside
    handed: frozenset[Handed]  # the parameters and the names from outside that it gives to others
    augments: frozenset[str]  # parameters, and names from outside, whose values `a += 1` may change
    calls: frozenset[str]  # the functions and methods that it calls, written as in `Handed.to`
    binds: frozenset[str]  # its own names
    aliases: Mapping[str, frozenset[str]]  # its further names for what others hold
    inner: tuple[Definition, ...]  # the functions and methods that it defines
    of_class: str = ""  # of a method: its class
    is_static: bool = False  # a method that is not given its object
    is_for_class: bool = False  # a method that is given the class in place of an object
    is_abstract: bool = False  # it does nothing but raise, or nothing at all

    def parameter(self, place: int | str | None, *, as_method: bool = False) -> str:
        """The parameter that an argument at `place` becomes; empty when that can't be told."""
        if isinstance(place, str):
            return place if place in self.named else ""
        index = (-1 if place is None else place) + (as_method and not self.is_static)
        if index < 0:
            return ""
        return self.parameters[index] if index < len(self.parameters) else self.rest


@dataclass(frozen=True, slots=True)
class Names:
    """What one top-level statement does with the names of its module."""

    order: tuple[str, ...] = ()  # the names it binds, in the order of binding
    binds: frozenset[str] = frozenset()  # the same: bound once it ran, on some path at least
    surely: frozenset[str] = frozenset()  # of these, the ones bound on every path
    eager: frozenset[str] = frozenset()  # read from outside when it runs
    late: frozenset[str] = frozenset()  # read when a function that it defines is called
    perhaps: frozenset[str] = frozenset()  # may be read: useful when defined somewhere, no fault when not
    changes: frozenset[str] = frozenset()  # changed in place, as given from outside: `df["a"] = 1`, `rows.append(1)`
    mutates: frozenset[str] = frozenset()  # the same, and what functions and methods change that it calls, if known
    may_mutate: frozenset[str] = frozenset()  # perhaps changed by an unknown method: `queue.put(1)`, its value not used
    augments: frozenset[str] = frozenset()  # perhaps changed by `a += 1`: an array is, a number is not
    may_augment: frozenset[str] = frozenset()  # the same, and what functions and methods augment that it calls
    handed: frozenset[Handed] = frozenset()  # what it gives from outside to others
    alone: frozenset[Handed] = frozenset()  # of these, the objects of methods whose values are not used
    calls: frozenset[str] = frozenset()  # the functions and methods that it calls, written as in `Handed.to`
    defines: tuple[Definition, ...] = ()  # the functions and methods that it defines
    spoils: Mapping[str, frozenset[str]] = field(default_factory=dict)  # for its functions, the parameters they change
    may_spoil: Mapping[str, frozenset[str]] = field(default_factory=dict)  # and those that they may augment
    aliases: Mapping[str, frozenset[str]] = field(default_factory=dict)  # further names for what other names hold
    deletes: frozenset[str] = frozenset()  # gone once it ran
    drops: frozenset[str] = frozenset()  # gone on some path
    declares: frozenset[str] = frozenset()  # annotated without a value: a function's own, if the statement were in one
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
        changes=frozenset(walker.mutates),
        mutates=frozenset(walker.mutates),
        may_mutate=frozenset(each.name for each in walker.alone) - walker.mutates,
        augments=frozenset(walker.augments - walker.mutates),
        may_augment=frozenset(walker.augments - walker.mutates),
        handed=frozenset(walker.handed),
        alone=frozenset(walker.alone),
        calls=frozenset(walker.calls),
        defines=tuple(walker.defines),
        spoils={each.name: each.changes & _all_parameters(each) for each in walker.defines if not each.of_class},
        may_spoil={each.name: each.augments & _all_parameters(each) for each in walker.defines if not each.of_class},
        aliases={name: frozenset(roots) for name, roots in walker.aliases.items() if name in binds},
        deletes=frozenset(walker.deletes - binds),
        drops=frozenset(walker.drops),
        declares=frozenset(walker.declares - binds),
        awaits=walker.awaits,
    )


def changed_parameters(node: Function) -> frozenset[str]:
    """The parameters whose values a function changes in place, before it gives their names to something else."""
    found = _definition(node, node.name)
    return found.changes & _all_parameters(found)


def rebound_in_classes(node: ast.stmt, source: str) -> frozenset[str]:
    """The names that a class reads from outside and binds itself, `limit = limit`, which works in no function."""
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.ClassDef):
            walker = _Walker(each, source)
            walker.block(each.body)
            found |= walker.eager & (walker.sure | walker.maybe)
    return frozenset(found)


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
        callees: set[int] = set()
        places: list[ast.Name] = []
        in_texts: list[str] = []
        for each in ast.walk(node):
            if isinstance(each, ast.Name):
                if not isinstance(each.ctx, ast.Store):
                    places.append(each)
            elif isinstance(each, ast.Call):
                callees.add(id(each.func))
                in_texts += _names_in_text(each)
            elif isinstance(each, ast.AugAssign) and isinstance(each.target, ast.Name):
                places.append(each.target)
        for each in sorted(places, key=lambda name: (name.lineno, name.col_offset)):
            found[each.id] = found.get(each.id, True) and id(each) in callees
        found |= dict.fromkeys(in_texts, False)
    return found


def _names_in_text(call: ast.Call) -> list[str]:
    """The names after `@` in the text that `df.query(...)` or `df.eval(...)` is given."""
    match call:
        case ast.Call(func=ast.Attribute(attr="eval" | "query"), args=[ast.Constant(value=str(text)), *_]):
            return re.findall(r"@([^\W\d]\w*)", text)
        case _:
            return []


class _Walker:
    """Walks one statement in the order of evaluation; scopes inside it are looked up in its symbol tables.

    Or the body of one function, whose parameters count as given from outside.
    """

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
        self.augments: set[str] = set()
        self.handed: set[Handed] = set()
        self.alone: set[Handed] = set()
        self.calls: set[str] = set()
        self.defines: list[Definition] = []
        self.parameters: tuple[str, ...] = ()  # of the function whose body it walks
        self.aliases: dict[str, set[str]] = {}
        self.deletes: set[str] = set()
        self.drops: set[str] = set()
        self.declares: set[str] = set()
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
                    self.also_names(each, value)
                    if isinstance(each, ast.Name) and isinstance(value, ast.Lambda):
                        self.defines.append(_definition(value, each.id))
            case ast.AugAssign(target=target, value=value):
                if isinstance(target, ast.Name):
                    self.read(target.id)
                    if _is_container(value):  # `rows += [1]` changes the list
                        self.changed(target)
                    elif not _is_text(value):  # an array is changed, and a number is not
                        self.augments |= self.origins({target.id})
                self.expression(value)
                self.target(target)
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                self.annotation(annotation)
                if value is not None:
                    self.expression(value)
                    self.target(target)
                    self.also_names(target, value)
                elif isinstance(target, ast.Name):
                    self.declares.add(target.id)
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
                        self.also_names(item.optional_vars, item.context_expr)
                self.block(body)
            case ast.Match(subject=subject, cases=cases):
                self.expression(subject)
                self.branches([[each] for each in cases] + [[]])
            case ast.Expr(value=value):
                self.expression(value)
                self.unused_value(value)
            case ast.Global(names=names):
                self.perhaps.update(names)
            case _ if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
                self.attempt(node)  # type: ignore[arg-type]  # TryStar has Try's fields
            case _ if type(node).__name__ == "TypeAlias":
                self.type_alias(node)
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
        before, deleted = set(self.sure), set(self.deletes)
        ends: list[set[str]] = []
        gone: list[set[str]] = []
        for body in bodies:
            self.sure, self.deletes = set(before), set(deleted)
            self.block(body)
            ends.append(self.sure)
            gone.append(self.deletes)
        self.sure, self.deletes = set.intersection(*ends), set.intersection(*gone)
        self.drops |= set.union(*gone) - self.deletes
        self.maybe |= set.union(*ends) - self.sure

    def loop(
        self, head: Sequence[ast.expr], target: ast.expr | None, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt]
    ) -> None:
        for each in head:
            self.expression(each)
        before, deleted = set(self.sure), set(self.deletes)
        if target is not None:
            self.target(target)
            self.also_names(target, _gone_through(head[0]))
        self.block(body)
        self.maybe |= self.sure - before
        self.drops |= self.deletes - deleted
        self.sure, self.deletes = before, deleted
        self.branches([orelse, []])

    def attempt(self, node: ast.Try) -> None:
        before, deleted = set(self.sure), set(self.deletes)
        self.block(node.body)
        self.maybe |= self.sure - before
        self.drops |= self.deletes - deleted
        self.deletes = set(deleted)
        self.block(node.orelse)
        ends = [self.sure]
        for handler in node.handlers:
            self.sure = set(before)
            if handler.type is not None:
                self.expression(handler.type)
            if handler.name:
                self.sure.add(handler.name)
            self.block(handler.body)
            self.drops |= self.deletes - deleted
            self.deletes = set(deleted)
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
            hidden, self.sure = self.sure, self.sure | _type_parameters(node)
            for base in [*node.bases, *(each.value for each in node.keywords)]:
                self.expression(base)
            self.sure = hidden
        else:
            self.signature(node.args, node.returns, types=_type_parameters(node))
        self.defines += [_definition(node, node.name)] if isinstance(node, Function) else _methods(node)
        found = self.scope(node.name, node.lineno)
        self.eager |= found.eager - self.sure - {node.name}
        self.perhaps |= found.perhaps - self.sure
        self.bind([node.name])
        self.late |= found.late - self.sure

    def signature(
        self, arguments: ast.arguments, returns: ast.expr | None = None, *, types: Collection[str] = ()
    ) -> None:
        """The defaults and annotations of a function; `types` are its own type parameters, `T` in `def f[T]`."""
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default is not None:
                self.expression(default)
        hidden, self.sure = self.sure, self.sure | set(types)
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        for annotation in [*(each.annotation for each in parameters if each is not None), returns]:
            if annotation is not None:
                self.annotation(annotation)
        self.sure = hidden | (self.sure - set(types))

    def type_alias(self, node: ast.stmt) -> None:
        """`type Pair[T] = tuple[T, T]`, whose right side is read when somebody asks for it."""
        name, value = node.name.id, node.value  # type: ignore[attr-defined]  # a statement of newer Pythons only
        inside = {each.id for each in ast.walk(value) if isinstance(each, ast.Name)}
        self.bind([name])
        self.late |= inside - _type_parameters(node) - self.sure

    # -- expressions --------------------------------------------------------------------------------------------

    def expression(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name):
                self.read(name)
            case ast.Constant() | ast.expr_context() | ast.operator():
                pass
            case ast.Attribute(value=value):
                self.expression(value)
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
                for argument in [called, *node.args, *(each.value for each in node.keywords)]:
                    self.expression(argument)
                self.perhaps.update(name for name in _names_in_text(node) if name not in self.sure)
                in_place = any(
                    each.arg == "inplace" and isinstance(each.value, ast.Constant) and each.value.value is True
                    for each in node.keywords
                )
                if isinstance(called, ast.Attribute) and (in_place or called.attr in CHANGING_METHODS):
                    self.changed(called.value)
                by_name = isinstance(called, ast.Name) and called.id in CHANGING_BUILTINS
                if node.args and (by_name or _called_name(called) in CHANGING_FUNCTIONS):
                    self.changed(node.args[0])
                for each in node.keywords:
                    if each.arg == "out":  # `np.add(a, b, out=a)`
                        self.changed(each.value)
                self.hand_over(node)
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
        """Its targets are its own; what `:=` binds in it is the statement's, when there is anything to go through."""
        sure, maybe, aliases = set(self.sure), set(self.maybe), dict(self.aliases)
        own: set[str] = set()
        for each in node.generators:
            self.expression(each.iter)
            self.awaits |= bool(each.is_async)
            targets = {name.id for name in ast.walk(each.target) if isinstance(name, ast.Name)}
            own |= targets
            self.sure |= targets
            self.maybe -= targets
            for name in targets:
                self.aliases.pop(name, None)
            self.also_names(each.target, _gone_through(each.iter))
            for condition in each.ifs:
                self.expression(condition)
        for value in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
            self.expression(value)
        bound = self.sure - sure - own
        self.sure, self.maybe, self.aliases = sure, maybe | bound, aliases

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
                self.aliases.pop(name, None)
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
            self.aliases.pop(name, None)

    def changed(self, node: ast.expr) -> None:
        """The value of `node` is changed in place: what counts is where it comes from."""
        self.mutates |= self.origins(_holder(node))

    def origins(self, names: Iterable[str]) -> set[str]:
        """Of what names from outside the values of `names` are, or are parts of."""
        return {root for name in names for root in ({name} - self.sure) | self.aliases.get(name, set())}

    def hand_over(self, node: ast.Call) -> None:
        """What is called gets its arguments, and a method its object."""
        match node.func:
            case ast.Name(id=name):
                to = name
                if name in self.parameters or (name in self.sure and all(each.name != name for each in self.defines)):
                    return
            case ast.Attribute(value=holder, attr=name):
                to = f".{name}"
                objects = _holder(holder)
                if isinstance(holder, ast.Call) and _called_name(holder.func) == "super":
                    objects = set(self.parameters[:1])
                self.handed |= {Handed(each, to, None) for each in self.origins(objects)}
            case _:
                return
        self.calls.add(to)
        places: list[tuple[int | str, ast.expr]] = []
        for index, argument in enumerate(node.args):
            if isinstance(argument, ast.Starred):
                break  # from here on nobody knows which argument is which
            places.append((index, argument))
        places += [(each.arg, each.value) for each in node.keywords if each.arg]
        for place, argument in places:
            self.handed |= {Handed(each, to, place) for each in self.origins(_held(argument))}

    def unused_value(self, node: ast.expr) -> None:
        """A statement is nothing but `node`: nobody calls a method for nothing, so it may change its object."""
        if isinstance(node, ast.Await):
            node = node.value
        match node:
            case ast.Call(func=ast.Attribute(value=holder, attr=name)):
                if name not in LOOKING_METHODS and not name.startswith(LOOKING_STARTS):
                    self.alone |= {Handed(each, f".{name}", None) for each in self.origins(_holder(holder))}
            case _:
                pass

    def also_names(self, target: ast.expr, value: ast.expr) -> None:
        """After `target` was given `value`: is it only a further name for what others hold, or for a part of that?"""
        match target, value:
            case ((ast.Tuple(elts=names) | ast.List(elts=names)), (ast.Tuple(elts=values) | ast.List(elts=values))):
                if len(names) == len(values):
                    for name, each in zip(names, values, strict=True):
                        self.also_names(name, each)
            case ((ast.Tuple(elts=names) | ast.List(elts=names)), _):
                for name in names:
                    self.also_names(name, value)
            case ast.Starred(value=name), _:
                self.also_names(name, value)
            case ast.Name(id=name), _:
                roots = self.origins(_same_objects(value))
                if roots - {name}:
                    self.aliases[name] = roots - {name}
            case _:
                pass

    def scope(self, name: str, line: int) -> _Reads:
        if self.scopes is None:
            self.scopes = _scopes(self.node, self.source)
        return self.scopes.get((name, line), _NO_READS)


def _definition(node: Function | ast.Lambda, name: str, of_class: str = "") -> Definition:
    """What a function, or a method of the class `of_class`, does to what it is given and finds."""
    arguments = node.args
    plain = tuple(each.arg for each in [*arguments.posonlyargs, *arguments.args])
    rest = arguments.vararg.arg if arguments.vararg else ""
    named = frozenset(each.arg for each in [*arguments.args, *arguments.kwonlyargs])
    walker = _Walker(ast.Pass(), "")
    walker.scopes = {}  # what it reads is not asked here
    walker.parameters = (*plain, *named.difference(plain), *([rest] if rest else []))
    decorators: set[str] = set()
    is_abstract = False
    if isinstance(node, ast.Lambda):
        walker.expression(node.body)
    else:
        walker.block(node.body)
        decorators = {_called_name(each) for each in node.decorator_list}
        is_abstract = all(isinstance(each, (ast.Pass, ast.Raise)) or _is_constant(each) for each in node.body)
    binds = walker.sure | walker.maybe
    return Definition(
        name=name,
        parameters=plain,
        named=named,
        rest=rest,
        changes=frozenset(each for each in walker.mutates if each in walker.parameters or each not in binds),
        handed=frozenset(each for each in walker.handed if each.name in walker.parameters or each.name not in binds),
        augments=frozenset(each for each in walker.augments if each in walker.parameters or each not in binds),
        calls=frozenset(walker.calls),
        binds=frozenset(binds),
        aliases={each: frozenset(roots) for each, roots in walker.aliases.items()},
        inner=tuple(walker.defines),
        of_class=of_class,
        is_static="staticmethod" in decorators,
        is_for_class="classmethod" in decorators,
        is_abstract=is_abstract,
    )


def _methods(node: ast.ClassDef) -> list[Definition]:
    return [_definition(each, each.name, node.name) for each in node.body if isinstance(each, Function)]


def _is_constant(node: ast.stmt) -> bool:
    """Is it a docstring, or `...`?"""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _all_parameters(definition: Definition) -> frozenset[str]:
    return definition.named.union(definition.parameters)


def _holder(node: ast.expr) -> set[str]:
    """The name whose value has the value of `node` somewhere in it: `model` for `model.layers[0].weights`."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _held(node: ast.expr) -> set[str]:
    """The names whose objects, or parts of them, an argument gives away: itself, or in a list written out."""
    return set[str]().union(*map(_same_objects, _parts(node) or [node]))


def _same_objects(node: ast.expr) -> set[str]:
    """The names whose objects, or parts of whose objects, the value of an expression surely is; none for a copy."""
    match node:
        case ast.Name(id=name):
            return {name}
        case ast.Attribute(value=inner) | ast.NamedExpr(value=inner) | ast.Starred(value=inner):
            return _same_objects(inner)
        case ast.Subscript(value=inner, slice=ast.Constant() | ast.Name()):
            return _same_objects(inner)
        case ast.IfExp(body=body, orelse=orelse):
            return _same_objects(body) | _same_objects(orelse)
        case ast.BoolOp(values=values):
            return set[str]().union(*map(_same_objects, values))
        case ast.Call(args=[ast.Call(func=ast.Attribute(value=inner, attr="parameters")), *_]):
            return _same_objects(inner)  # `SGD(model.parameters())`, which changes the model when it is changed
        case _:
            return set()


def _gone_through(node: ast.expr) -> ast.expr:
    """What a loop over `node` gives the parts of: `rows` for `enumerate(rows)`, `table` for `table.items()`.

    Of a list that is written out, the parts themselves.
    """
    while isinstance(node, ast.Call) and _called_name(node.func) in _GOING_THROUGH:
        if isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif len(node.args) == 1:
            node = node.args[0]
        else:
            return ast.BoolOp(ast.Or(), [_gone_through(each) for each in node.args])  # of `zip`, any of them
    parts = _parts(node)
    return node if parts is None else ast.BoolOp(ast.Or(), parts)


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """What a list, a tuple, a set or a dict that is written out holds, also in such parts of it; else None."""
    match node:
        case ast.List(elts=found) | ast.Tuple(elts=found) | ast.Set(elts=found) | ast.Dict(values=found):
            return [part for each in found for part in _parts(each) or [each]]
        case _:
            return None


def _called_name(called: ast.expr) -> str:
    """The last part of what is called: `shuffle` for `random.shuffle(...)`."""
    match called:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _is_container(node: ast.expr) -> bool:
    return isinstance(node, (ast.List, ast.ListComp, ast.Set, ast.SetComp, ast.Dict, ast.DictComp))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))


def _type_parameters(node: ast.AST) -> set[str]:
    """The names in the brackets of `def f[T](...)` and `type X[T] = ...`, which Python 3.11 has not."""
    return {each.name for each in getattr(node, "type_params", ())}


def bound_by_alias(alias: ast.alias) -> str:
    """The name that one part of an import binds: `a` for `import a.b`, `c` for `import a.b as c`."""
    return alias.asname or alias.name.partition(".")[0]


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
    todo = list(top.get_children())
    for table in todo:
        if table.get_name() in COMPREHENSIONS:  # which newer Pythons don't list
            todo += table.get_children()
            continue
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
