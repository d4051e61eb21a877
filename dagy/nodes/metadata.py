"""What a node says of itself: its name and place among the others, and the fields of its configuration."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dagy.errors import DefinitionError, shown
from dagy.nodes.connectors import check_id, member
from dagy.spec import Json
from dagy.values import is_json


class NodeCategory(StrEnum):
    """The shelf that a node stands on."""

    INPUT = "input"
    OUTPUT = "output"
    TRANSFORM = "transform"
    CONVERT = "convert"
    CONTROL = "control"
    CODE = "code"
    NOTIFY = "notify"
    CUSTOM = "custom"


@dataclass(frozen=True)
class NodeMetadata:
    """What kind of node it is.

    `node_type` is the name that it is registered under, and graphs know it by; `label` is what people see. `icon` is
    for designers: a name or an emoji. `requires` are the distributions that it needs, such as "pandas"; they become
    dependencies of what is built from a graph. Raises `DefinitionError` for a `node_type` that can't be a name.
    """

    node_type: str
    label: str = ""
    description: str = ""
    category: NodeCategory = NodeCategory.CUSTOM
    version: str = "1.0.0"
    icon: str = ""
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.node_type, str) or not re.fullmatch(r"[A-Za-z_][\w./-]*", self.node_type):
            raise DefinitionError(
                f"a node_type is a name such as 'read_csv': letters, digits and _ . / -, not {shown(self.node_type)}"
            )
        of = f"node {self.node_type!r}"
        put = functools.partial(object.__setattr__, self)
        put("category", member(NodeCategory, self.category, of=of, called="category"))
        put("label", self.label or title(self.node_type))
        put("tags", texts(self.tags, of=of, called="tags"))
        put("requires", texts(self.requires, of=of, called="requires"))


class ConfigFieldType(StrEnum):
    """What a field of a node's configuration holds, and so how it is asked for."""

    STRING = "string"
    TEXT = "text"  # of several lines
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    SELECT = "select"  # one of the field's options
    MULTI_SELECT = "multi_select"  # a list of some of them
    SECRET = "secret"  # a Secret, which names an environment variable
    CODE = "code"  # text in the field's language
    JSON = "json"  # any value that JSON has
    DATE = "date"  # a date, or its text "2026-01-31"

    @property
    def is_text(self) -> bool:
        """Whether the value is text that somebody types."""
        return self in (ConfigFieldType.STRING, ConfigFieldType.TEXT, ConfigFieldType.CODE)

    @property
    def is_number(self) -> bool:
        """Whether the value is a number, which may have bounds."""
        return self in (ConfigFieldType.NUMBER, ConfigFieldType.INTEGER)

    @property
    def is_choice(self) -> bool:
        """Whether the value is chosen from the field's options."""
        return self in (ConfigFieldType.SELECT, ConfigFieldType.MULTI_SELECT)


@dataclass(frozen=True)
class SelectOption:
    """One choice of a SELECT field: its value, and what people see (the value itself, when left out)."""

    value: str | int | float | bool | None
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or str(self.value))


@dataclass(frozen=True)
class NodeConfigField:
    """One field of a node's configuration.

    `options` are the choices of a SELECT or MULTI_SELECT, as `SelectOption` or as plain values. `minimum` and `maximum`
    bound a number, both included. `pattern` is a regular expression to be found in the text (with ^ and $: all of it).
    `language` is that of a CODE field. `visible_when` names other fields with the value, or a list of the values, that
    each must have: `visible_when={"mode": ["append", "replace"]}`. A field that is not visible is not required.

    Raises `DefinitionError` when the parts contradict one another.
    """

    id: str
    label: str = ""
    type: ConfigFieldType = ConfigFieldType.STRING
    required: bool = False
    default: Any = None
    description: str = ""
    options: Sequence[SelectOption | str | int | float | bool | None] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    placeholder: str = ""
    language: str = ""
    visible_when: Mapping[str, Json | list[Json]] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        check_id("field", self.id)
        of = f"field {self.id!r}"
        put = functools.partial(object.__setattr__, self)
        put("type", member(ConfigFieldType, self.type, of=of, called="field type"))
        put("label", self.label or title(self.id))
        put("options", tuple(each if isinstance(each, SelectOption) else SelectOption(each) for each in self.options))
        if self.type.is_choice is not bool(self.options):
            needs = "needs options to choose from" if self.type.is_choice else "has options, which only a SELECT has"
            raise DefinitionError(f"{of} of type {self.type.name} {needs}")
        if not self.type.is_number and (self.minimum, self.maximum) != (None, None):
            raise DefinitionError(f"{of} of type {self.type.name} has bounds, which only a number has")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise DefinitionError(f"{of}: minimum {self.minimum!r} is more than maximum {self.maximum!r}")
        if self.pattern is not None:
            self._check_pattern(of)
        if self.type is ConfigFieldType.SECRET and self.default is not None:
            raise DefinitionError(f"{of} is a SECRET, which has no default: code is no place for it")

    def _check_pattern(self, of: str) -> None:
        if not self.type.is_text:
            raise DefinitionError(f"{of} of type {self.type.name} has a pattern, which only text has")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise DefinitionError(f"{of}: the pattern {self.pattern!r} is no regular expression: {error}") from None

    @property
    def choices(self) -> tuple[str | int | float | bool | None, ...]:
        """The values of its options."""
        return tuple(each.value for each in self.options if isinstance(each, SelectOption))

    @property
    def conditions(self) -> Mapping[str, tuple[Json, ...]]:
        """For each field that `visible_when` names, the values with which this one is visible."""
        given = self.visible_when or {}
        return {name: tuple(each) if isinstance(each, list | tuple) else (each,) for name, each in given.items()}

    @property
    def json_default(self) -> Json:
        """The default as JSON has it; None where there is none."""
        return self.default if is_json(self.default) else str(self.default)


def title(name: str) -> str:
    """`name` for people: "Read csv" for "read_csv"."""
    words = re.sub(r"[_./-]+", " ", name).strip()
    return words[:1].upper() + words[1:]


def texts(given: object, *, of: str, called: str) -> tuple[str, ...]:
    """`given`, a list of texts, as a tuple; `DefinitionError` when it is none."""
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
        raise DefinitionError(f"{of}: {called} must be a list of texts, not {shown(given)}")
    return tuple(given)
