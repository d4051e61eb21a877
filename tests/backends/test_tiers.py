"""The sizes from nano to xlarge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.backends.limits import FARGATE_MEMORY
from dagy.backends.tiers import SIZES, container_tier, sized_container
from dagy.errors import LimitError
from dagy.executors import TIERS

memories = st.integers(1, 122_880)


def test_each_tier_is_of_the_backend_that_its_name_stands_for():
    assert {each.name: each.backend for each in SIZES.values()} == dict(TIERS)
    assert list(SIZES) == list(TIERS)


def test_the_containers_are_those_of_the_documentation():
    assert {each.name: (each.vcpu, each.memory_mb) for each in SIZES.values() if each.vcpu} == {
        "small": (0.5, 1_024),
        "medium": (1, 2_048),
        "large": (2, 4_096),
        "xlarge": (4, 12_288),
    }


@given(memories)
def test_a_container_has_the_memory_and_is_one_that_fargate_has(memory_mb: int):
    size = container_tier(memory_mb, "it")
    assert size.memory_mb >= memory_mb
    assert size.memory_mb in FARGATE_MEMORY[size.vcpu or 0]


@given(memories, memories)
def test_more_memory_never_leads_to_a_smaller_container(one: int, other: int):
    small, large = (container_tier(each, "it") for each in sorted((one, other)))
    assert list(SIZES).index(small.name) <= list(SIZES).index(large.name)
    assert small.memory_mb <= large.memory_mb
    assert (small.vcpu or 0) <= (large.vcpu or 0)


def test_a_container_of_which_nothing_is_known_is_medium():
    assert container_tier(None, "it").name == "medium"


def test_more_than_fargate_has_is_refused():
    with pytest.raises(LimitError, match="it: 122,881 MB is more than the 122,880 MB"):
        container_tier(122_881, "it")


def test_a_tier_that_is_asked_for_gets_more_memory_where_that_is_said():
    assert sized_container("large", None, None, "it") == SIZES["large"]
    assert sized_container("large", 100, None, "it") == SIZES["large"]
    bigger = sized_container("large", 5_000, None, "it")
    assert (bigger.name, bigger.vcpu, bigger.memory_mb) == ("large", 2, 5_120)
    with pytest.raises(LimitError, match=r"ask for more: Executor\('ecs', vcpu=4, memory_mb=20000\)"):
        sized_container("large", 20_000, None, "it")


def test_vcpus_that_are_asked_for_come_with_twice_as_many_gigabytes():
    size = sized_container(None, None, 4, "it")
    assert (size.name, size.vcpu, size.memory_mb) == ("xlarge", 4, 8_192)
    assert sized_container(None, 20_000, 4, "it").memory_mb == 20_480
    assert sized_container(None, None, 0.25, "it").name == "small"
