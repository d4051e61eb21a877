"""The states of a state machine: what each kind of task becomes.

| a task | its states |
|---|---|
| in a function | `load` |
| in a container | `load (ready)` asks whether it is to run, a choice, `load`, or `load (not run)` |
| mapped | `load (count)`, a choice, `load (items)` here, or `load (wide)` by a distributed map with a history of its own |

What goes from state to state is one object: `{task: {"Error", "Cause"}}` for each task that crashed. A branch begins with
an empty one and ends with its own, so that nothing is carried twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from dagy.backends import history
from dagy.backends.decomposition import Apart, Parallel, Part, Series
from dagy.backends.state_names import StateNames
from dagy.retry import retry_groups
from dagy.spec import FlowSpec, Json, TaskSpec

State: TypeAlias = dict[str, Json]
Chain: TypeAlias = dict[str, Json]  # {"StartAt", "States"}

MARGIN_SECONDS = 60  # that a state waits longer than what it calls, so that this can tell its own end
CONTAINER_START_SECONDS = 600
INLINE_CONCURRENCY = 40  # iterations of a map that Step Functions runs at once in one execution
WIDE_CONCURRENCY = 500  # of a distributed map, unless the task says otherwise: half of an account's usual functions
TRANSIENT_TRIES = 6
SYSTEM_TRIES = TRANSIENT_TRIES + 2  # of steps that are no task's: it does no harm to repeat them

RUN_ID = "{% $states.context.Execution.Input.run_id %}"
ATTEMPT = "{% $states.context.State.RetryCount + 1 %}"
CRASHES = ["States.TaskFailed", "Lambda.Unknown", "States.Timeout"]


@dataclass(frozen=True, slots=True)
class ContainerSize:
    """What a container has."""

    vcpu: float
    memory_mb: int


@dataclass(frozen=True, slots=True)
class EcsTarget:
    """Where containers run, and as what."""

    cluster: str  # its ARN
    task_definition: str  # the ARN of a revision
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    container: str  # its name in the task definition
    assign_public_ip: bool = False


@dataclass(frozen=True, slots=True)
class MachineResources:
    """What a state machine calls: each must be there when it runs."""

    function_arn: str  # of a published version
    bucket: str
    prefix: str  # of the keys of runs in the bucket: "runs"
    owner: str  # the account that owns the bucket
    ecs: EcsTarget | None = None
    function_timeout_seconds: int = 900
    partition: str = "aws"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the flow's spec leaves open."""

    on_ecs: frozenset[str] = frozenset()
    container_sizes: Mapping[str, ContainerSize] = field(default_factory=dict)
    inline: int = 1  # the most items of a map in the execution's own history


def task_events(task: TaskSpec, choices: Choices) -> int:
    """How many events the task adds to its execution's history at worst."""
    events = _one_call(task, choices)
    if task.mapped:
        items = choices.inline * (history.ITEM + events)
        return _SYSTEM_STEP + history.PASSED + history.MAP + max(items, history.DISTRIBUTED)
    return events + (_SYSTEM_STEP + history.PASSED if task.id in choices.on_ecs else 0)


def item_events(task: TaskSpec, choices: Choices) -> int:
    """How many events one item of the mapped task adds at worst, where it runs in the execution's own history."""
    return history.ITEM + _one_call(task, choices)


def whole_seconds(delay: float) -> int:
    """The wait that Step Functions can do: whole seconds of at least 1."""
    return max(1, math.ceil(delay))


