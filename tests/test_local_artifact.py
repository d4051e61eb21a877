"""A text or a file as a value."""

from __future__ import annotations

import base64
import copy
import hashlib
import pickle
from pathlib import Path

import pytest

from dagy.errors import ParameterError, SettingsError, StoreError, TravelError
from dagy.flows import flow
from dagy.local_artifact import LIMIT_VARIABLE, LocalArtifact
from dagy.runs import History
from dagy.settings import Settings
from dagy.tasks import task
from dagy.values import encode, read

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@task
def report(lines: int) -> LocalArtifact:
    return LocalArtifact.text("row\n" * lines, name="report.txt")


@flow
def reporting(lines: int = 2) -> LocalArtifact:
    return report(lines)


def test_a_text_is_a_file_in_utf_8() -> None:
    found = LocalArtifact.text("Grüße\n", name="greeting.html")
    assert (found.name, found.media_type, found.size) == ("greeting.html", "text/html", 8)
    assert found.read_bytes() == "Grüße\n".encode()
    assert found.read_text() == "Grüße\n"
    assert found.sha256 == hashlib.sha256("Grüße\n".encode()).hexdigest()


def test_a_file_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n")
    found = LocalArtifact.file(path)
    path.unlink()
    assert (found.name, found.media_type, found.read_text()) == ("rows.csv", "text/csv", "a,b\n")


def test_a_file_of_no_known_kind_is_bytes(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"\0")
    assert LocalArtifact.file(tmp_path / "blob").media_type == "application/octet-stream"
    assert LocalArtifact.file(tmp_path / "blob", "x.json", media_type="a/b").media_type == "a/b"


def test_it_is_saved_under_its_own_name_into_a_folder_or_as_a_file(tmp_path: Path) -> None:
    found = LocalArtifact.text("x", name="x.txt")
    assert found.save(tmp_path) == tmp_path / "x.txt"
    assert found.save(tmp_path / "y.txt").read_text() == "x"
    with pytest.raises(StoreError, match="can't be written: No such file or directory"):
        found.save(tmp_path / "no" / "folder")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "..\\b", "a\0b"])
def test_a_name_is_that_of_a_file_without_a_folder(name: str) -> None:
    with pytest.raises(ParameterError, match="the name of a LocalArtifact is that of a file"):
        LocalArtifact.text("x", name=name)


def test_a_path_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.txt", tmp_path, "a\0b"):
        with pytest.raises(StoreError, match="can't be read"):
            LocalArtifact.file(path)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"the text of 'x.txt' must be a str, not bytes"):
        LocalArtifact.text(b"x", name="x.txt")  # type: ignore[arg-type]  # the mistake that is told


def test_more_than_the_limit_is_refused_with_the_variable_that_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "1000")
    (tmp_path / "large.bin").write_bytes(bytes(1_001))
    with pytest.raises(ParameterError, match=rf"large\.bin' has 1,001 bytes.*1,000.*{LIMIT_VARIABLE}"):
        LocalArtifact.file(tmp_path / "large.bin")
    with pytest.raises(ParameterError, match=f"'x.txt' has 1,001 bytes.*{LIMIT_VARIABLE}"):
        LocalArtifact.text("x" * 1_001, name="x.txt")
    assert LocalArtifact.text("x" * 1_000).size == 1_000


def test_the_limit_is_five_mebibytes_where_it_is_not_set() -> None:
    with pytest.raises(ParameterError, match="may have 5,242,880"):
        LocalArtifact.text("x" * 5_242_881)


@pytest.mark.parametrize("value", ["lots", "-1", "1e6", "١"])
def test_a_limit_that_is_no_number_is_told(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, value)
    with pytest.raises(SettingsError, match=LIMIT_VARIABLE):
        LocalArtifact.text("x")


def test_an_endless_file_is_read_up_to_the_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "1000")
    with pytest.raises(ParameterError, match="has 1,001 bytes"):
        LocalArtifact.file("/dev/zero")


def test_it_is_kept_as_itself_and_no_code_is_run_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    value = LocalArtifact("x\n.bin", "text/plain", bytes(range(256)) * 100)
    encoded = encode(value)
    assert encoded.codec == "file"
    monkeypatch.setenv(LIMIT_VARIABLE, "10")  # what is there already is read
    assert read("file", encoded.data) == value


@pytest.mark.parametrize("data", [b"", b"x", b"{}\n", b'{"name": "../x", "media_type": "a"}\n', b"[]\nx"])
def test_what_is_damaged_is_refused(data: bytes) -> None:
    with pytest.raises(TravelError, match="the file can't be read"):
        read("file", data)


def test_it_crosses_processes_inside_other_values_too() -> None:
    value = {"report": [LocalArtifact.text("x", name="x.txt")]}
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    assert encode(value).codec == "pickle"


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_task_returns_one_wherever_it_runs(isolation: str) -> None:
    result = reporting.run_local(isolation=isolation)  # type: ignore[arg-type]  # one of the two
    assert result.value == LocalArtifact.text("row\nrow\n", name="report.txt")


def test_a_recorded_run_gives_it_back() -> None:
    result = reporting.run_local(lines=5_000, record=True)
    with History(Settings.read().local_dir) as history:
        kept = history.results(result.run_id)["report"]
    assert kept.codec == "file"
    assert kept.value() == result.value


def test_its_repr_is_short() -> None:
    assert repr(LocalArtifact.text("x" * 10_000, name="x.txt")) == "LocalArtifact('x.txt', 'text/plain', 10,000 bytes)"


def test_a_notebook_shows_the_beginning_of_a_text_and_nothing_that_acts() -> None:
    shown = LocalArtifact.text("<script>\x1b[2J\u202e" + "x" * 9_000, name="x.html")._repr_mimebundle_()
    assert list(shown) == ["text/plain"]
    head, _, text = shown["text/plain"].partition("\n")
    assert head.startswith("LocalArtifact('x.html'")
    assert text.startswith(r"<script>\x1b[2J\u202exxx")
    assert text.endswith("x\n...")
    assert len(text) < 4_100


def test_a_notebook_shows_an_image_as_one_and_not_a_picture_that_may_hold_a_script(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    shown = LocalArtifact.file(tmp_path / "x.png")._repr_mimebundle_()
    assert base64.b64decode(shown["image/png"]) == PNG
    assert list(LocalArtifact.text("<svg/>", name="x.svg")._repr_mimebundle_()) == ["text/plain"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a\0b", "é".encode("latin-1")])
def test_a_notebook_shows_of_what_is_no_text_only_what_it_is(content: bytes) -> None:
    value = LocalArtifact("x.txt", "text/plain", content)
    assert value._repr_mimebundle_() == {"text/plain": repr(value)}


def test_a_text_that_is_cut_within_a_character_is_still_a_text() -> None:
    value = LocalArtifact.text("a" + "é" * 20_000)
    assert value._repr_mimebundle_()["text/plain"].count("é") == 3_999
