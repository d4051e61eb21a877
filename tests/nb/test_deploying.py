"""From a notebook to a deployment: built, proven, deployed, skipped when nothing has changed, and never by halves."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagy.client import DagyClient
from dagy.settings import Settings
from dagy_nb.deploying import Deployed

from .conftest import NotebookShell

LOAD = '%%dagy_task\ndef load(n: int = 3):\n    print("loading", n)\n    return list(range(n))'
TOTAL = "%%dagy_task\ntotal = sum(load)"
ETL = "%%dagy_flow\ndef etl(n: int = 3):\n    return total(load(n))"


@pytest.fixture(autouse=True)
def _no_worker_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_AUTO_WORKER", "0")


@pytest.fixture
def etl(notebook: NotebookShell) -> NotebookShell:
    """A notebook with one flow, which has not run."""
    for cell, source in (("load", LOAD), ("total", TOTAL), ("etl", ETL)):
        notebook.ok(source, cell)
    return notebook


def deployed_names() -> list[str]:
    """What is deployed, as anybody sees it."""
    with DagyClient(local_dir=Settings.read().local_dir) as client:
        return [each.reference for each in client.deployments().items]


def has_plane() -> bool:
    return (Settings.read().local_dir / "control.db").exists()


# ---- deploying


def test_a_deploy_says_what_it_did_and_how_the_deployment_is_run(etl: NotebookShell) -> None:
    magic = '%dagy_deploy --name morning --tag team=data -p n=5 --schedule "0 6 * * *" --timezone Europe/Berlin'
    ran = etl.ok(f"result = {magic}\nresult", "d")
    result: Deployed = ran.value
    assert (result.deployment_name, result.flow_version, result.skipped) == ("morning", "latest", False)
    assert len(result.plan.steps) == 4
    text = str(result)
    assert text.startswith("morning is deployed\n  ✓ upload the artifact ")
    assert "etl latest (revision 1)" in text
    assert "team=data" in text
    assert "n=5" in text
    assert "0 6 * * * (Europe/Berlin), next " in text
    assert "%dagy_run --deployment morning" in text
    assert "dagy run morning" in text
    assert deployed_names() == ["morning"]


def test_a_card_is_the_same_news_as_html_and_every_text_in_it_is_escaped(etl: NotebookShell) -> None:
    result = etl.ok("result = %dagy_deploy --name '<b>' --tag 'x=<i>'\nresult", "d").value
    html = result._repr_mimebundle_()["text/html"]
    assert "&lt;b&gt; is deployed" in html
    assert "x=&lt;i&gt;" in html
    assert "<b>" not in html
    assert html.count("<li>") == len(result.plan.steps)


def test_what_is_deployed_already_is_skipped(etl: NotebookShell) -> None:
    etl.ok("%dagy_deploy --name morning", "d")
    result = etl.ok("again = %dagy_deploy --name morning\nagain", "e").value
    assert (result.skipped, result.plan.steps, result.unproven) == (True, (), "")
    assert str(result).startswith("morning is deployed already: nothing has changed")
    assert "latest (revision 1)" in str(result)
    assert len(etl.ok("again = %dagy_deploy --name morning --force\nagain", "e").value.plan.steps) == 3


def test_an_edited_cell_makes_a_new_revision(etl: NotebookShell) -> None:
    etl.ok("%dagy_deploy", "d")
    etl.ok(TOTAL.replace("sum", "max"), "total")
    assert "etl latest (revision 2)" in str(etl.ok("result = %dagy_deploy\nresult", "d").value)
    assert deployed_names() == ["etl"]


def test_a_dry_run_changes_nothing(etl: NotebookShell) -> None:
    result = etl.ok("result = %dagy_deploy --dry-run\nresult", "d").value
    assert str(result).startswith("etl would be deployed\n  ○ upload the artifact ")
    assert "%dagy_run" not in str(result)
    assert deployed_names() == []


def test_the_namespace_is_the_notebooks_folder_or_what_is_said(etl: NotebookShell) -> None:
    assert etl.ok("result = %dagy_deploy\nresult.namespace", "d").value == ""
    assert etl.ok("result = %dagy_deploy --namespace team/etl\nresult.namespace", "d").value == "team/etl"
    assert deployed_names() == ["etl", "team/etl/etl"]


def test_the_name_of_a_deployment_may_be_a_variable(etl: NotebookShell) -> None:
    etl.ok("name = 'evening'", "v")
    assert etl.ok("result = %dagy_deploy --name {name}\nresult.deployment_name", "d").value == "evening"


def test_the_function_does_the_same(etl: NotebookShell) -> None:
    etl.ok("import dagy_nb")
    result = etl.ok("dagy_nb.deploy('etl', name='morning', tags={'team': 'data'}, parameters={'n': 2})").value
    assert dict(result.deployment.parameters) == {"n": 2}
    assert etl.ok("dagy_nb.deploy(name='morning', tags={'team': 'data'}, parameters={'n': 2}).skipped").value is True


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--tag team", "--tag 'team' is not of the form KEY=VALUE"),
        ("--tag a=1 --tag a=2", "--tag 'a' is given twice"),
        ("--target moon", "invalid choice: 'moon'"),
        ("--schedule never", "never"),
        ('--schedule "0 6 * * *" --timezone Mars/Base', "Mars/Base"),
        ("--timezone Europe/Berlin", "there is no schedule"),
        ("-p m=1", "has no input 'm'; it takes 'n'"),
        ("-p n=many", "'n'"),
        ("nosuch", "there is no flow 'nosuch'"),
        ("--profile nosuch", "nosuch"),
    ],
)
def test_a_mistake_is_told_in_a_line_or_two_and_nothing_is_deployed(etl: NotebookShell, line: str, told: str) -> None:
    text = etl.fails(f"%dagy_deploy {line}")
    assert told in text
    assert text.startswith("UsageError: ")
    assert len(text.splitlines()) <= 3
    assert not has_plane() or deployed_names() == []


# ---- the proof


@pytest.mark.program
def test_an_artifact_is_proven_before_it_is_deployed_and_only_then(etl: NotebookShell) -> None:
    etl.ok("run = %dagy_run", "r")
    result = etl.ok("result = %dagy_deploy\nresult", "d").value
    assert result.proof.agrees
    assert "gives the notebook's results in a clean process (2 tasks)" in str(result)
    again = etl.ok("again = %dagy_deploy\nagain", "d").value
    assert (again.skipped, again.proof) == (True, None)
    tagged = etl.ok("tagged = %dagy_deploy --tag team=data\ntagged", "d").value
    assert (tagged.skipped, tagged.proof, tagged.unproven) == (False, None, "")  # the code is what it was


@pytest.mark.program
def test_an_artifact_that_gives_other_results_is_not_deployed(notebook: NotebookShell) -> None:
    notebook.ok("%%dagy_task\ndef who():\n    import os\n    return os.getpid()", "who")
    notebook.ok("%%dagy_flow\ndef etl():\n    return who()", "etl")
    notebook.ok("run = %dagy_run", "r")
    text = notebook.fails("%dagy_deploy")
    assert "nothing is deployed" in text
    assert "✗ who: differs" in text
    assert "--no-prove deploys without the proof" in text
    assert deployed_names() == []
    assert "proof" not in str(notebook.ok("result = %dagy_deploy --no-prove\nresult", "d").value)
    assert deployed_names() == ["etl"]


def test_without_a_run_to_compare_with_it_is_deployed_and_said_to_be_unproven(etl: NotebookShell) -> None:
    result = etl.ok("result = %dagy_deploy\nresult", "d").value
    assert result.unproven == "not proven: no run of it here has completed; %dagy_run etl first has it proven"
    assert result.unproven in str(result)


def test_a_run_from_before_an_edit_is_no_proof(etl: NotebookShell) -> None:
    etl.ok("run = %dagy_run", "r")
    etl.ok(TOTAL.replace("sum", "max"), "total")
    result = etl.ok("result = %dagy_deploy\nresult", "d").value
    assert result.unproven.startswith("not proven: cell [6] changed since the last run")


# ---- building


def test_a_build_takes_data_files_along_and_says_what_is_left_out(etl: NotebookShell) -> None:
    Path("data").mkdir()
    Path("data", "a.csv").write_text("1\n")
    Path("data", ".env").write_text("SECRET=1\n")
    built = etl.ok("built = %dagy_build --include 'data/*' --include 'data/.env'\nbuilt").value
    assert "data/a.csv" in [each.path for each in built.manifest.files]
    assert [each.path for each in built.left_out] == ["data/.env"]
    assert "data/.env" in str(built)


def test_a_build_of_the_same_cells_is_the_same(etl: NotebookShell) -> None:
    first = etl.ok("built = %dagy_build\nbuilt", "b").value
    again = etl.ok("built = %dagy_build\nbuilt", "b").value
    assert (again.path, again.code_hash) == (first.path, first.code_hash)


def test_a_deploy_says_what_is_left_out(etl: NotebookShell) -> None:
    Path("data").mkdir()
    Path("data", ".env").write_text("SECRET=1\n")
    assert "data/.env" in str(etl.ok("result = %dagy_deploy --include data/.env\nresult", "d").value)


# ---- a flow's own methods


@pytest.mark.parametrize("cell", [ETL, f"from dagy import flow\n@flow\n{ETL.partition(chr(10))[2]}"])
def test_a_flow_of_the_notebook_can_be_deployed_by_its_own_method(notebook: NotebookShell, cell: str) -> None:
    for name, source in (("load", LOAD), ("total", TOTAL), ("etl", cell)):
        notebook.ok(source, name)
    notebook.ok("import dagy_nb")
    first = notebook.ok("result = dagy_nb.dag('etl').deploy('morning')\nresult", "d").value
    assert (first.skipped, first.deployment_name) == (False, "morning")
    assert notebook.ok("again = %dagy_deploy --name morning\nagain.skipped", "e").value is True
    run = notebook.ok("run = dagy_nb.dag('etl').run(n=2)\nrun", "r").value
    assert dict(run.info.parameters) == {"n": 2}


# ---- what is deployed, beside the cells


def test_what_was_edited_since_the_deploy_is_told_for_each_deployment(etl: NotebookShell) -> None:
    etl.ok("%dagy_deploy --name morning", "d")
    etl.ok("%dagy_deploy --name evening", "d")
    found = etl.ok("%dagy_status", "s").value
    assert [(each.since.partition(" ")[0], each.change) for each in found] == [
        ("build", "none"),
        ("deployment", "none"),
        ("deployment", "none"),
    ]
    etl.ok(TOTAL.replace("sum", "max"), "total")
    etl.ok("%dagy_deploy --name evening", "d")
    found = etl.ok("%dagy_status", "s").value
    assert [(each.since, each.change, each.names) for each in found[1:]] == [
        ("deployment evening", "none", ()),
        ("deployment morning", "edited", ("total",)),
    ]


def test_looking_makes_no_control_plane(etl: NotebookShell) -> None:
    for line in ("%dagy_runs", "%dagy_status", "%dagy_cancel"):
        etl.ok(line)
    assert "there is no run 'nosuch'" in etl.fails("%dagy_watch nosuch")
    assert "there is no run 'nosuch'" in etl.fails("%dagy_cancel nosuch")
    assert etl.session.deployment_names() == []
    assert not has_plane()


def test_deployments_are_completed_by_name(etl: NotebookShell) -> None:
    for line in ("--name morning", "--name evening", "--name evening --namespace team"):
        etl.ok(f"%dagy_deploy {line}", "d")
    assert etl.session.deployment_names() == ["evening", "morning", "team/evening"]
