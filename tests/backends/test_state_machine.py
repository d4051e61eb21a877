"""A flow as a state machine: what each thing that a spec can say becomes, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagy.backends.history import BUDGET, MOST_EVENTS
from dagy.backends.state_machine import MOST_BYTES, ContainerSize, compile_flow
from dagy.errors import BackendError, LimitError, UnknownTaskError
from dagy.spec import FlowSpec

from .definition_checks import faults, is_legal
from .flow_specs import ECS, WHERE, fan, flow, flow_of, graphs, layers, task, task_chain
from .validators import VALIDATORS

ETL = flow(
    task("extract", retries=2, retry_delays=(1.0, 5.0), timeout_seconds=30),
    task("clean", "extract"),
    task("score", "extract", mapped=True, concurrency_limit=8),
    task("train", "clean", retries=1, timeout_seconds=1800),
    task("report", "train", "score"),
)


def compiled(spec: FlowSpec, **options: Any) -> Any:
    return compile_flow(spec, WHERE, **options).definition


def all_states(chain: Any) -> Iterator[tuple[str, Any]]:
    """Each state of a definition, however deep, with its name."""
    for name, state in chain["States"].items():
        yield name, state
        for inner in [*state.get("Branches", ()), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from all_states(inner)


def state(spec: FlowSpec, name: str, **options: Any) -> Any:
    return dict(all_states(compiled(spec, **options)))[name]


# ---- the whole


def test_a_small_flow_is_what_the_file_beside_this_one_shows():
    written = json.dumps(compiled(ETL, on_ecs=["train"]), indent=2) + "\n"
    assert written == Path(__file__).with_name("etl.asl.json").read_text()


@pytest.mark.program
@pytest.mark.parametrize("validator", VALIDATORS)
def test_every_kind_of_state_is_taken_by_every_validator(validator: str):
    apart = flow(*(task(f"t{each}", *([f"t{each - 1}"] if each else []), retries=1_500) for each in range(4)))
    specs = [flow(), flow(task("alone")), fan(3), layers(4, 4), flow(task("n"), task("m", "n", mapped=True)), apart]
    definitions = [compiled(ETL, on_ecs=["train", "score"]), *map(compiled, specs)]
    assert "history of its own" in definitions[-1]["States"]
    assert VALIDATORS[validator](definitions) == [[] for _ in definitions]


def test_the_same_flow_gives_the_same_text():
    assert compile_flow(ETL, WHERE, on_ecs=["train"]) == compile_flow(ETL, WHERE, on_ecs=["train"])


def test_text_and_size_are_the_definitions():
    made = compile_flow(flow(task("größe")), WHERE)
    assert json.loads(made.text) == made.definition
    assert made.size == len(made.text.encode()) > len(made.text)


def test_a_flow_without_tasks_begins_and_ends():
    assert list(compiled(flow())["States"]) == [
        "begin", "is it running", "end", "did it complete", "completed", "not completed",
    ]  # fmt: skip


# ---- the order


@settings(max_examples=50)
@given(graphs(), st.data())
def test_every_path_respects_every_edge_and_every_task_has_its_state(
    needs: dict[str, tuple[str, ...]], data: st.DataObject
):
    mapped = data.draw(st.sets(st.sampled_from([name for name, given_names in needs.items() if given_names] or [""])))
    on_ecs = data.draw(st.sets(st.sampled_from(list(needs))))
    definition = compiled(flow_of(needs, mapped=sorted(mapped)), on_ecs=sorted(on_ecs))
    assert faults(definition) == ()
    places = {name: each for each in all_places(definition) for name in tasks_called(each[-1])}
    assert set(places) == set(needs)
    for name, given_names in needs.items():
        for before in given_names:
            assert comes_before(places[before], places[name])


Place = tuple[Any, ...]  # (chain's id, rank, chain's id, rank, ..., state)


def all_places(chain: Any, around: Place = ()) -> Iterator[Place]:
    """For each state where it is: in which chains, and how far along each."""
    ranks = ranked(chain)
    for name, each in chain["States"].items():
        place = (*around, id(chain), ranks[name])
        yield (*place, each)
        for inner in [*each.get("Branches", ()), *([each["ItemProcessor"]] if "ItemProcessor" in each else [])]:
            yield from all_places(inner, place)


def ranked(chain: Any) -> dict[str, int]:
    """How many states come before each at most, on the way that is longest."""
    ranks = {chain["StartAt"]: 0}
    todo = [chain["StartAt"]]
    while todo:
        name = todo.pop()
        each = chain["States"][name]
        for way in (each, *each.get("Choices", ()), *each.get("Catch", ()), {"Next": each.get("Default")}):
            following = way.get("Next")
            if following is not None and ranks.get(following, -1) <= ranks[name]:
                ranks[following] = ranks[name] + 1
                todo.append(following)
    return ranks


def comes_before(one: Place, other: Place) -> bool:
    for (branch, rank), (other_branch, other_rank) in zip(steps(one), steps(other), strict=False):
        assert branch == other_branch, "they are in different branches"
        if rank != other_rank:
            return rank < other_rank
    return False


def steps(place: Place) -> list[tuple[Any, Any]]:
    return list(zip(place[:-1:2], place[1:-1:2], strict=True))


def tasks_called(each: Any) -> list[str]:
    """The task that the state runs, if it runs one."""
    arguments = each.get("Arguments", {})
    payload = arguments.get("Payload", {})
    if isinstance(payload, dict) and payload.get("step") == "task":
        return [payload["task"]]
    if "Overrides" in arguments:
        event = arguments["Overrides"]["ContainerOverrides"][0]["Environment"][0]["Value"]
        return [event.partition("'task':'")[2].partition("'")[0]]
    return []


# ---- names


@given(
    st.lists(
        st.text(min_size=1, max_size=90).filter(lambda name: "{%" not in name and "%}" not in name),
        unique=True,
        max_size=8,
    )
)
def test_whatever_tasks_are_called_the_names_of_states_are_legal_and_unique(names: list[str]):
    names_of_states = [name for name, _ in all_states(compiled(flow(*map(task, names))))]
    assert all(map(is_legal, names_of_states))
    assert len(set(names_of_states)) == len(names_of_states)


def test_a_task_may_be_called_like_one_of_our_own_states():
    assert {"end", "end 2", "begin", "begin 2"} <= set(compiled(flow(task("begin"), task("end", "begin")))["States"])


# ---- retries and times


def retries_of(**options: Any) -> list[Any]:
    retry: list[Any] = state(flow(task("load", **options)), "load")["Retry"]
    return [(each["ErrorEquals"], each["IntervalSeconds"], each["MaxAttempts"]) for each in retry[1:]]


def test_without_retries_only_what_lambda_itself_fails_at_is_tried_again():
    retry = state(flow(task("load")), "load")["Retry"]
    assert [each["ErrorEquals"][0] for each in retry] == ["Lambda.ServiceException"]
    assert retry[0]["JitterStrategy"] == "FULL"


def test_each_group_of_equal_waits_is_a_retry_block_and_crashes_come_last():
    assert retries_of(retries=4, retry_delays=(1.0, 1.0, 30.0)) == [
        (["DagyRetry1"], 1, 2),
        (["DagyRetry2"], 30, 2),
        (["States.TaskFailed", "Lambda.Unknown", "States.Timeout"], 1, 4),
    ]


def test_waits_are_rounded_up_to_whole_seconds_of_at_least_one_and_it_is_noted():
    assert [each[1] for each in retries_of(retries=2, retry_delays=(0.2, 1.5))] == [1, 2, 1]
    notes = compile_flow(flow(task("load", retries=1, retry_delays=(0.2,))), WHERE).notes
    assert notes == ("between the tries of 'load' it waits whole seconds, at least 1, as Step Functions does",)


@pytest.mark.parametrize(("given_seconds", "seconds"), [(None, 960), (30, 90), (29.5, 90), (900, 960)])
def test_a_state_waits_a_minute_longer_than_what_it_calls(given_seconds: float | None, seconds: int):
    assert state(flow(task("load", timeout_seconds=given_seconds)), "load")["TimeoutSeconds"] == seconds


def test_no_state_waits_longer_than_step_functions_lets_it():
    made = state(flow(task("train", timeout_seconds=9e7, retries=3)), "train", on_ecs=["train"])
    assert made["TimeoutSeconds"] == 99_999_999


def test_a_flows_timeout_is_the_machines_with_time_for_the_handler_to_end_it_first():
    assert compiled(flow(task("load"), timeout_seconds=3600))["TimeoutSeconds"] == 4200
    assert "TimeoutSeconds" not in compiled(flow(task("load")))


# ---- containers


def test_a_container_gets_its_event_by_its_environment_and_its_size_by_overrides():
    train = state(ETL, "train", on_ecs=["train"], container_sizes={"train": ContainerSize(0.5, 2048)})
    overrides = train["Arguments"]["Overrides"]
    assert (overrides["Cpu"], overrides["Memory"]) == ("512", "2048")
    assert overrides["ContainerOverrides"][0]["Name"] == "flow"
    assert overrides["ContainerOverrides"][0]["Environment"][0]["Name"] == "DAGY_EVENT"


def test_a_containers_time_has_room_for_its_own_retries():
    assert state(ETL, "train", on_ecs=["train"])["TimeoutSeconds"] == 2 * 1800 + 600


def test_containers_without_a_cluster_are_refused():
    with pytest.raises(BackendError, match="no cluster is given"):
        compile_flow(ETL, replace(WHERE, ecs=None), on_ecs=["train"])


def test_a_container_in_a_public_subnet_has_an_address():
    where = replace(WHERE, ecs=replace(ECS, assign_public_ip=True))
    made = dict(all_states(compile_flow(ETL, where, on_ecs=["train"]).definition))["train"]
    network = made["Arguments"]["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "ENABLED"


def test_a_task_that_is_not_there_is_named():
    with pytest.raises(UnknownTaskError, match="there is no task 'trian' in flow 'etl'; did you mean 'train'"):
        compile_flow(ETL, WHERE, on_ecs=["trian"])


# ---- maps


def test_a_concurrency_limit_is_the_maps_here_and_wide():
    assert [state(ETL, f"score ({how})", on_ecs=["train"])["MaxConcurrency"] for how in ("items", "wide")] == [8, 8]


def test_without_a_limit_a_map_here_takes_forty_at_once():
    spec = flow(task("rows"), task("score", "rows", mapped=True))
    assert state(spec, "score (items)")["MaxConcurrency"] == 40
    assert state(spec, "score (wide)")["MaxConcurrency"] == 500


@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(0, 6))
def test_however_many_maps_there_are_what_runs_in_one_history_has_room_there(maps: int, retries: int):
    spec = flow(task("rows"), *(task(f"m{each}", "rows", mapped=True, retries=retries) for each in range(maps)))
    made = compile_flow(spec, WHERE)
    assert made.events <= BUDGET
    assert state(spec, "m0 (count)")["Arguments"]["Payload"]["inline"] >= 1


def test_calls_of_a_limited_task_in_different_branches_wait_for_each_other():
    spec = flow(*(replace(task(f"load-{each}", concurrency_limit=2), name="load", function="f") for each in range(4)))
    made = compile_flow(spec, WHERE)
    branches = made.definition["States"]["in parallel"]["Branches"]
    assert [[name for name in each["States"] if "crashed" not in name] for each in branches] == [
        ["load-0", "load-2"],
        ["load-1", "load-3"],
    ]
    assert made.notes == ("for the concurrency_limit of 'load' calls wait for each other in a fixed order",)


# ---- limits and what can't be said


def test_a_definition_that_is_too_large_is_refused_with_number_and_limit():
    with pytest.raises(
        LimitError, match=r"with its 1,400 tasks is 1,2\d\d,\d\d\d bytes, and Step Functions takes 1,048,576"
    ):
        compiled(task_chain(1_400))
    assert compile_flow(task_chain(1_200), WHERE).size <= MOST_BYTES


def test_a_flow_of_ten_thousand_tasks_is_refused_at_once():
    spec = task_chain(10_000)
    began = time.perf_counter()
    with pytest.raises(LimitError, match="with its 10,000 tasks is more than 1,048,576 bytes"):
        compiled(spec)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("spec", [task_chain(1_000), fan(1_000), layers(10, 100)], ids=["chain", "fan", "layers"])
def test_a_thousand_tasks_have_room_in_histories_of_their_own(spec: FlowSpec):
    made = compile_flow(spec, WHERE)
    assert BUDGET // 2 < made.events < MOST_EVENTS
    assert any("run as executions of their own" in note for note in made.notes)
    assert "history of its own" in dict(all_states(made.definition))


def test_too_many_retries_for_one_history_are_refused():
    with pytest.raises(LimitError, match=r"task 'load' with retries=5000 takes 30,\d\d\d events .* has at most 25,000"):
        compiled(flow(task("load", retries=5_000)))


def test_what_a_state_machine_cannot_say_is_told_with_its_remedy():
    spec = flow(task("load", timeout_seconds=1200), task("{% 1 %}"), retries=2)
    with pytest.raises(BackendError, match="Step Functions can't run flow 'etl' as it stands") as refused:
        compiled(spec)
    assert refused.value.reasons == (
        "the flow has retries=2, and an execution goes through its states once; give the retries to its tasks, or use "
        "executor='lambda' or executor='ecs'",
        "task 'load' may take 1200 s, and a Lambda function is stopped after 900 s; give the task executor='ecs'",
        "task '{% 1 %}' has a name that Step Functions takes for an expression; rename it",
    )


def test_a_container_may_take_longer_than_a_function():
    spec = flow(task("load", timeout_seconds=1200))
    assert state(spec, "load", on_ecs=["load"])["TimeoutSeconds"] == 1200 + 600


def test_what_is_left_out_is_noted():
    spec = flow(
        task("a", cache=True), task("b", retries=1, retry_delays=(2.0,), retry_jitter_factor=0.5), task("c", "a", "b"),
        task("d", "a"),
    )  # fmt: skip
    assert compile_flow(spec, WHERE).notes == (
        "retry_jitter_factor of 'b' is left out: Step Functions' own jitter shortens the waits",
        "cache of 'a' is left out: on AWS results are kept for their own run and its resume",
        "up to 2 of 4 tasks wait for some that they do not need: branches of a state machine can't cross, so where the "
        "graph crosses, a level is over before the next begins",
    )
