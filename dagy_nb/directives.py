"""The first line of a cell: `%%dagy_task NAME --retries 2` and its two other spellings.

    %%dagy_task NAME [options]     the cell magic
    %dagy_task NAME [options]      the line magic as the first line, which linters and formatters read as a cell of code
    #| dagy_task NAME [options]    a comment, which leaves the cell plain Python

The same holds for `dagy_flow` and `dagy_node`. Words are split as a shell would, and ` # a comment` may end the line.

`#| dagy_export` leaves a cell an ordinary one, and keeps all of it when the notebook is exported. `#| dagy_try` keeps a
cell out of every flow and every export, whatever names it binds: it is there to try something by hand.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias, TypeVar, cast

from dagy.errors import DefinitionError, did_you_mean
from dagy.executors import EXECUTORS
from dagy.nodes import ConfigFieldType, DataType, NodeCategory, NodeConfigField, SelectOption

_FIRST_LINE = re.compile(r"(?:%%|%|#\|[ \t]*)dagy_(task|flow|node)(?!\w)(.*)")
# A comment much like one.
_MEANT = re.compile(r"\s*#\s*\|?\s*%*dagy[-_ ]?(task|flow|node|export)s?(?!\w)", re.IGNORECASE)
_MARK_LINE = re.compile(r"#\|[ \t]*(dagy_export|dagy_try)(?!\w)(.*)")
_FIELD = re.compile(r"(?P<id>[^\W\d]\w*)(?::(?P<type>\w+)(?:\((?P<more>[^)]*)\))?)?(?:=(?P<default>.*))?", re.DOTALL)
_CONNECTOR = re.compile(r"(?P<id>[^\W\d]\w*)(?::(?P<types>\w+(?:\|\w+)*))?")

T = TypeVar("T")
DirectiveKind: TypeAlias = Literal["task", "flow", "node"]


@dataclass(frozen=True, slots=True)
class TaskDirective:
    """What a task cell's first line says; `options` are keyword arguments of `@task`, only those that were given."""

    name: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    help_wanted: bool = False  # `-h` was given: nothing is to be defined


@dataclass(frozen=True, slots=True)
class FlowDirective:
    """What a flow cell's first line says; `options` are keyword arguments of `@flow`, only those that were given."""

    name: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    help_wanted: bool = False  # `-h` was given: nothing is to be defined


@dataclass(frozen=True, slots=True)
class NodeDirective:
    """What a node cell's first line says; `options` are keyword arguments of `@node`, only those that were given."""

    name: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    takes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # {connector: its data types, if it says any}
    gives: Mapping[str, tuple[str, ...]] | None = None  # the same; None: the cell's text tells
    fields: tuple[NodeConfigField, ...] = ()
    help_wanted: bool = False  # `-h` was given: nothing is to be defined

    @property
    def is_bare(self) -> bool:
        """Does it say nothing, because the cell says all of it?"""
        return self == NodeDirective()


@dataclass(frozen=True, slots=True)
class ExportDirective:
    """`#| dagy_export`: an ordinary cell, all of which is exported, whether a flow needs it or not."""


@dataclass(frozen=True, slots=True)
class TryDirective:
    """`#| dagy_try`: a cell that tries something by hand, whose names no flow and no export sees."""


Directive: TypeAlias = TaskDirective | FlowDirective | NodeDirective | ExportDirective | TryDirective


def find_directive(source: str) -> tuple[Directive, int] | None:
    """The directive that a cell's source starts with and the index of its line (blank lines may come first).

    None when the cell has no directive. Raises `DefinitionError` for one that is written wrong.
    """
    for index, line in enumerate(cell_lines(source)):
        if not line.strip():
            continue
        if written := written_directive(line):
            kind, rest = written
            return _PARSERS[kind](rest), index
        if found := _MARK_LINE.match(line):
            if words := split_line(found[2]):
                raise DefinitionError(f"#| {found[1]} takes nothing else, and can't place {words[0]!r}")
            return (ExportDirective() if found[1] == "dagy_export" else TryDirective()), index
        return None
    return None


def written_directive(line: str) -> tuple[DirectiveKind, str] | None:
    """What a line in one of the three spellings makes its cell, and all that follows; None for any other line."""
    found = _FIRST_LINE.match(line)
    return None if found is None else (cast(DirectiveKind, found[1]), found[2])


