"""`@task`: a function that becomes a node of a graph when a flow calls it.

While a flow is drawn a `Trace` is active, and calling a task records a node and returns a `TaskOutput`, which stands
for the value that will be there when the flow runs. Outside a flow a task is its plain function.
"""

from __future__ import annotations

import contextvars
import copy
import functools
import inspect
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, GeneratorType
from typing import Any, Generic, Literal, NoReturn, ParamSpec, Self, TypeVar, overload

from dagy.errors import (
    ConnectorError,
    DefinitionError,
    GraphError,
    ValueNeededError,
    did_you_mean,
    or_what_there_is,
    shown,
)
from dagy.executors import Executor, wished
from dagy.hooks import Hook, hooks_by_state
from dagy.parameters import Parameters
from dagy.program import Actual, Source, TaskCode
from dagy.retry import RetryCondition, RetryDelay, retry_policy
from dagy.spec import (
    Binding,
    Constant,
    DictOf,
    FromParameter,
    FromTask,
    Held,
    ListOf,
    NodeSpec,
    TaskOptions,
    TaskSpec,
    references,
)
from dagy.values import is_json

P = ParamSpec("P")
R = TypeVar("R")

_SCALARS = frozenset({type(None), bool, int, str})
_FORMS: dict[type, Literal["list", "tuple", "set"]] = {list: "list", tuple: "tuple", set: "set"}


class Reference:
    """Stands, while a flow is drawn, for a value that is there when it runs. `ref["key"]` stands for a part of it."""

    __slots__ = ("_binding", "_trace")

    def __init__(self, trace: Trace, binding: FromTask | FromParameter) -> None:
        self._trace = trace
        self._binding = binding

    def __getitem__(self, key: str | int) -> Any:
        if type(key) not in (str, int):
            raise ValueNeededError(
                f"{user_line()} takes {self._what()} apart by {shown(key)}; while the flow is drawn a part is named "
                "by a text or a whole number; for anything else, take it apart inside a task"
            )
        binding, path = self._binding, (*self._binding.path, key)
        if isinstance(binding, FromParameter):
            return FlowParameter(self._trace, FromParameter(binding.name, path))
        if type(key) is str and not any(type(each) is str for each in binding.path):
            self._trace.check_output(binding.task, key)
        return TaskOutput(self._trace, FromTask(binding.task, path))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # what Python, IPython and others look for in any object
            raise AttributeError(name)
        self._refuse(f"its attribute {name!r}")

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._what()}>"

    def _what(self) -> str:
        part = "".join(f"[{each!r}]" for each in self._binding.path)
        match self._binding:
            case FromTask(task=task):
                return f"task {task!r}{part}"
            case FromParameter(name=name):
                return f"parameter {name!r}{part}"

    def _refuse(self, need: str) -> NoReturn:
        way_out = "move what needs it into a task"
        if isinstance(self._binding, FromParameter):
            way_out += (
                f", or annotate the parameter Static[...] if it shapes the graph: {self._binding.name}: Static[int]"
            )
        raise ValueNeededError(
            f"{self._what()} has no value yet, and {user_line()} asks for {need}: "
            f"the flow is only being drawn, and its tasks run later; {way_out}"
        )


class TaskOutput(Reference):
    """What a task returns, while the flow is drawn: pass it on, whole or in part (`out["key"]`, `out[0]`)."""

    __slots__ = ()


class FlowParameter(Reference):
    """What the run will be given for a parameter of the flow, while the flow is drawn."""

    __slots__ = ()


def _refusing(need: str) -> Callable[..., NoReturn]:
    def refuse(self: Reference, *_: object) -> NoReturn:
        self._refuse(need)

    return refuse


for _need, _names in {
    "its truth": "bool",
    "its length": "len",
    "its items": "iter next reversed contains",
    "its text": "str format bytes fspath",
    "a comparison with it": "eq ne lt le gt ge",
    "its number": "int float complex index round trunc floor ceil",
    "a calculation with it": "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul "
    "rmatmul and rand or ror xor rxor lshift rlshift rshift rrshift neg pos abs invert divmod rdivmod",
    "a change of it": "setitem delitem",
    "a call of it": "call",
    "its context": "enter exit aenter aexit await aiter anext",
}.items():
    for _name in _names.split():
        setattr(Reference, f"__{_name}__", _refusing(_need))


