"""A flow that Step Functions runs ends as a local run of it does: whatever its graph, and whatever fails.

The state machine is the compiled one under moto's interpreter, and its tasks are the handler's own steps in this
process, over a store in a folder. On top of what the tasks themselves do, the cloud fails too: it throttles before a
step runs, and loses the answer after it ran. Neither may change the outcome, nor may where tasks and items run: in a
function or a container, in the run's own history or apart.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dagy
from dagy.artifact.invocations import Invocation
from dagy.artifact.payloads import Payload
from dagy.artifact.references import Values
from dagy.artifact.run_store import RunStore
from dagy.artifact.steps import run_step
from dagy.backends.state_machine import compile_flow
from dagy.errors import SkipTask
from dagy.flows import Flow
from dagy.values import ABSENT

from .flow_specs import WHERE, graphs
from .interpreting import Cloud, interpreted

pytestmark = pytest.mark.program


@dataclass(frozen=True)
class Behaviour:
    """What a task does: it fails `failures` times, of which it is tried again `retries` times.

    When it does not, it may find that it has nothing to do, or give nothing; and it may be a branch, which gives "yes"
    or "no".
    """

    failures: int = 0
    retries: int = 0
    mapped: str = ""  # over the "first" that it needs, or "all"; or a list of the flow's "own"
    width: int = 0  # of the list that it returns
    on_ecs: bool = False
    skips: int = 0  # inputs whose texts have a length that is a multiple of this; 0: none
    branches: bool = False
    optional: bool = False  # whether it can do without what it takes
    gives_nothing: bool = False
    has_hole: bool = False  # in the list that it returns
    follows: bool = False  # it only comes after the last of what it needs


@dataclass
class Flaws:
    """How the cloud fails: by step, in the order in which they are asked for. And how many items are few to it."""

    inline: int
    before: frozenset[int] = frozenset()  # throttled: the step does not run
    after: frozenset[int] = frozenset()  # the step runs, and its answer is lost
    count: itertools.count[int] = field(default_factory=itertools.count)


class TooManyRequestsError(Exception):
    """Lambda's own, by the name that a state machine knows it by."""


TooManyRequestsError.__name__ = "Lambda.TooManyRequestsException"


class KilledError(Exception):
    """The function's process died."""


KilledError.__name__ = "Runtime.ExitError"


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[dict[str, tuple[str, ...]], dict[str, Behaviour], Flaws]:
    needs = draw(graphs(most=6))
    behaviours = {
        name: Behaviour(
            failures=draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 9])),
            retries=draw(st.sampled_from([0, 0, 1, 2])),
            mapped=draw(st.sampled_from(["", "", "", "first", "first", "all", "own"])),
            width=draw(st.integers(0, 3)),
            on_ecs=draw(st.sampled_from([False, False, True])),
            skips=draw(st.sampled_from([0, 0, 0, 0, 2, 3])),
            branches=draw(st.booleans()),
            optional=draw(st.booleans()),
            gives_nothing=draw(st.sampled_from([False, False, False, True])),
            has_hole=draw(st.sampled_from([False, False, True])),
            follows=draw(st.sampled_from([False, False, True])),
        )
        for name in needs
    }
    numbers = st.frozensets(st.integers(0, 20), max_size=3)
    return needs, behaviours, Flaws(draw(st.sampled_from([1, 9])), draw(numbers), draw(numbers))


def made_flow(needs: Mapping[str, tuple[str, ...]], behaviours: Mapping[str, Behaviour]) -> tuple[Flow[..., Any], Any]:
    """The flow, and what counts the calls of its tasks: to be cleared before a run."""
    calls: Counter[Any] = Counter()
    lock = threading.Lock()
    tasks = {name: made_task(name, behaviours[name], calls, lock) for name in needs}

    def etl() -> Any:
        outputs: dict[str, Any] = {}
        for name, given_names in needs.items():
            way = "yes" if int(name[1:]) % 2 else "no"
            upstream = [outputs[each][way] if behaviours[each].branches else outputs[each] for each in given_names]
            work, behaviour = tasks[name], behaviours[name]
            if behaviour.follows and upstream:
                work = work.after(outputs[given_names[-1]])
                upstream.pop()
            if not upstream or not behaviour.mapped:
                outputs[name] = work(upstream[:1], upstream[1:])
            elif behaviour.mapped == "own":
                outputs[name] = work.map(["1", "22"], others=upstream)
            elif behaviour.mapped == "first":
                outputs[name] = work.map(upstream[0], others=upstream[1:])
            else:
                outputs[name] = work.map(upstream[0], upstream[1:])
        return list(outputs.values())

    return dagy.flow(name="etl")(etl), calls


