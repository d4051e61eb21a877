"""Hooks: which state calls which, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dagy import RunContext, State, StateType
from dagy.errors import DefinitionError
from dagy.hooks import hooks_by_state


def note(context: RunContext, state: State) -> None: ...


@pytest.mark.parametrize(
    ("option", "kinds"),
    [
        ("on_running", {StateType.RUNNING}),
        ("on_completion", {StateType.COMPLETED}),
        ("on_failure", {StateType.FAILED, StateType.TIMED_OUT, StateType.CRASHED}),
        ("on_retry", {StateType.RETRYING}),
    ],
)
def test_each_option_is_for_its_states(option: str, kinds: set[StateType]):
    assert hooks_by_state(of="task 'load'", **{option: [note]}) == dict.fromkeys(kinds, (note,))


def test_without_hooks_there_is_nothing_to_call():
    assert hooks_by_state(of="task 'load'", on_running=[], on_failure=None) == {}


def test_a_function_without_a_list_around_it_is_refused_with_the_remedy():
    with pytest.raises(
        DefinitionError, match=r"task 'load': on_retry must be a list of functions.*write on_retry=\[...\]"
    ):
        hooks_by_state(of="task 'load'", on_retry=note)  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", ["note", 3, None])
def test_what_can_not_be_called_is_no_hook(hook: Any):
    with pytest.raises(DefinitionError, match=f"flow 'etl': on_running holds {hook!r}, which can't be called"):
        hooks_by_state(of="flow 'etl'", on_running=[hook])


def test_a_context_can_not_be_changed():
    with pytest.raises(AttributeError):
        RunContext("load", "r-1", "etl").attempt = 2  # type: ignore[misc]
