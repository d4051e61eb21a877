"""What AWS takes at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.backends.limits import FARGATE_MEMORY, LIMITS, LimitUse, container_memory
from dagy.errors import LimitError


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_has_its_name_a_number_and_where_aws_says_so(name: str):
    limit = LIMITS[name]
    assert limit.name == name
    assert 0 <= limit.least < limit.value
    assert limit.source.startswith("docs.aws.amazon.com/")


@pytest.mark.parametrize("name", LIMITS)
def test_all_of_a_limit_may_be_used_and_no_more(name: str):
    limit = LIMITS[name]
    assert limit.check(limit.value, "it") == LimitUse(name, limit.value, limit.value, limit.unit, "it")
    with pytest.raises(LimitError):
        limit.check(limit.value + 1, "it")


def test_what_is_too_large_is_refused_with_the_number_the_limit_and_the_remedy():
    with pytest.raises(LimitError) as caught:
        LIMITS["lambda.timeout"].check(7_200, "task 'train'", "ask for executor='ecs'")
    assert str(caught.value) == (
        "task 'train': 2 h is more than the 15 min that one invocation of a Lambda function may take; "
        "ask for executor='ecs'"
    )


def test_a_use_says_how_near_it_is():
    use = LIMITS["lambda.unzipped"].check(200 << 20, "code and packages")
    assert use.share == 0.8
    assert str(use) == (
        "code and packages: 200.0 MiB is 80 % of the 250.0 MiB that a Lambda function and its layers may unpack to"
    )


def test_the_sizes_of_fargate_are_the_documented_ones():
    ends = {vcpu: (sizes[0], sizes[-1], len(sizes)) for vcpu, sizes in FARGATE_MEMORY.items()}
    assert ends == {
        0.25: (512, 2_048, 3),
        0.5: (1_024, 4_096, 4),
        1: (2_048, 8_192, 7),
        2: (4_096, 16_384, 13),
        4: (8_192, 30_720, 23),
        8: (16_384, 61_440, 12),
        16: (32_768, 122_880, 12),
    }


@given(st.sampled_from(list(FARGATE_MEMORY)), st.integers(1, 200_000))
def test_a_container_has_the_least_memory_that_is_enough_or_is_refused(vcpu: float, memory_mb: int):
    sizes = FARGATE_MEMORY[vcpu]
    if memory_mb > sizes[-1]:
        with pytest.raises(LimitError, match=f"{sizes[-1]:,} MB that|122,880 MB that"):
            container_memory(memory_mb, vcpu, "it")
    else:
        found = container_memory(memory_mb, vcpu, "it")
        assert found in sizes
        assert found >= memory_mb
        assert all(each < memory_mb for each in sizes if each < found)


def test_a_number_of_vcpus_that_fargate_has_not_is_refused_with_those_it_has():
    with pytest.raises(LimitError, match=r"it: Fargate has no 3 vCPU; it has 0.25, 0.5, 1, 2, 4, 8, 16"):
        container_memory(1_024, 3, "it")
