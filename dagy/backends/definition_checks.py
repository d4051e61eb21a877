"""Whether a state machine's definition holds together: what every definition is asked before it leaves Dagy.

Step Functions checks the same when a state machine is made, and tells of one fault at a time. `faults` knows the part
of the language that Dagy writes (JSONata, no paths), and tells of all that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dagy.backends.state_names import MOST_CHARACTERS, is_legal
from dagy.spec import Json

MOST_SECONDS = 99_999_999

_ALWAYS = {"Type", "Comment", "QueryLanguage"}
_GOES_ON = {"Next", "End", "Output", "Assign"}
_MAY_FAIL = {"Retry", "Catch"}
_FIELDS: Mapping[str, set[str]] = {
    "Task": _GOES_ON | _MAY_FAIL | {"Resource", "Arguments", "TimeoutSeconds", "HeartbeatSeconds", "Credentials"},
    "Parallel": _GOES_ON | _MAY_FAIL | {"Branches", "Arguments"},
    "Map": _GOES_ON
    | _MAY_FAIL
    | {
        "Items", "ItemReader", "ItemSelector", "ItemBatcher", "ItemProcessor", "ResultWriter", "MaxConcurrency",
        "ToleratedFailurePercentage", "ToleratedFailureCount", "Label",
    },
    "Pass": _GOES_ON,
    "Wait": _GOES_ON | {"Seconds", "Timestamp"},
    "Choice": {"Choices", "Default", "Output", "Assign"},
    "Succeed": {"Output"},
    "Fail": {"Error", "Cause"},
}  # fmt: skip
_NEEDED: Mapping[str, set[str]] = {
    "Task": {"Resource"},
    "Parallel": {"Branches"},
    "Map": {"ItemProcessor"},
    "Choice": {"Choices"},
}
_ONLY_DISTRIBUTED = {"ItemReader", "ItemBatcher", "ResultWriter", "ToleratedFailurePercentage", "ToleratedFailureCount"}


def faults(definition: Mapping[str, Json]) -> tuple[str, ...]:
    """A sentence for each thing that is wrong with `definition`; none when it is well formed."""
    return tuple(_faults(definition))


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
    for unknown in sorted(state.keys() - _FIELDS[kind] - _ALWAYS):
        yield f"is a {kind} and can't have {unknown!r}"
    for missing in sorted(_NEEDED.get(kind, set()) - state.keys()):
        yield f"is a {kind} and has no {missing!r}"
    if "Next" in _FIELDS[kind] and ("Next" in state) == (state.get("End") is True):
        yield "must have one of 'Next' and 'End'"
    if kind == "Choice" and not state.get("Choices"):
        yield "has nothing to choose from"
    if kind == "Parallel" and not state.get("Branches"):
        yield "has no branches"
    if kind == "Map":
        mode = state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode", "INLINE")
        if mode != "DISTRIBUTED" and _ONLY_DISTRIBUTED & state.keys():
            yield f"can't have {sorted(_ONLY_DISTRIBUTED & state.keys())[0]!r} unless it is distributed"
        if not _is_whole(state.get("MaxConcurrency", 0), 0):
            yield "has a 'MaxConcurrency' that is no whole number of at least 0"
    if not _is_whole(state.get("TimeoutSeconds", 1), 1):
        yield f"has a 'TimeoutSeconds' that is no whole number from 1 to {MOST_SECONDS:,}"
    for name in _MAY_FAIL & state.keys():
        yield from _of_handlers(name, state[name])
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
