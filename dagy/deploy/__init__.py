"""From an artifact to a deployment: what should exist, what does, the steps between, and those steps made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.deploy.aws_place import Place, place_of
    from dagy.deploy.aws_removing import Left, left_on_aws
    from dagy.deploy.aws_wanted import sizes_of
    from dagy.deploy.comparing import is_deployed_code
    from dagy.deploy.deploying import (
        DeployResult,
        build_to_deploy,
        builds_folder,
        built_for,
        deploy_artifact,
        deploy_flow,
    )
    from dagy.deploy.plan import Plan, PutSchedule, RegisterFlow, RemoveSchedule, Step, SwitchDeployment, UploadArtifact
    from dagy.deploy.running import run_deployed
    from dagy.deploy.wanted import Wanted, default_namespace

_HOMES = {
    "DeployResult": "dagy.deploy.deploying",
    "Left": "dagy.deploy.aws_removing",
    "Place": "dagy.deploy.aws_place",
    "Plan": "dagy.deploy.plan",
    "PutSchedule": "dagy.deploy.plan",
    "RegisterFlow": "dagy.deploy.plan",
    "RemoveSchedule": "dagy.deploy.plan",
    "Step": "dagy.deploy.plan",
    "SwitchDeployment": "dagy.deploy.plan",
    "UploadArtifact": "dagy.deploy.plan",
    "Wanted": "dagy.deploy.wanted",
    "build_to_deploy": "dagy.deploy.deploying",
    "builds_folder": "dagy.deploy.deploying",
    "built_for": "dagy.deploy.deploying",
    "default_namespace": "dagy.deploy.wanted",
    "deploy_artifact": "dagy.deploy.deploying",
    "deploy_flow": "dagy.deploy.deploying",
    "is_deployed_code": "dagy.deploy.comparing",
    "left_on_aws": "dagy.deploy.aws_removing",
    "place_of": "dagy.deploy.aws_place",
    "run_deployed": "dagy.deploy.running",
    "sizes_of": "dagy.deploy.aws_wanted",
}

__all__ = [
    "DeployResult",
    "Left",
    "Place",
    "Plan",
    "PutSchedule",
    "RegisterFlow",
    "RemoveSchedule",
    "Step",
    "SwitchDeployment",
    "UploadArtifact",
    "Wanted",
    "build_to_deploy",
    "builds_folder",
    "built_for",
    "default_namespace",
    "deploy_artifact",
    "deploy_flow",
    "is_deployed_code",
    "left_on_aws",
    "place_of",
    "run_deployed",
    "sizes_of",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
