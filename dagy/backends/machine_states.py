"""The states of a state machine: what each kind of task becomes.

| a task | its states |
|---|---|
| in a function | `load` |
| in a container | `load (ready)` asks whether it is to run, a choice, `load`, or `load (not run)` |
| mapped | `load (count)`, a choice, `load (items)` in this history, or `load (wide)` in histories of their own |

What goes from state to state is one object: `{task: {"Error", "Cause"}}` for each task that crashed. A branch begins
with an empty one and ends with its own, so that nothing is carried twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from dagy.backends.decomposition import Apart, Parallel, Part, Series
from dagy.backends.limits import LIMITS
from dagy.backends.machine_calls import RUN_ID, Calls, State
from dagy.backends.machine_resources import MachineResources, Placement
from dagy.backends.state_names import StateNames
from dagy.spec import FlowSpec, Json, TaskSpec

Chain: TypeAlias = dict[str, Json]  # {"StartAt", "States"}

INLINE_CONCURRENCY = int(LIMITS["machine.inline_map"].value)
MOST_WIDE_CONCURRENCY = int(LIMITS["machine.distributed_map"].value)
WIDE_CONCURRENCY = 500  # of a distributed map, unless the task says otherwise: half of an account's usual functions


class StateWriter:
    """Writes the states of a flow's parts."""

    def __init__(self, spec: FlowSpec, where: MachineResources, placement: Placement) -> None:
        self._where = where
        self._placement = placement
        self._tasks = {task.id: task for task in spec.tasks}
        self._names = StateNames()
        self._name_of = {task.id: self._names.new(task.id) for task in spec.tasks}
        longest = max((len(task.id.encode()) for task in spec.tasks), default=0)
        crashes = max(len(spec.tasks), placement.inline)  # that come together in one state at most
        self._calls = Calls(where, placement, min(500, max(40, 200_000 // crashes - longest - _ENTRY_BYTES)))

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
                begin: self._calls.step(payload, "{% $states.result.Payload %}") | {"Next": begun},
                begun: {
                    "Type": "Choice",
                    "Choices": [{"Condition": "{% $states.input.state='RUNNING' %}", "Output": {}, "Next": first}],
                    "Default": end,
                    "Output": {},
                },
                **states,
                end: self._calls.step(
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
            return self._names.new(part, "ready") if part in self._placement.on_ecs else self._name_of[part]
        return self._names.new("in parallel" if isinstance(part, Parallel) else "history of its own")

    def _states(self, part: Part, name: str, way: _Way) -> dict[str, State]:
        match part:
            case str():
                task = self._tasks[part]
                if task.mapped:
                    return self._mapped(task, name, way)
                return self._contained(task, name, way) if part in self._placement.on_ecs else self._plain(task, way)
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
            "Catch": [self._calls.crashed(name, "$states.input", way.rescue)],
            "Output": _merged("$states.input", "$states.result"),
            **way.go,
        }

    # ---- tasks

    def _plain(self, task: TaskSpec, way: _Way) -> dict[str, State]:
        """One state that calls the function."""
        called = self._calls.task(task)
        caught = self._calls.crashed(task.id, "$states.input", way.rescue)
        return {self._name_of[task.id]: {**called, "Catch": [caught], "Output": "{% $states.input %}", **way.go}}

    def _contained(self, task: TaskSpec, ready: str, way: _Way) -> dict[str, State]:
        """A container, which starts only when the task is to run."""
        name = self._name_of[task.id]
        decides, not_run = self._names.new(task.id, "is it to run"), self._names.new(task.id, "not run")
        return {
            ready: self._asked(task, "ready", "'state':$states.result.Payload.state", way) | {"Next": decides},
            decides: {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.state='READY' %}", "Next": name}],
                "Default": not_run,
            },
            name: {
                **self._calls.task(task),
                "Catch": [self._calls.crashed(task.id, _CARRIED, way.rescue, in_container=True)],
                "Output": f"{{% {_CARRIED} %}}",
                **way.go,
            },
            not_run: {"Type": "Pass", "Output": f"{{% {_CARRIED} %}}", **way.go},
        }

    def _mapped(self, task: TaskSpec, count: str, way: _Way) -> dict[str, State]:
        """One call for each item: here when there are few, else each as an execution of its own."""
        decides, here, wide = (self._names.new(task.id, what) for what in ("are they many", "items", "wide"))
        limit = task.options.concurrency_limit
        caught = [self._calls.crashed(task.id, _CARRIED, way.rescue)]
        item = "{% $states.context.Map.Item.Value %}"
        return {
            count: self._asked(task, "count", "'count':$states.result.Payload", way, inline=self._placement.inline)
            | {"Next": decides},
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
                "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **self._item(task, "item", tells=True)},
                "Catch": caught,
                "Output": _merged(_CARRIED, "$states.result"),
                **way.go,
            },
            wide: {
                "Type": "Map",
                "ItemReader": {
                    "Resource": self._calls.service("s3:getObject"),
                    "ReaderConfig": {"InputType": "JSON"},
                    "Arguments": {"Bucket": self._where.bucket, "Key": "{% $states.input.count.indices %}"},
                },
                "ItemSelector": {"item": item, "run_id": RUN_ID},
                "MaxConcurrency": min(limit or WIDE_CONCURRENCY, MOST_WIDE_CONCURRENCY),
                "ToleratedFailurePercentage": 100.0,
                "ItemProcessor": {"ProcessorConfig": _DISTRIBUTED, **self._item(task, "wide item", tells=False)},
                "Catch": caught,
                "Output": f"{{% {_CARRIED} %}}",
                **way.go,
            },
        }

    def _asked(self, task: TaskSpec, step: str, answer: str, way: _Way, **more: Json) -> State:
        """A step that asks something of the task, before it is entered."""
        payload = {"step": step, "run_id": RUN_ID, "task": task.id, **more}
        caught = self._calls.crashed(task.id, "$states.input", way.rescue)
        return {**self._calls.step(payload, f"{{% {{'crashed':$states.input,{answer}}} %}}"), "Catch": [caught]}

    def _item(self, task: TaskSpec, what: str, *, tells: bool) -> Chain:
        """One item. Of very many, none tells of its crash: what they tell comes together in one state."""
        name, crashed = self._names.new(task.id, what), self._names.new(task.id, f"{what} crashed")
        caught = self._calls.crashed(task.id, "", crashed, in_container=task.id in self._placement.on_ecs)
        return {
            "StartAt": name,
            "States": {
                name: {
                    **self._calls.task(task, is_item=True),
                    "Catch": [caught if tells else caught | {"Output": {}}],
                    "Output": {},
                    "End": True,
                },
                crashed: {"Type": "Succeed"},
            },
        }


_ENTRY_BYTES = 80  # of what is told of a crash, but for the task's name and the cause


@dataclass(frozen=True, slots=True)
class _Way:
    """How a state is left."""

    go: Mapping[str, Json]  # {"Next": ...} or {"End": True}
    rescue: str  # the state to go to after a crash


_CARRIED = "$states.input.crashed"
_DISTRIBUTED = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}


def _merged(*objects: str) -> str:
    return f"{{% $merge([{','.join(objects)}]) %}}"


def _title(part: Part, name: str) -> str:
    return part if isinstance(part, str) else name
