"""Results kept across runs: what is found again, what is not, and why not."""

from __future__ import annotations

import logging
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dagy.errors import UnknownTaskError
from dagy.parameters import Parameters
from dagy.program import TaskCode
from dagy.runs.cache import INLINE_LIMIT, ROW_COST, LocalCache
from dagy.spec import TaskOptions, TaskSpec

SCALE = 2


def load(path: str, limit: int = 3) -> object:
    return path * limit


def scaled(rows: object) -> object:
    return rows, SCALE


def numbers() -> Iterator[int]:
    yield 1


class Clock:
    """Shows what it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


CACHES: list[LocalCache] = []  # those of the test that runs


class Calls:
    """Calls through a new cache in one folder, as so many runs would make them; each `clock` tick is a second."""

    def __init__(self, folder: Path, limit: int = 10**9) -> None:
        self.folder = folder
        self.limit = limit
        self.clock = Clock()

    def cache(self) -> LocalCache:
        CACHES.append(LocalCache(self.folder, limit=self.limit, clock=self.clock))
        return CACHES[-1]

    def look_up(self, function: Callable[..., object], *, cache: bool | float = True, **inputs: Any) -> Any:
        self.clock.now += 1
        name = function.__name__
        spec = TaskSpec(name, name, f"tests:{name}", options=TaskOptions(cache=cache))
        return self.cache().look_up(spec, TaskCode(function, Parameters(function, of=name)), inputs)

    def keep(self, function: Callable[..., object], value: object, **inputs: Any) -> None:
        entry = self.look_up(function, **inputs)
        assert entry.found is None
        entry.keep(value)

    def found(self, function: Callable[..., object], *, cache: bool | float = True, **inputs: Any) -> object:
        entry = self.look_up(function, cache=cache, **inputs)
        return "nothing" if entry.found is None else entry.found.value()

    def files(self) -> list[Path]:
        return [each for each in (self.folder / "cache").iterdir() if each.name != "key"]


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path / "local")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while CACHES:
        CACHES.pop().close()


LARGE = list(range(INLINE_LIMIT))


@pytest.mark.parametrize("value", [None, {"a": 1}, (1, {2}), LARGE, Path("a")], ids=lambda each: type(each).__name__)
def test_what_was_kept_is_found_by_the_next_run(calls: Calls, value: object) -> None:
    calls.keep(load, value, path="a.csv")
    found = calls.found(load, path="a.csv")
    assert found == value
    assert type(found) is type(value)


def test_an_entry_that_is_found_says_since_when(calls: Calls) -> None:
    calls.keep(load, 1, path="a.csv")
    assert calls.look_up(load, path="a.csv").note.startswith("cached since 1970-01-1")


def test_other_inputs_are_another_call(calls: Calls) -> None:
    calls.keep(load, 1, path="a.csv")
    assert calls.found(load, path="b.csv") == "nothing"
    assert calls.found(load, path="a.csv", limit=3) == "nothing"
    assert calls.found(scaled, rows="a.csv") == "nothing"


def test_the_order_in_which_inputs_are_given_does_not_matter(calls: Calls) -> None:
    calls.keep(load, 1, path="a.csv", limit=2)
    assert calls.found(load, limit=2, path="a.csv") == 1


def test_changed_code_is_another_call(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    calls.keep(scaled, 1, rows=[1])
    monkeypatch.setitem(globals(), "SCALE", 3)
    assert calls.found(scaled, rows=[1]) == "nothing"
    monkeypatch.setitem(globals(), "SCALE", 2)
    assert calls.found(scaled, rows=[1]) == 1


def test_the_code_is_told_apart_once_a_run(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = calls.cache()
    spec, code = TaskSpec("s", "s", "s", options=TaskOptions(cache=True)), TaskCode(scaled, Parameters(scaled, of="s"))
    cache.look_up(spec, code, {"rows": 1}).keep("kept")
    monkeypatch.setitem(globals(), "SCALE", 3)
    found = cache.look_up(spec, code, {"rows": 1}).found
    assert found is not None
    assert found.value() == "kept"


def test_a_result_serves_only_as_long_as_the_task_says(calls: Calls) -> None:
    calls.keep(load, 1, path="a.csv")
    calls.clock.now += 58
    assert calls.found(load, cache=60.0, path="a.csv") == 1
    calls.clock.now += 1
    assert calls.found(load, cache=60.0, path="a.csv") == "nothing"
    assert calls.found(load, cache=True, path="a.csv") == 1
    difference = calls.cache().why("load")
    assert difference is not None
    assert difference.reasons == ("the same call was kept 61 s ago, and the task's results may be 60 s old",)


def test_a_clock_that_was_set_back_makes_nothing_last(calls: Calls) -> None:
    calls.keep(load, 1, path="a.csv")
    calls.clock.now -= 1_000
    assert calls.found(load, cache=60.0, path="a.csv") == "nothing"


def test_the_last_result_wins(calls: Calls) -> None:
    one, other = calls.look_up(load, path="a"), calls.look_up(load, path="a")
    one.keep(LARGE)
    other.keep([*LARGE, 1])
    assert calls.found(load, path="a") == [*LARGE, 1]
    assert len(calls.files()) == 1


def test_the_results_that_were_not_used_for_the_longest_time_are_let_go(tmp_path: Path) -> None:
    arrays = {name: np.full(1_000_000, number, "u1") for number, name in enumerate("abcd")}
    calls = Calls(tmp_path, limit=3 * (1_000_000 + ROW_COST + 128))
    for name in "abc":
        calls.keep(load, arrays[name], path=name)
    calls.look_up(load, path="a")
    calls.keep(load, arrays["d"], path="d")
    assert [name for name in "abcd" if calls.look_up(load, path=name).found is not None] == ["a", "c", "d"]
    assert len(calls.files()) == 3


def test_small_results_are_let_go_too(tmp_path: Path) -> None:
    calls = Calls(tmp_path, limit=10 * (ROW_COST + 1))
    for number in range(15):
        calls.keep(load, 1, path=str(number))
    assert calls.cache().kept()[0].results == 10


@pytest.mark.parametrize(("limit", "is_kept"), [(INLINE_LIMIT + 128, True), (INLINE_LIMIT + 127, False)])
def test_a_result_larger_than_the_cache_is_not_kept(
    tmp_path: Path, limit: int, is_kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(tmp_path, limit)
    calls.keep(load, np.zeros(INLINE_LIMIT, "u1"), path="a")
    assert ("are more than the" not in caplog.text) is is_kept


def test_a_file_that_is_gone_or_damaged_is_computed_again(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    for damage in (Path.unlink, lambda path: path.write_bytes(b"["), lambda path: path.write_bytes(b"")):
        calls.keep(load, LARGE, path="a.csv")
        (path,) = calls.files()
        damage(path)
        caplog.clear()
        assert calls.found(load, path="a.csv") == "nothing"
        assert "can't be read from the cache" in caplog.text
        assert calls.files() == []
        assert calls.cache().kept() == ()


MARKS: list[str] = []


class Mark:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return leave_mark, ("unpickled",)


def leave_mark(text: str) -> None:
    MARKS.append(text)


def test_nothing_is_unpickled_that_was_not_kept_here(calls: Calls, tmp_path: Path) -> None:
    calls.keep(load, (LARGE,), path="a.csv")
    (path,) = calls.files()
    path.write_bytes(pickle.dumps(Mark()))
    assert calls.found(load, path="a.csv") == "nothing"
    other = Calls(tmp_path / "other")
    other.keep(load, (1,), path="a.csv")
    with sqlite3.connect(calls.folder / "cache.db") as db:
        db.execute("ATTACH ? AS other", (str(other.folder / "cache.db"),))
        db.execute("INSERT INTO results SELECT * FROM other.results")
    db.close()
    assert calls.found(load, path="a.csv") == "nothing"
    assert MARKS == []


def test_what_is_kept_is_for_the_users_eyes_only(calls: Calls) -> None:
    calls.keep(load, LARGE, path="a.csv")
    modes = {
        each.relative_to(calls.folder).parts[-1]: stat.S_IMODE(each.stat().st_mode)
        for each in (calls.folder, calls.folder / "cache", calls.folder / "cache" / "key", calls.folder / "cache.db")
        if each != calls.folder
    }
    assert modes == {"cache": 0o700, "key": 0o600, "cache.db": 0o600}
    assert stat.S_IMODE(calls.folder.stat().st_mode) == 0o700


def test_a_value_that_can_not_be_kept_is_logged_once_and_told(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    cache = calls.cache()
    spec, code = TaskSpec("n", "n", "n", options=TaskOptions(cache=True)), TaskCode(load, Parameters(load, of="n"))
    for number in range(3):
        cache.look_up(spec, code, {"path": str(number)}).keep({"rows": numbers()})
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    difference = cache.why("n")
    assert difference is not None
    assert difference.reasons[0].startswith("result['rows'] is a generator")


def test_an_input_without_a_lasting_identity_is_told(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    entry = calls.look_up(load, path=[1, threading.Lock()])
    entry.keep(1)
    assert entry.found is None
    assert "the result of task 'load' is not cached: input 'path'[1] is a _thread.lock" in caplog.text
    difference = calls.cache().why("load")
    assert difference is not None
    assert difference.reasons[0].startswith("input 'path'[1] is a _thread.lock, which has no lasting identity")


def test_inputs_that_are_functions_count_by_their_code(calls: Calls) -> None:
    def made(factor: int) -> Callable[[int], int]:
        return lambda value: value * factor

    calls.keep(load, 1, path=made(2))
    assert calls.found(load, path=made(2)) == 1
    assert calls.found(load, path=made(3)) == "nothing"


def test_the_run_goes_on_without_a_cache_that_can_not_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    calls = Calls(tmp_path / "file" / "folder")
    entry = calls.look_up(load, path="a")
    entry.keep(1)
    assert entry.found is None
    assert entry.note == ""
    assert "the cache can't be used: the folder" in caplog.text


def test_a_damaged_cache_is_told_and_can_be_cleared(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    calls.keep(load, LARGE, path="a")
    for each in calls.folder.glob("cache.db*"):
        each.write_bytes(b"no database at all" * 1000)
    calls.look_up(load, path="a").keep(1)
    assert "(file is not a database); nothing was changed. Clear it with: dagy cache clear" in caplog.text
    calls.cache().clear()
    assert calls.files() == []
    calls.keep(load, 1, path="a")
    assert calls.found(load, path="a") == 1


def test_looking_makes_nothing(calls: Calls) -> None:
    cache = calls.cache()
    assert cache.kept() == ()
    assert cache.clear() == 0
    with pytest.raises(UnknownTaskError):
        cache.why("load")
    assert not calls.folder.exists()


def test_what_there_is_of_each_task_is_listed(calls: Calls) -> None:
    calls.keep(load, LARGE, path="a")
    calls.keep(load, 1, path="b")
    calls.keep(scaled, 1, rows=1)
    calls.found(load, path="b")
    calls.found(load, path="b")
    first, second = calls.cache().kept()
    assert (first.task, first.results, first.hits) == ("load", 2, 2)
    assert first.size > INLINE_LIMIT
    assert second == ("scaled", 1, 0, 1, calls.clock.now - 2)


def test_clearing_lets_go_of_one_tasks_results_or_of_all(calls: Calls) -> None:
    calls.keep(load, LARGE, path="a")
    calls.keep(scaled, LARGE, rows=1)
    assert calls.cache().clear("load") == 1
    assert calls.found(load, path="a") == "nothing"
    assert calls.found(scaled, rows=1) == LARGE
    with pytest.raises(UnknownTaskError, match="did you mean 'scaled'"):
        calls.cache().clear("scale")
    assert calls.cache().clear() == 1
    assert calls.files() == []


def why(calls: Calls, task: str) -> tuple[str, ...]:
    difference = calls.cache().why(task)
    assert difference is not None
    return difference.reasons


def test_why_names_the_input_that_was_another(calls: Calls) -> None:
    calls.keep(load, 1, path="a.csv", limit=1)
    calls.keep(load, 1, path="b.csv")
    assert why(calls, "load") == ("input 'path' was 'a.csv', is 'b.csv'", "input 'limit' was 1, is not given")
    calls.keep(scaled, 1, rows=np.zeros(3))
    calls.look_up(scaled, rows=np.ones(3))
    assert why(calls, "scaled") == ("input 'rows' is a numpy.ndarray of other content",)


def test_why_names_what_changed_in_the_code(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    calls.keep(scaled, 1, rows=1)
    monkeypatch.setitem(globals(), "SCALE", 3)
    calls.look_up(scaled, rows=1)
    assert why(calls, "scaled") == ("constant SCALE was 2, is 3",)


def test_why_compares_with_the_result_that_is_most_alike(calls: Calls) -> None:
    calls.keep(load, 1, path="b", limit=5)
    calls.keep(load, 1, path="a", limit=1)
    calls.keep(load, 1, path="c", limit=2)
    calls.look_up(load, path="b", limit=6)
    assert why(calls, "load") == ("input 'limit' was 5, is 6",)


def test_why_says_when_there_was_nothing_before(calls: Calls) -> None:
    calls.look_up(load, path="a")
    assert why(calls, "load") == ("nothing that it returned before was kept",)


def test_names_that_the_database_can_not_hold_as_text_are_kept(calls: Calls) -> None:
    function = replace(TaskSpec("x", "\ud800\x00", "x"), options=TaskOptions(cache=True))
    code = TaskCode(load, Parameters(load, of="x"))
    calls.cache().look_up(function, code, {"path": "\ud800"}).keep("\ud800")
    found = calls.cache().look_up(function, code, {"path": "\ud800"}).found
    assert found is not None
    assert found.value() == "\ud800"
    assert calls.cache().kept()[0].task == "\ud800\x00"


def test_many_threads_may_share_it(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    cache = calls.cache()
    spec, code = TaskSpec("n", "n", "n", options=TaskOptions(cache=True)), TaskCode(load, Parameters(load, of="n"))

    def use(number: int) -> None:
        for each in range(20):
            cache.look_up(spec, code, {"path": str(each)}).keep([each] * 6_000)
            found = cache.look_up(spec, code, {"path": str(each)}).found
            assert found is not None
            assert found.value() == [each] * 6_000

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert cache.kept()[0].results == 20
    assert len(calls.files()) == 20
    assert caplog.record_tuples == []


PROGRAM = """
import logging, sys
from pathlib import Path
from dagy.parameters import Parameters
from dagy.program import TaskCode
from dagy.runs.cache import LocalCache
from dagy.spec import TaskOptions, TaskSpec
logging.basicConfig()
def load(path): pass
cache = LocalCache(Path(sys.argv[1]))
spec, code = TaskSpec("n", "n", "n", options=TaskOptions(cache=True)), TaskCode(load, Parameters(load, of="n"))
sys.stdin.read()
for each in range(25):
    entry = cache.look_up(spec, code, {"path": each})
    entry.keep([each] * 6_000)
    assert cache.look_up(spec, code, {"path": each}).found.value() == [each] * 6_000
