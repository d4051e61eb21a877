"""Events as plain JSON, for whoever follows a run from elsewhere.

`event_from_json(event_to_json(event)) == event`, whatever text is in it. Two things do not travel: the error that a
hook raised becomes a `RecordedError` that says the same, and of what a task displayed only what JSON holds is left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, assert_never

from dagy.engine import Event, HookFailed, ItemChanged, RunChanged, TaskChanged, TaskShowed, TaskWrote
from dagy.errors import StoreError, sentence, shown
from dagy.runs.recorded_error import RecordedError
from dagy.spec import Json
from dagy.states import State, StateType


def event_to_json(event: Event) -> dict[str, Json]:
    """`event` as JSON: `kind`, `seq`, `at` in nanoseconds since the epoch, and of the rest what such an event has."""
    told: dict[str, Json] = {"kind": event.kind, "seq": event.seq, "at": event.at}
    match event:
        case RunChanged(state=state):
            return told | _state(state)
        case TaskChanged(task=task, attempt=attempt, state=state):
            return told | {"task": task, "attempt": attempt} | _state(state)
        case ItemChanged(task=task, item=item, attempt=attempt, state=state):
            return told | {"task": task, "item": item, "attempt": attempt} | _state(state)
        case TaskWrote(task=task, attempt=attempt, stream=stream, text=text, dropped=dropped):
            told |= {"task": task, "attempt": attempt, "stream": stream, "text": text}
            return told | {"dropped": dropped} if dropped else told
        case TaskShowed(task=task, attempt=attempt, data=data, metadata=metadata):
            bundle: dict[str, Json] = json.loads(
                bundle_json(data, metadata), parse_constant=str
            )  # JSON has no number for NaN
            return told | {"task": task, "attempt": attempt} | bundle
        case HookFailed(task=hooked, hook=hook, error=error):
            text = str(error) if isinstance(error, RecordedError) else sentence(error)
            return told | {"hook": hook, "error": text} | ({} if hooked is None else {"task": hooked})
        case _:
            assert_never(event)


def event_from_json(data: Mapping[str, Any]) -> Event:
    """The event that `event_to_json` made JSON of. Raises `StoreError` for what is none."""
    try:
        return _event(data)
    except (LookupError, TypeError, ValueError) as error:
        raise StoreError(f"this is no event that can be read ({sentence(error)}): {shown(dict(data))}") from error


def bundle_json(data: Mapping[str, object], metadata: Mapping[str, object]) -> str:
    """A rich display as JSON; of one that JSON can't hold, those of its forms that are text."""
    try:
        return json.dumps({"data": data, "metadata": metadata}, default=str)
    except Exception:  # noqa: BLE001 (the user's own objects: their keys, their __str__, lists that hold themselves)
        texts = {str(kind): text for kind, text in data.items() if isinstance(text, str)}
        return json.dumps({"data": texts, "metadata": {}})


def _state(state: State) -> dict[str, Json]:
    return {"state": str(state.type), "message": state.message} if state.message else {"state": str(state.type)}


def _event(data: Mapping[str, Any]) -> Event:
    seq, at = data["seq"], data["at"]
    match data["kind"]:
        case "run":
            return RunChanged(seq, at, _state_of(data))
        case "task":
            return TaskChanged(seq, at, data["task"], data["attempt"], _state_of(data))
        case "item":
            return ItemChanged(seq, at, data["task"], data["item"], data["attempt"], _state_of(data))
        case "output":
            attempt, dropped = data["attempt"], data.get("dropped", 0)
            return TaskWrote(seq, at, data["task"], attempt, data["stream"], data["text"], dropped)
        case "display":
            return TaskShowed(seq, at, data["task"], data["attempt"], data["data"], data["metadata"])
        case "hook":
            return HookFailed(seq, at, data.get("task"), data["hook"], RecordedError(data["error"]))
        case kind:
            raise ValueError(f"there is no such kind: {kind!r}")


def _state_of(data: Mapping[str, Any]) -> State:
    return State(StateType(data["state"]), data.get("message", ""))