def made_task(name: str, behaviour: Behaviour, calls: Counter[Any], lock: threading.Lock) -> Any:
    def work(first: Any, others: Any = ()) -> Any:
        with lock:
            calls[name, repr(first)] += 1
            number = calls[name, repr(first)]
        if number <= behaviour.failures:
            raise ValueError(f"{name} fails for the {number}. time")
        length = len(repr(first))
        if behaviour.skips and length % behaviour.skips == 0:
            raise SkipTask(f"{name} has nothing to do")
        if behaviour.gives_nothing:
            return ABSENT
        value: list[Any] = [f"{name}{each}" for each in range(behaviour.width)]
        value[1:2] = [ABSENT] if behaviour.has_hole and behaviour.width > 1 else value[1:2]
        if not behaviour.branches:
            return value
        return {"yes": value, "no": ABSENT} if length % 2 else {"yes": ABSENT, "no": value}

    made = dagy.task(name=name, retries=behaviour.retries)(work)
    made.optional = ("first", "others") if behaviour.optional else ()
    return made


def locally(flow: Flow[..., Any]) -> tuple[Any, ...]:
    result = flow.run_local(fail_fast=False)
    ends = {task: run.state.type.value for task, run in result.task_runs.items()}
    return result.state.type.value, ends, result.value if result.state.is_completed else None


def by_state_machine(flow: Flow[..., Any], on_ecs: Sequence[str], store: RunStore, flaws: Flaws) -> tuple[Any, ...]:
    def function(payload: dict[str, Any]) -> Any:
        number = next(flaws.count)
        if number in flaws.before:
            raise TooManyRequestsError
        if payload["step"] == "count":
            payload["inline"] = flaws.inline
        answer = run_step(flow, Payload.of(payload), Invocation(store.values))
        if "indices" in answer:  # a key in the bucket, which here is the whole file system
            cloud.objects[f"{WHERE.bucket}/{answer['indices']}"] = Path("/", answer["indices"]).read_bytes()
        if number in flaws.after:
            raise KilledError("signal: killed")
        return answer

    def container(event: dict[str, Any]) -> int:
        run_step(flow, Payload.of(event), Invocation(store.values, tries_again=True))
        return 0

    cloud = Cloud(function, container)
    machine = compile_flow(flow.spec, WHERE, on_ecs=on_ecs)
    ended = interpreted(machine.definition, {"run_id": store.run_id, "fail_fast": False}, cloud)
    answer = store.answer()
    assert answer is not None
    assert ended.status == ("SUCCEEDED" if answer["state"] == "COMPLETED" else "FAILED")
    assert ended.error == (None if answer["state"] == "COMPLETED" else answer["state"])
    assert len(ended.events) <= machine.events
    ends = {task: each["state"] for task, each in answer["tasks"].items()}
    value = store.values.opened(answer["result"]) if "result" in answer else None
    return answer["state"], ends, value


@settings(max_examples=30, phases=(Phase.explicit, Phase.generate))  # nobody waits for a failure to shrink
@given(scenario=scenarios())
def test_random_graphs_under_random_faults_end_as_they_do_locally(
    tmp_path_factory: pytest.TempPathFactory,
    scenario: tuple[dict[str, tuple[str, ...]], dict[str, Behaviour], Flaws],
):
    needs, behaviours, flaws = scenario
    flow, calls = made_flow(needs, behaviours)
    expected = locally(flow)
    calls.clear()
    store = RunStore(Values(Path(tmp_path_factory.mktemp("store")).as_uri()), "etl-1")
    on_ecs = [name for name, each in behaviours.items() if each.on_ecs]
    assert by_state_machine(flow, on_ecs, store, flaws) == expected
