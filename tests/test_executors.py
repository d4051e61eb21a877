"""`Executor`: where to run, and with how much."""

from __future__ import annotations

from typing import Any

import pytest

from dagy import Executor
from dagy.errors import DefinitionError
from dagy.executors import EXECUTORS, TIERS, wished


def test_a_tier_belongs_to_a_backend():
    backends = {each: each for each in ("lambda", "step-functions", "ecs")}
    assert {each: Executor(each).backend for each in EXECUTORS} == {**backends, **TIERS}
    assert (Executor("large").tier, Executor("ecs").tier, Executor("auto").backend) == ("large", None, "auto")


def test_a_name_stands_for_an_executor():
    large = Executor("large", memory_mb=8_192)
    assert [Executor.of("large"), Executor.of(large), Executor.of(None)] == [Executor("large"), large, None]


def test_it_says_what_was_asked_for():
    assert str(Executor("ecs", memory_mb=8_192, vcpu=2)) == "ecs (memory_mb=8192, vcpu=2)"
    assert str(Executor("nano")) == "nano"
    assert (Executor("nano").is_plain, Executor("nano", timeout_seconds=5).is_plain) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "esc"}, "there is no executor 'esc'; did you mean 'ecs'?"),
        ({"name": "kubernetes"}, "there is no executor 'kubernetes'; one of 'lambda', 'step-functions', 'ecs'"),
        ({"name": "ecs", "memory_mb": 0}, "executor 'ecs': memory_mb must be a whole number of megabytes"),
        ({"name": "ecs", "memory_mb": 1.5}, "executor 'ecs': memory_mb must be a whole number of megabytes"),
        ({"name": "ecs", "ephemeral_mb": -1}, "executor 'ecs': ephemeral_mb must be a whole number of megabytes"),
        ({"name": "ecs", "vcpu": 0}, "executor 'ecs': vcpu must be more than 0, not 0"),
        ({"name": "lambda", "timeout_seconds": True}, "executor 'lambda': timeout_seconds must be more than 0"),
        ({"name": "lambda", "architecture": "arm"}, "architecture must be 'x86_64' or 'arm64', not 'arm'"),
        ({"name": "lambda", "vcpu": 2}, "executor 'lambda' has no vcpu of its own; write Executor('ecs', vcpu=2)"),
        ({"name": "large", "vcpu": 4}, "executor 'large' is a size of its own; write Executor('ecs', vcpu=4)"),
        ({"name": "lambda", "image": "me/flow:1"}, "executor 'lambda' takes no image; an image runs in a container"),
    ],
)
def test_what_has_no_meaning_is_refused_with_the_remedy(arguments: dict[str, Any], message: str):
    with pytest.raises(DefinitionError) as caught:
        Executor(**arguments)
    assert message in str(caught.value)


def test_a_task_may_wish_for_a_backend_a_tier_or_an_executor_with_memory():
    assert wished("task 'a'", None, 512) == (None, 512)
    assert wished("task 'a'", "micro", None) == ("micro", None)
    assert wished("task 'a'", Executor("ecs", memory_mb=4_096), None) == ("ecs", 4_096)
    assert wished("task 'a'", Executor("ecs"), 4_096) == ("ecs", 4_096)


@pytest.mark.parametrize(
    ("executor", "memory_mb", "message"),
    [
        ("local", None, "task 'a': executor must be one of 'lambda', 'step-functions', 'ecs', 'nano'"),
        ("larg", None, "not 'larg'; did you mean 'large'?"),
        (3, None, "task 'a': executor must be one of"),
        (Executor("ecs", vcpu=2), None, "task 'a': vcpu is said of the whole deployment: flow.deploy(executor="),
        (Executor("ecs", memory_mb=1), 2, "task 'a': memory_mb is 2, and 1 in its executor; say it once"),
        (None, "2 GB", "task 'a': memory_mb must be a whole number of megabytes, 1 or more, not '2 GB'"),
    ],
)
def test_what_a_task_cannot_wish_for_is_refused(executor: Any, memory_mb: Any, message: str):
    with pytest.raises(DefinitionError) as caught:
        wished("task 'a'", executor, memory_mb)
    assert message in str(caught.value)


@pytest.mark.parametrize("image", ["a b", "", " "])
def test_what_is_no_name_of_an_image_is_refused(image: str):
    with pytest.raises(DefinitionError, match="is no name of an image, such as 'me/flow:1'"):
        Executor("ecs", image=image)
