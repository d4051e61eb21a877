"""A flow as a state machine of AWS Step Functions: `FlowSpec` in, Amazon States Language (JSONata) out.

The machine is control only: it knows the order, and what is worth another try. What tasks take and return lies in the
run's store, by the artifact's handler, which also decides what becomes of a task whose upstream has no value. So each
task is always reached, a failure never stops what is independent of it, and the only data that flows from state to
state says which tasks crashed, of which the handler could not know.

    begin -> (running?) -> the tasks, in series and in parallel -> end -> (completed?) -> completed | not completed
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from dagy.backends import history
from dagy.backends.decomposition import Part, decompose
from dagy.backends.limits import LIMITS
from dagy.backends.machine_calls import MOST_SECONDS, STEP_EVENTS, item_events, task_events, whole_seconds
from dagy.backends.machine_resources import ContainerSize, EcsTarget, MachineResources, Placement
from dagy.backends.machine_states import StateWriter
from dagy.backends.wording import some
from dagy.errors import BackendError, LimitError, UnknownTaskError
from dagy.graph import ordered
from dagy.retry import retry_groups
from dagy.spec import FlowSpec, Json, TaskSpec

__all__ = ["ContainerSize", "EcsTarget", "MachineResources", "StateMachine", "compile_flow"]

MOST_BYTES = int(LIMITS["machine.definition"].value)
MOST_INLINE = 500  # items of a map in one history, however much room there is

_LEAST_BYTES = 500  # that a task adds to a definition
_FLOW_MARGIN_SECONDS = 600  # the handler ends a flow that is out of time; the machine only one that does not answer
_FRAME = history.EXECUTION + 2 * STEP_EVENTS + 3 * history.PASSED


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A definition that Step Functions takes, and what is worth knowing of it."""

    definition: Mapping[str, Json]
    text: str  # the definition as JSON
    size: int  # of the text, in bytes
    events: int  # in the longest history of one execution, at worst
    notes: tuple[str, ...]  # a sentence for each thing that is not quite as in a local run


def compile_flow(
    spec: FlowSpec,
    where: MachineResources,
    *,
    on_ecs: Collection[str] = (),
    container_sizes: Mapping[str, ContainerSize] | None = None,
) -> StateMachine:
    """The state machine that runs `spec`: one state a task, those of `on_ecs` (ids) in containers.

    The same flow and resources give the same text. Raises `BackendError` when Step Functions can't run the flow as it
    stands, `LimitError` when it is too large, `UnknownTaskError` for an id that is not in the flow.
    """
    known = {task.id for task in spec.tasks}
    for each in (*on_ecs, *(container_sizes or ())):
        if each not in known:
            raise UnknownTaskError(each, known, where=f"flow {spec.name!r}")
    if on_ecs and where.ecs is None:
        raise BackendError(f"tasks of flow {spec.name!r} are to run in containers, and no cluster is given for them")
    reasons = tuple(_unsayable(spec, on_ecs, where.function_timeout_seconds))
    if reasons:
        raise BackendError(f"Step Functions can't run flow {spec.name!r} as it stands", reasons)
    return _compiled(spec, where, Placement(frozenset(on_ecs), container_sizes or {}))


# ---- what can't be said, and what is said otherwise


def _unsayable(spec: FlowSpec, on_ecs: Collection[str], function_seconds: int) -> Iterator[str]:
    if spec.options.retries:
        yield (
            f"the flow has retries={spec.options.retries}, and an execution goes through its states once; "
            "give the retries to its tasks, or use executor='lambda' or executor='ecs'"
        )
    for task in spec.tasks:
        seconds = task.options.timeout_seconds
        if seconds is not None and task.id not in on_ecs and seconds > function_seconds:
            yield (
                f"task {task.id!r} may take {seconds:g} s, and a Lambda function is stopped after "
                f"{function_seconds} s; give the task executor='ecs'"
            )
        if task.id.startswith("{%") or task.id.endswith("%}"):
            yield f"task {task.id!r} has a name that Step Functions takes for an expression; rename it"


def _notes(spec: FlowSpec, placement: Placement, crowded: Collection[str], waiting: int, apart: int) -> Iterator[str]:
    rounded = [
        task.id
        for task in spec.tasks
        if task.id not in placement.on_ecs
        and any(
            group.delay != whole_seconds(group.delay)
            for group in retry_groups(task.options.retries, task.options.retry_delays)
        )
    ]
    if rounded:
        yield f"between the tries of {some(rounded)} it waits whole seconds, at least 1, as Step Functions does"
    jittered = [task.id for task in spec.tasks if task.options.retry_jitter_factor and task.id not in placement.on_ecs]
    if jittered:
        yield f"retry_jitter_factor of {some(jittered)} is left out: Step Functions' own jitter shortens the waits"
    cached = [task.id for task in spec.tasks if task.options.cache]
    if cached:
        yield f"cache of {some(cached)} is left out: on AWS results are kept for their own run and its resume"
    if crowded:
        yield f"for the concurrency_limit of {some(sorted(crowded))} calls wait for each other in a fixed order"
    if waiting:
        yield (
            f"up to {waiting} of {len(spec.tasks)} tasks wait for some that they do not need: branches of a state "
            "machine can't cross, so where the graph crosses, a level is over before the next begins"
        )
    if apart:
        yield (
            f"{apart} part{'s' if apart > 1 else ''} of the flow run as executions of their own, because the history "
            f"of one has at most {history.MOST_EVENTS:,} events"
        )


