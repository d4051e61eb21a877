"""How deep in worker processes this process is, and whether it is only loading a task's code.

A worker imports the module of its task. A module that runs a flow when it is imported would run it again there, whose
workers would import it too, without end: so no run begins while code is loaded, and workers of workers have an end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagy.errors import DefinitionError

DEEPEST = 5  # levels of workers that workers may have

_level = 0
_is_loading = False


def level() -> int:
    """How many workers this process is in, one in the other."""
    return _level


def set_level(number: int) -> None:
    """This process is a worker in so many."""
    global _level
    _level = number


@contextmanager
def loading_code() -> Iterator[None]:
    """What the block does is only to load code."""
    global _is_loading
    _is_loading = True
    try:
        yield
    finally:
        _is_loading = False


def refuse_while_loading(flow_name: str) -> None:
    """Raise `DefinitionError` if a run may not begin now."""
    if _is_loading:
        raise DefinitionError(
            f"a module runs flow {flow_name!r} when it is imported, and a worker process imports it to find its task: "
            "that would go on without end; put the run under `if __name__ == '__main__':`"
        )


def refuse_too_deep() -> None:
    """Raise `DefinitionError` if workers may not be had here."""
    if _level >= DEEPEST:
        raise DefinitionError(
            f"a task in a worker process runs a flow with tasks in worker processes, {DEEPEST} levels deep; "
            "call one flow inside the other, or run the inner one with isolation='thread'"
        )
