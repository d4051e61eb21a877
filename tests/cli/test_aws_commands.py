"""`dagy aws`, and what `dagy doctor` and `dagy config` say of AWS: with a stand-in that really makes what is asked."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from dagy.aws import Aws, FunctionConfig
from dagy.backends.environment import Environment
from dagy.cli.app import ExitCode
from dagy.client import DagyClient
from dagy.deploy.infrastructure import environment, template
from dagy.profiles import Profiles
from dagy.testing import LocalAws

from .conftest import Dagy, as_json

pytestmark = pytest.mark.program


@pytest.fixture
def aws(shared_aws: LocalAws) -> Aws:
    """The account that the commands go to."""
    return Aws(region=shared_aws.region)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is called can't be reached."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


def test_the_template_is_printed_and_nothing_is_called(dagy: Dagy, nowhere: None) -> None:
    code, out, err = dagy("aws", "init", "--print")
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert yaml.safe_load(out) == json.loads(json.dumps(template()))
    code, out, err = dagy("aws", "init", "--print", "json", "--make-network")
    assert as_json(out) == json.loads(json.dumps(template(make_network=True)))


def test_a_stack_is_made_once_and_written_into_the_profile(dagy: Dagy, aws: Aws, local_dir: Path) -> None:
    code, out, err = dagy("aws", "init", "--region", "us-east-1", "--stack", "one", "--runs-days", "7")
    assert code is ExitCode.SUCCESS, err
    assert re.search(r"\+ Bucket +AWS::S3::Bucket\n", err)
    assert f"stack 'one' in us-east-1 of account {aws.account} is ready" in out
    assert environment(aws, "one").bucket
    target = Profiles.read(local_dir).resolve().aws
    assert target is not None
    assert (target.stack, target.region, target.endpoint_url) == ("one", "us-east-1", None)
    code, out, err = dagy("aws", "init")
    assert code is ExitCode.SUCCESS, err
    assert "as it should be" in err


def test_a_variable_that_overrules_the_profile_is_told(dagy: Dagy, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGY_AWS_STACK", "dagy")
    code, out, err = dagy("aws", "init", "--region", "us-east-1", "--stack", "eight")
    assert code is ExitCode.SUCCESS, err
    assert "stack 'eight' in us-east-1" in out
    assert "but DAGY_AWS_STACK overrules the profile: while it is set they go to 'dagy'" in err


def test_a_region_that_is_named_nowhere_is_asked_for(dagy: Dagy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    for command in ("init", "status", "destroy"):
        code, _, err = dagy("aws", command)
        assert code is not ExitCode.SUCCESS
        assert "no AWS region is named; give --region" in err


def test_a_bucket_that_is_gone_hinders_neither_looking_nor_removing(dagy: Dagy, aws: Aws) -> None:
    dagy("aws", "init", "--region", "us-east-1", "--stack", "nine")
    bucket = environment(aws, "nine").bucket
    aws.bucket(bucket).remove()
    code, out, err = dagy("aws", "status")
    assert code is ExitCode.SUCCESS, err
    assert f"{bucket}, which is not there any more" in out
    code, out, err = dagy("aws", "destroy", "--yes")
    assert code is ExitCode.SUCCESS, err
    assert "stays" not in out
    assert aws.stacks.get("nine") is None


def test_a_dry_run_changes_nothing(dagy: Dagy, aws: Aws, local_dir: Path) -> None:
    code, _, err = dagy("aws", "init", "--region", "us-east-1", "--stack", "dry", "--dry-run")
    assert code is ExitCode.SUCCESS, err
    assert "+ Bucket" in err
    assert aws.stacks.get("dry") is None
    assert Profiles.read(local_dir).names == ()


def test_a_profile_that_is_not_there_yet_is_made(dagy: Dagy, aws: Aws, local_dir: Path) -> None:
    assert dagy("config", "set", "old", "--table-format", "plain")[0] is ExitCode.SUCCESS
    code, _, err = dagy("aws", "init", "--profile", "new", "--region", "us-east-1", "--stack", "two")
    assert code is ExitCode.SUCCESS, err
    profiles = Profiles.read(local_dir)
    assert profiles["old"].aws is None
    assert profiles["new"].aws is not None


def stood_for(name: str, stack: str) -> None:
    """Have the deployment stand for what runs in that stack."""
    with DagyClient() as client:
        found = client.deployment(name)
        client.put_deployment(
            "it's on AWS", flow_name=found.flow_name, flow_version=found.flow_version, revision=found.revision,
            executor="lambda", resources={"stack": stack},
        )  # fmt: skip


def deployed_on(aws: Aws, stack: str) -> Environment:
    """The stack, with a function in it as a deploy makes it."""
    made = environment(aws, stack)
    role = made.function_role
    config = FunctionConfig(f"{stack}-etl", role, "a.b", "python3.11", memory_mb=512, timeout_seconds=900)
    tags = {"dagy:stack": stack, "dagy:deployment": "default/etl"}
    aws.functions.create(config, b"PK\x05\x06" + bytes(18), tags)
    return made


def test_status_shows_what_is_there(dagy: Dagy, aws: Aws) -> None:
    dagy("aws", "init", "--region", "us-east-1", "--stack", "three")
    code, out, err = dagy("aws", "status")
    assert code is ExitCode.SUCCESS, err
    assert "nothing is deployed there yet" in out
    made = deployed_on(aws, "three")
    code, out, err = dagy("aws", "status")
    assert made.bucket in out
    assert "default/etl" in out
    assert "512 MB, 900 s" in out
    data = as_json(dagy("aws", "status", "--format", "json")[1])
    assert data["pieces"][0]["name"] == "three-etl"


def test_destroy_lists_asks_and_removes(dagy: Dagy, aws: Aws, local_dir: Path, deployed: str) -> None:
    stood_for(deployed, "four")
    dagy("aws", "init", "--region", "us-east-1", "--stack", "four")
    bucket = deployed_on(aws, "four").bucket
    code, _, err = dagy("aws", "destroy")
    assert code is ExitCode.USAGE
    assert f"  - function four-etl\n  - stack four\n    bucket {bucket}, which stays" in err
    assert "give --yes" in err
    code, out, err = dagy("aws", "destroy", "--yes")
    assert code is ExitCode.SUCCESS, err
    assert f"bucket {bucket} stays" in out
    quoted = "'it'\"'\"'s on AWS'"
    assert f"any more: {quoted}; deploy them again, or: dagy deployments delete {quoted}" in err
    assert aws.stacks.get("four") is None
    assert Profiles.read(local_dir).resolve().aws is None
    code, out, err = dagy("aws", "destroy", "--stack", "four", "--region", "us-east-1", "--with-data", "--yes")
    assert code is ExitCode.SUCCESS, err
    assert aws.tagged("dagy:stack", "four") == ()


def test_a_stack_that_is_destroyed_elsewhere_stays_in_the_profile(dagy: Dagy, aws: Aws, local_dir: Path) -> None:
    dagy("aws", "init", "--region", "us-west-2", "--stack", "ten")
    dagy("aws", "init", "--region", "us-east-1", "--stack", "ten")
    code, _, err = dagy("aws", "destroy", "--region", "us-west-2", "--yes")
    assert code is ExitCode.SUCCESS, err
    target = Profiles.read(local_dir).resolve().aws
    assert target is not None
    assert (target.stack, target.region) == ("ten", "us-east-1")


def test_what_is_not_there_can_not_be_shown_or_removed(dagy: Dagy, aws: Aws) -> None:
    for command in ("status", "destroy"):
        code, _, err = dagy("aws", command, "--stack", "absent", "--region", "us-east-1")
        assert code is ExitCode.GENERAL
        assert "there is no stack 'absent' in us-east-1" in err
        assert "dagy aws init" in err


def test_the_doctor_looks_at_the_stack_where_one_is_configured(
    dagy: Dagy, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "aws" not in [each["name"] for each in as_json(dagy("doctor", "--format", "json")[1])]
    dagy("aws", "init", "--region", "us-east-1", "--stack", "five")
    assert aws_finding(dagy) == ("good", f"stack 'five' in us-east-1 of account {aws.account}, bucket "
                                         f"{environment(aws, 'five').bucket}")  # fmt: skip
    monkeypatch.setenv("DAGY_AWS_STACK", "six")
    verdict, text = aws_finding(dagy)
    assert (verdict, "there is no stack 'six'" in text) == ("bad", True)


def aws_finding(dagy: Dagy) -> tuple[str, str]:
    (found,) = [each for each in as_json(dagy("doctor", "--format", "json")[1]) if each["name"] == "aws"]
    return found["verdict"], found["text"]


def test_the_configuration_says_where_deployments_go(dagy: Dagy, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "deployments stay on this machine" in dagy("config", "show")[1]
    dagy("aws", "init", "--region", "us-east-1", "--stack", "seven")
    monkeypatch.setenv("DAGY_ARTIFACT_BUCKET", "mine")
    out = dagy("config", "show")[1]
    assert "stack seven (profile 'default')" in out
    assert "bucket mine (DAGY_ARTIFACT_BUCKET)" in out
    data = as_json(dagy("config", "show", "--format", "json")[1])
    assert data["profiles"]["default"]["aws"]["stack"] == "seven"
