"""A node's configuration: checking values against its fields, and the fields as a pydantic model and as JSON Schema.

A value that is plainly right is passed on as it is. pydantic, which is loaded for the first that is not, converts what
it can ("5" for a number) and says what is wrong with the rest.
"""

from __future__ import annotations

import copy
import datetime
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from dagy.errors import DefinitionError, MissingSecretError, NodeConfigError, did_you_mean, or_what_there_is, shown
from dagy.nodes.metadata import ConfigFieldType, NodeConfigField
from dagy.spec import Json
from dagy.tasks import Task, holds_reference, options_of
from dagy.values import is_json

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter

_SECRET_KEY = "$secret"


@dataclass(frozen=True, slots=True)
class Secret:
    """Names a secret, as the value of a SECRET field: the environment variable that holds it where the node runs.

    It is looked up each time the node is executed, and its text goes nowhere but to `context.secrets`.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "=" in self.name or "\0" in self.name:
            raise DefinitionError('a Secret is the name of an environment variable, such as Secret("DB_PASSWORD")')

    def value(self) -> str:
        """The secret's text. `MissingSecretError` when there is no such environment variable."""
        text = os.environ.get(self.name)
        if text is None:
            raise MissingSecretError(self.name, "set the environment variable of that name where the node runs")
        return text


class ConfigFields:
    """The fields of a node's configuration, made ready for checking values against them.

    Raises `DefinitionError` when a field contradicts the others.
    """

    def __init__(self, node_type: str, fields: Sequence[NodeConfigField], *, inputs: Collection[str] = ()) -> None:
        self.node_type = node_type
        self._inputs = inputs  # the ids of the inbound connectors
        self.fields = tuple(fields)
        self._by_id = {each.id: each for each in fields}
        self._fits = {each.id: _plain_check(each) for each in fields}
        self._adapters: dict[str, TypeAdapter[Any]] = {}
        self._needed = frozenset(each.id for each in fields if each.required and not each.conditions)
        self._has_conditions = any(each.required and each.conditions for each in fields)
        self._is_free = not (self._needed or self._has_conditions)
        self._check_conditions()
        self._defaults = {each.id: self._checked_default(each) for each in fields}
        self._containers = [name for name, each in self._defaults.items() if isinstance(each, list | dict)]

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` by field id, each of its field's type, and the defaults of the fields that are left out.

        What stands for a value that is there only when a flow runs (a task's output, a flow's parameter) is passed on
        as it is. Raises `NodeConfigError`, which names every problem; the value of a SECRET field is in none of them.
        """
        if not values and self._is_free:
            return self._own_defaults()
        fits = self._fits
        for name, value in values.items():
            if name not in fits or not fits[name](value) or value == "":
                return self._checked_slowly(values)
        if self._has_conditions or not self._needed <= values.keys():
            return self._checked_slowly(values)
        return {**self._own_defaults(), **values}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` as `checked` has them, without the defaults and without a word about fields that are missing."""
        config, problems = self._sorted_out(values)
        if problems:
            raise NodeConfigError(_told(self.node_type, list(problems.values())), problems)
        return config

    def visible(self, config: Mapping[str, Any]) -> list[NodeConfigField]:
        """The fields that are visible while they have these values; one that has none here has no value."""
        found = _visibility(self.fields, {**dict.fromkeys(self._by_id), **config})
        return [each for each in self.fields if found[each.id]]

    def _checked_slowly(self, values: Mapping[str, Any]) -> dict[str, Any]:
        found, problems = self._sorted_out(values)
        config = {**self._own_defaults(), **found}
        for name in missing(self.fields, config):
            if name not in problems:
                problems[name] = f"it needs a value for {name!r}"
        if problems:
            raise NodeConfigError(_told(self.node_type, list(problems.values())), problems)
        return config

    def _sorted_out(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The values that are good, each of its field's type, and what is wrong with the others."""
        config: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for name, value in values.items():
            field = self._by_id.get(name)
            if field is None:
                problems[name] = self._unknown(name)
            elif value is None:
                pass  # as if it was left out
            elif self._fits[name](value) or holds_reference(value):
                config[name] = value
            elif (read := _read(field, value)) is not None:
                config[name] = read
            else:
                try:
                    config[name] = self._converted(field, value)
                except ValueError as error:
                    problems[name] = str(error)
        return config, problems

    def _own_defaults(self) -> dict[str, Any]:
        """The defaults, with copies of those that somebody could change."""
        config = dict(self._defaults)
        for each in self._containers:
            config[each] = copy.deepcopy(config[each])
        return config

    def _unknown(self, name: str) -> str:
        if name in self._inputs:
            return f"{name!r} is no field but an inbound connector, whose value comes later: (...)({name}=...)"
        if name in options_of(Task):
            return f"{name!r} is no field but an option of how it runs: (...).with_options({name}=...)"
        return f"it has no field {name!r}{or_what_there_is(name, self._by_id)}"

    def _converted(self, field: NodeConfigField, value: object) -> Any:
        """The value that `value` means for `field`; `ValueError`, whose text is the problem, when it means none."""
        from pydantic import ValidationError

        adapter = self._adapters.get(field.id)
        if adapter is None:
            adapter = self._adapters[field.id] = _adapter(field)
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            what = fault["msg"].removeprefix("Value error, ")
            where = "".join(f"[{each!r}]" for each in fault["loc"] if isinstance(each, int))
        if field.type is ConfigFieldType.SECRET:
            raise ValueError(f"{field.id!r} {what}")
        given = f"{shown(value)} ({type(value).__name__})"
        raise ValueError(f"{field.id!r} can't be {given}: {where and f'at {where}: '}{what[:1].lower()}{what[1:]}")

    def _check_conditions(self) -> None:
        before: list[str] = []
        for field in self.fields:
            for name in field.conditions:
                if name not in before:
                    raise DefinitionError(
                        f"node {self.node_type!r}: field {field.id!r} is visible when {name!r} has some value, so "
                        f"{name!r} must be a field that stands before it{did_you_mean(name, before)}"
                    )
            before.append(field.id)

    def _checked_default(self, field: NodeConfigField) -> Any:
        if field.default is None or self._fits[field.id](field.default):
            return field.default
        try:
            return self._converted(field, field.default)
        except ValueError as error:
            raise DefinitionError(f"node {self.node_type!r}: the default of {error}") from None


