"""A flow whose code needs what is not installed here is drawn where that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagy.artifact.builder import build_artifact
from dagy.artifact.clean_run import start_clean
from dagy.artifact.environments import environment_for
from dagy.artifact.own_code import RUNTIME_REQUIREMENTS
from dagy.artifact.source import SeveralFlowsError
from dagy.errors import ArtifactError, CodeFailedError, SourceError, UnknownFlowError

from .wheelhouse import Wheelhouse

pytestmark = pytest.mark.program

Write = Callable[..., Path]

SCRIPT = """\
# /// script
# dependencies = ["elsewhere_only==1.0"]
# ///
import elsewhere_only
from dagy import flow, task


@task
def answer() -> int:
    return elsewhere_only.ANSWER


@flow
def ask():
    return answer()
"""


@pytest.fixture(scope="module")
def local_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the environment is kept; it is made of wheels that are here."""
    folder = tmp_path_factory.mktemp("drawn")
    house = Wheelhouse(folder / "wheelhouse")
    house.add("elsewhere_only", files={"elsewhere_only.py": b"ANSWER = 42\n"})
    for each in RUNTIME_REQUIREMENTS:
        house.add_installed(each.partition(">=")[0])
    with pytest.MonkeyPatch.context() as patch:
        house.serve(patch)
        yield folder / "local"


@pytest.fixture(autouse=True)
def _shared_environment(local_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_LOCAL_DIR", str(local_dir))


def test_it_is_built_and_runs_with_what_it_declares(write: Write, tmp_path: Path, local_dir: Path) -> None:
    said: list[str] = []
    artifact = build_artifact(write("ask.py", SCRIPT), output_dir=tmp_path / "dist", on_step=said.append)
    assert [task.name for task in artifact.manifest.spec.tasks] == ["answer"]
    assert artifact.manifest.entry_point == "ask:ask"
    assert artifact.manifest.requirements == ("elsewhere-only==1.0",)
    assert said.index("making an environment with elsewhere-only 1.0") < said.index(
        "reading the code in an environment of its own"
    )
    python = environment_for(artifact.manifest, local_dir)
    assert start_clean(artifact, {}, python=python).wait(30).value == 42


def test_a_build_of_the_same_again_draws_nothing(write: Write, tmp_path: Path, settle: Callable[[], None]) -> None:
    path = write("ask.py", SCRIPT)
    settle()
    for _ in range(2):
        said: list[str] = []
        build_artifact(path, output_dir=tmp_path / "dist", on_step=said.append)
    assert said == []


def test_the_flow_that_is_named_is_drawn(write: Write, tmp_path: Path) -> None:
    path = write("two.py", f"{SCRIPT}\n\n@flow\ndef other():\n    answer()\n    answer()\n")
    assert build_artifact(f"{path}:other", output_dir=tmp_path / "dist").flow_name == "other"
    with pytest.raises(SeveralFlowsError, match="defines 2 flows") as several:
        build_artifact(path, output_dir=tmp_path / "dist")
    assert several.value.known == ("ask", "other")
    with pytest.raises(UnknownFlowError, match=r"there is no flow 'othr' in .*two\.py"):
        build_artifact(f"{path}:othr", output_dir=tmp_path / "dist")


def test_code_that_fails_there_too_is_told_as_it_fails_there(write: Write, tmp_path: Path) -> None:
    path = write("broken.py", f"{SCRIPT}\nelsewhere_only.no_such_thing\n")
    with pytest.raises(CodeFailedError, match=r"broken\.py, line 17: .*has no attribute 'no_such_thing'"):
        build_artifact(path, output_dir=tmp_path / "dist")


def test_a_process_that_dies_is_told_with_what_it_said(write: Write, tmp_path: Path) -> None:
    path = write("dying.py", f"{SCRIPT}\nimport os\nprint('so long', flush=True)\nos._exit(3)\n")
    with pytest.raises(SourceError, match=r"dying\.py died with exit code 3\nso long"):
        build_artifact(path, output_dir=tmp_path / "dist")


def test_code_that_declares_nothing_fails_as_it_fails_here(write: Write, tmp_path: Path) -> None:
    path = write("bare.py", SCRIPT.partition("# ///\n")[2])
    with pytest.raises(CodeFailedError, match=r"No module named 'elsewhere_only'"):
        build_artifact(path, output_dir=tmp_path / "dist")


def test_an_environment_that_can_not_be_had_is_refused_with_who_asks_for_it(write: Write, tmp_path: Path) -> None:
    path = write("ask.py", SCRIPT.replace("elsewhere_only==1.0", "never_made"))
    with pytest.raises(
        ArtifactError, match=r"the script block of ask\.py asks for 'never_made' \(not installed here\)"
    ):
        build_artifact(path, output_dir=tmp_path / "dist")
