"""From the backend that was chosen to the route: how much of it, for how long, within which limits, at what cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dagy.backends.costs import cost_of
from dagy.backends.limits import LIMITS, NEAR, LimitUse, container_memory
from dagy.backends.needs import ASSUMED_SECONDS, TaskNeed
from dagy.backends.routes import Route, TaskRoute
from dagy.backends.rules import Facts, backend_asked, path_words
from dagy.backends.state_machine import StateMachine
from dagy.backends.tiers import SIZES, USUAL_CONTAINER, Tier, container_tier, sized_container
from dagy.backends.wording import amount, lasting, some
from dagy.errors import BackendError
from dagy.executors import ECS, LAMBDA, STEP_FUNCTIONS, TIERS, Executor

_SPARE = 60  # seconds that an invocation is given above what its tasks may take, to start and to store
_CONTAINER_SPARE = 300


def placed_on_lambda(facts: Facts, reasons: list[str]) -> Route:
    """The whole flow in one invocation."""
    need = facts.need
    memory = _function_memory(facts, [need.memory_mb])
    limit = LIMITS["lambda.timeout"]
    usual = min(limit.value, need.bound + _SPARE) if need.is_bounded else limit.value
    timeout = facts.executor.timeout_seconds or usual
    whole = TaskRoute("", LAMBDA, "nano", memory, None, timeout, "")
    tasks = {each: _within(whole, task) for each, task in need.tasks.items()}
    problems = [*_unbounded(facts, tasks), *_overruled(facts, LAMBDA)]
    if need.bound > timeout:
        problems.append(
            f"{path_words(need)}, and the invocation ends after {lasting(timeout)}: a task whose time limit is more "
            "than what is left by then is not started, and the run goes on from there when it is resumed"
        )
    limit.check(timeout, "the deploy")
    uses = [limit.check(need.bound, "the longest path")] if need.is_bounded and need.bound <= limit.value else []
    return _route(facts, LAMBDA, whole, tasks, reasons, problems, uses)


def placed_in_machine(facts: Facts, reasons: list[str], containers: Mapping[str, Tier], machine: StateMachine) -> Route:
    """Each task in an invocation, or a container, of its own."""
    on_lambda = [need for each, need in facts.need.tasks.items() if each not in containers]
    memory = _function_memory(facts, [each.memory_mb for each in on_lambda])
    limit = LIMITS["lambda.timeout"]
    longest = max((each.attempt_bound for each in on_lambda), default=0.0)
    is_bounded = all(each.is_bounded for each in on_lambda)
    usual = min(limit.value, longest + _SPARE) if is_bounded else limit.value
    whole = TaskRoute("", LAMBDA, "micro", memory, None, facts.executor.timeout_seconds or usual, "")
    tasks: dict[str, TaskRoute] = {}
    for task_id, need in facts.need.tasks.items():
        if size := containers.get(task_id):
            reason = facts.in_containers[task_id].partition(":")[0]
            tasks[task_id] = TaskRoute(task_id, ECS, size.name, size.memory_mb, size.vcpu, _bound(need), reason)
        else:
            tasks[task_id] = _within(whole, need)
    limit.check(whole.bound_seconds or 0.0, "the deploy")
    uses = [
        LIMITS["machine.definition"].check(machine.size, "the state machine", "deploy with executor='ecs'"),
        LIMITS["machine.events"].check(machine.events, "the longest history", "deploy with executor='ecs'"),
    ]
    problems = [*_unbounded(facts, tasks), *machine.notes]
    return _route(facts, STEP_FUNCTIONS, whole, tasks, reasons, problems, uses)


def placed_in_container(facts: Facts, reasons: list[str]) -> Route:
    """The whole flow in one container."""
    size = _whole_container(facts)
    timeout = facts.executor.timeout_seconds
    if timeout is None and facts.need.is_bounded:
        timeout = facts.need.bound + _CONTAINER_SPARE
    whole = TaskRoute("", ECS, size.name, size.memory_mb, size.vcpu, timeout, "")
    tasks = {each: _within(whole, need) for each, need in facts.need.tasks.items()}
    problems = list(_overruled(facts, ECS))
    if (facts.need.memory_mb or 0) > size.memory_mb:
        needed = amount(facts.need.memory_mb or 0, "MB")
        problems.append(f"its tasks need {needed} side by side, and the container has {amount(size.memory_mb, 'MB')}")
    return _route(facts, ECS, whole, tasks, reasons, problems, [])


def _route(
    facts: Facts, backend: str, whole: TaskRoute, tasks: Mapping[str, TaskRoute], reasons: list[str],
    problems: list[str], uses: list[LimitUse],
) -> Route:  # fmt: skip
    executor = facts.executor
    architecture = executor.architecture or "x86_64"
    if architecture == "arm64" and (backend == ECS or any(each.backend == ECS for each in tasks.values())):
        raise BackendError(
            f"flow {facts.need.spec.name!r}: containers are made for x86_64, not for arm64; leave it out"
        )
    kept = [each for each in [*uses, *_uses(facts, whole, tasks, backend)] if each.share > NEAR]
    return Route(
        flow=facts.need.spec.name,
        backend=backend,
        tier=whole.tier,
        memory_mb=whole.memory_mb,
        vcpu=whole.vcpu,
        timeout_seconds=None if whole.bound_seconds is None else math.ceil(whole.bound_seconds),
        ephemeral_mb=_ephemeral(executor, backend),
        architecture=architecture,
        image=executor.image,
        reasons=tuple(reasons),
        tasks=tasks,
        near=tuple(dict.fromkeys(kept)),
        cost=cost_of(facts.need, backend, tasks, whole, architecture=architecture, measured=facts.measured),
        problems=tuple(problems),
    )


def _uses(facts: Facts, whole: TaskRoute, tasks: Mapping[str, TaskRoute], backend: str) -> Iterator[LimitUse]:
    """How much the flow uses of what the services take, checked."""
    if backend != ECS:
        yield LIMITS["lambda.unzipped"].check(facts.sizes.unzipped or 0, "code and packages", "deploy it to ecs")
        yield LIMITS["lambda.memory"].check(whole.memory_mb, "the function", "deploy with executor='ecs'")
    if backend == ECS:
        yield LIMITS["fargate.memory"].check(whole.memory_mb, "the container")
    for task_id, route in tasks.items():
        if route.backend == LAMBDA and route.bound_seconds is not None:
            yield LIMITS["lambda.timeout"].check(route.bound_seconds, f"task {task_id!r}", "ask for executor='ecs'")
        elif route.backend == ECS and backend != ECS:
            yield LIMITS["fargate.memory"].check(route.memory_mb, f"task {task_id!r}")


def _function_memory(facts: Facts, needed: list[int | None]) -> int:
    """Of a Lambda function: what is said of the whole, else the usual; and no less than what its tasks need."""
    said = facts.executor.memory_mb or facts.need.spec.options.memory_mb or SIZES["nano"].memory_mb
    return max([said, int(LIMITS["lambda.memory"].least), *filter(None, needed)])


def own_container(need: TaskNeed) -> Tier:
    """The container of one task."""
    asked = need.task.options.executor
    tier = asked if asked is not None and TIERS.get(asked) == ECS else None
    return sized_container(tier, need.memory_mb, None, f"task {need.task.id!r}")


def _whole_container(facts: Facts) -> Tier:
    """The container of the whole flow: what is asked for, else what suits the largest of its tasks."""
    where, executor = f"flow {facts.need.spec.name!r}", facts.executor
    if executor.tier or executor.vcpu or executor.memory_mb:
        tier = executor.tier if executor.backend == ECS else None
        return sized_container(tier, executor.memory_mb or facts.need.memory_mb, executor.vcpu, where)
    for task_id, need in facts.need.tasks.items():
        LIMITS["fargate.memory"].check(need.memory_mb or 0, f"task {task_id!r}", "lower its memory_mb")
    memory = facts.need.memory_mb
    is_known = facts.need.spec.options.memory_mb is not None or all(
        each.memory_mb for each in facts.need.tasks.values()
    )
    if memory is not None:
        remedy = "lower a concurrency_limit, or deploy with executor='step-functions', where each has its own"
        LIMITS["fargate.memory"].check(memory, f"{where}, side by side", remedy)
        memory = memory if is_known else max(memory, USUAL_CONTAINER.memory_mb)
    sizes = [container_tier(memory, where)]
    sizes += [own_container(each) for each in facts.need.tasks.values() if each.task.options.executor in SIZES]
    largest = max(sizes, key=lambda each: (each.vcpu or 0.0, each.memory_mb))
    most = max(each.memory_mb for each in sizes)
    return replace(largest, memory_mb=container_memory(most, largest.vcpu or 0.0, where))


def _ephemeral(executor: Executor, backend: str) -> int | None:
    if executor.ephemeral_mb is None:
        return None
    limit = LIMITS["ecs.ephemeral" if backend == ECS else "lambda.ephemeral"]
    limit.check(executor.ephemeral_mb, "the deploy", "keep large files in S3")
    return max(int(limit.least), executor.ephemeral_mb)


def _bound(need: TaskNeed) -> float | None:
    """The longest that one attempt may take, if that is known."""
    return None if need.is_assumed else need.attempt_bound


def _within(whole: TaskRoute, need: TaskNeed) -> TaskRoute:
    """The task in a place like `whole`; the reason says where its bound is from."""
    reason = "its time limit" if need.is_bounded else "twice what it took here"
    reason = "not known how long" if need.is_assumed else reason
    return replace(whole, task=need.task.id, bound_seconds=_bound(need), reason=reason)


def _unbounded(facts: Facts, tasks: Mapping[str, TaskRoute]) -> Iterator[str]:
    """What nothing bounds, though it will be stopped there."""
    names = [each for each, route in tasks.items() if route.backend == LAMBDA and facts.need.tasks[each].is_assumed]
    if names:
        yield (
            f"no time limit and no recorded run says how long {some(names)} may take: {lasting(ASSUMED_SECONDS)} is "
            "assumed; set timeout_seconds, or record a run here: run_local(record=True)"
        )


def _overruled(facts: Facts, backend: str) -> Iterator[str]:
    """What tasks ask for that runs elsewhere, because the whole flow runs in one place."""
    for task_id, need in facts.need.tasks.items():
        asked = backend_asked(need)
        if asked not in (None, backend):
            place = "one Lambda invocation" if backend == LAMBDA else "one container"
            yield f"task {task_id!r} asks for {need.task.options.executor!r}, and runs with all others in {place}"
