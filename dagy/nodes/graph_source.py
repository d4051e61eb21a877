"""A graph as Python: the module that a person would have written for the same flow, laid out as Black and Ruff would.

What does not fit on a line has one item a line and a comma after the last, which formatters leave as it is.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING, TypeAlias

from dagy.errors import NodeGraphError
from dagy.nodes.config import Secret
from dagy.nodes.graph_kinds import UnknownKindError, check_home
from dagy.spec import Binding, Constant, DictOf, FromParameter, FromTask, Json, ListOf, references
from dagy.tasks import Task

if TYPE_CHECKING:
    from dagy.nodes.base import FlowNode
    from dagy.nodes.graph import NodeGraph
    from dagy.nodes.graph_flow import Plan, PlannedNode

_WIDTH = 88
_INDENT = "    "
_LONGEST_NAME = 40
_RESERVED = frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins)})


def python_source(graph: NodeGraph, plan: Plan, module: str) -> str:
    """The text of the module of that name. `NodeGraphError` names each node whose kind it can't import."""
    return _Writer(graph, plan, module).text()


# Expressions.


@dataclass(frozen=True, slots=True)
class Bracket:
    """What is in a pair of brackets: expressions, each with what stands before it, such as `name=`."""

    marks: str  # "()", "[]" or "{}"
    items: tuple[tuple[str, Expression], ...]
    comma: str = ""  # after the only item of a tuple


# Texts and brackets, one after the other: `Filter`, `(column="age")`, `.with_options`, `(retries=2)`, `(rows)`.
Expression: TypeAlias = tuple[str | Bracket, ...]


def _flat(expression: Expression) -> str:
    return "".join(map(_flat_part, expression))


def _flat_part(part: str | Bracket) -> str:
    if isinstance(part, str):
        return part
    inside = ", ".join(f"{before}{_flat(each)}" for before, each in part.items)
    return f"{part.marks[0]}{inside}{part.comma}{part.marks[1]}"


def _laid_out(expression: Expression, indent: str, before: str = "", after: str = "") -> list[str]:
    """The lines of a statement, or of an item, with `before` and `after` it on its first and its last line."""
    line = f"{indent}{before}{_flat(expression)}{after}"
    if len(line) <= _WIDTH:
        return [line]
    links = _links(expression)
    if len(links) > 2 and before.endswith("= "):  # an assigned chain of calls: one a line
        inner = indent + _INDENT
        whole = f"{inner}{_flat(expression)}"
        chain = [whole] if len(whole) <= _WIDTH else [each for link in links for each in _laid_out(link, inner)]
        return [f"{indent}{before}(", *chain, f"{indent}){after}"]
    split: set[int] = set()
    brackets = [index for index, part in enumerate(expression) if isinstance(part, Bracket) and part.items]
    while True:
        lines, parts = _split(expression, indent, before, after, split)
        long = [index for line, on_it in zip(lines, parts, strict=True) if len(line) > _WIDTH for index in on_it]
        next_one = next((each for each in brackets if each in long and each not in split), None)
        if next_one is None:
            return lines
        split.add(next_one)


def _split(
    expression: Expression, indent: str, before: str, after: str, split: set[int]
) -> tuple[list[str], list[set[int]]]:
    """The lines with the brackets of those indices taken apart, and for each line the brackets that are flat on it."""
    lines, flat_on = [f"{indent}{before}"], [set[int]()]
    for index, part in enumerate(expression):
        if isinstance(part, str) or index not in split:
            lines[-1] += _flat_part(part)
            flat_on[-1].add(index)
            continue
        lines[-1] += part.marks[0]
        for name, item in part.items:
            inside = _laid_out(item, indent + _INDENT, name, ",")
            lines += inside
            flat_on += [set[int]() for _ in inside]
        lines.append(f"{indent}{part.marks[1]}")
        flat_on.append(set())
    lines[-1] += after
    return lines, flat_on


def _links(expression: Expression) -> list[Expression]:
    """The chain cut before each method; the first one of a plain name stays with it."""
    links: list[list[str | Bracket]] = [[]]
    for part in expression:
        if isinstance(part, str) and part.startswith(".") and any(isinstance(each, Bracket) for each in links[-1]):
            links.append([])
        links[-1].append(part)
    return [tuple(each) for each in links]


def _call(name: str, arguments: Iterable[tuple[str, Expression]]) -> Expression:
    return (name, Bracket("()", tuple(arguments)))


