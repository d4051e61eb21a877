"""What is offered at the cursor of a line of ours, and that other lines are left to others."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from dagy_nb.completion import Completions, Known, complete

KNOWN = Known(
    flows=lambda: ["weekly", "daily"],
    tasks=lambda: ["load", "total"],
    parameters=lambda flow: ["n", "day"] if flow in (None, "weekly") else [],
    runs=lambda: ["weekly-20260101-a1", "daily-20260102-b2"],
    deployments=lambda: ["morning", "evening"],
    nodes=lambda: ["read_csv", "read_sql", "filter"],
)


def at_end(source: str) -> Completions | None:
    """What is offered at the end of the cell."""
    lines = source.split("\n")
    return complete(source, len(lines) - 1, len(lines[-1]), KNOWN)


@pytest.mark.parametrize(
    ("source", "fragment", "texts"),
    [
        ("%%dagy_task --re", "--re", ("--retries", "--retry-delay", "--retry-jitter")),
        ("%dagy_task load --timeo", "--timeo", ("--timeout",)),
        ("#| dagy_task --concu", "--concu", ("--concurrency",)),
        ("%%dagy_flow --v", "--v", ("--version",)),
        ("\n\n%%dagy_task --timeo", "--timeo", ("--timeout",)),
        ("%%dagy_task --isolation ", "", ("thread", "process")),
        ("%%dagy_task --isolation p", "p", ("process",)),
        ("%%dagy_task --isolation=t", "t", ("thread",)),
        ("%%dagy_task --cache --timeo", "--timeo", ("--timeout",)),
        ("%dagy_run ", "", ("weekly", "daily")),
        ("%dagy_run w", "w", ("weekly",)),
        ("run = %dagy_run d", "d", ("daily",)),
        ("x = 1\n    %dagy_dag ", "", ("weekly", "daily")),
        ("%dagy_run weekly -p ", "", ("n=", "day=")),
        ("%dagy_run weekly --param d", "d", ("day=",)),
        ("%dagy_run --param=n", "n", ("n=",)),
        ("%dagy_run daily --param ", "", ()),
        ("%dagy_run --param 'a b=c d' --back", "--back", ("--background",)),
        ("%dagy_run --isolation ", "", ("thread", "process")),
        ("%dagy_run --resume we", "we", ("weekly-20260101-a1",)),
        ("%dagy_run --max-workers ", "", ()),
        ("%dagy_logs ", "", ("weekly-20260101-a1", "daily-20260102-b2")),
        ("%dagy_logs --task ", "", ("load", "total")),
        ("%dagy_logs -t lo", "lo", ("load",)),
        ("%dagy_load t", "t", ("total",)),
        ("%dagy_reset l", "l", ("load",)),
        ("%dagy_check --", "--", ("--help",)),
        ("%%dagy_node clean --des", "--des", ("--description",)),
        ("#| dagy_node clean --category c", "c", ("convert", "control", "code", "custom")),
        ("%%dagy_node n --config a=1 --con", "--con", ("--config",)),
        ("%dagy_nodes read", "read", ("read_csv", "read_sql")),
        ("%dagy_nodes --gives data", "data", ("dataframe",)),
        ("%dagy_nodes filter --fo", "--fo", ("--form",)),
        ("%dagy_run --deployment ", "", ("morning", "evening")),
        ("%dagy_run --deployment=m", "m", ("morning",)),
        ("%dagy_deploy weekly --name e", "e", ("evening",)),
        ("%dagy_deploy weekly --tag a=b --ta", "--ta", ("--tag", "--target")),
        ("%dagy_deploy --target lambda", "lambda", ("lambda", "lambda-arm64")),
        ("%dagy_watch we", "we", ("weekly-20260101-a1",)),
        ("%dagy_cancel d", "d", ("daily-20260102-b2",)),
    ],
)
def test_what_may_come_next_is_offered(source: str, fragment: str, texts: tuple[str, ...]) -> None:
    assert at_end(source) == Completions(fragment, texts)


def test_an_option_is_offered_once_but_one_that_may_be_repeated() -> None:
    found = at_end("%dagy_run --background -p n=1 --param day=2 --")
    assert found is not None
    assert "--background" not in found.texts
    assert {"--param", "--form", "--again", "--fresh"} <= set(found.texts)


def test_only_what_stands_before_the_cursor_counts() -> None:
    assert complete("%dagy_run weekly --background", 0, len("%dagy_run we"), KNOWN) == Completions("we", ("weekly",))


@pytest.mark.parametrize(
    "source",
    [
        "", "pri", "dagy_run ", "%time ", "%dagy_ru", "%%dagy_task\ndef f():\n    pri", "x = 1\n%%dagy_task --re",
        "# %dagy_run ", "%dagy_export ", "%dagy_build -o ", "%dagy_run -p n={va", "%%dagy_task --description 'a",
        "%%dagy_task na", "%dagy_nosuch ", "%%dagy_taskx --re",
    ],
)  # fmt: skip
def test_other_lines_and_free_text_are_left_to_others(source: str) -> None:
    assert at_end(source) is None


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_no_text_is_an_error(text: str, column: int) -> None:
    for start in ("%%dagy_task ", "%dagy_run ", "#| dagy_flow ", ""):
        source = start + text
        for line in range(source.count("\n") + 1):
            complete(source, line, column, KNOWN)
