"""How large packages are, against what a target takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagy.artifact.sizes import PackageSize, Sizes
from dagy.artifact.targets import LOCAL, TARGETS
from dagy.errors import ArtifactError

MIB = 1 << 20
LAMBDA = TARGETS["lambda"]


def test_the_table_has_the_largest_first_and_the_limit_last() -> None:
    sizes = Sizes.of(
        [
            PackageSize("numpy", "2.4.6", 40 * MIB, 16 * MIB),
            PackageSize("pandas", "3.1.1", 60 * MIB, 11 * MIB),
        ],
        LAMBDA,
    )
    assert str(sizes) == (
        "package          version     zipped   unzipped  share\n"
        "---------------  -------  ---------  ---------  -----\n"
        "pandas           3.1.1     11.0 MiB   60.0 MiB   60 %\n"
        "numpy            2.4.6     16.0 MiB   40.0 MiB   40 %\n"
        "---------------  -------  ---------  ---------  -----\n"
        "2 packages                 27.0 MiB  100.0 MiB\n"
        "limit of lambda           250.0 MiB  250.0 MiB"
    )


def test_what_is_installed_has_no_packed_size_and_no_limit() -> None:
    assert str(Sizes.of([PackageSize("click", "8.1.8", MIB)], LOCAL)) == (
        "package    version  unzipped  share\n"
        "---------  -------  --------  -----\n"
        "click      8.1.8     1.0 MiB  100 %\n"
        "---------  -------  --------  -----\n"
        "1 package            1.0 MiB"
    )


def test_no_packages_are_no_table() -> None:
    assert str(Sizes.of([], LAMBDA)) == "no packages"


def test_too_much_for_a_target_is_refused_with_the_largest_and_a_way_out() -> None:
    sizes = Sizes.of([PackageSize(f"p{each}", "1", each * 100 * MIB, each * 10 * MIB) for each in (1, 2, 3, 4)], LAMBDA)
    with pytest.raises(ArtifactError) as caught:
        sizes.check()
    assert str(caught.value) == (
        "the packages are 1,000.0 MiB unzipped, and AWS Lambda on x86_64 takes 250.0 MiB; the largest are p4 400.0 "
        "MiB, p3 300.0 MiB, p2 200.0 MiB; do without one of them, or build for containers of AWS ECS on x86_64: "
        "--target ecs"
    )
    assert str(sizes).endswith("too large")


def test_what_fits_exactly_fits() -> None:
    Sizes.of([PackageSize("all", "1", 250 * MIB, 250 * MIB)], LAMBDA).check()


def test_packed_bytes_have_a_limit_of_their_own() -> None:
    target = replace(LAMBDA, zipped_limit=MIB)
    with pytest.raises(ArtifactError, match=r"2\.0 MiB zipped"):
        Sizes.of([PackageSize("all", "1", 2 * MIB, 2 * MIB)], target).check()


def test_the_sizes_are_data_too() -> None:
    assert Sizes.of([PackageSize("a", "1", 3, 2)], LAMBDA).to_json() == {
        "target": "lambda",
        "packages": [{"name": "a", "version": "1", "unzipped": 3, "zipped": 2}],
        "zipped": 2,
        "unzipped": 3,
        "zipped_limit": 250 * MIB,
        "unzipped_limit": 250 * MIB,
    }


def test_of_a_package_that_is_not_here_yet_no_size_is_told_and_so_no_sum() -> None:
    sizes = Sizes.of([PackageSize("a", "1", 3 << 20), PackageSize("b", "2", None)], LOCAL)
    assert str(sizes) == (
        "package     version  unzipped  share\n"
        "----------  -------  --------  -----\n"
        "a           1         3.0 MiB\n"
        "b           2\n"
        "----------  -------  --------  -----\n"
        "2 packages"
    )
