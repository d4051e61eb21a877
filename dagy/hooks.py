"""What a flow or a task calls when its state changes, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from dagy.errors import DefinitionError
from dagy.states import State, StateType


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a hook is told beside the state.

    `attempt` counts from 1. `parameters` are the flow's for a flow's hook, and the task's inputs for a task's hook.
    `task_id` is None in a flow's hook; `item` says, from 0, which item of a mapped task the hook is about.
    """

    name: str
    run_id: str
    flow_name: str
    attempt: int = 1
    parameters: Mapping[str, object] = field(default_factory=dict)
    task_id: str | None = None
    item: int | None = None


class Hook(Protocol):
    """Called with a `RunContext` and the new `State`: a plain function, or a subclass with `__call__`.

    A hook that raises is logged and recorded, and changes nothing.
    """

    def __call__(self, context: RunContext, state: State, /) -> object:
        """React to the new state; what is returned is ignored."""


Hooks: TypeAlias = Mapping[StateType, tuple[Hook, ...]]


def hooks_by_state(
    *,
    of: str,
    on_running: Sequence[Hook] | None = None,
    on_completion: Sequence[Hook] | None = None,
    on_failure: Sequence[Hook] | None = None,
    on_retry: Sequence[Hook] | None = None,
) -> Hooks:
    """Which hooks each state calls; `on_failure` is for every end that is a failure: FAILED, TIMED_OUT, CRASHED."""
    found: dict[StateType, tuple[Hook, ...]] = {}
    for option, hooks, types in (
        ("on_running", on_running, (StateType.RUNNING,)),
        ("on_completion", on_completion, (StateType.COMPLETED,)),
        ("on_failure", on_failure, (StateType.FAILED, StateType.TIMED_OUT, StateType.CRASHED)),
        ("on_retry", on_retry, (StateType.RETRYING,)),
    ):
        if not hooks:
            continue
        if not isinstance(hooks, Sequence):
            raise DefinitionError(f"{of}: {option} must be a list of functions, not {hooks!r}; write {option}=[...]")
        for hook in hooks:
            if not callable(hook):
                raise DefinitionError(f"{of}: {option} holds {hook!r}, which can't be called")
        for each in types:
            found[each] = tuple(hooks)
    return found
