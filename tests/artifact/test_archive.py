"""The ZIP of an artifact: what a stranger may have made of it is refused, with the reason, before a byte is written."""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from dagy.artifact.archive import (
    MAX_FILES,
    MissingArtifactError,
    open_artifact,
    read_manifest,
    safe_extract,
    write_artifact,
)
from dagy.artifact.manifest import MANIFEST_NAME, FileEntry, Manifest
from dagy.errors import ArtifactError
from dagy.spec import FlowSpec

CONTENTS = {"etl.py": b"x = 1\n" * 20, "pack/__init__.py": b""}


def manifest_of(contents: dict[str, bytes]) -> Manifest:
    files = tuple(
        FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(contents.items())
    )
    return Manifest(FlowSpec("etl"), "etl:etl", "3.11", (), files, "0.1.0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good artifact."""
    path = tmp_path / "good" / "artifact.zip"
    write_artifact(path, manifest_of(CONTENTS), CONTENTS)
    return path


def hostile(tmp_path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """An artifact with more in it, as any ZIP writer would make it; the manifest lists it all."""
    extra = {(name if isinstance(name, str) else name.filename): data for name, data in entries}
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(MANIFEST_NAME, manifest_of(CONTENTS | extra).to_json())
        for name, data in [*CONTENTS.items(), *entries]:
            archive.writestr(name, data)
    return path


def refused(path: Path, folder: Path) -> str:
    """The reason, after seeing that nothing was written."""
    with pytest.raises(ArtifactError) as caught:
        safe_extract(path, folder)
    assert not folder.exists()
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_what_is_written_is_read_and_extracted_again(path: Path, tmp_path: Path) -> None:
    assert read_manifest(path) == manifest_of(CONTENTS)
    safe_extract(path, tmp_path / "out")
    found = {str(each.relative_to(tmp_path / "out")): each.read_bytes() for each in (tmp_path / "out").rglob("*.py")}
    assert found == CONTENTS


def test_a_deflated_artifact_is_read_as_well(tmp_path: Path) -> None:
    assert safe_extract(hostile(tmp_path, method=zipfile.ZIP_DEFLATED), tmp_path / "out") == manifest_of(CONTENTS)


def test_an_archive_is_readable_by_all_and_leaves_nothing_beside_it(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["artifact.zip"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {stat.S_IFREG | 0o644}


def test_writing_the_same_again_leaves_the_file_alone(path: Path) -> None:
    before = path.stat()
    assert not write_artifact(path, manifest_of(CONTENTS), CONTENTS)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_write_that_fails_leaves_what_was_there(path: Path) -> None:
    path.parent.joinpath("taken").mkdir()
    before = sorted(path.parent.iterdir())
    with pytest.raises(ArtifactError, match="choose another output folder"):
        write_artifact(path.parent / "taken", manifest_of(CONTENTS), CONTENTS)
    assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize(
    "name",
    [
        "../x.py", "/x.py", "a/../../x.py", "a/./x.py", "a//x.py", "C:\\x.py", "C:x.py", "..\\x.py", "a\\b.py", "a/",
        "x\x01.py", "x\x7f.py", "x\u202e.py", "x.py.", "x.py ", "a /x.py", "x" * 300, "a/" * 600 + "x.py",
        "x.pth", "X.PTH", "pack/x.pth", "sitecustomize.py", "usercustomize.py", "json.py", "json/__init__.py",
        "JSON.py", "dagy/__init__.py", "dagy_nb/cells.py", "dagy.py",
    ],
)  # fmt: skip
def test_a_name_that_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    assert "the name" in refused(hostile(tmp_path, (name, b"")), tmp_path / "out")


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    path = hostile(tmp_path, ("x_evil.py", b""))
    path.write_bytes(path.read_bytes().replace(b"x_evil.py", b"x\0evil.py"))
    assert "can't be seen" in refused(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("twins", "reason"),
    [
        (("A.py", "a.py"), "the same on some systems"),
        (("caf\u00e9.py", "cafe\u0301.py"), "the same on some systems"),
        (("stra\u00dfe.py", "STRASSE.py"), "the same on some systems"),
        (("part", "part/x.py"), "both a file and the folder"),
        (("Part", "part/x.py"), "both a file and the folder"),
    ],
)
def test_names_that_collide_are_refused(tmp_path: Path, twins: tuple[str, str], reason: str) -> None:
    assert reason in refused(hostile(tmp_path, *((name, b"") for name in twins)), tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    assert "the same on some systems" in refused(hostile(tmp_path, ("x.py", b"1"), ("x.py", b"2")), tmp_path / "out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_whatever_is_not_a_plain_file_is_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link.py")
    info.external_attr = (kind | 0o777) << 16
    assert "is a link or a device" in refused(hostile(tmp_path, (info, b"/etc/passwd")), tmp_path / "out")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_packing_is_refused(tmp_path: Path, method: int) -> None:
    assert "packed in a way" in refused(hostile(tmp_path, method=method), tmp_path / "out")


def test_an_encrypted_entry_is_refused(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path, tmp_path / "out")


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    bomb = hostile(tmp_path, ("x.py", bytes(10 << 20)), method=zipfile.ZIP_DEFLATED)
    assert "more than 200 times" in refused(bomb, tmp_path / "out")


def test_a_size_that_lies_is_found_in_the_bytes_that_are_read(tmp_path: Path) -> None:
    data = bytes(range(256)) * 64
    path = tmp_path / "lying.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST_NAME, manifest_of(CONTENTS | {"x.py": data[:9]}).to_json())
        for name, content in (CONTENTS | {"x.py": data}).items():
            archive.writestr(name, content)
        packed = archive.getinfo("x.py").compress_size
    true, lie = struct.pack("<LL", packed, len(data)), struct.pack("<LL", packed, 9)
    path.write_bytes(path.read_bytes().replace(true, lie))
    assert "the ZIP is broken: Bad CRC-32" in refused(path, tmp_path / "out")


@pytest.mark.parametrize("size", [(256 << 20) + 1, (1 << 32) - 2])
def test_a_file_that_is_too_large_is_refused_by_its_header(path: Path, tmp_path: Path, size: int) -> None:
    data = path.read_bytes()
    entry = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: entry + 24] + struct.pack("<L", size) + data[entry + 28 :])
    assert "too large" in refused(path, tmp_path / "out")


def test_files_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    names = [f"x{number}.py" for number in range(5)]
    path = hostile(tmp_path, *((name, b"0") for name in names))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    for name in names:
        entry = data.index(name.encode(), start) - 46
        data[entry + 20 : entry + 28] = struct.pack("<LL", 250 << 20, 250 << 20)
    path.write_bytes(data)
    assert "together" in refused(path, tmp_path / "out")


def test_a_million_entries_are_refused_before_the_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the directory was read")

    monkeypatch.setattr(zipfile, "ZipFile", never)
    record = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, *[0] * 5, 0, 0, 1, *[0] * 6) + b"x"
    for said, really in ((65_535, 1_000_000), (3, 1_000_000), (3, 500_000)):
        directory = record * really
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, said, said, len(directory), 0, 0)
        path = tmp_path / "million.zip"
        path.write_bytes(directory + end)
        assert "files" in refused(path, tmp_path / "out")


def test_overlapping_files_are_refused(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 42 : entry + 46] = struct.pack("<L", 0)
    path.write_bytes(data)
    assert "overlaps" in refused(path, tmp_path / "out")


@pytest.mark.parametrize("before", [b"#!/bin/sh\n", b"PK"])
def test_something_before_the_start_is_refused(path: Path, tmp_path: Path, before: bytes) -> None:
    path.write_bytes(before + path.read_bytes())
    assert "before its start" in refused(path, tmp_path / "out")


def test_something_behind_the_end_is_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"<html>")
    assert "behind its end" in refused(path, tmp_path / "out")


