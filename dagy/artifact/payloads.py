"""What the handler is asked for: payloads as values, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagy.errors import ParameterError, did_you_mean, shown
from dagy.spec import Json

STEPS = ("begin", "ready", "task", "count", "end")


@dataclass(frozen=True, slots=True)
class Payload:
    """What is asked for: see `dagy.artifact.handler`."""

    run_id: str | None = None
    parameters: Mapping[str, Json] | None = None
    references: Mapping[str, Json] = field(default_factory=dict)
    resume: str | None = None
    fail_fast: bool | None = None
    max_workers: int | None = None
    events: bool = True
    deployment: str | None = None
    trigger: str | None = None
    step: str | None = None
    task: str | None = None
    item: int | None = None
    attempt: int = 1
    inline: int = 1_000
    crashed: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def of(cls, event: object) -> Payload:
        """The payload that `event` is. Raises `ParameterError`."""
        if not isinstance(event, Mapping):
            raise ParameterError(f"a payload is a JSON object, not {shown(event)}")
        for name, value in event.items():
            if name not in _KINDS:
                hint = did_you_mean(str(name), _KINDS) or f"; it has {', '.join(_KINDS)}"
                raise ParameterError(f"a payload has no {name!r}{hint}")
            kind = _KINDS[name]
            is_number = type(value) is int and value >= _LOWEST.get(name, 1)
            if value is not None and not (is_number if kind is int else isinstance(value, kind)):
                raise ParameterError(f"the payload's {name!r} can't be {shown(value)}")
        payload = cls(**{name: value for name, value in event.items() if value is not None})
        payload._check()
        return payload

    def _check(self) -> None:
        if self.step is None:
            if self.task is not None:
                raise ParameterError(f'the payload\'s \'task\' is of a step; say "step": "task" with {self.task!r}')
            return
        if self.step not in STEPS:
            raise ParameterError(f"the payload's 'step' can't be {self.step!r}; the steps are {', '.join(STEPS)}")
        if self.run_id is None:
            raise ParameterError(f"the step {self.step!r} needs a 'run_id'")
        if self.step in ("ready", "task", "count") and self.task is None:
            raise ParameterError(f"the step {self.step!r} needs a 'task'")


_KINDS: Mapping[str, type] = {
    "run_id": str, "parameters": Mapping, "references": Mapping, "resume": str, "fail_fast": bool, "max_workers": int,
    "events": bool, "deployment": str, "trigger": str, "step": str, "task": str, "item": int, "attempt": int,
    "inline": int, "crashed": Mapping,
}  # fmt: skip
_LOWEST = {"item": 0, "inline": 0}  # of a number; else 1
