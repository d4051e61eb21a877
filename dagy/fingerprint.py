"""What the code of a task is: its own text, and all that it reaches by name.

What is reached is read from the compiled code and from the objects that its names stand for, so it is what really runs,
wherever it comes from: a file, a notebook's cell, a string. A function's text is its source, without comments, blank
lines and docstrings, if compiling that source gives the very code of the function; else (the file was edited after it
was imported, there is no source) it is a listing of the code itself.

Followed are functions, classes, tasks and values of the user's own. Of what is installed the version counts, of what
Python brings along nothing but Python's own version. A value that nothing lasting tells apart (a lock, a connection) is
told by its type. A global name that the code itself assigns holds no constant, and is named only.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import dataclasses
import difflib
import dis
import enum
import functools
import hashlib
import importlib.util
import json
import linecache
import os
import re
import sys
import typing
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from dagy.digests import identity
from dagy.errors import shown
from dagy.values import described, type_name
from dagy.version import __version__

_Origin: TypeAlias = Literal["own", "installed", "python", "dagy"]
_Chain: TypeAlias = tuple[str, ...]  # ("np", "linalg", "norm"): a name, and the attributes taken of it

_FUTURES = sum({getattr(__future__, each).compiler_flag for each in __future__.all_feature_names})
_STANDARD = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 (compared with text, many times)
_C_CODE = (BuiltinFunctionType, type(list.append), type(object.__init__), type(dict.__dict__["fromkeys"]))
_OURS = ("dagy", "dagy_nb")
_NO_CONTENT = (GetSetDescriptorType, MemberDescriptorType, ModuleType)
# What Python, `dataclass`, `Enum`, `ABC` and pydantic keep in a class beside what its author wrote.
_BOOKKEEPING = frozenset(
    """
    __module__ __qualname__ __doc__ __dict__ __weakref__ __annotations__ __firstlineno__ __static_attributes__
    __match_args__ __dataclass_params__ __dataclass_fields__ __abstractmethods__ _abc_impl __orig_bases__
    __parameters__ __type_params__ __signature__ __class_vars__ __private_attributes__ __annotations_cache__
    __classdictcell__
    """.split()  # noqa: SIM905 (a line for each name would fill the page)
)
_INCOMPARABLE = "whose content can't be compared"
_SECRET = re.compile(r"(?i)secret|token|passw|credential|api_?key")  # names of what is not to be shown
_SHOWN = frozenset({str, int, float, bool, type(None), complex, bytes})


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells the code of two functions apart: a `digest`, made of the `parts`.

    Their keys are "code" for the function itself, "python", and a kind and a name for the rest: "function clean",
    "class Row", "constant LIMIT", "default fetch.url", "package pandas", "module helpers", "missing name".
    """

    digest: str
    parts: Mapping[str, str]

    @property
    def incomparable(self) -> list[str]:
        """The names of the values that the code reaches and that only their types tell apart here, such as "CLIENT"."""
        return [key.partition(" ")[2] for key, told in self.parts.items() if told.endswith(_INCOMPARABLE)]


