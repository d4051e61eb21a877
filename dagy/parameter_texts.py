"""What `--param NAME=VALUE` means for a deployed flow, whose code is not here: its annotations are, as text.

A value is read as `dagy run FILE` reads it, where the annotation says what it is with the names below. Of any other the
value is JSON where it is JSON, and text otherwise; whoever runs the flow checks it again.
"""

from __future__ import annotations

import ast
import datetime
import decimal
import inspect
import pathlib
import re
import typing
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagy.parameters import Parameters
from dagy.spec import FlowSpec, Json, ParameterSpec
from dagy.values import is_json

_NAMES: Mapping[str, Any] = {
    **{each.__name__: each for each in (str, int, float, bool, bytes, list, dict, tuple, set, frozenset)},
    **{each: getattr(typing, each) for each in ("Any", "Literal", "Optional", "Union", "List", "Dict", "Annotated")},
    **{each.__name__: each for each in (datetime.date, datetime.datetime, datetime.time, datetime.timedelta)},
    "Decimal": decimal.Decimal,
    "Path": pathlib.Path,
    "UUID": uuid.UUID,
    "None": None,
}
_BUILT_IN = {
    "str",
    "int",
    "float",
    "bool",
    "list",
    "dict",
    "None",
    "Optional",
    "Union",
    "Literal",
    "List",
    "Dict",
    "typing",
}
_WORD = re.compile(r"[^\W\d]\w*")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_MODULES = {"typing", "datetime", "decimal", "pathlib", "uuid"}
_LONGEST = 500  # characters of an annotation
_EMPTY = inspect.Parameter.empty


def values_of(spec: FlowSpec, pairs: Iterable[str]) -> dict[str, Json]:
    """The parameters that `pairs` like "url=example.com" give, as JSON.

    Raises `ParameterError` for what is no pair, is given twice, is no parameter of the flow or does not fit it.
    """
    parameters = _parameters(spec)
    texts = parameters.named_texts(pairs)
    values = {name: parameters.parse_text(name, text) for name, text in texts.items()}
    return {name: value if is_json(value) else texts[name] for name, value in values.items()}


def check_values(of: str, annotations: Mapping[str, str], values: Mapping[str, Json]) -> None:
    """Raise `ParameterError` for a value that can't be what its annotation says, as far as that is built into Python.

    `annotations` and `values` are by parameter name; messages call the one that takes them `of`. Any other annotation
    may mean something else where the flow is, and is passed over.
    """
    plain = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=_type(text))
        for name, text in annotations.items()
        if name in values and name.isidentifier() and set(_WORD.findall(_QUOTED.sub("", text))) <= _BUILT_IN
    ]
    if plain:
        _parameters_of(of, [each for each in plain if each.annotation is not Any]).check(dict(values))


def _parameters(spec: FlowSpec) -> Parameters:
    """The flow's parameters, as a function that had them would show them."""
    return _parameters_of(f"flow {spec.name!r}", [_parameter(each) for each in spec.parameters])


def _parameters_of(of: str, parameters: Sequence[inspect.Parameter]) -> Parameters:
    def flow() -> None: ...

    flow.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as inspect reads it
    return Parameters(flow, of=of)


def _parameter(spec: ParameterSpec) -> inspect.Parameter:
    default = _EMPTY if spec.required else spec.default
    return inspect.Parameter(
        spec.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_type(spec.annotation)
    )


def _type(annotation: str) -> Any:
    """The type that an annotation's text names; `Any` for one that is not made of `_NAMES` alone."""
    if annotation.startswith("Static[") and annotation.endswith("]"):
        annotation = annotation.removeprefix("Static[").removesuffix("]")
    try:
        if len(annotation) > _LONGEST:
            return Any
        found = _evaluated(ast.parse(annotation, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, LookupError, RecursionError):
        return Any
    return Any if isinstance(found, str) else found


def _evaluated(node: ast.expr) -> Any:
    """The value of an expression of names, brackets, `|` and constants; `LookupError` for anything else."""
    match node:
        case ast.Name(id=name):
            return _NAMES[name]
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            return _NAMES[name]
        case ast.Constant(value=None | str() | int() | bool() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            return -value
        case ast.Tuple(elts=elements):
            return tuple(_evaluated(each) for each in elements)
        case ast.List(elts=elements):
            return [_evaluated(each) for each in elements]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return typing.Union[_evaluated(left), _evaluated(right)]  # noqa: UP007 (None | None is no type)
        case ast.Subscript(value=value, slice=index):
            return _evaluated(value)[_evaluated(index)]
        case _:
            raise LookupError(type(node).__name__)
