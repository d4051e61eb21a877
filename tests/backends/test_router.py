"""Which backend and tier the router chooses, why, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dagy import BackendRouter, Executor
from dagy.backends import Measured, Route, Sizes
from dagy.backends.limits import FARGATE_MEMORY, LIMITS, NEAR
from dagy.backends.rules import START_AND_STORE
from dagy.backends.tiers import SIZES
from dagy.drawing.labels import columns
from dagy.errors import BackendError, DefinitionError, LimitError
from dagy.executors import EXECUTORS
from dagy.spec import FlowSpec
from tests.backends.flows import a_flow, a_task

MIB = 1 << 20
SHORT = a_flow(a_task("fetch", timeout_seconds=60), a_task("parse", "fetch", timeout_seconds=30))
TRAIN = a_task("train", "fetch", timeout_seconds=7_200.0, memory_mb=6_000)
MIXED = a_flow(a_task("fetch", timeout_seconds=60), TRAIN, a_task("report", "train", timeout_seconds=30))


def route(spec: FlowSpec, **options: Any) -> Route:
    return BackendRouter().route(spec, **options)


def place(spec: FlowSpec, **options: Any) -> tuple[str, str]:
    found = route(spec, **options)
    return found.backend, found.tier


# What the rules choose.


def test_a_short_flow_runs_in_one_lambda_invocation():
    found = route(SHORT)
    assert (found.backend, found.tier, found.memory_mb, found.vcpu, found.timeout_seconds) == (
        "lambda", "nano", 1_769, None, 150,
    )  # fmt: skip
    assert found.reasons == (
        "the flow's longest path is bounded by 1 min 30 s (fetch, parse): within the 10 min that one Lambda "
        "invocation should take",
    )
    assert (found.problems, found.near, found.on_ecs) == ((), (), frozenset())


def test_a_flow_without_tasks_runs_in_one_lambda_invocation():
    assert place(a_flow()) == ("lambda", "nano")


def test_a_long_path_is_cut_into_invocations():
    spec = a_flow(
        a_task("fetch", timeout_seconds=200, retries=1, retry_delays=(60.0,)),
        a_task("load", "fetch", timeout_seconds=400),
    )
    found = route(spec)
    assert (found.backend, found.tier, found.timeout_seconds) == ("step-functions", "micro", 460)
    assert found.reasons == (
        "the flow's longest path is bounded by 14 min 20 s (fetch, load): more than the 10 min that one Lambda "
        "invocation should take",
    )


def test_the_flows_own_time_limit_bounds_it():
    spec = a_flow(a_task("a", timeout_seconds=500), a_task("b", "a", timeout_seconds=500), timeout_seconds=550)
    assert place(spec) == ("lambda", "nano")
    assert "the flow's time limit is 9 min 10 s" in route(spec).reasons[0]


def test_what_is_tried_again_as_a_whole_takes_as_long_again():
    task = a_task("a", timeout_seconds=250)
    assert place(a_flow(task, retries=1)) == ("lambda", "nano")
    found = route(a_flow(task, retries=1, retry_delays=(200.0,)))
    assert found.backend == "ecs"
    assert found.reasons[0].startswith("the flow's longest path is bounded by 11 min 40 s (a): more than the 10 min")
    assert found.reasons[1].startswith("no state machine can run it: the flow has retries=1")


def test_a_task_of_which_nothing_is_known_is_taken_to_last_a_minute_and_it_is_said():
    found = route(a_flow(a_task("a"), a_task("b", "a")))
    assert found.backend == "lambda"
    assert found.tasks["a"].bound_seconds is None
    assert found.timeout_seconds == 900
    assert found.problems == (
        "no time limit and no recorded run says how long 'a', 'b' may take: 1 min is assumed; set timeout_seconds, or "
        "record a run here: run_local(record=True)",
    )
    assert place(a_flow(*(a_task(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(11)))) == (
        "step-functions", "micro",
    )  # fmt: skip


def test_a_recorded_run_says_what_no_time_limit_does():
    spec = a_flow(a_task("a"))
    assert place(spec, measured=Measured(1, {"a": 299.0})) == ("lambda", "nano")
    assert place(spec, measured=Measured(1, {"a": 301.0})) == ("step-functions", "micro")
    assert place(spec, measured=Measured(1, {"a": 436.0})) == ("ecs", "medium")
    assert route(spec, measured=Measured(1, {"a": 2.0})).tasks["a"].reason == "twice what it took here"


def test_a_wide_map_is_spread_over_invocations():
    assert place(a_flow(a_task("score", items=40, timeout_seconds=5))) == ("lambda", "nano")
    found = route(a_flow(a_task("score", items=41, timeout_seconds=5)))
    assert found.backend == "step-functions"
    assert found.reasons == ("task 'score' goes through 41 items: more than the 40 that one invocation should",)


def test_a_map_of_unknown_width_may_be_wide_until_a_recorded_run_says_more():
    spec = a_flow(a_task("pages", timeout_seconds=5), a_task("score", items="pages", timeout_seconds=5))
    assert place(spec) == ("step-functions", "micro")
    assert "is known only when it runs" in route(spec).reasons[0]
    assert place(spec, measured=Measured(1, {}, {"score": 12})) == ("lambda", "nano")


def test_a_task_that_is_too_long_for_lambda_runs_in_a_container_beside_the_others():
    found = route(MIXED)
    assert (found.backend, found.tier) == ("step-functions", "micro")
    assert found.on_ecs == {"train"}
    assert found.reasons == (
        "task 'train' (one attempt may take 2 h: more than the 15 min that one invocation of a Lambda function may "
        "take) needs a container, and 2 others do not",
    )
    assert {each.task: (each.backend, each.tier, each.memory_mb, each.vcpu) for each in found.tasks.values()} == {
        "fetch": ("lambda", "micro", 1_769, None),
        "train": ("ecs", "xlarge", 12_288, 4),
        "report": ("lambda", "micro", 1_769, None),
    }
    assert found.timeout_seconds == 120


def test_an_invocation_needs_some_of_its_time_to_start_and_to_store():
    assert route(a_flow(a_task("a", timeout_seconds=870), a_task("b"))).on_ecs == frozenset()
    found = route(a_flow(a_task("a", timeout_seconds=900), a_task("b")))
    assert found.on_ecs == {"a"}
    assert found.reasons[0].startswith(
        "task 'a' (one attempt may take 15 min and 30 s to start and to store: more than the 15 min that one invocation"
    )


def test_a_task_that_needs_much_memory_runs_in_a_container():
    found = route(a_flow(a_task("a", memory_mb=10_241), a_task("b")))
    assert (found.backend, found.on_ecs) == ("step-functions", {"a"})
    assert "it needs 10,241 MB: more than the 10,240 MB that a Lambda function may have" in found.reasons[0]


def test_one_container_does_all_when_every_task_needs_one():
    found = route(a_flow(a_task("a", executor="ecs"), a_task("b", executor="large", timeout_seconds=60)))
    assert (found.backend, found.tier, found.vcpu, found.memory_mb) == ("ecs", "large", 2, 4_096)
    assert found.reasons == ("each of 2 tasks, such as 'a' (it asks for 'ecs'), needs a container, and one does all",)


def test_packages_that_lambda_does_not_take_go_into_a_container():
    assert place(SHORT, sizes=Sizes(90 * MIB, 250 * MIB)) == ("lambda", "nano")
    found = route(SHORT, sizes=Sizes(90 * MIB, 251 * MIB))
    assert (found.backend, found.tier, found.timeout_seconds) == ("ecs", "medium", 390)
    assert found.reasons[0].startswith("the code and its packages unpack to 251.0 MiB: more than the 250.0 MiB that")


def test_an_image_runs_in_a_container():
    found = route(SHORT, executor=Executor("auto", image="me/flow:1"))
    assert (found.backend, found.image) == ("ecs", "me/flow:1")
    assert found.reasons == ("the image 'me/flow:1' runs in a container only",)


def test_what_runs_side_by_side_must_fit_together():
    apart = [a_task(f"t{n}", memory_mb=6_000, timeout_seconds=9) for n in range(2)]
    assert place(a_flow(*apart)) == ("step-functions", "micro")
    assert route(a_flow(apart[0], a_task("t1", "t0", memory_mb=6_000))).memory_mb == 6_000
    assert route(a_flow(a_task("m", items=9, memory_mb=500, timeout_seconds=9))).memory_mb == 4_500
    assert route(a_flow(a_task("m", items=9, memory_mb=500, concurrency_limit=4, timeout_seconds=9))).memory_mb == 2_000


def test_what_a_flow_needs_as_a_whole_is_what_it_says():
    assert route(a_flow(a_task("a", timeout_seconds=9), memory_mb=512)).memory_mb == 512
    found = route(a_flow(a_task("a", timeout_seconds=9), memory_mb=11_000))
    assert (found.backend, found.tier, found.memory_mb) == ("ecs", "xlarge", 12_288)
    assert found.reasons == (
        "the flow needs 11,000 MB: more than the 10,240 MB that a Lambda function may have",
    )  # fmt: skip


@pytest.mark.parametrize(
    "executor",
    [
        Executor("auto", memory_mb=11_000),
        Executor("auto", timeout_seconds=1_000),
        Executor("auto", ephemeral_mb=20_000),
    ],
)
def test_what_lambda_has_not_enough_of_is_in_a_container(executor: Executor):
    found = route(SHORT, executor=executor)
    assert found.backend == "ecs"
    assert re.match(r"the flow (needs|is given) .* (MB|s): more than the ", found.reasons[0])


def test_a_container_that_is_too_small_for_what_its_tasks_say_is_told():
    spec = a_flow(a_task("a", memory_mb=6_000, timeout_seconds=9))
    assert route(spec, executor=Executor("ecs", memory_mb=2_000)).problems == (
        "its tasks need 6,000 MB side by side, and the container has 2,048 MB",
    )


def test_a_task_may_ask_for_an_invocation_of_its_own():
    found = route(a_flow(a_task("a", executor="micro", timeout_seconds=9)))
    assert (found.backend, found.reasons) == ("step-functions", ("task 'a' asks for 'micro'",))


def test_a_flow_that_no_state_machine_can_run_goes_into_one_container():
    tasks = [a_task(f"t{n}", *([f"t{n - 1}"] if n else []), timeout_seconds=60) for n in range(2_500)]
    found = route(a_flow(*tasks))
    assert (found.backend, found.tier) == ("ecs", "medium")
    assert found.reasons[0].startswith("the flow's longest path is bounded by 41 h 40 min (t0, t1, ..., t2499)")
    assert found.reasons[1].startswith("no state machine can run it: ")
    with pytest.raises(BackendError):
        route(a_flow(*tasks), executor="step-functions")


# What is asked for.


@pytest.mark.parametrize("name", EXECUTORS)
def test_what_the_deploy_asks_for_overrules_the_rules(name: str):
    found = route(SHORT, executor=name)
    assert found.backend == Executor(name).backend
    assert found.tier == {"lambda": "nano", "step-functions": "micro", "ecs": "medium"}.get(name, name)
    assert found.reasons[0] == f"the deploy asks for {name!r}"
    if found.backend != "lambda":
        assert found.reasons[1].startswith("the rules would choose lambda: the flow's longest path is bounded by")


def test_what_the_flow_asks_for_is_overruled_by_the_deploy():
    spec = a_flow(a_task("a", timeout_seconds=9), executor="small")
    assert (place(spec), place(spec, executor="auto")) == (("ecs", "small"), ("ecs", "small"))
    assert route(spec).reasons[0] == "flow 'etl' asks for 'small'"
    assert place(spec, executor="lambda") == ("lambda", "nano")
    assert route(spec, executor=Executor("auto", memory_mb=3_000)).memory_mb == 3_072


def test_an_executor_says_how_much():
    function = route(SHORT, executor=Executor("lambda", memory_mb=3_000, timeout_seconds=100, architecture="arm64"))
    assert (function.memory_mb, function.timeout_seconds, function.architecture) == (3_000, 100, "arm64")
    container = route(SHORT, executor=Executor("ecs", memory_mb=9_000, vcpu=4, ephemeral_mb=100, timeout_seconds=3_600))
    assert (container.tier, container.memory_mb, container.vcpu) == ("xlarge", 9_216, 4)
    assert (container.ephemeral_mb, container.timeout_seconds) == (21 << 10, 3_600)
    assert route(SHORT, executor=Executor("lambda", ephemeral_mb=100)).ephemeral_mb == 512


def test_one_invocation_that_may_end_too_soon_says_so():
    found = route(a_flow(a_task("a", timeout_seconds=600), a_task("b", "a", timeout_seconds=600)), executor="lambda")
    assert found.backend == "lambda"
    assert found.problems == (
        "the flow's longest path is bounded by 20 min (a, b), and the invocation ends after 15 min: a task whose time "
        "limit is more than what is left by then is not started, and the run goes on from there when it is resumed",
    )


def test_a_task_that_is_overruled_is_told():
    assert route(a_flow(a_task("a", executor="lambda", timeout_seconds=9)), executor="ecs").problems == (
        "task 'a' asks for 'lambda', and runs with all others in one container",
    )
    assert route(a_flow(a_task("a", executor="micro", timeout_seconds=9)), executor="nano").problems == (
        "task 'a' asks for 'micro', and runs with all others in one Lambda invocation",
    )


# What is refused.


def test_a_task_for_a_container_in_a_flow_for_one_invocation_is_refused_with_both_ways_out():
    spec = a_flow(a_task("fetch"), a_task("train", "fetch", executor="ecs"))
    with pytest.raises(BackendError) as caught:
        route(spec, executor="lambda")
    assert str(caught.value) == (
        "the deploy asks for 'lambda', which is one Lambda invocation for all of flow 'etl'; with 'step-functions' "
        "these tasks run in containers and the others on Lambda, with 'ecs' all in one container\n"
        "  - task 'train': it asks for 'ecs'"
    )
    assert caught.value.reasons == ("task 'train': it asks for 'ecs'",)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (
            a_flow(a_task("train", executor="lambda", timeout_seconds=7_200.0)), {},
            "task 'train' asks for 'lambda': 2 h is more than the 15 min that one invocation of a Lambda function may "
            "take; ask for executor='ecs', or lower its timeout_seconds",
        ),
        (
            a_flow(a_task("train", executor="nano", memory_mb=20_000)), {},
            "task 'train' asks for 'nano': 20,000 MB is more than the 10,240 MB that a Lambda function may have",
        ),
        (MIXED, {"executor": "nano"}, "task 'train': 2 h is more than the 15 min"),
        (
            a_flow(a_task("a", executor="lambda", timeout_seconds=900)), {},
            "task 'a' asks for 'lambda', with 30 s to start and to store: 15 min 30 s is more than the 15 min",
        ),
        (
            SHORT, {"executor": "micro", "sizes": Sizes(None, 300 * MIB)},
            "the deploy asks for 'micro': 300.0 MiB is more than the 250.0 MiB that a Lambda function and its layers "
            "may unpack to; deploy with executor='ecs', or do without some",
        ),
        (
            a_flow(a_task("a", executor="lambda"), executor="auto"), {"sizes": Sizes(None, 300 * MIB)},
            "task 'a' asks for 'lambda': 300.0 MiB is more than the 250.0 MiB",
        ),
        (a_flow(memory_mb=11_000), {"executor": "lambda"}, "flow 'etl': 11,000 MB is more than the 10,240 MB"),
        (SHORT, {"executor": Executor("lambda", memory_mb=11_000)}, "the function: 11,000 MB is more than the 10,240"),
        (SHORT, {"executor": Executor("lambda", timeout_seconds=901)}, "the deploy: 15 min 01 s is more than the 15"),
        (SHORT, {"executor": Executor("micro", timeout_seconds=901)}, "the deploy: 15 min 01 s is more than the 15"),
        (SHORT, {"executor": Executor("nano", ephemeral_mb=10_241)}, "the deploy: 10,241 MB is more than the 10,240"),
        (SHORT, {"executor": Executor("small", memory_mb=5_000)}, "flow 'etl': 5,000 MB is more than the 4,096 MB"),
        (
            a_flow(a_task("a", executor="ecs", items=20, memory_mb=10_000)), {},
            "flow 'etl', side by side: 160,000 MB is more than the 122,880 MB that a container on Fargate may have; "
            "lower a concurrency_limit",
        ),
        (a_flow(a_task("a", memory_mb=130_000), a_task("b")), {}, "task 'a': 130,000 MB is more than the 122,880 MB"),
    ],
)  # fmt: skip
def test_what_a_service_does_not_take_is_refused_with_number_and_limit(
    spec: FlowSpec, options: dict[str, Any], message: str
):
    with pytest.raises(LimitError) as caught:
        route(spec, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "executor", "message"),
    [
        (SHORT, "local", "the executor 'local' is no place on AWS, so there is nothing to route"),
        (SHORT, Executor("ecs", architecture="arm64"), "containers are made for x86_64, not for arm64"),
        (MIXED, Executor("auto", architecture="arm64"), "containers are made for x86_64, not for arm64"),
        (
            a_flow(executor="lambda"), Executor("auto", image="me/flow:1"),
            "flow 'etl' asks for 'lambda', and the deploy for the image 'me/flow:1', which runs in a container only",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(spec: FlowSpec, executor: Any, message: str):
    with pytest.raises(BackendError) as caught:
        route(spec, executor=executor)
    assert message in str(caught.value)


# What is near, and how it looks.


def test_a_limit_of_which_more_than_most_is_used_is_near():
    assert [each.name for each in route(SHORT, sizes=Sizes(None, 180 * MIB)).near] == ["lambda.unzipped"]
    assert route(SHORT, sizes=Sizes(None, 170 * MIB)).near == ()
    near = route(a_flow(a_task("a", timeout_seconds=700)), executor="lambda").near
    assert [str(each) for each in near] == [
        "the longest path: 11 min 40 s is 78 % of the 15 min that one invocation of a Lambda function may take",
        "task 'a': 11 min 40 s is 78 % of the 15 min that one invocation of a Lambda function may take",
    ]


def test_a_route_is_a_short_plan_in_plain_text():
    text = str(route(MIXED, sizes=Sizes(10 * MIB, 200 * MIB)))
    plan, _, cost = text.partition("\nCost")
    assert (
        plan
        == """\