def fingerprint(function: Callable[..., Any]) -> Fingerprint:
    """The fingerprint of `function` as things stand now.

    What is known of each piece of code is kept for the next time, but names are looked up and values are told apart
    anew: ask once a run, not once a call. Nothing is imported or called, except what an object does when it is to be
    pickled.
    """
    parts = _Reach(function).parts()
    text = json.dumps(sorted(parts.items()))
    return Fingerprint(hashlib.sha256(text.encode()).hexdigest()[:32], parts)


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each difference between the parts of two fingerprints, the function's own code first.

    Where code changed, a diff follows in the sentence's next lines.
    """
    for key in dict.fromkeys([*after, *before]):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        kind, _, name = key.partition(" ")
        what = {"code": "its code", "function": f"helper {name!r}", "python": "Python", "package": name}.get(
            kind, f"{kind} {name}"
        )
        if kind == "missing":
            yield f"{name!r} was not defined, and is now" if new is None else f"{name!r} is not defined any more"
        elif old is None:
            yield f"{what} is new" + (f": {new}" if kind in ("constant", "default", "package") else "")
        elif new is None:
            yield f"{what} is not used any more"
        elif kind in ("code", "function", "class", "module"):
            diff = difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "now", n=2, lineterm="")
            yield "\n".join([f"{what} changed:", *diff])
        else:
            yield f"{what} was {old}, is {new}"


class _Reach:
    """Follows what a function reaches; each object once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.root = _unwrapped(function)
        self.home: object = getattr(self.root, "__module__", None)
        self.found: dict[str, str] = {"code": ""}
        self.labels: dict[int, tuple[str, object]] = {}  # by id, with the object, so that the id stays its own
        self.bodies: deque[Callable[[], None]] = deque()  # of functions and classes, still to be read
        self.constants: deque[Callable[[], None]] = deque()  # told apart last, when it is known what is assigned
        self.assigned: set[tuple[int, str]] = set()  # global names, with the id of their module's dict
        self.resolved: set[tuple[int, _Chain]] = set()

    def parts(self) -> dict[str, str]:
        """The text of each part, the function's own first."""
        if type(self.root) is FunctionType:
            self.labels[id(self.root)] = ("code", self.root)
            self.body("code", self.root)
            self.annotations(self.root)
        elif issubclass(type(self.root), type):
            self.whole_class(self.root)
        else:
            self.reach(self.root, getattr(self.root, "__qualname__", type(self.root).__qualname__))
        while self.bodies or self.constants:
            (self.bodies or self.constants).popleft()()
        self.found["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
        return self.found

    # -- what is reached ---------------------------------------------------------------------------------------------

    def reach(self, value: Any, called: str, place: tuple[int, str] | None = None) -> None:
        """Follow `value`, which is `called` so; `place` is the global name that holds it."""
        kind = type(value)
        if kind is ModuleType:
            self.chain(value, (), called)
        elif kind is FunctionType or issubclass(kind, type):
            self.label(value)
        elif kind is MethodType:
            self.reach(value.__func__, called)
            self.reach(value.__self__, f"{called}.__self__")
        elif kind in _C_CODE:
            self.package(getattr(value, "__module__", None) or "")
        elif kind is functools.partial:
            self.reach(value.func, called)
            self.constant((value.args, value.keywords), f"{called}(...)", None)
        elif (wrapped := _attributes(value).get("__wrapped__")) is not None:
            self.reach(wrapped, called)
            if _origin_of(kind) == "own":
                self.label(kind)
        else:
            self.constant(value, called, place)

    def whole_class(self, root: type) -> None:
        """A class that is the code itself, as that of a node: of what is not the user's own, its name and version."""
        origin = _origin_of(root)
        if origin == "own":
            self.labels[id(root)] = ("code", root)
            self.class_body("code", root)
            return
        self.found["code"] = f"{root.__module__}.{root.__qualname__}"
        if origin == "dagy":
            self.found["package dagy"] = __version__
        self.package(root.__module__)

    def label(self, value: Any) -> str:
        """What a function or a class is called here; it is followed if it is the user's own."""
        if (known := self.labels.get(id(value))) is not None:
            return known[0]
        kind = "function" if type(value) is FunctionType else "class"
        module: object = value.__module__
        name: str = value.__qualname__
        if kind == "function":  # not what `functools.wraps` has it say of itself
            module, name = value.__globals__.get("__name__", module), value.__code__.co_qualname
        if module not in (self.home, "builtins"):
            name = f"{module}.{name}"
        origin = _origin_of(value)
        if origin != "own":
            self.labels[id(value)] = (name, value)
            self.package(value.__module__)
            if kind == "function":
                self.carried(value)
            return name
        label = f"{kind} {name}"
        number = 2
        while label in self.found:
            label = f"{kind} {name} ({number})"
            number += 1
        self.labels[id(value)] = (label, value)
        self.found[label] = ""
        self.bodies.append(functools.partial(self.body if kind == "function" else self.class_body, label, value))
        return label

    def carried(self, function: FunctionType) -> None:
        """Follow the user's own code in a function that is not: what a decorator was put above."""
        inside = [each for _, each in _cells(function)]
        if "__wrapped__" in function.__dict__:
            inside.append(function.__dict__["__wrapped__"])
        for each in inside:
            if callable(each):
                self.reach(each, function.__qualname__)

    def constant(self, value: Any, called: str, place: tuple[int, str] | None) -> None:
        """Tell a value apart, later."""
        label = f"constant {called}"
        if label not in self.found:
            self.found[label] = ""
            self.constants.append(functools.partial(self.tell, label, value, place))

    def tell(self, label: str, value: Any, place: tuple[int, str] | None = None) -> None:
        """The text of a constant."""
        if place in self.assigned:
            self.found[label] = "assigned by the code itself"
            return
        kind = type(value)
        digest = identity(value, self.label).digest
        self.label(kind)
        is_secret = _SECRET.search(label) is not None
        what = f"a {type_name(kind)}" if is_secret else described(value)
        if digest is None:
            self.found[label] = f"a {type_name(kind)}, {_INCOMPARABLE}"
        elif kind in _SHOWN and len(what) < 60 and not is_secret:
            self.found[label] = what
        else:
            self.found[label] = f"{what} [{digest[:12]}]"

    def package(self, module: object) -> None:
        """The version of what is installed; nothing for what is part of Python or of Dagy."""
        if type(module) is str and module and _origin_of_module(module) == "installed":
            for name, version in _distributions(module.partition(".")[0]):
                self.found[f"package {name}"] = version

    # -- names -------------------------------------------------------------------------------------------------------

    def resolve(self, names: dict[str, Any], chain: _Chain) -> None:
        """Follow what `chain` stands for in a module with these global names."""
        if (id(names), chain) in self.resolved:
            return
        self.resolved.add((id(names), chain))
        first, *rest = chain
        module = names.get("__name__")
        called = first if module == self.home else f"{module}.{first}"
        if first in names:
            self.chain(names[first], tuple(rest), called, (id(names), first))
        elif not hasattr(builtins, first) and first not in ("__file__", "__name__", "__class__"):
            self.found[f"missing {called}"] = "not defined"

    def chain(self, value: Any, rest: _Chain, called: str, place: tuple[int, str] | None = None) -> None:
        """Follow the attributes `rest` of `value` as far as they go through the user's modules."""
        while type(value) is ModuleType:
            module, origin = value, _origin_of_module(value.__name__, vars(value))
            if origin != "own":
                self.package(module.__name__)
                return
            if not rest:
                self.whole_module(module.__name__)
                return
            names, first = vars(module), rest[0]
            called, place, rest = f"{module.__name__}.{first}", (id(names), first), rest[1:]
            if first not in names and f"{module.__name__}.{first}" not in sys.modules:
                self.found[f"missing {called}"] = "not defined"
                return
            value = names[first] if first in names else sys.modules[called]
        self.reach(value, called, place)

    def import_inside(self, name: str, taken: Iterable[str]) -> None:
        """Follow an import that a function makes when it runs: it may not have been made yet, so by its file."""
        if _origin_of_module(name) != "own":
            self.package(name)
            return
        self.whole_module(name)
        for each in taken:
            if _file_of_module(f"{name}.{each}"):
                self.whole_module(f"{name}.{each}")

    def whole_module(self, name: str) -> None:
        """A module of the user's own of which it is not known what is used: all of its text, and its imports."""
        label = f"module {name}"
        filename = _file_of_module(name)
        if label in self.found or name == "__main__" or filename is None:
            return
        self.found[label] = ""
        try:
            tree = ast.parse("".join(linecache.getlines(filename)))
        except (SyntaxError, ValueError, RecursionError):
            self.found[label] = "can't be read"
            return
        self.found[label] = _plain_source(tree)
        package = name if filename.endswith("__init__.py") else name.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.import_inside(alias.name, ())
            elif isinstance(node, ast.ImportFrom):
                wanted = _absolute(node.module or "", node.level, package)
                self.import_inside(wanted, [alias.name for alias in node.names])

    # -- bodies ------------------------------------------------------------------------------------------------------

    def body(self, label: str, function: FunctionType) -> None:
        """A function's text, and what it reaches."""
        names = function.__globals__
        reads = _reads(function.__code__)
        self.found[label] = _text_of(function)
        self.assigned |= {(id(names), each) for each in reads.assigned}
        for chain in reads.names:
            self.resolve(names, chain)
        for chain in reads.cells:
            for name, value in _cells(function):
                if name == chain[0]:
                    self.chain(value, chain[1:], f"{function.__qualname__}.{name}")
        for module, level, taken in reads.imports:
            self.import_inside(_absolute(module, level, names.get("__package__")), taken)
        for name, value in _defaults(function):
            key = f"default {function.__qualname__}.{name}"
            self.found[key] = ""
            self.constants.append(functools.partial(self.tell, key, value))
        if "__wrapped__" in function.__dict__:
            self.reach(function.__dict__["__wrapped__"], function.__qualname__)

    def annotations(self, function: FunctionType) -> None:
        """Follow the user's classes that the parameters are converted to."""
        todo: list[Any] = [each for name, each in function.__annotations__.items() if name != "return"]
        while todo:
            each = todo.pop()
            if isinstance(each, str):
                todo += [function.__globals__[name] for name in _names_in(each) if name in function.__globals__]
            elif issubclass(type(each), type) and type(each) is not type(list[int]):
                if _origin_of(each) == "own":
                    self.label(each)
            else:
                todo += typing.get_args(each)

    def class_body(self, label: str, found: type) -> None:
        """What a class is made of, as it is now."""
        held = vars(found)
        lines = [f"class {found.__qualname__}({', '.join(each.__qualname__ for each in found.__bases__)})"]
        for each in (*found.__bases__, type(found)):
            self.label(each)
        for name, annotation in dict(held.get("__annotations__", {})).items():
            if issubclass(type(annotation), type):
                told: object = self.label(annotation)
            else:
                told = annotation if type(annotation) is str else identity(annotation, self.label).digest
            lines.append(f"{name}: {told}")
        self.found[label] = "\n".join(lines)
        if dataclasses.is_dataclass(found) and "__dataclass_fields__" in held:
            self.constant(_dataclass_plan(found), f"{found.__qualname__} (its fields)", None)
        if "__pydantic_fields__" in held:
            self.constant(held["__pydantic_fields__"], f"{found.__qualname__} (its fields)", None)
        if issubclass(found, enum.Enum):
            members = {name: each._value_ for name, each in found._member_map_.items()}
            self.constant(members, f"{found.__qualname__} (its members)", None)
        for name, value in list(held.items()):
            if not (name in _BOOKKEEPING or name.startswith("__pydantic_") or _is_sunder(name, found)):
                self.attribute(found, name, value)

    def attribute(self, of: type, name: str, value: Any) -> None:
        """One attribute of a class."""
        kind = type(value)
        if kind in _NO_CONTENT or kind is of or (name == "__hash__" and value is None):
            return
        if name == "task_options" and any(_origin_of(each) == "dagy" for each in of.__mro__):  # how a node is run
            return
        called = f"{of.__qualname__}.{name}"
        if kind is FunctionType:
            self.label(value)
        elif kind is staticmethod or kind is classmethod:
            self.reach(value.__func__, called)
        elif kind is property:
            for each in (value.fget, value.fset, value.fdel):
                if each is not None:
                    self.reach(each, called)
        elif kind is functools.cached_property:
            self.reach(value.func, called)
        elif (wrapped := _attributes(value).get("wrapped")) is not None and callable(wrapped):  # pydantic's validators
            self.reach(getattr(wrapped, "__func__", wrapped), called)
        else:
            self.reach(value, called)


# -- code --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reads:
    """What a piece of code, and the code inside it, does with names that are not its own."""

    names: tuple[_Chain, ...]  # global
    cells: tuple[_Chain, ...]  # of the functions around it
    imports: tuple[tuple[str, int, tuple[str, ...]], ...]  # module, level, names taken
    assigned: frozenset[str]  # global names


@functools.lru_cache(maxsize=4096)
def _reads(code: CodeType) -> _Reads:
    names: dict[_Chain, None] = {}
    cells: dict[_Chain, None] = {}
    imports: dict[tuple[str, int, tuple[str, ...]], None] = {}
    assigned: set[str] = set()
    todo = [code]
    while todo:
        each = todo.pop()
        todo += [inside for inside in each.co_consts if type(inside) is CodeType]
        steps = [step for step in dis.get_instructions(each) if step.opname != "EXTENDED_ARG"]
        own = {step.argval for step in steps if step.opname == "STORE_NAME"} | {"__name__", "__qualname__"}
        for number, step in enumerate(steps):
            match step.opname:
                case "LOAD_GLOBAL" | "LOAD_FROM_DICT_OR_GLOBALS":
                    names[_chain(steps, number)] = None
                case "LOAD_NAME" if step.argval not in own:
                    names[_chain(steps, number)] = None
                case "LOAD_DEREF" | "LOAD_CLASSDEREF" | "LOAD_FROM_DICT_OR_DEREF" if step.argval in code.co_freevars:
                    cells[_chain(steps, number)] = None
                case "STORE_GLOBAL" | "DELETE_GLOBAL":
                    assigned.add(step.argval)
                case "IMPORT_NAME":
                    level, taken = (_constant(steps, number - back) for back in (2, 1))
                    imports[(step.argval, level if type(level) is int else 0, taken or ())] = None
                case _:
                    pass
    return _Reads(tuple(names), tuple(cells), tuple(imports), frozenset(assigned))


def _chain(steps: list[dis.Instruction], number: int) -> _Chain:
    found = [steps[number].argval]
    for step in steps[number + 1 :]:
        if step.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        found.append(step.argval)
    return tuple(found)


def _constant(steps: list[dis.Instruction], number: int) -> Any:
    return steps[number].argval if number >= 0 else None


_TEXTS: WeakKeyDictionary[FunctionType, tuple[CodeType, str]] = WeakKeyDictionary()


def _text_of(function: FunctionType) -> str:
    """The function's own text; made once as long as its code stays the same."""
    code = function.__code__
    known = _TEXTS.get(function)
    if known is None or known[0] is not code:
        node = _node_of(code, function.__globals__)
        known = (code, _listing(code) if node is None else _plain_source(node, function.__globals__))
        _TEXTS[function] = known
    return known[1]


class _SourceFile:
    """A file's text, parsed, with the code that it compiles to."""

    def __init__(self, text: str, filename: str, flags: int) -> None:
        self.codes: dict[tuple[int, str], list[CodeType]] = {}
        self.nodes: dict[tuple[int, str], list[ast.AST]] = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # whoever imported the file has seen them
                tree = ast.parse(text)
                code = compile(tree, filename, "exec", flags=flags, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        todo = [code]
        while todo:
            each = todo.pop()
            self.codes.setdefault((each.co_firstlineno, each.co_qualname), []).append(each)
            todo += [inside for inside in each.co_consts if type(inside) is CodeType]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                self.nodes.setdefault((first, node.name), []).append(node)
            elif isinstance(node, ast.Lambda):
                self.nodes.setdefault((node.lineno, "<lambda>"), []).append(node)

    def node(self, code: CodeType) -> ast.AST | None:
        """Where in the file `code` is defined, if the file is what it was compiled from."""
        nodes = self.nodes.get((code.co_firstlineno, code.co_name), [])
        codes = self.codes.get((code.co_firstlineno, code.co_qualname), [])
        return nodes[0] if len(nodes) == 1 and code in codes else None


_source_file = functools.lru_cache(maxsize=256)(_SourceFile)  # a notebook has a new one each time a cell runs


def _node_of(code: CodeType, names: dict[str, Any]) -> ast.AST | None:
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, names))
    return _source_file(text, code.co_filename, code.co_flags & _FUTURES).node(code)