class Trace:
    """A flow while it is drawn: the nodes that task calls have recorded so far."""

    def __init__(self, flow_name: str) -> None:
        self.flow_name = flow_name
        self.tasks: list[TaskSpec] = []
        self.code: dict[str, TaskCode] = {}
        self.inputs: dict[str, dict[str, Source]] = {}
        self.needs: dict[str, tuple[str, ...]] = {}
        self.mapped: set[str] = set()  # the ids of tasks that give a list, with an item for each call
        self.outputs: dict[str, tuple[str, ...]] = {}  # of tasks that are nodes with several, their ids
        self.group: tuple[str, ...] = ()
        self._used: dict[str, int] = {}
        self._groups: dict[tuple[str, ...], int] = {}

    def new_group(self, name: str) -> tuple[str, ...]:
        """The group of a call of the flow `name` inside the present group; a second call gets one of its own."""
        group = (*self.group, name)
        count = self._groups[group] = self._groups.get(group, 0) + 1
        return group if count == 1 else (*self.group, f"{name}-{count}")

    def add(self, task: Task[..., Any], values: dict[str, Any], mapped: tuple[str, ...] = ()) -> TaskOutput:
        """Record a call of `task` with `values` by parameter name, or one for each item of those in `mapped`."""
        task_id = self._new_id(task.name)
        bindings: dict[str, Binding] = {}
        sources: dict[str, Source] = {}
        needs: dict[str, None] = {}
        for name, value in values.items():
            binding, sources[name] = self.bind(value)
            bindings[name] = binding
            if type(binding) is FromTask:
                needs[binding.task] = None
            elif type(binding) is ListOf or type(binding) is DictOf:
                needs.update((each.task, None) for each in references(binding) if type(each) is FromTask)
        waits_for = task.waits_for
        after = tuple(dict.fromkeys(self._upstream(task, each) for each in waits_for)) if waits_for else ()
        optional = tuple([name for name in task.optional if name in values]) if task.optional else ()
        spec = TaskSpec(
            task_id, task.name, task.location, bindings, after, self.group, task.description, task.options, mapped,
            task.node, optional or None,
        )  # fmt: skip
        self.tasks.append(spec)
        if mapped:
            self.mapped.add(task_id)
        if task.node is not None and len(task.node.outbound) > 1:
            self.outputs[task_id] = tuple([each.id for each in task.node.outbound])
        self.code[task_id] = task.code
        self.inputs[task_id] = sources
        self.needs[task_id] = (*needs, *(each for each in after if each not in needs)) if after else tuple(needs)
        return TaskOutput(self, FromTask(task_id))

    def add_mapped(self, task: Task[..., Any], values: dict[str, Any], mapped: tuple[str, ...]) -> TaskOutput:
        """Record a call of `task` for each item of the inputs in `mapped`; `GraphError` for what is no list."""
        for name in mapped:
            if not isinstance(values[name], Reference | list | tuple | range):
                raise GraphError(
                    f"{user_line()} maps task {task.name!r} over {name!r}, which must be a list or the output of "
                    f"a task, not {shown(values[name])}; give what is the same for every item by name: {name}=..."
                )
        if all(isinstance(values[name], list | tuple | range) for name in mapped):
            task.parameters.check_lengths({name: values[name] for name in mapped})
        lists = {name: list(values[name]) for name in mapped if isinstance(values[name], range)}
        return self.add(task, {**values, **lists}, mapped)

    def origin_of(self, output: TaskOutput) -> FromTask:
        """The task, and the part of its value, that `output` stands for; `GraphError` for one of another drawing."""
        binding = self._own(output)
        assert isinstance(binding, FromTask)
        return binding

    def check_output(self, task: str, name: str) -> None:
        """Raise `ConnectorError` if `task` is a node that gives several outputs, and none of them has that name."""
        names = self.outputs.get(task)
        if names is not None and name not in names:
            hint = or_what_there_is(name, names)
            raise ConnectorError(f"{user_line()}: task {task!r} has no outbound connector {name!r}{hint}")

    def bind(self, value: Any) -> tuple[Binding, Source]:
        """Where `value` comes from, as data and as this process holds it."""
        kind = type(value)
        if kind is TaskOutput or kind is FlowParameter:
            binding = self._own(value)
            return binding, binding
        if kind in _SCALARS or (kind is float and math.isfinite(value)):
            constant = Constant(value)
            return constant, constant
        if kind is dict or kind in _FORMS:
            return self._bind_container(value)
        if kind is GeneratorType:
            raise GraphError(f"{user_line()} gives a task a generator, which runs only once; give it a list instead")
        if holds_reference(value):
            raise GraphError(
                f"{user_line()} gives a task an output inside an object of type {kind.__qualname__}, where it can't "
                "be followed; pass it by itself, or in a list, a tuple, a set or a dict"
            )
        return Held(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")), Actual(value)

    def _bind_container(self, value: Any) -> tuple[Binding, Source]:
        if is_json(value):
            return Constant(_json_copy(value)), Actual(value)
        pairs: list[tuple[Binding, Source]]
        if type(value) is dict:
            pairs = [self.bind(each) for each in value.values()]
            if any(isinstance(key, Reference) for key in value):
                raise GraphError(f"a key of a dict can't be the output of a task, in {user_line()}")
            keys = list(value)
            if not all(type(key) in _SCALARS for key in keys):
                return (Held("dict"), Actual(value)) if _are_plain(pairs) else self._odd_keys(keys)
            binding: Binding = DictOf(tuple((key, each) for key, (each, _) in zip(keys, pairs, strict=True)))
            source: Source = DictOf(tuple((key, each) for key, (_, each) in zip(keys, pairs, strict=True)))  # type: ignore[misc]
        elif type(value) is not set and all(type(each) is TaskOutput for each in value):
            binding = ListOf(tuple([self._own(each) for each in value]), _FORMS[type(value)])
            return binding, binding
        else:
            form = _FORMS[type(value)]
            pairs = [self.bind(each) for each in (sorted(value, key=repr) if form == "set" else value)]
            binding = ListOf(tuple(each for each, _ in pairs), form)
            source = ListOf(tuple(each for _, each in pairs), form)  # type: ignore[misc]
        return binding, Actual(value) if _are_plain(pairs) else source

    def _odd_keys(self, keys: list[Any]) -> NoReturn:
        odd = next(key for key in keys if type(key) not in _SCALARS)
        raise GraphError(
            f"{user_line()} puts the output of a task into a dict with the key {shown(odd)}; "
            "beside outputs of tasks, keys must be texts or whole numbers"
        )

    def _own(self, reference: Reference) -> FromTask | FromParameter:
        if reference._trace is not self:
            raise GraphError(
                f"{user_line()} uses {reference._what()} of another drawing of a flow; "
                "an output can only be used in the flow, and in the run, that made it"
            )
        return reference._binding

    def _upstream(self, task: Task[..., Any], reference: object) -> str:
        if not isinstance(reference, TaskOutput):
            raise GraphError(f"{task.name}.after(...) takes outputs of tasks, not {shown(reference)}")
        return self.origin_of(reference).task

    def _new_id(self, name: str) -> str:
        count = self._used.get(name, 0) + 1
        self._used[name] = count
        if count == 1:
            if name not in self.code:
                return name
            count = 2
        while (task_id := f"{name}-{count}") in self.code:
            count += 1
        self._used[name] = count
        return task_id


def _are_plain(pairs: list[tuple[Binding, Source]]) -> bool:
    """Whether there is no reference among them, however deep: what is bound is then the object itself."""
    return all(type(source) is Actual or type(source) is Constant for _, source in pairs)


def _json_copy(value: Any) -> Any:
    """The same JSON value, so that what the user changes later does not change the spec."""
    if type(value) is list:
        return [_json_copy(each) for each in value]
    if type(value) is dict:
        return {key: _json_copy(each) for key, each in value.items()}
    return value


def holds_reference(value: Any) -> bool:
    """Whether an output hides in an object or a container that is not taken apart, such as a named tuple."""
    todo = [value]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if isinstance(each, Reference):
            return True
        if id(each) in seen or type(each) in _SCALARS:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            todo += each.keys()
            todo += each.values()
        elif isinstance(each, list | tuple | set | frozenset | deque):
            todo += each
        elif each is value:
            todo += getattr(each, "__dict__", {}).values()
            todo += [getattr(each, name, None) for name in getattr(type(each), "__slots__", ())]
    return False


# The flow that is being drawn in this context, if one is.
TRACE: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("dagy_trace", default=None)


class Task(Generic[P, R]):
    """A function with the wishes of how to run it. Made by `@task`.

    Called outside a flow it is its plain function; while a flow is drawn a call records a node and returns a
    `TaskOutput`, which type checkers see as the function's own return type.
    """

    node: NodeSpec | None = None  # what kind of node it is, if it is one
    optional: tuple[str, ...] = ()  # the inputs that may be absent: left out by the task that they come from

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        executor: str | Executor | None = None,
        memory_mb: int | None = None,
        retries: int = 0,
        retry_delay_seconds: RetryDelay | None = None,
        retry_jitter_factor: float | None = None,
        timeout_seconds: float | None = None,
        concurrency_limit: int | None = None,
        validate_parameters: bool = True,
        on_running: Sequence[Hook] | None = None,
        on_completion: Sequence[Hook] | None = None,
        on_failure: Sequence[Hook] | None = None,
        on_retry: Sequence[Hook] | None = None,
        retry_condition_fn: RetryCondition | None = None,
        isolation: Literal["thread", "process"] | None = None,
        cache: bool | float = False,
    ) -> None:
        self._wishes = {each: value for each, value in locals().items() if each not in ("self", "function")}
        if not callable(function):
            raise DefinitionError(f"@task goes above a function, not above {shown(function)}")
        self.name = checked_name("task", name, function)
        of = f"task {self.name!r}"
        if inspect.isasyncgenfunction(function):
            raise DefinitionError(f"{of} is an async generator, which has no one result; return a list instead")
        policy = retry_policy(retries, retry_delay_seconds, retry_jitter_factor, retry_condition_fn, of=of)
        if timeout_seconds is not None and not is_positive(timeout_seconds):
            raise DefinitionError(f"{of}: timeout_seconds must be more than 0 seconds, not {timeout_seconds!r}")
        if concurrency_limit is not None and (type(concurrency_limit) is not int or concurrency_limit < 1):
            raise DefinitionError(
                f"{of}: concurrency_limit must be a whole number, 1 or more, not {concurrency_limit!r}"
            )
        executor, memory_mb = wished(of, executor, memory_mb)
        if isolation not in (None, "thread", "process"):
            raise DefinitionError(f"{of}: isolation must be 'thread' or 'process', not {isolation!r}")
        if not isinstance(cache, bool) and not is_positive(cache):
            raise DefinitionError(f"{of}: cache must be True, or for how many seconds, not {cache!r}")
        self.function = function
        self.description = inspect.cleandoc(description or inspect.getdoc(function) or "")
        self.location = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', self.name)}"
        self.parameters = Parameters(function, of=of)
        self.options = TaskOptions(
            retries=policy.retries,
            retry_delays=policy.delays,
            retry_jitter_factor=policy.jitter,
            timeout_seconds=None if timeout_seconds is None else float(timeout_seconds),
            concurrency_limit=concurrency_limit,
            executor=executor,
            validate_parameters=bool(validate_parameters),
            isolation=isolation,
            cache=cache if isinstance(cache, bool) else float(cache),
            memory_mb=memory_mb,
        )
        hooks = hooks_by_state(
            of=of, on_running=on_running, on_completion=on_completion, on_failure=on_failure, on_retry=on_retry
        )
        self.code = TaskCode(function, self.parameters, inspect.iscoroutinefunction(function), policy, hooks)
        self.waits_for: tuple[object, ...] = ()
        functools.update_wrapper(self, function, updated=())

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns; while a flow is drawn, a `TaskOutput` that stands for it."""
        trace = TRACE.get()
        if trace is None:
            return self.function(*args, **kwargs)
        output: Any = trace.add(self, self.parameters.bind(args, kwargs))
        return output  # type: ignore[no-any-return]  # a TaskOutput, which stands for an R

    def map(self, /, *items: Any, **same: Any) -> Any:
        """One call for each item of `items`, which is a list or the output of a task that returns one.

        What is given by position is gone through item by item, several lists side by side; what is given by name goes
        to every call as it is. While a flow is drawn this records one node and returns a `TaskOutput` of the list of
        results, in order; outside a flow it returns that list. `concurrency_limit` bounds how many items run at once.

        `GraphError` and `ParameterError`: what is gone through is no list, or the lists differ in length.
        """
        values = self.parameters.bind(items, same)
        mapped = tuple(values)[: len(items)]
        if not mapped:
            raise DefinitionError(f"{self.name}.map(...) needs a list to go through, given by position")
        trace = TRACE.get()
        if trace is not None:
            return trace.add_mapped(self, values, mapped)
        self.parameters.check_lengths({name: values[name] for name in mapped})
        rows = zip(*(values[name] for name in mapped), strict=True)
        return [self.function(*row, **same) for row in rows]

    def after(self, *outputs: object) -> Self:
        """This task, as one that also waits for `outputs` without taking them: `load.after(checked)(rows)`."""
        waiting = copy.copy(self)
        waiting.waits_for = (*self.waits_for, *outputs)
        return waiting

    def with_options(self, /, **options: Any) -> Self:
        """This task, as one with these options of `@task`: `fetch.with_options(name="rows", retries=3)(url)`.

        Raises `DefinitionError` for an option that there is none of, or that has no meaning.
        """
        wishes = {**self._wishes, **options}
        if options.keys() == {"name"}:  # which nothing else depends on, and which each node of a large graph may have
            changed = object.__new__(type(self))
            name = checked_name("task", options["name"], self.function)
            changed.__dict__.update(self.__dict__, name=name, _wishes=wishes)
            return changed
        check_options("task", options, Task)
        changed = type(self)(self.function, **wishes)
        changed.waits_for = self.waits_for
        return changed

    def __repr__(self) -> str:
        return f"<Task {self.name!r} {self.parameters.signature}>"


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    description: str | None = None,
    executor: str | Executor | None = None,
    memory_mb: int | None = None,
    retries: int = 0,
    retry_delay_seconds: RetryDelay | None = None,
    retry_jitter_factor: float | None = None,
    timeout_seconds: float | None = None,
    concurrency_limit: int | None = None,
    validate_parameters: bool = True,
    on_running: Sequence[Hook] | None = None,
    on_completion: Sequence[Hook] | None = None,
    on_failure: Sequence[Hook] | None = None,
    on_retry: Sequence[Hook] | None = None,
    retry_condition_fn: RetryCondition | None = None,
    isolation: Literal["thread", "process"] | None = None,
    cache: bool | float = False,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    function: Callable[P, R] | None = None, /, **options: Any
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task: `@task`, or `@task(retries=3, ...)`.

    `name` defaults to the function's name and `description` to its docstring. `executor` is where it runs once it is
    deployed to AWS: a backend ("lambda", "step-functions", "ecs") or a tier ("nano" to "xlarge"); `memory_mb` is how
    much memory it needs there. After a failure it is tried `retries` times more, waiting `retry_delay_seconds`: a
    number, a list with one for each retry (the last one repeats), or a function from the number of retries to such a
    list; `retry_jitter_factor` (0.0 to 1.0) lengthens each wait at random by up to that share, and
    `retry_condition_fn(error)` says whether the error is worth another try. `timeout_seconds` bounds each attempt.
    `isolation` is where it runs: "process", so that it can be killed and computes beside others; or "thread", where a
    time limit is soft: the run goes on, and the result says that the thread still runs. By default a task with a time
    limit runs in a process and one without in a thread; one that is `async def` on an event loop. `cache` keeps results
    for later runs that give the same code the same inputs: True, or for how many seconds. `concurrency_limit` bounds
    how many instances run at once. `validate_parameters` checks inputs against the annotations. The hooks `on_running`
    (each attempt), `on_completion`, `on_failure` (after the last try) and `on_retry` are called with a `RunContext` and
    a `State`.

    Raises `DefinitionError` when an option has no meaning.
    """
    check_options("task", options, Task)
    if function is not None:
        return Task(function, **options)

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return Task(function, **options)

    return decorate


