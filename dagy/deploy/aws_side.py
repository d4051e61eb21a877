"""The half of a deploy that is on AWS, as its other half sees it; only a deploy that goes there loads this."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dagy.artifact import Artifact
from dagy.aws import Aws
from dagy.backends import BackendRouter, Measured
from dagy.backends.environment import Environment
from dagy.control.records import Deployment
from dagy.deploy.aws_place import TARGET_VARIABLE, Place, targets_of
from dagy.deploy.aws_plan import AwsPresent, AwsStep, look_on_aws, places_of, plan_on_aws, removing_old
from dagy.deploy.aws_steps import Deployer
from dagy.deploy.aws_times import aws_cron
from dagy.deploy.aws_wanted import OnAws, on_aws, sizes_of
from dagy.deploy.infrastructure import environment
from dagy.deploy.wanted import Wanted
from dagy.errors import ArtifactError
from dagy.executors import AUTO, ECS, Executor
from dagy.spec import Json


@dataclass(frozen=True, slots=True)
class AwsSide:
    """What is wanted in an account, and the account."""

    aws: Aws
    wanted: OnAws

    def look(self, deployment: Deployment | None) -> AwsPresent:
        """What there is; `deployment` is what the control plane knows of it."""
        return look_on_aws(self.aws, self.wanted, {} if deployment is None else deployment.resources)

    def steps(self, present: AwsPresent, *, force: bool) -> tuple[AwsStep, ...]:
        """What is to be done before the deployment is switched."""
        return plan_on_aws(self.wanted, present, force=force)

    def tidying(self, present: AwsPresent) -> tuple[AwsStep, ...]:
        """What is to be done after the switch."""
        return removing_old(self.wanted, present)

    def resources(self, present: AwsPresent) -> Mapping[str, Json] | None:
        """What the control plane should know; None when something is not there as it should be."""
        places = places_of(self.wanted, present)
        return self.wanted.resources(places) if self.wanted.is_complete(places) else None

    def deployer(self, present: AwsPresent) -> Deployer:
        """What makes the steps."""
        return Deployer(self.aws, self.wanted, present)


def aws_side(place: Place, artifact: Artifact, meant: Wanted, measured: Measured | None) -> AwsSide:
    """What is meant, on AWS.

    What can't be there is refused before anything is asked of it: `ArtifactError`, `BackendError`, `CloudError`.
    """
    if meant.timing is not None:
        aws_cron(str(meant.timing.cron))
    aws = _account(place)
    executor = _checked_executor(artifact, place, aws)
    route = BackendRouter().route(
        artifact.manifest.spec, executor=executor, sizes=sizes_of(artifact), measured=measured
    )
    wanted = on_aws(
        place.environment or _environment(place, aws),
        route,
        artifact,
        meant.reference,
        timing=meant.timing,
        parameters=meant.parameters,
        endpoint_url=place.target.endpoint_url,
        measured=measured,
    )
    return AwsSide(aws, wanted)


def looked_up(place: Place) -> Place:
    """The place with what there is in it for all deployments, so that nobody builds for one that is not there.

    Raises `AuthError`, `NetworkError`, `CloudError`.
    """
    aws = _account(place)
    return replace(place, aws=aws, environment=_environment(place, aws))


def aws_of(deployment: Deployment) -> Aws:
    """The account and region where the deployment is."""
    at = deployment.resources
    return Aws(region=str(at["region"]), endpoint_url=at.get("endpoint_url"))


def _account(place: Place) -> Aws:
    return place.aws or Aws(region=place.target.region, endpoint_url=place.target.endpoint_url)


def _environment(place: Place, aws: Aws) -> Environment:
    return environment(aws, place.target.stack, bucket=place.target.bucket)


def _checked_executor(artifact: Artifact, place: Place, aws: Aws) -> Executor | None:
    """What the deploy asks for, and what follows from what the artifact was built for.

    `ArtifactError` when it does not run there.
    """
    target, asked = artifact.manifest.target, place.executor or Executor(AUTO)
    again = f"build it for AWS: dagy build --target {targets_of(place)[0]}"
    if target == "local" and not (os.environ.get(TARGET_VARIABLE) == "local" and aws.is_stand_in):
        raise ArtifactError(f"{str(artifact.path)!r} was built for this machine, and is to run on AWS; {again}")
    if target == "ecs":
        if asked.backend not in (AUTO, ECS):
            raise ArtifactError(f"{str(artifact.path)!r} was built for containers, not for {asked.backend!r}; {again}")
        return replace(asked, name=ECS) if asked.backend == AUTO else asked
    if target == "lambda-arm64":
        return replace(asked, architecture="arm64")
    return place.executor