def _plain_source(node: ast.AST, names: Mapping[str, Any] | None = None) -> str:
    """The text of `node` without comments, blank lines, docstrings, and without decorators of Dagy's."""
    node = ast.parse(ast.unparse(node))  # a copy
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            first = each.body[0] if each.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                each.body[:1] = [] if len(each.body) > 1 or isinstance(each, ast.Module) else [ast.Pass()]
    for each in node.body:
        if names is not None and isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            each.decorator_list = [one for one in each.decorator_list if not _is_ours(one, names)]
    return ast.unparse(node)


def _is_ours(decorator: ast.expr, names: Mapping[str, Any]) -> bool:
    while isinstance(decorator, ast.Call | ast.Attribute):
        decorator = decorator.func if isinstance(decorator, ast.Call) else decorator.value
    if not isinstance(decorator, ast.Name):
        return False
    found = names.get(decorator.id)
    module = found.__name__ if type(found) is ModuleType else getattr(type(found), "__module__", "")
    if type(found) is FunctionType or issubclass(type(found), type):
        module = found.__module__
    return str(module).partition(".")[0] == "dagy"


def _listing(code: CodeType) -> str:
    """The instructions of `code` and of the code inside it, wherever in a file it stood."""
    lines = [f"{code.co_name}({', '.join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])})"]
    for step in dis.get_instructions(code):
        if type(step.argval) is CodeType:
            inside = _listing(step.argval)
            lines += [f"  {step.opname}", *(f"  {line}" for line in inside.splitlines())]
        elif step.opcode in dis.hasconst:
            told = shown(step.argval) if type(step.argval) in _SHOWN else type(step.argval).__name__
            lines.append(f"  {step.opname} {told} [{(identity(step.argval).digest or '')[:12]}]")
        elif step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            lines.append(f"  {step.opname} to {step.argval}")
        elif step.opname not in ("EXTENDED_ARG", "CACHE"):
            lines.append(f"  {step.opname} {step.argval if step.argval is not None else ''}".rstrip())
    return "\n".join(lines)