def check_options(kind: str, options: Mapping[str, object], made: type) -> None:
    """Raise `DefinitionError` for an option that `made`, which the decorator makes, does not take."""
    known = options_of(made) if options else ()
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"; its options: {', '.join(known)}"
            raise DefinitionError(f"@{kind} has no option {name!r}{hint}")


@functools.cache
def options_of(made: type) -> tuple[str, ...]:
    """The options that `made`, which a decorator makes of a function, takes."""
    return tuple(each for each in inspect.signature(made).parameters if each != "function")


def checked_name(kind: str, name: str | None, function: Callable[..., Any]) -> str:
    """The name given, else the function's; `DefinitionError` when that is no name."""
    found = getattr(function, "__name__", "") if name is None else name
    if not isinstance(found, str) or not found.strip() or found == "<lambda>":
        raise DefinitionError(f"a {kind} needs a name, and {found!r} is none; write @{kind}(name='...')")
    return found


def is_positive(value: object) -> bool:
    """Whether `value` is a finite number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


_OWN_FILES = os.path.dirname(__file__) + os.sep  # noqa: PTH120 (compared with text, for each frame)


def user_line() -> str:
    """Where the user's code is now: `line 12 of flows.py`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN_FILES):
        frame = frame.f_back
    if frame is None:
        return "the code"
    return f"line {frame.f_lineno} of {os.path.basename(frame.f_code.co_filename)}"  # noqa: PTH119
