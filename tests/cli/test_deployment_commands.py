"""Deploying, and what there is afterwards: flows, deployments, runs, schedules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from dagy.artifact import open_built
from dagy.cli.app import ExitCode
from dagy.client import DagyClient
from dagy.worker import Worker

from .conftest import ROOT, Dagy, as_json

pytestmark = pytest.mark.program


def work(local_dir: Path) -> None:
    """Run all that is queued, here."""
    with DagyClient(local_dir=local_dir) as client:
        Worker(client, local_dir).run(until_idle=True)


# Deploying.


def test_a_deploy_tells_its_steps_and_a_second_one_is_skipped(workplace: Path, dagy: Dagy) -> None:
    words = ("deploy", "my_flows.py:web_scraper", "--deployment", "web-scraper", "--tag", "team=data")
    code, out, err = dagy(*words)
    assert (code, err) == (ExitCode.SUCCESS, "")
    head, *steps, last = out.splitlines()
    assert head == "web-scraper: web_scraper 1.0.0 is deployed"
    assert [each.split()[0] for each in steps] == ["upload", "register", "make"]
    assert last == "run it: dagy run web-scraper"
    code, out, err = dagy(*words)
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert out.splitlines()[-1] == "unchanged, skipped"
    assert as_json(dagy(*words, "--format", "json")[1])["skipped"] is True
    assert as_json(dagy(*words, "--force", "--format", "json")[1])["skipped"] is False


def test_a_deploy_says_how_to_run_it_whatever_its_name(workplace: Path, dagy: Dagy) -> None:
    out = dagy("deploy", "my_flows.py", "--deployment", "slow flow")[1]
    assert out.splitlines()[-1] == "run it: dagy run 'slow flow'"


def test_a_deploy_that_is_to_be_quiet_says_its_result_alone(workplace: Path, dagy: Dagy) -> None:
    words = ("deploy", "my_flows.py", "-q")
    assert "would be deployed" in dagy(*words, "--dry-run")[1]
    assert dagy(*words)[1] == "web_scraper: web_scraper 1.0.0 is deployed\n"
    assert dagy(*words)[1] == "unchanged, skipped\n"


def test_a_dry_run_changes_nothing(workplace: Path, dagy: Dagy) -> None:
    code, out, _ = dagy("deploy", "my_flows.py", "--dry-run")
    assert code is ExitCode.SUCCESS
    assert out.startswith("web_scraper: web_scraper 1.0.0 would be deployed")
    assert dagy("deployments", "list") == (ExitCode.SUCCESS, "", "nothing is deployed yet\n")


def test_an_artifact_is_deployed_as_the_seed_has_it(workplace: Path, dagy: Dagy) -> None:
    built = dagy("build", "my_flows.py:web_scraper", "--output-dir", "./dist")[1].splitlines()[-1]
    dagy("config", "set", "production", "--api-url", "")
    words = ("--flow-name", "web_scraper", "--flow-version", "1.0.0", "--profile", "production")
    code, out, err = dagy("deploy", built, "--deployment", "web-scraper", *words)
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert out.startswith("web-scraper: web_scraper 1.0.0 is deployed")
    code, _, err = dagy("deploy", built, "--deployment", "web-scraper", "--flow-version", "2")
    assert (code, "not '2'" in err) == (ExitCode.GENERAL, True)


def test_a_files_namespace_is_its_folder_unless_given(workplace: Path, dagy: Dagy) -> None:
    (workplace / "team").mkdir()
    (workplace / "my_flows.py").rename(workplace / "team/my_flows.py")
    dagy("deploy", "team/my_flows.py", "--deployment", "one")
    dagy("deploy", "team/my_flows.py", "--deployment", "two", "--namespace", "")
    listed = as_json(dagy("deployments", "list", "--format", "json")[1])
    assert [(each["namespace"], each["name"]) for each in listed] == [("", "two"), ("team", "one")]


def test_what_is_built_to_be_deployed_is_for_its_owner_only(deployed: str, local_dir: Path) -> None:
    built = next((local_dir / "builds").rglob("*.zip"))
    assert open_built(built).flow_name == "web_scraper"
    assert local_dir.stat().st_mode & 0o077 == 0


def test_a_deploy_takes_along_what_a_build_does(workplace: Path, dagy: Dagy) -> None:
    (workplace / "data.csv").write_text("a,b\n")
    code, out, err = dagy("deploy", "my_flows.py", "--include", "*.csv", "--format", "json")
    assert (code, err) == (ExitCode.SUCCESS, "")
    with zipfile.ZipFile(as_json(out)["artifact"]) as built:
        assert "data.csv" in built.namelist()
    code, out, err = dagy("deploy", "dist/artifact.zip", "--include", "*.csv")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "--include is for what is built; leave it out for the artifact 'dist/artifact.zip'" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.py"], ExitCode.NOT_FOUND, "there is no file 'nowhere.py'"),
        (["nowhere.zip"], ExitCode.NOT_FOUND, "nowhere.zip"),
        (["my_flows.py", "--schedule", "often", "--param", "url=x"], ExitCode.USAGE, "often"),
        (["my_flows.py", "--schedule", "0 6 * * *"], ExitCode.USAGE, "--param url=..."),
        (["my_flows.py", "--timezone", "Mars"], ExitCode.USAGE, "there is no time zone 'Mars'"),
        (["my_flows.py", "--tag", "team"], ExitCode.USAGE, "--tag 'team' is not of the form KEY=VALUE"),
        (["my_flows.py", "--tag", "a=1", "--tag", "a=2"], ExitCode.USAGE, "--tag 'a' is given twice"),
        (["my_flows.py", "--param", "ulr=x"], ExitCode.USAGE, "did you mean 'url'?"),
        (["my_flows.py", "--param", "limit=many"], ExitCode.USAGE, "'limit' can't be 'many'"),
        (["my_flows.py", "--deployment", "a/b"], ExitCode.USAGE, "a/b"),
        (["my_flows.py", "--profile", "nope"], ExitCode.USAGE, "there is no profile 'nope' (--profile)"),
    ],
)
def test_a_deploy_that_is_typed_wrong_is_refused_with_the_remedy(
    workplace: Path, dagy: Dagy, words: list[str], code: ExitCode, message: str
) -> None:
    found, out, err = dagy("deploy", *words)
    assert (found, out) == (code, "")
    assert message in err


# Runs of deployments.


@pytest.mark.usefixtures("waking")
def test_a_run_of_a_deployment_is_watched_like_one_here(deployed: str, dagy: Dagy) -> None:
    code, out, err = dagy("run", deployed, "--param", "limit=4")
    assert code is ExitCode.SUCCESS, err
    assert err.index("✓ fetch") < err.index("▶ parse") < err.index("✓ parse")
    assert out.splitlines()[0] == "fetch | fetching x"
    assert out.splitlines()[1].startswith("web_scraper: COMPLETED in ")
    assert out.splitlines()[-1] == "value: {'title': '<p>x'}"
    run_id = as_json(dagy("runs", "list", "--format", "json")[1])[0]["run_id"]
    assert dagy("logs", run_id)[1] == "fetch | fetching x\n"
    assert dagy("logs", run_id, "--task", "fetch", "--follow")[1] == "fetching x\n"
    assert dagy("logs", run_id, "--task", "fecth")[0] is ExitCode.NOT_FOUND

    code, out, err = dagy("run", deployed, "--param", "url=bad")
    assert code is ExitCode.GENERAL
    assert "✗ parse FAILED: ValueError: no title in <p>bad" in err
    assert "dagy logs " in err
    assert "\nweb_scraper: FAILED" in out
    assert "Traceback" not in err


@pytest.mark.usefixtures("waking")
def test_of_very_much_output_it_is_said_that_not_all_is_shown(workplace: Path, dagy: Dagy) -> None:
    text = "from dagy import flow, task\n@task\ndef talk():\n    for _ in range(40):\n        print('x' * 60_000)\n"
    (workplace / "much.py").write_text(f"{text}@flow\ndef much():\n    talk()\n", "utf-8")
    assert dagy("deploy", "much.py")[0] is ExitCode.SUCCESS
    code, out, err = dagy("run", "much")
    assert code is ExitCode.SUCCESS, err
    assert 0 < out.count("x" * 60_000) < 40
    assert "note: not all that 'talk' wrote is shown; all of it: dagy logs much-" in err
    assert dagy("logs", "latest")[1].count("x" * 60_000) == 40


def test_a_detached_run_prints_its_id_alone_and_one_key_is_one_run(deployed: str, dagy: Dagy) -> None:
    code, out, err = dagy("run", deployed, "--detach", "--idempotency-key", "monday")
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert dagy("run", deployed, "--detach", "--idempotency-key", "monday")[1] == out
    assert [each["run_id"] for each in as_json(dagy("runs", "list", "--format", "json")[1])] == [out.strip()]


def test_runs_of_both_kinds_are_in_one_list_the_newest_first(deployed: str, local_dir: Path, dagy: Dagy) -> None:
    dagy("run", "my_flows.py", "--param", "url=here")
    first = dagy("run", deployed, "--detach")[1].strip()
    work(local_dir)
    queued = dagy("run", deployed, "--detach")[1].strip()
    found = as_json(dagy("runs", "list", "--format", "json")[1])
    assert [(each["run_id"], each["deployment"], each["status"]) for each in found] == [
        (queued, deployed, "QUEUED"),
        (first, deployed, "COMPLETED"),
        (found[2]["run_id"], None, "COMPLETED"),
    ]
    listed = {
        words: [each["run_id"] for each in as_json(dagy("runs", "list", "--format", "json", *words)[1])]
        for words in [("--deployment", deployed), ("--status", "queued"), ("--limit", "1"), ("--flow", "nope")]
    }
    assert listed == {
        ("--deployment", deployed): [queued, first],
        ("--status", "queued"): [queued],
        ("--limit", "1"): [queued],
        ("--flow", "nope"): [],
    }
    assert dagy("runs", "list")[1].splitlines()[0].split()[:3] == ["RUN", "FLOW", "DEPLOYMENT"]


def test_a_run_that_waits_can_be_shown_and_cancelled(deployed: str, dagy: Dagy) -> None:
    run_id = dagy("run", deployed, "--detach", "--param", "limit=7")[1].strip()
    shown = dagy("runs", "show", "latest")[1]
    assert f"run         {run_id}\n" in shown
    assert "limit = 7" in shown
    assert "fetch" in shown
    assert dagy("logs", run_id) == (ExitCode.SUCCESS, "", "")
    code, out, err = dagy("runs", "cancel", run_id[-6:], "--reason", "wrong day")
    assert (code, out, err) == (ExitCode.SUCCESS, f"run {run_id}: cancelled\n", "")
    found = as_json(dagy("runs", "show", run_id, "--format", "json")[1])
    assert (found["status"], found["cancel_reason"]) == ("CANCELLED", "wrong day")
    assert dagy("runs", "cancel", run_id)[2].startswith(f"run {run_id} has ended already: CANCELLED")
    shown = dagy("runs", "show", run_id)[1]
    assert shown.count("wrong day") == 1
    assert "version 1.0.0\n" in shown


def test_a_run_whose_worker_is_gone_is_said_to_be_queued_again(deployed: str, local_dir: Path, dagy: Dagy) -> None:
    run_id = dagy("run", deployed, "--detach")[1].strip()
    claiming = (
        "from pathlib import Path; from dagy.client import DagyClient; from dagy.runs import owner_text, this_process\n"
        f"DagyClient(local_dir=Path({str(local_dir)!r})).claim_run(owner_text(this_process()))"
    )
    subprocess.run([sys.executable, "-c", claiming], cwd=ROOT, check=True, timeout=60)
    assert dagy("runs", "list")[2] == f"note: run {run_id} was without a worker, and is queued again\n"
    assert dagy("runs", "list")[2] == ""


@pytest.mark.parametrize("reference", ["%", "_", "*", "web%", "-", "../x", "\0", "x" * 5000, "\x1b[2J"])
def test_a_run_is_never_found_by_a_pattern(deployed: str, dagy: Dagy, reference: str) -> None:
    dagy("run", deployed, "--detach")
    code, out, err = dagy("runs", "show", "--", reference)
    assert (code, out) == (ExitCode.NOT_FOUND, "")
    assert "\x1b" not in err


def test_a_run_of_a_file_is_not_cancelled_from_elsewhere(workplace: Path, dagy: Dagy) -> None:
    dagy("run", "my_flows.py", "--param", "url=here")
    assert "has ended already" in dagy("runs", "cancel", "latest")[2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["web-scrapper"], ExitCode.NOT_FOUND, "no deployment and no file 'web-scrapper'; did you mean 'web-scraper'?"),
        (["my_flow"], ExitCode.NOT_FOUND, "did you mean 'my_flows.py'?"),
        (["etl"], ExitCode.NOT_FOUND, "the deployments are 'web-scraper'"),
        (["web-scraper", "--param", "lmit=3"], ExitCode.USAGE, "did you mean 'limit'?"),
        (["web-scraper", "--param", "limit=x"], ExitCode.USAGE, "'limit' can't be 'x'"),
        (["web-scraper", "--max-workers", "2"], ExitCode.USAGE, "--max-workers is for a flow that runs here"),
        (["web-scraper", "--no-record"], ExitCode.USAGE, "--record is for a flow that runs here"),
        (["my_flows.py", "--detach"], ExitCode.USAGE, "--detach is for a deployment"),
        (["my_flows.py", "--idempotency-key", "x"], ExitCode.USAGE, "--idempotency-key is for a deployment"),
    ],
)
def test_a_run_that_is_typed_wrong_is_refused_with_the_remedy(
    deployed: str, dagy: Dagy, words: list[str], code: ExitCode, message: str
) -> None:
    found, out, err = dagy("run", *words)
    assert (found, out) == (code, "")
    assert message in err


def test_a_run_that_lacks_a_parameter_is_refused_with_the_option(workplace: Path, dagy: Dagy) -> None:
    dagy("deploy", "my_flows.py")
    code, out, err = dagy("run", "web_scraper")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "deployment 'web_scraper' needs 'url'; add --param url=..." in err
    assert as_json(dagy("runs", "list", "--format", "json")[1]) == []


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("-", ExitCode.NOT_FOUND),
        ("http://127.0.0.1/flows.py", ExitCode.NOT_FOUND),
        ("http://127.0.0.1/flows", ExitCode.NOT_FOUND),
        ("../../nothing", ExitCode.NOT_FOUND),
        ("a:b", ExitCode.NOT_FOUND),
        ("", ExitCode.USAGE),
        ("..", ExitCode.USAGE),
        ("/dev/zero", ExitCode.USAGE),
        ("pipe", ExitCode.USAGE),
        ("pipe.py", ExitCode.USAGE),
        ("utf16.py", ExitCode.USAGE),
    ],
)
def test_what_is_neither_a_flow_nor_a_deployment_is_told_at_once(
    deployed: str, workplace: Path, dagy: Dagy, target: str, code: ExitCode
) -> None:
    os.mkfifo(workplace / "pipe")
    os.mkfifo(workplace / "pipe.py")
    (workplace / "utf16.py").write_text("x = 1\n", "utf-16")
    found, out, err = dagy("run", "--", target)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert "defect" not in err


def test_a_folder_with_the_name_of_a_deployment_is_not_in_its_way(deployed: str, workplace: Path, dagy: Dagy) -> None:
    (workplace / deployed).mkdir()
    assert dagy("run", deployed, "--detach")[0] is ExitCode.SUCCESS


WAITING = """
import pathlib, time
from dagy import flow, task

