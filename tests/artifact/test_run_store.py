"""What lies in the store of a run: written once, read from both ends, wherever a writer is."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.outcomes import GONE, Outcome, mapped_outcome, without_upstream
from dagy.artifact.references import Values
from dagy.artifact.run_store import OVERLAP_SECONDS, RunStore
from dagy.errors import StoreError
from dagy.spec import FromTask, TaskSpec
from dagy.states import State, StateType, cancelled, completed, crashed, failed, skipped, timed_out


@pytest.fixture
def url(tmp_path: Path) -> str:
    return tmp_path.as_uri()


@pytest.fixture
def store(url: str) -> RunStore:
    return RunStore(url, "etl-1")


# ---- first writer wins


def test_of_many_that_begin_a_run_at_once_one_does(url: str) -> None:
    gate, won = threading.Barrier(8), list[bool]()

    def begin(number: int) -> None:
        store = RunStore(url, "etl-1")
        gate.wait()
        won.append(store.begin({"by": number}))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(won) == [False] * 7 + [True]


def test_an_outcome_comes_back_as_it_was_and_stays_the_first(store: RunStore) -> None:
    error = {"type": "OSError", "message": "m", "traceback": "t"}
    first = Outcome(failed("OSError: m"), 12.5, 3, error=error)
    assert store.outcome("load", 4) is None
    assert store.keep_outcome("load", first, 4)
    assert not store.keep_outcome("load", Outcome(completed(), 13.0, 1, {"value": 1}), 4)
    assert store.outcome("load", 4) == first
    assert store.outcome("load") is None


def test_who_asks_first_says_why_a_run_is_to_stop(store: RunStore) -> None:
    assert store.early_end() is None
    assert store.note_failure("load")
    end = store.early_end()
    assert end is not None
    assert (end.stop_reason, str(end.never())) == (
        "stopped because 'load' failed", "CANCELLED: not started, because 'load' failed",
    )  # fmt: skip
    assert store.ask_to_stop("by hand")
    assert not store.ask_to_stop("again")
    assert store.stop_reason() == "by hand"
    end = store.early_end()
    assert end is not None
    assert str(end.never(again=True)) == "CANCELLED: by hand"


def test_a_run_and_a_task_with_strange_names_stay_in_the_store(tmp_path: Path) -> None:
    store = RunStore((tmp_path / "store").as_uri(), "../../x")
    store.keep_outcome("../y/z", Outcome(completed(), 1.0, result={"value": 1}))
    store.keep_outcome("../y/z", Outcome(completed(), 1.0, result={"value": 2}), 0)
    store.add_results({"%2E%2E": {"value": 3}})
    assert {each.name for each in tmp_path.iterdir()} == {"store"}
    assert store.results() == ({"../y/z": {"value": 1}, "..": {"value": 3}}, {"../y/z": {0: {"value": 2}}})


# ---- values


def test_a_mapped_result_holds_what_is_small_and_leaves_what_is_large(store: RunStore) -> None:
    items = []
    for number, value in enumerate(["small", "x" * 3_000, "y" * 100_000]):
        carried = store.carried(value, "double", number, called="it")
        items.append(Outcome(completed(), 1.0, 1, carried))
        store.keep_outcome("double", items[-1], number)
    whole = Outcome(completed(), 2.0, 1, store.mapped_result(items))
    assert len(json.dumps(whole.to_json())) < 1_000
    assert store.value_of("double", whole) == ["small", "x" * 3_000, "y" * 100_000]


def test_what_is_kept_twice_is_kept_apart(store: RunStore) -> None:
    first, second = (store.carried("x" * 100_000 + end, "load", called="it") for end in "ab")
    assert store.values.opened(first) == "x" * 100_000 + "a"
    assert store.values.opened(second) == "x" * 100_000 + "b"


# ---- events


def test_batches_come_in_the_order_of_their_writing(store: RunStore, url: str) -> None:
    other = RunStore(url, "etl-1")
    for number in range(6):
        (store, other)[number % 2].add_events([{"kind": "run", "seq": 9, "number": number}])
    found = list(store.events())
    assert [batch for _, batch in found] == [[{"kind": "run", "number": number}] for number in range(6)]
    assert list(store.event_keys(found[3][0])) == [key for key, _ in found[4:]]


def test_a_batch_that_is_seen_late_is_not_missed(store: RunStore, tmp_path: Path) -> None:
    store.add_events([{"kind": "run"}])
    ((key, _),) = store.events()
    late = f"{int(key[:20]) - 5 * 10**9:020d}-late-000000"
    (tmp_path / "etl-1" / "events" / late).write_text('[{"kind": "late"}]')
    assert list(store.events(key, {key})) == [(late, [{"kind": "late"}])]
    assert list(store.events(f"{int(key[:20]) + (OVERLAP_SECONDS + 1) * 10**9:020d}", ())) == []


def test_a_damaged_document_is_named(store: RunStore, tmp_path: Path) -> None:
    store.begin({})
    (tmp_path / "etl-1" / "begun.json").write_text("{")
    with pytest.raises(StoreError, match=r"'begun\.json' of run 'etl-1' is damaged"):
        store.begun()


def test_the_store_may_be_one_that_is_at_hand(tmp_path: Path, url: str) -> None:
    values = Values(url)
    RunStore(values, "etl-1").begin({"by": "me"})
    begun = RunStore(Values("s3://elsewhere/runs", values.store), "etl-1").begun()
    assert begun is not None
    assert (begun["by"], begun["run_id"]) == ("me", "etl-1")


# ---- what follows from outcomes


@pytest.mark.parametrize(
    ("upstream", "state"),
    [
        ({"a": Outcome(completed(), 1.0)}, None),
        ({"a": Outcome(failed("x"), 1.0)}, skipped("not started, because 'a' failed")),
        ({"a": Outcome(timed_out("x"), 2.0), "b": Outcome(crashed("x"), 1.0)},
         skipped("not started, because 'b' crashed")),
        ({"a": None}, skipped("not started, because 'a' crashed")),
        ({"a": Outcome(skipped("because of z"), 1.0, cause="z")}, skipped("because of z")),
        ({"a": Outcome(cancelled("no time"), 1.0)}, cancelled("not started, because 'a' was not")),
        ({"a": Outcome(skipped("no files"), 1.0)}, skipped("not started, because 'a' was skipped")),
        ({"c": Outcome(skipped("no files"), 1.0)}, None),  # it can do without
        ({"a": Outcome(completed(), 1.0), "c": Outcome(skipped("no files"), 2.0)}, None),
        ({"a": Outcome(skipped("no files"), 1.0), "b": Outcome(failed("x"), 2.0)},
         skipped("not started, because 'b' failed")),
    ],
)  # fmt: skip
def test_what_is_missing_upstream_says_how_a_task_ends(upstream: dict[str, Any], state: State | None) -> None:
    inputs = {name: FromTask(name) for name in "abcd"}
    found = without_upstream(TaskSpec("t", "t", "m:t", inputs, optional=("c", "d")), upstream, 9.0)
    assert (None if found is None else found.state) == state


@pytest.mark.parametrize(
    ("items", "stopped", "state"),
    [
        ([completed(), completed()], None, completed()),
        ([], None, completed()),
        ([completed(), failed("x")], None, failed("1 of 2 items failed; m[1] failed: x")),
        ([None, completed()], None, failed(f"1 of 2 items failed; m[0] crashed: {GONE}")),
        ([None, completed()], cancelled("by hand"), cancelled("by hand")),
        ([completed(), completed()], cancelled("by hand"), completed()),
        ([completed(), skipped("empty")], None, completed()),
        ([cancelled("no time"), completed()], None, cancelled("no time")),
    ],
)  # fmt: skip
def test_how_a_mapped_task_ends_follows_from_its_items(
    items: list[State | None], stopped: State | None, state: State
) -> None:
    outcomes = [None if each is None else Outcome(each, float(number)) for number, each in enumerate(items)]
    assert mapped_outcome("m", outcomes, stopped, 9.0).state == state


@pytest.mark.parametrize("data", [{}, {"state": "WELL", "at": 1.0, "attempt": 1}, []])
def test_what_is_no_outcome_is_refused(data: Any) -> None:
    with pytest.raises(StoreError, match="is not how a task ended"):
        Outcome.from_json(data)


def test_every_final_state_is_one_that_an_outcome_can_have() -> None:
    for kind in StateType:
        outcome = Outcome(State(kind, "m"), 1.0, 2)
        assert Outcome.from_json(outcome.to_json()) == outcome