etl on AWS: step-functions (micro), functions with 1,769 MB, x86_64

Why           task 'train' (one attempt may take 2 h: more than the 15 min that one invocation of a
                Lambda function may take) needs a container, and 2 others do not

Tasks         task    on      tier       memory  vCPU  an attempt at most  because
              fetch   lambda  micro    1,769 MB                     1 min  its time limit
              train   ecs     xlarge  12,288 MB     4                 2 h  one attempt may take 2 h
              report  lambda  micro    1,769 MB                      30 s  its time limit

Near a limit  code and packages: 200.0 MiB is 80 % of the 250.0 MiB that a Lambda function and its
                layers may unpack to
"""
    )
    assert "an estimate at the list prices of us-east-1" in re.sub(r"\s+", " ", cost)
    assert max(map(columns, text.splitlines())) <= 100


def test_a_route_in_a_notebook_is_escaped_html_without_script():
    evil = "<script>alert(1)</script>\u202e"
    bundle = route(a_flow(a_task(evil)))._repr_mimebundle_()
    assert "<script" not in bundle["text/html"]
    assert "\u202e" not in bundle["text/html"] + bundle["text/plain"]
    assert "&lt;script&gt;" in bundle["text/html"]
    assert bundle["text/plain"] == str(route(a_flow(a_task(evil))))


def test_many_tasks_are_counted_rather_than_listed():
    text = str(route(a_flow(*(a_task(f"t{n}", timeout_seconds=9) for n in range(50)))))
    assert "30 more tasks on lambda (nano)" in text
    assert "t19" in text
    assert "t20" not in text


# What holds for any flow.

seconds = st.none() | st.sampled_from([0.5, 30.0, 599.0, 900.0, 901.0, 7_200.0])
megabytes = st.none() | st.sampled_from([1, 512, 1_769, 6_000, 10_240, 10_241, 30_000, 122_880])


@st.composite
def flows(draw: st.DrawFn, executors: st.SearchStrategy[str | None]) -> FlowSpec:
    ids = [f"t{n}" for n in range(draw(st.integers(0, 5)))]
    tasks = []
    for place_, task_id in enumerate(ids):
        needs = draw(st.lists(st.sampled_from(ids[:place_]), unique=True, max_size=2)) if place_ else []
        items = draw(st.sampled_from([None, None, 0, 7, 41, *([ids[0]] if place_ else [])]))
        tasks.append(
            a_task(
                task_id,
                *needs,
                items=items,
                timeout_seconds=draw(seconds),
                memory_mb=draw(megabytes),
                executor=draw(executors),
                retries=draw(st.integers(0, 2)),
                concurrency_limit=draw(st.sampled_from([None, 1, 20])),
            )
        )
    return a_flow(*tasks, timeout_seconds=draw(seconds), memory_mb=draw(megabytes), executor=draw(executors))


executors = st.none() | st.sampled_from(EXECUTORS)
measures = st.none() | st.builds(
    Measured, st.just(1), st.dictionaries(st.sampled_from(["t0", "t1"]), st.sampled_from([0.0, 5.0, 460.0, 9e3]))
)
all_sizes = st.none() | st.builds(Sizes, st.none(), st.sampled_from([None, 1, 200 * MIB, 250 * MIB, 251 * MIB]))


@settings(max_examples=150, deadline=None)
@given(flows(executors), st.none() | st.just("auto") | st.sampled_from(EXECUTORS), all_sizes, measures)
def test_no_flow_is_sent_where_the_limits_do_not_take_it(
    spec: FlowSpec, executor: str | None, sizes: Sizes | None, measured: Measured | None
):
    try:
        found = route(spec, executor=executor, sizes=sizes, measured=measured)
    except BackendError:
        return
    assert found.reasons
    assert all(found.reasons)
    assert found.tasks.keys() == {each.id for each in spec.tasks}
    assert all(NEAR < each.share <= 1 for each in found.near)
    assert found.cost.per_run > 0
    assert max(map(columns, str(found).splitlines())) <= 100
    if executor not in (None, "auto"):
        assert found.backend == Executor(executor).backend
    if found.backend != "ecs":
        assert found.timeout_seconds is not None
        assert found.timeout_seconds <= LIMITS["lambda.timeout"].value
        assert LIMITS["lambda.memory"].least <= found.memory_mb <= LIMITS["lambda.memory"].value
        assert ((sizes or Sizes()).unzipped or 0) <= LIMITS["lambda.unzipped"].value
    for task in spec.tasks:
        there, options = found.tasks[task.id], task.options
        assert there.memory_mb >= (options.memory_mb or 0) or executor in SIZES or spec.options.executor in SIZES
        if there.backend == "lambda":
            assert (options.timeout_seconds or 0) + START_AND_STORE <= LIMITS["lambda.timeout"].value
            assert Executor(options.executor or "lambda").backend != "ecs"
        else:
            assert there.memory_mb in FARGATE_MEMORY[there.vcpu or 0]


@settings(max_examples=100, deadline=None)
@given(flows(st.none()), st.data(), all_sizes)
def test_more_memory_never_leads_to_a_smaller_tier(spec: FlowSpec, data: st.DataObject, sizes: Sizes | None):
    assume(spec.tasks)
    place_ = data.draw(st.integers(0, len(spec.tasks) - 1))
    less, more = sorted(data.draw(st.tuples(st.integers(1, 122_880), st.integers(1, 122_880))))
    order = list(SIZES)

    def with_memory(amount: int) -> FlowSpec:
        tasks = list(spec.tasks)
        tasks[place_] = replace(tasks[place_], options=replace(tasks[place_].options, memory_mb=amount))
        return replace(spec, tasks=tuple(tasks))

    try:
        small, large = (route(with_memory(each), sizes=sizes) for each in (less, more))
    except LimitError:
        return
    assert order.index(small.tier) <= order.index(large.tier)
    task_id = spec.tasks[place_].id
    assert order.index(small.tasks[task_id].tier) <= order.index(large.tasks[task_id].tier)


def test_a_task_that_no_container_has_room_for_is_told_to_need_less():
    with pytest.raises(LimitError, match=r"^task 'a': 200,000 MB is more than the 122,880 MB .*; lower its memory_mb$"):
        route(a_flow(a_task("a", memory_mb=200_000)), executor="ecs")


def test_what_is_no_spec_is_refused_with_how_to_get_one():
    with pytest.raises(DefinitionError, match=r"not 'etl'; give flow\.spec"):
        BackendRouter().route("etl")  # type: ignore[arg-type]  # the mistake


def test_a_price_of_what_was_never_measured_is_called_a_guess():
    flow = a_flow(a_task("a"))
    assert "1,000, a guess as long as nothing is measured" in str(route(flow))
    assert "guess" not in str(route(flow, measured=Measured(1, {"a": 2.0})))
