"""`dagy build` and `dagy artifact`: what they print and how they end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from dagy.cli.app import ExitCode, run

FLOWS = """
from dagy import flow, task

with open("loaded", "a") as told:
    told.write("x")


@task
def load(limit: int) -> list[int]:
    return list(range(limit))


@flow(name="etl", version="1.0.0")
def etl(limit: int = 4):
    return load(limit)
"""

Run = Callable[..., tuple[ExitCode, str, str]]


@pytest.fixture(autouse=True)
def _forget_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield
    for name in sys.modules.keys() - modules:
        if not name.startswith(("dagy", "pydantic")):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a flow and data in it, all of it older than the file system's clock can mistake."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "data").mkdir()
    for name in ("rows.csv", ".env"):
        (tmp_path / "data" / name).write_text("x")
    newest = max(each.stat().st_ctime_ns for each in tmp_path.rglob("*"))
    while time.time_ns() < newest + 12_000_000:
        pass
    return tmp_path


@pytest.fixture
def dagy(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in `folder`: its exit code, what it printed and what it said about it."""

    def dagy(*args: str) -> tuple[ExitCode, str, str]:
        capsys.readouterr()
        code = run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return dagy


def test_the_last_line_is_the_path_of_the_artifact(dagy: Run, folder: Path) -> None:
    code, out, err = dagy("build", "flows.py:etl", "--output-dir", "./out")
    lines = out.splitlines()
    assert (code, err, lines[0]) == (ExitCode.SUCCESS, "", "built etl 1.0.0")
    assert Path(lines[-1]).parts[:2] == ("out", "etl")
    assert (folder / lines[-1]).is_file()


def test_a_second_build_says_that_nothing_changed_and_loads_nothing(dagy: Run, folder: Path) -> None:
    first = dagy("build", "flows.py")[1].splitlines()
    code, out, _ = dagy("build", "flows.py")
    assert (code, out.splitlines()[0]) == (ExitCode.SUCCESS, "unchanged: etl 1.0.0")
    assert out.splitlines()[1:] == first[1:]
    assert (folder / "loaded").read_text() == "x"


def test_data_files_are_taken_along_and_secrets_are_told(dagy: Run) -> None:
    code, out, err = dagy("build", "flows.py", "--include", "data", "--format", "json")
    data = json.loads(out)
    assert code is ExitCode.SUCCESS
    assert data["files"] == ["data/rows.csv", "flows.py"]
    assert data["left_out"] == [{"path": "data/.env", "reason": "may hold a secret"}]
    assert "writing the artifact ..." in err
    again = json.loads(dagy("build", "flows.py", "--include", "data", "--format", "json")[1])
    assert again == data | {"is_new": False}


def test_the_facts_are_yaml_as_well(dagy: Run) -> None:
    assert yaml.safe_load(dagy("build", "flows.py", "--format", "yaml")[1])["flow_name"] == "etl"


def test_a_requirements_file_says_what_is_needed(dagy: Run, folder: Path) -> None:
    (folder / "requirements.txt").write_text("pytest\n")
    code, out, err = dagy("build", "flows.py", "--requirements", "requirements.txt", "--format", "json")
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert any(each.startswith("pytest==") for each in json.loads(out)["requirements"])


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["build", "missing.py"], ExitCode.NOT_FOUND, "there is no file 'missing.py'"),
        (["build", "missing"], ExitCode.NOT_FOUND, "there is no file 'missing'"),
        (["build", "flows.py:other"], ExitCode.NOT_FOUND, "there is no flow 'other'"),
        (["build", "flows.py:"], ExitCode.USAGE, "names no flow after the colon"),
        (["build", "flows.py", "--include", "*.cvs"], ExitCode.GENERAL, "nothing in"),
        (["build", "flows.py", "--target", "lamda"], ExitCode.USAGE, "did you mean 'lambda'?"),
        (["build", "flows.py", "--requirements", "no.txt"], ExitCode.GENERAL, "no.txt"),
        (["artifact", "verify", "no.zip"], ExitCode.NOT_FOUND, "there is no file 'no.zip'"),
        (["artifact", "inspect", "flows.py"], ExitCode.GENERAL, "not a ZIP"),
        (["artifact", "diff", "no.zip", "no.zip"], ExitCode.NOT_FOUND, "there is no file"),
    ],
)
def test_what_is_wrong_is_told_with_its_exit_code(dagy: Run, args: list[str], code: ExitCode, message: str) -> None:
    found, out, err = dagy(*args)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_several_flows_are_listed(dagy: Run, folder: Path) -> None:
    (folder / "two.py").write_text(FLOWS + "\n\n@flow\ndef other():\n    return load(1)\n")
    code, _, err = dagy("build", "two.py")
    assert code is ExitCode.USAGE
    assert "two.py:etl" in err
    assert "two.py:other" in err


