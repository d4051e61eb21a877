"""While the code of a file is being loaded: what it may not ask for then, because that would load it once more.

And what is put back afterwards, where it is only loaded to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from dagy.errors import DefinitionError

if TYPE_CHECKING:
    from pathlib import Path

_ASIDES: list[Callable[[], AbstractContextManager[object]]] = []
_LOADED_NOW: ContextVar[Path | None] = ContextVar("dagy_loaded_now", default=None)


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """The code of the file at `path` is run in the `with` block, to define what it defines."""
    token = _LOADED_NOW.set(path)
    try:
        yield
    finally:
        _LOADED_NOW.reset(token)


def refuse_while_loading(call: str) -> None:
    """Raise `DefinitionError` when a file's own code makes this call as it is loaded: it would load the file again."""
    path = _LOADED_NOW.get()
    if path is not None:
        raise DefinitionError(
            f"{call} is called while {str(path)!r}, which defines the flow, is being loaded; put the call below "
            'if __name__ == "__main__":'
        )


def keep_aside(context: Callable[[], AbstractContextManager[object]]) -> None:
    """Let code that is only looked at be loaded inside a `with` block of what `context()` gives.

    For who keeps a list of what users' code defines: afterwards it should be as it was.
    """
    if context not in _ASIDES:
        _ASIDES.append(context)


@contextmanager
def stepped_aside() -> Iterator[None]:
    """Inside all the `with` blocks that `keep_aside` was told of."""
    with ExitStack() as stack:
        for each in _ASIDES:
            stack.enter_context(each())
        yield