class StateWriter:
    """Writes the states of a flow's parts."""

    def __init__(self, spec: FlowSpec, where: MachineResources, choices: Choices) -> None:
        self._where = where
        self._choices = choices
        self._tasks = {task.id: task for task in spec.tasks}
        self._names = StateNames()
        self._name_of = {task.id: self._names.new(task.id) for task in spec.tasks}
        self._cause_characters = min(500, max(100, 150_000 // (len(spec.tasks) or 1)))  # all fit into 256 KiB

    def frame(self, root: Part | None) -> Chain:
        """The whole machine: it begins the run, goes through `root`, and ends the run."""
        begin, begun, end, ended, completed, failed = map(
            self._names.new, ("begin", "is it running", "end", "did it complete", "completed", "not completed")
        )
        first, states = (end, {}) if root is None else self._series(root, end)
        payload = "{% $merge([$states.input,{'step':'begin'}]) %}"
        return {
            "StartAt": begin,
            "States": {
                begin: self._system_step(payload, "{% $states.result.Payload %}") | {"Next": begun},
                begun: {
                    "Type": "Choice",
                    "Choices": [{"Condition": "{% $states.input.state='RUNNING' %}", "Output": {}, "Next": first}],
                    "Default": end,
                    "Output": {},
                },
                **states,
                end: self._system_step(
                    {"step": "end", "run_id": RUN_ID, "crashed": "{% $states.input %}"}, "{% $states.result.Payload %}"
                )
                | {"Next": ended},
                ended: {
                    "Type": "Choice",
                    "Choices": [{"Condition": "{% $states.input.state='COMPLETED' %}", "Next": completed}],
                    "Default": failed,
                },
                completed: {"Type": "Succeed"},
                failed: {
                    "Type": "Fail",
                    "Error": "{% $states.input.state %}",
                    "Cause": "{% $states.input.message %}",
                },
            },
        }

    # ---- parts

    def _series(self, part: Part, after: str | None) -> tuple[str, dict[str, State]]:
        """The first state's name and the states of `part`, from which it goes to `after`, or None: a branch ends."""
        parts = part.parts if isinstance(part, Series) else (part,)
        names = [self._first_name(each) for each in parts]
        states: dict[str, State] = {}
        for each, name, following in zip(parts, names, [*names[1:], after], strict=True):
            if following is not None:
                states |= self._states(each, name, _Way({"Next": following}, following))
                continue
            rescue = "" if isinstance(each, Parallel) else self._names.new(_title(each, name), "crashed")
            states |= self._states(each, name, _Way({"End": True}, rescue))
            if rescue:
                states[rescue] = {"Type": "Succeed"}
        return names[0], states

    def _chain(self, part: Part) -> Chain:
        """`part` as a branch of its own."""
        first, states = self._series(part, None)
        return {"StartAt": first, "States": states}

    def _first_name(self, part: Part) -> str:
        if isinstance(part, str):
            task = self._tasks[part]
            if task.mapped:
                return self._names.new(part, "count")
            return self._names.new(part, "ready") if part in self._choices.on_ecs else self._name_of[part]
        return self._names.new("in parallel" if isinstance(part, Parallel) else "history of its own")

    def _states(self, part: Part, name: str, way: _Way) -> dict[str, State]:
        match part:
            case str():
                task = self._tasks[part]
                if task.mapped:
                    return self._mapped(task, name, way)
                return self._contained(task, name, way) if part in self._choices.on_ecs else self._plain(task, way)
            case Parallel(parts):
                return {
                    name: {
                        "Type": "Parallel",
                        "Arguments": {},
                        "Branches": [self._chain(each) for each in parts],
                        "Output": _merged("$states.input", "$states.result"),
                        **way.go,
                    }
                }
            case Apart(inner):
                return {name: self._apart(inner, name, way)}
            case Series():
                raise AssertionError("a series is never inside a series")

    def _apart(self, part: Part, name: str, way: _Way) -> State:
        """`part` as the one item of a distributed map: an execution with a history of its own."""
        begin = self._names.new("beginning")
        first, states = self._series(part, None)
        return {
            "Type": "Map",
            "Items": [0],
            "ItemSelector": {"run_id": RUN_ID},
            "ItemProcessor": {
                "ProcessorConfig": _DISTRIBUTED,
                "StartAt": begin,
                "States": {begin: {"Type": "Pass", "Output": {}, "Next": first}, **states},
            },
            "Catch": [self._crashed(name, "$states.input", way.rescue)],
            "Output": _merged("$states.input", "$states.result"),
            **way.go,
        }

    # ---- tasks

    def _plain(self, task: TaskSpec, way: _Way) -> dict[str, State]:
        """One state that calls the function."""
        called = self._called(task)
        caught = self._crashed(task.id, "$states.input", way.rescue)
        return {self._name_of[task.id]: {**called, "Catch": [caught], "Output": "{% $states.input %}", **way.go}}

    def _contained(self, task: TaskSpec, ready: str, way: _Way) -> dict[str, State]:
        """A container, which starts only when the task is to run."""
        name = self._name_of[task.id]
        decides, not_run = self._names.new(task.id, "is it to run"), self._names.new(task.id, "not run")
        return {
            ready: {
                **self._system_step(
                    {"step": "ready", "run_id": RUN_ID, "task": task.id},
                    "{% {'crashed':$states.input,'state':$states.result.Payload.state} %}",
                ),
                "Catch": [self._crashed(task.id, "$states.input", way.rescue)],
                "Next": decides,
            },
            decides: {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.state='READY' %}", "Next": name}],
                "Default": not_run,
            },
            name: {
                **self._called(task),
                "Catch": [self._crashed(task.id, _CARRIED, way.rescue)],
                "Output": f"{{% {_CARRIED} %}}",
                **way.go,
            },
            not_run: {"Type": "Pass", "Output": f"{{% {_CARRIED} %}}", **way.go},
        }

    def _mapped(self, task: TaskSpec, count: str, way: _Way) -> dict[str, State]:
        """One call for each item: here when there are few, else each as an execution of its own."""
        decides, here, wide = (self._names.new(task.id, what) for what in ("are they many", "items", "wide"))
        limit = task.options.concurrency_limit
        caught = [self._crashed(task.id, _CARRIED, way.rescue)]
        item = "{% $states.context.Map.Item.Value %}"
        return {
            count: {
                **self._system_step(
                    {"step": "count", "run_id": RUN_ID, "task": task.id, "inline": self._choices.inline},
                    "{% {'crashed':$states.input,'count':$states.result.Payload} %}",
                ),
                "Catch": [self._crashed(task.id, "$states.input", way.rescue)],
                "Next": decides,
            },
            decides: {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.count.wide %}", "Next": wide}],
                "Default": here,
            },
            here: {
                "Type": "Map",
                "Items": "{% [0..$states.input.count.items-1] %}",
                "ItemSelector": {"item": item},
                "MaxConcurrency": min(limit or INLINE_CONCURRENCY, INLINE_CONCURRENCY),
                "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **self._item(task, "item")},
                "Catch": caught,
                "Output": _merged(_CARRIED, "$states.result"),
                **way.go,
            },
            wide: {
                "Type": "Map",
                "ItemReader": {
                    "Resource": self._service("s3:getObject"),
                    "ReaderConfig": {"InputType": "JSON"},
                    "Arguments": {"Bucket": self._where.bucket, "Key": "{% $states.input.count.indices %}"},
                },
                "ItemSelector": {"item": item, "run_id": RUN_ID},
                "MaxConcurrency": limit or WIDE_CONCURRENCY,
                "ToleratedFailurePercentage": 100.0,
                "ItemProcessor": {"ProcessorConfig": _DISTRIBUTED, **self._item(task, "wide item")},
                "ResultWriter": {
                    "Resource": self._service("s3:putObject"),
                    "Arguments": {
                        "Bucket": self._where.bucket,
                        "Prefix": f"{{% {quoted(self._where.prefix + '/')}&{RUN_ID[3:-3]}&'/map-runs' %}}",
                    },
                },
                "Catch": caught,
                "Output": f"{{% {_CARRIED} %}}",
                **way.go,
            },
        }

    def _item(self, task: TaskSpec, what: str) -> Chain:
        name, crashed = self._names.new(task.id, what), self._names.new(task.id, f"{what} crashed")
        called = self._called(task, is_item=True)
        caught = self._crashed(task.id, "{}", crashed)
        return {
            "StartAt": name,
            "States": {
                name: {**called, "Catch": [caught], "Output": {}, "End": True},
                crashed: {"Type": "Succeed"},
            },
        }

    # ---- calls

    def _called(self, task: TaskSpec, *, is_item: bool = False) -> State:
        """The call of one try of the task, or of an item of it, with its retries."""
        event = {"step": "task", "run_id": RUN_ID, "task": task.id, "attempt": ATTEMPT}
        if is_item:
            event["item"] = "{% $states.input.item %}"
        if task.id in self._choices.on_ecs:
            return self._container(task, event)
        limit = self._where.function_timeout_seconds
        seconds = task.options.timeout_seconds
        return {
            "Type": "Task",
            "Resource": self._service("lambda:invoke"),
            "Arguments": {"FunctionName": self._where.function_arn, "Payload": event},
            "TimeoutSeconds": MARGIN_SECONDS + (limit if seconds is None else min(math.ceil(seconds), limit)),
            "Retry": [_TRANSIENT, *_asked_for(task), *_after_a_crash(task)],
        }

    def _container(self, task: TaskSpec, event: Mapping[str, Json]) -> State:
        ecs = self._where.ecs
        assert ecs is not None, "compile_flow has looked"
        size = self._choices.container_sizes.get(task.id)
        told = ",".join(f"{quoted(name)}:{_expression(value)}" for name, value in event.items())
        seconds = task.options.timeout_seconds
        return {
            "Type": "Task",
            "Resource": self._service("ecs:runTask.sync"),
            "Arguments": {
                "Cluster": ecs.cluster,
                "TaskDefinition": ecs.task_definition,
                "LaunchType": "FARGATE",
                "NetworkConfiguration": {
                    "AwsvpcConfiguration": {
                        "Subnets": list(ecs.subnets),
                        "SecurityGroups": list(ecs.security_groups),
                        "AssignPublicIp": "ENABLED" if ecs.assign_public_ip else "DISABLED",
                    }
                },
                "Overrides": {
                    **({"Cpu": str(int(size.vcpu * 1024)), "Memory": str(size.memory_mb)} if size else {}),
                    "ContainerOverrides": [
                        {
                            "Name": ecs.container,
                            "Environment": [{"Name": "DAGY_EVENT", "Value": f"{{% $string({{{told}}}) %}}"}],
                        }
                    ],
                },
            },
            **({} if seconds is None else {"TimeoutSeconds": _container_seconds(task, seconds)}),
            "Retry": [_CONTAINER_TRANSIENT, *_after_a_crash(task)],
        }

    def _system_step(self, payload: Json, output: str) -> State:
        """A call of the function for a step that is no task's."""
        return {
            "Type": "Task",
            "Resource": self._service("lambda:invoke"),
            "Arguments": {"FunctionName": self._where.function_arn, "Payload": payload},
            "TimeoutSeconds": self._where.function_timeout_seconds + MARGIN_SECONDS,
            "Retry": [
                _TRANSIENT,
                {
                    "ErrorEquals": CRASHES,
                    "IntervalSeconds": 1,
                    "MaxAttempts": SYSTEM_TRIES - TRANSIENT_TRIES,
                    "BackoffRate": 1,
                },
            ],
            "Output": output,
        }

    def _crashed(self, task: str, carried: str, following: str) -> State:
        """Go on, and tell the end that `task` crashed, and of what."""
        cause = _CONTAINER_CAUSE if task in self._choices.on_ecs else "$states.errorOutput.Cause"
        said = f"{{'Error':$states.errorOutput.Error,'Cause':$substring({cause},-{self._cause_characters})}}"
        entry = f"{{{quoted(task)}:{said}}}"
        output = entry if carried == "{}" else f"$merge([{carried},{entry}])"
        return {"ErrorEquals": ["States.ALL"], "Output": f"{{% {output} %}}", "Next": following}

    def _service(self, action: str) -> str:
        return f"arn:{self._where.partition}:states:::{action}"


