"""What an artifact needs besides its own code: from imports or declarations, exact for one target."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from dagy.artifact.files import module_files
from dagy.artifact.installers import Installer, installers
from dagy.artifact.manifest import PYTHON_VERSION
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.artifact.packages import Packages, packages_of
from dagy.artifact.source import read_source
from dagy.errors import ArtifactError

from .wheelhouse import Chosen, Wheelhouse

Write = Callable[..., Path]


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Wheelhouse:
    return Wheelhouse(tmp_path / "wheelhouse")


@pytest.fixture
def needed(write: Write, tmp_path: Path) -> Callable[..., Packages]:
    """The packages of a flow's file with this text."""
    (tmp_path / "project/.git").mkdir(parents=True)

    def needed(
        text: str, *, requirements: str | None = None, target: str = "local", using: Installer | None = None
    ) -> Packages:
        source = read_source(write("project/main.py", text))
        file = None if requirements is None else write("project/requirements.txt", requirements)
        return packages_of(module_files(source), source, requirements=file, target=target, using=using)

    return needed


@pytest.fixture
def install(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a distribution of one module, as far as its metadata goes."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    names = []

    def install(
        name: str, number: str = "1.0", *, module: str | None = None, requires: tuple[str, ...] = (), url: str = ""
    ) -> None:
        module = module or name.replace("-", "_")
        folder = f"site/{name.replace('-', '_')}-{number}.dist-info"
        lines = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}",
            *(f"Requires-Dist: {each}" for each in requires),
        ]
        write(f"{folder}/METADATA", "\n".join(lines) + "\n")
        write(f"{folder}/RECORD", f"{module}/__init__.py,,{len(name)}\n{module}/__pycache__/x.pyc,,7\n")
        write(f"site/{module}/__init__.py", "")
        if url:
            write(f"{folder}/direct_url.json", url)
        names.append(module)

    yield install
    for name in names:
        sys.modules.pop(name, None)


def test_code_without_packages_needs_none_and_looks_for_none(needed: Callable[..., Packages], tmp_path: Path) -> None:
    found = needed("import json, os.path, dagy\n")
    assert (found.requirements, found.lock, found.sizes.packages) == ((), (), ())
    assert found.evidence == (tmp_path / "project/pyproject.toml",)


def test_imports_are_pinned_to_what_is_installed(needed: Callable[..., Packages]) -> None:
    found = needed("import pytest, click.testing\ndef f():\n    import yaml\n")
    assert found.requirements == tuple(f"{name}=={version(name)}" for name in ("click", "pytest", "PyYAML"))
    assert {each.name for each in found.sizes.packages} >= {"click", "pytest", "pyyaml", "pluggy"}
    assert all(each.unzipped > 10_000 for each in found.sizes.packages if each.name in {"click", "pytest"})
    assert found.origin == "the imports that the code reaches"


def test_what_is_installed_is_found_again_when_it_changes(
    needed: Callable[..., Packages], install: Callable[..., None]
) -> None:
    install("quick", "1.0")
    assert needed("import quick\n").requirements == ("quick==1.0",)
    install("quick-more", "3.0", module="more")
    assert needed("import quick, more\n").requirements == ("quick-more==3.0", "quick==1.0")


def test_an_import_that_is_not_installed_is_refused(needed: Callable[..., Packages]) -> None:
    with pytest.raises(ArtifactError, match=r"main\.py, line 1: module 'no_such_thing' is not installed"):
        needed("import no_such_thing\n")