def near_miss(source: str) -> str | None:
    """What to tell of a comment in an ordinary cell that was meant to make it a task; None when there is none."""
    is_first = True
    for number, line in enumerate(cell_lines(source), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            return None
        meant = _MEANT.match(line)
        if meant is not None and not (is_first and _FIRST_LINE.match(line)):
            return f"line {number}, {line.strip()!r}, makes no task: write #| dagy_{meant[1].lower()} as the first line"
        is_first = is_first and not line.strip()
    return None


def cell_lines(source: str) -> list[str]:
    """The lines of a cell's text as Python counts them: a form feed ends none, a lone carriage return does."""
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def option_names(kind: DirectiveKind) -> tuple[str, ...]:
    """The options of `%%dagy_task`, `%%dagy_flow` or `%%dagy_node`, such as "--retries", in the order of the help."""
    parser = {"task": _task_parser, "flow": _flow_parser, "node": _node_parser}[kind]()
    return tuple(name for name in parser.option_names if name.startswith("--"))


def parse_task(line: str) -> TaskDirective:
    """What follows `%%dagy_task` on its line. Raises `DefinitionError` for an unknown option or a bad value."""
    name, options, help_wanted = _parse(_task_parser(), line)
    return TaskDirective(name, options, help_wanted)


def parse_flow(line: str) -> FlowDirective:
    """What follows `%%dagy_flow` on its line. Raises `DefinitionError` for an unknown option or a bad value."""
    name, options, help_wanted = _parse(_flow_parser(), line)
    return FlowDirective(name, options, help_wanted)


def parse_node(line: str) -> NodeDirective:
    """What follows `%%dagy_node` on its line. Raises `DefinitionError` for an unknown option or a bad value."""
    name, options, help_wanted = _parse(_node_parser(), line)
    takes = _by_id("--takes", options.pop("takes", ()))
    gives = _by_id("--gives", options.pop("gives")) if "gives" in options else None
    fields = tuple(_by_id("--config", [(each.id, each) for each in options.pop("config", ())]).values())
    for each in fields:
        if each.id in takes:
            raise DefinitionError(f"%%dagy_node: {each.id!r} comes in (--takes) or is set (--config), not both")
    return NodeDirective(name, options, takes, gives, fields, help_wanted)


def task_help() -> str:
    """How `%%dagy_task` is used, as `-h` and the magic's docstring show it."""
    return _task_parser().format_help()


def flow_help() -> str:
    """How `%%dagy_flow` is used, as `-h` and the magic's docstring show it."""
    return _flow_parser().format_help()


def node_help() -> str:
    """How `%%dagy_node` is used, as `-h` and the magic's docstring show it."""
    return _node_parser().format_help()


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises our error, never exits, and looks the same on every terminal."""

    def __init__(self, directive: str, description: str) -> None:
        super().__init__(
            prog=directive,
            description=description,
            add_help=False,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=100, max_help_position=36),
        )
        self.color = False  # Python 3.14 colours help by what the terminal can do

    def error(self, message: str) -> NoReturn:
        raise DefinitionError(f"{self.prog}: {message}")

    @property
    def option_names(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]


@functools.cache
def _task_parser() -> _Parser:
    parser = _Parser("%%dagy_task", _TASK_DESCRIPTION)
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="the task's name; else the function's, or the last name the cell binds")
    _add_retries(parser)
    add(
        "--retry-jitter",
        dest="retry_jitter_factor",
        type=_share,
        metavar="F",
        help="lengthen each wait by a random share of itself, up to F (0 to 1)",
    )
    add(
        "--timeout", dest="timeout_seconds", type=_duration, metavar="SECONDS", help="stop an attempt that takes longer"
    )
    add("--isolation", choices=["thread", "process"], help="where it runs; only a process can be stopped for sure")
    add("--cache", action="store_true", help="use its result again while its code and inputs are the same")
    add("--cache-for", dest="cache", type=_duration, metavar="SECONDS", help="the same, for so many seconds")
    add("--concurrency", dest="concurrency_limit", type=_whole(1), metavar="N", help="run at most N of them at once")
    _add_executor(parser, "task")
    add("--description", metavar="TEXT", help="what the task does, in quotes")
    add("--no-validate", dest="validate_parameters", action="store_false", help="do not check the inputs' types")
    add("-h", "--help", dest="help_wanted", action="store_true", help="show this text")
    return parser


@functools.cache
def _flow_parser() -> _Parser:
    parser = _Parser("%%dagy_flow", _FLOW_DESCRIPTION)
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="the flow's name; else the function's, or the notebook's")
    add("--version", metavar="V", help="the flow's version, such as 1.2.0")
    _add_retries(parser)
    add("--timeout", dest="timeout_seconds", type=_duration, metavar="SECONDS", help="stop a run that takes longer")
    add("--no-fail-fast", dest="fail_fast", action="store_false", help="a failure does not end the run")
    _add_executor(parser, "flow")
    add("--description", metavar="TEXT", help="what the flow does, in quotes")
    add("-h", "--help", dest="help_wanted", action="store_true", help="show this text")
    return parser


@functools.cache
def _node_parser() -> _Parser:
    parser = _Parser("%%dagy_node", _NODE_DESCRIPTION)
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="what the node is called; else the function's or the class's name")
    add("--type", dest="node_type", metavar="TYPE", help="the name it is registered under (default: NAME)")
    add("--label", metavar="TEXT", help="what people read of it")
    add("--category", choices=[str(each) for each in NodeCategory], metavar="CATEGORY", help="where it is listed")
    add("--description", metavar="TEXT", help="what the node does, in quotes")
    add(
        "--config",
        action="append",
        type=_config_field,
        metavar="FIELD",
        help="a name that is set where the node is used, as NAME:TYPE=DEFAULT: factor:number=2, "
        "n:integer(1..9), how:select(sum|mean)=sum; the types are " + ", ".join(map(str, ConfigFieldType)),
    )
    add(
        "--takes",
        action="extend",
        type=_connector_list,
        metavar="NAME[:TYPE],...",
        help="what comes in, where the text does not tell; types such as dataframe, string, json",
    )
    add("--gives", action="extend", type=_connector_list, metavar="NAME[:TYPE],...", help="what goes out, the same way")
    _add_retries(parser)
    add(
        "--timeout", dest="timeout_seconds", type=_duration, metavar="SECONDS", help="stop an attempt that takes longer"
    )
    add("-h", "--help", dest="help_wanted", action="store_true", help="show this text")
    return parser


def _add_executor(parser: _Parser, kind: str) -> None:
    add = parser.add_argument
    add("--executor", choices=EXECUTORS, metavar="NAME", help=f"where a deployed {kind} runs: {', '.join(EXECUTORS)}")
    add("--memory", dest="memory_mb", type=_whole(1), metavar="MB", help="how much memory it needs there")


def _add_retries(parser: _Parser) -> None:
    parser.add_argument("--retries", type=_whole(0), metavar="N", help="try up to N more times when it fails")
    parser.add_argument(
        "--retry-delay",
        dest="retry_delay_seconds",
        type=_delays,
        metavar="SECONDS[,SECONDS...]",
        help="wait this long before another try; of several the last one repeats",
    )


def _parse(parser: _Parser, line: str) -> tuple[str | None, dict[str, Any], bool]:
    try:
        words = split_line(line.rstrip().removesuffix(";"))  # which only silences the output
    except ValueError as error:
        raise DefinitionError(f"{parser.prog}: can't read {line.strip()!r}: {error}".lower()) from error
    known = parser.option_names
    for word in words:
        option = word.partition("=")[0]
        if word.startswith("--") and option not in known:
            options = ", ".join(each for each in known if each.startswith("--"))
            raise DefinitionError(
                f"{parser.prog} has no option {option!r}{did_you_mean(option, known)}; its options: {options}"
            )
    given, extra = parser.parse_known_args(words)
    if extra:
        raise DefinitionError(
            f"{parser.prog} takes one NAME and options, and can't place {extra[0]!r}; put a text with spaces in quotes"
        )
    values = vars(given)
    name = values.pop("name", None)
    help_wanted = values.pop("help_wanted", False)
    return name, values, help_wanted


def split_line(line: str) -> list[str]:
    """The words of a line as a shell splits them, without ` # a comment` at its end."""
    for mark in re.finditer(r"(?:^|(?<=\s))#", line):
        try:
            return shlex.split(line[: mark.start()])
        except ValueError:  # the mark is inside quotes
            continue
    return shlex.split(line)


def _by_id(option: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for each, value in pairs:
        if each in found:
            raise DefinitionError(f"%%dagy_node: {option} {each!r} is given twice")
        found[each] = value
    return found


def _connector_list(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """`table:dataframe,other` as the connectors' ids, each with its types."""
    found = []
    for each in filter(None, (each.strip() for each in text.split(","))):
        matched = _CONNECTOR.fullmatch(each)
        if matched is None:
            raise argparse.ArgumentTypeError(f"{each!r} is not of the form NAME or NAME:TYPE, such as table:dataframe")
        types = tuple(matched["types"].lower().split("|")) if matched["types"] else ()
        for one in types:
            _known("data type", one, DataType)
        found.append((matched["id"], types))
    return found


def _config_field(text: str) -> NodeConfigField:
    """`factor:number(0..10)=2` as a field."""
    matched = _FIELD.fullmatch(text)
    if matched is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME:TYPE=DEFAULT, such as factor:number=2")
    given, more = matched["default"], matched["more"] or ""
    kind = ConfigFieldType(_known("field type", (matched["type"] or _guessed(given)).lower(), ConfigFieldType))
    settings: dict[str, Any] = {}
    if kind in (ConfigFieldType.SELECT, ConfigFieldType.MULTI_SELECT):
        if not more:
            raise argparse.ArgumentTypeError(f"{text!r} has no choices; write for example how:{kind}(sum|mean)=sum")
        settings["options"] = tuple(SelectOption(each.strip()) for each in more.split("|"))
    elif more:
        low, dots, high = more.partition("..")
        if kind not in (ConfigFieldType.NUMBER, ConfigFieldType.INTEGER) or not dots:
            raise argparse.ArgumentTypeError(f"{text!r}: {kind} can't have ({more}); bounds are n:integer(1..9)")
        settings |= {"minimum": _number(low) if low else None, "maximum": _number(high) if high else None}
    if kind is ConfigFieldType.SECRET and given is not None:
        raise argparse.ArgumentTypeError(f"{matched['id']!r} is a secret, whose value never stands in a notebook")
    default = None if given is None else _default(kind, given)
    return NodeConfigField(matched["id"], type=kind, required=given is None, default=default, **settings)


def _known(what: str, text: str, values: Iterable[str]) -> str:
    """`text`, if it is one of `values`."""
    known = [str(each) for each in values]
    if text not in known:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no {what}{did_you_mean(text, known)}; there are {', '.join(known)}"
        )
    return text


