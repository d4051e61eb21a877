"""Events become JSON and events again, whatever is in them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.engine import Event, HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.errors import StoreError
from dagy.runs import RecordedError, event_from_json, event_to_json
from dagy.states import State, StateType

texts = st.text(st.characters())  # half surrogate pairs and NULs too
numbers = st.integers(0, 2**62)
states = st.builds(State, st.sampled_from(StateType), texts)
bundles = st.dictionaries(texts, texts | st.integers() | st.lists(texts))
events = st.one_of(
    st.builds(RunChanged, numbers, numbers, states),
    st.builds(TaskChanged, numbers, numbers, texts, numbers, states),
    st.builds(ItemChanged, numbers, numbers, texts, numbers, numbers, states),
    st.builds(TaskWrote, numbers, numbers, texts, numbers, texts, texts, numbers),
    st.builds(TaskShowed, numbers, numbers, texts, numbers, bundles, bundles),
)


def again(event: Event) -> Event:
    return event_from_json(json.loads(json.dumps(event_to_json(event), allow_nan=False)))


@given(events)
def test_an_event_comes_back_from_json_as_it_was(event: Event) -> None:
    assert again(event) == event


@pytest.mark.parametrize("task", ["load", None])
def test_the_error_of_a_hook_comes_back_as_what_it_said(task: str | None) -> None:
    event = HookFailed(3, 5, task, "tell", KeyError("no \ud800 such row"))
    told = again(event)
    assert isinstance(told, HookFailed)
    assert told[:4] == event[:4]
    assert isinstance(told.error, RecordedError)
    assert str(told.error) == "KeyError: 'no \\ud800 such row'"
    assert event_to_json(again(told)) == event_to_json(event)


def test_only_the_keys_that_apply_are_there() -> None:
    assert event_to_json(RunChanged(0, 7, State(StateType.RUNNING))) == {
        "kind": "run", "seq": 0, "at": 7, "state": "RUNNING",
    }  # fmt: skip
    assert event_to_json(TaskWrote(1, 8, "load", 2, "stdout", "rows\n")) == {
        "kind": "output", "seq": 1, "at": 8, "task": "load", "attempt": 2, "stream": "stdout", "text": "rows\n",
    }  # fmt: skip


def test_what_json_does_not_hold_of_a_display_becomes_text() -> None:
    told = again(TaskShowed(0, 0, "load", 1, {"application/json": {"price": float("nan"), "at": {1}}}, {}))
    assert isinstance(told, TaskShowed)
    assert told.data == {"application/json": {"price": "NaN", "at": "{1}"}}


@pytest.mark.parametrize(
    "data",
    [{}, {"kind": "task", "seq": 0, "at": 0}, {"kind": "news", "seq": 0, "at": 0},
     {"kind": "run", "seq": 0, "at": 0, "state": "HAPPY"}],
)  # fmt: skip
def test_what_is_no_event_is_refused_and_shown(data: dict[str, object]) -> None:
    with pytest.raises(StoreError, match="no event that can be read"):
        event_from_json(data)