def test_a_module_of_a_package_under_development_is_found_and_explained(
    needed: Callable[..., Packages], install: Callable[..., None], write: Write, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write("mine/src/my_thing/__init__.py", "")
    monkeypatch.syspath_prepend(tmp_path / "mine/src")
    install("my-thing", "0.3", module="_my_thing_path",
            url=f'{{"url": "{(tmp_path / "mine").as_uri()}", "dir_info": {{"editable": true}}}}')  # fmt: skip
    found = needed("import my_thing\n")
    assert found.requirements == ("my-thing==0.3",)
    assert found.warnings == (
        f"my-thing is installed in place (editable), of {tmp_path / 'mine'}: no other machine can get it from there",
    )
    with pytest.raises(ArtifactError, match="may be another's, so it is not looked for"):
        needed("import my_thing\n", target="lambda")


def test_declared_names_are_pinned_to_what_is_installed(
    needed: Callable[..., Packages], install: Callable[..., None]
) -> None:
    install("deep", "2.0")
    install("quick", "1.5", requires=("deep; extra == 'all'", "other; extra == 'else'"))
    found = needed("import quick\n", requirements="quick[all]>=1\ndagy\nnot-here; python_version < '3'\n")
    assert found.requirements == ("deep==2.0", "quick==1.5")
    assert found.origin.endswith("requirements.txt")
    assert found.warnings == ()


def test_what_is_declared_and_is_not_what_is_installed_is_chosen_for_an_environment_of_its_own(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse
) -> None:
    install("quick", "1.5")
    install("slow", "1.0")
    wheelhouse.add("quick", "2.0")
    wheelhouse.add("absent", "3.0")
    wheelhouse.add("slow", "1.0")
    wheelhouse.add("brought", "7.0")
    chooser = Chosen(wheelhouse.folder)
    text = "import quick, slow\ndef f():\n    import absent\n"
    found = needed(text, requirements="quick>=2\nabsent\nslow\n", using=chooser)
    assert found.requirements == ("absent==3.0", "brought==7.0", "quick==2.0", "slow==1.0")
    assert found.lock == ()
    assert found.warnings == (
        "absent 3.0 is not installed here, quick 2.0 is not what is installed here (1.5): "
        "a run gets an environment of its own",
    )
    (asked,) = chooser.asked
    assert asked.requirements == ("quick>=2", "absent", "slow", *RUNTIME_REQUIREMENTS)
    assert asked.preferred["slow"] == "1.0"
    assert "quick" not in asked.preferred
    assert {each.name: each.unzipped for each in found.sizes.packages}["quick"] is None


def test_a_declared_extra_that_is_not_installed_is_chosen(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse
) -> None:
    install("quick", "1.5", requires=("deep; extra == 'all'",))
    wheelhouse.add("quick", "1.5")
    wheelhouse.add("deep", "2.0")
    found = needed("import quick\n", requirements="quick[all]\n", using=Chosen(wheelhouse.folder))
    assert found.requirements == ("deep==2.0", "quick==1.5")


def test_what_dagy_needs_is_no_requirement_where_it_is_as_it_is_here(
    needed: Callable[..., Packages], wheelhouse: Wheelhouse
) -> None:
    wheelhouse.add("absent", "3.0")
    wheelhouse.add("tblib", version("tblib"))
    wheelhouse.add("cloudpickle", "3.0")
    found = needed("", requirements="absent\n", using=Chosen(wheelhouse.folder))
    assert found.requirements == ("absent==3.0", "cloudpickle==3.0")


def test_versions_that_were_chosen_once_are_kept(needed: Callable[..., Packages], wheelhouse: Wheelhouse) -> None:
    wheelhouse.add("absent", "3.0")
    chooser = Chosen(wheelhouse.folder)
    first = needed("", requirements="absent\n", using=chooser)
    wheelhouse.add("newer", "9.0")
    assert needed("# again\n", requirements="absent\n", using=chooser) == first
    assert len(chooser.asked) == 1
    assert [each.parent.name for each in first.evidence].count("locks") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("import absent", [], id="by-its-name"),
        pytest.param("import absent, other", ["other"], id="nothing-is-left-that-could"),
        pytest.param("import other", [], id="what-is-not-here-may-hold-anything"),
        pytest.param("import pytest", ["pytest"], id="known-to-be-of-another"),
    ],
)
def test_a_module_that_is_not_here_is_taken_to_be_of_what_is_declared(
    needed: Callable[..., Packages], wheelhouse: Wheelhouse, text: str, expected: list[str]
) -> None:
    wheelhouse.add("absent", "3.0")
    _, *warnings = needed(f"{text}\n", requirements="absent\n", using=Chosen(wheelhouse.folder)).warnings
    assert [each.rpartition(" ask for ")[2] for each in warnings] == [repr(each) for each in expected]


def test_where_all_that_is_declared_is_here_an_import_of_nothing_is_refused(
    needed: Callable[..., Packages], install: Callable[..., None]
) -> None:
    install("quick")
    expected = r"main\.py, line 1: module 'no_such_thing' is not installed; add the package .* to .*requirements\.txt"
    with pytest.raises(ArtifactError, match=expected):
        needed("import no_such_thing\n", requirements="quick\n")


def test_a_package_under_development_that_comes_from_an_index_there_is_told(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse
) -> None:
    install("mine", "0.3", url='{"url": "file:///home/me/mine", "dir_info": {"editable": true}}')
    wheelhouse.add("mine", "0.2")
    wheelhouse.add("absent")
    found = needed("", requirements="mine\nabsent\n", using=Chosen(wheelhouse.folder))
    assert found.warnings[-1] == (
        "mine is installed here from '/home/me/mine', and a run gets mine 0.2 of an index, which may be another's"
    )