@dataclass(frozen=True, slots=True)
class _Way:
    """How a state is left."""

    go: Mapping[str, Json]  # {"Next": ...} or {"End": True}
    rescue: str  # the state to go to after a crash


_CARRIED = "$states.input.crashed"
_DISTRIBUTED = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
_SYSTEM_STEP = history.STEP + SYSTEM_TRIES * history.TRY_AGAIN
_TRANSIENT = {
    "ErrorEquals": [
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "DagyRetry0",  # the store did not answer
    ],
    "IntervalSeconds": 1,
    "MaxAttempts": TRANSIENT_TRIES,
    "BackoffRate": 2,
    "MaxDelaySeconds": 30,
    "JitterStrategy": "FULL",
}
_CONTAINER_TRANSIENT = _TRANSIENT | {
    "ErrorEquals": ["ECS.AmazonECSException", "ECS.ServerException", "ECS.ThrottlingException"]
}




def quoted(text: str) -> str:
    """`text` as a literal of JSONata."""
    return f"'{text}'" if text.isprintable() and not {"'", "\\"} & set(text) else json.dumps(text, ensure_ascii=False)


def _expression(value: str) -> str:
    """What a field's text stands for, as a part of an expression."""
    return value[2:-2].strip() if value.startswith("{%") else quoted(value)


