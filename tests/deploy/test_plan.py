"""What a deploy plans, from what is wanted and what there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagy.artifact import Artifact
from dagy.client import DagyClient, EmbeddedTransport
from dagy.control import ControlPlane, Timing
from dagy.deploy import DeployResult, deploy_artifact
from dagy.errors import ArtifactError, ConflictError, ParameterError

from ..client.servers import control_plane

Artifacts = dict[str, Artifact]


def deploy(client: DagyClient, artifact: Artifact, name: str | None = None, **options: Any) -> DeployResult:
    return deploy_artifact(artifact.path, name, client=client, **options)


def steps(result: DeployResult) -> list[str]:
    return [type(each).__name__ for each in result.plan.steps]


FIRST = ["UploadArtifact", "RegisterFlow", "SwitchDeployment"]


def test_a_first_deploy_uploads_registers_and_makes_the_deployment(client: DagyClient, artifacts: Artifacts) -> None:
    result = deploy(client, artifacts["first"], "web-scraper")
    assert steps(result) == FIRST
    assert (result.skipped, result.deployment_name, result.flow_version) == (False, "web-scraper", "1.0.0")
    assert result.deployment == client.deployment("web-scraper")
    assert client.deployment("web-scraper").code_hash == artifacts["first"].code_hash


def test_a_deployment_is_called_as_its_flow_unless_it_has_a_name(client: DagyClient, artifacts: Artifacts) -> None:
    assert deploy(client, artifacts["first"], namespace="team/a").reference == "team/a/etl"


def test_what_is_deployed_already_is_skipped(client: DagyClient, artifacts: Artifacts) -> None:
    settings: dict[str, Any] = {"tags": {"a": "b"}, "parameters": {"number": 2}, "schedule": "0  6 * * *"}
    deploy(client, artifacts["first"], **settings)
    before = client.deployment("etl")
    result = deploy(client, artifacts["first"], **settings)
    assert result.skipped
    assert str(result) == "etl: etl 1.0.0 is deployed already, nothing to do"
    assert result.deployment == client.deployment("etl") == before


def test_force_makes_every_step_and_adds_nothing(client: DagyClient, artifacts: Artifacts) -> None:
    deploy(client, artifacts["first"])
    result = deploy(client, artifacts["first"], force=True)
    assert steps(result) == FIRST
    assert not result.skipped
    assert [each.revision for each in client.flow_versions("etl")] == [1]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tags": {"a": "c"}}, ["SwitchDeployment"]),
        ({"parameters": {"number": 3}}, ["SwitchDeployment"]),
        ({"schedule": "0 7 * * *"}, ["PutSchedule"]),
        ({"timezone": "Europe/Berlin"}, ["PutSchedule"]),
        ({"schedule": None}, ["RemoveSchedule"]),
        ({"tags": None, "schedule": None}, ["SwitchDeployment", "RemoveSchedule"]),
        ({"name": "other"}, ["SwitchDeployment", "PutSchedule"]),
        ({"namespace": "team"}, ["RegisterFlow", "SwitchDeployment", "PutSchedule"]),
    ],
)
def test_a_deploy_does_no_more_than_is_needed(
    client: DagyClient, artifacts: Artifacts, settings: dict[str, Any], expected: list[str]
) -> None:
    usual: dict[str, Any] = {"tags": {"a": "b"}, "parameters": {"number": 2}, "schedule": "0 6 * * *"}
    deploy(client, artifacts["first"], **usual)
    result = deploy(client, artifacts["first"], **{**usual, **settings})
    assert steps(result) == expected
    assert deploy(client, artifacts["first"], **{**usual, **settings}).skipped


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tags": {"a": "b"}}, "set the tags of etl"),
        ({"parameters": {"number": 3}}, "set the parameters of etl"),
        ({"tags": {"a": "b"}, "parameters": {"number": 3}}, "set the tags and the parameters of etl"),
        ({"force": True}, "set etl to what it is set to"),
    ],
)
def test_a_step_says_what_it_changes(
    client: DagyClient, artifacts: Artifacts, settings: dict[str, Any], told: str
) -> None:
    deploy(client, artifacts["first"])
    assert str(deploy(client, artifacts["first"], **settings).plan.steps[-1]) == told


def test_a_result_says_where_and_which_revision(client: DagyClient, artifacts: Artifacts) -> None:
    deploy(client, artifacts["latest"], namespace="team/a")
    result = str(deploy(client, artifacts["latest-changed"], namespace="team/a"))
    assert result.startswith("team/a/etl: etl latest (revision 2) is deployed in the namespace team/a\n")


def test_packages_that_are_for_elsewhere_are_said_to_stay_here(
    client: DagyClient, artifacts: Artifacts, tmp_path: Path
) -> None:
    result = deploy(client, artifacts["first"])
    layer = tmp_path / "dependencies.zip"
    elsewhere = replace(result, artifact=replace(result.artifact, layer=layer))
    assert f"its packages stay on this machine for now: {layer}" in str(elsewhere).splitlines()
    assert "packages" not in str(result)


def test_a_new_version_is_switched_to(client: DagyClient, artifacts: Artifacts) -> None:
    deploy(client, artifacts["first"])
    result = deploy(client, artifacts["second"])
    assert str(result.plan.steps[-1]) == "switch etl from etl 1.0.0 to etl 2.0.0"
    assert client.deployment("etl").flow_version == "2.0.0"
    back = deploy(client, artifacts["first"])
    assert steps(back) == ["SwitchDeployment"]
    assert client.deployment("etl").flow_version == "1.0.0"


def test_other_code_under_a_version_that_the_author_named_is_a_conflict(
    client: DagyClient, artifacts: Artifacts
) -> None:
    deploy(client, artifacts["first"])
    before = client.deployment("etl")
    with pytest.raises(ConflictError, match=r"raise the version.*force=True"):
        deploy(client, artifacts["changed"])
    assert client.deployment("etl") == before
    result = deploy(client, artifacts["changed"], force=True)
    assert "as a new revision" in str(result.plan.steps[1])
    assert client.deployment("etl").revision == 2
    assert deploy(client, artifacts["changed"]).skipped


def test_code_without_a_version_gets_a_new_revision_by_itself(client: DagyClient, artifacts: Artifacts) -> None:
    told = []
    for name, revision in (("latest", 1), ("latest-changed", 2), ("latest", 3)):
        told.append(str(deploy(client, artifacts[name]).plan.steps[-1]))
        assert client.deployment("etl").revision == revision
        assert client.deployment("etl").code_hash == artifacts[name].code_hash
    assert told == [
        "make the deployment etl: etl latest",
        "switch etl from etl latest (revision 1) to a new revision",
        "switch etl from etl latest (revision 2) to a new revision",
    ]


def test_a_dry_run_changes_nothing_and_tells_the_steps(client: DagyClient, artifacts: Artifacts) -> None:
    result = deploy(client, artifacts["first"], schedule="0 6 * * *", dry_run=True)
    assert steps(result) == [*FIRST, "PutSchedule"]
    assert result.deployment is None
    assert (list(client.flows()), list(client.deployments()), client.schedules()) == ([], [], [])
    assert str(result).splitlines() == [
        "etl: etl 1.0.0 would be deployed",
        f"  upload the artifact ({artifacts['first'].size:,} bytes, sha256 {artifacts['first'].sha256[:12]})",
        f"  register etl 1.0.0 (build id {artifacts['first'].build_id})",
        "  make the deployment etl: etl 1.0.0",
        "  schedule etl: 0 6 * * * (UTC)",
    ]
    assert str(result.plan).splitlines()[1].startswith("  1. upload the artifact")


def test_each_step_is_told_before_it_is_made(client: DagyClient, artifacts: Artifacts) -> None:
    told: list[tuple[str, int]] = []
    deploy(
        client,
        artifacts["first"],
        on_step=lambda step: told.append((type(step).__name__, len(client.flows()) + len(client.deployments()))),
    )
    assert told == [("UploadArtifact", 0), ("RegisterFlow", 0), ("SwitchDeployment", 1)]


def test_schedules_that_were_made_apart_are_left_alone(client: DagyClient, artifacts: Artifacts) -> None:
    deploy(client, artifacts["first"], schedule="0 6 * * *")
    apart = client.put_schedule("etl", Timing("interval", interval_seconds=60.0))
    deploy(client, artifacts["second"])
    assert [each.schedule_id for each in client.schedules()] == [apart.schedule_id]


def test_a_schedule_that_somebody_let_rest_goes_on_resting(client: DagyClient, artifacts: Artifacts) -> None:
    deploy(client, artifacts["first"], schedule="0 6 * * *")
    client.set_schedule_enabled(client.schedules()[0].schedule_id, False)
    deploy(client, artifacts["second"], schedule="0 6 * * *")
    assert [each.enabled for each in client.schedules()] == [False]


def test_deployments_of_one_name_in_two_namespaces_are_two(client: DagyClient, artifacts: Artifacts) -> None:
    deploy(client, artifacts["first"], namespace="a")
    deploy(client, artifacts["first"], namespace="b")
    assert steps(deploy(client, artifacts["second"], schedule="0 6 * * *")) == [*FIRST, "PutSchedule"]
    assert [(each.reference, each.flow_version) for each in client.deployments()] == [
        ("etl", "2.0.0"),
        ("a/etl", "1.0.0"),
        ("b/etl", "1.0.0"),
    ]
    assert [each.namespace for each in client.schedules()] == [""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespace": "/team"}, "'/team' is not of the form"),
        ({"namespace": "team/../other"}, "is not of the form"),
        ({"name": "a/b"}, "slash"),
        ({"tags": {"a": 3}}, "tag"),
        ({"parameters": {"nummer": 3}}, "did you mean 'number'"),
        ({"parameters": {"number": {1}}}, "JSON"),
        ({"schedule": "every day"}, "cron"),
        ({"schedule": "0 6 * * *", "timezone": "Mars"}, "Mars"),
        ({"schedule": 6}, "such as '0 6"),
        ({"timezone": "UTC"}, "there is no schedule"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_before_the_first_step(
    client: DagyClient, artifacts: Artifacts, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        deploy(client, artifacts["first"], **options)
    assert list(client.flows()) == []


def test_an_artifact_of_another_flow_than_is_meant_is_refused(client: DagyClient, artifacts: Artifacts) -> None:
    with pytest.raises(ConflictError, match=r"holds the flow 'etl', not 'elt'"):
        deploy(client, artifacts["first"], flow_name="elt")
    with pytest.raises(ConflictError, match=r"holds the version '1\.0\.0', not '3'"):
        deploy(client, artifacts["first"], flow_version="3")
    assert deploy(client, artifacts["first"], flow_name="etl", flow_version="1.0.0").flow_name == "etl"


def test_an_artifact_that_was_changed_is_refused(client: DagyClient, artifacts: Artifacts, tmp_path: Path) -> None:
    data = bytearray(artifacts["first"].path.read_bytes())
    data[data.index(b"return 2")] ^= 1
    (tmp_path / "artifact.zip").write_bytes(data)
    with pytest.raises(ArtifactError):
        deploy_artifact(tmp_path / "artifact.zip", client=client)
    assert list(client.flows()) == []


def test_what_people_see_can_not_act(client: DagyClient, artifacts: Artifacts) -> None:
    result = deploy(client, artifacts["first"], "<b>&")
    bundle = result._repr_mimebundle_()
    assert "<b>" not in bundle["text/html"]
    assert "&lt;b&gt;" in bundle["text/html"]


def test_two_who_deploy_at_the_same_time_do_not_both_believe_that_they_won(
    client: DagyClient, artifacts: Artifacts
) -> None:
    def meanwhile(step: object) -> None:
        if type(step).__name__ == "PutSchedule":
            deploy(client, artifacts["second"], schedule="0 7 * * *")

    with pytest.raises(ConflictError, match=r"somebody else .*still to do: switch etl from etl 2\.0\.0 to etl 1\.0\.0"):
        deploy(client, artifacts["first"], schedule="0 6 * * *", on_step=meanwhile)
    deploy(client, artifacts["second"], schedule="0 7 * * *")
    assert client.deployment("etl").flow_version == "2.0.0"
    assert [each.timing.cron for each in client.schedules()] == ["0 7 * * *"]


def test_a_deploy_over_http_is_the_same(plane: ControlPlane, artifacts: Artifacts) -> None:
    settings: dict[str, Any] = {"namespace": "team/a", "schedule": "0 6 * * *", "tags": {"a": "b"}}
    with control_plane(plane, token="dagy_sk_t") as url, DagyClient(url, token="dagy_sk_t") as client:
        result = deploy(client, artifacts["first"], **settings)
        assert steps(result) == [*FIRST, "PutSchedule"]
        assert "dagy worker" not in str(result)
        assert deploy(client, artifacts["first"], **settings).skipped
        with pytest.raises(ConflictError, match="raise the version"):
            deploy(client, artifacts["changed"], **settings)
    there = DagyClient(transport=EmbeddedTransport(plane))
    assert there.deployment("team/a/etl").artifact == artifacts["first"].sha256
