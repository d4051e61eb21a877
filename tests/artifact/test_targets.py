"""What an artifact can be built for."""

from __future__ import annotations

import pytest

from dagy.artifact.targets import TARGETS, target_called
from dagy.errors import ArtifactError


def test_a_target_that_is_misspelled_is_told_with_its_neighbour() -> None:
    with pytest.raises(ArtifactError, match="no target 'lamda'; did you mean 'lambda'"):
        target_called("lamda")
    with pytest.raises(ArtifactError, match="no target 'azure'; the targets are local, lambda, lambda-arm64, ecs"):
        target_called("azure")


@pytest.mark.parametrize(
    ("name", "python", "first", "last_but_one"),
    [
        ("lambda", "3.11", "manylinux_2_17_x86_64", "manylinux1_x86_64"),
        ("lambda", "3.12", "manylinux_2_34_x86_64", "manylinux1_x86_64"),
        ("lambda-arm64", "3.13", "manylinux_2_34_aarch64", "manylinux2014_aarch64"),
        ("ecs", "3.11", "manylinux_2_17_x86_64", "manylinux1_x86_64"),
        ("ecs", "3.12", "manylinux_2_34_x86_64", "manylinux1_x86_64"),
    ],
)
def test_a_python_decides_which_c_library_a_target_has(name: str, python: str, first: str, last_but_one: str) -> None:
    platforms = TARGETS[name].platforms(python)
    assert (platforms[0], platforms[-2]) == (first, last_but_one)


def test_a_python_that_a_target_has_not_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"the target 'lambda' has no Python 3\.9"):
        TARGETS["lambda"].check_python("3.9")
    TARGETS["ecs"].check_python("3.9")


def test_only_this_machine_takes_its_packages_as_they_are() -> None:
    assert [each.name for each in TARGETS.values() if each.is_local] == ["local"]