def missing(fields: Sequence[NodeConfigField], config: Mapping[str, Any]) -> Iterator[str]:
    """The ids of the fields that are visible and required, and have no value in `config`, which has all the fields."""
    visible = _visibility(fields, config)
    for field in fields:
        value = config[field.id]
        if field.required and visible[field.id] and (value is None or (isinstance(value, str) and not value)):
            yield field.id


def _visibility(fields: Sequence[NodeConfigField], config: Mapping[str, Any]) -> dict[str, bool | None]:
    """Which fields are visible for the values in `config`; None: that depends on a value that is not there yet."""
    visible: dict[str, bool | None] = {}
    for field in fields:
        conditions = [_holds(visible[name], config[name], allowed) for name, allowed in field.conditions.items()]
        visible[field.id] = False if False in conditions else None if None in conditions else True
    return visible


def written(value: object) -> object:
    """A field's value as JSON, which a check takes back: {"$secret": "NAME"}, "2026-01-31"; else as it is."""
    return {_SECRET_KEY: value.name} if isinstance(value, Secret) else _without_dates(value)


def _without_dates(value: Any) -> Any:
    """`value` with ISO text for the dates and times in it."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if type(value) is list:
        return [_without_dates(each) for each in value]
    return {key: _without_dates(each) for key, each in value.items()} if type(value) is dict else value


def config_model(fields: Sequence[NodeConfigField], name: str) -> type[BaseModel]:
    """The fields as a pydantic model of that name, which takes and refuses what a node's configuration does."""
    from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

    def check(model: BaseModel) -> BaseModel:
        absent = list(missing(fields, {each.id: getattr(model, attributes[each.id]) for each in fields}))
        if absent:
            raise ValueError(f"it needs a value for {', '.join(map(repr, absent))}")
        return model

    attributes = {each.id: f"{each.id}_" if hasattr(BaseModel, each.id) else each.id.lstrip("_") for each in fields}
    members: dict[str, Any] = {}
    for field in fields:
        told: Any = {"title": field.label, "description": field.description or None, "alias": field.id}
        if field.required and not field.conditions and field.default is None:
            members[attributes[field.id]] = (_annotation(field), Field(**told))
        else:
            members[attributes[field.id]] = (_annotation(field) | None, Field(field.default, **told))
    settings = ConfigDict(
        title=name,
        extra="forbid",
        populate_by_name=True,
        regex_engine="python-re",
        hide_input_in_errors=True,
        protected_namespaces=(),
        validate_default=True,
        json_schema_extra=_with_conditions(fields),
    )
    checks: dict[str, Any] = {"check": model_validator(mode="after")(check)}
    return create_model(name, __config__=settings, __validators__=checks, **members)


