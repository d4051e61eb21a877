"""How an exception travels from a worker: as itself where that is safe, else as a stand-in with its name and text.

As itself means that it was packed and unpacked in the worker first, that putting it together calls nothing but its own
class (or a function of its own package), and that its text can be had. Tracebacks, notes, causes, contexts and the
parts of groups travel along, all of them bounded.
"""

from __future__ import annotations

import builtins
import pickle
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, cast

from dagy.engine.processes.packing import Packed, pack, unpack

_MOST_ERRORS = 50
_MOST_FRAMES = 200
_MOST_TEXT = 10_000
_MOST_BYTES = 10_000_000
_MOST_NOTES = 20
_CALLER = "dagy.engine.processes.child"  # the module that calls the user's code
_GROUPS = (BaseExceptionGroup, ExceptionGroup)  # which are made again from their parts


class _Error(NamedTuple):
    """One exception of a family; others of it are named by their places in the list."""

    pickled: bytes | None
    name: str
    module: str
    text: str
    base: str  # the nearest exception of Python itself that it is one of
    traceback: dict[str, Any] | None
    notes: tuple[str, ...]
    cause: int | None
    context: int | None
    hides_context: bool
    parts: tuple[int, ...]


def pack_error(error: BaseException, *, instead: str | None = None) -> Packed:
    """`error` with all that belongs to it, ready to travel; what can't is replaced by a stand-in.

    With `instead`, which stands for every text, none of its own code is called.
    """
    family: list[BaseException] = []
    places: dict[int, int] = {}

    def place(each: BaseException | None) -> int | None:
        if each is None:
            return None
        if id(each) not in places:
            if len(family) == _MOST_ERRORS:
                return None
            places[id(each)] = len(family)
            family.append(each)
        return places[id(each)]

    place(error)
    packed: list[_Error] = []
    for each in family:  # it grows meanwhile
        parts = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        found = [place(part) for part in parts[:_MOST_ERRORS]]
        text, is_sound = _text_of(each) if instead is None else (instead, False)
        packed.append(
            _Error(
                pickled=_pickled(each) if is_sound and type(each) not in _GROUPS and None not in found else None,
                name=type(each).__qualname__,
                module=type(each).__module__,
                text=text,
                base=next(kind.__name__ for kind in type(each).__mro__ if kind.__module__ == "builtins"),
                traceback=_traceback_of(each),
                notes=_notes_of(each),
                cause=place(each.__cause__),
                context=place(each.__context__),
                hides_context=each.__suppress_context__,
                parts=tuple(part for part in found if part is not None),
            )
        )
    return pack(packed)


def unpack_error(packed: Packed) -> BaseException:
    """The exception, with its traceback and all that belongs to it."""
    family = cast("list[_Error]", unpack(packed))
    made: list[BaseException | None] = [None] * len(family)
    for index in range(len(family) - 1, -1, -1):  # the parts of a group come after it
        made[index] = _made(family[index], [part for place in family[index].parts if (part := made[place])])
    errors = cast("list[BaseException]", made)
    for error, each in zip(errors, family, strict=True):
        _dress(error, each, errors)
    for error, each in zip(errors, family, strict=True):
        if isinstance(error, BaseExceptionGroup):
            for part, place in zip(error.exceptions, each.parts, strict=False):
                part.__traceback__ = errors[place].__traceback__
                part.__cause__, part.__context__ = errors[place].__cause__, errors[place].__context__
    return errors[0]


