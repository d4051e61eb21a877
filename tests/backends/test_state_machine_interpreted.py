"""What a compiled state machine does when it runs: in moto's interpreter, with a function that is scripted here."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from dagy.backends import BackendRouter
from dagy.backends.state_machine import compile_flow
from dagy.spec import FlowSpec

from .flow_specs import WHERE, fan, flow, task
from .interpreting import Cloud, Execution, interpreted

pytestmark = pytest.mark.program

DIAMOND = flow(task("first"), task("left", "first"), task("right", "first"), task("last", "left", "right"))
MAPPED = flow(task("rows"), task("score", "rows", mapped=True, retries=1), task("last", "score"))
KEY = "runs/etl-1/tasks/score/indices.json"


def failing(name: str, message: str = "") -> Exception:
    """An exception of that class: a state machine sees no more of it than name and message."""
    return type(name, (Exception,), {})(message)


KILLED = failing("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed")


@dataclass
class Handler:
    """Answers each step; `does` is called before a task does, with its payload, and may raise."""

    does: Callable[[dict[str, Any]], object] = lambda payload: None
    begins: str = "RUNNING"
    items: int = 2
    ready: str = "READY"
    payloads: list[dict[str, Any]] = field(default_factory=list)
    cloud: Cloud = field(init=False)

    def __post_init__(self) -> None:
        self.cloud = Cloud(self)

    def __call__(self, payload: dict[str, Any]) -> Any:
        self.payloads.append(payload)
        match payload["step"]:
            case "begin":
                return {"state": self.begins}
            case "count":
                is_wide = self.items > 10
                self.cloud.objects[f"{WHERE.bucket}/{KEY}"] = json.dumps([*range(self.items)]).encode()
                return {"items": self.items, "wide": is_wide, **({"indices": KEY} if is_wide else {})}
            case "ready":
                return {"state": self.ready}
            case "end":
                return {"state": "FAILED" if payload["crashed"] else "COMPLETED", "message": "told by the end"}
            case _:
                self.does(payload)
                return {"task": payload["task"], "state": "COMPLETED"}

    def run(self, spec: FlowSpec, **options: Any) -> Execution:
        machine = compile_flow(spec, WHERE, **options)
        execution = interpreted(machine.definition, {"run_id": "etl-1", "parameters": {"day": "monday"}}, self.cloud)
        assert len(execution.events) <= machine.events
        return execution

    @property
    def tasks(self) -> list[str]:
        return [each["task"] for each in self.payloads if each["step"] == "task"]

    @property
    def crashed(self) -> Any:
        """What the end was told of crashes."""
        (end,) = (each for each in self.payloads if each["step"] == "end")
        return end["crashed"]


def test_a_run_that_completes_succeeds():
    handler = Handler()
    assert handler.run(DIAMOND).status == "SUCCEEDED"
    assert handler.payloads[0] == {"step": "begin", "run_id": "etl-1", "parameters": {"day": "monday"}}
    assert handler.payloads[1] == {"step": "task", "run_id": "etl-1", "task": "first", "attempt": 1}
    assert (sorted(handler.tasks[1:3]), handler.tasks[3]) == (["left", "right"], "last")
    assert handler.payloads[-1] == {"step": "end", "run_id": "etl-1", "crashed": {}}


def test_what_the_end_says_is_how_the_execution_fails():
    def crash(payload: dict[str, Any]) -> None:
        raise KILLED

    ended = Handler(crash).run(flow(task("alone")))
    assert (ended.status, ended.error, ended.cause) == ("FAILED", "FAILED", "told by the end")


def test_a_run_that_does_not_begin_goes_straight_to_its_end():
    handler = Handler(begins="FAILED")
    handler.run(DIAMOND)
    assert [each["step"] for each in handler.payloads] == ["begin", "end"]


def test_a_crash_stops_nothing_else_and_the_end_is_told_of_it():
    def crash(payload: dict[str, Any]) -> None:
        if payload["task"] in ("first", "right"):
            raise KILLED

    handler = Handler(crash)
    handler.run(DIAMOND)
    assert Counter(handler.tasks) == Counter(["first", "left", "right", "last"])
    assert handler.crashed.keys() == {"first", "right"}
    assert handler.crashed["right"]["Error"] == "Lambda.Unknown"
    assert "signal: killed" in handler.crashed["right"]["Cause"]
    assert "stackTrace" not in handler.crashed["right"]["Cause"]


@pytest.mark.parametrize("name", ["it's", 'say "hi"', "a\\b", "a\nb", "$states.input", "größe 100 %", "{x}"])
def test_a_task_comes_to_the_handler_and_to_the_end_by_its_own_name_however_odd(name: str):
    def crash(payload: dict[str, Any]) -> None:
        raise KILLED

    handler = Handler(crash)
    handler.run(flow(task(name), task("apart", name), task(f"{name}-2")), on_ecs=[f"{name}-2"])
    assert sorted(handler.tasks) == sorted(["apart", name])
    assert handler.crashed.keys() == {"apart", name}
    (request,) = handler.cloud.containers
    (variable,) = request["overrides"]["containerOverrides"][0]["environment"]
    assert json.loads(variable["value"])["task"] == f"{name}-2"


def test_long_causes_are_cut_so_that_all_of_them_fit_into_one_state():
    def crash(payload: dict[str, Any]) -> None:
        raise failing("Runtime.ImportModuleError", "x" * 10_000)

    handler = Handler(crash)
    handler.run(fan(20))
    assert len(handler.crashed) == 22
    assert {len(each["Cause"]) for each in handler.crashed.values()} == {500}


@pytest.mark.parametrize("spec", [fan(1_000), MAPPED], ids=["tasks", "items"])
def test_however_much_crashes_at_once_what_is_told_of_it_fits_into_256_kib(spec: FlowSpec):
    machine = compile_flow(spec, WHERE)
    crashes = max(len(spec.tasks), 500)  # items of a map, as many as have room in one history
    told = re.findall(r"\[0\],-(\d+)\)", machine.text)
    worst = {"task-1000": {"Error": "Runtime.UserCodeSyntaxError", "Cause": "x" * int(told[0])}}
    assert crashes * len(json.dumps(worst)) < 256 * 1024


def test_a_task_is_tried_again_after_the_waits_of_its_policy():
    def fail(payload: dict[str, Any]) -> None:
        if payload["attempt"] <= 3:
            raise failing("DagyRetry1" if payload["attempt"] < 3 else "DagyRetry2")

    handler = Handler(fail)
    handler.run(flow(task("load", retries=4, retry_delays=(2.0, 2.0, 7.0))))
    assert [each["attempt"] for each in handler.payloads if each["step"] == "task"] == [1, 2, 3, 4]
    assert handler.cloud.waits == [2, 2, 7]
    assert handler.crashed == {}


def test_a_crash_is_tried_again_as_often_as_the_policy_says():
    def crash(payload: dict[str, Any]) -> None:
        raise KILLED

    handler = Handler(crash)
    handler.run(flow(task("load", retries=2, retry_delays=(3.0, 60.0))))
    assert handler.tasks == ["load"] * 3
    assert handler.cloud.waits == [3, 3]


@pytest.mark.parametrize("error", ["Lambda.TooManyRequestsException", "DagyRetry0"])
def test_what_is_over_in_a_moment_uses_up_no_retries_of_the_task(error: str):
    def busy(payload: dict[str, Any]) -> None:
        if payload["attempt"] <= 6:
            raise failing(error)

    handler = Handler(busy)
    handler.run(flow(task("load")))
    assert handler.tasks == ["load"] * 7
    assert handler.crashed == {}


@pytest.mark.parametrize("executor", [None, "ecs"])
def test_the_states_and_invocations_of_a_run_are_those_that_its_estimate_counts(executor: str | None):
    left = task("left", "first", executor=executor)
    spec = flow(task("first"), left, task("right", "first"), task("last", "left", "right"))
    route = BackendRouter().route(spec, executor="micro")
    handler = Handler()
    ended = handler.run(spec, on_ecs=route.on_ecs)
    counted = {each.what: each.quantity for each in route.cost.items}
    assert counted["transitions"] == sum(each.endswith("StateEntered") for each in ended.events)
    assert counted["requests"] == len(handler.payloads)


# ---- maps


def test_each_item_of_a_map_is_a_call_of_its_own():
    handler = Handler(items=3)
    handler.run(MAPPED)
    assert {each["item"] for each in handler.payloads if each.get("task") == "score" and "item" in each} == {0, 1, 2}
    assert handler.tasks[-1] == "last"


def test_a_map_over_nothing_calls_nothing():
    handler = Handler(items=0)
    assert handler.run(MAPPED).status == "SUCCEEDED"
    assert handler.tasks == ["rows", "last"]


def test_a_wide_map_reads_its_items_from_the_bucket_and_has_histories_of_its_own():
    handler = Handler(items=25)
    ended = handler.run(MAPPED)
    assert Counter(handler.tasks) == {"rows": 1, "score": 25, "last": 1}
    assert "MapRunStarted" in ended.events
    assert all(each["run_id"] == "etl-1" for each in handler.payloads)


@pytest.mark.parametrize("items", [4, 25])
def test_the_crash_of_an_item_stops_no_other_item(items: int):
    def crash(payload: dict[str, Any]) -> None:
        if payload.get("item") == 1:
            raise KILLED

    handler = Handler(crash, items=items)
    handler.run(MAPPED)
    assert Counter(each["item"] for each in handler.payloads if "item" in each) == Counter([*range(items), 1])
    assert handler.tasks[-1] == "last"
    assert list(handler.crashed) == (["score"] if items == 4 else [])  # of very many items no list could be kept


def test_a_map_whose_items_cannot_be_counted_is_over():
    handler = Handler()
    counting = handler.__call__

    def no_count(payload: dict[str, Any]) -> Any:
        if payload["step"] == "count":
            raise KILLED
        return counting(payload)

    handler.cloud.function = no_count
    handler.run(MAPPED)
    assert handler.tasks == ["rows", "last"]
    assert list(handler.crashed) == ["score"]


# ---- containers


def test_a_container_runs_its_step_when_the_task_is_to_run():
    handler = Handler()
    handler.run(DIAMOND, on_ecs=["left"])
    (request,) = handler.cloud.containers
    (variable,) = request["overrides"]["containerOverrides"][0]["environment"]
    assert variable["name"] == "DAGY_EVENT"
    assert json.loads(variable["value"]) == {"step": "task", "run_id": "etl-1", "task": "left", "attempt": 1}
    assert sorted(handler.tasks) == ["first", "last", "right"]


def test_no_container_starts_for_a_task_that_is_not_to_run():
    handler = Handler(ready="SKIPPED")
    assert handler.run(DIAMOND, on_ecs=["left"]).status == "SUCCEEDED"
    assert handler.cloud.containers == []


def test_why_a_container_ended_is_cut_out_of_what_ecs_says():
    handler = Handler()
    handler.cloud.container = lambda _event: 137
    handler.run(DIAMOND, on_ecs=["left"])
    assert handler.crashed == {
        "left": {
            "Error": "States.TaskFailed",
            "Cause": (
                "Essential container in task exited; "
                "OutOfMemoryError: Container killed due to memory usage; exit code 137"
            ),
        }
    }


def test_items_can_run_in_containers():
    handler = Handler(items=3)
    handler.run(MAPPED, on_ecs=["score"])
    assert len(handler.cloud.containers) == 3


# ---- parts apart


def test_a_part_with_a_history_of_its_own_runs_in_its_place_and_tells_of_its_crashes():
    def crash(payload: dict[str, Any]) -> None:
        if payload["task"] == "b":
            raise KILLED

    handler = Handler(crash)
    many = {"retries": 1_900}  # which may each be tried so often: three have no room in one history
    ended = handler.run(flow(task("a", **many), task("b", "a"), task("c", "b", **many), task("d", "c", **many)))
    assert handler.tasks == ["a", "b", "c", "d"]
    assert "MapRunStarted" in ended.events
    assert list(handler.crashed) == ["b"]
