"""What is in an artifact, whether it is whole, and how two differ; none of them is executed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dagy.artifact.archive import write_artifact
from dagy.artifact.builder import Artifact, build_artifact
from dagy.artifact.inspection import diff, inspect, verify
from dagy.artifact.manifest import CellEntry, LockedWheel
from dagy.errors import ArtifactError

WHEEL = LockedWheel("numpy", "2.0", "numpy-2.0-cp312-cp312-manylinux_2_34_x86_64.whl", "a" * 64, 1_000)


def rebuilt(artifact: Artifact, name: str, **changes: object) -> Path:
    """The artifact with another manifest, which its files still fit."""
    manifest = replace(artifact.manifest, **changes)  # type: ignore[arg-type]  # fields of a manifest
    path = artifact.path.with_name(name)
    folder = artifact.path.parents[3]
    write_artifact(path, manifest, {file.path: folder / file.path for file in manifest.files})
    return path


def test_an_inspection_says_what_is_in_it_and_executes_nothing(artifact: Artifact, flow_file: Path) -> None:
    modules = set(sys.modules)
    found = inspect(artifact.path)
    assert (found.sha256, found.size, found.manifest) == (artifact.sha256, artifact.size, artifact.manifest)
    assert {"etl", "rows_of_etl"} & (set(sys.modules) - modules) == set()
    text = str(found)
    for part in ("etl 1.0.0", "etl:etl", artifact.build_id, "rows_of_etl.py", "↓ total", artifact.sha256):
        assert part in text


def test_an_inspection_is_plain_json(artifact: Artifact) -> None:
    path = rebuilt(artifact, "all.zip", target="lambda", lock=(WHEEL,), cells=(CellEntry.of("a1", "x = 1", ["x"]),))
    data = json.loads(json.dumps(inspect(path).to_json()))
    assert data["lock"] == [{"name": "numpy", "file_name": WHEEL.file_name, "size": 1_000}]
    assert data["cells"] == [{"id": "a1", "names": ["x"]}]
    assert [each["path"] for each in data["files"]] == ["etl.py", "rows_of_etl.py"]
    text = str(inspect(path))
    assert "1 of a notebook" in text
    assert WHEEL.file_name in text


def test_a_whole_artifact_is_verified_by_every_byte(artifact: Artifact) -> None:
    assert verify(artifact.path) == inspect(artifact.path)
    data = bytearray(artifact.path.read_bytes())
    data[data.index(b"def double")] ^= 1
    artifact.path.write_bytes(data)
    inspect(artifact.path)
    with pytest.raises(ArtifactError, match=r"'rows_of_etl\.py'"):
        verify(artifact.path)


def test_that_it_is_the_very_artifact_only_a_digest_from_elsewhere_tells(artifact: Artifact) -> None:
    forged = rebuilt(artifact, "forged.zip", dagy_version="9.9")
    verify(forged)
    with pytest.raises(ArtifactError, match="is not that artifact: its SHA-256 is"):
        verify(forged, sha256=artifact.sha256)
    verify(artifact.path, sha256=f"sha256:{artifact.sha256.upper()}")


def test_an_artifact_does_not_differ_from_itself(artifact: Artifact) -> None:
    assert diff(artifact.path, artifact.path) == ()


def test_a_change_of_code_is_shown_line_by_line(artifact: Artifact, flow_file: Path, tmp_path: Path) -> None:
    helper = flow_file.with_name("rows_of_etl.py")
    helper.write_text(helper.read_text().replace("2 *", "3 *"))
    other = build_artifact(flow_file, output_dir=tmp_path / "other")
    assert diff(artifact.path, other.path) == (
        "file changed: rows_of_etl.py (36 -> 36 bytes)",
        "@@ -1,2 +1,2 @@\n def double(row):\n-    return 2 * row\n+    return 3 * row",
    )


def test_a_change_of_the_graph_is_told_by_task_and_parameter(
    artifact: Artifact, flow_file: Path, tmp_path: Path
) -> None:
    text = flow_file.read_text()
    text = text.replace("@task\ndef total", "@task(retries=2)\ndef total").replace("limit: int = 4", "limit: int = 5")
    text = text.replace('version="1.0.0"', 'version="1.1.0"').replace("load(limit)", "load(extra(limit))")
    text = text.replace("@flow", "@task\ndef extra(limit: int) -> int:\n    return limit\n\n\n@flow")
    flow_file.write_text(text)
    other = build_artifact(flow_file, output_dir=tmp_path / "other")
    found = diff(artifact.path, other.path)
    assert found[:2] == ("version: 1.0.0 -> 1.1.0", "parameter changed: limit (default)")
    assert set(found[2:5]) == {"task changed: load (inputs)", "task changed: total (options)", "task added: extra"}


def test_a_change_of_what_it_needs_is_told(artifact: Artifact) -> None:
    old = rebuilt(artifact, "old.zip", requirements=("httpx==0.27", "numpy==1.26"))
    new = rebuilt(
        artifact, "new.zip", requirements=("numpy==2.0", "pandas==2.2"), target="lambda", python_version="3.12",
        lock=(WHEEL,),
    )  # fmt: skip
    assert diff(old, new)[:6] == (
        "target: local -> lambda",
        f"python: {artifact.manifest.python_version} -> 3.12",
        "requirement removed: httpx 0.27",
        "requirement changed: numpy 1.26 -> 2.0",
        "requirement added: pandas 2.2",
        f"wheel added: numpy {WHEEL.file_name}",
    )


def test_files_that_come_and_go_are_told_and_bytes_are_not_shown(
    write: Callable[..., Path], flow_file: Path, tmp_path: Path
) -> None:
    write("data/a.bin", b"\0\1")
    write("data/b.bin", b"\0\2")
    old = build_artifact(flow_file, output_dir=tmp_path / "old", include=["data"])
    (tmp_path / "data/a.bin").unlink()
    write("data/b.bin", b"\0\3")
    write("data/c.bin", b"\0\4")
    new = build_artifact(flow_file, output_dir=tmp_path / "new", include=["data"])
    assert diff(old.path, new.path) == (
        "file removed: data/a.bin (2 bytes)",
        "file changed: data/b.bin (2 -> 2 bytes)",
        "file added: data/c.bin (2 bytes)",
    )


def test_a_long_difference_is_cut(write: Callable[..., Path], flow_file: Path, tmp_path: Path) -> None:
    built = []
    for word in ("old", "new"):
        write("data/a.txt", "".join(f"{word} {number}\n" for number in range(1_000)))
        built.append(build_artifact(flow_file, output_dir=tmp_path / word, include=["data"]))
    _, shown = diff(built[0].path, built[1].path)
    assert shown.endswith("... and 1801 more lines")


def test_a_broken_artifact_is_not_compared(artifact: Artifact, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(artifact.path.read_bytes()[:-1])
    with pytest.raises(ArtifactError):
        diff(artifact.path, broken)
