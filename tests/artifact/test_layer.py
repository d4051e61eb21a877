"""The dependency layer: what is in it, that it is always the same, and what can't go in."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.fetching import fetch_wheels, wheel_path
from dagy.artifact.imports import imports_of
from dagy.artifact.layer import write_layer
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS, own_code
from dagy.artifact.packages import Packages
from dagy.artifact.targets import TARGETS
from dagy.errors import ArtifactError

from .wheelhouse import Wheelhouse, found

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Wheelhouse:
    return Wheelhouse(tmp_path / "wheelhouse")


@pytest.fixture
def packages(wheelhouse: Wheelhouse, tmp_path: Path) -> Callable[..., Packages]:
    """The packages of these wheels."""

    def packages(*wheels: Path) -> Packages:
        local_dir = tmp_path / "local"
        lock = fetch_wheels([found(each) for each in wheels], local_dir, fits=lambda file: None)
        return Packages(target=TARGETS["lambda"], lock=lock, wheels=tuple(wheel_path(local_dir, each) for each in lock))

    return packages


def names(layer: Path) -> list[str]:
    with zipfile.ZipFile(layer) as archive:
        return [each for each in archive.namelist() if not each.startswith("python/dagy/")]


def test_a_layer_holds_what_the_wheels_hold_and_dagy_itself(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    files = {"quick/__init__.py": b"x = 1\n" * 100, "quick/run.so": b"\x7fELF" * 50, "quick-1.0.data/scripts/go": b"#!"}
    layer = write_layer(packages(wheelhouse.add("quick", files=files)), tmp_path / "dist/dependencies.zip")
    with zipfile.ZipFile(layer) as archive:
        assert archive.testzip() is None
        assert archive.read("python/quick/__init__.py") == files["quick/__init__.py"]
        assert archive.read("python/quick/run.so") == files["quick/run.so"]
        assert archive.read("python/dagy/flows.py") == (ROOT / "dagy/flows.py").read_bytes()
        assert all(each.date_time == (1980, 1, 1, 0, 0, 0) for each in archive.infolist())
        assert {each.external_attr >> 16 for each in archive.infolist()} == {0o100644}
    assert names(layer) == [
        "python/bin/go",
        "python/quick-1.0.dist-info/METADATA",
        "python/quick-1.0.dist-info/RECORD",
        "python/quick-1.0.dist-info/WHEEL",
        "python/quick/__init__.py",
        "python/quick/run.so",
    ]


def test_the_packed_bytes_are_those_of_the_wheel(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    wheel = wheelhouse.add("quick")
    layer = write_layer(packages(wheel), tmp_path / "dependencies.zip")
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(layer) as after:
        first, second = before.getinfo("quick/__init__.py"), after.getinfo("python/quick/__init__.py")
    assert (first.compress_type, first.compress_size) == (second.compress_type, second.compress_size)
    assert first.compress_size < first.file_size


def test_the_same_wheels_make_the_same_bytes(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    wheels = [wheelhouse.add("quick"), wheelhouse.add("slow")]
    digests = set()
    for number, order in enumerate((wheels, wheels[::-1])):
        layer = write_layer(packages(*order), tmp_path / f"{number}.zip", local_dir=tmp_path / f"other-{number}")
        digests.add(hashlib.sha256(layer.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_layer_is_made_once_and_put_wherever_it_is_wanted(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    chosen, said = packages(wheelhouse.add("quick")), []
    first = write_layer(chosen, tmp_path / "1.zip", on_progress=said.append)
    second = write_layer(chosen, tmp_path / "2.zip", on_progress=said.append)
    assert write_layer(chosen, first, on_progress=said.append) == first
    assert said == ["packing 1 wheels for AWS Lambda on x86_64"]
    assert first.samefile(second)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["1.zip", "2.zip", "local", "wheelhouse"]


def test_what_stood_in_the_layers_place_is_replaced(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    path = tmp_path / "dependencies.zip"
    path.write_bytes(b"old")
    write_layer(packages(wheelhouse.add("quick")), path)
    assert zipfile.is_zipfile(path)


def test_two_wheels_may_hold_the_very_same_file(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    init = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    wheels = [
        wheelhouse.add("one", files={"space/__init__.py": init, "space/one.py": b"1"}),
        wheelhouse.add("two", files={"space/__init__.py": init, "space/two.py": b"2"}),
    ]
    found = names(write_layer(packages(*wheels), tmp_path / "dependencies.zip"))
    assert [each for each in found if "/space/" in each] == [
        "python/space/__init__.py",
        "python/space/one.py",
        "python/space/two.py",
    ]


def test_two_wheels_with_different_files_of_one_name_are_refused(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    wheels = [wheelhouse.add("one", files={"same.py": b"1"}), wheelhouse.add("two", files={"same.py": b"2"})]
    with pytest.raises(ArtifactError, match=r"'one-1\.0.*' and 'two-1\.0.*' both hold 'same\.py', and not the same"):
        write_layer(packages(*wheels), tmp_path / "dependencies.zip")
    assert not (tmp_path / "dependencies.zip").exists()


def test_a_file_that_is_anothers_folder_is_refused(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    wheels = [wheelhouse.add("one", files={"same": b"1"}), wheelhouse.add("two", files={"same/deep/x.py": b"2"})]
    with pytest.raises(ArtifactError, match=r"holds the file 'same', a folder of 'two-1\.0"):
        write_layer(packages(*wheels), tmp_path / "dependencies.zip")


def test_a_wheel_that_was_changed_after_it_was_locked_is_refused(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    chosen = packages(wheelhouse.add("quick"))
    other = wheelhouse.add("quick", files={"quick/__init__.py": b"evil"})
    chosen.wheels[0].write_bytes(other.read_bytes())
    with pytest.raises(ArtifactError, match="is not the wheel that was locked: its SHA-256 differs"):
        write_layer(chosen, tmp_path / "dependencies.zip")


def test_a_wheel_with_a_dagy_of_its_own_is_refused(wheelhouse: Wheelhouse, packages: Callable[..., Packages]) -> None:
    evil = wheelhouse.add("evil", files={"evil-1.0.data/purelib/dagy/flows.py": b""})
    with pytest.raises(ArtifactError, match="would hide a module of Python or of Dagy"):
        packages(evil)


def test_this_machine_has_no_layer(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="the target 'local' has no dependency layer"):
        write_layer(Packages(), tmp_path / "dependencies.zip")


def test_a_place_that_can_not_be_written_is_an_error_of_ours(
    wheelhouse: Wheelhouse, packages: Callable[..., Packages], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="the layer can't be written to"):
        write_layer(packages(wheelhouse.add("quick")), tmp_path / "file/dependencies.zip")


def test_no_module_in_a_layer_imports_one_that_is_left_out() -> None:
    own = own_code()
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in own}
    missing = [
        f"{path}: {each.module}"
        for path, content in own.items()
        for each in imports_of(content.decode(), where=path)
        if each.module.partition(".")[0] == "dagy" and each.module not in modules
    ]
    assert missing == []
    assert {"dagy/__init__.py", "dagy/flows.py", "dagy/artifact/archive.py"} <= own.keys()
    assert not any(path.startswith(("dagy/cli/", "dagy/control/")) for path in own)


def test_what_dagy_needs_to_run_a_flow_is_what_its_package_asks_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(RUNTIME_REQUIREMENTS) <= set(project["dependencies"])
    assert tuple(sorted(RUNTIME_REQUIREMENTS)) == RUNTIME_REQUIREMENTS