@task(timeout_seconds=3600)  # in a process, which a cancel really ends
def wait(path: str):
    pathlib.Path(path).touch()
    while pathlib.Path(path).exists():
        time.sleep(0.01)

@flow
def waiting(path: str):
    wait(path)
"""


@pytest.mark.usefixtures("waking")
@pytest.mark.timeout(60)
def test_ctrl_c_leaves_a_deployed_run_going_and_says_how_to_go_on(workplace: Path, dagy: Dagy) -> None:
    (workplace / "waiting.py").write_text(WAITING)
    started = workplace / "started"
    dagy("deploy", "waiting.py", "--param", f"path={started}")
    with subprocess.Popen(
        [sys.executable, "-m", "dagy", "run", "waiting"],
        cwd=workplace,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as program:
        try:
            assert program.stderr is not None
            assert any("▶ wait" in line for line in iter(program.stderr.readline, ""))
            program.send_signal(signal.SIGINT)
            out, err = program.communicate()
            run_id = as_json(dagy("runs", "list", "--format", "json")[1])[0]["run_id"]
            assert (program.returncode, out) == (ExitCode.CANCELLED, "")
            assert f"dagy logs {run_id} --follow" in err
            assert "Traceback" not in err
            assert dagy("runs", "list", "--status", "running")[1]
            assert dagy("runs", "cancel", run_id)[1] == f"run {run_id}: asked to stop\n"
            assert "CANCELLED" in dagy("logs", run_id, "--follow")[2]
        finally:
            program.kill()
            started.unlink(missing_ok=True)


# What is deployed.


def test_a_deployment_is_shown_tagged_and_deleted(deployed: str, dagy: Dagy) -> None:
    assert dagy("deployments", "tag", deployed, "team=data", "stage=test")[1] == "web-scraper: team=data, stage=test\n"
    assert dagy("deployments", "tag", deployed, "--remove", "stage")[1] == "web-scraper: team=data\n"
    assert dagy("deployments", "tag", deployed, "--remove", "stage")[0] is ExitCode.USAGE
    assert dagy("deployments", "tag", deployed)[0] is ExitCode.USAGE
    assert len(as_json(dagy("deployments", "list", "--tag", "team=data", "--format", "json")[1])) == 1
    assert as_json(dagy("deployments", "list", "--tag", "team=x", "--format", "json")[1]) == []
    shown = dagy("deployments", "show", deployed)[1]
    assert "parameter   url = 'x'\n" in shown
    code, _, err = dagy("deployments", "delete", deployed)
    assert (code, "give --yes" in err) == (ExitCode.USAGE, True)
    assert dagy("deployments", "delete", deployed, "--yes")[1] == "deleted deployment web-scraper\n"
    assert dagy("deployments", "show", deployed)[0] is ExitCode.NOT_FOUND


def test_flows_are_shown_with_their_versions_and_their_graph(deployed: str, workplace: Path, dagy: Dagy) -> None:
    (workplace / "my_flows.py").write_text((workplace / "my_flows.py").read_text().replace('"1.0.0"', '"1.1.0"'))
    sys.modules.pop("my_flows", None)
    dagy("deploy", "my_flows.py", "--deployment", deployed)
    found = as_json(dagy("flows", "versions", "web_scraper", "--format", "json")[1])
    assert [each["version"] for each in found] == ["1.1.0", "1.0.0"]
    shown = dagy("flows", "show", "web_scraper", "--version", "1.0.0")[1]
    assert "version     1.0.0\n" in shown
    assert "parameter   url: str (needed)\n            limit: int (default 3)\n" in shown
    assert "↓ parse" in shown
    spec = as_json(dagy("flows", "show", "web_scraper", "--format", "json")[1])["spec"]
    assert spec["name"] == "web_scraper"
    code, _, err = dagy("flows", "show", "web_scrapper")
    assert (code, "'web_scraper'" in err) == (ExitCode.NOT_FOUND, True)


@pytest.mark.parametrize(
    "words",
    [
        ["flows", "show", "x"],
        ["flows", "versions", "x"],
        ["deployments", "show", "x"],
        ["deployments", "delete", "x", "--yes"],
        ["deployments", "tag", "x", "a=b"],
        ["schedules", "create", "x", "--manual"],
        ["schedules", "pause", "x"],
        ["schedules", "trigger", "x"],
        ["runs", "show", "x"],
        ["runs", "cancel", "x"],
        ["logs", "latest"],
        ["run", "x"],
    ],
)
def test_what_is_not_there_ends_with_five_and_makes_nothing(
    workplace: Path, local_dir: Path, dagy: Dagy, words: list[str]
) -> None:
    code, out, err = dagy(*words)
    assert (code, out) == (ExitCode.NOT_FOUND, "")
    assert err.startswith("error: there is no ")
    assert not local_dir.exists()


# Schedules.


def test_a_schedule_is_made_paused_resumed_triggered_and_deleted(deployed: str, dagy: Dagy) -> None:
    words = ("schedules", "create", deployed, "--cron", "0 6 * * 1-5", "--timezone", "Europe/Berlin")
    made = as_json(dagy(*words, "--param", "limit=9", "--format", "json")[1])
    name = made["schedule_id"]
    assert (made["timing"]["cron"], made["timing"]["timezone"]) == ("0 6 * * 1-5", "Europe/Berlin")
    assert made["parameters"] == {"limit": 9}
    assert "0 6 * * 1-5 (Europe/Berlin)" in dagy("schedules", "list")[1]
    assert dagy("schedules", "pause", name)[1] == f"{name}: paused\n"
    assert dagy("schedules", "next") == (ExitCode.SUCCESS, "", "no schedule is due\n")
    assert dagy("schedules", "resume", name[-6:])[1].startswith(f"{name}: goes on; next: ")
    assert as_json(dagy("schedules", "next", "--format", "json")[1])[0]["schedule_id"] == name
    run_id = dagy("schedules", "trigger", name)[1].strip()
    assert as_json(dagy("runs", "show", run_id, "--format", "json")[1])["parameters"] == {"url": "x", "limit": 9}
    assert dagy("schedules", "delete", name)[0] is ExitCode.USAGE
    assert dagy("schedules", "delete", name, "--yes")[1] == f"deleted schedule {name}\n"
    code, _, err = dagy("schedules", "delete", name, "--yes")
    assert (code, "there is no schedule" in err) == (ExitCode.NOT_FOUND, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--interval", "90"], "every 1 min 30 s"),
        (["--interval", "15m"], "every 15 min"),
        (["--interval", "1d", "--catchup", "all"], "every 1 day, all that was missed"),
        (["--manual"], "when triggered"),
    ],
)
def test_a_schedule_says_when_it_is_due(deployed: str, dagy: Dagy, words: list[str], told: str) -> None:
    code, out, err = dagy("schedules", "create", deployed, *words)
    assert code is ExitCode.SUCCESS, err
    assert f"web-scraper {told};" in out


def test_a_time_without_a_zone_is_meant_in_the_schedules(deployed: str, dagy: Dagy) -> None:
    words = ("--at", "2036-01-31T06:00", "--timezone", "America/New_York", "--format", "yaml")
    assert (
        yaml.safe_load(dagy("schedules", "create", deployed, *words)[1])["next_run_at"] == "2036-01-31T11:00:00+00:00"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say when: one of --cron, --interval, --at and --manual"),
        (["--cron", "0 6 * * *", "--manual"], "say when"),
        (["--interval", "soon"], "--interval 'soon' is no time"),
        (["--interval", "0"], "--interval '0' is not from 1 s to 3,660 days"),
        (["--interval", "100000000000d"], "is not from 1 s to 3,660 days"),
        (["--at", "tomorrow"], "--at 'tomorrow' is no time"),
        (["--manual", "--timezone", "Europe/Berln"], "did you mean 'Europe/Berlin'?"),
        (["--cron", "0 6 * *"], "0 6 * *"),
        (["--manual", "--param", "lmit=1"], "did you mean 'limit'?"),
    ],
)
def test_a_schedule_that_can_not_be_is_refused(deployed: str, dagy: Dagy, words: list[str], message: str) -> None:
    code, out, err = dagy("schedules", "create", deployed, *words)
    assert (code, out) == (ExitCode.USAGE, "")
    assert message in err


# For programs.


@pytest.mark.parametrize(
    "words",
    ["runs list", "runs show latest", "flows list", "flows show web_scraper", "flows versions web_scraper",
     "deployments list", "deployments show web-scraper", "schedules list", "schedules next", "config show",
     "cache list", "doctor"],
)  # fmt: skip
def test_what_lists_or_shows_is_whole_json_and_yaml_and_nothing_else(deployed: str, dagy: Dagy, words: str) -> None:
    dagy("schedules", "create", deployed, "--interval", "1h")
    dagy("run", deployed, "--detach", "--param", "url=\x1b[2J\u202eü")
    code, out, _ = dagy(*words.split(), "--format", "json")
    assert (code, out.isascii()) == (ExitCode.SUCCESS, True)
    found = as_json(out)
    code, out, _ = dagy(*words.split(), "--format", "yaml")
    assert (code, out.isascii()) == (ExitCode.SUCCESS, True)
    assert type(yaml.safe_load(out)) is type(found)


@pytest.mark.parametrize("words", ["runs list", "flows list", "deployments list", "schedules list", "schedules next"])
def test_a_list_of_nothing_is_an_empty_list(workplace: Path, local_dir: Path, dagy: Dagy, words: str) -> None:
    assert dagy(*words.split(), "--format", "json") == (ExitCode.SUCCESS, "[]\n", "")
    assert dagy(*words.split(), "--format", "yaml") == (ExitCode.SUCCESS, "[]\n", "")
    code, out, err = dagy(*words.split())
    assert (code, out) == (ExitCode.SUCCESS, "")
    assert err
    assert not local_dir.exists()


@pytest.mark.parametrize(
    ("typed", "position", "offered"),
    [
        ("dagy dep", 1, ["deploy", "deployments"]),
        ("dagy run ", 2, ["web-scraper"]),
        ("dagy deployments show w", 3, ["web-scraper"]),
        ("dagy flows show ", 3, ["web_scraper"]),
        ("dagy runs show l", 3, ["latest"]),
        ("dagy config use p", 3, ["production"]),
    ],
)
def test_a_shell_is_offered_the_names_there_are(
    deployed: str, dagy: Dagy, monkeypatch: pytest.MonkeyPatch, typed: str, position: int, offered: list[str]
) -> None:
    dagy("config", "set", "production")
    out, err = completed(dagy, monkeypatch, typed, position)
    names = [line.removeprefix("plain,") for line in out.splitlines() if line.startswith("plain,")]
    assert (names, err) == (offered, "")


def test_a_shell_is_offered_nothing_where_the_names_can_not_be_had(
    workplace: Path, local_dir: Path, dagy: Dagy, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_dir.mkdir()
    (local_dir / "config.yaml").write_text("profiles: [")
    assert completed(dagy, monkeypatch, "dagy run ", 2) == ("file,\n", "")


def completed(dagy: Dagy, monkeypatch: pytest.MonkeyPatch, typed: str, position: int) -> tuple[str, str]:
    """What bash is answered when somebody presses Tab in word number `position`, and what is said on stderr."""
    monkeypatch.setenv("_DAGY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(position))
    code, out, err = dagy()
    assert code is ExitCode.SUCCESS
    return out, err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shells_script_speaks_of_dagy(dagy: Dagy, shell: str) -> None:
    code, out, _ = dagy("completion", shell)
    assert code is ExitCode.SUCCESS
    assert f"_DAGY_COMPLETE={shell}_complete" in out
