"""`%dagy_plan`: where on AWS a flow would run, shown as a card and as text, with nothing built, called or changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dagy.settings import Settings

from .conftest import NotebookShell

LOAD = "%%dagy_task --timeout 60\ndef load(n: int = 3):\n    return list(range(n))"
TRAIN = "%%dagy_task --executor ecs --timeout 7200\ndef train(rows):\n    return sum(rows)"
ETL = "%%dagy_flow\ndef etl(n: int = 3):\n    return train(load(n))"


@pytest.fixture
def etl(notebook: NotebookShell) -> NotebookShell:
    """A notebook with a flow, of which one task needs a container; it has not run."""
    for cell, source in (("load", LOAD), ("train", TRAIN), ("etl", ETL)):
        notebook.ok(source, cell)
    return notebook


def test_a_plan_says_where_each_task_would_run_why_and_what_it_costs(etl: NotebookShell) -> None:
    route = etl.ok("%dagy_plan", "p").value
    assert route.backend == "step-functions"
    assert {name: each.backend for name, each in route.tasks.items()} == {"load": "lambda", "train": "ecs"}
    html = etl.shell.display_formatter.format(route)[0]["text/html"]
    for told in ("Step Functions", "Lambda", "ECS Fargate", "2 h", "it asks for &#x27;ecs&#x27;", "for 1,000"):
        assert told in html, told


def test_its_text_is_the_same_news(etl: NotebookShell) -> None:
    route = etl.ok("%dagy_plan", "p").value
    text = etl.shell.display_formatter.format(route)[0]["text/plain"]
    assert text == str(route)
    assert text.startswith("etl on AWS: step-functions (micro)")


def test_a_backend_can_be_asked_for(etl: NotebookShell) -> None:
    assert etl.ok("%dagy_plan etl --executor large", "p").value.tier == "large"
    assert etl.ok("import dagy_nb\ndagy_nb.plan(executor='ecs')", "q").value.backend == "ecs"
    text = etl.fails("%dagy_plan --executor lambda")
    assert text.startswith("UsageError: ")
    assert "task 'train'" in text


def test_what_a_run_in_the_session_took_counts(etl: NotebookShell) -> None:
    etl.ok(TRAIN.replace("--executor ecs --timeout 7200", ""), "train")
    assert "never measured" in str(etl.ok("%dagy_plan", "p").value)
    etl.ok("run = %dagy_run", "r")
    route = etl.ok("%dagy_plan", "p").value
    assert "2 tasks as long as in 1 recorded run" in str(route)
    assert route.backend == "lambda"


def test_planning_makes_and_calls_nothing(etl: NotebookShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    etl.ok("%dagy_plan", "p")
    assert not Path("dist").exists()
    assert not Settings.read().local_dir.exists()


def test_a_card_escapes_what_it_is_given_and_needs_no_script(notebook: NotebookShell) -> None:
    notebook.ok("from dagy import flow, task\n@task(name='<b>x</b>')\ndef one():\n    return 1", "one")
    notebook.ok("@flow(name='<i>etl')\ndef etl():\n    return one()", "etl")
    ran = notebook.ok("%dagy_plan", "p")
    html = notebook.shell.display_formatter.format(ran.value)[0]["text/html"]
    assert "&lt;i&gt;etl" in html
    assert "<i>" not in html
    assert "<b>x" not in html
    assert not re.search(r"<script|\son\w+=", html)
    assert html.startswith('<div class="mathjax_ignore')  # else two amounts in dollars would be a formula


def test_the_executor_is_completed(etl: NotebookShell) -> None:
    from dagy_nb.completion import Known, complete

    known = Known(lambda: ["etl"], list, lambda _: [], list, list, list)
    line = "%dagy_plan etl --executor s"
    found = complete(line, 0, len(line), known)
    assert found is not None
    assert found.texts == ("step-functions", "small")
    line = "%dagy_deploy --exec"
    found = complete(line, 0, len(line), known)
    assert found is not None
    assert found.texts == ("--executor",)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("%dagy_plan nosuch", "there is no flow 'nosuch'"),
        ("%dagy_plan --executor moon", "invalid choice: 'moon'"),
        ("%dagy_deploy --executor lambda", "nothing says where there; make what deploys need with: dagy aws init"),
        ("%dagy_deploy --executor lambda --image mine", "image"),
    ],
)
def test_a_mistake_is_told_in_a_line(etl: NotebookShell, line: str, told: str) -> None:
    text = etl.fails(line)
    assert told in text
    assert text.startswith("UsageError: ")
