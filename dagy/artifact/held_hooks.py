"""A task's hooks where its end counts only once it is stored: those for the end are called after that, and once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from dagy.engine import Event, HookFailed
from dagy.errors import shown
from dagy.hooks import Hook, Hooks, RunContext
from dagy.states import State, StateType

logger = logging.getLogger(__name__)


class HeldHooks:
    """The hooks of one attempt: `hooks` are the task's."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._context: RunContext | None = None

    @property
    def of_program(self) -> Hooks:
        """What the engine calls: the hooks for what is no end, and for every end one that notes what it was told."""
        if not self._hooks:
            return {}
        held: dict[StateType, tuple[Hook, ...]] = {kind: (self._hold,) for kind in StateType if State(kind).is_final}
        return {**held, **{kind: hooks for kind, hooks in self._hooks.items() if not State(kind).is_final}}

    def call(self, state: State) -> list[Event]:
        """Call those for `state`, in which the attempt has ended, or will be followed by another."""
        if self._context is None:
            return []
        return call_hooks(self._hooks.get(state.type, ()), self._context, state)

    def _hold(self, context: RunContext, state: State) -> None:
        self._context = context


def call_hooks(hooks: Iterable[Hook], context: RunContext, state: State) -> list[Event]:
    """Call the hooks; what of them failed is to be told, and changes nothing."""
    told: list[Event] = []
    for hook in hooks:
        try:
            hook(context, state)
        except BaseException as error:  # noqa: BLE001 (user code)
            name = getattr(hook, "__qualname__", None) or type(hook).__qualname__
            logger.warning("hook %s of %r raised %s in state %s", name, context.name, shown(error), state.type)
            told.append(HookFailed(0, time.time_ns(), context.task_id, name, error))
    return told
