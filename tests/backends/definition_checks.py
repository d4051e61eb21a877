"""Whether a state machine's definition holds together: the one of the validators that is our own.

Step Functions checks the same when a state machine is made, and tells of one fault at a time. `faults` knows the part
of the language that Dagy writes (JSONata, no paths), and tells of all that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dagy.spec import Json

MOST_CHARACTERS = 80  # of a state's name
MOST_SECONDS = 99_999_999

_GOES_ON = {"Type", "Next", "End", "Output"}
_MAY_FAIL = _GOES_ON | {"Retry", "Catch"}
_ONLY_DISTRIBUTED = {"ItemReader", "ToleratedFailurePercentage"}
_FIELDS: Mapping[str, set[str]] = {
    "Task": _MAY_FAIL | {"Resource", "Arguments", "TimeoutSeconds"},
    "Parallel": _MAY_FAIL | {"Branches", "Arguments"},
    "Map": _MAY_FAIL | _ONLY_DISTRIBUTED | {"Items", "ItemSelector", "ItemProcessor", "MaxConcurrency"},
    "Pass": _GOES_ON,
    "Choice": {"Type", "Choices", "Default", "Output"},
    "Succeed": {"Type", "Output"},
    "Fail": {"Type", "Error", "Cause"},
}
_NEEDED: Mapping[str, str] = {
    "Task": "Resource",
    "Parallel": "Branches",
    "Map": "ItemProcessor",
    "Choice": "Choices",
}


def faults(definition: Mapping[str, Json]) -> tuple[str, ...]:
    """A sentence for each thing that is wrong with `definition`; none when it is well formed."""
    return tuple(_faults(definition))


def is_legal(name: str) -> bool:
    """Whether Step Functions takes it as a state's name."""
    return 0 < len(name) <= MOST_CHARACTERS and not re.search(r'[\x00-\x1f\x7f-\x9f<>{}\[\]?*"#%\\^|~`$&,;:/]', name)


def _faults(definition: Mapping[str, Json]) -> Iterator[str]:
    if definition.get("QueryLanguage") != "JSONata":
        yield "the machine's QueryLanguage is not JSONata"
    taken: set[str] = set()
    chains: list[tuple[str, Mapping[str, Json]]] = [("the machine", definition)]
    while chains:
        where, chain = chains.pop()
        states = chain.get("States")
        if not isinstance(states, Mapping) or not states:
            yield f"{where} has no states"
            continue
        if chain.get("StartAt") not in states:
            yield f"{where} starts at {chain.get('StartAt')!r}, which is not one of its states"
        reached = {chain.get("StartAt")}
        for name, state in states.items():
            if name in taken:
                yield f"there is more than one state {name!r}"
            taken.add(name)
            if not is_legal(name):
                yield f"{name!r} is no name for a state, which has up to {MOST_CHARACTERS} characters, none special"
            for fault in _of_state(state):
                yield f"state {name!r} {fault}"
            for target in _targets(state):
                reached.add(target)
                if target not in states:
                    yield f"state {name!r} leads to {target!r}, which is not beside it"
            chains += [(f"a branch of {name!r}", each) for each in state.get("Branches", ())]
            if "ItemProcessor" in state:
                chains.append((f"the items of {name!r}", state["ItemProcessor"]))
        for name in states:
            if name not in reached:
                yield f"nothing leads to state {name!r}"
        if not any(state.get("End") or state.get("Type") in ("Succeed", "Fail") for state in states.values()):
            yield f"{where} never ends"


def _targets(state: Mapping[str, Json]) -> Iterator[str]:
    """The states that come after this one."""
    for each in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        if "Next" in each:
            yield each["Next"]
    if "Default" in state:
        yield state["Default"]


def _of_state(state: Mapping[str, Json]) -> Iterator[str]:
    kind = str(state.get("Type"))
    if kind not in _FIELDS:
        yield f"has the type {kind!r}, which there is not"
        return
    for unknown in sorted(state.keys() - _FIELDS[kind]):
        yield f"is a {kind} and can't have {unknown!r}"
    if kind in _NEEDED and not state.get(_NEEDED[kind]):
        yield f"is a {kind} and has no {_NEEDED[kind]!r}"
    if "Next" in _FIELDS[kind] and ("Next" in state) == (state.get("End") is True):
        yield "must have one of 'Next' and 'End'"
    if kind == "Map":
        mode = state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode", "INLINE")
        if mode != "DISTRIBUTED" and _ONLY_DISTRIBUTED & state.keys():
            yield f"can't have {sorted(_ONLY_DISTRIBUTED & state.keys())[0]!r} unless it is distributed"
        if not _is_whole(state.get("MaxConcurrency", 0), 0):
            yield "has a 'MaxConcurrency' that is no whole number of at least 0"
    if not _is_whole(state.get("TimeoutSeconds", 1), 1):
        yield f"has a 'TimeoutSeconds' that is no whole number from 1 to {MOST_SECONDS:,}"
    for name in ("Retry", "Catch"):
        yield from _of_handlers(name, state.get(name, ()))
    yield from _of_expressions(state)


def _of_handlers(name: str, handlers: Json) -> Iterator[str]:
    for number, each in enumerate(handlers, 1):
        errors = each.get("ErrorEquals")
        if not errors:
            yield f"has a {name} without 'ErrorEquals'"
        elif "States.ALL" in errors and (len(errors) > 1 or number < len(handlers)):
            yield f"has a {name} with States.ALL that is not alone and last"
        if name == "Catch" and "Next" not in each:
            yield "has a Catch that leads nowhere"
        if not _is_whole(each.get("IntervalSeconds", 1), 1) or not _is_whole(each.get("MaxAttempts", 1), 0):
            yield f"has a {name} whose times or tries are no whole numbers"
        if each.get("BackoffRate", 1) < 1:
            yield f"has a {name} with a 'BackoffRate' below 1"


def _of_expressions(state: Mapping[str, Json]) -> Iterator[str]:
    """What is wrong with the texts of the state that are expressions, its inner states left out."""
    todo: list[Json] = [value for name, value in state.items() if name not in ("Branches", "ItemProcessor")]
    while todo:
        each = todo.pop()
        if isinstance(each, Mapping):
            todo += each.values()
        elif isinstance(each, list):
            todo += each
        elif isinstance(each, str) and each.startswith("{%") != each.endswith("%}"):
            yield f"has an expression with one end: {each!r}"
    for each in state.get("Choices", ()):
        if not str(each.get("Condition")).startswith("{%"):
            yield "chooses by something that is no expression"


def _is_whole(value: Json, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST_SECONDS
