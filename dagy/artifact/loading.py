"""While the code of a file is being loaded: what it may not ask for then, because that would load it once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from dagy.errors import DefinitionError

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
