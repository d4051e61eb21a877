"""Building an artifact, and running one."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dagy.artifact.archive import read_manifest, write_artifact
from dagy.artifact.builder import Artifact, build, folder_name, newest_artifact
from dagy.artifact.manifest import CellEntry, Manifest
from dagy.artifact.source import load_flow, read_source
from dagy.artifact.unpacking import differences, unpacked_flow
from dagy.errors import ArtifactError, SourceError


def test_an_artifact_is_where_its_flow_and_its_build_id_say(artifact: Artifact, tmp_path: Path) -> None:
    assert artifact.path == tmp_path / "dist" / "etl" / artifact.manifest.build_id / "artifact.zip"
    assert artifact.size == artifact.path.stat().st_size
    assert read_manifest(artifact.path) == artifact.manifest


def test_the_manifest_tells_of_the_flow(artifact: Artifact, flow_file: Path) -> None:
    manifest = artifact.manifest
    assert (manifest.flow_name, manifest.flow_version, manifest.entry_point) == ("etl", "1.0.0", "etl:etl")
    assert manifest.python_version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert [file.path for file in manifest.files] == ["etl.py", "rows_of_etl.py"]
    assert manifest.spec == load_flow(read_source(flow_file)).spec


def test_the_same_code_gives_the_same_bytes_wherever_and_whenever_it_is_built(
    artifact: Artifact, flow_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "moved" / "here"
    other.mkdir(parents=True)
    for name in ("rows_of_etl.py", "etl.py"):
        shutil.copy(flow_file.parent / name, other)
        os.utime(other / name, (1_000_000_000, 1_000_000_000))
        (other / name).chmod(0o600)
    umask = os.umask(0o077)
    try:
        source = read_source(other / "etl.py")
        again = build(source, load_flow(source), other / "dist")
    finally:
        os.umask(umask)
    assert again.path.relative_to(other) == artifact.path.relative_to(tmp_path)
    assert again.path.read_bytes() == artifact.path.read_bytes()
    assert again.path.stat().st_mode == artifact.path.stat().st_mode


def test_another_code_gives_another_build(artifact: Artifact, flow_file: Path, tmp_path: Path) -> None:
    helper = flow_file.with_name("rows_of_etl.py")
    helper.write_text(helper.read_text().replace("2 *", "3 *"))
    source = read_source(flow_file)
    assert build(source, load_flow(source), tmp_path / "dist").path != artifact.path


@pytest.mark.parametrize(
    ("name", "folder"), [("web_scraper", "web_scraper"), ("../..", "_"), ("a/b c", "a_b_c"), ("..", "flow"), ("é", "é")]
)
def test_a_flows_name_becomes_one_safe_folder(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_a_flow_that_is_made_inside_a_function_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    text = (
        "from dagy import flow\ndef make():\n    @flow\n    def etl():\n        pass\n    return etl\nMADE = [make()]\n"
    )
    source = read_source(write("inner.py", text + "@flow\ndef outer():\n    pass\n"))
    load_flow(source)
    with pytest.raises(ArtifactError, match="'etl' is not a name at the top level"):
        build(source, vars(sys.modules["inner"])["MADE"][0], tmp_path / "dist")


def test_an_artifact_runs_as_its_source_does(artifact: Artifact, flow_file: Path) -> None:
    expected = load_flow(read_source(flow_file)).run_local(limit=10)
    with unpacked_flow(artifact.path) as flow:
        result = flow.run_local(limit=10)
    assert result.value == expected.value == 90
    assert result.spec == expected.spec


def test_an_artifact_needs_nothing_of_the_folder_it_was_built_from(artifact: Artifact, flow_file: Path) -> None:
    flow_file.unlink()
    flow_file.with_name("rows_of_etl.py").write_text("raise RuntimeError('the old folder is used')")
    with unpacked_flow(artifact.path) as flow:
        assert flow.run_local().value == 12


def test_nothing_of_an_artifact_is_left_behind(artifact: Artifact) -> None:
    path, module = list(sys.path), sys.modules["rows_of_etl"]
    with unpacked_flow(artifact.path) as flow:
        folder = Path(flow.function.__code__.co_filename).parent
        assert folder.is_dir()
    assert not folder.exists()
    assert sys.path == path
    assert sys.modules["rows_of_etl"] is module


def rebuilt(artifact: Artifact, contents: dict[str, bytes] | None = None, **changes: str) -> Path:
    """The same artifact with another manifest or other files, everything in it consistent."""
    with zipfile.ZipFile(artifact.path) as archive:
        held = {file.path: archive.read(file.path) for file in artifact.manifest.files} | (contents or {})
    manifest: Manifest = replace(artifact.manifest, **changes)  # type: ignore[arg-type]  # texts, all of them
    path = artifact.path.with_name("rebuilt.zip")
    write_artifact(path, manifest, held)
    return path


@pytest.mark.parametrize("entry_point", ["etl:load", "etl:nothing", "rows_of_etl:double"])
def test_an_entry_point_that_is_not_the_flow_is_refused(artifact: Artifact, entry_point: str) -> None:
    with (
        pytest.raises(ArtifactError, match=f"the entry point '{entry_point}' is not"),
        unpacked_flow(rebuilt(artifact, entry_point=entry_point)),
    ):
        raise AssertionError("must not come here")


def test_code_that_was_changed_is_refused_before_it_is_run(artifact: Artifact, tmp_path: Path) -> None:
    evil = b"open('ran', 'w')\n"
    same_size = evil + b"#" * (artifact.manifest.files[0].size - len(evil))
    with (
        pytest.raises(ArtifactError, match="its SHA-256 differs"),
        unpacked_flow(rebuilt(artifact, {"etl.py": same_size})),
    ):
        raise AssertionError("must not come here")
    assert not Path("ran").exists()


def test_an_artifact_whose_code_can_not_be_loaded_says_why(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os\nif os.environ.get('BREAK_IT'):\n    1 / 0\nfrom dagy import flow\n@flow\ndef etl():\n    pass\n"
    source = read_source(write("fragile.py", text))
    built = build(source, load_flow(source), tmp_path / "dist")
    monkeypatch.setenv("BREAK_IT", "1")
    with pytest.raises(SourceError, match="ZeroDivisionError"), unpacked_flow(built.path):
        raise AssertionError("must not come here")


def test_a_python_or_a_package_of_another_version_is_told(artifact: Artifact) -> None:
    manifest = replace(artifact.manifest, python_version="3.1", requirements=("no-such-dist==1", "pytest==0.1"))
    assert differences(artifact.manifest) == ()
    python, missing, older = differences(manifest)
    assert python.startswith("built for Python 3.1, and this is")
    assert missing == "built with no-such-dist==1, which is not installed; pip install no-such-dist==1"
    assert older.startswith("built with pytest==0.1, and ")


def test_the_newest_artifact_of_a_flow_is_found_below_a_folder(
    artifact: Artifact, flow_file: Path, tmp_path: Path
) -> None:
    assert newest_artifact("etl", tmp_path / "dist") == artifact
    assert newest_artifact("other", tmp_path / "dist") is None
    helper = flow_file.with_name("rows_of_etl.py")
    helper.write_text(helper.read_text().replace("2 *", "3 *"))
    source = read_source(flow_file)
    newer = build(source, load_flow(source), tmp_path / "dist")
    os.utime(artifact.path, (1_000_000_000, 1_000_000_000))
    assert newest_artifact("etl", tmp_path / "dist") == newer


def test_an_artifact_that_is_built_again_is_the_newest_again(
    artifact: Artifact, flow_file: Path, tmp_path: Path
) -> None:
    helper = flow_file.with_name("rows_of_etl.py")
    text = helper.read_text()
    helper.write_text(text.replace("2 *", "3 *"))
    source = read_source(flow_file)
    other = build(source, load_flow(source), tmp_path / "dist")
    for each, built_at in ((artifact, 1_000_000_000), (other, 1_100_000_000)):
        os.utime(each.path, (built_at, built_at))
    helper.write_text(text)
    assert build(source, load_flow(source), tmp_path / "dist") == artifact
    assert newest_artifact("etl", tmp_path / "dist") == artifact


def test_the_cells_of_a_notebook_are_in_the_manifest_and_leave_the_build_id(
    artifact: Artifact, flow_file: Path, tmp_path: Path
) -> None:
    source = replace(read_source(flow_file), cells=(CellEntry.of("a1", "x = 1", ["x"]),))
    again = build(source, load_flow(source), tmp_path / "dist")
    assert read_manifest(again.path).cells == source.cells
    assert again.path == artifact.path
    first = again.path.read_bytes()
    assert build(source, load_flow(source), tmp_path / "dist").path.read_bytes() == first
