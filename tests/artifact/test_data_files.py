"""Which declared data files go into an artifact, and what is left out of them, with the reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from dagy.artifact.archive import MAX_FILE_BYTES
from dagy.artifact.builder import Artifact, build_artifact
from dagy.artifact.data_files import LeftOut, data_files
from dagy.artifact.unpacking import safe_extract, unpacked_flow
from dagy.errors import ArtifactError

READER = """
from pathlib import Path
from dagy import flow, task


@task
def read():
    return (Path(__file__).parent / "data/rows.csv").read_text()


@flow
def etl():
    return read()
"""


def names(folder: Path, *patterns: str) -> list[str]:
    return [name for name, _ in data_files(patterns, folder, folder).files]


def left_out(folder: Path, *patterns: str) -> dict[str, str]:
    return {each.path: each.reason for each in data_files(patterns, folder, folder).left_out}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.csv", ["a.csv"]),
        ("*.csv", ["a.csv"]),
        ("data/*.csv", ["data/b.csv"]),
        ("data", ["data/b.csv", "data/deep/c.csv", "data/deep/d.json"]),
        ("data/", ["data/b.csv", "data/deep/c.csv", "data/deep/d.json"]),
        ("./data/deep", ["data/deep/c.csv", "data/deep/d.json"]),
        ("**/*.csv", ["a.csv", "data/b.csv", "data/deep/c.csv"]),
        ("data/**/*.json", ["data/deep/d.json"]),
        ("data/**", ["data/b.csv", "data/deep/c.csv", "data/deep/d.json"]),
        ("**", ["a.csv", "data/b.csv", "data/deep/c.csv", "data/deep/d.json"]),
        ("d*/[bx].csv", ["data/b.csv"]),
    ],
)
def test_what_a_pattern_matches(write: Callable[..., Path], tmp_path: Path, pattern: str, expected: list[str]) -> None:
    for name in ("a.csv", "data/b.csv", "data/deep/c.csv", "data/deep/d.json"):
        write(name, "x")
    assert names(tmp_path, pattern) == expected


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "data/../../x", "C:\\x", "", ".", "a\0b"])
def test_a_pattern_that_leads_out_of_the_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ArtifactError, match="leads out of"):
        names(tmp_path, pattern)


def test_a_pattern_that_matches_nothing_is_a_mistake(write: Callable[..., Path], tmp_path: Path) -> None:
    write("data.csv", "x")
    with pytest.raises(ArtifactError, match=r"nothing in .* matches '\*\.cvs'"):
        names(tmp_path, "*.csv", "*.cvs")


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.production", "local.env", "server.pem", "server.key", "Server.KEY", "cert.p12", "id_rsa",
        "id_rsa.pub", "id_ed25519", ".netrc", ".pypirc", ".npmrc", ".git-credentials", "credentials.json",
        "service-account-prod.json",
    ],
)  # fmt: skip
def test_what_may_hold_a_secret_is_left_out_even_when_it_is_named(
    write: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    write(name, "secret")
    assert names(tmp_path, name) == []
    assert left_out(tmp_path, name) == {name: "may hold a secret"}


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        (".aws", "a folder of secrets"),
        (".ssh", "a folder of secrets"),
        (".git", "left behind by a tool"),
        ("__pycache__", "left behind by a tool"),
        (".ipynb_checkpoints", "left behind by a tool"),
        (".venv", "left behind by a tool"),
        ("node_modules", "left behind by a tool"),
    ],
)
def test_a_folder_that_should_never_travel_is_left_out_as_a_whole(
    write: Callable[..., Path], tmp_path: Path, folder: str, reason: str
) -> None:
    write(f"{folder}/deep/x.csv", "x")
    write("y.csv", "y")
    assert names(tmp_path, "**") == ["y.csv"]
    assert left_out(tmp_path, "**") == {folder: reason}


def test_an_environment_is_left_out_whatever_it_is_called(write: Callable[..., Path], tmp_path: Path) -> None:
    write("mine/pyvenv.cfg", "")
    write("mine/lib/x.csv", "")
    assert left_out(tmp_path, "mine") == {"mine": "an environment of Python's"}


def test_byte_code_is_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    write("data/a.pyc", "")
    write("data/a.csv", "")
    assert left_out(tmp_path, "data") == {"data/a.pyc": "left behind by a tool"}


def test_links_out_of_the_folder_or_to_folders_are_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    write("secret.txt", "secret")
    write("project/data/real.csv", "x")
    data = tmp_path / "project/data"
    (data / "near.csv").symlink_to(data / "real.csv")
    (data / "out.csv").symlink_to(tmp_path / "secret.txt")
    (data / "loop").symlink_to(data, target_is_directory=True)
    (data / "self").symlink_to(data / "self")
    (data / "nowhere").symlink_to(data / "no such file")
    project = tmp_path / "project"
    assert names(project, "data") == ["data/near.csv", "data/real.csv"]
    reasons = left_out(project, "data")
    assert reasons["data/out.csv"].startswith("outside the folder of the flow")
    assert reasons["data/loop"] == "a link to a folder; include that folder itself"
    assert reasons["data/self"].startswith("can't be read")
    assert reasons["data/nowhere"] == "can't be read: No such file or directory"


def test_a_link_to_a_secret_is_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    write(".env", "secret")
    (tmp_path / "harmless.txt").symlink_to(tmp_path / ".env")
    assert left_out(tmp_path, "harmless.txt") == {"harmless.txt": "may hold a secret"}


def test_what_is_no_regular_file_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert left_out(tmp_path, "*") == {"pipe": "not a regular file", "socket": "not a regular file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    write("closed.csv", "x").chmod(0)
    assert left_out(tmp_path, "*") == {"closed.csv": "can't be read: Permission denied"}


def test_nothing_is_taken_from_where_artifacts_go(write: Callable[..., Path], tmp_path: Path) -> None:
    write("dist/etl/abc/artifact.zip", "")
    write("x.csv", "")
    found = data_files(["**"], tmp_path, tmp_path, without=tmp_path / "dist")
    assert [name for name, _ in found.files] == ["x.csv"]


@pytest.fixture
def with_data(write: Callable[..., Path], tmp_path: Path) -> Artifact:
    """An artifact with a data file, from a folder with more in it."""
    write("data/rows.csv", "a,b\n1,2\n")
    write("data/.env", "secret")
    return build_artifact(write("reader.py", READER), output_dir=tmp_path / "dist", include=["data"])


def test_declared_data_is_where_the_code_looks_for_it(with_data: Artifact) -> None:
    assert [file.path for file in with_data.manifest.files] == ["data/rows.csv", "reader.py"]
    with unpacked_flow(with_data.path) as flow:
        assert flow.run_local().value == "a,b\n1,2\n"


def test_what_is_left_out_is_told(with_data: Artifact) -> None:
    assert with_data.left_out == (LeftOut("data/.env", "may hold a secret"),)
    assert "left out      data/.env: may hold a secret" in str(with_data)


def test_other_data_gives_another_build(with_data: Artifact, write: Callable[..., Path], tmp_path: Path) -> None:
    write("data/rows.csv", "a,b\n1,3\n")
    again = build_artifact(tmp_path / "reader.py", output_dir=tmp_path / "dist", include=["data"])
    assert again.code_hash != with_data.code_hash


def test_a_script_block_declares_data_as_well(write: Callable[..., Path], tmp_path: Path) -> None:
    write("data/rows.csv", "x")
    block = "# /// script\n# [tool.dagy]\n# include = ['data/*.csv']\n# ///\n"
    built = build_artifact(write("reader.py", block + READER), output_dir=tmp_path / "dist")
    assert [file.path for file in built.manifest.files] == ["data/rows.csv", "reader.py"]


def test_data_that_no_artifact_can_hold_is_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("rows.csv", "model.pth", "json.py", "large.bin"):
        write(f"data/{name}", "x")
    os.truncate(tmp_path / "data/large.bin", MAX_FILE_BYTES + 1)
    write("data/json/rows.csv", "harmless")
    write("json/__init__.py", "")
    built = build_artifact(write("reader.py", READER), output_dir=tmp_path / "dist", include=["data", "json"])
    assert [file.path for file in built.manifest.files] == [
        "data/json.py", "data/json/rows.csv", "data/rows.csv", "reader.py",
    ]  # fmt: skip
    reasons = {each.path: each.reason for each in built.left_out}
    assert reasons["data/large.bin"].startswith("larger than")
    assert reasons["data/model.pth"].startswith("its name would hide a module")
    assert reasons["json/__init__.py"].startswith("its name would hide a module")


def test_data_with_the_name_of_a_module_of_python_is_harmless(write: Callable[..., Path], tmp_path: Path) -> None:
    write("statistics.csv", "x")
    write("calendar/rows.csv", "x")
    built = build_artifact(
        write("reader.py", READER), output_dir=tmp_path / "dist", include=["statistics.csv", "calendar"]
    )
    safe_extract(built.path, tmp_path / "out")
    assert (tmp_path / "out/calendar/rows.csv").read_text() == "x"


def test_names_that_are_one_file_on_some_systems_are_refused_at_the_build(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write("data/A.csv", "x")
    write("data/a.csv", "x")
    if len(list((tmp_path / "data").iterdir())) < 2:
        pytest.skip("this file system takes them for one file")
    with pytest.raises(ArtifactError, match="the same on some systems"):
        build_artifact(write("reader.py", READER), output_dir=tmp_path / "dist", include=["data"])


def test_more_than_an_artifact_may_hold_is_refused_at_the_build(write: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(5):  # no block of the disk is taken, and none is read
        os.truncate(write(f"data/{number}.bin", ""), MAX_FILE_BYTES)
    with pytest.raises(ArtifactError, match="keep large data in a bucket"):
        build_artifact(write("reader.py", READER), output_dir=tmp_path / "dist", include=["data"])
    assert not list(tmp_path.rglob("*.zip"))


def test_one_text_instead_of_a_list_of_patterns_is_told(write: Callable[..., Path]) -> None:
    with pytest.raises(ArtifactError, match=r"give a list of patterns, such as \['data'\]"):
        build_artifact(write("reader.py", READER), include="data")


def test_a_file_that_the_code_names_and_nobody_declares_is_told(write: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("data/rows.csv", "server.pem", "other.csv"):
        write(name, "x")
    named = READER + "NAMES = ['server.pem', 'missing.csv', 'reader.py', '/etc/passwd', '../up.csv', 'data']\n"
    built = build_artifact(write("reader.py", named), output_dir=tmp_path / "dist")
    assert built.warnings == (
        "reader.py names 'data/rows.csv', which is not in the artifact; if it is needed, build with --include "
        "data/rows.csv",
    )
    again = build_artifact(tmp_path / "reader.py", output_dir=tmp_path / "dist", include=["data"])
    assert again.warnings == ()
