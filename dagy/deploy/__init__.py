"""From an artifact to a deployment: what should exist, what does, the steps between, and those steps made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagy.lazy import lazily

if TYPE_CHECKING:
    from dagy.deploy.comparing import is_deployed_code
    from dagy.deploy.deploying import DeployResult, builds_folder, deploy_artifact, deploy_flow
    from dagy.deploy.plan import Plan, PutSchedule, RegisterFlow, RemoveSchedule, Step, SwitchDeployment, UploadArtifact
    from dagy.deploy.running import run_deployed
    from dagy.deploy.wanted import Wanted, default_namespace

_HOMES = {
    "DeployResult": "dagy.deploy.deploying",
    "Plan": "dagy.deploy.plan",
    "PutSchedule": "dagy.deploy.plan",
    "RegisterFlow": "dagy.deploy.plan",
    "RemoveSchedule": "dagy.deploy.plan",
    "Step": "dagy.deploy.plan",
    "SwitchDeployment": "dagy.deploy.plan",
    "UploadArtifact": "dagy.deploy.plan",
    "Wanted": "dagy.deploy.wanted",
    "builds_folder": "dagy.deploy.deploying",
    "default_namespace": "dagy.deploy.wanted",
    "deploy_artifact": "dagy.deploy.deploying",
    "deploy_flow": "dagy.deploy.deploying",
    "is_deployed_code": "dagy.deploy.comparing",
    "run_deployed": "dagy.deploy.running",
}

__all__ = [
    "DeployResult",
    "Plan",
    "PutSchedule",
    "RegisterFlow",
    "RemoveSchedule",
    "Step",
    "SwitchDeployment",
    "UploadArtifact",
    "Wanted",
    "builds_folder",
    "default_namespace",
    "deploy_artifact",
    "deploy_flow",
    "is_deployed_code",
    "run_deployed",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
