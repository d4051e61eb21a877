"""Which backend and tier suits a flow: what it needs, put to the rules, sized, and held against AWS's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dagy.backends.limits import LIMITS
from dagy.backends.needs import TaskNeed, needs_of
from dagy.backends.placing import own_container, placed_in_container, placed_in_machine, placed_on_lambda
from dagy.backends.routes import Measured, Route, Sizes
from dagy.backends.rules import START_AND_STORE, Facts, backend_asked, chosen, facts_of
from dagy.backends.state_machine import ContainerSize, EcsTarget, MachineResources, StateMachine, compile_flow
from dagy.backends.wording import lasting
from dagy.errors import BackendError, DefinitionError, shown
from dagy.executors import AUTO, ECS, LAMBDA, LOCAL, STEP_FUNCTIONS, Executor
from dagy.spec import FlowSpec


class BackendRouter:
    """Says where a flow is to run on AWS.

    >>> from dagy.spec import FlowSpec
    >>> BackendRouter().route(FlowSpec("etl")).backend
    'lambda'
    """

    def route(
        self,
        spec: FlowSpec,
        *,
        executor: str | Executor | None = None,
        sizes: Sizes | None = None,
        measured: Measured | None = None,
    ) -> Route:
        """Where `spec` is to run, with how much, and why.

        `executor` is what the deploy asks for: it overrules the flow's own, which overrules the rules; "auto" asks for
        nothing. `sizes` are those of the code with its packages, `measured` is what earlier runs took.

        Raises `BackendError` for what contradicts itself, such as a task that asks for a container in a flow that is
        to run in one Lambda invocation, and `LimitError` for what is more than a service takes.
        """
        if not isinstance(spec, FlowSpec):
            raise DefinitionError(f"what is routed is a flow's spec, not {shown(spec)}; give flow.spec")
        asked, asker = _asked(spec, Executor.of(executor))
        facts = facts_of(needs_of(spec, measured), asked, sizes or Sizes(), measured)
        _refuse_contradictions(facts, asker)
        found, why = chosen(facts)
        backend = found if asked.backend == AUTO else asked.backend
        reasons = [why]
        if asked.backend != AUTO:
            reasons = [f"{asker} asks for {asked.name!r}"]
            reasons += [f"the rules would choose {found}: {why}"] if found != backend else [why]
        if backend == LAMBDA:
            return placed_on_lambda(facts, reasons)
        if backend == STEP_FUNCTIONS:
            containers = {each: own_container(facts.need.tasks[each]) for each in facts.in_containers}
            sizes_there = {each: ContainerSize(size.vcpu or 0.0, size.memory_mb) for each, size in containers.items()}
            try:
                machine = _compiled(spec, sizes_there)
            except BackendError as error:
                if asked.backend == STEP_FUNCTIONS:
                    raise
                no = error.reasons or (str(error),)
                reasons += [f"no state machine can run it: {each}" for each in no]
            else:
                return placed_in_machine(facts, reasons, containers, machine)
        return placed_in_container(facts, reasons)


def _compiled(spec: FlowSpec, sizes: Mapping[str, ContainerSize]) -> StateMachine:
    """The flow as a state machine that calls made-up resources, with names as long as they come."""
    arn = f"arn:aws:lambda:eu-central-1:000000000000:function:{'x' * 64}:1"
    ecs = EcsTarget(arn, arn, ("subnet-00000000000000000",) * 3, ("sg-00000000000000000",), "flow")
    where = MachineResources(function_arn=arn, bucket="x" * 63, ecs=ecs)
    return compile_flow(spec, where, on_ecs=frozenset(sizes), container_sizes=sizes)


def _asked(spec: FlowSpec, given: Executor | None) -> tuple[Executor, str]:
    """The executor that counts, and who asks for it."""
    if given is not None and given.backend == LOCAL:
        raise BackendError("the executor 'local' is no place on AWS, so there is nothing to route; leave it out")
    own = spec.options.executor
    if own is None or (given is not None and given.backend != AUTO):
        return given or Executor(AUTO), "the deploy"
    whole = Executor(own)
    if given is not None:
        if given.image is not None and whole.backend != ECS:
            raise BackendError(
                f"flow {spec.name!r} asks for {own!r}, and the deploy for the image {given.image!r}, which runs in a "
                "container only; deploy it with executor='ecs'"
            )
        whole = replace(given, name=own)
    return whole, f"flow {spec.name!r}"


def _refuse_contradictions(facts: Facts, asker: str) -> None:
    """Raise for what no backend can do as it is asked for."""
    name, spec = facts.need.spec.name, facts.need.spec
    for task_id, need in facts.need.tasks.items():
        if backend_asked(need) in (LAMBDA, STEP_FUNCTIONS) and facts.executor.backend != ECS:
            where = f"task {task_id!r} asks for {need.task.options.executor!r}"
            _check_task(need, where, "ask for executor='ecs'")
            _check_packages(facts, where)
    if facts.executor.backend == LAMBDA and facts.in_containers:
        for task_id in facts.in_containers:
            _check_task(
                facts.need.tasks[task_id], f"task {task_id!r}", "deploy with executor='step-functions' or 'ecs'"
            )
        raise BackendError(
            f"{asker} asks for {facts.executor.name!r}, which is one Lambda invocation for all of flow {name!r}; with "
            "'step-functions' these tasks run in containers and the others on Lambda, with 'ecs' all in one container",
            [f"task {each!r}: {why}" for each, why in facts.in_containers.items()],
        )
    if facts.executor.backend in (LAMBDA, STEP_FUNCTIONS):
        _check_packages(facts, f"{asker} asks for {facts.executor.name!r}")
    if facts.executor.backend == LAMBDA and spec.options.memory_mb is not None:
        LIMITS["lambda.memory"].check(spec.options.memory_mb, f"flow {name!r}", "deploy with executor='ecs'")


def _check_task(need: TaskNeed, where: str, remedy: str) -> None:
    """Raise `LimitError` when the task does not fit a Lambda function."""
    if not need.is_assumed:
        limit, remedies = LIMITS["lambda.timeout"], f"{remedy}, or lower its timeout_seconds"
        limit.check(need.attempt_bound, where, remedies)
        spare = f"{where}, with {lasting(START_AND_STORE)} to start and to store"
        limit.check(need.attempt_bound + START_AND_STORE, spare, remedies)
    LIMITS["lambda.memory"].check(need.memory_mb or 0, where, remedy)


def _check_packages(facts: Facts, where: str) -> None:
    LIMITS["lambda.unzipped"].check(facts.sizes.unzipped or 0, where, "deploy with executor='ecs', or do without some")
