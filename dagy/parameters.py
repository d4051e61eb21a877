"""A function's parameters: binding arguments, checking values against the annotations, reading values from text.

Checking is pydantic's, loaded only when a value is not plainly of the annotated class. A value that fits strictly is
passed on as it is, never copied; one that pydantic can convert ("5" for an int) is passed on converted.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from dagy.errors import DefinitionError, ParameterError, did_you_mean, shown
from dagy.spec import Json, ParameterSpec
from dagy.values import is_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    T = TypeVar("T")
    Static = Annotated[T, "static"]
else:

    class Static:
        """`Static[int]`: a flow parameter that is a plain value while the graph is drawn, for loops that shape it."""

        def __class_getitem__(cls, annotation: Any) -> Any:
            return Annotated[annotation, Static]


_EMPTY = inspect.Parameter.empty
_UNKNOWN = object()  # the annotation of a parameter that has none, or one that can't be evaluated
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Parameters:
    """The parameters of `function`, which messages call `of`, such as "task 'fetch'"."""

    __slots__ = ("_adapters", "_annotations", "_function", "_is_plain", "_positional", "_required", "of", "signature")

    def __init__(self, function: Callable[..., object], *, of: str) -> None:
        self._function = function
        self.of = of
        try:
            self.signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise DefinitionError(f"{of}: the parameters of {function!r} can't be read: {error}") from error
        parameters = self.signature.parameters.values()
        self._is_plain = all(each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) for each in parameters)
        self._positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        self._required = {each.name for each in parameters if each.default is _EMPTY and each.kind not in _VARIADIC}
        self._annotations: dict[str, Any] | None = None
        self._adapters: dict[str, TypeAdapter[Any] | None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.signature.parameters)

    def __len__(self) -> int:
        return len(self.signature.parameters)

    def __contains__(self, name: object) -> bool:
        return name in self.signature.parameters

    def default(self, name: str) -> object:
        """The default of the parameter `name`; `KeyError` when it has none."""
        default = self.signature.parameters[name].default
        if default is _EMPTY:
            raise KeyError(name)
        return default

    def annotation(self, name: str) -> Any:
        """The parameter's annotation, evaluated; `Any` where there is none, or one that can't be evaluated."""
        annotation = self._annotation(name)
        return Any if annotation is _UNKNOWN else annotation

    @property
    def result_annotation(self) -> Any:
        """What the function is annotated to return, evaluated; `Any` where that is not said, or can't be evaluated."""
        annotation = self._evaluate(self.signature.return_annotation)
        return Any if annotation is _UNKNOWN else annotation

    def is_static(self, name: str) -> bool:
        """Whether the parameter is annotated `Static[...]`."""
        return Static in getattr(self._annotation(name), "__metadata__", ())

    def specs(self) -> tuple[ParameterSpec, ...]:
        """The parameters as data."""
        return tuple(
            ParameterSpec(
                name=each.name,
                annotation=_annotation_text(each.annotation),
                required=each.name in self._required,
                default=each.default if each.default is not _EMPTY and is_json(each.default) else None,
                static=self.is_static(each.name),
            )
            for each in self.signature.parameters.values()
        )

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by parameter name, defaults left out; `ParameterError` names what is missing or too much."""
        if not self._is_plain:
            return self._bind_any(args, kwargs)
        if len(args) > len(self._positional):
            raise ParameterError(
                f"{self.of} takes {len(self._positional)} values by position, and was given {len(args)}"
            )
        values = dict(zip(self._positional, args, strict=False))
        for name, value in kwargs.items():
            if name in values:
                raise ParameterError(f"{self.of} was given {name!r} twice: by position and by name")
            if name not in self.signature.parameters:
                raise self.unknown(name)
            values[name] = value
        if not self._required <= values.keys():
            raise self._missing(values)
        return values

    def call(self, function: Callable[..., Any], values: dict[str, Any]) -> Any:
        """What `function` returns when called with `values` (by parameter name, as `bind` gives them)."""
        if self._is_plain:
            return function(**values)
        args, kwargs = self.arguments(values)
        return function(*args, **kwargs)

    def arguments(self, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """`values` (by parameter name, as `bind` gives them) as they are to be passed, by position and by name."""
        if self._is_plain:
            return (), values
        bound = inspect.BoundArguments(self.signature, values)
        return bound.args, bound.kwargs

    @property
    def has_types(self) -> bool:
        """Whether `check` has anything to check."""
        if self._annotations is None:
            self._annotations = self._evaluated()
        return any(each is not _UNKNOWN for each in self._annotations.values())

    def check(self, values: dict[str, Any]) -> dict[str, Any]:
        """`values`, each of its annotated type; `ParameterError` names the value that is not and can't be converted."""
        if self._annotations is None:
            self._annotations = self._evaluated()
        for name, annotation in self._annotations.items():
            if annotation is _UNKNOWN or name not in values:
                continue
            value = values[name]
            if type(value) is annotation:
                continue
            checked = self._checked(name, value)
            if checked is not value:
                values = {**values, name: checked}
        return values

    def check_lengths(self, lists: Mapping[str, Sized]) -> int:
        """How many items the lists have that a call for each item goes through; `ParameterError` if they differ."""
        lengths = {name: len(each) for name, each in lists.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
            raise ParameterError(f"{self.of} is mapped over lists of different lengths: {told}")
        return next(iter(lengths.values()))

    def named_texts(self, pairs: Iterable[str]) -> dict[str, str]:
        """The texts by name of `pairs` like "url=example.com"; `ParameterError` for what is no pair, or twice."""
        texts: dict[str, str] = {}
        for each in pairs:
            name, equals, text = each.partition("=")
            if not equals or not name:
                raise ParameterError(f"--param {each!r} is not of the form NAME=VALUE, such as --param url=example.com")
            if name in texts:
                raise ParameterError(f"--param {name!r} is given twice")
            texts[name] = text
        return texts

    def parse_text(self, name: str, text: str) -> object:
        """The value that `text`, from a command line or a form, means for the parameter `name`.

        Text for a parameter that takes text; else JSON where it is JSON; then checked against the annotation.
        """
        if name not in self.signature.parameters:
            raise self.unknown(name)
        adapter = self._adapter(name)
        try:
            from_json: object = json.loads(text)
        except ValueError:
            from_json = text
        if adapter is None:
            return from_json
        if _fits(adapter, text):
            return text
        try:
            return self._checked(name, from_json)
        except ParameterError:
            return self._checked(name, text)

    def as_json(self, name: str, value: Any) -> Json:
        """`value` itself where it is JSON, else JSON of which `check` makes an equal value: "2026-01-31" for a date.

        `ParameterError` when there is none, because of the value or because the annotation does not say what it is.
        """
        if is_json(value):
            return value
        from pydantic_core import PydanticSerializationError, to_jsonable_python

        try:
            written = to_jsonable_python(value, fallback=_of_numpy)
            if is_json(written) and self._checked(name, written) == value:
                return written
        except (PydanticSerializationError, ParameterError, ValueError, TypeError):  # an array's == is no yes or no
            pass
        raise ParameterError(
            f"{self.of}: {name!r} is {shown(value)} ({type(value).__name__}), and what a deployed run is given must be "
            "JSON: text, a number, true or false, None, or a list or dict of these; or what the parameter's annotation "
            "makes of it, such as a date"
        )

    def unknown(self, name: str) -> ParameterError:
        """The error that there is no parameter `name`."""
        known = list(self.signature.parameters)
        hint = did_you_mean(name, known) or (
            f"; it takes {', '.join(map(repr, known))}" if known else "; it takes none"
        )
        return ParameterError(f"{self.of} has no input {name!r}{hint}")

    def _missing(self, values: Mapping[str, Any]) -> ParameterError:
        names = [each for each in self.signature.parameters if each in self._required and each not in values]
        return ParameterError(f"{self.of} needs a value for {', '.join(map(repr, names))}")

    def _bind_any(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return dict(self.signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise ParameterError(f"{self.of}: {error}") from None

    def _annotation(self, name: str) -> Any:
        if self._annotations is None:
            self._annotations = self._evaluated()
        return self._annotations[name]

    def _evaluated(self) -> dict[str, Any]:
        return {
            each.name: _UNKNOWN if each.kind in _VARIADIC else self._evaluate(each.annotation)
            for each in self.signature.parameters.values()
        }

    def _evaluate(self, annotation: Any) -> Any:
        if isinstance(annotation, str):
            try:
                # The text is the user's own source, which `from __future__ import annotations` left unevaluated.
                annotation = eval(annotation, getattr(inspect.unwrap(self._function), "__globals__", {}))
            except Exception:  # noqa: BLE001 (a name that only a type checker knows: nothing to check against)
                return _UNKNOWN
        if annotation in (_EMPTY, Any, object) or isinstance(annotation, TypeVar):
            return _UNKNOWN
        return type(None) if annotation is None else annotation

    def _checked(self, name: str, value: Any) -> Any:
        adapter = self._adapter(name)
        if adapter is None or _fits(adapter, value):
            return value
        from pydantic import ValidationError

        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            fault = error.errors()[0]
            where = "".join(f"[{each!r}]" for each in fault["loc"] if not str(each).startswith("function-"))
            raise ParameterError(
                f"{self.of}: {name!r} can't be {shown(value)} ({type(value).__name__}): "
                f"{where and f'at {where}: '}{fault['msg'][0].lower()}{fault['msg'][1:]}"
            ) from None

    def _adapter(self, name: str) -> TypeAdapter[Any] | None:
        """What checks the parameter, or None where there is nothing to check."""
        if name not in self._adapters:
            annotation = self._annotation(name)
            self._adapters[name] = None if annotation is _UNKNOWN or _is_lazy(annotation) else _adapter_of(annotation)
        return self._adapters[name]


def _of_numpy(value: Any) -> object:
    """The plain number of one of numpy's; `TypeError` for anything else."""
    if type(value).__module__ == "numpy" and value.shape == ():
        return value.item()
    raise TypeError(type(value).__name__)


def _annotation_text(annotation: Any) -> str:
    if annotation is _EMPTY:
        return ""
    if isinstance(annotation, str):
        return annotation
    if Static in getattr(annotation, "__metadata__", ()):
        return f"Static[{inspect.formatannotation(annotation.__origin__)}]"
    return inspect.formatannotation(annotation)


def _is_lazy(annotation: Any) -> bool:
    """Whether checking would have to consume the value: iterators and generators are passed on unchecked."""
    origin = typing.get_origin(annotation) or annotation
    return origin in (Iterable, Iterator, Generator, AsyncIterable, AsyncIterator, AsyncGenerator)


def _adapter_of(annotation: Any) -> TypeAdapter[Any] | None:
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a model or a dataclass has its own configuration
        try:
            return TypeAdapter(annotation)
        except PydanticUserError:
            return None
    except (PydanticUndefinedAnnotation, TypeError, NameError):  # an annotation for readers, not a type
        return None


def _fits(adapter: TypeAdapter[Any], value: object) -> bool:
    from pydantic import ValidationError

    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