def _guessed(default: str | None) -> str:
    """The type of a field of which only the default is known."""
    if default in ("true", "false"):
        return "boolean"
    try:
        return "string" if default is None or not math.isfinite(float(default)) else "number"
    except ValueError:
        return "string"


def _default(kind: ConfigFieldType, text: str) -> Any:
    match kind:
        case ConfigFieldType.NUMBER:
            return _number(text)
        case ConfigFieldType.INTEGER:
            number = _number(text)
            if not isinstance(number, int):
                raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
            return number
        case ConfigFieldType.BOOLEAN:
            return _known("boolean", text.lower(), ("true", "false")) == "true"
        case ConfigFieldType.JSON:
            try:
                return json.loads(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
        case ConfigFieldType.MULTI_SELECT:
            return [each.strip() for each in text.split("|")]
        case _:
            return text


def _number(text: str) -> int | float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(value) if value.is_integer() else value


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return int(text)

    return whole


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(value) if value.is_integer() else value


def _duration(text: str) -> float:
    value = _seconds(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _delays(text: str) -> float | list[float]:
    values = [_seconds(each.strip()) for each in text.split(",")]
    return values if len(values) > 1 else values[0]


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


_TASK_DESCRIPTION = """\
Make this cell a task.

The cell holds one function, which becomes the task and whose parameters are filled by the tasks of these names,
or plain statements: what they read from other task cells comes in, what others read of theirs goes out."""

_FLOW_DESCRIPTION = """\
Make this cell a flow: one function, or plain statements, that call tasks.

A notebook with task cells and no flow needs none: the task cells joined by their names are the flow."""

_NODE_DESCRIPTION = """\
Make this cell a node: a reusable step with typed connectors, a configuration and a name.

The cell holds one function, one FlowNode class, or plain statements. Of statements, the names that they read come in
(functions, imports and CAPITALS of other cells stay what they are), those named by --config are set where the node is
used, and the names that are bound last go out. Statements do not run here: NAME(factor=3)(table) runs the node."""

_PARSERS: Mapping[DirectiveKind, Callable[[str], Directive]] = {
    "task": parse_task,
    "flow": parse_flow,
    "node": parse_node,
}
