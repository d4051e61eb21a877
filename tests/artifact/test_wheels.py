"""What a wheel holds, read as if a stranger had sent it."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.fetching import fetch_wheels, wheel_path
from dagy.artifact.manifest import LockedWheel
from dagy.artifact.targets import TARGETS
from dagy.artifact.wheels import FoundWheel, check_fits, members, verify_wheel
from dagy.errors import ArtifactError

from .wheelhouse import EPOCH, Wheelhouse, found


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Wheelhouse:
    return Wheelhouse(tmp_path / "wheelhouse")


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., LockedWheel]:
    """Get one wheel into a cache."""

    def fetch(wheel: FoundWheel) -> LockedWheel:
        (kept,) = fetch_wheels([wheel], tmp_path / "local", fits=lambda file: None)
        return kept

    return fetch


def test_a_wheel_is_kept_by_its_digest_and_not_fetched_twice(
    wheelhouse: Wheelhouse, fetch: Callable[..., LockedWheel], tmp_path: Path
) -> None:
    path = wheelhouse.add("quick", "2.0")
    digest, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    wheel = found(path)
    kept = fetch(wheel)
    assert kept == LockedWheel("quick", "2.0", path.name, digest, size)
    assert wheel_path(tmp_path / "local", kept).read_bytes() == path.read_bytes()
    path.unlink()
    assert fetch(wheel) == kept


def test_a_wheel_whose_digest_no_index_tells_is_kept_all_the_same(
    wheelhouse: Wheelhouse, fetch: Callable[..., LockedWheel]
) -> None:
    path = wheelhouse.add("quick")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert fetch(FoundWheel("quick", "1.0", path.as_uri())).sha256 == digest


def test_a_file_that_is_not_what_the_index_tells_is_refused_and_not_kept(
    wheelhouse: Wheelhouse, fetch: Callable[..., LockedWheel], tmp_path: Path
) -> None:
    path = wheelhouse.add("quick")
    with pytest.raises(ArtifactError, match="is not the file that the index tells of"):
        fetch(FoundWheel("quick", "1.0", path.as_uri(), "0" * 64))
    assert list((tmp_path / "local/wheels").iterdir()) == []


def test_a_file_that_is_not_there_is_an_error_of_ours(fetch: Callable[..., LockedWheel], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'a-1-py3-none-any\.whl' can't be fetched: No such file"):
        fetch(FoundWheel("a", "1", (tmp_path / "a-1-py3-none-any.whl").as_uri()))


def test_a_wheel_comes_from_a_file_or_by_http_only(fetch: Callable[..., LockedWheel]) -> None:
    with pytest.raises(ArtifactError, match="begins with 'ftp'"):
        fetch(FoundWheel("a", "1", "ftp://example.org/a-1-py3-none-any.whl"))


@pytest.mark.parametrize(
    "file",
    [
        "a-1-py3-none-any.whl",
        "a-1-py2.py3-none-any.whl",
        "a-1-cp312-cp312-manylinux_2_34_x86_64.whl",
        "a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "a-1-cp38-abi3-manylinux_2_28_x86_64.whl",
        "a-1-py3-none-manylinux1_x86_64.whl",
    ],
)
def test_a_wheel_for_the_target_fits(file: str) -> None:
    check_fits(file, TARGETS["lambda"], "3.12")


@pytest.mark.parametrize(
    ("file", "platform"),
    [
        ("a-1-cp312-cp312-macosx_11_0_arm64.whl", "cp312-macosx_11_0_arm64"),
        ("a-1-cp312-cp312-win_amd64.whl", "cp312-win_amd64"),
        ("a-1-cp312-cp312-manylinux_2_34_aarch64.whl", "cp312-manylinux_2_34_aarch64"),
        ("a-1-cp312-cp312-manylinux_2_35_x86_64.whl", "cp312-manylinux_2_35_x86_64"),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", "cp312-musllinux_1_2_x86_64"),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.whl", "cp311-manylinux_2_17_x86_64"),
        ("a-1-cp312-cp312t-manylinux_2_17_x86_64.whl", "cp312-manylinux_2_17_x86_64"),
        ("a-1-py2-none-any.whl", "py2-any"),
    ],
)
def test_a_wheel_for_something_else_is_refused_with_both_named(file: str, platform: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        check_fits(file, TARGETS["lambda"], "3.12")
    assert str(caught.value) == (
        f"the wheel of a 1 is for {platform}, and the target 'lambda' needs Python 3.12 on manylinux_2_34_x86_64; "
        "require a version that has such a wheel"
    )


@pytest.mark.parametrize("file", ["a.whl", "a-1.tar.gz", "a-1-py3-none-any.x/../../y.whl", "../a-1-py3-none-any.whl"])
def test_a_name_that_is_no_wheels_is_refused(file: str) -> None:
    with pytest.raises(ArtifactError):
        check_fits(file, TARGETS["lambda"], "3.12")


def test_the_parts_of_a_wheel_go_where_an_installer_puts_them(wheelhouse: Wheelhouse) -> None:
    path = wheelhouse.add(
        "spread",
        files={
            "spread/__init__.py": b"",
            "spread/deep.pth": b"weights",
            "start.pth": b"import os",
            "spread-1.0.data/purelib/spread/pure.py": b"",
            "spread-1.0.data/platlib/spread/plat.so": b"",
            "spread-1.0.data/scripts/spread": b"#!python",
            "spread-1.0.data/data/share/spread.txt": b"",
            "spread-1.0.data/headers/spread.h": b"",
        },
    )
    assert sorted(each.name for each in members(path) if ".dist-info/" not in each.name) == [
        "bin/spread",
        "share/spread.txt",
        "spread/__init__.py",
        "spread/deep.pth",
        "spread/plat.so",
        "spread/pure.py",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "/etc/evil.py",
        "a/../../evil.py",
        "C:evil.py",
        "a\\..\\evil.py",
        "json/__init__.py",
        "dagy/flows.py",
        "sitecustomize.py",
        "evil-1.0.data/purelib/../../evil.py",
        "evil-1.0.data/purelib/dagy/flows.py",
        "evil-1.0.data/data/../evil.py",
        "evil-1.0.data/purelib//evil.py",
    ],
)
def test_a_name_that_leaves_its_folder_or_hides_a_module_is_refused(wheelhouse: Wheelhouse, name: str) -> None:
    path = wheelhouse.add("evil", files={name: b""})
    with pytest.raises(ArtifactError, match=r"the wheel 'evil-1\.0-py3-none-any\.whl' is not to be trusted: the name"):
        members(path)


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        ({"unlisted": {"a/extra.py": b""}}, "it holds 'a/extra.py', which its RECORD does not list"),
        ({"record": "a/__init__.py,,\n"}, "does not list|gives no digest"),
        ({"files": {}, "record": "a/gone.py,sha256=abc,1\n"}, "does not list|which it does not hold"),
        ({"info": "b-1.0.dist-info"}, "its metadata is of b 1.0, and not of a 1.0"),
        ({"info": "a-2.0.dist-info"}, "its metadata is of a 2.0, and not of a 1.0"),
        ({"files": {"b-1.0.dist-info/METADATA": b""}}, "it has 2 folders of metadata"),
    ],
)
def test_a_wheel_that_is_not_what_it_says_is_refused(
    wheelhouse: Wheelhouse, wheel: dict[str, object], reason: str
) -> None:
    path = wheelhouse.add("a", **wheel)  # type: ignore[arg-type]  # each is one of its options
    with pytest.raises(ArtifactError, match=reason):
        verify_wheel(path, found(path))


def test_contents_that_are_not_those_of_the_record_are_refused(wheelhouse: Wheelhouse) -> None:
    first = wheelhouse.add("a", files={"a.py": b"good"})
    text = zipfile.ZipFile(first).read("a-1.0.dist-info/RECORD").decode()
    path = wheelhouse.add("a", files={"a.py": b"evil"}, record=text)
    with pytest.raises(ArtifactError, match=r"'a\.py' in it is not what its RECORD says"):
        verify_wheel(path, found(path))


def test_a_wheel_without_a_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a-1.0.dist-info/METADATA", "")
    with pytest.raises(ArtifactError, match="it has no RECORD"):
        verify_wheel(path, found(path))


def test_a_file_that_unpacks_to_very_much_is_refused(wheelhouse: Wheelhouse) -> None:
    path = wheelhouse.add("bomb", files={"bomb.bin": bytes(8 << 20)})
    data = bytearray(path.read_bytes())
    where = data.index(b"PK\1\2")
    struct.pack_into("<I", data, where + 24, 0xF0000000)  # it claims to be larger than deflate can make it
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="unpacks to more than 1000 times its size"):
        members(path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0-py3-none-any.whl"
    link = zipfile.ZipInfo("a/link", EPOCH)
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ArtifactError, match="'a/link' is a link or a device"):
        members(path)


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0-py3-none-any.whl"
    path.write_bytes(b"<html>sign in</html>")
    with pytest.raises(ArtifactError, match="is broken: File is not a zip file"):
        members(path)


@pytest.mark.parametrize("position", range(0, 600, 7))
def test_a_wheel_that_was_damaged_is_refused_or_the_same(wheelhouse: Wheelhouse, position: int) -> None:
    path = wheelhouse.add("a")
    whole = path.read_bytes()
    verify_wheel(path, found(path))
    damaged = bytearray(whole)
    damaged[position % len(whole)] ^= 0x55
    path.write_bytes(damaged)
    try:
        verify_wheel(path, found(path))
        members(path)
    except ArtifactError:
        return
    # What neither changes a name nor a content: a time, a version, a mode of the archive.
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
