"""A build with nothing changed is not made again, and anything that could change it makes it anew."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.builder import Artifact, build_artifact, newest_artifact
from dagy.artifact.options import BuildOptions
from dagy.artifact.rebuilding import Request, known_build
from dagy.settings import Settings

FLOW = """
from pathlib import Path
with Path(__file__).with_name("loaded.txt").open("a") as told:
    told.write("x")
from dagy import flow, task
from rows_beside import double


@task
def load(limit: int) -> list[int]:
    return [double(each) for each in range(limit)]


@flow
def etl(limit: int = 4) -> list[int]:
    return load(limit)
"""


OPTIONAL = "try:\n    import maybe_installed\nexcept ImportError:\n    pass\n"


class Project:
    """A folder with a flow, built again and again."""

    def __init__(self, folder: Path, settle: Callable[[], None]) -> None:
        self.folder = folder
        self._settle = settle
        self.options: dict[str, object] = {}
        self.write("rows_beside.py", "def double(row):\n    return 2 * row\n")
        self.write("etl.py", FLOW)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def build(self) -> Artifact:
        self._settle()
        return build_artifact(self.folder / "etl.py", output_dir=self.folder / "dist", **self.options)  # type: ignore[arg-type]  # options, by name

    def loads_again(self) -> bool:
        """Build it; whether its code was loaded for that."""
        before = self.times_loaded
        self.build()
        return self.times_loaded > before

    @property
    def times_loaded(self) -> int:
        told = self.folder / "loaded.txt"
        return len(told.read_text()) if told.exists() else 0


@pytest.fixture
def project(tmp_path: Path, settle: Callable[[], None]) -> Project:
    """A project that is not built yet."""
    return Project(tmp_path, settle)


def test_a_build_with_nothing_changed_runs_nothing_and_gives_the_same(project: Project) -> None:
    first = project.build()
    again = project.build()
    assert (first.is_new, again.is_new) == (True, False)
    assert again == first
    assert project.times_loaded == 1
    assert str(again).startswith("unchanged: etl")


def test_a_build_that_comes_to_what_is_there_already_is_not_new(project: Project) -> None:
    project.build()
    project.write("etl.py", FLOW)  # saved again
    again = project.build()
    assert project.times_loaded == 2
    assert not again.is_new


def test_a_module_that_was_edited_is_drawn_and_packed_as_it_is_now(project: Project) -> None:
    text = "from dagy import task\n@task(retries={})\ndef double(row):\n    return 2 * row\n"
    project.write("rows_beside.py", text.format(1))
    project.write("etl.py", "from dagy import flow\nfrom rows_beside import double\n@flow\ndef etl():\n    double(1)\n")
    retries = [project.build().manifest.spec.tasks[0].options.retries]
    project.write("rows_beside.py", text.format(10))
    retries.append(project.build().manifest.spec.tasks[0].options.retries)
    assert retries == [1, 10]


def test_it_stays_known_after_it_was_asked_for_again(project: Project) -> None:
    assert [project.loads_again() for _ in range(4)] == [True, False, False, False]


def edit_main(project: Project) -> None:
    project.write("etl.py", FLOW.replace("limit: int = 4", "limit: int = 5"))


def edit_neighbour(project: Project) -> None:
    project.write("rows_beside.py", "def double(row):\n    return 3 * row\n")


def edit_in_place_with_the_same_size_and_time(project: Project) -> None:
    path = project.folder / "rows_beside.py"
    before = path.stat()
    path.write_text(path.read_text().replace("2", "3"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_a_package_in_front_of_a_module(project: Project) -> None:
    project.write("rows_beside/__init__.py", "def double(row):\n    return 4 * row\n")


def remove_the_artifact(project: Project) -> None:
    next(project.folder.glob("dist/etl/*/artifact.zip")).unlink()


def change_the_artifact(project: Project) -> None:
    path = next(project.folder.glob("dist/etl/*/artifact.zip"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def declare_data(project: Project) -> None:
    project.write("pyproject.toml", "[tool.dagy]\ninclude = ['*.csv']\n")
    project.write("x.csv", "x")


@pytest.mark.parametrize(
    "change",
    [
        edit_main, edit_neighbour, edit_in_place_with_the_same_size_and_time, put_a_package_in_front_of_a_module,
        remove_the_artifact, change_the_artifact, declare_data,
    ],
)  # fmt: skip
def test_what_could_change_the_artifact_makes_it_anew(project: Project, change: Callable[[Project], None]) -> None:
    project.build()
    change(project)
    built = project.build()
    assert built.is_new
    assert project.times_loaded == 2
    fresh = build_artifact(project.folder / "etl.py", output_dir=project.folder / "fresh", include=())
    assert built.sha256 == fresh.sha256


def test_a_module_that_an_import_would_find_now_is_seen(project: Project) -> None:
    project.write("etl.py", OPTIONAL + FLOW)
    assert [project.loads_again() for _ in range(2)] == [True, False]
    project.write("maybe_installed.py", "X = 1\n")
    assert "maybe_installed.py" in [file.path for file in project.build().manifest.files]


def test_a_package_that_is_installed_later_is_seen(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("etl.py", OPTIONAL + FLOW)
    site = tmp_path_factory.mktemp("site")
    (site / "other-1.dist-info").mkdir()
    (site / "other-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    monkeypatch.syspath_prepend(site)
    assert project.loads_again()
    assert not project.loads_again()
    (site / "maybe_installed.py").write_text("X = 1\n")
    info = site / "maybe_installed-2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: maybe-installed\nVersion: 2\n")
    (info / "RECORD").write_text("maybe_installed.py,,\n")
    built = project.build()
    assert built.is_new
    assert "maybe-installed==2" in built.manifest.requirements


def test_a_change_of_a_declared_data_file_is_seen(project: Project) -> None:
    project.options["include"] = ["data/*.csv"]
    project.write("data/a.csv", "a")
    assert project.loads_again()
    assert not project.loads_again()
    project.write("data/a.csv", "b")
    assert project.loads_again()


def test_a_new_match_of_a_pattern_is_seen_and_a_new_file_beside_it_is_not(project: Project) -> None:
    project.options["include"] = ["data/*.csv"]
    project.write("data/a.csv", "a")
    project.build()
    project.write("data/notes.txt", "n")
    assert not project.loads_again()
    project.write("data/b.csv", "b")
    assert [file.path for file in project.build().manifest.files][:2] == ["data/a.csv", "data/b.csv"]


def test_a_module_that_is_imported_by_a_name_nobody_can_read_is_seen(project: Project) -> None:
    project.write("shape_" + "of_it.py", "LIMIT = 4\n")
    project.write("etl.py", "import importlib\nimportlib.import_module('shape_' + 'of_it')\n" + FLOW)
    assert [project.loads_again() for _ in range(2)] == [True, False]
    project.write("shape_of_it.py", "LIMIT = 44\n")
    assert project.loads_again()


def test_what_was_left_out_is_told_again(project: Project) -> None:
    project.options["include"] = ["data"]
    project.write("data/a.csv", "a")
    project.write("data/.env", "s")
    first = project.build()
    again = project.build()
    assert not again.is_new
    assert again.left_out == first.left_out != ()


def test_another_request_is_another_build(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.build()
    monkeypatch.setenv("SHAPES_THE_GRAPH", "1")
    assert project.loads_again()
    monkeypatch.setenv("OLDPWD", "/somewhere")
    assert not project.loads_again()
    monkeypatch.setattr(sys, "path", [*sys.path, "/nowhere"])
    assert project.loads_again()


def test_the_values_of_variables_are_not_written_down(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2hunter2")
    project.build()
    records = list((Settings.read().local_dir / "builds").iterdir())
    assert records
    assert not any("hunter2" in each.read_text() for each in records)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 99}', "\x00\xff"])
def test_a_record_that_can_not_be_read_counts_for_nothing(project: Project, text: str) -> None:
    project.build()
    (record,) = (Settings.read().local_dir / "builds").iterdir()
    record.write_text(text)
    assert project.loads_again()
    assert not project.loads_again()


def test_a_record_that_lacks_a_part_counts_for_nothing(project: Project) -> None:
    project.build()
    (record,) = (Settings.read().local_dir / "builds").iterdir()
    whole = json.loads(record.read_text())
    request = Request.here(str(project.folder / "etl.py"), project.folder / "dist", BuildOptions())
    assert known_build(request, Settings.read().local_dir) is not None
    for part in whole:
        record.write_text(json.dumps({key: value for key, value in whole.items() if key != part}))
        assert known_build(request, Settings.read().local_dir) is None, part


def test_a_file_edited_just_before_the_build_leaves_no_record(tmp_path: Path) -> None:
    project = Project(tmp_path, lambda: None)
    soon = time.time() + 60
    os.utime(project.folder / "etl.py", (soon, soon))  # however slow the machine is, it is as new as can be
    project.build()
    local_dir = Settings.read().local_dir
    assert not (local_dir / "builds").exists() or not list((local_dir / "builds").iterdir())


def test_the_known_artifact_becomes_the_newest_of_its_flow(project: Project) -> None:
    first = project.build()
    text = (project.folder / "rows_beside.py").read_text()
    edit_neighbour(project)
    other = project.build()
    project.write("rows_beside.py", text)
    assert project.build() == first
    os.utime(other.path, (1_000_000_000, 1_000_000_000))
    os.utime(first.path, (1_000_000_000, 1_000_000_000))
    project.build()
    assert not project.loads_again()
    assert newest_artifact("etl", project.folder / "dist") == first


def test_a_local_folder_that_can_not_be_written_only_makes_it_slower(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(project.folder / "etl.py" / "no folder"))
    assert project.loads_again()
    assert project.loads_again()
