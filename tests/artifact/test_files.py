"""Which files go into an artifact, and which distributions they need."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from dagy.artifact.files import module_files
from dagy.artifact.packages import packages_of
from dagy.artifact.source import read_source
from dagy.errors import ArtifactError


def paths(path: Path) -> list[str]:
    return [file.path for file in module_files(read_source(path))]


def needed(path: Path) -> tuple[str, ...]:
    source = read_source(path)
    return packages_of(module_files(source), source).requirements


def test_modules_and_packages_are_followed_from_import_to_import(write: Callable[..., Path]) -> None:
    write("near.py", "from pack.inner.deep import name")
    write("pack/__init__.py", "from . import beside")
    write("pack/beside.py", "")
    write("pack/inner/__init__.py", "")
    write("pack/inner/deep.py", "from ..other import x")
    write("pack/other.py", "import main")
    write("pack/unused.py", "")
    write("space/part.py", "")
    write("unused.py", "")
    main = write("main.py", "import json, near\ndef f():\n    from space import part\n")
    assert paths(main) == [
        "main.py",
        "near.py",
        "pack/__init__.py",
        "pack/beside.py",
        "pack/inner/__init__.py",
        "pack/inner/deep.py",
        "pack/other.py",
        "space/part.py",
    ]


def test_only_modules_go_in(write: Callable[..., Path]) -> None:
    for name in (".env", "id_rsa", "key.pem", ".git/config", "pack/__pycache__/a.cpython-311.pyc", "pack/data.csv"):
        write(name, "secret")
    write("pack/__init__.py", "")
    assert paths(write("main.py", "import pack")) == ["main.py", "pack/__init__.py"]


def test_the_same_text_goes_in_whatever_its_line_ends(write: Callable[..., Path]) -> None:
    (unix,) = module_files(read_source(write("main.py", "x = 1\ny = 2\n")))
    (windows,) = module_files(read_source(write("main.py", "x = 1\r\ny = 2\r\n")))
    assert windows == unix


def test_a_link_out_of_the_folder_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    write("outside.py", "")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/linked.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(ArtifactError, match=r"linked\.py' is a link to .* outside the folder"):
        paths(write("project/main.py", "import linked"))


def test_a_relative_import_out_of_the_folder_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(ArtifactError, match=r"main\.py, line 2: the relative import leaves the folder"):
        paths(write("main.py", "\nfrom .. import outside"))


def test_a_module_that_hides_one_of_python_is_refused(write: Callable[..., Path]) -> None:
    write("calendar.py", "")
    with pytest.raises(ArtifactError, match=r"'calendar\.py', beside the flow, hides"):
        paths(write("main.py", "import calendar"))


def test_the_standard_library_and_dagy_are_no_requirement(write: Callable[..., Path]) -> None:
    assert needed(write("main.py", "import json, os.path, dagy\nfrom dagy_nb import x\n")) == ()


def test_a_requirement_is_pinned_to_what_is_installed_and_listed_once_in_order(write: Callable[..., Path]) -> None:
    write("near.py", "import pytest\nimport click.testing")
    main = write("main.py", "import near\ndef f():\n    import pydantic\n    import click\n")
    assert needed(main) == tuple(f"{name}=={version(name)}" for name in ("click", "pydantic", "pytest"))


def test_an_import_that_is_not_installed_is_refused_with_its_place(write: Callable[..., Path]) -> None:
    with pytest.raises(ArtifactError, match=r"main\.py, line 2: module 'no_such_thing' is not installed"):
        needed(write("main.py", "\nimport no_such_thing.inner"))


def test_an_import_that_the_code_can_do_without_may_be_missing(write: Callable[..., Path]) -> None:
    text = "try:\n    import no_such_thing\nexcept ImportError:\n    no_such_thing = None\n"
    assert needed(write("main.py", text)) == ()


def test_a_module_from_outside_that_no_package_holds_is_refused(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("elsewhere/stray_module.py", "")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"'stray_module' .* belongs to no installed package"):
        needed(write("project/main.py", "import stray_module"))


def test_of_a_shared_namespace_only_the_part_that_is_imported_is_required(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("storage", "queue"):
        write(f"site/cloudy/{name}.py", "")
        write(f"site/cloudy_{name}-2.dist-info/METADATA", f"Metadata-Version: 2.1\nName: cloudy-{name}\nVersion: 2\n")
        write(f"site/cloudy_{name}-2.dist-info/RECORD", f"cloudy/{name}.py,,\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert needed(write("project/main.py", "from cloudy import storage")) == ("cloudy-storage==2",)
