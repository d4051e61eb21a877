"""Where a flow that is in memory comes from."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.builder import build_artifact
from dagy.artifact.origin import provide_sources, source_of
from dagy.artifact.source import Source, load_flow, read_source
from dagy.errors import CodeFailedError, SourceError
from dagy.flows import Flow

FLOW = "from dagy import flow, task\n@task\ndef one():\n    return 1\n@flow\ndef etl():\n    return one()\n"
MAIN = FLOW + (
    "if __name__ == '__main__':\n"
    "    import sys\n"
    "    from dagy.artifact import build_artifact\n"
    "    print(build_artifact(etl, output_dir=sys.argv[1]).path)\n"
)


def imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> Flow[..., object]:
    monkeypatch.syspath_prepend(path.parent)
    flow: Flow[..., object] = importlib.import_module(path.stem).etl
    return flow


def test_a_flow_that_was_imported_comes_from_its_file(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("from_file.py", FLOW)
    assert source_of(imported(path, monkeypatch)) == read_source(path)


def test_a_flow_that_was_loaded_from_a_source_comes_from_that_source(write: Callable[..., Path]) -> None:
    source = read_source(write("from_source.py", FLOW))
    assert source_of(load_flow(source)) is source


def test_a_file_that_was_edited_since_is_refused(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("edited.py", FLOW)
    flow = imported(path, monkeypatch)
    write("edited.py", FLOW.replace("return 1", "return 2"))
    with pytest.raises(SourceError, match=r"was edited since it was imported: 'one'"):
        source_of(flow)


def test_a_flow_that_no_file_defines_is_refused_with_the_way_out() -> None:
    names: dict[str, object] = {"__name__": "nowhere_at_all"}
    exec("from dagy import flow\n@flow\ndef etl():\n    pass\n", names)
    flow = names["etl"]
    assert isinstance(flow, Flow)
    with pytest.raises(SourceError, match="'etl' was defined in 'nowhere_at_all', which is no file"):
        source_of(flow)


def test_a_provider_is_asked_first_and_may_not_know(write: Callable[..., Path], tmp_path: Path) -> None:
    flow = load_flow(read_source(write("provided.py", FLOW)))
    other = load_flow(read_source(write("unprovided.py", FLOW)))
    given = Source(tmp_path / "provided.ipynb", "provided", FLOW)
    provide_sources(lambda each: given if each is flow else None)
    assert source_of(flow) is given
    assert source_of(other).module == "unprovided"


@pytest.mark.program
def test_a_program_builds_its_own_flow_as_the_command_line_does(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write("own_program.py", MAIN)
    done = subprocess.run([sys.executable, path, tmp_path / "a"], capture_output=True, text=True, check=True)
    built = Path(done.stdout.strip())
    assert built.read_bytes() == build_artifact(path, output_dir=tmp_path / "b").path.read_bytes()


def test_a_file_that_builds_itself_as_it_is_loaded_is_told_where_the_call_belongs(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    unguarded = MAIN.replace("if __name__ == '__main__':", "if True:").replace("sys.argv[1]", "'dist'")
    path = write("unguarded.py", unguarded)
    with pytest.raises(CodeFailedError, match=r"build_artifact is called while .*unguarded\.py.*if __name__"):
        build_artifact(path, output_dir=tmp_path / "dist")
    assert not list(tmp_path.rglob("*.zip"))