# ---- compiling


def _compiled(spec: FlowSpec, where: MachineResources, placement: Placement) -> StateMachine:
    if len(spec.tasks) * _LEAST_BYTES > MOST_BYTES:  # before anything that takes long
        raise _too_large(spec, f"more than {MOST_BYTES:,}")
    needs, crowded = _with_limits(spec)
    placement = replace(placement, inline=_inline_items(spec, placement))
    root: Part | None = None
    waiting, taken = 0, 0
    if needs:
        found = decompose(needs, flow=spec.name)
        waiting = found.waiting
        root, taken = history.within(found.root, _events(spec, placement), history.BUDGET - _FRAME)
    apart = history.aparts(root) if root is not None else ()
    definition = {
        "Comment": f"Dagy flow {spec.name} {spec.version}",
        "QueryLanguage": "JSONata",
        **_deadline(spec),
        **StateWriter(spec, where, placement).frame(root),
    }
    text = json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MOST_BYTES:
        raise _too_large(spec, f"{size:,}")
    notes = tuple(_notes(spec, placement, crowded, waiting, len(apart)))
    return StateMachine(definition, text, size, max(_FRAME + taken, *apart, 0), notes)


def _too_large(spec: FlowSpec, size: str) -> LimitError:
    return LimitError(
        f"the state machine of flow {spec.name!r} with its {len(spec.tasks):,} tasks is {size} bytes, and Step "
        f"Functions takes {MOST_BYTES:,}; map over items rather than calling a task for each, or use executor='ecs'"
    )


def _deadline(spec: FlowSpec) -> dict[str, Json]:
    seconds = spec.options.timeout_seconds
    return {} if seconds is None else {"TimeoutSeconds": min(math.ceil(seconds) + _FLOW_MARGIN_SECONDS, MOST_SECONDS)}


def _with_limits(spec: FlowSpec) -> tuple[dict[str, list[str]], list[str]]:
    """What each task waits for, so that no concurrency limit is passed; and the names of the tasks that it holds up.

    Of calls in an order that the graph allows, each waits for the one that is `concurrency_limit` places before it. A
    mapped call takes all of the limit.
    """
    needs = {task.id: list(task.needs) for task in spec.tasks}
    calls: dict[tuple[str, str], list[TaskSpec]] = {}
    for task in spec.tasks:
        if task.options.concurrency_limit is not None:
            calls.setdefault((task.function, task.name), []).append(task)
    crowded = []
    place = {name: number for number, name in enumerate(ordered(needs, flow=spec.name))} if calls else {}
    for (_, name), tasks in calls.items():
        limit = tasks[0].options.concurrency_limit or 1
        step = 1 if any(task.mapped for task in tasks) else limit
        tasks.sort(key=lambda task: place[task.id])
        for earlier, later in zip(tasks, tasks[step:], strict=False):
            needs[later.id].append(earlier.id)
        if len(tasks) > step:
            crowded.append(name)
    return needs, crowded


def _inline_items(spec: FlowSpec, placement: Placement) -> int:
    """How many items of a map the execution's own history has room for; the maps share what the rest leaves.

    Raises `LimitError` for a task that has so many tries that one call of it fills a history.
    """
    for task in spec.tasks:
        events = item_events(task, placement)
        if events > history.BUDGET // 2:
            raise LimitError(
                f"task {task.id!r} with retries={task.options.retries} takes {events:,} events at worst, and an "
                f"execution's history has at most {history.MOST_EVENTS:,}; give it fewer retries"
            )
    mapped = [task for task in spec.tasks if task.mapped]
    if not mapped:
        return 1
    room = history.BUDGET - _FRAME - sum(_events(spec, placement).values()) - len(spec.tasks) * history.BRANCHES
    share = max(room // len(mapped), history.BUDGET // 10)
    return max(1, min(MOST_INLINE, *(share // item_events(task, placement) for task in mapped)))


def _events(spec: FlowSpec, placement: Placement) -> dict[str, int]:
    """How many events each task takes at worst."""
    return {task.id: task_events(task, placement) for task in spec.tasks}
