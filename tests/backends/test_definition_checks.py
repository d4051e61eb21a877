"""Our own check of a state machine's definition finds each fault, and says where it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from .definition_checks import faults
from .validators import VALIDATORS

LAMBDA = "arn:aws:states:::lambda:invoke"


def call(**fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": LAMBDA,
        "Arguments": {"FunctionName": "arn:aws:lambda:eu:1:function:f"},
        **fields,
    }


def chain(**states: Any) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


def machine(**states: Any) -> dict[str, Any]:
    return {"QueryLanguage": "JSONata", **chain(**states)}


RETRY = {"ErrorEquals": ["A"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1}
ALL = {"ErrorEquals": ["States.ALL"]}
ITEM = {"ProcessorConfig": {"Mode": "INLINE"}, **chain(item={"Type": "Pass", "End": True})}
GOOD = machine(
    begin=call(Retry=[RETRY], Catch=[{"ErrorEquals": ["States.ALL"], "Next": "which"}], TimeoutSeconds=5, Next="which"),
    which={"Type": "Choice", "Choices": [{"Condition": "{% $states.input.x %}", "Next": "both"}], "Default": "each"},
    both={"Type": "Parallel", "Branches": [chain(one={"Type": "Pass", "End": True})], "Next": "each"},
    each={"Type": "Map", "Items": "{% [0..3] %}", "ItemProcessor": ITEM, "MaxConcurrency": 4, "Next": "done"},
    done={"Type": "Succeed"},
)

BROKEN: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "dangling next": (("begin", "Next"), "nowhere", "state 'begin' leads to 'nowhere', which is not beside it"),
    "dangling catch": (("begin", "Catch"), [{**ALL, "Next": "one"}], "'begin' leads to 'one', which is not beside it"),
    "next and end": (("begin", "End"), True, "state 'begin' must have one of 'Next' and 'End'"),
    "unknown field": (("begin", "Parameters"), {}, "state 'begin' is a Task and can't have 'Parameters'"),
    "unknown type": (("begin", "Type"), "Work", "state 'begin' has the type 'Work', which there is not"),
    "no resource": (("begin", "Resource"), None, "state 'begin' is a Task and has no 'Resource'"),
    "timeout": (("begin", "TimeoutSeconds"), 0, "state 'begin' has a 'TimeoutSeconds' that is no whole number"),
    "all is not alone": (("begin", "Retry"), [{"ErrorEquals": ["A", "States.ALL"]}], "States.ALL that is not alone"),
    "all is not last": (("begin", "Retry"), [ALL, RETRY], "has a Retry with States.ALL that is not alone and last"),
    "no errors": (("begin", "Retry"), [{"MaxAttempts": 1}], "has a Retry without 'ErrorEquals'"),
    "half a second": (("begin", "Retry"), [{**RETRY, "IntervalSeconds": 0.5}], "times or tries are no whole numbers"),
    "backoff": (("begin", "Retry"), [{**RETRY, "BackoffRate": 0.5}], "has a Retry with a 'BackoffRate' below 1"),
    "catch to nowhere": (("begin", "Catch"), [{"ErrorEquals": ["A"]}], "has a Catch that leads nowhere"),
    "one end": (("begin", "Output"), "{% $states.input", "has an expression with one end"),
    "nothing to choose": (("which", "Choices"), [], "is a Choice and has no 'Choices'"),
    "no condition": (("which", "Choices"), [{"Condition": True, "Next": "both"}], "chooses by something that is no"),
    "no branches": (("both", "Branches"), [], "state 'both' is a Parallel and has no 'Branches'"),
    "same name": (("both", "Branches"), [chain(begin={"Type": "Pass", "End": True})], "more than one state 'begin'"),
    "reader inline": (("each", "ItemReader"), {}, "state 'each' can't have 'ItemReader' unless it is distributed"),
    "concurrency": (("each", "MaxConcurrency"), -1, "'MaxConcurrency' that is no whole number of at least 0"),
    "never ends": (("done",), {"Type": "Pass", "Next": "begin"}, "the machine never ends"),
    "unreachable": (("alone",), {"Type": "Succeed"}, "nothing leads to state 'alone'"),
    "bad name": (("a/b",), {"Type": "Succeed"}, "'a/b' is no name for a state"),
}  # fmt: skip


def broken(path: tuple[str, ...], value: Any) -> Any:
    """`GOOD` with that value, or without it, there."""
    definition = copy.deepcopy(GOOD)
    place = definition["States"]
    for each in path[:-1]:
        place = place[each]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return definition


def test_what_is_well_formed_has_no_fault():
    assert faults(GOOD) == ()


@pytest.mark.program
@pytest.mark.parametrize("validator", VALIDATORS)
def test_the_well_formed_one_is_so_to_every_validator(validator: str):
    assert VALIDATORS[validator]([GOOD]) == [[]]


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_found_and_told_with_its_place(name: str):
    path, value, message = BROKEN[name]
    assert any(message in each for each in faults(broken(path, value)))


def test_a_start_that_is_not_there_is_told():
    assert "the machine starts at 'nowhere', which is not one of its states" in faults({**GOOD, "StartAt": "nowhere"})


def test_a_chain_without_states_is_told():
    assert faults({"QueryLanguage": "JSONata", "StartAt": "a", "States": {}}) == ("the machine has no states",)


def test_another_query_language_is_told():
    assert faults({**GOOD, "QueryLanguage": "JSONPath"}) == ("the machine's QueryLanguage is not JSONata",)