def _merged(*objects: str) -> str:
    return f"{{% $merge([{','.join(objects)}]) %}}"


def _title(part: Part, name: str) -> str:
    return part if isinstance(part, str) else name


def _asked_for(task: TaskSpec) -> list[State]:
    """The tries that the handler asks for, by the task's policy."""
    return [
        {
            "ErrorEquals": [f"DagyRetry{number}"],
            "IntervalSeconds": whole_seconds(group.delay),
            "MaxAttempts": group.count,
            "BackoffRate": 1,
        }
        for number, group in enumerate(retry_groups(task.options.retries, task.options.retry_delays), 1)
    ]


def _after_a_crash(task: TaskSpec) -> list[State]:
    """The tries after a failure that the handler could not see, because it went down too."""
    if not task.options.retries:
        return []
    delay = task.options.retry_delays[0] if task.options.retry_delays else 0.0
    return [
        {
            "ErrorEquals": CRASHES,
            "IntervalSeconds": whole_seconds(delay),
            "MaxAttempts": task.options.retries,
            "BackoffRate": 1,
        }
    ]


def _container_seconds(task: TaskSpec, seconds: float) -> int:
    """How long a container may take at most, which carries out the task's retries itself."""
    options = task.options
    waits = sum(group.count * group.delay for group in retry_groups(options.retries, options.retry_delays))
    tries = seconds * (options.retries + 1) + waits * (1 + options.retry_jitter_factor)
    return math.ceil(tries) + CONTAINER_START_SECONDS


def _one_call(task: TaskSpec, choices: Choices) -> int:
    """The events of one call of the task, or of one item, with all its tries and a crash in the end."""
    tries = TRANSIENT_TRIES + task.options.retries
    if task.id in choices.on_ecs:
        return history.CONTAINER_STEP + tries * history.CONTAINER_TRY_AGAIN + history.PASSED
    return history.STEP + (tries + task.options.retries) * history.TRY_AGAIN + history.PASSED


def _of_cause(key: str, *ends: str) -> str:
    """What the JSON text that is the cause of a container's failure has behind `key`, and '; '; or nothing."""
    said = f"$substringAfter($states.errorOutput.Cause,'{key}')"
    for end in ends:
        said = f"$substringBefore({said},'{end}')"
    return f"($contains($states.errorOutput.Cause,'{key}')?{said}&'; ':'')"


_CONTAINER_CAUSE = "($contains($states.errorOutput.Cause,'\"StopCode\":')?({}):$states.errorOutput.Cause)".format(
    "&".join(
        (
            _of_cause('"Reason":"', '"'),
            _of_cause('"StoppedReason":"', '"'),
            "'exit code '",
            _of_cause('"ExitCode":', ",", "}"),
        )
    )
)