def _named(values: Mapping[str, Expression]) -> list[tuple[str, Expression]]:
    """Arguments by name."""
    plain = [(f"{name}=", value) for name, value in values.items() if _is_name(name)]
    odd = tuple((f"{_quoted(name)}: ", value) for name, value in values.items() if not _is_name(name))
    return [*plain, *([("**", (Bracket("{}", odd),))] if odd else [])]


def _literal(value: Json) -> Expression:
    """A JSON value as Python."""
    match value:
        case str():
            return (_quoted(value),)
        case list():
            return (Bracket("[]", tuple(("", _literal(each)) for each in value)),)
        case dict():
            return (Bracket("{}", tuple((f"{_quoted(key)}: ", _literal(each)) for key, each in value.items())),)
        case int() if not isinstance(value, bool) and abs(value) > sys.maxsize:
            return (f"{'-' * (value < 0)}0x{abs(value):X}",)  # of any length, where decimals have a limit
        case float():
            return (repr(value).replace("e+", "e"),)
        case _:
            return (repr(value),)


def _quoted(text: str) -> str:
    """The text as a literal, in the quotes that need fewer escapes."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    inside = "".join(_escaped(each, mark) for each in text)
    return f"{mark}{inside}{mark}"


def _escaped(character: str, mark: str) -> str:
    if character in ("\\", mark):
        return f"\\{character}"
    return character if character.isprintable() else repr(character)[1:-1]


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text) and unicodedata.normalize("NFKC", text) == text


def _one_line(text: str) -> str:
    """The text for a comment."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


# The module.


class _Names:
    """Names for what the module defines, none of them twice."""

    def __init__(self) -> None:
        self._taken = set(_RESERVED)

    def new(self, wanted: str, default: str = "node") -> str:
        """A name as near to `wanted` as can be."""
        plain = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", wanted)).strip("_")[:_LONGEST_NAME] or default
        name = base = plain if plain.isidentifier() else f"{default}_{plain}"
        if not name.isidentifier():  # digits of other scripts
            name = base = default
        if name in _RESERVED:
            name = base = f"{name}_"
        count = 2
        while name in self._taken:
            name = f"{base.rstrip('_')}_{count}"
            count += 1
        self._taken.add(name)
        return name

    def keep(self, name: str) -> None:
        """Let nothing else have that name."""
        self._taken.add(name)


