"""What may come next on a line of ours: options, their choices, and the names of flows, tasks, parameters and runs.

Only the text before the cursor is looked at, and only on our own lines; anywhere else the answer is None, and others
complete. What the notebook knows is asked for when it is needed, and nothing is executed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagy.executors import EXECUTORS
from dagy.nodes import NodeCategory
from dagy_nb.directives import DirectiveKind, option_names, written_directive
from dagy_nb.lines import LineParser, parsers

_LINE = re.compile(r"\s*(?:[^\W\d][\w ,.\[\]'\"]*=\s*)?%(dagy\w*)[ \t]+(.*)")

_CHOICES: Mapping[str, Sequence[str]] = {
    "--isolation": ("thread", "process"),
    "--executor": EXECUTORS,
    "--category": [str(each) for each in NodeCategory],
}
_REPEATED = frozenset(
    {"-p", "--param", "--tag", "--include", "--config", "--takes", "--gives"}
)  # options that may be given several times
_FLAGS = frozenset({"--cache", "--no-validate", "-h", "--help"})  # options of directives that take no value


@dataclass(frozen=True, slots=True)
class Known:
    """What the notebook can be asked for."""

    flows: Callable[[], Iterable[str]]
    tasks: Callable[[], Iterable[str]]
    parameters: Callable[[str | None], Iterable[str]]  # of that flow, or of the only one
    runs: Callable[[], Iterable[str]]
    deployments: Callable[[], Iterable[str]]
    nodes: Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Completions:
    """What may stand for `fragment`, the text right before the cursor; no text: Dagy knows that nothing may."""

    fragment: str
    texts: tuple[str, ...]


def complete(source: str, line: int, column: int, known: Known) -> Completions | None:
    """What may come at the cursor, which is in line `line` (from 0) of the cell, before its character `column`.

    None where the line is not ours, or where others may know more, as of files and of the notebook's variables.
    """
    lines = source.split("\n")
    before = lines[line][:column]
    if not "".join(lines[:line]).strip():
        directive = written_directive(before)
        if directive is not None and directive[1][:1].isspace():
            return _after_directive(*directive)
    found = _LINE.match(before)
    parser = None if found is None else parsers().get(found[1])
    return None if found is None or parser is None else _after_magic(parser, found[2], known)


def _after_directive(kind: DirectiveKind, text: str) -> Completions | None:
    words, fragment = _split(text)
    options = option_names(kind)
    last = words[-1] if words else ""
    option, sign, value = fragment.partition("=")
    if sign and option in _CHOICES:
        return _fitting(value, _CHOICES[option])
    if last in _CHOICES:
        return _fitting(fragment, _CHOICES[last])
    if last in options and last not in _FLAGS:
        return None  # any value may come
    return _options(fragment, options, words)


def _after_magic(parser: LineParser, text: str, known: Known) -> Completions | None:
    words, fragment = _split(text)
    by_option = {name: each for each in parser.arguments for name in each.option_strings}
    given: list[str] = []  # in place of positional arguments
    waiting: argparse.Action | None = None  # the option whose value comes next
    for word in words:
        if waiting is not None:
            waiting = None
        elif word.startswith("-"):
            option, sign, _ = word.partition("=")
            found = by_option.get(option)
            waiting = found if found is not None and found.nargs != 0 and not sign else None
        else:
            given.append(word)
    option, sign, value = fragment.partition("=")
    if waiting is None and sign and option in by_option:
        return _values(by_option[option], value, given, known)
    if waiting is not None:
        return _values(waiting, fragment, given, known)
    positional = [each for each in parser.arguments if not each.option_strings]
    if not fragment.startswith("-") and len(given) < len(positional):
        return _values(positional[len(given)], fragment, given, known)
    return _options(fragment, parser.option_names, words)


def _values(argument: argparse.Action, fragment: str, given: Sequence[str], known: Known) -> Completions | None:
    """What an argument may be: the word that stands for it in the help says what it is."""
    if argument.choices is not None:
        return _fitting(fragment, [str(each) for each in argument.choices])
    match argument.metavar:
        case "FLOW":
            return _fitting(fragment, known.flows())
        case "TASK":
            return _fitting(fragment, known.tasks())
        case "DEPLOYMENT":
            return _fitting(fragment, known.deployments())
        case "NODE":
            return _fitting(fragment, known.nodes())
        case "RUN":
            return _fitting(fragment, known.runs())
        case "NAME=VALUE" if "=" not in fragment:
            return _fitting(fragment, [f"{each}=" for each in known.parameters(given[0] if given else None)])
        case "N":
            return Completions(fragment, ())
    return None


def _options(fragment: str, names: Iterable[str], words: Sequence[str]) -> Completions | None:
    if fragment and not fragment.startswith("-"):
        return None
    given = {each.partition("=")[0] for each in words} - _REPEATED
    return _fitting(fragment, [each for each in names if each.startswith("--") and each not in given])


def _fitting(fragment: str, texts: Iterable[str]) -> Completions:
    return Completions(fragment, tuple(dict.fromkeys(each for each in texts if each.startswith(fragment))))


def _split(text: str) -> tuple[list[str], str]:
    """The whole words of `text`, and the piece of one at its end."""
    words = re.findall(r"""(?:[^\s"']|"[^"]*"?|'[^']*'?)+""", text)
    return (words, "") if not words or text[-1].isspace() else (words[:-1], words[-1])
