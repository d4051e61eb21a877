"""The manifest: JSON out and in, and everything else refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dagy.artifact.manifest import CellEntry, FileEntry, Manifest
from dagy.errors import ArtifactError
from dagy.spec import Constant, FlowSpec, FromTask, TaskSpec

MANIFEST = Manifest(
    spec=FlowSpec(
        "etl",
        version="1.0.0",
        tasks=(
            TaskSpec("load", "load", "etl:load", {"limit": Constant(3)}),
            TaskSpec("clean", "clean", "etl:clean", {"rows": FromTask("load", ("rows", 0))}),
        ),
    ),
    entry_point="etl:etl",
    python_version="3.11",
    requirements=("httpx==0.28.1",),
    files=(FileEntry("etl.py", 3, "a" * 64), FileEntry("rows.py", 0, "b" * 64)),
    dagy_version="0.1.0",
)


def test_a_manifest_comes_back_from_its_json() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


CELLS = (CellEntry.of("a1", "x = 1", {"x"}), CellEntry.of("b2", "def f(): ...", ["f"]))


def test_the_cells_come_back_and_do_not_change_the_code_hash() -> None:
    manifest = replace(MANIFEST, cells=CELLS)
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.code_hash == MANIFEST.code_hash
    assert CELLS[0].sha256 != CELLS[1].sha256 == CellEntry.of("z", "def f(): ...").sha256


def test_a_manifest_from_before_there_were_cells_is_read_and_written_as_it_was() -> None:
    old = replace(MANIFEST, schema_version=1)
    assert "cells" not in json.loads(old.to_json())
    assert Manifest.from_json(old.to_json()) == old
    assert old.code_hash != MANIFEST.code_hash


def test_the_build_id_is_the_beginning_of_the_code_hash() -> None:
    assert MANIFEST.build_id == MANIFEST.code_hash[:12]
    assert len(MANIFEST.code_hash) == 64


@pytest.mark.parametrize(
    "other",
    [
        replace(MANIFEST, spec=replace(MANIFEST.spec, version="1.0.1")),
        replace(MANIFEST, entry_point="rows:etl"),
        replace(MANIFEST, python_version="3.12"),
        replace(MANIFEST, requirements=()),
        replace(MANIFEST, files=(FileEntry("etl.py", 3, "c" * 64), MANIFEST.files[1])),
        replace(MANIFEST, dagy_version="0.2.0"),
    ],
    ids=["spec", "entry point", "python", "requirements", "content", "dagy"],
)
def test_what_changes_behaviour_changes_the_code_hash(other: Manifest) -> None:
    assert other.code_hash != MANIFEST.code_hash


def edited(**changes: Any) -> str:
    return json.dumps(json.loads(MANIFEST.to_json()) | changes)


def without(name: str) -> str:
    return json.dumps({key: value for key, value in json.loads(MANIFEST.to_json()).items() if key != name})


ENTRIES = [{"path": "etl.py", "size": 3, "sha256": "a" * 64}, {"path": "rows.py", "size": 0, "sha256": "b" * 64}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "not JSON|broken"),
        (b"\xff\xfe{}", "not JSON"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        (edited(schema_version=4), "schema_version is 4, and this Dagy reads 3; upgrade dagy"),
        (edited(schema_version=0), "schema_version"),
        (edited(schema_version="1"), "schema_version"),
        (edited(extra=1), "extra"),
        (without("code_hash"), "code_hash"),
        (edited(code_hash="0" * 64), "code_hash does not fit"),
        (edited(build_id="0" * 12), "build_id does not fit"),
        (edited(flow_name="other"), "flow_name does not fit"),
        (edited(python_version="3.12"), "code_hash does not fit|build_id does not fit"),
        (edited(python_version="2.7"), "python_version '2.7'"),
        (edited(entry_point="os:system"), "entry point 'os:system'"),
        (edited(entry_point="etl:a.b"), "entry point"),
        (edited(entry_point="..:x"), "entry point"),
        (edited(requirements=["httpx"]), "'httpx' is not of the form"),
        (edited(requirements=["x @ git+https://token@example.com/x"]), "not of the form"),
        (edited(requirements=["--extra-index-url==1"]), "not of the form"),
        (edited(files=[ENTRIES[0] | {"sha256": "A" * 64}, ENTRIES[1]]), "no proper size and SHA-256"),
        (edited(files=[ENTRIES[0] | {"sha256": "d41d8cd98f00b204e9800998ecf8427e"}]), "no proper size and SHA-256"),
        (edited(files=[ENTRIES[0] | {"size": -1}]), "no proper size"),
        (edited(files=[ENTRIES[0] | {"size": "3"}]), "size"),
        (edited(files=[ENTRIES[0] | {"mode": 7}]), "mode"),
        (edited(files=ENTRIES[::-1]), "not in order"),
        (edited(files=[ENTRIES[0], ENTRIES[0]]), "listed twice"),
        (edited(cells=[{"id": "a", "sha256": "b", "names": []}]), "cell 'a' has no id or no proper SHA-256"),
        (edited(cells=[{"id": "a", "sha256": "b" * 64, "names": []}] * 2), "lists a cell twice"),
        (edited(cells=[{"id": "a", "sha256": "b" * 64, "names": [], "x": 1}]), "cells"),
        (edited(spec={"name": "etl", "colour": "red"}), "spec is broken"),
    ],
)
def test_a_manifest_that_dagy_did_not_write_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        Manifest.from_json(text)


@pytest.mark.parametrize("read", [Manifest.from_json])
def test_a_key_twice_deep_inside_is_refused(read: Callable[[str], Manifest]) -> None:
    with pytest.raises(ArtifactError, match="twice"):
        read(MANIFEST.to_json().replace('"size": 3', '"size": 3, "size": 3'))