class _Writer:
    def __init__(self, graph: NodeGraph, plan: Plan, module: str) -> None:
        self._module = module
        self._graph = graph
        self._plan = plan
        self._names = _Names()
        self._imports: dict[str, dict[str, str]] = {}  # by module: names, and what they are called here
        self._texts: dict[str, str] = {}  # long texts by their names
        self._variables: dict[str, str] = {}
        self._kinds: dict[int, str] = {}  # what is called for a kind, by identity

    def text(self) -> str:
        """The module."""
        for each in self._graph.parameters:
            self._names.keep(each.name)
        for annotation in self._plan.annotations.values():
            for name, module in annotation.modules.items():
                self._names.keep(name)
                self._imports.setdefault(module, {})[name] = name
        decorator = self._import("dagy", "flow")
        self._import_kinds()
        function = self._names.new(self._graph.name.lower(), "graph")
        body = self._body()
        lines = [
            *self._import_lines(),
            *(line for name, text in self._texts.items() for line in ("", f'{name} = """\\', *text.split("\n"))),
            "",
            "",
            *self._decorator(decorator, function),
            *self._signature(function),
            *body,
        ]
        return "\n".join(lines) + "\n"

    def _import(self, module: str, name: str) -> str:
        """What `name` of that module is called here."""
        called = self._imports.setdefault(module, {})
        if name not in called:
            called[name] = self._names.new(name)
        return called[name]

    def _import_kinds(self) -> None:
        faults = []
        for node in self._plan.nodes:
            made_by = node.kind.made_by
            if id(made_by) in self._kinds:
                continue
            module, name = node.kind.home
            if module == self._module and name.isidentifier():
                self._names.keep(name)
                self._kinds[id(made_by)] = name
                continue
            try:
                check_home(node.kind)
            except UnknownKindError as error:
                faults.append(f"node {node.id!r}: its kind {error}")
            else:
                self._kinds[id(made_by)] = self._import(module, name)
        if faults:
            raise NodeGraphError(f"graph {self._graph.name!r} can't be written as a module:", faults)

    def _import_lines(self) -> list[str]:
        groups = [["from __future__ import annotations"]]
        if all(each.is_plain for each in self._plan.annotations.values()):
            groups.clear()
        groups += [
            [line for module in sorted(modules) for line in self._from_import(module)]
            for modules in _by_origin(self._imports)
        ]
        return [line for group in groups for line in ("", *group)][1:]

    def _from_import(self, module: str) -> list[str]:
        names = self._imports[module]
        told = sorted(
            (name if name == called else f"{name} as {called}" for name, called in names.items()), key=_import_order
        )
        line = f"from {module} import {', '.join(told)}"
        return [line] if len(line) <= _WIDTH else [f"from {module} import (", *(f"    {each}," for each in told), ")"]

    def _decorator(self, decorator: str, function: str) -> list[str]:
        graph = self._graph
        said: dict[str, Json] = {}
        if graph.name != function:
            said["name"] = graph.name
        if graph.version != "latest":
            said["version"] = graph.version
        if cleandoc(graph.description) and not _is_docstring(cleandoc(graph.description)):
            said["description"] = graph.description
        said |= graph.options
        arguments = _named({name: _literal(value) for name, value in said.items()})
        return _laid_out(_call(decorator, arguments), "", "@") if said else [f"@{decorator}"]

    def _signature(self, function: str) -> list[str]:
        items: list[tuple[str, Expression]] = []
        comments: list[str] = []
        has_default = by_name = False
        for each in self._graph.parameters:
            if each.required and has_default and not by_name:
                items.append(("", ("*",)))
                comments.append("")
                by_name = True
            has_default = has_default or not each.required
            kind = self._plan.annotations[each.name].text
            annotated = f"{each.name}: {kind}" if kind else each.name
            if each.required:
                items.append(("", (annotated,)))
            else:
                items.append((f"{annotated}{' = ' if kind else '='}", _literal(each.default)))
            comments.append(_one_line(each.description))
        if not any(comments):
            return _laid_out(_call(function, items), "", "def ", ":")
        lines = [f"def {function}("]
        for (before, item), comment in zip(items, comments, strict=True):
            lines += _laid_out(item, _INDENT, before, ",")
            lines[-1] += f"  # {comment}" if comment else ""
        return [*lines, "):"]

    def _body(self) -> list[str]:
        plan, lines = self._plan, []
        description = cleandoc(self._graph.description)
        if _is_docstring(description):
            several = "\n" in description
            told = f'"""{description}\n"""' if several else f'"""{description}"""'
            lines += [f"{_INDENT}{line}" if line else "" for line in told.split("\n")]
        used = {each.task for binding in _bindings(plan) for each in references(binding) if type(each) is FromTask}
        used.update(each for node in plan.nodes for each in node.after)
        for node in plan.nodes:
            if node.label != node.id and (label := _one_line(node.label)):
                lines.append(f"{_INDENT}# {label}")
            called = self._called(node)
            before = ""
            if node.id in used:
                self._variables[node.id] = self._names.new(node.id)
                before = f"{self._variables[node.id]} = "
            lines += _laid_out(called, _INDENT, before)
        if plan.result is not None:
            lines += _laid_out(self._value(plan.result), _INDENT, "return ")
        return lines or [f"{_INDENT}pass"]

    def _called(self, node: PlannedNode) -> Expression:
        """The call of a node, or of a task."""
        kind = node.kind
        parts: list[str | Bracket] = [self._kinds[id(kind.made_by)]]
        if not isinstance(kind.made_by, Task):
            config = {name: self._config_value(node, name, value) for name, value in node.config.items()}
            parts.append(Bracket("()", tuple(_named(config))))
        if node.options:
            options = {name: _literal(value) for name, value in node.options.items()}
            parts += [".with_options", Bracket("()", tuple(_named(options)))]
        if node.after:
            parts += [".after", Bracket("()", tuple(("", (self._variables[each],)) for each in node.after))]
        if node.over:
            parts.append(".map")
        parts.append(Bracket("()", tuple(self._arguments(node))))
        return tuple(parts)

    def _arguments(self, node: PlannedNode) -> list[tuple[str, Expression]]:
        kind = node.kind
        inputs = dict(node.inputs)
        if node.over:
            first = [("", self._value(inputs.pop(name))) for name in node.over]
            return [*first, *_named({name: self._value(value) for name, value in inputs.items()})]
        if isinstance(kind.made_by, Task) and not _is_plain(kind.made_by):
            return self._odd_arguments(kind.made_by, inputs)
        if len(inputs) == 1 and next(iter(inputs)) == next(iter(kind.inbound)) and _by_position(kind.made_by):
            return [("", self._value(next(iter(inputs.values()))))]
        return _named({name: self._value(inputs[name]) for name in kind.inbound if name in inputs})

    def _odd_arguments(self, task: Task[..., object], inputs: dict[str, Binding]) -> list[tuple[str, Expression]]:
        """Those of a function with parameters that are given by position only, or of which there may be any number."""
        by_position: list[tuple[str, Expression]] = []
        by_name: dict[str, Expression] = {}
        last: list[tuple[str, Expression]] = []
        for each in task.parameters.signature.parameters.values():
            if each.name not in inputs:
                continue
            value = inputs[each.name]
            if each.kind is each.VAR_POSITIONAL and type(value) is ListOf:
                by_position += [("", self._value(item)) for item in value.items]
            elif each.kind is each.VAR_POSITIONAL:
                by_position.append(("*", self._value(value)))
            elif each.kind is each.VAR_KEYWORD:
                last.append(("**", self._value(value)))
            elif each.kind is each.KEYWORD_ONLY:
                by_name[each.name] = self._value(value)
            else:
                by_position.append(("", self._value(value)))
        return [*by_position, *_named(by_name), *last]

    def _config_value(self, node: PlannedNode, name: str, value: Binding | Secret) -> Expression:
        if isinstance(value, Secret):
            return _call(self._import("dagy.nodes", "Secret"), [("", (_quoted(value.name),))])
        if type(value) is Constant and isinstance(value.value, str) and _is_block(value.value):
            constant = self._names.new(f"{node.id}_{name}".upper())
            self._texts[constant] = f'{value.value}"""'
            return (constant,)
        return self._value(value)

    def _value(self, binding: Binding) -> Expression:
        match binding:
            case FromTask(task=task, path=path):
                return (self._variables[task] + "".join(f"[{_flat(_literal(each))}]" for each in path),)
            case FromParameter(name=name, path=path):
                return (name + "".join(f"[{_flat(_literal(each))}]" for each in path),)
            case ListOf(items=items, form=form):
                inside = tuple(("", self._value(each)) for each in items)
                if form == "set":
                    return (Bracket("{}", inside or (("*", ("()",)),)),)  # `set` may be a parameter
                return (
                    Bracket("[]" if form == "list" else "()", inside, "," * (form == "tuple" and len(inside) == 1)),
                )
            case DictOf(items=pairs):
                return (Bracket("{}", tuple((f"{_flat(_literal(key))}: ", self._value(each)) for key, each in pairs)),)
            case Constant(value=value):
                return _literal(value)
            case _:
                raise AssertionError(binding)  # no document has another


