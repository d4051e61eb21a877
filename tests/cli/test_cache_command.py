"""`dagy cache`: what it prints, and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagy.cli import app
from dagy.cli.app import ExitCode
from dagy.parameters import Parameters
from dagy.program import TaskCode
from dagy.runs.cache import LocalCache
from dagy.spec import TaskOptions, TaskSpec


def load(path: str) -> str:
    return path


def call(path: object, value: object = None) -> None:
    spec = TaskSpec("load", "load", "tests:load", options=TaskOptions(cache=True))
    cache = LocalCache(Path(os.environ["DAGY_LOCAL_DIR"]))
    cache.look_up(spec, TaskCode(load, Parameters(load, of="load")), {"path": path}).keep(value)
    cache.close()


def test_list_shows_what_there_is_of_each_task(capsys: pytest.CaptureFixture[str]) -> None:
    call("a.csv", "x" * 5_000)
    call("a.csv")
    call("b.csv", 1)
    assert app.run(["cache", "list"]) is ExitCode.SUCCESS
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["TASK", "RESULTS", "HITS", "SIZE", "NEWEST"]
    assert line.split()[:5] == ["load", "2", "1", "5.0", "kB"]
    assert line.endswith("  just now")


def test_an_empty_cache_says_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["cache", "list"]) is ExitCode.SUCCESS
    said = capsys.readouterr()
    assert said.out == ""
    assert "@task(cache=True) keeps a task's results" in said.err


def test_why_says_what_was_another(capsys: pytest.CaptureFixture[str]) -> None:
    call("a.csv", 1)
    call("b.csv", 1)
    assert app.run(["cache", "why", "load"]) is ExitCode.SUCCESS
    head, reason = capsys.readouterr().out.splitlines()
    assert head.startswith("task 'load' was not found in the cache ")
    assert reason == "  input 'path' was 'a.csv', is 'b.csv'"


def test_why_of_an_unknown_task_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    call("a.csv", 1)
    assert app.run(["cache", "why", "laod"]) is not ExitCode.SUCCESS
    assert "there is no task 'laod' in the cache; did you mean 'load'?" in capsys.readouterr().err


def test_clear_says_how_much_it_removed(capsys: pytest.CaptureFixture[str]) -> None:
    call("a.csv", 1)
    call("b.csv", 1)
    assert app.run(["cache", "clear", "load"]) is ExitCode.SUCCESS
    call("a.csv", 1)
    assert app.run(["cache", "clear"]) is ExitCode.SUCCESS
    assert capsys.readouterr().out.splitlines() == ["removed 2 results", "removed 1 result"]


def test_looking_unpickles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call("a.csv", Bomb())
    assert app.run(["cache", "list"]) is ExitCode.SUCCESS
    call("b.csv", 1)
    assert app.run(["cache", "why", "load"]) is ExitCode.SUCCESS
    assert app.run(["cache", "clear"]) is ExitCode.SUCCESS


class Bomb:
    """Can be kept, and ends the program when it is read."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


def test_why_says_so_when_the_last_call_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    call("a.csv", 1)
    call("a.csv")
    assert app.run(["cache", "why", "load"]) is ExitCode.SUCCESS
    found, last_run, reason = capsys.readouterr().out.splitlines()
    assert found.startswith("task 'load' was taken from the cache ")
    assert last_run.startswith("it was last run ")
    assert reason == "  nothing that it returned before was kept"