def config_schema(fields: Sequence[NodeConfigField], name: str = "Configuration") -> dict[str, Json]:
    """The fields as JSON Schema (draft 2020-12), in which conditions are `if` and `then`."""
    return config_model(fields, name).model_json_schema()


def _read(field: NodeConfigField, value: Any) -> Any:
    """What `written` wrote, and for a JSON field dates as it writes them; None when it is nothing of that."""
    if field.type is ConfigFieldType.JSON:
        without_dates = _without_dates(value)
        return without_dates if without_dates is not None and is_json(without_dates) else None
    try:
        if field.type is ConfigFieldType.DATE and isinstance(value, str):
            return datetime.date.fromisoformat(value)
        if field.type is ConfigFieldType.SECRET and isinstance(value, dict) and value.keys() == {_SECRET_KEY}:
            return Secret(value[_SECRET_KEY])
    except ValueError:
        pass
    return None


def _told(node_type: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"node {node_type!r}: {problems[0]}"
    return "\n".join([f"node {node_type!r} can't be configured so:", *(f"  - {each}" for each in problems)])


def _holds(is_visible: bool | None, value: object, allowed: Sequence[Json]) -> bool | None:
    """Whether a field that may be visible has one of the values; None when that is not known yet."""
    if is_visible is None or holds_reference(value):
        return None
    is_boolean = isinstance(value, bool)  # True is no 1
    return is_visible and any(value == each and isinstance(each, bool) is is_boolean for each in allowed)


def _plain_check(field: NodeConfigField) -> Callable[[Any], bool]:
    """Whether a value is of the field's type as it stands, so that there is nothing to convert."""
    pattern = re.compile(field.pattern) if field.pattern else None
    low = -math.inf if field.minimum is None else field.minimum
    high = math.inf if field.maximum is None else field.maximum
    choices = [(type(each), each) for each in field.choices]
    match field.type:
        case ConfigFieldType.STRING | ConfigFieldType.TEXT | ConfigFieldType.CODE:
            if pattern is None:
                return lambda value: type(value) is str
            return lambda value: type(value) is str and pattern.search(value) is not None
        case ConfigFieldType.NUMBER:
            return lambda value: type(value) in (int, float) and low <= value <= high and math.isfinite(value)
        case ConfigFieldType.INTEGER:
            return lambda value: type(value) is int and low <= value <= high
        case ConfigFieldType.BOOLEAN:
            return lambda value: type(value) is bool
        case ConfigFieldType.SELECT:
            return lambda value: (type(value), value) in choices
        case ConfigFieldType.MULTI_SELECT:
            return lambda value: type(value) is list and all((type(each), each) in choices for each in value)
        case ConfigFieldType.SECRET:
            return lambda value: type(value) is Secret
        case ConfigFieldType.JSON:
            return lambda value: value is not None and is_json(value)
        case ConfigFieldType.DATE:
            return lambda value: type(value) is datetime.date


def _adapter(field: NodeConfigField) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(_annotation(field), config=ConfigDict(regex_engine="python-re"))


def _annotation(field: NodeConfigField) -> Any:
    """The field's type as pydantic takes it."""
    from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema

    match field.type:
        case ConfigFieldType.STRING | ConfigFieldType.TEXT | ConfigFieldType.CODE:
            least = 1 if field.required and not field.conditions else None
            return Annotated[str, Field(pattern=field.pattern, min_length=least)]
        case ConfigFieldType.NUMBER | ConfigFieldType.INTEGER:
            kind: Any = int if field.type is ConfigFieldType.INTEGER else int | float
            limits = {"minimum": field.minimum, "maximum": field.maximum}
            told: Json = {name: limit for name, limit in limits.items() if limit is not None}
            told["type"] = "integer" if kind is int else "number"
            bounds = Field(ge=field.minimum, le=field.maximum, allow_inf_nan=False)
            return Annotated[kind, bounds, BeforeValidator(_no_boolean), WithJsonSchema(told)]
        case ConfigFieldType.BOOLEAN:
            return bool
        case ConfigFieldType.SELECT | ConfigFieldType.MULTI_SELECT:
            choices = [(type(each), each) for each in field.choices]
            listed = ", ".join(map(repr, field.choices))

            def chosen(value: Any) -> Any:
                if (type(value), value) not in choices:
                    texts = [each for each in field.choices if isinstance(each, str)]
                    raise ValueError(
                        f"it is one of {listed}{did_you_mean(value, texts) if isinstance(value, str) else ''}"
                    )
                return value

            one = Annotated[Any, AfterValidator(chosen), WithJsonSchema({"enum": list(field.choices)})]
            return one if field.type is ConfigFieldType.SELECT else list[one]
        case ConfigFieldType.SECRET:
            schema = {
                "type": "object",
                "properties": {_SECRET_KEY: {"type": "string"}},
                "required": [_SECRET_KEY],
                "additionalProperties": False,
            }
            return Annotated[Any, BeforeValidator(lambda value: _secret(field, value)), WithJsonSchema(schema)]
        case ConfigFieldType.JSON:
            return JsonValue
        case ConfigFieldType.DATE:
            return datetime.date


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("it is a number")  # noqa: TRY004 (what pydantic expects)
    return value


def _secret(field: NodeConfigField, value: object) -> Secret:
    found = value if isinstance(value, Secret) else _read(field, value)
    if not isinstance(found, Secret):
        raise ValueError(  # noqa: TRY004 (what pydantic expects)
            "is a secret, which is never written down here: put it into an environment variable and name that one: "
            f'{field.id}=Secret("{field.id.upper()}"), in JSON {{"{_SECRET_KEY}": "{field.id.upper()}"}}'
        )
    return found


def _with_conditions(fields: Sequence[NodeConfigField]) -> Callable[[dict[str, Any]], None]:
    """Adds to a JSON Schema that fields are required when other fields have some values."""
    rules: list[Json] = []
    defaults = {each.id: each.json_default for each in fields}
    for field in fields:
        if field.required and field.conditions:
            named = {name: {"enum": list(allowed)} for name, allowed in field.conditions.items()}
            must = [name for name, allowed in field.conditions.items() if defaults[name] not in allowed]
            then = {"required": [field.id], "properties": {field.id: {"not": {"enum": [None, ""]}}}}
            rules.append({"if": {"properties": named, "required": must}, "then": then})

    def extend(schema: dict[str, Any]) -> None:
        if rules:
            schema["allOf"] = rules

    return extend
