"""Python code as a node: what somebody writes in a field runs, with all that they may do. It is no sandbox."""

from __future__ import annotations

import ast
import functools
import inspect
import keyword
import linecache
import sys
import traceback
import zlib
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

from dagy.errors import CodeFailedError, DagyError, sentence, shown
from dagy.nodes.connectors import ConnectionCardinality
from dagy.nodes.execution import ExecutionContext
from dagy.nodes.library.descriptions import LibraryNode, fault, field, inbound, json_field, outbound
from dagy.nodes.metadata import ConfigFieldType, NodeCategory, NodeMetadata

_NAMES = ("value", "values", "parameters", "logger")


class PythonCode(LibraryNode):
    """What a few lines of Python make of what came in."""

    about = NodeMetadata(
        "python_code",
        "Python code",
        "Runs the body of a function. It gives what it returns, or else the value of its last line. The "
        "code can do all that you can: run none that you do not trust.",
        NodeCategory.CODE,
        tags=("script", "function", "expression"),
    )
    ports = (
        inbound("value", description="'value' in the code, None if none."),
        inbound("values", cardinality=ConnectionCardinality.ZERO_OR_MANY, description="A list."),
        outbound("result"),
    )
    fields = (
        field(
            "code",
            "The body of a function, or one expression.",
            ConfigFieldType.CODE,
            required=True,
            language="python",
            placeholder="return [each for each in value if each > limit]",
        ),
        json_field(
            "arguments",
            "An object: its fields are names in the code. There are also " + ", ".join(_NAMES) + ".",
            label="More values",
        ),
    )

    def __init__(self, /, **config: Any) -> None:
        super().__init__(**config)
        if isinstance(self.config["code"], str):  # and not an output of a task, which is there when the flow runs
            _function(self.config["code"], _NAMES)

    @classmethod
    def requirements(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """The modules that the code imports, by their first name, without Python's own."""
        imported = set()
        for each in ast.walk(ast.parse(config.get("code", ""))):
            if isinstance(each, ast.Import):
                imported |= {name.name.partition(".")[0] for name in each.names}
            elif isinstance(each, ast.ImportFrom):
                imported.add((each.module or "").partition(".")[0])
        return sorted(imported - sys.stdlib_module_names - {"dagy", ""})

    def execute(self, context: ExecutionContext) -> object:
        arguments = _checked(context.config["arguments"] or {})
        given = {
            "value": context.get_upstream_data("value", default=None),
            "values": list(context.get_upstream_data("values", default=())),
            "parameters": context.parameters,
            "logger": context.logger,
            **arguments,
        }
        code = context.config["code"]
        function = _function(code, tuple(given))
        try:
            return function(**given)
        except DagyError:  # such as a SkipTask
            raise
        except Exception as error:
            file, trace = function.__code__.co_filename, traceback.extract_tb(error.__traceback__)
            line = [each.lineno for each in trace if each.filename == file][-1]
            text = code.splitlines()[(line or 1) - 1].strip()
            raise CodeFailedError(f"line {line} of the code, {text!r}: {sentence(error)}") from error


def _checked(arguments: object) -> Mapping[str, Any]:
    if not isinstance(arguments, Mapping):
        raise fault("arguments", f"'arguments' is {shown(arguments)}; give an object, whose fields' names the code has")
    for name in arguments:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise fault("arguments", f"{name!r} can't be a name in the code")
    return arguments


@functools.lru_cache(maxsize=128)
def _function(code: str, names: tuple[str, ...]) -> FunctionType:
    """The function with this body and these parameters; `NodeConfigError` with the line when it is written wrong."""
    file = f"<python_code {zlib.crc32(code.encode()):x}>"
    try:
        body = ast.parse(code, file).body
        if body and isinstance(body[-1], ast.Expr):
            body[-1] = ast.copy_location(ast.Return(body[-1].value), body[-1])
        module = ast.parse(f"def code({', '.join(names)}): ...", file)
        definition = module.body[0]
        assert isinstance(definition, ast.FunctionDef)
        definition.body = body or definition.body
        compiled = compile(module, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = (
            f"line {error.lineno} of the code: {error.msg}" if isinstance(error, SyntaxError) else f"the code: {error}"
        )
        raise fault("code", line) from error
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)  # for tracebacks
    space: dict[str, Any] = {"__name__": "python_code"}
    exec(compiled, space)
    function: FunctionType = space["code"]
    if function.__code__.co_flags & inspect.CO_GENERATOR:
        raise fault("code", "the code has a 'yield', and so no value; return a list")
    return function
