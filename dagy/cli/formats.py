"""How commands show what they list: `--format table|json|yaml`, and tables that fit where they are read.

On a terminal a table has the format that the profile names, where the terminal can show it and is wide enough; in a
file or a pipe it is plain columns. JSON and YAML are ASCII, whole and valid, whatever the texts in them hold.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

from dagy.cli import output
from dagy.cli.options import Form, format_option, profile_option
from dagy.drawing.escape import plain_line
from dagy.errors import SettingsError
from dagy.profiles import TABLE_FORMAT, Profiles
from dagy.settings import Settings

__all__ = ["Form", "cut", "facts", "format_option", "plain", "profile_option", "show", "size", "table"]


def show(form: Form, data: object, as_text: Callable[[], str]) -> None:
    """Print `data` as JSON or YAML, or else what `as_text` gives, which is not called for the other two.

    `data` may hold dataclasses, times, paths and states; a number that JSON has not (NaN, infinity) becomes null.
    """
    match form:
        case "json":
            output.hand_over(json.dumps(plain(data), indent=2, allow_nan=False))
        case "yaml":
            import yaml

            text = yaml.safe_dump(_whole(plain(data)), sort_keys=False, width=10_000)
            output.hand_over(text, end="")
        case "table":
            text = as_text()
            if text:
                output.say(text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, profile: str | None = None) -> str:
    """The rows under their heads, as text; each cell is made one safe line.

    `profile` is the name that `--profile` gave. A table that is too wide for the terminal is shown in plain columns,
    and when these are too wide as well, a line for each cell.
    """
    import tabulate

    cells = [[plain_line(cell) for cell in row] for row in rows]
    for style in _styles(profile):
        text = tabulate.tabulate(cells, headers=heads, tablefmt=style, disable_numparse=True)
        text = "\n".join(line.rstrip() for line in text.splitlines())
        if _fits(text):
            return text
    return _facts_of_each(heads, cells)


def size(count: float) -> str:
    """So many bytes, for people: `17 B`, `1.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("the loop ends with the largest unit")


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """`name  value` lines, the values below one another; a name like the one before it is left out."""
    width = max((len(name) for name, _ in pairs), default=0)
    told = ""
    lines = []
    for name, text in pairs:
        lines.append(plain_line(f"{'' if name == told else name:{width}}  {text}"))
        told = name
    return "\n".join(lines)


def cut(text: str, length: int) -> str:
    """`text`, or its beginning and an ellipsis where it is longer than `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def plain(value: object) -> Any:
    """`value` as JSON can hold it."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return str.__str__(value)  # a state is a str that YAML does not know
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return value.isoformat()
        case PurePath():
            return str(value)
        case Mapping():
            return {str.__str__(key) if isinstance(key, str) else str(key): plain(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        case _:
            return str(value)


def _facts_of_each(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A block for each row, in which each cell has a line of its own."""
    return "\n\n".join(facts([(head, cell) for head, cell in zip(heads, row, strict=True) if cell]) for row in rows)


def _whole(value: Any) -> Any:
    """`value` with a sign for each half of a character, which JSON can hold and YAML can't."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_whole(key): _whole(each) for key, each in value.items()}
        case list():
            return [_whole(each) for each in value]
        case _:
            return value


def _styles(profile: str | None) -> list[str]:
    """The formats to try, the one that is wanted first."""
    if not sys.stdout.isatty():
        return ["plain"]
    wanted = _wanted(profile)
    return ["plain"] if wanted == "plain" else [wanted, "plain"]


def _wanted(profile: str | None) -> str:
    """The format that the profile names, or one that its terminal can show."""
    import tabulate

    try:
        wanted = Profiles.read(Settings.read().local_dir).resolve(profile).table_format
    except SettingsError as error:  # no reason not to show what was found
        output.note(f"note: {error}", color="yellow")
        wanted = TABLE_FORMAT
    if wanted not in tabulate.tabulate_formats:
        output.note(f"note: no table has the format {wanted!r}; change it: dagy config", color="yellow")
        wanted = TABLE_FORMAT
    sample = tabulate.tabulate([["x"]], headers=["x"], tablefmt=wanted)
    return wanted if output.can_show(sample, on=sys.stdout) else "grid"


def _fits(text: str) -> bool:
    """Whether the lines of a table fit the terminal; a file takes any."""
    if not sys.stdout.isatty():
        return True
    columns = shutil.get_terminal_size().columns
    return all(len(line) <= columns for line in text.splitlines())
