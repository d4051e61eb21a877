"""An interpreter that has what an artifact was built with."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pytest

from dagy.artifact.environments import environment_for
from dagy.artifact.installers import Installer, installers, python_of
from dagy.artifact.manifest import PYTHON_VERSION, FileEntry, Manifest
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.artifact.wheels import FoundWheel
from dagy.errors import ArtifactError
from dagy.flows import flow
from dagy.version import __version__

from .wheelhouse import Wheelhouse

RUNTIME = [each.partition(">=")[0] for each in RUNTIME_REQUIREMENTS]


@flow
def small() -> int:
    return 1


def manifest(*requirements: str, python: str = PYTHON_VERSION) -> Manifest:
    return Manifest(small.spec, "small:small", python, requirements, (FileEntry("small.py", 0, "0" * 64),), __version__)


@dataclass
class Made:
    """An installer whose environments are folders."""

    asked: list[tuple[Path, tuple[str, ...]]] = field(default_factory=list)
    fails: bool = False
    name: str = "test"

    def resolve(self, wanted: object) -> tuple[FoundWheel, ...]:
        raise NotImplementedError

    def make_environment(self, folder: Path, python: Path, requirements: Sequence[str]) -> None:
        self.asked.append((python, tuple(requirements)))
        python_of(folder).parent.mkdir(parents=True)
        python_of(folder).write_text("")
        if self.fails:
            raise ArtifactError("no")


def test_where_nothing_differs_it_is_this_python(tmp_path: Path) -> None:
    maker = Made()
    for requirements in ((), (f"pytest=={version('pytest')}", "dagy==0.0.1")):
        assert environment_for(manifest(*requirements), tmp_path, using=maker) == Path(sys.executable)
    assert maker.asked == []


def test_where_a_version_differs_an_environment_is_made_once(tmp_path: Path) -> None:
    maker, said = Made(), []
    first = environment_for(manifest("pytest==1.0"), tmp_path, said.append, using=maker)
    assert environment_for(manifest("pytest==1.0"), tmp_path, said.append, using=maker) == first
    assert first.is_relative_to(tmp_path / "environments")
    assert said == ["making an environment with pytest 1.0"]
    ((python, requirements),) = maker.asked
    assert python == Path(sys.executable)
    assert requirements == ("pytest==1.0", *(f"{name}=={version(name)}" for name in RUNTIME))


def test_only_what_is_not_here_is_told_and_not_too_much_of_it(tmp_path: Path) -> None:
    said: list[str] = []
    many = [f"absent-{number}==1.0" for number in range(6)]
    environment_for(manifest(f"pytest=={version('pytest')}", *many), tmp_path, said.append, using=Made())
    names = "absent-0 1.0, absent-1 1.0, absent-2 1.0, absent-3 1.0"
    assert said == [f"making an environment with {names} and 2 more"]


def test_what_an_artifact_asks_for_itself_is_not_overruled(tmp_path: Path) -> None:
    maker = Made()
    environment_for(manifest("Pydantic==2.0"), tmp_path, using=maker)
    ((_, requirements),) = maker.asked
    assert [each for each in requirements if "ydantic" in each] == ["Pydantic==2.0"]


def test_other_requirements_are_another_environment(tmp_path: Path) -> None:
    maker = Made()
    found = {environment_for(manifest(f"pytest=={each}"), tmp_path, using=maker) for each in ("1.0", "2.0")}
    assert len(found) == 2


def test_an_environment_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no"):
        environment_for(manifest("pytest==1.0"), tmp_path, using=Made(fails=True))
    assert [each for each in (tmp_path / "environments").iterdir() if each.suffix != ".lock"] == []
    maker = Made()
    python = environment_for(manifest("pytest==1.0"), tmp_path, using=maker)
    (python.parents[1] / "dagy-requirements.txt").unlink()  # as if its making had been cut short
    (python.parents[1] / "rest").write_text("")
    assert environment_for(manifest("pytest==1.0"), tmp_path, using=maker) == python
    assert len(maker.asked) == 2
    assert not (python.parents[1] / "rest").exists()


def test_those_who_want_the_same_environment_at_the_same_time_get_the_same(tmp_path: Path) -> None:
    maker, found = Made(), []
    threads = [
        threading.Thread(target=lambda: found.append(environment_for(manifest("pytest==1.0"), tmp_path, using=maker)))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(maker.asked) == 1


@pytest.mark.program
def test_a_python_that_is_not_here_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"built for Python 3\.99, and neither .*uv python install 3\.99"):
        environment_for(manifest(python="3.99"), tmp_path, using=Made())


def test_a_folder_that_can_not_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="an environment can't be made in"):
        environment_for(manifest("pytest==1.0"), tmp_path / "file", using=Made())


@pytest.mark.program
@pytest.mark.parametrize("program", tuple(installers()), ids=lambda each: each.name)
def test_an_environment_has_the_versions_that_are_asked_for(
    program: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = Wheelhouse(tmp_path / "wheelhouse")
    house.add("pytest", "1.0", files={"pytest/__init__.py": b"KIND = 'tiny'\n"})
    for name in RUNTIME:
        house.add(name, version(name))
    house.serve(monkeypatch)
    python = environment_for(manifest("pytest==1.0"), tmp_path / "local", using=program)
    text = "import pytest, pydantic, sys; print(pytest.KIND, pydantic.NAME, sys.prefix != sys.base_prefix)"
    done = subprocess.run([python, "-I", "-c", text], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("tiny 1 True\n", "")
    assert environment_for(manifest("pytest==1.0"), tmp_path / "local", using=program) == python


@pytest.mark.program
@pytest.mark.parametrize("program", tuple(installers()), ids=lambda each: each.name)
def test_what_can_not_be_installed_is_named_and_leaves_nothing(
    program: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = Wheelhouse(tmp_path / "wheelhouse")
    house.folder.mkdir()
    house.serve(monkeypatch)
    with pytest.raises(ArtifactError, match=r"an environment with the artifact's requirements can't be made: .*absent"):
        environment_for(manifest("absent==1.0"), tmp_path / "local", using=program)
    assert [each for each in (tmp_path / "local/environments").iterdir() if each.suffix != ".lock"] == []