def built(dagy: Run, *args: str) -> str:
    return dagy("build", "flows.py", *args)[1].splitlines()[-1]


def test_an_artifact_is_inspected_without_being_loaded(dagy: Run, folder: Path) -> None:
    path = built(dagy)
    code, out, _ = dagy("artifact", "inspect", path)
    assert (code, out.splitlines()[0]) == (ExitCode.SUCCESS, "etl 1.0.0")
    assert json.loads(dagy("artifact", "inspect", path, "--format", "json")[1])["entry_point"] == "flows:etl"
    assert (folder / "loaded").read_text() == "x"


def test_a_whole_artifact_verifies_and_a_changed_one_does_not(dagy: Run, folder: Path) -> None:
    path = built(dagy)
    digest = json.loads(dagy("build", "flows.py", "--format", "json")[1])["sha256"]
    code, out, _ = dagy("artifact", "verify", path, "--sha256", digest)
    assert (code, out.splitlines()[0]) == (ExitCode.SUCCESS, f"{path} is whole: 1 file, {len(FLOWS)} bytes")
    assert json.loads(dagy("artifact", "verify", path, "--format", "json")[1])["is_whole"] is True
    assert dagy("artifact", "verify", path, "--sha256", "0" * 64)[0] is ExitCode.GENERAL
    data = bytearray((folder / path).read_bytes())
    data[data.index(b"range(limit)")] ^= 1
    (folder / path).write_bytes(data)
    code, out, err = dagy("artifact", "verify", path)
    assert (code, out) == (ExitCode.GENERAL, "")
    assert "flows.py" in err


def test_two_artifacts_are_compared(dagy: Run, folder: Path) -> None:
    old = built(dagy)
    (folder / "flows.py").write_text(FLOWS.replace("limit: int = 4", "limit: int = 5"))
    os.utime(folder / "flows.py")
    new = built(dagy)
    code, out, _ = dagy("artifact", "diff", old, new)
    assert code is ExitCode.SUCCESS
    assert out.splitlines()[0] == "parameter changed: limit (default)"
    assert "+def etl(limit: int = 5):" in out.splitlines()
    assert len(json.loads(dagy("artifact", "diff", old, new, "--format", "json")[1])["differences"]) == 3
    assert dagy("artifact", "diff", old, old)[1:] == ("", "no difference\n")


def test_quietly_only_the_path_of_the_artifact_is_printed(folder: Path, dagy: Run) -> None:
    code, said, _ = dagy("build", "flows.py", "--quiet")
    assert code == ExitCode.SUCCESS
    assert (folder / said.rstrip("\n")).is_file()


def test_one_output_folder_may_be_written_in_two_ways(folder: Path, dagy: Run) -> None:
    for output_dir in ("dist", "data/../dist", "dist/../dist"):
        code, said, noted = dagy("build", "flows.py", "--output-dir", output_dir)
        assert code == ExitCode.SUCCESS, noted
        assert said.splitlines()[-1].startswith(f"{output_dir}/etl/")