class StandIn(Exception):  # noqa: N818 (it has the name of what it stands for)
    """An exception of a worker's that could not travel; its class has the name of the original's, its text its text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self)
        return stand_in, (kind.__name__, kind.__module__, self.text, kind.__mro__[2].__name__)


def stand_in(name: str, module: str, text: str, base: str = "Exception") -> BaseException:
    """An exception that looks like the original, and is caught where its nearest `base` in Python itself is."""
    kind = getattr(builtins, base)
    members = {"__module__": module, "__qualname__": name}
    if not issubclass(kind, Exception):
        kind = type(name, (BaseException,), members)
        return cast(BaseException, kind(text))
    if kind is Exception or issubclass(kind, BaseExceptionGroup):
        return cast(BaseException, type(name, (StandIn,), members)(text))
    try:
        return cast(BaseException, type(name, (StandIn, kind), members)(text))
    except TypeError:  # one that insists on arguments of its own
        return cast(BaseException, type(name, (StandIn,), members)(text))


def _made(each: _Error, parts: Sequence[BaseException]) -> BaseException:
    if each.pickled is not None:
        try:
            return cast(BaseException, pickle.loads(each.pickled))
        except Exception:  # noqa: BLE001 (what it needs is not here)
            pass
    if parts:
        return BaseExceptionGroup(each.text, parts)
    return stand_in(each.name, each.module, each.text, each.base)


def _dress(error: BaseException, each: _Error, errors: Sequence[BaseException]) -> None:
    """Give `error` its traceback, notes, cause and context."""
    from tblib import Traceback

    if each.traceback is not None:
        error.__traceback__ = _without_columns(Traceback.from_dict(each.traceback).as_traceback())
    error.__cause__ = None if each.cause is None else errors[each.cause]
    error.__context__ = None if each.context is None else errors[each.context]
    error.__suppress_context__ = each.hides_context
    if each.notes:
        error.__notes__ = list(each.notes)


def _without_columns(chain: TracebackType | None) -> TracebackType | None:
    """The same traceback, of which nothing says where in its lines it is: that did not travel, and is a guess."""
    steps: list[TracebackType] = []
    while chain is not None:
        steps.append(chain)
        chain = chain.tb_next
    made: TracebackType | None = None
    for step in reversed(steps):
        made = TracebackType(made, step.tb_frame, -1, step.tb_lineno)
    return made


def _notes_of(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", None)
    return tuple(each[:_MOST_TEXT] for each in notes[:_MOST_NOTES] if type(each) is str) if type(notes) is list else ()


def _text_of(error: BaseException) -> tuple[str, bool]:
    """Its text, bounded, and whether it and its `repr` can be had without harm."""
    try:
        text = error.message if isinstance(error, BaseExceptionGroup) and type(error) in _GROUPS else str(error)
        other = repr(error)
    except BaseException as failure:  # user code
        if type(failure).__module__ == _CALLER:  # it takes too long
            raise
        return f"(its message can't be shown: {type(failure).__name__})", False
    is_short = len(text) <= _MOST_TEXT and len(other) <= 10 * _MOST_TEXT
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}... (cut)", is_short


def _pickled(error: BaseException) -> bytes | None:
    """Its pickle, when that may and can be loaded elsewhere."""
    try:
        maker = error.__reduce_ex__(5)[0]
        if not _may_make(maker, type(error)):
            return None
        packed = pack(error)
        content = packed.content
        if not isinstance(content, bytes) or len(content) > _MOST_BYTES:
            return None
        return content if type(pickle.loads(content)) is type(error) else None
    except (Exception, SystemExit):  # noqa: BLE001 (user code)
        return None


def _may_make(maker: object, kind: type) -> bool:
    """Whether an exception of this type may be put together by calling `maker` in another process."""
    if maker is kind:
        return True
    package = (getattr(maker, "__module__", None) or "").partition(".")[0]
    return package == kind.__module__.partition(".")[0] != "builtins" or package in ("copyreg", "cloudpickle")


def _traceback_of(error: BaseException) -> dict[str, Any] | None:
    """Its traceback as data, from the user's code on; of a very long one the beginning and the end."""
    from tblib import Traceback

    steps: list[TracebackType] = []
    each = error.__traceback__
    while each is not None:
        steps.append(each)
        each = each.tb_next
    ours = [index for index, step in enumerate(steps) if step.tb_frame.f_globals.get("__name__") == _CALLER]
    steps[: ours[-1] + 1 if ours else 0] = []
    if len(steps) > _MOST_FRAMES:
        steps[_MOST_FRAMES // 4 : -_MOST_FRAMES * 3 // 4] = []
    chain: TracebackType | None = None
    for step in reversed(steps):
        chain = TracebackType(chain, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return None if chain is None else cast("dict[str, Any]", Traceback(chain).to_dict())
