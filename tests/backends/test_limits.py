"""What AWS takes at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagy.backends.limits import FARGATE_MEMORY, LIMITS, LimitUse, amount, container_memory, lasting
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


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (860, "s", "14 min 20 s"),
        (10_240, "MB", "10,240 MB"),
        (4_096, "bytes", "4,096 bytes"),
        (262_144, "bytes", "256.0 KiB"),
        (250 << 20, "bytes", "250.0 MiB"),
        (8_192, "characters", "8,192 characters"),
        (0.5, "number", "0.5"),
        (25_000, "number", "25,000"),
    ],
)
def test_amounts_are_said_for_people(value: float, unit: str, text: str):
    assert amount(value, unit) == text  # type: ignore[arg-type]  # a literal


def test_a_time_has_no_zeros_in_it():
    assert [lasting(each) for each in (0.25, 30, 60, 605, 7_200, 36_000)] == [
        "250 ms", "30 s", "1 min", "10 min 05 s", "2 h", "10 h",
    ]  # fmt: skip


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