def _names_in(annotation: str) -> list[str]:
    try:
        tree = ast.parse(annotation, mode="eval")
    except (SyntaxError, ValueError):
        return []
    return [each.id for each in ast.walk(tree) if isinstance(each, ast.Name)]


# -- objects -----------------------------------------------------------------------------------------------------------


def _unwrapped(function: Any) -> Any:
    """The function itself, when it is given as a task or a flow."""
    while type(function).__module__.partition(".")[0] == "dagy" and "__wrapped__" in _attributes(function):
        function = _attributes(function)["__wrapped__"]
    return function


def _attributes(value: Any) -> Mapping[str, Any]:
    """What an object holds, without asking any code of its own."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _cells(function: FunctionType) -> list[tuple[str, Any]]:
    """The variables of the functions around it that have a value."""
    found = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:
            continue
    return [(name, value) for name, value in found if name != "__class__"]


def _defaults(function: FunctionType) -> list[tuple[str, Any]]:
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    return [*zip(names[len(names) - len(values) :], values, strict=True), *(function.__kwdefaults__ or {}).items()]


def _dataclass_plan(found: Any) -> list[object]:
    """What `@dataclass` was told: of the class, and of each field."""
    options = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
    told = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only")
    params = vars(found).get("__dataclass_params__")
    return [
        [getattr(params, name, None) for name in options],
        *([getattr(field, name) for name in told] for field in dataclasses.fields(found)),
    ]


def _is_sunder(name: str, found: type) -> bool:
    """Whether an enum keeps its own books under that name."""
    return issubclass(found, enum.Enum) and name.startswith("_") and name.endswith("_") and name != "__init__"


# -- where things come from --------------------------------------------------------------------------------------------


def _origin_of(value: Any) -> _Origin:
    """Where a function or a class comes from."""
    module = value.__module__
    if type(module) is not str:
        return "own"
    if type(value) is FunctionType and _is_generated(value.__code__):
        return "python"
    if type(value) is FunctionType and not value.__code__.co_filename.startswith("<"):
        is_ours = module.partition(".")[0] in _OURS
        return "dagy" if is_ours else _origin_of_file(value.__code__.co_filename)
    return _origin_of_module(module)


def _is_generated(code: CodeType) -> bool:
    """Whether `dataclass` or attrs made it from what the class says, which is told by itself."""
    return code.co_qualname.startswith("__create_fn__.") or code.co_filename.startswith("<attrs generated")


def _origin_of_module(name: str, names: Mapping[str, Any] | None = None) -> _Origin:
    top = name.partition(".")[0]
    if top in _OURS:
        return "dagy"
    if name == "__main__":
        return "own"
    if names is None:
        module = sys.modules.get(name)
        names = vars(module) if type(module) is ModuleType else {}
    filename = names.get("__file__") or next(iter(names.get("__path__", ())), None)
    if not isinstance(filename, str):
        if top in sys.stdlib_module_names or top == "builtins":
            return "python"
        filename = _file_of_module(name) or _file_of_module(top)
    return "own" if filename is None else _origin_of_file(filename)


@functools.lru_cache(maxsize=4096)
def _origin_of_file(filename: str) -> _Origin:
    if f"{os.sep}site-packages{os.sep}" in filename or f"{os.sep}dist-packages{os.sep}" in filename:
        return "installed"
    return "python" if filename.startswith(_STANDARD) else "own"


def _file_of_module(name: str) -> str | None:
    """The source of a module, found without importing it; None if there is none."""
    loaded = sys.modules.get(name)
    filename = vars(loaded).get("__file__") if type(loaded) is ModuleType else None
    if isinstance(filename, str):
        return filename
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if not rest:
        return spec.origin
    for folder in spec.submodule_search_locations or ():
        path = os.path.join(folder, *rest)  # noqa: PTH118 (joined with what import itself works with)
        for candidate in (f"{path}.py", os.path.join(path, "__init__.py")):  # noqa: PTH118
            if os.path.isfile(candidate):  # noqa: PTH113
                return candidate
    return None


def _absolute(module: str, level: int, package: object) -> str:
    """The whole name of a module that is imported with `level` leading dots."""
    if not level or type(package) is not str:
        return module
    folders = package.split(".")
    return ".".join(filter(None, [*folders[: len(folders) - level + 1], module]))


@functools.cache
def _distributions(top: str) -> tuple[tuple[str, str], ...]:
    """The distributions that hold the package `top`, each with its version."""
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    try:
        return ((top, version(top)),)
    except PackageNotFoundError:
        found = sorted(set(packages_distributions().get(top, ())))
    return tuple((name, version(name)) for name in found) or ((top, "of unknown version"),)
