"""What runs on AWS returned is read from their store, and no pickle without trust."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact.run_store import RunStore
from dagy.client import stored_task_results
from dagy.client.runs import KnownRun
from dagy.control import RunInfo
from dagy.errors import ResultGoneError
from dagy.states import StateType

LARGE = ["x" * 1000] * 100


@pytest.fixture
def info(tmp_path: Path) -> RunInfo:
    """A run on AWS that has completed, and whose result was not told with its end."""
    values: dict[str, Any] = {
        "run_id": "etl-1", "namespace": "", "deployment": "etl", "flow_name": "etl", "flow_version": "latest",
        "revision": 1, "code_hash": "", "artifact": "0" * 64, "parameters": {}, "status": StateType.COMPLETED,
        "message": "", "tags": {}, "trigger": "api", "schedule_id": None, "scheduled_for": None,
        "idempotency_key": None, "created_at": datetime.now(UTC), "started_at": None, "ended_at": None, "worker": None,
        "tries": 1, "cancel_reason": None, "tasks": {}, "executor": "lambda",
        "resources": {"region": "us-east-1", "store": tmp_path.as_uri()},
    }  # fmt: skip
    return RunInfo(**values)


@pytest.fixture
def store(info: RunInfo) -> RunStore:
    return RunStore(info.resources["store"], info.run_id)


def answer(store: RunStore, value: object) -> None:
    carried = store.values.carried(value, store.run_id, "result", called="the result")
    store.keep_answer({"state": "COMPLETED", "message": "", "result": carried})


def test_a_large_result_is_read_from_the_store(info: RunInfo, store: RunStore) -> None:
    answer(store, LARGE)
    assert KnownRun(info).result == LARGE


def test_a_pickle_is_read_only_with_trust(info: RunInfo, store: RunStore) -> None:
    answer(store, {Decimal(1): 2})
    with pytest.raises(ResultGoneError, match=r"kept as a pickle.*run.trusted_result\(\)"):
        _ = KnownRun(info).result
    assert KnownRun(info).trusted_result() == {Decimal(1): 2}


def test_a_result_that_is_no_longer_there_is_gone(info: RunInfo) -> None:
    with pytest.raises(ResultGoneError, match="no longer in"):
        _ = KnownRun(info).result


def test_what_tasks_returned_is_read_when_it_is_asked_for(info: RunInfo, store: RunStore) -> None:
    store.add_results({
        each: store.values.carried(value, store.run_id, each, called=each)
        for each, value in {"load": LARGE, "odd": {Decimal(1): 2}}.items()
    })  # fmt: skip
    found = stored_task_results(info, ["load", "odd", "total"])
    assert sorted(found) == ["load", "odd"]
    assert found["load"].value() == LARGE
    assert found["load"].value() is found["load"].value()
    with pytest.raises(ResultGoneError, match="pickle"):
        found["odd"].value()
    assert stored_task_results(info, ["odd"], trusted=True)["odd"].value() == {Decimal(1): 2}