@pytest.mark.program
@pytest.mark.parametrize("program", tuple(installers()), ids=lambda each: each.name)
def test_uv_and_pip_choose_what_is_declared_and_keep_what_is_installed(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse, program: Installer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    install("deep", "1.0")
    for each in RUNTIME_REQUIREMENTS:
        wheelhouse.add(each.partition(">=")[0], version(each.partition(">=")[0]))
    wheelhouse.add("quick", "1.0", requires=["deep"])
    wheelhouse.add("quick", "2.0", requires=["deep"])
    wheelhouse.add("deep", "1.0")
    wheelhouse.add("deep", "2.0")
    wheelhouse.serve(monkeypatch)
    found = needed("import quick\n", requirements="quick<2\n", using=program)
    assert found.requirements == ("deep==1.0", "quick==1.0")


@pytest.mark.program
@pytest.mark.parametrize(
    ("target", "program"),
    [("lambda", each) for each in installers()] + [("local", each) for each in installers() if each.name == "uv"],
    ids=lambda each: getattr(each, "name", each),
)
def test_what_can_not_be_had_is_told_with_the_nearest_version_that_can(
    needed: Callable[..., Packages], wheelhouse: Wheelhouse, program: Installer, target: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    wheelhouse.add_what_dagy_needs()
    wheelhouse.add("quick", "1.0")
    wheelhouse.add("quick", "2.0", tag="py3-none-macosx_11_0_arm64")
    wheelhouse.serve(monkeypatch)
    expected = r"^quick>=2 can't be had for Python 3.*; what is nearest and would do is quick==1\.0: ask for that in /"
    with pytest.raises(ArtifactError, match=expected):
        needed("import quick\n", requirements="quick>=2\n", target=target, using=program)


def test_an_import_that_is_not_declared_is_told(needed: Callable[..., Packages], install: Callable[..., None]) -> None:
    install("deep")
    install("quick", requires=("deep",))
    install("Other_Thing", module="thing")
    text = "import quick, deep, thing\ntry:\n    import gone\nexcept ImportError:\n    pass\n"
    (warning,) = needed(text, requirements="quick\n").warnings
    assert warning.startswith("main.py, line 1: 'thing' is imported, and ")
    assert warning.endswith("requirements.txt does not ask for 'other-thing'")


def test_for_another_target_wheels_are_chosen_near_to_what_is_installed(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    install("deep", "2.0+cpu")
    install("quick", "1.0", requires=("deep",))
    wheelhouse.add("deep", "2.0")
    wheelhouse.add("quick", "1.0", requires=["deep"], tag="cp3-abi3-manylinux_2_17_x86_64".replace("cp3", "cp38"))
    chooser = Chosen(wheelhouse.folder)
    found = needed("import quick\n", target="lambda", using=chooser)
    (asked,) = chooser.asked
    assert asked.requirements[0] == "quick==1.0"
    assert {"quick", "deep", "pydantic"} <= asked.preferred.keys()
    assert asked.preferred["deep"] == "2.0"
    assert found.requirements == ("deep==2.0", "quick==1.0")
    assert [each.file_name for each in found.lock] == [path.name for path in found.wheels]
    assert all(path.is_file() for path in found.wheels)
    assert {each.name for each in found.sizes.packages} == {"dagy", "deep", "quick"}
    assert set(found.wheels) < set(found.evidence)


def test_a_choice_is_kept_and_no_installer_asked_again(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse
) -> None:
    install("quick")
    wheelhouse.add("quick")
    chooser = Chosen(wheelhouse.folder)
    first = needed("import quick\n", target="lambda", using=chooser)
    wheelhouse.add("quick", "9.0")
    assert needed("import quick  # again\n", target="lambda", using=chooser) == first
    assert len(chooser.asked) == 1


def test_a_choice_whose_wheels_are_gone_is_made_again(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse
) -> None:
    install("quick")
    old = wheelhouse.add("quick")
    chooser = Chosen(wheelhouse.folder)
    first = needed("import quick\n", target="lambda", using=chooser)
    old.unlink()
    first.wheels[0].unlink()
    wheelhouse.add("quick", "9.0")
    assert needed("import quick\n", target="lambda", using=chooser).requirements == ("quick==9.0",)


def test_a_wheel_for_another_platform_is_refused(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse
) -> None:
    install("quick")
    wheelhouse.add(
        "quick", tag=f"cp{PYTHON_VERSION.replace('.', '')}-cp{PYTHON_VERSION.replace('.', '')}-macosx_11_0_arm64"
    )
    with pytest.raises(
        ArtifactError, match=r"the wheel of quick 1\.0 is for cp\d+-macosx_11_0_arm64, and the target 'ecs'"
    ):
        needed("import quick\n", target="ecs", using=Chosen(wheelhouse.folder))


def test_a_wheel_must_have_a_hash_that_is_declared(
    needed: Callable[..., Packages], install: Callable[..., None], wheelhouse: Wheelhouse
) -> None:
    install("quick")
    wheelhouse.add("quick")
    with pytest.raises(ArtifactError, match=r"has none of the hashes .* add --hash=sha256:[0-9a-f]{64} if"):
        needed(
            "", requirements=f"quick==1.0 --hash=sha256:{'0' * 64}\n", target="lambda", using=Chosen(wheelhouse.folder)
        )
