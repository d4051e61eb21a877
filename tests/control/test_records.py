"""Records as JSON and back, and what may name a thing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dagy.control import (
    Claim,
    Deployment,
    NewKey,
    Page,
    Report,
    RunInfo,
    Timing,
    from_json,
    to_json,
)
from dagy.control.names import checked_namespace, split_reference
from dagy.control.records import KeyInfo, version_label
from dagy.errors import ParameterError
from dagy.states import StateType

NOW = datetime(2026, 1, 31, 14, 25, 0, 1, tzinfo=UTC)
RUN = RunInfo(
    "etl-1", "team", "etl", "etl", "latest", 1, "c" * 64, "a" * 64, {"limit": [1, None]}, StateType.RUNNING,
    "half \ud83d", {"team": "a"}, "schedule", "schedule-1", NOW, None, NOW, NOW, None, "worker", 1, None,
    {StateType.COMPLETED: 2}, {"rows": 3}, True,
)  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        RUN,
        Claim(RUN, 3, NOW),
        Report(({"kind": "run", "seq": 0},), StateType.FAILED, "it failed"),
        Timing("interval", interval_seconds=90.5, start_at=NOW, timezone="Europe/Berlin", catchup="all"),
        NewKey(KeyInfo("key-1", "ci", "dagy_sk_abc", ("flows.read",), NOW, None, None), "dagy_sk_abcdef"),
        Deployment("", "etl", "etl", "latest", 1, "c", "a", {}, {}, NOW, NOW),
        Deployment("", "etl", "etl", "latest", 1, "c", "a", {}, {}, NOW, NOW, "lambda", {"subnets": ["a"], "n": 1}),
        replace(RUN, executor="ecs", resources={"cluster": "dagy"}, resumes="etl-0"),
    ],
)
def test_a_record_comes_back_from_json_as_it_was(record: object) -> None:
    text = json.dumps(to_json(record))
    assert from_json(type(record), json.loads(text)) == record


def test_times_are_in_utc_whatever_zone_they_were_in() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    assert to_json([elsewhere]) == ["2026-01-31T14:25:00.000001+00:00"]
    assert to_json(Page((RUN,), "etl-1"))["next"] == "etl-1"


def test_a_field_that_a_newer_dagy_has_added_is_passed_over() -> None:
    assert from_json(Timing, {"mode": "manual", "since_then": 1}) == Timing("manual")


def test_a_page_is_a_sequence_of_its_items() -> None:
    page = Page(("a", "b", "c"), "c")
    assert (page[0], page[-1], page[1:], len(page), list(page)) == ("a", "c", ("b", "c"), 3, ["a", "b", "c"])


def test_json_that_is_no_record_is_refused_by_the_field() -> None:
    with pytest.raises(ParameterError, match=r"this is no RunInfo: run_id: Field required"):
        from_json(RunInfo, {})
    with pytest.raises(ParameterError, match=r"this is no Timing: catchup:"):
        from_json(Timing, {"mode": "cron", "catchup": "some"})


def test_a_version_is_told_with_its_revision_where_it_alone_does_not_tell() -> None:
    assert [version_label(*each) for each in (("1.0.0", 1), ("1.0.0", 2), ("latest", 1))] == [
        "1.0.0",
        "1.0.0 (revision 2)",
        "latest (revision 1)",
    ]
    assert RUN.label == "latest (revision 1)"
    assert RUN.reference == "team/etl"


def test_a_secret_is_in_no_repr() -> None:
    assert "abcdef" not in repr(NewKey(KeyInfo("key-1", "ci", "dagy_sk_", (), NOW, None, None), "dagy_sk_abcdef"))


def test_a_reference_is_a_name_with_its_namespace_before_it() -> None:
    assert split_reference("etl") == (None, "etl")
    assert split_reference("team/project/etl") == ("team/project", "etl")
    for wrong in ("team/", "team//etl", "../etl", "./etl", "/etl/"):
        with pytest.raises(ParameterError):
            split_reference(wrong)
    for wrong in ("a/", "/a", "a//b", "a/../b", " ", math.nan):
        with pytest.raises(ParameterError):
            checked_namespace(wrong)
