"""uv and pip answer the same questions in the same way; and what they say when something can't be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagy.artifact.installer_errors import explain_pip, explain_uv, pip_reason, uv_reason
from dagy.artifact.installers import Installer, Wanted, find_python, installer, installers
from dagy.artifact.manifest import PYTHON_VERSION
from dagy.artifact.targets import TARGETS
from dagy.artifact.wheels import FoundWheel
from dagy.errors import ArtifactError

from .wheelhouse import Wheelhouse, found

AVAILABLE = tuple(installers())
TAG = f"cp{PYTHON_VERSION.replace('.', '')}"


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheelhouse:
    house = Wheelhouse(tmp_path / "wheelhouse")
    house.folder.mkdir()
    house.serve(monkeypatch)
    return house


@pytest.fixture(params=AVAILABLE, ids=lambda each: each.name)
def program(request: pytest.FixtureRequest) -> Installer:
    """Each of them in turn."""
    chosen: Installer = request.param
    return chosen


def wanted(*requirements: str, folder: Path, target: str = "ecs", **more: object) -> Wanted:
    return Wanted(requirements, TARGETS[target], PYTHON_VERSION, folder=folder, **more)  # type: ignore[arg-type]


def test_both_are_here_and_uv_is_the_better() -> None:
    assert [each.name for each in AVAILABLE] == ["uv", "pip"]
    assert installer().name == "uv"


@pytest.mark.program
def test_wheels_of_all_that_is_needed_are_chosen_for_the_target(
    wheelhouse: Wheelhouse, program: Installer, tmp_path: Path
) -> None:
    linux = wheelhouse.add("Some_Thing", "2.0", tag=f"{TAG}-{TAG}-manylinux_2_17_x86_64", requires=["plain>=1"])
    wheelhouse.add("Some_Thing", "2.0", tag=f"{TAG}-{TAG}-macosx_11_0_arm64", requires=["plain>=1"])
    wheelhouse.add("Some_Thing", "3.0", tag=f"{TAG}-{TAG}-macosx_11_0_arm64")
    plain = wheelhouse.add("plain", "1.5")
    assert program.resolve(wanted("some.thing", folder=tmp_path)) == (found(plain), found(linux))


@pytest.mark.program
def test_versions_that_are_preferred_are_taken_where_nothing_speaks_against_them(
    wheelhouse: Wheelhouse, program: Installer, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        wheelhouse.add("quick", version)
    asked = wanted("quick", folder=tmp_path, preferred={"quick": "1.0"})
    assert [each.version for each in program.resolve(asked)] == ["1.0"]
    asked = wanted("quick>1", folder=tmp_path, preferred={"quick": "1.0"})
    assert [each.version for each in program.resolve(asked)] == ["2.0"]


@pytest.mark.program
def test_no_module_of_the_project_is_run(wheelhouse: Wheelhouse, program: Installer, tmp_path: Path) -> None:
    wheelhouse.add("quick")
    for name in ("pip.py", "json.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('the project was run')\n")
    assert [each.version for each in program.resolve(wanted("quick", folder=tmp_path))] == ["1.0"]


@pytest.mark.program
def test_constraints_hold(wheelhouse: Wheelhouse, program: Installer, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        wheelhouse.add("quick", version)
    asked = wanted("quick", folder=tmp_path, constraints=("quick<2",))
    assert [each.version for each in program.resolve(asked)] == ["1.0"]


@pytest.mark.program
def test_a_package_without_a_wheel_for_the_target_is_named(
    wheelhouse: Wheelhouse, program: Installer, tmp_path: Path
) -> None:
    wheelhouse.add("quick", tag=f"{TAG}-{TAG}-macosx_11_0_arm64")
    with pytest.raises(ArtifactError, match=r"there is no wheel of 'quick' for Python .* AWS ECS.*; ask for another"):
        program.resolve(wanted("quick", folder=tmp_path))


@pytest.mark.program
def test_a_package_that_is_nowhere_is_named(wheelhouse: Wheelhouse, program: Installer, tmp_path: Path) -> None:
    wheelhouse.add("quick")
    with pytest.raises(ArtifactError, match=r"no.* package.* 'absent'|'absent'.* no package of that name"):
        program.resolve(wanted("quick", "absent", folder=tmp_path))


@pytest.mark.program
def test_requirements_that_contradict_each_other_are_named(
    wheelhouse: Wheelhouse, program: Installer, tmp_path: Path
) -> None:
    wheelhouse.add("deep", "1.0")
    wheelhouse.add("deep", "2.0")
    wheelhouse.add("one", requires=["deep<2"])
    wheelhouse.add("two", requires=["deep>=2"])
    with pytest.raises(ArtifactError, match=r"no set of wheels fits .*one.*deep") as caught:
        program.resolve(wanted("one", "two", folder=tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.program
def test_only_this_pythons_own_version_is_found_by_its_name() -> None:
    python = find_python(PYTHON_VERSION)
    assert python is not None
    assert find_python("3.99") is None


UV_SAYS = """\
error: No solution found when resolving dependencies
  cause: Because {cause} and you require x, we can conclude that your requirements are unsatisfiable.
{hint}"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            UV_SAYS.format(cause="all versions of x have no wheels with a matching platform tag", hint=(
                "\nhint: Wheels are required for `x` because building from source is disabled\n\n"
                "hint: Wheels are available for `x` (v1.0) on the following platform: `macosx_11_0_arm64`")),
            "there is no wheel of 'x' for Lambda; those there are for `macosx_11_0_arm64`; ask for another version",
        ),
        (
            UV_SAYS.format(cause="x==0.1 has no usable wheels", hint=(
                "\nhint: Wheels are required for `x` because building from source is disabled for all packages")),
            "there is no wheel of 'x' for Lambda; there is its source, or wheels for other systems; ask for",
        ),
        (
            UV_SAYS.format(cause="x was not found in the package registry", hint=""),
            "no index has a package 'x', which is needed for Lambda",
        ),
        (
            UV_SAYS.format(cause="only x<=2 is available", hint=""),
            "no set of wheels fits the requirements for Lambda: Because only x<=2 is available and you require x",
        ),
        (
            "error: Failed to fetch: `https://me:hunter2@x.org/simple/x/`\n  Caused by: dns error: failed to lookup",
            "the index can't be reached (dns error); check the network",
        ),
        (
            "error: Failed to fetch: `https://x.org/simple/x/`\n  Caused by: client error (401 Unauthorized)",
            "the index asks for a sign-in (401 Unauthorized); keep the password in ~/.netrc",
        ),
    ],
)  # fmt: skip
def test_what_uv_says_becomes_a_sentence_with_a_way_out(text: str, expected: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        explain_uv(text, "Lambda")
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement x (from versions: none)\n"
            "ERROR: No matching distribution found for x\n",
            "no wheel of 'x' for Lambda; there may be other wheels, its source, or no package of that name; ask",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement x>=3 (from versions: 1.0, 2.0)\n",
            "there is no wheel of 'x>=3' for Lambda; there are 1.0, 2.0; ask",
        ),
        (
            "ERROR: Cannot install a==1 and b==1 because these package versions have conflicting dependencies.\n\n"
            "The conflict is caused by:\n    a 1 depends on c<2\n    b 1 depends on c>=2\n\n"
            "To fix this you could try to:\n1. loosen\nERROR: ResolutionImpossible: for help visit https://pip\n",
            "for Lambda: a 1 depends on c<2 b 1 depends on c>=2",
        ),
        (
            "WARNING: Retrying after connection broken by 'Failed to establish a new connection: refused': /simple/x/\n"
            "ERROR: Could not find a version that satisfies the requirement x (from versions: none)\n",
            "the index can't be reached (Failed to establish a new connection)",
        ),
        ("", "it does not say why"),
    ],
)
def test_what_pip_says_becomes_a_sentence_with_a_way_out(text: str, expected: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        explain_pip(text, "Lambda")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_nobody_understands_is_short() -> None:
    assert len(uv_reason("error: " + "x " * 10_000)) <= 400
    assert len(pip_reason("y " * 10_000)) <= 400


def test_a_wheels_name_is_the_last_part_of_its_url() -> None:
    assert (
        FoundWheel("a", "1", "https://x.org/a%2Fb/..%2Fa-1%2Bcpu-py3-none-any.whl").file_name
        == "a-1+cpu-py3-none-any.whl"
    )
