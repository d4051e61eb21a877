"""The rules that say where a flow is to run, in their order: the first that applies decides.

The limits are AWS's; the order, and the figures here that are not AWS's, are a judgement of design and were not
measured on AWS. One invocation of a Lambda function is the cheapest and the simplest to follow; a state machine gives
each task its own time and memory, for the price of its transitions; a container takes what is long or large, and a
minute to start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagy.backends.limits import LIMITS
from dagy.backends.needs import FlowNeed, TaskNeed
from dagy.backends.routes import Measured, Sizes
from dagy.backends.wording import lasting, told_apart
from dagy.executors import ECS, LAMBDA, STEP_FUNCTIONS, TIERS, Executor

LONG = 600.0  # seconds that one Lambda invocation should take at most: two thirds of what it may take
START_AND_STORE = 30.0  # seconds of an invocation that its task has not: to start, to load packages, to store
WIDE = 40  # items of a map that one invocation should go through at most: as many as run at once in a state machine


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at."""

    need: FlowNeed
    executor: Executor  # what is asked for of the whole; "auto": nothing
    sizes: Sizes
    measured: Measured | None
    in_containers: Mapping[str, str]  # the tasks that need a container of their own, and why


@dataclass(frozen=True, slots=True)
class Rule:
    """A backend, and why a flow is to run there; None: the rule does not apply."""

    backend: str
    why: Callable[[Facts], str | None]


def _own_image(facts: Facts) -> str | None:
    image = facts.executor.image
    return None if image is None else f"the image {image!r} runs in a container only"


def _large_packages(facts: Facts) -> str | None:
    return _above("lambda.unzipped", facts.sizes.unzipped, "the code and its packages unpack to")


def _more_than_lambda_has(facts: Facts) -> str | None:
    asked = facts.executor
    return (
        _above("lambda.memory", asked.memory_mb or facts.need.spec.options.memory_mb, "the flow needs")
        or _above("lambda.timeout", asked.timeout_seconds, "the flow is given")
        or _above("lambda.ephemeral", asked.ephemeral_mb, "the flow is given")
    )


def _all_in_containers(facts: Facts) -> str | None:
    if not facts.in_containers or len(facts.in_containers) < len(facts.need.tasks):
        return None
    return f"{_some(facts)} needs a container, and one does all"


def _some_in_containers(facts: Facts) -> str | None:
    if not facts.in_containers:
        return None
    rest = len(facts.need.tasks) - len(facts.in_containers)
    return f"{_some(facts)} needs a container, and {'the other task does' if rest == 1 else f'{rest:,} others do'} not"


def _asks_to_be_apart(facts: Facts) -> str | None:
    apart = [each for each, need in facts.need.tasks.items() if backend_asked(need) == STEP_FUNCTIONS]
    return f"task {apart[0]!r} asks for {facts.need.tasks[apart[0]].task.options.executor!r}" if apart else None


def _long_path(facts: Facts) -> str | None:
    if facts.need.bound <= LONG:
        return None
    return f"{path_words(facts.need)}: more than the {lasting(LONG)} that one Lambda invocation should take"


def _wide_map(facts: Facts) -> str | None:
    for task_id, need in facts.need.tasks.items():
        if not need.task.mapped:
            continue
        if need.items is None:
            return (
                f"how many items task {task_id!r} goes through is known only when it runs, so each gets an invocation"
            )
        if need.items > WIDE:
            return (
                f"task {task_id!r} goes through {need.items:,} items: more than the {WIDE} that one invocation should"
            )
    return None


def _much_side_by_side(facts: Facts) -> str | None:
    return _above("lambda.memory", facts.need.memory_mb, "the tasks that run side by side need")


def _small(facts: Facts) -> str | None:
    return f"{path_words(facts.need)}: within the {lasting(LONG)} that one Lambda invocation should take"


# The first rule that applies decides.
RULES = (
    Rule(ECS, _own_image),
    Rule(ECS, _large_packages),
    Rule(ECS, _more_than_lambda_has),
    Rule(ECS, _all_in_containers),
    Rule(STEP_FUNCTIONS, _some_in_containers),
    Rule(STEP_FUNCTIONS, _asks_to_be_apart),
    Rule(STEP_FUNCTIONS, _long_path),
    Rule(STEP_FUNCTIONS, _wide_map),
    Rule(STEP_FUNCTIONS, _much_side_by_side),
    Rule(LAMBDA, _small),
)


def _asks_for_a_container(need: TaskNeed) -> str | None:
    return f"it asks for {need.task.options.executor!r}" if backend_asked(need) == ECS else None


def _long(need: TaskNeed) -> str | None:
    limit = LIMITS["lambda.timeout"]
    if need.is_assumed or need.attempt_bound + START_AND_STORE <= limit.value:
        return None
    words = f"one attempt may take {lasting(need.attempt_bound)}"
    if need.attempt_bound <= limit.value:
        words += f" and {lasting(START_AND_STORE)} to start and to store"
    return f"{words}: more than the {lasting(limit.value)} that {limit.what}"


def _large(need: TaskNeed) -> str | None:
    return _above("lambda.memory", need.memory_mb, "it needs")


# Any of them puts a task into a container.
TASK_RULES = (_asks_for_a_container, _long, _large)


def facts_of(need: FlowNeed, executor: Executor, sizes: Sizes, measured: Measured | None) -> Facts:
    """All that the rules look at."""
    reasons = (
        (each, next(filter(None, (rule(task) for rule in TASK_RULES)), None)) for each, task in need.tasks.items()
    )
    return Facts(need, executor, sizes, measured, {each: why for each, why in reasons if why is not None})


def chosen(facts: Facts) -> tuple[str, str]:
    """The backend that the rules choose, and why."""
    return next((rule.backend, why) for rule in RULES if (why := rule.why(facts)) is not None)


def path_words(need: FlowNeed) -> str:
    """`the flow's longest path is bounded by 14 min 20 s (fetch, parse)`."""
    limit = need.spec.options.timeout_seconds
    if limit is not None and need.bound == limit:
        return f"the flow's time limit is {lasting(limit)}"
    if not need.path:
        return "the flow has no tasks"
    shown = ", ".join(need.path if len(need.path) <= 4 else (*need.path[:2], "...", need.path[-1]))
    is_guessed = any(need.tasks[each].is_assumed for each in need.path)
    verb = "is taken to last at most" if is_guessed else "is bounded by"
    return f"the flow's longest path {verb} {lasting(need.bound)} ({shown})"


def backend_asked(need: TaskNeed) -> str | None:
    """The backend that the task itself asks for."""
    asked = need.task.options.executor
    return None if asked is None else TIERS.get(asked, asked)


def _some(facts: Facts) -> str:
    """`task 'train' (it asks for 'ecs')`, `each of 3 tasks, such as 'train' (it asks for 'ecs'),`."""
    (task, why), *others = facts.in_containers.items()
    return f"each of {len(others) + 1:,} tasks, such as {task!r} ({why})," if others else f"task {task!r} ({why})"


def _above(limit: str, used: float | None, what: str) -> str | None:
    known = LIMITS[limit]
    if used is None or used <= known.value:
        return None
    much, most = told_apart(used, known.value, known.unit)
    return f"{what} {much}: more than the {most} that {known.what}"
