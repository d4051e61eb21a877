"""A flow that is part of a package: it is imported, built and unpacked under its dotted name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.builder import build, build_artifact
from dagy.artifact.files import module_files
from dagy.artifact.source import Source, flow_aside, load_flow, read_source
from dagy.artifact.unpacking import entry_flow, safe_extract, unpacked_flow
from dagy.errors import ArtifactError, CodeFailedError, SourceError

FLOW = """
from dagy import flow, task
from .rows import double
from shop.prices import PRICE


@task
def total(limit: int) -> int:
    return sum(double(each) for each in range(limit)) + PRICE


@flow
def sales(limit: int = 4) -> int:
    return total(limit)
"""


@pytest.fixture
def sales(write: Callable[..., Path]) -> Path:
    """`shop/flows/sales.py`, with what it needs above it and beside it."""
    write("project/shop/__init__.py", "")
    write("project/shop/prices.py", "PRICE = 100\n")
    write("project/shop/flows/__init__.py", "from .marks import MARK\n")
    write("project/shop/flows/marks.py", "MARK = 1\n")
    write("project/shop/flows/rows.py", "from ..prices import PRICE\ndef double(row):\n    return 2 * row\n")
    return write("project/shop/flows/sales.py", FLOW)


def test_a_module_in_a_package_has_a_dotted_name_and_the_folder_above_as_root(sales: Path, tmp_path: Path) -> None:
    source = read_source(sales)
    assert (source.module, source.root) == ("shop.flows.sales", tmp_path / "project")
    assert source.relative_path == "shop/flows/sales.py"


def test_the_package_itself_may_define_the_flow(write: Callable[..., Path], tmp_path: Path) -> None:
    write("tasks/work.py", "NUMBER = 7\n")
    path = write(
        "tasks/__init__.py",
        "from dagy import flow, task\nfrom .work import NUMBER\n@task\ndef one():\n    return NUMBER\n"
        "@flow\ndef etl():\n    return one()\n",
    )
    source = read_source(path)
    assert (source.module, source.root, source.relative_path) == ("tasks", tmp_path, "tasks/__init__.py")
    artifact = build(source, load_flow(source), tmp_path / "dist")
    assert artifact.manifest.entry_point == "tasks:etl"
    with unpacked_flow(artifact.path) as flow:
        assert flow.run_local().value == 7


def test_a_file_that_imports_its_neighbours_as_a_script_does_stands_alone(write: Callable[..., Path]) -> None:
    write("pack/__init__.py", "")
    write("pack/near.py", "X = 1\n")
    path = write("pack/etl.py", "import near\nfrom dagy import flow\n@flow\ndef etl():\n    pass\n")
    source = read_source(path)
    assert (source.module, source.root) == ("etl", path.parent)
    assert [file.path for file in module_files(source)] == ["etl.py", "near.py"]


def test_a_folder_with_the_name_of_a_module_of_python_is_no_package(write: Callable[..., Path]) -> None:
    write("platform/__init__.py", "")
    assert read_source(write("platform/etl.py", "")).module == "etl"


def test_packages_and_what_they_import_go_in(sales: Path) -> None:
    assert [file.path for file in module_files(read_source(sales))] == [
        "shop/__init__.py",
        "shop/flows/__init__.py",
        "shop/flows/marks.py",
        "shop/flows/rows.py",
        "shop/flows/sales.py",
        "shop/prices.py",
    ]


def test_a_flow_in_a_package_runs_the_same_from_its_artifact(sales: Path, tmp_path: Path) -> None:
    with flow_aside(read_source(sales)) as flow:
        expected = flow.run_local().value
    artifact = build_artifact(f"{sales}:sales", output_dir=tmp_path / "dist")
    assert artifact.manifest.entry_point == "shop.flows.sales:sales"
    sales.parent.joinpath("rows.py").unlink()
    with unpacked_flow(artifact.path) as flow:
        assert flow.run_local().value == expected == 112
    assert "shop" not in {name for name in sys.modules if name.startswith("shop.flows.sales")}


def test_the_entry_flow_of_an_extracted_folder_is_imported_from_there(sales: Path, tmp_path: Path) -> None:
    artifact = build_artifact(sales, output_dir=tmp_path / "dist")
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    sys.path[:] = [each for each in sys.path if each != str(tmp_path / "project")]
    manifest = safe_extract(artifact.path, tmp_path / "code")
    flow = entry_flow(tmp_path / "code", manifest)
    assert Path(flow.function.__code__.co_filename) == tmp_path / "code/shop/flows/sales.py"
    assert sys.modules["shop"].__file__ == str(tmp_path / "code/shop/__init__.py")


def test_a_package_that_imports_the_flow_itself_has_one_flow(write: Callable[..., Path]) -> None:
    write("once/__init__.py", "from .flows import etl\n")
    path = write("once/flows.py", "from dagy import flow\nfrom . import near\n@flow\ndef etl():\n    pass\n")
    write("once/near.py", "")
    flow = load_flow(read_source(path))
    assert sys.modules["once"].etl is flow


def test_a_package_of_another_folder_with_that_name_is_told(write: Callable[..., Path]) -> None:
    for folder in ("here", "there"):
        write(f"{folder}/twice/__init__.py", "")
        write(f"{folder}/twice/etl.py", "from dagy import flow\nfrom . import x\n@flow\ndef etl():\n    pass\n")
        write(f"{folder}/twice/x.py", "")
    paths = [read_source(write(f"{folder}/twice/x.py", "").with_name("etl.py")) for folder in ("here", "there")]
    load_flow(paths[0])
    with pytest.raises(SourceError, match=r"part of the package 'twice', and the package of that name is .*here"):
        load_flow(paths[1])


def test_a_package_that_raises_is_told_as_the_users_code(write: Callable[..., Path]) -> None:
    write("broken/__init__.py", "1 / 0\n")
    path = write("broken/etl.py", "from . import x\n")
    with pytest.raises(CodeFailedError, match="ZeroDivisionError"):
        load_flow(read_source(path))


def test_a_relative_import_above_the_topmost_package_is_refused(write: Callable[..., Path]) -> None:
    write("top/__init__.py", "")
    with pytest.raises(ArtifactError, match=r"top/etl\.py, line 1: the relative import leaves the folder"):
        module_files(read_source(write("top/etl.py", "from ... import outside\n")))


def test_looking_at_a_flow_leaves_its_package_as_it_was(sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(sales.parents[2])
    package = importlib.import_module("shop.flows")
    before = set(sys.modules)
    with flow_aside(read_source(sales)):
        assert package.sales is sys.modules["shop.flows.sales"]
        assert "shop.flows.rows" in sys.modules
    assert sys.modules.keys() == before
    assert not {"sales", "rows"} & set(vars(package))


def test_looking_at_a_flow_leaves_nothing_of_a_package_that_was_not_in_use(sales: Path) -> None:
    with flow_aside(read_source(sales)):
        assert "shop.flows.rows" in sys.modules
    assert not [name for name in sys.modules if name.partition(".")[0] == "shop"]


def test_the_same_flow_has_one_code_hash_wherever_its_package_stands(sales: Path, tmp_path: Path) -> None:
    first = build_artifact(sales, output_dir=tmp_path / "dist")
    moved = tmp_path / "elsewhere"
    os.rename(tmp_path / "project", moved)  # noqa: PTH104
    second = build_artifact(moved / "shop/flows/sales.py", output_dir=tmp_path / "dist2")
    assert second.sha256 == first.sha256


def test_a_source_knows_its_root_by_its_name(tmp_path: Path) -> None:
    assert Source(tmp_path / "a/b/c.py", "b.c", "").root == tmp_path / "a"
    assert Source(tmp_path / "a/b/__init__.py", "b", "").root == tmp_path / "a"
    assert Source(tmp_path / "a/c.ipynb", "c", "").relative_path == "c.py"