"""


def test_many_processes_may_keep_the_same_at_once(calls: Calls) -> None:
    command = [sys.executable, "-c", PROGRAM, str(calls.folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, **pipes, text=True) for _ in range(3)]  # type: ignore[call-overload]  # pipes
    for each in processes:
        assert each.stdin is not None
        each.stdin.close()  # go
        each.stdin = None
    assert [each.communicate(timeout=60) for each in processes] == [("", "")] * 3
    assert calls.cache().kept()[0].results == 25
    assert len(calls.files()) == 25


def test_a_child_that_is_forked_has_a_handle_of_its_own(calls: Calls) -> None:
    cache = calls.cache()
    spec, code = TaskSpec("n", "n", "n", options=TaskOptions(cache=True)), TaskCode(load, Parameters(load, of="n"))
    cache.look_up(spec, code, {"path": "a"}).keep(1)
    assert cache._database is not None
    cache._database._pid = 0  # as a child sees it
    found = cache.look_up(spec, code, {"path": "a"}).found
    assert found is not None
    assert found.value() == 1


def test_sqlite_never_copies_the_log_of_the_cache_by_itself(calls: Calls) -> None:
    with calls.cache() as cache, cache._writing() as db:
        assert db.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_a_cache_of_another_dagy_is_left_alone(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    calls.keep(load, 1, path="a")
    with sqlite3.connect(calls.folder / "cache.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with caplog.at_level(logging.WARNING):
        assert calls.found(load, path="a") == "nothing"
    assert "was made by a newer dagy" in caplog.text
