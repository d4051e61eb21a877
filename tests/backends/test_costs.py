"""The estimate of what a run costs."""

from __future__ import annotations

from typing import Any

import pytest

from dagy import BackendRouter, Executor
from dagy.backends import Cost, CostItem, Measured
from dagy.backends.costs import AS_OF, PRICES, REGION
from tests.backends.flows import a_flow, a_task


def cost(*tasks: Any, **options: Any) -> Cost:
    return BackendRouter().route(a_flow(*tasks), **options).cost


def quantities(found: Cost) -> dict[tuple[str, str], float]:
    return {(each.service, each.what): each.quantity for each in found.items}


def test_one_invocation_costs_its_memory_for_its_time_and_a_request():
    found = quantities(cost(a_task("a", timeout_seconds=59), executor=Executor("lambda", memory_mb=2_048)))
    assert found[("Lambda", "requests")] == 1
    assert found[("Lambda", "memory-time")] == 2 * (1 + 59)
    assert ("Fargate", "vCPU-time") not in found
    assert ("Step Functions", "transitions") not in found


def test_what_runs_after_one_another_takes_longer_than_what_runs_side_by_side():
    chain = cost(a_task("a"), a_task("b", "a"), executor="lambda")
    pair = cost(a_task("a"), a_task("b"), executor="lambda")
    assert quantities(chain)[("Lambda", "memory-time")] > 1.9 * quantities(pair)[("Lambda", "memory-time")]


def test_each_task_and_each_item_of_a_state_machine_is_an_invocation_and_a_transition():
    two = quantities(cost(a_task("a"), a_task("b", "a"), executor="micro"))
    assert (two[("Lambda", "requests")], two[("Step Functions", "transitions")]) == (4, 7)
    many = quantities(cost(a_task("a", items=100), executor="micro"))
    assert (many[("Lambda", "requests")], many[("Step Functions", "transitions")]) == (103, 108)


def test_a_container_is_paid_for_a_minute_at_least():
    brief = quantities(cost(a_task("a"), executor="large", measured=Measured(1, {"a": 2.0})))
    assert brief[("Fargate", "vCPU-time")] == pytest.approx(2 / 60)
    assert brief[("Fargate", "memory-time")] == pytest.approx(4 / 60)
    long = quantities(cost(a_task("a"), executor="large", measured=Measured(1, {"a": 3_560.0})))
    assert long[("Fargate", "vCPU-time")] == pytest.approx(2)


def test_a_task_in_a_container_of_its_own_is_asked_for_by_an_invocation():
    found = quantities(cost(a_task("a"), a_task("b", "a", executor="small")))
    assert found[("Lambda", "requests")] == 4
    assert found[("Fargate", "vCPU-time")] == pytest.approx(0.5 * 100 / 3600)


def test_a_run_is_the_sum_of_its_items_and_a_thousand_cost_a_thousand_times_as_much():
    found = cost(a_task("a"), executor="micro")
    assert found.per_run == pytest.approx(sum(each.quantity * each.price for each in found.items))
    assert found.per_thousand == pytest.approx(1000 * found.per_run)
    assert (found.region, found.as_of) == (REGION, AS_OF)


def test_what_is_assumed_is_said():
    mixed = (a_task("a"), a_task("b", "a"), a_task("c", "a", items="a"), a_task("d", executor="ecs"))
    said = cost(*mixed, measured=Measured(3, {"a": 1.0, "d": 5.0})).assumptions
    assert said == (
        "2 tasks as long as in 3 recorded runs on this machine",
        "2 tasks never measured: 1 min each, or the time limit if that is less; a run here tells better: "
        "run_local(record=True)",
        "100 items where a map's list is not known",
        "1 s to start a function, 40 s to start a container; one attempt each; values of tasks in S3, one object each",
        "without logs, traffic, storage, free tiers and discounts",
    )


def test_every_price_is_of_one_unit_and_arm_is_cheaper():
    assert all(0 < each.dollars < 1 for each in PRICES.values())
    assert PRICES["lambda.arm64"].dollars < PRICES["lambda.x86_64"].dollars
    short = (a_task("a"),)
    assert cost(*short, executor=Executor("lambda", architecture="arm64")).per_run < cost(*short).per_run


def test_an_item_costs_its_quantity_at_its_price():
    assert CostItem("S3", "writes", 10, "", 0.5).amount == 5