def test_a_comment_is_refused(path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"x" * 65_535
    assert "behind its end" in refused(path, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 100, b"PK\x05\x06" + bytes(18)])
def test_what_is_no_artifact_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.zip"
    path.write_bytes(content)
    assert "not a ZIP" in refused(path, tmp_path / "out") or "not an artifact" in refused(path, tmp_path / "out")


def test_an_artifact_that_is_cut_short_is_refused_wherever_it_is_cut(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        refused(path, tmp_path / "out")


def test_a_missing_artifact_is_a_file_not_found_error_too(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="there is no file") as caught:
        read_manifest(tmp_path / "nowhere.zip")
    assert isinstance(caught.value, FileNotFoundError)


def test_an_artifact_without_a_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("etl.py", "x = 1")
    assert "it holds no dagy.json" in refused(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("listed", "held", "reason"),
    [
        (CONTENTS, {"etl.py": CONTENTS["etl.py"]}, "'pack/__init__.py' is listed and not there"),
        (CONTENTS, CONTENTS | {"x.py": b""}, "'x.py' is there and not listed"),
        (CONTENTS, CONTENTS | {"etl.py": b"x = 1\n"}, "has not the size"),
        (CONTENTS, CONTENTS | {"etl.py": b"x = 2\n" * 20}, "its SHA-256 differs"),
    ],
)
def test_files_that_are_not_those_of_the_manifest_are_refused(
    tmp_path: Path, listed: dict[str, bytes], held: dict[str, bytes], reason: str
) -> None:
    path = tmp_path / "swapped.zip"
    write_artifact(path, manifest_of(listed), held)
    assert reason in refused(path, tmp_path / "out")


def test_a_byte_changed_anywhere_changes_nothing_or_is_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x21
        path.write_bytes(changed)
        try:
            with open_artifact(path) as artifact:
                artifact.verify()
                assert artifact.manifest == manifest_of(CONTENTS)
        except ArtifactError:
            continue


def test_extracting_into_a_folder_with_something_in_it_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/etl.py").write_text("mine")
    with pytest.raises(ArtifactError, match="not an empty folder"):
        safe_extract(path, tmp_path / "out")
    assert (tmp_path / "out/etl.py").read_text() == "mine"


def test_many_files_are_no_problem(tmp_path: Path) -> None:
    contents = CONTENTS | {f"pack/m{number}.py": b"" for number in range(2_000)}
    path = tmp_path / "many.zip"
    write_artifact(path, manifest_of(contents), contents)
    assert len(read_manifest(path).files) == 2_002 < MAX_FILES


def test_the_manifest_is_text_that_people_can_read(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        text = archive.read(MANIFEST_NAME).decode()
    assert '  "flow_name": "etl",\n' in text


def test_a_name_that_could_do_harm_is_not_written_either(tmp_path: Path) -> None:
    contents = CONTENTS | {"../x.py": b""}
    with pytest.raises(ArtifactError, match=r"\.\./x\.py"):
        write_artifact(tmp_path / "a.zip", manifest_of(contents), contents)
    assert list(tmp_path.iterdir()) == []
