from __future__ import annotations

import io
import json
import math
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from dagy.cli.formats import cut, facts, plain, show, table
from dagy.control import Timing
from dagy.states import StateType

HEADS = ("NAME", "WHAT")
ROWS = [("a", "one"), ("longer", "\x1b[2Jtwo\nlines")]


def set_terminal(monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> None:
    """Let stdout be a terminal of 80 columns. In the test's body: pytest gives each of its phases another stdout."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", stream)


def config(text: str) -> None:
    folder = Path(os.environ["DAGY_LOCAL_DIR"])
    folder.mkdir()
    (folder / "config.yaml").write_text(text)


def test_a_table_in_a_file_is_plain_columns() -> None:
    head, *rows = table(HEADS, ROWS).splitlines()
    assert head.split() == ["NAME", "WHAT"]
    assert [row.split()[0] for row in rows] == ["a", "longer"]
    assert {line.index(word) for line, word in ((head, "WHAT"), (rows[0], "one"))} == {head.index("WHAT")}


def test_a_cell_is_one_line_that_moves_no_cursor() -> None:
    assert "longer  ␛[2Jtwo␊lines" in table(HEADS, ROWS)


def test_a_table_on_a_terminal_has_the_profiles_format(monkeypatch: pytest.MonkeyPatch) -> None:
    set_terminal(monkeypatch)
    assert table(HEADS, ROWS).startswith("┏━")
    config("default_profile: b\nprofiles:\n  a: {table_format: github}\n  b: {table_format: pipe}")
    assert table(HEADS, ROWS).startswith("| NAME")
    assert "|:--" in table(HEADS, ROWS)
    assert "|:--" not in table(HEADS, ROWS, profile="a")


@pytest.mark.parametrize("text", ["profiles: [", "profiles:\n  a: {table_format: fancy}"])
def test_a_profile_that_is_wrong_keeps_no_table_back(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_terminal(monkeypatch)
    config(text)
    assert table(HEADS, ROWS).startswith("┏━")
    assert "note: " in capsys.readouterr().err


def test_a_table_that_is_too_wide_is_shown_plainer(monkeypatch: pytest.MonkeyPatch) -> None:
    set_terminal(monkeypatch)
    rows = [("x" * 8, "y" * 8)]
    shown = {}
    for columns in (80, 22, 12):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown[columns] = table(HEADS, rows)
    assert shown[80].startswith("┏")
    assert shown[22].splitlines()[1] == "xxxxxxxx  yyyyyyyy"
    assert shown[12] == "NAME  xxxxxxxx\nWHAT  yyyyyyyy"


def test_a_terminal_that_can_not_show_the_lines_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    set_terminal(monkeypatch, "ascii")
    assert table(HEADS, ROWS).startswith("+--")


def test_json_and_yaml_are_whole_whatever_they_hold(capsys: pytest.CaptureFixture[str]) -> None:
    data = {
        "state": StateType.FAILED,
        "states": {StateType.FAILED: 1},
        "at": datetime(2026, 1, 31, 14, tzinfo=UTC),
        "path": Path("a") / "b",
        "numbers": [1.5, math.nan, -math.inf],
        "text": "ü\x1b[2J\u202e\ud800 yes",
        "timing": Timing("cron", cron="0 6 * * *"),
    }
    expected = {
        "state": "FAILED",
        "states": {"FAILED": 1},
        "at": "2026-01-31T14:00:00+00:00",
        "path": "a/b",
        "numbers": [1.5, None, None],
        "text": "ü\x1b[2J\u202e\ud800 yes",
        "timing": plain(Timing("cron", cron="0 6 * * *")),
    }
    show("json", data, lambda: "never")
    out = capsys.readouterr().out
    assert (json.loads(out), out.isascii()) == (expected, True)
    show("yaml", data, lambda: "never")
    out = capsys.readouterr().out
    assert (yaml.safe_load(out), out.isascii()) == (
        expected | {"text": "ü\x1b[2J\u202e\ufffd yes"},
        True,
    )  # YAML has no \ud800


def test_facts_stand_below_one_another_and_a_name_is_said_once() -> None:
    assert facts([("run", "x"), ("given", "a = 1"), ("given", "b = \n2")]) == "run    x\ngiven  a = 1\n       b = ␊2"


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert (cut("abcd", 4), cut("abcde", 4)) == ("abcd", "abc…")