def _bindings(plan: Plan) -> Iterator[Binding]:
    """All values that something in the plan takes."""
    for node in plan.nodes:
        yield from node.inputs.values()
        yield from (each for each in node.config.values() if not isinstance(each, Secret))
    if plan.result is not None:
        yield plan.result


def _by_position(made_by: type[FlowNode] | Task[..., object]) -> bool:
    """Whether the first input can be given by position."""
    if not isinstance(made_by, Task):
        return True
    first = next(iter(made_by.parameters.signature.parameters.values()))
    return first.kind is not first.KEYWORD_ONLY


def _is_plain(task: Task[..., object]) -> bool:
    """Whether all of its parameters can be given by name."""
    parameters = task.parameters.signature.parameters.values()
    return all(each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) for each in parameters)


def _by_origin(modules: Iterable[str]) -> Sequence[set[str]]:
    """Python's own modules, then others, leaving out what is empty."""
    own = {each for each in modules if each.partition(".")[0] in sys.stdlib_module_names}
    return [each for each in (own, {*modules} - own) if each]


def _import_order(name: str) -> tuple[int, str]:
    """As import sorters have it: CONSTANTS, Classes, functions."""
    first = name.partition(" ")[0]
    return (0 if first.isupper() and len(first) > 1 else 1 if first[:1].isupper() else 2, name)


def _is_docstring(text: str) -> bool:
    """Whether the text, from `cleandoc`, can stand between three quotes and comes out as it is."""
    return bool(text) and _is_quotable(text) and "\t" not in text and text[0] not in ' "'


def _is_block(text: str) -> bool:
    """Whether the text is of several lines, and can stand between three quotes."""
    return "\n" in text.strip("\n") and _is_quotable(text)


def _is_quotable(text: str) -> bool:
    lines = text.split("\n")
    return (
        '"""' not in text
        and "\\" not in text
        and not text.endswith('"')
        and all(line == line.rstrip(" ") and line.replace("\t", "").isprintable() for line in lines)
    )
